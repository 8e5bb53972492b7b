//! WebSocket framing of a client, written from RFC 6455 alone: it shares no code with the server.

/// Something that a server sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Item {
    /// The status line of the HTTP answer.
    Http(String),
    Text(String),
    Pong,
    Close(Option<u16>, String),
}

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
const PONG: u8 = 0x8A;

/// The upgrade request.
pub(crate) const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\n\
     Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Appends a masked frame whose first byte is `first`.
pub(crate) fn write(out: &mut Vec<u8>, first: u8, mask: u32, payload: &[u8]) {
    out.push(first);
    if let Ok(short @ 0..=125) = u8::try_from(payload.len()) {
        out.push(0x80 | short);
    } else if let Ok(medium) = u16::try_from(payload.len()) {
        out.push(0x80 | 126);
        out.extend(medium.to_be_bytes());
    } else {
        out.push(0x80 | 127);
        out.extend((payload.len() as u64).to_be_bytes());
    }
    let mask = mask.to_be_bytes();
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// Cuts what is received into items.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    bytes: Vec<u8>,
    start: usize,
    upgraded: bool,
}

impl Reader {
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes of an item that is not whole yet.
    pub(crate) fn partial(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Gives the next whole item.
    ///
    /// # Errors
    /// If the server broke the rules of framing.
    pub(crate) fn next(&mut self) -> Result<Option<Item>, String> {
        let rest = self.bytes.get(self.start..).unwrap_or_default();
        if !self.upgraded {
            let text = String::from_utf8_lossy(rest);
            let Some(end) = text.find("\r\n\r\n") else { return Ok(None) };
            let status = text.lines().next().unwrap_or_default().to_owned();
            self.upgraded = status.starts_with("HTTP/1.1 101 ");
            self.start += end + 4;
            return Ok(Some(Item::Http(status)));
        }
        let Some((first, payload, len)) = parse(rest)? else { return Ok(None) };
        let payload = payload.to_vec();
        self.start += len;
        let utf8 =
            |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| "text is not UTF-8".to_owned());
        Ok(Some(match first {
            TEXT => Item::Text(utf8(&payload)?),
            PONG => Item::Pong,
            CLOSE => match payload.split_first_chunk::<2>() {
                Some((code, reason)) => Item::Close(Some(u16::from_be_bytes(*code)), utf8(reason)?),
                None => Item::Close(None, String::new()),
            },
            other => return Err(format!("unexpected frame {other:#x}")),
        }))
    }
}

/// First byte, payload and whole length of a frame.
type Parsed<'a> = (u8, &'a [u8], usize);

/// Finds the frame at the beginning, if all of it is there.
fn parse(bytes: &[u8]) -> Result<Option<Parsed<'_>>, String> {
    let Some(([first, second], rest)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
    if second & 0x80 != 0 {
        return Err("a server must not mask".to_owned());
    }
    let (len, head): (usize, usize) = match second {
        126 => match rest.first_chunk::<2>() {
            Some(len) => (usize::from(u16::from_be_bytes(*len)), 4),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(len) => (usize::try_from(u64::from_be_bytes(*len)).unwrap_or(usize::MAX), 10),
            None => return Ok(None),
        },
        short => (usize::from(*short), 2),
    };
    let payload = head.checked_add(len).and_then(|end| bytes.get(head..end));
    Ok(payload.map(|payload| (*first, payload, head + len)))
}
