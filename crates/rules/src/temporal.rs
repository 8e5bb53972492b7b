//! Temporal rules: what is known of patterns that extend over several events.
//!
//! Input: events, in the order in which the engine processes them, and deadlines that have come. Output: detections,
//! which the engine turns into activations. State exists only where a pattern is under way: an event touches the
//! rules that mention its topic, and strict sequences.
//! Source: the rule engine's description, 2.14.

mod absence;
mod load;
mod samples;
mod sequence;
mod table;
mod total;
mod window;

pub use load::TemporalLimits;

use crate::{
    Aggregation, EntryId, Matcher, Path, Pattern, PatternTrie, Temporal, TemporalKind, deadlines::Deadlines,
    engine::Due, event::Event, registry::RuleKey,
};
use absence::Absence;
use load::Load;
use noex_json::{CompactString, Value, text_form};
use sequence::Sequence;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use table::Context;
use window::{Test, Windows};

/// What a detection passes on to the events it causes.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    pub(crate) correlation_id: Option<CompactString>,
    pub(crate) event_id: CompactString,
}

impl Cause {
    fn of(event: &Event) -> Self {
        Self { correlation_id: event.correlation_id.clone(), event_id: event.id.clone() }
    }
}

/// What kind of pattern was found, with its figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    Sequence,
    Absence,
    Count(f64),
    Aggregate { value: f64, count: f64 },
}

/// A pattern that was found.
#[derive(Clone, Debug)]
pub(crate) struct Detection {
    pub(crate) group: Option<Arc<str>>,
    /// The matched events, oldest first; of many, the newest.
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) outcome: Outcome,
    pub(crate) cause: Cause,
}

impl Detection {
    fn new(group: Option<Arc<str>>, events: Vec<Arc<Event>>, outcome: Outcome, last: &Event) -> Self {
        Self { group, events, outcome, cause: Cause::of(last) }
    }
}

/// The temporal rules of an engine that are active, with their state.
#[derive(Debug)]
pub(crate) struct TemporalRules {
    rules: BTreeMap<RuleKey, Tracked>,
    topics: PatternTrie<(RuleKey, usize)>,
    /// Strict sequences with open instances: any event can end one.
    strict: BTreeSet<RuleKey>,
    load: Load,
}

#[derive(Debug)]
struct Tracked {
    pattern: Arc<Temporal>,
    entries: Vec<(Pattern, EntryId)>,
    machine: Machine,
}

#[derive(Debug)]
enum Machine {
    Sequence(Sequence),
    Absence(Absence),
    Windows(Windows, Option<Path>),
}

impl TemporalRules {
    pub(crate) fn new(limits: TemporalLimits) -> Self {
        Self {
            rules: BTreeMap::new(),
            topics: PatternTrie::new(),
            strict: BTreeSet::new(),
            load: Load::new(limits),
        }
    }

    /// Starts to track a rule, without any state.
    pub(crate) fn add(&mut self, key: RuleKey, pattern: &Arc<Temporal>) {
        let mut entries = Vec::new();
        for (index, matcher) in matchers(pattern).enumerate() {
            entries.push((matcher.topic.clone(), self.topics.insert(&matcher.topic, (key, index))));
        }
        let tracked = Tracked { pattern: Arc::clone(pattern), entries, machine: Machine::of(pattern) };
        self.rules.insert(key, tracked);
    }

    /// Stops to track a rule and discards its state.
    pub(crate) fn remove(&mut self, key: RuleKey, deadlines: &mut Deadlines<Due>) {
        let Some(mut tracked) = self.rules.remove(&key) else { return };
        for (pattern, id) in &tracked.entries {
            self.topics.remove(pattern, *id);
        }
        self.strict.remove(&key);
        tracked.machine.clear(deadlines);
    }

    /// Takes an event. Gives what it completed, rule by rule in order of registration, and how many rules it touched.
    pub(crate) fn feed(
        &mut self,
        event: &Arc<Event>,
        deadlines: &mut Deadlines<Due>,
        sequence: &mut u64,
    ) -> (Vec<(RuleKey, Detection)>, usize) {
        if self.rules.is_empty() {
            return (Vec::new(), 0);
        }
        let mut touched: BTreeMap<RuleKey, Vec<usize>> =
            self.strict.iter().map(|key| (*key, Vec::new())).collect();
        for (key, index) in self.topics.matches(&event.topic) {
            touched.entry(*key).or_default().push(*index);
        }
        let mut out = Vec::new();
        let count = touched.len();
        for (key, mut matched) in touched {
            let Some(tracked) = self.rules.get_mut(&key) else { continue };
            matched.sort_unstable();
            let mut cx = Context { rule: key, deadlines, sequence, load: &mut self.load };
            let mut found = Vec::new();
            tracked.feed(&mut cx, event, matched, &mut found);
            note_strict(&mut self.strict, key, tracked);
            out.extend(found.into_iter().map(|detection| (key, detection)));
        }
        (out, count)
    }

    /// A deadline of an instance has come.
    pub(crate) fn due(
        &mut self,
        key: RuleKey,
        instance: u64,
        deadlines: &mut Deadlines<Due>,
    ) -> Option<Detection> {
        let tracked = self.rules.get_mut(&key)?;
        let found = match &mut tracked.machine {
            Machine::Sequence(sequence) => {
                sequence.due(deadlines, instance);
                None
            }
            Machine::Absence(absence) => absence.due(deadlines, instance),
            Machine::Windows(windows, _) => windows.due(deadlines, instance),
        };
        note_strict(&mut self.strict, key, tracked);
        found
    }

    /// Open instances and groups of one rule.
    pub(crate) fn open_of(&self, key: RuleKey) -> usize {
        self.rules.get(&key).map_or(0, |tracked| tracked.machine.len())
    }

    /// Open instances and groups of all rules.
    pub(crate) fn open(&self) -> usize {
        self.load.instances.used()
    }

    /// Estimated memory of the events kept.
    pub(crate) fn bytes(&self) -> usize {
        self.load.bytes.used()
    }

    /// How often something was dropped to stay within the bounds.
    pub(crate) fn evicted(&self) -> u64 {
        self.load.evicted
    }
}

impl Tracked {
    fn feed(
        &mut self,
        cx: &mut Context<'_>,
        event: &Arc<Event>,
        mut matched: Vec<usize>,
        out: &mut Vec<Detection>,
    ) {
        let pattern = Arc::clone(&self.pattern);
        matched.retain(|at| matchers(&pattern).nth(*at).is_some_and(|it| it.accepts_data(&event.data)));
        let group = match &self.pattern.group_by {
            None => None,
            Some(path) => match path.get_data(&event.data) {
                Some(value) if !value.is_null() => Some(Arc::from(text_of(&value))),
                _ => return,
            },
        };
        match &mut self.machine {
            Machine::Sequence(sequence) => sequence.feed(cx, event, &matched, &group, out),
            Machine::Absence(absence) => absence.feed(cx, event, &matched, &group),
            Machine::Windows(windows, field) => {
                if !matched.is_empty() {
                    let number = field.as_ref().and_then(|path| path.get_data(&event.data)?.as_number());
                    windows.feed(cx, event, number, &group, out);
                }
            }
        }
    }
}

impl Machine {
    fn of(pattern: &Temporal) -> Self {
        let grouped = pattern.group_by.is_some();
        match &pattern.kind {
            TemporalKind::Sequence { steps, within_ms, strict } => {
                Self::Sequence(Sequence::new(steps.len(), *within_ms, grouped, *strict))
            }
            TemporalKind::Absence { within_ms, .. } => Self::Absence(Absence::new(*within_ms)),
            TemporalKind::Count { threshold, comparison, window_ms, sliding, .. } => {
                let test = Test { function: None, comparison: *comparison, threshold: *threshold };
                Self::Windows(Windows::new(*window_ms, *sliding, test), None)
            }
            TemporalKind::Aggregate {
                field, function, threshold, comparison, window_ms, sliding, ..
            } => {
                let test = Test { function: Some(*function), comparison: *comparison, threshold: *threshold };
                let field = (*function != Aggregation::Count).then(|| field.clone());
                Self::Windows(Windows::new(*window_ms, *sliding, test), field)
            }
        }
    }

    /// Open instances and groups.
    fn len(&self) -> usize {
        match self {
            Self::Sequence(sequence) => sequence.len(),
            Self::Absence(absence) => absence.len(),
            Self::Windows(windows, _) => windows.len(),
        }
    }

    fn clear(&mut self, deadlines: &mut Deadlines<Due>) {
        match self {
            Self::Sequence(sequence) => sequence.clear(deadlines),
            Self::Absence(absence) => absence.clear(deadlines),
            Self::Windows(windows, _) => windows.clear(deadlines),
        }
    }
}

/// Keeps the set of strict sequences with open instances up to date.
fn note_strict(strict: &mut BTreeSet<RuleKey>, key: RuleKey, tracked: &Tracked) {
    if matches!(tracked.pattern.kind, TemporalKind::Sequence { strict: true, .. }) {
        if tracked.machine.len() > 0 {
            strict.insert(key);
        } else {
            strict.remove(&key);
        }
    }
}

/// The matchers of a pattern; their places are how state refers to them.
pub(crate) fn matchers(pattern: &Temporal) -> impl Iterator<Item = &Matcher> {
    let (many, one, two): (&[Matcher], Option<&Matcher>, Option<&Matcher>) = match &pattern.kind {
        TemporalKind::Sequence { steps, .. } => (steps, None, None),
        TemporalKind::Absence { after, expected, .. } => (&[], Some(after), Some(expected)),
        TemporalKind::Count { event, .. } | TemporalKind::Aggregate { event, .. } => (&[], Some(event), None),
    };
    many.iter().chain(one).chain(two)
}

/// The text by which groups are told apart.
fn text_of(value: &Value) -> String {
    if value.as_object().is_some() { value.to_json() } else { text_form(Some(value)) }
}
