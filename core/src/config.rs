//! What a connection is configured with. One value serves all connections of a server.

use crate::{Permissions, Tier};
use alloc::{string::String, vec::Vec};
use core::time::Duration;

/// Settings of the protocol machine; `Default` gives the documented defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether and how clients log in.
    pub auth: AuthMode,
    /// Tiers of the operations that are recorded for the audit log; empty = there is none.
    pub audit: Vec<Tier>,
    /// Whether a rule engine is attached; without one `rules.*` answers `RULES_NOT_AVAILABLE`.
    pub rules: bool,
    /// Whether procedures are served.
    pub procedures: bool,
    /// Whether `details` of errors are sent.
    pub expose_error_details: bool,
    /// Deepest nesting of a message, the message itself counted.
    pub json_depth_max: usize,
    /// Requests of one connection that may be under way or waiting; at this number reading pauses. 0 counts as 1.
    pub requests_in_flight_max: usize,
    /// Operations in one transaction; 0 = unlimited.
    pub transaction_operations_max: usize,
    /// Characters of a bucket, query or rule name, topic or fact key; 0 = unlimited.
    pub name_length_max: usize,
    /// Subscriptions of one connection.
    pub subscriptions_max: usize,
    /// Liveness checks.
    pub heartbeat: HeartbeatConfig,
    /// Flow control towards the peer.
    pub backpressure: Backpressure,
    /// Time to log in where that is required; `None` = for ever.
    pub auth_timeout: Option<Duration>,
    /// How long a closing connection waits for the peer's close frame.
    pub close_timeout: Duration,
    /// How long requests that are under way may take to finish before a shutdown closes the connection.
    pub drain_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            auth: AuthMode::None,
            audit: Vec::new(),
            rules: false,
            procedures: false,
            expose_error_details: true,
            json_depth_max: 128,
            requests_in_flight_max: 256,
            transaction_operations_max: 10_000,
            name_length_max: 1024,
            subscriptions_max: 100,
            heartbeat: HeartbeatConfig::default(),
            backpressure: Backpressure::default(),
            auth_timeout: None,
            close_timeout: Duration::from_secs(2),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// How clients authenticate.
#[derive(Clone, Debug, Default)]
pub enum AuthMode {
    /// Not at all; everybody may do everything.
    #[default]
    None,
    /// With a token that the host validates.
    Token(TokenMode),
    /// As users that the host manages, whose rights [`Shared::permits_user`](crate::Shared::permits_user) knows. A
    /// login is required.
    BuiltIn,
}

/// Settings of token authentication.
#[derive(Clone, Debug)]
pub struct TokenMode {
    /// Whether requests need a login.
    pub required: bool,
    /// Roles under which anonymous clients are judged where a login is optional; `None` = they may do everything.
    pub anonymous_roles: Option<Vec<String>>,
    /// Whether a session without a built-in role is below every tier instead of above all.
    pub strict_tiers: bool,
    /// Declarative rules; `None` = no check beyond the tiers.
    pub permissions: Option<Permissions>,
}

impl Default for TokenMode {
    fn default() -> Self {
        Self { required: true, anonymous_roles: None, strict_tiers: false, permissions: None }
    }
}

/// Which deadline an unanswered ping has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HeartbeatMode {
    /// The timeout after the ping was written.
    #[default]
    Deadline,
    /// The next tick of the interval.
    Tick,
}

/// Liveness checks.
#[derive(Clone, Copy, Debug)]
pub struct HeartbeatConfig {
    /// Time from ping to ping. Must not be zero.
    pub interval: Duration,
    /// Time that a ping may stay unanswered, in deadline mode.
    pub timeout: Duration,
    /// Which of the two ends a silent connection.
    pub mode: HeartbeatMode,
}

impl Default for HeartbeatConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
            mode: HeartbeatMode::Deadline,
        }
    }
}

/// Flow control towards a peer that reads slowly.
#[derive(Clone, Copy, Debug)]
pub struct Backpressure {
    /// Bytes queued at which reading pauses (or requests are rejected). 0 counts as 1.
    pub buffered_bytes_max: usize,
    /// Bytes queued at which pushes are held back; below half of it they resume. 0 counts as 1.
    pub push_threshold_bytes: usize,
    /// Time without any byte taken, at the maximum, after which the connection is dropped.
    pub stall_timeout: Duration,
    /// Events kept per subscription while pushes are held back.
    pub events_max: usize,
    /// Whether requests are answered `BACKPRESSURE` instead of not being read.
    pub reject_requests: bool,
}

impl Default for Backpressure {
    fn default() -> Self {
        Self {
            buffered_bytes_max: 1_048_576,
            push_threshold_bytes: 838_860,
            stall_timeout: Duration::from_secs(30),
            events_max: 1000,
            reject_requests: false,
        }
    }
}
