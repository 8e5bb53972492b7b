//! A small model of one connection: who is logged in, what is charged, which replies are due and in what order, what
//! subscribers are told. Without flow control: the network takes everything at once.
//!
//! Everything it says is text: frames in [`Model::said`], effects in [`Model::done`], charges in [`Model::charged`].

mod ending;
mod replies;
mod streams;

use super::requests::{Kind, Request};
use noex_core::Tier;
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
    Results { deltas: bool, sent: Option<State>, latest: Option<State> },
    Events { kept: VecDeque<String>, dropped: u64 },
}

/// A state of a result; with the version that its changes start from, if they are known.
#[derive(Debug)]
struct State {
    version: u64,
    data: String,
    from: Option<u64>,
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
            ("identity" | "audit" | "procedures", _) | ("auth", None) => {
                return self.error(request, "UNKNOWN_OPERATION");
            }
            _ => {}
        }
        if name.ends_with("nope") || name == "ping" {
            return self.error(request, "UNKNOWN_OPERATION");
        }
        // There is nobody to revoke without logins.
        if name.contains("revoke") && self.rules.auth.is_none() {
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
            _ if name.starts_with("server.") => "*",
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
                    "store.unsubscribe" | "store.snapshot" => true,
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
            "store.snapshot" => self.snapshot(request, field),
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
}

/// An identity as clients see it.
fn shown(who: &Who, authenticated: bool) -> String {
    let first = if authenticated { "\"authenticated\":true," } else { "" };
    let (name, until) = (who.name, who.expires_at_ms.map_or("null".to_owned(), |at| at.to_string()));
    format!("{{{first}\"userId\":\"{name}\",\"roles\":[\"{name}\"],\"expiresAt\":{until}}}")
}
