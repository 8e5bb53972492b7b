//! Configuration of noex-server: command line and config file, validated into plain structs.
//!
//! Input: program arguments, an environment lookup, the text of one JSON file. Output: a [`Config`] whose values are
//! all inside their documented ranges, or every problem as one line of text. No sockets, no clock, no log; the only
//! file reads are the config file and the admin secret file, both in [`load`].
//! Invariant: tokens and the admin secret never appear in a message or in `Debug` output.
//! Source: the configuration description (keys, ranges, message texts).
//!
//! ```
//! use noex_config::{Cli, parse};
//!
//! let loaded = parse(r#"{"port": 9000, "path": "/ws"}"#, &Cli::default()).unwrap();
//! assert_eq!((loaded.config.port, loaded.config.path.as_str()), (9000, "/ws"));
//! assert!(parse(r#"{"port": "9000"}"#, &Cli::default()).is_err());
//! ```
#![forbid(unsafe_code)]

mod auth;
mod banner;
mod cidr;
mod cli;
mod config;
mod load;
mod secret;

pub use auth::{
    AuthConfig, BuiltInAuth, Expiry, LoginRateLimit, PermissionRule, Permissions, TokenAuth, TokenEntry,
};
pub use banner::{VERSION, banner, start_warnings, version_text};
pub use cidr::{IpNet, IpNetError};
pub use cli::{Action, Cli, CliError, HELP, parse_args};
pub use config::{
    AuditConfig, Backpressure, Config, ConnectionLimits, Durability, Heartbeat, HeartbeatMode, Limits, Log,
    LogFormat, LogLevel, OnDuplicateInsert, Persistence, ProceduresConfig, RateLimit, Revocation,
    RulesConfig, Shutdown, StoreSwitches, Tier,
};
pub use load::{LoadError, Loaded, load, parse};
pub use secret::Secret;
