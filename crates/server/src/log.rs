//! The log on standard error.

use noex_config::{Log, LogFormat, LogLevel};
use std::io::{self, Write};
use tracing_subscriber::filter::LevelFilter;

/// Starts logging.
pub(crate) fn start(config: &Log) {
    let level = match config.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let builder = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false);
    match config.format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// Writes lines for people, without time and level.
pub(crate) fn plain(text: &str) {
    // A log that nobody reads must not stop the server.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
