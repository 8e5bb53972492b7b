//! The rule engine behind the protocol's calls, and its bridge to the store.
//!
//! The engine is a pure step function; here it stands behind a lock. What a step produced is delivered under the same
//! lock, so that the order of pushes is the order of events. Lock order: engine, then store, then routes and mailboxes.

use crate::{
    EmbeddedStore,
    backend::PushSink,
    ticket::{Reply, Ticket, TicketState},
};
use noex_core::{Body, Code, Refusal, RulesCall, SubId};
use noex_json::{Object, Value, write_string};
use noex_rules::{
    Engine, EngineOptions, FACT_SPACE, KeptChange, LimitKind, LogLevel, Output, RULE_SPACE, Random,
    RulesError, Service, ServiceError, SubscriberId, TIMER_SPACE,
};
use noex_store::{Change, Commit, Image, JournalEntry, JournalError, StoreError};
use parking_lot::Mutex;
use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// What the rule engine is started with.
#[derive(Clone, Debug, Default)]
pub struct RulesOptions {
    /// Limits of the engine.
    pub engine: EngineOptions,
    /// Facts set before any rule is registered: keys and JSON texts.
    pub facts: Vec<(String, String)>,
    /// Rules registered at start, in order, as JSON texts.
    pub rules: Vec<String>,
    /// Whether changes of the store enter the engine as events `bucket.<name>.inserted`, `.updated` and `.deleted`.
    pub store_events: bool,
    /// Whether rules registered by clients, and timers, are kept like facts where data is kept.
    pub persistent: bool,
}

/// A rule engine for one server.
pub struct EmbeddedRules {
    engine: Mutex<Engine>,
    /// The next deadline in ms since the Unix epoch, `u64::MAX` if there is none.
    next_deadline_ms: AtomicU64,
    bridge: Arc<Bridge>,
    store: Arc<EmbeddedStore>,
    compat_error_codes: bool,
}

impl fmt::Debug for EmbeddedRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmbeddedRules(..)")
    }
}

/// Characters of a rule's message that are logged.
const LOGGED_CHARS_MAX: usize = 2000;
/// How many times a change of the store may lead, through rules, to another one.
const STORE_CHAIN_MAX: usize = 10;

impl EmbeddedRules {
    /// Makes an engine with what `image` holds of an earlier one, then the facts and rules of the options; rules can
    /// write to `store` through the service `store`. A fact of the options is only for the first start; a rule of the
    /// options wins over one that was kept. With `guard_system`,
    /// buckets whose names begin with `_` are out of reach and cause no events.
    ///
    /// # Errors
    /// All problems of the facts and rules.
    pub fn new(
        options: &RulesOptions,
        store: &Arc<EmbeddedStore>,
        image: Option<&mut (dyn Image + '_)>,
        random: Box<dyn Random + Send>,
        now_ms: u64,
        compat_error_codes: bool,
        guard_system: bool,
    ) -> Result<Self, Vec<String>> {
        let mut engine = Engine::new(options.engine.clone(), random);
        let problems = match image {
            Some(image) => restore(&mut engine, options, image, now_ms),
            None => load(&mut engine, options, now_ms),
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        let bridge =
            Arc::new(Bridge { store_events: options.store_events, guard_system, ..Bridge::default() });
        let service = StoreService { store: Arc::clone(store), bridge: Arc::clone(&bridge) };
        engine.register_service("store", Box::new(service));
        if options.store_events {
            store.with_store(|store| store.set_keep_commits(true));
        }
        let next_deadline_ms = AtomicU64::new(engine.next_deadline_ms().unwrap_or(u64::MAX));
        if store.gate.is_some() {
            engine.keep(options.persistent);
        }
        let (engine, store) = (Mutex::new(engine), Arc::clone(store));
        Ok(Self { engine, next_deadline_ms, bridge, store, compat_error_codes })
    }

    /// Executes a call and gives the `data` of its result, perhaps to be told only later. Pushes that it causes are
    /// delivered before.
    pub fn call(&self, now_ms: u64, call: RulesCall, sink: &dyn PushSink) -> Reply<Body, RulesCall> {
        let updates = matches!(call, RulesCall::UpdateRule { .. });
        let again = is_read(&call).then(|| call.clone());
        if again.is_none()
            && !matches!(call, RulesCall::Emit { .. })
            && let Err(refusal) = self.store.admit()
        {
            return Reply::Now(Err(refusal));
        }
        let (outcome, ticket) = self.step(now_ms, sink, |engine| answer(engine, now_ms, call));
        let outcome = outcome.map_err(|error| {
            let mut refusal = refusal(&error);
            if updates && self.compat_error_codes && refusal.code == Code::NotFound {
                refusal.code = Code::InternalError;
            }
            refusal
        });
        Reply::resting_on(ticket, outcome, again)
    }

    /// Tells whether changes of the store enter the engine as events.
    #[must_use]
    pub fn has_store_events(&self) -> bool {
        self.bridge.store_events
    }

    /// Starts watching events; no event after this is missed.
    ///
    /// # Errors
    /// The answer for the client.
    pub fn subscribe(&self, subscription: SubId, pattern: &str) -> Result<(), Refusal> {
        self.engine.lock().subscribe(SubscriberId(subscription.0), pattern).map_err(|error| refusal(&error))
    }

    /// Stops watching.
    pub fn unsubscribe(&self, subscription: SubId) {
        self.engine.lock().unsubscribe(SubscriberId(subscription.0));
    }

    /// The moment at which a timer or a temporal pattern is due, in ms since the Unix epoch.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        Some(self.next_deadline_ms.load(Ordering::Acquire)).filter(|at| *at != u64::MAX)
    }

    /// Fires what is due, up to a bounded amount of work.
    pub fn advance(&self, now_ms: u64, sink: &dyn PushSink) {
        // What is left stays due, so that the owner's timer fires again at once.
        let _more = self.step(now_ms, sink, |engine| engine.advance(now_ms));
    }

    /// Hands changes of the store to the engine, in commit order. Does nothing unless store events are on.
    pub fn forward(&self, now_ms: u64, sink: &dyn PushSink) {
        if self.bridge.store_events {
            // Every step begins with it.
            self.step(now_ms, sink, |_| ());
        }
    }

    /// Brings the engine up to the last change of the store, so that what comes next finds what came before.
    pub(crate) fn catch_up(&self, engine: &mut Engine, now_ms: u64) {
        if !self.bridge.store_events {
            return;
        }
        // Taken under the engine's lock: two threads must not swap what they took. Again, because rules may have
        // changed the store; others' changes come along, so an end is set.
        for _ in 0..=STORE_CHAIN_MAX + 1 {
            let commits = self.store.take_commits();
            if commits.is_empty() {
                break;
            }
            for commit in commits {
                self.forward_commit(engine, now_ms, commit);
            }
        }
    }

    /// Uses the engine directly and delivers what follows.
    pub fn with_engine<R>(
        &self,
        now_ms: u64,
        sink: &dyn PushSink,
        use_it: impl FnOnce(&mut Engine) -> R,
    ) -> R {
        self.step(now_ms, sink, use_it).0
    }

    /// Statistics in the shape of `rules.stats`.
    #[must_use]
    pub fn stats(&self) -> Value {
        self.engine.lock().stats().to_value()
    }

    fn forward_commit(&self, engine: &mut Engine, now_ms: u64, commit: Commit) {
        let depth = {
            let mut causes = self.bridge.causes.lock();
            let depth = causes.remove(&commit.lsn).unwrap_or(0);
            // Those before have been undone.
            causes.retain(|lsn, _| *lsn > commit.lsn);
            depth
        };
        if depth > STORE_CHAIN_MAX {
            tracing::warn!(lsn = commit.lsn, "rules and store events chase each other; the chain is cut");
            return;
        }
        self.bridge.depth.store(depth + 1, Ordering::Relaxed);
        for change in &commit.changes {
            if self.bridge.is_guarded(change.bucket()) {
                continue;
            }
            let (topic, data) = store_event(change);
            if let Err(error) = engine.emit(now_ms, &topic, data, None, None) {
                tracing::warn!("store event not forwarded: {error}");
            }
        }
        self.bridge.depth.store(1, Ordering::Relaxed);
    }

    /// Runs something, and delivers what came of it once what it rests on is kept; gives what that is.
    fn step<R>(
        &self,
        now_ms: u64,
        sink: &dyn PushSink,
        run: impl FnOnce(&mut Engine) -> R,
    ) -> (R, Option<Arc<Ticket>>) {
        let mut engine = self.engine.lock();
        self.bridge.undo_failed(&mut engine);
        // What failed before this step has been undone, so the step does not rest on it.
        drop(self.bridge.pending());
        self.bridge.now_ms.store(now_ms, Ordering::Relaxed);
        self.bridge.depth.store(1, Ordering::Relaxed);
        self.catch_up(&mut engine, now_ms);
        let outcome = run(&mut engine);
        self.note_kept(&mut engine);
        let ticket = self.bridge.pending();
        let mut events = Vec::new();
        for output in engine.take_outputs() {
            if let Some(event) = log_unless_event(output) {
                events.push(event);
            }
        }
        let events = match &ticket {
            Some(ticket) => ticket.hold_events(events).err().unwrap_or_default(),
            None => events,
        };
        if ticket.as_ref().is_none_or(|ticket| ticket.state() != TicketState::Failed) {
            events.into_iter().for_each(|(subscription, event)| sink.event(subscription, event));
        }
        self.next_deadline_ms.store(engine.next_deadline_ms().unwrap_or(u64::MAX), Ordering::Release);
        (outcome, ticket)
    }
}

impl EmbeddedRules {
    /// Hands what a step changed of the engine to the journal.
    fn note_kept(&self, engine: &mut Engine) {
        let changes = engine.take_kept();
        if changes.is_empty() {
            return;
        }
        let entry = |change: &KeptChange| JournalEntry::Kept {
            space: change.space,
            key: change.key.as_str().into(),
            value: change.text.as_deref().map(Arc::from),
        };
        let entries = changes.iter().map(entry).collect();
        let mut undo = self.bridge.undo.lock();
        // Under the store's lock, under which tickets fail: this step does not build on what has just failed.
        let (failed, ticket) = self.store.write(|store| {
            let failed = undo.iter().find(|(ticket, _)| ticket.state() == TicketState::Failed);
            if failed.is_none() {
                store.note_kept(entries);
            }
            failed.map(|(ticket, _)| Arc::clone(ticket))
        });
        if let Some(ticket) = failed.or(ticket) {
            undo.extend(changes.into_iter().map(|change| (Arc::clone(&ticket), change)));
            *self.bridge.ticket.lock() = Some(ticket);
        }
        drop(undo);
        self.bridge.undo_failed(engine);
    }
}

/// Tells whether a call changes nothing, so that it can be executed anew.
fn is_read(call: &RulesCall) -> bool {
    use RulesCall as C;
    matches!(
        call,
        C::GetFact { .. }
            | C::QueryFacts { .. }
            | C::GetAllFacts
            | C::Stats
            | C::GetRule { .. }
            | C::GetRules
            | C::ValidateRule { .. }
    )
}

/// Brings back what was kept around what the options name, and gives all problems.
fn restore(
    engine: &mut Engine,
    options: &RulesOptions,
    image: &mut (dyn Image + '_),
    now_ms: u64,
) -> Vec<String> {
    let mut problems = Vec::new();
    let mut read = |space: &'static str, engine: &mut Engine| {
        let outcome = image.kept(space, &mut |key, text| {
            let restored = match space {
                FACT_SPACE => engine.restore_fact(key, text),
                RULE_SPACE => engine.restore_rule(key, text),
                _ => engine.restore_timer(now_ms, key, text),
            };
            restored.map_err(|problem| JournalError(format!("\"{key}\": {problem}")))
        });
        outcome.err().map(|error| format!("stored {space} {error}"))
    };
    problems.extend(read(FACT_SPACE, engine));
    problems.extend(load(engine, options, now_ms));
    if options.persistent {
        problems.extend(read(RULE_SPACE, engine));
        problems.extend(read(TIMER_SPACE, engine));
    }
    problems
}

/// Sets facts that are missing and registers rules of the options, and gives all problems.
fn load(engine: &mut Engine, options: &RulesOptions, now_ms: u64) -> Vec<String> {
    let mut problems = Vec::new();
    for (place, (key, text)) in options.facts.iter().enumerate() {
        if engine.get_fact(key).is_some() {
            continue;
        }
        let value = noex_json::parse(text, 128).map_err(|_| "must be JSON".to_owned());
        let outcome =
            value.and_then(|value| engine.preset_fact(now_ms, place, key, value).map_err(|e| limit_text(&e)));
        if let Err(text) = outcome {
            problems.push(format!("rules.facts.{key}: {text}"));
        }
    }
    for (index, text) in options.rules.iter().enumerate() {
        let Some(rule) = noex_json::parse(text, 128).ok().and_then(|value| value.as_object().cloned()) else {
            problems.push(format!("rules.rules[{index}]: must be object"));
            continue;
        };
        match engine.register_rule(now_ms, rule) {
            Ok(_) => {}
            Err(RulesError::Validation(issues)) => problems.extend(
                issues.iter().map(|issue| format!("rules.rules[{index}].{}: {}", issue.path, issue.message)),
            ),
            Err(error) => problems.push(format!("rules.rules[{index}]: {}", limit_text(&error))),
        }
    }
    // Nothing that the start caused is news for anybody.
    let _ = engine.take_outputs();
    problems
}

/// What a rule says, for the log: clients choose the words, and how many.
fn shortened(message: &str) -> Cow<'_, str> {
    match message.char_indices().nth(LOGGED_CHARS_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", message.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(message),
    }
}

/// Gives an event and whom to deliver it to; everything else is for the log.
fn log_unless_event(output: Output) -> Option<(SubId, Arc<str>)> {
    match output {
        Output::Event { subscriber: SubscriberId(id), event } => return Some((SubId(id), event)),
        Output::Log { level, message, rule } => {
            let (rule, message) = (rule.unwrap_or_default(), shortened(&message));
            match level {
                LogLevel::Error => tracing::error!(%rule, "{message}"),
                LogLevel::Warn => tracing::warn!(%rule, "{message}"),
                LogLevel::Info => tracing::info!(%rule, "{message}"),
                LogLevel::Debug => tracing::debug!(%rule, "{message}"),
            }
        }
        Output::ActionFailed { rule, index, action, message } => {
            tracing::warn!(%rule, index, action, "action failed: {}", shortened(&message));
        }
        other => tracing::warn!(?other, "output without a receiver"),
    }
    None
}

#[expect(clippy::wildcard_enum_match_arm, reason = "administration is matched by the other half")]
fn answer(engine: &mut Engine, now_ms: u64, call: RulesCall) -> Result<Body, RulesError> {
    let facts = |facts: &mut dyn Iterator<Item = Value>| Value::Array(facts.collect());
    Ok(match call {
        RulesCall::Emit { topic, data, correlation_id, causation_id } => {
            let event =
                engine.emit(now_ms, &topic, data, correlation_id.as_deref(), causation_id.as_deref())?;
            Body::Owned(event.to_json())
        }
        RulesCall::SetFact { key, value } => json(&engine.set_fact(now_ms, &key, value)?.to_value()),
        RulesCall::GetFact { key } => {
            engine.get_fact(&key).map_or(Body::Static("null"), |fact| json(&fact.value))
        }
        RulesCall::DeleteFact { key } => Body::Static(if engine.delete_fact(now_ms, &key)? {
            "{\"deleted\":true}"
        } else {
            "{\"deleted\":false}"
        }),
        RulesCall::QueryFacts { pattern } => {
            json(&facts(&mut engine.query_facts(&pattern)?.into_iter().map(|fact| fact.to_value())))
        }
        RulesCall::GetAllFacts => json(&facts(&mut engine.all_facts().map(|fact| fact.to_value()))),
        RulesCall::Stats => json(&engine.stats().to_value()),
        admin => return administer(engine, now_ms, admin),
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "data calls are matched by the other half")]
fn administer(engine: &mut Engine, now_ms: u64, call: RulesCall) -> Result<Body, RulesError> {
    Ok(match call {
        RulesCall::RegisterRule { rule } => json(&engine.register_rule(now_ms, rule)?.to_registered_value()),
        RulesCall::UnregisterRule { rule_id } => {
            engine.unregister_rule(now_ms, &rule_id)?;
            about(&rule_id, "unregistered", true)
        }
        RulesCall::UpdateRule { rule_id, updates } => {
            json(&engine.update_rule(now_ms, &rule_id, &updates)?.to_updated_value())
        }
        RulesCall::EnableRule { rule_id } => {
            engine.enable_rule(now_ms, &rule_id)?;
            about(&rule_id, "enabled", true)
        }
        RulesCall::DisableRule { rule_id } => {
            engine.disable_rule(now_ms, &rule_id)?;
            about(&rule_id, "enabled", false)
        }
        RulesCall::GetRule { rule_id } => json(&engine.get_rule(&rule_id)?),
        RulesCall::GetRules => json(&engine.rules()),
        RulesCall::ValidateRule { rule } => json(&engine.validate_rule(&Value::from(rule)).to_value()),
        other => {
            tracing::error!(?other, "rules call without an executor");
            Body::Static("null")
        }
    })
}

fn json(value: &Value) -> Body {
    Body::Owned(value.to_json())
}

/// `{"ruleId":…,"<what>":<flag>}`.
fn about(rule_id: &str, what: &str, flag: bool) -> Body {
    let mut out = String::from("{\"ruleId\":");
    write_string(&mut out, rule_id);
    out.push_str(&format!(",\"{what}\":{flag}}}"));
    Body::Owned(out)
}

/// Gives the answer for an error of the rule engine.
pub(crate) fn refusal(error: &RulesError) -> Refusal {
    let code = match error {
        RulesError::AlreadyExists(_) | RulesError::GroupExists(_) => Code::AlreadyExists,
        RulesError::NotFound(_) | RulesError::GroupNotFound(_) | RulesError::VersionNotFound { .. } => {
            Code::NotFound
        }
        RulesError::NotRunning(_) => Code::RulesNotAvailable,
        RulesError::Validation(_)
        | RulesError::UnknownGroup(_)
        | RulesError::LimitReached { .. }
        | RulesError::VersioningOff
        | RulesError::InvalidPattern(_) => Code::ValidationError,
        _ => return Refusal::internal(),
    };
    let refusal = Refusal::new(code, limit_text(error));
    match error.details() {
        Some(details) => refusal.with_details(details.to_json()),
        None => refusal,
    }
}

/// The text of an error; limits have one form in the whole protocol.
fn limit_text(error: &RulesError) -> String {
    let RulesError::LimitReached { kind, max } = error else { return error.to_string() };
    let kind = match kind {
        LimitKind::Rules => "rules",
        LimitKind::Facts => "facts",
        LimitKind::Timers => "timers",
        LimitKind::Groups => "groups",
        _ => "entries",
    };
    format!("Limit reached: at most {max} {kind}")
}

/// What the engine and its store service share while a step runs.
#[derive(Debug, Default)]
struct Bridge {
    store_events: bool,
    /// Whether buckets whose names begin with `_` are kept from rules.
    guard_system: bool,
    now_ms: AtomicU64,
    /// How many store changes led to the one that rules are working on.
    depth: AtomicUsize,
    /// Depth of commits that rules made and that have not come back as events yet.
    causes: Mutex<HashMap<u64, usize>>,
    /// What the engine's state rests on: the last thing of the store that a rule wrote or read.
    ticket: Mutex<Option<Arc<Ticket>>>,
    /// How to undo what is not kept yet of the engine, and what it rests on.
    undo: Mutex<VecDeque<(Arc<Ticket>, KeptChange)>>,
}

impl Bridge {
    /// Undoes what has failed, and forgets how to undo what is kept.
    fn undo_failed(&self, engine: &mut Engine) {
        let mut undo = self.undo.lock();
        while undo.pop_front_if(|(ticket, _)| ticket.state() == TicketState::Kept).is_some() {}
        // Nothing rests on a failed ticket but what has failed too.
        if undo.front().is_some_and(|(ticket, _)| ticket.state() == TicketState::Failed) {
            undo.drain(..).rev().for_each(|(_, change)| engine.undo_kept(change));
        }
    }

    /// What the engine's state rests on, if that is not settled.
    fn pending(&self) -> Option<Arc<Ticket>> {
        let mut ticket = self.ticket.lock();
        if ticket.as_ref().is_some_and(|ticket| ticket.state() != TicketState::Pending) {
            return ticket.take().filter(|ticket| ticket.state() == TicketState::Failed);
        }
        ticket.clone()
    }
}

impl Bridge {
    /// Tells whether rules have no business with a bucket.
    fn is_guarded(&self, bucket: &str) -> bool {
        self.guard_system && bucket.starts_with('_')
    }
}

/// A change as an event: topic and data.
fn store_event(change: &Change) -> (String, Object) {
    let kind = match change {
        Change::Inserted { .. } => "inserted",
        Change::Updated { .. } => "updated",
        Change::Deleted { .. } => "deleted",
    };
    let bucket = change.bucket();
    let mut data = Object::new();
    data.set("type", kind);
    data.set("bucket", bucket.clone());
    data.set("key", change.key().clone());
    match change {
        Change::Updated { old, new, .. } => {
            data.set("oldRecord", old.members().to_object());
            data.set("newRecord", new.members().to_object());
        }
        Change::Inserted { record, .. } | Change::Deleted { record, .. } => {
            data.set("record", record.members().to_object());
        }
    }
    (format!("bucket.{bucket}.{kind}"), data)
}

/// The store as rules see it: `insert(bucket, data)`, `update(bucket, key, changes)`, `upsert(bucket, data)`,
/// `delete(bucket, key)`, `get(bucket, key)`.
struct StoreService {
    store: Arc<EmbeddedStore>,
    bridge: Arc<Bridge>,
}

impl Service for StoreService {
    fn call(&mut self, method: &str, args: &[Value]) -> Result<Value, ServiceError> {
        let now_ms = self.bridge.now_ms.load(Ordering::Relaxed);
        let failed = |text: &str| ServiceError::Failed(format!("store.{method}: {text}"));
        let bucket =
            args.first().and_then(Value::as_str).ok_or_else(|| failed("expected the name of a bucket"))?;
        if self.bridge.is_guarded(bucket) {
            return Err(failed(&format!("Cannot access system bucket \"{bucket}\" directly")));
        }
        let object = |at: usize| {
            args.get(at).and_then(Value::as_object).cloned().ok_or_else(|| failed("expected an object"))
        };
        let key = || args.get(1).ok_or_else(|| failed("expected a key"));
        let record = |record: &noex_store::Record| Value::from(record.members().to_object());
        let text = |error: StoreError| failed(&error.to_string());
        if let Err(refusal) = self.store.admit() {
            return Err(failed(&refusal.message));
        }
        let (outcome, ticket) = self.store.write(|store| {
            let before = store.lsn();
            let outcome = match method {
                "insert" => store.insert(now_ms, bucket, object(1)?).map(|r| record(&r)),
                "upsert" => store.upsert(now_ms, bucket, object(1)?).map(|r| record(&r)),
                "update" => store.update(now_ms, bucket, key()?, object(2)?).map(|r| record(&r)),
                "delete" => store.delete(now_ms, bucket, key()?).map(|()| Value::Bool(true)),
                "get" => {
                    store.get(now_ms, bucket, key()?).map(|found| found.map_or(Value::Null, |r| record(&r)))
                }
                _ => return Err(ServiceError::UnknownMethod),
            };
            if self.bridge.store_events {
                let depth = self.bridge.depth.load(Ordering::Relaxed);
                self.bridge.causes.lock().extend((before + 1..=store.lsn()).map(|lsn| (lsn, depth)));
            }
            outcome.map_err(text)
        });
        if ticket.is_some() {
            *self.bridge.ticket.lock() = ticket;
        }
        outcome
    }
}
