//! A whole server on any runtime: start, stop, and what an embedder asks of it.

use crate::{
    ConnectionInfo, Hub, Options, ServerStats, StartError, Timer, audit::AuditLog, run_deadlines, serve, stop,
};
use futures::{
    AsyncRead, AsyncWrite,
    channel::oneshot,
    future::{AbortHandle, abortable, poll_fn},
    lock::Mutex,
};
use noex_core::Refusal;
use noex_rules::Engine;
use noex_store::Store;
use std::{
    fmt,
    future::Future,
    io,
    net::IpAddr,
    sync::{Arc, Weak},
    time::Duration,
};

/// What a server needs of a runtime: sockets, an alarm, and a way to spawn.
pub trait Runtime: Send + Sync + Sized + 'static {
    /// An accepted byte stream.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;
    /// A listening socket.
    type Listener: Send + Sync + 'static;
    /// An alarm with the runtime's clocks.
    type Timer: Timer + 'static;

    /// Makes the runtime ready to run tasks, on `threads` threads if they are its own (0 = one per core).
    ///
    /// # Errors
    /// If a thread cannot be started.
    fn start(threads: usize) -> io::Result<Self>;

    /// Listens on the first address that a host name gives.
    fn listen(host: &str, port: u16) -> impl Future<Output = io::Result<Self::Listener>> + Send;

    /// The port that is listened on.
    ///
    /// # Errors
    /// If the operating system does not tell.
    fn local_port(listener: &Self::Listener) -> io::Result<u16>;

    /// Waits for the next stream.
    fn accept(listener: &Self::Listener) -> impl Future<Output = io::Result<(Self::Stream, IpAddr)>> + Send;

    /// Makes an alarm.
    fn timer() -> Self::Timer;

    /// Runs a task on its own.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);

    /// Ends what [`Runtime::start`] began.
    fn shut_down(&self) -> impl Future<Output = ()> + Send;
}

/// Pause after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running server. Dropping it ends it without ceremony; see [`Server::stop`].
pub struct Server<R: Runtime> {
    hub: Arc<Hub>,
    runtime: Arc<R>,
    tasks: Mutex<Option<[Background; 2]>>,
}

impl<R: Runtime> fmt::Debug for Server<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("hub", &self.hub).finish_non_exhaustive()
    }
}

/// A task that runs until it is ended.
struct Background {
    handle: AbortHandle,
    ended: oneshot::Receiver<()>,
}

impl Background {
    fn spawn<R: Runtime>(runtime: &R, task: impl Future<Output = ()> + Send + 'static) -> Self {
        let (task, handle) = abortable(task);
        let (end, ended) = oneshot::channel();
        runtime.spawn(async move {
            // What the task holds, such as a listening socket, is released before the end is told.
            let _ = task.await;
            let _ = end.send(());
        });
        Self { handle, ended }
    }

    async fn end(self) {
        self.handle.abort();
        // An error says that the task has gone without a word, which is just as well.
        let _ = self.ended.await;
    }
}

impl<R: Runtime> Drop for Server<R> {
    fn drop(&mut self) {
        // Where the runtime outlives the server, its connections must not.
        self.hub.begin_stop();
        self.hub.close_all();
        for task in self.tasks.get_mut().iter().flatten() {
            task.handle.abort();
        }
    }
}

impl<R: Runtime> Server<R> {
    /// Starts listening and serving.
    ///
    /// # Errors
    /// If a definition is wrong, the address cannot be listened on, or a thread cannot be started.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let hub = Hub::new(options, R::timer().now())?;
        let listener =
            R::listen(&hub.options().host, hub.options().port).await.map_err(StartError::Listen)?;
        hub.with_rules(R::timer().now(), |engine| engine.set_stopwatch(Box::new(Stopwatch(R::timer()))));
        hub.set_port(R::local_port(&listener).map_err(StartError::Listen)?);
        let runtime = Arc::new(R::start(hub.options().threads).map_err(StartError::Thread)?);
        let accepting =
            Background::spawn(&*runtime, accept(Arc::downgrade(&runtime), Arc::clone(&hub), listener));
        let deadlines = Background::spawn(&*runtime, {
            let hub = Arc::clone(&hub);
            async move { run_deadlines(&hub, R::timer()).await }
        });
        Ok(Self { hub, runtime, tasks: Mutex::new(Some([accepting, deadlines])) })
    }

    /// Checks options without listening.
    ///
    /// # Errors
    /// All problems of the definitions.
    pub fn check(options: Options) -> Result<(), StartError> {
        Hub::new(options, R::timer().now()).map(|_| ())
    }

    /// Stops: closes the listener, announces the end, waits up to `grace` for clients to leave, closes the rest.
    /// Further calls wait for the first one and do nothing.
    pub async fn stop(&self, grace: Duration) {
        let mut tasks = self.tasks.lock().await;
        let Some([accepting, deadlines]) = tasks.take() else { return };
        self.hub.begin_stop();
        accepting.end().await;
        stop(&self.hub, grace, R::timer()).await;
        deadlines.end().await;
        self.hub.audit.iter().for_each(AuditLog::finish);
        self.runtime.shut_down().await;
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
        self.hub.stats(R::timer().now())
    }

    /// Uses the store directly and delivers what changed to subscribers. Give the present time in ms to its calls.
    pub fn with_store<T>(&self, use_it: impl FnOnce(&mut Store, u64) -> T) -> T {
        let now = R::timer().now();
        self.hub.with_store(now, |store| use_it(store, now.unix_ms))
    }

    /// Uses the rule engine directly, if there is one, and delivers what follows. Give the present time in ms to its
    /// calls.
    pub fn with_rules<T>(&self, use_it: impl FnOnce(&mut Engine, u64) -> T) -> Option<T> {
        let now = R::timer().now();
        self.hub.with_rules(now, |engine| use_it(engine, now.unix_ms))
    }

    /// Revokes a user; see [`Hub::revoke_session`].
    ///
    /// # Errors
    /// If too many users are revoked already.
    pub fn revoke_session(&self, user_id: &str) -> Result<usize, Refusal> {
        self.hub.revoke_session(R::timer().now(), user_id)
    }

    /// Revokes the users of matching sessions; see [`Hub::revoke_sessions`].
    ///
    /// # Errors
    /// If too many users are revoked already.
    pub fn revoke_sessions(&self, user_id: Option<&str>, role: Option<&str>) -> Result<usize, Refusal> {
        self.hub.revoke_sessions(R::timer().now(), user_id, role)
    }

    /// Lets a revoked user log in again; false if that was not forbidden.
    pub fn unrevoke(&self, user_id: &str) -> bool {
        self.hub.unrevoke(R::timer().now(), user_id)
    }

    /// Opens the audit file anew, for whoever has moved it away.
    pub fn reopen_audit_file(&self) {
        self.hub.reopen_audit_file();
    }
}

/// Measures the rule engine's work, for its statistics.
struct Stopwatch<T>(T);

impl<T: Timer> noex_rules::Stopwatch for Stopwatch<T> {
    fn elapsed_us(&mut self) -> u64 {
        self.0.now().mono.as_micros()
    }
}

/// Accepts streams for ever; each is served by a task of its own. Holds the runtime weakly: it would otherwise keep
/// itself, and with it the listener, alive when a server is dropped.
async fn accept<R: Runtime>(runtime: Weak<R>, hub: Arc<Hub>, listener: R::Listener) {
    loop {
        let accepted = R::accept(&listener).await;
        let Some(runtime) = runtime.upgrade() else { return };
        match accepted {
            Ok((stream, peer)) => runtime.spawn(serve(Arc::clone(&hub), stream, Some(peer), R::timer())),
            Err(error) => {
                tracing::warn!("accept failed: {error}");
                let mut timer = R::timer();
                timer.arm(Some(timer.now().mono + ACCEPT_PAUSE));
                poll_fn(|cx| timer.poll_expired(cx)).await;
            }
        }
    }
}
