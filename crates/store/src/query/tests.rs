use super::*;
use noex_json::{identical, parse, utf16_cmp};
use proptest::prelude::*;
use std::{cell::Cell, cmp::Ordering};

fn value(text: &str) -> Value {
    parse(text, 128).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

fn object(text: &str) -> Object {
    value(text).as_object().cloned().unwrap_or_else(|| panic!("no object: {text}"))
}

fn define(config: &str) -> QueryDefinition {
    QueryDefinition::parse("q", &object(config), QueryOptions::default())
        .unwrap_or_else(|error| panic!("{config}: {error}"))
}

fn refusal(config: &str, options: QueryOptions) -> String {
    QueryDefinition::parse("q", &object(config), options).map(|_| ()).expect_err(config).to_string()
}

/// A record and its own text.
#[derive(Debug)]
struct Record(Object, String);

fn records(texts: &[&str]) -> Vec<Record> {
    texts.iter().map(|text| Record(object(text), (*text).to_owned())).collect()
}

fn evaluate(definition: &QueryDefinition, params: Option<&Value>, records: &[Record]) -> Option<String> {
    let compiled = definition.compile(params, QueryOptions::default()).expect("parameters that fit");
    compiled.evaluate(records.iter(), |record| &record.0, |record| &record.1)
}

const SIX: &[&str] = &[
    r#"{"id":"a","g":"x","n":3}"#,
    r#"{"id":"b","g":"y","n":1}"#,
    r#"{"id":"c","g":"x","n":null}"#,
    r#"{"id":"d","n":1}"#,
    r#"{"id":"e","g":"y","n":2}"#,
    r#"{"id":"f","g":"x","n":10}"#,
];

/// Gives the ids of the records in a result.
fn ids(result: Option<String>) -> String {
    let result = value(&result.unwrap_or_default());
    let records = result.as_array().unwrap_or_default();
    records.iter().filter_map(|record| record.as_object()?.get("id")?.as_str().map(str::to_owned)).collect()
}

#[test]
fn sort_offset_limit() {
    let records = records(SIX);
    for (options, expected) in [
        (r#""x":1"#, "abcdef"),
        (r#""filter":null"#, "abcdef"),
        (r#""sort":{"n":"asc"}"#, "bdeafc"),
        (r#""sort":{"n":"desc"}"#, "faebdc"),
        (r#""sort":{"g":"asc","n":"desc"}"#, "facebd"),
        (r#""sort":{"g":"DESC"}"#, "acfbed"),
        (r#""sort":{"g":5}"#, "acfbed"),
        (r#""sort":{}"#, "abcdef"),
        (r#""filter":{"g":"x"},"sort":{"n":"desc"},"limit":2"#, "fa"),
        (r#""sort":{"n":"desc"},"offset":1,"limit":2"#, "ae"),
        (r#""sort":{"n":"desc"},"limit":-4"#, "fa"),
        (r#""sort":{"n":"desc"},"offset":5"#, "c"),
        (r#""sort":{"n":"desc"},"limit":0"#, ""),
        (r#""offset":4"#, "ef"),
        (r#""offset":1,"limit":2"#, "bc"),
        (r#""offset":-3,"limit":2"#, "ab"),
        (r#""offset":0.5,"limit":2"#, "ab"),
        (r#""offset":1.9,"limit":2.9"#, "bc"),
        (r#""offset":9,"limit":5"#, ""),
        (r#""offset":9,"limit":-1"#, ""),
        (r#""offset":1e999"#, ""),
        (r#""limit":0"#, ""),
        (r#""limit":0.9"#, ""),
        (r#""limit":-0.9"#, ""),
        (r#""limit":-1"#, "abcde"),
        (r#""limit":-1,"offset":2"#, "cde"),
        (r#""limit":-9"#, ""),
        (r#""limit":-1e999"#, ""),
        (r#""limit":1e999"#, "abcdef"),
        (r#""limit":"2","offset":" 1 ""#, "bc"),
        (r#""fields":[],"limit":1"#, "a"),
    ] {
        let definition = define(&format!(r#"{{"bucket":"u",{options}}}"#));
        assert_eq!(ids(evaluate(&definition, None, &records)), expected, "{options}");
    }
}

#[test]
fn projection_has_the_order_of_the_list_and_of_objects() {
    let records = records(&[r#"{"id":"a","g":"x","n":3,"7":[1,{"k":null}],"10":"\""}"#, r#"{"n":null}"#]);
    for (fields, expected) in [
        (r#"["n","zz","g"]"#, r#"[{"n":3,"g":"x"},{"n":null}]"#),
        (r#"["g","10","n","7","n"]"#, r#"[{"7":[1,{"k":null}],"10":"\"","g":"x","n":3},{"n":null}]"#),
        (r#"["zz"]"#, "[{},{}]"),
    ] {
        let definition = define(&format!(r#"{{"bucket":"u","fields":{fields}}}"#));
        assert_eq!(evaluate(&definition, None, &records).as_deref(), Some(expected), "{fields}");
    }
}

#[test]
fn whole_records_are_shown_by_their_own_text() {
    let records =
        vec![Record(object(r#"{"n":1}"#), "<first>".to_owned()), Record(Object::new(), "<2>".to_owned())];
    let shown = |config: &str| evaluate(&define(config), None, &records);
    assert_eq!(shown(r#"{"bucket":"u"}"#).as_deref(), Some("[<first>,<2>]"));
    assert_eq!(shown(r#"{"bucket":"u","sort":{"n":"asc"},"limit":1}"#).as_deref(), Some("[<first>]"));
}

#[test]
fn aggregates() {
    let records = records(SIX);
    let none = r#""filter":{"g":"none"},"#;
    for (options, aggregate, expected) in [
        ("", r#"{"function":"count","field":"n"}"#, Some("6")),
        ("", r#"{"function":"count"}"#, Some("6")),
        ("", r#"{"function":"sum","field":"n"}"#, Some("17")),
        ("", r#"{"function":"avg","field":"n"}"#, Some("3.4")),
        ("", r#"{"function":"min","field":"n"}"#, Some("1")),
        ("", r#"{"function":"max","field":"n"}"#, Some("10")),
        ("", r#"{"function":"max","field":"g"}"#, None),
        (none, r#"{"function":"min","field":"n"}"#, None),
        (none, r#"{"function":"avg","field":"n"}"#, Some("0")),
        (none, r#"{"function":"sum","field":"n"}"#, Some("0")),
        (r#""sort":{"n":"asc"},"limit":1,"fields":["id"],"#, r#"{"function":"count"}"#, Some("6")),
        (
            "",
            r#"{"function":"count","groupBy":"g"}"#,
            Some(r#"[{"key":{"g":"x"},"value":3},{"key":{"g":"y"},"value":2},{"key":{},"value":1}]"#),
        ),
        (
            "",
            r#"{"function":"max","field":"n","groupBy":["g","n"]}"#,
            Some(
                r#"[{"key":{"g":"x","n":3},"value":3},{"key":{"g":"y","n":1},"value":1},{"key":{"g":"x","n":null},"value":0},{"key":{"n":1},"value":1},{"key":{"g":"y","n":2},"value":2},{"key":{"g":"x","n":10},"value":10}]"#,
            ),
        ),
        (none, r#"{"function":"count","groupBy":"g"}"#, Some("[]")),
        (none, r#"{"function":"count","groupBy":[]}"#, Some("[]")),
        ("", r#"{"function":"count","groupBy":[]}"#, Some(r#"[{"key":{},"value":6}]"#)),
    ] {
        let definition = define(&format!(r#"{{"bucket":"u",{options}"aggregate":{aggregate}}}"#));
        assert_eq!(evaluate(&definition, None, &records).as_deref(), expected, "{options} {aggregate}");
    }
}

#[test]
fn groups_are_told_apart_by_the_text_of_their_values() {
    let records = records(&[
        r#"{"a":null,"b":1}"#,
        r#"{"b":"1"}"#,
        r#"{"a":"null","b":1}"#,
        r#"{"a":{"x":1},"b":[1]}"#,
        r#"{"a":{},"b":1}"#,
        r#"{"a":"1:x","b":""}"#,
        r#"{"a":"","b":"1:x"}"#,
        r#"{"a":-0,"b":0}"#,
        r#"{"a":"0","b":"0"}"#,
        r#"{"a":1e999}"#,
        r#"{"a":"Infinity","b":null}"#,
    ]);
    let definition = define(r#"{"bucket":"u","aggregate":{"function":"count","groupBy":["a","b"]}}"#);
    let expected = r#"[{"key":{"a":null,"b":1},"value":3},{"key":{"a":{"x":1},"b":[1]},"value":2},{"key":{"a":"1:x","b":""},"value":1},{"key":{"a":"","b":"1:x"},"value":1},{"key":{"a":0,"b":0},"value":2},{"key":{"a":null},"value":2}]"#;
    assert_eq!(evaluate(&definition, None, &records).as_deref(), Some(expected));
}

#[test]
fn only_numbers_are_added_and_from_left_to_right() {
    let texts = [r#"{"n":10}"#, r#"{"n":"5"}"#, r#"{"n":null}"#, "{}", r#"{"n":2.5}"#, r#"{"n":true}"#];
    let mixed: Vec<Object> = texts.iter().map(|text| object(text)).collect();
    let compute = |function: Function, records: &[Object]| function.compute("n", records.iter());
    assert_eq!(compute(Function::Count, &mixed), Some(6.0));
    assert_eq!(compute(Function::Sum, &mixed), Some(12.5));
    assert_eq!(compute(Function::Avg, &mixed), Some(6.25));
    assert_eq!(compute(Function::Min, &mixed), Some(2.5));
    assert_eq!(compute(Function::Max, &mixed), Some(10.0));
    for (function, expected) in
        [("count", Some(0.0)), ("sum", Some(0.0)), ("avg", Some(0.0)), ("min", None), ("max", None)]
    {
        let function = Function::by_name(function).expect("a known function");
        assert_eq!(function.compute("n", std::iter::empty::<&Object>()), expected, "{function:?}");
    }
    assert_eq!(Function::by_name("median"), None);
    let tenths = vec![object(r#"{"n":0.1}"#); 10];
    assert_eq!(compute(Function::Sum, &tenths), Some(0.999_999_999_999_999_9));
    assert_eq!(compute(Function::Avg, &tenths), Some(0.099_999_999_999_999_99));
    let huge = records(&[r#"{"n":1e308}"#, r#"{"n":1e308}"#]);
    let sum = define(r#"{"bucket":"u","aggregate":{"function":"sum","field":"n"}}"#);
    assert_eq!(evaluate(&sum, None, &huge).as_deref(), Some("null"));
    let zero = records(&[r#"{"n":-0}"#]);
    let min = define(r#"{"bucket":"u","aggregate":{"function":"min","field":"n"}}"#);
    assert_eq!(evaluate(&min, None, &zero).as_deref(), Some("0"));
}

#[test]
fn faulty_definitions_are_refused() {
    for (options, problem) in [
        (r#""sort":null"#, "sort must be an object"),
        (r#""sort":"n""#, "sort must be an object"),
        (r#""sort":["n"]"#, "sort must be an object"),
        (r#""filter":[]"#, "filter must be an object"),
        (r#""filter":"{{ params.f }}""#, "filter must be an object"),
        (r#""fields":"id""#, "fields must be an array of field names"),
        (r#""fields":null"#, "fields must be an array of field names"),
        (r#""fields":["id",5]"#, "fields must be an array of field names"),
        (r#""limit":true"#, "limit must be a number"),
        (r#""limit":null"#, "limit must be a number"),
        (r#""limit":"two""#, "limit must be a number"),
        (r#""offset":{}"#, "offset must be a number"),
        (r#""offset":[1]"#, "offset must be a number"),
        (r#""aggregate":5"#, "aggregate must be an object"),
        (r#""aggregate":null"#, "aggregate must be an object"),
        (r#""aggregate":{}"#, "aggregate.function must be one of count, sum, avg, min, max"),
        (
            r#""aggregate":{"function":"median"}"#,
            "aggregate.function must be one of count, sum, avg, min, max",
        ),
        (r#""aggregate":{"function":"sum"}"#, "aggregate.field must be a string"),
        (r#""aggregate":{"function":"count","field":5}"#, "aggregate.field must be a string"),
        (
            r#""aggregate":{"function":"count","groupBy":5}"#,
            "aggregate.groupBy must be a field name or an array of field names",
        ),
        (
            r#""aggregate":{"function":"count","groupBy":[5]}"#,
            "aggregate.groupBy must be a field name or an array of field names",
        ),
        // Also what an aggregate makes superfluous.
        (r#""aggregate":{"function":"count"},"sort":5"#, "sort must be an object"),
    ] {
        let text = refusal(&format!(r#"{{"bucket":"u",{options}}}"#), QueryOptions::default());
        assert_eq!(text, format!("Invalid query \"q\": {problem}"), "{options}");
    }
    assert_eq!(
        refusal(r#"{"bucket":5}"#, QueryOptions::default()),
        "Invalid query \"q\": bucket must be a string"
    );
    let filter = r#"{"bucket":"u","filter":{"n":{"$in":5}}}"#;
    assert_eq!(refusal(filter, QueryOptions::default()), "Invalid filter: $in of \"n\" must be an array");
    let unknown = r#"{"bucket":"u","filter":{"n":{"$x":"{{ params.a }}"}}}"#;
    let strict = QueryOptions { strict_filters: true, ..QueryOptions::default() };
    assert_eq!(refusal(unknown, strict), "Invalid filter: unknown operator \"$x\" of \"n\"");
    assert!(define(unknown).compile(None, strict).is_err());
}

#[test]
fn the_definition_is_given_back() {
    let config = r#"{"bucket":"u","filter":null,"fields":[],"limit":"1","extra":1}"#;
    let definition = define(config);
    assert_eq!(Value::from(definition.config().clone()).to_json(), config);
    assert_eq!((definition.name.as_str(), definition.bucket.as_str()), ("q", "u"));
    for (config, bucket) in
        [("{}", "undefined"), (r#"{"bucket":null}"#, "null"), (r#"{"bucket":5}"#, "5"), (config, "u")]
    {
        assert_eq!(QueryDefinition::bucket_of(&object(config)), bucket);
    }
}

#[test]
fn parameters_select_views() {
    let definition = define(
        r#"{"bucket":"u","filter":{"g":"{{ params.g }}","n":{"$in":["{{params.b}}",1]}},"sort":{"{{ params.s }}":"asc"}}"#,
    );
    let canonical = |params: &str| definition.canonical_params(Some(&value(params)));
    // What the filter does not use makes no difference, nor does the order of members.
    assert_eq!(canonical(r#"{"g":1,"b":[2],"s":5}"#), canonical(r#"{"b":[2],"g":1.0}"#));
    assert_eq!(canonical("{}"), definition.canonical_params(None));
    assert_eq!(canonical("{}"), canonical("null"));
    let different = [
        "{}",
        r#"{"g":null}"#,
        r#"{"b":null}"#,
        r#"{"g":1}"#,
        r#"{"g":"1"}"#,
        r#"{"g":true}"#,
        r#"{"g":"true"}"#,
        r#"{"g":1e999}"#,
        r#"{"g":-1e999}"#,
        r#"{"g":[1e999]}"#,
        r#"{"g":[null]}"#,
        r#"{"g":[]}"#,
        r#"{"g":{}}"#,
        r#"{"g":"-"}"#,
        r#"{"g":"null"}"#,
        r#"{"g":{"a":null}}"#,
        r#"{"g":";-"}"#,
        r#"{"g":"","b":""}"#,
    ];
    for (at, left) in different.iter().enumerate() {
        for right in different.iter().skip(at + 1) {
            assert_ne!(canonical(left), canonical(right), "{left} {right}");
        }
    }
    assert_eq!(define(r#"{"bucket":"u"}"#).canonical_params(Some(&value(r#"{"g":1}"#))), "");
    let records = records(SIX);
    let by_group = define(r#"{"bucket":"u","filter":{"g":"{{ params.g }}"}}"#);
    for (params, expected) in
        [(Some(r#"{"g":"y"}"#), "be"), (Some("{}"), "d"), (None, "d"), (Some(r#"{"g":null}"#), "")]
    {
        let params = params.map(value);
        assert_eq!(ids(evaluate(&by_group, params.as_ref(), &records)), expected, "{params:?}");
    }
}

#[test]
fn output_fields() {
    for (options, expected) in [
        (r#""limit":1"#, None),
        (r#""sort":{"a":"asc"}"#, None),
        (r#""fields":["b","a"],"sort":{"c":"asc","a":"asc"}"#, Some(vec!["a", "b", "c"])),
        (r#""aggregate":{"function":"count","field":"n"}"#, Some(vec![])),
        (r#""aggregate":{"function":"sum","field":"n"},"sort":{"a":"asc"}"#, Some(vec!["n"])),
        (r#""aggregate":{"function":"count","field":"n","groupBy":["b","a"]}"#, Some(vec!["a", "b"])),
        (r#""aggregate":{"function":"max","field":"n","groupBy":"b"}"#, Some(vec!["b", "n"])),
    ] {
        let definition = define(&format!(r#"{{"bucket":"u",{options}}}"#));
        let compiled = definition.compile(None, QueryOptions::default()).expect("no parameters");
        let fields = compiled.output_fields();
        let fields =
            fields.as_ref().map(|fields| fields.iter().map(CompactString::as_str).collect::<Vec<_>>());
        assert_eq!(fields, expected, "{options}");
    }
}

#[test]
fn a_limit_without_sort_stops_the_scan() {
    let records = records(SIX);
    for (options, needed) in [
        (r#""limit":2"#, 2),
        (r#""limit":2,"offset":1"#, 3),
        (r#""limit":0"#, 0),
        (r#""filter":{"g":"y"},"limit":1"#, 2),
        (r#""limit":-1"#, 6),
        (r#""limit":1,"sort":{"n":"asc"}"#, 6),
        (r#""limit":1,"aggregate":{"function":"count"}"#, 6),
    ] {
        let definition = define(&format!(r#"{{"bucket":"u",{options}}}"#));
        let compiled = definition.compile(None, QueryOptions::default()).expect("no parameters");
        let taken = Cell::new(0);
        let candidates = records.iter().inspect(|_| taken.set(taken.get() + 1));
        compiled.evaluate(candidates, |record| &record.0, |record| &record.1);
        assert_eq!(taken.get(), needed, "{options}");
    }
}

#[test]
fn windows() {
    for (offset, limit, range, needed) in [
        (None, None, 0..5, None),
        (Some(2.0), None, 2..5, None),
        (Some(2.0), Some(2.0), 2..4, Some(4)),
        (Some(2.0), Some(9.0), 2..5, Some(11)),
        (Some(2.0), Some(-1.0), 2..4, None),
        (Some(9.0), Some(-1.0), 5..5, None),
        (Some(-2.0), Some(0.0), 0..0, Some(0)),
        (Some(2.0), Some(0.0), 2..2, Some(0)),
        (Some(f64::INFINITY), Some(f64::INFINITY), 5..5, Some(usize::MAX)),
    ] {
        let window = Window::new(offset, limit);
        assert_eq!((window.range(5), window.needed()), (range, needed), "{offset:?} {limit:?}");
    }
}

#[test]
fn sorting_mixed_values_is_a_total_order() {
    let values = [
        "-1e999",
        "-1",
        "false",
        "0",
        "true",
        "1",
        "2.5",
        "1e999",
        r#""""#,
        r#""10""#,
        r#""9""#,
        r#""😀""#,
        r#""\uE000""#,
        r#"[]"#,
        r#"[1]"#,
        r#"["a"]"#,
        "{}",
        r#"["[object Object]"]"#,
        "null",
    ];
    let texts: Vec<String> = values.iter().rev().map(|value| format!(r#"{{"v":{value}}}"#)).collect();
    let mut texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    texts.push("{}");
    let records = records(&texts);
    let shown = |direction: &str| {
        let definition = define(&format!(r#"{{"bucket":"u","sort":{{"v":"{direction}"}},"fields":["v"]}}"#));
        let result = value(&evaluate(&definition, None, &records).unwrap_or_default());
        let values = result.as_array().unwrap_or_default().iter();
        values
            .map(|record| record.as_object().and_then(|r| r.get("v")).map_or("-".to_owned(), Value::to_json))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        shown("asc"),
        "null -1 0 false 1 true 2.5 null \"\" \"10\" \"9\" \"😀\" \"\u{E000}\" [] [1] [\"[object Object]\"] {} [\"a\"] null -"
    );
    assert_eq!(
        shown("desc"),
        "[\"a\"] [\"[object Object]\"] {} [1] [] \"\u{E000}\" \"😀\" \"9\" \"10\" \"\" null 2.5 1 true 0 false -1 null null -"
    );
}

/// The order as the specification words it.
fn naive_order(sort: &[(&str, bool)], left: &Object, right: &Object) -> Ordering {
    for (name, descending) in sort {
        let nullish = |value: Option<&Value>| value.is_none_or(Value::is_null);
        let (a, b) = (left.get(name), right.get(name));
        if identical(a, b) || (nullish(a) && nullish(b)) {
            continue;
        }
        let (Some(a), Some(b)) = (a.filter(|a| !a.is_null()), b.filter(|b| !b.is_null())) else {
            return nullish(a).cmp(&nullish(b));
        };
        let number = |value: &Value| match value {
            Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
            Value::Number(number) => Some(*number),
            Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let class = |value: &Value| match value {
            Value::Bool(_) | Value::Number(_) => 0,
            Value::String(_) => 1,
            Value::Null | Value::Array(_) | Value::Object(_) => 2,
        };
        let order = class(a).cmp(&class(b)).then_with(|| match (number(a), number(b)) {
            (Some(a), Some(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            _ => utf16_cmp(&text_form(Some(a)), &text_form(Some(b))),
        });
        if order.is_eq() && class(a) == 2 {
            return Ordering::Equal;
        }
        if order.is_ne() {
            return if *descending { order.reverse() } else { order };
        }
    }
    Ordering::Equal
}

fn sortable() -> impl Strategy<Value = Object> {
    let value = prop::sample::select(vec![
        "null", "true", "false", "0", "1", "-1", "2.5", r#""""#, r#""a""#, r#""B""#, r#""1""#, "[]", "[1]",
        "{}",
    ])
    .prop_map(value);
    let name = prop::sample::select(vec!["a", "b", "c"]).prop_map(CompactString::from);
    prop::collection::vec((name, value), 0..4).prop_map(|members| members.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn sorted_windows_are_parts_of_the_naively_sorted_list(
        objects in prop::collection::vec(sortable(), 0..20),
        sort in prop::collection::vec((prop::sample::select(vec!["a", "b"]), any::<bool>()), 1..3),
        offset in prop::option::of(-2_i8..8),
        limit in prop::option::of(-6_i8..8),
    ) {
        let mut config = object(r#"{"bucket":"u"}"#);
        let mut by = Object::new();
        for (name, descending) in &sort {
            by.set(*name, if *descending { "desc" } else { "asc" });
        }
        let sort: Vec<(&str, bool)> = by.iter().map(|(n, d)| (n.as_str(), d.as_str() == Some("desc"))).collect();
        config.set("sort", by.clone());
        offset.into_iter().for_each(|offset| config.set("offset", f64::from(offset)));
        limit.into_iter().for_each(|limit| config.set("limit", f64::from(limit)));
        let definition = QueryDefinition::parse("q", &config, QueryOptions::default()).expect("a correct query");

        let records: Vec<Record> =
            objects.iter().enumerate().map(|(at, object)| Record(object.clone(), at.to_string())).collect();
        let mut order: Vec<usize> = (0..objects.len()).collect();
        order.sort_by(|a, b| naive_order(&sort, &objects[*a], &objects[*b]));
        if let Some(offset) = offset.filter(|offset| *offset > 0) {
            order.drain(..usize::from(offset.unsigned_abs()).min(order.len()));
        }
        match limit {
            Some(limit) if limit < 0 => {
                order.truncate(order.len().saturating_sub(usize::from(limit.unsigned_abs())));
            }
            Some(limit) => order.truncate(usize::from(limit.unsigned_abs())),
            None => {}
        }
        let expected: Vec<String> = order.iter().map(ToString::to_string).collect();
        let expected = format!("[{}]", expected.join(","));
        prop_assert_eq!(evaluate(&definition, None, &records), Some(expected));
    }

    /// Two sets of parameters have the same canonical text only if they give the same results.
    #[test]
    fn equal_canonical_parameters_give_equal_filters(
        left in sortable(), right in sortable(), records in prop::collection::vec(sortable(), 0..8),
    ) {
        let definition = define(
            r#"{"bucket":"u","filter":{"$or":[{"a":"{{ params.a }}"},{"b":{"$gte":"{{ params.b }}"}}]},"fields":["a"]}"#,
        );
        let records: Vec<Record> = records.into_iter().map(|object| Record(object, String::new())).collect();
        let (left, right) = (Value::from(left), Value::from(right));
        if definition.canonical_params(Some(&left)) == definition.canonical_params(Some(&right)) {
            let results = [&left, &right].map(|params| evaluate(&definition, Some(params), &records));
            prop_assert_eq!(&results[0], &results[1]);
        }
    }

    #[test]
    fn any_definition_is_accepted_or_refused(
        text in "(\"(sort|limit|offset|fields|aggregate|filter|function|groupBy|a)\":|[\\[\\]{},1]|null|\"x\"){0,12}",
    ) {
        if let Ok(Value::Object(config)) = parse(&format!("{{\"bucket\":\"u\",{text}}}"), 32)
            && let Ok(definition) = QueryDefinition::parse("q", &config, QueryOptions::default())
        {
            evaluate(&definition, None, &records(SIX));
        }
    }
}
