//! Transactions of several threads: they are as if one had come after the other.

mod bank;
mod checker;
mod lists;

use noex_host::{
    EmbeddedStore, PushSink, StoreBackend, SubId,
    core::{Body, EndReason, StoreCall, StoreOperation, Update},
    store::StoreOptions,
};
use noex_json::{Object, Value};
use std::sync::{Arc, Mutex};

const NOW_MS: u64 = 1_700_000_000_000;
const THREADS: u64 = 4;

fn object(text: &str) -> Object {
    noex_json::parse(text, 16).ok().and_then(|value| value.as_object().cloned()).expect("an object")
}

fn parse(text: &str) -> Value {
    noex_json::parse(text, 32).expect("JSON")
}

fn member<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.as_object().and_then(|object| object.get(name)).expect("a member")
}

/// A store with one bucket and its queries.
fn store(bucket: &str, schema: &str, queries: &[(&str, &str)]) -> Arc<EmbeddedStore> {
    let store = EmbeddedStore::new(StoreOptions::default(), false).expect("random numbers");
    store
        .with_store(|store| {
            let config = object(&format!(r#"{{"key":"id","schema":{schema}}}"#));
            store.define_bucket(NOW_MS, bucket, &config)?;
            queries.iter().try_for_each(|(name, config)| store.define_query(name, &object(config)))
        })
        .expect("defined");
    store
}

fn call(store: &EmbeddedStore, call: StoreCall) -> Value {
    let text = match store.call(NOW_MS, call).outcome().expect("answered") {
        Body::Shared(text) => text.to_string(),
        Body::Owned(text) => text,
        Body::Static(text) => text.to_owned(),
        Body::Absent => return Value::Null,
    };
    parse(&text)
}

/// Runs a transaction; gives the results of its operations, or `None` if it failed.
fn transact(store: &EmbeddedStore, operations: Vec<StoreOperation>) -> Option<Vec<Value>> {
    let Ok(Body::Owned(text)) = store.call(NOW_MS, StoreCall::Transaction { operations }).outcome() else {
        return None;
    };
    let results = parse(&text);
    let results = member(&results, "results").as_array().expect("results");
    Some(results.iter().map(|result| member(result, "data").clone()).collect())
}

/// Keeps every result that is pushed.
#[derive(Default)]
struct Pushes(Mutex<Vec<(SubId, u64, Arc<str>)>>);

impl PushSink for Pushes {
    fn result(&self, subscription: SubId, update: Update) {
        let data = update.data.expect("a result");
        self.0.lock().unwrap().push((subscription, update.version, data));
    }

    fn event(&self, subscription: SubId, event: Arc<str>) {
        panic!("the store has no events: {subscription} {event}");
    }

    fn ended(&self, subscription: SubId, reason: EndReason) {
        panic!("nothing is dropped: {subscription} {reason:?}");
    }
}

/// Random numbers of one thread (xorshift).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % end
    }
}
