//! The primitives that hand-written synchronisation uses: those of a model checker under `--cfg noex_loom`, where
//! every interleaving is tried (see `model` in `alarm`, `inbox` and `registry`).

#[cfg(not(noex_loom))]
pub(crate) use {futures::task::AtomicWaker, parking_lot::Mutex, std::sync::atomic};

#[cfg(noex_loom)]
pub(crate) use {loom::sync::atomic, modelled::AtomicWaker, modelled::Mutex};

#[cfg(noex_loom)]
mod modelled {
    use std::task::Waker;

    /// A lock with the interface of `parking_lot`.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().expect("no panic in a model")
        }
    }

    /// A waker's place with the interface of `futures`.
    #[derive(Debug, Default)]
    pub(crate) struct AtomicWaker(loom::future::AtomicWaker);

    impl AtomicWaker {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn register(&self, waker: &Waker) {
            self.0.register_by_ref(waker);
        }

        pub(crate) fn wake(&self) {
            self.0.wake();
        }
    }
}
