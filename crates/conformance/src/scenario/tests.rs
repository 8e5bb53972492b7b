//! Tests of the list of waiting scenarios, and of the scenario files themselves.

use regex::Regex;

use super::*;

fn all() -> Vec<Scenario> {
    std::fs::read_dir(group_folder(""))
        .unwrap()
        .flat_map(|group| Scenario::load_folder(&group.unwrap().path()).unwrap())
        .collect()
}

/// Collects the values of a key wherever it occurs.
fn values_of<'a>(key: &str, value: &'a Value, out: &mut Vec<&'a Value>) {
    match value {
        Value::Object(members) => {
            out.extend(members.get(key));
            members.values().for_each(|member| values_of(key, member, out));
        }
        Value::Array(items) => items.iter().for_each(|item| values_of(key, item, out)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn all_scenarios_can_be_played_and_their_expressions_compile() {
    let scenarios = all();
    assert!(scenarios.len() > 100, "{}", scenarios.len());
    let mut expressions = 0;
    for scenario in &scenarios {
        assert!(!scenario.steps().is_empty(), "{}", scenario.id());
        for step in scenario.steps() {
            assert!(crate::play::is_known_step(step), "{}: {step}", scenario.id());
            let mut found = Vec::new();
            values_of("$regex", step, &mut found);
            for expression in found {
                expressions += 1;
                assert!(Regex::new(expression.as_str().unwrap()).is_ok(), "{}: {expression}", scenario.id());
            }
        }
    }
    assert!(expressions > 20, "{expressions}");
}

#[test]
fn ids_are_unique_and_every_waiting_scenario_exists() {
    let mut ids: Vec<String> = all().iter().map(Scenario::id).collect();
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
    for id in Waiting::own().ids() {
        assert!(ids.iter().any(|known| known == id), "{id} does not exist");
    }
}

#[test]
fn waiting_lists_are_read_strictly() {
    let list = Waiting::parse("# head\n\n a/b : rule engine # why\nc/d:procedures").unwrap();
    assert_eq!(list.ids().collect::<Vec<_>>(), ["a/b", "c/d"]);
    let scenario = |file: &str| Scenario::parse(PathBuf::from(file), r#"{"steps": []}"#).unwrap();
    assert_eq!(list.feature(&scenario("x/a/b.json")), Some("rule engine"));
    assert_eq!(list.feature(&scenario("x/b/a.json")), None);
    for broken in ["a/b", "a/b:", "ab: rules", "a/b: x\na/b: y"] {
        assert!(Waiting::parse(broken).is_err(), "{broken}");
    }
}

#[test]
fn what_is_no_scenario_is_refused() {
    for text in ["{}", r#"{"steps": 1}"#, "[]", "{"] {
        assert!(Scenario::parse(PathBuf::from("g/s.json"), text).is_err(), "{text}");
    }
    assert!(Scenario::load(Path::new("no/such/file.json")).is_err());
    assert!(Scenario::load_folder(&group_folder("no-such-group")).is_err());
}
