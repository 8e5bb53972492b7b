//! The store behind the protocol's calls.

use crate::refusals::{Place, of_store_error};
use noex_core::{Aggregate, Body, EndReason, Refusal, StoreCall, StoreOperation, SubId, Update};
use noex_json::{CompactString, Object, Value, write_string};
use noex_store::{
    Answer, Commit, Evaluation, Operation, PreparedRead, Published, ReadRequest, Store, StoreError,
    StoreOptions, Subscribed, SubscriberId, ViewState, query::Function,
};
use parking_lot::Mutex;
use std::{
    fmt,
    sync::{
        Arc,
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
    /// Executes a call and gives the `data` of its result.
    ///
    /// # Errors
    /// The answer for the client.
    fn call(&self, now_ms: u64, call: StoreCall) -> Result<Body, Refusal>;

    /// Starts watching a query and gives its present result. No later change is missed, and none is told twice.
    ///
    /// # Errors
    /// The answer for the client.
    fn subscribe(
        &self,
        now_ms: u64,
        subscription: SubId,
        query: &str,
        params: Option<&Value>,
        sink: &dyn PushSink,
    ) -> Result<Update, Refusal>;

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
}

/// The store in this process.
pub struct EmbeddedStore {
    store: Mutex<Store>,
    /// Set by calls after which there may be something to flush.
    touched: AtomicBool,
    /// The next expiry, `u64::MAX` if there is none.
    next_expiry_ms: AtomicU64,
    compat_error_codes: bool,
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
    pub fn new(options: StoreOptions, compat_error_codes: bool) -> Result<Self, getrandom::Error> {
        Ok(Self::with_random(options, compat_error_codes, Box::new(SystemRandom::new()?)))
    }

    /// Makes an empty store that takes its random numbers from `random`.
    #[must_use]
    pub fn with_random(
        options: StoreOptions,
        compat_error_codes: bool,
        random: Box<dyn noex_store::Random + Send>,
    ) -> Self {
        Self {
            store: Mutex::new(Store::new(options, random)),
            touched: AtomicBool::new(false),
            next_expiry_ms: AtomicU64::new(u64::MAX),
            compat_error_codes,
        }
    }

    /// Uses the store directly, in exclusion of all others. What changes is delivered at the next flush.
    pub fn with_store<R>(&self, use_it: impl FnOnce(&mut Store) -> R) -> R {
        let mut store = self.store.lock();
        let outcome = use_it(&mut store);
        self.after_change(&mut store);
        outcome
    }

    /// Takes the changes made since the last call, if they are kept.
    pub(crate) fn take_commits(&self) -> Vec<Commit> {
        self.store.lock().take_commits()
    }

    fn after_change(&self, store: &mut Store) {
        for warning in store.take_warnings() {
            tracing::warn!("{warning}");
        }
        self.next_expiry_ms.store(store.next_expiry_ms().unwrap_or(u64::MAX), Ordering::Release);
        self.touched.store(true, Ordering::Release);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Store) -> Result<T, StoreError>) -> Result<T, Refusal> {
        self.with_store(change).map_err(|error| self.refusal(&error))
    }

    fn refusal(&self, error: &StoreError) -> Refusal {
        of_store_error(error, self.compat_error_codes, Place::Request)
    }

    /// Reads under the lock. Reading can expire records, which is a commit.
    fn peek<T>(&self, read: impl FnOnce(&mut Store) -> Result<T, StoreError>) -> Result<T, Refusal> {
        let mut store = self.store.lock();
        let lsn = store.lsn();
        let outcome = read(&mut store);
        if store.lsn() != lsn {
            self.after_change(&mut store);
        }
        outcome.map_err(|error| self.refusal(&error))
    }

    /// Prepares a read under the lock and runs it outside.
    fn read(&self, now_ms: u64, bucket: &str, request: ReadRequest) -> Result<Body, Refusal> {
        let prepared: PreparedRead = self.peek(|store| {
            let prepared = store.prepare_read(now_ms, bucket, request);
            for warning in store.take_warnings() {
                tracing::warn!("{warning}");
            }
            prepared
        })?;
        let answer = prepared.run();
        if let Answer::Record(Some(record)) = &answer {
            return Ok(Body::Shared(Arc::clone(record.json())));
        }
        let mut out = String::new();
        answer.write_json(&mut out);
        Ok(Body::Owned(out))
    }

    fn transaction(&self, now_ms: u64, operations: Vec<StoreOperation>) -> Result<Body, Refusal> {
        let operations = operations.into_iter().map(operation).collect();
        let results = self
            .with_store(|store| store.transaction(now_ms, operations))
            .map_err(|error| of_store_error(&error, self.compat_error_codes, Place::Transaction))?;
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
        Ok(Body::Owned(out))
    }

    fn evaluate(&self, evaluation: Evaluation, sink: &dyn PushSink) -> ViewState {
        let evaluated = evaluation.run();
        let Published { state, changed, .. } = self.store.lock().publish(evaluated);
        for (SubscriberId(id), state) in changed {
            sink.result(SubId(id), update(state));
        }
        state
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "data calls are matched by the caller")]
    fn admin(&self, now_ms: u64, call: StoreCall) -> Result<Body, Refusal> {
        Ok(match call {
            StoreCall::DefineBucket { name, config } => {
                self.change(|store| store.define_bucket(now_ms, &name, &config))?;
                named(&name, "created")
            }
            StoreCall::DropBucket { name } => {
                self.change(|store| store.drop_bucket(now_ms, &name))?;
                named(&name, "dropped")
            }
            StoreCall::UpdateBucket { name, updates } => {
                self.change(|store| store.update_bucket(now_ms, &name, &updates))?;
                named(&name, "updated")
            }
            StoreCall::GetBucketSchema { name } => {
                let config = self.store.lock().bucket_schema(&name).map_err(|error| self.refusal(&error))?;
                let mut answer = Object::new();
                answer.set("name", name.as_str());
                answer.set("config", config);
                Body::Owned(Value::Object(answer).to_json())
            }
            StoreCall::DefineQuery { name, config } => {
                self.change(|store| store.define_query(&name, &config))?;
                named(&name, "defined")
            }
            StoreCall::UndefineQuery { name } => {
                self.change(|store| store.undefine_query(&name))?;
                named(&name, "undefined")
            }
            StoreCall::ListQueries => {
                Body::Owned(format!("{{\"queries\":{}}}", self.store.lock().list_queries().to_json()))
            }
            StoreCall::PurgeTtl => {
                let purged = self.with_store(|store| store.purge_ttl(now_ms));
                Body::Owned(format!("{{\"purged\":{purged}}}"))
            }
            _ => return Err(Refusal::internal()),
        })
    }
}

impl StoreBackend for EmbeddedStore {
    #[expect(clippy::wildcard_enum_match_arm, reason = "all that is left is administration")]
    fn call(&self, now_ms: u64, call: StoreCall) -> Result<Body, Refusal> {
        use ReadRequest as R;
        match call {
            StoreCall::Insert { bucket, data } => {
                let record = self.change(|store| store.insert(now_ms, &bucket, data))?;
                Ok(Body::Shared(Arc::clone(record.json())))
            }
            StoreCall::Update { bucket, key, data } => {
                let record = self.change(|store| store.update(now_ms, &bucket, &key, data))?;
                Ok(Body::Shared(Arc::clone(record.json())))
            }
            StoreCall::Delete { bucket, key } => {
                self.change(|store| store.delete(now_ms, &bucket, &key))?;
                Ok(Body::Static("{\"deleted\":true}"))
            }
            StoreCall::Clear { bucket } => {
                self.change(|store| store.clear(now_ms, &bucket))?;
                Ok(Body::Static("{\"cleared\":true}"))
            }
            StoreCall::Get { bucket, key } => {
                let found = self.peek(|store| store.get_json(now_ms, &bucket, &key))?;
                Ok(found.map_or(Body::Static("null"), Body::Shared))
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
                self.read(
                    now_ms,
                    &bucket,
                    R::Aggregate { function, field: CompactString::from(field), filter },
                )
            }
            StoreCall::Buckets { permitted } => Ok(buckets(&self.store.lock().bucket_names(), permitted)),
            StoreCall::Stats { system } => Ok(Body::Owned(self.stats(system).to_json())),
            StoreCall::Transaction { operations } => self.transaction(now_ms, operations),
            admin => self.admin(now_ms, admin),
        }
    }

    fn subscribe(
        &self,
        now_ms: u64,
        subscription: SubId,
        query: &str,
        params: Option<&Value>,
        sink: &dyn PushSink,
    ) -> Result<Update, Refusal> {
        let id = SubscriberId(subscription.0);
        let subscribed = self.change(|store| store.subscribe(now_ms, query, params, id))?;
        Ok(update(match subscribed {
            Subscribed::Ready(state) => state,
            Subscribed::Evaluate(evaluation) => self.evaluate(evaluation, sink),
        }))
    }

    fn unsubscribe(&self, subscription: SubId) -> bool {
        self.store.lock().unsubscribe(SubscriberId(subscription.0))
    }

    fn flush(&self, now_ms: u64, sink: &dyn PushSink) -> bool {
        if !self.touched.swap(false, Ordering::AcqRel) {
            return false;
        }
        for (SubscriberId(id), reason) in self.store.lock().take_ended() {
            let reason = match reason {
                noex_store::EndReason::BucketDropped => EndReason::BucketDropped,
                noex_store::EndReason::QueryUndefined => EndReason::QueryUndefined,
            };
            sink.ended(SubId(id), reason);
        }
        for _ in 0..VIEWS_PER_FLUSH_MAX {
            let Some(evaluation) = self.store.lock().next_dirty(now_ms) else { return false };
            self.evaluate(evaluation, sink);
        }
        self.touched.store(true, Ordering::Release);
        true
    }

    fn next_expiry_ms(&self) -> Option<u64> {
        Some(self.next_expiry_ms.load(Ordering::Acquire)).filter(|at| *at != u64::MAX)
    }

    fn expire(&self, now_ms: u64) {
        self.with_store(|store| store.expire(now_ms));
    }

    fn bucket_of_query(&self, query: &str) -> Option<String> {
        self.store.lock().query_bucket(query).map(str::to_owned)
    }

    fn stats(&self, system: bool) -> Value {
        let mut stats = self.store.lock().stats();
        stats.buckets.retain(|bucket| system || !bucket.name.starts_with('_'));
        stats.to_value()
    }

    fn bucket_names(&self) -> Vec<String> {
        self.store.lock().bucket_names().iter().map(ToString::to_string).collect()
    }
}

fn update(state: ViewState) -> Update {
    Update::whole(state.version, state.result)
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

/// Random numbers of the operating system, fetched in blocks: ids are drawn under the store's lock.
pub(crate) struct SystemRandom {
    block: [u8; 4096],
    used: usize,
}

impl SystemRandom {
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut block = [0; 4096];
        getrandom::fill(&mut block)?;
        Ok(Self { block, used: 0 })
    }
}

impl noex_store::Random for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.draw(bytes);
    }
}

impl noex_rules::Random for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.draw(bytes);
    }
}

impl SystemRandom {
    fn draw(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.used == self.block.len() {
                // The source worked at start. Should it ever fail, ids would repeat; inserts are then refused as
                // duplicates, nothing is overwritten.
                if let Err(error) = getrandom::fill(&mut self.block) {
                    tracing::error!("no random numbers: {error}");
                }
                self.used = 0;
            }
            *byte = std::mem::take(self.block.get_mut(self.used).unwrap_or(&mut 0));
            self.used += 1;
        }
    }
}

/// Random numbers that a seed determines (SplitMix64): for simulations, never for a server that others can reach.
pub(crate) struct SeededRandom(pub(crate) u64);

impl SeededRandom {
    pub(crate) fn draw(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            for (to, from) in chunk.iter_mut().zip((z ^ (z >> 31)).to_le_bytes()) {
                *to = from;
            }
        }
    }
}

impl noex_store::Random for SeededRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.draw(bytes);
    }
}

impl noex_rules::Random for SeededRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.draw(bytes);
    }
}
