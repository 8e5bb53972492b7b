//! What is asked of a query, and what it answers.

use crate::{Operator, event::time_value};
use noex_json::{CompactString, Object, Value};

/// What a query asks for.
#[derive(Clone, Debug)]
pub enum Goal {
    /// That a fact exists.
    Fact {
        /// Key of the fact.
        key: CompactString,
        /// What its value is compared with; `None` = any value will do.
        value: Option<Value>,
        /// How it is compared; `None` = both are equal.
        operator: Option<Operator>,
    },
    /// That an event is emitted.
    Event {
        /// Topic of the event.
        topic: CompactString,
    },
}

impl Goal {
    /// Reads `{ "type": "fact", "key", "value"?, "operator"? }` or `{ "type": "event", "topic" }`; the operator is one
    /// of `eq`, `neq`, `gt`, `gte`, `lt` and `lte`. `None` if it is neither.
    #[must_use]
    pub fn parse(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        let text = |name: &str| object.get(name)?.as_str();
        match text("type")? {
            "fact" => {
                let operator = match object.get("operator") {
                    None => None,
                    Some(operator) => Some(operator.as_str().and_then(comparison)?),
                };
                Some(Self::Fact { key: text("key")?.into(), value: object.get("value").cloned(), operator })
            }
            "event" => Some(Self::Event { topic: text("topic")?.into() }),
            _ => None,
        }
    }

    /// Gives the goal as [`Goal::parse`] reads it.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut object = Object::new();
        match self {
            Self::Fact { key, value, operator } => {
                object.set("type", "fact");
                object.set("key", key.clone());
                if let Some(value) = value {
                    object.set("value", value.clone());
                }
                if let Some(operator) = operator {
                    object.set("operator", operator.as_str());
                }
            }
            Self::Event { topic } => {
                object.set("type", "event");
                object.set("topic", topic.clone());
            }
        }
        Value::from(object)
    }
}

fn comparison(text: &str) -> Option<Operator> {
    use Operator::{Eq, Gt, Gte, Lt, Lte, Neq};
    Operator::parse(text).filter(|operator| [Eq, Neq, Gt, Gte, Lt, Lte].contains(operator))
}

/// What a query found.
#[derive(Clone, Debug)]
pub struct GoalAnswer {
    /// What was asked for.
    pub goal: Goal,
    /// Whether it is reached or can be.
    pub achievable: bool,
    /// How, or why not.
    pub proof: Proof,
    /// Rules whose conditions were looked at.
    pub explored_rules: usize,
    /// Whether the search was cut at its greatest depth somewhere.
    pub max_depth_reached: bool,
    /// How long it took; for a host that has a clock to fill in.
    pub duration_ms: Option<f64>,
}

impl GoalAnswer {
    /// Gives `{ goal, achievable, proof, exploredRules, maxDepthReached, durationMs? }`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut object = Object::new();
        object.set("goal", self.goal.to_value());
        object.set("achievable", self.achievable);
        object.set("proof", self.proof.to_value());
        object.set("exploredRules", time_value(u64::try_from(self.explored_rules).unwrap_or(u64::MAX)));
        object.set("maxDepthReached", self.max_depth_reached);
        if let Some(duration_ms) = self.duration_ms {
            object.set("durationMs", duration_ms);
        }
        Value::from(object)
    }
}

/// How a goal is reached, or why not.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A fact is as wanted already.
    FactExists {
        /// Key of the fact.
        key: CompactString,
        /// Its value.
        current_value: Value,
        /// Whether it is as wanted.
        satisfied: bool,
    },
    /// A rule brings it about.
    Rule {
        /// The rule.
        rule_id: CompactString,
        /// Its name.
        rule_name: CompactString,
        /// Whether its conditions hold or can be made to.
        satisfied: bool,
        /// Its conditions.
        conditions: Vec<ProofCondition>,
        /// How the conditions that do not hold yet are made to, in their order.
        children: Vec<Proof>,
    },
    /// It cannot be reached.
    Unachievable {
        /// Why.
        reason: Unachievable,
        /// More about it, for people.
        details: Option<String>,
    },
}

/// A condition of a rule in a proof.
#[derive(Clone, Debug)]
pub struct ProofCondition {
    /// Type of the source and what it names, such as `fact:user:1`.
    pub source: String,
    /// How it is compared.
    pub operator: Operator,
    /// What it is compared with, if anything.
    pub expected_value: Option<Value>,
    /// The value of the source now, if there is one.
    pub actual_value: Option<Value>,
    /// Whether it holds or can be made to.
    pub satisfied: bool,
}

/// Why a goal cannot be reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unachievable {
    /// No active rule does what is wanted.
    NoRules,
    /// The goal would have to be reached in order to reach it.
    CycleDetected,
    /// The chain of rules is too long.
    MaxDepth,
    /// The conditions of all rules in question fail.
    AllPathsFailed,
}

impl Unachievable {
    /// Gives the name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRules => "no_rules",
            Self::CycleDetected => "cycle_detected",
            Self::MaxDepth => "max_depth",
            Self::AllPathsFailed => "all_paths_failed",
        }
    }
}

impl Proof {
    /// Gives the proof with its `type` first. Recursion depth is that of the search.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut object = Object::new();
        match self {
            Self::FactExists { key, current_value, satisfied } => {
                object.set("type", "fact_exists");
                object.set("key", key.clone());
                object.set("currentValue", current_value.clone());
                object.set("satisfied", *satisfied);
            }
            Self::Rule { rule_id, rule_name, satisfied, conditions, children } => {
                object.set("type", "rule");
                object.set("ruleId", rule_id.clone());
                object.set("ruleName", rule_name.clone());
                object.set("satisfied", *satisfied);
                object.set("conditions", conditions.iter().map(ProofCondition::to_value).collect::<Vec<_>>());
                object.set("children", children.iter().map(Self::to_value).collect::<Vec<_>>());
            }
            Self::Unachievable { reason, details } => {
                object.set("type", "unachievable");
                object.set("reason", reason.as_str());
                if let Some(details) = details {
                    object.set("details", details.as_str());
                }
            }
        }
        Value::from(object)
    }
}

impl ProofCondition {
    fn to_value(&self) -> Value {
        let mut object = Object::new();
        object.set("source", self.source.as_str());
        object.set("operator", self.operator.as_str());
        for (name, value) in [("expectedValue", &self.expected_value), ("actualValue", &self.actual_value)] {
            if let Some(value) = value {
                object.set(name, value.clone());
            }
        }
        object.set("satisfied", self.satisfied);
        Value::from(object)
    }
}
