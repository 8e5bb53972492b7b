//! Scalar aggregates and groups.

use super::{Function, write_members};
use crate::members::Fields;
use hashbrown::{HashMap, hash_map::Entry};
use noex_json::{CompactString, Value, text_form, write_number};
use std::fmt::Write;

/// Everything the aggregates of one field need, added up record by record in base order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Totals {
    /// Records.
    pub count: u64,
    /// Records with a number in the field.
    pub numbers: u64,
    /// Sum of the numbers, left to right.
    pub sum: f64,
    /// Least number; infinity for none.
    pub min: f64,
    /// Greatest number; minus infinity for none.
    pub max: f64,
}

impl Function {
    /// Finds a function by its name in the protocol.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "count" => Self::Count,
            "sum" => Self::Sum,
            "avg" => Self::Avg,
            "min" => Self::Min,
            "max" => Self::Max,
            _ => return None,
        })
    }

    /// Computes the aggregate of `field` over records in base order; `None` = no value (min and max of nothing).
    pub fn compute<'a>(
        self,
        field: &str,
        records: impl Iterator<Item = &'a (impl Fields + 'a)>,
    ) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "there are fewer records than 2^53")]
        match self {
            Self::Count => Some(records.count() as f64),
            Self::Sum | Self::Avg | Self::Min | Self::Max => Totals::collect(field, records).value(self),
        }
    }
}

impl Totals {
    /// Adds up `field` over records in base order.
    pub fn collect<'a>(field: &str, records: impl Iterator<Item = &'a (impl Fields + 'a)>) -> Self {
        let mut totals = Self::default();
        records.for_each(|record| totals.add(record.get(field)));
        totals
    }

    /// Adds one record by its value in the field. Only numbers take part in more than the count.
    pub fn add(&mut self, value: Option<&Value>) {
        self.count += 1;
        if let Some(Value::Number(number)) = value {
            self.numbers += 1;
            self.sum += number;
            self.min = self.min.min(*number);
            self.max = self.max.max(*number);
        }
    }

    /// Gives the value of a function; `None` = no value (min and max of nothing).
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "there are fewer records than 2^53")]
    pub fn value(&self, function: Function) -> Option<f64> {
        match function {
            Function::Count => Some(self.count as f64),
            Function::Sum => Some(self.sum),
            Function::Avg if self.numbers == 0 => Some(0.0),
            Function::Avg => Some(self.sum / self.numbers as f64),
            Function::Min => (self.numbers > 0).then_some(self.min),
            Function::Max => (self.numbers > 0).then_some(self.max),
        }
    }
}

impl Default for Totals {
    fn default() -> Self {
        Self { count: 0, numbers: 0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

/// Writes a list of groups in the order of their first records.
pub(super) fn write_groups<'a, F: Fields + 'a>(
    function: Function,
    field: &str,
    by: &[CompactString],
    records: impl Iterator<Item = &'a F>,
) -> String {
    let mut places = HashMap::new();
    let mut groups: Vec<(&'a F, Totals)> = Vec::new();
    for record in records {
        let place = match places.entry(group_key(by, record)) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                groups.push((record, Totals::default()));
                *entry.insert(groups.len() - 1)
            }
        };
        if let Some((_, totals)) = groups.get_mut(place) {
            totals.add(record.get(field));
        }
    }
    let mut list = GroupWriter::new(by);
    for (first, totals) in &groups {
        list.push(*first, totals.value(function).unwrap_or(0.0));
    }
    list.finish()
}

/// Writes a list of groups.
pub(crate) struct GroupWriter<'a> {
    by: &'a [CompactString],
    out: String,
}

impl<'a> GroupWriter<'a> {
    /// Begins a list of groups by the values of these fields.
    pub(crate) fn new(by: &'a [CompactString]) -> Self {
        Self { by, out: String::from("[") }
    }

    /// Appends a group, given by its first record and its value.
    pub(crate) fn push(&mut self, first: &impl Fields, value: f64) {
        if self.out.len() > 1 {
            self.out.push(',');
        }
        self.out.push_str("{\"key\":");
        write_members(&mut self.out, self.by, first);
        self.out.push_str(",\"value\":");
        write_number(&mut self.out, value);
        self.out.push('}');
    }

    /// Ends the list.
    pub(crate) fn finish(mut self) -> String {
        self.out.push(']');
        self.out
    }
}

/// Gives the identity of a record's group: the text forms of its values, `null` for what is nullish, each after its
/// length, so that no two lists of texts give the same key.
pub(crate) fn group_key(by: &[CompactString], record: &impl Fields) -> String {
    let mut key = String::new();
    for name in by {
        match record.get(name) {
            Some(Value::String(text)) => push_text(&mut key, text),
            value => push_text(&mut key, &text_form(value.or(Some(&Value::Null)))),
        }
    }
    key
}

fn push_text(key: &mut String, text: &str) {
    let _ = write!(key, "{}:{text}", text.len());
}
