//! For whom the connection speaks: how the session begins and ends, and what that means for subscriptions.
//!
//! Source: the auth specification, section 2, and the protocol specification, section 5.5.

use super::{Connection, data};
use crate::{
    Body, Effect, EndReason, IdentityToken, Instant, Now, Refusal, Session, SessionChange, Shared, SubId,
    permissions,
};
use alloc::{string::String, sync::Arc, vec::Vec};

impl Connection {
    /// Answers a call of the identity management. `change` is what it means for this connection's session; a session
    /// that is set or cleared counts from the answer on.
    pub fn reply_identity(
        &mut self,
        now: Now,
        shared: &dyn Shared,
        token: IdentityToken,
        outcome: Result<Body, Refusal>,
        change: SessionChange,
    ) {
        if self.replies.id(token.0).is_none() {
            return;
        }
        let clear = change == SessionChange::Clear;
        if let SessionChange::Set(session) = change {
            self.set_session(now, Some(Arc::new(session)));
            self.recheck(shared);
        }
        self.settle(token.0, outcome.map(data));
        if clear {
            self.send_ready_replies(shared);
            self.drop_session(now, shared, EndReason::LoggedOut);
        }
        self.barrier = false;
        self.release_replies(now, shared);
    }

    /// Takes the present roles of a user. If the connection speaks for that user, its session shows them from now on,
    /// and subscriptions that they do not permit end. Does nothing otherwise.
    pub fn update_roles(&mut self, shared: &dyn Shared, user_id: &str, roles: &[String]) {
        if !self.accepts_work() {
            return;
        }
        let Some(own) = self.session.as_ref().filter(|own| own.user_id == user_id) else { return };
        if own.roles != roles {
            let session = Arc::new(Session { roles: roles.to_vec(), ..Session::clone(own) });
            self.session = Some(Arc::clone(&session));
            self.effects.push_back(Effect::SessionChanged(Some(session)));
        }
        self.recheck(shared);
    }

    /// Ends the subscriptions that are not permitted any more.
    pub fn recheck(&mut self, shared: &dyn Shared) {
        if self.accepts_work() {
            self.recheck_subscriptions(shared);
        }
    }

    pub(super) fn set_session(&mut self, now: Now, session: Option<Arc<Session>>) {
        self.expiry_untold = false;
        let required = self.config.requires_auth();
        self.login_deadline = if session.is_none() && required {
            self.config.auth_timeout.map(|span| now.mono + span)
        } else {
            None
        };
        self.session.clone_from(&session);
        self.session_deadline = self.expiry_deadline(now);
        self.effects.push_back(Effect::SessionChanged(session));
    }

    /// Ends the subscriptions that the present session, or its absence, does not permit.
    pub(super) fn recheck_subscriptions(&mut self, shared: &dyn Shared) {
        let session = self.session.as_deref();
        let lost: Vec<SubId> = self
            .subscriptions
            .watched()
            .filter(|(_, watched)| !permissions::may_watch(&self.config.auth, session, *watched, shared))
            .map(|(id, _)| id)
            .collect();
        for id in lost {
            self.end_subscription(shared, id, EndReason::PermissionRevoked);
        }
    }

    /// Ends an expired session.
    pub(super) fn check_expiry(&mut self, now: Now, shared: &dyn Shared) {
        if self.session.as_ref().is_some_and(|session| session.is_expired(now.unix_ms)) {
            self.drop_session(now, shared, EndReason::SessionExpired);
            self.expiry_untold = true;
        } else {
            self.session_deadline = self.expiry_deadline(now);
        }
    }

    pub(super) fn drop_session(&mut self, now: Now, shared: &dyn Shared, reason: EndReason) {
        self.set_session(now, None);
        if self.config.requires_auth() {
            let ids: Vec<SubId> = self.subscriptions.ids().collect();
            for id in ids {
                self.end_subscription(shared, id, reason);
            }
        } else {
            self.recheck_subscriptions(shared);
        }
    }

    fn expiry_deadline(&self, now: Now) -> Option<Instant> {
        let expires_at_ms = self.session.as_ref()?.expires_at_ms?;
        let wait_ms = expires_at_ms.saturating_add(1).saturating_sub(now.unix_ms);
        Some(now.mono + core::time::Duration::from_millis(wait_ms))
    }
}
