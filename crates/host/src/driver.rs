//! The life of one accepted stream: handshake, then the loop that binds it to the protocol machine.
//!
//! A turn reads what the socket holds, up to a limit, executes the effects, and flushes once. No turn blocks; after
//! a few turns other tasks get theirs.

mod effects;
mod opening;
mod reading;

use crate::{
    Hub, Timer,
    awaited::{Awaited, Known},
    inbox::{Events, Pending as Mail},
    transport::Transport,
    waiting::WaitingList,
};
use futures::{AsyncRead, AsyncWrite, future::poll_fn, ready};
use indexmap::IndexMap;
use noex_core::{CloseReason, Connection, Frame, Instant, Now, Peer, SubId};
use opening::{Member, Place, admit, before, open};
use std::{
    future::Future,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

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
}
