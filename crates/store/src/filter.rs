//! Filters: compiled once, matched per record.
//!
//! Compiling refuses ill-formed operands, resolves parameters, and turns every condition into a test whose operand is
//! prepared: sets are sorted, texts lower-cased, numbers converted. A test of a scalar value allocates nothing.
//! Source: the store specification, section 9, decisions E-5, E-7, E-13 and E-17, defects D-3 and D-19.

mod compile;
mod demand;
mod params;
mod test;
#[cfg(test)]
mod tests;

use crate::error::StoreError;
use crate::members::Fields;
use noex_json::{CompactString, Object, Value};
use std::ops::Bound;
use test::Test;

pub(crate) use demand::{Demand, Edge, Point, Ranges};
pub(crate) use params::{Params, member as param, placeholders};

/// A compiled filter.
#[derive(Clone, Debug)]
pub struct Filter {
    root: Conjunction,
    unknown_operators: Vec<CompactString>,
}

/// A condition at the conjunctive top level of a filter that an index can answer.
///
/// A range covers all matching records only among values of its operands' type: a number also compares with booleans,
/// numeric texts and lists, a text also with what is no text. An index that holds other values of the field must not
/// use it. Texts are ordered by UTF-16 code units, as [`noex_json::utf16_cmp`] does, and `-0` equals `0`.
#[derive(Clone, Debug)]
pub enum IndexableCondition<'a> {
    /// Field is identical to one of these scalars (`null` is never indexed).
    OneOf(&'a str, &'a [Value]),
    /// Field compares within the bounds, which are both numbers or both strings.
    Range(&'a str, Bound<&'a Value>, Bound<&'a Value>),
}

/// Conditions of which all must hold.
#[derive(Clone, Debug, Default)]
struct Conjunction {
    conditions: Vec<Condition>,
    /// Whether one of the conditions cannot hold.
    never: bool,
}

#[derive(Clone, Debug)]
enum Condition {
    /// All tests hold for the value of a member.
    Member { name: CompactString, tests: Vec<Test> },
    /// At least one of these holds; none is trivial.
    Any(Vec<Conjunction>),
}

impl Filter {
    /// Compiles a filter without parameters. Unknown operators are ignored and remembered, or refused if `strict`.
    ///
    /// # Errors
    /// [`StoreError::InvalidFilter`].
    pub fn compile(filter: &Object, strict: bool) -> Result<Self, StoreError> {
        compile::filter(filter, &Params::Literal, strict)
    }

    /// Compiles a filter in which strings may stand for parameters.
    pub(crate) fn compile_with(
        filter: &Object,
        params: &Params<'_>,
        strict: bool,
    ) -> Result<Self, StoreError> {
        compile::filter(filter, params, strict)
    }

    /// Makes the filter that every record matches.
    #[must_use]
    pub fn all() -> Self {
        Self { root: Conjunction::default(), unknown_operators: Vec::new() }
    }

    /// Tells whether a record matches.
    #[must_use]
    pub fn matches(&self, record: &impl Fields) -> bool {
        self.root.matches(record)
    }

    /// Tells whether every record matches.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.root.is_all()
    }

    /// Tells whether no record can match.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.root.never
    }

    /// Lists conditions that all must hold and that an index may answer (looking through `$and`).
    #[must_use]
    pub fn indexable(&self) -> Vec<IndexableCondition<'_>> {
        let mut found = Vec::new();
        for condition in &self.root.conditions {
            if let Condition::Member { name, tests } = condition {
                found.extend(
                    tests.iter().filter_map(Test::values).map(|v| IndexableCondition::OneOf(name, v)),
                );
                found.extend(
                    test::ranges(tests).map(|(low, high)| IndexableCondition::Range(name, low, high)),
                );
            }
        }
        found
    }

    /// Lists necessary conditions by which an index of filters can find this one.
    pub(crate) fn demands(&self) -> Vec<Demand<'_>> {
        self.root.demands()
    }

    /// Lists the fields that the filter looks at.
    #[must_use]
    pub fn fields(&self) -> Vec<CompactString> {
        let mut fields = Vec::new();
        self.root.collect_fields(&mut fields);
        fields.sort_unstable();
        fields.dedup();
        fields
    }

    /// Lists operators that were ignored.
    #[must_use]
    pub fn unknown_operators(&self) -> &[CompactString] {
        &self.unknown_operators
    }
}

impl Conjunction {
    fn matches(&self, record: &impl Fields) -> bool {
        !self.never && self.conditions.iter().all(|condition| condition.matches(record))
    }

    fn is_all(&self) -> bool {
        !self.never && self.conditions.is_empty()
    }

    /// Adds the conditions of another conjunction.
    fn absorb(&mut self, other: Self) {
        self.never |= other.never;
        self.conditions.extend(other.conditions);
    }

    /// Adds an alternative of conjunctions, simplified.
    fn add_any(&mut self, mut branches: Vec<Self>) {
        if branches.iter().any(Self::is_all) {
            return;
        }
        branches.retain(|branch| !branch.never);
        if branches.len() > 1 {
            self.conditions.push(Condition::Any(branches));
        } else if let Some(only) = branches.pop() {
            self.absorb(only);
        } else {
            self.never = true;
        }
    }

    fn collect_fields(&self, fields: &mut Vec<CompactString>) {
        for condition in &self.conditions {
            match condition {
                Condition::Member { name, .. } => fields.push(name.clone()),
                Condition::Any(branches) => branches.iter().for_each(|branch| branch.collect_fields(fields)),
            }
        }
    }
}

impl Condition {
    fn matches(&self, record: &impl Fields) -> bool {
        match self {
            Self::Member { name, tests } => {
                let value = record.get(name);
                tests.iter().all(|test| test.holds(value))
            }
            Self::Any(branches) => branches.iter().any(|branch| branch.matches(record)),
        }
    }
}
