//! Evaluation: from an occurrence to the rules it triggers, one after the other, each with all it causes.
//!
//! Depth-first: what an action causes is complete before the next action. Depth belongs to a chain; the budget belongs
//! to the input. Recursion is bounded by levels, whatever rules and settings say.
//! Source: the rule engine's description, 2.12 to 2.14.

use crate::{
    Condition, LogLevel, OnLookupError, ResolveError, Trigger,
    actions::Activation,
    engine::Engine,
    event::{Event, Origin},
    facts::Fact,
    index::Bucket,
    occurrence::{ChangeKind, Occurrence, View},
    options::EngineOptions,
    output::Output,
    registry::{Entry, RuleKey},
    temporal::Detection,
};
use noex_json::{CompactString, Value};
use std::sync::Arc;

/// What is left of an input's budget, and what it has used up.
#[derive(Debug, Default)]
pub(crate) struct Run {
    activations: usize,
    work: usize,
    work_max: usize,
    reports: usize,
    suppressed: u64,
    /// Nested passes and action lists at this moment.
    level: usize,
    /// Whether the budget of activations or of work was used up.
    exceeded: bool,
    depth_reported: bool,
}

impl Run {
    pub(crate) fn new(options: &EngineOptions) -> Self {
        Self {
            activations: options.activations_per_input_max,
            work: options.work_per_input_max,
            work_max: options.work_per_input_max,
            reports: options.reports_per_input_max,
            ..Self::default()
        }
    }

    /// Takes units of work from the budget.
    pub(crate) fn spend(&mut self, units: usize) {
        self.work = self.work.saturating_sub(units);
    }

    /// Tells whether no work is left; then everything under way ends without doing more.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.work == 0
    }

    pub(crate) fn work_left(&self) -> usize {
        self.work
    }

    pub(crate) fn work_done(&self) -> usize {
        self.work_max - self.work
    }

    /// Enters a nested pass or list; `false` = too deep.
    pub(crate) fn enter(&mut self, levels: usize) -> bool {
        if self.level + levels > LEVELS_MAX {
            return false;
        }
        self.level += levels;
        true
    }

    pub(crate) fn leave(&mut self, levels: usize) {
        self.level -= levels;
    }
}

impl Engine {
    /// Processes an event: history, subscribers, ordinary rules, temporal rules.
    pub(crate) fn process_event(&mut self, event: &Arc<Event>, depth: usize) {
        let bytes = event.bytes();
        self.counts.events_processed += 1;
        self.history.push(Arc::clone(event), bytes);
        self.deliver(event);
        // State takes the event before any rule can emit another one, so that it sees events in their order.
        let (found, touched) = self.registry.temporal.feed(event, &mut self.deadlines, &mut self.sequence);
        self.run.spend(touched);
        if !self.may_chain(depth) {
            return;
        }
        let buckets = self.registry.events.matching(&event.topic);
        if !buckets.is_empty() {
            let occurrence = Occurrence::event(Arc::clone(event), bytes);
            let rules = candidates(buckets, &occurrence, &self.facts);
            self.pass(rules, &occurrence, depth);
        }
        self.detected(found, depth);
    }

    /// Triggers fact rules.
    pub(crate) fn process_change(
        &mut self,
        kind: ChangeKind,
        fact: &Fact,
        before: Option<&Fact>,
        depth: usize,
        cause: Option<&Occurrence>,
    ) {
        let buckets = self.registry.facts.matching(&fact.key);
        // A chain that ends here is cut only if there is something to cut.
        if buckets.is_empty() {
            return;
        }
        if depth >= self.options.depth_max {
            self.may_chain(depth);
            return;
        }
        let occurrence = Occurrence::fact(kind, fact, before, cause);
        self.run.spend(occurrence.built_units());
        let mut rules = candidates(buckets, &occurrence, &self.facts);
        rules.retain(|entry| match &entry.rule.trigger {
            Trigger::Fact { on, .. } => match kind {
                ChangeKind::Created => on.created,
                ChangeKind::Updated => on.updated,
                ChangeKind::Deleted => on.deleted,
            },
            Trigger::Event(_) | Trigger::Timer(_) | Trigger::Temporal(_) => false,
        });
        self.pass(rules, &occurrence, depth);
    }

    /// Fires a timer: first its rules, then its event.
    pub(crate) fn timer_due(&mut self, name: &str, host_ms: u64) {
        let before = self.timer_to_note(name);
        let Some(timer) = self.timers.fire(name, host_ms, &mut self.deadlines) else { return };
        self.note_timer(name, before);
        let buckets = self.registry.timers.matching(&timer.name);
        if !buckets.is_empty() && self.options.depth_max > 0 {
            let occurrence = Occurrence::timer(&timer);
            self.run.spend(occurrence.built_units());
            let rules = candidates(buckets, &occurrence, &self.facts);
            self.pass(rules, &occurrence, 0);
        }
        let event = Arc::new(Event {
            id: self.new_id(),
            topic: timer.topic,
            data: timer.data,
            timestamp: self.clock_ms,
            correlation_id: timer.correlation_id,
            causation_id: Some(timer.id),
            source: Origin::Timer,
        });
        self.process_event(&event, 0);
    }

    /// The deadline of a temporal rule's instance, or the end of its window.
    pub(crate) fn temporal_due(&mut self, rule: RuleKey, instance: u64) {
        if let Some(found) = self.registry.temporal.due(rule, instance, &mut self.deadlines)
            && self.may_chain(0)
        {
            self.detected(vec![(rule, found)], 0);
        }
    }

    /// Runs the temporal rules whose pattern was found, in the order of rules.
    fn detected(&mut self, found: Vec<(RuleKey, Detection)>, depth: usize) {
        let mut found: Vec<(Arc<Entry>, Detection)> = found
            .into_iter()
            .filter_map(|(key, detection)| Some((Arc::clone(self.registry.by_key(key)?), detection)))
            .collect();
        found.sort_by(|(left, _), (right, _)| left.rank(right));
        for (entry, detection) in found {
            let Trigger::Temporal(pattern) = &entry.rule.trigger else { continue };
            // The events may be many and large; they are paid for before they are copied.
            let events = if entry.sees_events { detection.events.as_slice() } else { &[] };
            self.run.spend(events.iter().map(|event| event.bytes()).sum::<usize>() / BYTES_PER_UNIT);
            if self.run.is_exhausted() {
                self.run.exceeded = true;
                return;
            }
            let match_id = self.new_id();
            let occurrence = Occurrence::temporal(detection, pattern, match_id, entry.sees_events);
            self.pass(vec![Arc::clone(&entry)], &occurrence, depth);
        }
    }

    /// Runs rules in order; the list is fixed from here on.
    fn pass(&mut self, rules: Vec<Arc<Entry>>, occurrence: &Occurrence, depth: usize) {
        if rules.is_empty() {
            return;
        }
        if !self.run.enter(PASS_LEVELS) {
            self.report_depth(depth);
            return;
        }
        for entry in &rules {
            if self.run.is_exhausted() || self.run.activations == 0 {
                self.run.exceeded = true;
                break;
            }
            self.consider(entry, occurrence, depth);
        }
        self.run.leave(PASS_LEVELS);
    }

    /// Evaluates a rule whose turn has come, and runs its actions if its conditions hold.
    fn consider(&mut self, entry: &Entry, occurrence: &Occurrence, depth: usize) {
        self.run.spend(1 + entry.rule.conditions.len().saturating_mul(occurrence.weight));
        let started_us = self.stopwatch.as_mut().map(|stopwatch| stopwatch.elapsed_us());
        let mut activation = Activation::new(entry, occurrence, depth);
        if !entry.rule.lookups.is_empty() && !self.look_up(&mut activation) {
            return;
        }
        match Condition::all_hold(&entry.rule.conditions, &self.view(&activation)) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                self.counts.rules_failed += 1;
                self.report(failed(entry, shorten(&error.to_string())));
                return;
            }
        }
        self.run.activations -= 1;
        self.run_actions(&entry.rule.actions, &mut activation);
        if self.run.is_exhausted() {
            self.run.exceeded = true;
            return;
        }
        self.counts.rules_executed += 1;
        if let (Some(started_us), Some(stopwatch)) = (started_us, &mut self.stopwatch) {
            self.processing_us += stopwatch.elapsed_us().saturating_sub(started_us);
        }
    }

    /// Resolves a rule's lookups. `false` = the rule does not run.
    fn look_up(&mut self, activation: &mut Activation<'_>) -> bool {
        let entry = activation.entry;
        for lookup in entry.rule.lookups.iter() {
            self.run.spend(1);
            let args: Result<Vec<Value>, ResolveError> = {
                let view = self.view(activation);
                lookup.args.iter().map(|arg| arg.resolve_or_null(&view)).collect()
            };
            let (service, method) = (&lookup.service, &lookup.method);
            let result = match args {
                Ok(args) => self
                    .services
                    .look_up(service, method, &args, lookup.ttl_ms, self.clock_ms)
                    .map_err(|error| error.of_lookup(&lookup.name, service, method)),
                Err(error) => Err(format!("Lookup \"{}\" failed: {error}", lookup.name)),
            };
            match (result, lookup.on_error) {
                (Ok(value), _) => activation.lookups.push((lookup.name.clone(), value)),
                (Err(_), OnLookupError::Skip) => {
                    self.counts.rules_skipped += 1;
                    return false;
                }
                (Err(message), OnLookupError::Fail) => {
                    self.counts.rules_failed += 1;
                    self.report(failed(entry, shorten(&message)));
                    return false;
                }
            }
        }
        true
    }

    pub(crate) fn view<'a>(&'a self, activation: &'a Activation<'_>) -> View<'a> {
        View {
            facts: &self.facts,
            occurrence: activation.occurrence,
            pattern: activation.entry.pattern(),
            variables: &activation.variables,
            lookups: &activation.lookups,
        }
    }

    /// Tells whether rules may still be triggered at a depth.
    fn may_chain(&mut self, depth: usize) -> bool {
        if depth < self.options.depth_max {
            return true;
        }
        self.report_depth(depth);
        false
    }

    fn report_depth(&mut self, depth: usize) {
        self.counts.depth_limit_hits += 1;
        if !std::mem::replace(&mut self.run.depth_reported, true) {
            let message = format!("A chain of rules was cut at depth {depth}");
            self.report(Output::Log { level: LogLevel::Warn, message, rule: None });
        }
    }

    /// Hands a log line or failure to the host, within the bounds of an input.
    pub(crate) fn report(&mut self, output: Output) {
        if self.run.reports == 0 {
            self.run.suppressed += 1;
            return;
        }
        self.run.reports -= 1;
        self.outputs.push(output);
    }

    /// Ends an input: tells what it had to leave undone.
    pub(crate) fn finish_input(&mut self) {
        let suppressed = std::mem::take(&mut self.run.suppressed);
        self.counts.reports_suppressed += suppressed;
        if suppressed > 0 {
            let message = format!("{suppressed} more log lines and failures of one input are not shown");
            self.outputs.push(Output::Log { level: LogLevel::Warn, message, rule: None });
        }
        if self.run.exceeded {
            self.counts.work_budget_exceeded += 1;
            let message =
                "The work budget of one input was exceeded; the rest of its consequences was dropped";
            self.outputs.push(Output::Log { level: LogLevel::Warn, message: message.into(), rule: None });
        }
    }
}

/// Gives the rules of some buckets that an occurrence does not exclude, in the order of rules.
fn candidates(
    buckets: Vec<&Bucket>,
    occurrence: &Occurrence,
    facts: &crate::facts::Facts,
) -> Vec<Arc<Entry>> {
    let mut rules = Vec::new();
    for bucket in buckets {
        let pattern = Some(&bucket.pattern);
        bucket.collect(&View { facts, occurrence, pattern, variables: &[], lookups: &[] }, &mut rules);
    }
    rules.sort_unstable_by(|left, right| left.rank(right));
    rules
}

fn failed(entry: &Entry, message: &str) -> Output {
    let id: &CompactString = &entry.rule.id;
    Output::Log {
        level: LogLevel::Error,
        message: format!(
            "Error executing rule \"{}\" ({}): {message}",
            shorten(&entry.rule.name),
            shorten(id)
        ),
        rule: Some(shorten(id).into()),
    }
}

/// Cuts a text that is reported to a bearable length.
pub(crate) fn shorten(text: &str) -> &str {
    text.get(..text.floor_char_boundary(REPORTED_BYTES_MAX)).unwrap_or_default()
}

/// Bytes of a message or name in a report; they come from rules and may be of any length.
const REPORTED_BYTES_MAX: usize = 2000;

/// Bytes of produced values for one unit of work.
pub(crate) const BYTES_PER_UNIT: usize = 64;

/// Nested passes and action lists of one input: enough for ten passes with actions nested as deep as they may be. What is
/// beyond fails as an action or is cut as too deep.
const LEVELS_MAX: usize = 400;
/// Levels of a pass, by the stack that it takes.
const PASS_LEVELS: usize = 4;
/// Levels of a list of actions.
pub(crate) const LIST_LEVELS: usize = 1;
