//! Aggregates and transformations over results. All are linear in the size of what they read and make.
//!
//! Source: the auth specification, section 8.2.

use crate::{
    step::{Function, Source, Transform},
    template::{Members, Scope, Template},
};
use noex_json::{
    Object, Value, identical,
    size::{Allowance, TooBig},
};
use std::collections::BTreeMap;

/// What transformations work with.
pub(crate) struct Context<'a> {
    pub(crate) scope: &'a Scope,
    pub(crate) room: &'a mut Allowance,
    pub(crate) depth_max: usize,
}

/// Why a transformation failed.
pub(crate) enum Failure {
    /// It cannot be done with these values; the complete message.
    Wrong(String),
    TooBig(TooBig),
}

impl From<TooBig> for Failure {
    fn from(error: TooBig) -> Self {
        Self::TooBig(error)
    }
}

/// Computes an aggregate; without elements, or without numbers to compare, it is 0.
pub(crate) fn aggregate(
    function: Function,
    source: &Source,
    field: Option<&str>,
    value: Option<&Value>,
) -> Result<f64, String> {
    let Some(items) = value.and_then(Value::as_array) else {
        return Err(format!("aggregate: source \"{}\" is not an array", source.name));
    };
    let number = |item: &Value| item.as_object()?.get(field?)?.as_number();
    let numbers = || items.iter().filter_map(number);
    #[expect(clippy::cast_precision_loss, reason = "no array is that long")]
    let count = items.len() as f64;
    Ok(match function {
        Function::Count => count,
        // From positive zero: an empty sum of an iterator is a negative one.
        Function::Sum => numbers().fold(0.0, |sum, n| sum + n),
        Function::Avg if items.is_empty() => 0.0,
        Function::Avg => numbers().fold(0.0, |sum, n| sum + n) / count,
        Function::Min => numbers().reduce(f64::min).unwrap_or(0.0),
        Function::Max => numbers().reduce(f64::max).unwrap_or(0.0),
    })
}

/// Makes a new value of a result.
pub(crate) fn transform(
    transform: Transform,
    source: &Source,
    args: &Template,
    with: &mut Context<'_>,
) -> Result<Value, Failure> {
    let name = transform.name();
    let value = with.scope.result(source.slot);
    let wrong_source =
        |what: &str| Failure::Wrong(format!("transform.{name}: source \"{}\" is not {what}", source.name));
    let wrong_args = |what: &str| Failure::Wrong(format!("transform.{name}: args is not {what}"));
    if transform == Transform::Pick {
        let object = value.and_then(Value::as_object).ok_or_else(|| wrong_source("an object"))?;
        let names = literal(args).and_then(Value::as_array).ok_or_else(|| wrong_args("an array"))?;
        return pick(object, names, with);
    }
    let items = value.and_then(Value::as_array).ok_or_else(|| wrong_source("an array"))?;
    if transform == Transform::Pluck {
        let field = literal(args).and_then(Value::as_str).ok_or_else(|| wrong_args("a string"))?;
        return pluck(items, field, with);
    }
    let args = args.members(with.scope, with.room, with.depth_max)?;
    let args = args.ok_or_else(|| wrong_args("an object"))?;
    if transform == Transform::Filter { filter(items, &args, with) } else { map(items, &args, with) }
}

fn literal(args: &Template) -> Option<&Value> {
    if let Template::Literal(value) = args { Some(value) } else { None }
}

fn pick(object: &Object, names: &[Value], with: &mut Context<'_>) -> Result<Value, Failure> {
    let members: BTreeMap<&str, &Value> = object.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let mut picked = Vec::new();
    for name in names.iter().filter_map(Value::as_str) {
        if let Some(value) = members.get(name) {
            with.room.spend(size_of::<Value>() + 24 + name.len())?;
            with.room.take(value, with.depth_max)?;
            picked.push((name.into(), (*value).clone()));
        }
    }
    Ok(Value::from(picked.into_iter().collect::<Object>()))
}

fn pluck(items: &[Value], field: &str, with: &mut Context<'_>) -> Result<Value, Failure> {
    let mut plucked = Vec::new();
    for item in items {
        let value = item.as_object().and_then(|object| object.get(field));
        plucked.push(copied(value.unwrap_or(&Value::Null), with)?);
    }
    Ok(Value::from(plucked))
}

/// Keeps the objects whose members are identical to all of `args`, undefined ones being absent.
fn filter(items: &[Value], args: &Members, with: &mut Context<'_>) -> Result<Value, Failure> {
    let wanted: BTreeMap<&str, Option<&Value>> =
        args.iter().map(|(name, value)| (name.as_str(), value.as_ref())).collect();
    let present = wanted.values().flatten().count();
    let matches = |object: &Object| {
        let mut equal = 0;
        for (name, value) in object.iter() {
            match wanted.get(name.as_str()) {
                None => {}
                Some(wanted) if identical(*wanted, Some(value)) => equal += 1,
                Some(_) => return false,
            }
        }
        equal == present
    };
    let mut kept = Vec::new();
    for item in items.iter().filter(|item| item.as_object().is_some_and(matches)) {
        kept.push(copied(item, with)?);
    }
    Ok(Value::from(kept))
}

/// Puts `args` over every object; undefined ones take a member away. Other elements stay as they are.
fn map(items: &[Value], args: &Members, with: &mut Context<'_>) -> Result<Value, Failure> {
    let over: BTreeMap<&str, bool> =
        args.iter().map(|(name, value)| (name.as_str(), value.is_some())).collect();
    let inner = with.depth_max.saturating_sub(2);
    let mut mapped = Vec::new();
    for item in items {
        let Some(object) = item.as_object() else {
            mapped.push(copied(item, with)?);
            continue;
        };
        let mut members = Vec::with_capacity(object.len() + args.len());
        for (name, value) in object.iter() {
            if over.get(name.as_str()) != Some(&false) {
                with.room.take(value, with.depth_max)?;
                members.push((name.clone(), value.clone()));
            }
        }
        for (name, value) in args {
            if let Some(value) = value {
                with.room.spend(size_of::<Value>() + 24 + name.len())?;
                with.room.take(value, inner)?;
                members.push((name.clone(), value.clone()));
            }
        }
        with.room.spend(size_of::<Value>() + object.len().saturating_mul(size_of::<Value>() + 24))?;
        mapped.push(Value::from(members.into_iter().collect::<Object>()));
    }
    Ok(Value::from(mapped))
}

/// Copies an element of an array.
fn copied(value: &Value, with: &mut Context<'_>) -> Result<Value, TooBig> {
    with.room.spend(size_of::<Value>())?;
    with.room.take(value, with.depth_max)?;
    Ok(value.clone())
}
