//! The one error type of the tools, sorted by who has to act.

use std::fmt;
use std::io;

/// Why a run ended without a measurement.
#[derive(Debug)]
pub enum LoadError {
    /// The command line is wrong; exit code 2.
    Usage(String),
    /// A socket or file failed; the text says during what.
    Io(&'static str, io::Error),
    /// The server broke the protocol, refused a request that must succeed, or closed a connection.
    Protocol(String),
    /// A correctness check did not hold.
    Check(String),
}

impl LoadError {
    /// Makes an error of the failed system call `during` for use with `map_err`.
    pub fn io(during: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self::Io(during, error)
    }

    /// The exit code of the process: 2 for a wrong command line, else 1.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Io(..) | Self::Protocol(_) | Self::Check(_) => 1,
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => write!(f, "{text}"),
            Self::Io(during, error) => write!(f, "{during}: {error}"),
            Self::Protocol(text) => write!(f, "protocol: {text}"),
            Self::Check(text) => write!(f, "check failed: {text}"),
        }
    }
}

impl std::error::Error for LoadError {}
