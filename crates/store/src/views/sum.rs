//! Sums of doubles that equal, bit for bit, those that run left to right in base order.
//!
//! As long as all numbers are integers and their magnitudes together do not exceed 2^53, every partial sum of any
//! order is exact, and one integer is all that is kept. Otherwise the numbers are kept in base order, in blocks with
//! the running sum at the start of each; a change makes the sums from its block on stale, and they are made anew when
//! the result is asked for.
//!
//! Making them anew skips blocks where it can. While partial sums stay within one binade (between two powers of two)
//! they lie on one grid, and adding a number moves the sum by that number rounded to the grid: by the same distance,
//! wherever on the grid the sum is, unless the number is exactly halfway between two grid points. So a block whose
//! partial sums stay within a binade moves every start by one distance, as long as they still do.
//! Source: the store specification, C.4; Knuth, "The Art of Computer Programming" 2, 4.2.2, for the error of a sum.

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
            Self::Ordered(ordered) => ordered.len * 2 * size_of::<(u64, f64)>(),
        }
    }

    /// Tells whether a change costs more than a constant.
    pub(super) fn is_ordered(&self) -> bool {
        matches!(self, Self::Ordered(_))
    }
}

const BLOCK_MAX: usize = 256;

/// Numbers in base order.
#[derive(Debug, Default)]
pub(super) struct OrderedSum {
    blocks: Vec<Block>,
    len: usize,
    /// The ends of this block and of all behind it are stale.
    stale: usize,
}

/// Never empty.
#[derive(Debug)]
struct Block {
    numbers: Vec<(u64, f64)>,
    /// Running sum behind the block.
    end: f64,
    motion: Option<Motion>,
}

/// By how much a block moves every running sum of a binade that stays within it.
#[derive(Clone, Copy, Debug)]
struct Motion {
    /// Sign and exponent bits.
    binade: u64,
    distance: f64,
    /// Least and greatest distance on the way.
    low: f64,
    high: f64,
}

impl OrderedSum {
    fn block_at(&self, seq: u64) -> usize {
        let is_before = |block: &Block| block.numbers.last().is_some_and(|(last, _)| *last < seq);
        self.blocks.partition_point(is_before)
    }

    fn add(&mut self, seq: u64, number: f64) {
        let is_fresh = self.stale == self.blocks.len();
        let mut at = self.block_at(seq);
        self.len += 1;
        if at == self.blocks.len() {
            if let Some(block) = self.blocks.last_mut().filter(|block| block.numbers.len() < BLOCK_MAX) {
                block.numbers.push((seq, number));
                block.end += number;
                block.motion = None;
                self.stale = if is_fresh { self.blocks.len() } else { self.stale };
                return;
            }
            let end = self.blocks.last().map_or(0.0, |block| block.end) + number;
            self.blocks.push(Block { numbers: vec![(seq, number)], end, motion: None });
            self.stale = if is_fresh { self.blocks.len() } else { self.stale };
            return;
        }
        let Some(block) = self.blocks.get_mut(at) else { return };
        let gap = block.numbers.partition_point(|(other, _)| *other < seq);
        block.numbers.insert(gap, (seq, number));
        block.motion = None;
        if block.numbers.len() > BLOCK_MAX {
            let rest = block.numbers.split_off(BLOCK_MAX / 2);
            self.blocks.insert(at + 1, Block { numbers: rest, end: 0.0, motion: None });
        }
        at = at.min(self.stale);
        self.stale = at;
    }

    fn remove(&mut self, seq: u64) {
        let at = self.block_at(seq);
        let Some(block) = self.blocks.get_mut(at) else { return };
        let Ok(found) = block.numbers.binary_search_by_key(&seq, |(seq, _)| *seq) else { return };
        block.numbers.remove(found);
        block.motion = None;
        self.len -= 1;
        if block.numbers.is_empty() {
            self.blocks.remove(at);
        }
        self.stale = self.stale.min(at);
    }

    fn value(&mut self, additions: &mut u64) -> f64 {
        let mut sum = self.stale.checked_sub(1).and_then(|at| self.blocks.get(at)).map_or(0.0, |b| b.end);
        for block in self.blocks.iter_mut().skip(self.stale) {
            *additions += 1;
            sum = match block.motion.and_then(|motion| motion.apply(sum)) {
                Some(end) => end,
                None => {
                    *additions += block.numbers.len() as u64;
                    let (end, motion) = run(sum, &block.numbers);
                    block.motion = motion;
                    end
                }
            };
            block.end = sum;
        }
        self.stale = self.blocks.len();
        sum
    }
}

/// Sign and exponent of a number.
fn binade(number: f64) -> u64 {
    number.to_bits() >> 52
}

/// Tells whether a number is a power of two: the lower end of its binade, next to a finer grid.
fn is_edge(number: f64) -> bool {
    number.to_bits() << 12 == 0
}

/// Adds numbers to a start, left to right; gives the end, and the motion if there is one.
fn run(start: f64, numbers: &[(u64, f64)]) -> (f64, Option<Motion>) {
    let binade_of_start = binade(start);
    let exponent = binade_of_start & 0x7FF;
    // Half a grid step; zero, subnormal and infinite sums have no grid of their own.
    let half_step = f64::from_bits(exponent.saturating_sub(53) << 52);
    let mut moves = exponent > 53 && exponent < 0x7FF;
    let (mut low, mut high) = (0.0_f64, 0.0_f64);
    let mut sum = start;
    for (_, number) in numbers {
        let next = sum + number;
        if moves {
            // Knuth's exact error of the addition.
            let part = next - sum;
            let error = (sum - (next - part)) + (number - part);
            moves = binade(next) == binade_of_start && !is_edge(next) && error.abs() != half_step;
            low = low.min(next - start);
            high = high.max(next - start);
        }
        sum = next;
    }
    let motion = Motion { binade: binade_of_start, distance: sum - start, low, high };
    (sum, moves.then_some(motion))
}

impl Motion {
    /// Gives where a block ends that starts at `start`; `None` if it must be added up.
    fn apply(self, start: f64) -> Option<f64> {
        let stays = |distance: f64| {
            let sum = start + distance;
            distance == 0.0 || (binade(sum) == self.binade && !is_edge(sum))
        };
        (binade(start) == self.binade && stays(self.low) && stays(self.high)).then_some(start + self.distance)
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
            std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(200),
        ) })]

        #[test]
        fn equals_left_to_right(
            start in prop::collection::vec(number(), 0..900),
            steps in prop::collection::vec((0..1000_u64, prop::option::of(number())), 0..60),
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
            for (at, (seq, number)) in steps.into_iter().enumerate() {
                if let Some(old) = numbers.remove(&seq) {
                    sum.remove(seq, old);
                    integers.iter_mut().for_each(|sum| sum.remove(seq, old));
                }
                if let Some(number) = number {
                    numbers.insert(seq, number);
                    sum.add(seq, number).unwrap();
                    integers = integers.and_then(|mut sum| sum.add(seq, number).map(|()| sum).ok());
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
        sum.value(&mut additions);
        // The first time every block behind the change is added up and learns its motion.
        for (seq, most) in [(0, 101_000), (5, 5_000), (50_000, 3_000), (99_000, 1_000)] {
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
