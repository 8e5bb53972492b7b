//! The image: what was kept, read from the tables.

use crate::error::OpenError;
use crate::open::connect_reader;
use noex_store::{Image, JournalError, StoredBucket};
use rusqlite::{Connection, Row};
use std::path::Path;

/// Reads what was kept, through a connection that only reads. Records are streamed.
#[derive(Debug)]
pub struct SqliteImage {
    connection: Connection,
}

impl SqliteImage {
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        Ok(Self { connection: connect_reader(path)? })
    }

    /// Counts the records of all buckets, for a progress report.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub fn record_count(&self) -> Result<u64, JournalError> {
        let count = self.connection.query_row("SELECT count(*) FROM records", [], |row| row.get(0));
        count.and_then(number).map_err(told("records"))
    }
}

impl Image for SqliteImage {
    fn buckets(&mut self) -> Result<Vec<StoredBucket>, JournalError> {
        let sql = "SELECT id, name, definition, counter, next_seq FROM buckets ORDER BY id";
        let mut statement = self.connection.prepare(sql).map_err(told("buckets"))?;
        let rows = statement.query_map([], |row| {
            Ok(StoredBucket {
                id: number(row.get(0)?)?,
                name: row.get(1)?,
                definition: row.get(2)?,
                counter: number(row.get(3)?)?,
                next_seq: number(row.get(4)?)?,
            })
        });
        rows.and_then(Iterator::collect).map_err(told("buckets"))
    }

    fn queries(&mut self) -> Result<Vec<(String, String)>, JournalError> {
        let sql = "SELECT name, definition FROM queries ORDER BY ord";
        let mut statement = self.connection.prepare(sql).map_err(told("queries"))?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        rows.and_then(Iterator::collect).map_err(told("queries"))
    }

    fn records(
        &mut self,
        bucket: u64,
        each: &mut dyn FnMut(u64, &str) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        // No bucket has an id that SQLite cannot hold.
        let Ok(bucket) = i64::try_from(bucket) else { return Ok(()) };
        let sql = "SELECT seq, json FROM records WHERE bucket = ?1 ORDER BY seq";
        let mut statement = self.connection.prepare(sql).map_err(told("records"))?;
        let mut rows = statement.query([bucket]).map_err(told("records"))?;
        while let Some(row) = rows.next().map_err(told("records"))? {
            let seq = row.get(0).and_then(number).map_err(told("records"))?;
            each(seq, text(row, 1).map_err(told("records"))?)?;
        }
        Ok(())
    }

    fn kept(
        &mut self,
        space: &str,
        each: &mut dyn FnMut(&str, &str) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let sql = "SELECT key, value FROM kept WHERE space = ?1 ORDER BY ord";
        let mut statement = self.connection.prepare(sql).map_err(told("kept"))?;
        let mut rows = statement.query([space]).map_err(told("kept"))?;
        while let Some(row) = rows.next().map_err(told("kept"))? {
            each(text(row, 0).map_err(told("kept"))?, text(row, 1).map_err(told("kept"))?)?;
        }
        Ok(())
    }
}

fn text<'r>(row: &'r Row<'_>, at: usize) -> rusqlite::Result<&'r str> {
    row.get_ref(at).and_then(|value| value.as_str().map_err(Into::into))
}

fn number(integer: i64) -> rusqlite::Result<u64> {
    u64::try_from(integer).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, integer))
}

fn told(table: &str) -> impl Fn(rusqlite::Error) -> JournalError {
    move |error| JournalError(format!("table \"{table}\" cannot be read: {error}"))
}
