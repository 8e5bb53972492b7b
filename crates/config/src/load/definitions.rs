//! Content of the config file that other parts judge: buckets, queries, rules, procedures.
//!
//! Here only the outer shape is checked; each definition is handed on as JSON text with its members in order.
//! Source: the configuration description, "buckets", "queries", "rules", "procedures".

use serde_json::Value;

use super::section::{Range, Section};
use crate::config::{ProceduresConfig, RulesConfig};

/// Reads `buckets`. With built-in identity names that begin with `_` belong to the server.
pub(super) fn buckets(root: &mut Section<'_, '_>, built_in: bool) -> Vec<(String, String)> {
    let entries = named_definitions(root, "buckets", "object of bucket definitions");
    let mut buckets = Vec::new();
    for (name, definition) in entries {
        if built_in && name.starts_with('_') {
            root.error(format!("buckets.{name}: Bucket name must not start with \"_\""));
        }
        buckets.push((name.to_owned(), definition.to_string()));
    }
    buckets
}

/// Reads `queries`. With built-in identity buckets whose names begin with `_` are out of reach.
pub(super) fn queries(root: &mut Section<'_, '_>, built_in: bool) -> Vec<(String, String)> {
    let entries = named_definitions(root, "queries", "object of query definitions");
    let mut queries = Vec::new();
    for (name, definition) in entries {
        let bucket = definition.get("bucket").and_then(Value::as_str).unwrap_or_default();
        for reserved in [name, bucket].into_iter().filter(|text| built_in && text.starts_with('_')) {
            root.error(format!("queries.{name}: Cannot access system bucket \"{reserved}\" directly"));
        }
        queries.push((name.to_owned(), definition.to_string()));
    }
    queries
}

/// Returns those entries of an object of objects that are objects; of the others everything has been said.
fn named_definitions<'d>(
    root: &mut Section<'d, '_>,
    key: &'static str,
    requirement: &str,
) -> Vec<(&'d str, &'d Value)> {
    let Some(value) = root.take(key) else { return Vec::new() };
    let Some(members) = value.as_object() else {
        root.invalid(key, Some(value), requirement);
        return Vec::new();
    };
    let mut entries = Vec::with_capacity(members.len());
    for (name, definition) in members {
        if name.is_empty() {
            root.error(format!("Invalid {key}: name must not be empty"));
        } else if definition.is_object() {
            entries.push((name.as_str(), definition));
        } else {
            // The whole object can be long: name the one entry.
            root.invalid(&format!("{key}.{name}"), Some(definition), "object");
        }
    }
    entries
}

/// Reads `rules`.
pub(super) fn rules(root: &mut Section<'_, '_>) -> RulesConfig {
    let Some(value) = root.take("rules") else { return RulesConfig::Default };
    if let Some(on) = value.as_bool() {
        return if on { RulesConfig::On } else { RulesConfig::Off };
    }
    if !value.is_object() {
        root.invalid("rules", Some(value), "boolean or object");
        return RulesConfig::Default;
    }
    let mut rules = Vec::new();
    let mut facts = Vec::new();
    let (mut store_events, mut persistent) = (false, false);
    if let Some(mut section) = root.object("rules") {
        match section.take("rules").map(Value::as_array) {
            Some(Some(definitions)) => rules.extend(definitions.iter().map(Value::to_string)),
            Some(None) => section.error("rules.rules: must be array"),
            None => {}
        }
        match section.take("facts").map(Value::as_object) {
            Some(Some(members)) => {
                facts.extend(members.iter().map(|(key, value)| (key.clone(), value.to_string())));
            }
            Some(None) => section.error("rules.facts: must be object"),
            None => {}
        }
        section.boolean("storeEvents", &mut store_events);
        section.boolean("persistent", &mut persistent);
        section.finish();
    }
    RulesConfig::Definitions { rules, facts, store_events, persistent }
}

/// Reads `procedures`.
pub(super) fn procedures(root: &mut Section<'_, '_>) -> Option<ProceduresConfig> {
    let mut section = root.object("procedures")?;
    let mut config = ProceduresConfig::default();
    section.boolean("enabled", &mut config.enabled);
    section.integer("maxSteps", Range::AtLeast(1), &mut config.max_steps);
    section.integer("maxConditionDepth", Range::Between(1, 64), &mut config.max_condition_depth);
    section.integer("defaultTimeoutMs", Range::Between(1, 3_600_000), &mut config.default_timeout_ms);
    if let Some(value) = section.take("definitions") {
        match value.as_array() {
            Some(definitions) => {
                for (i, definition) in definitions.iter().enumerate() {
                    if !definition.is_object() {
                        section.error(format!(
                            "procedures.definitions[{i}]: Procedure config must be an object"
                        ));
                    }
                    config.definitions.push(definition.to_string());
                }
            }
            None => section.invalid("definitions", Some(value), "array of procedure definitions"),
        }
    }
    section.finish();
    Some(config)
}
