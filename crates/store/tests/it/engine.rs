//! Behaviour that the worked examples do not show.

use crate::support::{Counting, EPOCH_MS, Wire, json, object, options};
use noex_json::{Object, Value};
use noex_store::{
    Answer, BucketStats, Change, Commit, Operation, Page, ReadRequest, Store, StoreError, StoreOptions,
    Subscribed, SubscriberId,
};

fn wire(buckets: &[(&str, &str)]) -> Wire {
    let mut wire = Wire::new(options());
    for (name, config) in buckets {
        wire.store.define_bucket(EPOCH_MS, name, &object(config)).unwrap();
    }
    wire
}

const PLAIN: &str = r#"{"key":"id","schema":{"id":{"type":"number","generated":"autoincrement"}}}"#;

fn insert(wire: &mut Wire, bucket: &str, data: &str) {
    wire.store.insert(wire.now_ms, bucket, object(data)).unwrap();
}

#[test]
fn a_store_can_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let mut store = Store::new(StoreOptions::default(), Box::<Counting>::default());
    is_send(&store);
    store.define_bucket(0, "b", &object(PLAIN)).unwrap();
    store.define_query("q", &object(r#"{"bucket":"b"}"#)).unwrap();
    is_send(&store.prepare_read(0, "b", ReadRequest::All).unwrap());
    let Ok(Subscribed::Evaluate(evaluation)) = store.subscribe(0, "q", None, SubscriberId(1)) else {
        panic!()
    };
    is_send(&evaluation);
    is_send(&evaluation.run());
}

/// A chain of references as long as a bucket must not exhaust the stack.
#[test]
fn deletions_cascade_through_long_chains_and_cycles() {
    let mut wire = wire(&[(
        "t",
        r#"{"key":"id","schema":{"id":{"type":"number"},"up":{"type":"number","ref":"t","onDelete":"cascade"}}}"#,
    )]);
    let record = |id: u32| {
        format!(r#"{{"id":{id},"up":{}}}"#, if id == 0 { "null".into() } else { (id - 1).to_string() })
    };
    for id in 0..50_000 {
        insert(&mut wire, "t", &record(id));
    }
    let _ = wire.store.take_commits();
    wire.store.update(EPOCH_MS, "t", &json("0"), object(r#"{"up":49999}"#)).unwrap();
    wire.store.delete(EPOCH_MS, "t", &json("0")).unwrap();
    let commits = wire.store.take_commits();
    let keys: Vec<f64> = commits[1].changes.iter().filter_map(|change| change.key().as_number()).collect();
    assert_eq!(keys.len(), 50_000);
    assert_eq!((keys[0], keys[49_999]), (49_999.0, 0.0), "dependents first");
    assert_eq!(wire.call(r#"{"type":"count","bucket":"t"}"#).unwrap(), "0");
}

#[test]
fn a_restricted_deletion_undoes_the_cascades_before_it() {
    let mut wire = wire(&[
        ("a", r#"{"key":"id","schema":{"id":{"type":"string"}}}"#),
        (
            "b",
            r#"{"key":"id","schema":{"id":{"type":"string"},"a":{"type":"string","ref":"a","onDelete":"cascade"}}}"#,
        ),
        (
            "c",
            r#"{"key":"id","schema":{"id":{"type":"string"},"a":{"type":"string","ref":"a"},"b":{"type":"string","ref":"b"}}}"#,
        ),
    ]);
    insert(&mut wire, "a", r#"{"id":"1"}"#);
    insert(&mut wire, "b", r#"{"id":"2","a":"1"}"#);
    insert(&mut wire, "c", r#"{"id":"3","b":"2"}"#);
    let error = wire.store.delete(EPOCH_MS, "a", &json("\"1\"")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Cannot delete from bucket \"b\" (key \"2\"): referenced by bucket \"c\" (key \"3\") via field \"b\""
    );
    assert_eq!(wire.call(r#"{"type":"count","bucket":"b"}"#).unwrap(), "1");
    // What is deleted itself restricts nothing.
    let delete = |bucket: &str, key: &str| Operation::Delete { bucket: bucket.into(), key: Value::from(key) };
    wire.store.transaction(EPOCH_MS, vec![delete("a", "1"), delete("c", "3")]).unwrap();
    assert_eq!(wire.call(r#"{"type":"count","bucket":"b"}"#).unwrap(), "0");
}

#[test]
fn expiry_is_a_commit_before_anything_else_happens() {
    let mut wire = Wire::new(StoreOptions { ttl_check_interval_ms: 1000, ..options() });
    let config =
        r#"{"key":"id","ttl":100,"schema":{"id":{"type":"string"},"u":{"type":"string","unique":true}}}"#;
    wire.store.define_bucket(EPOCH_MS, "s", &object(config)).unwrap();
    wire.store
        .define_bucket(
            EPOCH_MS,
            "r",
            &object(r#"{"key":"id","schema":{"id":{"type":"string"},"s":{"type":"string","ref":"s"}}}"#),
        )
        .unwrap();
    assert_eq!(wire.store.next_expiry_ms(), None);
    insert(&mut wire, "s", r#"{"id":"a","u":"x"}"#);
    insert(&mut wire, "s", r#"{"id":"b","_expiresAt":"never"}"#);
    insert(&mut wire, "s", r#"{"id":"c","_expiresAt":1e400}"#);
    insert(&mut wire, "r", r#"{"id":"1","s":"a"}"#);
    assert_eq!(wire.store.next_expiry_ms(), Some(EPOCH_MS + 100));
    wire.now_ms += 100;
    let _ = wire.store.take_commits();
    // The value is free again, the reference is left dangling and counted.
    insert(&mut wire, "s", r#"{"id":"d","u":"x"}"#);
    assert_eq!(wire.events(), "bucket.s.deleted \"a\", bucket.s.inserted \"d\"");
    assert_eq!(wire.store.ignored_restrictions(), 1);
    assert_eq!(wire.store.next_expiry_ms(), Some(EPOCH_MS + 200));
    assert!(wire.store.insert(wire.now_ms, "r", object(r#"{"id":"2","s":"a"}"#)).is_err());
    wire.store.expire(wire.now_ms + 100);
    assert_eq!(wire.events(), "bucket.s.deleted \"d\"");
    assert_eq!(wire.store.next_expiry_ms(), None);
}

#[test]
fn the_clock_never_runs_backwards() {
    let mut wire = wire(&[("b", PLAIN)]);
    wire.store.insert(500, "b", Object::new()).unwrap();
    let record = wire.store.insert(400, "b", Object::new()).unwrap();
    // The bucket was defined at the time of the examples.
    assert_eq!(record.members().get("_createdAt").and_then(Value::as_number), Some(EPOCH_MS as f64));
}

#[test]
fn evicting_spares_the_record_that_causes_it() {
    let mut wire = wire(&[(
        "m",
        r#"{"key":"id","maxSize":1,"schema":{"id":{"type":"number"},"up":{"type":"number","ref":"m"}}}"#,
    )]);
    for id in 0..5 {
        insert(&mut wire, "m", &format!(r#"{{"id":{id}}}"#));
        assert_eq!(wire.call(r#"{"type":"count","bucket":"m"}"#).unwrap(), "1");
    }
    assert_eq!(wire.call(r#"{"type":"sum","bucket":"m","field":"id"}"#).unwrap(), "4");
}

#[test]
fn a_refused_call_leaves_nothing_behind() {
    let mut wire = wire(&[(
        "m",
        r#"{"key":"id","maxSize":2,"schema":{"id":{"type":"number","generated":"autoincrement"},"u":{"type":"number","unique":true}}}"#,
    )]);
    insert(&mut wire, "m", r#"{"u":1}"#);
    insert(&mut wire, "m", r#"{"u":2}"#);
    let before = (wire.call(r#"{"type":"all","bucket":"m"}"#).unwrap(), wire.store.lsn());
    assert!(matches!(wire.store.insert(EPOCH_MS, "m", object(r#"{"u":1}"#)), Err(StoreError::Unique { .. })));
    let list = vec![object(r#"{"u":7}"#), object(r#"{"u":8}"#), object(r#"{"u":8}"#)];
    assert!(wire.store.insert_many(EPOCH_MS, "m", list).is_err());
    let insert = |u: f64| Operation::Insert {
        bucket: "m".into(),
        data: [("u".into(), u.into())].into_iter().collect(),
    };
    assert!(wire.store.transaction(EPOCH_MS, vec![insert(7.0), insert(2.0)]).is_err());
    assert_eq!((wire.call(r#"{"type":"all","bucket":"m"}"#).unwrap(), wire.store.lsn()), before);
    // Only the single insert has used up a number.
    let BucketStats { autoincrement_counter, record_count, .. } = wire.store.bucket_stats("m").unwrap();
    assert_eq!((autoincrement_counter, record_count), (3, 2));
}

#[test]
fn a_prepared_read_sees_the_state_at_which_it_was_prepared() {
    let mut wire = wire(&[("b", PLAIN)]);
    for _ in 0..1000 {
        insert(&mut wire, "b", "{}");
    }
    let requests = [
        ReadRequest::All,
        ReadRequest::Where(object(r#"{"id":{"$gt":3}}"#)),
        ReadRequest::Count(Some(object(r#"{"id":{"$gt":3}}"#))),
        ReadRequest::First(700),
        ReadRequest::Last(700),
        ReadRequest::Paginate { after: Some(json("2")), limit: 600 },
    ];
    let prepare = |wire: &mut Wire| -> Vec<_> {
        requests
            .iter()
            .map(|request| wire.store.prepare_read(EPOCH_MS, "b", request.clone()).unwrap())
            .collect()
    };
    let (early, late) = (prepare(&mut wire), prepare(&mut wire));
    let text = |answer: Answer| {
        let mut out = String::new();
        answer.write_json(&mut out);
        out
    };
    let early: Vec<String> = early.into_iter().map(|read| text(read.run())).collect();
    wire.store.clear(EPOCH_MS, "b").unwrap();
    let late: Vec<String> = late.into_iter().map(|read| text(read.run())).collect();
    assert_eq!(early, late);
    assert_eq!(early[2], "997");
    let Answer::Page(Page { records, has_more }) = wire
        .store
        .prepare_read(EPOCH_MS, "b", ReadRequest::Paginate { after: None, limit: 1 })
        .unwrap()
        .run()
    else {
        panic!("no page")
    };
    assert!(records.is_empty() && !has_more);
}

#[test]
fn limits_and_administration() {
    let mut store =
        Store::new(StoreOptions { buckets_max: 1, queries_max: 1, ..options() }, Box::<Counting>::default());
    assert!(store.define_bucket(0, "bad", &object("{}")).is_err());
    store.define_bucket(0, "b", &object(PLAIN)).unwrap();
    assert_eq!(
        store.define_bucket(0, "c", &object(PLAIN)).unwrap_err().to_string(),
        "Limit reached: at most 1 buckets"
    );
    store.define_query("q", &object(r#"{"bucket":"b"}"#)).unwrap();
    let error = store.define_query("r", &object(r#"{"bucket":"b"}"#)).unwrap_err();
    assert_eq!(error.to_string(), "Limit reached: at most 1 queries");
    assert!(store.has_bucket("b") && !store.has_bucket("bad"));
    store.drop_bucket(0, "b").unwrap();
    store.define_bucket(0, "b", &object(PLAIN)).unwrap();
    assert_eq!(
        store.insert(0, "b", Object::new()).unwrap().key().as_number(),
        Some(1.0),
        "nothing is left of the old one"
    );
}

#[test]
fn ignored_operators_are_reported_once() {
    let mut wire = wire(&[("b", PLAIN)]);
    for _ in 0..3 {
        wire.call(r#"{"type":"where","bucket":"b","filter":{"n":{"$regex":"x"}}}"#).unwrap();
    }
    assert_eq!(wire.store.take_warnings(), ["ignored unknown filter operator \"$regex\" on bucket \"b\""]);
    assert!(wire.store.take_warnings().is_empty());
    for operator in 0..1000 {
        wire.call(&format!(r#"{{"type":"where","bucket":"b","filter":{{"n":{{"$o{operator}":1}}}}}}"#))
            .unwrap();
    }
    assert!(wire.store.take_warnings().len() <= 64);
}

#[test]
fn commits_are_numbered_and_carry_old_and_new() {
    let mut wire = wire(&[("b", PLAIN)]);
    insert(&mut wire, "b", "{}");
    wire.store.update(EPOCH_MS + 5, "b", &json("1"), object(r#"{"v":1}"#)).unwrap();
    wire.store.delete(EPOCH_MS + 5, "b", &json("2")).unwrap(); // Nothing to do, no commit.
    wire.store.delete(EPOCH_MS + 5, "b", &json("1")).unwrap();
    let commits = wire.store.take_commits();
    let numbers: Vec<(u64, u64)> =
        commits.iter().map(|Commit { lsn, time_ms, .. }| (*lsn, *time_ms - EPOCH_MS)).collect();
    assert_eq!(numbers, [(1, 0), (2, 5), (3, 5)]);
    let Change::Updated { old, new, seq, .. } = &commits[1].changes[0] else { panic!("no update") };
    assert_eq!((old.version(), new.version(), *seq), (1, 2, commits[2].changes[0].seq()));
    assert_eq!(commits[2].changes[0].before().map(|record| record.version()), Some(2));
    assert!(commits[2].changes[0].after().is_none());
    wire.store.set_keep_commits(false);
    insert(&mut wire, "b", "{}");
    assert!(wire.store.take_commits().is_empty());
}

#[test]
fn keys_that_are_lists_are_stored_but_never_found() {
    let mut wire = wire(&[("b", r#"{"key":"id","schema":{"id":{"type":"array"}}}"#)]);
    for _ in 0..2 {
        insert(&mut wire, "b", r#"{"id":[1]}"#);
    }
    assert_eq!(wire.call(r#"{"type":"count","bucket":"b"}"#).unwrap(), "2");
    assert_eq!(wire.call(r#"{"type":"get","bucket":"b","key":[1]}"#).unwrap(), "null");
    assert_eq!(wire.call(r#"{"type":"deleteMany","bucket":"b","filter":{}}"#).unwrap(), "2");
}
