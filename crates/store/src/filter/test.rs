//! One test of one value, with its operand prepared.

use noex_json::{CompactString, Value, relational, text_form, to_number, utf16_cmp};
use std::{borrow::Cow, cmp::Ordering, ops::Bound};

/// What is demanded of the value of a member; absence is `None`.
#[derive(Clone, Debug)]
pub(super) enum Test {
    /// The value is identical to one of a set.
    In(Set),
    /// It is not.
    NotIn(Set),
    /// The value is not nullish and compares so.
    Compare(Relation, Operand),
    /// The value is a text that contains this one, which is in lower case.
    Contains(String),
    /// The value is a text that starts with the first one; the second, if any, is the least text beyond all those.
    StartsWith(Value, Option<Value>),
    /// The value is a text that ends so.
    EndsWith(CompactString),
    /// The value is not nullish.
    Exists,
    /// The value is nullish.
    Missing,
}

/// A relation of order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Relation {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// A set of values that can be identical to something.
#[derive(Clone, Debug, Default)]
pub(super) struct Set {
    /// Booleans, numbers and texts, sorted by [`scalar_order`], each once.
    scalars: Vec<Value>,
    null: bool,
    absent: bool,
}

/// The right side of a comparison, converted once.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    value: Value,
    /// Its text, if it compares as text with texts.
    text: Option<CompactString>,
    /// Its number.
    number: f64,
}

impl Test {
    /// Tells whether the test holds.
    pub(super) fn holds(&self, value: Option<&Value>) -> bool {
        match self {
            Self::In(set) => set.contains(value),
            Self::NotIn(set) => !set.contains(value),
            Self::Compare(relation, operand) => {
                present(value).is_some_and(|v| relation.holds(operand.compare(v)))
            }
            Self::Contains(lower) => text(value).is_some_and(|text| contains_ignoring_case(text, lower)),
            Self::StartsWith(prefix, _) => {
                text(value).zip(prefix.as_str()).is_some_and(|(text, prefix)| text.starts_with(prefix))
            }
            Self::EndsWith(suffix) => text(value).is_some_and(|text| text.ends_with(suffix.as_str())),
            Self::Exists => present(value).is_some(),
            Self::Missing => present(value).is_none(),
        }
    }

    /// Makes the test for a prefix.
    pub(super) fn starts_with(prefix: CompactString) -> Self {
        let beyond = beyond_prefix(&prefix).map(Value::String);
        Self::StartsWith(Value::String(prefix), beyond)
    }

    /// Gives the values of which the tested one must be one, if none of them is nullish.
    pub(super) fn values(&self) -> Option<&[Value]> {
        match self {
            Self::In(Set { scalars, null: false, absent: false }) => Some(scalars),
            Self::In(_)
            | Self::NotIn(_)
            | Self::Compare(..)
            | Self::Contains(_)
            | Self::StartsWith(..)
            | Self::EndsWith(_)
            | Self::Exists
            | Self::Missing => None,
        }
    }

    /// Gives the values of which the tested one must be one, `None` standing for absence.
    pub(super) fn operands(&self) -> Option<Vec<Option<&Value>>> {
        let Self::In(set) = self else { return None };
        let null = set.null.then_some(Some(&Value::Null));
        let absent = set.absent.then_some(None);
        Some(set.scalars.iter().map(Some).chain(null).chain(absent).collect())
    }

    /// Gives the bounds that the test sets to values of its operand's type.
    fn bounds(&self) -> Option<(Bound<&Value>, Bound<&Value>)> {
        let (relation, value) = match self {
            Self::Compare(relation, operand) => (*relation, &operand.value),
            Self::StartsWith(prefix, beyond) => {
                let beyond = beyond.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
                return Some((Bound::Included(prefix), beyond));
            }
            Self::In(_)
            | Self::NotIn(_)
            | Self::Contains(_)
            | Self::EndsWith(_)
            | Self::Exists
            | Self::Missing => {
                return None;
            }
        };
        if !matches!(value, Value::Number(_) | Value::String(_)) {
            return None;
        }
        Some(match relation {
            Relation::Greater => (Bound::Excluded(value), Bound::Unbounded),
            Relation::GreaterOrEqual => (Bound::Included(value), Bound::Unbounded),
            Relation::Less => (Bound::Unbounded, Bound::Excluded(value)),
            Relation::LessOrEqual => (Bound::Unbounded, Bound::Included(value)),
        })
    }
}

/// Joins the bounds of several tests of one member into at most one range of numbers and one of texts. Of several
/// bounds on one side the first counts; the others are left to the complete test.
pub(super) fn ranges(tests: &[Test]) -> impl Iterator<Item = (Bound<&Value>, Bound<&Value>)> {
    let mut numbers = (Bound::Unbounded, Bound::Unbounded);
    let mut texts = (Bound::Unbounded, Bound::Unbounded);
    for (low, high) in tests.iter().filter_map(Test::bounds) {
        let (Bound::Included(value) | Bound::Excluded(value)) =
            (if low == Bound::Unbounded { high } else { low })
        else {
            continue;
        };
        let range = if value.as_str().is_some() { &mut texts } else { &mut numbers };
        if range.0 == Bound::Unbounded {
            range.0 = low;
        }
        if range.1 == Bound::Unbounded {
            range.1 = high;
        }
    }
    [numbers, texts].into_iter().filter(|range| *range != (Bound::Unbounded, Bound::Unbounded))
}

impl Relation {
    fn holds(self, comparison: Option<Ordering>) -> bool {
        let Some(order) = comparison else { return false };
        match self {
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
        }
    }
}

impl Set {
    /// Collects operands; `None` stands for a parameter that is not given. Arrays and objects are identical to
    /// nothing and left out.
    pub(super) fn new<'a>(values: impl IntoIterator<Item = Option<&'a Value>>) -> Self {
        let mut set = Self::default();
        for value in values {
            match value {
                None => set.absent = true,
                Some(Value::Null) => set.null = true,
                Some(scalar @ (Value::Bool(_) | Value::Number(_) | Value::String(_))) => {
                    set.scalars.push(scalar.clone());
                }
                Some(Value::Array(_) | Value::Object(_)) => {}
            }
        }
        set.scalars.sort_unstable_by(scalar_order);
        set.scalars.dedup_by(|a, b| scalar_order(a, b).is_eq());
        set
    }

    pub(super) fn is_empty(&self) -> bool {
        self.scalars.is_empty() && !self.null && !self.absent
    }

    fn contains(&self, value: Option<&Value>) -> bool {
        match value {
            None => self.absent,
            Some(Value::Null) => self.null,
            Some(Value::Array(_) | Value::Object(_)) => false,
            Some(scalar @ (Value::Bool(_) | Value::Number(_) | Value::String(_))) => {
                self.scalars.binary_search_by(|candidate| scalar_order(candidate, scalar)).is_ok()
            }
        }
    }
}

/// Some total order of scalars in which exactly identical ones are equal.
fn scalar_order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        // No value is NaN: there is no way to write one.
        (Value::Number(a), Value::Number(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        _ => class(left).cmp(&class(right)),
    }
}

fn class(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}

impl Operand {
    pub(super) fn new(value: &Value) -> Self {
        let text = match value {
            Value::String(text) => Some(text.clone()),
            Value::Array(_) | Value::Object(_) => Some(text_form(Some(value)).into()),
            Value::Null | Value::Bool(_) | Value::Number(_) => None,
        };
        Self { value: value.clone(), text, number: to_number(value) }
    }

    /// Gives the text, if the operand compares as text with texts.
    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Gives the number.
    pub(super) fn number(&self) -> f64 {
        self.number
    }

    /// Compares a value, which is not nullish, with the operand.
    fn compare(&self, value: &Value) -> Option<Ordering> {
        match (value, &self.text) {
            (Value::Number(number), _) => number.partial_cmp(&self.number),
            (Value::String(left), Some(right)) => Some(utf16_cmp(left, right)),
            (Value::String(_) | Value::Bool(_) | Value::Null, _) => {
                to_number(value).partial_cmp(&self.number)
            }
            (Value::Array(_) | Value::Object(_), _) => relational(value, &self.value),
        }
    }
}

fn present(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

fn text(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str)
}

/// Tells whether the lower-case form of a text contains another one, which is in lower case already.
fn contains_ignoring_case(text: &str, lower: &str) -> bool {
    let lower_text = if !text.is_ascii() {
        Cow::Owned(text.to_lowercase())
    } else if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    };
    lower_text.contains(lower)
}

/// Gives the least text, by UTF-16 code units, that is greater than all that start with `prefix`; `None` = there is
/// none.
fn beyond_prefix(prefix: &str) -> Option<CompactString> {
    let mut start = CompactString::from(prefix);
    while let Some(last) = start.pop() {
        let next = match last {
            // Supplementary characters are written with surrogates, which come before U+E000.
            '\u{D7FF}' => '\u{10000}',
            '\u{10FFFF}' => '\u{E000}',
            '\u{FFFF}' => continue,
            _ => char::from_u32(u32::from(last) + 1)?,
        };
        start.push(next);
        return Some(start);
    }
    None
}
