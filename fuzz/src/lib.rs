//! Fuzz targets: each takes bytes, does with the product what they say, and panics where something is wrong.
//!
//! The bodies are plain functions, so that a test replays the corpus on any toolchain; `fuzz_targets` only hands them
//! to libFuzzer.

#![forbid(unsafe_code)]

mod config;
mod conn;
mod identity;
mod input;
mod json;
mod procedures;
mod query;
mod rules;
mod store;

/// A body: takes any bytes.
pub type Target = fn(&[u8]);

macro_rules! targets {
    ($($(#[$doc:meta])* $name:ident = $body:path;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(data: &[u8]) {
                $body(data);
            }
        )*

        /// All targets by name.
        pub const TARGETS: &[(&str, Target)] = &[$((stringify!($name), $name)),*];
    };
}

targets! {
    /// Raw messages into a connection, in each of its phases.
    conn_bytes = conn::bytes::run;
    /// Any order of calls of a connection's methods.
    conn_calls = conn::calls::run;
    /// A connection against a model of its pipeline.
    conn_model = conn::differential::run;
    /// Store operations, transactions and live views against a naive model.
    store_ops = store::run;
    /// Texts and documents into the configuration.
    config_file = config::run;
    /// Rules, events, facts and time into the rule engine.
    rules_input = rules::run;
    /// Definitions and calls of procedures, over engines that refuse at random.
    procedures = procedures::run;
    /// Filters and queries against a naive evaluator.
    filter_query = query::run;
    /// Identity calls in parts, failed writes, restarts.
    identity_calls = identity::run;
    /// The JSON parser, values and writer against `serde_json`.
    json = json::run;
}
