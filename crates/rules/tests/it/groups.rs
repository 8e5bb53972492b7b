//! Groups: example 38 with its target, and what the description adds.

use crate::support::{T, World, json, object};
use noex_rules::{EngineOptions, GroupUpdate, LimitKind, RulesError};

const G1: &str = r#"{"id":"g1","name":"g","group":"G","trigger":{"type":"event","topic":"go"},
    "actions":[{"type":"set_fact","key":"hit","value":1}]}"#;

#[test]
fn a_group_decides_over_its_rules() {
    let mut world = World::new();
    let engine = &mut world.engine;
    let error = engine.register_rule(T, object(G1)).expect_err("no such group");
    assert_eq!(error.to_string(), r#"Rule references non-existent group: "G""#);
    let group = engine.create_group(T, "G", "Group", None).expect("created").to_value().to_json();
    assert_eq!(
        group,
        format!(r#"{{"id":"G","name":"Group","enabled":true,"createdAt":{T},"updatedAt":{T}}}"#)
    );
    let error = engine.create_group(T, "G", "Again", None).expect_err("exists");
    assert_eq!(error.to_string(), r#"Group "G" already exists"#);
    engine.register_rule(T, object(G1)).expect("registered");

    assert_eq!(engine.disable_group(T, "G"), Ok(true));
    engine.emit(T, "go", object("{}"), None, None).expect("running");
    assert!(engine.get_fact("hit").is_none());
    let rule = engine.get_rule("g1").expect("registered");
    assert_eq!(rule.as_object().and_then(|rule| rule.get("enabled")), Some(&json("true")));

    assert_eq!(engine.enable_group(T, "G"), Ok(true));
    engine.emit(T, "go", object("{}"), None, None).expect("running");
    assert_eq!(engine.get_fact("hit").map(|fact| fact.value.to_json()).as_deref(), Some("1"));

    assert_eq!(engine.rules_of_group("G").collect::<Vec<_>>(), ["g1"]);
    assert_eq!(engine.delete_group(T, "G"), Ok(true));
    let rule = engine.get_rule("g1").expect("still registered");
    assert!(rule.as_object().is_some_and(|rule| !rule.contains("group")));
    assert_eq!(engine.delete_group(T, "G"), Ok(false));
}

#[test]
fn a_rule_needs_both_itself_and_its_group() {
    let mut world = World::new();
    let engine = &mut world.engine;
    engine.create_group(T, "G", "Group", Some("text")).expect("created");
    engine.disable_group(T, "G").expect("running");
    engine.register_rule(T, object(G1)).expect("a disabled group takes rules");
    engine.disable_rule(T, "g1").expect("registered");
    let hits = |engine: &mut noex_rules::Engine| {
        engine.delete_fact(T, "hit").expect("running");
        engine.emit(T, "go", object("{}"), None, None).expect("running");
        engine.get_fact("hit").is_some()
    };
    assert!(!hits(engine));
    engine.enable_group(T, "G").expect("running");
    assert!(!hits(engine), "the rule itself is disabled");
    engine.enable_rule(T, "g1").expect("registered");
    assert!(hits(engine));
    engine.update_rule(T, "g1", &object(r#"{"priority":3}"#)).expect("valid");
    let update = GroupUpdate { enabled: Some(false), name: Some("New".into()), ..GroupUpdate::default() };
    let group = engine.update_group(T + 5, "G", update).expect("exists");
    assert_eq!(
        (group.name.as_str(), group.description.as_deref(), group.updated_at),
        ("New", Some("text"), T + 5)
    );
    assert!(!hits(engine));
    engine.delete_group(T, "G").expect("running");
    assert!(hits(engine), "without its group the rule goes by itself");
    let error = engine.update_group(T, "G", GroupUpdate::default()).expect_err("gone");
    assert_eq!(error, RulesError::GroupNotFound("G".into()));
}

#[test]
fn groups_are_limited() {
    let mut world = World::with(EngineOptions { groups_max: 1, ..EngineOptions::default() });
    world.engine.create_group(T, "a", "a", None).expect("room");
    let error = world.engine.create_group(T, "b", "b", None).expect_err("full");
    assert_eq!(error, RulesError::LimitReached { kind: LimitKind::Groups, max: 1 });
}
