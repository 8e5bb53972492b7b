//! What connections share, as a test sets it up: limits, credentials, and a model of queries.

use noex_core::{
    Denied, LimitKey, Now, RateLimit, RateLimited, RateLimiter, Refusal, RefusalVerdict, Session, Shared,
    SubId, Target, Update, pattern_matches,
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    sync::Arc,
};

/// An embedder's permission check: session, operation, resource.
type Check = fn(&Session, &str, &str) -> Option<bool>;

/// A query of the model: one state at a time.
#[derive(Debug)]
struct Query {
    bucket: String,
    state: Update,
}

/// Shared state and its limits; `Default` has no limits.
///
/// Credentials known from the start: `admin`, `writer`, `reader` and `guest` log in as the user of that name with the
/// role of that name; `short` is a reader until five seconds after the start; `expired` has ended already; `revoked`
/// is refused as such; `broken` makes the authenticator fail. Queries known from the start: `qa` over bucket `a`,
/// `qb` over bucket `b`, both with the result `{"n":0}`; inserts count it up.
#[derive(Debug)]
pub struct World {
    limiter: Option<RefCell<RateLimiter>>,
    subscriptions_max: usize,
    reserved: Cell<usize>,
    last_subscription: Cell<u64>,
    credentials: BTreeMap<String, Result<Session, Denied>>,
    queries: RefCell<BTreeMap<String, Query>>,
    check: Option<Check>,
    rights: RefCell<Vec<Right>>,
}

/// Something that a user of the built-in identity may do.
#[derive(Debug)]
struct Right {
    user: String,
    /// Pattern of operations.
    operation: String,
    /// `<kind>:<name>`, or `*` for everything.
    resource: String,
}

impl Default for World {
    fn default() -> Self {
        let world = Self {
            limiter: None,
            subscriptions_max: usize::MAX,
            reserved: Cell::new(0),
            last_subscription: Cell::new(0),
            credentials: BTreeMap::new(),
            queries: RefCell::default(),
            check: None,
            rights: RefCell::default(),
        };
        let until = |expires_at_ms| Session {
            user_id: "short".into(),
            roles: vec!["reader".into()],
            metadata: None,
            expires_at_ms: Some(expires_at_ms),
            stored: None,
        };
        ["admin", "writer", "reader", "guest"]
            .into_iter()
            .fold(world, |world, name| world.credential(name, name, &[name]))
            .verdict("short", Ok(until(crate::EPOCH_MS + 5_000)))
            .verdict("expired", Ok(until(crate::EPOCH_MS - 1)))
            .verdict("revoked", Err(Denied::Revoked { user_id: "revoked".into() }))
            .verdict("broken", Err(Denied::Other(Refusal::internal())))
            .query("qa", "a")
            .query("qb", "b")
    }
}

impl World {
    /// Limits requests, and refusals by a budget of the same size.
    #[must_use]
    pub fn rate_limit(mut self, requests_max: u64, window_ms: u64) -> Self {
        self.limiter = Some(RefCell::new(RateLimiter::new(RateLimit { requests_max, window_ms }, 100)));
        self
    }

    /// Limits the subscriptions of the whole server.
    #[must_use]
    pub fn subscriptions_max(mut self, max: usize) -> Self {
        self.subscriptions_max = max;
        self
    }

    /// Makes a credential known that never expires.
    #[must_use]
    pub fn credential(self, credential: &str, user_id: &str, roles: &[&str]) -> Self {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        self.verdict(credential, Ok(Session { user_id: user_id.into(), roles, ..Session::default() }))
    }

    /// Sets what the authenticator says of a credential.
    #[must_use]
    pub fn verdict(mut self, credential: &str, verdict: Result<Session, Denied>) -> Self {
        self.credentials.insert(credential.into(), verdict);
        self
    }

    /// Adds a query.
    #[must_use]
    pub fn query(self, name: &str, bucket: &str) -> Self {
        let state = Update::whole(0, Some(r#"{"n":0}"#.into()));
        self.queries.borrow_mut().insert(name.into(), Query { bucket: bucket.into(), state });
        self
    }

    /// Installs an embedder's permission check.
    #[must_use]
    pub fn permission_check(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// Lets a user of the built-in identity run operations: `resource` is `<kind>:<name>`, or `*` for everything.
    pub fn grant(&self, user: &str, operation: &str, resource: &str) {
        self.rights.borrow_mut().push(Right {
            user: user.into(),
            operation: operation.into(),
            resource: resource.into(),
        });
    }

    /// Takes from a user all rights on a resource.
    pub fn withdraw(&self, user: &str, resource: &str) {
        self.rights.borrow_mut().retain(|right| right.user != user || right.resource != resource);
    }

    /// Subscriptions reserved and not released.
    #[must_use]
    pub fn reserved(&self) -> usize {
        self.reserved.get()
    }

    /// The state of a query.
    #[must_use]
    pub fn state(&self, query: &str) -> Option<Update> {
        self.queries.borrow().get(query).map(|query| query.state.clone())
    }

    pub(crate) fn authenticate(&self, credential: &str) -> Result<Session, Denied> {
        self.credentials.get(credential).cloned().unwrap_or(Err(Denied::Invalid))
    }

    /// Gives a query a new state.
    pub(crate) fn set_state(&self, query: &str, data: Option<Arc<str>>) -> Option<Update> {
        let mut queries = self.queries.borrow_mut();
        let query = queries.get_mut(query)?;
        query.state = Update::whole(query.state.version + 1, data);
        Some(query.state.clone())
    }

    /// Counts up the queries over a bucket; gives their names and new states.
    pub(crate) fn count_up(&self, bucket: &str) -> Vec<(String, Update)> {
        let mut changed = Vec::new();
        for (name, query) in self.queries.borrow_mut().iter_mut().filter(|(_, query)| query.bucket == bucket)
        {
            let version = query.state.version + 1;
            query.state = Update::whole(version, Some(format!(r#"{{"n":{version}}}"#).into()));
            changed.push((name.clone(), query.state.clone()));
        }
        changed
    }
}

impl Shared for World {
    fn charge(&self, key: LimitKey<'_>, now: Now) -> Result<(), RateLimited> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        let key = match key {
            LimitKey::User(user) => format!("u:{user}"),
            LimitKey::Address(address) => format!("ip:{address}"),
        };
        limiter.borrow_mut().charge(&key, now)
    }

    fn charge_refusal(&self, address: &str, now: Now) -> RefusalVerdict {
        self.limiter.as_ref().map_or(RefusalVerdict::Answer, |limiter| {
            limiter.borrow_mut().charge_refusal(&format!("refused:{address}"), now)
        })
    }

    fn reserve_subscription(&self) -> Result<(), usize> {
        if self.reserved.get() >= self.subscriptions_max {
            return Err(self.subscriptions_max);
        }
        self.reserved.set(self.reserved.get() + 1);
        Ok(())
    }

    fn release_subscriptions(&self, count: usize) {
        let left = self.reserved.get().checked_sub(count);
        self.reserved.set(left.expect("no more is released than was reserved"));
    }

    fn next_subscription(&self) -> SubId {
        self.last_subscription.set(self.last_subscription.get() + 1);
        SubId(self.last_subscription.get())
    }

    fn bucket_of_query(&self, query: &str) -> Option<String> {
        self.queries.borrow().get(query).map(|query| query.bucket.clone())
    }

    fn permits(&self, session: &Session, operation: &str, resource: &str) -> Option<bool> {
        self.check.and_then(|check| check(session, operation, resource))
    }

    fn permits_user(&self, user_id: &str, operation: &str, target: Target<'_>) -> bool {
        let names = match target {
            Target::Bucket(name) => vec![format!("bucket:{name}")],
            Target::Query { name, bucket } => [format!("query:{name}")]
                .into_iter()
                .chain(bucket.map(|bucket| format!("bucket:{bucket}")))
                .collect(),
            Target::Topic(name) => vec![format!("topic:{name}")],
            Target::Procedure(name) => vec![format!("procedure:{name}")],
            Target::Own | Target::Server => Vec::new(),
        };
        self.rights.borrow().iter().any(|right| {
            right.user == user_id
                && pattern_matches(&right.operation, operation)
                && (right.resource == "*" || target == Target::Own || names.contains(&right.resource))
        })
    }

    fn visible_buckets(&self, user_id: &str) -> Vec<String> {
        let names = ["a", "b", "_users"].map(str::to_owned);
        let visible = |name: &String| self.permits_user(user_id, "store.buckets", Target::Bucket(name));
        names.into_iter().filter(visible).collect()
    }
}
