//! The keys `auth` and `adminSecret`.
//!
//! Invariant: tokens, also misplaced ones, and the admin secret are never part of a message: entries are named by
//! position, values that may hold tokens are shown without their strings.
//! Source: the configuration description, "auth".

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::section::{Range, Section, as_integer, as_strings, not_empty};
use crate::auth::{AuthConfig, BuiltInAuth, Expiry, PermissionRule, Permissions, TokenAuth, TokenEntry};
use crate::secret::Secret;

/// Reads `auth` and the `adminSecret` beside it.
pub(super) fn parse(root: &mut Section<'_, '_>) -> AuthConfig {
    let outer = admin_secret(root);
    let Some(value) = root.take("auth") else { return AuthConfig::None };
    if let Some(on) = value.as_bool() {
        if !on {
            return AuthConfig::None;
        }
        let mut config = BuiltInAuth::default();
        choose_secret(root, AdminSecret::Absent, outer, &mut config);
        return AuthConfig::BuiltIn(config);
    }
    if !value.is_object() {
        root.invalid_shown("auth", redacted(value), "boolean or object");
        return AuthConfig::None;
    }
    let Some(section) = root.object("auth") else { return AuthConfig::None };
    parse_object(section.confidential(), outer)
}

fn parse_object(mut section: Section<'_, '_>, outer: AdminSecret) -> AuthConfig {
    let mut built_in = false;
    let errors_before = section.report.errors.len();
    section.boolean("builtIn", &mut built_in);
    let switch_is_wrong = section.report.errors.len() > errors_before;
    let tokens = section.has("tokens");
    if built_in && tokens {
        section.error("auth: \"builtIn\" and \"tokens\" exclude each other");
    }
    if !built_in && !tokens && !switch_is_wrong {
        section.error("auth: expected \"tokens\" or \"builtIn\"");
    }
    let mut config = AuthConfig::None;
    if tokens {
        config = AuthConfig::Token(token_auth(&mut section));
        section.take("adminSecret"); // ignored outside built-in identity, here as beside `auth`
    } else if built_in {
        for key in ["permissions", "required", "anonymousRoles", "strictTiers"] {
            if section.has(key) {
                section.error(format!("auth.{key} is not available with built-in identity"));
            }
        }
    }
    if built_in {
        config = AuthConfig::BuiltIn(built_in_auth(&mut section, outer));
    }
    section.finish();
    config
}

/// An `adminSecret` as found in the document.
enum AdminSecret {
    Absent,
    /// Wrong type, already reported.
    Wrong,
    Given(Secret),
}

fn admin_secret(section: &mut Section<'_, '_>) -> AdminSecret {
    let Some(value) = section.take("adminSecret") else { return AdminSecret::Absent };
    match value.as_str() {
        Some(text) => AdminSecret::Given(Secret::new(text)),
        None => {
            section.invalid_shown("adminSecret", "***", "non-empty string");
            AdminSecret::Wrong
        }
    }
}

/// UTF-16 code units below which a secret is worth a warning.
const SECRET_LENGTH_ADVISED: usize = 16;

/// Takes the secret inside `auth`, else the one beside it.
fn choose_secret(
    section: &mut Section<'_, '_>,
    inner: AdminSecret,
    outer: AdminSecret,
    config: &mut BuiltInAuth,
) {
    let mut wrong = false;
    for candidate in [inner, outer] {
        match candidate {
            AdminSecret::Given(secret) if !secret.is_empty() => {
                if secret.expose().encode_utf16().count() < SECRET_LENGTH_ADVISED {
                    let text = "Warning: adminSecret is shorter than 16 characters";
                    section.report.warnings.push(text.to_owned());
                }
                config.admin_secret = secret;
                return;
            }
            AdminSecret::Wrong => wrong = true,
            AdminSecret::Given(_) | AdminSecret::Absent => {}
        }
    }
    if !wrong {
        section.error("--admin-secret is required when --auth is enabled");
    }
}

fn built_in_auth(section: &mut Section<'_, '_>, outer: AdminSecret) -> BuiltInAuth {
    let mut config = BuiltInAuth::default();
    let inner = admin_secret(section);
    choose_secret(section, inner, outer, &mut config);
    section.integer("sessionTtl", Range::AtLeast(1), &mut config.session_ttl_ms);
    section.integer("passwordMinLength", Range::Between(1, 256), &mut config.password_min_length);
    section.integer("maxSessionsPerUser", Range::AtLeast(1), &mut config.max_sessions_per_user);
    if let Some(mut limit) = section.object("loginRateLimit") {
        limit.integer("maxAttempts", Range::AtLeast(1), &mut config.login_rate_limit.max_attempts);
        limit.integer("windowMs", Range::AtLeast(1), &mut config.login_rate_limit.window_ms);
        limit.finish();
    }
    config
}

fn token_auth(section: &mut Section<'_, '_>) -> TokenAuth {
    let mut config = TokenAuth { tokens: tokens(section), ..TokenAuth::default() };
    section.boolean("required", &mut config.required);
    config.permissions = permissions(section);
    config.anonymous_roles = section.strings("anonymousRoles", |_| true, "array of strings");
    if config.anonymous_roles.is_some() && config.required {
        section.error("auth.anonymousRoles requires \"required\": false");
    }
    section.boolean("strictTiers", &mut config.strict_tiers);
    config
}

fn tokens(section: &mut Section<'_, '_>) -> Vec<TokenEntry> {
    let Some(value) = section.take("tokens") else { return Vec::new() };
    let Some(members) = value.as_object() else {
        section.invalid_shown("tokens", redacted(value), "object of token definitions");
        return Vec::new();
    };
    let mut entries = Vec::new();
    let mut positions: BTreeMap<[u8; 32], usize> = BTreeMap::new();
    for (position, (token, definition)) in (1_usize..).zip(members) {
        if token.is_empty() {
            section.error("Invalid auth.tokens: token must not be empty");
        }
        let token_sha256 = token_hash(token).unwrap_or_else(|| {
            if token.starts_with(HASH_PREFIX) {
                section.report.warnings.push(format!(
                    "Warning: auth.tokens entry {position} starts with \"sha256:\" without 64 hex digits after it \
                     and is taken as a clear token"
                ));
            }
            Sha256::digest(token.as_bytes()).into()
        });
        if let Some(first) = positions.insert(token_sha256, position) {
            section.error(format!("Invalid auth.tokens entry {position}: same token as entry {first}"));
        }
        entries.push(token_entry(section, position, definition, token_sha256));
    }
    entries
}

const HASH_PREFIX: &str = "sha256:";

/// Decodes a key of the form `sha256:<64 hex digits>`.
fn token_hash(key: &str) -> Option<[u8; 32]> {
    let digits = key.strip_prefix(HASH_PREFIX)?.as_bytes();
    let mut hash = [0_u8; 32];
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != hash.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(pairs) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? * 16 + low?).ok()?;
    }
    Some(hash)
}

fn token_entry(
    section: &mut Section<'_, '_>,
    position: usize,
    definition: &Value,
    token_sha256: [u8; 32],
) -> TokenEntry {
    let mut entry =
        TokenEntry { token_sha256, user_id: String::new(), roles: Vec::new(), metadata: None, expiry: None };
    let path = format!("auth.tokens entry {position}");
    let Some(members) = definition.as_object() else {
        section.error(format!("Invalid {path}: userId must be non-empty string"));
        return entry;
    };
    let mut fields = Section::new(path.clone(), members, section.report).confidential();
    let mut problems = Vec::new();
    match fields.take("userId").and_then(Value::as_str).filter(|user| !user.is_empty()) {
        Some(user) => entry.user_id = user.to_owned(),
        None => problems.push("userId must be non-empty string"),
    }
    match fields.take("roles").map(|roles| as_strings(roles, not_empty)) {
        Some(Some(roles)) => entry.roles = roles,
        Some(None) => problems.push("roles must be array of non-empty strings"),
        None => {}
    }
    match fields.take("metadata") {
        Some(metadata) if metadata.is_object() => entry.metadata = Some(metadata.to_string()),
        Some(_) => problems.push("metadata must be object"),
        None => {}
    }
    entry.expiry = expiry(&mut fields, &mut problems);
    fields.finish();
    for problem in problems {
        section.error(format!("Invalid {path}: {problem}"));
    }
    entry
}

fn expiry(fields: &mut Section<'_, '_>, problems: &mut Vec<&'static str>) -> Option<Expiry> {
    let at = fields.take("expiresAt");
    let after = fields.take("expiresInMs");
    // Bounded so that adding it to the clock cannot overflow.
    let positive = |value: &Value| as_integer(value).filter(|ms| (1..=EXPIRY_MAX_MS).contains(ms));
    let at_ms = at.and_then(positive);
    let in_ms = after.and_then(positive);
    if at.is_some() && at_ms.is_none() {
        problems.push("expiresAt must be positive integer");
    }
    if after.is_some() && in_ms.is_none() {
        problems.push("expiresInMs must be positive integer");
    }
    if at.is_some() && after.is_some() {
        problems.push("expiresAt and expiresInMs exclude each other");
    }
    at_ms.map(Expiry::AtMs).or(in_ms.map(Expiry::InMs))
}

/// 2^53 - 1 milliseconds, the largest integer that a double holds exactly.
const EXPIRY_MAX_MS: u64 = (1 << 53) - 1;

fn permissions(section: &mut Section<'_, '_>) -> Option<Permissions> {
    let mut permissions = section.object("permissions")?;
    let mut config = Permissions { default_allow: true, rules: Vec::new() };
    permissions.choice("default", &[("allow", true), ("deny", false)], &mut config.default_allow);
    if let Some(value) = permissions.take("rules") {
        match value.as_array() {
            Some(rules) => {
                for (i, rule) in rules.iter().enumerate() {
                    config.rules.extend(permission_rule(&mut permissions, i, rule));
                }
            }
            None => permissions.invalid("rules", Some(value), "array"),
        }
    }
    permissions.finish();
    Some(config)
}

/// Reads one rule; `None` if it is not an object. Problems are in the report.
fn permission_rule(permissions: &mut Section<'_, '_>, i: usize, rule: &Value) -> Option<PermissionRule> {
    let Some(members) = rule.as_object() else {
        permissions.invalid(&format!("rules[{i}]"), Some(rule), "object");
        return None;
    };
    let path = format!("auth.permissions.rules[{i}]");
    let mut fields = Section::new(path, members, permissions.report);
    let role_value = fields.take("role");
    let role =
        role_value.and_then(Value::as_str).filter(|role| !role.is_empty()).unwrap_or_default().to_owned();
    if role.is_empty() {
        fields.invalid("role", role_value, "non-empty string");
    }
    let allow_value = fields.take("allow");
    let allow = allow_value.and_then(as_patterns).unwrap_or_default();
    if allow.is_empty() {
        fields.invalid("allow", allow_value, "non-empty string or non-empty array of non-empty strings");
    }
    let buckets = fields.strings("buckets", |_| true, "array of strings");
    let topics = fields.strings("topics", |_| true, "array of strings");
    fields.finish();
    Some(PermissionRule { role, allow, buckets, topics })
}

fn as_patterns(value: &Value) -> Option<Vec<String>> {
    match value.as_str() {
        Some(pattern) => not_empty(pattern).then(|| vec![pattern.to_owned()]),
        None => as_strings(value, not_empty),
    }
}

/// Shows a value that may hold tokens: strings and the content of objects are left out.
fn redacted(value: &Value) -> String {
    if let Some(elements) = value.as_array() {
        let shown: Vec<String> = elements.iter().map(redacted).collect();
        return format!("[{}]", shown.join(","));
    }
    match value.as_object() {
        Some(members) if !members.is_empty() => "{***}".to_owned(),
        Some(_) | None if value.is_string() => "\"***\"".to_owned(),
        Some(_) | None => value.to_string(),
    }
}
