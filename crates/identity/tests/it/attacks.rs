//! Attacks on permissions and identity that have worked elsewhere.

use crate::bench::{Bench, Peer, grant, login, member, resource, settings, subject};
use crate::{forbidden, unauthorized};
use noex_core::{Denied, IdentityCall as C};
use noex_identity::{Check, Notice, ResourceKind, Step, Target};

fn own(bench: &mut Bench, user_id: &str, kind: ResourceKind, name: &str) {
    let changes = bench.identity.resource_defined(user_id, kind, name, &mut bench.world);
    bench.commit(changes);
}

fn may(bench: &Bench, user_id: &str, name: &str, target: Target<'_>) -> bool {
    bench.identity.permits(user_id, &Check { name, target })
}

fn may_watch(bench: &Bench, user_id: &str, query: &str, bucket: &str) -> bool {
    may(bench, user_id, "store.subscribe", Target::Query { name: query, bucket: Some(bucket) })
}

fn assign(user_id: &str, role: &str) -> C {
    C::AssignRole { user_id: user_id.into(), role_name: role.into() }
}

fn remove(user_id: &str, role: &str) -> C {
    C::RemoveRole { user_id: user_id.into(), role_name: role.into() }
}

/// The owner of a bucket defines a query of the same name over another bucket.
#[test]
fn a_query_named_like_an_own_bucket() {
    let mut bench = Bench::new(settings());
    let ann = bench.user("ann", &[]);
    own(&mut bench, &ann, ResourceKind::Bucket, "mine");
    let query = Target::Query { name: "mine", bucket: None };
    assert!(!may(&bench, &ann, "store.defineQuery", query));
    assert!(!may(&bench, &ann, "store.where", Target::Named("secret")));
    assert!(!may_watch(&bench, &ann, "mine", "secret"));
    let mut root = bench.root();
    for operations in [&["read"], &["admin"]] {
        let call = grant(subject("user", &ann), resource("bucket", "mine"), operations);
        bench.call(&mut root, call).unwrap();
    }
    assert!(!may_watch(&bench, &ann, "mine", "secret"));
    // Nor does owning a query open the bucket of that name.
    own(&mut bench, &ann, ResourceKind::Query, "secret");
    assert!(!may(&bench, &ann, "store.get", Target::Named("secret")));
}

/// Who could read a bucket when he defined a query goes on watching it through the query, or lets others.
#[test]
fn a_query_outlives_the_right_to_its_bucket() {
    let mut bench = Bench::new(settings());
    let (ann, bob) = (bench.user("ann", &["reader"]), bench.user("bob", &[]));
    own(&mut bench, &ann, ResourceKind::Query, "q");
    let (mut ann_peer, mut root) = (bench.logged_in("ann"), bench.root());
    let share = grant(subject("user", &bob), resource("query", "q"), &["read"]);
    bench.call(&mut ann_peer, share.clone()).unwrap();
    assert!(may_watch(&bench, &ann, "q", "t") && may_watch(&bench, &bob, "q", "t"));
    assert!(!may(&bench, &bob, "store.where", Target::Named("t")));
    // A disabled account takes back nothing; a role that is taken does, and whoever watches is looked at again.
    bench.call(&mut root, C::DisableUser { user_id: ann.clone() }).unwrap();
    assert!(!may_watch(&bench, &ann, "q", "t") && may_watch(&bench, &bob, "q", "t"));
    bench.call(&mut root, C::EnableUser { user_id: ann.clone() }).unwrap();
    bench.call(&mut root, remove(&ann, "reader")).unwrap();
    assert!(bench.notices.contains(&Notice::AccessChanged));
    assert!(!may_watch(&bench, &ann, "q", "t") && !may_watch(&bench, &bob, "q", "t"));
    let mut ann_peer = bench.logged_in("ann");
    bench.call(&mut ann_peer, grant(subject("user", &ann), resource("query", "q"), &["read"])).unwrap();
    assert!(!may_watch(&bench, &ann, "q", "t"));
    // He may still remove it.
    assert!(may(&bench, &ann, "store.undefineQuery", Target::Query { name: "q", bucket: None }));
    // In the hands of somebody who may read the bucket it is worth something again.
    let transfer =
        C::TransferOwner { resource: resource("query", "q"), new_owner_id: noex_identity::SUPERADMIN.into() };
    bench.call(&mut ann_peer, transfer).unwrap();
    assert!(may_watch(&bench, &bob, "q", "t"));
}

/// A bucket that was dropped and is now another's, under a query that stayed.
#[test]
fn a_query_over_a_bucket_that_changed_hands() {
    let mut bench = Bench::new(settings());
    let (ann, bob) = (bench.user("ann", &[]), bench.user("bob", &[]));
    own(&mut bench, &ann, ResourceKind::Bucket, "t");
    own(&mut bench, &ann, ResourceKind::Query, "q");
    assert!(may_watch(&bench, &ann, "q", "t"));
    let changes = bench.identity.resource_removed(ResourceKind::Bucket, "t");
    bench.commit(changes);
    own(&mut bench, &bob, ResourceKind::Bucket, "t");
    assert!(!may_watch(&bench, &ann, "q", "t"));
    assert!(may_watch(&bench, &bob, "q", "t"), "the bucket is his");
}

/// Access lists of a bucket must not come back with a new bucket of its name.
#[test]
fn a_new_bucket_under_an_old_name() {
    let mut bench = Bench::new(settings());
    let (ann, bob) = (bench.user("ann", &[]), bench.user("bob", &[]));
    own(&mut bench, &ann, ResourceKind::Bucket, "t");
    let mut peer = bench.logged_in("ann");
    bench.call(&mut peer, grant(subject("user", &bob), resource("bucket", "t"), &["read"])).unwrap();
    let changes = bench.identity.resource_removed(ResourceKind::Bucket, "t");
    bench.commit(changes);
    own(&mut bench, &ann, ResourceKind::Bucket, "t");
    assert!(!may(&bench, &bob, "store.get", Target::Named("t")));
}

/// Restricted roles, queries and procedures are served where that is harmless.
#[test]
fn restrictions_do_not_restrict_too_much() {
    let mut bench = Bench::new(settings());
    bench.role("some", r#"[{"allow":"store.*","buckets":["t"]},{"allow":"rules.*","topics":["a.*"]}]"#);
    let (ann, bob) = (bench.user("ann", &["some"]), bench.user("bob", &[]));
    for name in ["store.unsubscribe", "store.buckets", "rules.unsubscribe"] {
        assert!(may(&bench, &ann, name, Target::Unrestricted));
        assert!(!may(&bench, &bob, name, Target::Unrestricted));
    }
    for name in ["store.transaction", "store.insert", "store.defineBucket"] {
        assert!(may(&bench, &ann, name, Target::Named("t")));
        assert!(!may(&bench, &ann, name, Target::Named("u")));
        assert!(!may(&bench, &ann, name, Target::Named("*")));
    }
    assert!(may_watch(&bench, &ann, "q", "t") && !may_watch(&bench, &ann, "q", "u"));
    assert!(may(&bench, &ann, "rules.subscribe", Target::Named("a.*")));
    assert!(!may(&bench, &ann, "rules.subscribe", Target::Named("*")));
    // Entries on queries and procedures count, and let one unsubscribe.
    let mut root = bench.root();
    for (kind, operation) in [("query", "read"), ("procedure", "write")] {
        bench.call(&mut root, grant(subject("user", &bob), resource(kind, "x"), &[operation])).unwrap();
    }
    assert!(may_watch(&bench, &bob, "x", "t"));
    assert!(may(&bench, &bob, "store.unsubscribe", Target::Unrestricted));
    assert!(!may(&bench, &bob, "rules.unsubscribe", Target::Unrestricted));
    assert!(may(&bench, &bob, "procedures.call", Target::Named("x")));
    assert!(!may(&bench, &bob, "procedures.call", Target::Named("y")));
    assert!(!may(&bench, &bob, "procedures.get", Target::Named("x")), "read does not follow from write");
}

/// A session remembers roles that are gone.
#[test]
fn roles_of_the_moment_count() {
    let mut bench = Bench::new(settings());
    let (adam, bob) = (bench.user("adam", &["admin"]), bench.user("bob", &[]));
    let (mut peer, mut root) = (bench.logged_in("adam"), bench.root());
    assert_eq!(peer.session.clone().unwrap().roles, ["admin"]);
    bench.call(&mut root, remove(&adam, "admin")).unwrap();
    assert_eq!(bench.notices[0], Notice::RolesChanged { user_ids: vec![adam.clone()] });
    assert_eq!(bench.call(&mut peer, assign(&bob, "reader")), forbidden("Admin role required"));
    assert!(!may(&bench, &adam, "server.stats", Target::Named("*")));
    bench.call(&mut root, assign(&adam, "superadmin")).unwrap();
    assert!(bench.call(&mut peer, assign(&bob, "superadmin")).is_ok());
}

/// A role that changes under a pending call of its former holder.
#[test]
fn a_slow_reset_by_a_former_admin() {
    let mut bench = Bench::new(settings());
    let (adam, sara) = (bench.user("adam", &["admin"]), bench.user("sara", &[]));
    let (mut peer, mut root) = (bench.logged_in("adam"), bench.root());
    let reset = C::ResetPassword { user_id: sara.clone(), new_password: "new-password-1".into() };
    let start = |bench: &mut Bench, peer: &Peer| {
        let Step::Work { job, then } = bench.identity.call(&peer.caller, reset.clone(), &mut bench.world)
        else {
            panic!("no work")
        };
        (job, then)
    };
    // The target becomes superadmin, then the caller loses his role, while the hash is computed.
    let first = start(&mut bench, &peer);
    let second = start(&mut bench, &peer);
    bench.call(&mut root, assign(&sara, "superadmin")).unwrap();
    let step = bench.identity.resume(first.1, first.0.run(), &mut bench.world);
    assert_eq!(bench.finish(&mut peer, step), forbidden("Superadmin role required"));
    bench.call(&mut root, remove(&adam, "admin")).unwrap();
    let step = bench.identity.resume(second.1, second.0.run(), &mut bench.world);
    assert_eq!(bench.finish(&mut peer, step), forbidden("Admin role required"));
    assert!(bench.call(&mut Peer::at("x"), login("sara", "sara-password")).is_ok());
}

/// Logging out after a login by token leaves nothing that a thief of the token could use, nor do the records.
#[test]
fn tokens_are_worth_nothing_after_logout_and_are_not_stored() {
    let mut bench = Bench::new(settings());
    bench.user("ann", &[]);
    let mut first = Peer::at("x");
    let reply = bench.call(&mut first, login("ann", "ann-password"));
    let token = member(&reply.unwrap(), "token");
    for (_, record) in &bench.records {
        assert!(!noex_json::Value::from(record.clone()).to_json().contains(&token));
    }
    let mut second = Peer::at("y");
    bench.token_login(&mut second, &token).unwrap();
    bench.call(&mut second, C::Logout).unwrap();
    assert_eq!(bench.token_login(&mut Peer::at("z"), &token), Err(Denied::Invalid));
    // What `auth.logout` does.
    let reply = bench.call(&mut first, login("ann", "ann-password"));
    let token = member(&reply.unwrap(), "token");
    let changes = bench.identity.end_session(&first.caller.token.unwrap());
    bench.commit(changes);
    assert_eq!(bench.token_login(&mut Peer::at("z"), &token), Err(Denied::Invalid));
}

/// Names, accounts and users are not to be found out.
#[test]
fn unknown_names_cost_as_much_as_known_ones() {
    let mut bench = Bench::new(settings());
    bench.user("ann", &[]);
    for name in ["ann", "ghost", noex_identity::SUPERADMIN] {
        let step = bench.identity.call(&Peer::at("x").caller, login(name, "guess"), &mut bench.world);
        assert!(matches!(step, Step::Work { .. }), "{name}");
        let wrong = unauthorized("Invalid credentials");
        assert_eq!(bench.call(&mut Peer::at("x"), login(name, "guess")), wrong);
    }
}

/// A token of a disabled user whose record survived, as an older server would leave it.
#[test]
fn a_token_of_a_disabled_user() {
    let mut bench = Bench::new(settings());
    bench.user("ann", &[]);
    let mut peer = Peer::at("x");
    let reply = bench.call(&mut peer, login("ann", "ann-password"));
    for (_, record) in bench.records.iter_mut().filter(|(bucket, _)| *bucket == "_users") {
        record.set("enabled", false);
    }
    bench.identity = bench.reloaded();
    let token = member(&reply.unwrap(), "token");
    assert_eq!(bench.token_login(&mut Peer::at("z"), &token), Err(Denied::Invalid));
    assert_eq!(bench.call(&mut peer, C::RefreshSession), unauthorized("User not found or disabled"));
}
