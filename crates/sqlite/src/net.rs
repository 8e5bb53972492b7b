//! The effect of a group of commits on the tables.
//!
//! A group is kept whole or not at all, so only the last version of a record in it has to be written, and the records
//! can be written in the order in which the table holds them. What concerns a whole bucket parts the group: nothing is
//! moved across it.

use noex_store::{JournalEntry, Record};
use rusqlite::{Connection, Statement, params};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything that a group can do to the tables, prepared.
#[derive(Debug)]
pub(crate) struct Statements<'c> {
    define_bucket: Statement<'c>,
    drop_bucket: Statement<'c>,
    clear: Statement<'c>,
    counters: Statement<'c>,
    define_query: Statement<'c>,
    undefine_query: Statement<'c>,
    put: Statement<'c>,
    delete: Statement<'c>,
    keep: Statement<'c>,
    forget: Statement<'c>,
}

impl<'c> Statements<'c> {
    pub(crate) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        let prepare = |sql| connection.prepare(sql);
        Ok(Self {
            define_bucket: prepare(
                "INSERT INTO buckets (id, name, definition, counter, next_seq) VALUES (?1, ?2, ?3, 0, 0)
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name, definition = excluded.definition",
            )?,
            drop_bucket: prepare("DELETE FROM buckets WHERE id = ?1")?,
            clear: prepare("DELETE FROM records WHERE bucket = ?1")?,
            counters: prepare("UPDATE buckets SET counter = ?2, next_seq = ?3 WHERE id = ?1")?,
            define_query: prepare(
                "INSERT INTO queries (name, definition) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET definition = excluded.definition",
            )?,
            undefine_query: prepare("DELETE FROM queries WHERE name = ?1")?,
            put: prepare(
                "INSERT INTO records (bucket, seq, json) VALUES (?1, ?2, ?3)
                 ON CONFLICT (bucket, seq) DO UPDATE SET json = excluded.json",
            )?,
            delete: prepare("DELETE FROM records WHERE bucket = ?1 AND seq = ?2")?,
            keep: prepare(
                "INSERT INTO kept (space, key, value) VALUES (?1, ?2, ?3)
                 ON CONFLICT (space, key) DO UPDATE SET value = excluded.value",
            )?,
            forget: prepare("DELETE FROM kept WHERE space = ?1 AND key = ?2")?,
        })
    }

    /// Applies a group inside the transaction that is open.
    ///
    /// # Errors
    /// SQLite's; the transaction must be rolled back then.
    pub(crate) fn apply(&mut self, group: &[Vec<JournalEntry>]) -> rusqlite::Result<()> {
        let mut pending = Pending::default();
        for entry in group.iter().flatten() {
            match entry {
                JournalEntry::RecordPut { bucket, seq, record } => {
                    pending.records.push((*bucket, *seq, Some(record)));
                }
                JournalEntry::RecordDeleted { bucket, seq } => pending.records.push((*bucket, *seq, None)),
                JournalEntry::Counters { bucket, counter, next_seq } => {
                    pending.counters.insert(*bucket, (*counter, *next_seq));
                }
                JournalEntry::BucketDefined { bucket, name, definition } => {
                    self.flush(&mut pending)?;
                    self.define_bucket.execute(params![integer(*bucket)?, name.as_str(), &**definition])?;
                }
                JournalEntry::BucketDropped { bucket } => {
                    self.flush(&mut pending)?;
                    self.clear.execute([integer(*bucket)?])?;
                    self.drop_bucket.execute([integer(*bucket)?])?;
                }
                JournalEntry::BucketCleared { bucket } => {
                    self.flush(&mut pending)?;
                    self.clear.execute([integer(*bucket)?])?;
                }
                JournalEntry::QueryDefined { name, definition } => {
                    self.define_query.execute([name.as_str(), definition])?;
                }
                JournalEntry::QueryUndefined { name } => {
                    self.undefine_query.execute([name.as_str()])?;
                }
                JournalEntry::Kept { space, key, value: Some(value) } => {
                    self.keep.execute([space, &**key, &**value])?;
                }
                JournalEntry::Kept { space, key, value: None } => {
                    self.forget.execute([space, &**key])?;
                }
            }
        }
        self.flush(&mut pending)
    }

    fn flush(&mut self, pending: &mut Pending<'_>) -> rusqlite::Result<()> {
        // Stable: the versions of one record stay in their order.
        pending.records.sort_by_key(|(bucket, seq, _)| (*bucket, *seq));
        let mut records = pending.records.drain(..).peekable();
        while let Some((bucket, seq, record)) = records.next() {
            if records.peek().is_some_and(|next| (next.0, next.1) == (bucket, seq)) {
                continue;
            }
            match record {
                Some(record) => {
                    self.put.execute(params![integer(bucket)?, integer(seq)?, &*record.kept_json()])?
                }
                None => self.delete.execute([integer(bucket)?, integer(seq)?])?,
            };
        }
        drop(records);
        while let Some((bucket, (counter, next_seq))) = pending.counters.pop_first() {
            let places = [integer(bucket)?, integer(counter)?, integer(next_seq)?];
            if self.counters.execute(places)? == 0 {
                // Counters of a bucket that is not there would be lost without a word.
                return Err(rusqlite::Error::StatementChangedRows(0));
            }
        }
        Ok(())
    }
}

/// What is still to be written of a group.
#[derive(Default)]
struct Pending<'g> {
    records: Vec<(u64, u64, Option<&'g Arc<Record>>)>,
    counters: BTreeMap<u64, (u64, u64)>,
}

/// Converts a number to SQLite's integers, which have a sign.
fn integer(number: u64) -> rusqlite::Result<i64> {
    i64::try_from(number).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
