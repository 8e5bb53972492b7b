//! Order of lists.
//!
//! The order is total: values that are nullish come last in both directions and equal each other; numbers and booleans
//! by number, then texts by UTF-16 code units, then arrays and objects by their text; what is equal goes on to the
//! next field, except that two arrays or objects of the same text end the comparison; the end of it is base order.
//! Keys are made once per record and borrow its texts.
//! Source: the store specification, sections 2.4, 2.5 and 16.1.

use super::Window;
use noex_json::{CompactString, Object, Value, text_form, utf16_cmp};
use smallvec::SmallVec;
use std::cmp::Ordering;

/// One field of an order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SortField {
    /// Name of the member.
    pub name: CompactString,
    /// Whether greater values come first.
    pub descending: bool,
}

/// What decides the place of a record in a sorted list.
#[derive(Clone, Debug, PartialEq)]
pub struct SortKey<'a>(SmallVec<[Part<'a>; 2]>);

#[derive(Clone, Debug, PartialEq)]
enum Part<'a> {
    Number(f64),
    Text(&'a str),
    /// An array or an object by its text form.
    Structure(String),
    Nullish,
}

impl<'a> SortKey<'a> {
    /// Makes the key of a record.
    #[must_use]
    pub fn of(sort: &[SortField], record: &'a Object) -> Self {
        Self(sort.iter().map(|field| Part::of(record.get(&field.name))).collect())
    }

    /// Compares the places of two records; equal ones keep their base order.
    #[must_use]
    pub fn compare(&self, other: &Self, sort: &[SortField]) -> Ordering {
        for ((left, right), field) in self.0.iter().zip(&other.0).zip(sort) {
            let order = left.compare(right);
            let order = match (left, right) {
                (Part::Structure(_), Part::Structure(_)) if order.is_eq() => return Ordering::Equal,
                (Part::Nullish, _) | (_, Part::Nullish) => order,
                _ if field.descending => order.reverse(),
                _ => order,
            };
            if order.is_ne() {
                return order;
            }
        }
        Ordering::Equal
    }
}

impl<'a> Part<'a> {
    fn of(value: Option<&'a Value>) -> Self {
        match value {
            None | Some(Value::Null) => Self::Nullish,
            Some(Value::Bool(flag)) => Self::Number(f64::from(u8::from(*flag))),
            Some(Value::Number(number)) => Self::Number(*number),
            Some(Value::String(text)) => Self::Text(text),
            Some(structure @ (Value::Array(_) | Value::Object(_))) => {
                Self::Structure(text_form(Some(structure)))
            }
        }
    }

    fn class(&self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::Text(_) => 1,
            Self::Structure(_) => 2,
            Self::Nullish => 3,
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            // No value is NaN: there is no way to write one.
            (Self::Number(a), Self::Number(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Self::Text(a), Self::Text(b)) => utf16_cmp(a, b),
            (Self::Structure(a), Self::Structure(b)) => utf16_cmp(a, b),
            _ => self.class().cmp(&other.class()),
        }
    }
}

/// Sorts what a window shows of records given in base order, and gives them in order.
///
/// O(n) for the records outside of the window, O(k log k) for the k records up to its end.
pub(super) fn window<'a, T>(
    sort: &[SortField],
    records: impl Iterator<Item = (SortKey<'a>, T)>,
    window: Window,
) -> impl Iterator<Item = T> {
    let mut keyed: Vec<(SortKey<'a>, usize, T)> =
        records.enumerate().map(|(place, (key, record))| (key, place, record)).collect();
    let compare = |a: &(SortKey<'a>, usize, T), b: &(SortKey<'a>, usize, T)| {
        a.0.compare(&b.0, sort).then(a.1.cmp(&b.1))
    };
    let range = window.range(keyed.len());
    if range.end < keyed.len() {
        if range.end > 0 {
            keyed.select_nth_unstable_by(range.end, compare);
        }
        keyed.truncate(range.end);
    }
    keyed.sort_unstable_by(compare);
    keyed.into_iter().skip(range.start).map(|(_, _, record)| record)
}
