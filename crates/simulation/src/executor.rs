//! One thread that polls woken tasks, in an order that the seed chooses.

use crate::random::Random;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

type Ready = Arc<Mutex<Vec<usize>>>;

struct Woken {
    id: usize,
    queued: AtomicBool,
    ready: Ready,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).push(self.id);
        }
    }
}

struct Task {
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    woken: Arc<Woken>,
    waker: Waker,
}

/// Names a task.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TaskId(usize);

/// All tasks of a world.
#[derive(Default)]
pub(crate) struct Executor {
    tasks: Vec<Task>,
    ready: Ready,
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

impl Executor {
    pub(crate) fn spawn(&mut self, future: impl Future<Output = ()> + 'static) -> TaskId {
        let id = self.tasks.len();
        let woken = Arc::new(Woken { id, queued: AtomicBool::new(false), ready: Arc::clone(&self.ready) });
        let waker = Waker::from(Arc::clone(&woken));
        self.tasks.push(Task { future: Some(Box::pin(future)), woken, waker: waker.clone() });
        waker.wake();
        TaskId(id)
    }

    /// Drops all tasks, as the death of the process does.
    pub(crate) fn clear(&mut self) {
        for task in &mut self.tasks {
            task.future = None;
        }
    }

    pub(crate) fn is_done(&self, TaskId(id): TaskId) -> bool {
        self.tasks.get(id).is_none_or(|task| task.future.is_none())
    }

    /// Polls one woken task; false if there is none.
    pub(crate) fn step(&mut self, random: &mut Random) -> bool {
        let id = {
            let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
            if ready.is_empty() {
                return false;
            }
            let place = random.below(ready.len());
            ready.swap_remove(place)
        };
        let Some(task) = self.tasks.get_mut(id) else { return true };
        task.woken.queued.store(false, Ordering::Release);
        if let Some(future) = &mut task.future
            && future.as_mut().poll(&mut Context::from_waker(&task.waker)).is_ready()
        {
            task.future = None;
        }
        true
    }
}
