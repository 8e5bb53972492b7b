//! The clocks, and one alarm on smol's reactor.

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
pub(crate) fn now() -> Now {
    let since = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now { mono: Instant::from_micros(since(ORIGIN.elapsed())), unix_ms: since(unix) / 1000 }
}

/// An alarm.
#[derive(Debug)]
pub(crate) struct SmolTimer {
    alarm: smol::Timer,
    armed: bool,
}

impl SmolTimer {
    pub(crate) fn new() -> Self {
        // Early, so that the origin lies before every reading.
        LazyLock::force(&ORIGIN);
        Self { alarm: smol::Timer::never(), armed: false }
    }
}

impl Timer for SmolTimer {
    fn now(&self) -> Now {
        now()
    }

    fn arm(&mut self, at: Option<Instant>) {
        self.armed = at.is_some();
        match at.and_then(|at| ORIGIN.checked_add(Duration::from_micros(at.as_micros()))) {
            Some(at) => self.alarm.set_at(at),
            None => self.alarm = smol::Timer::never(),
        }
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.armed {
            return Poll::Pending;
        }
        Pin::new(&mut self.alarm).poll(cx).map(|_| self.armed = false)
    }
}
