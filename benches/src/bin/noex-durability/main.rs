//! Measures what durability costs: the journal alone, the load of a database, and a server that keeps its data.
//!
//! Each figure stands next to plain SQLite doing the same work in the same run, in groups of the same size.

#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "measures real time")]

mod floor;
mod journal;
mod records;

use std::process::ExitCode;

use noex_bench::error::LoadError;

const HELP: &str = "\
noex-durability <scenario> [flags]

  journal      microseconds per group of 1, 16, 256 and 2560 records, next to plain SQLite
      --folder F (a temporary one)  --records N (100000)  --seconds S (1) per row
  load         seconds to open, read, check, back up, export, import and clear a database
      --folder F (a temporary one)  --records N (1000000)
  floor        records per second of plain SQLite in groups of one size
      --folder F (a temporary one)  --records N (10000)  --group N (256)  --seconds S (1)
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("noex-durability: {error}");
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
        "journal" => journal::run(&mut parser),
        "load" => journal::load(&mut parser),
        "floor" => journal::floor(&mut parser),
        _ => Err(LoadError::Usage(format!("name a scenario\n\n{HELP}"))),
    }
}
