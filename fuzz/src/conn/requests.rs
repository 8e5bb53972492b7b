//! Requests: texts for those who only want many kinds, and requests that a model understands.

use crate::input::Input;
use noex_core::{Operation, Tier};

/// Messages of many kinds, good and bad.
pub(super) const MESSAGES: [&str; 60] = [
    r#"{"id":1,"type":"auth.login","token":"t"}"#,
    r#"{"id":2,"type":"auth.login"}"#,
    r#"{"id":3,"type":"auth.logout"}"#,
    r#"{"id":4,"type":"auth.whoami"}"#,
    r#"{"id":5,"type":"server.health"}"#,
    r#"{"id":6,"type":"server.stats"}"#,
    r#"{"id":7,"type":"store.subscribe","query":"qa"}"#,
    r#"{"id":8,"type":"store.subscribe","query":"qb","params":{"p":1}}"#,
    r#"{"id":9,"type":"store.subscribe","query":7}"#,
    r#"{"id":10,"type":"store.unsubscribe","subscriptionId":"sub-1"}"#,
    r#"{"id":11,"type":"store.unsubscribe","subscriptionId":"sub-2"}"#,
    r#"{"id":12,"type":"store.unsubscribe","subscriptionId":"sub-01"}"#,
    r#"{"id":13,"type":"rules.subscribe","pattern":"order.*"}"#,
    r#"{"id":14,"type":"rules.subscribe","pattern":"*"}"#,
    r#"{"id":15,"type":"rules.unsubscribe","subscriptionId":"sub-1"}"#,
    r#"{"id":16,"type":"rules.emit","topic":"order.new","data":{"n":1},"correlationId":"c","causationId":7}"#,
    r#"{"id":17,"type":"rules.emit","topic":"order.new","correlationId":""}"#,
    r#"{"id":18,"type":"rules.setFact","key":"k","value":null}"#,
    r#"{"id":19,"type":"rules.registerRule","rule":{}}"#,
    r#"{"id":20,"type":"store.insert","bucket":"a","data":{"x":[1,{"y":null}]}}"#,
    r#"{"id":21,"type":"store.insert","bucket":"a","data":[]}"#,
    r#"{"id":22,"type":"store.get","bucket":"custom","key":1}"#,
    r#"{"id":23,"type":"store.get","bucket":"much longer than a name may be","key":1}"#,
    r#"{"id":24,"type":"store.first","bucket":"a","n":3}"#,
    r#"{"id":25,"type":"store.first","bucket":"a","n":1.5}"#,
    r#"{"id":26,"type":"store.paginate","bucket":"a","limit":1,"after":null}"#,
    r#"{"id":27,"type":"store.transaction","operations":[{"op":"get","bucket":"a","key":1}]}"#,
    r#"{"id":28,"type":"store.transaction","operations":[{"op":"get","bucket":"a","key":1},{"op":"where","bucket":"b","filter":{}},{"op":"count","bucket":"b"},7]}"#,
    r#"{"id":29,"type":"store.transaction","operations":[]}"#,
    r#"{"id":30,"type":"store.defineQuery","name":"qc","config":{"bucket":"a"}}"#,
    r#"{"id":31,"type":"store.undefineQuery","name":"qa"}"#,
    r#"{"id":32,"type":"store.dropBucket","name":"a"}"#,
    r#"{"id":33,"type":"store.buckets"}"#,
    r#"{"id":34,"type":"store.sum","bucket":"a","field":"x","filter":null}"#,
    r#"{"id":35,"type":"identity.login"}"#,
    r#"{"id":36,"type":"audit.query"}"#,
    r#"{"id":37,"type":"procedures.call","name":"p"}"#,
    r#"{"id":38,"type":"server.revokeSession","userId":"u"}"#,
    r#"{"id":39,"type":"nope"}"#,
    r#"{"id":18446744073709551615,"type":"store."}"#,
    r#"{"id":-1.5e2,"type":"ping"}"#,
    r#"{"type":"pong","timestamp":1}"#,
    r#"{"type":"pong","timestamp":"1"}"#,
    r#"{"type":"store.get"}"#,
    r#"{"id":1e400,"type":"store.get"}"#,
    r#"[]"#,
    "{",
    r#"{"id":1,"type":"x","a":[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}"#,
    r#"{"id":49,"type":"identity.login","username":"u","password":"p"}"#,
    r#"{"id":50,"type":"identity.loginWithSecret","secret":"s"}"#,
    r#"{"id":51,"type":"identity.logout"}"#,
    r#"{"id":52,"type":"identity.whoami"}"#,
    r#"{"id":53,"type":"identity.updateUser","userId":"u","email":null}"#,
    r#"{"id":54,"type":"identity.grant","subjectType":"user","subjectId":"u","resourceType":"bucket","resourceName":"a","operations":["read",1]}"#,
    r#"{"id":55,"type":"identity.createRole","name":"r","permissions":[{"allow":"*"}]}"#,
    r#"{"id":56,"type":"audit.query","result":"error","limit":2}"#,
    r#"{"id":57,"type":"server.revokeSessions","role":"reader"}"#,
    r#"{"id":58,"type":"store.get","bucket":"_users","key":1}"#,
    r#"{"id":59,"type":"store.transaction","operations":[null,{"op":"get","bucket":"_acl","key":1}]}"#,
    r#"{"id":60,"type":"store.defineBucket","name":"b","config":{"schema":{"u":{"items":{"ref":"_users"}}}}}"#,
];

/// What a request is, as a model sees it.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// Not JSON, or not an object.
    NotJson,
    /// No type, or no id.
    Incomplete,
    Pong,
    BadPong,
    Operation(&'static str),
}

/// A request with its one field that matters; `None` = it is missing.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) id: usize,
    pub(super) kind: Kind,
    pub(super) field: Option<&'static str>,
    /// Of a subscription to a query; `None` = it is missing.
    pub(super) mode: Option<&'static str>,
}

const NAMES: [&str; 40] = [
    "auth.login",
    "auth.login",
    "auth.login",
    "auth.logout",
    "auth.whoami",
    "auth.nope",
    "server.health",
    "server.stats",
    "server.connections",
    "server.revokeSession",
    "server.revokeSessions",
    "server.unrevoke",
    "store.get",
    "store.get",
    "store.all",
    "store.insert",
    "store.insert",
    "store.stats",
    "store.purgeTtl",
    "store.dropBucket",
    "store.defineQuery",
    "store.undefineQuery",
    "store.subscribe",
    "store.subscribe",
    "store.subscribe",
    "store.unsubscribe",
    "store.snapshot",
    "store.snapshot",
    "rules.subscribe",
    "rules.subscribe",
    "rules.unsubscribe",
    "rules.emit",
    "store.nope",
    "rules.nope",
    "identity.login",
    "identity.whoami",
    "audit.query",
    "procedures.call",
    "ping",
    "nope",
];

impl Request {
    /// Chooses a request.
    pub(super) fn choose(input: &mut Input<'_>) -> Self {
        let id = input.below(20);
        let kind = match input.below(16) {
            0 => [Kind::NotJson, Kind::Incomplete, Kind::Pong, Kind::BadPong][input.below(4)].clone(),
            _ => Kind::Operation(input.pick(&NAMES)),
        };
        let choices: &[&str] = match &kind {
            Kind::Operation(name) => fields(name).1,
            Kind::NotJson | Kind::Incomplete | Kind::Pong | Kind::BadPong => &[],
        };
        let field = if choices.is_empty() || input.rarely(16) { None } else { Some(input.pick(choices)) };
        let watches = matches!(kind, Kind::Operation("store.subscribe"));
        let mode = if watches { input.perhaps(&["delta", "delta", "full", "half"]) } else { None };
        Self { id, kind, field, mode }
    }

    /// The message.
    pub(super) fn text(&self) -> String {
        let id = self.id;
        match &self.kind {
            Kind::NotJson if id.is_multiple_of(2) => format!("[{id}]"),
            Kind::NotJson => "{\"id\":1,}".into(),
            Kind::Incomplete if id.is_multiple_of(2) => format!("{{\"id\":{id},\"type\":\"\"}}"),
            Kind::Incomplete => "{\"id\":null,\"type\":\"store.get\"}".into(),
            Kind::Pong => format!("{{\"type\":\"pong\",\"timestamp\":{id}}}"),
            Kind::BadPong => format!("{{\"id\":{id},\"type\":\"pong\"}}"),
            Kind::Operation(name) => {
                let field = self.field.map_or_else(String::new, |value| {
                    format!(",\"{}\":\"{value}\"{}", fields(name).0, rest(name))
                });
                let mode = self.mode.map_or_else(String::new, |mode| format!(",\"mode\":\"{mode}\""));
                format!("{{\"id\":{id},\"type\":\"{name}\"{field}{mode}}}")
            }
        }
    }

    /// The id that the answer has.
    pub(super) fn echoed(&self) -> usize {
        match self.kind {
            Kind::Incomplete if self.id % 2 == 1 => 0,
            Kind::NotJson | Kind::Pong | Kind::BadPong => 0,
            Kind::Incomplete | Kind::Operation(_) => self.id,
        }
    }

    /// The request's operation, if there is such a one.
    pub(super) fn tier(&self) -> Option<Tier> {
        let Kind::Operation(name) = self.kind else { return None };
        Operation::by_name(name).and_then(Operation::tier)
    }
}

/// Name and values of the field that matters.
fn fields(name: &str) -> (&'static str, &'static [&'static str]) {
    match name {
        "auth.login" => (
            "token",
            &[
                "admin", "writer", "reader", "guest", "short", "long", "expired", "revoked", "broken",
                "nobody",
            ],
        ),
        "store.get" | "store.all" | "store.insert" => ("bucket", &["a", "b"]),
        "store.dropBucket" => ("name", &["a", "b"]),
        "store.defineQuery" | "store.undefineQuery" => ("name", &["qa", "qb"]),
        "store.subscribe" => ("query", &["qa", "qb", "missing"]),
        "rules.subscribe" => ("pattern", &["order.*", "*"]),
        "rules.emit" => ("topic", &["order.new", "stock"]),
        "server.revokeSession" | "server.unrevoke" => ("userId", &["reader", "u"]),
        "server.revokeSessions" => ("role", &["reader", "r"]),
        "procedures.call" => ("name", &["p"]),
        "store.unsubscribe" | "store.snapshot" | "rules.unsubscribe" => {
            ("subscriptionId", &["sub-1", "sub-2", "sub-3", "sub-4", "sub-01"])
        }
        _ => ("", &[]),
    }
}

/// Further members, so that only the field that matters can be missing.
fn rest(name: &str) -> &'static str {
    match name {
        "store.get" => ",\"key\":1",
        "store.insert" => ",\"data\":{}",
        "store.defineQuery" => ",\"config\":{\"bucket\":\"a\"}",
        _ => "",
    }
}
