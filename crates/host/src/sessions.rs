//! Who is logged in, and how administrators and embedders end that.
//!
//! Source: the auth specification, section 5.2, and the protocol specification, section 7.12.

use crate::{
    Hub,
    registry::Entry,
    revocation::{Full, REVOKED_MAX},
};
use noex_core::{AuditQuery, AuditRecord, AuthMode, Now, Refusal, Session};
use noex_identity::{Identity, SUPERADMIN_ROLE, superadmin_required};
use std::{collections::BTreeSet, sync::Arc};

/// Whom a revocation does not touch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Spared {
    Nobody,
    Superadmins,
}

impl Hub {
    /// Revokes a user: all connections of the user are closed with `session_revoked` before they execute anything
    /// more, stored sessions end, and logins are refused for the configured time. Gives the number of connections.
    ///
    /// What they are executing at present is done when this returns: so it must not be called while the store or the
    /// rule engine is used, nor from a permission check.
    ///
    /// # Errors
    /// If too many users are revoked already, and no connection is closed then; or if stored sessions cannot be deleted.
    pub fn revoke_session(&self, now: Now, user_id: &str) -> Result<usize, Refusal> {
        let mut revoked = self.revocation.lock();
        revoked.insert(user_id, now.unix_ms, self.revoked_until_ms(now)).map_err(full)?;
        let closed = self.close_sessions(|session| session.user_id == user_id);
        drop(revoked);
        self.end_stored_sessions(now, [user_id])?;
        Ok(closed)
    }

    /// Revokes every user with an open session that has the given user id and role, as far as they are given. Gives
    /// the number of connections. See [`Hub::revoke_session`] for where it must not be called.
    ///
    /// # Errors
    /// If too many users are revoked already, and no connection is closed then; or if stored sessions cannot be deleted.
    pub fn revoke_sessions(
        &self,
        now: Now,
        user_id: Option<&str>,
        role: Option<&str>,
    ) -> Result<usize, Refusal> {
        self.revoke_matching(now, user_id, role, Spared::Nobody)
    }

    pub(crate) fn revoke_matching(
        &self,
        now: Now,
        user_id: Option<&str>,
        role: Option<&str>,
        spared: Spared,
    ) -> Result<usize, Refusal> {
        let mut revoked = self.revocation.lock();
        let matches = |session: &Session| {
            user_id.is_none_or(|user| session.user_id == user)
                && role.is_none_or(|role| session.has_role(role))
        };
        let entries = self.registry.entries();
        let sessions = entries.iter().filter_map(|entry| entry.session());
        let matching: Vec<Arc<Session>> = sessions.filter(|session| matches(session)).collect();
        if spared == Spared::Superadmins && matching.iter().any(|session| session.has_role(SUPERADMIN_ROLE)) {
            return Err(superadmin_required());
        }
        let users: BTreeSet<&str> = matching.iter().map(|session| session.user_id.as_str()).collect();
        for user in &users {
            revoked.insert(user, now.unix_ms, self.revoked_until_ms(now)).map_err(full)?;
        }
        let closed = self.close_sessions(matches);
        drop(revoked);
        self.end_stored_sessions(now, users)?;
        Ok(closed)
    }

    /// Whom a client may not revoke: only a superadmin touches superadmins.
    pub(crate) fn spared(&self, caller: Option<&Session>) -> Spared {
        let free = self.accounts.is_none() || caller.is_some_and(|own| self.is_superadmin(&own.user_id));
        if free { Spared::Nobody } else { Spared::Superadmins }
    }

    /// Refuses to revoke a user who is spared, logged in or not.
    pub(crate) fn check_spared(&self, spared: Spared, user_id: &str) -> Result<(), Refusal> {
        if spared == Spared::Superadmins && self.is_superadmin(user_id) {
            return Err(superadmin_required());
        }
        Ok(())
    }

    fn is_superadmin(&self, user_id: &str) -> bool {
        let holds =
            |identity: &Identity| identity.role_names(user_id).iter().any(|role| role == SUPERADMIN_ROLE);
        self.with_identity(holds).unwrap_or(false)
    }

    /// Lets a revoked user log in again; false if that was not forbidden.
    pub fn unrevoke(&self, now: Now, user_id: &str) -> bool {
        self.revocation.lock().remove(user_id, now.unix_ms)
    }

    /// Enters a session that a login has found, unless the user is revoked.
    pub(crate) fn admit_session(&self, now: Now, entry: &Entry, session: &Session) -> bool {
        let revoked = self.revocation.lock();
        if revoked.contains(&session.user_id, now.unix_ms) {
            return false;
        }
        entry.set_session(Some(Arc::new(session.clone())));
        true
    }

    /// Adds an entry of the audit log.
    pub(crate) fn record(&self, now: Now, entry: &Entry, record: AuditRecord) {
        if let Some(audit) = &self.audit {
            audit.add(crate::audit::Entry {
                time_ms: now.unix_ms,
                connection: entry.number,
                address: entry.address.clone(),
                record,
            });
        }
    }

    /// Opens the audit file anew, for whoever has moved it away.
    pub fn reopen_audit_file(&self) {
        self.audit.iter().for_each(|audit| audit.reopen());
    }

    /// Looks into the audit log, if there is one: the `data` of `audit.query` as JSON text.
    #[must_use]
    pub fn audit_entries(&self, query: &AuditQuery) -> Option<String> {
        self.audit.as_ref().map(|audit| audit.query(query))
    }

    /// Entries that did not get into the audit file.
    #[must_use]
    pub fn audit_entries_lost(&self) -> u64 {
        self.audit.as_ref().map_or(0, |audit| audit.lost())
    }

    fn close_sessions(&self, matches: impl Fn(&Session) -> bool) -> usize {
        let entries = self.registry.entries();
        let open = entries.iter().filter(|entry| entry.session().is_some_and(|session| matches(&session)));
        open.map(|entry| entry.revoke()).count()
    }

    fn revoked_until_ms(&self, now: Now) -> u64 {
        let span = u64::try_from(self.options.revocation_ttl.as_millis()).unwrap_or(u64::MAX);
        now.unix_ms.saturating_add(span)
    }

    /// Tells whether clients can log in.
    pub(crate) fn has_logins(&self) -> bool {
        !matches!(self.connection_config.auth, AuthMode::None)
    }
}

fn full(Full: Full) -> Refusal {
    Refusal::validation(format!("Limit reached: at most {REVOKED_MAX} revoked users"))
}
