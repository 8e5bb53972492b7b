//! Heartbeat of one connection: when to ping, when to give up.
//!
//! Input: clock readings, pongs, and that the ping has left. Output: "ping now", "peer is gone". Knows nothing of
//! frames or sockets. Invariant: a later event never extends the deadline of an unanswered ping, except that time in
//! which the server itself does not read does not count.
//! Source: the protocol specification, section 6.1.

use crate::{HeartbeatConfig, HeartbeatMode, Instant};
use core::time::Duration;

/// What a clock reading made due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Beat {
    Nothing,
    SendPing,
    PeerGone,
}

#[derive(Debug)]
pub(crate) struct Heartbeat {
    config: HeartbeatConfig,
    next_ping: Instant,
    unanswered: Option<Unanswered>,
    /// Since when the server has not read from the peer; time before that has been accounted for.
    paused_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Unanswered {
    /// Offset of the ping's end in all bytes queued so far.
    end_offset: u64,
    written: bool,
    deadline: Instant,
}

impl Heartbeat {
    pub(crate) fn new(config: HeartbeatConfig, now: Instant) -> Self {
        Self { config, next_ping: now + config.interval, unanswered: None, paused_since: None }
    }

    /// The next moment at which [`Heartbeat::beat`] has something to say.
    pub(crate) fn deadline(&self) -> Instant {
        match (&self.unanswered, self.config.mode) {
            (Some(ping), HeartbeatMode::Deadline) => ping.deadline,
            (None, _) | (_, HeartbeatMode::Tick) => self.next_ping,
        }
    }

    /// Notes whether the server reads from the peer at present. Time without reading puts off the deadline.
    pub(crate) fn reading(&mut self, now: Instant, reading: bool) {
        if !reading {
            self.paused_since.get_or_insert(now);
            return;
        }
        let Some(since) = self.paused_since.take() else { return };
        if let Some(ping) = &mut self.unanswered {
            ping.deadline = ping.deadline + now.since(since);
            if self.config.mode == HeartbeatMode::Tick {
                self.next_ping = self.next_ping + now.since(since);
            }
        }
    }

    /// Says what is due; `reading` = the server reads from the peer at present.
    pub(crate) fn beat(&mut self, now: Instant, reading: bool) -> Beat {
        self.reading(now, reading);
        if now < self.deadline() {
            return Beat::Nothing;
        }
        let Some(ping) = &mut self.unanswered else {
            self.next_ping = now + self.config.interval;
            return Beat::SendPing;
        };
        if reading {
            return Beat::PeerGone;
        }
        // The answer may be waiting in the socket: start anew.
        ping.deadline = now + self.config.timeout;
        self.next_ping = now + self.config.interval;
        self.paused_since = Some(now);
        Beat::Nothing
    }

    /// Notes that a ping was queued and ends at `end_offset`. If it cannot be written for `write_timeout` it counts
    /// as written, so that a peer that takes nothing is noticed too.
    pub(crate) fn ping_queued(&mut self, now: Instant, end_offset: u64, write_timeout: Duration) {
        let deadline = now + write_timeout + self.config.timeout;
        self.paused_since = self.paused_since.map(|_| now);
        self.unanswered = Some(Unanswered { end_offset, written: false, deadline });
    }

    /// Notes how many bytes have left so far.
    pub(crate) fn bytes_written(&mut self, now: Instant, offset: u64) {
        if let Some(ping) = self.unanswered.as_mut().filter(|ping| !ping.written && offset >= ping.end_offset)
        {
            ping.written = true;
            ping.deadline = ping.deadline.min(now + self.config.timeout);
            self.paused_since = self.paused_since.map(|_| now);
        }
    }

    /// Notes a valid pong; unsolicited ones are ignored.
    pub(crate) fn pong(&mut self) {
        self.unanswered = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(mode: HeartbeatMode) -> Heartbeat {
        let config = HeartbeatConfig {
            interval: Duration::from_millis(100),
            timeout: Duration::from_millis(30),
            mode,
        };
        Heartbeat::new(config, Instant::default())
    }

    fn ms(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    const WRITE: Duration = Duration::from_millis(1000);

    #[test]
    fn deadline_counts_from_the_write() {
        let mut beat = heartbeat(HeartbeatMode::Deadline);
        assert_eq!(beat.beat(ms(99), true), Beat::Nothing);
        assert_eq!(beat.beat(ms(100), true), Beat::SendPing);
        beat.ping_queued(ms(100), 50, WRITE);
        beat.bytes_written(ms(110), 49);
        assert_eq!(beat.beat(ms(140), true), Beat::Nothing);
        beat.bytes_written(ms(150), 50);
        beat.bytes_written(ms(170), 60);
        assert_eq!(beat.beat(ms(179), true), Beat::Nothing);
        assert_eq!(beat.beat(ms(180), true), Beat::PeerGone);
    }

    #[test]
    fn a_ping_that_never_leaves_counts_at_last() {
        let mut beat = heartbeat(HeartbeatMode::Deadline);
        beat.ping_queued(ms(100), 50, WRITE);
        assert_eq!(beat.beat(ms(1129), true), Beat::Nothing);
        assert_eq!(beat.beat(ms(1130), true), Beat::PeerGone);
    }

    #[test]
    fn tick_mode_waits_for_the_next_tick() {
        let mut beat = heartbeat(HeartbeatMode::Tick);
        assert_eq!(beat.beat(ms(100), true), Beat::SendPing);
        beat.ping_queued(ms(100), 1, WRITE);
        assert_eq!(beat.beat(ms(199), true), Beat::Nothing);
        assert_eq!(beat.beat(ms(200), true), Beat::PeerGone);
    }

    #[test]
    fn a_pause_puts_off_the_deadline_by_its_length() {
        for (mode, deadline) in [(HeartbeatMode::Deadline, ms(155)), (HeartbeatMode::Tick, ms(225))] {
            let mut beat = heartbeat(mode);
            assert_eq!(beat.beat(ms(100), true), Beat::SendPing);
            beat.ping_queued(ms(100), 0, WRITE);
            beat.bytes_written(ms(100), 0);
            beat.reading(ms(104), false);
            beat.reading(ms(120), false);
            beat.reading(ms(129), true);
            beat.reading(ms(140), true);
            assert_eq!(beat.deadline(), deadline);
        }
    }

    #[test]
    fn paused_reading_does_not_count_and_a_pong_restarts() {
        let mut beat = heartbeat(HeartbeatMode::Deadline);
        assert_eq!(beat.beat(ms(100), true), Beat::SendPing);
        beat.ping_queued(ms(100), 0, WRITE);
        beat.bytes_written(ms(100), 0);
        assert_eq!(beat.beat(ms(130), false), Beat::Nothing);
        assert_eq!(beat.deadline(), ms(160));
        beat.pong();
        assert_eq!(beat.beat(ms(229), true), Beat::Nothing);
        assert_eq!(beat.beat(ms(230), true), Beat::SendPing);
    }
}
