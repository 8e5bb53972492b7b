//! Subscriptions: when pushes follow, what is suppressed, and how subscriptions end.

use crate::{insert, subscribe, unsubscribe, welcomed};
use noex_core::{
    Config, Connection, Delivery, Effect, EndReason, Instant, Message, Now, Peer, Solitary, SubId, Update,
};
use noex_testkit::{Pair, error, ms, push, request, result, subscribed, system};
use std::sync::Arc;

fn event(subscription: u64, topic: &str) -> String {
    format!(
        r#"{{"type":"push","channel":"event","subscriptionId":"sub-{subscription}","data":{{"topic":"{topic}"}}}}"#
    )
}

fn with_rules() -> Pair {
    welcomed(Config { rules: true, ..Config::default() })
}

fn watch_events(id: u64, pattern: &str) -> String {
    request(id, "rules.subscribe", &format!(r#""pattern":"{pattern}""#))
}

#[test]
fn the_result_carries_the_state_and_the_first_change_the_first_push() {
    let mut pair = welcomed(Config::default());
    assert_eq!(pair.ask(subscribe(1, "qa")), subscribed(1, 1, r#"{"n":0}"#));
    assert_eq!(pair.publish("qa", Some("5")), [Delivery::Queued]);
    assert_eq!(pair.publish("qb", Some("6")), []);
    assert_eq!(pair.received(), [push(1, "5")]);
}

#[test]
fn an_equal_result_is_not_pushed_again() {
    let mut pair = welcomed(Config::default());
    pair.send(subscribe(1, "qa"));
    pair.received();
    assert_eq!(pair.publish("qa", Some(r#"{"n":0}"#)), [Delivery::Unchanged]);
    assert_eq!(pair.publish("qa", Some("1")), [Delivery::Queued]);
    assert_eq!(pair.publish("qa", Some("1")), [Delivery::Unchanged]);
    assert_eq!(pair.publish("qa", Some(r#"{"n":0}"#)), [Delivery::Queued]);
    assert_eq!(pair.received(), [push(1, "1"), push(1, r#"{"n":0}"#)]);
}

#[test]
fn no_value_is_left_out() {
    let mut pair = welcomed(Config::default());
    pair.publish("qa", None);
    assert_eq!(pair.ask(subscribe(1, "qa")), result(1, r#"{"subscriptionId":"sub-1"}"#));
    pair.publish("qa", Some("null"));
    pair.publish("qa", None);
    let absent = r#"{"type":"push","channel":"subscription","subscriptionId":"sub-1"}"#;
    assert_eq!(pair.received(), [push(1, "null"), absent.to_owned()]);
}

#[test]
fn a_large_result_is_pushed_whole() {
    let mut pair = welcomed(Config::default());
    pair.send(subscribe(1, "qa"));
    pair.received();
    let large = format!("\"{}\"", "z".repeat(100_000));
    pair.publish("qa", Some(&large));
    assert_eq!(pair.received(), [push(1, &large)]);
    assert_eq!(pair.ask(subscribe(2, "qa")), subscribed(2, 2, &large));
}

#[test]
fn what_changes_before_the_result_follows_it() {
    let mut pair = welcomed(Config { rules: true, ..Config::default() }).holding_answers();
    pair.send(subscribe(1, "qa"));
    pair.send(watch_events(2, "*"));
    assert_eq!(pair.publish("qa", Some("1")), [Delivery::Deferred]);
    assert_eq!(pair.publish("qa", Some("2")), [Delivery::Deferred]);
    assert_eq!((pair.emit("x"), pair.emit("y")), (vec![Delivery::Deferred], vec![Delivery::Deferred]));
    assert_eq!(pair.received(), [""; 0]);
    pair.answer_all();
    assert_eq!(
        pair.received(),
        [
            subscribed(1, 1, r#"{"n":0}"#),
            push(1, "2"),
            result(2, r#"{"subscriptionId":"sub-2"}"#),
            event(2, "x"),
            event(2, "y"),
        ]
    );
}

#[test]
fn a_result_that_waits_for_its_turn_holds_up_its_pushes() {
    let mut pair = welcomed(Config::default()).holding_answers();
    pair.send(request(1, "store.stats", ""));
    pair.send(subscribe(2, "qa"));
    pair.answer(1);
    pair.publish("qa", Some("1"));
    assert_eq!(pair.received(), [""; 0]);
    pair.answer(0);
    assert_eq!(pair.received(), [result(1, "null"), subscribed(2, 1, r#"{"n":0}"#), push(1, "1")]);
}

#[test]
fn an_inserts_result_precedes_the_push_it_causes() {
    let mut pair = welcomed(Config::default());
    pair.send(subscribe(1, "qa"));
    pair.send(insert(2, "a"));
    assert_eq!(pair.received()[1..], [result(2, "true"), push(1, r#"{"n":1}"#)]);
    // Also where the result waits for an earlier one.
    pair.set_delays(&[Some(ms(50)), Some(ms(10)), Some(ms(20))]);
    pair.send(request(3, "store.stats", ""));
    pair.send(insert(4, "a"));
    pair.send(insert(5, "a"));
    pair.advance(ms(50));
    assert_eq!(
        pair.received(),
        [result(3, "null"), result(4, "true"), result(5, "true"), push(1, r#"{"n":3}"#),]
    );
}

#[test]
fn events_precede_the_result_of_their_emit() {
    let mut pair = with_rules();
    pair.send(watch_events(1, "order.*"));
    pair.received();
    pair.send(request(2, "rules.emit", r#""topic":"order.new""#));
    pair.send(request(3, "rules.emit", r#""topic":"stock.low""#));
    assert_eq!(pair.received(), [event(1, "order.new"), result(2, "true"), result(3, "true")]);
    // Events are never coalesced.
    assert_eq!(
        (pair.emit("order.new"), pair.emit("order.new")),
        (vec![Delivery::Queued], vec![Delivery::Queued])
    );
    assert_eq!(pair.received(), vec![event(1, "order.new"); 2]);
}

#[test]
fn nothing_follows_an_unsubscribe() {
    let mut pair = with_rules();
    pair.send(subscribe(1, "qa"));
    pair.send(watch_events(2, "*"));
    pair.received();
    let wrong_family = request(3, "rules.unsubscribe", r#""subscriptionId":"sub-1""#);
    assert_eq!(pair.ask(wrong_family), error(3, "NOT_FOUND", "Subscription \"sub-1\" not found"));
    assert_eq!(pair.ask(unsubscribe(4, 2)), error(4, "NOT_FOUND", "Subscription \"sub-2\" not found"));
    assert_eq!(pair.ask(unsubscribe(5, 1)), result(5, r#"{"unsubscribed":true}"#));
    assert_eq!(pair.ask(unsubscribe(6, 1)), error(6, "NOT_FOUND", "Subscription \"sub-1\" not found"));
    assert_eq!(pair.publish("qa", Some("1")), []);
    assert_eq!(pair.executed().last().map(String::as_str), Some("Unsubscribe sub-1"));
    assert_eq!(pair.connection().subscription_counts(), (0, 1));
}

#[test]
fn a_subscription_whose_source_goes_is_closed_and_forgiven_one_unsubscribe() {
    for (reason, name) in
        [(EndReason::BucketDropped, "bucket_dropped"), (EndReason::QueryUndefined, "query_undefined")]
    {
        let mut pair = welcomed(Config::default());
        pair.send(subscribe(1, "qa"));
        pair.received();
        pair.end_subscription(1, reason);
        pair.end_subscription(1, reason);
        let fields = format!(r#""subscriptionId":"sub-1","reason":"{name}""#);
        assert_eq!(pair.received(), [system("subscription_closed", &fields)]);
        assert_eq!(pair.world().reserved(), 0);
        assert_eq!(pair.publish("qa", Some("1")), []);
        assert_eq!(pair.ask(unsubscribe(2, 1)), result(2, r#"{"unsubscribed":true}"#));
        assert_eq!(pair.ask(unsubscribe(3, 1)), error(3, "NOT_FOUND", "Subscription \"sub-1\" not found"));
    }
}

#[test]
fn a_source_that_goes_before_the_result_is_told_after_it() {
    let mut pair = welcomed(Config::default()).holding_answers();
    pair.send(subscribe(1, "qa"));
    pair.end_subscription(1, EndReason::QueryUndefined);
    assert_eq!(pair.received(), [""; 0]);
    pair.answer(0);
    assert_eq!(
        pair.received(),
        [
            subscribed(1, 1, r#"{"n":0}"#),
            system("subscription_closed", r#""subscriptionId":"sub-1","reason":"query_undefined""#),
        ]
    );
    assert_eq!(pair.world().reserved(), 0);
}

#[test]
fn a_failed_subscribe_leaves_nothing_behind() {
    let mut pair = welcomed(Config::default());
    let missing = error(1, "QUERY_NOT_DEFINED", "Query \"missing\" is not defined");
    assert_eq!(pair.ask(subscribe(1, "missing")), missing);
    assert_eq!((pair.world().reserved(), pair.connection().subscription_counts()), (0, (0, 0)));
}

/// What a host may do that the fake one does not: versions out of order.
#[test]
fn only_newer_versions_are_pushed() {
    let shared = Solitary::default();
    let now = Now { mono: Instant::from_millis(1), unix_ms: 1 };
    let mut connection = Connection::new(Arc::new(Config::default()), Peer::new("x"), now);
    connection.handle_message(now, &shared, Message::Text(&subscribe(1, "qa")));
    let Some(Effect::Subscribe { token, subscription, .. }) = connection.poll_effect() else {
        panic!("a subscribe leaves as an effect")
    };
    let state = |version, data: &str| Update::whole(version, Some(data.into()));
    // An older push that overtakes the answer.
    assert_eq!(connection.push_result(subscription, state(4, "\"old\"")), Delivery::Deferred);
    connection.reply_subscribe(now, &shared, token, Ok(state(5, "5")));
    assert_eq!(connection.push_result(subscription, state(5, "\"same version\"")), Delivery::Unchanged);
    assert_eq!(connection.push_result(subscription, state(7, "7")), Delivery::Queued);
    assert_eq!(connection.push_result(subscription, state(6, "6")), Delivery::Unchanged);
    assert_eq!(connection.push_result(SubId(99), state(8, "8")), Delivery::Unknown);
    assert_eq!(connection.push_event(subscription, "{}".into()), Delivery::Unknown);
    let texts: Vec<_> =
        std::iter::from_fn(|| connection.poll_frame()).map(|frame| format!("{frame:?}")).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(!texts.iter().any(|text| text.contains("old")), "{texts:?}");
}
