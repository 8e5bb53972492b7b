//! What can go wrong, as types; `Display` gives the exact text that clients see.
//!
//! The wire code of an error is the server's business; the details that may accompany it are made here.
//! Source: the store specification, sections 3, 5, 10, 11, 15 and 21; the protocol description, A.2 and A.3.

use noex_json::{Object, Value, text_form};
use std::fmt;

#[cfg(test)]
mod tests;

/// One violation of a schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Issue {
    /// Path of the offending member, such as `a.b` or `tags[0]`.
    pub field: String,
    /// Text for people.
    pub message: String,
    /// Kind: `required`, `type`, `enum`, `minLength`, `maxLength`, `pattern`, `format`, `min`, `max`.
    pub code: &'static str,
}

/// Why a transaction cannot be committed.
#[derive(Clone, Debug, PartialEq)]
pub enum ConflictReason {
    /// An inserted key exists.
    AlreadyExists,
    /// An updated record has gone.
    NotFound,
    /// A record has another version than the one that was read.
    VersionMismatch {
        /// Version that the transaction saw.
        expected: u64,
        /// Version that is stored.
        actual: u64,
    },
}

/// Why an operation was refused. A refused operation has changed nothing, except that a single insert uses up a
/// number of the bucket's counter.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum StoreError {
    /// A record violates its schema.
    Validation {
        /// Bucket of the record.
        bucket: String,
        /// All violations, in schema order.
        issues: Vec<Issue>,
    },
    /// A unique field has a value that another record has.
    Unique {
        /// Bucket.
        bucket: String,
        /// Field.
        field: String,
        /// The value.
        value: Value,
    },
    /// An insert found its key in use.
    DuplicateKey {
        /// Bucket.
        bucket: String,
        /// Name of the key field.
        field: String,
        /// The key.
        key: Value,
    },
    /// A bulk insert names a key twice.
    DuplicateInBatch {
        /// Bucket.
        bucket: String,
        /// The key.
        key: Value,
    },
    /// A record to update does not exist.
    RecordNotFound {
        /// Bucket.
        bucket: String,
        /// The key.
        key: Value,
    },
    /// A bucket does not exist.
    BucketNotDefined {
        /// Name as given.
        bucket: String,
    },
    /// A bucket to drop or describe does not exist (administration has a text of its own).
    BucketDoesNotExist {
        /// Name as given.
        bucket: String,
    },
    /// A bucket to define exists.
    BucketExists {
        /// Name.
        bucket: String,
    },
    /// A query does not exist.
    QueryNotDefined {
        /// Name as given.
        query: String,
    },
    /// A query to define exists.
    QueryExists {
        /// Name.
        query: String,
    },
    /// A transaction cannot be committed.
    Conflict {
        /// Bucket.
        bucket: String,
        /// Key of the record.
        key: Value,
        /// What is in the way.
        reason: ConflictReason,
    },
    /// A reference names a record that does not exist.
    ReferenceMissing {
        /// Bucket of the referring record.
        source_bucket: String,
        /// Its field.
        source_field: String,
        /// Bucket referred to.
        target_bucket: String,
        /// Key referred to.
        target_key: Value,
    },
    /// A record cannot be deleted, because another one refers to it.
    ReferenceRestricted {
        /// Bucket of the referring record.
        source_bucket: String,
        /// Key of the referring record.
        source_key: Value,
        /// Its field.
        source_field: String,
        /// Bucket of the record to delete.
        target_bucket: String,
        /// Its key.
        target_key: Value,
    },
    /// A bucket definition or update is wrong; the text is the complete message.
    InvalidDefinition(String),
    /// A filter is wrong; the text says what, and `Display` puts `Invalid filter: ` before it.
    InvalidFilter(String),
    /// A query definition is wrong.
    InvalidQuery {
        /// Name of the query.
        query: String,
        /// What is wrong: `<key> must be <type>`.
        problem: String,
    },
    /// A configured maximum is reached.
    LimitReached {
        /// The maximum.
        max: usize,
        /// Of what: `buckets`, `queries`.
        kind: &'static str,
    },
    /// A bucket of an earlier run was defined in a way that its stored records do not allow.
    DataDoesNotFit {
        /// Bucket.
        bucket: String,
        /// Key of the first record that does not fit.
        key: Value,
        /// What is wrong with it.
        problem: String,
    },
}

impl Issue {
    /// Gives the issue as clients see it: `{"field","message","code"}`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        object([
            ("field", self.field.as_str().into()),
            ("message", self.message.as_str().into()),
            ("code", self.code.into()),
        ])
    }
}

impl StoreError {
    /// Gives the `details` that a response may carry: the issues of a failed validation, or the place and value of a
    /// collision.
    #[must_use]
    pub fn details(&self) -> Option<Value> {
        match self {
            Self::Validation { issues, .. } => {
                Some(Value::Array(issues.iter().map(Issue::to_value).collect()))
            }
            Self::Unique { bucket, field, value } | Self::DuplicateKey { bucket, field, key: value } => {
                Some(object([
                    ("bucket", bucket.as_str().into()),
                    ("field", field.as_str().into()),
                    ("value", value.clone()),
                ]))
            }
            Self::Conflict { bucket, key, .. } => {
                Some(object([("bucket", bucket.as_str().into()), ("key", key.clone())]))
            }
            Self::DuplicateInBatch { .. }
            | Self::RecordNotFound { .. }
            | Self::BucketNotDefined { .. }
            | Self::BucketDoesNotExist { .. }
            | Self::BucketExists { .. }
            | Self::QueryNotDefined { .. }
            | Self::QueryExists { .. }
            | Self::ReferenceMissing { .. }
            | Self::ReferenceRestricted { .. }
            | Self::InvalidDefinition(_)
            | Self::InvalidFilter(_)
            | Self::InvalidQuery { .. }
            | Self::LimitReached { .. }
            | Self::DataDoesNotFit { .. } => None,
        }
    }
}

impl std::error::Error for StoreError {}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Validation { bucket, issues } => write_issues(f, bucket, issues),
            Self::Unique { bucket, field, value } => write!(
                f,
                "Unique constraint violation in bucket \"{bucket}\": field \"{field}\" already has value \"{}\"",
                text(value)
            ),
            Self::DuplicateKey { bucket, key, .. } => {
                write!(f, "Record with key \"{}\" already exists in bucket \"{bucket}\"", text(key))
            }
            Self::DuplicateInBatch { bucket, key } => {
                write!(f, "Duplicate key \"{}\" in batch for bucket \"{bucket}\"", text(key))
            }
            Self::RecordNotFound { bucket, key } => {
                write!(f, "Record with key \"{}\" not found in bucket \"{bucket}\"", text(key))
            }
            Self::BucketNotDefined { bucket } => write!(f, "Bucket \"{bucket}\" is not defined"),
            Self::BucketDoesNotExist { bucket } => write!(f, "Bucket \"{bucket}\" does not exist"),
            Self::BucketExists { bucket } => write!(f, "Bucket \"{bucket}\" already exists"),
            Self::QueryNotDefined { query } => write!(f, "Query \"{query}\" is not defined"),
            Self::QueryExists { query } => write!(f, "Query \"{query}\" is already defined"),
            Self::Conflict { bucket, key, reason } => write_conflict(f, bucket, &text(key), reason),
            Self::ReferenceMissing { source_bucket, source_field, target_bucket, target_key } => write!(
                f,
                "Foreign key violation in bucket \"{source_bucket}\": field \"{source_field}\" references bucket \
                 \"{target_bucket}\" with key \"{}\", but no such record exists",
                text(target_key)
            ),
            Self::ReferenceRestricted {
                source_bucket,
                source_key,
                source_field,
                target_bucket,
                target_key,
            } => write!(
                f,
                "Cannot delete from bucket \"{target_bucket}\" (key \"{}\"): referenced by bucket \
                 \"{source_bucket}\" (key \"{}\") via field \"{source_field}\"",
                text(target_key),
                text(source_key)
            ),
            Self::InvalidDefinition(text) => f.write_str(text),
            Self::InvalidFilter(what) => write!(f, "Invalid filter: {what}"),
            Self::InvalidQuery { query, problem } => write!(f, "Invalid query \"{query}\": {problem}"),
            Self::LimitReached { max, kind } => write!(f, "Limit reached: at most {max} {kind}"),
            Self::DataDoesNotFit { bucket, key, problem } => write!(
                f,
                "Stored data of bucket \"{bucket}\" does not fit: record with key \"{}\": {problem}",
                text(key)
            ),
        }
    }
}

fn write_issues(f: &mut fmt::Formatter<'_>, bucket: &str, issues: &[Issue]) -> fmt::Result {
    write!(f, "Validation failed for bucket \"{bucket}\": ")?;
    for (i, issue) in issues.iter().enumerate() {
        let separator = if i > 0 { "; " } else { "" };
        write!(f, "{separator}{}: {}", issue.field, issue.message)?;
    }
    Ok(())
}

fn write_conflict(
    f: &mut fmt::Formatter<'_>,
    bucket: &str,
    key: &str,
    reason: &ConflictReason,
) -> fmt::Result {
    write!(f, "Transaction conflict in bucket \"{bucket}\" for key \"{key}\": ")?;
    match reason {
        ConflictReason::AlreadyExists => write!(f, "Record with key \"{key}\" already exists"),
        ConflictReason::NotFound => write!(f, "Record with key \"{key}\" not found"),
        ConflictReason::VersionMismatch { expected, actual } => {
            write!(f, "Version mismatch: expected {expected}, got {actual}")
        }
    }
}

fn text(value: &Value) -> String {
    text_form(Some(value))
}

fn object<const N: usize>(members: [(&'static str, Value); N]) -> Value {
    let mut object = Object::new();
    for (name, value) in members {
        object.set(name, value);
    }
    object.into()
}
