//! What a store owes its journal, and how it takes back what the journal has not kept.
//!
//! Every commit, definition and change of a counter is noted under a position: entries for the journal, and the way
//! back. The owner takes the entries, and says later that all is kept up to a position ([`Store::settle`]) or that
//! nothing that is not settled will ever be kept ([`Store::undo_unsettled`]). Undoing is one more commit, so views see
//! it like any other; only the log of commits for others does not show what it took back.
//! Invariant: undone in reverse order, steps put back exactly what they found; what may not be noticed before it is
//! settled (ended subscriptions, commits for others) stays in here until then.

use crate::commit::{Change, Step};
use crate::dormant::Dormant;
use crate::journal::JournalEntry;
use crate::queries::Query;
use crate::schema::Definition;
use crate::store::Store;
use crate::table::{BucketId, Hashing, Table};
use crate::tables::Tables;
use crate::views::{EndReason, SubscriberId, View, ViewId};
use hashbrown::HashMap;
use noex_json::{CompactString, Object, Value};
use std::collections::VecDeque;
use std::sync::Arc;

/// What a store notes for a journal.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Journaling {
    /// Nothing.
    #[default]
    Off,
    /// Entries; what has happened cannot be undone.
    Entries,
    /// Entries, and how to undo what is not settled yet.
    Undoable,
}

/// One way back.
#[derive(Debug)]
pub(crate) enum Undo {
    /// Of a commit: its steps, and the counters of its buckets before it.
    Commit { lsn: u64, steps: Vec<Step>, counters: Vec<(BucketId, (u64, u64))> },
    /// Of defining a bucket: it goes, and what it adopted sleeps again.
    BucketDefined { id: BucketId, dormant: Option<Box<Dormant>> },
    /// Of a definition that took over a revived bucket.
    BucketTakenOver { before: Box<Table> },
    /// Of updating a bucket.
    BucketUpdated { id: BucketId, before: Arc<Definition> },
    /// Of dropping a bucket.
    BucketDropped { table: Box<Table>, views: Vec<(ViewId, View)> },
    /// Of defining a query; with what slept under its name, and where.
    QueryDefined { name: CompactString, dormant: Option<(usize, Object)> },
    /// Of removing a query.
    QueryUndefined { query: Box<Query>, views: Vec<(ViewId, View)> },
    /// Of a definition that took over a revived query without changing it.
    QueryTakenOver { name: CompactString },
    /// Of something that the owner undoes itself.
    Elsewhere,
}

impl Undo {
    fn views_mut(&mut self) -> Option<&mut Vec<(ViewId, View)>> {
        match self {
            Self::BucketDropped { views, .. } | Self::QueryUndefined { views, .. } => Some(views),
            Self::Commit { .. }
            | Self::BucketDefined { .. }
            | Self::BucketTakenOver { .. }
            | Self::BucketUpdated { .. }
            | Self::QueryDefined { .. }
            | Self::QueryTakenOver { .. }
            | Self::Elsewhere => None,
        }
    }
}

/// What is noted and not settled. Bounded by what the owner lets happen before it settles.
#[derive(Debug)]
pub(crate) struct Log {
    mode: Journaling,
    position: u64,
    entries: Vec<Vec<JournalEntry>>,
    undo: VecDeque<(u64, Undo)>,
    /// The last position that concerned a bucket, by name; only unsettled ones.
    buckets: HashMap<CompactString, u64, Hashing>,
    /// The last position that concerned definitions.
    definitions: u64,
    settled: u64,
}

impl Log {
    /// Makes an empty log that is off.
    pub(crate) fn new(hashing: Hashing) -> Self {
        Self {
            mode: Journaling::Off,
            position: 0,
            entries: Vec::new(),
            undo: VecDeque::new(),
            buckets: HashMap::with_hasher(hashing),
            definitions: 0,
            settled: 0,
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.mode != Journaling::Off
    }

    /// Notes entries that belong together, and how to undo them, last one first; gives the latter back if it is not
    /// noted, because all is settled at once. What needs no journal, such as a change of a bucket that is not
    /// persistent, is noted only if it may rest on something unsettled.
    fn note(&mut self, entries: Vec<JournalEntry>, undo: Vec<Undo>) -> Vec<Undo> {
        let undoable = self.mode == Journaling::Undoable;
        if !self.is_on() || (entries.is_empty() && (self.undo.is_empty() || !undoable)) {
            return undo;
        }
        self.position += 1;
        if !entries.is_empty() {
            self.entries.push(entries);
        }
        if !undoable {
            return undo;
        }
        self.undo.extend(undo.into_iter().map(|undo| (self.position, undo)));
        Vec::new()
    }

    /// Notes a commit. `cleared` names the bucket of which it removed everything.
    pub(crate) fn commit(
        &mut self,
        tables: &mut Tables,
        lsn: u64,
        changes: &[Change],
        touched: &[BucketId],
        cleared: Option<BucketId>,
    ) {
        if !self.is_on() {
            return;
        }
        let mut entries = Vec::with_capacity(changes.len() + touched.len());
        let mut steps = Vec::with_capacity(changes.len());
        let mut last: Option<(&CompactString, BucketId, bool)> = None;
        entries.extend(cleared.map(|bucket| JournalEntry::BucketCleared { bucket: bucket.0 }));
        for change in changes {
            let name = change.bucket();
            if last.is_none_or(|(known, ..)| known != name) {
                last = tables.named(name).map(|table| (name, table.id, table.definition.persistent));
            }
            let Some((_, bucket, persistent)) = last else { continue };
            let (seq, new) = (change.seq(), change.after().cloned());
            if persistent && cleared.is_none() {
                entries.push(match &new {
                    Some(record) => {
                        JournalEntry::RecordPut { bucket: bucket.0, seq, record: Arc::clone(record) }
                    }
                    None => JournalEntry::RecordDeleted { bucket: bucket.0, seq },
                });
            }
            let insert = matches!(change, Change::Inserted { .. });
            steps.push(Step { bucket, seq, old: change.before().cloned(), new, insert });
        }
        let mut counters = Vec::new();
        for bucket in touched {
            let Some(table) = tables.get_mut(*bucket) else { continue };
            let now = (table.counter, table.next_seq);
            if now != table.journaled {
                counters.push((*bucket, std::mem::replace(&mut table.journaled, now)));
                if table.definition.persistent {
                    let (counter, next_seq) = now;
                    entries.push(JournalEntry::Counters { bucket: bucket.0, counter, next_seq });
                }
            }
        }
        if steps.is_empty() && counters.is_empty() {
            return;
        }
        let before = self.position;
        let settled = self.note(entries, vec![Undo::Commit { lsn, steps, counters }]);
        if settled.is_empty() && self.position > before {
            let names = changes.iter().map(Change::bucket);
            self.buckets.extend(names.map(|name| (name.clone(), self.position)));
        }
    }

    /// Forgets a subscriber of views that ended but may come back; tells whether there was one.
    pub(crate) fn forget_subscriber(&mut self, subscriber: SubscriberId) -> bool {
        let views = self.undo.iter_mut().filter_map(|(_, undo)| undo.views_mut()).flatten();
        views.fold(false, |found, (_, view)| view.forget(subscriber) || found)
    }

    /// The first commit that is not settled. One that only used up a counter value has no number of its own.
    pub(crate) fn first_unsettled_lsn(&self) -> Option<u64> {
        self.undo.iter().find_map(|(_, undo)| match undo {
            Undo::Commit { lsn, steps, .. } if !steps.is_empty() => Some(*lsn),
            Undo::Commit { .. }
            | Undo::BucketDefined { .. }
            | Undo::BucketTakenOver { .. }
            | Undo::BucketUpdated { .. }
            | Undo::BucketDropped { .. }
            | Undo::QueryDefined { .. }
            | Undo::QueryUndefined { .. }
            | Undo::QueryTakenOver { .. }
            | Undo::Elsewhere => None,
        })
    }
}

/// Versions of records that were kept only in case they would have to be put back.
#[derive(Debug, Default)]
pub struct Obsolete {
    _undo: VecDeque<(u64, Undo)>,
}

/// The journal's side of the store.
impl Store {
    /// Sets what is noted from now on. What was noted before counts as settled; entries not taken are lost.
    pub fn set_journaling(&mut self, mode: Journaling) {
        drop(self.settle(u64::MAX));
        self.log.entries.clear();
        self.log.mode = mode;
    }

    /// Takes the entries noted since the last call, those of one commit together, in order.
    #[must_use]
    pub fn take_journal(&mut self) -> Vec<Vec<JournalEntry>> {
        std::mem::take(&mut self.log.entries)
    }

    /// The position of the last thing noted; 0 = none.
    #[must_use]
    pub fn journal_position(&self) -> u64 {
        self.log.position
    }

    /// Notes something that is not the store's but is kept with it, and that the owner undoes itself.
    pub fn note_kept(&mut self, entries: Vec<JournalEntry>) {
        let _ = self.log.note(entries, vec![Undo::Elsewhere]);
    }

    /// Notes a change of definitions, in the order in which it must be undone last to first.
    pub(crate) fn note_definition(
        &mut self,
        entries: Vec<JournalEntry>,
        bucket: Option<&str>,
        undo: Vec<Undo>,
    ) {
        let before = self.log.position;
        let settled = self.log.note(entries, undo);
        settled.iter().for_each(|undo| self.end_views_of(undo));
        if self.log.mode == Journaling::Undoable && self.log.position > before {
            self.log.definitions = self.log.position;
            self.log.buckets.extend(bucket.map(|bucket| (bucket.into(), self.log.position)));
        }
    }

    /// Ends the subscriptions of views that will not come back.
    fn end_views_of(&mut self, undo: &Undo) {
        let (views, reason) = match undo {
            Undo::BucketDropped { views, .. } => (views, EndReason::BucketDropped),
            Undo::QueryUndefined { views, .. } => (views, EndReason::QueryUndefined),
            Undo::Commit { .. }
            | Undo::BucketDefined { .. }
            | Undo::BucketTakenOver { .. }
            | Undo::BucketUpdated { .. }
            | Undo::QueryDefined { .. }
            | Undo::QueryTakenOver { .. }
            | Undo::Elsewhere => return,
        };
        for (_, view) in views {
            self.views.end(view, reason);
        }
    }

    /// The position on which the contents of a bucket rest; `None` if all of it is settled. A name without a bucket
    /// has one too, if the bucket has just been dropped.
    #[must_use]
    pub fn unsettled(&self, bucket: &str) -> Option<u64> {
        self.log.buckets.get(bucket).copied()
    }

    /// The position on which the definitions rest; `None` if they are settled.
    #[must_use]
    pub fn unsettled_definitions(&self) -> Option<u64> {
        Some(self.log.definitions).filter(|position| *position > self.log.settled)
    }

    /// The position on which the whole store rests; `None` if all is settled.
    #[must_use]
    pub fn unsettled_any(&self) -> Option<u64> {
        Some(self.log.position).filter(|_| !self.log.undo.is_empty())
    }

    /// Takes note that everything up to a position is kept. Subscriptions that it ended have ended now. Gives what is of
    /// no use any more: to free it takes long enough to be worth doing where nobody waits for the store.
    pub fn settle(&mut self, position: u64) -> Obsolete {
        self.log.settled = self.log.settled.max(position.min(self.log.position));
        self.log.buckets.retain(|_, at| *at > position);
        let newer = self.log.undo.partition_point(|(at, _)| *at <= position);
        let newer = self.log.undo.split_off(newer);
        let obsolete = std::mem::replace(&mut self.log.undo, newer);
        obsolete.iter().for_each(|(_, undo)| self.end_views_of(undo));
        Obsolete { _undo: obsolete }
    }

    /// Takes back everything that is not settled, by one commit, and forgets its entries. Subscribers learn of it like
    /// of any change.
    pub fn undo_unsettled(&mut self) {
        let first_lsn = self.log.first_unsettled_lsn();
        let undo = std::mem::take(&mut self.log.undo);
        self.log.entries.clear();
        self.log.buckets.clear();
        self.log.settled = self.log.position;
        if undo.is_empty() {
            return;
        }
        if let Some(first_lsn) = first_lsn {
            self.forget_commits_from(first_lsn);
        }
        self.lsn += 1;
        let mut inverse = Vec::new();
        for (_, undo) in undo.into_iter().rev() {
            self.undo_one(undo, &mut inverse);
        }
        self.views.undo(self.lsn, &inverse);
        self.tables.recompute_deadline();
    }

    fn undo_one(&mut self, undo: Undo, inverse: &mut Vec<Change>) {
        match undo {
            Undo::Commit { steps, counters, .. } => {
                for step in steps.into_iter().rev() {
                    inverse.extend(self.undo_step(step));
                }
                for (bucket, before) in counters {
                    if let Some(table) = self.tables.get_mut(bucket) {
                        (table.counter, table.next_seq) = before;
                        table.journaled = before;
                    }
                }
            }
            Undo::BucketDefined { id, dormant } => {
                if let Some(table) = self.tables.remove(id) {
                    let name = table.name().clone();
                    self.views.of_bucket(&name).into_iter().for_each(|view| drop(self.detach_view(view)));
                }
                if let Some(dormant) = dormant {
                    self.dormant.buckets.insert(dormant.name.clone(), *dormant);
                }
            }
            Undo::BucketTakenOver { before } => {
                let _ = self.tables.remove(before.id);
                self.tables.put_back(*before);
            }
            Undo::BucketUpdated { id, before } => {
                // The records had only the old indexes to satisfy when the update came; they satisfy them again.
                let restored = self.tables.redefine(id, (*before).clone());
                debug_assert!(restored.is_ok(), "an earlier definition fits the records of its time");
            }
            Undo::BucketDropped { table, views } => {
                self.tables.put_back(*table);
                self.attach_views(views);
            }
            Undo::QueryDefined { name, dormant } => {
                if let Some(query) = self.queries.remove(&name) {
                    query.views.into_values().for_each(|view| drop(self.views.detach(view)));
                }
                if let Some((at, config)) = dormant {
                    let queries = &mut self.dormant.queries;
                    queries.insert(at.min(queries.len()), (name, config));
                }
            }
            Undo::QueryUndefined { query, views } => {
                self.queries.put_back(*query);
                self.attach_views(views);
            }
            Undo::QueryTakenOver { name } => {
                if let Some(query) = self.queries.get_mut(&name) {
                    query.revived = true;
                }
            }
            Undo::Elsewhere => {}
        }
    }

    fn undo_step(&mut self, step: Step) -> Option<Change> {
        let Step { bucket, seq, old, .. } = step;
        let table = self.tables.get_mut(bucket)?;
        let name = table.name().clone();
        let new = table.put(seq, old.clone());
        let undone = Step { bucket, seq, old: new, new: old, insert: false };
        undone.into_change(name)
    }

    /// Takes a view out, with its subscribers.
    pub(crate) fn detach_view(&mut self, id: ViewId) -> Option<(ViewId, View)> {
        let view = self.views.detach(id)?;
        self.queries.forget_view(&view.query, &view.params);
        Some((id, view))
    }

    fn attach_views(&mut self, views: Vec<(ViewId, View)>) {
        for (id, view) in views {
            // Its last subscriber may have gone meanwhile.
            if view.is_watched()
                && let Some(query) = self.queries.get_mut(&view.query)
            {
                query.views.insert(view.params.clone(), id);
                self.views.attach(id, view, self.lsn);
            }
        }
    }
}

/// Writes a definition as it is kept.
pub(crate) fn definition_text(source: &Object) -> Arc<str> {
    Value::from(source.clone()).to_kept_json().into()
}
