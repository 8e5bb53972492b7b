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

/// One WebSocket connection on a stream.
#[derive(Debug)]
pub(crate) struct Transport<S> {
    reader: WebSocketStream<Duplex<S>>,
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
            .max_frame_size(Some(payload_bytes_max));
        let duplex =
            Duplex { stream, readable: TURN_READ_BYTES_MAX, out: Vec::new(), sent: 0, closed: false };
        let reader = WebSocketStream::from_partially_read(duplex, received, Role::Server, Some(config)).await;
        Self { reader, deaf: false }
    }

    /// Lets a turn read up to its limit; beyond that the reader sleeps, and is woken at once.
    pub(crate) fn begin_turn(&mut self) {
        self.duplex().readable = TURN_READ_BYTES_MAX;
    }

    /// Reads the next message.
    pub(crate) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
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
