//! The permission check against the model, over random histories; and its worked cases.

use crate::bench::{Bench, Peer, grant, resource, settings, subject};
use crate::model::{Model, Perm, Thing, Touched};
use noex_core::{IdentityCall as C, Operation};
use noex_identity::{Check, Identity, ResourceKind, SUPERADMIN, Target};
use noex_json::{Value, parse};
use proptest::prelude::*;
use std::collections::BTreeMap;

const USERS: [&str; 3] = ["ann", "bob", "eve"];
const ROLES: [&str; 6] = ["superadmin", "admin", "writer", "reader", "one", "two"];
const KINDS: [&str; 4] = ["bucket", "topic", "procedure", "query"];
const NAMES: [&str; 4] = ["a", "b", "a.b", "*"];
const GRANTS: [&str; 3] = ["read", "write", "admin"];
const ALLOW: [&str; 12] = [
    "*",
    "store.*",
    "store.where",
    "store.subscribe",
    "store.defineQuery",
    "store.buckets",
    "store.unsubscribe",
    "rules.*",
    "rules.emit",
    "procedures.call",
    "nope",
    "store",
];

#[derive(Clone, Debug)]
enum RoleAction {
    Create(usize, Vec<Perm>),
    Change(usize, Vec<Perm>),
    Delete(usize),
    Assign(usize, usize),
    Remove(usize, usize),
}

#[derive(Clone, Debug)]
enum Action {
    Role(RoleAction),
    /// By whom, to a user or role, on what, which operations.
    Grant(usize, bool, usize, Thing, Vec<&'static str>),
    Revoke(usize, bool, usize, Thing, Vec<&'static str>),
    Define(usize, Thing),
    Drop(Thing),
    Transfer(usize, Thing, usize),
    Disable(usize),
    Enable(usize),
    Delete(usize),
}

fn perm() -> impl Strategy<Value = Perm> {
    let allow = prop::collection::vec(prop::sample::select(&ALLOW[..]).prop_map(str::to_owned), 0..3);
    let names = || prop::sample::select(&NAMES[..]).prop_map(str::to_owned);
    let buckets = prop::option::of(prop::collection::btree_set(names(), 0..3));
    let topics = prop::option::of(prop::collection::vec(
        prop::sample::select(&["*", "a", "a.*", "b"][..]).prop_map(str::to_owned),
        0..3,
    ));
    (allow, buckets, topics).prop_map(|(allow, buckets, topics)| Perm { allow, buckets, topics })
}

fn action() -> impl Strategy<Value = Action> {
    let perms = || prop::collection::vec(perm(), 0..3);
    let thing = || {
        let pick = |list: &'static [&'static str]| prop::sample::select(list).prop_map(str::to_owned);
        (pick(&KINDS), pick(&NAMES))
    };
    let grants = || prop::collection::vec(prop::sample::select(&GRANTS[..]), 1..3);
    let (user, own) = (|| 0..USERS.len(), || 4..ROLES.len());
    let actor = || 0..=USERS.len(); // the last is the virtual superadmin
    let to = || (any::<bool>(), 0..6_usize);
    let role = prop_oneof![
        2 => (own(), perms()).prop_map(|(role, perms)| RoleAction::Create(role, perms)),
        1 => (own(), perms()).prop_map(|(role, perms)| RoleAction::Change(role, perms)),
        1 => own().prop_map(RoleAction::Delete),
        4 => (user(), 0..ROLES.len()).prop_map(|(user, role)| RoleAction::Assign(user, role)),
        2 => (user(), 0..ROLES.len()).prop_map(|(user, role)| RoleAction::Remove(user, role)),
    ];
    prop_oneof![
        10 => role.prop_map(Action::Role),
        6 => (actor(), to(), thing(), grants()).prop_map(|(by, (user, to), on, ops)| Action::Grant(by, user, to, on, ops)),
        3 => (actor(), to(), thing(), grants()).prop_map(|(by, (user, to), on, ops)| Action::Revoke(by, user, to, on, ops)),
        4 => (user(), thing()).prop_map(|(user, on)| Action::Define(user, on)),
        1 => thing().prop_map(Action::Drop),
        2 => (actor(), thing(), actor()).prop_map(|(by, on, to)| Action::Transfer(by, on, to)),
        1 => user().prop_map(Action::Disable),
        1 => user().prop_map(Action::Enable),
        1 => user().prop_map(Action::Delete),
    ]
}

fn json(perms: &[Perm]) -> Vec<Value> {
    let quoted = |list: Vec<&String>| {
        let items: Vec<String> = list.into_iter().map(|item| format!("\"{item}\"")).collect();
        format!("[{}]", items.join(","))
    };
    let one = |perm: &Perm| {
        let mut text = format!("{{\"allow\":{}", quoted(perm.allow.iter().collect()));
        if let Some(buckets) = &perm.buckets {
            text += &format!(",\"buckets\":{}", quoted(buckets.iter().collect()));
        }
        if let Some(topics) = &perm.topics {
            text += &format!(",\"topics\":{}", quoted(topics.iter().collect()));
        }
        parse(&(text + "}"), 8).unwrap()
    };
    perms.iter().map(one).collect()
}

/// The product and the model side by side.
struct Pair {
    bench: Bench,
    model: Model,
    /// Ids of users and roles by name.
    ids: BTreeMap<String, String>,
}

impl Pair {
    fn new() -> Self {
        let mut bench = Bench::new(settings());
        let mut ids = BTreeMap::from([(SUPERADMIN.to_owned(), SUPERADMIN.to_owned())]);
        let mut model = Model::default();
        for user in USERS {
            ids.insert(user.to_owned(), bench.user(user, &[]));
        }
        for (_, record) in bench.records.iter().filter(|(bucket, _)| *bucket == "_roles") {
            let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap().to_owned();
            ids.insert(text("name"), text("id"));
            let permissions = record.get("permissions").and_then(Value::as_array).unwrap();
            let allow = |value: &Value| match value.as_str() {
                Some(text) => vec![text.to_owned()],
                None => value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect(),
            };
            let perms = permissions.iter().map(|permission| Perm {
                allow: allow(permission.as_object().unwrap().get("allow").unwrap()),
                buckets: None,
                topics: None,
            });
            model.roles.insert(text("name"), perms.collect());
        }
        Self { bench, model, ids }
    }

    /// The id of a user or role, or one that nobody has.
    fn id(&self, name: &str) -> String {
        self.ids.get(name).cloned().unwrap_or_else(|| "gone".to_owned())
    }

    fn call(&mut self, by: &str, call: C) -> bool {
        let mut peer = Peer::at("x");
        peer.caller.user_id = Some(self.id(by));
        self.bench.call(&mut peer, call).is_ok()
    }

    fn root(&mut self, call: C) -> bool {
        self.call(SUPERADMIN, call)
    }

    fn play(&mut self, action: Action) {
        let actor = |at: usize| USERS.get(at).copied().unwrap_or(SUPERADMIN);
        let to = |is_user: bool, at: usize| {
            if is_user { ("user", USERS[at % 3]) } else { ("role", ROLES[at]) }
        };
        match action {
            Action::Role(action) => self.play_roles(action),
            Action::Grant(by, is_user, at, on, operations) => {
                let (kind, name) = to(is_user, at);
                let call = grant(subject(kind, &self.id(name)), resource(&on.0, &on.1), &operations);
                let expected = self.model.may_manage(actor(by), &on) && self.ids.contains_key(name);
                assert_eq!(self.call(actor(by), call), expected);
                if expected {
                    for operation in operations {
                        self.model.grants.insert((kind.into(), name.into(), on.clone(), operation.into()));
                    }
                }
            }
            Action::Revoke(by, is_user, at, on, operations) => {
                let (kind, name) = to(is_user, at);
                let listed = operations.iter().map(|operation| Value::from(*operation)).collect();
                let call = C::Revoke {
                    subject: subject(kind, &self.id(name)),
                    resource: resource(&on.0, &on.1),
                    operations: Some(listed),
                };
                let entry = |grant: &&(String, String, Thing, String)| {
                    (grant.0.as_str(), grant.1.as_str(), &grant.2) == (kind, name, &on)
                };
                let expected =
                    self.model.may_manage(actor(by), &on) && self.model.grants.iter().any(|g| entry(&g));
                assert_eq!(self.call(actor(by), call), expected);
                if expected {
                    self.model.grants.retain(|g| !(entry(&g) && operations.contains(&g.3.as_str())));
                }
            }
            Action::Define(user, on) => {
                let (id, kind) = (self.id(USERS[user]), ResourceKind::by_name(&on.0).unwrap());
                let changes = self.bench.identity.resource_defined(&id, kind, &on.1, &mut self.bench.world);
                self.bench.commit(changes);
                self.model.owners.insert(on, USERS[user].to_owned());
            }
            Action::Drop(on) => {
                let kind = ResourceKind::by_name(&on.0).unwrap();
                let changes = self.bench.identity.resource_removed(kind, &on.1);
                self.bench.commit(changes);
                self.model.owners.remove(&on);
                self.model.grants.retain(|grant| grant.2 != on);
            }
            Action::Transfer(by, on, new) => {
                let (by, new) = (actor(by), actor(new));
                let call = C::TransferOwner { resource: resource(&on.0, &on.1), new_owner_id: self.id(new) };
                let expected = self.model.owners.get(&on).is_some_and(|owner| {
                    !self.model.disabled.contains(by) && (owner == by || self.model.is_superadmin(by))
                });
                assert_eq!(self.call(by, call), expected);
                if expected {
                    self.model.owners.insert(on, new.to_owned());
                }
            }
            Action::Disable(user) => {
                assert!(self.root(C::DisableUser { user_id: self.id(USERS[user]) }));
                self.model.disabled.insert(USERS[user].to_owned());
            }
            Action::Enable(user) => {
                assert!(self.root(C::EnableUser { user_id: self.id(USERS[user]) }));
                self.model.disabled.remove(USERS[user]);
            }
            Action::Delete(user) => {
                // Deleted, and created anew under the same name, which is somebody else.
                let name = USERS[user];
                assert!(self.root(C::DeleteUser { user_id: self.id(name) }));
                self.ids.insert(name.to_owned(), self.bench.user(name, &[]));
                self.model.holds.retain(|(holder, _)| holder != name);
                self.model.grants.retain(|grant| (grant.0.as_str(), grant.1.as_str()) != ("user", name));
                self.model.owners.retain(|_, owner| owner != name);
                self.model.disabled.remove(name);
            }
        }
    }

    fn play_roles(&mut self, action: RoleAction) {
        match action {
            RoleAction::Create(at, perms) => {
                if !self.ids.contains_key(ROLES[at]) {
                    let permissions = Value::from(json(&perms)).to_json();
                    self.ids.insert(ROLES[at].to_owned(), self.bench.role(ROLES[at], &permissions));
                    self.model.roles.insert(ROLES[at].to_owned(), perms);
                }
            }
            RoleAction::Change(at, perms) => {
                let permissions = Some(json(&perms));
                let call = C::UpdateRole { role_id: self.id(ROLES[at]), description: None, permissions };
                if self.root(call) {
                    self.model.roles.insert(ROLES[at].to_owned(), perms);
                }
            }
            RoleAction::Delete(at) => {
                let deleted = self.root(C::DeleteRole { role_id: self.id(ROLES[at]) });
                assert_eq!(deleted, self.ids.remove(ROLES[at]).is_some());
                self.model.roles.remove(ROLES[at]);
                self.model.holds.retain(|(_, role)| role != ROLES[at]);
                self.model.grants.retain(|grant| (grant.0.as_str(), grant.1.as_str()) != ("role", ROLES[at]));
            }
            RoleAction::Assign(user, at) => {
                let holding = (USERS[user].to_owned(), ROLES[at].to_owned());
                let call = C::AssignRole { user_id: self.id(USERS[user]), role_name: ROLES[at].into() };
                let expected = self.ids.contains_key(ROLES[at]) && !self.model.holds.contains(&holding);
                assert_eq!(self.root(call), expected);
                if expected {
                    self.model.holds.insert(holding);
                }
            }
            RoleAction::Remove(user, at) => {
                let call = C::RemoveRole { user_id: self.id(USERS[user]), role_name: ROLES[at].into() };
                let held = self.model.holds.remove(&(USERS[user].to_owned(), ROLES[at].to_owned()));
                assert_eq!(self.root(call), held);
            }
        }
    }

    /// Asks all about everything.
    fn compare(&self, reloaded: &Identity) {
        let names = Operation::ALL.iter().map(|operation| operation.name());
        let names: Vec<&str> = names.chain(["nope", "store.nope", "rules.", "store"]).collect();
        let queries = NAMES.iter().flat_map(|name| [(*name, None), (*name, Some("a")), (*name, Some("b"))]);
        let queries = queries.map(|(name, bucket)| Touched::Query(name, bucket));
        let touched: Vec<Touched<'_>> =
            NAMES.iter().map(|name| Touched::Named(name)).chain(queries).chain([Touched::Own]).collect();
        for user in USERS.into_iter().chain([SUPERADMIN]) {
            let id = self.id(user);
            for name in &names {
                for touched in &touched {
                    let target = match *touched {
                        Touched::Named(name) => Target::Named(name),
                        Touched::Query(name, bucket) => Target::Query { name, bucket },
                        Touched::Own => Target::Unrestricted,
                    };
                    let expected = self.model.may(user, name, *touched);
                    for identity in [&self.bench.identity, reloaded] {
                        let permitted = identity.permits(&id, &Check { name, target });
                        assert_eq!(permitted, expected, "{user} {name} {touched:?}");
                    }
                }
            }
        }
    }
}

proptest! {
    // A case asks some thirteen thousand questions.
    #![proptest_config({
        let default = ProptestConfig::default();
        ProptestConfig { cases: default.cases / 4, ..default }
    })]

    #[test]
    fn decisions_are_those_of_the_model(actions in prop::collection::vec(action(), 1..40)) {
        let mut pair = Pair::new();
        for action in actions {
            pair.play(action);
        }
        let reloaded = pair.bench.reloaded();
        prop_assert!(reloaded.records().eq(pair.bench.identity.records()));
        pair.compare(&reloaded);
    }
}

#[test]
fn listed_buckets() {
    let mut bench = Bench::new(settings());
    let visible = |bench: &Bench, id: &str| bench.identity.visible_buckets(id);
    let ann = bench.user("ann", &[]);
    assert_eq!(visible(&bench, &ann), Some(Vec::new()));
    assert_eq!(visible(&bench, "nobody"), Some(Vec::new()));
    assert_eq!(visible(&bench, SUPERADMIN), None);
    let mut root = bench.root();
    bench.role("some", r#"[{"allow":"store.*","buckets":["t","u"]},{"allow":"store.get","buckets":["v"]}]"#);
    let assign = |role: &str| C::AssignRole { user_id: ann.clone(), role_name: role.into() };
    bench.call(&mut root, assign("some")).unwrap();
    bench.call(&mut root, grant(subject("user", &ann), resource("bucket", "w"), &["write"])).unwrap();
    bench.call(&mut root, grant(subject("user", &ann), resource("query", "q"), &["read"])).unwrap();
    let changes = bench.identity.resource_defined(&ann, ResourceKind::Bucket, "x", &mut bench.world);
    bench.commit(changes);
    assert_eq!(visible(&bench, &ann).unwrap(), ["t", "u", "w", "x"]);
    bench.call(&mut root, assign("reader")).unwrap();
    assert_eq!(visible(&bench, &ann), None);
    bench.call(&mut root, C::DisableUser { user_id: ann.clone() }).unwrap();
    assert_eq!(visible(&bench, &ann), Some(Vec::new()));
}

#[test]
fn refusals_name_operation_and_resource() {
    let shown = |name, target| Check { name, target }.refusal().message.into_owned();
    assert_eq!(shown("store.get", Target::Named("t")), "No access to store.get on t");
    let query = Target::Query { name: "q", bucket: Some("t") };
    assert_eq!(shown("store.subscribe", query), "No access to store.subscribe on q");
    assert_eq!(shown("store.unsubscribe", Target::Unrestricted), "No access to store.unsubscribe on *");
}
