#![forbid(unsafe_code)]
//! Plays scenario files or folders of them against a server and prints what differs.
//!
//! Status 0 if all passed, 1 if anything failed or nothing ran, 2 if the options make no sense.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use noex_conformance::{Options, Scenario, ServerCommand, Target, Verdict, Waiting, run_all, scenario_files};

const USAGE: &str = "\
usage: noex-conformance (--server-cmd CMD | --url URL) [options] SCENARIO...

SCENARIO is a scenario file or a folder of them.

  --server-cmd CMD   starts the server, once per scenario; {config} becomes the configuration file
  --url URL          plays against a server that runs already, ws://host:port/path
  -k TEXT            only scenarios whose name or path contains TEXT
  --jobs N           scenarios at a time (default 2)
  -v, --verbose      also a line per passing scenario
  --out DIR          writes a transcript of each run
  --skip-deviating   leaves out scenarios with a `deviates` list
  --waiting FILE     list of scenarios that wait for a feature (default: the built-in one)
";

struct Arguments {
    options: Options,
    paths: Vec<PathBuf>,
    filter: String,
    verbose: bool,
    skip_deviating: bool,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "-h" || arg == "--help") {
        say(USAGE.trim_end());
        return ExitCode::SUCCESS;
    }
    match parse(args) {
        Ok(arguments) => play(&arguments),
        Err(error) => {
            eprintln!("error: {error}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Prints a line; a reader that has gone away is no reason to stop.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn play(arguments: &Arguments) -> ExitCode {
    let (scenarios, unloadable) = load(arguments);
    let report = run_all(&scenarios, &arguments.options, |played| {
        if arguments.verbose || played.verdict() != Verdict::Passed {
            say(&played.to_string());
        }
    });
    say(&report.closing_line(unloadable));
    if report.is_bad() || unloadable > 0 || scenarios.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Loads what was asked for and counts what could not be loaded.
fn load(arguments: &Arguments) -> (Vec<Scenario>, usize) {
    let (mut scenarios, mut unloadable) = (Vec::new(), 0);
    let mut complain = |path: &Path, error: &str| {
        unloadable += 1;
        say(&format!("FAIL {}: cannot load: {error}", path.display()));
    };
    for path in &arguments.paths {
        let files = scenario_files(path).unwrap_or_else(|e| {
            complain(path, &e.to_string());
            Vec::new()
        });
        for file in files {
            match Scenario::load(&file) {
                Ok(scenario) => scenarios.push(scenario),
                Err(e) => complain(&file, &e),
            }
        }
    }
    scenarios.retain(|s| s.matches(&arguments.filter) && !(arguments.skip_deviating && s.deviates()));
    (scenarios, unloadable)
}

fn parse(args: Vec<String>) -> Result<Arguments, String> {
    let (mut target, mut waiting, mut out, mut jobs) = (None, Waiting::own(), None, 2);
    let (mut paths, mut filter, mut verbose, mut skip_deviating) = (Vec::new(), String::new(), false, false);
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let (name, inline) = match arg.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
            _ => (arg.clone(), None),
        };
        let mut value =
            || inline.clone().or_else(|| args.next()).ok_or_else(|| format!("{name} needs a value"));
        match name.as_str() {
            "--server-cmd" | "--url" if target.is_some() => {
                return Err("give either --server-cmd or --url, once".to_owned());
            }
            "--server-cmd" => target = Some(Target::Command(ServerCommand::parse(&value()?)?)),
            "--url" => target = Some(Target::parse_url(&value()?)?),
            "-k" => filter = value()?,
            "--jobs" => jobs = value()?.parse().map_err(|e| format!("--jobs: {e}"))?,
            "--out" => out = Some(PathBuf::from(value()?)),
            "--waiting" => {
                let file = value()?;
                let text = std::fs::read_to_string(&file).map_err(|e| format!("{file}: {e}"))?;
                waiting = Waiting::parse(&text)?;
            }
            "-v" | "--verbose" => verbose = true,
            "--skip-deviating" => skip_deviating = true,
            _ if name.starts_with('-') => return Err(format!("unknown option {arg}")),
            _ => paths.push(PathBuf::from(arg)),
        }
    }
    let target = target.ok_or("give either --server-cmd or --url")?;
    if paths.is_empty() {
        return Err("no scenarios given".to_owned());
    }
    let options = Options { target, waiting, out, jobs };
    Ok(Arguments { options, paths, filter, verbose, skip_deviating })
}
