use super::*;
use crate::{EngineOptions, Random};
use noex_json::parse;

struct Zeros;

impl Random for Zeros {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

fn engine(limits: VersioningLimits) -> Engine {
    Engine::new(EngineOptions { versioning: Some(limits), ..EngineOptions::default() }, Box::new(Zeros))
}

fn rule(id: &str) -> Object {
    let text = format!(r#"{{"id":"{id}","name":"r","trigger":{{"type":"event","topic":"t"}}}}"#);
    parse(&text, 64).expect("valid").as_object().cloned().expect("an object")
}

fn numbers(engine: &Engine, id: &str) -> Vec<u64> {
    let page = engine.rule_versions(id, &VersionQuery::default()).expect("on");
    page.entries.iter().map(|version| version.version).collect()
}

/// What is counted is what is there, and no rule without history is left behind.
fn check(engine: &Engine) {
    let versions = &engine.versions;
    let kept = || versions.histories.values().flat_map(|history| &history.kept);
    assert_eq!(versions.by_age.len(), kept().count());
    assert_eq!(versions.bytes, kept().map(|kept| kept.bytes).sum::<usize>());
    assert!(kept().all(|kept| versions.by_age.contains_key(&kept.sequence)));
    for (id, history) in &versions.histories {
        assert!(!history.kept.is_empty() || engine.registry.get(id).is_some());
        assert_eq!(history.unregistered.is_some(), engine.registry.get(id).is_none());
    }
    let gone = versions.histories.values().filter(|history| history.unregistered.is_some());
    assert_eq!(versions.unregistered.len(), gone.count());
}

#[test]
fn a_rule_keeps_its_newest_versions() {
    let mut engine = engine(VersioningLimits { versions_per_rule_max: 3, ..VersioningLimits::default() });
    engine.register_rule(1, rule("a")).expect("valid");
    for now in 2..10 {
        engine.disable_rule(now, "a").expect("registered");
    }
    check(&engine);
    assert_eq!(numbers(&engine, "a"), [9, 8, 7]);
    let stats = engine.stats().versioning.expect("on");
    assert_eq!((stats.rules, stats.versions, stats.evicted), (1, 3, 6));
}

#[test]
fn versions_grow_too_old() {
    let mut engine = engine(VersioningLimits { age_max_ms: 10, ..VersioningLimits::default() });
    engine.register_rule(1, rule("a")).expect("valid");
    engine.register_rule(5, rule("b")).expect("valid");
    engine.unregister_rule(6, "b").expect("registered");
    let _ = engine.advance(11);
    assert_eq!(numbers(&engine, "a"), [1]);
    let _ = engine.advance(12);
    assert_eq!(numbers(&engine, "a"), [0; 0], "not shown, though nothing has removed it yet");
    engine.register_rule(100, rule("c")).expect("valid");
    check(&engine);
    assert_eq!(engine.stats().versioning.map(|stats| (stats.rules, stats.versions)), Some((2, 1)));
    engine.enable_rule(101, "a").expect("registered");
    assert_eq!(numbers(&engine, "a"), [2], "numbers go on while the rule is registered");
}

#[test]
fn rules_that_left_are_limited() {
    let mut engine = engine(VersioningLimits { unregistered_rules_max: 2, ..VersioningLimits::default() });
    for id in ["a", "b", "c"] {
        engine.register_rule(1, rule(id)).expect("valid");
    }
    for id in ["b", "a"] {
        engine.unregister_rule(2, id).expect("registered");
    }
    engine.register_rule(3, rule("b")).expect("valid");
    engine.unregister_rule(3, "c").expect("registered");
    check(&engine);
    assert_eq!(numbers(&engine, "b"), [3, 2, 1]);
    engine.unregister_rule(4, "b").expect("registered");
    check(&engine);
    assert_eq!(numbers(&engine, "a"), [0; 0], "the first to leave is forgotten");
    assert_eq!((numbers(&engine, "c"), numbers(&engine, "b")), (vec![2, 1], vec![4, 3, 2, 1]));
}

#[test]
fn memory_is_limited() {
    let limits = VersioningLimits { bytes_max: 5000, ..VersioningLimits::default() };
    let mut engine = engine(limits);
    for i in 0..50 {
        engine.register_rule(i, rule(&format!("r{i}"))).expect("valid");
        check(&engine);
        assert!(engine.versions.bytes <= limits.bytes_max);
    }
    assert!(numbers(&engine, "r0").is_empty());
    assert_eq!(numbers(&engine, "r49"), [1]);
}
