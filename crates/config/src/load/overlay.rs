//! Lays the options of the command line over the document of the config file.
//!
//! What an option says goes through the same checks, with the same messages, as the key it stands for.
//! Source: the configuration description, "Command line".

use serde_json::{Map, Value};

use crate::cli::Cli;
use crate::secret::Secret;

/// Replaces the members of `document` for which `cli` has a value.
pub(super) fn apply(document: &mut Map<String, Value>, cli: &Cli) {
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            document.insert(key.to_owned(), value);
        }
    };
    set("port", cli.port.as_deref().map(number));
    set("host", cli.host.as_deref().map(Value::from));
    set("name", cli.name.as_deref().map(Value::from));
    set("path", cli.path.as_deref().map(Value::from));
    set("maxPayloadBytes", cli.max_payload_bytes.as_deref().map(number));
    set("persistence", cli.persistence.as_deref().map(Value::from));
    set("dataDir", cli.data_dir.as_deref().map(Value::from));
    set("db", cli.db.as_deref().map(Value::from));
    set("rules", cli.no_rules.then_some(Value::Bool(false)));
    set("exposeErrorDetails", cli.no_error_details.then_some(Value::Bool(false)));
    set("allowedOrigins", cli.allowed_origins.as_deref().map(comma_separated));
    set("maxConnectionsPerIp", cli.max_connections_per_ip.as_deref().map(number));
    if cli.auth {
        switch_on(document, "auth", Some("builtIn"));
    }
    if cli.audit {
        switch_on(document, "audit", None);
    }
    if let Some(level) = &cli.log_level {
        let log = document.entry("log").or_insert_with(|| Value::Object(Map::new()));
        // A `log` that is no object stays as it is and is reported.
        if let Value::Object(log) = log {
            log.insert("level".to_owned(), Value::from(level.as_str()));
        }
    }
    if let Some(secret) = &cli.admin_secret {
        set_admin_secret(document, secret);
    }
}

/// Makes `secret` the only admin secret of the document.
pub(super) fn set_admin_secret(document: &mut Map<String, Value>, secret: &Secret) {
    document.insert("adminSecret".to_owned(), Value::from(secret.expose()));
    if let Some(Value::Object(auth)) = document.get_mut("auth") {
        auth.shift_remove("adminSecret");
    }
}

/// Turns `key` on without losing the settings of an object that is already there.
///
/// `member` is the switch inside such an object, if it has one.
fn switch_on(document: &mut Map<String, Value>, key: &str, member: Option<&str>) {
    if let Some(Value::Object(settings)) = document.get_mut(key) {
        if let Some(member) = member {
            settings.insert(member.to_owned(), Value::Bool(true));
        }
        return;
    }
    document.insert(key.to_owned(), Value::Bool(true));
}

/// Reads a JSON number; other text stays text, to be reported as it was written.
fn number(text: &str) -> Value {
    serde_json::from_str(text).ok().filter(Value::is_number).unwrap_or_else(|| Value::from(text))
}

/// Splits at commas and trims blanks; an empty part stays and is reported.
fn comma_separated(text: &str) -> Value {
    text.split(',').map(str::trim).map(Value::from).collect()
}
