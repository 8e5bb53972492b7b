//! TCP sockets that ask the operating system no more than they have to.

use async_io::Async;
use futures::{AsyncRead, AsyncWrite, ready};
use std::{
    io::{self, Read},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    pin::Pin,
    task::{Context, Poll},
};

/// A listening socket.
#[derive(Debug)]
pub struct Listener(Async<TcpListener>);

/// A connected socket. A read that got less than it had room for has taken all there was, so the next one waits for
/// more without asking, which spares a system call that would say "nothing there". Closing ends the sending direction.
#[derive(Debug)]
pub struct Socket {
    stream: Async<TcpStream>,
    known: Known,
}

/// What the last read tells of the next one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Known {
    /// There may be more.
    Nothing,
    /// All there was has been taken.
    Emptied,
    /// Somebody waits for more.
    Waiting,
}

impl Listener {
    /// Listens on the first address on which that is possible.
    ///
    /// # Errors
    /// That of the last address, or [`io::ErrorKind::InvalidInput`] if there is none.
    pub fn bind(addresses: &[SocketAddr]) -> io::Result<Self> {
        TcpListener::bind(addresses).and_then(Async::new).map(Self)
    }

    /// The port that is listened on.
    ///
    /// # Errors
    /// If the operating system does not tell.
    pub fn port(&self) -> io::Result<u16> {
        self.0.get_ref().local_addr().map(|address| address.port())
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// Those of the operating system, such as for want of file descriptors.
    pub async fn accept(&self) -> io::Result<(Socket, IpAddr)> {
        let (stream, address) = self.0.accept().await?;
        // Answers are flushed once per turn; waiting for more would only delay them. Without it all still works.
        let _ = stream.get_ref().set_nodelay(true);
        Ok((Socket { stream, known: Known::Nothing }, address.ip()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.known {
            Known::Nothing => {}
            Known::Emptied => {
                self.known = Known::Waiting;
                ready!(self.stream.poll_readable(cx))?;
            }
            // Whoever has waited asks in any case: async-io takes the wake-up for one of an earlier wait if another
            // thread was about to bring it.
            Known::Waiting => {
                if let Poll::Ready(Err(error)) = self.stream.poll_readable(cx) {
                    return Poll::Ready(Err(error));
                }
            }
        }
        loop {
            match self.stream.get_ref().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.known = Known::Waiting;
                    ready!(self.stream.poll_readable(cx))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(count) => {
                    // Nothing at all is the end, which stays.
                    let emptied = 0 < count && count < buf.len();
                    self.known = if emptied { Known::Emptied } else { Known::Nothing };
                    return Poll::Ready(Ok(count));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.get_ref().shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{AsyncReadExt, AsyncWriteExt, future};
    use std::io::Write;

    /// Both ends of a connection.
    fn pair() -> (TcpStream, Socket) {
        let listener = Listener::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))]).expect("a free port");
        let port = listener.port().expect("it has one");
        let peer = TcpStream::connect(("127.0.0.1", port)).expect("connected");
        let (socket, address) = smol::block_on(listener.accept()).expect("accepted");
        assert!(address.is_loopback());
        (peer, socket)
    }

    fn read(socket: &mut Socket, room: usize) -> Vec<u8> {
        let mut buf = vec![0; room];
        let count = smol::block_on(socket.read(&mut buf)).expect("read");
        buf.truncate(count);
        buf
    }

    /// Tells whether a read would have to wait now.
    fn waits(socket: &mut Socket) -> bool {
        smol::block_on(future::poll_fn(|cx| {
            let read = Pin::new(&mut *socket).poll_read(cx, &mut [0; 8]);
            Poll::Ready(read.is_pending())
        }))
    }

    #[test]
    fn what_comes_after_all_was_taken_is_noticed() {
        let (mut peer, mut socket) = pair();
        // It arrives before anybody waits for it, and while somebody does.
        for waiting in [false, true] {
            peer.write_all(b"one").expect("written");
            assert_eq!(read(&mut socket, 8), b"one");
            assert!(socket.known == Known::Emptied && (!waiting || waits(&mut socket)));
            peer.write_all(b"two").expect("written");
            assert_eq!(read(&mut socket, 8), b"two");
        }
    }

    #[test]
    fn a_full_buffer_leaves_the_rest_and_an_end_stays() {
        let (mut peer, mut socket) = pair();
        peer.write_all(b"abcdefgh").expect("written");
        assert_eq!(read(&mut socket, 4), b"abcd");
        assert_eq!(socket.known, Known::Nothing);
        assert_eq!(read(&mut socket, 4), b"efgh");
        assert!(waits(&mut socket));
        drop(peer);
        assert_eq!((read(&mut socket, 4), read(&mut socket, 4)), (vec![], vec![]));
    }

    #[test]
    fn closing_ends_the_sending_direction_only() {
        let (mut peer, mut socket) = pair();
        smol::block_on(async {
            socket.write_all(b"last").await.expect("written");
            socket.close().await.expect("closed");
        });
        let mut received = Vec::new();
        peer.read_to_end(&mut received).expect("the end came");
        peer.write_all(b"late").expect("written");
        assert_eq!((received.as_slice(), read(&mut socket, 8).as_slice()), (&b"last"[..], &b"late"[..]));
    }

    /// Messages back and forth, of sizes below and above the room for them.
    #[test]
    fn nothing_is_lost_in_a_long_conversation() {
        let (mut peer, mut socket) = pair();
        let (rounds, largest) = (2_000, 97);
        let echo = std::thread::spawn(move || {
            for round in 0..rounds {
                let mut buf = vec![0; 1 + round % largest];
                peer.read_exact(&mut buf).expect("received");
                peer.write_all(&buf).expect("sent");
            }
        });
        smol::block_on(async {
            for round in 0..rounds {
                let sent: Vec<u8> = (0..=round % largest).map(|n| (n + round) as u8).collect();
                socket.write_all(&sent).await.expect("sent");
                let (mut received, mut buf) = (Vec::new(), [0; 32]);
                while received.len() < sent.len() {
                    let count = socket.read(&mut buf).await.expect("received");
                    assert!(count > 0);
                    received.extend_from_slice(buf.get(..count).expect("what was read"));
                }
                assert_eq!(received, sent);
            }
        });
        echo.join().expect("echoed all");
    }
}
