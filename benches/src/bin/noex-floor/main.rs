//! Floor server: frames and answers, nothing else. What a server of the same libraries costs at least.
//!
//! smol and async-tungstenite with a small read buffer. Each turn of a connection takes every message that has already
//! arrived, up to a budget, queues the replies and flushes once. `--mode echo` returns the text; `--mode envelope`
//! parses id and type as JSON and answers an empty result; `--mode fanout` sends writes to subscribers. Listens on 127.0.0.1 only and prints `READY <port>`.

#![forbid(unsafe_code)]

mod fanout;

use std::future;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use async_tungstenite::tungstenite::{Message, Utf8Bytes};
use fanout::{Fanout, Mailbox};
use futures::{Sink, Stream};
use noex_bench::error::LoadError;
use noex_bench::flags::Flags;
use serde::Deserialize;
use serde_json::value::RawValue;
use smol::{Async, Executor};

const HELP: &str = "noex-floor [--mode echo|envelope|fanout (echo)] [--threads N (1)] [--port P (0: any)]\n";
/// Allocated per connection and cleared before each read, so small.
const READ_BUFFER_BYTES: usize = 4 << 10;
/// Unsent replies of one connection above which it is not read.
const WRITE_BUFFER_BYTES_MAX: usize = 1 << 20;
/// Messages of one connection per turn; then the others get theirs.
const BUDGET: usize = 256;

/// The first message of mode `fanout`, as clients of a server expect it.
const WELCOME: &str = r#"{"type":"welcome","version":"1.0.0","serverTime":0,"requiresAuth":false}"#;

#[derive(Clone, Debug)]
enum Mode {
    Echo,
    Envelope,
    Fanout(Arc<Fanout>, Arc<Mailbox>),
}

/// The part of a request every server has to read.
#[derive(Debug, Deserialize)]
struct Envelope<'a> {
    id: u64,
    #[serde(rename = "type", borrow)]
    kind: &'a RawValue,
}

impl Mode {
    /// What one more connection is served by: a mailbox of its own.
    fn for_connection(&self) -> Self {
        match self {
            Self::Echo => Self::Echo,
            Self::Envelope => Self::Envelope,
            Self::Fanout(fanout, _) => Self::Fanout(Arc::clone(fanout), Arc::default()),
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("noex-floor: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run() -> Result<(), LoadError> {
    let mut parser = lexopt::Parser::from_env();
    let flags = Flags::parse(&mut parser, &["mode=", "threads=", "port=", "help"])?;
    if flags.switch("help") {
        print!("{HELP}");
        return Ok(());
    }
    let mode = match flags.text("mode").unwrap_or("echo") {
        "echo" => Mode::Echo,
        "envelope" => Mode::Envelope,
        "fanout" => Mode::Fanout(Arc::default(), Arc::default()),
        other => return Err(LoadError::Usage(format!("unknown --mode {other}"))),
    };
    let threads = flags.count("threads", 1, 64)?;
    let port: u16 = match flags.text("port") {
        None => 0,
        Some(text) => text.parse().map_err(|_| LoadError::Usage("--port must be a port".to_owned()))?,
    };
    let listener = Async::<TcpListener>::bind((Ipv4Addr::LOCALHOST, port)).map_err(LoadError::io("bind"))?;
    let port = listener.get_ref().local_addr().map_err(LoadError::io("bind"))?.port();
    let executor = Arc::new(Executor::new());
    // A task of its own: as the future of `run` it would be polled at every wake of the executor.
    executor.spawn(accept(Arc::clone(&executor), listener, mode)).detach();
    println!("READY {port}");
    std::io::stdout().flush().map_err(LoadError::io("print"))?;
    for _ in 1..threads {
        let executor = Arc::clone(&executor);
        thread::spawn(move || smol::block_on(executor.run(future::pending::<()>())));
    }
    smol::block_on(executor.run(future::pending::<()>()));
    Ok(())
}

async fn accept(executor: Arc<Executor<'static>>, listener: Async<TcpListener>, mode: Mode) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => executor.spawn(serve(stream, mode.for_connection())).detach(),
            Err(error) => {
                eprintln!("noex-floor: accept: {error}");
                return;
            }
        }
    }
}

async fn serve(stream: Async<TcpStream>, mode: Mode) {
    // A socket that is already gone fails the handshake below.
    let _ = stream.get_ref().set_nodelay(true);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX);
    let Ok(mut socket) = async_tungstenite::accept_async_with_config(stream, Some(config)).await else {
        return;
    };
    if matches!(mode, Mode::Fanout(..)) && socket.send(Message::Text(WELCOME.into())).await.is_err() {
        return;
    }
    future::poll_fn(|cx| turn(&mut socket, cx, &mode)).await;
}

/// One turn of a connection; ready when it is over.
fn turn(socket: &mut WebSocketStream<Async<TcpStream>>, cx: &mut Context<'_>, mode: &Mode) -> Poll<()> {
    let mut socket = Pin::new(socket);
    for _ in 0..BUDGET {
        // Pending while the kernel takes no more: the client has to read first.
        match socket.as_mut().poll_ready(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Pending => return Poll::Pending,
        }
        if let Mode::Fanout(_, mailbox) = mode
            && let Some(text) = mailbox.next(cx)
        {
            if socket.as_mut().start_send(Message::Text(text)).is_err() {
                return Poll::Ready(());
            }
            continue;
        }
        match socket.as_mut().poll_next(cx) {
            Poll::Ready(Some(Ok(Message::Text(text)))) => {
                if socket.as_mut().start_send(Message::Text(reply(text, mode))).is_err() {
                    return Poll::Ready(());
                }
            }
            // Control frames are answered by the library.
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
            Poll::Pending => return flush(socket, cx),
        }
    }
    cx.waker().wake_by_ref();
    flush(socket, cx)
}

fn flush(socket: Pin<&mut WebSocketStream<Async<TcpStream>>>, cx: &mut Context<'_>) -> Poll<()> {
    match socket.poll_flush(cx) {
        Poll::Ready(Err(_)) => Poll::Ready(()),
        Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
    }
}

fn reply(text: Utf8Bytes, mode: &Mode) -> Utf8Bytes {
    let answer = match mode {
        Mode::Echo => return text,
        Mode::Envelope => envelope(&text),
        Mode::Fanout(fanout, mailbox) => fanout.reply(&text, mailbox),
    };
    answer.unwrap_or_else(|| {
        Utf8Bytes::from_static(r#"{"id":0,"type":"error","code":"PARSE_ERROR","message":"Invalid JSON"}"#)
    })
}

fn envelope(text: &str) -> Option<Utf8Bytes> {
    let Envelope { id, kind } = serde_json::from_str(text).ok()?;
    let valid = kind.get().starts_with('"');
    valid.then(|| format!("{{\"id\":{id},\"type\":\"result\",\"data\":null}}").into())
}
