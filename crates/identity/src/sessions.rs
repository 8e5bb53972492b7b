//! Stored sessions: making, finding and ending them.
//!
//! Source: the auth specification, section 6.4.

use crate::{
    changes::Changes,
    identity::{Caller, Environment, Identity, Notice, Outcome, SessionChange},
    reply,
    row::{Row, StoredSession},
    state::SUPERADMIN,
    token::{TokenHash, new_token},
};
use noex_core::{Code, Denied, Refusal, Session};

/// Most sessions that one sweep deletes.
const SWEEP_MAX: usize = 1000;

/// What a token is worth at `auth.login`.
#[derive(Debug)]
pub struct TokenLogin {
    /// The session and the hash of its token, which the connection holds from now on; or why there is none.
    pub verdict: Result<(Session, TokenHash), Denied>,
    /// To be written and committed, whatever the verdict.
    pub changes: Changes,
}

impl Identity {
    /// Finds the session that a token continues (`auth.login`).
    pub fn login_with_token(&self, token: &str, env: &dyn Environment) -> TokenLogin {
        let (token, mut changes) = (TokenHash::of(token), self.changes());
        let verdict = match self.state.sessions.get(&token) {
            Some(stored) if stored.expires_ms < env.now_ms() => {
                changes.remove(Row::Session(stored.clone()));
                Err(Denied::Invalid)
            }
            Some(stored) if !self.state.rights(&stored.user_id).active => Err(Denied::Invalid),
            Some(stored) if env.is_revoked(&stored.user_id) => {
                Err(Denied::Revoked { user_id: stored.user_id.clone() })
            }
            Some(stored) => Ok((self.session(&stored.user_id, stored.expires_ms), token)),
            None => Err(Denied::Invalid),
        };
        TokenLogin { verdict, changes }
    }

    /// Deletes the session of a token: `auth.logout`.
    pub fn end_session(&self, token: &TokenHash) -> Changes {
        let mut changes = self.changes();
        if let Some(stored) = self.state.sessions.get(token) {
            changes.remove(Row::Session(stored.clone()));
        }
        changes
    }

    /// Deletes all sessions of a user: revocation.
    pub fn end_sessions(&self, user_id: &str) -> Changes {
        let mut changes = self.changes();
        self.drop_sessions(user_id, &mut changes);
        changes
    }

    /// When a stored session ends next, in ms since the Unix epoch: time for [`Identity::sweep`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.state.expiries().next().map(|(at, _)| at.saturating_add(1))
    }

    /// Deletes sessions that have ended, at most 1000 at a time, and forgets failed logins whose time is over.
    pub fn sweep(&mut self, now_ms: u64) -> Changes {
        self.attempts.sweep(now_ms, &self.settings);
        let mut changes = self.changes();
        for (_, stored) in self.state.expiries().take_while(|(at, _)| *at < now_ms).take(SWEEP_MAX) {
            changes.remove(Row::Session(stored.clone()));
        }
        changes
    }

    pub(crate) fn logout(&self, caller: &Caller) -> Result<Outcome, Refusal> {
        self.actor(caller)?;
        let changes = caller.token.as_ref().map_or_else(Changes::default, |token| self.end_session(token));
        let outcome = Outcome::changed(reply::done("loggedOut"), changes);
        let notices = caller.token.map(|token| Notice::SessionEnded { token }).into_iter().collect();
        Ok(Outcome { session: SessionChange::Clear, notices, ..outcome })
    }

    pub(crate) fn refresh_session(
        &self,
        caller: &Caller,
        env: &mut dyn Environment,
    ) -> Result<Outcome, Refusal> {
        let unauthorized = |message: &'static str| Refusal::new(Code::Unauthorized, message);
        let user_id = caller.user_id.as_deref().ok_or_else(|| unauthorized("Authentication required"))?;
        let token = caller.token.as_ref().ok_or_else(|| unauthorized("No active session to refresh"))?;
        let stored = self.state.sessions.get(token);
        let stored = stored
            .filter(|stored| stored.expires_ms >= env.now_ms() && stored.user_id == user_id)
            .ok_or_else(|| unauthorized("Invalid or expired session"))?;
        if !self.state.rights(user_id).active {
            return Err(unauthorized("User not found or disabled"));
        }
        if env.is_revoked(user_id) {
            return Err(revoked());
        }
        let mut changes = self.changes();
        changes.remove(Row::Session(stored.clone()));
        // Connections may have left more behind than are to be kept.
        self.drop_dispensable(user_id, 0, Some(token), env, &mut changes);
        Ok(self.open_session(user_id, caller, env, changes))
    }

    /// Adds a session to the changes and answers with its token.
    pub(crate) fn open_session(
        &self,
        user_id: &str,
        caller: &Caller,
        env: &mut dyn Environment,
        mut changes: Changes,
    ) -> Outcome {
        let text = new_token(&mut |bytes| env.random(bytes));
        let (token, now_ms) = (TokenHash::of(&text), env.now_ms());
        let expires_ms = now_ms.saturating_add(self.settings.session_ttl_ms);
        changes.insert(Row::Session(StoredSession {
            token,
            user_id: user_id.to_owned(),
            expires_ms,
            created_ms: now_ms,
            ip: Some(caller.address.clone()),
        }));
        Outcome {
            reply: Ok(reply::login(&self.state, user_id, &text, expires_ms)),
            session: SessionChange::Set { session: self.session(user_id, expires_ms), token },
            changes,
            notices: Vec::new(),
        }
    }

    /// Makes room for one more session of a user: the oldest go that no open connection holds.
    pub(crate) fn make_room_for_session(
        &self,
        user_id: &str,
        env: &dyn Environment,
        changes: &mut Changes,
    ) -> Result<(), Refusal> {
        let removed = self.drop_dispensable(user_id, 1, None, env, changes);
        if user_id == SUPERADMIN {
            return Ok(()); // the operator can always get in
        }
        self.room(self.state.sessions.len() - removed, "sessions")
    }

    /// Removes the oldest sessions of a user that are too many once `added` are added, except those that open connections
    /// hold and the one that is `replaced`; gives their number.
    fn drop_dispensable(
        &self,
        user_id: &str,
        added: usize,
        replaced: Option<&TokenHash>,
        env: &dyn Environment,
        changes: &mut Changes,
    ) -> usize {
        let count = self.state.session_count(user_id) + added;
        let excess = count.saturating_sub(self.settings.max_sessions_per_user);
        let dispensable =
            |stored: &&StoredSession| Some(&stored.token) != replaced && !env.is_bound(&stored.token);
        let mut removed = 0;
        for stored in self.state.sessions_of(user_id).filter(dispensable).take(excess) {
            changes.remove(Row::Session(stored.clone()));
            removed += 1;
        }
        removed
    }

    pub(crate) fn drop_sessions(&self, user_id: &str, changes: &mut Changes) {
        for stored in self.state.sessions_of(user_id) {
            changes.remove(Row::Session(stored.clone()));
        }
    }

    /// What a connection keeps of a session.
    fn session(&self, user_id: &str, expires_ms: u64) -> Session {
        Session {
            user_id: user_id.to_owned(),
            roles: self.role_names(user_id),
            expires_at_ms: Some(expires_ms),
            ..Session::default()
        }
    }
}

pub(crate) fn revoked() -> Refusal {
    Refusal::new(Code::SessionRevoked, "Session has been revoked")
}
