//! The client's side of the WebSocket handshake, as text.
//!
//! Input: what a step wants in the request; the bytes of the answer. Output: the bytes of the request; status and
//! headers. Knows nothing of sockets.
//! Source: RFC 6455 §4.1.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Headers of an answer, names in lower case.
pub(crate) type Headers = BTreeMap<String, String>;

/// What goes into an upgrade request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Replaces or adds a header; `None` leaves it out.
    pub(crate) headers: Vec<(String, Option<String>)>,
    /// Text messages that leave in the same segment.
    pub(crate) early: Vec<String>,
}

/// Status and headers of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Response {
    pub(crate) status: i64,
    pub(crate) headers: Headers,
}

/// Writes the head of an upgrade request to `authority` (`host:port`) with this `Sec-WebSocket-Key`.
pub(crate) fn request_head(request: &Request, authority: &str, key: &str) -> String {
    let mut fields: Vec<(&str, &str)> = vec![
        ("Host", authority),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", key),
        ("Sec-WebSocket-Version", "13"),
    ];
    for (name, value) in &request.headers {
        fields.retain(|(old, _)| !old.eq_ignore_ascii_case(name));
        fields.extend(value.as_deref().map(|value| (name.as_str(), value)));
    }
    let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{} {} HTTP/1.1\r\n{lines}\r\n", request.method, request.path)
}

/// Makes a `Sec-WebSocket-Key` from 16 bytes.
pub(crate) fn key(nonce: [u8; 16]) -> String {
    STANDARD.encode(nonce)
}

/// Computes the `Sec-WebSocket-Accept` that answers a key.
pub(crate) fn accept_for(key: &str) -> String {
    let mut sha1 = sha1_smol::Sha1::from(key);
    sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(sha1.digest().bytes())
}

/// Splits the head of an answer from the bytes behind it; `None` until the head is whole.
pub(crate) fn split_head(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    Some((&bytes[..at], &bytes[at + 4..]))
}

/// Reads the head of an answer, byte for byte as Latin-1; `None` if it has no status.
pub(crate) fn parse_head(head: &[u8]) -> Option<Response> {
    let text: String = head.iter().copied().map(char::from).collect();
    let mut lines = text.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let fields = lines.filter_map(|line| line.split_once(':'));
    let headers =
        fields.map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned())).collect();
    Some(Response { status, headers })
}
