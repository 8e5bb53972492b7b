//! The `auth` key: forms, messages, and what must not be in a message.

use noex_config::{
    AuthConfig, BuiltInAuth, Expiry, LoginRateLimit, PermissionRule, Permissions, Secret, TokenAuth,
};

use crate::{config, loaded, problems};

fn tokens(text: &str) -> TokenAuth {
    match config(text).auth {
        AuthConfig::Token(auth) => auth,
        other @ (AuthConfig::None | AuthConfig::BuiltIn(_)) => panic!("{other:?}"),
    }
}

fn check(auth: &str, expected: &[&str]) {
    assert_eq!(problems(&format!("{{\"auth\": {auth}}}")), expected, "{auth}");
}

/// SHA-256 of `t-alice`, from `sha256sum`.
const T_ALICE: &str = "6ed662ae85f3147fe3f4810121cda98dc4b992a21e5b6d227eabbadbc94b5dac";

fn hex(hash: &[u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn forms() {
    assert_eq!(config("{}").auth, AuthConfig::None);
    assert_eq!(config(r#"{"auth": false, "adminSecret": "ignored"}"#).auth, AuthConfig::None);
    assert_eq!(tokens(r#"{"auth": {"tokens": {}}}"#), TokenAuth::default());
    assert_eq!(tokens(r#"{"auth": {"builtIn": false, "tokens": {}}}"#), TokenAuth::default());
    let built_in = config(r#"{"auth": true, "adminSecret": "change-me-please-16+"}"#).auth;
    let admin_secret = Secret::new("change-me-please-16+");
    assert_eq!(
        built_in,
        AuthConfig::BuiltIn(BuiltInAuth { admin_secret: admin_secret.clone(), ..Default::default() })
    );
    let full = r#"{"auth": {"builtIn": true, "adminSecret": "change-me-please-16+", "sessionTtl": 1,
        "passwordMinLength": 256, "maxSessionsPerUser": 2, "loginRateLimit": {"maxAttempts": 3}}}"#;
    let expected = BuiltInAuth {
        admin_secret,
        session_ttl_ms: 1,
        password_min_length: 256,
        max_sessions_per_user: 2,
        login_rate_limit: LoginRateLimit { max_attempts: 3, window_ms: 900_000 },
    };
    assert_eq!(config(full).auth, AuthConfig::BuiltIn(expected));
}

#[test]
fn form_messages() {
    check("{}", &["auth: expected \"tokens\" or \"builtIn\""]);
    check(r#"{"builtIn": false}"#, &["auth: expected \"tokens\" or \"builtIn\""]);
    check("null", &["Invalid auth: null (must be boolean or object)"]);
    check("1", &["Invalid auth: 1 (must be boolean or object)"]);
    check(r#""secret""#, &["Invalid auth: \"***\" (must be boolean or object)"]);
    check(r#"{"builtIn": "yes"}"#, &["Invalid auth.builtIn: \"yes\" (must be boolean)"]);
    check(
        r#"{"builtIn": true, "adminSecret": "0123456789abcdef", "tokens": {}}"#,
        &["auth: \"builtIn\" and \"tokens\" exclude each other"],
    );
    let required = "--admin-secret is required when --auth is enabled";
    check("true", &[required]);
    check(r#"true, "adminSecret": """#, &[required]);
    check(r#"{"builtIn": true}"#, &[required]);
    check(r#"{"builtIn": true, "adminSecret": ""}"#, &[required]);
}

#[test]
fn built_in_messages() {
    let with =
        |members: &str| format!(r#"{{"builtIn": true, "adminSecret": "0123456789abcdef", {members}}}"#);
    for (members, expected) in [
        (r#""sessionTtl": 0"#, "Invalid auth.sessionTtl: 0 (must be integer >= 1)"),
        (r#""passwordMinLength": 0"#, "Invalid auth.passwordMinLength: 0 (must be integer 1-256)"),
        (r#""passwordMinLength": 257"#, "Invalid auth.passwordMinLength: 257 (must be integer 1-256)"),
        (r#""maxSessionsPerUser": null"#, "Invalid auth.maxSessionsPerUser: null (must be integer >= 1)"),
        (r#""loginRateLimit": 5"#, "Invalid auth.loginRateLimit: 5 (must be object)"),
        (
            r#""loginRateLimit": {"maxAttempts": 0}"#,
            "Invalid auth.loginRateLimit.maxAttempts: 0 (must be integer >= 1)",
        ),
        (
            r#""loginRateLimit": {"windowMs": "x"}"#,
            "Invalid auth.loginRateLimit.windowMs: \"x\" (must be integer >= 1)",
        ),
        (r#""permissions": {}"#, "auth.permissions is not available with built-in identity"),
        (r#""required": true"#, "auth.required is not available with built-in identity"),
        (r#""anonymousRoles": []"#, "auth.anonymousRoles is not available with built-in identity"),
        (r#""strictTiers": true"#, "auth.strictTiers is not available with built-in identity"),
    ] {
        check(&with(members), &[expected]);
    }
    check(
        r#"{"builtIn": true, "adminSecret": 12345}"#,
        &["Invalid auth.adminSecret: *** (must be non-empty string)"],
    );
    check(r#"false, "adminSecret": 12345"#, &["Invalid adminSecret: *** (must be non-empty string)"]);
    let short = loaded(r#"{"auth": {"builtIn": true, "adminSecret": "0123456789abcde"}}"#).warnings;
    assert_eq!(short, ["Warning: adminSecret is shorter than 16 characters"]);
}

#[test]
fn token_entries() {
    let auth = tokens(&format!(
        r#"{{"auth": {{"tokens": {{
            "t-alice": {{"userId": "alice", "roles": ["editor", "x"], "metadata": {{"b": 1, "a": [2]}}, "expiresInMs": 5}},
            "sha256:{}": {{"userId": "bob", "expiresAt": 1000}}
        }}, "required": false, "anonymousRoles": ["reader"], "strictTiers": true}}}}"#,
        "AB".repeat(32)
    ));
    let [alice, bob] = auth.tokens.as_slice() else { panic!("{auth:?}") };
    assert_eq!(hex(&alice.token_sha256), T_ALICE);
    assert_eq!((alice.user_id.as_str(), alice.roles.len()), ("alice", 2));
    assert_eq!(alice.metadata.as_deref(), Some(r#"{"b":1,"a":[2]}"#));
    assert_eq!(alice.expiry, Some(Expiry::InMs(5)));
    assert_eq!(bob.token_sha256, [0xab; 32]);
    assert_eq!((bob.expiry, &bob.metadata, bob.roles.len()), (Some(Expiry::AtMs(1000)), &None, 0));
    assert!(!auth.required && auth.strict_tiers);
    assert_eq!(auth.anonymous_roles.unwrap(), ["reader"]);
}

#[test]
fn token_entry_messages() {
    let entry = |entry: &str| format!(r#"{{"tokens": {{"first": {{"userId": "u"}}, "second": {entry}}}}}"#);
    for (text, expected) in [
        ("5", "userId must be non-empty string"),
        ("{}", "userId must be non-empty string"),
        (r#"{"userId": ""}"#, "userId must be non-empty string"),
        (r#"{"userId": "u", "roles": "r"}"#, "roles must be array of non-empty strings"),
        (r#"{"userId": "u", "roles": [""]}"#, "roles must be array of non-empty strings"),
        (r#"{"userId": "u", "metadata": []}"#, "metadata must be object"),
        (r#"{"userId": "u", "metadata": null}"#, "metadata must be object"),
        (r#"{"userId": "u", "expiresAt": 0}"#, "expiresAt must be positive integer"),
        (r#"{"userId": "u", "expiresAt": "1"}"#, "expiresAt must be positive integer"),
        (r#"{"userId": "u", "expiresInMs": 0.5}"#, "expiresInMs must be positive integer"),
        (r#"{"userId": "u", "expiresInMs": 1e300}"#, "expiresInMs must be positive integer"),
        (
            r#"{"userId": "u", "expiresAt": 1, "expiresInMs": 1}"#,
            "expiresAt and expiresInMs exclude each other",
        ),
    ] {
        check(&entry(text), &[&format!("Invalid auth.tokens entry 2: {expected}")]);
    }
    check(
        &entry(r#"{"roles": 1, "metadata": 1, "expiresAt": 0, "expiresInMs": -1}"#),
        &[
            "Invalid auth.tokens entry 2: userId must be non-empty string",
            "Invalid auth.tokens entry 2: roles must be array of non-empty strings",
            "Invalid auth.tokens entry 2: metadata must be object",
            "Invalid auth.tokens entry 2: expiresAt must be positive integer",
            "Invalid auth.tokens entry 2: expiresInMs must be positive integer",
            "Invalid auth.tokens entry 2: expiresAt and expiresInMs exclude each other",
        ],
    );
}

#[test]
fn tokens_messages() {
    let requirement = "(must be object of token definitions)";
    for (value, shown) in [
        ("null", "null"),
        ("5", "5"),
        ("[]", "[]"),
        (r#""t-alice""#, "\"***\""),
        (r#"["t-alice", ["t-bob"], {"t-eve": 1}, {}, 1]"#, "[\"***\",[\"***\"],{***},{},1]"),
    ] {
        check(&format!("{{\"tokens\": {value}}}"), &[&format!("Invalid auth.tokens: {shown} {requirement}")]);
    }
    check(r#"{"tokens": {"": {"userId": "u"}}}"#, &["Invalid auth.tokens: token must not be empty"]);
    check(
        &format!(r#"{{"tokens": {{"t-alice": {{"userId": "u"}}, "sha256:{T_ALICE}": {{"userId": "v"}}}}}}"#),
        &["Invalid auth.tokens entry 2: same token as entry 1"],
    );
    for key in
        ["sha256:abc".to_owned(), format!("sha256:{}g", "a".repeat(63)), format!("sha256:{}", "a".repeat(66))]
    {
        let text = format!(r#"{{"auth": {{"tokens": {{"{key}": {{"userId": "u"}}}}}}}}"#);
        let expected = "Warning: auth.tokens entry 1 starts with \"sha256:\" without 64 hex digits after it and is \
                        taken as a clear token";
        assert_eq!(loaded(&text).warnings, [expected]);
    }
}

#[test]
fn token_mode_messages() {
    let with = |members: &str| format!(r#"{{"tokens": {{}}, {members}}}"#);
    let rule = |members: &str| {
        with(&format!(r#""permissions": {{"rules": [{{"role": "r", "allow": "*"}}, {members}]}}"#))
    };
    for (auth, expected) in [
        (with(r#""required": 1"#), "Invalid auth.required: 1 (must be boolean)"),
        (with(r#""strictTiers": null"#), "Invalid auth.strictTiers: null (must be boolean)"),
        (
            with(r#""required": false, "anonymousRoles": [1]"#),
            "Invalid auth.anonymousRoles: [1] (must be array of strings)",
        ),
        (with(r#""anonymousRoles": []"#), "auth.anonymousRoles requires \"required\": false"),
        (with(r#""permissions": []"#), "Invalid auth.permissions: [] (must be object)"),
        (
            with(r#""permissions": {"default": "maybe"}"#),
            "Invalid auth.permissions.default: \"maybe\" (must be \"allow\" or \"deny\")",
        ),
        (with(r#""permissions": {"rules": {}}"#), "Invalid auth.permissions.rules: {} (must be array)"),
        (rule("5"), "Invalid auth.permissions.rules[1]: 5 (must be object)"),
        (
            rule(r#"{"allow": "*"}"#),
            "Invalid auth.permissions.rules[1].role: undefined (must be non-empty string)",
        ),
        (
            rule(r#"{"role": "", "allow": "*"}"#),
            "Invalid auth.permissions.rules[1].role: \"\" (must be non-empty string)",
        ),
        (
            rule(r#"{"role": "r", "allow": "*", "buckets": "b"}"#),
            "Invalid auth.permissions.rules[1].buckets: \"b\" (must be array of strings)",
        ),
        (
            rule(r#"{"role": "r", "allow": "*", "topics": [1]}"#),
            "Invalid auth.permissions.rules[1].topics: [1] (must be array of strings)",
        ),
    ] {
        check(&auth, &[expected]);
    }
    for (allow, shown) in [("[]", "[]"), ("\"\"", "\"\""), ("[\"a\",\"\"]", "[\"a\",\"\"]"), ("null", "null")]
    {
        let expected = format!(
            "Invalid auth.permissions.rules[1].allow: {shown} (must be non-empty string or non-empty array of \
             non-empty strings)"
        );
        check(&rule(&format!(r#"{{"role": "r", "allow": {allow}}}"#)), &[&expected]);
    }
    let missing = rule(r#"{"role": "r"}"#);
    check(
        &missing,
        &[
            "Invalid auth.permissions.rules[1].allow: undefined (must be non-empty string or non-empty array of \
           non-empty strings)",
        ],
    );
}

#[test]
fn permission_rules() {
    let auth = tokens(
        r#"{"auth": {"tokens": {}, "permissions": {"default": "deny", "rules": [
            {"role": "admin", "allow": "*"},
            {"role": "editor", "allow": ["store.*"], "buckets": ["posts"], "topics": []}]}}}"#,
    );
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let rules = vec![
        PermissionRule { role: "admin".to_owned(), allow: owned(&["*"]), buckets: None, topics: None },
        PermissionRule {
            role: "editor".to_owned(),
            allow: owned(&["store.*"]),
            buckets: Some(owned(&["posts"])),
            topics: Some(Vec::new()),
        },
    ];
    assert_eq!(auth.permissions, Some(Permissions { default_allow: false, rules }));
    let empty = tokens(r#"{"auth": {"tokens": {}, "permissions": {}}}"#).permissions;
    assert_eq!(empty, Some(Permissions { default_allow: true, rules: Vec::new() }));
}

#[test]
fn misplaced_tokens_are_not_shown() {
    let text = r#"{"auth": {"tokens": {"a": {"userId": "u", "tok-1": 1, "secret": {"userId": "x"}}}, "tok-2": {},
        "abcdefghijklmnopqrstuvwxyz": 1}}"#;
    let entry = "Warning: unknown config key \"auth.tokens entry 1.***\"";
    let auth = "Warning: unknown config key \"auth.***\"";
    assert_eq!(loaded(text).warnings, [entry, entry, auth, auth]);
}

#[test]
fn debug_output_has_no_secrets() {
    let text = r#"{"auth": {"builtIn": true, "adminSecret": "very-secret-value"}}"#;
    assert!(!format!("{:?}", loaded(text)).contains("very-secret"));
    let text = r#"{"auth": {"tokens": {"very-secret-token": {"userId": "u"}}}}"#;
    let shown = format!("{:?}", loaded(text));
    assert!(!shown.contains("very-secret") && !shown.contains("token_sha256"), "{shown}");
}
