//! Tests of requests, answers and accept keys.

use super::*;

#[test]
fn accept_follows_the_example_of_the_rfc() {
    assert_eq!(accept_for("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(key(*b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
}

#[test]
fn headers_are_replaced_in_any_case_added_and_left_out() {
    let request = Request {
        method: "GET".to_owned(),
        path: "/x".to_owned(),
        headers: vec![
            ("upgrade".to_owned(), Some("h2c".to_owned())),
            ("Sec-WebSocket-Key".to_owned(), None),
            ("Origin".to_owned(), Some("http://a".to_owned())),
        ],
        early: Vec::new(),
    };
    assert_eq!(
        request_head(&request, "127.0.0.1:9", "k"),
        "GET /x HTTP/1.1\r\nHost: 127.0.0.1:9\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         upgrade: h2c\r\nOrigin: http://a\r\n\r\n"
    );
}

#[test]
fn answers_are_split_from_the_frames_behind_them() {
    assert_eq!(split_head(b"HTTP/1.1 101 x\r\n"), None);
    let (head, rest) =
        split_head(b"HTTP/1.1 101 Switching\r\nUpgrade:websocket\r\nX-A: b:c \r\n\r\n\x81\x00").unwrap();
    assert_eq!(rest, b"\x81\x00");
    let response = parse_head(head).unwrap();
    assert_eq!(response.status, 101);
    assert_eq!(response.headers["upgrade"], "websocket");
    assert_eq!(response.headers["x-a"], "b:c");
    for broken in ["", "HTTP/1.1", "HTTP/1.1 abc", "nonsense"] {
        assert_eq!(parse_head(broken.as_bytes()), None, "{broken}");
    }
}
