//! Patterns over several events.

use super::{At, Check};
use crate::{Aggregation, Comparison, Space, duration_ms};
use noex_json::{Object, Value, text_form};

impl Check {
    pub(super) fn temporal(&mut self, pattern: &Value, at: &At<'_>) {
        let Some(pattern) = pattern.as_object() else {
            return self.error(at, "Temporal pattern must be an object");
        };
        match self.text_type(pattern, at, "Temporal pattern") {
            None => return,
            Some("sequence") => {
                self.sequence_events(pattern, at);
                self.window(pattern, at, "within");
                self.flag(pattern, at, "strict");
            }
            Some("absence") => {
                for name in ["after", "expected"] {
                    self.required_matcher(pattern, at, "Absence", name);
                }
                self.window(pattern, at, "within");
            }
            Some("count") => {
                self.required_matcher(pattern, at, "Count", "event");
                self.count_threshold(pattern, at);
                self.comparison(pattern, at);
                self.window(pattern, at, "window");
                self.flag(pattern, at, "sliding");
            }
            Some("aggregate") => {
                self.required_matcher(pattern, at, "Aggregate", "event");
                self.text(pattern, at, "Aggregate pattern", "field");
                self.function(pattern, at);
                self.aggregate_threshold(pattern, at);
                self.comparison(pattern, at);
                self.window(pattern, at, "window");
                self.flag(pattern, at, "sliding");
            }
            Some(other) => {
                let text = format_args!(
                    "Invalid temporal pattern type: {other}. Valid types: sequence, absence, count, aggregate"
                );
                return self.error(&at.member("type"), text);
            }
        }
        if pattern.get("groupBy").is_some_and(|value| value.as_str().is_none()) {
            self.late_warning(
                &at.member("groupBy"),
                "Temporal pattern groupBy is ignored: expected a string",
            );
        }
    }

    fn sequence_events(&mut self, pattern: &Object, at: &At<'_>) {
        let at = at.member("events");
        let Some(events) = pattern.get("events") else {
            return self.error(&at, "Sequence pattern must have an \"events\" field");
        };
        let Some(events) = events.as_array() else {
            return self.error(&at, "Sequence pattern events must be an array");
        };
        if events.len() < 2 {
            self.error(&at, "Sequence pattern must have at least 2 events");
        }
        for (i, event) in events.iter().enumerate() {
            self.matcher(event, &at.element(i));
        }
    }

    fn required_matcher(&mut self, pattern: &Object, at: &At<'_>, owner: &str, name: &str) {
        let at = at.member(name);
        match pattern.get(name) {
            None => self.error(&at, format_args!("{owner} pattern must have an \"{name}\" field")),
            Some(matcher) => self.matcher(matcher, &at),
        }
    }

    fn matcher(&mut self, matcher: &Value, at: &At<'_>) {
        let Some(matcher) = matcher.as_object() else {
            return self.error(at, "Event matcher must be an object");
        };
        if let Some(topic) = self.text(matcher, at, "Event matcher", "topic") {
            self.pattern_text(topic, &at.member("topic"), Space::Trigger);
        }
        if matcher.get("as").is_some_and(|alias| alias.as_str().is_none()) {
            self.error(&at.member("as"), "Event matcher alias must be a string");
        }
        if matcher.get("filter").is_some_and(|filter| filter.as_object().is_none()) {
            self.late_warning(&at.member("filter"), "Event matcher filter is ignored: expected an object");
        }
    }

    fn count_threshold(&mut self, pattern: &Object, at: &At<'_>) {
        let at = at.member("threshold");
        match pattern.get("threshold").map(Value::as_number) {
            None => self.error(&at, "Count pattern must have a \"threshold\" field"),
            Some(Some(number)) if number >= 1.0 => {}
            Some(_) => self.error(&at, "Count pattern threshold must be a positive number"),
        }
    }

    fn aggregate_threshold(&mut self, pattern: &Object, at: &At<'_>) {
        let at = at.member("threshold");
        match pattern.get("threshold").map(Value::as_number) {
            None => self.error(&at, "Aggregate pattern must have a \"threshold\" field"),
            Some(None) => self.error(&at, "Aggregate pattern threshold must be a number"),
            Some(Some(_)) => {}
        }
    }

    fn function(&mut self, pattern: &Object, at: &At<'_>) {
        let at = at.member("function");
        let Some(function) = pattern.get("function") else {
            return self.error(&at, "Aggregate pattern must have a \"function\" field");
        };
        if function.as_str().and_then(Aggregation::parse).is_none() {
            let text = text_form(Some(function));
            let valid = "sum, avg, min, max, count";
            self.error(&at, format_args!("Invalid aggregate function: {text}. Valid values: {valid}"));
        }
    }

    fn comparison(&mut self, pattern: &Object, at: &At<'_>) {
        let Some(comparison) = pattern.get("comparison") else { return };
        if comparison.as_str().and_then(Comparison::parse).is_none() {
            let text = text_form(Some(comparison));
            let text = format_args!("Invalid comparison: {text}. Valid values: gte, lte, eq");
            self.error(&at.member("comparison"), text);
        }
    }

    fn flag(&mut self, pattern: &Object, at: &At<'_>, name: &str) {
        if pattern.get(name).is_some_and(|value| value.as_bool().is_none()) {
            let text = format_args!("Temporal pattern {name} is ignored: expected a boolean");
            self.late_warning(&at.member(name), text);
        }
    }

    fn window(&mut self, pattern: &Object, at: &At<'_>, name: &str) {
        let at = at.member(name);
        match pattern.get(name) {
            None => self.error(&at, format_args!("Field \"{name}\" is required")),
            Some(Value::Number(number)) => {
                if *number <= 0.0 {
                    self.error(&at, "Duration must be positive");
                }
            }
            Some(value @ Value::String(text)) => match duration_ms(value) {
                None => self.error(
                    &at,
                    format_args!("Invalid duration format: {text}. Use formats like \"5m\", \"1h\", \"7d\""),
                ),
                Some(0) => self.late_error(&at, "Duration must be positive"),
                Some(_) => {}
            },
            Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
                let text =
                    format_args!("Field \"{name}\" must be a string (e.g., \"5m\") or number (milliseconds)");
                self.error(&at, text);
            }
        }
    }
}
