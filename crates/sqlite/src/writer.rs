//! The thread that writes: one group, one transaction.
//!
//! Invariants: a group's outcome is told once, after its transaction has ended; a failed transaction leaves nothing
//! behind, and the next group is tried as if nothing had been; the write-ahead log is emptied into the database
//! between groups, never inside of one.

#[cfg(test)]
mod disk;
#[cfg(test)]
mod tests;

use crate::error::OpenError;
use crate::journal::{Durability, Options};
use crate::net::Statements;
use crate::open::{Owned, beside};
use noex_store::{JournalDone, JournalEntry, JournalError};
use rusqlite::Connection;
use rusqlite::hooks::Wal;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// What the file of the log may keep once it has been emptied, in bytes.
const LOG_BYTES_KEPT: i64 = 64 << 20;

/// How long after a failed sync it is tried again, unless a group comes first.
const RETRY: Duration = Duration::from_secs(1);

/// A group, and who waits for its outcome.
pub(crate) type Job = (Vec<Vec<JournalEntry>>, JournalDone);

/// Sets up a connection for the writer.
pub(crate) fn configure(owned: &Owned, options: &Options) -> Result<(), OpenError> {
    let connection = &owned.connection;
    let level = match options.durability {
        Durability::Sync => "FULL",
        Durability::Interval(_) | Durability::None => "NORMAL",
    };
    let set = || {
        connection.pragma_update(None, "synchronous", level)?;
        connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
        // Statements that cannot be prepared are found here and not by the first group.
        Statements::prepare(connection).map(drop)
    };
    set().map_err(|error| OpenError::sqlite(&owned.path, &error))
}

/// Serves groups until the journal is closed, then empties the log and gives the database up.
pub(crate) fn run(owned: Owned, options: &Options, jobs: &Receiver<Job>) -> Result<(), JournalError> {
    let Owned { path, mut connection, owner } = owned;
    let log_pages = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&log_pages);
    // SQLite's own checkpoints would run inside of a commit; this takes their place.
    let hook = move |_: &mut Wal, pages: i32| {
        seen.store(pages.unsigned_abs(), Ordering::Relaxed);
        Ok(())
    };
    let hooked = connection.wal_hook(Some(hook)).map_err(told);
    let served = hooked.and_then(|()| serve(&connection, &path, options, &log_pages, jobs));
    let closed = close(connection);
    drop(owner);
    served.and(closed)
}

fn serve(
    connection: &Connection,
    path: &Path,
    options: &Options,
    log_pages: &AtomicU32,
    jobs: &Receiver<Job>,
) -> Result<(), JournalError> {
    let mut statements = Statements::prepare(connection).map_err(told)?;
    let mut syncing = Syncing::new(beside(path, "-wal"), options.durability);
    let mut checkpoint_at = options.checkpoint_pages;
    let mut totals = Totals::default();
    loop {
        let (group, done) = match syncing.wait(jobs) {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) => {
                if let Err(error) = syncing.sync() {
                    tracing::error!("cannot sync {}: {error}", path.display());
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let outcome = totals.measure(&group, || {
            syncing.recover().and_then(|()| keep(connection, &mut statements, &group).map_err(told))
        });
        if outcome.is_ok() {
            syncing.written();
        }
        done(outcome);
        drop(group);
        let pages = log_pages.load(Ordering::Relaxed);
        if pages >= checkpoint_at {
            let moved = checkpoint(connection, "PASSIVE").unwrap_or_else(|error| {
                tracing::warn!("cannot move the write-ahead log into {}: {error}", path.display());
                false
            });
            // What a backup still reads cannot be moved; it is tried again after as many pages more.
            let from = if moved { 0 } else { pages };
            checkpoint_at = options.checkpoint_pages.saturating_add(from);
        } else if pages < options.checkpoint_pages {
            checkpoint_at = options.checkpoint_pages;
        }
    }
    totals.log();
    Ok(())
}

/// What has been kept, for the log.
#[derive(Default)]
struct Totals {
    groups: u64,
    commits: u64,
    entries: u64,
    busy: Duration,
}

impl Totals {
    #[expect(clippy::disallowed_methods, reason = "only a figure in the log")]
    fn measure(
        &mut self,
        group: &[Vec<JournalEntry>],
        keep: impl FnOnce() -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let begin = Instant::now();
        keep()?;
        self.busy += begin.elapsed();
        self.groups += 1;
        self.commits += group.len() as u64;
        self.entries += group.iter().map(|commit| commit.len() as u64).sum::<u64>();
        Ok(())
    }

    fn log(&self) {
        let us_per_group = self.busy.as_micros() / u128::from(self.groups.max(1));
        let Self { groups, commits, entries, .. } = self;
        tracing::info!(groups, commits, entries, us_per_group, "journal closed");
    }
}

/// Keeps a group in one transaction.
fn keep(
    connection: &Connection,
    statements: &mut Statements<'_>,
    group: &[Vec<JournalEntry>],
) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let kept = statements.apply(group).and_then(|()| connection.execute_batch("COMMIT"));
    // After some errors SQLite has rolled back by itself.
    if kept.is_err() && !connection.is_autocommit() {
        // If this fails too, BEGIN will: nothing is kept, and the first error is the one to tell.
        let _ = connection.execute_batch("ROLLBACK");
    }
    kept
}

/// Empties the log into the database and says whether all of it could be moved.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<bool> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let (busy, pages, moved): (bool, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(!busy && pages == moved)
    })
}

fn close(connection: Connection) -> Result<(), JournalError> {
    // Even if a reader hinders it, nothing is lost: the log stays beside the database.
    checkpoint(&connection, "TRUNCATE").map_err(told)?;
    connection.close().map_err(|(_, error)| told(error))
}

fn told(error: rusqlite::Error) -> JournalError {
    if matches!(error, rusqlite::Error::StatementChangedRows(_)) {
        return JournalError("counters of a bucket that is not kept".to_owned());
    }
    JournalError(error.to_string())
}

/// When commits that are written reach the disk, if not at once.
struct Syncing {
    log: PathBuf,
    /// How long a commit may wait; `None` = synced with its transaction, or never.
    interval: Option<Duration>,
    /// When the oldest commit that waits has to be on disk.
    due: Option<Instant>,
    failed: bool,
}

#[expect(
    clippy::disallowed_methods,
    reason = "this thread waits in real time; nothing is decided by it but a sync"
)]
impl Syncing {
    fn new(log: PathBuf, durability: Durability) -> Self {
        let interval = match durability {
            Durability::Interval(interval) => Some(interval),
            Durability::Sync | Durability::None => None,
        };
        Self { log, interval, due: None, failed: false }
    }

    /// Waits for a group, but not past the time of the next sync.
    fn wait(&self, jobs: &Receiver<Job>) -> Result<Job, RecvTimeoutError> {
        match self.due {
            Some(due) => jobs.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn written(&mut self) {
        if let (Some(interval), None) = (self.interval, self.due) {
            self.due = Instant::now().checked_add(interval);
        }
    }

    /// Syncs if it is due, and if the last sync failed: no group is kept on top of one that may be lost.
    fn recover(&mut self) -> Result<(), JournalError> {
        if self.failed || self.due.is_some_and(|due| due <= Instant::now()) {
            return self.sync().map_err(|error| JournalError(format!("cannot sync the database: {error}")));
        }
        Ok(())
    }

    /// Syncs the log. A descriptor of its own does it, for SQLite syncs only at checkpoints in this mode.
    fn sync(&mut self) -> std::io::Result<()> {
        let synced = File::open(&self.log).and_then(|log| log.sync_data());
        self.failed = synced.is_err();
        self.due = if self.failed { Instant::now().checked_add(RETRY) } else { None };
        synced
    }
}
