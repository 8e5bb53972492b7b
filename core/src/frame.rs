//! Frames to send, and the texts of the protocol's messages.

use crate::{Refusal, SubId, refusal::Code, request::RequestId};
use alloc::{borrow::Cow, string::String, sync::Arc};
use core::fmt::Write;
use noex_json::write_string;

/// One WebSocket message to send.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Frame {
    /// A text message.
    Text(Text),
    /// A close frame. Nothing follows it.
    Close {
        /// Close code; `None` = an empty close frame.
        code: Option<u16>,
        /// Reason, at most 123 bytes.
        reason: Cow<'static, str>,
    },
}

impl Frame {
    /// Bytes on the wire: header of an unmasked frame and payload.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        let payload = match self {
            Frame::Text(text) => text.len(),
            Frame::Close { code, reason } => code.map_or(0, |_| 2 + reason.len()),
        };
        payload
            + match payload {
                0..=125 => 2,
                126..=65_535 => 4,
                _ => 10,
            }
    }
}

/// The payload of a text message: a head, a body that may be shared by many connections, and a tail.
///
/// Nothing is copied into one piece until a framing layer needs that.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Text {
    head: Head,
    body: Option<Data>,
    tail: &'static str,
}

/// Bodies of pushes below this size are copied into the head: cheaper than carrying a reference along.
const INLINE_BYTES_MAX: usize = 512;

/// What comes before the body.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Head {
    /// That of a result with data, the most frequent message by far: only the id differs.
    Result(RequestId),
    Other(String),
}

impl Head {
    fn pieces(&self) -> [&str; 3] {
        match self {
            Head::Result(id) => ["{\"id\":", id.as_str(), ",\"type\":\"result\",\"data\":"],
            Head::Other(text) => [text, "", ""],
        }
    }
}

impl Default for Head {
    fn default() -> Self {
        Self::Other(String::new())
    }
}

impl Text {
    /// Makes a payload of one piece.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self { head: Head::Other(text), body: None, tail: "" }
    }

    fn with_body(mut head: String, body: Arc<str>, tail: &'static str) -> Self {
        if body.len() > INLINE_BYTES_MAX {
            return Self { head: Head::Other(head), body: Some(Data::Shared(body)), tail };
        }
        head.push_str(&body);
        head.push_str(tail);
        Self::new(head)
    }

    /// Bytes of the whole payload.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces().iter().map(|piece| piece.len()).sum()
    }

    /// Tells whether the payload has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces, in order, for vectored writes or for a buffer.
    #[must_use]
    pub fn pieces(&self) -> [&str; 5] {
        let [first, id, rest] = self.head.pieces();
        [first, id, rest, self.body.as_ref().map_or("", Data::as_str), self.tail]
    }

    /// Joins the pieces.
    #[must_use]
    pub fn into_string(self) -> String {
        match self {
            Self { head: Head::Other(head), body: None, .. } => head,
            pieces => pieces.pieces().concat(),
        }
    }
}

/// Data of a result: shared, owned, or constant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Data {
    Shared(Arc<str>),
    Owned(String),
    Static(&'static str),
}

impl Data {
    fn as_str(&self) -> &str {
        match self {
            Data::Shared(text) => text,
            Data::Owned(text) => text,
            Data::Static(text) => text,
        }
    }
}

pub(crate) fn welcome(server_time_ms: u64, requires_auth: bool) -> Text {
    let mut text = String::with_capacity(96);
    let _ = write!(
        text,
        "{{\"type\":\"welcome\",\"version\":\"1.0.0\",\"serverTime\":{server_time_ms},\"requiresAuth\":{requires_auth}}}"
    );
    Text::new(text)
}

/// Answers a request; without `data` the member is left out.
pub(crate) fn result(id: RequestId, data: Option<Data>) -> Text {
    if data.is_some() {
        return Text { head: Head::Result(id), body: data, tail: "}" };
    }
    Text::new(["{\"id\":", id.as_str(), ",\"type\":\"result\"}"].concat())
}

/// Answers a subscribe; `version` is shown to those who are sent changes.
pub(crate) fn subscribed(
    id: &RequestId,
    subscription: SubId,
    version: Option<u64>,
    data: Option<Arc<str>>,
) -> Text {
    let mut head = String::with_capacity(id.as_str().len() + 96);
    head.push_str("{\"id\":");
    head.push_str(id.as_str());
    let _ = write!(head, ",\"type\":\"result\",\"data\":{{\"subscriptionId\":\"{subscription}\"");
    if let Some(version) = version {
        let _ = write!(head, ",\"version\":{version}");
    }
    if let Some(data) = data {
        head.push_str(",\"data\":");
        Text::with_body(head, data, "}}")
    } else {
        head.push_str("}}");
        Text::new(head)
    }
}

pub(crate) fn error(id: &RequestId, refusal: &Refusal, expose_details: bool) -> Text {
    let mut text = String::with_capacity(96 + refusal.message.len());
    text.push_str("{\"id\":");
    text.push_str(id.as_str());
    text.push_str(",\"type\":\"error\",\"code\":\"");
    text.push_str(refusal.code.as_str());
    text.push_str("\",\"message\":");
    write_string(&mut text, &refusal.message);
    // The time to wait is for programs and gives nothing away.
    if let Some(details) =
        refusal.details.as_ref().filter(|_| expose_details || refusal.code == Code::RateLimited)
    {
        text.push_str(",\"details\":");
        text.push_str(details);
    }
    text.push('}');
    Text::new(text)
}

/// A state of a query that a subscriber is caught up with: `data` of a request for it.
pub(crate) fn snapshot(id: &RequestId, version: u64, data: Option<Arc<str>>) -> Text {
    let mut head = String::with_capacity(id.as_str().len() + 96);
    head.push_str("{\"id\":");
    head.push_str(id.as_str());
    let _ = write!(head, ",\"type\":\"result\",\"data\":{{\"version\":{version}");
    if let Some(data) = data {
        head.push_str(",\"data\":");
        Text::with_body(head, data, "}}")
    } else {
        head.push_str("}}");
        Text::new(head)
    }
}

pub(crate) fn push_result(subscription: SubId, data: Option<Arc<str>>) -> Text {
    push("subscription", subscription, None, "data", data)
}

/// A whole result for those who are sent changes.
pub(crate) fn push_version(subscription: SubId, version: u64, data: Option<Arc<str>>) -> Text {
    push("subscription", subscription, Some(version), "data", data)
}

pub(crate) fn push_delta(subscription: SubId, changes: Arc<str>) -> Text {
    push("subscription", subscription, None, "delta", Some(changes))
}

pub(crate) fn push_event(subscription: SubId, event: Arc<str>) -> Text {
    push("event", subscription, None, "data", Some(event))
}

fn push(
    channel: &str,
    subscription: SubId,
    version: Option<u64>,
    member: &str,
    data: Option<Arc<str>>,
) -> Text {
    let inline = data.as_ref().map_or(0, |d| if d.len() <= INLINE_BYTES_MAX { d.len() } else { 0 });
    let mut head = String::with_capacity(96 + inline);
    let _ =
        write!(head, "{{\"type\":\"push\",\"channel\":\"{channel}\",\"subscriptionId\":\"{subscription}\"");
    if let Some(version) = version {
        let _ = write!(head, ",\"version\":{version}");
    }
    if let Some(data) = data {
        let _ = write!(head, ",\"{member}\":");
        Text::with_body(head, data, "}")
    } else {
        head.push('}');
        Text::new(head)
    }
}

pub(crate) fn ping(timestamp_ms: u64) -> Text {
    let mut text = String::with_capacity(48);
    let _ = write!(text, "{{\"type\":\"ping\",\"timestamp\":{timestamp_ms}}}");
    Text::new(text)
}

pub(crate) fn shutdown_notice(grace_ms: u64) -> Text {
    let mut text = String::with_capacity(64);
    let _ = write!(text, "{{\"type\":\"system\",\"event\":\"shutdown\",\"gracePeriodMs\":{grace_ms}}}");
    Text::new(text)
}

pub(crate) fn session_revoked_notice() -> Text {
    Text::new(String::from(
        "{\"type\":\"system\",\"event\":\"session_revoked\",\"reason\":\"Session revoked by administrator\"}",
    ))
}

pub(crate) fn subscription_closed(subscription: SubId, reason: &str) -> Text {
    let mut text = String::with_capacity(112);
    let _ = write!(
        text,
        "{{\"type\":\"system\",\"event\":\"subscription_closed\",\"subscriptionId\":\"{subscription}\",\"reason\":\"{reason}\"}}"
    );
    Text::new(text)
}

pub(crate) fn events_dropped(subscription: SubId, count: u64) -> Text {
    let mut text = String::with_capacity(96);
    let _ = write!(
        text,
        "{{\"type\":\"system\",\"event\":\"events_dropped\",\"subscriptionId\":\"{subscription}\",\"count\":{count}}}"
    );
    Text::new(text)
}
