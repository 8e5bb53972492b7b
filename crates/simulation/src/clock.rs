//! A clock that is moved by hand, and alarms on it.

use noex_host::{Instant, Now, Timer};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// Wall clock at the origin of the monotonic clock, in ms since the Unix epoch.
pub(crate) const EPOCH_MS: u64 = 1_700_000_000_000;

/// The clock of one simulated world.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    now: Instant,
    alarms: BTreeMap<(Instant, u64), Waker>,
    timers: u64,
}

impl Clock {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the monotonic clock.
    #[must_use]
    pub fn mono(&self) -> Instant {
        self.state().now
    }

    /// Reads both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        let mono = self.mono();
        Now { mono, unix_ms: EPOCH_MS + mono.as_millis() }
    }

    /// Makes an alarm.
    #[must_use]
    pub fn timer(&self) -> VirtualTimer {
        let mut state = self.state();
        state.timers += 1;
        VirtualTimer { clock: self.clone(), id: state.timers, at: None, waiting: None }
    }

    /// The next alarm.
    #[must_use]
    pub fn next_alarm(&self) -> Option<Instant> {
        self.state().alarms.keys().next().map(|(at, _)| *at)
    }

    /// Moves forward to `at` and wakes the tasks whose alarms are due.
    pub fn advance_to(&self, at: Instant) {
        let due: Vec<Waker> = {
            let mut state = self.state();
            state.now = state.now.max(at);
            let later = state.alarms.split_off(&(Instant::from_micros(at.as_micros() + 1), 0));
            std::mem::replace(&mut state.alarms, later).into_values().collect()
        };
        due.into_iter().for_each(Waker::wake);
    }
}

/// An alarm of a [`Clock`].
#[derive(Debug)]
pub struct VirtualTimer {
    clock: Clock,
    id: u64,
    at: Option<Instant>,
    /// The entry among the clock's alarms.
    waiting: Option<Instant>,
}

impl VirtualTimer {
    fn forget(&mut self) {
        if let Some(at) = self.waiting.take() {
            self.clock.state().alarms.remove(&(at, self.id));
        }
    }
}

impl Drop for VirtualTimer {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Timer for VirtualTimer {
    fn now(&self) -> Now {
        self.clock.now()
    }

    fn arm(&mut self, at: Option<Instant>) {
        self.forget();
        self.at = at;
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        self.forget();
        let mut state = self.clock.state();
        if at <= state.now {
            self.at = None;
            return Poll::Ready(());
        }
        state.alarms.insert((at, self.id), cx.waker().clone());
        self.waiting = Some(at);
        Poll::Pending
    }
}
