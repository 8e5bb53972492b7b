//! Conditions of `if` steps.
//!
//! Source: the auth specification, section 8.4; comparison of mixed types: the store specification, section 2.4.

use crate::template::{Reference, Scope, Template};
use noex_json::{
    Value, identical, relational,
    size::{Allowance, TooBig},
};
use std::cmp::Ordering;

/// How two values are compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Operator {
    Eq,
    Neq,
    Gt,
    Gte,
    Lt,
    Lte,
    Exists,
    NotExists,
}

impl Operator {
    /// Names of all operators, as the message about an unknown one lists them.
    pub(crate) const NAMES: &'static str = "eq, neq, gt, gte, lt, lte, exists, not_exists";

    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "eq" => Self::Eq,
            "neq" => Self::Neq,
            "gt" => Self::Gt,
            "gte" => Self::Gte,
            "lt" => Self::Lt,
            "lte" => Self::Lte,
            "exists" => Self::Exists,
            "not_exists" => Self::NotExists,
            _ => return None,
        })
    }

    fn holds(self, left: Option<&Value>, right: Option<&Value>) -> bool {
        // What is absent compares as no number does.
        let order = || relational(left?, right?);
        match self {
            Self::Eq => identical(left, right),
            Self::Neq => !identical(left, right),
            Self::Gt => order() == Some(Ordering::Greater),
            Self::Gte => order().is_some_and(Ordering::is_ge),
            Self::Lt => order() == Some(Ordering::Less),
            Self::Lte => order().is_some_and(Ordering::is_le),
            Self::Exists => left.is_some_and(|value| !value.is_null()),
            Self::NotExists => left.is_none_or(Value::is_null),
        }
    }
}

/// A compiled condition.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) reference: Reference,
    pub(crate) operator: Operator,
    pub(crate) value: Option<Template>,
}

impl Condition {
    pub(crate) fn holds(
        &self,
        scope: &Scope,
        room: &mut Allowance,
        depth_max: usize,
    ) -> Result<bool, TooBig> {
        let value = match &self.value {
            Some(template) => template.resolve(scope, room, depth_max)?,
            None => None,
        };
        Ok(self.operator.holds(scope.get(&self.reference).as_deref(), value.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use noex_json::parse;

    #[test]
    fn operators() {
        for (left, operator, right, expected) in [
            ("1", "eq", "1", true),
            ("1", "eq", "\"1\"", false),
            ("null", "eq", "null", true),
            ("", "eq", "", true),
            ("", "eq", "null", false),
            ("{}", "eq", "{}", false),
            ("[]", "neq", "[]", true),
            ("1", "neq", "1", false),
            ("2", "gt", "10", false),
            ("\"2\"", "gt", "\"10\"", true),
            ("\"10\"", "gt", "9", true),
            ("\"x\"", "lt", "9", false),
            ("\"x\"", "gte", "9", false),
            ("true", "gte", "1", true),
            ("null", "lte", "0", true),
            ("", "lte", "0", false),
            ("", "gte", "", false),
            ("[3]", "lt", "4", true),
            ("\"\u{E000}\"", "gt", "\"\u{10000}\"", true),
            ("0", "exists", "", true),
            ("false", "exists", "", true),
            ("null", "exists", "", false),
            ("", "exists", "", false),
            ("null", "not_exists", "", true),
            ("0", "not_exists", "", false),
        ] {
            let value = |text: &str| (!text.is_empty()).then(|| parse(text, 8).expect("valid"));
            let holds = Operator::by_name(operator)
                .expect("known")
                .holds(value(left).as_ref(), value(right).as_ref());
            assert_eq!(holds, expected, "{left} {operator} {right}");
        }
        assert!(Operator::NAMES.split(", ").all(|name| Operator::by_name(name).is_some()));
    }
}
