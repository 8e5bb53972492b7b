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
#![expect(clippy::disallowed_methods, reason = "this is the edge that reads the clocks")]

mod clock;

pub use noex_host::{
    AuthFailure, Authenticator, ConnectionInfo, FnAuthenticator, HandshakeConfig, Hub, Options,
    PermissionCheck, RulesOptions, ServerStats, Session, StartError, StaticTokens, TokenExpiry, Verdict,
    core, rules_engine as rules, store,
};

use clock::SmolTimer;
use noex_host::{run_expiry, serve, stop};
use smol::{
    Executor, Task, channel,
    lock::Mutex,
    net::{TcpListener, resolve},
};
use std::{
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

/// Stack of a serving thread: evaluation recurses as deep as a message may be nested (at most 1024).
const STACK_BYTES: usize = 8 * 1024 * 1024;
/// Pause after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running server with threads of its own. Dropping it ends it without ceremony; see [`Server::stop`].
#[derive(Debug)]
pub struct Server {
    hub: Arc<Hub>,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    accepting: Task<()>,
    expiring: Task<()>,
    /// The threads end when this is closed.
    ending: channel::Sender<()>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Server {
    /// Starts listening and serving.
    ///
    /// # Errors
    /// If a definition is wrong, the address cannot be listened on, or a thread cannot be started.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let hub = Hub::new(options, clock::now())?;
        let listener = listen(&hub.options().host, hub.options().port).await.map_err(StartError::Listen)?;
        hub.set_port(listener.local_addr().map_err(StartError::Listen)?.port());
        let executor = Arc::new(Executor::new());
        let accepting = executor.spawn(accept(Arc::downgrade(&executor), Arc::clone(&hub), listener));
        let expiring = executor.spawn({
            let hub = Arc::clone(&hub);
            async move { run_expiry(&hub, SmolTimer::new()).await }
        });
        let (ending, ended) = channel::bounded(1);
        let count = match hub.options().threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let threads = (0..count)
            .map(|index| {
                let (executor, ended) = (Arc::clone(&executor), ended.clone());
                thread::Builder::new().name(format!("noex-{index}")).stack_size(STACK_BYTES).spawn(
                    move || {
                        // An error says that the channel is closed, which is the signal.
                        let _ = smol::block_on(executor.run(ended.recv()));
                    },
                )
            })
            .collect::<Result<_, _>>()
            .map_err(StartError::Thread)?;
        Ok(Self { hub, running: Mutex::new(Some(Running { accepting, expiring, ending, threads })) })
    }

    /// Stops: closes the listener, announces the end, waits up to `grace` for clients to leave, closes the rest.
    /// Further calls wait for the first one and do nothing.
    pub async fn stop(&self, grace: Duration) {
        let mut running = self.running.lock().await;
        let Some(Running { accepting, expiring, ending, threads }) = running.take() else { return };
        accepting.cancel().await;
        stop(&self.hub, grace, SmolTimer::new()).await;
        expiring.cancel().await;
        ending.close();
        smol::unblock(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a serving thread panicked");
                }
            }
        })
        .await;
    }

    /// The port that is listened on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.hub.port()
    }

    /// Tells whether the server serves; false from the beginning of a stop.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.hub.is_stopping()
    }

    /// Number of open connections.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.hub.connection_count()
    }

    /// Lists open connections in order of arrival.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        self.hub.connections()
    }

    /// Counters and settings.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.hub.stats(clock::now())
    }

    /// Uses the store directly and delivers what changed to subscribers. Give the present time in ms to its calls.
    pub fn with_store<R>(&self, use_it: impl FnOnce(&mut store::Store, u64) -> R) -> R {
        let now = clock::now();
        self.hub.with_store(now, |store| use_it(store, now.unix_ms))
    }

    /// Uses the rule engine directly, if there is one, and delivers what follows. Give the present time in ms to its
    /// calls.
    pub fn with_rules<R>(&self, use_it: impl FnOnce(&mut rules::Engine, u64) -> R) -> Option<R> {
        let now = clock::now();
        self.hub.with_rules(now, |engine| use_it(engine, now.unix_ms))
    }

    /// Closes all connections of a user with `session_revoked`; gives their number.
    pub fn revoke_session(&self, user_id: &str) -> usize {
        self.hub.revoke_session(user_id)
    }
}

/// Checks options without listening.
///
/// # Errors
/// All problems of the definitions.
pub fn check(options: Options) -> Result<(), StartError> {
    Hub::new(options, clock::now()).map(|_| ())
}

/// Listens on the first address that a host name gives.
async fn listen(host: &str, port: u16) -> std::io::Result<TcpListener> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    TcpListener::bind(&resolve((host, port)).await?[..]).await
}

/// Accepts streams for ever; each is served by a task of its own. Holds the executor weakly: it would otherwise keep
/// itself, and with it the listener, alive when a server is dropped.
async fn accept(executor: Weak<Executor<'static>>, hub: Arc<Hub>, listener: TcpListener) {
    loop {
        let accepted = listener.accept().await;
        let Some(executor) = executor.upgrade() else { return };
        match accepted {
            Ok((stream, address)) => {
                // Answers are flushed once per turn; waiting for more would only delay them.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!("no TCP_NODELAY: {error}");
                }
                executor
                    .spawn(serve(Arc::clone(&hub), stream, Some(address.ip()), SmolTimer::new()))
                    .detach();
            }
            Err(error) => {
                tracing::warn!("accept failed: {error}");
                smol::Timer::after(ACCEPT_PAUSE).await;
            }
        }
    }
}
