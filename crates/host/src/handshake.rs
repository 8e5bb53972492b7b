//! The HTTP upgrade: pure checks of a request's head, and the bytes of the answer.
//!
//! Source: the protocol specification, section 1.1; RFC 6455 section 4.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Longest head of an upgrade request in bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 100;

/// Tells whether an address belongs to a set, such as that of trusted proxies.
pub type AddressFilter = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// What an upgrade request must satisfy.
#[derive(Clone)]
pub struct HandshakeConfig {
    /// Path of the endpoint, starting with `/`.
    pub path: String,
    /// Origins that may connect; `None` = any. Requests without an origin always may.
    pub allowed_origins: Option<Vec<String>>,
    /// Peers whose `X-Forwarded-For` and `X-Real-IP` are believed; `None` = nobody's.
    pub trusted_proxies: Option<AddressFilter>,
}

impl Default for HandshakeConfig {
    fn default() -> Self {
        Self { path: "/".into(), allowed_origins: None, trusted_proxies: None }
    }
}

impl fmt::Debug for HandshakeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeConfig").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What to do with the bytes received so far.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Decision {
    /// The head is not complete.
    ReadMore,
    /// Answer with an error and close.
    Refuse(Response),
    /// Answer with [`Acceptance::response`] and speak WebSocket.
    Accept(Acceptance),
}

/// An acceptable request.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Acceptance {
    /// Bytes of the head; what follows is WebSocket data.
    pub(crate) head_len: usize,
    pub(crate) response: String,
    /// The client's address as told by a trusted proxy.
    pub(crate) forwarded_for: Option<String>,
}

/// An HTTP error answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Response {
    pub(crate) status: &'static str,
    pub(crate) headers: &'static str,
    pub(crate) body: &'static str,
}

impl Response {
    const fn new(status: &'static str, body: &'static str) -> Self {
        Self { status, headers: "", body }
    }

    const BAD_REQUEST: Self = Self::new("400 Bad Request", "Bad Request");
    pub(crate) const TIMEOUT: Self = Self::new("408 Request Timeout", "Request Timeout");
    pub(crate) const FULL: Self =
        Self { headers: "Retry-After: 1\r\n", ..Self::new("503 Service Unavailable", "Service Unavailable") };

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let Self { status, headers, body } = self;
        let kind = if body.is_empty() { "" } else { "Content-Type: text/plain\r\n" };
        let len = body.len();
        format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}{kind}Content-Length: {len}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// Judges a request by its first bytes; `peer` is the address of the other end of the connection.
pub(crate) fn judge(config: &HandshakeConfig, received: &[u8], peer: Option<IpAddr>) -> Decision {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let head_len = match request.parse(received) {
        Ok(httparse::Status::Complete(len)) if len <= HEAD_BYTES_MAX => len,
        Ok(httparse::Status::Partial) if received.len() < HEAD_BYTES_MAX => return Decision::ReadMore,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            return Decision::Refuse(Response::new(
                "431 Request Header Fields Too Large",
                "Request Header Fields Too Large",
            ));
        }
        Err(_) => return Decision::Refuse(Response::BAD_REQUEST),
    };
    let head = Head {
        method: request.method.unwrap_or(""),
        target: request.path.unwrap_or(""),
        headers: request.headers,
    };
    match head.check(config) {
        Err(response) => Decision::Refuse(response),
        Ok(key) => Decision::Accept(Acceptance {
            head_len,
            response: head.switching(key),
            forwarded_for: head.forwarded_for(config, peer),
        }),
    }
}

struct Head<'a> {
    method: &'a str,
    target: &'a str,
    headers: &'a [httparse::Header<'a>],
}

impl<'a> Head<'a> {
    fn values<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'a str> + 'h {
        self.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .filter_map(|header| std::str::from_utf8(header.value).ok())
            .map(str::trim)
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.values(name).next()
    }

    /// The origins, as bytes: one that is no text is an origin all the same, and on no list.
    fn origins(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        let origins = self.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("Origin"));
        origins.map(|header| header.value.trim_ascii())
    }

    /// Runs the checks in the protocol's order and gives the WebSocket key.
    fn check(&self, config: &HandshakeConfig) -> Result<&'a str, Response> {
        if !self.headers.iter().any(|header| header.name.eq_ignore_ascii_case("Upgrade")) {
            return Err(Response {
                headers: "Upgrade: websocket\r\n",
                ..Response::new("426 Upgrade Required", "Upgrade Required")
            });
        }
        if self.path().ok_or(Response::BAD_REQUEST)? != config.path {
            return Err(Response::new("404 Not Found", "Not Found"));
        }
        if let Some(allowed) = &config.allowed_origins
            && !self.origins().all(|origin| allowed.iter().any(|entry| entry.as_bytes() == origin))
        {
            return Err(Response::new("403 Forbidden", ""));
        }
        if self.method != "GET" {
            return Err(Response {
                headers: "Allow: GET\r\n",
                ..Response::new("405 Method Not Allowed", "Invalid HTTP method")
            });
        }
        let mut upgrades = self.values("Upgrade");
        if !upgrades.next().is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
            || upgrades.next().is_some()
        {
            return Err(Response::new("400 Bad Request", "Invalid Upgrade header"));
        }
        let Some(key) = self.value("Sec-WebSocket-Key").filter(|key| is_key(key)) else {
            return Err(Response::new("400 Bad Request", "Missing or invalid Sec-WebSocket-Key header"));
        };
        if self.value("Sec-WebSocket-Version") != Some("13") {
            return Err(Response {
                headers: "Sec-WebSocket-Version: 13\r\n",
                ..Response::new("426 Upgrade Required", "Missing or invalid Sec-WebSocket-Version header")
            });
        }
        Ok(key)
    }

    /// The path of the target, if target and host make a URL.
    fn path(&self) -> Option<String> {
        let base = url::Url::parse(&format!("http://{}", self.value("Host")?)).ok()?;
        Some(base.join(self.target).ok()?.path().to_owned())
    }

    fn switching(&self, key: &str) -> String {
        let accept = async_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
        let protocol = self
            .value("Sec-WebSocket-Protocol")
            .and_then(|offered| offered.split(',').map(str::trim).find(|name| is_token(name)))
            .map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n"))
            .unwrap_or_default();
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{protocol}\r\n"
        )
    }

    /// The right-most address of `X-Forwarded-For` that is no trusted proxy, else `X-Real-IP`. What stands left of a hop
    /// that is no address may be the client's invention, so it is not looked at.
    fn forwarded_for(&self, config: &HandshakeConfig, peer: Option<IpAddr>) -> Option<String> {
        let trusted = config.trusted_proxies.as_ref()?;
        if !trusted(peer?) {
            return None;
        }
        let lists = self.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("X-Forwarded-For"));
        let hops: Vec<&[u8]> = lists.flat_map(|header| header.value.split(|byte| *byte == b',')).collect();
        let client = hops.into_iter().rev().map(hop_address).find(|hop| hop.is_none_or(|ip| !trusted(ip)));
        client
            .flatten()
            .or_else(|| self.value("X-Real-IP").and_then(|real| real.parse().ok()))
            .map(|ip: IpAddr| ip.to_string())
    }
}

/// Reads a hop: an address, perhaps with a port.
fn hop_address(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim();
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// A key is 16 bytes in base64: 22 digits, the last of which carries 4 unused zero bits, and two pads.
fn is_key(key: &str) -> bool {
    let digit = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    key.len() == 24 && key.strip_suffix("==").is_some_and(|digits| digits.bytes().all(digit))
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn request(line: &str, headers: &[&str]) -> String {
        let mut text = format!("{line}\r\n");
        for header in headers {
            text.push_str(header);
            text.push_str("\r\n");
        }
        text + "\r\n"
    }

    fn status(config: &HandshakeConfig, text: &str) -> String {
        match judge(config, text.as_bytes(), None) {
            Decision::ReadMore => "more".into(),
            Decision::Refuse(response) => response.status.into(),
            Decision::Accept(acceptance) => {
                assert_eq!(acceptance.head_len, text.find("\r\n\r\n").expect("complete") + 4);
                "101".into()
            }
        }
    }

    #[test]
    fn checks_come_in_order() {
        let config = HandshakeConfig {
            path: "/ws".into(),
            allowed_origins: Some(vec!["https://a.example".into()]),
            trusted_proxies: None,
        };
        let key = format!("Sec-WebSocket-Key: {KEY}");
        let good =
            ["Host: x", "Upgrade: WebSocket", "Connection: Upgrade", &key, "Sec-WebSocket-Version: 13"];
        let without = |name: &str| good.into_iter().filter(|h| !h.starts_with(name)).collect::<Vec<_>>();
        let with = |header: &'static str| good.into_iter().chain([header]).collect::<Vec<_>>();
        for (line, headers, expected) in [
            ("GET /ws HTTP/1.1", good.to_vec(), "101"),
            ("GET /ws?a=1#b HTTP/1.1", good.to_vec(), "101"),
            ("GET http://y/ws HTTP/1.1", good.to_vec(), "101"),
            ("GET /ws HTTP/1.1", with("Origin: https://a.example"), "101"),
            ("POST // HTTP/1.1", without("Upgrade"), "426 Upgrade Required"),
            ("GET // HTTP/1.1", good.to_vec(), "400 Bad Request"),
            ("GET /ws HTTP/1.1", without("Host"), "400 Bad Request"),
            ("POST /WS HTTP/1.1", with("Origin: https://b.example"), "404 Not Found"),
            ("POST /ws HTTP/1.1", with("Origin: https://b.example"), "403 Forbidden"),
            ("POST /ws HTTP/1.1", good.to_vec(), "405 Method Not Allowed"),
            ("GET /ws HTTP/1.1", without("Sec-WebSocket-Key"), "400 Bad Request"),
            ("GET /ws HTTP/1.1", without("Sec-WebSocket-Version"), "426 Upgrade Required"),
            ("GET /ws HTTP/1.1", with("Upgrade: h2c"), "400 Bad Request"),
            ("nonsense", vec![], "400 Bad Request"),
        ] {
            assert_eq!(status(&config, &request(line, &headers)), expected, "{line} {headers:?}");
        }
        assert_eq!(
            status(&config, &request("GET /ws HTTP/1.1", &["Host: [", "Upgrade: websocket"])),
            "400 Bad Request"
        );
        assert_eq!(status(&config, "GET /ws HTTP/1.1\r\nHost: x\r\n"), "more");
        assert_eq!(status(&config, &"a".repeat(HEAD_BYTES_MAX)), "431 Request Header Fields Too Large");
    }

    #[test]
    fn every_origin_must_be_listed_even_one_that_is_no_text() {
        let config = HandshakeConfig {
            allowed_origins: Some(vec!["https://a.example".into()]),
            ..HandshakeConfig::default()
        };
        let key = format!("Sec-WebSocket-Key: {KEY}");
        let good = ["Host: x", "Upgrade: websocket", &key, "Sec-WebSocket-Version: 13"];
        let refused = |origins: &[u8]| {
            let mut head = format!("GET / HTTP/1.1\r\n{}\r\n", good.join("\r\n")).into_bytes();
            head.extend_from_slice(origins);
            head.extend_from_slice(b"\r\n");
            match judge(&config, &head, None) {
                Decision::Refuse(response) => response.status == "403 Forbidden",
                Decision::ReadMore | Decision::Accept(_) => false,
            }
        };
        assert!(!refused(b""));
        assert!(!refused(b"origin:  https://a.example \r\n"));
        assert!(refused(b"Origin:\r\n"));
        assert!(refused(b"Origin: https://\xff.example\r\n"));
        assert!(refused(b"Origin: https://a.example\r\nOrigin: https://b.example\r\n"));
    }

    #[test]
    fn the_answer_selects_the_first_subprotocol_and_no_extension() {
        let key = format!("Sec-WebSocket-Key: {KEY}");
        let text = request(
            "GET / HTTP/1.1",
            &[
                "Host: x",
                "Upgrade: websocket",
                &key,
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Protocol: b, a",
                "Sec-WebSocket-Extensions: permessage-deflate",
            ],
        );
        let Decision::Accept(acceptance) = judge(&HandshakeConfig::default(), text.as_bytes(), None) else {
            panic!("refused")
        };
        assert!(acceptance.response.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(acceptance.response.contains("Sec-WebSocket-Protocol: b\r\n"));
        assert!(!acceptance.response.contains("Extensions"));
    }

    #[test]
    fn proxies_are_believed_only_if_trusted() {
        let trusted: AddressFilter = Arc::new(|ip| ip.to_string().starts_with("10.") || ip.is_loopback());
        let config = HandshakeConfig { trusted_proxies: Some(trusted), ..HandshakeConfig::default() };
        let key = format!("Sec-WebSocket-Key: {KEY}");
        let told = |peer: &str, extra: &str| {
            let text = request(
                "GET / HTTP/1.1",
                &["Host: x", "Upgrade: websocket", &key, "Sec-WebSocket-Version: 13", extra],
            );
            let Decision::Accept(acceptance) = judge(&config, text.as_bytes(), peer.parse().ok()) else {
                panic!("refused")
            };
            acceptance.forwarded_for
        };
        assert_eq!(told("127.0.0.1", "X-Forwarded-For: 6.6.6.6, 1.2.3.4, 10.0.0.9"), Some("1.2.3.4".into()));
        assert_eq!(told("127.0.0.1", "X-Forwarded-For: 10.0.0.9, nonsense"), None);
        for hop in ["1.2.3.4", "1.2.3.4:99", "\u{fc}, 1.2.3.4", "6.6.6.6, x, 1.2.3.4, 10.0.0.9:1"] {
            let header = format!("X-Forwarded-For: {hop}");
            assert_eq!(told("127.0.0.1", &header), Some("1.2.3.4".into()), "{hop}");
        }
        for hop in ["::9", "[::9]", "[::9]:99"] {
            assert_eq!(told("127.0.0.1", &format!("X-Forwarded-For: {hop}")), Some("::9".into()), "{hop}");
        }
        // What the client wrote is not taken for what a proxy could not name.
        for hop in ["6.6.6.6, unknown", "6.6.6.6, 1.2.3.4:x", "6.6.6.6, ", "6.6.6.6, bad, 10.0.0.9"] {
            let header = format!("X-Forwarded-For: {hop}");
            assert_eq!(told("127.0.0.1", &header), None, "{hop}");
            assert_eq!(told("127.0.0.1", &format!("{header}\r\nX-Real-IP: 5.5.5.5")), Some("5.5.5.5".into()));
        }
        assert_eq!(told("127.0.0.1", "X-Real-IP: 1.2.3.4"), Some("1.2.3.4".into()));
        assert_eq!(told("9.9.9.9", "X-Forwarded-For: 1.2.3.4"), None);
    }
}
