//! Shapes that clients see: examples 41 and 43.

use crate::support::{T, World, object, pushed};
use noex_rules::SubscriberId;

#[test]
fn example_41_events_and_facts() {
    let mut world = World::new();
    let event = world.emit("order.created", r#"{"orderId":"1"}"#);
    let id = event.id.clone();
    let (time, random) = id.split_once('-').expect("two parts");
    assert_eq!(u64::from_str_radix(time, 36), Ok(T));
    assert!(
        random.len() == 9 && random.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()),
        "{id}"
    );
    let expected = format!(
        r#"{{"id":"{id}","topic":"order.created","data":{{"orderId":"1"}},"timestamp":{T},"source":"api"}}"#
    );
    assert_eq!([event.to_json(), event.to_value().to_json()], [&*expected; 2]);
    let event = world.emit_as("pay", "{}", Some("c-1"), Some("z-1"));
    let expected = format!(
        r#"{{"id":"{}","topic":"pay","data":{{}},"timestamp":{T},"correlationId":"c-1","causationId":"z-1","source":"api"}}"#,
        event.id
    );
    assert_eq!([event.to_json(), event.to_value().to_json()], [&*expected; 2]);
    assert_eq!(world.emit_as("pay", "{}", None, Some("ignored")).causation_id, None);

    world.set("user:1:name", r#""Alice""#);
    assert_eq!(
        world.set("user:1:name", "null"),
        format!(r#"{{"key":"user:1:name","value":null,"timestamp":{T},"source":"api","version":2}}"#)
    );
    world.set("user:2:name", r#"{"first":"B"}"#);
    assert_eq!(world.fact("user:2:name").as_deref(), Some(r#"{"first":"B"}"#));
    assert_eq!(world.fact("nope"), None);
    let found = world.engine.query_facts("user:*:name").expect("a pattern");
    assert_eq!(
        found.iter().map(|fact| fact.key.as_str()).collect::<Vec<_>>(),
        ["user:1:name", "user:2:name"]
    );
    assert!(world.engine.query_facts("zzz:*").expect("a pattern").is_empty());
    assert_eq!([world.delete("user:1:name"), world.delete("user:1:name")], [true, false]);
    assert_eq!(world.facts(), [r#"user:2:name = {"first":"B"} v1 api"#]);
    assert_eq!(
        world.engine.stats().to_value().to_json(),
        concat!(
            r#"{"rulesCount":0,"factsCount":1,"timersCount":0,"eventsProcessed":3,"rulesExecuted":0,"avgProcessingTimeMs":0,"#,
            r#""tracing":{"enabled":false,"entriesCount":0,"maxEntries":10000}}"#
        )
    );
}

#[test]
fn example_43_pushes_in_order_and_serialised_once() {
    let mut world = World::new();
    world.engine.subscribe(SubscriberId(2), "out.*").expect("a pattern");
    world.rule(
        r#"{"id":"r1","trigger":{"type":"event","topic":"go"},"actions":[
            {"type":"emit_event","topic":"out.a","data":{"v":{"ref":"event.v"},"gone":{"ref":"event.zz"}}},{"type":"set_fact","key":"seen","value":{"ref":"event.v"}}]}"#,
    );
    let event = world.emit_as("go", r#"{"v":5}"#, Some("c-2"), None);
    let outputs = world.take_outputs();
    let pushes = pushed(&outputs);
    assert_eq!(pushes.len(), outputs.len());
    assert_eq!(pushes.iter().map(|(subscriber, _)| subscriber.0).collect::<Vec<_>>(), [0, 0, 2]);
    assert_eq!(*pushes[0].1, *format!(r#"{{"topic":"go","event":{}}}"#, event.to_json()));
    assert!(std::sync::Arc::ptr_eq(&pushes[1].1, &pushes[2].1));
    let out = world.engine.history().next_back().cloned().expect("emitted");
    assert_eq!(
        *pushes[1].1,
        *format!(
            r#"{{"topic":"out.a","event":{{"id":"{}","topic":"out.a","data":{{"v":5}},"timestamp":{T},"correlationId":"c-2","causationId":"{}","source":"rule"}}}}"#,
            out.id, event.id
        )
    );
    assert!(!world.engine.has_outputs());
}

#[test]
fn preset_facts_trigger_nothing() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"watch","trigger":{"type":"fact","pattern":"**"},"actions":[{"type":"emit_event","topic":"x","data":{}}]}"#,
    );
    world.engine.preset_fact(T, 0, "boot:a", noex_json::Value::Null).expect("room");
    assert!(world.events().is_empty());
    assert_eq!(world.facts(), ["boot:a = null v1 api"]);
    assert!(world.set("boot:a", "1").contains(r#""version":2"#));
    assert_eq!(world.events().len(), 1);
    assert!(world.engine.emit(T, "t", object("{}"), None, None).is_ok());
}
