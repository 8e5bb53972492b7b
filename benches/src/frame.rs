//! WebSocket framing of the client's side: writes masked frames, reads unmasked ones.
//!
//! Knows nothing of sockets. Only what the generator needs: whole text and control frames; a fragmented or masked
//! frame from the server is an error. Source: RFC 6455 §5.2 (layout) and §5.3 (masking).

use std::fmt;

/// A masking key. Frames of a client must be masked; the key may be anything, so a fixed one serves a generator.
pub type Mask = [u8; 4];

/// The fixed key used unless the zero key is asked for.
pub const MASK_FIXED: Mask = [0x37, 0xfa, 0x21, 0x3d];

/// The key that leaves the payload as it is: masking costs nothing on either side.
pub const MASK_ZERO: Mask = [0; 4];

/// Longest message read from the server, bytes. Above any query result the scenarios ask for.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Opcodes in use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opcode {
    /// A whole text message.
    Text,
    /// A whole binary message.
    Binary,
    /// Close, with an optional code and reason.
    Close,
    /// Control ping.
    Ping,
    /// Control pong.
    Pong,
}

impl Opcode {
    const fn bits(self) -> u8 {
        match self {
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }
}

/// One frame at the start of a buffer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame<'a> {
    /// What the frame carries.
    pub opcode: Opcode,
    /// The payload, unmasked.
    pub payload: &'a [u8],
    /// Bytes of header and payload together.
    pub len: usize,
}

/// What the server must not send to this client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FrameError {
    /// FIN is unset, or the opcode is a continuation, reserved, or a reserved bit is set.
    Unsupported(u8),
    /// A server's frame is masked.
    Masked,
    /// The announced length is above [`MESSAGE_BYTES_MAX`].
    TooLong(u64),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(byte) => write!(f, "unsupported first byte {byte:#04x} of a frame"),
            Self::Masked => write!(f, "masked frame from the server"),
            Self::TooLong(len) => write!(f, "frame of {len} bytes"),
        }
    }
}

/// Reads the frame at the start of `buffer`; `None` while it is incomplete. O(1): the payload is not touched.
///
/// # Errors
///
/// See [`FrameError`]; the connection is of no use afterwards.
#[inline]
pub fn next_frame(buffer: &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
    let [first, second, rest @ ..] = buffer else { return Ok(None) };
    let opcode = match *first {
        0x81 => Opcode::Text,
        0x82 => Opcode::Binary,
        0x88 => Opcode::Close,
        0x89 => Opcode::Ping,
        0x8a => Opcode::Pong,
        other => return Err(FrameError::Unsupported(other)),
    };
    if second & 0x80 != 0 {
        return Err(FrameError::Masked);
    }
    let (header, announced) = match second {
        126 => match rest {
            [a, b, ..] => (4, u64::from(u16::from_be_bytes([*a, *b]))),
            _ => return Ok(None),
        },
        127 => match rest {
            [a, b, c, d, e, f, g, h, ..] => (10, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])),
            _ => return Ok(None),
        },
        short => (2, u64::from(*short)),
    };
    let payload_len = match usize::try_from(announced) {
        Ok(len) if len <= MESSAGE_BYTES_MAX => len,
        Ok(_) | Err(_) => return Err(FrameError::TooLong(announced)),
    };
    let len = header + payload_len;
    Ok(buffer.get(header..len).map(|payload| Frame { opcode, payload, len }))
}

/// Appends one masked frame to `out`.
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Mask) {
    write_header(out, opcode, payload.len(), mask);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(body) = out.get_mut(start..) {
        apply_mask(body, mask);
    }
}

/// Appends the header of a masked frame to `out` and returns its length.
pub fn write_header(out: &mut Vec<u8>, opcode: Opcode, payload_len: usize, mask: Mask) -> usize {
    let start = out.len();
    out.push(0x80 | opcode.bits());
    match payload_len {
        // The casts keep what the patterns have just bounded.
        0..=125 => out.push(0x80 | payload_len as u8),
        126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(payload_len as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(payload_len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.len() - start
}

/// Masks or unmasks `body` in place, eight bytes at a time.
pub fn apply_mask(body: &mut [u8], mask: Mask) {
    if mask == MASK_ZERO {
        return;
    }
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = body.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    // Eight is a multiple of the key's length, so the tail starts at the key's first byte.
    for (byte, key) in tail.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// Reads code and reason of a close payload; `(1005, "")` when there are none.
#[must_use]
pub fn close_reason(payload: &[u8]) -> (u16, String) {
    match payload {
        [a, b, reason @ ..] => (u16::from_be_bytes([*a, *b]), String::from_utf8_lossy(reason).into_owned()),
        _ => (1005, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The server's frame with `len` payload bytes, written out independently of `write_header`.
    fn server_frame(len: usize) -> Vec<u8> {
        let mut bytes = vec![0x81];
        match len {
            0..=125 => bytes.push(u8::try_from(len).expect("short")),
            126..=65_535 => {
                bytes.push(126);
                bytes.extend(u16::try_from(len).expect("medium").to_be_bytes());
            }
            _ => {
                bytes.push(127);
                bytes.extend((len as u64).to_be_bytes());
            }
        }
        bytes.extend((0..len).map(|i| (i % 251) as u8));
        bytes
    }

    #[test]
    fn frames_of_every_length_form_are_read() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
            let mut bytes = server_frame(len);
            bytes.extend_from_slice(b"next");
            let frame = next_frame(&bytes).expect("valid").expect("complete");
            assert_eq!(frame.payload.len(), len);
            assert_eq!(frame.len, bytes.len() - 4);
            assert!(frame.payload.iter().enumerate().all(|(i, b)| usize::from(*b) == i % 251));
        }
    }

    #[test]
    fn every_cut_of_a_frame_is_incomplete() {
        for len in [5, 200, 65_540] {
            let bytes = server_frame(len);
            for cut in (0..14.min(bytes.len())).chain([bytes.len() - 1]) {
                assert_eq!(next_frame(&bytes[..cut]), Ok(None), "{len} cut at {cut}");
            }
        }
    }

    #[test]
    fn unusable_frames_are_refused() {
        assert_eq!(next_frame(&[0x01, 0x00]), Err(FrameError::Unsupported(0x01)));
        assert_eq!(next_frame(&[0xc1, 0x00]), Err(FrameError::Unsupported(0xc1)));
        assert_eq!(next_frame(&[0x81, 0x80, 0, 0, 0, 0]), Err(FrameError::Masked));
        let huge = [0x81, 127, 0, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(next_frame(&huge), Err(FrameError::TooLong(1 << 32)));
    }

    #[test]
    fn masking_matches_the_definition_and_undoes_itself() {
        for len in 0..40_usize {
            let plain: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
            let mut masked = plain.clone();
            apply_mask(&mut masked, MASK_FIXED);
            for (i, byte) in masked.iter().enumerate() {
                assert_eq!(*byte, plain[i] ^ MASK_FIXED[i % 4]);
            }
            apply_mask(&mut masked, MASK_FIXED);
            assert_eq!(masked, plain);
        }
    }

    #[test]
    fn known_vector_of_the_rfc() {
        // RFC 6455 §5.7: a single-frame masked text message "Hello".
        let mut out = Vec::new();
        write_frame(&mut out, Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn close_payloads() {
        assert_eq!(close_reason(&[]), (1005, String::new()));
        assert_eq!(close_reason(b"\x03\xe8bye"), (1000, "bye".to_owned()));
    }
}
