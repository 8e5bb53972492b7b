//! A server for the tests of this crate: one thread per connection, does what a message's `type` says.
//!
//! Greets with `{"type":"welcome"}` and answers what it does not know with an error. Paths other than `/` spoil the
//! handshake.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::frame::{CLOSE, PING, PONG, TEXT, encode};
use crate::handshake::{accept_for, split_head};

/// Size of one message of a flood.
const FLOOD_MESSAGE_BYTES: usize = 100_000;

/// Listens on a free port until the test process ends.
pub(crate) fn start() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let flooded = Arc::new(AtomicU64::new(0));
        for stream in listener.incoming().map_while(Result::ok) {
            let flooded = Arc::clone(&flooded);
            // An error means that the client is gone, which is what many tests are about.
            std::thread::spawn(move || {
                Peer { stream, unread: Vec::new(), flooded }.serve().unwrap_or_default()
            });
        }
    });
    port
}

struct Peer {
    stream: TcpStream,
    unread: Vec<u8>,
    /// Bytes of all floods that sockets have taken.
    flooded: Arc<AtomicU64>,
}

impl Peer {
    fn serve(&mut self) -> io::Result<()> {
        let head = self.read_head()?;
        let path = head.split(' ').nth(1).unwrap_or_default();
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
        let accept = accept_for(if path == "/bad-accept" { "x" } else { key });
        match path {
            "/drop" => return Ok(()),
            "/silent" => return self.stream.read_to_end(&mut Vec::new()).map(|_| ()),
            "/missing" => {
                return self.stream.write_all(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n");
            }
            _ => {}
        }
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {accept}\r\nX-Fake: yes\r\n\r\n"
        );
        let welcome = encode(TEXT, br#"{"type":"welcome"}"#, true, None);
        self.stream.write_all(&[answer.as_bytes(), &welcome].concat())?;
        loop {
            let (b0, masked, payload) = self.read_frame()?;
            match b0 {
                _ if !masked || b0 & 0x70 != 0 => return self.send(CLOSE, &1002_u16.to_be_bytes()),
                0x81 => {
                    let request = serde_json::from_slice(&payload).unwrap_or_default();
                    if !self.answer(&request)? {
                        return Ok(());
                    }
                }
                0x88 => return self.send(CLOSE, &payload),
                0x89 => self.send(PONG, &payload)?,
                0x8a => self.send_json(&json!({"type": "ponged", "size": payload.len()}))?,
                _ => self.send_json(&json!({"type": "frame", "head": b0, "size": payload.len()}))?,
            }
        }
    }

    fn answer(&mut self, request: &Value) -> io::Result<bool> {
        match request["type"].as_str().unwrap_or_default() {
            "close" => {
                let code = request["code"].as_u64().and_then(|code| u16::try_from(code).ok());
                let reason = request["reason"].as_str().unwrap_or_default();
                let payload = code.map(|code| [&code.to_be_bytes(), reason.as_bytes()].concat());
                self.send(CLOSE, &payload.unwrap_or_default())?;
                return Ok(self.stream.read_to_end(&mut Vec::new()).is_err());
            }
            "drop" => {
                self.stream.shutdown(Shutdown::Both)?;
                return Ok(false);
            }
            "malformed" => self.stream.write_all(&[0xc1, 0])?,
            "binary" => self.send(2, b"\x00\xff")?,
            "text" => self.send(TEXT, b"no json")?,
            "fragments" => {
                self.stream.write_all(&encode(TEXT, b"[1,", false, None))?;
                self.send(PING, b"abc")?;
                self.stream.write_all(&encode(0, b"2]", true, None))?;
            }
            "flood" => {
                for n in 0..request["count"].as_u64().unwrap_or_default() {
                    let message = json!({"type": "flood", "n": n, "s": "x".repeat(FLOOD_MESSAGE_BYTES)});
                    self.send_json(&message)?;
                    self.flooded.fetch_add(FLOOD_MESSAGE_BYTES as u64, Ordering::Relaxed);
                }
            }
            "flooded" => {
                self.send_json(&json!({"type": "flooded", "bytes": self.flooded.load(Ordering::Relaxed)}))?
            }
            _ => {
                self.send_json(&json!({"id": request["id"], "type": "error", "code": "UNKNOWN_OPERATION"}))?
            }
        }
        Ok(true)
    }

    fn send(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        self.stream.write_all(&encode(opcode, payload, true, None))
    }

    fn send_json(&mut self, value: &Value) -> io::Result<()> {
        self.send(TEXT, value.to_string().as_bytes())
    }

    fn read_head(&mut self) -> io::Result<String> {
        loop {
            if let Some((head, rest)) = split_head(&self.unread) {
                let (head, rest) = (String::from_utf8_lossy(head).into_owned(), rest.to_vec());
                self.unread = rest;
                return Ok(head);
            }
            self.read_more()?;
        }
    }

    /// Reads the first byte of a frame, whether it is masked, and its unmasked payload.
    fn read_frame(&mut self) -> io::Result<(u8, bool, Vec<u8>)> {
        let head = self.take(2)?;
        let (b0, masked) = (head[0], head[1] & 0x80 != 0);
        let extended = match head[1] & 0x7f {
            126 => self.take(2)?,
            127 => self.take(8)?,
            n => vec![n],
        };
        let len = extended.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
        let key = if masked { self.take(4)? } else { vec![0; 4] };
        let payload = self.take(len)?;
        Ok((b0, masked, payload.iter().zip(key.iter().cycle()).map(|(byte, k)| byte ^ k).collect()))
    }

    fn take(&mut self, len: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < len {
            self.read_more()?;
        }
        Ok(self.unread.drain(..len).collect())
    }

    fn read_more(&mut self) -> io::Result<()> {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.unread.extend_from_slice(&chunk[..n]);
                Ok(())
            }
        }
    }
}
