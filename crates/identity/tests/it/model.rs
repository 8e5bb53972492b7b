//! Who may do what, restated over plain sets: the specification's words, with no index, no order and no shortcut.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

/// What an operation touches: kind and name, and for a query the bucket that it reads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Touched<'a> {
    Named(&'a str),
    Query(&'a str, Option<&'a str>),
    Own,
}

#[derive(Clone, Debug)]
pub(crate) struct Perm {
    pub(crate) allow: Vec<String>,
    pub(crate) buckets: Option<BTreeSet<String>>,
    pub(crate) topics: Option<Vec<String>>,
}

/// A resource: kind and name.
pub(crate) type Thing = (String, String);

/// Users and roles go by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) roles: BTreeMap<String, Vec<Perm>>,
    pub(crate) holds: BTreeSet<(String, String)>,
    /// Kind and name of the subject, resource, operation.
    pub(crate) grants: BTreeSet<(String, String, Thing, String)>,
    pub(crate) owners: BTreeMap<Thing, String>,
    pub(crate) disabled: BTreeSet<String>,
}

const READ: &str = "store.get store.all store.where store.findOne store.count store.first store.last store.paginate \
    store.sum store.avg store.min store.max store.subscribe store.unsubscribe store.snapshot store.buckets \
    store.stats rules.getFact rules.queryFacts rules.getAllFacts rules.subscribe rules.unsubscribe rules.stats \
    procedures.get";
const WRITE: &str = "store.insert store.update store.delete store.clear store.transaction rules.emit rules.setFact \
    rules.deleteFact procedures.call";
const ADMIN: &str = "store.defineBucket store.dropBucket store.updateBucket store.getBucketSchema store.defineQuery \
    store.undefineQuery store.listQueries store.purgeTtl rules.registerRule rules.unregisterRule rules.updateRule \
    rules.enableRule rules.disableRule rules.getRule rules.getRules rules.validateRule procedures.register \
    procedures.unregister procedures.update procedures.list server.stats server.connections server.revokeSession \
    server.revokeSessions server.unrevoke audit.query";

/// What must be granted for an operation.
static GRANT_FOR: LazyLock<BTreeMap<&str, &str>> = LazyLock::new(|| {
    let lists = [("read", READ), ("write", WRITE), ("admin", ADMIN)];
    lists
        .into_iter()
        .flat_map(|(grant, list)| list.split_whitespace().map(move |name| (name, grant)))
        .collect()
});

fn matches(pattern: &str, text: &str) -> bool {
    match pattern.rsplit_once('.') {
        _ if pattern == "*" => true,
        Some((head, "*")) => text.strip_prefix(head).is_some_and(|rest| rest.starts_with('.')),
        _ => pattern == text,
    }
}

fn kind(operation: &str) -> &'static str {
    match operation.split_once('.') {
        Some(("store", _)) => "bucket",
        Some(("rules", _)) => "topic",
        Some(("procedures", _)) => "procedure",
        _ => "",
    }
}

fn thing(kind: &str, name: &str) -> Thing {
    (kind.to_owned(), name.to_owned())
}

impl Model {
    fn roles_of(&self, user: &str) -> Vec<&str> {
        self.holds.iter().filter(|(holder, _)| holder == user).map(|(_, role)| role.as_str()).collect()
    }

    pub(crate) fn is_superadmin(&self, user: &str) -> bool {
        user == "__superadmin__" || self.roles_of(user).contains(&"superadmin")
    }

    pub(crate) fn may(&self, user: &str, operation: &str, touched: Touched<'_>) -> bool {
        !self.disabled.contains(user) && self.may_if_enabled(user, operation, touched)
    }

    fn may_if_enabled(&self, user: &str, operation: &str, touched: Touched<'_>) -> bool {
        if self.is_superadmin(user) {
            return true;
        }
        let reached = match touched {
            Touched::Named(name) => self.reaches(user, operation, &thing(kind(operation), name)),
            Touched::Query(name, None) => self.reaches(user, operation, &thing("query", name)),
            Touched::Query(name, Some(bucket)) => {
                let query = thing("query", name);
                let sound = match self.owners.get(&query) {
                    None => true,
                    Some(owner) => self.may_if_enabled(owner, "store.where", Touched::Named(bucket)),
                };
                self.reaches(user, operation, &thing("bucket", bucket))
                    || (sound && self.reaches(user, operation, &query))
            }
            Touched::Own => {
                let things = self.grants.iter().map(|(_, _, thing, _)| thing).chain(self.owners.keys());
                let family = |thing: &&Thing| {
                    thing.0 == kind(operation) || (kind(operation) == "bucket" && thing.0 == "query")
                };
                things.filter(family).any(|thing| self.reaches(user, operation, thing))
            }
        };
        reached
            || self.roles_of(user).iter().any(|role| {
                self.roles[*role].iter().any(|perm| {
                    let within = match (touched, kind(operation)) {
                        (Touched::Own, _) => true,
                        (Touched::Query(name, bucket), _) => perm.buckets.as_ref().is_none_or(|list| {
                            list.contains(name) || bucket.is_some_and(|bucket| list.contains(bucket))
                        }),
                        (Touched::Named(name), "bucket") => {
                            perm.buckets.as_ref().is_none_or(|list| list.contains(name))
                        }
                        (Touched::Named(name), "topic") => {
                            perm.topics.as_ref().is_none_or(|list| list.iter().any(|p| matches(p, name)))
                        }
                        (Touched::Named(_), _) => true,
                    };
                    within && perm.allow.iter().any(|pattern| matches(pattern, operation))
                })
            })
    }

    /// By an access list, own or of a role, or by ownership.
    fn reaches(&self, user: &str, operation: &str, thing: &Thing) -> bool {
        if thing.1 == "*" || thing.0.is_empty() {
            return false;
        }
        let granted = |kind: &str, name: &str| {
            GRANT_FOR.get(operation).is_some_and(|grant| {
                self.grants.contains(&(kind.into(), name.into(), thing.clone(), (*grant).into()))
            })
        };
        self.owners.get(thing).is_some_and(|owner| owner == user)
            || granted("user", user)
            || self.roles_of(user).iter().any(|role| granted("role", role))
    }

    pub(crate) fn may_manage(&self, user: &str, thing: &Thing) -> bool {
        let own = ("user".into(), user.to_owned(), thing.clone(), "admin".into());
        !self.disabled.contains(user)
            && (self.is_superadmin(user)
                || self.roles_of(user).contains(&"admin")
                || self.owners.get(thing).is_some_and(|owner| owner == user)
                || self.grants.contains(&own))
    }
}
