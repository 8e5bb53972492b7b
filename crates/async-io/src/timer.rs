//! The clocks and one alarm.

#![expect(clippy::disallowed_methods, reason = "this is the edge that reads the clocks")]

use noex_host::{Instant, Now, Timer};
use std::{
    future::Future,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
    time::{self, Duration, SystemTime},
};

/// Origin of the monotonic clock.
static ORIGIN: LazyLock<time::Instant> = LazyLock::new(time::Instant::now);

/// Reads both clocks.
fn now() -> Now {
    let us = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now { mono: Instant::from_micros(us(ORIGIN.elapsed())), unix_ms: us(unix) / 1000 }
}

/// An alarm.
#[derive(Debug)]
pub struct AsyncIoTimer {
    alarm: async_io::Timer,
    armed: bool,
}

impl AsyncIoTimer {
    /// Makes an alarm that is off.
    #[must_use]
    pub fn new() -> Self {
        // Early, so that the origin lies before every reading.
        LazyLock::force(&ORIGIN);
        Self { alarm: async_io::Timer::never(), armed: false }
    }
}

impl Default for AsyncIoTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for AsyncIoTimer {
    fn now(&self) -> Now {
        now()
    }

    fn arm(&mut self, at: Option<Instant>) {
        self.armed = at.is_some();
        match at.and_then(|at| ORIGIN.checked_add(Duration::from_micros(at.as_micros()))) {
            Some(at) => self.alarm.set_at(at),
            None => self.alarm = async_io::Timer::never(),
        }
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.armed {
            return Poll::Pending;
        }
        Pin::new(&mut self.alarm).poll(cx).map(|_| self.armed = false)
    }
}
