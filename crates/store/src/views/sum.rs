//! Sums of doubles that equal, bit for bit, those that run left to right in base order.
//!
//! As long as all numbers are integers and their magnitudes together do not exceed 2^53, every partial sum of any
//! order is exact, and one integer is all that is kept. Otherwise the numbers are kept in base order ([`ordered`]).
//! Source: the store specification, C.4.

mod motion;
mod ordered;

use ordered::OrderedSum;

/// A number that does not fit a sum of integers: the numbers must be given anew, in order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct NeedsOrder;

/// A running sum.
#[derive(Debug)]
pub(super) enum Sum {
    /// Of integers.
    Integers {
        sum: i64,
        /// Sum of the absolute values.
        magnitude: u64,
    },
    /// Of any numbers.
    Ordered(OrderedSum),
}

/// All integers up to this magnitude are doubles.
const EXACT_MAX: u64 = 1 << 53;

#[expect(clippy::cast_possible_truncation, reason = "integers up to 2^53 fit")]
fn exact_integer(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() <= EXACT_MAX as f64).then_some(number as i64)
}

impl Sum {
    /// Makes an empty sum.
    pub(super) fn new(ordered: bool) -> Self {
        if ordered { Self::Ordered(OrderedSum::default()) } else { Self::Integers { sum: 0, magnitude: 0 } }
    }

    /// Adds the number of the record at a place.
    pub(super) fn add(&mut self, seq: u64, number: f64) -> Result<(), NeedsOrder> {
        match self {
            Self::Integers { sum, magnitude } => {
                let integer = exact_integer(number).ok_or(NeedsOrder)?;
                let total = *magnitude + integer.unsigned_abs();
                if total > EXACT_MAX {
                    return Err(NeedsOrder);
                }
                *sum += integer;
                *magnitude = total;
            }
            Self::Ordered(ordered) => ordered.add(seq, number),
        }
        Ok(())
    }

    /// Takes the number of the record at a place away.
    pub(super) fn remove(&mut self, seq: u64, number: f64) {
        match self {
            Self::Integers { sum, magnitude } => {
                // What is taken away was added.
                if let Some(integer) = exact_integer(number) {
                    *sum -= integer;
                    *magnitude -= integer.unsigned_abs();
                }
            }
            Self::Ordered(ordered) => ordered.remove(seq),
        }
    }

    /// Puts another number in the place of the one that a record has.
    pub(super) fn replace(&mut self, seq: u64, old: f64, new: f64) -> Result<(), NeedsOrder> {
        match self {
            Self::Integers { .. } => {
                self.remove(seq, old);
                return self.add(seq, new);
            }
            Self::Ordered(ordered) => ordered.replace(seq, new),
        }
        Ok(())
    }

    /// Lets the next [`Sum::value`] add everything up, so that later ones can skip what does not change.
    pub(super) fn prepare(&mut self) {
        if let Self::Ordered(ordered) = self {
            ordered.forget_sum();
        }
    }

    /// Gives the sum, and counts the additions that it took.
    #[expect(clippy::cast_precision_loss, reason = "the integer is exact")]
    pub(super) fn value(&mut self, additions: &mut u64) -> f64 {
        match self {
            Self::Integers { sum, .. } => *sum as f64,
            Self::Ordered(ordered) => ordered.value(additions),
        }
    }

    /// Estimates the memory held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Integers { .. } => 0,
            Self::Ordered(ordered) => ordered.bytes(),
        }
    }

    /// Tells whether a change costs more than a constant.
    pub(super) fn is_ordered(&self) -> bool {
        matches!(self, Self::Ordered(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn left_to_right(numbers: &BTreeMap<u64, f64>) -> f64 {
        numbers.values().fold(0.0, |sum, number| sum + number)
    }

    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![
            8 => (-10_000..10_000_i32).prop_map(|cents| f64::from(cents) / 100.0),
            4 => (0..1_000_i32).prop_map(|halves| f64::from(halves) / 2.0),
            2 => (-60..60_i32).prop_map(|power| 2_f64.powi(power)),
            2 => (0..3_i64).prop_map(|n| (EXACT_MAX as i64 - 1 + n) as f64),
            1 => any::<f64>().prop_filter("no NaN", |n| !n.is_nan()),
            1 => prop::sample::select(vec![0.0, -0.0, f64::INFINITY, f64::MIN_POSITIVE, 5e-324, f64::MAX]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(
            std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(40),
        ) })]

        #[test]
        fn equals_left_to_right(
            start in prop_oneof![
                prop::collection::vec(number(), 0..900),
                prop::collection::vec((1..100_000_i32).prop_map(|n| f64::from(n) / 1000.0), 17_000..18_000),
            ],
            steps in prop::collection::vec((0..1000_u64, 1..19_u64, prop::option::of(number())), 0..60),
            scale in prop::sample::select(vec![1.0, 1e6, 1e15]),
        ) {
            let mut numbers: BTreeMap<u64, f64> = (0..).zip(start).collect();
            numbers.insert(0, scale);
            let mut sum = Sum::new(true);
            let mut integers = Some(Sum::new(false));
            for (seq, number) in &numbers {
                sum.add(*seq, *number).unwrap();
                integers = integers.and_then(|mut sum| sum.add(*seq, *number).map(|()| sum).ok());
            }
            let mut additions = 0;
            for (at, (seq, stride, number)) in steps.into_iter().enumerate() {
                let seq = if numbers.len() > 1000 { seq * stride } else { seq };
                if let (Some(old), Some(number)) = (numbers.get_mut(&seq), number)
                    && at % 2 == 0
                {
                    sum.replace(seq, *old, number).unwrap();
                    integers = integers.and_then(|mut sum| sum.replace(seq, *old, number).map(|()| sum).ok());
                    *old = number;
                } else {
                    if let Some(old) = numbers.remove(&seq) {
                        sum.remove(seq, old);
                        integers.iter_mut().for_each(|sum| sum.remove(seq, old));
                    }
                if let Some(number) = number {
                    numbers.insert(seq, number);
                    sum.add(seq, number).unwrap();
                    integers = integers.and_then(|mut sum| sum.add(seq, number).map(|()| sum).ok());
                }
                }
                // Several changes may come before a result is asked for.
                if at % 3 > 0 {
                    let expected = left_to_right(&numbers);
                    let got = sum.value(&mut additions);
                    prop_assert!(got == expected || got.is_nan() && expected.is_nan(), "{got} {expected}");
                    if let Some(integers) = &mut integers {
                        prop_assert_eq!(integers.value(&mut additions), expected);
                    }
                }
            }
        }
    }

    /// Below a power of two the grid is finer, so what is rounded to nothing above it is not there.
    #[test]
    fn a_start_at_a_power_of_two_is_added_up() {
        let mut sum = Sum::new(true);
        let mut numbers = BTreeMap::from([(0, 5000.0)]);
        numbers.extend((1..256).map(|seq| (seq, 0.0)));
        numbers.extend((256..300).map(|seq| (seq, -3.6e-13)));
        numbers.iter().for_each(|(seq, number)| sum.add(*seq, *number).unwrap());
        for first in [5001.0, 4096.0, 4097.0] {
            sum.remove(0, numbers[&0]);
            numbers.insert(0, first);
            sum.add(0, first).unwrap();
            assert_eq!(sum.value(&mut 0).to_bits(), left_to_right(&numbers).to_bits());
        }
    }

    #[test]
    fn a_change_moves_what_is_behind_it_without_adding_up() {
        let mut sum = Sum::new(true);
        let mut numbers = BTreeMap::new();
        for seq in 0..100_000_u64 {
            let number = (seq * 7919 % 10_007) as f64 / 100.0;
            sum.add(seq, number).unwrap();
            numbers.insert(seq, number);
        }
        let mut additions = 0;
        sum.prepare();
        sum.value(&mut additions);
        for (seq, most) in [(0, 6_000), (5, 6_000), (50_000, 1_000), (99_000, 1_000)] {
            sum.remove(seq, numbers[&seq]);
            sum.add(seq, 0.01).unwrap();
            numbers.insert(seq, 0.01);
            additions = 0;
            assert_eq!(sum.value(&mut additions), left_to_right(&numbers));
            assert!(additions <= most, "{seq}: {additions}");
        }
        additions = 0;
        sum.add(100_000, 1.5).unwrap();
        sum.value(&mut additions);
        assert_eq!(additions, 0, "an appended number costs one addition at once");
    }
}
