//! Backward chaining: whether the rules could bring about a fact or an event, and how.
//!
//! For embedders; there is no operation on the wire. A query changes nothing and asks no service. It judges by what
//! holds now: without a triggering event, conditions on the payload, on lookups and on baselines do not hold, and
//! references to the payload in fact keys give nothing.
//! Invariant: a query ends. Its depth, the rules it explores and its work are bounded; preparing it takes time linear
//! in the actions of the active rules.
//! Source: the rule engine's description, 4.7 and D30.

mod goal;
mod producers;
#[cfg(test)]
mod tests;

pub use goal::{Goal, GoalAnswer, Proof, ProofCondition, Unachievable};

use crate::{
    Condition, Engine, FactSource, Operand, Operator, Pattern, Regexp, ResolveError, Scope, Source, Space,
    evaluate::BYTES_PER_UNIT, facts::Facts, registry::Entry, size::value_bytes,
};
use noex_json::{CompactString, Object, Value, deep_equal};
use producers::Producers;

/// How far a query may go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BackwardLimits {
    /// Rules of a chain; at most 64.
    pub depth_max: usize,
    /// Rules explored in all.
    pub explored_rules_max: usize,
    /// Units of work: a rule or condition looked at takes one, values one per 64 bytes.
    pub work_max: usize,
}

impl Default for BackwardLimits {
    fn default() -> Self {
        Self { depth_max: 10, explored_rules_max: 100, work_max: 1_000_000 }
    }
}

/// Queries.
impl Engine {
    /// Asks whether a goal is reached already, or could be reached by rules.
    #[must_use]
    pub fn query(&self, goal: &Goal) -> GoalAnswer {
        let mut search = Search {
            engine: self,
            limits: self.options.backward,
            producers: Producers::new(&self.registry),
            standing: Standing { facts: &self.facts, payload: Value::from(Object::new()) },
            path: Vec::new(),
            explored: 0,
            work: self.options.backward.work_max,
            depth_reached: false,
            cut: false,
        };
        let proof = search.prove(goal);
        GoalAnswer {
            goal: goal.clone(),
            achievable: !matches!(proof, Proof::Unachievable { .. }),
            proof,
            explored_rules: search.explored,
            max_depth_reached: search.depth_reached,
            duration_ms: None,
        }
    }
}

/// What a goal or one of its parts asks for.
#[derive(Debug)]
struct Wanted {
    target: Target,
    test: Test,
}

/// What is to come about.
#[derive(Debug)]
enum Target {
    /// An event.
    Topic(CompactString),
    /// A fact.
    Key(CompactString),
    /// Any fact that matches.
    Keys(Pattern),
}

/// What the value of the fact must be.
#[derive(Debug)]
enum Test {
    /// Anything.
    Any,
    /// Compared with a value; `None` = an absent one.
    Compare(Operator, Option<Value>),
    /// Text in which an expression is found; `None` = one that finds nothing.
    Regexp(Option<Regexp>),
}

impl Wanted {
    /// Tells whether this is the same goal, as far as it can be known. Errs on the side of yes.
    fn is(&self, other: &Self) -> bool {
        let target = match (&self.target, &other.target) {
            (Target::Topic(left), Target::Topic(right)) | (Target::Key(left), Target::Key(right)) => {
                left == right
            }
            (Target::Keys(left), Target::Keys(right)) => left.text() == right.text(),
            (Target::Topic(_) | Target::Key(_) | Target::Keys(_), _) => false,
        };
        target
            && match (&self.test, &other.test) {
                (Test::Any, Test::Any) | (Test::Regexp(_), Test::Regexp(_)) => true,
                (Test::Compare(left, left_value), Test::Compare(right, right_value)) => {
                    left == right
                        && match (left_value, right_value) {
                            (None, None) => true,
                            (Some(left), Some(right)) => deep_equal(left, right),
                            (None | Some(_), _) => false,
                        }
                }
                (Test::Any | Test::Regexp(_) | Test::Compare(..), _) => false,
            }
    }
}

impl Test {
    fn new(operator: Operator, value: Option<Value>) -> Self {
        match (operator, value) {
            (Operator::Matches, Some(Value::String(text))) => Self::Regexp(Regexp::parse(&text)),
            (operator, value) => Self::Compare(operator, value),
        }
    }

    /// `None` = absent.
    fn accepts(&self, value: Option<&Value>) -> bool {
        match self {
            Self::Any => value.is_some(),
            Self::Compare(operator, operand) => operator.apply(value, operand.as_ref()),
            Self::Regexp(regexp) => {
                let text = value.and_then(Value::as_str);
                regexp.as_ref().zip(text).is_some_and(|(regexp, text)| regexp.is_match(text))
            }
        }
    }
}

/// What conditions see when nothing has happened.
#[derive(Debug)]
struct Standing<'a> {
    facts: &'a Facts,
    payload: Value,
}

impl Scope for Standing<'_> {
    fn payload(&self) -> &Value {
        &self.payload
    }
    fn fact(&self, key: &str) -> Option<&Value> {
        self.facts.get(key).map(|fact| &fact.value)
    }
    fn first_fact(&self, pattern: &Pattern) -> Option<&Value> {
        self.facts.first(pattern).map(|fact| &fact.value)
    }
    fn variable(&self, _: &str) -> Option<&Value> {
        None
    }
    fn matched(&self, _: usize) -> Option<&Value> {
        None
    }
}

/// How a condition stands.
enum Standpoint {
    /// It holds, with this value if any.
    Holds(Option<Value>),
    /// It would hold if this came about.
    Needs(Wanted),
    /// It does not hold, and no rule is asked to change that.
    Fails,
}

/// A query under way.
struct Search<'a> {
    engine: &'a Engine,
    limits: BackwardLimits,
    producers: Producers<'a>,
    standing: Standing<'a>,
    /// The goals that led here.
    path: Vec<Wanted>,
    explored: usize,
    work: usize,
    depth_reached: bool,
    /// Whether something was left out because a limit was reached.
    cut: bool,
}

impl Search<'_> {
    fn prove(&mut self, goal: &Goal) -> Proof {
        match goal {
            Goal::Event { topic } => {
                self.by_rules(Wanted { target: Target::Topic(topic.clone()), test: Test::Any })
            }
            Goal::Fact { key, value, operator } => {
                let test = match value {
                    None => Test::Any,
                    Some(value) => Test::new(operator.unwrap_or(Operator::Eq), Some(value.clone())),
                };
                if let Some(fact) = self.engine.facts.get(key).filter(|fact| test.accepts(Some(&fact.value)))
                {
                    let current_value = fact.value.clone();
                    return Proof::FactExists { key: key.clone(), current_value, satisfied: true };
                }
                self.by_rules(Wanted { target: Target::Key(key.clone()), test })
            }
        }
    }

    /// Looks for a rule that brings about what is wanted. Recursion depth is bounded by the limit of depth.
    fn by_rules(&mut self, wanted: Wanted) -> Proof {
        if self.path.iter().any(|goal| goal.is(&wanted)) {
            return self.unachievable(Unachievable::CycleDetected);
        }
        if self.path.len() >= self.limits.depth_max.min(DEPTH_MAX) {
            self.depth_reached = true;
            return self.unachievable(Unachievable::MaxDepth);
        }
        let (candidates, cost) = self.producers.candidates(&wanted, self.work);
        self.spend(cost);
        if candidates.is_empty() && !self.cut {
            return self.unachievable(Unachievable::NoRules);
        }
        self.path.push(wanted);
        let proof = candidates.into_iter().find_map(|rule| self.by_rule(rule));
        self.path.pop();
        proof.unwrap_or_else(|| self.unachievable(Unachievable::AllPathsFailed))
    }

    /// Tells how a rule's conditions hold, if they do or can.
    fn by_rule(&mut self, rule: usize) -> Option<Proof> {
        let entry = self.producers.rule(rule)?;
        if self.explored >= self.limits.explored_rules_max {
            self.cut = true;
        }
        if self.cut {
            return None;
        }
        self.explored += 1;
        let written = entry.rule.source().get("conditions").and_then(Value::as_array).unwrap_or_default();
        let (mut conditions, mut children) = (Vec::new(), Vec::new());
        for (condition, written) in entry.rule.conditions.iter().zip(written) {
            let written = written.as_object()?;
            let actual_value = match self.look(condition, written)? {
                Standpoint::Holds(value) => value,
                Standpoint::Needs(wanted) => match self.by_rules(wanted) {
                    Proof::Unachievable { .. } => return None,
                    child @ (Proof::Rule { .. } | Proof::FactExists { .. }) => {
                        children.push(child);
                        None
                    }
                },
                Standpoint::Fails => return None,
            };
            conditions.push(ProofCondition {
                source: source_text(written),
                operator: condition.operator,
                expected_value: self.operand(condition, written).ok()?,
                actual_value,
                satisfied: true,
            });
        }
        Some(rule_proof(entry, conditions, children))
    }

    /// Looks at a condition; `None` = no work is left.
    fn look(&mut self, condition: &Condition, written: &Object) -> Option<Standpoint> {
        if !self.spend(1) {
            return None;
        }
        let source = match &condition.source {
            Source::Fact(source) => Some(source),
            Source::Context { .. } => None,
            Source::Event(_) | Source::Lookup { .. } | Source::Baseline(_) => return Some(Standpoint::Fails),
        };
        if compares_with_occurrence(written) {
            return Some(Standpoint::Fails);
        }
        let Ok(actual) = condition.source.read(&self.standing) else { return Some(Standpoint::Fails) };
        // Values are paid for before they are copied.
        let size = actual.as_deref().map_or(0, value_bytes) + written.get("value").map_or(0, value_bytes);
        let actual = actual.map(std::borrow::Cow::into_owned);
        if !self.spend(size / BYTES_PER_UNIT) {
            return None;
        }
        let Ok(operand) = self.operand(condition, written) else { return Some(Standpoint::Fails) };
        if !self.spend(operand.as_ref().map_or(0, value_bytes) / BYTES_PER_UNIT) {
            return None;
        }
        let test = match &condition.operand {
            Operand::Regexp(regexp) => Test::Regexp(regexp.clone()),
            Operand::None | Operand::Literal(_) | Operand::Reference(_) => {
                Test::new(condition.operator, operand)
            }
        };
        Some(match source {
            _ if test.accepts(actual.as_ref()) => Standpoint::Holds(actual),
            Some(source) if actual.is_none() => match self.target(source) {
                Ok(target) => Standpoint::Needs(Wanted { target, test }),
                Err(_) => Standpoint::Fails,
            },
            _ => Standpoint::Fails,
        })
    }

    /// Gives what a condition compares with.
    fn operand(&self, condition: &Condition, written: &Object) -> Result<Option<Value>, ResolveError> {
        Ok(match &condition.operand {
            Operand::None => None,
            Operand::Literal(_) | Operand::Regexp(_) => written.get("value").cloned(),
            Operand::Reference(reference) => {
                reference.resolve(&self.standing)?.map(std::borrow::Cow::into_owned)
            }
        })
    }

    fn target(&self, source: &FactSource) -> Result<Target, ResolveError> {
        Ok(match source {
            FactSource::Key(key) => Target::Key(key.clone()),
            FactSource::Pattern(pattern) => Target::Keys(pattern.clone()),
            FactSource::KeyTemplate(template) => Target::Key(template.expand(&self.standing)?.into()),
            FactSource::PatternTemplate(template) => {
                Target::Keys(template.expand_pattern(Space::Key, &self.standing)?)
            }
        })
    }

    fn spend(&mut self, units: usize) -> bool {
        self.work = self.work.saturating_sub(units);
        self.cut |= self.work == 0;
        !self.cut
    }

    fn unachievable(&self, reason: Unachievable) -> Proof {
        let details = self.cut.then(|| "A limit of the search was reached".into());
        Proof::Unachievable { reason, details }
    }
}

fn rule_proof(entry: &Entry, conditions: Vec<ProofCondition>, children: Vec<Proof>) -> Proof {
    Proof::Rule {
        rule_id: entry.rule.id.clone(),
        rule_name: entry.rule.name.clone(),
        satisfied: true,
        conditions,
        children,
    }
}

/// Tells whether a condition as written compares with something that only a triggered rule has.
fn compares_with_occurrence(written: &Object) -> bool {
    let operand = written.get("value").and_then(Value::as_object);
    let reference = operand.and_then(|operand| operand.get("ref")?.as_str());
    let source = reference.and_then(|text| text.split('.').next());
    source.is_some_and(|source| ["event", "trigger", "lookup", "baseline"].contains(&source))
}

/// Gives the source of a condition as text: its type and what it names.
fn source_text(written: &Object) -> String {
    let Some(source) = written.get("source").and_then(Value::as_object) else { return String::new() };
    let text = |name: &str| source.get(name).and_then(Value::as_str);
    let named = ["pattern", "name", "key", "metric"].into_iter().find_map(text);
    // A lookup has both a name and a field.
    let parts: Vec<&str> = named.into_iter().chain(text("field")).collect();
    format!("{}:{}", text("type").unwrap_or_default(), parts.join("."))
}

/// Greatest depth of the search, whatever the limits say.
const DEPTH_MAX: usize = 64;
