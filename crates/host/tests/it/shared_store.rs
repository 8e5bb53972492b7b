//! The embedded store under several threads that write, subscribe and deliver at once.

use noex_host::{
    EmbeddedStore, PushSink, StoreBackend, SubId,
    core::{Body, EndReason, ResultMode, StoreCall, Update},
};
use noex_json::{Object, Value};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

const NOW_MS: u64 = 1_700_000_000_000;
const THREADS: u64 = 4;
const KEYS: u64 = 5;

/// Remembers the newest state of each subscription, as a connection does.
#[derive(Default)]
struct Screen {
    shown: Mutex<BTreeMap<SubId, Vec<Update>>>,
    ended: Mutex<Vec<(SubId, EndReason)>>,
}

impl Screen {
    /// Keeps a state unless a newer one is there already; a state that is new under an old version is a mistake.
    fn show(&self, subscription: SubId, update: Update) {
        let mut shown = self.shown.lock().unwrap();
        let states = shown.entry(subscription).or_default();
        if let Some(same) = states.iter().find(|state| state.version == update.version) {
            assert_eq!(same.data, update.data, "one version of {subscription} has two states");
            return;
        }
        if states.last().is_none_or(|last| last.version < update.version) {
            states.push(update);
        }
    }

    fn last(&self, subscription: SubId) -> Option<Update> {
        self.shown.lock().unwrap().get(&subscription).and_then(|states| states.last().cloned())
    }

    fn forget(&self, subscription: SubId) {
        self.shown.lock().unwrap().remove(&subscription);
    }
}

impl PushSink for Screen {
    fn result(&self, subscription: SubId, update: Update) {
        self.show(subscription, update);
    }

    fn event(&self, subscription: SubId, event: Arc<str>) {
        panic!("the store has no events: {subscription} {event}");
    }

    fn ended(&self, subscription: SubId, reason: EndReason) {
        self.ended.lock().unwrap().push((subscription, reason));
    }
}

const QUERIES: [(&str, &str); 4] = [
    ("all", r#"{"bucket":"items"}"#),
    ("mine", r#"{"bucket":"items","filter":{"owner":"{{ params.owner }}"}}"#),
    ("sum", r#"{"bucket":"items","aggregate":{"function":"sum","field":"n"}}"#),
    ("top", r#"{"bucket":"items","sort":{"n":"desc"},"limit":2}"#),
];

fn object(text: &str) -> Object {
    noex_json::parse(text, 16).ok().and_then(|value| value.as_object().cloned()).expect("an object")
}

fn store() -> Arc<EmbeddedStore> {
    let store = EmbeddedStore::new(noex_host::store::StoreOptions::default(), false).expect("random numbers");
    let schema = r#"{"id":{"type":"string"},"owner":{"type":"number"},"n":{"type":"number"}}"#;
    store
        .with_store(|store| {
            store.define_bucket(NOW_MS, "items", &object(&format!(r#"{{"key":"id","schema":{schema}}}"#)))?;
            QUERIES.iter().try_for_each(|(name, config)| store.define_query(name, &object(config)))
        })
        .expect("defined");
    store
}

fn params(owner: u64) -> Value {
    Value::from(object(&format!(r#"{{"owner":{owner}}}"#)))
}

/// One thread: writes its own keys and those of others, subscribes and unsubscribes in between, and delivers after
/// each call, as a connection does. Gives the subscriptions that are left.
fn work(
    store: &EmbeddedStore,
    screen: &Screen,
    ids: &AtomicU64,
    me: u64,
    rounds: u64,
) -> Vec<(SubId, usize, u64)> {
    let mut kept: Vec<(SubId, usize, u64)> = Vec::new();
    for round in 0..rounds {
        let key = (me + round) % KEYS;
        let data = format!(r#"{{"id":"{key}","owner":{},"n":{round}}}"#, round % 3);
        let call = match (round * 7 + me) % 5 {
            0 => StoreCall::Delete { bucket: "items".into(), key: key.to_string().as_str().into() },
            1 | 2 => StoreCall::Insert { bucket: "items".into(), data: object(&data) },
            3 if round % 50 == 49 => StoreCall::Clear { bucket: "items".into() },
            _ => {
                let mut changes = object(&data);
                changes.remove("id");
                StoreCall::Update {
                    bucket: "items".into(),
                    key: key.to_string().as_str().into(),
                    data: changes,
                }
            }
        };
        // Refusals, such as for an absent key, are as good as any other outcome.
        let _ = store.call(NOW_MS, call);
        while store.flush(NOW_MS, screen) {}
        if round % 3 == me % 3 {
            let subscription = SubId(ids.fetch_add(1, Ordering::Relaxed) + 1);
            let which = usize::try_from(round + me).unwrap_or(0) % QUERIES.len();
            let params = params(round % 3);
            let initial = store
                .subscribe(NOW_MS, subscription, QUERIES[which].0, Some(&params), ResultMode::Full, screen)
                .outcome()
                .expect("subscribed");
            screen.show(subscription, initial);
            while store.flush(NOW_MS, screen) {}
            if kept.len() == 8 {
                let (old, ..) = kept.remove(0);
                store.unsubscribe(old);
                screen.forget(old);
            }
            kept.push((subscription, which, round % 3));
        }
    }
    kept
}

/// The result of a query now, by a subscription of its own on an idle store.
fn evaluate(store: &EmbeddedStore, probe: SubId, query: &str, owner: u64) -> Update {
    let fresh = Screen::default();
    let update = store
        .subscribe(NOW_MS, probe, query, Some(&params(owner)), ResultMode::Full, &fresh)
        .outcome()
        .expect("subscribed");
    store.unsubscribe(probe);
    update
}

/// The result as a fresh store computes it from the records alone.
fn evaluate_naively(records: &Value, query: &str, owner: u64) -> Option<String> {
    let fresh = store();
    fresh.with_store(|store| {
        for record in records.as_array().unwrap_or_default() {
            let mut data = record.as_object().cloned().expect("a record");
            for name in ["_version", "_createdAt", "_updatedAt"] {
                data.remove(name);
            }
            store.insert(NOW_MS, "items", data).expect("inserted");
        }
    });
    evaluate(&fresh, SubId(1), query, owner).data.map(|text| text.to_string())
}

/// Removes what a fresh store does not know.
fn without_versions(text: Option<&str>) -> Option<String> {
    let mut value = noex_json::parse(text?, 32).ok()?;
    if let Value::Array(records) = &mut value {
        for record in records {
            if let Value::Object(members) = record {
                members.remove("_version");
            }
        }
    }
    Some(value.to_json())
}

fn check_run(rounds: u64) {
    let (store, screen, ids) = (store(), Screen::default(), AtomicU64::new(0));
    let start = Barrier::new(usize::try_from(THREADS).unwrap_or(1));
    let kept: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|me| {
                let (store, screen, ids, start) = (&store, &screen, &ids, &start);
                scope.spawn(move || {
                    start.wait();
                    work(store, screen, ids, me, rounds)
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    // Everybody has delivered what he changed: nothing may be left over.
    assert!(!store.flush(NOW_MS, &screen));
    assert!(screen.ended.lock().unwrap().is_empty());
    let all = store.call(NOW_MS, StoreCall::All { bucket: "items".into() }).outcome().expect("read");
    let Body::Owned(all) = all else { panic!("{all:?}") };
    let records = noex_json::parse(&all, 32).expect("JSON");
    let mut probe = 1_000_000;
    for (subscription, which, owner) in kept {
        let query = QUERIES[which].0;
        let last = screen.last(subscription).expect("a state");
        probe += 1;
        let now = evaluate(&store, SubId(probe), query, owner);
        assert_eq!(last.data, now.data, "{subscription} on {query} shows an old state");
        assert_eq!(
            without_versions(last.data.as_deref()),
            without_versions(evaluate_naively(&records, query, owner).as_deref()),
            "{subscription} on {query} shows a wrong state"
        );
        store.unsubscribe(subscription);
    }
    assert_eq!(store.with_store(|store| store.stats().active_subscriptions), 0);
}

#[test]
fn every_subscriber_ends_with_the_final_state() {
    for _ in 0..5 {
        check_run(200);
    }
    // Short runs: a state that is lost shows only if no later change covers it up.
    for run in 0..1_500 {
        check_run(2 + run % 7);
    }
}

/// Writes, delivers and subscribes anew while it is told of a result, as another thread may between two deliveries.
struct Meddler<'a> {
    store: &'a EmbeddedStore,
    screen: Screen,
    late: Screen,
    writes_left: AtomicU64,
}

impl PushSink for Meddler<'_> {
    fn result(&self, subscription: SubId, update: Update) {
        let left = self.writes_left.load(Ordering::Relaxed);
        if left > 0 {
            self.writes_left.store(left - 1, Ordering::Relaxed);
            let data = object(&format!(r#"{{"id":"m{left}","owner":1,"n":{left}}}"#));
            self.store
                .call(NOW_MS, StoreCall::Insert { bucket: "items".into(), data })
                .outcome()
                .expect("inserted");
            let newcomer = SubId(1_000 + left);
            let initial = self
                .store
                .subscribe(NOW_MS, newcomer, "sum", None, ResultMode::Full, self)
                .outcome()
                .expect("subscribed");
            self.late.show(newcomer, initial);
            while self.store.flush(NOW_MS, self) {}
        }
        // Only now: what was delivered meanwhile is newer.
        let screen = if subscription.0 > 1_000 { &self.late } else { &self.screen };
        screen.show(subscription, update);
    }

    fn event(&self, subscription: SubId, event: Arc<str>) {
        self.screen.event(subscription, event);
    }

    fn ended(&self, subscription: SubId, reason: EndReason) {
        self.screen.ended(subscription, reason);
    }
}

#[test]
fn changes_in_the_midst_of_a_delivery_are_not_lost() {
    for writes in 0..12 {
        let store = store();
        let meddler = Meddler {
            store: &store,
            screen: Screen::default(),
            late: Screen::default(),
            writes_left: AtomicU64::new(0),
        };
        for (id, (query, _)) in (1..).zip(QUERIES) {
            let params = params(1);
            store
                .subscribe(NOW_MS, SubId(id), query, Some(&params), ResultMode::Full, &meddler)
                .outcome()
                .expect("subscribed");
        }
        meddler.writes_left.store(writes, Ordering::Relaxed);
        let data = object(r#"{"id":"first","owner":1,"n":100}"#);
        store.call(NOW_MS, StoreCall::Insert { bucket: "items".into(), data }).outcome().expect("inserted");
        while store.flush(NOW_MS, &meddler) {}
        assert_eq!(meddler.writes_left.load(Ordering::Relaxed), 0);
        for (id, (query, _)) in (1..).zip(QUERIES) {
            let now = evaluate(&store, SubId(9_999), query, 1);
            assert_eq!(meddler.screen.last(SubId(id)), Some(now), "{query} after {writes} writes");
        }
        let sum = evaluate(&store, SubId(9_999), "sum", 1);
        for newcomer in (1..=writes).map(|left| SubId(1_000 + left)) {
            assert_eq!(meddler.late.last(newcomer), Some(sum.clone()), "{newcomer} of {writes}");
        }
    }
}

/// Versions as a subscriber sees them on its own thread, with nobody to sort them for it: what is delivered while a
/// subscribe is under way, and after it, grows once late states are left out.
#[test]
fn a_state_delivered_late_never_has_a_new_version() {
    let store = store();
    let delivered = Screen::default();
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        for me in 0..THREADS {
            let (store, delivered, done) = (&store, &delivered, &done);
            scope.spawn(move || {
                for round in 0..500_u64 {
                    let subscription = SubId(me * 10_000 + round + 1);
                    let initial = store
                        .subscribe(NOW_MS, subscription, "sum", None, ResultMode::Full, delivered)
                        .outcome()
                        .expect("subscribed");
                    let data = object(&format!(r#"{{"id":"{me}-{round}","n":1}}"#));
                    store
                        .call(NOW_MS, StoreCall::Insert { bucket: "items".into(), data })
                        .outcome()
                        .expect("inserted");
                    while store.flush(NOW_MS, delivered) {}
                    delivered.show(subscription, initial);
                    if round % 2 == 0 {
                        store.unsubscribe(subscription);
                        delivered.forget(subscription);
                    }
                }
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(done.load(Ordering::Relaxed), THREADS);
    let total = (THREADS * 500).to_string();
    let shown = delivered.shown.lock().unwrap();
    for (subscription, states) in shown.iter().filter(|(id, _)| id.0 % 2 == 0) {
        assert!(states.is_sorted_by(|a, b| a.version < b.version), "{subscription}");
        assert_eq!(states.last().and_then(|state| state.data.as_deref()), Some(&*total), "{subscription}");
    }
}
