//! Users and their passwords.

use crate::{
    access::Rights,
    changes::Changes,
    identity::{
        Caller, Environment, Identity, Notice, Outcome, Pending, Rest, SessionChange, Step, admin_required,
        fresh_id, fresh_salt, not_found, superadmin_required,
    },
    names::SubjectRef,
    password::{PasswordResult, Task},
    reply,
    row::{Row, User, millis},
    state::{SUPERADMIN, SUPERADMIN_ROLE},
};
use noex_core::{Code, NewUser, Refusal, UserChanges};
use noex_json::{Value, utf16_len};

/// Longest password, in bytes.
const PASSWORD_MAX_BYTES: usize = 1024;

/// Largest page of a list of users.
const PAGE_MAX: u64 = 200;

impl Identity {
    // ---- Creating ----

    pub(crate) fn begin_create(
        &self,
        caller: &Caller,
        user: NewUser,
        env: &mut dyn Environment,
    ) -> Result<Step, Refusal> {
        self.admin(caller)?;
        self.check_new_user(&user)?;
        let job = self.job(Task::Hash { password: user.password.clone(), salt: fresh_salt(env) });
        Ok(Step::Work { job, then: Pending { caller: caller.clone(), rest: Rest::CreateUser(user) } })
    }

    pub(crate) fn finish_create(
        &self,
        caller: &Caller,
        user: NewUser,
        result: PasswordResult,
        env: &mut dyn Environment,
    ) -> Result<Outcome, Refusal> {
        self.admin(caller)?;
        self.check_new_user(&user)?;
        let password_hash = result.hash.ok_or_else(Refusal::internal)?;
        let user = new_user(user, password_hash, fresh_id(env), env.now_ms());
        let mut changes = self.changes();
        let reply = reply::user_info(&user).to_json();
        changes.insert(Row::User(user));
        Ok(Outcome::changed(reply, changes))
    }

    pub(crate) fn check_new_user(&self, user: &NewUser) -> Result<(), Refusal> {
        if !(3..=64).contains(&utf16_len(&user.username)) {
            return Err(Refusal::validation("Username must be between 3 and 64 characters"));
        }
        self.check_password(&user.password)?;
        if user.username == SUPERADMIN || self.state.user_named(&user.username).is_some() {
            let message = format!("User \"{}\" already exists", user.username);
            return Err(Refusal::new(Code::AlreadyExists, message));
        }
        check_email(user.email.as_deref())?;
        self.room(self.state.users.len(), "users")
    }

    pub(crate) fn check_password(&self, password: &str) -> Result<(), Refusal> {
        let min = self.settings.password_min_length;
        if utf16_len(password) < min {
            return Err(Refusal::validation(format!("Password must be at least {min} characters")));
        }
        if password.len() > PASSWORD_MAX_BYTES {
            let message = format!("Password must be at most {PASSWORD_MAX_BYTES} bytes");
            return Err(Refusal::validation(message));
        }
        Ok(())
    }

    // ---- Reading ----

    pub(crate) fn get_user(&self, caller: &Caller, user_id: &str) -> Result<Outcome, Refusal> {
        self.admin(caller)?;
        Ok(Outcome::answer(reply::user_info(self.user(user_id)?).to_json()))
    }

    pub(crate) fn list_users(&self, caller: &Caller, page: u64, page_size: u64) -> Result<Outcome, Refusal> {
        self.admin(caller)?;
        let (page, page_size) = (page.max(1), page_size.clamp(1, PAGE_MAX));
        let skipped = usize::try_from((page - 1).saturating_mul(page_size)).unwrap_or(usize::MAX);
        let shown = usize::try_from(page_size).unwrap_or(usize::MAX);
        let users: Vec<Value> =
            self.state.users.iter().skip(skipped).take(shown).map(reply::user_info).collect();
        let out = reply::object([
            ("users", users.into()),
            ("total", millis(self.state.users.len() as u64)),
            ("page", millis(page)),
            ("pageSize", millis(page_size)),
        ]);
        Ok(Outcome::answer(Value::from(out).to_json()))
    }

    // ---- Changing ----

    pub(crate) fn update_user(
        &self,
        caller: &Caller,
        user_id: &str,
        update: UserChanges,
        now_ms: u64,
    ) -> Result<Outcome, Refusal> {
        let rights = self.actor(caller)?;
        if rights.user_id != user_id && !rights.is_admin() {
            return Err(admin_required());
        }
        let mut user = self.user(user_id)?.clone();
        if rights.user_id != user_id {
            self.protect(&rights, user_id)?;
        }
        let UserChanges { display_name, email, metadata } = update;
        if let Some(display_name) = display_name {
            user.display_name = display_name;
        }
        if let Some(email) = email {
            check_email(email.as_deref())?;
            user.email = email;
        }
        if let Some(metadata) = metadata {
            user.metadata = Some(metadata);
        }
        Ok(self.save(user, now_ms))
    }

    pub(crate) fn enable_user(
        &self,
        caller: &Caller,
        user_id: &str,
        now_ms: u64,
    ) -> Result<Outcome, Refusal> {
        let rights = self.admin(caller)?;
        let user = self.user(user_id)?.clone();
        self.protect(&rights, user_id)?;
        Ok(self.save(User { enabled: true, ..user }, now_ms))
    }

    pub(crate) fn disable_user(
        &self,
        caller: &Caller,
        user_id: &str,
        now_ms: u64,
    ) -> Result<Outcome, Refusal> {
        let rights = self.admin(caller)?;
        if user_id == SUPERADMIN {
            return Err(Refusal::new(Code::Forbidden, "Cannot disable virtual superadmin"));
        }
        let user = self.user(user_id)?.clone();
        self.protect(&rights, user_id)?;
        let mut outcome = self.save(User { enabled: false, ..user }, now_ms);
        self.drop_sessions(user_id, &mut outcome.changes);
        Ok(outcome.notify(close(user_id, false)))
    }

    pub(crate) fn delete_user(&self, caller: &Caller, user_id: &str) -> Result<Outcome, Refusal> {
        let rights = self.admin(caller)?;
        if user_id == SUPERADMIN {
            return Err(Refusal::new(Code::Forbidden, "Cannot delete virtual superadmin"));
        }
        let user = self.user(user_id)?;
        self.protect(&rights, user_id)?;
        let mut changes = self.changes();
        self.drop_sessions(user_id, &mut changes);
        for assignment in self.state.assignments_of(user_id) {
            changes.remove(Row::Assignment(assignment.clone()));
        }
        for entry in self.state.entries_of(SubjectRef::user(user_id)) {
            changes.remove(Row::Entry(entry.clone()));
        }
        for owner in self.state.owned_by(user_id) {
            changes.remove(Row::Owner(owner.clone()));
        }
        changes.remove(Row::User(user.clone()));
        Ok(Outcome::changed(reply::done("deleted"), changes).notify(close(user_id, false)))
    }

    // ---- Passwords ----

    pub(crate) fn begin_change(
        &self,
        caller: &Caller,
        user_id: String,
        current: String,
        new: String,
        env: &mut dyn Environment,
    ) -> Result<Step, Refusal> {
        let verified = self.check_change(caller, &user_id, &new)?.password_hash.clone();
        let job = self.job(Task::Change {
            current: current.clone(),
            stored: verified.clone(),
            new: new.clone(),
            salt: fresh_salt(env),
        });
        let rest = Rest::ChangePassword { user_id, current, new, verified };
        Ok(Step::Work { job, then: Pending { caller: caller.clone(), rest } })
    }

    #[expect(clippy::too_many_arguments, reason = "the rest of a call, taken apart")]
    pub(crate) fn finish_change(
        &self,
        caller: &Caller,
        user_id: String,
        current: String,
        new: String,
        verified: String,
        result: PasswordResult,
        env: &mut dyn Environment,
    ) -> Result<Step, Refusal> {
        let user = self.check_change(caller, &user_id, &new)?;
        if user.password_hash != verified {
            return self.begin_change(caller, user_id, current, new, env);
        }
        if !result.matched {
            return Err(Refusal::new(Code::Unauthorized, "Current password is incorrect"));
        }
        let changes = self.set_password(user, result.hash, env.now_ms())?;
        let outcome = Outcome::changed(reply::done("changed"), changes).notify(close(&user_id, true));
        Ok(Step::Done(Outcome { session: SessionChange::Clear, ..outcome }))
    }

    fn check_change(&self, caller: &Caller, user_id: &str, new: &str) -> Result<&User, Refusal> {
        if self.actor(caller)?.user_id != user_id {
            let message = "Can only change your own password (use resetPassword for other users)";
            return Err(Refusal::new(Code::Forbidden, message));
        }
        self.check_password(new)?;
        self.user(user_id)
    }

    pub(crate) fn begin_reset(
        &self,
        caller: &Caller,
        user_id: String,
        new: String,
        env: &mut dyn Environment,
    ) -> Result<Step, Refusal> {
        self.check_reset(caller, &user_id, &new)?;
        let job = self.job(Task::Hash { password: new.clone(), salt: fresh_salt(env) });
        let rest = Rest::ResetPassword { user_id, new };
        Ok(Step::Work { job, then: Pending { caller: caller.clone(), rest } })
    }

    pub(crate) fn finish_reset(
        &self,
        caller: &Caller,
        user_id: &str,
        new: &str,
        result: PasswordResult,
        env: &mut dyn Environment,
    ) -> Result<Outcome, Refusal> {
        let user = self.check_reset(caller, user_id, new)?;
        let changes = self.set_password(user, result.hash, env.now_ms())?;
        Ok(Outcome::changed(reply::done("reset"), changes).notify(close(user_id, false)))
    }

    fn check_reset(&self, caller: &Caller, user_id: &str, new: &str) -> Result<&User, Refusal> {
        let rights = self.admin(caller)?;
        self.check_password(new)?;
        let user = self.user(user_id)?;
        self.protect(&rights, user_id)?;
        Ok(user)
    }

    /// Stores a new hash and ends all sessions of the user.
    pub(crate) fn set_password(
        &self,
        user: &User,
        hash: Option<String>,
        now_ms: u64,
    ) -> Result<Changes, Refusal> {
        let password_hash = hash.ok_or_else(Refusal::internal)?;
        let mut changes = self.changes();
        changes.update(Row::User(User { password_hash, updated_ms: now_ms, ..user.clone() }));
        self.drop_sessions(&user.id, &mut changes);
        Ok(changes)
    }

    // ---- Common parts ----

    pub(crate) fn user(&self, user_id: &str) -> Result<&User, Refusal> {
        self.state.users.get(user_id).ok_or_else(|| not_found("User not found"))
    }

    /// Only a superadmin may touch a holder of the superadmin role.
    pub(crate) fn protect(&self, rights: &Rights<'_>, user_id: &str) -> Result<(), Refusal> {
        let holder = self.state.roles_of(user_id).any(|role| role.name == SUPERADMIN_ROLE);
        if holder && !rights.is_superadmin() { Err(superadmin_required()) } else { Ok(()) }
    }

    fn save(&self, user: User, now_ms: u64) -> Outcome {
        let user = User { updated_ms: now_ms, ..user };
        let reply = reply::user_info(&user).to_json();
        let mut changes = self.changes();
        changes.update(Row::User(user));
        Outcome::changed(reply, changes)
    }
}

pub(crate) fn new_user(user: NewUser, password_hash: String, id: String, now_ms: u64) -> User {
    User {
        id,
        username: user.username,
        password_hash,
        display_name: user.display_name,
        email: user.email,
        enabled: user.enabled.unwrap_or(true),
        metadata: user.metadata,
        created_ms: now_ms,
        updated_ms: now_ms,
    }
}

fn close(user_id: &str, except_caller: bool) -> Notice {
    Notice::CloseUser { user_id: user_id.to_owned(), except_caller }
}

/// Refuses what the store would refuse for the bucket's schema, in the same words: an address is `x@y.z` with exactly
/// one `@`, no white space, and something on both sides of `@` and of some later dot.
fn check_email(email: Option<&str>) -> Result<(), Refusal> {
    let Some(email) = email else { return Ok(()) };
    // ECMAScript's `\s`.
    let is_space = |c: char| (c.is_whitespace() && c != '\u{85}') || c == '\u{FEFF}';
    let valid = email.split_once('@').is_some_and(|(local, domain)| {
        let inner = domain.as_bytes().get(1..domain.len().saturating_sub(1)).unwrap_or_default();
        !local.is_empty() && !domain.contains('@') && inner.contains(&b'.')
    });
    if valid && !email.chars().any(is_space) {
        return Ok(());
    }
    let message = "Validation failed for bucket \"_users\": email: Invalid email format";
    let details = r#"[{"field":"email","message":"Invalid email format","code":"format"}]"#;
    Err(Refusal::validation(message).with_details(details.to_owned()))
}
