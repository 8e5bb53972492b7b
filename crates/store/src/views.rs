//! Live results of queries and who wants to know of them.
//!
//! A view is one query with one set of parameters; its subscribers share its result and the result's text. A commit
//! is handed to the views that it may concern; each maintains what it keeps of its result and is queued if the result
//! may have changed. The owner then takes the queued views one by one, writes each result from an unchanging copy
//! wherever it likes, and publishes it. A view that keeps nothing (see [`Rerun`]) is evaluated from a snapshot of the
//! records instead; where it can, that builds what is kept from then on. Results carry the number of the commit whose
//! state they show, so one that comes late never replaces a newer one.
//!
//! ```text
//!             subscribe                       publish(newer)
//!  (no view) ───────────► awaiting its first ───────────────► clean ◄──────┐
//!                         result │  ▲                           │ commit   │ publish
//!                         commit │  │ publish(older)            ▼          │
//!                                └──┴─────────────────────► dirty, queued ─┘
//!
//!  upkeep:   rerun ──evaluation──► building ──publish──► kept ──drained, bulk, order, memory──► rerun
//!              ▲──────backlog──────────┘
//! ```
//! Source: the store specification, part C.

mod aggregate;
mod delta;
mod evaluation;
mod groups;
mod list;
mod rows;
mod state;
mod sum;
mod view;

use crate::commit::Change;
use crate::plan::Source;
use crate::query::CompiledQuery;
use crate::router::Router;
use crate::stats::{QueryViews, ViewCounters, ViewStats};
use crate::table::Hashing;
use evaluation::{Build, Input};
use hashbrown::HashMap;
use noex_json::CompactString;
use std::collections::VecDeque;
use std::sync::Arc;
use view::{Concern, Upkeep};

pub use delta::Delta;
pub use evaluation::{Evaluated, Evaluation, Published, Subscribed, ViewState};
pub use view::Rerun;
pub(crate) use view::View;

/// Names a subscriber; chosen by the owner, never twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SubscriberId(pub u64);

/// Names a view; never used twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct ViewId(pub(crate) u64);

/// Why a subscription has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EndReason {
    /// The bucket was dropped.
    BucketDropped,
    /// The query was undefined.
    QueryUndefined,
}

/// All live views.
#[derive(Debug)]
pub(crate) struct Views {
    hashing: Hashing,
    views: HashMap<ViewId, View, Hashing>,
    /// By bucket.
    routers: HashMap<CompactString, Router, Hashing>,
    subscribers: HashMap<SubscriberId, ViewId, Hashing>,
    dirty: VecDeque<ViewId>,
    ended: Vec<(SubscriberId, EndReason)>,
    /// The last commit that undid earlier ones.
    undone_lsn: u64,
    next_id: u64,
    next_build: u64,
    /// Memory that states may hold together, in bytes, and that they hold.
    bytes_max: usize,
    bytes: usize,
    counters: ViewCounters,
    // Only here to be reused.
    candidates: Vec<ViewId>,
    touched: Vec<ViewId>,
}

/// What names a view.
pub(crate) struct ViewKey {
    pub(crate) query: CompactString,
    pub(crate) params: String,
    pub(crate) bucket: CompactString,
}

impl Views {
    /// Makes an empty set.
    pub(crate) fn new(hashing: Hashing, bytes_max: usize) -> Self {
        Self {
            views: HashMap::with_hasher(hashing.clone()),
            routers: HashMap::with_hasher(hashing.clone()),
            subscribers: HashMap::with_hasher(hashing.clone()),
            hashing,
            dirty: VecDeque::new(),
            ended: Vec::new(),
            undone_lsn: 0,
            next_id: 0,
            next_build: 0,
            bytes_max,
            bytes: 0,
            counters: ViewCounters::default(),
            candidates: Vec::new(),
            touched: Vec::new(),
        }
    }

    /// Gives the number of subscribers of all views.
    pub(crate) fn subscriber_count(&self) -> usize {
        self.subscribers.len()
    }

    /// Gives the number of subscribers of one view.
    pub(crate) fn subscribers_of(&self, view: ViewId) -> usize {
        self.views.get(&view).map_or(0, |view| view.subscribers.len())
    }

    /// Adds a view without a result.
    pub(crate) fn add(&mut self, key: ViewKey, compiled: CompiledQuery) -> ViewId {
        let id = ViewId(self.next_id);
        self.next_id += 1;
        let hashing = &self.hashing;
        let router = self.routers.entry(key.bucket.clone()).or_insert_with(|| Router::new(hashing.clone()));
        let view = View::new(key.query, key.params, key.bucket, compiled);
        router.add(id, view.filter_to_route());
        self.views.insert(id, view);
        id
    }

    /// Adds a subscriber to a view, and gives the view's result if that is up to date.
    pub(crate) fn subscribe(&mut self, id: ViewId, subscriber: SubscriberId) -> Option<ViewState> {
        let view = self.views.get_mut(&id)?;
        let state = if view.is_dirty() { None } else { view.published.clone() };
        view.subscribers.insert(subscriber, state.is_some());
        self.subscribers.insert(subscriber, id);
        state
    }

    /// Names the bucket that a subscriber's view reads.
    pub(crate) fn bucket_of(&self, subscriber: SubscriberId) -> Option<&CompactString> {
        self.views.get(self.subscribers.get(&subscriber)?).map(|view| &view.bucket)
    }

    /// Lets a subscriber follow the changes of its view from now on; false if that is not possible.
    pub(crate) fn follow(&mut self, subscriber: SubscriberId, key_field: &str) -> bool {
        let view = self.subscribers.get(&subscriber).and_then(|id| self.views.get_mut(id));
        let Some(view) = view.filter(|view| view.can_be_followed(key_field)) else { return false };
        view.followers.insert(subscriber);
        view.take_base();
        true
    }

    /// Makes an evaluation of a view as of now, which is commit `lsn`. `read` chooses the records to look at, given
    /// the bucket, the query and how many records of a limited list are wanted.
    pub(crate) fn evaluation(
        &mut self,
        id: ViewId,
        lsn: u64,
        subscriber: Option<SubscriberId>,
        read: impl FnOnce(&str, &CompiledQuery, Option<usize>) -> Option<Source>,
    ) -> Option<Evaluation> {
        let view = self.views.get_mut(&id)?;
        let (bucket, query) = (view.bucket.clone(), Arc::clone(&view.compiled));
        if let Upkeep::Kept(state) = &mut view.upkeep {
            self.counters.kept += 1;
            let input = Input::Kept(state.snapshot(&mut self.counters.additions));
            return Some(Evaluation { view: id, bucket, lsn, query, subscriber, input, base: view.base() });
        }
        let source = read(&view.bucket, &query, view.count_to_read())?;
        let has_room = self.bytes.saturating_add(view.size_bytes) <= self.bytes_max;
        let build = match view.upkeep {
            Upkeep::Rerun(reason) if reason != Rerun::Constant && has_room => {
                if reason == Rerun::Drained && source.is_scan() {
                    view.refills = view.refills.saturating_add(1);
                }
                self.counters.count_build(reason);
                self.next_build += 1;
                view.upkeep = Upkeep::Building { number: self.next_build, backlog: Vec::new() };
                Some(Build { number: self.next_build, refills: view.refills })
            }
            Upkeep::Rerun(_) | Upkeep::Building { .. } | Upkeep::Kept(_) => {
                self.counters.reruns += 1;
                None
            }
        };
        let (input, base) = (Input::Read { source, build }, view.base());
        Some(Evaluation { view: id, bucket, lsn, query, subscriber, input, base })
    }

    /// Takes the next view that has to be evaluated.
    pub(crate) fn pop_dirty(&mut self) -> Option<ViewId> {
        while let Some(id) = self.dirty.pop_front() {
            let Some(view) = self.views.get_mut(&id) else { continue };
            view.is_queued = false;
            if view.is_dirty() {
                return Some(id);
            }
        }
        None
    }

    /// Hands the changes of a commit to the views that they concern.
    pub(crate) fn commit(&mut self, lsn: u64, changes: &[Change]) {
        if self.views.is_empty() {
            return;
        }
        let mut candidates = std::mem::take(&mut self.candidates);
        let mut touched = std::mem::take(&mut self.touched);
        for change in changes {
            let Some(router) = self.routers.get(change.bucket()) else { continue };
            let (old, new) = (change.before(), change.after());
            let probes =
                router.candidates(old.map(|r| r.members()), new.map(|r| r.members()), &mut candidates);
            self.counters.changes += 1;
            self.counters.probes += probes;
            self.counters.candidates += candidates.len() as u64;
            for id in &candidates {
                let Some(view) = self.views.get_mut(id) else { continue };
                let is_first = !view.is_touched_by(lsn);
                let concern = view.change(lsn, change.seq(), old, new);
                if concern == Concern::None {
                    continue;
                }
                self.counters.transitions += 1;
                if is_first {
                    touched.push(*id);
                }
                if concern == Concern::Changed {
                    view.changed_lsn = lsn;
                    if !view.is_queued {
                        view.is_queued = true;
                        self.dirty.push_back(*id);
                    }
                }
            }
        }
        touched.drain(..).for_each(|id| self.settle(id));
        (self.candidates, self.touched) = (candidates, touched);
    }

    /// Looks after a view whose state may have changed: counts its memory, and lets go of it if there is too much or
    /// if it no longer tells the result.
    fn settle(&mut self, id: ViewId) {
        let Some(view) = self.views.get_mut(&id) else { return };
        self.bytes -= view.held_bytes;
        view.settle();
        if self.bytes.saturating_add(view.held_bytes) > self.bytes_max && view.held_bytes > 0 {
            view.let_go(Rerun::Memory);
        }
        self.bytes += view.held_bytes;
    }

    /// Installs a result if it is newer, and lists who is to be told.
    pub(crate) fn publish(&mut self, evaluated: Evaluated) -> Published {
        let Evaluated { view: id, lsn, subscriber, result, built, snapshot, delta } = evaluated;
        let fresh = ViewState { version: lsn, result };
        let Some(view) = self.views.get_mut(&id) else {
            return Published { state: fresh, changed: Vec::new(), delta: None };
        };
        if let Some(built) = built {
            self.counters.additions += built.additions;
            view.install(built);
        }
        let (mut changed, mut told_delta) = (Vec::new(), None);
        let state = match &view.published {
            // It shows what has been undone since, and is about to be evaluated again.
            state if lsn < self.undone_lsn && view.changed_lsn >= self.undone_lsn => {
                state.clone().unwrap_or(fresh)
            }
            Some(state) if view.evaluated_lsn >= lsn => state.clone(),
            Some(state) if state.result == fresh.result => {
                view.evaluated_lsn = lsn;
                view.base = snapshot;
                self.counters.suppressed += 1;
                state.clone()
            }
            Some(_) | None => {
                view.evaluated_lsn = lsn;
                self.counters.published += 1;
                let version = view.published.as_ref().map(|state| state.version);
                told_delta = delta.filter(|delta| version == Some(delta.from));
                self.counters.deltas += u64::from(told_delta.is_some());
                view.base = snapshot;
                let told = view.subscribers.iter().filter(|(_, told)| **told);
                changed.extend(told.map(|(subscriber, _)| (*subscriber, fresh.clone())));
                view.published = Some(fresh.clone());
                fresh
            }
        };
        if let Some(told) = subscriber.and_then(|subscriber| view.subscribers.get_mut(&subscriber)) {
            *told = true;
        }
        view.take_base();
        self.settle(id);
        Published { state, changed, delta: told_delta }
    }

    /// Removes a subscriber; gives the query and parameters of the view if it was the last one.
    pub(crate) fn unsubscribe(
        &mut self,
        subscriber: SubscriberId,
    ) -> Option<Option<(CompactString, String)>> {
        let id = self.subscribers.remove(&subscriber)?;
        let view = self.views.get_mut(&id)?;
        view.subscribers.remove(&subscriber);
        view.followers.remove(&subscriber);
        if view.followers.is_empty() {
            view.base = None;
        }
        Some(if view.subscribers.is_empty() { self.remove(id) } else { None })
    }

    fn remove(&mut self, id: ViewId) -> Option<(CompactString, String)> {
        self.detach(id).map(|view| (view.query, view.params))
    }

    /// Takes a view out, with its subscribers.
    pub(crate) fn detach(&mut self, id: ViewId) -> Option<View> {
        let mut view = self.views.remove(&id)?;
        self.bytes -= view.held_bytes;
        view.let_go(Rerun::New);
        for subscriber in view.subscribers.keys() {
            self.subscribers.remove(subscriber);
        }
        if let Some(router) = self.routers.get_mut(&view.bucket) {
            router.remove(id, view.filter_to_route());
            if router.members.is_empty() {
                self.routers.remove(&view.bucket);
            }
        }
        Some(view)
    }

    /// Puts a view back that was taken out; it counts as changed by the commit `lsn`.
    pub(crate) fn attach(&mut self, id: ViewId, mut view: View, lsn: u64) {
        let hashing = &self.hashing;
        let router = self.routers.entry(view.bucket.clone()).or_insert_with(|| Router::new(hashing.clone()));
        router.add(id, view.filter_to_route());
        self.subscribers.extend(view.subscribers.keys().map(|subscriber| (*subscriber, id)));
        view.changed_lsn = lsn;
        view.is_queued = true;
        self.dirty.push_back(id);
        self.views.insert(id, view);
    }

    /// Notes that a view that was taken out has ended for its subscribers.
    pub(crate) fn end(&mut self, view: &View, reason: EndReason) {
        self.ended.extend(view.subscribers.keys().map(|subscriber| (*subscriber, reason)));
    }

    /// Forgets what was published of a subscriber's view, so that it is told again.
    pub(crate) fn retell(&mut self, subscriber: SubscriberId) {
        let Some(id) = self.subscribers.get(&subscriber).copied() else { return };
        let Some(view) = self.views.get_mut(&id) else { return };
        view.published = None;
        if !view.is_queued {
            view.is_queued = true;
            self.dirty.push_back(id);
        }
    }

    /// Hands the changes that undo earlier ones to the views, and marks everything that was evaluated before as
    /// overtaken.
    pub(crate) fn undo(&mut self, lsn: u64, inverse: &[Change]) {
        self.undone_lsn = lsn;
        self.commit(lsn, inverse);
    }

    /// Lists the views of a bucket.
    pub(crate) fn of_bucket(&self, bucket: &str) -> Vec<ViewId> {
        self.routers.get(bucket).map(|router| router.members.iter().copied().collect()).unwrap_or_default()
    }

    /// Tells whether a view may be dirty or a subscription has ended.
    pub(crate) fn has_news(&self) -> bool {
        !self.dirty.is_empty() || !self.ended.is_empty()
    }

    /// Takes the list of subscriptions that have ended.
    pub(crate) fn take_ended(&mut self) -> Vec<(SubscriberId, EndReason)> {
        std::mem::take(&mut self.ended)
    }

    /// Gives the work done and the memory held; the queries are for the caller to fill in.
    pub(crate) fn stats(&self) -> ViewStats {
        ViewStats {
            counters: self.counters,
            views: self.views.len(),
            state_bytes: self.bytes,
            state_bytes_max: self.bytes_max,
            queries: Vec::new(),
        }
    }

    /// Adds a view to the counts of its query.
    pub(crate) fn count_into(&self, id: ViewId, counts: &mut QueryViews) {
        let Some(view) = self.views.get(&id) else { return };
        counts.views += 1;
        counts.subscriptions += view.subscribers.len();
        counts.state_bytes += view.held_bytes;
        match view.upkeep {
            Upkeep::Kept(_) => counts.kept += 1,
            Upkeep::Building { .. } => counts.building += 1,
            Upkeep::Rerun(reason) => *counts.rerun.entry(reason).or_default() += 1,
        }
    }
}
