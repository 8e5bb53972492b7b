//! A matcher that follows the words of the specification and prepares nothing.

use noex_json::{Object, Value, identical, relational, text_form};
use std::cmp::Ordering;

/// How to read a filter: parameters (`None` = strings are only strings), and whether they may bring operators.
#[derive(Clone, Copy)]
pub(super) struct Naive<'a> {
    pub(super) params: Option<&'a Value>,
    pub(super) operators: bool,
}

const LITERAL: Naive<'_> = Naive { params: None, operators: false };

impl<'a> Naive<'a> {
    /// Gives the value after substitution (`None` = undefined), and whether it came from a parameter.
    fn fill(self, part: &'a Value) -> (Option<&'a Value>, bool) {
        let word = match (part, self.params) {
            (Value::String(text), Some(_)) => match text.as_str() {
                "{{ params.a }}" => "a",
                "{{params.b}}" => "b",
                "{{ params.c }}" => "c",
                _ => return (Some(part), false),
            },
            _ => return (Some(part), false),
        };
        (self.params.and_then(Value::as_object).and_then(|params| params.get(word)), true)
    }

    /// How to read what is inside a value.
    fn inside(self, from_params: bool) -> Self {
        if from_params { LITERAL } else { self }
    }

    pub(super) fn is_well_formed(self, filter: &'a Object) -> bool {
        filter.iter().all(|(name, part)| {
            let (part, from_params) = self.fill(part);
            let inside = self.inside(from_params);
            if matches!(name.as_str(), "$or" | "$and") {
                let Some(Value::Array(branches)) = part else { return false };
                return branches.iter().all(|branch| match inside.fill(branch) {
                    (Some(Value::Object(branch)), from_params) => {
                        let from_params = from_params || inside.params.is_none() && self.params.is_some();
                        (from_params && !self.operators) || self.inside(from_params).is_well_formed(branch)
                    }
                    _ => false,
                });
            }
            let Some(operators) = part.and_then(operators) else { return true };
            (from_params && !self.operators)
                || operators.iter().all(|(name, operand)| inside.operand_is_well_formed(name, operand))
        })
    }

    fn operand_is_well_formed(self, name: &str, operand: &'a Value) -> bool {
        match (name, self.fill(operand).0) {
            ("$in" | "$nin" | "$between", Some(operand)) => operand.as_array().is_some(),
            ("$contains", Some(operand)) => operand.as_str().is_some(),
            _ => true,
        }
    }

    pub(super) fn matches(self, filter: &'a Object, record: &Object) -> bool {
        filter.iter().all(|(name, part)| {
            let (part, from_params) = self.fill(part);
            let inside = self.inside(from_params);
            let branch = |branch: &'a Value| match inside.fill(branch) {
                (Some(Value::Object(branch)), from_params) => {
                    let from_params = from_params || inside.params.is_none() && self.params.is_some();
                    (!from_params || self.operators) && self.inside(from_params).matches(branch, record)
                }
                _ => false,
            };
            match (name.as_str(), part) {
                ("$or", Some(Value::Array(branches))) => branches.iter().any(branch),
                ("$and", Some(Value::Array(branches))) => branches.iter().all(branch),
                _ => {
                    let value = record.get(name);
                    match part.and_then(operators) {
                        Some(operators) if !from_params || self.operators => {
                            operators.iter().all(|(name, operand)| inside.holds(name, operand, value))
                        }
                        _ => identical(value, part),
                    }
                }
            }
        })
    }

    fn holds(self, name: &str, operand: &'a Value, value: Option<&Value>) -> bool {
        let (operand, from_params) = self.fill(operand);
        let Some(operand) = operand else { return true };
        let inside = self.inside(from_params);
        let element = |item: &'a Value| identical(inside.fill(item).0, value);
        let text = value.and_then(Value::as_str);
        match name {
            "$eq" => identical(value, Some(operand)),
            "$neq" => !identical(value, Some(operand)),
            "$gt" => compares(value, Some(operand), Ordering::is_gt),
            "$gte" => compares(value, Some(operand), Ordering::is_ge),
            "$lt" => compares(value, Some(operand), Ordering::is_lt),
            "$lte" => compares(value, Some(operand), Ordering::is_le),
            "$in" => operand.as_array().is_some_and(|items| items.iter().any(element)),
            "$nin" => !operand.as_array().is_some_and(|items| items.iter().any(element)),
            "$between" => {
                let bound = |at: usize| inside.fill(operand.as_array()?.get(at)?).0;
                compares(value, bound(0), Ordering::is_ge) && compares(value, bound(1), Ordering::is_le)
            }
            "$contains" => text.is_some_and(|text| {
                text.to_lowercase().contains(&operand.as_str().unwrap_or_default().to_lowercase())
            }),
            "$startsWith" => text.is_some_and(|text| text.starts_with(&text_form(Some(operand)))),
            "$endsWith" => text.is_some_and(|text| text.ends_with(&text_form(Some(operand)))),
            "$exists" => operand.as_bool() == Some(value.is_some_and(|value| !value.is_null())),
            _ => true,
        }
    }
}

fn operators(value: &Value) -> Option<&Object> {
    let object = value.as_object()?;
    (!object.is_empty() && object.iter().all(|(name, _)| name.starts_with('$'))).then_some(object)
}

fn compares(value: Option<&Value>, operand: Option<&Value>, holds: fn(Ordering) -> bool) -> bool {
    let (Some(value), Some(operand)) = (value, operand) else { return false };
    !value.is_null() && relational(value, operand).is_some_and(holds)
}
