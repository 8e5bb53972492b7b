//! From the config file's settings to the server's.

use crate::runtime::{
    AuditOptions, HandshakeConfig, IdentityOptions, Options, ProceduresOptions, RulesOptions, Session,
    StaticTokens, TokenExpiry,
    accounts::Settings,
    core::{self, AuthMode, PermissionRule, Permissions, RateLimit, TokenMode},
    procedures::Limits as ProcedureLimits,
    rules::EngineOptions,
    store::{DuplicateInsert, StoreOptions},
};
use noex_config::{
    AuditConfig, AuthConfig, BuiltInAuth, Config, Expiry, HeartbeatMode, OnDuplicateInsert, RulesConfig,
    TokenAuth,
};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Gives the server's options.
pub(crate) fn of(config: &Config) -> Options {
    let (auth, tokens) = match &config.auth {
        AuthConfig::Token(token) => (AuthMode::Token(token_mode(token)), Some(static_tokens(token))),
        AuthConfig::None | AuthConfig::BuiltIn(_) => (AuthMode::None, None),
    };
    let proxies = config.trusted_proxies.clone();
    Options {
        name: config.name.clone(),
        host: config.host.clone(),
        port: config.port,
        threads: 0,
        handshake: HandshakeConfig {
            path: config.path.clone(),
            allowed_origins: config.allowed_origins.clone(),
            trusted_proxies: (!proxies.is_empty())
                .then(|| Arc::new(move |ip| proxies.iter().any(|net| net.contains(ip))) as _),
        },
        payload_bytes_max: config.max_payload_bytes,
        connection: connection(config, auth),
        rate_limit: config.rate_limit.map(|limit| RateLimit {
            requests_max: u64::from(limit.max_requests),
            window_ms: limit.window_ms,
        }),
        rate_limit_keys_max: config.limits.max_rate_limit_keys,
        subscriptions_max: size(config.connection_limits.max_total_subscriptions),
        connections_max: config.limits.max_connections,
        connections_per_address_max: config.max_connections_per_ip.map(|max| size(u64::from(max))),
        authenticator: tokens.map(|tokens| Arc::new(tokens) as _),
        identity: match &config.auth {
            AuthConfig::BuiltIn(auth) => Some(IdentityOptions::new(accounts_settings(auth))),
            AuthConfig::None | AuthConfig::Token(_) => None,
        },
        revocation_ttl: Duration::from_millis(config.revocation.unwrap_or_default().blacklist_ttl_ms),
        audit: config.audit.as_ref().map(audit),
        store: store(config),
        rules: rules(config),
        procedures: procedures(config),
        buckets: config.buckets.clone(),
        queries: config.queries.clone(),
        compat_error_codes: config.compat_error_codes,
        grace: Duration::from_millis(config.shutdown.grace_period_ms),
        ..Options::default()
    }
}

fn connection(config: &Config, auth: AuthMode) -> core::Config {
    let flow = &config.backpressure;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "the mark lies between 0 and 1"
    )]
    let push_threshold_bytes = (flow.max_buffered_bytes as f64 * flow.high_water_mark) as usize;
    core::Config {
        auth,
        rules: false,
        expose_error_details: config.expose_error_details,
        json_depth_max: config.limits.max_json_depth,
        requests_in_flight_max: config.limits.max_queued_requests,
        transaction_operations_max: config.limits.max_transaction_operations,
        name_length_max: config.limits.max_name_length,
        subscriptions_max: size(config.connection_limits.max_subscriptions_per_connection),
        heartbeat: core::HeartbeatConfig {
            interval: Duration::from_millis(config.heartbeat.interval_ms),
            timeout: Duration::from_millis(config.heartbeat.timeout_ms),
            mode: match config.heartbeat.mode {
                HeartbeatMode::Deadline => core::HeartbeatMode::Deadline,
                HeartbeatMode::Tick => core::HeartbeatMode::Tick,
            },
        },
        backpressure: core::Backpressure {
            buffered_bytes_max: flow.max_buffered_bytes,
            push_threshold_bytes,
            stall_timeout: Duration::from_millis(flow.stall_timeout_ms),
            events_max: flow.event_queue_max,
            reject_requests: flow.reject_requests,
        },
        auth_timeout: (config.limits.auth_timeout_ms != 0)
            .then(|| Duration::from_millis(config.limits.auth_timeout_ms)),
        close_timeout: Duration::from_millis(config.shutdown.close_timeout_ms),
        ..core::Config::default()
    }
}

/// What a config file demands of built-in accounts.
pub(crate) fn accounts_settings(auth: &BuiltInAuth) -> Settings {
    let attempts = auth.login_rate_limit;
    Settings {
        session_ttl_ms: auth.session_ttl_ms,
        password_min_length: size(u64::from(auth.password_min_length)),
        max_sessions_per_user: size(auth.max_sessions_per_user),
        max_login_attempts: u32::try_from(attempts.max_attempts).unwrap_or(u32::MAX),
        login_window_ms: attempts.window_ms,
        ..Settings::new(auth.admin_secret.expose())
    }
}

fn audit(audit: &AuditConfig) -> AuditOptions {
    let tier = |tier: &noex_config::Tier| match tier {
        noex_config::Tier::Admin => core::Tier::Admin,
        noex_config::Tier::Write => core::Tier::Write,
        noex_config::Tier::Read => core::Tier::Read,
    };
    AuditOptions {
        tiers: audit.tiers.iter().map(tier).collect(),
        entries_max: audit.max_entries,
        file: audit.file.as_ref().map(PathBuf::from),
    }
}

fn store(config: &Config) -> StoreOptions {
    StoreOptions {
        name: config.store_name.clone(),
        ttl_check_interval_ms: config.ttl_check_interval_ms,
        on_duplicate_insert: match config.store.on_duplicate_insert {
            OnDuplicateInsert::Reject => DuplicateInsert::Reject,
            OnDuplicateInsert::Replace => DuplicateInsert::Replace,
        },
        strict_filters: config.store.strict_filters,
        allow_operator_params: config.store.allow_operator_params,
        buckets_max: config.limits.max_buckets,
        queries_max: config.limits.max_queries,
        view_bytes_max: config.store.max_view_bytes,
        // All three kinds of persistence count as enabled, as clients of older servers expect.
        persistence_enabled: true,
        ..StoreOptions::default()
    }
}

fn rules(config: &Config) -> Option<RulesOptions> {
    let engine = EngineOptions {
        rules_max: unlimited_if_zero(config.limits.max_rules),
        facts_max: Some(config.limits.max_facts).filter(|max| *max != 0),
        ..EngineOptions::default()
    };
    match &config.rules {
        RulesConfig::Off => None,
        RulesConfig::Default | RulesConfig::On => Some(RulesOptions { engine, ..RulesOptions::default() }),
        RulesConfig::Definitions { rules, facts, store_events, persistent } => Some(RulesOptions {
            engine,
            facts: facts.clone(),
            rules: rules.clone(),
            store_events: *store_events,
            persistent: *persistent,
        }),
    }
}

/// Procedures are on unless they are switched off.
fn procedures(config: &Config) -> Option<ProceduresOptions> {
    let wanted = config.procedures.clone().unwrap_or_default();
    wanted.enabled.then(|| ProceduresOptions {
        limits: ProcedureLimits {
            procedures_max: config.limits.max_procedures,
            steps_max: size(wanted.max_steps),
            condition_depth_max: size(u64::from(wanted.max_condition_depth)),
            default_timeout_ms: wanted.default_timeout_ms,
            system_buckets_reserved: matches!(config.auth, AuthConfig::BuiltIn(_)),
            ..ProcedureLimits::default()
        },
        definitions: wanted.definitions,
    })
}

fn unlimited_if_zero(limit: usize) -> usize {
    if limit == 0 { usize::MAX } else { limit }
}

fn token_mode(auth: &TokenAuth) -> TokenMode {
    TokenMode {
        required: auth.required,
        anonymous_roles: auth.anonymous_roles.clone(),
        strict_tiers: auth.strict_tiers,
        permissions: auth.permissions.as_ref().map(|permissions| Permissions {
            default_allow: permissions.default_allow,
            rules: permissions
                .rules
                .iter()
                .map(|rule| PermissionRule {
                    role: rule.role.clone(),
                    allow: rule.allow.clone(),
                    buckets: rule.buckets.clone(),
                    topics: rule.topics.clone(),
                })
                .collect(),
        }),
    }
}

fn static_tokens(auth: &TokenAuth) -> StaticTokens {
    auth.tokens.iter().fold(StaticTokens::new(), |table, entry| {
        let session = Session {
            user_id: entry.user_id.clone(),
            roles: entry.roles.clone(),
            metadata: entry.metadata.clone(),
            expires_at_ms: None,
            stored: None,
        };
        let expiry = match entry.expiry {
            None => TokenExpiry::Never,
            Some(Expiry::AtMs(at)) => TokenExpiry::AtMs(at),
            Some(Expiry::InMs(span)) => TokenExpiry::InMs(span),
        };
        table.with_hashed_token(entry.token_sha256, session, expiry)
    })
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
