//! The store: each operation on 1,000 and 1,000,000 records, transactions, filters with and without an index; requests of
//! one thread and of two at the same time.
//!
//! `cargo bench -p noex-bench --bench store`

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use noex_bench::exchange::{self, BUCKET, Exchange, NOW, record};
use noex_host::store::{Operation, Random, ReadRequest, Store, StoreOptions};
use noex_json::{Object, Value, parse};
use std::hint::black_box;
use std::thread;

/// Foreseeable bytes, so that runs repeat.
struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

fn object(text: &str) -> Object {
    parse(text, 64).ok().and_then(|value| value.as_object().cloned()).expect("a JSON object")
}

fn store(records: u64) -> Store {
    let mut store = Store::new(StoreOptions::default(), Box::new(Counting(0)));
    store.define_bucket(NOW.unix_ms, "load", &object(BUCKET)).expect("valid");
    for n in 0..records {
        store.insert(NOW.unix_ms, "load", object(&record(n))).expect("new");
    }
    store
}

/// Keys in an order that a cache does not foresee.
fn keys(count: u64) -> impl FnMut() -> Value {
    let mut at = 0;
    move || {
        at = (at + 7_919) % count;
        Value::from(format!("k{at}").as_str())
    }
}

fn operations(c: &mut Criterion) {
    for count in [1_000, 1_000_000] {
        let mut store = store(count);
        let now = NOW.unix_ms;
        let mut group = c.benchmark_group(format!("operation_of_{count}"));
        let mut key = keys(count);
        group.bench_function("get", |b| {
            b.iter_batched(
                &mut key,
                |key| store.get_json(now, "load", &key).map(|text| text.is_some()),
                BatchSize::SmallInput,
            );
        });
        let mut n = 0;
        group.bench_function("update", |b| {
            b.iter_batched(
                || {
                    n += 1;
                    (key(), object(&format!(r#"{{"n":{n}}}"#)))
                },
                |(key, changes)| store.update(now, "load", &key, changes),
                BatchSize::SmallInput,
            );
        });
        group.bench_function("transaction_get_update", |b| {
            b.iter_batched(
                || {
                    n += 1;
                    let (bucket, key) = ("load".into(), key());
                    let changes = object(&format!(r#"{{"n":{n}}}"#));
                    let update = Operation::Update { bucket, key: key.clone(), changes };
                    vec![Operation::Get { bucket: "load".into(), key }, update]
                },
                |operations| store.transaction(now, operations),
                BatchSize::SmallInput,
            );
        });
        let mut new = count;
        group.bench_function("insert_delete", |b| {
            b.iter_batched(
                || {
                    new += 1;
                    (Value::from(format!("k{new}").as_str()), object(&record(new)))
                },
                |(key, data)| {
                    let inserted = store.insert(now, "load", data).map(|record| record.version());
                    (inserted, store.delete(now, "load", &key))
                },
                BatchSize::SmallInput,
            );
        });
        group.finish();
        filters(c, &mut store, count);
    }
}

/// `n` has an index, `owner` has none; each condition finds ten records or a hundredth.
fn filters(c: &mut Criterion, store: &mut Store, count: u64) {
    let mut group = c.benchmark_group("filter");
    group.sample_size(10);
    let filters = [
        ("index_equal", format!(r#"{{"n":{}}}"#, count / 2)),
        ("index_range_of_10", format!(r#"{{"n":{{"$gte":{},"$lt":{}}}}}"#, count / 2, count / 2 + 10)),
        ("scan_equal", r#"{"owner":"u7"}"#.to_owned()),
    ];
    for (name, filter) in filters {
        let filter = object(&filter);
        group.bench_function(BenchmarkId::new(name, count), |b| {
            b.iter(|| {
                let request = ReadRequest::Count(Some(black_box(&filter).clone()));
                store.prepare_read(NOW.unix_ms, "load", request).map(|prepared| prepared.run())
            });
        });
    }
    group.finish();
}

/// Whole requests on one store, each thread with its own connection and records: what is lost is lost to the store's
/// lock and to memory that the threads share. Twice the elements per second would be perfect.
fn threads(c: &mut Criterion) {
    /// Requests of one thread.
    const REQUESTS: u64 = 10_000;
    let mut group = c.benchmark_group("requests_at_the_same_time");
    group.sample_size(20);
    for (name, request) in [("get", exchange::get as fn(u64) -> String), ("update", exchange::update)] {
        for count in [1, 2] {
            let exchange = Exchange::with_store(count * REQUESTS);
            let store = exchange.store().expect("made with one");
            let texts: Vec<Vec<String>> = (0..count)
                .map(|thread| (thread * REQUESTS..(thread + 1) * REQUESTS).map(request).collect())
                .collect();
            group.throughput(Throughput::Elements(count * REQUESTS));
            group.bench_function(BenchmarkId::new(name, count), |b| {
                b.iter(|| {
                    thread::scope(|scope| {
                        for texts in &texts {
                            scope.spawn(|| {
                                let mut exchange = Exchange::sharing(store);
                                texts.iter().map(|text| exchange.handle(text)).sum::<usize>()
                            });
                        }
                    });
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, operations, threads);
criterion_main!(benches);
