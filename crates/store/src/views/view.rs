//! One view: what it shows, who watches it, and how its result is kept up to date.

use super::SubscriberId;
use super::evaluation::{Base, Built, ViewState};
use super::list;
use super::state::{Effect, Snapshot, State};
use crate::filter::Filter;
use crate::query::{CompiledQuery, Shape};
use crate::record::Record;
use noex_json::CompactString;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Why a view has no state from which its result could be kept up to date.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Rerun {
    /// It has not been evaluated yet.
    New,
    /// Its result cannot change.
    Constant,
    /// Too few records of a limited list were left.
    Drained,
    /// A sum of integers met a number for which the order of additions matters.
    Order,
    /// A commit changed more than a quarter of it, so that building it anew costs less.
    Bulk,
    /// More happened while it was built than was to be remembered.
    Backlog,
    /// All states together would take more memory than allowed.
    Memory,
}

impl Rerun {
    /// Gives the name in statistics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Constant => "constant",
            Self::Drained => "drained",
            Self::Order => "order",
            Self::Bulk => "bulk",
            Self::Backlog => "backlog",
            Self::Memory => "memory",
        }
    }
}

/// How the result is kept up to date.
#[derive(Debug)]
pub(super) enum Upkeep {
    /// Not: a change that may concern it makes it dirty, and it is evaluated from records.
    Rerun(Rerun),
    /// The state is being built elsewhere; what happens meanwhile is remembered.
    Building { number: u64, backlog: Vec<Delta> },
    /// Change by change.
    Kept(Box<State>),
}

/// What happened to a record, as the filter of a view sees it.
#[derive(Debug)]
pub(super) struct Delta {
    seq: u64,
    old: Option<Arc<Record>>,
    new: Option<Arc<Record>>,
}

/// At most so many changes are remembered while a state is built.
const BACKLOG_MAX: usize = 16_384;
/// Up to this many changes of one commit are applied one by one in any case.
const BULK_MIN: usize = 1024;

/// One query with one set of parameters.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) query: CompactString,
    pub(crate) params: String,
    pub(super) bucket: CompactString,
    pub(super) compiled: Arc<CompiledQuery>,
    /// Whether the subscriber has been given a result yet.
    pub(super) subscribers: BTreeMap<SubscriberId, bool>,
    pub(super) published: Option<ViewState>,
    /// Subscribers that follow changes.
    pub(super) followers: BTreeSet<SubscriberId>,
    /// What `published` was written from, while somebody follows.
    pub(super) base: Option<Arc<Snapshot>>,
    /// The commit whose state the newest evaluation showed.
    pub(super) evaluated_lsn: u64,
    /// The last commit that may have changed the result.
    pub(super) changed_lsn: u64,
    pub(super) is_queued: bool,
    pub(super) upkeep: Upkeep,
    /// The last commit with changes of records that match, and their number.
    touched: (u64, usize),
    /// How often a limited list had to be read again at a cost.
    pub(super) refills: u32,
    /// Memory that the state holds, in bytes.
    pub(super) held_bytes: usize,
    /// What it last held when there was one.
    pub(super) size_bytes: usize,
}

/// What a change means for a view.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Concern {
    /// The record matches neither before nor after.
    None,
    /// The result is the same.
    Same,
    /// The result may have changed.
    Changed,
}

impl View {
    pub(super) fn new(
        query: CompactString,
        params: String,
        bucket: CompactString,
        compiled: CompiledQuery,
    ) -> Self {
        let upkeep = Upkeep::Rerun(if is_constant(&compiled) { Rerun::Constant } else { Rerun::New });
        Self {
            query,
            params,
            bucket,
            compiled: Arc::new(compiled),
            subscribers: BTreeMap::new(),
            published: None,
            followers: BTreeSet::new(),
            base: None,
            evaluated_lsn: 0,
            changed_lsn: 0,
            is_queued: false,
            upkeep,
            touched: (0, 0),
            refills: 0,
            held_bytes: 0,
            size_bytes: 0,
        }
    }

    /// Gives the filter by which changes are to be found that concern the view; `None` if none does.
    pub(super) fn filter_to_route(&self) -> Option<&Filter> {
        (!is_constant(&self.compiled)).then_some(&self.compiled.filter)
    }

    /// Tells whether anybody watches.
    pub(crate) fn is_watched(&self) -> bool {
        !self.subscribers.is_empty()
    }

    /// Forgets a subscriber; tells whether it was one.
    pub(crate) fn forget(&mut self, subscriber: SubscriberId) -> bool {
        self.subscribers.remove(&subscriber).is_some()
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.published.is_none() || self.changed_lsn > self.evaluated_lsn
    }

    /// Gives what to write changes against; `None` if nobody follows them.
    pub(super) fn base(&self) -> Option<Base> {
        let version = || self.published.as_ref().map(|state| state.version);
        (!self.followers.is_empty()).then(|| Base { version: version().zip(self.base.clone()) })
    }

    /// Copies the base from the state if it is missing and the state is that of the published result.
    pub(super) fn take_base(&mut self) {
        let is_missing = self.base.is_none() && !self.followers.is_empty() && !self.is_dirty();
        if let Upkeep::Kept(state) = &mut self.upkeep
            && is_missing
        {
            // A list takes no additions.
            self.base = Some(Arc::new(state.snapshot(&mut 0)));
        }
    }

    /// Tells whether changes of the result can be told: it is a list that shows the key of each record.
    pub(super) fn can_be_followed(&self, key_field: &str) -> bool {
        match self.compiled.shape() {
            Shape::List { fields, .. } => {
                fields.as_ref().is_none_or(|fields| fields.iter().any(|field| field == key_field))
            }
            Shape::Scalar(..) | Shape::Groups { .. } => false,
        }
    }

    /// Tells whether a commit has concerned the view already.
    pub(super) fn is_touched_by(&self, lsn: u64) -> bool {
        self.touched.0 == lsn
    }

    /// Gives how many records are to be read for a limited list; `None` = all.
    pub(super) fn count_to_read(&self) -> Option<usize> {
        match self.compiled.shape() {
            Shape::List { window, .. } => window.needed().map(|needed| list::kept_max(needed, self.refills)),
            Shape::Scalar(..) | Shape::Groups { .. } => None,
        }
    }

    /// Takes note of a change of a record.
    pub(super) fn change(
        &mut self,
        lsn: u64,
        seq: u64,
        old: Option<&Arc<Record>>,
        new: Option<&Arc<Record>>,
    ) -> Concern {
        let filter = &self.compiled.filter;
        let old = old.filter(|record| filter.matches(record.members()));
        let new = new.filter(|record| filter.matches(record.members()));
        if old.is_none() && new.is_none() {
            return Concern::None;
        }
        self.touched = if self.touched.0 == lsn { (lsn, self.touched.1 + 1) } else { (lsn, 1) };
        let shows = |old: &Arc<Record>, new: &Arc<Record>| self.compiled.shows(old.members(), new.members());
        let effect = match &mut self.upkeep {
            Upkeep::Kept(state) if self.touched.1 > BULK_MIN && is_bulk(state, self.touched.1) => {
                Err(Rerun::Bulk)
            }
            Upkeep::Kept(state) => state.apply(&self.compiled, seq, old, new).map_err(|_lost| Rerun::Order),
            Upkeep::Building { backlog, .. } if backlog.len() == BACKLOG_MAX => Err(Rerun::Backlog),
            Upkeep::Building { backlog, .. } => {
                backlog.push(Delta { seq, old: old.cloned(), new: new.cloned() });
                Ok(if old.zip(new).is_none_or(|(old, new)| shows(old, new)) {
                    Effect::Changed
                } else {
                    Effect::Same
                })
            }
            Upkeep::Rerun(_) => Ok(if old.zip(new).is_none_or(|(old, new)| shows(old, new)) {
                Effect::Changed
            } else {
                Effect::Same
            }),
        };
        match effect {
            Ok(Effect::Same) => Concern::Same,
            Ok(Effect::Changed) => Concern::Changed,
            Err(reason) => {
                self.upkeep = Upkeep::Rerun(reason);
                Concern::Changed
            }
        }
    }

    /// Starts to keep a state that was built, after what happened meanwhile.
    pub(super) fn install(&mut self, built: Built) {
        let Upkeep::Building { number, backlog } = &mut self.upkeep else { return };
        if *number != built.number {
            return;
        }
        let mut state = built.state;
        for Delta { seq, old, new } in std::mem::take(backlog) {
            if state.apply(&self.compiled, seq, old.as_ref(), new.as_ref()).is_err() {
                self.upkeep = Upkeep::Rerun(Rerun::Order);
                return;
            }
        }
        self.upkeep = Upkeep::Kept(state);
    }

    /// Takes note of the memory that the state holds, and lets go of one that no longer tells the result.
    pub(super) fn settle(&mut self) {
        self.held_bytes = 0;
        if let Upkeep::Kept(state) = &self.upkeep {
            self.size_bytes = state.bytes();
            self.held_bytes = self.size_bytes;
            if state.is_drained() {
                self.let_go(Rerun::Drained);
            }
        }
    }

    /// Stops keeping a state.
    pub(super) fn let_go(&mut self, reason: Rerun) {
        if !matches!(self.upkeep, Upkeep::Rerun(Rerun::Constant)) {
            self.upkeep = Upkeep::Rerun(reason);
        }
        self.held_bytes = 0;
    }
}

fn is_bulk(state: &State, changes: usize) -> bool {
    let entries = state.entries();
    entries > 0 && changes > entries / 4
}

/// Tells whether the result is the same whatever the records.
fn is_constant(query: &CompiledQuery) -> bool {
    let shows_nothing = match query.shape() {
        Shape::List { window, .. } => window.needed() == Some(0),
        Shape::Scalar(..) | Shape::Groups { .. } => false,
    };
    query.filter.is_none() || shows_nothing
}
