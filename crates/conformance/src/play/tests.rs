//! Tests of all steps against a fake server on loopback: what passes, and how failures are told.

use std::path::PathBuf;

use super::*;
use crate::fake_server;
use crate::run::{Target, run_scenario};
use crate::server::ServerCommand;

fn scenario(body: &Value) -> Scenario {
    Scenario::parse(PathBuf::from("group/case.json"), &body.to_string()).unwrap()
}

/// Plays steps after a connect and its welcome.
fn play(steps: Value) -> Option<Failure> {
    let mut all = vec![json!({"connect": true}), json!({"recv": {"type": "welcome"}})];
    all.extend(steps.as_array().cloned().unwrap_or_default());
    play_body(&json!({"steps": all}))
}

fn play_body(body: &Value) -> Option<Failure> {
    let target = Target::parse_url(&format!("ws://127.0.0.1:{}", fake_server::start())).unwrap();
    run_scenario(&scenario(body), &target, None).failure
}

#[track_caller]
fn assert_passes(steps: Value) {
    assert_eq!(play(steps), None);
}

#[track_caller]
fn assert_fails(steps: Value, expected: &str) {
    assert_eq!(play(steps).map(|failure| failure.to_string()).as_deref(), Some(expected));
}

const PONG_OF_ABC: &str = "YWJj";

#[test]
fn messages_are_sent_received_and_bound() {
    assert_passes(json!([
        {"note": "nothing happens here"},
        {"send": {"id": {"$repeat": ["ab", 2]}, "type": "nope"}},
        {"recv": {"id": {"$bind": "id"}, "type": "error", "code": {"$regex": "^UNKNOWN"}}},
        {"sendText": {"$template": "{\"id\":\"<${id}>\"}"}},
        {"recv": {"id": "<abab>", "type": "error", "code": {"$any": true}}},
        {"send": {"id": 1}},
        {"send": {"id": 2}},
        {"recvUnordered": [{"$subset": {"id": 2}}, {"$subset": {"id": 1}}]},
        {"send": {"id": 3}},
        {"send": {"id": 4}},
        {"recvUntil": {"$subset": {"id": 4}}, "max": 2},
        {"recvNone": 20},
        {"sleep": 1},
        {"close": true}
    ]));
}

#[test]
fn unusual_messages_are_shown_as_such() {
    assert_passes(json!([
        {"send": {"type": "binary"}},
        {"recv": {"$literal": {"$binary": "AP8="}}},
        {"send": {"type": "text"}},
        {"recv": {"$literal": {"$text": "no json"}}},
        {"send": {"type": "fragments"}},
        {"recv": [1, 2]},
        {"recv": {"type": "ponged", "size": 3}},
        {"sendBinary": "AP8="},
        {"recv": {"type": "frame", "head": 0x82, "size": 2}},
        {"sendFrame": {"opcode": 1, "fin": false, "payload": PONG_OF_ABC}},
        {"recv": {"type": "frame", "head": 1, "size": 3}},
        {"sendFrame": {"opcode": 9, "payload": PONG_OF_ABC}},
        {"recvPong": PONG_OF_ABC}
    ]));
}

#[test]
fn closes_are_seen_with_code_and_reason() {
    for (request, expected) in [
        (
            json!({"send": {"type": "close", "code": 4001, "reason": "gone"}}),
            json!({"code": 4001, "reason": "gone"}),
        ),
        (json!({"send": {"type": "close"}}), json!({"code": 1005, "reason": ""})),
        (json!({"send": {"type": "drop"}}), json!({"code": 1006, "reason": ""})),
        (json!({"sendFrame": {"opcode": 1, "masked": false}}), json!({"code": 1002, "reason": ""})),
        (json!({"sendFrame": {"opcode": 65}}), json!({"code": 1002, "reason": ""})),
        (
            json!({"send": {"type": "malformed"}}),
            json!({"code": -1, "reason": {"$regex": "^protocol error"}}),
        ),
    ] {
        assert_passes(json!([request, {"recvClose": expected}, {"recvClose": expected}, {"send": {}}]));
    }
}

#[test]
fn connections_are_independent_and_names_can_be_used_again() {
    assert_passes(json!([
        {"conn": "b", "connect": true, "expectHeaders": {"x-fake": {"$type": "string"}, "Origin": null}},
        {"conn": "b", "recv": {"type": "welcome"}},
        {"conn": "b", "send": {"type": "drop"}},
        {"send": {"id": 1}},
        {"recv": {"$subset": {"id": 1}}},
        {"conn": "b", "recvClose": {"code": 1006, "reason": ""}},
        {"conn": "b", "connect": true},
        {"conn": "b", "recv": {"type": "welcome"}},
        {"connect": true, "early": [{"id": 7}, "[]"]},
        {"recv": {"type": "welcome"}},
        {"recv": {"$subset": {"id": 7}}},
        {"recv": {"$subset": {"id": null}}},
        {"close": "abort"},
        {"conn": "b", "close": {"code": 4000, "reason": "bye"}}
    ]));
}

#[test]
fn refused_connections_tell_their_status() {
    for (path, status) in [("/missing", 404), ("/drop", 0), ("/silent", -1)] {
        let step = json!({"conn": "x", "connectFails": {"status": status}, "path": path, "timeout": 300});
        assert_passes(json!([step]));
        assert_fails(
            json!([{"conn": "x", "connect": true, "path": path, "timeout": 300}]),
            &format!("step 2 (connect on x): cannot connect: upgrade answered with status {status}"),
        );
    }
    assert_passes(json!([
        {"conn": "x", "connectFails": {"status": 404}, "path": "/missing", "expectHeaders": {"Connection": "close"}}
    ]));
    assert_fails(
        json!([{"conn": "x", "connectFails": {"status": 404}}]),
        "step 2 (connectFails on x): the connection was accepted, expected it to be refused",
    );
    assert_fails(
        json!([{"conn": "x", "connect": true, "path": "/bad-accept"}]),
        "step 2 (connect on x): wrong Sec-WebSocket-Accept in the upgrade response",
    );
    assert_fails(
        json!([{"conn": "x", "connect": true, "headers": {"Sec-WebSocket-Key": null}}]),
        "step 2 (connect on x): wrong Sec-WebSocket-Accept in the upgrade response",
    );
    assert_fails(
        json!([{"conn": "x", "connect": true, "expectHeaders": {"X-Fake": null}}]),
        "step 2 (connect on x): response header X-Fake: expected null, got \"yes\"",
    );
}

#[test]
fn failures_are_told_with_their_place() {
    for (steps, expected) in [
        (
            json!([{"send": {"id": 1}}, {"recv": {"id": 2, "type": "error"}}]),
            "step 3 (recv on a): $.id: expected 2, got 1; $.code: unexpected, got \"UNKNOWN_OPERATION\" | \
             received {\"id\":1,\"type\":\"error\",\"code\":\"UNKNOWN_OPERATION\"}",
        ),
        (json!([{"recv": 1, "timeout": 20}]), "step 2 (recv on a): nothing arrived on a within 20 ms"),
        (json!([{"recvClose": 1, "timeout": 20}]), "step 2 (recvClose on a): a was not closed within 20 ms"),
        (json!([{"recvPong": "", "timeout": 20}]), "step 2 (recvPong on a): no control pong arrived on a"),
        (json!([{"conn": "z", "recvNone": 1}]), "step 2 (recvNone on z): connection z is not open"),
        (json!([{"jump": true}]), "step 2 (? on a): unknown step {\"jump\":true}"),
        (json!([{"send": {"$ref": "q"}}]), "step 2 (send on a): $ref \"q\" is not bound yet"),
        (
            json!([{"send": {"type": "drop"}}, {"recv": 1}]),
            "step 3 (recv on a): a was closed ({\"code\":1006,\"reason\":\"\"}) while a message was expected",
        ),
        (
            json!([{"send": {"type": "drop"}}, {"recvNone": 5000}]),
            "step 3 (recvNone on a): expected nothing on a for 5000 ms, got close {\"code\":1006,\"reason\":\"\"}",
        ),
        (
            json!([{"send": {"type": "binary"}}, {"recvClose": 1}]),
            "step 3 (recvClose on a): expected close of a, got message {\"$binary\":\"AP8=\"}",
        ),
        (
            json!([{"send": {}}, {"recvUntil": 7, "max": 1}]),
            "step 3 (recvUntil on a): 1 messages came and none matched 7",
        ),
        (
            json!([{"send": {"type": "drop"}}, {"recvClose": {"code": 1000, "reason": ""}}]),
            "step 3 (recvClose on a): $.code: expected 1000, got 1006 | close {\"code\":1006,\"reason\":\"\"}",
        ),
        (
            json!([{"stopServer": true}]),
            "step 2 (stopServer on a): stopServer needs a server started with --server-cmd",
        ),
    ] {
        assert_fails(steps, expected);
    }
}

#[test]
fn messages_nobody_expected_fail_the_scenario() {
    let surplus = "1 message(s) on a were never expected: {\"$text\":\"no json\"}";
    let request = json!({"send": {"type": "text"}});
    assert_fails(
        json!([request, {"sleep": 200}, {"close": true}]),
        &format!("step 4 (close on a): {surplus}"),
    );
    assert_fails(
        json!([request, {"sleep": 200}, {"connect": true}]),
        &format!("step 4 (connect on a): {surplus}"),
    );
    let steps = json!([{"connect": true}, {"recv": {"type": "welcome"}}, request]);
    let failure = play_body(&json!({"steps": steps, "settleMs": 300})).unwrap();
    assert_eq!(failure.to_string(), format!("step 3 (end): {surplus}"));
    assert_eq!(play_body(&json!({"steps": steps, "settleMs": 300, "allowUnread": true})), None);
}

#[test]
fn a_scenario_has_a_limit_of_its_own() {
    for step in [json!({"sleep": 60_000}), json!({"recv": 1, "timeout": 60_000}), json!({"recvNone": 60_000})]
    {
        let steps = json!([{"connect": true}, {"recv": {"type": "welcome"}}, step]);
        let failure = play_body(&json!({"steps": steps, "timeoutMs": 250})).unwrap();
        assert_eq!(failure.to_string(), "step -1 (scenario): not finished within 0.25 s");
    }
}

/// While reading is paused the server's socket must fill up, and nothing may be lost afterwards.
#[test]
fn paused_connections_take_nothing_from_the_socket() {
    assert_passes(json!([
        {"conn": "b", "connect": true},
        {"conn": "b", "recv": {"type": "welcome"}},
        {"pauseReading": true},
        {"send": {"type": "flood", "count": 400}},
        {"recvNone": 500},
        {"conn": "b", "send": {"type": "flooded"}},
        {"conn": "b", "recv": {"type": "flooded", "bytes": {"$bind": "stuck", "$number": {"min": 1, "max": 39_000_000}}}},
        {"sleep": 100},
        {"conn": "b", "send": {"type": "flooded"}},
        {"conn": "b", "recv": {"type": "flooded", "bytes": {"$ref": "stuck"}}},
        {"resumeReading": true},
        {"recv": {"$subset": {"type": "flood", "n": 0}}},
        {"recvUntil": {"$subset": {"type": "flood", "n": 399}}, "max": 399},
        {"pauseReading": true},
        {"close": "abort"}
    ]));
}

#[test]
fn a_server_that_does_not_read_stops_no_step() {
    assert_passes(json!([
        {"pauseReading": true},
        {"send": {"type": "flood", "count": 400}},
        {"send": {"type": "nope", "id": {"$repeat": ["x", 60_000]}}},
        {"resumeReading": true},
        {"recvUntil": {"$subset": {"type": "flood", "n": 399}}, "max": 400},
        {"recv": {"$subset": {"type": "error"}}}
    ]));
}

/// A process that keeps the contract and announces the fake server's port.
fn command(trap: &str) -> ServerCommand {
    let port = fake_server::start();
    let script = format!("trap '{trap}' TERM; echo READY {port}; while :; do sleep 0.02; done");
    ServerCommand::new("sh").args(["-c", &script])
}

#[test]
fn a_scenario_starts_and_stops_a_server_of_its_own() {
    let greeting = [json!({"connect": true}), json!({"recv": {"type": "welcome"}})];
    let stopped =
        [json!({"connect": true}), json!({"recv": {"type": "welcome"}}), json!({"stopServer": true})];
    for (steps, trap, expected) in [
        (&greeting[..], "exit 0", None),
        (&greeting[..], "exit 1", Some("step -1 (end): the server exited with status 1 on SIGTERM")),
        (&stopped[..], "exit 0", None),
        (&stopped[..], "exit 1", Some("step -1 (end): the server exited with status 1")),
    ] {
        let scenario = scenario(&json!({"steps": steps, "settleMs": 1000}));
        let outcome = run_scenario(&scenario, &Target::Command(command(trap)), None);
        assert_eq!(outcome.failure.map(|f| f.to_string()).as_deref(), expected, "{trap}");
        assert!(outcome.server_tail.iter().any(|line| line.starts_with("out: READY")));
    }
}

#[test]
fn transcripts_tell_what_happened() {
    let folder = std::env::temp_dir().join(format!("noex-conformance-test-{}", std::process::id()));
    let steps = json!([
        {"connect": true},
        {"recv": {"type": "welcome"}},
        {"send": {"type": "close", "code": 4001}},
        {"recvClose": {"code": 1000, "reason": ""}}
    ]);
    let scenario = scenario(&json!({"name": "told", "steps": steps}));
    run_scenario(&scenario, &Target::Command(command("exit 0")), Some(&folder));
    let text = std::fs::read_to_string(folder.join("case.log.json")).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let transcript: Value = serde_json::from_str(&text).unwrap();
    let pattern = json!({
        "name": "told",
        "file": "group/case.json",
        "failure": [3, "recvClose on a", {"$regex": "^\\$\\.code: expected 1000, got 4001"}],
        "log": [
            {"t": {"$timestamp": true}, "conn": "a", "recv": {"type": "welcome"}},
            {"t": {"$timestamp": true}, "conn": "a", "send": {"type": "close", "code": 4001}},
            {"t": {"$timestamp": true}, "conn": "a", "closed": {"code": 4001, "reason": ""}},
            {"server": {"$regex": "^out: READY"}}
        ]
    });
    assert_eq!(differences(&pattern, &transcript, &mut Binds::new()), [] as [&str; 0]);
}
