//! Sets of UTF-16 code units, and how they are written in the syntax of `regex`.

use super::unit_char;
use std::fmt::Write;

/// A set of code units, as ranges with both ends included, in any order.
#[derive(Clone, Debug, Default)]
pub(super) struct Class(Vec<(u16, u16)>);

impl Class {
    pub(super) fn add(&mut self, first: u16, last: u16) {
        self.0.push((first, last));
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// Finds the set of a class escape such as `d` or `W`.
    pub(super) fn by_escape(unit: u16) -> Option<Self> {
        let ranges: &[(u16, u16)] = match u8::try_from(unit).ok()?.to_ascii_lowercase() {
            b'd' => DIGITS,
            b's' => SPACES,
            b'w' => WORD,
            _ => return None,
        };
        let class = Self(ranges.to_vec());
        let negated = matches!(u8::try_from(unit), Ok(b'D' | b'S' | b'W'));
        Some(if negated { class.complement() } else { class })
    }

    /// What `.` matches: all but line terminators.
    pub(super) fn dot() -> Self {
        Self(LINE_ENDS.to_vec()).complement()
    }

    pub(super) fn complement(mut self) -> Self {
        self.normalize();
        let (mut ranges, mut next) = (Vec::new(), Some(0_u16));
        for (first, last) in self.0 {
            if let Some(next) = next
                && next < first
            {
                ranges.push((next, first - 1));
            }
            next = last.checked_add(1);
        }
        if let Some(next) = next {
            ranges.push((next, u16::MAX));
        }
        Self(ranges)
    }

    /// Sorts the ranges and joins those that touch.
    fn normalize(&mut self) {
        self.0.sort_unstable();
        let mut joined: Vec<(u16, u16)> = Vec::with_capacity(self.0.len());
        for &(first, last) in &self.0 {
            match joined.last_mut() {
                Some(previous) if u32::from(first) <= u32::from(previous.1) + 1 => {
                    previous.1 = previous.1.max(last);
                }
                _ => joined.push((first, last)),
            }
        }
        self.0 = joined;
    }

    /// Appends the set as a class of characters.
    pub(super) fn write(mut self, out: &mut String) {
        self.normalize();
        if self.0.is_empty() {
            out.push_str(NOTHING);
            return;
        }
        out.push('[');
        for (first, last) in self.0 {
            // Surrogates and the units around them stand for characters of different regions.
            for (low, high) in [(0, 0xD7FF), (0xD800, 0xDFFF), (0xE000, u16::MAX)] {
                let (first, last) = (first.max(low), last.min(high));
                if first <= last {
                    write_unit(out, first);
                    out.push('-');
                    write_unit(out, last);
                }
            }
        }
        out.push(']');
    }
}

/// Appends one code unit, escaped so that it has no special meaning anywhere.
pub(super) fn write_unit(out: &mut String, unit: u16) {
    let _ = write!(out, "\\x{{{:X}}}", u32::from(unit_char(unit)));
}

/// A class that no character is in.
const NOTHING: &str = r"[^\x{0}-\x{10FFFF}]";

const DIGITS: &[(u16, u16)] = &[(0x30, 0x39)];
const WORD: &[(u16, u16)] = &[(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)];
const LINE_ENDS: &[(u16, u16)] = &[(0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029)];
const SPACES: &[(u16, u16)] = &[
    (0x09, 0x0D),
    (0x20, 0x20),
    (0xA0, 0xA0),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x2028, 0x2029),
    (0x202F, 0x202F),
    (0x205F, 0x205F),
    (0x3000, 0x3000),
    (0xFEFF, 0xFEFF),
];
