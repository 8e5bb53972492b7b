//! All interleavings of a connection and of those who write to its mailbox.

use super::Inbox;
use loom::{future::block_on, sync::Arc, thread};
use noex_core::{CloseReason, EndReason, SubId, Update};
use std::{future::poll_fn, task::Poll};

fn update(version: u64) -> Update {
    Update::whole(version, None)
}

#[test]
fn loom_no_mail_is_slept_through() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::default());
        let results = Arc::clone(&inbox);
        let results = thread::spawn(move || {
            results.push_result(SubId(1), update(1));
            results.push_result(SubId(1), update(2));
        });
        let event = Arc::clone(&inbox);
        let event = thread::spawn(move || event.push_event(SubId(2), "{}".into()));
        let (mut version, mut events) = (0, 0);
        block_on(poll_fn(|cx| {
            inbox.register(cx.waker());
            if let Some(mail) = inbox.take() {
                for (_, update) in mail.results {
                    assert!(update.version > version, "a result again, or an older one");
                    version = update.version;
                }
                events += mail.events.values().map(|events| events.kept.len()).sum::<usize>();
            }
            if (version, events) == (2, 1) { Poll::Ready(()) } else { Poll::Pending }
        }));
        results.join().expect("no panic");
        event.join().expect("no panic");
        assert!(inbox.take().is_none_or(|mail| mail.results.is_empty() && mail.events.is_empty()));
    });
}

/// Parts that are taken ahead of the rest neither get lost nor come twice.
#[test]
fn loom_parts_taken_ahead_are_taken_once() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::default());
        let writer = Arc::clone(&inbox);
        let writer = thread::spawn(move || {
            writer.push_event(SubId(1), "{}".into());
            writer.end_subscription(SubId(2), EndReason::BucketDropped);
            writer.close(CloseReason::ServerShutdown);
        });
        let mut taken = (0, 0);
        block_on(poll_fn(|cx| {
            inbox.register(cx.waker());
            taken.0 += inbox.take_events().events.values().map(|events| events.kept.len()).sum::<usize>();
            taken.1 += inbox.take_ended().len();
            let Some(mail) = inbox.take() else { return Poll::Pending };
            taken.0 += mail.events.values().map(|events| events.kept.len()).sum::<usize>();
            taken.1 += mail.ended.len();
            // It was written last.
            if mail.close.is_some() { Poll::Ready(()) } else { Poll::Pending }
        }));
        assert_eq!(taken, (1, 1));
        writer.join().expect("no panic");
    });
}
