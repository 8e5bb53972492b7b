//! Attacks on permissions and identity, as an intruder, a user or an administrator would try them.

use crate::{
    client::{Item, close},
    tour::{Tour, define, with_identity},
    world::World,
};
use noex_host::{AuditOptions, Hub, Options, ProceduresOptions, StartError, core::AuditQuery};
use serde_json::{Value as Json, json};

#[test]
fn fields_that_an_operation_does_not_use_open_nothing() {
    let mut tour = Tour::new();
    tour.role(
        "mine",
        json!([{"allow": "store.*", "buckets": ["brief"]}, {"allow": "rules.*", "topics": ["t"]}]),
    );
    tour.user("ann", &["mine"]);
    let mut ann = tour.login("ann");
    let insert = json!({"op": "insert", "bucket": "items", "data": {"id": "1"}});
    let transaction = json!({"bucket": "brief", "name": "brief", "operations": [insert]});
    tour.no_access(&mut ann, "store.transaction", transaction, "items");
    tour.no_access(&mut ann, "store.dropBucket", json!({"bucket": "brief", "name": "items"}), "items");
    tour.no_access(&mut ann, "store.subscribe", json!({"bucket": "brief", "query": "all"}), "all");
    tour.no_access(&mut ann, "rules.subscribe", json!({"topic": "t", "pattern": "*"}), "*");
    tour.no_access(&mut ann, "rules.getAllFacts", json!({"topic": "t", "key": "t"}), "*");
    let own = json!({"operations": [{"op": "insert", "bucket": "brief", "data": {"id": "1"}}]});
    tour.ok(&mut ann, "store.transaction", own);
}

#[test]
fn system_buckets_cannot_be_reached_by_any_way() {
    let mut tour = Tour::new();
    let direct = "FORBIDDEN Cannot access system bucket \"_users\" directly";
    let mut root = std::mem::replace(&mut tour.root, tour.world.connect());
    let step = json!({"action": "store.insert", "bucket": "_users", "data": {}});
    let branch =
        json!({"action": "if", "condition": {"ref": "input.a", "operator": "exists"}, "then": [step]});
    for (kind, fields) in [
        ("store.all", json!({"bucket": "_users"})),
        ("store.defineQuery", json!({"name": "q", "config": {"bucket": "_users"}})),
        (
            "store.defineBucket",
            json!({"name": "b", "config": {"key": "id", "schema": {"id": {"type": "string", "ref": "_users"}}}}),
        ),
        ("procedures.register", json!({"procedure": {"name": "p", "steps": [step]}})),
        ("procedures.register", json!({"procedure": {"name": "p", "steps": [branch], "transaction": true}})),
    ] {
        assert_eq!(tour.refused(&mut root, kind, fields), direct, "{kind}");
    }
    let step = json!({"action": "store.count", "bucket": "items", "as": "n"});
    tour.ok(&mut root, "procedures.register", json!({"procedure": {"name": "p", "steps": [step]}}));
    let updates = json!({"name": "p", "updates": {"steps": [{"action": "store.count", "bucket": "_users", "as": "n"}]}});
    assert_eq!(tour.refused(&mut root, "procedures.update", updates), direct);
    // Rules: neither through the service of the store nor by events of its changes.
    tour.ok(&mut root, "rules.subscribe", json!({"pattern": "*"}));
    let action = json!({"type": "call_service", "service": "store", "method": "insert",
        "args": ["_user_roles", {"id": "x", "userId": "u", "roleId": "r"}]});
    let rule =
        json!({"id": "r", "name": "r", "trigger": {"type": "event", "topic": "go"}, "actions": [action]});
    tour.ok(&mut root, "rules.registerRule", json!({"rule": rule}));
    let before = tour.ok(&mut root, "store.stats", json!({}))["records"]["perBucket"]["_user_roles"].clone();
    tour.ok(&mut root, "rules.emit", json!({"topic": "go"}));
    tour.ok(&mut root, "identity.createUser", json!({"username": "ann", "password": "password"}));
    tour.ok(&mut root, "store.insert", json!({"bucket": "items", "data": {"id": "1"}}));
    let after = tour.ok(&mut root, "store.stats", json!({}));
    assert_eq!(after["records"]["perBucket"]["_user_roles"], before);
    assert_eq!(after["records"]["perBucket"]["_users"], 1);
    let mut watcher = root;
    watcher.text(r#"{"id":1,"type":"identity.createUser","username":"bob","password":"password"}"#);
    watcher.text(r#"{"id":2,"type":"store.insert","bucket":"items","data":{"id":"2"}}"#);
    let seen = tour.world.exchange(&mut watcher).join("\n");
    assert!(seen.contains("bucket.items.inserted") && !seen.contains("_users"), "{seen}");
}

#[test]
fn definitions_at_the_start_do_not_name_system_buckets() {
    let mut options = with_identity();
    let schema = r#"{"key":"id","schema":{"id":{"type":"string","ref":"_roles"}}}"#;
    options.buckets = vec![
        ("_mine".into(), r#"{"key":"id","schema":{"id":{"type":"string"}}}"#.into()),
        ("b".into(), schema.into()),
    ];
    options.queries = vec![("q".into(), r#"{"bucket":"_users"}"#.into())];
    let definition = r#"{"name":"p","steps":[{"action":"store.get","bucket":"_acl","key":"k","as":"a"}]}"#;
    options.procedures =
        Some(ProceduresOptions { definitions: vec![definition.into()], ..ProceduresOptions::default() });
    let Err(StartError::Definitions(problems)) = Hub::new(options, World::new(Options::default()).now())
    else {
        panic!("started")
    };
    let text =
        |place: &str, bucket: &str| format!("{place}: Cannot access system bucket \"{bucket}\" directly");
    assert_eq!(
        problems,
        [
            "buckets._mine: Bucket name must not start with \"_\"".to_owned(),
            text("buckets.b", "_roles"),
            text("queries.q", "_users"),
            text("procedures.definitions[0]", "_acl")
        ]
    );
}

#[test]
fn the_right_to_one_procedure_is_none_to_another_nor_to_what_it_does_for_its_caller() {
    let mut tour = Tour::new();
    let ann_id = tour.user("ann", &[]);
    let steps = json!([{"action": "store.insert", "bucket": "items", "data": {"id": "{{ input.id }}"}}]);
    for (name, more) in [
        ("definer", json!({})),
        ("caller", json!({"runAs": "caller"})),
        ("both", json!({"runAs": "caller", "transaction": true})),
        ("other", json!({})),
    ] {
        let mut procedure = json!({"name": name, "steps": steps});
        procedure.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        tour.root("procedures.register", json!({"procedure": procedure}));
    }
    for name in ["definer", "caller", "both"] {
        tour.grant(&ann_id, "procedure", name, &["write"]);
    }
    let mut ann = tour.login("ann");
    tour.no_access(&mut ann, "procedures.call", json!({"name": "other", "bucket": "items"}), "other");
    tour.ok(&mut ann, "procedures.call", json!({"name": "definer", "input": {"id": "1"}}));
    for name in ["caller", "both"] {
        let call = json!({"name": name, "input": {"id": "2"}});
        assert_eq!(
            tour.refused(&mut ann, "procedures.call", call),
            "FORBIDDEN No access to store.insert on items"
        );
    }
    tour.grant(&ann_id, "bucket", "items", &["write"]);
    tour.ok(&mut ann, "procedures.call", json!({"name": "caller", "input": {"id": "2"}}));
    tour.ok(&mut ann, "procedures.call", json!({"name": "both", "input": {"id": "3"}}));
    let owner =
        tour.root("identity.getOwner", json!({"resourceType": "procedure", "resourceName": "definer"}));
    assert_eq!(owner["owner"]["userId"], "__superadmin__");
    tour.root("procedures.unregister", json!({"name": "definer"}));
    let owner =
        tour.root("identity.getOwner", json!({"resourceType": "procedure", "resourceName": "definer"}));
    assert_eq!(owner["owner"], Json::Null);
}

#[test]
fn an_admin_does_not_touch_superadmins() {
    let mut tour = Tour::new();
    let adam = tour.user("adam", &["admin"]);
    let sara = tour.user("sara", &["superadmin"]);
    let mut client = tour.login("adam");
    for (kind, fields) in [
        ("identity.assignRole", json!({"userId": adam, "roleName": "superadmin"})),
        ("identity.removeRole", json!({"userId": sara, "roleName": "superadmin"})),
        ("identity.resetPassword", json!({"userId": sara, "newPassword": "password2"})),
        ("identity.disableUser", json!({"userId": sara})),
        ("identity.deleteUser", json!({"userId": sara})),
        ("server.revokeSession", json!({"userId": sara})),
        ("server.revokeSession", json!({"userId": "__superadmin__"})),
        ("server.revokeSessions", json!({"role": "superadmin"})),
        ("server.revokeSessions", json!({"userId": "__superadmin__"})),
        ("server.unrevoke", json!({"userId": sara})),
    ] {
        assert_eq!(tour.refused(&mut client, kind, fields), "FORBIDDEN Superadmin role required", "{kind}");
    }
    tour.login("sara");
    let bob = tour.user("bob", &["writer"]);
    tour.login("bob");
    assert_eq!(
        tour.ok(&mut client, "server.revokeSessions", json!({"role": "writer"})),
        json!({"revoked": 1})
    );
    assert_eq!(tour.ok(&mut client, "server.unrevoke", json!({"userId": bob})), json!({"removed": true}));
}

#[test]
fn events_of_the_store_show_no_bucket_that_may_not_be_read() {
    let mut tour = Tour::new();
    let ann_id = {
        tour.role("listener", json!([{"allow": ["rules.subscribe", "rules.emit"]}]));
        tour.user("ann", &["listener"])
    };
    let mut ann = tour.login("ann");
    let refused =
        |pattern: &str| (json!({ "pattern": pattern }), if pattern.contains('*') { "*" } else { "items" });
    for pattern in ["*", "*.items.inserted", "b*", "bucket.*", "bucket.items.*", "bucket.items.inserted"] {
        let (fields, bucket) = refused(pattern);
        let text = format!("FORBIDDEN No access to store.where on {bucket}");
        assert_eq!(tour.refused(&mut ann, "rules.subscribe", fields), text, "{pattern}");
    }
    for pattern in ["order.*", "bucket.items", "bucket.items.counted", "buckets.*"] {
        tour.ok(&mut ann, "rules.subscribe", json!({ "pattern": pattern }));
    }
    tour.grant(&ann_id, "bucket", "items", &["read"]);
    tour.ok(&mut ann, "rules.subscribe", json!({"pattern": "bucket.items.inserted"}));
    tour.root("store.insert", json!({"bucket": "items", "data": {"id": "1"}}));
    assert_eq!(tour.news(&mut ann)[0]["data"]["topic"], "bucket.items.inserted");
    tour.revoke(&ann_id, "bucket", "items");
    tour.root("store.insert", json!({"bucket": "items", "data": {"id": "2"}}));
    let news = tour.news(&mut ann);
    assert_eq!((news.len(), &news[0]["reason"]), (1, &json!("permission_revoked")), "{news:?}");
}

#[test]
fn whoever_may_subscribe_may_ask_for_the_state_of_his_subscriptions_only() {
    let mut tour = Tour::new();
    tour.user("ann", &["reader"]);
    tour.user("bob", &["reader"]);
    let (mut ann, mut bob) = (tour.login("ann"), tour.login("bob"));
    let query = json!({"query": "all", "mode": "delta"});
    let own = tour.ok(&mut ann, "store.subscribe", query)["subscriptionId"].clone();
    let snapshot = json!({ "subscriptionId": own });
    tour.ok(&mut ann, "store.snapshot", snapshot.clone());
    let refused = tour.refused(&mut bob, "store.snapshot", snapshot);
    assert!(refused.starts_with("NOT_FOUND Subscription "), "{refused}");
}

#[test]
fn who_is_disabled_deleted_or_reset_is_closed_and_executes_nothing() {
    for (kind, fields) in [
        ("identity.disableUser", json!({})),
        ("identity.deleteUser", json!({})),
        ("identity.resetPassword", json!({"newPassword": "password2"})),
        ("server.revokeSession", json!({})),
    ] {
        let mut tour = Tour::new();
        let id = tour.user("ann", &["writer"]);
        let (mut ann, token) = tour.login_with_token("ann");
        let mut second = tour.login("ann");
        let mut bob = {
            tour.user("bob", &["writer"]);
            tour.login("bob")
        };
        let mut fields = fields.clone();
        fields["userId"] = json!(id);
        // On its way when the order comes.
        ann.text(r#"{"id":1,"type":"store.insert","bucket":"items","data":{"id":"late"}}"#);
        tour.root.text(&{
            let mut order = fields;
            order["id"] = json!(1);
            order["type"] = json!(kind);
            order.to_string()
        });
        // The superadmin's connection is served first.
        tour.world.run();
        let executed = tour.root("store.count", json!({"bucket": "items"}));
        let items = ann.received();
        assert!(items.contains(&close(4002, "session_revoked")), "{kind}: {items:?}");
        let answered = matches!(items.first(), Some(Item::Text(text)) if text.contains("\"id\":1"));
        assert_eq!(executed == 1, answered, "{kind}: what is executed is answered");
        tour.assert_revoked(&mut second);
        tour.ok(&mut bob, "store.count", json!({"bucket": "items"}));
        let mut again = tour.world.connect();
        let refused = tour.refused(&mut again, "auth.login", json!({"token": token}));
        assert_eq!(refused, "UNAUTHORIZED Invalid token", "{kind}");
    }
}

#[test]
fn a_revoked_user_gets_in_by_no_door_and_the_operator_is_not_locked_out() {
    let mut tour = Tour::new();
    let id = tour.user("ann", &["writer"]);
    let (_gone, token) = tour.login_with_token("ann");
    assert_eq!(tour.root("server.revokeSession", json!({"userId": id})), json!({"revoked": 1}));
    let mut client = tour.world.connect();
    let right = json!({"username": "ann", "password": "password"});
    let refused = tour.refused(&mut client, "identity.login", right.clone());
    assert_eq!(refused, "SESSION_REVOKED Session has been revoked");
    let wrong = json!({"username": "ann", "password": "wrong"});
    assert_eq!(tour.refused(&mut client, "identity.login", wrong), "UNAUTHORIZED Invalid credentials");
    assert_eq!(
        tour.refused(&mut client, "auth.login", json!({"token": token})),
        "UNAUTHORIZED Invalid token"
    );
    assert_eq!(tour.root("server.unrevoke", json!({"userId": id})), json!({"removed": true}));
    tour.ok(&mut client, "identity.login", right);
    // The superadmin revokes himself, is answered, closed, and comes back by the secret.
    tour.root.text(r#"{"id":1,"type":"server.revokeSessions","role":"superadmin"}"#);
    tour.world.run();
    let items = tour.root.received();
    let answer = Item::Text(r#"{"id":1,"type":"result","data":{"revoked":1}}"#.into());
    assert_eq!((items.first(), items.get(2)), (Some(&answer), Some(&close(4002, "session_revoked"))));
    let mut root = tour.world.connect();
    tour.ok(&mut root, "identity.loginWithSecret", json!({"secret": "a-long-secret"}));
    tour.ok(&mut root, "identity.listUsers", json!({}));
    let refused = tour.refused(&mut root, "identity.refreshSession", json!({}));
    assert_eq!(refused, "SESSION_REVOKED Session has been revoked");
}

#[test]
fn refusals_do_not_tell_who_exists() {
    let mut tour = Tour::new();
    let ann_id = tour.user("ann", &[]);
    tour.user("eve", &[]);
    tour.root("identity.disableUser", json!({"userId": ann_id}));
    let mut eve = tour.login("eve");
    let manage = "FORBIDDEN Must be the resource owner, admin, or have admin ACL to manage permissions";
    for id in [ann_id.as_str(), "nobody"] {
        let grant = json!({"subjectType": "user", "subjectId": id, "resourceType": "bucket",
            "resourceName": "items", "operations": ["read"]});
        assert_eq!(tour.refused(&mut eve, "identity.grant", grant), manage);
    }
    for name in ["ann", "nobody"] {
        let login = json!({"username": name, "password": "wrong"});
        assert_eq!(tour.refused(&mut eve, "identity.login", login), "UNAUTHORIZED Invalid credentials");
    }
    let login = json!({"username": "ann", "password": "password"});
    assert_eq!(tour.refused(&mut eve, "identity.login", login), "UNAUTHORIZED Account disabled");
}

#[test]
fn a_query_named_like_an_own_bucket_shows_nothing() {
    let mut tour = Tour::new();
    tour.role("maker", json!([{"allow": ["store.defineBucket"]}]));
    tour.user("ann", &["maker"]);
    let mut ann = tour.login("ann");
    tour.ok(&mut ann, "store.defineBucket", define("mine"));
    tour.ok(&mut ann, "store.insert", json!({"bucket": "mine", "data": {"id": "1"}}));
    let query = json!({"name": "mine", "config": {"bucket": "items"}});
    tour.no_access(&mut ann, "store.defineQuery", query, "mine");
    tour.root("store.defineQuery", json!({"name": "mine", "config": {"bucket": "items"}}));
    tour.no_access(&mut ann, "store.subscribe", json!({"query": "mine"}), "mine");
}

#[test]
fn malformed_permissions_are_refused_and_rights_count_from_the_answer_on() {
    let mut tour = Tour::new();
    let mut root = std::mem::replace(&mut tour.root, tour.world.connect());
    let role = json!({"name": "bad", "permissions": [{"allow": "store.get"}, null]});
    let text = "VALIDATION_ERROR Invalid \"permissions[1]\": expected object with \"allow\"";
    assert_eq!(tour.refused(&mut root, "identity.createRole", role), text);
    tour.root = root;
    let ann_id = tour.user("ann", &[]);
    let mut ann = tour.login("ann");
    for _ in 0..3 {
        tour.grant(&ann_id, "bucket", "items", &["read"]);
        tour.ok(&mut ann, "store.count", json!({"bucket": "items"}));
        tour.revoke(&ann_id, "bucket", "items");
        tour.no_access(&mut ann, "store.count", json!({"bucket": "items"}), "items");
    }
}

#[test]
fn audit_entries_cannot_be_dodged() {
    let mut tour = Tour::of(Options { audit: Some(AuditOptions::default()), ..with_identity() });
    tour.user("eve", &["writer"]);
    let eve = tour.login("eve");
    // Gone before the answer.
    eve.text(r#"{"id":1,"type":"store.dropBucket","name":"items"}"#);
    eve.end.end();
    tour.world.run();
    let query = AuditQuery { operation: Some("store.dropBucket".into()), ..AuditQuery::default() };
    let found: Json =
        serde_json::from_str(&tour.world.hub.audit_entries(&query).expect("a log")).expect("JSON");
    let entries = found["entries"].as_array().expect("entries");
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["error"], "No access to store.dropBucket on items");
}
