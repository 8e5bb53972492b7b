//! Rules, events, facts and the passing of time into the rule engine: no panic, bounds kept, the same every time.

use crate::input::Input;
use noex_json::{Object, Value, parse};
use noex_rules::{
    Engine, EngineOptions, HistoryLimits, Random, RulesError, ServiceError, Severity, SubscriberId,
    TemporalLimits,
};
use std::fmt::Write;

/// Where the clock starts.
const START_MS: u64 = 1_700_000_000_000;

const STEPS_MAX: usize = 100;
const SUBSCRIBERS: u64 = 3;

/// An even first byte: lines of JSON in the shape of the protocol's messages; an odd one: choices.
pub(crate) fn run(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    let steps = if mode % 2 == 0 { steps_of_lines(rest) } else { steps_of_choices(&mut Input::new(rest)) };
    let (first, second) = (play(&steps), play(&steps));
    assert_eq!(first, second, "the same inputs gave different outputs");
}

enum Step {
    Register(Object),
    Update(String, Object),
    Unregister(String),
    Enable(String, bool),
    Emit {
        topic: String,
        data: Object,
        correlation: Option<String>,
        causation: Option<String>,
    },
    Set(String, Value),
    Delete(String),
    Query(String),
    Subscribe(u64, String),
    Unsubscribe(u64),
    CancelTimer(String),
    /// The clock moves (perhaps backwards), and the engine is told.
    Advance(i64),
    /// The clock moves, and the engine is not told.
    Wait(i64),
    Run(bool),
}

// ---- From lines ----

fn steps_of_lines(data: &[u8]) -> Vec<Step> {
    let Ok(text) = std::str::from_utf8(data) else { return Vec::new() };
    text.lines().take(STEPS_MAX).filter_map(step_of_line).collect()
}

fn step_of_line(line: &str) -> Option<Step> {
    let Ok(Value::Object(line)) = parse(line, 128) else { return None };
    let text = |name: &str| line.get(name).and_then(Value::as_str).map(str::to_owned);
    let object = |name: &str| line.get(name).and_then(Value::as_object).cloned();
    let id = || text("ruleId");
    Some(match text("type")?.strip_prefix("rules.")? {
        "registerRule" | "validateRule" => Step::Register(object("rule")?),
        "updateRule" => Step::Update(id()?, object("updates")?),
        "unregisterRule" => Step::Unregister(id()?),
        "enableRule" => Step::Enable(id()?, true),
        "disableRule" => Step::Enable(id()?, false),
        "emit" => Step::Emit {
            topic: text("topic")?,
            data: object("data").unwrap_or_default(),
            correlation: text("correlationId"),
            causation: text("causationId"),
        },
        "setFact" => Step::Set(text("key")?, line.get("value")?.clone()),
        "deleteFact" => Step::Delete(text("key")?),
        "queryFacts" => Step::Query(text("pattern")?),
        "subscribe" => Step::Subscribe(0, text("pattern")?),
        "unsubscribe" => Step::Unsubscribe(0),
        "advance" => Step::Advance(line.get("ms")?.as_number()? as i64),
        "wait" => Step::Wait(line.get("ms")?.as_number()? as i64),
        _ => return None,
    })
}

// ---- From choices ----

const TOPICS: [&str; 10] = ["a", "b", "a.b", "a.b.c", "tick", "", "*", "**", "a.*", "${event.u}"];
const KEYS: [&str; 8] = ["k", "k:1", "k:2", "k:1:n", "n", "k:*", "${event.u}", "k:${event.key}"];
const NAMES: [&str; 8] = ["u", "e", "amt", "list", "key", "value", "ref", "x"];
const REFS: [&str; 14] = [
    "event.u",
    "event",
    "event.list",
    "event.list.0",
    "fact.k:1",
    "context.x",
    "var.i",
    "var.e.message",
    "lookup.l",
    "trigger.u",
    "event.events",
    "event.key",
    "event.value.u",
    "nope",
];
const SPANS: [&str; 10] =
    ["5", "0", "1", "\"5ms\"", "\"1s\"", "\"2m\"", "9007199254740991", "-1", "\"x\"", "1.5"];

fn steps_of_choices(input: &mut Input<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    while input.more() && steps.len() < STEPS_MAX {
        steps.push(step(input));
    }
    steps
}

fn object_of(text: &str) -> Object {
    let Ok(Value::Object(object)) = parse(text, 128) else { panic!("no object: {text}") };
    *object
}

fn step(input: &mut Input<'_>) -> Step {
    let id = |input: &mut Input<'_>| input.pick(&["r0", "r1", "r2", "r3", "r4", "r5"]).to_owned();
    match input.below(24) {
        0..=6 => Step::Register(object_of(&rule(input))),
        7 => Step::Update(id(input), object_of(&rule(input))),
        8 => Step::Unregister(id(input)),
        9 => Step::Enable(id(input), input.flag()),
        10..=14 => Step::Emit {
            topic: input.pick(&TOPICS).to_owned(),
            data: object_of(&input.object(&NAMES, 3, Vec::new())),
            correlation: input.perhaps(&["c", "d"]).map(str::to_owned),
            causation: input.perhaps(&["z"]).map(str::to_owned),
        },
        15 | 16 => {
            Step::Set(input.pick(&KEYS).to_owned(), parse(&input.json(&NAMES, 3), 64).expect("generated"))
        }
        17 => Step::Delete(input.pick(&KEYS).to_owned()),
        18 => Step::Query(input.pick(&["*", "**", "k:*", "k:1", "k:**", "**.**.**", "k*1"]).to_owned()),
        19 => Step::Subscribe(input.below(SUBSCRIBERS as usize) as u64, input.pick(&TOPICS).to_owned()),
        20 => match input.below(4) {
            0 => Step::Unsubscribe(input.below(SUBSCRIBERS as usize) as u64),
            1 => Step::CancelTimer(input.pick(&["t", "t:1", "t:a"]).to_owned()),
            _ => Step::Run(!input.rarely(3)),
        },
        21 => Step::Wait(i64::from(input.any::<i16>().unwrap_or_default())),
        22 => Step::Advance(i64::from(input.any::<u8>().unwrap_or_default())),
        _ => Step::Advance(i64::from(input.any::<i32>().unwrap_or_default())),
    }
}

fn value(input: &mut Input<'_>) -> String {
    match input.below(4) {
        0 => format!("{{\"ref\":\"{}\"}}", input.pick(&REFS)),
        1 => format!("\"{}\"", input.pick(&["${event.u}", "a ${var.i} b", "${nope}", "${", "$"])),
        _ => input.json(&NAMES, 2),
    }
}

fn condition(input: &mut Input<'_>) -> String {
    const OPERATORS: [&str; 15] = [
        "eq",
        "neq",
        "gt",
        "gte",
        "lt",
        "lte",
        "in",
        "not_in",
        "contains",
        "not_contains",
        "matches",
        "exists",
        "not_exists",
        "baseline",
        "starts",
    ];
    let source = match input.below(5) {
        0 | 1 => format!(
            "\"type\":\"event\",\"field\":\"{}\"",
            input.pick(&["u", "amt", "list.length", "$topic", "key"])
        ),
        2 => format!("\"type\":\"fact\",\"pattern\":\"{}\"", input.pick(&KEYS)),
        3 => format!("\"type\":\"context\",\"key\":\"{}\"", input.pick(&["x", "i", "i_index"])),
        _ => "\"type\":\"lookup\",\"name\":\"l\"".to_owned(),
    };
    let operator = input.pick(&OPERATORS);
    let operand = if operator == "matches" {
        format!("\"{}\"", input.pick(&["^a", "(a|b)*$", "[", "\\\\d+", "(?=a)", "a{1000}{1000}"]))
    } else {
        value(input)
    };
    format!("{{\"source\":{{{source}}},\"operator\":\"{operator}\",\"value\":{operand}}}")
}

fn list(input: &mut Input<'_>, most: usize, mut item: impl FnMut(&mut Input<'_>) -> String) -> String {
    let items: Vec<String> = (0..input.below(most + 1)).map(|_| item(input)).collect();
    format!("[{}]", items.join(","))
}

fn action(input: &mut Input<'_>, depth: usize) -> String {
    let actions = |input: &mut Input<'_>| list(input, 2, |input| action(input, depth.saturating_sub(1)));
    match input.below(if depth == 0 { 7 } else { 10 }) {
        0 => format!(r#"{{"type":"set_fact","key":"{}","value":{}}}"#, input.pick(&KEYS), value(input)),
        1 => format!(r#"{{"type":"delete_fact","key":"{}"}}"#, input.pick(&KEYS)),
        2 => {
            let data = format!("{{\"u\":{},\"x\":{}}}", value(input), value(input));
            format!(r#"{{"type":"emit_event","topic":"{}","data":{data}}}"#, input.pick(&TOPICS))
        }
        3 => {
            let repeat = match input.below(4) {
                0 => String::new(),
                1 => format!(r#","repeat":{{"interval":{}}}"#, input.pick(&SPANS)),
                2 => format!(r#","repeat":{{"interval":{},"maxCount":2}}"#, input.pick(&SPANS)),
                _ => format!(
                    r#","cron":"{}","maxCount":3"#,
                    input.pick(&["* * * * * *", "*/5 * * * *", "0 0 29 2 *", "0 0 31 2 *", "x", "@daily"])
                ),
            };
            format!(
                r#"{{"type":"set_timer","timer":{{"name":"{}","duration":{},"onExpire":{{"topic":"{}","data":{{"u":{}}}}}{repeat}}}}}"#,
                input.pick(&["t", "t:${event.u}", "t:1"]),
                input.pick(&SPANS),
                input.pick(&TOPICS),
                value(input),
            )
        }
        4 => format!(
            r#"{{"type":"cancel_timer","name":"{}"}}"#,
            input.pick(&["t", "t:1", "${event.timerName}"])
        ),
        5 => format!(
            r#"{{"type":"call_service","service":"{}","method":"{}","args":[{}]}}"#,
            input.pick(&["s", "none"]),
            input.pick(&["m", "fail", "none", "${event.u}"]),
            value(input)
        ),
        6 => format!(
            r#"{{"type":"log","level":"{}","message":"{}"}}"#,
            input.pick(&["debug", "info", "warn", "error"]),
            input.pick(&["m ${event.u}", "${var.i} ${nope}", "${event}"])
        ),
        7 => format!(
            r#"{{"type":"conditional","conditions":{},"then":{},"else":{}}}"#,
            list(input, 2, condition),
            actions(input),
            actions(input)
        ),
        8 => format!(
            r#"{{"type":"for_each","collection":{},"as":"i","actions":{},"maxIterations":{}}}"#,
            value(input),
            actions(input),
            input.pick(&["3", "1", "100000", "0"])
        ),
        _ => format!(
            r#"{{"type":"try_catch","try":{},"catch":{{"as":"e","actions":{}}},"finally":{}}}"#,
            actions(input),
            actions(input),
            actions(input)
        ),
    }
}

fn matcher(input: &mut Input<'_>) -> String {
    let topic = input.pick(&TOPICS);
    match input.below(3) {
        0 => format!("{{\"topic\":\"{topic}\"}}"),
        1 => format!("{{\"topic\":\"{topic}\",\"as\":\"x\"}}"),
        _ => format!("{{\"topic\":\"{topic}\",\"filter\":{{\"u\":{}}}}}", input.json(&NAMES, 1)),
    }
}

fn trigger(input: &mut Input<'_>) -> String {
    let group = input
        .perhaps(&[r#","groupBy":"u""#, r#","groupBy":"list.0""#, r#","groupBy":5"#])
        .unwrap_or_default();
    let flags = input.perhaps(&[r#","strict":true"#, r#","sliding":true"#]).unwrap_or_default();
    let comparison =
        input.perhaps(&[r#","comparison":"gte""#, r#","comparison":"lte""#, r#","comparison":"eq""#]);
    let comparison = comparison.unwrap_or_default();
    let span = input.pick(&SPANS);
    match input.below(9) {
        0..=2 => format!(r#"{{"type":"event","topic":"{}"}}"#, input.pick(&TOPICS)),
        3 => format!(
            r#"{{"type":"fact","pattern":"{}"{}}}"#,
            input.pick(&KEYS),
            input.perhaps(&[r#","on":["created"]"#, r#","on":["deleted","updated"]"#]).unwrap_or_default()
        ),
        4 => format!(r#"{{"type":"timer","name":"{}"}}"#, input.pick(&["t", "t:*", "*"])),
        5 => format!(
            r#"{{"type":"temporal","pattern":{{"type":"sequence","events":{},"within":{span}{group}{flags}}}}}"#,
            list(input, 3, matcher)
        ),
        6 => format!(
            r#"{{"type":"temporal","pattern":{{"type":"absence","after":{},"expected":{},"within":{span}{group}}}}}"#,
            matcher(input),
            matcher(input)
        ),
        7 => format!(
            r#"{{"type":"temporal","pattern":{{"type":"count","event":{},"threshold":{},"window":{span}{group}{flags}{comparison}}}}}"#,
            matcher(input),
            input.pick(&["1", "2", "3", "0", "1.5"])
        ),
        _ => format!(
            r#"{{"type":"temporal","pattern":{{"type":"aggregate","event":{},"field":"{}","function":"{}","threshold":{},"window":{span}{group}{flags}{comparison}}}}}"#,
            matcher(input),
            input.pick(&["amt", "u"]),
            input.pick(&["sum", "avg", "min", "max", "count"]),
            input.pick(&["0", "1", "-1", "1e400"])
        ),
    }
}

fn rule(input: &mut Input<'_>) -> String {
    let mut members = vec![
        format!("\"id\":\"r{}\"", input.below(6)),
        "\"name\":\"x\"".to_owned(),
        format!("\"trigger\":{}", trigger(input)),
        format!("\"actions\":{}", list(input, 3, |input| action(input, 2))),
    ];
    if input.flag() {
        members.push(format!("\"conditions\":{}", list(input, 2, condition)));
    }
    if input.rarely(4) {
        members.push(format!("\"priority\":{}", input.pick(&["1", "-1", "1e400", "\"1\""])));
    }
    if input.rarely(4) {
        members.push(format!(
            r#""lookups":[{{"name":"l","service":"s","method":"{}","args":[{}],"cache":{{"ttl":{}}},"onError":"{}"}}]"#,
            input.pick(&["m", "fail"]),
            value(input),
            input.pick(&SPANS),
            input.pick(&["skip", "fail"])
        ));
    }
    if input.rarely(8) {
        let name =
            input.pick(&["trigger", "actions", "conditions", "lookups", "enabled", "tags", "group", "id"]);
        members.push(format!("\"{name}\":{}", input.json(&NAMES, 2)));
    }
    format!("{{{}}}", members.join(","))
}

// ---- Playing ----

/// A generator good enough for ids (xorshift).
struct Seeded(u64);

impl Random for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            *byte = (self.0 >> 24) as u8;
        }
    }
}

fn options() -> EngineOptions {
    EngineOptions {
        rules_max: 5,
        facts_max: Some(6),
        timers_max: 2,
        activations_per_input_max: 60,
        work_per_input_max: 1500,
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

/// Runs the steps; gives everything they answered and caused, as text.
fn play(steps: &[Step]) -> String {
    let mut engine = Engine::new(options(), Box::new(Seeded(42)));
    engine.register_service("s", Box::new(service));
    engine.subscribe(SubscriberId(SUBSCRIBERS), "*").expect("a pattern");
    let (mut now, mut latest, mut trace) = (START_MS, START_MS, String::new());
    for step in steps {
        let answer = take(&mut engine, &mut now, step);
        latest = latest.max(now);
        let outputs = engine.take_outputs();
        assert!(!engine.has_outputs());
        bounds(&engine, latest, outputs.len());
        let _ = writeln!(trace, "{answer} {outputs:?}");
    }
    let facts: Vec<String> = engine.all_facts().map(|fact| fact.to_value().to_json()).collect();
    let _ = write!(trace, "{facts:?} {} {:?}", engine.rules().to_json(), engine.stats());
    trace
}

fn service(method: &str, args: &[Value]) -> Result<Value, ServiceError> {
    match method {
        "m" => Ok(Value::from(args.to_vec())),
        "fail" => Err(ServiceError::Failed("down".into())),
        _ => Err(ServiceError::UnknownMethod),
    }
}

fn take(engine: &mut Engine, now: &mut u64, step: &Step) -> String {
    match step {
        Step::Register(rule) => {
            let report = engine.validate_rule(&Value::from(rule.clone()));
            assert_eq!(
                report.is_valid(),
                report.errors.iter().all(|issue| issue.severity != Severity::Error)
            );
            let known = rule.get("id").and_then(Value::as_str).is_some_and(|id| engine.get_rule(id).is_ok());
            let result = engine.register_rule(*now, rule.clone());
            match &result {
                Ok(stamp) => {
                    assert!(report.is_valid() && !known);
                    assert!(engine.get_rule(&stamp.id).is_ok());
                }
                Err(RulesError::Validation(issues)) => assert_eq!(*issues, report.errors),
                Err(_) => {}
            }
            format!("{result:?} {}", report.to_value().to_json())
        }
        Step::Update(id, updates) => format!("{:?}", engine.update_rule(*now, id, updates)),
        Step::Unregister(id) => {
            let result = engine.unregister_rule(*now, id);
            assert!(result.is_err() || (engine.get_rule(id).is_err() && engine.temporal_open(id) == 0));
            format!("{result:?}")
        }
        Step::Enable(id, true) => format!("{:?}", engine.enable_rule(*now, id)),
        Step::Enable(id, false) => format!("{:?}", engine.disable_rule(*now, id)),
        Step::Emit { topic, data, correlation, causation } => {
            let event = engine.emit(*now, topic, data.clone(), correlation.as_deref(), causation.as_deref());
            format!("{:?}", event.map(|event| event.to_json()))
        }
        Step::Set(key, value) => {
            format!("{:?}", engine.set_fact(*now, key, value.clone()).map(|fact| fact.to_value().to_json()))
        }
        Step::Delete(key) => format!("{:?}", engine.delete_fact(*now, key)),
        Step::Query(pattern) => {
            format!(
                "{:?}",
                engine
                    .query_facts(pattern)
                    .map(|facts| facts.iter().map(|f| f.key.to_string()).collect::<Vec<_>>())
            )
        }
        Step::Subscribe(id, pattern) => format!("{:?}", engine.subscribe(SubscriberId(*id), pattern)),
        Step::Unsubscribe(id) => format!("{}", engine.unsubscribe(SubscriberId(*id))),
        Step::CancelTimer(name) => {
            let cancelled = engine.cancel_timer(name);
            assert!(engine.timer(name).is_none());
            format!("{cancelled}")
        }
        Step::Wait(ms) => {
            *now = now.saturating_add_signed(*ms).max(START_MS);
            String::new()
        }
        Step::Advance(ms) => {
            *now = now.saturating_add_signed(*ms).max(START_MS);
            let more = engine.advance(*now);
            if engine.is_running() && !more {
                assert!(engine.next_deadline_ms().is_none_or(|at| at > *now), "due and not done");
            }
            format!("{more}")
        }
        Step::Run(false) => {
            engine.stop();
            assert!(engine.next_deadline_ms().is_none());
            String::new()
        }
        Step::Run(true) => {
            engine.start();
            String::new()
        }
    }
}

fn bounds(engine: &Engine, latest: u64, outputs: usize) {
    let (stats, limits) = (engine.stats(), options());
    assert!(stats.rules_count <= limits.rules_max);
    assert!(limits.facts_max.is_none_or(|max| stats.facts_count <= max));
    assert!(stats.timers_count <= limits.timers_max);
    assert!(stats.history_count <= limits.history.events_max);
    assert!(stats.temporal_open <= limits.temporal.instances_max);
    assert!(stats.temporal_bytes <= limits.temporal.bytes_max);
    assert!(engine.history().all(|event| (START_MS..=latest).contains(&event.timestamp)));
    // Four deliveries take a unit of work; the client's own event is delivered for nothing.
    let per_input = 4 * limits.work_per_input_max + limits.reports_per_input_max + SUBSCRIBERS as usize + 2;
    assert!(outputs <= per_input * limits.deadlines_per_call_max, "{outputs} outputs");
}
