//! Subscriptions: their places, what they are told, and their end.

use super::{Model, State, Stream, Subscription};
use crate::conn::requests::Request;
use noex_core::Delivery;
use std::collections::VecDeque;

impl Model {
    pub(super) fn subscriptions_full(&self) -> bool {
        self.live.len() >= self.rules.subscriptions_max.min(self.rules.reserved_max)
    }

    pub(super) fn subscribe(&mut self, request: &Request, name: &str, watched: &'static str) {
        if self.subscriptions_full() {
            return self.error(request, "RATE_LIMITED");
        }
        if request.mode == Some("half") {
            return self.error(request, "VALIDATION_ERROR");
        }
        let deltas = request.mode == Some("delta");
        self.last_subscription += 1;
        let stream = if name == "store.subscribe" {
            Stream::Results { deltas, sent: None, latest: None }
        } else {
            Stream::Events { kept: VecDeque::new(), dropped: 0 }
        };
        self.live.insert(self.last_subscription, Subscription { watched, known: false, ended: None, stream });
        let mode = if deltas { " delta" } else { "" };
        self.open(request, format!("subscribe {} {watched}{mode}", self.last_subscription), None);
    }

    /// What the subscriber has been told, or will have been told when the answer comes.
    pub(super) fn snapshot(&mut self, request: &Request, field: &str) {
        let live = self.live.get(&number_of(field)).map(|live| &live.stream);
        if let Some(Stream::Results { sent: Some(State { version, data, .. }), .. }) = live {
            let member = if data.is_empty() { String::new() } else { format!(",\"data\":{data}") };
            let text = format!("result {} {{\"version\":{version}{member}}}", request.id);
            self.answer(request.id, text);
        } else {
            self.error(request, "NOT_FOUND");
        }
    }

    pub(super) fn unsubscribe(&mut self, request: &Request, name: &str, field: &str) {
        let number = number_of(field);
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

    pub(super) fn forget(&mut self, number: u64) {
        self.live.remove(&number);
        self.after_replies.remove(&number);
        self.done.push((format!("unsubscribe {number}"), None));
    }

    pub(in crate::conn) fn end(&mut self, number: u64, reason: &'static str) {
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

    pub(super) fn reply_waits(&self) -> bool {
        self.slots.iter().any(|slot| slot.reply.is_some())
    }

    pub(in crate::conn) fn push_result(
        &mut self,
        number: u64,
        version: u64,
        data: &str,
        from: Option<u64>,
    ) -> Delivery {
        let waits = self.reply_waits();
        let works = self.works();
        let Some(live) = self.live.get_mut(&number).filter(|_| works) else { return Delivery::Unknown };
        let Stream::Results { sent, latest, .. } = &mut live.stream else { return Delivery::Unknown };
        if sent.iter().chain(latest.iter()).any(|known| known.version >= version) {
            return Delivery::Unchanged;
        }
        *latest = Some(State { version, data: data.to_owned(), from });
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
    pub(super) fn show_latest(&mut self, number: u64) -> bool {
        let Some(live) = self.live.get_mut(&number) else { return false };
        let Stream::Results { deltas, sent, latest } = &mut live.stream else { return false };
        let Some(State { version, data, from }) = latest.take() else { return false };
        let known = sent.replace(State { version, data: data.clone(), from: None });
        let told = match from.filter(|from| known.as_ref().is_some_and(|known| known.version == *from)) {
            _ if !*deltas && known.is_some_and(|known| known.data == data) => return false,
            _ if !*deltas => format!("push {number} {data}"),
            Some(from) => format!("delta {number} {from}"),
            None => format!("push {number} v{version} {data}"),
        };
        self.say(told.trim_end());
        true
    }

    pub(in crate::conn) fn push_event(&mut self, number: u64, event: &str) -> Delivery {
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

    pub(in crate::conn) fn drop_events(&mut self, number: u64, count: u64) {
        let Some(live) = self.live.get_mut(&number) else { return };
        let Stream::Events { dropped, .. } = &mut live.stream else { return };
        if !live.known {
            *dropped += count;
        } else if count > 0 {
            self.say(format!("dropped {number} {count}"));
        }
    }

    pub(super) fn make_known(&mut self, number: u64) {
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
}

/// The number in an id; 0 = there is no such id.
fn number_of(id: &str) -> u64 {
    match id {
        "sub-01" => 0,
        _ => id.trim_start_matches("sub-").parse().unwrap_or_default(),
    }
}
