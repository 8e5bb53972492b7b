//! Permissions of roles.

use noex_core::pattern_matches;
use noex_json::{Object, Value};

/// One permission: what its patterns match it allows, within its lists if it has them.
#[derive(Clone, Debug)]
pub(crate) struct Permission {
    /// As it was given: what is stored and shown.
    pub(crate) source: Object,
    allow: Vec<String>,
    /// Names of buckets or queries, exactly.
    buckets: Option<Vec<String>>,
    /// Patterns of topics or keys of facts.
    topics: Option<Vec<String>>,
}

impl Permission {
    /// Reads `{"allow": pattern or patterns, "buckets"?: names, "topics"?: patterns}`; `None` if it is anything else.
    /// A malformed list must not pass for "no restriction", so `null` is malformed too.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        let source = value.as_object()?;
        let allow = source.get("allow")?;
        let allow = match allow.as_str() {
            Some(pattern) => vec![pattern.to_owned()],
            None => texts(allow)?,
        };
        let list = |name: &str| match source.get(name) {
            None => Some(None),
            Some(value) => texts(value).map(Some),
        };
        Some(Self { allow, buckets: list("buckets")?, topics: list("topics")?, source: source.clone() })
    }

    /// Tells whether the patterns match an operation.
    pub(crate) fn covers(&self, operation: &str) -> bool {
        self.allow.iter().any(|pattern| pattern_matches(pattern, operation))
    }

    /// Tells whether a bucket or query is within the list; `other` is a second name that counts.
    pub(crate) fn admits_bucket(&self, name: &str, other: Option<&str>) -> bool {
        self.buckets
            .as_ref()
            .is_none_or(|names| names.iter().any(|listed| listed == name || Some(listed.as_str()) == other))
    }

    /// Tells whether a topic is within the list. A pattern counts as covered if its text matches.
    pub(crate) fn admits_topic(&self, topic: &str) -> bool {
        self.topics
            .as_ref()
            .is_none_or(|patterns| patterns.iter().any(|pattern| pattern_matches(pattern, topic)))
    }

    /// The list of buckets; `None` = all.
    pub(crate) fn buckets(&self) -> Option<&[String]> {
        self.buckets.as_deref()
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use noex_json::parse;

    fn read(text: &str) -> Option<Permission> {
        Permission::read(&parse(text, 8).unwrap())
    }

    #[test]
    fn malformed_permissions_are_refused() {
        for text in [
            "null",
            "1",
            "\"*\"",
            "[]",
            "{}",
            r#"{"allow":1}"#,
            r#"{"allow":null}"#,
            r#"{"allow":["a",1]}"#,
            r#"{"allow":"*","buckets":"t"}"#,
            r#"{"allow":"*","buckets":null}"#,
            r#"{"allow":"*","buckets":[null]}"#,
            r#"{"allow":"*","topics":{}}"#,
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn what_it_allows() {
        let permission = read(r#"{"allow":["store.*","x"],"buckets":["t"],"topics":["a.*"],"n":1}"#).unwrap();
        assert!(permission.covers("store.get") && permission.covers("x") && !permission.covers("rules.emit"));
        assert!(permission.admits_bucket("t", None) && permission.admits_bucket("q", Some("t")));
        assert!(!permission.admits_bucket("*", None));
        assert!(permission.admits_topic("a.b") && permission.admits_topic("a.*"));
        assert!(!permission.admits_topic("*") && !permission.admits_topic("a"));
        assert_eq!(permission.source.len(), 4);
        assert!(!read(r#"{"allow":[]}"#).unwrap().covers("store.get"));
    }
}
