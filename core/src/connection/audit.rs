//! When a request is recorded for the audit log: once, as soon as its outcome is known.
//!
//! Requests that are under way when the connection ends are recorded too, so that hanging up hides nothing.

use super::Connection;
use crate::{Effect, Instant, audit::Note};
use alloc::{boxed::Box, vec::Vec};

/// The error of a request that was handed out for execution and whose answer nobody waits for any more.
const NO_ANSWER: &str = "The connection ended before the answer";

impl Connection {
    /// Records the outcome of a request that has a place among the replies.
    pub(super) fn record_outcome(&mut self, number: u64, error: Option<&str>) {
        if let Some(note) = self.replies.take_note(number) {
            // Whatever was executed may have had effects, also if it failed. A login that failed has none.
            let refused = error.is_some() && note.is_login();
            self.record(*note, error, refused);
        }
    }

    /// Records the outcome of the request that is being handled.
    pub(super) fn record_now(&mut self, error: Option<&str>) {
        if let Some(note) = self.note.take() {
            self.record(*note, error, error.is_some());
        }
    }

    /// Records what is under way as unanswered, and what has not been told yet of earlier errors.
    pub(super) fn record_abandoned(&mut self) {
        let notes: Vec<Box<Note>> = self.replies.take_notes().collect();
        for note in notes {
            self.record(*note, Some(NO_ANSWER), false);
        }
        self.record_summary(None);
    }

    /// Records how many refusals were not recorded one by one, if that is due at `now`, or for the last time (`None`).
    pub(super) fn record_summary(&mut self, now: Option<Instant>) {
        let summary = self.refusal_budget.summary(now);
        self.effects.extend(summary.map(Effect::Record));
    }

    fn record(&mut self, note: Note, error: Option<&str>, refused: bool) {
        let at = note.at();
        let user = self.session.as_ref().map(|session| session.user_id.as_str());
        let record = note.into_record(user, error);
        if refused {
            self.record_summary(Some(at));
            if !self.refusal_budget.admits(at) {
                let summary = self.refusal_budget.suppress(record.user_id);
                self.effects.extend(summary.map(Effect::Record));
                return;
            }
        }
        self.effects.push_back(Effect::Record(record));
    }
}
