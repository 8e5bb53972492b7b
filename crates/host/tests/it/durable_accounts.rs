//! The built-in identity on a journal that fails and recovers, and over a restart.

use crate::{
    client::Client,
    durability::{Scripted, lost, persistence},
    tour::{Tour, ask, define, ok, with_identity},
};
use noex_host::{Durability, Options, Persistence, store::MemoryImage};
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// A server with an administrator, and its journal, which does nothing by itself.
fn tour_with(image: MemoryImage, durability: Durability) -> (Tour, Arc<Scripted>) {
    let journal = Arc::new(Scripted::default());
    journal.prompt(true);
    let persistence = Persistence { durability, ..persistence(&journal, image) };
    let mut tour = Tour::of(Options { persistence: Some(persistence), ..with_identity() });
    tour.world.start_expiry();
    tour.world.run();
    journal.prompt(false);
    journal.sizes();
    (tour, journal)
}

fn tour() -> (Tour, Arc<Scripted>) {
    tour_with(MemoryImage::default(), Durability::Sync)
}

/// What is not answered before the journal says something.
fn begin(tour: &mut Tour, client: &mut Client, kind: &str, mut fields: Json) {
    fields["id"] = json!(77);
    fields["type"] = json!(kind);
    assert_eq!(tour.world.ask(client, &fields.to_string()), Vec::<String>::new(), "{kind}");
}

fn fails(tour: &mut Tour, journal: &Scripted, client: &mut Client, kind: &str, fields: Json) {
    begin(tour, client, kind, fields);
    journal.fail();
    assert_eq!(tour.world.exchange(client), [lost(77)], "{kind}");
    assert!(!journal.is_busy(), "{kind}: there is nothing left to keep");
}

/// The superadmin, when the journal is in order.
fn root(tour: &mut Tour, journal: &Scripted, kind: &str, fields: Json) -> Json {
    journal.prompt(true);
    let answer = tour.root(kind, fields);
    journal.prompt(false);
    answer
}

fn password(name: &str) -> Json {
    json!({"username": name, "password": "password"})
}

#[test]
fn what_is_not_kept_of_the_identity_has_never_been() {
    let (mut tour, journal) = tour();
    journal.prompt(true);
    let id = tour.user("ann", &["writer"]);
    journal.prompt(false);
    let mut client = tour.world.connect();
    fails(&mut tour, &journal, &mut client, "identity.login", password("ann"));
    let refused = tour.refused(&mut client, "store.count", json!({"bucket": "items"}));
    assert_eq!(refused, "UNAUTHORIZED Authentication required");
    let open = root(&mut tour, &journal, "server.connections", json!({}));
    let users: Vec<&Json> = open.as_array().unwrap().iter().map(|one| &one["userId"]).collect();
    assert!(!users.contains(&&json!(id)), "nobody is listed who is not logged in: {open}");
    let state = |tour: &mut Tour| -> Vec<Json> {
        [("identity.listUsers", json!({})), ("identity.listRoles", json!({}))]
            .into_iter()
            .chain([("identity.getUserRoles", json!({"userId": id}))])
            .map(|(kind, fields)| tour.root(kind, fields))
            .collect()
    };
    let before = state(&mut tour);
    let mut admin = std::mem::replace(&mut tour.root, tour.world.connect());
    let grant = json!({"subjectType": "user", "subjectId": id, "resourceType": "bucket",
        "resourceName": "items", "operations": ["read"]});
    for (kind, fields) in [
        ("identity.createUser", password("bob")),
        ("identity.updateUser", json!({"userId": id, "displayName": "Ann"})),
        ("identity.assignRole", json!({"userId": id, "roleName": "admin"})),
        ("identity.removeRole", json!({"userId": id, "roleName": "writer"})),
        ("identity.createRole", json!({"name": "r", "permissions": []})),
        ("identity.resetPassword", json!({"userId": id, "newPassword": "password2"})),
        ("identity.disableUser", json!({"userId": id})),
        ("identity.grant", grant),
        ("identity.deleteUser", json!({"userId": id})),
    ] {
        fails(&mut tour, &journal, &mut admin, kind, fields);
    }
    tour.root = admin;
    assert_eq!(state(&mut tour), before);
    let acl = root(
        &mut tour,
        &journal,
        "identity.getAcl",
        json!({"resourceType": "bucket", "resourceName": "items"}),
    );
    assert_eq!(acl["entries"], json!([]), "{acl}");
    journal.prompt(true);
    let (mut ann, token) = tour.login_with_token("ann");
    assert_eq!(tour.ok(&mut ann, "store.count", json!({"bucket": "items"})), 0);
    tour.user("bob", &[]);
    // A stored session of an earlier run is a login.
    let (mut tour, _journal) = tour_with(journal.image(), Durability::Sync);
    let mut again = tour.world.connect();
    assert_eq!(tour.ok(&mut again, "auth.login", json!({"token": token}))["userId"], json!(id));
}

#[test]
fn rights_that_are_not_kept_end_with_what_was_seen_by_them() {
    let (mut tour, journal) = tour();
    journal.prompt(true);
    let id = tour.user("ann", &[]);
    let mut ann = tour.login("ann");
    journal.prompt(false);
    let mut admin = std::mem::replace(&mut tour.root, tour.world.connect());
    begin(&mut tour, &mut admin, "identity.assignRole", json!({"userId": id, "roleName": "reader"}));
    assert!(tour.world.ask(&mut ann, r#"{"id":1,"type":"store.subscribe","query":"count-items"}"#).len() < 2);
    journal.fail();
    assert_eq!(tour.world.exchange(&mut admin), [lost(77)]);
    let news = tour.news(&mut ann);
    assert!(news.iter().all(|one| one["type"] != "push"), "{news:?}");
    tour.no_access(&mut ann, "store.count", json!({"bucket": "items"}), "items");
    tour.root = admin;
    root(&mut tour, &journal, "store.insert", json!({"bucket": "items", "data": {"id": "secret"}}));
    let news = tour.news(&mut ann);
    assert!(news.iter().all(|one| one["type"] != "push"), "{news:?}");
}

#[test]
fn a_definition_and_its_owner_are_kept_or_undone_together() {
    let (mut tour, journal) = tour();
    journal.prompt(true);
    let id = tour.user("ann", &["admin"]);
    let mut ann = tour.login("ann");
    tour.ok(&mut ann, "store.defineBucket", define("old"));
    journal.prompt(false);
    journal.sizes();
    let owner = |tour: &mut Tour, name: &str| {
        tour.root("identity.getOwner", json!({"resourceType": "bucket", "resourceName": name}))["owner"]
            .clone()
    };
    fails(&mut tour, &journal, &mut ann, "store.defineBucket", define("new"));
    assert_eq!(journal.sizes(), [2], "definition and owner in one group");
    assert_eq!(owner(&mut tour, "new"), Json::Null);
    fails(&mut tour, &journal, &mut ann, "store.dropBucket", json!({"name": "old"}));
    assert_eq!(owner(&mut tour, "old")["userId"], json!(id));
    let names = tour.root("store.buckets", json!({}))["names"].to_string();
    assert!(names.contains("old") && !names.contains("new"), "{names}");
    // While one group is with the journal, both go into the next one.
    begin(&mut tour, &mut ann, "store.insert", json!({"bucket": "items", "data": {"id": "a"}}));
    begin(&mut tour, &mut ann, "store.defineBucket", define("new"));
    journal.keep();
    journal.keep();
    assert_eq!(tour.world.exchange(&mut ann).len(), 2);
    assert_eq!(journal.sizes().last(), Some(&2));
    let (mut tour, _journal) = tour_with(journal.image(), Durability::Sync);
    for name in ["old", "new"] {
        assert_eq!(owner(&mut tour, name)["userId"], json!(id), "{name}");
    }
}

#[test]
fn where_nothing_can_be_undone_changes_are_refused_while_the_journal_fails() {
    let (mut tour, journal) = tour_with(MemoryImage::default(), Durability::Async);
    tour.root("identity.createUser", password("ann"));
    journal.fail();
    tour.world.run();
    let steps = json!([{"action": "store.insert", "bucket": "items", "data": {"id": "1"}}]);
    let (world, client) = (&mut tour.world, &mut tour.root);
    for (kind, fields) in [
        ("identity.createUser", password("bob")),
        ("store.defineBucket", define("new")),
        ("procedures.register", json!({"procedure": {"name": "p", "steps": steps}})),
    ] {
        let answer = ask(world, client, kind, fields);
        assert_eq!(answer["message"], "Write could not be stored; nothing was changed", "{kind}: {answer}");
    }
    assert!(journal.is_busy(), "it is tried again");
    journal.keep();
    ok(world, client, "identity.createUser", password("bob"));
    journal.keep();
    let (mut tour, _journal) = tour_with(journal.image(), Durability::Sync);
    let users = tour.root("identity.listUsers", json!({}));
    assert_eq!(users["total"], 2, "{users}");
    assert_eq!(tour.root("procedures.list", json!({}))["procedures"], json!([]));
}
