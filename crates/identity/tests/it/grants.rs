//! Access lists and owners: answers, errors in their order, effects.

use crate::bench::{Bench, grant, resource, settings, subject};
use crate::{forbidden, invalid, missing};
use noex_core::IdentityCall as C;
use noex_identity::{Check, Notice, ResourceKind, SUPERADMIN, Target};
use noex_json::Value;

fn own(bench: &mut Bench, user_id: &str, kind: ResourceKind, name: &str) {
    let changes = bench.identity.resource_defined(user_id, kind, name, &mut bench.world);
    bench.commit(changes);
}

fn revoke(kind: &str, id: &str, on: (&str, &str), operations: Option<&[&str]>) -> C {
    let operations = operations.map(|list| list.iter().map(|operation| Value::from(*operation)).collect());
    C::Revoke { subject: subject(kind, id), resource: resource(on.0, on.1), operations }
}

fn acl(kind: &str, name: &str) -> C {
    C::GetAcl { resource: resource(kind, name) }
}

fn owner(kind: &str, name: &str) -> C {
    C::GetOwner { resource: resource(kind, name) }
}

fn transfer(name: &str, to: &str) -> C {
    C::TransferOwner { resource: resource("bucket", name), new_owner_id: to.into() }
}

fn may(bench: &Bench, user_id: &str, name: &str, bucket: &str) -> bool {
    bench.identity.permits(user_id, &Check { name, target: Target::Named(bucket) })
}

const NOT_MANAGER: &str = "Must be the resource owner, admin, or have admin ACL to manage permissions";

#[test]
fn errors_of_granting_in_order() {
    let mut bench = Bench::new(settings());
    let ann = bench.user("ann", &[]);
    let (mut peer, mut root) = (bench.logged_in("ann"), bench.root());
    let to = |kind: &str, id: &str, on: (&str, &str), operations: &[Value]| C::Grant {
        subject: subject(kind, id),
        resource: resource(on.0, on.1),
        operations: operations.to_vec(),
    };
    let (bad, read) = ([Value::from("read"), Value::from("own")], [Value::from("read")]);
    let nowhere = ("nowhere", "_users");
    let empty = invalid("Operations must be a non-empty array");
    assert_eq!(bench.call(&mut peer, to("group", "zz", nowhere, &[])), empty);
    let unknown = |shown: &str| {
        invalid(&format!("Invalid ACL operation \"{shown}\". Valid operations: read, write, admin"))
    };
    assert_eq!(bench.call(&mut peer, to("group", "zz", nowhere, &bad)), unknown("own"));
    for (value, shown) in [(Value::Null, "null"), (Value::from(1.0), "1"), (Value::Array(Box::default()), "")]
    {
        assert_eq!(bench.call(&mut peer, to("group", "zz", nowhere, &[value])), unknown(shown));
    }
    let kind = invalid("Invalid subject type \"group\". Must be \"user\" or \"role\"");
    assert_eq!(bench.call(&mut peer, to("group", "zz", nowhere, &read)), kind);
    let kind = invalid(
        "Invalid resource type \"nowhere\". Must be \"bucket\", \"topic\", \"procedure\" or \"query\"",
    );
    assert_eq!(bench.call(&mut peer, to("user", "zz", nowhere, &read)), kind);
    for kind in ["bucket", "query"] {
        let system = forbidden("Cannot access system bucket \"_users\" directly");
        assert_eq!(bench.call(&mut root, to("user", &ann, (kind, "_users"), &read)), system);
    }
    // Who may not manage does not learn which users exist.
    for id in ["zz", &ann] {
        assert_eq!(bench.call(&mut peer, to("user", id, ("bucket", "t"), &read)), forbidden(NOT_MANAGER));
    }
    let no_user = missing("Subject user not found");
    assert_eq!(bench.call(&mut root, to("user", "zz", ("bucket", "t"), &read)), no_user);
    let no_role = missing("Subject role not found");
    assert_eq!(bench.call(&mut root, to("role", "reader", ("bucket", "t"), &read)), no_role);
    let granted = Ok(r#"{"granted":true}"#.to_owned());
    assert_eq!(bench.call(&mut root, to("user", &ann, ("bucket", "t"), &read)), granted);
    assert_eq!(bench.call(&mut root, to("user", SUPERADMIN, ("topic", "_t"), &read)), granted);
}

#[test]
fn entries_are_merged_and_taken_back_in_parts() {
    let mut bench = Bench::new(settings());
    let (ann, team) = (bench.user("ann", &[]), bench.role("team", "[]"));
    let mut root = bench.root();
    let on = || resource("bucket", "t");
    bench.call(&mut root, grant(subject("user", &ann), on(), &["write", "write"])).unwrap();
    bench.call(&mut root, grant(subject("role", &team), on(), &["admin"])).unwrap();
    bench.call(&mut root, grant(subject("user", &ann), on(), &["read", "write"])).unwrap();
    let shown = |operations: &str| {
        format!(
            r#"{{"entries":[{{"subjectType":"user","subjectId":"{ann}","subjectName":"ann","operations":[{operations}],"isOwner":false}},{{"subjectType":"role","subjectId":"{team}","subjectName":"team","operations":["admin"],"isOwner":false}}]}}"#
        )
    };
    assert_eq!(bench.call(&mut root, acl("bucket", "t")), Ok(shown(r#""write","read""#)));
    assert!(may(&bench, &ann, "store.get", "t") && may(&bench, &ann, "store.insert", "t"));
    assert!(!may(&bench, &ann, "store.dropBucket", "t"));
    let revoked = Ok(r#"{"revoked":true}"#.to_owned());
    let mut take = |bench: &mut Bench, operations: Option<&[&str]>| {
        bench.call(&mut root, revoke("user", &ann, ("bucket", "t"), operations))
    };
    assert_eq!(take(&mut bench, Some(&["admin", "x"])), revoked);
    assert_eq!(take(&mut bench, Some(&["write"])), revoked);
    assert_eq!(bench.notices, [Notice::AccessChanged]);
    assert!(may(&bench, &ann, "store.get", "t") && !may(&bench, &ann, "store.insert", "t"));
    assert_eq!(take(&mut bench, Some(&[])), revoked);
    assert_eq!(take(&mut bench, None), missing("ACL entry not found"));
    assert!(!may(&bench, &ann, "store.get", "t"));
    assert!(bench.reloaded().records().eq(bench.identity.records()));
}

#[test]
fn errors_of_revoking_in_order() {
    let mut bench = Bench::new(settings());
    let ann = bench.user("ann", &[]);
    let (mut peer, mut root) = (bench.logged_in("ann"), bench.root());
    let calls = [("user", "zz", "bucket"), ("group", &ann, "bucket"), ("user", &ann, "nowhere")];
    for (kind, id, on) in calls {
        assert_eq!(bench.call(&mut peer, revoke(kind, id, (on, "t"), None)), forbidden(NOT_MANAGER));
        let none = missing("ACL entry not found");
        assert_eq!(bench.call(&mut root, revoke(kind, id, (on, "t"), None)), none);
    }
}

#[test]
fn who_may_manage() {
    let mut bench = Bench::new(settings());
    let ann = bench.user("ann", &[]);
    let bob = bench.user("bob", &["writer"]);
    bench.user("adam", &["admin"]);
    let team = bench.role("team", "[]");
    let (mut ann_peer, mut bob_peer) = (bench.logged_in("ann"), bench.logged_in("bob"));
    let (mut adam, mut root) = (bench.logged_in("adam"), bench.root());
    let read = grant(subject("user", &bob), resource("bucket", "t"), &["read"]);
    let refused = forbidden(NOT_MANAGER);
    assert_eq!(bench.call(&mut bob_peer, read.clone()), refused);
    assert!(bench.call(&mut adam, read.clone()).is_ok());
    // The owner, of this resource and kind only.
    own(&mut bench, &ann, ResourceKind::Query, "t");
    assert_eq!(bench.call(&mut ann_peer, read.clone()), refused);
    own(&mut bench, &ann, ResourceKind::Bucket, "t");
    assert!(bench.call(&mut ann_peer, read.clone()).is_ok());
    // An own entry with `admin`; that of a role is not enough.
    for operations in [&["read", "write"][..], &["admin"]] {
        let admin = grant(subject("role", &team), resource("bucket", "t"), operations);
        bench.call(&mut root, admin).unwrap();
    }
    bench.call(&mut root, C::AssignRole { user_id: bob.clone(), role_name: "team".into() }).unwrap();
    assert_eq!(bench.call(&mut bob_peer, read.clone()), refused);
    let admin = grant(subject("user", &bob), resource("bucket", "t"), &["admin"]);
    assert!(bench.call(&mut ann_peer, admin).is_ok());
    assert!(bench.call(&mut bob_peer, read).is_ok());
    assert!(bench.call(&mut bob_peer, revoke("user", &bob, ("bucket", "t"), None)).is_ok());
}

#[test]
fn looking_at_access_lists_and_owners() {
    let mut bench = Bench::new(settings());
    let (ann, bob) = (bench.user("ann", &[]), bench.user("bob", &[]));
    bench.user("ron", &["reader"]);
    bench.user("adam", &["admin"]);
    let (mut ann_peer, mut bob_peer) = (bench.logged_in("ann"), bench.logged_in("bob"));
    let (mut ron, mut adam) = (bench.logged_in("ron"), bench.logged_in("adam"));
    own(&mut bench, &ann, ResourceKind::Bucket, "t");
    let shown = format!(
        r#"{{"owner":{{"userId":"{ann}","username":"ann","resourceType":"bucket","resourceName":"t"}}}}"#
    );
    let entries = format!(
        r#"{{"entries":[{{"subjectType":"user","subjectId":"{ann}","subjectName":"ann","operations":[],"isOwner":true}}]}}"#
    );
    for peer in [&mut ann_peer, &mut ron, &mut adam] {
        assert_eq!(bench.call(peer, owner("bucket", "t")), Ok(shown.clone()));
        assert_eq!(bench.call(peer, acl("bucket", "t")), Ok(entries.clone()));
    }
    // Only with some access to it.
    assert_eq!(
        bench.call(&mut bob_peer, owner("bucket", "t")),
        forbidden("No access to identity.getOwner on t")
    );
    assert_eq!(bench.call(&mut bob_peer, acl("bucket", "t")), forbidden("No access to identity.getAcl on t"));
    let write = grant(subject("user", &bob), resource("bucket", "t"), &["write"]);
    bench.call(&mut ann_peer, write).unwrap();
    assert_eq!(bench.call(&mut bob_peer, owner("bucket", "t")), Ok(shown));
    // A reader reads topics and queries too, but calls no procedure; he may get one.
    for kind in ["topic", "query", "procedure"] {
        assert_eq!(bench.call(&mut ron, owner(kind, "x")), Ok(r#"{"owner":null}"#.into()));
        assert!(bench.call(&mut bob_peer, owner(kind, "x")).is_err());
    }
    assert_eq!(bench.call(&mut adam, acl("nowhere", "x")), Ok(r#"{"entries":[]}"#.into()));
    assert_eq!(bench.call(&mut adam, owner("nowhere", "x")), Ok(r#"{"owner":null}"#.into()));
    assert_eq!(bench.call(&mut ron, acl("nowhere", "x")), forbidden("No access to identity.getAcl on x"));
    // An owner with an entry has no second line.
    let read = grant(subject("user", &ann), resource("bucket", "t"), &["read"]);
    bench.call(&mut ann_peer, read).unwrap();
    let listed = bench.call(&mut ann_peer, acl("bucket", "t")).unwrap();
    assert_eq!(listed.matches(r#""isOwner":true"#).count(), 1);
    assert!(listed.contains(r#""operations":["read"],"isOwner":true"#));
}

#[test]
fn ones_own_access() {
    let mut bench = Bench::new(settings());
    let ann = bench.user("ann", &["reader"]);
    let team = bench.role("team", r#"[{"allow":"*"}]"#);
    let (mut peer, mut root) = (bench.logged_in("ann"), bench.root());
    let none = format!(r#"{{"user":{{"id":"{ann}","username":"ann","roles":["reader"]}},"resources":[]}}"#);
    assert_eq!(bench.call(&mut peer, C::MyAccess), Ok(none));
    bench.call(&mut root, C::AssignRole { user_id: ann.clone(), role_name: "team".into() }).unwrap();
    own(&mut bench, &ann, ResourceKind::Query, "q");
    own(&mut bench, &ann, ResourceKind::Bucket, "u");
    for (who, on, operations) in [
        (subject("role", &team), resource("bucket", "t"), &["write"][..]),
        (subject("user", &ann), resource("bucket", "u"), &["read"]),
        (subject("user", &ann), resource("bucket", "t"), &["read"]),
    ] {
        bench.call(&mut root, grant(who, on, operations)).unwrap();
    }
    let mine = |kind: &str, name: &str, operations: &str, owned: bool| {
        format!(
            r#"{{"resourceType":"{kind}","resourceName":"{name}","operations":[{operations}],"isOwner":{owned}}}"#
        )
    };
    let all = r#""admin","read","write""#;
    let (u, t) = (mine("bucket", "u", all, true), mine("bucket", "t", r#""read","write""#, false));
    let q = mine("query", "q", all, true);
    assert_eq!(
        bench.call(&mut peer, C::MyAccess),
        Ok(format!(
            r#"{{"user":{{"id":"{ann}","username":"ann","roles":["reader","team"]}},"resources":[{u},{t},{q}]}}"#
        ))
    );
    let virtual_one = r#"{"user":{"id":"__superadmin__","username":"__superadmin__","roles":["superadmin"]},"resources":[]}"#;
    assert_eq!(bench.call(&mut root, C::MyAccess), Ok(virtual_one.into()));
}

#[test]
fn owning_and_transferring() {
    let mut bench = Bench::new(settings());
    let (ann, bob) = (bench.user("ann", &[]), bench.user("bob", &["admin"]));
    let (mut ann_peer, mut bob_peer) = (bench.logged_in("ann"), bench.logged_in("bob"));
    let mut root = bench.root();
    own(&mut bench, &ann, ResourceKind::Bucket, "t");
    assert!(may(&bench, &ann, "store.insert", "t") && may(&bench, &ann, "store.dropBucket", "t"));
    assert!(!may(&bench, &ann, "store.get", "*") && !may(&bench, &ann, "rules.emit", "t"));
    assert_eq!(bench.call(&mut bob_peer, transfer("none", "zz")), missing("Resource has no owner"));
    let others = forbidden("Only the owner or superadmin can transfer ownership");
    assert_eq!(bench.call(&mut bob_peer, transfer("t", "zz")), others);
    assert_eq!(bench.call(&mut ann_peer, transfer("t", "zz")), missing("New owner not found"));
    let done = Ok(r#"{"transferred":true}"#.to_owned());
    assert_eq!(bench.call(&mut ann_peer, transfer("t", &bob)), done);
    assert_eq!(bench.notices, [Notice::AccessChanged]);
    assert!(!may(&bench, &ann, "store.get", "t") && may(&bench, &bob, "store.get", "t"));
    assert_eq!(bench.call(&mut ann_peer, transfer("t", &ann)), others);
    assert_eq!(bench.call(&mut root, transfer("t", SUPERADMIN)), done);
    let shown = r#"{"owner":{"userId":"__superadmin__","username":"__superadmin__","resourceType":"bucket","resourceName":"t"}}"#;
    assert_eq!(bench.call(&mut root, owner("bucket", "t")), Ok(shown.into()));
    // Whoever defines it again owns it; removing it removes owner and entries of this kind only.
    own(&mut bench, &ann, ResourceKind::Bucket, "t");
    for kind in ["bucket", "query"] {
        bench.call(&mut root, grant(subject("user", &bob), resource(kind, "t"), &["read"])).unwrap();
    }
    let before = bench.records.len();
    let changes = bench.identity.resource_removed(ResourceKind::Bucket, "t");
    bench.commit(changes);
    assert_eq!(bench.records.len(), before - 2);
    assert!(bench.identity.resource_removed(ResourceKind::Bucket, "t").is_empty());
    assert!(bench.call(&mut root, acl("query", "t")).unwrap().contains("bob"));
    // A user who is gone owns nothing.
    own(&mut bench, "zz", ResourceKind::Bucket, "t");
    assert_eq!(bench.call(&mut root, owner("bucket", "t")), Ok(r#"{"owner":null}"#.into()));
    own(&mut bench, &ann, ResourceKind::Bucket, "t");
    own(&mut bench, "zz", ResourceKind::Bucket, "t");
    assert_eq!(bench.call(&mut root, owner("bucket", "t")), Ok(r#"{"owner":null}"#.into()));
}
