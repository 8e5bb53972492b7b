//! Requests of `procedures.*`, and the permission check for work on behalf of a session.

use crate::{log_in, logged_in, welcomed, welcomed_in, with_tokens};
use noex_core::{
    AuthMode, Code, Config, Operation, PermissionRule, Permissions, Session, Solitary, TokenMode, may,
};
use noex_testkit::{Pair, World, error, request};

fn with_procedures() -> Pair {
    welcomed(Config { procedures: true, name_length_max: 4, ..Config::default() })
}

fn missing(id: u64, field: &str, what: &str) -> String {
    error(id, "VALIDATION_ERROR", &format!("Missing or invalid \"{field}\": expected {what}"))
}

#[test]
fn where_they_are_off_nothing_else_is_looked_at() {
    let mut pair = welcomed(Config::default());
    for kind in ["procedures.call", "procedures.nope"] {
        let text = "Procedures engine is not configured";
        assert_eq!(pair.ask(request(1, kind, "")), error(1, "UNKNOWN_OPERATION", text));
    }
    let unknown = with_procedures().ask(request(1, "procedures.nope", ""));
    assert_eq!(unknown, error(1, "UNKNOWN_OPERATION", "Unknown procedures operation \"procedures.nope\""));
}

#[test]
fn fields_are_checked_in_order() {
    let mut pair = with_procedures();
    for kind in ["unregister", "update", "get", "call"] {
        let kind = format!("procedures.{kind}");
        assert_eq!(pair.ask(request(1, &kind, "")), missing(1, "name", "non-empty string"));
        let long = missing(2, "name", "at most 4 characters");
        assert_eq!(pair.ask(request(2, &kind, r#""name":"12345""#)), long);
    }
    for procedure in ["5", "null", "[]"] {
        let fields = format!(r#""procedure":{procedure}"#);
        assert_eq!(pair.ask(request(3, "procedures.register", &fields)), missing(3, "procedure", "object"));
    }
    let long = pair.ask(request(4, "procedures.register", r#""procedure":{"name":"12345"}"#));
    assert_eq!(long, missing(4, "name", "at most 4 characters"));
    for updates in ["", r#","updates":[]"#] {
        let fields = format!(r#""name":"p"{updates}"#);
        assert_eq!(pair.ask(request(5, "procedures.update", &fields)), missing(5, "updates", "object"));
    }
    assert!(pair.executed().is_empty());
}

#[test]
fn requests_become_calls() {
    let mut pair = with_procedures();
    for (kind, fields, call) in [
        ("register", r#""procedure":{"name":5}"#, "Register { procedure: "),
        ("unregister", r#""name":"p""#, "Unregister { name: \"p\" }"),
        ("update", r#""name":"p","updates":{}"#, "Update { name: \"p\", "),
        ("get", r#""name":"p""#, "Get { name: \"p\" }"),
        ("list", "", "List"),
        ("call", r#""name":"p""#, "Call { name: \"p\", input: None }"),
        ("call", r#""name":"p","input":null"#, "Call { name: \"p\", input: None }"),
        ("call", r#""name":"p","input":[1]"#, "Call { name: \"p\", input: Some(Array([Number(1.0)])) }"),
    ] {
        pair.ask(request(1, &format!("procedures.{kind}"), fields));
        let executed = pair.executed();
        assert!(executed.len() == 1 && executed[0].starts_with(call), "{executed:?}");
    }
}

/// A permission to call one procedure is no permission to call another.
#[test]
fn the_name_is_the_resource() {
    let rule = PermissionRule {
        role: "guest".into(),
        allow: vec!["procedures.call".into()],
        buckets: Some(vec!["p".into()]),
        topics: None,
    };
    let permissions = Some(Permissions { default_allow: false, rules: vec![rule] });
    let token = TokenMode { permissions, ..TokenMode::default() };
    let mut pair = welcomed_in(Config { procedures: true, ..with_tokens(token) }, World::default());
    log_in(&mut pair, "guest");
    let answer = pair.ask(request(1, "procedures.update", r#""name":"p","updates":{}"#));
    assert_eq!(answer, error(1, "FORBIDDEN", "No permission for procedures.update on p"));
    let answer = pair.ask(request(2, "procedures.register", r#""procedure":{"name":"q"},"name":"p""#));
    assert_eq!(answer, error(2, "FORBIDDEN", "No permission for procedures.register on q"));
}

/// What may be done on behalf of a session is what the session may request itself.
#[test]
fn work_on_behalf_is_judged_like_a_request() {
    let rule = |role: &str, buckets: Option<&str>| PermissionRule {
        role: role.into(),
        allow: vec!["store.*".into()],
        buckets: buckets.map(|bucket| vec![bucket.into()]),
        topics: None,
    };
    let rules = vec![rule("guest", Some("a")), rule("reader", None)];
    let token =
        TokenMode { permissions: Some(Permissions { default_allow: false, rules }), ..TokenMode::default() };
    let mode = AuthMode::Token(token.clone());
    for role in ["guest", "reader", "writer", "admin"] {
        let session = Session { user_id: role.into(), roles: vec![role.into()], ..Session::default() };
        let mut pair = logged_in(token.clone(), World::default(), role);
        for (operation, fields) in [
            (Operation::StoreGet, r#""key":1"#),
            (Operation::StoreInsert, r#""data":{}"#),
            (Operation::StoreDelete, r#""key":1"#),
            (Operation::StoreCount, ""),
        ] {
            for bucket in ["a", "b"] {
                let comma = if fields.is_empty() { "" } else { "," };
                let fields = format!(r#""bucket":"{bucket}"{comma}{fields}"#);
                let asked = pair.ask(request(1, operation.name(), &fields));
                match may(&mode, Some(&session), operation, bucket, &Solitary::default()) {
                    Ok(()) => assert!(!asked.contains("FORBIDDEN"), "{asked}"),
                    Err(refusal) => {
                        assert_eq!(refusal.code, Code::Forbidden);
                        assert_eq!(asked, error(1, "FORBIDDEN", &refusal.message));
                    }
                }
            }
        }
    }
    let anybody = may(&AuthMode::None, None, Operation::StoreClear, "a", &Solitary::default());
    assert_eq!(anybody, Ok(()));
    let strict = TokenMode { anonymous_roles: Some(vec!["reader".into()]), ..token };
    let anonymous =
        |operation| may(&AuthMode::Token(strict.clone()), None, operation, "a", &Solitary::default());
    assert!(anonymous(Operation::StoreGet).is_ok() && anonymous(Operation::StoreInsert).is_err());
}
