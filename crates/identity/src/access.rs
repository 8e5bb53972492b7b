//! Who may do what.
//!
//! Source: the auth specification, sections 5.1 and 6.6. Roles, access lists and ownership can only allow. Whoever is
//! neither enabled nor the virtual superadmin may do nothing.

use crate::{
    names::{AclOperation, AclRef, Resource, ResourceKind, ResourceRef, SubjectRef},
    row::{Entry, Role},
    state::{SUPERADMIN, SUPERADMIN_ROLE, State},
};
use noex_core::{Code, Operation, Refusal};

/// An operation on something, whose permission is asked for.
///
/// One request may need several checks: every operation of a transaction as `store.transaction` and as its own
/// operation on its bucket; the definition of a query as `store.defineQuery` on the query and `store.where` on the
/// bucket that it reads.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// The operation's name, known or not.
    pub name: &'a str,
    /// What it touches.
    pub target: Target<'a>,
}

/// What an operation touches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target<'a> {
    /// Something by its name, `*` being nothing in particular. Its kind follows from the operation: a bucket for
    /// `store.*`, a topic or fact key for `rules.*`, a procedure for `procedures.*`.
    Named(&'a str),
    /// A query.
    Query {
        /// Its name.
        name: &'a str,
        /// The bucket that it reads, if data is asked for and the query exists.
        bucket: Option<&'a str>,
    },
    /// Nothing that could be restricted, such as one's own subscriptions.
    Unrestricted,
}

impl Check<'_> {
    /// The answer where it is not permitted.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        let resource = match self.target {
            Target::Named(name) | Target::Query { name, .. } => name,
            Target::Unrestricted => "*",
        };
        no_access(self.name, resource)
    }
}

pub(crate) fn no_access(operation: &str, resource: &str) -> Refusal {
    Refusal::new(Code::Forbidden, format!("No access to {operation} on {resource}"))
}

/// Kind of what operations of a family touch.
fn kind_of(operation: &str) -> Option<ResourceKind> {
    [
        ("store.", ResourceKind::Bucket),
        ("rules.", ResourceKind::Topic),
        ("procedures.", ResourceKind::Procedure),
    ]
    .into_iter()
    .find_map(|(prefix, kind)| operation.starts_with(prefix).then_some(kind))
}

/// Kind of what an operation names; `None` = it names nothing.
#[expect(clippy::wildcard_enum_match_arm, reason = "the rest follows from the family")]
fn named_kind(operation: Operation) -> Option<ResourceKind> {
    use Operation as O;
    match operation {
        O::StoreSubscribe | O::StoreDefineQuery | O::StoreUndefineQuery => Some(ResourceKind::Query),
        O::StoreBuckets
        | O::StoreStats
        | O::StoreListQueries
        | O::StoreUnsubscribe
        | O::StoreSnapshot
        | O::StorePurgeTtl => None,
        O::RulesEmit
        | O::RulesSetFact
        | O::RulesGetFact
        | O::RulesDeleteFact
        | O::RulesSubscribe
        | O::RulesQueryFacts => Some(ResourceKind::Topic),
        O::ProceduresList => None,
        other if other.name().starts_with("rules.") => None,
        other => kind_of(other.name()),
    }
}

/// What one user may do at this moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rights<'a> {
    state: &'a State,
    pub(crate) user_id: &'a str,
    /// Whether the user exists and is not disabled.
    pub(crate) active: bool,
}

impl State {
    pub(crate) fn rights<'a>(&'a self, user_id: &'a str) -> Rights<'a> {
        let active = user_id == SUPERADMIN || self.users.get(user_id).is_some_and(|user| user.enabled);
        Rights { state: self, user_id, active }
    }
}

impl<'a> Rights<'a> {
    /// The roles that count.
    fn roles(&self) -> impl Iterator<Item = &'a Role> + use<'a> {
        self.active.then(|| self.state.roles_of(self.user_id)).into_iter().flatten()
    }

    pub(crate) fn has_role(&self, name: &str) -> bool {
        self.roles().any(|role| role.name == name)
    }

    pub(crate) fn is_superadmin(&self) -> bool {
        self.user_id == SUPERADMIN || self.has_role(SUPERADMIN_ROLE)
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.is_superadmin() || self.has_role("admin")
    }

    pub(crate) fn owns(&self, resource: ResourceRef<'_>) -> bool {
        self.active && self.state.owners.get(&resource).is_some_and(|owner| owner.user_id == self.user_id)
    }

    /// The user's own entry grants an operation.
    fn holds_himself(&self, resource: ResourceRef<'_>, operation: AclOperation) -> bool {
        self.active && self.grants(SubjectRef::user(self.user_id), resource, operation)
    }

    /// An entry of the user or of one of his roles grants an operation.
    fn holds(&self, resource: ResourceRef<'_>, operation: AclOperation) -> bool {
        self.holds_himself(resource, operation)
            || self.roles().any(|role| self.grants(SubjectRef::role(&role.id), resource, operation))
    }

    fn grants(&self, subject: SubjectRef<'_>, resource: ResourceRef<'_>, operation: AclOperation) -> bool {
        let entry = self.state.entries.get(&AclRef { subject, resource });
        entry.is_some_and(|entry| entry.operations.contains(&operation))
    }

    pub(crate) fn permits(&self, check: &Check<'_>) -> bool {
        if !self.active || self.is_superadmin() {
            return self.active;
        }
        let acl = Operation::by_name(check.name).and_then(AclOperation::of);
        self.holds_target(check, acl)
            || self.roles().flat_map(|role| &role.permissions).any(|permission| {
                permission.covers(check.name)
                    && match (check.target, kind_of(check.name)) {
                        (Target::Query { name, bucket }, _) => permission.admits_bucket(name, bucket),
                        (Target::Named(name), Some(ResourceKind::Bucket)) => {
                            permission.admits_bucket(name, None)
                        }
                        (Target::Named(name), Some(ResourceKind::Topic)) => permission.admits_topic(name),
                        (Target::Named(_) | Target::Unrestricted, _) => true,
                    }
            })
    }

    /// Access by an access list or by ownership.
    fn holds_target(&self, check: &Check<'_>, acl: Option<AclOperation>) -> bool {
        let has = |kind, name| {
            let resource = ResourceRef { kind, name };
            name != "*"
                && (acl.is_some_and(|operation| self.holds(resource, operation)) || self.owns(resource))
        };
        match check.target {
            Target::Named(name) => kind_of(check.name).is_some_and(|kind| has(kind, name)),
            Target::Query { name, bucket: None } => has(ResourceKind::Query, name),
            Target::Query { name, bucket: Some(bucket) } => {
                has(ResourceKind::Bucket, bucket)
                    || (has(ResourceKind::Query, name) && self.owner_may_read(name, bucket))
            }
            Target::Unrestricted => self.holds_anything(check.name, acl),
        }
    }

    /// What a query shows is shown by the right of its owner: if he may no longer read the bucket, because a right was
    /// withdrawn or the bucket is now another's, then neither he nor those who share the query see it. A query
    /// without an owner was defined by the configuration, or its owner is gone: an administrator's matter.
    fn owner_may_read(&self, query: &str, bucket: &str) -> bool {
        let resource = ResourceRef { kind: ResourceKind::Query, name: query };
        self.state.owners.get(&resource).is_none_or(|owner| {
            // Disabling an account does not withdraw what it has shared.
            Rights { active: true, ..self.state.rights(&owner.user_id) }
                .permits(&Check { name: "store.where", target: Target::Named(bucket) })
        })
    }

    /// Some entry or ownership in the operation's family.
    fn holds_anything(&self, name: &str, acl: Option<AclOperation>) -> bool {
        let family = kind_of(name);
        let related = |resource: &Resource| {
            let is_query = resource.kind == ResourceKind::Query;
            resource.name != "*"
                && (family == Some(resource.kind) || (is_query && family == Some(ResourceKind::Bucket)))
        };
        let granted = |entry: &Entry| acl.is_some_and(|operation| entry.operations.contains(&operation));
        self.entries().any(|entry| related(&entry.key.resource) && granted(entry))
            || self.state.owned_by(self.user_id).any(|owner| related(&owner.resource))
    }

    /// Entries of the user, then those of his roles.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &'a Entry> + use<'a> {
        let (state, user_id) = (self.state, self.user_id);
        let own = self.active.then(|| state.entries_of(SubjectRef::user(user_id))).into_iter().flatten();
        own.chain(self.roles().flat_map(move |role| state.entries_of(SubjectRef::role(&role.id))))
    }

    /// May grant and revoke on a resource.
    pub(crate) fn may_manage(&self, resource: ResourceRef<'_>) -> bool {
        self.is_admin() || self.owns(resource) || self.holds_himself(resource, AclOperation::Admin)
    }

    /// May do anything at all with a resource.
    pub(crate) fn has_some_access(&self, resource: ResourceRef<'_>) -> bool {
        let ResourceRef { kind, name } = resource;
        let target = if kind == ResourceKind::Query {
            Target::Query { name, bucket: None }
        } else {
            Target::Named(name)
        };
        self.is_admin()
            || self.owns(resource)
            || AclOperation::ALL.into_iter().any(|operation| self.holds(resource, operation))
            || Operation::ALL.iter().any(|operation| {
                named_kind(*operation) == Some(kind)
                    && self.permits(&Check { name: operation.name(), target })
            })
    }

    /// The buckets to be listed; `None` = all.
    pub(crate) fn visible_buckets(&self) -> Option<Vec<String>> {
        if self.active && self.is_superadmin() {
            return None;
        }
        let mut visible = Vec::new();
        for permission in self.roles().flat_map(|role| &role.permissions) {
            if permission.covers(Operation::StoreBuckets.name()) {
                visible.extend_from_slice(permission.buckets()?);
            }
        }
        let granted = self.entries().map(|entry| &entry.key.resource);
        let owned = self.state.owned_by(self.user_id).filter(|_| self.active).map(|owner| &owner.resource);
        let buckets = granted.chain(owned).filter(|resource| resource.kind == ResourceKind::Bucket);
        visible.extend(buckets.map(|resource| resource.name.clone()));
        Some(visible)
    }
}
