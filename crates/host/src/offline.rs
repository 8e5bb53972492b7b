//! Administration of the accounts of a server that does not run.
//!
//! The system buckets are read, changed and journaled by the same code as in a server; all other data is left alone and
//! not even read.

use crate::{
    EmbeddedStore, Persistence, PushSink, StartError,
    alarm::Alarm,
    gate::{Durability, Gate},
    identity::{Accounts, IdentityOptions},
    persistence::unreadable,
    random::SystemRandom,
    ticket::TicketState,
};
use noex_core::{Code, EndReason, NewUser, Refusal, SubId, Update};
use noex_identity::{Changes, Environment, Identity, Settings, UserSummary};
use noex_store::{Image, JournalError, Journaling, Store, StoreOptions, StoredBucket};
use std::{
    collections::HashSet,
    sync::{Arc, mpsc},
};

/// The accounts of a stopped server.
#[derive(Debug)]
pub struct OfflineAccounts {
    accounts: Accounts,
    store: Arc<EmbeddedStore>,
}

impl OfflineAccounts {
    /// Reads the accounts, or begins with none where there are none yet. Nothing is written before the first change.
    ///
    /// # Errors
    /// If what is stored cannot be read.
    pub fn open(persistence: &Persistence, settings: Settings, now_ms: u64) -> Result<Self, StartError> {
        let random = SystemRandom::new().map_err(|error| StartError::Randomness(error.to_string()))?;
        let mut store = Store::new(StoreOptions::default(), Box::new(random));
        if let Some(image) = persistence.image.lock().take() {
            let mut image = SystemBuckets { image, ids: HashSet::new() };
            store.restore(&mut image, &mut |_| ()).map_err(unreadable)?;
        }
        store.set_journaling(Journaling::Undoable);
        let (nobody, alarm) = (Arc::new(Nobody), Arc::new(Alarm::default()));
        let gate = Gate::new(Arc::clone(&persistence.journal), Durability::Sync, nobody, alarm);
        let store = EmbeddedStore::with_gate(store, false, Some(gate));
        // Nobody waits, so passwords are computed in place.
        let options = IdentityOptions { hash_threads: 0, ..IdentityOptions::new(settings) };
        let accounts = Accounts::start(&options, &store, None, now_ms)?;
        Ok(Self { accounts, store })
    }

    /// Lists the users in the order of their creation.
    #[must_use]
    pub fn users(&self) -> Vec<UserSummary> {
        self.accounts.hold_rights().user_summaries()
    }

    /// Creates a user with a role, and returns when that is kept.
    ///
    /// # Errors
    /// As those of [`Identity::provision_user`], or if it cannot be kept.
    pub fn create_user(&self, now_ms: u64, user: NewUser, role: &str) -> Result<(), Refusal> {
        self.change(now_ms, |identity, env| identity.provision_user(user, role, env))
    }

    /// Sets the password of a user and ends his sessions, and returns when that is kept.
    ///
    /// # Errors
    /// As those of [`Identity::provision_password`], or if it cannot be kept.
    pub fn reset_password(&self, now_ms: u64, username: &str, password: &str) -> Result<(), Refusal> {
        self.change(now_ms, |identity, env| identity.provision_password(username, password, env))
    }

    fn change(
        &self,
        now_ms: u64,
        compute: impl FnOnce(&Identity, &mut dyn Environment) -> Result<Changes, Refusal>,
    ) -> Result<(), Refusal> {
        self.accounts.change(now_ms, compute)?;
        self.store.wait_until_kept()
    }
}

impl EmbeddedStore {
    /// Has the journal keep everything so far, and waits for it on this thread.
    fn wait_until_kept(&self) -> Result<(), Refusal> {
        let ((), ticket) = self.write(|_| ());
        let Some((gate, ticket)) = self.gate.as_ref().zip(ticket) else { return Ok(()) };
        let (say, settled) = mpsc::channel();
        ticket.on_settled(move || {
            // Somebody waits, below.
            let _ = say.send(());
        });
        self.pump();
        let outcome = settled.recv();
        if outcome.is_ok() && ticket.state() == TicketState::Kept {
            return Ok(());
        }
        let reason = gate.last_error().map(|error| format!(": {error}")).unwrap_or_default();
        Err(Refusal::new(Code::InternalError, format!("the change could not be stored{reason}")))
    }
}

/// An image that shows the records of system buckets only. The other buckets are there, so that their ids are not given
/// to others.
struct SystemBuckets {
    image: Box<dyn Image + Send>,
    ids: HashSet<u64>,
}

impl Image for SystemBuckets {
    fn buckets(&mut self) -> Result<Vec<StoredBucket>, JournalError> {
        let buckets = self.image.buckets()?;
        self.ids =
            buckets.iter().filter(|bucket| bucket.name.starts_with('_')).map(|bucket| bucket.id).collect();
        Ok(buckets)
    }

    fn queries(&mut self) -> Result<Vec<(String, String)>, JournalError> {
        self.image.queries()
    }

    fn records(
        &mut self,
        bucket: u64,
        each: &mut dyn FnMut(u64, &str) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        if self.ids.contains(&bucket) { self.image.records(bucket, each) } else { Ok(()) }
    }

    fn kept(
        &mut self,
        space: &str,
        each: &mut dyn FnMut(&str, &str) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        self.image.kept(space, each)
    }
}

/// There are no subscribers.
struct Nobody;

impl PushSink for Nobody {
    fn result(&self, _subscription: SubId, _update: Update) {}
    fn event(&self, _subscription: SubId, _event: Arc<str>) {}
    fn ended(&self, _subscription: SubId, _reason: EndReason) {}
}
