//! All interleavings of connections that leave and of a stop that waits for them.

use super::Registry;
use loom::{future::block_on, sync::Arc, thread};
use std::{future::poll_fn, task::Poll};

#[test]
fn loom_the_last_one_wakes_the_stop() {
    loom::model(|| {
        let registry = Arc::new(Registry::default());
        let threads: Vec<_> = ["a", "b"]
            .into_iter()
            .map(|address| {
                let entry = registry.admit(address, 0, Some(1)).expect("room");
                let registry = Arc::clone(&registry);
                thread::spawn(move || registry.remove(&entry))
            })
            .collect();
        block_on(poll_fn(|cx| {
            registry.emptied.register(cx.waker());
            if registry.len() == 0 { Poll::Ready(()) } else { Poll::Pending }
        }));
        assert!(registry.entries().is_empty());
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
}

#[test]
fn loom_places_are_never_given_twice() {
    loom::model(|| {
        let registry = Arc::new(Registry::default());
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let registry = Arc::clone(&registry);
                thread::spawn(move || {
                    let got = registry.reserve(1);
                    if got {
                        registry.unreserve();
                    }
                    got
                })
            })
            .collect();
        let got = threads.into_iter().map(|thread| thread.join().expect("no panic"));
        assert!(got.fold(false, |any, one| any | one), "nobody got the only place");
        assert!(registry.reserve(1) && !registry.reserve(1));
    });
}
