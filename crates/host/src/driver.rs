//! The life of one accepted stream: handshake, then the loop that binds it to the protocol machine.
//!
//! A turn reads what the socket holds, up to a limit, executes the effects, and flushes once. No turn blocks; after
//! a few turns other tasks get theirs.

use crate::{
    AuthFailure, Hub, Timer, Verdict,
    awaited::{Awaited, Known},
    handshake::{self, Acceptance, Decision, Response},
    identity::Progress,
    inbox::{Events, Pending as Mail},
    registry::Entry,
    transport::{BATCH_MAX, Incoming, Transport, poll_discard},
    waiting::WaitingList,
};
use futures::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt,
    future::{Either, poll_fn, select},
    ready,
};
use indexmap::IndexMap;
use noex_core::{
    AuthToken, Body, CloseReason, Connection, Denied, Effect, Frame, IdentityToken, Instant, Message, Now,
    OpToken, Parsed, Peer, Refusal, Session, SessionChange, SubId,
};
use smallvec::SmallVec;
use std::{
    future::Future,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// Time for a complete upgrade request and its answer.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages handled before the answers are flushed.
const MESSAGES_PER_TURN_MAX: usize = 128;
/// Longest text that is read before its turn: it may have to be read again if the connection wants no more before that.
const READ_AHEAD_BYTES_MAX: usize = 1024;
/// Turns before other tasks get a chance.
const TURNS_MAX: usize = 4;

/// Serves one accepted stream until it is closed. `peer` is the address of its other end.
pub async fn serve<S, T>(hub: Arc<Hub>, stream: S, peer: Option<IpAddr>, timer: T)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    // Both on the heap, so that a connection that waits does not keep the room that its handshake needed.
    if let Some(mut drive) = Box::pin(open(hub, stream, peer, timer)).await {
        let reason = (&mut *drive).await;
        tracing::debug!(?reason, "connection closed");
        drive.farewell(reason).await;
    }
}

/// Does the handshake; `None` = the stream is refused or gone.
async fn open<S, T>(
    hub: Arc<Hub>,
    mut stream: S,
    peer: Option<IpAddr>,
    mut timer: T,
) -> Option<Box<Drive<S, T>>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    let mut received = Vec::new();
    let deadline = timer.now().mono + HANDSHAKE_TIMEOUT;
    let judged = before(&mut timer, deadline, handshake(&hub, &mut stream, peer, &mut received)).await;
    let refusal = match judged.unwrap_or(Err(Some(Response::TIMEOUT))) {
        Err(refusal) => refusal,
        Ok(acceptance) if hub.registry.reserve(hub.options.connections_max) => {
            let place = Place(Arc::clone(&hub));
            received.drain(..acceptance.head_len.min(received.len()));
            let peer = acceptance
                .forwarded_for
                .or_else(|| peer.map(|ip| ip.to_string()))
                .unwrap_or_else(|| "unknown".to_owned());
            let answer = stream.write_all(acceptance.response.as_bytes());
            before(&mut timer, deadline, answer).await?.ok()?;
            let transport = Transport::new(stream, received, hub.options.payload_bytes_max).await;
            return Some(Box::new(Drive::new(hub, place, transport, peer, timer)));
        }
        Ok(_) => Some(Response::FULL),
    };
    let response = refusal?;
    let deadline = timer.now().mono + hub.connection_config.close_timeout;
    let farewell = async {
        if stream.write_all(&response.to_bytes()).await.is_ok() && stream.close().await.is_ok() {
            // Until the peer has seen the answer: unread data at a close would reset the connection.
            poll_fn(|cx| poll_discard(&mut stream, cx)).await;
        }
    };
    before(&mut timer, deadline, farewell).await;
    None
}

/// A reserved place among the server's connections.
struct Place(Arc<Hub>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.registry.unreserve();
    }
}

/// Runs a future until it ends or a deadline passes.
async fn before<T: Timer, F: Future>(timer: &mut T, deadline: Instant, work: F) -> Option<F::Output> {
    timer.arm(Some(deadline));
    let work = pin!(work);
    let outcome = match select(work, poll_fn(|cx| timer.poll_expired(cx))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    };
    timer.arm(None);
    outcome
}

/// Reads and judges the upgrade request. `Err(None)`: the peer has gone.
async fn handshake<S: AsyncRead + Unpin>(
    hub: &Hub,
    stream: &mut S,
    peer: Option<IpAddr>,
    received: &mut Vec<u8>,
) -> Result<Acceptance, Option<Response>> {
    let mut chunk = [0; 2048];
    loop {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return Err(None),
            Ok(n) => received.extend_from_slice(chunk.get(..n).unwrap_or_default()),
        }
        match handshake::judge(&hub.options.handshake, received, peer) {
            Decision::ReadMore => {}
            Decision::Refuse(response) => return Err(Some(response)),
            Decision::Accept(acceptance) => return Ok(acceptance),
        }
    }
}

/// Enters a connection into the registry.
fn admit(hub: &Arc<Hub>, address: &str, now: Now) -> Result<Member, CloseReason> {
    if hub.is_stopping() {
        return Err(CloseReason::ServerShuttingDown);
    }
    let entry = hub
        .registry
        .admit(address, now.unix_ms, hub.options.connections_per_address_max)
        .map_err(|_| CloseReason::TooManyConnections)?;
    let member = Member { hub: Arc::clone(hub), entry };
    // Again: a stop that began meanwhile may have listed the connections before this one was among them.
    if hub.is_stopping() { Err(CloseReason::ServerShuttingDown) } else { Ok(member) }
}

/// Membership in the registry, for as long as the TCP connection lives.
pub(crate) struct Member {
    hub: Arc<Hub>,
    pub(crate) entry: Arc<Entry>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.hub.registry.remove(&self.entry);
    }
}

impl<S, T: Timer> Drop for Drive<S, T> {
    /// The task may have been dropped in mid-life.
    fn drop(&mut self) {
        self.clean_up();
    }
}

pub(crate) struct Drive<S, T: Timer> {
    pub(crate) hub: Arc<Hub>,
    pub(crate) member: Option<Member>,
    pub(crate) connection: Connection,
    transport: Transport<S>,
    pub(crate) timer: T,
    /// What the timer is set to, if that is known.
    armed: Option<Option<Instant>>,
    awaited: Option<Awaited>,
    /// Engine calls were executed since the last delivery of pushes.
    pub(crate) executed: bool,
    /// Requests whose answers wait until what they rest on is kept.
    pub(crate) waiting: WaitingList,
    /// When the close frame was queued.
    closing_since: Option<Instant>,
    /// The sending direction has been ended.
    shut: bool,
    closed: Option<CloseReason>,
    /// Given back last.
    _place: Place,
}

impl<S, T> Future for Drive<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    type Output = CloseReason;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let this = self.get_mut();
        // A panic ends this connection and no other.
        catch_unwind(AssertUnwindSafe(|| this.step(cx))).unwrap_or_else(|_| {
            let who = this.member.as_ref().map_or_else(String::new, |member| member.entry.to_string());
            tracing::error!(connection = %who, "panic while serving a connection; it is closed");
            this.clean_up();
            if let Some((code, text)) = CloseReason::InternalError.close_frame() {
                this.transport.queue(Frame::Close { code, reason: text.into() });
            }
            Poll::Ready(CloseReason::InternalError)
        })
    }
}

impl<S, T> Drive<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Enters a connection into the registry and welcomes it, or turns it away.
    fn new(hub: Arc<Hub>, place: Place, transport: Transport<S>, address: String, timer: T) -> Self {
        let now = timer.now();
        let config = Arc::clone(&hub.connection_config);
        let (member, connection) = match admit(&hub, &address, now) {
            Ok(member) => (Some(member), Connection::new(config, Peer::new(address), now)),
            Err(reason) => (None, Connection::refused(config, Peer::new(address), now, reason)),
        };
        Self {
            hub,
            member,
            connection,
            transport,
            timer,
            armed: None,
            awaited: None,
            executed: false,
            waiting: WaitingList::default(),
            closing_since: None,
            shut: false,
            closed: None,
            _place: place,
        }
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        if let Some(member) = &self.member {
            member.entry.inbox.register(cx.waker());
        }
        // The socket has no more; it wakes when it has. Asking it again would only cost a system call.
        let mut drained = false;
        for _ in 0..TURNS_MAX {
            let now = self.timer.now();
            let mut progress = false;
            // The clock decides, the timer only wakes.
            if self.connection.poll_timeout().is_some_and(|at| at <= now.mono) {
                self.connection.handle_timeout(now, &*self.hub);
                progress = true;
            }
            progress |= self.take_mail(now) | self.poll_awaited(cx, now);
            if !drained {
                let read_some;
                (read_some, drained) = self.read(cx, now);
                progress |= read_some;
            }
            self.execute_effects(now);
            progress |= self.deliver(now);
            self.queue_frames();
            progress |= self.flush(cx, now);
            if self.closing_since.is_none() && self.transport.is_closing() {
                self.closing_since = Some(now.mono);
            }
            // Not before all that this connection changed has been delivered to the others.
            if let Some(reason) = self.closed.filter(|_| !self.executed) {
                return Poll::Ready(reason);
            }
            // Reading may have been paused, or stopped at the limit of a turn.
            if progress || (self.connection.wants_read() && !drained) {
                continue;
            }
            let awaited_until = self.awaited.as_ref().and_then(Awaited::deadline);
            let next = self.connection.poll_timeout().into_iter().chain(awaited_until).min();
            if self.armed != Some(next) {
                self.timer.arm(next);
                self.armed = Some(next);
            }
            if self.timer.poll_expired(cx).is_pending() {
                // Nobody knows for how long.
                self.connection.release_spare();
                self.transport.release_spare();
                return Poll::Pending;
            }
            self.armed = None;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes what others left in the mailbox.
    fn take_mail(&mut self, now: Now) -> bool {
        let mail = self.member.as_ref().and_then(|member| member.entry.inbox.take());
        // Taken first: whatever is in it, the reply to what caused it is due by now.
        let Some(mail) = mail else {
            let answered = self.answer_settled(now);
            if answered {
                self.execute_effects(now);
                self.queue_frames();
            }
            return answered;
        };
        self.heed(now, &mail);
        let Mail { results, events, ended, shutdown_notice_ms, close, .. } = mail;
        self.push_events(events);
        self.answer_settled(now);
        for (subscription, update) in results {
            let _ = self.connection.push_result(subscription, update);
        }
        for (subscription, reason) in ended {
            self.connection.end_subscription(&*self.hub, subscription, reason);
        }
        if let Some(grace_ms) = shutdown_notice_ms {
            self.connection.handle_shutdown_notice(grace_ms);
        }
        if let Some(reason) = close {
            self.connection.close(now, &*self.hub, reason);
        }
        self.execute_effects(now);
        self.queue_frames();
        true
    }

    /// Goes on with the request that waits, if it need not wait any longer.
    fn poll_awaited(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        let Some(awaited) = self.awaited.take() else { return false };
        match awaited.poll(cx, now) {
            Err(awaited) => {
                self.awaited = Some(awaited);
                return false;
            }
            Ok(Known::Login(token, answer)) => self.reply_login(now, token, answer),
            Ok(Known::Identity(token, working, Ok(result))) => {
                let progress = self.member.as_ref().map(|member| {
                    self.executed = true;
                    let session = self.connection.session().map(|session| &**session);
                    self.hub.resume_identity(now, &member.entry, session, working.rest, result)
                });
                self.take_progress(now, token, progress);
            }
            Ok(Known::Identity(token, _, Err(_))) => self.take_progress(now, token, None),
        }
        self.execute_effects(now);
        true
    }

    /// Reads messages up to the limit; tells whether there were some, and whether the socket has no more.
    fn read(&mut self, cx: &mut Context<'_>, now: Now) -> (bool, bool) {
        self.transport.begin_turn();
        let mut count = 0;
        while count < MESSAGES_PER_TURN_MAX && self.connection.wants_read() {
            let (batch, drained) = self.transport.poll_batch(cx);
            let handled = self.handle_batch(now, &batch);
            count += handled;
            let all = handled == batch.len();
            self.transport.unread(batch.into_iter().skip(handled));
            if drained && all {
                return (count > 0, true);
            }
        }
        (count > 0, false)
    }

    /// Handles messages until the connection wants no more; gives their number. What they need of the store is fetched
    /// before the first of them is handled.
    fn handle_batch(&mut self, now: Now, batch: &[Incoming]) -> usize {
        // Nobody listens while the connection is being closed.
        let ahead = if self.transport.is_closing() { 0 } else { batch.len() };
        let texts = batch.iter().take(ahead).map_while(|incoming| {
            let Incoming::Text(text) = incoming else { return None };
            (text.len() <= READ_AHEAD_BYTES_MAX).then(|| self.connection.parse(text.as_str()))
        });
        let texts: SmallVec<[Parsed<'_>; BATCH_MAX]> = texts.collect();
        self.prefetch(&texts);
        for at in 0..batch.len() {
            if !self.connection.wants_read() {
                return at;
            }
            // A message that was sent after the revocation must not be executed; nor by rights that have ended.
            if self.may_be_overtaken() {
                self.take_mail(now);
            }
            match (texts.get(at), batch.get(at)) {
                (Some(text), _) => self.connection.handle_parsed(now, &*self.hub, text),
                (None, Some(incoming)) => self.handle(now, incoming),
                (None, None) => {}
            }
            // At once, so that the next message is judged by what this one did.
            self.execute_effects(now);
            self.queue_frames();
        }
        batch.len()
    }

    /// Has the store fetch the records that messages ask for, so that the waits for memory overlap. Not for strangers, who
    /// could tell by the time that it takes what there is.
    fn prefetch(&self, texts: &[Parsed<'_>]) {
        if texts.len() > 1
            && (self.connection.session().is_some() || !self.hub.connection_config.requires_auth())
        {
            let records: SmallVec<[_; BATCH_MAX]> = texts.iter().filter_map(Parsed::sought_record).collect();
            if records.len() > 1 {
                self.hub.store.prefetch(&records);
            }
        }
    }

    /// Handles what has not been read ahead.
    fn handle(&mut self, now: Now, incoming: &Incoming) {
        let message = match incoming {
            Incoming::Text(text) => Message::Text(text.as_str()),
            Incoming::Binary => Message::Binary,
            Incoming::Close(close) => {
                Message::Close(close.as_ref().map(|(code, reason)| (*code, reason.as_str())))
            }
            // Its answer is in the buffer and counts like any other.
            Incoming::Control => return self.connection.handle_buffered(now, self.transport.buffered()),
            Incoming::TooLarge => Message::TooLarge,
            Incoming::InvalidUtf8 => Message::InvalidUtf8,
            Incoming::Malformed => Message::Malformed,
            Incoming::End => return self.connection.handle_eof(now, &*self.hub),
        };
        self.connection.handle_message(now, &*self.hub, message);
    }

    /// Lets the engines deliver what this turn changed, to this connection among others. True if there is more to do.
    fn deliver(&mut self, now: Now) -> bool {
        if !std::mem::take(&mut self.executed) {
            return false;
        }
        self.executed = self.hub.flush(now);
        self.take_mail(now) | self.executed
    }

    fn queue_frames(&mut self) {
        while let Some(frame) = self.connection.poll_frame() {
            self.transport.queue(frame);
        }
    }

    /// Writes what the network takes and tells the machine; true if that gave it more to do.
    fn flush(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        let flushed = self.transport.poll_flush(cx);
        if let Poll::Ready(Err(error)) = &flushed {
            tracing::debug!("write failed: {error}");
            self.connection.handle_eof(now, &*self.hub);
            self.execute_effects(now);
            return true;
        }
        self.connection.handle_buffered(now, self.transport.buffered());
        let mut progress = false;
        while let Some(frame) = self.connection.poll_frame() {
            self.transport.queue(frame);
            progress = true;
        }
        // A peer whose frames are no longer understood learns from the end of the stream that all is said.
        if flushed.is_ready()
            && !progress
            && !self.shut
            && self.transport.is_deaf()
            && self.transport.is_closing()
        {
            self.shut = self.transport.poll_shutdown(cx).is_ready();
        }
        progress
    }

    /// Lets the peer see the last frames, for a bounded time.
    async fn farewell(&mut self, reason: CloseReason) {
        if matches!(reason, CloseReason::TransportLost | CloseReason::SlowConsumer) {
            poll_fn(|cx| {
                let _ = self.transport.poll_flush(cx);
                Poll::Ready(())
            })
            .await;
            return;
        }
        // The wait for the peer's close frame and the one for the end of its stream have one limit.
        let since = self.closing_since.unwrap_or_else(|| self.timer.now().mono);
        let deadline = since + self.hub.connection_config.close_timeout;
        let (transport, shut) = (&mut self.transport, &mut self.shut);
        let last = poll_fn(|cx| {
            if !*shut {
                if ready!(transport.poll_flush(cx)).is_err() || ready!(transport.poll_shutdown(cx)).is_err() {
                    return Poll::Ready(());
                }
                *shut = true;
            }
            transport.poll_discard(cx)
        });
        before(&mut self.timer, deadline, last).await;
    }
}

impl<S, T: Timer> Drive<S, T> {
    /// Ends the connection, however it stands: subscriptions are given back, and changes reach their subscribers.
    fn clean_up(&mut self) {
        let now = self.timer.now();
        let cleaned = catch_unwind(AssertUnwindSafe(|| {
            self.connection.handle_eof(now, &*self.hub);
            self.execute_effects(now);
            while std::mem::take(&mut self.executed) {
                self.executed = self.hub.flush(now);
            }
        }));
        if cleaned.is_err() {
            tracing::error!("panic while a connection was cleaned up");
        }
    }

    /// Does what must be done before anything else of the mail: what comes may have been on its way when the right to
    /// see it ended.
    fn heed(&mut self, now: Now, mail: &Mail) {
        if let Some(stored) = mail.session_ended {
            self.connection.end_session(now, &*self.hub, stored);
        }
        if mail.revoked {
            self.awaited = None;
            self.connection.revoke(now, &*self.hub);
        } else if mail.recheck {
            self.recheck();
        }
    }

    pub(crate) fn push_events(&mut self, events: IndexMap<SubId, Events>) {
        for (subscription, Events { kept, dropped }) in events {
            for event in kept {
                let _ = self.connection.push_event(subscription, event);
            }
            if dropped > 0 {
                self.connection.drop_events(subscription, dropped);
            }
        }
    }

    fn execute_effects(&mut self, now: Now) {
        while let Some(effect) = self.connection.poll_effect() {
            self.execute(now, effect);
        }
    }

    fn execute(&mut self, now: Now, effect: Effect) {
        match effect {
            Effect::Store { token, call } => {
                self.executed = true;
                self.call_store(now, token, call);
            }
            Effect::Authenticate { token, credential } => {
                let member = self.member.as_ref();
                let by_token = member.and_then(|own| self.hub.login_with_token(now, &own.entry, &credential));
                match by_token {
                    Some(verdict) => self.connection.reply_auth(now, &*self.hub, token, verdict),
                    None => self.authenticate(now, token, &credential),
                }
            }
            Effect::Identity { token, call } => {
                self.executed = true;
                let session = self.connection.session().cloned();
                let progress = self
                    .member
                    .as_ref()
                    .map(|member| self.hub.call_identity(now, &member.entry, session.as_deref(), call));
                self.take_progress(now, token, progress);
            }
            Effect::Server { token, call } => {
                let answer = self.hub.answer(now, self.connection.session().map(|own| &**own), call);
                self.connection.reply(now, &*self.hub, token, answer);
            }
            Effect::Audit { token, query } => {
                let answer = self.hub.audit_entries(&query).map(Body::Owned).ok_or_else(Refusal::internal);
                self.connection.reply(now, &*self.hub, token, answer);
            }
            Effect::Record(record) => {
                if let Some(member) = &self.member {
                    self.hub.record(now, &member.entry, record);
                }
            }
            Effect::Subscribe { token, subscription, source } => {
                self.executed = true;
                self.call_subscribe(now, token, subscription, source);
            }
            Effect::Unsubscribe { subscription } => {
                self.forget_source(subscription);
                self.hub.unsubscribe(subscription);
                self.note_subscriptions();
            }
            Effect::SessionChanged(session) => {
                if let Some(member) = &self.member {
                    member.entry.set_session(session);
                }
            }
            Effect::Closed(reason) => self.closed = Some(reason),
            Effect::Rules { token, call } => {
                self.executed = true;
                self.call_rules(now, token, call);
            }
            Effect::Procedures { token, call, session } => {
                self.executed = true;
                self.call_procedures(now, token, session.as_deref(), call);
            }
            // The enum may grow; an effect that is not known here cannot be answered.
            other => tracing::error!(?other, "effect without an executor"),
        }
    }

    /// Answers a call; what it caused is told before its result.
    pub(crate) fn reply_behind_events(&mut self, now: Now, token: OpToken, outcome: Result<Body, Refusal>) {
        let mail = self.member.as_ref().map(|member| member.entry.inbox.take_events()).unwrap_or_default();
        self.heed(now, &mail);
        self.push_events(mail.events);
        self.connection.reply(now, &*self.hub, token, outcome);
    }

    /// Ends at once what a request ended: the next request of this connection finds the places free.
    pub(crate) fn end_subscriptions(&mut self, now: Now) {
        let _ = self.hub.flush(now);
        let ended = self.member.as_ref().map(|member| member.entry.inbox.take_ended());
        for (subscription, reason) in ended.unwrap_or_default() {
            self.connection.end_subscription(&*self.hub, subscription, reason);
        }
    }

    pub(crate) fn note_subscriptions(&self) {
        if let Some(member) = &self.member {
            member.entry.set_subscriptions(self.connection.subscription_counts());
        }
    }

    fn authenticate(&mut self, now: Now, token: AuthToken, credential: &str) {
        let hub = Arc::clone(&self.hub);
        match hub.authenticator().map(|auth| auth.authenticate(credential, now.unix_ms)) {
            None => self.reply_login(now, token, Ok(None)),
            Some(Verdict::Ready(answer)) => self.reply_login(now, token, answer),
            Some(Verdict::Later(answer)) => {
                let until = now.mono + hub.options.authenticator_timeout;
                self.awaited = Some(Awaited::Login { token, answer, until });
            }
        }
    }

    /// Answers a call of the identity, or has it wait.
    fn take_progress(&mut self, now: Now, token: IdentityToken, progress: Option<Progress>) {
        let hub = Arc::clone(&self.hub);
        match progress {
            Some(Progress::Working(working)) => self.awaited = Some(Awaited::Identity { token, working }),
            Some(Progress::Done(outcome, change, ticket)) => {
                self.answer_identity_once_kept(now, token, outcome, change, ticket);
            }
            None => {
                let outcome = Err(Refusal::internal());
                self.connection.reply_identity(now, &*hub, token, outcome, SessionChange::Keep);
            }
        }
    }

    /// Takes the present roles into the session and ends what they do not permit.
    fn recheck(&mut self) {
        let user = self.connection.session().map(|session| session.user_id.clone());
        if let Some((user, roles)) = user.and_then(|user| self.hub.roles_of(&user).map(|roles| (user, roles)))
        {
            self.connection.update_roles(&*self.hub, &user, &roles);
        }
    }

    fn reply_login(&mut self, now: Now, token: AuthToken, answer: Result<Option<Session>, AuthFailure>) {
        let verdict = match answer {
            // One that has expired is refused as such, revoked or not.
            Ok(Some(session)) if session.is_expired(now.unix_ms) => Ok(session),
            Ok(Some(session)) => match &self.member {
                Some(member) if !self.hub.admit_session(now, &member.entry, &session) => {
                    Err(Denied::Revoked { user_id: session.user_id })
                }
                _ => Ok(session),
            },
            Ok(None) => Err(Denied::Invalid),
            Err(failure) => {
                tracing::error!("authenticator failed: {failure}");
                Err(Denied::Other(Refusal::internal()))
            }
        };
        self.connection.reply_auth(now, &*self.hub, token, verdict);
    }
}
