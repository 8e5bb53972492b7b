//! Work that the machine cannot do itself, and how it is answered.

use crate::{
    AuditQuery, AuditRecord, IdentityCall, ProceduresCall, Refusal, ResultMode, RulesCall, ServerCall,
    Session, StoreCall, SubId,
};
use alloc::{string::String, sync::Arc};
use noex_json::Value;

/// Work to be done outside. Effects are handed out in the order in which they must be executed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Effect {
    /// Find the session of a credential; answer with `reply_auth`.
    Authenticate {
        /// To be consumed by the answer.
        token: AuthToken,
        /// What the client presented.
        credential: String,
    },
    /// Call the store; answer with `reply`.
    Store {
        /// To be consumed by the answer.
        token: OpToken,
        /// The call.
        call: StoreCall,
    },
    /// Call the rule engine; answer with `reply`.
    Rules {
        /// To be consumed by the answer.
        token: OpToken,
        /// The call.
        call: RulesCall,
    },
    /// Ask the server about itself; answer with `reply`.
    Server {
        /// To be consumed by the answer.
        token: OpToken,
        /// The question.
        call: ServerCall,
    },
    /// Call the identity management; answer with `reply_identity`. Later requests wait for the answer.
    Identity {
        /// To be consumed by the answer.
        token: IdentityToken,
        /// The call.
        call: IdentityCall,
    },
    /// Call a procedure or administer procedures; answer with `reply`.
    Procedures {
        /// To be consumed by the answer.
        token: OpToken,
        /// The call.
        call: ProceduresCall,
        /// For whom the connection speaks, for procedures that run with the rights of their caller.
        session: Option<Arc<Session>>,
    },
    /// Look into the audit log; answer with `reply`.
    Audit {
        /// To be consumed by the answer.
        token: OpToken,
        /// What is asked for.
        query: AuditQuery,
    },
    /// Watch something; answer with `reply_subscribe`, then send each change with `push_result` or `push_event`.
    /// Changes may be sent before the answer too: they are held back until the client knows the subscription.
    Subscribe {
        /// To be consumed by the answer.
        token: SubscribeToken,
        /// Id of the new subscription.
        subscription: SubId,
        /// What to watch.
        source: Source,
    },
    /// Stop watching; no answer. Comes for every subscription that ends, for whatever reason, but not for one that was
    /// refused in the answer; it may come before the answer.
    Unsubscribe {
        /// The subscription.
        subscription: SubId,
    },
    /// Add an entry to the audit log; no answer. It comes when the request has been answered, or never will be.
    Record(AuditRecord),
    /// The connection speaks for somebody else now; no answer.
    SessionChanged(Option<Arc<Session>>),
    /// The connection has ended, its subscriptions are dropped: close the transport once it is drained. Exactly once,
    /// last.
    Closed(CloseReason),
}

/// What a subscription watches.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// The result of a query with parameters.
    Query {
        /// Name of the query.
        query: String,
        /// Parameters; `None` = none.
        params: Option<Value>,
        /// Whether updates are worth more with their deltas.
        mode: ResultMode,
    },
    /// Events whose topic matches a pattern.
    Events {
        /// The pattern.
        pattern: String,
    },
}

/// An unanswered operation.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "an unanswered operation holds its place in the order of replies"]
pub struct OpToken(pub(crate) u64);

/// An unanswered call of the identity management.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "an unanswered call holds up all later requests"]
pub struct IdentityToken(pub(crate) u64);

/// What an answer of the identity management means for the session of the connection that asked.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum SessionChange {
    /// It stays what it is.
    #[default]
    Keep,
    /// The connection speaks for this user now.
    Set(Session),
    /// The connection speaks for nobody any more.
    Clear,
}

/// An unanswered login.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "an unanswered login holds up all later requests"]
pub struct AuthToken(pub(crate) u64);

/// An unanswered subscribe.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "an unanswered subscribe holds its place in the order of replies"]
pub struct SubscribeToken(pub(crate) u64, pub(crate) SubId);

/// The `data` of a result.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body {
    /// JSON text that others hold too.
    Shared(Arc<str>),
    /// JSON text of this reply alone.
    Owned(String),
    /// Constant JSON text.
    Static(&'static str),
    /// No value: the member is left out.
    Absent,
}

/// Why a login is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Denied {
    /// Nobody is known by this credential.
    Invalid,
    /// The user has been revoked.
    Revoked {
        /// The user.
        user_id: String,
    },
    /// Any other answer, such as an internal error.
    Other(Refusal),
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer sent a close frame with this code.
    Peer(Option<u16>),
    /// The transport ended or failed.
    TransportLost,
    /// The server stops.
    ServerShutdown,
    /// The handshake was completed while the server stops.
    ServerShuttingDown,
    /// The peer broke RFC 6455.
    ProtocolError,
    /// Text that is not UTF-8.
    InvalidUtf8,
    /// A message over the size limit.
    MessageTooLarge,
    /// A binary message.
    BinaryMessage,
    /// A ping stayed unanswered.
    HeartbeatTimeout,
    /// The session was revoked.
    SessionRevoked,
    /// Too many connections from one address.
    TooManyConnections,
    /// No login in time.
    AuthTimeout,
    /// The peer takes no data.
    SlowConsumer,
    /// Too many refused requests.
    TooManyRefusals,
    /// The host failed while it served the connection.
    InternalError,
}

impl CloseReason {
    /// Close code and reason to send; `None` if there is nobody to tell.
    #[must_use]
    pub const fn close_frame(self) -> Option<(Option<u16>, &'static str)> {
        Some(match self {
            Self::TransportLost => return None,
            Self::Peer(code) => (code, ""),
            Self::ServerShutdown => (Some(1000), "server_shutdown"),
            Self::ServerShuttingDown => (Some(1001), "server_shutting_down"),
            Self::ProtocolError => (Some(1002), ""),
            Self::InvalidUtf8 => (Some(1007), ""),
            Self::MessageTooLarge => (Some(1009), ""),
            Self::BinaryMessage => (Some(1003), "binary_not_supported"),
            Self::HeartbeatTimeout => (Some(4001), "heartbeat_timeout"),
            Self::SessionRevoked => (Some(4002), "session_revoked"),
            Self::TooManyConnections => (Some(4003), "too_many_connections"),
            Self::AuthTimeout => (Some(4004), "auth_timeout"),
            Self::SlowConsumer => (Some(1013), "slow_consumer"),
            Self::TooManyRefusals => (Some(1008), "too_many_refused_requests"),
            Self::InternalError => (Some(1011), "internal_error"),
        })
    }
}
