//! What the server says about its configuration when it starts.
//!
//! Source: the configuration description, "Output".

use std::net::IpAddr;

use crate::auth::{AuthConfig, TokenAuth};
use crate::config::{Config, Persistence, RulesConfig};

/// Version of the server; all crates of the workspace share one.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Returns the text of `--version`, without a line end.
pub fn version_text() -> String {
    format!("noex-server v{VERSION}")
}

/// Returns the banner for the log: several lines, without a line end after the last.
///
/// `actual_port` is the port that was bound, which differs from `config.port` if that is 0.
pub fn banner(config: &Config, actual_port: u16) -> String {
    let persistence = match &config.persistence {
        Persistence::Memory => "memory".to_owned(),
        Persistence::File { dir } => format!("file ({dir})"),
        Persistence::Sqlite { path } => format!("sqlite ({path})"),
    };
    let auth = match config.auth {
        AuthConfig::None => "disabled",
        AuthConfig::Token(_) => "token",
        AuthConfig::BuiltIn(_) => "built-in",
    };
    let rules = match config.rules {
        RulesConfig::Off => false,
        RulesConfig::Default | RulesConfig::On | RulesConfig::Definitions { .. } => true,
    };
    let origins = match &config.allowed_origins {
        None => "any".to_owned(),
        Some(origins) if origins.is_empty() => "none".to_owned(),
        Some(origins) => origins.join(", "),
    };
    let connections = config.max_connections_per_ip.map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
    let details = if config.expose_error_details { "exposed" } else { "hidden" };
    [
        version_text(),
        format!("  URL:           ws://{}:{actual_port}{}", url_host(&config.host), config.path),
        format!("  Persistence:   {persistence}"),
        format!("  Auth:          {auth}"),
        format!("  Rules:         {}", enabled(rules)),
        format!("  Audit:         {}", enabled(config.audit.is_some())),
        format!("  Error details: {details}"),
        format!("  Origins:       {origins}"),
        format!("  Max conn/IP:   {connections}"),
    ]
    .join("\n")
}

/// Returns warnings about a configuration that is valid but risky, one line each.
pub fn start_warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |text: &str| warnings.push(format!("[noex-server] Warning: {text}"));
    if config.rate_limit.is_none() && is_unspecified(&config.host) {
        warn("rate limiting is disabled. Consider enabling it for production use.");
    }
    match &config.auth {
        AuthConfig::None if !is_loopback(&config.host) => {
            warn("authentication is disabled on a public address. Every client may run admin operations.");
        }
        AuthConfig::Token(auth) if anonymous_admin(auth) => {
            warn("authentication is optional and admin operations are open to anonymous clients.");
        }
        AuthConfig::None | AuthConfig::Token(_) | AuthConfig::BuiltIn(_) => {}
    }
    warnings
}

const fn enabled(on: bool) -> &'static str {
    if on { "enabled" } else { "disabled" }
}

/// Puts an IPv6 address into brackets, as a URL needs it (RFC 3986 §3.2.2).
fn url_host(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

/// Tells whether the server listens on all addresses.
fn is_unspecified(host: &str) -> bool {
    parse_host(host).is_some_and(|address| address.is_unspecified())
}

/// Tells whether only this machine can connect; other names than `localhost` may be anything.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || parse_host(host).is_some_and(|address| address.is_loopback())
}

fn parse_host(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok().map(|a| a.to_canonical())
}

/// Tells whether a client that has not logged in gets past the tier check and the permission rules for some admin
/// operation. Looks at wildcards only: a rule that names one admin operation is meant.
fn anonymous_admin(auth: &TokenAuth) -> bool {
    if auth.required {
        return false;
    }
    let Some(roles) = &auth.anonymous_roles else { return true };
    let has = |role: &str| roles.iter().any(|r| r == role);
    let tier_passed = has("admin") || (!has("writer") && !has("reader") && !auth.strict_tiers);
    let granted = auth.permissions.as_ref().is_none_or(|permissions| {
        permissions.default_allow
            || permissions
                .rules
                .iter()
                .any(|rule| has(&rule.role) && rule.allow.iter().any(|p| p.ends_with('*')))
    });
    tier_passed && granted
}
