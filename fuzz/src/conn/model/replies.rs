//! Answers: their order, logins, and what a session permits.

use super::{Model, Phase, Slot, State, Stream, Verdict, Who, shown};
use noex_core::Tier;

impl Model {
    pub(super) fn slot(&mut self, number: u64) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.number == number)
    }

    pub(super) fn fill(&mut self, number: u64, outcome: Result<String, &str>, tells: Option<u64>) {
        let Some(slot) = self.slot(number) else { return };
        let id = slot.id;
        let text = match outcome {
            Ok(data) => format!("result {id} {data}").trim_end().to_owned(),
            Err(code) => format!("error {id} {code}"),
        };
        slot.reply = Some((text, tells));
        self.release();
    }

    pub(super) fn release(&mut self) {
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
    pub(in crate::conn) fn reply(&mut self, number: u64, data: Option<&str>) {
        self.fill(number, data.map(str::to_owned).ok_or("NOT_FOUND"), None);
    }

    pub(in crate::conn) fn reply_subscribe(
        &mut self,
        number: u64,
        subscription: u64,
        state: Option<(u64, &str)>,
    ) {
        if self.slot(number).is_none() {
            return;
        }
        let Some((version, data)) = state else {
            self.live.remove(&subscription);
            self.after_replies.remove(&subscription);
            return self.fill(number, Err("NOT_FOUND"), None);
        };
        let mut told = String::new();
        if let Some(Stream::Results { deltas, sent, latest }) =
            self.live.get_mut(&subscription).map(|live| &mut live.stream)
        {
            latest.take_if(|latest| latest.version <= version);
            *sent = Some(State { version, data: data.to_owned(), from: None });
            if *deltas {
                told = format!(",\"version\":{version}");
            }
        }
        let member = if data.is_empty() { String::new() } else { format!(",\"data\":{data}") };
        let shown = format!("{{\"subscriptionId\":\"sub-{subscription}\"{told}{member}}}");
        self.fill(number, Ok(shown), Some(subscription));
    }

    pub(in crate::conn) fn reply_login(&mut self, number: u64, verdict: Verdict) {
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

    pub(super) fn become_(&mut self, who: Option<Who>) {
        self.expiry_untold = false;
        let span = self.rules.auth_timeout_ms.filter(|_| who.is_none() && self.required());
        self.login_deadline = span.map(|span| self.now + span);
        self.done.push((format!("session {}", who.as_ref().map_or("-", |who| who.name)), None));
        self.who = who;
        self.expiry = self.expiry_at();
    }

    pub(super) fn expiry_at(&self) -> Option<u64> {
        let at = self.who.as_ref()?.expires_at_ms?;
        Some(self.now + (at + 1).saturating_sub(self.unix))
    }

    pub(super) fn leave(&mut self, reason: &'static str) {
        self.become_(None);
        if self.required() {
            let all: Vec<u64> = self.live.keys().copied().collect();
            all.into_iter().for_each(|number| self.end(number, reason));
        } else {
            self.recheck();
        }
    }

    /// Subscriptions that are not permitted any more end.
    pub(super) fn recheck(&mut self) {
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
}
