use super::*;
use noex_json::parse;
use proptest::prelude::*;

mod naive;

fn value(text: &str) -> Value {
    parse(text, 256).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

fn object(text: &str) -> Object {
    value(text).as_object().cloned().unwrap_or_else(|| panic!("no object: {text}"))
}

fn compile(filter: &str) -> Filter {
    Filter::compile(&object(filter), false).unwrap_or_else(|error| panic!("{filter}: {error}"))
}

fn refusal(filter: &str, strict: bool) -> String {
    Filter::compile(&object(filter), strict).map(|_| ()).expect_err(filter).to_string()
}

/// Lists the ids, which are the places from 1, of the records that match.
fn matching(records: &[Object], filter: &str) -> String {
    let filter = compile(filter);
    let found = records.iter().enumerate().filter(|(_, record)| filter.matches(*record));
    found.map(|(at, _)| (at + 1).to_string()).collect()
}

fn check(records: &[&str], table: &[(&str, &str)]) {
    let records: Vec<Object> = records.iter().map(|record| object(record)).collect();
    for (filter, ids) in table {
        assert_eq!(matching(&records, filter), *ids, "{filter}");
    }
}

#[test]
fn equality() {
    check(
        &[
            r#"{"id":"1","n":1,"x":null,"ix":null,"_version":1}"#,
            r#"{"id":"2","n":"1","ix":"q","_version":1}"#,
            r#"{"id":"3","tags":["a"],"o":{"a":1},"a.b":5,"_version":1}"#,
            r#"{"id":"4","n":true,"x":"","_version":1}"#,
        ],
        &[
            ("{}", "1234"),
            (r#"{"n":1}"#, "1"),
            (r#"{"n":1.0}"#, "1"),
            (r#"{"n":"1"}"#, "2"),
            (r#"{"n":true}"#, "4"),
            (r#"{"x":null}"#, "1"),
            (r#"{"ix":null}"#, "1"),
            (r#"{"ix":{"$eq":null}}"#, "1"),
            (r#"{"zz":null}"#, ""),
            (r#"{"tags":["a"]}"#, ""),
            (r#"{"o":{"a":1}}"#, ""),
            (r#"{"o":{}}"#, ""),
            (r#"{"o.a":1}"#, ""),
            (r#"{"a.b":5}"#, "3"),
            (r#"{"n":1,"x":null}"#, "1"),
            (r#"{"_version":1}"#, "1234"),
            (r#"{"$not":{"n":1}}"#, ""),
            (r#"{"x":"{{ params.x }}"}"#, ""),
        ],
    );
}

#[test]
fn operators() {
    check(
        &[
            r#"{"n":1,"s":"abc"}"#,
            r#"{"n":10,"s":"Abd"}"#,
            r#"{"n":"10","s":""}"#,
            r#"{"n":null,"b":true}"#,
            r#"{"arr":[1]}"#,
        ],
        &[
            (r#"{"n":{"$gt":1}}"#, "23"),
            (r#"{"n":{"$gte":1,"$lt":10}}"#, "1"),
            (r#"{"n":{"$lte":"10"}}"#, "123"),
            (r#"{"n":{"$gt":"9"}}"#, "2"),
            (r#"{"s":{"$gt":"B"}}"#, "1"),
            (r#"{"b":{"$gt":0}}"#, "4"),
            (r#"{"arr":{"$gte":1}}"#, "5"),
            (r#"{"n":{"$neq":1}}"#, "2345"),
            (r#"{"n":{"$neq":null}}"#, "1235"),
            (r#"{"n":{"$neq":[1]}}"#, "12345"),
            (r#"{"n":{"$in":[1,"10",null]}}"#, "134"),
            (r#"{"n":{"$in":[1,"10",1,[1],{}]}}"#, "13"),
            (r#"{"arr":{"$in":[[1]]}}"#, ""),
            (r#"{"n":{"$nin":[1]}}"#, "2345"),
            (r#"{"n":{"$in":[]}}"#, ""),
            (r#"{"n":{"$nin":[]}}"#, "12345"),
            (r#"{"zz":{"$in":[null]}}"#, ""),
            (r#"{"zz":{"$nin":[null]}}"#, "12345"),
            (r#"{"s":{"$contains":"AB"}}"#, "12"),
            (r#"{"s":{"$contains":""}}"#, "123"),
            (r#"{"s":{"$startsWith":"a"}}"#, "1"),
            (r#"{"s":{"$endsWith":"d"}}"#, "2"),
            (r#"{"n":{"$startsWith":1}}"#, "3"),
            (r#"{"n":{"$endsWith":0}}"#, "3"),
            (r#"{"n":{"$exists":true}}"#, "123"),
            (r#"{"n":{"$exists":false}}"#, "45"),
            (r#"{"n":{"$exists":"yes"}}"#, ""),
            (r#"{"n":{"$exists":1}}"#, ""),
            (r#"{"n":{"$between":[1,10]}}"#, "123"),
            (r#"{"n":{"$between":[10,1]}}"#, ""),
            (r#"{"n":{"$between":[1]}}"#, ""),
            (r#"{"n":{"$between":[null,5,"more"]}}"#, "1"),
            (r#"{"s":{"$between":["a","b"]}}"#, "1"),
            (r#"{"n":{"$gt":null}}"#, "123"),
            (r#"{"arr":{"$lt":"z"}}"#, "5"),
            (r#"{"$or":[{"n":1},{"b":true}]}"#, "14"),
            (r#"{"$or":[{"n":1},{"n":10}],"s":"Abd"}"#, "2"),
            (r#"{"$or":[{"n":1}],"$and":[{"n":10}]}"#, ""),
            (r#"{"$or":[{"$and":[{"n":1},{"s":"abc"}]},{"$or":[{"b":true},{"n":"10"}]}]}"#, "134"),
            (r#"{"$and":[{"n":{"$gt":0}},{"s":{"$contains":"b"}}]}"#, "12"),
            (r#"{"$or":[]}"#, ""),
            (r#"{"$or":[{}]}"#, "12345"),
            (r#"{"$or":[{"$or":[]},{"n":1}]}"#, "1"),
            (r#"{"$and":[]}"#, "12345"),
            (r#"{"n":{"$regex":"x"}}"#, "12345"),
            (r#"{"n":{"$gt":5,"$mod":2}}"#, "23"),
            (r#"{"n":{"$not":{"$gt":5}}}"#, "12345"),
            (r#"{"n":{"$or":[{"n":1}]}}"#, "12345"),
            (r#"{"n":{"$gt":0,"foo":1}}"#, ""),
            (r#"{"n":{"$gt":0,"":1}}"#, ""),
            (r#"{"n":{}}"#, ""),
        ],
    );
}

#[test]
fn texts_are_compared_by_units_and_lower_cased_fully() {
    check(
        &[
            r#"{"s":"Žluťoučký"}"#,
            r#"{"s":"\uE000"}"#,
            r#"{"s":"😀"}"#,
            r#"{"s":"STRASSE Σ"}"#,
            r#"{"s":"\u212A"}"#,
            r#"{"s":5}"#,
            r#"{"s":["žluť"]}"#,
        ],
        &[
            (r#"{"s":{"$contains":"žluŤ"}}"#, "1"),
            (r#"{"s":{"$contains":"SSE"}}"#, "4"),
            (r#"{"s":{"$contains":"k"}}"#, "15"),
            (r#"{"s":{"$contains":"\u212A"}}"#, "15"),
            (r#"{"s":{"$contains":"σ"}}"#, "4"),
            (r#"{"s":{"$lt":"\uE000"}}"#, "13457"),
            (r#"{"s":{"$gte":"😀"}}"#, "23"),
            (r#"{"s":{"$startsWith":"Ž"}}"#, "1"),
            (r#"{"s":{"$endsWith":"KÝ"}}"#, ""),
        ],
    );
}

#[test]
fn ill_formed_filters_are_refused() {
    for (filter, what) in [
        (r#"{"n":{"$in":5}}"#, "$in of \"n\" must be an array"),
        (r#"{"n":{"$nin":"x"}}"#, "$nin of \"n\" must be an array"),
        (r#"{"n":{"$in":null}}"#, "$in of \"n\" must be an array"),
        (r#"{"s":{"$contains":5}}"#, "$contains of \"s\" must be a string"),
        (r#"{"n":{"$between":null}}"#, "$between of \"n\" must be an array"),
        (r#"{"n":{"$between":5}}"#, "$between of \"n\" must be an array"),
        (r#"{"$or":null}"#, "$or must be an array of objects"),
        (r#"{"$or":{"n":1}}"#, "$or must be an array of objects"),
        (r#"{"$or":[{"n":1},null]}"#, "$or must be an array of objects"),
        (r#"{"$and":5}"#, "$and must be an array of objects"),
        (r#"{"$and":[[]]}"#, "$and must be an array of objects"),
        // However little it matters for the outcome.
        (r#"{"$or":[],"n":{"$in":5}}"#, "$in of \"n\" must be an array"),
        (r#"{"$or":[{},{"n":{"$exists":0,"$in":5}}]}"#, "$in of \"n\" must be an array"),
    ] {
        assert_eq!(refusal(filter, false), format!("Invalid filter: {what}"), "{filter}");
    }
    let strict = refusal(r#"{"$and":[{"n":{"$gt":1,"$regex":"x"}}]}"#, true);
    assert_eq!(strict, "Invalid filter: unknown operator \"$regex\" of \"n\"");
    let nested = |levels: usize| format!("{}{}", r#"{"$and":["#.repeat(levels) + "{}", "]}".repeat(levels));
    let compile = |levels: usize| match parse(&nested(levels), 2000) {
        Ok(Value::Object(filter)) => Filter::compile(&filter, false),
        other => panic!("{other:?}"),
    };
    assert!(compile(256).is_ok());
    assert!(compile(257).is_err());
}

#[test]
fn ignored_operators_are_remembered() {
    let filter = compile(r#"{"n":{"$z":1},"$or":[{"m":{"$a":1,"$gt":2}},{"m":{"$z":1}},{"k":1}]}"#);
    assert_eq!(filter.unknown_operators(), ["$a", "$z"]);
    assert!(compile(r#"{"n":{"$gt":1}}"#).unknown_operators().is_empty());
}

#[test]
fn trivial_filters_are_known() {
    for (filter, all, none) in [
        ("{}", true, false),
        (r#"{"$and":[{},{"$and":[]}]}"#, true, false),
        (r#"{"$or":[{"n":1},{}]}"#, true, false),
        (r#"{"n":{"$nin":[]}}"#, true, false),
        (r#"{"n":{"$regex":1}}"#, true, false),
        (r#"{"$or":[]}"#, false, true),
        (r#"{"n":1,"m":[1]}"#, false, true),
        (r#"{"n":{"$in":[[]]}}"#, false, true),
        (r#"{"$or":[{"n":[]},{"m":{}}]}"#, false, true),
        (r#"{"$and":[{"n":{"$between":[1]}}]}"#, false, true),
        (r#"{"n":1}"#, false, false),
        (r#"{"n":null}"#, false, false),
    ] {
        let compiled = compile(filter);
        assert_eq!((compiled.is_all(), compiled.is_none()), (all, none), "{filter}");
    }
    assert!(Filter::all().is_all() && Filter::all().matches(&Object::new()));
}

#[test]
fn fields_are_listed_once() {
    let filter = compile(r#"{"b":1,"$or":[{"a":1},{"b":2,"$and":[{"c":1}]}],"$and":[{"d":{"$gt":1}}]}"#);
    assert_eq!(filter.fields(), ["a", "b", "c", "d"]);
}

fn shown(filter: &str) -> Vec<String> {
    let bound = |bound: Bound<&Value>| match bound {
        Bound::Unbounded => "..".to_owned(),
        Bound::Included(value) => format!("={}", value.to_json()),
        Bound::Excluded(value) => format!("!{}", value.to_json()),
    };
    let shown = |condition: &IndexableCondition<'_>| match condition {
        IndexableCondition::OneOf(name, values) => {
            format!("{name} {}", Value::from(values.to_vec()).to_json())
        }
        IndexableCondition::Range(name, low, high) => format!("{name} {} {}", bound(*low), bound(*high)),
    };
    compile(filter).indexable().iter().map(shown).collect()
}

#[test]
fn indexes_can_answer_conjunctive_equalities_and_ranges() {
    let table: [(&str, &[&str]); 22] = [
        ("{}", &[]),
        (r#"{"a":1,"b":"x","c":true}"#, &["a [1]", r#"b ["x"]"#, "c [true]"]),
        (r#"{"a":null}"#, &[]),
        (r#"{"a":{"$eq":2}}"#, &["a [2]"]),
        (r#"{"a":{"$in":["b",2,"a",true,2,[]]}}"#, &[r#"a [true,2,"a","b"]"#]),
        (r#"{"a":{"$in":[1,null]}}"#, &[]),
        (
            r#"{"a":{"$neq":1},"b":{"$nin":[1]},"c":{"$exists":true},"d":{"$contains":"x"},"e":{"$endsWith":"x"}}"#,
            &[],
        ),
        (r#"{"a":{"$gt":1}}"#, &["a !1 .."]),
        (r#"{"a":{"$gte":1,"$lt":9}}"#, &["a =1 !9"]),
        (r#"{"a":{"$lte":"z"}}"#, &[r#"a .. ="z""#]),
        (r#"{"a":{"$between":[1,9]}}"#, &["a =1 =9"]),
        (r#"{"a":{"$between":["x","y"],"$gt":3}}"#, &["a !3 ..", r#"a ="x" ="y""#]),
        (r#"{"a":{"$between":[1,"9"]}}"#, &["a =1 ..", r#"a .. ="9""#]),
        (r#"{"a":{"$gt":true,"$lt":null,"$gte":[1]}}"#, &[]),
        (r#"{"a":{"$startsWith":"ab"}}"#, &[r#"a ="ab" !"ac""#]),
        (r#"{"a":{"$startsWith":5}}"#, &[r#"a ="5" !"6""#]),
        (r#"{"a":{"$startsWith":""}}"#, &[r#"a ="" .."#]),
        (r#"{"a":{"$startsWith":"a\uD7FF"}}"#, &["a =\"a\u{D7FF}\" !\"a\u{10000}\""]),
        (r#"{"a":{"$startsWith":"a\uDBFF\uDFFF"}}"#, &["a =\"a\u{10FFFF}\" !\"a\u{E000}\""]),
        (r#"{"a":{"$startsWith":"a\uFFFF\uFFFF"}}"#, &["a =\"a\u{FFFF}\u{FFFF}\" !\"b\""]),
        (r#"{"$and":[{"a":1},{"$and":[{"b":2}]}],"$or":[{"c":1},{"c":2}]}"#, &["a [1]", "b [2]"]),
        (r#"{"$or":[{"c":1}]}"#, &["c [1]"]),
    ];
    for (filter, conditions) in table {
        assert_eq!(shown(filter), conditions, "{filter}");
    }
}

fn with_params(filter: &str, params: &str, operators: bool) -> Result<String, StoreError> {
    let records = [
        r#"{"g":"x","n":3}"#,
        r#"{"g":"y","n":1}"#,
        r#"{"g":"x","n":null}"#,
        r#"{"n":1}"#,
        r#"{"g":"y","n":2}"#,
        r#"{"g":"x","n":10}"#,
    ];
    let (filter, params) = (object(filter), value(params));
    let given = Params::Given { params: Some(&params), operators };
    let compiled = Filter::compile_with(&filter, &given, false)?;
    let ids = records.iter().zip("abcdef".chars()).filter(|(record, _)| compiled.matches(&object(record)));
    Ok(ids.map(|(_, id)| id).collect())
}

#[test]
fn parameters_take_their_places() {
    for (filter, params, ids) in [
        (r#"{"g":"{{ params.g }}"}"#, r#"{"g":"y"}"#, "be"),
        (r#"{"g":"{{params.g}}"}"#, r#"{"g":"y"}"#, "be"),
        (r#"{"n":"{{ params.n }}"}"#, r#"{"n":1}"#, "bd"),
        (r#"{"n":"{{ params.n }}"}"#, r#"{"n":"1"}"#, ""),
        (r#"{"n":"{{ params.n }}"}"#, r#"{"n":null}"#, "c"),
        (r#"{"g":"{{ params.g }}"}"#, "{}", "d"),
        (r#"{"g":"{{ params.g }}"}"#, "null", "d"),
        (r#"{"g":"{{ params.g }}"}"#, "\"g\"", "d"),
        (r#"{"n":{"$gt":"{{ params.min }}"}}"#, r#"{"min":2}"#, "af"),
        (r#"{"n":{"$gt":"{{ params.min }}"}}"#, r#"{"min":"2"}"#, "af"),
        (r#"{"n":{"$gt":"{{ params.min }}"}}"#, "{}", "abcdef"),
        (r#"{"n":{"$eq":"{{ params.min }}"}}"#, "{}", "abcdef"),
        (r#"{"n":{"$in":["{{ params.a }}",10]}}"#, r#"{"a":1}"#, "bdf"),
        (r#"{"n":{"$in":["{{ params.a }}",10]}}"#, "{}", "f"),
        (r#"{"g":{"$in":["{{ params.a }}"]}}"#, "{}", "d"),
        (r#"{"n":{"$in":"{{ params.list }}"}}"#, r#"{"list":[1,3]}"#, "abd"),
        (r#"{"n":{"$in":"{{ params.list }}"}}"#, r#"{"list":[]}"#, ""),
        (r#"{"n":{"$in":"{{ params.list }}"}}"#, r#"{"list":["{{ params.n }}"],"n":1}"#, ""),
        (r#"{"n":{"$between":["{{params.a}}",3]}}"#, r#"{"a":2}"#, "ae"),
        (r#"{"n":{"$between":["{{params.a}}",3]}}"#, "{}", ""),
        (r#"{"$or":[{"g":"{{ params.g }}"},{"n":3}]}"#, r#"{"g":"y"}"#, "abe"),
        (r#"{"g":"x{{ params.g }}"}"#, r#"{"g":""}"#, ""),
        (r#"{"g":"{{ params.a.b }}"}"#, r#"{"a":{"b":"y"}}"#, ""),
        (r#"{"g":"{{ params.é }}"}"#, "{}", ""),
        (r#"{"g":"{{ params. }}"}"#, "{}", ""),
        (r#"{"g":"{{ params.0 }}"}"#, r#"["y"]"#, "be"),
        (r#"{"g":"{{ params.00 }}"}"#, r#"["y"]"#, "d"),
        (r#"{"g":"{{ params.length }}"}"#, r#"["y"]"#, "d"),
        (r#"{"g":"{{\u00A0\n params.g\uFEFF}}"}"#, r#"{"g":"y"}"#, "be"),
        (r#"{"g":"{{ params.g }}"}"#, r#"{"g":{"$neq":"x"}}"#, ""),
        (r#"{"g":"{{ params.g }}"}"#, r#"{"g":{}}"#, ""),
        (r#"{"g":"{{ params.g }}"}"#, r#"{"g":[]}"#, ""),
        (r#"{"g":{"$eq":"{{ params.g }}"}}"#, r#"{"g":{"$neq":"x"}}"#, ""),
        (r#"{"$or":"{{ params.any }}"}"#, r#"{"any":[{"g":"y"},{"n":3}]}"#, ""),
        (r#"{"$or":["{{ params.f }}",{"n":3}]}"#, r#"{"f":{"g":"y"}}"#, "a"),
    ] {
        assert_eq!(with_params(filter, params, false).as_deref(), Ok(ids), "{filter} {params}");
    }
    for (filter, params, ids) in [
        (r#"{"g":"{{ params.g }}"}"#, r#"{"g":{"$neq":"x"}}"#, "bde"),
        (r#"{"g":"{{ params.g }}"}"#, r#"{"g":{"$eq":"{{ params.h }}"},"h":"x"}"#, ""),
        (r#"{"$or":"{{ params.any }}"}"#, r#"{"any":[{"g":"y"},{"n":3}]}"#, "abe"),
        (r#"{"$or":["{{ params.f }}",{"n":3}]}"#, r#"{"f":{"g":"y"}}"#, "abe"),
    ] {
        assert_eq!(with_params(filter, params, true).as_deref(), Ok(ids), "{filter} {params}");
    }
    for (filter, params) in [
        (r#"{"n":{"$in":"{{ params.a }}"}}"#, r#"{"a":5}"#),
        (r#"{"n":{"$contains":"{{ params.a }}"}}"#, r#"{"a":null}"#),
        (r#"{"$or":"{{ params.a }}"}"#, "{}"),
        (r#"{"$or":["{{ params.a }}"]}"#, r#"{"a":1}"#),
    ] {
        assert!(with_params(filter, params, false).is_err(), "{filter} {params}");
    }
}

#[test]
fn what_parameters_decide_is_not_checked_without_them() {
    for filter in [
        r#"{"n":{"$in":"{{ params.a }}"},"$or":"{{ params.a }}","$and":["{{ params.a }}"],"m":"{{ params.a }}"}"#,
        r#"{"n":{"$contains":"{{ params.a }}","$between":["{{ params.a }}",1]}}"#,
    ] {
        assert!(Filter::compile_with(&object(filter), &Params::Unknown, true).is_ok(), "{filter}");
    }
    let wrong = object(r#"{"$or":["{{ params.a }}",{"n":{"$in":5}}]}"#);
    assert!(Filter::compile_with(&wrong, &Params::Unknown, true).is_err());
    let words = placeholders(&object(
        r#"{"b":"{{ params.z }}","$or":[{"n":{"$in":["{{params.a}}",[" {{params.x}}"],{"q":"{{params.m_1}}"}]}},"{{params.a}}"]}"#,
    ));
    assert_eq!(words, ["a", "m_1", "z"]);
}

/// Values that are alike in many ways.
fn scalar() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1",
        "2.5",
        "10",
        "-1",
        "1e999",
        r#""""#,
        r#""0""#,
        r#""1""#,
        r#""10""#,
        r#"" 2.5 ""#,
        r#""abc""#,
        r#""ABC""#,
        r#""b""#,
        r#""é""#,
        r#""É""#,
        r#""😀""#,
        r#""\uE000""#,
        r#""true""#,
        r#""{{ params.a }}""#,
        r#""{{params.b}}""#,
        r#""{{ params.c }}""#,
    ])
    .prop_map(value)
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => scalar(),
        1 => prop::collection::vec(scalar(), 0..3).prop_map(Value::from),
        1 => Just(value(r#"{"a":1}"#)),
        1 => Just(value(r#"{"$gt":1}"#)),
        1 => Just(value("{}")),
    ]
}

fn name() -> impl Strategy<Value = CompactString> {
    prop::sample::select(vec!["a", "b", "c"]).prop_map(CompactString::from)
}

fn condition() -> impl Strategy<Value = Value> {
    let operator = prop::sample::select(vec![
        "$eq",
        "$neq",
        "$gt",
        "$gte",
        "$lt",
        "$lte",
        "$in",
        "$nin",
        "$contains",
        "$startsWith",
        "$endsWith",
        "$exists",
        "$between",
        "$odd",
        "plain",
    ])
    .prop_map(CompactString::from);
    let list = prop::collection::vec(any_value(), 0..4).prop_map(Value::from);
    let operand = prop_oneof![any_value(), list];
    prop_oneof![
        any_value(),
        prop::collection::vec((operator, operand), 1..3)
            .prop_map(|m| Value::from(m.into_iter().collect::<Object>())),
    ]
}

fn filter() -> impl Strategy<Value = Object> {
    let flat =
        prop::collection::vec((name(), condition()), 0..3).prop_map(|m| m.into_iter().collect::<Object>());
    flat.prop_recursive(3, 24, 3, |inner| {
        let branch = prop_oneof![
            8 => inner.prop_map(Value::from),
            1 => Just(value(r#""{{ params.c }}""#)),
        ];
        let branches = prop::collection::vec(branch, 0..3).prop_map(Value::from);
        let kind = prop::sample::select(vec!["$or", "$and"]).prop_map(CompactString::from);
        let members = prop_oneof![(kind, branches), (name(), condition())];
        prop::collection::vec(members, 0..3).prop_map(|m| m.into_iter().collect())
    })
}

fn record() -> impl Strategy<Value = Object> {
    prop::collection::vec((name(), any_value()), 0..4).prop_map(|m| m.into_iter().collect())
}

/// Tells whether a record satisfies a condition as an index over values of the range's own type would see it.
fn index_admits(condition: &IndexableCondition<'_>, record: &Object) -> bool {
    match condition {
        IndexableCondition::OneOf(name, values) => {
            values.iter().any(|value| noex_json::identical(Some(value), record.get(name)))
        }
        IndexableCondition::Range(name, low, high) => {
            let Some(value) = record.get(name) else { return false };
            let (Bound::Included(operand) | Bound::Excluded(operand)) =
                (if *low == Bound::Unbounded { *high } else { *low })
            else {
                return false;
            };
            let same_class = value.type_name() == operand.type_name();
            let order = |bound: &Value| noex_json::relational(value, bound);
            let above = match low {
                Bound::Unbounded => true,
                Bound::Included(bound) => order(bound).is_some_and(std::cmp::Ordering::is_ge),
                Bound::Excluded(bound) => order(bound).is_some_and(std::cmp::Ordering::is_gt),
            };
            let below = match high {
                Bound::Unbounded => true,
                Bound::Included(bound) => order(bound).is_some_and(std::cmp::Ordering::is_le),
                Bound::Excluded(bound) => order(bound).is_some_and(std::cmp::Ordering::is_lt),
            };
            !same_class || (above && below)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// The compiled filter decides as a straightforward reading of the specification does.
    #[test]
    fn compiled_and_naive_agree(
        filter in filter(),
        records in prop::collection::vec(record(), 1..8),
        params in prop::collection::vec((name(), any_value()), 0..3),
        literal in any::<bool>(),
        operators in any::<bool>(),
    ) {
        let params = Value::from(params.into_iter().collect::<Object>());
        let source = if literal { None } else { Some(&params) };
        let naive = naive::Naive { params: source, operators };
        let given = match source {
            None => Params::Literal,
            Some(params) => Params::Given { params: Some(params), operators },
        };
        let compiled = Filter::compile_with(&filter, &given, false);
        prop_assert_eq!(compiled.is_ok(), naive.is_well_formed(&filter), "{:?}", compiled);
        let Ok(compiled) = compiled else { return Ok(()) };
        for record in &records {
            let expected = naive.matches(&filter, record);
            prop_assert_eq!(compiled.matches(record), expected, "{:?}", record);
            prop_assert!(expected || !compiled.is_all());
            prop_assert!(!expected || !compiled.is_none());
            for condition in compiled.indexable() {
                prop_assert!(!expected || index_admits(&condition, record), "{:?} {:?}", condition, record);
            }
        }
    }

    /// Whatever it is, it compiles or is refused.
    #[test]
    fn any_object_is_accepted_or_refused(text in "[\\[\\]{}:,\"$ora-n1 ]{0,30}", strict in any::<bool>()) {
        if let Ok(Value::Object(filter)) = parse(&text, 32) {
            let _ = Filter::compile(&filter, strict).map(|compiled| compiled.matches(&*filter));
        }
    }
}
