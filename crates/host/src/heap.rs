//! Lets the heap of a thread that stores records grow in large steps.
//!
//! glibc gives each thread but the first a heap that it enlarges page by page, with a system call each: one for every
//! fourth record of a few hundred bytes. A large block that is taken and given back enlarges the heap by as much at
//! once. Nobody touches the block, so it takes no memory before records do.

use std::{cell::Cell, hint::black_box};

/// Writes between two steps; of records of 1 KB they take about a step.
const WRITES: u32 = 1024;
/// Bytes of a step. glibc learns from the first that blocks of this size belong into the heap.
const STEP_BYTES: usize = 1 << 20;

/// Takes note of a write of this thread.
pub(crate) fn note_write() {
    thread_local! {
        static COUNT: Cell<u32> = const { Cell::new(0) };
    }
    COUNT.with(|count| {
        count.set((count.get() + 1) % WRITES);
        if count.get() == 0 && cfg!(all(target_os = "linux", target_env = "gnu")) {
            drop(black_box(Vec::<u8>::with_capacity(STEP_BYTES)));
        }
    });
}
