//! Each call of the protocol as a use of the store.

use super::{Answered, EmbeddedStore};
use crate::{
    backend::StoreBackend,
    refusals::{Place, of_store_error},
};
use noex_core::{Aggregate, Body, Refusal, StoreCall, StoreOperation};
use noex_json::{CompactString, Object, Value, write_string};
use noex_store::{Answer, Operation, OperationResult, PreparedRead, ReadRequest, Record, query::Function};
use std::sync::Arc;

impl EmbeddedStore {
    /// Prepares a read under the lock and runs it outside.
    fn read(&self, now_ms: u64, bucket: &str, request: ReadRequest) -> Answered {
        let (prepared, ticket) = self.peek(Some(bucket), |store| store.prepare_read(now_ms, bucket, request));
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
                    Body::Owned(Value::from(answer).to_json())
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
    pub(super) fn execute(&self, now_ms: u64, call: StoreCall) -> Answered {
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

/// Tells whether a call changes nothing, so that it can be executed anew.
#[expect(clippy::wildcard_enum_match_arm, reason = "what is not known to be a read may be a write")]
pub(super) fn is_read(call: &StoreCall) -> bool {
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
    noex_json::write_value(&mut out, &Value::from(shown));
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
