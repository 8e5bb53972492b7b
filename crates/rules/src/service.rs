//! Services: what the embedder lets rules call, for actions and lookups.
//!
//! A service answers at once: the engine's step never waits. One whose answer takes time accepts the call, and its
//! owner feeds the answer in later, as an event or fact.
//! Source: the rule engine's description, 2.11, 4.4, D4, D32, 6.10.

use foldhash::{HashMap, HashMapExt};
use noex_json::{CompactString, Value, write_string, write_value};
use std::{collections::BTreeMap, fmt};

/// Something rules can call by name.
pub trait Service: Send {
    /// Runs a method. Must not block: everything else waits meanwhile.
    ///
    /// # Errors
    ///
    /// [`ServiceError`] becomes the failure of the action or lookup.
    fn call(&mut self, method: &str, args: &[Value]) -> Result<Value, ServiceError>;
}

impl<F: FnMut(&str, &[Value]) -> Result<Value, ServiceError> + Send> Service for F {
    fn call(&mut self, method: &str, args: &[Value]) -> Result<Value, ServiceError> {
        self(method, args)
    }
}

/// Why a service gave no result.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ServiceError {
    /// The service has no such method.
    UnknownMethod,
    /// The service's own message.
    Failed(String),
}

/// Why a call gave no result.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum CallError {
    UnknownService,
    UnknownMethod,
    Failed(String),
}

impl CallError {
    /// The message of a failed `call_service` action.
    pub(crate) fn of_action(&self, service: &str, method: &str) -> String {
        match self {
            Self::UnknownService => format!("Service not found: {service}"),
            Self::UnknownMethod => format!("Method not found: {service}.{method}"),
            Self::Failed(message) => message.clone(),
        }
    }

    /// The message of a failed lookup.
    pub(crate) fn of_lookup(&self, name: &str, service: &str, method: &str) -> String {
        let cause = match self {
            Self::UnknownService => format!("Service \"{service}\" is not registered"),
            Self::UnknownMethod => format!("Method \"{method}\" not found on service \"{service}\""),
            Self::Failed(message) => message.clone(),
        };
        format!("Lookup \"{name}\" failed: {cause}")
    }
}

/// The registered services, and the results that lookups keep.
pub(crate) struct Services {
    services: HashMap<CompactString, Box<dyn Service>>,
    cache: Cache,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").field("services", &self.services.len()).finish_non_exhaustive()
    }
}

impl Services {
    pub(crate) fn new(cache_max: usize) -> Self {
        Self { services: HashMap::new(), cache: Cache::new(cache_max) }
    }

    pub(crate) fn register(&mut self, name: &str, service: Box<dyn Service>) {
        self.services.insert(name.into(), service);
    }

    pub(crate) fn call(&mut self, service: &str, method: &str, args: &[Value]) -> Result<Value, CallError> {
        let service = self.services.get_mut(service).ok_or(CallError::UnknownService)?;
        service.call(method, args).map_err(|error| match error {
            ServiceError::UnknownMethod => CallError::UnknownMethod,
            ServiceError::Failed(message) => CallError::Failed(message),
        })
    }

    /// As [`Services::call`], but a result younger than `ttl_ms` is reused.
    pub(crate) fn look_up(
        &mut self,
        service: &str,
        method: &str,
        args: &[Value],
        ttl_ms: Option<u64>,
        now_ms: u64,
    ) -> Result<Value, CallError> {
        let Some(ttl_ms) = ttl_ms else { return self.call(service, method, args) };
        let key = cache_key(service, method, args);
        if let Some(value) = self.cache.get(&key, now_ms) {
            return Ok(value);
        }
        let value = self.call(service, method, args)?;
        self.cache.put(key, value.clone(), now_ms.saturating_add(ttl_ms));
        Ok(value)
    }
}

/// Recent results by call; the least recently used go first.
struct Cache {
    entries_max: usize,
    entries: HashMap<String, Cached>,
    by_use: BTreeMap<u64, String>,
    clock: u64,
}

struct Cached {
    value: Value,
    expires_ms: u64,
    used: u64,
}

impl Cache {
    fn new(entries_max: usize) -> Self {
        Self { entries_max, entries: HashMap::new(), by_use: BTreeMap::new(), clock: 0 }
    }

    fn get(&mut self, key: &str, now_ms: u64) -> Option<Value> {
        if self.entries.get(key)?.expires_ms <= now_ms {
            self.remove(key);
            return None;
        }
        self.clock += 1;
        let cached = self.entries.get_mut(key)?;
        let text = self.by_use.remove(&cached.used)?;
        cached.used = self.clock;
        self.by_use.insert(self.clock, text);
        Some(cached.value.clone())
    }

    fn put(&mut self, key: String, value: Value, expires_ms: u64) {
        self.remove(&key);
        while self.entries.len() >= self.entries_max {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            self.entries.remove(&oldest);
        }
        self.clock += 1;
        self.by_use.insert(self.clock, key.clone());
        self.entries.insert(key, Cached { value, expires_ms, used: self.clock });
    }

    fn remove(&mut self, key: &str) {
        if let Some(cached) = self.entries.remove(key) {
            self.by_use.remove(&cached.used);
        }
    }
}

/// Equal for equal calls, whatever the order of members in the arguments.
fn cache_key(service: &str, method: &str, args: &[Value]) -> String {
    let mut key = String::new();
    write_string(&mut key, service);
    write_string(&mut key, method);
    args.iter().for_each(|arg| write_sorted(&mut key, arg));
    key
}

fn write_sorted(out: &mut String, value: &Value) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write_sorted(out, item);
                out.push(',');
            }
            out.push(']');
        }
        Value::Object(object) => {
            let mut members: Vec<_> = object.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push('{');
            for (name, member) in members {
                write_string(out, name);
                write_sorted(out, member);
            }
            out.push('}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            write_value(out, value);
            out.push(' ');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use noex_json::parse;

    fn counting() -> Services {
        let mut services = Services::new(2);
        let mut calls = 0.0;
        services.register(
            "s",
            Box::new(move |method: &str, _: &[Value]| {
                calls += 1.0;
                match method {
                    "n" => Ok(Value::Number(calls)),
                    "bad" => Err(ServiceError::Failed("down".into())),
                    _ => Err(ServiceError::UnknownMethod),
                }
            }),
        );
        services
    }

    fn args(text: &str) -> Vec<Value> {
        vec![parse(text, 64).expect("valid")]
    }

    #[test]
    fn results_are_kept_for_their_time() {
        let mut services = counting();
        let mut ask = |text: &str, now_ms| {
            services.look_up("s", "n", &args(text), Some(100), now_ms).ok().and_then(|v| v.as_number())
        };
        assert_eq!(ask(r#"{"a":1,"b":2}"#, 0), Some(1.0));
        assert_eq!(ask(r#"{"b":2,"a":1}"#, 99), Some(1.0), "order of members does not matter");
        assert_eq!(ask(r#"{"a":1,"b":2}"#, 100), Some(2.0), "expired");
        assert_eq!(ask("1", 100), Some(3.0));
        assert_eq!(ask(r#"{"a":1,"b":2}"#, 101), Some(2.0));
        assert_eq!(ask("2", 101), Some(4.0), "replaces the least recently used of two");
        assert_eq!(ask(r#"{"a":1,"b":2}"#, 102), Some(2.0));
        assert_eq!(ask("1", 102), Some(5.0));
        assert_eq!((services.cache.entries.len(), services.cache.by_use.len()), (2, 2));
    }

    #[test]
    fn failures_have_their_messages_and_are_not_kept() {
        let mut services = counting();
        let error = services.look_up("s", "bad", &[], Some(100), 0).expect_err("fails");
        assert_eq!(error.of_lookup("l", "s", "bad"), r#"Lookup "l" failed: down"#);
        assert_eq!(services.cache.entries.len(), 0);
        let error = services.call("s", "x", &[]).expect_err("fails");
        assert_eq!(error.of_action("s", "x"), "Method not found: s.x");
        assert_eq!(
            error.of_lookup("l", "s", "x"),
            r#"Lookup "l" failed: Method "x" not found on service "s""#
        );
        let error = services.call("t", "x", &[]).expect_err("fails");
        assert_eq!(error.of_action("t", "x"), "Service not found: t");
        assert_eq!(error.of_lookup("l", "t", "x"), r#"Lookup "l" failed: Service "t" is not registered"#);
    }
}
