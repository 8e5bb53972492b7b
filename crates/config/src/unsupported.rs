//! What can be configured but not yet done.
//!
//! The configuration format is complete from the start; a server that quietly ignored a part of it would be less safe
//! than one that refuses to start.

use crate::config::{Config, Persistence};

/// Lists what `config` asks for and this version lacks, one line each.
pub fn unsupported(config: &Config) -> Vec<String> {
    let persistence = match config.persistence {
        Persistence::Memory => None,
        Persistence::File { .. } => Some("persistence \"file\""),
        Persistence::Sqlite { .. } => Some("persistence \"sqlite\""),
    };
    [persistence]
        .into_iter()
        .flatten()
        .map(|what| format!("{what} is not available in this version"))
        .collect()
}
