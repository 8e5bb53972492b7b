//! Repeats one kind of work a fixed number of times, for counting instructions: `noex-count WORK TIMES`.
//!
//! The difference between two runs of different lengths leaves out the set-up. See `benches/instructions.sh`.

#![forbid(unsafe_code)]

use noex_bench::exchange::{self, Exchange};
use noex_core::{SubId, Update};
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

/// Records that are there before the work begins.
const RECORDS: u64 = 10_000;
/// Connections that a push goes to.
const PEERS: usize = 100;

/// Does something so many times and gives a number that depends on it.
type Work = fn(u64) -> u64;

/// What can be counted. Texts are made as set-up.
const WORKS: &[(&str, Work)] = &[
    ("floor", |times| repeat(times, exchange::get, |text| exchange::floor(text).unwrap_or(0))),
    ("core-get", |times| answered(Exchange::without_store(), times, exchange::get)),
    ("core-insert", |times| answered(Exchange::without_store(), times, exchange::insert)),
    ("core-pong", |times| {
        answered(Exchange::without_store(), times, |n| format!(r#"{{"type":"pong","timestamp":{n}}}"#))
    }),
    ("core-push-100", push),
    ("get", |times| answered(Exchange::with_store(RECORDS), times, |n| exchange::get(n % RECORDS))),
    ("insert", |times| answered(Exchange::with_store(RECORDS), times, |n| exchange::insert(RECORDS + n))),
    ("update", |times| answered(Exchange::with_store(RECORDS), times, |n| exchange::update(n % RECORDS))),
    ("delete", |times| answered(Exchange::with_store(RECORDS), times, exchange::delete)),
    ("transaction", |times| {
        answered(Exchange::with_store(RECORDS), times, |n| exchange::transaction(n % RECORDS))
    }),
    ("parse-record", |times| {
        repeat(times, exchange::insert, |text| u64::from(noex_json::parse(text, 16).is_ok()))
    }),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let work = arguments.next().unwrap_or_default();
    let times = arguments.next().and_then(|times| times.parse().ok()).filter(|times| *times <= RECORDS);
    let (Some((_, run)), Some(times)) = (WORKS.iter().find(|(name, _)| *name == work), times) else {
        let names: Vec<&str> = WORKS.iter().map(|(name, _)| *name).collect();
        eprintln!("noex-count WORK TIMES (at most {RECORDS})\nWORK: {}", names.join(" "));
        return ExitCode::FAILURE;
    };
    println!("{}", run(times));
    ExitCode::SUCCESS
}

fn repeat(times: u64, text: impl Fn(u64) -> String, mut work: impl FnMut(&str) -> u64) -> u64 {
    // Always as many, so that the set-up costs the same whatever is measured.
    let texts: Vec<String> = (0..RECORDS).map(text).collect();
    let some = texts.iter().take(usize::try_from(times).unwrap_or(0));
    let sum = some.map(|text| work(black_box(text))).fold(0, u64::wrapping_add);
    // What the work has built is not taken down: that would count as part of it.
    std::mem::forget(work);
    sum
}

fn answered(mut exchange: Exchange, times: u64, text: impl Fn(u64) -> String) -> u64 {
    repeat(times, text, move |text| exchange.handle(text) as u64)
}

/// Pushes one result to many connections.
fn push(times: u64) -> u64 {
    let mut peers: Vec<(Exchange, SubId)> = (0..PEERS)
        .map(|_| {
            let mut exchange = Exchange::without_store();
            let subscription = exchange.subscribe();
            (exchange, subscription)
        })
        .collect();
    let mut bytes = 0;
    for version in 1..=times {
        let data: Arc<str> = format!("[{version},{:300}]", 0).into();
        for (exchange, subscription) in &mut peers {
            let update = Update { version, data: Some(Arc::clone(&data)), delta: None };
            bytes += exchange.push(*subscription, update) as u64;
        }
    }
    bytes
}
