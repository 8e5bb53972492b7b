//! Load generator: drives a running server over loopback and prints what it measured.
//!
//! One subcommand per scenario; see the text of `--help`. Exit code 0 when the run was clean, 1 when a check failed or
//! the connection broke, 2 for a wrong command line.

#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "measures real time")]

mod crud;
mod crud_model;
mod fanout;
mod idle;
mod report;
mod setup;
mod slow_reader;
mod throughput;

use std::process::ExitCode;

use noex_bench::error::LoadError;

const HELP: &str = "\
noex-load <scenario> --url ws://127.0.0.1:PORT/ [flags]

  throughput   requests per second and latency in a closed loop
      --op get|insert|update|transaction|transfer|echo (get)  --connections N (1)  --window W (1)
      --seconds S (3)  --warmup S (1)  --runs R (3)  --pid SERVER  --no-setup
  fanout       one writer, N subscribers of one query
      --subscribers N (100)  --rate R|max (max)  --window W (1)  --seconds S (5)
  idle         resident memory of the server per idle connection
      --connections N (1000)  --pid SERVER  --seconds S (2)  --subscribe  --bare (no welcome expected)
  slow-reader  a subscriber stops reading while a 100 kB result changes 100 times a second
      --seconds S (10)  --pid SERVER  --growth-max-kib K
  crud         N clients insert, read, update and delete, each checked against its own subscription
      --clients N (50)  --seconds S (5)  --filter prefix|owner (prefix)

Every scenario: --zero-mask sends frames with the zero masking key. Only loopback addresses are accepted.
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("noex-load: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run() -> Result<(), LoadError> {
    let mut parser = lexopt::Parser::from_env();
    let first = parser.next().map_err(|error| LoadError::Usage(error.to_string()))?;
    let scenario = match first {
        Some(lexopt::Arg::Value(name)) => name.into_string().unwrap_or_default(),
        Some(lexopt::Arg::Long("help") | lexopt::Arg::Short('h')) => {
            print!("{HELP}");
            return Ok(());
        }
        Some(lexopt::Arg::Short(_) | lexopt::Arg::Long(_)) | None => String::new(),
    };
    match scenario.as_str() {
        "throughput" => throughput::run(&mut parser),
        "fanout" => fanout::run(&mut parser),
        "idle" => idle::run(&mut parser),
        "slow-reader" => slow_reader::run(&mut parser),
        "crud" => crud::run(&mut parser),
        _ => Err(LoadError::Usage(format!("name a scenario\n\n{HELP}"))),
    }
}
