//! What a commit changed: the one list that views consume and that a journal or an event bus can follow.

#[cfg(test)]
mod tests;

use crate::key::Scalar;
use crate::record::Record;
use crate::table::BucketId;
use noex_json::{CompactString, Value};
use std::collections::{BTreeMap, btree_map::Entry};
use std::sync::Arc;

/// One numbered commit with its changes in order.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Number; grows by one with each commit.
    pub lsn: u64,
    /// Time of the commit in ms.
    pub time_ms: u64,
    /// Changes. Of a transaction: net effects, buckets in order of first use, within a bucket inserts, updates,
    /// deletes; only a deletion that frees the key of an insertion comes directly before it. Of everything else: in
    /// the order of their causes, dependents before the record they depended on.
    pub changes: Vec<Change>,
}

/// Effect of a commit on one record. `seq` is its place in base order: unique per bucket, and kept for life.
#[derive(Clone, Debug)]
pub enum Change {
    /// A record was inserted.
    Inserted {
        /// Bucket.
        bucket: CompactString,
        /// Place.
        seq: u64,
        /// The record.
        record: Arc<Record>,
        /// The record with the same key that it replaced, where that is configured.
        replaced: Option<Arc<Record>>,
    },
    /// A record was updated.
    Updated {
        /// Bucket.
        bucket: CompactString,
        /// Place.
        seq: u64,
        /// Version before.
        old: Arc<Record>,
        /// Version after.
        new: Arc<Record>,
    },
    /// A record was deleted.
    Deleted {
        /// Bucket.
        bucket: CompactString,
        /// Place.
        seq: u64,
        /// The record as it was.
        record: Arc<Record>,
    },
}

impl Change {
    /// Names the bucket.
    #[must_use]
    pub fn bucket(&self) -> &CompactString {
        match self {
            Self::Inserted { bucket, .. } | Self::Updated { bucket, .. } | Self::Deleted { bucket, .. } => {
                bucket
            }
        }
    }

    /// Gives the place of the record in base order.
    #[must_use]
    pub fn seq(&self) -> u64 {
        match self {
            Self::Inserted { seq, .. } | Self::Updated { seq, .. } | Self::Deleted { seq, .. } => *seq,
        }
    }

    /// Gives the key of the record.
    #[must_use]
    pub fn key(&self) -> &Value {
        match self {
            Self::Inserted { record, .. } | Self::Deleted { record, .. } => record.key(),
            Self::Updated { new, .. } => new.key(),
        }
    }

    /// Gives the record as it was before, if there was one.
    #[must_use]
    pub fn before(&self) -> Option<&Arc<Record>> {
        match self {
            Self::Inserted { replaced, .. } => replaced.as_ref(),
            Self::Updated { old, .. } => Some(old),
            Self::Deleted { record, .. } => Some(record),
        }
    }

    /// Gives the record as it is now, if there is one.
    #[must_use]
    pub fn after(&self) -> Option<&Arc<Record>> {
        match self {
            Self::Inserted { record, .. } => Some(record),
            Self::Updated { new, .. } => Some(new),
            Self::Deleted { .. } => None,
        }
    }
}

/// One step that a transaction has taken; undone by putting `old` back.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) bucket: BucketId,
    pub(crate) seq: u64,
    pub(crate) old: Option<Arc<Record>>,
    pub(crate) new: Option<Arc<Record>>,
    /// Whether it is an insert, even if it replaced a record.
    pub(crate) insert: bool,
}

impl Step {
    /// Describes the step; `None` if it did nothing.
    pub(crate) fn into_change(self, bucket: CompactString) -> Option<Change> {
        let seq = self.seq;
        Some(match (self.old, self.new) {
            (None, None) => return None,
            (Some(record), None) => Change::Deleted { bucket, seq, record },
            (Some(old), Some(new)) if !self.insert => Change::Updated { bucket, seq, old, new },
            (replaced, Some(record)) => Change::Inserted { bucket, seq, record, replaced },
        })
    }
}

/// Reduces steps to their net effects, in the order of [`Commit::changes`] for transactions.
pub(crate) fn net(steps: Vec<Step>) -> Vec<Step> {
    let mut order: Vec<BucketId> = Vec::new();
    let mut merged: BTreeMap<(BucketId, u64), Step> = BTreeMap::new();
    for step in steps {
        if !order.contains(&step.bucket) {
            order.push(step.bucket);
        }
        match merged.entry((step.bucket, step.seq)) {
            Entry::Vacant(entry) => {
                entry.insert(step);
            }
            Entry::Occupied(mut entry) => entry.get_mut().new = step.new,
        }
    }
    let mut buckets: BTreeMap<BucketId, Vec<Step>> = BTreeMap::new();
    for ((bucket, _), step) in merged {
        if step.old.is_some() || step.new.is_some() {
            buckets.entry(bucket).or_default().push(step);
        }
    }
    order.iter().filter_map(|bucket| buckets.remove(bucket)).flat_map(arrange).collect()
}

/// Puts the net steps of one bucket in order: inserts, each behind the deletion that freed its key, updates, deletes.
fn arrange(steps: Vec<Step>) -> Vec<Step> {
    let (mut inserts, mut updates, mut deletes) = (Vec::new(), Vec::new(), Vec::new());
    for step in steps {
        match (&step.old, &step.new) {
            (None, _) => inserts.push(step),
            (Some(_), Some(_)) => updates.push(step),
            (Some(_), None) => deletes.push(step),
        }
    }
    let mut freed: BTreeMap<Scalar, usize> = BTreeMap::new();
    for (at, step) in deletes.iter().enumerate() {
        if let Some(key) = step.old.as_ref().and_then(|record| Scalar::new(record.key())) {
            freed.insert(key, at);
        }
    }
    let mut deletes: Vec<Option<Step>> = deletes.into_iter().map(Some).collect();
    let mut arranged = Vec::with_capacity(inserts.len() + updates.len() + deletes.len());
    for step in inserts {
        let key = step.new.as_ref().and_then(|record| Scalar::new(record.key()));
        let deletion =
            key.and_then(|key| freed.get(&key)).and_then(|at| deletes.get_mut(*at)).and_then(Option::take);
        arranged.extend(deletion);
        arranged.push(step);
    }
    arranged.append(&mut updates);
    arranged.extend(deletes.into_iter().flatten());
    arranged
}
