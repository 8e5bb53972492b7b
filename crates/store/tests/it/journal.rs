//! What is noted for a journal gives the state back, and what is not settled can be undone, whatever happened.

use crate::history::{BUCKETS, Config, QUERIES, call, definition, execute, pick};
use crate::model::Call;
use crate::support::{Counting, EPOCH_MS, object, options};
use noex_json::Value;
use noex_store::{
    Answer, EndReason, Image, JournalEntry, Journaling, MemoryImage, ReadRequest, Store, StoreOptions,
    Subscribed, SubscriberId,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Something that happens to a store.
#[derive(Clone, Debug)]
enum Act {
    Call(Call),
    Define(usize, Config),
    Drop(usize),
    Update(usize, &'static str),
    DefineQuery(usize),
    UndefineQuery(usize),
    Subscribe(usize),
    Unsubscribe(usize),
    /// Views are evaluated and their subscribers told.
    Flush,
}

fn act() -> BoxedStrategy<Act> {
    let updates = pick(&[
        r#"{"ttl":40}"#,
        r#"{"ttl":null}"#,
        r#"{"addIndexes":["n"]}"#,
        r#"{"addFields":{"z":{"type":"number","unique":true}},"addIndexes":["x"]}"#,
    ]);
    prop_oneof![
        30 => call().boxed().prop_map(Act::Call),
        2 => (0..BUCKETS.len(), definition().boxed()).prop_map(|(bucket, config)| Act::Define(bucket, config)),
        1 => (0..BUCKETS.len()).prop_map(Act::Drop),
        2 => (0..BUCKETS.len(), updates).prop_map(|(bucket, updates)| Act::Update(bucket, updates)),
        2 => (0..QUERIES.len()).prop_map(Act::DefineQuery),
        1 => (0..QUERIES.len()).prop_map(Act::UndefineQuery),
        4 => (0..QUERIES.len()).prop_map(Act::Subscribe),
        1 => (0..8_usize).prop_map(Act::Unsubscribe),
        3 => Just(Act::Flush),
    ]
    .boxed()
}

fn definitions() -> BoxedStrategy<[Config; 3]> {
    [definition().boxed(), definition().boxed(), definition().boxed()].boxed()
}

fn acts(range: std::ops::Range<usize>) -> impl Strategy<Value = Vec<(u64, Act)>> {
    prop::collection::vec((prop_oneof![Just(0), 0..25_u64], act()), range)
}

fn store(sweeps: bool, mode: Journaling) -> Store {
    let options = StoreOptions { ttl_check_interval_ms: u64::from(sweeps), ..options() };
    let mut store = Store::new(options, Box::<Counting>::default());
    store.set_keep_commits(true);
    store.set_journaling(mode);
    store
}

/// A store and what its subscribers know.
struct Stage {
    store: Store,
    now_ms: u64,
    known: BTreeMap<u64, Option<String>>,
    next: u64,
}

impl Stage {
    fn new(definitions: &[Config; 3], sweeps: bool, mode: Journaling) -> Self {
        let mut store = store(sweeps, mode);
        for (name, Config(config)) in BUCKETS.iter().zip(definitions) {
            store.define_bucket(EPOCH_MS, name, config).unwrap();
        }
        for (at, query) in QUERIES.iter().enumerate() {
            store.define_query(&format!("q{at}"), &object(query)).unwrap();
        }
        for (bucket, id) in (0..BUCKETS.len()).flat_map(|bucket| ["1", "\"a\""].map(|id| (bucket, id))) {
            let _ = store.insert(EPOCH_MS, BUCKETS[bucket], object(&format!("{{\"id\":{id}}}")));
        }
        drop(store.settle(store.journal_position()));
        Self { store, now_ms: EPOCH_MS, known: BTreeMap::new(), next: 0 }
    }

    /// Does something and gives what is answered.
    fn act(&mut self, pause: u64, act: &Act) -> String {
        self.now_ms += pause;
        let (now, store) = (self.now_ms, &mut self.store);
        match act {
            Act::Call(call) => format!("{:?}", execute(store, now, call)),
            Act::Define(bucket, Config(config)) => {
                format!("{:?}", store.define_bucket(now, BUCKETS[*bucket], config))
            }
            Act::Drop(bucket) => format!("{:?}", store.drop_bucket(now, BUCKETS[*bucket])),
            Act::Update(bucket, updates) => {
                format!("{:?}", store.update_bucket(now, BUCKETS[*bucket], &object(updates)))
            }
            Act::DefineQuery(at) => {
                format!("{:?}", store.define_query(&format!("q{at}"), &object(QUERIES[*at])))
            }
            Act::UndefineQuery(at) => format!("{:?}", store.undefine_query(&format!("q{at}"))),
            Act::Subscribe(at) => self.subscribe(*at),
            Act::Unsubscribe(at) => {
                let Some(id) = self.known.keys().nth(*at).copied() else { return String::new() };
                self.known.remove(&id);
                assert!(store.unsubscribe(SubscriberId(id)), "a known subscriber");
                String::new()
            }
            Act::Flush => {
                self.flush();
                String::new()
            }
        }
    }

    fn settle(&mut self) {
        let position = self.store.journal_position();
        drop(self.store.settle(position));
        self.take_ended();
    }

    fn take_ended(&mut self) {
        for (id, _) in self.store.take_ended() {
            assert!(self.known.remove(&id.0).is_some(), "an end for a stranger");
        }
    }

    fn subscribe(&mut self, at: usize) -> String {
        self.next += 1;
        let id = SubscriberId(self.next);
        let subscribed = self.store.subscribe(self.now_ms, &format!("q{at}"), None, id);
        let state = match subscribed {
            Err(error) => return format!("{error:?}"),
            Ok(Subscribed::Ready(state)) => state,
            Ok(Subscribed::Evaluate(evaluation)) => {
                let published = self.store.publish(evaluation.run());
                self.take(published.changed);
                published.state
            }
        };
        self.known.insert(id.0, state.result.as_deref().map(str::to_owned));
        String::new()
    }

    fn take(&mut self, changed: Vec<(SubscriberId, noex_store::ViewState)>) {
        for (id, state) in changed {
            let known = self.known.get_mut(&id.0).expect("a known subscriber");
            *known = state.result.as_deref().map(str::to_owned);
        }
    }

    fn flush(&mut self) {
        while let Some(evaluation) = self.store.next_dirty(self.now_ms) {
            let changed = self.store.publish(evaluation.run()).changed;
            self.take(changed);
        }
    }

    /// Everything that can be asked of the data without moving the clock.
    fn picture(&mut self, by_index: bool) -> Vec<String> {
        let mut lines = Vec::new();
        self.store.suspend_expiry(true);
        for name in self.store.bucket_names() {
            lines.push(format!("{name} {}", self.store.bucket_schema(&name).unwrap().to_json()));
            let stats = self.store.bucket_stats(&name).unwrap();
            lines.push(format!("{stats:?}"));
            let mut requests = vec![ReadRequest::All];
            if by_index {
                requests.push(ReadRequest::First(usize::MAX));
                for filter in [
                    r#"{"n":1}"#,
                    r#"{"n":{"$gte":1,"$lt":4}}"#,
                    r#"{"x":{"$in":["1",2]}}"#,
                    r#"{"x":{"$gt":"1"}}"#,
                    r#"{"r":"a"}"#,
                    r#"{"s":"a"}"#,
                ] {
                    requests.push(ReadRequest::Where(object(filter)));
                }
            }
            for request in requests {
                let text = format!("{request:?}");
                let answer = self.store.prepare_read(0, &name, request).unwrap().run();
                let Answer::Records(records) = answer else { panic!("no list") };
                let records: Vec<&str> = records.iter().map(|record| &**record.json()).collect();
                lines.push(format!("{text} {records:?}"));
            }
            for key in [r#""a""#, "1", r#""b""#] {
                let key = crate::support::json(key);
                lines
                    .push(format!("{:?}", self.store.get(0, &name, &key).unwrap().map(|r| r.json().clone())));
            }
        }
        self.store.suspend_expiry(false);
        let queries = self.store.list_queries();
        for query in queries.as_array().unwrap() {
            let query = query.as_object().unwrap();
            lines.push(format!("{:?} {:?}", query.get("name"), query.get("config").map(|c| c.to_json())));
        }
        lines
    }
}

/// The store that an image gives, with everything defined again as it was.
fn restored(image: &mut MemoryImage, model: &mut Store, sweeps: bool) -> Result<Store, TestCaseError> {
    let mut fresh = store(sweeps, Journaling::Undoable);
    fresh.restore(image, &mut |_| {}).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert!(fresh.bucket_names().is_empty(), "all is asleep");
    for name in model.bucket_names() {
        let schema = model.bucket_schema(&name).unwrap();
        fresh.define_bucket(0, &name, schema.as_object().unwrap()).unwrap();
    }
    for query in model.list_queries().as_array().unwrap() {
        let query = query.as_object().unwrap();
        let config = query.get("config").unwrap().as_object().unwrap();
        let name = query.get("name").unwrap().as_str().unwrap();
        if model.has_bucket(model.query_bucket(name).unwrap()) {
            fresh.define_query(name, config).unwrap();
        }
    }
    prop_assert!(fresh.take_journal().is_empty(), "what is defined as it was needs no journal");
    Ok(fresh)
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(400)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    /// Entries, applied in order to an empty image, give the records, their order, counters and definitions.
    #[test]
    fn replay_gives_the_state(
        definitions in definitions(),
        sweeps in any::<bool>(),
        undoable in any::<bool>(),
        acts in acts(1..60),
    ) {
        let mode = if undoable { Journaling::Undoable } else { Journaling::Entries };
        let mut stage = Stage::new(&definitions, sweeps, mode);
        let mut image = MemoryImage::default();
        for (pause, act) in acts {
            stage.act(pause, &act);
            image.apply(&stage.store.take_journal()).map_err(|error| TestCaseError::fail(error.to_string()))?;
            if !undoable {
                stage.take_ended();
            }
        }
        let now_ms = stage.now_ms;
        let fresh = restored(&mut image, &mut stage.store, sweeps)?;
        let mut fresh = Stage { store: fresh, now_ms, known: BTreeMap::new(), next: 0 };
        let dangling = |line: &String| !line.starts_with("Some(String(\"q");
        let told: Vec<String> = stage.picture(false).into_iter().filter(dangling).collect();
        let read: Vec<String> = fresh.picture(false).into_iter().filter(dangling).collect();
        prop_assert_eq!(read, told);
        // Both go on counting and expiring alike.
        let names = stage.store.bucket_names();
        for (at, name) in BUCKETS.iter().enumerate().filter(|(_, name)| names.iter().any(|n| n == *name)) {
            let insert = Act::Call(Call::Insert(at, object(r#"{"id":"new"}"#)));
            prop_assert_eq!(fresh.act(100, &insert), stage.act(100, &insert), "{}", name);
        }
        prop_assert_eq!(
            fresh.picture(false).into_iter().filter(dangling).collect::<Vec<_>>(),
            stage.picture(false).into_iter().filter(dangling).collect::<Vec<_>>()
        );
    }

    /// Undoing what is not settled gives the earlier state with all indexes, counters, definitions and subscriptions;
    /// what is done afterwards has the same results as if nothing had been undone.
    #[test]
    fn undoing_gives_the_earlier_state(
        definitions in definitions(),
        sweeps in any::<bool>(),
        before in acts(0..30),
        undone in acts(1..20),
        after in acts(0..20),
    ) {
        let mut stage = Stage::new(&definitions, sweeps, Journaling::Undoable);
        let mut twin = Stage::new(&definitions, sweeps, Journaling::Off);
        let mut image = MemoryImage::default();
        for (pause, act) in &before {
            prop_assert_eq!(stage.act(*pause, act), twin.act(*pause, act));
            stage.settle();
            twin.take_ended();
        }
        image.apply(&stage.store.take_journal()).unwrap();
        let picture = stage.picture(true);
        let _ = stage.store.take_commits();
        for (pause, act) in &undone {
            stage.act(*pause, act);
            prop_assert!(stage.store.take_ended().is_empty(), "an end that may be undone was told");
            prop_assert!(stage.store.take_commits().len() <= 1, "commits that may be undone were told");
        }
        let newcomers: Vec<u64> = stage.known.keys().copied().filter(|id| *id > twin.next).collect();
        stage.store.undo_unsettled();
        prop_assert!(stage.store.take_journal().is_empty() && stage.store.take_commits().is_empty());
        prop_assert!(stage.store.take_ended().is_empty());
        prop_assert_eq!(stage.picture(true), picture);
        // Those who came meanwhile have learnt nothing and are turned away by the owner.
        for id in newcomers {
            stage.store.unsubscribe(SubscriberId(id));
            stage.known.remove(&id);
        }
        twin.known.retain(|id, _| stage.known.contains_key(id) || !twin.store.unsubscribe(SubscriberId(*id)));
        twin.now_ms = stage.now_ms;
        twin.next = stage.next;
        for (pause, act) in &after {
            prop_assert_eq!(stage.act(*pause, act), twin.act(*pause, act), "{:?}", act);
            stage.settle();
            twin.take_ended();
        }
        stage.flush();
        twin.flush();
        prop_assert_eq!(stage.picture(true), twin.picture(true));
        prop_assert_eq!(&stage.known, &twin.known);
        prop_assert_eq!(
            stage.store.stats().active_subscriptions,
            twin.store.stats().active_subscriptions
        );
        // The journal, which never heard of what was undone, gives the same.
        image.apply(&stage.store.take_journal()).unwrap();
        let fresh = restored(&mut image, &mut stage.store, sweeps)?;
        let mut fresh = Stage { store: fresh, now_ms: stage.now_ms, known: BTreeMap::new(), next: 0 };
        let dangling = |line: &String| !line.starts_with("Some(String(\"q");
        prop_assert_eq!(
            fresh.picture(false).into_iter().filter(dangling).collect::<Vec<_>>(),
            stage.picture(false).into_iter().filter(dangling).collect::<Vec<_>>()
        );
    }
}

const PEOPLE: &str = r#"{"key":"id","schema":{"id":{"type":"number","generated":"autoincrement"},
    "name":{"type":"string"}}}"#;

fn people(mode: Journaling) -> Store {
    let mut store = store(true, mode);
    store.define_bucket(1, "people", &object(PEOPLE)).unwrap();
    store
}

#[test]
fn one_commit_is_one_list_of_entries_with_the_counters_that_moved() {
    let mut store = people(Journaling::Undoable);
    let _ = store.take_journal();
    store.insert(2, "people", object(r#"{"name":"a"}"#)).unwrap();
    let group = store.take_journal();
    let [commit] = &group[..] else { panic!("{group:?}") };
    let [
        JournalEntry::RecordPut { bucket: 0, seq: 0, record },
        JournalEntry::Counters { bucket: 0, counter: 1, next_seq: 1 },
    ] = &commit[..]
    else {
        panic!("{commit:?}")
    };
    assert_eq!(&**record.json(), r#"{"name":"a","id":1,"_version":1,"_createdAt":2,"_updatedAt":2}"#);
    store.update(3, "people", &1.0.into(), object("{}")).unwrap();
    assert!(matches!(&store.take_journal()[0][..], [JournalEntry::RecordPut { seq: 0, .. }]));
    store.insert(4, "people", object(r#"{"name":7}"#)).unwrap_err();
    let group = store.take_journal();
    assert!(matches!(&group[0][..], [JournalEntry::Counters { counter: 2, next_seq: 1, .. }]), "{group:?}");
    store.delete(5, "people", &1.0.into()).unwrap();
    assert!(matches!(&store.take_journal()[0][..], [JournalEntry::RecordDeleted { seq: 0, .. }]));
    store.insert(6, "people", object("{}")).unwrap();
    let _ = store.take_journal();
    store.clear(7, "people").unwrap();
    let group = store.take_journal();
    assert!(matches!(&group[0][..], [JournalEntry::BucketCleared { bucket: 0 }]), "{group:?}");
    store.clear(8, "people").unwrap();
    assert!(store.take_journal().is_empty(), "nothing was there");
}

#[test]
fn of_a_bucket_that_is_not_persistent_only_the_definition_is_kept() {
    let mut store = people(Journaling::Undoable);
    let mut config = object(PEOPLE);
    config.set("persistent", false);
    store.define_bucket(1, "rumours", &config).unwrap();
    let mut image = MemoryImage::default();
    image.apply(&store.take_journal()).unwrap();
    drop(store.settle(store.journal_position()));
    store.insert(2, "rumours", object("{}")).unwrap();
    assert!(store.take_journal().is_empty());
    assert_eq!(store.unsettled_any(), None, "nothing to wait for");
    // On top of something unsettled it may rest on it.
    store.insert(2, "people", object("{}")).unwrap();
    store.insert(2, "rumours", object("{}")).unwrap();
    assert_eq!(store.take_journal().len(), 1);
    assert_eq!(store.unsettled("rumours"), Some(store.journal_position()));
    store.undo_unsettled();
    assert_eq!(store.bucket_stats("rumours").unwrap().record_count, 1);
    assert_eq!(store.bucket_stats("people").unwrap().record_count, 0);
    let mut fresh = self::store(true, Journaling::Off);
    fresh.restore(&mut image, &mut |_| {}).unwrap();
    fresh.revive().unwrap();
    assert_eq!(fresh.bucket_schema("rumours").unwrap(), config.into());
}

/// An image with one bucket of three records, and a query.
fn image() -> MemoryImage {
    let mut store = people(Journaling::Entries);
    for name in ["x", "y", "x"] {
        store.insert(1, "people", object(&format!(r#"{{"name":"{name}"}}"#))).unwrap();
    }
    store.define_query("all", &object(r#"{"bucket":"people"}"#)).unwrap();
    let mut image = MemoryImage::default();
    image.apply(&store.take_journal()).unwrap();
    image
}

#[test]
fn a_definition_that_the_data_does_not_fit_is_refused_and_the_data_kept() {
    let mut store = store(true, Journaling::Undoable);
    let mut reports = Vec::new();
    store.restore(&mut image(), &mut |progress| reports.push(progress.records)).unwrap();
    assert_eq!(reports, [3]);
    let unique = PEOPLE.replace(r#""name":{"#, r#""name":{"unique":true,"#);
    for (config, problem) in [
        (unique.as_str(), r#"record with key "3": the value of its unique field "name" occurs twice"#),
        (
            &*PEOPLE.replace(r#""key":"id""#, r#""key":"name""#),
            r#"record with key "x": its key occurs twice"#,
        ),
        (r#"{"key":"k","schema":{"k":{"type":"string"}}}"#, r#"record with key "null": it has no key"#),
    ] {
        let error = store.define_bucket(2, "people", &object(config)).unwrap_err();
        assert_eq!(error.to_string(), format!("Stored data of bucket \"people\" does not fit: {problem}"));
        assert!(!store.has_bucket("people"));
    }
    assert!(store.take_journal().is_empty());
    store.define_bucket(2, "people", &object(PEOPLE)).unwrap();
    assert_eq!(store.insert(3, "people", object("{}")).unwrap().key().as_number(), Some(4.0));
    assert!(store.list_queries().as_array().unwrap().is_empty(), "the query sleeps on");
    store.define_query("all", &object(r#"{"bucket":"people"}"#)).unwrap();
}

/// The fields are equal at first, so the records fit as they are.
#[test]
fn a_bucket_that_is_defined_with_another_key_finds_records_by_that_one() {
    let config = |key: &str| {
        object(&format!(
            r#"{{"key":"{key}","schema":{{"id":{{"type":"string"}},"code":{{"type":"string"}}}}}}"#
        ))
    };
    let mut store = store(true, Journaling::Entries);
    store.define_bucket(1, "parts", &config("id")).unwrap();
    store.insert(1, "parts", object(r#"{"id":"a","code":"a"}"#)).unwrap();
    let mut image = MemoryImage::default();
    image.apply(&store.take_journal()).unwrap();
    let mut store = self::store(true, Journaling::Off);
    store.restore(&mut image, &mut |_| {}).unwrap();
    store.define_bucket(2, "parts", &config("code")).unwrap();
    let key = Value::from("a");
    let updated = store.update(3, "parts", &key, object(r#"{"id":"b"}"#)).unwrap();
    assert_eq!((updated.key(), updated.members().get("id")), (&key, Some(&"b".into())));
    assert_eq!(store.get_json(3, "parts", &key).unwrap().as_ref(), Some(updated.json()));
    store.delete(4, "parts", &key).unwrap();
    assert_eq!(store.get_json(4, "parts", &key).unwrap(), None);
    store.insert(5, "parts", object(r#"{"id":"a","code":"a"}"#)).unwrap();
}

#[test]
fn what_is_revived_can_be_defined_once_more() {
    let mut store = store(true, Journaling::Undoable);
    store.restore(&mut image(), &mut |_| {}).unwrap();
    store.revive().unwrap();
    assert_eq!(store.bucket_stats("people").unwrap().record_count, 3);
    let indexed = PEOPLE.replacen('{', r#"{"indexes":["name"],"#, 1);
    let (all, few) = (r#"{"bucket":"people"}"#, r#"{"bucket":"people","limit":1}"#);
    store.subscribe(2, "all", None, SubscriberId(1)).unwrap();
    for round in 0..2 {
        store.define_bucket(2, "people", &object(&indexed)).unwrap();
        store.define_bucket(2, "people", &object(&indexed)).unwrap_err();
        store.define_query("all", &object(few)).unwrap();
        store.define_query("all", &object(all)).unwrap_err();
        assert_eq!(store.take_journal().len(), 2, "both differ from what was kept");
        if round == 0 {
            store.undo_unsettled();
            assert!(store.take_ended().is_empty());
        }
    }
    drop(store.settle(store.journal_position()));
    assert_eq!(store.take_ended(), [(SubscriberId(1), EndReason::QueryUndefined)]);
    assert_eq!(store.insert(3, "people", object("{}")).unwrap().key().as_number(), Some(4.0));
}

/// Data that was imported without definitions is kept for whoever defines it, also where others are revived.
#[test]
fn a_bucket_without_a_known_definition_sleeps_until_it_is_defined() {
    let mut image = image();
    let bucket = image.buckets().unwrap()[0].id;
    let unknown = JournalEntry::BucketDefined { bucket, name: "people".into(), definition: "{}".into() };
    image.apply(&[vec![unknown]]).unwrap();
    let mut store = store(true, Journaling::Undoable);
    store.restore(&mut image, &mut |_| {}).unwrap();
    assert_eq!(store.incompatibility("people", &object(PEOPLE)), None);
    store.revive().unwrap();
    assert!(store.bucket_stats("people").is_none(), "still asleep");
    store.define_bucket(2, "people", &object(PEOPLE)).unwrap();
    assert_eq!(store.bucket_stats("people").unwrap().record_count, 3);
}

#[test]
fn a_new_bucket_never_has_the_id_of_one_that_sleeps() {
    let mut store = store(true, Journaling::Undoable);
    store.restore(&mut image(), &mut |_| {}).unwrap();
    store.define_bucket(2, "new", &object(PEOPLE)).unwrap();
    let group = store.take_journal();
    assert!(matches!(&group[0][..], [JournalEntry::BucketDefined { bucket: 1, .. }]), "{group:?}");
}

#[test]
fn a_larger_definition_is_compatible_and_a_smaller_one_is_not() {
    let mut store = store(true, Journaling::Undoable);
    store.restore(&mut image(), &mut |_| {}).unwrap();
    let more = r#"{"key":"id","ttl":5,"indexes":["b"],"schema":{"id":{"generated":"autoincrement","type":"number"},
        "name":{"type":"string"},"b":{"type":"string"}}}"#;
    let ask = |config: &str| store.incompatibility("people", &object(config));
    assert_eq!(ask(more), None);
    assert_eq!(ask(&PEOPLE.replace("string", "date")).unwrap(), "field \"name\" differs");
    assert_eq!(ask(&PEOPLE.replace("name", "names")).unwrap(), "field \"name\" is missing");
    assert_eq!(ask(&PEOPLE.replacen('{', r#"{"maxSize":3,"#, 1)).unwrap(), "option \"maxSize\" differs");
    assert_eq!(store.incompatibility("others", &object(PEOPLE)), None);
}

#[test]
fn while_expiry_is_suspended_nothing_goes() {
    let mut store = people(Journaling::Undoable);
    store.update_bucket(1, "people", &object(r#"{"ttl":10}"#)).unwrap();
    store.insert(1, "people", object("{}")).unwrap();
    drop(store.settle(store.journal_position()));
    store.suspend_expiry(true);
    assert!(store.get(20, "people", &1.0.into()).unwrap().is_some());
    store.suspend_expiry(false);
    assert!(store.get(20, "people", &1.0.into()).unwrap().is_none());
}

/// A failed insert uses up a number and is no commit: undoing it concerns no commit either.
#[test]
fn a_commit_that_is_kept_is_told_whatever_fails_after_it() {
    for undone in [false, true] {
        let mut store = store(false, Journaling::Undoable);
        let numbered = r#"{"key":"id","schema":{"id":{"type":"number","generated":"autoincrement"},
            "name":{"type":"string","required":true}}}"#;
        store.define_bucket(EPOCH_MS, "people", &object(numbered)).unwrap();
        store.insert(EPOCH_MS, "people", object(r#"{"name":"Ada"}"#)).unwrap();
        store.settle(store.journal_position());
        let position = store.journal_position();
        store.insert(EPOCH_MS, "people", object("{}")).unwrap_err();
        assert!(store.journal_position() > position, "the number is noted");
        if undone {
            store.undo_unsettled();
        }
        let told: Vec<u64> = store.take_commits().iter().map(|commit| commit.lsn).collect();
        assert_eq!(told, [1], "undone: {undone}");
    }
}
