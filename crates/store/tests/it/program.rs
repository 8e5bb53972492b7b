//! Programs: transactions that decide as they go.

use crate::support::{Counting, EPOCH_MS, json, object, options};
use noex_store::{
    Answer, Change, ConflictReason, Program, ReadRequest, Store, StoreError, Subscribed, SubscriberId,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

fn store() -> Store {
    let mut store = Store::new(options(), Box::<Counting>::default());
    store.set_keep_commits(true);
    for (name, more) in [("a", ""), ("b", r#","u":{"type":"number","unique":true}"#)] {
        let id = r#""id":{"type":"number","generated":"autoincrement"},"n":{"type":"number"}"#;
        let config = format!(r#"{{"key":"id","schema":{{{id}{more}}}}}"#);
        store.define_bucket(EPOCH_MS, name, &object(&config)).unwrap();
    }
    store
}

/// All that is stored, as text, and where the counters stand.
fn state(store: &mut Store) -> Vec<String> {
    let mut state = Vec::new();
    for bucket in ["a", "b"] {
        let mut text = String::new();
        store.prepare_read(EPOCH_MS, bucket, ReadRequest::All).unwrap().run().write_json(&mut text);
        state.push(text);
        state.push(format!("{:?}", store.bucket_stats(bucket)));
    }
    state
}

/// An error of the program's own.
#[derive(Debug, PartialEq)]
enum Stop {
    Enough,
    Store(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[test]
fn a_program_sees_what_it_has_done() {
    let mut store = store();
    store.insert(EPOCH_MS, "a", object(r#"{"n":1}"#)).unwrap();
    let _ = store.take_commits();
    let sum: Result<f64, StoreError> = store.program(EPOCH_MS, |program| {
        let first = program.get("a", &json("1"))?.unwrap();
        let n = first.members().get("n").and_then(noex_json::Value::as_number).unwrap();
        let second = program.insert("a", object(&format!(r#"{{"n":{}}}"#, n + 1.0)))?;
        assert_eq!(second.key(), &json("2"));
        program.update("a", second.key(), object(r#"{"n":40}"#))?;
        program.insert("b", object(r#"{"n":7}"#))?;
        program.delete("b", &json("1"))?;
        assert!(program.get("b", &json("1"))?.is_none());
        let filter = object(r#"{"n":{"$gte":1}}"#);
        let count = program.prepare_read("a", ReadRequest::Count(Some(filter)))?;
        assert_eq!(count.looks_at_max(), 2);
        let Answer::Number(count) = count.run() else { panic!() };
        Ok(count)
    });
    assert_eq!(sum, Ok(2.0));
    let commits = store.take_commits();
    assert_eq!(commits.len(), 1, "one commit");
    // What was inserted and deleted again never happened.
    let [Change::Inserted { record, .. }] = commits[0].changes.as_slice() else { panic!("{commits:?}") };
    assert_eq!((record.key(), record.version()), (&json("2"), 2));
}

#[test]
fn a_failed_program_leaves_nothing_behind() {
    let mut store = store();
    store.insert(EPOCH_MS, "b", object(r#"{"u":1}"#)).unwrap();
    store.define_query("q", &object(r#"{"bucket":"a"}"#)).unwrap();
    let Subscribed::Evaluate(evaluation) = store.subscribe(EPOCH_MS, "q", None, SubscriberId(1)).unwrap()
    else {
        panic!()
    };
    store.publish(evaluation.run());
    let _ = store.take_commits();
    let before = state(&mut store);

    type Fails = fn(&mut Program<'_, '_>) -> Result<(), Stop>;
    let fails: [Fails; 5] = [
        |_| Err(Stop::Enough),
        |program| Ok(program.update("a", &json("99"), object("{}")).map(|_| ())?),
        |program| Ok(program.get("nowhere", &json("1")).map(|_| ())?),
        |program| Ok(program.insert("a", object(r#"{"n":"text"}"#)).map(|_| ())?),
        // Found only when the final state is judged.
        |program| Ok(program.insert("b", object(r#"{"u":1}"#)).map(|_| ())?),
    ];
    for (at, fail) in fails.into_iter().enumerate() {
        let outcome: Result<(), Stop> = store.program(EPOCH_MS, |program| {
            program.insert("a", object(r#"{"n":1}"#))?;
            program.update("b", &json("1"), object(r#"{"n":5}"#))?;
            program.delete("b", &json("1"))?;
            program.insert("b", object(r#"{"id":1,"u":1}"#))?;
            fail(program)
        });
        match (at, outcome.unwrap_err()) {
            (0, Stop::Enough)
            | (1, Stop::Store(StoreError::RecordNotFound { .. }))
            | (2, Stop::Store(StoreError::BucketNotDefined { .. }))
            | (3, Stop::Store(StoreError::Validation { .. }))
            | (4, Stop::Store(StoreError::Unique { .. })) => {}
            (_, other) => panic!("{at}: {other:?}"),
        }
        assert_eq!(state(&mut store), before);
        assert!(store.take_commits().is_empty() && store.next_dirty(EPOCH_MS).is_none());
    }
}

/// A program may be an embedder's, and a panic ends one connection, not the consistency of the store.
#[test]
fn a_program_that_panics_leaves_nothing_behind() {
    let mut store = store();
    store.insert(EPOCH_MS, "b", object(r#"{"u":1}"#)).unwrap();
    let _ = store.take_commits();
    let before = state(&mut store);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        store.program(EPOCH_MS, |program| -> Result<(), StoreError> {
            program.insert("a", object("{}"))?;
            program.delete("b", &json("1"))?;
            panic!("halfway");
        })
    }));
    assert!(ran.is_err());
    assert_eq!(state(&mut store), before);
    assert!(store.take_commits().is_empty());
    store.insert(EPOCH_MS, "a", object("{}")).unwrap();
}

#[test]
fn a_key_in_use_is_a_conflict_at_the_end() {
    let mut store = store();
    store.insert(EPOCH_MS, "a", object("{}")).unwrap();
    let mut went_on = false;
    let outcome: Result<(), StoreError> = store.program(EPOCH_MS, |program| {
        program.insert("a", object(r#"{"id":1}"#))?;
        went_on = true;
        Ok(())
    });
    let reason = ConflictReason::AlreadyExists;
    assert_eq!(outcome, Err(StoreError::Conflict { bucket: "a".into(), key: json("1"), reason }));
    assert!(went_on);
}

#[test]
fn a_read_tells_beforehand_what_it_looks_at() {
    let mut store = store();
    for n in 0..200 {
        store.insert(EPOCH_MS, "a", object(&format!(r#"{{"n":{n}}}"#))).unwrap();
    }
    for (request, expected) in [
        (ReadRequest::All, 200),
        (ReadRequest::Where(object(r#"{"n":5}"#)), 200),
        (ReadRequest::Where(object(r#"{"id":5}"#)), 1),
        (ReadRequest::Where(object(r#"{"n":[]}"#)), 0),
        (ReadRequest::FindOne(object("{}")), 1),
        (ReadRequest::Count(None), 1),
        (ReadRequest::First(3), 3),
    ] {
        let prepared = store.prepare_read(EPOCH_MS, "a", request.clone()).unwrap();
        assert_eq!(prepared.looks_at_max(), expected, "{request:?}");
    }
}
