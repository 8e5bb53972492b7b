//! The state machine: calls in, outcomes out.

use crate::{
    access::{Check, Rights},
    attempts::Attempts,
    changes::{Change, Changes},
    password::{PasswordJob, PasswordResult, Task},
    row::{LoadError, Row},
    settings::Settings,
    state::State,
    token::{TokenHash, new_id},
};
use noex_core::{Code, IdentityCall, NewUser, Refusal, Session};
use noex_json::Object;
use std::fmt;

/// Who calls.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The user of the connection's session; `None` = not logged in.
    pub user_id: Option<String>,
    /// Hash of the session token that the connection holds.
    pub token: Option<TokenHash>,
    /// Remote address.
    pub address: String,
}

/// What the host knows.
pub trait Environment {
    /// The time in ms since the Unix epoch. The host writes changes with this time.
    fn now_ms(&self) -> u64;

    /// Fills a buffer with cryptographically strong random bytes.
    fn random(&mut self, bytes: &mut [u8]);

    /// Tells whether an administrator has revoked a user.
    fn is_revoked(&self, user_id: &str) -> bool;

    /// Tells whether an open connection holds a session token.
    fn is_bound(&self, token: &TokenHash) -> bool;
}

/// How far a call has come.
#[derive(Debug)]
pub enum Step {
    /// It is answered.
    Done(Outcome),
    /// Passwords are to be computed first; then [`Identity::resume`].
    Work {
        /// To be run on another thread.
        job: PasswordJob,
        /// The rest of the call.
        then: Pending,
    },
}

/// The answer to a call, and what follows from it. The members after the first count only if the changes could be
/// written.
#[derive(Debug)]
pub struct Outcome {
    /// `data` of the result as JSON text, or the error.
    pub reply: Result<String, Refusal>,
    /// For whom the caller's connection speaks from now on.
    pub session: SessionChange,
    /// To be written, then committed.
    pub changes: Changes,
    /// What other connections have to be told, after the commit.
    pub notices: Vec<Notice>,
}

/// What becomes of the session of the caller's connection.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum SessionChange {
    /// It stays.
    #[default]
    Keep,
    /// There is a new one.
    Set {
        /// The session.
        session: Session,
        /// Hash of its token, which the connection holds from now on.
        token: TokenHash,
    },
    /// The connection speaks for nobody.
    Clear,
}

/// What a change means for other connections.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Notice {
    /// Close the user's connections as revoked (4002).
    CloseUser {
        /// The user.
        user_id: String,
        /// Whether the caller's connection stays open.
        except_caller: bool,
    },
    /// Other connections with this session are logged out too.
    SessionEnded {
        /// Hash of the session's token.
        token: TokenHash,
    },
    /// Users have other roles: take them from [`Identity::role_names`] into their sessions, and check what they watch.
    RolesChanged {
        /// The users.
        user_ids: Vec<String>,
    },
    /// Some right may have ended, of anyone: check what is watched.
    AccessChanged,
}

/// The rest of a call that waits for a [`PasswordResult`].
pub struct Pending {
    pub(crate) caller: Caller,
    pub(crate) rest: Rest,
}

pub(crate) enum Rest {
    Login { username: String, password: String, verified: Option<String> },
    CreateUser(NewUser),
    ChangePassword { user_id: String, current: String, new: String, verified: String },
    ResetPassword { user_id: String, new: String },
}

impl Pending {
    /// Tells whether the call is a login, for which nobody need be logged in.
    #[must_use]
    pub fn is_login(&self) -> bool {
        matches!(self.rest, Rest::Login { .. })
    }
}

impl fmt::Debug for Pending {
    /// Shows no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("caller", &self.caller).finish_non_exhaustive()
    }
}

/// Changes were to be committed that were computed from an older state: an error of the host, which must not call
/// between computing and committing. Nothing has been changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StaleChanges;

impl fmt::Display for StaleChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the identity state has changed since these changes were computed")
    }
}

impl std::error::Error for StaleChanges {}

/// Users, roles, access lists, owners, sessions, and failed logins. All but the last is mirrored in records.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(crate) settings: Settings,
    pub(crate) state: State,
    pub(crate) attempts: Attempts,
    /// Counts the commits.
    revision: u64,
}

impl Identity {
    /// Rebuilds the state from the records of the system buckets, given as (bucket, record), each bucket's in the
    /// order of insertion.
    ///
    /// # Errors
    /// If the records are damaged: a member is missing or wrong, two records are about the same thing, or one refers
    /// to a user or role that does not exist.
    pub fn load<B: AsRef<str>>(
        settings: Settings,
        records: impl IntoIterator<Item = (B, Object)>,
    ) -> Result<Self, LoadError> {
        Ok(Self { settings, state: decode(records)?, attempts: Attempts::default(), revision: 0 })
    }

    /// Replaces the state by that of other records. Failed logins stay counted.
    ///
    /// # Errors
    /// As [`Identity::load`]; nothing has changed then.
    pub fn reload<B: AsRef<str>>(
        &mut self,
        records: impl IntoIterator<Item = (B, Object)>,
    ) -> Result<(), LoadError> {
        self.state = decode(records)?;
        self.revision += 1;
        Ok(())
    }

    /// Makes the changes that have been written.
    ///
    /// # Errors
    /// [`StaleChanges`] if another commit came between.
    pub fn commit(&mut self, changes: Changes) -> Result<(), StaleChanges> {
        if changes.is_empty() {
            return Ok(());
        }
        if changes.revision != self.revision {
            return Err(StaleChanges);
        }
        self.revision += 1;
        for change in changes.list {
            match change {
                Change::Insert(row) | Change::Update(row) => {
                    self.state.put(row);
                }
                Change::Remove(row) => self.state.remove(&row),
            }
        }
        Ok(())
    }

    /// Runs a call as far as it goes.
    pub fn call(&mut self, caller: &Caller, call: IdentityCall, env: &mut dyn Environment) -> Step {
        self.begin(caller, call, env).unwrap_or_else(Step::refused)
    }

    /// Goes on with a call whose passwords have been computed.
    pub fn resume(&mut self, pending: Pending, result: PasswordResult, env: &mut dyn Environment) -> Step {
        let Pending { caller, rest } = pending;
        let step = match rest {
            Rest::Login { username, password, verified } => {
                self.finish_login(&caller, username, password, verified, result, env)
            }
            Rest::CreateUser(user) => self.finish_create(&caller, user, result, env).map(Step::Done),
            Rest::ChangePassword { user_id, current, new, verified } => {
                self.finish_change(&caller, user_id, current, new, verified, result, env)
            }
            Rest::ResetPassword { user_id, new } => {
                self.finish_reset(&caller, &user_id, &new, result, env).map(Step::Done)
            }
        };
        step.unwrap_or_else(Step::refused)
    }

    fn begin(
        &mut self,
        caller: &Caller,
        call: IdentityCall,
        env: &mut dyn Environment,
    ) -> Result<Step, Refusal> {
        use IdentityCall as C;
        let now_ms = env.now_ms();
        let outcome = match call {
            C::Login { username, password } => return self.begin_login(caller, username, password, env),
            C::CreateUser { user } => return self.begin_create(caller, user, env),
            C::ChangePassword { user_id, current_password, new_password } => {
                return self.begin_change(caller, user_id, current_password, new_password, env);
            }
            C::ResetPassword { user_id, new_password } => {
                return self.begin_reset(caller, user_id, new_password, env);
            }
            C::LoginWithSecret { secret } => self.login_with_secret(caller, &secret, env),
            C::Logout => self.logout(caller),
            C::RefreshSession => self.refresh_session(caller, env),
            C::GetUser { user_id } => self.get_user(caller, &user_id),
            C::UpdateUser { user_id, changes } => self.update_user(caller, &user_id, changes, now_ms),
            C::DeleteUser { user_id } => self.delete_user(caller, &user_id),
            C::ListUsers { page, page_size } => self.list_users(caller, page, page_size),
            C::EnableUser { user_id } => self.enable_user(caller, &user_id, now_ms),
            C::DisableUser { user_id } => self.disable_user(caller, &user_id, now_ms),
            C::CreateRole { name, description, permissions } => {
                self.create_role(caller, name, description, &permissions, env)
            }
            C::UpdateRole { role_id, description, permissions } => {
                self.update_role(caller, &role_id, description, permissions.as_deref(), now_ms)
            }
            C::DeleteRole { role_id } => self.delete_role(caller, &role_id),
            C::ListRoles => self.list_roles(caller),
            C::AssignRole { user_id, role_name } => self.assign_role(caller, &user_id, &role_name, env),
            C::RemoveRole { user_id, role_name } => self.remove_role(caller, &user_id, &role_name),
            C::GetUserRoles { user_id } => self.get_user_roles(caller, &user_id),
            C::Grant { subject, resource, operations } => {
                self.grant(caller, &subject, &resource, &operations, env)
            }
            C::Revoke { subject, resource, operations } => {
                self.revoke(caller, &subject, &resource, operations.as_deref())
            }
            C::GetAcl { resource } => self.get_acl(caller, &resource),
            C::MyAccess => self.my_access(caller),
            C::GetOwner { resource } => self.get_owner(caller, &resource),
            C::TransferOwner { resource, new_owner_id } => {
                self.transfer_owner(caller, &resource, &new_owner_id)
            }
            // Variants that the core may get later.
            _ => Err(Refusal::new(Code::UnknownOperation, "Unknown identity operation")),
        };
        outcome.map(Step::Done)
    }

    /// Tells whether a user may do something now.
    #[must_use]
    pub fn permits(&self, user_id: &str, check: &Check<'_>) -> bool {
        self.state.rights(user_id).permits(check)
    }

    /// Lists the buckets that a user may see listed; `None` = all. Names may repeat, and may not exist.
    #[must_use]
    pub fn visible_buckets(&self, user_id: &str) -> Option<Vec<String>> {
        self.state.rights(user_id).visible_buckets()
    }

    /// Names of the roles that a user has now, in the order of assignment.
    #[must_use]
    pub fn role_names(&self, user_id: &str) -> Vec<String> {
        self.state.roles_of(user_id).map(|role| role.name.clone()).collect()
    }

    /// All records as (bucket, record), in the form that [`Identity::load`] takes; for tests and tools.
    pub fn records(&self) -> impl Iterator<Item = (&'static str, Object)> + '_ {
        self.state.rows().map(|row| (row.bucket(), row.encode_whole()))
    }

    pub(crate) fn changes(&self) -> Changes {
        Changes { list: Vec::new(), revision: self.revision }
    }

    // ---- What several calls need ----

    /// The rights of a caller who is logged in.
    pub(crate) fn actor<'a>(&'a self, caller: &'a Caller) -> Result<Rights<'a>, Refusal> {
        let refused = || Refusal::new(Code::Unauthorized, "Authentication required");
        let user_id = caller.user_id.as_deref().ok_or_else(refused)?;
        // A disabled user whose connections are about to be closed.
        if self.state.users.get(user_id).is_some_and(|user| !user.enabled) {
            return Err(refused());
        }
        Ok(self.state.rights(user_id))
    }

    pub(crate) fn admin<'a>(&'a self, caller: &'a Caller) -> Result<Rights<'a>, Refusal> {
        let rights = self.actor(caller)?;
        if rights.is_admin() { Ok(rights) } else { Err(admin_required()) }
    }

    pub(crate) fn superadmin<'a>(&'a self, caller: &'a Caller) -> Result<Rights<'a>, Refusal> {
        let rights = self.actor(caller)?;
        if rights.is_superadmin() { Ok(rights) } else { Err(superadmin_required()) }
    }

    /// Refuses to add a record to a full table.
    pub(crate) fn room(&self, records: usize, what: &str) -> Result<(), Refusal> {
        let max = self.settings.max_records;
        if records < max {
            return Ok(());
        }
        Err(Refusal::new(Code::RateLimited, format!("Too many {what} (limit {max})")))
    }

    pub(crate) fn job(&self, task: Task) -> PasswordJob {
        PasswordJob { task, cost: self.settings.password_cost }
    }
}

impl Step {
    fn refused(refusal: Refusal) -> Self {
        Self::Done(Outcome {
            reply: Err(refusal),
            session: SessionChange::Keep,
            changes: Changes::default(),
            notices: Vec::new(),
        })
    }
}

impl Outcome {
    /// An answer without any effect.
    pub(crate) fn answer(reply: String) -> Self {
        Self::changed(reply, Changes::default())
    }

    pub(crate) fn changed(reply: String, changes: Changes) -> Self {
        Self { reply: Ok(reply), session: SessionChange::Keep, changes, notices: Vec::new() }
    }

    pub(crate) fn notify(mut self, notice: Notice) -> Self {
        self.notices.push(notice);
        self
    }
}

pub(crate) fn admin_required() -> Refusal {
    Refusal::new(Code::Forbidden, "Admin role required")
}

/// The refusal of what only a superadmin may do.
#[must_use]
pub fn superadmin_required() -> Refusal {
    Refusal::new(Code::Forbidden, "Superadmin role required")
}

pub(crate) fn not_found(what: &'static str) -> Refusal {
    Refusal::new(Code::NotFound, what)
}

pub(crate) fn fresh_id(env: &mut dyn Environment) -> String {
    new_id(&mut |bytes| env.random(bytes))
}

pub(crate) fn fresh_salt(env: &mut dyn Environment) -> [u8; 16] {
    let mut salt = [0; 16];
    env.random(&mut salt);
    salt
}

fn decode<B: AsRef<str>>(records: impl IntoIterator<Item = (B, Object)>) -> Result<State, LoadError> {
    let rows = records.into_iter().map(|(bucket, record)| Row::decode(bucket.as_ref(), &record));
    State::load(rows.collect::<Result<Vec<_>, _>>()?)
}
