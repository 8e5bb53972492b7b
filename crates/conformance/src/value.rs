//! JSON values of a scenario: showing them, naming their types, filling in what is known only while playing.
//!
//! Input: values as written in a scenario and the values remembered so far. Output: values and texts to send or show.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

/// Values remembered by `$bind`, by name.
pub(crate) type Binds = BTreeMap<String, Value>;

/// Writes a value as compact JSON.
pub(crate) fn js(value: &Value) -> String {
    value.to_string()
}

/// Writes a value as compact JSON, cut after 300 characters.
pub(crate) fn short(value: &Value) -> String {
    cut(js(value), 300)
}

/// Cuts a text after `chars_max` characters and tells how long it was.
pub(crate) fn cut(text: String, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text,
        Some((at, _)) => format!("{}…({} chars)", &text[..at], text.chars().count()),
    }
}

/// Names the JSON type of a value.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Reads the wall clock, in milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Puts remembered values in for every `${name}`: strings as they are, others as JSON.
pub(crate) fn fill_template(text: &str, binds: &Binds) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let name_len =
            after[2..].find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(after.len() - 2);
        let name = &after[2..2 + name_len];
        if name.is_empty() || !after[2 + name_len..].starts_with('}') {
            out.push_str("${");
            rest = &after[2..];
            continue;
        }
        match binds.get(name) {
            None => return Err(format!("${{{name}}} is not bound yet")),
            Some(Value::String(s)) => out.push_str(s),
            Some(other) => out.push_str(&js(other)),
        }
        rest = &after[2 + name_len + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Replaces `$ref`, `$template`, `$now`, `$repeat` and `$literal` in something to send.
pub(crate) fn substitute(value: &Value, binds: &Binds) -> Result<Value, String> {
    match value {
        Value::Array(items) => items.iter().map(|item| substitute(item, binds)).collect(),
        Value::Object(members) => {
            if let Some(replaced) = substitute_special(members, binds)? {
                return Ok(replaced);
            }
            let mut out = Map::new();
            for (key, member) in members {
                out.insert(key.clone(), substitute(member, binds)?);
            }
            Ok(Value::Object(out))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(value.clone()),
    }
}

/// The replacement of an object with one key that asks for one; `None` where the object stands for itself.
fn substitute_special(members: &Map<String, Value>, binds: &Binds) -> Result<Option<Value>, String> {
    let (Some((key, arg)), 1) = (members.iter().next(), members.len()) else { return Ok(None) };
    let replaced = match key.as_str() {
        "$ref" => {
            let name = arg.as_str().unwrap_or_default();
            binds.get(name).cloned().ok_or_else(|| format!("$ref {} is not bound yet", js(arg)))?
        }
        "$template" => Value::from(fill_template(text_of(key, arg)?, binds)?),
        "$now" => {
            let offset = arg.as_i64().ok_or_else(|| format!("$now needs an integer, not {}", short(arg)))?;
            Value::from(now_ms() + offset)
        }
        "$repeat" => {
            let times = arg.get(1).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
            match (arg.get(0).and_then(Value::as_str), times) {
                (Some(text), Some(times)) => Value::from(text.repeat(times)),
                _ => return Err(format!("$repeat needs [text, count], not {}", short(arg))),
            }
        }
        "$literal" => arg.clone(),
        _ => return Ok(None),
    };
    Ok(Some(replaced))
}

fn text_of<'a>(key: &str, arg: &'a Value) -> Result<&'a str, String> {
    arg.as_str().ok_or_else(|| format!("{key} needs a text, not {}", short(arg)))
}
