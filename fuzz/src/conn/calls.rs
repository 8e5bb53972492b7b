//! Any sequence of calls of a connection's methods, by a host that is late, forgetful, or has a jumping clock.

use super::requests::MESSAGES;
use crate::input::Input;
use arbitrary::Arbitrary;
use noex_core::{
    AuthMode, AuthToken, Backpressure, Body, CloseReason, Code, Config, Connection, Delivery, Denied, Effect,
    EndReason, Frame, HeartbeatConfig, HeartbeatMode, IdentityToken, Instant, LimitKey, Message, Now,
    OpToken, Peer, PermissionRule, Permissions, RateLimit, RateLimited, RateLimiter, Refusal, RefusalVerdict,
    Session, SessionChange, SessionKey, Shared, SubId, SubscribeToken, Target, Tier, TokenMode, Update,
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    sync::Arc,
    time::Duration,
};

const CALLS_MAX: usize = 200;

/// The clocks stay below, so that no deadline saturates.
const END_US: u64 = 1 << 60;
const END_UNIX_MS: u64 = 1 << 50;

#[derive(Arbitrary, Debug)]
struct Setup {
    auth: Option<(bool, Option<bool>, bool, Option<bool>)>,
    flags: [bool; 3],
    /// Requests in flight, subscriptions, events kept, operations, names, depth.
    counts: [u8; 6],
    /// In ms.
    times: [u16; 6],
    bytes: [u16; 2],
    limit: Option<(u8, u16)>,
    reserved_max: Option<u8>,
    /// Whether messages are handed over only when the connection wants to read.
    heeds_reading: bool,
    refused: Option<u8>,
}

#[derive(Arbitrary, Debug)]
enum Call {
    Known(u8),
    Bytes(Vec<u8>),
    Rare(u8),
    PeerClose(Option<u16>),
    Timeout,
    Eof,
    ReplyAuth(u8, u8),
    Reply(u8, u8),
    ReplySubscribe(u8, Option<(u8, u8)>),
    Notice(u64),
    Revoke,
    Close(u8),
    Effects(u8),
    Frames(u8),
    PushResult(u8, u8, u8),
    PushEvent(u8, u8),
    DropEvents(u8, u32),
    End(u8, u8),
    Buffered(u16),
    BufferedAny(u64),
    Pass(u32),
    Jump(u64, u64),
}

/// Plays what the bytes choose.
pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let Some(setup) = input.any::<Setup>() else { return };
    let mut host = Host::new(&setup);
    for _ in 0..CALLS_MAX {
        let Some(call) = input.any::<Call>() else { break };
        host.call(&call);
        host.check();
    }
    host.end();
}

// ---- Shared state ----

#[derive(Debug)]
struct Counting {
    limiter: Option<RefCell<RateLimiter>>,
    reserved_max: usize,
    reserved: Cell<usize>,
    last: Cell<u64>,
}

impl Shared for Counting {
    fn charge(&self, key: LimitKey<'_>, now: Now) -> Result<(), RateLimited> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        let (LimitKey::User(key) | LimitKey::Address(key)) = key;
        limiter.borrow_mut().charge(key, now)
    }

    fn charge_refusal(&self, address: &str, now: Now) -> RefusalVerdict {
        let Some(limiter) = &self.limiter else { return RefusalVerdict::Answer };
        limiter.borrow_mut().charge_refusal(&format!("refused:{address}"), now)
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
        query.strip_prefix('q').map(str::to_owned)
    }

    fn permits(&self, _session: &Session, _operation: &str, resource: &str) -> Option<bool> {
        if resource == "custom" { Some(false) } else { None }
    }

    fn permits_user(&self, user_id: &str, operation: &str, target: Target<'_>) -> bool {
        // Rights that come and go.
        let moment = self.last.get().is_multiple_of(2);
        user_id == "u" && (moment || target != Target::Bucket("b")) && operation != "store.clear"
    }

    fn visible_buckets(&self, user_id: &str) -> Vec<String> {
        vec![user_id.to_owned(), "_users".to_owned()]
    }
}

// ---- Configuration ----

fn config(setup: &Setup) -> Config {
    let count = |at: usize, modulus: u8| usize::from(setup.counts[at] % modulus);
    let time = |at: usize| Duration::from_millis(u64::from(setup.times[at]) + 1);
    let auth = match setup.auth {
        Some((true, ..)) if setup.counts[1] >= 128 => AuthMode::BuiltIn,
        None => AuthMode::None,
        Some((required, anonymous, strict_tiers, default_allow)) => AuthMode::Token(TokenMode {
            required,
            anonymous_roles: anonymous.map(|reader| vec![if reader { "reader" } else { "guest" }.to_owned()]),
            strict_tiers,
            permissions: default_allow.map(permissions),
        }),
    };
    let audit = if setup.counts[3] >= 128 { vec![Tier::Admin, Tier::Write, Tier::Read] } else { Vec::new() };
    Config {
        auth,
        audit,
        rules: setup.flags[0],
        procedures: setup.counts[0] >= 128,
        expose_error_details: setup.flags[1],
        json_depth_max: 1 + count(5, 32),
        requests_in_flight_max: count(0, 8),
        transaction_operations_max: count(3, 4),
        name_length_max: count(4, 16),
        subscriptions_max: count(1, 4),
        heartbeat: HeartbeatConfig {
            interval: time(0),
            timeout: time(1),
            mode: if setup.flags[2] { HeartbeatMode::Tick } else { HeartbeatMode::Deadline },
        },
        backpressure: Backpressure {
            buffered_bytes_max: usize::from(setup.bytes[0]),
            push_threshold_bytes: usize::from(setup.bytes[1]),
            stall_timeout: time(2),
            events_max: count(2, 4),
            reject_requests: setup.counts[2] >= 128,
        },
        auth_timeout: setup.times[3].is_multiple_of(2).then(|| time(3)),
        close_timeout: time(4),
        drain_timeout: time(5),
    }
}

fn permissions(default_allow: bool) -> Permissions {
    let reader = PermissionRule {
        role: "reader".into(),
        allow: vec!["store.*".into(), "rules.subscribe".into()],
        buckets: Some(vec!["a".into(), "qb".into()]),
        topics: Some(vec!["order.*".into()]),
    };
    let admin = PermissionRule { role: "admin".into(), allow: vec!["*".into()], buckets: None, topics: None };
    Permissions { default_allow, rules: vec![reader, admin] }
}

fn reason(choice: u8) -> CloseReason {
    const REASONS: [CloseReason; 14] = [
        CloseReason::ServerShutdown,
        CloseReason::TransportLost,
        CloseReason::ServerShuttingDown,
        CloseReason::ProtocolError,
        CloseReason::InvalidUtf8,
        CloseReason::MessageTooLarge,
        CloseReason::BinaryMessage,
        CloseReason::HeartbeatTimeout,
        CloseReason::SessionRevoked,
        CloseReason::TooManyConnections,
        CloseReason::AuthTimeout,
        CloseReason::SlowConsumer,
        CloseReason::InternalError,
        CloseReason::Peer(Some(1000)),
    ];
    REASONS[usize::from(choice) % REASONS.len()]
}

fn end_reason(choice: u8) -> EndReason {
    if choice.is_multiple_of(2) { EndReason::BucketDropped } else { EndReason::QueryUndefined }
}

fn data(choice: u8) -> Option<Arc<str>> {
    match choice % 4 {
        0 => None,
        1 => Some("1".into()),
        2 => Some(r#"{"n":1}"#.into()),
        _ => Some(format!("\"{}\"", "x".repeat(usize::from(choice) * 8)).into()),
    }
}

fn take<T>(tokens: &mut Vec<T>, choice: u8) -> Option<T> {
    let at = usize::from(choice).checked_rem(tokens.len())?;
    Some(tokens.remove(at))
}

// ---- The host ----

struct Host {
    connection: Connection,
    shared: Counting,
    now: Now,
    /// Whether the clocks have only gone forward.
    steady: bool,
    heeds_reading: bool,
    requests_max: usize,
    logins: Vec<AuthToken>,
    identities: Vec<IdentityToken>,
    calls: Vec<OpToken>,
    subscribes: Vec<SubscribeToken>,
    refused: bool,
    frames: usize,
    close_frame: bool,
    closed: bool,
    /// Who speaks, as the effects tell; not known while effects wait.
    session: Option<Arc<Session>>,
    watched: BTreeSet<SubId>,
    unwatched: BTreeSet<SubId>,
}

impl Host {
    fn new(setup: &Setup) -> Self {
        let config = Arc::new(config(setup));
        let now = Now { mono: Instant::from_micros(5_000_000), unix_ms: 1_700_000_000_000 };
        let requests_max = config.requests_in_flight_max.max(1);
        let connection = match setup.refused {
            Some(choice) if choice < 64 => {
                Connection::refused(config, Peer::new("192.0.2.1"), now, reason(choice))
            }
            _ => Connection::new(config, Peer::new("192.0.2.1"), now),
        };
        let limiter = setup.limit.map(|(max, window)| {
            let limit = RateLimit { requests_max: u64::from(max), window_ms: u64::from(window) + 1 };
            RefCell::new(RateLimiter::new(limit, 2))
        });
        Self {
            connection,
            shared: Counting {
                limiter,
                reserved_max: setup.reserved_max.map_or(usize::MAX, |max| usize::from(max % 4)),
                reserved: Cell::new(0),
                last: Cell::new(0),
            },
            now,
            steady: true,
            heeds_reading: setup.heeds_reading,
            requests_max,
            logins: Vec::new(),
            identities: Vec::new(),
            calls: Vec::new(),
            subscribes: Vec::new(),
            refused: setup.refused.is_some_and(|choice| choice < 64),
            frames: 0,
            close_frame: false,
            closed: false,
            session: None,
            watched: BTreeSet::new(),
            unwatched: BTreeSet::new(),
        }
    }

    fn message(&mut self, message: Message<'_>) {
        if !self.heeds_reading || self.connection.wants_read() {
            self.connection.handle_message(self.now, &self.shared, message);
        }
    }

    fn subscription(&self, choice: u8) -> SubId {
        SubId(u64::from(choice) % (self.shared.last.get() + 2))
    }

    fn call(&mut self, call: &Call) {
        match call {
            Call::Known(choice) => {
                self.message(Message::Text(MESSAGES[usize::from(*choice) % MESSAGES.len()]))
            }
            Call::Bytes(bytes) => self.message(Message::from_text_bytes(bytes)),
            Call::Rare(choice) => {
                let kinds = [Message::Binary, Message::TooLarge, Message::InvalidUtf8, Message::Malformed];
                self.message(kinds[usize::from(*choice) % kinds.len()]);
            }
            Call::PeerClose(code) => self.message(Message::Close(code.map(|code| (code, "bye")))),
            Call::Timeout => {
                self.connection.handle_timeout(self.now, &self.shared);
                let due = self.connection.poll_timeout();
                assert!(!self.steady || due.is_none_or(|at| at > self.now.mono), "{due:?} at {:?}", self.now);
            }
            Call::Eof => self.connection.handle_eof(self.now, &self.shared),
            Call::Notice(grace_ms) => self.connection.handle_shutdown_notice(*grace_ms),
            Call::Revoke => self.connection.revoke(self.now, &self.shared),
            Call::Close(choice) => self.connection.close(self.now, &self.shared, reason(*choice)),
            Call::Effects(count) => self.take_effects(usize::from(*count) + 1),
            Call::Frames(count) => self.take_frames(usize::from(*count) + 1),
            Call::Buffered(bytes) => self.connection.handle_buffered(self.now, usize::from(*bytes)),
            Call::BufferedAny(bytes) => {
                self.connection.handle_buffered(self.now, usize::try_from(*bytes).unwrap_or(usize::MAX));
            }
            Call::Pass(us) => {
                let mono = (self.now.mono.as_micros() + u64::from(*us)).min(END_US);
                let unix_ms = self.now.unix_ms.saturating_add(u64::from(*us) / 1000);
                self.now = Now { mono: Instant::from_micros(mono), unix_ms };
            }
            Call::Jump(us, unix_ms) => {
                let mono = Instant::from_micros(*us % END_US);
                self.steady &= mono >= self.now.mono;
                self.now = Now { mono, unix_ms: *unix_ms % END_UNIX_MS };
            }
            Call::ReplyAuth(which, verdict) => self.reply_auth(*which, *verdict),
            Call::Reply(which, body) => self.reply(*which, *body),
            Call::ReplySubscribe(which, state) => self.reply_subscribe(*which, *state),
            Call::PushResult(which, version, choice) => {
                let subscription = self.subscription(*which);
                let update = Update::whole(u64::from(*version), data(*choice));
                self.push(|connection| connection.push_result(subscription, update));
            }
            Call::PushEvent(which, choice) => {
                let subscription = self.subscription(*which);
                let event = data(*choice).unwrap_or_else(|| "{}".into());
                self.push(|connection| connection.push_event(subscription, event));
            }
            Call::DropEvents(which, count) => {
                self.connection.drop_events(self.subscription(*which), u64::from(*count))
            }
            Call::End(which, choice) => {
                let subscription = self.subscription(*which);
                match choice {
                    0..=199 => {
                        self.connection.end_subscription(&self.shared, subscription, end_reason(*choice));
                    }
                    200..=227 => self.connection.recheck(&self.shared),
                    _ => self.connection.update_roles(&self.shared, "u", &["admin".to_owned()]),
                }
            }
        }
    }

    fn reply_auth(&mut self, which: u8, verdict: u8) {
        let Some(token) = take(&mut self.logins, which) else {
            return self.reply_identity(which, verdict);
        };
        let verdict = self.verdict(verdict);
        self.connection.reply_auth(self.now, &self.shared, token, verdict);
    }

    fn reply_identity(&mut self, which: u8, verdict: u8) {
        let Some(token) = take(&mut self.identities, which) else { return };
        let (outcome, change) = match self.verdict(verdict) {
            Ok(session) if verdict.is_multiple_of(7) => {
                let stored = Some(SessionKey([verdict; 32]));
                (Ok(Body::Static("\"in\"")), SessionChange::Set(Session { stored, ..session }))
            }
            Ok(session) => (Ok(Body::Static("\"in\"")), SessionChange::Set(session)),
            Err(Denied::Invalid) => (Ok(Body::Static("\"out\"")), SessionChange::Clear),
            Err(_) => (Err(Refusal::internal()), SessionChange::Keep),
        };
        self.connection.reply_identity(self.now, &self.shared, token, outcome, change);
    }

    fn reply(&mut self, which: u8, body: u8) {
        let Some(token) = take(&mut self.calls, which) else { return };
        let outcome = match (body % 5, data(body)) {
            (0, _) => Ok(Body::Absent),
            (1, _) => Err(Refusal::new(Code::Conflict, "\"no\"\n").with_details("[1]".into())),
            (2, Some(text)) => Ok(Body::Shared(text)),
            (3, Some(text)) => Ok(Body::Owned(text.to_string())),
            _ => Ok(Body::Static("null")),
        };
        self.connection.reply(self.now, &self.shared, token, outcome);
    }

    fn reply_subscribe(&mut self, which: u8, state: Option<(u8, u8)>) {
        let Some(token) = take(&mut self.subscribes, which) else { return };
        let outcome = state
            .map(|(version, choice)| Update::whole(u64::from(version), data(choice)))
            .ok_or_else(|| Refusal::new(Code::QueryNotDefined, "gone"));
        self.connection.reply_subscribe(self.now, &self.shared, token, outcome);
    }

    fn verdict(&self, choice: u8) -> Result<Session, Denied> {
        let user_id = if choice < 128 { "u" } else { "v" }.to_owned();
        let roles = match choice % 5 {
            0 => vec!["admin".to_owned()],
            1 => vec!["writer".to_owned()],
            2 => vec!["reader".to_owned(), "reader".to_owned()],
            _ => Vec::new(),
        };
        match choice % 9 {
            0 => Err(Denied::Invalid),
            1 => Err(Denied::Revoked { user_id }),
            2 => Err(Denied::Other(Refusal::internal())),
            3 => Ok(Session {
                user_id,
                roles,
                expires_at_ms: Some(self.now.unix_ms / 2),
                ..Session::default()
            }),
            4 | 5 => {
                let expires_at_ms = Some(self.now.unix_ms.saturating_add(u64::from(choice) * 10));
                Ok(Session { user_id, roles, metadata: Some("{}".into()), expires_at_ms, stored: None })
            }
            _ => Ok(Session { user_id, roles, ..Session::default() }),
        }
    }

    /// Checks that a push tells truly what became of it.
    fn push(&mut self, push: impl FnOnce(&mut Connection) -> Delivery) {
        let live = self.connection.subscription_counts();
        let before = self.connection.queued_bytes();
        let delivery = push(&mut self.connection);
        assert!(live != (0, 0) || delivery == Delivery::Unknown, "delivered to nobody");
        let queued = self.connection.queued_bytes();
        assert_eq!(queued > before, delivery.is_queued() && before < usize::MAX, "{delivery:?}");
    }

    fn take_effects(&mut self, count: usize) {
        for _ in 0..count {
            let Some(effect) = self.connection.poll_effect() else { return };
            assert!(!self.closed, "an effect after the end: {effect:?}");
            match effect {
                Effect::Authenticate { token, .. } => self.logins.push(token),
                Effect::Store { token, .. } | Effect::Rules { token, .. } | Effect::Server { token, .. } => {
                    self.calls.push(token);
                }
                Effect::Procedures { token, .. } | Effect::Audit { token, .. } => self.calls.push(token),
                Effect::Identity { token, .. } => self.identities.push(token),
                Effect::Record(record) => {
                    assert!(record.resource.len() < 2100, "a long text is kept");
                }
                Effect::Subscribe { token, subscription, .. } => {
                    assert!(self.watched.insert(subscription), "an id is reused");
                    self.subscribes.push(token);
                }
                Effect::Unsubscribe { subscription } => {
                    assert!(self.unwatched.insert(subscription), "unsubscribed twice");
                }
                Effect::SessionChanged(session) => self.session = session,
                Effect::Closed(_) => self.closed = true,
                other => panic!("an unknown effect: {other:?}"),
            }
        }
    }

    fn take_frames(&mut self, count: usize) {
        for _ in 0..count {
            let Some(frame) = self.connection.poll_frame() else { return };
            assert!(!self.close_frame, "a frame after the close frame: {frame:?}");
            match frame {
                Frame::Close { reason, .. } => {
                    assert!(reason.len() <= 123);
                    self.close_frame = true;
                }
                Frame::Text(text) => {
                    assert_eq!(text.pieces().concat().len(), text.len());
                    let text = text.into_string();
                    let json: serde_json::Value =
                        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
                    assert!(!self.refused, "said to one that is turned away: {text}");
                    assert_eq!(json["type"] == "welcome", self.frames == 0, "{text}");
                }
            }
            self.frames += 1;
        }
    }

    fn check(&mut self) {
        let (results, events) = self.connection.subscription_counts();
        assert_eq!(self.shared.reserved.get(), results + events, "subscriptions reserved and counted");
        assert!(
            !self.heeds_reading || self.connection.in_flight() <= self.requests_max,
            "too much in flight"
        );
        assert_eq!(self.connection.address(), "192.0.2.1");
        assert!(!self.closed || self.connection.is_closed());
        if self.connection.is_closed() {
            assert_eq!(self.connection.poll_timeout(), None);
            assert!(!self.connection.wants_read());
            assert_eq!((results + events, self.connection.in_flight()), (0, 0));
        } else {
            assert!(self.connection.poll_timeout().is_some(), "nothing would ever end it");
        }
    }

    /// The transport ends; everything that is left is taken.
    fn end(mut self) {
        self.connection.handle_eof(self.now, &self.shared);
        self.check();
        assert!(self.connection.is_closed());
        self.take_effects(usize::MAX);
        self.take_frames(usize::MAX);
        assert!(self.closed, "the end is told");
        assert_eq!(self.session.as_ref(), self.connection.session());
        assert_eq!(self.shared.reserved.get(), 0);
        while let Some(token) = self.calls.pop() {
            self.connection.reply(self.now, &self.shared, token, Ok(Body::Static("1")));
        }
        assert!(self.connection.poll_effect().is_none() && self.connection.poll_frame().is_none());
    }
}
