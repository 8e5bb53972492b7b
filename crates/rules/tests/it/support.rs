//! An engine in virtual time, and what it did as text.

use noex_json::{Object, Value, parse};
use noex_rules::{Engine, EngineOptions, Event, Output, Random, SubscriberId};
use std::sync::Arc;

/// Where the clock starts.
pub(crate) const T: u64 = 1_700_000_000_000;

/// Who subscribes to everything.
const ALL: SubscriberId = SubscriberId(0);

/// A generator good enough for ids (xorshift).
#[derive(Debug)]
pub(crate) struct Seeded(pub(crate) u64);

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

pub(crate) fn json(text: &str) -> Value {
    parse(text, 512).unwrap_or_else(|error| panic!("{error:?} in {text}"))
}

pub(crate) fn object(text: &str) -> Object {
    let Value::Object(object) = json(text) else { panic!("{text} is no object") };
    *object
}

/// The log lines among some outputs.
pub(crate) fn logged(outputs: Vec<Output>) -> Vec<String> {
    let messages = outputs
        .into_iter()
        .filter_map(|output| if let Output::Log { message, .. } = output { Some(message) } else { None });
    messages.collect()
}

/// The pushes among some outputs: whom to, and the text.
pub(crate) fn pushed(outputs: &[Output]) -> Vec<(SubscriberId, Arc<str>)> {
    let pushes = outputs.iter().filter_map(|output| {
        if let Output::Event { subscriber, event } = output {
            Some((*subscriber, Arc::clone(event)))
        } else {
            None
        }
    });
    pushes.collect()
}

/// An engine, its clock, and what it has handed out.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) now: u64,
    outputs: Vec<Output>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(EngineOptions::default())
    }

    pub(crate) fn with(options: EngineOptions) -> Self {
        let mut engine = Engine::new(options, Box::new(Seeded(0x9E37_79B9)));
        engine.subscribe(ALL, "*").expect("a pattern");
        Self { engine, now: T, outputs: Vec::new() }
    }

    /// Registers a rule; its name is its id unless it has one.
    pub(crate) fn rule(&mut self, text: &str) {
        let mut rule = object(text);
        if !rule.contains("name") {
            let id = rule.get("id").cloned().unwrap_or_default();
            rule.set("name", id);
        }
        let result = self.engine.register_rule(self.now, rule);
        if let Err(error) = result {
            panic!("{error}: {:?}", error.details().map(|details| details.to_json()));
        }
    }

    pub(crate) fn emit(&mut self, topic: &str, data: &str) -> Arc<Event> {
        self.emit_as(topic, data, None, None)
    }

    pub(crate) fn emit_as(
        &mut self,
        topic: &str,
        data: &str,
        correlation: Option<&str>,
        causation: Option<&str>,
    ) -> Arc<Event> {
        let event = self.engine.emit(self.now, topic, object(data), correlation, causation).expect("running");
        self.collect();
        event
    }

    pub(crate) fn set(&mut self, key: &str, value: &str) -> String {
        let fact = self.engine.set_fact(self.now, key, json(value)).expect("running");
        self.collect();
        fact.to_value().to_json()
    }

    pub(crate) fn delete(&mut self, key: &str) -> bool {
        let deleted = self.engine.delete_fact(self.now, key).expect("running");
        self.collect();
        deleted
    }

    /// Lets time pass as a punctual host does: the engine is called at each of its deadlines.
    pub(crate) fn advance(&mut self, by_ms: u64) {
        let to = self.now + by_ms;
        while let Some(at) = self.engine.next_deadline_ms().filter(|at| *at <= to) {
            while self.engine.advance(at) {}
        }
        while self.engine.advance(to) {}
        self.now = to;
        self.collect();
    }

    pub(crate) fn collect(&mut self) {
        self.outputs.extend(self.engine.take_outputs());
    }

    pub(crate) fn take_outputs(&mut self) -> Vec<Output> {
        self.collect();
        std::mem::take(&mut self.outputs)
    }

    /// The events since the last call: time after the start, topic, data, source, correlation.
    pub(crate) fn events(&mut self) -> Vec<String> {
        let pushes = pushed(&self.take_outputs()).into_iter();
        pushes.filter(|(subscriber, _)| *subscriber == ALL).map(|(_, event)| line(&json(&event))).collect()
    }

    /// The facts in the order of their creation.
    pub(crate) fn facts(&self) -> Vec<String> {
        let facts = self.engine.all_facts();
        facts
            .map(|fact| {
                let (key, value, version) = (&fact.key, fact.value.to_json(), fact.version);
                format!("{key} = {value} v{version} {}", fact.source.as_str())
            })
            .collect()
    }

    pub(crate) fn fact(&self, key: &str) -> Option<String> {
        self.engine.get_fact(key).map(|fact| fact.value.to_json())
    }

    /// Failures of actions since the last call: rule, index, type, message.
    pub(crate) fn failures(&mut self) -> Vec<String> {
        let outputs = self.take_outputs();
        let failures = outputs.into_iter().filter_map(|output| {
            let Output::ActionFailed { rule, index, action, message } = output else { return None };
            Some(format!("{rule} {index} {action}: {message}"))
        });
        failures.collect()
    }

    /// `eventsProcessed`, `rulesExecuted`, `timersCount`, `rulesCount`, `factsCount`.
    pub(crate) fn counts(&self) -> [u64; 5] {
        let stats = self.engine.stats();
        let [timers, rules, facts] =
            [stats.timers_count, stats.rules_count, stats.facts_count].map(|count| count as u64);
        [stats.events_processed, stats.rules_executed, timers, rules, facts]
    }
}

/// One pushed event as text; relative times inside the data stay as they are.
fn line(push: &Value) -> String {
    let push = push.as_object().expect("an object");
    let event = push.get("event").and_then(Value::as_object).expect("an event");
    let text = |name| event.get(name).and_then(Value::as_str);
    assert_eq!(push.get("topic"), event.get("topic"));
    let at = event.get("timestamp").and_then(Value::as_number).expect("a time") - T as f64;
    let (topic, source) = (text("topic").expect("a topic"), text("source").expect("a source"));
    let data = event.get("data").expect("data").to_json();
    let correlation = text("correlationId").map_or_else(String::new, |id| format!(" {id}"));
    format!("+{at} {topic} {data} {source}{correlation}")
}
