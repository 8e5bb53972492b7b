//! Subcommands: work on data while no server is needed, or beside one.
//!
//! Exit codes: 0 = done, 1 = not done or something found, 2 = wrong command line.

mod data;
mod progress;
mod user;

use clap::{ArgMatches, Command};
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::process::ExitCode;

/// Runs the subcommand that the first argument names; `None` if it names none.
pub(crate) fn run(args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let args: Vec<OsString> = args.collect();
    let first = args.get(1)?;
    let command = command();
    command.find_subcommand(first)?;
    let matches = match command.try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            // There is nobody to tell if the stream is gone.
            let _ = error.print();
            return Some(ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)));
        }
    };
    let (name, options) = matches.subcommand()?;
    Some(report(match name {
        user::NAME => user::run(options),
        name => data::run(name, options),
    }))
}

fn command() -> Command {
    Command::new("noex-server")
        .disable_help_subcommand(true)
        .subcommands(data::commands())
        .subcommand(user::command())
}

/// What a command has done: a line for standard output, or lines for standard error.
type Outcome = Result<String, Vec<String>>;

fn report(outcome: Outcome) -> ExitCode {
    let (written, code) = match outcome {
        Ok(line) => (writeln!(io::stdout().lock(), "{line}"), ExitCode::SUCCESS),
        Err(lines) => {
            let mut out = io::stderr().lock();
            (lines.iter().try_for_each(|line| writeln!(out, "Error: {line}")), ExitCode::FAILURE)
        }
    };
    if written.is_ok() { code } else { ExitCode::FAILURE }
}

/// Gives the value of an option that the command line must have.
fn required<'m>(options: &'m ArgMatches, name: &str) -> &'m OsStr {
    options.get_one::<OsString>(name).map(OsString::as_os_str).unwrap_or_default()
}
