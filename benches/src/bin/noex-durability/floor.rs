//! Plain SQLite doing the journal's work: one table, one prepared statement, one transaction per group.

use noex_bench::error::LoadError;
use rusqlite::{Connection, params};
use std::path::Path;

/// A database with a table of numbered texts, in WAL mode, synced at each commit.
#[derive(Debug)]
pub(crate) struct Floor(Connection);

pub(crate) fn failed(error: rusqlite::Error) -> LoadError {
    LoadError::Check(format!("SQLite: {error}"))
}

impl Floor {
    pub(crate) fn open(path: &Path) -> Result<Self, LoadError> {
        let connection = Connection::open(path).map_err(failed)?;
        let settings = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -32768;
             CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT NOT NULL)";
        connection.execute_batch(settings).map_err(failed)?;
        Ok(Self(connection))
    }

    /// Puts texts in one transaction.
    pub(crate) fn put<'t>(&self, texts: impl Iterator<Item = (u64, &'t str)>) -> Result<(), LoadError> {
        let work = || {
            self.0.execute_batch("BEGIN IMMEDIATE")?;
            let mut put = self.0.prepare("INSERT OR REPLACE INTO t (id, text) VALUES (?1, ?2)")?;
            for (id, text) in texts {
                put.execute(params![id.cast_signed(), text])?;
            }
            self.0.execute_batch("COMMIT")
        };
        work().map_err(failed)
    }
}
