//! Filters of reads, with templates in them.
//!
//! Undefined values mean what missing parameters of a query mean: as a plain value, that the member is absent; as an
//! operand, that there is no such operator. An object that a template brings into a condition is no set of operators,
//! or a caller's input could turn `owner = me` into `owner = anybody`.
//! Source: the store specification, section 9.3 and decision E-7.

use crate::template::{Scope, Template};
use noex_json::{
    CompactString, Object, Value,
    size::{Allowance, TooBig},
};

/// A compiled filter.
#[derive(Clone, Debug)]
pub(crate) struct Filter(Vec<(CompactString, Member)>);

#[derive(Clone, Debug)]
enum Member {
    /// A set of operators, or anything without a template.
    Plain(Template),
    /// A value that templates bring.
    Value(Template),
    /// `$or` and `$and`.
    Branches(Vec<Filter>),
}

/// Resolves one filter.
pub(crate) struct Resolver<'a> {
    pub(crate) scope: &'a Scope,
    pub(crate) room: &'a mut Allowance,
    pub(crate) depth_max: usize,
    pub(crate) operators_in_values: bool,
}

impl Filter {
    /// Arranges what was compiled from an object.
    pub(crate) fn new(template: Template) -> Self {
        Self(match template {
            Template::Object(members) => {
                members.into_iter().map(|(name, part)| (name.clone(), member(&name, part))).collect()
            }
            Template::Literal(Value::Object(members)) => members
                .into_iter()
                .map(|(name, value)| (name, Member::Plain(Template::Literal(value))))
                .collect(),
            // Filters are objects, see the parser.
            Template::Literal(_) | Template::Reference(_) | Template::Text(_) | Template::Array(_) => {
                Vec::new()
            }
        })
    }

    pub(crate) fn resolve(&self, with: &mut Resolver<'_>) -> Result<Object, TooBig> {
        let mut filter = Vec::with_capacity(self.0.len());
        for (name, member) in &self.0 {
            with.room.spend(size_of::<Value>() + 24 + name.len())?;
            if let Some(condition) = member.resolve(with)? {
                filter.push((name.clone(), condition));
            }
        }
        Ok(filter.into_iter().collect())
    }
}

fn member(name: &str, part: Template) -> Member {
    let joins = name == "$or" || name == "$and";
    let is_operator = |(name, _): &(CompactString, Template)| name.starts_with('$');
    match part {
        // A branch that is no object in the definition is handed to the store as it is, which refuses it.
        Template::Array(branches) if joins && branches.iter().all(is_object) => {
            Member::Branches(branches.into_iter().map(Filter::new).collect())
        }
        Template::Object(members) if joins || members.iter().all(is_operator) => {
            Member::Plain(Template::Object(members))
        }
        Template::Literal(_) => Member::Plain(part),
        Template::Reference(_) | Template::Text(_) | Template::Array(_) | Template::Object(_) => {
            if joins {
                Member::Plain(part)
            } else {
                Member::Value(part)
            }
        }
    }
}

fn is_object(template: &Template) -> bool {
    matches!(template, Template::Object(_) | Template::Literal(Value::Object(_)))
}

impl Member {
    /// Gives the condition; `None` = there is none.
    fn resolve(&self, with: &mut Resolver<'_>) -> Result<Option<Value>, TooBig> {
        match self {
            Self::Plain(template) => {
                let resolved = template.resolve(with.scope, with.room, with.depth_max)?;
                // Operators whose operands are all undefined.
                let vanished = !template.is_literal()
                    && resolved.as_ref().and_then(Value::as_object).is_some_and(Object::is_empty);
                Ok(resolved.filter(|_| !vanished))
            }
            Self::Value(template) => {
                Ok(Some(match template.resolve(with.scope, with.room, with.depth_max)? {
                    None => absent(),
                    Some(Value::Object(_)) if !with.operators_in_values => Object::new().into(),
                    Some(value) => value,
                }))
            }
            Self::Branches(branches) => {
                let branches = branches.iter().map(|branch| branch.resolve(with).map(Value::from));
                Ok(Some(Value::Array(branches.collect::<Result<_, _>>()?)))
            }
        }
    }
}

/// The condition that a member is absent: nullish, but not `null`.
fn absent() -> Value {
    let mut condition = Object::new();
    condition.set("$exists", false);
    condition.set("$neq", Value::Null);
    condition.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Names;
    use noex_json::parse;

    fn resolved(filter: &str, operators_in_values: bool) -> String {
        let input = parse(r#"{"n":1,"op":{"$gt":0},"list":[1]}"#, 8).expect("valid");
        let mut names = Names::default();
        let template = Template::compile(&parse(filter, 16).expect("valid"), &mut names);
        let scope = Scope { input, results: Vec::new() };
        let mut room = Allowance::new(10_000);
        let mut with = Resolver { scope: &scope, room: &mut room, depth_max: 16, operators_in_values };
        Value::from(Filter::new(template).resolve(&mut with).expect("fits")).to_json()
    }

    #[test]
    fn undefined_and_foreign_operators() {
        let absent = r#"{"$exists":false,"$neq":null}"#;
        for (filter, expected) in [
            (r#"{"a":1,"b":{"$gt":2}}"#, r#"{"a":1,"b":{"$gt":2}}"#.to_owned()),
            (r#"{"a":"{{input.n}}","b":"x{{input.n}}"}"#, r#"{"a":1,"b":"x1"}"#.to_owned()),
            (r#"{"a":"{{input.no}}"}"#, format!(r#"{{"a":{absent}}}"#)),
            (r#"{"a":"{{input.op}}"}"#, r#"{"a":{}}"#.to_owned()),
            (r#"{"a":{"$gte":"{{input.n}}","$lt":"{{input.no}}"}}"#, r#"{"a":{"$gte":1}}"#.to_owned()),
            (r#"{"a":{"$gte":"{{input.no}}"},"b":1}"#, r#"{"b":1}"#.to_owned()),
            (r#"{"a":{"$in":"{{input.list}}"}}"#, r#"{"a":{"$in":[1]}}"#.to_owned()),
            (
                r#"{"$or":[{"a":"{{input.no}}"},{"b":"{{input.op}}"},{"c":2}]}"#,
                format!(r#"{{"$or":[{{"a":{absent}}},{{"b":{{}}}},{{"c":2}}]}}"#),
            ),
            (r#"{"$and":[1,"{{input.n}}"]}"#, r#"{"$and":[1,1]}"#.to_owned()),
            (r#"{"a":{"x":"{{input.n}}"}}"#, r#"{"a":{}}"#.to_owned()),
        ] {
            assert_eq!(resolved(filter, false), expected, "{filter}");
        }
        assert_eq!(resolved(r#"{"a":"{{input.op}}"}"#, true), r#"{"a":{"$gt":0}}"#);
    }
}
