//! Which rules an occurrence can trigger, at a cost that does not depend on how many rules there are.
//!
//! Two levels: a trie of the distinct trigger patterns, and behind each pattern a bucket in which every rule is filed
//! under one of its conditions on the payload that a hash or an ordered map can answer. What comes out are candidates:
//! all conditions are evaluated again when a candidate's turn comes.
//! Source: the rule engine's description, 6.4 and 6.5.

use crate::{
    EntryId, Operand, Operator, Pattern, PatternTrie, Reference, Rule, Scope,
    registry::{Entry, RuleKey},
};
use foldhash::{HashMap, HashMapExt};
use noex_json::{CompactString, Value};
use std::{collections::BTreeMap, ops::Bound, sync::Arc};

/// Rules by trigger, for one kind of trigger.
#[derive(Debug)]
pub(crate) struct TriggerIndex {
    buckets: HashMap<CompactString, (Bucket, EntryId)>,
    patterns: PatternTrie<CompactString>,
}

/// The active rules with one trigger pattern.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) pattern: Pattern,
    len: usize,
    /// Rules that no field can exclude.
    always: Rules,
    fields: BTreeMap<CompactString, Field>,
}

type Rules = BTreeMap<RuleKey, Arc<Entry>>;

/// The rules filed under conditions on one field of the payload.
#[derive(Debug)]
struct Field {
    value: Reference,
    equal: HashMap<Scalar, Rules>,
    /// By threshold; holds for numbers from the threshold on (whether inclusive is left to the condition).
    at_least: BTreeMap<Number, Rules>,
    /// By threshold; holds for numbers up to the threshold.
    at_most: BTreeMap<Number, Rules>,
}

/// Where a rule is filed.
#[derive(Debug)]
enum Access {
    Always,
    Equal(CompactString, Vec<Scalar>),
    AtLeast(CompactString, Number),
    AtMost(CompactString, Number),
}

/// A literal that equality can find by hash.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Scalar {
    Null,
    Bool(bool),
    Number(Number),
    String(CompactString),
}

/// A number with a total order in which equal numbers are equal.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Ord, PartialOrd)]
struct Number(u64);

impl Number {
    /// `None` for NaN, which no condition holds for.
    fn of(number: f64) -> Option<Self> {
        if number.is_nan() {
            return None;
        }
        // -0 equals 0. The bits of positive numbers ascend with the number, those of negative ones descend.
        let bits = (number + 0.0).to_bits();
        let mask = if bits >> 63 == 1 { u64::MAX } else { 1 << 63 };
        Some(Self(bits ^ mask))
    }
}

impl Scalar {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Null),
            Value::Bool(flag) => Some(Self::Bool(*flag)),
            Value::Number(number) => Number::of(*number).map(Self::Number),
            Value::String(text) => Some(Self::String(text.clone())),
            Value::Array(_) | Value::Object(_) => None,
        }
    }
}

impl Default for TriggerIndex {
    fn default() -> Self {
        Self { buckets: HashMap::new(), patterns: PatternTrie::new() }
    }
}

impl TriggerIndex {
    pub(crate) fn add(&mut self, pattern: &Pattern, entry: &Arc<Entry>) {
        if let Some((bucket, _)) = self.buckets.get_mut(pattern.text()) {
            bucket.add(entry);
            return;
        }
        let text = CompactString::from(pattern.text());
        let id = self.patterns.insert(pattern, text.clone());
        let mut bucket =
            Bucket { pattern: pattern.clone(), len: 0, always: Rules::new(), fields: BTreeMap::new() };
        bucket.add(entry);
        self.buckets.insert(text, (bucket, id));
    }

    pub(crate) fn remove(&mut self, pattern: &Pattern, entry: &Entry) {
        let Some((bucket, id)) = self.buckets.get_mut(pattern.text()) else { return };
        bucket.remove(entry);
        if bucket.len == 0 {
            let id = *id;
            self.buckets.remove(pattern.text());
            self.patterns.remove(pattern, id);
        }
    }

    /// Gives the buckets whose pattern matches.
    pub(crate) fn matching(&self, text: &str) -> Vec<&Bucket> {
        let found = self.patterns.matches(text);
        found.into_iter().filter_map(|text| self.buckets.get(text).map(|(bucket, _)| bucket)).collect()
    }
}

impl Bucket {
    fn add(&mut self, entry: &Arc<Entry>) {
        self.len += 1;
        let (key, rule) = (entry.key, Arc::clone(entry));
        match access(&entry.rule) {
            Access::Always => {
                self.always.insert(key, rule);
            }
            Access::Equal(field, values) => {
                let field = self.field(field);
                for value in values {
                    field.equal.entry(value).or_default().insert(key, Arc::clone(&rule));
                }
            }
            Access::AtLeast(field, threshold) => {
                self.field(field).at_least.entry(threshold).or_default().insert(key, rule);
            }
            Access::AtMost(field, threshold) => {
                self.field(field).at_most.entry(threshold).or_default().insert(key, rule);
            }
        }
    }

    fn field(&mut self, name: CompactString) -> &mut Field {
        let value = || Reference::parse(&format!("event.{name}"));
        let value = if self.fields.contains_key(&name) { None } else { Some(value()) };
        self.fields.entry(name).or_insert_with(|| Field {
            value: value.unwrap_or_else(|| Reference::parse("event")),
            equal: HashMap::new(),
            at_least: BTreeMap::new(),
            at_most: BTreeMap::new(),
        })
    }

    fn remove(&mut self, entry: &Entry) {
        self.len = self.len.saturating_sub(1);
        let key = entry.key;
        let name = match access(&entry.rule) {
            Access::Always => {
                self.always.remove(&key);
                return;
            }
            Access::Equal(name, values) => {
                if let Some(field) = self.fields.get_mut(&name) {
                    for value in values {
                        if field.equal.get_mut(&value).is_some_and(|rules| without(rules, key)) {
                            field.equal.remove(&value);
                        }
                    }
                }
                name
            }
            Access::AtLeast(name, threshold) => {
                if let Some(field) = self.fields.get_mut(&name)
                    && field.at_least.get_mut(&threshold).is_some_and(|rules| without(rules, key))
                {
                    field.at_least.remove(&threshold);
                }
                name
            }
            Access::AtMost(name, threshold) => {
                if let Some(field) = self.fields.get_mut(&name)
                    && field.at_most.get_mut(&threshold).is_some_and(|rules| without(rules, key))
                {
                    field.at_most.remove(&threshold);
                }
                name
            }
        };
        if self.fields.get(&name).is_some_and(Field::is_empty) {
            self.fields.remove(&name);
        }
    }

    /// Adds the rules that the payload does not exclude.
    pub(crate) fn collect(&self, scope: &dyn Scope, out: &mut Vec<Arc<Entry>>) {
        out.extend(self.always.values().cloned());
        for field in self.fields.values() {
            // A path into the payload has a known source, so this cannot fail.
            let Ok(Some(value)) = field.value.resolve(scope) else { continue };
            if let Some(rules) = Scalar::of(&value).and_then(|value| field.equal.get(&value)) {
                out.extend(rules.values().cloned());
            }
            let Some(number) = value.as_number().and_then(Number::of) else { continue };
            let below = field.at_least.range((Bound::Unbounded, Bound::Included(number)));
            let above = field.at_most.range((Bound::Included(number), Bound::Unbounded));
            out.extend(below.chain(above).flat_map(|(_, rules)| rules.values().cloned()));
        }
    }
}

impl Field {
    fn is_empty(&self) -> bool {
        self.equal.is_empty() && self.at_least.is_empty() && self.at_most.is_empty()
    }
}

/// Removes a rule and tells whether none is left.
fn without(rules: &mut Rules, key: RuleKey) -> bool {
    rules.remove(&key);
    rules.is_empty()
}

/// Chooses the condition under which a rule is filed: the first equality, else the first list of values, else the
/// first range. Lookups run before conditions and can be observed, so a rule with lookups is never left out.
fn access(rule: &Rule) -> Access {
    if !rule.lookups.is_empty() {
        return Access::Always;
    }
    let raw = rule.source().get("conditions").and_then(Value::as_array).unwrap_or_default();
    let mut best = (usize::MAX, Access::Always);
    for (condition, raw) in rule.conditions.iter().zip(raw) {
        let Some(field) = payload_field(raw) else { continue };
        let Operand::Literal(literal) = &condition.operand else { continue };
        let number = || literal.as_number().and_then(Number::of);
        let found = match condition.operator {
            Operator::Eq => Scalar::of(literal).map(|value| (0, Access::Equal(field, vec![value]))),
            Operator::In => list(literal).map(|values| (1, Access::Equal(field, values))),
            Operator::Gt | Operator::Gte => number().map(|n| (2, Access::AtLeast(field, n))),
            Operator::Lt | Operator::Lte => number().map(|n| (2, Access::AtMost(field, n))),
            Operator::Neq
            | Operator::NotIn
            | Operator::Contains
            | Operator::NotContains
            | Operator::Matches
            | Operator::Exists
            | Operator::NotExists => None,
        };
        if let Some(found) = found.filter(|found| found.0 < best.0) {
            best = found;
        }
    }
    best.1
}

/// The path of a condition on the payload.
fn payload_field(condition: &Value) -> Option<CompactString> {
    let source = condition.as_object()?.get("source")?.as_object()?;
    if source.get("type")?.as_str()? != "event" {
        return None;
    }
    source.get("field")?.as_str().filter(|field| !field.is_empty()).map(CompactString::from)
}

/// The elements of a short list of scalars, each once.
fn list(literal: &Value) -> Option<Vec<Scalar>> {
    let items = literal.as_array().filter(|items| items.len() <= LIST_MAX)?;
    let mut values = Vec::with_capacity(items.len());
    for item in items {
        let value = Scalar::of(item)?;
        if !values.contains(&value) {
            values.push(value);
        }
    }
    Some(values)
}

/// Longer lists of values are not worth an entry per element.
const LIST_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use noex_json::parse;

    fn filed(conditions: &str) -> Access {
        let text = format!(
            r#"{{"id":"r","name":"r","trigger":{{"type":"event","topic":"t"}},"conditions":[{conditions}]}}"#
        );
        let Ok(Value::Object(source)) = parse(&text, 64) else { panic!("{text}") };
        access(&Rule::compile(*source).expect("valid"))
    }

    fn on(field: &str, operator: &str, value: &str) -> String {
        format!(
            r#"{{"source":{{"type":"event","field":"{field}"}},"operator":"{operator}","value":{value}}}"#
        )
    }

    #[test]
    fn numbers_keep_their_order() {
        let ascending = [f64::NEG_INFINITY, -1e300, -1.5, -5e-324, 0.0, 5e-324, 1.0, 1e300, f64::INFINITY];
        let keys: Vec<_> = ascending.iter().map(|number| Number::of(*number).expect("no NaN")).collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
        assert_eq!(Number::of(-0.0), Number::of(0.0));
        assert_eq!(Number::of(f64::NAN), None);
    }

    #[test]
    fn rules_are_filed_under_their_most_selective_condition() {
        let (eq, list, range) = (on("a", "eq", "1"), on("b", "in", "[1,\"x\",1]"), on("c", "lt", "5"));
        assert!(matches!(filed(&eq), Access::Equal(field, values) if field == "a" && values.len() == 1));
        assert!(matches!(filed(&list), Access::Equal(field, values) if field == "b" && values.len() == 2));
        assert!(matches!(filed(&range), Access::AtMost(field, _) if field == "c"));
        assert!(matches!(filed(&on("c", "gte", "5")), Access::AtLeast(field, _) if field == "c"));
        assert!(matches!(filed(&format!("{range},{list},{eq}")), Access::Equal(field, _) if field == "a"));
        for other in [
            on("a", "eq", r#"{"ref":"event.b"}"#),
            on("a", "eq", "[1]"),
            on("a", "neq", "1"),
            on("a", "gt", "\"x\""),
            on("a", "in", "[[1]]"),
            r#"{"source":{"type":"fact","pattern":"a"},"operator":"eq","value":1}"#.to_owned(),
        ] {
            assert!(matches!(filed(&other), Access::Always), "{other}");
        }
    }
}
