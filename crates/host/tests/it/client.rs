//! A scripted WebSocket client with framing of its own.

use crate::{duplex::ClientEnd, world::TaskId};

/// The key of the upgrade request.
const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Something received.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Item {
    /// The head of the HTTP answer, and the body if it is an error.
    Http(String),
    Text(String),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    /// The end of the stream.
    End,
}

/// A connection as its client sees it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) end: ClientEnd,
    pub(crate) task: TaskId,
    bytes: Vec<u8>,
    items: Vec<Item>,
    upgraded: bool,
    ended: bool,
}

/// Makes a masked frame.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | u8::try_from(len).unwrap()),
        len @ 126..=65_535 => {
            out.push(0x80 | 126);
            out.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

impl Client {
    pub(crate) fn new(end: ClientEnd, task: TaskId) -> Self {
        Self { end, task, bytes: Vec::new(), items: Vec::new(), upgraded: false, ended: false }
    }

    pub(crate) fn upgrade(&self) {
        self.end.send(UPGRADE.as_bytes());
    }

    /// The upgrade request with messages right behind it.
    pub(crate) fn upgrade_and_say(&self, texts: &[&str]) {
        let mut bytes = UPGRADE.as_bytes().to_vec();
        for text in texts {
            bytes.extend(frame(0x81, text.as_bytes()));
        }
        self.end.send(&bytes);
    }

    pub(crate) fn text(&self, text: &str) {
        self.end.send(&frame(0x81, text.as_bytes()));
    }

    pub(crate) fn close(&self, code: u16) {
        self.end.send(&frame(0x88, &code.to_be_bytes()));
    }

    /// Takes what has arrived.
    pub(crate) fn receive(&mut self) {
        self.receive_at_most(usize::MAX);
    }

    /// Takes up to a number of bytes and gives how many there were.
    pub(crate) fn receive_at_most(&mut self, bytes: usize) -> usize {
        let taken = self.end.take(bytes);
        self.bytes.extend(&taken);
        while let Some(item) = self.next_item() {
            self.items.push(item);
        }
        if self.end.is_at_end() && !self.ended {
            self.ended = true;
            // An HTTP error has no other end; a frame that is cut off is nothing.
            if !self.upgraded && !self.bytes.is_empty() {
                self.items.push(Item::Http(String::from_utf8(std::mem::take(&mut self.bytes)).unwrap()));
            }
            self.items.push(Item::End);
        }
        taken.len()
    }

    fn next_item(&mut self) -> Option<Item> {
        if !self.upgraded {
            let text = String::from_utf8_lossy(&self.bytes).into_owned();
            let len = text.find("\r\n\r\n")? + 4;
            self.upgraded = text.starts_with("HTTP/1.1 101");
            return self.upgraded.then(|| {
                self.bytes.drain(..len);
                Item::Http(text[..len].to_owned())
            });
        }
        let first = *self.bytes.first()?;
        let (start, len) = match *self.bytes.get(1)? {
            126 => (4, usize::from(u16::from_be_bytes(self.bytes.get(2..4)?.try_into().unwrap()))),
            127 => (10, u64::from_be_bytes(self.bytes.get(2..10)?.try_into().unwrap()).try_into().unwrap()),
            short => (2, usize::from(short)),
        };
        let payload = self.bytes.get(start..start + len)?.to_vec();
        self.bytes.drain(..start + len);
        Some(match first {
            0x81 => Item::Text(String::from_utf8(payload).unwrap()),
            0x8A => Item::Pong(payload),
            0x88 => Item::Close(payload.get(..2).map(|code| {
                let reason = String::from_utf8(payload[2..].to_vec()).unwrap();
                (u16::from_be_bytes(code.try_into().unwrap()), reason)
            })),
            other => panic!("unexpected frame {other:#x}"),
        })
    }

    /// Takes all items received so far.
    pub(crate) fn received(&mut self) -> Vec<Item> {
        self.receive();
        std::mem::take(&mut self.items)
    }

    /// Takes items that are all texts.
    pub(crate) fn received_texts(&mut self) -> Vec<String> {
        let text = |item| match item {
            Item::Text(text) => text,
            Item::Http(_) | Item::Pong(_) | Item::Close(_) | Item::End => panic!("unexpected {item:?}"),
        };
        self.received().into_iter().map(text).collect()
    }

    /// Tells whether the welcome has come, and takes it with the HTTP answer.
    pub(crate) fn is_welcomed(&mut self) -> bool {
        let Some(at) = self
            .items
            .iter()
            .position(|item| matches!(item, Item::Text(text) if text.starts_with("{\"type\":\"welcome\"")))
        else {
            return false;
        };
        assert_eq!(at, 1, "the welcome comes first: {:?}", self.items);
        self.items.drain(..2);
        true
    }
}

/// A close frame.
pub(crate) fn close(code: u16, reason: &str) -> Item {
    Item::Close(Some((code, reason.to_owned())))
}

/// A text.
pub(crate) fn text(text: impl Into<String>) -> Item {
    Item::Text(text.into())
}
