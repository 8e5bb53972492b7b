//! Real time as nanoseconds since the start of the run, and deadlines in it.

use std::time::{Duration, Instant};

/// Nanoseconds since the clock was made.
pub type Nanos = u64;

/// The clock of one run. Reading it costs one vDSO call.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts at zero.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Time since the start; wraps after 584 years.
    #[must_use]
    pub fn now(&self) -> Nanos {
        nanos(self.start.elapsed())
    }
}

/// A duration in nanoseconds, saturating.
#[must_use]
pub fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Time left until `deadline`, zero when it has passed.
#[must_use]
pub fn until(now: Nanos, deadline: Nanos) -> Duration {
    Duration::from_nanos(deadline.saturating_sub(now))
}
