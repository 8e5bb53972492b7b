//! Users who may not log in for a while.
//!
//! Source: the auth specification, section 5.2. A login and a revocation of the same user exclude each other: either
//! the login finds the user revoked, or the revocation finds the connection logged in.

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use std::collections::HashMap;

/// Users revoked at one time. Only administrators add some; one that is full refuses more rather than forgets.
pub(crate) const REVOKED_MAX: usize = 100_000;

/// The list is full.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Full;

/// Who is revoked, and until when.
#[derive(Debug, Default)]
pub(crate) struct Revocation {
    until_ms: Mutex<Revoked>,
    /// Held by whoever executes something for a session, where no identity does that.
    executing: RwLock<()>,
}

#[derive(Debug, Default)]
pub(crate) struct Revoked {
    until_ms: HashMap<String, u64>,
    /// Number of entries at which dead ones are swept.
    sweep_at: usize,
}

impl Revocation {
    /// Keeps the list as it is while something is done.
    pub(crate) fn lock(&self) -> parking_lot::MutexGuard<'_, Revoked> {
        self.until_ms.lock()
    }

    /// Has revocations wait until what a session asked for has been executed.
    pub(crate) fn hold_sessions(&self) -> RwLockReadGuard<'_, ()> {
        self.executing.read()
    }

    /// Waits for those that [hold sessions](Self::hold_sessions).
    pub(crate) fn wait_for_executing(&self) {
        drop(self.executing.write());
    }
}

impl Revoked {
    /// Revokes a user until `until_ms`.
    pub(crate) fn insert(&mut self, user_id: &str, now_ms: u64, until_ms: u64) -> Result<(), Full> {
        if self.until_ms.len() >= self.sweep_at.min(REVOKED_MAX) {
            self.until_ms.retain(|_, until| *until > now_ms);
            self.sweep_at = self.until_ms.len().max(32) * 2;
        }
        if self.until_ms.len() >= REVOKED_MAX && !self.until_ms.contains_key(user_id) {
            return Err(Full);
        }
        self.until_ms.insert(user_id.to_owned(), until_ms);
        Ok(())
    }

    /// Tells whether a user is revoked at present.
    pub(crate) fn contains(&self, user_id: &str, now_ms: u64) -> bool {
        self.until_ms.get(user_id).is_some_and(|until| *until > now_ms)
    }

    /// Lets a user log in again; false if that was not forbidden.
    pub(crate) fn remove(&mut self, user_id: &str, now_ms: u64) -> bool {
        self.until_ms.remove(user_id).is_some_and(|until| until > now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_dead_when_their_time_has_come() {
        let mut revoked = Revoked::default();
        assert_eq!(revoked.insert("ann", 100, 200), Ok(()));
        assert!(revoked.contains("ann", 199) && !revoked.contains("ann", 200) && !revoked.contains("bob", 0));
        assert!(!revoked.remove("ann", 200), "a dead entry forbids nothing");
        assert_eq!(revoked.insert("ann", 100, 200), Ok(()));
        assert!(revoked.remove("ann", 199) && !revoked.remove("ann", 199));
    }

    #[test]
    fn the_list_is_bounded_and_swept() {
        let mut revoked = Revoked::default();
        for n in 0..REVOKED_MAX {
            assert_eq!(revoked.insert(&n.to_string(), 0, 10), Ok(()));
        }
        assert_eq!(revoked.insert("one more", 9, 20), Err(Full));
        assert_eq!(revoked.insert("7", 9, 20), Ok(()), "a known user needs no place");
        assert_eq!(revoked.insert("one more", 10, 20), Ok(()));
        assert_eq!(revoked.until_ms.len(), 2, "dead entries are swept");
    }
}
