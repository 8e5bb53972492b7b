//! Rules: the object as clients wrote it, and what it compiles to.
//!
//! Invariant: only validated objects are compiled, so that everything here has a meaning; depth of nesting is bounded
//! by validation.
//! Source: the rules specification, sections 2.7, 2.8, 2.11 and 4.4, decision D10.

mod action;
#[cfg(test)]
pub(crate) mod tests;
mod trigger;

pub(crate) use action::REPEAT_INTERVAL_MIN_MS;
pub use action::{Action, ActionList, Catch, LogLevel, Schedule, TimerAction};
pub use trigger::{Aggregation, Comparison, FactChanges, Matcher, Temporal, TemporalKind, Trigger};

use crate::{Argument, Condition, Issue, Severity, duration_ms, validate};
use noex_json::{CompactString, Object, Value};
use std::sync::Arc;

/// A compiled rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Identifies the rule.
    pub id: CompactString,
    /// Name for people.
    pub name: CompactString,
    /// Higher ones run first.
    pub priority: f64,
    /// Whether the rule itself is enabled; its group decides too.
    pub enabled: bool,
    /// Labels without effect.
    pub tags: Vec<CompactString>,
    /// The group that the rule belongs to.
    pub group: Option<CompactString>,
    /// What the rule reacts to.
    pub trigger: Trigger,
    /// What must hold, all of it.
    pub conditions: Arc<[Condition]>,
    /// What the rule does.
    pub actions: ActionList,
    /// What is asked of services before the conditions.
    pub lookups: Arc<[Lookup]>,
    source: Object,
}

/// A question to a service, the answer to which conditions and actions see.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Name of the result.
    pub name: CompactString,
    /// Name of the service.
    pub service: CompactString,
    /// Name of its method.
    pub method: CompactString,
    /// Arguments; absent ones are `null`.
    pub args: Vec<Argument>,
    /// How long a result may be used again; `None` = not at all.
    pub ttl_ms: Option<u64>,
    /// What happens when the lookup fails.
    pub on_error: OnLookupError,
}

/// What a failed lookup does to the activation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnLookupError {
    /// The rule is skipped.
    Skip,
    /// The activation ends in an error.
    Fail,
}

impl Rule {
    /// Validates and compiles a rule. Missing members get their defaults; `version`, `createdAt` and `updatedAt`, which
    /// belong to the engine, are dropped.
    ///
    /// # Errors
    ///
    /// All errors of validation; then nothing has been compiled.
    pub fn compile(source: Object) -> Result<Self, Vec<Issue>> {
        let value = Value::from(source);
        let report = validate(&value);
        if !report.is_valid() {
            return Err(report.errors);
        }
        let Value::Object(mut source) = value else { return Err(vec![not_compiled()]) };
        for name in ENGINE_MEMBERS {
            source.remove(name);
        }
        for (name, default) in defaults() {
            if !source.contains(name) {
                source.set(name, default);
            }
        }
        Self::parse(*source).ok_or_else(|| vec![not_compiled()])
    }

    fn parse(source: Object) -> Option<Self> {
        let text = |name: &str| source.get(name).and_then(Value::as_str).map(CompactString::from);
        let list = |name: &str| source.get(name).and_then(Value::as_array).unwrap_or_default();
        Some(Self {
            id: text("id")?,
            name: text("name")?,
            priority: source.get("priority")?.as_number()?,
            enabled: source.get("enabled")?.as_bool()?,
            tags: list("tags").iter().filter_map(Value::as_str).map(CompactString::from).collect(),
            group: text("group"),
            trigger: Trigger::parse(source.get("trigger")?)?,
            conditions: conditions(list("conditions"))?,
            actions: action::list(list("actions"))?,
            lookups: list("lookups").iter().map(Lookup::parse).collect::<Option<_>>()?,
            source,
        })
    }

    /// Gives the rule as registered, with defaults, without `version`, `createdAt` and `updatedAt`.
    #[must_use]
    pub fn source(&self) -> &Object {
        &self.source
    }

    /// Gives the source of an updated rule: top-level members of `updates` replace those of this rule, except `id`
    /// and what belongs to the engine.
    #[must_use]
    pub fn merge(&self, updates: &Object) -> Object {
        let mut merged = self.source.clone();
        let kept = |name: &str| name == "id" || ENGINE_MEMBERS.contains(&name);
        let changes: Vec<_> = updates
            .iter()
            .filter(|(name, _)| !kept(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        merged.merge(changes);
        merged
    }

    /// Enables or disables the rule, also in its source.
    pub fn set_enabled(&mut self, enabled: bool) {
        self.enabled = enabled;
        self.source.set("enabled", enabled);
    }

    /// Takes the rule out of its group, also in its source.
    pub fn clear_group(&mut self) {
        self.group = None;
        self.source.remove("group");
    }
}

impl Lookup {
    fn parse(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        let text = |name: &str| object.get(name).and_then(Value::as_str);
        let args = object.get("args").and_then(Value::as_array).unwrap_or_default();
        Some(Self {
            name: text("name")?.into(),
            service: text("service")?.into(),
            method: text("method")?.into(),
            args: args.iter().map(Argument::parse).collect(),
            ttl_ms: object
                .get("cache")
                .and_then(Value::as_object)
                .and_then(|cache| duration_ms(cache.get("ttl")?)),
            on_error: if text("onError") == Some("fail") { OnLookupError::Fail } else { OnLookupError::Skip },
        })
    }
}

/// Compiles a list of conditions.
fn conditions(values: &[Value]) -> Option<Arc<[Condition]>> {
    values.iter().map(Condition::parse).collect()
}

/// Reads a limit of firings; `None` if it is none.
pub(crate) fn count(value: &Value) -> Option<u64> {
    let number = value.as_number().filter(|number| *number >= 1.0)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive; larger ones saturate"
    )]
    Some(number as u64)
}

fn defaults() -> [(&'static str, Value); 5] {
    let empty = || Value::from(Vec::new());
    [
        ("priority", Value::Number(0.0)),
        ("enabled", Value::Bool(true)),
        ("tags", empty()),
        ("conditions", empty()),
        ("actions", empty()),
    ]
}

/// For the case that validation has missed something, which its tests rule out.
fn not_compiled() -> Issue {
    Issue { path: "(root)".into(), message: "Rule cannot be compiled".into(), severity: Severity::Error }
}

/// Members of a rule that the engine sets.
const ENGINE_MEMBERS: [&str; 3] = ["version", "createdAt", "updatedAt"];
