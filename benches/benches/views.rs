//! Live queries: what a write costs with many views registered, and what keeping each shape up to date costs.
//!
//! `cargo bench -p noex-bench --bench views`; the views of a million parameters and a million rows need about 4 GB.
//! Each iteration is a write with all that follows from it: maintenance, writing the result, comparing it. What is
//! measured is the time of the thread on its processor, so that a busy machine does not count.

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use noex_json::{Object, Value, parse};
use noex_store::{Published, Random, Store, StoreOptions, Subscribed, SubscriberId, ViewCounters};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::time::Duration;

/// Time that this thread has spent on a processor.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    }

    fn end(&self, start: Duration) -> Duration {
        self.start().saturating_sub(start)
    }

    fn add(&self, left: &Duration, right: &Duration) -> Duration {
        *left + *right
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// Foreseeable bytes, so that runs repeat.
struct Counting(u64);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            for (to, from) in chunk.iter_mut().zip(self.0.to_be_bytes()) {
                *to = from;
            }
        }
    }
}

const NOW_MS: u64 = 1_700_000_000_000;
const BUCKET: &str = r#"{"key":"id","schema":{"id":{"type":"number"},"room":{"type":"number"},
    "score":{"type":"number"},"name":{"type":"string"}}}"#;

fn object(text: &str) -> Object {
    parse(text, 64).ok().and_then(|value| value.as_object().cloned()).expect("a JSON object")
}

fn store() -> Store {
    let options = StoreOptions { view_bytes_max: 4 << 30, ..StoreOptions::default() };
    let mut store = Store::new(options, Box::new(Counting(1)));
    store.define_bucket(NOW_MS, "b", &object(BUCKET)).expect("correct");
    store
}

fn record(id: usize, room: usize, score: f64) -> Object {
    let mut record = Object::new();
    record.set("id", id as f64);
    record.set("room", room as f64);
    record.set("score", score);
    record.set("name", format!("player {id} of room {room}").as_str());
    record
}

fn fill(store: &mut Store, rows: usize, rooms: usize, score: impl Fn(usize) -> f64) {
    for from in (0..rows).step_by(1000) {
        let list = (from..rows.min(from + 1000)).map(|id| record(id, id % rooms, score(id))).collect();
        store.insert_many(NOW_MS, "b", list).expect("new keys");
    }
}

fn publish(store: &mut Store, evaluation: noex_store::Evaluation) -> Published {
    store.publish(evaluation.run())
}

fn subscribe(store: &mut Store, id: usize, query: &str, params: Option<&Value>) {
    let subscribed = store.subscribe(NOW_MS, query, params, SubscriberId(id as u64)).expect("defined");
    if let Subscribed::Evaluate(evaluation) = subscribed {
        publish(store, evaluation);
    }
}

/// Evaluates and publishes all that is dirty; gives the number of pushes.
fn flush(store: &mut Store) -> usize {
    let mut pushes = 0;
    while let Some(evaluation) = store.next_dirty(NOW_MS) {
        pushes += black_box(publish(store, evaluation)).changed.len();
    }
    pushes
}

fn update(store: &mut Store, id: usize, field: &str, value: f64) {
    let mut changes = Object::new();
    changes.set(field, value);
    black_box(store.update(NOW_MS, "b", &Value::Number(id as f64), changes).expect("there"));
}

/// Measures a write with what follows from it, over a store that is made only if the measurement is wanted.
fn measure(
    group: &mut BenchmarkGroup<'_, CpuTime>,
    (name, size): (&str, usize),
    make: impl Fn() -> Store,
    mut write: impl FnMut(&mut Store, usize),
) {
    let mut made: Option<(Store, ViewCounters)> = None;
    let mut turn = 0;
    group.bench_function(BenchmarkId::new(name, size), |b| {
        let (store, _) = made.get_or_insert_with(|| {
            let store = make();
            let counters = store.view_stats().counters;
            (store, counters)
        });
        b.iter(|| {
            turn += 1;
            write(store, turn);
        });
    });
    if let Some((store, before)) = made {
        let after = store.view_stats().counters;
        eprintln!(
            "{name}/{size}: {turn} writes, {} candidates, {} results written, {} refills, {} reruns",
            after.candidates - before.candidates,
            after.kept - before.kept,
            after.refills,
            after.reruns
        );
    }
}

/// One view per parameter value; a write concerns exactly one of them.
fn registered(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("write_one_view_of_n_affected");
    let kinds = [
        ("equal", r#"{"room":"{{ params.p }}"}"#),
        ("range", r#"{"room":{"$between":["{{ params.p }}","{{ params.q }}"]}}"#),
        ("prefix", r#"{"name":{"$startsWith":"{{ params.r }}"}}"#),
    ];
    for (kind, filter) in kinds {
        for views in [1, 1000, 100_000, 1_000_000] {
            let make = || {
                let mut store = store();
                fill(&mut store, 1000, 1000, |id| id as f64);
                let aggregate = r#"{"function":"sum","field":"score"}"#;
                let query = format!(r#"{{"bucket":"b","filter":{filter},"aggregate":{aggregate}}}"#);
                store.define_query("q", &object(&query)).expect("correct");
                for view in 0..views {
                    let mut params = Object::new();
                    params.set("p", view as f64);
                    params.set("q", view as f64 + 0.5);
                    params.set("r", format!("player {view} of").as_str());
                    subscribe(&mut store, view, "q", Some(&Value::from(params)));
                }
                store
            };
            // The same view each time, or each of a thousand in turn.
            for (which, rows) in [("same", 1), ("any", views.min(1000))] {
                measure(&mut group, (&format!("{kind}_{which}"), views), make, |store, turn| {
                    // Never the score that the row has already.
                    update(store, turn * 7919 % rows, "score", (1000 + turn) as f64);
                    assert_eq!(flush(store), 1);
                });
            }
        }
    }
    group.finish();
}

/// Each shape over a whole bucket; scores of random rows change.
fn shapes(c: &mut Criterion<CpuTime>) {
    const SHAPES: [(&str, &str); 9] = [
        ("none", ""),
        ("count", r#","filter":{"score":{"$gte":500}},"aggregate":{"function":"count"}"#),
        ("sum", r#","aggregate":{"function":"sum","field":"score"}"#),
        ("sum_of_cents", r#","aggregate":{"function":"sum","field":"score"}"#),
        ("max", r#","aggregate":{"function":"max","field":"score"}"#),
        ("top10", r#","sort":{"score":"desc"},"limit":10"#),
        ("page", r#","sort":{"score":"desc"},"offset":100,"limit":20"#),
        ("latest20", r#","limit":20"#),
        ("groups", r#","aggregate":{"function":"sum","field":"score","groupBy":"room"}"#),
    ];
    let mut group = c.benchmark_group("change_of_one_row");
    for (shape, query) in SHAPES {
        for rows in [1000_usize, 100_000, 1_000_000] {
            let scale = if shape == "sum_of_cents" { 100.0 } else { 1.0 };
            let make = || {
                let mut store = store();
                fill(&mut store, rows, 100, |id| (id * 7919 % 1_000_003) as f64 / scale);
                if shape != "none" {
                    store
                        .define_query("q", &object(&format!("{{\"bucket\":\"b\"{query}}}")))
                        .expect("correct");
                    subscribe(&mut store, 1, "q", None);
                }
                store
            };
            measure(&mut group, (shape, rows), make, |store, turn| {
                update(store, turn * 104_729 % rows, "score", (turn * 7907 % 1_000_003) as f64 / scale);
                flush(store);
            });
        }
    }
    group.finish();
}

/// The first row of a limited list leaves again and again.
fn draining(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("first_of_window_leaves");
    for (name, updates) in [("scan", "{}"), ("index", r#"{"addIndexes":["score"]}"#)] {
        for rows in [100_000_usize, 1_000_000] {
            let make = || {
                let mut store = store();
                fill(&mut store, rows, 100, |id| id as f64);
                store.update_bucket(NOW_MS, "b", &object(updates)).expect("correct");
                let query = r#"{"bucket":"b","sort":{"score":"asc"},"limit":10}"#;
                store.define_query("q", &object(query)).expect("correct");
                subscribe(&mut store, 1, "q", None);
                store
            };
            measure(&mut group, (name, rows), make, |store, turn| {
                update(store, (turn - 1) % rows, "score", (rows + turn) as f64);
                assert_eq!(flush(store), 1);
            });
        }
    }
    group.finish();
}

/// A list of whole records or of some members, one of which changes; told in full, or followed by its changes.
fn lists(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("one_field_of_a_list_changes");
    for (kind, query, follows) in [
        ("records", r#"{"bucket":"b"}"#, false),
        ("sorted", r#"{"bucket":"b","sort":{"name":"asc"}}"#, false),
        ("fields", r#"{"bucket":"b","fields":["id","score"]}"#, false),
        ("followed", r#"{"bucket":"b"}"#, true),
    ] {
        for rows in [100_usize, 1000, 10_000] {
            let make = || {
                let mut store = store();
                fill(&mut store, rows, 100, |id| id as f64);
                store.define_query("q", &object(query)).expect("correct");
                subscribe(&mut store, 1, "q", None);
                assert!(!follows || store.follow_changes(SubscriberId(1)));
                store
            };
            measure(&mut group, (kind, rows), make, |store, turn| {
                update(store, turn * 7919 % rows, "score", turn as f64 + 0.5);
                assert_eq!(flush(store), 1);
            });
        }
    }
    group.finish();
}

/// One result, however many want it.
fn subscribers(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("subscribers_of_one_view");
    for count in [1_usize, 10_000] {
        let make = || {
            let mut store = store();
            fill(&mut store, 1000, 100, |id| id as f64);
            let query = r#"{"bucket":"b","aggregate":{"function":"sum","field":"score"}}"#;
            store.define_query("q", &object(query)).expect("correct");
            (0..count).for_each(|id| subscribe(&mut store, id, "q", None));
            store
        };
        measure(&mut group, ("sum", count), make, |store, turn| {
            update(store, 7, "score", turn as f64);
            assert_eq!(flush(store), count);
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime).sample_size(20);
    targets = registered, shapes, draining, lists, subscribers
}
criterion_main!(benches);
