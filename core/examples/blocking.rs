//! The machine on a plain thread: `std::net`, blocking tungstenite, no async at all.
//!
//! One thread serves one connection; the read timeout of the socket is the machine's next deadline. A client in the
//! same program talks to it and ends. `cargo run -p noex-core --example blocking`

#![expect(clippy::disallowed_methods, reason = "this is the edge that reads the clocks")]

use noex_core::{
    Body, Config, Connection, Effect, Frame, Instant, Message, Now, Peer, Refusal, ServerCall, Solitary,
};
use std::{
    error::Error,
    io::ErrorKind,
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};
use tungstenite::{
    Error as SocketError, Message as Received, WebSocket,
    protocol::{CloseFrame, WebSocketConfig},
};

struct Clock(std::time::Instant);

impl Clock {
    fn now(&self) -> Now {
        let mono = u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX);
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let unix_ms = u64::try_from(unix.as_millis()).unwrap_or(u64::MAX);
        Now { mono: Instant::from_micros(mono), unix_ms }
    }
}

/// Sends what the machine has to say. Blocking writes leave nothing in a buffer.
fn send(connection: &mut Connection, socket: &mut WebSocket<TcpStream>, now: Now) -> Result<(), SocketError> {
    while let Some(frame) = connection.poll_frame() {
        match frame {
            Frame::Text(text) => socket.write(Received::text(text.into_string()))?,
            Frame::Close { code, reason } => {
                let frame =
                    code.map(|code| CloseFrame { code: code.into(), reason: reason.into_owned().into() });
                socket.close(frame)?;
            }
        }
    }
    socket.flush()?;
    connection.handle_buffered(now, 0);
    Ok(())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "only the server's own state is served here")]
/// Serves one connection to its end.
fn serve(stream: TcpStream) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (clock, shared) = (Clock(std::time::Instant::now()), Solitary::default());
    let address = stream.peer_addr()?.ip().to_string();
    let mut socket = tungstenite::accept_with_config(stream, Some(WebSocketConfig::default()))?;
    let mut connection = Connection::new(Arc::new(Config::default()), Peer::new(address), clock.now());
    loop {
        let now = clock.now();
        connection.handle_timeout(now, &shared);
        while let Some(effect) = connection.poll_effect() {
            match effect {
                Effect::Server { token, call: ServerCall::Health } => {
                    let body = Body::Static("{\"status\":\"ok\"}");
                    connection.reply(now, &shared, token, Ok(body));
                }
                Effect::Server { token, .. } | Effect::Store { token, .. } => {
                    connection.reply(now, &shared, token, Err(Refusal::internal()));
                }
                Effect::Closed(reason) => {
                    println!("server: closed, {reason:?}");
                    // The echo of the peer's close frame may still be on its way.
                    return send(&mut connection, &mut socket, now).or(Ok(()));
                }
                other => println!("server: not served here: {other:?}"),
            }
        }
        match send(&mut connection, &mut socket, now) {
            Ok(()) => {}
            Err(SocketError::ConnectionClosed) => connection.handle_eof(now, &shared),
            Err(error) => return Err(error.into()),
        }
        let deadline = connection.poll_timeout().map(|at| at.since(now.mono).max(Duration::from_millis(1)));
        socket.get_ref().set_read_timeout(deadline)?;
        match socket.read() {
            Ok(Received::Text(text)) => {
                connection.handle_message(clock.now(), &shared, Message::Text(text.as_str()));
            }
            Ok(Received::Binary(_)) => connection.handle_message(clock.now(), &shared, Message::Binary),
            Ok(Received::Close(frame)) => {
                let close = frame.as_ref().map(|frame| (u16::from(frame.code), frame.reason.as_str()));
                connection.handle_message(clock.now(), &shared, Message::Close(close));
            }
            Ok(_) => {}
            Err(SocketError::Io(error))
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => connection.handle_eof(clock.now(), &shared),
        }
    }
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || serve(listener.accept()?.0));

    let (mut client, _) = tungstenite::connect(format!("ws://{address}/"))?;
    println!("client: {}", client.read()?);
    for request in [r#"{"id":1,"type":"server.health"}"#, r#"{"id":2,"type":"nope"}"#] {
        client.send(Received::text(request))?;
        println!("client: {}", client.read()?);
    }
    client.close(None)?;
    while client.read().is_ok() {}
    server.join().map_err(|_| "the server's thread panicked")?
}
