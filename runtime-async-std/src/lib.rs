//! The server on [async-std](async_std): a listener, a timer and tasks. Everything else is in `noex-host`.
//!
//! ```
//! use noex_async_std::{Options, Server, StartError};
//! use std::time::Duration;
//!
//! noex_async_std::block_on(async {
//!     let server = Server::start(Options { host: "127.0.0.1".into(), port: 0, ..Options::default() }).await?;
//!     assert!(server.is_running() && server.port() != 0);
//!     server.stop(Duration::ZERO).await;
//!     Ok::<(), StartError>(())
//! })?;
//! # Ok::<(), StartError>(())
//! ```

#![forbid(unsafe_code)]

pub use async_std::task::block_on;
pub use noex_host::{
    AuditOptions, AuthFailure, Authenticator, ConnectionInfo, Durability, FnAuthenticator, HandshakeConfig,
    Hub, IdentityOptions, OfflineAccounts, Options, PermissionCheck, Persistence, ProceduresOptions,
    RulesOptions, ServerStats, Session, StartError, StaticTokens, TokenExpiry, Verdict, accounts, core,
    procedures_engine as procedures, rules_engine as rules, store,
};

use async_std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};
use noex_async_io_timer::AsyncIoTimer;
use std::{
    future::Future,
    io,
    net::{IpAddr, Shutdown},
    pin::Pin,
    task::{Context, Poll},
};

/// A running server on async-std's own threads. See [`noex_host::Server`] for its methods.
pub type Server = noex_host::Server<AsyncStd>;

/// The runtime is global, so there is nothing to hold; the number of threads is `ASYNC_STD_THREAD_COUNT`.
#[derive(Debug)]
pub struct AsyncStd;

/// A TCP stream whose closing ends the sending direction, as peers that wait for the end expect. async-std's own only
/// flushes.
#[derive(Debug)]
pub struct Stream(TcpStream);

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.shutdown(Shutdown::Write))
    }
}

impl noex_host::Runtime for AsyncStd {
    type Stream = Stream;
    type Listener = TcpListener;
    type Timer = AsyncIoTimer;

    fn start(_threads: usize) -> io::Result<Self> {
        Ok(Self)
    }

    async fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        TcpListener::bind((host, port)).await
    }

    fn local_port(listener: &TcpListener) -> io::Result<u16> {
        listener.local_addr().map(|address| address.port())
    }

    async fn accept(listener: &TcpListener) -> io::Result<(Stream, IpAddr)> {
        let (stream, address) = listener.accept().await?;
        // Answers are flushed once per turn; waiting for more would only delay them. Without it all still works.
        let _ = stream.set_nodelay(true);
        Ok((Stream(stream), address.ip()))
    }

    fn timer() -> AsyncIoTimer {
        AsyncIoTimer::new()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        async_std::task::spawn(task);
    }

    async fn shut_down(&self) {}
}
