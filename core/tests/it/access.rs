//! Users of the built-in identity: what they may touch, sessions that change under way, and what is kept from them.

use crate::{login, subscribe, unsubscribe, welcomed, welcomed_in};
use noex_core::{AuthMode, Config, SessionKey};
use noex_testkit::{Pair, World, error, push, request, result, subscribed, system};

fn built_in() -> Config {
    Config { auth: AuthMode::BuiltIn, rules: true, ..Config::default() }
}

fn sign_in(id: u64, user: &str) -> String {
    request(id, "identity.login", &format!(r#""username":"{user}","password":"right""#))
}

/// Ann, logged in, with rights: pairs of an operation pattern and a resource.
fn ann(rights: &[(&str, &str)]) -> Pair {
    let world = World::default();
    for (operation, resource) in rights {
        world.grant("ann", operation, resource);
    }
    let mut pair = welcomed_in(built_in(), world);
    assert_eq!(pair.ask(sign_in(0, "ann")), result(0, "\"in\""));
    pair.executed();
    pair
}

fn superadmin() -> Pair {
    let world = World::default();
    world.grant("__superadmin__", "*", "*");
    let mut pair = welcomed_in(built_in(), world);
    pair.ask(request(0, "identity.loginWithSecret", r#""secret":"secret""#));
    pair
}

fn no_access(id: u64, operation: &str, resource: &str) -> String {
    error(id, "FORBIDDEN", &format!("No access to {operation} on {resource}"))
}

#[test]
fn everything_but_a_login_needs_one() {
    let mut pair = welcomed(built_in());
    for kind in [
        "identity.whoami",
        "identity.logout",
        "identity.refreshSession",
        "identity.createUser",
        "identity.nope",
        "nope",
        "store.buckets",
        "server.revokeSession",
    ] {
        assert_eq!(
            pair.ask(request(1, kind, "")),
            error(1, "UNAUTHORIZED", "Authentication required"),
            "{kind}"
        );
    }
    assert_eq!(pair.ask(request(2, "auth.whoami", "")), result(2, r#"{"authenticated":false}"#));
    let missing = |field| format!("Missing or invalid \"{field}\": expected non-empty string");
    for (kind, fields, field) in [
        ("identity.login", r#""password":"x""#, "username"),
        ("identity.login", r#""username":"x","password":7"#, "password"),
        ("identity.loginWithSecret", "", "secret"),
        ("auth.login", "", "token"),
    ] {
        assert_eq!(pair.ask(request(3, kind, fields)), error(3, "VALIDATION_ERROR", &missing(field)));
    }
    pair.end();
}

#[test]
fn without_the_built_in_identity_its_operations_are_unknown() {
    let text = "Identity management is not configured";
    let mut pair = welcomed(Config::default());
    for kind in ["identity.whoami", "identity.login", "identity.nope"] {
        assert_eq!(pair.ask(request(1, kind, "")), error(1, "UNKNOWN_OPERATION", text));
    }
}

#[test]
fn a_login_is_a_barrier_and_whoami_is_answered_here() {
    let mut pair = welcomed(built_in()).holding_answers();
    pair.send(sign_in(1, "ann"));
    pair.send(request(2, "identity.whoami", ""));
    assert_eq!(pair.received(), [""; 0]);
    pair.answer_all();
    let who = r#"{"authenticated":true,"userId":"ann","roles":["ann"],"expiresAt":null}"#;
    assert_eq!(pair.received(), [result(1, "\"in\""), result(2, who)]);
}

#[test]
fn a_failed_login_leaves_the_session_alone() {
    let mut pair = ann(&[("store.*", "bucket:a")]);
    let answer = pair.ask(request(1, "identity.login", r#""username":"bob","password":"wrong""#));
    assert_eq!(answer, error(1, "UNAUTHORIZED", "Invalid credentials"));
    assert_eq!(pair.ask(request(2, "store.all", r#""bucket":"a""#)), result(2, "null"));
}

#[test]
fn both_ways_to_log_out_end_the_stored_session() {
    for kind in ["identity.logout", "auth.logout"] {
        let mut pair = ann(&[("store.*", "bucket:a")]);
        pair.send(subscribe(1, "qa"));
        pair.executed();
        pair.received();
        pair.send(request(2, kind, ""));
        pair.send(request(3, "store.all", r#""bucket":"a""#));
        let closed = system("subscription_closed", r#""subscriptionId":"sub-1","reason":"logged_out""#);
        assert_eq!(
            pair.received(),
            [result(2, r#"{"loggedOut":true}"#), closed, error(3, "UNAUTHORIZED", "Authentication required")]
        );
        assert_eq!(pair.executed(), ["Logout", "Unsubscribe sub-1"]);
        pair.end();
    }
}

#[test]
fn who_shares_a_session_is_logged_out_with_it() {
    let mut pair = ann(&[("store.*", "bucket:a")]);
    pair.send(subscribe(1, "qa"));
    pair.received();
    pair.end_session(SessionKey([8; 32]));
    assert_eq!(pair.ask(request(2, "store.all", r#""bucket":"a""#)), result(2, "null"), "another session");
    pair.end_session(SessionKey([7; 32]));
    let closed = system("subscription_closed", r#""subscriptionId":"sub-1","reason":"logged_out""#);
    assert_eq!(pair.received(), [closed]);
    let refused = error(3, "UNAUTHORIZED", "Authentication required");
    assert_eq!(pair.ask(request(3, "store.all", r#""bucket":"a""#)), refused);
    pair.end();
}

#[test]
fn whoever_changes_the_password_is_logged_out_after_the_answer() {
    let mut pair = ann(&[]);
    let fields = r#""userId":"ann","currentPassword":"right","newPassword":"other""#;
    pair.send(request(1, "identity.changePassword", fields));
    pair.send(request(2, "identity.whoami", ""));
    assert_eq!(
        pair.received(),
        [result(1, "\"changed\""), error(2, "UNAUTHORIZED", "Authentication required")]
    );
}

#[test]
fn rights_are_asked_for_on_the_operations_own_field() {
    let mut pair = ann(&[
        ("store.*", "bucket:a"),
        ("rules.*", "topic:t"),
        ("procedures.*", "procedure:p"),
        ("store.*", "query:qc"),
    ]);
    for (kind, fields, resource) in [
        ("store.get", r#""bucket":"b","name":"a","query":"a","key":1"#, "b"),
        ("store.insert", r#""name":"a","data":{}"#, "*"),
        ("store.dropBucket", r#""bucket":"a","name":"b""#, "b"),
        ("store.stats", r#""bucket":"a""#, "*"),
        ("store.listQueries", r#""name":"a""#, "*"),
        ("store.undefineQuery", r#""bucket":"a","name":"a""#, "a"),
        ("store.subscribe", r#""bucket":"a","name":"a","query":"qb""#, "qb"),
        ("rules.emit", r#""topic":"u","key":"t""#, "u"),
        ("rules.setFact", r#""topic":"t","key":"u","value":1"#, "u"),
        ("rules.subscribe", r#""topic":"t","pattern":"*""#, "*"),
        ("rules.getAllFacts", r#""topic":"t""#, "*"),
        ("procedures.call", r#""name":"q","bucket":"a""#, "q"),
        ("procedures.register", r#""name":"p","procedure":{"name":"q"}"#, "q"),
        ("procedures.list", r#""name":"p""#, "*"),
        ("server.stats", r#""name":"a""#, "*"),
        ("audit.query", r#""bucket":"a""#, "*"),
        ("nope", r#""bucket":"a""#, "*"),
        ("store.nope", r#""bucket":"a""#, "*"),
    ] {
        assert_eq!(pair.ask(request(1, kind, fields)), no_access(1, kind, resource), "{kind} {fields}");
    }
    for (kind, fields) in [
        ("store.get", r#""bucket":"a","name":"b","key":1"#),
        ("store.undefineQuery", r#""name":"qc""#),
        ("store.subscribe", r#""query":"qa""#),
        ("rules.emit", r#""topic":"t""#),
        ("rules.subscribe", r#""pattern":"t""#),
        ("store.buckets", ""),
    ] {
        let answer = pair.ask(request(1, kind, fields));
        assert!(answer.contains(r#""type":"result""#), "{kind} {fields}: {answer}");
    }
}

#[test]
fn every_operation_of_a_transaction_needs_both_rights() {
    let transaction = |operations: &str| request(1, "store.transaction", operations);
    let mut pair = ann(&[("store.*", "bucket:a"), ("store.get", "bucket:b")]);
    let decoy = r#""bucket":"a","operations":[{"op":"count","bucket":"a"},{"op":"count","bucket":"b"}]"#;
    assert_eq!(pair.ask(transaction(decoy)), no_access(1, "store.transaction", "b"));
    pair.world().grant("ann", "store.transaction", "bucket:b");
    assert_eq!(pair.ask(transaction(decoy)), no_access(1, "store.count", "b"));
    let allowed = r#""operations":[{"op":"count","bucket":"a"},{"op":"get","bucket":"b","key":1}]"#;
    assert_eq!(pair.ask(transaction(allowed)), result(1, "null"));
    for nothing in [r#""operations":[]"#, r#""operations":7"#, r#""operations":[null]"#, ""] {
        assert_eq!(pair.ask(transaction(nothing)), no_access(1, "store.transaction", "*"));
    }
}

#[test]
fn defining_a_query_needs_the_right_to_read_its_bucket() {
    let define = |bucket: &str| request(1, "store.defineQuery", &format!(r#""name":"q","config":{bucket}"#));
    let mut pair = ann(&[("store.defineQuery", "query:q"), ("store.*", "bucket:a")]);
    assert_eq!(pair.ask(define(r#"{"bucket":"b"}"#)), no_access(1, "store.where", "b"));
    assert_eq!(pair.ask(define("{}")), no_access(1, "store.where", "*"));
    assert_eq!(pair.ask(define(r#"{"bucket":"a"}"#)), result(1, "null"));
}

#[test]
fn a_bucket_that_has_the_name_of_a_query_gives_no_right_on_it() {
    let world = World::default().query("mine", "b");
    world.grant("ann", "*", "bucket:mine");
    let mut pair = welcomed_in(built_in(), world);
    pair.ask(sign_in(0, "ann"));
    assert_eq!(pair.ask(subscribe(1, "mine")), no_access(1, "store.subscribe", "mine"));
    let define = r#""name":"mine","config":{"bucket":"mine"}"#;
    assert_eq!(pair.ask(request(2, "store.defineQuery", define)), no_access(2, "store.defineQuery", "mine"));
}

#[test]
fn the_bucket_list_shows_what_is_permitted_and_no_system_bucket() {
    let mut pair = ann(&[("store.*", "bucket:b")]);
    assert_eq!(pair.ask(request(1, "store.buckets", "")), result(1, r#"["b"]"#));
    let mut pair = superadmin();
    assert_eq!(pair.ask(request(1, "store.buckets", "")), result(1, r#"["a", "b"]"#));
}

#[test]
fn system_buckets_are_out_of_reach_after_permissions_and_limits() {
    let refused = |id, bucket: &str| {
        error(id, "FORBIDDEN", &format!("Cannot access system bucket \"{bucket}\" directly"))
    };
    let mut pair = superadmin();
    for (kind, fields) in [
        ("store.all", r#""bucket":"_users""#),
        ("store.defineQuery", r#""name":"q","config":{"bucket":"_users"}"#),
        ("store.defineBucket", r#""name":"b","config":{"schema":{"u":{"ref":"_users"}}}"#),
        ("store.updateBucket", r#""name":"b","updates":{"addFields":{"u":{"ref":"_users"}}}"#),
    ] {
        assert_eq!(pair.ask(request(1, kind, fields)), refused(1, "_users"), "{kind}");
    }
    let operations = r#""operations":[{"op":"count","bucket":"a"},{"op":"get","bucket":"_acl","key":1}]"#;
    assert_eq!(
        pair.ask(request(2, "store.transaction", operations)),
        error(2, "FORBIDDEN", "Cannot access system bucket \"_acl\" in transaction")
    );
    let mut pair = ann(&[("store.*", "bucket:a")]);
    assert_eq!(
        pair.ask(request(3, "store.all", r#""bucket":"_users""#)),
        no_access(3, "store.all", "_users")
    );
    let mut pair = welcomed(Config::default());
    assert_eq!(pair.ask(request(4, "store.all", r#""bucket":"_users""#)), result(4, "null"));
}

#[test]
fn statistics_show_system_buckets_to_the_superadmin_only() {
    let mut pair = ann(&[("*", "*")]);
    pair.ask(request(1, "store.stats", ""));
    pair.ask(request(2, "server.stats", ""));
    assert_eq!(pair.executed(), ["Stats { system: false }", "Stats { system: false }"]);
    let mut pair = superadmin();
    pair.executed();
    pair.ask(request(1, "store.stats", ""));
    assert_eq!(pair.executed(), ["Stats { system: true }"]);
}

#[test]
fn roles_come_before_fields() {
    let admin = [
        "createUser",
        "getUser",
        "deleteUser",
        "listUsers",
        "enableUser",
        "disableUser",
        "resetPassword",
        "listRoles",
        "assignRole",
        "removeRole",
        "getUserRoles",
    ];
    let superadmin = ["createRole", "updateRole", "deleteRole"];
    let mut pair = ann(&[]);
    let ask = |pair: &mut Pair, name: &str, fields| pair.ask(request(1, &format!("identity.{name}"), fields));
    for name in admin {
        assert_eq!(ask(&mut pair, name, ""), error(1, "FORBIDDEN", "Admin role required"), "{name}");
    }
    pair.update_roles("ann", &["admin"]);
    for name in superadmin {
        assert_eq!(ask(&mut pair, name, ""), error(1, "FORBIDDEN", "Superadmin role required"), "{name}");
    }
    let required = |field: &str| {
        error(1, "VALIDATION_ERROR", &format!("Missing or invalid \"{field}\": expected non-empty string"))
    };
    for (name, fields, field) in [
        ("createUser", "", "username"),
        ("createUser", r#""username":"u""#, "password"),
        ("getUser", r#""userId":"""#, "userId"),
        ("assignRole", r#""userId":"u""#, "roleName"),
        ("changePassword", r#""userId":"u","newPassword":"n""#, "currentPassword"),
        ("changePassword", r#""userId":"u","currentPassword":"n""#, "newPassword"),
        ("resetPassword", r#""userId":"u""#, "newPassword"),
        ("grant", r#""subjectType":"user","resourceType":"bucket""#, "subjectId"),
        ("getAcl", r#""resourceType":"bucket""#, "resourceName"),
        ("transferOwner", r#""resourceType":"bucket","resourceName":"a""#, "newOwnerId"),
    ] {
        assert_eq!(ask(&mut pair, name, fields), required(field), "{name}");
    }
    pair.update_roles("ann", &["superadmin"]);
    assert_eq!(ask(&mut pair, "createRole", r#""name":7"#), required("name"));
    assert_eq!(ask(&mut pair, "updateRole", ""), required("roleId"));
}

#[test]
fn users_may_change_themselves_and_nobody_else() {
    let mut pair = ann(&[]);
    let update = |fields: &str| request(1, "identity.updateUser", fields);
    assert_eq!(
        pair.ask(update("")),
        error(1, "VALIDATION_ERROR", "Missing or invalid \"userId\": expected non-empty string")
    );
    assert_eq!(pair.ask(update(r#""userId":"bob""#)), error(1, "FORBIDDEN", "Admin role required"));
    assert_eq!(pair.executed(), [""; 0]);
    pair.ask(update(r#""userId":"ann","displayName":7,"email":null,"metadata":[],"username":"x""#));
    pair.ask(update(r#""userId":"ann","displayName":"A""#));
    let executed = pair.executed();
    let of_a_wrong_type = executed.first().expect("executed");
    assert!(of_a_wrong_type.contains("display_name: Some(None), email: Some(None), metadata: Some(Object"));
    let changes = "UserChanges { display_name: Some(Some(\"A\")), email: None, metadata: None }";
    assert_eq!(executed.get(1), Some(&format!("UpdateUser {{ user_id: \"ann\", changes: {changes} }}")));
}

#[test]
fn optional_fields_of_a_wrong_type_count_as_absent() {
    let mut pair = superadmin();
    pair.executed();
    for (kind, fields, call) in [
        ("listUsers", r#""page":0.9,"pageSize":1e9"#, "ListUsers { page: 1, page_size: 200 }"),
        ("listUsers", r#""page":"2","pageSize":null"#, "ListUsers { page: 1, page_size: 50 }"),
        ("listUsers", r#""page":2.9,"pageSize":-3"#, "ListUsers { page: 2, page_size: 1 }"),
        (
            "createRole",
            r#""name":"r","description":7,"permissions":{}"#,
            "CreateRole { name: \"r\", description: None, permissions: [] }",
        ),
        (
            "updateRole",
            r#""roleId":"r","description":7,"permissions":"*""#,
            "UpdateRole { role_id: \"r\", description: None, permissions: None }",
        ),
        (
            "revoke",
            r#""subjectType":"user","subjectId":"u","resourceType":"bucket","resourceName":"a","operations":[]"#,
            "Revoke { subject: Subject { kind: \"user\", id: \"u\" }, resource: ResourceName { kind: \"bucket\", \
             name: \"a\" }, operations: None }",
        ),
    ] {
        pair.ask(request(1, &format!("identity.{kind}"), fields));
        assert_eq!(pair.executed(), [call], "{kind} {fields}");
    }
    let grant = r#""subjectType":"user","subjectId":"u","resourceType":"bucket","resourceName":"a""#;
    for operations in ["", r#","operations":"read""#, r#","operations":null"#] {
        assert_eq!(
            pair.ask(request(1, "identity.grant", &format!("{grant}{operations}"))),
            error(1, "VALIDATION_ERROR", "Missing or invalid \"operations\": expected non-empty array")
        );
    }
}

#[test]
fn pushes_stop_at_once_when_the_right_ends() {
    let mut pair = ann(&[("*", "bucket:a"), ("*", "topic:order.*")]);
    assert_eq!(pair.ask(subscribe(1, "qa")), subscribed(1, 1, r#"{"n":0}"#));
    pair.ask(request(2, "rules.subscribe", r#""pattern":"order.*""#));
    // One change has come and is held back, because the peer does not read.
    pair.stall();
    pair.send(request(3, "store.first", r#""bucket":"a","n":900000"#));
    pair.publish("qa", Some("1"));
    pair.world().withdraw("ann", "bucket:a");
    pair.recheck();
    pair.publish("qa", Some("2"));
    pair.emit("order.new");
    pair.flow();
    let received = pair.received();
    let closed = system("subscription_closed", r#""subscriptionId":"sub-1","reason":"permission_revoked""#);
    assert_eq!(received.get(1), Some(&closed));
    assert_eq!(received.len(), 3, "{received:?}");
    assert!(received.iter().any(|text| text.contains("order.new")), "what is still permitted goes on");
    assert_eq!(pair.ask(unsubscribe(4, 1)), result(4, r#"{"unsubscribed":true}"#));
    pair.end();
}

#[test]
fn roles_change_in_place() {
    let mut pair = ann(&[("*", "bucket:a")]);
    pair.ask(subscribe(1, "qa"));
    pair.update_roles("bob", &["admin"]);
    pair.update_roles("ann", &["reader", "admin"]);
    let who = r#"{"authenticated":true,"userId":"ann","roles":["reader","admin"],"expiresAt":null}"#;
    assert_eq!(pair.ask(request(2, "identity.whoami", "")), result(2, who));
    pair.publish("qa", Some("1"));
    assert_eq!(pair.received(), [push(1, "1")]);
    pair.world().withdraw("ann", "bucket:a");
    pair.update_roles("ann", &["reader", "admin"]);
    let closed = system("subscription_closed", r#""subscriptionId":"sub-1","reason":"permission_revoked""#);
    assert_eq!(pair.received(), [closed], "rights can change without the names of roles");
}

#[test]
fn a_subscription_whose_right_ends_before_its_answer_is_ended_after_it() {
    let mut pair = ann(&[("*", "bucket:a")]).holding_answers();
    pair.send(subscribe(1, "qa"));
    pair.world().withdraw("ann", "bucket:a");
    pair.recheck();
    pair.answer_all();
    let closed = system("subscription_closed", r#""subscriptionId":"sub-1","reason":"permission_revoked""#);
    assert_eq!(pair.received(), [subscribed(1, 1, r#"{"n":0}"#), closed]);
    pair.end();
}

#[test]
fn a_session_token_reconnects() {
    let world = World::default();
    world.grant("reader", "*", "bucket:a");
    let mut pair = welcomed_in(built_in(), world);
    let answer = pair.ask(login(1, "reader"));
    assert_eq!(answer, result(1, r#"{"userId":"reader","roles":["reader"],"expiresAt":null}"#));
    assert_eq!(pair.ask(request(2, "store.all", r#""bucket":"a""#)), result(2, "null"));
    assert_eq!(pair.ask(login(3, "nobody")), error(3, "UNAUTHORIZED", "Invalid token"));
    assert_eq!(pair.ask(request(4, "store.all", r#""bucket":"b""#)), no_access(4, "store.all", "b"));
}

#[test]
fn revocation_over_the_wire_is_checked() {
    let mut pair = welcomed(Config::default());
    assert_eq!(
        pair.ask(request(1, "server.revokeSession", r#""userId":"u""#)),
        error(1, "UNKNOWN_OPERATION", "Authentication is not configured")
    );
    let mut pair = superadmin();
    pair.executed();
    let required = |field: &str| {
        error(1, "VALIDATION_ERROR", &format!("Missing or invalid \"{field}\": expected non-empty string"))
    };
    assert_eq!(pair.ask(request(1, "server.revokeSession", "")), required("userId"));
    assert_eq!(pair.ask(request(1, "server.unrevoke", r#""userId":"""#)), required("userId"));
    assert_eq!(pair.ask(request(1, "server.revokeSessions", r#""userId":"u","role":7"#)), required("role"));
    assert_eq!(
        pair.ask(request(1, "server.revokeSessions", "")),
        error(1, "VALIDATION_ERROR", "Missing \"userId\" or \"role\": expected at least one")
    );
    pair.ask(request(1, "server.revokeSession", r#""userId":"u""#));
    pair.ask(request(1, "server.revokeSessions", r#""role":"r""#));
    pair.ask(request(1, "server.unrevoke", r#""userId":"u""#));
    assert_eq!(
        pair.executed(),
        [
            "RevokeSession { user_id: \"u\" }",
            "RevokeSessions { user_id: None, role: Some(\"r\") }",
            "Unrevoke { user_id: \"u\" }"
        ]
    );
}
