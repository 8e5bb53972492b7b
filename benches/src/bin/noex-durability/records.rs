//! Records of about 200 bytes, as the store makes them.

use noex_bench::error::LoadError;
use noex_json::{Object, Value};
use noex_store::{Random, Record, Store, StoreOptions};
use std::fmt::Display;
use std::sync::Arc;

/// Nothing here is generated.
struct Zeros;

impl Random for Zeros {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

/// Makes `count` records that hold `letter`.
pub(crate) fn records(count: usize, letter: &str) -> Result<Vec<Arc<Record>>, LoadError> {
    let failed = |error: &dyn Display| LoadError::Check(format!("cannot make records: {error}"));
    let mut store = Store::new(StoreOptions::default(), Box::new(Zeros));
    let definition: Object = [
        ("key".into(), Value::from("id")),
        (
            "schema".into(),
            Value::from(object([("id", Value::from(object([("type", Value::from("number"))])))])),
        ),
    ]
    .into_iter()
    .collect();
    store.define_bucket(0, "b", &definition).map_err(|error| failed(&error))?;
    let text = letter.repeat(110);
    let record = |n: usize| {
        let data = object([("id", Value::from(n as f64)), ("text", Value::from(text.as_str()))]);
        let record = store.insert(1_700_000_000_000, "b", data).map_err(|error| failed(&error))?;
        // The text is made once for replies too, so it is no part of what the journal costs.
        let _ = record.json();
        Ok(record)
    };
    (0..count).map(record).collect()
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Object {
    members.into_iter().map(|(name, value)| (name.into(), value)).collect()
}

/// Numbers that look random. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
#[derive(Debug)]
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// Gives a number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}
