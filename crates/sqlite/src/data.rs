//! What the commands on data have in common: their error and their progress.

use crate::error::OpenError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why data was not copied, exported or imported. What was begun has been removed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DataError {
    /// A database cannot be used, or its name is taken.
    Open(OpenError),
    /// A file or a table could not be read or written, or holds what it should not.
    Content {
        /// The file.
        path: PathBuf,
        /// Line of the file, from 1.
        line: Option<u64>,
        /// What is wrong.
        problem: String,
    },
}

impl DataError {
    pub(crate) fn content(path: &Path, problem: impl Into<String>) -> Self {
        Self::Content { path: path.to_owned(), line: None, problem: problem.into() }
    }

    pub(crate) fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        move |error| Self::content(path, error.to_string())
    }

    pub(crate) fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        move |error| Self::Open(OpenError::sqlite(path, &error))
    }
}

impl From<OpenError> for DataError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Content { path, line: Some(line), problem } => {
                write!(f, "{}, line {line}: {problem}", path.display())
            }
            Self::Content { path, line: None, problem } => write!(f, "{}: {problem}", path.display()),
        }
    }
}

impl std::error::Error for DataError {}

/// How far a command has come, in whatever it counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Done so far.
    pub done: u64,
    /// All there is.
    pub total: u64,
}

/// Is told of progress, often.
pub type Report<'r> = &'r mut dyn FnMut(Progress);

/// How much a command has moved.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Moved {
    /// Buckets.
    pub buckets: u64,
    /// Records of all buckets.
    pub records: u64,
    /// Queries.
    pub queries: u64,
    /// Facts, rules and whatever else is kept under a name.
    pub kept: u64,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { buckets, records, queries, kept } = self;
        write!(f, "{buckets} buckets, {records} records, {queries} queries, {kept} other entries")
    }
}
