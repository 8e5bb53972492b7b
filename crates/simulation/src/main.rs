//! Runs a campaign of simulations. Exit code 1 if a seed fails.

#![forbid(unsafe_code)]

use noex_simulation::{run, run_rights};
use std::{env, process::ExitCode, time::Duration};

struct Campaign {
    seeds: u64,
    from: u64,
    minutes: f64,
    /// Run each seed again and compare.
    twice: bool,
    /// Stop at the first seed that fails.
    first: bool,
    verbose: bool,
    /// Change rights instead of everything else.
    rights: bool,
}

const USAGE: &str =
    "usage: noex-simulation [--seeds N] [--from S] [--minutes M] [--twice] [--first] [--rights] [-v]
  --seeds N    number of seeds (100)
  --from S     first seed (0)
  --minutes M  busy virtual time per seed, at most 60 (1)
  --twice      run each seed again and compare the traces
  --first      stop at the first seed that fails
  --rights     rights of built-in identity change, and nothing else disturbs
  -v           print each seed's trace hash";

fn campaign() -> Option<Campaign> {
    let mut campaign = Campaign {
        seeds: 100,
        from: 0,
        minutes: 1.0,
        twice: false,
        first: false,
        verbose: false,
        rights: false,
    };
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seeds" => campaign.seeds = args.next()?.parse().ok()?,
            "--from" => campaign.from = args.next()?.parse().ok()?,
            "--minutes" => campaign.minutes = args.next()?.parse().ok()?,
            "--twice" => campaign.twice = true,
            "--first" => campaign.first = true,
            "--rights" => campaign.rights = true,
            "-v" => campaign.verbose = true,
            _ => return None,
        }
    }
    // An hour per seed is more than enough to find what a seed can find.
    (0.0..=60.0).contains(&campaign.minutes).then_some(campaign)
}

fn main() -> ExitCode {
    let Some(campaign) = campaign() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let run = if campaign.rights { run_rights } else { run };
    let span = Duration::from_secs_f64(campaign.minutes * 60.0);
    let (mut seeds, mut simulated, mut messages, mut rests, mut failed) = (0_u64, Duration::ZERO, 0, 0, 0);
    for seed in campaign.from..campaign.from.saturating_add(campaign.seeds) {
        let outcome = run(seed, span);
        seeds += 1;
        simulated += outcome.simulated;
        messages += outcome.messages;
        rests += outcome.rests;
        if campaign.verbose {
            let (hash, messages) = (outcome.trace_hash, outcome.messages);
            println!("seed {seed}: trace {hash:016x}, {messages} messages, {:?}", outcome.simulated);
        }
        if campaign.twice && run(seed, span) != outcome {
            failed += 1;
            println!("seed {seed} FAILED: it does not repeat");
        }
        if let Some(failure) = outcome.failure {
            failed += 1;
            println!("seed {seed} FAILED: {}", failure.violation);
            failure.trace.iter().for_each(|line| println!("  {line}"));
        }
        if campaign.first && failed > 0 {
            break;
        }
    }
    let hours = simulated.as_secs_f64() / 3600.0;
    println!(
        "{seeds} seeds, {failed} failed, {hours:.2} simulated hours, {messages} messages, {rests} rests compared"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
