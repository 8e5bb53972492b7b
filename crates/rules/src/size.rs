//! How big and how deep a value is: what rules produce must stay within bounds.

use noex_json::{Object, Value};

/// Estimates the memory of a value's contents, in bytes. Recursion depth is the depth of the value.
pub(crate) fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|item| size_of::<Value>() + value_bytes(item)).sum(),
        Value::Object(object) => object_bytes(object),
    }
}

/// As [`value_bytes`], for the members of an object.
pub(crate) fn object_bytes(object: &Object) -> usize {
    object.iter().map(|(name, value)| size_of::<Value>() + 24 + name.len() + value_bytes(value)).sum()
}

/// Why a value is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TooBig {
    Bytes,
    Depth,
}

/// What is left of an allowance while a value is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    bytes: usize,
}

impl Allowance {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes: bytes_max }
    }

    /// Takes the size of a value from the allowance; stops at once where it is used up.
    pub(crate) fn take(&mut self, value: &Value, depth_max: usize) -> Result<(), TooBig> {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
            Value::String(text) => self.spend(text.len()),
            Value::Array(items) => {
                let depth_max = depth_max.checked_sub(1).ok_or(TooBig::Depth)?;
                self.spend(items.len().saturating_mul(size_of::<Value>()))?;
                items.iter().try_for_each(|item| self.take(item, depth_max))
            }
            Value::Object(object) => self.take_object(object, depth_max),
        }
    }

    /// As [`Allowance::take`], for an object.
    pub(crate) fn take_object(&mut self, object: &Object, depth_max: usize) -> Result<(), TooBig> {
        let depth_max = depth_max.checked_sub(1).ok_or(TooBig::Depth)?;
        object.iter().try_for_each(|(name, value)| {
            self.spend(size_of::<Value>() + 24 + name.len())?;
            self.take(value, depth_max)
        })
    }

    fn spend(&mut self, bytes: usize) -> Result<(), TooBig> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(TooBig::Bytes)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use noex_json::parse;

    #[test]
    fn depth_and_size_are_bounded() {
        let value = parse(r#"{"a":[[1,"xyz"]]}"#, 64).expect("valid");
        assert_eq!(Allowance::new(1000).take(&value, 3), Ok(()));
        assert_eq!(Allowance::new(1000).take(&value, 2), Err(TooBig::Depth));
        let exact = value_bytes(&value);
        assert_eq!(Allowance::new(exact).take(&value, 3), Ok(()));
        assert_eq!(Allowance::new(exact - 1).take(&value, 3), Err(TooBig::Bytes));
    }
}
