//! Requests prepared once as whole masked frames, with slots for numbers.
//!
//! Sending one is a copy and a few digits, which keeps the generator cheaper than any server. A slot has a fixed width,
//! so the frame's length never changes; a number is written with leading zeros, so JSON numbers start above 10^(w-1).

use crate::frame::{self, Mask, Opcode};

/// First request id: ten digits wide from the start, and for nine billion requests on.
pub const ID_FIRST: u64 = 1_000_000_000;

/// A masked text frame with number slots.
#[derive(Clone, Debug)]
pub struct Template {
    frame: Vec<u8>,
    header_len: usize,
    mask: Mask,
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Offset in the frame.
    at: usize,
    width: usize,
}

impl Template {
    /// Prepares `text`; each run of `#` becomes a slot of that width, in order.
    #[must_use]
    pub fn new(text: &str, mask: Mask) -> Self {
        let mut frame = Vec::new();
        let header_len = frame::write_header(&mut frame, Opcode::Text, text.len(), mask);
        let mut slots: Vec<Slot> = Vec::new();
        for (index, _) in text.bytes().enumerate().filter(|(_, byte)| *byte == b'#') {
            let at = header_len + index;
            match slots.last_mut() {
                Some(slot) if slot.at + slot.width == at => slot.width += 1,
                _ => slots.push(Slot { at, width: 1 }),
            }
        }
        let mut body = text.as_bytes().to_vec();
        frame::apply_mask(&mut body, mask);
        frame.extend_from_slice(&body);
        Self { frame, header_len, mask, slots }
    }

    /// Number of slots.
    #[must_use]
    pub const fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// Appends the frame to `out` with `values` in its slots; digits that do not fit are cut off on the left.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>, values: &[u64]) {
        let start = out.len();
        out.extend_from_slice(&self.frame);
        let Some(frame) = out.get_mut(start..) else { return };
        for (slot, value) in self.slots.iter().zip(values) {
            let mut value = *value;
            let phase = slot.at - self.header_len;
            let Some(digits) = frame.get_mut(slot.at..slot.at + slot.width) else { continue };
            for (index, byte) in digits.iter_mut().enumerate().rev() {
                let [a, b, c, d] = self.mask;
                let key = match (phase + index) % 4 {
                    0 => a,
                    1 => b,
                    2 => c,
                    _ => d,
                };
                // A remainder of ten is one digit.
                *byte = (b'0' + (value % 10) as u8) ^ key;
                value /= 10;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{MASK_FIXED, MASK_ZERO, apply_mask};

    #[test]
    fn slots_are_filled_under_every_mask() {
        let long = "x".repeat(200);
        for mask in [MASK_ZERO, MASK_FIXED, [1, 2, 3, 4]] {
            for (text, values, expected) in [
                (r#"{"id":###,"k":"r#####"}"#, &[123, 42][..], r#"{"id":123,"k":"r00042"}"#.to_owned()),
                ("####", &[98_765], "8765".to_owned()),
                (&format!("{long}##"), &[7], format!("{long}07")),
            ] {
                let template = Template::new(text, mask);
                assert_eq!(template.slot_count(), values.len());
                let mut out = b"earlier".to_vec();
                template.write(&mut out, values);
                let frame = &out["earlier".len()..];
                assert_eq!(frame[0], 0x81);
                let mut body = frame[template.header_len..].to_vec();
                apply_mask(&mut body, mask);
                assert_eq!(String::from_utf8(body).as_deref(), Ok(expected.as_str()));
            }
        }
    }
}
