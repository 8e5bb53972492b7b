//! The state that connections share, as the protocol machine asks for it.

use crate::{Hub, options::Options};
use foldhash::fast::RandomState;
use noex_core::{LimitKey, Now, RateLimited, RateLimiter, RefusalVerdict, Session, Shared, SubId, Target};
use parking_lot::Mutex;
use std::{
    hash::BuildHasher,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// Rate limiters, sharded by key so that connections do not wait for each other.
#[derive(Debug)]
pub(crate) struct Limits {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    subscriptions: AtomicUsize,
    subscriptions_max: usize,
    last_subscription: AtomicU64,
}

/// The keys that hash to one shard.
#[derive(Debug)]
struct Shard {
    limiter: RateLimiter,
    /// Room in which a key is put together.
    key: String,
}

/// Shards, if there are so many keys that an uneven spread does not matter.
const SHARDS: usize = 16;
const KEYS_MIN_FOR_SHARDS: usize = 4096;

impl Limits {
    pub(crate) fn new(options: &Options) -> Self {
        let keys_max = options.rate_limit_keys_max;
        let shards = if keys_max == 0 || keys_max >= KEYS_MIN_FOR_SHARDS { SHARDS } else { 1 };
        Self {
            shards: options.rate_limit.map_or_else(Vec::new, |limit| {
                let shard = || RateLimiter::new(limit, keys_max.div_ceil(shards));
                (0..shards).map(|_| Mutex::new(Shard { limiter: shard(), key: String::new() })).collect()
            }),
            hasher: RandomState::default(),
            subscriptions: AtomicUsize::new(0),
            subscriptions_max: options.subscriptions_max,
            last_subscription: AtomicU64::new(0),
        }
    }

    pub(crate) fn is_limited(&self) -> bool {
        !self.shards.is_empty()
    }

    fn with<R>(&self, kind: &str, key: &str, use_it: impl FnOnce(&mut RateLimiter, &str) -> R) -> Option<R> {
        if self.shards.is_empty() {
            return None;
        }
        let count = self.shards.len() as u64;
        let shard = self.hasher.hash_one((kind, key)).checked_rem(count)?;
        let mut shard = self.shards.get(usize::try_from(shard).ok()?)?.lock();
        let Shard { limiter, key: whole } = &mut *shard;
        whole.clear();
        for part in [kind, ":", key] {
            whole.push_str(part);
        }
        Some(use_it(limiter, whole))
    }
}

impl Shared for Hub {
    fn charge(&self, key: LimitKey<'_>, now: Now) -> Result<(), RateLimited> {
        let (kind, key) = match key {
            LimitKey::User(user) => ("u", user),
            LimitKey::Address(address) => ("ip", address),
        };
        self.limits.with(kind, key, |limiter, key| limiter.charge(key, now)).unwrap_or(Ok(()))
    }

    fn charge_refusal(&self, address: &str, now: Now) -> RefusalVerdict {
        self.limits
            .with("refused", address, |limiter, key| limiter.charge_refusal(key, now))
            .unwrap_or(RefusalVerdict::Answer)
    }

    fn reserve_subscription(&self) -> Result<(), usize> {
        let max = self.limits.subscriptions_max;
        self.limits
            .subscriptions
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| (used < max).then_some(used + 1))
            .map(|_| ())
            .map_err(|_| max)
    }

    fn release_subscriptions(&self, count: usize) {
        self.limits.subscriptions.fetch_sub(count, Ordering::Relaxed);
    }

    fn next_subscription(&self) -> SubId {
        SubId(self.limits.last_subscription.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn bucket_of_query(&self, query: &str) -> Option<String> {
        self.store.bucket_of_query(query)
    }

    fn permits(&self, session: &Session, operation: &str, resource: &str) -> Option<bool> {
        self.options.permission_check.as_ref().map(|check| check.permits(session, operation, resource))
    }

    fn permits_user(&self, user_id: &str, operation: &str, target: Target<'_>) -> bool {
        self.user_is_permitted(user_id, operation, target)
    }

    fn has_store_events(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.has_store_events())
    }

    fn visible_buckets(&self, user_id: &str) -> Vec<String> {
        self.buckets_shown_to(user_id)
    }
}
