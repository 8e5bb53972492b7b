//! Banner, warnings at start, features that are missing.

use noex_config::{Config, VERSION, banner, start_warnings};

use crate::config;

#[test]
fn banner_of_the_defaults() {
    let expected = format!(
        "noex-server v{VERSION}\n\
         \x20 URL:           ws://0.0.0.0:8081/\n\
         \x20 Persistence:   memory\n\
         \x20 Auth:          disabled\n\
         \x20 Rules:         enabled\n\
         \x20 Audit:         disabled\n\
         \x20 Error details: exposed\n\
         \x20 Origins:       any\n\
         \x20 Max conn/IP:   unlimited"
    );
    assert_eq!(banner(&Config::default(), 8081), expected);
}

#[test]
fn banner_of_everything() {
    let config = config(
        r#"{"host": "::1", "path": "/ws", "persistence": "file", "auth": {"builtIn": true,
        "adminSecret": "0123456789abcdef"}, "rules": true, "audit": true, "exposeErrorDetails": false,
        "allowedOrigins": ["https://a", "https://b"], "maxConnectionsPerIp": 3}"#,
    );
    let expected = format!(
        "noex-server v{VERSION}\n\
         \x20 URL:           ws://[::1]:1/ws\n\
         \x20 Persistence:   file (./data)\n\
         \x20 Auth:          built-in\n\
         \x20 Rules:         enabled\n\
         \x20 Audit:         enabled\n\
         \x20 Error details: hidden\n\
         \x20 Origins:       https://a, https://b\n\
         \x20 Max conn/IP:   3"
    );
    assert_eq!(banner(&config, 1), expected);
    let other = crate::config(r#"{"persistence": "sqlite", "auth": {"tokens": {}}, "allowedOrigins": []}"#);
    let text = banner(&other, 1);
    for line in ["  Persistence:   sqlite (./noex.db)", "  Auth:          token", "  Origins:       none"] {
        assert!(text.lines().any(|l| l == line), "{line}");
    }
}

const RATE: &str =
    "[noex-server] Warning: rate limiting is disabled. Consider enabling it for production use.";
const OPEN: &str = "[noex-server] Warning: authentication is disabled on a public address. Every client may run admin \
                    operations.";
const ANONYMOUS: &str =
    "[noex-server] Warning: authentication is optional and admin operations are open to anonymous clients.";

#[test]
fn warnings_at_start() {
    let limited = r#""rateLimit": {"maxRequests": 1, "windowMs": 1}"#;
    for (members, expected) in [
        ("".to_owned(), [RATE, OPEN].as_slice()),
        (r#""host": "::""#.to_owned(), &[RATE, OPEN]),
        (r#""host": "192.0.2.1""#.to_owned(), &[OPEN]),
        (r#""host": "127.0.0.1""#.to_owned(), &[]),
        (r#""host": "::ffff:127.0.0.1""#.to_owned(), &[]),
        (r#""host": "localhost""#.to_owned(), &[]),
        (r#""host": "::1""#.to_owned(), &[]),
        (limited.to_owned(), &[OPEN]),
        (format!(r#"{limited}, "auth": {{"tokens": {{}}}}"#), &[]),
    ] {
        assert_eq!(start_warnings(&config(&format!("{{{members}}}"))), expected, "{members}");
    }
}

#[test]
fn warning_about_anonymous_admins() {
    for (members, expected) in [
        (r#""required": true"#, false),
        (r#""required": false"#, true),
        (r#""required": false, "anonymousRoles": ["reader"]"#, false),
        (r#""required": false, "anonymousRoles": ["reader", "admin"]"#, true),
        (r#""required": false, "anonymousRoles": ["guest"]"#, true),
        (r#""required": false, "anonymousRoles": ["guest"], "strictTiers": true"#, false),
        (r#""required": false, "anonymousRoles": ["guest"], "permissions": {"default": "deny"}"#, false),
        (r#""required": false, "anonymousRoles": ["guest"], "permissions": {"default": "allow"}"#, true),
        (
            r#""required": false, "anonymousRoles": ["g"], "permissions": {"default": "deny",
               "rules": [{"role": "g", "allow": ["store.*"]}, {"role": "h", "allow": "*"}]}"#,
            true,
        ),
        (
            r#""required": false, "anonymousRoles": ["g"], "permissions": {"default": "deny",
               "rules": [{"role": "g", "allow": "store.get"}, {"role": "h", "allow": "*"}]}"#,
            false,
        ),
    ] {
        let config = config(&format!(r#"{{"host": "127.0.0.1", "auth": {{"tokens": {{}}, {members}}}}}"#));
        let expected: &[&str] = if expected { &[ANONYMOUS] } else { &[] };
        assert_eq!(start_warnings(&config), expected, "{members}");
    }
}
