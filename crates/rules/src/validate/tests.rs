use super::*;
use crate::Rule;
use noex_json::parse;
use proptest::prelude::*;

fn lines(issues: &[Issue]) -> Vec<String> {
    issues
        .iter()
        .map(|issue| format!("{} {}: {}", issue.severity.as_str(), issue.path, issue.message))
        .collect()
}

fn report(rule: &str) -> Report {
    validate(&parse(rule, 256).expect(rule))
}

fn all(rule: &str) -> Vec<String> {
    let report = report(rule);
    [lines(&report.errors), lines(&report.warnings)].concat()
}

/// A rule with these members besides the required ones.
fn with(members: &str) -> String {
    format!(r#"{{"id":"a","name":"a","trigger":{{"type":"event","topic":"x"}},{members}}}"#)
}

fn with_actions(actions: &str) -> String {
    with(&format!(r#""actions":{actions}"#))
}

/// Example 31. What only this engine reports comes after what is listed there.
#[test]
fn catalogue() {
    for block in include_str!("catalogue.txt").split("\n\n") {
        let mut block = block.trim_end().lines().skip(1);
        let rule = block.next().expect("a rule");
        let (errors, warnings): (Vec<_>, Vec<_>) = block.partition(|line| line.starts_with("error"));
        let report = report(rule);
        let (found_errors, found_warnings) = (lines(&report.errors), lines(&report.warnings));
        assert_eq!(found_errors[..errors.len()], errors, "{rule}");
        assert_eq!(found_warnings[..warnings.len()], warnings, "{rule}");
        let ours = |text: &String| text.contains("for_each") || text.contains("never set");
        assert!(found_errors[errors.len()..].iter().all(ours), "{found_errors:#?}");
        assert!(found_warnings[warnings.len()..].iter().all(ours), "{found_warnings:#?}");
    }
}

#[test]
fn wrong_types_inside_actions() {
    let rule = with_actions(
        r#"[{"type":3},{"type":"set_timer","timer":1},{"type":"set_timer","timer":{"name":1,"duration":true,"onExpire":[]}},{"type":"conditional","conditions":1,"then":2,"else":3},{"type":"try_catch","try":1,"catch":2,"finally":3},{"type":"try_catch"},{"type":"try_catch","try":[{"type":"delete_fact","key":"k"}],"catch":{}},{"type":"try_catch","try":[{"type":"delete_fact","key":"k"}],"catch":{"actions":1}},{"type":"log","level":5,"message":6}]"#,
    );
    assert_eq!(
        all(&rule),
        [
            "error actions[0].type: Action type must be a string",
            "error actions[1].timer: set_timer action timer must be an object",
            "error actions[2].timer.name: Timer name must be a string",
            "error actions[2].timer.duration: Timer duration must be a string or number",
            "error actions[2].timer.onExpire: Timer onExpire must be an object",
            "error actions[3].conditions: conditional action conditions must be an array",
            "error actions[3].then: conditional action then must be an array",
            "error actions[3].else: conditional action else must be an array",
            "error actions[4].try: try_catch action try must be an array",
            "error actions[4].catch: try_catch action catch must be an object",
            "error actions[4].finally: try_catch action finally must be an array",
            "error actions[5].try: try_catch action must have a \"try\" field",
            "error actions[5]: try_catch action must have at least \"catch\" or \"finally\"",
            "error actions[6].catch.actions: try_catch catch must have an \"actions\" field",
            "error actions[7].catch.actions: try_catch catch actions must be an array",
            "error actions[8].level: Invalid log level: 5. Valid levels: debug, info, warn, error",
            "error actions[8].message: log action message must be a string",
        ]
    );
}

#[test]
fn null_is_present() {
    let rule = r#"{"id":null,"name":null,"trigger":null,"description":null,"priority":null,"enabled":null,"tags":["a",null],"group":null,"conditions":null,"actions":null,"lookups":null}"#;
    assert_eq!(
        all(rule),
        [
            "error id: Field \"id\" must be a string",
            "error name: Field \"name\" must be a string",
            "error description: Field \"description\" must be a string",
            "error priority: Field \"priority\" must be a number",
            "error enabled: Field \"enabled\" must be a boolean",
            "error tags[1]: Tag must be a string",
            "error group: Field \"group\" must be a string",
            "error trigger: Trigger must be an object",
            "error conditions: Conditions must be an array",
            "error actions: Actions must be an array",
            "error lookups: Lookups must be an array",
        ]
    );
}

#[test]
fn blank_is_what_ecmascript_trims() {
    assert!(is_blank(" \t\u{FEFF}\u{2028}\u{3000}") && is_blank(""));
    assert!(!is_blank("\u{85}") && !is_blank("\u{200B}") && !is_blank(" a "));
}

#[test]
fn for_each_is_checked_after_everything_else() {
    let rule = with_actions(
        r#"[{"type":"for_each"},{"type":"for_each","collection":[1],"as":"x","actions":[{"type":"log","level":"loud","message":"m"}]},{"type":"for_each","collection":1,"as":2,"actions":3},{"type":"delete_fact"}]"#,
    );
    assert_eq!(
        all(&rule),
        [
            "error actions[3].key: delete_fact action must have a \"key\" field",
            "error actions[0].collection: for_each action must have a \"collection\" field",
            "error actions[0].as: for_each action must have an \"as\" field",
            "error actions[0].actions: for_each action must have an \"actions\" field",
            "error actions[1].actions[0].level: Invalid log level: loud. Valid levels: debug, info, warn, error",
            "error actions[2].as: for_each action as must be a string",
            "error actions[2].actions: for_each action actions must be an array",
        ]
    );
}

fn timer(members: &str) -> Vec<String> {
    all(&with_actions(&format!(
        r#"[{{"type":"set_timer","timer":{{"name":"n","onExpire":{{"topic":"t","data":{{}}}},{members}}}}}]"#
    )))
}

#[test]
fn durations_repeats_and_cron() {
    for members in [
        r#""duration":"500""#,
        r#""duration":1"#,
        r#""cron":"* * * * *""#,
        r#""cron":"0 9 * * MON-FRI","duration":"1h","maxCount":2,"timezone":"UTC""#,
        r#""duration":"1s","repeat":{"interval":"10ms","maxCount":3}"#,
        r#""duration":"1s","repeat":null,"cron":null"#,
    ] {
        assert_eq!(timer(members), [""; 0], "{members}");
    }
    for (members, expected) in [
        (r#""duration":"0s""#, "error actions[0].timer.duration: Timer duration must be positive"),
        (r#""duration":0"#, "error actions[0].timer.duration: Timer duration must be positive"),
        (r#""cron":null"#, "error actions[0].timer.duration: Timer must have a \"duration\" field"),
        (r#""cron":5"#, "error actions[0].timer.cron: Timer cron must be a string"),
        (
            r#""cron":"* * *""#,
            "error actions[0].timer.cron: Invalid cron expression: * * * (not a cron expression)",
        ),
        (
            r#""cron":"0 0 30 2 *""#,
            "error actions[0].timer.cron: Invalid cron expression: 0 0 30 2 * (there is no such day)",
        ),
        (
            r#""cron":"* * * * *","timezone":"Europe/Prague""#,
            "error actions[0].timer.timezone: Timer timezone must be UTC",
        ),
        (
            r#""duration":1,"repeat":{"interval":9}"#,
            "error actions[0].timer.repeat.interval: Timer repeat interval must be at least 10 ms",
        ),
        (
            r#""duration":1,"repeat":{"interval":"5x"}"#,
            "error actions[0].timer.repeat.interval: Invalid duration format: 5x",
        ),
        (r#""duration":1,"repeat":5"#, "error actions[0].timer.repeat: Timer repeat must be an object"),
        (
            r#""duration":1,"maxCount":0"#,
            "warning actions[0].timer.maxCount: Timer maxCount is ignored: expected a positive number",
        ),
    ] {
        assert_eq!(timer(members), [expected], "{members}");
    }
}

#[test]
fn constructs_that_can_never_work_give_warnings() {
    for (rule, expected) in [
        (
            with(
                r#""conditions":[{"source":{"type":"event","field":"f"},"operator":"matches","value":"("}]"#,
            ),
            "warning conditions[0].value: Regular expression cannot be used and never matches: (",
        ),
        (
            with(r#""conditions":[{"source":{"type":"context","key":"item.x"},"operator":"exists"}]"#),
            "warning conditions[0].source.key: Context variable \"item\" is never set here",
        ),
        (
            with(
                r#""conditions":[{"source":{"type":"event","field":"f"},"operator":"eq","value":{"ref":"matched.0"}}]"#,
            ),
            "warning conditions[0].value: Unknown reference source: matched",
        ),
        (
            with(
                r#""conditions":[{"source":{"type":"fact","pattern":"a::${event.x}"},"operator":"exists"}]"#,
            ),
            "warning conditions[0].source.pattern: Pattern has an empty segment",
        ),
        (
            with_actions(r#"[{"type":"set_fact","key":"k","value":{"ref":"bogus.x"}}]"#),
            "warning actions[0].value: Unknown reference source: bogus",
        ),
        (
            with_actions(r#"[{"type":"log","level":"info","message":"${bogus.x}"}]"#),
            "warning actions[0].message: Unknown reference source: bogus",
        ),
        (
            with_actions(r#"[{"type":"emit_event","topic":"t","data":{"a":{"ref":5}}}]"#),
            "warning actions[0].data.a: Unknown reference source: 5",
        ),
        (
            with_actions(
                r#"[{"type":"set_timer","timer":{"name":"n","duration":1,"onExpire":{"topic":5,"data":{}}}}]"#,
            ),
            "warning actions[0].timer.onExpire.topic: Timer onExpire topic must be a string",
        ),
        (
            r#"{"id":"a","name":"a","trigger":{"type":"event","topic":"a..b"}}"#.to_owned(),
            "warning trigger.topic: Pattern has an empty segment",
        ),
        (
            r#"{"id":"a","name":"a","trigger":{"type":"fact","pattern":"a","on":["gone"]}}"#.to_owned(),
            "warning trigger.on: Fact trigger on is ignored: expected an array of created, updated, deleted",
        ),
    ] {
        assert_eq!(all(&rule), [expected], "{rule}");
    }
}

#[test]
fn variables_are_known_where_they_are_set() {
    let check = |key: &str| {
        format!(
            r#"{{"type":"conditional","conditions":[{{"source":{{"type":"context","key":"{key}"}},"operator":"exists"}}],"then":[{{"type":"delete_fact","key":"k"}}]}}"#
        )
    };
    let rule = with_actions(&format!(
        r#"[{{"type":"for_each","collection":[],"as":"it","actions":[{},{}]}},{{"type":"try_catch","try":[{}],"catch":{{"as":"err","actions":[{}]}}}},{}]"#,
        check("it.qty"),
        check("it_index"),
        check("err"),
        check("err.message"),
        check("it"),
    ));
    assert_eq!(
        all(&rule),
        [
            "warning actions[1].try[0].conditions[0].source.key: Context variable \"err\" is never set here",
            "warning actions[2].conditions[0].source.key: Context variable \"it\" is never set here",
        ]
    );
}

#[test]
fn zero_durations_are_refused_as_text_too() {
    let temporal = r#"{"id":"a","name":"a","trigger":{"type":"temporal","pattern":{"type":"count","event":{"topic":"x"},"threshold":1,"window":"0s"}}}"#;
    assert_eq!(all(temporal), ["error trigger.pattern.window: Duration must be positive"]);
    let lookup = with(r#""lookups":[{"name":"l","service":"s","method":"m","cache":{"ttl":"0s"}}]"#);
    assert_eq!(all(&lookup), ["error lookups[0].cache.ttl: Lookup cache ttl must be a positive number"]);
}

#[test]
fn patterns_that_cannot_be_compiled_are_refused() {
    let rule = r#"{"id":"a","name":"a","trigger":{"type":"event","topic":"**.a.**.b.**"}}"#;
    assert_eq!(all(rule), ["error trigger.topic: Pattern has more than 2 \"**\" segments"]);
    let rule =
        with(r#""conditions":[{"source":{"type":"fact","pattern":"**:a:**:b:**"},"operator":"exists"}]"#);
    assert_eq!(all(&rule), ["error conditions[0].source.pattern: Pattern has more than 2 \"**\" segments"]);
}

#[test]
fn nesting_is_limited() {
    let nested = |depth: usize| {
        let open = r#"[{"type":"for_each","collection":[],"as":"x","actions":"#.repeat(depth - 1);
        with_actions(&format!("{open}[{}{}", r#"{"type":"delete_fact","key":"k"}]"#, "}]".repeat(depth - 1)))
    };
    assert!(report(&nested(32)).is_valid());
    let errors = report(&nested(33)).errors;
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].message, "Actions are nested deeper than 32 levels");
}

#[test]
fn reports_go_over_the_wire() {
    let value =
        report(r#"{"id":"v","name":"v","trigger":{"type":"event","topic":"t"},"actions":[]}"#).to_value();
    let expected = r#"{"valid":true,"errors":[],"warnings":[{"path":"actions","message":"Rule has no actions","severity":"warning"}]}"#;
    assert_eq!(value.to_json(), expected);
}

/// Values whose members and texts are often those of rules.
fn arbitrary() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "id",
        "name",
        "trigger",
        "type",
        "topic",
        "pattern",
        "on",
        "conditions",
        "source",
        "operator",
        "value",
        "field",
        "actions",
        "key",
        "data",
        "timer",
        "duration",
        "onExpire",
        "repeat",
        "interval",
        "cron",
        "then",
        "else",
        "try",
        "catch",
        "finally",
        "collection",
        "as",
        "maxIterations",
        "ref",
        "events",
        "within",
        "event",
        "window",
        "threshold",
        "function",
        "groupBy",
        "filter",
        "lookups",
        "service",
        "method",
        "args",
        "level",
        "message",
        "priority",
        "enabled",
        "tags",
        "group",
        "maxCount",
        "metric",
        "comparison",
    ]);
    let text = prop::sample::select(vec![
        "",
        " ",
        "event",
        "fact",
        "timer",
        "temporal",
        "a.*",
        "**:a",
        "eq",
        "matches",
        "exists",
        "(",
        "5m",
        "0s",
        "x",
        "set_fact",
        "emit_event",
        "set_timer",
        "conditional",
        "for_each",
        "try_catch",
        "log",
        "info",
        "event.x",
        "bogus.x",
        "${event.x}",
        "context",
        "sequence",
        "absence",
        "count",
        "aggregate",
        "sum",
        "* * * * *",
        "above",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        prop::num::f64::ANY.prop_map(Value::Number),
        (-2..3_i32).prop_map(|number| Value::Number(f64::from(number))),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => prop::collection::vec((name.clone(), inner), 0..6).prop_map(|members| {
                Value::from(members.into_iter().map(|(name, value)| (name.into(), value)).collect::<Object>())
            }),
        ]
    })
}

/// Valid rules of which one part has been replaced by something else.
fn mutated() -> impl Strategy<Value = Value> {
    let rules: Vec<Value> = [
        r#"{"id":"a","name":"a","trigger":{"type":"fact","pattern":"a:*","on":["deleted"]},"conditions":[{"source":{"type":"fact","pattern":"s:${event.k}"},"operator":"in","value":[1]}],"actions":[{"type":"set_fact","key":"k","value":{"ref":"event.x"}},{"type":"for_each","collection":[1],"as":"i","actions":[{"type":"log","level":"info","message":"x"}],"maxIterations":3}]}"#,
        r#"{"id":"a","name":"a","trigger":{"type":"temporal","pattern":{"type":"sequence","events":[{"topic":"a","filter":{"b":1}},{"topic":"b","as":"x"}],"within":"5m","groupBy":"u","strict":true}},"actions":[{"type":"set_timer","timer":{"name":"n","duration":"5m","onExpire":{"topic":"t","data":{"a":1}},"repeat":{"interval":"1s","maxCount":2},"cron":"* * * * *"}}]}"#,
        r#"{"id":"a","name":"a","trigger":{"type":"temporal","pattern":{"type":"aggregate","event":{"topic":"a"},"field":"f","function":"sum","threshold":1,"window":"1h","comparison":"eq"}},"lookups":[{"name":"l","service":"s","method":"m","args":[1],"cache":{"ttl":"1m"},"onError":"fail"}],"actions":[{"type":"try_catch","try":[{"type":"delete_fact","key":"k"}],"catch":{"as":"e","actions":[{"type":"cancel_timer","name":"n"}]},"finally":[{"type":"emit_event","topic":"t","data":{}}]}]}"#,
        r#"{"id":"a","name":"a","trigger":{"type":"timer","name":"n:*"},"priority":3,"tags":["x"],"actions":[{"type":"conditional","conditions":[{"source":{"type":"baseline","metric":"m","comparison":"above","sensitivity":2},"operator":"eq","value":true}],"then":[{"type":"call_service","service":"s","method":"m","args":[]}],"else":[{"type":"log","level":"warn","message":"x"}]}]}"#,
    ]
    .into_iter()
    .map(|text| parse(text, 64).expect(text))
    .collect();
    (prop::sample::select(rules), any::<prop::sample::Index>(), arbitrary(), any::<bool>()).prop_map(
        |(mut rule, place, value, remove)| {
            let at = place.index(places(&rule));
            replace(&mut rule, &mut (at + 1), &value, remove);
            rule
        },
    )
}

fn places(value: &Value) -> usize {
    let inside: usize = match value {
        Value::Array(items) => items.iter().map(places).sum(),
        Value::Object(object) => object.iter().map(|(_, member)| places(member)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    };
    1 + inside
}

/// Replaces, or removes from its object, the part that is reached when `left` parts have been passed.
fn replace(value: &mut Value, left: &mut usize, with: &Value, remove: bool) {
    *left -= 1;
    if *left == 0 {
        *value = with.clone();
        return;
    }
    match value {
        Value::Array(items) => {
            for item in items {
                if *left > 0 {
                    replace(item, left, with, remove);
                }
            }
        }
        Value::Object(object) => {
            let names: Vec<CompactString> = object.iter().map(|(name, _)| name.clone()).collect();
            for name in names {
                if *left == 0 {
                    return;
                }
                let mut member = object.get(&name).cloned().expect("just listed");
                let here = *left == 1;
                replace(&mut member, left, with, remove);
                if here && remove {
                    object.remove(&name);
                } else {
                    object.set(name, member);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn validation_decides_about_compiling(rule: Value) -> Result<(), TestCaseError> {
    let report = validate(&rule);
    let expected: Vec<Severity> = vec![Severity::Error; report.errors.len()];
    prop_assert_eq!(report.errors.iter().map(|issue| issue.severity).collect::<Vec<_>>(), expected);
    if let Value::Object(rule) = rule {
        match Rule::compile(*rule.clone()) {
            Ok(compiled) => {
                prop_assert!(report.is_valid());
                let again = Rule::compile(compiled.source().clone()).expect("its own source");
                prop_assert_eq!(again.source(), compiled.source());
            }
            Err(errors) => prop_assert_eq!(errors, report.errors),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn arbitrary_values_never_panic(value in arbitrary()) {
        validation_decides_about_compiling(value)?;
    }

    /// Whatever passes validation compiles, and only that.
    #[test]
    fn mutated_rules_never_panic(rule in mutated()) {
        validation_decides_about_compiling(rule)?;
    }
}
