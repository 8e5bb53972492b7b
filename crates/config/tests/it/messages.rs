//! The exact text of every message about a key of the config file.

use noex_config::{Cli, parse};

use crate::{cli, loaded, problems, problems_with};

/// Checks that `{<members>}` has exactly the problem `expected`.
fn check(members: &str, expected: &str) {
    assert_eq!(problems(&format!("{{{members}}}")), [expected], "{members}");
}

/// Checks the general form for some wrong values of a key inside `wrap`, where `@` stands for key and value.
fn check_key(wrap: &str, path: &str, requirement: &str, values: &[&str]) {
    let key = path.rsplit('.').next().unwrap();
    for value in values {
        let members = wrap.replace('@', &format!("\"{key}\": {value}"));
        check(&members, &format!("Invalid {path}: {value} (must be {requirement})"));
    }
}

const NOT_STRINGS: &[&str] = &["null", "1", "true", "[]", "{}", "\"\""];
const NOT_BOOLEANS: &[&str] = &["null", "0", "\"true\"", "[]", "{}"];
const NOT_OBJECTS: &[&str] = &["1", "false", "\"x\"", "[]"];
const NOT_INTEGERS: &[&str] = &["null", "true", "\"1\"", "[1]", "{}", "1.5", "-1", "1e300"];

#[test]
fn top_level_scalars() {
    for (path, requirement, limits) in [
        ("port", "integer 0-65535", ["-1", "65536"]),
        ("maxPayloadBytes", "integer 64-1073741824", ["63", "1073741825"]),
        ("persistenceDebounceMs", "integer 0-60000", ["-1", "60001"]),
        ("ttlCheckIntervalMs", "integer 0-3600000", ["-1", "3600001"]),
    ] {
        check_key("@", path, requirement, &limits);
        for value in NOT_INTEGERS {
            let problem = problems(&format!("{{\"{path}\": {value}}}"));
            let suffix = format!(" (must be {requirement})");
            assert!(problem.len() == 1 && problem[0].ends_with(&suffix), "{path} {value} {problem:?}");
        }
    }
    for path in ["host", "name", "dataDir", "db", "storeName"] {
        check_key("@", path, "non-empty string", NOT_STRINGS);
    }
    check_key("@", "path", "string starting with \"/\"", &["\"\"", "\"ws\"", "null", "1", "[\"/\"]"]);
    check_key("@", "path", "string starting with \"/\", no ? or #", &["\"/?a\"", "\"/a#b\""]);
    for path in ["exposeErrorDetails", "compatErrorCodes"] {
        check_key("@", path, "boolean", NOT_BOOLEANS);
    }
    check_key("@", "maxConnectionsPerIp", "integer >= 1", &["0", "-1", "1.5", "\"1\"", "false"]);
    for (value, shown) in [("\"tape\"", "tape"), ("\"\"", "\"\""), ("null", "null"), ("7", "7"), ("[]", "[]")]
    {
        let text = format!("Unknown persistence type: {shown} (must be memory, file, or sqlite)");
        check(&format!("\"persistence\": {value}"), &text);
    }
}

#[test]
fn sub_objects_must_be_objects() {
    for key in [
        "store",
        "rateLimit",
        "heartbeat",
        "backpressure",
        "connectionLimits",
        "procedures",
        "limits",
        "shutdown",
        "log",
    ] {
        check_key("@", key, "object", NOT_OBJECTS);
    }
    for key in
        ["store", "heartbeat", "backpressure", "connectionLimits", "procedures", "limits", "shutdown", "log"]
    {
        check_key("@", key, "object", &["null"]);
    }
    check_key("\"auth\": {\"tokens\": {}}, @", "revocation", "object", NOT_OBJECTS);
    for key in ["audit", "rules"] {
        check_key("@", key, "boolean or object", &["null", "1", "\"x\"", "[]"]);
    }
}

#[test]
fn members_of_sub_objects() {
    let store = "\"store\": {@}";
    check_key(store, "store.durability", "\"sync\", \"interval\" or \"none\"", &["null", "\"fast\"", "true"]);
    for key in ["autoDefine", "strictFilters", "allowOperatorParams"] {
        check_key(store, &format!("store.{key}"), "boolean", NOT_BOOLEANS);
    }
    check_key(store, "store.onDuplicateInsert", "\"reject\" or \"replace\"", &["null", "\"ignore\""]);

    let heartbeat = "\"heartbeat\": {@}";
    check_key(heartbeat, "heartbeat.intervalMs", "integer 10-86400000", &["9", "86400001", "null", "\"10\""]);
    check_key(heartbeat, "heartbeat.timeoutMs", "integer 1-86400000", &["0", "86400001", "1.5"]);
    check_key(heartbeat, "heartbeat.mode", "\"deadline\" or \"tick\"", &["\"tock\"", "null"]);

    let backpressure = "\"backpressure\": {@}";
    check_key(backpressure, "backpressure.maxBufferedBytes", "integer 1-1073741824", &["0", "1073741825"]);
    check_key(
        backpressure,
        "backpressure.highWaterMark",
        "number > 0 and <= 1",
        &["0", "1.1", "-0.5", "\"0.8\"", "null"],
    );
    check_key(backpressure, "backpressure.stallTimeoutMs", "integer 100-3600000", &["99", "3600001"]);
    check_key(backpressure, "backpressure.eventQueueMax", "integer 0-100000", &["-1", "100001"]);
    check_key(backpressure, "backpressure.rejectRequests", "boolean", NOT_BOOLEANS);

    let shutdown = "\"shutdown\": {@}";
    check_key(shutdown, "shutdown.gracePeriodMs", "integer 0-3600000", &["-1", "3600001"]);
    check_key(shutdown, "shutdown.closeTimeoutMs", "integer 0-60000", &["-1", "60001"]);

    let log = "\"log\": {@}";
    check_key(log, "log.level", "\"error\", \"warn\", \"info\" or \"debug\"", &["\"trace\"", "null"]);
    check_key(log, "log.format", "\"text\" or \"json\"", &["\"xml\"", "1"]);

    for key in ["maxSubscriptionsPerConnection", "maxTotalSubscriptions"] {
        check_key(
            "\"connectionLimits\": {@}",
            &format!("connectionLimits.{key}"),
            "integer >= 0",
            &["-1", "null", "0.5"],
        );
    }
}

#[test]
fn limits_members() {
    let wrap = "\"limits\": {@}";
    for key in [
        "maxConnections",
        "authTimeoutMs",
        "maxTransactionOperations",
        "maxNameLength",
        "maxBuckets",
        "maxQueries",
        "maxProcedures",
        "maxRules",
        "maxFacts",
        "maxRateLimitKeys",
    ] {
        check_key(wrap, &format!("limits.{key}"), "integer >= 0", &["-1", "1.5", "null", "\"1\""]);
    }
    check_key(wrap, "limits.maxJsonDepth", "integer 16-1024", &["15", "1025"]);
    check_key(wrap, "limits.maxQueuedRequests", "integer 1-65536", &["0", "65537"]);
}

#[test]
fn rate_limit_needs_both_members() {
    let wrap = "\"rateLimit\": {\"windowMs\": 1, @}";
    check_key(wrap, "rateLimit.maxRequests", "integer 1-1000000", &["0", "1000001", "null"]);
    let wrap = "\"rateLimit\": {\"maxRequests\": 1, @}";
    check_key(wrap, "rateLimit.windowMs", "integer 1-86400000", &["0", "86400001"]);
    assert_eq!(
        problems(r#"{"rateLimit": {}}"#),
        [
            "Invalid rateLimit.maxRequests: undefined (must be integer 1-1000000)",
            "Invalid rateLimit.windowMs: undefined (must be integer 1-86400000)",
        ]
    );
}

#[test]
fn audit_revocation_procedures() {
    let audit = "\"audit\": {@}";
    let tiers = "non-empty array of \"admin\", \"write\", \"read\"";
    check_key(audit, "audit.tiers", tiers, &["[]", "\"admin\"", "[\"admin\",\"none\"]", "[1]", "null"]);
    check_key(audit, "audit.maxEntries", "integer 1-10000000", &["0", "10000001"]);
    check_key(audit, "audit.file", "non-empty string", NOT_STRINGS);

    check("\"revocation\": {}", "revocation requires auth");
    check("\"revocation\": {}, \"auth\": false", "revocation requires auth");
    let revocation = "\"auth\": {\"tokens\": {}}, \"revocation\": {@}";
    check_key(revocation, "revocation.blacklistTtlMs", "integer 1-31536000000", &["0", "31536000001"]);

    let procedures = "\"procedures\": {@}";
    check_key(procedures, "procedures.enabled", "boolean", NOT_BOOLEANS);
    check_key(procedures, "procedures.maxSteps", "integer >= 1", &["0", "-1"]);
    check_key(procedures, "procedures.maxConditionDepth", "integer 1-64", &["0", "65"]);
    check_key(procedures, "procedures.defaultTimeoutMs", "integer 1-3600000", &["0", "3600001"]);
    check_key(procedures, "procedures.definitions", "array of procedure definitions", &["{}", "null"]);
    check(
        "\"procedures\": {\"definitions\": [{}, 5]}",
        "procedures.definitions[1]: Procedure config must be an object",
    );
}

#[test]
fn origins_and_proxies() {
    let requirement = "array of origins like \"https://host[:port]\"";
    check_key(
        "@",
        "allowedOrigins",
        requirement,
        &[
            "\"https://a\"",
            "[1]",
            "[\"\"]",
            "[\"a.example\"]",
            "[\"https://a.example/\"]",
            "[\"https://a/b\"]",
            "[\"https://\"]",
            "[\"https://a:b\"]",
            "[\"https://a:65536\"]",
            "[\"https://a:\"]",
            "[\"*\"]",
            "[\"https://*.example\"]",
            "[\"https://u@a\"]",
            "[\"https://a b\"]",
            "[\"://a\"]",
            "[\"1s://a\"]",
            "[\"https://[::1\"]",
            "[\"https://ok\",\"https://bad/\"]",
            "{}",
            "false",
        ],
    );
    let requirement = "array of IP addresses or CIDR blocks";
    check_key(
        "@",
        "trustedProxies",
        requirement,
        &["null", "\"10.0.0.1\"", "[1]", "[\"10.0.0.0/33\"]", "[\"localhost\"]", "[\"10.0.0.1\",\"\"]", "{}"],
    );
}

#[test]
fn definitions() {
    for (key, kind) in [("buckets", "bucket"), ("queries", "query")] {
        let requirement = format!("object of {kind} definitions");
        check_key("@", key, &requirement, &["null", "[]", "5", "\"x\"", "true"]);
        check(&format!("\"{key}\": {{\"a\": 5}}"), &format!("Invalid {key}.a: 5 (must be object)"));
        check(&format!("\"{key}\": {{\"\": {{}}}}"), &format!("Invalid {key}: name must not be empty"));
    }
    let secret = "\"auth\": true, \"adminSecret\": \"0123456789abcdef\"";
    check(
        &format!("{secret}, \"buckets\": {{\"_x\": {{}}}}"),
        "buckets._x: Bucket name must not start with \"_\"",
    );
    check(
        &format!("{secret}, \"queries\": {{\"q\": {{\"bucket\": \"_users\"}}}}"),
        "queries.q: Cannot access system bucket \"_users\" directly",
    );
    check(
        &format!("{secret}, \"queries\": {{\"_q\": {{\"bucket\": \"t\"}}}}"),
        "queries._q: Cannot access system bucket \"_q\" directly",
    );
    check("\"rules\": {\"facts\": []}", "rules.facts: must be object");
    check("\"rules\": {\"rules\": {}}", "rules.rules: must be array");
}

#[test]
fn all_problems_are_reported_on_one_line_each() {
    let text = r#"{"port": "x", "path": "", "limits": {"maxFacts": -1, "x": 1}, "auth": {}, "buckets": {"a\nb": 1}}"#;
    assert_eq!(
        problems(text),
        [
            "Invalid port: \"x\" (must be integer 0-65535)",
            "Invalid path: \"\" (must be string starting with \"/\")",
            "auth: expected \"tokens\" or \"builtIn\"",
            "Invalid buckets.a\\nb: 1 (must be object)",
            "Invalid limits.maxFacts: -1 (must be integer >= 0)",
        ]
    );
    let error = parse(text, &Cli::default()).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 5);
    assert!(error.lines().all(|line| line.starts_with("Error: ")));
}

#[test]
fn unknown_keys_are_warnings_or_errors() {
    let text = r#"{
        "prot": 1, "na\"me": 1, "store": {"a": 1}, "rateLimit": {"maxRequests": 1, "windowMs": 1, "b": 1},
        "heartbeat": {"c": 1}, "backpressure": {"d": 1}, "connectionLimits": {"e": 1}, "audit": {"f": 1},
        "revocation": {"g": 1}, "procedures": {"h": 1}, "limits": {"i": 1}, "shutdown": {"j": 1}, "log": {"k": 1},
        "rules": {"l": 1}, "buckets": {"x": {"free": 1}}, "queries": {"x": {"free": 1}},
        "auth": {"tokens": {"tok-1": {"userId": "u", "role": [], "metadata": {"free": 1}}}, "requierd": true,
            "sessionTtl": 1, "permissions": {"m": 1, "rules": [{"role": "r", "allow": "*", "n": 1}]}}
    }"#;
    let paths = [
        "auth.tokens entry 1.role",
        "auth.permissions.rules[0].n",
        "auth.permissions.m",
        "auth.requierd",
        "auth.sessionTtl",
        "rules.l",
        "rateLimit.b",
        "heartbeat.c",
        "backpressure.d",
        "connectionLimits.e",
        "audit.f",
        "revocation.g",
        "procedures.h",
        "limits.i",
        "shutdown.j",
        "log.k",
        "prot",
        "na\\\"me",
    ];
    let mut warnings = vec!["Warning: unknown config key \"store.a\"".to_owned()];
    warnings.extend(paths.iter().map(|path| format!("Warning: unknown config key \"{path}\"")));
    assert_eq!(loaded(text).warnings, warnings);
    let errors: Vec<String> = warnings.iter().map(|text| text.replace("Warning: ", "")).collect();
    assert_eq!(problems_with(text, &cli(&["--strict-config"])), errors);
}

#[test]
fn unknown_keys_of_built_in_identity() {
    let text = r#"{"auth": {"builtIn": true, "adminSecret": "0123456789abcdef", "a": 1, "loginRateLimit": {"b": 1}}}"#;
    assert_eq!(
        loaded(text).warnings,
        ["Warning: unknown config key \"auth.loginRateLimit.b\"", "Warning: unknown config key \"auth.a\""]
    );
}
