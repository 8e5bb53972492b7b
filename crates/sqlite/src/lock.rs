//! Ownership of a database by one process.
//!
//! An advisory lock on a file beside the database, not SQLite's exclusive mode: others may read the database, and
//! SQLite's own locks, which the system takes away when any descriptor of the database is closed, are left alone.
//! The file stays when the lock is gone; removing it would let two processes lock two files of the same name.

use crate::error::{OpenError, Reason};
use crate::open::beside;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

/// The right to write a database; given up when dropped, or when the process ends.
#[derive(Debug)]
pub(crate) struct Ownership {
    lock: File,
}

impl Drop for Ownership {
    /// A process that is being started at this moment may hold a copy of the descriptor, so that closing it here
    /// would not end the lock.
    fn drop(&mut self) {
        if let Err(error) = self.lock.unlock() {
            tracing::warn!("cannot unlock a database: {error}");
        }
    }
}

impl Ownership {
    /// Takes the ownership of a database, which need not exist yet.
    ///
    /// # Errors
    /// [`Reason::InUse`] if it is taken; otherwise what the system says.
    pub(crate) fn acquire(database: &Path) -> Result<Self, OpenError> {
        let path = beside(database, "-lock");
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut lock = opened.map_err(|error| OpenError::io(&path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let read = (&mut lock).take(32).read_to_string(&mut text);
                let process = read.ok().and_then(|_| text.trim().parse().ok());
                return Err(OpenError::new(database, Reason::InUse { process }));
            }
            Err(TryLockError::Error(error)) => return Err(OpenError::io(&path, &error)),
        }
        let told = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        told.map_err(|error| OpenError::io(&path, &error))?;
        Ok(Self { lock })
    }
}
