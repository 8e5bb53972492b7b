//! What the binary says when it cannot start.

use std::process::Command;

/// Runs `--check` with a config file and gives exit code and standard error.
fn check(name: &str, config: &str) -> (Option<i32>, String) {
    let path = std::env::temp_dir().join(format!("noex-start-{}-{name}.json", std::process::id()));
    std::fs::write(&path, config).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_noex-server"))
        .args(["--check", "--config"])
        .arg(&path)
        .output()
        .expect("started");
    std::fs::remove_file(&path).expect("removed");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn all_problems_are_reported_at_once() {
    let config = r#"{"port": -5, "audit": true,
        "buckets": {"a": {"key": "id", "schema": {"id": {"type": "zz"}}}},
        "queries": {"q": {"bucket": "none"}}, "rules": {"rules": [{"id": "r"}]}}"#;
    let (code, text) = check("all", config);
    assert_eq!(code, Some(1));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "Error: Invalid port: -5 (must be integer 0-65535)",
            r#"Error: buckets.a: Invalid schema for bucket "a": field "id": unknown type "zz""#,
            r#"Error: queries.q: Bucket "none" is not defined"#,
            r#"Error: rules.rules[0].name: Required field "name" is missing"#,
            r#"Error: rules.rules[0].trigger: Required field "trigger" is missing"#,
        ]
    );
}

#[test]
fn what_is_wrong_is_said_once_and_warnings_with_it() {
    let procedure = |name: &str| {
        format!(
            r#"{{"name": "{name}", "steps": [{{"action": "store.count", "bucket": "_users", "as": "n"}}]}}"#
        )
    };
    let config = format!(
        r#"{{"Port": 1, "port": -1, "auth": {{"builtIn": true, "adminSecret": "a-long-secret-of-admins"}},
            "buckets": {{"b": null}}, "queries": {{"q": 1}}, "procedures": {{"definitions": [{}]}}}}"#,
        procedure("p")
    );
    let (code, text) = check("once", &config);
    assert_eq!(code, Some(1));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            r#"Warning: unknown config key "Port""#,
            "Error: Invalid port: -1 (must be integer 0-65535)",
            "Error: Invalid buckets.b: null (must be object)",
            "Error: Invalid queries.q: 1 (must be object)",
            r#"Error: procedures.definitions[0]: Cannot access system bucket "_users" directly"#,
        ]
    );
}

#[test]
fn names_that_requests_could_not_use_are_refused() {
    let bucket = r#"{"key": "id", "schema": {"id": {"type": "string"}}}"#;
    let config = |max: usize| {
        format!(
            r#"{{"limits": {{"maxNameLength": {max}}}, "buckets": {{"bbb": {bucket}}}, "queries": {{"qqq": {{"bucket": "bbb"}}}},
                "rules": {{"facts": {{"ää:ä": 1}}, "rules": [{{"id": "rrr", "name": "r", "trigger": {{"type": "event", "topic": "t"}}, "actions": []}}]}},
                "procedures": {{"definitions": [{{"name": "ppp", "steps": [{{"action": "store.count", "bucket": "bbb", "as": "n"}}]}}]}}}}"#
        )
    };
    assert_eq!(check("fits", &config(4)), (Some(0), String::new()));
    let (code, text) = check("too-long", &config(2));
    assert_eq!(code, Some(1));
    let places =
        ["buckets.bbb", "queries.qqq", "rules.facts.ää:ä", "rules.rules[0]", "procedures.definitions[0]"];
    let expected = places.map(|place| format!("Error: {place}: name must have at most 2 characters\n"));
    assert_eq!(text, expected.concat());
    let (_, text) = check("empty", r#"{"rules": {"facts": {"": 1}}}"#);
    assert_eq!(text, "Error: rules.facts: a name must not be empty\n");
}

#[test]
fn a_good_file_passes_and_an_unreadable_one_is_named() {
    let (code, text) = check("good", r#"{"rules": {"facts": {"a": 1}}}"#);
    assert_eq!((code, text.as_str()), (Some(0), ""));
    let (code, text) = check("bad", "[]");
    assert_eq!(code, Some(1));
    assert_eq!(text, "Error loading config file: Config file must contain a JSON object\n");
}
