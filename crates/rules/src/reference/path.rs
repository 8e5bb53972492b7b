//! Paths into values.

use super::{Resolved, Scope};
use noex_json::{CompactString, Object, Value};
use std::borrow::Cow;

/// A compiled path: names of members, indexes of elements, and `length` of arrays, separated by dots.
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
        Self(text.split('.').map(|name| Step { name: name.into(), index: index(name) }).collect())
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
        walk(&self.0, value)
    }

    /// Follows the path from the data of an event: if it begins with `data` and there is no such member, that step is
    /// skipped.
    #[must_use]
    pub fn get_data<'a>(&self, data: &'a Value) -> Option<Cow<'a, Value>> {
        walk(self.steps_for(data.as_object()), data)
    }

    /// Follows the path from the payload of an activation, which has members for the envelope in addition.
    pub(crate) fn get_payload<'a>(&self, scope: &'a dyn Scope) -> Resolved<'a> {
        let payload = scope.payload();
        let members = payload.as_object();
        let steps = self.steps_for(members);
        if let Some((first, rest)) = steps.split_first()
            && first.name.starts_with('$')
            && !has(members, &first.name)
        {
            let value = scope.envelope(&first.name)?;
            return walk(rest, &value).map(|found| Cow::Owned(found.into_owned()));
        }
        walk(steps, payload)
    }

    fn steps_for(&self, members: Option<&Object>) -> &[Step] {
        match self.0.split_first() {
            Some((first, rest)) if first.name == "data" && !has(members, "data") => rest,
            _ => &self.0,
        }
    }
}

fn has(members: Option<&Object>, name: &str) -> bool {
    members.is_some_and(|members| members.contains(name))
}

fn walk<'a>(steps: &[Step], value: &'a Value) -> Resolved<'a> {
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

/// Reads a canonical decimal index.
pub(super) fn index(name: &str) -> Option<usize> {
    let digits = name.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = name.len() == 1 || !name.starts_with('0');
    (digits && canonical).then(|| name.parse().ok()).flatten()
}
