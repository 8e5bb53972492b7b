//! What holds for every document and every command line.

use noex_config::{Action, Cli, LoadError, banner, parse, parse_args, start_warnings};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Keys that mean something at some place, so that random documents reach deep checks.
const KEYS: &[&str] = &[
    "port",
    "host",
    "path",
    "persistence",
    "store",
    "durability",
    "maxViewBytes",
    "buckets",
    "queries",
    "rules",
    "facts",
    "auth",
    "adminSecret",
    "builtIn",
    "tokens",
    "userId",
    "roles",
    "metadata",
    "expiresAt",
    "expiresInMs",
    "required",
    "permissions",
    "default",
    "role",
    "allow",
    "topics",
    "anonymousRoles",
    "loginRateLimit",
    "rateLimit",
    "windowMs",
    "maxRequests",
    "heartbeat",
    "mode",
    "backpressure",
    "highWaterMark",
    "audit",
    "tiers",
    "revocation",
    "procedures",
    "definitions",
    "allowedOrigins",
    "maxConnectionsPerIp",
    "trustedProxies",
    "limits",
    "maxJsonDepth",
    "shutdown",
    "log",
    "level",
    "connectionLimits",
];

const TOKEN: &str = "zq9-secret-token";

fn key() -> impl Strategy<Value = String> {
    prop_oneof![8 => prop::sample::select(KEYS).prop_map(str::to_owned), 1 => any::<String>()]
}

fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        any::<String>(),
        prop::sample::select(
            &["", "/", "file", "deny", "*", "https://[::1]:1", "10.0.0.0/8", "::/0", "://", "a/b"][..]
        )
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        (0_u64..100).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            object(inner).prop_map(Value::Object),
        ]
    })
}

fn object(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec((key(), value), 0..8).prop_map(|members| members.into_iter().collect())
}

/// A valid document with tokens.
fn valid() -> Value {
    json!({
        "auth": {"tokens": {TOKEN: {"userId": "u", "roles": []}}, "required": false},
        "adminSecret": TOKEN, "heartbeat": {}, "limits": {}, "log": {}, "rules": {}, "store": {}
    })
}

/// Loads and checks what holds for every outcome.
fn check(text: &str, cli: &Cli) -> Result<(), TestCaseError> {
    match parse(text, cli) {
        Ok(loaded) => {
            let _ = (banner(&loaded.config, 1), start_warnings(&loaded.config));
            for line in &loaded.warnings {
                prop_assert!(line.starts_with("Warning: ") && !line.contains(TOKEN), "{}", line);
            }
        }
        Err(LoadError::File(_)) => {}
        Err(LoadError::Invalid { problems, .. }) => {
            prop_assert!(!problems.is_empty());
            for problem in &problems {
                prop_assert!(!problem.contains(['\n', '\r']) && !problem.contains(TOKEN), "{}", problem);
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_document_gives_a_config_or_problems(document in object(value()), strict in any::<bool>()) {
        let cli = Cli { strict_config: strict, ..Cli::default() };
        check(&Value::Object(document).to_string(), &cli)?;
    }

    #[test]
    fn any_text_gives_a_config_or_problems(text in any::<String>()) {
        check(&text, &Cli::default())?;
    }

    /// One wrong place in a valid document, wherever it is, must not bring a token into a message.
    #[test]
    fn tokens_stay_out_of_messages(
        place in prop::sample::select(&["", "/auth", "/auth/tokens", "/heartbeat", "/limits", "/rules"][..]),
        key in key(),
        value in value(),
        wrap in any::<bool>(),
    ) {
        let mut document = valid();
        if let Some(members) = document.pointer_mut(place).and_then(Value::as_object_mut) {
            members.insert(key, value);
        }
        check(&document.to_string(), &Cli::default())?;
        // Tokens as values instead of keys.
        let listed = if wrap { json!([TOKEN]) } else { json!(TOKEN) };
        if let Some(auth) = document.get_mut("auth").and_then(Value::as_object_mut) {
            auth.insert("tokens".to_owned(), listed);
        }
        check(&document.to_string(), &Cli::default())?;
    }

    #[test]
    fn any_command_line_gives_an_action_or_an_error(args in prop::collection::vec(
        prop_oneof![
            any::<String>(),
            prop::sample::select(&["--port", "--auth", "--admin-secret", "-p", "-h", "--", "-", "--port=1", "--log-level",
                "--allowed-origins", "--check", "--max-connections-per-ip", "--audit"][..]).prop_map(str::to_owned),
        ], 0..6,
    )) {
        match parse_args(args, &|_| None) {
            Ok(Action::Run(cli)) => check(&valid().to_string(), &cli)?,
            Ok(Action::Help | Action::Version) => {}
            Err(error) => {
                prop_assert!(error.to_string().starts_with("Error: "));
                prop_assert_eq!(error.to_string().lines().count(), 2);
            }
        }
    }
}
