//! The driver over an in-memory stream, in virtual time, and the embedded store under threads.

#![forbid(unsafe_code)]

mod abuse;
mod auth;
mod client;
mod duplex;
mod handshake;
mod liveness;
mod shared_store;
mod stopping;
mod traffic;
mod world;
