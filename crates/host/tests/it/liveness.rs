//! Timers: heartbeat, expiry of records, stalls, the end of the closing handshake.

use crate::{
    client::{Item, close},
    duplex::Behaviour,
    world::{EPOCH_MS, World, options},
};
use noex_host::{
    Options,
    core::{Backpressure, Config},
};
use std::time::Duration;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn ping(at_ms: u64) -> String {
    format!(r#"{{"type":"ping","timestamp":{}}}"#, EPOCH_MS + at_ms)
}

#[test]
fn a_silent_peer_is_pinged_and_closed() {
    let mut world = World::new(options());
    let mut client = world.connect();
    world.advance_checking(seconds(30), |_| assert_eq!(client.received(), []));
    assert_eq!(world.exchange(&mut client), [ping(30_000)]);
    // Other traffic is no life sign.
    world.ask(&mut client, r#"{"id":1,"type":"store.buckets"}"#);
    world.advance_checking(seconds(10), |_| assert_eq!(client.received(), []));
    assert_eq!(client.received(), [close(4001, "heartbeat_timeout")]);
    let task = client.task;
    world.advance_checking(seconds(2), |world| assert!(!world.is_done(task)));
    assert!(world.is_done(task), "a peer that ignores the close frame is dropped after the close timeout");
    assert_eq!(client.received(), [Item::End]);
    world.assert_nothing_left();
}

#[test]
fn a_peer_that_answers_pings_stays() {
    let mut world = World::new(options());
    let mut client = world.connect();
    for beat in 1..=20 {
        world.advance(seconds(30));
        assert_eq!(world.exchange(&mut client), [ping(beat * 30_000)]);
        client.text(r#"{"type":"pong","timestamp":0}"#);
    }
    assert_eq!(world.hub.connection_count(), 1);
}

#[test]
fn an_idle_connection_sleeps() {
    let mut world = World::new(options());
    let mut client = world.connect();
    // Nothing is due: only the clock wakes anybody.
    world.advance(seconds(29));
    assert_eq!(client.received(), []);
    assert_eq!(world.hub.connection_count(), 1);
}

#[test]
fn a_record_expires_at_its_deadline_and_subscribers_learn_of_it() {
    let mut world = World::new(options());
    let expiry = world.start_expiry();
    let mut reader = world.connect();
    let mut writer = world.connect();
    world.ask(&mut reader, r#"{"id":1,"type":"store.subscribe","query":"count-brief"}"#);
    let brief =
        |id: &str| format!(r#"{{"id":1,"type":"store.insert","bucket":"brief","data":{{"id":"{id}"}}}}"#);
    let pushed = |count| {
        format!(r#"{{"type":"push","channel":"subscription","subscriptionId":"sub-1","data":{count}}}"#)
    };
    world.ask(&mut writer, &brief("a"));
    world.advance(seconds(10));
    world.ask(&mut writer, &brief("b"));
    assert_eq!(world.exchange(&mut reader), [pushed(1), pushed(2)]);
    // Heartbeats run meanwhile.
    world.advance(seconds(25));
    for client in [&mut reader, &mut writer] {
        assert_eq!(world.exchange(client), [ping(30_000)]);
        client.text(r#"{"type":"pong","timestamp":0}"#);
    }
    world.advance_checking(seconds(25), |_| assert_eq!(reader.received(), []));
    let seen = world.exchange(&mut reader);
    assert!(seen.contains(&pushed(1)), "{seen:?}");
    reader.text(r#"{"type":"pong","timestamp":0}"#);
    writer.text(r#"{"type":"pong","timestamp":0}"#);
    world.advance_checking(seconds(10), |_| assert_eq!(reader.received(), []));
    assert_eq!(world.exchange(&mut reader), [pushed(0)]);
    assert!(!world.is_done(expiry));
}

#[test]
fn a_nearer_deadline_is_not_slept_through() {
    let mut options = options();
    options
        .buckets
        .push(("far".into(), r#"{"key":"id","schema":{"id":{"type":"string"}},"ttl":"1h"}"#.into()));
    let mut world = World::new(options);
    world.start_expiry();
    let mut client = world.connect();
    world.ask(&mut client, r#"{"id":1,"type":"store.insert","bucket":"far","data":{"id":"x"}}"#);
    world.ask(&mut client, r#"{"id":2,"type":"store.insert","bucket":"brief","data":{"id":"x"}}"#);
    world.ask(&mut client, r#"{"id":3,"type":"store.subscribe","query":"count-brief"}"#);
    world.advance(seconds(31));
    client.text(r#"{"type":"pong","timestamp":0}"#);
    world.advance(seconds(29));
    let seen = world.exchange(&mut client);
    assert!(seen.iter().any(|text| text.contains("push")), "{seen:?}");
}

#[test]
fn a_peer_that_takes_nothing_is_dropped_after_the_stall_timeout() {
    let flow =
        Backpressure { buffered_bytes_max: 5_000, push_threshold_bytes: 4_000, ..Backpressure::default() };
    let connection = Config { backpressure: flow, ..Config::default() };
    let mut world = World::new(Options { connection, ..options() });
    let mut client = world.connect_with(&Behaviour { capacity: 300, chop: None });
    for n in 0..1_000 {
        client.text(&format!(r#"{{"id":{n},"type":"store.stats"}}"#));
    }
    world.run();
    let unread = client.end.unread();
    assert!(unread > 10_000, "reading pauses");
    world.advance(seconds(29));
    assert_eq!(client.end.unread(), unread);
    assert!(!world.is_done(client.task));
    world.advance(seconds(1));
    assert!(world.is_done(client.task));
    client.receive();
    world.assert_nothing_left();
}

#[test]
fn a_slow_peer_that_takes_something_is_served_to_the_end() {
    let flow =
        Backpressure { buffered_bytes_max: 5_000, push_threshold_bytes: 4_000, ..Backpressure::default() };
    let connection = Config { backpressure: flow, ..Config::default() };
    let mut world = World::new(Options { connection, ..options() });
    let mut client = world.connect_with(&Behaviour { capacity: 300, chop: None });
    for n in 0..1_000 {
        client.text(&format!(r#"{{"id":{n},"type":"store.buckets"}}"#));
    }
    let answers = world.exchange(&mut client);
    assert_eq!(answers.len(), 1_000);
    for (n, answer) in answers.iter().enumerate() {
        assert!(answer.starts_with(&format!(r#"{{"id":{n},"#)), "{answer}");
    }
    assert_eq!(client.end.unread(), 0);
}
