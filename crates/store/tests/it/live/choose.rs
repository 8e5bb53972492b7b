//! Random definitions, queries and records.

use crate::support::{json, object};
use noex_json::{Object, Value};

/// SplitMix64: the same seed gives the same history.
pub(super) struct Choices(pub(super) u64);

impl Choices {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }

    /// True once in `of` times.
    pub(super) fn once_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    pub(super) fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// What the values of a history are like.
#[derive(Clone, Copy)]
pub(super) enum Flavour {
    Integers,
    Cents,
    Mixed,
}

pub(super) fn value(choices: &mut Choices, flavour: Flavour) -> Value {
    const MIXED: [&str; 24] = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1",
        "2",
        "2.5",
        "1e400",
        "-1e400",
        "0.1",
        "9007199254740992",
        "\"\"",
        "\"1\"",
        "\"a\"",
        "\"ab\"",
        "\"abc\"",
        "\"b\"",
        "\"\u{e000}\"",
        "\"😀\"",
        "[]",
        "[1]",
        "[\"a\",2]",
        "{\"k\":1}",
    ];
    match flavour {
        Flavour::Integers => Value::Number(choices.below(40) as f64 - 10.0),
        Flavour::Cents => Value::Number((choices.below(4000) as f64 - 1000.0) / 100.0),
        Flavour::Mixed => json(choices.pick(&MIXED)),
    }
}

/// Fields: `g` of few values, `n` and `s` of the flavour, `r` refers to bucket `a`.
pub(super) fn record(choices: &mut Choices, flavour: Flavour, keys: usize, now_ms: u64) -> Object {
    let mut record = Object::new();
    record.set("id", choices.below(keys) as f64);
    if !choices.once_in(8) {
        record.set("g", json(choices.pick(&["1", "2", "3", "\"1\"", "null", "\"x\"", "true"])));
    }
    for field in ["n", "s"] {
        if !choices.once_in(6) {
            record.set(field, value(choices, flavour));
        }
    }
    if choices.once_in(4) {
        record.set("r", choices.below(keys) as f64);
    }
    if choices.once_in(30) {
        record.set("_expiresAt", (now_ms + choices.below(500) as u64) as f64);
    }
    record
}

pub(super) fn bucket(choices: &mut Choices) -> Object {
    let indexes = choices.pick(&["[]", "[\"g\"]", "[\"n\"]", "[\"n\",\"s\"]", "[\"g\",\"s\"]"]);
    let size = choices.pick(&["", "", "", "\"maxSize\":9,", "\"maxSize\":150,"]);
    let ttl = choices.pick(&["", "", "\"ttl\":900,"]);
    let order = choices.pick(&["", "\"etsType\":\"ordered_set\","]);
    let on_delete = choices.pick(&["cascade", "set_null"]);
    object(&format!(
        r#"{{{size}{ttl}{order}"key":"id","indexes":{indexes},"schema":{{"id":{{"type":"number"}},
        "g":{{"type":"date"}},"n":{{"type":"date"}},"s":{{"type":"date"}},
        "r":{{"type":"date","ref":"a","onDelete":"{on_delete}"}}}}}}"#
    ))
}

fn condition(choices: &mut Choices, flavour: Flavour, depth: usize) -> (String, Value) {
    let field = choices.pick(&["g", "g", "n", "s", "id", "_version"]);
    let operand = |choices: &mut Choices| match choices.below(5) {
        0 => Value::from("{{ params.p }}"),
        1 => Value::from("{{params.q}}"),
        _ if field == "g" => json(choices.pick(&["1", "2", "\"1\"", "null", "true", "[1]"])),
        _ => value(choices, flavour),
    };
    if depth < 2 && choices.once_in(6) {
        let branches = (0..=choices.below(3)).map(|_| Value::from(filter(choices, flavour, depth + 1)));
        return (choices_or(depth), Value::Array(branches.collect()));
    }
    let mut tests = Object::new();
    for _ in 0..=choices.below(2) {
        let operator = choices.pick(&[
            "$eq",
            "$neq",
            "$gt",
            "$gte",
            "$lt",
            "$lte",
            "$in",
            "$nin",
            "$between",
            "$startsWith",
            "$endsWith",
            "$contains",
            "$exists",
            "plain",
        ]);
        let operand = match operator {
            "plain" => return (field.to_owned(), operand(choices)),
            "$in" | "$nin" => Value::Array((0..choices.below(6)).map(|_| operand(choices)).collect()),
            "$between" => Value::from(vec![operand(choices), operand(choices)]),
            "$contains" => Value::from(choices.pick(&["a", "1"])),
            "$startsWith" | "$endsWith" => json(choices.pick(&["\"a\"", "\"ab\"", "\"1\"", "\"\"", "1"])),
            "$exists" => Value::Bool(choices.once_in(2)),
            _ => operand(choices),
        };
        tests.set(operator, operand);
    }
    (field.to_owned(), Value::from(tests))
}

fn choices_or(depth: usize) -> String {
    if depth == 0 { "$or".to_owned() } else { "$and".to_owned() }
}

pub(super) fn filter(choices: &mut Choices, flavour: Flavour, depth: usize) -> Object {
    let mut filter = Object::new();
    for _ in 0..choices.below(3) {
        let (name, test) = condition(choices, flavour, depth);
        filter.set(name.as_str(), test);
    }
    filter
}

pub(super) fn query(choices: &mut Choices, flavour: Flavour) -> Object {
    let mut query = Object::new();
    query.set("bucket", choices.pick(&["a", "a", "b"]));
    if !choices.once_in(4) {
        query.set("filter", filter(choices, flavour, 0));
    }
    match choices.below(10) {
        0..=2 => {
            let mut aggregate = Object::new();
            aggregate.set("function", choices.pick(&["count", "sum", "sum", "avg", "min", "max"]));
            aggregate.set("field", choices.pick(&["n", "n", "s", "id"]));
            query.set("aggregate", aggregate);
        }
        3 | 4 => {
            let mut aggregate = Object::new();
            aggregate.set("function", choices.pick(&["count", "sum", "avg", "min", "max"]));
            aggregate.set("field", "n");
            let by = ["\"g\"", "[\"g\"]", "[\"s\",\"g\"]", "\"n\"", "[]"];
            aggregate.set("groupBy", json(choices.pick(&by)));
            query.set("aggregate", aggregate);
        }
        _ => list(choices, &mut query),
    }
    query
}

fn list(choices: &mut Choices, query: &mut Object) {
    const SORTS: [&str; 8] = [
        r#"{"n":"asc"}"#,
        r#"{"n":"desc"}"#,
        r#"{"s":"desc"}"#,
        r#"{"g":"asc","n":"desc"}"#,
        r#"{"s":"asc","n":"asc"}"#,
        r#"{"_updatedAt":"desc"}"#,
        r#"{"g":"desc"}"#,
        "{}",
    ];
    if !choices.once_in(3) {
        query.set("sort", json(choices.pick(&SORTS)));
    }
    if choices.once_in(3) {
        query.set("offset", choices.below(6) as f64 - 1.0);
    }
    match choices.below(8) {
        0..=3 => query.set("limit", (1 + choices.below(5)) as f64),
        4 => query.set("limit", choices.below(70) as f64),
        5 => query.set("limit", -(choices.below(4) as f64)),
        _ => {}
    }
    if choices.once_in(2) {
        query.set("fields", json(choices.pick(&["[\"id\"]", "[\"id\",\"n\"]", "[\"g\"]", "[\"s\",\"id\"]"])));
    }
}

pub(super) fn params(choices: &mut Choices, flavour: Flavour) -> Value {
    let mut params = Object::new();
    for name in ["p", "q"] {
        match choices.below(5) {
            0 => {}
            1..=3 => params.set(name, json(choices.pick(&["1", "2", "\"1\""]))),
            _ => params.set(name, value(choices, flavour)),
        }
    }
    Value::from(params)
}
