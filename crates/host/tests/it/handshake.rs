//! From the first byte to the welcome, and all the ways in which it does not come to that.

use crate::{
    client::{Item, close},
    duplex::Behaviour,
    world::{World, options},
};
use noex_host::{Options, core::Code};
use std::time::Duration;

const HANDSHAKE: Duration = Duration::from_secs(10);
const CLOSE: Duration = Duration::from_secs(2);

fn chopped(seed: u64) -> Behaviour {
    Behaviour { chop: Some(seed), ..Behaviour::default() }
}

/// The status line of the only thing received, followed by the end of the stream.
fn refusal(items: &[Item]) -> &str {
    match items {
        [Item::Http(text), Item::End] => text.lines().next().unwrap_or_default(),
        other => panic!("not a refusal: {other:?}"),
    }
}

#[test]
fn frames_behind_the_request_are_answered_after_the_welcome() {
    for seed in 0..200 {
        let mut world = World::new(options());
        let mut client = world.open(&chopped(seed), 1);
        client.upgrade_and_say(&[r#"{"id":1,"type":"nope"}"#, r#"{"id":2,"type":"store.buckets"}"#]);
        world.run();
        client.receive();
        assert!(client.is_welcomed());
        let answers = client.received_texts();
        assert_eq!(answers.len(), 2, "{answers:?}");
        assert!(answers[0].contains(Code::UnknownOperation.as_str()), "{answers:?}");
        assert!(answers[1].starts_with(r#"{"id":2,"type":"result""#), "{answers:?}");
    }
}

#[test]
fn a_slow_request_is_answered_408_at_the_deadline() {
    let mut world = World::new(options());
    let mut client = world.open(&Behaviour::default(), 1);
    for byte in b"GET / HTT" {
        client.end.send(&[*byte]);
        world.advance(Duration::from_secs(1));
        assert_eq!(client.received(), []);
    }
    let task = client.task;
    world.advance_checking(Duration::from_secs(1), |world| assert!(!world.is_done(task)));
    assert_eq!(refusal(&client.received()), "HTTP/1.1 408 Request Timeout");
    // The peer does not close: it is dropped.
    world.advance_checking(CLOSE, |world| assert!(!world.is_done(task)));
    assert!(world.is_done(task));
}

#[test]
fn refused_requests_are_answered_and_the_stream_is_closed() {
    let upgrade = "Host: x\r\nUpgrade: websocket\r\n";
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "HTTP/1.1 426 Upgrade Required"),
        (format!("GET /other HTTP/1.1\r\n{upgrade}\r\n"), "HTTP/1.1 404 Not Found"),
        (format!("GET // HTTP/1.1\r\n{upgrade}\r\n"), "HTTP/1.1 400 Bad Request"),
        ("\0\0\0\0 nonsense".to_owned(), "HTTP/1.1 400 Bad Request"),
        (
            format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(20_000)),
            "HTTP/1.1 431 Request Header Fields Too Large",
        ),
    ] {
        let mut world = World::new(options());
        let mut client = world.open(&chopped(7), 1);
        client.end.send(request.as_bytes());
        world.run();
        assert_eq!(refusal(&client.received()), status);
        assert!(!world.is_done(client.task), "the peer is given time to see the answer");
        client.end.end();
        world.run();
        assert!(world.is_done(client.task));
    }
}

#[test]
fn a_peer_that_leaves_during_the_handshake_leaves_nothing() {
    let mut world = World::new(options());
    for sent in ["", "GET / HTTP/1.1\r\n"] {
        let client = world.open(&Behaviour::default(), 1);
        client.end.send(sent.as_bytes());
        world.run();
        client.end.end();
        world.run();
        assert!(world.is_done(client.task));
    }
    world.assert_nothing_left();
}

#[test]
fn an_answer_that_nobody_takes_is_given_up_at_the_deadline() {
    let mut world = World::new(Options { connections_max: 1, ..options() });
    let stuck = world.open(&Behaviour { capacity: 10, chop: None }, 1);
    stuck.upgrade();
    let task = stuck.task;
    world.advance_checking(HANDSHAKE, |world| assert!(!world.is_done(task)));
    assert!(world.is_done(task));
    // Its place is free.
    let _client = world.connect();
}

#[test]
fn places_are_limited_and_come_back() {
    let mut world = World::new(Options { connections_max: 2, ..options() });
    let first = world.connect();
    let second = world.connect();
    let mut third = world.open(&Behaviour::default(), 1);
    third.upgrade();
    world.run();
    let items = third.received();
    assert_eq!(refusal(&items), "HTTP/1.1 503 Service Unavailable");
    assert!(matches!(&items[0], Item::Http(text) if text.contains("Retry-After: 1\r\n")));
    drop(first);
    world.run();
    let fourth = world.connect();
    // A place comes back too if a task is dropped.
    world.cancel(fourth.task);
    let fifth = world.connect();
    drop((second, fifth, third));
    world.assert_nothing_left();
}

#[test]
fn connections_of_one_address_are_limited_and_come_back() {
    let mut world = World::new(Options { connections_per_address_max: Some(1), ..options() });
    let first = world.connect();
    let mut second = world.open(&Behaviour::default(), 1);
    second.upgrade();
    world.run();
    let items = second.received();
    assert_eq!(items[1..], [close(4003, "too_many_connections")]);
    second.text(r#"{"id":1,"type":"store.buckets"}"#);
    second.close(4003);
    world.run();
    assert_eq!(second.received(), [Item::End]);
    // Another address is not concerned.
    let mut other = world.open(&Behaviour::default(), 2);
    other.upgrade();
    world.run();
    other.receive();
    assert!(other.is_welcomed());
    drop((first, second));
    world.run();
    let _again = world.connect();
}
