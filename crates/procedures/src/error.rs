//! What can go wrong, with the exact texts that clients see.

use noex_json::{CompactString, Object, Value, text_form};
use std::fmt;

/// Why a procedure is not registered, changed or found.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DefinitionError {
    /// The definition is wrong: all issues.
    Invalid(Vec<String>),
    /// A step names a bucket that belongs to the server.
    SystemBucket(CompactString),
    /// The name is in use.
    AlreadyExists(CompactString),
    /// No procedure has this name.
    NotFound(CompactString),
    /// There are as many procedures as may be.
    LimitReached(usize),
}

impl DefinitionError {
    /// Gives the `details` of a response: the issues.
    #[must_use]
    pub fn details(&self) -> Option<Value> {
        match self {
            Self::Invalid(issues) => Some(issue_details(issues)),
            Self::SystemBucket(_) | Self::AlreadyExists(_) | Self::NotFound(_) | Self::LimitReached(_) => {
                None
            }
        }
    }
}

impl fmt::Display for DefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(issues) => write!(f, "Procedure validation failed: {}", issues.join("; ")),
            Self::SystemBucket(bucket) => write!(f, "Cannot access system bucket \"{bucket}\" directly"),
            Self::AlreadyExists(name) => write!(f, "Procedure \"{name}\" already exists"),
            Self::NotFound(name) => write!(f, "Procedure \"{name}\" not found"),
            Self::LimitReached(max) => write!(f, "Limit reached: at most {max} procedures"),
        }
    }
}

impl std::error::Error for DefinitionError {}

/// Why a call failed; `E` is the error of the engines.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CallError<E> {
    /// The input is no object.
    InputNotObject,
    /// The input is wrong: all issues.
    Input(Vec<String>),
    /// A step cannot be done with what it was given, or a limit is reached; the text is the complete message.
    Step(String),
    /// The time is up.
    TimedOut {
        /// Name of the procedure.
        procedure: CompactString,
        /// Its time limit in ms.
        timeout_ms: f64,
    },
    /// An engine refused.
    Engine(E),
}

impl<E> CallError<E> {
    /// Gives the text that clients see; `None` for an engine's error, which has its own.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        Some(match self {
            Self::InputNotObject => "Invalid \"input\": expected object".to_owned(),
            Self::Input(issues) => format!("Invalid procedure input: {}", issues.join("; ")),
            Self::Step(text) => text.clone(),
            Self::TimedOut { procedure, timeout_ms } => {
                let ms = text_form(Some(&Value::Number(*timeout_ms)));
                format!("Procedure \"{procedure}\" timed out after {ms}ms")
            }
            Self::Engine(_) => return None,
        })
    }

    /// Gives the `details` of a response: the issues of the input. Those of an engine's error are its own.
    #[must_use]
    pub fn details(&self) -> Option<Value> {
        match self {
            Self::Input(issues) => Some(issue_details(issues)),
            Self::InputNotObject | Self::Step(_) | Self::TimedOut { .. } | Self::Engine(_) => None,
        }
    }
}

fn issue_details(issues: &[String]) -> Value {
    let mut details = Object::new();
    details.set("issues", issues.iter().map(|issue| Value::from(issue.as_str())).collect::<Vec<_>>());
    Value::from(details)
}

/// Collects issues, up to a bound, so that a hostile text cannot be answered by one many times its size.
#[derive(Debug, Default)]
pub(crate) struct Issues(Vec<String>);

/// More than a definition within the default limits can have.
pub(crate) const ISSUES_MAX: usize = 1000;

impl Issues {
    pub(crate) fn push(&mut self, issue: String) {
        if self.0.len() < ISSUES_MAX {
            self.0.push(issue);
        } else if self.0.len() == ISSUES_MAX {
            self.0.push("further issues are not listed".to_owned());
        }
    }

    /// Ends the collection: there must be none.
    pub(crate) fn finish(self) -> Result<(), Vec<String>> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }
}
