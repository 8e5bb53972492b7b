//! One thread that runs tasks when, and only when, they are woken, and a clock that is moved by hand.

use crate::{
    client::Client,
    duplex::{Behaviour, duplex},
};
use futures::task::{ArcWake, waker_ref};
use noex_host::{Hub, Instant, Now, Options, Timer, core::Shared, run_deadlines, serve, stop, store::Store};
use std::{
    collections::BTreeMap,
    future::Future,
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

/// Wall clock at the origin of the monotonic clock.
pub(crate) const EPOCH_MS: u64 = 1_700_000_000_000;
/// Polls after which a world that does not come to rest is busy for ever.
const POLLS_MAX: usize = 200_000;

#[derive(Debug, Default)]
struct Clock {
    now: Instant,
    alarms: BTreeMap<u64, (Instant, Waker)>,
    last_alarm: u64,
}

type SharedClock = Arc<Mutex<Clock>>;

/// An alarm of the virtual clock.
#[derive(Debug)]
pub(crate) struct VirtualTimer {
    clock: SharedClock,
    id: u64,
    at: Option<Instant>,
}

impl VirtualTimer {
    fn new(clock: &SharedClock) -> Self {
        let mut locked = clock.lock().unwrap();
        locked.last_alarm += 1;
        Self { clock: Arc::clone(clock), id: locked.last_alarm, at: None }
    }
}

impl Drop for VirtualTimer {
    fn drop(&mut self) {
        self.clock.lock().unwrap().alarms.remove(&self.id);
    }
}

fn reading(mono: Instant) -> Now {
    Now { mono, unix_ms: EPOCH_MS + mono.as_millis() }
}

impl Timer for VirtualTimer {
    fn now(&self) -> Now {
        reading(self.clock.lock().unwrap().now)
    }

    fn arm(&mut self, at: Option<Instant>) {
        self.at = at;
        self.clock.lock().unwrap().alarms.remove(&self.id);
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let mut clock = self.clock.lock().unwrap();
        if at <= clock.now {
            clock.alarms.remove(&self.id);
            self.at = None;
            return Poll::Ready(());
        }
        clock.alarms.insert(self.id, (at, cx.waker().clone()));
        Poll::Pending
    }
}

struct Flag(AtomicBool);

impl ArcWake for Flag {
    fn wake_by_ref(flag: &Arc<Self>) {
        flag.0.store(true, Ordering::Release);
    }
}

struct Task {
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    woken: Arc<Flag>,
}

/// A server with buckets `items` and `brief` (records live for a minute), and queries over them.
pub(crate) fn options() -> Options {
    let mut options = Options { subscriptions_max: 500, ..Options::default() };
    let item = r#"{"id":{"type":"string","required":true},"n":{"type":"number"}}"#;
    for (name, more) in [("items", ""), ("brief", r#","ttl":60000"#)] {
        options.buckets.push((name.into(), format!(r#"{{"key":"id","schema":{item}{more}}}"#)));
        let count = r#""aggregate":{"function":"count"}"#;
        options.queries.push((format!("count-{name}"), format!(r#"{{"bucket":"{name}",{count}}}"#)));
    }
    let sum = r#"{"bucket":"items","aggregate":{"function":"sum","field":"n"}}"#;
    options.queries.push(("sum".into(), sum.into()));
    options.queries.push(("all".into(), r#"{"bucket":"items"}"#.into()));
    let above = r#"{"bucket":"items","filter":{"n":{"$gte":"{{ params.n }}"}}}"#;
    options.queries.push(("above".into(), above.into()));
    options
}

/// Names a task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskId(usize);

/// A hub, its connections, and the clock.
pub(crate) struct World {
    pub(crate) hub: Arc<Hub>,
    clock: SharedClock,
    tasks: Vec<Task>,
}

impl World {
    pub(crate) fn new(options: Options) -> Self {
        let hub = Hub::new(options, reading(Instant::default())).expect("good options");
        Self { hub, clock: SharedClock::default(), tasks: Vec::new() }
    }

    pub(crate) fn now(&self) -> Now {
        reading(self.clock.lock().unwrap().now)
    }

    pub(crate) fn timer(&self) -> VirtualTimer {
        VirtualTimer::new(&self.clock)
    }

    pub(crate) fn spawn(&mut self, future: impl Future<Output = ()> + 'static) -> TaskId {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        self.tasks.push(Task { future: Some(Box::pin(future)), woken });
        TaskId(self.tasks.len() - 1)
    }

    /// Tells whether a task has ended.
    pub(crate) fn is_done(&self, TaskId(id): TaskId) -> bool {
        self.tasks[id].future.is_none()
    }

    /// Drops a task in mid-life.
    pub(crate) fn cancel(&mut self, TaskId(id): TaskId) {
        self.tasks[id].future = None;
    }

    /// Polls woken tasks until none is. Panics if that never happens.
    pub(crate) fn run(&mut self) {
        let mut polls = 0;
        loop {
            let mut idle = true;
            for task in &mut self.tasks {
                let Some(future) = task.future.as_mut() else { continue };
                if !task.woken.0.swap(false, Ordering::AcqRel) {
                    continue;
                }
                idle = false;
                polls += 1;
                assert!(polls < POLLS_MAX, "a task is busy for ever");
                let waker = waker_ref(&task.woken);
                if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                    task.future = None;
                }
            }
            if idle {
                return;
            }
        }
    }

    /// Moves the clock, stopping at every alarm on the way.
    pub(crate) fn advance(&mut self, span: Duration) {
        self.run();
        let end = self.now().mono + span;
        loop {
            let due = {
                let mut clock = self.clock.lock().unwrap();
                let next = clock.alarms.iter().map(|(id, (at, _))| (*at, *id)).min();
                let due = next.filter(|(at, _)| *at <= end).and_then(|(at, id)| {
                    clock.now = clock.now.max(at);
                    clock.alarms.remove(&id)
                });
                if due.is_none() {
                    clock.now = end;
                }
                due
            };
            match due {
                Some((_, waker)) => waker.wake(),
                None => return,
            }
            self.run();
        }
    }

    /// Moves the clock to just before the end of a span, and then to its end; between the two the check is made.
    pub(crate) fn advance_checking(&mut self, span: Duration, not_yet: impl FnOnce(&mut Self)) {
        self.advance(span - Duration::from_micros(1));
        not_yet(self);
        self.advance(Duration::from_micros(1));
    }

    /// Opens a stream without saying anything.
    pub(crate) fn open(&mut self, behaviour: &Behaviour, host: u8) -> Client {
        let (server, client) = duplex(behaviour);
        let peer = IpAddr::V4(Ipv4Addr::new(10, 0, 0, host));
        let task = self.spawn(serve(Arc::clone(&self.hub), server, Some(peer), self.timer()));
        Client::new(client, task)
    }

    /// Opens a connection and takes the welcome.
    pub(crate) fn connect(&mut self) -> Client {
        self.connect_with(&Behaviour::default())
    }

    pub(crate) fn connect_with(&mut self, behaviour: &Behaviour) -> Client {
        let mut client = self.open(behaviour, 1);
        client.upgrade();
        for _ in 0..10_000 {
            self.run();
            client.receive();
            if client.is_welcomed() {
                return client;
            }
        }
        panic!("no welcome: {:?}", client.received());
    }

    /// Starts the expiry of records.
    pub(crate) fn start_expiry(&mut self) -> TaskId {
        let (hub, timer) = (Arc::clone(&self.hub), self.timer());
        self.spawn(async move { run_deadlines(&hub, timer).await })
    }

    /// Begins a stop.
    pub(crate) fn stop(&mut self, grace: Duration) -> TaskId {
        let (hub, timer) = (Arc::clone(&self.hub), self.timer());
        self.spawn(async move { stop(&hub, grace, timer).await })
    }

    /// Runs what an embedder does to the store.
    pub(crate) fn with_store<R>(&mut self, use_it: impl FnOnce(&mut Store, u64) -> R) -> R {
        let now = self.now();
        let outcome = self.hub.with_store(now, |store| use_it(store, now.unix_ms));
        self.run();
        outcome
    }

    /// Sends a message and gives what is received until the world is at rest.
    pub(crate) fn ask(&mut self, client: &mut Client, text: &str) -> Vec<String> {
        client.text(text);
        self.exchange(client)
    }

    /// Runs and receives until nothing comes any more.
    pub(crate) fn exchange(&mut self, client: &mut Client) -> Vec<String> {
        loop {
            self.run();
            if client.receive_at_most(usize::MAX) == 0 {
                return client.received_texts();
            }
        }
    }

    /// Asserts that nothing of any connection is left.
    pub(crate) fn assert_nothing_left(&mut self) {
        self.run();
        assert_eq!(self.hub.connection_count(), 0);
        assert_eq!(self.hub.connections(), []);
        assert_eq!(self.hub.route_count(), 0, "routes of pushes are left");
        assert_eq!(self.active_subscriptions(), 0.0, "subscribers of views are left");
        let max = self.hub.options().subscriptions_max;
        for _ in 0..max {
            assert_eq!(self.hub.reserve_subscription(), Ok(()), "reserved subscriptions are left");
        }
        assert_eq!(self.hub.reserve_subscription(), Err(max));
        self.hub.release_subscriptions(max);
    }

    fn active_subscriptions(&self) -> f64 {
        let stats = self.hub.stats(self.now()).store;
        let queries = stats.as_object().and_then(|stats| stats.get("queries")).cloned().unwrap_or_default();
        let active = queries.as_object().and_then(|queries| queries.get("activeSubscriptions")).cloned();
        active.and_then(|count| count.as_number()).expect("a count")
    }
}
