//! What each step does, and in which order things are looked at.

use crate::world::{World, value};
use noex_procedures::{CallError, Limits, Procedure, RunAs};

fn items() -> World {
    World::with("items", r#"[{"id":"a","n":1,"t":"x"},{"id":"b","n":4,"t":"y"},{"id":"c","t":"x"}]"#)
}

#[test]
fn store_steps_name_their_results() {
    let mut world = items();
    let steps = r#"
        {"action":"store.get","bucket":"items","key":"{{input.k}}","as":"b"},
        {"action":"store.get","bucket":"items","key":"{{input.none}}","as":"no"},
        {"action":"store.update","bucket":"items","key":"b","data":{"n":"{{b.n}}","u":"{{input.none}}"}},
        {"action":"store.insert","bucket":"items","data":{"id":"d","old":"{{b}}"},"as":"d"},
        {"action":"store.where","bucket":"items","filter":{"t":"x"},"as":"xs"},
        {"action":"store.findOne","bucket":"items","filter":{"t":"{{b.t}}"},"as":"one"},
        {"action":"store.findOne","bucket":"items","filter":{"t":"zz"},"as":"none"},
        {"action":"store.delete","bucket":"items","key":"a"},
        {"action":"store.count","bucket":"items","as":"c"},
        {"action":"store.get","bucket":"items","key":"c","as":"b"}"#;
    assert_eq!(
        world.text(steps, r#"{"k":"b"}"#),
        concat!(
            r#"{"success":true,"results":{"b":{"id":"c","t":"x"},"no":null,"#,
            r#""d":{"id":"d","old":{"id":"b","n":4,"t":"y"}},"#,
            r#""xs":[{"id":"a","n":1,"t":"x"},{"id":"c","t":"x"}],"#,
            r#""one":{"id":"b","n":4,"t":"y"},"none":null,"c":3}}"#
        )
    );
    let failed = world.text(r#"{"action":"store.count","bucket":"gone","as":"n"}"#, "{}");
    assert_eq!(failed, "engine: Bucket \"gone\" is not defined");
}

/// Without a transaction what was done stays done.
#[test]
fn effects_of_earlier_steps_stay() {
    let mut world = World::default();
    let steps = r#"{"action":"store.insert","bucket":"b","data":{"id":1}},
        {"action":"store.update","bucket":"b","key":"no","data":{}}"#;
    assert_eq!(world.text(steps, "{}"), "engine: Record not found");
    assert_eq!(world.buckets["b"].len(), 1);
}

#[test]
fn conditions_choose_and_return_ends_everything() {
    let steps = r#"
        {"action":"if","condition":{"ref":"input.n","operator":"gt","value":"{{input.m}}"},
            "then":[{"action":"if","condition":{"ref":" input.deep ","operator":"exists"},
                "then":[{"action":"return","value":{"deep":"{{input.deep}}"}}]}],
            "else":[{"action":"store.insert","bucket":"b","data":{"id":1},"as":"r"}]},
        {"action":"store.count","bucket":"b","as":"n"}"#;
    let mut world = World::default();
    for (input, expected) in [
        (r#"{"n":2,"m":1,"deep":0}"#, r#"{"success":true,"result":{"deep":0},"results":{}}"#),
        (r#"{"n":2,"m":1}"#, r#"{"success":true,"results":{"n":0}}"#),
        (r#"{"n":1,"m":1}"#, r#"{"success":true,"results":{"r":{"id":1},"n":1}}"#),
        ("{}", r#"{"success":true,"results":{"r":{"id":1},"n":2}}"#),
    ] {
        assert_eq!(world.text(steps, input), expected, "{input}");
    }
    for (result, expected) in [
        (r#""{{nowhere}}""#, r#"{"success":true,"results":{}}"#),
        ("null", r#"{"success":true,"result":null,"results":{}}"#),
        (r#"["{{nowhere}}"]"#, r#"{"success":true,"result":[null],"results":{}}"#),
    ] {
        assert_eq!(world.text(&format!(r#"{{"action":"return","value":{result}}}"#), "{}"), expected);
    }
}

/// A result that is called like the input cannot be read, but it is told.
#[test]
fn names_of_results() {
    let steps = r#"{"action":"store.count","bucket":"b","as":"input"},
        {"action":"store.count","bucket":"b","as":"7"},
        {"action":"store.count","bucket":"b","as":"3"},
        {"action":"return","value":["{{input}}","{{7}}"]}"#;
    let expected = r#"{"success":true,"result":[{"x":1},0],"results":{"3":0,"7":0,"input":0}}"#;
    assert_eq!(World::default().text(steps, r#"{"x":1}"#), expected);
}

fn over_items(step: &str) -> String {
    let steps = format!(
        r#"{{"action":"store.where","bucket":"items","filter":{{}},"as":"all"}},
           {{"action":"store.get","bucket":"items","key":"b","as":"b"}},{step},{{"action":"return","value":"{{{{r}}}}"}}"#
    );
    match items().run(&steps, "", r#"{"t":"x","list":[1,{"n":2},null,{"n":"2"}]}"#) {
        Ok(outcome) => outcome.result.map_or("undefined".to_owned(), |result| result.to_json()),
        Err(error) => error.text().expect("a text"),
    }
}

#[test]
fn aggregates() {
    for (op, field, expected) in [
        ("count", "", "3"),
        ("sum", "n", "5"),
        ("avg", "n", "1.6666666666666667"),
        ("min", "n", "1"),
        ("max", "n", "4"),
        ("sum", "t", "0"),
        ("min", "t", "0"),
        ("max", "nope", "0"),
    ] {
        let field = if field.is_empty() { String::new() } else { format!(r#","field":"{field}""#) };
        let step = format!(r#"{{"action":"aggregate","source":"all","as":"r","op":"{op}"{field}}}"#);
        assert_eq!(over_items(&step), expected, "{op}");
    }
    for op in ["sum", "avg", "min", "max"] {
        let steps = format!(
            r#"{{"action":"store.where","bucket":"b","filter":{{}},"as":"none"}},
               {{"action":"aggregate","source":"none","as":"r","op":"{op}","field":"n"}},{{"action":"return","value":"{{{{r}}}}"}}"#
        );
        let outcome = World::default().run(&steps, "", "{}").expect("done");
        assert_eq!(outcome.result, Some(value("0")), "{op}");
    }
    for source in ["b", "nowhere", "input", "input.list"] {
        let step = format!(r#"{{"action":"aggregate","source":"{source}","as":"r","op":"count"}}"#);
        assert_eq!(over_items(&step), format!("aggregate: source \"{source}\" is not an array"));
    }
}

#[test]
fn transformations() {
    for (operation, source, args, expected) in [
        ("pluck", "all", r#""n""#, "[1,4,null]"),
        ("pluck", "all", r#""{{input.t}}""#, "[null,null,null]"),
        ("pluck", "all", "5", "transform.pluck: args is not a string"),
        ("pluck", "b", r#""n""#, "transform.pluck: source \"b\" is not an array"),
        ("pick", "b", r#"["t","zz","id","t",5]"#, r#"{"t":"y","id":"b"}"#),
        ("pick", "b", r#""t""#, "transform.pick: args is not an array"),
        ("pick", "all", r#"["t"]"#, "transform.pick: source \"all\" is not an object"),
        ("pick", "nowhere", r#"["t"]"#, "transform.pick: source \"nowhere\" is not an object"),
        ("filter", "all", r#"{"t":"{{input.t}}"}"#, r#"[{"id":"a","n":1,"t":"x"},{"id":"c","t":"x"}]"#),
        ("filter", "all", r#"{"t":"x","n":1}"#, r#"[{"id":"a","n":1,"t":"x"}]"#),
        ("filter", "all", r#"{"n":"1"}"#, "[]"),
        ("filter", "all", r#"{"n":"{{input.no}}"}"#, r#"[{"id":"c","t":"x"}]"#),
        ("filter", "all", "{}", r#"[{"id":"a","n":1,"t":"x"},{"id":"b","n":4,"t":"y"},{"id":"c","t":"x"}]"#),
        ("filter", "all", "[]", "transform.filter: args is not an object"),
        ("filter", "b", "{}", "transform.filter: source \"b\" is not an array"),
        (
            "map",
            "all",
            r#"{"t":"{{input.t}}!","s":"{{b.n}}","n":"{{input.no}}"}"#,
            r#"[{"id":"a","t":"x!","s":4},{"id":"b","t":"x!","s":4},{"id":"c","t":"x!","s":4}]"#,
        ),
        ("map", "all", r#""{{input.t}}""#, "transform.map: args is not an object"),
        ("map", "b", "{}", "transform.map: source \"b\" is not an array"),
    ] {
        let step = format!(
            r#"{{"action":"transform","source":"{source}","as":"r","operation":"{operation}","args":{args}}}"#
        );
        assert_eq!(over_items(&step), expected, "{operation} {source} {args}");
    }
}

/// Elements that are no objects: kept by `map`, dropped by `filter`, `null` for `pluck`.
#[test]
fn elements_of_any_kind() {
    let of = |operation: &str, args: &str| {
        let steps = format!(
            r#"{{"action":"rules.setFact","key":"l","value":"{{{{input}}}}"}},
               {{"action":"rules.getFact","key":"l","as":"f"}},
               {{"action":"rules.setFact","key":"l","value":"{{{{f.list}}}}"}},
               {{"action":"rules.getFact","key":"l","as":"l"}},
               {{"action":"transform","source":"l","as":"r","operation":"{operation}","args":{args}}},
               {{"action":"return","value":"{{{{r}}}}"}}"#
        );
        let outcome = World::default().run(&steps, "", r#"{"list":[1,{"n":2},null,[3]]}"#).expect("done");
        outcome.result.expect("a value").to_json()
    };
    assert_eq!(of("map", r#"{"m":1}"#), r#"[1,{"n":2,"m":1},null,[3]]"#);
    assert_eq!(of("filter", "{}"), r#"[{"n":2}]"#);
    assert_eq!(of("pluck", r#""n""#), "[null,2,null,null]");
}

#[test]
fn rules_steps() {
    let mut world = World::default();
    let steps = r#"{"action":"rules.emit","topic":"order.{{input.id}}","data":{"n":"{{input.n}}","u":"{{no}}"}},
        {"action":"rules.emit","topic":"plain"},
        {"action":"rules.setFact","key":"k:{{input.id}}","value":"{{no}}"},
        {"action":"rules.setFact","key":"v","value":[1]},
        {"action":"rules.getFact","key":"v","as":"v"},
        {"action":"rules.getFact","key":"absent","as":"w"}"#;
    let expected = r#"{"success":true,"results":{"v":[1],"w":null}}"#;
    assert_eq!(world.text(steps, r#"{"id":7,"n":1}"#), expected);
    assert_eq!(world.events, [r#"order.7 {"n":1}"#, "plain {}"]);
    assert_eq!(world.facts["k:7"], value("null"));

    let steps = [
        ("rules.emit", r#"{"action":"rules.emit","topic":"{{input.t}}"}"#, "topic"),
        ("rules.setFact", r#"{"action":"rules.setFact","key":"{{input.t}}","value":1}"#, "key"),
        ("rules.getFact", r#"{"action":"rules.getFact","key":"{{input.t}}","as":"x"}"#, "key"),
    ];
    world.limits = Limits { name_length_max: 3, ..Limits::default() };
    for (operation, step, field) in steps {
        for (input, what) in [
            (r#"{"t":5}"#, "non-empty string"),
            (r#"{"t":""}"#, "non-empty string"),
            ("{}", "non-empty string"),
            (r#"{"t":"1234"}"#, "at most 3 characters"),
        ] {
            let expected = format!("Missing or invalid \"{field}\": expected {what}");
            assert_eq!(world.text(step, input), expected, "{operation}");
        }
        let mut alone = World { without_rules: true, ..World::default() };
        let expected = format!("{operation}: rule engine is not configured");
        assert_eq!(alone.text(step, r#"{"t":"t"}"#), expected);
    }
}

#[test]
fn the_caller_is_asked_for_step_by_step() {
    let steps = r#"{"action":"store.insert","bucket":"a","data":{"id":1}},
        {"action":"store.update","bucket":"a","key":"{{one}}","data":{}},
        {"action":"store.count","bucket":"a","as":"n"}"#;
    let reads = r#"{"action":"store.get","bucket":"a","key":"k","as":"n"},
        {"action":"store.where","bucket":"a","filter":{},"as":"n"},
        {"action":"store.findOne","bucket":"a","filter":{},"as":"n"},
        {"action":"store.delete","bucket":"a","key":"k"},
        {"action":"rules.emit","topic":"t.{{input.x}}"},
        {"action":"rules.setFact","key":"f","value":1},
        {"action":"rules.getFact","key":"f","as":"n"},
        {"action":"store.insert","bucket":"secret","data":{}},
        {"action":"store.insert","bucket":"a","data":{}}"#;
    let mut world = World { forbidden: Some("secret"), ..World::default() };
    let _ = world.run(steps, r#","runAs":"caller""#, "{}");
    assert_eq!(world.asked, ["store.insert a", "store.update a"]);
    world.asked.clear();
    let refused = world.run(reads, r#","runAs":"caller""#, r#"{"x":1}"#);
    assert_eq!(refused, Err(CallError::Engine("No permission for store.insert on secret".to_owned())));
    assert_eq!(
        world.asked,
        [
            "store.get a",
            "store.where a",
            "store.findOne a",
            "store.delete a",
            "rules.emit t.1",
            "rules.setFact f",
            "rules.getFact f",
            "store.insert secret"
        ]
    );
    world.asked.clear();
    world.run(reads, r#","runAs":"definer""#, "{}").expect("all rights");
    assert!(world.asked.is_empty());
}

#[test]
fn what_a_procedure_says_of_itself() {
    let parse = |more: &str, step: &str| {
        Procedure::parse(&value(&format!(r#"{{"name":"p","steps":[{step}]{more}}}"#)), &Limits::default())
            .expect("valid")
    };
    let plain = parse("", r#"{"action":"return","value":1}"#);
    assert!(!plain.is_transaction() && !plain.uses_rules() && plain.run_as() == RunAs::Definer);
    let step = r#"{"action":"if","condition":{"ref":"a","operator":"exists"},"then":[{"action":"rules.emit","topic":"t"}]}"#;
    let other = parse(r#","transaction":true,"runAs":"caller""#, step);
    assert!(other.is_transaction() && other.uses_rules() && other.run_as() == RunAs::Caller);
    assert_eq!((other.name(), other.steps_count()), ("p", 1));
}

#[test]
fn input_is_checked_and_completed() {
    let schema = r#","input":{"s":{"type":"string"},"n":{"type":"number","default":"3"},
        "o":{"type":"object","required":false},"z":{"type":"array","default":null},"b":{"type":"boolean","required":0}}"#;
    let step = r#"{"action":"return","value":"{{input}}"}"#;
    let ask = |input: &str| World::default().run(step, schema, input);
    let text =
        |error: CallError<String>| (error.text().expect("a text"), error.details().map(|d| d.to_json()));
    let outcome = ask(r#"{"s":"","n":null,"o":null,"b":true,"more":[]}"#).expect("valid");
    let completed = r#"{"s":"","n":"3","o":null,"b":true,"more":[],"z":null}"#;
    assert_eq!(outcome.result.map(|input| input.to_json()).as_deref(), Some(completed));
    for input in ["5", "[]", "\"x\"", "false"] {
        let refused = ask(input).expect_err("no object");
        assert_eq!(text(refused), ("Invalid \"input\": expected object".to_owned(), None));
    }
    let issues = [
        r#"Input "s": expected string, got number"#,
        r#"Input "n": expected number, got boolean"#,
        r#"Input "o": expected object, got object"#,
        r#"Missing required input "b""#,
    ];
    let refused = ask(r#"{"s":1,"n":true,"o":[],"z":[]}"#).expect_err("wrong");
    let mut details = noex_json::Object::new();
    let list: Vec<_> = issues.iter().map(|issue| noex_json::Value::from(*issue)).collect();
    details.set("issues", list);
    let expected = format!("Invalid procedure input: {}", issues.join("; "));
    assert_eq!(text(refused), (expected, Some(noex_json::Value::from(details).to_json())));
    for input in ["null", "{}"] {
        let refused = ask(input).expect_err("incomplete");
        let expected = r#"Invalid procedure input: Missing required input "s"; Missing required input "b""#;
        assert_eq!(text(refused).0, expected);
    }
}
