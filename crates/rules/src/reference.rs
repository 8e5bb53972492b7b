//! References to what an activation can see, resolved through [`Scope`].
//!
//! Paths, references and templates are compiled once, with the rule. Resolving one never fails for lack of a value:
//! absence is `None`. Only own members of objects count.
//! Source: the rules specification, section 2.10, decisions D14 to D17.

mod path;
mod template;
#[cfg(test)]
mod tests;

pub use path::Path;
pub use template::Template;

use crate::{BaselineCheck, Pattern, PatternError};
use noex_json::{CompactString, Object, Value, text_form};
use std::borrow::Cow;
use std::fmt;

/// What conditions, references and templates of one activation can see.
pub trait Scope {
    /// Gives the payload of the trigger, an object.
    fn payload(&self) -> &Value;

    /// Gives a member that the payload has in addition to its own: `$id`, `$topic`, `$timestamp`, `$correlationId`,
    /// `$causationId` and `$source` of the triggering event, and `$captures`, the array of texts that the wildcards
    /// of the trigger matched. Asked for names with `$` only, and only when the payload has no such member.
    fn envelope(&self, name: &str) -> Option<Value> {
        let _ = name;
        None
    }

    /// Gives the value of a fact.
    fn fact(&self, key: &str) -> Option<&Value>;

    /// Gives the value of the first fact, in creation sequence, whose key matches.
    fn first_fact(&self, pattern: &Pattern) -> Option<&Value>;

    /// Gives a variable, as `for_each` and `catch` set them.
    fn variable(&self, name: &str) -> Option<&Value>;

    /// Gives the data of a matched event: of an event trigger, index 0 is the event.
    fn matched(&self, index: usize) -> Option<&Value>;

    /// Gives the data of the matched event with an alias.
    fn matched_alias(&self, alias: &str) -> Option<&Value> {
        let _ = alias;
        None
    }

    /// Gives the result of a lookup.
    fn lookup(&self, name: &str) -> Option<&Value> {
        let _ = name;
        None
    }

    /// Gives the statistics of a baseline metric.
    fn baseline(&self, metric: &str) -> Option<&Value> {
        let _ = metric;
        None
    }

    /// Gives the outcome of an anomaly check; `None` while there is none.
    fn anomaly(&self, check: &BaselineCheck) -> Option<bool> {
        let _ = check;
        None
    }
}

/// Why a reference or a template could not be resolved. `Display` gives the message of the failed action.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ResolveError {
    /// The reference does not begin with a known source.
    UnknownSource(CompactString),
    /// The text of a template is longer than allowed.
    TooLong,
    /// A fact pattern with interpolated text is no usable pattern.
    Pattern(PatternError),
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSource(source) => write!(f, "Unknown reference source: {source}"),
            Self::TooLong => {
                write!(f, "Template result is longer than {} bytes", template::EXPANDED_BYTES_MAX)
            }
            Self::Pattern(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ResolveError {}

/// A resolved value; `None` = absent.
pub(crate) type Resolved<'a> = Option<Cow<'a, Value>>;

/// A compiled reference.
#[derive(Clone, Debug)]
pub struct Reference(Source);

#[derive(Clone, Debug)]
enum Source {
    Payload(Path),
    /// The key, followed by a path if no fact has the whole as its key.
    Fact(Template),
    Variable(CompactString, Path),
    Matched(CompactString, Path),
    Lookup(CompactString, Path),
    Baseline(CompactString, Path),
    Unknown(CompactString),
}

impl Reference {
    /// Compiles a reference as actions and templates use it. An unknown source is an error only when it is resolved.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (source, rest) = split_first(text);
        Self(match source {
            "matched" => {
                let (which, path) = named(rest);
                Source::Matched(which, path)
            }
            _ => Self::common(source, rest).unwrap_or_else(|| Source::Unknown(source.into())),
        })
    }

    /// Compiles a reference as operands of conditions use it; `None` = the operand is the literal object.
    #[must_use]
    pub fn parse_operand(text: &str) -> Option<Self> {
        let (source, rest) = split_first(text);
        if source == "baseline" {
            let (metric, path) = named(rest);
            return Some(Self(Source::Baseline(metric, path)));
        }
        Self::common(source, rest).map(Self)
    }

    fn common(source: &str, rest: Option<&str>) -> Option<Source> {
        Some(match source {
            "event" | "trigger" => Source::Payload(rest.map_or_else(Path::root, Path::parse)),
            "fact" => Source::Fact(Template::parse(rest.unwrap_or_default())),
            "var" => {
                let (name, path) = named(rest);
                Source::Variable(name, path)
            }
            "lookup" => {
                let (name, path) = named(rest);
                Source::Lookup(name, path)
            }
            _ => return None,
        })
    }

    /// Gives the value.
    ///
    /// # Errors
    ///
    /// If the source of the reference is unknown, or a reference in a fact key cannot be resolved.
    pub fn resolve<'a>(&self, scope: &'a dyn Scope) -> Result<Option<Cow<'a, Value>>, ResolveError> {
        Ok(match &self.0 {
            Source::Payload(path) => path.get_payload(scope),
            Source::Fact(key) => fact(&key.expand(scope)?, scope),
            Source::Variable(name, path) => scope.variable(name).and_then(|value| path.get(value)),
            Source::Matched(which, path) => matched(which, scope).and_then(|data| path.get_data(data)),
            Source::Lookup(name, path) => scope.lookup(name).and_then(|value| path.get(value)),
            Source::Baseline(metric, path) => scope.baseline(metric).and_then(|value| path.get(value)),
            Source::Unknown(source) => return Err(ResolveError::UnknownSource(source.clone())),
        })
    }

    /// Gives the first unknown source in this reference or in the key that it is made of.
    pub(crate) fn unknown_source(&self) -> Option<&str> {
        match &self.0 {
            Source::Unknown(source) => Some(source),
            Source::Fact(key) => key.unknown_source(),
            Source::Payload(_)
            | Source::Variable(..)
            | Source::Matched(..)
            | Source::Lookup(..)
            | Source::Baseline(..) => None,
        }
    }
}

/// Splits a reference at its first dot.
fn split_first(text: &str) -> (&str, Option<&str>) {
    text.split_once('.').map_or((text, None), |(first, rest)| (first, Some(rest)))
}

/// Splits the rest of a reference into a name and a path.
fn named(rest: Option<&str>) -> (CompactString, Path) {
    let (name, rest) = split_first(rest.unwrap_or_default());
    (name.into(), rest.map_or_else(Path::root, Path::parse))
}

/// Finds a fact by its whole key, or by the longest prefix that ends before a dot and a path into its value.
fn fact<'a>(key: &str, scope: &'a dyn Scope) -> Resolved<'a> {
    if let Some(value) = scope.fact(key) {
        return Some(Cow::Borrowed(value));
    }
    let (at, value) = key.rmatch_indices('.').take(FACT_STEPS_MAX).find_map(|(at, _)| {
        let value = scope.fact(key.get(..at)?)?;
        Some((at, value))
    })?;
    Path::parse(key.get(at + 1..)?).get(value)
}

fn matched<'a>(which: &str, scope: &'a dyn Scope) -> Option<&'a Value> {
    let by_index = noex_json::array_index(which).and_then(|index| scope.matched(index));
    by_index.or_else(|| scope.matched_alias(which))
}

/// A value of an action: a literal, or a reference to be resolved.
#[derive(Clone, Debug)]
pub enum Argument {
    /// Taken as it is.
    Literal(Value),
    /// `{ "ref": … }`.
    Reference(Reference),
}

impl Argument {
    /// Compiles a value. An object with a member `ref` is a reference, whatever else it has.
    #[must_use]
    pub fn parse(value: &Value) -> Self {
        match value.as_object().and_then(|object| object.get("ref")) {
            None => Self::Literal(value.clone()),
            Some(reference) => Self::Reference(match reference.as_str() {
                Some(text) => Reference::parse(text),
                None => Reference(Source::Unknown(text_form(Some(reference)).into())),
            }),
        }
    }

    /// Gives the value.
    ///
    /// # Errors
    ///
    /// As [`Reference::resolve`].
    pub fn resolve<'a>(&'a self, scope: &'a dyn Scope) -> Result<Option<Cow<'a, Value>>, ResolveError> {
        match self {
            Self::Literal(value) => Ok(Some(Cow::Borrowed(value))),
            Self::Reference(reference) => reference.resolve(scope),
        }
    }

    /// Gives the value of a fact or of an argument of a service, where absent means `null`.
    ///
    /// # Errors
    ///
    /// As [`Reference::resolve`].
    pub fn resolve_or_null(&self, scope: &dyn Scope) -> Result<Value, ResolveError> {
        Ok(self.resolve(scope)?.map(Cow::into_owned).unwrap_or_default())
    }

    /// Gives the members of the data of an event or a timer, where absent ones are omitted.
    ///
    /// # Errors
    ///
    /// As [`Reference::resolve`].
    pub fn resolve_members(
        members: &[(CompactString, Argument)],
        scope: &dyn Scope,
    ) -> Result<Object, ResolveError> {
        let mut resolved = Vec::with_capacity(members.len());
        for (name, argument) in members {
            if let Some(value) = argument.resolve(scope)? {
                resolved.push((name.clone(), value.into_owned()));
            }
        }
        Ok(resolved.into_iter().collect())
    }

    pub(crate) fn unknown_source(&self) -> Option<&str> {
        match self {
            Self::Literal(_) => None,
            Self::Reference(reference) => reference.unknown_source(),
        }
    }
}

/// Most steps of a path behind a fact key: values nest no deeper. It bounds the look-ups for a key full of dots.
const FACT_STEPS_MAX: usize = 128;
