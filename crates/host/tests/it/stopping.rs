//! The stop: whom it waits for, and for how long.

use crate::{
    client::{Item, close, text},
    duplex::Behaviour,
    world::{World, options},
};
use futures::future::pending;
use noex_host::{
    Authenticator, FnAuthenticator, Options,
    core::{AuthMode, Config, TokenMode},
};
use std::{sync::Arc, time::Duration};

const CLOSE: Duration = Duration::from_secs(2);
const DRAIN: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(20);

const NOTICE: &str = r#"{"type":"system","event":"shutdown","gracePeriodMs":20000}"#;

#[test]
fn without_grace_clients_are_closed_at_once() {
    let mut world = World::new(options());
    let mut polite = world.connect();
    let mut deaf = world.connect();
    world.ask(&mut deaf, r#"{"id":1,"type":"store.subscribe","query":"all"}"#);
    let stop = world.stop(Duration::ZERO);
    world.run();
    for client in [&mut polite, &mut deaf] {
        assert_eq!(client.received(), [close(1000, "server_shutdown")]);
    }
    assert_eq!(world.hub.route_count(), 0);
    polite.close(1000);
    polite.end.end();
    world.run();
    assert!(world.is_done(polite.task) && !world.is_done(stop));
    // Nothing is executed any more.
    deaf.text(r#"{"id":2,"type":"store.insert","bucket":"items","data":{"id":"x"}}"#);
    world.advance_checking(CLOSE, |world| assert!(!world.is_done(stop)));
    assert!(world.is_done(stop), "a peer that ignores the close frame costs the close timeout, once");
    assert_eq!(deaf.received(), [Item::End]);
    assert_eq!(world.with_store(|store, _| store.stats().buckets[0].records), 0);
    world.assert_nothing_left();
}

#[test]
fn with_grace_clients_are_served_until_it_ends() {
    let mut world = World::new(options());
    let mut client = world.connect();
    let stop = world.stop(GRACE);
    assert_eq!(world.exchange(&mut client), [NOTICE]);
    assert!(world.hub.is_stopping());
    world.advance_checking(GRACE, |world| {
        let answers = world.ask(&mut client, r#"{"id":1,"type":"store.count","bucket":"items"}"#);
        assert_eq!(answers, [r#"{"id":1,"type":"result","data":0}"#]);
    });
    assert_eq!(client.received(), [close(1000, "server_shutdown")]);
    client.close(1000);
    client.end.end();
    world.run();
    assert!(world.is_done(stop));
}

#[test]
fn the_grace_ends_when_the_last_client_leaves() {
    let mut world = World::new(options());
    let mut first = world.connect();
    let mut second = world.connect();
    let stop = world.stop(GRACE);
    assert_eq!(world.exchange(&mut first), [NOTICE]);
    assert_eq!(world.exchange(&mut second), [NOTICE]);
    drop(first);
    world.run();
    assert!(!world.is_done(stop));
    drop(second);
    world.run();
    assert!(world.is_done(stop));
}

#[test]
fn without_clients_there_is_no_grace() {
    let mut world = World::new(options());
    let stop = world.stop(GRACE);
    world.run();
    assert!(world.is_done(stop));
    let again = world.stop(GRACE);
    world.run();
    assert!(world.is_done(again));
}

#[test]
fn a_handshake_during_the_stop_is_turned_away() {
    let mut world = World::new(options());
    let client = world.connect();
    let mut late = world.open(&Behaviour::default(), 1);
    world.run();
    world.stop(GRACE);
    world.run();
    late.upgrade_and_say(&[r#"{"id":1,"type":"store.buckets"}"#]);
    world.run();
    assert_eq!(late.received()[1..], [close(1001, "server_shutting_down")]);
    assert_eq!(world.hub.connection_count(), 1);
    drop(client);
}

/// Whatever state its handshake is in when a stop begins.
#[test]
fn every_connection_is_either_turned_away_or_closed() {
    for steps in 0..12 {
        let mut world = World::new(options());
        let mut client = world.open(&Behaviour { chop: Some(steps), ..Behaviour::default() }, 1);
        client.upgrade();
        if steps % 2 == 0 {
            world.run();
        }
        world.stop(Duration::ZERO);
        world.run();
        let items = client.received();
        let closed = [close(1000, "server_shutdown"), close(1001, "server_shutting_down")];
        assert!(items.last().is_some_and(|item| closed.contains(item)), "{items:?}");
    }
}

#[test]
fn requests_under_way_are_finished_for_a_bounded_time() {
    let never: Arc<dyn Authenticator> = Arc::new(FnAuthenticator(|_| pending()));
    let connection = Config { auth: AuthMode::Token(TokenMode::default()), ..Config::default() };
    let mut world = World::new(Options { connection, authenticator: Some(never), ..options() });
    let mut client = world.connect();
    assert_eq!(world.ask(&mut client, r#"{"id":1,"type":"auth.login","token":"t"}"#), Vec::<String>::new());
    let stop = world.stop(GRACE);
    world.advance(GRACE);
    assert_eq!(client.received(), [text(NOTICE)]);
    world.advance_checking(DRAIN, |_| assert_eq!(client.received(), []));
    assert_eq!(client.received(), [close(1000, "server_shutdown")]);
    world.advance_checking(CLOSE, |world| assert!(!world.is_done(stop)));
    assert!(world.is_done(stop), "grace, drain and close timeout bound the stop");
    world.assert_nothing_left();
}

#[test]
fn peers_that_never_move_do_not_hold_up_the_stop() {
    let mut world = World::new(options());
    let silent = world.open(&Behaviour::default(), 1);
    let half = world.open(&Behaviour::default(), 1);
    half.end.send(b"GET / HTTP/1.1\r\n");
    // This one takes no byte beyond the welcome.
    let stuck = world.connect_with(&Behaviour { capacity: 200, chop: None });
    for n in 0..100 {
        stuck.text(&format!(r#"{{"id":{n},"type":"store.stats"}}"#));
    }
    world.run();
    let stop = world.stop(Duration::ZERO);
    world.advance(DRAIN + CLOSE);
    assert!(world.is_done(stop));
    world.assert_nothing_left();
    drop((silent, half));
}
