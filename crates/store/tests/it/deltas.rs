//! Changes of lists as their followers are told them. That they lead to the new result is checked over random histories
//! in `live`.

use crate::support::{Counting, EPOCH_MS, json, object};
use noex_json::{Object, Value};
use noex_store::{Delta, Store, StoreOptions, Subscribed, SubscriberId};

fn store(options: StoreOptions) -> Store {
    let mut store = Store::new(options, Box::<Counting>::default());
    store.define_bucket(EPOCH_MS, "b", &object(r#"{"key":"id","schema":{"id":{"type":"date"}}}"#)).unwrap();
    store
}

fn insert(store: &mut Store, record: &str) {
    store.insert(EPOCH_MS, "b", object(record)).unwrap();
}

fn update(store: &mut Store, key: &str, changes: &str) {
    store.update(EPOCH_MS, "b", &json(key), object(changes)).unwrap();
}

/// Subscribes to a query and follows it.
fn follow(store: &mut Store, config: &str, id: u64) -> bool {
    let name = format!("q{id}");
    store.define_query(&name, &object(config)).unwrap();
    let subscribed = store.subscribe(EPOCH_MS, &name, None, SubscriberId(id)).unwrap();
    let can_follow = store.follow_changes(SubscriberId(id));
    if let Subscribed::Evaluate(evaluation) = subscribed {
        let _ = store.publish(evaluation.run());
    }
    can_follow
}

/// Gives what the followers of the next changed result are told; `None` = the full result.
fn next(store: &mut Store) -> Option<Delta> {
    let evaluation = store.next_dirty(EPOCH_MS).expect("something has changed");
    let published = store.publish(evaluation.run());
    assert!(!published.changed.is_empty());
    published.delta
}

/// Gives the changes without the versions.
fn changes(store: &mut Store) -> String {
    let delta = next(store).expect("changes");
    let versions = format!("{{\"from\":{},\"to\":{}", delta.from, delta.to);
    delta.changes.strip_prefix(&versions).expect("versions first").trim_start_matches(',').to_owned()
}

#[test]
fn changes_name_keys_members_and_positions() {
    let mut store = store(StoreOptions::default());
    // Changes are told only where they are shorter than the result, so one of the records is long.
    let list = r#"[{"id":"a","n":1},{"id":"b","n":2,"t":"x"},{"id":"c","n":3},{"id":4,"n":4,"more":"LONG"},
        {"id":"e","n":5}]"#;
    let list = json(&list.replace("LONG", &"-".repeat(200)));
    let records = list.as_array().unwrap().iter().filter_map(Value::as_object).cloned().collect();
    store.insert_many(EPOCH_MS, "b", records).unwrap();
    let query = r#"{"bucket":"b","sort":{"n":"asc"},"offset":1,"limit":3,"fields":["id","n","t","more"]}"#;
    assert!(follow(&mut store, query, 1));

    update(&mut store, "\"b\"", r#"{"t":"new","hidden":1}"#);
    assert_eq!(changes(&mut store), r#""changed":[["b",{"t":"new"}]]}"#);
    // A record that moves among the others.
    update(&mut store, "\"b\"", r#"{"n":3.5}"#);
    assert_eq!(changes(&mut store), r#""changed":[["b",{"n":3.5},1]]}"#);
    // The window shifts without a change of what enters it or leaves it.
    store.delete(EPOCH_MS, "b", &json("\"a\"")).unwrap();
    assert_eq!(changes(&mut store), r#""left":["c"],"entered":[[2,{"id":"e","n":5}]]}"#);
    insert(&mut store, r#"{"id":"f","n":4.5}"#);
    assert_eq!(changes(&mut store), r#""left":["e"],"entered":[[2,{"id":"f","n":4.5}]]}"#);
    // Several at once.
    update(&mut store, "4", r#"{"n":4.25}"#);
    store.delete(EPOCH_MS, "b", &json("\"b\"")).unwrap();
    assert_eq!(
        changes(&mut store),
        r#""left":["b"],"entered":[[2,{"id":"e","n":5}]],"changed":[[4,{"n":4.25},0]]}"#
    );
    // What is not shown is nobody's business.
    update(&mut store, "4", r#"{"hidden":2}"#);
    assert!(store.next_dirty(EPOCH_MS).is_none());
    assert_eq!(store.view_stats().counters.deltas, 5);
}

/// The frame around it takes some 75 bytes, of 200 that are allowed.
#[test]
fn one_field_of_a_thousand_records_takes_a_hundred_bytes() {
    for (query, id, bytes_max) in [
        (r#"{"bucket":"b"}"#, "u1234", 105),
        (r#"{"bucket":"b","sort":{"name":"asc"},"fields":["id","name","score"]}"#, "u1234", 65),
        (r#"{"bucket":"b","fields":["id","score"]}"#, "8f14e45f-ceea-467f-a0e6-1b1b0ed2a5a4", 95),
        (r#"{"bucket":"b"}"#, "8f14e45f-ceea-467f-a0e6-1b1b0ed2a5a4", 125),
    ] {
        let mut store = store(StoreOptions::default());
        let record = |at: usize| {
            let id = if at == 500 { id.to_owned() } else { format!("other{at}") };
            object(&format!(r#"{{"id":"{id}","name":"player number {at}","score":{at}}}"#))
        };
        store.insert_many(EPOCH_MS, "b", (0..1000).map(record).collect()).unwrap();
        assert!(follow(&mut store, query, 1));
        for score in 1000..1010 {
            update(&mut store, &format!("\"{id}\""), &format!(r#"{{"score":{score}}}"#));
            let changes = next(&mut store).expect("changes").changes;
            assert!(changes.len() <= bytes_max, "{} {changes}", changes.len());
        }
    }
}

#[test]
fn results_without_keys_are_told_in_full() {
    let mut store = store(StoreOptions::default());
    insert(&mut store, r#"{"id":"a","n":1}"#);
    for (id, query) in [
        (1, r#"{"bucket":"b","fields":["n"]}"#),
        (2, r#"{"bucket":"b","aggregate":{"function":"sum","field":"n"}}"#),
        (3, r#"{"bucket":"b","aggregate":{"function":"count","groupBy":"n"}}"#),
    ] {
        assert!(!follow(&mut store, query, id), "{query}");
        update(&mut store, "\"a\"", &format!("{{\"n\":{}}}", id + 1));
        while let Some(evaluation) = store.next_dirty(EPOCH_MS) {
            assert_eq!(store.publish(evaluation.run()).delta, None);
        }
    }
    assert!(!store.follow_changes(SubscriberId(99)));
    // A list as key names no record.
    let lists = object(r#"{"key":"id","schema":{"id":{"type":"array"}}}"#);
    store.define_bucket(EPOCH_MS, "lists", &lists).unwrap();
    let long = [("id".into(), Value::from(vec![Value::Null; 99]))].into_iter().collect();
    store.insert(EPOCH_MS, "lists", long).unwrap();
    assert!(follow(&mut store, r#"{"bucket":"lists","fields":["id"]}"#, 4));
    store.insert(EPOCH_MS, "lists", object(r#"{"id":[1]}"#)).unwrap();
    let mut told = Vec::new();
    while let Some(evaluation) = store.next_dirty(EPOCH_MS) {
        told.push(store.publish(evaluation.run()).delta);
    }
    assert_eq!(told, [None]);
}

#[test]
fn who_follows_a_view_without_state_is_told_in_full() {
    let mut store = store(StoreOptions { view_bytes_max: 0, ..StoreOptions::default() });
    let records: Vec<Object> = (0..100).map(|id| object(&format!("{{\"id\":{id},\"n\":{id}}}"))).collect();
    store.insert_many(EPOCH_MS, "b", records).unwrap();
    assert!(follow(&mut store, r#"{"bucket":"b"}"#, 1));
    for n in 0..3 {
        update(&mut store, "7", &format!("{{\"n\":{n}.5}}"));
        assert_eq!(next(&mut store), None);
    }
}

#[test]
fn changes_are_written_only_while_somebody_follows() {
    let mut store = store(StoreOptions::default());
    let records: Vec<Object> = (0..100).map(|id| object(&format!("{{\"id\":{id},\"n\":{id}}}"))).collect();
    store.insert_many(EPOCH_MS, "b", records).unwrap();
    assert!(follow(&mut store, r#"{"bucket":"b"}"#, 1));
    // A second subscriber of the same view that wants full results.
    assert!(matches!(store.subscribe(EPOCH_MS, "q1", None, SubscriberId(2)), Ok(Subscribed::Ready(_))));
    update(&mut store, "7", r#"{"n":0}"#);
    let delta = next(&mut store).expect("changes");
    assert!(store.unsubscribe(SubscriberId(1)));
    update(&mut store, "7", r#"{"n":1}"#);
    assert_eq!(next(&mut store), None);
    // One who comes later starts with the result that is known.
    assert!(store.follow_changes(SubscriberId(2)));
    update(&mut store, "7", r#"{"n":2}"#);
    let later = next(&mut store).expect("changes");
    assert!(later.from > delta.to && later.to > later.from);
}
