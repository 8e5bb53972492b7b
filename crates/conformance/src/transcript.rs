//! What happened while a scenario was played, in order, for whoever looks into a failure.
//!
//! Input: entries from the player and from the readers of all connections. Output: a JSON array. Switched off, it keeps
//! and builds nothing.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::value::now_ms;

/// A log shared by the threads of one scenario.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transcript {
    entries: Option<Arc<Mutex<Vec<Value>>>>,
}

impl Transcript {
    /// Makes a log that keeps its entries.
    pub(crate) fn recording() -> Self {
        Self { entries: Some(Arc::default()) }
    }

    /// Adds that something happened on a connection.
    pub(crate) fn add(&self, conn: &str, event: &str, detail: impl FnOnce() -> Value) {
        if let Some(entries) = &self.entries {
            let entry = json!({"t": now_ms(), "conn": conn, event: detail()});
            entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
        }
    }

    /// Copies the entries made so far.
    pub(crate) fn entries(&self) -> Vec<Value> {
        let lock =
            self.entries.as_ref().map(|entries| entries.lock().unwrap_or_else(PoisonError::into_inner));
        lock.map(|entries| entries.clone()).unwrap_or_default()
    }
}
