//! The input schema of a procedure.
//!
//! Source: the auth specification, section 8.5.

use crate::{CallError, Procedure, error::Issues};
use noex_json::{CompactString, Object, Value};
use std::collections::BTreeMap;

/// Type of an input field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum InputType {
    String,
    Number,
    Boolean,
    Object,
    Array,
}

impl InputType {
    /// Names of all types, as the message about an unknown one lists them.
    pub(crate) const NAMES: &'static str = "string, number, boolean, object, array";

    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::String,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            "object" => Self::Object,
            "array" => Self::Array,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Object => "object",
            Self::Array => "array",
        }
    }
}

/// One field of an input schema.
#[derive(Clone, Debug)]
pub(crate) struct InputField {
    pub(crate) name: CompactString,
    pub(crate) kind: InputType,
    pub(crate) required: bool,
    pub(crate) default: Option<Value>,
}

impl Procedure {
    /// Checks the input of a call against the schema and fills in defaults. Absent input is an empty object; members
    /// that the schema does not name pass.
    ///
    /// # Errors
    /// [`CallError::InputNotObject`], [`CallError::Input`].
    pub fn check_input<E>(&self, input: Option<Value>) -> Result<Object, CallError<E>> {
        let mut input = match input {
            None | Some(Value::Null) => Object::new(),
            Some(Value::Object(input)) => *input,
            Some(_) => return Err(CallError::InputNotObject),
        };
        let mut issues = Issues::default();
        let mut defaults = Vec::new();
        // An object is searched linearly, and both can have very many members.
        let given: BTreeMap<&str, &Value> =
            input.iter().map(|(name, value)| (name.as_str(), value)).collect();
        for field in &self.input {
            match given.get(field.name.as_str()).filter(|value| !value.is_null()) {
                Some(value) if value.type_name() == field.kind.name() => {}
                Some(value) => {
                    let found = if value.as_array().is_some() { "object" } else { value.type_name() };
                    issues.push(format!(
                        "Input \"{}\": expected {}, got {found}",
                        field.name,
                        field.kind.name()
                    ));
                }
                None => match &field.default {
                    Some(default) => defaults.push((field.name.clone(), default.clone())),
                    None if field.required => {
                        issues.push(format!("Missing required input \"{}\"", field.name))
                    }
                    None => {}
                },
            }
        }
        issues.finish().map_err(CallError::Input)?;
        input.merge(defaults);
        Ok(input)
    }
}
