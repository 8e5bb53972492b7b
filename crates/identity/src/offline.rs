//! Administration of a stopped server's data: the first administrator, and forgotten passwords.
//!
//! The hash is computed at once, so these are not for a server that is running.

use crate::{
    changes::Changes,
    identity::{Environment, Identity, fresh_id, fresh_salt},
    password::hash,
    row::{Assignment, Row, User},
    state::SUPERADMIN,
    users::new_user,
};
use noex_core::{Code, NewUser, Refusal};

/// A user, as an administrator sees him listed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserSummary {
    /// Name.
    pub username: String,
    /// Whether he may log in.
    pub enabled: bool,
    /// Names of his roles, in the order of assignment.
    pub roles: Vec<String>,
}

impl Identity {
    /// Lists the users in the order of their creation.
    #[must_use]
    pub fn user_summaries(&self) -> Vec<UserSummary> {
        let summary = |user: &User| UserSummary {
            username: user.username.clone(),
            enabled: user.enabled,
            roles: self.role_names(&user.id),
        };
        self.state.users.iter().map(summary).collect()
    }

    /// Computes the creation of a user with a role, such as `superadmin` or `admin`. The system roles must exist
    /// ([`Identity::bootstrap`]).
    ///
    /// # Errors
    /// As those of `identity.createUser` and `identity.assignRole`.
    pub fn provision_user(
        &self,
        user: NewUser,
        role_name: &str,
        env: &mut dyn Environment,
    ) -> Result<Changes, Refusal> {
        self.check_new_user(&user)?;
        let role_id = self.named_role(role_name)?.id.clone();
        let hash = hash(&user.password, fresh_salt(env), self.settings.password_cost);
        let now_ms = env.now_ms();
        let user = new_user(user, hash.ok_or_else(Refusal::internal)?, fresh_id(env), now_ms);
        let mut changes = self.changes();
        let user_id = user.id.clone();
        changes.insert(Row::User(user));
        changes.insert(Row::Assignment(Assignment {
            id: fresh_id(env),
            user_id,
            role_id,
            granted_by: Some(SUPERADMIN.to_owned()),
            granted_ms: now_ms,
        }));
        Ok(changes)
    }

    /// Computes a new password for a user, by name. His sessions end.
    ///
    /// # Errors
    /// As those of `identity.resetPassword`.
    pub fn provision_password(
        &self,
        username: &str,
        password: &str,
        env: &mut dyn Environment,
    ) -> Result<Changes, Refusal> {
        self.check_password(password)?;
        let missing = || Refusal::new(Code::NotFound, format!("User \"{username}\" not found"));
        let user = self.state.user_named(username).ok_or_else(missing)?;
        let hash = hash(password, fresh_salt(env), self.settings.password_cost);
        self.set_password(user, hash, env.now_ms())
    }
}
