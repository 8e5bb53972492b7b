//! Liveness: pings, pongs, and who is given up.

use crate::{first, welcomed};
use noex_core::{Backpressure, CloseReason, Config, HeartbeatConfig, HeartbeatMode};
use noex_testkit::{EPOCH_MS, Pair, ms, request, secs};

fn ping(after_ms: u64) -> String {
    format!(r#"{{"type":"ping","timestamp":{}}}"#, EPOCH_MS + after_ms)
}

fn silent(mode: HeartbeatMode) -> Pair {
    let heartbeat = HeartbeatConfig { mode, ..HeartbeatConfig::default() };
    let mut pair = Pair::new(Config { heartbeat, ..Config::default() });
    pair.received();
    pair
}

#[test]
fn a_silent_client_is_closed_after_interval_and_timeout() {
    let mut pair = silent(HeartbeatMode::Deadline);
    pair.advance(ms(29_999));
    assert_eq!(pair.received(), [""; 0]);
    pair.advance(ms(10_000));
    assert_eq!(pair.received(), [ping(30_000)]);
    pair.advance(ms(1));
    assert_eq!(pair.received(), ["close 4001 heartbeat_timeout"]);
    // The peer does not answer the close frame either.
    pair.advance(ms(1_999));
    assert_eq!(pair.closed(), None);
    pair.advance(ms(1));
    assert_eq!(pair.closed(), Some(CloseReason::HeartbeatTimeout));
}

#[test]
fn in_tick_mode_it_is_closed_at_the_next_tick() {
    let mut pair = silent(HeartbeatMode::Tick);
    pair.advance(ms(59_999));
    assert_eq!(pair.received(), [ping(30_000)]);
    pair.advance(ms(1));
    assert_eq!(pair.received(), ["close 4001 heartbeat_timeout"]);
}

#[test]
fn any_valid_pong_answers_whatever_its_time_stamp() {
    for mode in [HeartbeatMode::Deadline, HeartbeatMode::Tick] {
        let mut pair = silent(mode);
        for timestamp in ["0", "-1.5", "9e300", "1", "1"] {
            pair.advance(secs(30));
            assert_eq!(pair.received().len(), 1, "a ping each interval");
            pair.advance(secs(5));
            pair.send(format!(r#"{{"type":"pong","timestamp":{timestamp},"id":7}}"#));
            pair.advance(secs(25));
            assert_eq!(pair.received().len(), 1);
            pair.send(r#"{"type":"pong","timestamp":1}"#);
        }
        assert_eq!(pair.closed(), None);
    }
}

#[test]
fn pongs_nobody_asked_for_and_other_traffic_do_not_count() {
    let mut pair = silent(HeartbeatMode::Deadline);
    pair.send(r#"{"type":"pong","timestamp":9e300}"#);
    pair.advance(secs(35));
    pair.send(request(1, "server.health", ""));
    pair.send(r#"{"type":"pong"}"#);
    pair.received();
    pair.advance(secs(5));
    assert_eq!(pair.received(), ["close 4001 heartbeat_timeout"]);
}

#[test]
fn the_timeout_counts_from_the_write_of_the_ping() {
    let mut pair = silent(HeartbeatMode::Deadline);
    pair.stall();
    pair.advance(secs(38));
    pair.flow();
    assert_eq!(pair.received(), [ping(30_000)]);
    pair.advance(ms(9_999));
    assert_eq!(pair.received(), [""; 0]);
    pair.advance(ms(1));
    assert_eq!(pair.received(), ["close 4001 heartbeat_timeout"]);
}

#[test]
fn a_client_that_does_not_even_take_the_ping_is_noticed() {
    let mut pair = silent(HeartbeatMode::Deadline);
    pair.stall();
    pair.advance(secs(69));
    assert!(pair.connection().wants_read());
    pair.advance(secs(3));
    assert_eq!(pair.closed(), Some(CloseReason::HeartbeatTimeout));
}

#[test]
fn time_in_which_the_server_does_not_read_does_not_count() {
    let backpressure = Backpressure { buffered_bytes_max: 1_000, ..Backpressure::default() };
    let mut pair = Pair::new(Config { backpressure, ..Config::default() });
    pair.advance(secs(31));
    pair.stall();
    // One second of the timeout has passed when reading pauses, for 8.9 seconds.
    pair.send(first(1, 2_000));
    assert!(!pair.connection().wants_read());
    pair.advance(ms(8_900));
    pair.flow();
    pair.received();
    pair.advance(ms(8_999));
    assert_eq!(pair.received(), [""; 0]);
    pair.advance(ms(1));
    assert_eq!(pair.received(), ["close 4001 heartbeat_timeout"], "the whole timeout, without the pause");
}

#[test]
fn a_client_held_up_by_a_slow_host_is_not_given_up() {
    let config = Config { requests_in_flight_max: 1, ..Config::default() };
    let mut pair = welcomed(config).answering_after(&[Some(secs(300))]);
    pair.send(request(1, "store.stats", ""));
    pair.advance(secs(299));
    assert_eq!(pair.received(), [""; 0], "its pongs are waiting to be read");
    pair.advance(secs(100));
    assert_eq!(pair.received().len(), 1);
    assert_eq!(pair.closed(), None);
}

#[test]
fn early_and_repeated_timeouts_change_nothing() {
    let mut pair = silent(HeartbeatMode::Deadline);
    for _ in 0..3 {
        pair.timeout();
    }
    assert_eq!(pair.next_deadline(), Some(secs(30)));
    pair.advance(secs(30));
    pair.timeout();
    assert_eq!(pair.received(), [ping(30_000)]);
}
