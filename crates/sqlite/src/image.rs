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
        count.and_then(number).map_err(told)
    }
}

impl Image for SqliteImage {
    fn buckets(&mut self) -> Result<Vec<StoredBucket>, JournalError> {
        let sql = "SELECT id, name, definition, counter, next_seq FROM buckets ORDER BY id";
        let mut statement = self.connection.prepare(sql).map_err(told)?;
        let rows = statement.query_map([], |row| {
            Ok(StoredBucket {
                id: number(row.get(0)?)?,
                name: row.get(1)?,
                definition: row.get(2)?,
                counter: number(row.get(3)?)?,
                next_seq: number(row.get(4)?)?,
            })
        });
        rows.and_then(Iterator::collect).map_err(told)
    }

    fn queries(&mut self) -> Result<Vec<(String, String)>, JournalError> {
        let sql = "SELECT name, definition FROM queries ORDER BY ord";
        let mut statement = self.connection.prepare(sql).map_err(told)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        rows.and_then(Iterator::collect).map_err(told)
    }

    fn records(
        &mut self,
        bucket: u64,
        each: &mut dyn FnMut(u64, &str) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        // No bucket has an id that SQLite cannot hold.
        let Ok(bucket) = i64::try_from(bucket) else { return Ok(()) };
        let sql = "SELECT seq, json FROM records WHERE bucket = ?1 ORDER BY seq";
        let mut statement = self.connection.prepare(sql).map_err(told)?;
        let mut rows = statement.query([bucket]).map_err(told)?;
        while let Some(row) = rows.next().map_err(told)? {
            let seq = row.get(0).and_then(number).map_err(told)?;
            each(seq, text(row, 1)?)?;
        }
        Ok(())
    }

    fn kept(
        &mut self,
        space: &str,
        each: &mut dyn FnMut(&str, &str) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let sql = "SELECT key, value FROM kept WHERE space = ?1 ORDER BY ord";
        let mut statement = self.connection.prepare(sql).map_err(told)?;
        let mut rows = statement.query([space]).map_err(told)?;
        while let Some(row) = rows.next().map_err(told)? {
            each(text(row, 0)?, text(row, 1)?)?;
        }
        Ok(())
    }
}

fn text<'r>(row: &'r Row<'_>, at: usize) -> Result<&'r str, JournalError> {
    row.get_ref(at).and_then(|value| value.as_str().map_err(Into::into)).map_err(told)
}

fn number(integer: i64) -> rusqlite::Result<u64> {
    u64::try_from(integer).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, integer))
}

fn told(error: rusqlite::Error) -> JournalError {
    JournalError(error.to_string())
}
