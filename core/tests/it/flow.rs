//! Flow control towards a client that reads slowly.

use crate::{first, insert, subscribe, welcomed};
use noex_core::{Backpressure, CloseReason, Config, Delivery};
use noex_testkit::{Pair, error, ms, push, request, result, secs, subscribed, system};

/// Reading pauses at 2000 bytes, pushes at 1000; they resume below 500.
fn small() -> Backpressure {
    Backpressure {
        buffered_bytes_max: 2_000,
        push_threshold_bytes: 1_000,
        events_max: 3,
        ..Backpressure::default()
    }
}

fn with_flow(backpressure: Backpressure) -> Pair {
    welcomed(Config { rules: true, backpressure, ..Config::default() })
}

fn text(n: usize) -> String {
    format!("\"{}\"", "x".repeat(n))
}

#[test]
fn results_are_conflated_while_much_is_queued() {
    let mut pair = with_flow(small());
    pair.send(subscribe(1, "qa"));
    pair.send(subscribe(2, "qb"));
    pair.received();
    pair.stall();
    pair.send(first(3, 1_200));
    for n in ["1", "2", "3"] {
        assert_eq!(pair.publish("qa", Some(n)), [Delivery::Deferred]);
    }
    // Back to what the client knows: nothing to send.
    pair.publish("qb", Some("1"));
    pair.publish("qb", Some(r#"{"n":0}"#));
    // 1238 bytes are queued: not yet below half the threshold.
    assert_eq!(pair.connection().queued_bytes(), 1_238);
    pair.take(738);
    assert_eq!(pair.connection().queued_bytes(), 500);
    assert_eq!(
        pair.publish("qa", Some("4")),
        [Delivery::Deferred],
        "half the threshold is the mark to resume at"
    );
    pair.take(1);
    assert_eq!(pair.publish("qa", Some("5")), [Delivery::Queued]);
    pair.flow();
    assert_eq!(pair.received(), [result(3, &text(1_200)), push(1, "4"), push(1, "5")]);
}

#[test]
fn a_subscriber_that_begins_while_much_is_queued_gets_the_result_and_later_the_rest() {
    let mut pair = with_flow(small());
    pair.stall();
    pair.send(first(1, 1_200));
    pair.send(subscribe(2, "qa"));
    pair.publish("qa", Some("1"));
    pair.flow();
    assert_eq!(pair.received(), [result(1, &text(1_200)), subscribed(2, 1, r#"{"n":0}"#), push(1, "1")]);
}

#[test]
fn events_are_kept_up_to_a_limit_and_the_loss_is_told() {
    let mut pair = with_flow(small());
    pair.send(request(1, "rules.subscribe", r#""pattern":"*""#));
    pair.received();
    pair.stall();
    pair.send(first(2, 1_200));
    pair.received();
    for topic in ["t1", "t2", "t3", "t4", "t5"] {
        assert_eq!(pair.emit(topic), [Delivery::Deferred]);
    }
    pair.flow();
    pair.emit("t6");
    let received = pair.received();
    let topics: Vec<&str> = received[1..]
        .iter()
        .map(|text| text.split(r#"topic":""#).nth(1).map_or("-", |rest| &rest[..2]))
        .collect();
    assert_eq!(topics, ["t3", "t4", "t5", "-", "t6"]);
    assert_eq!(received[4], system("events_dropped", r#""subscriptionId":"sub-1","count":2"#));
}

#[test]
fn reading_pauses_at_the_maximum_and_resumes_below_it() {
    let mut pair = with_flow(small());
    pair.stall();
    pair.send(first(1, 1_900));
    assert!(pair.connection().wants_read());
    pair.send(first(2, 1_000));
    assert!(!pair.connection().wants_read());
    pair.send(insert(3, "a"));
    pair.executed();
    assert_eq!((pair.unread(), pair.connection().in_flight()), (1, 0));
    pair.take(1_500);
    assert_eq!(pair.unread(), 0, "read and executed");
    pair.flow();
    assert_eq!(pair.received(), [result(1, &text(1_900)), result(2, &text(1_000)), result(3, "true")]);
}

#[test]
fn requests_are_rejected_instead_if_so_configured() {
    let mut pair = with_flow(Backpressure { reject_requests: true, ..small() });
    pair.stall();
    pair.send(first(1, 1_990));
    pair.executed();
    pair.send(insert(2, "a"));
    pair.send(r#"{"type":"pong","timestamp":1}"#);
    pair.send("x");
    assert_eq!((pair.unread(), pair.executed().len()), (0, 0));
    pair.flow();
    assert_eq!(
        pair.received()[1..],
        [error(2, "BACKPRESSURE", "Write buffer full, slow down"), error(0, "PARSE_ERROR", "Invalid JSON"),]
    );
    assert_eq!(pair.ask(insert(3, "a")), result(3, "true"));
}

#[test]
fn a_client_that_takes_nothing_is_dropped() {
    let mut pair = with_flow(small());
    pair.stall();
    pair.send(first(1, 3_000));
    pair.advance(secs(20));
    pair.take(10);
    pair.advance(ms(29_999));
    assert_eq!(pair.closed(), None, "a few bytes begin the time anew");
    pair.advance(ms(1));
    assert_eq!(pair.closed(), Some(CloseReason::SlowConsumer), "without waiting for the close frame");
    pair.flow();
    assert_eq!(pair.received().pop(), Some("close 1013 slow_consumer".to_owned()));
}

#[test]
fn below_the_maximum_nobody_is_dropped_for_slowness() {
    let mut pair = with_flow(small());
    pair.stall();
    pair.send(first(1, 1_500));
    pair.advance(secs(29));
    assert_eq!(pair.closed(), None);
    pair.flow();
    pair.advance(secs(60));
    assert_eq!(pair.closed(), None);
}

#[test]
fn replies_that_wait_for_the_host_are_not_held_against_the_client() {
    let mut pair = with_flow(small());
    pair.set_delays(&[Some(secs(50)), Some(ms(0))]);
    pair.send(request(1, "store.stats", ""));
    pair.send(first(2, 5_000));
    assert!(!pair.connection().wants_read(), "their bytes count, though");
    pair.advance(secs(50));
    assert_eq!(pair.received(), [result(1, "null"), result(2, &text(5_000))]);
    assert_eq!(pair.closed(), None);
}

#[test]
fn requests_in_flight_are_limited() {
    let mut pair = welcomed(Config { requests_in_flight_max: 2, ..Config::default() }).holding_answers();
    for id in 1..=4 {
        pair.send(request(id, "store.stats", ""));
    }
    assert_eq!((pair.unread(), pair.unanswered(), pair.connection().in_flight()), (2, 2, 2));
    pair.answer(1);
    assert_eq!(pair.unread(), 2, "a reply that waits holds its place");
    pair.answer(0);
    assert_eq!((pair.unread(), pair.unanswered()), (0, 2));
    // A caller that reads on regardless is told.
    pair.send_unasked(&noex_testkit::Inbound::Text(request(5, "store.stats", "")));
    pair.answer_all();
    assert_eq!(
        pair.received().pop(),
        Some(error(5, "BACKPRESSURE", "Too many requests in flight, slow down"))
    );
}

#[test]
fn limits_of_zero_do_not_deafen() {
    let backpressure = Backpressure { buffered_bytes_max: 0, push_threshold_bytes: 0, ..small() };
    let mut pair = welcomed(Config { requests_in_flight_max: 0, backpressure, ..Config::default() });
    assert_eq!(pair.ask(subscribe(1, "qa")), subscribed(1, 1, r#"{"n":0}"#));
    pair.publish("qa", Some("1"));
    assert_eq!(pair.received(), [push(1, "1")]);
}
