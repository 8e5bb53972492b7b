//! The database that the configuration names.

use crate::runtime::{Durability, Persistence, store::Journal};
use noex_config::{Config, Durability as Wanted, Persistence as Place};
use noex_sqlite::{Options, SqliteJournal};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Name of the database in a data folder.
pub(crate) const FILE_NAME: &str = "noex.db";

/// An open database.
pub(crate) struct Storage {
    journal: Arc<SqliteJournal>,
    persistence: Persistence,
}

/// Opens the database, if there is to be one.
///
/// # Errors
/// The text for people.
pub(crate) fn open(config: &Config) -> Result<Option<Storage>, String> {
    let path = match &config.persistence {
        Place::Memory => return Ok(None),
        Place::Sqlite { path } => PathBuf::from(path),
        Place::File { dir } => {
            std::fs::create_dir_all(dir).map_err(|error| failure(config, &format!("{dir}: {error}")))?;
            PathBuf::from(dir).join(FILE_NAME)
        }
    };
    let (durability, written) = match config.store.durability {
        Wanted::Sync => (Durability::Sync, noex_sqlite::Durability::Sync),
        Wanted::Interval => {
            let period = Duration::from_millis(config.persistence_debounce_ms);
            (Durability::Async, noex_sqlite::Durability::Interval(period))
        }
        Wanted::None => (Durability::Async, noex_sqlite::Durability::None),
    };
    let options = Options { durability: written, ..Options::default() };
    let (journal, image) =
        noex_sqlite::open(&path, &options).map_err(|error| failure(config, &error.to_string()))?;
    let journal = Arc::new(journal);
    let persistence = Persistence {
        durability,
        auto_define: config.store.auto_define,
        ..Persistence::new(Arc::clone(&journal) as Arc<dyn Journal>, Box::new(image))
    };
    Ok(Some(Storage { journal, persistence }))
}

/// The message for a database that cannot be used.
pub(crate) fn failure(config: &Config, text: &str) -> String {
    let kind = match config.persistence {
        Place::Memory => "memory",
        Place::File { .. } => "file",
        Place::Sqlite { .. } => "sqlite",
    };
    format!("Error: Failed to initialize {kind} persistence: {text}")
}

impl Storage {
    /// What the server needs of it.
    pub(crate) fn persistence(&self) -> Persistence {
        self.persistence.clone()
    }

    /// Gives the database up, after the server has stopped.
    pub(crate) fn close(self) -> Result<(), String> {
        self.journal.close().map_err(|error| format!("Error: cannot close the database: {error}"))
    }
}
