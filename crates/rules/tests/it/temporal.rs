//! Temporal rules in virtual time: examples 32 to 36 with their targets, and what the description adds.

use crate::support::{World, json, logged};
use noex_json::Value;
use noex_rules::{EngineOptions, TemporalLimits};

/// Runs a script against one temporal rule, with `e<n>` for the n-th event: `a`, `a{"u":1}` or a number of
/// milliseconds. Gives the matches as text and the number of open instances.
fn run(pattern: &str, script: &[&str]) -> (Vec<String>, usize) {
    let mut world = world_with(pattern);
    let mut events = 0;
    for step in script {
        if let Ok(ms) = step.parse() {
            world.advance(ms);
            continue;
        }
        let at = step.find('{').unwrap_or(step.len());
        let (topic, data) = step.split_at(at);
        events += 1;
        let data = if data.is_empty() { "{}" } else { data };
        let data = format!(r#"{{"e":{events}{}{}"#, if data == "{}" { "" } else { "," }, &data[1..]);
        world.emit(topic, &data);
    }
    (matches(&mut world), world.engine.temporal_open("r"))
}

fn world_with(pattern: &str) -> World {
    let mut world = World::new();
    world.rule(&format!(
        r#"{{"id":"r","trigger":{{"type":"temporal","pattern":{pattern}}},"actions":[
            {{"type":"emit_event","topic":"match","data":{{"p":{{"ref":"trigger"}}}}}}]}}"#
    ));
    world
}

/// `+ms [events] group count value`.
fn matches(world: &mut World) -> Vec<String> {
    let lines = world.events().into_iter().filter(|line| line.contains(" match "));
    lines
        .map(|line| {
            let (at, rest) = line.split_once(" match ").expect("a match");
            let data = json(rest.strip_suffix(" rule").expect("of a rule"));
            let payload = data.as_object().and_then(|data| data.get("p")?.as_object()).expect("a payload");
            let events = payload.get("events").and_then(Value::as_array).expect("events");
            let events: Vec<String> = events
                .iter()
                .map(|event| event.as_object().and_then(|event| event.get("e")).expect("a number").to_json())
                .collect();
            let mut text = format!("{at} [{}]", events.join(","));
            for name in ["groupKey", "count", "value"] {
                if let Some(value) = payload.get(name) {
                    text += &format!(" {name}={}", value.to_json());
                }
            }
            text
        })
        .collect()
}

fn check(pattern: &str, script: &[&str], expected: &[&str], open: usize) {
    let (matches, left) = run(pattern, script);
    assert_eq!(matches, expected, "{pattern} {script:?}");
    assert_eq!(left, open, "{pattern} {script:?}");
}

const ABC: &str =
    r#"{"type":"sequence","events":[{"topic":"a"},{"topic":"b"},{"topic":"c"}],"within":"10s"}"#;
const STRICT: &str = r#"{"type":"sequence","events":[{"topic":"a"},{"topic":"b"},{"topic":"c"}],"within":"10s","strict":true}"#;
const ABC_BY_U: &str = r#"{"type":"sequence","events":[{"topic":"a"},{"topic":"b"},{"topic":"c"}],"within":"10s","groupBy":"u"}"#;

#[test]
fn example_32_sequences() {
    check(ABC, &["a", "1000", "b", "1000", "c"], &["+2000 [1,2,3]"], 0);
    check(ABC, &["a", "x", "b", "x", "c"], &["+0 [1,3,5]"], 0);
    check(STRICT, &["a", "x", "b", "c"], &[], 0);
    check(ABC, &["a", "b", "10000", "c"], &[], 0);
    check(ABC, &["a", "b", "9950", "c"], &["+9950 [1,2,3]"], 0);
    check(ABC, &["a", "b", "9999", "c"], &["+9999 [1,2,3]"], 0);
    check(ABC, &["a", "a", "b", "c"], &["+0 [1,3,4]", "+0 [2,3,4]"], 0);
    check(
        ABC_BY_U,
        &[
            r#"a{"u":1}"#,
            r#"a{"u":2}"#,
            r#"a{"u":1}"#,
            r#"b{"u":2}"#,
            r#"c{"u":2}"#,
            r#"b{"u":1}"#,
            r#"c{"u":1}"#,
        ],
        &[r#"+0 [2,4,5] groupKey="2""#, r#"+0 [1,6,7] groupKey="1""#],
        0,
    );
    let fff = r#"{"type":"sequence","events":[{"topic":"f"},{"topic":"f"},{"topic":"f"}],"within":"10s""#;
    check(
        &format!(r#"{fff},"groupBy":"u"}}"#),
        &[r#"f{"u":1}"#; 6],
        &[r#"+0 [1,2,3] groupKey="1""#, r#"+0 [4,5,6] groupKey="1""#],
        0,
    );
    check(&format!("{fff}}}"), &["f"; 5], &["+0 [1,2,3]", "+0 [2,3,4]", "+0 [3,4,5]"], 2);
    check(
        r#"{"type":"sequence","events":[{"topic":"a","filter":{"n.k":1}},{"topic":"b"}],"within":"10s"}"#,
        &[r#"a{"n":{"k":2}}"#, "b", r#"a{"n":{"k":1}}"#, "b"],
        &["+0 [3,4]"],
        0,
    );
    check(ABC_BY_U, &["a", "a", "b", "c"], &[], 0);
    check(ABC_BY_U, &[r#"a{"u":null}"#], &[], 0);
}

#[test]
fn strict_sequences_end_at_foreign_events_of_their_group() {
    check(STRICT, &["a", "b", "c"], &["+0 [1,2,3]"], 0);
    check(STRICT, &["a", "a", "b", "c"], &["+0 [2,3,4]"], 0);
    let grouped = STRICT.replace("\"strict\"", "\"groupBy\":\"u\",\"strict\"");
    check(
        &grouped,
        &[r#"a{"u":1}"#, r#"x{"u":2}"#, "x", r#"b{"u":1}"#, r#"c{"u":1}"#],
        &[r#"+0 [1,4,5] groupKey="1""#],
        0,
    );
    check(&grouped, &[r#"a{"u":1}"#, r#"x{"u":1}"#, r#"b{"u":1}"#, r#"c{"u":1}"#], &[], 0);
}

#[test]
fn example_33_absences() {
    let pattern =
        r#"{"type":"absence","after":{"topic":"o"},"expected":{"topic":"p"},"within":"10s","groupBy":"id"}"#;
    let (o, p) = (r#"o{"id":1}"#, r#"p{"id":1}"#);
    let found = [r#"+10000 [1] groupKey="1""#];
    check(pattern, &[o, "9950", "50"], &found, 0);
    check(pattern, &[o, "5000", p, "20000"], &[], 0);
    check(pattern, &[o, "5000", r#"p{"id":2}"#, "6000"], &found, 0);
    check(pattern, &[o, "5000", o, "6000"], &found, 0);
    check(pattern, &[p, o, "11000"], &[r#"+10000 [2] groupKey="1""#], 0);
    check(pattern, &[o, "10000", p], &found, 0);
    check(pattern, &[o, "9999", p, "10000"], &[], 0);
    let both = r#"{"type":"absence","after":{"topic":"x"},"expected":{"topic":"x"},"within":"10s"}"#;
    check(both, &["x", "6000", "x", "6000"], &[], 1);
    check(both, &["x", "6000", "x", "10000"], &["+16000 [2]"], 0);
}

#[test]
fn example_34_sliding_windows() {
    let count = |rest: &str| {
        format!(r#"{{"type":"count","event":{{"topic":"x"}},"window":"10s","sliding":true,{rest}}}"#)
    };
    check(
        &count(r#""threshold":3,"comparison":"gte""#),
        &["x", "1000", "x", "1000", "x", "1000", "x", "20000", "x"],
        &["+2000 [1,2,3] count=3", "+3000 [1,2,3,4] count=4"],
        1,
    );
    check(&count(r#""threshold":3,"comparison":"eq""#), &["x"; 4], &["+0 [1,2,3] count=3"], 1);
    check(
        &count(r#""threshold":1,"comparison":"lte""#),
        &["x", "x", "11000", "x"],
        &["+0 [1] count=1", "+11000 [3] count=1"],
        1,
    );
    check(&count(r#""threshold":2"#), &["x", "10000", "x"], &[], 1);
    check(&count(r#""threshold":2"#), &["x", "9999", "x", "10000"], &["+9999 [1,2] count=2"], 0);
    check(
        r#"{"type":"count","event":{"topic":"x.*"},"threshold":1,"window":"10s","sliding":true}"#,
        &["x.a", "x.b"],
        &["+0 [1] count=1", "+0 [1,2] count=2"],
        1,
    );
    check(
        &count(r#""threshold":2,"groupBy":"u""#),
        &[r#"x{"u":1}"#, r#"x{"u":2}"#, r#"x{"u":1}"#],
        &[r#"+0 [1,3] groupKey="1" count=2"#],
        2,
    );
    let aggregate = |rest: &str| {
        format!(
            r#"{{"type":"aggregate","event":{{"topic":"p"}},"field":"amt","window":"10s","sliding":true,{rest}}}"#
        )
    };
    let (p60, p50) = (r#"p{"amt":60}"#, r#"p{"amt":50}"#);
    check(
        &aggregate(r#""function":"sum","threshold":100,"comparison":"gte""#),
        &[p60, r#"p{"amt":"x"}"#, p50, "11000", p60],
        &["+0 [1,2,3] count=3 value=110"],
        1,
    );
    check(
        &aggregate(r#""function":"avg","threshold":2"#),
        &[r#"p{"amt":1}"#, r#"p{"amt":5}"#, "p"],
        &["+0 [1,2] count=2 value=3", "+0 [1,2,3] count=3 value=3"],
        1,
    );
    check(
        &aggregate(r#""function":"sum","threshold":100"#),
        &[r#"p{"amt":200}"#],
        &["+0 [1] count=1 value=200"],
        1,
    );
    check(
        &aggregate(r#""function":"min","threshold":50,"comparison":"lte""#),
        &["p", p60, p50],
        &["+0 [1,2,3] count=3 value=50"],
        1,
    );
    check(
        &aggregate(r#""function":"max","threshold":60"#),
        &[p60, "9000", p50, "2000", p50],
        &["+0 [1] count=1 value=60", "+9000 [1,2] count=2 value=60"],
        1,
    );
    check(&aggregate(r#""function":"count","threshold":1"#), &["p"], &["+0 [1] count=1 value=1"], 1);
}

#[test]
fn example_35_tumbling_windows() {
    let count = r#"{"type":"count","event":{"topic":"x"},"threshold":3,"comparison":"gte","window":"10s"}"#;
    check(count, &["x", "x", "x", "x", "11000", "x", "11000", "x"], &["+10000 [1,2,3,4] count=4"], 1);
    check(
        r#"{"type":"aggregate","event":{"topic":"p"},"field":"amt","function":"sum","threshold":100,"window":"10s","sliding":false}"#,
        &[r#"p{"amt":60}"#, r#"p{"amt":70}"#, "11000", r#"p{"amt":1}"#, "10000"],
        &["+10000 [1,2] count=2 value=130"],
        0,
    );
    // An event at the very end belongs to the next window; windows lie on a grid, not at their first event.
    check(
        r#"{"type":"count","event":{"topic":"x"},"threshold":1,"window":"10s"}"#,
        &["4000", "x", "6000", "x", "30000"],
        &["+10000 [1] count=1", "+20000 [2] count=1"],
        0,
    );
    check(
        r#"{"type":"count","event":{"topic":"x"},"threshold":2,"comparison":"lte","window":"10s","groupBy":"u"}"#,
        &[r#"x{"u":"b"}"#, r#"x{"u":"a"}"#, r#"x{"u":"b"}"#, "10000"],
        &[r#"+10000 [1,3] groupKey="b" count=2"#, r#"+10000 [2] groupKey="a" count=1"#],
        0,
    );
}

#[test]
fn example_36_temporal_rules_fire_in_the_engine() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"burst","trigger":{"type":"temporal","pattern":{"type":"count","event":{"topic":"login.failed"},"threshold":2,"comparison":"gte","window":"1m","groupBy":"user","sliding":true}},
            "actions":[{"type":"emit_event","topic":"alert","data":{"user":{"ref":"trigger.groupKey"},"n":{"ref":"trigger.count"}}}]}"#,
    );
    for _ in 0..3 {
        world.emit("login.failed", r#"{"user":"u"}"#);
    }
    let failed = r#"+0 login.failed {"user":"u"} api"#;
    let alert = |n| format!(r#"+0 alert {{"user":"u","n":{n}}} rule"#);
    assert_eq!(world.events(), [failed, failed, &alert(2), failed, &alert(3)]);
    assert_eq!(world.engine.stats().rules_executed, 2);
    assert_eq!(world.engine.stats().timers_count, 0);
}

#[test]
fn payload_matched_events_and_aliases() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"takeover","trigger":{"type":"temporal","pattern":{"type":"sequence","events":[{"topic":"login.failed"},{"topic":"login.failed","as":"groupKey"},{"topic":"login.ok","as":"ok"}],"within":"20s","groupBy":"user"}},
            "conditions":[{"source":{"type":"event","field":"ok.ip"},"operator":"exists"}],
            "actions":[{"type":"emit_event","topic":"alert","data":{"user":{"ref":"trigger.groupKey"},"ip":{"ref":"trigger.ok.ip"},
                "first":{"ref":"matched.0.ip"},"data":{"ref":"matched.1.data.ip"},"alias":{"ref":"matched.ok.ip"},"n":{"ref":"event.events.length"},"none":{"ref":"event.after"}}}]}"#,
    );
    world.emit("login.failed", r#"{"user":1,"ip":"1.1"}"#);
    world.emit("login.failed", r#"{"user":1,"ip":"1.2"}"#);
    let last = world.emit_as("login.ok", r#"{"user":1,"ip":"1.4"}"#, Some("s-1"), None);
    assert_eq!(
        world.events()[3],
        r#"+0 alert {"user":"1","ip":"1.4","first":"1.1","data":"1.2","alias":"1.4","n":3} rule s-1"#
    );
    let alert = world.engine.history().next_back().cloned().expect("emitted");
    assert_eq!(alert.causation_id.as_ref(), Some(&last.id));

    let mut world = World::new();
    world.rule(
        r#"{"id":"unpaid","trigger":{"type":"temporal","pattern":{"type":"absence","after":{"topic":"o","as":"opened"},"expected":{"topic":"p"},"within":500,"groupBy":"id"}},
            "actions":[{"type":"emit_event","topic":"unpaid","data":{"id":{"ref":"event.after.id"},"alias":{"ref":"matched.opened.id"},"key":{"ref":"trigger.groupKey"}}}]}"#,
    );
    world.emit_as("o", r#"{"id":1}"#, Some("o-1"), None);
    world.advance(100);
    world.emit_as("o", r#"{"id":1}"#, Some("o-2"), None);
    world.advance(1000);
    assert_eq!(world.events()[2..], [r#"+500 unpaid {"id":1,"alias":1,"key":"1"} rule o-1"#]);
}

#[test]
fn ordinary_rules_run_before_temporal_ones_and_deadlines_before_timers() {
    let mut world = World::new();
    let log = |id: &str, priority: i32, trigger: &str| {
        format!(
            r#"{{"id":"{id}","priority":{priority},"trigger":{trigger},"actions":[{{"type":"log","level":"info","message":"{id}"}}]}}"#
        )
    };
    let count = |topic: &str| {
        format!(
            r#"{{"type":"temporal","pattern":{{"type":"count","event":{{"topic":"{topic}"}},"threshold":1,"window":100,"sliding":true}}}}"#
        )
    };
    world.rule(&log("t-low", 0, &count("go")));
    world.rule(&log("t-wild", 5, &count("g*")));
    world.rule(&log("t-high", 9, &count("go")));
    world.rule(&log("plain", -5, r#"{"type":"event","topic":"go"}"#));
    world.rule(&log(
        "absent",
        0,
        r#"{"type":"temporal","pattern":{"type":"absence","after":{"topic":"go"},"expected":{"topic":"no"},"within":100}}"#,
    ));
    world.rule(&log("tick", 0, r#"{"type":"timer","name":"n"}"#));
    world.rule(
        r#"{"id":"arm","priority":100,"trigger":{"type":"event","topic":"go"},"actions":[{"type":"set_timer","timer":{"name":"n","duration":100,"onExpire":{"topic":"x","data":{}}}}]}"#,
    );
    world.emit("go", "{}");
    world.advance(100);
    assert_eq!(logged(world.take_outputs()), ["plain", "t-high", "t-wild", "t-low", "absent", "tick"]);
}

#[test]
fn events_of_rules_take_part_in_their_order() {
    let mut world =
        world_with(r#"{"type":"sequence","events":[{"topic":"a"},{"topic":"b"}],"within":"10s"}"#);
    world.rule(
        r#"{"id":"ab","trigger":{"type":"event","topic":"a"},"actions":[{"type":"emit_event","topic":"b","data":{"e":{"ref":"event.$topic"}}}]}"#,
    );
    world.emit("a", r#"{"e":1}"#);
    assert_eq!(matches(&mut world), [r#"+0 [1,"a"]"#]);
}

#[test]
fn changes_of_the_rule_discard_its_state() {
    let script: [(&str, usize); 4] = [("disable", 0), ("update", 0), ("unregister", 0), ("enable", 1)];
    for (change, open) in script {
        let mut world = world_with(ABC);
        world.emit("a", r#"{"e":1}"#);
        assert_eq!(world.engine.temporal_open("r"), 1);
        let now = world.now;
        match change {
            "disable" => world.engine.disable_rule(now, "r").expect("registered"),
            "update" => {
                let updates = crate::support::object(r#"{"name":"R"}"#);
                world.engine.update_rule(now, "r", &updates).map(drop).expect("valid");
            }
            "unregister" => world.engine.unregister_rule(now, "r").expect("registered"),
            _ => world.engine.enable_rule(now, "r").expect("registered"),
        }
        assert_eq!(world.engine.temporal_open("r"), open, "{change}");
        assert_eq!(world.engine.next_deadline_ms().is_some(), open > 0, "{change}");
        assert_eq!(world.engine.stats().temporal_bytes > 0, open > 0, "{change}");
    }
}

fn limited(pattern: &str, temporal: TemporalLimits) -> World {
    let mut world = World::with(EngineOptions { temporal, ..EngineOptions::default() });
    world.rule(&format!(
        r#"{{"id":"r","trigger":{{"type":"temporal","pattern":{pattern}}},"actions":[
            {{"type":"emit_event","topic":"match","data":{{"p":{{"ref":"trigger"}}}}}}]}}"#
    ));
    world
}

#[test]
fn at_a_limit_the_instance_with_the_earliest_deadline_goes() {
    let by_rule = TemporalLimits { instances_per_rule_max: 2, ..TemporalLimits::default() };
    let by_all = TemporalLimits { instances_max: 2, ..TemporalLimits::default() };
    for limits in [by_rule, by_all] {
        let mut world = limited(
            r#"{"type":"absence","after":{"topic":"o"},"expected":{"topic":"p"},"within":"10s","groupBy":"e"}"#,
            limits,
        );
        for e in 1..=4 {
            world.emit("o", &format!(r#"{{"e":{e}}}"#));
            world.advance(1);
        }
        assert_eq!(world.engine.temporal_open("r"), 2);
        assert_eq!(world.engine.stats().temporal_evicted, 2);
        world.advance(20_000);
        assert_eq!(matches(&mut world), [r#"+10002 [3] groupKey="3""#, r#"+10003 [4] groupKey="4""#]);
        assert_eq!((world.engine.stats().temporal_open, world.engine.stats().temporal_bytes), (0, 0));

        let mut world = limited(ABC, limits);
        for (topic, e) in [("a", 1), ("a", 2), ("b", 3), ("a", 4), ("b", 5), ("c", 6)] {
            world.emit(topic, &format!(r#"{{"e":{e}}}"#));
        }
        assert_eq!(matches(&mut world), ["+0 [2,3,6]", "+0 [4,5,6]"]);
    }
}

#[test]
fn at_a_limit_windows_keep_their_count_and_show_the_newest_events() {
    let count = r#"{"type":"count","event":{"topic":"x"},"threshold":5,"comparison":"eq","window":"10s","sliding":true}"#;
    let mut world =
        limited(count, TemporalLimits { events_per_instance_max: 2, ..TemporalLimits::default() });
    for e in 1..=5 {
        world.emit("x", &format!(r#"{{"e":{e}}}"#));
    }
    assert_eq!(matches(&mut world), ["+0 [4,5] count=5"]);
    let mut world = limited(count, TemporalLimits { bytes_max: 2000, ..TemporalLimits::default() });
    for e in 1..=5 {
        world.emit("x", &format!(r#"{{"e":{e},"pad":"{}"}}"#, "x".repeat(600)));
    }
    let found = matches(&mut world);
    assert!(
        found.len() == 1 && found[0].ends_with(",5] count=5") || found[0].ends_with("[5] count=5"),
        "{found:?}"
    );
    assert!(world.engine.stats().temporal_bytes <= 2000);
    let samples = TemporalLimits { window_samples_max: 4, ..TemporalLimits::default() };
    let mut world = limited(count, samples);
    for e in 1..=9 {
        world.emit("x", &format!(r#"{{"e":{e}}}"#));
    }
    assert!(matches(&mut world).is_empty());
    assert_eq!(world.engine.stats().temporal_evicted, 5);
}

#[test]
fn memory_of_instances_is_bounded() {
    let limits = TemporalLimits { bytes_max: 20_000, ..TemporalLimits::default() };
    for pattern in [ABC, ABC_BY_U] {
        let mut world = limited(pattern, limits);
        for u in 0..200 {
            world.emit("a", &format!(r#"{{"e":1,"u":"{u}","pad":"{}"}}"#, "x".repeat(500)));
            assert!(world.engine.stats().temporal_bytes <= 20_000);
        }
        let stats = world.engine.stats();
        assert!(stats.temporal_open > 5 && stats.temporal_evicted > 100, "{stats:?}");
        world.emit("a", &format!(r#"{{"u":1,"pad":"{}"}}"#, "x".repeat(50_000)));
        world.emit("b", &format!(r#"{{"u":1,"pad":"{}"}}"#, "x".repeat(50_000)));
        assert!(world.engine.stats().temporal_bytes <= 20_000);
    }
}
