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
    left: Option<Left>,
}

/// What is done with when it is dropped.
struct Left {
    _replaced: Vec<Change>,
    warnings: Vec<String>,
}

impl Drop for Left {
    fn drop(&mut self) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }
}

impl<'a> Held<'a> {
    pub(super) fn new(store: MutexGuard<'a, Store>) -> Self {
        Self { store, left: None }
    }
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.store.has_left() {
            let (replaced, warnings) = (self.store.take_replaced(), self.store.take_warnings());
            self.left = Some(Left { _replaced: replaced, warnings });
        }
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
