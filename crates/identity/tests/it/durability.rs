//! Records in, state out; damage; failed writes; the offline tool.

use crate::bench::{Bench, Peer, login, new_user, settings};
use crate::unauthorized;
use noex_core::{Code, IdentityCall as C};
use noex_identity::{Identity, StaleChanges, bucket_definitions};
use noex_json::{Object, Value, parse};

fn load(records: Vec<(&'static str, Object)>) -> Result<Identity, String> {
    Identity::load(settings(), records).map_err(|error| error.to_string())
}

fn record(text: &str) -> Object {
    parse(text, 16).unwrap().as_object().unwrap().clone()
}

#[test]
fn changes_are_committed_to_the_state_they_were_computed_from() {
    let mut bench = Bench::new(settings());
    let (ann, bob) = (bench.user("ann", &[]), bench.user("bob", &[]));
    let mut root = bench.root();
    bench.logged_in("ann");
    bench.logged_in("bob");
    let (first, second) = (bench.identity.end_sessions(&ann), bench.identity.end_sessions(&bob));
    assert_eq!(bench.identity.commit(first), Ok(()));
    let before: Vec<_> = bench.identity.records().collect();
    assert_eq!(bench.identity.commit(second), Err(StaleChanges));
    assert!(bench.identity.records().eq(before));
    // Nothing to write is never stale.
    assert!(bench.call(&mut root, C::MyAccess).is_ok());
}

#[test]
fn damaged_records_are_refused_with_their_name() {
    let user = record(
        r#"{"id":"u","username":"ann","passwordHash":"x","enabled":true,"_createdAt":1,"_updatedAt":2}"#,
    );
    let role = record(r#"{"id":"r","name":"ops","_createdAt":1,"_updatedAt":2}"#);
    let with = |object: &Object, name: &str, value: &str| {
        let mut changed = object.clone();
        changed.set(name.to_owned(), parse(value, 8).unwrap());
        changed
    };
    assert!(load(vec![("_users", user.clone()), ("_roles", role.clone())]).is_ok());
    let assignment = record(r#"{"id":"a","userId":"u","roleId":"r","grantedAt":1}"#);
    let entry = record(
        r#"{"id":"e","subjectType":"user","subjectId":"u","resourceType":"bucket","resourceName":"t","operations":["read"],"grantedAt":1}"#,
    );
    let owner = record(r#"{"id":"o","userId":"u","resourceType":"query","resourceName":"q","createdAt":1}"#);
    let session =
        record(&format!(r#"{{"id":"{}","userId":"u","expiresAt":5,"createdAt":1}}"#, "0".repeat(64)));
    let whole = [
        ("_users", user.clone()),
        ("_roles", role.clone()),
        ("_user_roles", assignment.clone()),
        ("_acl", entry.clone()),
        ("_sessions", session.clone()),
        ("_resource_owners", owner.clone()),
    ];
    assert!(load(whole.to_vec()).is_ok());
    let wrong = [
        ("_users", with(&user, "username", "null"), "\"username\" is missing"),
        ("_users", with(&user, "enabled", "1"), "\"enabled\" is not a boolean"),
        ("_users", with(&user, "metadata", "[]"), "\"metadata\" is not an object"),
        ("_users", with(&user, "_createdAt", "-1"), "\"_createdAt\" is not a time in ms"),
        ("_users", with(&user, "_createdAt", "1.5"), "\"_createdAt\" is not a time in ms"),
        ("_users", with(&user, "_updatedAt", "1e400"), "\"_updatedAt\" is not a time in ms"),
        ("_roles", with(&role, "permissions", "[1]"), "\"permissions\" is not a list of permissions"),
        ("_roles", with(&role, "description", "1"), "\"description\" is not a string"),
        (
            "_user_roles",
            with(&assignment, "roleId", "\"zz\""),
            "it refers to a user or role that does not exist",
        ),
        ("_acl", with(&entry, "subjectType", "\"group\""), "\"subjectType\" is not one of the known values"),
        ("_acl", with(&entry, "subjectId", "\"zz\""), "it refers to a user or role that does not exist"),
        ("_acl", with(&entry, "operations", "[]"), "\"operations\" is not a list of read, write and admin"),
        ("_acl", with(&entry, "operations", "[1]"), "\"operations\" is not a list of read, write and admin"),
        ("_sessions", with(&session, "id", "\"token\""), "\"id\" is not one of the known values"),
        ("_sessions", with(&session, "userId", "\"zz\""), "it refers to a user or role that does not exist"),
        (
            "_resource_owners",
            with(&owner, "resourceType", "\"x\""),
            "\"resourceType\" is not one of the known values",
        ),
        (
            "_resource_owners",
            with(&owner, "userId", "\"zz\""),
            "it refers to a user or role that does not exist",
        ),
        ("_else", Object::new(), "not a bucket of the identity management"),
    ];
    for (bucket, damaged, problem) in wrong {
        let mut records = whole.to_vec();
        records.retain(|(other, _)| *other != bucket);
        if bucket == "_users" || bucket == "_roles" {
            records.clear();
        }
        records.push((bucket, damaged.clone()));
        let id = damaged.get("id").and_then(Value::as_str).unwrap_or("?");
        let expected = format!("record \"{id}\" of system bucket \"{bucket}\": {problem}");
        assert_eq!(load(records).unwrap_err(), expected);
    }
    for (bucket, original) in &whole {
        // Another id, but about the same user, role or resource.
        let id =
            if *bucket == "_sessions" { original.get("id").unwrap().to_json() } else { "\"new\"".into() };
        let mut records = whole.to_vec();
        records.push((bucket, with(original, "id", &id)));
        let error = load(records).unwrap_err();
        assert!(error.contains("another record"), "{error}");
    }
}

#[test]
fn the_virtual_superadmin_may_be_referred_to() {
    let mut bench = Bench::new(settings());
    let mut root = bench.root();
    let on = crate::bench::resource("topic", "t");
    let to = crate::bench::subject("user", noex_identity::SUPERADMIN);
    bench.call(&mut root, crate::bench::grant(to, on, &["read"])).unwrap();
    assert!(bench.reloaded().records().eq(bench.identity.records()));
}

#[test]
fn definitions_are_of_the_specification() {
    let indexes: Vec<usize> = bucket_definitions()
        .iter()
        .map(|(_, definition)| definition.get("indexes").and_then(Value::as_array).map_or(0, <[Value]>::len))
        .collect();
    assert_eq!(indexes, [2, 1, 2, 2, 1, 2]);
    for (name, definition) in bucket_definitions() {
        let text = Value::from(definition.clone()).to_json();
        assert!(!text.contains("\"ref\"") && !text.contains("\"ttl\""), "{name}");
        let schema = definition.get("schema").unwrap().as_object().unwrap().clone();
        // Records have no other members than these, and none is lacking.
        let mut bench = Bench::new(settings());
        let ann = bench.user("ann", &["reader"]);
        let mut root = bench.root();
        let on = crate::bench::resource("topic", "t");
        bench
            .call(&mut root, crate::bench::grant(crate::bench::subject("user", &ann), on, &["read"]))
            .unwrap();
        let kind = noex_identity::ResourceKind::Bucket;
        let changes = bench.identity.resource_defined(&ann, kind, "t", &mut bench.world);
        bench.commit(changes);
        let whole = bench.identity.records().find(|(bucket, _)| *bucket == name).unwrap().1;
        let members: Vec<_> =
            whole.iter().filter(|(name, _)| !name.starts_with('_')).map(|(n, _)| n).collect();
        assert_eq!(members, schema.iter().map(|(name, _)| name).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn administration_of_a_stopped_server() {
    let mut bench = Bench::new(settings());
    let provision = |bench: &mut Bench, name: &str, role: &str| {
        bench.identity.provision_user(new_user(name), role, &mut bench.world)
    };
    let changes = provision(&mut bench, "boss", "superadmin").unwrap();
    bench.commit(changes);
    let exists = provision(&mut bench, "boss", "superadmin").unwrap_err();
    assert_eq!((exists.code, exists.message.as_ref()), (Code::AlreadyExists, "User \"boss\" already exists"));
    let unknown = provision(&mut bench, "other", "zz").unwrap_err();
    assert_eq!((unknown.code, unknown.message.as_ref()), (Code::NotFound, "Role \"zz\" not found"));
    let mut boss = bench.logged_in("boss");
    assert!(bench.call(&mut boss, C::ListRoles).is_ok());
    let short = bench.identity.provision_password("boss", "short", &mut bench.world).unwrap_err();
    assert_eq!(short.message, "Password must be at least 8 characters");
    let unknown = bench.identity.provision_password("zz", "brand-new-1", &mut bench.world).unwrap_err();
    assert_eq!(unknown.message, "User \"zz\" not found");
    let changes = bench.identity.provision_password("boss", "brand-new-1", &mut bench.world).unwrap();
    bench.commit(changes);
    assert_eq!(bench.call(&mut boss, C::RefreshSession), unauthorized("Invalid or expired session"));
    assert!(bench.call(&mut Peer::at("x"), login("boss", "brand-new-1")).is_ok());
    let [boss] = bench.identity.user_summaries().try_into().unwrap();
    assert_eq!((boss.username.as_str(), boss.enabled), ("boss", true));
    assert_eq!(boss.roles, ["superadmin"]);
    assert!(bench.reloaded().records().eq(bench.identity.records()));
}
