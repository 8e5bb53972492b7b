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
            self.record(*note, error);
        }
    }

    /// Records the outcome of the request that is being handled.
    pub(super) fn record_now(&mut self, error: Option<&str>) {
        if let Some(note) = self.note.take() {
            self.record(*note, error);
        }
    }

    /// Records what is under way as unanswered, and what has not been told yet of earlier errors.
    pub(super) fn record_abandoned(&mut self) {
        let notes: Vec<Box<Note>> = self.replies.take_notes().collect();
        for note in notes {
            self.record(*note, Some(NO_ANSWER));
        }
        self.record_summary(None);
    }

    /// Records how many errors were not recorded one by one, if that is due at `now`, or for the last time (`None`).
    pub(super) fn record_summary(&mut self, now: Option<Instant>) {
        let user = self.session.as_ref().map(|session| session.user_id.as_str());
        if let Some(record) = self.error_budget.summary(now, user) {
            self.effects.push_back(Effect::Record(record));
        }
    }

    fn record(&mut self, note: Note, error: Option<&str>) {
        if error.is_some() {
            self.record_summary(Some(note.at()));
            if !self.error_budget.admits(note.at()) {
                return;
            }
        }
        let user = self.session.as_ref().map(|session| session.user_id.as_str());
        self.effects.push_back(Effect::Record(note.into_record(user, error)));
    }
}
