//! Filters and declarative queries: compiled, and matched or evaluated, against a naive reading of the specification.

#[path = "../../crates/store/src/filter/tests/naive.rs"]
mod naive;

use crate::input::Input;
use naive::Naive;
use noex_json::{Object, Value, parse, relational, text_form, to_number, utf16_cmp};
use noex_store::filter::{Filter, IndexableCondition};
use noex_store::query::{QueryDefinition, QueryOptions};
use std::{
    cmp::Ordering,
    ops::Bound::{Excluded, Included, Unbounded},
};

const NAMES: [&str; 5] = ["a", "b", "c", "1", "a.b"];
const OPERATORS: [&str; 15] = [
    "$eq",
    "$neq",
    "$gt",
    "$gte",
    "$lt",
    "$lte",
    "$in",
    "$nin",
    "$between",
    "$contains",
    "$startsWith",
    "$endsWith",
    "$exists",
    "$odd",
    "plain",
];
const PLACEHOLDERS: [&str; 3] = ["{{ params.a }}", "{{params.b}}", "{{ params.c }}"];

/// An even first byte: lines of JSON (query, parameters, then records); an odd one: choices.
pub(crate) fn run(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    let case =
        if mode % 2 == 0 { Case::of_lines(rest) } else { Some(Case::of_choices(&mut Input::new(rest))) };
    if let Some(case) = case {
        case.check();
    }
}

struct Case {
    query: Object,
    params: Option<Value>,
    records: Vec<Object>,
    options: QueryOptions,
}

fn object(text: &str) -> Option<Object> {
    if let Ok(Value::Object(object)) = parse(text, 64) { Some(*object) } else { None }
}

/// A generated text.
fn object_of(text: &str) -> Object {
    object(text).unwrap_or_else(|| panic!("no object: {text}"))
}

impl Case {
    fn of_lines(data: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(data).ok()?.lines();
        let query = object(lines.next()?)?;
        let params = parse(lines.next().unwrap_or("null"), 64).ok().filter(|params| !params.is_null());
        let records = lines.filter_map(object).take(20).collect();
        Some(Self { query, params, records, options: QueryOptions::default() })
    }

    fn of_choices(input: &mut Input<'_>) -> Self {
        let options = QueryOptions { strict_filters: input.rarely(4), allow_operator_params: input.flag() };
        let query = object_of(&query(input));
        let params =
            input.rarely(2).then(|| parse(&input.object(&NAMES, 2, Vec::new()), 64).expect("generated"));
        let records = (0..input.below(8)).map(|_| object_of(&input.object(&NAMES, 2, Vec::new())));
        Self { query, params, records: records.collect(), options }
    }

    fn check(&self) {
        if let Some(Value::Object(filter)) = self.query.get("filter") {
            self.literal(filter);
        }
        self.query();
    }

    /// A filter in which strings are only strings.
    fn literal(&self, filter: &Object) {
        let naive = Naive { params: None, operators: false };
        let compiled = Filter::compile(filter, false);
        assert_eq!(compiled.is_ok(), naive.is_well_formed(filter), "{compiled:?}");
        if let Ok(compiled) = compiled {
            let strict = Filter::compile(filter, true);
            assert_eq!(strict.is_ok(), compiled.unknown_operators().is_empty(), "{strict:?}");
            self.matches(&compiled, naive, filter);
        }
    }

    fn matches(&self, compiled: &Filter, naive: Naive<'_>, filter: &Object) {
        for record in &self.records {
            let expected = naive.matches(filter, record);
            assert_eq!(compiled.matches(record), expected, "{filter:?} {record:?}");
            assert!(expected || !compiled.is_all());
            assert!(!expected || !compiled.is_none());
            assert!(
                !expected || compiled.indexable().iter().all(|condition| admits(condition, record)),
                "{record:?}"
            );
        }
    }

    fn query(&self) {
        let Ok(definition) = QueryDefinition::parse("q", &self.query, self.options) else { return };
        let none = Object::new();
        let filter = self.query.get("filter").and_then(Value::as_object).unwrap_or(&none);
        let compiled = definition.compile(self.params.as_ref(), self.options);
        if !known_placeholders(&Value::from(filter.clone())) {
            return;
        }
        let params = self.params.clone().unwrap_or(Value::Null);
        let naive = Naive { params: Some(&params), operators: self.options.allow_operator_params };
        if !self.options.strict_filters {
            assert_eq!(compiled.is_ok(), naive.is_well_formed(filter), "{filter:?} {params:?}");
        }
        let Ok(compiled) = compiled else { return };
        self.matches(&compiled.filter, naive, filter);
        let texts: Vec<(Object, String)> = self
            .records
            .iter()
            .map(|record| (record.clone(), Value::from(record.clone()).to_json()))
            .collect();
        let result = compiled.evaluate(texts.iter(), |row| &row.0, |row| &row.1);
        let matching = self.records.iter().filter(|record| naive.matches(filter, record)).collect();
        assert_eq!(result, evaluate(&self.query, matching), "{:?} {:?}", self.query, self.records);
    }
}

/// The naive matcher knows three spellings only.
fn known_placeholders(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.contains("{{") || PLACEHOLDERS.contains(&text.as_str()),
        Value::Array(items) => items.iter().all(known_placeholders),
        Value::Object(members) => members.iter().all(|(_, value)| known_placeholders(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

// ---- Choices ----

fn operand(input: &mut Input<'_>, depth: usize) -> String {
    match input.below(6) {
        0 => format!("\"{}\"", input.pick(&PLACEHOLDERS)),
        1 if depth > 0 => {
            let items: Vec<String> = (0..input.below(4)).map(|_| operand(input, depth - 1)).collect();
            format!("[{}]", items.join(","))
        }
        _ => input.json(&NAMES, depth),
    }
}

fn filter(input: &mut Input<'_>, depth: usize) -> String {
    let mut members = Vec::new();
    for _ in 0..input.below(4) {
        if depth > 0 && input.rarely(4) {
            let branches: Vec<String> = (0..input.below(4))
                .map(|_| if input.rarely(8) { operand(input, 1) } else { filter(input, depth - 1) })
                .collect();
            members.push(format!("\"{}\":[{}]", input.pick(&["$or", "$and"]), branches.join(",")));
            continue;
        }
        let name = input.pick(&NAMES);
        let condition = if input.flag() {
            operand(input, 1)
        } else {
            let tests: Vec<String> = (0..=input.below(2))
                .map(|_| format!("\"{}\":{}", input.pick(&OPERATORS), operand(input, 1)))
                .collect();
            format!("{{{}}}", tests.join(","))
        };
        members.push(format!("\"{name}\":{condition}"));
    }
    format!("{{{}}}", members.join(","))
}

fn names(input: &mut Input<'_>) -> String {
    let names: Vec<String> = (0..input.below(4)).map(|_| format!("\"{}\"", input.pick(&NAMES))).collect();
    format!("[{}]", names.join(","))
}

fn query(input: &mut Input<'_>) -> String {
    const NUMBERS: [&str; 12] =
        ["0", "1", "2", "3", "-1", "-2", "1.7", "-1.5", "\"2\"", "1e400", "-1e400", "\"x\""];
    let mut members = vec![r#""bucket":"u""#.to_owned(), format!("\"filter\":{}", filter(input, 3))];
    if input.flag() {
        let sort: Vec<String> = (0..input.below(4))
            .map(|_| format!("\"{}\":{}", input.pick(&NAMES), input.pick(&["\"asc\"", "\"desc\"", "1"])))
            .collect();
        members.push(format!("\"sort\":{{{}}}", sort.join(",")));
    }
    for name in ["limit", "offset"] {
        if let Some(number) = input.perhaps(&NUMBERS) {
            members.push(format!("\"{name}\":{number}"));
        }
    }
    if input.flag() {
        members.push(format!("\"fields\":{}", names(input)));
    }
    if input.rarely(3) {
        let function = input.pick(&["count", "sum", "avg", "min", "max"]);
        let by = match input.below(3) {
            0 => String::new(),
            1 => format!(",\"groupBy\":\"{}\"", input.pick(&NAMES)),
            _ => format!(",\"groupBy\":{}", names(input)),
        };
        let field = input.pick(&NAMES);
        members.push(format!("\"aggregate\":{{\"function\":\"{function}\",\"field\":\"{field}\"{by}}}"));
    }
    if input.rarely(8) {
        let name = input.pick(&["filter", "sort", "limit", "offset", "fields", "aggregate"]);
        members.push(format!("\"{name}\":{}", input.json(&NAMES, 2)));
    }
    format!("{{{}}}", members.join(","))
}

// ---- The naive evaluator ----

/// Whether a record satisfies a condition as an index over values of the operand's own type sees it.
fn admits(condition: &IndexableCondition<'_>, record: &Object) -> bool {
    match condition {
        IndexableCondition::OneOf(name, values) => {
            values.iter().any(|value| noex_json::identical(Some(value), record.get(name)))
        }
        IndexableCondition::Range(name, low, high) => {
            let Some(value) = record.get(name) else { return false };
            let (Included(operand) | Excluded(operand)) = (if *low == Unbounded { *high } else { *low })
            else {
                return false;
            };
            let order = |bound: &Value| relational(value, bound);
            let above = match low {
                Unbounded => true,
                Included(bound) => order(bound).is_some_and(Ordering::is_ge),
                Excluded(bound) => order(bound).is_some_and(Ordering::is_gt),
            };
            let below = match high {
                Unbounded => true,
                Included(bound) => order(bound).is_some_and(Ordering::is_le),
                Excluded(bound) => order(bound).is_some_and(Ordering::is_lt),
            };
            value.type_name() != operand.type_name() || (above && below)
        }
    }
}

/// Evaluates an accepted query over matching records.
fn evaluate(query: &Object, mut records: Vec<&Object>) -> Option<String> {
    let number = |number: f64| Value::Number(number).to_json();
    if let Some(aggregate) = query.get("aggregate").and_then(Value::as_object) {
        let function = aggregate.get("function").and_then(Value::as_str).unwrap_or_default();
        let field = aggregate.get("field").and_then(Value::as_str).unwrap_or_default();
        let Some(by) = aggregate.get("groupBy") else { return fold(function, field, &records).map(number) };
        let by = if let Value::String(name) = by {
            Value::from(vec![Value::from(name.clone())])
        } else {
            by.clone()
        };
        let by = member_order(&by);
        let identity = |record: &Object| -> Vec<String> {
            by.iter().map(|name| text_form(record.get(name).or(Some(&Value::Null)))).collect()
        };
        let mut groups: Vec<(Vec<String>, Vec<&Object>)> = Vec::new();
        for record in records {
            let identity = identity(record);
            match groups.iter_mut().find(|group| group.0 == identity) {
                Some(group) => group.1.push(record),
                None => groups.push((identity, vec![record])),
            }
        }
        let shown = groups.iter().map(|(_, members)| {
            let value = number(fold(function, field, members).unwrap_or(0.0));
            format!("{{\"key\":{},\"value\":{value}}}", projection(members[0], &by))
        });
        return Some(format!("[{}]", shown.collect::<Vec<_>>().join(",")));
    }
    if let Some(sort) = query.get("sort").and_then(Value::as_object) {
        records.sort_by(|a, b| order(sort, a, b));
    }
    let count = |name: &str| query.get(name).map(|value| to_number(value).trunc());
    if let Some(offset) = count("offset").filter(|offset| *offset > 0.0) {
        let offset = records.len().min(offset as usize);
        records.drain(..offset);
    }
    match count("limit") {
        Some(limit) if limit < 0.0 => records.truncate(records.len().saturating_sub(-limit as usize)),
        Some(limit) => records.truncate(limit as usize),
        None => {}
    }
    let fields = query.get("fields").map(member_order).filter(|fields| !fields.is_empty());
    let shown = records.into_iter().map(|record| match &fields {
        None => Value::from(record.clone()).to_json(),
        Some(fields) => projection(record, fields),
    });
    Some(format!("[{}]", shown.collect::<Vec<_>>().join(",")))
}

/// A list of names, in the order in which an object would have them.
fn member_order(names: &Value) -> Vec<String> {
    let mut object = Object::new();
    names
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .for_each(|name| object.set(name, Value::Null));
    object.iter().map(|(name, _)| name.to_string()).collect()
}

fn projection(record: &Object, fields: &[String]) -> String {
    let mut shown = Object::new();
    for name in fields {
        if let Some(value) = record.get(name) {
            shown.set(name.as_str(), value.clone());
        }
    }
    Value::from(shown).to_json()
}

fn fold(function: &str, field: &str, records: &[&Object]) -> Option<f64> {
    let numbers: Vec<f64> =
        records.iter().filter_map(|record| record.get(field).and_then(Value::as_number)).collect();
    let sum = numbers.iter().fold(0.0, |sum, number| sum + number);
    match function {
        "count" => Some(records.len() as f64),
        "sum" => Some(sum),
        "avg" => Some(if numbers.is_empty() { 0.0 } else { sum / numbers.len() as f64 }),
        "min" => numbers.into_iter().reduce(f64::min),
        _ => numbers.into_iter().reduce(f64::max),
    }
}

/// Numbers and booleans by number, then texts, then arrays and objects by their text; what is nullish comes last,
/// whatever the direction. Two structures of the same text end the comparison.
fn order(sort: &Object, left: &Object, right: &Object) -> Ordering {
    let class = |value: Option<&Value>| match value {
        None | Some(Value::Null) => 3,
        Some(Value::Bool(_) | Value::Number(_)) => 0,
        Some(Value::String(_)) => 1,
        Some(Value::Array(_) | Value::Object(_)) => 2,
    };
    for (name, direction) in sort.iter() {
        let (a, b) = (left.get(name), right.get(name));
        let by_class = class(a).cmp(&class(b));
        let ordering = by_class.then_with(|| match class(a) {
            0 => to_number(a.expect("of class 0")).total_cmp(&to_number(b.expect("of class 0"))),
            1 | 2 => utf16_cmp(&text_form(a), &text_form(b)),
            _ => Ordering::Equal,
        });
        let zeros = class(a) == 0 && class(b) == 0 && a.map(to_number) == b.map(to_number);
        let ordering = if zeros { Ordering::Equal } else { ordering };
        if ordering.is_eq() && class(a) == 2 {
            return Ordering::Equal;
        }
        let nullish = class(a) == 3 || class(b) == 3;
        let descending = direction.as_str() == Some("desc") && !nullish;
        if ordering.is_ne() {
            return if descending { ordering.reverse() } else { ordering };
        }
    }
    Ordering::Equal
}
