//! Tests of the connection state machine without sockets, threads or waiting.
//!
//! A [`Pair`] joins one `noex_core::Connection` with a scripted client, under a virtual clock. Between them stand a
//! fake transport, whose capacity the test sets, and a fake host, which executes effects on a tiny model and answers
//! at once, later, or when the test says so. After every step the pair checks what must hold whatever happens (see
//! `ledger`). The strategies in [`script`] make configurations, messages and orders of calls.
//!
//! ```
//! use noex_core::{CloseReason, Config};
//! use noex_testkit::{Pair, secs};
//!
//! let mut pair = Pair::new(Config::default());
//! pair.advance(secs(39));
//! assert_eq!(pair.received().len(), 2); // the welcome and a ping
//! pair.advance(secs(1));
//! assert_eq!(pair.received(), ["close 4001 heartbeat_timeout"]);
//! pair.advance(secs(2)); // for the peer to answer the close frame
//! assert_eq!(pair.closed(), Some(CloseReason::HeartbeatTimeout));
//! ```

#![forbid(unsafe_code)]

mod host;
mod ledger;
mod pair;
pub mod script;
mod texts;
mod transport;
mod world;

pub use pair::{EPOCH_MS, Inbound, Pair};
pub use texts::{error, push, request, result, subscribed, system};
pub use world::World;

use std::time::Duration;

/// A span of whole seconds.
#[must_use]
pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A span of whole milliseconds.
#[must_use]
pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
