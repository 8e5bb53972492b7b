//! Key order of `ordered_set` buckets: numbers first, numerically; then the others by their text form in the root
//! collation of Unicode (punctuation not ignored).
//!
//! A key is turned once into bytes whose plain order is the wanted one: a class byte, then the bits of the number or
//! the sort key of the text. Keys that the collation does not tell apart are equal here.
//! Source: the store specification, section 8.2 and decision E-16.

use icu_collator::{
    CollatorBorrowed, CollatorPreferences,
    options::{AlternateHandling, CollatorOptions, Strength},
};
use noex_json::{Value, text_form};
use std::{borrow::Cow, sync::LazyLock};

#[cfg(test)]
mod tests;

/// A key's position; compares bytewise in key order. Ties fall back to base order.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct CollationKey(Vec<u8>);

impl CollationKey {
    /// Computes the position of a key.
    pub(crate) fn new(key: &Value) -> Self {
        let mut bytes = Vec::new();
        if let Value::Number(number) = key {
            bytes.push(CLASS_NUMBER);
            bytes.extend_from_slice(&ordered_bits(*number).to_be_bytes());
            return Self(bytes);
        }
        bytes.push(CLASS_TEXT);
        let text = match key {
            Value::String(text) => Cow::Borrowed(text.as_str()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                Cow::Owned(text_form(Some(key)))
            }
        };
        match &*COLLATOR {
            Some(collator) => {
                let Ok(()) = collator.write_sort_key_to(&text, &mut bytes);
            }
            None => bytes.extend_from_slice(text.as_bytes()),
        }
        Self(bytes)
    }
}

const CLASS_NUMBER: u8 = 0;
const CLASS_TEXT: u8 = 1;

/// The root collation. `None` cannot happen, since its data are part of the program; then code points would decide.
static COLLATOR: LazyLock<Option<CollatorBorrowed<'static>>> = LazyLock::new(|| {
    let mut options = CollatorOptions::default();
    options.strength = Some(Strength::Tertiary);
    options.alternate_handling = Some(AlternateHandling::NonIgnorable);
    CollatorBorrowed::try_new(CollatorPreferences::default(), options).ok()
});

/// Maps a double to an integer of the same order; both zeros to one.
fn ordered_bits(number: f64) -> u64 {
    let bits = if number == 0.0 { 0 } else { number.to_bits() };
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}
