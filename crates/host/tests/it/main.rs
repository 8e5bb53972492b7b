//! The driver over an in-memory stream, in virtual time, and the embedded store under threads.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod abuse;
mod attacks;
mod auth;
mod client;
mod deltas;
mod duplex;
mod durability;
mod durable_accounts;
mod durable_procedures;
mod handshake;
mod identity;
mod liveness;
mod procedures;
mod serializability;
mod shared_store;
mod stopping;
mod tour;
mod traffic;
mod world;
