//! Triggers.

use super::{At, Check};
use crate::{FactChanges, Pattern, Space};
use noex_json::{Object, Value};

impl Check {
    pub(super) fn trigger(&mut self, trigger: &Value, at: &At<'_>) {
        let Some(trigger) = trigger.as_object() else { return self.error(at, "Trigger must be an object") };
        match self.text_type(trigger, at, "Trigger") {
            None => {}
            Some("event") => self.trigger_pattern(trigger, at, "Event trigger", "topic", Space::Trigger),
            Some("fact") => {
                self.trigger_pattern(trigger, at, "Fact trigger", "pattern", Space::Key);
                if trigger.get("on").is_some_and(|on| FactChanges::parse(on).is_none()) {
                    let text = "Fact trigger on is ignored: expected an array of created, updated, deleted";
                    self.late_warning(&at.member("on"), text);
                }
            }
            Some("timer") => self.trigger_pattern(trigger, at, "Timer trigger", "name", Space::Key),
            Some("temporal") => {
                let at = at.member("pattern");
                match trigger.get("pattern") {
                    None => self.error(&at, "Temporal trigger must have a \"pattern\" field"),
                    Some(pattern) => self.temporal(pattern, &at),
                }
            }
            Some(other) => {
                let text =
                    format_args!("Invalid trigger type: {other}. Valid types: event, fact, timer, temporal");
                self.error(&at.member("type"), text);
            }
        }
    }

    /// Finds the member `type`; unlike other texts, an empty one is reported as an unknown type.
    pub(super) fn text_type<'v>(&mut self, object: &'v Object, at: &At<'_>, owner: &str) -> Option<&'v str> {
        self.text(object, at, owner, "type")
    }

    fn trigger_pattern(&mut self, trigger: &Object, at: &At<'_>, owner: &str, name: &str, space: Space) {
        if let Some(text) = self.full_text(trigger, at, owner, name) {
            self.pattern_text(text, &at.member(name), space);
        }
    }

    pub(super) fn pattern_text(&mut self, text: &str, at: &At<'_>, space: Space) {
        let empty_segment = text.split(space.separator()).any(str::is_empty);
        self.pattern(at, empty_segment, Pattern::parse(text, space).map(drop));
    }
}
