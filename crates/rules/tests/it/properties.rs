//! Laws over random rules and inputs: the indexes find what a look at every rule finds; nothing panics or leaves its
//! bounds; the same inputs give the same outputs.

use crate::support::{Seeded, T, logged, object};
use noex_json::{Object, Value};
use noex_rules::{
    Condition, Engine, EngineOptions, HistoryLimits, Pattern, Rule, Scope, SubscriberId, TemporalLimits,
    Trigger,
};
use proptest::prelude::*;

// ---- Indexed evaluation against a look at every rule ----

/// What conditions on the payload see.
struct Payload<'a> {
    data: &'a Value,
    topic: &'a str,
    pattern: &'a Pattern,
}

impl Scope for Payload<'_> {
    fn payload(&self) -> &Value {
        self.data
    }
    fn envelope(&self, name: &str) -> Option<Value> {
        match name {
            "$topic" => Some(Value::from(self.topic)),
            "$captures" => {
                let captures = self.pattern.captures(self.topic)?;
                Some(Value::Array(captures.into_iter().map(Value::from).collect()))
            }
            _ => None,
        }
    }
    fn fact(&self, _: &str) -> Option<&Value> {
        None
    }
    fn first_fact(&self, _: &Pattern) -> Option<&Value> {
        None
    }
    fn variable(&self, _: &str) -> Option<&Value> {
        None
    }
    fn matched(&self, index: usize) -> Option<&Value> {
        (index == 0).then_some(self.data)
    }
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        (-3..4_i32).prop_map(|n| n.to_string()),
        Just("-0".to_owned()),
        Just("0.5".to_owned()),
        Just("1e999".to_owned()),
        "[ab1]{0,2}".prop_map(|text| format!("\"{text}\"")),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    let field = prop_oneof![
        Just("a"),
        Just("b"),
        Just("data.a"),
        Just("n.x"),
        Just("l.0"),
        Just("l.length"),
        Just("$topic"),
        Just("$captures.0"),
    ];
    let operator = prop_oneof![
        4 => Just("eq"), 1 => Just("neq"), 2 => Just("gt"), 2 => Just("gte"), 2 => Just("lt"), 2 => Just("lte"),
        2 => Just("in"), 1 => Just("not_in"), 1 => Just("exists"), 1 => Just("contains"), 1 => Just("matches"),
    ];
    let operand = prop_oneof![
        6 => scalar(),
        2 => prop::collection::vec(scalar(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
        1 => Just(r#"{"ref":"event.b"}"#.to_owned()),
        1 => Just(r#"{"a":1}"#.to_owned()),
        1 => Just(r#""t.a""#.to_owned()),
    ];
    (field, operator, operand).prop_map(|(field, operator, operand)| {
        format!(
            r#"{{"source":{{"type":"event","field":"{field}"}},"operator":"{operator}","value":{operand}}}"#
        )
    })
}

fn topic_pattern() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("t.a"),
        Just("t.b"),
        Just("t.*"),
        Just("*.a"),
        Just("**"),
        Just("t*.a"),
        Just("*"),
        Just("t")
    ]
}

fn rule(id: usize) -> impl Strategy<Value = String> {
    (topic_pattern(), prop::collection::vec(condition(), 0..3), -2..3_i32).prop_map(
        move |(topic, conditions, priority)| {
            format!(
                r#"{{"id":"r{id}","name":"r","priority":{priority},"trigger":{{"type":"event","topic":"{topic}"}},
                    "conditions":[{}],"actions":[{{"type":"log","level":"info","message":"r{id}"}}]}}"#,
                conditions.join(",")
            )
        },
    )
}

fn payload() -> impl Strategy<Value = String> {
    let value = prop_oneof![4 => scalar().boxed(), 1 => Just("[1]".to_owned()).boxed(), 1 => Just(r#"{"a":1}"#.to_owned()).boxed()];
    (prop::option::of(value.clone()), prop::option::of(value.clone()), prop::option::of(value)).prop_map(
        |(a, b, c)| {
            let mut members = Vec::new();
            members.extend(a.map(|value| format!(r#""a":{value}"#)));
            members.extend(b.map(|value| format!(r#""b":{value}"#)));
            members.extend(c.map(|value| format!(r#""n":{{"x":{value}}},"l":[{value},1]"#)));
            format!("{{{}}}", members.join(","))
        },
    )
}

#[derive(Clone, Debug)]
enum Change {
    Put(String),
    Enable(usize),
    Disable(usize),
    Remove(usize),
    Emit(&'static str, String),
}

const RULES: usize = 12;

fn change() -> impl Strategy<Value = Change> {
    let topic = prop_oneof![Just("t.a"), Just("t.b"), Just("t.a.b"), Just("t"), Just("x.a"), Just("")];
    prop_oneof![
        4 => (0..RULES).prop_flat_map(rule).prop_map(Change::Put),
        1 => (0..RULES).prop_map(Change::Enable),
        1 => (0..RULES).prop_map(Change::Disable),
        1 => (0..RULES).prop_map(Change::Remove),
        5 => (topic, payload()).prop_map(|(topic, data)| Change::Emit(topic, data)),
    ]
}

/// The rules a look at every one of them finds, in their order. A model entry: id, rule, enabled, registration.
fn naive(model: &[(String, Rule, u64)], topic: &str, data: &Value) -> Vec<String> {
    let mut found: Vec<(f64, bool, u64, &str)> = Vec::new();
    for (id, rule, registered) in model {
        let Trigger::Event(pattern) = &rule.trigger else { unreachable!("only event rules here") };
        let scope = Payload { data, topic, pattern };
        if rule.enabled
            && pattern.matches(topic)
            && Condition::all_hold(&rule.conditions, &scope).expect("known sources")
        {
            found.push((-rule.priority, !pattern.is_exact(), *registered, id));
        }
    }
    found.sort_by(|left, right| left.partial_cmp(right).expect("no NaN"));
    found.into_iter().map(|(_, _, _, id)| id.to_owned()).collect()
}

proptest! {
    #[test]
    fn the_index_finds_what_a_look_at_every_rule_finds(changes in prop::collection::vec(change(), 1..60)) {
        let mut engine = Engine::new(EngineOptions::default(), Box::new(Seeded(1)));
        let mut model: Vec<(String, Rule, u64)> = Vec::new();
        for (step, change) in changes.into_iter().enumerate() {
            let at = |model: &[(String, Rule, u64)], index: usize| {
                model.iter().position(|(id, _, _)| *id == format!("r{index}"))
            };
            match change {
                Change::Put(text) => {
                    let compiled = Rule::compile(object(&text)).expect("valid");
                    let id = compiled.id.to_string();
                    if let Some(place) = model.iter().position(|entry| entry.0 == id) {
                        engine.update_rule(T, &id, &object(&text)).expect("valid");
                        let enabled = model[place].1.enabled;
                        model[place].1 = compiled;
                        model[place].1.set_enabled(enabled);
                    } else {
                        engine.register_rule(T, object(&text)).expect("valid");
                        model.push((id, compiled, step as u64));
                    }
                }
                Change::Enable(index) => {
                    let known = engine.enable_rule(T, &format!("r{index}")).is_ok();
                    prop_assert_eq!(known, at(&model, index).is_some());
                    if let Some(place) = at(&model, index) { model[place].1.set_enabled(true) }
                }
                Change::Disable(index) => {
                    let known = engine.disable_rule(T, &format!("r{index}")).is_ok();
                    prop_assert_eq!(known, at(&model, index).is_some());
                    if let Some(place) = at(&model, index) { model[place].1.set_enabled(false) }
                }
                Change::Remove(index) => {
                    let known = engine.unregister_rule(T, &format!("r{index}")).is_ok();
                    prop_assert_eq!(known, at(&model, index).is_some());
                    if let Some(place) = at(&model, index) { drop(model.remove(place)) }
                }
                Change::Emit(topic, data) => {
                    let event = engine.emit(T, topic, object(&data), None, None).expect("running");
                    prop_assert_eq!(logged(engine.take_outputs()), naive(&model, topic, &event.data), "{} {}", topic, data);
                }
            }
        }
    }
}

// ---- Random calls ----

#[derive(Clone, Debug)]
enum Call {
    Emit(usize, usize, bool),
    Set(usize, usize),
    Delete(usize),
    Register(usize),
    Update(usize, usize),
    Unregister(usize),
    Enable(usize, bool),
    Subscribe(u64, usize),
    Unsubscribe(u64),
    Advance(u64),
    Wait(u64),
    Stop(bool),
}

const TOPICS: [&str; 6] = ["a", "b", "a.b", "tick", "", "${x}"];
const KEYS: [&str; 5] = ["a", "k:1", "k:2", "k:1:n", "n"];
const VALUES: [&str; 6] = [
    "1",
    "null",
    r#"{"u":1,"list":[1,2,{"x":[]}],"amt":2}"#,
    r#"{"u":"x"}"#,
    r#"{"u":2,"e":true,"amt":-0.5}"#,
    r#""*""#,
];
const SUBSCRIPTIONS: [&str; 5] = ["*", "a.*", "**", "**.**.**", "t*k"];

/// Rules of every kind, some of them hostile, some invalid.
const POOL: [&str; 22] = [
    r#"{"id":"0","name":"x","trigger":{"type":"event","topic":"**"},"actions":[{"type":"emit_event","topic":"b","data":{"a":{"ref":"event"},"b":{"ref":"event"}}}]}"#,
    r#"{"id":"1","name":"x","trigger":{"type":"fact","pattern":"**"},"actions":[{"type":"set_fact","key":"k:${event.key}","value":{"ref":"event"}}]}"#,
    r#"{"id":"2","name":"x","trigger":{"type":"event","topic":"a"},"actions":[{"type":"set_timer","timer":{"name":"t:${event.u}","duration":"5ms","onExpire":{"topic":"tick","data":{"u":{"ref":"event.u"}}},"repeat":{"interval":"10ms"}}}]}"#,
    r#"{"id":"3","name":"x","trigger":{"type":"timer","name":"t:*"},"actions":[{"type":"cancel_timer","name":"${event.timerName}"},{"type":"emit_event","topic":"a","data":{}}]}"#,
    r#"{"id":"4","name":"x","trigger":{"type":"event","topic":"tick"},"actions":[{"type":"set_timer","timer":{"name":"one","duration":1,"onExpire":{"topic":"tick","data":{}}}}]}"#,
    r#"{"id":"5","name":"x","trigger":{"type":"temporal","pattern":{"type":"sequence","events":[{"topic":"a"},{"topic":"*","as":"z"},{"topic":"**"}],"within":20}},"actions":[{"type":"emit_event","topic":"a.b","data":{"e":{"ref":"event"}}}]}"#,
    r#"{"id":"6","name":"x","trigger":{"type":"temporal","pattern":{"type":"sequence","events":[{"topic":"a"},{"topic":"b"}],"within":20,"groupBy":"u","strict":true}},"actions":[{"type":"set_fact","key":"n","value":{"ref":"event.events"}}]}"#,
    r#"{"id":"7","name":"x","trigger":{"type":"temporal","pattern":{"type":"absence","after":{"topic":"a"},"expected":{"topic":"**"},"within":7,"groupBy":"u"}},"actions":[{"type":"emit_event","topic":"b","data":{"u":{"ref":"event.after.u"}}}]}"#,
    r#"{"id":"8","name":"x","trigger":{"type":"temporal","pattern":{"type":"count","event":{"topic":"**"},"threshold":2,"window":10,"groupBy":"u","sliding":true}},"actions":[{"type":"emit_event","topic":"b","data":{"u":{"ref":"event.groupKey"}}}]}"#,
    r#"{"id":"9","name":"x","trigger":{"type":"temporal","pattern":{"type":"aggregate","event":{"topic":"*"},"field":"amt","function":"avg","threshold":0,"window":10}},"actions":[{"type":"set_fact","key":"n","value":{"ref":"event.value"}}]}"#,
    r#"{"id":"10","name":"x","trigger":{"type":"event","topic":"*"},"conditions":[{"source":{"type":"fact","pattern":"k:*"},"operator":"exists"}],"actions":[{"type":"for_each","collection":{"ref":"event.list"},"as":"i","actions":[{"type":"set_fact","key":"${var.i}","value":{"ref":"var.i"}},{"type":"delete_fact","key":"k:1"}]}]}"#,
    r#"{"id":"11","name":"x","trigger":{"type":"event","topic":"a"},"actions":[{"type":"try_catch","try":[{"type":"call_service","service":"s","method":"${event.u}"}],"catch":{"as":"e","actions":[{"type":"log","level":"warn","message":"${var.e.message} ${nope}"}]},"finally":[{"type":"set_fact","key":"","value":1}]}]}"#,
    r#"{"id":"12","name":"x","trigger":{"type":"fact","pattern":"*","on":["created","deleted"]},"actions":[{"type":"delete_fact","key":"${event.key}"},{"type":"set_fact","key":"${event.key}","value":1}]}"#,
    r#"{"id":"13","name":"x","trigger":{"type":"event","topic":"a"},"actions":[{"type":"set_timer","timer":{"name":"c","cron":"* * * * * *","maxCount":2,"onExpire":{"topic":"a","data":{}}}}]}"#,
    r#"{"id":"14","name":"x","trigger":{"type":"event","topic":"a"},"conditions":[{"source":{"type":"event","field":"u"},"operator":"eq","value":1}],"actions":[{"type":"emit_event","topic":"a","data":{"u":{"ref":"event.u"}}}]}"#,
    r#"{"id":"15","name":"x","trigger":{"type":"event","topic":"**.b"},"lookups":[{"name":"l","service":"s","method":"m","args":[{"ref":"event.u"}],"cache":{"ttl":5},"onError":"fail"}],"actions":[]}"#,
    r#"{"id":"16","name":"x","trigger":{"type":"temporal","pattern":{"type":"sequence","events":[{"topic":"**"},{"topic":"**"}],"within":"0s"}},"actions":[]}"#,
    r#"{"id":"17","name":"x","trigger":{"type":"event","topic":"**.**.**"},"actions":[]}"#,
    r#"{"id":"18","name":"x","trigger":{"type":"event","topic":"a"},"actions":[{"type":"set_timer","timer":{"name":"far","duration":9007199254740991,"onExpire":{"topic":"far","data":{}}}}]}"#,
    r#"{"id":"19","name":"x","group":"g","trigger":{"type":"event","topic":"a"}}"#,
    r#"{"id":"20","trigger":5}"#,
    r#"{"id":"21","name":"x","trigger":{"type":"temporal","pattern":{"type":"count","event":{"topic":"**","filter":{"u":1}},"threshold":1,"window":1}},"actions":[{"type":"emit_event","topic":"a","data":{"u":1}}]}"#,
];

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        6 => (0..TOPICS.len(), 0..VALUES.len(), any::<bool>()).prop_map(|(t, v, c)| Call::Emit(t, v, c)),
        2 => (0..KEYS.len(), 0..VALUES.len()).prop_map(|(k, v)| Call::Set(k, v)),
        1 => (0..KEYS.len()).prop_map(Call::Delete),
        6 => (0..POOL.len()).prop_map(Call::Register),
        1 => (0..POOL.len(), 0..POOL.len()).prop_map(|(id, with)| Call::Update(id, with)),
        1 => (0..POOL.len()).prop_map(Call::Unregister),
        1 => (0..POOL.len(), any::<bool>()).prop_map(|(id, on)| Call::Enable(id, on)),
        1 => (0..3_u64, 0..SUBSCRIPTIONS.len()).prop_map(|(s, p)| Call::Subscribe(s, p)),
        1 => (0..3_u64).prop_map(Call::Unsubscribe),
        2 => (0..50_u64).prop_map(Call::Advance),
        2 => (0..2000_u64).prop_map(Call::Wait),
        1 => prop::bool::weighted(0.2).prop_map(Call::Stop),
    ]
}

fn small() -> EngineOptions {
    EngineOptions {
        rules_max: 12,
        facts_max: Some(6),
        timers_max: 3,
        activations_per_input_max: 60,
        work_per_input_max: 3000,
        deadlines_per_call_max: 20,
        value_bytes_max: 20_000,
        value_depth_max: 30,
        reports_per_input_max: 10,
        history: HistoryLimits { events_max: 20, age_max_ms: 1000, bytes_max: 20_000 },
        temporal: TemporalLimits {
            instances_per_rule_max: 4,
            instances_max: 7,
            events_per_instance_max: 3,
            window_samples_max: 5,
            samples_max: 8,
            bytes_max: 30_000,
        },
        lookup_cache_max: 2,
        ..EngineOptions::default()
    }
}

fn data(index: usize) -> Object {
    let value = crate::support::json(VALUES[index]);
    if let Value::Object(object) = value { *object } else { Object::new() }
}

/// Runs the calls; gives everything they answered and caused, as text.
fn play(calls: &[Call]) -> String {
    let mut engine = Engine::new(small(), Box::new(Seeded(42)));
    let (mut now, mut trace) = (T, String::new());
    for call in calls {
        let answer = match call.clone() {
            Call::Emit(topic, value, correlated) => {
                let correlation = correlated.then_some("c");
                format!(
                    "{:?}",
                    engine.emit(now, TOPICS[topic], data(value), correlation, None).map(|e| e.to_json())
                )
            }
            Call::Set(key, value) => {
                let value = crate::support::json(VALUES[value]);
                format!("{:?}", engine.set_fact(now, KEYS[key], value).map(|fact| fact.to_value().to_json()))
            }
            Call::Delete(key) => format!("{:?}", engine.delete_fact(now, KEYS[key])),
            Call::Register(rule) => format!("{:?}", engine.register_rule(now, object(POOL[rule]))),
            Call::Update(id, with) => {
                format!("{:?}", engine.update_rule(now, &id.to_string(), &object(POOL[with])))
            }
            Call::Unregister(id) => format!("{:?}", engine.unregister_rule(now, &id.to_string())),
            Call::Enable(id, true) => format!("{:?}", engine.enable_rule(now, &id.to_string())),
            Call::Enable(id, false) => format!("{:?}", engine.disable_rule(now, &id.to_string())),
            Call::Subscribe(id, pattern) => {
                format!("{:?}", engine.subscribe(SubscriberId(id), SUBSCRIPTIONS[pattern]))
            }
            Call::Unsubscribe(id) => format!("{}", engine.unsubscribe(SubscriberId(id))),
            Call::Advance(by_ms) => {
                now += by_ms;
                format!("{}", engine.advance(now))
            }
            Call::Wait(by_ms) => {
                now += by_ms;
                String::new()
            }
            Call::Stop(true) => {
                engine.stop();
                String::new()
            }
            Call::Stop(false) => {
                engine.start();
                String::new()
            }
        };
        check_bounds(&engine, now);
        trace += &format!("{call:?} = {answer} {:?}\n", engine.take_outputs());
    }
    let facts: Vec<String> = engine.all_facts().map(|fact| fact.to_value().to_json()).collect();
    trace + &format!("{facts:?} {} {:?}", engine.rules().to_json(), engine.stats())
}

fn check_bounds(engine: &Engine, now: u64) {
    let (stats, limits) = (engine.stats(), small());
    assert!(stats.rules_count <= limits.rules_max);
    assert!(stats.facts_count <= limits.facts_max.expect("limited"));
    assert!(stats.timers_count <= limits.timers_max);
    assert!(stats.history_count <= limits.history.events_max);
    assert!(stats.temporal_open <= limits.temporal.instances_max);
    assert!(stats.temporal_bytes <= limits.temporal.bytes_max);
    for fact in engine.all_facts() {
        // A fact of a client may be of any size; the ones in this test are small.
        assert!(fact.value.to_json().len() <= limits.value_bytes_max);
    }
    assert!(engine.history().all(|event| event.timestamp <= now && event.timestamp >= T));
}

proptest! {
    #[test]
    fn random_calls_keep_the_bounds_and_repeat(calls in prop::collection::vec(call(), 1..120)) {
        prop_assert_eq!(play(&calls), play(&calls));
    }
}
