//! Peers that break the rules or lean on them: floods, violations, garbage.

use crate::{
    client::{Client, Item, close, frame},
    duplex::Behaviour,
    world::{World, options},
};
use futures::{AsyncRead, AsyncWrite, task::noop_waker_ref};
use noex_host::{
    Options,
    core::{Backpressure, Config},
    serve,
};
use proptest::prelude::*;
use std::{
    cell::Cell,
    future::Future,
    io,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

#[test]
fn a_flood_of_pings_pauses_reading_and_loses_no_pong() {
    let flow =
        Backpressure { buffered_bytes_max: 10_000, push_threshold_bytes: 8_000, ..Backpressure::default() };
    let connection = Config { backpressure: flow, ..Config::default() };
    let mut world = World::new(Options { connection, ..options() });
    let mut client = world.connect_with(&Behaviour { capacity: 1_000, chop: None });
    let count = 2_000;
    for n in 0..count {
        client.end.send(&frame(0x89, &[u8::try_from(n % 251).unwrap_or(0); 100]));
    }
    world.run();
    // 106 bytes come in per ping, 102 go out per pong; 4 KiB may lie in the read buffer.
    let read = count * 106 - client.end.unread();
    assert!(read < 11_000 + 5_000, "{read} bytes were read without an end");
    while client.receive_at_most(usize::MAX) > 0 {
        world.run();
    }
    let pongs = client.received();
    assert_eq!(pongs.len(), count);
    for (n, pong) in pongs.iter().enumerate() {
        assert_eq!(*pong, Item::Pong(vec![u8::try_from(n % 251).unwrap_or(0); 100]));
    }
}

#[test]
fn violations_are_closed_with_their_code() {
    let over = "x".repeat(1_001);
    let cases: [(Vec<u8>, u16, &str); 8] = [
        (frame(0x81, over.as_bytes()), 1009, ""),
        ([frame(0x01, &over.as_bytes()[..600]), frame(0x80, &over.as_bytes()[..401])].concat(), 1009, ""),
        (frame(0x82, b"\0"), 1003, "binary_not_supported"),
        (frame(0x81, b"\xff\xfe"), 1007, ""),
        (frame(0x83, b"reserved opcode"), 1002, ""),
        (frame(0xC1, b"reserved bit"), 1002, ""),
        (vec![0x81, 0x02, b'{', b'}'], 1002, ""),
        (frame(0x88, &1006_u16.to_be_bytes()), 1002, ""),
    ];
    for (bytes, code, reason) in cases {
        let mut world = World::new(Options { payload_bytes_max: 1_000, ..options() });
        let mut client = world.connect();
        client.text(r#"{"id":1,"type":"store.subscribe","query":"all"}"#);
        client.end.send(&bytes);
        // Not executed any more.
        client.text(r#"{"id":2,"type":"store.insert","bucket":"items","data":{"id":"x"}}"#);
        world.run();
        let items = client.received();
        assert_eq!(items.get(1), Some(&close(code, reason)), "{items:?}");
        assert!(items[2..].iter().all(|item| *item == Item::End), "{items:?}");
        assert_eq!(world.hub.route_count(), 0);
        assert_eq!(world.with_store(|store, _| store.stats().buckets[0].records), 0);
        client.close(code);
        client.end.end();
        world.run();
        assert!(world.is_done(client.task));
        world.assert_nothing_left();
    }
}

#[test]
fn a_message_of_exactly_the_limit_is_taken() {
    let mut world = World::new(Options { payload_bytes_max: 1_000, ..options() });
    let mut client = world.connect();
    let padded = format!("{:1000}", r#"{"id":1,"type":"store.buckets"}"#);
    assert_eq!(world.ask(&mut client, &padded).len(), 1);
    let (head, tail) = padded.split_at(500);
    client.end.send(&[frame(0x01, head.as_bytes()), frame(0x80, tail.as_bytes())].concat());
    assert_eq!(world.exchange(&mut client).len(), 1);
}

/// The limit is for messages.
#[test]
fn a_control_frame_may_be_longer_than_a_message() {
    let mut world = World::new(Options { payload_bytes_max: 64, ..options() });
    let mut client = world.connect();
    for body in [vec![b'x'; 64], vec![b'x'; 65], vec![b'x'; 125]] {
        client.end.send(&[frame(0x8A, &body), frame(0x89, &body)].concat());
        world.run();
        assert_eq!(client.received(), [Item::Pong(body)]);
    }
    client.text(&format!("{:65}", r#"{"id":1,"type":"store.buckets"}"#));
    world.run();
    assert_eq!(client.received().first(), Some(&close(1009, "")));
}

/// A stream that always has more to read and takes everything.
struct Torrent {
    head: Vec<u8>,
    pattern: Vec<u8>,
    read: Rc<Cell<usize>>,
}

impl AsyncRead for Torrent {
    fn poll_read(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if !self.head.is_empty() {
            let count = self.head.len().min(buf.len());
            buf[..count].copy_from_slice(&self.head[..count]);
            self.head.drain(..count);
            return Poll::Ready(Ok(count));
        }
        let start = self.read.get();
        for (at, byte) in buf.iter_mut().enumerate() {
            *byte = self.pattern[(start + at) % self.pattern.len()];
        }
        self.read.set(start + buf.len());
        assert!(self.read.get() < 100 << 20, "one poll reads for ever");
        Poll::Ready(Ok(buf.len()))
    }
}

impl AsyncWrite for Torrent {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Polls a connection on a torrent and gives the most bytes that one poll has read.
fn greatest_bite(head: &[u8], pattern: Vec<u8>) -> usize {
    let world = World::new(options());
    let read = Rc::new(Cell::new(0));
    let torrent = Torrent { head: head.to_vec(), pattern, read: Rc::clone(&read) };
    let mut serving = pin!(serve(Arc::clone(&world.hub), torrent, None, world.timer()));
    let mut greatest = 0;
    for _ in 0..20 {
        let before = read.get();
        let _ = serving.as_mut().poll(&mut Context::from_waker(noop_waker_ref()));
        greatest = greatest.max(read.get() - before);
    }
    greatest
}

#[test]
fn no_torrent_of_bytes_holds_the_thread() {
    let upgrade = b"GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let one_fragment = [&upgrade[..], &frame(0x01, b"")].concat();
    let closed = [&upgrade[..], &frame(0x82, b"")].concat();
    let bound = 4 << 20;
    for (what, head, pattern) in [
        ("empty fragments", &one_fragment[..], frame(0x00, b"")),
        ("messages", &upgrade[..], frame(0x81, br#"{"id":1,"type":"nope"}"#)),
        ("pings", &upgrade[..], frame(0x89, b"")),
        ("after a violation", &closed[..], vec![0xFF]),
        ("after a refused request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", vec![b'x']),
        ("an endless head", b"GET / HTTP/1.1\r\nX: ", vec![b'x']),
    ] {
        let bite = greatest_bite(head, pattern);
        assert!(bite < bound, "{what}: {bite} bytes in one poll");
    }
}

/// Plays bytes to a connection, ends it, and checks that all is cleaned up.
fn play(chop: u64, pieces: &[Vec<u8>], ending: u8) {
    let mut world = World::new(options());
    let mut client: Client = world.connect_with(&Behaviour { chop: Some(chop), ..Behaviour::default() });
    world.ask(&mut client, r#"{"id":1,"type":"store.subscribe","query":"all"}"#);
    for piece in pieces {
        client.end.send(piece);
        world.run();
        client.receive();
    }
    match ending {
        0 => client.end.end(),
        1 => drop(client),
        2 => world.cancel(client.task),
        _ => {
            let stop = world.stop(std::time::Duration::ZERO);
            world.advance(std::time::Duration::from_secs(7));
            assert!(world.is_done(stop));
        }
    }
    world.run();
    world.assert_nothing_left();
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let request = prop_oneof![
        Just(r#"{"id":1,"type":"store.subscribe","query":"count-items"}"#),
        Just(r#"{"id":2,"type":"store.unsubscribe","subscriptionId":"sub-1"}"#),
        Just(r#"{"id":3,"type":"store.insert","bucket":"items","data":{"id":"a","n":1}}"#),
        Just(r#"{"id":4,"type":"store.clear","bucket":"items"}"#),
        Just(r#"{"id":5,"type":"store.dropBucket","name":"items"}"#),
        Just(r#"{"id":6,"type":"store.undefineQuery","name":"all"}"#),
        Just(r#"{"type":"pong","timestamp":1}"#),
        Just("{"),
    ];
    prop_oneof![
        6 => request.prop_map(|text| frame(0x81, text.as_bytes())),
        2 => (any::<u8>(), prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(first, body)| frame(first, &body)),
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => (1000_u16..5000).prop_map(|code| frame(0x88, &code.to_be_bytes())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is sent, in whatever pieces, and however it ends: nothing panics and nothing is left.
    #[test]
    fn nothing_is_left_of_any_connection(
        chop in any::<u64>(),
        pieces in prop::collection::vec(piece(), 0..12),
        ending in 0_u8..4,
    ) {
        play(chop, &pieces, ending);
    }
}
