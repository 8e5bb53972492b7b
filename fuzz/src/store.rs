//! Store operations and transactions against the naive model of the store's own tests, and live views against fresh
//! evaluation, their evaluations running late and in any order.

#[expect(clippy::unwrap_used, reason = "the model of the store's own tests may panic")]
#[path = "../../crates/store/tests/it/model.rs"]
mod model;

use crate::input::Input;
use model::{Call, Model, Settings, text};
use noex_json::{CompactString, Object, Value, parse};
use noex_store::query::{QueryDefinition, QueryOptions};
use noex_store::schema::Definition;
use noex_store::{
    Answer, DuplicateInsert, EndReason, Evaluated, Evaluation, Operation, OperationResult, Page, Random,
    ReadRequest, Record, Store, StoreError, StoreOptions, Subscribed, SubscriberId, ViewState,
};
use std::{collections::BTreeMap, sync::Arc};

const START_MS: u64 = 1_700_000_000_000;
const BUCKETS: [&str; 3] = ["p", "c", "d"];
const STEPS_MAX: usize = 60;

const QUERIES: [&str; 14] = [
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
    r#"{"bucket":"p","filter":{"x":{"$between":["{{ params.v }}","{{ params.w }}"]}},"aggregate":{"function":"avg","field":"x"}}"#,
    r#"{"bucket":"c","filter":{"$and":[{"x":{"$gt":1,"$lte":"b"}},{"n":{"$nin":[1,null]}}]},"limit":1}"#,
];

/// Plays what the bytes choose.
pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let settings = Settings { sweeps: input.flag(), replace: input.flag() };
    let mut bench = Bench::new([0; 3].map(|_| object(&definition(&mut input))), settings);
    for bucket in 0..BUCKETS.len() {
        for id in ["1", "2", "\"a\"", "\"b\""] {
            bench.call(&Call::Insert(bucket, object(&format!("{{\"id\":{id}}}"))));
        }
    }
    let mut steps = 0;
    while input.more() && steps < STEPS_MAX {
        bench.step(&mut input);
        steps += 1;
    }
    bench.settle();
    bench.reads();
}

fn value(text: &str) -> Value {
    parse(text, 64).unwrap_or_else(|error| panic!("{error:?} in {text}"))
}

fn object(text: &str) -> Object {
    let Value::Object(object) = value(text) else { panic!("no object: {text}") };
    *object
}

// ---- Choices ----

fn definition(input: &mut Input<'_>) -> String {
    let id = input.pick(&[
        r#"{"type":"date"}"#,
        r#"{"type":"date"}"#,
        r#"{"type":"string","required":true}"#,
        r#"{"type":"number","generated":"autoincrement"}"#,
    ]);
    let n = input.pick(&[
        r#"{"type":"number"}"#,
        r#"{"type":"number","unique":true}"#,
        r#"{"type":"number","min":1}"#,
        r#"{"type":"number","default":3}"#,
    ]);
    let x = input.pick(&[
        r#"{"type":"date"}"#,
        r#"{"type":"date","unique":true}"#,
        r#"{"type":"date","default":2}"#,
    ]);
    let reference = |input: &mut Input<'_>| {
        let Some(to) = input.perhaps(&["p", "c", "d", "nowhere"]) else {
            return r#"{"type":"date"}"#.to_owned();
        };
        let rule = input.pick(&["restrict", "cascade", "set_null"]);
        format!(r#"{{"type":"date","ref":"{to}","onDelete":"{rule}"}}"#)
    };
    let (r, s) = (reference(input), reference(input));
    let indexes =
        input.pick(&["", r#""indexes":["n"],"#, r#""indexes":["x","n"],"#, r#""indexes":["x","r","s"],"#]);
    let order = input.perhaps(&[r#""etsType":"ordered_set","#]).unwrap_or_default();
    let size = input.perhaps(&[r#""maxSize":3,"#, r#""maxSize":5,"#]).unwrap_or_default();
    let ttl = input.perhaps(&[r#""ttl":60,"#]).unwrap_or_default();
    format!(
        r#"{{{indexes}{order}{size}{ttl}"key":"id","schema":{{"id":{id},"n":{n},"x":{x},"r":{r},"s":{s}}}}}"#
    )
}

fn key(input: &mut Input<'_>) -> Value {
    value(input.pick(&["1", "2", "\"a\"", "\"b\"", "\"1\"", "\"B\"", "7", "-0", "true", "[1]"]))
}

fn data(input: &mut Input<'_>) -> Object {
    const MEMBERS: [(&str, &[&str]); 7] = [
        ("id", &["1", "2", "\"a\"", "\"b\"", "\"1\"", "7", "null"]),
        ("n", &["0", "1", "2", "3", "4", "5", "1e400", "-0", "null", "\"bad\""]),
        (
            "x",
            &[
                "1",
                "2",
                "3",
                "10",
                "\"1\"",
                "\"2\"",
                "\"10\"",
                "\"b\"",
                "\"bc\"",
                "null",
                "\"\u{e000}\"",
                "\"😀\"",
            ],
        ),
        ("r", &["1", "2", "\"a\"", "\"b\"", "null"]),
        ("s", &["1", "\"a\"", "\"b\"", "null"]),
        ("y", &["[1]", "{\"k\":1}", "true", "1", "\"t\""]),
        ("_version", &["7", "null"]),
    ];
    let mut data = Object::new();
    for (name, values) in MEMBERS {
        if let Some(text) = input.perhaps(values) {
            data.set(name, value(text));
        }
    }
    if input.rarely(8) {
        data.set("_expiresAt", (START_MS + 10 * input.below(80) as u64) as f64);
    }
    data
}

fn filter(input: &mut Input<'_>) -> Object {
    const FILTERS: [&str; 16] = [
        "{}",
        r#"{"n":1}"#,
        r#"{"n":null}"#,
        r#"{"n":{"$in":[1,3,null]}}"#,
        r#"{"n":{"$gt":1,"$lte":3}}"#,
        r#"{"x":{"$gte":"1"}}"#,
        r#"{"x":{"$lt":5}}"#,
        r#"{"x":{"$between":[1,9]}}"#,
        r#"{"x":{"$startsWith":"1"}}"#,
        r#"{"$or":[{"x":2},{"n":2}]}"#,
        r#"{"$and":[{"x":2},{"n":{"$exists":true}}]}"#,
        r#"{"r":{"$neq":null}}"#,
        r#"{"id":{"$in":["a",1,"1"]}}"#,
        r#"{"y":{"$exists":false},"x":{"$in":[1,"1"]}}"#,
        r#"{"_version":{"$gt":1}}"#,
        r#"{"$or":[]}"#,
    ];
    if input.flag() {
        return object(input.pick(&FILTERS));
    }
    // Conditions that indexes answer, of all pairs of types.
    const OPERANDS: [&str; 11] =
        ["1", "2", "3", "\"1\"", "\"10\"", "\"b\"", "null", "true", "\"\u{e000}\"", "[1,\"1\",2]", "-0"];
    const OPERATORS: [&str; 8] = ["$eq", "$in", "$gt", "$gte", "$lt", "$lte", "$between", "$neq"];
    let mut filter = Object::new();
    for _ in 0..=input.below(2) {
        let mut tests = Object::new();
        for _ in 0..=input.below(2) {
            let (operator, operand) = (input.pick(&OPERATORS), value(input.pick(&OPERANDS)));
            let list = matches!(operator, "$in" | "$between") && operand.as_array().is_none();
            tests.set(
                operator,
                if list { Value::from(vec![operand, value(input.pick(&OPERANDS))]) } else { operand },
            );
        }
        filter.set(input.pick(&["n", "x", "r", "id"]), tests);
    }
    filter
}

fn operation(input: &mut Input<'_>) -> Operation {
    let bucket = CompactString::from(input.pick(&["p", "c", "d", "p", "c", "d", "p", "nowhere"]));
    match input.below(12) {
        0..=3 => Operation::Insert { bucket, data: data(input) },
        4..=6 => Operation::Update { bucket, key: key(input), changes: data(input) },
        7 | 8 => Operation::Delete { bucket, key: key(input) },
        9 => Operation::Get { bucket, key: key(input) },
        10 => Operation::Where { bucket, filter: filter(input) },
        _ if input.flag() => Operation::FindOne { bucket, filter: filter(input) },
        _ => Operation::Count { bucket, filter: input.flag().then(|| filter(input)) },
    }
}

fn call(input: &mut Input<'_>) -> Call {
    let bucket = input.below(BUCKETS.len());
    match input.below(32) {
        0..=7 => Call::Insert(bucket, data(input)),
        8..=15 => Call::Update(bucket, key(input), data(input)),
        16..=18 => Call::Delete(bucket, key(input)),
        19 | 20 => Call::InsertMany(bucket, (0..input.below(4)).map(|_| data(input)).collect()),
        21 => Call::UpdateMany(bucket, filter(input), data(input)),
        22 => Call::DeleteMany(bucket, filter(input)),
        23 | 24 => Call::Upsert(bucket, data(input)),
        25 => Call::PurgeTtl,
        26 => Call::Clear(bucket),
        _ => Call::Transaction((0..=input.below(5)).map(|_| operation(input)).collect()),
    }
}

// ---- The bench ----

struct Zeros;

impl Random for Zeros {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

struct Client {
    query: usize,
    params: Value,
    /// What it has been told.
    state: Option<ViewState>,
}

struct Bench {
    store: Store,
    model: Model,
    now_ms: u64,
    clients: BTreeMap<u64, Client>,
    /// Evaluations under way, with the subscriber that waits for one.
    running: Vec<(Evaluation, Option<u64>)>,
    finished: Vec<(Evaluated, Option<u64>)>,
    next: u64,
}

impl Bench {
    fn new(definitions: [Object; 3], settings: Settings) -> Self {
        let on_duplicate_insert =
            if settings.replace { DuplicateInsert::Replace } else { DuplicateInsert::Reject };
        let options = StoreOptions {
            ttl_check_interval_ms: u64::from(settings.sweeps),
            on_duplicate_insert,
            ..StoreOptions::default()
        };
        let mut store = Store::new(options, Box::new(Zeros));
        store.set_keep_commits(true);
        let mut parsed = Vec::new();
        for (name, config) in BUCKETS.iter().zip(&definitions) {
            store.define_bucket(START_MS, name, config).expect("a correct definition");
            parsed.push(Definition::parse(name, config).expect("a correct definition"));
        }
        for (at, query) in QUERIES.iter().enumerate() {
            store.define_query(&format!("q{at}"), &object(query)).expect("a correct query");
        }
        let model = Model::new(parsed, settings);
        let (clients, running, finished) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { store, model, now_ms: START_MS, clients, running, finished, next: 0 }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(32) {
            0..=15 => self.call(&call(input)),
            16..=19 => self.subscribe(input),
            20 => {
                let id = self.clients.keys().nth(input.below(8)).copied();
                if let Some(id) = id {
                    self.clients.remove(&id);
                    assert!(self.store.unsubscribe(SubscriberId(id)));
                    assert!(!self.store.unsubscribe(SubscriberId(id)));
                }
            }
            21 | 22 => {
                self.running.extend(self.store.next_dirty(self.now_ms).map(|evaluation| (evaluation, None)));
                self.model.advance(self.now_ms);
            }
            23 | 24 => self.evaluate(input.below(4)),
            25 | 26 => self.publish(input.below(4)),
            27 => self.settle(),
            28 => self.reads(),
            29 => self.redefine(input.below(QUERIES.len())),
            _ => self.now_ms += input.below(40) as u64,
        }
    }

    fn call(&mut self, call: &Call) {
        let _ = self.store.take_commits();
        let before = self.store.lsn();
        let expected = self.model.call(self.now_ms, call);
        let got = self.execute(call);
        match (&got, &expected) {
            // Which of several referring records is named is nobody's business.
            (Err(StoreError::ReferenceRestricted { .. }), Err(StoreError::ReferenceRestricted { .. })) => {}
            _ => assert_eq!(got, expected, "{call:?}"),
        }
        let commits = self.store.take_commits();
        assert_eq!(self.store.lsn(), before + commits.len() as u64);
        assert!(commits.iter().all(|commit| !commit.changes.is_empty()));
        assert!(commits.windows(2).all(|pair| pair[0].lsn + 1 == pair[1].lsn));
    }

    fn execute(&mut self, call: &Call) -> Result<Vec<String>, StoreError> {
        let (now, store) = (self.now_ms, &mut self.store);
        let one = |record: Arc<Record>| vec![record.json().to_string()];
        Ok(match call.clone() {
            Call::Insert(bucket, data) => one(store.insert(now, BUCKETS[bucket], data)?),
            Call::Update(bucket, key, changes) => one(store.update(now, BUCKETS[bucket], &key, changes)?),
            Call::Upsert(bucket, data) => one(store.upsert(now, BUCKETS[bucket], data)?),
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

    fn subscribe(&mut self, input: &mut Input<'_>) {
        let query = input.below(QUERIES.len());
        let params = value(input.pick(&[
            "null",
            r#"{"v":1}"#,
            r#"{"v":"1"}"#,
            r#"{"v":null}"#,
            r#"{"v":2,"w":"b"}"#,
            "[1]",
        ]));
        self.next += 1;
        self.model.advance(self.now_ms);
        let given = Some(&params).filter(|params| !params.is_null());
        let subscribed =
            self.store.subscribe(self.now_ms, &format!("q{query}"), given, SubscriberId(self.next));
        let state = match subscribed.expect("parameters that fit") {
            Subscribed::Ready(state) => Some(state),
            Subscribed::Evaluate(evaluation) => {
                self.running.push((evaluation, Some(self.next)));
                None
            }
        };
        self.clients.insert(self.next, Client { query, params, state });
    }

    fn evaluate(&mut self, at: usize) {
        if at < self.running.len() {
            let (evaluation, subscriber) = self.running.remove(at);
            self.finished.push((evaluation.run(), subscriber));
        }
    }

    fn publish(&mut self, at: usize) {
        if at >= self.finished.len() {
            return;
        }
        let (evaluated, subscriber) = self.finished.remove(at);
        let published = self.store.publish(evaluated);
        for (id, state) in published.changed {
            let client = self.clients.get_mut(&id.0).expect("a push to somebody who is there");
            let known = client.state.as_ref().expect("no push before the response");
            assert!(known.version < state.version && known.result != state.result, "{known:?} {state:?}");
            client.state = Some(state);
        }
        if let Some(client) = subscriber.and_then(|id| self.clients.get_mut(&id)) {
            assert!(client.state.is_none(), "answered twice");
            client.state = Some(published.state);
        }
    }

    /// Undefines a query, whose subscriptions end, and defines it again.
    fn redefine(&mut self, query: usize) {
        let name = format!("q{query}");
        self.store.undefine_query(&name).expect("defined");
        let mut ended = self.store.take_ended();
        ended.sort_by_key(|(id, _)| *id);
        let of_query = |client: &Client| client.query == query;
        let expected: Vec<_> =
            self.clients.iter().filter(|(_, client)| of_query(client)).map(|(id, _)| *id).collect();
        let expected: Vec<_> =
            expected.into_iter().map(|id| (SubscriberId(id), EndReason::QueryUndefined)).collect();
        assert_eq!(ended, expected);
        self.clients.retain(|_, client| !of_query(client));
        self.store.define_query(&name, &object(QUERIES[query])).expect("a correct query");
    }

    /// Lets everything finish; then everybody must know the truth.
    fn settle(&mut self) {
        self.model.advance(self.now_ms);
        loop {
            while !self.running.is_empty() {
                self.evaluate(0);
            }
            while !self.finished.is_empty() {
                self.publish(0);
            }
            let Some(evaluation) = self.store.next_dirty(self.now_ms) else { break };
            self.running.push((evaluation, None));
        }
        for client in self.clients.values() {
            let known = client.state.as_ref().expect("answered").result.as_deref();
            assert_eq!(known, self.fresh(client).as_deref(), "{} {:?}", QUERIES[client.query], client.params);
        }
        assert_eq!(self.store.stats().active_subscriptions, self.clients.len());
    }

    fn fresh(&self, client: &Client) -> Option<String> {
        let config = object(QUERIES[client.query]);
        let query = QueryDefinition::parse("q", &config, QueryOptions::default()).expect("correct");
        let params = Some(&client.params).filter(|params| !params.is_null());
        let compiled = query.compile(params, QueryOptions::default()).expect("parameters that fit");
        let bucket = &self.model.buckets[self.model.bucket(&query.bucket).expect("defined")];
        let rows: Vec<(Object, String)> =
            bucket.rows.iter().map(|row| (row.members.clone(), json(&row.members))).collect();
        compiled.evaluate(rows.iter(), |row| &row.0, |row| &row.1)
    }

    fn read(&mut self, bucket: usize, request: ReadRequest) -> Answer {
        self.store.prepare_read(self.now_ms, BUCKETS[bucket], request).expect("a correct read").run()
    }

    fn list(&mut self, bucket: usize, request: ReadRequest) -> Vec<Arc<Record>> {
        let Answer::Records(records) = self.read(bucket, request) else { panic!("no list") };
        records
    }

    /// All reads give what the model gives, whatever the access path.
    fn reads(&mut self) {
        const FILTERS: [&str; 7] = [
            r#"{"n":1}"#,
            r#"{"n":{"$gte":1,"$lt":3}}"#,
            r#"{"x":{"$in":["1",2]}}"#,
            r#"{"x":{"$gt":"1"}}"#,
            r#"{"x":{"$lte":10}}"#,
            r#"{"r":"a"}"#,
            r#"{"x":{"$gt":1},"n":{"$lt":5}}"#,
        ];
        self.model.advance(self.now_ms);
        for (at, name) in BUCKETS.iter().enumerate() {
            let bucket = self.model.buckets[at].clone();
            let rows: Vec<String> = bucket.rows.iter().map(|row| json(&row.members)).collect();
            assert_eq!(texts(&self.list(at, ReadRequest::All)), rows);
            let stats = self.store.bucket_stats(name).expect("defined");
            assert_eq!((stats.autoincrement_counter, stats.record_count), (bucket.counter, rows.len()));
            for filter in FILTERS.map(object) {
                let expected: Vec<String> =
                    bucket.matching(&filter).iter().map(|row| json(&row.members)).collect();
                assert_eq!(texts(&self.list(at, ReadRequest::Where(filter.clone()))), expected, "{filter:?}");
            }
            self.pages(at, rows, bucket.definition.ordered);
        }
    }

    fn pages(&mut self, at: usize, mut rows: Vec<String>, ordered: bool) {
        let (mut walked, mut after) = (Vec::new(), None);
        loop {
            let request = ReadRequest::Paginate { after: after.clone(), limit: 2 };
            let Answer::Page(Page { records, has_more }) = self.read(at, request) else { panic!("no page") };
            after = records.last().map(|record| record.key().clone());
            walked.extend(texts(&records));
            assert!(walked.len() <= rows.len());
            if !has_more {
                break;
            }
        }
        assert_eq!(walked, texts(&self.list(at, ReadRequest::First(usize::MAX))));
        let last = texts(&self.list(at, ReadRequest::Last(3)));
        assert_eq!(last, walked[walked.len().saturating_sub(3)..]);
        if ordered {
            walked.sort();
            rows.sort();
        }
        assert_eq!(walked, rows);
    }
}

fn json(members: &Object) -> String {
    Value::from(members.clone()).to_json()
}

fn texts(records: &[Arc<Record>]) -> Vec<String> {
    records.iter().map(|record| text(&OperationResult::Record(Some(Arc::clone(record))))).collect()
}
