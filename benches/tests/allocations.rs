//! How often the hot paths ask for memory. Each number is a promise: one more allocation per request fails the test;
//! whoever saves one writes the lower number here.

use noex_bench::exchange::{self, Exchange};
use noex_core::{RateLimit, RateLimiter, Update};
use std::sync::Arc;

/// Repetitions; what grows now and then (queues, tables) is spread over them.
const TIMES: u64 = 1000;

/// Allocations of the median repetition.
fn allocations(mut work: impl FnMut(u64)) -> u64 {
    let mut counts: Vec<u64> =
        (0..TIMES).map(|n| allocation_counter::measure(|| work(n)).count_total).collect();
    counts.sort_unstable();
    counts[counts.len() / 2]
}

fn requests(mut exchange: Exchange, text: impl Fn(u64) -> String) -> u64 {
    let texts: Vec<String> = (0..TIMES).map(text).collect();
    // Once before, so that queues have their size.
    exchange.handle(&exchange::get(0));
    let mut texts = texts.iter();
    allocations(|_| {
        texts.next().map(|text| exchange.handle(text));
    })
}

#[test]
fn core_get_allocates_nothing() {
    assert_eq!(requests(Exchange::without_store(), exchange::get), 0);
}

#[test]
fn core_insert_allocates_the_record() {
    // The list of members and the text that is too long to be inline.
    assert_eq!(requests(Exchange::without_store(), exchange::insert), 2);
}

#[test]
fn get_allocates_as_without_a_store() {
    assert_eq!(requests(Exchange::with_store(TIMES), exchange::get), 0);
}

#[test]
fn writes_stay_within_their_budgets() {
    let insert = requests(Exchange::with_store(TIMES), |n| exchange::insert(TIMES + n));
    let update = requests(Exchange::with_store(TIMES), exchange::update);
    let delete = requests(Exchange::with_store(TIMES), exchange::delete);
    let transaction = requests(Exchange::with_store(TIMES), exchange::transaction);
    // One of an insert gives back the spare room of the list of members, in place; one of an update is for the index,
    // since two records have the same value for a while.
    assert_eq!((insert, update, delete, transaction), (7, 8, 4, 17));
}

#[test]
fn a_push_allocates_its_head_only() {
    let mut exchange = Exchange::without_store();
    let subscription = exchange.subscribe();
    let results: Vec<Arc<str>> = (0..=TIMES).map(|n| format!("[{n},{:600}]", 0).into()).collect();
    let mut push = |n: u64, data: &Arc<str>| {
        let update = Update { version: n + 1, data: Some(Arc::clone(data)), delta: None };
        exchange.push(subscription, update);
    };
    push(0, &results[0]);
    let mut rest = results.iter().skip(1);
    let count = allocations(|n| {
        if let Some(data) = rest.next() {
            push(n + 1, data);
        }
    });
    assert_eq!(count, 1);
}

#[test]
fn charging_a_known_key_allocates_nothing() {
    let mut limiter = RateLimiter::new(RateLimit { requests_max: u64::MAX, window_ms: 1000 }, 0);
    let keys: Vec<String> = (0..8).map(|n| format!("u:a user with a long name {n}")).collect();
    let mut keys = keys.iter().cycle();
    let count = allocations(|_| {
        keys.next().map(|key| limiter.charge(key, exchange::NOW));
    });
    assert_eq!(count, 0);
}

#[test]
fn a_pong_allocates_nothing() {
    let pong = |n| format!(r#"{{"type":"pong","timestamp":{n}}}"#);
    assert_eq!(requests(Exchange::without_store(), pong), 0);
}
