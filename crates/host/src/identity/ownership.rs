//! Calls that define what belongs to somebody, or remove it.

use crate::{Hub, rights::Judge, ticket::Reply};
use noex_core::{Body, Now, ProceduresCall, Refusal, StoreCall};
use noex_identity::{Changes, ResourceKind};
use noex_json::Value;

/// What a call does to owners.
pub(crate) enum Ownership {
    Defined(ResourceKind, String),
    Removed(ResourceKind, String),
}

impl Ownership {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other calls define nothing that is owned")]
    fn of_store(call: &StoreCall) -> Option<Self> {
        Some(match call {
            StoreCall::DefineBucket { name, .. } => Self::Defined(ResourceKind::Bucket, name.clone()),
            StoreCall::DropBucket { name } => Self::Removed(ResourceKind::Bucket, name.clone()),
            StoreCall::DefineQuery { name, .. } => Self::Defined(ResourceKind::Query, name.clone()),
            StoreCall::UndefineQuery { name } => Self::Removed(ResourceKind::Query, name.clone()),
            _ => return None,
        })
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other calls define nothing")]
    pub(crate) fn of_procedures(call: &ProceduresCall) -> Option<Self> {
        Some(match call {
            ProceduresCall::Register { procedure } => {
                let name = procedure.get("name").and_then(Value::as_str)?;
                Self::Defined(ResourceKind::Procedure, name.to_owned())
            }
            ProceduresCall::Unregister { name } => Self::Removed(ResourceKind::Procedure, name.clone()),
            _ => return None,
        })
    }
}

impl Hub {
    /// Executes a call of the store for a user. One [that takes the rights itself](Hub::takes_rights) does it if
    /// `stands` agrees then; see [`Hub::owning`].
    pub(crate) fn store_call(
        &self,
        now: Now,
        user_id: Option<&str>,
        stands: &Judge<'_>,
        call: StoreCall,
    ) -> Reply<Body, StoreCall> {
        let ownership = Ownership::of_store(&call).filter(|_| self.accounts.is_some());
        if ownership.is_none() {
            return self.store.call(now.unix_ms, call);
        }
        self.owning(now, user_id, ownership, || {
            stands()?;
            self.store.call(now.unix_ms, call).outcome()
        })
    }

    /// Tells whether a call changes owners, for which it takes rights for itself.
    pub(crate) fn takes_rights(&self, call: &StoreCall) -> bool {
        self.accounts.is_some() && Ownership::of_store(call).is_some()
    }

    /// Executes a call for a user. What it defines gets its owner, and what it removes loses its owner and its access
    /// list, before anybody else can be judged by them, and in one group for the journal.
    pub(crate) fn owning<C>(
        &self,
        now: Now,
        user_id: Option<&str>,
        ownership: Option<Ownership>,
        call: impl FnOnce() -> Result<Body, Refusal>,
    ) -> Reply<Body, C> {
        let Some((accounts, ownership)) = self.accounts.as_ref().zip(ownership) else {
            let _rights = self.hold_rights();
            let _whole = self.embedded.whole();
            let outcome = call();
            return Reply::resting_on(self.ticket(), outcome, None);
        };
        let mut identity = accounts.lock(now.unix_ms);
        let outcome = call().and_then(|answer| {
            let changes = match (ownership, user_id) {
                (Ownership::Defined(kind, name), Some(user_id)) => {
                    identity.resource_defined(user_id, kind, &name, &mut self.running(accounts, now))
                }
                (Ownership::Defined(..), None) => Changes::default(),
                (Ownership::Removed(kind, name), _) => identity.resource_removed(kind, &name),
            };
            accounts.write(&mut identity, now.unix_ms, changes)?;
            Ok(answer)
        });
        Reply::resting_on(self.ticket(), outcome, None)
    }
}
