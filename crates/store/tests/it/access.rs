//! An index must never show in an answer: the same data with and without indexes, through every kind of read.

use crate::support::{EPOCH_MS, Wire, json, object, options};
use noex_json::{Object, Value};
use noex_store::{Answer, Function, Operation, OperationResult, ReadRequest};
use proptest::prelude::*;

const PLAIN: &str = r#"{"key":"id","schema":{"id":{"type":"number"},"a":{"type":"date"},"b":{"type":"date"},"u":{"type":"number"}}}"#;
const INDEXED: &str = r#"{"key":"id","indexes":["a","b"],"schema":{"id":{"type":"number"},"a":{"type":"date"},"b":{"type":"date"},"u":{"type":"number","unique":true}}}"#;

/// A value of an indexed field; `wild` mixes types.
fn value(wild: bool) -> BoxedStrategy<Value> {
    let number = (-3..12_i32).prop_map(|n| Value::Number(f64::from(n)));
    if !wild {
        return number.boxed();
    }
    let text = prop::sample::select(vec!["", "1", "7", "a", "ab", "b", "\u{1F600}", "\u{E000}", " 3 "]);
    prop_oneof![6 => number, 3 => text.prop_map(Value::from), 1 => Just(Value::Null), 1 => Just(json("1e400"))].boxed()
}

fn condition(wild: bool) -> impl Strategy<Value = Value> {
    let operator = prop::sample::select(vec!["$eq", "$gt", "$gte", "$lt", "$lte", "$neq"]);
    let single =
        |name: &str, value: Value| Value::from([(name.into(), value)].into_iter().collect::<Object>());
    prop_oneof![
        2 => value(wild),
        3 => (operator, value(wild)).prop_map(move |(name, value)| single(name, value)),
        1 => prop::collection::vec(value(wild), 0..4).prop_map(move |list| single("$in", Value::from(list))),
        1 => (value(wild), value(wild)).prop_map(move |(a, b)| single("$between", Value::from(vec![a, b]))),
        1 => prop::sample::select(vec!["", "a", "1", "\u{1F600}"]).prop_map(move |text| single("$startsWith", text.into())),
        1 => (value(wild), value(wild)).prop_map(|(a, b)| {
            Value::from([("$gte".into(), a), ("$lt".into(), b)].into_iter().collect::<Object>())
        }),
    ]
}

fn filter(wild: bool) -> impl Strategy<Value = Object> {
    let field = prop::sample::select(vec!["a", "b", "u", "id"]);
    let flat = prop::collection::vec((field, condition(wild)), 0..3).prop_map(|members| {
        members.into_iter().map(|(name, value)| (name.into(), value)).collect::<Object>()
    });
    (flat, prop::option::weighted(0.2, condition(wild))).prop_map(|(mut filter, nested)| {
        if let Some(nested) = nested {
            let nested: Object = [("a".into(), nested)].into_iter().collect();
            filter.set("$and", Value::from(vec![Value::from(nested)]));
        }
        filter
    })
}

#[derive(Clone, Debug)]
enum Write {
    Insert(Object),
    Update(u32, Object),
    Delete(u32),
}

fn write(wild: bool) -> impl Strategy<Value = Write> {
    let data =
        (prop::option::of(value(wild)), prop::option::of(value(wild)), 0..200_u32).prop_map(|(a, b, u)| {
            let members = [("a", a), ("b", b), ("u", Some(Value::Number(f64::from(u))))];
            members.into_iter().filter_map(|(name, value)| Some((name.into(), value?))).collect::<Object>()
        });
    prop_oneof![
        6 => data.clone().prop_map(Write::Insert),
        2 => (0..150_u32, data).prop_map(|(key, changes)| Write::Update(key, changes)),
        1 => (0..150_u32).prop_map(Write::Delete),
    ]
}

fn script() -> impl Strategy<Value = (Vec<Write>, Vec<Object>)> {
    any::<bool>().prop_flat_map(|wild| {
        (prop::collection::vec(write(wild), 0..250), prop::collection::vec(filter(wild), 1..12))
    })
}

fn json_of(answer: &Answer) -> String {
    let mut out = String::new();
    answer.write_json(&mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(60),
    ) })]

    #[test]
    fn answers_do_not_depend_on_the_access_path((writes, filters) in script()) {
        let mut wire = Wire::new(options());
        let store = &mut wire.store;
        store.define_bucket(EPOCH_MS, "plain", &object(PLAIN)).unwrap();
        store.define_bucket(EPOCH_MS, "indexed", &object(INDEXED)).unwrap();
        for (at, write) in writes.into_iter().enumerate() {
            let key = |key: u32| Value::Number(f64::from(key));
            match write {
                Write::Insert(mut data) => {
                    data.set("id", at as f64);
                    if store.insert(EPOCH_MS, "indexed", data.clone()).is_ok() {
                        store.insert(EPOCH_MS, "plain", data).unwrap();
                    }
                }
                Write::Update(at, changes) => {
                    if store.update(EPOCH_MS, "indexed", &key(at), changes.clone()).is_ok() {
                        store.update(EPOCH_MS, "plain", &key(at), changes).unwrap();
                    }
                }
                Write::Delete(at) => {
                    store.delete(EPOCH_MS, "indexed", &key(at)).unwrap();
                    store.delete(EPOCH_MS, "plain", &key(at)).unwrap();
                }
            }
        }
        for filter in filters {
            let requests = [
                ReadRequest::Where(filter.clone()),
                ReadRequest::FindOne(filter.clone()),
                ReadRequest::Count(Some(filter.clone())),
                ReadRequest::Aggregate { function: Function::Sum, field: "a".into(), filter: Some(filter.clone()) },
                ReadRequest::GroupBy {
                    fields: vec!["b".into()],
                    function: Function::Max,
                    field: Some("u".into()),
                    filter: Some(filter.clone()),
                },
            ];
            for request in requests {
                let plain = store.prepare_read(EPOCH_MS, "plain", request.clone()).unwrap().run();
                let indexed = store.prepare_read(EPOCH_MS, "indexed", request).unwrap().run();
                prop_assert_eq!(json_of(&plain), json_of(&indexed), "{}", Value::from(filter.clone()).to_json());
            }
            let operation = |bucket: &str| Operation::Where { bucket: bucket.into(), filter: filter.clone() };
            let results = store.transaction(EPOCH_MS, vec![operation("plain"), operation("indexed")]).unwrap();
            let text = |result: &OperationResult| { let mut out = String::new(); result.write_json(&mut out); out };
            prop_assert_eq!(text(&results[0]), text(&results[1]));
        }
    }
}
