//! Typed access to one object of the config file.
//!
//! Input: the members of an object and its path. Output: values in range; problems and unknown keys in a [`Report`].
//! Invariant: a key is known if it was asked for, so the list of known keys cannot differ from the code that reads them.

use std::fmt::Display;

use serde_json::{Map, Value};

/// Problems found so far, in the order of the checks.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Texts without `Error: `.
    pub(super) errors: Vec<String>,
    /// Paths of keys that mean nothing.
    pub(super) unknown: Vec<String>,
    /// Texts with `Warning: `.
    pub(super) warnings: Vec<String>,
}

/// Integers a key accepts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Range {
    /// Both ends included.
    Between(u64, u64),
    /// Up to the largest integer that a double holds exactly.
    AtLeast(u64),
}

/// 2^53 - 1: times are added to the clock, so there must be room above.
const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

impl Range {
    fn contains(self, value: u64) -> bool {
        match self {
            Self::Between(min, max) => (min..=max).contains(&value),
            Self::AtLeast(min) => (min..=SAFE_INTEGER_MAX).contains(&value),
        }
    }

    fn requirement(self) -> String {
        match self {
            Self::Between(min, max) => format!("integer {min}-{max}"),
            Self::AtLeast(min) => format!("integer >= {min}"),
        }
    }
}

/// One object of the document while it is read. End with [`Section::finish`].
#[must_use]
#[derive(Debug)]
pub(super) struct Section<'d, 'r> {
    path: String,
    members: &'d Map<String, Value>,
    known: Vec<&'static str>,
    /// Whether keys that look like tokens are kept out of messages.
    confidential: bool,
    pub(super) report: &'r mut Report,
}

impl<'d, 'r> Section<'d, 'r> {
    /// Starts reading `members`; `path` is empty for the whole document.
    pub(super) fn new(path: String, members: &'d Map<String, Value>, report: &'r mut Report) -> Self {
        Self { path, members, known: Vec::new(), confidential: false, report }
    }

    /// Keeps unknown keys that look like tokens out of messages.
    pub(super) fn confidential(mut self) -> Self {
        self.confidential = true;
        self
    }

    /// Reports the keys nobody asked for.
    pub(super) fn finish(self) {
        for (key, value) in self.members {
            if self.known.contains(&key.as_str()) {
                continue;
            }
            let key = if self.confidential && may_be_token(key, value) { "***" } else { key };
            self.report.unknown.push(join(&self.path, key));
        }
    }

    /// Returns the member `key` and makes the key known.
    pub(super) fn take(&mut self, key: &'static str) -> Option<&'d Value> {
        self.known.push(key);
        self.members.get(key)
    }

    /// Makes `key` known and tells whether it is there.
    pub(super) fn has(&mut self, key: &'static str) -> bool {
        self.take(key).is_some()
    }

    /// Reports a problem in words of its own.
    pub(super) fn error(&mut self, message: impl Into<String>) {
        self.report.errors.push(message.into());
    }

    /// Reports that the value of `key` breaks its requirement.
    pub(super) fn invalid(&mut self, key: &str, value: Option<&Value>, requirement: impl Display) {
        match value {
            Some(value) => self.invalid_shown(key, value, requirement),
            None => self.invalid_shown(key, "undefined", requirement),
        }
    }

    /// As `invalid`, with the text that stands for the value.
    pub(super) fn invalid_shown(&mut self, key: &str, shown: impl Display, requirement: impl Display) {
        let path = join(&self.path, key);
        self.error(format!("Invalid {path}: {shown} (must be {requirement})"));
    }

    /// Reads a boolean into `target`.
    pub(super) fn boolean(&mut self, key: &'static str, target: &mut bool) {
        let Some(value) = self.take(key) else { return };
        match value.as_bool() {
            Some(on) => *target = on,
            None => self.invalid(key, Some(value), "boolean"),
        }
    }

    /// Reads an integer into `target`, whose type must hold the whole range.
    pub(super) fn integer<T: TryFrom<u64>>(&mut self, key: &'static str, range: Range, target: &mut T) {
        if let Some(value) = self.take(key) {
            self.integer_value(key, Some(value), range, target);
        }
    }

    /// As `integer`, but the key must be there.
    pub(super) fn required_integer<T: TryFrom<u64>>(
        &mut self,
        key: &'static str,
        range: Range,
        target: &mut T,
    ) {
        let value = self.take(key);
        self.integer_value(key, value, range, target);
    }

    fn integer_value<T: TryFrom<u64>>(
        &mut self,
        key: &str,
        value: Option<&Value>,
        range: Range,
        target: &mut T,
    ) {
        let integer = value.and_then(as_integer).filter(|&n| range.contains(n));
        match integer.and_then(|n| T::try_from(n).ok()) {
            Some(n) => *target = n,
            None => self.invalid(key, value, range.requirement()),
        }
    }

    /// Reads a string that is not empty.
    pub(super) fn string(&mut self, key: &'static str) -> Option<String> {
        let value = self.take(key)?;
        let text = value.as_str().filter(|text| !text.is_empty());
        if text.is_none() {
            self.invalid(key, Some(value), "non-empty string");
        }
        text.map(str::to_owned)
    }

    /// Reads one of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)], target: &mut T) {
        let Some(value) = self.take(key) else { return };
        let word = value.as_str();
        match choices.iter().find(|(name, _)| Some(*name) == word) {
            Some((_, choice)) => *target = *choice,
            None => self.invalid(key, Some(value), one_of(choices)),
        }
    }

    /// Reads an array of strings that satisfy `accept`.
    pub(super) fn strings(
        &mut self,
        key: &'static str,
        accept: fn(&str) -> bool,
        requirement: &str,
    ) -> Option<Vec<String>> {
        let value = self.take(key)?;
        let strings = as_strings(value, accept);
        if strings.is_none() {
            self.invalid(key, Some(value), requirement);
        }
        strings
    }

    /// Opens the object `key`.
    pub(super) fn object<'s>(&'s mut self, key: &'static str) -> Option<Section<'d, 's>> {
        let value = self.take(key)?;
        let Some(members) = value.as_object() else {
            self.invalid(key, Some(value), "object");
            return None;
        };
        Some(Section::new(join(&self.path, key), members, self.report))
    }
}

/// Reads a non-negative integer; `8080.0` and `1e3` are integers, as in JavaScript.
pub(super) fn as_integer(value: &Value) -> Option<u64> {
    if let Some(integer) = value.as_u64() {
        return Some(integer);
    }
    let number = value.as_f64().filter(|n| n.fract() == 0.0 && (0.0..=SAFE_INTEGER_MAX as f64).contains(n));
    // In range and whole, so the conversion is exact.
    number.map(|n| n as u64)
}

/// Reads an array of strings that satisfy `accept`.
pub(super) fn as_strings(value: &Value, accept: fn(&str) -> bool) -> Option<Vec<String>> {
    let elements = value.as_array()?.iter();
    elements.map(|element| element.as_str().filter(|text| accept(text)).map(str::to_owned)).collect()
}

/// Accepts a string that is not empty.
pub(super) fn not_empty(text: &str) -> bool {
    !text.is_empty()
}

/// Joins the path of an object and a key.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Names the words: `"a"`, `"a" or "b"`, `"a", "b" or "c"`.
fn one_of<T>(choices: &[(&str, T)]) -> String {
    let quoted: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Longest name of a key by some distance; tokens are longer or hold digits and signs.
const KEY_LETTERS_MAX: usize = 24;

/// Tells whether an unknown key could be a token in the wrong place rather than a misspelt key.
fn may_be_token(key: &str, value: &Value) -> bool {
    let like_a_key = key.len() <= KEY_LETTERS_MAX && key.bytes().all(|b| b.is_ascii_alphabetic());
    !like_a_key || value.get("userId").is_some() || value.get("roles").is_some()
}
