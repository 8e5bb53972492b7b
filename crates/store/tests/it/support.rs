//! A store driven by requests in the shape of the wire protocol, for tests.

use noex_json::{CompactString, Object, Value};
use noex_store::{
    Change, Commit, DuplicateInsert, Function, Operation, OperationResult, Published, Random, ReadRequest,
    Store, StoreError, StoreOptions, Subscribed, SubscriberId, ViewState,
};

/// "Random" bytes that are zero except for a counter at the end, so that generated values are known.
#[derive(Default)]
pub(crate) struct Counting(u16);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
        self.0 += 1;
        let counter = self.0.to_be_bytes();
        let at = bytes.len() - counter.len();
        bytes[at..].copy_from_slice(&counter);
    }
}

/// The time at which the examples take place.
pub(crate) const EPOCH_MS: u64 = 1_700_000_000_000;

pub(crate) fn json(text: &str) -> Value {
    noex_json::parse(text, 100).unwrap_or_else(|error| panic!("{error:?} in {text}"))
}

pub(crate) fn object(text: &str) -> Object {
    let Value::Object(object) = json(text) else { panic!("not an object: {text}") };
    *object
}

pub(crate) fn options() -> StoreOptions {
    StoreOptions { name: "app".into(), ttl_check_interval_ms: 0, ..StoreOptions::default() }
}

/// A store, a clock and numbered subscriptions.
pub(crate) struct Wire {
    pub(crate) store: Store,
    pub(crate) now_ms: u64,
    subscribers: u64,
}

fn text<'a>(request: &'a Object, name: &str) -> &'a str {
    request.get(name).and_then(Value::as_str).unwrap_or_else(|| panic!("no {name} in {request:?}"))
}

fn member(request: &Object, name: &str) -> Object {
    optional(request, name).unwrap_or_else(|| panic!("no {name} in {request:?}"))
}

fn optional(request: &Object, name: &str) -> Option<Object> {
    request.get(name).and_then(Value::as_object).cloned()
}

fn count(request: &Object, name: &str) -> usize {
    request.get(name).and_then(Value::as_number).map(|number| number as usize).unwrap()
}

fn objects(request: &Object, name: &str) -> Vec<Object> {
    let list = request.get(name).and_then(Value::as_array).unwrap();
    list.iter().filter_map(Value::as_object).cloned().collect()
}

fn operation(request: &Object) -> Operation {
    let bucket = CompactString::from(text(request, "bucket"));
    let key = || request.get("key").cloned().unwrap();
    match text(request, "op") {
        "get" => Operation::Get { bucket, key: key() },
        "insert" => Operation::Insert { bucket, data: member(request, "data") },
        "update" => Operation::Update { bucket, key: key(), changes: member(request, "data") },
        "delete" => Operation::Delete { bucket, key: key() },
        "where" => Operation::Where { bucket, filter: member(request, "filter") },
        "findOne" => Operation::FindOne { bucket, filter: member(request, "filter") },
        "count" => Operation::Count { bucket, filter: optional(request, "filter") },
        other => panic!("unknown operation {other}"),
    }
}

pub(crate) fn write_results(results: &[OperationResult]) -> String {
    let mut out = String::from("{\"results\":[");
    for (index, result) in results.iter().enumerate() {
        out.push_str(if index > 0 { "," } else { "" });
        out.push_str(&format!("{{\"index\":{index},\"data\":"));
        result.write_json(&mut out);
        out.push('}');
    }
    out + "]}"
}

impl Wire {
    pub(crate) fn new(options: StoreOptions) -> Self {
        let mut store = Store::new(options, Box::<Counting>::default());
        store.set_keep_commits(true);
        Self { store, now_ms: EPOCH_MS, subscribers: 0 }
    }

    pub(crate) fn replacing() -> Self {
        Self::new(StoreOptions { on_duplicate_insert: DuplicateInsert::Replace, ..options() })
    }

    /// Executes a request and gives the `data` of its result as JSON text.
    pub(crate) fn call(&mut self, request: &str) -> Result<String, StoreError> {
        let request = object(request);
        let kind = text(&request, "type");
        let kind = kind.strip_prefix("store.").unwrap_or(kind);
        let now = self.now_ms;
        let store = &mut self.store;
        if let Some(answer) = Self::administrate(store, now, kind, &request) {
            return answer;
        }
        match kind {
            "subscribe" => return self.subscribe(&request),
            "unsubscribe" => {
                let id = text(&request, "subscriptionId").trim_start_matches("sub-").parse().unwrap();
                return Ok(store.unsubscribe(SubscriberId(id)).to_string());
            }
            "transaction" => {
                let operations = objects(&request, "operations").iter().map(operation).collect();
                return store.transaction(now, operations).map(|results| write_results(&results));
            }
            _ => {}
        }
        let bucket = text(&request, "bucket");
        let key = || request.get("key").cloned().unwrap();
        match kind {
            "insert" => Ok(store.insert(now, bucket, member(&request, "data"))?.json().to_string()),
            "update" => Ok(store.update(now, bucket, &key(), member(&request, "data"))?.json().to_string()),
            "upsert" => Ok(store.upsert(now, bucket, member(&request, "data"))?.json().to_string()),
            "get" => {
                Ok(store.get(now, bucket, &key())?.map_or("null".into(), |record| record.json().to_string()))
            }
            "delete" => store.delete(now, bucket, &key()).map(|()| "{\"deleted\":true}".into()),
            "clear" => store.clear(now, bucket).map(|()| "{\"cleared\":true}".into()),
            "insertMany" => {
                let records = store.insert_many(now, bucket, objects(&request, "list"))?;
                let mut out = String::new();
                OperationResult::Records(records).write_json(&mut out);
                Ok(out)
            }
            "updateMany" => store
                .update_many(now, bucket, &member(&request, "filter"), member(&request, "data"))
                .map(|n| n.to_string()),
            "deleteMany" => {
                store.delete_many(now, bucket, &member(&request, "filter")).map(|n| n.to_string())
            }
            _ => self.read(kind, bucket, &request),
        }
    }

    fn administrate(
        store: &mut Store,
        now: u64,
        kind: &str,
        request: &Object,
    ) -> Option<Result<String, StoreError>> {
        let name = || text(request, "name");
        let done = |what: &str| format!("{{\"name\":{},\"{what}\":true}}", Value::from(name()).to_json());
        Some(match kind {
            "defineBucket" => {
                store.define_bucket(now, name(), &member(request, "config")).map(|()| done("created"))
            }
            "updateBucket" => {
                store.update_bucket(now, name(), &member(request, "updates")).map(|()| done("updated"))
            }
            "dropBucket" => store.drop_bucket(now, name()).map(|()| done("dropped")),
            "getBucketSchema" => store
                .bucket_schema(name())
                .map(|config| format!("{{\"name\":\"{}\",\"config\":{}}}", name(), config.to_json())),
            "defineQuery" => store.define_query(name(), &member(request, "config")).map(|()| done("defined")),
            "undefineQuery" => store.undefine_query(name()).map(|()| done("undefined")),
            "listQueries" => Ok(format!("{{\"queries\":{}}}", store.list_queries().to_json())),
            "purgeTtl" => Ok(store.purge_ttl(now).to_string()),
            "stats" => {
                let mut out = String::new();
                store.stats().write_json(&mut out);
                Ok(out)
            }
            _ => return None,
        })
    }

    fn read(&mut self, kind: &str, bucket: &str, request: &Object) -> Result<String, StoreError> {
        let filter = optional(request, "filter");
        let request = match kind {
            "all" => ReadRequest::All,
            "where" => ReadRequest::Where(member(request, "filter")),
            "findOne" => ReadRequest::FindOne(member(request, "filter")),
            "count" => ReadRequest::Count(filter),
            "first" => ReadRequest::First(count(request, "n")),
            "last" => ReadRequest::Last(count(request, "n")),
            "paginate" => {
                ReadRequest::Paginate { after: request.get("after").cloned(), limit: count(request, "limit") }
            }
            "sum" | "avg" | "min" | "max" => {
                let function = Function::by_name(kind).unwrap();
                ReadRequest::Aggregate { function, field: text(request, "field").into(), filter }
            }
            "groupBy" => ReadRequest::GroupBy {
                fields: vec![text(request, "field").into()],
                function: Function::Count,
                field: None,
                filter,
            },
            other => panic!("unknown request {other}"),
        };
        let mut out = String::new();
        self.store.prepare_read(self.now_ms, bucket, request)?.run().write_json(&mut out);
        Ok(out)
    }

    fn subscribe(&mut self, request: &Object) -> Result<String, StoreError> {
        self.subscribers += 1;
        let params = request.get("params").filter(|params| !params.is_null());
        let id = SubscriberId(self.subscribers);
        let state = match self.store.subscribe(self.now_ms, text(request, "query"), params, id)? {
            Subscribed::Ready(state) => state,
            Subscribed::Evaluate(evaluation) => {
                let Published { state, changed, .. } = self.store.publish(evaluation.run());
                assert!(changed.is_empty(), "nobody else is concerned");
                state
            }
        };
        Ok(match state.result {
            Some(result) => format!("{{\"subscriptionId\":\"sub-{}\",\"data\":{result}}}", id.0),
            None => format!("{{\"subscriptionId\":\"sub-{}\"}}", id.0),
        })
    }

    /// Evaluates all dirty views and gives the pushes.
    pub(crate) fn pushes(&mut self) -> Vec<(SubscriberId, ViewState)> {
        let mut pushes = Vec::new();
        while let Some(evaluation) = self.store.next_dirty(self.now_ms) {
            pushes.append(&mut self.store.publish(evaluation.run()).changed);
        }
        pushes
    }

    /// Gives what has happened since the last call, in the notation of the examples.
    pub(crate) fn events(&mut self) -> String {
        let commits = self.store.take_commits();
        let events = commits.iter().flat_map(|Commit { changes, .. }| changes).map(|change| {
            let kind = match change {
                Change::Inserted { .. } => "inserted",
                Change::Updated { .. } => "updated",
                Change::Deleted { .. } => "deleted",
            };
            format!("bucket.{}.{kind} {}", change.bucket(), change.key().to_json())
        });
        let events: Vec<String> = events.collect();
        if events.is_empty() { "none".into() } else { events.join(", ") }
    }
}
