//! From JSON to tests: the grammar of filters, and what is refused.

use super::{
    Condition, Conjunction, Filter,
    params::{Operand, Params},
    test::{self, Relation, Set, Test},
};
use crate::error::StoreError;
use noex_json::{CompactString, Object, Value, text_form};

/// Compiles a filter.
pub(super) fn filter<'a>(
    filter: &'a Object,
    params: &Params<'a>,
    strict: bool,
) -> Result<Filter, StoreError> {
    let mut compiler = Compiler { params: *params, strict, unknown_operators: Vec::new() };
    let root = compiler.conjunction(filter, 0)?;
    let mut unknown_operators = compiler.unknown_operators;
    unknown_operators.sort_unstable();
    unknown_operators.dedup();
    Ok(Filter { root, unknown_operators })
}

struct Compiler<'a> {
    params: Params<'a>,
    strict: bool,
    unknown_operators: Vec<CompactString>,
}

/// Outcome of one operator.
enum Demand {
    /// Holds for every record.
    Always,
    /// Holds for none.
    Never,
    Test(Test),
    Both(Test, Test),
}

impl<'a> Compiler<'a> {
    fn conjunction(&mut self, filter: &'a Object, depth: usize) -> Result<Conjunction, StoreError> {
        if depth > DEPTH_MAX {
            return Err(invalid(format!("$or and $and must not be nested deeper than {DEPTH_MAX}")));
        }
        let mut all = Conjunction::default();
        for (name, part) in filter.iter() {
            match name.as_str() {
                "$or" => {
                    if let Some(branches) = self.branches(name, part, depth)? {
                        all.add_any(branches);
                    }
                }
                "$and" => {
                    for branch in self.branches(name, part, depth)?.into_iter().flatten() {
                        all.absorb(branch);
                    }
                }
                _ => self.member(&mut all, name, part)?,
            }
        }
        Ok(all)
    }

    /// Compiles the filters of `$or` and `$and`; `None` = they are not known yet.
    fn branches(
        &mut self,
        name: &str,
        part: &'a Value,
        depth: usize,
    ) -> Result<Option<Vec<Conjunction>>, StoreError> {
        let wrong_type = || invalid(format!("{name} must be an array of objects"));
        let operand = self.params.resolve(part);
        if let Operand::Unknown = operand {
            return Ok(None);
        }
        let Some(Value::Array(items)) = operand.value() else { return Err(wrong_type()) };
        let mut branches = Vec::with_capacity(items.len());
        for item in items {
            let branch = match operand {
                Operand::Param { operators, .. } => Operand::Param { value: item, operators },
                Operand::Literal(_) | Operand::Missing | Operand::Unknown => self.params.resolve(item),
            };
            branches.push(match branch {
                Operand::Literal(Value::Object(filter)) => self.conjunction(filter, depth + 1)?,
                Operand::Param { value: Value::Object(filter), operators: true } => {
                    self.verbatim(|compiler| compiler.conjunction(filter, depth + 1))?
                }
                // As a plain value it matches nothing.
                Operand::Param { value: Value::Object(_), operators: false } => {
                    Conjunction { never: true, ..Conjunction::default() }
                }
                Operand::Unknown => Conjunction::default(),
                Operand::Literal(_) | Operand::Param { .. } | Operand::Missing => return Err(wrong_type()),
            });
        }
        Ok(Some(branches))
    }

    /// Compiles a part that came from a parameter, in which strings are only strings.
    fn verbatim<T>(&mut self, compile: impl FnOnce(&mut Self) -> T) -> T {
        let params = std::mem::replace(&mut self.params, Params::Literal);
        let compiled = compile(self);
        self.params = params;
        compiled
    }

    /// Compiles the condition of one member.
    fn member(
        &mut self,
        all: &mut Conjunction,
        name: &CompactString,
        part: &'a Value,
    ) -> Result<(), StoreError> {
        let tests = match self.params.resolve(part) {
            Operand::Unknown => return Ok(()),
            Operand::Literal(Value::Object(operators)) if is_operators(operators) => {
                self.operators(name, operators)?
            }
            Operand::Param { value: Value::Object(operators), operators: true }
                if is_operators(operators) =>
            {
                self.verbatim(|compiler| compiler.operators(name, operators))?
            }
            plain @ (Operand::Literal(_) | Operand::Param { .. } | Operand::Missing) => {
                Demand::within(Set::new([plain.value()])).collect(Some(Vec::new()))
            }
        };
        match tests {
            None => all.never = true,
            Some(tests) if tests.is_empty() => {}
            Some(tests) => all.conditions.push(Condition::Member { name: name.clone(), tests }),
        }
        Ok(())
    }

    /// Compiles an operator object; `None` = it cannot hold.
    fn operators(&mut self, name: &str, operators: &'a Object) -> Result<Option<Vec<Test>>, StoreError> {
        let mut tests = Some(Vec::new());
        for (operator, part) in operators.iter() {
            tests = self.operator(name, operator, self.params.resolve(part))?.collect(tests);
        }
        Ok(tests)
    }

    fn operator(&mut self, name: &str, operator: &str, operand: Operand<'a>) -> Result<Demand, StoreError> {
        if !OPERATORS.contains(&operator) {
            if self.strict {
                return Err(invalid(format!("unknown operator \"{operator}\" of \"{name}\"")));
            }
            self.unknown_operators.push(operator.into());
            return Ok(Demand::Always);
        }
        // An operator whose operand is missing is switched off.
        let Some(value) = operand.value() else { return Ok(Demand::Always) };
        let wrong_type = |expected: &str| invalid(format!("{operator} of \"{name}\" must be {expected}"));
        let compare = |relation| Demand::Test(Test::Compare(relation, test::Operand::new(value)));
        Ok(match operator {
            "$eq" => Demand::within(Set::new([Some(value)])),
            "$neq" => Demand::without(Set::new([Some(value)])),
            "$gt" => compare(Relation::Greater),
            "$gte" => compare(Relation::GreaterOrEqual),
            "$lt" => compare(Relation::Less),
            "$lte" => compare(Relation::LessOrEqual),
            "$in" | "$nin" => {
                let items = self.items(operand).ok_or_else(|| wrong_type("an array"))?;
                let set = Set::new(items.into_iter().map(Operand::value));
                if operator == "$in" { Demand::within(set) } else { Demand::without(set) }
            }
            "$between" => between(&self.items(operand).ok_or_else(|| wrong_type("an array"))?),
            "$contains" => {
                let text = value.as_str().ok_or_else(|| wrong_type("a string"))?;
                Demand::Test(Test::Contains(text.to_lowercase()))
            }
            "$startsWith" => Demand::Test(Test::starts_with(text_form(Some(value)).into())),
            "$endsWith" => Demand::Test(Test::EndsWith(text_form(Some(value)).into())),
            "$exists" => match value {
                Value::Bool(true) => Demand::Test(Test::Exists),
                Value::Bool(false) => Demand::Test(Test::Missing),
                Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                    Demand::Never
                }
            },
            _ => Demand::Always,
        })
    }

    /// Gives the elements of an operand, each with its parameter filled in; `None` if it is no array.
    fn items(&self, operand: Operand<'a>) -> Option<Vec<Operand<'a>>> {
        let items = operand.value()?.as_array()?;
        Some(match operand {
            Operand::Param { .. } => items.iter().map(Operand::Literal).collect(),
            Operand::Literal(_) | Operand::Missing | Operand::Unknown => {
                items.iter().map(|item| self.params.resolve(item)).collect()
            }
        })
    }
}

impl Demand {
    fn within(set: Set) -> Self {
        if set.is_empty() { Self::Never } else { Self::Test(Test::In(set)) }
    }

    fn without(set: Set) -> Self {
        if set.is_empty() { Self::Always } else { Self::Test(Test::NotIn(set)) }
    }

    /// Adds the demand to tests; `None` = they cannot hold.
    fn collect(self, tests: Option<Vec<Test>>) -> Option<Vec<Test>> {
        let mut tests = tests?;
        match self {
            Self::Always => {}
            Self::Never => return None,
            Self::Test(test) => tests.push(test),
            Self::Both(first, second) => tests.extend([first, second]),
        }
        Some(tests)
    }
}

/// Tells whether an object is a set of operators rather than a plain value.
fn is_operators(object: &Object) -> bool {
    !object.is_empty() && object.iter().all(|(name, _)| name.starts_with('$'))
}

/// `$between`: a missing bound makes it false.
fn between(bounds: &[Operand<'_>]) -> Demand {
    let (Some(low), Some(high)) = (bounds.first(), bounds.get(1)) else { return Demand::Never };
    match (low.value(), high.value()) {
        (Some(low), Some(high)) => Demand::Both(
            Test::Compare(Relation::GreaterOrEqual, test::Operand::new(low)),
            Test::Compare(Relation::LessOrEqual, test::Operand::new(high)),
        ),
        _ => Demand::Never,
    }
}

fn invalid(what: String) -> StoreError {
    StoreError::InvalidFilter(what)
}

const OPERATORS: [&str; 13] = [
    "$eq",
    "$neq",
    "$gt",
    "$gte",
    "$lt",
    "$lte",
    "$in",
    "$nin",
    "$contains",
    "$startsWith",
    "$endsWith",
    "$exists",
    "$between",
];

/// Levels of `$or` and `$and`, which bounds the recursion of every match.
const DEPTH_MAX: usize = 256;
