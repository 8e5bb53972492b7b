//! What is recorded for the audit log.

use crate::{login, subscribe, welcomed, welcomed_in, with_tokens};
use noex_core::{AuditRecord, AuthMode, Config, Tier, TokenMode};
use noex_testkit::{Inbound, Pair, World, error, request, secs};

fn audited(tiers: &[Tier]) -> Config {
    Config { audit: tiers.to_vec(), rules: true, ..Config::default() }
}

const ALL: &[Tier] = &[Tier::Admin, Tier::Write, Tier::Read];

/// One record as `user operation resource outcome details`.
fn line(record: &AuditRecord) -> String {
    let AuditRecord { user_id, operation, resource, error, details } = record;
    let user = user_id.as_deref().unwrap_or("-");
    let outcome = error.as_deref().unwrap_or("ok");
    let details = details.as_ref().map(|details| format!(" {details}")).unwrap_or_default();
    format!("{user} {operation} {resource} {outcome}{details}")
}

fn lines(pair: &mut Pair) -> Vec<String> {
    pair.records().iter().map(line).collect()
}

#[test]
fn without_an_audit_log_there_is_nothing_to_ask_and_nothing_recorded() {
    let mut pair = welcomed(Config::default());
    let answer = pair.ask(request(1, "audit.query", ""));
    assert_eq!(answer, error(1, "UNKNOWN_OPERATION", "Audit log is not configured"));
    assert_eq!(lines(&mut pair), [""; 0]);
}

#[test]
fn filters_are_checked_in_order() {
    let mut pair = welcomed(audited(&[Tier::Admin]));
    for (fields, text) in [
        (r#""userId":1,"limit":0"#, "Invalid \"userId\": expected string"),
        (r#""userId":null"#, "Invalid \"userId\": expected string"),
        (r#""operation":null,"result":"x""#, "Invalid \"operation\": expected string"),
        (r#""result":"ok","from":"1""#, "Invalid \"result\": expected \"success\" or \"error\""),
        (r#""from":"1","to":"2""#, "Invalid \"from\": expected number"),
        (r#""to":null"#, "Invalid \"to\": expected number"),
        (r#""limit":1.5"#, "Invalid \"limit\": expected positive integer"),
    ] {
        assert_eq!(pair.ask(request(1, "audit.query", fields)), error(1, "VALIDATION_ERROR", text));
    }
    pair.executed();
    pair.ask(request(1, "audit.query", r#""userId":"","result":"error","from":1,"limit":2"#));
    assert_eq!(
        pair.executed(),
        [
            "AuditQuery { user_id: Some(\"\"), operation: None, success: Some(false), from: Some(1.0), to: None, \
          limit: Some(2) }"
        ]
    );
}

#[test]
fn only_configured_tiers_are_recorded() {
    let script = [
        request(1, "store.insert", r#""bucket":"a","data":{}"#),
        request(2, "store.get", r#""bucket":"a","key":1"#),
        request(3, "store.listQueries", ""),
        request(4, "nope", ""),
        "not JSON".to_owned(),
        request(5, "server.health", ""),
    ];
    for (tiers, expected) in [
        (&[Tier::Admin][..], &["- store.listQueries * ok"][..]),
        (&[Tier::Write, Tier::Read], &["- store.insert a ok", "- store.get a ok"]),
    ] {
        let mut pair = welcomed(audited(tiers));
        script.iter().for_each(|text| pair.send(text.as_str()));
        assert_eq!(lines(&mut pair), expected);
    }
}

#[test]
fn the_resource_is_the_field_that_the_operation_uses() {
    let mut pair = welcomed(audited(ALL));
    for (kind, fields, resource) in [
        ("store.get", r#""name":"x","bucket":"a","key":1"#, "a"),
        ("store.dropBucket", r#""bucket":"x","name":"a""#, "a"),
        ("store.subscribe", r#""bucket":"x","query":"qa""#, "qa"),
        ("store.buckets", r#""bucket":"x""#, "*"),
        ("store.count", "", "*"),
        (
            "store.transaction",
            r#""bucket":"x","operations":[{"op":"count","bucket":"b"},{"op":"count","bucket":"a"},{"op":"count","bucket":"b"}]"#,
            "b,a",
        ),
        ("store.transaction", r#""bucket":"x""#, "*"),
        ("rules.emit", r#""bucket":"x","topic":"t""#, "t"),
        ("rules.setFact", r#""topic":"x","key":"k","value":1"#, "k"),
        ("rules.queryFacts", r#""pattern":"p""#, "p"),
        ("rules.getRule", r#""name":"x","ruleId":"r""#, "r"),
        ("rules.registerRule", r#""rule":{"id":"r"}"#, "*"),
        ("procedures.call", r#""name":"p""#, "p"),
        ("procedures.register", r#""procedure":{"name":"p"}"#, "p"),
        ("server.stats", r#""name":"x""#, "*"),
        ("identity.deleteUser", r#""userId":"u","name":"x""#, "user:u"),
        ("identity.createRole", r#""name":"r""#, "r"),
        ("identity.updateRole", r#""roleId":"r","name":"x""#, "role:r"),
        ("identity.getOwner", r#""resourceType":"bucket","resourceName":"a""#, "bucket:a"),
    ] {
        pair.ask(request(1, kind, fields));
        let records = pair.records();
        assert_eq!(records.first().map(|record| record.resource.as_str()), Some(resource), "{kind} {fields}");
        assert_eq!(records.len(), 1);
    }
}

#[test]
fn refusals_are_recorded_with_their_text() {
    let world = World::default().rate_limit(2, 1000);
    let config = Config { audit: ALL.to_vec(), ..with_tokens(TokenMode::default()) };
    let mut pair = welcomed_in(config, world);
    pair.ask(request(1, "store.all", r#""bucket":"a""#));
    pair.ask(login(2, "reader"));
    pair.ask(request(3, "store.clear", r#""bucket":"a""#));
    for id in 4..7 {
        pair.ask(request(id, "store.all", r#""bucket":"a""#));
    }
    assert_eq!(
        lines(&mut pair),
        [
            "- store.all a Authentication required",
            "reader auth.login * ok",
            "reader store.clear a Role level insufficient for store.clear (requires write)",
            "reader store.all a ok",
            "reader store.all a ok",
            "reader store.all a Rate limit exceeded. Retry after 1000ms",
        ]
    );
}

#[test]
fn logins_and_logouts_name_their_user() {
    let config = Config { audit: vec![Tier::Admin], ..with_tokens(TokenMode::default()) };
    let mut pair = welcomed(config);
    pair.ask(login(1, "nobody"));
    pair.ask(login(2, "admin"));
    pair.ask(request(3, "auth.whoami", ""));
    pair.ask(request(4, "auth.logout", ""));
    assert_eq!(
        lines(&mut pair),
        ["- auth.login * Invalid token", "admin auth.login * ok", "admin auth.logout * ok"]
    );
}

#[test]
fn identity_operations_are_recorded_without_secrets() {
    let mut pair = welcomed(Config { auth: AuthMode::BuiltIn, ..audited(&[Tier::Admin]) });
    let acl = r#""subjectType":"user","subjectId":"u","resourceType":"bucket","resourceName":"a""#;
    for (kind, fields) in [
        ("loginWithSecret", r#""secret":"hush""#),
        ("login", r#""username":"bob","password":"hush""#),
        ("loginWithSecret", r#""secret":"secret""#),
        ("createUser", r#""username":"ann","password":"hush","metadata":{"x":"hush"}"#),
        ("getUser", r#""userId":"u""#),
        ("assignRole", r#""userId":"u","roleName":"admin""#),
        ("grant", &format!(r#"{acl},"operations":["read",7,"write"],"comment":"hush""#)),
        ("grant", &format!(r#"{acl},"operations":"hush""#)),
        ("transferOwner", r#""resourceType":"bucket","resourceName":"a","newOwnerId":"u""#),
        ("resetPassword", r#""userId":"u","newPassword":"hush""#),
        ("changePassword", r#""userId":"u","currentPassword":"hush","newPassword":"hush""#),
    ] {
        pair.ask(request(1, &format!("identity.{kind}"), fields));
    }
    let lines = lines(&mut pair);
    assert_eq!(
        lines,
        [
            "- identity.loginWithSecret * Invalid secret",
            r#"- identity.login user:bob Invalid credentials {"username":"bob"}"#,
            "__superadmin__ identity.loginWithSecret * ok",
            r#"__superadmin__ identity.createUser user:ann ok {"username":"ann"}"#,
            r#"__superadmin__ identity.assignRole user:u ok {"userId":"u","roleName":"admin"}"#,
            r#"__superadmin__ identity.grant bucket:a ok {"subjectType":"user","subjectId":"u","resourceType":"bucket","resourceName":"a","operations":["read","write"]}"#,
            r#"__superadmin__ identity.grant bucket:a Missing or invalid "operations": expected non-empty array {"subjectType":"user","subjectId":"u","resourceType":"bucket","resourceName":"a"}"#,
            r#"__superadmin__ identity.transferOwner bucket:a ok {"resourceType":"bucket","resourceName":"a","newOwnerId":"u"}"#,
            "__superadmin__ identity.resetPassword user:u ok",
            "__superadmin__ identity.changePassword user:u ok",
        ]
    );
    assert!(!format!("{lines:?}").contains("hush"));
}

#[test]
fn a_flood_of_refusals_leaves_one_more_entry() {
    let refused = || request(1, "store.first", r#""bucket":"a","n":0"#);
    let mut pair = welcomed(audited(ALL));
    for _ in 0..150 {
        pair.ask(refused());
    }
    // What was executed is recorded all the same: it may have had effects, also if it failed.
    pair.ask(request(2, "store.get", r#""bucket":"missing","key":1"#));
    pair.ask(request(2, "store.all", r#""bucket":"a""#));
    let recorded = lines(&mut pair);
    assert_eq!(recorded.len(), 102, "refusals that fit, the error and the success");
    assert!(recorded[100].starts_with("- store.get missing Bucket"), "{}", recorded[100]);
    assert_eq!(recorded.last().map(String::as_str), Some("- store.all a ok"));
    pair.advance(secs(59));
    assert_eq!(lines(&mut pair), [""; 0]);
    pair.advance(secs(1));
    assert_eq!(lines(&mut pair), [r#"- * * 50 more errors within a minute {"suppressed":50}"#]);
    pair.ask(refused());
    assert_eq!(lines(&mut pair).len(), 1, "a new minute");
}

#[test]
fn a_summary_is_of_those_whose_requests_were_refused() {
    let refused = || request(1, "store.first", r#""bucket":"a","n":0"#);
    let tokens =
        || World::default().credential("ann", "ann", &["reader"]).credential("bob", "bob", &["reader"]);
    let mut pair = welcomed_in(Config { audit: ALL.to_vec(), ..with_tokens(TokenMode::default()) }, tokens());
    pair.ask(login(1, "ann"));
    for _ in 0..103 {
        pair.ask(refused());
    }
    pair.ask(login(1, "bob"));
    pair.records();
    pair.ask(refused());
    assert_eq!(lines(&mut pair), [r#"ann * * 3 more errors within a minute {"suppressed":3}"#]);
    pair.send_any(Inbound::Eof);
    assert_eq!(lines(&mut pair), [r#"bob * * 1 more errors within a minute {"suppressed":1}"#]);
}

#[test]
fn failed_logins_count_as_refusals() {
    let mut pair =
        welcomed_in(Config { audit: ALL.to_vec(), ..with_tokens(TokenMode::default()) }, World::default());
    for _ in 0..150 {
        pair.ask(login(1, "wrong"));
    }
    assert_eq!(lines(&mut pair).len(), 100);
}

#[test]
fn hanging_up_hides_nothing() {
    let mut pair = welcomed(audited(ALL)).holding_answers();
    pair.send(request(1, "store.clear", r#""bucket":"a""#));
    pair.send(subscribe(2, "qa"));
    for _ in 0..101 {
        pair.send(request(3, "store.first", r#""bucket":"a","n":0"#));
    }
    assert_eq!(pair.records().len(), 100);
    pair.send_any(Inbound::Eof);
    assert_eq!(
        lines(&mut pair),
        [
            "- store.clear a The connection ended before the answer",
            "- store.subscribe qa The connection ended before the answer",
            r#"- * * 1 more errors within a minute {"suppressed":1}"#,
        ]
    );
}

#[test]
fn long_texts_are_cut_off() {
    let mut pair = welcomed(Config { name_length_max: 0, ..audited(ALL) });
    let long = "\u{e9}".repeat(100_000);
    pair.ask(request(1, "store.get", &format!(r#""bucket":"{long}","key":1"#)));
    let operations: Vec<String> = (0..3000).map(|n| format!(r#"{{"op":"count","bucket":"{n}"}}"#)).collect();
    pair.ask(request(1, "store.transaction", &format!(r#""operations":[{}]"#, operations.join(","))));
    for record in pair.records() {
        assert!(record.resource.len() < 2100, "{}", record.resource.len());
    }
}
