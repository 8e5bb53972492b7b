//! Scalar aggregates kept up to date record by record.

use super::sum::{NeedsOrder, Sum};
use crate::key::Real;
use crate::query::Function;
use noex_json::Value;
use std::collections::BTreeMap;

/// An aggregate of one field.
#[derive(Debug)]
pub(super) struct Aggregate {
    function: Function,
    records: u64,
    numbers: u64,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    /// The counts alone.
    Nothing,
    Sum(Sum),
    /// How often each number occurs.
    Numbers(BTreeMap<Real, u64>),
}

/// Rough size of an entry of an ordered map, in bytes.
const MAP_ENTRY_BYTES: usize = 32;

impl Aggregate {
    /// Makes the aggregate of nothing.
    pub(super) fn new(function: Function, ordered: bool) -> Self {
        let kept = match function {
            Function::Count => Kept::Nothing,
            Function::Sum | Function::Avg => Kept::Sum(Sum::new(ordered)),
            Function::Min | Function::Max => Kept::Numbers(BTreeMap::new()),
        };
        Self { function, records: 0, numbers: 0, kept }
    }

    /// Adds the record at a place by its value in the field.
    pub(super) fn add(&mut self, seq: u64, value: Option<&Value>) -> Result<(), NeedsOrder> {
        self.records += 1;
        let Some(Value::Number(number)) = value else { return Ok(()) };
        match &mut self.kept {
            // Counting does not look at the field, so its values come and go unnoticed.
            Kept::Nothing => return Ok(()),
            Kept::Sum(sum) => sum.add(seq, *number)?,
            Kept::Numbers(numbers) => {
                if let Some(number) = Real::new(*number) {
                    *numbers.entry(number).or_default() += 1;
                }
            }
        }
        self.numbers += 1;
        Ok(())
    }

    /// Takes a record away that was added with this value.
    pub(super) fn remove(&mut self, seq: u64, value: Option<&Value>) {
        self.records -= 1;
        let Some(Value::Number(number)) = value else { return };
        match &mut self.kept {
            Kept::Nothing => return,
            Kept::Sum(sum) => sum.remove(seq, *number),
            Kept::Numbers(numbers) => {
                let Some(number) = Real::new(*number) else { return };
                if let Some(count) = numbers.get_mut(&number) {
                    *count -= 1;
                    if *count == 0 {
                        numbers.remove(&number);
                    }
                }
            }
        }
        self.numbers -= 1;
    }

    /// Takes note that a record which was added with the value `old` has the value `new` now.
    pub(super) fn change(
        &mut self,
        seq: u64,
        old: Option<&Value>,
        new: Option<&Value>,
    ) -> Result<(), NeedsOrder> {
        if let (Kept::Sum(sum), Some(Value::Number(old)), Some(Value::Number(new))) =
            (&mut self.kept, old, new)
        {
            return sum.replace(seq, *old, *new);
        }
        self.remove(seq, old);
        self.add(seq, new)
    }

    /// Ends the adding of many records.
    pub(super) fn prepare(&mut self) {
        if let Kept::Sum(sum) = &mut self.kept {
            sum.prepare();
        }
    }

    /// Gives the result; `None` = no value (min and max of nothing). Counts the additions that it took.
    #[expect(clippy::cast_precision_loss, reason = "there are fewer records than 2^53")]
    pub(super) fn value(&mut self, additions: &mut u64) -> Option<f64> {
        match (&mut self.kept, self.function) {
            (Kept::Nothing, _) => Some(self.records as f64),
            (Kept::Sum(_), Function::Avg) if self.numbers == 0 => Some(0.0),
            (Kept::Sum(sum), Function::Avg) => Some(sum.value(additions) / self.numbers as f64),
            (Kept::Sum(sum), _) => Some(sum.value(additions)),
            (Kept::Numbers(numbers), Function::Min) => numbers.first_key_value().map(|(n, _)| n.get()),
            (Kept::Numbers(numbers), _) => numbers.last_key_value().map(|(n, _)| n.get()),
        }
    }

    /// Gives what decides whether min and max have changed; of no meaning for other functions.
    pub(super) fn extreme(&self) -> Option<Real> {
        match (&self.kept, self.function) {
            (Kept::Numbers(numbers), Function::Min) => numbers.first_key_value().map(|(number, _)| *number),
            (Kept::Numbers(numbers), _) => numbers.last_key_value().map(|(number, _)| *number),
            (Kept::Nothing | Kept::Sum(_), _) => None,
        }
    }

    /// Tells whether the value of a record matters beyond the record's being there.
    pub(super) fn has_extreme(&self) -> bool {
        matches!(self.kept, Kept::Numbers(_))
    }

    /// Gives the number of entries of which each change costs more than a constant; 0 if a change is O(1).
    pub(super) fn entries(&self) -> u64 {
        match &self.kept {
            Kept::Nothing => 0,
            Kept::Sum(sum) => {
                if sum.is_ordered() {
                    self.numbers
                } else {
                    0
                }
            }
            Kept::Numbers(_) => self.numbers,
        }
    }

    /// Estimates the memory held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        match &self.kept {
            Kept::Nothing => 0,
            Kept::Sum(sum) => sum.bytes(),
            Kept::Numbers(numbers) => numbers.len() * MAP_ENTRY_BYTES,
        }
    }
}
