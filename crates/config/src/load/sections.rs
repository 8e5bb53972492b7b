//! Every key of the config file except `auth` and the definitions, in the order of the description's table.
//!
//! Source: the configuration description, "Config file", "Audit", "Limits".

use serde_json::{Map, Value};

use super::section::{Range, Report, Section, as_strings};
use super::{auth, definitions};
use crate::auth::AuthConfig;
use crate::cidr::IpNet;
use crate::config::{
    AuditConfig, Config, Durability, HeartbeatMode, LogFormat, LogLevel, OnDuplicateInsert, Persistence,
    RateLimit, Revocation, Tier,
};

/// Validates the whole document. The result is meaningful only if `report` has no errors.
pub(super) fn parse(document: &Map<String, Value>, report: &mut Report) -> Config {
    let mut root = Section::new(String::new(), document, report);
    let mut config = Config::default();
    listen(&mut root, &mut config);
    store(&mut root, &mut config);
    config.auth = auth::parse(&mut root);
    let built_in = matches!(config.auth, AuthConfig::BuiltIn(_));
    config.buckets = definitions::buckets(&mut root, built_in);
    config.queries = definitions::queries(&mut root, built_in);
    config.rules = definitions::rules(&mut root);
    config.rate_limit = rate_limit(&mut root);
    heartbeat(&mut root, &mut config);
    backpressure(&mut root, &mut config);
    connection_limits(&mut root, &mut config);
    config.audit = audit(&mut root);
    config.revocation = revocation(&mut root);
    config.procedures = definitions::procedures(&mut root);
    root.boolean("exposeErrorDetails", &mut config.expose_error_details);
    access(&mut root, &mut config);
    limits(&mut root, &mut config);
    shutdown(&mut root, &mut config);
    root.boolean("compatErrorCodes", &mut config.compat_error_codes);
    log(&mut root, &mut config);
    root.finish();
    config
}

/// Where the server listens and what it is called.
fn listen(root: &mut Section<'_, '_>, config: &mut Config) {
    root.integer("port", Range::Between(0, 65_535), &mut config.port);
    replace(&mut config.host, root.string("host"));
    replace(&mut config.name, root.string("name"));
    if let Some(value) = root.take("path") {
        match value.as_str() {
            Some(path) if path.starts_with('/') && !path.contains(['?', '#']) => {
                config.path = path.to_owned()
            }
            Some(path) if path.starts_with('/') => {
                root.invalid("path", Some(value), "string starting with \"/\", no ? or #");
            }
            Some(_) | None => root.invalid("path", Some(value), "string starting with \"/\""),
        }
    }
    root.integer("maxPayloadBytes", Range::Between(64, 1_073_741_824), &mut config.max_payload_bytes);
}

/// Persistence and the switches of the store.
fn store(root: &mut Section<'_, '_>, config: &mut Config) {
    let persistence = root.take("persistence");
    let mut dir = "./data".to_owned();
    replace(&mut dir, root.string("dataDir"));
    let mut path = "./noex.db".to_owned();
    replace(&mut path, root.string("db"));
    match persistence.map(|value| value.as_str().unwrap_or_default()) {
        None | Some("memory") => {}
        Some("file") => config.persistence = Persistence::File { dir },
        Some("sqlite") => config.persistence = Persistence::Sqlite { path },
        Some(_) => {
            let shown = persistence.map(plain_text).unwrap_or_default();
            root.error(format!("Unknown persistence type: {shown} (must be memory, file, or sqlite)"));
        }
    }
    replace(&mut config.store_name, root.string("storeName"));
    if let Some(mut section) = root.object("store") {
        let durability =
            [("sync", Durability::Sync), ("interval", Durability::Interval), ("none", Durability::None)];
        section.choice("durability", &durability, &mut config.store.durability);
        section.boolean("autoDefine", &mut config.store.auto_define);
        section.boolean("strictFilters", &mut config.store.strict_filters);
        section.boolean("allowOperatorParams", &mut config.store.allow_operator_params);
        let on_duplicate = [("reject", OnDuplicateInsert::Reject), ("replace", OnDuplicateInsert::Replace)];
        section.choice("onDuplicateInsert", &on_duplicate, &mut config.store.on_duplicate_insert);
        section.integer("maxViewBytes", Range::Between(0, 1 << 40), &mut config.store.max_view_bytes);
        section.finish();
    }
    root.integer("persistenceDebounceMs", Range::Between(0, 60_000), &mut config.persistence_debounce_ms);
    root.integer("ttlCheckIntervalMs", Range::Between(0, 3_600_000), &mut config.ttl_check_interval_ms);
}

fn rate_limit(root: &mut Section<'_, '_>) -> Option<RateLimit> {
    if root.take("rateLimit")?.is_null() {
        return None;
    }
    let mut section = root.object("rateLimit")?;
    let mut config = RateLimit { max_requests: 1, window_ms: 1 };
    section.required_integer("maxRequests", Range::Between(1, 1_000_000), &mut config.max_requests);
    section.required_integer("windowMs", Range::Between(1, 86_400_000), &mut config.window_ms);
    section.finish();
    Some(config)
}

fn heartbeat(root: &mut Section<'_, '_>, config: &mut Config) {
    let Some(mut section) = root.object("heartbeat") else { return };
    let heartbeat = &mut config.heartbeat;
    section.integer("intervalMs", Range::Between(10, 86_400_000), &mut heartbeat.interval_ms);
    section.integer("timeoutMs", Range::Between(1, 86_400_000), &mut heartbeat.timeout_ms);
    let modes = [("deadline", HeartbeatMode::Deadline), ("tick", HeartbeatMode::Tick)];
    section.choice("mode", &modes, &mut heartbeat.mode);
    section.finish();
}

fn backpressure(root: &mut Section<'_, '_>, config: &mut Config) {
    let Some(mut section) = root.object("backpressure") else { return };
    let backpressure = &mut config.backpressure;
    section.integer(
        "maxBufferedBytes",
        Range::Between(1, 1_073_741_824),
        &mut backpressure.max_buffered_bytes,
    );
    if let Some(value) = section.take("highWaterMark") {
        match value.as_f64().filter(|&mark| mark > 0.0 && mark <= 1.0) {
            Some(mark) => backpressure.high_water_mark = mark,
            None => section.invalid("highWaterMark", Some(value), "number > 0 and <= 1"),
        }
    }
    section.integer("stallTimeoutMs", Range::Between(100, 3_600_000), &mut backpressure.stall_timeout_ms);
    section.integer("eventQueueMax", Range::Between(0, 100_000), &mut backpressure.event_queue_max);
    section.boolean("rejectRequests", &mut backpressure.reject_requests);
    section.finish();
}

fn connection_limits(root: &mut Section<'_, '_>, config: &mut Config) {
    let Some(mut section) = root.object("connectionLimits") else { return };
    let limits = &mut config.connection_limits;
    let any = Range::AtLeast(0);
    section.integer("maxSubscriptionsPerConnection", any, &mut limits.max_subscriptions_per_connection);
    section.integer("maxTotalSubscriptions", any, &mut limits.max_total_subscriptions);
    section.finish();
}

fn audit(root: &mut Section<'_, '_>) -> Option<AuditConfig> {
    let value = root.take("audit")?;
    let mut config = AuditConfig::default();
    if let Some(on) = value.as_bool() {
        return on.then_some(config);
    }
    if !value.is_object() {
        root.invalid("audit", Some(value), "boolean or object");
        return None;
    }
    let mut section = root.object("audit")?;
    if let Some(value) = section.take("tiers") {
        match as_tiers(value) {
            Some(tiers) => config.tiers = tiers,
            None => {
                section.invalid("tiers", Some(value), "non-empty array of \"admin\", \"write\", \"read\"")
            }
        }
    }
    section.integer("maxEntries", Range::Between(1, 10_000_000), &mut config.max_entries);
    config.file = section.string("file");
    section.finish();
    Some(config)
}

/// Reads the tiers, each once, in the order given.
fn as_tiers(value: &Value) -> Option<Vec<Tier>> {
    let mut tiers = Vec::new();
    for name in as_strings(value, |_| true)? {
        let tier = match name.as_str() {
            "admin" => Tier::Admin,
            "write" => Tier::Write,
            "read" => Tier::Read,
            _ => return None,
        };
        if !tiers.contains(&tier) {
            tiers.push(tier);
        }
    }
    (!tiers.is_empty()).then_some(tiers)
}

fn revocation(root: &mut Section<'_, '_>) -> Option<Revocation> {
    if root.has("revocation") && root.take("auth").is_none_or(|auth| auth == &Value::Bool(false)) {
        root.error("revocation requires auth");
    }
    let mut section = root.object("revocation")?;
    let mut config = Revocation::default();
    section.integer("blacklistTtlMs", Range::Between(1, 31_536_000_000), &mut config.blacklist_ttl_ms);
    section.finish();
    Some(config)
}

/// Who may connect, by origin and address.
fn access(root: &mut Section<'_, '_>, config: &mut Config) {
    if let Some(value) = root.take("allowedOrigins").filter(|value| !value.is_null()) {
        config.allowed_origins = as_strings(value, is_origin);
        if config.allowed_origins.is_none() {
            root.invalid("allowedOrigins", Some(value), "array of origins like \"https://host[:port]\"");
        }
    }
    if root.take("maxConnectionsPerIp").is_some_and(|value| !value.is_null()) {
        let mut connections: u64 = 0;
        root.integer("maxConnectionsPerIp", Range::AtLeast(1), &mut connections);
        // There are fewer connections than that.
        config.max_connections_per_ip = Some(u32::try_from(connections).unwrap_or(u32::MAX));
    }
    if let Some(value) = root.take("trustedProxies") {
        match as_networks(value) {
            Some(networks) => config.trusted_proxies = networks,
            None => root.invalid("trustedProxies", Some(value), "array of IP addresses or CIDR blocks"),
        }
    }
}

fn as_networks(value: &Value) -> Option<Vec<IpNet>> {
    value.as_array()?.iter().map(|element| element.as_str()?.parse().ok()).collect()
}

/// Accepts `scheme://host` and `scheme://host:port`, the form of an `Origin` header (RFC 6454 §6.2).
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let (host, port) = match authority.rsplit_once(':') {
        // The last colon of an IPv6 address without a port lies inside the brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (authority, None),
    };
    let host_ok = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || "-._~".contains(c)),
    };
    let port_ok =
        port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok());
    scheme_ok && host_ok && port_ok
}

fn limits(root: &mut Section<'_, '_>, config: &mut Config) {
    let Some(mut section) = root.object("limits") else { return };
    let limits = &mut config.limits;
    let any = Range::AtLeast(0);
    section.integer("maxConnections", any, &mut limits.max_connections);
    section.integer("authTimeoutMs", any, &mut limits.auth_timeout_ms);
    section.integer("maxJsonDepth", Range::Between(16, 1024), &mut limits.max_json_depth);
    section.integer("maxQueuedRequests", Range::Between(1, 65_536), &mut limits.max_queued_requests);
    section.integer("maxTransactionOperations", any, &mut limits.max_transaction_operations);
    section.integer("maxNameLength", any, &mut limits.max_name_length);
    section.integer("maxBuckets", any, &mut limits.max_buckets);
    section.integer("maxQueries", any, &mut limits.max_queries);
    section.integer("maxProcedures", any, &mut limits.max_procedures);
    section.integer("maxRules", any, &mut limits.max_rules);
    section.integer("maxFacts", any, &mut limits.max_facts);
    section.integer("maxRateLimitKeys", any, &mut limits.max_rate_limit_keys);
    section.finish();
}

fn shutdown(root: &mut Section<'_, '_>, config: &mut Config) {
    let Some(mut section) = root.object("shutdown") else { return };
    section.integer("gracePeriodMs", Range::Between(0, 3_600_000), &mut config.shutdown.grace_period_ms);
    section.integer("closeTimeoutMs", Range::Between(0, 60_000), &mut config.shutdown.close_timeout_ms);
    section.finish();
}

fn log(root: &mut Section<'_, '_>, config: &mut Config) {
    let Some(mut section) = root.object("log") else { return };
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
    ];
    section.choice("level", &levels, &mut config.log.level);
    section.choice("format", &[("text", LogFormat::Text), ("json", LogFormat::Json)], &mut config.log.format);
    section.finish();
}

fn replace(target: &mut String, value: Option<String>) {
    if let Some(value) = value {
        *target = value;
    }
}

/// Shows a string without quotes, unless it would break the line; anything else as JSON.
fn plain_text(value: &Value) -> String {
    match value.as_str() {
        Some(text) if !text.is_empty() && !text.contains(char::is_control) => text.to_owned(),
        Some(_) | None => value.to_string(),
    }
}
