//! A byte stream in memory: two pipes of limited capacity that cut reads and writes into pieces.

use futures::{AsyncRead, AsyncWrite};
use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// Random numbers from a seed (xorshift).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Gives a number from 0 to `max`.
    pub(crate) fn up_to(&mut self, max: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or(0) % (max + 1)
    }
}

/// How a stream behaves.
#[derive(Clone, Debug)]
pub(crate) struct Behaviour {
    /// Bytes from the server that are held until the client takes them.
    pub(crate) capacity: usize,
    /// With a seed, reads and writes move random small numbers of bytes, and sometimes none at first.
    pub(crate) chop: Option<u64>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { capacity: 1 << 20, chop: None }
    }
}

#[derive(Debug)]
struct Pipe {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// The writer has ended.
    ended: bool,
    /// The reader has gone.
    broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn new(capacity: usize) -> Self {
        Self { bytes: VecDeque::new(), capacity, ended: false, broken: false, reader: None, writer: None }
    }

    fn wake(slot: &mut Option<Waker>) {
        if let Some(waker) = slot.take() {
            waker.wake();
        }
    }
}

#[derive(Debug)]
struct Link {
    to_server: Pipe,
    to_client: Pipe,
    dice: Option<Dice>,
}

/// The server's end.
#[derive(Debug)]
pub(crate) struct ServerEnd(Rc<RefCell<Link>>);

/// The client's end, used directly by a test.
#[derive(Debug)]
pub(crate) struct ClientEnd(Rc<RefCell<Link>>);

pub(crate) fn duplex(behaviour: &Behaviour) -> (ServerEnd, ClientEnd) {
    let link = Rc::new(RefCell::new(Link {
        to_server: Pipe::new(usize::MAX),
        to_client: Pipe::new(behaviour.capacity),
        dice: behaviour.chop.map(Dice::new),
    }));
    (ServerEnd(Rc::clone(&link)), ClientEnd(link))
}

/// Chooses how many of `len` bytes are moved; none = try again at once.
fn portion(dice: &mut Option<Dice>, len: usize) -> usize {
    let Some(dice) = dice else { return len };
    if dice.up_to(7) == 0 { 0 } else { (1 + dice.up_to(40)).min(len) }
}

impl AsyncRead for ServerEnd {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let link = &mut *self.0.borrow_mut();
        let pipe = &mut link.to_server;
        if pipe.bytes.is_empty() {
            if pipe.ended {
                return Poll::Ready(Ok(0));
            }
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = portion(&mut link.dice, pipe.bytes.len().min(buf.len()));
        if count == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        for (to, from) in buf.iter_mut().zip(pipe.bytes.drain(..count)) {
            *to = from;
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for ServerEnd {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let link = &mut *self.0.borrow_mut();
        let pipe = &mut link.to_client;
        if pipe.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = pipe.capacity.saturating_sub(pipe.bytes.len());
        if room == 0 {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = portion(&mut link.dice, room.min(buf.len()));
        if count == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        pipe.bytes.extend(&buf[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().to_client.ended = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for ServerEnd {
    fn drop(&mut self) {
        let mut link = self.0.borrow_mut();
        link.to_client.ended = true;
        link.to_server.broken = true;
    }
}

impl ClientEnd {
    /// Sends bytes; they are lost if the server has gone.
    pub(crate) fn send(&self, bytes: &[u8]) {
        let pipe = &mut self.0.borrow_mut().to_server;
        if !pipe.broken {
            pipe.bytes.extend(bytes);
            Pipe::wake(&mut pipe.reader);
        }
    }

    /// Bytes sent and not yet read by the server.
    pub(crate) fn unread(&self) -> usize {
        self.0.borrow().to_server.bytes.len()
    }

    /// Takes up to `max` received bytes.
    pub(crate) fn take(&self, max: usize) -> Vec<u8> {
        let pipe = &mut self.0.borrow_mut().to_client;
        let count = pipe.bytes.len().min(max);
        let taken = pipe.bytes.drain(..count).collect();
        Pipe::wake(&mut pipe.writer);
        taken
    }

    /// Tells whether the server has ended its direction and all has been taken.
    pub(crate) fn is_at_end(&self) -> bool {
        let link = self.0.borrow();
        link.to_client.ended && link.to_client.bytes.is_empty()
    }

    /// Ends the sending direction.
    pub(crate) fn end(&self) {
        let pipe = &mut self.0.borrow_mut().to_server;
        pipe.ended = true;
        Pipe::wake(&mut pipe.reader);
    }
}

impl Drop for ClientEnd {
    fn drop(&mut self) {
        let mut link = self.0.borrow_mut();
        link.to_server.ended = true;
        link.to_client.broken = true;
        Pipe::wake(&mut link.to_server.reader);
        Pipe::wake(&mut link.to_client.writer);
    }
}
