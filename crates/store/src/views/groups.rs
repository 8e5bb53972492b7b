//! Groups kept up to date, in the order of their first records.

use super::aggregate::Aggregate;
use super::rows::{Place, Row, Rows};
use super::state::{Effect, Lost};
use crate::query::{Function, SortKey, group_key};
use crate::record::Record;
use noex_json::CompactString;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the groups are made of; part of a query's shape.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grouping<'a> {
    pub(super) function: Function,
    pub(super) field: &'a str,
    pub(super) by: &'a [CompactString],
}

/// A group as it is shown.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The record whose values name the group.
    pub(super) first: Arc<Record>,
    pub(super) value: f64,
}

#[derive(Debug)]
struct Group {
    members: BTreeMap<u64, Arc<Record>>,
    aggregate: Aggregate,
    /// Where the group is shown.
    shown_at: Option<u64>,
    /// Whether what is shown is out of date.
    is_stale: bool,
}

/// All groups of a view.
#[derive(Debug)]
pub(super) struct Groups {
    groups: BTreeMap<String, Group>,
    /// Whether sums have to respect base order.
    ordered: bool,
    shown: Rows<Entry>,
    stale: Vec<String>,
    members: usize,
    /// Estimate of what aggregates and names hold.
    bytes: usize,
}

/// Rough sizes, in bytes.
const GROUP_BYTES: usize = 256;
const MEMBER_BYTES: usize = 32;

fn place(seq: u64) -> Place {
    Place { key: SortKey::default(), seq }
}

impl Groups {
    /// Makes no groups.
    pub(super) fn new(ordered: bool) -> Self {
        let shown = Rows::from_sorted([]);
        Self { groups: BTreeMap::new(), ordered, shown, stale: Vec::new(), members: 0, bytes: 0 }
    }

    /// Takes note of a record that enters, leaves or changes; `shows` tells whether a change can show.
    pub(super) fn apply(
        &mut self,
        grouping: Grouping<'_>,
        seq: u64,
        old: Option<&Arc<Record>>,
        new: Option<&Arc<Record>>,
        shows: bool,
    ) -> Result<Effect, Lost> {
        if let (false, Some(_), Some(record)) = (shows, old, new) {
            let group = self.groups.get_mut(&group_key(grouping.by, record.members()));
            if let Some(member) = group.and_then(|group| group.members.get_mut(&seq)) {
                *member = Arc::clone(record);
            }
            return Ok(Effect::Same);
        }
        if let Some(record) = old {
            self.leave(grouping, seq, record);
        }
        if let Some(record) = new {
            self.enter(grouping, seq, record)?;
        }
        Ok(Effect::Changed)
    }

    fn leave(&mut self, grouping: Grouping<'_>, seq: u64, record: &Record) {
        let key = group_key(grouping.by, record.members());
        let Some(group) = self.groups.get_mut(&key) else { return };
        if group.members.remove(&seq).is_none() {
            return;
        }
        self.members -= 1;
        self.bytes -= group.aggregate.bytes();
        group.aggregate.remove(seq, record.members().get(grouping.field));
        self.bytes += group.aggregate.bytes();
        // At once, because another group may be shown there next.
        if group.shown_at == Some(seq) {
            self.shown.remove(&place(seq));
            group.shown_at = None;
        }
        if !group.members.is_empty() {
            mark(&mut self.stale, group, key);
            return;
        }
        self.bytes -= group.aggregate.bytes() + key.len();
        self.groups.remove(&key);
    }

    fn enter(&mut self, grouping: Grouping<'_>, seq: u64, record: &Arc<Record>) -> Result<(), Lost> {
        let key = group_key(grouping.by, record.members());
        if !self.groups.contains_key(&key) {
            let aggregate = Aggregate::new(grouping.function, self.ordered);
            let group = Group { members: BTreeMap::new(), aggregate, shown_at: None, is_stale: false };
            self.bytes += group.aggregate.bytes() + key.len();
            self.groups.insert(key.clone(), group);
        }
        let Some(group) = self.groups.get_mut(&key) else { return Ok(()) };
        group.members.insert(seq, Arc::clone(record));
        self.members += 1;
        self.bytes -= group.aggregate.bytes();
        let added = group.aggregate.add(seq, record.members().get(grouping.field));
        self.bytes += group.aggregate.bytes();
        mark(&mut self.stale, group, key);
        added.map_err(|_| Lost::Order)
    }

    /// Brings what is shown up to date and gives it.
    pub(super) fn shown(&mut self, additions: &mut u64) -> &Rows<Entry> {
        for key in self.stale.drain(..) {
            let Some(group) = self.groups.get_mut(&key) else { continue };
            group.is_stale = false;
            let value = group.aggregate.value(additions).unwrap_or(0.0);
            let Some((seq, first)) = group.members.first_key_value() else { continue };
            if let Some(shown_at) = group.shown_at.filter(|shown_at| shown_at != seq) {
                self.shown.remove(&place(shown_at));
            }
            group.shown_at = Some(*seq);
            self.shown.insert(place(*seq), Entry { first: Arc::clone(first), value });
        }
        &self.shown
    }

    /// Gives the number of records in all groups.
    pub(super) fn members(&self) -> usize {
        self.members
    }

    /// Estimates the memory held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.groups.len() * GROUP_BYTES + self.members * MEMBER_BYTES
    }

    /// Brings everything into order at once after many entries.
    pub(super) fn settle(&mut self) {
        let mut additions = 0;
        let mut rows: Vec<Row<Entry>> = Vec::with_capacity(self.groups.len());
        for group in self.groups.values_mut() {
            group.aggregate.prepare();
            let value = group.aggregate.value(&mut additions).unwrap_or(0.0);
            let Some((seq, first)) = group.members.first_key_value() else { continue };
            (group.shown_at, group.is_stale) = (Some(*seq), false);
            rows.push(Row { place: place(*seq), value: Entry { first: Arc::clone(first), value } });
        }
        rows.sort_unstable_by_key(|row| row.place.seq);
        self.shown = Rows::from_sorted(rows);
        self.stale.clear();
    }
}

fn mark(stale: &mut Vec<String>, group: &mut Group, key: String) {
    if !group.is_stale {
        group.is_stale = true;
        stale.push(key);
    }
}
