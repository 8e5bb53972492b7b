//! A client on soketto, and a server to talk to.

use crate::runtime::{Options, Server};
use smol::{future, net::TcpStream};
use soketto::{
    Data, Incoming, Receiver, Sender,
    handshake::{self, ServerResponse},
};
use std::{future::Future, time::Duration};

/// Longer than any machine takes; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test to its end, or fails it after a generous time.
pub(crate) fn run<R>(test: impl Future<Output = R>) -> R {
    smol::block_on(within(test))
}

/// Waits, but not for ever.
pub(crate) async fn within<R>(work: impl Future<Output = R>) -> R {
    future::or(work, async {
        smol::Timer::after(PATIENCE).await;
        panic!("nothing happens any more")
    })
    .await
}

/// A server with bucket `items` and queries over it, on a free port.
pub(crate) fn options() -> Options {
    let mut options = Options { host: "127.0.0.1".into(), port: 0, threads: 3, ..Options::default() };
    let schema = r#"{"id":{"type":"string","required":true},"n":{"type":"number"}}"#;
    options.buckets.push(("items".into(), format!(r#"{{"key":"id","schema":{schema}}}"#)));
    options.queries.push(("all".into(), r#"{"bucket":"items"}"#.into()));
    let sum = r#"{"bucket":"items","aggregate":{"function":"sum","field":"n"}}"#;
    options.queries.push(("sum".into(), sum.into()));
    options
}

pub(crate) async fn start(options: Options) -> Server {
    Server::start(options).await.expect("started")
}

/// How a connection ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum End {
    Close(u16, String),
    Lost,
}

pub(crate) struct Client {
    sender: Sender<TcpStream>,
    receiver: Receiver<TcpStream>,
}

impl Client {
    /// Connects and takes the welcome.
    pub(crate) async fn connect(server: &Server) -> Self {
        let (client, welcome) = Self::open(server.port()).await;
        assert!(welcome.starts_with(r#"{"type":"welcome","version":"1.0.0","#), "{welcome}");
        client
    }

    /// Connects and gives the first message.
    pub(crate) async fn open(port: u16) -> (Self, String) {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
        // soketto writes header and payload separately; waiting for the first one's receipt takes 40 ms.
        stream.set_nodelay(true).expect("set");
        let host = format!("127.0.0.1:{port}");
        let mut handshake = handshake::Client::new(stream, &host, "/");
        let response = handshake.handshake().await.expect("a handshake");
        assert!(matches!(response, ServerResponse::Accepted { .. }), "{response:?}");
        let (sender, receiver) = handshake.into_builder().finish();
        let mut client = Self { sender, receiver };
        let first = client.next().await.expect("a first message");
        (client, first)
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.sender.send_text(text).await.expect("sent");
        self.sender.flush().await.expect("flushed");
    }

    /// As [`Client::send`], to a connection that may have been closed; tells whether it was not.
    pub(crate) async fn try_send(&mut self, text: &str) -> bool {
        self.sender.send_text(text).await.is_ok() && self.sender.flush().await.is_ok()
    }

    /// The next message, or how the connection ended.
    pub(crate) async fn next(&mut self) -> Result<String, End> {
        let mut bytes = Vec::new();
        loop {
            match within(self.receiver.receive(&mut bytes)).await {
                Ok(Incoming::Data(Data::Text(_))) => return Ok(String::from_utf8(bytes).expect("UTF-8")),
                Ok(Incoming::Data(Data::Binary(_))) => panic!("a binary message"),
                Ok(Incoming::Pong(_)) => {}
                Ok(Incoming::Closed(reason)) => {
                    return Err(End::Close(reason.code, reason.descr.unwrap_or_default()));
                }
                Err(_) => return Err(End::Lost),
            }
        }
    }

    /// The next message that is there because of something asked or subscribed to.
    pub(crate) async fn text(&mut self) -> String {
        self.next().await.expect("a message")
    }

    /// Asks and gives the answer, which must be the next message.
    pub(crate) async fn ask(&mut self, text: &str) -> String {
        self.send(text).await;
        self.text().await
    }

    pub(crate) async fn login(&mut self, token: &str) -> String {
        self.ask(&format!(r#"{{"id":0,"type":"auth.login","token":"{token}"}}"#)).await
    }

    pub(crate) async fn close(mut self) {
        self.sender.close().await.expect("closed");
        while self.next().await.is_ok() {}
    }
}

pub(crate) fn insert(id: &str, n: u64) -> String {
    format!(r#"{{"id":1,"type":"store.insert","bucket":"items","data":{{"id":"{id}","n":{n}}}}}"#)
}

pub(crate) fn push(subscription: u64, data: &str) -> String {
    format!(
        r#"{{"type":"push","channel":"subscription","subscriptionId":"sub-{subscription}","data":{data}}}"#
    )
}
