//! Lists that are rebuilt from deltas while others write on other threads.

use crate::client::{Client, options, run, start};
use crate::runtime::{Options, Server};
use futures::future::{join, join_all};
use noex_json::{Object, Value, parse};
use std::{cell::Cell, time::Duration};

/// Writes of each writer, most of them in batches under way at once.
const WRITES: u64 = 400;
const WRITERS: u64 = 3;
/// Requests that a writer keeps under way.
const WINDOW: u64 = 4;
/// Keys that all writers share: few, so that they meet.
const KEYS: u64 = 30;
/// Length of texts that fill the buffers of a connection, and how many of them are written.
const PAD: usize = 16_000;
const PADS: u64 = 600;

const QUERIES: [(&str, &str); 4] = [
    ("top", r#"{"bucket":"rows","sort":{"n":"desc"},"limit":7}"#),
    ("rows", r#"{"bucket":"rows"}"#),
    ("some", r#"{"bucket":"rows","filter":{"n":{"$gte":50}},"sort":{"n":"asc","id":"asc"}}"#),
    ("ids", r#"{"bucket":"rows","sort":{"n":"asc"},"select":["id","n"]}"#),
];

pub(crate) fn lists() -> Options {
    let mut options = options();
    let schema = r#"{"id":{"type":"string","required":true},"n":{"type":"number"},"text":{"type":"string"}}"#;
    for bucket in ["rows", "pads"] {
        options.buckets.push((bucket.into(), format!(r#"{{"key":"id","schema":{schema}}}"#)));
    }
    options.queries.extend(QUERIES.map(|(name, query)| (name.into(), query.into())));
    options.queries.push(("pads".into(), r#"{"bucket":"pads"}"#.into()));
    options
}

/// A small generator of numbers, Marsaglia's xorshift64.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn object(text: &str) -> Object {
    let Ok(Value::Object(object)) = parse(text, 100) else { panic!("{text}") };
    *object
}

fn number(value: &Value) -> u64 {
    let number = value.as_number().expect("a number");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a version or position")]
    let whole = number as u64;
    whole
}

fn list<'o>(object: &'o Object, name: &str) -> &'o [Value] {
    object.get(name).map_or(&[], |list| list.as_array().expect("a list"))
}

/// The list that a client has, built from what it was sent.
struct Rebuilt {
    version: u64,
    rows: Vec<Value>,
}

impl Rebuilt {
    fn whole(answer: &Object) -> Self {
        Self {
            version: number(answer.get("version").expect("a version")),
            rows: list(answer, "data").to_vec(),
        }
    }

    fn take_out(&mut self, key: &Value) -> Value {
        let at = self.rows.iter().position(|row| row.as_object().and_then(|row| row.get("id")) == Some(key));
        self.rows.remove(at.unwrap_or_else(|| panic!("no row {key:?}")))
    }

    /// Applies a delta as the description of the protocol says.
    fn apply(&mut self, delta: &Object) {
        assert_eq!(delta.get("from").map(number), Some(self.version), "the chain of versions");
        for key in list(delta, "left") {
            self.take_out(key);
        }
        let mut placed: Vec<(u64, Value)> = Vec::new();
        for change in list(delta, "changed") {
            let [key, members, at @ ..] = change.as_array().expect("a change") else { panic!("{change:?}") };
            let place =
                self.rows.iter().position(|row| row.as_object().and_then(|row| row.get("id")) == Some(key));
            let Value::Object(mut row) = self.take_out(key) else { panic!("not a record") };
            row.merge(members.as_object().expect("members").clone());
            match at {
                [at] => placed.push((number(at), Value::Object(row))),
                _ => self.rows.insert(place.expect("found"), Value::Object(row)),
            }
        }
        for entered in list(delta, "entered") {
            let [at, row] = entered.as_array().expect("an entry") else { panic!("{entered:?}") };
            placed.push((number(at), row.clone()));
        }
        placed.sort_by_key(|(at, _)| *at);
        for (at, row) in placed {
            self.rows.insert(usize::try_from(at).expect("a position"), row);
        }
        self.version = number(delta.get("to").expect("a version"));
    }

    fn text(&self) -> String {
        Value::from(self.rows.clone()).to_json()
    }

    fn is_sealed(&self) -> bool {
        let id = Value::from("seal");
        self.rows.iter().any(|row| row.as_object().and_then(|row| row.get("id")) == Some(&id))
    }
}

/// How often what came.
#[derive(Debug, Default)]
struct Counts {
    deltas: u64,
    wholes: u64,
    snapshots: u64,
}

/// One who follows a query.
struct Follower {
    client: Client,
    query: &'static str,
    id: String,
    list: Rebuilt,
    counts: Counts,
}

impl Follower {
    async fn start(server: &Server, query: &'static str) -> Self {
        let mut client = Client::connect(server).await;
        let (id, list) = Self::subscribe(&mut client, query).await;
        Self { client, query, id, list, counts: Counts::default() }
    }

    /// Pushes of an ended subscription may come before the answer, but none of the new one.
    async fn subscribe(client: &mut Client, query: &str) -> (String, Rebuilt) {
        client
            .send(&format!(r#"{{"id":1,"type":"store.subscribe","query":"{query}","mode":"delta"}}"#))
            .await;
        loop {
            let text = client.text().await;
            let answer = object(&text);
            if answer.get("id").is_some() {
                let data = answer.get("data").and_then(Value::as_object).unwrap_or_else(|| panic!("{text}"));
                let id = data.get("subscriptionId").and_then(Value::as_str).expect("an id").to_owned();
                return (id, Rebuilt::whole(data));
            }
        }
    }

    /// Takes the next message.
    async fn take(&mut self) {
        let text = self.client.text().await;
        let message = object(&text);
        if message.get("type").and_then(Value::as_str) == Some("push") {
            assert_eq!(message.get("subscriptionId").and_then(Value::as_str), Some(&*self.id), "{text}");
            match message.get("delta") {
                Some(delta) => {
                    self.list.apply(delta.as_object().expect("a delta"));
                    self.counts.deltas += 1;
                }
                None => {
                    let whole = Rebuilt::whole(&message);
                    assert!(whole.version > self.list.version, "{text}");
                    self.list = whole;
                    self.counts.wholes += 1;
                }
            }
        } else {
            let data = message.get("data").and_then(Value::as_object).unwrap_or_else(|| panic!("{text}"));
            let snapshot = Rebuilt::whole(data);
            assert_eq!((snapshot.version, snapshot.text()), (self.list.version, self.list.text()));
            self.counts.snapshots += 1;
        }
    }

    /// Follows until the seal is seen; asks for snapshots and subscribes anew now and then.
    async fn follow(mut self, mut dice: Dice) -> Self {
        while !self.list.is_sealed() {
            self.take().await;
            match dice.below(60) {
                0 => {
                    let ask = format!(r#"{{"id":2,"type":"store.snapshot","subscriptionId":"{}"}}"#, self.id);
                    self.client.send(&ask).await;
                }
                1 if self.counts.snapshots > 0 => {
                    let ask =
                        format!(r#"{{"id":3,"type":"store.unsubscribe","subscriptionId":"{}"}}"#, self.id);
                    self.client.send(&ask).await;
                    while object(&self.client.text().await).get("id") != Some(&Value::Number(3.0)) {}
                    (self.id, self.list) = Self::subscribe(&mut self.client, self.query).await;
                }
                _ => {}
            }
        }
        self
    }
}

/// A write on some of the shared keys.
fn any_write(dice: &mut Dice) -> String {
    let key = dice.below(KEYS);
    let (other, n) = (dice.below(KEYS), dice.below(100));
    let bucket = r#""bucket":"rows""#;
    let data = match dice.below(3) {
        0 => format!(r#"{{"n":{n},"text":"{}"}}"#, "t".repeat(dice.below(50) as usize)),
        _ => format!(r#"{{"n":{n}}}"#),
    };
    match dice.below(100) {
        0..40 => format!(r#"{{"id":1,"type":"store.insert",{bucket},"data":{{"id":"{key}","n":{n}}}}}"#),
        40..70 => format!(r#"{{"id":1,"type":"store.update",{bucket},"key":"{key}","data":{data}}}"#),
        70..85 => format!(r#"{{"id":1,"type":"store.delete",{bucket},"key":"{key}"}}"#),
        85..98 => format!(
            concat!(
                r#"{{"id":1,"type":"store.transaction","operations":[{{"op":"delete",{b},"key":"{key}"}},"#,
                r#"{{"op":"insert",{b},"data":{{"id":"{key}","n":{n}}}}},"#,
                r#"{{"op":"update",{b},"key":"{other}","data":{data}}}]}}"#
            ),
            b = bucket,
            key = key,
            n = n,
            other = other,
            data = data
        ),
        _ => format!(r#"{{"id":1,"type":"store.clear",{bucket}}}"#),
    }
}

/// Sends requests, some at a time, and takes their answers, whatever they are.
async fn write(server: &Server, count: u64, mut request: impl FnMut() -> String, written: &Cell<u64>) {
    let mut client = Client::connect(server).await;
    let mut under_way = 0;
    for _ in 0..count {
        client.send(&request()).await;
        under_way += 1;
        while under_way >= WINDOW {
            client.text().await;
            under_way -= 1;
            written.set(written.get() + 1);
        }
    }
    for _ in 0..under_way {
        client.text().await;
        written.set(written.get() + 1);
    }
}

/// Everybody who follows ends with what the store has. `scale` divides the amount of work.
pub(crate) async fn lists_are_rebuilt(server: &Server, scale: u64) {
    let mut followers = Vec::new();
    for (query, _) in QUERIES.iter().chain(&QUERIES) {
        followers.push(Follower::start(server, query).await);
    }
    let mut slow = Follower::start(server, "pads").await;
    let (written, padded) = (Cell::new(0), Cell::new(0));
    let writers = (1..=WRITERS).map(|seed| {
        let mut dice = Dice(seed * 7919);
        write(server, WRITES / scale, move || any_write(&mut dice), &written)
    });
    let pads = PADS / scale;
    let mut n = 0;
    let pad = write(
        server,
        pads,
        move || {
            n += 1;
            let id = n % 3;
            let text = format!("{n}{}", "p".repeat(PAD));
            match n {
                1..=3 => format!(
                    r#"{{"id":1,"type":"store.insert","bucket":"pads","data":{{"id":"{id}","text":"{text}"}}}}"#
                ),
                _ => format!(
                    r#"{{"id":1,"type":"store.update","bucket":"pads","key":"{id}","data":{{"text":"{text}"}}}}"#
                ),
            }
        },
        &padded,
    );
    let all_written = async {
        join(join_all(writers), pad).await;
        let mut last = Client::connect(server).await;
        for bucket in ["pads", "rows"] {
            let seal = format!(
                r#"{{"id":1,"type":"store.insert","bucket":"{bucket}","data":{{"id":"seal","n":1000000}}}}"#
            );
            assert!(last.ask(&seal).await.starts_with(r#"{"id":1,"type":"result""#));
        }
    };
    let follow = join_all(followers.into_iter().zip(1..).map(|(one, seed)| one.follow(Dice(seed * 104_729))));
    let (_, (followers, slow)) = join(all_written, async {
        let slowly = async {
            // Reads nothing while its pushes pile up.
            while padded.get() < pads * 3 / 4 {
                smol::future::yield_now().await;
            }
            while !slow.list.is_sealed() {
                slow.take().await;
            }
            slow
        };
        join(follow, slowly).await
    })
    .await;
    let mut judge = Client::connect(server).await;
    for follower in followers.into_iter().chain([slow]) {
        let Follower { mut client, query, id, list, counts } = follower;
        let ask = format!(r#"{{"id":4,"type":"store.subscribe","query":"{query}"}}"#);
        let fresh = judge.ask(&ask).await;
        let (_, fresh) = fresh.split_once(r#""data":["#).expect("a list");
        let (_, rows) = list
            .text()
            .split_once('[')
            .map(|(head, rows)| (head.to_owned(), rows.to_owned()))
            .expect("a list");
        assert_eq!(fresh, format!("{rows}}}}}"), "{query} {counts:?}");
        assert!(counts.deltas + counts.wholes > 0);
        let snapshot =
            client.ask(&format!(r#"{{"id":2,"type":"store.snapshot","subscriptionId":"{id}"}}"#)).await;
        assert_eq!(
            snapshot,
            format!(
                r#"{{"id":2,"type":"result","data":{{"version":{},"data":{}}}}}"#,
                list.version,
                list.text()
            )
        );
        eprintln!("{query} {counts:?}");
    }
}

#[test]
fn lists_are_rebuilt_from_deltas_of_many_writers() {
    run(async {
        let server = start(lists()).await;
        lists_are_rebuilt(&server, 1).await;
        server.stop(Duration::ZERO).await;
    });
}

/// Follows a query that comes and goes: each subscription is answered first, follows without a gap, and ends once.
async fn follow_what_ends(server: &Server, done: &Cell<bool>) -> u64 {
    let mut client = Client::connect(server).await;
    let mut ended = 0;
    while !done.get() {
        client.send(r#"{"id":1,"type":"store.subscribe","query":"brief","mode":"delta"}"#).await;
        let text = client.text().await;
        let answer = object(&text);
        assert_eq!(answer.get("id"), Some(&Value::Number(1.0)), "{text}");
        let Some(data) = answer.get("data").and_then(Value::as_object) else {
            assert!(text.contains(r#""code":"QUERY_NOT_DEFINED""#), "{text}");
            continue;
        };
        let id = data.get("subscriptionId").expect("an id");
        let mut list = Rebuilt::whole(data);
        loop {
            let text = client.text().await;
            let message = object(&text);
            assert_eq!(message.get("subscriptionId"), Some(id), "{text}");
            match message.get("delta").and_then(Value::as_object) {
                Some(delta) => list.apply(delta),
                None if message.contains("version") => list = Rebuilt::whole(&message),
                None => break assert!(text.contains(r#""reason":"query_undefined""#), "{text}"),
            }
        }
        ended += 1;
    }
    ended
}

/// Queries are defined and undefined while others subscribe to them.
pub(crate) async fn subscriptions_end_with_their_query(server: &Server, rounds: u64) {
    let done = Cell::new(false);
    let change = async {
        let mut writer = Client::connect(server).await;
        let mut definer = Client::connect(server).await;
        for n in 0..rounds {
            let define = r#"{"id":1,"type":"store.defineQuery","name":"brief","config":{"bucket":"rows","sort":{"n":"asc"}}}"#;
            let insert = format!(
                r#"{{"id":1,"type":"store.insert","bucket":"rows","data":{{"id":"b{n}","n":{}}}}}"#,
                n % 7
            );
            assert!(definer.ask(define).await.starts_with(r#"{"id":1,"type":"result""#));
            assert!(writer.ask(&insert).await.starts_with(r#"{"id":1,"type":"result""#));
            writer.send(&format!(r#"{{"id":1,"type":"store.delete","bucket":"rows","key":"b{n}"}}"#)).await;
            let undefine = r#"{"id":1,"type":"store.undefineQuery","name":"brief"}"#;
            assert!(definer.ask(undefine).await.starts_with(r#"{"id":1,"type":"result""#));
            writer.text().await;
        }
        done.set(true);
    };
    let follow = join_all([0; 3].map(|_| follow_what_ends(server, &done)));
    let ((), ended) = join(change, follow).await;
    assert!(ended.iter().all(|ended| *ended > 0), "{ended:?}");
}

#[test]
fn subscriptions_end_once_with_their_query() {
    run(async {
        let server = start(lists()).await;
        subscriptions_end_with_their_query(&server, 300).await;
        server.stop(Duration::ZERO).await;
    });
}
