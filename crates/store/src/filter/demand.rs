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

/// Closed ranges in which a value must lie: by its text if it compares as text, or by its number. Open ends of the
/// conditions are widened to closed ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ranges {
    /// From and to; `None` = no number will do.
    pub(crate) numbers: Option<(Real, Real)>,
    /// From and to, where `None` = without end; `None` = no text will do.
    pub(crate) texts: Option<(Text, Option<Text>)>,
}

/// Where a value lies.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    /// Its number, if it is one.
    pub(crate) number: Option<Real>,
    /// Its text, if it compares as text.
    pub(crate) text: Option<Text>,
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
        Some(Self { number: Real::new(to_number(value)), text })
    }
}

impl Ranges {
    /// Tells whether the ranges have two ends each.
    pub(crate) fn is_bounded(&self) -> bool {
        let infinite = |number: Real| number.get().is_infinite();
        self.numbers.is_none_or(|(low, high)| !infinite(low) && !infinite(high))
            && self.texts.as_ref().is_none_or(|(low, high)| *low > Text::default() && high.is_some())
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
    let mut texts = (Text::default(), None);
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
                    limit_texts(&mut texts, *relation, Text::new(text));
                }
            },
            Test::StartsWith(prefix, beyond) => {
                has_text = true;
                texts_as_numbers.limit(Relation::Less, f64::NAN);
                limit_texts(&mut texts, Relation::Greater, Text::new(prefix.as_str()?));
                if let Some(beyond) = beyond.as_ref().and_then(Value::as_str) {
                    limit_texts(&mut texts, Relation::Less, Text::new(beyond));
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
    let is_empty = |(low, high): &(Text, Option<Text>)| high.as_ref().is_some_and(|high| high < low);
    has_text
        .then(|| Ranges { numbers: texts_as_numbers.range(), texts: Some(texts).filter(|t| !is_empty(t)) })
}

fn limit_texts((low, high): &mut (Text, Option<Text>), relation: Relation, text: Text) {
    match relation {
        Relation::Greater | Relation::GreaterOrEqual => *low = std::mem::take(low).max(text),
        Relation::Less | Relation::LessOrEqual => {
            *high = Some(high.take().map_or(text.clone(), |high| high.min(text)));
        }
    }
}

/// A range of numbers in the making.
struct Span {
    low: f64,
    high: f64,
    never: bool,
}

impl Default for Span {
    fn default() -> Self {
        Self { low: f64::NEG_INFINITY, high: f64::INFINITY, never: false }
    }
}

impl Span {
    fn limit(&mut self, relation: Relation, number: f64) {
        // Nothing compares with NaN.
        self.never |= number.is_nan();
        match relation {
            Relation::Greater | Relation::GreaterOrEqual => self.low = self.low.max(number),
            Relation::Less | Relation::LessOrEqual => self.high = self.high.min(number),
        }
    }

    fn range(&self) -> Option<(Real, Real)> {
        Real::new(self.low).zip(Real::new(self.high)).filter(|_| !self.never && self.low <= self.high)
    }
}
