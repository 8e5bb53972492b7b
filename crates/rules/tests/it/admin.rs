//! Rules come, change and go: examples 24, 25 and the part of 38 and 43 that concerns the engine.

use crate::support::{T, World, json, object};
use noex_json::Value;

const SETTER: &str = r#""actions":[{"type":"set_fact","key":"${event.$topic}","value":1}]"#;

fn setter(id: &str) -> String {
    format!(
        r#"{{"id":"{id}","trigger":{{"type":"event","topic":"go"}},
            "actions":[{{"type":"set_fact","key":"{id}","value":1}}]}}"#
    )
}

fn listed(world: &World) -> Vec<String> {
    let rules = world.engine.rules();
    let rules = rules.as_object().and_then(|rules| rules.get("rules")).and_then(Value::as_array);
    rules.expect("a list").iter().map(Value::to_json).collect()
}

#[test]
fn example_24_lifecycle() {
    let mut world = World::new();
    world.rule(&setter("u1"));
    world.rule(&setter("u2"));
    world.advance(1000);
    let updates = object(r#"{"priority":5,"id":"zzz","version":99,"createdAt":1,"description":"d"}"#);
    let stamp = world.engine.update_rule(world.now, "u1", &updates).expect("valid");
    assert_eq!(
        stamp.to_updated_value().to_json(),
        format!(r#"{{"id":"u1","version":3,"updatedAt":{}}}"#, T + 1000)
    );
    let rule = world.engine.get_rule("u1").expect("registered");
    let rule = rule.as_object().expect("an object");
    for (name, expected) in [
        ("id", r#""u1""#.to_owned()),
        ("priority", "5".to_owned()),
        ("description", r#""d""#.to_owned()),
        ("version", "3".to_owned()),
        ("createdAt", T.to_string()),
        ("updatedAt", (T + 1000).to_string()),
    ] {
        assert_eq!(rule.get(name).map(Value::to_json), Some(expected), "{name}");
    }
    assert!(
        listed(&world)[0]
            .starts_with(r#"{"id":"u1","name":"u1","enabled":true,"priority":5,"version":3,"tags":[]"#)
    );

    world.engine.disable_rule(world.now, "u1").expect("registered");
    world.emit("go", "{}");
    assert_eq!(world.facts(), ["u2 = 1 v1 rule"]);
    world.advance(500);
    for _ in 0..2 {
        world.engine.enable_rule(world.now, "u1").expect("registered");
    }
    world.emit("go", "{}");
    assert_eq!(world.facts(), ["u2 = 1 v2 rule", "u1 = 1 v1 rule"]);
    let rule = world.engine.get_rule("u1").expect("registered").to_json();
    assert!(rule.ends_with(&format!(r#""version":3,"createdAt":{T},"updatedAt":{}}}"#, T + 1500)), "{rule}");

    world.engine.unregister_rule(world.now, "u1").expect("registered");
    world.emit("go", "{}");
    assert_eq!(world.facts(), ["u2 = 1 v3 rule", "u1 = 1 v1 rule"]);
    for error in [
        world.engine.unregister_rule(world.now, "u1").expect_err("gone"),
        world.engine.enable_rule(world.now, "u1").expect_err("gone"),
        world.engine.disable_rule(world.now, "u1").expect_err("gone"),
        world.engine.get_rule("u1").expect_err("gone"),
        world.engine.update_rule(world.now, "u1", &object("{}")).expect_err("gone"),
    ] {
        assert_eq!(error.to_string(), r#"Rule "u1" not found"#);
        assert!(error.details().is_none());
    }
}

#[test]
fn an_update_keeps_the_place_and_takes_effect_at_once() {
    let mut world = World::new();
    world.rule(&setter("a"));
    world.rule(&setter("b"));
    world.engine.update_rule(world.now, "a", &object(r#"{"name":"A"}"#)).expect("valid");
    world.emit("go", "{}");
    assert_eq!(world.facts(), ["a = 1 v1 rule", "b = 1 v1 rule"]);
    world
        .engine
        .update_rule(world.now, "a", &object(r#"{"trigger":{"type":"event","topic":"went"}}"#))
        .expect("valid");
    world.emit("go", "{}");
    world.emit("went", "{}");
    assert_eq!(world.facts(), ["a = 1 v2 rule", "b = 1 v2 rule"]);
    world.engine.update_rule(world.now, "a", &object(r#"{"enabled":false}"#)).expect("valid");
    world.emit("went", "{}");
    assert_eq!(world.fact("a"), Some("1".into()));
    assert_eq!(world.facts()[0], "a = 1 v2 rule");
}

#[test]
fn example_25_defaults_are_filled_in() {
    let mut world = World::new();
    let trigger = |topic: &str| format!(r#""trigger":{{"type":"event","topic":"{topic}"}}"#);
    world.rule(&format!(r#"{{"id":"m",{},"enabled":true,"conditions":[],{SETTER}}}"#, trigger("go")));
    world.rule(&format!(r#"{{"id":"n",{},"tags":[],"conditions":[],{SETTER}}}"#, trigger("go2")));
    world.rule(&format!(r#"{{"id":"o",{},"enabled":true,"tags":[],{SETTER}}}"#, trigger("go3")));
    world.rule(&format!(r#"{{"id":"p",{}}}"#, trigger("go3")));
    for topic in ["go", "go2", "go3"] {
        world.emit(topic, "{}");
    }
    assert_eq!(world.facts(), ["go = 1 v1 rule", "go2 = 1 v1 rule", "go3 = 1 v1 rule"]);
    assert_eq!(world.engine.stats().rules_executed, 4);
    for id in ["m", "n", "o", "p"] {
        world.engine.unregister_rule(world.now, id).expect("registered");
    }
    assert_eq!(world.engine.stats().rules_count, 0);
}

#[test]
fn example_43_refusals_leave_nothing_behind() {
    let mut world = World::new();
    let stamp = world.engine.register_rule(T, object(
        r#"{"id":"r1","name":"Rule r1","priority":100,"tags":["t"],"trigger":{"type":"event","topic":"go"},"conditions":[],"actions":[]}"#,
    ));
    assert_eq!(
        stamp.expect("valid").to_registered_value().to_json(),
        format!(r#"{{"id":"r1","name":"Rule r1","version":1,"createdAt":{T},"updatedAt":{T}}}"#)
    );
    let refusals = [
        (r#"{"id":"r1"}"#, r#"Rule "r1" already exists"#, None),
        (
            r#"{"id":"x","name":"x"}"#,
            "Rule validation failed",
            Some(
                r#"[{"path":"trigger","message":"Required field \"trigger\" is missing","severity":"error"}]"#,
            ),
        ),
        (
            r#"{"id":"rg","name":"n","trigger":{"type":"event","topic":"go"},"group":"G"}"#,
            r#"Rule references non-existent group: "G""#,
            Some(r#"[{"path":"group","message":"Group \"G\" does not exist","severity":"error"}]"#),
        ),
    ];
    for (rule, message, details) in refusals {
        let error = world.engine.register_rule(T, object(rule)).expect_err("refused");
        assert_eq!(error.to_string(), message);
        assert_eq!(error.details().map(|details| details.to_json()).as_deref(), details);
    }
    world.rule(r#"{"id":"extra","name":"Rule extra","priority":100,"enabled":true,"tags":["t"],"trigger":{"type":"event","topic":"never"},"conditions":[],"actions":[],"ui":{"x":10},"lookups":[]}"#);
    assert_eq!(
        world.engine.get_rule("extra").expect("registered").to_json(),
        format!(
            r#"{{"id":"extra","name":"Rule extra","priority":100,"enabled":true,"tags":["t"],"trigger":{{"type":"event","topic":"never"}},"conditions":[],"actions":[],"ui":{{"x":10}},"lookups":[],"version":2,"createdAt":{T},"updatedAt":{T}}}"#
        )
    );
    assert_eq!(
        listed(&world),
        [
            r#"{"id":"r1","name":"Rule r1","enabled":true,"priority":100,"version":1,"tags":["t"]}"#,
            r#"{"id":"extra","name":"Rule extra","enabled":true,"priority":100,"version":2,"tags":["t"]}"#,
        ]
    );
    for (updates, message) in [
        (r#"{"trigger":{"type":"bad"}}"#, "Rule validation failed"),
        (r#"{"group":null}"#, "Rule validation failed"),
        (r#"{"group":"nowhere"}"#, r#"Rule references non-existent group: "nowhere""#),
    ] {
        let error = world.engine.update_rule(T, "r1", &object(updates)).expect_err("refused");
        assert_eq!(error.to_string(), message);
    }
    assert_eq!(world.engine.update_rule(T, "r1", &object("{}")).expect("valid").version, 3);
}

#[test]
fn validation_stores_nothing() {
    let world = World::new();
    let report = world.engine.validate_rule(&json(r#"{"id":"v"}"#));
    assert!(!report.is_valid());
    assert_eq!(world.engine.stats().rules_count, 0);
}

#[test]
fn example_44_a_stopped_engine_can_be_read() {
    let mut world = World::new();
    world.set("quiet", "1");
    world.rule(
        r#"{"id":"t","trigger":{"type":"event","topic":"t"},
            "actions":[{"type":"set_timer","timer":{"name":"n","duration":"1s","onExpire":{"topic":"x","data":{}}}}]}"#,
    );
    world.emit("t", "{}");
    world.take_outputs();
    world.engine.stop();
    let now = world.now + 5000;
    for error in [
        world.engine.emit(now, "x", object("{}"), None, None).err(),
        world.engine.set_fact(now, "a", Value::Null).err(),
        world.engine.delete_fact(now, "quiet").err(),
        world.engine.register_rule(now, object("{}")).err(),
        world.engine.disable_rule(now, "t").err(),
    ] {
        assert_eq!(
            error.map(|e| e.to_string()).as_deref(),
            Some(r#"RuleEngine "rule-engine" is not running"#)
        );
    }
    assert_eq!(world.fact("quiet"), Some("1".into()));
    assert!(!world.engine.advance(now));
    assert_eq!(world.engine.next_deadline_ms(), None);
    world.engine.start();
    world.advance(5000);
    assert_eq!(world.events(), ["+1000 x {} timer"]);
}
