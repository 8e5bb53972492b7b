//! Which rules write which facts and emit which events.
//!
//! A reference in a key or topic may become any text, so such a template counts as one with wildcards.

use super::{Target, Wanted};
use crate::{
    Action, Argument, Pattern, Template,
    evaluate::BYTES_PER_UNIT,
    registry::{Entry, Registry},
    size::value_bytes,
};
use std::collections::BTreeMap;

/// What the active rules bring about.
#[derive(Debug)]
pub(super) struct Producers<'a> {
    /// In the order of rules.
    rules: Vec<&'a Entry>,
    facts: Outlets<'a>,
    events: Outlets<'a>,
}

/// Actions of one kind, by what they name.
#[derive(Debug, Default)]
struct Outlets<'a> {
    exact: BTreeMap<&'a str, Vec<Producer<'a>>>,
    open: Vec<(Vec<&'a str>, Producer<'a>)>,
}

/// An action of a rule.
#[derive(Clone, Copy, Debug)]
struct Producer<'a> {
    /// Index of the rule.
    rule: usize,
    /// The value of a fact.
    value: Option<&'a Argument>,
}

impl<'a> Producers<'a> {
    pub(super) fn new(registry: &'a Registry) -> Self {
        let active = registry.entries().filter(|entry| entry.is_active());
        let mut rules: Vec<&Entry> = active.map(|entry| &**entry).collect();
        rules.sort_unstable_by(|left, right| left.rank(right));
        let mut producers = Self { rules: Vec::new(), facts: Outlets::default(), events: Outlets::default() };
        for (rule, entry) in rules.iter().enumerate() {
            producers.collect(rule, &entry.rule.actions);
        }
        producers.rules = rules;
        producers
    }

    pub(super) fn rule(&self, index: usize) -> Option<&'a Entry> {
        self.rules.get(index).copied()
    }

    /// Recursion depth is the nesting of actions, which validation bounds.
    fn collect(&mut self, rule: usize, actions: &'a [Action]) {
        for action in actions {
            match action {
                Action::SetFact { key, value } => self.facts.add(key, Producer { rule, value: Some(value) }),
                Action::EmitEvent { topic, .. } => self.events.add(topic, Producer { rule, value: None }),
                Action::Conditional { then, otherwise, .. } => {
                    self.collect(rule, then);
                    self.collect(rule, otherwise);
                }
                Action::ForEach { actions, .. } => self.collect(rule, actions),
                Action::TryCatch { body, catch, finally } => {
                    self.collect(rule, body);
                    if let Some(catch) = catch {
                        self.collect(rule, &catch.actions);
                    }
                    self.collect(rule, finally);
                }
                Action::DeleteFact { .. }
                | Action::SetTimer(_)
                | Action::CancelTimer { .. }
                | Action::CallService { .. }
                | Action::Log { .. }
                | Action::Doomed { .. } => {}
            }
        }
    }

    /// Gives the rules that may bring about what is wanted, in their order, and the units of work it took to find
    /// them. Stops when it has taken `work_max`.
    pub(super) fn candidates(&self, wanted: &Wanted, work_max: usize) -> (Vec<usize>, usize) {
        let (mut found, mut work) = (Vec::new(), 0);
        let outlets = match &wanted.target {
            Target::Topic(_) => &self.events,
            Target::Key(_) | Target::Keys(_) => &self.facts,
        };
        for (fits, producer) in outlets.fitting(&wanted.target) {
            work += fits.units;
            if work >= work_max {
                break;
            }
            if !fits.yes {
                continue;
            }
            if let Some(Argument::Literal(value)) = producer.value {
                work += value_bytes(value) / BYTES_PER_UNIT;
                if work >= work_max {
                    break;
                }
                if !wanted.test.accepts(Some(value)) {
                    continue;
                }
            }
            found.push(producer.rule);
        }
        found.sort_unstable();
        found.dedup();
        (found, work)
    }
}

/// Whether a template can become what is wanted, and what finding out has cost.
struct Fits {
    yes: bool,
    units: usize,
}

impl<'a> Outlets<'a> {
    fn add(&mut self, text: &'a Template, producer: Producer<'a>) {
        match text.as_constant() {
            Some(text) => self.exact.entry(text).or_default().push(producer),
            None => self.open.push((text.literals(), producer)),
        }
    }

    /// Gives what may fit a target: first by exact text, then by template.
    fn fitting<'s>(&'s self, target: &'s Target) -> impl Iterator<Item = (Fits, Producer<'a>)> + 's {
        let prefix = match target {
            Target::Topic(text) | Target::Key(text) => text.as_str(),
            Target::Keys(pattern) => pattern.literal_prefix(),
        };
        let exact = self.exact.range(prefix..).take_while(move |(text, _)| match target {
            Target::Topic(_) | Target::Key(_) => **text == prefix,
            Target::Keys(_) => text.starts_with(prefix),
        });
        let exact = exact.flat_map(move |(text, producers)| {
            let yes = match target {
                Target::Topic(_) | Target::Key(_) => true,
                Target::Keys(pattern) => pattern.matches(text),
            };
            let units = 1 + text.len() / BYTES_PER_UNIT;
            producers.iter().map(move |producer| (Fits { yes, units }, *producer))
        });
        let open = self.open.iter().map(move |(literals, producer)| {
            let (yes, length) = match target {
                Target::Topic(text) | Target::Key(text) => (can_be(literals, text), text.len()),
                Target::Keys(pattern) => (can_match(literals, pattern), pattern.text().len()),
            };
            let units = 1 + (length + literals.len()) / BYTES_PER_UNIT;
            (Fits { yes, units }, *producer)
        });
        exact.chain(open)
    }
}

/// Tells whether a text is these literals with any texts between them. Linear, since each is looked for once.
pub(super) fn can_be(literals: &[&str], text: &str) -> bool {
    let [first, inner @ .., last] = literals else { return literals.first() == Some(&text) };
    let Some(rest) = text.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else { return false };
    let mut rest = rest;
    inner.iter().all(|literal| match rest.split_once(literal) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

/// Tells whether some text may both match a pattern with wildcards and be these literals with any texts between them.
/// Errs on the side of yes: what the wildcards themselves ask for is not looked at.
pub(super) fn can_match(literals: &[&str], pattern: &Pattern) -> bool {
    if pattern.is_exact() {
        return can_be(literals, pattern.text());
    }
    let (Some(first), Some(last)) = (literals.first(), literals.last()) else { return false };
    let start = pattern.literal_prefix();
    let end = pattern.text().rsplit('*').next().unwrap_or_default();
    // Both leave the middle open, so that one text can have what is between the ends of both, one after the other.
    let starts = start.starts_with(first) || first.starts_with(start);
    starts && (end.ends_with(last) || last.ends_with(end))
}
