//! Access paths: which records a filter has to look at.
//!
//! The best index is asked for candidates, in base order; whoever reads them checks the complete filter again. So the
//! path decides the cost and never the answer.

use crate::filter::{Filter, IndexableCondition};
use crate::prefetch::fetched;
use crate::query::SortField;
use crate::record::Record;
use crate::table::{Records, Table};
use noex_json::Value;
use std::sync::Arc;

/// Up to this many records are fetched at once; beyond that a snapshot is taken and read outside the owner's lock.
const FETCH_MAX: usize = 64;

/// Records to look at, in base order unless it says otherwise.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// These, each with its place.
    Fetched(Vec<(u64, Arc<Record>)>),
    /// The first of a query's list, in its order and all of them matching.
    InOrder(Vec<(u64, Arc<Record>)>),
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
            Some(places) => Self::at(table, places),
            None => Self::all(table),
        }
    }

    /// Chooses the records to look at for the first `count` of a list in some order, and one more to tell whether
    /// there is more.
    pub(crate) fn choose_first(table: &Table, filter: &Filter, sort: &[SortField], count: usize) -> Self {
        if filter.is_none() {
            return Self::Fetched(Vec::new());
        }
        let candidates = candidates(table, filter);
        let visits_max = count.saturating_mul(VISITS_PER_RECORD).saturating_add(FETCH_MAX);
        match candidates {
            Some(places) if places.len() <= visits_max => Self::at(table, places),
            _ if let Some(found) =
                first_by_index(table, filter, sort, count.saturating_add(1), visits_max) =>
            {
                Self::InOrder(found)
            }
            Some(places) => Self::at(table, places),
            None => Self::all(table),
        }
    }

    fn at(table: &Table, places: Vec<u64>) -> Self {
        if places.len() > FETCH_MAX {
            return Self::Places(table.records().clone(), places);
        }
        let record = |seq: u64| table.at(seq).map(|record| (seq, Arc::clone(record)));
        Self::Fetched(places.into_iter().filter_map(record).collect())
    }

    /// Takes all records.
    pub(crate) fn all(table: &Table) -> Self {
        if table.len() <= FETCH_MAX {
            let records = table.records().iter().map(|(seq, record)| (*seq, Arc::clone(record)));
            Self::Fetched(records.collect())
        } else {
            Self::All(table.records().clone())
        }
    }

    /// Counts the records.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Fetched(records) | Self::InOrder(records) => records.len(),
            Self::Places(_, places) => places.len(),
            Self::All(records) => records.len(),
        }
    }

    /// Tells whether the records are in the order of a query's list.
    pub(crate) fn is_in_order(&self) -> bool {
        matches!(self, Self::InOrder(_))
    }

    /// Tells whether there are many records to look at.
    pub(crate) fn is_scan(&self) -> bool {
        matches!(self, Self::Places(..) | Self::All(_))
    }

    /// Iterates over the records with their places.
    pub(crate) fn entries(&self) -> Box<dyn Iterator<Item = (u64, &Arc<Record>)> + '_> {
        match self {
            Self::Fetched(records) | Self::InOrder(records) => {
                Box::new(records.iter().map(|(seq, record)| (*seq, record)))
            }
            Self::Places(records, places) => {
                let record = |seq: &u64| records.get(seq).map(|record| (*seq, record));
                fetched(places.iter().filter_map(record), records.len())
            }
            Self::All(records) => fetched(records.iter().map(|(seq, record)| (*seq, record)), records.len()),
        }
    }

    /// Iterates over the records that match, with their places.
    pub(crate) fn matching_entries<'a>(
        &'a self,
        filter: &'a Filter,
    ) -> Box<dyn Iterator<Item = (u64, &'a Arc<Record>)> + 'a> {
        if filter.is_all() || self.is_in_order() {
            return self.entries();
        }
        Box::new(self.entries().filter(|(_, record)| filter.matches(record.members())))
    }

    /// Iterates over the records.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.entries().map(|(_, record)| record)
    }

    /// Iterates over the records that match.
    pub(crate) fn matching<'a>(&'a self, filter: &'a Filter) -> impl Iterator<Item = &'a Arc<Record>> {
        self.matching_entries(filter).map(|(_, record)| record)
    }
}

/// How many records of an index are looked at for one that is wanted, before a scan outside of the owner's lock is
/// preferred.
const VISITS_PER_RECORD: usize = 8;

/// Reads the first `count` matching records of a sorted list from an index; `None` if there is no index whose order
/// is that of the list, or if more than `visits_max` records would have to be looked at.
fn first_by_index(
    table: &Table,
    filter: &Filter,
    sort: &[SortField],
    count: usize,
    visits_max: usize,
) -> Option<Vec<(u64, Arc<Record>)>> {
    let [by] = sort else { return None };
    let index = table.index(&by.name).filter(|index| index.has_one_class())?;
    let mut found = Vec::new();
    let mut places = Vec::new();
    let mut visits = 0;
    for posting in index.postings(by.descending) {
        places.clear();
        visits += posting.len();
        if visits > visits_max {
            return None;
        }
        posting.collect_into(&mut places);
        for (seq, record) in places.iter().filter_map(|seq| table.at(*seq).map(|record| (*seq, record))) {
            if filter.matches(record.members()) {
                found.push((seq, Arc::clone(record)));
                if found.len() == count {
                    return Some(found);
                }
            }
        }
    }
    // Records that the index does not hold come last.
    (index.len() == table.len()).then_some(found)
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
