//! Embedders' authenticators and permission checks: slow ones, failing ones, and revocation.

use crate::{
    client::{Item, close},
    world::{World, options},
};
use futures::channel::oneshot;
use noex_host::{
    AuditOptions, AuthFailure, Authenticator, FnAuthenticator, Options, Session, StaticTokens, TokenExpiry,
    Verdict,
    core::{AuditQuery, AuthMode, Config, TokenMode},
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

fn session(user: &str) -> Session {
    Session { user_id: user.into(), roles: vec!["writer".into()], ..Session::default() }
}

fn with_auth(authenticator: Arc<dyn Authenticator>) -> Options {
    let connection = Config { auth: AuthMode::Token(TokenMode::default()), ..Config::default() };
    Options { connection, authenticator: Some(authenticator), ..options() }
}

fn tokens() -> Arc<dyn Authenticator> {
    Arc::new(
        StaticTokens::new()
            .with_token("ann", session("ann"), TokenExpiry::Never)
            .with_token("bob", session("bob"), TokenExpiry::Never)
            .with_token("short", session("cid"), TokenExpiry::InMs(5_000)),
    )
}

const LOGIN: &str = r#"{"id":1,"type":"auth.login","token":"ann"}"#;
const SUBSCRIBE: &str = r#"{"id":2,"type":"store.subscribe","query":"count-items"}"#;
const INSERT: &str = r#"{"id":3,"type":"store.insert","bucket":"items","data":{"id":"x"}}"#;

/// Questions that a test answers by hand.
#[derive(Clone, Default)]
struct Questions(Arc<Mutex<Vec<oneshot::Sender<Option<Session>>>>>);

impl Questions {
    fn authenticator(&self) -> Arc<dyn Authenticator> {
        let asked = self.clone();
        Arc::new(FnAuthenticator(move |_| {
            let (answer, answered) = oneshot::channel();
            asked.0.lock().unwrap().push(answer);
            async move { answered.await.ok().flatten() }
        }))
    }

    fn next(&self) -> oneshot::Sender<Option<Session>> {
        self.0.lock().unwrap().remove(0)
    }
}

#[test]
fn requests_wait_for_a_slow_login_and_are_then_answered_in_order() {
    let questions = Questions::default();
    let mut world = World::new(with_auth(questions.authenticator()));
    let mut client = world.connect();
    let mut other = world.connect();
    for text in [LOGIN, SUBSCRIBE, INSERT, r#"{"id":4,"type":"auth.whoami"}"#] {
        client.text(text);
    }
    assert_eq!(world.exchange(&mut client), Vec::<String>::new());
    // Others are not held up.
    assert_eq!(world.ask(&mut other, INSERT).len(), 1);
    questions.next().send(Some(session("ann"))).expect("asked");
    let seen = world.exchange(&mut client);
    let ids: Vec<&str> = seen.iter().map(|text| &text[..7]).collect();
    assert_eq!(ids, [r#"{"id":1"#, r#"{"id":2"#, r#"{"id":3"#, r#"{"id":4"#, r#"{"type""#]);
    assert!(seen[4].ends_with(r#""data":1}"#), "{seen:?}");
    // A second login on the same connection is asked anew, and may fail.
    client.text(LOGIN);
    client.text(INSERT);
    world.run();
    questions.next().send(None).expect("asked");
    let seen = world.exchange(&mut client);
    assert!(seen[0].contains("Invalid token") && seen[1].contains("ALREADY_EXISTS"), "{seen:?}");
}

#[test]
fn an_authenticator_that_never_answers_is_given_up() {
    let questions = Questions::default();
    let mut options = with_auth(questions.authenticator());
    options.authenticator_timeout = Duration::from_secs(20);
    let mut world = World::new(options);
    let mut client = world.connect();
    client.text(LOGIN);
    client.text(r#"{"id":2,"type":"auth.whoami"}"#);
    assert_eq!(world.exchange(&mut client), Vec::<String>::new());
    let question = questions.next();
    world.advance(Duration::from_millis(19_999));
    assert!(!question.is_canceled() && world.exchange(&mut client).is_empty());
    world.advance(Duration::from_millis(1));
    let seen = world.exchange(&mut client);
    assert!(seen[0].contains("INTERNAL_ERROR") && seen[1].contains(r#""authenticated":false"#), "{seen:?}");
    assert!(question.is_canceled());
}

/// Messages that come together are taken together, but only as many are handled as may be under way.
#[test]
fn messages_beyond_the_limit_wait_unread_and_lose_neither_place_nor_answer() {
    let questions = Questions::default();
    let mut options = with_auth(questions.authenticator());
    options.connection.requests_in_flight_max = 3;
    let mut world = World::new(options);
    let mut client = world.connect();
    client.text(LOGIN);
    for n in 2..30 {
        client.text(&format!(r#"{{"id":{n},"type":"store.get","bucket":"items","key":"{n}"}}"#));
    }
    client.text("not a request");
    assert_eq!(world.exchange(&mut client), Vec::<String>::new());
    questions.next().send(Some(session("ann"))).expect("asked");
    let seen = world.exchange(&mut client);
    let expected = (1..30)
        .map(|n| format!(r#"{{"id":{n},"type":"result","#))
        .chain([r#"{"id":0,"type":"error","#.into()]);
    assert_eq!(seen.len(), 30);
    for (text, start) in seen.iter().zip(expected) {
        assert!(text.starts_with(&start), "{text} {start}");
    }
}

#[test]
fn a_connection_that_goes_drops_its_pending_login() {
    let questions = Questions::default();
    let mut world = World::new(with_auth(questions.authenticator()));
    for way in 0..4 {
        let client = world.connect();
        client.text(LOGIN);
        client.text(SUBSCRIBE);
        world.run();
        let question = questions.next();
        assert!(!question.is_canceled());
        match way {
            0 => client.end.end(),
            1 => {
                client.close(1000);
                client.end.end();
            }
            2 => world.cancel(client.task),
            _ => drop(client),
        }
        world.run();
        assert!(question.is_canceled(), "way {way}");
        world.assert_nothing_left();
    }
}

struct Failing;

impl Authenticator for Failing {
    fn authenticate(&self, token: &str, _unix_ms: u64) -> Verdict {
        match token {
            "panic" => panic!("authenticator"),
            "late" => Verdict::Later(Box::pin(async { panic!("late authenticator") })),
            "fail" => Verdict::Ready(Err(AuthFailure("database".into()))),
            user => Verdict::Ready(Ok(Some(session(user)))),
        }
    }
}

#[test]
fn a_failing_authenticator_is_contained() {
    let mut world = World::new(with_auth(Arc::new(Failing)));
    let mut bystander = world.connect();
    world.ask(&mut bystander, LOGIN);
    world.ask(&mut bystander, SUBSCRIBE);
    let mut client = world.connect();
    let answer = world.ask(&mut client, r#"{"id":1,"type":"auth.login","token":"fail"}"#);
    assert_eq!(
        answer,
        [r#"{"id":1,"type":"error","code":"INTERNAL_ERROR","message":"Internal server error"}"#]
    );
    for (count, token) in [(1, "panic"), (2, "late")] {
        let mut client = world.connect();
        world.ask(&mut client, LOGIN);
        world.ask(&mut client, SUBSCRIBE);
        // The answer to what was written before is not lost, and neither is the push to others.
        client
            .text(&format!(r#"{{"id":3,"type":"store.insert","bucket":"items","data":{{"id":"{token}"}}}}"#));
        client.text(&format!(r#"{{"id":4,"type":"auth.login","token":"{token}"}}"#));
        world.run();
        let items = client.received();
        assert!(items.contains(&close(1011, "internal_error")), "{items:?}");
        assert!(matches!(items.first(), Some(Item::Text(_))), "{items:?}");
        let pushes = world.exchange(&mut bystander);
        let ends = format!(r#""data":{count}}}"#);
        assert!(matches!(&pushes[..], [push] if push.ends_with(&ends)), "{pushes:?}");
        client.end.end();
        world.run();
        assert!(world.is_done(client.task));
        assert_eq!(world.hub.route_count(), 1);
    }
    drop((bystander, client));
    world.assert_nothing_left();
}

#[test]
fn a_panicking_permission_check_is_contained() {
    let mut options = with_auth(tokens());
    options.permission_check = Some(Arc::new(|session: &Session, operation: &str, _: &str| {
        assert!(!(session.user_id == "bob" && operation == "store.insert"), "permission check");
        true
    }));
    let mut world = World::new(options);
    let mut ann = world.connect();
    let mut bob = world.connect();
    world.ask(&mut ann, LOGIN);
    world.ask(&mut bob, r#"{"id":1,"type":"auth.login","token":"bob"}"#);
    world.ask(&mut bob, SUBSCRIBE);
    bob.text(INSERT);
    world.run();
    assert_eq!(bob.received(), [close(1011, "internal_error"), Item::End]);
    assert_eq!(world.hub.route_count(), 0);
    assert_eq!(world.ask(&mut ann, INSERT).len(), 1);
    drop((ann, bob));
    world.assert_nothing_left();
}

#[test]
fn a_revoked_user_is_told_closed_and_executes_nothing() {
    let mut world = World::new(with_auth(tokens()));
    let mut ann = world.connect();
    let mut bob = world.connect();
    world.ask(&mut ann, LOGIN);
    world.ask(&mut ann, SUBSCRIBE);
    world.ask(&mut bob, r#"{"id":1,"type":"auth.login","token":"bob"}"#);
    assert_eq!(world.hub.stats(world.now()).authenticated_count, 2);
    assert_eq!(world.hub.revoke_session(world.now(), "ann"), Ok(1));
    assert_eq!(world.hub.revoke_session(world.now(), "nobody"), Ok(0));
    // Sent before the revocation is seen, and again after.
    ann.text(INSERT);
    world.run();
    ann.text(INSERT);
    world.run();
    let items = ann.received();
    let Item::Text(notice) = &items[0] else { panic!("{items:?}") };
    assert_eq!(
        notice,
        r#"{"type":"system","event":"session_revoked","reason":"Session revoked by administrator"}"#
    );
    assert_eq!(items[1..], [close(4002, "session_revoked")]);
    assert_eq!(world.with_store(|store, _| store.stats().buckets[0].records), 0);
    assert_eq!(world.ask(&mut bob, INSERT).len(), 1);
    drop((ann, bob));
    world.assert_nothing_left();
}

#[test]
fn the_end_of_a_session_ends_its_subscriptions() {
    let mut world = World::new(with_auth(tokens()));
    let mut client = world.connect();
    world.ask(&mut client, r#"{"id":1,"type":"auth.login","token":"short"}"#);
    world.ask(&mut client, SUBSCRIBE);
    world.advance(std::time::Duration::from_millis(5_001));
    let seen = world.exchange(&mut client);
    assert!(seen[0].contains("session_expired"), "{seen:?}");
    assert_eq!(world.hub.route_count(), 0);
    assert!(world.hub.connections()[0].session.is_none());
    let answer = world.ask(&mut client, INSERT);
    assert!(answer[0].contains("Session expired"), "{answer:?}");
    drop(client);
    world.assert_nothing_left();
}

#[test]
fn a_revoked_user_cannot_log_in_until_the_time_is_over() {
    let revocation_ttl = Duration::from_millis(2_500);
    let mut world = World::new(Options { revocation_ttl, ..with_auth(tokens()) });
    let mut ann = world.connect();
    assert_eq!(world.hub.revoke_session(world.now(), "ann"), Ok(0));
    let refused = r#"{"id":1,"type":"error","code":"SESSION_REVOKED","message":"Session has been revoked"}"#;
    assert_eq!(world.ask(&mut ann, LOGIN), [refused]);
    world.ask(&mut ann, r#"{"id":1,"type":"auth.login","token":"bob"}"#);
    assert_eq!(world.ask(&mut ann, LOGIN), [refused]);
    let whoami = world.ask(&mut ann, r#"{"id":4,"type":"auth.whoami"}"#);
    assert!(whoami[0].contains(r#""userId":"bob""#), "another's login stays: {whoami:?}");
    world.advance(Duration::from_millis(2_499));
    assert_eq!(world.ask(&mut ann, LOGIN), [refused]);
    world.advance(Duration::from_millis(1));
    assert!(world.ask(&mut ann, LOGIN)[0].contains(r#""userId":"ann""#));
    assert!(!world.hub.unrevoke(world.now(), "ann"));
    assert_eq!(world.hub.revoke_session(world.now(), "ann"), Ok(1));
    assert!(world.hub.unrevoke(world.now(), "ann"));
    let mut again = world.connect();
    assert!(world.ask(&mut again, LOGIN)[0].contains(r#""userId":"ann""#));
}

#[test]
fn a_revocation_reaches_logins_that_are_under_way() {
    let questions = Questions::default();
    let mut world = World::new(with_auth(questions.authenticator()));
    let mut ann = world.connect();
    ann.text(LOGIN);
    ann.text(INSERT);
    world.run();
    assert_eq!(world.hub.revoke_session(world.now(), "ann"), Ok(0));
    questions.next().send(Some(session("ann"))).expect("asked");
    let seen = world.exchange(&mut ann);
    assert!(seen[0].contains("SESSION_REVOKED") && seen[1].contains("Authentication required"), "{seen:?}");
}

#[test]
fn a_revocation_discards_messages_that_wait_unread() {
    let questions = Questions::default();
    let mut options = with_auth(questions.authenticator());
    options.connection.requests_in_flight_max = 3;
    let mut world = World::new(options);
    let mut ann = world.connect();
    ann.text(LOGIN);
    world.run();
    questions.next().send(Some(session("ann"))).expect("asked");
    assert_eq!(world.exchange(&mut ann).len(), 1);
    // The second login holds up what follows; most of it is not even read.
    ann.text(LOGIN);
    for n in 2..12 {
        ann.text(&INSERT.replace('x', &n.to_string()));
    }
    assert_eq!(world.exchange(&mut ann), Vec::<String>::new());
    assert_eq!(world.hub.revoke_session(world.now(), "ann"), Ok(1));
    world.run();
    let items = ann.received();
    let [Item::Text(notice), end] = &items[..] else { panic!("{items:?}") };
    assert!(notice.contains("session_revoked"), "{notice}");
    assert_eq!(*end, close(4002, "session_revoked"));
    // None of them was executed.
    let mut other = world.connect();
    other.text(LOGIN);
    world.run();
    drop(questions.next());
    questions.next().send(Some(session("bob"))).expect("asked");
    world.exchange(&mut other);
    let count = world.ask(&mut other, r#"{"id":1,"type":"store.count","bucket":"items"}"#);
    assert!(count[0].ends_with(r#""data":0}"#), "{count:?}");
}

#[test]
fn revocation_by_filter_takes_whoever_matches_all_of_it() {
    let user = |name: &str, roles: &[&str]| Session {
        user_id: name.into(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        ..Session::default()
    };
    let table = [("rob", &["reader"][..]), ("rex", &["reader", "x"]), ("wil", &["writer"])];
    let tokens = table.iter().fold(StaticTokens::new(), |tokens, (name, roles)| {
        tokens.with_token(name, user(name, roles), TokenExpiry::Never)
    });
    let mut world = World::new(with_auth(Arc::new(tokens)));
    let mut clients: Vec<_> = table
        .iter()
        .map(|(name, _)| {
            let mut client = world.connect();
            world.ask(&mut client, &format!(r#"{{"id":1,"type":"auth.login","token":"{name}"}}"#));
            client
        })
        .collect();
    assert_eq!(world.hub.revoke_sessions(world.now(), Some("rex"), Some("writer")), Ok(0));
    assert_eq!(world.hub.revoke_sessions(world.now(), Some("rex"), Some("reader")), Ok(1));
    assert_eq!(world.hub.revoke_sessions(world.now(), None, Some("reader")), Ok(1));
    world.run();
    let closed: Vec<bool> = clients
        .iter_mut()
        .map(|client| client.received().contains(&close(4002, "session_revoked")))
        .collect();
    assert_eq!(closed, [true, true, false]);
    let mut again = world.connect();
    let seen = world.ask(&mut again, r#"{"id":1,"type":"auth.login","token":"rob"}"#);
    assert!(seen[0].contains("SESSION_REVOKED"), "{seen:?}");
    assert_eq!(world.hub.revoke_sessions(world.now(), None, None), Ok(1), "embedders may revoke all");
}

#[test]
fn the_audit_log_knows_time_connection_and_address() {
    let audit = AuditOptions { entries_max: 2, ..AuditOptions::default() };
    let mut world = World::new(Options { audit: Some(audit), ..with_auth(tokens()) });
    let mut ann = world.connect();
    world.ask(&mut ann, LOGIN);
    let denied = world.ask(&mut ann, r#"{"id":2,"type":"store.listQueries"}"#);
    assert!(denied[0].contains("FORBIDDEN"));
    ann.text(r#"{"id":3,"type":"auth.logout"}"#);
    ann.text(r#"{"id":4,"type":"auth.login","token":"nobody"}"#);
    drop(ann);
    world.run();
    // The tier of `audit.query` is checked as always: the embedder looks for himself.
    let entries = world.hub.audit_entries(&AuditQuery::default());
    let entry = |operation: &str, user: &str, result: &str| {
        format!(
            r#"{{"timestamp":1700000000000,"userId":{user},"sessionId":"conn-1","operation":"{operation}","resource":"*","result":{result},"remoteAddress":"10.0.0.1"}}"#
        )
    };
    let failed = r#""error","error":"Invalid token""#;
    let expected = [entry("auth.login", "null", failed), entry("auth.logout", "\"ann\"", "\"success\"")];
    assert_eq!(entries, Some(format!(r#"{{"entries":[{}]}}"#, expected.join(","))));
}
