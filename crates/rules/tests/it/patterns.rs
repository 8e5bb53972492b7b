//! Patterns as the engine uses them: examples 26, 29 and 30 with their targets.

use crate::support::{World, json, logged, pushed};
use noex_rules::{Output, SubscriberId};

const TOPICS: [&str; 7] =
    ["order", "order.created", "order.item.added", "orders.created", "x.order.created", "order.", "a.b"];

#[test]
fn example_29_topics() {
    // Pattern, as a subscription, as a trigger (None = the same).
    let all = "order,order.created,order.item.added,orders.created,x.order.created,order.,a.b";
    let several = "order.created,order.item.added,orders.created,x.order.created,order.,a.b";
    let below = "order.created,order.item.added,order.";
    for (pattern, subscribed, triggered) in [
        ("*", all, Some("order")),
        ("order.*", below, None),
        ("order.created", "order.created", None),
        ("*.created", "order.created,orders.created", None),
        ("order.*.added", "order.item.added", None),
        ("*.*", several, None),
        ("order.*.*", "order.item.added", None),
        ("**", all, None),
        ("order.**", "order,order.created,order.item.added,order.", None),
        ("ord*", "order", None),
        ("*ed", "", None),
    ] {
        let mut world = World::new();
        world.engine.subscribe(SubscriberId(7), pattern).expect("a pattern");
        world.rule(&format!(
            r#"{{"id":"r","trigger":{{"type":"event","topic":"{pattern}"}},
                "actions":[{{"type":"log","level":"info","message":"${{event.$topic}}"}}]}}"#
        ));
        TOPICS.iter().for_each(|topic| drop(world.emit(topic, "{}")));
        let outputs = world.take_outputs();
        let mut topics = Vec::new();
        for (_, event) in pushed(&outputs).into_iter().filter(|(subscriber, _)| subscriber.0 == 7) {
            let push = json(&event);
            topics.extend(push.as_object().and_then(|push| push.get("topic")?.as_str()).map(str::to_owned));
        }
        assert_eq!(topics.join(","), subscribed, "{pattern} as a subscription");
        assert_eq!(logged(outputs).join(","), triggered.unwrap_or(subscribed), "{pattern} as a trigger");
    }
}

#[test]
fn example_30_facts() {
    let keys = [
        "user",
        "user:1",
        "user:1:name",
        "user:2:name",
        "user:1:name:x",
        "users:1",
        "user:",
        "x:user:1",
        "user:a.b",
    ];
    for (pattern, expected) in [
        ("*", "user"),
        ("user:*", "user:1,user:a.b"),
        ("user:*:name", "user:1:name,user:2:name"),
        ("*:1", "user:1,users:1"),
        ("*:*", "user:1,users:1,user:a.b"),
        ("user:*:*", "user:1:name,user:2:name"),
        ("user:1:*", "user:1:name"),
        ("us*", "user"),
        ("us*:1", "user:1,users:1"),
        ("user:**", "user,user:1,user:1:name,user:2:name,user:1:name:x,user:,user:a.b"),
        ("**", "user,user:1,user:1:name,user:2:name,user:1:name:x,users:1,user:,x:user:1,user:a.b"),
        ("user.*", ""),
    ] {
        let mut world = World::new();
        world.rule(&format!(
            r#"{{"id":"r","trigger":{{"type":"fact","pattern":"{pattern}"}},
                "actions":[{{"type":"log","level":"info","message":"${{event.key}}"}}]}}"#
        ));
        keys.iter().for_each(|key| drop(world.set(key, "1")));
        assert_eq!(logged(world.take_outputs()).join(","), expected, "{pattern} as a trigger");
        let found = world.engine.query_facts(pattern).expect("a pattern");
        let found: Vec<&str> = found.iter().map(|fact| fact.key.as_str()).collect();
        assert_eq!(found.join(","), expected, "{pattern} as a query");
    }
}

#[test]
fn example_26_pattern_text_is_literal() {
    let mut world = World::new();
    world.rule(r#"{"id":"ok","trigger":{"type":"event","topic":"good"},"actions":[{"type":"set_fact","key":"ok","value":1}]}"#);
    world.rule(r#"{"id":"bad","trigger":{"type":"event","topic":"(.*.x"},"actions":[{"type":"set_fact","key":"bad","value":1}]}"#);
    world.emit("good", "{}");
    world.emit("(.mid.x", "{}");
    world.engine.unregister_rule(world.now, "bad").expect("registered");
    world.emit("good", "{}");
    world.emit("(.mid.x", "{}");
    assert_eq!(world.facts(), ["ok = 1 v2 rule", "bad = 1 v1 rule"]);
}

#[test]
fn subscriptions_begin_and_end_at_once() {
    let mut world = World::new();
    let [one, two] = [SubscriberId(1), SubscriberId(2)];
    world.emit("tick", "{}");
    world.take_outputs();
    world.engine.subscribe(one, "tick").expect("a pattern");
    world.engine.subscribe(two, "tick").expect("a pattern");
    world.emit("tick", "{}");
    let got = |outputs: Vec<Output>| -> Vec<u64> {
        pushed(&outputs).into_iter().map(|(subscriber, _)| subscriber.0).collect()
    };
    assert_eq!(got(world.take_outputs()), [0, 1, 2]);
    assert_eq!([world.engine.unsubscribe(one), world.engine.unsubscribe(one)], [true, false]);
    world.engine.subscribe(two, "other").expect("a pattern");
    world.emit("tick", "{}");
    assert_eq!(got(world.take_outputs()), [0]);
    let refused = world.engine.subscribe(one, "**.a.**.b.**").expect_err("too many");
    assert_eq!(refused.to_string(), "Invalid pattern: Pattern has more than 2 \"**\" segments");
    assert_eq!(world.engine.stats().subscriptions_count, 2);
}
