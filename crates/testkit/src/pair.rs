//! A connection and its peer under a virtual clock.

use crate::{World, host::Host, ledger::Ledger, script::Step, transport::Transport};
use noex_core::{
    AuditRecord, CloseReason, Config, Connection, Delivery, Effect, EndReason, Frame, Instant, Message, Now,
    Peer, SessionKey, SubId,
};
use std::{collections::VecDeque, sync::Arc, time::Duration};

/// Wall clock at the start, in ms.
pub const EPOCH_MS: u64 = 1_700_000_000_000;

/// Monotonic clock at the start. Not zero, so that nobody relies on it.
const START: Instant = Instant::from_millis(1_000_000);

/// Turns in which nothing settles; more is an endless loop.
const TURNS_MAX: usize = 10_000;

/// What the client sends, or what becomes of its stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Inbound {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary,
    /// A close frame.
    Close(Option<(u16, String)>),
    /// A message over the size limit.
    TooLarge,
    /// Text that is not UTF-8.
    InvalidUtf8,
    /// A violation of the framing protocol.
    Malformed,
    /// The end of the stream.
    Eof,
}

/// One connection, its client, its host and the network between them. Methods that do something let everything
/// settle and check the invariants.
#[derive(Debug)]
pub struct Pair {
    connection: Connection,
    config: Arc<Config>,
    world: World,
    host: Host,
    transport: Transport,
    ledger: Ledger,
    now: Now,
    /// Sent by the client and not yet read.
    inbound: VecDeque<Inbound>,
    received: Vec<String>,
    answers_pings: bool,
    closed: Option<CloseReason>,
    queued_bytes_peak: usize,
}

impl Default for Pair {
    fn default() -> Self {
        Self::new(Config::default())
    }
}

impl Pair {
    /// Connects a client under a configuration, in a world without limits.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::in_world(config, World::default())
    }

    /// Connects a client.
    #[must_use]
    pub fn in_world(config: Config, world: World) -> Self {
        let config = Arc::new(config);
        let connection = Connection::new(Arc::clone(&config), Peer::new("192.0.2.1"), now_at(START));
        Self::of(connection, config, world)
    }

    /// Connects a client that is turned away after the handshake.
    #[must_use]
    pub fn refused(config: Config, reason: CloseReason) -> Self {
        let config = Arc::new(config);
        let peer = Peer::new("192.0.2.1");
        let connection = Connection::refused(Arc::clone(&config), peer, now_at(START), reason);
        Self::of(connection, config, World::default())
    }

    fn of(connection: Connection, config: Arc<Config>, world: World) -> Self {
        let mut pair = Self {
            connection,
            ledger: Ledger::new(&config),
            config,
            world,
            host: Host::default(),
            transport: Transport::default(),
            now: now_at(START),
            inbound: VecDeque::new(),
            received: Vec::new(),
            answers_pings: false,
            closed: None,
            queued_bytes_peak: 0,
        };
        pair.settle();
        pair
    }

    /// Lets the client answer every ping as it arrives; pings are then not shown by [`Pair::received`].
    #[must_use]
    pub fn answering_pings(mut self) -> Self {
        self.answers_pings = true;
        self
    }

    /// Sets how long the host takes for its answers: the spans are used in turn, `None` = until [`Pair::answer`].
    #[must_use]
    pub fn answering_after(mut self, delays: &[Option<Duration>]) -> Self {
        self.set_delays(delays);
        self
    }

    /// Makes the host wait with every answer until [`Pair::answer`].
    #[must_use]
    pub fn holding_answers(self) -> Self {
        self.answering_after(&[None])
    }

    /// As [`Pair::answering_after`], for the answers from now on.
    pub fn set_delays(&mut self, delays: &[Option<Duration>]) {
        self.host.delays = delays.to_vec();
    }

    // ---- the client ----

    /// Sends a text message; it is handled as soon as the connection reads.
    pub fn send(&mut self, text: impl Into<String>) {
        self.send_any(Inbound::Text(text.into()));
    }

    /// Sends anything; it is handled as soon as the connection reads.
    pub fn send_any(&mut self, message: Inbound) {
        self.inbound.push_back(message);
        self.settle();
    }

    /// Hands over a message although the connection may not want to read.
    pub fn send_unasked(&mut self, message: &Inbound) {
        self.deliver(message);
        self.settle();
    }

    /// Sends a request and gives the last text that the client received thereupon.
    pub fn ask(&mut self, text: impl Into<String>) -> String {
        self.send(text);
        self.received().pop().unwrap_or_default()
    }

    /// Gives what the client has received since the last call: texts, and close frames as `close <code> <reason>`.
    pub fn received(&mut self) -> Vec<String> {
        std::mem::take(&mut self.received)
    }

    /// Messages sent and not yet read.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.inbound.len()
    }

    // ---- the network ----

    /// Lets the network take `bytes` more, then nothing.
    pub fn take(&mut self, bytes: usize) {
        self.transport.room = Some(bytes);
        self.settle();
    }

    /// Lets the network take nothing.
    pub fn stall(&mut self) {
        self.take(0);
    }

    /// Lets the network take everything.
    pub fn flow(&mut self) {
        self.transport.room = None;
        self.settle();
    }

    // ---- the clock ----

    /// Lets time pass, stopping at every deadline and every answer on the way.
    pub fn advance(&mut self, span: Duration) {
        let end = self.now.mono + span;
        loop {
            let next = self.connection.poll_timeout().into_iter().chain(self.host.next_due()).min();
            let at = next.filter(|at| *at < end).unwrap_or(end);
            self.now = now_at(at.max(self.now.mono));
            self.settle();
            if at >= end {
                return;
            }
        }
    }

    /// Calls `handle_timeout`, due or not.
    pub fn timeout(&mut self) {
        self.connection.handle_timeout(self.now, &self.world);
        self.after_call();
        Ledger::deadline(&self.connection, self.now);
        self.settle();
    }

    /// Time until the next deadline of the connection.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        self.connection.poll_timeout().map(|at| at.since(self.now.mono))
    }

    /// Wall clock in ms.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        self.now.unix_ms
    }

    // ---- the host ----

    /// Answers one of the effects that wait for it, in the order of execution; false if there is none.
    pub fn answer(&mut self, index: usize) -> bool {
        let answered = self.host.answer(index, self.now, &self.world, &mut self.connection);
        self.after_call();
        self.settle();
        answered
    }

    /// Answers all effects that wait for it, in order.
    pub fn answer_all(&mut self) {
        while self.answer(0) {}
    }

    /// Effects that wait for an answer.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.host.parked.len()
    }

    /// What the host has executed since the last call, as `Debug` shows it.
    pub fn executed(&mut self) -> Vec<String> {
        std::mem::take(&mut self.host.executed)
    }

    /// What has been recorded for the audit log since the last call.
    pub fn records(&mut self) -> Vec<AuditRecord> {
        std::mem::take(&mut self.host.records)
    }

    /// Takes the present roles of a user.
    pub fn update_roles(&mut self, user_id: &str, roles: &[&str]) {
        let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
        self.connection.update_roles(&self.world, user_id, &roles);
        self.after_call();
        self.settle();
    }

    /// Looks at the rights again, which have changed.
    pub fn recheck(&mut self) {
        self.connection.recheck(&self.world);
        self.after_call();
        self.settle();
    }

    /// Tells that somebody has logged out of a stored session.
    pub fn end_session(&mut self, stored: SessionKey) {
        self.connection.end_session(self.now, &self.world, stored);
        self.after_call();
        self.settle();
    }

    /// Gives a query a new result and pushes it. `None` = no value.
    pub fn publish(&mut self, query: &str, data: Option<&str>) -> Vec<Delivery> {
        let state = self.world.set_state(query, data.map(Into::into));
        let deliveries =
            state.map_or_else(Vec::new, |state| self.host.push_result(&mut self.connection, query, &state));
        self.after_call();
        self.settle();
        deliveries
    }

    /// Publishes an event.
    pub fn emit(&mut self, topic: &str) -> Vec<Delivery> {
        let deliveries = self.host.emit(&mut self.connection, topic);
        self.after_call();
        self.settle();
        deliveries
    }

    /// Ends a subscription because what it watches is gone.
    pub fn end_subscription(&mut self, number: u64, reason: EndReason) {
        self.connection.end_subscription(&self.world, SubId(number), reason);
        self.after_call();
        self.settle();
    }

    /// Tells that the server will stop.
    pub fn shutdown_notice(&mut self, grace: Duration) {
        self.connection.handle_shutdown_notice(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
        self.after_call();
        self.settle();
    }

    /// Closes the connection from the host's side.
    pub fn close(&mut self, reason: CloseReason) {
        self.ledger.deafen();
        self.connection.close(self.now, &self.world, reason);
        self.after_call();
        self.settle();
    }

    /// Revokes the session.
    pub fn revoke(&mut self) {
        self.ledger.deafen();
        self.connection.revoke(self.now, &self.world);
        self.after_call();
        self.settle();
    }

    // ---- looking on ----

    /// Why the connection has ended, if it has.
    #[must_use]
    pub fn closed(&self) -> Option<CloseReason> {
        self.closed
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The shared state.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The largest number of bytes that were queued after any call.
    #[must_use]
    pub fn queued_bytes_peak(&self) -> usize {
        self.queued_bytes_peak
    }

    // ---- scripts ----

    /// Does one step of a script.
    pub fn apply(&mut self, step: &Step) {
        match step {
            Step::Send(message) => self.send_any(message.clone()),
            Step::SendUnasked(message) => self.send_unasked(message),
            Step::Wait(span) => self.advance(*span),
            Step::Timeout => self.timeout(),
            Step::Answer(index) => {
                let index = index % self.unanswered().max(1);
                self.answer(index);
            }
            Step::Take(bytes) => self.take(*bytes),
            Step::Flow => self.flow(),
            Step::Publish(query, data) => {
                self.publish(query, data.as_deref());
            }
            Step::Emit(topic) => {
                self.emit(topic);
            }
            Step::End(number, reason) => self.end_subscription(*number, *reason),
            Step::Grant(user, resource) => self.world.grant(user, "*", resource),
            Step::Withdraw(user, resource) => {
                self.world.withdraw(user, resource);
                self.recheck();
            }
            Step::Roles(user, role) => self.update_roles(user, &[*role]),
            Step::Notice(grace) => self.shutdown_notice(*grace),
            Step::Revoke => self.revoke(),
            Step::Close(reason) => self.close(*reason),
        }
    }

    /// Lets the network take everything and the host answer everything, in order.
    pub fn finish(&mut self) {
        self.set_delays(&[]);
        self.flow();
        self.answer_all();
    }

    /// Ends the stream and checks that nothing is left behind.
    pub fn end(mut self) {
        self.send_unasked(&Inbound::Eof);
        assert!(self.closed.is_some(), "the end of the stream ends the connection");
        assert_eq!(self.world.reserved(), 0, "subscriptions reserved at the end");
        // Late answers find nobody.
        self.answer_all();
    }

    // ---- inner workings ----

    fn deliver(&mut self, message: &Inbound) {
        let message = match message {
            Inbound::Text(text) => {
                self.ledger.message(text);
                Message::Text(text)
            }
            Inbound::Binary => Message::Binary,
            Inbound::Close(echo) => {
                Message::Close(echo.as_ref().map(|(code, reason)| (*code, reason.as_str())))
            }
            Inbound::TooLarge => Message::TooLarge,
            Inbound::InvalidUtf8 => Message::InvalidUtf8,
            Inbound::Malformed => Message::Malformed,
            Inbound::Eof => {
                self.ledger.deafen();
                self.transport.lose_all();
                self.connection.handle_eof(self.now, &self.world);
                self.after_call();
                return;
            }
        };
        if !matches!(message, Message::Text(_)) {
            self.ledger.deafen();
        }
        self.connection.handle_message(self.now, &self.world, message);
        self.after_call();
    }

    /// Turns until nothing changes any more, as a driver would.
    fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            let mut progress = false;
            if self.connection.poll_timeout().is_some_and(|at| at <= self.now.mono) {
                self.connection.handle_timeout(self.now, &self.world);
                self.after_call();
                Ledger::deadline(&self.connection, self.now);
                progress = true;
            }
            progress |= self.answer_due();
            while self.connection.wants_read() {
                let Some(message) = self.inbound.pop_front() else { break };
                self.deliver(&message);
                progress = true;
            }
            progress |= self.flush();
            let reads_on = self.connection.wants_read() && !self.inbound.is_empty();
            if !progress && !reads_on {
                return;
            }
        }
        panic!("the connection does not come to rest");
    }

    fn answer_due(&mut self) -> bool {
        let mut progress = false;
        while let Some(index) = self.host.due(self.now) {
            self.host.answer(index, self.now, &self.world, &mut self.connection);
            self.after_call();
            progress = true;
        }
        progress
    }

    /// Writes what the network takes; tells whether the client received something.
    fn flush(&mut self) -> bool {
        let arrived = self.transport.flush();
        self.connection.handle_buffered(self.now, self.transport.held());
        let resumed = self.after_call();
        let progress = resumed || !arrived.is_empty();
        for frame in arrived {
            match frame {
                Frame::Text(text) => self.receive(text.into_string()),
                Frame::Close { code: None, .. } => self.received.push("close".into()),
                Frame::Close { code: Some(code), reason } => {
                    self.received.push(format!("close {code} {reason}").trim_end().into());
                }
            }
        }
        progress
    }

    fn receive(&mut self, text: String) {
        if self.answers_pings && text.starts_with(r#"{"type":"ping""#) {
            self.inbound.push_back(Inbound::Text(text.replace("ping", "pong")));
        } else {
            self.received.push(text);
        }
    }

    /// Executes effects, hands frames to the transport, checks; tells whether there were frames.
    fn after_call(&mut self) -> bool {
        while let Some(effect) = self.connection.poll_effect() {
            self.ledger.effect(&effect);
            if let Effect::Closed(reason) = effect {
                self.closed = Some(reason);
                assert!(self.host.watched.is_empty(), "watched beyond the end: {:?}", self.host.watched);
            }
            self.host.execute(self.now, &self.world, &mut self.connection, effect);
            while let Some(index) = self.host.due(self.now) {
                self.host.answer(index, self.now, &self.world, &mut self.connection);
            }
        }
        let mut frames = false;
        while let Some(frame) = self.connection.poll_frame() {
            self.ledger.frame(&frame);
            self.transport.queue(frame);
            frames = true;
        }
        self.queued_bytes_peak = self.queued_bytes_peak.max(self.connection.queued_bytes());
        self.ledger.state(&self.connection, self.world.reserved(), self.transport.held());
        frames
    }
}

fn now_at(mono: Instant) -> Now {
    Now { mono, unix_ms: EPOCH_MS + mono.as_millis() - START.as_millis() }
}
