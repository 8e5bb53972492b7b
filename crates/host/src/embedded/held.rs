//! The store while one thread uses it.

use noex_store::{Change, Store};
use std::{
    ops::{Deref, DerefMut},
    sync::MutexGuard,
};

/// The store, locked. What it has replaced meanwhile is freed, and what it warns of is logged, after it is unlocked,
/// when nobody waits for that.
pub(super) struct Held<'a> {
    // Fields are dropped in this order.
    store: MutexGuard<'a, Store>,
    replaced: Vec<Change>,
    warnings: Warnings,
}

/// Logged when it is dropped.
struct Warnings(Vec<String>);

impl Drop for Warnings {
    fn drop(&mut self) {
        for warning in &self.0 {
            tracing::warn!("{warning}");
        }
    }
}

impl<'a> Held<'a> {
    pub(super) fn new(store: MutexGuard<'a, Store>) -> Self {
        Self { store, replaced: Vec::new(), warnings: Warnings(Vec::new()) }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.replaced = self.store.take_replaced();
        self.warnings.0 = self.store.take_warnings();
    }
}

impl Deref for Held<'_> {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Store {
        &mut self.store
    }
}
