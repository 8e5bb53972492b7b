//! Command-line flags of one subcommand: `--name value` pairs and bare switches, each known in advance.
//!
//! Every number has an upper bound, so that no run is endless and no run exhausts the machine.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::LoadError;

/// Longest time any phase of a run may be asked to last.
pub const SECONDS_MAX: f64 = 600.0;

/// Parsed flags; a switch that was given has an empty value.
#[derive(Debug, Default)]
pub struct Flags {
    values: BTreeMap<String, String>,
}

impl Flags {
    /// Reads the rest of the command line. A name ending in `=` takes a value, any other is a switch.
    ///
    /// # Errors
    ///
    /// `Usage` for an unknown or repeated flag, a missing value or a stray argument.
    pub fn parse(parser: &mut lexopt::Parser, known: &[&str]) -> Result<Self, LoadError> {
        let usage = |error: lexopt::Error| LoadError::Usage(error.to_string());
        let mut values = BTreeMap::new();
        while let Some(arg) = parser.next().map_err(usage)? {
            let lexopt::Arg::Long(name) = arg else {
                return Err(usage(arg.unexpected()));
            };
            let name = name.to_owned();
            let value = if known.iter().any(|k| k.strip_suffix('=') == Some(name.as_str())) {
                parser.value().map_err(usage)?.into_string().map_err(|_| unreadable(&name))?
            } else if known.contains(&name.as_str()) {
                String::new()
            } else {
                return Err(LoadError::Usage(format!("unknown flag --{name}")));
            };
            if values.insert(name.clone(), value).is_some() {
                return Err(LoadError::Usage(format!("--{name} given twice")));
            }
        }
        Ok(Self { values })
    }

    /// Whether a switch was given.
    #[must_use]
    pub fn switch(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The text of an optional flag.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The text of a flag that must be there.
    ///
    /// # Errors
    ///
    /// `Usage` when it is missing.
    pub fn required(&self, name: &str) -> Result<&str, LoadError> {
        self.text(name).ok_or_else(|| LoadError::Usage(format!("--{name} is required")))
    }

    /// A count from 1 to `max`.
    ///
    /// # Errors
    ///
    /// `Usage` when it is not a number or out of range.
    pub fn count(&self, name: &str, default: usize, max: usize) -> Result<usize, LoadError> {
        let Some(text) = self.text(name) else { return Ok(default) };
        match text.parse() {
            Ok(n) if (1..=max).contains(&n) => Ok(n),
            Ok(_) | Err(_) => Err(LoadError::Usage(format!("--{name} must be between 1 and {max}"))),
        }
    }

    /// A time in seconds, fractions allowed, greater than zero and at most `max`.
    ///
    /// # Errors
    ///
    /// `Usage` when it is not a number or out of range.
    pub fn seconds(&self, name: &str, default: f64, max: f64) -> Result<Duration, LoadError> {
        let seconds = match self.text(name) {
            None => default,
            Some(text) => text.parse().unwrap_or(f64::NAN),
        };
        if seconds > 0.0 && seconds <= max {
            Ok(Duration::from_secs_f64(seconds))
        } else {
            Err(LoadError::Usage(format!("--{name} must be above 0 and at most {max} seconds")))
        }
    }

    /// The process id of the server, if `--pid` was given.
    ///
    /// # Errors
    ///
    /// `Usage` when it is not a number.
    pub fn pid(&self) -> Result<Option<u32>, LoadError> {
        let Some(text) = self.text("pid") else { return Ok(None) };
        text.parse().map(Some).map_err(|_| LoadError::Usage("--pid must be a process id".to_owned()))
    }
}

fn unreadable(name: &str) -> LoadError {
    LoadError::Usage(format!("--{name} is not readable text"))
}

#[cfg(test)]
mod tests {
    use super::Flags;

    fn parse(args: &[&str]) -> Option<Flags> {
        let mut parser = lexopt::Parser::from_args(args);
        Flags::parse(&mut parser, &["seconds=", "connections=", "no-setup"]).ok()
    }

    #[test]
    fn values_and_switches_are_told_apart() {
        let flags = parse(&["--connections", "7", "--no-setup"]).expect("valid");
        assert_eq!(flags.count("connections", 1, 10).ok(), Some(7));
        assert!(flags.switch("no-setup"));
        assert!(flags.count("connections", 1, 6).is_err());
    }

    #[test]
    fn bad_lines_are_refused() {
        for bad in [&["--nope"][..], &["stray"], &["--seconds"], &["--no-setup", "--no-setup"], &["-s"]] {
            assert!(parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn seconds_are_positive_and_bounded() {
        for bad in ["0", "-1", "nan", "inf", "601"] {
            let flags = parse(&["--seconds", bad]).expect("parses");
            assert!(flags.seconds("seconds", 1.0, 600.0).is_err(), "{bad}");
        }
        assert!(parse(&[]).expect("empty").seconds("seconds", 0.5, 600.0).is_ok());
    }
}
