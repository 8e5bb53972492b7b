//! Definitions and inputs into procedures, over engines that refuse at random: what is accepted runs within its
//! limits, asks before it acts, stops where it is refused, and does the same every time.

use crate::input::Input;
use noex_json::{CompactString, Object, Value, identical, parse};
use noex_procedures::{
    Answer, CallError, Engines, Found, Limits, Outcome, Procedure, Read, Record, Registry, RunAs, Want,
};
use std::cell::Cell;

/// Calls per input.
const CALLS_MAX: usize = 8;

/// An even first byte: lines of JSON in the shape of the protocol's messages; an odd one: choices.
pub(crate) fn run(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    let (definitions, inputs, schedule) =
        if mode % 2 == 0 { of_lines(rest) } else { of_choices(&mut Input::new(rest)) };
    let limits = Limits {
        steps_max: 40,
        bytes_max: 4_000,
        records_max: 60,
        records_locked_max: 30,
        depth_max: 12,
        procedures_max: 3,
        system_buckets_reserved: mode % 3 == 0,
        operators_in_values: mode % 5 == 0,
        ..Limits::default()
    };
    let mut registry = Registry::new(limits.clone());
    for definition in definitions {
        check_definition(&definition, &limits);
        let Value::Object(definition) = definition else { continue };
        let name = definition.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        // A name that is in use is changed instead.
        if let Err(error) = registry.register(*definition.clone()) {
            assert!(!error.to_string().is_empty());
            let _ = registry.update(&name, *definition);
        }
        assert!(registry.iter().count() <= limits.procedures_max);
    }
    let procedures: Vec<_> = registry.iter().cloned().collect();
    let mut world = World::new(schedule);
    for (procedure, input) in procedures.iter().cycle().zip(inputs).take(CALLS_MAX) {
        let before = world.clone();
        let outcome = world.call(procedure, input.clone(), &limits);
        let mut again = before;
        assert_eq!(again.call(procedure, input, &limits), outcome, "the same call gave another outcome");
        assert_eq!(format!("{again:?}"), format!("{world:?}"), "the same call had other effects");
        check_outcome(&outcome, &limits);
    }
}

fn check_definition(definition: &Value, limits: &Limits) {
    match Procedure::parse(definition, limits) {
        Ok(procedure) => {
            assert!((1..=limits.steps_max).contains(&procedure.steps_count()));
            assert_eq!(Value::from(procedure.definition().clone()), *definition);
        }
        Err(issues) => assert!(!issues.is_empty() && issues.iter().all(|issue| !issue.is_empty())),
    }
}

fn check_outcome(outcome: &Result<Outcome, CallError<String>>, limits: &Limits) {
    let Ok(outcome) = outcome else { return };
    let text = outcome.to_json();
    // A byte of text can take six in JSON; results are told once more inside the result.
    assert!(text.len() < 12 * limits.bytes_max + 1_000, "{} bytes", text.len());
    let read =
        parse(&text, limits.depth_max + 6).expect("the answer is JSON and no deeper than values may be");
    assert_eq!(read.to_json(), text);
}

// ---- Engines ----

#[derive(Clone, Debug)]
struct World {
    records: Vec<(String, Object)>,
    facts: Vec<(String, Value)>,
    /// One byte per call of an engine: what becomes of it. Used in a circle.
    schedule: Vec<u8>,
    turn: usize,
    /// What the caller was last allowed to do.
    allowed: Option<(&'static str, String)>,
    asks: bool,
    refused: bool,
    looked_at: usize,
}

impl Record for Row {
    fn members(&self) -> impl Iterator<Item = (&CompactString, &Value)> {
        self.0.iter()
    }
}

struct Row(Object);

impl World {
    fn new(schedule: Vec<u8>) -> Self {
        Self {
            records: Vec::new(),
            facts: Vec::new(),
            schedule,
            turn: 0,
            allowed: None,
            asks: false,
            refused: false,
            looked_at: 0,
        }
    }

    fn call(
        &mut self,
        procedure: &Procedure,
        input: Value,
        limits: &Limits,
    ) -> Result<Outcome, CallError<String>> {
        let input = procedure.check_input(Some(input))?;
        (self.asks, self.refused, self.looked_at) = (procedure.run_as() == RunAs::Caller, false, 0);
        self.allowed = None;
        // Every fourth call is slow: a step takes a minute.
        let (elapsed, step_ms) = (Cell::new(0.0), if self.draw() % 4 == 3 { 60_000.0 } else { 0.0 });
        let clock = || elapsed.replace(elapsed.get() + step_ms);
        let outcome = procedure.run(input, limits, &clock, self);
        let max = if procedure.is_transaction() { limits.records_locked_max } else { limits.records_max };
        assert!(self.looked_at <= max, "{} records were looked at", self.looked_at);
        assert!(!self.refused || matches!(outcome, Err(CallError::Engine(_))), "a refusal was ignored");
        outcome
    }

    fn draw(&mut self) -> u8 {
        self.turn += 1;
        let at = self.turn.checked_rem(self.schedule.len()).unwrap_or(0);
        self.schedule.get(at).copied().unwrap_or(0)
    }

    /// Begins an operation, which may be refused.
    fn begin(&mut self, operation: &'static str, resource: &str) -> Result<(), String> {
        assert!(!self.refused, "something is done after a refusal");
        if self.asks {
            let asked = self.allowed.take();
            assert_eq!(asked, Some((operation, resource.to_owned())), "done without asking");
        }
        if self.draw() % 16 == 15 {
            self.refused = true;
            return Err("refused".to_owned());
        }
        Ok(())
    }

    fn rows(&self, bucket: &str) -> impl Iterator<Item = &Object> {
        self.records.iter().filter(move |(other, _)| other == bucket).map(|(_, record)| record)
    }
}

impl Engines for World {
    type Record = Row;
    type Error = String;

    fn permits(&mut self, operation: &'static str, resource: &str) -> Result<(), String> {
        assert!(self.asks && !self.refused, "asked for no reason");
        if self.draw() % 16 == 14 {
            self.refused = true;
            return Err("forbidden".to_owned());
        }
        self.allowed = Some((operation, resource.to_owned()));
        Ok(())
    }

    fn get(&mut self, bucket: &str, key: &Value) -> Result<Option<Row>, String> {
        self.begin("store.get", bucket)?;
        Ok(self.rows(bucket).find(|record| identical(record.get("id"), Some(key))).cloned().map(Row))
    }

    fn read(&mut self, read: Read<'_>) -> Result<Answer<Row>, String> {
        let operation = match read.want {
            Want::All => "store.where",
            Want::First => "store.findOne",
            Want::Count => "store.count",
        };
        self.begin(operation, read.bucket)?;
        let looked_at = self.rows(read.bucket).count();
        if looked_at > read.records_max {
            return Ok(Answer::TooMany);
        }
        self.looked_at += looked_at;
        let filter = read.filter.unwrap_or_default();
        let matches =
            |record: &&Object| filter.iter().all(|(name, wanted)| identical(record.get(name), Some(wanted)));
        let mut matching = self.rows(read.bucket).filter(matches).cloned().map(Row);
        let found = match read.want {
            Want::All => Found::Records(matching.collect()),
            Want::First => Found::Records(matching.next().into_iter().collect()),
            Want::Count => Found::Number(matching.count() as f64),
        };
        Ok(Answer::Done { found, looked_at })
    }

    fn insert(&mut self, bucket: &str, data: Object) -> Result<Row, String> {
        self.begin("store.insert", bucket)?;
        self.records.push((bucket.to_owned(), data.clone()));
        Ok(Row(data))
    }

    fn update(&mut self, bucket: &str, key: &Value, data: Object) -> Result<Row, String> {
        self.begin("store.update", bucket)?;
        let own = |(other, record): &&mut (String, Object)| {
            other == bucket && identical(record.get("id"), Some(key))
        };
        let Some((_, record)) = self.records.iter_mut().find(own) else {
            self.refused = true;
            return Err("not found".to_owned());
        };
        record.merge(data);
        Ok(Row(record.clone()))
    }

    fn delete(&mut self, bucket: &str, key: &Value) -> Result<(), String> {
        self.begin("store.delete", bucket)?;
        self.records.retain(|(other, record)| other != bucket || !identical(record.get("id"), Some(key)));
        Ok(())
    }

    fn has_rules(&self) -> bool {
        self.schedule.first().is_none_or(|byte| byte % 8 != 7)
    }

    fn emit(&mut self, topic: &str, data: Object) -> Result<(), String> {
        self.begin("rules.emit", topic)?;
        self.facts.push((topic.to_owned(), Value::from(data)));
        Ok(())
    }

    fn set_fact(&mut self, key: &str, value: Value) -> Result<(), String> {
        self.begin("rules.setFact", key)?;
        self.facts.push((key.to_owned(), value));
        Ok(())
    }

    fn fact(&mut self, key: &str) -> Result<Option<Value>, String> {
        self.begin("rules.getFact", key)?;
        Ok(self.facts.iter().rev().find(|(other, _)| other == key).map(|(_, value)| value.clone()))
    }
}

// ---- From lines ----

type Parts = (Vec<Value>, Vec<Value>, Vec<u8>);

fn of_lines(data: &[u8]) -> Parts {
    let (mut definitions, mut inputs) = (Vec::new(), vec![Value::Null]);
    let text = std::str::from_utf8(data).unwrap_or_default();
    for line in text.lines().filter_map(|line| parse(line, 128).ok()) {
        let Some(line) = line.as_object() else { continue };
        let member = |name: &str| line.get(name).cloned();
        definitions.extend(member("procedure").or_else(|| member("updates")));
        inputs.extend(member("input"));
    }
    (definitions, inputs, data.iter().rev().take(32).copied().collect())
}

// ---- From choices ----

const NAMES: [&str; 8] = ["a", "b", "c", "n", "id", "list", "input", "length"];
/// Names of results, few enough that one step finds what another made.
const RESULTS: [&str; 3] = ["a", "b", "n"];

const BUCKETS: [&str; 3] = ["one", "two", "_users"];

fn of_choices(input: &mut Input<'_>) -> Parts {
    let mut definitions = Vec::new();
    for _ in 0..=input.below(3) {
        definitions.push(parse(&definition(input), 128).expect("generated"));
    }
    let inputs = (0..=input.below(4)).map(|_| {
        let text = if input.rarely(8) { input.json(&NAMES, 3) } else { input.object(&NAMES, 3, Vec::new()) };
        parse(&text, 64).expect("generated")
    });
    let inputs = inputs.collect();
    let schedule = (0..input.below(40)).filter_map(|_| input.any()).collect();
    (definitions, inputs, schedule)
}

fn definition(input: &mut Input<'_>) -> String {
    let mut members = vec![
        format!("\"name\":\"{}\"", input.pick(&["p", "q", "r", "s"])),
        format!("\"steps\":{}", steps(input, 3)),
    ];
    if input.rarely(3) {
        members.push(format!("\"transaction\":{}", input.pick(&["true", "false"])));
    }
    if input.rarely(3) {
        members.push(format!("\"runAs\":\"{}\"", input.pick(&["caller", "definer"])));
    }
    if input.rarely(4) {
        members.push(format!("\"timeoutMs\":{}", input.pick(&["1", "100000", "1e400"])));
    }
    if input.rarely(4) {
        let kind = input.pick(&["string", "number", "boolean", "object", "array"]);
        let (required, default) = (input.flag(), input.json(&NAMES, 2));
        members.push(format!(
            "\"input\":{{\"{}\":{{\"type\":\"{kind}\",\"required\":{required},\"default\":{default}}}}}",
            input.pick(&NAMES)
        ));
    }
    let text = format!("{{{}}}", members.join(","));
    if !input.rarely(8) {
        return text;
    }
    // Something that must not be there; where a key stood it may be no JSON.
    let odd = text.replacen("\"a\"", &input.json(&NAMES, 1), 1);
    if parse(&odd, 128).is_ok() { odd } else { text }
}

fn steps(input: &mut Input<'_>, depth: usize) -> String {
    let steps: Vec<String> = (0..=input.below(5)).map(|_| step(input, depth)).collect();
    format!("[{}]", steps.join(","))
}

fn template(input: &mut Input<'_>) -> String {
    match input.below(5) {
        0 => input.json(&NAMES, 2),
        1 => format!("{{\"{}\":{}}}", input.pick(&NAMES), input.pick(&["\"{{a}}\"", "[\"{{b}}\"]", "1"])),
        2 => format!("\"{{{{{}.{}}}}}\"", input.pick(&NAMES), input.pick(&["0", "id", "length", "n.x"])),
        3 => format!("\"{{{{{}}}}}-{{{{ {} }}}}\"", input.pick(&NAMES), input.pick(&NAMES)),
        _ => format!("\"{{{{{}}}}}\"", input.pick(&NAMES)),
    }
}

fn step(input: &mut Input<'_>, depth: usize) -> String {
    let (bucket, into) = (input.pick(&BUCKETS), input.pick(&RESULTS));
    let (source, value) = (input.pick(&RESULTS), template(input));
    let text = match input.rarely(64) {
        true => input.pick(&["\"\"", "1"]),
        false => input.pick(&["\"a\"", "\"{{input.id}}\"", "\"{{a.id}}\"", "\"x{{n}}\""]),
    };
    let fields = match input.below(if depth == 0 { 14 } else { 17 }) {
        0 | 1 => format!(
            "\"store.insert\",\"bucket\":\"{bucket}\",\"data\":{{\"id\":{text},\"n\":{value}}},\"as\":\"{into}\""
        ),
        2 => format!("\"store.update\",\"bucket\":\"{bucket}\",\"key\":{text},\"data\":{{\"n\":{value}}}"),
        3 => format!("\"store.get\",\"bucket\":\"{bucket}\",\"key\":{text},\"as\":\"{into}\""),
        4 => {
            format!("\"store.where\",\"bucket\":\"{bucket}\",\"filter\":{{\"n\":{value}}},\"as\":\"{into}\"")
        }
        5 => format!("\"store.where\",\"bucket\":\"{bucket}\",\"filter\":{{}},\"as\":\"{into}\""),
        6 => format!(
            "\"store.findOne\",\"bucket\":\"{bucket}\",\"filter\":{{\"$or\":[{{\"n\":{value}}}]}},\"as\":\"{into}\""
        ),
        7 => format!("\"store.count\",\"bucket\":\"{bucket}\",\"as\":\"{into}\""),
        8 => format!("\"store.delete\",\"bucket\":\"{bucket}\",\"key\":{text}"),
        9 => {
            let op = input.pick(&["sum", "avg", "min", "max", "count"]);
            format!("\"aggregate\",\"source\":\"{source}\",\"as\":\"{into}\",\"op\":\"{op}\",\"field\":\"n\"")
        }
        10 => {
            let operation = input.pick(&["map", "filter", "pick", "pluck"]);
            format!(
                "\"transform\",\"source\":\"{source}\",\"as\":\"{into}\",\"operation\":\"{operation}\",\"args\":{value}"
            )
        }
        11 => format!("\"rules.emit\",\"topic\":{text},\"data\":{{\"n\":{value}}}"),
        12 => match input.flag() {
            true => format!("\"rules.setFact\",\"key\":{text},\"value\":{value}"),
            false => format!("\"rules.getFact\",\"key\":{text},\"as\":\"{into}\""),
        },
        13 => format!("\"return\",\"value\":{value}"),
        _ => {
            let operator = input.pick(&["eq", "neq", "gt", "gte", "lt", "lte", "exists", "not_exists"]);
            let condition = format!("{{\"ref\":\"{source}\",\"operator\":\"{operator}\",\"value\":{value}}}");
            let (then, otherwise) = (steps(input, depth - 1), steps(input, depth - 1));
            format!("\"if\",\"condition\":{condition},\"then\":{then},\"else\":{otherwise}")
        }
    };
    format!("{{\"action\":{fields}}}")
}
