//! Queries for goals: example 40 with its target, what the description adds, and that a query always ends.

use crate::support::{T, World, json};
use noex_rules::{BackwardLimits, EngineOptions, Goal};
use proptest::prelude::*;

const GOLD: &str = r#"{"id":"gold","trigger":{"type":"event","topic":"p"},
    "conditions":[{"source":{"type":"fact","pattern":"c:1:points"},"operator":"gte","value":100}],
    "actions":[{"type":"set_fact","key":"c:1:tier","value":"gold"}]}"#;

const PTS: &str = r#"{"id":"pts","trigger":{"type":"event","topic":"o"},
    "actions":[{"type":"set_fact","key":"c:${event.id}:points","value":{"ref":"event.pts"}}]}"#;

fn ask(world: &World, goal: &str) -> String {
    let goal = Goal::parse(&json(goal)).expect("a goal");
    world.engine.query(&goal).to_value().to_json()
}

/// Only whether it can be reached, how many rules were explored, and the reason why not.
fn outcome(world: &World, goal: &str) -> (bool, usize, Option<String>) {
    let answer = world.engine.query(&Goal::parse(&json(goal)).expect("a goal"));
    let proof = answer.proof.to_value();
    let reason = proof.as_object().and_then(|proof| proof.get("reason")?.as_str().map(str::to_owned));
    (answer.achievable, answer.explored_rules, reason)
}

fn fact(key: &str, more: &str) -> String {
    format!(r#"{{"type":"fact","key":"{key}"{more}}}"#)
}

/// A rule that sets a fact, if conditions on facts hold.
fn setter(id: &str, key: &str, value: &str, conditions: &[(&str, &str, &str)]) -> String {
    let conditions: Vec<String> = conditions
        .iter()
        .map(|(pattern, operator, value)| {
            format!(
                r#"{{"source":{{"type":"fact","pattern":"{pattern}"}},"operator":"{operator}","value":{value}}}"#
            )
        })
        .collect();
    format!(
        r#"{{"id":"{id}","trigger":{{"type":"event","topic":"t"}},"conditions":[{}],
            "actions":[{{"type":"set_fact","key":"{key}","value":{value}}}]}}"#,
        conditions.join(",")
    )
}

#[test]
fn example_40_backward_chaining() {
    let mut world = World::new();
    world.rule(GOLD);
    world.rule(PTS);
    let gold = r#"{"type":"fact","key":"c:1:tier","value":"gold"}"#;
    assert_eq!(
        ask(&world, gold),
        r#"{"goal":{"type":"fact","key":"c:1:tier","value":"gold"},"achievable":true,"proof":{"type":"rule","ruleId":"gold","ruleName":"gold","satisfied":true,"conditions":[{"source":"fact:c:1:points","operator":"gte","expectedValue":100,"satisfied":true}],"children":[{"type":"rule","ruleId":"pts","ruleName":"pts","satisfied":true,"conditions":[],"children":[]}]},"exploredRules":2,"maxDepthReached":false}"#
    );
    let silver = outcome(&world, r#"{"type":"fact","key":"c:1:tier","value":"silver"}"#);
    assert_eq!(silver, (false, 0, Some("no_rules".into())));
    world.set("c:1:points", "50");
    assert_eq!(
        ask(&world, gold),
        r#"{"goal":{"type":"fact","key":"c:1:tier","value":"gold"},"achievable":false,"proof":{"type":"unachievable","reason":"all_paths_failed"},"exploredRules":1,"maxDepthReached":false}"#
    );
    assert_eq!(
        ask(&world, r#"{"type":"event","topic":"nope"}"#),
        r#"{"goal":{"type":"event","topic":"nope"},"achievable":false,"proof":{"type":"unachievable","reason":"no_rules"},"exploredRules":0,"maxDepthReached":false}"#
    );
    world.set("c:1:points", "120");
    assert!(ask(&world, gold).contains(
        r#"{"source":"fact:c:1:points","operator":"gte","expectedValue":100,"actualValue":120,"satisfied":true}],"children":[]}"#
    ));
}

#[test]
fn a_fact_that_is_there_is_a_proof() {
    let mut world = World::new();
    world.set("n", "5");
    assert_eq!(
        ask(&world, r#"{"type":"fact","key":"n","value":3,"operator":"gt"}"#),
        r#"{"goal":{"type":"fact","key":"n","value":3,"operator":"gt"},"achievable":true,"proof":{"type":"fact_exists","key":"n","currentValue":5,"satisfied":true},"exploredRules":0,"maxDepthReached":false}"#
    );
    for (more, expected) in [
        ("", true),
        (r#","value":5"#, true),
        (r#","value":5,"operator":"neq""#, false),
        (r#","value":5,"operator":"lte""#, true),
    ] {
        assert_eq!(outcome(&world, &fact("n", more)).0, expected, "{more}");
    }
    for no_goal in
        ["1", r#"{"type":"fact"}"#, r#"{"type":"fact","key":"a","operator":"in"}"#, r#"{"type":"x"}"#]
    {
        assert!(Goal::parse(&json(no_goal)).is_none(), "{no_goal}");
    }
}

#[test]
fn parts_of_a_goal_carry_operator_and_value() {
    let mut world = World::new();
    world.rule(&setter("low", "points", "50", &[]));
    world.rule(&setter("gold", "tier", r#""gold""#, &[("points", "gte", "100")]));
    assert_eq!(outcome(&world, &fact("tier", "")), (false, 1, Some("all_paths_failed".into())));
    world.rule(&setter("high", "points", "200", &[]));
    assert_eq!(outcome(&world, &fact("tier", "")), (true, 2, None));
    world.engine.disable_rule(T, "high").expect("registered");
    assert!(!outcome(&world, &fact("tier", "")).0, "a disabled rule does nothing");
}

#[test]
fn nested_actions_count_and_events_too() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"n","trigger":{"type":"event","topic":"t"},"actions":[
            {"type":"for_each","collection":[1],"as":"x","actions":[{"type":"set_fact","key":"each:${var.x}","value":1}]},
            {"type":"try_catch","try":[{"type":"emit_event","topic":"tried.${event.a}","data":{}}],
             "catch":{"actions":[{"type":"set_fact","key":"caught","value":1}]},
             "finally":[{"type":"set_fact","key":"finally","value":1}]},
            {"type":"conditional","conditions":[{"source":{"type":"event","field":"a"},"operator":"exists"}],
             "then":[{"type":"set_fact","key":"then","value":1}],"else":[{"type":"emit_event","topic":"else","data":{}}]}]}"#,
    );
    for key in ["each:7", "caught", "finally", "then"] {
        assert_eq!(outcome(&world, &fact(key, "")), (true, 1, None), "{key}");
    }
    for (topic, expected) in [("tried.x", true), ("else", true), ("then", false)] {
        let goal = format!(r#"{{"type":"event","topic":"{topic}"}}"#);
        assert_eq!(outcome(&world, &goal).0, expected, "{topic}");
    }
}

#[test]
fn conditions_on_what_has_not_happened_do_not_hold() {
    let mut world = World::new();
    for (id, source) in [
        ("event", r#"{"type":"event","field":"a"}"#),
        ("context", r#"{"type":"context","key":"a"}"#),
        ("fact", r#"{"type":"fact","pattern":"none"}"#),
    ] {
        world.rule(&format!(
            r#"{{"id":"{id}","trigger":{{"type":"event","topic":"t"}},
                "conditions":[{{"source":{source},"operator":"not_exists"}}],
                "actions":[{{"type":"set_fact","key":"by:{id}","value":1}}]}}"#
        ));
    }
    assert!(!outcome(&world, &fact("by:event", "")).0);
    assert!(outcome(&world, &fact("by:context", "")).0);
    assert!(ask(&world, &fact("by:fact", "")).contains(
        r#""conditions":[{"source":"fact:none","operator":"not_exists","satisfied":true}],"children":[]"#
    ));
}

#[test]
fn wildcards_ask_for_any_fact() {
    let mut world = World::new();
    world.rule(&setter("any", "hit", "1", &[("c:*:points", "gt", "1")]));
    assert_eq!(outcome(&world, &fact("hit", "")), (false, 1, Some("all_paths_failed".into())));
    world.rule(&setter("other", "c:1:points:x", "5", &[]));
    assert!(!outcome(&world, &fact("hit", "")).0);
    world.rule(&setter("points", "c:1:points", "5", &[]));
    assert!(outcome(&world, &fact("hit", "")).0);
}

#[test]
fn priority_decides_and_cycles_end() {
    let mut world = World::new();
    world.rule(&setter("a", "x", "1", &[("y", "eq", "1")]));
    world.rule(&setter("b", "y", "1", &[("x", "eq", "1")]));
    assert_eq!(outcome(&world, &fact("x", "")), (false, 3, Some("all_paths_failed".into())));
    let mut free = setter("c", "y", "1", &[]);
    free.insert_str(1, r#""priority":5,"#);
    world.rule(&free);
    assert_eq!(outcome(&world, &fact("x", "")), (true, 2, None), "the rule of higher priority comes first");
}

#[test]
fn depth_and_rules_are_bounded() {
    let mut world = World::new();
    for i in 0..12 {
        world.rule(&setter(&format!("r{i}"), &format!("f{i}"), "1", &[(&format!("f{}", i + 1), "eq", "1")]));
    }
    world.rule(&setter("last", "f12", "1", &[]));
    let answer = world.engine.query(&Goal::parse(&json(&fact("f0", ""))).expect("a goal"));
    assert_eq!((answer.achievable, answer.explored_rules, answer.max_depth_reached), (false, 10, true));
    let answer = world.engine.query(&Goal::parse(&json(&fact("f3", ""))).expect("a goal"));
    assert_eq!((answer.achievable, answer.explored_rules, answer.max_depth_reached), (true, 10, false));

    for (limits, explored_max) in [
        (BackwardLimits { explored_rules_max: 5, ..BackwardLimits::default() }, 5),
        (BackwardLimits { work_max: 12, ..BackwardLimits::default() }, 12),
        (BackwardLimits { work_max: 0, ..BackwardLimits::default() }, 0),
        (BackwardLimits { depth_max: 0, ..BackwardLimits::default() }, 0),
    ] {
        let mut world = World::with(EngineOptions { backward: limits, ..EngineOptions::default() });
        for i in 0..50 {
            world.rule(&setter(&format!("r{i}"), "f", "1", &[("none", "eq", "1")]));
        }
        let answer = world.engine.query(&Goal::parse(&json(&fact("f", ""))).expect("a goal"));
        assert!(!answer.achievable && answer.explored_rules <= explored_max, "{limits:?} {answer:?}");
        let cut = answer.to_value().to_json().contains(r#""details":"A limit of the search was reached""#);
        assert_eq!(cut, limits.depth_max > 0, "{limits:?}");
    }
}

fn key() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("a"),
        Just("a:b"),
        Just("a:*"),
        Just("*"),
        Just("**"),
        Just("a:${event.x}"),
        Just("${fact.a}"),
        Just("${event.x}:*"),
        Just("b")
    ]
}

fn value() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("1"),
        Just("null"),
        Just("\"a\""),
        Just("[1]"),
        Just(r#"{"ref":"event.x"}"#),
        Just(r#"{"ref":"fact.a"}"#)
    ]
}

fn operator() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("eq"),
        Just("neq"),
        Just("gte"),
        Just("in"),
        Just("contains"),
        Just("matches"),
        Just("exists"),
        Just("not_exists")
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_query_ends_within_its_bounds_and_changes_nothing(
        rules in prop::collection::vec(
            (key(), value(), prop::collection::vec((key(), operator(), value()), 0..4)), 0..20),
        facts in prop::collection::vec((key(), "[0-9]"), 0..4),
        goal in key(),
        depth_max in 0..100_usize,
    ) {
        let backward = BackwardLimits { depth_max, ..BackwardLimits::default() };
        let mut world = World::with(EngineOptions { backward, ..EngineOptions::default() });
        for (i, (key, value, conditions)) in rules.iter().enumerate() {
            world.rule(&setter(&format!("r{i}"), key, value, conditions));
        }
        for (key, value) in &facts {
            world.set(key, value);
        }
        let before = (world.facts(), world.counts());
        for goal in [fact(goal, ""), fact(goal, r#","value":1"#), format!(r#"{{"type":"event","topic":"{goal}"}}"#)] {
            let answer = world.engine.query(&Goal::parse(&json(&goal)).expect("a goal"));
            prop_assert!(answer.explored_rules <= 100);
            prop_assert_eq!(answer.to_value().to_json(), ask(&world, &goal));
        }
        prop_assert_eq!((world.facts(), world.counts()), before);
    }
}
