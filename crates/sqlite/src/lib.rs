//! Keeps the store in an SQLite database: journal of its commits and image from which it is rebuilt.
//!
//! [`open`] gives both. One thread of its own writes; a group of commits is one SQLite transaction in WAL mode. The
//! database belongs to one server at a time, through a lock on the file `<database>-lock`; other processes may read it
//! meanwhile, which is how a backup is taken of a running server.
//!
//! Nothing is ever started over data that cannot be read: a file that is empty, foreign, newer or damaged is refused
//! and left as it is. A new database is built under another name and renamed when it is complete.

#![forbid(unsafe_code)]

mod copy;
mod data;
mod error;
mod export;
mod image;
mod journal;
mod lock;
mod net;
mod node;
mod open;
mod schema;
mod tables;
mod writer;

pub use copy::{Findings, backup, check, restore};
pub use data::{DataError, Moved, Progress, Report};
pub use error::{OpenError, Reason};
pub use export::{export, file_name, import};
pub use image::SqliteImage;
pub use journal::{Durability, Options, SqliteJournal, open};
pub use node::{NodeImport, import_node};
pub use schema::{APPLICATION_ID, SCHEMA_VERSION};
