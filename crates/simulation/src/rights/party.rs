//! One user of the server: what was asked, what is watched, and what must not be seen.

use super::timeline::{BUCKET, Timeline};
use crate::{
    frame::{self, Item, Reader},
    link::ClientEnd,
    random::Random,
    trace::Trace,
};
use noex_host::Instant;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};

#[derive(Clone, Debug)]
pub(super) enum Ask {
    Login,
    Subscribe,
    Unsubscribe(String),
    Read,
    /// Whoever manages users keeps the answers.
    Manage,
}

#[derive(Debug)]
struct Pending {
    id: i64,
    ask: Ask,
    /// The state when it was sent.
    from: u64,
}

#[derive(Debug)]
pub(super) struct Party {
    pub(super) serial: u64,
    pub(super) name: String,
    /// The user's id.
    pub(super) user: String,
    pub(super) link: Option<ClientEnd>,
    pub(super) act_at: Instant,
    pub(super) random: Random,
    pub(super) answers: VecDeque<Value>,
    pub(super) logged_in: bool,
    reader: Reader,
    pending: VecDeque<Pending>,
    /// Subscriptions, each with what was shown last.
    watches: BTreeMap<String, Value>,
    next_id: i64,
}

impl Party {
    pub(super) fn new(serial: u64, name: &str, user: &str, random: Random) -> Self {
        Self {
            serial,
            name: name.into(),
            user: user.into(),
            link: None,
            act_at: Instant::default(),
            random,
            answers: VecDeque::new(),
            logged_in: false,
            reader: Reader::default(),
            pending: VecDeque::new(),
            watches: BTreeMap::new(),
            next_id: 1,
        }
    }

    /// Begins anew on another link.
    pub(super) fn connect(&mut self, link: ClientEnd) {
        link.send(frame::UPGRADE.as_bytes(), 1);
        self.leave();
        self.link = Some(link);
    }

    /// Hangs up without a word.
    pub(super) fn leave(&mut self) {
        self.link = None;
        self.logged_in = false;
        self.reader = Reader::default();
        self.pending.clear();
        self.watches.clear();
    }

    pub(super) fn ask(&mut self, now: Instant, state: u64, trace: &mut Trace, ask: Ask, request: Value) {
        let (id, mut request) = (self.next_id, request);
        self.next_id += 1;
        request["id"] = id.into();
        self.send(now, trace, frame::TEXT, request.to_string().as_bytes());
        self.pending.push_back(Pending { id, ask, from: state });
    }

    fn send(&mut self, now: Instant, trace: &mut Trace, first: u8, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(payload.len() + 14);
        let mask = u32::try_from(self.random.bits() >> 32).unwrap_or(0);
        frame::write(&mut bytes, first, mask, payload);
        trace.messages += 1;
        trace.note(now, self.serial, "->", &String::from_utf8_lossy(payload));
        self.link.iter().for_each(|link| link.send(&bytes, 1));
    }

    pub(super) fn unanswered(&self) -> usize {
        self.pending.len()
    }

    /// Does something of what a user does.
    pub(super) fn act(&mut self, now: Instant, timeline: &Timeline, trace: &mut Trace) {
        if !self.logged_in {
            if self.pending.is_empty() && timeline.is_enabled(&self.user) {
                let login = json!({"type": "identity.login", "username": self.name, "password": "password"});
                self.ask(now, timeline.now, trace, Ask::Login, login);
            }
            return;
        }
        let (ask, request) = match self.random.below(10) {
            0..4 if self.watches.len() < 3 => {
                (Ask::Subscribe, json!({"type": "store.subscribe", "query": "all"}))
            }
            4 if !self.watches.is_empty() => {
                let place = self.random.below(self.watches.len());
                let Some(id) = self.watches.keys().nth(place).cloned() else { return };
                let request = json!({"type": "store.unsubscribe", "subscriptionId": id});
                (Ask::Unsubscribe(id), request)
            }
            5 if self.random.chance(10) => {
                trace.note(now, self.serial, "vanishes", "");
                return self.leave();
            }
            _ => (Ask::Read, json!({"type": "store.all", "bucket": BUCKET})),
        };
        self.ask(now, timeline.now, trace, ask, request);
    }

    /// Takes what has arrived.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        timeline: &Timeline,
        trace: &mut Trace,
    ) -> Result<(), String> {
        let Some(link) = &self.link else { return Ok(()) };
        self.reader.feed(&link.take());
        let ended = link.is_at_end();
        while let Some(item) = self.reader.next()? {
            trace.messages += 1;
            match item {
                Item::Text(text) => {
                    trace.note(now, self.serial, "<-", &text);
                    let message = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
                    self.take(&message, timeline)?;
                }
                Item::Close(code, _) => {
                    trace.note(now, self.serial, "<- close", &format!("{code:?}"));
                    if code != Some(4002) {
                        return Err(format!("closed with {code:?}"));
                    }
                    self.leave();
                    return Ok(());
                }
                Item::Http(_) | Item::Pong => {}
            }
        }
        if ended {
            self.leave();
        }
        Ok(())
    }

    fn take(&mut self, message: &Value, timeline: &Timeline) -> Result<(), String> {
        match message["type"].as_str() {
            Some("welcome") => Ok(()),
            Some("result" | "error") => self.take_reply(message, timeline),
            Some("push") => {
                let watch = message["subscriptionId"].as_str().and_then(|id| self.watches.get_mut(id));
                let watch = watch.ok_or_else(|| format!("a push that nobody waits for: {message}"))?;
                timeline.check_push(&self.user, &message["data"])?;
                watch.clone_from(&message["data"]);
                Ok(())
            }
            Some("system") => match (message["event"].as_str(), message["subscriptionId"].as_str()) {
                (Some("session_revoked"), _) => Ok(()),
                (Some("subscription_closed"), Some(id)) if self.watches.remove(id).is_some() => Ok(()),
                _ => Err(format!("a strange notice: {message}")),
            },
            _ => Err(format!("a strange message: {message}")),
        }
    }

    fn take_reply(&mut self, message: &Value, timeline: &Timeline) -> Result<(), String> {
        let Pending { id, ask, from } = self.pending.pop_front().ok_or("an answer to nothing")?;
        if message["id"] != id {
            return Err(format!("answers out of order: {message}"));
        }
        let data = &message["data"];
        match (message["code"].as_str(), ask) {
            (_, Ask::Manage) => self.answers.push_back(message.clone()),
            (None, Ask::Login) => self.logged_in = true,
            (None, Ask::Read) => timeline.check_answer(&self.user, from, data)?,
            (None, Ask::Subscribe) => {
                timeline.check_answer(&self.user, from, &data["data"])?;
                let id = data["subscriptionId"].as_str().unwrap_or_default().to_owned();
                self.watches.insert(id, data["data"].clone());
            }
            (None, Ask::Unsubscribe(id)) => drop(self.watches.remove(&id)),
            (Some("FORBIDDEN"), Ask::Read | Ask::Subscribe) => {
                if timeline.always(&self.user, from) {
                    return Err(format!("forbidden, but it never was since it was asked: {message}"));
                }
            }
            // It ended meanwhile, or was given back already.
            (Some("FORBIDDEN" | "NOT_FOUND"), Ask::Unsubscribe(_)) => {}
            // He was disabled meanwhile.
            (Some("UNAUTHORIZED"), Ask::Login) => {}
            _ => return Err(format!("a strange answer: {message}")),
        }
        Ok(())
    }

    /// Checks what is watched when nothing is under way.
    pub(super) fn check_rest(&self, timeline: &Timeline) -> Result<(), String> {
        if !self.pending.is_empty() {
            return Err(format!("{} requests have no answer", self.pending.len()));
        }
        if !timeline.may(&self.user) && !self.watches.is_empty() {
            return Err("keeps a subscription without a right".into());
        }
        let records = timeline.records();
        match self.watches.iter().find(|(_, last)| **last != records) {
            Some((id, last)) => Err(format!("{id} is left with {last} instead of {records}")),
            None => Ok(()),
        }
    }
}
