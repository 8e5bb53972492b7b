//! The subscriptions of one connection: what has been sent, what is held back, what has ended.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    string::String,
    sync::Arc,
};
use core::fmt;

/// Id of a subscription, unique in the process; `sub-<n>` on the wire.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SubId(pub u64);

impl fmt::Display for SubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sub-{}", self.0)
    }
}

impl SubId {
    /// Reads the wire form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("sub-").filter(|d| !d.starts_with(['0', '+']))?;
        digits.parse().ok().map(Self)
    }
}

/// A state of a query's result.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Update {
    /// Grows with each different result of the query.
    pub version: u64,
    /// The result as JSON text; `None` = no value.
    pub data: Option<Arc<str>>,
    /// What is new since an earlier version, if that is known; of use to subscriptions that asked for changes.
    pub delta: Option<Delta>,
}

impl Update {
    /// Makes an update that is told in whole.
    #[must_use]
    pub fn whole(version: u64, data: Option<Arc<str>>) -> Self {
        Self { version, data, delta: None }
    }
}

/// The way from one state of a query's result to a later one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delta {
    /// Version to which the changes apply; applying them gives the version of the update.
    pub from: u64,
    /// The changes as JSON text, versions included: the `delta` of a push.
    pub changes: Arc<str>,
}

/// What a subscriber of a query is sent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ResultMode {
    /// Each result in whole.
    #[default]
    Full,
    /// Changes where possible, otherwise results in whole; both with their versions.
    Delta,
}

/// Why the server ended a subscription.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EndReason {
    /// The bucket that the query reads was dropped.
    BucketDropped,
    /// The query was undefined.
    QueryUndefined,
    /// The user logged out.
    LoggedOut,
    /// The session expired.
    SessionExpired,
    /// The user may no longer watch this.
    PermissionRevoked,
}

impl EndReason {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BucketDropped => "bucket_dropped",
            Self::QueryUndefined => "query_undefined",
            Self::LoggedOut => "logged_out",
            Self::SessionExpired => "session_expired",
            Self::PermissionRevoked => "permission_revoked",
        }
    }
}

/// What became of a push.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Delivery {
    /// A frame was queued.
    Queued,
    /// Held back; the latest state follows when the peer has caught up.
    Deferred,
    /// Nothing to send: the peer knows this state already.
    Unchanged,
    /// There is no such subscription.
    Unknown,
}

impl Delivery {
    /// Tells whether a frame was queued.
    #[must_use]
    pub fn is_queued(self) -> bool {
        self == Self::Queued
    }
}

/// One subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) stream: Stream,
    /// Whether the reply that tells its id has been queued; pushes before that are held back.
    pub(crate) announced: bool,
    /// Set when it ended before it was announced.
    pub(crate) ended: Option<EndReason>,
}

/// What flows through a subscription.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Results of a query; only the latest matters.
    Results { query: String, mode: ResultMode, sent: Option<Update>, latest: Option<Update> },
    /// Events; each matters, up to a limit.
    Events { pattern: String, kept: VecDeque<Arc<str>>, dropped: u64 },
}

/// What a subscription watches.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Watched<'a> {
    Query(&'a str),
    Pattern(&'a str),
}

/// Ended subscriptions that are remembered, so that one late unsubscribe still succeeds.
const ENDED_MAX: usize = 1024;

/// All subscriptions of a connection.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    /// Boxed, because a node of the map has room for many, and most connections have one.
    live: BTreeMap<SubId, Box<Subscription>>,
    /// Subscriptions with something held back, in the order in which that began.
    deferred: VecDeque<SubId>,
    /// Subscriptions whose latest result must follow a reply that waits its turn.
    after_replies: BTreeSet<SubId>,
    ended: VecDeque<SubId>,
}

impl Subscriptions {
    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    pub(crate) fn counts(&self) -> (usize, usize) {
        let events = self.live.values().filter(|s| matches!(s.stream, Stream::Events { .. })).count();
        (self.live.len() - events, events)
    }

    pub(crate) fn insert(&mut self, id: SubId, stream: Stream) {
        self.live.insert(id, Box::new(Subscription { stream, announced: false, ended: None }));
    }

    pub(crate) fn get_mut(&mut self, id: SubId) -> Option<&mut Subscription> {
        self.live.get_mut(&id).map(Box::as_mut)
    }

    pub(crate) fn remove(&mut self, id: SubId) -> Option<Box<Subscription>> {
        self.deferred.retain(|deferred| *deferred != id);
        self.after_replies.remove(&id);
        self.live.remove(&id)
    }

    /// Removes all subscriptions and lists them.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = SubId> + use<> {
        self.deferred.clear();
        self.after_replies.clear();
        core::mem::take(&mut self.live).into_keys()
    }

    /// Removes a subscription that the server ends, and remembers it.
    pub(crate) fn end(&mut self, id: SubId) -> bool {
        if self.remove(id).is_none() {
            return false;
        }
        if self.ended.len() == ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(id);
        true
    }

    /// Forgets an ended subscription; false if it was not remembered.
    pub(crate) fn forget_ended(&mut self, id: SubId) -> bool {
        let at = self.ended.iter().position(|ended| *ended == id);
        at.and_then(|at| self.ended.remove(at)).is_some()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = SubId> {
        self.live.keys().copied()
    }

    /// Lists what is watched.
    pub(crate) fn watched(&self) -> impl Iterator<Item = (SubId, Watched<'_>)> {
        self.live.iter().map(|(id, subscription)| match &subscription.stream {
            Stream::Results { query, .. } => (*id, Watched::Query(query)),
            Stream::Events { pattern, .. } => (*id, Watched::Pattern(pattern)),
        })
    }

    pub(crate) fn defer(&mut self, id: SubId) {
        if !self.deferred.contains(&id) {
            self.deferred.push_back(id);
        }
    }

    pub(crate) fn next_deferred(&mut self) -> Option<SubId> {
        self.deferred.pop_front()
    }

    pub(crate) fn has_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    pub(crate) fn defer_after_replies(&mut self, id: SubId) {
        self.after_replies.insert(id);
    }

    pub(crate) fn next_after_replies(&mut self) -> Option<SubId> {
        self.after_replies.pop_first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_wire_form() {
        assert_eq!(SubId::parse("sub-12"), Some(SubId(12)));
        for text in ["sub-012", "sub-+1", "sub-", "sub", "12", "SUB-1", "sub-1x"] {
            assert_eq!(SubId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn ended_subscriptions_are_remembered_up_to_a_limit() {
        let mut subscriptions = Subscriptions::default();
        for n in 0..=ENDED_MAX as u64 {
            subscriptions
                .insert(SubId(n), Stream::Events { pattern: "*".into(), kept: VecDeque::new(), dropped: 0 });
            assert!(subscriptions.end(SubId(n)));
        }
        assert!(!subscriptions.forget_ended(SubId(0)));
        assert!(subscriptions.forget_ended(SubId(1)));
        assert!(!subscriptions.forget_ended(SubId(1)));
    }
}
