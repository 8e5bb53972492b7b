//! Reactive in-memory store: schema-validated buckets, filters, transactions, and declarative queries whose
//! subscribers learn of each change of the result.
//!
//! Pure and synchronous: time and randomness are arguments, nothing is read from the outside and no lock is taken.
//! What may take long (a scan, the evaluation of a query) is prepared under the owner's lock as a value that holds an
//! O(1) snapshot, and run outside of it.

#![forbid(unsafe_code)]
#![allow(
    clippy::result_large_err,
    reason = "an error names what clients are told; it is rare and moved only up the stack"
)]

pub mod error;
pub mod filter;
pub mod query;
pub mod schema;

mod admin;
mod collation;
mod commit;
mod dormant;
mod index;
mod journal;
mod key;
mod members;
mod memory_image;
mod operation;
mod options;
mod plan;
mod prefetch;
mod program;
mod queries;
mod read;
mod record;
mod references;
mod replaced;
mod router;
mod stats;
mod store;
mod table;
mod tables;
mod transaction;
mod undo;
mod views;
mod warnings;

pub use commit::{Change, Commit};
pub use dormant::RestoreProgress;
pub use error::{ConflictReason, Issue, StoreError};
pub use journal::{Image, Journal, JournalDone, JournalEntry, JournalError, StoredBucket};
pub use members::{Fields, Members};
pub use memory_image::MemoryImage;
pub use operation::{Operation, OperationResult};
pub use options::{DuplicateInsert, StoreOptions};
pub use program::Program;
pub use query::Function;
pub use read::{Answer, Page, PreparedRead, ReadRequest};
pub use record::Record;
pub use stats::{BucketCounts, BucketStats, QueryViews, StoreStats, ViewCounters, ViewStats};
pub use store::Store;
pub use transaction::Random;
pub use undo::{Journaling, Obsolete};
pub use views::{
    Delta, EndReason, Evaluated, Evaluation, Published, Rerun, Subscribed, SubscriberId, ViewState,
};
