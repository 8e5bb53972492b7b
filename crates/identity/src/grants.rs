//! Access lists and owners.
//!
//! Source: the auth specification, sections 6.7 and 6.8.

use crate::{
    access::no_access,
    changes::Changes,
    identity::{Caller, Environment, Identity, Notice, Outcome, fresh_id, not_found},
    names::{AclKey, AclOperation, AclRef, Resource, ResourceKind, ResourceRef, SubjectKind, SubjectRef},
    reply::{done, object},
    row::{Entry, Owner, Row, text},
    state::SUPERADMIN,
};
use noex_core::{Code, Operation, Refusal, ResourceName, Subject};
use noex_json::{Object, Value, text_form};

impl Identity {
    pub(crate) fn grant(
        &self,
        caller: &Caller,
        subject: &Subject,
        resource: &ResourceName,
        operations: &[Value],
        env: &mut dyn Environment,
    ) -> Result<Outcome, Refusal> {
        let rights = self.actor(caller)?;
        let operations = read_operations(operations)?;
        let subject = subject_ref(subject).ok_or_else(|| {
            let message = format!("Invalid subject type \"{}\". Must be \"user\" or \"role\"", subject.kind);
            Refusal::validation(message)
        })?;
        let resource = resource_ref(resource).ok_or_else(|| {
            Refusal::validation(format!(
                "Invalid resource type \"{}\". Must be \"bucket\", \"topic\", \"procedure\" or \"query\"",
                resource.kind
            ))
        })?;
        refuse_system_bucket(resource)?;
        if !rights.may_manage(resource) {
            return Err(not_manager());
        }
        match subject.kind {
            SubjectKind::User if !self.state.knows_user(subject.id) => {
                return Err(not_found("Subject user not found"));
            }
            SubjectKind::Role if self.state.roles.get(subject.id).is_none() => {
                return Err(not_found("Subject role not found"));
            }
            SubjectKind::User | SubjectKind::Role => {}
        }
        let mut changes = self.changes();
        if let Some(entry) = self.state.entries.get(&AclRef { subject, resource }) {
            let mut merged = entry.clone();
            merged.operations.extend(operations.iter().filter(|new| !entry.operations.contains(new)));
            if merged.operations.len() > entry.operations.len() {
                changes.update(Row::Entry(merged));
            }
        } else {
            self.room(self.state.entries.len(), "access entries")?;
            changes.insert(Row::Entry(Entry {
                id: fresh_id(env),
                key: AclKey { subject: subject.to_owned(), resource: resource.to_owned() },
                operations,
                granted_by: Some(rights.user_id.to_owned()),
                granted_ms: env.now_ms(),
            }));
        }
        Ok(Outcome::changed(done("granted"), changes))
    }

    pub(crate) fn revoke(
        &self,
        caller: &Caller,
        subject: &Subject,
        resource: &ResourceName,
        operations: Option<&[Value]>,
    ) -> Result<Outcome, Refusal> {
        let rights = self.actor(caller)?;
        let known = resource_ref(resource);
        if !known.map_or(rights.is_admin(), |resource| rights.may_manage(resource)) {
            return Err(not_manager());
        }
        let entry = subject_ref(subject)
            .zip(known)
            .and_then(|(subject, resource)| self.state.entries.get(&AclRef { subject, resource }))
            .ok_or_else(|| not_found("ACL entry not found"))?;
        let mut rest = entry.clone();
        match operations {
            None | Some([]) => rest.operations.clear(),
            Some(revoked) => {
                let is_revoked = |op: &AclOperation| revoked.iter().any(|o| o.as_str() == Some(op.as_str()));
                rest.operations.retain(|operation| !is_revoked(operation));
            }
        }
        let mut changes = self.changes();
        if rest.operations.is_empty() {
            changes.remove(Row::Entry(entry.clone()));
        } else if rest.operations.len() < entry.operations.len() {
            changes.update(Row::Entry(rest));
        }
        Ok(Outcome::changed(done("revoked"), changes).notify(Notice::AccessChanged))
    }

    pub(crate) fn get_acl(&self, caller: &Caller, resource: &ResourceName) -> Result<Outcome, Refusal> {
        let known = self.readable(caller, Operation::IdentityGetAcl, resource)?;
        let mut entries: Vec<Value> = Vec::new();
        if let Some(resource) = known {
            let owner = self.state.owners.get(&resource).map(|owner| SubjectRef::user(&owner.user_id));
            if let Some(owner) = owner
                && self.state.entries.get(&AclRef { subject: owner, resource }).is_none()
            {
                entries.push(self.acl_entry(owner, &[], true).into());
            }
            entries.extend(self.state.entries_on(resource).map(|entry| {
                let subject = entry.key.subject.by_ref();
                let is_owner =
                    subject.kind == SubjectKind::User && owner.is_some_and(|owner| owner.id == subject.id);
                Value::from(self.acl_entry(subject, &entry.operations, is_owner))
            }));
        }
        Ok(Outcome::answer(Value::from(object([("entries", entries.into())])).to_json()))
    }

    fn acl_entry(&self, subject: SubjectRef<'_>, operations: &[AclOperation], is_owner: bool) -> Object {
        let name = match subject.kind {
            SubjectKind::User => self.username(subject.id),
            SubjectKind::Role => self.state.roles.get(subject.id).map_or(subject.id, |role| &role.name),
        };
        object([
            ("subjectType", text(subject.kind.as_str())),
            ("subjectId", text(subject.id)),
            ("subjectName", text(name)),
            ("operations", names(operations)),
            ("isOwner", is_owner.into()),
        ])
    }

    pub(crate) fn my_access(&self, caller: &Caller) -> Result<Outcome, Refusal> {
        let rights = self.actor(caller)?;
        if !rights.active {
            return Err(not_found("User not found"));
        }
        // In the order of first mention: own entries, those of roles, ownerships.
        let mut found: indexed::List<'_> = indexed::List::default();
        for entry in rights.entries() {
            found.at(&entry.key.resource).operations.extend_from_slice(&entry.operations);
        }
        for owner in self.state.owned_by(rights.user_id) {
            let access = found.at(&owner.resource);
            access.operations.extend(AclOperation::ALL);
            access.is_owner = true;
        }
        let resources: Vec<Value> = found
            .into_iter()
            .map(|(resource, mut access)| {
                access.operations.sort_unstable();
                access.operations.dedup();
                let [kind, name] = named(resource);
                let operations = ("operations", names(&access.operations));
                object([kind, name, operations, ("isOwner", access.is_owner.into())]).into()
            })
            .collect();
        let roles = self.state.roles_of(rights.user_id).map(|role| text(&role.name));
        let user = object([
            ("id", text(rights.user_id)),
            ("username", text(self.username(rights.user_id))),
            ("roles", roles.collect::<Vec<_>>().into()),
        ]);
        let out = object([("user", user.into()), ("resources", resources.into())]);
        Ok(Outcome::answer(Value::from(out).to_json()))
    }

    pub(crate) fn get_owner(&self, caller: &Caller, resource: &ResourceName) -> Result<Outcome, Refusal> {
        let known = self.readable(caller, Operation::IdentityGetOwner, resource)?;
        let owner = known.and_then(|resource| self.state.owners.get(&resource));
        let shown = owner.map_or(Value::Null, |owner| {
            let [kind, name] = named(&owner.resource);
            let username = text(self.username(&owner.user_id));
            object([("userId", text(&owner.user_id)), ("username", username), kind, name]).into()
        });
        Ok(Outcome::answer(Value::from(object([("owner", shown)])).to_json()))
    }

    pub(crate) fn transfer_owner(
        &self,
        caller: &Caller,
        resource: &ResourceName,
        new_owner_id: &str,
    ) -> Result<Outcome, Refusal> {
        let rights = self.actor(caller)?;
        let owner = resource_ref(resource)
            .and_then(|resource| self.state.owners.get(&resource))
            .ok_or_else(|| not_found("Resource has no owner"))?;
        if !rights.owns(owner.resource.by_ref()) && !rights.is_superadmin() {
            let message = "Only the owner or superadmin can transfer ownership";
            return Err(Refusal::new(Code::Forbidden, message));
        }
        if !self.state.knows_user(new_owner_id) {
            return Err(not_found("New owner not found"));
        }
        let mut changes = self.changes();
        changes.update(Row::Owner(Owner { user_id: new_owner_id.to_owned(), ..owner.clone() }));
        Ok(Outcome::changed(done("transferred"), changes).notify(Notice::AccessChanged))
    }

    // ---- What the host tells about resources ----

    /// Makes a user the owner of a resource that he has defined, in place of any other.
    pub fn resource_defined(
        &self,
        user_id: &str,
        kind: ResourceKind,
        name: &str,
        env: &mut dyn Environment,
    ) -> Changes {
        let resource = ResourceRef { kind, name };
        let mut changes = self.changes();
        let (old, created_ms) = (self.state.owners.get(&resource), env.now_ms());
        let user_id = user_id.to_owned();
        match old {
            // The user was deleted meanwhile.
            Some(old) if !self.state.knows_user(&user_id) => changes.remove(Row::Owner(old.clone())),
            None if !self.state.knows_user(&user_id) => {}
            Some(old) => changes.update(Row::Owner(Owner { user_id, created_ms, ..old.clone() })),
            None => changes.insert(Row::Owner(Owner {
                id: fresh_id(env),
                user_id,
                resource: resource.to_owned(),
                created_ms,
            })),
        }
        changes
    }

    /// Removes the owner and the access list of a resource that is gone.
    pub fn resource_removed(&self, kind: ResourceKind, name: &str) -> Changes {
        let resource = ResourceRef { kind, name };
        let mut changes = self.changes();
        if let Some(owner) = self.state.owners.get(&resource) {
            changes.remove(Row::Owner(owner.clone()));
        }
        for entry in self.state.entries_on(resource) {
            changes.remove(Row::Entry(entry.clone()));
        }
        changes
    }

    // ---- Common parts ----

    /// The resource that a caller wants to see the access list or owner of; `None` = of no known kind.
    fn readable<'r>(
        &self,
        caller: &Caller,
        operation: Operation,
        resource: &'r ResourceName,
    ) -> Result<Option<ResourceRef<'r>>, Refusal> {
        let rights = self.actor(caller)?;
        let known = resource_ref(resource);
        if known.map_or(rights.is_admin(), |resource| rights.has_some_access(resource)) {
            return Ok(known);
        }
        Err(no_access(operation.name(), &resource.name))
    }

    /// Name of a user, or his id if he is gone.
    fn username<'a>(&'a self, user_id: &'a str) -> &'a str {
        if user_id == SUPERADMIN {
            return SUPERADMIN;
        }
        self.state.users.get(user_id).map_or(user_id, |user| &user.username)
    }
}

/// Resources in the order of first mention.
mod indexed {
    use super::{AclOperation, Resource};
    use hashbrown::HashMap;

    #[derive(Default)]
    pub(super) struct Access {
        pub(super) operations: Vec<AclOperation>,
        pub(super) is_owner: bool,
    }

    #[derive(Default)]
    pub(super) struct List<'a> {
        items: Vec<(&'a Resource, Access)>,
        places: HashMap<&'a Resource, usize>,
    }

    impl<'a> List<'a> {
        pub(super) fn at(&mut self, resource: &'a Resource) -> &mut Access {
            let place = *self.places.entry(resource).or_insert_with(|| {
                self.items.push((resource, Access::default()));
                self.items.len() - 1
            });
            &mut self.items[place].1
        }

        pub(super) fn into_iter(self) -> impl Iterator<Item = (&'a Resource, Access)> {
            self.items.into_iter()
        }
    }
}

fn read_operations(values: &[Value]) -> Result<Vec<AclOperation>, Refusal> {
    if values.is_empty() {
        return Err(Refusal::validation("Operations must be a non-empty array"));
    }
    let mut operations = Vec::new();
    for value in values {
        let Some(operation) = value.as_str().and_then(AclOperation::by_name) else {
            let shown = text_form(Some(value));
            return Err(Refusal::validation(format!(
                "Invalid ACL operation \"{shown}\". Valid operations: read, write, admin"
            )));
        };
        if !operations.contains(&operation) {
            operations.push(operation);
        }
    }
    Ok(operations)
}

fn subject_ref(subject: &Subject) -> Option<SubjectRef<'_>> {
    Some(SubjectRef { kind: SubjectKind::by_name(&subject.kind)?, id: &subject.id })
}

fn resource_ref(resource: &ResourceName) -> Option<ResourceRef<'_>> {
    Some(ResourceRef { kind: ResourceKind::by_name(&resource.kind)?, name: &resource.name })
}

/// No grant may seem to open a system bucket.
fn refuse_system_bucket(resource: ResourceRef<'_>) -> Result<(), Refusal> {
    let guarded = matches!(resource.kind, ResourceKind::Bucket | ResourceKind::Query);
    if guarded && resource.name.starts_with('_') {
        let message = format!("Cannot access system bucket \"{}\" directly", resource.name);
        return Err(Refusal::new(Code::Forbidden, message));
    }
    Ok(())
}

fn not_manager() -> Refusal {
    let message = "Must be the resource owner, admin, or have admin ACL to manage permissions";
    Refusal::new(Code::Forbidden, message)
}

fn named(resource: &Resource) -> [(&'static str, Value); 2] {
    [("resourceType", text(resource.kind.as_str())), ("resourceName", text(&resource.name))]
}

fn names(operations: &[AclOperation]) -> Value {
    operations.iter().map(|operation| text(operation.as_str())).collect::<Vec<_>>().into()
}
