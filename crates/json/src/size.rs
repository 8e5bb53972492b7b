//! How big and how deep a value is: what rules and procedures make must stay within bounds.

use crate::{CompactString, Object, Value};

/// Estimates the memory of a value's contents, in bytes. Recursion depth is the depth of the value.
#[must_use]
pub fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|item| size_of::<Value>() + value_bytes(item)).sum(),
        Value::Object(object) => object_bytes(object),
    }
}

/// As [`value_bytes`], for the members of an object.
#[must_use]
pub fn object_bytes(object: &Object) -> usize {
    object.iter().map(|(name, value)| size_of::<Value>() + 24 + name.len() + value_bytes(value)).sum()
}

/// Why a value is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TooBig {
    /// It is too big.
    Bytes,
    /// It nests too deep.
    Depth,
}

/// What is left of an allowance while a value is measured.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    bytes: usize,
}

impl Allowance {
    /// Makes an allowance of so many bytes, as [`value_bytes`] counts them.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes: bytes_max }
    }

    /// Takes the size of a value from the allowance; stops at once where it is used up.
    ///
    /// # Errors
    /// If less than that is left, or the value nests deeper than `depth_max` arrays and objects.
    pub fn take(&mut self, value: &Value, depth_max: usize) -> Result<(), TooBig> {
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
    ///
    /// # Errors
    /// As [`Allowance::take`].
    pub fn take_object(&mut self, object: &Object, depth_max: usize) -> Result<(), TooBig> {
        self.take_members(object.iter(), depth_max)
    }

    /// As [`Allowance::take_object`], for the members of one.
    ///
    /// # Errors
    /// As [`Allowance::take`].
    pub fn take_members<'v>(
        &mut self,
        mut members: impl Iterator<Item = (&'v CompactString, &'v Value)>,
        depth_max: usize,
    ) -> Result<(), TooBig> {
        let depth_max = depth_max.checked_sub(1).ok_or(TooBig::Depth)?;
        members.try_for_each(|(name, value)| {
            self.spend(size_of::<Value>() + 24 + name.len())?;
            self.take(value, depth_max)
        })
    }

    /// Takes bytes from the allowance.
    ///
    /// # Errors
    /// If less is left.
    pub fn spend(&mut self, bytes: usize) -> Result<(), TooBig> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(TooBig::Bytes)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

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
