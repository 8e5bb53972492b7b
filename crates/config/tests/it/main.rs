//! Tests of the whole crate through its public functions.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod accepted;
mod auth;
mod cli;
mod messages;
mod output;
mod properties;

use noex_config::{Action, Cli, Config, LoadError, Loaded, parse, parse_args};

/// Options as after a command line without an environment.
fn cli(args: &[&str]) -> Cli {
    match parse_args(args.iter().copied(), &|_| None).unwrap() {
        Action::Run(cli) => cli,
        other @ (Action::Help | Action::Version) => panic!("{other:?}"),
    }
}

fn loaded(text: &str) -> Loaded {
    parse(text, &Cli::default()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn config(text: &str) -> Config {
    loaded(text).config
}

/// All problems of a document.
fn problems(text: &str) -> Vec<String> {
    problems_with(text, &Cli::default())
}

fn problems_with(text: &str, cli: &Cli) -> Vec<String> {
    match parse(text, cli) {
        Err(LoadError::Invalid { problems, .. }) => problems,
        Err(LoadError::File(text)) => panic!("{text}"),
        Ok(loaded) => panic!("{text} was accepted: {loaded:?}"),
    }
}
