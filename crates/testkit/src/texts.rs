//! The protocol's messages as texts, so that tests can name what they send and expect.

/// A request. `fields` are further members, without braces; empty = none.
#[must_use]
pub fn request(id: u64, kind: &str, fields: &str) -> String {
    let comma = if fields.is_empty() { "" } else { "," };
    format!(r#"{{"id":{id},"type":"{kind}"{comma}{fields}}}"#)
}

/// The answer that carries `data`.
#[must_use]
pub fn result(id: u64, data: &str) -> String {
    format!(r#"{{"id":{id},"type":"result","data":{data}}}"#)
}

/// The answer to a subscribe.
#[must_use]
pub fn subscribed(id: u64, subscription: u64, data: &str) -> String {
    result(id, &format!(r#"{{"subscriptionId":"sub-{subscription}","data":{data}}}"#))
}

/// An error without details.
#[must_use]
pub fn error(id: u64, code: &str, message: &str) -> String {
    let message = message.replace('"', "\\\"");
    format!(r#"{{"id":{id},"type":"error","code":"{code}","message":"{message}"}}"#)
}

/// A push of a query's result.
#[must_use]
pub fn push(subscription: u64, data: &str) -> String {
    format!(
        r#"{{"type":"push","channel":"subscription","subscriptionId":"sub-{subscription}","data":{data}}}"#
    )
}

/// A system message. `fields` are further members, without braces; empty = none.
#[must_use]
pub fn system(event: &str, fields: &str) -> String {
    let comma = if fields.is_empty() { "" } else { "," };
    format!(r#"{{"type":"system","event":"{event}"{comma}{fields}}}"#)
}
