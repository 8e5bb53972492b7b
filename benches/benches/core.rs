//! The connection state machine: request in, reply out; pushes; login; heartbeat. No store, no socket.
//!
//! `cargo bench -p noex-bench --bench core`

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use noex_bench::exchange::{self, Exchange, NOW};
use noex_core::{Now, Solitary, SubId, Update};
use std::{hint::black_box, sync::Arc, time::Duration};

/// One request of each kind; what it means is left to a store that is not there.
fn requests(c: &mut Criterion) {
    let mut group = c.benchmark_group("request");
    let get = exchange::get(7);
    group.bench_function("floor_envelope_serde_json", |b| b.iter(|| exchange::floor(black_box(&get))));
    let of = |kind: &str, fields: &str| format!(r#"{{"id":7,"type":"{kind}"{fields}}}"#);
    let requests = [
        ("store.get", get.clone()),
        ("store.insert", exchange::insert(7)),
        ("store.update", exchange::update(7)),
        ("store.delete", exchange::delete(7)),
        ("store.transaction", exchange::transaction(7)),
        ("store.all", of("store.all", r#","bucket":"load""#)),
        ("store.where", of("store.where", r#","bucket":"load","filter":{"n":{"$gt":5}}"#)),
        ("store.paginate", of("store.paginate", r#","bucket":"load","limit":10,"after":"k7""#)),
        ("store.defineQuery", of("store.defineQuery", r#","name":"q","config":{"bucket":"load"}"#)),
        ("auth.whoami", of("auth.whoami", "")),
        ("refused", of("store.nope", "")),
        ("pong", r#"{"type":"pong","timestamp":1700000000000}"#.to_owned()),
    ];
    for (name, text) in requests {
        let mut exchange = Exchange::without_store();
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| b.iter(|| exchange.handle(black_box(&text))));
    }
    group.finish();
}

fn login(c: &mut Criterion) {
    let mut exchange = Exchange::with_login();
    let text = r#"{"id":1,"type":"auth.login","token":"secret"}"#;
    c.bench_function("login", |b| b.iter(|| exchange.handle(black_box(text))));
}

/// One result that is new to all subscribers, each on a connection of its own.
fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("push_300_bytes");
    for peers in [1_usize, 100, 10_000] {
        let mut peers_all: Vec<(Exchange, SubId)> = (0..peers)
            .map(|_| {
                let mut exchange = Exchange::without_store();
                let subscription = exchange.subscribe();
                (exchange, subscription)
            })
            .collect();
        let mut version = 0;
        group.throughput(Throughput::Elements(peers as u64));
        group.bench_function(BenchmarkId::from_parameter(peers), |b| {
            b.iter(|| {
                version += 1;
                let data: Arc<str> = format!("[{version},{:297}]", 0).into();
                for (exchange, subscription) in &mut peers_all {
                    exchange
                        .push(*subscription, Update { version, data: Some(Arc::clone(&data)), delta: None });
                }
            });
        });
    }
    group.finish();
}

/// A ping when it is due, and the answer to it.
fn heartbeat(c: &mut Criterion) {
    let shared = Solitary::default();
    c.bench_function("heartbeat", |b| {
        b.iter_batched_ref(
            || {
                let exchange = Exchange::without_store();
                let at = exchange.connection.poll_timeout().unwrap_or(NOW.mono + Duration::ZERO);
                (exchange, Now { mono: at, unix_ms: NOW.unix_ms })
            },
            |(exchange, now)| {
                exchange.connection.handle_timeout(*now, &shared);
                exchange.handle(r#"{"type":"pong","timestamp":1700000000000}"#)
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, requests, login, fan_out, heartbeat);
criterion_main!(benches);
