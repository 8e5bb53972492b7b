//! The ends of a connection: by the client, by violations, by a shutdown, by revocation.

use crate::{first, insert, logged_in, login, subscribe, welcomed, with_tokens};
use noex_core::{CloseReason, Config, Connection, Effect, Instant, Message, Now, Peer, Solitary, TokenMode};
use noex_testkit::{Inbound, Pair, World, ms, request, result, secs, subscribed, system};
use std::sync::Arc;

#[test]
fn violations_close_at_once_and_nothing_runs_afterwards() {
    for (message, frame, reason) in [
        (Inbound::Binary, "close 1003 binary_not_supported", CloseReason::BinaryMessage),
        (Inbound::TooLarge, "close 1009", CloseReason::MessageTooLarge),
        (Inbound::InvalidUtf8, "close 1007", CloseReason::InvalidUtf8),
        (Inbound::Malformed, "close 1002", CloseReason::ProtocolError),
    ] {
        let mut pair = welcomed(Config::default());
        pair.send(subscribe(1, "qa"));
        pair.received();
        pair.executed();
        pair.send_any(message);
        pair.send(insert(2, "a"));
        assert_eq!(pair.publish("qa", Some("1")), []);
        assert_eq!(pair.received(), [frame]);
        assert_eq!(pair.executed(), ["Unsubscribe sub-1"]);
        assert_eq!(pair.closed(), None, "the peer's close frame is awaited");
        pair.send_any(Inbound::Close(Some((1000, String::new()))));
        assert_eq!(pair.closed(), Some(reason));
        assert_eq!(pair.received(), [""; 0]);
        pair.end();
    }
}

#[test]
fn requests_before_a_violation_are_finished() {
    let mut pair = welcomed(Config::default()).holding_answers();
    pair.send(first(1, 1));
    pair.send_any(Inbound::Binary);
    pair.send(insert(2, "a"));
    assert_eq!(pair.received(), [""; 0]);
    pair.answer_all();
    assert_eq!(pair.received(), [result(1, "\"x\""), "close 1003 binary_not_supported".to_owned()]);
}

#[test]
fn a_close_frame_is_echoed() {
    for (close, echo, code) in [
        (None, "close", None),
        (Some((1000, "bye".to_owned())), "close 1000 bye", Some(1000)),
        (Some((4999, String::new())), "close 4999", Some(4999)),
    ] {
        let mut pair = welcomed(Config::default());
        pair.send(subscribe(1, "qa"));
        pair.received();
        pair.send_any(Inbound::Close(close));
        assert_eq!(pair.received(), [echo]);
        assert_eq!(pair.closed(), Some(CloseReason::Peer(code)));
        assert_eq!(pair.connection().poll_timeout(), None);
        pair.send_unasked(&Inbound::Text(insert(2, "a")));
        pair.timeout();
        pair.shutdown_notice(secs(1));
        pair.revoke();
        assert_eq!(pair.received(), [""; 0]);
        pair.end();
    }
}

#[test]
fn the_end_of_the_stream_needs_no_answer() {
    let mut pair = welcomed(Config::default()).holding_answers();
    pair.send(first(1, 1));
    pair.send(subscribe(2, "qa"));
    pair.send_any(Inbound::Eof);
    assert_eq!(pair.closed(), Some(CloseReason::TransportLost));
    pair.answer_all();
    assert_eq!(pair.received(), [""; 0]);
    pair.end();
}

#[test]
fn a_silent_peer_does_not_hold_up_the_end() {
    let mut pair = welcomed(Config::default());
    pair.close(CloseReason::ServerShutdown);
    assert_eq!(pair.received(), ["close 1000 server_shutdown"]);
    pair.advance(ms(1_999));
    assert_eq!(pair.closed(), None);
    pair.advance(ms(1));
    assert_eq!(pair.closed(), Some(CloseReason::ServerShutdown));
}

#[test]
fn a_refused_client_gets_a_close_frame_and_no_welcome() {
    for (reason, frame) in [
        (CloseReason::ServerShuttingDown, "close 1001 server_shutting_down"),
        (CloseReason::TooManyConnections, "close 4003 too_many_connections"),
    ] {
        let mut pair = Pair::refused(Config::default(), reason);
        pair.send(insert(1, "a"));
        assert_eq!(pair.received(), [frame]);
        pair.send_any(Inbound::Close(None));
        assert_eq!(pair.closed(), Some(reason));
    }
}

#[test]
fn requests_are_served_after_the_notice_of_a_shutdown() {
    let mut pair = welcomed(Config::default());
    pair.shutdown_notice(secs(3));
    assert_eq!(pair.received(), [system("shutdown", r#""gracePeriodMs":3000"#)]);
    assert_eq!(pair.ask(first(1, 1)), result(1, "\"x\""));
}

#[test]
fn a_shutdown_finishes_what_has_been_received() {
    let mut pair = welcomed(with_tokens(TokenMode::default())).holding_answers();
    pair.send(login(1, "reader"));
    pair.send(first(2, 1));
    pair.send(subscribe(3, "qa"));
    pair.close(CloseReason::ServerShutdown);
    pair.send(first(4, 1));
    assert_eq!(pair.received(), [""; 0]);
    pair.advance(secs(4));
    pair.answer_all();
    let session = r#"{"userId":"reader","roles":["reader"],"expiresAt":null}"#;
    assert_eq!(
        pair.received(),
        [
            result(1, session),
            result(2, "\"x\""),
            subscribed(3, 1, r#"{"n":0}"#),
            "close 1000 server_shutdown".to_owned(),
        ]
    );
    pair.end();
}

#[test]
fn a_shutdown_does_not_wait_longer_than_the_drain_timeout() {
    let mut pair = welcomed(Config::default()).holding_answers();
    pair.send(first(1, 1));
    pair.close(CloseReason::ServerShutdown);
    pair.advance(ms(4_999));
    assert_eq!(pair.received(), [""; 0]);
    pair.advance(ms(1));
    assert_eq!(pair.received(), ["close 1000 server_shutdown"]);
    pair.answer_all();
    assert_eq!(pair.received(), [""; 0], "too late");
    pair.advance(secs(2));
    assert_eq!(pair.closed(), Some(CloseReason::ServerShutdown));
}

#[test]
fn a_client_that_answers_pings_survives_the_drain() {
    let mut pair = welcomed(Config::default()).holding_answers();
    pair.advance(secs(28));
    pair.send(first(1, 1));
    pair.close(CloseReason::ServerShutdown);
    pair.advance(ms(4_999));
    pair.answer_all();
    assert_eq!(pair.received(), [result(1, "\"x\""), "close 1000 server_shutdown".to_owned()]);

    // The ping was sent before the drain, its answer arrives in it.
    let heartbeat = noex_core::HeartbeatConfig { timeout: secs(4), ..Default::default() };
    let mut pair = Pair::new(Config { heartbeat, ..Config::default() }).holding_answers();
    pair.advance(secs(30));
    pair.send(first(1, 1));
    pair.close(CloseReason::ServerShutdown);
    pair.send(r#"{"type":"pong","timestamp":1}"#);
    pair.received();
    pair.advance(ms(4_999));
    pair.answer_all();
    assert_eq!(pair.received(), [result(1, "\"x\""), "close 1000 server_shutdown".to_owned()]);
}

#[test]
fn a_revoked_client_is_told_and_nothing_of_its_is_executed_any_more() {
    let mut pair = logged_in(TokenMode::default(), World::default(), "admin");
    pair.send(subscribe(1, "qa"));
    pair.set_delays(&[None]);
    pair.send(first(2, 1));
    pair.send(login(3, "admin"));
    pair.send(insert(4, "a"));
    pair.received();
    pair.executed();
    pair.revoke();
    assert!(pair.connection().session().is_none());
    pair.send(insert(5, "a"));
    pair.answer_all();
    assert_eq!(
        pair.received(),
        [
            system("session_revoked", r#""reason":"Session revoked by administrator""#),
            "close 4002 session_revoked".to_owned(),
        ]
    );
    assert_eq!(pair.executed(), ["Unsubscribe sub-1"]);
    pair.end();
}

#[test]
fn a_second_close_changes_nothing() {
    let mut pair = welcomed(Config::default());
    pair.close(CloseReason::ServerShutdown);
    pair.close(CloseReason::InternalError);
    pair.revoke();
    assert_eq!(pair.received(), ["close 1000 server_shutdown"]);
    pair.send_any(Inbound::Eof);
    assert_eq!(pair.closed(), Some(CloseReason::ServerShutdown));
}

/// What was read ahead is taken as its text would be, in every phase; in the last ones it is ignored.
#[test]
fn a_message_that_was_read_ahead_is_taken_as_its_text() {
    let shared = Solitary::default();
    let now = Now { mono: Instant::from_millis(1), unix_ms: 1 };
    let texts = [
        insert(1, "a"),
        r#"{"type":"pong","timestamp":1}"#.to_owned(),
        "nonsense".to_owned(),
        request(2, "server.stats", ""),
    ];
    let trace = |phase: usize, ahead: bool| {
        let mut connection = Connection::new(Arc::new(Config::default()), Peer::new("x"), now);
        // Something unanswered, for which a stop waits.
        connection.handle_message(now, &shared, Message::Text(&insert(9, "z")));
        match phase {
            1 => connection.close(now, &shared, CloseReason::ServerShutdown),
            2 => connection.revoke(now, &shared),
            3 => connection.handle_eof(now, &shared),
            _ => {}
        }
        let mut seen = Vec::new();
        for text in &texts {
            if ahead {
                let parsed = connection.parse(text);
                connection.handle_parsed(now, &shared, &parsed);
            } else {
                connection.handle_message(now, &shared, Message::Text(text));
            }
            seen.extend(std::iter::from_fn(|| connection.poll_effect()).map(|effect| format!("{effect:?}")));
            seen.extend(std::iter::from_fn(|| connection.poll_frame()).map(|frame| format!("{frame:?}")));
        }
        seen
    };
    let counts: Vec<usize> = (0..4)
        .map(|phase| {
            let seen = trace(phase, true);
            assert_eq!(seen, trace(phase, false), "{phase}");
            seen.len()
        })
        .collect();
    // Open: welcome, three calls and an error that waits behind them. Then what was there before, and the ends.
    assert_eq!(counts, [4, 2, 4, 1], "{:?}", trace(2, true));
}

/// A host that lets effects pile up must not execute them when the connection is being closed.
#[test]
fn effects_that_nobody_took_are_dropped_by_a_close() {
    let shared = Solitary::default();
    let now = Now { mono: Instant::from_millis(1), unix_ms: 1 };
    let mut connection = Connection::new(Arc::new(Config::default()), Peer::new("x"), now);
    for text in [insert(1, "a"), subscribe(2, "qa"), request(3, "server.stats", "")] {
        connection.handle_message(now, &shared, Message::Text(&text));
    }
    connection.revoke(now, &shared);
    connection.handle_eof(now, &shared);
    let effects: Vec<_> = std::iter::from_fn(|| connection.poll_effect()).collect();
    assert!(
        matches!(
            effects[..],
            [
                Effect::SessionChanged(None),
                Effect::Unsubscribe { .. },
                Effect::Closed(CloseReason::SessionRevoked)
            ]
        ),
        "{effects:?}"
    );
}
