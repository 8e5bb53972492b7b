//! Reads the config file and turns it, with the command line, into a [`Config`].
//!
//! Order: read files, parse JSON, lay the options over the document, validate every key. All problems are collected.
//! Invariant: no wrong value is replaced by a default; whatever is not taken over is an error or a warning.
//! Source: the configuration description, "Start-up failures" and "Config file".

mod auth;
mod definitions;
mod overlay;
mod section;
mod sections;

use std::fmt;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use crate::cli::Cli;
use crate::config::Config;
use crate::secret::Secret;
use section::Report;

/// A valid configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Lines for the log, each beginning with `Warning: `.
    pub warnings: Vec<String>,
}

/// Why there is no configuration. `Display` gives the lines that belong on stderr.
#[derive(Clone, Debug, PartialEq)]
pub enum LoadError {
    /// The config file cannot be read or is not a JSON object.
    File(String),
    /// The configuration is wrong.
    Invalid {
        /// Everything that is wrong, one line each, at least one.
        problems: Vec<String>,
        /// What may be wrong besides.
        warnings: Vec<String>,
        /// What could be read, with defaults in the places of what is wrong; for finding further problems only.
        config: Box<Config>,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(text) => write!(f, "Error loading config file: {text}"),
            Self::Invalid { problems, .. } => {
                for (i, problem) in problems.iter().enumerate() {
                    let line_break = if i == 0 { "" } else { "\n" };
                    write!(f, "{line_break}Error: {problem}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// Reads the files that `cli` names and validates everything.
///
/// Without a config file the options are laid over an empty one.
pub fn load(cli: &Cli) -> Result<Loaded, LoadError> {
    let text = match &cli.config {
        Some(path) => Some(read_text(path).map_err(LoadError::File)?),
        None => None,
    };
    let secret = cli.admin_secret_file.as_deref().map(read_text);
    assemble(text.as_deref().unwrap_or("{}"), cli, secret)
}

/// Validates `text`, the content of a config file, with the options of `cli` laid over it.
///
/// Reads no file: `cli.config` and `cli.admin_secret_file` are ignored.
pub fn parse(text: &str, cli: &Cli) -> Result<Loaded, LoadError> {
    assemble(text, cli, None)
}

/// `secret_file`: content of the admin secret file, or why it cannot be read.
fn assemble(text: &str, cli: &Cli, secret_file: Option<Result<String, String>>) -> Result<Loaded, LoadError> {
    let mut document = parse_object(text).map_err(LoadError::File)?;
    let mut report = Report::default();
    overlay::apply(&mut document, cli);
    match secret_file {
        Some(Ok(content)) => {
            overlay::set_admin_secret(&mut document, &Secret::new(without_newline(&content)))
        }
        Some(Err(problem)) => {
            report.errors.push(format!("Cannot read admin secret file: {problem}"));
            // The file stands for a secret: without this, its absence would be reported as well.
            overlay::set_admin_secret(&mut document, &Secret::new("x".repeat(16)));
        }
        None => {}
    }
    let mut config = sections::parse(&document, &mut report);
    config.ready_line = cli.ready_line;
    config.check = cli.check;

    let Report { mut errors, unknown, mut warnings } = report;
    let unknown = unknown.into_iter().map(|path| format!("unknown config key {}", Value::String(path)));
    if cli.strict_config {
        errors.extend(unknown);
    } else {
        warnings.extend(unknown.map(|text| format!("Warning: {text}")));
    }
    if errors.is_empty() {
        return Ok(Loaded { config, warnings });
    }
    let problems = errors.iter().map(|error| one_line(error)).collect();
    Err(LoadError::Invalid { problems, warnings, config: Box::new(config) })
}

fn parse_object(text: &str) -> Result<Map<String, Value>, String> {
    let document: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if let Value::Object(members) = document {
        return Ok(members);
    }
    Err("Config file must contain a JSON object".to_owned())
}

/// Reads a whole file: the only access to the file system in this crate.
fn read_text(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| one_line(&format!("{}: {error}", path.display())))
}

/// Escapes control characters: names and paths from the file must not break a message into lines.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_debug()) } else { line.push(c) }
    }
    line
}

/// Removes one line end; other white space may belong to the secret.
fn without_newline(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}
