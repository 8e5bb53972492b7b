//! The built-in identity end to end: sessions, and rights that change under way.

use crate::{
    client::Client,
    tour::{Tour, define, with_identity},
    world::World,
};
use noex_host::{IdentityOptions, Options, accounts::Settings};
use serde_json::{Value as Json, json};
use std::time::Duration;

#[test]
fn the_buckets_of_the_identity_are_not_counted() {
    let mut options = with_identity();
    options.store.buckets_max = options.buckets.len() + 1;
    let limit = options.store.buckets_max;
    let mut tour = Tour::of(options);
    tour.root("store.defineBucket", define("one"));
    tour.user("ann", &["admin"]);
    let mut ann = tour.login("ann");
    let refused = tour.refused(&mut ann, "store.defineBucket", define("two"));
    assert_eq!(refused, format!("VALIDATION_ERROR Limit reached: at most {limit} buckets"));
}

#[test]
fn a_changed_password_closes_the_users_other_connections() {
    let mut tour = Tour::new();
    let id = tour.user("ann", &["writer"]);
    let (mut ann, token) = tour.login_with_token("ann");
    let mut other = tour.login("ann");
    tour.ok(&mut ann, "store.subscribe", json!({"query": "count-items"}));
    let change = json!({"userId": id, "currentPassword": "password", "newPassword": "password2"});
    assert_eq!(tour.ok(&mut ann, "identity.changePassword", change), json!({"changed": true}));
    tour.assert_revoked(&mut other);
    let refused = tour.refused(&mut ann, "store.count", json!({"bucket": "items"}));
    assert_eq!(refused, "UNAUTHORIZED Authentication required");
    assert_eq!(tour.refused(&mut ann, "auth.login", json!({"token": token})), "UNAUTHORIZED Invalid token");
}

#[test]
fn nothing_that_is_committed_later_is_pushed_by_a_right_that_has_ended() {
    // What ends the right: a role, an entry of an access list, the owner of a shared query losing the bucket.
    for way in 0..3 {
        let mut tour = Tour::new();
        let ann_id = tour.user("ann", &[]);
        let bob_id = tour.user("bob", &[]);
        tour.grant(&ann_id, "bucket", "items", &["read"]);
        tour.role("looks", json!([{"allow": "store.*", "buckets": ["items"]}]));
        let mut bob = match way {
            0 => {
                tour.root("identity.assignRole", json!({"userId": bob_id, "roleName": "looks"}));
                tour.login("bob")
            }
            1 => {
                tour.grant(&bob_id, "bucket", "items", &["read"]);
                tour.login("bob")
            }
            _ => {
                tour.role("defines", json!([{"allow": "store.defineQuery"}]));
                tour.root("identity.assignRole", json!({"userId": ann_id, "roleName": "defines"}));
                let mut ann = tour.login("ann");
                let query = json!({"name": "shared", "config": {"bucket": "items"}});
                tour.ok(&mut ann, "store.defineQuery", query);
                let grant = json!({"subjectType": "user", "subjectId": bob_id, "resourceType": "query",
                    "resourceName": "shared", "operations": ["read"]});
                tour.ok(&mut ann, "identity.grant", grant);
                tour.login("bob")
            }
        };
        let query = if way == 2 { "shared" } else { "all" };
        tour.ok(&mut bob, "store.subscribe", json!({"query": query}));
        tour.root("store.insert", json!({"bucket": "items", "data": {"id": "1"}}));
        assert_eq!(tour.news(&mut bob).len(), 1, "pushed while the right lasts");
        // In one batch: the end of the right, and a commit after it.
        let end = match way {
            0 => json!({"type": "identity.removeRole", "userId": bob_id, "roleName": "looks"}),
            1 => json!({"type": "identity.revoke", "subjectType": "user", "subjectId": bob_id,
                "resourceType": "bucket", "resourceName": "items"}),
            _ => json!({"type": "identity.revoke", "subjectType": "user", "subjectId": ann_id,
                "resourceType": "bucket", "resourceName": "items"}),
        };
        tour.root.text(&{
            let mut end = end;
            end["id"] = json!(1);
            end.to_string()
        });
        tour.root.text(r#"{"id":2,"type":"store.insert","bucket":"items","data":{"id":"secret"}}"#);
        tour.world.run();
        let news = tour.news(&mut bob);
        let expected = json!({"type": "system", "event": "subscription_closed", "subscriptionId": "sub-1",
            "reason": "permission_revoked"});
        assert_eq!(news, [expected], "way {way}");
    }
}

#[test]
fn roles_apply_at_once_to_open_connections() {
    let mut tour = Tour::new();
    let id = tour.user("ann", &[]);
    let mut ann = tour.login("ann");
    tour.no_access(&mut ann, "store.count", json!({"bucket": "items"}), "items");
    assert!(tour.refused(&mut ann, "identity.listUsers", json!({})).contains("Admin role required"));
    tour.root("identity.assignRole", json!({"userId": id, "roleName": "admin"}));
    tour.ok(&mut ann, "identity.listUsers", json!({}));
    let who = tour.ok(&mut ann, "identity.whoami", json!({}));
    assert_eq!(who["roles"], json!(["admin"]));
    tour.root("identity.removeRole", json!({"userId": id, "roleName": "admin"}));
    assert!(tour.refused(&mut ann, "identity.listUsers", json!({})).contains("Admin role required"));
    tour.no_access(&mut ann, "store.count", json!({"bucket": "items"}), "items");
}

#[test]
fn stored_sessions_end_with_either_logout_and_are_limited() {
    let mut tour = Tour::new();
    tour.user("ann", &["reader"]);
    for kind in ["auth.logout", "identity.logout"] {
        let (mut first, token) = tour.login_with_token("ann");
        let mut second = tour.world.connect();
        tour.ok(&mut second, "auth.login", json!({"token": token}));
        let (mut other, _) = tour.login_with_token("ann");
        tour.ok(&mut first, "store.subscribe", json!({"query": "count-items"}));
        assert_eq!(tour.ok(&mut second, kind, json!({})), json!({"loggedOut": true}));
        // Who shares the session is logged out with it, by that alone.
        tour.world.run();
        let told = first.received_texts();
        assert!(told.len() == 1 && told[0].contains(r#""reason":"logged_out""#), "{told:?}");
        let refused = tour.refused(&mut first, "store.count", json!({"bucket": "items"}));
        assert_eq!(refused, "UNAUTHORIZED Authentication required");
        tour.ok(&mut other, "store.count", json!({"bucket": "items"}));
        let mut third = tour.world.connect();
        assert_eq!(
            tour.refused(&mut third, "auth.login", json!({"token": token})),
            "UNAUTHORIZED Invalid token"
        );
        tour.ok(&mut other, "identity.logout", json!({}));
    }
    // After a login by token the session can be replaced; the old token is worth nothing then.
    let (first, token) = tour.login_with_token("ann");
    drop(first);
    let mut second = tour.world.connect();
    tour.ok(&mut second, "auth.login", json!({"token": token}));
    let fresh = tour.ok(&mut second, "identity.refreshSession", json!({}));
    let mut third = tour.world.connect();
    assert_eq!(tour.refused(&mut third, "auth.login", json!({"token": token})), "UNAUTHORIZED Invalid token");
    tour.ok(&mut third, "auth.login", json!({"token": fresh["token"]}));
    // Two are kept: those of open connections stay, of the others the oldest goes.
    let (gone, old) = tour.login_with_token("ann");
    drop(gone);
    tour.world.run();
    let (_open, _) = tour.login_with_token("ann");
    let mut again = tour.world.connect();
    assert_eq!(tour.refused(&mut again, "auth.login", json!({"token": old})), "UNAUTHORIZED Invalid token");
    tour.ok(&mut again, "auth.login", json!({"token": fresh["token"]}));
}

#[test]
fn sessions_end_in_time_and_are_swept() {
    let day = Duration::from_secs(24 * 60 * 60);
    let mut options = with_identity();
    options.connection.heartbeat.interval = 2 * day;
    let mut tour = Tour::of(options);
    let expiry = tour.world.start_expiry();
    tour.user("ann", &["reader"]);
    let (mut ann, token) = tour.login_with_token("ann");
    let sessions = |tour: &Tour| {
        let stats = tour.world.hub.stats(tour.world.now()).store.to_json();
        let stats: Json = serde_json::from_str(&stats).expect("JSON");
        stats["records"]["perBucket"]["_sessions"].clone()
    };
    tour.world.advance(day);
    assert_eq!(sessions(&tour), 2, "the last moment is still valid");
    tour.ok(&mut ann, "store.count", json!({"bucket": "items"}));
    tour.world.advance(Duration::from_millis(1));
    assert_eq!(sessions(&tour), 0);
    let refused = tour.refused(&mut ann, "store.count", json!({"bucket": "items"}));
    assert_eq!(refused, "UNAUTHORIZED Session expired");
    assert_eq!(tour.refused(&mut ann, "auth.login", json!({"token": token})), "UNAUTHORIZED Invalid token");
    tour.world.cancel(expiry);
}

#[test]
fn restricted_users_list_unsubscribe_and_run_transactions() {
    let mut tour = Tour::new();
    tour.role("own", json!([{"allow": "store.*", "buckets": ["items"]}]));
    tour.user("oda", &["own"]);
    let ann_id = tour.user("ann", &[]);
    tour.grant(&ann_id, "query", "count-items", &["read"]);
    tour.grant(&ann_id, "bucket", "items", &["read"]);
    for name in ["oda", "ann"] {
        let mut client = tour.login(name);
        let listed = tour.ok(&mut client, "store.buckets", json!({}));
        assert_eq!(listed, json!({"count": 1, "names": ["items"]}), "{name}");
        let watched = tour.ok(&mut client, "store.subscribe", json!({"query": "count-items"}));
        tour.ok(&mut client, "store.unsubscribe", json!({"subscriptionId": watched["subscriptionId"]}));
    }
    tour.revoke(&ann_id, "bucket", "items");
    let mut oda = tour.login("oda");
    let count = json!({"operations": [{"op": "count", "bucket": "items"}]});
    tour.ok(&mut oda, "store.transaction", count);
    let stats = tour.root("store.stats", json!({}));
    assert!(stats["buckets"]["names"].as_array().unwrap().contains(&json!("_users")));
    tour.role("sees", json!([{"allow": "store.stats"}]));
    tour.user("stan", &["sees"]);
    let mut stan = tour.login("stan");
    let stats = tour.ok(&mut stan, "store.stats", json!({}));
    assert_eq!(stats["buckets"], json!({"count": 2, "names": ["items", "brief"]}));
    assert_eq!(stats["records"]["perBucket"], json!({"items": 0, "brief": 0}));
}

#[test]
fn what_is_dropped_takes_its_rights_along() {
    let mut tour = Tour::new();
    tour.role("maker", json!([{"allow": ["store.defineBucket"]}]));
    let ann_id = tour.user("ann", &["maker"]);
    let bob_id = tour.user("bob", &[]);
    let mut ann = tour.login("ann");
    let mut bob = tour.login("bob");
    tour.ok(&mut ann, "store.defineBucket", define("mine"));
    tour.grant(&bob_id, "bucket", "mine", &["read"]);
    tour.ok(&mut bob, "store.count", json!({"bucket": "mine"}));
    tour.ok(&mut ann, "store.dropBucket", json!({"name": "mine"}));
    tour.root("store.defineBucket", define("mine"));
    tour.no_access(&mut ann, "store.count", json!({"bucket": "mine"}), "mine");
    tour.no_access(&mut bob, "store.count", json!({"bucket": "mine"}), "mine");
    assert_eq!(
        tour.world.hub.with_identity(|identity| identity.role_names(&ann_id)),
        Some(vec!["maker".into()])
    );
}

#[test]
fn the_hashing_queue_is_bounded_and_a_connection_that_goes_takes_its_call_along() {
    let settings = Settings::new("a-long-secret");
    let options = IdentityOptions { hash_threads: 1, hash_queue_max: 1, ..IdentityOptions::new(settings) };
    let mut world = World::new(Options { identity: Some(options), ..Options::default() });
    let login = r#"{"id":1,"type":"identity.login","username":"nobody","password":"x"}"#;
    let mut clients: Vec<Client> = (0..6).map(|_| world.connect()).collect();
    clients.iter().for_each(|client| client.text(login));
    world.run();
    let busy = r#"{"id":1,"type":"error","code":"RATE_LIMITED","message":"Server busy, try again later"}"#;
    let refused =
        clients.iter_mut().map(|client| world.exchange(client)).filter(|seen| seen == &[busy]).count();
    // One is computed and one waits; the thread may have been too slow to take the first.
    assert!((3..=5).contains(&refused), "{refused}");
    drop(clients);
    world.assert_nothing_left();
}
