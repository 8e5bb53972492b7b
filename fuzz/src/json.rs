//! The parser, the values and the writer of `noex_json` against `serde_json` and naive definitions.

use noex_json::{
    CompactString, Object, ParseError, Value, deep_equal, identical, parse, relational, scan, scan_array,
    scan_object, utf16_cmp, utf16_len,
};
use serde_json::Value as Json;
use std::{collections::HashMap, fmt::Debug};

/// Deepest nesting that values are built of; the reference stops at 127.
const DEPTH_MAX: usize = 128;

/// Checks a text: accepted exactly where the reference accepts it, equal values, stable writing, consistent slices.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let scanned = scan(text, usize::MAX);
    let mut members = Vec::new();
    let listed = scan_object(text, usize::MAX, |member| members.push(member));
    match (&scanned, &listed) {
        (Ok(raw), Ok(())) => assert!(raw.is_object()),
        (Ok(raw), Err(error)) => {
            assert!(!raw.is_object());
            assert_eq!(*error, ParseError::WrongType);
        }
        (Err(_), _) => {
            assert_eq!(listed, Err(ParseError::Syntax));
            assert_eq!(parse(text, DEPTH_MAX).map(drop), Err(ParseError::Syntax));
        }
    }
    let reference: Json = match serde_json::from_str(text) {
        Ok(reference) => reference,
        Err(error) => return refused(text, &error.to_string(), scanned.is_ok()),
    };
    let raw = scanned.unwrap_or_else(|error| panic!("{error:?}, but it is valid: {text}"));
    let depth = depth_of(text);
    let value = parse(text, depth).expect("of this depth");
    if let Some(less) = depth.checked_sub(1) {
        assert_eq!(parse(text, less).map(drop), Err(ParseError::TooDeep));
        assert!(scan_object(text, less, |_| ()).is_err());
    }
    same(&value, &reference);
    writes_what_it_reads(&value);
    slices(&value, raw, &members);
    if let Value::Array(items) = &value {
        items.windows(2).for_each(|pair| relate(&pair[0], &pair[1]));
        let objects: Vec<&Object> = items.iter().filter_map(Value::as_object).collect();
        merge(&objects);
    }
}

/// What the reference refuses, except numbers beyond its range, must be refused.
fn refused(text: &str, why: &str, accepted: bool) {
    if why.contains("recursion limit") {
        return;
    }
    if why.contains("number out of range") {
        // A second look without numbers; it does not check escapes.
        let grammar: Result<serde::de::IgnoredAny, _> = serde_json::from_str(text);
        if !text.contains("\\u") {
            assert_eq!(accepted, grammar.is_ok(), "{text}");
        }
        return;
    }
    assert!(!accepted, "accepted, but {why}: {text}");
}

/// Nesting of a valid text. Values that a repeated name replaces count too.
fn depth_of(text: &str) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match (quoted, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => quoted = !quoted,
            (false, b'[' | b'{') => depth += 1,
            (false, b']' | b'}') => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Checks equality of values and the order of members: array indexes ascending, then the others as they came.
fn same(value: &Value, reference: &Json) {
    match (value, reference) {
        (Value::Null, Json::Null) => {}
        (Value::Bool(a), Json::Bool(b)) => assert_eq!(a, b),
        (Value::Number(a), Json::Number(b)) => assert_eq!(Some(*a), b.as_f64()),
        (Value::String(a), Json::String(b)) => {
            assert_eq!(a, b);
            assert_eq!(utf16_len(a), b.encode_utf16().count());
        }
        (Value::Array(a), Json::Array(b)) => {
            assert_eq!(a.len(), b.len());
            a.iter().zip(b).for_each(|(a, b)| same(a, b));
        }
        (Value::Object(a), Json::Object(b)) => {
            let index =
                |name: &str| name.parse::<u32>().ok().filter(|n| *n != u32::MAX && n.to_string() == name);
            let mut names: Vec<&String> = b.keys().collect();
            names.sort_by_key(|name| index(name).map_or((1, 0), |n| (0, n)));
            assert_eq!(a.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
            names.into_iter().for_each(|name| same(a.get(name).expect("listed"), &b[name.as_str()]));
        }
        _ => panic!("{value:?} is not {reference:?}"),
    }
}

fn writes_what_it_reads(value: &Value) {
    let text = value.to_json();
    let again =
        parse(&text, DEPTH_MAX).unwrap_or_else(|error| panic!("{error:?} in what was written: {text}"));
    assert_eq!(again.to_json(), text);
    assert!(deep_equal(value, &again), "{text}");
    same(&again, &serde_json::from_str(&text).expect("written JSON"));
}

/// The slices of a scan hold what the value holds.
fn slices(value: &Value, raw: noex_json::Raw<'_>, members: &[noex_json::Member<'_>]) {
    assert_eq!(raw.to_value().to_json(), value.to_json());
    assert_eq!(raw.as_str().as_deref(), value.as_str());
    assert_eq!(raw.as_number(), value.as_number());
    assert_eq!((raw.is_null(), raw.is_array()), (value.is_null(), value.as_array().is_some()));
    assert_eq!(raw.to_object().as_ref(), value.as_object());
    let items = scan_array(raw);
    assert_eq!(items.as_ref().map(Vec::len), value.as_array().map(<[Value]>::len));
    for (item, value) in items.iter().flatten().zip(value.as_array().unwrap_or_default()) {
        assert_eq!(item.to_value().to_json(), value.to_json());
        assert_eq!(scan(item.text(), DEPTH_MAX), Ok(*item));
    }
    let Some(object) = value.as_object() else { return };
    let last: HashMap<&str, Value> = members.iter().map(|(name, raw)| (&**name, raw.to_value())).collect();
    assert_eq!(last.len(), object.len());
    object.iter().for_each(|(name, value)| assert_eq!(last.get(name.as_str()), Some(value)));
}

fn relate(a: &Value, b: &Value) {
    assert_eq!(relational(a, b), relational(b, a).map(std::cmp::Ordering::reverse), "{a:?} {b:?}");
    assert_eq!(deep_equal(a, b), deep_equal(b, a));
    assert!(deep_equal(a, a));
    assert!(!identical(Some(a), Some(b)) || deep_equal(a, b));
    if let (Value::String(a), Value::String(b)) = (a, b) {
        assert_eq!(utf16_cmp(a, b), a.encode_utf16().cmp(b.encode_utf16()));
    }
}

/// Merging in bulk gives what setting members one by one gives; removing gives it back.
fn merge(objects: &[&Object]) {
    let Some((first, rest)) = objects.split_first() else { return };
    let (mut bulk, mut single) = ((*first).clone(), (*first).clone());
    for object in rest {
        bulk.merge((*object).clone());
        object.iter().for_each(|(name, value)| single.set(name.clone(), value.clone()));
        equal_text(&bulk, &single);
    }
    let some: Vec<_> = objects.iter().flat_map(|object| object.iter()).take(4).collect();
    let many = (0..60_u8).flat_map(|at| {
        some.iter().map(move |(name, _)| (format!("{name}{}", at % 40).into(), Value::Number(at.into())))
    });
    let mut one_by_one = Object::new();
    many.clone().for_each(|(name, value): (CompactString, Value)| one_by_one.set(name, value));
    equal_text(&many.collect(), &one_by_one);
    let all: Object = objects.iter().flat_map(|object| (*object).clone()).collect();
    equal_text(&all, &single);
    for (name, value) in first.iter() {
        let removed = single.remove(name);
        assert!(removed.is_some() && !single.contains(name), "{value:?}");
        single.set(name.clone(), removed.unwrap_or_default());
    }
    assert_eq!(single, bulk);
}

fn equal_text<T: Debug>(a: &T, b: &T) {
    assert_eq!(format!("{a:?}"), format!("{b:?}"));
}
