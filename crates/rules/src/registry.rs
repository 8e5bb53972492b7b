//! The registered rules: by id, in order of registration, and by what triggers them.
//!
//! Invariant: exactly the active rules are in the indexes: those that are enabled, in a group that is, if in any.
//! Source: the rule engine's description, 2.7 and 2.12.

use crate::{
    Action, Condition, FactSource, Pattern, Rule, Source, Trigger,
    deadlines::Deadlines,
    engine::Due,
    event::time_value,
    facts::Facts,
    groups::Groups,
    index::TriggerIndex,
    temporal::{TemporalLimits, TemporalRules, matchers},
};
use foldhash::{HashMap, HashMapExt};
use noex_json::{CompactString, Object, Value};
use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

/// Identifies a registered rule; ascends with the order of registration and survives updates.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct RuleKey(u64);

/// A registered rule. Immutable: a change replaces it, so a running pass keeps what it began with.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: RuleKey,
    pub(crate) rule: Rule,
    pub(crate) version: u64,
    pub(crate) created_at: u64,
    pub(crate) updated_at: u64,
    /// Whether the rule may fire: it is enabled, and its group too.
    active: bool,
    /// Whether the trigger has no wildcard.
    exact: bool,
    /// Whether something in the rule may look at all the events of a temporal match.
    pub(crate) sees_events: bool,
}

impl Entry {
    fn new(key: RuleKey, rule: Rule, version: u64, created_at: u64, updated_at: u64) -> Self {
        let exact = match &rule.trigger {
            Trigger::Event(pattern) | Trigger::Fact { pattern, .. } | Trigger::Timer(pattern) => {
                pattern.is_exact()
            }
            Trigger::Temporal(temporal) => matchers(temporal).all(|matcher| matcher.topic.is_exact()),
        };
        let sees_events = matches!(rule.trigger, Trigger::Temporal(_)) && sees_events(rule.source());
        Self { key, rule, version, created_at, updated_at, active: false, exact, sees_events }
    }

    /// Tells whether the rule may fire: it is enabled, and its group too.
    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    /// Gives the pattern of the trigger, if it is a single one.
    pub(crate) fn pattern(&self) -> Option<&Pattern> {
        match &self.rule.trigger {
            Trigger::Event(pattern) | Trigger::Fact { pattern, .. } | Trigger::Timer(pattern) => {
                Some(pattern)
            }
            Trigger::Temporal(_) => None,
        }
    }

    /// The order of rules within a pass: priority, then exact triggers, then registration.
    pub(crate) fn rank(&self, other: &Self) -> Ordering {
        // Adding 0 makes -0 and 0 the same.
        let priority = (other.rule.priority + 0.0).total_cmp(&(self.rule.priority + 0.0));
        priority.then(other.exact.cmp(&self.exact)).then(self.key.cmp(&other.key))
    }

    /// Gives the rule as clients see it.
    pub(crate) fn to_value(&self) -> Value {
        let mut object = self.rule.source().clone();
        object.set("version", time_value(self.version));
        object.set("createdAt", time_value(self.created_at));
        object.set("updatedAt", time_value(self.updated_at));
        Value::from(object)
    }

    /// Gives the rule's line in the list of rules.
    fn to_listed_value(&self) -> Value {
        let rule = &self.rule;
        let mut object = Object::new();
        object.set("id", rule.id.clone());
        object.set("name", rule.name.clone());
        object.set("enabled", rule.enabled);
        object.set("priority", rule.priority);
        object.set("version", time_value(self.version));
        object.set("tags", rule.tags.iter().map(|tag| Value::String(tag.clone())).collect::<Vec<_>>());
        if let Some(group) = &rule.group {
            object.set("group", group.clone());
        }
        Value::from(object)
    }
}

/// Everything that follows from the registered rules.
#[derive(Debug)]
pub(crate) struct Registry {
    by_id: HashMap<CompactString, RuleKey>,
    entries: BTreeMap<RuleKey, Arc<Entry>>,
    pub(crate) groups: Groups,
    registrations: u64,
    versions: u64,
    pub(crate) events: TriggerIndex,
    pub(crate) facts: TriggerIndex,
    pub(crate) timers: TriggerIndex,
    pub(crate) temporal: TemporalRules,
}

impl Registry {
    pub(crate) fn new(limits: TemporalLimits) -> Self {
        Self {
            by_id: HashMap::new(),
            entries: BTreeMap::new(),
            groups: Groups::new(),
            registrations: 0,
            versions: 0,
            events: TriggerIndex::default(),
            facts: TriggerIndex::default(),
            timers: TriggerIndex::default(),
            temporal: TemporalRules::new(limits),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Arc<Entry>> {
        self.entries.get(self.by_id.get(id)?)
    }

    pub(crate) fn by_key(&self, key: RuleKey) -> Option<&Arc<Entry>> {
        self.entries.get(&key)
    }

    /// Gives all rules in order of registration.
    pub(crate) fn entries(&self) -> impl ExactSizeIterator<Item = &Arc<Entry>> {
        self.entries.values()
    }

    /// Gives `{ "rules": [..] }`, in order of registration.
    pub(crate) fn to_value(&self) -> Value {
        let mut object = Object::new();
        object.set("rules", self.entries.values().map(|entry| entry.to_listed_value()).collect::<Vec<_>>());
        Value::from(object)
    }

    /// Adds a rule whose id is not taken.
    pub(crate) fn register(&mut self, rule: Rule, now_ms: u64, facts: &mut Facts) -> Arc<Entry> {
        self.registrations += 1;
        self.versions += 1;
        let key = RuleKey(self.registrations);
        let mut entry = Entry::new(key, rule, self.versions, now_ms, now_ms);
        entry.active = self.may_fire(&entry);
        let entry = Arc::new(entry);
        self.insert(&entry, facts);
        entry
    }

    /// Replaces a rule; it keeps its place and the time of its creation.
    pub(crate) fn update(
        &mut self,
        before: &Arc<Entry>,
        rule: Rule,
        now_ms: u64,
        facts: &mut Facts,
        deadlines: &mut Deadlines<Due>,
    ) -> Arc<Entry> {
        self.versions += 1;
        let mut entry = Entry::new(before.key, rule, self.versions, before.created_at, now_ms);
        entry.active = self.may_fire(&entry);
        let entry = Arc::new(entry);
        self.replace(before, &entry, facts, deadlines);
        entry
    }

    /// Lists the rules of a group in order of registration.
    pub(crate) fn entries_of<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a Arc<Entry>> {
        self.entries.values().filter(move |entry| entry.rule.group.as_deref() == Some(group))
    }

    fn may_fire(&self, entry: &Entry) -> bool {
        entry.rule.enabled && self.group_enabled(entry.rule.group.as_ref())
    }

    /// Sets `enabled`; nothing else of the rule changes but the time of its last change.
    pub(crate) fn set_enabled(
        &mut self,
        before: &Arc<Entry>,
        enabled: bool,
        now_ms: u64,
        facts: &mut Facts,
        deadlines: &mut Deadlines<Due>,
    ) {
        let mut entry = Entry::clone(before);
        entry.updated_at = now_ms;
        entry.rule.set_enabled(enabled);
        self.put(before, entry, facts, deadlines);
    }

    /// Puts a changed entry in the place of a rule whose trigger, conditions and actions are the same.
    pub(crate) fn put(
        &mut self,
        before: &Arc<Entry>,
        mut entry: Entry,
        facts: &mut Facts,
        deadlines: &mut Deadlines<Due>,
    ) {
        entry.active = self.may_fire(&entry);
        let entry = Arc::new(entry);
        if entry.active != before.active {
            self.replace(before, &entry, facts, deadlines);
            return;
        }
        // The indexes and the state of a temporal pattern stay as they are, but for the entry they hold.
        if entry.active {
            self.reindex(before, &entry);
        }
        self.entries.insert(entry.key, entry);
    }

    /// Removes a rule and the state of its temporal pattern.
    pub(crate) fn unregister(
        &mut self,
        entry: &Arc<Entry>,
        facts: &mut Facts,
        deadlines: &mut Deadlines<Due>,
    ) {
        self.deactivate(entry, facts, deadlines);
        self.entries.remove(&entry.key);
        self.by_id.remove(&entry.rule.id);
    }

    /// Adds a rule of an earlier run, whose id is not taken, behind all others.
    pub(crate) fn restore(
        &mut self,
        rule: Rule,
        version: u64,
        (created_at, updated_at): (u64, u64),
        facts: &mut Facts,
    ) {
        self.registrations += 1;
        self.versions = self.versions.max(version);
        let mut entry = Entry::new(RuleKey(self.registrations), rule, version, created_at, updated_at);
        entry.active = self.may_fire(&entry);
        self.insert(&Arc::new(entry), facts);
    }

    fn insert(&mut self, entry: &Arc<Entry>, facts: &mut Facts) {
        self.by_id.insert(entry.rule.id.clone(), entry.key);
        self.activate(entry, facts);
        self.entries.insert(entry.key, Arc::clone(entry));
    }

    /// Puts a rule, or none, where another one, or none, is now.
    pub(crate) fn put_back(
        &mut self,
        id: &str,
        entry: Option<&Arc<Entry>>,
        facts: &mut Facts,
        deadlines: &mut Deadlines<Due>,
    ) {
        if let Some(now) = self.get(id).cloned() {
            self.unregister(&now, facts, deadlines);
        }
        if let Some(entry) = entry {
            self.insert(entry, facts);
        }
    }

    fn replace(
        &mut self,
        before: &Arc<Entry>,
        entry: &Arc<Entry>,
        facts: &mut Facts,
        deadlines: &mut Deadlines<Due>,
    ) {
        self.deactivate(before, facts, deadlines);
        self.activate(entry, facts);
        self.entries.insert(entry.key, Arc::clone(entry));
    }

    fn activate(&mut self, entry: &Arc<Entry>, facts: &mut Facts) {
        if !entry.active {
            return;
        }
        match &entry.rule.trigger {
            Trigger::Event(pattern) => self.events.add(pattern, entry),
            Trigger::Fact { pattern, .. } => self.facts.add(pattern, entry),
            Trigger::Timer(pattern) => self.timers.add(pattern, entry),
            Trigger::Temporal(temporal) => self.temporal.add(entry.key, temporal),
        }
        for_each_fact_pattern(&entry.rule, |pattern| facts.watch(pattern));
    }

    fn deactivate(&mut self, entry: &Arc<Entry>, facts: &mut Facts, deadlines: &mut Deadlines<Due>) {
        if !entry.active {
            return;
        }
        match &entry.rule.trigger {
            Trigger::Event(pattern) => self.events.remove(pattern, entry),
            Trigger::Fact { pattern, .. } => self.facts.remove(pattern, entry),
            Trigger::Timer(pattern) => self.timers.remove(pattern, entry),
            Trigger::Temporal(_) => self.temporal.remove(entry.key, deadlines),
        }
        for_each_fact_pattern(&entry.rule, |pattern| facts.unwatch(pattern));
    }

    fn reindex(&mut self, before: &Arc<Entry>, entry: &Arc<Entry>) {
        let (index, pattern) = match &entry.rule.trigger {
            Trigger::Event(pattern) => (&mut self.events, pattern),
            Trigger::Fact { pattern, .. } => (&mut self.facts, pattern),
            Trigger::Timer(pattern) => (&mut self.timers, pattern),
            Trigger::Temporal(_) => return,
        };
        index.remove(pattern, before);
        index.add(pattern, entry);
    }
}

/// Visits the constant wildcard patterns of all conditions of a rule.
fn for_each_fact_pattern(rule: &Rule, mut visit: impl FnMut(&Pattern)) {
    visit_conditions(&rule.conditions, &mut visit);
    visit_actions(&rule.actions, &mut visit);
}

fn visit_conditions(conditions: &[Condition], visit: &mut impl FnMut(&Pattern)) {
    for condition in conditions {
        if let Source::Fact(FactSource::Pattern(pattern)) = &condition.source {
            visit(pattern);
        }
    }
}

/// Recursion depth is the nesting of actions, which validation bounds.
fn visit_actions(actions: &[Action], visit: &mut impl FnMut(&Pattern)) {
    for action in actions {
        match action {
            Action::Conditional { conditions, then, otherwise } => {
                visit_conditions(conditions, visit);
                visit_actions(then, visit);
                visit_actions(otherwise, visit);
            }
            Action::ForEach { actions, .. } => visit_actions(actions, visit),
            Action::TryCatch { body, catch, finally } => {
                visit_actions(body, visit);
                if let Some(catch) = catch {
                    visit_actions(&catch.actions, visit);
                }
                visit_actions(finally, visit);
            }
            Action::SetFact { .. }
            | Action::DeleteFact { .. }
            | Action::EmitEvent { .. }
            | Action::SetTimer(_)
            | Action::CancelTimer { .. }
            | Action::CallService { .. }
            | Action::Log { .. }
            | Action::Doomed { .. } => {}
        }
    }
}

/// Tells whether a rule may look at the `events` of a temporal match, or at the payload as a whole. Errs on the side
/// of yes.
fn sees_events(rule: &Object) -> bool {
    ["conditions", "actions", "lookups"].into_iter().filter_map(|part| rule.get(part)).any(mentions_events)
}

fn mentions_events(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => {
            const WHOLE: [&str; 4] = ["event", "trigger", "event.data", "trigger.data"];
            let text = text.as_str();
            let mut templates = text.split("${").skip(1).filter_map(|rest| rest.split('}').next());
            text.contains("events")
                || text == "data"
                || WHOLE.contains(&text)
                || templates.any(|reference| WHOLE.contains(&reference))
        }
        Value::Array(items) => items.iter().any(mentions_events),
        Value::Object(object) => object.iter().any(|(name, value)| {
            // The type of a condition's source is not a reference.
            let type_only = name == "type" && value.as_str() == Some("event");
            !type_only && mentions_events(value)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use noex_json::parse;

    #[test]
    fn who_looks_at_events_is_found() {
        let looks = |text: &str| mentions_events(&parse(text, 64).expect("valid"));
        for yes in [
            r#"{"ref":"event.events.0"}"#,
            r#"{"ref":"trigger"}"#,
            r#"["${event}"]"#,
            r#""a ${trigger.data} b""#,
            r#"{"source":{"type":"event","field":"data"}}"#,
            r#"{"source":{"type":"event","field":"data.events.length"}}"#,
        ] {
            assert!(looks(yes), "{yes}");
        }
        for no in [
            r#"{"source":{"type":"event","field":"count"},"operator":"gt","value":1}"#,
            r#"{"ref":"event.groupKey"}"#,
            r#""${event.count} of ${matched.0.id}""#,
        ] {
            assert!(!looks(no), "{no}");
        }
    }
}
