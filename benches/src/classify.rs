//! Tells the server's messages apart by their first bytes, without parsing JSON.
//!
//! Source: the protocol description, "Server → client shapes". The key order shown there is the fast path; another
//! order is found by searching the text.

/// Kind of one message from the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Message {
    /// A request was answered.
    Result {
        /// The request's id.
        id: u64,
    },
    /// A request was refused.
    Refused {
        /// The request's id.
        id: u64,
    },
    /// A subscription's new result or an event.
    Push,
    /// Heartbeat; to be answered with the same timestamp.
    Ping,
    /// The greeting after the handshake.
    Welcome,
    /// A notice such as `shutdown`.
    System,
    /// None of these.
    Unknown,
}

/// Looks at one message. O(1) for messages in the documented key order.
#[inline]
#[must_use]
pub fn classify(payload: &[u8]) -> Message {
    if let Some((id, rest)) = reply_id(payload) {
        if rest.starts_with(b",\"type\":\"result\"") || find(rest, b"\"type\":\"result\"").is_some() {
            return Message::Result { id };
        }
        if find(rest, b"\"type\":\"error\"").is_some() {
            return Message::Refused { id };
        }
        return Message::Unknown;
    }
    let Some(kind) = payload.strip_prefix(b"{\"type\":\"") else { return Message::Unknown };
    match kind {
        [b'p', b'u', b's', b'h', b'"', ..] => Message::Push,
        [b'p', b'i', b'n', b'g', b'"', ..] => Message::Ping,
        [b'w', b'e', b'l', b'c', b'o', b'm', b'e', b'"', ..] => Message::Welcome,
        [b's', b'y', b's', b't', b'e', b'm', b'"', ..] => Message::System,
        _ => Message::Unknown,
    }
}

/// The id at the start of a reply and what follows it; `None` unless the message begins with `{"id":` and digits.
#[inline]
#[must_use]
pub fn reply_id(payload: &[u8]) -> Option<(u64, &[u8])> {
    leading_number(payload.strip_prefix(b"{\"id\":")?)
}

/// The whole number that follows the first occurrence of `label`, blanks between them allowed.
#[must_use]
pub fn number_after(payload: &[u8], label: &[u8]) -> Option<u64> {
    let at = find(payload, label)? + label.len();
    leading_number(payload.get(at..)?.trim_ascii_start()).map(|(number, _)| number)
}

/// Appends the answer to a ping, as JSON text: the pong with the ping's own timestamp.
#[must_use]
pub fn pong(ping: &[u8]) -> Vec<u8> {
    let timestamp = number_after(ping, b"\"timestamp\":").unwrap_or(0);
    format!("{{\"type\":\"pong\",\"timestamp\":{timestamp}}}").into_bytes()
}

#[inline]
fn leading_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    let mut rest = text;
    while let [digit @ b'0'..=b'9', tail @ ..] = rest {
        number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        rest = tail;
    }
    (rest.len() < text.len()).then_some((number, rest))
}

/// Position of the first `needle`, which is not empty.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_shapes() {
        for (text, kind) in [
            (r#"{"id":17,"type":"result","data":null}"#, Message::Result { id: 17 }),
            (r#"{"id":17,"data":null,"type":"result"}"#, Message::Result { id: 17 }),
            (r#"{"id":3,"type":"error","code":"NOT_FOUND","message":"x"}"#, Message::Refused { id: 3 }),
            (r#"{"type":"push","channel":"subscription","subscriptionId":"sub-1","data":[]}"#, Message::Push),
            (r#"{"type":"ping","timestamp":5}"#, Message::Ping),
            (r#"{"type":"welcome","version":"1.0.0"}"#, Message::Welcome),
            (r#"{"type":"system","event":"shutdown"}"#, Message::System),
            (r#"{"id":-1,"type":"result"}"#, Message::Unknown),
            (r#"{"id":1.5,"type":"other"}"#, Message::Unknown),
            (r#"{"id":1}"#, Message::Unknown),
            ("", Message::Unknown),
            ("x", Message::Unknown),
        ] {
            assert_eq!(classify(text.as_bytes()), kind, "{text}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(number_after(br#"{"n":42,"s":1}"#, b"\"n\":"), Some(42));
        assert_eq!(number_after(br#"{"n": 42}"#, b"\"n\":"), Some(42));
        assert_eq!(number_after(br#"{"n":x}"#, b"\"n\":"), None);
        assert_eq!(number_after(br#"{"n":99999999999999999999999}"#, b"\"n\":"), None);
        assert_eq!(
            pong(br#"{"type":"ping","timestamp":1700000000123}"#),
            br#"{"type":"pong","timestamp":1700000000123}"#
        );
    }
}
