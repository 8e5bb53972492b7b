//! Why a database is not opened.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A database that was not opened. Nothing has been changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenError {
    /// The file, as it was named.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a database.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reason {
    /// Another process owns it.
    InUse {
        /// That process, if it has said so.
        process: Option<u32>,
    },
    /// There is no such file, and none was to be made.
    Missing,
    /// There is such a file already, and it was to be made.
    Exists,
    /// The file has no bytes: what it held is lost, or it never held anything.
    Empty,
    /// The file is missing, but its write-ahead log is there.
    OnlyLog,
    /// It is a directory.
    Directory,
    /// It is not an SQLite database.
    NotSqlite,
    /// It is an SQLite database of another program.
    Foreign {
        /// Its application id; 0 if it has none.
        application_id: u32,
    },
    /// It was written by a newer version of this program.
    Newer {
        /// Its schema version.
        version: u32,
        /// The newest schema version that is known here.
        known: u32,
    },
    /// Another program has locked it.
    Locked,
    /// The file or its directory cannot be written.
    ReadOnly,
    /// Its content is damaged.
    Damaged(String),
    /// The system refused.
    Io(String),
    /// SQLite refused.
    Sqlite(String),
}

impl OpenError {
    pub(crate) fn new(path: &Path, reason: Reason) -> Self {
        Self { path: path.to_owned(), reason }
    }

    pub(crate) fn io(path: &Path, error: &io::Error) -> Self {
        let protected = [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem];
        let reason =
            if protected.contains(&error.kind()) { Reason::ReadOnly } else { Reason::Io(error.to_string()) };
        Self::new(path, reason)
    }

    pub(crate) fn sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let reason = match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Reason::Damaged(error.to_string()),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Reason::ReadOnly,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Reason::Locked,
            _ => Reason::Sqlite(error.to_string()),
        };
        Self::new(path, reason)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { process: Some(process) } => {
                write!(f, "the database is in use by another server (process {process})")
            }
            Self::InUse { process: None } => f.write_str("the database is in use by another server"),
            Self::Missing => f.write_str("there is no such file"),
            Self::Exists => f.write_str("the file exists already and is not overwritten"),
            Self::Empty => {
                f.write_str("the file is empty; if it is not wanted, remove it to start with a new database")
            }
            Self::OnlyLog => f.write_str(
                "the file is missing, but its write-ahead log (-wal) is there; put the file back, or remove the log too",
            ),
            Self::Directory => f.write_str("this is a directory, not a database file"),
            Self::NotSqlite => f.write_str("the file is not an SQLite database"),
            Self::Foreign { application_id } => write!(
                f,
                "the file is an SQLite database of another program (application id {application_id:#010x})"
            ),
            Self::Newer { version, known } => write!(
                f,
                "the database has schema version {version}, this program knows versions up to {known}; use a newer one"
            ),
            Self::Locked => f.write_str("the database is locked by another program"),
            Self::ReadOnly => f.write_str("the database or its directory cannot be written"),
            Self::Damaged(text) => write!(f, "the database is damaged: {text}"),
            Self::Io(text) | Self::Sqlite(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for OpenError {}
