//! Statistics in the shapes of the protocol.

use crate::ConnectionInfo;
use noex_json::{Object, Value};

/// Counters and settings of a server.
#[derive(Clone, Debug)]
pub struct ServerStats {
    /// Name of the server.
    pub name: String,
    /// Address listened on.
    pub host: String,
    /// Port listened on.
    pub port: u16,
    /// Time since the start in ms.
    pub uptime_ms: u64,
    /// Open connections.
    pub connection_count: usize,
    /// Open connections that are logged in.
    pub authenticated_count: usize,
    /// Watched queries of all connections.
    pub store_subscriptions: usize,
    /// Watched event patterns of all connections.
    pub rules_subscriptions: usize,
    /// Whether clients can log in.
    pub auth_enabled: bool,
    /// Whether requests are limited.
    pub rate_limit_enabled: bool,
    /// Statistics of the store in the shape of `store.stats`.
    pub store: Value,
    /// Statistics of the rule engine in the shape of `rules.stats`; `None` = there is none.
    pub rules: Option<Value>,
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn number(count: usize) -> Value {
    Value::Number(count as f64)
}

impl ServerStats {
    /// Gives the shape of `server.stats`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut connections = Object::new();
        connections.set("active", number(self.connection_count));
        connections.set("authenticated", number(self.authenticated_count));
        connections.set("totalStoreSubscriptions", number(self.store_subscriptions));
        connections.set("totalRulesSubscriptions", number(self.rules_subscriptions));
        let mut stats = Object::new();
        stats.set("name", self.name.as_str());
        stats.set("connectionCount", number(self.connection_count));
        stats.set("authEnabled", self.auth_enabled);
        stats.set("rateLimitEnabled", self.rate_limit_enabled);
        stats.set("rulesEnabled", self.rules.is_some());
        stats.set("connections", connections);
        stats.set("store", self.store.clone());
        stats.set("rules", self.rules.clone().unwrap_or_default());
        stats.set("port", f64::from(self.port));
        stats.set("host", self.host.as_str());
        #[expect(clippy::cast_precision_loss, reason = "ms of uptime")]
        stats.set("uptimeMs", self.uptime_ms as f64);
        Value::from(stats)
    }
}

/// One row of `server.connections`.
pub(crate) fn connection_value(info: &ConnectionInfo) -> Value {
    let session = info.session.as_deref();
    let roles = session.map_or(&[][..], |session| &session.roles);
    let mut row = Object::new();
    row.set("connectionId", info.connection_id.as_str());
    row.set("remoteAddress", info.remote_address.as_str());
    #[expect(clippy::cast_precision_loss, reason = "a date in ms")]
    row.set("connectedAt", info.connected_at_ms as f64);
    row.set("authenticated", session.is_some());
    row.set("userId", session.map_or(Value::Null, |session| session.user_id.as_str().into()));
    row.set("roles", Value::Array(roles.iter().map(|role| role.as_str().into()).collect()));
    row.set("storeSubscriptionCount", number(info.store_subscriptions));
    row.set("rulesSubscriptionCount", number(info.rules_subscriptions));
    Value::from(row)
}
