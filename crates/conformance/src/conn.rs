//! One client connection: a socket, a thread that reads it, a thread that writes it.
//!
//! Input: frames to send, orders to pause, close or abort. Output: queues of messages and pongs, how the peer closed.
//! Invariants: sending never waits for reading, so a server that holds back cannot deadlock a client that answers its
//! pings; while paused, no byte leaves the socket's receive buffer.
//! Pings are answered and close frames echoed here, nothing else is sent unasked.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::frame::{self, Decoder, Frame};
use crate::handshake::{self, Headers, Request};
use crate::transcript::Transcript;

/// Why a connection did not come about.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// Refused: an HTTP status, 0 = closed without an answer, -1 = no answer in time.
    Refused { status: i64, headers: Headers },
    /// Answered in a way no server should.
    Broken(String),
}

/// What a connection has received and not yet handed out.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) messages: VecDeque<Value>,
    /// Bodies of control pongs, in Base64.
    pub(crate) pongs: VecDeque<String>,
    /// `{"code", "reason"}` once the peer closed.
    pub(crate) closed: Option<Value>,
    paused: bool,
    aborted: bool,
    outbox: VecDeque<Vec<u8>>,
    /// Bytes handed to `send_frame` that the socket has not taken yet.
    outbox_bytes: usize,
    /// Shut the socket down once the outbox is empty.
    finishing: bool,
    /// Nothing more can be written.
    write_over: bool,
}

#[derive(Debug)]
struct Shared {
    name: String,
    transcript: Transcript,
    stream: TcpStream,
    state: Mutex<State>,
    changed: Condvar,
}

/// An open connection. Dropping it aborts it.
#[derive(Debug)]
pub(crate) struct Conn {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Headers of the answer to the upgrade request.
    pub(crate) headers: Headers,
}

/// Unsent bytes a step may leave behind; a peer that does not read must not stop the scenario.
const UNSENT_BYTES_MAX: usize = 65_536;

/// How long a step waits for the socket to take all bytes, so that what follows happens after the sending.
const FLUSH_WAIT: Duration = Duration::from_millis(100);

/// How long a step waits until few enough bytes are unsent.
const DRAIN_WAIT: Duration = Duration::from_secs(10);

/// How long a closing client waits for the peer's close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// An upgrade answer longer than this is given up on.
const HEAD_BYTES_MAX: usize = 65_536;

impl Conn {
    /// Opens a connection; `timeout` goes for the TCP connection and for the answer.
    pub(crate) fn open(
        name: &str,
        transcript: &Transcript,
        (host, port): (&str, u16),
        request: &Request,
        timeout: Duration,
    ) -> Result<Self, ConnectError> {
        let refused = |status| ConnectError::Refused { status, headers: Headers::new() };
        let stream = tcp_connect(host, port, timeout).map_err(|_| refused(0))?;
        let key = handshake::key(frame::random_bytes());
        let mut bytes = handshake::request_head(request, &format!("{host}:{port}"), &key).into_bytes();
        for text in &request.early {
            bytes.extend(frame::encode(frame::TEXT, text.as_bytes(), true, Some(frame::random_bytes())));
        }
        // A server may answer and close before it has read everything: the answer decides, not the write.
        let _ = (&stream).write_all(&bytes);
        let (response, rest) = read_response(&stream, timeout)?;
        if response.status != 101 {
            return Err(ConnectError::Refused { status: response.status, headers: response.headers });
        }
        if response.headers.get("sec-websocket-accept") != Some(&handshake::accept_for(&key)) {
            return Err(ConnectError::Broken(
                "wrong Sec-WebSocket-Accept in the upgrade response".to_owned(),
            ));
        }
        let unlimited = stream.set_read_timeout(None).and_then(|()| stream.set_write_timeout(None));
        unlimited.map_err(|e| ConnectError::Broken(format!("cannot configure the socket: {e}")))?;
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            transcript: transcript.clone(),
            stream,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let (reader, writer) = (Arc::clone(&shared), Arc::clone(&shared));
        let mut decoder = Decoder::default();
        decoder.push(&rest);
        let threads = vec![
            std::thread::spawn(move || reader.read_all(decoder)),
            std::thread::spawn(move || writer.write_all()),
        ];
        Ok(Self { shared, threads, headers: response.headers })
    }

    /// The name the scenario gave it.
    pub(crate) fn name(&self) -> &str {
        &self.shared.name
    }

    /// Looks at what has been received.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    /// Waits until `ready` holds; `false` when the deadline came first.
    pub(crate) fn wait_until(&self, deadline: Instant, ready: impl Fn(&State) -> bool) -> bool {
        let mut state = self.state();
        while !ready(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.shared.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Sends one frame and waits, within limits, until the socket took it.
    pub(crate) fn send_frame(&self, opcode: u8, payload: &[u8], fin: bool, masked: bool, deadline: Instant) {
        self.shared.send(frame::encode(opcode, payload, fin, masked.then(frame::random_bytes)));
        let now = Instant::now();
        if !self.wait_until(deadline.min(now + FLUSH_WAIT), |s| s.outbox_bytes == 0) {
            self.wait_until(deadline.min(now + DRAIN_WAIT), |s| s.outbox_bytes <= UNSENT_BYTES_MAX);
        }
    }

    /// Stops or resumes reading.
    pub(crate) fn set_paused(&self, paused: bool) {
        self.state().paused = paused;
        self.shared.changed.notify_all();
    }

    /// Closes with a close frame and waits a moment for the peer's.
    pub(crate) fn close(self, code: u16, reason: &str, deadline: Instant) {
        let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
        self.shared.send(frame::encode(frame::CLOSE, &payload, true, Some(frame::random_bytes())));
        self.wait_until(deadline.min(Instant::now() + CLOSE_WAIT), |s| s.closed.is_some());
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.state().aborted = true;
        self.shared.changed.notify_all();
        // Wakes both threads; an error means that the socket is dead already, and then they woke by themselves.
        let _ = self.shared.stream.shutdown(Shutdown::Both);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, bytes: Vec<u8>) {
        let mut state = self.lock();
        if !state.write_over {
            state.outbox_bytes += bytes.len();
            state.outbox.push_back(bytes);
            self.changed.notify_all();
        }
    }

    fn write_all(&self) {
        let mut state = self.lock();
        loop {
            if state.aborted {
                break;
            }
            let Some(bytes) = state.outbox.pop_front() else {
                if state.finishing {
                    let _ = self.stream.shutdown(Shutdown::Both);
                    break;
                }
                state = self.wait(state);
                continue;
            };
            drop(state);
            let written = (&self.stream).write_all(&bytes);
            state = self.lock();
            state.outbox_bytes -= bytes.len();
            self.changed.notify_all();
            if written.is_err() {
                break;
            }
        }
        state.write_over = true;
        state.outbox.clear();
        state.outbox_bytes = 0;
        self.changed.notify_all();
    }

    fn read_all(&self, mut decoder: Decoder) {
        let mut chunk = vec![0; 65_536];
        let mut message = Message::default();
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    if !self.handle_frame(frame, &mut message) {
                        return;
                    }
                }
                Ok(None) => match self.read_chunk(&mut chunk) {
                    Ok(n) if n > 0 => decoder.push(&chunk[..n]),
                    _ => return self.set_closed(1006, ""),
                },
                Err(frame::Malformed) => {
                    return self.set_closed(-1, "protocol error: reserved bit or masked server frame");
                }
            }
        }
    }

    /// Reads what has arrived. Peeking waits without taking; taking happens under the lock, so that no byte is taken
    /// after a pause began. The read cannot block then: there is only one reader.
    fn read_chunk(&self, chunk: &mut [u8]) -> io::Result<usize> {
        while let Err(e) = self.stream.peek(&mut [0]) {
            if e.kind() != ErrorKind::Interrupted {
                break; // the read below reports it, after a pause like everything else
            }
        }
        let mut state = self.lock();
        while state.paused && !state.aborted {
            state = self.wait(state);
        }
        if state.aborted { Ok(0) } else { (&self.stream).read(chunk) }
    }

    /// Takes one frame; `false` after a close frame.
    fn handle_frame(&self, frame: Frame, message: &mut Message) -> bool {
        let masked =
            |opcode, payload: &[u8]| frame::encode(opcode, payload, true, Some(frame::random_bytes()));
        match frame.opcode {
            frame::CLOSE => {
                let (code, reason) = match frame.payload.split_first_chunk() {
                    Some((code, reason)) => (u16::from_be_bytes(*code), reason),
                    None => (1005, &[][..]),
                };
                self.set_closed(code.into(), &String::from_utf8_lossy(reason));
                self.send(masked(frame::CLOSE, &frame.payload[..frame.payload.len().min(2)]));
                self.lock().finishing = true;
                self.changed.notify_all();
                return false;
            }
            frame::PING => self.send(masked(frame::PONG, &frame.payload)),
            frame::PONG => {
                self.lock().pongs.push_back(STANDARD.encode(&frame.payload));
                self.changed.notify_all();
            }
            _ => {
                if let Some(value) = message.push(frame) {
                    self.transcript.add(&self.name, "recv", || value.clone());
                    self.lock().messages.push_back(value);
                    self.changed.notify_all();
                }
            }
        }
        true
    }

    fn set_closed(&self, code: i32, reason: &str) {
        let closed = json!({"code": code, "reason": reason});
        let mut state = self.lock();
        if !state.aborted && state.closed.is_none() {
            self.transcript.add(&self.name, "closed", || closed.clone());
            state.closed = Some(closed);
            self.changed.notify_all();
        }
    }
}

/// A message whose frames are still arriving.
#[derive(Debug, Default)]
struct Message {
    opcode: u8,
    payload: Vec<u8>,
}

impl Message {
    /// Adds a data frame; with the last one, returns the message as a scenario sees it.
    fn push(&mut self, frame: Frame) -> Option<Value> {
        if frame.opcode != 0 {
            self.opcode = frame.opcode;
        }
        self.payload.extend(frame.payload);
        if !frame.fin {
            return None;
        }
        let payload = std::mem::take(&mut self.payload);
        if self.opcode == frame::BINARY {
            return Some(json!({"$binary": STANDARD.encode(payload)}));
        }
        Some(match serde_json::from_slice(&payload) {
            Ok(value) => value,
            Err(_) => json!({"$text": String::from_utf8_lossy(&payload)}),
        })
    }
}

fn tcp_connect(host: &str, port: u16, timeout: Duration) -> io::Result<TcpStream> {
    let timeout = timeout.max(Duration::from_millis(1)); // zero is an error, not "at once"
    let mut last = io::Error::from(ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(timeout))?;
                return Ok(stream);
            }
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// Reads the answer to an upgrade request and the bytes that came with it.
fn read_response(
    stream: &TcpStream,
    timeout: Duration,
) -> Result<(handshake::Response, Vec<u8>), ConnectError> {
    let refused = |status| ConnectError::Refused { status, headers: Headers::new() };
    let deadline = Instant::now() + timeout;
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; 65_536]);
    loop {
        if let Some((head, rest)) = handshake::split_head(&bytes) {
            let broken =
                || ConnectError::Broken("the answer to the upgrade request has no status".to_owned());
            return Ok((handshake::parse_head(head).ok_or_else(broken)?, rest.to_vec()));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(refused(-1));
        }
        if bytes.len() > HEAD_BYTES_MAX || stream.set_read_timeout(Some(left)).is_err() {
            return Err(refused(0));
        }
        match (&*stream).read(&mut chunk) {
            Ok(0) => return Err(refused(0)),
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
            Err(e)
                if matches!(
                    e.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(_) => return Err(refused(0)),
        }
    }
}
