//! One client as the wire shows it: what it has asked, what it watches, and what it must never see.

mod replies;

use crate::{
    clock::EPOCH_MS,
    frame::{self, Item, Reader},
    link::ClientEnd,
    plan::{BUCKETS, Plan, TOKENS, TOPICS},
    random::Random,
    trace::Trace,
    watch::{Subject, Watch},
    witness::Witness,
};
use noex_host::Instant;
use serde_json::Value;
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// What a request asks for, as far as its answer is checked.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Login(usize),
    Logout,
    Whoami,
    /// `certain` = the query exists for sure.
    Subscribe {
        subject: Subject,
        certain: bool,
    },
    Unsubscribe {
        id: String,
        events: bool,
    },
    Insert {
        bucket: String,
        key: String,
    },
    Emit {
        topic: String,
        seq: u64,
    },
    Call {
        operation: &'static str,
        resource: String,
    },
    /// A call whose answer the observer keeps.
    Observe,
    /// Answered, whatever the answer is.
    Anything,
}

#[derive(Debug)]
struct Pending {
    id: i64,
    ask: Ask,
    sent: Instant,
    /// Place of its last byte among all that was sent.
    end: u64,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    Connecting,
    Upgraded,
    Open,
    /// The server has sent a close frame.
    Closed,
    /// The stream has ended, or this end has gone.
    Gone,
}

/// A link on which nothing but heartbeats was seen for so long has no short request or close frame under way.
const CALM: Duration = Duration::from_secs(1);
/// A heartbeat's frame is not longer, and every push is.
const HEARTBEAT_BYTES_MAX: usize = 64;

/// Habits of a client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Habits {
    pub(crate) ignores_pings: bool,
    pub(crate) ignores_close: bool,
    pub(crate) pauses: bool,
    pub(crate) pieces: usize,
}

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) serial: u64,
    pub(crate) random: Random,
    pub(crate) habits: Habits,
    pub(crate) link: Option<ClientEnd>,
    pub(crate) stage: Stage,
    pub(crate) reading: bool,
    pub(crate) resume_at: Option<Instant>,
    pub(crate) act_at: Instant,
    /// Has sent or received something else than a heartbeat, for the last time.
    pub(crate) stirred_at: Instant,
    /// Has sent something after which nothing it sends counts.
    pub(crate) spoiled: bool,
    /// Has been reading all the time.
    pub(crate) attentive: bool,
    pub(crate) close_code: Option<u16>,
    pub(crate) watches: BTreeMap<String, Watch>,
    pub(crate) session: Option<usize>,
    /// The session has ended by then, if it is one that ends.
    session_until: Option<Instant>,
    /// Time that the last ping was under way.
    ping_delay: Duration,
    /// Last number of its address.
    pub(crate) host: u8,
    /// The network takes everything at once.
    pub(crate) is_near: bool,
    pub(crate) answers: VecDeque<Value>,
    /// Records of the log that it knows to be there, since the world last asked.
    pub(crate) logged: Vec<String>,
    pub(crate) keys: u64,
    pending: VecDeque<Pending>,
    reader: Reader,
    next_id: i64,
    sent: u64,
    /// Replies up to this place were owed when reading began again, and their size so far and at most.
    owed: Option<(u64, usize, usize)>,
}

impl Client {
    pub(crate) fn new(
        serial: u64,
        link: ClientEnd,
        mut random: Random,
        habits: Habits,
        now: Instant,
    ) -> Self {
        let mask = random.fork();
        let client = Self {
            serial,
            random: mask,
            habits,
            link: Some(link),
            stage: Stage::Connecting,
            reading: true,
            resume_at: None,
            act_at: now,
            stirred_at: now,
            spoiled: false,
            attentive: true,
            close_code: None,
            watches: BTreeMap::new(),
            session: None,
            session_until: None,
            ping_delay: Duration::ZERO,
            host: 0,
            is_near: false,
            answers: VecDeque::new(),
            logged: Vec::new(),
            keys: 0,
            pending: VecDeque::new(),
            reader: Reader::default(),
            next_id: 1,
            sent: 0,
            owed: None,
        };
        if let Some(link) = &client.link {
            link.send(frame::UPGRADE.as_bytes(), client.habits.pieces);
        }
        client
    }

    pub(crate) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    pub(crate) fn unanswered(&self) -> usize {
        self.pending.len()
    }

    /// Nothing is under way, unless it is a heartbeat. These may never pause on all links at once.
    pub(crate) fn is_calm(&self, now: Instant) -> bool {
        let Some(link) = self.link.as_ref().filter(|link| link.next_arrival().is_some()) else { return true };
        let (to_server, to_client) = link.under_way();
        self.stirred_at + CALM <= now
            && to_server <= HEARTBEAT_BYTES_MAX
            && to_client + self.reader.partial() <= HEARTBEAT_BYTES_MAX
    }

    /// Sends one frame.
    pub(crate) fn send(&mut self, now: Instant, trace: &mut Trace, first: u8, payload: &[u8]) {
        self.stirred_at = now;
        self.send_frame(now, trace, first, payload);
    }

    fn send_frame(&mut self, now: Instant, trace: &mut Trace, first: u8, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(payload.len() + 14);
        let mask = u32::try_from(self.random.bits() >> 32).unwrap_or(0);
        frame::write(&mut bytes, first, mask, payload);
        trace.messages += 1;
        trace.note(now, self.serial, "->", &String::from_utf8_lossy(payload));
        self.send_raw(&bytes);
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.sent += bytes.len() as u64;
        if let Some(link) = &self.link {
            link.send(bytes, self.habits.pieces);
        }
    }

    /// Sends a request; `rest` are its members beside id and type.
    pub(crate) fn ask(&mut self, now: Instant, trace: &mut Trace, ask: Ask, operation: &str, rest: &str) {
        let id = self.next_id;
        self.next_id += 1;
        let comma = if rest.is_empty() { "" } else { "," };
        let text = format!(r#"{{"id":{id},"type":"{operation}"{comma}{rest}}}"#);
        self.send(now, trace, frame::TEXT, text.as_bytes());
        self.pending.push_back(Pending { id, ask, sent: now, end: self.sent });
    }

    /// Sends a text that is answered with an error without an id.
    pub(crate) fn send_nonsense(&mut self, now: Instant, trace: &mut Trace, text: &str) {
        self.send(now, trace, frame::TEXT, text.as_bytes());
        self.pending.push_back(Pending { id: 0, ask: Ask::Anything, sent: now, end: self.sent });
    }

    pub(crate) fn pause(&mut self, until: Option<Instant>) {
        self.reading = false;
        self.attentive = false;
        self.resume_at = until;
    }

    pub(crate) fn resume(&mut self) {
        if self.reading {
            return;
        }
        self.reading = true;
        self.resume_at = None;
        // What lies in the reader's own buffer has been read and not been executed.
        let consumed = self.link.as_ref().map_or(0, ClientEnd::consumed).saturating_sub(8192);
        let owes_login = self.pending.iter().any(|p| matches!(p.ask, Ask::Login(_)));
        self.owed = (!owes_login).then_some((consumed, 0, 0));
    }

    /// Takes what has arrived, if it reads at all.
    pub(crate) fn receive(&mut self, now: Instant, plan: &Plan, witness: &mut Witness) -> Result<(), String> {
        let Some(link) = self.link.as_ref().filter(|_| self.reading) else { return Ok(()) };
        let bytes = link.take();
        let ended = link.is_at_end();
        self.reader.feed(&bytes);
        while let Some(item) = self.reader.next()? {
            if !matches!(&item, Item::Text(text) if text.starts_with(r#"{"type":"ping""#)) {
                self.stirred_at = now;
            }
            witness.trace.messages += 1;
            match &item {
                Item::Text(text) => witness.trace.note(now, self.serial, "<-", text),
                Item::Http(_) | Item::Pong | Item::Close(..) => {
                    witness.trace.note(now, self.serial, "<-", &format!("{item:?}"));
                }
            }
            self.take_item(now, plan, witness, item)?;
        }
        if ended {
            witness.trace.note(now, self.serial, "end", "");
            self.stage = Stage::Gone;
            self.link = None;
        }
        Ok(())
    }

    fn take_item(
        &mut self,
        now: Instant,
        plan: &Plan,
        witness: &mut Witness,
        item: Item,
    ) -> Result<(), String> {
        if self.stage == Stage::Closed {
            return Err(format!("after the close frame: {item:?}"));
        }
        match item {
            Item::Http(status) if self.stage == Stage::Connecting => {
                if status.starts_with("HTTP/1.1 101 ") {
                    self.stage = Stage::Upgraded;
                } else if !status.starts_with("HTTP/1.1 503 ") {
                    return Err(format!("unexpected answer: {status}"));
                }
                Ok(())
            }
            Item::Http(status) => Err(format!("unexpected answer: {status}")),
            Item::Pong => Ok(()),
            Item::Close(code, reason) => self.take_close(now, plan, witness, code, &reason),
            Item::Text(text) => {
                let value: Value = serde_json::from_str(&text).map_err(|e| format!("{e}: {text}"))?;
                self.take_message(now, plan, witness, &text, &value)
            }
        }
    }

    fn take_close(
        &mut self,
        now: Instant,
        plan: &Plan,
        witness: &mut Witness,
        code: Option<u16>,
        reason: &str,
    ) -> Result<(), String> {
        self.stage = Stage::Closed;
        self.close_code = code;
        let faultless = self.attentive && !self.spoiled;
        let right = match (code, reason) {
            (Some(1000), "server_shutdown") | (Some(1001), "server_shutting_down") => true,
            (Some(4002), "session_revoked") | (Some(4003), "too_many_connections") => true,
            (Some(1003), "binary_not_supported") | (Some(1002 | 1007 | 1009), "") => self.spoiled,
            // A ping that the network does not take in time counts as unanswered.
            (Some(4001), "heartbeat_timeout") => {
                !faultless
                    || self.habits.ignores_pings
                    || self.ping_delay >= plan.options.connection.backpressure.stall_timeout
            }
            (Some(1013), "slow_consumer") => !faultless,
            (Some(4004), "auth_timeout") => plan.options.connection.auth_timeout.is_some(),
            (Some(1008), _) => true,
            // The echo of its own.
            (Some(3000), _) => self.spoiled,
            _ => false,
        };
        if !right {
            return Err(format!("closed with {code:?} {reason:?}, for which there is no reason"));
        }
        if !self.habits.ignores_close {
            let code = code.unwrap_or(1000).to_be_bytes();
            self.send(now, &mut witness.trace, frame::CLOSE, &code);
            if let Some(link) = &self.link {
                link.end();
            }
        }
        Ok(())
    }

    fn take_message(
        &mut self,
        now: Instant,
        plan: &Plan,
        witness: &mut Witness,
        text: &str,
        value: &Value,
    ) -> Result<(), String> {
        let kind = value["type"].as_str().ok_or("a message has a type")?;
        match (self.stage, kind) {
            (Stage::Upgraded, "welcome") => {
                self.stage = Stage::Open;
                if value["requiresAuth"] != (plan.rights.tokens && plan.rights.required) {
                    return Err("the welcome is wrong about logins".into());
                }
                return Ok(());
            }
            (Stage::Open, "result" | "error") => self.take_reply(now, plan, witness, text.len(), value)?,
            (Stage::Open, "push") => self.take_push(plan, witness, value)?,
            (Stage::Open, "system") => self.take_notice(value)?,
            (Stage::Open, "ping") => {
                let sent_ms = value["timestamp"].as_u64().ok_or("a ping tells the time")?;
                self.ping_delay = Duration::from_millis((EPOCH_MS + now.as_millis()).saturating_sub(sent_ms));
                if !self.habits.ignores_pings && !self.spoiled {
                    let pong = format!(r#"{{"type":"pong","timestamp":{}}}"#, value["timestamp"]);
                    self.send_frame(now, &mut witness.trace, frame::TEXT, pong.as_bytes());
                }
            }
            _ => return Err(format!("a {kind} in the stage {:?}", self.stage)),
        }
        self.check_marks(plan, text)
    }

    /// Nobody sees records or events that are none of his business.
    fn check_marks(&self, plan: &Plan, text: &str) -> Result<(), String> {
        if !text.contains('@') {
            return Ok(());
        }
        for name in BUCKETS.iter().map(|(name, _)| *name).chain(["temp"]) {
            let may = plan.rights.permits(self.session, "store.get", name)
                || (TOPICS.contains(&name)
                    && plan.rights.permits(self.session, "rules.subscribe", &format!("{name}.x")));
            if !may && text.contains(&format!("@{name}")) {
                return Err(format!("sees {name} as {:?}", self.session.map(|t| TOKENS[t].text)));
            }
        }
        Ok(())
    }

    fn take_notice(&mut self, value: &Value) -> Result<(), String> {
        let id = value["subscriptionId"].as_str();
        match value["event"].as_str() {
            Some("shutdown") => Ok(()),
            Some("session_revoked") => {
                self.session = None;
                Ok(())
            }
            Some("events_dropped") if id.is_some_and(|id| self.watches.contains_key(id)) => Ok(()),
            Some("subscription_closed") => match id.and_then(|id| self.watches.remove(id)) {
                Some(_) => Ok(()),
                None => Err(format!("the end of a subscription that is not known: {value}")),
            },
            _ => Err(format!("a strange notice: {value}")),
        }
    }

    fn take_push(&mut self, plan: &Plan, witness: &Witness, value: &Value) -> Result<(), String> {
        let id = value["subscriptionId"].as_str().unwrap_or_default();
        if plan.rights.tokens && plan.rights.required && self.session.is_none() {
            return Err("a push without a login".into());
        }
        let Some(watch) = self.watches.get_mut(id) else {
            return Err(format!("a push for a subscription that is not known: {value}"));
        };
        if value["channel"] == "event" {
            return watch.take_event(&value["data"]);
        }
        watch.take_state(value.get("data"), true, witness.history.as_ref())?;
        self.logged.append(&mut watch.shown("log"));
        // The result of a change precedes what it causes.
        for record in value["data"].as_array().into_iter().flatten() {
            let own = |pending: &Pending| {
                matches!(&pending.ask, Ask::Insert { key, bucket } if record["id"] == **key
                    && record["m"] == format!("@{bucket}"))
            };
            if self.pending.iter().any(own) {
                return Err(format!("a push shows an insert before its result: {record}"));
            }
        }
        Ok(())
    }
}
