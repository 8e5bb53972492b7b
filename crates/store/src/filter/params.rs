//! Parameters of declarative queries inside filters.
//!
//! A string that is exactly `{{ params.<word> }}` stands for a parameter with its JSON type. What a parameter brings
//! is never searched for placeholders again.
//! Source: the store specification, sections 9.3 and 16.2, decision E-7.

use crate::schema::is_space;
use noex_json::{CompactString, Object, Value};

/// Where the values of placeholders come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Params<'a> {
    /// There are no placeholders: every string is itself.
    Literal,
    /// Their values are not known yet: only what does not depend on them is checked.
    Unknown,
    /// They are members of this value.
    Given {
        /// The parameters; `None` = none.
        params: Option<&'a Value>,
        /// Whether an object may act as a condition with operators.
        operators: bool,
    },
}

/// An operand after substitution.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand<'a> {
    /// Written in the filter.
    Literal(&'a Value),
    /// A parameter's value; `operators` = it may act as a condition.
    Param { value: &'a Value, operators: bool },
    /// A parameter that is not given.
    Missing,
    /// A parameter whose value is not known yet.
    Unknown,
}

impl<'a> Params<'a> {
    /// Resolves a part of a filter.
    pub(super) fn resolve(&self, part: &'a Value) -> Operand<'a> {
        let Value::String(text) = part else { return Operand::Literal(part) };
        let Self::Literal = self else {
            let Some(word) = placeholder(text) else { return Operand::Literal(part) };
            return self.lookup(word);
        };
        Operand::Literal(part)
    }

    fn lookup(&self, word: &str) -> Operand<'a> {
        match self {
            Self::Literal | Self::Unknown => Operand::Unknown,
            Self::Given { params, operators } => match params.and_then(|params| member(params, word)) {
                Some(value) => Operand::Param { value, operators: *operators },
                None => Operand::Missing,
            },
        }
    }
}

impl<'a> Operand<'a> {
    /// Gives the value, if there is one.
    pub(super) fn value(self) -> Option<&'a Value> {
        match self {
            Self::Literal(value) | Self::Param { value, .. } => Some(value),
            Self::Missing | Self::Unknown => None,
        }
    }
}

/// Finds a parameter by its word: a member of an object, or an element of an array by its canonical index.
pub(crate) fn member<'a>(params: &'a Value, word: &str) -> Option<&'a Value> {
    match params {
        Value::Object(object) => object.get(word),
        Value::Array(items) => {
            let canonical = word == "0" || !word.starts_with('0');
            canonical.then(|| word.parse::<usize>().ok()).flatten().and_then(|at| items.get(at))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Lists the words of all placeholders of a filter, sorted, each once.
pub(crate) fn placeholders(filter: &Object) -> Vec<CompactString> {
    let mut words = Vec::new();
    filter.iter().for_each(|(_, part)| collect(part, &mut words));
    words.sort_unstable();
    words.dedup();
    words
}

fn collect(part: &Value, words: &mut Vec<CompactString>) {
    match part {
        Value::String(text) => words.extend(placeholder(text).map(CompactString::from)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, words)),
        Value::Object(object) => object.iter().for_each(|(_, member)| collect(member, words)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Reads `{{`, white space, `params.`, a word of letters, digits and underscores, white space, `}}`.
fn placeholder(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?;
    let word = inner.trim_start_matches(is_space).strip_prefix("params.")?.trim_end_matches(is_space);
    let is_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_word.then_some(word)
}
