//! Wakes a sleeping task when its deadline comes nearer. The deadline itself is known to others, who change it at any
//! time and then say so.

#[cfg(all(test, noex_loom))]
mod model;

use crate::sync::{
    AtomicWaker,
    atomic::{AtomicU64, Ordering, fence},
};
use std::task::Waker;

/// One sleeper's place.
#[derive(Debug)]
pub(crate) struct Alarm {
    waker: AtomicWaker,
    /// What the task sleeps for, in ms since the Unix epoch, `u64::MAX` if for nothing.
    armed_ms: AtomicU64,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { waker: AtomicWaker::new(), armed_ms: AtomicU64::new(u64::MAX) }
    }
}

impl Alarm {
    /// Before going to sleep: gives the deadline to sleep for, as `next` tells it. If it comes nearer later on, `waker`
    /// is woken.
    pub(crate) fn arm(&self, waker: &Waker, next: impl Fn() -> Option<u64>) -> Option<u64> {
        self.waker.register(waker);
        let seen = next();
        self.armed_ms.store(seen.unwrap_or(u64::MAX), Ordering::Release);
        // A deadline that came nearer before it was noted above must not be slept through.
        fence(Ordering::SeqCst);
        next().into_iter().chain(seen).min()
    }

    /// Wakes the sleeper for another reason than its deadline.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// After a change: wakes the sleeper if the deadline that `next` tells has come nearer.
    pub(crate) fn notice(&self, next: impl Fn() -> Option<u64>) {
        // With the fence of the sleeper: either it sees the new deadline, or this sees the old one it sleeps for.
        fence(Ordering::SeqCst);
        if next().is_some_and(|at| at < self.armed_ms.load(Ordering::Acquire)) {
            self.waker.wake();
        }
    }
}
