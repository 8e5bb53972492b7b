//! JSON: scanning, building and writing, beside serde_json.
//!
//! `cargo bench -p noex-bench --bench json`

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use noex_bench::exchange;
use noex_json::{parse, scan_object};
use std::hint::black_box;

fn texts() -> [(&'static str, String); 3] {
    let list: Vec<String> = (0..100).map(exchange::record).collect();
    [
        ("request_75", exchange::get(7)),
        ("record_200", exchange::record(7)),
        ("list_of_100", format!("{{\"list\":[{}]}}", list.join(","))),
    ]
}

fn reading(c: &mut Criterion) {
    for (name, text) in texts() {
        let mut group = c.benchmark_group(format!("read/{name}"));
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function("scan", |b| {
            b.iter(|| scan_object(black_box(&text), 64, |member| drop(black_box(member))));
        });
        group.bench_function("value", |b| b.iter(|| parse(black_box(&text), 64)));
        group.bench_function("serde_json_value", |b| {
            b.iter(|| serde_json::from_str::<serde_json::Value>(black_box(&text)));
        });
        group.finish();
    }
}

fn writing(c: &mut Criterion) {
    for (name, text) in texts() {
        let mut group = c.benchmark_group(format!("write/{name}"));
        group.throughput(Throughput::Bytes(text.len() as u64));
        let value = parse(&text, 64).expect("valid");
        group.bench_function("value", |b| b.iter(|| black_box(&value).to_json()));
        let value: serde_json::Value = serde_json::from_str(&text).expect("valid");
        group.bench_function("serde_json_value", |b| b.iter(|| black_box(&value).to_string()));
        group.finish();
    }
}

criterion_group!(benches, reading, writing);
criterion_main!(benches);
