//! The subcommands on data, as a shell sees them: output, exit code, files.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs the binary in a folder and gives exit code, standard output and standard error.
fn run(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_noex-server"))
        .args(args)
        .current_dir(folder)
        .output()
        .expect("started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Writes an export by hand.
fn export_of_two_records(folder: &Path) {
    fs::create_dir_all(folder.join("in/buckets")).expect("folder");
    let write = |name: &str, text: &str| fs::write(folder.join("in").join(name), text).expect("written");
    write("export.json", "{\"format\":\"noex-export\",\"version\":1}\n");
    write(
        "buckets.jsonl",
        r#"{"name":"users","file":"users.jsonl","definition":{"key":"id","schema":{}},"counter":2}"#,
    );
    write("buckets/users.jsonl", "{\"id\":1}\n{\"id\":2}\n");
    write("queries.jsonl", "");
    write("kept.jsonl", "{\"space\":\"fact\",\"key\":\"a\",\"value\":1}\n");
}

#[test]
fn data_goes_round() {
    let folder = tempfile::tempdir().expect("folder");
    export_of_two_records(folder.path());
    let all = "1 buckets, 2 records, 0 queries, 1 other entries\n";
    for (args, said) in [
        (vec!["import", "--from", "in", "--db", "a.db"], format!("a.db: {all}")),
        (vec!["check", "--db", "a.db"], format!("OK: {all}")),
        (vec!["backup", "--db", "a.db", "--to", "copy.db"], format!("copy.db: {all}")),
        (vec!["restore", "--from", "copy.db", "--db", "b.db"], format!("b.db: {all}")),
        (vec!["export", "--db", "b.db", "--to", "out"], format!("out: {all}")),
    ] {
        // No bar where there is no terminal.
        assert_eq!(run(folder.path(), &args), (Some(0), said, String::new()), "{args:?}");
    }
    for name in ["buckets/users.jsonl", "kept.jsonl", "queries.jsonl", "export.json"] {
        let read = |of: &str| fs::read_to_string(folder.path().join(of).join(name)).expect("read");
        assert_eq!(read("in"), read("out"), "{name}");
    }
    for args in [
        vec!["import", "--from", "in", "--db", "a.db"],
        vec!["backup", "--db", "a.db", "--to", "copy.db"],
        vec!["restore", "--from", "copy.db", "--db", "b.db"],
        vec!["export", "--db", "b.db", "--to", "out"],
    ] {
        let (code, out, error) = run(folder.path(), &args);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{args:?}");
        assert!(
            error.starts_with("Error: ") && error.ends_with(" exists already and is not overwritten\n"),
            "{error}"
        );
    }
}

#[test]
fn damage_is_found() {
    let folder = tempfile::tempdir().expect("folder");
    export_of_two_records(folder.path());
    run(folder.path(), &["import", "--from", "in", "--db", "a.db"]);
    let path = folder.path().join("a.db");
    let mut bytes = fs::read(&path).expect("read");
    let last = bytes.len() - 4096;
    bytes[last..last + 12].fill(0x55);
    fs::write(&path, bytes).expect("written");
    let (code, out, error) = run(folder.path(), &["check", "--db", "a.db"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(error.starts_with("Error: "), "{error}");
    let (code, _, error) = run(folder.path(), &["backup", "--db", "a.db", "--to", "copy.db"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("copy.db-new: the database is damaged"), "{error}");
    assert!(!folder.path().join("copy.db").exists());
}

#[test]
fn mistakes_on_the_command_line_have_their_own_code() {
    let folder = tempfile::tempdir().expect("folder");
    for args in [vec!["backup", "--db", "a.db"], vec!["check", "a.db"], vec!["export", "--nope"]] {
        let (code, out, error) = run(folder.path(), &args);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}");
        assert!(error.contains("Usage: noex-server "), "{error}");
    }
    let (code, out, _) = run(folder.path(), &["import-node", "--help"]);
    assert!(code == Some(0) && out.contains("--store <NAME>"), "{out}");
    let (code, _, error) = run(folder.path(), &["check", "--db", "none.db"]);
    assert_eq!((code, error.as_str()), (Some(1), "Error: none.db: there is no such file\n"));
    // What is no command is an argument of the server, as before.
    let (code, _, error) = run(folder.path(), &["checks"]);
    assert!(code == Some(1) && error.starts_with("Error: Unexpected argument \"checks\"\n"), "{error}");
}
