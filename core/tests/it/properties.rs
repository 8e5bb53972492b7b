//! What holds for all scripts, configurations and orders of calls. The pair checks its invariants on the way.
//!
//! `PROPTEST_CASES` sets a larger budget than the modest default.

use noex_core::{
    Backpressure, CloseReason, Config, Connection, Effect, Frame, Instant, Message, Now, Operation, Peer,
    Solitary, Tier,
};
use noex_testkit::{Inbound, Pair, request, script, script::Step, secs};
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

fn cases(cases: u32) -> ProptestConfig {
    let budget = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { budget } else { ProptestConfig { cases, ..budget } }
}

/// Sends all messages, lets the host answer everything, and gives the replies in order of arrival.
fn replies(mut pair: Pair, script: &[String]) -> Vec<String> {
    for message in script {
        if message.contains("unsubscribe") {
            // A client knows the id of a subscription only from the answer.
            pair.answer_all();
        }
        pair.send(message.as_str());
    }
    // Far less than a ping interval in all, so that time itself changes nothing.
    pair.advance(secs(1));
    pair.finish();
    assert_eq!((pair.unread(), pair.connection().in_flight()), (0, 0), "everything is answered");
    let received = pair.received();
    received.into_iter().filter(|text| text.starts_with(r#"{"id""#)).collect()
}

fn unhurried(auth: noex_core::AuthMode, rules: bool) -> Config {
    Config { auth, rules, requests_in_flight_max: 64, ..Config::default() }
}

proptest! {
    #![proptest_config(cases(128))]

    /// When the answers of effects arrive must not show in the replies, nor in their order.
    #[test]
    fn replies_leave_in_request_order(
        script in prop::collection::vec(script::message(), 0..40),
        auth in script::auth_mode(),
        rules: bool,
        delays in script::delays(),
    ) {
        let config = unhurried(auth, rules);
        let inline = replies(Pair::new(config.clone()), &script);
        let late = replies(Pair::new(config).answering_after(&delays), &script);
        prop_assert_eq!(inline, late);
    }

    /// Whatever happens in whatever order, also after the end: no panic, and the invariants hold.
    #[test]
    fn any_order_of_calls_keeps_the_invariants(
        config in script::config(),
        limits in script::limits(),
        delays in script::delays(),
        steps in prop::collection::vec(script::step(), 0..80),
    ) {
        let mut pair = Pair::in_world(config, limits.world()).answering_after(&delays);
        for step in &steps {
            pair.apply(step);
        }
        pair.end();
    }

    /// Every request of a recorded tier is recorded once, on its own or in the sum of a flood, whatever becomes of it.
    #[test]
    fn no_request_dodges_the_audit_log(
        script in prop::collection::vec(script::message(), 0..200),
        auth in script::auth_mode(),
        // So many that no flood of refusals closes the connection.
        requests_max in prop::option::of(20..40_u64),
        delays in script::delays(),
        hang_up: bool,
    ) {
        let config = Config {
            audit: vec![Tier::Admin, Tier::Write, Tier::Read],
            requests_in_flight_max: 1000,
            ..unhurried(auth, true)
        };
        let limits = script::Limits { requests_max, subscriptions_max: 3 };
        let mut pair = Pair::in_world(config, limits.world()).answering_after(&delays);
        let mut expected = 0;
        for message in &script {
            pair.send(message.as_str());
            expected += u64::from(is_recorded(message));
        }
        if !hang_up {
            pair.advance(secs(1));
            pair.finish();
        }
        // What waits behind a login when the client hangs up was never begun.
        let begun = pair.unanswered() == 0;
        pair.send_unasked(&Inbound::Eof);
        let recorded: u64 = pair.records().iter().map(|record| match &record.details {
            Some(details) if record.operation == "*" => {
                details.chars().filter(char::is_ascii_digit).collect::<String>().parse().expect("a count")
            }
            _ => 1,
        }).sum();
        if begun {
            prop_assert_eq!(recorded, expected);
        } else {
            prop_assert!(recorded <= expected, "{} of {}", recorded, expected);
        }
    }

    /// A result of an insert precedes the pushes that the insert causes, however late it is.
    #[test]
    fn results_precede_the_pushes_they_cause(
        inserts in prop::collection::vec(any::<bool>(), 1..20),
        delays in script::delays(),
    ) {
        let mut pair = Pair::default().answering_after(&delays);
        let mut last_insert = 0;
        for (id, insert) in (1..).zip(&inserts) {
            if *insert {
                last_insert += 1;
                pair.send(request(1000 + last_insert, "store.insert", r#""bucket":"a","data":{}"#));
            } else {
                pair.send(request(id, "store.subscribe", r#""query":"qa""#));
            }
        }
        pair.advance(secs(1));
        pair.finish();
        let mut inserted = 0;
        for text in pair.received() {
            let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            if json["id"].as_u64() == Some(1001 + inserted) {
                inserted += 1;
            }
            if json["type"] == "push" {
                let shown = json["data"]["n"].as_u64().expect("a count");
                prop_assert!(shown <= inserted, "pushed before its cause was answered: {}", text);
            }
        }
        prop_assert_eq!(inserted, last_insert);
    }

    /// While the connection's wish to pause reading is heeded, everything it holds is bounded.
    #[test]
    fn limits_hold(
        flow in (200..3_000_usize, 100..3_000_usize),
        counts in (1..8_usize, 0..4_usize, 0..4_usize),
        delays in script::delays(),
        steps in prop::collection::vec(prop_oneof![
            8 => script::valid_request().prop_map(|text| Step::Send(Inbound::Text(text))),
            2 => (0..8_usize).prop_map(Step::Answer),
            2 => (0..500_usize).prop_map(Step::Take),
            2 => (0..300_usize).prop_map(|n| Step::Publish("qa", Some(format!("\"{}\"", "y".repeat(n))))),
            2 => Just(Step::Emit("order.new")),
            1 => (0..900_u64).prop_map(|ms| Step::Wait(Duration::from_millis(ms))),
        ], 0..120),
    ) {
        let (requests_max, subscriptions_max, events_max) = counts;
        let config = Config {
            rules: true,
            requests_in_flight_max: requests_max,
            subscriptions_max,
            backpressure: Backpressure {
                buffered_bytes_max: flow.0,
                push_threshold_bytes: flow.1,
                events_max,
                ..Backpressure::default()
            },
            ..Config::default()
        };
        let mut pair = Pair::new(config).answering_after(&delays);
        for step in &steps {
            pair.apply(step);
            let (results, events) = pair.connection().subscription_counts();
            prop_assert!(results + events <= subscriptions_max);
            prop_assert!(pair.connection().in_flight() <= requests_max);
        }
        // Replies in flight when reading paused, one push per subscription beyond the threshold (or its kept events
        // and the notice), and a ping: each at most this long.
        const REPLY: usize = 3_100;
        const PUSH: usize = 500;
        let most = flow.0.max(flow.1) + requests_max * REPLY + subscriptions_max * (events_max + 2) * PUSH + 100;
        prop_assert!(pair.queued_bytes_peak() <= most, "{} bytes queued", pair.queued_bytes_peak());
    }

    /// Any bytes as a text message: one answer each, or none for a pong, or the end for what is not UTF-8.
    #[test]
    fn any_bytes_have_one_answer(bytes in prop::collection::vec(any::<u8>(), 0..60), structured in r#"\{"id":[-0-9.eE]{1,8},"type":"[a-z.]{0,12}"(,"[a-z]{1,6}":[\[\]{}"0-9a-z,:]{0,8})?\}"#) {
        let mut pair = Pair::default();
        pair.received();
        // The pair counts the answers.
        pair.send(structured.as_str());
        match String::from_utf8(bytes.clone()) {
            Ok(text) => {
                pair.send(text.as_str());
                prop_assert_eq!(pair.received().len(), 2, "{}", text);
            }
            Err(_) => {
                prop_assert_eq!(Message::from_text_bytes(&bytes), Message::InvalidUtf8);
                pair.send_any(Inbound::InvalidUtf8);
                prop_assert_eq!(pair.received().pop(), Some("close 1007".to_owned()));
            }
        }
    }

    /// Intermediate states may be skipped, the final state never is, however the network stalls.
    #[test]
    fn the_last_state_shown_is_the_final_state(
        threshold in 0..2_000_usize,
        delays in script::delays(),
        steps in prop::collection::vec(prop_oneof![
            2 => select_query().prop_map(|query| Step::Send(Inbound::Text(request(1, "store.subscribe", &format!(r#""query":"{query}""#))))),
            2 => Just(Step::Send(Inbound::Text(request(2, "store.insert", r#""bucket":"a","data":{}"#)))),
            1 => Just(Step::Send(Inbound::Text(request(3, "store.first", r#""bucket":"a","n":900"#)))),
            6 => (select_query(), prop::option::of((0..3_u8, 0..700_usize))).prop_map(|(query, data)| {
                Step::Publish(query, data.map(|(v, n)| format!("\"{v}{}\"", "z".repeat(n))))
            }),
            4 => (0..1_500_usize).prop_map(Step::Take),
            1 => Just(Step::Flow),
            2 => (0..8_usize).prop_map(Step::Answer),
            1 => (0..300_u64).prop_map(|ms| Step::Wait(Duration::from_millis(ms))),
        ], 0..100),
    ) {
        let backpressure = Backpressure { push_threshold_bytes: threshold, ..Backpressure::default() };
        let config = Config { backpressure, ..Config::default() };
        let mut pair = Pair::new(config).answering_after(&delays);
        let mut watched = BTreeMap::new();
        for step in &steps {
            pair.apply(step);
        }
        pair.finish();
        // Ids are given in request order.
        let queries = steps.iter().filter_map(|step| {
            let Step::Send(Inbound::Text(text)) = step else { return None };
            let query = if text.contains("qa") { "qa" } else { "qb" };
            text.contains("store.subscribe").then_some(query)
        });
        for (number, query) in (1_u64..).zip(queries) {
            watched.insert(format!("sub-{number}"), query);
        }
        let mut shown = BTreeMap::new();
        for text in pair.received() {
            let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            let push = json["type"] == "push";
            let body = if push { &json } else { &json["data"] };
            if let Some(id) = body["subscriptionId"].as_str() {
                shown.insert(id.to_owned(), body.get("data").cloned());
            }
        }
        prop_assert_eq!(shown.len(), watched.len());
        for (id, data) in shown {
            let state = pair.world().state(watched[&id]).expect("a query");
            let expected = state.data.map(|data| serde_json::from_str(&data).expect("JSON"));
            prop_assert_eq!(data, expected, "{}", id);
        }
    }

    /// Even a host that breaks its side of the contract cannot make the machine panic or speak after its end.
    #[test]
    fn a_careless_host_does_no_harm(config in script::config(), calls in prop::collection::vec(careless_call(), 0..60)) {
        let shared = Solitary::default();
        let now = |us: u64| Now { mono: Instant::from_micros(us), unix_ms: us / 7 };
        let mut connection = Connection::new(Arc::new(config), Peer::new(""), now(5));
        let mut closed = 0;
        let mut close_frames = 0;
        for call in &calls {
            match call {
                Careless::Message(us, text) => connection.handle_message(now(*us), &shared, Message::Text(text)),
                Careless::Timeout(us) => connection.handle_timeout(now(*us), &shared),
                Careless::Buffered(us, bytes) => connection.handle_buffered(now(*us), *bytes),
                Careless::Close(us, reason) => connection.close(now(*us), &shared, *reason),
                Careless::Eof(us) => connection.handle_eof(now(*us), &shared),
                Careless::Effects => while let Some(effect) = connection.poll_effect() {
                    prop_assert_eq!(closed, 0, "after the end: {:?}", effect);
                    closed += u32::from(matches!(effect, Effect::Closed(_)));
                },
                Careless::Frame => if let Some(frame) = connection.poll_frame() {
                    prop_assert_eq!(close_frames, 0, "after the close frame: {:?}", frame);
                    close_frames += u32::from(matches!(frame, Frame::Close { .. }));
                },
            }
            let _ = (connection.poll_timeout(), connection.queued_bytes(), connection.wants_read());
        }
    }
}

/// Tells whether a message is a request whose operation is recorded.
fn is_recorded(message: &str) -> bool {
    let value = noex_json::parse(message, Config::default().json_depth_max).ok();
    let Some(request) = value.as_ref().and_then(|value| value.as_object()) else { return false };
    let has_id = request.get("id").and_then(|id| id.as_number()).is_some_and(f64::is_finite);
    let kind = request.get("type").and_then(|kind| kind.as_str()).unwrap_or_default();
    let Some(operation) = Operation::by_name(kind).filter(|_| has_id) else { return false };
    operation.tier().is_some()
        || kind.starts_with("identity.")
        || matches!(operation, Operation::AuthLogin | Operation::AuthLogout)
}

fn select_query() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["qa", "qb"])
}

/// Calls with clocks that jump, byte counts out of the air, and effects that pile up.
#[derive(Clone, Debug)]
enum Careless {
    Message(u64, String),
    Timeout(u64),
    Buffered(u64, usize),
    Close(u64, CloseReason),
    Eof(u64),
    Effects,
    Frame,
}

fn careless_call() -> impl Strategy<Value = Careless> {
    let clock = || prop_oneof![8 => 0..100_000_000_u64, 1 => any::<u64>()];
    let reason = prop::sample::select(vec![CloseReason::ServerShutdown, CloseReason::SlowConsumer]);
    prop_oneof![
        8 => (clock(), script::message()).prop_map(|(us, text)| Careless::Message(us, text)),
        3 => clock().prop_map(Careless::Timeout),
        3 => (clock(), prop_oneof![4 => 0..5_000_usize, 1 => Just(usize::MAX)]).prop_map(|(us, n)| Careless::Buffered(us, n)),
        1 => (clock(), reason).prop_map(|(us, reason)| Careless::Close(us, reason)),
        1 => clock().prop_map(Careless::Eof),
        2 => Just(Careless::Effects),
        6 => Just(Careless::Frame),
    ]
}
