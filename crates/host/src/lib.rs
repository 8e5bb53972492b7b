//! What connections share, and the one driver that binds a connection to a byte stream.
//!
//! The [`Hub`] owns the registry, the limits, the engines and the routing of pushes. [`serve`] drives one accepted
//! stream from the first byte to the last, generic over `futures-io` streams and a small [`Timer`]. Runtime crates
//! add a listener, a timer and a way to spawn; nothing else.

#![forbid(unsafe_code)]

mod alarm;
mod audit;
mod auth;
mod awaited;
mod backend;
mod driver;
mod embedded;
mod gate;
mod handshake;
mod heap;
mod hub;
mod identity;
mod inbox;
mod lifecycle;
mod offline;
mod options;
mod passwords;
mod persistence;
mod procedures;
mod random;
mod refusals;
mod registry;
mod revocation;
mod rights;
mod rules;
mod server;
mod sessions;
mod shared;
mod stats;
mod sync;
mod ticket;
mod timer;
mod transport;
mod waiting;

pub use audit::AuditOptions;
pub use auth::{
    AuthFailure, Authenticator, FnAuthenticator, PermissionCheck, StaticTokens, TokenExpiry, Verdict,
};
pub use backend::{PushSink, StoreBackend};
pub use driver::serve;
pub use embedded::EmbeddedStore;
pub use gate::Durability;
pub use handshake::{AddressFilter, HandshakeConfig};
pub use hub::Hub;
pub use identity::IdentityOptions;
pub use inbox::Inbox;
pub use lifecycle::{run_deadlines, stop};
pub use noex_core as core;
pub use noex_core::{CloseReason, Config as ConnectionConfig, Instant, Now, Session, SubId};
pub use noex_identity as accounts;
pub use noex_procedures as procedures_engine;
pub use noex_rules as rules_engine;
pub use noex_store as store;
pub use offline::OfflineAccounts;
pub use options::{Options, StartError};
pub use persistence::Persistence;
pub use procedures::{EmbeddedProcedures, ProceduresOptions};
pub use registry::ConnectionInfo;
pub use rules::{EmbeddedRules, RulesOptions};
pub use server::{Runtime, Server};
pub use stats::ServerStats;
pub use ticket::{Reply, Ticket, TicketState, not_stored};
pub use timer::Timer;
