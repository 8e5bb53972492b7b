//! Pipelining: what may overlap, what may not, and in which order the answers leave.

use crate::{first, insert, login, subscribe, welcomed, whoami, with_tokens};
use noex_core::{CloseReason, Config, TokenMode};
use noex_testkit::{Inbound, Pair, error, ms, request, result, secs, subscribed};

const READER: &str = r#"{"userId":"reader","roles":["reader"],"expiresAt":null}"#;

#[test]
fn replies_wait_for_their_turn() {
    let mut pair = welcomed(Config::default()).holding_answers();
    pair.send(first(1, 1));
    pair.send(first(2, 2));
    pair.send(request(3, "nope", ""));
    pair.send(first(4, 4));
    assert_eq!(pair.unanswered(), 3, "they overlap");
    pair.answer(2);
    pair.answer(1);
    assert_eq!(pair.received(), [""; 0]);
    pair.answer(0);
    assert_eq!(
        pair.received(),
        [
            result(1, "\"x\""),
            result(2, "\"xx\""),
            error(3, "UNKNOWN_OPERATION", "Unknown operation \"nope\""),
            result(4, "\"xxxx\""),
        ]
    );
}

fn awaiting_login() -> Pair {
    let mut pair = welcomed(with_tokens(TokenMode::default())).holding_answers();
    pair.send(login(1, "reader"));
    pair
}

#[test]
fn requests_behind_a_login_are_judged_by_its_outcome() {
    let mut pair = awaiting_login();
    pair.send(whoami(2));
    pair.send(subscribe(3, "qa"));
    pair.send("not JSON");
    pair.send(insert(4, "a"));
    assert_eq!((pair.received().len(), pair.executed().len()), (0, 1));
    pair.answer_all();
    assert_eq!(
        pair.received(),
        [
            result(1, READER),
            result(2, r#"{"authenticated":true,"userId":"reader","roles":["reader"],"expiresAt":null}"#),
            subscribed(3, 1, r#"{"n":0}"#),
            error(0, "PARSE_ERROR", "Invalid JSON"),
            error(4, "FORBIDDEN", "Role level insufficient for store.insert (requires write)"),
        ]
    );

    let mut pair = welcomed(with_tokens(TokenMode::default())).holding_answers();
    pair.send(login(1, "nobody"));
    pair.send(insert(2, "a"));
    pair.send(login(3, "reader"));
    pair.send(first(4, 1));
    pair.answer_all();
    assert_eq!(
        pair.received(),
        [
            error(1, "UNAUTHORIZED", "Invalid token"),
            error(2, "UNAUTHORIZED", "Authentication required"),
            result(3, READER),
            result(4, "\"x\""),
        ]
    );
}

#[test]
fn a_login_does_not_wait_for_earlier_requests_but_its_reply_does() {
    let mut pair = welcomed(with_tokens(crate::optional())).holding_answers();
    pair.send(first(1, 1));
    pair.send(login(2, "reader"));
    pair.send(insert(3, "a"));
    assert_eq!(pair.unanswered(), 2);
    pair.answer(1);
    assert_eq!(pair.received(), [""; 0]);
    pair.answer(0);
    assert_eq!(
        pair.received(),
        [
            result(1, "\"x\""),
            result(2, READER),
            error(3, "FORBIDDEN", "Role level insufficient for store.insert (requires write)"),
        ]
    );
}

#[test]
fn a_definition_is_a_barrier_for_later_checks() {
    let mut pair = welcomed(Config::default()).holding_answers();
    pair.send(request(1, "store.defineQuery", r#""name":"q","config":{"bucket":"a"}"#));
    pair.send(subscribe(2, "qa"));
    assert_eq!(pair.executed().len(), 1);
    pair.answer(0);
    assert_eq!(pair.executed(), ["Subscribe sub-1"]);
}

#[test]
fn pongs_are_heard_behind_a_login() {
    let mut pair = Pair::new(with_tokens(TokenMode::default())).holding_answers();
    pair.send(login(1, "reader"));
    pair.advance(secs(30));
    pair.send(r#"{"type":"pong","timestamp":1}"#);
    pair.advance(secs(29));
    assert_eq!(pair.closed(), None);
    pair.answer(0);
    assert_eq!(pair.received().pop(), Some(result(1, READER)));
}

#[test]
fn what_waits_behind_a_login_is_bounded() {
    let config = Config { requests_in_flight_max: 3, ..with_tokens(TokenMode::default()) };
    let mut pair = welcomed(config.clone()).holding_answers();
    pair.send(login(1, "reader"));
    for id in 2..=9 {
        pair.send(first(id, 1));
    }
    assert_eq!((pair.connection().in_flight(), pair.unread()), (3, 6));
    pair.set_delays(&[]);
    pair.answer(0);
    assert_eq!((pair.received().len(), pair.unread()), (9, 0));

    // A caller that reads on regardless is stopped.
    let mut pair = welcomed(config).holding_answers();
    pair.send(login(1, "reader"));
    for id in 2..=6 {
        pair.send_unasked(&Inbound::Text(first(id, 1)));
    }
    assert_eq!(pair.received(), [""; 0]);
    pair.send_unasked(&Inbound::Text(first(7, 1)));
    assert_eq!(pair.received(), ["close 1008 too_many_refused_requests"]);
    pair.advance(secs(2));
    assert_eq!(pair.closed(), Some(CloseReason::TooManyRefusals));
}

#[test]
fn logging_out_takes_effect_for_the_next_request() {
    let mut pair = welcomed(with_tokens(TokenMode::default()));
    pair.send(login(1, "reader"));
    pair.received();
    pair.set_delays(&[Some(ms(10))]);
    pair.send(first(2, 1));
    pair.send(request(3, "auth.logout", ""));
    pair.send(first(4, 1));
    pair.advance(ms(10));
    assert_eq!(
        pair.received(),
        [
            result(2, "\"x\""),
            result(3, r#"{"loggedOut":true}"#),
            error(4, "UNAUTHORIZED", "Authentication required"),
        ]
    );
}
