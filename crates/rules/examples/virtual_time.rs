//! A scenario in virtual time: an order that is not paid within ten minutes raises an alert, and a reminder repeats.
//!
//! `cargo run -p noex-rules --example virtual_time`

use noex_json::{Object, parse};
use noex_rules::{Engine, EngineOptions, Output, Random, RulesError, SubscriberId};

/// Ids need not be unforeseeable here.
struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0 = self.0.wrapping_add(1);
        bytes.fill(self.0);
    }
}

const RULES: [&str; 3] = [
    r#"{"id": "unpaid", "name": "Order not paid in time",
        "trigger": {"type": "temporal", "pattern": {
            "type": "absence", "after": {"topic": "order.created"}, "expected": {"topic": "order.paid"},
            "within": "10m", "groupBy": "orderId"}},
        "actions": [{"type": "emit_event", "topic": "alert.unpaid", "data": {"orderId": {"ref": "matched.0.orderId"}}}]}"#,
    r#"{"id": "remind", "name": "Remind every hour, three times",
        "trigger": {"type": "event", "topic": "alert.unpaid"},
        "actions": [{"type": "set_timer", "timer": {"name": "remind:${event.orderId}", "duration": "1h",
            "onExpire": {"topic": "order.reminder", "data": {"orderId": {"ref": "event.orderId"}}},
            "repeat": {"interval": "1h", "maxCount": 3}}}]}"#,
    r#"{"id": "paid", "name": "Stop reminding",
        "trigger": {"type": "event", "topic": "order.paid"},
        "actions": [{"type": "cancel_timer", "name": "remind:${event.orderId}"}]}"#,
];

fn object(text: &str) -> Object {
    parse(text, 64).ok().and_then(|value| value.as_object().cloned()).unwrap_or_default()
}

fn show(engine: &mut Engine) {
    for output in engine.take_outputs() {
        if let Output::Event { event, .. } = output {
            println!("{event}");
        } else {
            println!("{output:?}");
        }
    }
}

fn main() -> Result<(), RulesError> {
    let mut engine = Engine::new(EngineOptions::default(), Box::new(Counting(0)));
    for rule in RULES {
        engine.register_rule(0, object(rule))?;
    }
    engine.subscribe(SubscriberId(1), "**")?;
    engine.emit(0, "order.created", object(r#"{"orderId": 1}"#), None, None)?;
    engine.emit(1000, "order.created", object(r#"{"orderId": 2}"#), None, None)?;
    engine.emit(60_000, "order.paid", object(r#"{"orderId": 2}"#), None, None)?;
    show(&mut engine);
    // Nothing happens between the deadlines, so time jumps from one to the next.
    while let Some(deadline_ms) = engine.next_deadline_ms() {
        println!("-- {} min", deadline_ms / 60_000);
        while engine.advance(deadline_ms) {}
        show(&mut engine);
    }
    Ok(())
}
