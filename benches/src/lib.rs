//! Parts of the load generator: client framing, sockets, measurements.
//!
//! `noex-load` drives a running server over loopback and must cost clearly less per message than the server does, so
//! the hot path copies prepared frames and scans replies without parsing them. `noex-floor` is the server that does
//! nothing but frame and answer: what is left over it is the product's own cost.
//! Only loopback addresses are accepted, and every run has an upper bound in time.

#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "measures real time")]

pub mod classify;
pub mod client;
pub mod clock;
pub mod error;
pub mod exchange;
pub mod flags;
pub mod frame;
pub mod handshake;
pub mod histogram;
pub mod process;
pub mod swarm;
pub mod template;
