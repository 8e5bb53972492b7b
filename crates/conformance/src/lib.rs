#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "drives a real server in real time")]
//! Plays conformance scenarios against a server process and reports what differs.
//!
//! A scenario is a JSON file that scripts WebSocket clients and states every message they must receive. The WebSocket
//! client is written here, over blocking sockets and threads, and shares no code with the server: it must be able to
//! send what no proper client sends, and must not repeat the server's mistakes.
//!
//! Layers, from the bottom: `frame` and `handshake` (bytes), `conn` (one connection), `value` and `pattern` (JSON),
//! `play` (the steps), `server` (the process), `run` (many scenarios).

mod conn;
#[cfg(test)]
mod fake_server;
mod frame;
mod handshake;
mod pattern;
mod play;
mod run;
mod scenario;
mod server;
mod transcript;
mod value;

use std::io::Write as _;

pub use play::Failure;
pub use run::{Options, Outcome, Played, Report, Target, Verdict, run_all, run_scenario};
pub use scenario::{Scenario, Waiting, group_folder, scenario_files};
pub use server::ServerCommand;

/// Scenarios that [`assert_group`] plays at a time: most of them wait most of the time, but some measure it.
const ASSERT_JOBS: usize = 2;

/// Plays one group of this crate's scenarios, `smoke`, `store` or `connection`, and prints the closing line.
///
/// # Panics
///
/// If a scenario fails or the group cannot be loaded, with all failures in the message.
pub fn assert_group(group: &str, command: ServerCommand) {
    let scenarios = match Scenario::load_folder(&group_folder(group)) {
        Ok(scenarios) => scenarios,
        Err(e) => panic!("cannot load the scenarios of {group}: {e}"),
    };
    let options =
        Options { target: Target::Command(command), waiting: Waiting::own(), out: None, jobs: ASSERT_JOBS };
    let report = run_all(&scenarios, &options, |_| ());
    let waiting = report.results.iter().filter(|played| played.verdict() == Verdict::Waiting);
    let waiting: String = waiting.map(|played| format!("{played}\n")).collect();
    // Written, not printed: the test harness would keep it to itself. It may also be in the middle of a line.
    let lines = format!("\n{waiting}{}\n", report.closing_line(0));
    let _ = std::io::stdout().write_all(lines.as_bytes());
    let bad: Vec<String> =
        report.results.iter().filter(|played| played.is_bad()).map(ToString::to_string).collect();
    assert!(bad.is_empty(), "{} of {group} failed:\n{}", bad.len(), bad.join("\n"));
}
