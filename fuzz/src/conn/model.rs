//! A small model of one connection: who is logged in, what is charged, which replies are due and in what order, what
//! subscribers are told. Without flow control: the network takes everything at once.
//!
//! Everything it says is text: frames in [`Model::said`], effects in [`Model::done`], charges in [`Model::charged`].

use super::requests::{Kind, Request};
use noex_core::{Delivery, Tier};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Rules and limits of a connection. Times in ms.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// `None` = there is no login.
    pub(super) auth: Option<Auth>,
    pub(super) rules: bool,
    pub(super) requests_max: usize,
    pub(super) subscriptions_max: usize,
    pub(super) reserved_max: usize,
    pub(super) events_max: usize,
    pub(super) auth_timeout_ms: Option<u64>,
    pub(super) close_timeout_ms: u64,
    pub(super) drain_timeout_ms: u64,
    /// Requests per window of so many ms.
    pub(super) limit: Option<(usize, u64)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Auth {
    pub(super) required: bool,
    pub(super) anonymous: Option<&'static str>,
    pub(super) strict: bool,
    /// Whether there are permissions, and what holds where none allows.
    pub(super) permissions: Option<bool>,
}

/// An identity; its role is its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Who {
    pub(super) name: &'static str,
    pub(super) expires_at_ms: Option<u64>,
}

/// What the authenticator says of a credential.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Known(Who),
    Invalid,
    /// The user of this name is revoked.
    Revoked(&'static str),
    Broken,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    Open,
    Draining { code: u16, until: u64 },
    Closing { until: u64 },
    Closed,
}

/// A place in the order of replies.
#[derive(Debug)]
struct Slot {
    number: u64,
    id: usize,
    /// Nothing behind it may begin: until it is answered (a login), or until it has left.
    barrier: Option<Barrier>,
    /// The reply, and the subscription that it tells of.
    reply: Option<(String, Option<u64>)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Barrier {
    Login,
    Definition,
}

#[derive(Debug)]
struct Subscription {
    /// What it watches.
    watched: &'static str,
    known: bool,
    ended: Option<&'static str>,
    stream: Stream,
}

#[derive(Debug)]
enum Stream {
    Results { sent: Option<(u64, String)>, latest: Option<(u64, String)> },
    Events { kept: VecDeque<String>, dropped: u64 },
}

/// Plain list of times of one key.
#[derive(Debug, Default)]
struct Log {
    accepted: Vec<u64>,
    excess: (usize, u64),
}

#[derive(Debug)]
pub(super) struct Model {
    rules: Rules,
    pub(super) phase: Phase,
    pub(super) who: Option<Who>,
    expiry: Option<u64>,
    expiry_untold: bool,
    login_deadline: Option<u64>,
    slots: VecDeque<Slot>,
    next_slot: u64,
    waiting: VecDeque<Request>,
    live: BTreeMap<u64, Subscription>,
    last_subscription: u64,
    /// Ended by the server and not yet unsubscribed.
    ended: BTreeSet<u64>,
    /// Results that follow once no complete reply waits.
    after_replies: BTreeSet<u64>,
    logs: BTreeMap<String, Log>,
    /// Clocks in ms: monotonic, and wall.
    pub(super) now: u64,
    pub(super) unix: u64,
    pub(super) said: Vec<String>,
    /// Effects, with the slot that an answer fills.
    pub(super) done: Vec<(String, Option<u64>)>,
    pub(super) charged: Vec<String>,
}

impl Model {
    pub(super) fn new(rules: Rules, now: u64, unix: u64) -> Self {
        let required = rules.auth.is_some_and(|auth| auth.required);
        let login_deadline = rules.auth_timeout_ms.filter(|_| required).map(|span| now + span);
        Self {
            rules,
            phase: Phase::Open,
            who: None,
            expiry: None,
            expiry_untold: false,
            login_deadline,
            slots: VecDeque::new(),
            next_slot: 0,
            waiting: VecDeque::new(),
            live: BTreeMap::new(),
            last_subscription: 0,
            ended: BTreeSet::new(),
            after_replies: BTreeSet::new(),
            logs: BTreeMap::new(),
            now,
            unix,
            said: vec![format!("welcome {required}")],
            done: Vec::new(),
            charged: Vec::new(),
        }
    }

    fn say(&mut self, text: impl Into<String>) {
        self.said.push(text.into());
    }

    fn works(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Draining { .. })
    }

    fn required(&self) -> bool {
        self.rules.auth.is_some_and(|auth| auth.required)
    }

    // ---- What can be asked ----

    pub(super) fn in_flight(&self) -> usize {
        self.slots.len() + self.waiting.len()
    }

    pub(super) fn wants_read(&self) -> bool {
        match self.phase {
            Phase::Open => self.in_flight() < self.rules.requests_max.max(1),
            Phase::Draining { .. } | Phase::Closing { .. } => true,
            Phase::Closed => false,
        }
    }

    pub(super) fn counts(&self) -> (usize, usize) {
        let events = self.live.values().filter(|live| matches!(live.stream, Stream::Events { .. })).count();
        (self.live.len() - events, events)
    }

    /// The next deadline, heartbeats aside.
    pub(super) fn deadline(&self) -> Option<u64> {
        match self.phase {
            Phase::Closed => None,
            Phase::Closing { until } => Some(until),
            Phase::Draining { until, .. } => {
                [Some(until), self.expiry, self.login_deadline].into_iter().flatten().min()
            }
            Phase::Open => [self.expiry, self.login_deadline].into_iter().flatten().min(),
        }
    }

    // ---- Messages ----

    pub(super) fn text(&mut self, request: &Request) {
        if self.phase != Phase::Open {
            return;
        }
        if !self.blocked() && self.waiting.is_empty() {
            return self.begin(request);
        }
        if matches!(request.kind, Kind::Pong) {
            return;
        }
        if self.in_flight() < 2 * self.rules.requests_max.max(1) {
            self.waiting.push_back(request.clone());
        } else {
            self.close_now(1008);
        }
    }

    fn blocked(&self) -> bool {
        self.slots.iter().any(|slot| match slot.barrier {
            Some(Barrier::Login) => slot.reply.is_none(),
            Some(Barrier::Definition) => true,
            None => false,
        })
    }

    fn begin(&mut self, request: &Request) {
        let name = match &request.kind {
            Kind::Pong => return,
            Kind::NotJson => return self.refuse(request, "PARSE_ERROR"),
            Kind::Incomplete | Kind::BadPong => return self.refuse(request, "INVALID_REQUEST"),
            Kind::Operation(name) => *name,
        };
        if self.slots.len() >= self.rules.requests_max.max(1) {
            return self.error(request, "BACKPRESSURE");
        }
        let open = name.starts_with("auth.") || matches!(name, "ping" | "server.health" | "identity.login");
        if !open && let Err(code) = self.admit(request, name) {
            return self.refuse(request, code);
        }
        if !self.charge() {
            return self.error(request, "RATE_LIMITED");
        }
        let family = name.split('.').next().unwrap_or_default();
        match (family, &self.rules.auth) {
            ("rules", _) if !self.rules.rules => return self.error(request, "RULES_NOT_AVAILABLE"),
            ("identity" | "audit", _) | ("auth", None) => return self.error(request, "UNKNOWN_OPERATION"),
            _ => {}
        }
        if name.ends_with("nope") || matches!(name, "ping" | "server.revokeSession") {
            return self.error(request, "UNKNOWN_OPERATION");
        }
        self.dispatch(request, name);
    }

    fn admit(&mut self, request: &Request, name: &str) -> Result<(), &'static str> {
        if self.is_expired() {
            self.leave("session_expired");
            self.expiry_untold = true;
        }
        if std::mem::take(&mut self.expiry_untold) || (self.who.is_none() && self.required()) {
            return Err("UNAUTHORIZED");
        }
        let resource = match name {
            "store.stats" | "store.purgeTtl" => "*",
            _ => request.field.unwrap_or("*"),
        };
        let tier = request.tier();
        let allowed = self.allowed(name, tier, resource)
            && (name != "store.defineQuery"
                || self.allowed("store.where", None, if request.field.is_some() { "a" } else { "*" }));
        if allowed { Ok(()) } else { Err("FORBIDDEN") }
    }

    fn is_expired(&self) -> bool {
        self.who.as_ref().and_then(|who| who.expires_at_ms).is_some_and(|at| at < self.unix)
    }

    /// Tier and permissions of whoever speaks.
    fn allowed(&self, name: &str, tier: Option<Tier>, resource: &str) -> bool {
        let Some(auth) = self.rules.auth else { return true };
        let Some(role) = self.who.as_ref().map(|who| who.name).or(auth.anonymous) else { return true };
        let level = match role {
            "admin" => Some(Tier::Admin),
            "writer" => Some(Tier::Write),
            "reader" => Some(Tier::Read),
            _ => None,
        };
        if tier.is_some_and(|tier| level.map_or(auth.strict, |level| level < tier)) {
            return false;
        }
        let Some(default) = auth.permissions else { return true };
        default
            || match role {
                "admin" => true,
                "reader" => match name {
                    "store.unsubscribe" => true,
                    "rules.subscribe" => resource.starts_with("order."),
                    // The query, or the bucket that it reads.
                    "store.subscribe" => matches!(resource, "qa" | "qb"),
                    _ => name.starts_with("store.") && matches!(resource, "a" | "qb"),
                },
                _ => false,
            }
    }

    fn dispatch(&mut self, request: &Request, name: &'static str) {
        let Some(field) = request.field.or(match name {
            "auth.logout" | "auth.whoami" | "server.health" | "server.stats" | "server.connections"
            | "store.stats" | "store.purgeTtl" => Some(""),
            _ => None,
        }) else {
            let full = name.ends_with(".subscribe") && self.subscriptions_full();
            return self.error(request, if full { "RATE_LIMITED" } else { "VALIDATION_ERROR" });
        };
        match name {
            "auth.login" => self.open(request, format!("login {field}"), Some(Barrier::Login)),
            "auth.logout" => {
                self.answer(request.id, format!("result {} {{\"loggedOut\":true}}", request.id));
                self.leave("logged_out");
            }
            "auth.whoami" => {
                if self.is_expired() {
                    self.leave("session_expired");
                }
                self.expiry_untold = false;
                let shown =
                    self.who.as_ref().map_or("{\"authenticated\":false}".to_owned(), |who| shown(who, true));
                self.answer(request.id, format!("result {} {shown}", request.id));
            }
            "store.subscribe" | "rules.subscribe" => self.subscribe(request, name, field),
            "store.unsubscribe" | "rules.unsubscribe" => self.unsubscribe(request, name, field),
            "store.dropBucket" | "store.defineQuery" | "store.undefineQuery" => {
                self.open(request, format!("{name} {field}"), Some(Barrier::Definition));
            }
            _ => self.open(request, format!("{name} {field}"), None),
        }
    }

    fn open(&mut self, request: &Request, effect: String, barrier: Option<Barrier>) {
        let number = self.next_slot;
        self.next_slot += 1;
        self.slots.push_back(Slot { number, id: request.id, barrier, reply: None });
        self.done.push((effect.trim_end().to_owned(), Some(number)));
    }

    fn answer(&mut self, id: usize, text: String) {
        if self.slots.is_empty() {
            self.say(text);
        } else {
            let number = self.next_slot;
            self.next_slot += 1;
            self.slots.push_back(Slot { number, id, barrier: None, reply: Some((text, None)) });
        }
    }

    fn error(&mut self, request: &Request, code: &str) {
        let id = request.echoed();
        self.answer(id, format!("error {id} {code}"));
    }

    // ---- Charges ----

    fn charge(&mut self) -> bool {
        let key = self.who.as_ref().map_or("address".to_owned(), |who| format!("user {}", who.name));
        self.charged.push(key.clone());
        self.within(&key)
    }

    fn within(&mut self, key: &str) -> bool {
        let Some((max, window)) = self.rules.limit else { return true };
        let now = self.now;
        let log = self.logs.entry(key.to_owned()).or_default();
        log.accepted.retain(|at| at + window > now);
        let within = log.accepted.len() < max;
        if within {
            log.accepted.push(now);
        }
        within
    }

    /// Refusals have a budget of their own; at ten times of it the connection ends.
    fn refuse(&mut self, request: &Request, code: &str) {
        self.charged.push("refused".into());
        if self.within("refused") {
            return self.error(request, code);
        }
        let Some((max, window)) = self.rules.limit else { return };
        let now = self.now;
        let log = self.logs.entry("refused".to_owned()).or_default();
        if log.excess.1 + window <= now {
            log.excess = (0, now);
        }
        log.excess.0 += 1;
        if log.excess.0 > 9 * max { self.close_now(1008) } else { self.error(request, "RATE_LIMITED") }
    }

    // ---- Subscriptions ----

    fn subscriptions_full(&self) -> bool {
        self.live.len() >= self.rules.subscriptions_max.min(self.rules.reserved_max)
    }

    fn subscribe(&mut self, request: &Request, name: &str, watched: &'static str) {
        if self.subscriptions_full() {
            return self.error(request, "RATE_LIMITED");
        }
        self.last_subscription += 1;
        let stream = if name == "store.subscribe" {
            Stream::Results { sent: None, latest: None }
        } else {
            Stream::Events { kept: VecDeque::new(), dropped: 0 }
        };
        self.live.insert(self.last_subscription, Subscription { watched, known: false, ended: None, stream });
        self.open(request, format!("subscribe {} {watched}", self.last_subscription), None);
    }

    fn unsubscribe(&mut self, request: &Request, name: &str, field: &str) {
        let number: u64 = match field {
            "sub-01" => 0,
            _ => field.trim_start_matches("sub-").parse().unwrap_or_default(),
        };
        let results = name == "store.unsubscribe";
        let live = self.live.get(&number);
        let found = if live.is_some_and(|live| matches!(live.stream, Stream::Results { .. }) == results) {
            self.forget(number);
            true
        } else {
            self.ended.remove(&number)
        };
        if found {
            self.answer(request.id, format!("result {} {{\"unsubscribed\":true}}", request.id));
        } else {
            self.error(request, "NOT_FOUND");
        }
    }

    fn forget(&mut self, number: u64) {
        self.live.remove(&number);
        self.after_replies.remove(&number);
        self.done.push((format!("unsubscribe {number}"), None));
    }

    pub(super) fn end(&mut self, number: u64, reason: &'static str) {
        if !self.works() {
            return;
        }
        let Some(live) = self.live.get_mut(&number) else { return };
        if live.known {
            self.forget(number);
            self.ended.insert(number);
            self.say(format!("ended {number} {reason}"));
        } else {
            live.ended = Some(reason);
        }
    }

    fn reply_waits(&self) -> bool {
        self.slots.iter().any(|slot| slot.reply.is_some())
    }

    pub(super) fn push_result(&mut self, number: u64, version: u64, data: &str) -> Delivery {
        let waits = self.reply_waits();
        let works = self.works();
        let Some(live) = self.live.get_mut(&number).filter(|_| works) else { return Delivery::Unknown };
        let Stream::Results { sent, latest } = &mut live.stream else { return Delivery::Unknown };
        if sent.iter().chain(latest.iter()).any(|(known, _)| *known >= version) {
            return Delivery::Unchanged;
        }
        *latest = Some((version, data.to_owned()));
        if !live.known {
            return Delivery::Deferred;
        }
        if waits {
            self.after_replies.insert(number);
            return Delivery::Deferred;
        }
        if self.show_latest(number) { Delivery::Queued } else { Delivery::Unchanged }
    }

    /// Tells whether there was something new.
    fn show_latest(&mut self, number: u64) -> bool {
        let Some(live) = self.live.get_mut(&number) else { return false };
        let Stream::Results { sent, latest } = &mut live.stream else { return false };
        let Some((version, data)) = latest.take() else { return false };
        let new = sent.as_ref().is_none_or(|(_, known)| *known != data);
        *sent = Some((version, data.clone()));
        if new {
            self.say(format!("push {number} {data}").trim_end());
        }
        new
    }

    pub(super) fn push_event(&mut self, number: u64, event: &str) -> Delivery {
        let (works, max) = (self.works(), self.rules.events_max);
        let Some(live) = self.live.get_mut(&number).filter(|_| works) else { return Delivery::Unknown };
        let known = live.known;
        let Stream::Events { kept, dropped } = &mut live.stream else { return Delivery::Unknown };
        if known {
            self.say(format!("event {number} {event}"));
            return Delivery::Queued;
        }
        kept.push_back(event.to_owned());
        if kept.len() > max {
            kept.pop_front();
            *dropped += 1;
        }
        Delivery::Deferred
    }

    pub(super) fn drop_events(&mut self, number: u64, count: u64) {
        let Some(live) = self.live.get_mut(&number) else { return };
        let Stream::Events { dropped, .. } = &mut live.stream else { return };
        if !live.known {
            *dropped += count;
        } else if count > 0 {
            self.say(format!("dropped {number} {count}"));
        }
    }

    fn make_known(&mut self, number: u64) {
        let Some(live) = self.live.get_mut(&number) else { return };
        live.known = true;
        if let Some(reason) = live.ended {
            return self.end(number, reason);
        }
        match &mut live.stream {
            Stream::Results { .. } if self.slots.iter().any(|slot| slot.reply.is_some()) => {
                self.after_replies.insert(number);
            }
            Stream::Results { .. } => drop(self.show_latest(number)),
            Stream::Events { kept, dropped } => {
                let (kept, dropped) = (std::mem::take(kept), std::mem::take(dropped));
                kept.iter().for_each(|event| self.said.push(format!("event {number} {event}")));
                if dropped > 0 {
                    self.say(format!("dropped {number} {dropped}"));
                }
            }
        }
    }

    // ---- Answers ----

    fn slot(&mut self, number: u64) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.number == number)
    }

    fn fill(&mut self, number: u64, outcome: Result<String, &str>, tells: Option<u64>) {
        let Some(slot) = self.slot(number) else { return };
        let id = slot.id;
        let text = match outcome {
            Ok(data) => format!("result {id} {data}").trim_end().to_owned(),
            Err(code) => format!("error {id} {code}"),
        };
        slot.reply = Some((text, tells));
        self.release();
    }

    fn release(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.reply.is_some()) {
            let Some((text, tells)) = self.slots.pop_front().and_then(|slot| slot.reply) else { break };
            self.say(text);
            tells.into_iter().for_each(|number| self.make_known(number));
        }
        if !self.reply_waits() {
            for number in std::mem::take(&mut self.after_replies) {
                self.show_latest(number);
            }
        }
        while self.works() && !self.blocked() {
            let Some(request) = self.waiting.pop_front() else { break };
            self.begin(&request);
        }
        if let Phase::Draining { code, .. } = self.phase
            && self.in_flight() == 0
        {
            self.close_now(code);
        }
    }

    /// Answers an operation; `None` = not found.
    pub(super) fn reply(&mut self, number: u64, data: Option<&str>) {
        self.fill(number, data.map(str::to_owned).ok_or("NOT_FOUND"), None);
    }

    pub(super) fn reply_subscribe(&mut self, number: u64, subscription: u64, state: Option<(u64, &str)>) {
        if self.slot(number).is_none() {
            return;
        }
        let Some((version, data)) = state else {
            self.live.remove(&subscription);
            self.after_replies.remove(&subscription);
            return self.fill(number, Err("NOT_FOUND"), None);
        };
        if let Some(Stream::Results { sent, latest }) =
            self.live.get_mut(&subscription).map(|live| &mut live.stream)
        {
            latest.take_if(|latest| latest.0 <= version);
            *sent = Some((version, data.to_owned()));
        }
        let member = if data.is_empty() { String::new() } else { format!(",\"data\":{data}") };
        let shown = format!("{{\"subscriptionId\":\"sub-{subscription}\"{member}}}");
        self.fill(number, Ok(shown), Some(subscription));
    }

    pub(super) fn reply_login(&mut self, number: u64, verdict: Verdict) {
        if self.slot(number).is_none() {
            return;
        }
        match verdict {
            Verdict::Known(who) if who.expires_at_ms.is_some_and(|at| at < self.unix) => {
                self.fill(number, Err("UNAUTHORIZED"), None);
            }
            Verdict::Known(who) => {
                let shown = shown(&who, false);
                self.become_(Some(who));
                self.recheck();
                self.fill(number, Ok(shown), None);
            }
            Verdict::Invalid => self.fill(number, Err("UNAUTHORIZED"), None),
            Verdict::Broken => self.fill(number, Err("INTERNAL_ERROR"), None),
            Verdict::Revoked(name) => {
                if self.who.as_ref().is_some_and(|who| who.name == name) {
                    self.leave("permission_revoked");
                }
                self.fill(number, Err("SESSION_REVOKED"), None);
            }
        }
    }

    // ---- Identity ----

    fn become_(&mut self, who: Option<Who>) {
        self.expiry_untold = false;
        let span = self.rules.auth_timeout_ms.filter(|_| who.is_none() && self.required());
        self.login_deadline = span.map(|span| self.now + span);
        self.done.push((format!("session {}", who.as_ref().map_or("-", |who| who.name)), None));
        self.who = who;
        self.expiry = self.expiry_at();
    }

    fn expiry_at(&self) -> Option<u64> {
        let at = self.who.as_ref()?.expires_at_ms?;
        Some(self.now + (at + 1).saturating_sub(self.unix))
    }

    fn leave(&mut self, reason: &'static str) {
        self.become_(None);
        if self.required() {
            let all: Vec<u64> = self.live.keys().copied().collect();
            all.into_iter().for_each(|number| self.end(number, reason));
        } else {
            self.recheck();
        }
    }

    /// Subscriptions that are not permitted any more end.
    fn recheck(&mut self) {
        let lost = self.live.iter().filter(|(_, live)| {
            let name = match live.stream {
                Stream::Results { .. } => "store.subscribe",
                Stream::Events { .. } => "rules.subscribe",
            };
            !self.allowed(name, Some(Tier::Read), live.watched)
        });
        let lost: Vec<u64> = lost.map(|(number, _)| *number).collect();
        lost.into_iter().for_each(|number| self.end(number, "permission_revoked"));
    }

    // ---- Time and ends ----

    pub(super) fn timeout(&mut self) {
        let due = |at: u64| at <= self.now;
        match self.phase {
            Phase::Closed => return,
            Phase::Closing { until } => {
                if due(until) {
                    self.finish();
                }
                return;
            }
            Phase::Draining { until, code } if due(until) => return self.close_now(code),
            Phase::Draining { .. } | Phase::Open => {}
        }
        if self.expiry.is_some_and(due) {
            if self.is_expired() {
                self.leave("session_expired");
                self.expiry_untold = true;
            } else {
                self.expiry = self.expiry_at();
            }
        }
        if self.login_deadline.is_some_and(|at| at <= self.now) {
            self.close_now(4004);
        }
    }

    pub(super) fn notice(&mut self, grace_ms: u64) {
        if self.phase == Phase::Open {
            self.say(format!("notice {grace_ms}"));
        }
    }

    pub(super) fn revoke(&mut self) {
        if self.works() {
            self.abandon();
            self.become_(None);
            self.say("revoked");
            self.close_now(4002);
        }
    }

    /// Closes with a code, gracefully or at once.
    pub(super) fn close(&mut self, code: u16, graceful: bool) {
        if self.phase != Phase::Open {
            return;
        }
        if graceful && self.in_flight() > 0 {
            self.phase = Phase::Draining { code, until: self.now + self.rules.drain_timeout_ms };
        } else {
            self.close_now(code);
        }
    }

    pub(super) fn peer_closes(&mut self, code: Option<u16>) {
        if self.works() {
            self.abandon();
            self.say(format!("close {}", code.unwrap_or_default()));
        }
        self.finish();
    }

    pub(super) fn finish(&mut self) {
        if self.phase == Phase::Closed {
            return;
        }
        self.abandon();
        self.forget_all();
        self.phase = Phase::Closed;
        self.done.push(("closed".into(), None));
    }

    fn close_now(&mut self, code: u16) {
        self.abandon();
        self.forget_all();
        self.say(format!("close {code}"));
        self.phase = Phase::Closing { until: self.now + self.rules.close_timeout_ms };
    }

    fn abandon(&mut self) {
        // What begins and is abandoned in the same call is never handed out.
        self.done.retain(|(_, slot)| slot.is_none());
        self.slots.clear();
        self.waiting.clear();
    }

    fn forget_all(&mut self) {
        let all: Vec<u64> = self.live.keys().copied().collect();
        all.into_iter().for_each(|number| self.forget(number));
    }
}

/// An identity as clients see it.
fn shown(who: &Who, authenticated: bool) -> String {
    let first = if authenticated { "\"authenticated\":true," } else { "" };
    let (name, until) = (who.name, who.expires_at_ms.map_or("null".to_owned(), |at| at.to_string()));
    format!("{{{first}\"userId\":\"{name}\",\"roles\":[\"{name}\"],\"expiresAt\":{until}}}")
}
