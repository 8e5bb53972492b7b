//! What an engine hands to its host.

use crate::LogLevel;
use noex_json::CompactString;
use std::sync::Arc;

/// Identifies a subscription; chosen by the host.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SubscriberId(pub u64);

/// Something for the host to do, in the order in which it came about.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Deliver an event to a subscription.
    Event {
        /// Whom to.
        subscriber: SubscriberId,
        /// The push's `data`: `{"topic":..,"event":{..}}`; serialised once for all subscribers.
        event: Arc<str>,
    },
    /// Write a line to the log.
    Log {
        /// How important it is.
        level: LogLevel,
        /// What to write.
        message: String,
        /// The rule that wrote it, or that it is about.
        rule: Option<CompactString>,
    },
    /// An action failed; the rule went on, unless the action was in a `try`.
    ActionFailed {
        /// The rule.
        rule: CompactString,
        /// Place of the action in its list, from 0.
        index: usize,
        /// Type of the action, as in the rule.
        action: &'static str,
        /// Why.
        message: String,
    },
}
