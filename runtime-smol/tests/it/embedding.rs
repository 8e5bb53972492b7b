//! What an embedder does with a server: start, look, write, revoke, authenticate, stop.

use crate::client::{Client, End, insert, options, push, run, start, within};
use crate::runtime::{
    FnAuthenticator, Options, Server, Session, StartError,
    core::{AuthMode, TokenMode},
};
use futures::future::join;
use smol::future::yield_now;
use std::{sync::Arc, time::Duration};

const NOTICE: &str = r#"{"type":"system","event":"shutdown","gracePeriodMs":300}"#;

fn with_auth() -> Options {
    let mut options = options();
    options.connection.auth = AuthMode::Token(TokenMode::default());
    options.authenticator = Some(Arc::new(FnAuthenticator(|token: String| async move {
        // As if a service had been asked.
        for _ in 0..10 {
            yield_now().await;
        }
        let user = token.strip_prefix("token-of-")?.to_owned();
        Some(Session { user_id: user, roles: vec!["writer".into()], ..Session::default() })
    })));
    options
}

#[test]
fn a_server_tells_what_it_is() {
    run(async {
        let server = start(Options { name: "probe".into(), ..options() }).await;
        assert!(server.is_running() && server.port() != 0);
        assert_eq!(server.connection_count(), 0);
        let mut client = Client::connect(&server).await;
        client.ask(r#"{"id":1,"type":"store.subscribe","query":"all"}"#).await;
        let [connection] = &server.connections()[..] else { panic!("one connection") };
        assert_eq!((&*connection.connection_id, &*connection.remote_address), ("conn-1", "127.0.0.1"));
        assert_eq!((connection.store_subscriptions, connection.session.is_none()), (1, true));
        let stats = server.stats();
        assert_eq!((&*stats.name, stats.port, stats.connection_count), ("probe", server.port(), 1));
        assert_eq!((stats.store_subscriptions, stats.auth_enabled), (1, false));
        server.stop(Duration::ZERO).await;
        assert!(!server.is_running());
        assert_eq!((server.connection_count(), server.connections().len()), (0, 0));
    });
}

#[test]
fn a_stop_with_grace_serves_on_and_then_closes() {
    run(async {
        let server = start(options()).await;
        let mut client = Client::connect(&server).await;
        let port = server.port();
        let talk = async {
            assert_eq!(client.text().await, NOTICE);
            let answer = client.ask(&insert("a", 1)).await;
            assert!(answer.contains(r#""type":"result""#), "{answer}");
            assert_eq!(client.next().await, Err(End::Close(1000, "server_shutdown".into())));
        };
        join(server.stop(Duration::from_millis(300)), talk).await;
        assert!(smol::net::TcpStream::connect(("127.0.0.1", port)).await.is_err(), "the listener is closed");
        // Again: nothing happens.
        server.stop(Duration::from_secs(3600)).await;
    });
}

#[test]
fn a_stop_without_grace_gives_no_notice() {
    run(async {
        let server = start(options()).await;
        let mut first = Client::connect(&server).await;
        let mut second = Client::connect(&server).await;
        let ends = async { (first.next().await, second.next().await) };
        let ((), ends) = join(server.stop(Duration::ZERO), ends).await;
        let closed = Err(End::Close(1000, "server_shutdown".into()));
        assert_eq!(ends, (closed.clone(), closed));
    });
}

#[test]
fn a_stop_is_not_held_up_by_silent_peers() {
    run(async {
        let mut options = options();
        options.connection.close_timeout = Duration::from_millis(100);
        options.connection.drain_timeout = Duration::from_millis(100);
        let server = start(options).await;
        // One that has not asked for anything, one that never answers a close frame.
        let silent = smol::net::TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
        let deaf = Client::connect(&server).await;
        server.stop(Duration::ZERO).await;
        drop((silent, deaf));
    });
}

#[test]
fn a_dropped_server_gives_its_port_back() {
    run(async {
        let server = start(options()).await;
        let mut client = Client::connect(&server).await;
        let again = Options { port: server.port(), ..options() };
        drop(server);
        // With or without a close frame, depending on whether the connection's task is still run.
        assert!(client.next().await.is_err());
        drop(client);
        let server = loop {
            match Server::start(again.clone()).await {
                Ok(server) => break server,
                Err(_) => within(yield_now()).await,
            }
        };
        server.stop(Duration::ZERO).await;
    });
}

#[test]
fn changes_of_the_embedder_reach_subscribers() {
    run(async {
        let server = start(options()).await;
        let mut client = Client::connect(&server).await;
        client.ask(r#"{"id":1,"type":"store.subscribe","query":"sum"}"#).await;
        for n in 1..=3_u32 {
            server.with_store(|store, now_ms| {
                let mut item = noex_json::Object::new();
                item.set("id", n.to_string().as_str());
                item.set("n", 5.0);
                store.insert(now_ms, "items", item).expect("inserted");
            });
            assert_eq!(client.text().await, push(1, &(n * 5).to_string()));
        }
        server.stop(Duration::ZERO).await;
    });
}

#[test]
fn a_record_expires_by_itself() {
    run(async {
        let mut options = options();
        let brief = r#"{"key":"id","schema":{"id":{"type":"string"}},"ttl":50}"#;
        options.buckets.push(("brief".into(), brief.into()));
        options
            .queries
            .push(("count-brief".into(), r#"{"bucket":"brief","aggregate":{"function":"count"}}"#.into()));
        let server = start(options).await;
        let mut client = Client::connect(&server).await;
        client.ask(r#"{"id":1,"type":"store.subscribe","query":"count-brief"}"#).await;
        client.ask(r#"{"id":2,"type":"store.insert","bucket":"brief","data":{"id":"x"}}"#).await;
        // The first push may be skipped if the record expires before it is made.
        while client.text().await != push(1, "0") {}
        server.stop(Duration::ZERO).await;
    });
}

#[test]
fn custom_authentication_and_permissions_decide() {
    run(async {
        let mut options = with_auth();
        options.permission_check = Some(Arc::new(|session: &Session, operation: &str, resource: &str| {
            session.user_id == "ann" || (operation == "store.get" && resource == "items")
        }));
        let server = start(options).await;
        let (mut ann, welcome) = Client::open(server.port()).await;
        assert!(welcome.ends_with(r#""requiresAuth":true}"#), "{welcome}");
        let mut bob = Client::connect(&server).await;
        assert!(ann.ask(&insert("a", 1)).await.contains("Authentication required"));
        assert!(ann.login("nonsense").await.contains("Invalid token"));
        assert_eq!(
            ann.login("token-of-ann").await,
            r#"{"id":0,"type":"result","data":{"userId":"ann","roles":["writer"],"expiresAt":null}}"#
        );
        bob.login("token-of-bob").await;
        assert!(ann.ask(&insert("a", 1)).await.contains(r#""type":"result""#));
        assert!(
            bob.ask(&insert("b", 1)).await.contains("No permission for store.insert on items"),
            "bob may only read"
        );
        assert!(
            bob.ask(r#"{"id":1,"type":"store.get","bucket":"items","key":"a"}"#).await.contains(r#""n":1"#)
        );
        assert_eq!(server.stats().authenticated_count, 2);
        server.stop(Duration::ZERO).await;
    });
}

#[test]
fn a_revoked_user_is_told_and_closed() {
    run(async {
        let server = start(with_auth()).await;
        let mut ann = Client::connect(&server).await;
        let mut bob = Client::connect(&server).await;
        ann.login("token-of-ann").await;
        bob.login("token-of-bob").await;
        assert_eq!(server.revoke_session("ann"), Ok(1));
        assert_eq!(
            ann.text().await,
            r#"{"type":"system","event":"session_revoked","reason":"Session revoked by administrator"}"#
        );
        assert_eq!(ann.next().await, Err(End::Close(4002, "session_revoked".into())));
        assert!(bob.ask(&insert("b", 1)).await.contains(r#""type":"result""#));
        server.stop(Duration::ZERO).await;
    });
}

#[test]
fn starts_that_cannot_work_say_why() {
    run(async {
        let server = start(options()).await;
        let taken = Server::start(Options { port: server.port(), ..options() }).await;
        assert!(matches!(taken, Err(StartError::Listen(_))), "{taken:?}");
        let nowhere = Server::start(Options { host: "no such host".into(), ..options() }).await;
        assert!(matches!(nowhere, Err(StartError::Listen(_))), "{nowhere:?}");
        let mut bad = options();
        bad.buckets.push(("text".into(), "nonsense".into()));
        bad.buckets.push(("keyless".into(), r#"{"schema":{}}"#.into()));
        bad.queries.push(("empty".into(), "{}".into()));
        let Err(StartError::Definitions(problems)) = Server::start(bad.clone()).await else {
            panic!("started")
        };
        let places: Vec<&str> = problems.iter().filter_map(|text| text.split(':').next()).collect();
        assert_eq!(places, ["buckets.text", "buckets.keyless", "queries.empty"], "{problems:?}");
        assert!(matches!(Server::check(bad), Err(StartError::Definitions(same)) if same == problems));
        server.stop(Duration::ZERO).await;
    });
}
