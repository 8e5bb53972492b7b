//! Facts: named values that rules read and write.
//!
//! Keys are found by hash; listings follow the creation sequence; a wildcard pattern costs the keys that share its
//! literal start, and one that a rule's condition uses costs nothing, since the keys it matches are kept at hand.
//! Source: the rule engine's description, 1.4, 2.2, 2.9 and 6.4.

use crate::{
    EntryId, Pattern, PatternTrie,
    error::{LimitKind, RulesError},
    event::{Origin, time_value},
};
use foldhash::{HashMap, HashMapExt};
use noex_json::{CompactString, Object, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

/// A named value, as one write left it.
#[derive(Clone, Debug)]
pub struct Fact {
    /// Segments separated by colons, by convention only.
    pub key: CompactString,
    /// Any value.
    pub value: Value,
    /// Time of the write, Unix milliseconds.
    pub timestamp: u64,
    /// Who wrote it.
    pub source: Origin,
    /// 1 at creation, one more with each write.
    pub version: u64,
}

impl Fact {
    /// Gives the fact as a value with the members that clients see, in their order.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut object = Object::new();
        object.set("key", self.key.clone());
        object.set("value", self.value.clone());
        object.set("timestamp", time_value(self.timestamp));
        object.set("source", self.source.as_str());
        object.set("version", time_value(self.version));
        Value::from(object)
    }
}

/// The facts of an engine.
#[derive(Debug)]
pub(crate) struct Facts {
    facts_max: Option<usize>,
    by_key: HashMap<CompactString, (u64, Arc<Fact>)>,
    by_sequence: BTreeMap<u64, Arc<Fact>>,
    ordered: BTreeSet<CompactString>,
    sequence: u64,
    /// Patterns of conditions, by text.
    watches: HashMap<CompactString, Watch>,
    watched: PatternTrie<CompactString>,
}

/// The facts that match one pattern of a condition, by creation sequence.
#[derive(Debug)]
struct Watch {
    pattern: Pattern,
    entry: EntryId,
    users: usize,
    matching: BTreeSet<u64>,
}

impl Facts {
    pub(crate) fn new(facts_max: Option<usize>) -> Self {
        Self {
            facts_max,
            by_key: HashMap::new(),
            by_sequence: BTreeMap::new(),
            ordered: BTreeSet::new(),
            sequence: 0,
            watches: HashMap::new(),
            watched: PatternTrie::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Arc<Fact>> {
        self.by_key.get(key).map(|(_, fact)| fact)
    }

    /// Writes a fact. Gives it and the one it replaced.
    pub(crate) fn set(
        &mut self,
        key: &str,
        value: Value,
        source: Origin,
        timestamp: u64,
    ) -> Result<(Arc<Fact>, Option<Arc<Fact>>), RulesError> {
        if let Some((sequence, slot)) = self.by_key.get_mut(key) {
            let fact =
                Arc::new(Fact { key: slot.key.clone(), value, timestamp, source, version: slot.version + 1 });
            self.by_sequence.insert(*sequence, Arc::clone(&fact));
            let before = std::mem::replace(slot, Arc::clone(&fact));
            return Ok((fact, Some(before)));
        }
        self.admits(1)?;
        self.sequence += 1;
        let fact = Arc::new(Fact { key: key.into(), value, timestamp, source, version: 1 });
        self.by_key.insert(key.into(), (self.sequence, Arc::clone(&fact)));
        self.by_sequence.insert(self.sequence, Arc::clone(&fact));
        self.ordered.insert(key.into());
        for text in self.watched.matches(key) {
            if let Some(watch) = self.watches.get_mut(text) {
                watch.matching.insert(self.sequence);
            }
        }
        Ok((fact, None))
    }

    /// Tells whether there is room for so many more facts.
    pub(crate) fn admits(&self, new: usize) -> Result<(), RulesError> {
        match self.facts_max {
            Some(max) if self.len().saturating_add(new) > max => {
                Err(RulesError::LimitReached { kind: LimitKind::Facts, max })
            }
            _ => Ok(()),
        }
    }

    /// Removes a fact and gives it.
    pub(crate) fn delete(&mut self, key: &str) -> Option<Arc<Fact>> {
        let (sequence, fact) = self.by_key.remove(key)?;
        self.by_sequence.remove(&sequence);
        self.ordered.remove(key);
        for text in self.watched.matches(key) {
            if let Some(watch) = self.watches.get_mut(text) {
                watch.matching.remove(&sequence);
            }
        }
        Some(fact)
    }

    /// Gives the place of a fact in the creation sequence.
    pub(crate) fn sequence_of(&self, key: &str) -> Option<u64> {
        self.by_key.get(key).map(|(sequence, _)| *sequence)
    }

    /// Puts a fact with its place in the creation sequence where another one, or none, is now.
    pub(crate) fn put_back(&mut self, key: &str, fact: Option<(u64, Arc<Fact>)>) {
        self.delete(key);
        let Some((sequence, fact)) = fact else { return };
        self.by_key.insert(key.into(), (sequence, Arc::clone(&fact)));
        self.by_sequence.insert(sequence, fact);
        self.ordered.insert(key.into());
        for text in self.watched.matches(key) {
            if let Some(watch) = self.watches.get_mut(text) {
                watch.matching.insert(sequence);
            }
        }
    }

    /// Moves a fact to a place in the creation sequence, if that is free.
    pub(crate) fn place(&mut self, key: &str, sequence: u64) {
        if !self.by_sequence.contains_key(&sequence) {
            let fact = self.get(key).cloned();
            self.put_back(key, fact.map(|fact| (sequence, fact)));
            self.sequence = self.sequence.max(sequence);
        }
    }

    /// Gives all facts in creation sequence.
    pub(crate) fn all(&self) -> impl ExactSizeIterator<Item = &Arc<Fact>> {
        self.by_sequence.values()
    }

    /// Gives the facts whose key matches, in creation sequence.
    pub(crate) fn query(&self, pattern: &Pattern) -> Vec<&Arc<Fact>> {
        let mut found: Vec<_> = self.scan(pattern).collect();
        found.sort_unstable_by_key(|(sequence, _)| *sequence);
        found.into_iter().map(|(_, fact)| fact).collect()
    }

    /// Gives the first fact, in creation sequence, whose key matches.
    pub(crate) fn first(&self, pattern: &Pattern) -> Option<&Arc<Fact>> {
        if let Some(watch) = self.watches.get(pattern.text()) {
            // All stars of a watched pattern are wildcards. One of the same text with interpolated, thus literal, stars
            // matches a part of what it matches.
            let first = self.by_sequence.get(watch.matching.first()?)?;
            if pattern.matches(&first.key) {
                return Some(first);
            }
        }
        self.scan(pattern).min_by_key(|(sequence, _)| *sequence).map(|(_, fact)| fact)
    }

    fn scan(&self, pattern: &Pattern) -> impl Iterator<Item = (u64, &Arc<Fact>)> {
        let prefix = if pattern.is_exact() { pattern.text() } else { pattern.literal_prefix() };
        let range = self.ordered.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        range
            .take_while(move |key| key.starts_with(prefix))
            .filter(|key| pattern.matches(key))
            .filter_map(|key| self.by_key.get(key).map(|(sequence, fact)| (*sequence, fact)))
    }

    /// Keeps the facts that match a pattern at hand, until as many calls of [`Facts::unwatch`].
    pub(crate) fn watch(&mut self, pattern: &Pattern) {
        if let Some(watch) = self.watches.get_mut(pattern.text()) {
            watch.users += 1;
            return;
        }
        let matching = self.scan(pattern).map(|(sequence, _)| sequence).collect();
        let text = CompactString::from(pattern.text());
        let entry = self.watched.insert(pattern, text.clone());
        self.watches.insert(text, Watch { pattern: pattern.clone(), entry, users: 1, matching });
    }

    pub(crate) fn unwatch(&mut self, pattern: &Pattern) {
        let Some(watch) = self.watches.get_mut(pattern.text()) else { return };
        watch.users -= 1;
        if watch.users == 0
            && let Some(watch) = self.watches.remove(pattern.text())
        {
            self.watched.remove(&watch.pattern, watch.entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Space;

    fn keys(found: &[&Arc<Fact>]) -> Vec<String> {
        found.iter().map(|fact| fact.key.to_string()).collect()
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text, Space::Key).expect("a pattern")
    }

    fn set(facts: &mut Facts, key: &str) -> u64 {
        facts.set(key, Value::Null, Origin::Api, 1).expect("room").0.version
    }

    #[test]
    fn versions_and_creation_sequence() {
        let mut facts = Facts::new(None);
        assert_eq!([set(&mut facts, "b"), set(&mut facts, "a"), set(&mut facts, "b")], [1, 1, 2]);
        assert_eq!(keys(&facts.all().collect::<Vec<_>>()), ["b", "a"]);
        assert!(facts.delete("b").is_some() && facts.delete("b").is_none());
        assert_eq!(set(&mut facts, "b"), 1);
        assert_eq!(keys(&facts.all().collect::<Vec<_>>()), ["a", "b"]);
    }

    #[test]
    fn queries_follow_the_creation_sequence() {
        let mut facts = Facts::new(None);
        for key in ["user", "user:2:name", "user:1", "user:1:name", "users:1", "user:", "user:a.b"] {
            set(&mut facts, key);
        }
        assert_eq!(keys(&facts.query(&pattern("user:*"))), ["user:1", "user:a.b"]);
        assert_eq!(keys(&facts.query(&pattern("user:*:name"))), ["user:2:name", "user:1:name"]);
        assert_eq!(keys(&facts.query(&pattern("user"))), ["user"]);
        assert_eq!(facts.query(&pattern("**")).len(), 7);
        assert_eq!(facts.first(&pattern("*:1")).map(|fact| fact.key.as_str()), Some("user:1"));
    }

    #[test]
    fn a_watched_pattern_gives_what_a_scan_gives() {
        let mut facts = Facts::new(None);
        let watched = pattern("s:*");
        set(&mut facts, "s:2");
        facts.watch(&watched);
        facts.watch(&watched);
        for (key, delete) in
            [("s:1", false), ("t:1", false), ("s:2", true), ("s:2", false), ("s:1", true), ("s:2", true)]
        {
            if delete {
                facts.delete(key);
            } else {
                set(&mut facts, key);
            }
            let scanned = facts.query(&watched).first().map(|fact| fact.key.clone());
            assert_eq!(facts.first(&watched).map(|fact| fact.key.clone()), scanned);
        }
        facts.unwatch(&watched);
        assert_eq!(facts.watched.len(), 1);
        facts.unwatch(&watched);
        assert!(facts.watched.is_empty() && facts.watches.is_empty());
    }

    #[test]
    fn a_literal_star_does_not_profit_from_a_watch() {
        let mut facts = Facts::new(None);
        facts.watch(&pattern("s:*"));
        let literal =
            Pattern::from_parts([crate::Part::Pattern("s:"), crate::Part::Literal("*")], Space::Key)
                .expect("a pattern");
        set(&mut facts, "s:1");
        assert!(facts.first(&literal).is_none());
        set(&mut facts, "s:*");
        assert_eq!(facts.first(&literal).map(|fact| fact.key.as_str()), Some("s:*"));
    }

    #[test]
    fn facts_are_limited_when_asked_for() {
        let mut facts = Facts::new(Some(2));
        set(&mut facts, "a");
        set(&mut facts, "b");
        let refused = facts.set("c", Value::Null, Origin::Api, 1);
        assert_eq!(refused.err().map(|e| e.to_string()).as_deref(), Some("Fact limit reached (max 2)"));
        assert_eq!(set(&mut facts, "a"), 2, "what exists can be written");
        facts.delete("b");
        assert_eq!(set(&mut facts, "c"), 1);
    }
}
