//! The value type.

use crate::{
    Object,
    write::{write_kept_value, write_value},
};
use alloc::{boxed::Box, string::String, vec::Vec};
use compact_str::CompactString;

/// One JSON value. Absence of a member is expressed by `Option<&Value>`, never by a variant.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An IEEE double. Infinities come from overflowing input or sums and are written as `null`.
    Number(f64),
    /// Text.
    String(CompactString),
    /// A list. Boxed, as objects are, so that a value is no larger than a text.
    Array(Box<[Value]>),
    /// Members in the order of [`Object`].
    Object(Box<Object>),
}

impl Value {
    /// Gives the text, if this is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Value::String(text) = self { Some(text) } else { None }
    }

    /// Gives the number, if this is one.
    #[must_use]
    pub fn as_number(&self) -> Option<f64> {
        if let Value::Number(number) = self { Some(*number) } else { None }
    }

    /// Gives the boolean, if this is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(flag) = self { Some(*flag) } else { None }
    }

    /// Gives the elements, if this is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Value]> {
        if let Value::Array(items) = self { Some(items) } else { None }
    }

    /// Gives the members, if this is an object.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object> {
        if let Value::Object(object) = self { Some(object) } else { None }
    }

    /// Tells whether this is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Names the type as error messages do: `string`, `number`, `boolean`, `object`, `array` or `null`.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        }
    }

    /// Serialises the value in its compact form.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        write_value(&mut out, self);
        out
    }

    /// Serialises the value so that parsing gives it back, infinities included; see
    /// [`write_kept_value`](crate::write_kept_value).
    #[must_use]
    pub fn to_kept_json(&self) -> String {
        let mut out = String::new();
        write_kept_value(&mut out, self);
        out
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Value::Bool(flag)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Value::Number(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::String(text.into())
    }
}

impl From<CompactString> for Value {
    fn from(text: CompactString) -> Self {
        Value::String(text)
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Value::Object(Box::new(object))
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Value::Array(items.into_boxed_slice())
    }
}

/// Structural equality in the sense of [`crate::deep_equal`].
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        crate::deep_equal(self, other)
    }
}
