//! Random definitions and histories: the engine against the model, and subscriptions against fresh evaluation.

use crate::model::{Bucket, Call, Model, Settings, text};
use crate::support::{EPOCH_MS, Wire, json, object, options};
use noex_json::{CompactString, Object, Value};
use noex_store::query::{QueryDefinition, QueryOptions};
use noex_store::schema::Definition;
use noex_store::{
    Answer, DuplicateInsert, Operation, OperationResult, Page, ReadRequest, Store, StoreError, StoreOptions,
    Subscribed, SubscriberId,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

pub(crate) const BUCKETS: [&str; 3] = ["p", "c", "d"];

// Definitions

pub(crate) fn pick(choices: &'static [&'static str]) -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(choices)
}

pub(crate) fn definition() -> impl Strategy<Value = Config> {
    let id = prop_oneof![
        6 => Just(r#"{"type":"date"}"#),
        1 => Just(r#"{"type":"string","required":true}"#),
        1 => Just(r#"{"type":"number","generated":"autoincrement"}"#),
    ];
    let plain = pick(&[
        r#"{"type":"number"}"#,
        r#"{"type":"number"}"#,
        r#"{"type":"number","unique":true}"#,
        r#"{"type":"number","min":1}"#,
    ]);
    let mixed =
        pick(&[r#"{"type":"date"}"#, r#"{"type":"date","unique":true}"#, r#"{"type":"date","default":2}"#]);
    let free = || Just(r#"{"type":"date"}"#.to_owned());
    let reference = || {
        let target = prop_oneof![8 => Just("p"), 8 => Just("c"), 4 => Just("d"), 1 => Just("nowhere")];
        let rule = prop_oneof![2 => Just("restrict"), 4 => Just("cascade"), 3 => Just("set_null")];
        (target, rule).prop_map(|(to, rule)| format!(r#"{{"type":"date","ref":"{to}","onDelete":"{rule}"}}"#))
    };
    let r = prop_oneof![1 => free(), 4 => reference()];
    let s = prop_oneof![3 => free(), 2 => reference()];
    let indexes =
        pick(&["", r#""indexes":["n"],"#, r#""indexes":["x","n"],"#, r#""indexes":["x","r","s"],"#]);
    let more = pick(&[
        "",
        "",
        "",
        r#""etsType":"ordered_set","#,
        r#""maxSize":3,"#,
        r#""maxSize":5,"#,
        r#""ttl":60,"#,
    ]);
    let more = (more.clone(), more).prop_map(|(a, b)| {
        let twice = !a.is_empty() && b.starts_with(&a[..6]);
        if twice { a.to_owned() } else { format!("{a}{b}") }
    });
    (id, plain, mixed, r, s, indexes, more).prop_map(|(id, n, x, r, s, indexes, more)| {
        let schema = format!(r#"{{"id":{id},"n":{n},"x":{x},"r":{r},"s":{s}}}"#);
        Config(object(&format!(r#"{{{indexes}{more}"key":"id","schema":{schema}}}"#)))
    })
}

// Histories

fn key() -> impl Strategy<Value = Value> {
    let likely = pick(&["1", "2", "\"a\"", "\"b\""]);
    prop_oneof![9 => likely, 1 => pick(&["\"1\"", "\"B\"", "7"])].prop_map(json)
}

fn data() -> impl Strategy<Value = Object> {
    let member = |name: &'static str, probability: f64, values: &'static [&'static str]| {
        let value = prop::option::weighted(probability, pick(values));
        value.prop_map(move |value| value.map(|value| (CompactString::from(name), json(value))))
    };
    let id = prop::option::weighted(0.9, key()).prop_map(|key| key.map(|key| ("id".into(), key)));
    let n = member("n", 0.5, &["0", "1", "2", "3", "4", "5", "6", "1e400", "-0", "null"]);
    let bad = member("n", 0.02, &["\"bad\""]);
    let x =
        member("x", 0.5, &["1", "2", "3", "4", "10", "\"1\"", "\"2\"", "\"10\"", "\"b\"", "\"bc\"", "null"]);
    let r = member("r", 0.5, &["1", "2", "\"a\"", "\"b\"", "null"]);
    let s = member("s", 0.3, &["1", "\"a\"", "\"b\"", "null"]);
    let y = member("y", 0.3, &["[1]", "{\"k\":1}", "true", "1", "\"t\""]);
    let e = prop::option::weighted(0.1, 0..80_u64).prop_map(|at| {
        at.map(|at| (CompactString::from("_expiresAt"), Value::Number((EPOCH_MS + at * 10) as f64)))
    });
    (id, n, bad, x, r, s, y, e)
        .prop_map(|(id, n, bad, x, r, s, y, e)| [id, n, bad, x, r, s, y, e].into_iter().flatten().collect())
}

fn filter() -> impl Strategy<Value = Object> {
    pick(&[
        "{}",
        r#"{"n":1}"#,
        r#"{"n":null}"#,
        r#"{"n":{"$in":[1,3,null]}}"#,
        r#"{"n":{"$gt":1,"$lte":3}}"#,
        r#"{"x":{"$gte":"1"}}"#,
        r#"{"x":{"$lt":5}}"#,
        r#"{"x":{"$between":[1,9]}}"#,
        r#"{"x":"1"}"#,
        r#"{"x":{"$startsWith":"1"}}"#,
        r#"{"$or":[{"x":2},{"n":2}]}"#,
        r#"{"$and":[{"x":2},{"n":{"$exists":true}}]}"#,
        r#"{"r":{"$neq":null}}"#,
        r#"{"id":{"$in":["a",1,"1"]}}"#,
        r#"{"y":{"$exists":false},"x":{"$in":[1,"1"]}}"#,
        r#"{"_version":{"$gt":1}}"#,
    ])
    .prop_map(object)
}

fn operation() -> impl Strategy<Value = Operation> {
    let bucket = || pick(&BUCKETS).prop_map(CompactString::from);
    prop_oneof![
        4 => (bucket(), data()).prop_map(|(bucket, data)| Operation::Insert { bucket, data }),
        4 => (bucket(), key(), data()).prop_map(|(bucket, key, changes)| Operation::Update { bucket, key, changes }),
        2 => (bucket(), key()).prop_map(|(bucket, key)| Operation::Delete { bucket, key }),
        1 => (bucket(), key()).prop_map(|(bucket, key)| Operation::Get { bucket, key }),
        1 => (bucket(), filter()).prop_map(|(bucket, filter)| Operation::Where { bucket, filter }),
        1 => (bucket(), filter()).prop_map(|(bucket, filter)| Operation::FindOne { bucket, filter }),
        1 => (bucket(), prop::option::of(filter())).prop_map(|(bucket, filter)| Operation::Count { bucket, filter }),
    ]
}

pub(crate) fn call() -> impl Strategy<Value = Call> {
    let bucket = || 0..BUCKETS.len();
    prop_oneof![
        25 => (bucket(), data()).prop_map(|(bucket, data)| Call::Insert(bucket, data)),
        30 => (bucket(), key(), data()).prop_map(|(bucket, key, changes)| Call::Update(bucket, key, changes)),
        8 => (bucket(), key()).prop_map(|(bucket, key)| Call::Delete(bucket, key)),
        4 => (bucket(), prop::collection::vec(data(), 0..4)).prop_map(|(bucket, list)| Call::InsertMany(bucket, list)),
        2 => (bucket(), filter(), data()).prop_map(|(bucket, filter, data)| Call::UpdateMany(bucket, filter, data)),
        1 => (bucket(), filter()).prop_map(|(bucket, filter)| Call::DeleteMany(bucket, filter)),
        4 => (bucket(), data()).prop_map(|(bucket, data)| Call::Upsert(bucket, data)),
        20 => prop::collection::vec(operation(), 1..5).prop_map(Call::Transaction),
        1 => Just(Call::PurgeTtl),
        1 => bucket().prop_map(Call::Clear),
    ]
}

/// A definition that prints as JSON when a case fails.
#[derive(Clone)]
pub(crate) struct Config(pub(crate) Object);

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&Value::from(self.0.clone()).to_json())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Call(Call),
    /// Query, parameters, and which of the subscriptions to end first.
    Subscribe(usize, &'static str, Option<usize>),
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let params = pick(&["null", r#"{"v":1}"#, r#"{"v":"1"}"#, r#"{"v":null}"#, r#"{"v":2,"w":0}"#]);
    let subscribe = (0..QUERIES.len(), params, prop::option::of(0..8_usize));
    let step = prop_oneof![
        5 => call().prop_map(Step::Call),
        1 => subscribe.prop_map(|(query, params, end)| Step::Subscribe(query, params, end)),
    ];
    prop::collection::vec((prop_oneof![Just(0), 0..25_u64], step), 1..60)
}

pub(crate) const QUERIES: [&str; 12] = [
    r#"{"bucket":"p"}"#,
    r#"{"bucket":"c","filter":{"x":"{{ params.v }}"}}"#,
    r#"{"bucket":"p","filter":{"n":"{{ params.v }}"},"fields":["id"]}"#,
    r#"{"bucket":"d","filter":{"n":"{{ params.v }}","x":{"$in":["{{ params.v }}",2,"1"]}},"aggregate":{"function":"count"}}"#,
    r#"{"bucket":"c","aggregate":{"function":"sum","field":"n"}}"#,
    r#"{"bucket":"p","aggregate":{"function":"min","field":"n"}}"#,
    r#"{"bucket":"c","filter":{"x":{"$gte":"{{ params.v }}"}},"sort":{"n":"desc","x":"asc"},"limit":2,"fields":["id","n"]}"#,
    r#"{"bucket":"d","sort":{"x":"asc"},"offset":1}"#,
    r#"{"bucket":"p","aggregate":{"function":"max","field":"n","groupBy":"x"}}"#,
    r#"{"bucket":"c","filter":{"$or":[{"n":1},{"x":"{{ params.v }}"}]},"fields":["id","_version"]}"#,
    r#"{"bucket":"d","filter":{"x":[1]}}"#,
    r#"{"bucket":"d","limit":-1,"fields":["id"]}"#,
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(400),
    ) })]

    /// Same results, same errors, same state, same answers whatever the access path; subscribers are told of exactly
    /// the changes of their result.
    #[test]
    fn engine_agrees_with_model(
        definitions in [definition(), definition(), definition()],
        sweeps in any::<bool>(),
        replace in any::<bool>(),
        steps in steps(),
    ) {
        let mut bench = Bench::new(definitions, Settings { sweeps, replace });
        for (bucket, id) in (0..BUCKETS.len()).flat_map(|bucket| ["1", "2", "\"a\"", "\"b\""].map(|id| (bucket, id))) {
            bench.call(&Call::Insert(bucket, object(&format!("{{\"id\":{id}}}"))))?;
        }
        for (pause, step) in steps {
            bench.now_ms += pause;
            match step {
                Step::Call(call) => bench.call(&call)?,
                Step::Subscribe(query, params, end) => bench.subscribe(query, params, end)?,
            }
            bench.check_subscriptions()?;
            bench.check_reads()?;
        }
    }
}

struct Subscription {
    query: usize,
    params: Value,
    known: Option<String>,
    version: u64,
}

struct Bench {
    wire: Wire,
    model: Model,
    now_ms: u64,
    subscriptions: BTreeMap<u64, Subscription>,
    next: u64,
}

type Checked = Result<(), TestCaseError>;

impl Bench {
    fn new(definitions: [Config; 3], settings: Settings) -> Self {
        let mut wire = Wire::new(StoreOptions {
            ttl_check_interval_ms: u64::from(settings.sweeps),
            on_duplicate_insert: if settings.replace {
                DuplicateInsert::Replace
            } else {
                DuplicateInsert::Reject
            },
            ..options()
        });
        let mut parsed = Vec::new();
        for (name, Config(config)) in BUCKETS.iter().zip(&definitions) {
            wire.store.define_bucket(EPOCH_MS, name, config).unwrap();
            parsed.push(Definition::parse(name, config).unwrap());
        }
        for (at, query) in QUERIES.iter().enumerate() {
            wire.store.define_query(&format!("q{at}"), &object(query)).unwrap();
        }
        let model = Model::new(parsed, settings);
        Self { wire, model, now_ms: EPOCH_MS, subscriptions: BTreeMap::new(), next: 0 }
    }

    fn call(&mut self, call: &Call) -> Checked {
        let _ = self.wire.store.take_commits();
        let before = self.wire.store.lsn();
        let expected = self.model.call(self.now_ms, call);
        let got = self.execute(call);
        match (&got, &expected) {
            (Err(StoreError::ReferenceRestricted { .. }), Err(StoreError::ReferenceRestricted { .. })) => {}
            _ => prop_assert_eq!(&got, &expected, "{:?}", call),
        }
        let commits = self.wire.store.take_commits();
        prop_assert_eq!(self.wire.store.lsn(), before + commits.len() as u64);
        prop_assert!(commits.iter().all(|commit| !commit.changes.is_empty()));
        prop_assert!(commits.windows(2).all(|pair| pair[0].lsn + 1 == pair[1].lsn));
        Ok(())
    }

    fn execute(&mut self, call: &Call) -> Result<Vec<String>, StoreError> {
        execute(&mut self.wire.store, self.now_ms, call)
    }

    fn subscribe(&mut self, query: usize, params: &str, end: Option<usize>) -> Checked {
        if let Some(id) = end.and_then(|end| self.subscriptions.keys().nth(end).copied()) {
            prop_assert!(self.wire.store.unsubscribe(SubscriberId(id)));
            prop_assert!(!self.wire.store.unsubscribe(SubscriberId(id)));
            self.subscriptions.remove(&id);
        }
        self.next += 1;
        let (id, params) = (self.next, json(params));
        let given = Some(&params).filter(|params| !params.is_null());
        self.model.advance(self.now_ms);
        let subscribed =
            self.wire.store.subscribe(self.now_ms, &format!("q{query}"), given, SubscriberId(id));
        let state = match subscribed.unwrap() {
            Subscribed::Ready(state) => state,
            Subscribed::Evaluate(evaluation) => {
                let published = self.wire.store.publish(evaluation.run());
                self.take(published.changed)?;
                published.state
            }
        };
        let known = state.result.as_deref().map(str::to_owned);
        self.subscriptions.insert(id, Subscription { query, params, known, version: state.version });
        Ok(())
    }

    fn take(&mut self, changed: Vec<(SubscriberId, noex_store::ViewState)>) -> Checked {
        for (id, state) in changed {
            let subscription = self.subscriptions.get_mut(&id.0).unwrap();
            prop_assert!(
                subscription.known.as_deref() != state.result.as_deref(),
                "pushed the same result again"
            );
            prop_assert!(subscription.version < state.version);
            subscription.known = state.result.as_deref().map(str::to_owned);
            subscription.version = state.version;
        }
        Ok(())
    }

    /// After flushing, each subscriber knows the result of a fresh evaluation.
    fn check_subscriptions(&mut self) -> Checked {
        self.model.advance(self.now_ms);
        while let Some(evaluation) = self.wire.store.next_dirty(self.now_ms) {
            let changed = self.wire.store.publish(evaluation.run()).changed;
            self.take(changed)?;
        }
        for subscription in self.subscriptions.values() {
            let config = object(QUERIES[subscription.query]);
            let query = QueryDefinition::parse("q", &config, QueryOptions::default()).unwrap();
            let params = Some(&subscription.params).filter(|params| !params.is_null());
            let compiled = query.compile(params, QueryOptions::default()).unwrap();
            let bucket = &self.model.buckets[self.model.bucket(&query.bucket).unwrap()];
            let texts: Vec<(Object, String)> = bucket
                .rows
                .iter()
                .map(|row| (row.members.clone(), Value::from(row.members.clone()).to_json()))
                .collect();
            let fresh = compiled.evaluate(texts.iter(), |row| &row.0, |row| &row.1);
            prop_assert_eq!(
                &subscription.known,
                &fresh,
                "{} {:?}",
                QUERIES[subscription.query],
                subscription.params
            );
        }
        let active = self.wire.store.stats().active_subscriptions;
        prop_assert_eq!(active, self.subscriptions.len());
        Ok(())
    }

    fn read(&mut self, bucket: usize, request: ReadRequest) -> Answer {
        self.wire.store.prepare_read(self.now_ms, BUCKETS[bucket], request).unwrap().run()
    }

    /// All reads give what the model gives.
    fn check_reads(&mut self) -> Checked {
        self.model.advance(self.now_ms);
        for (at, name) in BUCKETS.iter().enumerate() {
            let bucket = self.model.buckets[at].clone();
            let rows: Vec<String> =
                bucket.rows.iter().map(|row| Value::from(row.members.clone()).to_json()).collect();
            let Answer::Records(all) = self.read(at, ReadRequest::All) else { panic!("no list") };
            prop_assert_eq!(texts(&all), rows);
            let stats = self.wire.store.bucket_stats(name).unwrap();
            prop_assert_eq!(stats.autoincrement_counter, bucket.counter);
            prop_assert_eq!(stats.record_count, bucket.rows.len());
            let names: Vec<&str> = stats.index_names.iter().map(CompactString::as_str).collect();
            prop_assert_eq!(names, bucket.index_fields());
            for filter in [
                r#"{"n":1}"#,
                r#"{"n":{"$gte":1,"$lt":3}}"#,
                r#"{"x":{"$in":["1",2]}}"#,
                r#"{"x":{"$gt":"1"}}"#,
                r#"{"r":"a"}"#,
            ] {
                let filter = object(filter);
                let expected: Vec<String> = bucket
                    .matching(&filter)
                    .iter()
                    .map(|row| Value::from(row.members.clone()).to_json())
                    .collect();
                let Answer::Records(found) = self.read(at, ReadRequest::Where(filter)) else {
                    panic!("no list")
                };
                prop_assert_eq!(texts(&found), expected);
            }
            self.check_pages(at, &bucket)?;
        }
        Ok(())
    }

    fn check_pages(&mut self, at: usize, bucket: &Bucket) -> Checked {
        let mut walked = Vec::new();
        let mut after = None;
        loop {
            let request = ReadRequest::Paginate { after: after.clone(), limit: 2 };
            let Answer::Page(Page { records, has_more }) = self.read(at, request) else { panic!("no page") };
            after = records.last().map(|record| record.key().clone());
            walked.extend(texts(&records));
            prop_assert!(walked.len() <= bucket.rows.len());
            if !has_more {
                break;
            }
        }
        let Answer::Records(first) = self.read(at, ReadRequest::First(usize::MAX)) else { panic!("no list") };
        prop_assert_eq!(&walked, &texts(&first));
        let Answer::Records(last) = self.read(at, ReadRequest::Last(3)) else { panic!("no list") };
        prop_assert_eq!(texts(&last), walked[walked.len().saturating_sub(3)..].to_vec());
        let rows: Vec<String> =
            bucket.rows.iter().map(|row| Value::from(row.members.clone()).to_json()).collect();
        if bucket.definition.ordered {
            walked.sort();
            let mut rows = rows;
            rows.sort();
            prop_assert_eq!(walked, rows);
            let numbers: Vec<f64> = first.iter().filter_map(|record| record.key().as_number()).collect();
            prop_assert!(numbers.is_sorted());
            prop_assert!(first.iter().skip(numbers.len()).all(|record| record.key().as_number().is_none()));
        } else {
            prop_assert_eq!(walked, rows);
        }
        Ok(())
    }
}

fn texts(records: &[std::sync::Arc<noex_store::Record>]) -> Vec<String> {
    let mut out = Vec::new();
    for record in records {
        out.push(text(&OperationResult::Record(Some(std::sync::Arc::clone(record)))));
    }
    out
}

/// Executes a call and gives what it answers.
pub(crate) fn execute(store: &mut Store, now: u64, call: &Call) -> Result<Vec<String>, StoreError> {
    let record = |record: std::sync::Arc<noex_store::Record>| vec![record.json().to_string()];
    Ok(match call.clone() {
        Call::Insert(bucket, data) => record(store.insert(now, BUCKETS[bucket], data)?),
        Call::Update(bucket, key, changes) => record(store.update(now, BUCKETS[bucket], &key, changes)?),
        Call::Upsert(bucket, data) => record(store.upsert(now, BUCKETS[bucket], data)?),
        Call::Delete(bucket, key) => store.delete(now, BUCKETS[bucket], &key).map(|()| Vec::new())?,
        Call::Clear(bucket) => store.clear(now, BUCKETS[bucket]).map(|()| Vec::new())?,
        Call::InsertMany(bucket, list) => {
            let records = store.insert_many(now, BUCKETS[bucket], list)?;
            records.iter().map(|record| record.json().to_string()).collect()
        }
        Call::UpdateMany(bucket, filter, changes) => {
            vec![store.update_many(now, BUCKETS[bucket], &filter, changes)?.to_string()]
        }
        Call::DeleteMany(bucket, filter) => {
            vec![store.delete_many(now, BUCKETS[bucket], &filter)?.to_string()]
        }
        Call::Transaction(operations) => store.transaction(now, operations)?.iter().map(text).collect(),
        Call::PurgeTtl => vec![store.purge_ttl(now).to_string()],
    })
}
