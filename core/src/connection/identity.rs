//! For whom the connection speaks: how the session begins and ends, and what that means for subscriptions.
//!
//! Source: the auth specification, section 2, and the protocol specification, section 5.5.

use super::Connection;
use crate::{Effect, EndReason, Instant, Now, Session, Shared, SubId, permissions};
use alloc::{sync::Arc, vec::Vec};

impl Connection {
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
