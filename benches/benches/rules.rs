//! The rule engine: what an event costs that matches one rule, or one subscription, of many.
//!
//! `cargo bench -p noex-bench --bench rules`

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use noex_json::{Object, parse};
use noex_rules::{Engine, EngineOptions, Random, SubscriberId};
use std::hint::black_box;

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

fn engine() -> Engine {
    Engine::new(EngineOptions { rules_max: 1_000_000, ..EngineOptions::default() }, Box::new(Counting(0)))
}

fn object(text: &str) -> Object {
    parse(text, 64).ok().and_then(|value| value.as_object().cloned()).expect("a JSON object")
}

/// Rules on one topic; the event satisfies the condition of exactly one.
fn one_of_many(operator: &str, count: usize) -> Engine {
    let mut engine = engine();
    for i in 0..count {
        let value = if operator == "eq" { i } else { i * 10 };
        let rule = format!(
            r#"{{"id":"r{i}","name":"r","trigger":{{"type":"event","topic":"order.created"}},
               "conditions":[{{"source":{{"type":"event","field":"n"}},"operator":"{operator}","value":{value}}}],
               "actions":[{{"type":"set_fact","key":"last","value":{{"ref":"event.n"}}}}]}}"#
        );
        engine.register_rule(0, object(&rule)).expect("valid");
    }
    engine
}

fn matching(c: &mut Criterion) {
    let mut group = c.benchmark_group("emit_one_rule_matches");
    for count in [10, 1000, 100_000] {
        for (operator, data) in [("eq", r#"{"n":7}"#), ("gte", r#"{"n":0}"#)] {
            let mut engine = one_of_many(operator, count);
            let data = object(data);
            group.bench_function(BenchmarkId::new(operator, count), |b| {
                b.iter_batched(
                    || data.clone(),
                    |data| {
                        black_box(engine.emit(1, "order.created", data, None, None).expect("running"));
                        drop(engine.take_outputs());
                    },
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

fn wildcards(c: &mut Criterion) {
    let mut group = c.benchmark_group("emit_one_wildcard_matches");
    for count in [10, 1000, 100_000] {
        let mut rules = engine();
        for i in 0..count {
            let rule = format!(
                r#"{{"id":"r{i}","name":"r","trigger":{{"type":"event","topic":"p{i}.*.x"}},
                   "actions":[{{"type":"set_fact","key":"last","value":1}}]}}"#
            );
            rules.register_rule(0, object(&rule)).expect("valid");
        }
        let mut subscriptions = engine();
        for i in 0..count {
            subscriptions.subscribe(SubscriberId(i), &format!("p{i}.*")).expect("valid");
        }
        for (name, mut engine, topic) in
            [("rules", rules, "p7.a.x"), ("subscriptions", subscriptions, "p7.a")]
        {
            group.bench_function(BenchmarkId::new(name, count), |b| {
                b.iter(|| {
                    black_box(engine.emit(1, topic, Object::new(), None, None).expect("running"));
                    drop(engine.take_outputs());
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, matching, wildcards);
criterion_main!(benches);
