//! Many clients at once.

use crate::client::{Client, insert, options, run, start};
use crate::runtime::Server;
use futures::future::join_all;
use std::time::Duration;

const CLIENTS: u64 = 200;
const RECORDS: u64 = 5;
/// Added to the sum when all is done, so that no earlier state can look like the last one.
const SEAL: u64 = 1_000_000;

/// The value that a push of the sum shows.
fn pushed_sum(text: &str) -> Option<u64> {
    let data = text.strip_prefix(r#"{"type":"push","channel":"subscription","#)?.split_once(r#""data":"#)?.1;
    data.strip_suffix('}')?.parse().ok()
}

/// Sends a request and gives its answer; pushes that come before it are counted.
async fn ask(client: &mut Client, request: &str, id: u64, pushes: &mut Vec<u64>) -> String {
    client.send(request).await;
    loop {
        let text = client.text().await;
        match pushed_sum(&text) {
            Some(sum) => pushes.push(sum),
            None => {
                assert!(text.starts_with(&format!(r#"{{"id":{id},"type":"result""#)), "{text}");
                return text;
            }
        }
    }
}

/// Writes, reads, changes and deletes records of its own; all but one are left, of value 1.
async fn work(server: &Server, me: u64) -> (Client, Vec<u64>) {
    let mut client = Client::connect(server).await;
    let mut pushes = Vec::new();
    ask(&mut client, r#"{"id":9,"type":"store.subscribe","query":"sum"}"#, 9, &mut pushes).await;
    for n in 0..RECORDS {
        let id = format!("{me}-{n}");
        ask(&mut client, &insert(&id, 3), 1, &mut pushes).await;
        let update =
            format!(r#"{{"id":2,"type":"store.update","bucket":"items","key":"{id}","data":{{"n":1}}}}"#);
        ask(&mut client, &update, 2, &mut pushes).await;
        let get = format!(r#"{{"id":3,"type":"store.get","bucket":"items","key":"{id}"}}"#);
        let got = ask(&mut client, &get, 3, &mut pushes).await;
        assert!(got.contains(r#""n":1,"_version":2"#), "{got}");
    }
    let delete = format!(r#"{{"id":4,"type":"store.delete","bucket":"items","key":"{me}-0"}}"#);
    ask(&mut client, &delete, 4, &mut pushes).await;
    (client, pushes)
}

#[test]
fn two_hundred_clients_lose_nothing() {
    run(async {
        let server = start(options()).await;
        let clients = join_all((0..CLIENTS).map(|me| work(&server, me))).await;
        assert_eq!(server.connection_count(), usize::try_from(CLIENTS).unwrap());
        assert_eq!(server.stats().store_subscriptions, usize::try_from(CLIENTS).unwrap());
        server.with_store(|store, now_ms| {
            let mut seal = noex_json::Object::new();
            seal.set("id", "seal");
            #[expect(clippy::cast_precision_loss, reason = "a small number")]
            seal.set("n", SEAL as f64);
            store.insert(now_ms, "items", seal).expect("inserted");
        });
        let total = CLIENTS * (RECORDS - 1) + SEAL;
        let finish = |(mut client, mut pushes): (Client, Vec<u64>)| async move {
            while pushes.last().is_none_or(|sum| *sum < SEAL) {
                pushes.push(pushed_sum(&client.text().await).expect("a push"));
            }
            assert_eq!(pushes.last(), Some(&total));
            client.close().await;
        };
        join_all(clients.into_iter().map(finish)).await;
        // Returns long before the grace ends, because everybody has left.
        server.stop(Duration::from_secs(3600)).await;
        assert_eq!((server.connection_count(), server.stats().store_subscriptions), (0, 0));
    });
}

#[test]
fn connections_that_come_and_go_leave_nothing() {
    run(async {
        let server = start(options()).await;
        let visit = |me: u64| {
            let server = &server;
            async move {
                for round in 0..5 {
                    let mut client = Client::connect(server).await;
                    client.ask(r#"{"id":1,"type":"store.subscribe","query":"all"}"#).await;
                    client.send(&insert(&format!("{me}-{round}"), 1)).await;
                    // Half of them do not even wait for the answer.
                    if (me + round).is_multiple_of(2) {
                        client.text().await;
                        client.close().await;
                    }
                }
            }
        };
        join_all((0..40).map(visit)).await;
        server.stop(Duration::from_secs(3600)).await;
        assert_eq!(server.connections(), []);
        server.with_store(|store, _| assert_eq!(store.stats().active_subscriptions, 0));
    });
}
