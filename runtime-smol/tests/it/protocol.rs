//! Requests, transactions and pushes over real sockets.

use crate::client::{Client, End, insert, options, push, run, start};
use smol::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use std::time::Duration;

#[test]
fn records_are_written_read_and_deleted() {
    run(async {
        let server = start(options()).await;
        let mut client = Client::connect(&server).await;
        let inserted = client.ask(&insert("a", 1)).await;
        assert!(
            inserted.starts_with(r#"{"id":1,"type":"result","data":{"id":"a","n":1,"_version":1,"#),
            "{inserted}"
        );
        let updated =
            client.ask(r#"{"id":2,"type":"store.update","bucket":"items","key":"a","data":{"n":5}}"#).await;
        assert!(updated.contains(r#""n":5,"_version":2"#), "{updated}");
        let got = client.ask(r#"{"id":3,"type":"store.get","bucket":"items","key":"a"}"#).await;
        assert_eq!(got.replace(r#""id":3,"#, r#""id":2,"#), updated);
        assert_eq!(
            client.ask(r#"{"id":4,"type":"store.delete","bucket":"items","key":"a"}"#).await,
            r#"{"id":4,"type":"result","data":{"deleted":true}}"#
        );
        assert_eq!(
            client.ask(r#"{"id":5,"type":"store.get","bucket":"items","key":"a"}"#).await,
            r#"{"id":5,"type":"result","data":null}"#
        );
        assert!(client.ask("{").await.contains("PARSE_ERROR"));
        server.stop(Duration::ZERO).await;
    });
}

#[test]
fn a_transaction_is_one_change_for_a_subscriber_elsewhere() {
    run(async {
        let server = start(options()).await;
        let mut reader = Client::connect(&server).await;
        let mut writer = Client::connect(&server).await;
        assert_eq!(
            reader.ask(r#"{"id":1,"type":"store.subscribe","query":"sum"}"#).await,
            r#"{"id":1,"type":"result","data":{"subscriptionId":"sub-1","data":0}}"#
        );
        let operations = r#"[
            {"op":"insert","bucket":"items","data":{"id":"a","n":1}},
            {"op":"insert","bucket":"items","data":{"id":"b","n":2}},
            {"op":"update","bucket":"items","key":"a","data":{"n":10}},
            {"op":"count","bucket":"items"}
        ]"#;
        let answer =
            writer.ask(&format!(r#"{{"id":1,"type":"store.transaction","operations":{operations}}}"#)).await;
        assert!(answer.ends_with(r#"{"index":3,"data":2}]}}"#), "{answer}");
        assert_eq!(reader.text().await, push(1, "12"));
        // All or nothing.
        let operations = r#"[
            {"op":"delete","bucket":"items","key":"a"},
            {"op":"insert","bucket":"items","data":{"id":"b"}}
        ]"#;
        let answer =
            writer.ask(&format!(r#"{{"id":1,"type":"store.transaction","operations":{operations}}}"#)).await;
        assert!(answer.contains("CONFLICT"), "{answer}");
        writer.ask(&insert("c", 100)).await;
        assert_eq!(reader.text().await, push(1, "112"));
        server.stop(Duration::ZERO).await;
    });
}

#[test]
fn large_messages_pass_in_both_directions() {
    run(async {
        let server = start(options()).await;
        let mut client = Client::connect(&server).await;
        let long = "x".repeat(700_000);
        let answer = client.ask(&insert(&long, 1)).await;
        assert!(answer.len() > 700_000 && answer.contains(&long));
        for n in 0..5 {
            client.ask(&insert(&format!("{n}{long}"), 1)).await;
        }
        let all = client.ask(r#"{"id":2,"type":"store.all","bucket":"items"}"#).await;
        assert_eq!(all.matches(&long).count(), 6);
        client.send(&insert(&"x".repeat(1_100_000), 1)).await;
        assert_eq!(client.next().await, Err(End::Close(1009, String::new())));
        server.stop(Duration::ZERO).await;
    });
}

#[test]
fn a_plain_request_is_answered_and_closed() {
    run(async {
        let server = start(options()).await;
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
        server.stop(Duration::ZERO).await;
    });
}

#[test]
fn the_end_of_the_stream_follows_the_answer_at_once() {
    run(async {
        let mut options = options();
        // If the end came with this only, the test would run into its limit.
        options.connection.close_timeout = Duration::from_secs(3600);
        let server = start(options).await;
        let mut plain = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
        plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        plain.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
        drop(plain);
        server.stop(Duration::ZERO).await;
    });
}
