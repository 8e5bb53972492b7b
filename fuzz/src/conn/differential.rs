//! A connection and its model side by side: the same calls, the same frames, effects, charges and deadlines.

use super::{
    model::{Auth, Model, Phase, Rules, Verdict, Who},
    requests::Request,
};
use crate::input::Input;
use noex_core::{
    AuthMode, AuthToken, Body, CloseReason, Code, Config, Connection, Delta, Denied, Effect, EndReason,
    Frame, HeartbeatConfig, Instant, LimitKey, Message, Now, OpToken, Peer, PermissionRule, Permissions,
    RateLimit, RateLimited, RateLimiter, Refusal, RefusalVerdict, ResultMode, Session, Shared, Source, SubId,
    SubscribeToken, TokenMode, Update,
};
use std::{
    cell::{Cell, RefCell},
    sync::Arc,
    time::Duration,
};

const STEPS_MAX: usize = 120;
const START_MS: u64 = 1_000_000;
const EPOCH_MS: u64 = 1_700_000_000_000;

/// So far away that no ping disturbs.
const HEARTBEAT: Duration = Duration::from_secs(1 << 40);

/// Plays what the bytes choose.
pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut bench = Bench::new(rules(&mut input));
    let mut steps = 0;
    while input.more() && steps < STEPS_MAX {
        bench.step(&mut input);
        bench.compare();
        steps += 1;
    }
    bench.connection.handle_eof(bench.now(), &bench.shared);
    bench.model.finish();
    bench.compare();
}

fn rules(input: &mut Input<'_>) -> Rules {
    let auth = Auth {
        required: input.flag(),
        anonymous: input.perhaps(&["reader", "guest"]),
        strict: input.flag(),
        permissions: input.perhaps(&[false, true]),
    };
    Rules {
        auth: if input.rarely(4) { None } else { Some(auth) },
        rules: !input.rarely(4),
        requests_max: input.pick(&[4, 8, 1, 0, 3]),
        subscriptions_max: input.pick(&[4, 2, 100, 0]),
        reserved_max: input.pick(&[100, 3, 1]),
        events_max: input.below(3),
        auth_timeout_ms: input.perhaps(&[700, 3_000]),
        close_timeout_ms: 500,
        drain_timeout_ms: 900,
        limit: input.perhaps(&[(5, 1_000), (1, 300), (20, 1_000)]),
    }
}

fn config(rules: &Rules) -> Config {
    let roles = |role: &str, allow: &[&str], buckets: Option<&[&str]>, topics: Option<&[&str]>| {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        PermissionRule {
            role: role.into(),
            allow: owned(allow),
            buckets: buckets.map(owned),
            topics: topics.map(owned),
        }
    };
    let auth = rules.auth.map_or(AuthMode::None, |auth| {
        AuthMode::Token(TokenMode {
            required: auth.required,
            anonymous_roles: auth.anonymous.map(|role| vec![role.to_owned()]),
            strict_tiers: auth.strict,
            permissions: auth.permissions.map(|default_allow| Permissions {
                default_allow,
                rules: vec![
                    roles("reader", &["store.*", "rules.subscribe"], Some(&["a", "qb"]), Some(&["order.*"])),
                    roles("admin", &["*"], None, None),
                ],
            }),
        })
    });
    let mut config = Config {
        auth,
        rules: rules.rules,
        requests_in_flight_max: rules.requests_max,
        subscriptions_max: rules.subscriptions_max,
        heartbeat: HeartbeatConfig { interval: HEARTBEAT, ..HeartbeatConfig::default() },
        auth_timeout: rules.auth_timeout_ms.map(Duration::from_millis),
        close_timeout: Duration::from_millis(rules.close_timeout_ms),
        drain_timeout: Duration::from_millis(rules.drain_timeout_ms),
        ..Config::default()
    };
    config.backpressure.events_max = rules.events_max;
    if rules.requests_max <= 4 {
        // More than so few requests and replies need.
        config.backpressure.buffered_bytes_max = 1_500;
    }
    config
}

/// What the connection shares: it counts and notes.
#[derive(Debug)]
struct Noting {
    limiter: Option<RefCell<RateLimiter>>,
    reserved_max: usize,
    reserved: Cell<usize>,
    last: Cell<u64>,
    charged: RefCell<Vec<String>>,
}

impl Shared for Noting {
    fn charge(&self, key: LimitKey<'_>, now: Now) -> Result<(), RateLimited> {
        let key = match key {
            LimitKey::User(user) => format!("user {user}"),
            LimitKey::Address(_) => "address".to_owned(),
        };
        self.charged.borrow_mut().push(key.clone());
        self.limiter.as_ref().map_or(Ok(()), |limiter| limiter.borrow_mut().charge(&key, now))
    }

    fn charge_refusal(&self, _address: &str, now: Now) -> RefusalVerdict {
        self.charged.borrow_mut().push("refused".into());
        self.limiter
            .as_ref()
            .map_or(RefusalVerdict::Answer, |limiter| limiter.borrow_mut().charge_refusal("refused", now))
    }

    fn reserve_subscription(&self) -> Result<(), usize> {
        if self.reserved.get() >= self.reserved_max {
            return Err(self.reserved_max);
        }
        self.reserved.set(self.reserved.get() + 1);
        Ok(())
    }

    fn release_subscriptions(&self, count: usize) {
        self.reserved
            .set(self.reserved.get().checked_sub(count).expect("no more is released than was reserved"));
    }

    fn next_subscription(&self) -> SubId {
        self.last.set(self.last.get() + 1);
        SubId(self.last.get())
    }

    fn bucket_of_query(&self, query: &str) -> Option<String> {
        matches!(query, "qa" | "qb").then(|| query.trim_start_matches('q').to_owned())
    }

    fn permits(&self, _session: &Session, _operation: &str, _resource: &str) -> Option<bool> {
        None
    }
}

/// An effect that waits for its answer.
#[derive(Debug)]
enum Parked {
    Login(AuthToken, String),
    Call(OpToken),
    Subscribe(SubscribeToken, u64),
}

struct Bench {
    connection: Connection,
    shared: Noting,
    model: Model,
    /// With the slot of the model.
    parked: Vec<(Parked, u64)>,
}

impl Bench {
    fn new(rules: Rules) -> Self {
        let config = Arc::new(config(&rules));
        let limiter = rules.limit.map(|(max, window_ms)| {
            RefCell::new(RateLimiter::new(RateLimit { requests_max: max as u64, window_ms }, 0))
        });
        let shared = Noting {
            limiter,
            reserved_max: rules.reserved_max,
            reserved: Cell::new(0),
            last: Cell::new(0),
            charged: RefCell::default(),
        };
        let now = Now { mono: Instant::from_millis(START_MS), unix_ms: EPOCH_MS };
        let connection = Connection::new(config, Peer::new("192.0.2.1"), now);
        let mut bench =
            Self { connection, shared, model: Model::new(rules, START_MS, EPOCH_MS), parked: Vec::new() };
        bench.compare();
        bench
    }

    fn now(&self) -> Now {
        Now { mono: Instant::from_millis(self.model.now), unix_ms: self.model.unix }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let now = self.now();
        match input.below(48) {
            0..=19 => {
                let request = Request::choose(input);
                // Half of the clients heed that the connection does not read.
                if self.model.wants_read() || input.flag() {
                    self.connection.handle_message(now, &self.shared, Message::Text(&request.text()));
                    self.model.text(&request);
                }
            }
            20..=31 => self.answer(input),
            32..=35 => {
                let (number, version) = (input.below(6) as u64, input.below(6) as u64);
                let data = input.pick(&["1", "2", ""]);
                let from = if input.flag() { Some(input.below(5) as u64) } else { None };
                let mut update = Update::whole(version, Some(data.into()).filter(|_| !data.is_empty()));
                update.delta = from.map(|from| Delta { from, changes: from.to_string().into() });
                let delivery = self.connection.push_result(SubId(number), update);
                assert_eq!(delivery, self.model.push_result(number, version, data, from));
            }
            36 | 37 => {
                let (number, event) = (input.below(6) as u64, input.pick(&["{}", "7"]));
                let delivery = self.connection.push_event(SubId(number), event.into());
                assert_eq!(delivery, self.model.push_event(number, event));
            }
            38 => {
                let (number, count) = (input.below(6) as u64, input.below(3) as u64);
                self.connection.drop_events(SubId(number), count);
                self.model.drop_events(number, count);
            }
            39 => {
                let number = input.below(6) as u64;
                let reason = input.pick(&[EndReason::BucketDropped, EndReason::QueryUndefined]);
                self.connection.end_subscription(&self.shared, SubId(number), reason);
                self.model.end(number, reason.as_str());
            }
            40..=43 => {
                // Often exactly a window or a timeout.
                let span = input.perhaps(&[300, 1_000, 500, 700, 900, 800]);
                self.advance(span.unwrap_or_else(|| input.below(1_500) as u64));
            }
            44 => {
                // The clocks move and nobody calls.
                self.model.now += input.below(500) as u64;
                self.model.unix =
                    (self.model.unix + input.below(3_000) as u64).saturating_sub(input.below(500) as u64);
            }
            45 => {
                self.connection.handle_timeout(now, &self.shared);
                self.model.timeout();
            }
            46 => self.connection_wide(input),
            _ => {
                let grace_ms = input.below(9_000) as u64;
                self.connection.handle_shutdown_notice(grace_ms);
                self.model.notice(grace_ms);
            }
        }
    }

    /// What seldom happens, because it is the end.
    fn connection_wide(&mut self, input: &mut Input<'_>) {
        let now = self.now();
        match input.below(12) {
            0 => {
                self.connection.revoke(now, &self.shared);
                self.model.revoke();
            }
            1 | 2 => {
                self.connection.close(now, &self.shared, CloseReason::ServerShutdown);
                self.model.close(1000, true);
            }
            3 => {
                self.connection.close(now, &self.shared, CloseReason::InternalError);
                self.model.close(1011, false);
            }
            4 => {
                let code = input.perhaps(&[1000, 4999]);
                self.connection.handle_message(
                    now,
                    &self.shared,
                    Message::Close(code.map(|code| (code, ""))),
                );
                if self.model.phase != Phase::Closed {
                    self.model.peer_closes(code);
                }
            }
            5 => {
                let (message, code) = input.pick(&[
                    (Message::Binary, 1003),
                    (Message::TooLarge, 1009),
                    (Message::InvalidUtf8, 1007),
                    (Message::Malformed, 1002),
                ]);
                self.connection.handle_message(now, &self.shared, message);
                self.model.close(code, true);
            }
            _ => {}
        }
    }

    /// Lets time pass, calling at each deadline.
    fn advance(&mut self, span: u64) {
        let end = self.model.now + span;
        loop {
            let at = self.model.deadline().filter(|at| *at < end).unwrap_or(end).max(self.model.now);
            self.model.unix += at - self.model.now;
            self.model.now = at;
            self.connection.handle_timeout(self.now(), &self.shared);
            self.model.timeout();
            self.compare();
            if at >= end {
                return;
            }
        }
    }

    fn answer(&mut self, input: &mut Input<'_>) {
        if self.parked.is_empty() {
            return;
        }
        let (parked, slot) = self.parked.remove(input.below(self.parked.len()));
        let now = self.now();
        match parked {
            Parked::Login(token, credential) => {
                let (verdict, model) = verdicts(&credential, self.model.unix);
                self.connection.reply_auth(now, &self.shared, token, verdict);
                self.model.reply_login(slot, model);
            }
            Parked::Call(token) => {
                let data = input.pick(&[Some("null"), Some("[1]"), Some(""), None]);
                let outcome = match data {
                    Some("") => Ok(Body::Absent),
                    Some(text) if input.flag() => Ok(Body::Shared(text.into())),
                    Some(text) => Ok(Body::Owned(text.into())),
                    None => Err(not_found()),
                };
                self.connection.reply(now, &self.shared, token, outcome);
                self.model.reply(slot, data);
            }
            Parked::Subscribe(token, subscription) => {
                let state = if input.rarely(5) {
                    None
                } else {
                    Some((input.below(4) as u64, input.pick(&["1", "2", ""])))
                };
                let outcome = state.map(|(version, data)| {
                    Update::whole(version, Some(data.into()).filter(|_| !data.is_empty()))
                });
                let outcome = outcome.ok_or_else(not_found);
                self.connection.reply_subscribe(now, &self.shared, token, outcome);
                self.model.reply_subscribe(slot, subscription, state);
            }
        }
    }

    /// Takes what the connection hands out, and compares everything.
    fn compare(&mut self) {
        let mut frames = Vec::new();
        let mut effects = Vec::new();
        // Twice, because reporting an empty buffer may release what was held back.
        for _ in 0..2 {
            while let Some(frame) = self.connection.poll_frame() {
                frames.push(frame_text(frame));
            }
            self.connection.handle_buffered(self.now(), 0);
        }
        let expected = std::mem::take(&mut self.model.done);
        while let Some(effect) = self.connection.poll_effect() {
            let slot = expected.get(effects.len()).and_then(|(_, slot)| *slot);
            let (text, parked) = effect_text(effect);
            effects.push(text);
            if let (Some(parked), Some(slot)) = (parked, slot) {
                self.parked.push((parked, slot));
            }
        }
        let expected: Vec<String> = expected.into_iter().map(|(text, _)| text).collect();
        assert_eq!(effects, expected, "effects");
        assert_eq!(frames, std::mem::take(&mut self.model.said), "frames");
        assert_eq!(self.shared.charged.take(), std::mem::take(&mut self.model.charged), "charges");
        let (connection, model) = (&self.connection, &self.model);
        assert_eq!(connection.in_flight(), model.in_flight(), "in flight");
        assert_eq!(connection.wants_read(), model.wants_read(), "reading");
        assert_eq!(connection.subscription_counts(), model.counts(), "subscriptions");
        assert_eq!(self.shared.reserved.get(), model.counts().0 + model.counts().1, "reserved");
        assert_eq!(connection.is_closed(), model.phase == Phase::Closed);
        let who = connection.session().map(|session| session.user_id.as_str());
        assert_eq!(who, model.who.as_ref().map(|who| who.name), "who speaks");
        let deadline = connection.poll_timeout().map(Instant::as_millis);
        let ping = (Instant::from_millis(START_MS) + HEARTBEAT).as_millis();
        assert_eq!(deadline.filter(|at| *at < ping), model.deadline(), "deadline");
    }
}

fn not_found() -> Refusal {
    Refusal::new(Code::NotFound, "no such thing")
}

/// What the authenticator says, for the connection and for the model.
fn verdicts(credential: &str, unix: u64) -> (Result<Session, Denied>, Verdict) {
    let (name, expires_at_ms) = match credential {
        "admin" => ("admin", None),
        "writer" => ("writer", None),
        "reader" => ("reader", None),
        "guest" => ("guest", None),
        "short" => ("reader", Some(unix + 800)),
        "long" => ("admin", Some(unix + 5_000)),
        "expired" => ("admin", Some(unix - 1)),
        "revoked" => return (Err(Denied::Revoked { user_id: "reader".into() }), Verdict::Revoked("reader")),
        "broken" => return (Err(Denied::Other(Refusal::internal())), Verdict::Broken),
        _ => return (Err(Denied::Invalid), Verdict::Invalid),
    };
    let session =
        Session { user_id: name.into(), roles: vec![name.into()], expires_at_ms, ..Session::default() };
    (Ok(session), Verdict::Known(Who { name, expires_at_ms }))
}

/// A frame in the model's words.
fn frame_text(frame: Frame) -> String {
    let text = match frame {
        Frame::Close { code, .. } => return format!("close {}", code.unwrap_or_default()),
        Frame::Text(text) => text.into_string(),
    };
    let json: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let member = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
    let data = json.get("data").map(ToString::to_string).unwrap_or_default();
    let subscription = member("subscriptionId").trim_start_matches("sub-").to_owned();
    let words = match member("type").as_str() {
        "welcome" => format!("welcome {}", json["requiresAuth"]),
        "result" => format!("result {} {data}", json["id"]),
        "error" => format!("error {} {}", json["id"], member("code")),
        "push" if member("channel") == "subscription" => match (json.get("delta"), json.get("version")) {
            (Some(changes), _) => format!("delta {subscription} {changes}"),
            (None, Some(version)) => format!("push {subscription} v{version} {data}"),
            (None, None) => format!("push {subscription} {data}"),
        },
        "push" => format!("event {subscription} {data}"),
        "system" => match member("event").as_str() {
            "subscription_closed" => format!("ended {subscription} {}", member("reason")),
            "session_revoked" => "revoked".to_owned(),
            _ if json.get("gracePeriodMs").is_some() => format!("notice {}", json["gracePeriodMs"]),
            _ => format!("dropped {subscription} {}", json["count"]),
        },
        _ => panic!("an unexpected frame: {text}"),
    };
    words.trim_end().to_owned()
}

/// An effect in the model's words, and what waits for an answer.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum may grow, and what is not known is reported")]
fn effect_text(effect: Effect) -> (String, Option<Parked>) {
    match effect {
        Effect::Authenticate { token, credential } => {
            (format!("login {credential}"), Some(Parked::Login(token, credential)))
        }
        Effect::Store { token, call } => {
            (call_text("store", &format!("{call:?}")), Some(Parked::Call(token)))
        }
        Effect::Rules { token, call } => {
            (call_text("rules", &format!("{call:?}")), Some(Parked::Call(token)))
        }
        Effect::Server { token, call } => {
            (call_text("server", &format!("{call:?}")), Some(Parked::Call(token)))
        }
        Effect::Subscribe { token, subscription, source } => {
            let watched = match source {
                Source::Query { query, mode: ResultMode::Delta, .. } => format!("{query} delta"),
                Source::Query { query: watched, .. } | Source::Events { pattern: watched } => watched,
            };
            (
                format!("subscribe {} {watched}", subscription.0),
                Some(Parked::Subscribe(token, subscription.0)),
            )
        }
        Effect::Unsubscribe { subscription } => (format!("unsubscribe {}", subscription.0), None),
        Effect::SessionChanged(session) => {
            (format!("session {}", session.as_ref().map_or("-", |session| &session.user_id)), None)
        }
        Effect::Closed(_) => ("closed".into(), None),
        other => panic!("an unknown effect: {other:?}"),
    }
}

/// `Get { bucket: "a", .. }` as `store.get a`: the operation and its first field.
fn call_text(family: &str, debug: &str) -> String {
    let name = debug.split(' ').next().unwrap_or_default();
    let (first, rest) = name.split_at(1);
    let field = debug.split('"').nth(1).unwrap_or_default();
    format!("{family}.{}{rest} {field}", first.to_lowercase()).trim_end().to_owned()
}
