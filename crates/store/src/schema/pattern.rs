//! Regular expressions of schemas: ECMAScript's syntax (no flags, with the extensions for web browsers), matched in
//! linear time.
//!
//! ECMAScript works on UTF-16 code units, so a character beyond U+FFFF is two of them. To keep that exact, a
//! surrogate is stood for by a character of [`STAND_IN`]: the pattern is translated unit by unit, and the rare text
//! that has such characters is rewritten before it is searched. The stand-ins are themselves beyond U+FFFF, so no
//! rewritten text contains them with another meaning.
//! Source: ECMA-262, "Patterns" and Annex B.1.2; the store specification, section 5.

mod class;
#[cfg(test)]
mod tests;
mod translate;

use noex_json::CompactString;
use regex::Regex;
use std::borrow::Cow;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    source: CompactString,
    regex: Regex,
}

impl Pattern {
    /// Compiles a pattern; `None` if it is no pattern, needs more than linear time (back-references, look-around), or
    /// is too large.
    pub(super) fn parse(source: &str) -> Option<Self> {
        if source.len() > SOURCE_BYTES_MAX {
            return None;
        }
        let translated = translate::translate(source)?;
        let regex = regex::RegexBuilder::new(&translated)
            .size_limit(PROGRAM_BYTES_MAX)
            .dfa_size_limit(CACHE_BYTES_MAX)
            .build()
            .ok()?;
        Some(Self { source: source.into(), regex })
    }

    /// Gives the pattern as it was written.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Tells whether the pattern is found anywhere in a text.
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(&in_units(text))
    }
}

/// Rewrites characters beyond U+FFFF as two stand-ins.
fn in_units(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte < 0xF0) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.encode_utf16().map(unit_char).collect())
}

/// Gives the character for a code unit: itself, or the stand-in of a surrogate.
fn unit_char(unit: u16) -> char {
    let code = u32::from(unit);
    char::from_u32(code).or_else(|| char::from_u32(STAND_IN + code)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Distance from a surrogate to its stand-in.
const STAND_IN: u32 = 0x10_0000;

/// Longest pattern. Generous for what people write; the size of the program is what really matters.
const SOURCE_BYTES_MAX: usize = 4096;

/// Largest compiled program, which bounds the time of a definition and of each match.
const PROGRAM_BYTES_MAX: usize = 1 << 20;

/// Largest cache of a lazily built automaton, per thread.
const CACHE_BYTES_MAX: usize = 1 << 20;
