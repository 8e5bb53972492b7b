use super::*;
use crate::rule::tests::World;
use noex_json::parse;
use proptest::prelude::*;

fn v(text: &str) -> Value {
    parse(text, 64).expect(text)
}

fn condition(text: &str) -> Condition {
    Condition::parse(&v(text)).expect(text)
}

/// Example 14 with the decisions of its target line.
const TRUTH_TABLE: &str = r#"
eq | 1 | 1 | true
eq | 1 | "1" | false
eq | {"a":1} | {"a":1} | true
eq | [1] | [1] | true
eq | null | null | true
eq | absent | null | false
eq | -0 | 0 | true
eq | absent | absent | false
neq | absent | "x" | true
neq | absent | absent | true
neq | 1 | 1 | false
neq | {"a":1} | {"a":1} | false
neq | {"a":1} | {"a":2} | true
gt | 2 | 1 | true
gt | "b" | "a" | false
gt | "2024-01-02" | "2024-01-01" | false
gte | 1 | 1 | true
lt | absent | 1 | false
lt | 1 | absent | false
lte | null | 1 | false
in | 1 | [1,2] | true
in | "1" | [1,2] | false
in | {"a":1} | [{"a":1}] | true
in | "a" | "abc" | false
in | absent | [1] | false
in | null | [null] | true
not_in | 3 | [1] | true
not_in | absent | [1] | true
not_in | 1 | "x" | false
not_in | 1 | absent | false
contains | "hello" | "ell" | true
contains | "hello" | "" | true
contains | "hello" | "ELL" | false
contains | "a1" | 1 | false
contains | [1,2] | 2 | true
contains | [{"a":1}] | {"a":1} | true
contains | absent | "x" | false
contains | {"a":1} | "a" | false
contains | [1] | absent | false
not_contains | "hello" | "z" | true
not_contains | "hello" | "ell" | false
not_contains | [1,2] | 2 | false
not_contains | absent | "x" | true
not_contains | "abc" | 1 | true
matches | "abc" | "^a" | true
matches | 12 | "1" | false
matches | "a" | "(" | false
matches | "ABC" | "(?i)abc" | true
matches | absent | "a" | false
exists | 0 | null | true
exists | "" | null | true
exists | false | null | true
exists | null | null | false
exists | absent | null | false
not_exists | null | null | true
not_exists | absent | null | true
not_exists | 0 | null | false
"#;

#[test]
fn truth_table() {
    for line in TRUTH_TABLE.trim().lines() {
        let [operator, source, operand, expected] =
            line.split(" | ").collect::<Vec<_>>().try_into().expect("four columns");
        let value = |text: &str| (text != "absent").then(|| v(text));
        let (source, operand, expected) = (value(source), value(operand), expected == "true");
        let parsed = Operator::parse(operator).expect(operator);
        assert_eq!(parsed.apply(source.as_ref(), operand.as_ref()), expected, "{line}");

        // The same through a condition, with a literal operand and with a reference.
        let mut payload = Object::new();
        source.into_iter().for_each(|value| payload.set("source", value));
        operand.clone().into_iter().for_each(|value| payload.set("operand", value));
        let world = World::of(Value::from(payload));
        let literal =
            operand.map_or_else(|| "{\"ref\":\"event.operand\"}".to_owned(), |value| value.to_json());
        for operand in [literal.as_str(), r#"{"ref":"event.operand"}"#] {
            let text = format!(
                r#"{{"source":{{"type":"event","field":"source"}},"operator":"{operator}","value":{operand}}}"#
            );
            assert_eq!(condition(&text).holds(&world), Ok(expected), "{line} {operand}");
        }
    }
}

/// Example 13.
#[test]
fn sources() {
    let world = World::new(r#"{"k":"2","v":6,"w":6,"list":[{"n":3}],"data2":1}"#)
        .fact("s:1", "\"x\"")
        .fact("s:2", "\"y\"")
        .fact("limit", "5")
        .fact("cfg", r#"{"max":9}"#)
        .variable("it", r#"{"qty":3}"#)
        .lookup("cust", r#"{"score":5}"#);
    for (source, operator, value, expected) in [
        (r#"{"type":"fact","pattern":"s:*"}"#, "eq", "\"x\"", true),
        (r#"{"type":"fact","pattern":"s:*"}"#, "eq", "\"y\"", false),
        (r#"{"type":"fact","pattern":"s:${event.k}"}"#, "eq", "\"y\"", true),
        (r#"{"type":"fact","pattern":"*:${event.k}"}"#, "eq", "\"y\"", true),
        (r#"{"type":"fact","pattern":"none"}"#, "not_exists", "0", true),
        (r#"{"type":"event","field":"v"}"#, "gt", r#"{"ref":"fact.limit"}"#, true),
        (r#"{"type":"event","field":"v"}"#, "lt", r#"{"ref":"fact.cfg.max"}"#, true),
        (r#"{"type":"event","field":"v"}"#, "eq", r#"{"ref":"trigger.w"}"#, true),
        (r#"{"type":"event","field":"v"}"#, "neq", r#"{"ref":"zzz.w"}"#, true),
        (r#"{"type":"event","field":"v"}"#, "eq", r#"{"ref":"var.it.qty"}"#, false),
        (r#"{"type":"event","field":"list.0.n"}"#, "eq", r#"{"ref":"var.it.qty"}"#, true),
        (r#"{"type":"event","field":"list.0.n"}"#, "in", r#"[{"ref":"event.v"}]"#, false),
        (r#"{"type":"event","field":"list.length"}"#, "eq", "1", true),
        (r#"{"type":"event","field":"data.v"}"#, "eq", "6", true),
        (r#"{"type":"event","field":"constructor"}"#, "exists", "0", false),
        (r#"{"type":"context","key":"v"}"#, "exists", "0", false),
        (r#"{"type":"context","key":"it.qty"}"#, "gt", "2", true),
        (r#"{"type":"context","key":"it"}"#, "eq", r#"{"qty":3}"#, true),
        (r#"{"type":"lookup","name":"cust","field":"score"}"#, "gte", "5", true),
        (r#"{"type":"lookup","name":"cust"}"#, "exists", "0", true),
        (r#"{"type":"baseline","metric":"m","comparison":"above"}"#, "not_exists", "0", true),
    ] {
        let text = format!(r#"{{"source":{source},"operator":"{operator}","value":{value}}}"#);
        assert_eq!(condition(&text).holds(&world), Ok(expected), "{text}");
    }
}

#[test]
fn an_unknown_reference_is_the_literal_object() {
    let world = World::new(r#"{"v":{"ref":"zzz.w"},"m":{"ref":"matched.0.v"}}"#);
    for (field, reference) in [("v", "zzz.w"), ("m", "matched.0.v")] {
        let text = format!(
            r#"{{"source":{{"type":"event","field":"{field}"}},"operator":"eq","value":{{"ref":"{reference}"}}}}"#
        );
        assert_eq!(condition(&text).holds(&world), Ok(true));
    }
}

#[test]
fn an_unknown_source_in_a_fact_pattern_is_an_error() {
    let bad = condition(r#"{"source":{"type":"fact","pattern":"a:${bogus.x}"},"operator":"exists"}"#);
    let world = World::new(r#"{"v":1}"#);
    assert!(bad.holds(&world).is_err());
    let no = condition(r#"{"source":{"type":"event","field":"v"},"operator":"eq","value":2}"#);
    assert_eq!(Condition::all_hold(&[no.clone(), bad.clone()], &world), Ok(false));
    assert!(Condition::all_hold(&[bad, no], &world).is_err());
    assert_eq!(Condition::all_hold(&[], &world), Ok(true));
}

#[test]
fn what_validation_refuses_does_not_compile() {
    for text in [
        "1",
        "{}",
        r#"{"source":{"type":"event"},"operator":"eq","value":1}"#,
        r#"{"source":{"type":"event","field":"f"},"operator":"eq"}"#,
        r#"{"source":{"type":"event","field":"f"},"operator":"like","value":1}"#,
        r#"{"source":{"type":"fact","pattern":"**:a:**:b:**"},"operator":"exists"}"#,
    ] {
        assert!(Condition::parse(&v(text)).is_none(), "{text}");
    }
}

proptest! {
    /// Negated operators are the opposite wherever both can be asked.
    #[test]
    fn negations(source in value(), operand in value()) {
        let (source, operand) = (source.as_ref(), operand.as_ref());
        let apply = |operator: Operator| operator.apply(source, operand);
        prop_assert_eq!(apply(Operator::Eq), !apply(Operator::Neq));
        prop_assert_eq!(apply(Operator::Exists), !apply(Operator::NotExists));
        prop_assert_eq!(apply(Operator::Contains), !apply(Operator::NotContains));
        let array = operand.is_some_and(|value| value.as_array().is_some());
        prop_assert_eq!(apply(Operator::NotIn), array && !apply(Operator::In));
        let _ = apply(Operator::Matches);
    }
}

fn value() -> impl Strategy<Value = Option<Value>> {
    prop::sample::select(vec![
        "absent",
        "null",
        "true",
        "0",
        "1",
        "\"\"",
        "\"a\"",
        "\"ab\"",
        "[]",
        "[1,\"a\"]",
        "[[1]]",
        "{}",
        "{\"a\":1}",
    ])
    .prop_map(|text| (text != "absent").then(|| v(text)))
}
