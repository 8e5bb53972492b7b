//! Rights that change while others are at work on other threads.

use crate::client::{Client, options, run, start};
use crate::runtime::{
    IdentityOptions, Options, Server,
    accounts::{PasswordCost, Settings},
};
use futures::future::join;
use smol::future::or;
use std::cell::Cell;

/// How often the right is taken and given.
const ROUNDS: u64 = 1000;
/// Requests of each kind that the reader keeps under way.
const WINDOW: u64 = 3;

/// The value of a member that is a string.
fn member<'t>(text: &'t str, name: &str) -> &'t str {
    let start = text.find(&format!("\"{name}\":\"")).expect(name) + name.len() + 4;
    text[start..].split('"').next().expect("a string")
}

/// A connection logged in as a user.
async fn login(server: &Server, name: &str) -> Client {
    let mut client = Client::connect(server).await;
    let login = format!(r#"{{"id":0,"type":"identity.login","username":"{name}","password":"password"}}"#);
    let answer = client.ask(&login).await;
    assert!(answer.starts_with(r#"{"id":0,"type":"result""#), "{answer}");
    client
}

/// A secret is there only while the reader has no right to see it.
#[test]
fn nobody_reads_what_came_after_the_end_of_the_right() {
    run(async {
        let password_cost = PasswordCost { memory_kib: 8, passes: 1, lanes: 1 };
        let settings = Settings { password_cost, ..Settings::new("a-long-secret") };
        let identity = Some(IdentityOptions::new(settings));
        let server = start(Options { identity, rules: None, ..options() }).await;
        let mut root = Client::connect(&server).await;
        let secret = r#"{"id":0,"type":"identity.loginWithSecret","secret":"a-long-secret"}"#;
        assert!(root.ask(secret).await.starts_with(r#"{"id":0,"type":"result""#));
        let create = r#"{"id":0,"type":"identity.createUser","username":"ann","password":"password"}"#;
        let ann = root.ask(create).await;
        let subject = format!(
            r#""subjectType":"user","subjectId":"{}","resourceType":"bucket","resourceName":"items""#,
            member(&ann, "id")
        );
        let grant = format!(r#"{{"id":1,"type":"identity.grant",{subject},"operations":["read","write"]}}"#);
        let revoke = format!(r#"{{"id":2,"type":"identity.revoke",{subject}}}"#);
        let insert = r#"{"id":3,"type":"store.insert","bucket":"items","data":{"id":"secret"}}"#;
        let delete = r#"{"id":4,"type":"store.delete","bucket":"items","key":"secret"}"#;
        assert!(root.ask(&grant).await.starts_with(r#"{"id":1,"type":"result""#));
        let mut reader = login(&server, "ann").await;
        let mut watcher = login(&server, "ann").await;
        let done = Cell::new(false);
        let change = async {
            for _ in 0..ROUNDS {
                for (id, request) in [(2, &*revoke), (3, insert), (4, delete), (1, &*grant)] {
                    let answer = root.ask(request).await;
                    assert!(answer.starts_with(&format!(r#"{{"id":{id},"type":"result""#)), "{answer}");
                }
            }
            done.set(true);
        };
        // Requests, and the only result that each may have.
        let requests = [
            (r#"{"id":5,"type":"store.get","bucket":"items","key":"secret"}"#, "null"),
            (r#"{"id":6,"type":"store.where","bucket":"items","filter":{}}"#, "[]"),
            (
                concat!(
                    r#"{"id":7,"type":"store.transaction","#,
                    r#""operations":[{"op":"get","bucket":"items","key":"secret"}]}"#
                ),
                r#"{"results":[{"index":0,"data":null}]}"#,
            ),
        ];
        let read = async {
            let mut counts = [(0_u64, 0_u64); 3];
            for _ in 0..WINDOW {
                for (request, _) in requests {
                    reader.send(request).await;
                }
            }
            while !done.get() {
                for (at, (request, nothing)) in requests.into_iter().enumerate() {
                    let answer = reader.text().await;
                    if answer == format!(r#"{{"id":{},"type":"result","data":{nothing}}}"#, at + 5) {
                        counts[at].0 += 1;
                    } else {
                        assert!(answer.contains(r#""code":"FORBIDDEN""#), "{answer}");
                        counts[at].1 += 1;
                    }
                    reader.send(request).await;
                }
            }
            counts
        };
        let subscriptions = Cell::new(0_u64);
        let watch = async {
            let subscribe = r#"{"id":8,"type":"store.subscribe","query":"all"}"#;
            watcher.send(subscribe).await;
            loop {
                let text = watcher.text().await;
                assert!(!text.contains("secret"), "{text}");
                subscriptions
                    .set(subscriptions.get() + u64::from(text.contains(r#""id":8,"type":"result""#)));
                if text.contains("subscription_closed") || text.contains(r#""code":"FORBIDDEN""#) {
                    watcher.send(subscribe).await;
                }
            }
        };
        let ((), counts) = or(join(change, read), watch).await;
        assert!(subscriptions.get() > 0);
        assert!(counts.iter().all(|(allowed, refused)| *allowed > 0 && *refused > 0), "{counts:?}");
        server.stop(std::time::Duration::ZERO).await;
    });
}
