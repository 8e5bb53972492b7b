//! Tiers, permission rules, and from which field the checked resource is read.

use crate::{log_in, logged_in, login, optional, subscribe, welcomed, welcomed_in, with_tokens};
use noex_core::{Config, PermissionRule, Permissions, TokenMode};
use noex_testkit::{Pair, World, error, request, result, system};

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn rule(role: &str, allow: &[&str]) -> PermissionRule {
    PermissionRule { role: role.into(), allow: strings(allow), buckets: None, topics: None }
}

/// Denies what no rule allows.
fn only(rules: Vec<PermissionRule>) -> TokenMode {
    TokenMode { permissions: Some(Permissions { default_allow: false, rules }), ..TokenMode::default() }
}

/// A guest, who has no tier, limited to bucket `a` and to topics under `order.`.
fn limited_guest() -> Pair {
    let rule = PermissionRule {
        buckets: Some(strings(&["a", "mine"])),
        topics: Some(strings(&["order.*"])),
        ..rule("guest", &["store.*", "rules.*"])
    };
    let config = Config { rules: true, ..with_tokens(only(vec![rule])) };
    let mut pair = welcomed(config);
    log_in(&mut pair, "guest");
    pair.executed();
    pair
}

fn forbidden(id: u64, operation: &str, resource: &str) -> String {
    error(id, "FORBIDDEN", &format!("No permission for {operation} on {resource}"))
}

fn allowed(pair: &mut Pair, kind: &str, fields: &str) -> bool {
    !pair.ask(request(1, kind, fields)).contains("FORBIDDEN")
}

#[test]
fn tiers_ask_for_a_level() {
    for (credential, read, write, admin) in [
        ("reader", true, false, false),
        ("writer", true, true, false),
        ("admin", true, true, true),
        ("guest", true, true, true),
    ] {
        let mut pair = logged_in(TokenMode::default(), World::default(), credential);
        assert_eq!(allowed(&mut pair, "store.all", r#""bucket":"a""#), read);
        assert_eq!(allowed(&mut pair, "store.clear", r#""bucket":"a""#), write);
        assert_eq!(allowed(&mut pair, "store.listQueries", ""), admin);
        assert_eq!(allowed(&mut pair, "server.stats", ""), admin);
        assert!(allowed(&mut pair, "nope", ""), "what is unknown has no tier");
    }
    let mut pair = logged_in(TokenMode::default(), World::default(), "reader");
    let answer = pair.ask(request(1, "store.dropBucket", r#""name":"a""#));
    assert_eq!(
        answer,
        error(1, "FORBIDDEN", "Role level insufficient for store.dropBucket (requires admin)")
    );
}

#[test]
fn strict_tiers_put_those_without_a_built_in_role_below() {
    let token = TokenMode { strict_tiers: true, ..TokenMode::default() };
    let mut pair = logged_in(token, World::default(), "guest");
    let answer = pair.ask(request(1, "store.all", r#""bucket":"a""#));
    assert_eq!(answer, error(1, "FORBIDDEN", "Role level insufficient for store.all (requires read)"));
    assert!(allowed(&mut pair, "server.health", ""));
}

#[test]
fn the_highest_role_counts() {
    let world = World::default().credential("both", "both", &["reader", "other", "admin"]);
    let mut pair = logged_in(TokenMode::default(), world, "both");
    assert!(allowed(&mut pair, "store.listQueries", ""));
}

#[test]
fn anonymous_clients_may_do_everything_unless_they_have_roles() {
    let mut pair = welcomed(with_tokens(optional()));
    assert!(allowed(&mut pair, "server.stats", ""));
    let roles = Some(vec!["reader".to_owned()]);
    let mut pair = welcomed(with_tokens(TokenMode { anonymous_roles: roles.clone(), ..optional() }));
    assert!(allowed(&mut pair, "store.all", r#""bucket":"a""#));
    assert!(!allowed(&mut pair, "server.stats", ""));
    log_in(&mut pair, "admin");
    assert!(allowed(&mut pair, "server.stats", ""));
    // The roles of anonymous clients are no login.
    let mut pair = welcomed(with_tokens(TokenMode { anonymous_roles: roles, ..TokenMode::default() }));
    let answer = pair.ask(request(1, "store.all", r#""bucket":"a""#));
    assert_eq!(answer, error(1, "UNAUTHORIZED", "Authentication required"));
}

#[test]
fn rules_can_only_allow() {
    let rules = vec![rule("reader", &["store.get"]), rule("admin", &["*"])];
    let mut pair = logged_in(only(rules.clone()), World::default(), "reader");
    assert!(allowed(&mut pair, "store.get", r#""bucket":"a","key":1"#));
    let answer = pair.ask(request(2, "store.all", r#""bucket":"a""#));
    assert_eq!(answer, forbidden(2, "store.all", "a"));
    assert_eq!(pair.ask(request(3, "nope", "")), forbidden(3, "nope", "*"));
    assert_eq!(pair.ask(request(4, "store.all", r#""bucket":7"#)), forbidden(4, "store.all", "*"));

    // Tiers come first: a rule does not lift them.
    let mut pair = logged_in(only(vec![rule("reader", &["*"])]), World::default(), "reader");
    assert!(pair.ask(request(5, "store.clear", r#""bucket":"a""#)).contains("Role level insufficient"));

    let mut token = only(rules);
    token.permissions = token.permissions.map(|p| Permissions { default_allow: true, ..p });
    let mut pair = logged_in(token, World::default(), "reader");
    assert!(allowed(&mut pair, "store.all", r#""bucket":"a""#));
}

#[test]
fn the_resource_is_read_from_the_operations_own_field() {
    let mut pair = limited_guest();
    for (kind, fields, resource) in [
        ("store.get", r#""bucket":"b","key":1,"name":"a","query":"a""#, "b"),
        ("store.get", r#""bucket":"a","bucket":"b","key":1"#, "b"),
        ("store.get", r#""name":"a","key":1"#, "*"),
        ("store.dropBucket", r#""bucket":"a","name":"b""#, "b"),
        ("store.defineBucket", r#""bucket":"a","name":"new","config":{}"#, "new"),
        ("store.undefineQuery", r#""bucket":"a","name":"qb""#, "qb"),
        ("store.subscribe", r#""bucket":"a","name":"a","query":"qb""#, "qb"),
        ("store.stats", r#""bucket":"a""#, "*"),
        ("store.listQueries", r#""bucket":"a","name":"a""#, "*"),
        ("rules.subscribe", r#""topic":"order.new","key":"order.new","pattern":"*""#, "*"),
        ("rules.subscribe", r#""pattern":"stock.*""#, "stock.*"),
        ("rules.emit", r#""key":"order.new","topic":"stock.low""#, "stock.low"),
        ("rules.getFact", r#""topic":"order.new","key":"secret""#, "secret"),
        ("rules.getAllFacts", r#""topic":"order.new""#, "*"),
        ("rules.registerRule", r#""topic":"order.new","rule":{}"#, "*"),
    ] {
        assert_eq!(pair.ask(request(1, kind, fields)), forbidden(1, kind, resource), "{kind} {fields}");
    }
    assert_eq!(pair.executed(), [""; 0]);
    for (kind, fields) in [
        ("store.get", r#""bucket":"a","key":1,"name":"b""#),
        ("store.dropBucket", r#""bucket":"b","name":"mine""#),
        ("store.subscribe", r#""query":"qa""#),
        ("store.unsubscribe", r#""subscriptionId":"sub-1""#),
        ("rules.subscribe", r#""pattern":"order.*""#),
        ("rules.unsubscribe", r#""subscriptionId":"sub-2""#),
        ("rules.emit", r#""topic":"order.new.big""#),
    ] {
        assert!(allowed(&mut pair, kind, fields), "{kind} {fields}");
    }
}

#[test]
fn a_constraint_that_does_not_apply_is_satisfied() {
    // `buckets` is looked at for store operations only, `topics` for rules only.
    let constrained = PermissionRule { buckets: Some(strings(&["a"])), ..rule("guest", &["*"]) };
    let mut pair = welcomed(Config { rules: true, ..with_tokens(only(vec![constrained])) });
    log_in(&mut pair, "guest");
    assert!(allowed(&mut pair, "server.stats", ""));
    assert!(allowed(&mut pair, "rules.emit", r#""topic":"x""#));
    assert!(!allowed(&mut pair, "store.stats", ""));
}

#[test]
fn every_operation_of_a_transaction_is_checked() {
    let mut pair = limited_guest();
    let transaction = |operations: &str| {
        request(1, "store.transaction", &format!(r#""bucket":"a","name":"a","operations":{operations}"#))
    };
    let get = |bucket: &str| format!(r#"{{"op":"get","bucket":"{bucket}","key":1}}"#);
    let mixed = format!("[{},{}]", get("a"), get("b"));
    assert_eq!(pair.ask(transaction(&mixed)), forbidden(1, "store.transaction", "b"));
    assert_eq!(pair.ask(transaction("[]")), forbidden(1, "store.transaction", "*"));
    assert_eq!(pair.ask(transaction("[null]")), forbidden(1, "store.transaction", "*"));
    assert_eq!(pair.ask(transaction("7")), forbidden(1, "store.transaction", "*"));
    assert_eq!(pair.executed(), [""; 0]);
    assert_eq!(pair.ask(transaction(&format!("[{},{}]", get("a"), get("mine")))), result(1, "null"));

    let rules = vec![rule("writer", &["store.transaction", "store.get"])];
    let mut pair = logged_in(only(rules), World::default(), "writer");
    assert_eq!(pair.ask(transaction(&format!("[{}]", get("a")))), result(1, "null"));
    let insert = r#"[{"op":"insert","bucket":"a","data":{}}]"#;
    assert_eq!(pair.ask(transaction(insert)), forbidden(1, "store.insert", "a"));
}

#[test]
fn a_query_needs_its_name_and_the_right_to_read_its_bucket() {
    let mut pair = limited_guest();
    let define = |name: &str, config: &str| {
        request(1, "store.defineQuery", &format!(r#""bucket":"a","name":"{name}","config":{config}"#))
    };
    assert_eq!(pair.ask(define("other", r#"{"bucket":"a"}"#)), forbidden(1, "store.defineQuery", "other"));
    assert_eq!(pair.ask(define("mine", r#"{"bucket":"b"}"#)), forbidden(1, "store.where", "b"));
    assert_eq!(pair.ask(define("mine", "{}")), forbidden(1, "store.where", "*"));
    assert_eq!(pair.ask(define("mine", r#"{"bucket":"a"}"#)), result(1, "null"));
}

#[test]
fn the_bucket_list_shows_what_is_permitted() {
    let mut pair = limited_guest();
    assert_eq!(pair.ask(request(1, "store.buckets", "")), result(1, r#"["a", "mine"]"#));
    // Whoever is not limited to buckets sees them all: the host is given no list.
    let mut pair = logged_in(only(vec![rule("reader", &["store.*"])]), World::default(), "reader");
    pair.send(request(1, "store.buckets", ""));
    assert_eq!(pair.executed().last().map(String::as_str), Some("Buckets { permitted: None }"));
    let mut pair = logged_in(only(vec![rule("reader", &["store.get"])]), World::default(), "reader");
    assert_eq!(pair.ask(request(1, "store.buckets", "")), forbidden(1, "store.buckets", "*"));
}

#[test]
fn an_embedders_check_decides_where_it_wants_to() {
    let world = World::default().permission_check(|session, operation, resource| {
        assert_eq!(session.user_id, "reader");
        match (operation, resource) {
            ("store.get", bucket) => Some(bucket == "b"),
            _ => None,
        }
    });
    let mut pair = logged_in(only(vec![rule("reader", &["store.get", "store.all"])]), world, "reader");
    assert!(allowed(&mut pair, "store.get", r#""bucket":"b","key":1"#));
    assert!(!allowed(&mut pair, "store.get", r#""bucket":"a","key":1"#));
    assert!(allowed(&mut pair, "store.all", r#""bucket":"a""#));
    assert!(!allowed(&mut pair, "store.count", r#""bucket":"a""#));
}

#[test]
fn another_login_ends_what_its_user_may_not_watch() {
    let limited = |role: &str, bucket: &str, topic: &str| PermissionRule {
        buckets: Some(strings(&[bucket])),
        topics: Some(strings(&[topic])),
        ..rule(role, &["store.*", "rules.*"])
    };
    let rules = vec![limited("guest", "a", "order.*"), limited("reader", "b", "*"), rule("admin", &["*"])];
    let config = Config { rules: true, ..with_tokens(only(rules)) };
    let mut pair = welcomed_in(config, World::default());
    log_in(&mut pair, "admin");
    for (id, query) in [(1, "qa"), (2, "qb")] {
        pair.send(subscribe(id, query));
    }
    for (id, pattern) in [(3, "order.new"), (4, "stock.*")] {
        pair.send(request(id, "rules.subscribe", &format!(r#""pattern":"{pattern}""#)));
    }
    pair.received();
    pair.send(login(5, "guest"));
    let closed = |number: u64| {
        let fields = format!(r#""subscriptionId":"sub-{number}","reason":"permission_revoked""#);
        system("subscription_closed", &fields)
    };
    let session = r#"{"userId":"guest","roles":["guest"],"expiresAt":null}"#;
    assert_eq!(pair.received(), [closed(2), closed(4), result(5, session)]);
    assert_eq!(pair.publish("qa", Some("1")).len(), 1);
    assert_eq!(pair.publish("qb", Some("1")).len(), 0);
    assert_eq!((pair.emit("order.new").len(), pair.emit("stock.low").len()), (1, 0));
    pair.received();
    pair.send(login(6, "reader"));
    let session = r#"{"userId":"reader","roles":["reader"],"expiresAt":null}"#;
    assert_eq!(pair.received(), [closed(1), result(6, session)]);
}

#[test]
fn logging_out_ends_what_anonymous_clients_may_not_watch() {
    let rules = vec![
        PermissionRule { buckets: Some(strings(&["b"])), ..rule("guest", &["store.subscribe"]) },
        rule("admin", &["*"]),
    ];
    let anonymous_roles = Some(strings(&["guest"]));
    let mut pair = welcomed(with_tokens(TokenMode { required: false, anonymous_roles, ..only(rules) }));
    log_in(&mut pair, "admin");
    pair.send(subscribe(1, "qa"));
    pair.send(subscribe(2, "qb"));
    pair.received();
    pair.send(request(3, "auth.logout", ""));
    assert_eq!(
        pair.received(),
        [
            result(3, r#"{"loggedOut":true}"#),
            system("subscription_closed", r#""subscriptionId":"sub-1","reason":"permission_revoked""#),
        ]
    );
}
