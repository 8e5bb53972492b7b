//! What triggered rules, and what they see of it.
//!
//! Source: the rule engine's description, 2.8 to 2.10.

use crate::{
    Pattern, Scope, Temporal,
    event::{Event, time_value},
    facts::{Fact, Facts},
    size::value_bytes,
    temporal::{Detection, Outcome, matchers},
    timers::Timer,
};
use noex_json::{CompactString, Object, Value};
use std::sync::Arc;

/// How a fact changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ChangeKind {
    Created,
    Updated,
    Deleted,
}

/// One trigger occurrence: shared by all rules that it triggers.
#[derive(Debug)]
pub(crate) struct Occurrence {
    body: Body,
    /// Topic, key or name: what the wildcards of a trigger match against.
    subject: CompactString,
    pub(crate) correlation_id: Option<CompactString>,
    pub(crate) causation_id: Option<CompactString>,
    /// The events of a temporal pattern.
    matched: Vec<Arc<Event>>,
    aliases: Vec<(CompactString, usize)>,
    /// What looking at the payload may cost, in units of the work budget.
    pub(crate) weight: usize,
}

#[derive(Debug)]
enum Body {
    Event(Arc<Event>),
    Built(Value),
}

impl Occurrence {
    pub(crate) fn event(event: Arc<Event>, bytes: usize) -> Self {
        Self {
            subject: CompactString::default(),
            correlation_id: event.correlation_id.clone(),
            causation_id: Some(event.id.clone()),
            matched: Vec::new(),
            aliases: Vec::new(),
            weight: weight(bytes),
            body: Body::Event(event),
        }
    }

    fn built(payload: Value, subject: CompactString) -> Self {
        Self {
            weight: weight(value_bytes(&payload)),
            body: Body::Built(payload),
            subject,
            correlation_id: None,
            causation_id: None,
            matched: Vec::new(),
            aliases: Vec::new(),
        }
    }

    /// A change of a fact; `cause` is what led to the rule that made it, if a rule did.
    pub(crate) fn fact(kind: ChangeKind, fact: &Fact, before: Option<&Fact>, cause: Option<&Self>) -> Self {
        let mut payload = Object::new();
        payload.set("fact", fact.to_value());
        payload.set("key", fact.key.clone());
        if kind != ChangeKind::Deleted {
            payload.set("value", fact.value.clone());
        }
        if let Some(before) = before {
            payload.set("previousValue", before.value.clone());
        }
        payload.set(
            "type",
            match kind {
                ChangeKind::Created => "created",
                ChangeKind::Updated => "updated",
                ChangeKind::Deleted => "deleted",
            },
        );
        let correlation_id = cause.and_then(|cause| cause.correlation_id.clone());
        let causation_id = cause.and_then(|cause| cause.causation_id.clone());
        let built = Self::built(Value::from(payload), fact.key.clone());
        Self { correlation_id, causation_id, ..built }
    }

    pub(crate) fn timer(timer: &Timer) -> Self {
        let built = Self::built(timer.payload(), timer.name.clone());
        Self { correlation_id: timer.correlation_id.clone(), causation_id: Some(timer.id.clone()), ..built }
    }

    /// A temporal pattern that was found. `with_events` = whether the rule looks at `events`, which may be many.
    pub(crate) fn temporal(
        detection: Detection,
        pattern: &Temporal,
        match_id: CompactString,
        with_events: bool,
    ) -> Self {
        let Detection { group, events, outcome, cause } = detection;
        let aliases = aliases(pattern, &outcome, events.len());
        let mut payload = Object::new();
        if let Some(group) = &group {
            payload.set("groupKey", &**group);
        }
        payload.set("matchId", match_id);
        if with_events {
            payload.set("events", events.iter().map(|event| event.data.clone()).collect::<Vec<_>>());
        }
        match outcome {
            Outcome::Sequence => {
                for (alias, index) in &aliases {
                    if let Some(event) = events.get(*index).filter(|_| !payload.contains(alias)) {
                        payload.set(alias.clone(), event.data.clone());
                    }
                }
            }
            Outcome::Absence => {
                if let Some(event) = events.first() {
                    payload.set("after", event.data.clone());
                }
            }
            Outcome::Count(count) => payload.set("count", count),
            Outcome::Aggregate { value, count } => {
                payload.set("value", value);
                payload.set("count", count);
            }
        }
        Self {
            correlation_id: cause.correlation_id,
            causation_id: Some(cause.event_id),
            matched: events,
            aliases,
            ..Self::built(Value::from(payload), CompactString::default())
        }
    }

    /// Gives what building the payload was worth, in units of the work budget.
    pub(crate) fn built_units(&self) -> usize {
        (self.weight - 1) * (BYTES_PER_UNIT / crate::evaluate::BYTES_PER_UNIT)
    }

    /// Gives the text that the trigger's pattern matched.
    fn subject(&self) -> &str {
        match &self.body {
            Body::Event(event) => &event.topic,
            Body::Built(_) => &self.subject,
        }
    }
}

/// Which matched event each alias names. `events` of an absence and of windows are of one matcher; there the alias
/// names the newest.
fn aliases(pattern: &Temporal, outcome: &Outcome, events: usize) -> Vec<(CompactString, usize)> {
    let place = |index: usize| match outcome {
        Outcome::Sequence => Some(index),
        Outcome::Absence => (index == 0).then_some(0),
        Outcome::Count(_) | Outcome::Aggregate { .. } => events.checked_sub(1),
    };
    matchers(pattern)
        .enumerate()
        .filter_map(|(index, matcher)| Some((matcher.alias.clone()?, place(index)?)))
        .collect()
}

fn weight(bytes: usize) -> usize {
    1 + bytes / BYTES_PER_UNIT
}

/// A condition may have to read this much of the payload for one unit of work.
const BYTES_PER_UNIT: usize = 4096;

/// Named values, innermost last.
pub(crate) type Bindings = [(CompactString, Value)];

/// Everything one activation can see.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) occurrence: &'a Occurrence,
    /// The trigger's pattern, for its captures.
    pub(crate) pattern: Option<&'a Pattern>,
    pub(crate) variables: &'a Bindings,
    pub(crate) lookups: &'a Bindings,
}

impl Scope for View<'_> {
    fn payload(&self) -> &Value {
        match &self.occurrence.body {
            Body::Event(event) => &event.data,
            Body::Built(payload) => payload,
        }
    }

    fn envelope(&self, name: &str) -> Option<Value> {
        if name == "$captures" {
            let captures = self.pattern?.captures(self.occurrence.subject())?;
            return Some(Value::Array(captures.into_iter().map(Value::from).collect()));
        }
        let Body::Event(event) = &self.occurrence.body else { return None };
        let text = match name {
            "$id" => &event.id,
            "$topic" => &event.topic,
            "$timestamp" => return Some(time_value(event.timestamp)),
            "$correlationId" => event.correlation_id.as_ref()?,
            "$causationId" => event.causation_id.as_ref()?,
            "$source" => return Some(Value::from(event.source.as_str())),
            _ => return None,
        };
        Some(Value::String(text.clone()))
    }

    fn fact(&self, key: &str) -> Option<&Value> {
        self.facts.get(key).map(|fact| &fact.value)
    }

    fn first_fact(&self, pattern: &Pattern) -> Option<&Value> {
        self.facts.first(pattern).map(|fact| &fact.value)
    }

    fn variable(&self, name: &str) -> Option<&Value> {
        find(self.variables, name)
    }

    fn matched(&self, index: usize) -> Option<&Value> {
        match &self.occurrence.body {
            Body::Event(event) => (index == 0).then_some(&event.data),
            Body::Built(_) => self.occurrence.matched.get(index).map(|event| &event.data),
        }
    }

    fn matched_alias(&self, alias: &str) -> Option<&Value> {
        let (_, index) = self.occurrence.aliases.iter().find(|(name, _)| name == alias)?;
        self.matched(*index)
    }

    fn lookup(&self, name: &str) -> Option<&Value> {
        find(self.lookups, name)
    }
}

fn find<'a>(bindings: &'a Bindings, name: &str) -> Option<&'a Value> {
    bindings.iter().rev().find(|(bound, _)| bound == name).map(|(_, value)| value)
}
