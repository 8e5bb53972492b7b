//! Validation of one value against its field definition.
//!
//! Issues come in the order of the schema, depth first. The depth of the recursion is that of the definition, which
//! parsing bounds; paths are only written out when there is an issue.

use super::{format::Format, pattern::Pattern};
use crate::error::Issue;
use crate::members::{Fields, SEARCH_COST_MAX};
use hashbrown::HashMap;
use noex_json::{CompactString, Value, identical, text_form, utf16_len};
use std::fmt;

/// Declared type of a field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    String,
    Number,
    Boolean,
    Object,
    Array,
    Date,
}

/// What a field definition demands of a value.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) kind: Kind,
    pub(super) required: bool,
    pub(super) allowed: Option<Vec<Value>>,
    pub(super) length_min: Option<f64>,
    pub(super) length_max: Option<f64>,
    pub(super) pattern: Option<Pattern>,
    pub(super) format: Option<Format>,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
    pub(super) inside: Inside,
}

/// What is demanded of the parts of a value.
#[derive(Clone, Debug)]
pub(super) enum Inside {
    Anything,
    Properties(Vec<(CompactString, Rule)>),
    Items(Box<Rule>),
}

/// Where a value is: `a.b`, `tags[0]`.
#[derive(Debug)]
pub(super) enum Path<'a> {
    Member(Option<&'a Path<'a>>, &'a str),
    Item(&'a Path<'a>, usize),
}

/// Members of a record by name. Small records are searched, large ones get a map, so that a check costs no more than
/// record and schema together are long.
#[derive(Debug)]
pub(super) enum Lookup<'a, F> {
    Search(&'a F),
    Map(HashMap<&'a str, &'a Value>),
}

impl Kind {
    pub(super) fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::String,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            "object" => Self::Object,
            "array" => Self::Array,
            "date" => Self::Date,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Object => "object",
            Self::Array => "array",
            Self::Date => "date",
        }
    }

    fn accepts(self, value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Bool(_) => self == Self::Boolean,
            Value::Number(_) => matches!(self, Self::Number | Self::Date),
            Value::String(_) => matches!(self, Self::String | Self::Date),
            Value::Array(_) => self == Self::Array,
            Value::Object(_) => self == Self::Object,
        }
    }
}

impl Rule {
    /// Checks a value and appends the issues found. `required` demands a value whatever the definition says.
    pub(super) fn check(
        &self,
        value: Option<&Value>,
        required: bool,
        path: &Path<'_>,
        issues: &mut Vec<Issue>,
    ) {
        let Some(value) = value.filter(|value| !value.is_null()) else {
            if required || self.required {
                report(issues, path, "required", "Field is required".to_owned());
            }
            return;
        };
        if !self.kind.accepts(value) {
            let message = format!("Expected type \"{}\", got {}", self.kind.name(), value.type_name());
            report(issues, path, "type", message);
            return;
        }
        self.check_allowed(value, path, issues);
        match value {
            Value::String(text) => self.check_text(text, path, issues),
            Value::Number(number) => self.check_number(*number, path, issues),
            Value::Array(items) => {
                if let Inside::Items(rule) = &self.inside {
                    for (at, item) in items.iter().enumerate().filter(|(_, item)| !item.is_null()) {
                        rule.check(Some(item), false, &Path::Item(path, at), issues);
                    }
                }
            }
            Value::Object(object) => {
                if let Inside::Properties(rules) = &self.inside {
                    let members = Lookup::new(&**object, rules.len());
                    for (name, rule) in rules {
                        rule.check(members.find(name), false, &Path::Member(Some(path), name), issues);
                    }
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn check_allowed(&self, value: &Value, path: &Path<'_>, issues: &mut Vec<Issue>) {
        let Some(allowed) = &self.allowed else { return };
        if allowed.iter().any(|candidate| identical(Some(candidate), Some(value))) {
            return;
        }
        let values: Vec<String> = allowed.iter().map(|value| text_form(Some(value))).collect();
        report(issues, path, "enum", format!("Value must be one of: {}", values.join(", ")));
    }

    fn check_text(&self, text: &str, path: &Path<'_>, issues: &mut Vec<Issue>) {
        if self.length_min.is_some() || self.length_max.is_some() {
            #[expect(clippy::cast_precision_loss, reason = "texts are shorter than 2^53")]
            let length = utf16_len(text) as f64;
            if let Some(min) = self.length_min.filter(|min| length < *min) {
                report(issues, path, "minLength", format!("Minimum length is {}", number_text(min)));
            }
            if let Some(max) = self.length_max.filter(|max| length > *max) {
                report(issues, path, "maxLength", format!("Maximum length is {}", number_text(max)));
            }
        }
        if let Some(pattern) = self.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            report(issues, path, "pattern", format!("Value must match pattern \"{}\"", pattern.source()));
        }
        if let Some(format) = self.format.filter(|format| !format.accepts(text)) {
            report(issues, path, "format", format!("Invalid {} format", format.name()));
        }
    }

    fn check_number(&self, number: f64, path: &Path<'_>, issues: &mut Vec<Issue>) {
        if let Some(min) = self.min.filter(|min| number < *min) {
            report(issues, path, "min", format!("Minimum value is {}", number_text(min)));
        }
        if let Some(max) = self.max.filter(|max| number > *max) {
            report(issues, path, "max", format!("Maximum value is {}", number_text(max)));
        }
    }
}

fn report(issues: &mut Vec<Issue>, path: &Path<'_>, code: &'static str, message: String) {
    issues.push(Issue { field: path.to_string(), message, code });
}

fn number_text(number: f64) -> String {
    text_form(Some(&Value::Number(number)))
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(None, name) => f.write_str(name),
            Self::Member(Some(parent), name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, at) => write!(f, "{parent}[{at}]"),
        }
    }
}

impl<'a, F: Fields> Lookup<'a, F> {
    /// Prepares for about `lookups` searches.
    pub(super) fn new(object: &'a F, lookups: usize) -> Self {
        if object.iter().len().saturating_mul(lookups) <= SEARCH_COST_MAX {
            return Self::Search(object);
        }
        Self::Map(object.iter().map(|(name, value)| (name.as_str(), value)).collect())
    }

    pub(super) fn find(&self, name: &str) -> Option<&'a Value> {
        match self {
            Self::Search(object) => object.get(name),
            Self::Map(members) => members.get(name).copied(),
        }
    }
}
