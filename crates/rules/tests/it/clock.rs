//! A clock that runs backwards: the engine holds it at the latest time that it has seen.

use crate::support::{Seeded, T, object};
use noex_rules::{Engine, EngineOptions, SubscriberId};
use proptest::prelude::*;

/// Everything that depends on time: timers that end and repeat, and each temporal pattern.
const RULES: [&str; 6] = [
    r#"{"id":"timer","name":"x","trigger":{"type":"event","topic":"a"},"actions":[{"type":"set_timer","timer":{"name":"t:${event.u}","duration":"50ms","onExpire":{"topic":"rang","data":{"u":{"ref":"event.u"}}},"repeat":{"interval":"70ms","maxCount":3}}}]}"#,
    r#"{"id":"cron","name":"x","trigger":{"type":"event","topic":"c"},"actions":[{"type":"set_timer","timer":{"name":"c","cron":"* * * * * *","maxCount":2,"onExpire":{"topic":"tick","data":{}}}}]}"#,
    r#"{"id":"sequence","name":"x","trigger":{"type":"temporal","pattern":{"type":"sequence","events":[{"topic":"a"},{"topic":"b"}],"within":"200ms","groupBy":"u"}},"actions":[{"type":"emit_event","topic":"in-order","data":{"u":{"ref":"event.groupKey"}}}]}"#,
    r#"{"id":"absence","name":"x","trigger":{"type":"temporal","pattern":{"type":"absence","after":{"topic":"a"},"expected":{"topic":"b"},"within":"120ms","groupBy":"u"}},"actions":[{"type":"emit_event","topic":"missing","data":{"u":{"ref":"event.groupKey"}}}]}"#,
    r#"{"id":"count","name":"x","trigger":{"type":"temporal","pattern":{"type":"count","event":{"topic":"b"},"threshold":3,"window":"300ms","sliding":true}},"actions":[{"type":"set_fact","key":"often","value":{"ref":"event.count"}}]}"#,
    r#"{"id":"aggregate","name":"x","trigger":{"type":"temporal","pattern":{"type":"aggregate","event":{"topic":"b"},"field":"u","function":"sum","threshold":3,"window":"250ms"}},"actions":[{"type":"emit_event","topic":"much","data":{}}]}"#,
];

#[derive(Clone, Debug)]
enum Input {
    Emit(&'static str, u8),
    SetFact(u8),
    Advance,
}

fn inputs() -> impl Strategy<Value = Vec<(i64, Input)>> {
    let input = prop_oneof![
        6 => (prop::sample::select(&["a", "b", "b", "c"][..]), 0..3_u8).prop_map(|(topic, u)| Input::Emit(topic, u)),
        1 => (0..3_u8).prop_map(Input::SetFact),
        3 => Just(Input::Advance),
    ];
    // Mostly small steps forward, sometimes back, sometimes far.
    let step = prop_oneof![6 => 0..80_i64, 3 => -150..0_i64, 1 => -100_000..100_000_i64];
    prop::collection::vec((step, input), 1..80)
}

/// Gives all answers and outputs. With `held`, the caller holds the clock at its latest reading itself.
fn play(inputs: &[(i64, Input)], held: bool) -> Vec<String> {
    let mut engine = Engine::new(EngineOptions::default(), Box::new(Seeded(42)));
    for rule in RULES {
        engine.register_rule(T, object(rule)).expect("a good rule");
    }
    engine.subscribe(SubscriberId(0), "*").expect("a pattern");
    let (mut clock, mut latest) = (T, T);
    let mut trace = Vec::new();
    for (step, input) in inputs {
        clock = clock.saturating_add_signed(*step);
        latest = latest.max(clock);
        let now = if held { latest } else { clock };
        let answer = match input {
            Input::Emit(topic, u) => {
                let event = engine.emit(now, topic, object(&format!(r#"{{"u":{u}}}"#)), None, None);
                event.expect("running").to_json()
            }
            Input::SetFact(n) => {
                let fact = engine.set_fact(now, "n", f64::from(*n).into()).expect("room");
                fact.to_value().to_json()
            }
            Input::Advance => {
                while engine.advance(now) {}
                assert!(engine.next_deadline_ms().is_none_or(|at| at > latest), "due and not done");
                String::new()
            }
        };
        let times: Vec<u64> = engine.history().map(|event| event.timestamp).collect();
        assert!(times.is_sorted(), "events go back in time: {times:?}");
        assert!(times.last().is_none_or(|last| *last <= latest));
        trace.push(format!("{answer} {:?} {:?}", engine.take_outputs(), engine.next_deadline_ms()));
    }
    trace
}

proptest! {
    #[test]
    fn a_clock_that_runs_backwards_is_held_at_its_latest_reading(inputs in inputs()) {
        prop_assert_eq!(play(&inputs, false), play(&inputs, true));
    }
}
