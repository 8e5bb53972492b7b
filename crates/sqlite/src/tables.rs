//! Filling the tables of a new database.

use crate::data::DataError;
use rusqlite::{Connection, Statement, params};
use std::path::{Path, PathBuf};

/// The tables of a draft, filled in one transaction.
#[derive(Debug)]
pub(crate) struct Tables<'c> {
    path: PathBuf,
    connection: &'c Connection,
    bucket: Statement<'c>,
    counters: Statement<'c>,
    record: Statement<'c>,
    query: Statement<'c>,
    keep: Statement<'c>,
}

impl<'c> Tables<'c> {
    pub(crate) fn new(connection: &'c Connection, path: &Path) -> Result<Self, DataError> {
        let prepare = |sql| connection.prepare(sql).map_err(DataError::sqlite(path));
        connection.execute_batch("BEGIN").map_err(DataError::sqlite(path))?;
        Ok(Self {
            path: path.to_owned(),
            connection,
            bucket: prepare(
                "INSERT INTO buckets (name, definition, counter, next_seq) VALUES (?1, ?2, ?3, 0)",
            )?,
            counters: prepare("UPDATE buckets SET counter = ?2, next_seq = ?3 WHERE id = ?1")?,
            record: prepare("INSERT INTO records (bucket, seq, json) VALUES (?1, ?2, ?3)")?,
            query: prepare("INSERT INTO queries (name, definition) VALUES (?1, ?2)")?,
            keep: prepare("INSERT INTO kept (space, key, value) VALUES (?1, ?2, ?3)")?,
        })
    }

    /// Adds a bucket and gives its id.
    pub(crate) fn bucket(&mut self, name: &str, definition: &str, counter: u64) -> Result<i64, DataError> {
        if name.is_empty() {
            return Err(DataError::content(&self.path, "the name of a bucket must not be empty"));
        }
        let added = self.bucket.insert(params![name, definition, counter.cast_signed()]);
        added.map_err(|error| self.taken("bucket", name, error))
    }

    pub(crate) fn record(&mut self, bucket: i64, seq: u64, json: &str) -> Result<(), DataError> {
        let added = self.record.execute(params![bucket, seq.cast_signed(), json]);
        added.map(drop).map_err(DataError::sqlite(&self.path))
    }

    pub(crate) fn counters(&mut self, bucket: i64, counter: u64, next_seq: u64) -> Result<(), DataError> {
        let changed = self.counters.execute([bucket, counter.cast_signed(), next_seq.cast_signed()]);
        changed.map(drop).map_err(DataError::sqlite(&self.path))
    }

    pub(crate) fn query(&mut self, name: &str, definition: &str) -> Result<(), DataError> {
        let added = self.query.execute([name, definition]);
        added.map(drop).map_err(|error| self.taken("query", name, error))
    }

    pub(crate) fn keep(&mut self, space: &str, key: &str, value: &str) -> Result<(), DataError> {
        let added = self.keep.execute([space, key, value]);
        added.map(drop).map_err(|error| self.taken(space, key, error))
    }

    /// Ends the transaction.
    pub(crate) fn finish(self) -> Result<(), DataError> {
        self.connection.execute_batch("COMMIT").map_err(DataError::sqlite(&self.path))
    }

    fn taken(&self, kind: &str, name: &str, error: rusqlite::Error) -> DataError {
        if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) {
            return DataError::content(&self.path, format!("{kind} \"{name}\" occurs twice"));
        }
        DataError::sqlite(&self.path)(error)
    }
}
