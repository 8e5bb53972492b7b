//! Pushes and flow control: what is sent at once, what is held back, and when it follows.
//!
//! Source: the protocol specification, section 5.4. While much is queued, results are not sent; per subscription
//! only the latest is remembered. So intermediate states may be skipped, the final state never is.

use super::Connection;
use crate::{
    Delivery, Effect, EndReason, Frame, Now, ResultMode, Shared, SubId, Update, frame, subscriptions::Stream,
};
use alloc::sync::Arc;

impl Connection {
    /// Takes a new result of a watched query. Results that are not newer than the last one are ignored.
    ///
    /// Answer a request before you push what it caused: the result then follows the reply, even where the reply has
    /// to wait for an earlier one.
    pub fn push_result(&mut self, subscription: SubId, update: Update) -> Delivery {
        if !self.accepts_work() {
            return Delivery::Unknown;
        }
        let held_back = self.held_back();
        let Some(live) = self.subscriptions.get_mut(subscription) else { return Delivery::Unknown };
        let Stream::Results { sent, latest, .. } = &mut live.stream else { return Delivery::Unknown };
        let known = sent.iter().chain(latest.iter()).map(|known| known.version).max();
        if known.is_some_and(|version| version >= update.version) {
            return Delivery::Unchanged;
        }
        *latest = Some(update);
        if !live.announced {
            return Delivery::Deferred;
        }
        if held_back {
            self.subscriptions.defer(subscription);
            return Delivery::Deferred;
        }
        self.send_latest_in_turn(subscription)
    }

    /// Takes an event of a watched pattern; `event` is the push's `data` as JSON text.
    ///
    /// Push the events that a request caused before you answer it: that is the order in which clients expect them.
    pub fn push_event(&mut self, subscription: SubId, event: Arc<str>) -> Delivery {
        if !self.accepts_work() {
            return Delivery::Unknown;
        }
        let held_back = self.held_back();
        let max = self.config.backpressure.events_max;
        let Some(live) = self.subscriptions.get_mut(subscription) else { return Delivery::Unknown };
        let Stream::Events { kept, dropped, .. } = &mut live.stream else { return Delivery::Unknown };
        if live.announced && !held_back {
            self.outbox.push(Frame::Text(frame::push_event(subscription, event)));
            return Delivery::Queued;
        }
        kept.push_back(event);
        while kept.len() > max {
            kept.pop_front();
            *dropped += 1;
        }
        if live.announced {
            self.subscriptions.defer(subscription);
        }
        Delivery::Deferred
    }

    /// Notes that events of a subscription were lost on the way here; the peer is told as of those dropped here.
    pub fn drop_events(&mut self, subscription: SubId, count: u64) {
        let Some(live) = self.subscriptions.get_mut(subscription) else { return };
        let Stream::Events { dropped, .. } = &mut live.stream else { return };
        *dropped = dropped.saturating_add(count);
        if live.announced {
            self.subscriptions.defer(subscription);
        }
    }

    /// Ends a subscription because what it watches is gone.
    pub fn end_subscription(&mut self, shared: &dyn Shared, subscription: SubId, reason: EndReason) {
        if !self.accepts_work() {
            return;
        }
        let Some(live) = self.subscriptions.get_mut(subscription) else { return };
        if !live.announced {
            // The peer does not know the id yet; it is told right after.
            live.ended = Some(reason);
            return;
        }
        self.subscriptions.end(subscription);
        shared.release_subscriptions(1);
        self.effects.push_back(Effect::Unsubscribe { subscription });
        self.outbox.push(Frame::Text(frame::subscription_closed(subscription, reason.as_str())));
    }

    /// Tells the machine that the transport still holds `bytes` unsent bytes of the frames it was given.
    ///
    /// Below half the threshold, held-back pushes follow. O(pushes sent).
    pub fn handle_buffered(&mut self, now: Now, bytes: usize) {
        let progress = self.outbox.set_transport_bytes(bytes);
        self.heartbeat.bytes_written(now.mono, self.outbox.written_bytes());
        let flow = self.config.backpressure;
        // Replies that wait for an earlier one are not the peer's fault.
        if self.outbox.queued_bytes() < flow.buffered_bytes_max.max(1) {
            self.stalled_since = None;
        } else if progress || self.stalled_since.is_none() {
            self.stalled_since = Some(now.mono);
        }
        if self.congested && self.queued_bytes() < flow.push_threshold_bytes.max(1).div_ceil(2) {
            self.congested = false;
        }
        while self.subscriptions.has_deferred() && !self.held_back() {
            let Some(subscription) = self.subscriptions.next_deferred() else { break };
            self.send_held_back(subscription);
        }
        self.heartbeat.reading(now.mono, self.wants_read());
    }

    /// Makes a subscription known: its reply has been queued.
    pub(super) fn announce(&mut self, shared: &dyn Shared, subscription: SubId) {
        let Some(live) = self.subscriptions.get_mut(subscription) else { return };
        live.announced = true;
        if let Some(reason) = live.ended {
            self.end_subscription(shared, subscription, reason);
        } else if self.held_back() {
            self.subscriptions.defer(subscription);
        } else {
            self.send_held_back(subscription);
        }
    }

    /// Tells whether pushes must wait at present.
    fn held_back(&mut self) -> bool {
        if self.queued_bytes() >= self.config.backpressure.push_threshold_bytes.max(1) {
            self.congested = true;
        }
        self.congested
    }

    /// Sends results that had to wait for replies, once none of them waits any more.
    pub(super) fn send_after_replies(&mut self) {
        while self.replies.bytes() == 0 {
            let Some(subscription) = self.subscriptions.next_after_replies() else { return };
            if self.held_back() {
                self.subscriptions.defer(subscription);
            } else {
                self.send_latest(subscription);
            }
        }
    }

    fn send_held_back(&mut self, subscription: SubId) {
        self.send_latest_in_turn(subscription);
        let Some(live) = self.subscriptions.get_mut(subscription) else { return };
        let Stream::Events { kept, dropped, .. } = &mut live.stream else { return };
        let (kept, dropped) = (core::mem::take(kept), core::mem::take(dropped));
        for event in kept {
            self.outbox.push(Frame::Text(frame::push_event(subscription, event)));
        }
        if dropped > 0 {
            self.outbox.push(Frame::Text(frame::events_dropped(subscription, dropped)));
        }
    }

    /// Sends the latest result, unless a complete reply waits for an earlier one: it may be the reply to what caused
    /// this result, which must come first. Events are under no such rule, theirs precede the reply.
    fn send_latest_in_turn(&mut self, subscription: SubId) -> Delivery {
        if self.replies.bytes() > 0 {
            self.subscriptions.defer_after_replies(subscription);
            return Delivery::Deferred;
        }
        self.send_latest(subscription)
    }

    /// Sends the latest result if it differs from the last one sent.
    fn send_latest(&mut self, subscription: SubId) -> Delivery {
        let Some(live) = self.subscriptions.get_mut(subscription) else { return Delivery::Unknown };
        let Stream::Results { mode, sent, latest, .. } = &mut live.stream else { return Delivery::Unknown };
        let Some(update) = latest.take() else { return Delivery::Unchanged };
        let Update { version, data, delta } = update;
        let known = sent.as_ref();
        let text = match mode {
            ResultMode::Full if known.is_some_and(|known| known.data == data) => None,
            ResultMode::Full => Some(frame::push_result(subscription, data.clone())),
            // An update that was skipped leaves a gap; the whole result closes it.
            ResultMode::Delta => Some(match delta {
                Some(delta) if known.is_some_and(|known| known.version == delta.from) => {
                    frame::push_delta(subscription, delta.changes)
                }
                _ => frame::push_version(subscription, version, data.clone()),
            }),
        };
        *sent = Some(Update::whole(version, data));
        let Some(text) = text else { return Delivery::Unchanged };
        self.outbox.push(Frame::Text(text));
        Delivery::Queued
    }
}
