//! The journal: hands groups to the thread that writes.

use crate::error::OpenError;
use crate::image::SqliteImage;
use crate::open::own;
use crate::writer::{self, Job};
use noex_store::{Journal, JournalDone, JournalEntry, JournalError};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// When a group counts as kept, and what a crash may cost.
///
/// The death of the process costs no group that counts as kept, whatever the choice: its transaction has been handed
/// to the system. A power failure, or a crash of the system, may cost what is said here; always the latest groups,
/// always whole ones, and never the database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Durability {
    /// When it is on disk: nothing is lost.
    Sync,
    /// When it is written. It is on disk this much later, plus the time of one sync; until then it can be lost.
    Interval(Duration),
    /// When it is written. It is on disk when the write-ahead log is next moved into the database, after
    /// [`Options::checkpoint_pages`] or at the end; until then it can be lost.
    None,
}

/// How a database is written.
#[derive(Clone, Debug)]
pub struct Options {
    /// When a group counts as kept.
    pub durability: Durability,
    /// Pages of 4 KiB in the write-ahead log from which it is moved into the database, between two groups. More of them
    /// mean fewer, longer pauses, a larger log and a longer start after a crash.
    pub checkpoint_pages: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { durability: Durability::Sync, checkpoint_pages: 16384 }
    }
}

/// Opens a database, makes it if it is missing, and starts the thread that writes to it.
///
/// The image shows what was kept before; it should be read and dropped before the journal is used, for while it is
/// being read the write-ahead log cannot be emptied.
///
/// # Errors
/// If the file cannot be used: it is owned by another process, foreign, newer, damaged, empty or write-protected.
/// Nothing has been changed then.
pub fn open(path: &Path, options: &Options) -> Result<(SqliteJournal, SqliteImage), OpenError> {
    let owned = own(path)?;
    writer::configure(&owned, options)?;
    let image = SqliteImage::open(&owned.path)?;
    // Groups come one at a time: the next one may be handed over before the thread has returned from the last.
    let (jobs, queue) = sync_channel(1);
    let thread = thread::Builder::new().name("noex-journal".to_owned());
    let options = options.clone();
    let thread = thread.spawn(move || writer::run(owned, &options, &queue));
    let thread = thread.map_err(|error| OpenError::io(path, &error))?;
    Ok((SqliteJournal { open: Mutex::new(Some(Open { jobs, thread })) }, image))
}

/// The journal. Dropping it closes it.
#[derive(Debug)]
pub struct SqliteJournal {
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    jobs: SyncSender<Job>,
    thread: JoinHandle<Result<(), JournalError>>,
}

impl SqliteJournal {
    /// Finishes the group that is under way, empties the write-ahead log, and gives the database up. Blocks for it.
    ///
    /// # Errors
    /// If the log could not be emptied: nothing is lost, it stays beside the database.
    pub fn close(&self) -> Result<(), JournalError> {
        let Some(Open { jobs, thread }) = self.open.lock().take() else { return Ok(()) };
        drop(jobs);
        // The last owner may be the receiver of an outcome, on the very thread; it ends without being waited for.
        if thread.thread().id() == thread::current().id() {
            return Ok(());
        }
        thread.join().unwrap_or_else(|_| Err(JournalError("the journal's thread has panicked".to_owned())))
    }
}

impl Journal for SqliteJournal {
    fn submit(&self, group: Vec<Vec<JournalEntry>>, done: JournalDone) {
        let refused = match &*self.open.lock() {
            None => Some((done, "the journal is closed")),
            Some(open) => match open.jobs.try_send((group, done)) {
                Ok(()) => None,
                Err(TrySendError::Full((_, done))) => {
                    Some((done, "a group was given before the last was done"))
                }
                Err(TrySendError::Disconnected((_, done))) => Some((done, "the journal's thread has ended")),
            },
        };
        // Outside the lock: the receiver may come back at once.
        if let Some((done, reason)) = refused {
            done(Err(JournalError(reason.to_owned())));
        }
    }
}

impl Drop for SqliteJournal {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!("cannot close the journal: {error}");
        }
    }
}
