//! The client's half of the WebSocket handshake, and the rule that only loopback is ever contacted.
//!
//! Source: RFC 6455 §4.1. The key is fixed, so the expected answer is a constant and no hash is needed.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::error::LoadError;

const KEY: &str = "bm9leC1sb2FkLWNsaWVudA==";
/// Base64 of the SHA-1 of [`KEY`] and the GUID of RFC 6455 §1.3.
const ACCEPT: &str = "JkPEPOIIJ5cTTzR/Svmc7P+FNEo=";
const HEAD_BYTES_MAX: usize = 8 << 10;
/// A server on the same machine that needs longer than this is stuck.
pub const IO_TIMEOUT: Duration = Duration::from_secs(10);

/// Where to connect: a loopback address and a request path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    address: SocketAddr,
    path: String,
}

impl Target {
    /// Reads `ws://<loopback>:<port>/<path>`.
    ///
    /// # Errors
    ///
    /// `Usage` for any other scheme, a missing port, or a host that is not loopback.
    pub fn parse(url: &str) -> Result<Self, LoadError> {
        let refuse = |why: &str| LoadError::Usage(format!("--url {url}: {why}"));
        let rest = url.strip_prefix("ws://").ok_or_else(|| refuse("must start with ws://"))?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        if path.bytes().any(|b| !b.is_ascii_graphic()) {
            return Err(refuse("unusable path"));
        }
        let (host, port) = authority.rsplit_once(':').ok_or_else(|| refuse("must name a port"))?;
        let port: u16 = port.parse().map_err(|_| refuse("unusable port"))?;
        let ip: IpAddr = match host {
            // Never resolved: a hosts file could point it elsewhere.
            "localhost" => Ipv4Addr::LOCALHOST.into(),
            _ => host
                .trim_matches(['[', ']'])
                .parse()
                .map_err(|_| refuse("host must be a loopback address"))?,
        };
        if !ip.is_loopback() {
            return Err(refuse("host must be a loopback address"));
        }
        Ok(Self { address: SocketAddr::new(ip, port), path: path.to_owned() })
    }

    /// Connects and completes the handshake. Returns the blocking socket and the bytes that followed the answer.
    ///
    /// # Errors
    ///
    /// `Io` when the connection fails, `Protocol` when the server does not switch protocols.
    pub fn connect(&self) -> Result<(TcpStream, Vec<u8>), LoadError> {
        let mut stream =
            TcpStream::connect_timeout(&self.address, IO_TIMEOUT).map_err(LoadError::io("connect"))?;
        stream.set_nodelay(true).map_err(LoadError::io("connect"))?;
        stream.set_read_timeout(Some(IO_TIMEOUT)).map_err(LoadError::io("connect"))?;
        stream.set_write_timeout(Some(IO_TIMEOUT)).map_err(LoadError::io("connect"))?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n",
            self.path, self.address
        );
        stream.write_all(request.as_bytes()).map_err(LoadError::io("handshake"))?;
        let mut head = Vec::new();
        loop {
            let mut chunk = [0; 1024];
            let n = stream.read(&mut chunk).map_err(LoadError::io("handshake"))?;
            head.extend_from_slice(chunk.get(..n).unwrap_or_default());
            if let Some(rest) = accepted(&head)? {
                return Ok((stream, rest));
            }
            if n == 0 || head.len() > HEAD_BYTES_MAX {
                return Err(LoadError::Protocol("no complete handshake answer".to_owned()));
            }
        }
    }
}

/// The bytes after a valid answer; `None` while it is incomplete.
fn accepted(head: &[u8]) -> Result<Option<Vec<u8>>, LoadError> {
    let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
    let text = String::from_utf8_lossy(head.get(..end).unwrap_or_default());
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 101 ") {
        return Err(LoadError::Protocol(format!("handshake answered with {status}")));
    }
    let accept = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-accept"));
    if accept.is_none_or(|(_, value)| value.trim() != ACCEPT) {
        return Err(LoadError::Protocol("wrong Sec-WebSocket-Accept".to_owned()));
    }
    Ok(Some(head.get(end + 4..).unwrap_or_default().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_accepted() {
        for good in ["ws://127.0.0.1:80/", "ws://127.9.0.1:1", "ws://[::1]:8080/x", "ws://localhost:9/"] {
            assert!(Target::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "ws://10.0.0.1:80/",
            "ws://0.0.0.0:80/",
            "ws://example.com:80/",
            "ws://127.0.0.1.example.com:80/",
            "ws://localhost.:80/",
            "ws://user@127.0.0.1:80/",
            "wss://127.0.0.1:80/",
            "ws://127.0.0.1/",
            "ws://127.0.0.1:99999/",
            "ws://127.0.0.1:80/a\r\nX: y",
        ] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn answer_is_checked_and_the_rest_kept() {
        let good =
            format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n\u{1}x");
        assert_eq!(accepted(good.as_bytes()).ok().flatten(), Some(b"\x01x".to_vec()));
        assert_eq!(accepted(b"HTTP/1.1 101 Switching").ok(), Some(None));
        assert!(accepted(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").is_err());
        assert!(accepted(b"HTTP/1.1 101 Ok\r\nSec-WebSocket-Accept: AAAA\r\n\r\n").is_err());
    }
}
