//! Logging in and out, expiry, and what each means for subscriptions.

use crate::{
    log_in, logged_in, login, optional, subscribe, unsubscribe, welcomed, welcomed_in, whoami, with_tokens,
};
use noex_core::{CloseReason, Config, TokenMode};
use noex_testkit::{EPOCH_MS, World, error, ms, request, result, secs, subscribed, system};

const REQUIRED: [&str; 2] = ["UNAUTHORIZED", "Authentication required"];
const EXPIRED: [&str; 2] = ["UNAUTHORIZED", "Session expired"];

fn refused(id: u64, [code, text]: [&str; 2]) -> String {
    error(id, code, text)
}

#[test]
fn nothing_runs_before_a_required_login() {
    let mut pair = welcomed(with_tokens(TokenMode::default()));
    for kind in ["store.all", "nope", "identity.whoami", "rules.stats", "audit.query", "server.stats"] {
        assert_eq!(pair.ask(request(1, kind, r#""bucket":"a""#)), refused(1, REQUIRED), "{kind}");
    }
    for (kind, text) in [
        ("identity.login", "Identity management is not configured"),
        ("identity.loginWithSecret", "Identity management is not configured"),
        ("ping", "Unknown operation \"ping\""),
    ] {
        assert_eq!(pair.ask(request(1, kind, "")), error(1, "UNKNOWN_OPERATION", text));
    }
    assert_eq!(pair.ask(whoami(2)), result(2, r#"{"authenticated":false}"#));
    assert_eq!(pair.ask(request(3, "auth.logout", "")), result(3, r#"{"loggedOut":true}"#));
    assert_eq!(pair.executed(), [""; 0]);
    assert_eq!(pair.ask(request(4, "server.health", "")), result(4, "\"ok\""));
    assert_eq!(
        pair.ask(login(5, "reader")),
        result(5, r#"{"userId":"reader","roles":["reader"],"expiresAt":null}"#)
    );
    assert_eq!(pair.ask(request(6, "store.all", r#""bucket":"a""#)), result(6, "null"));
}

#[test]
fn a_failed_login_changes_nothing() {
    let mut pair = logged_in(TokenMode::default(), World::default(), "reader");
    for (credential, code, text) in [
        (r#""nobody""#, "UNAUTHORIZED", "Invalid token"),
        (r#""expired""#, "UNAUTHORIZED", "Token has expired"),
        (r#""revoked""#, "SESSION_REVOKED", "Session has been revoked"),
        (r#""broken""#, "INTERNAL_ERROR", "Internal server error"),
        (r#""""#, "VALIDATION_ERROR", "Missing or invalid \"token\": expected non-empty string"),
        ("7", "VALIDATION_ERROR", "Missing or invalid \"token\": expected non-empty string"),
    ] {
        let answer = pair.ask(request(1, "auth.login", &format!(r#""token":{credential}"#)));
        assert_eq!(answer, error(1, code, text));
        let session = r#"{"authenticated":true,"userId":"reader","roles":["reader"],"expiresAt":null}"#;
        assert_eq!(pair.ask(whoami(2)), result(2, session));
    }
}

#[test]
fn another_login_replaces_the_session() {
    let mut pair = logged_in(TokenMode::default(), World::default(), "reader");
    log_in(&mut pair, "admin");
    let session = r#"{"authenticated":true,"userId":"admin","roles":["admin"],"expiresAt":null}"#;
    assert_eq!(pair.ask(whoami(1)), result(1, session));
}

#[test]
fn a_revoked_user_who_logs_in_again_loses_session_and_subscriptions() {
    let world = World::default().credential("before", "revoked", &["reader"]);
    let mut pair = logged_in(TokenMode::default(), world, "before");
    pair.send(subscribe(1, "qa"));
    pair.received();
    pair.send(login(2, "revoked"));
    assert_eq!(
        pair.received(),
        [
            system("subscription_closed", r#""subscriptionId":"sub-1","reason":"permission_revoked""#),
            error(2, "SESSION_REVOKED", "Session has been revoked"),
        ]
    );
    assert_eq!(pair.ask(subscribe(3, "qa")), refused(3, REQUIRED));
}

#[test]
fn a_session_is_valid_in_its_last_millisecond() {
    let mut pair = logged_in(TokenMode::default(), World::default(), "short");
    pair.advance(ms(5_000));
    assert_eq!(pair.ask(subscribe(1, "qa")), subscribed(1, 1, r#"{"n":0}"#));
    let expires_at = EPOCH_MS + 5_000;
    let session =
        format!(r#"{{"authenticated":true,"userId":"short","roles":["reader"],"expiresAt":{expires_at}}}"#);
    assert_eq!(pair.ask(whoami(2)), result(2, &session));
    pair.advance(ms(1));
    assert_eq!(
        pair.received(),
        [system("subscription_closed", r#""subscriptionId":"sub-1","reason":"session_expired""#)]
    );
    assert!(pair.connection().session().is_none());
}

#[test]
fn the_first_request_after_expiry_is_told_so_once() {
    for (token, afterwards) in [(TokenMode::default(), refused(3, REQUIRED)), (optional(), result(3, "null"))]
    {
        let mut pair = logged_in(token, World::default(), "short");
        pair.advance(secs(60));
        let all = |id| request(id, "store.all", r#""bucket":"a""#);
        assert_eq!(pair.ask(request(1, "server.health", "")), result(1, "\"ok\""));
        assert_eq!(pair.ask(all(2)), refused(2, EXPIRED));
        assert_eq!(pair.ask(all(3)), afterwards);
    }
}

#[test]
fn whoami_or_a_login_makes_up_for_the_notice_of_expiry() {
    let mut pair = logged_in(TokenMode::default(), World::default(), "short");
    pair.advance(secs(60));
    assert_eq!(pair.ask(whoami(1)), result(1, r#"{"authenticated":false}"#));
    assert_eq!(pair.ask(subscribe(2, "qa")), refused(2, REQUIRED));

    let mut pair = logged_in(TokenMode::default(), World::default(), "short");
    pair.advance(secs(60));
    pair.send(login(1, "nobody"));
    assert_eq!(pair.ask(subscribe(2, "qa")), refused(2, EXPIRED), "a failed login does not");
    log_in(&mut pair, "reader");
    assert_eq!(pair.ask(subscribe(3, "qa")), subscribed(3, 1, r#"{"n":0}"#));
}

#[test]
fn logout_ends_subscriptions_where_a_login_is_required() {
    let mut pair = logged_in(TokenMode::default(), World::default(), "reader");
    pair.send(subscribe(1, "qa"));
    pair.received();
    pair.send(request(2, "auth.logout", ""));
    assert_eq!(
        pair.received(),
        [
            result(2, r#"{"loggedOut":true}"#),
            system("subscription_closed", r#""subscriptionId":"sub-1","reason":"logged_out""#),
        ]
    );
    assert_eq!(pair.publish("qa", Some("1")), []);
    assert_eq!(pair.ask(subscribe(3, "qa")), refused(3, REQUIRED));
    log_in(&mut pair, "reader");
    assert_eq!(pair.ask(unsubscribe(4, 1)), result(4, r#"{"unsubscribed":true}"#), "once, late");
    assert_eq!(pair.ask(unsubscribe(5, 1)), error(5, "NOT_FOUND", "Subscription \"sub-1\" not found"));
}

#[test]
fn where_a_login_is_optional_subscriptions_outlive_it() {
    let mut pair = logged_in(optional(), World::default(), "reader");
    pair.send(subscribe(1, "qa"));
    pair.send(request(2, "auth.logout", ""));
    pair.received();
    assert_eq!(pair.publish("qa", Some("1")).len(), 1);
    assert_eq!(pair.received(), [noex_testkit::push(1, "1")]);
}

#[test]
fn who_does_not_log_in_in_time_is_closed() {
    let config = Config { auth_timeout: Some(secs(10)), ..with_tokens(TokenMode::default()) };
    let mut pair = welcomed(config.clone());
    pair.advance(ms(9_999));
    assert_eq!(pair.received(), [""; 0]);
    pair.advance(ms(1));
    assert_eq!(pair.received(), ["close 4004 auth_timeout"]);
    pair.advance(secs(2));
    assert_eq!(pair.closed(), Some(CloseReason::AuthTimeout));

    let mut pair = welcomed(config.clone());
    log_in(&mut pair, "reader");
    pair.advance(secs(100));
    assert!(!pair.connection().is_closed());
    pair.send(request(1, "auth.logout", ""));
    pair.received();
    pair.advance(secs(10));
    assert_eq!(pair.received(), ["close 4004 auth_timeout"], "the time begins anew");

    let mut pair =
        welcomed_in(Config { auth_timeout: Some(secs(10)), ..with_tokens(optional()) }, World::default());
    pair.advance(secs(100));
    assert_eq!(pair.received(), [""; 0], "only where a login is required");
}
