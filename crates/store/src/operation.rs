//! What a transaction is made of, and what it gives.

use crate::record::{Record, write_records};
use noex_json::{CompactString, Object, Value, write_number};
use std::sync::Arc;

/// One operation of a transaction.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Reads a record.
    Get {
        /// Bucket.
        bucket: CompactString,
        /// Key.
        key: Value,
    },
    /// Inserts a record.
    Insert {
        /// Bucket.
        bucket: CompactString,
        /// Members.
        data: Object,
    },
    /// Updates a record.
    Update {
        /// Bucket.
        bucket: CompactString,
        /// Key.
        key: Value,
        /// Members to replace or add.
        changes: Object,
    },
    /// Deletes a record.
    Delete {
        /// Bucket.
        bucket: CompactString,
        /// Key.
        key: Value,
    },
    /// Lists matching records.
    Where {
        /// Bucket.
        bucket: CompactString,
        /// Filter.
        filter: Object,
    },
    /// Finds the first matching record.
    FindOne {
        /// Bucket.
        bucket: CompactString,
        /// Filter.
        filter: Object,
    },
    /// Counts (matching) records.
    Count {
        /// Bucket.
        bucket: CompactString,
        /// Filter.
        filter: Option<Object>,
    },
}

impl Operation {
    pub(crate) fn bucket(&self) -> &CompactString {
        match self {
            Self::Get { bucket, .. }
            | Self::Insert { bucket, .. }
            | Self::Update { bucket, .. }
            | Self::Delete { bucket, .. }
            | Self::Where { bucket, .. }
            | Self::FindOne { bucket, .. }
            | Self::Count { bucket, .. } => bucket,
        }
    }
}

/// Result of one operation of a transaction.
#[derive(Clone, Debug)]
pub enum OperationResult {
    /// Of a get, insert, update, find-one: the record, or none.
    Record(Option<Arc<Record>>),
    /// Of a delete.
    Deleted,
    /// Of a where.
    Records(Vec<Arc<Record>>),
    /// Of a count.
    Number(f64),
}

impl OperationResult {
    /// Appends the result as the JSON text that clients see.
    pub fn write_json(&self, out: &mut String) {
        match self {
            Self::Record(Some(record)) => out.push_str(record.json()),
            Self::Record(None) => out.push_str("null"),
            Self::Deleted => out.push_str("{\"deleted\":true}"),
            Self::Records(records) => write_records(out, records),
            Self::Number(number) => write_number(out, *number),
        }
    }
}
