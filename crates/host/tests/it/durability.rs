//! What clients see of a journal that is slow, fails, recovers, and of a server that comes back.

use crate::{
    client::{Client, Item},
    world::{World, options},
};
use noex_host::{
    Durability, Hub, Options, Persistence, RulesOptions, StartError,
    store::{Image, Journal, JournalDone, JournalEntry, JournalError, MemoryImage},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Keeps what it is told to, when it is told to.
#[derive(Default)]
pub(crate) struct Scripted {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Groups are kept at once.
    prompt: bool,
    waiting: VecDeque<(Vec<Vec<JournalEntry>>, JournalDone)>,
    image: MemoryImage,
    sizes: Vec<usize>,
}

impl Journal for Scripted {
    fn submit(&self, group: Vec<Vec<JournalEntry>>, done: JournalDone) {
        let prompt = {
            let mut state = self.state.lock().unwrap();
            assert!(state.waiting.is_empty(), "one group at a time");
            state.sizes.push(group.len());
            state.waiting.push_back((group, done));
            state.prompt
        };
        if prompt {
            self.keep();
        }
    }
}

impl Scripted {
    fn take(&self) -> Option<(Vec<Vec<JournalEntry>>, JournalDone)> {
        self.state.lock().unwrap().waiting.pop_front()
    }

    pub(crate) fn is_busy(&self) -> bool {
        !self.state.lock().unwrap().waiting.is_empty()
    }

    pub(crate) fn keep(&self) {
        let (group, done) = self.take().expect("a group");
        self.state.lock().unwrap().image.apply(&group).expect("entries that make sense");
        done(Ok(()));
    }

    pub(crate) fn fail(&self) {
        let (_, done) = self.take().expect("a group");
        done(Err(JournalError("disk full".into())));
    }

    pub(crate) fn prompt(&self, prompt: bool) {
        self.state.lock().unwrap().prompt = prompt;
    }

    pub(crate) fn image(&self) -> MemoryImage {
        self.state.lock().unwrap().image.clone()
    }

    pub(crate) fn sizes(&self) -> Vec<usize> {
        std::mem::take(&mut self.state.lock().unwrap().sizes)
    }
}

pub(crate) fn persistence(journal: &Arc<Scripted>, image: MemoryImage) -> Persistence {
    journal.state.lock().unwrap().image = image.clone();
    Persistence::new(Arc::clone(journal) as Arc<dyn Journal>, Box::new(image))
}

/// A world whose start is kept, and its journal, which does nothing by itself.
pub(crate) fn world_with(options: Options, image: MemoryImage) -> (World, Arc<Scripted>) {
    let journal = Arc::new(Scripted::default());
    let durability = options.persistence.as_ref().map(|p| p.durability).unwrap_or_default();
    let persistence = Persistence { durability, ..persistence(&journal, image) };
    let mut world = World::new(Options { persistence: Some(persistence), ..options });
    world.start_expiry();
    journal.prompt(true);
    world.run();
    journal.prompt(false);
    journal.sizes();
    (world, journal)
}

fn world() -> (World, Arc<Scripted>) {
    world_with(options(), MemoryImage::default())
}

fn insert(id: usize, bucket: &str, key: &str, n: usize) -> String {
    format!(r#"{{"id":{id},"type":"store.insert","bucket":"{bucket}","data":{{"id":"{key}","n":{n}}}}}"#)
}

fn subscribe(id: usize, query: &str) -> String {
    format!(r#"{{"id":{id},"type":"store.subscribe","query":"{query}"}}"#)
}

fn count(id: usize, bucket: &str) -> String {
    format!(r#"{{"id":{id},"type":"store.count","bucket":"{bucket}"}}"#)
}

pub(crate) fn result(id: usize, data: &str) -> String {
    format!(r#"{{"id":{id},"type":"result","data":{data}}}"#)
}

fn push(subscription: usize, data: &str) -> String {
    format!(
        r#"{{"type":"push","channel":"subscription","subscriptionId":"sub-{subscription}","data":{data}}}"#
    )
}

pub(crate) fn lost(id: usize) -> String {
    let text = "Write could not be stored; nothing was changed";
    format!(r#"{{"id":{id},"type":"error","code":"INTERNAL_ERROR","message":"{text}"}}"#)
}

/// The ids of replies, in the order in which they came.
fn ids(texts: &[String]) -> Vec<usize> {
    let id = |text: &String| text.strip_prefix("{\"id\":")?.split(',').next()?.parse().ok();
    texts.iter().filter_map(id).collect()
}

#[test]
fn nothing_is_said_before_it_is_kept() {
    let (mut world, journal) = world();
    let (mut writer, mut watcher) = (world.connect(), world.connect());
    assert_eq!(
        world.ask(&mut watcher, &subscribe(1, "sum")),
        [result(1, r#"{"subscriptionId":"sub-1","data":0}"#)]
    );
    assert!(world.ask(&mut writer, &insert(1, "items", "a", 5)).is_empty());
    assert!(world.exchange(&mut watcher).is_empty());
    journal.keep();
    let told = world.exchange(&mut writer);
    assert!(told.len() == 1 && told[0].contains(r#""id":"a","n":5"#), "{told:?}");
    assert_eq!(world.exchange(&mut watcher), [push(1, "5")]);
    assert!(!journal.is_busy());
}

#[test]
fn a_reply_precedes_the_push_that_its_request_causes() {
    let (mut world, journal) = world();
    let mut client = world.connect();
    world.ask(&mut client, &subscribe(1, "sum"));
    world.ask(&mut client, &insert(2, "items", "a", 5));
    world.ask(&mut client, &insert(3, "items", "b", 6));
    journal.keep();
    let told = world.exchange(&mut client);
    assert_eq!((ids(&told), told[1].as_str()), (vec![2], push(1, "5").as_str()));
    journal.keep();
    let told = world.exchange(&mut client);
    assert_eq!((ids(&told), told[1].as_str()), (vec![3], push(1, "11").as_str()));
}

#[test]
fn what_comes_while_a_group_is_kept_forms_the_next_one() {
    let (mut world, journal) = world();
    let mut clients: Vec<Client> = (0..3).map(|_| world.connect()).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        for n in 0..10 {
            client.text(&insert(n, "items", &format!("{at}-{n}"), n));
        }
        world.run();
    }
    journal.keep();
    journal.keep();
    assert_eq!(journal.sizes(), [10, 20], "the requests of one turn; then those of the two others");
    for client in &mut clients {
        assert_eq!(ids(&world.exchange(client)), (0..10).collect::<Vec<_>>());
    }
}

#[test]
fn replies_come_in_the_order_of_the_requests_whatever_waits() {
    let (mut world, journal) = world();
    let mut client = world.connect();
    for text in [
        insert(1, "items", "a", 1),
        r#"{"id":2,"type":"server.health"}"#.to_owned(),
        count(3, "brief"),
        insert(4, "items", "a", 1),
        count(5, "items"),
        subscribe(6, "sum"),
        insert(7, "brief", "x", 1),
        count(8, "brief"),
    ] {
        client.text(&text);
    }
    assert!(world.exchange(&mut client).is_empty(), "the first one waits, and all others behind it");
    journal.keep();
    let told = world.exchange(&mut client);
    assert_eq!(ids(&told), (1..=8).collect::<Vec<_>>());
    assert!(told[3].contains("ALREADY_EXISTS") && told[4] == result(5, "1") && told[7] == result(8, "1"));
}

#[test]
fn reads_wait_only_for_what_they_read() {
    let (mut world, journal) = world();
    let (mut writer, mut reader) = (world.connect(), world.connect());
    world.ask(&mut writer, &insert(1, "items", "a", 1));
    assert_eq!(world.ask(&mut reader, &count(1, "brief")), [result(1, "0")]);
    let told = world.ask(&mut reader, &subscribe(2, "count-brief"));
    assert_eq!(told, [result(2, r#"{"subscriptionId":"sub-1","data":0}"#)]);
    assert_eq!(world.ask(&mut reader, r#"{"id":3,"type":"store.stats"}"#).len(), 1);
    assert!(world.ask(&mut reader, &count(4, "items")).is_empty());
    journal.keep();
    assert_eq!(world.exchange(&mut reader), [result(4, "1")]);
}

#[test]
fn after_a_failure_writers_are_told_and_readers_never_saw_it() {
    let (mut world, journal) = world();
    let (mut writer, mut reader) = (world.connect(), world.connect());
    world.ask(&mut reader, &subscribe(1, "sum"));
    world.ask(&mut writer, &insert(1, "items", "a", 1));
    // These form the next group, and rest on the first one.
    world.ask(&mut writer, &insert(2, "items", "b", 2));
    world.ask(&mut writer, r#"{"id":3,"type":"store.update","bucket":"items","key":"a","data":{"n":9}}"#);
    world.ask(&mut reader, &count(2, "items"));
    world.ask(&mut reader, &subscribe(3, "count-items"));
    assert!(world.exchange(&mut reader).is_empty());
    journal.fail();
    assert_eq!(world.exchange(&mut writer), [lost(1), lost(2), lost(3)]);
    assert_eq!(
        world.exchange(&mut reader),
        [result(2, "0"), result(3, r#"{"subscriptionId":"sub-2","data":0}"#)]
    );
    assert!(!journal.is_busy(), "there is nothing to keep");
    // The next write tries again.
    world.ask(&mut writer, &insert(4, "items", "a", 3));
    journal.keep();
    assert_eq!(ids(&world.exchange(&mut writer)), [4]);
    let mut told = world.exchange(&mut reader);
    told.sort();
    assert_eq!(told, [push(1, "3"), push(2, "1")]);
}

#[test]
fn a_result_that_was_kept_reaches_its_subscriber_though_a_later_group_fails() {
    let (mut world, journal) = world();
    let (mut writer, mut watcher) = (world.connect(), world.connect());
    world.ask(&mut watcher, r#"{"id":1,"type":"store.subscribe","query":"above","params":{"n":5}}"#);
    world.ask(&mut writer, &insert(1, "items", "high", 9));
    // Does not concern the view, but the view is evaluated on top of it.
    world.ask(&mut writer, &insert(2, "items", "low", 1));
    journal.keep();
    journal.fail();
    world.run();
    let told = world.exchange(&mut watcher);
    assert!(told.len() == 1 && told[0].contains(r#""id":"high""#), "{told:?}");
    assert_eq!(world.ask(&mut watcher, &count(2, "items")), [result(2, "1")]);
}

#[test]
fn a_dropped_bucket_that_is_not_kept_comes_back_with_its_subscriptions() {
    let (mut world, journal) = world();
    let (mut admin, mut watcher) = (world.connect(), world.connect());
    world.ask(&mut watcher, &subscribe(1, "count-items"));
    let drop = |id: usize| format!(r#"{{"id":{id},"type":"store.dropBucket","name":"items"}}"#);
    world.ask(&mut admin, &drop(1));
    assert!(world.ask(&mut watcher, &count(2, "items")).is_empty(), "whether there is such a bucket is open");
    journal.fail();
    assert_eq!(world.exchange(&mut watcher), [result(2, "0")]);
    assert_eq!(world.exchange(&mut admin), [lost(1)]);
    world.ask(&mut admin, &insert(2, "items", "a", 1));
    journal.keep();
    assert_eq!(ids(&world.exchange(&mut admin)), [2]);
    assert_eq!(world.exchange(&mut watcher), [push(1, "1")]);
    world.ask(&mut admin, &drop(3));
    assert!(world.exchange(&mut watcher).is_empty());
    journal.keep();
    assert_eq!(world.exchange(&mut admin), [result(3, r#"{"name":"items","dropped":true}"#)]);
    let told = world.exchange(&mut watcher);
    assert!(told.len() == 1 && told[0].contains("bucket_dropped"), "{told:?}");
    drop_all(&mut world, vec![admin, watcher]);
}

fn drop_all(world: &mut World, clients: Vec<Client>) {
    drop(clients);
    world.advance(Duration::from_secs(10));
    world.assert_nothing_left();
}

#[test]
fn definitions_are_undone_too() {
    let (mut world, journal) = world();
    let (mut admin, mut other) = (world.connect(), world.connect());
    let schema = r#"{"key":"id","schema":{"id":{"type":"string"}}}"#;
    admin.text(&format!(r#"{{"id":1,"type":"store.defineBucket","name":"new","config":{schema}}}"#));
    admin.text(r#"{"id":2,"type":"store.defineQuery","name":"news","config":{"bucket":"new"}}"#);
    world.run();
    assert!(world.ask(&mut other, &subscribe(1, "news")).is_empty());
    assert!(world.ask(&mut other, r#"{"id":2,"type":"store.listQueries"}"#).is_empty());
    journal.fail();
    assert_eq!(world.exchange(&mut admin), [lost(1), lost(2)]);
    let told = world.exchange(&mut other);
    assert!(told[0].contains("QUERY_NOT_DEFINED") && !told[1].contains("news"), "{told:?}");
    drop_all(&mut world, vec![admin, other]);
}

#[test]
fn a_subscription_that_ends_while_it_waits_leaves_nothing() {
    for kept in [true, false] {
        let (mut world, journal) = world();
        let (mut writer, mut watcher) = (world.connect(), world.connect());
        world.ask(&mut writer, &insert(1, "items", "a", 1));
        world.ask(&mut watcher, &subscribe(1, "sum"));
        drop(watcher);
        world.run();
        if kept {
            journal.keep();
        } else {
            journal.fail();
        }
        drop_all(&mut world, vec![writer]);
    }
}

#[test]
fn requests_in_flight_bound_what_is_not_kept() {
    let mut options = options();
    options.connection.requests_in_flight_max = 8;
    let (mut world, journal) = world_with(options, MemoryImage::default());
    let mut client = world.connect();
    for n in 0..50 {
        client.text(&insert(n, "items", &n.to_string(), n));
    }
    world.run();
    let mut told = Vec::new();
    while journal.is_busy() {
        journal.keep();
        told.extend(world.exchange(&mut client));
    }
    assert_eq!(ids(&told), (0..50).collect::<Vec<_>>());
    let sizes = journal.sizes();
    assert!(sizes.iter().all(|size| *size <= 8) && sizes.iter().sum::<usize>() == 50, "{sizes:?}");
}

#[test]
fn a_stop_waits_for_the_journal() {
    let (mut world, journal) = world();
    let (mut stays, leaves) = (world.connect(), world.connect());
    leaves.text(&insert(1, "items", "left", 1));
    world.run();
    drop(leaves);
    world.ask(&mut stays, &insert(1, "items", "stays", 1));
    let stop = world.stop(Duration::ZERO);
    world.run();
    assert!(!world.is_done(stop));
    journal.keep();
    world.run();
    assert!(!world.is_done(stop), "the second group is under way");
    journal.keep();
    world.run();
    let told = stays.received();
    assert!(
        matches!(&told[0], Item::Text(text) if text.starts_with("{\"id\":1,\"type\":\"result\"")),
        "{told:?}"
    );
    drop(stays);
    world.advance(Duration::from_secs(1));
    assert!(world.is_done(stop));
    let mut image = journal.image();
    let mut kept = Vec::new();
    image
        .records(0, &mut |_, text| {
            kept.push(text.to_owned());
            Ok(())
        })
        .unwrap();
    assert_eq!(kept.len(), 2, "{kept:?}");
}

#[test]
fn while_nothing_can_be_kept_nothing_expires_and_no_thread_is_busy() {
    let mut options = options();
    options.connection.heartbeat.interval = Duration::from_secs(3600);
    let (mut world, journal) = world_with(options, MemoryImage::default());
    let mut client = world.connect();
    world.ask(&mut client, &insert(1, "brief", "a", 1));
    journal.keep();
    world.exchange(&mut client);
    world.advance(Duration::from_secs(60));
    assert!(journal.is_busy(), "the removal of the expired record");
    journal.fail();
    // The journal is tried once a second, and the reader is answered.
    for _ in 0..3 {
        world.run();
        assert!(!journal.is_busy());
        assert_eq!(world.ask(&mut client, &count(2, "brief")), [result(2, "1")]);
        world.advance_checking(Duration::from_secs(1), |_| assert!(!journal.is_busy()));
        journal.fail();
    }
    world.advance(Duration::from_secs(1));
    journal.keep();
    assert_eq!(world.ask(&mut client, &count(3, "brief")), [result(3, "0")]);
}

#[test]
fn without_sync_replies_come_at_once_and_writes_are_refused_while_the_journal_fails() {
    let mut options = options();
    let (journal, image) = (Arc::new(Scripted::default()), MemoryImage::default());
    options.persistence = Some(Persistence { durability: Durability::Async, ..persistence(&journal, image) });
    let (mut world, journal) = world_with(options, MemoryImage::default());
    let mut client = world.connect();
    world.ask(&mut client, &subscribe(1, "sum"));
    assert_eq!(world.ask(&mut client, &insert(2, "items", "a", 1)).len(), 2, "reply and push");
    assert_eq!(world.ask(&mut client, &insert(3, "items", "b", 1)).len(), 2);
    journal.fail();
    world.run();
    assert!(!journal.is_busy());
    assert_eq!(world.ask(&mut client, &insert(4, "items", "c", 1)), [lost(4)]);
    assert!(journal.is_busy(), "the refused write has it tried again");
    assert_eq!(world.ask(&mut client, &count(5, "items")), [result(5, "2")]);
    journal.keep();
    assert_eq!(ids(&world.ask(&mut client, &insert(6, "items", "d", 1))), [6]);
    journal.keep();
    let mut kept = 0;
    let mut image = journal.image();
    image
        .records(0, &mut |_, _| {
            kept += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(kept, 3, "what was acknowledged while the journal failed is not forgotten");
}

#[test]
fn rules_hear_of_changes_when_they_are_kept() {
    let rule = r#"{"id":"copy","name":"copy","trigger":{"type":"event","topic":"bucket.items.inserted"},
        "actions":[{"type":"call_service","service":"store","method":"insert",
          "args":["brief",{"ref":"event.record"}]},
         {"type":"emit_event","topic":"copied","data":{"key":{"ref":"event.key"}}}]}"#;
    let options = Options {
        rules: Some(RulesOptions {
            rules: vec![rule.to_owned()],
            store_events: true,
            ..RulesOptions::default()
        }),
        ..options()
    };
    let (mut world, journal) = world_with(options, MemoryImage::default());
    let mut client = world.connect();
    world.ask(&mut client, r#"{"id":1,"type":"rules.subscribe","pattern":"*"}"#);
    world.ask(&mut client, r#"{"id":2,"type":"rules.subscribe","pattern":"bucket.**"}"#);
    world.ask(&mut client, &insert(3, "items", "a", 1));
    journal.fail();
    assert_eq!(world.exchange(&mut client), [lost(3)]);
    world.ask(&mut client, &insert(4, "items", "b", 1));
    journal.keep();
    let told = world.exchange(&mut client);
    assert_eq!(ids(&told), [4], "what the rule wrote is not kept yet, so what it said waits: {told:?}");
    journal.keep();
    let told = world.exchange(&mut client);
    assert!(told.iter().any(|text| text.contains(r#""topic":"copied""#)), "{told:?}");
    assert!(told.iter().any(|text| text.contains("bucket.brief.inserted")), "{told:?}");
}

#[test]
fn a_server_comes_back_with_what_was_acknowledged() {
    let (mut world, journal) = world();
    let mut client = world.connect();
    journal.prompt(true);
    let schema =
        r#"{"key":"id","schema":{"id":{"type":"number","generated":"autoincrement"},"n":{"type":"number"}}}"#;
    let define = format!(r#"{{"id":1,"type":"store.defineBucket","name":"own","config":{schema}}}"#);
    for text in [
        define.as_str(),
        r#"{"id":2,"type":"store.insert","bucket":"own","data":{"n":1}}"#,
        r#"{"id":3,"type":"store.insert","bucket":"own","data":{"n":2}}"#,
        r#"{"id":4,"type":"store.delete","bucket":"own","key":2}"#,
        r#"{"id":5,"type":"store.defineQuery","name":"owned","config":{"bucket":"own"}}"#,
    ] {
        world.ask(&mut client, text);
    }
    world.ask(&mut client, &insert(6, "items", "kept", 1));
    journal.prompt(false);
    world.ask(&mut client, &insert(7, "items", "lost", 1));
    // The process dies.
    let image = journal.image();
    for auto_define in [false, true] {
        let journal = Arc::new(Scripted::default());
        journal.prompt(true);
        let persistence = Persistence { auto_define, ..persistence(&journal, image.clone()) };
        let mut world = World::new(Options { persistence: Some(persistence), ..options() });
        world.start_expiry();
        let mut client = world.connect();
        assert_eq!(world.ask(&mut client, &count(1, "items")), [result(1, "1")]);
        let told = world.ask(&mut client, &count(2, "own"));
        assert_eq!(told[0].contains("BUCKET_NOT_DEFINED"), !auto_define, "{told:?}");
        assert!(world.ask(&mut client, &define)[0].contains("created"));
        assert!(world.ask(&mut client, &define)[0].contains("ALREADY_EXISTS"));
        let told = world.ask(&mut client, r#"{"id":3,"type":"store.insert","bucket":"own","data":{"n":3}}"#);
        assert!(told[0].contains(r#""id":3,"_version":1"#), "the counter goes on: {told:?}");
        assert_eq!(world.ask(&mut client, &count(4, "own")), [result(4, "2")]);
    }
}

/// Clients see infinities as `null`, but they are numbers, after a restart too.
#[test]
fn infinities_come_back_as_numbers() {
    let rules = || Some(RulesOptions { persistent: true, ..RulesOptions::default() });
    let (mut world, journal) = world_with(Options { rules: rules(), ..options() }, MemoryImage::default());
    let mut client = world.connect();
    journal.prompt(true);
    let schema = r#"{"key":"id","schema":{"id":{"type":"number","max":1e400},"n":{"type":"number","required":true,"unique":true}}}"#;
    let define = format!(r#"{{"id":1,"type":"store.defineBucket","name":"own","config":{schema}}}"#);
    let query = r#"{"id":2,"type":"store.defineQuery","name":"finite","config":{"bucket":"own","filter":{"n":{"$lt":1e400}}}}"#;
    let told = [
        define.as_str(),
        query,
        r#"{"id":3,"type":"store.insert","bucket":"own","data":{"id":1e400,"n":1e400}}"#,
        r#"{"id":4,"type":"store.insert","bucket":"own","data":{"id":-1e400,"n":-1e400}}"#,
        r#"{"id":5,"type":"rules.setFact","key":"f","value":[1e400,null]}"#,
    ]
    .map(|text| world.ask(&mut client, text).concat());
    assert!(told.iter().all(|text| text.contains(r#""type":"result""#)), "{told:?}");
    let questions = [
        r#"{"id":6,"type":"store.where","bucket":"own","filter":{"n":{"$gt":5}}}"#,
        r#"{"id":7,"type":"store.count","bucket":"own","filter":{"n":null}}"#,
        r#"{"id":8,"type":"store.get","bucket":"own","key":-1e999}"#,
        r#"{"id":9,"type":"store.update","bucket":"own","key":1e999,"data":{"n":-1e999}}"#,
        r#"{"id":10,"type":"store.subscribe","query":"finite"}"#,
        r#"{"id":11,"type":"store.getBucketSchema","name":"own"}"#,
        r#"{"id":12,"type":"rules.getFact","key":"f"}"#,
    ];
    let before = questions.map(|text| world.ask(&mut client, text).concat());
    assert!(
        before[0].contains(r#""id":null,"n":null"#) && before[3].contains("ALREADY_EXISTS"),
        "{before:?}"
    );
    let image = journal.image();
    let journal = Arc::new(Scripted::default());
    journal.prompt(true);
    let persistence = Persistence { auto_define: true, ..persistence(&journal, image) };
    let mut world = World::new(Options { persistence: Some(persistence), rules: rules(), ..options() });
    let mut client = world.connect();
    assert_eq!(questions.map(|text| world.ask(&mut client, text).concat()), before);
}

#[test]
fn definitions_of_the_config_must_fit_the_data() {
    let (mut world, journal) = world();
    journal.prompt(true);
    let mut client = world.connect();
    for key in ["a", "b"] {
        world.ask(&mut client, &insert(1, "items", key, 1));
    }
    let image = journal.image();
    let start = |from: &str, to: &str, auto_define: bool| {
        let mut options = options();
        options.buckets[0].1 = options.buckets[0].1.replace(from, to);
        let journal = Arc::new(Scripted::default());
        options.persistence = Some(Persistence { auto_define, ..persistence(&journal, image.clone()) });
        match Hub::new(options, world.now()) {
            Ok(_) => Vec::new(),
            // Queries over the bucket are wrong too, then.
            Err(StartError::Definitions(problems)) => problems.into_iter().take(1).collect(),
            Err(other) => panic!("{other}"),
        }
    };
    let number = r#""n":{"type":"number"}"#;
    assert!(start("", "", false).is_empty());
    assert_eq!(
        start(number, r#""n":{"type":"number","unique":true}"#, false),
        [
            r#"buckets.items: Stored data of bucket "items" does not fit: record with key "b": the value of its unique field "n" occurs twice"#
        ]
    );
    assert_eq!(
        start(number, r#""n":{"type":"date"}"#, true),
        [r#"buckets.items: incompatible with persisted definition: field "n" differs"#]
    );
    assert!(start(number, r#""n":{"type":"number"},"m":{"type":"string"}"#, true).is_empty());
    assert!(start(number, r#""n":{"type":"date"}"#, false).is_empty(), "the config wins");
}

fn with_rules(persistent: bool, facts: &[(&str, &str)]) -> Options {
    let facts = facts.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let rule = r#"{"id":"told","name":"told","trigger":{"type":"fact","pattern":"lamp"},"actions":[
        {"type":"set_fact","key":"seen","value":true},
        {"type":"emit_event","topic":"lamp.on","data":{}}]}"#;
    let rules = RulesOptions { persistent, facts, rules: vec![rule.to_owned()], ..RulesOptions::default() };
    Options { rules: Some(rules), ..options() }
}

#[test]
fn facts_and_what_rules_make_of_them_wait_and_are_undone() {
    let (mut world, journal) = world_with(with_rules(false, &[]), MemoryImage::default());
    let (mut writer, mut watcher) = (world.connect(), world.connect());
    world.ask(&mut watcher, r#"{"id":1,"type":"rules.subscribe","pattern":"lamp.*"}"#);
    let set = |id: usize| format!(r#"{{"id":{id},"type":"rules.setFact","key":"lamp","value":true}}"#);
    assert!(world.ask(&mut writer, &set(1)).is_empty());
    assert!(world.ask(&mut watcher, r#"{"id":2,"type":"rules.getFact","key":"seen"}"#).is_empty());
    assert!(
        world.ask(&mut writer, r#"{"id":2,"type":"rules.emit","topic":"lamp.off","data":{}}"#).is_empty()
    );
    journal.fail();
    assert_eq!(world.exchange(&mut writer), [lost(1), lost(2)]);
    assert_eq!(world.exchange(&mut watcher), [result(2, "null")], "no event either");
    world.ask(&mut writer, &set(3));
    journal.keep();
    let told = world.exchange(&mut writer);
    assert!(told[0].contains(r#""version":1"#), "as if it had never been set: {told:?}");
    let told = world.exchange(&mut watcher);
    assert!(told.len() == 1 && told[0].contains(r#""topic":"lamp.on""#), "{told:?}");
    assert_eq!(
        world.ask(&mut watcher, r#"{"id":3,"type":"rules.getFact","key":"seen"}"#),
        [result(3, "true")]
    );
}

#[test]
fn facts_survive_and_rules_and_timers_do_if_they_are_persistent() {
    for persistent in [false, true] {
        let facts = [("lamp", "false"), ("mode", "1")];
        let (mut world, journal) = world_with(with_rules(persistent, &facts), MemoryImage::default());
        let mut client = world.connect();
        journal.prompt(true);
        let rule = r#"{"id":"own","name":"own","trigger":{"type":"event","topic":"go"},"actions":[
            {"type":"set_timer","timer":{"name":"t","duration":"1h","onExpire":{"topic":"late","data":{}}}}]}"#;
        for text in [
            r#"{"id":1,"type":"rules.setFact","key":"mode","value":2}"#.to_owned(),
            format!(r#"{{"id":2,"type":"rules.registerRule","rule":{rule}}}"#),
            r#"{"id":3,"type":"rules.emit","topic":"go","data":{}}"#.to_owned(),
        ] {
            let told = world.ask(&mut client, &text);
            assert!(told[0].contains("result"), "{told:?}");
        }
        let (mut world, _journal) = world_with(with_rules(persistent, &facts), journal.image());
        let mut client = world.connect();
        let ask = |world: &mut World, client: &mut Client, key: &str| {
            world.ask(client, &format!(r#"{{"id":1,"type":"rules.getFact","key":"{key}"}}"#))
        };
        assert_eq!(
            ask(&mut world, &mut client, "mode"),
            [result(1, "2")],
            "a fact of the config is a first value"
        );
        assert_eq!(ask(&mut world, &mut client, "lamp"), [result(1, "false")]);
        let told = world.ask(&mut client, r#"{"id":2,"type":"rules.stats"}"#);
        let (rules, timers) = if persistent { (2, 1) } else { (1, 0) };
        assert!(told[0].contains(&format!(r#""rulesCount":{rules},"#)), "{told:?}");
        assert!(told[0].contains(&format!(r#""timersCount":{timers},"#)), "{told:?}");
    }
}
