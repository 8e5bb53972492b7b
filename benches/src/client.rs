//! A blocking client for set-up, administration and verification: one JSON value out, one JSON value in.
//!
//! Not for measuring: it parses everything. Answers heartbeats whenever it reads.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::classify::{self, Message};
use crate::error::LoadError;
use crate::frame::{self, Mask, Opcode};
use crate::handshake::Target;

/// A refused request.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The wire code.
    pub code: String,
    /// The text for people.
    pub message: String,
}

/// One blocking connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    queued: Vec<u8>,
    mask: Mask,
    next_id: u64,
    pushes: VecDeque<Value>,
}

impl Client {
    /// Connects and waits for the welcome.
    ///
    /// # Errors
    ///
    /// As [`Target::connect`]; `Protocol` when the first message is not a welcome.
    pub fn connect(target: &Target, mask: Mask) -> Result<Self, LoadError> {
        let mut client = Self::connect_bare(target, mask)?;
        let first = client.read_text()?;
        if classify::classify(&first) != Message::Welcome {
            return Err(LoadError::Protocol(format!("no welcome but {}", String::from_utf8_lossy(&first))));
        }
        Ok(client)
    }

    /// Connects to a server that may send no welcome.
    ///
    /// # Errors
    ///
    /// As [`Target::connect`].
    pub fn connect_bare(target: &Target, mask: Mask) -> Result<Self, LoadError> {
        let (stream, received) = target.connect()?;
        Ok(Self { stream, received, queued: Vec::new(), mask, next_id: 1, pushes: VecDeque::new() })
    }

    /// Queues a request, an object without `id`, and returns the id it was given.
    pub fn queue(&mut self, request: &Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let body = request.to_string();
        let text = format!("{{\"id\":{id},{}", body.strip_prefix('{').unwrap_or(&body));
        frame::write_frame(&mut self.queued, Opcode::Text, text.as_bytes(), self.mask);
        id
    }

    /// Sends everything queued and waits for the answer to the request `id`; pushes met on the way are kept.
    ///
    /// # Errors
    ///
    /// `Io` and `Protocol`; a refusal is not an error here.
    pub fn answer(&mut self, id: u64) -> Result<Result<Value, Refusal>, LoadError> {
        self.flush()?;
        loop {
            let mut message = self.read_value()?;
            if message.get("type").and_then(Value::as_str) == Some("push") {
                self.pushes.push_back(message);
                continue;
            }
            if message.get("id").and_then(Value::as_u64) != Some(id) {
                return Err(LoadError::Protocol(format!("expected the answer to {id}, got {message}")));
            }
            let text = |key: &str| message.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            return match text("type").as_str() {
                "result" => Ok(Ok(message.get_mut("data").map(Value::take).unwrap_or_default())),
                "error" => Ok(Err(Refusal { code: text("code"), message: text("message") })),
                _ => Err(LoadError::Protocol(format!("neither result nor error: {message}"))),
            };
        }
    }

    /// Sends one request that must succeed and returns its data.
    ///
    /// # Errors
    ///
    /// `Protocol` also when it is refused.
    pub fn call(&mut self, request: &Value) -> Result<Value, LoadError> {
        let id = self.queue(request);
        self.answer(id)?.map_err(|refusal| {
            LoadError::Protocol(format!("{request} refused: {} {}", refusal.code, refusal.message))
        })
    }

    /// Sends one request that may also be refused with `code`, which is no error.
    ///
    /// # Errors
    ///
    /// `Protocol` when it is refused with another code.
    pub fn call_allowing(&mut self, request: &Value, code: &str) -> Result<(), LoadError> {
        let id = self.queue(request);
        match self.answer(id)? {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.code == code => Ok(()),
            Err(refusal) => {
                Err(LoadError::Protocol(format!("{request} refused: {} {}", refusal.code, refusal.message)))
            }
        }
    }

    /// The next push, waiting for it if none was kept.
    ///
    /// # Errors
    ///
    /// `Io` after ten seconds without one.
    pub fn next_push(&mut self) -> Result<Value, LoadError> {
        if let Some(push) = self.pushes.pop_front() {
            return Ok(push);
        }
        loop {
            let message = self.read_value()?;
            if message.get("type").and_then(Value::as_str) == Some("push") {
                return Ok(message);
            }
        }
    }

    /// Gives up the blocking use: the socket and the bytes received but not yet looked at.
    #[must_use]
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.received)
    }

    fn flush(&mut self) -> Result<(), LoadError> {
        self.stream.write_all(&self.queued).map_err(LoadError::io("send"))?;
        self.queued.clear();
        Ok(())
    }

    fn read_value(&mut self) -> Result<Value, LoadError> {
        let text = self.read_text()?;
        serde_json::from_slice(&text).map_err(|error| {
            LoadError::Protocol(format!("not JSON ({error}): {}", String::from_utf8_lossy(&text)))
        })
    }

    /// The next text message that is not a heartbeat.
    fn read_text(&mut self) -> Result<Vec<u8>, LoadError> {
        loop {
            let Some(frame) =
                frame::next_frame(&self.received).map_err(|error| LoadError::Protocol(error.to_string()))?
            else {
                self.read_more()?;
                continue;
            };
            let (opcode, len, payload) = (frame.opcode, frame.len, frame.payload.to_vec());
            self.received.drain(..len);
            match opcode {
                Opcode::Text if classify::classify(&payload) == Message::Ping => {
                    frame::write_frame(&mut self.queued, Opcode::Text, &classify::pong(&payload), self.mask);
                    self.flush()?;
                }
                Opcode::Text => return Ok(payload),
                Opcode::Ping => {
                    frame::write_frame(&mut self.queued, Opcode::Pong, &payload, self.mask);
                    self.flush()?;
                }
                Opcode::Pong => {}
                Opcode::Close => {
                    let (code, reason) = frame::close_reason(&payload);
                    return Err(LoadError::Protocol(format!(
                        "connection closed by the server: {code} {reason}"
                    )));
                }
                Opcode::Binary => return Err(LoadError::Protocol("binary message".to_owned())),
            }
        }
    }

    fn read_more(&mut self) -> Result<(), LoadError> {
        let mut chunk = [0; 16 << 10];
        let n = self.stream.read(&mut chunk).map_err(LoadError::io("receive"))?;
        if n == 0 {
            return Err(LoadError::Protocol("connection ended without a close frame".to_owned()));
        }
        self.received.extend_from_slice(chunk.get(..n).unwrap_or_default());
        Ok(())
    }
}
