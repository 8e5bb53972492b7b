//! The store in this process.

mod calls;
mod held;

use crate::random::SystemRandom;
use crate::{
    backend::{PushSink, StoreBackend},
    gate::Gate,
    heap,
    refusals::{Place, of_store_error},
    ticket::{Reply, Ticket, TicketState},
};
use calls::is_read;
use held::Held;
use noex_core::{Body, EndReason, Refusal, ResultMode, StoreCall, SubId, Update};
use noex_json::{Raw, Value};
use noex_store::{
    Commit, Delta, Evaluation, JournalError, Published, Store, StoreError, StoreOptions, Subscribed,
    SubscriberId, ViewState,
};
use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// The store in this process.
pub struct EmbeddedStore {
    /// Held for about a microsecond: the lock of the standard library spins long enough for that, others go to sleep.
    store: Mutex<Store>,
    /// Whether there is something to flush.
    has_news: AtomicBool,
    /// The next expiry, `u64::MAX` if there is none.
    next_expiry_ms: AtomicU64,
    compat_error_codes: bool,
    /// Holds back what is not kept yet; `None` = nothing is kept.
    pub(crate) gate: Option<Gate>,
    /// For the journal, which answers from a thread of its own.
    myself: Weak<Self>,
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmbeddedStore(..)")
    }
}

/// Views evaluated per flush before others get a turn.
const VIEWS_PER_FLUSH_MAX: usize = 256;

impl EmbeddedStore {
    /// Makes an empty store.
    ///
    /// # Errors
    /// If the operating system gives no random numbers.
    pub fn new(options: StoreOptions, compat_error_codes: bool) -> Result<Arc<Self>, getrandom::Error> {
        let store = Store::new(options, Box::new(SystemRandom::new()?));
        Ok(Self::with_gate(store, compat_error_codes, None))
    }

    /// Serves a store; what it has noted for a journal goes through the gate.
    pub(crate) fn with_gate(mut store: Store, compat_error_codes: bool, gate: Option<Gate>) -> Arc<Self> {
        store.keep_replaced();
        Arc::new_cyclic(|myself| Self {
            store: Mutex::new(store),
            has_news: AtomicBool::new(false),
            next_expiry_ms: AtomicU64::new(u64::MAX),
            compat_error_codes,
            gate,
            myself: Weak::clone(myself),
        })
    }

    /// A panic under the lock ends one connection, not the store: no operation leaves a change half done.
    fn lock(&self) -> Held<'_> {
        Held::new(self.store.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Uses the store directly, in exclusion of all others. What changes is delivered at the next flush.
    pub fn with_store<R>(&self, use_it: impl FnOnce(&mut Store) -> R) -> R {
        let mut store = self.lock();
        let outcome = use_it(&mut store);
        self.after_change(&mut store);
        outcome
    }

    /// As [`EmbeddedStore::with_store`]; also gives what the outcome, whatever it is, rests on.
    pub(crate) fn write<R>(&self, use_it: impl FnOnce(&mut Store) -> R) -> (R, Option<Arc<Ticket>>) {
        heap::note_write();
        let mut store = self.lock();
        let outcome = use_it(&mut store);
        self.after_change(&mut store);
        let ticket = self.gate.as_ref().and_then(|gate| gate.ticket(store.unsettled_any()));
        (outcome, ticket)
    }

    /// Has all that is done while the guard lives be kept or undone as a whole; see [`Gate::whole`].
    pub(crate) fn whole(&self) -> Option<parking_lot::MutexGuard<'_, ()>> {
        self.gate.as_ref().map(Gate::whole)
    }

    /// Refuses a write that could neither be kept nor undone.
    pub(crate) fn admit(&self) -> Result<(), Refusal> {
        self.gate.as_ref().map_or(Ok(()), Gate::admit)
    }

    /// Takes the changes made since the last call, if they are kept.
    pub(crate) fn take_commits(&self) -> Vec<Commit> {
        self.lock().take_commits()
    }

    fn after_change(&self, store: &mut Store) {
        if let Some(gate) = &self.gate {
            gate.collect(store);
        }
        self.note_change(store);
    }

    fn note_change(&self, store: &Store) {
        let next_expiry_ms = store.next_expiry_ms().unwrap_or(u64::MAX);
        if self.next_expiry_ms.load(Ordering::Relaxed) != next_expiry_ms {
            self.next_expiry_ms.store(next_expiry_ms, Ordering::Release);
        }
        if store.has_news() {
            self.has_news.store(true, Ordering::Release);
        }
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut Store) -> Result<T, StoreError>,
        body: impl FnOnce(T) -> Body,
    ) -> Answered {
        if let Err(refusal) = self.admit() {
            return (Err(refusal), None);
        }
        let (outcome, ticket) = self.write(change);
        (outcome.map(body).map_err(|error| self.refusal(&error)), ticket)
    }

    fn refusal(&self, error: &StoreError) -> Refusal {
        of_store_error(error, self.compat_error_codes, Place::Request)
    }

    /// Reads under the lock, and finds what the outcome rests on: of a bucket, or of the definitions. Reading can
    /// expire records, which is a commit.
    fn peek<T>(
        &self,
        bucket: Option<&str>,
        read: impl FnOnce(&mut Store) -> Result<T, StoreError>,
    ) -> (Result<T, Refusal>, Option<Arc<Ticket>>) {
        let mut store = self.lock();
        let lsn = store.lsn();
        let outcome = read(&mut store);
        if store.lsn() != lsn {
            self.after_change(&mut store);
        }
        let ticket = self.gate.as_ref().and_then(|gate| {
            gate.ticket(match bucket {
                Some(bucket) => store.unsettled(bucket),
                None => store.unsettled_definitions(),
            })
        });
        (outcome.map_err(|error| self.refusal(&error)), ticket)
    }

    fn next_dirty(&self, store: &mut Store, now_ms: u64) -> Option<Evaluation> {
        let lsn = store.lsn();
        let evaluation = store.next_dirty(now_ms);
        if store.lsn() != lsn {
            self.after_change(store);
        }
        evaluation
    }

    /// What an evaluation rests on. To be asked under the lock under which it was made.
    fn ticket_of(&self, store: &Store, bucket: &str) -> Option<Arc<Ticket>> {
        self.gate.as_ref()?.ticket(store.unsettled(bucket))
    }

    /// Evaluates a view, and tells its subscribers once what it rests on is kept.
    fn evaluate(
        &self,
        evaluation: Evaluation,
        ticket: Option<&Arc<Ticket>>,
        sink: &dyn PushSink,
    ) -> ViewState {
        let evaluated = evaluation.run();
        let Published { state, changed, delta } = self.lock().publish(evaluated);
        let delta = delta.map(|Delta { from, changes, .. }| noex_core::Delta { from, changes });
        let changed = changed.into_iter().map(|(SubscriberId(id), state)| {
            (SubId(id), Update { version: state.version, data: state.result, delta: delta.clone() })
        });
        let Some(ticket) = ticket else {
            changed.for_each(|(subscription, update)| sink.result(subscription, update));
            return state;
        };
        let Err(results) = ticket.hold_results(changed.collect()) else { return state };
        // It was settled meanwhile.
        match ticket.state() {
            TicketState::Failed => {
                let mut store = self.lock();
                results.iter().for_each(|(SubId(id), _)| store.retell(SubscriberId(*id)));
                self.note_change(&store);
            }
            TicketState::Kept | TicketState::Pending => {
                results.into_iter().for_each(|(subscription, update)| sink.result(subscription, update));
            }
        }
        state
    }

    /// Gives the next group to the journal, if that is free.
    pub(crate) fn pump(&self) {
        let Some((gate, entries)) = self.gate.as_ref().and_then(|gate| Some((gate, gate.next_group()?)))
        else {
            return;
        };
        let myself = Weak::clone(&self.myself);
        gate.submit(entries, move |outcome| {
            if let Some(store) = myself.upgrade() {
                store.settled(outcome);
            }
        });
    }

    /// Takes the outcome of the group in flight.
    fn settled(&self, outcome: Result<(), JournalError>) {
        let Some(gate) = &self.gate else { return };
        let settled = {
            let _whole = gate.whole();
            let mut store = self.lock();
            let settled = gate.settle(&mut store, outcome);
            self.note_change(&store);
            settled
        };
        // First, so that the journal does not wait for what follows.
        self.pump();
        gate.finish(settled);
    }

    /// Takes everything so far as in force, kept or not: what the start itself has changed.
    pub(crate) fn end_start(&self) {
        if let Some(gate) = &self.gate {
            gate.owe_all(&mut self.lock());
        }
    }

    /// Finds out whether the journal works again, after it has failed.
    pub(crate) fn retry(&self, now_ms: u64) {
        let Some(gate) = self.gate.as_ref().filter(|gate| gate.is_failing()) else { return };
        gate.retry();
        self.with_store(|store| {
            store.suspend_expiry(false);
            store.expire(now_ms);
        });
        self.pump();
    }
}

/// An answer and what it rests on.
type Answered = (Result<Body, Refusal>, Option<Arc<Ticket>>);

impl StoreBackend for EmbeddedStore {
    fn prefetch(&self, records: &[(&str, Raw<'_>)]) {
        self.lock().prefetch(records);
    }

    fn call(&self, now_ms: u64, call: StoreCall) -> Reply<Body, StoreCall> {
        let again = self.gate.as_ref().filter(|_| is_read(&call)).map(|_| call.clone());
        let (outcome, ticket) = self.execute(now_ms, call);
        Reply::resting_on(ticket, outcome, again)
    }

    fn subscribe(
        &self,
        now_ms: u64,
        subscription: SubId,
        query: &str,
        params: Option<&Value>,
        mode: ResultMode,
        sink: &dyn PushSink,
    ) -> Reply<Update, ()> {
        let id = SubscriberId(subscription.0);
        let (subscribed, ticket) = {
            let mut store = self.lock();
            let subscribed = store.subscribe(now_ms, query, params, id);
            if mode == ResultMode::Delta && subscribed.is_ok() {
                store.follow_changes(id);
            }
            self.after_change(&mut store);
            let ticket = self.gate.as_ref().and_then(|gate| {
                let bucket = store.query_bucket(query).and_then(|bucket| store.unsettled(bucket));
                gate.ticket(bucket.max(store.unsettled_definitions()))
            });
            (subscribed, ticket)
        };
        let outcome = subscribed.map_err(|error| self.refusal(&error)).map(|subscribed| {
            let state = match subscribed {
                Subscribed::Ready(state) => state,
                Subscribed::Evaluate(evaluation) => self.evaluate(evaluation, ticket.as_ref(), sink),
            };
            Update::whole(state.version, state.result)
        });
        Reply::resting_on(ticket, outcome, None)
    }

    fn unsubscribe(&self, subscription: SubId) -> bool {
        self.lock().unsubscribe(SubscriberId(subscription.0))
    }

    fn flush(&self, now_ms: u64, sink: &dyn PushSink) -> bool {
        self.pump();
        // To look first leaves the line of memory with all processors.
        if !self.has_news.load(Ordering::Acquire) || !self.has_news.swap(false, Ordering::AcqRel) {
            return false;
        }
        for (SubscriberId(id), reason) in self.lock().take_ended() {
            let reason = match reason {
                noex_store::EndReason::BucketDropped => EndReason::BucketDropped,
                noex_store::EndReason::QueryUndefined => EndReason::QueryUndefined,
            };
            sink.ended(SubId(id), reason);
        }
        let mut views = 0;
        while views < VIEWS_PER_FLUSH_MAX {
            let (evaluation, ticket) = {
                let mut store = self.lock();
                let Some(evaluation) = self.next_dirty(&mut store, now_ms) else { break };
                let ticket = self.ticket_of(&store, evaluation.bucket());
                (evaluation, ticket)
            };
            self.evaluate(evaluation, ticket.as_ref(), sink);
            views += 1;
        }
        // What expired meanwhile.
        self.pump();
        let more = views == VIEWS_PER_FLUSH_MAX;
        if more {
            self.has_news.store(true, Ordering::Release);
        }
        more
    }

    fn next_expiry_ms(&self) -> Option<u64> {
        if self.gate.as_ref().is_some_and(Gate::is_failing) {
            return None;
        }
        Some(self.next_expiry_ms.load(Ordering::Acquire)).filter(|at| *at != u64::MAX)
    }

    fn expire(&self, now_ms: u64) {
        self.with_store(|store| store.expire(now_ms));
    }

    fn bucket_of_query(&self, query: &str) -> Option<String> {
        self.lock().query_bucket(query).map(str::to_owned)
    }

    fn stats(&self, system: bool) -> Value {
        let mut stats = self.lock().stats();
        stats.buckets.retain(|bucket| system || !bucket.name.starts_with('_'));
        stats.to_value()
    }

    fn bucket_names(&self) -> Vec<String> {
        self.lock().bucket_names().iter().map(ToString::to_string).collect()
    }

    fn ticket(&self) -> Option<Arc<Ticket>> {
        self.gate.as_ref()?.ticket(self.lock().unsettled_any())
    }
}
