//! A string that must not reach a log.
//!
//! Input: the secret text. Output: the same text, only through [`Secret::expose`]; `Debug` shows a placeholder.

use std::fmt;

/// Wraps a secret so that printing a structure that holds it does not reveal it.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the secret itself; the caller answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Tells whether the secret has no characters.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}
