//! Tickets: what has happened in memory and may not be noticed before it is kept.
//!
//! Everything of one group of the journal shares one ticket. Replies wait for it at their connections; results and
//! events for subscribers wait in it, per subscription the latest result. It is settled once: kept, and what it holds
//! goes out, or failed, and what it holds is dropped.
//! Bounded by the requests in flight and the subscriptions.

use crate::backend::PushSink;
use indexmap::IndexMap;
use noex_core::{Refusal, SubId, Update};
use parking_lot::Mutex;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

/// What has become of a ticket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TicketState {
    /// It is not known yet whether it will be kept.
    Pending,
    /// It is kept.
    Kept,
    /// It is not kept, and has been undone.
    Failed,
}

/// Something to call when a ticket is settled.
type Call = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Held {
    events: Vec<(SubId, Arc<str>)>,
    results: IndexMap<SubId, Update>,
    calls: Vec<Call>,
}

/// Shared fate of all that goes to the journal in one group.
#[derive(Default)]
pub struct Ticket {
    state: AtomicU8,
    held: Mutex<Held>,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("state", &self.state()).finish_non_exhaustive()
    }
}

const PENDING: u8 = 0;
const KEPT: u8 = 1;
const FAILED: u8 = 2;

impl Ticket {
    /// What has become of it.
    #[must_use]
    pub fn state(&self) -> TicketState {
        match self.state.load(Ordering::Acquire) {
            PENDING => TicketState::Pending,
            KEPT => TicketState::Kept,
            _ => TicketState::Failed,
        }
    }

    /// Calls back when the ticket is settled, at once if it is.
    pub fn on_settled(&self, call: impl FnOnce() + Send + 'static) {
        {
            let mut held = self.held.lock();
            if self.state() == TicketState::Pending {
                held.calls.push(Box::new(call));
                return;
            }
        }
        call();
    }

    /// Holds new results until the ticket is settled. If it is already, gives them back.
    pub(crate) fn hold_results(&self, results: Vec<(SubId, Update)>) -> Result<(), Vec<(SubId, Update)>> {
        let mut held = self.held.lock();
        if self.state() != TicketState::Pending {
            return Err(results);
        }
        for (subscription, update) in results {
            let newer = |known: &Update| known.version < update.version;
            if held.results.get(&subscription).is_none_or(newer) {
                held.results.insert(subscription, update);
            }
        }
        Ok(())
    }

    /// Holds events until the ticket is settled. If it is already, gives them back.
    pub(crate) fn hold_events(&self, events: Vec<(SubId, Arc<str>)>) -> Result<(), Vec<(SubId, Arc<str>)>> {
        let mut held = self.held.lock();
        if self.state() != TicketState::Pending {
            return Err(events);
        }
        held.events.extend(events);
        Ok(())
    }

    /// Settles the ticket as kept. Events go out before anybody can see that, results after: the order in which a
    /// connection expects them around the reply to what caused them.
    pub(crate) fn keep(&self, sink: &dyn PushSink) {
        let held = loop {
            let events = {
                let mut held = self.held.lock();
                if held.events.is_empty() {
                    self.state.store(KEPT, Ordering::Release);
                    break std::mem::take(&mut *held);
                }
                std::mem::take(&mut held.events)
            };
            for (subscription, event) in events {
                sink.event(subscription, event);
            }
        };
        for (subscription, update) in held.results {
            sink.result(subscription, update);
        }
        held.calls.into_iter().for_each(|call| call());
    }

    /// Settles the ticket as failed. Gives those whose results are dropped, and the calls to make.
    pub(crate) fn fail(&self) -> (Vec<SubId>, Vec<Call>) {
        let mut held = self.held.lock();
        self.state.store(FAILED, Ordering::Release);
        let Held { results, calls, .. } = std::mem::take(&mut *held);
        (results.into_keys().collect(), calls)
    }
}

/// The answer to a call: known now, or to be given when a ticket is settled.
#[derive(Debug)]
pub enum Reply<T, C> {
    /// The answer.
    Now(Result<T, Refusal>),
    /// The answer if the ticket is kept.
    When {
        /// What to wait for.
        ticket: Arc<Ticket>,
        /// The answer then.
        outcome: Result<T, Refusal>,
        /// What to execute anew if the ticket fails; `None` = the answer is [`not_stored`] then.
        again: Option<C>,
    },
}

impl<T, C> Reply<T, C> {
    /// Makes the answer to what rests on a ticket, or on nothing.
    pub fn resting_on(ticket: Option<Arc<Ticket>>, outcome: Result<T, Refusal>, again: Option<C>) -> Self {
        match ticket {
            Some(ticket) if ticket.state() != TicketState::Kept => Self::When { ticket, outcome, again },
            Some(_) | None => Self::Now(outcome),
        }
    }

    /// The answer as it stands, for those who do not mind that it may never be kept.
    ///
    /// # Errors
    /// The refusal.
    pub fn outcome(self) -> Result<T, Refusal> {
        match self {
            Self::Now(outcome) | Self::When { outcome, .. } => outcome,
        }
    }
}

/// The answer to a write that could not be kept. The reason is in the log.
#[must_use]
pub fn not_stored() -> Refusal {
    Refusal::new(noex_core::Code::InternalError, "Write could not be stored; nothing was changed")
}
