//! Requests, subscriptions and pushes of several connections.

use crate::{
    client::{Client, Item, close},
    duplex::{Behaviour, Dice},
    world::{World, options},
};
use noex_host::{
    Options, RulesOptions,
    core::{Backpressure, Config},
};
use noex_json::Object;

fn subscribe(world: &mut World, client: &mut Client, query: &str) -> String {
    let answer = world.ask(client, &format!(r#"{{"id":0,"type":"store.subscribe","query":"{query}"}}"#));
    let [answer] = &answer[..] else { panic!("{answer:?}") };
    let start = answer.find("sub-").expect("a subscription id");
    answer[start..].split('"').next().unwrap_or_default().to_owned()
}

fn insert(n: usize) -> String {
    format!(r#"{{"id":{n},"type":"store.insert","bucket":"items","data":{{"id":"k{n}","n":{n}}}}}"#)
}

fn push(subscription: &str, data: &str) -> String {
    format!(r#"{{"type":"push","channel":"subscription","subscriptionId":"{subscription}","data":{data}}}"#)
}

fn item(id: &str, n: f64) -> Object {
    let mut item = Object::new();
    item.set("id", id);
    item.set("n", n);
    item
}

#[test]
fn a_write_reaches_all_subscribers_and_the_writer_sees_its_result_first() {
    for seed in 0..50 {
        let chopped = |more: u64| Behaviour { chop: Some(seed * 3 + more), ..Behaviour::default() };
        let mut world = World::new(options());
        let mut writer = world.connect_with(&chopped(0));
        let mut reader = world.connect_with(&chopped(1));
        let own = subscribe(&mut world, &mut writer, "count-items");
        let others = subscribe(&mut world, &mut reader, "count-items");
        assert_ne!(own, others);
        for n in 1..=3 {
            let seen = world.ask(&mut writer, &insert(n));
            assert_eq!(seen.len(), 2, "{seen:?}");
            assert!(seen[0].starts_with(&format!(r#"{{"id":{n},"type":"result","#)), "{seen:?}");
            assert_eq!(seen[1], push(&own, &n.to_string()));
            assert_eq!(world.exchange(&mut reader), [push(&others, &n.to_string())]);
        }
        drop((writer, reader));
        world.assert_nothing_left();
    }
}

#[test]
fn pipelined_requests_are_answered_in_order_and_a_transaction_makes_one_push() {
    let mut world = World::new(options());
    let mut client = world.connect();
    let subscription = subscribe(&mut world, &mut client, "count-items");
    for n in 1..=400 {
        client.text(&insert(n));
    }
    let seen = world.exchange(&mut client);
    let results = seen.iter().filter(|text| text.contains(r#""type":"result""#));
    for (n, text) in (1..).zip(results) {
        assert!(text.starts_with(&format!(r#"{{"id":{n},"type":"result""#)), "{text}");
    }
    assert_eq!(seen.last(), Some(&push(&subscription, "400")));
    let operations: Vec<String> =
        (0..10).map(|n| format!(r#"{{"op":"insert","bucket":"items","data":{{"id":"t{n}"}}}}"#)).collect();
    let seen = world.ask(
        &mut client,
        &format!(r#"{{"id":5,"type":"store.transaction","operations":[{}]}}"#, operations.join(",")),
    );
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(seen[1], push(&subscription, "410"));
}

#[test]
fn no_push_follows_an_unsubscribe() {
    let mut world = World::new(options());
    let mut client = world.connect();
    let subscription = subscribe(&mut world, &mut client, "count-items");
    client.text(&insert(1));
    client.text(&format!(r#"{{"id":2,"type":"store.unsubscribe","subscriptionId":"{subscription}"}}"#));
    client.text(&insert(3));
    let seen = world.exchange(&mut client);
    let at = seen.iter().position(|text| text.contains("unsubscribed")).expect("an answer");
    assert!(seen[at..].iter().all(|text| !text.contains("push")), "{seen:?}");
    assert_eq!(world.hub.route_count(), 0);
}

#[test]
fn a_dropped_bucket_ends_its_subscriptions() {
    let mut world = World::new(options());
    let mut admin = world.connect();
    let mut reader = world.connect();
    let subscription = subscribe(&mut world, &mut reader, "count-items");
    world.ask(&mut admin, r#"{"id":1,"type":"store.dropBucket","name":"items"}"#);
    assert_eq!(
        world.exchange(&mut reader),
        [format!(
            r#"{{"type":"system","event":"subscription_closed","subscriptionId":"{subscription}","reason":"bucket_dropped"}}"#
        )]
    );
    assert_eq!(world.hub.route_count(), 0);
    assert_eq!(
        world.ask(
            &mut reader,
            &format!(r#"{{"id":2,"type":"store.unsubscribe","subscriptionId":"{subscription}"}}"#)
        ),
        [r#"{"id":2,"type":"result","data":{"unsubscribed":true}}"#]
    );
    drop((admin, reader));
    world.assert_nothing_left();
}

#[test]
fn what_a_request_ends_leaves_its_place_to_the_next_one() {
    let mut options = options();
    options.connection.subscriptions_max = 1;
    options.subscriptions_max = 1;
    let mut world = World::new(options);
    let mut client = world.connect();
    let subscription = subscribe(&mut world, &mut client, "count-items");
    client.text(r#"{"id":1,"type":"store.undefineQuery","name":"count-items"}"#);
    client.text(r#"{"id":2,"type":"store.subscribe","query":"count-items"}"#);
    client.text(&format!(r#"{{"id":3,"type":"store.unsubscribe","subscriptionId":"{subscription}"}}"#));
    assert_eq!(
        world.exchange(&mut client),
        [
            r#"{"id":1,"type":"result","data":{"name":"count-items","undefined":true}}"#.to_owned(),
            format!(
                r#"{{"type":"system","event":"subscription_closed","subscriptionId":"{subscription}","reason":"query_undefined"}}"#
            ),
            r#"{"id":2,"type":"error","code":"QUERY_NOT_DEFINED","message":"Query \"count-items\" is not defined"}"#
                .to_owned(),
            r#"{"id":3,"type":"result","data":{"unsubscribed":true}}"#.to_owned(),
        ]
    );
    assert_eq!(world.hub.route_count(), 0);
    drop(client);
    world.assert_nothing_left();
}

#[test]
fn a_stalled_reader_skips_states_but_ends_with_the_final_one() {
    let flow =
        Backpressure { buffered_bytes_max: 20_000, push_threshold_bytes: 8_000, ..Backpressure::default() };
    for seed in 0..20 {
        let connection = Config { backpressure: flow, ..Config::default() };
        let mut world = World::new(Options { connection, ..options() });
        let mut writer = world.connect();
        let mut reader = world.connect_with(&Behaviour { capacity: 2_000, chop: Some(seed) });
        let count = subscribe(&mut world, &mut reader, "count-items");
        let all = subscribe(&mut world, &mut reader, "all");
        let mut dice = Dice::new(seed);
        let mut texts = Vec::new();
        for n in 1..=300 {
            let answers = world.ask(&mut writer, &insert(n));
            assert_eq!(answers.len(), 1, "the writer is not held up: {answers:?}");
            if dice.up_to(3) == 0 {
                reader.receive_at_most(dice.up_to(1_000));
            }
        }
        texts.extend(world.exchange(&mut reader));
        let of = |id: &str| {
            let own = format!(r#""subscriptionId":"{id}""#);
            texts.iter().filter(|text| text.contains(&own)).collect::<Vec<_>>()
        };
        assert!(of(&count).len() < 150, "states are skipped: {}", of(&count).len());
        assert_eq!(of(&count).last(), Some(&&push(&count, "300")));
        let last = of(&all).last().copied().expect("a push").clone();
        assert_eq!(last.matches(r#""n":"#).count(), 300);
    }
}

#[test]
fn the_last_words_of_a_connection_reach_everybody() {
    // More views than one flush evaluates.
    let views = 600;
    let connection = Config { subscriptions_max: views, ..Config::default() };
    let mut world = World::new(Options { connection, subscriptions_max: views, ..options() });
    let mut reader = world.connect();
    for n in 0..views {
        let params = format!(r#"{{"n":-{n}}}"#);
        reader.text(&format!(r#"{{"id":{n},"type":"store.subscribe","query":"above","params":{params}}}"#));
    }
    assert_eq!(world.exchange(&mut reader).len(), views);
    let mut writer = world.connect();
    writer.text(&insert(1));
    writer.close(1000);
    let pushes = world.exchange(&mut reader);
    assert_eq!(pushes.len(), views);
    assert!(matches!(&writer.received()[..], [Item::Text(_), Item::Close(Some((1000, _))), Item::End]));
    writer.end.end();
    // So do the changes of an embedder, and those of a client that is cut off.
    world.with_store(|store, now_ms| store.clear(now_ms, "items")).expect("cleared");
    assert_eq!(world.exchange(&mut reader).len(), views);
    let writer = world.connect();
    writer.text(&insert(1));
    writer.end.end();
    assert_eq!(world.exchange(&mut reader).len(), views);
    drop((reader, writer));
    world.assert_nothing_left();
}

#[test]
fn changes_of_the_embedder_reach_subscribers() {
    let mut world = World::new(options());
    let mut client = world.connect();
    let subscription = subscribe(&mut world, &mut client, "sum");
    world.with_store(|store, now_ms| {
        for n in 0..5 {
            store.insert(now_ms, "items", item(&n.to_string(), 2.0)).expect("inserted");
        }
    });
    assert_eq!(world.exchange(&mut client), [push(&subscription, "10")]);
}

#[test]
fn events_reach_all_subscribers_and_come_before_the_result_of_the_emit() {
    let mut world = World::new(Options { rules: Some(RulesOptions::default()), ..options() });
    let mut emitter = world.connect();
    let mut reader = world.connect();
    for client in [&mut emitter, &mut reader] {
        let answers = world.ask(client, r#"{"id":1,"type":"rules.subscribe","pattern":"order.*"}"#);
        assert!(answers[0].contains("subscriptionId"), "{answers:?}");
    }
    assert_eq!(world.hub.route_count(), 2);
    for n in 0..3 {
        emitter.text(&format!(r#"{{"id":{n},"type":"rules.emit","topic":"order.new","data":{{"n":{n}}}}}"#));
    }
    let seen = world.exchange(&mut emitter);
    let kinds: Vec<bool> = seen.iter().map(|text| text.contains(r#""channel":"event""#)).collect();
    assert_eq!(kinds, [true, false, true, false, true, false], "{seen:?}");
    let pushes = world.exchange(&mut reader);
    assert_eq!(pushes.len(), 3);
    for (n, push) in pushes.iter().enumerate() {
        assert!(push.contains(&format!(r#""data":{{"n":{n}}}"#)), "{push}");
    }
    world.cancel(emitter.task);
    reader.close(1000);
    reader.end.end();
    world.assert_nothing_left();
}

#[test]
fn a_dropped_task_leaves_nothing() {
    let mut world = World::new(options());
    let mut other = world.connect();
    let kept = subscribe(&mut world, &mut other, "count-items");
    let mut client = world.connect();
    for query in ["count-items", "sum", "all", "count-brief"] {
        subscribe(&mut world, &mut client, query);
    }
    assert_eq!(world.hub.route_count(), 5);
    world.cancel(client.task);
    assert_eq!((world.hub.route_count(), world.hub.connection_count()), (1, 1));
    assert!(matches!(&client.received()[..], [Item::End]));
    world.ask(&mut other, &insert(1));
    drop((other, kept));
    world.assert_nothing_left();
}

#[test]
fn the_peer_ends_the_connection_with_a_close_or_without() {
    let mut world = World::new(options());
    let mut polite = world.connect();
    subscribe(&mut world, &mut polite, "all");
    polite.close(4321);
    world.run();
    assert_eq!(polite.received(), [close(4321, ""), Item::End]);
    assert_eq!(world.hub.route_count(), 0);
    polite.end.end();
    let mut rude = world.connect();
    subscribe(&mut world, &mut rude, "all");
    rude.text(&insert(1));
    rude.end.end();
    world.run();
    assert!(world.is_done(rude.task) && world.is_done(polite.task));
    // What was asked before is answered.
    assert!(matches!(&rude.received()[..], [Item::Text(_), Item::End]));
    let gone = world.connect();
    drop(gone);
    world.assert_nothing_left();
}
