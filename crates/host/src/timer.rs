//! The clock and the alarm that a runtime provides.

use noex_core::{Instant, Now};
use std::task::{Context, Poll};

/// One alarm of a runtime, with the runtime's clocks.
pub trait Timer: Send + Unpin {
    /// Reads both clocks. The monotonic one has the same origin for all timers of a server.
    fn now(&self) -> Now;

    /// Sets the alarm; `None` switches it off. A time that has passed fires at once.
    fn arm(&mut self, at: Option<Instant>);

    /// Becomes ready when the alarm has fired; never while it is off.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}
