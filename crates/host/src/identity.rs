//! The built-in identity behind the protocol's calls.
//!
//! The identity is a pure state machine; here it stands behind a lock and is mirrored in system buckets of the store.
//! A change holds the lock until it is in the store and connections have been told, so nobody is judged by a state
//! that is not kept, and what is committed later goes to nobody whose right has ended.
//! What was not kept is undone by reading the records anew, before anything else is done with the identity.
//! Lock order: identity, then what is kept as a whole, revocation, store, registry, mailboxes.

mod ownership;

use crate::{
    EmbeddedStore, Hub, StartError,
    gate::Gate,
    passwords::{Busy, Passwords},
    random::SeededRandom,
    refusals::{Place, of_store_error},
    registry::Entry,
    rights::not_logged_in,
    ticket::Ticket,
};
use futures::channel::oneshot;
use noex_core::{Body, Code, Denied, IdentityCall, Now, Refusal, Session, SessionChange, SessionKey, Target};
use noex_identity::{
    Caller, Changes, Check, Environment, Identity, Notice, Outcome, PasswordResult, Pending, RecordAction,
    Settings, Step, TokenHash, bucket_definitions,
};
use noex_json::{Object, Value};
use noex_store::{Answer, Operation, ReadRequest, StoreError};
use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::{
    cell::OnceCell,
    collections::HashSet,
    fmt,
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

pub(crate) use ownership::Ownership;

/// Settings of the built-in identity.
#[derive(Clone, Debug)]
pub struct IdentityOptions {
    /// Settings of the identity itself.
    pub settings: Settings,
    /// Threads that compute password hashes; 0 = they are computed where they are asked for, which holds up
    /// everybody else and is for simulations.
    pub hash_threads: usize,
    /// Computations that wait for a thread; further ones are refused as `RATE_LIMITED`.
    pub hash_queue_max: usize,
}

impl IdentityOptions {
    /// The documented defaults: half of the cores, at least one thread, compute hashes.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { settings, hash_threads: (cores / 2).max(1), hash_queue_max: 128 }
    }
}

/// The identity of one server.
pub(crate) struct Accounts {
    identity: RwLock<Identity>,
    store: Arc<EmbeddedStore>,
    passwords: Passwords,
    /// Random numbers of a simulation; `None` = of the operating system.
    seeded: Option<Mutex<SeededRandom>>,
    /// When a stored session ends next, `u64::MAX` if there is none.
    next_deadline_ms: AtomicU64,
    /// Failures of the journal that the identity has taken into account.
    failures: AtomicU64,
    /// Failures after which connections have looked at their rights.
    told_failures: AtomicU64,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Accounts(..)")
    }
}

/// How far a call has come.
pub(crate) enum Progress {
    /// It is answered, and may have changed the session, once the ticket is kept.
    Done(Result<Body, Refusal>, SessionChange, Option<Arc<Ticket>>),
    /// Hand the result to [`Hub::resume_identity`] when it is there.
    Working(Box<Working>),
}

/// A call that waits for a password.
pub(crate) struct Working {
    pub(crate) result: oneshot::Receiver<PasswordResult>,
    pub(crate) rest: Pending,
}

impl Accounts {
    /// Defines the system buckets that are missing and loads what they hold.
    pub(crate) fn start(
        options: &IdentityOptions,
        store: &Arc<EmbeddedStore>,
        seed: Option<u64>,
        now_ms: u64,
    ) -> Result<Self, StartError> {
        let damaged = |text: String| StartError::Identity(text);
        let records = load(store, now_ms).map_err(|error| damaged(error.to_string()))?;
        let identity =
            Identity::load(options.settings.clone(), records).map_err(|error| damaged(error.to_string()))?;
        let accounts = Self {
            identity: RwLock::new(identity),
            store: Arc::clone(store),
            passwords: Passwords::start(options.hash_threads, options.hash_queue_max)
                .map_err(StartError::Thread)?,
            seeded: seed.map(|seed| Mutex::new(SeededRandom(seed.rotate_left(32)))),
            next_deadline_ms: AtomicU64::new(u64::MAX),
            failures: AtomicU64::new(0),
            told_failures: AtomicU64::new(0),
        };
        {
            let mut identity = accounts.identity.write();
            let missing = identity.bootstrap(&mut Start { accounts: &accounts, now_ms });
            accounts
                .write(&mut identity, now_ms, missing)
                .map_err(|refusal| damaged(refusal.message.into()))?;
            accounts.note_deadline(&identity);
        }
        Ok(accounts)
    }

    /// Writes changes to the store and makes them.
    fn write(&self, identity: &mut Identity, now_ms: u64, changes: Changes) -> Result<(), Refusal> {
        if changes.is_empty() {
            return Ok(());
        }
        let operations = changes.records().into_iter().map(|change| {
            let (bucket, key) = (change.bucket.into(), Value::from(change.id.as_str()));
            match change.action {
                RecordAction::Insert(data) => Operation::Insert { bucket, data },
                RecordAction::Update(changes) => Operation::Update { bucket, key, changes },
                RecordAction::Delete => Operation::Delete { bucket, key },
            }
        });
        let operations = operations.collect();
        self.store.admit()?;
        self.store.with_store(|store| store.transaction(now_ms, operations)).map_err(|error| {
            tracing::warn!("a change of the identity is not accepted by the store: {error}");
            of_store_error(&error, false, Place::Transaction)
        })?;
        identity.commit(changes).map_err(|error| {
            tracing::error!("identity: {error}");
            Refusal::internal()
        })?;
        self.note_deadline(identity);
        Ok(())
    }

    fn note_deadline(&self, identity: &Identity) {
        self.next_deadline_ms.store(identity.next_deadline().unwrap_or(u64::MAX), Ordering::Release);
    }

    /// The moment at which a stored session ends, in ms since the Unix epoch.
    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        Some(self.next_deadline_ms.load(Ordering::Acquire)).filter(|at| *at != u64::MAX)
    }

    /// Deletes stored sessions that have ended.
    pub(crate) fn sweep(&self, now_ms: u64) {
        if self.next_deadline_ms().is_none_or(|at| at > now_ms) {
            return;
        }
        let mut identity = self.lock(now_ms);
        let ended = identity.sweep(now_ms);
        if let Err(refusal) = self.write(&mut identity, now_ms, ended) {
            tracing::error!("ended sessions cannot be deleted: {}", refusal.message);
            // Not again at once, for ever.
            self.next_deadline_ms.store(now_ms + 60_000, Ordering::Release);
        }
    }

    /// Makes a change that is not a client's.
    pub(crate) fn change(
        &self,
        now_ms: u64,
        compute: impl FnOnce(&Identity, &mut dyn Environment) -> Result<Changes, Refusal>,
    ) -> Result<(), Refusal> {
        let mut identity = self.lock(now_ms);
        let changes = compute(&identity, &mut Start { accounts: self, now_ms })?;
        self.write(&mut identity, now_ms, changes)
    }

    /// Locks the identity as the store has it now. What is done while the guard lives is kept or undone as a whole.
    fn lock(&self, now_ms: u64) -> Locked<'_> {
        let identity = self.identity.write();
        let mut locked = Locked { identity, _whole: self.store.whole() };
        let failures = self.store.gate.as_ref().map_or(0, Gate::failures);
        if self.failures.swap(failures, Ordering::AcqRel) != failures {
            self.reload(&mut locked, now_ms);
        }
        locked
    }

    /// Brings the identity back to what the store holds, after the journal has failed and the store has undone what
    /// was not kept.
    fn reload(&self, identity: &mut Identity, now_ms: u64) {
        let loaded = load(&self.store, now_ms)
            .map_err(|error| error.to_string())
            .and_then(|records| identity.reload(records).map_err(|error| error.to_string()));
        match loaded {
            Ok(()) => self.note_deadline(identity),
            Err(problem) => tracing::error!("the identity cannot be loaded again: {problem}"),
        }
    }

    /// Keeps all rights as they are. Whoever asks for rights while the store is locked must do this before: changes of
    /// rights lock the store second. It may look at rights while it holds them, even if a change of rights waits; but it
    /// must not hold them already, for here a change that waits goes first.
    pub(crate) fn hold_rights(&self) -> RwLockReadGuard<'_, Identity> {
        self.identity.read()
    }

    fn fill(&self, bytes: &mut [u8]) {
        match &self.seeded {
            Some(random) => random.lock().draw(bytes),
            None => {
                let outcome = getrandom::fill(bytes);
                // They worked at the start. Should they ever fail: whoever can predict a token is logged in by it.
                assert!(outcome.is_ok(), "no random numbers from the operating system");
            }
        }
    }
}

/// The identity, locked for changes.
struct Locked<'a> {
    identity: RwLockWriteGuard<'a, Identity>,
    _whole: Option<MutexGuard<'a, ()>>,
}

impl Deref for Locked<'_> {
    type Target = Identity;

    fn deref(&self) -> &Identity {
        &self.identity
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Identity {
        &mut self.identity
    }
}

/// Defines the system buckets where they are missing and gives all their records.
fn load(store: &EmbeddedStore, now_ms: u64) -> Result<Vec<(&'static str, Object)>, StoreError> {
    store.with_store(|store| {
        let mut records = Vec::new();
        for (bucket, definition) in bucket_definitions() {
            match store.define_bucket(now_ms, bucket, &definition) {
                Ok(()) | Err(StoreError::BucketExists { .. }) => {}
                Err(error) => return Err(error),
            }
            if let Answer::Records(found) = store.prepare_read(now_ms, bucket, ReadRequest::All)?.run() {
                records.extend(found.iter().map(|record| (bucket, record.members().to_object())));
            }
        }
        Ok(records)
    })
}

/// What the identity asks for while it is set up: nobody is connected or revoked.
struct Start<'a> {
    accounts: &'a Accounts,
    now_ms: u64,
}

impl Environment for Start<'_> {
    fn now_ms(&self) -> u64 {
        self.now_ms
    }

    fn random(&mut self, bytes: &mut [u8]) {
        self.accounts.fill(bytes);
    }

    fn is_revoked(&self, _user_id: &str) -> bool {
        false
    }

    fn is_bound(&self, _token: &TokenHash) -> bool {
        false
    }
}

/// What the identity asks for while the server runs.
struct Running<'a> {
    hub: &'a Hub,
    accounts: &'a Accounts,
    now_ms: u64,
    /// Tokens that open connections hold; looked for when first asked for.
    bound: OnceCell<HashSet<SessionKey>>,
}

impl Environment for Running<'_> {
    fn now_ms(&self) -> u64 {
        self.now_ms
    }

    fn random(&mut self, bytes: &mut [u8]) {
        self.accounts.fill(bytes);
    }

    fn is_revoked(&self, user_id: &str) -> bool {
        self.hub.revocation.lock().contains(user_id, self.now_ms)
    }

    fn is_bound(&self, token: &TokenHash) -> bool {
        let held =
            || self.hub.registry.entries().iter().filter_map(|entry| entry.session()?.stored).collect();
        self.bound.get_or_init(held).contains(&SessionKey(token.to_bytes()))
    }
}

impl Hub {
    /// Looks at the users, roles and rights of the built-in identity, if there is one.
    pub fn with_identity<R>(&self, use_it: impl FnOnce(&Identity) -> R) -> Option<R> {
        self.accounts.as_ref().map(|accounts| use_it(&accounts.identity.read_recursive()))
    }

    /// Runs a call of the identity management for a connection, as far as it goes.
    pub(crate) fn call_identity(
        &self,
        now: Now,
        entry: &Entry,
        session: Option<&Session>,
        call: IdentityCall,
    ) -> Progress {
        let Some(accounts) = &self.accounts else { return refused(Refusal::internal()) };
        let caller = Caller {
            user_id: session.map(|session| session.user_id.clone()),
            token: session
                .and_then(|session| session.stored)
                .map(|SessionKey(key)| TokenHash::from_bytes(key)),
            address: entry.address.clone(),
        };
        // The operator must not be able to lock himself out.
        let by_secret = matches!(call, IdentityCall::LoginWithSecret { .. });
        let is_login = by_secret || matches!(call, IdentityCall::Login { .. });
        let mut identity = accounts.lock(now.unix_ms);
        if !is_login && session.is_some() && entry.session().is_none() {
            return refused(not_logged_in());
        }
        let step = identity.call(&caller, call, &mut self.running(accounts, now));
        self.go_on(now, entry, accounts, &mut identity, step, by_secret)
    }

    /// Goes on with a call when its password has been computed.
    pub(crate) fn resume_identity(
        &self,
        now: Now,
        entry: &Entry,
        session: Option<&Session>,
        rest: Pending,
        result: PasswordResult,
    ) -> Progress {
        let Some(accounts) = &self.accounts else { return refused(Refusal::internal()) };
        let mut identity = accounts.lock(now.unix_ms);
        if !rest.is_login() && session.is_some() && entry.session().is_none() {
            return refused(not_logged_in());
        }
        let step = identity.resume(rest, result, &mut self.running(accounts, now));
        self.go_on(now, entry, accounts, &mut identity, step, false)
    }

    fn go_on(
        &self,
        now: Now,
        entry: &Entry,
        accounts: &Accounts,
        identity: &mut Identity,
        step: Step,
        by_secret: bool,
    ) -> Progress {
        let Outcome { reply, session, changes, notices } = match step {
            Step::Work { job, then } => {
                return match accounts.passwords.submit(job) {
                    Ok(result) => Progress::Working(Box::new(Working { result, rest: then })),
                    Err(Busy) => refused(Refusal::new(Code::RateLimited, "Server busy, try again later")),
                };
            }
            Step::Done(outcome) => outcome,
        };
        let change = match session {
            noex_identity::SessionChange::Keep => SessionChange::Keep,
            noex_identity::SessionChange::Clear => SessionChange::Clear,
            noex_identity::SessionChange::Set { session, token } => {
                SessionChange::Set(Session { stored: Some(SessionKey(token.to_bytes())), ..session })
            }
        };
        let before = entry.session();
        if let SessionChange::Set(session) = &change
            && !by_secret
            && !self.admit_session(now, entry, session)
        {
            return refused(Refusal::new(Code::SessionRevoked, "Session has been revoked"));
        }
        // Before the change is in the store: what is committed after it must find them told. They look at the rights
        // under this lock, so they see the change. Should it fail, they have looked in vain.
        for notice in notices {
            self.tell(entry, notice);
        }
        match accounts.write(identity, now.unix_ms, changes) {
            // Asked for before a group can begin or end.
            Ok(()) => Progress::Done(reply.map(Body::Owned), change, self.ticket()),
            Err(refusal) => {
                entry.set_session(before);
                refused(refusal)
            }
        }
    }

    /// Tells connections what a change means for them.
    fn tell(&self, caller: &Entry, notice: Notice) {
        let entries = self.registry.entries();
        match notice {
            Notice::CloseUser { user_id, except_caller } => {
                let own = entries.iter().filter(|entry| {
                    entry.session().is_some_and(|session| session.user_id == user_id)
                        && !(except_caller && entry.number == caller.number)
                });
                own.for_each(|entry| entry.revoke());
            }
            Notice::SessionEnded { token } => {
                let stored = SessionKey(token.to_bytes());
                let sharing = entries.iter().filter(|entry| {
                    entry.number != caller.number
                        && entry.session().is_some_and(|session| session.stored == Some(stored))
                });
                sharing.for_each(|entry| entry.end_session(stored));
            }
            // Whoever shares what another may see depends on the rights of that one, so everybody looks.
            Notice::RolesChanged { .. } | Notice::AccessChanged | _ => {
                entries.iter().for_each(|entry| entry.inbox.recheck());
            }
        }
    }

    /// Finds the session that a token continues.
    pub(crate) fn login_with_token(
        &self,
        now: Now,
        entry: &Entry,
        token: &str,
    ) -> Option<Result<Session, Denied>> {
        let accounts = self.accounts.as_ref()?;
        let mut identity = accounts.lock(now.unix_ms);
        let login = identity.login_with_token(token, &self.running(accounts, now));
        if let Err(refusal) = accounts.write(&mut identity, now.unix_ms, login.changes) {
            tracing::error!("an ended session cannot be deleted: {}", refusal.message);
        }
        Some(login.verdict.and_then(|(session, token)| {
            let session = Session { stored: Some(SessionKey(token.to_bytes())), ..session };
            if self.admit_session(now, entry, &session) {
                Ok(session)
            } else {
                Err(Denied::Revoked { user_id: session.user_id })
            }
        }))
    }

    /// Deletes the stored sessions of users. What others execute for them meanwhile is done when this returns.
    pub(crate) fn end_stored_sessions<'u>(
        &self,
        now: Now,
        users: impl IntoIterator<Item = &'u str>,
    ) -> Result<(), Refusal> {
        let Some(accounts) = &self.accounts else {
            self.revocation.wait_for_executing();
            return Ok(());
        };
        let mut identity = accounts.lock(now.unix_ms);
        for user in users {
            let ended = identity.end_sessions(user);
            accounts.write(&mut identity, now.unix_ms, ended)?;
        }
        Ok(())
    }

    /// Undoes what was not kept of the identity, if the journal has failed since the last time, and has everybody look
    /// at the rights that there are.
    pub(crate) fn reload_identity(&self, now: Now) {
        let Some(accounts) = &self.accounts else { return };
        let failures = self.journal_failures();
        if accounts.told_failures.swap(failures, Ordering::AcqRel) != failures {
            drop(accounts.lock(now.unix_ms));
            self.registry.entries().iter().for_each(|entry| entry.inbox.recheck());
        }
    }

    /// Names the roles that a user has now.
    pub(crate) fn roles_of(&self, user_id: &str) -> Option<Vec<String>> {
        self.with_identity(|identity| identity.role_names(user_id))
    }

    /// Tells whether a user may do something now.
    pub(crate) fn user_is_permitted(&self, user_id: &str, operation: &str, target: Target<'_>) -> bool {
        let target = match target {
            Target::Bucket(name) | Target::Topic(name) | Target::Procedure(name) => {
                noex_identity::Target::Named(name)
            }
            Target::Query { name, bucket } => noex_identity::Target::Query { name, bucket },
            Target::Own => noex_identity::Target::Unrestricted,
            Target::Server => noex_identity::Target::Named("*"),
        };
        self.with_identity(|identity| identity.permits(user_id, &Check { name: operation, target }))
            .unwrap_or(false)
    }

    /// Names the buckets that a user may see listed.
    pub(crate) fn buckets_shown_to(&self, user_id: &str) -> Vec<String> {
        match self.with_identity(|identity| identity.visible_buckets(user_id)) {
            None => Vec::new(),
            Some(Some(visible)) => visible,
            Some(None) => self.store.bucket_names(),
        }
    }

    fn running<'a>(&'a self, accounts: &'a Accounts, now: Now) -> Running<'a> {
        Running { hub: self, accounts, now_ms: now.unix_ms, bound: OnceCell::new() }
    }
}

fn refused(refusal: Refusal) -> Progress {
    Progress::Done(Err(refusal), SessionChange::Keep, None)
}

#[cfg(test)]
mod tests;
