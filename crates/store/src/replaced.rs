//! What commits have replaced, handed to the owner: to free a record takes longer than to find one, and an owner who
//! shares the store with others can do so when nobody waits for it.

use crate::commit::Change;
use crate::store::Store;

/// Changes that wait to be taken; what further commits replace is freed at once.
const REPLACED_MAX: usize = 65_536;

impl Store {
    /// From now on keeps what commits replace or remove for [`Store::take_replaced`], instead of freeing it at once; not
    /// more than the last commit and 65,536 changes. Nothing comes that way while commits are kept
    /// ([`Store::set_keep_commits`]).
    pub fn keep_replaced(&mut self) {
        self.replaced.get_or_insert_default();
    }

    /// Takes the changes since the last call, to be dropped.
    pub fn take_replaced(&mut self) -> Vec<Change> {
        self.replaced.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Tells whether [`Store::take_replaced`] or [`Store::take_warnings`] has something to give.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.replaced.as_ref().is_some_and(|replaced| !replaced.is_empty()) || self.warnings.has_new()
    }

    /// Keeps what nothing else needs of changes, if somebody wants to free it.
    pub(crate) fn discard(&mut self, mut changes: Vec<Change>) {
        let Some(replaced) = &mut self.replaced else { return };
        changes.retain(|change| change.before().is_some());
        if replaced.is_empty() {
            *replaced = changes;
        } else if replaced.len() < REPLACED_MAX {
            replaced.append(&mut changes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::StoreOptions;
    use crate::transaction::Random;
    use noex_json::{Object, Value};
    use std::sync::Arc;

    struct Zeros;

    impl Random for Zeros {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    fn object(text: &str) -> Object {
        let Ok(Value::Object(object)) = noex_json::parse(text, 9) else { panic!("{text}") };
        *object
    }

    fn store() -> Store {
        let mut store = Store::new(StoreOptions::default(), Box::new(Zeros));
        let config = object(r#"{"key":"id","schema":{"id":{"type":"string"}},"ttl":50}"#);
        store.define_bucket(0, "t", &config).expect("a definition");
        store
    }

    #[test]
    fn what_was_replaced_is_freed_at_once_unless_it_is_wanted() {
        let mut store = store();
        let old = store.insert(0, "t", object(r#"{"id":"a"}"#)).expect("inserted");
        store.update(0, "t", &"a".into(), object(r#"{"n":1}"#)).expect("updated");
        assert_eq!((Arc::strong_count(&old), store.take_replaced().len()), (1, 0));
    }

    #[test]
    fn what_was_replaced_lives_until_it_is_taken() {
        let mut store = store();
        store.keep_replaced();
        let old = store.insert(0, "t", object(r#"{"id":"a"}"#)).expect("inserted");
        assert_eq!(store.take_replaced().len(), 0, "nothing was replaced");
        store.update(0, "t", &"a".into(), object(r#"{"n":1}"#)).expect("updated");
        assert_eq!(Arc::strong_count(&old), 2);
        // The call that finds the record expired inserts another one: two commits.
        store.insert(60, "t", object(r#"{"id":"b"}"#)).expect("inserted");
        let replaced = store.take_replaced();
        assert_eq!((Arc::strong_count(&old), replaced.len()), (2, 2));
        drop(replaced);
        assert_eq!((Arc::strong_count(&old), store.take_replaced().len()), (1, 0));
    }
}
