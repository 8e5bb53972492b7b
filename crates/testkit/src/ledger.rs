//! What must hold after every step, whatever the client, the host and the network do.
//!
//! * Exactly one reply per accepted request, in request order, with its id; none for pongs.
//! * Before the first login, where one is required: no effect but authentication and health, no other result.
//! * The welcome comes first and once; nothing follows a close frame; `Closed` comes once and last.
//! * Pushes only for subscriptions that the client has been told of and that have not ended; never the same result
//!   twice in a row.
//! * Tokens are never reused. Reserved subscriptions are those that the connection counts.
//! * The bytes counted as queued are those that the transport holds and those of replies that wait their turn.
//! * Deadlines lie ahead of the clock once they have been handled.

use noex_core::{Config, Connection, Effect, Frame, IdentityCall, Now, ServerCall};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A request that has been accepted and not been answered.
#[derive(Debug)]
struct Expected {
    id: f64,
    kind: String,
    /// Its `subscriptionId`.
    subscription: String,
}

/// The books of one connection.
#[derive(Debug)]
pub(crate) struct Ledger {
    requires_auth: bool,
    json_depth_max: usize,
    welcomed: bool,
    /// The connection was told to close or to end; messages are not accepted any more.
    deaf: bool,
    close_sent: bool,
    closed: bool,
    logged_in_once: bool,
    expected: VecDeque<Expected>,
    /// Subscriptions that the client knows, with the last result it saw.
    known: BTreeMap<String, Option<Json>>,
    tokens: BTreeSet<String>,
}

impl Ledger {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            requires_auth: config.requires_auth(),
            json_depth_max: config.json_depth_max,
            welcomed: false,
            deaf: false,
            close_sent: false,
            closed: false,
            logged_in_once: false,
            expected: VecDeque::new(),
            known: BTreeMap::new(),
            tokens: BTreeSet::new(),
        }
    }

    /// Notes that nothing received from now on may be executed or answered.
    pub(crate) fn deafen(&mut self) {
        self.deaf = true;
    }

    /// Notes a text message just before it is handed over.
    pub(crate) fn message(&mut self, text: &str) {
        if self.deaf || self.close_sent || self.closed {
            return;
        }
        let value = noex_json::parse(text, self.json_depth_max).ok();
        let object = value.as_ref().and_then(|value| value.as_object());
        let member = |name: &str| object.and_then(|object| object.get(name));
        let text_of = |name: &str| member(name).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
        let number_of = |name: &str| member(name).and_then(|v| v.as_number()).filter(|n| n.is_finite());
        let kind = text_of("type");
        let id = match kind.as_str() {
            "pong" if number_of("timestamp").is_some() => return,
            "pong" => 0.0,
            _ => number_of("id").unwrap_or_default(),
        };
        self.expected.push_back(Expected { id, kind, subscription: text_of("subscriptionId") });
    }

    /// Checks an effect as it is handed out.
    pub(crate) fn effect(&mut self, effect: &Effect) {
        assert!(!self.closed, "an effect after `Closed`: {effect:?}");
        let token = match effect {
            Effect::Authenticate { token, .. } => format!("{token:?}"),
            Effect::Store { token, .. }
            | Effect::Rules { token, .. }
            | Effect::Procedures { token, .. }
            | Effect::Server { token, .. }
            | Effect::Audit { token, .. } => format!("{token:?}"),
            Effect::Identity { token, .. } => format!("{token:?}"),
            Effect::Subscribe { token, .. } => format!("{token:?}"),
            Effect::SessionChanged(session) => {
                self.logged_in_once |= session.is_some();
                return;
            }
            Effect::Closed(_) => {
                self.closed = true;
                return;
            }
            Effect::Unsubscribe { .. } | _ => return,
        };
        // The number is unique among the kinds of tokens too.
        let number: String = token.chars().filter(|c| c.is_ascii_digit() || *c == ',').collect();
        let number = number.split(',').next().unwrap_or_default().to_owned();
        assert!(self.tokens.insert(number), "a token is reused: {token}");
        let open_to_all = matches!(
            effect,
            Effect::Authenticate { .. }
                | Effect::Server { call: ServerCall::Health, .. }
                | Effect::Identity {
                    call: IdentityCall::Login { .. } | IdentityCall::LoginWithSecret { .. },
                    ..
                }
        );
        assert!(
            open_to_all || !self.requires_auth || self.logged_in_once,
            "executed before login: {effect:?}"
        );
        assert!(!self.close_sent, "executed after the close frame: {effect:?}");
    }

    /// Checks a frame as it is handed out.
    pub(crate) fn frame(&mut self, frame: &Frame) {
        assert!(!self.close_sent, "a frame after the close frame: {frame:?}");
        let text = match frame {
            Frame::Close { reason, .. } => {
                assert!(reason.len() <= 123, "the reason does not fit a control frame");
                self.close_sent = true;
                return;
            }
            Frame::Text(text) => text.clone().into_string(),
        };
        let json: Json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("not JSON ({e}): {text}"));
        let kind = json["type"].as_str().unwrap_or_default();
        assert_eq!(kind == "welcome", !self.welcomed, "the welcome comes first and once: {text}");
        self.welcomed = true;
        let subscription = json["subscriptionId"].as_str().unwrap_or_default();
        match kind {
            "welcome" | "ping" => {}
            "system" => {
                if !subscription.is_empty() {
                    assert!(self.known.contains_key(subscription), "unknown to the client: {text}");
                }
                if json["event"] == "subscription_closed" {
                    self.known.remove(subscription);
                }
            }
            "push" => {
                let last = self.known.get_mut(subscription);
                let last =
                    last.unwrap_or_else(|| panic!("pushed before the result or after the end: {text}"));
                if json["channel"] == "subscription" {
                    let data = json.get("data").cloned();
                    assert_ne!(*last, data, "the same result twice: {text}");
                    *last = data;
                }
            }
            "result" | "error" => self.reply(&text, &json, kind == "result"),
            _ => panic!("an unknown frame: {text}"),
        }
    }

    fn reply(&mut self, text: &str, json: &Json, success: bool) {
        let request = self.expected.pop_front();
        let request = request.unwrap_or_else(|| panic!("an answer without a request: {text}"));
        assert_eq!(json["id"].as_f64(), Some(request.id), "not the turn of this answer: {text}, {request:?}");
        if !success {
            return;
        }
        let open_to_all = request.kind.starts_with("auth.") || request.kind == "server.health";
        assert!(open_to_all || !self.requires_auth || self.logged_in_once, "a result before login: {text}");
        match request.kind.as_str() {
            "store.subscribe" | "rules.subscribe" => {
                let id = json["data"]["subscriptionId"].as_str().unwrap_or_default();
                let fresh = self.known.insert(id.to_owned(), json["data"].get("data").cloned()).is_none();
                assert!(fresh, "the id of a subscription is reused: {text}");
            }
            "store.unsubscribe" | "rules.unsubscribe" => {
                self.known.remove(&request.subscription);
            }
            _ => {}
        }
    }

    /// Checks the state after a call, when all effects and frames have been taken.
    pub(crate) fn state(&self, connection: &Connection, reserved: usize, transport_held: usize) {
        assert_eq!(connection.is_closed(), self.closed, "`Closed` tells the end");
        let (results, events) = connection.subscription_counts();
        assert_eq!(reserved, results + events, "subscriptions reserved and counted");
        if self.closed {
            assert_eq!(connection.poll_timeout(), None);
            assert!(!connection.wants_read());
            assert_eq!((reserved, connection.in_flight()), (0, 0));
            return;
        }
        let queued = connection.queued_bytes();
        if connection.in_flight() == 0 {
            assert_eq!(queued, transport_held, "bytes queued");
            assert!(
                self.deaf || self.close_sent || self.expected.is_empty(),
                "accepted and never answered: {:?}",
                self.expected
            );
        } else {
            assert!(
                queued >= transport_held,
                "bytes queued: {queued}, held by the transport: {transport_held}"
            );
            assert!(!self.close_sent, "requests outlive the close frame");
        }
    }

    /// Checks that nothing is due any more.
    pub(crate) fn deadline(connection: &Connection, now: Now) {
        if let Some(at) = connection.poll_timeout() {
            assert!(at > now.mono, "due after it was handled: {at:?} at {:?}", now.mono);
        }
    }
}
