//! The state machine of one connection.
//!
//! ```text
//!            close(ServerShutdown)            replies done, or drain timeout
//!   Open ───────────────────────────► Draining ───────────────────────┐
//!    │                                    │ peer's close, end          ▼
//!    │ violation, timeout, revocation     │ of stream             Closing (close frame queued)
//!    ├────────────────────────────────────┼──────────────────────►    │ peer's close, end of stream,
//!    │ peer's close, end of stream        ▼                           ▼ close timeout
//!    └───────────────────────────────► Closed ◄────────────────────────
//! ```
//!
//! Only this file changes the phase.

mod audit;
mod flow;
mod identity;
mod pipeline;

use crate::{
    AuthMode, AuthToken, Body, CloseReason, Config, Denied, Effect, Frame, Instant, Now, OpToken, Refusal,
    ResultMode, Session, SessionKey, Shared, SubscribeToken, Text, Update,
    audit::{Note, RefusalBudget},
    frame::{self, Data},
    heartbeat::{Beat, Heartbeat},
    outbox::{Outbox, Replies},
    refusal::Code,
    request::{Parsed, RequestId},
    subscriptions::{EndReason, Stream, Subscriptions},
};
use alloc::{boxed::Box, collections::VecDeque, string::String, sync::Arc};

/// Who is at the other end.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Address as shown and as key of limits; `unknown` if there is none.
    pub address: String,
}

impl Peer {
    /// Names a peer by its address.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into() }
    }
}

/// What the framing layer received.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Message<'a> {
    /// A text message, all fragments joined.
    Text(&'a str),
    /// A binary message.
    Binary,
    /// The peer's close frame: its code and reason.
    Close(Option<(u16, &'a str)>),
    /// A message over the size limit.
    TooLarge,
    /// A text message that is not UTF-8.
    InvalidUtf8,
    /// A violation of the framing protocol.
    Malformed,
}

impl<'a> Message<'a> {
    /// Makes a text message of bytes that nobody has checked yet.
    #[must_use]
    pub fn from_text_bytes(bytes: &'a [u8]) -> Self {
        core::str::from_utf8(bytes).map_or(Self::InvalidUtf8, Self::Text)
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Open,
    Draining { reason: CloseReason, until: Instant },
    Closing { reason: CloseReason, until: Instant },
    Closed,
}

/// Protocol state of one peer: its messages in, frames and effects out.
///
/// `handle_*`, `reply*`, `push_*`, `close` take input: they never block, never fail and do bounded work; a peer's
/// mistake is an outcome ([`Effect::Closed`] or an error frame), not an `Err`. `poll_*` hand out what is due.
/// Calls are legal in any order; after [`Effect::Closed`] they do nothing. Execute the effects of a message before
/// the next message is handled, so that checks against shared state see what earlier requests did.
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    peer: Peer,
    phase: Phase,
    session: Option<Arc<Session>>,
    /// When to look at the session's expiry again.
    session_deadline: Option<Instant>,
    /// The session expired by itself and the client has not been told yet.
    expiry_untold: bool,
    login_deadline: Option<Instant>,
    replies: Replies,
    /// What the audit log wants to know of the request that is being handled.
    note: Option<Box<Note>>,
    /// Errors that are recorded one by one.
    refusal_budget: RefusalBudget,
    /// A request under way must end before the next one may begin.
    barrier: bool,
    /// Requests behind the barrier, unparsed.
    backlog: VecDeque<String>,
    backlog_bytes: usize,
    subscriptions: Subscriptions,
    outbox: Outbox,
    effects: VecDeque<Effect>,
    heartbeat: Heartbeat,
    /// Pushes are held back until the queue is short again.
    congested: bool,
    /// Since when the queue has been full without a byte leaving.
    stalled_since: Option<Instant>,
}

impl Connection {
    /// Accepts a peer: the welcome is queued.
    #[must_use]
    pub fn new(config: Arc<Config>, peer: Peer, now: Now) -> Self {
        let requires_auth = config.requires_auth();
        let login_deadline = config.auth_timeout.filter(|_| requires_auth).map(|span| now.mono + span);
        let heartbeat = Heartbeat::new(config.heartbeat, now.mono);
        let mut outbox = Outbox::default();
        outbox.push(Frame::Text(frame::welcome(now.unix_ms, requires_auth)));
        Self {
            config,
            peer,
            phase: Phase::Open,
            session: None,
            session_deadline: None,
            expiry_untold: false,
            login_deadline,
            replies: Replies::default(),
            note: None,
            refusal_budget: RefusalBudget::new(now.mono),
            barrier: false,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            subscriptions: Subscriptions::default(),
            outbox,
            effects: VecDeque::new(),
            heartbeat,
            congested: false,
            stalled_since: None,
        }
    }

    /// Turns a peer away after the handshake: a close frame and no welcome.
    #[must_use]
    pub fn refused(config: Arc<Config>, peer: Peer, now: Now, reason: CloseReason) -> Self {
        let mut connection = Self::new(config, peer, now);
        connection.outbox = Outbox::default();
        connection.send_close(now, reason);
        connection
    }

    /// Takes a message. Beyond the limit of requests in flight, which a caller that heeds
    /// [`Connection::wants_read`] never reaches, requests are answered `BACKPRESSURE`; beyond twice the limit, while a
    /// login is under way, the connection is closed.
    pub fn handle_message(&mut self, now: Now, shared: &dyn Shared, message: Message<'_>) {
        match (message, self.phase) {
            (_, Phase::Closed) => {}
            (Message::Close(_), Phase::Closing { reason, .. }) => self.finish(now, shared, reason),
            (Message::Close(echo), Phase::Open | Phase::Draining { .. }) => {
                self.abandon_requests();
                let code = echo.map(|(code, _)| code);
                let reason = echo.map_or(String::new(), |(_, reason)| reason.into());
                self.outbox.push(Frame::Close { code, reason: reason.into() });
                self.finish(now, shared, CloseReason::Peer(code));
            }
            (_, Phase::Closing { .. }) => {}
            (Message::Text(text), Phase::Open | Phase::Draining { .. }) => {
                return self.handle_parsed(now, shared, &self.parse(text));
            }
            (_, Phase::Draining { .. }) => {}
            (Message::Binary, Phase::Open) => self.close(now, shared, CloseReason::BinaryMessage),
            (Message::TooLarge, Phase::Open) => self.close(now, shared, CloseReason::MessageTooLarge),
            (Message::InvalidUtf8, Phase::Open) => self.close(now, shared, CloseReason::InvalidUtf8),
            (Message::Malformed, Phase::Open) => self.close(now, shared, CloseReason::ProtocolError),
        }
        self.heartbeat.reading(now.mono, self.wants_read());
    }

    /// Reads a text message ahead, for [`Connection::handle_parsed`]. The state of the connection plays no part in it.
    #[must_use]
    pub fn parse<'a>(&self, text: &'a str) -> Parsed<'a> {
        Parsed::new(text, self.config.json_depth_max)
    }

    /// Takes a text message that has been read, as [`Connection::handle_message`] would take its text.
    pub fn handle_parsed(&mut self, now: Now, shared: &dyn Shared, message: &Parsed<'_>) {
        match self.phase {
            Phase::Open => self.take_request(now, shared, message),
            // The connection still lives, and so must be able to prove it.
            Phase::Draining { .. } if message.is_pong() => self.heartbeat.pong(),
            Phase::Closed | Phase::Closing { .. } | Phase::Draining { .. } => {}
        }
        self.heartbeat.reading(now.mono, self.wants_read());
    }

    /// Takes the end or the failure of the transport.
    pub fn handle_eof(&mut self, now: Now, shared: &dyn Shared) {
        let reason = match self.phase {
            Phase::Closed => return,
            Phase::Closing { reason, .. } => reason,
            Phase::Open | Phase::Draining { .. } => CloseReason::TransportLost,
        };
        self.outbox.clear();
        self.finish(now, shared, reason);
    }

    /// Does what has become due. Early and repeated calls change nothing.
    pub fn handle_timeout(&mut self, now: Now, shared: &dyn Shared) {
        match self.phase {
            Phase::Closed => return,
            Phase::Closing { reason, until } => {
                if until <= now.mono {
                    self.finish(now, shared, reason);
                }
                return;
            }
            Phase::Draining { reason, until } => {
                if until <= now.mono {
                    self.close_now(now, shared, reason);
                    return;
                }
            }
            Phase::Open => {}
        }
        if self.session_deadline.is_some_and(|at| at <= now.mono) {
            self.check_expiry(now, shared);
        }
        if self.login_deadline.is_some_and(|at| at <= now.mono) {
            self.close_now(now, shared, CloseReason::AuthTimeout);
            return;
        }
        if self.stall_deadline().is_some_and(|at| at <= now.mono) {
            self.close_now(now, shared, CloseReason::SlowConsumer);
            return;
        }
        self.record_summary(Some(now.mono));
        match self.heartbeat.beat(now.mono, self.wants_read()) {
            Beat::Nothing => {}
            Beat::SendPing => {
                self.outbox.push(Frame::Text(frame::ping(now.unix_ms)));
                let write_timeout = self.config.backpressure.stall_timeout;
                self.heartbeat.ping_queued(now.mono, self.outbox.total_bytes(), write_timeout);
            }
            Beat::PeerGone => self.close_now(now, shared, CloseReason::HeartbeatTimeout),
        }
    }

    /// Answers a login.
    pub fn reply_auth(
        &mut self,
        now: Now,
        shared: &dyn Shared,
        token: AuthToken,
        verdict: Result<Session, Denied>,
    ) {
        if self.replies.id(token.0).is_none() {
            return;
        }
        self.barrier = false;
        let outcome = match verdict {
            Ok(session) if session.is_expired(now.unix_ms) => {
                Err(Refusal::new(Code::Unauthorized, "Token has expired"))
            }
            Ok(session) => {
                let data = pipeline::session_json(&session, false);
                self.set_session(now, Some(Arc::new(session)));
                self.recheck_subscriptions(shared);
                Ok(Some(Data::Owned(data)))
            }
            Err(Denied::Invalid) => Err(Refusal::new(Code::Unauthorized, "Invalid token")),
            Err(Denied::Revoked { user_id }) => {
                if self.session.as_ref().is_some_and(|session| session.user_id == user_id) {
                    self.drop_session(now, shared, EndReason::PermissionRevoked);
                }
                Err(Refusal::new(Code::SessionRevoked, "Session has been revoked"))
            }
            Err(Denied::Other(refusal)) => Err(refusal),
        };
        self.fill(now, shared, token.0, outcome);
    }

    /// Answers an operation.
    pub fn reply(&mut self, now: Now, shared: &dyn Shared, token: OpToken, outcome: Result<Body, Refusal>) {
        if self.replies.id(token.0).is_none() {
            return;
        }
        self.fill(now, shared, token.0, outcome.map(data));
    }

    /// Answers a subscribe with the initial state. Events have none: give version 0 without data.
    pub fn reply_subscribe(
        &mut self,
        now: Now,
        shared: &dyn Shared,
        token: SubscribeToken,
        outcome: Result<Update, Refusal>,
    ) {
        let SubscribeToken(number, subscription) = token;
        let Some(id) = self.replies.id(number) else { return };
        match outcome {
            Ok(update) => {
                let mut version = None;
                let data = update.data.clone();
                if let Some(Stream::Results { mode, sent, latest, .. }) =
                    self.subscriptions.get_mut(subscription).map(|live| &mut live.stream)
                {
                    version = Some(update.version).filter(|_| *mode == ResultMode::Delta);
                    // A push that overtook the answer must not bring back an older state.
                    latest.take_if(|latest| latest.version <= update.version);
                    *sent = Some(update);
                }
                let text = frame::subscribed(id, subscription, version, data);
                self.replies.fill(number, text, Some(subscription));
                self.record_outcome(number, None);
                self.release_replies(now, shared);
            }
            Err(refusal) => {
                if self.subscriptions.remove(subscription).is_some() {
                    shared.release_subscriptions(1);
                }
                self.fill(now, shared, number, Err(refusal));
            }
        }
    }

    /// Tells the peer that the server stops in `grace_ms`.
    pub fn handle_shutdown_notice(&mut self, grace_ms: u64) {
        if self.phase == Phase::Open {
            self.outbox.push(Frame::Text(frame::shutdown_notice(grace_ms)));
        }
    }

    /// Revokes the session: it is cleared, waiting requests are discarded, the peer is told and closed.
    pub fn revoke(&mut self, now: Now, shared: &dyn Shared) {
        if matches!(self.phase, Phase::Open | Phase::Draining { .. }) {
            self.abandon_requests();
            self.set_session(now, None);
            self.outbox.push(Frame::Text(frame::session_revoked_notice()));
            self.close_now(now, shared, CloseReason::SessionRevoked);
        }
    }

    /// Another connection has logged out of a stored session: if this one stands for it too, it is logged out as well.
    pub fn end_session(&mut self, now: Now, shared: &dyn Shared, stored: SessionKey) {
        if self.session.as_ref().is_some_and(|session| session.stored == Some(stored)) {
            self.drop_session(now, shared, EndReason::LoggedOut);
        }
    }

    /// Closes the connection. Nothing received later is executed; requests received before are finished where the
    /// reason is a shutdown or lies in the peer's own message.
    pub fn close(&mut self, now: Now, shared: &dyn Shared, reason: CloseReason) {
        if self.phase != Phase::Open {
            return;
        }
        let graceful = matches!(
            reason,
            CloseReason::ServerShutdown
                | CloseReason::BinaryMessage
                | CloseReason::MessageTooLarge
                | CloseReason::InvalidUtf8
                | CloseReason::ProtocolError
        );
        if graceful && !(self.replies.is_empty() && self.backlog.is_empty()) {
            self.phase = Phase::Draining { reason, until: now.mono + self.config.drain_timeout };
        } else {
            self.close_now(now, shared, reason);
        }
    }

    /// Gives the next effect to execute. What has not been taken when the connection is closed is not executed any
    /// more.
    #[must_use]
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Gives the next frame in wire order. From now on its bytes count as held by the transport.
    #[must_use]
    pub fn poll_frame(&mut self) -> Option<Frame> {
        self.outbox.pop()
    }

    /// Gives back the room of queues that are empty; for a connection that is about to wait.
    pub fn release_spare(&mut self) {
        if self.effects.is_empty() {
            self.effects = VecDeque::new();
        }
        self.outbox.release_spare();
        self.replies.release_spare();
    }

    /// The moment at which [`Connection::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Closed => None,
            Phase::Closing { until, .. } => Some(until),
            Phase::Open | Phase::Draining { .. } => {
                let until = if let Phase::Draining { until, .. } = self.phase { Some(until) } else { None };
                [
                    Some(self.heartbeat.deadline()),
                    until,
                    self.session_deadline,
                    self.login_deadline,
                    self.stall_deadline(),
                    self.refusal_budget.deadline(),
                ]
                .into_iter()
                .flatten()
                .min()
            }
        }
    }

    /// Tells whether messages should be read; false lets the transport push back. A closing connection reads on, to
    /// find the peer's close frame.
    #[must_use]
    pub fn wants_read(&self) -> bool {
        match self.phase {
            Phase::Closed => false,
            Phase::Closing { .. } | Phase::Draining { .. } => true,
            Phase::Open => {
                let flow = &self.config.backpressure;
                self.in_flight() < self.config.requests_in_flight_max.max(1)
                    && self.backlog_bytes < flow.buffered_bytes_max.max(1)
                    && (flow.reject_requests || self.queued_bytes() < flow.buffered_bytes_max.max(1))
            }
        }
    }

    /// Tells whether the connection has ended; frames may still be waiting.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// The identity that the connection speaks for.
    #[must_use]
    pub fn session(&self) -> Option<&Arc<Session>> {
        self.session.as_ref()
    }

    /// The peer's address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.peer.address
    }

    /// Numbers of query and of event subscriptions.
    #[must_use]
    pub fn subscription_counts(&self) -> (usize, usize) {
        self.subscriptions.counts()
    }

    /// Requests under way or waiting.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.replies.len() + self.backlog.len()
    }

    /// Bytes accepted for the peer and not yet taken by the network.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.outbox.queued_bytes().saturating_add(self.replies.bytes())
    }

    // ---- inner workings shared by the submodules ----

    fn accepts_work(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Draining { .. })
    }

    fn fill(&mut self, now: Now, shared: &dyn Shared, number: u64, outcome: Result<Option<Data>, Refusal>) {
        self.settle(number, outcome);
        self.release_replies(now, shared);
    }

    /// Fills the place of a reply and records the outcome.
    fn settle(&mut self, number: u64, outcome: Result<Option<Data>, Refusal>) {
        let Some(id) = self.replies.id(number) else { return };
        let (text, error) = match outcome {
            Ok(data) => (frame::result(id.clone(), data), None),
            Err(refusal) => {
                (frame::error(id, &refusal, self.config.expose_error_details), Some(refusal.message))
            }
        };
        self.replies.fill(number, text, None);
        self.record_outcome(number, error.as_deref());
    }

    /// Queues replies whose turn has come.
    fn send_ready_replies(&mut self, shared: &dyn Shared) {
        while let Some((text, announces)) = self.replies.pop_ready() {
            self.outbox.push(Frame::Text(text));
            if let Some(subscription) = announces {
                self.announce(shared, subscription);
            }
        }
        self.send_after_replies();
    }

    /// Queues replies whose turn has come, then lets waiting requests begin.
    fn release_replies(&mut self, now: Now, shared: &dyn Shared) {
        self.send_ready_replies(shared);
        if self.replies.is_empty() {
            self.barrier = false;
        }
        while !self.barrier && self.accepts_work() {
            let Some(text) = self.backlog.pop_front() else { break };
            self.backlog_bytes -= text.len();
            self.run_request(now, shared, &self.parse(&text));
        }
        self.finish_draining(now, shared);
        self.heartbeat.reading(now.mono, self.wants_read());
    }

    /// Answers a request at once, or behind the ones that wait.
    fn answer(&mut self, id: RequestId, text: Text) {
        if self.replies.is_empty() {
            self.outbox.push(Frame::Text(text));
        } else {
            let number = self.replies.open(id, None);
            self.replies.fill(number, text, None);
        }
    }

    fn answer_error(&mut self, id: RequestId, refusal: &Refusal) {
        let text = frame::error(&id, refusal, self.config.expose_error_details);
        self.answer(id, text);
        self.record_now(Some(&refusal.message));
    }

    fn answer_data(&mut self, id: RequestId, data: Data) {
        let text = frame::result(id.clone(), Some(data));
        self.answer_success(id, text);
    }

    fn answer_success(&mut self, id: RequestId, text: Text) {
        self.answer(id, text);
        self.record_now(None);
    }

    /// Opens the place of a reply that comes later.
    fn open(&mut self, id: RequestId) -> u64 {
        let note = self.note.take();
        self.replies.open(id, note)
    }

    fn stall_deadline(&self) -> Option<Instant> {
        self.stalled_since.map(|since| since + self.config.backpressure.stall_timeout)
    }

    /// Forgets requests that have not been answered. What has been handed out for execution is past recall; what has
    /// not is dropped.
    fn abandon_requests(&mut self) {
        self.effects.retain(|effect| {
            matches!(
                effect,
                Effect::Unsubscribe { .. }
                    | Effect::SessionChanged(_)
                    | Effect::Record(_)
                    | Effect::Closed(_)
            )
        });
        self.record_abandoned();
        self.replies.clear();
        self.backlog.clear();
        self.backlog_bytes = 0;
        self.barrier = false;
    }

    fn finish_draining(&mut self, now: Now, shared: &dyn Shared) {
        if let Phase::Draining { reason, .. } = self.phase
            && self.replies.is_empty()
            && self.backlog.is_empty()
        {
            self.close_now(now, shared, reason);
        }
    }

    /// Queues the close frame and drops everything that could still run.
    fn close_now(&mut self, now: Now, shared: &dyn Shared, reason: CloseReason) {
        self.abandon_requests();
        self.drop_subscriptions(shared);
        self.send_close(now, reason);
        if reason == CloseReason::SlowConsumer {
            self.finish(now, shared, reason);
        }
    }

    fn send_close(&mut self, now: Now, reason: CloseReason) {
        if let Some((code, text)) = reason.close_frame() {
            self.outbox.push(Frame::Close { code, reason: text.into() });
        }
        self.phase = Phase::Closing { reason, until: now.mono + self.config.close_timeout };
    }

    fn drop_subscriptions(&mut self, shared: &dyn Shared) {
        shared.release_subscriptions(self.subscriptions.len());
        for subscription in self.subscriptions.take_all() {
            self.effects.push_back(Effect::Unsubscribe { subscription });
        }
    }

    fn finish(&mut self, _now: Now, shared: &dyn Shared, reason: CloseReason) {
        self.abandon_requests();
        self.drop_subscriptions(shared);
        self.phase = Phase::Closed;
        self.effects.push_back(Effect::Closed(reason));
    }
}

fn data(body: Body) -> Option<Data> {
    match body {
        Body::Shared(text) => Some(Data::Shared(text)),
        Body::Owned(text) => Some(Data::Owned(text)),
        Body::Static(text) => Some(Data::Static(text)),
        Body::Absent => None,
    }
}

impl Config {
    /// Whether requests need a login, as the welcome tells.
    #[must_use]
    pub fn requires_auth(&self) -> bool {
        match &self.auth {
            AuthMode::None => false,
            AuthMode::Token(token) => token.required,
            AuthMode::BuiltIn => true,
        }
    }
}
