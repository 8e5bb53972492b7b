//! Lookups.

use super::{At, Check};
use crate::duration_ms;
use noex_json::{Object, Value};
use std::collections::HashSet;

impl Check {
    pub(super) fn lookups(&mut self, lookups: &Value, at: &At<'_>) {
        let Some(lookups) = lookups.as_array() else { return self.error(at, "Lookups must be an array") };
        let mut names = HashSet::new();
        for (i, lookup) in lookups.iter().enumerate() {
            let at = at.element(i);
            match lookup.as_object() {
                None => self.error(&at, "Lookup must be an object"),
                Some(lookup) => self.lookup(lookup, &at, &mut names),
            }
        }
    }

    fn lookup<'v>(&mut self, lookup: &'v Object, at: &At<'_>, names: &mut HashSet<&'v str>) {
        if let Some(name) = self.full_text(lookup, at, "Lookup", "name")
            && !names.insert(name)
        {
            self.error(&at.member("name"), format_args!("Duplicate lookup name: {name}"));
        }
        for name in ["service", "method"] {
            self.full_text(lookup, at, "Lookup", name);
        }
        if let Some(args) = lookup.get("args") {
            let at = at.member("args");
            match args.as_array() {
                None => self.error(&at, "Lookup args must be an array"),
                Some(args) => {
                    for (i, argument) in args.iter().enumerate() {
                        self.argument(argument, &at.element(i));
                    }
                }
            }
        }
        if let Some(cache) = lookup.get("cache") {
            self.cache(cache, &at.member("cache"));
        }
        if let Some(strategy) = lookup.get("onError") {
            let at = at.member("onError");
            match strategy.as_str() {
                None => self.error(&at, "Lookup onError must be a string"),
                Some("skip" | "fail") => {}
                Some(other) => {
                    let text =
                        format_args!("Invalid onError strategy: {other}. Valid strategies: skip, fail");
                    self.error(&at, text);
                }
            }
        }
    }

    fn cache(&mut self, cache: &Value, at: &At<'_>) {
        let Some(cache) = cache.as_object() else { return self.error(at, "Lookup cache must be an object") };
        let at = at.member("ttl");
        match cache.get("ttl") {
            None => self.error(&at, "Lookup cache must have a \"ttl\" field"),
            Some(Value::Number(number)) => {
                if *number <= 0.0 {
                    self.error(&at, "Lookup cache ttl must be a positive number");
                }
            }
            Some(value @ Value::String(text)) => match duration_ms(value) {
                None => {
                    let hint = "Use a duration like \"5m\", \"1h\", \"30s\" or milliseconds";
                    self.error(&at, format_args!("Invalid cache ttl duration: {text}. {hint}"));
                }
                Some(0) => self.late_error(&at, "Lookup cache ttl must be a positive number"),
                Some(_) => {}
            },
            Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
                self.error(&at, "Lookup cache ttl must be a string or number");
            }
        }
    }
}
