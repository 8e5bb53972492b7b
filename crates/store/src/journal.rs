//! What is kept of the store so that it can be rebuilt, and the seam to whatever keeps it.

use crate::record::Record;
use noex_json::CompactString;
use std::fmt;
use std::sync::Arc;

/// One thing that has happened. A commit is a list of entries that must be kept whole or not at all; applying all
/// entries in order to an empty image gives the state.
#[derive(Clone, Debug)]
pub enum JournalEntry {
    /// A bucket was defined, or its definition was replaced: an entry with the same id keeps the records.
    BucketDefined {
        /// Id of this life of the bucket; never used twice.
        bucket: u64,
        /// Name.
        name: CompactString,
        /// Definition as JSON text.
        definition: Arc<str>,
    },
    /// A bucket was dropped with all its records.
    BucketDropped {
        /// The bucket.
        bucket: u64,
    },
    /// A query was defined, or its definition was replaced.
    QueryDefined {
        /// Name.
        name: CompactString,
        /// Definition as JSON text.
        definition: Arc<str>,
    },
    /// A query was removed.
    QueryUndefined {
        /// Name.
        name: CompactString,
    },
    /// A record was inserted or has a new version.
    RecordPut {
        /// Bucket.
        bucket: u64,
        /// Place in base order; kept for life.
        seq: u64,
        /// The record; its JSON text is what is kept.
        record: Arc<Record>,
    },
    /// A record was deleted.
    RecordDeleted {
        /// Bucket.
        bucket: u64,
        /// Its place.
        seq: u64,
    },
    /// All records of a bucket were deleted.
    BucketCleared {
        /// Bucket.
        bucket: u64,
    },
    /// Where a bucket goes on counting.
    Counters {
        /// Bucket.
        bucket: u64,
        /// Last number given out.
        counter: u64,
        /// Place of the next new record.
        next_seq: u64,
    },
    /// Anything else that is kept under a name: facts, rules, timers, procedures.
    Kept {
        /// Kind, such as `fact`.
        space: &'static str,
        /// Name, unique within its kind.
        key: Arc<str>,
        /// JSON text; `None` = no longer kept.
        value: Option<Arc<str>>,
    },
}

/// Why entries could not be kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JournalError(pub String);

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for JournalError {}

/// Receives the outcome of a group.
pub type JournalDone = Box<dyn FnOnce(Result<(), JournalError>) + Send>;

/// Keeps entries.
pub trait Journal: Send + Sync {
    /// Keeps the commits of a group, all or none, and then says so from any thread. Does not block. Groups are given
    /// one at a time: the next one after the outcome of the last.
    fn submit(&self, group: Vec<Vec<JournalEntry>>, done: JournalDone);
}

/// A bucket as it was kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredBucket {
    /// Id.
    pub id: u64,
    /// Name.
    pub name: String,
    /// Definition as JSON text. `{}` stands for one that is not known, as of a bucket that was imported without: it
    /// sleeps until somebody defines it, whatever the definition, and is not revived by itself.
    pub definition: String,
    /// Last number given out.
    pub counter: u64,
    /// Place of the next new record.
    pub next_seq: u64,
}

/// Reads what was kept.
pub trait Image {
    /// Lists the buckets by id.
    ///
    /// # Errors
    /// If it cannot be read; nothing must be started then.
    fn buckets(&mut self) -> Result<Vec<StoredBucket>, JournalError>;

    /// Lists the queries, name and definition, in the order of their definition.
    ///
    /// # Errors
    /// As above.
    fn queries(&mut self) -> Result<Vec<(String, String)>, JournalError>;

    /// Gives the records of a bucket in base order: place and JSON text. An error of the receiver ends it.
    ///
    /// # Errors
    /// As above, or the receiver's.
    fn records(
        &mut self,
        bucket: u64,
        each: &mut dyn FnMut(u64, &str) -> Result<(), JournalError>,
    ) -> Result<(), JournalError>;

    /// Gives what was kept under names of one kind, in the order in which it first came.
    ///
    /// # Errors
    /// As above, or the receiver's.
    fn kept(
        &mut self,
        space: &str,
        each: &mut dyn FnMut(&str, &str) -> Result<(), JournalError>,
    ) -> Result<(), JournalError>;
}
