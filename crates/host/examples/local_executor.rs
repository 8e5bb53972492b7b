//! The host's driver on an executor of one's own: one thread, `async-executor` and `async-io`, no runtime crate.
//!
//! What a runtime has to give is a stream, a timer of three methods and a way to spawn. A client in the same program
//! talks to the server and ends. `cargo run -p noex-host --example local_executor`

#![expect(clippy::disallowed_methods, reason = "this is the edge that reads the clocks")]

use async_executor::LocalExecutor;
use async_io::Async;
use async_tungstenite::{client_async, tungstenite::Message};
use futures::StreamExt;
use noex_host::{Hub, Instant, Now, Options, Timer, serve};
use std::{
    error::Error,
    future::Future,
    net::{TcpListener, TcpStream},
    pin::Pin,
    rc::Rc,
    sync::LazyLock,
    task::{Context, Poll},
    time::{self, Duration, SystemTime},
};

static ORIGIN: LazyLock<time::Instant> = LazyLock::new(time::Instant::now);

struct Alarm(async_io::Timer, bool);

impl Timer for Alarm {
    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now {
            mono: Instant::from_micros(u64::try_from(ORIGIN.elapsed().as_micros()).unwrap_or(u64::MAX)),
            unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn arm(&mut self, at: Option<Instant>) {
        self.1 = at.is_some();
        if let Some(at) = at {
            self.0.set_at(*ORIGIN + Duration::from_micros(at.as_micros()));
        }
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.1 { Pin::new(&mut self.0).poll(cx).map(|_| self.1 = false) } else { Poll::Pending }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let alarm = || Alarm(async_io::Timer::never(), false);
    let options = Options {
        buckets: vec![("notes".into(), r#"{"key":"id","schema":{"id":{"type":"string"}}}"#.into())],
        ..Options::default()
    };
    let hub = Hub::new(options, alarm().now())?;
    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0))?;
    let address = listener.get_ref().local_addr()?;
    let executor = Rc::new(LocalExecutor::new());
    let spawner = Rc::clone(&executor);
    let accepting = executor.spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            spawner.spawn(serve(hub.clone(), stream, Some(peer.ip()), alarm())).detach();
        }
    });
    async_io::block_on(executor.run(async {
        let stream = Async::<TcpStream>::connect(address).await?;
        let (mut client, _) = client_async(format!("ws://{address}/"), stream).await?;
        for request in ["", r#"{"id":1,"type":"store.insert","bucket":"notes","data":{"id":"a"}}"#] {
            if !request.is_empty() {
                client.send(Message::text(request)).await?;
            }
            println!("{}", client.next().await.ok_or("closed")??);
        }
        client.close(None).await?;
        accepting.cancel().await;
        Ok(())
    }))
}
