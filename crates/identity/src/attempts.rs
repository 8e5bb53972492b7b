//! Failed logins: who has to wait.
//!
//! Source: the auth specification, section 6.5. A counter starts with its first failure and ends a window later. Keys
//! are hashed, so that a counter has one size whatever a client calls itself; the table is bounded, and when it is full
//! the counter with the oldest first failure gives way, which is also the one that ends first.

use crate::settings::Settings;
use hashbrown::HashMap;
use noex_core::{Code, Refusal};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// Most counters that are kept.
const COUNTERS_MAX: usize = 100_000;

/// What failures are counted by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Counted<'a> {
    /// Passwords of one user from one address.
    UserFrom(&'a str, &'a str),
    /// Passwords of all users from one address.
    Address(&'a str),
    /// Passwords of one user from all addresses.
    User(&'a str),
    /// The administrator's secret from one address.
    Secret(&'a str),
}

type Key = [u8; 16];

impl Counted<'_> {
    fn key(self) -> Key {
        let (tag, first, second) = match self {
            Self::UserFrom(user, address) => (0, user, address),
            Self::Address(address) => (1, address, ""),
            Self::User(user) => (2, user, ""),
            Self::Secret(address) => (3, address, ""),
        };
        let mut hasher = Sha256::new();
        hasher.update([tag]);
        hasher.update((first.len() as u64).to_le_bytes());
        hasher.update(first);
        hasher.update(second);
        let digest: [u8; 32] = hasher.finalize().into();
        let mut key = Key::default();
        key.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        key
    }

    /// How many failures block, as a multiple of the configured maximum.
    fn multiple(self) -> u32 {
        match self {
            Self::UserFrom(..) | Self::Secret(_) => 1,
            Self::Address(_) => 4,
            Self::User(_) => 20,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    failures: u32,
    first_ms: u64,
}

/// The counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempts {
    counters: HashMap<Key, Counter>,
    by_age: BTreeSet<(u64, Key)>,
}

impl Attempts {
    /// Refuses if one of the counters, in their order, has reached its maximum.
    pub(crate) fn check(
        &self,
        now_ms: u64,
        settings: &Settings,
        counted: &[Counted<'_>],
    ) -> Result<(), Refusal> {
        for counted in counted {
            let Some(counter) = self.counters.get(&counted.key()) else { continue };
            let elapsed_ms = now_ms.saturating_sub(counter.first_ms);
            let max = settings.max_login_attempts.saturating_mul(counted.multiple());
            if elapsed_ms <= settings.login_window_ms && counter.failures >= max {
                let wait_ms = settings.login_window_ms - elapsed_ms;
                return Err(Refusal::new(
                    Code::RateLimited,
                    "Too many failed login attempts. Try again later.",
                )
                .with_details(format!("{{\"retryAfterMs\":{wait_ms}}}")));
            }
        }
        Ok(())
    }

    /// Counts a failure.
    pub(crate) fn fail(&mut self, now_ms: u64, settings: &Settings, counted: &[Counted<'_>]) {
        self.sweep(now_ms, settings);
        for counted in counted {
            let key = counted.key();
            if let Some(counter) = self.counters.get_mut(&key) {
                counter.failures = counter.failures.saturating_add(1);
                continue;
            }
            while self.counters.len() >= COUNTERS_MAX {
                let Some((_, oldest)) = self.by_age.pop_first() else { break };
                self.counters.remove(&oldest);
            }
            self.counters.insert(key, Counter { failures: 1, first_ms: now_ms });
            self.by_age.insert((now_ms, key));
        }
    }

    /// Forgets failures after a success.
    pub(crate) fn clear(&mut self, counted: &[Counted<'_>]) {
        for counted in counted {
            let key = counted.key();
            if let Some(counter) = self.counters.remove(&key) {
                self.by_age.remove(&(counter.first_ms, key));
            }
        }
    }

    /// Drops the counters that have ended.
    pub(crate) fn sweep(&mut self, now_ms: u64, settings: &Settings) {
        while let Some(&(first_ms, key)) = self.by_age.first() {
            if now_ms.saturating_sub(first_ms) <= settings.login_window_ms {
                break;
            }
            self.by_age.pop_first();
            self.counters.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings { max_login_attempts: 3, login_window_ms: 1000, ..Settings::new("s") }
    }

    fn blocked(attempts: &Attempts, now_ms: u64, counted: Counted<'_>) -> Option<String> {
        attempts.check(now_ms, &settings(), &[counted]).err().and_then(|refusal| refusal.details)
    }

    #[test]
    fn a_counter_blocks_until_a_window_after_its_first_failure() {
        let (mut attempts, by) = (Attempts::default(), Counted::UserFrom("ann", "1.1.1.1"));
        for at in [100, 200, 300] {
            assert_eq!(blocked(&attempts, at, by), None);
            attempts.fail(at, &settings(), &[by]);
        }
        assert_eq!(blocked(&attempts, 300, by).unwrap(), "{\"retryAfterMs\":800}");
        assert_eq!(blocked(&attempts, 1100, by).unwrap(), "{\"retryAfterMs\":0}");
        assert_eq!(blocked(&attempts, 1101, by), None);
        // An ended counter starts again at one.
        attempts.fail(1101, &settings(), &[by]);
        assert_eq!(blocked(&attempts, 1101, by), None);
        assert_eq!(attempts.counters.len(), 1);
    }

    #[test]
    fn keys_do_not_collide_and_have_their_own_maximum() {
        let all = [
            (Counted::UserFrom("a", "b"), 3),
            (Counted::UserFrom("ab", ""), 3),
            (Counted::Secret("a"), 3),
            (Counted::Address("a"), 12),
            (Counted::User("a"), 60),
        ];
        for (by, max) in all {
            let mut attempts = Attempts::default();
            for _ in 1..max {
                attempts.fail(0, &settings(), &[by]);
            }
            assert_eq!(blocked(&attempts, 0, by), None, "{by:?}");
            attempts.fail(0, &settings(), &[by]);
            assert!(all.iter().all(|(other, _)| blocked(&attempts, 0, *other).is_some() == (*other == by)));
            attempts.clear(&[by]);
            assert_eq!(blocked(&attempts, 0, by), None);
            assert!(attempts.by_age.is_empty());
        }
    }

    #[test]
    fn a_clock_that_goes_back_blocks_no_longer_than_a_window() {
        let (mut attempts, by) = (Attempts::default(), Counted::Secret("a"));
        for _ in 0..3 {
            attempts.fail(5000, &settings(), &[by]);
        }
        assert_eq!(blocked(&attempts, 10, by).unwrap(), "{\"retryAfterMs\":1000}");
    }

    #[test]
    fn a_full_table_drops_the_oldest() {
        let mut attempts = Attempts::default();
        let settings = Settings { login_window_ms: u64::MAX, ..settings() };
        for at in 0..COUNTERS_MAX as u64 + 10 {
            attempts.fail(at, &settings, &[Counted::User(&at.to_string())]);
        }
        assert_eq!((attempts.counters.len(), attempts.by_age.len()), (COUNTERS_MAX, COUNTERS_MAX));
        assert!(!attempts.counters.contains_key(&Counted::User("9").key()));
        assert!(attempts.counters.contains_key(&Counted::User("10").key()));
    }
}
