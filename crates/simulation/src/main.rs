//! Runs a campaign of simulations: `--seeds N --from S [--minutes M] [-v]`. Exit code 1 if a seed fails.

#![forbid(unsafe_code)]

use noex_simulation::run;
use std::{env, process::ExitCode, time::Duration};

struct Campaign {
    seeds: u64,
    from: u64,
    minutes: f64,
    verbose: bool,
}

fn campaign() -> Option<Campaign> {
    let mut campaign = Campaign { seeds: 100, from: 0, minutes: 1.0, verbose: false };
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seeds" => campaign.seeds = args.next()?.parse().ok()?,
            "--from" => campaign.from = args.next()?.parse().ok()?,
            "--minutes" => campaign.minutes = args.next()?.parse().ok()?,
            "-v" => campaign.verbose = true,
            _ => return None,
        }
    }
    // An hour per seed is more than enough to find what a seed can find.
    (0.0..=60.0).contains(&campaign.minutes).then_some(campaign)
}

fn main() -> ExitCode {
    let Some(campaign) = campaign() else {
        eprintln!("usage: noex-simulation [--seeds N] [--from S] [--minutes M (at most 60)] [-v]");
        return ExitCode::from(2);
    };
    let (mut simulated, mut messages, mut rests, mut failed) = (Duration::ZERO, 0, 0, 0);
    for seed in campaign.from..campaign.from.saturating_add(campaign.seeds) {
        let outcome = run(seed, Duration::from_secs_f64(campaign.minutes * 60.0));
        simulated += outcome.simulated;
        messages += outcome.messages;
        rests += outcome.rests;
        if campaign.verbose {
            let (hash, messages) = (outcome.trace_hash, outcome.messages);
            println!("seed {seed}: trace {hash:016x}, {messages} messages, {:?}", outcome.simulated);
        }
        if let Some(failure) = outcome.failure {
            failed += 1;
            println!("seed {seed} FAILED: {}", failure.violation);
            failure.trace.iter().for_each(|line| println!("  {line}"));
        }
    }
    let (seeds, hours) = (campaign.seeds, simulated.as_secs_f64() / 3600.0);
    println!(
        "{seeds} seeds, {failed} failed, {hours:.2} simulated hours, {messages} messages, {rests} rests compared"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
