//! Live results against fresh evaluation, over random definitions, histories and delays.
//!
//! `VIEW_COMMITS=2000000 cargo test --release -p noex-store --test it live` runs that many commits; `VIEW_SEED=n` runs
//! the history of one seed.

mod choose;

use crate::support::{Counting, EPOCH_MS, json, object};
use choose::{Choices, Flavour};
use noex_json::{CompactString, Object, Value};
use noex_store::query::{QueryDefinition, QueryOptions};
use noex_store::{
    Answer, Delta, DuplicateInsert, EndReason, Evaluated, Evaluation, Operation, ReadRequest, Store,
    StoreOptions, Subscribed, SubscriberId, ViewCounters, ViewState,
};
use std::collections::BTreeMap;

struct Client {
    query: usize,
    params: Value,
    state: Option<ViewState>,
    /// Whether it follows changes; what it made of them.
    follows: bool,
    list: Value,
}

struct History {
    choices: Choices,
    flavour: Flavour,
    /// Number of different keys.
    keys: usize,
    store: Store,
    now_ms: u64,
    queries: Vec<Object>,
    clients: BTreeMap<u64, Client>,
    running: Vec<(Evaluation, Option<u64>)>,
    finished: Vec<(Evaluated, Option<u64>)>,
    next: u64,
}

const QUERIES: usize = 10;
const CLIENTS_MAX: usize = 24;
const STEPS: usize = 400;

fn name(query: usize) -> String {
    format!("q{query}")
}

impl History {
    fn new(seed: u64) -> Self {
        let mut choices = Choices(seed);
        let flavour = [Flavour::Integers, Flavour::Cents, Flavour::Mixed][choices.below(3)];
        let keys = [6, 40, 40, 300][choices.below(4)];
        let options = StoreOptions {
            ttl_check_interval_ms: choices.below(2) as u64,
            on_duplicate_insert: if choices.once_in(2) {
                DuplicateInsert::Replace
            } else {
                DuplicateInsert::Reject
            },
            view_bytes_max: [0, 1_500, 20_000, 1 << 30, 1 << 30, 1 << 30][choices.below(6)],
            ..StoreOptions::default()
        };
        let mut store = Store::new(options, Box::<Counting>::default());
        for bucket in ["a", "b"] {
            store.define_bucket(EPOCH_MS, bucket, &choose::bucket(&mut choices)).unwrap();
        }
        let queries: Vec<Object> = (0..QUERIES).map(|_| choose::query(&mut choices, flavour)).collect();
        let mut history = Self {
            choices,
            flavour,
            keys,
            store,
            now_ms: EPOCH_MS,
            queries: Vec::new(),
            clients: BTreeMap::new(),
            running: Vec::new(),
            finished: Vec::new(),
            next: 0,
        };
        for (at, query) in queries.into_iter().enumerate() {
            // An ill-formed filter is refused.
            match history.store.define_query(&name(at), &query) {
                Ok(()) => history.queries.push(query),
                Err(_) => {
                    let query = object(r#"{"bucket":"a","sort":{"n":"asc"},"limit":3}"#);
                    history.store.define_query(&name(at), &query).unwrap();
                    history.queries.push(query);
                }
            }
        }
        history
    }

    fn data(&mut self) -> Object {
        choose::record(&mut self.choices, self.flavour, self.keys, self.now_ms)
    }

    fn bucket(&mut self) -> &'static str {
        self.choices.pick(&["a", "a", "a", "b"])
    }

    fn key(&mut self) -> Value {
        Value::Number(self.choices.below(self.keys) as f64)
    }

    fn step(&mut self) {
        let bucket = self.bucket();
        match self.choices.below(64) {
            0..=40 => self.write(bucket),
            41..=48 => self.subscribe(),
            49 | 50 => self.unsubscribe(),
            51..=53 => {
                let evaluation = self.store.next_dirty(self.now_ms);
                self.running.extend(evaluation.map(|evaluation| (evaluation, None)));
            }
            54..=57 => self.run(),
            58..=61 => self.publish(),
            62 => self.now_ms += self.choices.below(200) as u64,
            _ => self.administrate(bucket),
        }
    }

    /// Most writes may fail; then they must change nothing, which the check shows.
    fn write(&mut self, bucket: &'static str) {
        let now = self.now_ms;
        match self.choices.below(40) {
            0..=12 => {
                let data = self.data();
                let _ = self.store.insert(now, bucket, data);
            }
            13..=24 => {
                let (key, mut changes) = (self.key(), self.data());
                changes.remove("id");
                if self.choices.once_in(2) {
                    changes.remove("n");
                }
                let _ = self.store.update(now, bucket, &key, changes);
            }
            25..=29 => {
                let key = self.key();
                let _ = self.store.delete(now, bucket, &key);
            }
            30 => {
                let list = (0..self.choices.below(self.keys)).map(|_| self.data()).collect();
                let _ = self.store.insert_many(now, bucket, list);
            }
            31 | 32 => {
                // Distinct keys, so that it succeeds more often.
                let used = self.choices.below(self.keys);
                let list: Vec<Object> = (used..self.keys)
                    .map(|key| {
                        let mut data = self.data();
                        data.set("id", key as f64);
                        data
                    })
                    .collect();
                for data in list {
                    let _ = self.store.upsert(now, bucket, data);
                }
            }
            33 => {
                let filter = choose::filter(&mut self.choices, self.flavour, 0);
                let _ = self.store.delete_many(now, bucket, &filter);
            }
            34 => {
                let filter = choose::filter(&mut self.choices, self.flavour, 0);
                let mut changes = self.data();
                changes.remove("id");
                let _ = self.store.update_many(now, bucket, &filter, changes);
            }
            35 if self.choices.once_in(4) => self.store.clear(now, bucket).unwrap(),
            _ => self.transaction(),
        }
    }

    fn transaction(&mut self) {
        let mut operations = Vec::new();
        for _ in 0..=self.choices.below(8) {
            let bucket = CompactString::from(self.bucket());
            operations.push(match self.choices.below(4) {
                0 => Operation::Delete { bucket, key: self.key() },
                1 => Operation::Insert { bucket, data: self.data() },
                _ => {
                    let mut changes = self.data();
                    changes.remove("id");
                    Operation::Update { bucket, key: self.key(), changes }
                }
            });
        }
        let _ = self.store.transaction(self.now_ms, operations);
    }

    fn administrate(&mut self, bucket: &'static str) {
        match self.choices.below(4) {
            0 => {
                let query = self.choices.below(QUERIES);
                self.store.undefine_query(&name(query)).unwrap();
                self.end(EndReason::QueryUndefined, |client, _| client.query == query);
                let config = choose::query(&mut self.choices, self.flavour);
                if self.store.define_query(&name(query), &config).is_ok() {
                    self.queries[query] = config;
                } else {
                    self.store.define_query(&name(query), &self.queries[query]).unwrap();
                }
            }
            1 if bucket == "b" => {
                self.store.drop_bucket(self.now_ms, bucket).unwrap();
                self.end(EndReason::BucketDropped, |client, queries| {
                    queries[client.query].get("bucket").and_then(Value::as_str) == Some("b")
                });
                self.store.define_bucket(self.now_ms, bucket, &choose::bucket(&mut self.choices)).unwrap();
            }
            2 => {
                self.store.purge_ttl(self.now_ms);
            }
            _ => {
                let updates = self.choices.pick(&[
                    r#"{"addIndexes":["s"]}"#,
                    r#"{"addIndexes":["n"]}"#,
                    r#"{"ttl":500}"#,
                    r#"{"ttl":null}"#,
                ]);
                let _ = self.store.update_bucket(self.now_ms, bucket, &object(updates));
            }
        }
    }

    fn end(&mut self, reason: EndReason, is_concerned: impl Fn(&Client, &[Object]) -> bool) {
        let mut ended = self.store.take_ended();
        ended.sort_by_key(|(id, _)| *id);
        let queries = &self.queries;
        let expected: Vec<(SubscriberId, EndReason)> = self
            .clients
            .iter()
            .filter(|(_, client)| is_concerned(client, queries))
            .map(|(id, _)| (SubscriberId(*id), reason))
            .collect();
        assert_eq!(ended, expected);
        self.clients.retain(|_, client| !is_concerned(client, queries));
    }

    fn subscribe(&mut self) {
        if self.clients.len() == CLIENTS_MAX {
            self.unsubscribe();
        }
        let query = self.choices.below(QUERIES);
        let params = choose::params(&mut self.choices, self.flavour);
        self.next += 1;
        let id = SubscriberId(self.next);
        // Parameters may not fit their place.
        let Ok(subscribed) = self.store.subscribe(self.now_ms, &name(query), Some(&params), id) else {
            return;
        };
        let follows = self.choices.once_in(2) && self.store.follow_changes(id);
        let state = match subscribed {
            Subscribed::Ready(state) => Some(state),
            Subscribed::Evaluate(evaluation) => {
                self.running.push((evaluation, Some(self.next)));
                None
            }
        };
        let mut client = Client { query, params, state: None, follows, list: Value::Null };
        if let Some(state) = state {
            client.tell(state, None);
        }
        self.clients.insert(self.next, client);
    }

    fn unsubscribe(&mut self) {
        let at = self.choices.below(self.clients.len());
        let Some(id) = self.clients.keys().nth(at).copied() else { return };
        self.clients.remove(&id);
        assert!(self.store.unsubscribe(SubscriberId(id)));
    }

    fn run(&mut self) {
        if !self.running.is_empty() {
            let at = self.choices.below(self.running.len());
            let (evaluation, subscriber) = self.running.swap_remove(at);
            self.finished.push((evaluation.run(), subscriber));
        }
    }

    fn publish(&mut self) {
        if self.finished.is_empty() {
            return;
        }
        let at = self.choices.below(self.finished.len());
        let (evaluated, subscriber) = self.finished.swap_remove(at);
        let published = self.store.publish(evaluated);
        for (id, state) in published.changed {
            let client = self.clients.get_mut(&id.0).expect("a push to somebody who is there");
            let known = client.state.as_ref().expect("no push before the response");
            assert!(known.version < state.version && known.result != state.result, "{known:?} {state:?}");
            client.tell(state, published.delta.as_ref());
        }
        if let Some(client) = subscriber.and_then(|id| self.clients.get_mut(&id)) {
            assert!(client.state.is_none(), "answered twice");
            client.tell(published.state, None);
        }
    }

    /// Lets everything finish; then everybody must know the truth.
    fn settle(&mut self) {
        loop {
            while !self.running.is_empty() {
                self.run();
            }
            while !self.finished.is_empty() {
                self.publish();
            }
            let Some(evaluation) = self.store.next_dirty(self.now_ms) else { break };
            self.running.push((evaluation, None));
        }
        let records = ["a", "b"].map(|bucket| {
            let answer = self.store.prepare_read(self.now_ms, bucket, ReadRequest::All).unwrap().run();
            let Answer::Records(records) = answer else { panic!("{answer:?}") };
            (bucket, records)
        });
        for client in self.clients.values() {
            let config = &self.queries[client.query];
            let query = QueryDefinition::parse("q", config, QueryOptions::default()).unwrap();
            let compiled = query.compile(Some(&client.params), QueryOptions::default()).unwrap();
            let (_, rows) = records.iter().find(|(bucket, _)| *bucket == query.bucket.as_str()).unwrap();
            let fresh = compiled.evaluate(rows.iter(), |row| row.members(), |row| row.json());
            let known = client.state.as_ref().expect("answered").result.as_deref();
            let shown = || (Value::from(config.clone()).to_json(), client.params.to_json());
            assert_eq!(known, fresh.as_deref(), "{:?} {:?}", shown(), self.store.view_stats());
        }
        for client in self.clients.values().filter(|client| client.follows) {
            let state = client.state.as_ref().expect("answered");
            let result = state.result.as_deref().map_or(Value::Null, json);
            assert_eq!(client.list, result, "{:?}", self.queries[client.query]);
        }
        let stats = self.store.view_stats();
        let subscriptions: usize = stats.queries.iter().map(|of| of.subscriptions).sum();
        assert_eq!(subscriptions, self.clients.len());
        assert!(stats.state_bytes <= stats.state_bytes_max);
        let held: usize = stats.queries.iter().map(|of| of.state_bytes).sum();
        assert_eq!(held, stats.state_bytes);
    }
}

impl Client {
    /// Takes a new result: by its changes if they are those of the version it knows.
    fn tell(&mut self, state: ViewState, delta: Option<&Delta>) {
        let known = self.state.as_ref().map(|state| state.version);
        match delta.filter(|delta| self.follows && Some(delta.from) == known) {
            Some(delta) => {
                assert_eq!(delta.to, state.version);
                let changes = object(&delta.changes);
                assert_eq!(changes.get("from").and_then(Value::as_number), Some(delta.from as f64));
                assert_eq!(changes.get("to").and_then(Value::as_number), Some(delta.to as f64));
                self.list = follow(&self.list, &changes);
            }
            None => self.list = state.result.as_deref().map_or(Value::Null, json),
        }
        self.state = Some(state);
    }
}

/// Applies changes to a list as their description says.
fn follow(list: &Value, changes: &Object) -> Value {
    let items = |name: &str| changes.get(name).and_then(Value::as_array).unwrap_or_default();
    let key = |record: &Value| record.as_object().and_then(|record| record.get("id")).cloned();
    let mut list: Vec<Value> = list.as_array().expect("only lists are followed").to_vec();
    for left in items("left") {
        let at = list.iter().position(|record| key(record).as_ref() == Some(left));
        list.remove(at.expect("a record that was there"));
    }
    let at_of = |value: &Value| value.as_number().expect("a position") as usize;
    let mut placed: Vec<(usize, Value)> = Vec::new();
    for entered in items("entered") {
        let Some([at, record]) = entered.as_array() else { panic!("{entered:?}") };
        placed.push((at_of(at), record.clone()));
    }
    for changed in items("changed") {
        let Some([id, members, at @ ..]) = changed.as_array() else { panic!("{changed:?}") };
        let is_it = |record: &Value| key(record).as_ref() == Some(id);
        let place = list.iter().position(is_it).expect("a record that was there");
        let Value::Object(record) = &mut list[place] else { panic!("no record") };
        let members = members.as_object().expect("members").iter();
        record.merge(members.map(|(name, value)| (name.clone(), value.clone())));
        if let [at] = at {
            placed.push((at_of(at), list.remove(place)));
        }
    }
    placed.sort_by_key(|(at, _)| *at);
    for (at, record) in placed {
        list.insert(at, record);
    }
    Value::from(list)
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Plays one history; gives the number of commits and what the views did.
fn play(seed: u64) -> (u64, ViewCounters) {
    let mut history = History::new(seed);
    for _ in 0..STEPS {
        history.step();
        if history.choices.below(3) > 0 {
            history.settle();
        }
    }
    history.settle();
    (history.store.lsn(), history.store.view_stats().counters)
}

/// Says which seed it was when a history fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed: VIEW_SEED={}", self.0);
        }
    }
}

#[test]
fn live_results_equal_fresh_ones() {
    if let Some(seed) = variable("VIEW_SEED") {
        let _seed = Seed(seed);
        play(seed);
        return;
    }
    let wanted = variable("VIEW_COMMITS").unwrap_or(6_000);
    let (mut commits, mut totals, mut seed) = (0, ViewCounters::default(), 0);
    while commits < wanted {
        let _seed = Seed(seed);
        let (count, counters) = play(seed);
        commits += count;
        totals.kept += counters.kept;
        totals.builds += counters.builds;
        totals.refills += counters.refills;
        totals.rebuilds += counters.rebuilds;
        totals.reruns += counters.reruns;
        totals.published += counters.published;
        totals.deltas += counters.deltas;
        totals.suppressed += counters.suppressed;
        seed += 1;
    }
    println!("{seed} histories, {commits} commits: {totals:?}");
    // Every way to keep a result up to date was taken.
    let ViewCounters { kept, builds, refills, rebuilds, reruns, deltas, suppressed, .. } = totals;
    for count in [kept, builds, refills, rebuilds, reruns, deltas, suppressed] {
        assert!(count > 0, "{totals:?}");
    }
}
