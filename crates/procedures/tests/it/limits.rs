//! What happens at the limits of a call.

use crate::world::World;
use noex_procedures::{CallError, Limits};

const INSERT: &str = r#"{"action":"store.insert","bucket":"b","data":{"id":1}}"#;

#[test]
fn time_is_looked_at_between_steps() {
    let steps = [INSERT; 5].join(",");
    for (timeout, done, text) in [
        (r#","timeoutMs":25"#, 3, "Procedure \"p\" timed out after 25ms"),
        (r#","timeoutMs":0.5"#, 1, "Procedure \"p\" timed out after 0.5ms"),
        ("", 2, "Procedure \"p\" timed out after 20ms"),
    ] {
        let limits = Limits { default_timeout_ms: 20, ..Limits::default() };
        let mut world = World { step_ms: 10.0, limits, ..World::default() };
        let error = world.run(&steps, timeout, "{}").expect_err("late");
        assert!(matches!(error, CallError::TimedOut { .. }), "{error:?}");
        assert_eq!(error.text().as_deref(), Some(text));
        assert_eq!(world.buckets["b"].len(), done);
    }
    let mut world = World { step_ms: 10.0, ..World::default() };
    world.run(&steps, r#","timeoutMs":41"#, "{}").expect("the last step began in time");
}

/// Each step doubles what the one before made; 40 of them would fill a terabyte.
#[test]
fn values_cannot_grow_without_bound() {
    let mut steps = vec![r#"{"action":"rules.setFact","key":"x","value":"0123456789"}"#.to_owned()];
    for _ in 0..40 {
        steps.push(r#"{"action":"rules.getFact","key":"x","as":"x"}"#.to_owned());
        steps.push(r#"{"action":"rules.setFact","key":"x","value":"{{x}}{{x}}"}"#.to_owned());
    }
    let error = World::default().run(&steps.join(","), "", "{}").expect_err("too big");
    let text = format!("Procedure \"p\" makes more than {} bytes of values", 16 << 20);
    assert_eq!(error, CallError::Step(text));
}

#[test]
fn results_are_bounded_in_bytes() {
    let mut world = World::with("b", &format!("[{}]", vec![r#"{"id":"0123456789"}"#; 100].join(",")));
    world.limits.bytes_max = 4000;
    let all = r#"{"action":"store.where","bucket":"b","filter":{},"as":"all"}"#;
    let error = world.run(all, "", "{}").expect_err("too big");
    assert_eq!(error, CallError::Step("Procedure \"p\" makes more than 4000 bytes of values".to_owned()));
    world.run(r#"{"action":"store.count","bucket":"b","as":"all"}"#, "", "{}").expect("a number is small");
}

/// A record that holds its own former state would be deeper with each call, until nothing could serialise it.
#[test]
fn values_cannot_nest_without_bound() {
    let steps = r#"{"action":"store.get","bucket":"b","key":"{{input.k}}","as":"old"},
        {"action":"store.update","bucket":"b","key":"{{input.k}}","data":{"old":"{{old}}"}}"#;
    let mut world = World::with("b", r#"[{"id":"r"}]"#);
    let calls = (0..500).take_while(|_| world.run(steps, "", r#"{"k":"r"}"#).is_ok()).count();
    assert_eq!(calls, 127);
    let error = world.run(steps, "", r#"{"k":"r"}"#).expect_err("too deep");
    assert_eq!(error, CallError::Step("Procedure \"p\" nests values deeper than 128".to_owned()));
}

#[test]
fn reads_share_one_budget_of_records() {
    let records = ["{}"; 10].join(",");
    let count = r#"{"action":"store.count","bucket":"b","as":"n"}"#;
    let limits = Limits { records_max: 30, records_locked_max: 20, ..Limits::default() };
    let mut world = World { limits, ..World::with("b", &format!("[{records}]")) };
    for (steps, more, max) in [(3, "", 30), (2, r#","transaction":true"#, 20)] {
        let list = |n: usize| vec![count; n].join(",");
        world.run(&list(steps), more, "{}").expect("within");
        let error = world.run(&list(steps + 1), more, "{}").expect_err("beyond");
        assert_eq!(error, CallError::Step(format!("Procedure \"p\" looks at more than {max} records")));
    }
}
