//! Live results of queries and who wants to know of them.
//!
//! A view is one query with one set of parameters; its subscribers share its result and the result's text. A commit
//! only marks the views that it may have changed and queues them. The owner then takes them one by one, evaluates
//! each from a snapshot wherever it likes, and publishes the result. Results carry the number of the commit whose
//! state they show, so one that comes late never replaces a newer one.
//!
//! ```text
//!             subscribe                       publish(newer)
//!  (no view) ───────────► awaiting its first ───────────────► clean ◄──────┐
//!                         result │  ▲                           │ commit   │ publish
//!                         commit │  │ publish(older)            ▼          │
//!                                └──┴─────────────────────► dirty, queued ─┘
//! ```

use crate::commit::Change;
use crate::plan::Source;
use crate::query::CompiledQuery;
use crate::router::{Route, Router};
use crate::table::Hashing;
use hashbrown::HashMap;
use noex_json::{CompactString, Object, deep_equal};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Names a subscriber; chosen by the owner, never twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SubscriberId(pub u64);

/// Names a view; never used twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct ViewId(pub(crate) u64);

/// A result and its age.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewState {
    /// Number of the commit with which this result came about; greater than that of every earlier result.
    pub version: u64,
    /// The result as JSON text; `None` = no value.
    pub result: Option<Arc<str>>,
}

/// Outcome of subscribing.
#[derive(Debug)]
pub enum Subscribed {
    /// The result is known.
    Ready(ViewState),
    /// The result must be evaluated; publishing it gives the subscriber's initial state.
    Evaluate(Evaluation),
}

/// Why a subscription has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EndReason {
    /// The bucket was dropped.
    BucketDropped,
    /// The query was undefined.
    QueryUndefined,
}

/// A view to evaluate: all that is needed, as of one commit.
#[derive(Debug)]
#[must_use = "the view stays dirty until the evaluation is run and published"]
pub struct Evaluation {
    view: ViewId,
    lsn: u64,
    source: Source,
    query: Arc<CompiledQuery>,
    subscriber: Option<SubscriberId>,
}

/// A result to publish.
#[derive(Debug)]
#[must_use = "the result reaches nobody until it is published"]
pub struct Evaluated {
    view: ViewId,
    lsn: u64,
    subscriber: Option<SubscriberId>,
    result: Option<Arc<str>>,
}

impl Evaluation {
    /// Does the work. Needs nothing of the store any more, so it may run anywhere.
    pub fn run(self) -> Evaluated {
        let result =
            self.query.evaluate(self.source.iter(), |record| record.members(), |record| record.json());
        Evaluated {
            view: self.view,
            lsn: self.lsn,
            subscriber: self.subscriber,
            result: result.map(Arc::from),
        }
    }
}

/// Outcome of publishing.
#[derive(Debug)]
pub struct Published {
    /// The view's state now, perhaps newer than what was published: the initial state of the subscriber for whom the
    /// evaluation was made.
    pub state: ViewState,
    /// Subscribers to tell, with what.
    pub changed: Vec<(SubscriberId, ViewState)>,
}

/// One query with one set of parameters.
#[derive(Debug)]
struct View {
    query: CompactString,
    params: String,
    bucket: CompactString,
    compiled: Arc<CompiledQuery>,
    /// Fields that matter for a record that stays in the view; `None` = all.
    output: Option<Vec<CompactString>>,
    route: Route,
    /// Whether the subscriber has been given a state yet.
    subscribers: BTreeMap<SubscriberId, bool>,
    state: Option<ViewState>,
    /// The commit whose state the newest evaluation showed.
    evaluated_lsn: u64,
    /// The last commit that may have changed the result.
    changed_lsn: u64,
    queued: bool,
}

impl View {
    fn is_dirty(&self) -> bool {
        self.state.is_none() || self.changed_lsn > self.evaluated_lsn
    }

    /// Tells whether a change can alter the result.
    fn is_concerned(&self, old: Option<&Object>, new: Option<&Object>) -> bool {
        let filter = &self.compiled.filter;
        let matches = |members: Option<&Object>| members.is_some_and(|members| filter.matches(members));
        match (matches(old), matches(new)) {
            (false, false) => false,
            (true, true) => self.output.as_ref().is_none_or(|fields| {
                let differs = |field: &CompactString| match (
                    old.and_then(|old| old.get(field)),
                    new.and_then(|new| new.get(field)),
                ) {
                    (Some(old), Some(new)) => !deep_equal(old, new),
                    (None, None) => false,
                    (None, Some(_)) | (Some(_), None) => true,
                };
                fields.iter().any(differs)
            }),
            (true, false) | (false, true) => true,
        }
    }
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
    next_id: u64,
    candidates: Vec<ViewId>,
}

/// What names a view.
pub(crate) struct ViewKey {
    pub(crate) query: CompactString,
    pub(crate) params: String,
    pub(crate) bucket: CompactString,
}

impl Views {
    /// Makes an empty set.
    pub(crate) fn new(hashing: Hashing) -> Self {
        Self {
            views: HashMap::with_hasher(hashing.clone()),
            routers: HashMap::with_hasher(hashing.clone()),
            subscribers: HashMap::with_hasher(hashing.clone()),
            hashing,
            dirty: VecDeque::new(),
            ended: Vec::new(),
            next_id: 0,
            candidates: Vec::new(),
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
        let route = router.route(&compiled.filter);
        router.add(id, &route);
        let view = View {
            query: key.query,
            params: key.params,
            bucket: key.bucket,
            output: compiled.output_fields(),
            compiled: Arc::new(compiled),
            route,
            subscribers: BTreeMap::new(),
            state: None,
            evaluated_lsn: 0,
            changed_lsn: 0,
            queued: false,
        };
        self.views.insert(id, view);
        id
    }

    /// Adds a subscriber to a view, and gives the view's result if that is up to date.
    pub(crate) fn subscribe(&mut self, id: ViewId, subscriber: SubscriberId) -> Option<ViewState> {
        let view = self.views.get_mut(&id)?;
        let state = if view.is_dirty() { None } else { view.state.clone() };
        view.subscribers.insert(subscriber, state.is_some());
        self.subscribers.insert(subscriber, id);
        state
    }

    /// Names the bucket of a view and gives its query.
    pub(crate) fn plan(&self, id: ViewId) -> Option<(&CompactString, &Arc<CompiledQuery>)> {
        self.views.get(&id).map(|view| (&view.bucket, &view.compiled))
    }

    /// Makes an evaluation of a view.
    pub(crate) fn evaluation(
        view: ViewId,
        query: Arc<CompiledQuery>,
        source: Source,
        lsn: u64,
        subscriber: Option<SubscriberId>,
    ) -> Evaluation {
        Evaluation { view, lsn, source, query, subscriber }
    }

    /// Takes the next view that has to be evaluated.
    pub(crate) fn pop_dirty(&mut self) -> Option<ViewId> {
        while let Some(id) = self.dirty.pop_front() {
            let Some(view) = self.views.get_mut(&id) else { continue };
            view.queued = false;
            if view.is_dirty() {
                return Some(id);
            }
        }
        None
    }

    /// Marks the views that a commit may have changed.
    pub(crate) fn commit(&mut self, lsn: u64, changes: &[Change]) {
        if self.views.is_empty() {
            return;
        }
        let mut candidates = std::mem::take(&mut self.candidates);
        for change in changes {
            let Some(router) = self.routers.get(change.bucket()) else { continue };
            let (old, new) = (change.before().map(|r| r.members()), change.after().map(|r| r.members()));
            candidates.clear();
            router.candidates(old, new, &mut candidates);
            for id in &candidates {
                let Some(view) = self.views.get_mut(id) else { continue };
                if view.changed_lsn < lsn && view.is_concerned(old, new) {
                    view.changed_lsn = lsn;
                    if !view.queued {
                        view.queued = true;
                        self.dirty.push_back(*id);
                    }
                }
            }
        }
        self.candidates = candidates;
    }

    /// Installs a result if it is newer, and lists who is to be told.
    pub(crate) fn publish(&mut self, evaluated: Evaluated) -> Published {
        let Evaluated { view: id, lsn, subscriber, result } = evaluated;
        let fresh = ViewState { version: lsn, result };
        let Some(view) = self.views.get_mut(&id) else {
            return Published { state: fresh, changed: Vec::new() };
        };
        let mut changed = Vec::new();
        let state = match &view.state {
            Some(state) if view.evaluated_lsn >= lsn => state.clone(),
            Some(state) if state.result == fresh.result => {
                view.evaluated_lsn = lsn;
                state.clone()
            }
            Some(_) | None => {
                view.evaluated_lsn = lsn;
                let told = view.subscribers.iter().filter(|(_, told)| **told);
                changed.extend(told.map(|(subscriber, _)| (*subscriber, fresh.clone())));
                view.state = Some(fresh.clone());
                fresh
            }
        };
        if let Some(told) = subscriber.and_then(|subscriber| view.subscribers.get_mut(&subscriber)) {
            *told = true;
        }
        Published { state, changed }
    }

    /// Removes a subscriber; gives the query and parameters of the view if it was the last one.
    pub(crate) fn unsubscribe(
        &mut self,
        subscriber: SubscriberId,
    ) -> Option<Option<(CompactString, String)>> {
        let id = self.subscribers.remove(&subscriber)?;
        let view = self.views.get_mut(&id)?;
        view.subscribers.remove(&subscriber);
        Some(if view.subscribers.is_empty() { self.remove(id) } else { None })
    }

    fn remove(&mut self, id: ViewId) -> Option<(CompactString, String)> {
        let view = self.views.remove(&id)?;
        for subscriber in view.subscribers.keys() {
            self.subscribers.remove(subscriber);
        }
        if let Some(router) = self.routers.get_mut(&view.bucket) {
            router.remove(id, &view.route);
            if router.members.is_empty() {
                self.routers.remove(&view.bucket);
            }
        }
        Some((view.query, view.params))
    }

    /// Ends a view with all its subscriptions; gives its query and parameters.
    pub(crate) fn end(&mut self, id: ViewId, reason: EndReason) -> Option<(CompactString, String)> {
        let subscribers: Vec<SubscriberId> = self.views.get(&id)?.subscribers.keys().copied().collect();
        self.ended.extend(subscribers.into_iter().map(|subscriber| (subscriber, reason)));
        self.remove(id)
    }

    /// Lists the views of a bucket.
    pub(crate) fn of_bucket(&self, bucket: &str) -> Vec<ViewId> {
        self.routers.get(bucket).map(|router| router.members.iter().copied().collect()).unwrap_or_default()
    }

    /// Takes the list of subscriptions that have ended.
    pub(crate) fn take_ended(&mut self) -> Vec<(SubscriberId, EndReason)> {
        std::mem::take(&mut self.ended)
    }
}
