//! From an accepted stream to a connection that has its place: handshake, limits, registry.

use super::Drive;
use crate::{
    Hub, Timer,
    handshake::{self, Acceptance, Decision, Response},
    registry::Entry,
    transport::{Transport, poll_discard},
};
use futures::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt,
    future::{Either, poll_fn, select},
};
use noex_core::{CloseReason, Instant, Now};
use std::{future::Future, net::IpAddr, pin::pin, sync::Arc, time::Duration};

/// Time for a complete upgrade request and its answer.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Does the handshake; `None` = the stream is refused or gone.
pub(super) async fn open<S, T>(
    hub: Arc<Hub>,
    mut stream: S,
    peer: Option<IpAddr>,
    mut timer: T,
) -> Option<Box<Drive<S, T>>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    let mut received = Vec::new();
    let deadline = timer.now().mono + HANDSHAKE_TIMEOUT;
    let judged = before(&mut timer, deadline, handshake(&hub, &mut stream, peer, &mut received)).await;
    let refusal = match judged.unwrap_or(Err(Some(Response::TIMEOUT))) {
        Err(refusal) => refusal,
        Ok(acceptance) if hub.registry.reserve(hub.options.connections_max) => {
            let place = Place(Arc::clone(&hub));
            received.drain(..acceptance.head_len.min(received.len()));
            let peer = acceptance
                .forwarded_for
                .or_else(|| peer.map(|ip| ip.to_string()))
                .unwrap_or_else(|| "unknown".to_owned());
            let answer = stream.write_all(acceptance.response.as_bytes());
            before(&mut timer, deadline, answer).await?.ok()?;
            let transport = Transport::new(stream, received, hub.options.payload_bytes_max).await;
            return Some(Box::new(Drive::new(hub, place, transport, peer, timer)));
        }
        Ok(_) => Some(Response::FULL),
    };
    let response = refusal?;
    let deadline = timer.now().mono + hub.connection_config.close_timeout;
    let farewell = async {
        if stream.write_all(&response.to_bytes()).await.is_ok() && stream.close().await.is_ok() {
            // Until the peer has seen the answer: unread data at a close would reset the connection.
            poll_fn(|cx| poll_discard(&mut stream, cx)).await;
        }
    };
    before(&mut timer, deadline, farewell).await;
    None
}

/// A reserved place among the server's connections.
pub(super) struct Place(Arc<Hub>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.registry.unreserve();
    }
}

/// Runs a future until it ends or a deadline passes.
pub(super) async fn before<T: Timer, F: Future>(
    timer: &mut T,
    deadline: Instant,
    work: F,
) -> Option<F::Output> {
    timer.arm(Some(deadline));
    let work = pin!(work);
    let outcome = match select(work, poll_fn(|cx| timer.poll_expired(cx))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    };
    timer.arm(None);
    outcome
}

/// Reads and judges the upgrade request. `Err(None)`: the peer has gone.
async fn handshake<S: AsyncRead + Unpin>(
    hub: &Hub,
    stream: &mut S,
    peer: Option<IpAddr>,
    received: &mut Vec<u8>,
) -> Result<Acceptance, Option<Response>> {
    let mut chunk = [0; 2048];
    loop {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return Err(None),
            Ok(n) => received.extend_from_slice(chunk.get(..n).unwrap_or_default()),
        }
        match handshake::judge(&hub.options.handshake, received, peer) {
            Decision::ReadMore => {}
            Decision::Refuse(response) => return Err(Some(response)),
            Decision::Accept(acceptance) => return Ok(acceptance),
        }
    }
}

/// Enters a connection into the registry.
pub(super) fn admit(hub: &Arc<Hub>, address: &str, now: Now) -> Result<Member, CloseReason> {
    if hub.is_stopping() {
        return Err(CloseReason::ServerShuttingDown);
    }
    let entry = hub
        .registry
        .admit(address, now.unix_ms, hub.options.connections_per_address_max)
        .map_err(|_| CloseReason::TooManyConnections)?;
    let member = Member { hub: Arc::clone(hub), entry };
    // Again: a stop that began meanwhile may have listed the connections before this one was among them.
    if hub.is_stopping() { Err(CloseReason::ServerShuttingDown) } else { Ok(member) }
}

/// Membership in the registry, for as long as the TCP connection lives.
pub(crate) struct Member {
    hub: Arc<Hub>,
    pub(crate) entry: Arc<Entry>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.hub.registry.remove(&self.entry);
    }
}
