//! What happened: a hash of everything, and the last lines.

use noex_host::Instant;
use std::{collections::VecDeque, fmt::Write};

/// Lines that are kept.
const TAIL_LINES: usize = 60;
/// Characters of a line that are kept; the hash covers all.
const LINE_CHARS: usize = 220;

/// A running record.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    tail: VecDeque<String>,
    /// Frames sent and received by clients.
    pub(crate) messages: u64,
}

impl Default for Trace {
    fn default() -> Self {
        // FNV-1a, 64 bits.
        Self { hash: 0xCBF2_9CE4_8422_2325, tail: VecDeque::new(), messages: 0 }
    }
}

impl Trace {
    pub(crate) fn note(&mut self, now: Instant, who: u64, what: &str, text: &str) {
        let mut line = String::with_capacity(LINE_CHARS + 40);
        let _ = write!(line, "{:>12} c{who} {what} ", now.as_micros());
        for byte in line.bytes().chain(text.bytes()) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
        }
        line.extend(text.chars().take(LINE_CHARS));
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }
}
