//! The engine: every input in, outputs in order out.
//!
//! A call processes its input to the end, with all that rules make of it, before it returns; nothing waits. What the
//! host has to do is collected and taken with [`Engine::take_outputs`]. The clock is the latest time the engine has
//! been given; deadlines that have passed are worked off before an input of the same time.
//! Invariant: no input makes a call panic, take unbounded time or memory, or fail for a reason that another client's
//! rule has caused.
//! Source: the rule engine's description, sections 2 and 6.

use crate::{
    Pattern, PatternTrie, Report, Rule, Space,
    deadlines::Deadlines,
    error::{LimitKind, RulesError},
    evaluate::Run,
    event::{Event, Origin, time_value},
    facts::{Fact, Facts},
    history::History,
    keep::FIRST_SEQUENCE,
    keep::Keeping,
    occurrence::{ChangeKind, Occurrence},
    options::EngineOptions,
    output::{Output, SubscriberId},
    registry::{Entry, Registry, RuleKey},
    service::{Service, Services},
    stats::Stats,
    timers::{Timer, Timers},
    validate,
    versions::{ChangeType, Versions},
};
use foldhash::{HashMap, HashMapExt};
use noex_json::{CompactString, Object, Value};
use std::{fmt, sync::Arc};

/// Source of random bytes for ids. The same bytes give the same ids.
pub trait Random {
    /// Fills a buffer with bytes that nobody can foresee.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// Measures how long activations take, for the statistics only.
pub trait Stopwatch {
    /// Gives the time since some fixed moment, in microseconds.
    fn elapsed_us(&mut self) -> u64;
}

/// Whose deadline it is.
#[derive(Clone, Debug)]
pub(crate) enum Due {
    Timer(CompactString),
    Temporal { rule: RuleKey, instance: u64 },
}

/// What a caller learns of a rule it has registered or updated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RuleStamp {
    /// The rule's id.
    pub id: CompactString,
    /// The rule's name.
    pub name: CompactString,
    /// From one counter for all rules.
    pub version: u64,
    /// Time of the registration.
    pub created_at: u64,
    /// Time of the last registration, update, enabling or disabling.
    pub updated_at: u64,
}

impl RuleStamp {
    /// Gives what `registerRule` answers.
    #[must_use]
    pub fn to_registered_value(&self) -> Value {
        let mut object = Object::new();
        object.set("id", self.id.clone());
        object.set("name", self.name.clone());
        object.set("version", time_value(self.version));
        object.set("createdAt", time_value(self.created_at));
        object.set("updatedAt", time_value(self.updated_at));
        Value::from(object)
    }

    /// Gives what `updateRule` answers.
    #[must_use]
    pub fn to_updated_value(&self) -> Value {
        let mut object = Object::new();
        object.set("id", self.id.clone());
        object.set("version", time_value(self.version));
        object.set("updatedAt", time_value(self.updated_at));
        Value::from(object)
    }

    pub(crate) fn of(entry: &Entry) -> Self {
        Self {
            id: entry.rule.id.clone(),
            name: entry.rule.name.clone(),
            version: entry.version,
            created_at: entry.created_at,
            updated_at: entry.updated_at,
        }
    }
}

/// A rule engine.
///
/// Times are Unix milliseconds. A time before one that was given earlier counts as that one.
pub struct Engine {
    pub(crate) options: EngineOptions,
    random: Box<dyn Random + Send>,
    pub(crate) stopwatch: Option<Box<dyn Stopwatch + Send>>,
    pub(crate) clock_ms: u64,
    running: bool,
    pub(crate) registry: Registry,
    pub(crate) facts: Facts,
    pub(crate) timers: Timers,
    pub(crate) deadlines: Deadlines<Due>,
    /// Order of creation of everything with a deadline.
    pub(crate) sequence: u64,
    pub(crate) history: History,
    pub(crate) versions: Versions,
    pub(crate) services: Services,
    pub(crate) keeping: Keeping,
    subscriptions: HashMap<SubscriberId, (Pattern, crate::EntryId)>,
    subscribers: PatternTrie<SubscriberId>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) run: Run,
    pub(crate) counts: Stats,
    pub(crate) processing_us: u64,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("name", &self.options.name)
            .field("clock_ms", &self.clock_ms)
            .field("running", &self.running)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Creation and time.
impl Engine {
    /// Makes a running engine without rules, facts or timers.
    #[must_use]
    pub fn new(options: EngineOptions, random: Box<dyn Random + Send>) -> Self {
        Self {
            random,
            stopwatch: None,
            clock_ms: 0,
            running: true,
            registry: Registry::new(options.temporal),
            facts: Facts::new(options.facts_max),
            timers: Timers::new(options.timers_max),
            deadlines: Deadlines::default(),
            sequence: FIRST_SEQUENCE,
            history: History::new(options.history),
            versions: Versions::new(options.versioning),
            services: Services::new(options.lookup_cache_max),
            keeping: Keeping::default(),
            subscriptions: HashMap::new(),
            subscribers: PatternTrie::new(),
            outputs: Vec::new(),
            run: Run::default(),
            counts: Stats::default(),
            processing_us: 0,
            options,
        }
    }

    /// Lets rules call a service; one of the same name is replaced.
    pub fn register_service(&mut self, name: &str, service: Box<dyn Service>) {
        self.services.register(name, service);
    }

    /// Measures activations from now on.
    pub fn set_stopwatch(&mut self, stopwatch: Box<dyn Stopwatch + Send>) {
        self.stopwatch = Some(stopwatch);
    }

    /// Gives the engine's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// Tells whether the engine takes inputs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// Stops the engine: inputs are refused and nothing fires, until [`Engine::start`]. Reading goes on.
    pub fn stop(&mut self) {
        self.running = false;
    }

    /// Takes inputs again. What came due meanwhile fires with the next call.
    pub fn start(&mut self) {
        self.running = true;
    }

    /// Tells when [`Engine::advance`] has something to do.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<u64> {
        if self.running { self.deadlines.next_ms() } else { None }
    }

    /// Fires what is due, in order, each at its own time. Tells whether more is due than one call may do; then call
    /// again. Early or repeated calls change nothing.
    #[must_use = "more may be due"]
    pub fn advance(&mut self, now_ms: u64) -> bool {
        if !self.running {
            return false;
        }
        let now_ms = now_ms.max(self.clock_ms);
        let mut work_left = self.options.work_per_input_max;
        for _ in 0..self.options.deadlines_per_call_max.max(1) {
            let Some((deadline, due)) = self.deadlines.pop_due(now_ms) else {
                self.clock_ms = now_ms;
                return false;
            };
            self.clock_ms = self.clock_ms.max(deadline.at_ms);
            self.run = Run::new(&self.options);
            match due {
                Due::Timer(name) => self.timer_due(&name, now_ms),
                Due::Temporal { rule, instance } => self.temporal_due(rule, instance),
            }
            self.finish_input();
            work_left = work_left.saturating_sub(self.run.work_done());
            if work_left == 0 {
                break;
            }
        }
        let more = self.next_deadline_ms().is_some_and(|at_ms| at_ms <= now_ms);
        if !more {
            self.clock_ms = now_ms;
        }
        more
    }

    /// Gives what the host has to do, oldest first, and forgets it.
    #[must_use]
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// Tells whether the host has something to do.
    #[must_use]
    pub fn has_outputs(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// Begins an input: the clock moves, what is due by then comes first.
    pub(crate) fn begin(&mut self, now_ms: u64) -> Result<(), RulesError> {
        if !self.running {
            return Err(RulesError::NotRunning(self.options.name.clone()));
        }
        // Where more is due than one call may do, the rest comes late rather than holding up this input.
        let _ = self.advance(now_ms);
        self.clock_ms = self.clock_ms.max(now_ms);
        self.run = Run::new(&self.options);
        Ok(())
    }

    /// Makes an id: the time and nine random characters, to the base of 36.
    pub(crate) fn new_id(&mut self) -> CompactString {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        let mut text = CompactString::default();
        push_base36(&mut text, self.clock_ms, 1);
        text.push('-');
        push_base36(&mut text, u64::from_le_bytes(bytes) % 36_u64.pow(9), 9);
        text
    }
}

/// Events and subscriptions.
impl Engine {
    /// Emits an event and runs all that follows from it. `causation_id` counts only together with `correlation_id`.
    ///
    /// # Errors
    ///
    /// [`RulesError::NotRunning`].
    pub fn emit(
        &mut self,
        now_ms: u64,
        topic: &str,
        data: Object,
        correlation_id: Option<&str>,
        causation_id: Option<&str>,
    ) -> Result<Arc<Event>, RulesError> {
        self.begin(now_ms)?;
        let event = Arc::new(Event {
            id: self.new_id(),
            topic: topic.into(),
            data: Value::from(data),
            timestamp: self.clock_ms,
            correlation_id: correlation_id.map(CompactString::from),
            causation_id: correlation_id.and(causation_id).map(CompactString::from),
            source: Origin::Api,
        });
        self.process_event(&event, 0);
        self.finish_input();
        Ok(event)
    }

    /// Lets a subscriber receive the events whose topic matches, from the next one on. Replaces what this subscriber
    /// received before.
    ///
    /// # Errors
    ///
    /// [`RulesError::InvalidPattern`].
    pub fn subscribe(&mut self, subscriber: SubscriberId, pattern: &str) -> Result<(), RulesError> {
        let pattern = Pattern::parse(pattern, Space::Subscription).map_err(RulesError::InvalidPattern)?;
        self.unsubscribe(subscriber);
        let entry = self.subscribers.insert(&pattern, subscriber);
        self.subscriptions.insert(subscriber, (pattern, entry));
        Ok(())
    }

    /// Ends a subscription at once. Tells whether there was one. Outputs already collected stay.
    pub fn unsubscribe(&mut self, subscriber: SubscriberId) -> bool {
        let Some((pattern, entry)) = self.subscriptions.remove(&subscriber) else { return false };
        self.subscribers.remove(&pattern, entry);
        true
    }

    /// Gives the recent events, oldest first.
    pub fn history(&self) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        self.history.iter()
    }

    /// Hands an event to the subscribers.
    pub(crate) fn deliver(&mut self, event: &Event) {
        let subscribers = self.subscribers.matches(&event.topic);
        if subscribers.is_empty() {
            return;
        }
        let text = event.push_text();
        if event.source == Origin::Rule {
            self.run.spend(subscribers.len() / DELIVERIES_PER_UNIT);
        }
        let outputs = subscribers.into_iter();
        self.outputs.extend(
            outputs.map(|subscriber| Output::Event { subscriber: *subscriber, event: Arc::clone(&text) }),
        );
    }
}

/// Facts.
impl Engine {
    /// Writes a fact and runs all that follows from it.
    ///
    /// # Errors
    ///
    /// [`RulesError::NotRunning`]; [`RulesError::LimitReached`] for a new fact beyond the limit.
    pub fn set_fact(&mut self, now_ms: u64, key: &str, value: Value) -> Result<Arc<Fact>, RulesError> {
        self.begin(now_ms)?;
        let fact = self.write_fact(key, value, Origin::Api, 0, None)?;
        self.finish_input();
        Ok(fact)
    }

    /// Tells whether so many facts that are not there yet could be set now.
    ///
    /// # Errors
    ///
    /// [`RulesError::NotRunning`], [`RulesError::LimitReached`].
    pub fn admits_facts(&self, new: usize) -> Result<(), RulesError> {
        if !self.running {
            return Err(RulesError::NotRunning(self.options.name.clone()));
        }
        self.facts.admits(new)
    }

    /// Writes a fact of the configuration, the `place`-th from 0: it triggers nothing. Its place in the creation sequence
    /// is the same at every start, unless something that was kept has it.
    ///
    /// # Errors
    ///
    /// [`RulesError::LimitReached`].
    pub fn preset_fact(
        &mut self,
        now_ms: u64,
        place: usize,
        key: &str,
        value: Value,
    ) -> Result<Arc<Fact>, RulesError> {
        self.clock_ms = self.clock_ms.max(now_ms);
        let (fact, _) = self.facts.set(key, value, Origin::Api, self.clock_ms)?;
        self.facts.place(key, place as u64 + 1);
        Ok(fact)
    }

    /// Removes a fact. Tells whether there was one. Triggers only rules that ask for deletions.
    ///
    /// # Errors
    ///
    /// [`RulesError::NotRunning`].
    pub fn delete_fact(&mut self, now_ms: u64, key: &str) -> Result<bool, RulesError> {
        self.begin(now_ms)?;
        let deleted = self.remove_fact(key, 0, None);
        self.finish_input();
        Ok(deleted)
    }

    /// Finds a fact by its key.
    #[must_use]
    pub fn get_fact(&self, key: &str) -> Option<&Arc<Fact>> {
        self.facts.get(key)
    }

    /// Gives the facts whose key matches, in the order of their creation.
    ///
    /// # Errors
    ///
    /// [`RulesError::InvalidPattern`].
    pub fn query_facts(&self, pattern: &str) -> Result<Vec<&Arc<Fact>>, RulesError> {
        let pattern = Pattern::parse(pattern, Space::Key).map_err(RulesError::InvalidPattern)?;
        if pattern.is_exact() {
            return Ok(self.facts.get(pattern.text()).into_iter().collect());
        }
        Ok(self.facts.query(&pattern))
    }

    /// Gives all facts in the order of their creation.
    pub fn all_facts(&self) -> impl ExactSizeIterator<Item = &Arc<Fact>> {
        self.facts.all()
    }

    /// Writes a fact for a client or a rule, at the depth of what it may trigger.
    pub(crate) fn write_fact(
        &mut self,
        key: &str,
        value: Value,
        source: Origin,
        depth: usize,
        cause: Option<&Occurrence>,
    ) -> Result<Arc<Fact>, RulesError> {
        let place = self.facts.sequence_of(key);
        let (fact, before) = self.facts.set(key, value, source, self.clock_ms)?;
        self.note_fact(key, place.zip(before.clone()));
        let kind = if before.is_some() { ChangeKind::Updated } else { ChangeKind::Created };
        self.process_change(kind, &fact, before.as_deref(), depth, cause);
        Ok(fact)
    }

    /// Removes a fact for a client or a rule.
    pub(crate) fn remove_fact(&mut self, key: &str, depth: usize, cause: Option<&Occurrence>) -> bool {
        let place = self.facts.sequence_of(key);
        let Some(fact) = self.facts.delete(key) else { return false };
        self.note_fact(key, place.zip(Some(Arc::clone(&fact))));
        self.process_change(ChangeKind::Deleted, &fact, Some(&fact), depth, cause);
        true
    }
}

/// Rules.
impl Engine {
    /// Adds a rule.
    ///
    /// # Errors
    ///
    /// [`RulesError::AlreadyExists`] before anything else; [`RulesError::Validation`]; [`RulesError::UnknownGroup`];
    /// [`RulesError::LimitReached`]; [`RulesError::NotRunning`]. Then nothing has changed.
    pub fn register_rule(&mut self, now_ms: u64, rule: Object) -> Result<RuleStamp, RulesError> {
        self.begin(now_ms)?;
        if let Some(id) = rule.get("id").and_then(Value::as_str)
            && self.registry.get(id).is_some()
        {
            return Err(RulesError::AlreadyExists(id.into()));
        }
        let rule = self.compile(rule)?;
        if self.registry.len() >= self.options.rules_max {
            return Err(RulesError::LimitReached { kind: LimitKind::Rules, max: self.options.rules_max });
        }
        let entry = self.registry.register(rule, self.clock_ms, &mut self.facts);
        Ok(self.recorded(&entry, ChangeType::Registered))
    }

    /// Removes a rule and the state of its temporal pattern. Timers it has set stay.
    ///
    /// # Errors
    ///
    /// [`RulesError::NotFound`]; [`RulesError::NotRunning`].
    pub fn unregister_rule(&mut self, now_ms: u64, id: &str) -> Result<(), RulesError> {
        self.begin(now_ms)?;
        let entry = self.entry(id)?;
        self.registry.unregister(&entry, &mut self.facts, &mut self.deadlines);
        self.recorded(&entry, ChangeType::Unregistered);
        Ok(())
    }

    /// Replaces top-level members of a rule. The rule keeps its place and the time of its creation.
    ///
    /// # Errors
    ///
    /// [`RulesError::NotFound`]; [`RulesError::Validation`] and [`RulesError::UnknownGroup`] of the merged rule;
    /// [`RulesError::NotRunning`]. Then nothing has changed.
    pub fn update_rule(&mut self, now_ms: u64, id: &str, updates: &Object) -> Result<RuleStamp, RulesError> {
        self.begin(now_ms)?;
        let before = self.entry(id)?;
        let rule = self.compile(before.rule.merge(updates))?;
        let (facts, deadlines) = (&mut self.facts, &mut self.deadlines);
        let entry = self.registry.update(&before, rule, self.clock_ms, facts, deadlines);
        Ok(self.recorded(&entry, ChangeType::Updated))
    }

    /// Lets a rule fire.
    ///
    /// # Errors
    ///
    /// [`RulesError::NotFound`]; [`RulesError::NotRunning`].
    pub fn enable_rule(&mut self, now_ms: u64, id: &str) -> Result<(), RulesError> {
        self.set_enabled(now_ms, id, true)
    }

    /// Stops a rule from firing and discards what its temporal pattern has under way.
    ///
    /// # Errors
    ///
    /// As [`Engine::enable_rule`].
    pub fn disable_rule(&mut self, now_ms: u64, id: &str) -> Result<(), RulesError> {
        self.set_enabled(now_ms, id, false)
    }

    /// Gives a rule as clients see it: as registered, with defaults, version and times.
    ///
    /// # Errors
    ///
    /// [`RulesError::NotFound`].
    pub fn get_rule(&self, id: &str) -> Result<Value, RulesError> {
        Ok(self.entry(id)?.to_value())
    }

    /// Gives the list of rules as clients see it: `{ "rules": [..] }`, in the order of registration.
    #[must_use]
    pub fn rules(&self) -> Value {
        self.registry.to_value()
    }

    /// Checks a rule without storing anything.
    #[must_use]
    pub fn validate_rule(&self, rule: &Value) -> Report {
        validate(rule)
    }

    /// Validates and compiles a rule, and looks for its group.
    pub(crate) fn compile(&self, rule: Object) -> Result<Rule, RulesError> {
        let rule = Rule::compile(rule).map_err(RulesError::Validation)?;
        match &rule.group {
            Some(group) if !self.registry.groups.contains_key(group) => {
                Err(RulesError::UnknownGroup(group.clone()))
            }
            _ => Ok(rule),
        }
    }

    fn set_enabled(&mut self, now_ms: u64, id: &str, enabled: bool) -> Result<(), RulesError> {
        self.begin(now_ms)?;
        let entry = self.entry(id)?;
        let (facts, deadlines) = (&mut self.facts, &mut self.deadlines);
        self.registry.set_enabled(&entry, enabled, self.clock_ms, facts, deadlines);
        let change = if enabled { ChangeType::Enabled } else { ChangeType::Disabled };
        let entry = self.entry(id)?;
        self.recorded(&entry, change);
        Ok(())
    }

    fn entry(&self, id: &str) -> Result<Arc<Entry>, RulesError> {
        self.registry.get(id).cloned().ok_or_else(|| RulesError::NotFound(id.into()))
    }
}

/// Timers and figures.
impl Engine {
    /// Finds an active timer by its name.
    #[must_use]
    pub fn timer(&self, name: &str) -> Option<&Timer> {
        self.timers.get(name)
    }

    /// Removes a timer. Tells whether there was one.
    pub fn cancel_timer(&mut self, name: &str) -> bool {
        self.remove_timer(name)
    }

    /// Removes a timer for the host or a rule.
    pub(crate) fn remove_timer(&mut self, name: &str) -> bool {
        let before = self.timer_to_note(name);
        let removed = self.timers.cancel(name, &mut self.deadlines);
        self.note_timer(name, before);
        removed
    }

    /// Gives the open instances and groups of a temporal rule.
    #[must_use]
    pub fn temporal_open(&self, rule: &str) -> usize {
        self.registry.get(rule).map_or(0, |entry| self.registry.temporal.open_of(entry.key))
    }

    /// Gives the engine's figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        #[expect(clippy::cast_precision_loss, reason = "a mean needs no more")]
        let avg_processing_time_ms = match self.counts.rules_executed {
            0 => 0.0,
            executed => self.processing_us as f64 / 1000.0 / executed as f64,
        };
        Stats {
            rules_count: self.registry.len(),
            facts_count: self.facts.len(),
            timers_count: self.timers.len(),
            avg_processing_time_ms,
            subscriptions_count: self.subscriptions.len(),
            history_count: self.history.len(),
            history_evicted: self.history.evicted(),
            temporal_open: self.registry.temporal.open(),
            temporal_bytes: self.registry.temporal.bytes(),
            temporal_evicted: self.registry.temporal.evicted(),
            timers_coalesced: self.timers.coalesced(),
            versioning: self.versions.stats(),
            ..self.counts.clone()
        }
    }
}

/// Deliveries of an event that a rule has emitted, for one unit of work.
const DELIVERIES_PER_UNIT: usize = 4;

/// Appends a number to the base of 36, with leading zeros up to a width.
fn push_base36(out: &mut CompactString, number: u64, width: usize) {
    let mut digits = [b'0'; 13];
    let (mut rest, mut used) = (number, 0);
    for slot in digits.iter_mut().rev() {
        if rest == 0 && used >= width {
            break;
        }
        let digit = u8::try_from(rest % 36).unwrap_or(0);
        *slot = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
        rest /= 36;
        used += 1;
    }
    digits.iter().skip(digits.len() - used).for_each(|digit| out.push(char::from(*digit)));
}
