//! One subscription as its client sees it, and what must hold of its states.

use crate::history::History;
use noex_host::Instant;
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
    /// Number of the state of the bucket that `last` belongs to at the earliest.
    place: usize,
    /// Greatest version seen of each record.
    versions: BTreeMap<String, i64>,
    /// Records that have been seen to be gone; their keys are never used again.
    gone: BTreeSet<String>,
    /// Last number seen of each emitter.
    emitted: BTreeMap<String, i64>,
}

impl Watch {
    /// Begins after a request that was sent at `asked`.
    pub(crate) fn new(subject: Subject, asked: Instant, history: Option<&History>) -> Self {
        let place = match (&subject, history) {
            (Subject::Query { bucket, .. }, Some(history)) => history.reached(bucket, asked),
            (Subject::Query { .. } | Subject::Events { .. }, _) => 0,
        };
        Self {
            subject,
            last: None,
            place,
            versions: BTreeMap::new(),
            gone: BTreeSet::new(),
            emitted: BTreeMap::new(),
        }
    }

    /// The keys of records that it shows of a bucket.
    pub(crate) fn shown(&self, of: &str) -> Vec<String> {
        let concerns = matches!(&self.subject, Subject::Query { bucket, .. } if bucket == of);
        let records = self.last.as_ref().filter(|_| concerns).and_then(Value::as_array);
        let key = |record: &Value| record["id"].as_str().map(str::to_owned);
        records.into_iter().flatten().filter_map(key).collect()
    }

    /// Takes the initial state or a later one.
    pub(crate) fn take_state(
        &mut self,
        data: Option<&Value>,
        pushed: bool,
        history: Option<&History>,
    ) -> Result<(), String> {
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
        if let (Some(history), Some(data)) = (history, data)
            && let Some(place) = history.place(&bucket, kind, self.place, data)?
        {
            self.place = place;
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
        if !covers(pattern, topic) {
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

    /// Tells whether an event of an emitter should have come and has not.
    pub(crate) fn misses(&self, topic: &str, from: u64, seq: u64) -> bool {
        let Subject::Events { pattern } = &self.subject else { return false };
        let last = self.emitted.get(&format!("c{from}")).copied().and_then(|last| u64::try_from(last).ok());
        covers(pattern, topic) && last.is_none_or(|last| last < seq)
    }

    /// Tells whether the last state shows a record that should have gone before `unix_ms`.
    pub(crate) fn shows_expired(&self, unix_ms: u64) -> bool {
        let records = self.last.as_ref().and_then(Value::as_array);
        let gone = |record: &Value| record["_expiresAt"].as_u64().is_some_and(|at| at < unix_ms);
        records.is_some_and(|records| records.iter().any(gone))
    }

    /// Tells whether the last state is the one that a fresh read of the bucket gives.
    pub(crate) fn agrees(&self, records: &[Value]) -> bool {
        let Subject::Query { kind, .. } = &self.subject else { return true };
        self.last.as_ref() == Some(&evaluate(*kind, &records.iter().collect::<Vec<_>>()))
    }
}

/// Tells whether a pattern covers a topic, as far as patterns are used here.
fn covers(pattern: &str, topic: &str) -> bool {
    pattern.strip_suffix('*').map_or(topic == pattern, |start| topic.starts_with(start))
}

/// What a query gives for the records of its bucket.
pub(crate) fn evaluate(kind: Kind, records: &[&Value]) -> Value {
    let array = |records: &[&Value]| Value::Array(records.iter().copied().cloned().collect());
    match kind {
        Kind::All => array(records),
        Kind::Above(n) => {
            let above = |record: &&Value| record["n"].as_i64().is_some_and(|own| own >= n);
            array(&records.iter().copied().filter(above).collect::<Vec<_>>())
        }
        Kind::Top => {
            let mut sorted = records.to_vec();
            sorted.sort_by_key(|record| std::cmp::Reverse(record["n"].as_i64()));
            sorted.truncate(3);
            array(&sorted)
        }
        Kind::Count => Value::from(records.len()),
        Kind::Sum => Value::from(records.iter().filter_map(|record| record["n"].as_i64()).sum::<i64>()),
    }
}
