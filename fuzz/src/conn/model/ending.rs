//! What time and the outside do to a connection, up to its end.

use super::{Model, Phase};

impl Model {
    pub(in crate::conn) fn timeout(&mut self) {
        let due = |at: u64| at <= self.now;
        match self.phase {
            Phase::Closed => return,
            Phase::Closing { until } => {
                if due(until) {
                    self.finish();
                }
                return;
            }
            Phase::Draining { until, code } if due(until) => return self.close_now(code),
            Phase::Draining { .. } | Phase::Open => {}
        }
        if self.expiry.is_some_and(due) {
            if self.is_expired() {
                self.leave("session_expired");
                self.expiry_untold = true;
            } else {
                self.expiry = self.expiry_at();
            }
        }
        if self.login_deadline.is_some_and(|at| at <= self.now) {
            self.close_now(4004);
        }
    }

    pub(in crate::conn) fn notice(&mut self, grace_ms: u64) {
        if self.phase == Phase::Open {
            self.say(format!("notice {grace_ms}"));
        }
    }

    pub(in crate::conn) fn revoke(&mut self) {
        if self.works() {
            self.abandon();
            self.become_(None);
            self.say("revoked");
            self.close_now(4002);
        }
    }

    /// Closes with a code, gracefully or at once.
    pub(in crate::conn) fn close(&mut self, code: u16, graceful: bool) {
        if self.phase != Phase::Open {
            return;
        }
        if graceful && self.in_flight() > 0 {
            self.phase = Phase::Draining { code, until: self.now + self.rules.drain_timeout_ms };
        } else {
            self.close_now(code);
        }
    }

    pub(in crate::conn) fn peer_closes(&mut self, code: Option<u16>) {
        if self.works() {
            self.abandon();
            self.say(format!("close {}", code.unwrap_or_default()));
        }
        self.finish();
    }

    pub(in crate::conn) fn finish(&mut self) {
        if self.phase == Phase::Closed {
            return;
        }
        self.abandon();
        self.forget_all();
        self.phase = Phase::Closed;
        self.done.push(("closed".into(), None));
    }

    pub(super) fn close_now(&mut self, code: u16) {
        self.abandon();
        self.forget_all();
        self.say(format!("close {code}"));
        self.phase = Phase::Closing { until: self.now + self.rules.close_timeout_ms };
    }

    pub(super) fn abandon(&mut self) {
        // What begins and is abandoned in the same call is never handed out.
        self.done.retain(|(_, slot)| slot.is_none());
        self.slots.clear();
        self.waiting.clear();
    }

    pub(super) fn forget_all(&mut self) {
        let all: Vec<u64> = self.live.keys().copied().collect();
        all.into_iter().for_each(|number| self.forget(number));
    }
}
