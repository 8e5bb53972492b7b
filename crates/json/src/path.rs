//! Paths into values.

use crate::{CompactString, Value};
use alloc::{borrow::Cow, boxed::Box};

/// A compiled path: own members of objects, indexes of arrays, and `length` of an array, separated by dots.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Path(Box<[Step]>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Step {
    name: CompactString,
    /// The name as an index of an array.
    index: Option<usize>,
}

impl Path {
    /// Compiles a path. Every text is one; the empty text is a member with an empty name.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.split('.').map(|name| Step { name: name.into(), index: array_index(name) }).collect())
    }

    /// The path without steps, which gives the whole value.
    #[must_use]
    pub fn root() -> Self {
        Self(Box::default())
    }

    /// Iterates over the names of the steps.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|step| step.name.as_str())
    }

    /// Follows the path from a value; `None` = absent.
    #[must_use]
    pub fn get<'a>(&self, value: &'a Value) -> Option<Cow<'a, Value>> {
        self.get_behind(0, value)
    }

    /// Follows the path without its first `skipped` steps.
    #[must_use]
    pub fn get_behind<'a>(&self, skipped: usize, value: &'a Value) -> Option<Cow<'a, Value>> {
        let steps = self.0.get(skipped..).unwrap_or_default();
        let mut at = value;
        for (i, step) in steps.iter().enumerate() {
            match (at, step.index) {
                (Value::Object(object), _) => at = object.get(&step.name)?,
                (Value::Array(items), Some(index)) => at = items.get(index)?,
                (Value::Array(items), None) if step.name == "length" && i + 1 == steps.len() => {
                    #[expect(clippy::cast_precision_loss, reason = "no array is that long")]
                    return Some(Cow::Owned(Value::Number(items.len() as f64)));
                }
                _ => return None,
            }
        }
        Some(Cow::Borrowed(at))
    }
}

/// Reads a canonical decimal index of an array.
#[must_use]
pub fn array_index(name: &str) -> Option<usize> {
    let digits = name.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = name.len() == 1 || !name.starts_with('0');
    (digits && canonical).then(|| name.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    #[test]
    fn paths_follow_members_indexes_and_length() {
        let value = parse(r#"{"a":[{"b":1},[2]],"":3,"length":4,"s":"xy"}"#, 8).expect("valid");
        for (path, expected) in [
            ("a.0.b", Some("1")),
            ("a.1.0", Some("2")),
            ("a.length", Some("2")),
            ("", Some("3")),
            ("length", Some("4")),
            ("a.00", None),
            ("a.length.x", None),
            ("a.2", None),
            ("s.length", None),
            ("s.0", None),
            ("a.0.b.c", None),
        ] {
            let found = Path::parse(path).get(&value).map(|found| found.to_json());
            assert_eq!(found.as_deref(), expected, "{path}");
        }
        assert_eq!(Path::root().get(&value).map(|found| found.to_json()), Some(value.to_json()));
        assert_eq!(
            Path::parse("x.s").get_behind(1, &value).map(|found| found.to_json()),
            Some("\"xy\"".into())
        );
    }
}
