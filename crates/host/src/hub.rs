//! Everything that the connections of one server share.

use crate::{
    Authenticator, ConnectionInfo, EmbeddedStore, Options, ServerStats, StartError, StoreBackend,
    alarm::Alarm,
    audit::AuditLog,
    backend::PushSink,
    gate::Gate,
    identity::{Accounts, Ownership},
    inbox::Inbox,
    persistence::{Persistence, prepare},
    procedures::{EmbeddedProcedures, ProceduresOptions, Surroundings, Unkept, steps_not_stored},
    random::{SeededRandom, SystemRandom},
    registry::{Entry, Registry},
    revocation::Revocation,
    rights::Judge,
    rules::EmbeddedRules,
    shared::Limits,
    ticket::{Reply, Ticket},
};
use noex_core::{
    AuthMode, Body, EndReason, Instant, Now, Operation, ProceduresCall, Refusal, ResultMode, RulesCall,
    ServerCall, Session, SubId, Update,
};
use noex_json::{Object, Value};
use noex_procedures::{Limits as ProcedureLimits, Procedure};
use noex_store::{Store, StoreOptions};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
};

/// Shared state of a server: registry, limits, engines, routes of pushes.
pub struct Hub {
    pub(crate) options: Options,
    pub(crate) connection_config: Arc<noex_core::Config>,
    pub(crate) registry: Registry,
    pub(crate) limits: Limits,
    pub(crate) audit: Option<AuditLog>,
    pub(crate) revocation: Revocation,
    pub(crate) store: Arc<dyn StoreBackend>,
    pub(crate) embedded: Arc<EmbeddedStore>,
    pub(crate) rules: Option<EmbeddedRules>,
    procedures: Option<EmbeddedProcedures>,
    pub(crate) accounts: Option<Accounts>,
    pub(crate) stopping: AtomicBool,
    /// Of the task that expires records.
    pub(crate) expiry: Arc<Alarm>,
    routes: Arc<Routes>,
    started_at: Instant,
    port: AtomicU16,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Hub {
    /// Checks the options, defines buckets and queries.
    ///
    /// # Errors
    /// All problems of the definitions.
    pub fn new(options: Options, now: Now) -> Result<Arc<Self>, StartError> {
        let compat = options.compat_error_codes;
        let routes = Arc::new(Routes::default());
        let expiry = Arc::new(Alarm::default());
        let random: Box<dyn noex_store::Random + Send> = match options.random_seed {
            Some(seed) => Box::new(SeededRandom(seed)),
            None => Box::new(SystemRandom::new().map_err(no_randomness)?),
        };
        let built_in = options.identity.is_some();
        let mut store =
            Store::new(StoreOptions { system_buckets: built_in, ..options.store.clone() }, random);
        let mut image = options.persistence.as_ref().and_then(|persistence| persistence.image.lock().take());
        let mut problems = match prepare(&mut store, &options, image.as_mut(), now.unix_ms) {
            Ok(()) => Vec::new(),
            Err(StartError::Definitions(problems)) => problems,
            Err(other) => return Err(other),
        };
        let gate = options.persistence.as_ref().map(|Persistence { journal, durability, .. }| {
            let sink: Arc<dyn PushSink + Send + Sync> = Arc::clone(&routes) as _;
            Gate::new(Arc::clone(journal), *durability, sink, Arc::clone(&expiry))
        });
        let embedded = EmbeddedStore::with_gate(store, compat, gate);
        embedded.with_store(|_| ());
        let mut rules = None;
        if let Some(wanted) = &options.rules {
            let random: Box<dyn noex_rules::Random + Send> = match options.random_seed {
                Some(seed) => Box::new(SeededRandom(!seed)),
                None => Box::new(SystemRandom::new().map_err(no_randomness)?),
            };
            let kept = image.as_mut().map(|image| &mut **image as &mut dyn noex_store::Image);
            match EmbeddedRules::new(wanted, &embedded, kept, random, now.unix_ms, compat, built_in) {
                Ok(engine) => rules = Some(engine),
                Err(found) => problems.extend(found),
            }
        }
        let mut procedures = None;
        if let Some(wanted) = &options.procedures {
            if built_in {
                problems.extend(system_buckets_in(&wanted.definitions));
            }
            let kept = image.as_mut().map(|image| &mut **image as &mut dyn noex_store::Image);
            match EmbeddedProcedures::new(&procedures_options(wanted, &options), kept, compat) {
                Ok(registered) => procedures = Some(registered),
                Err(found) => problems.extend(found),
            }
        }
        problems.extend(options.unreachable_names());
        if !problems.is_empty() {
            // Some are met on two ways.
            let mut seen = HashSet::new();
            problems.retain(|problem| seen.insert(problem.clone()));
            return Err(StartError::Definitions(problems));
        }
        let seed = options.random_seed;
        let accounts = options.identity.as_ref();
        let accounts =
            accounts.map(|wanted| Accounts::start(wanted, &embedded, seed, now.unix_ms)).transpose()?;
        embedded.end_start();
        let audit = options.audit.as_ref();
        let connection = noex_core::Config {
            auth: if built_in { AuthMode::BuiltIn } else { options.connection.auth.clone() },
            rules: rules.is_some(),
            procedures: procedures.is_some(),
            audit: audit.map_or_else(Vec::new, |audit| audit.tiers.clone()),
            ..options.connection.clone()
        };
        Ok(Arc::new(Self {
            connection_config: Arc::new(connection),
            rules,
            procedures,
            accounts,
            registry: Registry::default(),
            limits: Limits::new(&options),
            audit: audit.map(AuditLog::new).transpose().map_err(StartError::AuditFile)?,
            revocation: Revocation::default(),
            store: Arc::clone(&embedded) as Arc<dyn StoreBackend>,
            embedded,
            stopping: AtomicBool::new(false),
            expiry,
            routes,
            started_at: now.mono,
            port: AtomicU16::new(options.port),
            options,
        }))
    }

    /// The settings.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Uses the store directly and delivers what changed to subscribers.
    pub fn with_store<R>(&self, now: Now, use_it: impl FnOnce(&mut Store) -> R) -> R {
        let outcome = self.embedded.with_store(use_it);
        while self.flush(now) {}
        outcome
    }

    /// Number of open connections.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.registry.len()
    }

    /// Lists open connections in order of arrival.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        self.registry.entries().iter().map(|entry| entry.info()).collect()
    }

    /// The port that is listened on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.load(Ordering::Relaxed)
    }

    /// Notes the actual port.
    pub fn set_port(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
    }

    /// Tells whether a stop has begun.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Begins a stop: handshakes that are completed from now on are turned away.
    pub fn begin_stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Closes all connections with `server_shutdown`.
    pub(crate) fn close_all(&self) {
        for entry in self.registry.entries() {
            entry.inbox.close(noex_core::CloseReason::ServerShutdown);
        }
    }

    /// Counters and settings.
    #[must_use]
    pub fn stats(&self, now: Now) -> ServerStats {
        self.stats_for(now, true)
    }

    /// As [`Hub::stats`]; system buckets are shown only with `system`.
    fn stats_for(&self, now: Now, system: bool) -> ServerStats {
        let connections = self.connections();
        ServerStats {
            name: self.options.name.clone(),
            host: self.options.host.clone(),
            port: self.port(),
            uptime_ms: u64::try_from(now.mono.since(self.started_at).as_millis()).unwrap_or(u64::MAX),
            connection_count: connections.len(),
            authenticated_count: connections.iter().filter(|info| info.session.is_some()).count(),
            store_subscriptions: connections.iter().map(|info| info.store_subscriptions).sum(),
            rules_subscriptions: connections.iter().map(|info| info.rules_subscriptions).sum(),
            auth_enabled: self.has_logins(),
            rate_limit_enabled: self.limits.is_limited(),
            store: self.store.stats(system),
            rules: self.rules.as_ref().map(EmbeddedRules::stats),
        }
    }

    pub(crate) fn authenticator(&self) -> Option<&Arc<dyn Authenticator>> {
        self.options.authenticator.as_ref()
    }

    pub(crate) fn answer(
        &self,
        now: Now,
        caller: Option<&Session>,
        call: ServerCall,
    ) -> Result<Body, Refusal> {
        let spared = self.spared(caller);
        let value = match call {
            ServerCall::Stats { system } => self.stats_for(now, system).to_value(),
            ServerCall::Connections => {
                Value::Array(self.connections().iter().map(crate::stats::connection_value).collect())
            }
            ServerCall::RevokeSession { user_id } => {
                self.check_spared(spared, &user_id)?;
                counted("revoked", self.revoke_session(now, &user_id)?)
            }
            ServerCall::RevokeSessions { user_id, role } => {
                counted("revoked", self.revoke_matching(now, user_id.as_deref(), role.as_deref(), spared)?)
            }
            ServerCall::Unrevoke { user_id } => {
                self.check_spared(spared, &user_id)?;
                let mut answer = Object::new();
                answer.set("removed", self.unrevoke(now, &user_id));
                Value::from(answer)
            }
            // Anything that is asked of a server that works is answered by the fact.
            ServerCall::Health | _ => {
                let mut health = Object::new();
                health.set("status", "ok");
                #[expect(clippy::cast_precision_loss, reason = "ms of uptime")]
                health.set("uptimeMs", now.mono.since(self.started_at).as_millis() as f64);
                Value::from(health)
            }
        };
        Ok(Body::Owned(value.to_json()))
    }

    /// Starts watching a query for a connection.
    pub(crate) fn subscribe(
        &self,
        now: Now,
        entry: &Arc<Entry>,
        subscription: SubId,
        query: &str,
        params: Option<&Value>,
        mode: ResultMode,
    ) -> Reply<Update, ()> {
        self.routes.insert(subscription, Arc::clone(entry));
        let reply = self.store.subscribe(now.unix_ms, subscription, query, params, mode, &*self.routes);
        if matches!(&reply, Reply::Now(Err(_)) | Reply::When { outcome: Err(_), .. }) {
            self.routes.remove(subscription);
        }
        reply
    }

    /// Starts watching events for a connection.
    pub(crate) fn subscribe_events(
        &self,
        entry: &Arc<Entry>,
        subscription: SubId,
        pattern: &str,
    ) -> Result<Update, Refusal> {
        let rules = self.rules.as_ref().ok_or_else(Refusal::internal)?;
        self.routes.insert(subscription, Arc::clone(entry));
        let outcome = rules.subscribe(subscription, pattern);
        if outcome.is_err() {
            self.routes.remove(subscription);
        }
        outcome.map(|()| Update::whole(0, None))
    }

    pub(crate) fn unsubscribe(&self, subscription: SubId) {
        if self.routes.remove(subscription) && !self.store.unsubscribe(subscription) {
            self.rules.iter().for_each(|rules| rules.unsubscribe(subscription));
        }
    }

    pub(crate) fn rules_call(&self, now: Now, call: RulesCall) -> Reply<Body, RulesCall> {
        match &self.rules {
            Some(rules) => rules.call(now.unix_ms, call, &*self.routes),
            None => Reply::Now(Err(Refusal::internal())),
        }
    }

    /// Executes a call of procedures for a session. `clock` is read between the steps, and `judge` is asked before each
    /// and before a change of definitions.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what is not known changes definitions")]
    pub(crate) fn procedures_call(
        &self,
        clock: &dyn Fn() -> Now,
        session: Option<&Session>,
        judge: &Judge<'_>,
        call: ProceduresCall,
    ) -> Reply<Body, Unkept> {
        let Some(procedures) = &self.procedures else { return Reply::Now(Err(Refusal::internal())) };
        match call {
            ProceduresCall::Call { name, input } => match procedures.find(&name) {
                Ok(procedure) => {
                    let caller = ProcedureCaller { session, judge };
                    self.run_procedure(clock, caller, procedures, &procedure, input)
                }
                Err(refusal) => Reply::Now(Err(refusal)),
            },
            ProceduresCall::Get { .. } | ProceduresCall::List => procedures.look(call),
            call => {
                let user_id = session.map(|session| session.user_id.as_str());
                let ownership = Ownership::of_procedures(&call);
                self.owning(clock(), user_id, ownership, || {
                    judge()?;
                    procedures.administer(call, &self.embedded)
                })
            }
        }
    }

    fn run_procedure(
        &self,
        clock: &dyn Fn() -> Now,
        ProcedureCaller { session, judge }: ProcedureCaller<'_>,
        procedures: &EmbeddedProcedures,
        procedure: &Procedure,
        input: Option<Value>,
    ) -> Reply<Body, Unkept> {
        let begun = clock();
        let around = Surroundings {
            now_ms: begun.unix_ms,
            elapsed_ms: &|| clock().mono.since(begun.mono).as_secs_f64() * 1000.0,
            store: &self.embedded,
            rules: self.rules.as_ref(),
            sink: &*self.routes,
            permits: &|operation, resource| {
                let operation = Operation::by_name(operation).ok_or_else(Refusal::internal)?;
                noex_core::may(&self.connection_config.auth, session, operation, resource, self)
            },
            enter: &|| {
                let rights = self.hold_rights();
                judge().map(|()| rights)
            },
        };
        if procedure.is_transaction() {
            // Before the engines are locked: steps ask for rights.
            let _rights = match (around.enter)() {
                Ok(rights) => rights,
                Err(refusal) => return Reply::Now(Err(refusal)),
            };
            let _whole = self.embedded.whole();
            let outcome = procedures.call(procedure, input, &around);
            return Reply::resting_on(self.ticket(), outcome, None);
        }
        let failures = self.journal_failures();
        let outcome = procedures.call(procedure, input, &around);
        match self.ticket_since(failures) {
            Ok(ticket) => Reply::resting_on(ticket, outcome, Some(Unkept::Steps)),
            Err(SomeFailed) => Reply::Now(Err(steps_not_stored())),
        }
    }

    /// Uses the rule engine directly, if there is one, and delivers what follows.
    pub fn with_rules<R>(&self, now: Now, use_it: impl FnOnce(&mut noex_rules::Engine) -> R) -> Option<R> {
        let outcome = self.rules.as_ref()?.with_engine(now.unix_ms, &*self.routes, use_it);
        while self.flush(now) {}
        Some(outcome)
    }

    /// Delivers what earlier calls changed; true if more is left.
    pub fn flush(&self, now: Now) -> bool {
        if let Some(rules) = &self.rules {
            rules.forward(now.unix_ms, &*self.routes);
        }
        let more = self.store.flush(now.unix_ms, &*self.routes);
        self.expiry.notice(|| self.next_expiry_ms());
        more
    }

    /// Number of subscriptions that pushes are delivered to.
    #[doc(hidden)]
    #[must_use]
    pub fn route_count(&self) -> usize {
        self.routes.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Takes the commits that the store keeps, where the rule engine does not.
    #[doc(hidden)]
    #[must_use]
    pub fn take_commits(&self) -> Vec<noex_store::Commit> {
        self.embedded.take_commits()
    }

    pub(crate) fn next_expiry_ms(&self) -> Option<u64> {
        let rules = self.rules.as_ref().and_then(EmbeddedRules::next_deadline_ms);
        let sessions = self.accounts.as_ref().and_then(Accounts::next_deadline_ms);
        self.store.next_expiry_ms().into_iter().chain(rules).chain(sessions).min()
    }

    /// How often the journal has failed, to be handed to [`Hub::ticket_since`].
    pub(crate) fn journal_failures(&self) -> u64 {
        self.gate().map_or(0, Gate::failures)
    }

    /// What everything done so far rests on, unless some of it may have failed since.
    pub(crate) fn ticket_since(&self, failures: u64) -> Result<Option<Arc<Ticket>>, SomeFailed> {
        let Some(gate) = self.gate() else { return Ok(None) };
        let (failed, ticket) = self.embedded.write(|_| gate.failures() != failures);
        if failed { Err(SomeFailed) } else { Ok(ticket) }
    }

    /// The gate to the journal, if there is one.
    pub(crate) fn gate(&self) -> Option<&Gate> {
        self.embedded.gate.as_ref()
    }

    /// Finds out whether the journal works again.
    pub(crate) fn retry_journal(&self, now: Now) {
        self.embedded.retry(now.unix_ms);
    }

    /// What everything done so far rests on: whoever tells of it should wait for this; `None` = nothing that could
    /// fail.
    #[must_use]
    pub fn ticket(&self) -> Option<Arc<Ticket>> {
        self.store.ticket()
    }

    pub(crate) fn expire(&self, now: Now) {
        self.store.expire(now.unix_ms);
        if let Some(rules) = &self.rules {
            rules.advance(now.unix_ms, &*self.routes);
        }
        self.accounts.iter().for_each(|accounts| accounts.sweep(now.unix_ms));
        while self.flush(now) {}
    }
}

/// For whom a procedure runs.
struct ProcedureCaller<'a> {
    session: Option<&'a Session>,
    judge: &'a Judge<'a>,
}

/// The journal has failed meanwhile: some of what was done may have been undone.
pub(crate) struct SomeFailed;

/// `{"<what>":<count>}`.
fn counted(what: &str, count: usize) -> Value {
    let mut answer = Object::new();
    #[expect(clippy::cast_precision_loss, reason = "a number of connections")]
    answer.set(what, count as f64);
    Value::from(answer)
}

fn no_randomness(error: impl fmt::Display) -> StartError {
    StartError::Randomness(error.to_string())
}

/// The settings of procedures, with what they have in common with others.
fn procedures_options(wanted: &ProceduresOptions, options: &Options) -> ProceduresOptions {
    let limits = ProcedureLimits {
        depth_max: options.connection.json_depth_max,
        name_length_max: options.connection.name_length_max,
        operators_in_values: options.store.allow_operator_params,
        ..wanted.limits.clone()
    };
    ProceduresOptions { limits, definitions: wanted.definitions.clone() }
}

/// Finds the system buckets that definitions of procedures name.
fn system_buckets_in(definitions: &[String]) -> Vec<String> {
    let named = |text: &String| {
        let definition = noex_json::parse(text, 128).ok()?;
        noex_core::system_bucket_in_steps(definition.as_object()?)
    };
    let problem = |(index, text)| {
        let bucket = named(text)?;
        Some(format!("procedures.definitions[{index}]: Cannot access system bucket \"{bucket}\" directly"))
    };
    definitions.iter().enumerate().filter_map(problem).collect()
}

/// Which connection a subscription belongs to, sharded so that connections do not wait for each other.
#[derive(Debug)]
struct Routes {
    shards: [Mutex<HashMap<SubId, Arc<Entry>>>; 16],
}

impl Default for Routes {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Routes {
    fn shard(&self, subscription: SubId) -> &Mutex<HashMap<SubId, Arc<Entry>>> {
        let index = usize::try_from(subscription.0 % 16).unwrap_or(0);
        self.shards.get(index).unwrap_or(&self.shards[0])
    }

    fn insert(&self, subscription: SubId, entry: Arc<Entry>) {
        self.shard(subscription).lock().insert(subscription, entry);
    }

    fn remove(&self, subscription: SubId) -> bool {
        self.shard(subscription).lock().remove(&subscription).is_some()
    }

    fn with(&self, subscription: SubId, put: impl FnOnce(&Inbox)) {
        let entry = self.shard(subscription).lock().get(&subscription).cloned();
        if let Some(entry) = entry {
            put(&entry.inbox);
        }
    }
}

impl PushSink for Routes {
    fn result(&self, subscription: SubId, update: Update) {
        self.with(subscription, |inbox| inbox.push_result(subscription, update));
    }

    fn event(&self, subscription: SubId, event: Arc<str>) {
        self.with(subscription, |inbox| inbox.push_event(subscription, event));
    }

    fn ended(&self, subscription: SubId, reason: EndReason) {
        self.with(subscription, |inbox| inbox.end_subscription(subscription, reason));
    }
}
