//! The `noex-server` binary: command line, config file, log, signals. Everything else is in the libraries.

#![forbid(unsafe_code)]

mod commands;
mod log;
mod options;
mod storage;

#[cfg(all(feature = "async-std", not(feature = "smol")))]
use noex_async_std as runtime;
#[cfg(feature = "smol")]
use noex_smol as runtime;
#[cfg(not(any(feature = "smol", feature = "async-std")))]
compile_error!("choose a runtime: feature `smol` or `async-std`");

use async_signal::{Signal, Signals};
use futures::StreamExt;
use noex_config::{Action, Config, LoadError, banner, load, parse_args, start_warnings, version_text};
use runtime::{Options, Server, StartError};
use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};
use storage::Storage;

fn main() -> ExitCode {
    if let Some(code) = commands::run(std::env::args_os()) {
        return code;
    }
    let cli = match parse_args(std::env::args_os().skip(1), &|name| std::env::var_os(name)) {
        Ok(Action::Help) => return print(noex_config::HELP),
        Ok(Action::Version) => return print(&version_text()),
        Ok(Action::Run(cli)) => cli,
        Err(error) => return fail(&error.to_string()),
    };
    let loaded = match load(&cli) {
        Ok(loaded) => loaded,
        Err(LoadError::Invalid { mut problems, warnings, config }) => {
            for warning in warnings {
                log::plain(&warning);
            }
            if let Err(StartError::Definitions(more)) = Server::check(options::of(&config)) {
                // Both may have met the same definition.
                let new: Vec<String> =
                    more.into_iter().filter(|problem| !problems.contains(problem)).collect();
                problems.extend(new);
            }
            return fail_all(&problems);
        }
        Err(error @ LoadError::File(_)) => return fail(&error.to_string()),
    };
    if let Err(error) = log::start(&loaded.config.log) {
        return fail(&format!("Fatal: cannot start the log: {error}"));
    }
    let code = runtime::block_on(run(loaded.config, loaded.warnings));
    log::finish();
    code
}

async fn run(config: Config, warnings: Vec<String>) -> ExitCode {
    if config.check {
        warn_all(&warnings);
        return match Server::check(options::of(&config)) {
            Ok(()) => print("OK"),
            Err(error) => start_failure(error),
        };
    }
    let signals = Signals::new([Signal::Term, Signal::Int, Signal::Hup]);
    let mut signals = match signals {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("Fatal: cannot handle signals: {error}")),
    };
    let storage = match storage::open(&config) {
        Ok(storage) => storage,
        Err(text) => return fail(&text),
    };
    let persistence = storage.as_ref().map(|storage| storage.persistence());
    let server = match Server::start(Options { persistence, ..options::of(&config) }).await {
        Ok(server) => server,
        Err(StartError::Storage(text)) => return fail(&storage::failure(&config, &text)),
        Err(error) => return start_failure(error),
    };
    log::plain(&banner(&config, server.port()));
    warn_all(&warnings);
    warn_all(&start_warnings(&config));
    if config.ready_line && print(&format!("READY {}", server.port())) != ExitCode::SUCCESS {
        return ExitCode::FAILURE;
    }
    until_told_to_stop(&mut signals, &server).await;
    tracing::info!("Shutting down...");
    let stop = server.stop(Duration::from_millis(config.shutdown.grace_period_ms));
    let again = until_told_to_stop(&mut signals, &server);
    match futures::future::select(std::pin::pin!(stop), std::pin::pin!(again)).await {
        futures::future::Either::Left(_) => match storage.map_or(Ok(()), Storage::close) {
            Ok(()) => ExitCode::SUCCESS,
            Err(text) => fail(&text),
        },
        // Whoever insists does not want to wait: the threads may be busy, so the process ends here.
        futures::future::Either::Right(_) => {
            log::finish();
            std::process::exit(1)
        }
    }
}

/// Waits for a signal to stop. Another one, the hang-up, tells that the audit file has been moved away.
async fn until_told_to_stop(signals: &mut Signals, server: &Server) {
    while let Some(Ok(Signal::Hup)) = signals.next().await {
        server.reopen_audit_file();
    }
}

fn warn_all(warnings: &[String]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

fn start_failure(error: StartError) -> ExitCode {
    match error {
        StartError::Definitions(problems) => fail_all(&problems),
        StartError::Listen(error) => fail(&format!("Fatal: {error}")),
        error @ (StartError::Randomness(_) | StartError::Thread(_) | _) => fail(&format!("Fatal: {error}")),
    }
}

/// Writes a line to standard output, at once.
fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    let text = text.trim_end_matches('\n');
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn fail(text: &str) -> ExitCode {
    log::plain(text.trim_end_matches('\n'));
    log::finish();
    ExitCode::FAILURE
}

fn fail_all(problems: &[String]) -> ExitCode {
    for problem in problems {
        fail(&format!("Error: {problem}"));
    }
    ExitCode::FAILURE
}
