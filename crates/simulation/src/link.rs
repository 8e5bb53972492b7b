//! A byte stream in memory: two pipes with capacity and delay that cut and join what passes through them.

use crate::{clock::Clock, random::Random};
use futures::{AsyncRead, AsyncWrite};
use noex_host::Instant;
use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

/// How a stream behaves.
#[derive(Clone, Debug)]
pub(crate) struct Quality {
    /// Bytes from the server that are under way or not taken yet, at most.
    pub(crate) capacity: usize,
    /// Longest time under way.
    pub(crate) delay_max_us: u64,
    /// Most bytes moved by one read or write.
    pub(crate) portion_max: usize,
    /// Percentage of reads and writes that move nothing at first.
    pub(crate) hesitation: usize,
}

impl Quality {
    pub(crate) fn random(random: &mut Random) -> Self {
        let delay_max_us = *random.pick(&[0, 100, 1000, 20_000, 150_000]);
        // What is far away holds more, or nothing would ever get there.
        let least: usize = if delay_max_us > 1000 { 8192 } else { 256 };
        Self {
            capacity: (*random.pick(&[256_usize, 1024, 4096, 16_384, 65_536, 262_144])).max(least),
            delay_max_us,
            portion_max: *random.pick(&[7, 64, 1000, 4096, 65_536]),
            hesitation: *random.pick(&[0, 0, 5, 20]),
        }
    }

    /// Without limits to speak of.
    pub(crate) fn perfect() -> Self {
        Self { capacity: 1 << 24, delay_max_us: 0, portion_max: 1 << 20, hesitation: 0 }
    }

    pub(crate) fn is_perfect(&self) -> bool {
        self.delay_max_us == 0 && self.capacity == 1 << 24
    }
}

#[derive(Debug, Default)]
struct Pipe {
    /// Segments under way; an empty one is the end of the stream.
    flying: VecDeque<(Instant, Vec<u8>)>,
    flying_bytes: usize,
    arrived: VecDeque<u8>,
    ended: bool,
    /// The end has been sent.
    closed: bool,
    /// The reader has gone.
    broken: bool,
    last_arrival: Instant,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn send(&mut self, at: Instant, bytes: &[u8]) {
        if self.closed {
            return;
        }
        let at = at.max(self.last_arrival);
        self.last_arrival = at;
        self.flying_bytes += bytes.len();
        match self.flying.back_mut() {
            Some((last, segment)) if *last == at && !bytes.is_empty() => segment.extend_from_slice(bytes),
            _ => self.flying.push_back((at, bytes.to_vec())),
        }
        self.closed = bytes.is_empty();
    }

    /// Moves what is due; true if something was.
    fn arrive(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some((_, bytes)) = self.flying.pop_front_if(|(at, _)| *at <= now) {
            any = true;
            self.flying_bytes -= bytes.len();
            self.ended |= bytes.is_empty();
            self.arrived.extend(bytes);
        }
        if any && let Some(reader) = self.reader.take() {
            reader.wake();
        }
        any
    }
}

#[derive(Debug)]
struct Link {
    clock: Clock,
    random: Random,
    quality: Quality,
    to_server: Pipe,
    to_client: Pipe,
    /// Bytes that the server has read.
    consumed: u64,
}

impl Link {
    fn arrival(&mut self) -> Instant {
        let delay_us = self.random.between(0, self.quality.delay_max_us);
        self.clock.mono() + Duration::from_micros(delay_us)
    }

    /// Chooses how many of `len` bytes are moved; none = try again at once.
    fn portion(&mut self, len: usize) -> usize {
        if self.random.chance(self.quality.hesitation) {
            return 0;
        }
        (1 + self.random.below(self.quality.portion_max)).min(len)
    }
}

/// The server's end.
#[derive(Debug)]
pub(crate) struct ServerEnd(Rc<RefCell<Link>>);

/// The client's end.
#[derive(Debug)]
pub(crate) struct ClientEnd(Rc<RefCell<Link>>);

pub(crate) fn link(clock: &Clock, quality: Quality, random: Random) -> (ServerEnd, ClientEnd) {
    let link = Rc::new(RefCell::new(Link {
        clock: clock.clone(),
        random,
        quality,
        to_server: Pipe::default(),
        to_client: Pipe::default(),
        consumed: 0,
    }));
    (ServerEnd(Rc::clone(&link)), ClientEnd(link))
}

impl AsyncRead for ServerEnd {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let link = &mut *self.0.borrow_mut();
        if link.to_server.arrived.is_empty() {
            if link.to_server.ended {
                return Poll::Ready(Ok(0));
            }
            link.to_server.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = link.portion(link.to_server.arrived.len().min(buf.len()));
        if count == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        for (to, from) in buf.iter_mut().zip(link.to_server.arrived.drain(..count)) {
            *to = from;
        }
        link.consumed += count as u64;
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for ServerEnd {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let link = &mut *self.0.borrow_mut();
        if link.to_client.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let used = link.to_client.flying_bytes + link.to_client.arrived.len();
        let room = link.quality.capacity.saturating_sub(used);
        if room == 0 {
            link.to_client.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = link.portion(room.min(buf.len()));
        let Some(bytes) = buf.get(..count).filter(|bytes| !bytes.is_empty()) else {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        let at = link.arrival();
        link.to_client.send(at, bytes);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let link = &mut *self.0.borrow_mut();
        let at = link.arrival();
        link.to_client.send(at, &[]);
        Poll::Ready(Ok(()))
    }
}

impl Drop for ServerEnd {
    fn drop(&mut self) {
        let link = &mut *self.0.borrow_mut();
        let at = link.arrival();
        link.to_client.send(at, &[]);
        link.to_server = Pipe { broken: true, closed: true, ..Pipe::default() };
    }
}

impl ClientEnd {
    /// Sends bytes in up to `pieces` pieces; they are lost if the server has gone.
    pub(crate) fn send(&self, bytes: &[u8], pieces: usize) {
        let link = &mut *self.0.borrow_mut();
        for piece in bytes.chunks(bytes.len().div_ceil(pieces.max(1)).max(1)) {
            let at = link.arrival();
            link.to_server.send(at, piece);
        }
    }

    /// Ends the sending direction.
    pub(crate) fn end(&self) {
        let link = &mut *self.0.borrow_mut();
        let at = link.arrival();
        link.to_server.send(at, &[]);
    }

    /// Takes all that has arrived.
    pub(crate) fn take(&self) -> Vec<u8> {
        let link = &mut *self.0.borrow_mut();
        let taken: Vec<u8> = link.to_client.arrived.drain(..).collect();
        if !taken.is_empty()
            && let Some(writer) = link.to_client.writer.take()
        {
            writer.wake();
        }
        taken
    }

    /// Tells whether the server has ended its direction and all has been taken.
    pub(crate) fn is_at_end(&self) -> bool {
        let link = self.0.borrow();
        link.to_client.ended && link.to_client.arrived.is_empty()
    }

    /// Bytes from the server that the network holds at most.
    pub(crate) fn capacity(&self) -> usize {
        self.0.borrow().quality.capacity
    }

    /// Bytes that the server has read.
    pub(crate) fn consumed(&self) -> u64 {
        self.0.borrow().consumed
    }

    /// Bytes under way to the server, and to the client.
    pub(crate) fn under_way(&self) -> (usize, usize) {
        let link = self.0.borrow();
        (link.to_server.flying_bytes, link.to_client.flying_bytes)
    }

    /// The moment at which something arrives next, at either end.
    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        let link = self.0.borrow();
        let first = |pipe: &Pipe| pipe.flying.front().map(|(at, _)| *at);
        first(&link.to_server).into_iter().chain(first(&link.to_client)).min()
    }

    /// Moves what is due; tells whether something arrived for the server, and for the client.
    pub(crate) fn arrive(&self, now: Instant) -> (bool, bool) {
        let link = &mut *self.0.borrow_mut();
        (link.to_server.arrive(now), link.to_client.arrive(now))
    }
}

impl Drop for ClientEnd {
    /// What is under way is lost; the server learns of the end at once.
    fn drop(&mut self) {
        let link = &mut *self.0.borrow_mut();
        link.to_server.flying.clear();
        link.to_server.ended = true;
        link.to_server.closed = true;
        link.to_client.broken = true;
        let wakers = [link.to_server.reader.take(), link.to_client.writer.take()];
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}
