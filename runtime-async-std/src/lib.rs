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

use async_std::net::ToSocketAddrs;
use noex_async_io::{AsyncIoTimer, Listener, Socket};
use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
};

/// A running server on async-std's own threads. See [`noex_host::Server`] for its methods.
pub type Server = noex_host::Server<AsyncStd>;

/// The runtime is global, so there is nothing to hold; the number of threads is `ASYNC_STD_THREAD_COUNT`.
#[derive(Debug)]
pub struct AsyncStd;

impl noex_host::Runtime for AsyncStd {
    type Stream = Socket;
    type Listener = Listener;
    type Timer = AsyncIoTimer;

    fn start(_threads: usize) -> io::Result<Self> {
        Ok(Self)
    }

    async fn listen(host: &str, port: u16) -> io::Result<Listener> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().await?.collect();
        Listener::bind(&addresses)
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
        async_std::task::spawn(task);
    }

    async fn shut_down(&self) {}
}
