//! A journal on a disk that is slow, fails, and is all that is left after a crash.

use crate::{clock::Clock, random::Random};
use futures::{future::poll_fn, task::AtomicWaker};
use noex_host::{
    Timer,
    store::{Journal, JournalDone, JournalEntry, JournalError, MemoryImage},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

/// How bad the disk is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wear {
    /// Greatest time to keep a group.
    pub(crate) delay_ms: u64,
    /// In how many of a hundred groups a time begins in which nothing can be kept.
    pub(crate) failures_percent: usize,
}

#[derive(Default)]
struct State {
    job: Option<(Vec<Vec<JournalEntry>>, JournalDone)>,
    image: MemoryImage,
    /// Keys in the bucket to which records only ever come.
    log: BTreeSet<String>,
    /// The two records that only ever change together.
    twins: BTreeMap<String, f64>,
    violation: Option<String>,
    failures: u64,
}

/// See the module documentation.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    state: Arc<Mutex<State>>,
    waker: Arc<AtomicWaker>,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Disk").field("failures", &state.failures).finish()
    }
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A disk with what this one holds, that knows nothing of the group under way.
    pub(crate) fn survivor(&self) -> Self {
        let state = self.state();
        let survivor = Self::default();
        *survivor.state() = State {
            image: state.image.clone(),
            log: state.log.clone(),
            twins: state.twins.clone(),
            failures: state.failures,
            ..State::default()
        };
        survivor
    }

    pub(crate) fn image(&self) -> MemoryImage {
        self.state().image.clone()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.state().job.is_none()
    }

    /// Tells whether a record of the log is kept.
    pub(crate) fn has_logged(&self, key: &str) -> bool {
        self.state().log.contains(key)
    }

    /// Gives what is wrong with what was kept.
    pub(crate) fn violation(&self) -> Option<String> {
        self.state().violation.clone()
    }

    /// How often it failed to keep a group, its earlier lives included.
    pub(crate) fn failures(&self) -> u64 {
        self.state().failures
    }

    /// Keeps one group after the other, or fails to, for as long as it is polled.
    pub(crate) async fn run(self, clock: Clock, mut random: Random, wear: Wear) {
        let mut fails_until = clock.mono();
        loop {
            poll_fn(|cx| {
                self.waker.register(cx.waker());
                if self.is_idle() { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
            let mut timer = clock.timer();
            timer.arm(Some(clock.mono() + Duration::from_millis(random.between(0, wear.delay_ms))));
            poll_fn(|cx| timer.poll_expired(cx)).await;
            if wear.failures_percent > 0 && random.chance(wear.failures_percent) {
                fails_until = clock.mono() + Duration::from_millis(random.between(0, 2_500));
            }
            let fails = clock.mono() < fails_until;
            let Some((done, outcome)) = self.finish(fails) else { continue };
            done(outcome);
        }
    }

    fn finish(&self, fails: bool) -> Option<(JournalDone, Result<(), JournalError>)> {
        let mut state = self.state();
        let (group, done) = state.job.take()?;
        if fails {
            state.failures += 1;
            return Some((done, Err(JournalError("no space left on device".into()))));
        }
        if let Err(error) = state.image.apply(&group) {
            state.violation.get_or_insert(format!("the journal makes no sense: {error}"));
        }
        for commit in &group {
            state.take_commit(commit);
        }
        Some((done, Ok(())))
    }
}

impl State {
    fn take_commit(&mut self, commit: &[JournalEntry]) {
        for entry in commit {
            let JournalEntry::RecordPut { record, .. } = entry else { continue };
            let members = record.members();
            let (id, mark) = (record.key().as_str().unwrap_or_default().to_owned(), members.get("m"));
            match mark.and_then(|mark| mark.as_str()) {
                Some("@log") => {
                    self.log.insert(id);
                }
                Some("@twins") => {
                    self.twins.insert(id, members.get("n").and_then(|n| n.as_number()).unwrap_or_default());
                }
                _ => {}
            }
        }
        if self.twins.get("a") != self.twins.get("b") {
            self.violation.get_or_insert(format!("half a transaction was kept: {:?}", self.twins));
        }
    }
}

impl Journal for Disk {
    fn submit(&self, group: Vec<Vec<JournalEntry>>, done: JournalDone) {
        {
            let mut state = self.state();
            if state.job.is_some() {
                state.violation.get_or_insert("two groups at a time".into());
            }
            state.job = Some((group, done));
        }
        self.waker.wake();
    }
}
