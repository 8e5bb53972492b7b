//! Tests of the store through its public interface.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod access;
mod deltas;
mod engine;
mod examples;
mod history;
mod journal;
mod live;
mod maintenance;
mod model;
mod program;
mod support;
mod views;
