//! Temporal rules against a plain reading of their description: lists of everything, looked through every time.

use crate::support::{World, json};
use noex_json::Value;
use proptest::prelude::*;

/// One event of a script: how long after the one before it, topic, group, number.
#[derive(Clone, Debug)]
struct Step {
    after_ms: u64,
    topic: char,
    group: Option<u8>,
    number: Option<i8>,
}

#[derive(Clone, Debug)]
enum Shape {
    Sequence {
        topics: Vec<char>,
        strict: bool,
    },
    Absence {
        after: char,
        expected: char,
    },
    Window {
        topic: char,
        function: Option<&'static str>,
        sliding: bool,
        comparison: &'static str,
        threshold: i8,
    },
}

#[derive(Clone, Debug)]
struct Pattern {
    shape: Shape,
    span_ms: u64,
    grouped: bool,
}

impl Pattern {
    fn to_json(&self) -> String {
        let span = self.span_ms;
        let group = if self.grouped { r#","groupBy":"u""# } else { "" };
        match &self.shape {
            Shape::Sequence { topics, strict } => {
                let events: Vec<String> =
                    topics.iter().map(|topic| format!(r#"{{"topic":"{topic}"}}"#)).collect();
                let events = events.join(",");
                format!(
                    r#"{{"type":"sequence","events":[{events}],"within":{span},"strict":{strict}{group}}}"#
                )
            }
            Shape::Absence { after, expected } => format!(
                r#"{{"type":"absence","after":{{"topic":"{after}"}},"expected":{{"topic":"{expected}"}},"within":{span}{group}}}"#
            ),
            Shape::Window { topic, function, sliding, comparison, threshold } => {
                let kind = function.map_or_else(
                    || r#""type":"count""#.to_owned(),
                    |function| format!(r#""type":"aggregate","field":"n","function":"{function}""#),
                );
                format!(
                    r#"{{{kind},"event":{{"topic":"{topic}"}},"window":{span},"sliding":{sliding},"comparison":"{comparison}","threshold":{threshold}{group}}}"#
                )
            }
        }
    }
}

/// An event as the model keeps it.
#[derive(Clone, Debug)]
struct Seen {
    number: usize,
    at: u64,
    group: Option<u8>,
    value: Option<i8>,
}

/// What a match reports: time, events, group, count, value.
type Match = (u64, Vec<usize>, Option<u8>, Option<f64>, Option<f64>);

/// Finds the matches of a script that ends long after its last event.
fn model(pattern: &Pattern, start: u64, steps: &[Step]) -> Vec<Match> {
    let mut now = start;
    let events: Vec<(char, Seen)> = steps
        .iter()
        .enumerate()
        .map(|(number, step)| {
            now += step.after_ms;
            (step.topic, Seen { number, at: now, group: step.group, value: step.number })
        })
        .filter(|(_, seen)| !pattern.grouped || seen.group.is_some())
        .map(|(topic, seen)| (topic, Seen { group: seen.group.filter(|_| pattern.grouped), ..seen }))
        .collect();
    match &pattern.shape {
        Shape::Sequence { topics, strict } => sequence(pattern, topics, *strict, &events),
        Shape::Absence { after, expected } => absence(pattern, *after, *expected, &events),
        Shape::Window { topic, function, sliding, comparison, threshold } => {
            let seen: Vec<Seen> =
                events.into_iter().filter(|(t, _)| t == topic).map(|(_, seen)| seen).collect();
            let test = |window: &[&Seen]| evaluate(*function, comparison, f64::from(*threshold), window);
            if *sliding {
                sliding_windows(pattern, &seen, test)
            } else {
                tumbling_windows(pattern, &seen, test)
            }
        }
    }
}

fn sequence(pattern: &Pattern, topics: &[char], strict: bool, events: &[(char, Seen)]) -> Vec<Match> {
    let mut found = Vec::new();
    let mut open: Vec<Vec<&Seen>> = Vec::new();
    for (topic, seen) in events {
        open.retain(|instance| seen.at < instance[0].at + pattern.span_ms);
        let (mut kept, mut consumed) = (Vec::new(), false);
        for mut instance in std::mem::take(&mut open) {
            if instance[0].group != seen.group {
                kept.push(instance);
            } else if topics[instance.len()] == *topic {
                instance.push(seen);
                consumed = true;
                if instance.len() == topics.len() {
                    found.push((seen.at, numbers(&instance), seen.group, None, None));
                } else {
                    kept.push(instance);
                }
            } else if !strict {
                kept.push(instance);
            }
        }
        open = kept;
        let busy =
            pattern.grouped && (consumed || open.iter().any(|instance| instance[0].group == seen.group));
        if topics[0] == *topic && !busy {
            open.push(vec![seen]);
        }
    }
    found
}

fn absence(pattern: &Pattern, after: char, expected: char, events: &[(char, Seen)]) -> Vec<Match> {
    let mut found = Vec::new();
    let mut open: Vec<&Seen> = Vec::new();
    let mut expire = |open: &mut Vec<&Seen>, now: u64| {
        open.retain(|seen| {
            let due = seen.at + pattern.span_ms;
            if due <= now {
                found.push((due, vec![seen.number], seen.group, None, None));
            }
            due > now
        });
    };
    for (topic, seen) in events {
        expire(&mut open, seen.at);
        if *topic == expected {
            open.retain(|other| other.group != seen.group);
        }
        if *topic == after && open.iter().all(|other| other.group != seen.group) {
            open.push(seen);
        }
    }
    expire(&mut open, u64::MAX);
    found
}

type Figures = (Option<f64>, Option<f64>);

fn evaluate(function: Option<&str>, comparison: &str, threshold: f64, window: &[&Seen]) -> Option<Figures> {
    let values: Vec<f64> = window.iter().filter_map(|seen| seen.value.map(f64::from)).collect();
    let count = window.len() as f64;
    let some = !values.is_empty();
    let value = match function {
        None | Some("count") => Some(count),
        Some("sum") => some.then(|| values.iter().sum()),
        Some("avg") => some.then(|| values.iter().sum::<f64>() / values.len() as f64),
        Some("min") => values.iter().copied().reduce(f64::min),
        _ => values.iter().copied().reduce(f64::max),
    }?;
    let holds = match comparison {
        "gte" => value >= threshold,
        "lte" => value <= threshold,
        _ => value == threshold,
    };
    holds.then_some((Some(count), function.map(|_| value)))
}

fn sliding_windows(
    pattern: &Pattern,
    seen: &[Seen],
    test: impl Fn(&[&Seen]) -> Option<Figures>,
) -> Vec<Match> {
    let mut found = Vec::new();
    for (i, last) in seen.iter().enumerate() {
        let window: Vec<&Seen> = seen[..=i]
            .iter()
            .filter(|other| other.group == last.group && last.at - other.at < pattern.span_ms)
            .collect();
        found.extend(
            test(&window).map(|(count, value)| (last.at, numbers(&window), last.group, count, value)),
        );
    }
    found
}

fn tumbling_windows(
    pattern: &Pattern,
    seen: &[Seen],
    test: impl Fn(&[&Seen]) -> Option<Figures>,
) -> Vec<Match> {
    // Windows end in order of time; those of one time in the order in which their first events came.
    let mut windows: Vec<(u64, Option<u8>, Vec<&Seen>)> = Vec::new();
    for one in seen {
        let end = (one.at / pattern.span_ms + 1) * pattern.span_ms;
        match windows.iter_mut().find(|(at, group, _)| *at == end && *group == one.group) {
            Some((_, _, window)) => window.push(one),
            None => windows.push((end, one.group, vec![one])),
        }
    }
    let found = windows.into_iter().filter_map(|(end, group, window)| {
        test(&window).map(|(count, value)| (end, numbers(&window), group, count, value))
    });
    found.collect()
}

fn numbers(events: &[&Seen]) -> Vec<usize> {
    events.iter().map(|seen| seen.number).collect()
}

/// Runs the script through an engine. `late` = the host does not wake up at deadlines, only for events.
fn run(pattern: &Pattern, steps: &[Step], late: bool) -> Vec<Match> {
    let mut world = World::new();
    world.rule(&format!(
        r#"{{"id":"r","trigger":{{"type":"temporal","pattern":{}}},
            "actions":[{{"type":"set_fact","key":"${{event.matchId}}","value":{{"ref":"event"}}}}]}}"#,
        pattern.to_json()
    ));
    for (number, step) in steps.iter().enumerate() {
        if late {
            world.now += step.after_ms;
        } else {
            world.advance(step.after_ms);
        }
        let group = step.group.map_or_else(String::new, |group| format!(r#","u":{group}"#));
        let value = step.number.map_or_else(String::new, |value| format!(r#","n":{value}"#));
        world.emit(&step.topic.to_string(), &format!(r#"{{"e":{number}{group}{value}}}"#));
    }
    world.advance(10_000);
    assert_eq!(world.engine.stats().temporal_open, 0);
    assert_eq!(world.engine.stats().temporal_bytes, 0);
    // A fact per match: an event would be one that ends strict sequences.
    let matches = world.engine.all_facts();
    matches
        .map(|fact| {
            let payload = fact.value.as_object().expect("a payload");
            let figure = |name: &str| payload.get(name).and_then(Value::as_number);
            let events = payload.get("events").and_then(Value::as_array).expect("events");
            let number = |event: &Value| event.as_object()?.get("e")?.as_number();
            let events = events.iter().map(|event| number(event).expect("a number") as usize).collect();
            let group = payload.get("groupKey").and_then(Value::as_str);
            let group = group.map(|group| json(group).as_number().expect("a number") as u8);
            (fact.timestamp, events, group, figure("count"), figure("value"))
        })
        .collect()
}

fn topic() -> impl Strategy<Value = char> {
    prop_oneof![3 => Just('a'), 3 => Just('b'), 1 => Just('c')]
}

fn step() -> impl Strategy<Value = Step> {
    let wait = prop_oneof![3 => Just(0), 3 => 1..15_u64, 1 => 15..70_u64];
    (wait, topic(), prop::option::weighted(0.8, 1..4_u8), prop::option::weighted(0.7, -3..4_i8))
        .prop_map(|(after_ms, topic, group, number)| Step { after_ms, topic, group, number })
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let function = prop_oneof![
        2 => Just(None), 1 => Just(Some("sum")), 1 => Just(Some("avg")), 1 => Just(Some("min")),
        1 => Just(Some("max")), 1 => Just(Some("count")),
    ];
    let comparison = prop_oneof![Just("gte"), Just("lte"), Just("eq")];
    let shape = prop_oneof![
        (prop::collection::vec(topic(), 2..4), any::<bool>())
            .prop_map(|(topics, strict)| Shape::Sequence { topics, strict }),
        (topic(), topic()).prop_map(|(after, expected)| Shape::Absence { after, expected }),
        (topic(), function, any::<bool>(), comparison, 1..4_i8).prop_map(
            |(topic, function, sliding, comparison, threshold)| Shape::Window {
                topic,
                function,
                sliding,
                comparison,
                threshold
            }
        ),
    ];
    (shape, 1..40_u64, any::<bool>()).prop_map(|(shape, span_ms, grouped)| Pattern {
        shape,
        span_ms,
        grouped,
    })
}

proptest! {
    #[test]
    fn matches_are_those_of_a_plain_reading(
        pattern in pattern(), steps in prop::collection::vec(step(), 1..40)
    ) {
        let expected = model(&pattern, crate::support::T, &steps);
        prop_assert_eq!(&run(&pattern, &steps, false), &expected, "punctual, {}", pattern.to_json());
        prop_assert_eq!(&run(&pattern, &steps, true), &expected, "late, {}", pattern.to_json());
    }
}
