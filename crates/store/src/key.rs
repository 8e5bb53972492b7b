//! Scalars as keys: typed, hashable and ordered.
//!
//! Two scalars are the same key exactly if they are identical (`===`): `1` is not `"1"`, `-0` is `0`. Arrays, objects,
//! `null` and NaN are no scalars here: they are identical to nothing that could be looked up.
//! Order: booleans, then numbers, then strings by UTF-16 code units.

use hashbrown::Equivalent;
use noex_json::{CompactString, Raw, Value, utf16_cmp};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// A number with a total order; never NaN, and `-0` is `0`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Real(f64);

impl Real {
    /// Zero.
    pub(crate) const ZERO: Self = Self(0.0);

    /// Wraps a number; `None` for NaN.
    pub(crate) fn new(number: f64) -> Option<Self> {
        // Adding zero turns -0 into 0.
        (!number.is_nan()).then_some(Self(number + 0.0))
    }

    /// Wraps the number in a value, if it is one.
    pub(crate) fn of(value: Option<&Value>) -> Option<Self> {
        value.and_then(Value::as_number).and_then(Self::new)
    }

    /// Gives the number.
    pub(crate) fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Real {}

impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Real {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        // Neither NaN nor -0 is among them, so this is a total order.
        if self.0 < other.0 {
            Ordering::Less
        } else if self.0 > other.0 {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    }
}

impl Hash for Real {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// Text ordered by UTF-16 code units.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Text(CompactString);

impl Text {
    /// Wraps a text.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.into())
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        utf16_cmp(&self.0, &other.0)
    }
}

/// A value that can be looked up.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Real),
    /// Text.
    String(Text),
}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scalar {
    // A search in an index is little else.
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => one.cmp(other),
            (Self::String(one), Self::String(other)) => one.cmp(other),
            (Self::Bool(one), Self::Bool(other)) => one.cmp(other),
            (Self::Bool(_), _) | (Self::Number(_), Self::String(_)) => Ordering::Less,
            (Self::Number(_), Self::Bool(_)) | (Self::String(_), _) => Ordering::Greater,
        }
    }
}

/// A scalar to look up in a hash map, not copied out of its value. The hash is that of the [`Scalar`].
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) enum Sought<'a> {
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Real),
    /// Text.
    String(&'a str),
}

impl<'a> Sought<'a> {
    /// Refers to a value; `None` if it can never be found.
    pub(crate) fn new(value: &'a Value) -> Option<Self> {
        match value {
            Value::Bool(flag) => Some(Self::Bool(*flag)),
            Value::Number(number) => Real::new(*number).map(Self::Number),
            Value::String(text) => Some(Self::String(text)),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// Refers to a number or a string without escapes in a text; for other values `None`.
    pub(crate) fn in_text(value: Raw<'a>) -> Option<Self> {
        match value.as_str() {
            Some(Cow::Borrowed(text)) => Some(Self::String(text)),
            Some(Cow::Owned(_)) => None,
            None => value.as_number().and_then(Real::new).map(Self::Number),
        }
    }
}

impl Equivalent<Scalar> for Sought<'_> {
    fn equivalent(&self, key: &Scalar) -> bool {
        match (self, key) {
            (Self::Bool(sought), Scalar::Bool(flag)) => sought == flag,
            (Self::Number(sought), Scalar::Number(number)) => sought == number,
            (Self::String(sought), Scalar::String(text)) => text.0 == **sought,
            (Self::Bool(_) | Self::Number(_) | Self::String(_), _) => false,
        }
    }
}

/// Type of a scalar.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Class {
    /// Booleans.
    Bool,
    /// Numbers.
    Number,
    /// Strings.
    String,
}

impl Scalar {
    /// Converts a value; `None` if it can never be found.
    pub(crate) fn new(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(flag) => Some(Self::Bool(*flag)),
            Value::Number(number) => Real::new(*number).map(Self::Number),
            Value::String(text) => Some(Self::String(Text(text.clone()))),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// Gives the type.
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Bool(_) => Class::Bool,
            Self::Number(_) => Class::Number,
            Self::String(_) => Class::String,
        }
    }

    /// Gives the least scalar of a class; for strings the least that is greater than all numbers.
    pub(crate) fn least(class: Class) -> Self {
        match class {
            Class::Bool => Self::Bool(false),
            Class::Number => Self::Number(Real(f64::NEG_INFINITY)),
            Class::String => Self::String(Text(CompactString::default())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_typed_and_zero_has_no_sign() {
        let key = |value: &Value| Scalar::new(value);
        assert_eq!(key(&Value::Number(-0.0)), key(&Value::Number(0.0)));
        assert_ne!(key(&Value::Number(1.0)), key(&Value::from("1")));
        assert_ne!(key(&Value::Number(1.0)), key(&Value::Bool(true)));
        for value in
            [Value::Null, Value::Number(f64::NAN), Value::from(vec![]), Value::Object(Default::default())]
        {
            assert_eq!(key(&value), None);
        }
    }

    #[test]
    fn what_is_sought_hashes_as_the_key_it_equals() {
        use std::hash::{BuildHasher, RandomState};
        let values =
            [Value::Bool(true), Value::Number(-0.0), Value::Number(1.0), Value::from("1"), Value::from("")];
        let hasher = RandomState::new();
        for sought in &values {
            for key in &values {
                let (found, scalar) = (Sought::new(sought).unwrap(), Scalar::new(key).unwrap());
                assert_eq!(found.equivalent(&scalar), Scalar::new(sought).as_ref() == Some(&scalar));
                if found.equivalent(&scalar) {
                    assert_eq!(hasher.hash_one(found), hasher.hash_one(&scalar));
                }
            }
        }
        assert!(Sought::new(&Value::Number(f64::NAN)).is_none() && Sought::new(&Value::Null).is_none());
    }

    #[test]
    fn a_key_in_a_text_finds_what_its_value_would() {
        for text in ["1", "-0", "0.5e1", "-1e400", r#""""#, r#""key-1""#, "\"\u{e9}\""] {
            let raw = noex_json::scan(text, 1).expect("valid");
            let key = Scalar::new(&raw.to_value()).expect("a scalar");
            assert!(Sought::in_text(raw).is_some_and(|sought| sought.equivalent(&key)), "{text}");
        }
        for text in ["null", "true", "[1]", "{}", r#""\u0061""#] {
            let raw = noex_json::scan(text, 2).expect("valid");
            assert!(Sought::in_text(raw).is_none(), "{text}");
        }
    }

    #[test]
    fn classes_follow_each_other_and_text_goes_by_code_units() {
        let values = [
            Value::Bool(false),
            Value::Bool(true),
            Value::Number(f64::NEG_INFINITY),
            Value::Number(-1.0),
            Value::Number(0.0),
            Value::Number(2.5),
            Value::Number(f64::INFINITY),
            Value::from(""),
            Value::from("a"),
            Value::from("\u{1F600}"),
            Value::from("\u{E000}"),
        ];
        let keys: Vec<Scalar> = values.iter().filter_map(Scalar::new).collect();
        assert_eq!(keys.len(), values.len());
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(Scalar::least(Class::String) > keys[6] && Scalar::least(Class::Number) > keys[1]);
    }
}
