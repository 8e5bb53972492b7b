//! Requests and the typed calls that they become: every field that an operation has, and the text for one that is
//! missing or wrong.

use crate::welcomed;
use noex_core::{Aggregate, Config, Operation as O, RulesCall as R, StoreCall as S, StoreOperation as T};
use noex_json::{CompactString, Object, Value};
use noex_testkit::{error, request};

fn object(text: &str) -> Object {
    value(text).as_object().cloned().expect("an object")
}

fn value(text: &str) -> Value {
    noex_json::parse(text, 16).expect("JSON")
}

/// What one request executes, and the answer.
fn run(operation: &str, fields: &str) -> (Vec<String>, String) {
    let mut pair = welcomed(Config { rules: true, ..Config::default() });
    let answer = pair.ask(request(1, operation, fields));
    (pair.executed(), answer)
}

#[test]
fn store_operations_become_typed_calls() {
    let (bucket, data, filter) =
        (|| CompactString::from("b"), || object(r#"{"n":1}"#), || object(r#"{"n":{"$gt":1}}"#));
    let aggregate = |function, filter| S::Aggregate { bucket: bucket(), function, field: "n".into(), filter };
    let name = || "x".to_owned();
    for (operation, fields, call) in [
        ("store.insert", r#""bucket":"b","data":{"n":1}"#, S::Insert { bucket: bucket(), data: data() }),
        ("store.get", r#""bucket":"b","key":"k""#, S::Get { bucket: bucket(), key: "k".into() }),
        ("store.get", r#""bucket":"b","key":0"#, S::Get { bucket: bucket(), key: value("0") }),
        (
            "store.update",
            r#""bucket":"b","key":false,"data":{"n":1}"#,
            S::Update { bucket: bucket(), key: value("false"), data: data() },
        ),
        ("store.delete", r#""bucket":"b","key":"k""#, S::Delete { bucket: bucket(), key: "k".into() }),
        ("store.all", r#""bucket":"b""#, S::All { bucket: bucket() }),
        ("store.clear", r#""bucket":"b""#, S::Clear { bucket: bucket() }),
        (
            "store.where",
            r#""bucket":"b","filter":{"n":{"$gt":1}}"#,
            S::Where { bucket: bucket(), filter: filter() },
        ),
        (
            "store.findOne",
            r#""bucket":"b","filter":{"n":{"$gt":1}}"#,
            S::FindOne { bucket: bucket(), filter: filter() },
        ),
        ("store.count", r#""bucket":"b""#, S::Count { bucket: bucket(), filter: None }),
        ("store.count", r#""bucket":"b","filter":null"#, S::Count { bucket: bucket(), filter: None }),
        (
            "store.count",
            r#""bucket":"b","filter":{"n":{"$gt":1}}"#,
            S::Count { bucket: bucket(), filter: Some(filter()) },
        ),
        ("store.first", r#""bucket":"b","n":3"#, S::First { bucket: bucket(), n: 3 }),
        ("store.last", r#""bucket":"b","n":4e0"#, S::Last { bucket: bucket(), n: 4 }),
        (
            "store.paginate",
            r#""bucket":"b","limit":2"#,
            S::Paginate { bucket: bucket(), limit: 2, after: None },
        ),
        (
            "store.paginate",
            r#""bucket":"b","limit":2,"after":null"#,
            S::Paginate { bucket: bucket(), limit: 2, after: Some(Value::Null) },
        ),
        ("store.sum", r#""bucket":"b","field":"n""#, aggregate(Aggregate::Sum, None)),
        ("store.avg", r#""bucket":"b","field":"n","filter":null"#, aggregate(Aggregate::Avg, None)),
        (
            "store.min",
            r#""bucket":"b","field":"n","filter":{"n":{"$gt":1}}"#,
            aggregate(Aggregate::Min, Some(filter())),
        ),
        ("store.max", r#""bucket":"b","field":"n""#, aggregate(Aggregate::Max, None)),
        ("store.buckets", "", S::Buckets { permitted: None }),
        ("store.stats", "", S::Stats { system: true }),
        ("store.listQueries", "", S::ListQueries),
        ("store.purgeTtl", "", S::PurgeTtl),
        (
            "store.defineBucket",
            r#""name":"x","config":{"n":1}"#,
            S::DefineBucket { name: name(), config: data() },
        ),
        ("store.dropBucket", r#""name":"x""#, S::DropBucket { name: name() }),
        (
            "store.updateBucket",
            r#""name":"x","updates":{"n":1}"#,
            S::UpdateBucket { name: name(), updates: data() },
        ),
        ("store.getBucketSchema", r#""name":"x""#, S::GetBucketSchema { name: name() }),
        (
            "store.defineQuery",
            r#""name":"x","config":{"n":1}"#,
            S::DefineQuery { name: name(), config: data() },
        ),
        ("store.undefineQuery", r#""name":"x""#, S::UndefineQuery { name: name() }),
    ] {
        assert_eq!(run(operation, fields).0, [format!("{call:?}")], "{operation} {fields}");
        // What a call touches is what its request was judged by.
        let touched: Vec<_> = call.reads().into_iter().chain(call.writes()).collect();
        let touched: Vec<_> =
            touched.into_iter().map(|(operation, bucket)| (operation.name(), &**bucket)).collect();
        let expected = if fields.starts_with("\"bucket\"") { vec![(operation, "b")] } else { Vec::new() };
        assert_eq!(touched, expected);
    }
}

#[test]
fn rules_operations_become_typed_calls() {
    let (key, rule_id, rule) = (|| "k".to_owned(), || "r".to_owned(), || object(r#"{"id":"r"}"#));
    let emit = |data: &str, correlation: Option<&str>, causation: Option<&str>| R::Emit {
        topic: "t".into(),
        data: object(data),
        correlation_id: correlation.map(str::to_owned),
        causation_id: causation.map(str::to_owned),
    };
    for (operation, fields, call) in [
        ("rules.emit", r#""topic":"t""#, emit("{}", None, None)),
        ("rules.emit", r#""topic":"t","data":{"n":1},"correlationId":null"#, emit(r#"{"n":1}"#, None, None)),
        ("rules.emit", r#""topic":"t","data":null,"causationId":"c""#, emit("{}", None, None)),
        ("rules.emit", r#""topic":"t","correlationId":"c","causationId":7"#, emit("{}", Some("c"), None)),
        (
            "rules.emit",
            r#""topic":"t","correlationId":"c\n","causationId":"d""#,
            emit("{}", Some("c\n"), Some("d")),
        ),
        ("rules.setFact", r#""key":"k","value":null"#, R::SetFact { key: key(), value: Value::Null }),
        ("rules.getFact", r#""key":"k""#, R::GetFact { key: key() }),
        ("rules.deleteFact", r#""key":"k""#, R::DeleteFact { key: key() }),
        ("rules.queryFacts", r#""pattern":"k""#, R::QueryFacts { pattern: key() }),
        ("rules.getAllFacts", "", R::GetAllFacts),
        ("rules.stats", "", R::Stats),
        ("rules.registerRule", r#""rule":{"id":"r"}"#, R::RegisterRule { rule: rule() }),
        ("rules.validateRule", r#""rule":{"id":"r"}"#, R::ValidateRule { rule: rule() }),
        ("rules.unregisterRule", r#""ruleId":"r""#, R::UnregisterRule { rule_id: rule_id() }),
        (
            "rules.updateRule",
            r#""ruleId":"r","updates":{"id":"r"}"#,
            R::UpdateRule { rule_id: rule_id(), updates: rule() },
        ),
        ("rules.enableRule", r#""ruleId":"r""#, R::EnableRule { rule_id: rule_id() }),
        ("rules.disableRule", r#""ruleId":"r""#, R::DisableRule { rule_id: rule_id() }),
        ("rules.getRule", r#""ruleId":"r""#, R::GetRule { rule_id: rule_id() }),
        ("rules.getRules", "", R::GetRules),
    ] {
        assert_eq!(run(operation, fields).0, [format!("{call:?}")], "{operation} {fields}");
        let named = |touched: Option<_>| touched.map(|(operation, what): (O, _)| (operation.name(), what));
        let (read, written) = match operation {
            "rules.getFact" | "rules.queryFacts" => (Some((operation, "k")), None),
            "rules.getAllFacts" => (Some((operation, "*")), None),
            "rules.setFact" | "rules.deleteFact" => (None, Some((operation, "k"))),
            "rules.emit" => (None, Some((operation, "t"))),
            _ => (None, None),
        };
        assert_eq!((named(call.reads()), named(call.writes())), (read, written));
    }
}

#[test]
fn a_transaction_touches_a_bucket_by_itself_and_by_each_operation() {
    let bucket = || CompactString::from("b");
    let operations = vec![
        T::Get { bucket: "a".into(), key: Value::Null },
        T::Insert { bucket: bucket(), data: Object::new() },
        T::Update { bucket: bucket(), key: Value::Null, data: Object::new() },
        T::Delete { bucket: bucket(), key: Value::Null },
        T::Where { bucket: bucket(), filter: Object::new() },
        T::FindOne { bucket: bucket(), filter: Object::new() },
        T::Count { bucket: bucket(), filter: None },
    ];
    let call = S::Transaction { operations };
    let touched: Vec<_> = call.writes().map(|(operation, bucket)| (operation.name(), &**bucket)).collect();
    let names = ["get", "insert", "update", "delete", "where", "findOne", "count"];
    let expected: Vec<_> = names.iter().map(|name| format!("store.{name}")).collect();
    let expected = expected.iter().enumerate().flat_map(|(at, name)| {
        let bucket = if at == 0 { "a" } else { "b" };
        [("store.transaction", bucket), (&**name, bucket)]
    });
    assert!(touched.iter().copied().eq(expected), "{touched:?}");
    assert!(call.reads().is_none());
}

#[test]
fn transactions_become_lists_of_operations() {
    let operations = r#""operations":[
        {"op":"get","bucket":"b","key":1}, {"op":"insert","bucket":"b","data":{}},
        {"op":"update","bucket":"b","key":1,"data":{}}, {"op":"delete","bucket":"b","key":1},
        {"op":"where","bucket":"b","filter":{}}, {"op":"findOne","bucket":"b","filter":{}},
        {"op":"count","bucket":"b"}, {"op":"count","bucket":"b","filter":null}, {"op":"count","bucket":"b","filter":{}}]"#;
    let (bucket, key, empty) = (|| CompactString::from("b"), || value("1"), Object::new);
    let operations_wanted = vec![
        T::Get { bucket: bucket(), key: key() },
        T::Insert { bucket: bucket(), data: empty() },
        T::Update { bucket: bucket(), key: key(), data: empty() },
        T::Delete { bucket: bucket(), key: key() },
        T::Where { bucket: bucket(), filter: empty() },
        T::FindOne { bucket: bucket(), filter: empty() },
        T::Count { bucket: bucket(), filter: None },
        T::Count { bucket: bucket(), filter: None },
        T::Count { bucket: bucket(), filter: Some(empty()) },
    ];
    let call = S::Transaction { operations: operations_wanted };
    assert_eq!(run("store.transaction", operations).0, [format!("{call:?}")]);
}

#[test]
fn fields_that_are_missing_or_wrong_are_named() {
    const TEXT: &str = "expected non-empty string";
    let one_op = |operation: &str| format!(r#""operations":[{operation}]"#);
    for (operation, fields, message) in [
        ("store.insert", "", format!(r#"Missing or invalid "bucket": {TEXT}"#)),
        ("store.insert", r#""bucket":"b""#, r#"Missing or invalid "data": expected object"#.into()),
        ("store.insert", r#""bucket":"b","data":[]"#, r#"Missing or invalid "data": expected object"#.into()),
        ("store.get", r#""bucket":7,"key":1"#, format!(r#"Missing or invalid "bucket": {TEXT}"#)),
        ("store.get", r#""bucket":"b""#, r#"Missing "key": expected non-null value"#.into()),
        ("store.update", r#""bucket":"b","key":null"#, r#"Missing "key": expected non-null value"#.into()),
        ("store.where", r#""bucket":"b""#, r#"Missing or invalid "filter": expected object"#.into()),
        ("store.count", r#""bucket":"b","filter":1"#, r#"Invalid "filter": expected object"#.into()),
        ("store.first", r#""bucket":"b","n":0"#, r#"Missing or invalid "n": expected positive integer"#.into()),
        ("store.last", r#""bucket":"b","n":1.5"#, r#"Missing or invalid "n": expected positive integer"#.into()),
        (
            "store.first",
            r#""bucket":"b","n":1e400"#,
            r#"Missing or invalid "n": expected positive integer"#.into(),
        ),
        ("store.paginate", r#""bucket":"b""#, r#"Missing or invalid "limit": expected positive integer"#.into()),
        ("store.sum", r#""bucket":"b","field":"""#, format!(r#"Missing or invalid "field": {TEXT}"#)),
        ("store.max", r#""bucket":"b","field":"n","filter":[]"#, r#"Invalid "filter": expected object"#.into()),
        ("store.defineBucket", r#""name":"x""#, r#"Missing or invalid "config": expected object"#.into()),
        ("store.updateBucket", r#""name":"x""#, r#"Missing or invalid "updates": expected object"#.into()),
        ("store.dropBucket", "", format!(r#"Missing or invalid "name": {TEXT}"#)),
        ("store.subscribe", "", format!(r#"Missing or invalid "query": {TEXT}"#)),
        ("store.unsubscribe", "", format!(r#"Missing or invalid "subscriptionId": {TEXT}"#)),
        ("rules.subscribe", "", format!(r#"Missing or invalid "pattern": {TEXT}"#)),
        ("rules.emit", "", format!(r#"Missing or invalid "topic": {TEXT}"#)),
        ("rules.emit", r#""topic":"t","data":1"#, r#"Invalid "data": expected object"#.into()),
        ("rules.emit", r#""topic":"t","correlationId":"""#, format!(r#"Invalid "correlationId": {TEXT}"#)),
        ("rules.setFact", r#""key":"k""#, r#"Missing "value": expected a value"#.into()),
        ("rules.registerRule", "", r#"Missing or invalid "rule": expected object"#.into()),
        ("rules.updateRule", r#""ruleId":"r""#, r#"Missing or invalid "updates": expected object"#.into()),
        ("store.transaction", "", r#"Missing or invalid "operations": expected array"#.into()),
        (
            "store.transaction",
            r#""operations":[]"#,
            r#""operations" must contain at least one operation"#.into(),
        ),
        ("store.transaction", &one_op("7"), "operations[0]: expected object".into()),
        (
            "store.transaction",
            &one_op(r#"{"op":"all"}"#),
            "operations[0]: invalid \\\"op\\\" \u{2014} expected one of: get, insert, update, delete, where, findOne, count"
                .replace('\\', ""),
        ),
        (
            "store.transaction",
            &one_op(r#"{"op":"get","bucket":""}"#),
            r#"operations[0]: missing or invalid "bucket""#.into(),
        ),
        (
            "store.transaction",
            &one_op(r#"{"op":"delete","bucket":"b","key":null}"#),
            r#"operations[0]: "delete" requires "key""#.into(),
        ),
        (
            "store.transaction",
            &one_op(r#"{"op":"update","bucket":"b","key":1,"data":[]}"#),
            r#"operations[0]: "update" requires "data" object"#.into(),
        ),
        (
            "store.transaction",
            &one_op(r#"{"op":"count","bucket":"b","filter":1}"#),
            r#"operations[0]: "count" requires "filter" object"#.into(),
        ),
    ] {
        let (executed, answer) = run(operation, fields);
        assert_eq!(executed, [""; 0], "{operation} {fields}");
        assert_eq!(answer, error(1, "VALIDATION_ERROR", &message), "{operation} {fields}");
    }
}

#[test]
fn names_and_lists_are_bounded() {
    let config =
        Config { rules: true, name_length_max: 4, transaction_operations_max: 1, ..Config::default() };
    let mut pair = welcomed(config);
    for (operation, fields, message) in [
        // Length is that of UTF-16.
        ("store.all", r#""bucket":"ab\ud83d\ude00""#, None),
        (
            "store.all",
            r#""bucket":"abc\ud83d\ude00""#,
            Some(r#"Missing or invalid "bucket": expected at most 4 characters"#),
        ),
        ("rules.registerRule", r#""rule":{"id":"abcd"}"#, None),
        ("rules.registerRule", r#""rule":{"id":7}"#, None),
        (
            "rules.registerRule",
            r#""rule":{"id":"abcde"}"#,
            Some(r#"Missing or invalid "id": expected at most 4 characters"#),
        ),
        (
            "store.transaction",
            r#""operations":[{"op":"count","bucket":"abcde"}]"#,
            Some(r#"operations[0]: missing or invalid "bucket": expected at most 4 characters"#),
        ),
        ("store.transaction", r#""operations":[{"op":"count","bucket":"b"}]"#, None),
        (
            "store.transaction",
            r#""operations":[{"op":"count","bucket":"b"},{"op":"count","bucket":"b"}]"#,
            Some(r#""operations" must contain at most 1 operations"#),
        ),
    ] {
        let answer = pair.ask(request(1, operation, fields));
        match message {
            Some(message) => assert_eq!(answer, error(1, "VALIDATION_ERROR", message)),
            None => assert!(answer.contains(r#""type":"result""#), "{operation} {fields}: {answer}"),
        }
    }
}
