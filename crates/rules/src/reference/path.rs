//! Paths into what an activation can see.

use super::{Resolved, Scope};
use noex_json::{Object, Value};
use std::borrow::Cow;

/// A compiled path: names of members, indexes of elements, and `length` of arrays, separated by dots.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Path(noex_json::Path);

impl Path {
    /// Compiles a path. Every text is one; the empty text is a member with an empty name.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(noex_json::Path::parse(text))
    }

    /// The path without steps, which gives the whole value.
    #[must_use]
    pub fn root() -> Self {
        Self(noex_json::Path::root())
    }

    /// Iterates over the names of the steps.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.names()
    }

    /// Follows the path from a value; `None` = absent.
    #[must_use]
    pub fn get<'a>(&self, value: &'a Value) -> Option<Cow<'a, Value>> {
        self.0.get(value)
    }

    /// Follows the path from the data of an event: if it begins with `data` and there is no such member, that step is
    /// skipped.
    #[must_use]
    pub fn get_data<'a>(&self, data: &'a Value) -> Option<Cow<'a, Value>> {
        self.0.get_behind(self.skipped(data.as_object()), data)
    }

    /// Follows the path from the payload of an activation, which has members for the envelope in addition.
    pub(crate) fn get_payload<'a>(&self, scope: &'a dyn Scope) -> Resolved<'a> {
        let payload = scope.payload();
        let members = payload.as_object();
        let skipped = self.skipped(members);
        if let Some(first) = self.names().nth(skipped)
            && first.starts_with('$')
            && !has(members, first)
        {
            let value = scope.envelope(first)?;
            return self.0.get_behind(skipped + 1, &value).map(|found| Cow::Owned(found.into_owned()));
        }
        self.0.get_behind(skipped, payload)
    }

    /// Steps to leave out: one, if it is the shortcut `data`.
    fn skipped(&self, members: Option<&Object>) -> usize {
        usize::from(self.names().next() == Some("data") && !has(members, "data"))
    }
}

fn has(members: Option<&Object>, name: &str) -> bool {
    members.is_some_and(|members| members.contains(name))
}
