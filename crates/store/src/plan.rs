//! Access paths: which records a filter has to look at.
//!
//! The best index is asked for candidates, in base order; whoever reads them checks the complete filter again. So the
//! path decides the cost and never the answer.

use crate::filter::{Filter, IndexableCondition};
use crate::record::Record;
use crate::table::{Records, Table};
use noex_json::Value;
use std::sync::Arc;

/// Up to this many records are fetched at once; beyond that a snapshot is taken and read outside the owner's lock.
const FETCH_MAX: usize = 64;

/// Records to look at, in base order.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// These.
    Fetched(Vec<Arc<Record>>),
    /// Those at these places of a snapshot.
    Places(Records, Vec<u64>),
    /// All of a snapshot.
    All(Records),
}

impl Source {
    /// Chooses the records to look at for a filter.
    pub(crate) fn choose(table: &Table, filter: &Filter) -> Self {
        if filter.is_none() {
            return Self::Fetched(Vec::new());
        }
        match candidates(table, filter) {
            Some(places) if places.len() <= FETCH_MAX => {
                Self::Fetched(places.iter().filter_map(|seq| table.at(*seq)).cloned().collect())
            }
            Some(places) => Self::Places(table.records().clone(), places),
            None => Self::all(table),
        }
    }

    /// Takes all records.
    pub(crate) fn all(table: &Table) -> Self {
        if table.len() <= FETCH_MAX {
            Self::Fetched(table.records().values().cloned().collect())
        } else {
            Self::All(table.records().clone())
        }
    }

    /// Iterates over the records in base order.
    pub(crate) fn iter(&self) -> Box<dyn Iterator<Item = &Arc<Record>> + '_> {
        match self {
            Self::Fetched(records) => Box::new(records.iter()),
            Self::Places(records, places) => Box::new(places.iter().filter_map(|seq| records.get(seq))),
            Self::All(records) => Box::new(records.values()),
        }
    }

    /// Iterates over the records that match.
    pub(crate) fn matching<'a>(
        &'a self,
        filter: &'a Filter,
    ) -> Box<dyn Iterator<Item = &'a Arc<Record>> + 'a> {
        if filter.is_all() {
            return self.iter();
        }
        Box::new(self.iter().filter(|record| filter.matches(record.members())))
    }
}

/// Lists the places of the matching records, in base order.
pub(crate) fn matching_places(table: &Table, filter: &Filter) -> Vec<u64> {
    let matches = |record: &Record| filter.matches(record.members());
    if filter.is_none() {
        return Vec::new();
    }
    match candidates(table, filter) {
        Some(places) => {
            places.into_iter().filter(|seq| table.at(*seq).is_some_and(|record| matches(record))).collect()
        }
        None => table.records().iter().filter(|(_, record)| matches(record)).map(|(seq, _)| *seq).collect(),
    }
}

/// Asks the best index; `None` if a scan is no worse.
fn candidates(table: &Table, filter: &Filter) -> Option<Vec<u64>> {
    if filter.is_all() || table.len() <= FETCH_MAX / 4 {
        return None;
    }
    let conditions = filter.indexable();
    let mut worth_max = table.len() / 4;
    let mut best: Option<Vec<u64>> = None;
    for condition in &conditions {
        if let IndexableCondition::OneOf(field, values) = condition
            && let Some(places) = equal(table, field, values, worth_max)
        {
            worth_max = places.len();
            best = Some(places);
        }
    }
    for condition in &conditions {
        if let IndexableCondition::Range(field, low, high) = condition
            && worth_max > FETCH_MAX / 4
            && let Some(places) = table.index(field).and_then(|index| index.range(*low, *high, worth_max))
        {
            worth_max = places.len();
            best = Some(places);
        }
    }
    let mut places = best?;
    if !places.is_sorted() {
        places.sort_unstable();
    }
    places.dedup();
    Some(places)
}

/// Lists the records whose field is identical to one of `values`; `None` if no index can tell or there are more than
/// `max`.
fn equal(table: &Table, field: &str, values: &[Value], max: usize) -> Option<Vec<u64>> {
    // Indexes do not hold null.
    if values.iter().any(Value::is_null) {
        return None;
    }
    if *field == *table.definition.key {
        let found: Vec<u64> = values.iter().filter_map(|value| table.seq_of(value)).collect();
        return (found.len() <= max).then_some(found);
    }
    let index = table.index(field)?;
    let postings = || values.iter().filter_map(|value| index.posting(value));
    let count: usize = postings().map(|posting| posting.len()).sum();
    if count > max {
        return None;
    }
    let mut found = Vec::with_capacity(count);
    postings().for_each(|posting| posting.collect_into(&mut found));
    Some(found)
}
