//! Built-in identity management: users, roles, access lists, owners, sessions and passwords.
//!
//! [`Identity`] is a state machine in memory. Calls come in as [`IdentityCall`](noex_core::IdentityCall), answers go
//! out as [`Outcome`]; time, randomness and what only the host knows come through [`Environment`]. It has no clock,
//! lock or I/O and computes no password hash itself.
//!
//! **One call.** [`Identity::call`] gives a [`Step`]: either the outcome, or a [`PasswordJob`] to be run on another
//! thread, whose result [`Identity::resume`] takes together with the [`Pending`] rest of the call. Everything is
//! checked again then, because the state may have changed meanwhile. A pending call holds nothing: drop it if the job
//! cannot be run.
//!
//! **Durability.** The state is mirrored in system buckets of the store ([`bucket_definitions`]). No method but
//! [`Identity::commit`] changes it. What a call would change is in [`Outcome::changes`]; the host writes it in one
//! transaction and then commits it, or drops it if the write fails and answers
//! [`Refusal::internal`](noex_core::Refusal::internal). Between the call and the commit no other call may be made: the
//! host keeps its lock. [`Identity::load`] rebuilds the state from the records.
//!
//! **Permissions.** [`Identity::permits`] decides whether a user may do something, by the roles, access lists and
//! owners of this moment.
//!
//! Source: the auth specification, section 6.
//!
//! ```
//! use noex_core::IdentityCall;
//! use noex_identity::{Caller, Environment, Identity, Settings, SessionChange, Step, TokenHash};
//!
//! struct Host;
//! impl Environment for Host {
//!     fn now_ms(&self) -> u64 { 1_700_000_000_000 }
//!     fn random(&mut self, bytes: &mut [u8]) { bytes.fill(7) } // a real host asks the system
//!     fn is_revoked(&self, _user_id: &str) -> bool { false }
//!     fn is_bound(&self, _token: &TokenHash) -> bool { false }
//! }
//!
//! let mut identity = Identity::load(Settings::new("secret"), Vec::<(String, _)>::new())?;
//! let roles = identity.bootstrap(&mut Host);
//! identity.commit(roles)?;
//!
//! let caller = Caller { address: "127.0.0.1".into(), ..Caller::default() };
//! let call = IdentityCall::LoginWithSecret { secret: "secret".into() };
//! let Step::Done(outcome) = identity.call(&caller, call, &mut Host) else { unreachable!() };
//! assert!(outcome.reply.is_ok_and(|json| json.starts_with(r#"{"token":""#)));
//! assert!(matches!(outcome.session, SessionChange::Set { .. }));
//! assert_eq!(outcome.changes.records().len(), 1); // the session
//! identity.commit(outcome.changes)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod access;
mod attempts;
mod changes;
mod grants;
mod identity;
mod logins;
mod names;
mod offline;
mod password;
mod permission;
mod reply;
mod roles;
mod row;
mod sessions;
mod settings;
mod state;
mod table;
mod token;
mod users;

pub use access::{Check, Target};
pub use changes::{Changes, RecordAction, RecordChange};
pub use identity::{
    Caller, Environment, Identity, Notice, Outcome, Pending, SessionChange, StaleChanges, Step,
    superadmin_required,
};
pub use names::ResourceKind;
pub use offline::UserSummary;
pub use password::{PasswordJob, PasswordResult};
pub use row::{LoadError, bucket_definitions};
pub use sessions::TokenLogin;
pub use settings::{PasswordCost, SecretHash, Settings};
pub use state::{SUPERADMIN, SUPERADMIN_ROLE};
pub use token::TokenHash;
