//! Conditions and lookups as rules use them: examples 13 and 28, envelope and captures, the paths of D16.

use crate::support::World;
use noex_json::Value;
use noex_rules::ServiceError;

#[test]
fn example_13_sources_and_first_match() {
    let mut world = World::new();
    for (id, source, rest) in [
        ("first-is-x", r#"{"type":"fact","pattern":"s:*"}"#, r#""operator":"eq","value":"x""#),
        ("first-is-y", r#"{"type":"fact","pattern":"s:*"}"#, r#""operator":"eq","value":"y""#),
        ("dynamic-key", r#"{"type":"fact","pattern":"s:${event.k}"}"#, r#""operator":"eq","value":"y""#),
        (
            "compare-to-fact",
            r#"{"type":"event","field":"v"}"#,
            r#""operator":"gt","value":{"ref":"fact.limit"}"#,
        ),
        (
            "compare-to-field",
            r#"{"type":"event","field":"v"}"#,
            r#""operator":"eq","value":{"ref":"trigger.w"}"#,
        ),
        (
            "unknown-ref-is-literal",
            r#"{"type":"event","field":"v"}"#,
            r#""operator":"neq","value":{"ref":"zzz.w"}"#,
        ),
        ("context-at-top-level", r#"{"type":"context","key":"v"}"#, r#""operator":"exists""#),
        ("array-index-path", r#"{"type":"event","field":"list.0.n"}"#, r#""operator":"eq","value":3"#),
        ("array-length-path", r#"{"type":"event","field":"list.length"}"#, r#""operator":"eq","value":1"#),
    ] {
        world.rule(&format!(
            r#"{{"id":"{id}","trigger":{{"type":"event","topic":"q"}},"conditions":[{{"source":{source},{rest}}}],
                "actions":[{{"type":"set_fact","key":"r:{id}","value":1}}]}}"#
        ));
    }
    world.set("s:1", r#""x""#);
    world.set("s:2", r#""y""#);
    world.set("limit", "5");
    world.emit("q", r#"{"k":"2","v":6,"w":6,"list":[{"n":3}]}"#);
    let written: Vec<String> = world.facts().into_iter().filter(|fact| fact.starts_with("r:")).collect();
    let expected = [
        "first-is-x",
        "dynamic-key",
        "compare-to-fact",
        "compare-to-field",
        "unknown-ref-is-literal",
        "array-index-path",
        "array-length-path",
    ];
    assert_eq!(written, expected.map(|id| format!("r:{id} = 1 v1 rule")));
    assert_eq!(world.counts(), [1, 7, 0, 9, 10]);
}

#[test]
fn a_wildcard_fact_condition_follows_the_facts() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"r","trigger":{"type":"event","topic":"q"},"actions":[{"type":"conditional",
            "conditions":[{"source":{"type":"fact","pattern":"s:*"},"operator":"eq","value":1}],
            "then":[{"type":"emit_event","topic":"yes","data":{}}],"else":[{"type":"emit_event","topic":"no","data":{}}]}]}"#,
    );
    for (key, value) in [("", ""), ("s:a", "1"), ("s:b", "2"), ("s:a", ""), ("s:a", "1"), ("s:b", "")] {
        match (key, value) {
            ("", _) => {}
            (key, "") => assert!(world.delete(key)),
            (key, value) => drop(world.set(key, value)),
        }
        world.emit("q", "{}");
    }
    let answers: Vec<String> = world.events().into_iter().filter(|line| line.ends_with("rule")).collect();
    assert_eq!(answers, ["no", "yes", "yes", "no", "no", "yes"].map(|topic| format!("+0 {topic} {{}} rule")));
}

#[test]
fn interpolated_text_is_no_pattern() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"allow","trigger":{"type":"event","topic":"door"},
            "conditions":[{"source":{"type":"fact","pattern":"acl:${event.user}:role"},"operator":"eq","value":"admin"}],
            "actions":[{"type":"emit_event","topic":"open","data":{"who":{"ref":"event.user"}}}]}"#,
    );
    // The same text as a condition that is a real pattern, whose matches are kept at hand.
    world.rule(
        r#"{"id":"any","trigger":{"type":"event","topic":"other"},
            "conditions":[{"source":{"type":"fact","pattern":"acl:*:role"},"operator":"eq","value":"admin"}]}"#,
    );
    world.set("acl:root:role", r#""admin""#);
    for user in ["*", "**", "root"] {
        world.emit("door", &format!(r#"{{"user":"{user}"}}"#));
    }
    let opened: Vec<String> = world.events().into_iter().filter(|line| line.ends_with("rule")).collect();
    assert_eq!(opened, [r#"+0 open {"who":"root"} rule"#]);
    world.set("acl:*:role", r#""admin""#);
    world.emit("door", r#"{"user":"*"}"#);
    assert_eq!(world.events().len(), 2);
}

#[test]
fn envelope_captures_and_paths() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"r","trigger":{"type":"event","topic":"order.*.*.paid"},
            "conditions":[{"source":{"type":"event","field":"$topic"},"operator":"eq","value":"order.eu.b2b.paid"}],
            "actions":[{"type":"emit_event","topic":"seen.${event.$captures.1}","data":{"cap":{"ref":"event.$captures.0"},
                "corr":{"ref":"event.$correlationId"},"src":{"ref":"event.$source"},"cause":{"ref":"event.$causationId"},
                "at":{"ref":"event.$timestamp"},"d":{"ref":"event.data.total"}}}]}"#,
    );
    world.emit_as("order.eu.b2b.paid", r#"{"$source":"mine","total":5}"#, Some("c"), None);
    world.emit("order.us.b2b.paid", "{}");
    assert_eq!(
        world.events(),
        [
            r#"+0 order.eu.b2b.paid {"$source":"mine","total":5} api c"#,
            r#"+0 seen.b2b {"cap":"eu","corr":"c","src":"mine","at":1700000000000,"d":5} rule c"#,
            "+0 order.us.b2b.paid {} api",
        ]
    );
}

#[test]
fn example_28_lookups() {
    let mut world = World::new();
    let mut calls = 0.0;
    world.engine.register_service(
        "crm",
        Box::new(move |method: &str, args: &[Value]| {
            calls += 1.0;
            match (method, args.first().and_then(Value::as_str)) {
                ("get", Some("bad")) => Err(ServiceError::Failed("down".into())),
                ("get", _) => {
                    let mut object = noex_json::Object::new();
                    object.set("tier", "gold");
                    object.set("score", 5.0);
                    object.set("calls", calls);
                    Ok(Value::from(object))
                }
                _ => Err(ServiceError::UnknownMethod),
            }
        }),
    );
    world.rule(
        r#"{"id":"lk","trigger":{"type":"event","topic":"go"},
            "lookups":[{"name":"cust","service":"crm","method":"get","args":[{"ref":"event.id"}],"cache":{"ttl":"1m"}}],
            "conditions":[{"source":{"type":"lookup","name":"cust","field":"score"},"operator":"gte","value":5}],
            "actions":[{"type":"set_fact","key":"tier:${event.id}:${event.n}","value":{"ref":"lookup.cust"}}]}"#,
    );
    world.emit("go", r#"{"id":"a","n":1}"#);
    world.emit("go", r#"{"id":"a","n":2}"#);
    world.emit("go", r#"{"id":"bad","n":3}"#);
    world.advance(60_000);
    world.emit("go", r#"{"id":"a","n":4}"#);
    assert_eq!(
        world.facts(),
        [(1, 1), (2, 1), (4, 3)]
            .map(|(n, calls)| format!(r#"tier:a:{n} = {{"tier":"gold","score":5,"calls":{calls}}} v1 rule"#))
    );
    let stats = world.engine.stats();
    assert_eq!((stats.rules_skipped, stats.rules_failed, stats.rules_executed), (1, 0, 3));

    world.rule(
        r#"{"id":"strict","trigger":{"type":"event","topic":"go2"},
            "lookups":[{"name":"l","service":"none","method":"get","onError":"fail"}],
            "actions":[{"type":"set_fact","key":"never","value":1}]}"#,
    );
    world.emit("go2", "{}");
    assert_eq!((world.engine.stats().rules_failed, world.fact("never")), (1, None));
}
