//! Roles and their assignment.

use crate::{
    identity::{Caller, Environment, Identity, Notice, Outcome, fresh_id, not_found, superadmin_required},
    names::{AssignmentRef, SubjectRef},
    permission::Permission,
    reply,
    row::{Assignment, Role, Row},
    state::{SUPERADMIN, SUPERADMIN_ROLE},
};
use noex_core::{Code, Refusal};
use noex_json::{Value, parse, utf16_len};

impl Identity {
    /// Computes the creation of the system roles that are missing. To be committed before the first call.
    pub fn bootstrap(&self, env: &mut dyn Environment) -> crate::Changes {
        let mut changes = self.changes();
        for (name, description, permissions) in SYSTEM_ROLES {
            if self.state.role_named(name).is_some() {
                continue;
            }
            let permissions = parse(permissions, 8).unwrap_or_default();
            let permissions = permissions.as_array().unwrap_or_default();
            changes.insert(Row::Role(Role {
                id: fresh_id(env),
                name: name.to_owned(),
                description: Some(description.to_owned()),
                system: true,
                permissions: permissions.iter().filter_map(Permission::read).collect(),
                created_ms: env.now_ms(),
                updated_ms: env.now_ms(),
            }));
        }
        changes
    }

    pub(crate) fn create_role(
        &self,
        caller: &Caller,
        name: String,
        description: Option<String>,
        permissions: &[Value],
        env: &mut dyn Environment,
    ) -> Result<Outcome, Refusal> {
        self.superadmin(caller)?;
        if !(1..=64).contains(&utf16_len(&name)) {
            return Err(Refusal::validation("Role name must be between 1 and 64 characters"));
        }
        let permissions = read_permissions(permissions)?;
        if self.state.role_named(&name).is_some() {
            return Err(Refusal::new(Code::AlreadyExists, format!("Role \"{name}\" already exists")));
        }
        self.room(self.state.roles.len(), "roles")?;
        let now_ms = env.now_ms();
        let role = Role {
            id: fresh_id(env),
            name,
            description,
            system: false,
            permissions,
            created_ms: now_ms,
            updated_ms: now_ms,
        };
        let mut changes = self.changes();
        let reply = reply::role_info(&role).to_json();
        changes.insert(Row::Role(role));
        Ok(Outcome::changed(reply, changes))
    }

    pub(crate) fn update_role(
        &self,
        caller: &Caller,
        role_id: &str,
        description: Option<Option<String>>,
        permissions: Option<&[Value]>,
        now_ms: u64,
    ) -> Result<Outcome, Refusal> {
        self.superadmin(caller)?;
        let permissions = permissions.map(read_permissions).transpose()?;
        let mut role = self.role(role_id)?.clone();
        if let Some(description) = description {
            role.description = description;
        }
        if let Some(permissions) = permissions {
            role.permissions = permissions;
        }
        role.updated_ms = now_ms;
        let mut changes = self.changes();
        let reply = reply::role_info(&role).to_json();
        changes.update(Row::Role(role));
        Ok(Outcome::changed(reply, changes).notify(Notice::AccessChanged))
    }

    pub(crate) fn delete_role(&self, caller: &Caller, role_id: &str) -> Result<Outcome, Refusal> {
        self.superadmin(caller)?;
        let role = self.role(role_id)?;
        if role.system {
            return Err(Refusal::new(Code::Forbidden, "Cannot delete system role"));
        }
        let mut changes = self.changes();
        let mut user_ids = Vec::new();
        for assignment in self.state.assignments_to(role_id) {
            user_ids.push(assignment.user_id.clone());
            changes.remove(Row::Assignment(assignment.clone()));
        }
        for entry in self.state.entries_of(SubjectRef::role(role_id)) {
            changes.remove(Row::Entry(entry.clone()));
        }
        changes.remove(Row::Role(role.clone()));
        let outcome = Outcome::changed(reply::done("deleted"), changes);
        Ok(outcome.notify(Notice::RolesChanged { user_ids }).notify(Notice::AccessChanged))
    }

    pub(crate) fn list_roles(&self, caller: &Caller) -> Result<Outcome, Refusal> {
        self.admin(caller)?;
        Ok(Outcome::answer(reply::roles(self.state.roles.iter())))
    }

    pub(crate) fn assign_role(
        &self,
        caller: &Caller,
        user_id: &str,
        role_name: &str,
        env: &mut dyn Environment,
    ) -> Result<Outcome, Refusal> {
        let rights = self.admin(caller)?;
        self.user(user_id)?;
        let role = self.named_role(role_name)?;
        if self.assignment(user_id, &role.id).is_some() {
            let message = format!("User already has role \"{role_name}\"");
            return Err(Refusal::new(Code::AlreadyExists, message));
        }
        if role_name == SUPERADMIN_ROLE && !rights.is_superadmin() {
            return Err(superadmin_required());
        }
        self.protect(&rights, user_id)?;
        self.room(self.state.assignments.len(), "role assignments")?;
        let mut changes = self.changes();
        changes.insert(Row::Assignment(Assignment {
            id: fresh_id(env),
            user_id: user_id.to_owned(),
            role_id: role.id.clone(),
            granted_by: Some(rights.user_id.to_owned()),
            granted_ms: env.now_ms(),
        }));
        let notice = Notice::RolesChanged { user_ids: vec![user_id.to_owned()] };
        Ok(Outcome::changed(reply::done("assigned"), changes).notify(notice))
    }

    pub(crate) fn remove_role(
        &self,
        caller: &Caller,
        user_id: &str,
        role_name: &str,
    ) -> Result<Outcome, Refusal> {
        let rights = self.admin(caller)?;
        let role = self.named_role(role_name)?;
        let assignment = self.assignment(user_id, &role.id).ok_or_else(|| {
            Refusal::new(Code::NotFound, format!("User does not have role \"{role_name}\""))
        })?;
        // Who holds the superadmin role is protected, that role included.
        self.protect(&rights, user_id)?;
        let mut changes = self.changes();
        changes.remove(Row::Assignment(assignment.clone()));
        let notice = Notice::RolesChanged { user_ids: vec![user_id.to_owned()] };
        // What he shares through queries may end for others too.
        Ok(Outcome::changed(reply::done("removed"), changes).notify(notice).notify(Notice::AccessChanged))
    }

    pub(crate) fn get_user_roles(&self, caller: &Caller, user_id: &str) -> Result<Outcome, Refusal> {
        self.admin(caller)?;
        if user_id != SUPERADMIN {
            self.user(user_id)?;
        }
        Ok(Outcome::answer(reply::roles(self.state.roles_of(user_id))))
    }

    fn role(&self, role_id: &str) -> Result<&Role, Refusal> {
        self.state.roles.get(role_id).ok_or_else(|| not_found("Role not found"))
    }

    pub(crate) fn named_role(&self, name: &str) -> Result<&Role, Refusal> {
        let missing = || Refusal::new(Code::NotFound, format!("Role \"{name}\" not found"));
        self.state.role_named(name).ok_or_else(missing)
    }

    fn assignment(&self, user_id: &str, role_id: &str) -> Option<&Assignment> {
        self.state.assignments.get(&AssignmentRef { user_id, role_id })
    }
}

fn read_permissions(values: &[Value]) -> Result<Vec<Permission>, Refusal> {
    let read = |(at, value)| {
        Permission::read(value).ok_or_else(|| {
            Refusal::validation(format!("Invalid \"permissions[{at}]\": expected object with \"allow\""))
        })
    };
    values.iter().enumerate().map(read).collect()
}

/// Name, description and permissions of the roles that always exist.
const SYSTEM_ROLES: [(&str, &str, &str); 4] = [
    (SUPERADMIN_ROLE, "Full access to everything including identity management", r#"[{"allow":"*"}]"#),
    (
        "admin",
        "Structural operations, data mutations, and reads",
        r#"[{"allow":["store.*","rules.*","procedures.*","server.*","audit.*"]},
            {"allow":["identity.createUser","identity.getUser","identity.updateUser","identity.deleteUser","identity.listUsers"]},
            {"allow":["identity.enableUser","identity.disableUser","identity.resetPassword"]},
            {"allow":["identity.listRoles","identity.assignRole","identity.removeRole","identity.getUserRoles"]},
            {"allow":["identity.grant","identity.revoke","identity.getAcl"]}]"#,
    ),
    (
        "writer",
        "Data mutations and reads",
        r#"[{"allow":["store.insert","store.update","store.delete","store.clear","store.transaction"]},
            {"allow":["store.get","store.all","store.where","store.findOne","store.count"]},
            {"allow":["store.first","store.last","store.paginate"]},
            {"allow":["store.sum","store.avg","store.min","store.max"]},
            {"allow":["store.subscribe","store.unsubscribe","store.buckets","store.stats"]},
            {"allow":["rules.emit","rules.setFact","rules.deleteFact"]},
            {"allow":["rules.getFact","rules.queryFacts","rules.getAllFacts"]},
            {"allow":["rules.subscribe","rules.unsubscribe","rules.stats"]},
            {"allow":["procedures.call","procedures.get"]}]"#,
    ),
    (
        "reader",
        "Read-only access",
        r#"[{"allow":["store.get","store.all","store.where","store.findOne","store.count"]},
            {"allow":["store.first","store.last","store.paginate"]},
            {"allow":["store.sum","store.avg","store.min","store.max"]},
            {"allow":["store.subscribe","store.unsubscribe","store.buckets","store.stats"]},
            {"allow":["rules.getFact","rules.queryFacts","rules.getAllFacts"]},
            {"allow":["rules.subscribe","rules.unsubscribe","rules.stats"]},
            {"allow":["procedures.get"]}]"#,
    ),
];
