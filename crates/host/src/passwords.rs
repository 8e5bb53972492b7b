//! Threads that compute password hashes, so that those that serve connections do not.
//!
//! A hash takes tens of milliseconds and megabytes. How many are computed at a time is the number of threads; how many
//! wait is bounded too, and what does not fit is refused.

use futures::channel::oneshot;
use noex_identity::{PasswordJob, PasswordResult};
use parking_lot::Mutex;
use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

/// The queue is full.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Busy;

struct Job {
    job: PasswordJob,
    done: oneshot::Sender<PasswordResult>,
}

/// A pool of threads; dropping it ends them when their present work is done.
pub(crate) struct Passwords {
    /// `None` = jobs are run by whoever hands them in.
    jobs: Option<SyncSender<Job>>,
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passwords(..)")
    }
}

impl Passwords {
    /// Starts `threads` threads, before which at most `queue_max` jobs wait. Without threads jobs are run at once, by
    /// whoever hands them in.
    pub(crate) fn start(threads: usize, queue_max: usize) -> io::Result<Self> {
        if threads == 0 {
            return Ok(Self { jobs: None });
        }
        let (sender, receiver) = sync_channel(queue_max);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..threads {
            let receiver = Arc::clone(&receiver);
            thread::Builder::new().name("noex-password".to_owned()).spawn(move || work(&receiver))?;
        }
        Ok(Self { jobs: Some(sender) })
    }

    /// Hands a job in. The result comes through the receiver; dropping that calls the job off, if it has not begun.
    pub(crate) fn submit(&self, job: PasswordJob) -> Result<oneshot::Receiver<PasswordResult>, Busy> {
        let (done, result) = oneshot::channel();
        match &self.jobs {
            None => {
                // The receiver is there.
                let _ = done.send(job.run());
            }
            Some(jobs) => jobs.try_send(Job { job, done }).map_err(|_| Busy)?,
        }
        Ok(result)
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is held while waiting: the others wait for it instead.
        let Ok(Job { job, done }) = jobs.lock().recv() else { return };
        if done.is_canceled() {
            continue;
        }
        match catch_unwind(AssertUnwindSafe(|| job.run())) {
            Ok(result) => {
                // Whoever asked may have gone.
                let _ = done.send(result);
            }
            Err(_) => tracing::error!("panic while a password was computed"),
        }
    }
}
