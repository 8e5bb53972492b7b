//! The server on [smol]: a listener, a timer, and threads that run an executor. Everything else is in `noex-host`.
//!
//! ```
//! use noex_smol::{FnAuthenticator, Options, Server, Session, core::{AuthMode, TokenMode}};
//! use std::{sync::Arc, time::Duration};
//!
//! let mut options = Options { host: "127.0.0.1".into(), port: 0, ..Options::default() };
//! options.buckets.push(("notes".into(), r#"{"key":"id","schema":{"id":{"type":"string","generated":"uuid"}}}"#.into()));
//! options.queries.push(("all-notes".into(), r#"{"bucket":"notes"}"#.into()));
//! options.connection.auth = AuthMode::Token(TokenMode::default());
//! // Any async look-up: a database, another service, a signature check.
//! options.authenticator = Some(Arc::new(FnAuthenticator(|token: String| async move {
//!     (token == "secret").then(|| Session { user_id: "ann".into(), roles: vec!["writer".into()], ..Session::default() })
//! })));
//! options.permission_check = Some(Arc::new(|session: &Session, operation: &str, resource: &str| {
//!     session.user_id == "ann" || (operation == "store.get" && resource == "notes")
//! }));
//!
//! smol::block_on(async {
//!     let server = Server::start(options).await?;
//!     assert!(server.is_running() && server.port() != 0);
//!     assert_eq!((server.connection_count(), server.connections().len()), (0, 0));
//!     assert_eq!(server.stats().name, "noex-server");
//!     server.stop(Duration::ZERO).await;
//!     assert!(!server.is_running());
//!     Ok::<(), noex_smol::StartError>(())
//! })?;
//! # Ok::<(), noex_smol::StartError>(())
//! ```

#![forbid(unsafe_code)]

pub use noex_host::{
    AuditOptions, AuthFailure, Authenticator, ConnectionInfo, Durability, FnAuthenticator, HandshakeConfig,
    Hub, IdentityOptions, OfflineAccounts, Options, PermissionCheck, Persistence, ProceduresOptions,
    RulesOptions, ServerStats, Session, StartError, StaticTokens, TokenExpiry, Verdict, accounts, core,
    procedures_engine as procedures, rules_engine as rules, store,
};
pub use smol::block_on;

use noex_async_io::{AsyncIoTimer, Listener, Socket};
use smol::{Executor, channel, future, lock::Mutex, net::resolve};
use std::{
    convert::Infallible,
    future::Future,
    io,
    net::IpAddr,
    pin::pin,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// A running server with threads of its own. See [`noex_host::Server`] for its methods.
pub type Server = noex_host::Server<Smol>;

/// Stack of a serving thread: evaluation recurses as deep as a message may be nested (at most 1024).
const STACK_BYTES: usize = 8 * 1024 * 1024;

/// An executor and the threads that run it.
#[derive(Debug)]
pub struct Smol {
    executor: Arc<Executor<'static>>,
    /// The threads end when this is closed, or dropped.
    ending: channel::Sender<()>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
}

/// When the sockets are looked at while there are tasks to run.
///
/// async-io's own thread takes over the waiting for sockets if nobody has looked at them for 10 ms. From then on it does
/// so after 50 µs, and each time costs two changes of thread; only when it finds for 10 ms, at growing intervals, that
/// others look, it is as patient as before. So looks are rare, but for a short while of every period they are frequent.
#[derive(Debug)]
struct Looks {
    period_begun: Instant,
    last: Instant,
}

impl Looks {
    const PERIOD: Duration = Duration::from_millis(500);
    const FREQUENT: Duration = Duration::from_millis(12);
    const FREQUENT_INTERVAL: Duration = Duration::from_micros(30);
    const RARE_INTERVAL: Duration = Duration::from_millis(1);

    fn new(now: Instant) -> Self {
        Self { period_begun: now, last: now }
    }

    /// Tells whether it is time to look.
    fn are_due(&mut self, now: Instant) -> bool {
        let into_period = now.duration_since(self.period_begun);
        if into_period >= Self::PERIOD {
            self.period_begun = now;
        }
        let frequent = into_period < Self::FREQUENT;
        let interval = if frequent { Self::FREQUENT_INTERVAL } else { Self::RARE_INTERVAL };
        now.duration_since(self.last) >= interval
    }
}

/// Runs tasks for ever. As `Executor::run`, but looks at the sockets by time, not after so many tasks.
#[expect(clippy::disallowed_methods, reason = "an adapter is the edge where clocks are read")]
async fn run(executor: &Executor<'static>) -> Infallible {
    let mut looks = Looks::new(Instant::now());
    loop {
        let (mut turn, mut waited) = (pin!(executor.tick()), false);
        future::poll_fn(|cx| {
            let ready = turn.as_mut().poll(cx);
            waited |= ready.is_pending();
            ready
        })
        .await;
        let now = Instant::now();
        if waited {
            // Whoever waits looks.
            looks.last = now;
        } else if looks.are_due(now) {
            future::yield_now().await;
            looks.last = Instant::now();
        }
    }
}

impl noex_host::Runtime for Smol {
    type Stream = Socket;
    type Listener = Listener;
    type Timer = AsyncIoTimer;

    fn start(threads: usize) -> io::Result<Self> {
        let executor = Arc::new(Executor::new());
        let (ending, ended) = channel::bounded(1);
        let count = match threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let start = |index| {
            let (executor, ended) = (Arc::clone(&executor), ended.clone());
            thread::Builder::new().name(format!("noex-{index}")).stack_size(STACK_BYTES).spawn(move || {
                // An error says that the channel is closed, which is the signal.
                let serve =
                    future::or(async { ended.recv().await.err() }, async { match run(&executor).await {} });
                let _ = smol::block_on(serve);
            })
        };
        let threads = (0..count).map(start).collect::<Result<_, _>>()?;
        Ok(Self { executor, ending, threads: Mutex::new(threads) })
    }

    async fn listen(host: &str, port: u16) -> io::Result<Listener> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Listener::bind(&resolve((host, port)).await?)
    }

    fn local_port(listener: &Listener) -> io::Result<u16> {
        listener.port()
    }

    async fn accept(listener: &Listener) -> io::Result<(Socket, IpAddr)> {
        listener.accept().await
    }

    fn timer() -> AsyncIoTimer {
        AsyncIoTimer::new()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.executor.spawn(task).detach();
    }

    async fn shut_down(&self) {
        self.ending.close();
        let threads = std::mem::take(&mut *self.threads.lock().await);
        smol::unblock(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a serving thread panicked");
                }
            }
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::Range;

    #[expect(clippy::disallowed_methods, reason = "an instant to count from")]
    #[test]
    fn looks_are_frequent_for_a_part_of_every_period() {
        let start = Instant::now();
        let mut looks = Looks::new(start);
        let mut taken = Vec::new();
        // One turn every 10 µs for two periods.
        for turn in 1..100_000 {
            let now = start + Duration::from_micros(10 * turn);
            if looks.are_due(now) {
                taken.push(now.duration_since(start).as_millis() % 500);
                looks.last = now;
            }
        }
        let count = |part: Range<u128>| taken.iter().filter(|at| part.contains(at)).count();
        // Every 30 µs, then every millisecond.
        assert!((2 * 390..=2 * 400).contains(&count(0..12)), "{}", count(0..12));
        assert!((2 * 485..=2 * 488).contains(&count(13..500)), "{}", count(13..500));
    }
}
