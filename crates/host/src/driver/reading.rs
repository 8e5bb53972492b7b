//! What a connection does with what it receives.

use super::Drive;
use crate::{
    Timer,
    transport::{BATCH_MAX, Incoming},
};
use futures::{AsyncRead, AsyncWrite};
use noex_core::{Message, Now, Parsed};
use smallvec::SmallVec;
use std::task::Context;

/// Messages handled before the answers are flushed.
const MESSAGES_PER_TURN_MAX: usize = 128;
/// Longest text that is read before its turn: it may have to be read again if the connection wants no more before that.
const READ_AHEAD_BYTES_MAX: usize = 1024;

impl<S, T> Drive<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Reads messages up to the limit; tells whether there were some, and whether the socket has no more.
    pub(super) fn read(&mut self, cx: &mut Context<'_>, now: Now) -> (bool, bool) {
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
}
