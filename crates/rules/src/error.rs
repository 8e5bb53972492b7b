//! What callers are told when a call is refused.

use crate::{Issue, PatternError};
use noex_json::{CompactString, Object, Value};
use std::fmt;

/// What a limit counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LimitKind {
    /// Registered rules.
    Rules,
    /// Facts present.
    Facts,
    /// Active timers.
    Timers,
    /// Groups of rules.
    Groups,
}

/// Why a call was refused. `Display` gives the message that clients see.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RulesError {
    /// A rule with this id is registered already.
    AlreadyExists(CompactString),
    /// The rule is not valid; holds the errors, without warnings.
    Validation(Vec<Issue>),
    /// The rule names a group that does not exist.
    UnknownGroup(CompactString),
    /// A group with this id exists already.
    GroupExists(CompactString),
    /// No group has this id.
    GroupNotFound(CompactString),
    /// No rule has this id.
    NotFound(CompactString),
    /// No history of rules is kept.
    VersioningOff,
    /// The history of a rule has no such version.
    VersionNotFound {
        /// The rule.
        rule: CompactString,
        /// The version that was asked for.
        version: u64,
    },
    /// The engine has been stopped; holds its name.
    NotRunning(CompactString),
    /// A limit admits no more.
    LimitReached {
        /// What is limited.
        kind: LimitKind,
        /// How many there may be.
        max: usize,
    },
    /// A text cannot be used as a pattern.
    InvalidPattern(PatternError),
}

impl RulesError {
    /// Gives the `details` that go with the message, if any: a list of issues.
    #[must_use]
    pub fn details(&self) -> Option<Value> {
        match self {
            Self::Validation(issues) => Some(Value::Array(issues.iter().map(Issue::to_value).collect())),
            Self::UnknownGroup(group) => {
                let mut issue = Object::new();
                issue.set("path", "group");
                issue.set("message", format!("Group \"{group}\" does not exist").as_str());
                issue.set("severity", "error");
                Some(Value::from(vec![Value::from(issue)]))
            }
            Self::AlreadyExists(_)
            | Self::GroupExists(_)
            | Self::GroupNotFound(_)
            | Self::NotFound(_)
            | Self::VersioningOff
            | Self::VersionNotFound { .. }
            | Self::NotRunning(_)
            | Self::LimitReached { .. }
            | Self::InvalidPattern(_) => None,
        }
    }
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyExists(id) => write!(f, "Rule \"{id}\" already exists"),
            Self::Validation(_) => f.write_str("Rule validation failed"),
            Self::UnknownGroup(group) => write!(f, "Rule references non-existent group: \"{group}\""),
            Self::GroupExists(id) => write!(f, "Group \"{id}\" already exists"),
            Self::GroupNotFound(id) => write!(f, "Group \"{id}\" not found"),
            Self::NotFound(id) => write!(f, "Rule \"{id}\" not found"),
            Self::VersioningOff => f.write_str("Rule versioning is not configured"),
            Self::VersionNotFound { rule, version } => {
                write!(f, "Version {version} not found for rule '{rule}'")
            }
            Self::NotRunning(name) => write!(f, "RuleEngine \"{name}\" is not running"),
            Self::LimitReached { kind, max } => {
                let what = match kind {
                    LimitKind::Rules => "Rule",
                    LimitKind::Facts => "Fact",
                    LimitKind::Timers => "Timer",
                    LimitKind::Groups => "Group",
                };
                write!(f, "{what} limit reached (max {max})")
            }
            Self::InvalidPattern(error) => write!(f, "Invalid pattern: {error}"),
        }
    }
}

impl std::error::Error for RulesError {}
