//! The issues of definitions, each with its text and place.

use super::*;
use crate::error::ISSUES_MAX;
use noex_json::parse;
use proptest::prelude::*;

fn value(text: &str) -> Value {
    parse(text, 64).unwrap_or_else(|error| panic!("{error:?} in {text}"))
}

fn issues_within(definition: &str, limits: &Limits) -> Vec<String> {
    Procedure::parse(&value(definition), limits).err().unwrap_or_default()
}

fn issues(definition: &str) -> Vec<String> {
    issues_within(definition, &Limits::default())
}

/// The issues of one step.
fn of_step(step: &str) -> Vec<String> {
    issues(&format!(r#"{{"name":"p","steps":[{step}]}}"#))
}

const RETURN: &str = r#"{"action":"return","value":1}"#;

#[test]
fn a_definition_is_an_object() {
    for definition in ["5", "null", "[]", "\"p\""] {
        assert_eq!(issues(definition), ["Procedure config must be an object"]);
    }
}

#[test]
fn members_of_the_definition_in_order() {
    let types = "expected one of: string, number, boolean, object, array";
    for (members, expected) in [
        (r#""name":5"#, "Missing or invalid \"name\": expected non-empty string"),
        (r#""name":"""#, "Missing or invalid \"name\": expected non-empty string"),
        (r#""description":null"#, "\"description\" must be a string"),
        (r#""input":[]"#, "\"input\" must be an object"),
        (r#""input":null"#, "\"input\" must be an object"),
        (r#""input":{"a":"string"}"#, "input.a: expected field definition object"),
        (r#""input":{"a":{}}"#, &format!("input.a.type: {types}")),
        (r#""input":{"a":{"type":"date"}}"#, &format!("input.a.type: {types}")),
        (r#""transaction":"yes""#, "\"transaction\" must be a boolean"),
        (r#""transaction":null"#, "\"transaction\" must be a boolean"),
        (r#""timeoutMs":0"#, "\"timeoutMs\" must be a positive number"),
        (r#""timeoutMs":"5""#, "\"timeoutMs\" must be a positive number"),
        (r#""runAs":"admin""#, "\"runAs\" must be \"definer\" or \"caller\""),
        (r#""runAs":null"#, "\"runAs\" must be \"definer\" or \"caller\""),
        (r#""steps":{}"#, "Missing or invalid \"steps\": expected array"),
        (r#""steps":[]"#, "\"steps\" must contain at least one step"),
    ] {
        let definition = format!(r#"{{"name":"p","steps":[{RETURN}],{members}}}"#);
        assert_eq!(issues(&definition), [expected], "{members}");
    }
    let empty = [
        "Missing or invalid \"name\": expected non-empty string",
        "Missing or invalid \"steps\": expected array",
    ];
    assert_eq!(issues("{}"), empty);
    let all = r#"{"runAs":1,"steps":[],"timeoutMs":-1,"transaction":1,"input":1,"description":1}"#;
    let order: Vec<_> = issues(all).iter().map(|issue| issue.split('"').nth(1).map(str::to_owned)).collect();
    let expected = ["name", "description", "input", "transaction", "timeoutMs", "runAs", "steps"];
    assert_eq!(order, expected.map(|name| Some(name.to_owned())));
    let valid = format!(
        r#"{{"name":"p","description":"","input":{{"a":{{"type":"array","required":0,"default":5}}}},
            "transaction":true,"timeoutMs":0.5,"runAs":"caller","steps":[{RETURN}],"more":null}}"#
    );
    assert!(issues(&valid).is_empty());
}

#[test]
fn fields_of_steps_in_order() {
    let actions = "action: expected one of: store.get, store.where, store.findOne, store.insert, store.update, \
                   store.delete, store.count, aggregate, rules.emit, rules.setFact, rules.getFact, if, transform, return";
    let (text, object) = ("expected non-empty string", "expected object");
    let texts = |fields: &[&str]| fields.iter().map(|field| format!("{field}: {text}")).collect::<Vec<_>>();
    for (step, expected) in [
        ("{}", vec![actions.to_owned()]),
        (r#"{"action":"store.clear"}"#, vec![actions.to_owned()]),
        (r#"{"action":"rules.deleteFact"}"#, vec![actions.to_owned()]),
        (r#"{"action":"store"}"#, vec![actions.to_owned()]),
        (r#"{"action":["if"]}"#, vec![actions.to_owned()]),
        (r#"{"action":"store.get"}"#, texts(&["bucket", "key", "as"])),
        (r#"{"action":"store.get","bucket":"b","key":5,"as":""}"#, texts(&["key", "as"])),
        (
            r#"{"action":"store.where"}"#,
            vec![format!("bucket: {text}"), format!("filter: {object}"), format!("as: {text}")],
        ),
        (
            r#"{"action":"store.findOne","filter":[]}"#,
            vec![format!("bucket: {text}"), format!("filter: {object}"), format!("as: {text}")],
        ),
        (r#"{"action":"store.insert"}"#, vec![format!("bucket: {text}"), format!("data: {object}")]),
        (
            r#"{"action":"store.insert","data":null,"as":null}"#,
            vec![format!("bucket: {text}"), format!("data: {object}"), format!("as: {text}")],
        ),
        (
            r#"{"action":"store.update","as":1}"#,
            vec![
                format!("bucket: {text}"),
                format!("key: {text}"),
                format!("data: {object}"),
                format!("as: {text}"),
            ],
        ),
        (r#"{"action":"store.delete"}"#, texts(&["bucket", "key"])),
        (r#"{"action":"store.count"}"#, texts(&["bucket", "as"])),
        (
            r#"{"action":"store.count","filter":null,"as":"n"}"#,
            vec![format!("bucket: {text}"), format!("filter: {object}")],
        ),
        (
            r#"{"action":"aggregate"}"#,
            vec![
                format!("source: {text}"),
                format!("as: {text}"),
                "op: expected one of: sum, avg, min, max, count".to_owned(),
                format!("field: {text}"),
            ],
        ),
        (r#"{"action":"aggregate","source":"a","as":"b","op":"sum"}"#, texts(&["field"])),
        (r#"{"action":"aggregate","source":"a","as":"b","op":"count"}"#, vec![]),
        (r#"{"action":"rules.emit"}"#, texts(&["topic"])),
        (r#"{"action":"rules.emit","topic":"t","data":[]}"#, vec![format!("data: {object}")]),
        (r#"{"action":"rules.setFact"}"#, vec![format!("key: {text}"), "value: required".to_owned()]),
        (r#"{"action":"rules.setFact","key":"k","value":null}"#, vec![]),
        (r#"{"action":"rules.getFact"}"#, texts(&["key", "as"])),
        (
            r#"{"action":"transform"}"#,
            vec![
                format!("source: {text}"),
                format!("as: {text}"),
                "operation: expected one of: map, filter, pick, pluck".to_owned(),
                "args: required".to_owned(),
            ],
        ),
        (r#"{"action":"transform","source":"a","as":"b","operation":"pick","args":null}"#, vec![]),
        (r#"{"action":"return"}"#, vec!["value: required".to_owned()]),
        (r#"{"action":"return","value":null}"#, vec![]),
        (
            r#"{"action":"if"}"#,
            vec![format!("condition: {object}"), "then: expected non-empty array of steps".to_owned()],
        ),
        (
            r#"{"action":"if","condition":{},"then":{},"else":[]}"#,
            vec![
                format!("condition.ref: {text}"),
                "condition.operator: expected one of: eq, neq, gt, gte, lt, lte, exists, not_exists"
                    .to_owned(),
                "then: expected non-empty array of steps".to_owned(),
                "else: expected non-empty array of steps".to_owned(),
            ],
        ),
    ] {
        let expected: Vec<_> = expected.iter().map(|issue| format!("steps[0].{issue}")).collect();
        assert_eq!(of_step(step), expected, "{step}");
    }
    for step in ["5", "null", "[]"] {
        assert_eq!(of_step(step), ["steps[0]: expected step object"]);
    }
}

#[test]
fn paths_lead_into_branches() {
    let step = format!(
        r#"{{"action":"if","condition":{{"ref":"a","operator":"exists"}},"then":[{RETURN},5],
            "else":[{{"action":"if","condition":{{"ref":"a","operator":"exists"}},"then":[{{"action":"return"}}]}}]}}"#
    );
    assert_eq!(
        of_step(&step),
        ["steps[0].then[1]: expected step object", "steps[0].else[0].then[0].value: required"]
    );
}

fn nested(depth: usize) -> String {
    (0..depth).fold(RETURN.to_owned(), |inner, _| {
        format!(r#"{{"action":"if","condition":{{"ref":"a","operator":"exists"}},"then":[{inner}],"else":[{RETURN}]}}"#)
    })
}

#[test]
fn conditions_nest_up_to_the_limit() {
    assert!(of_step(&nested(5)).is_empty());
    let path = "steps[0].then[0].then[0].then[0].then[0].then[0]";
    assert_eq!(of_step(&nested(6)), [format!("{path}: condition nesting depth exceeds maximum (5)")]);
    // Nothing below the deepest is looked at, however deep it goes.
    assert_eq!(of_step(&nested(20)).len(), 1);
}

#[test]
fn steps_of_all_branches_count() {
    let limits = Limits { steps_max: 5, ..Limits::default() };
    let of = |step: &str| issues_within(&format!(r#"{{"name":"p","steps":[{step}]}}"#), &limits);
    assert!(of(&nested(2)).is_empty(), "2 conditions and 3 returns");
    assert_eq!(of(&nested(3)), ["Total step count (7) exceeds maximum (5)"]);
    assert_eq!(
        of("1,2,3,4,5,6")[..2],
        ["Total step count (6) exceeds maximum (5)", "steps[0]: expected step object"]
    );
}

#[test]
fn the_list_of_issues_is_bounded() {
    let steps = vec!["{}"; 3 * ISSUES_MAX].join(",");
    let found = of_step(&steps);
    assert_eq!(found.len(), ISSUES_MAX + 1);
    assert_eq!(found.last().map(String::as_str), Some("further issues are not listed"));
}

/// Values that are nearly definitions.
fn nearly(depth: u32) -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("1".to_owned()),
        Just("\"a\"".to_owned()),
        Just("\"{{input.a}}\"".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
    ];
    leaf.prop_recursive(depth, 60, 6, |inner| {
        let actions = prop::sample::select(vec![
            "store.get",
            "store.where",
            "store.insert",
            "store.update",
            "store.count",
            "aggregate",
            "rules.emit",
            "rules.setFact",
            "rules.getFact",
            "if",
            "transform",
            "return",
            "nope",
        ]);
        let fields = prop::sample::select(vec![
            "bucket",
            "key",
            "as",
            "filter",
            "data",
            "source",
            "op",
            "field",
            "topic",
            "value",
            "condition",
            "ref",
            "operator",
            "then",
            "else",
            "operation",
            "args",
            "name",
            "steps",
            "input",
            "type",
        ]);
        let members = prop::collection::vec((fields, inner.clone()), 0..8);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            (actions, members).prop_map(|(action, members)| {
                let members: String =
                    members.iter().map(|(field, value)| format!(",\"{field}\":{value}")).collect();
                format!("{{\"action\":\"{action}\"{members}}}")
            }),
        ]
    })
}

proptest! {
    /// Whatever a definition holds, it is compiled or refused with reasons.
    #[test]
    fn any_value_is_compiled_or_refused(steps in nearly(5), members in nearly(3)) {
        for definition in [
            members.clone(),
            format!(r#"{{"name":"p","steps":[{steps}]}}"#),
            format!(r#"{{"name":"p","steps":{steps},"input":{members}}}"#),
        ] {
            if let Err(issues) = Procedure::parse(&value(&definition), &Limits::default()) {
                prop_assert!(!issues.is_empty());
            }
        }
    }
}
