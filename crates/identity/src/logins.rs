//! Logins by password and by the administrator's secret.
//!
//! Source: the auth specification, section 6.5. One hash is computed whether or not the user exists, and only the right
//! password is told that its account is disabled. Counters of failures are looked at before the computation and again
//! after it, so that many attempts at the same time get no more answers than many in a row.

use crate::{
    attempts::Counted,
    identity::{Caller, Environment, Identity, Outcome, Pending, Rest, Step, fresh_salt},
    password::{PasswordResult, Task},
    row::{Row, User},
    sessions::revoked,
    state::SUPERADMIN,
};
use noex_core::{Code, Refusal};

fn counted<'a>(username: &'a str, caller: &'a Caller) -> [Counted<'a>; 3] {
    let address = &caller.address;
    [Counted::UserFrom(username, address), Counted::Address(address), Counted::User(username)]
}

impl Identity {
    pub(crate) fn begin_login(
        &self,
        caller: &Caller,
        username: String,
        password: String,
        env: &mut dyn Environment,
    ) -> Result<Step, Refusal> {
        self.attempts.check(env.now_ms(), &self.settings, &counted(&username, caller))?;
        let stored = self.state.user_named(&username).map(|user| user.password_hash.clone());
        let salt = fresh_salt(env);
        let job = self.job(Task::Verify { password: password.clone(), stored: stored.clone(), salt });
        let rest = Rest::Login { username, password, verified: stored };
        Ok(Step::Work { job, then: Pending { caller: caller.clone(), rest } })
    }

    pub(crate) fn finish_login(
        &mut self,
        caller: &Caller,
        username: String,
        password: String,
        verified: Option<String>,
        result: PasswordResult,
        env: &mut dyn Environment,
    ) -> Result<Step, Refusal> {
        let now_ms = env.now_ms();
        self.attempts.check(now_ms, &self.settings, &counted(&username, caller))?;
        let user = self.state.user_named(&username);
        if user.is_some_and(|user| Some(&user.password_hash) != verified.as_ref()) {
            // The password was changed or its hash upgraded meanwhile: this result is about another one.
            return self.begin_login(caller, username, password, env);
        }
        let wrong = match user.filter(|_| result.matched) {
            None => "Invalid credentials",
            Some(user) if !user.enabled => "Account disabled",
            Some(user) => {
                let user = user.clone();
                let outcome = self.admit(user, result.hash, caller, env)?;
                self.attempts.clear(&counted(&username, caller));
                return Ok(Step::Done(outcome));
            }
        };
        self.attempts.fail(now_ms, &self.settings, &counted(&username, caller));
        Err(Refusal::new(Code::Unauthorized, wrong))
    }

    /// Opens a session for a user whose password was right.
    fn admit(
        &self,
        user: User,
        upgraded: Option<String>,
        caller: &Caller,
        env: &mut dyn Environment,
    ) -> Result<Outcome, Refusal> {
        if env.is_revoked(&user.id) {
            return Err(revoked());
        }
        let mut changes = self.changes();
        self.make_room_for_session(&user.id, env, &mut changes)?;
        let user_id = user.id.clone();
        if let Some(password_hash) = upgraded {
            changes.update(Row::User(User { password_hash, updated_ms: env.now_ms(), ..user }));
        }
        Ok(self.open_session(&user_id, caller, env, changes))
    }

    pub(crate) fn login_with_secret(
        &mut self,
        caller: &Caller,
        secret: &str,
        env: &mut dyn Environment,
    ) -> Result<Outcome, Refusal> {
        let by_secret = Counted::Secret(&caller.address);
        self.attempts.check(env.now_ms(), &self.settings, &[by_secret])?;
        if !self.settings.admin_secret.admits(secret) {
            self.attempts.fail(env.now_ms(), &self.settings, &[by_secret]);
            return Err(Refusal::new(Code::Unauthorized, "Invalid secret"));
        }
        let mut changes = self.changes();
        self.make_room_for_session(SUPERADMIN, env, &mut changes)?;
        self.attempts.clear(&[by_secret, Counted::Address(&caller.address)]);
        Ok(self.open_session(SUPERADMIN, caller, env, changes))
    }
}
