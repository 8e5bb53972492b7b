//! The gate between the store and its journal: nothing gets out before it is kept.
//!
//! Commits are applied in memory at once and gathered into a group. One group at a time is with the journal; what
//! comes meanwhile forms the next one (group commit). When the journal has kept a group, its ticket is settled: replies,
//! results and events go out. When the journal fails, everything that is not kept is undone in memory, and all tickets
//! fail; the next write tries again.
//!
//! ```text
//!  commit ──► forming ── pump ──► in flight ── kept ──► tickets kept, results and events go out
//!                ▲                    │
//!                └── next commit      └─ failed ──► all undone, tickets of both groups fail
//! ```
//! Where commits are acknowledged before they are kept (`interval`, `none`), there is nothing to hold and nothing can be
//! undone: entries are *owed* until the journal takes them, and while it does not, writes are refused. What the start
//! itself defines is owed in any mode.
//! What takes the store's lock more than once but must be kept as a whole holds [`Gate::whole`] meanwhile: no group begins
//! or ends then, so that all of it is in one group, and none of it is undone before the rest is done.
//! Lock order: whole, store, gate, ticket.

use crate::{
    alarm::Alarm,
    backend::PushSink,
    ticket::{Ticket, not_stored},
};
use futures::task::AtomicWaker;
use noex_core::{Refusal, SubId};
use noex_store::{Journal, JournalEntry, JournalError, Obsolete, Store, SubscriberId};
use parking_lot::{Mutex, MutexGuard};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Durability {
    /// When it is kept.
    #[default]
    Sync,
    /// At once; the journal keeps it when it sees fit.
    Async,
}

/// What is to be kept together.
#[derive(Debug, Default)]
struct Group {
    /// Position before the first thing in it.
    after: u64,
    /// Position of the last thing in it.
    upto: u64,
    entries: Vec<Vec<JournalEntry>>,
    ticket: Arc<Ticket>,
}

#[derive(Debug, Default)]
struct Groups {
    in_flight: Option<Group>,
    /// What must be kept though nobody waits for it, of the group in flight.
    owed_in_flight: Vec<Vec<JournalEntry>>,
    forming: Group,
    /// What must be kept with the next group though nobody waits for it.
    owed: Vec<Vec<JournalEntry>>,
    /// Somebody wants to know whether the journal works again.
    retry: bool,
    last_error: Option<JournalError>,
}

/// See the [module documentation](self).
pub(crate) struct Gate {
    journal: Arc<dyn Journal>,
    sink: Arc<dyn PushSink + Send + Sync>,
    durability: Durability,
    groups: Mutex<Groups>,
    /// See [`Gate::whole`].
    whole: Mutex<()>,
    /// The last group failed.
    failing: AtomicBool,
    /// Failures so far, counted with the store locked.
    failures: AtomicU64,
    /// Something that was settled waits to be delivered by a task that knows the time.
    released: AtomicBool,
    /// Wakes that task.
    pub(crate) deliverer: Arc<Alarm>,
    /// Wakes whoever waits for the journal to have nothing left.
    pub(crate) idle: AtomicWaker,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("groups", &self.groups).finish_non_exhaustive()
    }
}

/// What is left to do outside the locks when a group is settled.
#[must_use]
pub(crate) struct Settled(After);

enum After {
    Kept(Arc<Ticket>, Obsolete),
    Failed(Vec<Box<dyn FnOnce() + Send>>),
}

impl Gate {
    pub(crate) fn new(
        journal: Arc<dyn Journal>,
        durability: Durability,
        sink: Arc<dyn PushSink + Send + Sync>,
        deliverer: Arc<Alarm>,
    ) -> Self {
        Self {
            journal,
            sink,
            durability,
            groups: Mutex::default(),
            whole: Mutex::default(),
            failing: AtomicBool::new(false),
            failures: AtomicU64::new(0),
            // What the start has defined waits for the first delivery.
            released: AtomicBool::new(true),
            deliverer,
            idle: AtomicWaker::new(),
        }
    }

    /// Takes what the store has noted into the forming group. To be called with the store locked.
    pub(crate) fn collect(&self, store: &mut Store) {
        let entries = store.take_journal();
        let mut groups = self.groups.lock();
        match self.durability {
            Durability::Async => groups.owed.extend(entries),
            Durability::Sync => {
                groups.forming.entries.extend(entries);
                groups.forming.upto = store.journal_position();
            }
        }
    }

    /// Takes everything so far as in force, kept or not: what the start itself has changed.
    pub(crate) fn owe_all(&self, store: &mut Store) {
        self.collect(store);
        drop(store.settle(store.journal_position()));
        let mut groups = self.groups.lock();
        let next = Group::after(groups.forming.upto);
        let start = std::mem::replace(&mut groups.forming, next);
        groups.owed.extend(start.entries);
    }

    /// The ticket of a position that the store calls unsettled. To be called with the store locked.
    pub(crate) fn ticket(&self, position: Option<u64>) -> Option<Arc<Ticket>> {
        let position = position?;
        let groups = self.groups.lock();
        let in_flight = groups.in_flight.as_ref().filter(|group| position <= group.upto);
        Some(Arc::clone(&in_flight.unwrap_or(&groups.forming).ticket))
    }

    /// Lets no group begin or end while the guard lives. To be called without the store locked.
    pub(crate) fn whole(&self) -> MutexGuard<'_, ()> {
        self.whole.lock()
    }

    /// Refuses a write that could neither be kept nor undone.
    pub(crate) fn admit(&self) -> Result<(), Refusal> {
        if self.durability == Durability::Sync || !self.is_failing() {
            return Ok(());
        }
        self.groups.lock().retry = true;
        Err(not_stored())
    }

    /// Lets the next [`Gate::next_group`] try the journal again.
    pub(crate) fn retry(&self) {
        self.groups.lock().retry = true;
    }

    /// Tells how often the journal has failed. If that is the same, with the store locked, as it was, nothing that was
    /// done meanwhile has been undone.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Acquire)
    }

    /// Why the last group was not kept, if it was not.
    pub(crate) fn last_error(&self) -> Option<JournalError> {
        self.groups.lock().last_error.clone()
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Acquire)
    }

    /// Tells whether nothing is left to be kept, or nothing can be.
    pub(crate) fn is_idle(&self) -> bool {
        let groups = self.groups.lock();
        groups.in_flight.is_none() && (self.is_failing() || (groups.owed.is_empty() && !groups.has_forming()))
    }

    /// Tells whether nothing is left to be kept.
    pub(crate) fn is_kept(&self) -> bool {
        let groups = self.groups.lock();
        groups.in_flight.is_none() && groups.owed.is_empty() && !groups.has_forming()
    }

    /// Tells whether something that was settled waits to be delivered, and forgets it.
    pub(crate) fn take_released(&self) -> bool {
        self.released.load(Ordering::Relaxed) && self.released.swap(false, Ordering::AcqRel)
    }

    /// Moves the forming group into flight, unless one is; gives what to submit.
    pub(crate) fn next_group(&self) -> Option<Vec<Vec<JournalEntry>>> {
        let _whole = self.whole();
        let mut groups = self.groups.lock();
        let due = groups.has_forming() || (!groups.owed.is_empty() && (!self.is_failing() || groups.retry));
        if groups.in_flight.is_some() || !due {
            return None;
        }
        groups.retry = false;
        let next = Group::after(groups.forming.upto);
        let mut group = std::mem::replace(&mut groups.forming, next);
        let mut entries = std::mem::take(&mut groups.owed);
        groups.owed_in_flight.clone_from(&entries);
        entries.append(&mut group.entries);
        groups.in_flight = Some(group);
        Some(entries)
    }

    pub(crate) fn submit(
        &self,
        entries: Vec<Vec<JournalEntry>>,
        done: impl FnOnce(Result<(), JournalError>) + Send + 'static,
    ) {
        if entries.is_empty() {
            // Only what needs no journal; what it rested on is settled by now.
            done(Ok(()));
        } else {
            self.journal.submit(entries, Box::new(done));
        }
    }

    /// Settles the group in flight. To be called with [`Gate::whole`] and the store locked; [`Gate::finish`] does the
    /// rest.
    pub(crate) fn settle(&self, store: &mut Store, outcome: Result<(), JournalError>) -> Settled {
        let mut groups = self.groups.lock();
        let group = groups.in_flight.take().unwrap_or_default();
        let owed = std::mem::take(&mut groups.owed_in_flight);
        match outcome {
            Ok(()) => {
                let obsolete = store.settle(group.upto);
                if self.failing.swap(false, Ordering::AcqRel) {
                    groups.last_error = None;
                    tracing::info!("writes can be stored again");
                }
                store.suspend_expiry(false);
                Settled(After::Kept(group.ticket, obsolete))
            }
            Err(error) => {
                self.failing.store(true, Ordering::Release);
                self.failures.fetch_add(1, Ordering::AcqRel);
                // Said once, not for every write that tries again.
                if groups.last_error.as_ref() != Some(&error) {
                    tracing::error!("writes cannot be stored: {error}");
                    groups.last_error = Some(error);
                }
                let newer = std::mem::replace(&mut groups.owed, owed);
                groups.owed.extend(newer);
                let next = Group::after(groups.forming.upto);
                let forming = std::mem::replace(&mut groups.forming, next);
                drop(groups);
                store.undo_unsettled();
                store.suspend_expiry(true);
                let mut calls = Vec::new();
                for ticket in [group.ticket, forming.ticket] {
                    let (dropped, more) = ticket.fail();
                    dropped.into_iter().for_each(|SubId(id)| store.retell(SubscriberId(id)));
                    calls.extend(more);
                }
                Settled(After::Failed(calls))
            }
        }
    }

    /// Lets out what a settled group held.
    pub(crate) fn finish(&self, Settled(after): Settled) {
        let obsolete = match after {
            After::Kept(ticket, obsolete) => {
                ticket.keep(&*self.sink);
                Some(obsolete)
            }
            After::Failed(calls) => {
                calls.into_iter().for_each(|call| call());
                None
            }
        };
        self.released.store(true, Ordering::Release);
        self.deliverer.wake();
        self.idle.wake();
        // Last, for nobody waits for it.
        drop(obsolete);
    }
}

impl Group {
    fn after(position: u64) -> Self {
        Self { after: position, upto: position, ..Self::default() }
    }
}

impl Groups {
    fn has_forming(&self) -> bool {
        self.forming.upto > self.forming.after
    }
}
