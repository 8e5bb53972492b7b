//! The tasks of a server beside its connections: expiry of records, and the stop.

use crate::{Hub, Timer, gate::Gate};
use futures::future::poll_fn;
use noex_core::Instant;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::Poll,
    time::Duration,
};

/// Pause before a journal that failed is tried again, if nobody writes meanwhile.
const JOURNAL_RETRY: Duration = Duration::from_secs(1);

/// Pause after a failed expiry, so that one that fails for ever does not keep a thread busy.
const PAUSE_AFTER_PANIC: Duration = Duration::from_secs(1);

/// Removes expired records at their deadlines, delivers what the journal released, and looks now and then whether a
/// journal that failed works again, for as long as it is polled.
pub async fn run_deadlines<T: Timer>(hub: &Hub, mut timer: T) {
    let mut retry_at: Option<Instant> = None;
    poll_fn(|cx| {
        loop {
            let now = timer.now();
            let next = hub.expiry.arm(cx.waker(), || hub.next_expiry_ms());
            if hub.gate().is_some_and(Gate::take_released) {
                let delivered = catch_unwind(AssertUnwindSafe(|| {
                    hub.reload_identity(now);
                    while hub.flush(now) {}
                }));
                if delivered.is_err() {
                    tracing::error!("panic while changes were delivered");
                }
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if hub.gate().is_some_and(Gate::is_failing) {
                let at = *retry_at.get_or_insert(now.mono + JOURNAL_RETRY);
                if at <= now.mono {
                    retry_at = None;
                    hub.retry_journal(now);
                    continue;
                }
            } else {
                retry_at = None;
            }
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
            timer.arm(wake_at.into_iter().chain(retry_at).min());
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
    wait_until_kept(hub, config.drain_timeout, &mut timer).await;
}

/// Waits until the journal has kept everything, at most for some time.
async fn wait_until_kept<T: Timer>(hub: &Hub, at_most: Duration, timer: &mut T) {
    let Some(gate) = hub.gate() else { return };
    let now = timer.now();
    while hub.flush(now) {}
    timer.arm(Some(now.mono + at_most));
    poll_fn(|cx| {
        gate.idle.register(cx.waker());
        if gate.is_idle() { Poll::Ready(()) } else { timer.poll_expired(cx) }
    })
    .await;
    timer.arm(None);
    if !gate.is_kept() {
        tracing::error!("the server has stopped before all changes were stored");
    }
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
