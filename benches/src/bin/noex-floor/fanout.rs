//! Mode `fanout`: answers what `noex-load fanout` asks for and sends every write to all subscribers.
//!
//! The push is written once; each connection copies it behind a frame header into its write buffer. Less cannot be
//! done by a server that has one socket per subscriber.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use async_tungstenite::tungstenite::Utf8Bytes;
use serde::Deserialize;

/// Pushes that wait for one connection; of more, the oldest are dropped.
const WAITING_MAX: usize = 1024;
/// Bytes of the record that is pushed, nearly.
const RECORD_BYTES: usize = 300;

/// What connections share.
#[derive(Debug, Default)]
pub(crate) struct Fanout {
    subscribers: Mutex<Vec<Arc<Mailbox>>>,
    /// The number that the record shows.
    current: AtomicU64,
}

/// What waits for one connection.
#[derive(Debug, Default)]
pub(crate) struct Mailbox(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    texts: VecDeque<Utf8Bytes>,
    waker: Option<Waker>,
}

#[derive(Debug, Deserialize)]
struct Request<'a> {
    id: u64,
    #[serde(rename = "type")]
    kind: &'a str,
    data: Option<Data>,
}

#[derive(Debug, Deserialize)]
struct Data {
    n: u64,
}

impl Mailbox {
    /// Takes the next text, or asks to be woken by one.
    pub(crate) fn next(&self, cx: &mut Context<'_>) -> Option<Utf8Bytes> {
        let mut waiting = locked(&self.0);
        let text = waiting.texts.pop_front();
        if text.is_none() {
            waiting.waker = Some(cx.waker().clone());
        }
        text
    }

    fn put(&self, text: Utf8Bytes) {
        let mut waiting = locked(&self.0);
        if waiting.texts.len() == WAITING_MAX {
            waiting.texts.pop_front();
        }
        waiting.texts.push_back(text);
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Fanout {
    /// Answers a request of the connection that has this mailbox; `None` if it is none.
    pub(crate) fn reply(&self, text: &str, mailbox: &Arc<Mailbox>) -> Option<Utf8Bytes> {
        let Request { id, kind, data } = serde_json::from_str(text).ok()?;
        let current = match data {
            Some(Data { n }) => {
                self.current.store(n, Ordering::Relaxed);
                n
            }
            None => self.current.load(Ordering::Relaxed),
        };
        let data = match kind {
            "store.subscribe" => {
                locked(&self.subscribers).push(Arc::clone(mailbox));
                format!(r#"{{"subscriptionId":"sub-1","data":[{}]}}"#, record(current))
            }
            "store.update" => {
                self.push(current);
                record(current)
            }
            "store.get" => record(current),
            _ => "null".to_owned(),
        };
        Some(format!(r#"{{"id":{id},"type":"result","data":{data}}}"#).into())
    }

    fn push(&self, number: u64) {
        let text: Utf8Bytes = format!(
            r#"{{"type":"push","channel":"subscription","subscriptionId":"sub-1","data":[{}]}}"#,
            record(number)
        )
        .into();
        let mut subscribers = locked(&self.subscribers);
        // A connection that has ended no longer holds its mailbox.
        subscribers.retain(|mailbox| Arc::strong_count(mailbox) > 1);
        for mailbox in subscribers.iter() {
            mailbox.put(text.clone());
        }
    }
}

fn record(number: u64) -> String {
    let start = format!(r#"{{"id":"fan","n":{number},"s":""#);
    let filler = "x".repeat(RECORD_BYTES.saturating_sub(start.len() + 2));
    format!(r#"{start}{filler}"}}"#)
}

/// A panic elsewhere leaves lists and queues whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_reach_all_subscribers_and_nobody_else() {
        let fanout = Fanout::default();
        let [writer, one, other]: [Arc<Mailbox>; 3] = Default::default();
        for mailbox in [&one, &other] {
            let answer = fanout.reply(r#"{"id":1,"type":"store.subscribe","query":"q"}"#, mailbox);
            assert!(answer.is_some_and(|text| text.contains("subscriptionId")));
        }
        let update = r#"{"id":7,"type":"store.update","key":"fan","data":{"n":42}}"#;
        let answer = fanout.reply(update, &writer).expect("a request");
        assert!(answer.starts_with(r#"{"id":7,"type":"result","data":{"id":"fan","n":42,"#));
        let mut cx = Context::from_waker(Waker::noop());
        for mailbox in [one, other] {
            let push = mailbox.next(&mut cx).expect("a push");
            assert!(push.starts_with(r#"{"type":"push","#) && push.contains(r#""n":42,"#));
            assert!(mailbox.next(&mut cx).is_none());
        }
        assert!(writer.next(&mut cx).is_none());
        assert!(fanout.reply("{}", &writer).is_none());
    }

    #[test]
    fn pushes_that_wait_are_bounded() {
        let fanout = Fanout::default();
        let reader = Arc::new(Mailbox::default());
        let _ = fanout.reply(r#"{"id":1,"type":"store.subscribe"}"#, &reader);
        for number in 0..=WAITING_MAX as u64 {
            fanout.push(number);
        }
        let mut cx = Context::from_waker(Waker::noop());
        assert!(reader.next(&mut cx).is_some_and(|text| text.contains(r#""n":1,"#)));
        assert_eq!(locked(&reader.0).texts.len(), WAITING_MAX - 1);
    }
}
