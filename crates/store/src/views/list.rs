//! Lists kept up to date: whole ones, and the beginning of those of which a limit shows only so much.
//!
//! Of a limited list the first matches in its order are kept, some more than are needed. Records behind the last
//! kept one are ignored while there are more matches than are kept; when too few are left the list must be read again.
//! Invariant: what is kept is exactly the beginning of the list.
//! Source: the store specification, C.5.

use super::rows::{Place, Row, Rows};
use super::state::Effect;
use crate::query::{SortField, SortKey, Window};
use crate::record::Record;
use std::sync::Arc;

/// What a list is made of; part of a query's shape.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listing<'a> {
    pub(super) sort: &'a [SortField],
    pub(super) window: Window,
}

impl Listing<'_> {
    fn place(self, seq: u64, record: &Record) -> Place {
        Place { key: SortKey::of(self.sort, record.members()), seq }
    }
}

/// The records of a list in its order, or the first of them.
#[derive(Debug)]
pub(super) struct List {
    rows: Rows<Arc<Record>>,
    /// Records that decide what is shown; `None` = all.
    needed: Option<usize>,
    /// Greatest number of rows kept.
    kept_max: usize,
    /// Whether there are matches behind what is kept.
    truncated: bool,
}

/// At least and at most so many records more than needed are kept at first.
const SLACK_MIN: usize = 8;
const SLACK_MAX: usize = 1024;

/// Gives how many records to keep of a list that needs so many and has been read again so often.
///
/// Each time the slack is eight times as large, so that the cost of all readings together grows with the logarithm of
/// the number of records that left, and a list that keeps losing its first records ends up being kept whole.
pub(super) fn kept_max(needed: usize, refills: u32) -> usize {
    let slack = (needed / 2).clamp(SLACK_MIN, SLACK_MAX);
    needed.saturating_add(slack.saturating_mul(8_usize.saturating_pow(refills)))
}

impl List {
    /// Collects matching records. They come in base order, or `in_order` of the list and then as many as are to be
    /// kept and one more if there is one.
    pub(super) fn build<'a>(
        listing: Listing<'_>,
        refills: u32,
        in_order: bool,
        matching: impl Iterator<Item = (u64, &'a Arc<Record>)>,
    ) -> Self {
        let needed = listing.window.needed();
        let kept_max = needed.map_or(usize::MAX, |needed| kept_max(needed, refills));
        let rows = matching.map(|(seq, record)| Row { place: listing.place(seq, record), value: record });
        let mut rows: Vec<Row<&Arc<Record>>> = if in_order || listing.sort.is_empty() {
            rows.take(kept_max.saturating_add(1)).collect()
        } else {
            first(rows, kept_max.saturating_add(1))
        };
        let truncated = rows.len() > kept_max;
        rows.truncate(kept_max);
        let rows = rows.into_iter().map(|row| Row { place: row.place, value: Arc::clone(row.value) });
        Self { rows: Rows::from_sorted(rows), needed, kept_max, truncated }
    }

    /// Takes note of a record that enters, leaves or changes; `shows` tells whether a change can show.
    pub(super) fn apply(
        &mut self,
        listing: Listing<'_>,
        seq: u64,
        old: Option<&Arc<Record>>,
        new: Option<&Arc<Record>>,
        shows: bool,
    ) -> Effect {
        let place = |record: &Arc<Record>| listing.place(seq, record);
        match (old.map(&place), new.map(|new| (place(new), new))) {
            (Some(before), Some((after, record))) if before == after => {
                let is_kept = self.rows.replace(&after, Arc::clone(record));
                let shown = || self.needed.is_none() || self.rows.rank(&after) >= listing.window.offset;
                if is_kept && shows && self.decides(&after) && shown() {
                    Effect::Changed
                } else {
                    Effect::Same
                }
            }
            (before, after) => {
                let left = before.is_some_and(|before| {
                    let decides = self.decides(&before);
                    self.rows.remove(&before) && decides
                });
                let entered = after.is_some_and(|(after, record)| self.enter(after, record));
                if left || entered { Effect::Changed } else { Effect::Same }
            }
        }
    }

    /// Tells whether a place is among those that decide what is shown.
    fn decides(&self, place: &Place) -> bool {
        self.needed.is_none_or(|needed| self.rows.rank(place) < needed)
    }

    /// Adds a record unless it belongs behind what is kept; true if that decides what is shown.
    fn enter(&mut self, place: Place, record: &Arc<Record>) -> bool {
        if self.truncated && self.rows.last().is_none_or(|last| last.place < place) {
            return false;
        }
        let decides = self.decides(&place);
        self.rows.insert(place, Arc::clone(record));
        if self.rows.len() > self.kept_max {
            self.truncated = true;
            if let Some(last) = self.rows.last().map(|last| last.place.clone()) {
                self.rows.remove(&last);
            }
        }
        decides
    }

    /// Tells whether too few records are kept to show the list.
    pub(super) fn is_drained(&self) -> bool {
        self.truncated && self.needed.is_some_and(|needed| self.rows.len() < needed)
    }

    /// Gives the rows.
    pub(super) fn rows(&self) -> &Rows<Arc<Record>> {
        &self.rows
    }

    /// Gives the number of entries of which each change costs more than a constant; 0 if they are few.
    pub(super) fn entries(&self) -> usize {
        if self.needed.is_none() { self.rows.len() } else { 0 }
    }
}

/// Sorts the first `count` rows: O(n + count log count) time and O(count) memory.
fn first<V>(rows: impl Iterator<Item = Row<V>>, count: usize) -> Vec<Row<V>> {
    let by_place = |a: &Row<V>, b: &Row<V>| a.place.cmp(&b.place);
    let mut found: Vec<Row<V>> = Vec::new();
    // Whatever is not before it is not among the first.
    let mut bound: Option<Place> = None;
    for row in rows {
        if bound.as_ref().is_some_and(|bound| row.place >= *bound) {
            continue;
        }
        found.push(row);
        if found.len() >= count.saturating_mul(2) {
            found.select_nth_unstable_by(count, by_place);
            found.truncate(count + 1);
            bound = found.pop().map(|row| row.place);
        }
    }
    found.sort_unstable_by(by_place);
    found.truncate(count);
    found
}
