//! Requests in, replies out, in one thread and without a socket: what a request costs between the framing layers.

use noex_core::{
    AuthMode, Body, Config, Connection, Effect, Frame, Instant, Message, Now, Peer, Session, Shared,
    Solitary, SubId, TokenMode, Update,
};
use noex_host::{EmbeddedStore, PushSink, StoreBackend, store::StoreOptions};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt::Write;
use std::sync::Arc;

/// The time at which everything happens.
pub const NOW: Now = Now { mono: Instant::from_millis(1000), unix_ms: 1_700_000_000_000 };

/// The bucket of the load generator: key `id`, an indexed number `n`, text `s` and `owner`.
pub const BUCKET: &str = r#"{"key":"id","schema":{"id":{"type":"string"},"n":{"type":"number"},"s":{"type":"string"},"owner":{"type":"string"}},"indexes":["n"]}"#;

/// One connection with a store of its own.
#[derive(Debug)]
pub struct Exchange {
    /// The machine under test.
    pub connection: Connection,
    /// The store; `None` = every call is answered with a record of 200 bytes.
    store: Option<Arc<EmbeddedStore>>,
    shared: Solitary,
    body: Arc<str>,
}

/// Takes pushes and forgets them.
struct Nobody;

impl PushSink for Nobody {
    fn result(&self, _subscription: SubId, _update: Update) {}
    fn event(&self, _subscription: SubId, _event: Arc<str>) {}
    fn ended(&self, _subscription: SubId, _reason: noex_core::EndReason) {}
}

impl Exchange {
    /// A connection whose calls are answered with a constant.
    #[must_use]
    pub fn without_store() -> Self {
        let mut connection = connect(Config::default());
        while connection.poll_frame().is_some() {}
        Self { connection, store: None, shared: Solitary::default(), body: record(7).into() }
    }

    /// A connection that must log in and whose calls are answered with a constant.
    #[must_use]
    pub fn with_login() -> Self {
        let auth = AuthMode::Token(TokenMode::default());
        let connection = connect(Config { auth, ..Config::default() });
        Self { connection, ..Self::without_store() }
    }

    /// A connection with a store of `records` records in the bucket `load`, keys `k0`, `k1`, …
    ///
    /// # Panics
    /// If there are no random numbers.
    #[must_use]
    pub fn with_store(records: u64) -> Self {
        let store = EmbeddedStore::new(StoreOptions::default(), false).expect("random numbers");
        let mut this = Self { store: Some(store), ..Self::without_store() };
        this.handle(&format!(r#"{{"id":1,"type":"store.defineBucket","name":"load","config":{BUCKET}}}"#));
        for n in 0..records {
            this.handle(&insert(n));
        }
        this
    }

    /// One more connection of the same store.
    #[must_use]
    pub fn sharing(store: &Arc<EmbeddedStore>) -> Self {
        Self { store: Some(Arc::clone(store)), ..Self::without_store() }
    }

    /// The store, if there is one.
    #[must_use]
    pub fn store(&self) -> Option<&Arc<EmbeddedStore>> {
        self.store.as_ref()
    }

    /// Handles one message and gives the bytes of what is sent for it.
    pub fn handle(&mut self, text: &str) -> usize {
        self.connection.handle_message(NOW, &self.shared, Message::Text(text));
        self.execute();
        self.drain()
    }

    /// As [`Exchange::handle`], but gives the text, for a check.
    ///
    /// # Panics
    /// If something other than one text is sent.
    #[must_use]
    pub fn answer(&mut self, text: &str) -> String {
        self.connection.handle_message(NOW, &self.shared, Message::Text(text));
        self.execute();
        let Some(Frame::Text(text)) = self.connection.poll_frame() else { panic!("no text") };
        assert!(self.connection.poll_frame().is_none(), "one frame");
        text.into_string()
    }

    /// Watches something whose result the caller pushes.
    pub fn subscribe(&mut self) -> SubId {
        self.handle(r#"{"id":2,"type":"store.subscribe","query":"q"}"#);
        SubId(self.shared.next_subscription().0 - 1)
    }

    /// Pushes a result and gives the bytes of what is sent for it.
    pub fn push(&mut self, subscription: SubId, update: Update) -> usize {
        let _ = self.connection.push_result(subscription, update);
        self.drain()
    }

    fn drain(&mut self) -> usize {
        let mut bytes = 0;
        while let Some(frame) = self.connection.poll_frame() {
            bytes += frame.wire_len();
        }
        self.connection.handle_buffered(NOW, 0);
        bytes
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "no other effect can come of what the benches send")]
    fn execute(&mut self) {
        while let Some(effect) = self.connection.poll_effect() {
            match effect {
                Effect::Store { token, call } => {
                    let outcome = match &self.store {
                        Some(store) => store.call(NOW.unix_ms, call).outcome(),
                        None => Ok(Body::Shared(Arc::clone(&self.body))),
                    };
                    self.connection.reply(NOW, &self.shared, token, outcome);
                }
                Effect::Authenticate { token, .. } => {
                    let session =
                        Session { user_id: "ann".into(), roles: vec!["writer".into()], ..Session::default() };
                    self.connection.reply_auth(NOW, &self.shared, token, Ok(session));
                }
                Effect::Subscribe { token, .. } => {
                    let update = Update { version: 0, data: Some(Arc::clone(&self.body)), delta: None };
                    self.connection.reply_subscribe(NOW, &self.shared, token, Ok(update));
                }
                _ => {}
            }
        }
        if let Some(store) = &self.store {
            store.flush(NOW.unix_ms, &Nobody);
        }
    }
}

fn connect(config: Config) -> Connection {
    Connection::new(Arc::new(config), Peer::new("127.0.0.1"), NOW)
}

/// A record of about 200 bytes.
#[must_use]
pub fn record(n: u64) -> String {
    let filler = "the quick brown fox jumps over the lazy dog, ".repeat(3);
    let s = filler.get(..100).unwrap_or_default();
    format!(r#"{{"id":"k{n}","n":{n},"s":"{s}","owner":"u{}"}}"#, n % 100)
}

/// A request that inserts record `n`.
#[must_use]
pub fn insert(n: u64) -> String {
    let record = record(n);
    format!(r#"{{"id":{n},"type":"store.insert","bucket":"load","data":{record}}}"#)
}

/// A request that reads record `n`.
#[must_use]
pub fn get(n: u64) -> String {
    format!(r#"{{"id":{n},"type":"store.get","bucket":"load","key":"k{n}"}}"#)
}

/// A request that changes the indexed field of record `n`.
#[must_use]
pub fn update(n: u64) -> String {
    format!(r#"{{"id":{n},"type":"store.update","bucket":"load","key":"k{n}","data":{{"n":{}}}}}"#, n + 1)
}

/// A request that deletes record `n`.
#[must_use]
pub fn delete(n: u64) -> String {
    format!(r#"{{"id":{n},"type":"store.delete","bucket":"load","key":"k{n}"}}"#)
}

/// A request that reads and changes record `n` in one transaction.
#[must_use]
pub fn transaction(n: u64) -> String {
    let mut text = format!(r#"{{"id":{n},"type":"store.transaction","operations":["#);
    let _ = write!(text, r#"{{"op":"get","bucket":"load","key":"k{n}"}},"#);
    let _ = write!(text, r#"{{"op":"update","bucket":"load","key":"k{n}","data":{{"n":{}}}}}]}}"#, n + 1);
    text
}

/// The part of a request that every server has to read.
#[derive(Debug, Deserialize)]
pub struct Envelope<'a> {
    /// Number of the request.
    pub id: u64,
    /// Operation.
    #[serde(rename = "type", borrow)]
    pub kind: &'a RawValue,
}

/// Parses the envelope of a request with serde_json and gives its number: the floor of reading.
#[must_use]
pub fn floor(text: &str) -> Option<u64> {
    let envelope: Envelope<'_> = serde_json::from_str(text).ok()?;
    envelope.kind.get().starts_with('"').then_some(envelope.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_answered_as_meant() {
        let mut exchange = Exchange::with_store(3);
        assert!(exchange.answer(&get(1)).contains(r#""data":{"id":"k1","n":1,"#));
        assert!(exchange.answer(&update(1)).contains(r#""n":2,"#));
        assert!(exchange.answer(&transaction(2)).contains(r#"{"index":1,"data":{"id":"k2","n":3,"#));
        assert!(exchange.answer(&delete(0)).contains(r#"{"deleted":true}"#));
        assert!(exchange.answer(&insert(9)).contains(r#""_version":1"#));
        assert!(Exchange::without_store().answer(&get(1)).contains(r#""data":{"id":"k7","#));
        assert_eq!(floor(&get(4)), Some(4));
    }
}
