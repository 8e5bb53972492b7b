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
fn a_good_file_passes_and_an_unreadable_one_is_named() {
    let (code, text) = check("good", r#"{"rules": {"facts": {"a": 1}}}"#);
    assert_eq!((code, text.as_str()), (Some(0), ""));
    let (code, text) = check("bad", "[]");
    assert_eq!(code, Some(1));
    assert_eq!(text, "Error loading config file: Config file must contain a JSON object\n");
}
