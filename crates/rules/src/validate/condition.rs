//! Conditions.

use super::{At, Check};
use crate::{Operator, PatternError, Reference, Regexp, Space, Template};
use noex_json::{Object, Value};

impl Check {
    pub(super) fn conditions(&mut self, conditions: &[Value], at: &At<'_>) {
        for (i, condition) in conditions.iter().enumerate() {
            self.condition(condition, &at.element(i));
        }
    }

    fn condition(&mut self, condition: &Value, at: &At<'_>) {
        let Some(condition) = condition.as_object() else {
            return self.error(at, "Condition must be an object");
        };
        let source_at = at.member("source");
        match condition.get("source") {
            None => self.error(&source_at, "Condition must have a \"source\" field"),
            Some(source) => match source.as_object() {
                None => self.error(&source_at, "Condition source must be an object"),
                Some(source) => self.source(source, &source_at),
            },
        }
        let operator_at = at.member("operator");
        let Some(operator) = condition.get("operator") else {
            return self.error(&operator_at, "Condition must have an \"operator\" field");
        };
        let Some(operator) = operator.as_str() else {
            return self.error(&operator_at, "Condition operator must be a string");
        };
        if Operator::parse(operator).is_none() {
            self.error(
                &operator_at,
                format_args!("Invalid operator: {operator}. Valid operators: {OPERATORS}"),
            );
        }
        if matches!(operator, "exists" | "not_exists") {
            return;
        }
        let at = at.member("value");
        match condition.get("value") {
            None => self.error(&at, "Condition must have a \"value\" field"),
            Some(value) => self.operand(value, operator, &at),
        }
    }

    fn operand(&mut self, value: &Value, operator: &str, at: &At<'_>) {
        if let Some(reference) = value.as_object().and_then(|object| object.get("ref")) {
            let text = noex_json::text_form(Some(reference));
            match Reference::parse_operand(&text).filter(|_| reference.as_str().is_some()) {
                Some(reference) => self.unknown_source(at, reference.unknown_source()),
                None => self.unknown_source(at, text.split('.').next()),
            }
        }
        if let Some(text) = value.as_str()
            && operator == "matches"
            && Regexp::parse(text).is_none()
        {
            self.late_warning(
                at,
                format_args!("Regular expression cannot be used and never matches: {text}"),
            );
        }
    }

    fn source(&mut self, source: &Object, at: &At<'_>) {
        match self.text_type(source, at, "Condition source") {
            None => {}
            Some("event") => {
                self.text(source, at, "Event source", "field");
            }
            Some("fact") => {
                if let Some(text) = self.text(source, at, "Fact source", "pattern") {
                    self.fact_pattern(text, &at.member("pattern"));
                }
            }
            Some("context") => {
                if let Some(key) = self.text(source, at, "Context source", "key") {
                    let name = key.split('.').next().unwrap_or_default();
                    if !self.variables.iter().any(|variable| variable == name) {
                        let text = format_args!("Context variable \"{name}\" is never set here");
                        self.late_warning(&at.member("key"), text);
                    }
                }
            }
            Some("lookup") => {
                self.text(source, at, "Lookup source", "name");
                if source.get("field").is_some_and(|field| field.as_str().is_none()) {
                    self.error(&at.member("field"), "Lookup source field must be a string");
                }
            }
            Some("baseline") => self.baseline(source, at),
            Some(other) => {
                let valid = "event, fact, context, lookup, baseline";
                let text = format_args!("Invalid source type: {other}. Valid types: {valid}");
                self.error(&at.member("type"), text);
            }
        }
    }

    fn fact_pattern(&mut self, text: &str, at: &At<'_>) {
        let template = Template::parse(text);
        let compiled = match template.as_constant() {
            Some(text) => crate::Pattern::parse(text, Space::Key).map(drop),
            None => Ok::<(), PatternError>(()),
        };
        self.pattern(at, template.has_empty_segment(Space::Key.separator()), compiled);
        self.unknown_source(at, template.unknown_source());
    }

    fn baseline(&mut self, source: &Object, at: &At<'_>) {
        self.full_text(source, at, "Baseline source", "metric");
        if let Some(comparison) = self.text(source, at, "Baseline source", "comparison")
            && crate::BaselineComparison::parse(comparison).is_none()
        {
            let valid = "above, below, outside, above_percentile, below_percentile";
            let text = format_args!("Invalid baseline comparison: {comparison}. Valid comparisons: {valid}");
            self.error(&at.member("comparison"), text);
        }
        if let Some(sensitivity) = source.get("sensitivity")
            && sensitivity.as_number().is_none_or(|number| number <= 0.0)
        {
            self.error(&at.member("sensitivity"), "Baseline source sensitivity must be a positive number");
        }
    }
}

const OPERATORS: &str =
    "eq, neq, gt, gte, lt, lte, in, not_in, contains, not_contains, matches, exists, not_exists";
