//! WebSocket frames of a client, right and wrong ones.
//!
//! Input: payloads to frame, bytes from the server. Output: bytes to write, whole frames. Knows nothing of sockets or
//! of the meaning of opcodes.
//! Invariant: the buffer grows by what has arrived, never by what a header announces.
//! Source: RFC 6455 §5.2.

#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hasher, RandomState};

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// One frame from the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

/// A server's frame with a reserved bit or a mask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Malformed;

/// Encodes one frame. The opcode may carry reserved bits, `mask` is left out for a frame that breaks the rule.
pub(crate) fn encode(opcode: u8, payload: &[u8], fin: bool, mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 14);
    out.push(if fin { 0x80 | opcode } else { opcode });
    let mask_bit = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        n @ 0..=125 => out.push(mask_bit | n.to_le_bytes()[0]),
        n => match u16::try_from(n) {
            Ok(n) => {
                out.push(mask_bit | 126);
                out.extend(n.to_be_bytes());
            }
            Err(_) => {
                out.push(mask_bit | 127);
                out.extend((n as u64).to_be_bytes());
            }
        },
    }
    match mask {
        None => out.extend(payload),
        Some(key) => {
            out.extend(key);
            out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, k)| byte ^ k));
        }
    }
    out
}

/// Makes random bytes for masks and handshake keys, which on loopback need to vary but not to be secret.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    for chunk in out.chunks_mut(8) {
        let word = RandomState::new().build_hasher().finish().to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    out
}

/// Cuts a byte stream into frames.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buffer: Vec<u8>,
    /// Bytes of the buffer that belong to frames already handed out.
    used: usize,
}

impl Decoder {
    /// Adds bytes that arrived.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.used);
        self.used = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Hands out the next whole frame, `None` until more bytes arrive.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>, Malformed> {
        let bytes = &self.buffer[self.used..];
        let &[b0, b1, ..] = bytes else { return Ok(None) };
        if b0 & 0x70 != 0 || b1 & 0x80 != 0 {
            return Err(Malformed);
        }
        let (head_len, payload_len) = match b1 {
            126 => match bytes.get(2..4).and_then(|b| b.try_into().ok()) {
                Some(b) => (4, u64::from(u16::from_be_bytes(b))),
                None => return Ok(None),
            },
            127 => match bytes.get(2..10).and_then(|b| b.try_into().ok()) {
                Some(b) => (10, u64::from_be_bytes(b)),
                None => return Ok(None),
            },
            n => (2, u64::from(n)),
        };
        let end = usize::try_from(payload_len).ok().and_then(|n| n.checked_add(head_len));
        let Some(payload) = end.and_then(|end| bytes.get(head_len..end)) else { return Ok(None) };
        let frame = Frame { fin: b0 & 0x80 != 0, opcode: b0 & 0x0F, payload: payload.to_vec() };
        self.used += head_len + frame.payload.len();
        Ok(Some(frame))
    }
}
