//! The store behind the protocol's calls.

use crate::random::SystemRandom;
use crate::{
    gate::Gate,
    refusals::{Place, of_store_error},
    ticket::{Reply, Ticket, TicketState},
};
use noex_core::{Aggregate, Body, EndReason, Refusal, ResultMode, StoreCall, StoreOperation, SubId, Update};
use noex_json::{CompactString, Object, Raw, Value, write_string};
use noex_store::{
    Answer, Commit, Delta, Evaluation, JournalError, Operation, OperationResult, PreparedRead, Published,
    ReadRequest, Record, Store, StoreError, StoreOptions, Subscribed, SubscriberId, ViewState,
    query::Function,
};
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Receives what the store has for subscribers.
pub trait PushSink {
    /// A result has changed.
    fn result(&self, subscription: SubId, update: Update);
    /// An event has come.
    fn event(&self, subscription: SubId, event: Arc<str>);
    /// A subscription has ended because its query or bucket is gone.
    fn ended(&self, subscription: SubId, reason: EndReason);
}

/// A store that serves the protocol's calls.
pub trait StoreBackend: Send + Sync {
    /// Is told of records, by bucket and key, that calls which follow at once will name. Must change nothing.
    fn prefetch(&self, _records: &[(&str, Raw<'_>)]) {}

    /// Executes a call and gives the `data` of its result, perhaps to be told only later.
    fn call(&self, now_ms: u64, call: StoreCall) -> Reply<Body, StoreCall>;

    /// Starts watching a query and gives its present result, perhaps to be told only later. No later change is missed,
    /// and none is told twice. If what the result rests on fails, subscribe again.
    fn subscribe(
        &self,
        now_ms: u64,
        subscription: SubId,
        query: &str,
        params: Option<&Value>,
        mode: ResultMode,
        sink: &dyn PushSink,
    ) -> Reply<Update, ()>;

    /// Stops watching; false if this subscription is not the store's.
    fn unsubscribe(&self, subscription: SubId) -> bool;

    /// Delivers what earlier calls changed, up to a bounded amount of work; true if more is left.
    fn flush(&self, now_ms: u64, sink: &dyn PushSink) -> bool;

    /// The moment at which records expire next, in ms since the Unix epoch.
    fn next_expiry_ms(&self) -> Option<u64>;

    /// Removes expired records.
    fn expire(&self, now_ms: u64);

    /// Names the bucket that a query reads.
    fn bucket_of_query(&self, query: &str) -> Option<String>;

    /// Statistics in the shape of `store.stats`; those of buckets whose names begin with `_` only with `system`.
    fn stats(&self, system: bool) -> Value;

    /// Names all buckets in the order of their definition.
    fn bucket_names(&self) -> Vec<String>;

    /// What everything done so far rests on; `None` = nothing that could fail.
    fn ticket(&self) -> Option<Arc<Ticket>> {
        None
    }
}

/// The store in this process.
pub struct EmbeddedStore {
    /// Held for about a microsecond: the lock of the standard library spins long enough for that, others go to sleep.
    store: Mutex<Store>,
    /// Set by calls after which there may be something to flush.
    touched: AtomicBool,
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
    pub(crate) fn with_gate(store: Store, compat_error_codes: bool, gate: Option<Gate>) -> Arc<Self> {
        Arc::new_cyclic(|myself| Self {
            store: Mutex::new(store),
            touched: AtomicBool::new(false),
            next_expiry_ms: AtomicU64::new(u64::MAX),
            compat_error_codes,
            gate,
            myself: Weak::clone(myself),
        })
    }

    /// A panic under the lock ends one connection, not the store: no operation leaves a change half done.
    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
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
        for warning in store.take_warnings() {
            tracing::warn!("{warning}");
        }
        if let Some(gate) = &self.gate {
            gate.collect(store);
        }
        self.note_change(store);
    }

    fn note_change(&self, store: &mut Store) {
        self.next_expiry_ms.store(store.next_expiry_ms().unwrap_or(u64::MAX), Ordering::Release);
        self.touched.store(true, Ordering::Release);
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

    /// Prepares a read under the lock and runs it outside.
    fn read(&self, now_ms: u64, bucket: &str, request: ReadRequest) -> Answered {
        let (prepared, ticket) = self.peek(Some(bucket), |store| {
            let prepared = store.prepare_read(now_ms, bucket, request);
            for warning in store.take_warnings() {
                tracing::warn!("{warning}");
            }
            prepared
        });
        let body = |prepared: PreparedRead| {
            let answer = prepared.run();
            if let Answer::Record(Some(record)) = &answer {
                return Body::Shared(Arc::clone(record.json()));
            }
            let mut out = String::new();
            answer.write_json(&mut out);
            Body::Owned(out)
        };
        (prepared.map(body), ticket)
    }

    fn transaction(&self, now_ms: u64, operations: Vec<StoreOperation>) -> Answered {
        let writes = operations.iter().any(|operation| {
            matches!(
                operation,
                StoreOperation::Insert { .. } | StoreOperation::Update { .. } | StoreOperation::Delete { .. }
            )
        });
        if writes && let Err(refusal) = self.admit() {
            return (Err(refusal), None);
        }
        let operations = operations.into_iter().map(operation).collect();
        let (outcome, ticket) = self.write(|store| store.transaction(now_ms, operations));
        let body = |results: Vec<OperationResult>| {
            let mut out = String::from("{\"results\":[");
            for (index, result) in results.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str("{\"index\":");
                out.push_str(&index.to_string());
                out.push_str(",\"data\":");
                result.write_json(&mut out);
                out.push('}');
            }
            out.push_str("]}");
            Body::Owned(out)
        };
        (
            outcome
                .map(body)
                .map_err(|error| of_store_error(&error, self.compat_error_codes, Place::Transaction)),
            ticket,
        )
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
                self.note_change(&mut store);
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
            self.note_change(&mut store);
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

    #[expect(clippy::wildcard_enum_match_arm, reason = "data calls are matched by the caller")]
    fn admin(&self, now_ms: u64, call: StoreCall) -> Answered {
        match call {
            StoreCall::DefineBucket { name, config } => {
                self.change(|store| store.define_bucket(now_ms, &name, &config), |()| named(&name, "created"))
            }
            StoreCall::DropBucket { name } => {
                self.change(|store| store.drop_bucket(now_ms, &name), |()| named(&name, "dropped"))
            }
            StoreCall::UpdateBucket { name, updates } => self
                .change(|store| store.update_bucket(now_ms, &name, &updates), |()| named(&name, "updated")),
            StoreCall::GetBucketSchema { name } => {
                let (config, ticket) = self.peek(Some(&name), |store| store.bucket_schema(&name));
                let body = |config: Value| {
                    let mut answer = Object::new();
                    answer.set("name", name.as_str());
                    answer.set("config", config);
                    Body::Owned(Value::Object(answer).to_json())
                };
                (config.map(body), ticket)
            }
            StoreCall::DefineQuery { name, config } => {
                self.change(|store| store.define_query(&name, &config), |()| named(&name, "defined"))
            }
            StoreCall::UndefineQuery { name } => {
                self.change(|store| store.undefine_query(&name), |()| named(&name, "undefined"))
            }
            StoreCall::ListQueries => {
                let (queries, ticket) = self.peek(None, |store| Ok(store.list_queries()));
                (queries.map(|list| Body::Owned(format!("{{\"queries\":{}}}", list.to_json()))), ticket)
            }
            StoreCall::PurgeTtl => self.change(
                |store| Ok(store.purge_ttl(now_ms)),
                |purged| Body::Owned(format!("{{\"purged\":{purged}}}")),
            ),
            _ => (Err(Refusal::internal()), None),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all that is left is administration")]
    fn execute(&self, now_ms: u64, call: StoreCall) -> Answered {
        use ReadRequest as R;
        let shared = |record: Arc<Record>| Body::Shared(Arc::clone(record.json()));
        match call {
            StoreCall::Insert { bucket, data } => {
                self.change(|store| store.insert(now_ms, &bucket, data), shared)
            }
            StoreCall::Update { bucket, key, data } => {
                self.change(|store| store.update(now_ms, &bucket, &key, data), shared)
            }
            StoreCall::Delete { bucket, key } => self
                .change(|store| store.delete(now_ms, &bucket, &key), |()| Body::Static("{\"deleted\":true}")),
            StoreCall::Clear { bucket } => {
                self.change(|store| store.clear(now_ms, &bucket), |()| Body::Static("{\"cleared\":true}"))
            }
            StoreCall::Get { bucket, key } => {
                let (found, ticket) = self.peek(Some(&bucket), |store| store.get_json(now_ms, &bucket, &key));
                (found.map(|found| found.map_or(Body::Static("null"), Body::Shared)), ticket)
            }
            StoreCall::All { bucket } => self.read(now_ms, &bucket, R::All),
            StoreCall::Where { bucket, filter } => self.read(now_ms, &bucket, R::Where(filter)),
            StoreCall::FindOne { bucket, filter } => self.read(now_ms, &bucket, R::FindOne(filter)),
            StoreCall::Count { bucket, filter } => self.read(now_ms, &bucket, R::Count(filter)),
            StoreCall::First { bucket, n } => self.read(now_ms, &bucket, R::First(n)),
            StoreCall::Last { bucket, n } => self.read(now_ms, &bucket, R::Last(n)),
            StoreCall::Paginate { bucket, limit, after } => {
                self.read(now_ms, &bucket, R::Paginate { after, limit })
            }
            StoreCall::Aggregate { bucket, function, field, filter } => {
                let function = match function {
                    Aggregate::Sum => Function::Sum,
                    Aggregate::Avg => Function::Avg,
                    Aggregate::Min => Function::Min,
                    Aggregate::Max => Function::Max,
                };
                let field = CompactString::from(field);
                self.read(now_ms, &bucket, R::Aggregate { function, field, filter })
            }
            StoreCall::Buckets { permitted } => {
                let (names, ticket) = self.peek(None, |store| Ok(store.bucket_names()));
                (names.map(|names| buckets(&names, permitted)), ticket)
            }
            StoreCall::Stats { system } => (Ok(Body::Owned(self.stats(system).to_json())), None),
            StoreCall::Transaction { operations } => self.transaction(now_ms, operations),
            admin => self.admin(now_ms, admin),
        }
    }
}

/// An answer and what it rests on.
type Answered = (Result<Body, Refusal>, Option<Arc<Ticket>>);

/// Tells whether a call changes nothing, so that it can be executed anew.
#[expect(clippy::wildcard_enum_match_arm, reason = "what is not known to be a read may be a write")]
fn is_read(call: &StoreCall) -> bool {
    use StoreCall as C;
    match call {
        C::Get { .. }
        | C::All { .. }
        | C::Where { .. }
        | C::FindOne { .. }
        | C::Count { .. }
        | C::First { .. }
        | C::Last { .. }
        | C::Paginate { .. }
        | C::Aggregate { .. }
        | C::Buckets { .. }
        | C::GetBucketSchema { .. }
        | C::ListQueries => true,
        C::Transaction { operations } => operations.iter().all(|operation| {
            !matches!(
                operation,
                StoreOperation::Insert { .. } | StoreOperation::Update { .. } | StoreOperation::Delete { .. }
            )
        }),
        _ => false,
    }
}

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
        if !self.touched.swap(false, Ordering::AcqRel) {
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
        self.touched.fetch_or(more, Ordering::AcqRel);
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

/// `{"name":…,"<what>":true}`.
fn named(name: &str, what: &str) -> Body {
    let mut out = String::from("{\"name\":");
    write_string(&mut out, name);
    out.push_str(",\"");
    out.push_str(what);
    out.push_str("\":true}");
    Body::Owned(out)
}

fn buckets(names: &[CompactString], permitted: Option<Vec<String>>) -> Body {
    let shown: Vec<Value> = names
        .iter()
        .filter(|name| permitted.as_ref().is_none_or(|list| list.iter().any(|entry| entry == name.as_str())))
        .map(|name| Value::String(name.clone()))
        .collect();
    let mut out = format!("{{\"count\":{},\"names\":", shown.len());
    noex_json::write_value(&mut out, &Value::Array(shown));
    out.push('}');
    Body::Owned(out)
}

fn operation(operation: StoreOperation) -> Operation {
    use StoreOperation as S;
    match operation {
        S::Get { bucket, key } => Operation::Get { bucket, key },
        S::Insert { bucket, data } => Operation::Insert { bucket, data },
        S::Update { bucket, key, data } => Operation::Update { bucket, key, changes: data },
        S::Delete { bucket, key } => Operation::Delete { bucket, key },
        S::Where { bucket, filter } => Operation::Where { bucket, filter },
        S::FindOne { bucket, filter } => Operation::FindOne { bucket, filter },
        S::Count { bucket, filter } => Operation::Count { bucket, filter },
    }
}
