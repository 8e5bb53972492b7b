//! The server over loopback, against a WebSocket client that shares no framing code with it.
//!
//! Nothing here sleeps or measures time: tests wait for messages, with a limit that only a hang reaches.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

use noex_smol as runtime;

mod client;
mod deltas;
mod durable;
mod embedding;
mod load;
mod protocol;
mod rights;
