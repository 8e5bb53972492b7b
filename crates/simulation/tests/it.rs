//! A short campaign, and that a seed repeats.

#![forbid(unsafe_code)]

use noex_simulation::{run, run_rights};
use std::time::Duration;

#[test]
fn twenty_seeds_keep_every_invariant() {
    let (mut crashes, mut disk_failures) = (0, 0);
    for seed in 0..20 {
        let outcome = run(seed, Duration::from_secs(8));
        if let Some(failure) = outcome.failure {
            panic!("seed {seed}: {}\n{}", failure.violation, failure.trace.join("\n"));
        }
        assert!(outcome.messages > 0 && outcome.rests > 0, "seed {seed} does nothing");
        crashes += outcome.crashes;
        disk_failures += outcome.disk_failures;
    }
    assert!(crashes > 5 && disk_failures > 20, "{crashes} crashes, {disk_failures} failures of the disk");
}

#[test]
fn a_seed_repeats_to_the_byte() {
    for seed in [1, 6, 11] {
        let span = Duration::from_secs(6);
        assert_eq!(run(seed, span), run(seed, span));
    }
}

#[test]
fn rights_that_end_are_heeded_in_the_order_of_commits() {
    for seed in 0..10 {
        let span = Duration::from_secs(20);
        let outcome = run_rights(seed, span);
        if let Some(failure) = outcome.failure {
            panic!("seed {seed}: {}\n{}", failure.violation, failure.trace.join("\n"));
        }
        assert!(outcome.messages > 200 && outcome.rests > 0, "seed {seed} does nothing");
    }
    let span = Duration::from_secs(10);
    assert_eq!(run_rights(1, span), run_rights(1, span));
}
