//! Rate limits: a sliding log per key, bounded in keys and in entries.
//!
//! Pure: whoever shares one between connections puts it behind a lock, or several of them as shards.
//! Source: the protocol specification, section 4, and the limiter of the base framework described there.

use crate::Now;
use alloc::{
    collections::{BTreeMap, VecDeque},
    string::String,
};
use hashbrown::HashMap;

/// How many requests a key may make in a window.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RateLimit {
    /// Accepted requests in any window.
    pub requests_max: u64,
    /// Length of the window in ms.
    pub window_ms: u64,
}

/// A refused request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RateLimited {
    /// Time in ms until the next request can be accepted.
    pub retry_after_ms: u64,
}

/// What to do with a refusal that has been charged to its own budget.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RefusalVerdict {
    /// Answer it as usual.
    Answer,
    /// Answer `RATE_LIMITED` instead.
    Limited(RateLimited),
    /// Close the connection.
    Close,
}

/// A refusal budget is exceeded this many times before the connection is closed.
const REFUSAL_FACTOR: u64 = 10;

/// Sliding logs by key. When all keys are in use the least recently used one is forgotten.
#[derive(Debug)]
pub struct RateLimiter {
    limit: RateLimit,
    keys_max: usize,
    logs: HashMap<String, Log>,
    /// Use order: stamp of the last use to key.
    uses: BTreeMap<u64, String>,
    /// Stamp given out last.
    last_use: u64,
}

#[derive(Debug, Default)]
struct Log {
    /// Times of accepted requests in ms, with their number, oldest first.
    accepted: VecDeque<(u64, u64)>,
    total: u64,
    /// Requests over the budget, and when the first of them came.
    excess: (u64, u64),
    last_use: u64,
}

impl RateLimiter {
    /// Makes a limiter for at most `keys_max` keys (0 = unlimited).
    #[must_use]
    pub fn new(limit: RateLimit, keys_max: usize) -> Self {
        Self { limit, keys_max, logs: HashMap::new(), uses: BTreeMap::new(), last_use: 0 }
    }

    /// Charges one request to a key.
    ///
    /// # Errors
    /// If the window is used up; the refused request is not recorded.
    pub fn charge(&mut self, key: &str, now: Now) -> Result<(), RateLimited> {
        let limit = self.limit;
        self.log(key, now).charge(limit, now.mono.as_millis())
    }

    /// Charges one refusal to a key of its own.
    pub fn charge_refusal(&mut self, key: &str, now: Now) -> RefusalVerdict {
        let limit = self.limit;
        let now_ms = now.mono.as_millis();
        let log = self.log(key, now);
        let Err(limited) = log.charge(limit, now_ms) else { return RefusalVerdict::Answer };
        if log.excess.1.saturating_add(limit.window_ms) <= now_ms {
            log.excess = (0, now_ms);
        }
        log.excess.0 += 1;
        if log.excess.0 > limit.requests_max.saturating_mul(REFUSAL_FACTOR - 1) {
            RefusalVerdict::Close
        } else {
            RefusalVerdict::Limited(limited)
        }
    }

    /// Number of keys held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.logs.len()
    }

    /// Tells whether no key is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    fn log(&mut self, key: &str, now: Now) -> &mut Log {
        self.evict(now.mono.as_millis(), self.logs.contains_key(key));
        let log = self.logs.entry_ref(key).or_default();
        // One key many times in a row needs no new place. Stamps begin at 1.
        if log.last_use == 0 || log.last_use != self.last_use {
            self.last_use += 1;
            let name = self.uses.remove(&log.last_use).unwrap_or_else(|| key.into());
            self.uses.insert(self.last_use, name);
            log.last_use = self.last_use;
        }
        log
    }

    /// Forgets keys whose window has passed (two per call, so the cost stays constant), and the least recently used
    /// one if there is no room for one more. A key that is `known` needs none.
    fn evict(&mut self, now_ms: u64, known: bool) {
        for _ in 0..2 {
            let Some(first) = self.uses.first_entry() else { return };
            let full = !known && self.keys_max != 0 && self.logs.len() >= self.keys_max;
            let idle = self.logs.get(first.get()).is_none_or(|log| log.is_idle(self.limit, now_ms));
            if !full && !idle {
                return;
            }
            self.logs.remove(&first.remove());
        }
    }
}

impl Log {
    fn charge(&mut self, limit: RateLimit, now_ms: u64) -> Result<(), RateLimited> {
        while let Some((at, count)) = self.accepted.front().copied() {
            if at.saturating_add(limit.window_ms) > now_ms {
                break;
            }
            self.accepted.pop_front();
            self.total -= count;
        }
        if self.total >= limit.requests_max {
            let oldest = self.accepted.front().map_or(now_ms, |(at, _)| at.saturating_add(limit.window_ms));
            return Err(RateLimited { retry_after_ms: oldest.saturating_sub(now_ms) });
        }
        self.total += 1;
        match self.accepted.back_mut() {
            Some((at, count)) if *at == now_ms => *count += 1,
            _ => self.accepted.push_back((now_ms, 1)),
        }
        Ok(())
    }

    fn is_idle(&self, limit: RateLimit, now_ms: u64) -> bool {
        let last = self.accepted.back().map_or(0, |(at, _)| *at).max(self.excess.1);
        last.saturating_add(limit.window_ms) <= now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instant;
    use alloc::{format, vec::Vec};
    use proptest::prelude::*;

    fn at(ms: u64) -> Now {
        Now { mono: Instant::from_millis(ms), unix_ms: 0 }
    }

    proptest! {
        /// The compressed log decides exactly as the plain list of time stamps of the description.
        #[test]
        fn decides_as_the_plain_sliding_log(steps in prop::collection::vec((0..3_u8, 0..40_u64), 1..200), max in 0..6_u64, window in 1..100_u64) {
            let mut limiter = RateLimiter::new(RateLimit { requests_max: max, window_ms: window }, 0);
            let mut plain: [Vec<u64>; 3] = Default::default();
            let mut now = 0;
            for (key, pause) in steps {
                now += pause;
                let list = &mut plain[usize::from(key)];
                list.retain(|t| t + window > now);
                let expected = if (list.len() as u64) < max {
                    list.push(now);
                    Ok(())
                } else {
                    Err(RateLimited { retry_after_ms: list.first().map_or(0, |oldest| oldest + window - now) })
                };
                prop_assert_eq!(limiter.charge(&format!("k{key}"), at(now)), expected);
            }
        }
    }

    #[test]
    fn keys_are_bounded_and_idle_ones_go() {
        let limit = RateLimit { requests_max: 1, window_ms: 1000 };
        let mut limiter = RateLimiter::new(limit, 3);
        for i in 0..100 {
            assert_eq!(limiter.charge(&format!("k{i}"), at(i)), Ok(()));
            assert!(limiter.len() <= 3);
        }
        // The most recent key is still remembered, the oldest one is not.
        assert!(limiter.charge("k99", at(100)).is_err());
        assert!(limiter.charge("k0", at(100)).is_ok());
        limiter.charge("late", at(5000)).expect("fresh");
        limiter.charge("late2", at(5000)).expect("fresh");
        assert_eq!(limiter.len(), 2);
    }

    #[test]
    fn a_full_table_keeps_the_keys_that_it_has() {
        let mut limiter = RateLimiter::new(RateLimit { requests_max: 1, window_ms: 1000 }, 2);
        for key in ["a", "b"] {
            assert!(limiter.charge(key, at(0)).is_ok());
        }
        for key in ["a", "b", "a", "b"] {
            assert!(limiter.charge(key, at(1)).is_err(), "{key}");
        }
    }

    #[test]
    fn refusals_have_a_budget_and_then_end_the_connection() {
        let mut limiter = RateLimiter::new(RateLimit { requests_max: 4, window_ms: 1000 }, 0);
        let verdicts: Vec<_> = (0..41).map(|_| limiter.charge_refusal("r:x", at(5))).collect();
        assert!(verdicts[..4].iter().all(|v| *v == RefusalVerdict::Answer));
        assert!(verdicts[4..40].iter().all(|v| matches!(v, RefusalVerdict::Limited(_))));
        assert_eq!(verdicts[40], RefusalVerdict::Close);
        assert_eq!(limiter.charge_refusal("r:x", at(1006)), RefusalVerdict::Answer);
    }
}
