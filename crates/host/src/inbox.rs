//! What others have for a connection: pushes, ended subscriptions, orders to stop.
//!
//! Bounded by the connection's subscriptions: per subscription the latest result and a limited number of events are
//! kept.

#[cfg(all(test, noex_loom))]
mod model;

use crate::sync::{
    AtomicWaker, Mutex,
    atomic::{AtomicBool, Ordering},
};
use indexmap::IndexMap;
use noex_core::{CloseReason, EndReason, SessionKey, SubId, Update};
use std::{collections::VecDeque, sync::Arc, task::Waker};

/// Mailbox of one connection.
#[derive(Debug, Default)]
pub struct Inbox {
    pending: Mutex<Pending>,
    /// Spares the connection the lock while nothing is there.
    filled: AtomicBool,
    /// Something is there that must be known before the next message is handled.
    urgent: AtomicBool,
    waker: AtomicWaker,
}

/// Contents of a mailbox.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) results: IndexMap<SubId, Update>,
    pub(crate) events: IndexMap<SubId, Events>,
    pub(crate) ended: Vec<(SubId, EndReason)>,
    pub(crate) shutdown_notice_ms: Option<u64>,
    pub(crate) close: Option<CloseReason>,
    pub(crate) revoked: bool,
    /// Somebody has logged out of this session.
    pub(crate) session_ended: Option<SessionKey>,
    /// Rights have changed: look at the session and the subscriptions again.
    pub(crate) recheck: bool,
}

/// Events of one subscription that the connection has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Events {
    pub(crate) kept: VecDeque<Arc<str>>,
    pub(crate) dropped: u64,
}

/// Events per subscription that wait here at most. The connection takes them with its next turn; only a flood that
/// outruns it for so long loses the oldest.
const EVENTS_MAX: usize = 10_000;

impl Inbox {
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Takes everything, if there is anything.
    pub(crate) fn take(&self) -> Option<Pending> {
        if !self.filled.load(Ordering::Acquire) {
            return None;
        }
        let mut pending = self.pending.lock();
        self.filled.store(false, Ordering::Release);
        self.urgent.store(false, Ordering::Release);
        Some(std::mem::take(&mut *pending))
    }

    pub(crate) fn push_result(&self, subscription: SubId, update: Update) {
        self.put(|pending| match pending.results.entry(subscription) {
            indexmap::map::Entry::Occupied(mut held) => {
                if held.get().version < update.version {
                    held.insert(update);
                }
            }
            indexmap::map::Entry::Vacant(place) => {
                place.insert(update);
            }
        });
    }

    pub(crate) fn push_event(&self, subscription: SubId, event: Arc<str>) {
        self.put(|pending| {
            let events = pending.events.entry(subscription).or_default();
            if events.kept.len() == EVENTS_MAX {
                events.kept.pop_front();
                events.dropped += 1;
            }
            events.kept.push_back(event);
        });
    }

    /// Takes the events alone, and tells what must be known before they are shown. That stays here too, for requests that
    /// have been judged and not executed yet.
    pub(crate) fn take_events(&self) -> Pending {
        if !self.filled.load(Ordering::Acquire) {
            return Pending::default();
        }
        let mut pending = self.pending.lock();
        Pending {
            events: std::mem::take(&mut pending.events),
            revoked: pending.revoked,
            session_ended: pending.session_ended,
            recheck: pending.recheck,
            ..Pending::default()
        }
    }

    /// Takes the ended subscriptions alone.
    pub(crate) fn take_ended(&self) -> Vec<(SubId, EndReason)> {
        if !self.filled.load(Ordering::Acquire) {
            return Vec::new();
        }
        std::mem::take(&mut self.pending.lock().ended)
    }

    pub(crate) fn end_subscription(&self, subscription: SubId, reason: EndReason) {
        self.put(|pending| {
            pending.results.shift_remove(&subscription);
            pending.ended.push((subscription, reason));
        });
    }

    pub(crate) fn announce_shutdown(&self, grace_ms: u64) {
        self.put(|pending| pending.shutdown_notice_ms = Some(grace_ms));
    }

    pub(crate) fn close(&self, reason: CloseReason) {
        self.put(|pending| pending.close = Some(reason));
    }

    pub(crate) fn revoke(&self) {
        self.put_urgent(|pending| pending.revoked = true);
    }

    /// Logs the connection out if it still stands for this session.
    pub(crate) fn end_session(&self, stored: SessionKey) {
        self.put_urgent(|pending| pending.session_ended = Some(stored));
    }

    /// Has the connection look at its session and subscriptions again.
    pub(crate) fn recheck(&self) {
        self.put_urgent(|pending| pending.recheck = true);
    }

    /// Tells whether something must be taken before the next message is handled.
    pub(crate) fn is_urgent(&self) -> bool {
        self.urgent.load(Ordering::Acquire)
    }

    fn put_urgent(&self, change: impl FnOnce(&mut Pending)) {
        self.put(|pending| {
            change(pending);
            self.urgent.store(true, Ordering::Release);
        });
    }

    /// Lets the connection look whether what its requests rest on is settled.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    fn put(&self, change: impl FnOnce(&mut Pending)) {
        {
            let mut pending = self.pending.lock();
            change(&mut pending);
            self.filled.store(true, Ordering::Release);
        }
        self.waker.wake();
    }
}

#[cfg(all(test, not(noex_loom)))]
mod tests {
    use super::*;

    #[test]
    fn events_taken_ahead_bring_what_must_be_known_and_leave_it_there() {
        let inbox = Inbox::default();
        inbox.recheck();
        inbox.push_event(SubId(1), "{}".into());
        let ahead = inbox.take_events();
        assert!(ahead.recheck && ahead.events.len() == 1);
        assert!(inbox.is_urgent(), "requests that were judged before must be judged again");
        let rest = inbox.take().expect("the note");
        assert!(rest.recheck && rest.events.is_empty() && !inbox.is_urgent());
    }
}
