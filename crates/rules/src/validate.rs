//! What can be wrong with a rule: every problem with its path, text and severity.
//!
//! Checks the structure only; whether an id is free or a group exists is not asked. Problems that only this engine
//! reports come after those that clients have always seen, so that the lists they know stay as they are.
//! Invariant: a rule without errors compiles.
//! Source: the rules specification, section 2.15, decisions D10 to D12.

mod action;
mod condition;
mod lookup;
mod temporal;
#[cfg(test)]
mod tests;
mod trigger;

pub(crate) use action::{ON_EXPIRE_DATA, ON_EXPIRE_TOPIC};

use crate::{Argument, PatternError, Template};
use noex_json::{CompactString, Object, Value};
use std::fmt::{self, Write};

/// How serious an issue is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// The rule is refused.
    Error,
    /// The rule is accepted, but part of it can never have an effect.
    Warning,
}

impl Severity {
    /// Gives the name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One problem of a rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issue {
    /// Where: members after dots, elements in brackets; `(root)` for the rule itself.
    pub path: CompactString,
    /// What is wrong.
    pub message: CompactString,
    /// How serious it is.
    pub severity: Severity,
}

impl Issue {
    /// Gives `{ path, message, severity }`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut object = Object::new();
        object.set("path", self.path.clone());
        object.set("message", self.message.clone());
        object.set("severity", self.severity.as_str());
        Value::from(object)
    }
}

/// All problems of a rule.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// Why the rule is refused.
    pub errors: Vec<Issue>,
    /// What will have no effect.
    pub warnings: Vec<Issue>,
}

impl Report {
    /// Tells whether there are no errors.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }

    /// Gives `{ valid, errors, warnings }`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let list = |issues: &[Issue]| issues.iter().map(Issue::to_value).collect::<Vec<_>>();
        let mut object = Object::new();
        object.set("valid", self.is_valid());
        object.set("errors", list(&self.errors));
        object.set("warnings", list(&self.warnings));
        Value::from(object)
    }
}

/// Finds all problems of a rule.
#[must_use]
pub fn validate(rule: &Value) -> Report {
    let mut check = Check::default();
    match rule.as_object() {
        Some(rule) => check.rule(rule),
        None => check.error(&At::Root, "Rule must be an object"),
    }
    check.finish()
}

/// A place in a rule; written out only where there is a problem.
#[derive(Clone, Copy)]
enum At<'a> {
    Root,
    Member(&'a At<'a>, &'a str),
    Element(&'a At<'a>, usize),
}

impl<'a> At<'a> {
    fn member(&'a self, name: &'a str) -> At<'a> {
        At::Member(self, name)
    }

    fn element(&'a self, index: usize) -> At<'a> {
        At::Element(self, index)
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("(root)"),
            Self::Member(Self::Root, name) => f.write_str(name),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Element(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Problems found so far, and what surrounds the place that is checked.
#[derive(Default)]
struct Check {
    report: Report,
    /// Problems that come after those of `report`.
    late: Report,
    /// How many of the surrounding actions have members that clients have not always seen checked.
    unchecked: usize,
    /// Variables that are set here.
    variables: Vec<CompactString>,
    /// How many lists of actions surround this place.
    depth: usize,
}

impl Check {
    fn finish(self) -> Report {
        let Self { mut report, late, .. } = self;
        report.errors.extend(late.errors);
        report.warnings.extend(late.warnings);
        report
    }

    fn error(&mut self, at: &At<'_>, message: impl fmt::Display) {
        let report = if self.unchecked > 0 { &mut self.late } else { &mut self.report };
        report.errors.push(issue(at, message, Severity::Error));
    }

    fn warning(&mut self, at: &At<'_>, message: impl fmt::Display) {
        let report = if self.unchecked > 0 { &mut self.late } else { &mut self.report };
        report.warnings.push(issue(at, message, Severity::Warning));
    }

    fn late_error(&mut self, at: &At<'_>, message: impl fmt::Display) {
        self.late.errors.push(issue(at, message, Severity::Error));
    }

    fn late_warning(&mut self, at: &At<'_>, message: impl fmt::Display) {
        self.late.warnings.push(issue(at, message, Severity::Warning));
    }

    fn rule(&mut self, rule: &Object) {
        let root = At::Root;
        for name in ["id", "name"] {
            match rule.get(name) {
                None => self.error(&root.member(name), format_args!("Required field \"{name}\" is missing")),
                Some(value) => self.filled_text(&root, name, value),
            }
        }
        if !rule.contains("trigger") {
            self.error(&root.member("trigger"), "Required field \"trigger\" is missing");
        }
        self.optional_members(rule);
        if let Some(trigger) = rule.get("trigger") {
            self.trigger(trigger, &root.member("trigger"));
        }
        if let Some(conditions) = rule.get("conditions") {
            let at = root.member("conditions");
            match conditions.as_array() {
                Some(conditions) => self.conditions(conditions, &at),
                None => self.error(&at, "Conditions must be an array"),
            }
        }
        if let Some(actions) = rule.get("actions") {
            let at = root.member("actions");
            match actions.as_array() {
                Some([]) => self.warning(&at, "Rule has no actions"),
                Some(actions) => self.actions(actions, &at),
                None => self.error(&at, "Actions must be an array"),
            }
        }
        if let Some(lookups) = rule.get("lookups") {
            self.lookups(lookups, &root.member("lookups"));
        }
    }

    fn optional_members(&mut self, rule: &Object) {
        let root = At::Root;
        if rule.get("description").is_some_and(|value| value.as_str().is_none()) {
            self.error(&root.member("description"), "Field \"description\" must be a string");
        }
        if let Some(priority) = rule.get("priority") {
            let at = root.member("priority");
            match priority.as_number() {
                None => self.error(&at, "Field \"priority\" must be a number"),
                Some(number) if number.fract() != 0.0 || !number.is_finite() => {
                    self.warning(&at, "Field \"priority\" should be an integer");
                }
                Some(_) => {}
            }
        }
        if rule.get("enabled").is_some_and(|value| value.as_bool().is_none()) {
            self.error(&root.member("enabled"), "Field \"enabled\" must be a boolean");
        }
        if let Some(tags) = rule.get("tags") {
            let at = root.member("tags");
            match tags.as_array() {
                None => self.error(&at, "Field \"tags\" must be an array"),
                Some(tags) => {
                    for (i, _) in tags.iter().enumerate().filter(|(_, tag)| tag.as_str().is_none()) {
                        self.error(&at.element(i), "Tag must be a string");
                    }
                }
            }
        }
        if let Some(group) = rule.get("group") {
            self.filled_text(&root, "group", group);
        }
    }

    fn filled_text(&mut self, parent: &At<'_>, name: &str, value: &Value) {
        match value.as_str() {
            None => self.error(&parent.member(name), format_args!("Field \"{name}\" must be a string")),
            Some(text) if is_blank(text) => {
                self.error(&parent.member(name), format_args!("Field \"{name}\" cannot be empty"));
            }
            Some(_) => {}
        }
    }

    /// Finds a required text; `owner` begins the messages.
    fn text<'v>(&mut self, object: &'v Object, at: &At<'_>, owner: &str, name: &str) -> Option<&'v str> {
        let at = at.member(name);
        let Some(value) = object.get(name) else {
            self.error(&at, format_args!("{owner} must have a \"{name}\" field"));
            return None;
        };
        if value.as_str().is_none() {
            self.error(&at, format_args!("{owner} {name} must be a string"));
        }
        value.as_str()
    }

    /// Finds a required text that may not be blank.
    fn full_text<'v>(&mut self, object: &'v Object, at: &At<'_>, owner: &str, name: &str) -> Option<&'v str> {
        let text = self.text(object, at, owner, name)?;
        if is_blank(text) {
            self.error(&at.member(name), format_args!("{owner} {name} cannot be empty"));
            return None;
        }
        Some(text)
    }

    fn unknown_source(&mut self, at: &At<'_>, source: Option<&str>) {
        if let Some(source) = source {
            self.late_warning(at, format_args!("Unknown reference source: {source}"));
        }
    }

    fn template(&mut self, text: &str, at: &At<'_>) {
        self.unknown_source(at, Template::parse(text).unknown_source());
    }

    fn argument(&mut self, value: &Value, at: &At<'_>) {
        self.unknown_source(at, Argument::parse(value).unknown_source());
    }

    /// Warns of patterns that match nothing that people have in mind, and refuses those that cannot be compiled.
    fn pattern(&mut self, at: &At<'_>, empty_segment: bool, compiled: Result<(), PatternError>) {
        if empty_segment {
            self.late_warning(at, "Pattern has an empty segment");
        }
        if let Err(error) = compiled {
            self.late_error(at, error);
        }
    }
}

fn issue(at: &At<'_>, message: impl fmt::Display, severity: Severity) -> Issue {
    let (mut path, mut text) = (CompactString::default(), CompactString::default());
    let _ = write!(path, "{at}");
    let _ = write!(text, "{message}");
    Issue { path, message: text, severity }
}

/// Tells whether a text has nothing but what ECMAScript trims.
fn is_blank(text: &str) -> bool {
    text.chars().all(|c| (c.is_whitespace() && c != '\u{85}') || c == '\u{FEFF}')
}
