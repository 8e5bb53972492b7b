//! Rate limits, the budget of refusals, and limits of subscriptions.

use crate::{insert, log_in, logged_in, login, subscribe, unsubscribe, welcomed, welcomed_in, with_tokens};
use noex_core::{CloseReason, Config, TokenMode};
use noex_testkit::{World, error, ms, request, result, subscribed};

fn limited(id: u64, retry_after_ms: u64) -> String {
    let text = format!("Rate limit exceeded. Retry after {retry_after_ms}ms");
    let mut error = error(id, "RATE_LIMITED", &text);
    error.truncate(error.len() - 1);
    format!(r#"{error},"details":{{"retryAfterMs":{retry_after_ms}}}}}"#)
}

fn health(id: u64) -> String {
    request(id, "server.health", "")
}

#[test]
fn requests_beyond_the_window_are_refused_and_not_recorded() {
    let config = Config { expose_error_details: false, ..Config::default() };
    let mut pair = welcomed_in(config, World::default().rate_limit(2, 1000));
    assert_eq!(pair.ask(health(1)), result(1, "\"ok\""));
    pair.advance(ms(400));
    assert_eq!(pair.ask(request(2, "nope", "")), error(2, "UNKNOWN_OPERATION", "Unknown operation \"nope\""));
    for _ in 0..5 {
        assert_eq!(pair.ask(insert(3, "a")), limited(3, 600));
    }
    assert_eq!(pair.executed().len(), 1);
    pair.advance(ms(600));
    assert_eq!(pair.ask(health(4)), result(4, "\"ok\""));
    assert_eq!(pair.ask(health(5)), limited(5, 400));
}

#[test]
fn pongs_are_free() {
    let mut pair = welcomed_in(Config::default(), World::default().rate_limit(1, 1000));
    for _ in 0..50 {
        pair.send(r#"{"type":"pong","timestamp":1}"#);
    }
    assert_eq!(pair.ask(health(1)), result(1, "\"ok\""));
}

#[test]
fn a_login_is_charged_to_the_address_and_opens_the_users_window() {
    let world = World::default().rate_limit(2, 1000);
    let mut pair = logged_in(TokenMode::default(), world, "reader");
    assert_eq!(pair.ask(health(1)), result(1, "\"ok\""));
    assert_eq!(pair.ask(health(2)), result(2, "\"ok\""));
    assert_eq!(pair.ask(health(3)), limited(3, 1000));
    // Another user's window is not used up, but the login needs the window of the one before.
    assert_eq!(pair.ask(login(4, "writer")), limited(4, 1000));
}

#[test]
fn user_ids_and_addresses_do_not_collide() {
    let world = World::default().rate_limit(2, 1000).credential("sly", "192.0.2.1", &["reader"]);
    let mut pair = logged_in(TokenMode::default(), world, "sly");
    assert_eq!(pair.ask(health(1)), result(1, "\"ok\""));
    assert_eq!(pair.ask(health(2)), result(2, "\"ok\""));
}

#[test]
fn refusals_have_their_own_budget_and_then_end_the_connection() {
    let config = with_tokens(TokenMode::default());
    let mut pair = welcomed_in(config, World::default().rate_limit(3, 1000));
    let unauthorized = error(1, "UNAUTHORIZED", "Authentication required");
    assert_eq!(pair.ask(insert(1, "a")), unauthorized);
    assert_eq!(pair.ask("x"), error(0, "PARSE_ERROR", "Invalid JSON"));
    assert_eq!(pair.ask(insert(1, "a")), unauthorized);
    for _ in 3..30 {
        assert_eq!(pair.ask(insert(1, "a")), limited(1, 1000));
    }
    log_in(&mut pair, "reader");
    pair.send("x");
    assert_eq!(pair.received(), ["close 1008 too_many_refused_requests"]);
    pair.send(health(2));
    assert_eq!(pair.received(), [""; 0]);
    pair.advance(ms(2_000));
    assert_eq!(pair.closed(), Some(CloseReason::TooManyRefusals));
}

#[test]
fn refusals_are_free_where_nothing_is_limited() {
    let mut pair = welcomed(Config::default());
    for _ in 0..10_000 {
        pair.send("x");
    }
    assert_eq!(pair.received().len(), 10_000);
}

#[test]
fn subscriptions_are_limited_before_fields_are_looked_at() {
    let config = Config { rules: true, subscriptions_max: 2, ..Config::default() };
    let mut pair = welcomed_in(config, World::default().subscriptions_max(3));
    let pattern = |id| request(id, "rules.subscribe", r#""pattern":"*""#);
    assert_eq!(pair.ask(subscribe(1, "qa")), subscribed(1, 1, r#"{"n":0}"#));
    assert_eq!(pair.ask(pattern(2)), result(2, r#"{"subscriptionId":"sub-2"}"#));
    let full = "Subscription limit reached (max 2 per connection)";
    assert_eq!(pair.ask(request(3, "store.subscribe", "")), error(3, "RATE_LIMITED", full));
    assert_eq!(pair.ask(pattern(4)), error(4, "RATE_LIMITED", full));
    assert_eq!(pair.ask(unsubscribe(5, 1)), result(5, r#"{"unsubscribed":true}"#));
    let missing = "Missing or invalid \"query\": expected non-empty string";
    assert_eq!(pair.ask(request(6, "store.subscribe", "")), error(6, "VALIDATION_ERROR", missing));
    assert_eq!(pair.ask(pattern(7)), result(7, r#"{"subscriptionId":"sub-3"}"#));
    pair.end();
}

#[test]
fn the_servers_subscriptions_are_limited_too() {
    let mut pair = welcomed_in(Config::default(), World::default().subscriptions_max(1));
    assert!(pair.ask(subscribe(1, "missing")).contains("QUERY_NOT_DEFINED"));
    assert_eq!(pair.ask(subscribe(2, "qa")), subscribed(2, 2, r#"{"n":0}"#));
    let full = error(3, "RATE_LIMITED", "Global subscription limit reached (max 1)");
    assert_eq!(pair.ask(subscribe(3, "qa")), full);
    assert_eq!(pair.ask(request(3, "store.subscribe", "")), full);
    pair.end();
}

#[test]
fn a_subscription_in_flight_holds_its_place() {
    let config = Config { subscriptions_max: 1, ..Config::default() };
    let mut pair = welcomed(config).holding_answers();
    pair.send(subscribe(1, "missing"));
    pair.send(subscribe(2, "qa"));
    pair.answer(0);
    assert_eq!(
        pair.received(),
        [
            error(1, "QUERY_NOT_DEFINED", "Query \"missing\" is not defined"),
            error(2, "RATE_LIMITED", "Subscription limit reached (max 1 per connection)"),
        ]
    );
}

#[test]
fn the_id_of_a_new_rule_is_as_short_as_other_names() {
    let config = Config { rules: true, name_length_max: 3, ..Config::default() };
    let mut pair = welcomed_in(config, World::default());
    let refused = |id, field: &str| {
        let text = format!("Missing or invalid \"{field}\": expected at most 3 characters");
        error(id, "VALIDATION_ERROR", &text)
    };
    assert_eq!(
        pair.ask(request(1, "rules.registerRule", r#""rule":{"id":"long","name":"a long name"}"#)),
        refused(1, "id")
    );
    assert_eq!(pair.ask(request(2, "rules.getRule", r#""ruleId":"long""#)), refused(2, "ruleId"));
    assert!(pair.executed().is_empty());
    pair.ask(request(3, "rules.registerRule", r#""rule":{"id":"fit","name":"a long name"}"#));
    assert_eq!(pair.executed().len(), 1);
}
