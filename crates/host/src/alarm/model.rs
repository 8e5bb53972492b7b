//! All interleavings of a sleeper and of those who bring its deadline nearer.

use super::Alarm;
use crate::sync::atomic::{AtomicU64, Ordering};
use loom::{future::block_on, sync::Arc, thread};
use std::{future::poll_fn, task::Poll};

#[test]
fn loom_no_deadline_is_slept_through() {
    for deadlines in [[5, 5], [9, 5], [5, 9]] {
        loom::model(move || {
            let shared = Arc::new((Alarm::default(), AtomicU64::new(u64::MAX)));
            let writers: Vec<_> = deadlines
                .into_iter()
                .map(|at| {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || {
                        let (alarm, next) = &*shared;
                        next.fetch_min(at, Ordering::Release);
                        alarm.notice(|| Some(next.load(Ordering::Acquire)));
                    })
                })
                .collect();
            let (alarm, next) = &*shared;
            block_on(poll_fn(|cx| {
                let next = || Some(next.load(Ordering::Acquire)).filter(|at| *at != u64::MAX);
                // Whoever never learns of the nearest one sleeps for ever, which the model reports.
                if alarm.arm(cx.waker(), next) == Some(5) { Poll::Ready(()) } else { Poll::Pending }
            }));
            writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
        });
    }
}
