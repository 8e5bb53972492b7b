//! Accounts that are kept: across the death of the process, and by commands on a stopped server's data.

mod common;

use common::{Client, Server};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

const SECRET: &str = "a-long-administrators-secret";

/// Starts a server with accounts in a folder.
fn start(folder: &Path) -> Server {
    let config = json!({
        "persistence": "sqlite", "db": "noex.db",
        "auth": {"builtIn": true, "adminSecret": SECRET}, "audit": {},
        "buckets": {"items": {"key": "id", "schema": {"id": {"type": "string"}}}},
    });
    Server::start(folder, &config)
}

fn login(server: &Server, name: &str, password: &str) -> Value {
    Client::connect(server).ask("identity.login", json!({"username": name, "password": password}))
}

/// Runs `noex-server user` in a folder with a standard input; gives exit code, standard output, standard error.
fn user(folder: &Path, args: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_noex-server"))
        .arg("user")
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    // It may have ended before it read anything.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("ended");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn done(said: &str) -> (Option<i32>, String, String) {
    (Some(0), format!("{said}\n"), String::new())
}

fn refused(said: &str) -> (Option<i32>, String, String) {
    (Some(1), String::new(), format!("Error: {said}\n"))
}

#[test]
fn the_first_administrator_is_made_before_the_first_start() {
    let folder = tempfile::tempdir().expect("folder");
    let at = folder.path();
    let create = ["create", "--db", "noex.db", "--username", "boss"];
    assert_eq!(user(at, &create, "correct horse\n"), done("User \"boss\" created with role \"admin\""));
    let server = start(at);
    let mut boss = Client::connect(&server);
    let answer = boss.ok("identity.login", json!({"username": "boss", "password": "correct horse"}));
    assert_eq!(answer["user"]["roles"], json!(["admin"]), "{answer}");
    let roles = boss.ok("identity.listRoles", json!({}));
    assert_eq!(roles["roles"].as_array().map(Vec::len), Some(4), "none is there twice: {roles}");
    boss.ok("store.insert", json!({"bucket": "items", "data": {"id": "a"}}));
    boss.ok(
        "store.defineBucket",
        json!({"name": "own", "config": {"key": "id", "schema": {"id": {"type": "string"}}}}),
    );
    boss.ok("store.insert", json!({"bucket": "own", "data": {"id": "a"}}));
    // The data belongs to the server while it runs.
    for args in [
        &["list", "--db", "noex.db"][..],
        &["reset-password", "--db", "noex.db", "--username", "boss"],
        &["create", "--db", "noex.db", "--username", "other"],
    ] {
        let (code, out, error) = user(at, args, "password\n");
        assert_eq!((code, out.as_str()), (Some(1), ""), "{args:?}");
        assert!(error.contains("the database is in use by another server (process "), "{error}");
    }
    drop((boss, server));
    // Its other data is left as it is.
    fs::write(at.join("secret.txt"), "another horse\r\nsecond line").expect("written");
    let file = [
        "create",
        "--db",
        "noex.db",
        "--username",
        "root",
        "--role",
        "superadmin",
        "--password-file",
        "secret.txt",
    ];
    assert_eq!(user(at, &file, ""), done("User \"root\" created with role \"superadmin\""));
    let listed = "boss\tadmin\tenabled\nroot\tsuperadmin\tenabled";
    assert_eq!(user(at, &["list", "--db", "noex.db"], ""), done(listed));
    let server = start(at);
    let mut root = Client::connect(&server);
    root.ok("identity.login", json!({"username": "root", "password": "another horse"}));
    assert_eq!(root.ok("store.count", json!({"bucket": "items"})), 1);
    root.ok(
        "store.defineBucket",
        json!({"name": "own", "config": {"key": "id", "schema": {"id": {"type": "string"}}}}),
    );
    assert_eq!(root.ok("store.count", json!({"bucket": "own"})), 1);
}

#[test]
fn a_reset_password_ends_the_stored_sessions() {
    let folder = tempfile::tempdir().expect("folder");
    let at = folder.path();
    let place = ["--db", "noex.db", "--username", "boss"];
    user(at, &[&["create"], &place[..]].concat(), "password one\n");
    let server = start(at);
    let token = login(&server, "boss", "password one")["data"]["token"].clone();
    let mut again = Client::connect(&server);
    again.ok("auth.login", json!({"token": token}));
    drop((again, server));
    let reset = [&["reset-password"], &place[..]].concat();
    assert_eq!(user(at, &reset, "password two"), done("Password of user \"boss\" set; sessions ended"));
    let server = start(at);
    let refused = Client::connect(&server).ask("auth.login", json!({"token": token}));
    assert_eq!(refused["message"], "Invalid token");
    assert_eq!(login(&server, "boss", "password one")["type"], "error");
    assert_eq!(login(&server, "boss", "password two")["type"], "result");
}

#[test]
fn mistakes_are_told_and_change_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let at = folder.path();
    let create = ["create", "--data-dir", "deep/data", "--username", "ann"];
    assert_eq!(user(at, &["list", "--db", "none.db"], ""), refused("none.db: there is no such file"));
    let missing = ["reset-password", "--db", "none.db", "--username", "ann"];
    assert_eq!(user(at, &missing, "password\n"), refused("none.db: there is no such file"));
    assert!(!at.join("none.db").exists());
    assert_eq!(user(at, &create, "password\n"), done("User \"ann\" created with role \"admin\""));
    let list = ["list", "--data-dir", "deep/data"];
    assert_eq!(user(at, &create, "password\n"), refused("User \"ann\" already exists"));
    let reset = ["reset-password", "--data-dir", "deep/data", "--username", "bob"];
    assert_eq!(user(at, &reset, "password\n"), refused("User \"bob\" not found"));
    let bob = ["create", "--data-dir", "deep/data", "--username", "bob"];
    assert_eq!(user(at, &bob, "short\n"), refused("Password must be at least 8 characters"));
    assert_eq!(user(at, &bob, ""), refused("Password must be at least 8 characters"));
    let role = [&bob[..], &["--role", "king"]].concat();
    assert_eq!(user(at, &role, "password\n"), refused("Role \"king\" not found"));
    assert_eq!(user(at, &list, ""), done("ann\tadmin\tenabled"));
    for args in [
        &["create", "--username", "ann"][..],
        &["create", "--db", "a.db", "--data-dir", "d", "--username", "ann"],
        &["create", "--db", "a.db", "--username", "ann", "--password", "x"],
        &[],
    ] {
        let (code, _, error) = user(at, args, "");
        assert!(code == Some(2) && error.contains("Usage: noex-server user"), "{args:?}: {code:?} {error}");
    }
    fs::write(at.join("text.db"), "not a database at all, but long enough to look like one")
        .expect("written");
    let (code, _, error) = user(at, &["create", "--db", "text.db", "--username", "ann"], "password\n");
    assert!(code == Some(1) && error.contains("text.db: "), "{error}");
    assert!(fs::read_to_string(at.join("text.db")).expect("still there").starts_with("not a database"));
}

#[test]
fn a_config_file_says_how_long_a_password_must_be() {
    let folder = tempfile::tempdir().expect("folder");
    let at = folder.path();
    let config = |name: &str, auth: Value| {
        fs::write(at.join(name), json!({"auth": auth}).to_string()).expect("written");
    };
    config("long.json", json!({"builtIn": true, "adminSecret": SECRET, "passwordMinLength": 12}));
    // The rest may be said by options of the server.
    config("short.json", json!({"passwordMinLength": 3}));
    config("wrong.json", json!({"builtIn": true, "passwordMinLength": 0}));
    let run = |command: &str, config: &str, password: &str| {
        user(at, &[command, "--db", "noex.db", "--username", "ann", "--config", config], password)
    };
    let twelve = "Password must be at least 12 characters";
    assert_eq!(run("create", "long.json", "correct hor\n"), refused(twelve));
    assert_eq!(run("create", "short.json", "abc\n"), done("User \"ann\" created with role \"admin\""));
    assert_eq!(run("reset-password", "long.json", "correct hor\n"), refused(twelve));
    assert_eq!(
        run("reset-password", "long.json", "correct hors\n"),
        done("Password of user \"ann\" set; sessions ended")
    );
    let (code, _, error) = run("create", "wrong.json", "password\n");
    assert!(code == Some(1) && error.contains("Error: Invalid auth.passwordMinLength: 0"), "{error}");
    let (code, _, error) = run("create", "missing.json", "password\n");
    assert!(code == Some(1) && error.contains("missing.json"), "{error}");
}

#[test]
fn accounts_survive_the_death_of_the_process() {
    let folder = tempfile::tempdir().expect("folder");
    let at = folder.path();
    let root = |server: &Server| {
        let mut root = Client::connect(server);
        root.ok("identity.loginWithSecret", json!({"secret": SECRET}));
        root
    };
    let server = start(at);
    let mut admin = root(&server);
    let id = |user: &Value| user["id"].as_str().expect("an id").to_owned();
    let ann = id(&admin.ok("identity.createUser", json!({"username": "ann", "password": "password"})));
    admin.ok(
        "identity.createRole",
        json!({"name": "definer", "permissions": [{"allow": "store.defineBucket"}]}),
    );
    admin.ok("identity.assignRole", json!({"userId": ann, "roleName": "definer"}));
    let grant = json!({"subjectType": "user", "subjectId": ann, "resourceType": "bucket",
        "resourceName": "items", "operations": ["read"]});
    admin.ok("identity.grant", grant);
    let mut client = Client::connect(&server);
    let token =
        client.ok("identity.login", json!({"username": "ann", "password": "password"}))["token"].clone();
    let own = json!({"name": "own", "config": {"key": "id", "schema": {"id": {"type": "string"}}}});
    client.ok("store.defineBucket", own.clone());
    let steps = json!([{"action": "return", "value": 1}]);
    admin.ok("procedures.register", json!({"procedure": {"name": "p", "steps": steps}}));
    let told = admin.ok("audit.query", json!({}));
    assert!(!told["entries"].as_array().expect("entries").is_empty(), "{told}");
    drop((admin, client, server));

    let server = start(at);
    let mut client = Client::connect(&server);
    let session = client.ok("auth.login", json!({"token": token}));
    assert_eq!((&session["userId"], &session["roles"]), (&json!(ann), &json!(["definer"])));
    assert_eq!(client.ok("store.count", json!({"bucket": "items"})), 0);
    assert_eq!(
        client.ask("store.insert", json!({"bucket": "items", "data": {"id": "a"}}))["code"],
        "FORBIDDEN"
    );
    assert_eq!(login(&server, "ann", "password")["type"], "result");
    let mut admin = root(&server);
    let told = admin.ok("audit.query", json!({}));
    let operations: Vec<&Value> =
        told["entries"].as_array().expect("entries").iter().map(|entry| &entry["operation"]).collect();
    assert!(!operations.contains(&&json!("identity.createUser")), "the log begins anew: {told}");
    let owner = admin.ok("identity.getOwner", json!({"resourceType": "bucket", "resourceName": "own"}));
    assert_eq!(owner["owner"]["userId"], json!(ann));
    client.ok("store.defineBucket", own);
    client.ok("store.insert", json!({"bucket": "own", "data": {"id": "a"}}));
    assert_eq!(admin.ok("procedures.call", json!({"name": "p"}))["result"], 1);
}
