//! Order of lists.
//!
//! The order is total: values that are nullish come last in both directions and equal each other; numbers and booleans
//! by number, then texts by UTF-16 code units, then arrays and objects by their text; what is equal goes on to the
//! next field, except that two arrays or objects of the same text end the comparison; the end of it is base order.
//! A key is made once per record, as bytes whose order is this order.
//! Source: the store specification, sections 2.4, 2.5, 16.1 and C.3.

use super::Window;
use crate::members::Fields;
use noex_json::{CompactString, Value, text_form};
use smallvec::SmallVec;

/// One field of an order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SortField {
    /// Name of the member.
    pub name: CompactString,
    /// Whether greater values come first.
    pub descending: bool,
}

/// What decides the place of a record in a sorted list: of two records the one with the lesser key comes first, and
/// base order decides between equal ones.
///
/// Each field contributes a byte for the class of its value and the value as bytes of which no one's are the
/// beginning of another's; all of them are complemented if greater values come first.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct SortKey(SmallVec<[u8; 24]>);

const NUMBER: u8 = 1;
const TEXT: u8 = 2;
const STRUCTURE: u8 = 3;
/// Greater than the other classes and their complements.
const NULLISH: u8 = u8::MAX;

impl SortKey {
    /// Makes the key of a record.
    #[must_use]
    pub fn of(sort: &[SortField], record: &impl Fields) -> Self {
        let mut key = SmallVec::new();
        for field in sort {
            let start = key.len();
            let class = push(&mut key, record.get(&field.name));
            if field.descending && class != NULLISH {
                key.iter_mut().skip(start).for_each(|byte| *byte = !*byte);
            }
            if class == STRUCTURE {
                break;
            }
        }
        Self(key)
    }

    /// Gives the number of bytes that the key holds outside of itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        if self.0.spilled() { self.0.capacity() } else { 0 }
    }
}

/// Appends a value and gives its class.
fn push(key: &mut SmallVec<[u8; 24]>, value: Option<&Value>) -> u8 {
    let class = match value {
        None | Some(Value::Null) => NULLISH,
        Some(Value::Bool(_) | Value::Number(_)) => NUMBER,
        Some(Value::String(_)) => TEXT,
        Some(Value::Array(_) | Value::Object(_)) => STRUCTURE,
    };
    key.push(class);
    match value {
        None | Some(Value::Null) => {}
        Some(Value::Bool(flag)) => push_number(key, f64::from(u8::from(*flag))),
        Some(Value::Number(number)) => push_number(key, *number),
        Some(Value::String(text)) => push_text(key, text),
        Some(Value::Array(_) | Value::Object(_)) => push_text(key, &text_form(value)),
    }
    class
}

/// Positive numbers get the sign bit, negative ones are complemented, so that their bits order as the numbers do.
fn push_number(key: &mut SmallVec<[u8; 24]>, number: f64) {
    // Adding zero turns -0 into 0.
    let bits = (number + 0.0).to_bits();
    let ordered = if bits >> 63 == 0 { bits | 1 << 63 } else { !bits };
    key.extend_from_slice(&ordered.to_be_bytes());
}

/// UTF-8 orders by code point. In UTF-16 supplementary characters, written with surrogates, come before U+E000, whose
/// block has the leading bytes EE and EF: these are moved behind F4, the last one of supplementary characters. All
/// bytes are one greater, so that zero can end the text.
fn push_text(key: &mut SmallVec<[u8; 24]>, text: &str) {
    key.extend(text.bytes().map(|byte| if matches!(byte, 0xEE | 0xEF) { byte + 8 } else { byte + 1 }));
    key.push(0);
}

/// Sorts what a window shows of records given in base order, and gives them in order.
///
/// O(n) for the records outside of the window, O(k log k) for the k records up to its end.
pub(super) fn window<T>(
    records: impl Iterator<Item = (SortKey, T)>,
    window: Window,
) -> impl Iterator<Item = T> {
    let mut keyed: Vec<(SortKey, usize, T)> =
        records.enumerate().map(|(place, (key, record))| (key, place, record)).collect();
    let compare = |a: &(SortKey, usize, T), b: &(SortKey, usize, T)| (&a.0, a.1).cmp(&(&b.0, b.1));
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
