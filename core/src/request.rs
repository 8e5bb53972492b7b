//! From a text to a request: syntax, `type`, `id`, pongs.

use crate::refusal::{Code, Refusal};
use alloc::{borrow::Cow, string::String};
use noex_json::{CompactString, Member, ParseError, Raw, scan_object, write_number};
use smallvec::SmallVec;

/// The `id` of a request as it is echoed: canonical JSON text of a number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RequestId(CompactString);

impl RequestId {
    /// The id of errors that belong to no request.
    pub(crate) const NONE: Self = Self(CompactString::const_new("0"));

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads a finite number. Integers of up to 64 bits keep all their digits.
    fn read(raw: Raw<'_>) -> Option<Self> {
        let text = raw.text();
        // Nearly always. A JSON number has no leading zeros, so such a text is canonical.
        if text.len() <= 15 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(Self(CompactString::new(text)));
        }
        let number = raw.as_number().filter(|n| n.is_finite())?;
        if number == 0.0 {
            return Some(Self::NONE);
        }
        if text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok() {
            return Some(Self(text.into()));
        }
        let mut out = String::new();
        write_number(&mut out, number);
        Some(Self(out.into()))
    }
}

/// The members of a message, as texts.
#[derive(Debug, Default)]
pub(crate) struct Members<'a>(SmallVec<[Member<'a>; 4]>);

impl<'a> Members<'a> {
    /// Finds a member; of repeated ones the last counts.
    pub(crate) fn get(&self, name: &str) -> Option<Raw<'a>> {
        self.0.iter().rev().find(|(n, _)| n == name).map(|(_, raw)| *raw)
    }

    /// Finds a member that is a string.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).and_then(Raw::as_str)
    }

    /// Lists the members of a value that is an object.
    pub(crate) fn of(raw: Raw<'a>) -> Option<Self> {
        let mut members = Self::default();
        scan_object(raw.text(), usize::MAX, |member| members.0.push(member)).ok()?;
        Some(members)
    }
}

/// A text message that has been read and not judged yet. Reading depends on nothing but the text, so messages that came
/// together can be read before the first of them is handled.
#[derive(Debug)]
pub struct Parsed<'a> {
    pub(crate) text: &'a str,
    pub(crate) envelope: Result<Envelope<'a>, (RequestId, Refusal)>,
    pub(crate) members: Members<'a>,
}

impl<'a> Parsed<'a> {
    pub(crate) fn new(text: &'a str, depth_max: usize) -> Self {
        let mut members = Members::default();
        let envelope = read(text, depth_max, &mut members);
        Self { text, envelope, members }
    }

    /// Bucket and key of the record that the message asks for by key, if it does: a hint for who fetches ahead, given only
    /// where it costs next to nothing.
    #[must_use]
    pub fn sought_record(&self) -> Option<(&'a str, Raw<'a>)> {
        let Ok(Envelope::Request { kind, .. }) = &self.envelope else { return None };
        if kind != "store.get" {
            return None;
        }
        match self.members.text("bucket")? {
            Cow::Borrowed(bucket) => Some((bucket, self.members.get("key")?)),
            Cow::Owned(_) => None,
        }
    }

    pub(crate) fn is_pong(&self) -> bool {
        matches!(self.envelope, Ok(Envelope::Pong))
    }
}

/// A message that passed the checks on its envelope.
#[derive(Debug)]
pub(crate) enum Envelope<'a> {
    /// The answer to a ping.
    Pong,
    /// A request.
    Request { id: RequestId, kind: Cow<'a, str> },
}

/// Reads the envelope of a message, and lists its other members, of which there must not be any yet.
fn read<'a>(
    text: &'a str,
    depth_max: usize,
    members: &mut Members<'a>,
) -> Result<Envelope<'a>, (RequestId, Refusal)> {
    let (mut id, mut kind) = (None, None);
    let note = |(name, raw): Member<'a>| {
        // Of repeated members the last counts.
        match &*name {
            "id" => id = Some(raw),
            "type" => kind = Some(raw),
            _ => members.0.push((name, raw)),
        }
    };
    scan_object(text, depth_max, note).map_err(|error| {
        let message = match error {
            ParseError::Syntax => "Invalid JSON",
            ParseError::TooDeep => "Message nesting too deep",
            ParseError::WrongType => "Message must be a JSON object",
        };
        (RequestId::NONE, Refusal::new(Code::ParseError, message))
    })?;
    let id = id.and_then(RequestId::read);
    let invalid = |id: Option<RequestId>, message: &'static str| {
        (id.unwrap_or(RequestId::NONE), Refusal::new(Code::InvalidRequest, message))
    };
    let Some(kind) = kind.and_then(Raw::as_str).filter(|kind| !kind.is_empty()) else {
        return Err(invalid(id, "Message must include non-empty string \"type\""));
    };
    if kind == "pong" {
        let valid = members.get("timestamp").and_then(Raw::as_number).is_some_and(f64::is_finite);
        return if valid {
            Ok(Envelope::Pong)
        } else {
            Err(invalid(None, "Pong must include finite numeric \"timestamp\""))
        };
    }
    match id {
        Some(id) => Ok(Envelope::Request { id, kind }),
        None => Err(invalid(None, "Request must include finite numeric \"id\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(text: &str) -> String {
        match read(text, 16, &mut Members::default()) {
            Ok(Envelope::Request { id, .. }) => id.as_str().into(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ids_are_echoed_canonically() {
        for (literal, echoed) in [
            ("1.0", "1"),
            ("1e2", "100"),
            ("-0", "0"),
            ("0.0", "0"),
            ("-1.5", "-1.5"),
            ("9007199254740993", "9007199254740993"),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("123456789012345678901", "123456789012345680000"),
            ("1e21", "1e+21"),
        ] {
            assert_eq!(id_of(&alloc::format!("{{\"id\":{literal},\"type\":\"x\"}}")), echoed);
        }
    }

    #[test]
    fn checks_come_in_order() {
        for (text, id, message) in [
            ("", "0", "Invalid JSON"),
            ("[{\"id\":1,\"type\":\"a\"}]", "0", "Message must be a JSON object"),
            ("{\"id\":7}", "7", "Message must include non-empty string \"type\""),
            ("{\"id\":\"7\",\"type\":\"\"}", "0", "Message must include non-empty string \"type\""),
            ("{\"id\":3,\"type\":\"pong\"}", "0", "Pong must include finite numeric \"timestamp\""),
            (
                "{\"type\":\"pong\",\"timestamp\":1e999}",
                "0",
                "Pong must include finite numeric \"timestamp\"",
            ),
            ("{\"type\":\"x\",\"id\":1e400}", "0", "Request must include finite numeric \"id\""),
            ("{\"type\":\"x\",\"a\":[[[[]]]],\"id\":1}", "0", "Message nesting too deep"),
        ] {
            let (got, refusal) = read(text, 4, &mut Members::default()).expect_err("refused");
            assert_eq!((got.as_str(), refusal.message.as_ref()), (id, message), "{text}");
        }
        assert!(Parsed::new("{\"type\":\"pong\",\"timestamp\":-1}", 4).is_pong());
    }

    #[test]
    fn a_get_names_its_record() {
        let record = |members: &str| {
            let text = alloc::format!("{{\"id\":1,{members}}}");
            Parsed::new(&text, 16).sought_record().map(|(bucket, key)| [bucket, key.text()].map(String::from))
        };
        let a7 = Some(["a", "7"].map(String::from));
        assert_eq!(record(r#""type":"store.get","bucket":"a","key":7"#), a7);
        for none in [
            r#""type":"store.count","bucket":"a","key":7"#,
            r#""type":"store.get","bucket":1,"key":7"#,
            r#""type":"store.get","bucket":"a""#,
            r#""type":"store.get","bucket":"\u0061","key":7"#,
            r#""type":"store.get","bucket":"a","key":7,"#,
        ] {
            assert_eq!(record(none), None, "{none}");
        }
    }
}
