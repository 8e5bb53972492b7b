//! Procedures behind the protocol's calls, at work on the embedded store and rule engine.
//!
//! Outside a transaction each step locks its engine for itself. A transaction holds the store for the whole program
//! and, if it has steps for the rule engine, that too, locked first as everywhere; its events and facts are handed to
//! the engine once the store has committed. How long others wait is bounded by the limits of procedures.

use crate::{
    EmbeddedRules, EmbeddedStore,
    backend::PushSink,
    refusals::{Place, of_call_error, of_definition_error, of_store_error},
    rights::HeldRights,
    rules,
    ticket::{Reply, Ticket, TicketState},
};
use noex_core::{Body, Code, ProceduresCall, Refusal};
use noex_json::{CompactString, Object, Value, write_string};
use noex_procedures::{
    Answer, CallError, DefinitionError, Engines, Former, Found, Limits, Outcome, Procedure, Read, Registry,
    Want,
};
use noex_rules::{Engine, RulesError};
use noex_store::{
    Answer as StoreAnswer, Image, JournalEntry, JournalError, PreparedRead, Program, ReadRequest, Record,
    StoreError,
};
use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
};

/// What procedures are started with.
#[derive(Clone, Debug, Default)]
pub struct ProceduresOptions {
    /// Limits. Depth of values, length of names and operators in values are those of the server's other settings.
    pub limits: Limits,
    /// Procedures registered at start, in order, as JSON texts.
    pub definitions: Vec<String>,
}

/// The procedures of one server.
pub struct EmbeddedProcedures {
    registry: Mutex<Registered>,
    limits: Limits,
    compat_error_codes: bool,
}

impl fmt::Debug for EmbeddedProcedures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmbeddedProcedures(..)")
    }
}

/// The kind under which definitions are kept.
const SPACE: &str = "procedure";
/// Nesting of what is read back; everything kept was accepted with less.
const DEPTH_MAX: usize = 4096;

/// What a call works with.
pub(crate) struct Surroundings<'a> {
    pub(crate) now_ms: u64,
    /// Time since the call began, in ms.
    pub(crate) elapsed_ms: &'a dyn Fn() -> f64,
    pub(crate) store: &'a EmbeddedStore,
    pub(crate) rules: Option<&'a EmbeddedRules>,
    pub(crate) sink: &'a dyn PushSink,
    pub(crate) permits: &'a Permits<'a>,
    pub(crate) enter: &'a Enter<'a>,
}

/// Tells whether the caller may run an operation on a resource. It is asked while the engines are locked.
pub(crate) type Permits<'a> = dyn Fn(&str, &str) -> Result<(), Refusal> + 'a;

/// Holds rights for what is executed next, unless the caller may not go on.
pub(crate) type Enter<'a> = dyn Fn() -> Result<Option<HeldRights<'a>>, Refusal> + 'a;

impl EmbeddedProcedures {
    /// Registers the procedures of the options, then those that `image` holds of an earlier run; one of the options wins
    /// over one that was kept.
    ///
    /// # Errors
    /// All problems of the definitions.
    pub fn new(
        options: &ProceduresOptions,
        image: Option<&mut (dyn Image + '_)>,
        compat_error_codes: bool,
    ) -> Result<Self, Vec<String>> {
        let mut registry = Registry::new(options.limits.clone());
        let mut problems = Vec::new();
        for (index, text) in options.definitions.iter().enumerate() {
            let definition = noex_json::parse(text, 128).ok().and_then(|value| value.as_object().cloned());
            let issues = match definition.map(|definition| registry.register(definition)) {
                Some(Ok(_)) => continue,
                Some(Err(DefinitionError::Invalid(issues))) => issues,
                Some(Err(error)) => vec![error.to_string()],
                None => vec!["Procedure config must be an object".to_owned()],
            };
            problems.extend(issues.iter().map(|issue| format!("procedures.definitions[{index}]: {issue}")));
        }
        problems.extend(image.and_then(|image| restore(&mut registry, image).err()));
        if !problems.is_empty() {
            return Err(problems);
        }
        let limits = registry.limits().clone();
        let registered = Registered { registry, undo: VecDeque::new() };
        Ok(Self { registry: Mutex::new(registered), limits, compat_error_codes })
    }

    /// Executes a call that changes definitions, and gives the `data` of its result. To be called while the store
    /// keeps things [as a whole](EmbeddedStore::whole).
    ///
    /// # Errors
    /// The answer for the client.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are told apart by the caller")]
    pub(crate) fn administer(&self, call: ProceduresCall, store: &EmbeddedStore) -> Result<Body, Refusal> {
        store.admit()?;
        let mut registered = self.registered();
        let change = |registered: &mut Registered, name: &str, run: &mut Change<'_>| {
            let before = registered.registry.former(name);
            let after = run(&mut registered.registry).map_err(|error| of_definition_error(&error))?;
            registered.note(store, before, after);
            Ok(())
        };
        match call {
            ProceduresCall::Register { procedure } => {
                let name = procedure.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
                let mut procedure = Some(procedure);
                change(&mut registered, &name, &mut |registry| {
                    registry.register(procedure.take().unwrap_or_default()).map(Some)
                })?;
                Ok(named(&name, "registered"))
            }
            ProceduresCall::Unregister { name } => {
                change(&mut registered, &name, &mut |registry| registry.unregister(&name).map(|()| None))?;
                Ok(named(&name, "unregistered"))
            }
            ProceduresCall::Update { name, updates } => {
                let mut updates = Some(updates);
                change(&mut registered, &name, &mut |registry| {
                    registry.update(&name, updates.take().unwrap_or_default()).map(Some)
                })?;
                Ok(named(&name, "updated"))
            }
            other => {
                tracing::error!(?other, "procedures call without an executor");
                Err(Refusal::internal())
            }
        }
    }

    /// Executes a call that only looks.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are told apart by the caller")]
    pub(crate) fn look(&self, call: ProceduresCall) -> Reply<Body, Unkept> {
        let registered = self.registered();
        let outcome = match &call {
            ProceduresCall::Get { name } => {
                let found = registered.registry.get(name).map_err(|error| of_definition_error(&error));
                found.map(|found| Body::Owned(Value::from(found.definition().clone()).to_json()))
            }
            _ => Ok(list(&registered.registry)),
        };
        let ticket = registered.undo.back().map(|(ticket, _)| Arc::clone(ticket));
        Reply::resting_on(ticket, outcome, Some(Unkept::Read(call)))
    }

    /// The definitions without those that were not kept.
    fn registered(&self) -> MutexGuard<'_, Registered> {
        let mut registered = self.registry.lock();
        registered.undo_failed();
        registered
    }

    /// Finds the procedure to call.
    ///
    /// # Errors
    /// The answer for the client.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Procedure>, Refusal> {
        self.registered().registry.get(name).map_err(|error| of_definition_error(&error))
    }

    /// Calls a procedure and gives the `data` of its result. Events that it causes are delivered before.
    ///
    /// # Errors
    /// The answer for the client.
    pub(crate) fn call(
        &self,
        procedure: &Procedure,
        input: Option<Value>,
        around: &Surroundings<'_>,
    ) -> Result<Body, Refusal> {
        let outcome = self.run(procedure, input, around).map_err(of_call_error)?;
        Ok(Body::Owned(outcome.to_json()))
    }

    fn run(
        &self,
        procedure: &Procedure,
        input: Option<Value>,
        around: &Surroundings<'_>,
    ) -> Result<Outcome, CallError<Refusal>> {
        let input = procedure.check_input(input)?;
        if !procedure.is_transaction() {
            let mut engines = Direct { around, compat: self.compat_error_codes, rights: None };
            return procedure.run(input, &self.limits, around.elapsed_ms, &mut engines);
        }
        let Some(rules) = around.rules.filter(|_| procedure.uses_rules()) else {
            return self.commit(procedure, input, around, None).map(|(outcome, _)| outcome);
        };
        rules.with_engine(around.now_ms, around.sink, |engine| {
            let (outcome, pending) = self.commit(procedure, input, around, Some(engine))?;
            rules.catch_up(engine, around.now_ms);
            for effect in pending {
                // The transaction is done, and the engine agreed to the effect when its step ran: what can still go
                // wrong is that a rule took the last place for a fact.
                if let Err(error) = effect.apply(engine, around.now_ms) {
                    tracing::warn!(
                        procedure = procedure.name(),
                        "effect after a transaction failed: {error}"
                    );
                }
            }
            Ok(outcome)
        })
    }

    /// Runs a procedure as one transaction of the store; gives what is left to do for the rule engine.
    fn commit(
        &self,
        procedure: &Procedure,
        input: Object,
        around: &Surroundings<'_>,
        engine: Option<&Engine>,
    ) -> Result<(Outcome, Vec<Effect>), CallError<Refusal>> {
        let compat = self.compat_error_codes;
        let committed = around.store.with_store(|store| {
            store.program(around.now_ms, |program| {
                let mut engines = Locked {
                    around,
                    program,
                    engine,
                    pending: Vec::new(),
                    facts: BTreeMap::new(),
                    new: 0,
                    compat,
                };
                let outcome = procedure.run(input, &self.limits, around.elapsed_ms, &mut engines);
                outcome.map(|outcome| (outcome, engines.pending)).map_err(Stop::Step)
            })
        });
        committed.map_err(|stop| match stop {
            Stop::Step(error) => error,
            Stop::Commit(error) => CallError::Engine(of_store_error(&error, compat, Place::Procedure)),
        })
    }
}

/// A change of definitions: gives the new one, `None` = there is none any more.
type Change<'a> = dyn FnMut(&mut Registry) -> Result<Option<Arc<Procedure>>, DefinitionError> + 'a;

/// Definitions, and how to undo what is not kept yet of them, with what it rests on.
struct Registered {
    registry: Registry,
    undo: VecDeque<(Arc<Ticket>, Former)>,
}

impl Registered {
    /// Hands a change to the journal.
    fn note(&mut self, store: &EmbeddedStore, before: Former, after: Option<Arc<Procedure>>) {
        let text = after.map(|after| Value::from(after.definition().clone()).to_kept_json().into());
        let entry = JournalEntry::Kept { space: SPACE, key: before.name().into(), value: text };
        let ((), ticket) = store.write(|store| store.note_kept(vec![entry]));
        self.undo.extend(ticket.map(|ticket| (ticket, before)));
    }

    /// Undoes what has failed, and forgets how to undo what is kept.
    fn undo_failed(&mut self) {
        while self.undo.pop_front_if(|(ticket, _)| ticket.state() == TicketState::Kept).is_some() {}
        // Nothing rests on a failed ticket but what has failed too.
        if self.undo.front().is_some_and(|(ticket, _)| ticket.state() == TicketState::Failed) {
            self.undo.drain(..).rev().for_each(|(_, former)| self.registry.put_back(former));
        }
    }
}

/// Brings back what was kept around what the options name.
fn restore(registry: &mut Registry, image: &mut (dyn Image + '_)) -> Result<(), String> {
    let outcome = image.kept(SPACE, &mut |name, text| {
        if registry.get(name).is_ok() {
            tracing::info!(name, "the procedure of the configuration takes the place of the stored one");
            return Ok(());
        }
        let problem = |text: String| JournalError(format!("\"{name}\": {text}"));
        let definition = match noex_json::parse(text, DEPTH_MAX) {
            Ok(Value::Object(definition)) => definition,
            Ok(_) | Err(_) => return Err(problem("the definition is not a JSON object".to_owned())),
        };
        match registry.register(*definition) {
            Ok(_) => Ok(()),
            Err(DefinitionError::Invalid(issues)) => Err(problem(issues.join("; "))),
            Err(error) => Err(problem(error.to_string())),
        }
    });
    outcome.map_err(|error| format!("stored procedure {error}"))
}

fn list(registry: &Registry) -> Body {
    let shown = |procedure: &Arc<Procedure>| {
        let mut entry = Object::new();
        entry.set("name", procedure.name());
        if let Some(description) = procedure.definition().get("description") {
            entry.set("description", description.clone());
        }
        #[expect(clippy::cast_precision_loss, reason = "no list is that long")]
        entry.set("stepsCount", procedure.steps_count() as f64);
        Value::from(entry)
    };
    let list: Vec<Value> = registry.iter().map(shown).collect();
    let mut answer = Object::new();
    answer.set("procedures", list);
    Body::Owned(Value::from(answer).to_json())
}

/// What to do for a call whose changes, or what it has seen, were not kept, if not that it was a write as a whole.
#[derive(Debug)]
pub(crate) enum Unkept {
    /// It changes nothing: execute it anew.
    Read(ProceduresCall),
    /// Its steps are kept each for itself: some may be.
    Steps,
}

/// The answer to a call of which some steps could not be kept. The reason is in the log.
pub(crate) fn steps_not_stored() -> Refusal {
    Refusal::new(
        Code::InternalError,
        "Steps of the procedure could not be stored; earlier ones may be in effect",
    )
}

/// Why a transaction ends without effect.
enum Stop {
    Step(CallError<Refusal>),
    Commit(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Commit(error)
    }
}

/// A record as procedures see it.
struct Stored(Arc<Record>);

impl noex_procedures::Record for Stored {
    fn members(&self) -> impl Iterator<Item = (&CompactString, &Value)> {
        self.0.members().iter()
    }
}

/// The engines outside a transaction.
struct Direct<'a, 's> {
    around: &'a Surroundings<'s>,
    compat: bool,
    /// From the judgement of a step until it is executed.
    rights: Option<Option<HeldRights<'s>>>,
}

impl Direct<'_, '_> {
    fn store<T>(
        &mut self,
        run: impl FnOnce(&mut noex_store::Store) -> Result<T, StoreError>,
    ) -> Result<T, Refusal> {
        let _rights = self.rights.take().map_or_else(self.around.enter, Ok)?;
        let outcome = self.around.store.with_store(run);
        outcome.map_err(|error| of_store_error(&error, self.compat, Place::Procedure))
    }

    fn rules<T>(&mut self, run: impl FnOnce(&mut Engine) -> Result<T, RulesError>) -> Result<T, Refusal> {
        let rules = self.around.rules.ok_or_else(Refusal::internal)?;
        let _rights = self.rights.take().map_or_else(self.around.enter, Ok)?;
        let outcome = rules.with_engine(self.around.now_ms, self.around.sink, run);
        outcome.map_err(|error| rules::refusal(&error))
    }
}

impl Engines for Direct<'_, '_> {
    type Record = Stored;
    type Error = Refusal;

    fn permits(&mut self, operation: &'static str, resource: &str) -> Result<(), Refusal> {
        if self.rights.is_none() {
            self.rights = Some((self.around.enter)()?);
        }
        (self.around.permits)(operation, resource)
    }

    fn get(&mut self, bucket: &str, key: &Value) -> Result<Option<Stored>, Refusal> {
        self.store(|store| store.get(self.around.now_ms, bucket, key)).map(|found| found.map(Stored))
    }

    fn read(&mut self, read: Read<'_>) -> Result<Answer<Stored>, Refusal> {
        let (bucket, records_max) = (read.bucket, read.records_max);
        let request = request(read);
        let prepared = self.store(|store| store.prepare_read(self.around.now_ms, bucket, request))?;
        Ok(answer(prepared, records_max))
    }

    fn insert(&mut self, bucket: &str, data: Object) -> Result<Stored, Refusal> {
        self.around.store.admit()?;
        self.store(|store| store.insert(self.around.now_ms, bucket, data)).map(Stored)
    }

    fn update(&mut self, bucket: &str, key: &Value, data: Object) -> Result<Stored, Refusal> {
        self.around.store.admit()?;
        self.store(|store| store.update(self.around.now_ms, bucket, key, data)).map(Stored)
    }

    fn delete(&mut self, bucket: &str, key: &Value) -> Result<(), Refusal> {
        self.around.store.admit()?;
        self.store(|store| store.delete(self.around.now_ms, bucket, key))
    }

    fn has_rules(&self) -> bool {
        self.around.rules.is_some()
    }

    fn emit(&mut self, topic: &str, data: Object) -> Result<(), Refusal> {
        self.rules(|engine| engine.emit(self.around.now_ms, topic, data, None, None)).map(|_| ())
    }

    fn set_fact(&mut self, key: &str, value: Value) -> Result<(), Refusal> {
        self.around.store.admit()?;
        self.rules(|engine| engine.set_fact(self.around.now_ms, key, value)).map(|_| ())
    }

    fn fact(&mut self, key: &str) -> Result<Option<Value>, Refusal> {
        self.rules(|engine| Ok(engine.get_fact(key).map(|fact| fact.value.clone())))
    }
}

/// What a transaction leaves for the rule engine.
enum Effect {
    Emit { topic: CompactString, data: Object },
    SetFact { key: CompactString, value: Value },
}

impl Effect {
    fn apply(self, engine: &mut Engine, now_ms: u64) -> Result<(), RulesError> {
        match self {
            Self::Emit { topic, data } => engine.emit(now_ms, &topic, data, None, None).map(|_| ()),
            Self::SetFact { key, value } => engine.set_fact(now_ms, &key, value).map(|_| ()),
        }
    }
}

/// The engines inside a transaction.
struct Locked<'a, 's, 'p, 't> {
    around: &'a Surroundings<'s>,
    program: &'a mut Program<'p, 't>,
    engine: Option<&'a Engine>,
    /// In the order of the steps.
    pending: Vec<Effect>,
    /// Facts that are set so far.
    facts: BTreeMap<CompactString, Value>,
    /// How many of them are not in the engine yet.
    new: usize,
    compat: bool,
}

impl Locked<'_, '_, '_, '_> {
    fn refused(&self) -> impl Fn(StoreError) -> Refusal + use<> {
        let compat = self.compat;
        move |error| of_store_error(&error, compat, Place::Procedure)
    }

    fn engine(&self) -> Result<&Engine, Refusal> {
        self.engine.ok_or_else(Refusal::internal)
    }
}

impl Engines for Locked<'_, '_, '_, '_> {
    type Record = Stored;
    type Error = Refusal;

    fn permits(&mut self, operation: &'static str, resource: &str) -> Result<(), Refusal> {
        (self.around.permits)(operation, resource)
    }

    fn get(&mut self, bucket: &str, key: &Value) -> Result<Option<Stored>, Refusal> {
        self.program.get(bucket, key).map(|found| found.map(Stored)).map_err(self.refused())
    }

    fn read(&mut self, read: Read<'_>) -> Result<Answer<Stored>, Refusal> {
        let (bucket, records_max) = (read.bucket, read.records_max);
        let prepared = self.program.prepare_read(bucket, request(read)).map_err(self.refused())?;
        Ok(answer(prepared, records_max))
    }

    fn insert(&mut self, bucket: &str, data: Object) -> Result<Stored, Refusal> {
        self.around.store.admit()?;
        self.program.insert(bucket, data).map(Stored).map_err(self.refused())
    }

    fn update(&mut self, bucket: &str, key: &Value, data: Object) -> Result<Stored, Refusal> {
        self.around.store.admit()?;
        self.program.update(bucket, key, data).map(Stored).map_err(self.refused())
    }

    fn delete(&mut self, bucket: &str, key: &Value) -> Result<(), Refusal> {
        self.around.store.admit()?;
        self.program.delete(bucket, key).map_err(self.refused())
    }

    fn has_rules(&self) -> bool {
        self.around.rules.is_some()
    }

    fn emit(&mut self, topic: &str, data: Object) -> Result<(), Refusal> {
        self.engine()?.admits_facts(0).map_err(|error| rules::refusal(&error))?;
        self.pending.push(Effect::Emit { topic: topic.into(), data });
        Ok(())
    }

    fn set_fact(&mut self, key: &str, value: Value) -> Result<(), Refusal> {
        self.around.store.admit()?;
        let engine = self.engine()?;
        let is_new = !self.facts.contains_key(key) && engine.get_fact(key).is_none();
        let new = self.new + usize::from(is_new);
        engine.admits_facts(if is_new { new } else { 0 }).map_err(|error| rules::refusal(&error))?;
        self.new = new;
        self.facts.insert(key.into(), value.clone());
        self.pending.push(Effect::SetFact { key: key.into(), value });
        Ok(())
    }

    fn fact(&mut self, key: &str) -> Result<Option<Value>, Refusal> {
        if let Some(own) = self.facts.get(key) {
            return Ok(Some(own.clone()));
        }
        Ok(self.engine()?.get_fact(key).map(|fact| fact.value.clone()))
    }
}

fn request(read: Read<'_>) -> ReadRequest {
    match (read.want, read.filter) {
        (Want::All, None) => ReadRequest::All,
        (Want::All, Some(filter)) => ReadRequest::Where(filter),
        (Want::First, filter) => ReadRequest::FindOne(filter.unwrap_or_default()),
        (Want::Count, filter) => ReadRequest::Count(filter),
    }
}

/// Runs a prepared read, unless it would look at too much.
fn answer(prepared: PreparedRead, records_max: usize) -> Answer<Stored> {
    let looked_at = prepared.looks_at_max();
    if looked_at > records_max {
        return Answer::TooMany;
    }
    let found = match prepared.run() {
        StoreAnswer::Records(records) => Found::Records(records.into_iter().map(Stored).collect()),
        StoreAnswer::Record(record) => Found::Records(record.into_iter().map(Stored).collect()),
        StoreAnswer::Number(number) => Found::Number(number),
        // Answers to requests that are not made here.
        StoreAnswer::NoValue | StoreAnswer::Page(_) | StoreAnswer::Groups(_) => Found::Records(Vec::new()),
    };
    Answer::Done { found, looked_at }
}

/// `{"name":…,"<what>":true}`.
fn named(name: &str, what: &str) -> Body {
    let mut out = String::from("{\"name\":");
    write_string(&mut out, name);
    out.push_str(&format!(",\"{what}\":true}}"));
    Body::Owned(out)
}
