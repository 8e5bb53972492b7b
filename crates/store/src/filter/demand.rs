//! What a filter demands of single fields, for predicate indexes: they find the filters that a record may match.
//!
//! Everything here is necessary for a match but not sufficient, so whoever finds a filter by its demands still tests
//! it in full.
//! Source: the store specification, sections 2.4 and C.2.

use super::{
    Condition, Conjunction,
    test::{Relation, Test},
};
use crate::key::{Real, Text};
use noex_json::{Value, text_form, to_number};

/// A necessary condition of a conjunction.
#[derive(Clone, Debug)]
pub(crate) enum Demand<'a> {
    /// A field is identical to one of these; `None` stands for absence.
    OneOf(&'a str, Vec<Option<&'a Value>>),
    /// A field lies within ranges.
    Within(&'a str, Ranges),
    /// All demands of one of these lists hold.
    Any(Vec<Vec<Demand<'a>>>),
}

/// Ranges in which a value must lie: by its text if it compares as text, or by its number.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ranges {
    /// From and to; `None` = no number will do.
    pub(crate) numbers: Option<(Edge<Real>, Edge<Real>)>,
    /// From and to, where `None` = without end; `None` = no text will do.
    pub(crate) texts: Option<(Edge<Text>, Option<Edge<Text>>)>,
}

/// An end of a range, or a point: directly before, at or directly behind a value. A range contains the points that are
/// not less than its first edge and not greater than its last one.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Edge<T>(T, Side);

#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
enum Side {
    Before,
    #[default]
    At,
    Behind,
}

impl<T> Edge<T> {
    /// Makes the point of a value, which is also the end of a range that includes it.
    pub(crate) fn at(value: T) -> Self {
        Self(value, Side::At)
    }

    fn new(relation: Relation, value: T) -> Self {
        let side = match relation {
            Relation::Greater => Side::Behind,
            Relation::Less => Side::Before,
            Relation::GreaterOrEqual | Relation::LessOrEqual => Side::At,
        };
        Self(value, side)
    }
}

/// Where a value lies.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    /// Its number, if it is one.
    pub(crate) number: Option<Edge<Real>>,
    /// Its text, if it compares as text.
    pub(crate) text: Option<Edge<Text>>,
}

impl Point {
    /// Locates a value; `None` if it lies within no range.
    pub(crate) fn of(value: Option<&Value>) -> Option<Self> {
        let value = value?;
        let text = match value {
            Value::Null => return None,
            Value::Bool(_) | Value::Number(_) => None,
            Value::String(text) => Some(Text::new(text)),
            Value::Array(_) | Value::Object(_) => Some(Text::new(&text_form(Some(value)))),
        };
        Some(Self { number: Real::new(to_number(value)).map(Edge::at), text: text.map(Edge::at) })
    }
}

impl Ranges {
    /// Tells whether the ranges have two ends each.
    pub(crate) fn is_bounded(&self) -> bool {
        let infinite = |edge: &Edge<Real>| edge.0.get().is_infinite();
        self.numbers.as_ref().is_none_or(|(low, high)| !infinite(low) && !infinite(high))
            && self.texts.as_ref().is_none_or(|(low, high)| *low > Edge::default() && high.is_some())
    }
}

impl Conjunction {
    /// Lists necessary conditions; a conjunction that cannot hold is the caller's business.
    pub(super) fn demands(&self) -> Vec<Demand<'_>> {
        let mut demands = Vec::new();
        for condition in &self.conditions {
            match condition {
                Condition::Member { name, tests } => {
                    demands.extend(
                        tests.iter().filter_map(Test::operands).map(|values| Demand::OneOf(name, values)),
                    );
                    demands.extend(ranges(tests).map(|ranges| Demand::Within(name, ranges)));
                }
                Condition::Any(branches) => {
                    demands.push(Demand::Any(branches.iter().map(Self::demands).collect()));
                }
            }
        }
        demands
    }
}

/// Intersects the ranges of all comparisons of one field; `None` if there is none.
fn ranges(tests: &[Test]) -> Option<Ranges> {
    // A text compares with a text operand as text and with any other as a number; everything else compares as a
    // number. So an operand that is no text limits all values by their numbers.
    let mut by_number = Span::default();
    let mut texts = (Edge::default(), None);
    let mut texts_as_numbers = Span::default();
    let (mut has_number, mut has_text) = (false, false);
    for test in tests {
        match test {
            Test::Compare(relation, operand) => match operand.text() {
                None => {
                    has_number = true;
                    by_number.limit(*relation, operand.number());
                }
                Some(text) => {
                    has_text = true;
                    texts_as_numbers.limit(*relation, operand.number());
                    limit_texts(&mut texts, *relation, text);
                }
            },
            Test::StartsWith(prefix, beyond) => {
                has_text = true;
                texts_as_numbers.never = true;
                limit_texts(&mut texts, Relation::GreaterOrEqual, prefix.as_str()?);
                if let Some(beyond) = beyond.as_ref().and_then(Value::as_str) {
                    limit_texts(&mut texts, Relation::Less, beyond);
                }
            }
            Test::In(_)
            | Test::NotIn(_)
            | Test::Contains(_)
            | Test::EndsWith(_)
            | Test::Exists
            | Test::Missing => {}
        }
    }
    if has_number {
        return Some(Ranges { numbers: by_number.range(), texts: None });
    }
    let texts = Some(texts).filter(|(low, high)| high.as_ref().is_none_or(|high| low <= high));
    has_text.then(|| Ranges { numbers: texts_as_numbers.range(), texts })
}

fn limit_texts((low, high): &mut (Edge<Text>, Option<Edge<Text>>), relation: Relation, text: &str) {
    let edge = Edge::new(relation, Text::new(text));
    match relation {
        Relation::Greater | Relation::GreaterOrEqual => *low = std::mem::take(low).max(edge),
        Relation::Less | Relation::LessOrEqual => {
            *high = Some(match high.take() {
                Some(high) => high.min(edge),
                None => edge,
            });
        }
    }
}

/// A range of numbers in the making.
#[derive(Default)]
struct Span {
    low: Option<Edge<Real>>,
    high: Option<Edge<Real>>,
    never: bool,
}

impl Span {
    fn limit(&mut self, relation: Relation, number: f64) {
        let Some(number) = Real::new(number) else {
            // Nothing compares with NaN.
            self.never = true;
            return;
        };
        let edge = Edge::new(relation, number);
        match relation {
            Relation::Greater | Relation::GreaterOrEqual => self.low = self.low.take().max(Some(edge)),
            Relation::Less | Relation::LessOrEqual => {
                self.high = Some(match self.high.take() {
                    Some(high) => high.min(edge),
                    None => edge,
                });
            }
        }
    }

    fn range(self) -> Option<(Edge<Real>, Edge<Real>)> {
        let infinite = |number: f64| Real::new(number).map(Edge::at);
        let low = self.low.or_else(|| infinite(f64::NEG_INFINITY))?;
        let high = self.high.or_else(|| infinite(f64::INFINITY))?;
        (!self.never && low <= high).then_some((low, high))
    }
}
