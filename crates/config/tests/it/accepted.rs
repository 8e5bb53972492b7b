//! Documents that load, and the values they give.

use noex_config::{
    AuditConfig, Backpressure, Config, ConnectionLimits, Durability, Heartbeat, HeartbeatMode, Limits, Log,
    LogFormat, LogLevel, OnDuplicateInsert, Persistence, ProceduresConfig, RateLimit, Revocation,
    RulesConfig, Shutdown, StoreSwitches, Tier,
};

use crate::{config, loaded};

#[test]
fn empty_document_gives_the_defaults() {
    let loaded = loaded("{}");
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.warnings.is_empty());
}

#[test]
fn every_scalar_is_taken_over() {
    let config = config(
        r#"{"port": 65535, "host": "::1", "name": "n", "path": "/a/b", "maxPayloadBytes": 64,
        "persistence": "sqlite", "dataDir": "d", "db": "x.db", "storeName": "s",
        "store": {"durability": "none", "autoDefine": true, "strictFilters": true, "allowOperatorParams": true,
            "onDuplicateInsert": "replace", "maxViewBytes": 0},
        "persistenceDebounceMs": 0, "ttlCheckIntervalMs": 3600000,
        "rateLimit": {"maxRequests": 1000000, "windowMs": 86400000},
        "heartbeat": {"intervalMs": 10, "timeoutMs": 1, "mode": "tick"},
        "backpressure": {"maxBufferedBytes": 1, "highWaterMark": 1, "stallTimeoutMs": 100, "eventQueueMax": 0,
            "rejectRequests": true},
        "connectionLimits": {"maxSubscriptionsPerConnection": 0, "maxTotalSubscriptions": 1},
        "exposeErrorDetails": false, "maxConnectionsPerIp": 1, "compatErrorCodes": true,
        "shutdown": {"gracePeriodMs": 3600000, "closeTimeoutMs": 0}, "log": {"level": "debug", "format": "json"}}"#,
    );
    let expected = Config {
        port: 65535,
        host: "::1".to_owned(),
        name: "n".to_owned(),
        path: "/a/b".to_owned(),
        max_payload_bytes: 64,
        persistence: Persistence::Sqlite { path: "x.db".to_owned() },
        store_name: "s".to_owned(),
        store: StoreSwitches {
            durability: Durability::None,
            auto_define: true,
            strict_filters: true,
            allow_operator_params: true,
            on_duplicate_insert: OnDuplicateInsert::Replace,
            max_view_bytes: 0,
        },
        persistence_debounce_ms: 0,
        ttl_check_interval_ms: 3_600_000,
        rate_limit: Some(RateLimit { max_requests: 1_000_000, window_ms: 86_400_000 }),
        heartbeat: Heartbeat { interval_ms: 10, timeout_ms: 1, mode: HeartbeatMode::Tick },
        backpressure: Backpressure {
            max_buffered_bytes: 1,
            high_water_mark: 1.0,
            stall_timeout_ms: 100,
            event_queue_max: 0,
            reject_requests: true,
        },
        connection_limits: ConnectionLimits {
            max_subscriptions_per_connection: 0,
            max_total_subscriptions: 1,
        },
        expose_error_details: false,
        max_connections_per_ip: Some(1),
        compat_error_codes: true,
        shutdown: Shutdown { grace_period_ms: 3_600_000, close_timeout_ms: 0 },
        log: Log { level: LogLevel::Debug, format: LogFormat::Json },
        ..Config::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn limits_are_taken_over() {
    let limits = config(
        r#"{"limits": {"maxConnections": 1, "authTimeoutMs": 2, "maxJsonDepth": 16, "maxQueuedRequests": 4,
        "maxTransactionOperations": 5, "maxNameLength": 6, "maxBuckets": 7, "maxQueries": 8, "maxProcedures": 9,
        "maxRules": 10, "maxFacts": 11, "maxRateLimitKeys": 0}}"#,
    )
    .limits;
    let expected = Limits {
        max_connections: 1,
        auth_timeout_ms: 2,
        max_json_depth: 16,
        max_queued_requests: 4,
        max_transaction_operations: 5,
        max_name_length: 6,
        max_buckets: 7,
        max_queries: 8,
        max_procedures: 9,
        max_rules: 10,
        max_facts: 11,
        max_rate_limit_keys: 0,
    };
    assert_eq!(limits, expected);
    assert_eq!(config(r#"{"limits": {"maxFacts": 1}}"#).limits, Limits { max_facts: 1, ..Limits::default() });
}

#[test]
fn partial_objects_keep_the_other_defaults() {
    let heartbeat = config(r#"{"heartbeat": {"intervalMs": 4000}}"#).heartbeat;
    assert_eq!(heartbeat, Heartbeat { interval_ms: 4000, ..Heartbeat::default() });
    let backpressure = config(r#"{"backpressure": {"highWaterMark": 0.5}}"#).backpressure;
    assert_eq!(backpressure, Backpressure { high_water_mark: 0.5, ..Backpressure::default() });
}

#[test]
fn null_means_off_where_the_description_says_so() {
    let text = r#"{"rateLimit": null, "allowedOrigins": null, "maxConnectionsPerIp": null}"#;
    assert_eq!(config(text), Config::default());
}

#[test]
fn whole_numbers_may_be_written_as_fractions() {
    assert_eq!(config(r#"{"port": 9.0e3}"#).port, 9000);
    assert_eq!(config(r#"{"port": -0.0}"#).port, 0);
    assert_eq!(config(r#"{"maxConnectionsPerIp": 9007199254740991}"#).max_connections_per_ip, Some(u32::MAX));
}

#[test]
fn origins_and_proxies() {
    let text = r#"{"allowedOrigins": ["https://app.example", "http://localhost:3000", "http://[::1]:80",
        "http://[::1]", "chrome-extension://abcdef"], "trustedProxies": ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]}"#;
    let config = config(text);
    assert_eq!(config.allowed_origins.unwrap().len(), 5);
    let trusted =
        |address: &str| config.trusted_proxies.iter().any(|net| net.contains(address.parse().unwrap()));
    assert!(trusted("::ffff:10.9.9.9") && trusted("fd00::1") && !trusted("127.0.0.2"));
    assert_eq!(crate::config(r#"{"allowedOrigins": []}"#).allowed_origins, Some(Vec::new()));
}

#[test]
fn definitions_keep_their_order_and_numbers() {
    let config = config(
        r#"{"buckets": {"b": {"schema": {"z": {"default": 0.1234567890123456789}, "a": {}}, "key": "z"}, "a": {}},
        "queries": {"q": {"bucket": "b", "limit": 1e2}},
        "rules": {"facts": {"y": [1, {"b": 1, "a": 2}], "x": null}, "rules": [{"id": "r"}, 5]},
        "procedures": {"definitions": [{"name": "p"}], "maxSteps": 4}}"#,
    );
    let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let b = r#"{"schema":{"z":{"default":0.12345678901234568},"a":{}},"key":"z"}"#;
    assert_eq!(config.buckets, [pair("b", b), pair("a", "{}")]);
    assert_eq!(config.queries, [pair("q", r#"{"bucket":"b","limit":100.0}"#)]);
    let facts = vec![pair("y", r#"[1,{"b":1,"a":2}]"#), pair("x", "null")];
    let rules = vec![r#"{"id":"r"}"#.to_owned(), "5".to_owned()];
    assert_eq!(
        config.rules,
        RulesConfig::Definitions { rules, facts, store_events: false, persistent: false }
    );
    let definitions = vec![r#"{"name":"p"}"#.to_owned()];
    assert_eq!(
        config.procedures,
        Some(ProceduresConfig { definitions, max_steps: 4, ..ProceduresConfig::default() })
    );
}

#[test]
fn last_of_duplicate_keys_counts() {
    assert_eq!(config(r#"{"port": "x", "port": 1}"#).port, 1);
}

#[test]
fn audit_rules_revocation() {
    assert_eq!(config(r#"{"audit": true}"#).audit, Some(AuditConfig::default()));
    assert_eq!(config(r#"{"audit": {}}"#).audit, Some(AuditConfig::default()));
    assert_eq!(config(r#"{"audit": false}"#).audit, None);
    let full = r#"{"audit": {"tiers": ["write", "admin", "write"], "maxEntries": 1, "file": "./a.jsonl"}}"#;
    let expected = AuditConfig {
        tiers: vec![Tier::Write, Tier::Admin],
        max_entries: 1,
        file: Some("./a.jsonl".to_owned()),
    };
    assert_eq!(config(full).audit, Some(expected));
    assert_eq!(config(r#"{"rules": true}"#).rules, RulesConfig::On);
    assert_eq!(config(r#"{"rules": false}"#).rules, RulesConfig::Off);
    let revocation = |text: &str| config(text).revocation.map(|revocation| revocation.blacklist_ttl_ms);
    assert_eq!(revocation(r#"{"auth": {"tokens": {}}, "revocation": {}}"#), Some(3_600_000));
    assert_eq!(revocation(r#"{"auth": {"tokens": {}}, "revocation": {"blacklistTtlMs": 2500}}"#), Some(2500));
    assert_eq!(Revocation::default(), Revocation { blacklist_ttl_ms: 3_600_000 });
    assert_eq!(config(r#"{"procedures": {}}"#).procedures, Some(ProceduresConfig::default()));
}

/// The forms of server objects that conformance scenarios use.
const SERVERS: &[&str] = &[
    "{}",
    r#"{"allowedOrigins": ["https://app.example", "http://localhost:3000"]}"#,
    r#"{"auth": {"tokens": {"ed": {"userId": "e", "roles": ["editor"]}, "no": {"userId": "n", "roles": ["other"]}},
        "permissions": {"default": "deny", "rules": [{"role": "editor", "allow": ["store.*"], "buckets": ["posts", "q"]},
        {"role": "emitter", "allow": ["rules.emit", "rules.getFact"], "topics": ["order.*", "note"]},
        {"role": "viewer", "allow": "store.get"}, {"role": "boss", "allow": "*", "buckets": ["posts"]}]}},
        "buckets": {"posts": {"key": "id", "schema": {"id": {"type": "string", "required": true}}}},
        "queries": {"q": {"bucket": "posts"}}}"#,
    r#"{"auth": {"tokens": {"rd": {"userId": "a", "roles": ["reader"]}}, "required": false,
        "anonymousRoles": ["reader"]}}"#,
    r#"{"auth": {"tokens": {"rd": {"userId": "a", "roles": ["reader"]}}, "strictTiers": true}}"#,
    r#"{"auth": {"tokens": {"s": {"userId": "su", "roles": ["writer"], "expiresInMs": 3000}}, "required": false}}"#,
    r#"{"auth": {"tokens": {"sha256:41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb":
        {"userId": "h", "roles": ["reader"]}}}}"#,
    r#"{"auth": {"tokens": {"w": {"userId": "wu", "roles": ["writer"], "metadata": {"secret": 1}},
        "old": {"userId": "ou", "roles": ["admin"], "expiresAt": 1000},
        "far": {"userId": "fu", "roles": [], "expiresAt": 4102444800000}}}, "rules": false}"#,
    r#"{"backpressure": {"maxBufferedBytes": 65536, "highWaterMark": 0.5, "stallTimeoutMs": 1000}}"#,
    r#"{"shutdown": {"gracePeriodMs": 1500}}"#,
    r#"{"connectionLimits": {"maxSubscriptionsPerConnection": 1, "maxTotalSubscriptions": 100}}"#,
    r#"{"exposeErrorDetails": false, "rateLimit": {"maxRequests": 1, "windowMs": 60000}}"#,
    r#"{"heartbeat": {"intervalMs": 1000, "timeoutMs": 1000}}"#,
    r#"{"heartbeat": {"intervalMs": 1500, "timeoutMs": 100, "mode": "tick"}}"#,
    r#"{"limits": {"authTimeoutMs": 1500}, "auth": {"tokens": {"t": {"userId": "u", "roles": ["reader"]}}}}"#,
    r#"{"limits": {"maxConnections": 2}}"#,
    r#"{"limits": {"maxTransactionOperations": 2, "maxNameLength": 6, "maxBuckets": 2, "maxQueries": 1}}"#,
    r#"{"maxConnectionsPerIp": 2}"#,
    r#"{"maxPayloadBytes": 200}"#,
    r#"{"name": "conf", "rules": false, "queries": {"n": {"bucket": "t", "aggregate": {"function": "count"}}}}"#,
    r#"{"path": "/ws"}"#,
    r#"{"trustedProxies": ["127.0.0.1", "10.0.0.0/8"], "maxConnectionsPerIp": 1}"#,
    r#"{"compatErrorCodes": true, "ttlCheckIntervalMs": 0, "store": {"onDuplicateInsert": "replace"}}"#,
];

#[test]
fn scenario_servers_load_without_warnings() {
    for text in SERVERS {
        let loaded = loaded(text);
        assert!(loaded.warnings.is_empty(), "{text}: {:?}", loaded.warnings);
    }
}

#[test]
fn example_of_the_description_loads() {
    let text = r#"{
      "port": 8080, "path": "/ws", "persistence": "file", "dataDir": "./data",
      "rateLimit": {"maxRequests": 200, "windowMs": 60000},
      "heartbeat": {"intervalMs": 30000, "timeoutMs": 10000},
      "auth": {
        "tokens": {
          "t-admin": {"userId": "root", "roles": ["admin"]},
          "t-alice": {"userId": "alice", "roles": ["editor"], "expiresInMs": 3600000}
        },
        "permissions": {"default": "deny", "rules": [
          {"role": "admin", "allow": "*"},
          {"role": "editor", "allow": ["store.*"], "buckets": ["posts", "all-posts"]}
        ]}
      },
      "buckets": {"posts": {"key": "id", "schema": {
        "id": {"type": "string", "generated": "uuid"},
        "title": {"type": "string", "required": true, "maxLength": 200}}, "indexes": ["title"]}},
      "queries": {"all-posts": {"bucket": "posts", "sort": {"_createdAt": "desc"}, "limit": 100}},
      "rules": {"facts": {"system:mode": "live"}, "rules": []},
      "audit": {"tiers": ["admin", "write"], "file": "./audit.jsonl"}
    }"#;
    assert!(loaded(text).warnings.is_empty());
    let built_in = r#"{"auth": {"builtIn": true, "adminSecret": "change-me-please-16+"}, "audit": true}"#;
    assert!(loaded(built_in).warnings.is_empty());
}
