//! Rights that change between the judgement of a request and its execution.
//!
//! Whoever ends a right or a session tells the connections first, and then waits until what was judged before has been
//! executed. Whoever executes something holds the rights meanwhile, and judges again if he has been told of a change.
//! Lock order: first of all.

use crate::{Hub, driver::Drive};
use noex_core::{Code, Operation, Refusal};
use noex_identity::Identity;
use parking_lot::RwLockReadGuard;

/// Rights that cannot change while this lives.
pub(crate) enum HeldRights<'a> {
    /// By the built-in identity, sessions included.
    Identity { _held: RwLockReadGuard<'a, Identity> },
    /// Without one: only sessions can end.
    Sessions { _held: RwLockReadGuard<'a, ()> },
}

/// Judges a request anew if rights may have changed since it was judged. To be called while rights are held.
pub(crate) type Judge<'a> = dyn Fn() -> Result<(), Refusal> + 'a;

/// An operation that must be permitted, and on which resource.
type Required<'a> = (Operation, &'a str);

impl Hub {
    /// Keeps rights and sessions as they are, if there are any. As for the identity's
    /// [`hold_rights`](crate::identity::Accounts::hold_rights), whoever holds them already must not ask for them.
    pub(crate) fn hold_rights(&self) -> Option<HeldRights<'_>> {
        match &self.accounts {
            Some(accounts) => Some(HeldRights::Identity { _held: accounts.hold_rights() }),
            None if self.has_logins() => {
                Some(HeldRights::Sessions { _held: self.revocation.hold_sessions() })
            }
            None => None,
        }
    }
}

impl<S, T: crate::Timer> Drive<S, T> {
    /// Tells whether rights may have changed since the present request was judged. Every change of rights is announced
    /// before it is committed: so if none was when a read has been executed, what was read is older than any change.
    pub(crate) fn may_be_overtaken(&self) -> bool {
        self.member.as_ref().is_some_and(|own| own.entry.inbox.is_urgent())
    }

    /// Judges a request again, if rights may have changed since it was judged, by the operations that it requires on
    /// resources; if it requires none, only the session must be there still. To be called while rights are held.
    pub(crate) fn judge_again<'r>(
        &self,
        required: impl IntoIterator<Item = Required<'r>>,
    ) -> Result<(), Refusal> {
        if self.may_be_overtaken() { self.judge(required) } else { Ok(()) }
    }

    pub(crate) fn judge<'r>(&self, required: impl IntoIterator<Item = Required<'r>>) -> Result<(), Refusal> {
        let session = self.member.as_ref().and_then(|member| member.entry.session());
        let config = &self.hub.connection_config;
        if session.is_none() && (config.requires_auth() || self.connection.session().is_some()) {
            return Err(not_logged_in());
        }
        required.into_iter().try_for_each(|(operation, resource)| {
            noex_core::may(&config.auth, session.as_deref(), operation, resource, &*self.hub)
        })
    }
}

/// The answer to one whose session has ended since he asked.
pub(crate) fn not_logged_in() -> Refusal {
    Refusal::new(Code::Unauthorized, "Authentication required")
}
