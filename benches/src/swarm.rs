//! Many non-blocking connections on one thread: an epoll loop that hands whole messages to a driver.
//!
//! One `recv` per readiness event and one `send` per batch of requests. All connections share one receive buffer; an
//! idle one owns none. Heartbeats are answered here. A connection that ends while the swarm runs is an error, because
//! no scenario expects it. epoll is used through rustix, whose functions are safe to call.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{Timespec, epoll};

use crate::classify::{self, Message};
use crate::client::Client;
use crate::clock::{Clock, Nanos};
use crate::error::LoadError;
use crate::frame::{self, Mask, Opcode};

/// Bytes asked for per `recv`.
const READ_BYTES: usize = 128 << 10;
/// Readiness events taken per turn.
const EVENTS_MAX: usize = 256;
/// A turn never sleeps longer, so that deadlines are noticed.
const SLEEP_MAX: Duration = Duration::from_millis(50);

/// What a scenario does with its connections. `out` takes whole frames; they are sent after the batch.
pub trait Driver {
    /// Takes one message that is neither welcome nor heartbeat. `now` is when its bytes had been read.
    fn message(&mut self, peer: usize, payload: &[u8], now: Nanos, out: &mut Vec<u8>);

    /// Called after the messages of one read, and once at the start: the place to queue requests.
    fn batch_end(&mut self, peer: usize, now: Nanos, out: &mut Vec<u8>);
}

/// A driver for connections that only stay open.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bystander;

impl Driver for Bystander {
    fn message(&mut self, _: usize, _: &[u8], _: Nanos, _: &mut Vec<u8>) {}
    fn batch_end(&mut self, _: usize, _: Nanos, _: &mut Vec<u8>) {}
}

#[derive(Debug)]
struct Peer {
    stream: TcpStream,
    /// An incomplete frame.
    partial: Vec<u8>,
    out: Vec<u8>,
    out_sent: usize,
    awaits_writable: bool,
}

/// A set of connections, numbered in the order of [`Swarm::adopt`].
pub struct Swarm {
    epoll: OwnedFd,
    peers: Vec<Peer>,
    scratch: Vec<u8>,
    events: Vec<epoll::Event>,
    clock: Clock,
    mask: Mask,
}

impl fmt::Debug for Swarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Swarm").field("peers", &self.peers.len()).finish_non_exhaustive()
    }
}

impl Swarm {
    /// Makes an empty swarm whose times are readings of `clock`.
    ///
    /// # Errors
    ///
    /// `Io` when the kernel gives no epoll descriptor.
    pub fn new(clock: Clock, mask: Mask) -> Result<Self, LoadError> {
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| LoadError::Io("epoll", e.into()))?;
        let events = Vec::with_capacity(EVENTS_MAX);
        Ok(Self { epoll, peers: Vec::new(), scratch: vec![0; READ_BYTES], events, clock, mask })
    }

    /// Takes over a client's connection and returns its number.
    ///
    /// # Errors
    ///
    /// `Io` when the socket cannot be registered.
    pub fn adopt(&mut self, client: Client) -> Result<usize, LoadError> {
        let (stream, partial) = client.into_parts();
        stream.set_nonblocking(true).map_err(LoadError::io("set non-blocking"))?;
        let number = self.peers.len();
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)
            .map_err(|e| LoadError::Io("epoll", e.into()))?;
        self.peers.push(Peer { stream, partial, out: Vec::new(), out_sent: 0, awaits_writable: false });
        Ok(number)
    }

    /// Number of connections.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether there is no connection.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Hands out what the clients had already received and lets every connection send its first requests.
    ///
    /// # Errors
    ///
    /// As [`Swarm::turn`].
    pub fn start(&mut self, driver: &mut impl Driver) -> Result<(), LoadError> {
        for number in 0..self.peers.len() {
            let now = self.clock.now();
            let Some(peer) = self.peers.get_mut(number) else { continue };
            let early = std::mem::take(&mut peer.partial);
            take_messages(peer, number, &early, now, self.mask, driver)?;
            driver.batch_end(number, now, &mut peer.out);
            self.flush(number)?;
        }
        Ok(())
    }

    /// Queues frames on one connection from outside a batch and sends them.
    ///
    /// # Errors
    ///
    /// `Io` when sending fails.
    pub fn send(&mut self, number: usize, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), LoadError> {
        if let Some(peer) = self.peers.get_mut(number) {
            write(&mut peer.out);
        }
        self.flush(number)
    }

    /// Waits at most `timeout` (and at most 50 ms) for events and handles them; returns the time afterwards.
    ///
    /// # Errors
    ///
    /// `Io` when a socket fails, `Protocol` when a connection ends or a frame is unusable.
    pub fn turn(&mut self, timeout: Duration, driver: &mut impl Driver) -> Result<Nanos, LoadError> {
        let timeout = Timespec::try_from(timeout.min(SLEEP_MAX)).ok();
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(LoadError::Io("epoll", error.into())),
        }
        for event in &events {
            // Numbers come from `adopt`, where they were made from a `usize`.
            let number = event.data.u64() as usize;
            let flags = event.flags;
            if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                self.receive(number, driver)?;
            }
            if flags.contains(epoll::EventFlags::OUT) {
                self.flush(number)?;
            }
        }
        self.events = events;
        Ok(self.clock.now())
    }

    /// One `recv`, the messages in it, and the requests they give room for.
    fn receive(&mut self, number: usize, driver: &mut impl Driver) -> Result<(), LoadError> {
        let Some(peer) = self.peers.get_mut(number) else { return Ok(()) };
        let kept = peer.partial.len();
        if self.scratch.len() < kept + READ_BYTES {
            self.scratch.resize(kept + READ_BYTES, 0);
        }
        let (head, room) = self.scratch.split_at_mut(kept);
        head.copy_from_slice(&peer.partial);
        let n = match peer.stream.read(room.get_mut(..READ_BYTES).unwrap_or_default()) {
            Ok(0) => {
                return Err(LoadError::Protocol(format!("connection {number} ended without a close frame")));
            }
            Ok(n) => n,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(error) => return Err(LoadError::Io("receive", error)),
        };
        let now = self.clock.now();
        peer.partial.clear();
        let bytes = self.scratch.get(..kept + n).unwrap_or_default();
        take_messages(peer, number, bytes, now, self.mask, driver)?;
        driver.batch_end(number, now, &mut peer.out);
        self.flush(number)
    }

    /// Sends what is queued; waits for writability only while the kernel takes no more.
    fn flush(&mut self, number: usize) -> Result<(), LoadError> {
        let Some(peer) = self.peers.get_mut(number) else { return Ok(()) };
        while let Some(rest @ [_, ..]) = peer.out.get(peer.out_sent..) {
            match peer.stream.write(rest) {
                Ok(n) => peer.out_sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(LoadError::Io("send", error)),
            }
        }
        let blocked = peer.out_sent < peer.out.len();
        if !blocked {
            peer.out.clear();
            peer.out_sent = 0;
        }
        if blocked != peer.awaits_writable {
            peer.awaits_writable = blocked;
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, blocked);
            epoll::modify(&self.epoll, &peer.stream, epoll::EventData::new_u64(number as u64), flags)
                .map_err(|e| LoadError::Io("epoll", e.into()))?;
        }
        Ok(())
    }
}

/// Hands out the whole messages in `bytes` and keeps the rest in `peer.partial`.
fn take_messages(
    peer: &mut Peer,
    number: usize,
    bytes: &[u8],
    now: Nanos,
    mask: Mask,
    driver: &mut impl Driver,
) -> Result<(), LoadError> {
    let mut rest = bytes;
    while let Some(frame) = frame::next_frame(rest)
        .map_err(|error| LoadError::Protocol(format!("connection {number}: {error}")))?
    {
        rest = rest.get(frame.len..).unwrap_or_default();
        match frame.opcode {
            // The third byte tells replies from all else, so they pay one comparison here.
            Opcode::Text if frame.payload.starts_with(b"{\"id") => {
                driver.message(number, frame.payload, now, &mut peer.out);
            }
            Opcode::Text => match classify::classify(frame.payload) {
                Message::Ping => {
                    frame::write_frame(&mut peer.out, Opcode::Text, &classify::pong(frame.payload), mask);
                }
                Message::Welcome => {}
                Message::Result { .. }
                | Message::Refused { .. }
                | Message::Push
                | Message::System
                | Message::Unknown => driver.message(number, frame.payload, now, &mut peer.out),
            },
            Opcode::Ping => frame::write_frame(&mut peer.out, Opcode::Pong, frame.payload, mask),
            Opcode::Pong => {}
            Opcode::Binary => {
                return Err(LoadError::Protocol(format!("connection {number}: binary message")));
            }
            Opcode::Close => {
                let (code, reason) = frame::close_reason(frame.payload);
                return Err(LoadError::Protocol(format!("connection {number} closed: {code} {reason}")));
            }
        }
    }
    peer.partial.extend_from_slice(rest);
    Ok(())
}
