//! What the store has been, commit by commit, and where in that history a result has its place.

use crate::{
    plan::BUCKETS,
    watch::{Kind, evaluate},
};
use noex_host::{
    Instant,
    store::{Change, Commit},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

/// Kinds of queries whose results are remembered of each state.
const KINDS: [Kind; 9] = [
    Kind::All,
    Kind::Above(0),
    Kind::Above(20),
    Kind::Above(40),
    Kind::Above(60),
    Kind::Above(80),
    Kind::Count,
    Kind::Sum,
    Kind::Top,
];
/// States of a bucket that are remembered. Whoever shows an older one cannot be judged.
const STATES_MAX: usize = 50_000;

/// The states of all buckets.
#[derive(Debug)]
pub(crate) struct History(BTreeMap<&'static str, Past>);

#[derive(Debug)]
struct Past {
    /// The records of the latest state, by their place in base order.
    records: BTreeMap<u64, Value>,
    states: VecDeque<State>,
    /// Number of the first state that is remembered.
    first: usize,
}

/// One state: since when, and hashes of what the queries give.
#[derive(Debug)]
struct State {
    since: Instant,
    results: [u64; KINDS.len()],
}

impl Default for History {
    fn default() -> Self {
        let past = || {
            let mut past = Past { records: BTreeMap::new(), states: VecDeque::new(), first: 0 };
            past.remember(Instant::default());
            past
        };
        Self(BUCKETS.iter().map(|(name, _)| (*name, past())).collect())
    }
}

impl History {
    /// Follows the store by its commits.
    pub(crate) fn follow(&mut self, now: Instant, commits: &[Commit]) {
        for commit in commits {
            for change in &commit.changes {
                if let Some(past) = self.0.get_mut(change.bucket().as_str()) {
                    past.apply(change);
                }
            }
            for (name, past) in &mut self.0 {
                if commit.changes.iter().any(|change| change.bucket() == name) {
                    past.remember(now);
                }
            }
        }
    }

    /// Finds the first state from `from` on in which a query gives `result`. `None` = that cannot be told.
    ///
    /// # Errors
    /// If it never did.
    pub(crate) fn place(
        &self,
        bucket: &str,
        kind: Kind,
        from: usize,
        result: &Value,
    ) -> Result<Option<usize>, String> {
        let (Some(past), Some(which)) = (self.0.get(bucket), KINDS.iter().position(|k| *k == kind)) else {
            return Ok(None);
        };
        let Some(skip) = from.checked_sub(past.first) else { return Ok(None) };
        let wanted = hash(result);
        let found = past.states.iter().skip(skip).position(|state| state.results[which] == wanted);
        found.map(|place| Some(from + place)).ok_or_else(|| {
            format!("a result of {bucket} {kind:?} that was not true at any commit since: {result}")
        })
    }

    /// The number of the state that had been reached before `at`.
    pub(crate) fn reached(&self, bucket: &str, at: Instant) -> usize {
        self.0.get(bucket).map_or(0, |past| {
            past.first + past.states.partition_point(|state| state.since < at).saturating_sub(1)
        })
    }
}

impl Past {
    fn apply(&mut self, change: &Change) {
        match change.after() {
            None => {
                self.records.remove(&change.seq());
            }
            Some(record) => {
                let record = serde_json::from_str(record.json()).unwrap_or_default();
                self.records.insert(change.seq(), record);
            }
        }
    }

    fn remember(&mut self, now: Instant) {
        let records: Vec<&Value> = self.records.values().collect();
        let results = KINDS.map(|kind| hash(&evaluate(kind, &records)));
        self.states.push_back(State { since: now, results });
        if self.states.len() > STATES_MAX {
            self.states.pop_front();
            self.first += 1;
        }
    }
}

fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}
