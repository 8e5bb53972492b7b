//! The history of rules: example 39 with its target, and what the description adds.

use crate::support::{T, World, json, object};
use noex_json::Value;
use noex_rules::{
    ChangeType, Engine, EngineOptions, RulesError, VersionOrder, VersionQuery, VersioningLimits,
};

const V: &str = r#"{"id":"v","trigger":{"type":"event","topic":"p"},"actions":[]}"#;

fn world() -> World {
    World::with(EngineOptions { versioning: Some(VersioningLimits::default()), ..EngineOptions::default() })
}

fn member(value: &Value, name: &str) -> Option<String> {
    value.as_object()?.get(name).map(Value::to_json)
}

fn line(value: &Value, names: &[&str]) -> String {
    let rule = value.as_object().and_then(|version| version.get("ruleSnapshot")).expect("a snapshot");
    let of = |name: &&str| match name.strip_prefix("rule.") {
        Some(name) => member(rule, name),
        None => member(value, name),
    };
    names.iter().filter_map(of).collect::<Vec<_>>().join(",")
}

fn history(engine: &Engine, id: &str, query: &VersionQuery, names: &[&str]) -> Vec<String> {
    let page = engine.rule_versions(id, query).expect("on");
    page.entries.iter().map(|version| line(&version.to_value(), names)).collect()
}

fn changes(engine: &Engine, id: &str, query: &VersionQuery) -> Vec<String> {
    history(engine, id, query, &["version", "changeType"])
}

#[test]
fn example_39_versioning_and_rollback() {
    let mut world = world();
    world.rule(V);
    let engine = &mut world.engine;
    engine.update_rule(T, "v", &object(r#"{"priority":3}"#)).expect("valid");
    engine.disable_rule(T, "v").expect("registered");
    let names = ["version", "changeType", "rule.version", "rule.priority", "rule.enabled"];
    assert_eq!(
        history(engine, "v", &VersionQuery::default(), &names),
        [r#"3,"disabled",2,3,false"#, r#"2,"updated",2,3,true"#, r#"1,"registered",1,0,true"#]
    );
    assert_eq!(
        engine.diff_rule_versions("v", 1, 3).expect("both exist").to_value().to_json(),
        r#"{"ruleId":"v","fromVersion":1,"toVersion":3,"changes":[{"field":"priority","oldValue":0,"newValue":3},{"field":"enabled","oldValue":true,"newValue":false}]}"#
    );
    let stamp = engine.rollback_rule(T + 5, "v", 1).expect("exists");
    assert_eq!((stamp.version, stamp.created_at, stamp.updated_at), (3, T, T + 5));
    let rule = engine.get_rule("v").expect("registered");
    let members = ["version", "priority", "enabled"].map(|name| member(&rule, name).expect("a member"));
    assert_eq!(members, ["3", "0", "true"]);
    let newest = VersionQuery { limit: 1, ..VersionQuery::default() };
    let names = ["version", "changeType", "rolledBackFrom"];
    assert_eq!(history(engine, "v", &newest, &names), [r#"4,"rolled_back",2"#]);
    let error = engine.rollback_rule(T, "v", 99).expect_err("no such version");
    assert_eq!(error.to_string(), "Version 99 not found for rule 'v'");
    assert_eq!(changes(engine, "v", &VersionQuery::default()).len(), 4, "a refusal leaves nothing behind");
}

#[test]
fn a_version_has_the_shape_of_the_description() {
    let mut world = world();
    world.rule(V);
    let snapshot = world.engine.get_rule("v").expect("registered").to_json();
    let page = world.engine.rule_versions("v", &VersionQuery::default()).expect("on").to_value().to_json();
    assert_eq!(
        page,
        format!(
            r#"{{"entries":[{{"version":1,"ruleSnapshot":{snapshot},"timestamp":{T},"changeType":"registered"}}],"totalVersions":1,"hasMore":false}}"#
        )
    );
    let stats = world.engine.stats().to_value();
    assert_eq!(
        member(&stats, "versioning").as_deref(),
        Some(r#"{"enabled":true,"rulesCount":1,"versionsCount":1}"#)
    );
}

#[test]
fn versions_can_be_selected() {
    let mut world = world();
    world.rule(V);
    let engine = &mut world.engine;
    engine.disable_rule(T + 10, "v").expect("registered");
    engine.enable_rule(T + 20, "v").expect("registered");
    engine.update_rule(T + 30, "v", &object(r#"{"name":"w"}"#)).expect("valid");
    engine.unregister_rule(T + 40, "v").expect("registered");
    let all = VersionQuery { order: VersionOrder::Ascending, ..VersionQuery::default() };
    assert_eq!(
        changes(engine, "v", &all),
        [r#"1,"registered""#, r#"2,"disabled""#, r#"3,"enabled""#, r#"4,"updated""#, r#"5,"unregistered""#]
    );
    let page = VersionQuery { limit: 2, offset: 2, ..all.clone() };
    let found = engine.rule_versions("v", &page).expect("on");
    assert_eq!((found.entries.len(), found.total_versions, found.has_more), (2, 5, true));
    let page = VersionQuery { offset: 3, ..page };
    assert!(!engine.rule_versions("v", &page).expect("on").has_more);
    for (query, expected) in [
        (VersionQuery { from_version: Some(2), to_version: Some(3), ..all.clone() }, 2),
        (VersionQuery { from: Some(T + 10), to: Some(T + 30), ..all.clone() }, 3),
        (
            VersionQuery {
                change_types: Some(vec![ChangeType::Enabled, ChangeType::Disabled]),
                ..all.clone()
            },
            2,
        ),
        (VersionQuery { change_types: Some(Vec::new()), ..all.clone() }, 0),
        (VersionQuery { offset: usize::MAX, ..all.clone() }, 0),
    ] {
        assert_eq!(changes(engine, "v", &query).len(), expected, "{query:?}");
    }
    assert_eq!(changes(engine, "unknown", &all), [""; 0]);
}

#[test]
fn a_rule_comes_back_after_it_was_removed() {
    let mut world = world();
    world.rule(
        r#"{"id":"v","trigger":{"type":"event","topic":"go"},
            "actions":[{"type":"set_fact","key":"hit","value":1}]}"#,
    );
    let engine = &mut world.engine;
    engine.create_group(T, "G", "Group", None).expect("created");
    engine.update_rule(T, "v", &object(r#"{"group":"G","lookups":[]}"#)).expect("valid");
    let diff = engine.diff_rule_versions("v", 1, 2).expect("both exist").to_value();
    assert_eq!(
        member(&diff, "changes").as_deref(),
        Some(r#"[{"field":"group","newValue":"G"},{"field":"lookups","newValue":[]}]"#)
    );
    engine.unregister_rule(T, "v").expect("registered");
    engine.delete_group(T, "G").expect("running");
    let error = engine.rollback_rule(T, "v", 2).expect_err("its group is no more");
    assert_eq!(error, RulesError::UnknownGroup("G".into()));
    let stamp = engine.rollback_rule(T + 7, "v", 1).expect("exists");
    assert_eq!((stamp.version, stamp.created_at), (3, T + 7));
    engine.emit(T + 7, "go", object("{}"), None, None).expect("running");
    assert_eq!(engine.get_fact("hit").map(|fact| &fact.value), Some(&json("1")));
    let newest = engine.rule_version("v", 4).expect("exists");
    assert_eq!((newest.change_type, newest.rolled_back_from), (ChangeType::RolledBack, None));
    assert_eq!(newest.description.as_deref(), Some("Rolled back to version 1"));
}

#[test]
fn nothing_is_kept_unless_asked_for() {
    let mut world = World::new();
    world.rule(V);
    let engine = &mut world.engine;
    for error in [
        engine.rule_versions("v", &VersionQuery::default()).err(),
        engine.rule_version("v", 1).err(),
        engine.diff_rule_versions("v", 1, 1).err(),
        engine.rollback_rule(T, "v", 1).err(),
    ] {
        assert_eq!(error.expect("off").to_string(), "Rule versioning is not configured");
    }
    assert_eq!(engine.stats().versioning, None);
    assert_eq!(member(&engine.stats().to_value(), "versioning"), None);
}
