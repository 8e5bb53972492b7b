//! Tests of command lines and of processes that keep or break the contract.

use serde_json::json;

use super::*;

fn shell(script: &str) -> ServerCommand {
    ServerCommand::new("sh").args(["-c", script, "server", "{config}"])
}

#[test]
fn command_lines_are_split_like_a_shell_does() {
    for (line, expected) in [
        ("a  b\tc", Ok(vec!["a", "b", "c"])),
        ("a 'b c' \"d e\"f", Ok(vec!["a", "b c", "d ef"])),
        (r#"a\ b "c\"d\e" 'f\g'"#, Ok(vec!["a b", r#"c"d\e"#, r"f\g"])),
        ("a ''", Ok(vec!["a", ""])),
        ("a 'b", Err("open quote in the server command")),
        ("a\\", Err("backslash at the end of the server command")),
        ("  ", Err("the server command is empty")),
    ] {
        let got = ServerCommand::parse(line).map(|command| command.argv);
        assert_eq!(
            got,
            expected.map(|argv| argv.into_iter().map(str::to_owned).collect()).map_err(str::to_owned)
        );
    }
}

#[test]
fn ports_are_found_in_both_kinds_of_lines() {
    for (line, expected) in [
        ("READY 4711", Some(4711)),
        ("READY  1 and more", Some(1)),
        ("Server listening on ws://127.0.0.1:8080/", Some(8080)),
        ("LISTENING :9", Some(9)),
        ("not READY 4711", None),
        ("READY 99999", None),
        ("listening", None),
    ] {
        assert_eq!(port_in(line), expected, "{line}");
    }
}

#[test]
fn a_server_that_keeps_the_contract_is_started_and_stopped() {
    let script = r#"trap 'exit 0' TERM; cat "$1" >&2; echo >&2; echo READY 7; while :; do sleep 0.02; done"#;
    let mut server = Server::start(&shell(script), &json!({"path": "/x"})).unwrap();
    let path = server._config.path.clone();
    assert_eq!(server.port(), 7);
    assert!(path.exists());
    assert_eq!(server.stop(), Ok(()));
    assert!(server.lines().contains(&r#"err: {"port":0,"path":"/x"}"#.to_owned()), "{:?}", server.lines());
    drop(server);
    assert!(!path.exists());
}

#[test]
fn broken_contracts_are_told() {
    let start = |script: &str| Server::start(&shell(script), &json!({})).map_err(|e| assert_ne!(e, ""));
    let loops = "while :; do sleep 0.02; done";
    let mut server = start(&format!("trap 'exit 3' TERM; echo READY 7; {loops}")).unwrap();
    assert_eq!(server.stop(), Err("the server exited with status 3 on SIGTERM".to_owned()));
    let mut server = start(&format!("echo READY 7; {loops}")).unwrap();
    assert_eq!(server.stop(), Err("the server exited with status -15 on SIGTERM".to_owned()));
    let mut server = start("echo READY 7; exit 4").unwrap();
    assert!(server.wait_for_exit(STOP_WAIT).is_some());
    assert_eq!(server.stop(), Err("the server exited with status 4".to_owned()));
    let error = Server::start(&shell("echo no such option >&2; exit 2"), &json!({})).unwrap_err();
    assert_eq!(error, "the server did not get ready: err: no such option");
    assert!(Server::start(&ServerCommand::new("./no/such/program"), &json!({})).is_err());
}

#[test]
fn a_dropped_server_is_killed() {
    let server = Server::start(&shell("echo READY 7; exec sleep 60"), &json!({})).unwrap();
    let pid = server.child.id().to_string();
    drop(server);
    let alive = Command::new("kill").args(["-0", &pid]).stderr(Stdio::null()).status().unwrap();
    assert!(!alive.success());
}
