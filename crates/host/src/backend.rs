//! What the host needs of a store that serves the protocol's calls.

use crate::ticket::{Reply, Ticket};
use noex_core::{Body, EndReason, ResultMode, StoreCall, SubId, Update};
use noex_json::{Raw, Value};
use std::sync::Arc;

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
