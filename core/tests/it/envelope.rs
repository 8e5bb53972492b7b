//! The welcome, the checks on a message's envelope, routing, and the echo of ids.

use crate::{optional, welcomed, with_tokens};
use noex_core::{Config, TokenMode};
use noex_testkit::{EPOCH_MS, Inbound, Pair, error, request, result};

fn welcome(requires_auth: bool) -> String {
    format!(
        r#"{{"type":"welcome","version":"1.0.0","serverTime":{EPOCH_MS},"requiresAuth":{requires_auth}}}"#
    )
}

#[test]
fn the_welcome_tells_whether_a_login_is_required() {
    for (config, requires_auth) in [
        (Config::default(), false),
        (with_tokens(TokenMode::default()), true),
        (with_tokens(optional()), false),
    ] {
        assert_eq!(Pair::new(config).received(), [welcome(requires_auth)]);
    }
}

#[test]
fn the_welcome_precedes_the_answers() {
    let mut pair = Pair::default();
    pair.stall();
    pair.send(request(1, "nope", ""));
    pair.flow();
    let nope = error(1, "UNKNOWN_OPERATION", "Unknown operation \"nope\"");
    assert_eq!(pair.received(), [welcome(false), nope]);
}

#[test]
fn envelope_vectors() {
    const PARSE: [&str; 2] = ["PARSE_ERROR", "Invalid JSON"];
    const OBJECT: [&str; 2] = ["PARSE_ERROR", "Message must be a JSON object"];
    const TYPE: [&str; 2] = ["INVALID_REQUEST", "Message must include non-empty string \"type\""];
    const ID: [&str; 2] = ["INVALID_REQUEST", "Request must include finite numeric \"id\""];
    const PONG: [&str; 2] = ["INVALID_REQUEST", "Pong must include finite numeric \"timestamp\""];
    let mut pair = welcomed(Config::default());
    for (message, id, [code, text]) in [
        ("", 0, PARSE),
        ("x", 0, PARSE),
        (r#"{"id":1,"type":"nope",}"#, 0, PARSE),
        (r#"{"id":01,"type":"x"}"#, 0, PARSE),
        ("\u{feff}{}", 0, PARSE),
        ("null", 0, OBJECT),
        ("5", 0, OBJECT),
        (r#""a""#, 0, OBJECT),
        ("[]", 0, OBJECT),
        (r#"[{"id":1,"type":"a"}]"#, 0, OBJECT),
        ("{}", 0, TYPE),
        (r#"{"type":7}"#, 0, TYPE),
        (r#"{"id":8,"type":""}"#, 8, TYPE),
        (r#"{"id":"8"}"#, 0, TYPE),
        (r#"{"type":"store.get"}"#, 0, ID),
        (r#"{"id":"7","type":"store.get"}"#, 0, ID),
        (r#"{"id":null,"type":"x"}"#, 0, ID),
        (r#"{"id":1e400,"type":"x"}"#, 0, ID),
        (r#"{"id":3,"type":"pong"}"#, 0, PONG),
        (r#"{"type":"pong","timestamp":"1"}"#, 0, PONG),
        (r#"{"type":"pong","timestamp":1e400}"#, 0, PONG),
    ] {
        assert_eq!(pair.ask(message), error(id, code, text), "{message}");
    }
    assert_eq!(pair.executed(), [""; 0]);
}

#[test]
fn routing_vectors() {
    let mut pair = welcomed(Config::default());
    for (kind, code, text) in [
        ("nope", "UNKNOWN_OPERATION", "Unknown operation \"nope\""),
        ("ping", "UNKNOWN_OPERATION", "Unknown operation \"ping\""),
        ("storex", "UNKNOWN_OPERATION", "Unknown operation \"storex\""),
        ("store", "UNKNOWN_OPERATION", "Unknown operation \"store\""),
        ("Store.get", "UNKNOWN_OPERATION", "Unknown operation \"Store.get\""),
        ("constructor", "UNKNOWN_OPERATION", "Unknown operation \"constructor\""),
        ("store.", "UNKNOWN_OPERATION", "Unknown store operation \"store.\""),
        ("store.toString", "UNKNOWN_OPERATION", "Unknown store operation \"store.toString\""),
        ("server.nope", "UNKNOWN_OPERATION", "Unknown server operation \"server.nope\""),
        ("rules.stats", "RULES_NOT_AVAILABLE", "Rule engine is not configured"),
        ("rules.nope", "RULES_NOT_AVAILABLE", "Rule engine is not configured"),
        ("auth.login", "UNKNOWN_OPERATION", "Authentication is not configured"),
        ("auth.nope", "UNKNOWN_OPERATION", "Authentication is not configured"),
        ("identity.whoami", "UNKNOWN_OPERATION", "Identity management is not configured"),
        ("identity.login", "UNKNOWN_OPERATION", "Identity management is not configured"),
        ("audit.query", "UNKNOWN_OPERATION", "Audit log is not configured"),
    ] {
        assert_eq!(pair.ask(request(1, kind, "")), error(1, code, text), "{kind}");
    }
    let mut pair = welcomed(Config { rules: true, ..with_tokens(optional()) });
    for (kind, text) in [
        ("rules.nope", "Unknown rules operation \"rules.nope\""),
        ("auth.nope", "Unknown auth operation \"auth.nope\""),
    ] {
        assert_eq!(pair.ask(request(1, kind, "")), error(1, "UNKNOWN_OPERATION", text), "{kind}");
    }
    assert_eq!(pair.executed(), [""; 0]);
}

#[test]
fn ids_are_echoed_as_numbers() {
    let mut pair = welcomed(Config::default());
    for (sent, echoed) in [
        ("0", "0"),
        ("-0", "0"),
        ("1.0", "1"),
        ("1e2", "100"),
        ("-1.5", "-1.5"),
        ("9007199254740993", "9007199254740993"),
        ("18446744073709551615", "18446744073709551615"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("123456789012345678901", "123456789012345680000"),
        ("1e21", "1e+21"),
    ] {
        let answer = pair.ask(format!(r#"{{"id":{sent},"type":"server.health"}}"#));
        assert_eq!(answer, format!(r#"{{"id":{echoed},"type":"result","data":"ok"}}"#));
    }
}

#[test]
fn repeated_ids_are_answered_each_and_repeated_members_count_last() {
    let mut pair = welcomed(Config::default());
    pair.send(request(5, "server.health", ""));
    pair.send(request(5, "server.health", ""));
    pair.send(r#" {"id":1,"id":5,"type":"nope","type":"server.health","unknown":[{}]} "#);
    assert_eq!(pair.received(), vec![result(5, "\"ok\""); 3]);
}

#[test]
fn nesting_is_limited_before_anything_is_built() {
    let nested = |depth: usize| {
        format!(r#"{{"id":1,"type":"nope","a":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1))
    };
    let mut pair = welcomed(Config::default());
    assert_eq!(pair.ask(nested(128)), error(1, "UNKNOWN_OPERATION", "Unknown operation \"nope\""));
    let too_deep = error(0, "PARSE_ERROR", "Message nesting too deep");
    assert_eq!(pair.ask(nested(129)), too_deep);
    assert_eq!(pair.ask(nested(400_000)), too_deep);
}

#[test]
fn fields_are_checked_in_order() {
    let mut pair = welcomed(Config { rules: true, ..Config::default() });
    for (kind, fields, text) in [
        ("store.get", "", r#"Missing or invalid "bucket": expected non-empty string"#),
        ("store.get", r#""bucket":"a""#, r#"Missing "key": expected non-null value"#),
        ("store.get", r#""bucket":"a","key":null"#, r#"Missing "key": expected non-null value"#),
        (
            "store.update",
            r#""bucket":"a","key":1,"data":[]"#,
            r#"Missing or invalid "data": expected object"#,
        ),
        ("store.count", r#""bucket":"a","filter":1"#, r#"Invalid "filter": expected object"#),
        ("store.first", r#""bucket":"a","n":1.5"#, r#"Missing or invalid "n": expected positive integer"#),
        ("store.sum", r#""bucket":"a""#, r#"Missing or invalid "field": expected non-empty string"#),
        ("store.transaction", "", r#"Missing or invalid "operations": expected array"#),
        ("store.transaction", r#""operations":[]"#, r#""operations" must contain at least one operation"#),
        ("store.transaction", r#""operations":[null]"#, "operations[0]: expected object"),
        (
            "store.transaction",
            r#""operations":[{"op":"get","bucket":"a","key":1},{"op":"get","bucket":"a"}]"#,
            r#"operations[1]: "get" requires "key""#,
        ),
        ("rules.emit", r#""topic":"t","data":[]"#, r#"Invalid "data": expected object"#),
        ("rules.setFact", r#""key":"k""#, r#"Missing "value": expected a value"#),
    ] {
        assert_eq!(pair.ask(request(1, kind, fields)), error(1, "VALIDATION_ERROR", text), "{kind} {fields}");
    }
    assert_eq!(pair.executed(), [""; 0]);
}

#[test]
fn typed_calls_leave_and_an_absent_value_is_left_out() {
    let mut pair = welcomed(Config::default());
    let min = pair.ask(request(1, "store.min", r#""bucket":"a","field":"x""#));
    assert_eq!(min, r#"{"id":1,"type":"result"}"#);
    assert_eq!(pair.ask(request(2, "store.first", r#""bucket":"a","n":2.0"#)), result(2, r#""xx""#));
    let executed = pair.executed();
    assert_eq!(executed.len(), 2);
    assert_eq!(executed[1], r#"First { bucket: "a", n: 2 }"#);
}

#[test]
fn binary_in_place_of_text_is_no_message() {
    let mut pair = welcomed(Config::default());
    pair.send_any(Inbound::Binary);
    assert_eq!(pair.received(), ["close 1003 binary_not_supported"]);
}
