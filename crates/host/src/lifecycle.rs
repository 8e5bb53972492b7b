//! The tasks of a server beside its connections: expiry of records, and the stop.

use crate::{Hub, Timer};
use futures::future::poll_fn;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::Poll,
    time::Duration,
};

/// Pause after a failed expiry, so that one that fails for ever does not keep a thread busy.
const PAUSE_AFTER_PANIC: Duration = Duration::from_secs(1);

/// Removes expired records at their deadlines, for as long as it is polled.
pub async fn run_deadlines<T: Timer>(hub: &Hub, mut timer: T) {
    poll_fn(|cx| {
        loop {
            let now = timer.now();
            let next = hub.expiry.arm(cx.waker(), || hub.next_expiry_ms());
            let mut wake_at = next.map(|at| now.mono + Duration::from_millis(at.saturating_sub(now.unix_ms)));
            if next.is_some_and(|at| at <= now.unix_ms) {
                if catch_unwind(AssertUnwindSafe(|| hub.expire(now))).is_ok() {
                    // More may be due for ever, such as timers that are set faster than they fire: others get a turn.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                tracing::error!("panic while records expired");
                wake_at = Some(now.mono + PAUSE_AFTER_PANIC);
            }
            timer.arm(wake_at);
            if timer.poll_expired(cx).is_pending() {
                return Poll::<()>::Pending;
            }
        }
    })
    .await;
}

/// Stops serving, once the listener is closed: announces the end, waits at most `grace` for clients to leave, then
/// closes all connections and waits until they are gone, at most for the time that requests may take to finish and
/// peers to answer the close. Idempotent.
pub async fn stop<T: Timer>(hub: &Hub, grace: Duration, mut timer: T) {
    hub.begin_stop();
    if !grace.is_zero() && hub.connection_count() > 0 {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        for entry in hub.registry.entries() {
            entry.inbox.announce_shutdown(grace_ms);
        }
        wait_until_empty(hub, grace, &mut timer).await;
    }
    hub.close_all();
    let config = &hub.options.connection;
    wait_until_empty(hub, config.drain_timeout + config.close_timeout, &mut timer).await;
}

async fn wait_until_empty<T: Timer>(hub: &Hub, at_most: Duration, timer: &mut T) {
    timer.arm(Some(timer.now().mono + at_most));
    poll_fn(|cx| {
        hub.registry.emptied.register(cx.waker());
        if hub.connection_count() == 0 { Poll::Ready(()) } else { timer.poll_expired(cx) }
    })
    .await;
    timer.arm(None);
}
