//! Runs scenarios, several at a time, and sums up.
//!
//! Input: scenarios, a target, the list of waiting scenarios. Output: one result per scenario, the lines to print, the
//! closing line.

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::play::{Address, Failure, Play};
use crate::scenario::{Scenario, Waiting};
use crate::server::{Server, ServerCommand};
use crate::transcript::Transcript;

/// What scenarios are played against.
#[derive(Clone, Debug)]
pub enum Target {
    /// A process per scenario.
    Command(ServerCommand),
    /// A server that runs already; the scenarios' `server` objects are ignored.
    Running {
        /// Name or address of its host.
        host: String,
        /// Its port.
        port: u16,
        /// Its path, by default the scenario's.
        path: Option<String>,
    },
}

impl Target {
    /// Reads `ws://host:port/path`; the path may be left out.
    pub fn parse_url(url: &str) -> Result<Self, String> {
        let error = || format!("not ws://host:port/path: {url}");
        let rest = url.strip_prefix("ws://").ok_or_else(error)?;
        let (authority, path) = match rest.find('/') {
            Some(at) => (&rest[..at], Some(rest[at..].to_owned())),
            None => (rest, None),
        };
        let (host, port) =
            authority.split_once(':').filter(|(host, _)| !host.is_empty()).ok_or_else(error)?;
        Ok(Self::Running { host: host.to_owned(), port: port.parse().map_err(|_| error())?, path })
    }
}

/// How playing one scenario went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The failure, if it failed.
    pub failure: Option<Failure>,
    /// The last lines the server printed.
    pub server_tail: Vec<String>,
    /// How long it took, start and stop of the server included.
    pub elapsed: Duration,
}

/// Plays one scenario, against a fresh server if the target is a command.
///
/// With `out`, a transcript is written to `<out>/<file stem>.log.json`.
pub fn run_scenario(scenario: &Scenario, target: &Target, out: Option<&Path>) -> Outcome {
    let began = Instant::now();
    let transcript = if out.is_some() { Transcript::recording() } else { Transcript::default() };
    let (mut failure, server_lines, server_tail) = play(scenario, target, &transcript);
    if let Some(folder) = out
        && let Err(e) = write_transcript(folder, scenario, failure.as_ref(), &transcript, &server_lines)
    {
        failure =
            failure.or_else(|| Some(Failure::new(-1, "end", format!("cannot write the transcript: {e}"))));
    }
    Outcome { failure, server_tail, elapsed: began.elapsed() }
}

fn play(
    scenario: &Scenario,
    target: &Target,
    log: &Transcript,
) -> (Option<Failure>, Vec<String>, Vec<String>) {
    let default_path = scenario.server().get("path").and_then(Value::as_str).unwrap_or("/");
    match target {
        Target::Running { host, port, path } => {
            let path = path.as_deref().unwrap_or(default_path).to_owned();
            let address = Address { host: host.clone(), port: *port, path };
            (Play::new(scenario, address, None, log.clone()).run(), Vec::new(), Vec::new())
        }
        Target::Command(command) => {
            let mut server = match Server::start(command, scenario.server()) {
                Ok(server) => server,
                Err(text) => return (Some(Failure::new(-1, "start", text)), Vec::new(), Vec::new()),
            };
            let address =
                Address { host: "127.0.0.1".to_owned(), port: server.port(), path: default_path.to_owned() };
            let failure = Play::new(scenario, address, Some(&server), log.clone()).run();
            let stopped = server.stop();
            let failure = failure.or_else(|| stopped.err().map(|text| Failure::new(-1, "end", text)));
            (failure, server.lines(), server.tail())
        }
    }
}

fn write_transcript(
    folder: &Path,
    scenario: &Scenario,
    failure: Option<&Failure>,
    transcript: &Transcript,
    server_lines: &[String],
) -> std::io::Result<()> {
    let mut log = transcript.entries();
    log.extend(server_lines.iter().map(|line| json!({"server": line})));
    let text = json!({
        "name": scenario.name(),
        "file": scenario.file().to_string_lossy(),
        "failure": failure.map(|f| json!([f.step, f.what, f.text])),
        "log": log,
    });
    std::fs::create_dir_all(folder)?;
    let stem = scenario.file().file_stem().unwrap_or_default().to_string_lossy();
    std::fs::write(folder.join(format!("{stem}.log.json")), format!("{text:#}\n"))
}

/// What an outcome means, given the list of waiting scenarios.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// It failed, and is known to need a later feature or to record what the specification overrules.
    Waiting,
    /// It passed although it is listed as waiting: a failure of the list.
    PassesNow,
}

/// One scenario's result.
#[derive(Clone, Debug)]
pub struct Played {
    /// `<group>/<file stem>`.
    pub id: String,
    /// The scenario's name.
    pub name: String,
    /// The scenario's file.
    pub file: PathBuf,
    /// The feature it is listed as waiting for, or what supersedes it.
    pub feature: Option<String>,
    /// How playing it went.
    pub outcome: Outcome,
}

impl Played {
    /// Says what the outcome means.
    pub fn verdict(&self) -> Verdict {
        match (&self.outcome.failure, &self.feature) {
            (None, None) => Verdict::Passed,
            (Some(_), None) => Verdict::Failed,
            (Some(_), Some(_)) => Verdict::Waiting,
            (None, Some(_)) => Verdict::PassesNow,
        }
    }

    /// Whether it makes the whole run fail.
    pub fn is_bad(&self) -> bool {
        matches!(self.verdict(), Verdict::Failed | Verdict::PassesNow)
    }
}

/// The lines to print about a scenario, without a line break at the end.
impl fmt::Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, file) = (&self.name, self.file.display());
        match (&self.outcome.failure, &self.feature) {
            (None, None) => write!(f, "ok   {name} ({} ms)", self.outcome.elapsed.as_millis()),
            (None, Some(_)) => write!(f, "FAIL {name} [{file}]: passes now, remove it from waiting.txt"),
            (Some(_), Some(reason)) => match reason.strip_prefix("superseded: ") {
                Some(by) => write!(f, "OLD  {}: records an older server; {by}", self.id),
                None => write!(f, "WAIT {}: {reason}", self.id),
            },
            (Some(failure), None) => {
                write!(f, "FAIL {name} [{file}] {failure}")?;
                self.outcome.server_tail.iter().try_for_each(|line| write!(f, "\n     server {line}"))
            }
        }
    }
}

/// The results of a run, in the order of its scenarios.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// One result per scenario.
    pub results: Vec<Played>,
}

impl Report {
    /// Counts results.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.results.iter().filter(|played| played.verdict() == verdict).count()
    }

    /// Whether anything failed.
    pub fn is_bad(&self) -> bool {
        self.results.iter().any(Played::is_bad)
    }

    /// `N passed, N failed, N skipped`; `more_failed` counts what could not even be loaded.
    pub fn closing_line(&self, more_failed: usize) -> String {
        let failed = self.count(Verdict::Failed) + self.count(Verdict::PassesNow) + more_failed;
        let (passed, skipped) = (self.count(Verdict::Passed), self.count(Verdict::Waiting));
        format!("{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// What holds for all scenarios of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// What they are played against.
    pub target: Target,
    /// Scenarios that need a later feature.
    pub waiting: Waiting,
    /// Folder for transcripts, if any are wanted.
    pub out: Option<PathBuf>,
    /// Scenarios played at a time, at least one; a running server gets one at a time.
    pub jobs: usize,
}

/// Plays scenarios; `on_played` is called as soon as each is done, one call at a time.
pub fn run_all(scenarios: &[Scenario], options: &Options, on_played: impl Fn(&Played) + Sync) -> Report {
    let jobs = match options.target {
        Target::Command(_) => options.jobs.clamp(1, scenarios.len().max(1)),
        Target::Running { .. } => 1,
    };
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(scenarios.len()));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(scenario) = scenarios.get(index) else { return };
                    let played = Played {
                        id: scenario.id(),
                        name: scenario.name().to_owned(),
                        file: scenario.file().to_owned(),
                        feature: options.waiting.feature(scenario).map(str::to_owned),
                        outcome: run_scenario(scenario, &options.target, options.out.as_deref()),
                    };
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    on_played(&played);
                    results.push((index, played));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    Report { results: results.into_iter().map(|(_, played)| played).collect() }
}
