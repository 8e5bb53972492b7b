//! References and templates: values of a definition with `{{ path }}` in their texts.
//!
//! Unlike the `${…}` of rules, a text that is one template gives the value itself, arrays in a text are JSON, and
//! templates are found at any depth.
//! Source: the auth specification, section 8.3.

use noex_json::{
    CompactString, Object, Path, Value,
    size::{Allowance, TooBig},
    text_form, write_value,
};
use std::{borrow::Cow, collections::BTreeMap};

/// Place of a step's result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Slot(pub(crate) usize);

/// Names of results, each with its place; names that are only read have one too, which stays empty.
#[derive(Debug, Default)]
pub(crate) struct Names {
    slots: BTreeMap<CompactString, usize>,
}

impl Names {
    pub(crate) fn slot(&mut self, name: &str) -> Slot {
        let next = self.slots.len();
        Slot(*self.slots.entry(name.into()).or_insert(next))
    }

    /// Lists the names by place.
    pub(crate) fn into_list(self) -> Vec<CompactString> {
        let mut list: Vec<_> = self.slots.into_iter().collect();
        list.sort_by_key(|(_, slot)| *slot);
        list.into_iter().map(|(name, _)| name).collect()
    }
}

/// What references of one call can see.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) input: Value,
    pub(crate) results: Vec<Option<Value>>,
}

impl Scope {
    /// Gives the value of a reference; `None` = undefined.
    pub(crate) fn get(&self, reference: &Reference) -> Option<Cow<'_, Value>> {
        let root = match reference.root {
            Root::Input => &self.input,
            Root::Result(slot) => self.result(slot)?,
        };
        reference.path.get(root)
    }

    pub(crate) fn result(&self, slot: Slot) -> Option<&Value> {
        self.results.get(slot.0)?.as_ref()
    }
}

/// A compiled path from the input or a result.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    root: Root,
    path: Path,
}

#[derive(Clone, Copy, Debug)]
enum Root {
    Input,
    Result(Slot),
}

impl Reference {
    pub(crate) fn parse(text: &str, names: &mut Names) -> Self {
        let (first, path) = match trim(text).split_once('.') {
            Some((first, rest)) => (first, Path::parse(rest)),
            None => (trim(text), Path::root()),
        };
        let root = if first == "input" { Root::Input } else { Root::Result(names.slot(first)) };
        Self { root, path }
    }
}

/// A compiled value of a definition.
#[derive(Clone, Debug)]
pub(crate) enum Template {
    /// There is no template in it.
    Literal(Value),
    /// A text that is one template.
    Reference(Reference),
    /// A text with templates.
    Text(Vec<Piece>),
    Array(Vec<Template>),
    Object(Vec<(CompactString, Template)>),
}

#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Literal(CompactString),
    Reference(Reference),
}

impl Template {
    /// Compiles a value; every value is one. Recursion depth is the depth of the value.
    pub(crate) fn compile(value: &Value, names: &mut Names) -> Self {
        match value {
            Value::String(text) => Self::text(text, names).unwrap_or_else(|| Self::Literal(value.clone())),
            Value::Array(items) => {
                let parts: Vec<_> = items.iter().map(|item| Self::compile(item, names)).collect();
                if parts.iter().all(Self::is_literal) {
                    Self::Literal(value.clone())
                } else {
                    Self::Array(parts)
                }
            }
            Value::Object(members) => {
                let parts: Vec<_> = members
                    .iter()
                    .map(|(name, member)| (name.clone(), Self::compile(member, names)))
                    .collect();
                if parts.iter().all(|(_, part)| part.is_literal()) {
                    Self::Literal(value.clone())
                } else {
                    Self::Object(parts)
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Literal(value.clone()),
        }
    }

    pub(crate) fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }

    /// Compiles a text; `None` if there is no template in it.
    fn text(text: &str, names: &mut Names) -> Option<Self> {
        let mut pieces = Vec::new();
        let (mut from, mut at) = (0, 0);
        while let Some(start) = find(text, at, "{{") {
            let Some(end) = find(text, start + 2, "}") else { break };
            if end == start + 2 || !text.get(end + 1..).is_some_and(|rest| rest.starts_with('}')) {
                at = end + 1;
                continue;
            }
            if from < start {
                pieces.push(Piece::Literal(text.get(from..start)?.into()));
            }
            pieces.push(Piece::Reference(Reference::parse(text.get(start + 2..end)?, names)));
            (from, at) = (end + 2, end + 2);
        }
        if from == 0 {
            return None;
        }
        if from < text.len() {
            pieces.push(Piece::Literal(text.get(from..)?.into()));
        }
        Some(match pieces.as_slice() {
            [Piece::Reference(only)] => Self::Reference(only.clone()),
            _ => Self::Text(pieces),
        })
    }

    /// Gives the value; `None` = undefined. What it takes is paid from `room`.
    pub(crate) fn resolve(
        &self,
        scope: &Scope,
        room: &mut Allowance,
        depth_max: usize,
    ) -> Result<Option<Value>, TooBig> {
        match self {
            Self::Literal(value) => {
                room.take(value, depth_max)?;
                Ok(Some(value.clone()))
            }
            Self::Reference(reference) => {
                let Some(value) = scope.get(reference) else { return Ok(None) };
                room.take(&value, depth_max)?;
                Ok(Some(value.into_owned()))
            }
            Self::Text(pieces) => expand(pieces, scope, room).map(Some),
            Self::Array(items) => {
                let depth_max = depth_max.checked_sub(1).ok_or(TooBig::Depth)?;
                room.spend(items.len().saturating_mul(size_of::<Value>()))?;
                let resolve = |item: &Self| Ok(item.resolve(scope, room, depth_max)?.unwrap_or_default());
                Ok(Some(Value::Array(items.iter().map(resolve).collect::<Result<_, _>>()?)))
            }
            Self::Object(members) => {
                let resolved = resolve_members(members, scope, room, depth_max)?;
                let present = resolved.into_iter().filter_map(|(name, value)| Some((name, value?)));
                Ok(Some(Value::from(present.collect::<Object>())))
            }
        }
    }

    /// As [`Template::resolve`], but members of an object are given one by one, undefined ones too. The outer `None`:
    /// the value is no object.
    pub(crate) fn members(
        &self,
        scope: &Scope,
        room: &mut Allowance,
        depth_max: usize,
    ) -> Result<Option<Members>, TooBig> {
        if let Self::Object(members) = self {
            return resolve_members(members, scope, room, depth_max).map(Some);
        }
        Ok(match self.resolve(scope, room, depth_max)? {
            Some(Value::Object(members)) => {
                Some(members.into_iter().map(|(name, value)| (name, Some(value))).collect())
            }
            _ => None,
        })
    }

    /// As [`Template::resolve`], for what is an object in the definition and so stays one.
    pub(crate) fn object(
        &self,
        scope: &Scope,
        room: &mut Allowance,
        depth_max: usize,
    ) -> Result<Object, TooBig> {
        Ok(match self.resolve(scope, room, depth_max)? {
            Some(Value::Object(members)) => *members,
            _ => Object::new(),
        })
    }
}

/// Members of an object, some of them undefined.
pub(crate) type Members = Vec<(CompactString, Option<Value>)>;

fn resolve_members(
    members: &[(CompactString, Template)],
    scope: &Scope,
    room: &mut Allowance,
    depth_max: usize,
) -> Result<Members, TooBig> {
    let depth_max = depth_max.checked_sub(1).ok_or(TooBig::Depth)?;
    let mut resolved = Vec::with_capacity(members.len());
    for (name, member) in members {
        room.spend(size_of::<Value>() + 24 + name.len())?;
        resolved.push((name.clone(), member.resolve(scope, room, depth_max)?));
    }
    Ok(resolved)
}

fn expand(pieces: &[Piece], scope: &Scope, room: &mut Allowance) -> Result<Value, TooBig> {
    let mut text = String::new();
    for piece in pieces {
        let before = text.len();
        match piece {
            Piece::Literal(literal) => text.push_str(literal),
            Piece::Reference(reference) => match scope.get(reference).as_deref() {
                None | Some(Value::Null) => {}
                Some(value @ (Value::Array(_) | Value::Object(_))) => write_value(&mut text, value),
                value => text.push_str(&text_form(value)),
            },
        }
        room.spend(text.len() - before)?;
    }
    Ok(Value::String(text.into()))
}

fn find(text: &str, from: usize, what: &str) -> Option<usize> {
    text.get(from..)?.find(what).map(|at| from + at)
}

/// Takes away what ECMAScript counts as blank.
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| (c.is_whitespace() && c != '\u{85}') || c == '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use noex_json::parse;
    use proptest::prelude::*;

    fn scope(names: &mut Names) -> Scope {
        let value = |text: &str| parse(text, 16).expect("valid");
        let slots = [("a", r#"{"b":[1,{"c":null}],"s":"t","n":1.5}"#), ("l", r#"[1,"x",null]"#), ("", "7")];
        let mut results = Vec::new();
        for (name, text) in slots {
            assert_eq!(names.slot(name).0, results.len());
            results.push(Some(value(text)));
        }
        Scope { input: value(r#"{"x":2,"o":{"y":true},"big":1e999,"z":-0}"#), results }
    }

    fn resolved(definition: &str) -> Option<String> {
        let mut names = Names::default();
        let scope = scope(&mut names);
        let template = Template::compile(&parse(definition, 16).expect("valid"), &mut names);
        template.resolve(&scope, &mut Allowance::new(10_000), 16).expect("fits").map(|value| value.to_json())
    }

    #[test]
    fn templates() {
        for (definition, expected) in [
            (r#""{{input.x}}""#, Some("2")),
            (r#""{{ input.x }}""#, Some("2")),
            (r#""{{\t input.o\n}}""#, Some(r#"{"y":true}"#)),
            (r#""{{input}}""#, Some(r#"{"x":2,"o":{"y":true},"big":null,"z":0}"#)),
            (r#""{{a.b.0}}""#, Some("1")),
            (r#""{{a.b.length}}""#, Some("2")),
            (r#""{{a.b.1.c}}""#, Some("null")),
            (r#""{{a.b.2}}""#, None),
            (r#""{{a.s.length}}""#, None),
            (r#""{{nowhere}}""#, None),
            (r#""{{nowhere.x.y}}""#, None),
            (r#"" {{input.x}}""#, Some("\" 2\"")),
            (r#""{{input.x}}{{input.x}}""#, Some("\"22\"")),
            (
                r#""<{{nowhere}}|{{a.b.1.c}}|{{l}}|{{input.o}}|{{a.n}}|{{input.big}}|{{input.z}}>""#,
                Some(r#""<||[1,\"x\",null]|{\"y\":true}|1.5|Infinity|0>""#),
            ),
            (r#""{{}}""#, Some(r#""{{}}""#)),
            (r#""{{ }}""#, Some("7")),
            (r#""{{input.x}""#, Some(r#""{{input.x}""#)),
            (r#""{{input.x} }""#, Some(r#""{{input.x} }""#)),
            (r#""{input.x}""#, Some(r#""{input.x}""#)),
            (r#""{{a}b}}{{input.x}}""#, Some(r#""{{a}b}}2""#)),
            (r#""{{{input.x}}}""#, Some(r#""}""#)),
            (r#""{{input.x}}}""#, Some(r#""2}""#)),
            (r#"["{{input.x}}","{{no}}",{"k":"{{no}}","m":["{{l.1}}"]}]"#, Some(r#"[2,null,{"m":["x"]}]"#)),
            (r#"{"{{input.x}}":1}"#, Some(r#"{"{{input.x}}":1}"#)),
            ("[1,{}]", Some("[1,{}]")),
        ] {
            assert_eq!(resolved(definition).as_deref(), expected, "{definition}");
        }
    }

    #[test]
    fn values_are_bounded_in_size_and_depth() {
        let mut names = Names::default();
        let scope = scope(&mut names);
        let mut compile = |text: &str| Template::compile(&parse(text, 16).expect("valid"), &mut names);
        for (definition, bytes, depth, expected) in [
            (r#""{{l}}{{l}}""#, 23, 1, Err(TooBig::Bytes)),
            (r#""{{l}}{{l}}""#, 24, 0, Ok(())),
            (r#"["{{a}}"]"#, 10_000, 4, Ok(())),
            (r#"["{{a}}"]"#, 10_000, 3, Err(TooBig::Depth)),
            (r#"{"x":"{{a}}"}"#, 10_000, 0, Err(TooBig::Depth)),
            (r#""long enough""#, 5, 1, Err(TooBig::Bytes)),
        ] {
            let outcome = compile(definition).resolve(&scope, &mut Allowance::new(bytes), depth);
            assert_eq!(outcome.map(|_| ()), expected, "{definition}");
        }
    }

    proptest! {
        /// A text without two opening braces is itself; nothing panics.
        #[test]
        fn texts(text in "[{} .a-c]{0,12}|(\\{\\{|\\}\\}|\\{|\\}|input|a\\.b|l|\\.| ){0,8}") {
            let mut names = Names::default();
            let scope = scope(&mut names);
            let template = Template::compile(&Value::from(text.as_str()), &mut names);
            let resolved = template.resolve(&scope, &mut Allowance::new(100_000), 16).expect("fits");
            if !text.contains("{{") || !text.contains("}}") {
                prop_assert_eq!(resolved.as_ref().and_then(Value::as_str), Some(text.as_str()));
            }
        }
    }
}
