//! An image in memory: what entries amount to, for tests and simulations of whatever keeps them.

use crate::journal::{Image, JournalEntry, JournalError, StoredBucket};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug, Eq, PartialEq)]
struct Bucket {
    name: String,
    definition: Arc<str>,
    counter: u64,
    next_seq: u64,
    records: BTreeMap<u64, Arc<str>>,
}

/// State that results from applying entries in order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MemoryImage {
    buckets: BTreeMap<u64, Bucket>,
    queries: Vec<(String, Arc<str>)>,
    /// By kind; in the order in which they first came.
    kept: BTreeMap<String, Named>,
}

/// Names and texts in the order in which the names first came.
type Named = Vec<(Arc<str>, Arc<str>)>;

impl MemoryImage {
    /// Applies commits in order.
    ///
    /// # Errors
    /// If an entry makes no sense after what came before, such as a record of a bucket that does not exist.
    pub fn apply(&mut self, group: &[Vec<JournalEntry>]) -> Result<(), JournalError> {
        group.iter().flatten().try_for_each(|entry| self.apply_one(entry))
    }

    fn bucket(&mut self, id: u64) -> Result<&mut Bucket, JournalError> {
        self.buckets.get_mut(&id).ok_or_else(|| JournalError(format!("there is no bucket {id}")))
    }

    fn apply_one(&mut self, entry: &JournalEntry) -> Result<(), JournalError> {
        match entry {
            JournalEntry::BucketDefined { bucket, name, definition } => {
                if self.buckets.iter().any(|(id, other)| id != bucket && other.name == name.as_str()) {
                    return Err(JournalError(format!("there are two buckets \"{name}\"")));
                }
                let defined = self.buckets.entry(*bucket).or_insert_with(|| Bucket {
                    name: name.to_string(),
                    definition: Arc::clone(definition),
                    counter: 0,
                    next_seq: 0,
                    records: BTreeMap::new(),
                });
                defined.definition = Arc::clone(definition);
            }
            JournalEntry::BucketDropped { bucket } => {
                self.bucket(*bucket)?;
                self.buckets.remove(bucket);
            }
            JournalEntry::QueryDefined { name, definition } => {
                match self.queries.iter_mut().find(|(known, _)| known == name.as_str()) {
                    Some((_, known)) => *known = Arc::clone(definition),
                    None => self.queries.push((name.to_string(), Arc::clone(definition))),
                }
            }
            JournalEntry::QueryUndefined { name } => self.queries.retain(|(known, _)| known != name.as_str()),
            JournalEntry::RecordPut { bucket, seq, record } => {
                self.bucket(*bucket)?.records.insert(*seq, record.kept_json().into());
            }
            JournalEntry::RecordDeleted { bucket, seq } => {
                let known = self.bucket(*bucket)?.records.remove(seq);
                known.ok_or_else(|| JournalError(format!("there is no record {seq} in bucket {bucket}")))?;
            }
            JournalEntry::BucketCleared { bucket } => self.bucket(*bucket)?.records.clear(),
            JournalEntry::Counters { bucket, counter, next_seq } => {
                let bucket = self.bucket(*bucket)?;
                (bucket.counter, bucket.next_seq) = (*counter, *next_seq);
            }
            JournalEntry::Kept { space, key, value } => {
                let kept = self.kept.entry((*space).to_owned()).or_default();
                let known = kept.iter().position(|(known, _)| known == key);
                match (known.and_then(|at| kept.get_mut(at)), value) {
                    (Some((_, held)), Some(value)) => *held = Arc::clone(value),
                    (None, Some(value)) => kept.push((Arc::clone(key), Arc::clone(value))),
                    (_, None) => kept.retain(|(known, _)| known != key),
                }
            }
        }
        Ok(())
    }
}

impl Image for MemoryImage {
    fn buckets(&mut self) -> Result<Vec<StoredBucket>, JournalError> {
        let stored = |(id, bucket): (&u64, &Bucket)| StoredBucket {
            id: *id,
            name: bucket.name.clone(),
            definition: bucket.definition.to_string(),
            counter: bucket.counter,
            next_seq: bucket.next_seq,
        };
        Ok(self.buckets.iter().map(stored).collect())
    }

    fn queries(&mut self) -> Result<Vec<(String, String)>, JournalError> {
        Ok(self.queries.iter().map(|(name, text)| (name.clone(), text.to_string())).collect())
    }

    fn records(
        &mut self,
        bucket: u64,
        each: &mut dyn FnMut(u64, &str) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        self.bucket(bucket)?.records.iter().try_for_each(|(seq, text)| each(*seq, text))
    }

    fn kept(
        &mut self,
        space: &str,
        each: &mut dyn FnMut(&str, &str) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        self.kept.get(space).into_iter().flatten().try_for_each(|(key, text)| each(key, text))
    }
}
