//! What connections share, as the machine sees it.

use crate::{Now, RateLimited, RefusalVerdict, Session, SubId, Target};
use alloc::{string::String, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering};

/// Whom a request is charged to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LimitKey<'a> {
    /// A logged-in user, on all connections.
    User(&'a str),
    /// An address, for all anonymous connections from it.
    Address(&'a str),
}

/// State shared by the connections of a server. Methods are called while a message is handled and must not block
/// for long.
pub trait Shared {
    /// Charges one request; always succeeds if there is no rate limit.
    ///
    /// # Errors
    /// If the key's window is used up.
    fn charge(&self, key: LimitKey<'_>, now: Now) -> Result<(), RateLimited>;

    /// Charges one parse error or refusal to the budget of an address.
    fn charge_refusal(&self, address: &str, now: Now) -> RefusalVerdict;

    /// Reserves one of the server's subscriptions.
    ///
    /// # Errors
    /// The maximum, if it is reached.
    fn reserve_subscription(&self) -> Result<(), usize>;

    /// Gives reserved subscriptions back.
    fn release_subscriptions(&self, count: usize);

    /// Allocates an id that no subscription of this process has had.
    fn next_subscription(&self) -> SubId;

    /// Names the bucket that a query reads, if the query exists.
    fn bucket_of_query(&self, query: &str) -> Option<String>;

    /// The embedder's own permission check; `None` = there is none, the declarative rules decide. Steps of a procedure
    /// ask it while the engines are locked, so it must not use them.
    fn permits(&self, session: &Session, operation: &str, resource: &str) -> Option<bool>;

    /// Tells whether a user of the built-in identity may run an operation, by the rights of this moment. Nobody may
    /// anything where there is no such identity.
    fn permits_user(&self, user_id: &str, operation: &str, target: Target<'_>) -> bool {
        let _ = (user_id, operation, target);
        false
    }

    /// Tells whether changes of the store are events `bucket.<name>.inserted`, `.updated` and `.deleted` too.
    fn has_store_events(&self) -> bool {
        false
    }

    /// Names the buckets that a user of the built-in identity may see listed. Names may repeat, and may not exist.
    fn visible_buckets(&self, user_id: &str) -> Vec<String> {
        let _ = user_id;
        Vec::new()
    }
}

/// State for one connection on its own: no limits, no queries. For tests, fuzzing and simple embedding.
#[derive(Debug, Default)]
pub struct Solitary {
    subscriptions: AtomicU64,
}

impl Shared for Solitary {
    fn charge(&self, _key: LimitKey<'_>, _now: Now) -> Result<(), RateLimited> {
        Ok(())
    }

    fn charge_refusal(&self, _address: &str, _now: Now) -> RefusalVerdict {
        RefusalVerdict::Answer
    }

    fn reserve_subscription(&self) -> Result<(), usize> {
        Ok(())
    }

    fn release_subscriptions(&self, _count: usize) {}

    fn next_subscription(&self) -> SubId {
        SubId(self.subscriptions.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn bucket_of_query(&self, _query: &str) -> Option<String> {
        None
    }

    fn permits(&self, _session: &Session, _operation: &str, _resource: &str) -> Option<bool> {
        None
    }
}
