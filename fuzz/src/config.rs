//! Texts and documents into the configuration: values or problems, no secrets in messages, `strict` only stricter.

use crate::input::Input;
use noex_config::{Action, Cli, LoadError, banner, parse, parse_args, start_warnings};
use serde_json::Value as Json;

/// Names that mean something at some place.
const NAMES: [&str; 64] = [
    "port",
    "host",
    "path",
    "persistence",
    "type",
    "dir",
    "store",
    "name",
    "durability",
    "onDuplicateInsert",
    "ttlCheckIntervalMs",
    "strictFilters",
    "buckets",
    "key",
    "schema",
    "queries",
    "bucket",
    "filter",
    "rules",
    "facts",
    "id",
    "trigger",
    "actions",
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
    "strictTiers",
    "loginRateLimit",
    "rateLimit",
    "windowMs",
    "maxRequests",
    "heartbeat",
    "mode",
    "intervalMs",
    "timeoutMs",
    "backpressure",
    "highWaterMark",
    "maxBufferedBytes",
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
];

const TEXTS: [&str; 20] = [
    "\"\"",
    "\"/\"",
    "\"file\"",
    "\"memory\"",
    "\"sqlite\"",
    "\"deny\"",
    "\"allow\"",
    "\"*\"",
    "\"https://[::1]:1\"",
    "\"10.0.0.0/8\"",
    "\"::/0\"",
    "\"://\"",
    "\"a/b\"",
    "\"127.0.0.1\"",
    "\"localhost\"",
    "\"tick\"",
    "\"deadline\"",
    "\"debug\"",
    "\"json\"",
    "\"zq9-secret-token\"",
];

/// What must never be shown.
const TOKEN: &str = "zq9-secret-token";

/// A document that is accepted.
const VALID: &str = r#"{"auth":{"tokens":{"zq9-secret-token":{"userId":"u","roles":[]}},"required":false},
    "adminSecret":"zq9-secret-token","heartbeat":{},"limits":{},"log":{},"rules":{},"store":{}}"#;

/// The first byte chooses: a text as it is, a generated document, a valid document with one change, arguments.
pub(crate) fn run(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    match mode % 4 {
        0 => {
            if let Ok(text) = std::str::from_utf8(rest) {
                check(text, &Cli::default());
            }
        }
        1 => {
            let mut input = Input::new(rest);
            let text = object(&mut input, 4);
            check(&text, &Cli::default());
        }
        2 => changed(&mut Input::new(rest)),
        _ => arguments(rest),
    }
}

fn object(input: &mut Input<'_>, depth: usize) -> String {
    let members: Vec<String> = (0..input.below(6))
        .map(|_| {
            let name = if input.rarely(12) { input.quoted() } else { format!("\"{}\"", input.pick(&NAMES)) };
            format!("{name}:{}", value(input, depth))
        })
        .collect();
    format!("{{{}}}", members.join(","))
}

fn value(input: &mut Input<'_>, depth: usize) -> String {
    match input.below(if depth == 0 { 5 } else { 9 }) {
        0 => input.pick(&["null", "true", "false", "0", "1", "65536", "-1", "1.5", "1e300"]).to_owned(),
        1 => input.any::<u32>().unwrap_or_default().to_string(),
        2 | 3 => input.pick(&TEXTS).to_owned(),
        4 => input.quoted(),
        5 | 6 => {
            let items: Vec<String> = (0..input.below(4)).map(|_| value(input, depth - 1)).collect();
            format!("[{}]", items.join(","))
        }
        _ => object(input, depth - 1),
    }
}

/// One member of a valid document is replaced or added, wherever it is.
fn changed(input: &mut Input<'_>) {
    let mut document: Json = serde_json::from_str(VALID).expect("JSON");
    let place =
        input.pick(&["", "/auth", "/auth/tokens", "/heartbeat", "/limits", "/log", "/rules", "/store"]);
    let name: Json = serde_json::from_str(&input.quoted()).expect("JSON");
    let name = if input.rarely(6) { name.as_str().unwrap_or_default() } else { input.pick(&NAMES) };
    let value = serde_json::from_str(&value(input, 4)).expect("JSON");
    if let Some(members) = document.pointer_mut(place).and_then(Json::as_object_mut) {
        members.insert(name.to_owned(), value);
    }
    check(&document.to_string(), &Cli::default());
}

/// Arguments between NUL bytes.
fn arguments(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let args: Vec<String> = text.split('\0').map(str::to_owned).collect();
    match parse_args(args, &|_| None) {
        Ok(Action::Run(cli)) if text.contains(TOKEN) => drop(parse(VALID, &cli)),
        Ok(Action::Run(cli)) => check(VALID, &cli),
        Ok(Action::Help | Action::Version) => {}
        Err(error) => {
            let text = error.to_string();
            assert!(text.starts_with("Error: ") && text.lines().count() == 2, "{text}");
        }
    }
}

/// Whether the token stands only where secrets stand. Elsewhere it may be shown.
fn is_secret(text: &str) -> bool {
    let Ok(mut document) = serde_json::from_str::<Json>(text) else { return true };
    if let Some(members) = document.as_object_mut() {
        members.remove("adminSecret");
    }
    let tokens = document.pointer_mut("/auth/tokens").map(Json::take);
    let mut rest = document.to_string();
    if let Some(Json::Object(tokens)) = tokens {
        rest.extend(tokens.values().map(Json::to_string));
    }
    !rest.contains(TOKEN)
}

fn check(text: &str, cli: &Cli) {
    let [lenient, strict] = [false, true].map(|strict| {
        let cli = Cli { strict_config: strict, ..cli.clone() };
        let outcome = parse(text, &cli);
        assert_eq!(outcome, parse(text, &cli), "repeated");
        let secret = is_secret(text);
        match &outcome {
            Ok(loaded) => {
                let config = &loaded.config;
                let lines = [start_warnings(config), loaded.warnings.clone()].concat();
                assert!(loaded.warnings.iter().all(|line| line.starts_with("Warning: ")));
                assert!(lines.iter().all(|line| !line.contains(['\n', '\r'])), "{lines:?}");
                assert!(!secret || !format!("{config:?}").contains(TOKEN), "{config:?}");
                let _ = banner(config, 1);
            }
            Err(LoadError::File(_)) => {}
            Err(LoadError::Invalid { problems, config, .. }) => {
                assert!(!problems.is_empty());
                assert!(!secret || !format!("{config:?}").contains(TOKEN), "{config:?}");
                for problem in problems {
                    assert!(!problem.contains(char::is_control), "{problem:?}");
                    assert!(!secret || !problem.contains(TOKEN), "{problem}");
                }
            }
        }
        outcome
    });
    match (lenient, strict) {
        (Ok(lenient), Ok(strict)) => assert_eq!(lenient, strict),
        (Ok(lenient), Err(LoadError::Invalid { problems, .. })) => {
            let unknown = |text: &String| text.contains("unknown config key");
            assert!(problems.iter().all(unknown), "{problems:?}");
            assert_eq!(lenient.warnings.iter().filter(|line| unknown(line)).count(), problems.len());
        }
        (Err(LoadError::File(lenient)), Err(LoadError::File(strict))) => assert_eq!(lenient, strict),
        (
            Err(LoadError::Invalid { problems: lenient, config, .. }),
            Err(LoadError::Invalid { problems: strict, config: other, .. }),
        ) => {
            assert_eq!(config, other);
            assert!(lenient.iter().all(|problem| strict.contains(problem)), "{lenient:?} {strict:?}");
        }
        (lenient, strict) => panic!("{lenient:?}, but strictly {strict:?}"),
    }
}
