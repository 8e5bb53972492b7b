//! The connection state machine of the realtime data protocol 1.0.0.
//!
//! A [`Connection`] takes the messages of one peer and gives frames to send and [`Effect`]s to execute. It owns
//! everything that depends on one connection alone: parsing, the request pipeline, the session, subscriptions,
//! heartbeat, flow control, the closing sequence. It has no socket, no clock, no thread and knows no engine: time is
//! an argument ([`Now`]), what connections share is a trait ([`Shared`]), and operations leave as typed calls whose
//! replies come back through a token.
//!
//! ```
//! use noex_core::{Config, Connection, Frame, Instant, Message, Now, Peer, Solitary};
//! use std::sync::Arc;
//!
//! let now = Now { mono: Instant::from_millis(0), unix_ms: 1_700_000_000_000 };
//! let shared = Solitary::default();
//! let mut connection = Connection::new(Arc::new(Config::default()), Peer::new("127.0.0.1"), now);
//! connection.handle_message(now, &shared, Message::Text(r#"{"id":1,"type":"nope"}"#));
//!
//! let texts: Vec<String> = std::iter::from_fn(|| connection.poll_frame())
//!     .map(|frame| if let Frame::Text(text) = frame { text.into_string() } else { String::new() })
//!     .collect();
//! assert_eq!(texts, [
//!     r#"{"type":"welcome","version":"1.0.0","serverTime":1700000000000,"requiresAuth":false}"#,
//!     r#"{"id":1,"type":"error","code":"UNKNOWN_OPERATION","message":"Unknown operation \"nope\""}"#,
//! ]);
//! ```

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod audit;
mod calls;
mod config;
mod connection;
mod effect;
mod fields;
mod frame;
mod guard;
mod heartbeat;
mod limiter;
mod operation;
mod outbox;
mod permissions;
mod refusal;
mod request;
mod session;
mod shared;
mod subscriptions;
mod time;

pub use audit::AuditRecord;
pub use calls::{
    Aggregate, AuditQuery, IdentityCall, NewUser, ProceduresCall, ResourceName, RulesCall, ServerCall,
    StoreCall, StoreOperation, Subject, UserChanges,
};
pub use config::{AuthMode, Backpressure, Config, HeartbeatConfig, HeartbeatMode, TokenMode};
pub use connection::{Connection, Message, Peer};
pub use effect::{
    AuthToken, Body, CloseReason, Denied, Effect, IdentityToken, OpToken, SessionChange, Source,
    SubscribeToken,
};
pub use frame::{Frame, Text};
pub use guard::{system_bucket_in_schema, system_bucket_in_steps};
pub use limiter::{RateLimit, RateLimited, RateLimiter, RefusalVerdict};
pub use operation::{Operation, Tier};
pub use permissions::{PermissionRule, Permissions, Target, may, pattern_matches};
pub use refusal::{Code, Refusal};
pub use request::Parsed;
pub use session::{Session, SessionKey};
pub use shared::{LimitKey, Shared, Solitary};
pub use subscriptions::{Delivery, Delta, EndReason, ResultMode, SubId, Update};
pub use time::{Instant, Now};
