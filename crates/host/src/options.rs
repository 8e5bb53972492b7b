//! What a server is started with.

use crate::{
    AuditOptions, Authenticator, HandshakeConfig, IdentityOptions, PermissionCheck, Persistence,
    ProceduresOptions, RulesOptions,
};
use noex_core::{Config, RateLimit};
use noex_store::StoreOptions;
use std::{fmt, sync::Arc, time::Duration};

/// Settings of a server; `Default` gives the documented defaults. JSON definitions are texts, so that the order of
/// their members is kept.
#[derive(Clone)]
pub struct Options {
    /// Name shown in `server.stats`.
    pub name: String,
    /// Address to listen on.
    pub host: String,
    /// Port to listen on; 0 = any free one.
    pub port: u16,
    /// Threads that serve connections; 0 = one per core.
    pub threads: usize,
    /// HTTP checks before a connection.
    pub handshake: HandshakeConfig,
    /// Greatest size of a received message in bytes.
    pub payload_bytes_max: usize,
    /// Settings of each connection.
    pub connection: Config,
    /// Requests per user or address; `None` = unlimited.
    pub rate_limit: Option<RateLimit>,
    /// Users and addresses that the rate limiter remembers; 0 = unlimited.
    pub rate_limit_keys_max: usize,
    /// Subscriptions of all connections.
    pub subscriptions_max: usize,
    /// Open connections; 0 = unlimited.
    pub connections_max: usize,
    /// Open connections of one address; `None` = unlimited.
    pub connections_per_address_max: Option<usize>,
    /// Finds the session of a token; needed if `connection.auth` asks for tokens.
    pub authenticator: Option<Arc<dyn Authenticator>>,
    /// Time that the authenticator may take; then the login is answered with an internal error.
    pub authenticator_timeout: Duration,
    /// How long a revoked user cannot log in.
    pub revocation_ttl: Duration,
    /// Built-in identity, which then decides who may do what; `None` = as `connection.auth` says.
    pub identity: Option<IdentityOptions>,
    /// Audit log; `None` = there is none.
    pub audit: Option<AuditOptions>,
    /// Decides requests in place of the declarative rules.
    pub permission_check: Option<Arc<dyn PermissionCheck>>,
    /// Settings of the embedded store.
    pub store: StoreOptions,
    /// Where data is kept; `None` = only in memory.
    pub persistence: Option<Persistence>,
    /// Rule engine; `None` = `rules.*` is not available.
    pub rules: Option<RulesOptions>,
    /// Procedures; `None` = `procedures.*` is not available.
    pub procedures: Option<ProceduresOptions>,
    /// Buckets to define, by name, in order; definitions are JSON objects.
    pub buckets: Vec<(String, String)>,
    /// Queries to define, by name, in order.
    pub queries: Vec<(String, String)>,
    /// Whether errors carry the codes of older servers.
    pub compat_error_codes: bool,
    /// How long a stop waits for clients to leave, unless it is told otherwise.
    pub grace: Duration,
    /// Makes generated ids and the order in hash tables repeat from run to run, for simulations; anybody who knows
    /// the seed can predict them. `None` = random numbers of the operating system.
    pub random_seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "noex-server".into(),
            host: "0.0.0.0".into(),
            port: 8080,
            threads: 0,
            handshake: HandshakeConfig::default(),
            payload_bytes_max: 1_048_576,
            connection: Config::default(),
            rate_limit: None,
            rate_limit_keys_max: 100_000,
            subscriptions_max: 10_000,
            connections_max: 0,
            connections_per_address_max: None,
            authenticator: None,
            authenticator_timeout: Duration::from_secs(30),
            revocation_ttl: Duration::from_secs(3600),
            identity: None,
            audit: None,
            permission_check: None,
            store: StoreOptions::default(),
            persistence: None,
            rules: None,
            procedures: Some(ProceduresOptions::default()),
            buckets: Vec::new(),
            queries: Vec::new(),
            compat_error_codes: false,
            grace: Duration::ZERO,
            random_seed: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("name", &self.name)
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// Why a server does not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// Definitions are wrong; one text per problem.
    Definitions(Vec<String>),
    /// The audit file cannot be opened.
    AuditFile(std::io::Error),
    /// The stored accounts of the built-in identity are damaged.
    Identity(String),
    /// What was kept cannot be read.
    Storage(String),
    /// The operating system gives no random numbers.
    Randomness(String),
    /// The address cannot be listened on.
    Listen(std::io::Error),
    /// A thread cannot be started.
    Thread(std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Definitions(problems) => f.write_str(&problems.join("; ")),
            Self::AuditFile(error) => write!(f, "cannot open the audit file: {error}"),
            Self::Identity(text) => write!(f, "the stored accounts cannot be loaded: {text}"),
            Self::Storage(text) => write!(f, "cannot read stored data: {text}"),
            Self::Randomness(text) => write!(f, "no random numbers: {text}"),
            Self::Listen(error) => write!(f, "cannot listen: {error}"),
            Self::Thread(error) => write!(f, "cannot start a thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl Options {
    /// Says which definitions nobody could ask for, because of how they are called.
    pub(crate) fn unreachable_names(&self) -> Vec<String> {
        let max = self.connection.name_length_max;
        let member = |text: &String, name: &str| {
            let definition = noex_json::parse(text, 128).ok()?;
            definition.as_object()?.get(name)?.as_str().map(str::to_owned)
        };
        let keyed = |kind: &'static str, entries: &[(String, String)]| -> Vec<_> {
            entries.iter().map(|(name, _)| (format!("{kind}.{name}"), Some(name.clone()))).collect()
        };
        let listed = |kind: &'static str, texts: &[String], name: &str| -> Vec<_> {
            texts.iter().enumerate().map(|(at, text)| (format!("{kind}[{at}]"), member(text, name))).collect()
        };
        let (rules, procedures) = (self.rules.as_ref(), self.procedures.as_ref());
        let places = [
            keyed("buckets", &self.buckets),
            keyed("queries", &self.queries),
            rules.map(|rules| keyed("rules.facts", &rules.facts)).unwrap_or_default(),
            rules.map(|rules| listed("rules.rules", &rules.rules, "id")).unwrap_or_default(),
            procedures
                .map(|own| listed("procedures.definitions", &own.definitions, "name"))
                .unwrap_or_default(),
        ];
        let too_long = |(place, name): (String, Option<String>)| {
            let too_long = max != 0 && noex_json::utf16_len(&name?) > max;
            too_long.then(|| format!("{place}: name must have at most {max} characters"))
        };
        let mut problems: Vec<String> = places.into_iter().flatten().filter_map(too_long).collect();
        // Everything else is refused without a name anyway.
        if rules.is_some_and(|rules| rules.facts.iter().any(|(key, _)| key.is_empty())) {
            problems.push("rules.facts: a name must not be empty".to_owned());
        }
        problems
    }
}
