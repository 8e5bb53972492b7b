//! One immutable version of a record, shared by everything that shows it.

use crate::collation::CollationKey;
use crate::members::{Members, Shapes};
use noex_json::{Object, Value, write_kept_value, write_string, write_value};
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

/// Name of the version member.
pub(crate) const VERSION: &str = "_version";
/// Name of the member with the time of insertion.
pub(crate) const CREATED_AT: &str = "_createdAt";
/// Name of the member with the time of the last change.
pub(crate) const UPDATED_AT: &str = "_updatedAt";
/// Name of the member with the time of expiry.
pub(crate) const EXPIRES_AT: &str = "_expiresAt";

/// One version of a record. Its JSON text is produced once, when first asked for.
#[derive(Debug)]
pub struct Record {
    members: Members,
    version: u64,
    /// Place in key order; only in buckets that have one.
    order: Option<Arc<CollationKey>>,
    json: OnceLock<Arc<str>>,
}

impl Record {
    /// Wraps the members of a record.
    pub(crate) fn new(members: Members, version: u64, order: Option<Arc<CollationKey>>) -> Arc<Self> {
        Arc::new(Self { members, version, order, json: OnceLock::new() })
    }

    /// Makes a record of what was kept of it: its members tell the version.
    pub(crate) fn restored(members: Object, shapes: &mut Shapes) -> Arc<Self> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; a count")]
        let version = members.get(VERSION).and_then(Value::as_number).map_or(1, |version| version as u64);
        Self::new(Members::new(members, shapes), version.max(1), None)
    }

    /// Gives the members, metadata included.
    #[must_use]
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Gives the value of the key field.
    #[must_use]
    pub fn key(&self) -> &Value {
        const ABSENT: &Value = &Value::Null;
        self.members.key().unwrap_or(ABSENT)
    }

    /// Gives the version, 1 for a new record.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Gives the record as compact JSON text.
    #[must_use]
    pub fn json(&self) -> &Arc<str> {
        self.json.get_or_init(|| write_members(&self.members, write_value).into())
    }

    /// Gives the record as text for what is kept: that of [`Record::json`] if nothing in it is infinite, which JSON
    /// has no number for.
    #[must_use]
    pub fn kept_json(&self) -> Cow<'_, str> {
        let text = self.json();
        if text.contains("null") {
            Cow::Owned(write_members(&self.members, write_kept_value))
        } else {
            Cow::Borrowed(text)
        }
    }

    /// Gives the place in key order.
    pub(crate) fn order(&self) -> Option<&Arc<CollationKey>> {
        self.order.as_ref()
    }

    /// Makes the next version: `changes` replace members or are added, the metadata follows.
    pub(crate) fn next(&self, changes: Object, now_ms: u64, shapes: &mut Shapes) -> Arc<Self> {
        let version = self.version.saturating_add(1);
        let stamps = || [number(version), number(now_ms)];
        let members = self.members.changed(changes, stamps()).unwrap_or_else(|changes| {
            let mut members = self.members.to_object();
            members.merge(changes);
            for (name, stamp) in [VERSION, UPDATED_AT].into_iter().zip(stamps()) {
                members.set(name, stamp);
            }
            Members::new(members, shapes)
        });
        Self::new(members, version, self.order.clone())
    }
}

/// Converts a count or a time in ms; exact below 2^53.
pub(crate) fn number(integer: u64) -> Value {
    Value::Number(integer as f64)
}

/// Writes members as a JSON object.
fn write_members(members: &Members, write_value: fn(&mut String, &Value)) -> String {
    let mut out = String::with_capacity(members.iter().map(|(name, value)| estimate(name, value)).sum());
    out.push('{');
    for (at, (name, value)) in members.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_string(&mut out, name);
        out.push(':');
        write_value(&mut out, value);
    }
    out.push('}');
    out
}

/// Bytes of a member as JSON, nearly: a text that grows is copied.
fn estimate(name: &str, value: &Value) -> usize {
    name.len()
        + match value {
            Value::String(text) => text.len() + 8,
            Value::Null | Value::Bool(_) | Value::Number(_) => 20,
            Value::Array(_) | Value::Object(_) => 64,
        }
}

/// Appends records as a JSON array, from their own texts.
pub(crate) fn write_records(out: &mut String, records: &[Arc<Record>]) {
    out.reserve(records.iter().map(|record| record.json().len() + 1).sum::<usize>() + 2);
    out.push('[');
    for (at, record) in records.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(record.json());
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members() -> impl Strategy<Value = Object> {
        let names = prop::sample::select(vec!["id", "a", "b", "7", "0", "", VERSION, UPDATED_AT, CREATED_AT]);
        let large = (0..60_u32).prop_map(|n| format!("m{n}"));
        let name = prop_oneof![8 => names.prop_map(str::to_owned), 3 => large];
        prop::collection::vec((name, 0..9_i32), 0..50).prop_map(|members| {
            members.into_iter().map(|(name, n)| (name.into(), Value::Number(f64::from(n)))).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        /// The next version is the old members with the changes merged in and the metadata set.
        #[test]
        fn next_version_is_a_merge(list in prop::collection::vec((members(), members()), 1..6)) {
            let mut shapes = Shapes::new("id");
            for (before, changes) in list {
                let record = Record::new(Members::new(before.clone(), &mut shapes), 4, None);
                let next = record.next(changes.clone(), 9, &mut shapes);
                let mut expected = before;
                expected.merge(changes);
                expected.set(VERSION, 5.0);
                expected.set(UPDATED_AT, 9.0);
                prop_assert_eq!(&**next.json(), Value::from(expected.clone()).to_json());
                prop_assert_eq!(next.key(), expected.get("id").unwrap_or(&Value::Null));
            }
        }
    }

    #[test]
    fn next_version_keeps_the_places_of_members() {
        let mut members = Object::new();
        for (name, value) in
            [("id", Value::from("a")), (VERSION, number(1)), ("n", number(7)), (UPDATED_AT, number(5))]
        {
            members.set(name, value);
        }
        let mut shapes = Shapes::new("id");
        let first = Record::new(Members::new(members, &mut shapes), 1, None);
        let changes: Object = [("n".into(), Value::Null), ("x".into(), number(1))].into_iter().collect();
        let second = first.next(changes, 9, &mut shapes);
        assert_eq!(&**first.json(), r#"{"id":"a","_version":1,"n":7,"_updatedAt":5}"#);
        assert_eq!(&**second.json(), r#"{"id":"a","_version":2,"n":null,"_updatedAt":9,"x":1}"#);
        assert_eq!((second.version(), second.key().as_str()), (2, Some("a")));
        assert!(Arc::ptr_eq(second.json(), second.json()));
    }
}
