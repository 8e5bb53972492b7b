//! Flags, buckets and records the scenarios share.

use noex_bench::client::Client;
use noex_bench::error::LoadError;
use noex_bench::flags::Flags;
use noex_bench::frame::{MASK_FIXED, MASK_ZERO, Mask};
use noex_bench::handshake::Target;
use serde_json::{Value, json};

/// Records of the bucket that get and update read from.
pub(crate) const RECORDS: u64 = 10_000;

/// Requests in flight while records are inserted.
const INSERT_WINDOW: u64 = 100;

/// Where and how to connect.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) target: Target,
    pub(crate) mask: Mask,
}

impl Endpoint {
    pub(crate) fn from_flags(flags: &Flags) -> Result<Self, LoadError> {
        let target = Target::parse(flags.required("url")?)?;
        Ok(Self { target, mask: if flags.switch("zero-mask") { MASK_ZERO } else { MASK_FIXED } })
    }

    /// A client that has seen its welcome.
    pub(crate) fn client(&self) -> Result<Client, LoadError> {
        Client::connect(&self.target, self.mask)
    }
}

/// About a hundred bytes of text, the same in every run.
pub(crate) fn filler(bytes: usize) -> String {
    "the quick brown fox jumps over the lazy dog, ".chars().cycle().take(bytes).collect()
}

/// Defines a bucket with key `id`, an indexed number `n`, text `s` and text `owner`, unless it exists.
pub(crate) fn define_bucket(client: &mut Client, name: &str, index: &str) -> Result<(), LoadError> {
    let text = json!({"type": "string"});
    let config = json!({
        "key": "id",
        "schema": {"id": text, "n": {"type": "number"}, "s": text, "owner": text},
        "indexes": [index],
    });
    let request = json!({"type": "store.defineBucket", "name": name, "config": config});
    client.call_allowing(&request, "ALREADY_EXISTS")
}

/// Drops a bucket if it exists.
pub(crate) fn drop_bucket(client: &mut Client, name: &str) -> Result<(), LoadError> {
    client.call_allowing(&json!({"type": "store.dropBucket", "name": name}), "BUCKET_NOT_DEFINED")
}

/// Defines a query, replacing an earlier one of that name.
pub(crate) fn define_query(client: &mut Client, name: &str, config: &Value) -> Result<(), LoadError> {
    client.call_allowing(&json!({"type": "store.undefineQuery", "name": name}), "QUERY_NOT_DEFINED")?;
    client.call(&json!({"type": "store.defineQuery", "name": name, "config": config})).map(|_| ())
}

/// Inserts the records `0..count` made by `record`, several in flight; existing ones are left as they are.
pub(crate) fn insert_all(
    client: &mut Client,
    bucket: &str,
    count: u64,
    record: impl Fn(u64) -> Value,
) -> Result<(), LoadError> {
    let mut next = 0;
    while next < count {
        let last = (next + INSERT_WINDOW).min(count);
        let ids: Vec<u64> = (next..last)
            .map(|i| client.queue(&json!({"type": "store.insert", "bucket": bucket, "data": record(i)})))
            .collect();
        for id in ids {
            match client.answer(id)? {
                Ok(_) => {}
                Err(refusal) if refusal.code == "ALREADY_EXISTS" => {}
                Err(refusal) => {
                    return Err(LoadError::Protocol(format!(
                        "insert refused: {} {}",
                        refusal.code, refusal.message
                    )));
                }
            }
        }
        next = last;
    }
    Ok(())
}

/// Subscribes and returns the initial result.
pub(crate) fn subscribe(client: &mut Client, query: &str, params: &Value) -> Result<Value, LoadError> {
    let mut answer = client.call(&json!({"type": "store.subscribe", "query": query, "params": params}))?;
    if answer.get("subscriptionId").and_then(Value::as_str).is_none() {
        return Err(LoadError::Protocol(format!("subscribe without subscriptionId: {answer}")));
    }
    answer
        .get_mut("data")
        .map(Value::take)
        .ok_or_else(|| LoadError::Protocol("subscribe without data".to_owned()))
}
