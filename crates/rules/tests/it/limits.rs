//! Every bound, at the bound.

use crate::support::{T, World, object};
use noex_rules::{EngineOptions, HistoryLimits, Output, Stopwatch};

fn spark(count: usize, world: &mut World) {
    for i in 0..count {
        world.rule(&format!(
            r#"{{"id":"r{i}","trigger":{{"type":"event","topic":"spark"}},"actions":[{{"type":"emit_event","topic":"spark","data":{{}}}}]}}"#
        ));
    }
}

#[test]
fn one_input_has_a_budget_of_activations() {
    let mut world = World::new();
    spark(3, &mut world);
    world.rule(r#"{"id":"calm","trigger":{"type":"event","topic":"calm"},"actions":[{"type":"set_fact","key":"calm","value":true}]}"#);
    world.emit("spark", "{}");
    let stats = world.engine.stats();
    assert_eq!(
        (stats.rules_executed, stats.events_processed, stats.work_budget_exceeded),
        (10_000, 10_001, 1)
    );
    let warned =
        |output: &Output| matches!(output, Output::Log { message, .. } if message.contains("work budget"));
    assert_eq!(world.take_outputs().iter().filter(|output| warned(output)).count(), 1);
    world.emit("calm", "{}");
    assert_eq!(world.fact("calm").as_deref(), Some("true"));
    assert_eq!(world.engine.stats().rules_executed, 10_001);
}

#[test]
fn the_budget_is_not_touched_by_work_that_just_fits() {
    let mut world =
        World::with(EngineOptions { activations_per_input_max: 3, depth_max: 3, ..EngineOptions::default() });
    spark(1, &mut world);
    world.emit("spark", "{}");
    let stats = world.engine.stats();
    assert_eq!((stats.rules_executed, stats.work_budget_exceeded, stats.depth_limit_hits), (3, 0, 1));
}

#[test]
fn loops_cannot_escape_the_budget_of_work() {
    let mut world = World::with(EngineOptions { work_per_input_max: 10_000, ..EngineOptions::default() });
    let mut body = r#"{"type":"set_fact","key":"n","value":1}"#.to_owned();
    for depth in 0..6 {
        body = format!(
            r#"{{"type":"for_each","collection":{{"ref":"event.list"}},"as":"v{depth}","actions":[{body}]}}"#
        );
    }
    world.rule(&format!(r#"{{"id":"r","trigger":{{"type":"event","topic":"go"}},"actions":[{body},{{"type":"set_fact","key":"after","value":1}}]}}"#));
    let list: Vec<String> = (0..50).map(|i| i.to_string()).collect();
    world.emit("go", &format!(r#"{{"list":[{}]}}"#, list.join(",")));
    let stats = world.engine.stats();
    assert_eq!((stats.rules_executed, stats.work_budget_exceeded), (0, 1));
    assert_eq!(world.fact("after"), None);
    let version = world.engine.get_fact("n").expect("written").version;
    assert!((1000..10_000).contains(&version), "{version}");
    world.emit("other", "{}");
}

#[test]
fn values_of_rules_stay_within_size_and_depth() {
    let mut world = World::with(EngineOptions {
        value_bytes_max: 100_000,
        value_depth_max: 20,
        ..EngineOptions::default()
    });
    // Each input doubles a fact, and nests it.
    world.rule(
        r#"{"id":"double","trigger":{"type":"event","topic":"go"},"actions":[
            {"type":"emit_event","topic":"build","data":{"a":{"ref":"fact.k"},"b":{"ref":"fact.k"}}}]}"#,
    );
    world.rule(
        r#"{"id":"nest","trigger":{"type":"event","topic":"go"},"actions":[
            {"type":"emit_event","topic":"wrap","data":{"a":{"ref":"fact.n"}}}]}"#,
    );
    world.rule(r#"{"id":"k","trigger":{"type":"event","topic":"build"},"actions":[{"type":"set_fact","key":"k","value":{"ref":"event"}}]}"#);
    world.rule(r#"{"id":"n","trigger":{"type":"event","topic":"wrap"},"actions":[{"type":"set_fact","key":"n","value":{"ref":"event"}}]}"#);
    for _ in 0..60 {
        world.emit("go", "{}");
    }
    let size = |key: &str| world.fact(key).map_or(0, |text| text.len());
    assert!(size("k") < 100_000 && size("n") < 200, "{} {}", size("k"), size("n"));
    let failures = world.failures();
    assert!(failures.contains(&"nest 0 emit_event: Value is nested too deeply".to_owned()), "{failures:?}");
    assert!(failures.iter().any(|failure| failure.starts_with("double 0")), "{failures:?}");
}

#[test]
fn rules_facts_and_timers_are_limited() {
    let mut world = World::with(EngineOptions {
        rules_max: 2,
        facts_max: Some(2),
        timers_max: 1,
        ..EngineOptions::default()
    });
    world.rule(
        r#"{"id":"a","trigger":{"type":"event","topic":"go"},"actions":[
            {"type":"set_fact","key":"k:${event.n}","value":1},
            {"type":"set_timer","timer":{"name":"t:${event.n}","duration":"1h","onExpire":{"topic":"x","data":{}}}}]}"#,
    );
    world.rule(r#"{"id":"b","trigger":{"type":"event","topic":"x"}}"#);
    let third = object(r#"{"id":"c","name":"c","trigger":{"type":"event","topic":"x"}}"#);
    let refused = world.engine.register_rule(T, third.clone()).expect_err("full");
    assert_eq!(refused.to_string(), "Rule limit reached (max 2)");
    world.engine.update_rule(T, "b", &object("{}")).expect("no new rule");
    for n in 1..=3 {
        world.emit("go", &format!(r#"{{"n":{n}}}"#));
    }
    world.emit("go", r#"{"n":1}"#);
    assert_eq!(
        world.failures(),
        [
            "a 1 set_timer: Timer limit reached (max 1)",
            "a 0 set_fact: Fact limit reached (max 2)",
            "a 1 set_timer: Timer limit reached (max 1)",
        ]
    );
    let refused = world.engine.set_fact(T, "new", noex_json::Value::Null).expect_err("full");
    assert_eq!(refused.to_string(), "Fact limit reached (max 2)");
    world.engine.unregister_rule(T, "b").expect("registered");
    world.engine.register_rule(T, third).expect("room again");
}

#[test]
fn reports_of_one_input_are_limited() {
    let mut world = World::with(EngineOptions { reports_per_input_max: 3, ..EngineOptions::default() });
    world.rule(
        r#"{"id":"r","trigger":{"type":"event","topic":"go"},"actions":[{"type":"for_each","collection":[1,2,3,4],"as":"x","actions":[
            {"type":"log","level":"debug","message":"${var.x}"},{"type":"call_service","service":"s","method":"m"}]}]}"#,
    );
    world.emit("go", "{}");
    let outputs = world.take_outputs();
    let reports = outputs.iter().filter(|output| !matches!(output, Output::Event { .. })).count();
    assert_eq!((reports, world.engine.stats().reports_suppressed), (4, 5));
    assert!(
        matches!(outputs.last(), Some(Output::Log { message, .. }) if message == "5 more log lines and failures of one input are not shown")
    );
}

#[test]
fn the_history_is_bounded() {
    let history = HistoryLimits { events_max: 5, ..HistoryLimits::default() };
    let mut world = World::with(EngineOptions { history, ..EngineOptions::default() });
    for n in 0..20 {
        world.emit_as("t", &format!(r#"{{"n":{n}}}"#), Some(&n.to_string()), None);
    }
    let stats = world.engine.stats();
    assert_eq!((stats.history_count, stats.history_evicted, stats.events_processed), (5, 15, 20));
    assert_eq!(
        world.engine.history().next().and_then(|event| event.correlation_id.clone()).as_deref(),
        Some("15")
    );
}

#[test]
fn advance_does_bounded_work_and_says_so() {
    let mut world = World::with(EngineOptions { deadlines_per_call_max: 10, ..EngineOptions::default() });
    world.rule(
        r#"{"id":"busy","trigger":{"type":"event","topic":"go"},
            "actions":[{"type":"set_timer","timer":{"name":"t","duration":1,"onExpire":{"topic":"go","data":{}}}}]}"#,
    );
    world.emit("go", "{}");
    let mut calls = 1;
    while world.engine.advance(T + 95) {
        calls += 1;
    }
    assert_eq!((calls, world.engine.stats().events_processed), (10, 96));
    // An input does not wait for all of it, but for as much as one call does.
    world.now = T + 1000;
    world.emit("other", "{}");
    assert_eq!(world.engine.stats().events_processed, 107);
}

#[test]
fn nesting_and_depth_cannot_exhaust_the_stack() {
    for nesting in [0, 5, 20] {
        let mut world = World::with(EngineOptions {
            depth_max: 1_000_000,
            activations_per_input_max: 1_000_000,
            ..EngineOptions::default()
        });
        let mut body = r#"{"type":"emit_event","topic":"go","data":{}}"#.to_owned();
        for _ in 0..nesting {
            body = format!(
                r#"{{"type":"try_catch","try":[{body}],"finally":[{{"type":"log","level":"debug","message":"x"}}]}}"#
            );
        }
        world.rule(&format!(r#"{{"id":"r","trigger":{{"type":"event","topic":"go"}},"actions":[{body}]}}"#));
        let world = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
            world.emit("go", "{}");
            world
        });
        let mut world = world.expect("a thread").join().expect("no overflow");
        let stats = world.engine.stats();
        assert!(stats.actions_failed + stats.depth_limit_hits >= 1, "{nesting}");
        world.emit("other", "{}");
    }
}

#[derive(Debug)]
struct Steps(u64);

impl Stopwatch for Steps {
    fn elapsed_us(&mut self) -> u64 {
        self.0 += 500;
        self.0
    }
}

#[test]
fn activations_are_measured_with_a_stopwatch() {
    let mut world = World::new();
    world.engine.set_stopwatch(Box::new(Steps(0)));
    world.rule(r#"{"id":"r","trigger":{"type":"event","topic":"go"}}"#);
    world.emit("go", "{}");
    world.emit("go", "{}");
    assert_eq!(world.engine.stats().avg_processing_time_ms, 0.5);
}

#[test]
fn reports_do_not_grow_with_the_texts_of_rules() {
    let mut world = World::new();
    let long = "x".repeat(100_000);
    world.rule(&format!(
        r#"{{"id":"{long}","trigger":{{"type":"event","topic":"go"}},"actions":[{{"type":"set_fact","key":"k","value":{{"ref":"{long}"}}}}]}}"#
    ));
    world.emit("go", "{}");
    let failures = world.failures();
    assert!(failures.len() == 1 && failures[0].len() < 5000, "{}", failures.len());
}
