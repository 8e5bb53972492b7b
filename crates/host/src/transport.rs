//! WebSocket framing over a byte stream.
//!
//! Reading is async-tungstenite's: masks, fragments, limits, UTF-8, control frames. Outgoing frames of a server are a
//! length and the payload, so they are written here, straight into one buffer: a shared payload is copied once, and
//! the bytes that wait for the network are known exactly. Pongs of the reader go into the same buffer.

use async_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message as Received, Utf8Bytes,
        error::ProtocolError,
        protocol::{Role, WebSocketConfig},
    },
};
use futures::{AsyncRead, AsyncWrite, Stream, ready};
use noex_core::Frame;
use smallvec::SmallVec;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

/// Size of the read buffer in bytes: a batch of small requests. Every connection has one all the time, and it is zeroed
/// for each read.
const READ_BUFFER_BYTES: usize = 3584;
/// Bytes read in one turn. Fragments and parts of frames are no messages, so the limit of messages does not bound
/// the work on them.
const TURN_READ_BYTES_MAX: usize = 256 * 1024;
/// Payload of a control frame (RFC 6455, section 5.5).
const CONTROL_BYTES_MAX: usize = 125;
/// Messages taken at once.
pub(crate) const BATCH_MAX: usize = 16;
/// First size of the write buffer, for a handful of answers.
const WRITE_BUFFER_BYTES_MIN: usize = 1024;

/// What was received.
#[derive(Debug)]
pub(crate) enum Incoming {
    Text(Utf8Bytes),
    Binary,
    Close(Option<(u16, String)>),
    TooLarge,
    InvalidUtf8,
    Malformed,
    /// A control frame that the reader has dealt with. It counts as a message, so that a flood of them is no
    /// way around the limits of a turn.
    Control,
    /// End or failure of the stream.
    End,
}

/// Messages that came together.
pub(crate) type Batch = SmallVec<[Incoming; BATCH_MAX]>;

/// One WebSocket connection on a stream.
#[derive(Debug)]
pub(crate) struct Transport<S> {
    reader: WebSocketStream<Duplex<S>>,
    /// Taken and given back.
    unread: Vec<Incoming>,
    /// The framing is lost or done: what is still received is discarded.
    deaf: bool,
}

/// The stream as the reader sees it: writes go into the buffer and always succeed.
#[derive(Debug)]
struct Duplex<S> {
    stream: S,
    /// Bytes that may still be read in this turn.
    readable: usize,
    out: Vec<u8>,
    /// Bytes of `out` that have left.
    sent: usize,
    /// A close frame is in `out`: nothing may follow it.
    closed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Transport<S> {
    /// Takes a stream after the handshake; `received` are bytes that came with it.
    pub(crate) async fn new(stream: S, received: Vec<u8>, payload_bytes_max: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .max_message_size(Some(payload_bytes_max))
            // Control frames are no messages; there is room for any of them.
            .max_frame_size(Some(payload_bytes_max.max(CONTROL_BYTES_MAX)));
        let duplex =
            Duplex { stream, readable: TURN_READ_BYTES_MAX, out: Vec::new(), sent: 0, closed: false };
        let reader = WebSocketStream::from_partially_read(duplex, received, Role::Server, Some(config)).await;
        Self { reader, unread: Vec::new(), deaf: false }
    }

    /// Lets a turn read up to its limit; beyond that the reader sleeps, and is woken at once.
    pub(crate) fn begin_turn(&mut self) {
        self.duplex().readable = TURN_READ_BYTES_MAX;
    }

    /// Reads messages that are there, and tells whether there are no more. Takes little more bytes than the read buffer
    /// holds, and nothing behind a message that is not a text.
    pub(crate) fn poll_batch(&mut self, cx: &mut Context<'_>) -> (Batch, bool) {
        if !self.unread.is_empty() {
            return (std::mem::take(&mut self.unread).into(), false);
        }
        let (mut batch, mut bytes) = (Batch::new(), 0);
        while batch.len() < BATCH_MAX && bytes < READ_BUFFER_BYTES {
            let Poll::Ready(incoming) = self.poll_message(cx) else { return (batch, true) };
            let text = if let Incoming::Text(text) = &incoming { Some(text.len()) } else { None };
            batch.push(incoming);
            let Some(len) = text else { break };
            bytes += len;
        }
        (batch, false)
    }

    /// Takes back messages of the last batch, to be read again.
    pub(crate) fn unread(&mut self, rest: impl Iterator<Item = Incoming>) {
        self.unread.extend(rest);
    }

    /// Reads the next message.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        if self.deaf {
            return self.poll_discard(cx).map(|()| Incoming::End);
        }
        let incoming = match ready!(Pin::new(&mut self.reader).poll_next(cx)) {
            Some(Ok(Received::Text(text))) => return Poll::Ready(Incoming::Text(text)),
            Some(Ok(Received::Binary(_))) => return Poll::Ready(Incoming::Binary),
            Some(Ok(Received::Ping(_) | Received::Pong(_) | Received::Frame(_))) => {
                return Poll::Ready(Incoming::Control);
            }
            Some(Ok(Received::Close(frame))) => {
                let close = frame.map(|frame| (u16::from(frame.code), frame.reason.to_string()));
                // This is what the reader makes of a close code that must not be sent.
                if matches!(&close, Some((1002, reason)) if reason == "Protocol violation") {
                    Incoming::Malformed
                } else {
                    Incoming::Close(close)
                }
            }
            Some(Err(error)) => incoming_error(&error),
            None => Incoming::End,
        };
        self.deaf = true;
        Poll::Ready(incoming)
    }

    /// Reads and drops bytes until the stream ends.
    pub(crate) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        poll_discard(&mut self.duplex().stream, cx)
    }

    /// Tells whether received bytes are no longer decoded.
    pub(crate) fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// Tells whether a close frame has been queued.
    pub(crate) fn is_closing(&self) -> bool {
        self.reader.get_ref().closed
    }

    /// Puts a frame into the buffer.
    pub(crate) fn queue(&mut self, frame: Frame) {
        let duplex = self.duplex();
        if duplex.closed {
            return;
        }
        if duplex.out.capacity() == 0 {
            duplex.out.reserve(WRITE_BUFFER_BYTES_MIN);
        }
        match frame {
            Frame::Text(text) => {
                write_header(&mut duplex.out, 0x81, text.len());
                for piece in text.pieces() {
                    duplex.out.extend_from_slice(piece.as_bytes());
                }
            }
            Frame::Close { code, reason } => {
                let reason = if code.is_some() { truncated(&reason, 123) } else { "" };
                write_header(&mut duplex.out, 0x88, code.map_or(0, |_| 2 + reason.len()));
                if let Some(code) = code {
                    duplex.out.extend_from_slice(&code.to_be_bytes());
                }
                duplex.out.extend_from_slice(reason.as_bytes());
                duplex.closed = true;
            }
        }
    }

    /// Bytes in the buffer.
    pub(crate) fn buffered(&self) -> usize {
        let duplex = self.reader.get_ref();
        duplex.out.len() - duplex.sent
    }

    /// Writes as much of the buffer as the network takes.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let duplex = self.duplex();
        while let Some(rest) = duplex.out.get(duplex.sent..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut duplex.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(taken)) => duplex.sent += taken,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    // Halving keeps the cost of moving the rest proportional to what has left.
                    if duplex.sent * 2 > duplex.out.len() {
                        duplex.out.drain(..duplex.sent);
                        duplex.sent = 0;
                    }
                    return Poll::Pending;
                }
            }
        }
        duplex.sent = 0;
        duplex.out.clear();
        Pin::new(&mut duplex.stream).poll_flush(cx)
    }

    /// Gives back the room of the buffer, if it is empty.
    pub(crate) fn release_spare(&mut self) {
        let out = &mut self.duplex().out;
        if out.is_empty() {
            *out = Vec::new();
        }
    }

    /// Ends the sending direction.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.duplex().stream).poll_close(cx)
    }

    fn duplex(&mut self) -> &mut Duplex<S> {
        self.reader.get_mut()
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "no other error can come from reading")]
fn incoming_error(error: &Error) -> Incoming {
    match error {
        Error::Capacity(_) => Incoming::TooLarge,
        Error::Utf8(_) => Incoming::InvalidUtf8,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) | Error::Io(_) => Incoming::End,
        Error::Protocol(_) => Incoming::Malformed,
        _ => Incoming::End,
    }
}

/// Reads and drops bytes until the stream ends.
pub(crate) fn poll_discard<S: AsyncRead + Unpin>(stream: &mut S, cx: &mut Context<'_>) -> Poll<()> {
    let mut scratch = [0; 4096];
    // Bounded, so that a peer that sends without end does not hold the thread.
    for _ in 0..16 {
        match ready!(Pin::new(&mut *stream).poll_read(cx, &mut scratch)) {
            Ok(0) | Err(_) => return Poll::Ready(()),
            Ok(_) => {}
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

fn write_header(out: &mut Vec<u8>, first: u8, len: usize) {
    out.push(first);
    if let Some(short) = u8::try_from(len).ok().filter(|len| *len < 126) {
        out.push(short);
    } else if let Ok(medium) = u16::try_from(len) {
        out.push(126);
        out.extend_from_slice(&medium.to_be_bytes());
    } else {
        out.push(127);
        out.extend_from_slice(&(len as u64).to_be_bytes());
    }
}

fn truncated(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

impl<S: AsyncRead + Unpin> AsyncRead for Duplex<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.readable == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let count = ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.readable = self.readable.saturating_sub(count);
        Poll::Ready(Ok(count))
    }
}

impl<S: Unpin> AsyncWrite for Duplex<S> {
    fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if !self.closed {
            self.out.extend_from_slice(buf);
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::task::noop_waker;
    use std::{future::Future, pin::pin};

    /// Gives what it has, then is silent.
    struct Script(Vec<u8>);

    impl AsyncRead for Script {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let count = buf.len().min(self.0.len());
            if count == 0 {
                return Poll::Pending;
            }
            buf[..count].copy_from_slice(&self.0.drain(..count).collect::<Vec<_>>());
            Poll::Ready(Ok(count))
        }
    }

    impl AsyncWrite for Script {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// A frame as a client sends it, masked with zeros.
    fn frame(first: u8, payload: &str) -> Vec<u8> {
        let len = u16::try_from(payload.len()).expect("short");
        let mut bytes = vec![first, 0x80 | 126];
        bytes.extend(len.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload.bytes());
        bytes
    }

    fn transport(bytes: Vec<u8>) -> Transport<Script> {
        let made = pin!(Transport::new(Script(bytes), Vec::new(), 1 << 20));
        match made.poll(&mut Context::from_waker(&noop_waker())) {
            Poll::Ready(transport) => transport,
            Poll::Pending => unreachable!("nothing to wait for"),
        }
    }

    fn show(batch: &Batch) -> Vec<String> {
        let name = |incoming: &Incoming| {
            let Incoming::Text(text) = incoming else { return format!("{incoming:?}") };
            if text.len() < 20 { text.to_string() } else { format!("{} bytes", text.len()) }
        };
        batch.iter().map(name).collect()
    }

    #[test]
    fn a_batch_is_what_is_there_up_to_limits() {
        let text = |payload: &str| frame(0x81, payload);
        let long = "x".repeat(READ_BUFFER_BYTES - 1);
        let mut bytes: Vec<u8> = (0..20).flat_map(|n| text(&n.to_string())).collect();
        bytes.extend([text("a"), frame(0x8a, ""), text("b"), text(&long), text("c"), text("d")].concat());
        let mut transport = transport(bytes);
        let waker = noop_waker();
        let mut next = || transport.poll_batch(&mut Context::from_waker(&waker));
        let numbers = |from: u32, to: u32| (from..to).map(|n| n.to_string()).collect::<Vec<_>>();
        let (batch, drained) = next();
        assert_eq!((show(&batch), drained), (numbers(0, 16), false));
        let (batch, drained) = next();
        // Nothing behind a control frame: its answer goes out before what it follows is handled.
        assert_eq!(
            (show(&batch), drained),
            ([numbers(16, 20), vec!["a".into(), "Control".into()]].concat(), false)
        );
        let (batch, drained) = next();
        assert_eq!((show(&batch), drained), (vec!["b".into(), format!("{} bytes", long.len())], false));
        let (batch, drained) = next();
        assert_eq!((show(&batch), drained), (vec!["c".into(), "d".into()], true));
        let (none, drained) = next();
        assert!(none.is_empty() && drained);
    }

    #[test]
    fn what_is_given_back_comes_again_first() {
        let bytes: Vec<u8> = ["a", "b", "c", "d"].iter().flat_map(|text| frame(0x81, text)).collect();
        let mut transport = transport(bytes);
        let waker = noop_waker();
        let cx = &mut Context::from_waker(&waker);
        let (batch, drained) = transport.poll_batch(cx);
        assert!(batch.len() == 4 && drained);
        transport.unread(batch.into_iter().skip(1));
        let (batch, drained) = transport.poll_batch(cx);
        assert_eq!((show(&batch), drained), (vec!["b".into(), "c".into(), "d".into()], false));
        let (none, drained) = transport.poll_batch(cx);
        assert!(none.is_empty() && drained);
    }
}
