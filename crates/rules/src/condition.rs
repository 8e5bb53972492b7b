//! Conditions: a source, an operator and an operand, compiled with the rule.
//!
//! An absent source or operand equals nothing, not even `null`. Values never convert: operators whose sides have the
//! wrong types are false, negated ones true, except `not_in`, which asks for an array.
//! Source: the rules specification, section 2.9, decisions D13, D19 and D35.

#[cfg(test)]
mod tests;

use crate::{Path, Pattern, Reference, Regexp, ResolveError, Scope, Space, Template};
use noex_json::{CompactString, Object, Value, deep_equal};
use std::borrow::Cow;

/// A compiled condition.
#[derive(Clone, Debug)]
pub struct Condition {
    /// What is looked at.
    pub source: Source,
    /// How it is compared.
    pub operator: Operator,
    /// What it is compared with.
    pub operand: Operand,
}

/// What a condition looks at.
#[derive(Clone, Debug)]
pub enum Source {
    /// A path into the payload, whatever the trigger.
    Event(Path),
    /// The value of a fact.
    Fact(FactSource),
    /// A variable, and a path into it.
    Context {
        /// Name of the variable.
        variable: CompactString,
        /// Path into its value.
        path: Path,
    },
    /// The result of a lookup, and a path into it.
    Lookup {
        /// Name of the lookup.
        name: CompactString,
        /// Path into its result.
        path: Path,
    },
    /// Whether a member of the payload is anomalous.
    Baseline(BaselineCheck),
}

/// Which fact a condition reads.
#[derive(Clone, Debug)]
pub enum FactSource {
    /// The fact of a key.
    Key(CompactString),
    /// The first fact in creation sequence that matches a pattern.
    Pattern(Pattern),
    /// The fact of an interpolated key.
    KeyTemplate(Template),
    /// The first fact that matches a pattern with interpolated, literal text.
    PatternTemplate(Template),
}

/// An anomaly check.
#[derive(Clone, Debug, PartialEq)]
pub struct BaselineCheck {
    /// Name of the metric.
    pub metric: CompactString,
    /// Which deviation counts.
    pub comparison: BaselineComparison,
    /// Standard deviations, or the percentile; `None` = the engine's default.
    pub sensitivity: Option<f64>,
}

/// Which deviation from a baseline counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BaselineComparison {
    /// Above the usual range.
    Above,
    /// Below the usual range.
    Below,
    /// Outside of the usual range.
    Outside,
    /// Above a percentile.
    AbovePercentile,
    /// Below a percentile.
    BelowPercentile,
}

/// How the two sides of a condition are compared.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Operator {
    /// Same type and value, structurally.
    Eq,
    /// Not [`Operator::Eq`].
    Neq,
    /// Greater number.
    Gt,
    /// Greater or equal number.
    Gte,
    /// Smaller number.
    Lt,
    /// Smaller or equal number.
    Lte,
    /// Equal to an element of the operand.
    In,
    /// Not equal to any element of the operand, which is an array.
    NotIn,
    /// Text that contains the operand, or an array with an element equal to it.
    Contains,
    /// Not [`Operator::Contains`].
    NotContains,
    /// Text in which a regular expression is found.
    Matches,
    /// Neither absent nor `null`.
    Exists,
    /// Absent or `null`.
    NotExists,
}

/// What a condition compares with.
#[derive(Clone, Debug)]
pub enum Operand {
    /// Nothing, which the operator does not need.
    None,
    /// A literal.
    Literal(Value),
    /// A literal expression of [`Operator::Matches`]; `None` = it does not compile, so it matches nothing.
    Regexp(Option<Regexp>),
    /// A reference.
    Reference(Reference),
}

impl Condition {
    /// Compiles a condition; `None` if it has errors that validation reports.
    #[must_use]
    pub fn parse(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        let operator = Operator::parse(object.get("operator")?.as_str()?)?;
        let source = Source::parse(object.get("source")?.as_object()?)?;
        let operand = match object.get("value") {
            _ if matches!(operator, Operator::Exists | Operator::NotExists) => Operand::None,
            Some(value) => Operand::parse(value, operator),
            None => return None,
        };
        Some(Self { source, operator, operand })
    }

    /// Tells whether the condition holds.
    ///
    /// # Errors
    ///
    /// If a template of a fact pattern cannot be resolved, which abandons the activation.
    pub fn holds(&self, scope: &dyn Scope) -> Result<bool, ResolveError> {
        let source = self.source.read(scope)?;
        let source = source.as_deref();
        Ok(match &self.operand {
            Operand::None => self.operator.apply(source, None),
            Operand::Literal(value) => self.operator.apply(source, Some(value)),
            Operand::Regexp(regexp) => {
                let text = source.and_then(Value::as_str);
                regexp.as_ref().zip(text).is_some_and(|(regexp, text)| regexp.is_match(text))
            }
            Operand::Reference(reference) => {
                self.operator.apply(source, reference.resolve(scope)?.as_deref())
            }
        })
    }

    /// Tells whether all conditions hold; the first that does not ends the evaluation.
    ///
    /// # Errors
    ///
    /// As [`Condition::holds`].
    pub fn all_hold(conditions: &[Condition], scope: &dyn Scope) -> Result<bool, ResolveError> {
        for condition in conditions {
            if !condition.holds(scope)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Source {
    fn parse(object: &Object) -> Option<Self> {
        let text = |name: &str| object.get(name)?.as_str();
        Some(match text("type")? {
            "event" => Self::Event(Path::parse(text("field")?)),
            "fact" => Self::Fact(FactSource::parse(text("pattern")?)?),
            "context" => {
                let key = text("key")?;
                let (variable, path) = match key.split_once('.') {
                    Some((variable, path)) => (variable, Path::parse(path)),
                    None => (key, Path::root()),
                };
                Self::Context { variable: variable.into(), path }
            }
            "lookup" => Self::Lookup {
                name: text("name")?.into(),
                path: text("field").map_or_else(Path::root, Path::parse),
            },
            "baseline" => Self::Baseline(BaselineCheck {
                metric: text("metric")?.into(),
                comparison: BaselineComparison::parse(text("comparison")?)?,
                sensitivity: object.get("sensitivity").and_then(Value::as_number),
            }),
            _ => return None,
        })
    }

    /// Gives the value; `None` = absent.
    ///
    /// # Errors
    ///
    /// If a template cannot be resolved.
    pub fn read<'a>(&'a self, scope: &'a dyn Scope) -> Result<Option<Cow<'a, Value>>, ResolveError> {
        Ok(match self {
            Self::Event(path) => path.get_payload(scope),
            Self::Fact(fact) => fact.read(scope)?.map(Cow::Borrowed),
            Self::Context { variable, path } => scope.variable(variable).and_then(|value| path.get(value)),
            Self::Lookup { name, path } => scope.lookup(name).and_then(|value| path.get(value)),
            Self::Baseline(check) => scope.anomaly(check).map(|anomalous| Cow::Owned(Value::Bool(anomalous))),
        })
    }
}

impl FactSource {
    fn parse(text: &str) -> Option<Self> {
        let template = Template::parse(text);
        Some(match (template.as_constant(), template.has_wildcard()) {
            (Some(key), false) => Self::Key(key.into()),
            (Some(pattern), true) => Self::Pattern(Pattern::parse(pattern, Space::Key).ok()?),
            (None, false) => Self::KeyTemplate(template),
            (None, true) => Self::PatternTemplate(template),
        })
    }

    fn read<'a>(&self, scope: &'a dyn Scope) -> Result<Option<&'a Value>, ResolveError> {
        Ok(match self {
            Self::Key(key) => scope.fact(key),
            Self::Pattern(pattern) => scope.first_fact(pattern),
            Self::KeyTemplate(template) => scope.fact(&template.expand(scope)?),
            Self::PatternTemplate(template) => scope.first_fact(&template.expand_pattern(Space::Key, scope)?),
        })
    }
}

impl BaselineComparison {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "above" => Self::Above,
            "below" => Self::Below,
            "outside" => Self::Outside,
            "above_percentile" => Self::AbovePercentile,
            "below_percentile" => Self::BelowPercentile,
            _ => return None,
        })
    }
}

impl Operand {
    fn parse(value: &Value, operator: Operator) -> Self {
        if let Some(text) = value.as_object().and_then(|object| object.get("ref")?.as_str())
            && let Some(reference) = Reference::parse_operand(text)
        {
            return Self::Reference(reference);
        }
        match value.as_str() {
            Some(text) if operator == Operator::Matches => Self::Regexp(Regexp::parse(text)),
            _ => Self::Literal(value.clone()),
        }
    }
}

impl Operator {
    /// Reads the name of an operator.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "eq" => Self::Eq,
            "neq" => Self::Neq,
            "gt" => Self::Gt,
            "gte" => Self::Gte,
            "lt" => Self::Lt,
            "lte" => Self::Lte,
            "in" => Self::In,
            "not_in" => Self::NotIn,
            "contains" => Self::Contains,
            "not_contains" => Self::NotContains,
            "matches" => Self::Matches,
            "exists" => Self::Exists,
            "not_exists" => Self::NotExists,
            _ => return None,
        })
    }

    /// Gives the name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Neq => "neq",
            Self::Gt => "gt",
            Self::Gte => "gte",
            Self::Lt => "lt",
            Self::Lte => "lte",
            Self::In => "in",
            Self::NotIn => "not_in",
            Self::Contains => "contains",
            Self::NotContains => "not_contains",
            Self::Matches => "matches",
            Self::Exists => "exists",
            Self::NotExists => "not_exists",
        }
    }

    /// Applies the operator to two values; `None` = absent.
    #[must_use]
    pub fn apply(self, source: Option<&Value>, operand: Option<&Value>) -> bool {
        let numbers = || source?.as_number().zip(operand?.as_number());
        match self {
            Self::Eq => equal(source, operand),
            Self::Neq => !equal(source, operand),
            Self::Gt => numbers().is_some_and(|(left, right)| left > right),
            Self::Gte => numbers().is_some_and(|(left, right)| left >= right),
            Self::Lt => numbers().is_some_and(|(left, right)| left < right),
            Self::Lte => numbers().is_some_and(|(left, right)| left <= right),
            Self::In => elements(operand).is_some_and(|items| has_element(items, source)),
            Self::NotIn => elements(operand).is_some_and(|items| !has_element(items, source)),
            Self::Contains => contains(source, operand),
            Self::NotContains => !contains(source, operand),
            Self::Matches => {
                let texts = source.and_then(Value::as_str).zip(operand.and_then(Value::as_str));
                texts.is_some_and(|(text, regexp)| {
                    Regexp::parse(regexp).is_some_and(|regexp| regexp.is_match(text))
                })
            }
            Self::Exists => source.is_some_and(|value| !value.is_null()),
            Self::NotExists => source.is_none_or(Value::is_null),
        }
    }
}

fn equal(left: Option<&Value>, right: Option<&Value>) -> bool {
    left.zip(right).is_some_and(|(left, right)| deep_equal(left, right))
}

fn elements(value: Option<&Value>) -> Option<&[Value]> {
    value.and_then(Value::as_array)
}

fn has_element(items: &[Value], wanted: Option<&Value>) -> bool {
    items.iter().any(|item| equal(Some(item), wanted))
}

fn contains(source: Option<&Value>, operand: Option<&Value>) -> bool {
    match (source, operand) {
        (Some(Value::String(text)), Some(Value::String(part))) => text.contains(part.as_str()),
        (Some(Value::Array(items)), _) => has_element(items, operand),
        _ => false,
    }
}
