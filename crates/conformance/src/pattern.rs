//! Patterns: what a received message must look like.
//!
//! Input: a pattern, a value, the values remembered so far. Output: a list of differences, empty when the value matches.
//! Invariant: numbers are compared as doubles, all else by type and content; an object is a matcher only if all its
//! keys are matcher names.

#[cfg(test)]
mod tests;

use regex::Regex;
use serde_json::{Map, Value};

use crate::value::{Binds, fill_template, js, now_ms, short, type_name};

/// Lists the differences between a pattern and a value and remembers what `$bind` meets.
///
/// After a mismatch `binds` may hold values of the failed attempt; callers that go on pass a copy.
pub(crate) fn differences(pattern: &Value, value: &Value, binds: &mut Binds) -> Vec<String> {
    compare(pattern, value, binds, "$")
}

/// Says whether two values are the same JSON, numbers by value.
pub(crate) fn literal_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, x)| b.get(k).is_some_and(|y| literal_equal(x, y)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(x, y)| literal_equal(x, y))
        }
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

const MATCHERS: [&str; 13] = [
    "$any",
    "$type",
    "$uuid",
    "$timestamp",
    "$regex",
    "$bind",
    "$ref",
    "$number",
    "$subset",
    "$unordered",
    "$absentOr",
    "$literal",
    "$template",
];

const DAY_MS: f64 = 86_400_000.0;

/// Steps of the search for a one-to-one matching, so that a wrong pattern cannot take forever.
const UNORDERED_STEPS_MAX: u32 = 200_000;

fn as_matcher(pattern: &Value) -> Option<&Map<String, Value>> {
    pattern.as_object().filter(|m| !m.is_empty() && m.keys().all(|k| MATCHERS.contains(&k.as_str())))
}

fn absent_or(pattern: &Value) -> Option<&Value> {
    as_matcher(pattern)?.get("$absentOr")
}

fn compare(pattern: &Value, value: &Value, binds: &mut Binds, path: &str) -> Vec<String> {
    if let Some(matcher) = as_matcher(pattern) {
        return matcher.iter().flat_map(|(name, arg)| compare_one(name, arg, value, binds, path)).collect();
    }
    match (pattern, value) {
        (Value::Object(p), Value::Object(v)) => compare_objects(p, v, binds, path),
        (Value::Array(p), Value::Array(v)) => compare_arrays(p, v, binds, path),
        _ => want(literal_equal(pattern, value), value, path, || short(pattern)),
    }
}

fn compare_objects(
    p: &Map<String, Value>,
    v: &Map<String, Value>,
    binds: &mut Binds,
    path: &str,
) -> Vec<String> {
    let mut out = Vec::new();
    for (key, pattern) in p {
        let optional = absent_or(pattern);
        match v.get(key) {
            Some(value) => {
                out.extend(compare(optional.unwrap_or(pattern), value, binds, &format!("{path}.{key}")))
            }
            None if optional.is_some() => {}
            None => out.push(format!("{path}.{key}: missing, expected {}", short(pattern))),
        }
    }
    let surplus = v.iter().filter(|(key, _)| !p.contains_key(*key));
    out.extend(surplus.map(|(key, value)| format!("{path}.{key}: unexpected, got {}", short(value))));
    out
}

fn compare_arrays(p: &[Value], v: &[Value], binds: &mut Binds, path: &str) -> Vec<String> {
    let mut out = Vec::new();
    if p.len() != v.len() {
        let got = short(&Value::from(v.to_vec()));
        out.push(format!("{path}: expected {} elements, got {}: {got}", p.len(), v.len()));
    }
    for (i, (pattern, value)) in p.iter().zip(v).enumerate() {
        out.extend(compare(pattern, value, binds, &format!("{path}[{i}]")));
    }
    out
}

fn compare_one(name: &str, arg: &Value, value: &Value, binds: &mut Binds, path: &str) -> Vec<String> {
    let text = arg.as_str().unwrap_or_default();
    match name {
        "$any" => Vec::new(),
        "$type" => want(text.split('|').any(|t| t == type_name(value)), value, path, || {
            format!("a value of type {text}")
        }),
        "$uuid" => want(value.as_str().is_some_and(is_uuid), value, path, || "a UUID".to_owned()),
        "$timestamp" => want(is_near_now(value), value, path, || "an epoch-ms timestamp near now".to_owned()),
        "$regex" => compare_regex(text, value, path),
        "$number" => want(is_in_range(arg, value), value, path, || format!("a number in {}", js(arg))),
        "$bind" => match binds.get(text) {
            Some(bound) => compare_bound(bound, value, &format!("{path} (bound as {text})")),
            None => {
                binds.insert(text.to_owned(), value.clone());
                Vec::new()
            }
        },
        "$ref" => match binds.get(text) {
            Some(bound) => compare_bound(bound, value, &format!("{path} ($ref {text})")),
            None => vec![format!("{path}: $ref {} is not bound yet", js(arg))],
        },
        "$template" => match fill_template(text, binds) {
            Ok(filled) => {
                want(value.as_str() == Some(&filled), value, path, || js(&Value::from(filled.clone())))
            }
            Err(unbound) => vec![format!("{path}: {unbound}")],
        },
        "$literal" => want(literal_equal(arg, value), value, path, || short(arg)),
        "$absentOr" => compare(arg, value, binds, path),
        "$subset" => compare_subset(arg, value, binds, path),
        "$unordered" => compare_unordered(arg, value, binds, path),
        _ => vec![format!("{path}: unknown matcher {name}")],
    }
}

/// No difference if `ok`, else one that says what was expected.
fn want(ok: bool, value: &Value, path: &str, expected: impl FnOnce() -> String) -> Vec<String> {
    if ok { Vec::new() } else { vec![format!("{path}: expected {}, got {}", expected(), short(value))] }
}

fn compare_bound(bound: &Value, value: &Value, path: &str) -> Vec<String> {
    want(literal_equal(bound, value), value, &format!("{path}: value"), || short(bound))
}

fn compare_regex(expression: &str, value: &Value, path: &str) -> Vec<String> {
    match Regex::new(expression) {
        Ok(regex) => want(value.as_str().is_some_and(|text| regex.is_match(text)), value, path, || {
            format!("a string matching /{expression}/")
        }),
        Err(e) => vec![format!("{path}: bad expression /{expression}/: {e}")],
    }
}

fn compare_subset(arg: &Value, value: &Value, binds: &mut Binds, path: &str) -> Vec<String> {
    let Some(members) = value.as_object() else {
        return want(false, value, path, || "an object".to_owned());
    };
    let named = members.iter().filter(|(key, _)| arg.get(key.as_str()).is_some());
    let part: Map<String, Value> = named.map(|(key, value)| (key.clone(), value.clone())).collect();
    compare(arg, &Value::Object(part), binds, path)
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|g| g.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|g| g.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[expect(clippy::cast_precision_loss, reason = "epoch milliseconds stay below 2^53")]
fn is_near_now(value: &Value) -> bool {
    value.as_f64().is_some_and(|at| (at - now_ms() as f64).abs() <= DAY_MS)
}

fn is_in_range(range: &Value, value: &Value) -> bool {
    let bound = |key, otherwise| range.get(key).and_then(Value::as_f64).unwrap_or(otherwise);
    value.as_f64().is_some_and(|n| bound("min", f64::NEG_INFINITY) <= n && n <= bound("max", f64::INFINITY))
}

/// Matches patterns and elements one to one in any order; remembered values follow the matching that was found.
fn compare_unordered(arg: &Value, value: &Value, binds: &mut Binds, path: &str) -> Vec<String> {
    let (Some(patterns), Some(values)) = (arg.as_array(), value.as_array()) else {
        return want(false, value, path, || "an array".to_owned());
    };
    if patterns.len() != values.len() {
        let (expected, got) = (patterns.len(), values.len());
        return vec![format!(
            "{path}: expected {expected} elements in any order, got {got}: {}",
            short(value)
        )];
    }
    let mut search =
        Unordered { patterns, values, taken: vec![false; values.len()], left: UNORDERED_STEPS_MAX };
    if let Some(found) = search.assign(0, binds) {
        *binds = found;
        return Vec::new();
    }
    for (i, pattern) in patterns.iter().enumerate() {
        let at = format!("{path}<{i}>");
        let attempts = values.iter().map(|v| compare(pattern, v, &mut binds.clone(), &at));
        let closest = attempts.min_by_key(Vec::len).unwrap_or_default();
        if !closest.is_empty() {
            let head = format!("{path}: nothing matches element {i} {}; closest: ", short(pattern));
            return std::iter::once(head).chain(closest).collect();
        }
    }
    vec![format!("{path}: no one-to-one matching in any order of {} with {}", short(arg), short(value))]
}

/// Backtracking search for a one-to-one matching.
struct Unordered<'a> {
    patterns: &'a [Value],
    values: &'a [Value],
    taken: Vec<bool>,
    left: u32,
}

impl Unordered<'_> {
    fn assign(&mut self, i: usize, binds: &Binds) -> Option<Binds> {
        let Some(pattern) = self.patterns.get(i) else { return Some(binds.clone()) };
        for j in 0..self.values.len() {
            if self.taken[j] {
                continue;
            }
            self.left = self.left.checked_sub(1)?;
            let mut trial = binds.clone();
            if compare(pattern, &self.values[j], &mut trial, "$").is_empty() {
                self.taken[j] = true;
                let found = self.assign(i + 1, &trial);
                if found.is_some() {
                    return found;
                }
                self.taken[j] = false;
            }
        }
        None
    }
}
