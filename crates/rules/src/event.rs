//! Events: what happened, as an immutable value, and its JSON.
//!
//! Source: the rule engine's description, 1.5 and 2.4.

use crate::size::value_bytes;
use noex_json::{CompactString, Object, Value, write_string, write_value};
use std::{fmt::Write, sync::Arc};

/// Who caused an event or wrote a fact.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Origin {
    /// A client or the host.
    Api,
    /// An action of a rule.
    Rule,
    /// An expired timer.
    Timer,
}

impl Origin {
    /// Gives the text that clients see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Rule => "rule",
            Self::Timer => "timer",
        }
    }
}

/// Something that happened. Never changes once made.
#[derive(Clone, Debug)]
pub struct Event {
    /// Unique and opaque.
    pub id: CompactString,
    /// Segments separated by dots, by convention only.
    pub topic: CompactString,
    /// The payload: always an object, possibly empty.
    pub data: Value,
    /// Logical time of the input that caused it, Unix milliseconds.
    pub timestamp: u64,
    /// Ties the events of one business transaction together.
    pub correlation_id: Option<CompactString>,
    /// The event or timer that led to this one.
    pub causation_id: Option<CompactString>,
    /// Who caused it.
    pub source: Origin,
}

impl Event {
    /// Appends the event's JSON, members in the order of the protocol.
    pub fn write_json(&self, out: &mut String) {
        out.push_str("{\"id\":");
        write_string(out, &self.id);
        out.push_str(",\"topic\":");
        write_string(out, &self.topic);
        out.push_str(",\"data\":");
        write_value(out, &self.data);
        // Writing to a string cannot fail.
        let _ = write!(out, ",\"timestamp\":{}", self.timestamp);
        for (name, id) in [("correlationId", &self.correlation_id), ("causationId", &self.causation_id)] {
            if let Some(id) = id {
                let _ = write!(out, ",\"{name}\":");
                write_string(out, id);
            }
        }
        let _ = write!(out, ",\"source\":\"{}\"}}", self.source.as_str());
    }

    /// Gives the event's JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(160);
        self.write_json(&mut out);
        out
    }

    /// Gives the event as a value with the members that clients see.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut object = Object::new();
        object.set("id", self.id.clone());
        object.set("topic", self.topic.clone());
        object.set("data", self.data.clone());
        object.set("timestamp", time_value(self.timestamp));
        if let Some(id) = &self.correlation_id {
            object.set("correlationId", id.clone());
        }
        if let Some(id) = &self.causation_id {
            object.set("causationId", id.clone());
        }
        object.set("source", self.source.as_str());
        Value::from(object)
    }

    /// Serialises the `data` of a push: `{"topic":..,"event":{..}}`.
    pub(crate) fn push_text(&self) -> Arc<str> {
        let mut out = String::with_capacity(192);
        out.push_str("{\"topic\":");
        write_string(&mut out, &self.topic);
        out.push_str(",\"event\":");
        self.write_json(&mut out);
        out.push('}');
        out.into()
    }

    /// Estimates the memory the event holds, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let ids = [&self.correlation_id, &self.causation_id].into_iter().flatten().map(|id| id.len());
        size_of::<Self>() + self.id.len() + self.topic.len() + ids.sum::<usize>() + value_bytes(&self.data)
    }
}

/// A time or counter as JSON number; exact up to 2^53, which is past the year 280000.
#[expect(clippy::cast_precision_loss, reason = "times and counters stay below 2^53")]
pub(crate) fn time_value(number: u64) -> Value {
    Value::Number(number as f64)
}
