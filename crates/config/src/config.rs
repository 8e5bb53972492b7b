//! The validated configuration.
//!
//! `Default` of each structure is the documented default. Values from [`load`](crate::load) are inside the documented
//! ranges; the fields are public, so that tests and embedders may build any.
//! Units last in names: `_ms` milliseconds, `_bytes` bytes. Where noted, 0 means off or unlimited.
//! Source: the configuration description, "Config file".

use crate::auth::AuthConfig;
use crate::cidr::IpNet;

/// Everything the server can be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// TCP port; 0 = any free port.
    pub port: u16,
    /// Address or name to listen on.
    pub host: String,
    /// Name shown in `server.stats`.
    pub name: String,
    /// Path of the WebSocket endpoint; begins with `/`, holds no `?` or `#`.
    pub path: String,
    /// Longest message a client may send.
    pub max_payload_bytes: usize,
    /// Where data is kept.
    pub persistence: Persistence,
    /// Name in `store.stats` and prefix of persisted keys.
    pub store_name: String,
    /// Switches of the store.
    pub store: StoreSwitches,
    /// Flush period for [`Durability::Interval`].
    pub persistence_debounce_ms: u64,
    /// Period of the sweep for expired records; 0 = off.
    pub ttl_check_interval_ms: u64,
    /// Buckets to define at start, in file order: name and definition, a JSON object as text with its members in
    /// order. Only its being an object has been checked.
    pub buckets: Vec<(String, String)>,
    /// Queries to define at start, as `buckets`.
    pub queries: Vec<(String, String)>,
    /// Rule engine.
    pub rules: RulesConfig,
    /// Authentication.
    pub auth: AuthConfig,
    /// Requests per client; `None` = off.
    pub rate_limit: Option<RateLimit>,
    /// Detection of silent clients.
    pub heartbeat: Heartbeat,
    /// Bounds for clients that read slowly.
    pub backpressure: Backpressure,
    /// Bounds on subscriptions.
    pub connection_limits: ConnectionLimits,
    /// Audit log; `None` = off.
    pub audit: Option<AuditConfig>,
    /// Session revocation; `None` = key absent.
    pub revocation: Option<Revocation>,
    /// Stored procedures; `None` = key absent.
    pub procedures: Option<ProceduresConfig>,
    /// Whether error answers carry `details`.
    pub expose_error_details: bool,
    /// Accepted `Origin` headers; `None` = any, empty = only clients that send none.
    pub allowed_origins: Option<Vec<String>>,
    /// Open connections per remote address; `None` = unlimited.
    pub max_connections_per_ip: Option<u32>,
    /// Peers whose `X-Forwarded-For` and `X-Real-IP` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Further bounds.
    pub limits: Limits,
    /// Orderly stop.
    pub shutdown: Shutdown,
    /// Whether error codes are those of the earlier server.
    pub compat_error_codes: bool,
    /// Log output.
    pub log: Log,
    /// Whether to print `READY <port>` on stdout once connections are accepted.
    pub ready_line: bool,
    /// Whether to validate everything, print `OK` and stop without listening.
    pub check: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 8080,
            host: "0.0.0.0".to_owned(),
            name: "noex-server".to_owned(),
            path: "/".to_owned(),
            max_payload_bytes: 1_048_576,
            persistence: Persistence::Memory,
            store_name: "store-1".to_owned(),
            store: StoreSwitches::default(),
            persistence_debounce_ms: 100,
            ttl_check_interval_ms: 1000,
            buckets: Vec::new(),
            queries: Vec::new(),
            rules: RulesConfig::Default,
            auth: AuthConfig::None,
            rate_limit: None,
            heartbeat: Heartbeat::default(),
            backpressure: Backpressure::default(),
            connection_limits: ConnectionLimits::default(),
            audit: None,
            revocation: None,
            procedures: None,
            expose_error_details: true,
            allowed_origins: None,
            max_connections_per_ip: None,
            trusted_proxies: Vec::new(),
            limits: Limits::default(),
            shutdown: Shutdown::default(),
            compat_error_codes: false,
            log: Log::default(),
            ready_line: false,
            check: false,
        }
    }
}

/// Where data is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Persistence {
    /// In memory only.
    Memory,
    /// In files of a folder.
    File {
        /// Path of the folder (`./data`).
        dir: String,
    },
    /// In a SQLite database.
    Sqlite {
        /// Path of the database (`./noex.db`).
        path: String,
    },
}

/// Switches of the store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StoreSwitches {
    /// When a commit counts as done; without meaning for [`Persistence::Memory`].
    pub durability: Durability,
    /// Whether persisted buckets are defined again at start.
    pub auto_define: bool,
    /// Whether unknown operators in filters are errors.
    pub strict_filters: bool,
    /// Whether subscription parameters may hold filter operators.
    pub allow_operator_params: bool,
    /// What `insert` does with an existing key.
    pub on_duplicate_insert: OnDuplicateInsert,
    /// Bytes (estimated) that live results may keep to follow changes; those beyond are read anew at each change.
    pub max_view_bytes: usize,
}

impl Default for StoreSwitches {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            auto_define: false,
            strict_filters: false,
            allow_operator_params: false,
            on_duplicate_insert: OnDuplicateInsert::default(),
            max_view_bytes: 256 << 20,
        }
    }
}

/// When a commit is answered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Durability {
    /// After it has reached the disk.
    #[default]
    Sync,
    /// At once; flushed every `persistence_debounce_ms`.
    Interval,
    /// At once; the operating system decides when to write.
    None,
}

/// What `insert` does with an existing key.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnDuplicateInsert {
    /// Refuses the new record.
    #[default]
    Reject,
    /// Replaces the old record.
    Replace,
}

/// Rule engine. The variants keep apart what was said and what was left out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum RulesConfig {
    /// Key absent: on.
    #[default]
    Default,
    /// `false` or `--no-rules`.
    Off,
    /// `true`.
    On,
    /// On, with content to load at start.
    Definitions {
        /// Rule definitions as JSON text in order; not yet checked.
        rules: Vec<String>,
        /// Fact keys and values (JSON text), to be set before any rule is registered.
        facts: Vec<(String, String)>,
        /// Whether changes of the store enter the engine as events `bucket.<name>.inserted` and so on.
        store_events: bool,
        /// Whether rules that clients register, and timers, are kept where data is.
        persistent: bool,
    },
}

/// Requests per client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RateLimit {
    /// Requests per window, at least 1.
    pub max_requests: u32,
    /// Window in milliseconds, at least 1.
    pub window_ms: u64,
}

/// Detection of silent clients.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Heartbeat {
    /// Time between pings (30 000).
    pub interval_ms: u64,
    /// Time to answer (10 000).
    pub timeout_ms: u64,
    /// When a missing answer is noticed.
    pub mode: HeartbeatMode,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { interval_ms: 30_000, timeout_ms: 10_000, mode: HeartbeatMode::Deadline }
    }
}

/// When a missing heartbeat answer is noticed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HeartbeatMode {
    /// When the time to answer has passed.
    #[default]
    Deadline,
    /// At the next ping after that, as in the earlier server.
    Tick,
}

/// Bounds for clients that read slowly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backpressure {
    /// Unsent bytes per connection (1 048 576).
    pub max_buffered_bytes: usize,
    /// Part of `max_buffered_bytes` from which pushes are held back, above 0, at most 1 (0.8).
    pub high_water_mark: f64,
    /// Time without progress after which the connection is closed (30 000).
    pub stall_timeout_ms: u64,
    /// Events kept per subscription while pushes are held back (1000).
    pub event_queue_max: usize,
    /// Whether requests are refused, instead of left unread, while the buffer is full (false).
    pub reject_requests: bool,
}

impl Default for Backpressure {
    fn default() -> Self {
        Self {
            max_buffered_bytes: 1_048_576,
            high_water_mark: 0.8,
            stall_timeout_ms: 30_000,
            event_queue_max: 1000,
            reject_requests: false,
        }
    }
}

/// Bounds on subscriptions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ConnectionLimits {
    /// Per connection (100).
    pub max_subscriptions_per_connection: u64,
    /// In the whole server (10 000).
    pub max_total_subscriptions: u64,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { max_subscriptions_per_connection: 100, max_total_subscriptions: 10_000 }
    }
}

/// Audit log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditConfig {
    /// Tiers of operations that are recorded, at least one (admin).
    pub tiers: Vec<Tier>,
    /// Entries kept for `audit.query` (10 000).
    pub max_entries: usize,
    /// File to which entries are appended, one JSON line each.
    pub file: Option<String>,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { tiers: vec![Tier::Admin], max_entries: 10_000, file: None }
    }
}

/// Tier of an operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tier {
    /// Administration.
    Admin,
    /// Changes of data.
    Write,
    /// Everything that only reads.
    Read,
}

/// Session revocation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Revocation {
    /// How long a revoked user stays locked out (3 600 000).
    pub blacklist_ttl_ms: u64,
}

impl Default for Revocation {
    fn default() -> Self {
        Self { blacklist_ttl_ms: 3_600_000 }
    }
}

/// Stored procedures.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProceduresConfig {
    /// Whether the engine is on (true).
    pub enabled: bool,
    /// Steps per procedure, branches included (100).
    pub max_steps: u64,
    /// Nesting of conditions (5).
    pub max_condition_depth: u32,
    /// Time limit of procedures that name none (30 000).
    pub default_timeout_ms: u64,
    /// Definitions to load at start, JSON objects as text; not yet checked further.
    pub definitions: Vec<String>,
}

impl Default for ProceduresConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            max_steps: 100,
            max_condition_depth: 5,
            default_timeout_ms: 30_000,
            definitions: Vec::new(),
        }
    }
}

/// Further bounds. 0 = unlimited (for `auth_timeout_ms`: off), except for depth and queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Open connections (0).
    pub max_connections: usize,
    /// Time until login where it is required (0).
    pub auth_timeout_ms: u64,
    /// Nesting of a message, 16 to 1024 (128).
    pub max_json_depth: usize,
    /// Requests waiting per connection, 1 to 65 536 (256).
    pub max_queued_requests: usize,
    /// Operations of one transaction (10 000).
    pub max_transaction_operations: usize,
    /// Characters of a name (1024).
    pub max_name_length: usize,
    /// Buckets (10 000).
    pub max_buckets: usize,
    /// Queries (10 000).
    pub max_queries: usize,
    /// Procedures (10 000).
    pub max_procedures: usize,
    /// Rules (100 000).
    pub max_rules: usize,
    /// Facts (1 000 000).
    pub max_facts: usize,
    /// Clients whose request rate is remembered (100 000).
    pub max_rate_limit_keys: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 0,
            auth_timeout_ms: 0,
            max_json_depth: 128,
            max_queued_requests: 256,
            max_transaction_operations: 10_000,
            max_name_length: 1024,
            max_buckets: 10_000,
            max_queries: 10_000,
            max_procedures: 10_000,
            max_rules: 100_000,
            max_facts: 1_000_000,
            max_rate_limit_keys: 100_000,
        }
    }
}

/// Orderly stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shutdown {
    /// Time clients get to leave after the notice; 0 = no notice (0).
    pub grace_period_ms: u64,
    /// Time for the close handshakes (2000).
    pub close_timeout_ms: u64,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { grace_period_ms: 0, close_timeout_ms: 2000 }
    }
}

/// Log output.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Log {
    /// Least important level that is written.
    pub level: LogLevel,
    /// Form of a line.
    pub format: LogFormat,
}

/// Importance of a log line.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogLevel {
    /// Failures.
    Error,
    /// Failures and dubious states.
    Warn,
    /// Also what an operator wants to know.
    #[default]
    Info,
    /// Also what a developer wants to know.
    Debug,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}
