//! One subscription as its client sees it, and what must hold of its states.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What a query gives.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    All,
    /// Records whose `n` is at least this.
    Above(i64),
    Count,
    Sum,
    Top,
}

/// What is watched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Subject {
    Query { bucket: String, kind: Kind },
    Events { pattern: String },
}

/// A live subscription.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) subject: Subject,
    pub(crate) last: Option<Value>,
    /// Greatest version seen of each record.
    versions: BTreeMap<String, i64>,
    /// Records that have been seen to be gone; their keys are never used again.
    gone: BTreeSet<String>,
    /// Last number seen of each emitter.
    emitted: BTreeMap<String, i64>,
}

impl Watch {
    pub(crate) fn new(subject: Subject) -> Self {
        Self {
            subject,
            last: None,
            versions: BTreeMap::new(),
            gone: BTreeSet::new(),
            emitted: BTreeMap::new(),
        }
    }

    /// Takes the initial state or a later one.
    pub(crate) fn take_state(&mut self, data: Option<&Value>, pushed: bool) -> Result<(), String> {
        let Subject::Query { bucket, kind } = self.subject.clone() else {
            return Err("a result for a subscription to events".into());
        };
        if pushed && self.last.as_ref() == data {
            return Err(format!("a push repeats the state: {data:?}"));
        }
        match kind {
            Kind::Count | Kind::Sum => {
                let number = data.and_then(Value::as_f64).ok_or("an aggregate is a number")?;
                let before = self.last.as_ref().and_then(Value::as_f64);
                if bucket == "log" && before.is_some_and(|before| number < before) {
                    return Err(format!("a sum that only grows went back from {before:?} to {number}"));
                }
            }
            Kind::All | Kind::Above(_) | Kind::Top => {
                let records = data.and_then(Value::as_array).ok_or("a query gives an array")?;
                self.take_records(&bucket, kind, records)?;
            }
        }
        self.last = data.cloned();
        Ok(())
    }

    fn take_records(&mut self, bucket: &str, kind: Kind, records: &[Value]) -> Result<(), String> {
        let mut present = BTreeSet::new();
        for record in records {
            let id = record["id"].as_str().ok_or("a record has an id")?;
            let version = record["_version"].as_i64().ok_or("a record has a version")?;
            if record["m"] != format!("@{bucket}") {
                return Err(format!("a record of another bucket than {bucket}: {record}"));
            }
            if let Kind::Above(n) = kind
                && record["n"].as_i64().is_none_or(|own| own < n)
            {
                return Err(format!("a record that the filter excludes: {record}"));
            }
            if self.gone.contains(id) {
                return Err(format!("a record came back: {record}"));
            }
            let known = self.versions.insert(id.to_owned(), version);
            if known.is_some_and(|known| known > version) {
                return Err(format!("a record went back from version {known:?}: {record}"));
            }
            present.insert(id.to_owned());
        }
        if bucket == "twins" && kind == Kind::All && records.iter().any(|r| r["n"] != records[0]["n"]) {
            return Err(format!("a half of a transaction shows: {records:?}"));
        }
        if kind == Kind::All {
            self.gone.extend(self.versions.keys().filter(|id| !present.contains(*id)).cloned());
            self.versions.retain(|id, _| present.contains(id));
        }
        Ok(())
    }

    /// Takes an event.
    pub(crate) fn take_event(&mut self, data: &Value) -> Result<(), String> {
        let Subject::Events { pattern } = &self.subject else {
            return Err("an event for a subscription to a query".into());
        };
        let topic = data["topic"].as_str().ok_or("an event has a topic")?;
        if !pattern.strip_suffix('*').map_or(topic == pattern, |start| topic.starts_with(start)) {
            return Err(format!("an event of {topic} for {pattern}"));
        }
        let event = &data["event"]["data"];
        if let (Some(from), Some(seq)) = (event["from"].as_str(), event["seq"].as_i64()) {
            let known = self.emitted.insert(from.to_owned(), seq);
            if known.is_some_and(|known| known >= seq) {
                return Err(format!("events of {from} out of order: {seq} after {known:?}"));
            }
        }
        Ok(())
    }

    /// Tells whether the last state is the one that a fresh read of the bucket gives.
    pub(crate) fn agrees(&self, records: &[Value]) -> bool {
        let Subject::Query { kind, .. } = &self.subject else { return true };
        let fresh = match kind {
            Kind::All => Value::from(records.to_vec()),
            Kind::Above(n) => {
                let above = |record: &&Value| record["n"].as_i64().is_some_and(|own| own >= *n);
                Value::from(records.iter().filter(above).cloned().collect::<Vec<_>>())
            }
            Kind::Top => {
                let mut sorted = records.to_vec();
                sorted.sort_by_key(|record| std::cmp::Reverse(record["n"].as_i64()));
                sorted.truncate(3);
                Value::from(sorted)
            }
            Kind::Count => Value::from(records.len()),
            Kind::Sum => Value::from(records.iter().filter_map(|record| record["n"].as_i64()).sum::<i64>()),
        };
        self.last.as_ref() == Some(&fresh)
    }
}
