//! What the binary keeps: acknowledged writes survive its death.

mod common;

use common::{Client, Server};
use serde_json::{Value, json};
use std::{fs, process::Command};

#[test]
fn acknowledged_writes_survive_the_death_of_the_process() {
    for (kind, place) in [("sqlite", json!({"db": "data.db"})), ("file", json!({"dataDir": "data/deep"}))] {
        let folder = tempfile::tempdir().expect("folder");
        let mut config = json!({
            "persistence": kind, "rules": {"persistent": true},
            "buckets": {"own": {"key": "id", "schema": {
                "id": {"type": "number", "generated": "autoincrement"}, "n": {"type": "number"},
            }}},
        });
        for (name, value) in place.as_object().into_iter().flatten() {
            config[name] = value.clone();
        }
        for round in 1..=3 {
            let server = Server::start(folder.path(), &config);
            let mut client = Client::connect(&server);
            assert_eq!(client.ok("store.count", json!({"bucket": "own"})), round - 1, "{kind}");
            let inserted = client.ok("store.insert", json!({"bucket": "own", "data": {"n": 7}}));
            assert_eq!((&inserted["id"], &inserted["_version"]), (&json!(round), &json!(1)), "{kind}");
            let before = client.ok("rules.getFact", json!({"key": "round"}));
            assert_eq!(before, if round == 1 { Value::Null } else { json!(round - 1) }, "{kind}");
            client.ok("rules.setFact", json!({"key": "round", "value": round}));
        }
    }
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let database = folder.path().join("noex.db");
    fs::write(&database, "not a database at all, but long enough to look like one").expect("written");
    let config = json!({"persistence": "sqlite", "db": "noex.db"});
    fs::write(folder.path().join("config.json"), config.to_string()).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_noex-server"))
        .args(["--host", "127.0.0.1", "--port", "0", "--log-level", "error", "--config", "config.json"])
        .current_dir(folder.path())
        .output()
        .expect("started");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.starts_with("Error: Failed to initialize sqlite persistence: "), "{text}");
    let left = fs::read_to_string(&database).expect("still there");
    assert!(left.starts_with("not a database"));
}
