//! Records, groups and a journal that is waited for.

use noex_json::{Object, Value};
use noex_sqlite::{Durability, Options, SqliteImage, SqliteJournal, open};
use noex_store::{Image, Journal, JournalEntry, JournalError, Random, Record, Store, StoreOptions};
use std::path::Path;
use std::sync::{Arc, mpsc};

struct Zeros;

impl Random for Zeros {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

/// Makes records, which only a store can.
pub(crate) struct Maker(Store);

impl Maker {
    pub(crate) fn new() -> Self {
        let mut store = Store::new(StoreOptions::default(), Box::new(Zeros));
        let Ok(Value::Object(definition)) =
            noex_json::parse(r#"{"key":"id","schema":{"id":{"type":"number"}}}"#, 10)
        else {
            panic!("not an object")
        };
        store.define_bucket(0, "b", &definition).expect("defined");
        Self(store)
    }

    pub(crate) fn record(&mut self, id: u64, text: &str) -> Arc<Record> {
        let members = [("id".into(), Value::from(id as f64)), ("text".into(), Value::from(text))];
        let data: Object = members.into_iter().collect();
        let record = self.0.insert(0, "b", data).expect("inserted");
        self.0.clear(0, "b").expect("cleared");
        record
    }
}

/// Waits for the outcome of a group.
pub(crate) fn submit(journal: &dyn Journal, group: Vec<Vec<JournalEntry>>) -> Result<(), JournalError> {
    let (tell, told) = mpsc::channel();
    journal.submit(group, Box::new(move |outcome| tell.send(outcome).expect("waited for")));
    told.recv().expect("an outcome")
}

pub(crate) fn opened(path: &Path) -> (SqliteJournal, SqliteImage) {
    open(path, &Options::default()).expect("opened")
}

pub(crate) fn with(durability: Durability) -> Options {
    Options { durability, ..Options::default() }
}

pub(crate) fn define(bucket: u64, name: &str) -> JournalEntry {
    JournalEntry::BucketDefined { bucket, name: name.into(), definition: "{}".into() }
}

pub(crate) fn put(bucket: u64, seq: u64, record: &Arc<Record>) -> JournalEntry {
    JournalEntry::RecordPut { bucket, seq, record: Arc::clone(record) }
}

/// Reads the records of a bucket.
pub(crate) fn records(image: &mut SqliteImage, bucket: u64) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    let each = &mut |seq, json: &str| {
        all.push((seq, json.to_owned()));
        Ok(())
    };
    image.records(bucket, each).expect("read");
    all
}

/// Reads what was kept under the names of one kind.
pub(crate) fn kept(image: &mut SqliteImage, space: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let each = &mut |key: &str, value: &str| {
        all.push((key.to_owned(), value.to_owned()));
        Ok(())
    };
    image.kept(space, each).expect("read");
    all
}

/// Scrambles a number. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
pub(crate) fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Makes a folder in memory if the system has that: where no power fails, syncs only take time.
pub(crate) fn quick_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("folder")
}
