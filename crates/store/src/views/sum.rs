//! Sums of doubles that equal, bit for bit, those that run left to right in base order.
//!
//! As long as all numbers are integers and their magnitudes together do not exceed 2^53, every partial sum of any
//! order is exact, and one integer is all that is kept. Otherwise the numbers are kept in base order, in blocks with
//! running sums; a change makes the sums from its block on stale, and they are made anew when the result is asked for.
//!
//! Making them anew skips blocks where it can. While partial sums stay within one binade (between two powers of two)
//! they lie on one grid, and adding a number moves the sum by that number rounded to the grid: by the same distance,
//! wherever on the grid the sum is, unless the number is exactly halfway between two grid points. So a block whose
//! partial sums stay within a binade moves every start by one distance, as long as they still do; and so do spans of
//! blocks.
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

    /// Lets the next [`Sum::value`] add everything up, so that later ones can skip what does not change.
    pub(super) fn prepare(&mut self) {
        if let Self::Ordered(ordered) = self {
            ordered.stale = 0;
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

/// Greatest number of numbers in a block, and number of blocks in a span.
const BLOCK_MAX: usize = 256;
const SPAN: usize = 64;

/// Numbers in base order.
#[derive(Debug, Default)]
pub(super) struct OrderedSum {
    blocks: Vec<Block>,
    /// One for each [`SPAN`] blocks.
    spans: Vec<Span>,
    len: usize,
    /// The ends of this span and of all behind it are stale.
    stale: usize,
}

/// Never empty.
#[derive(Debug)]
struct Block {
    numbers: Vec<(u64, f64)>,
    motion: Option<Motion>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    /// Running sum behind it.
    end: f64,
    motion: Option<Motion>,
}

/// By how much numbers move every running sum of a binade that stays within it.
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
        self.len += 1;
        let at = self.block_at(seq);
        if at == self.blocks.len() {
            self.append(seq, number);
            return;
        }
        let Some(block) = self.blocks.get_mut(at) else { return };
        let gap = block.numbers.partition_point(|(other, _)| *other < seq);
        block.numbers.insert(gap, (seq, number));
        if block.numbers.len() > BLOCK_MAX {
            let rest = block.numbers.split_off(BLOCK_MAX / 2);
            self.blocks.insert(at + 1, Block { numbers: rest, motion: None });
            self.changed(at, true);
        } else {
            self.changed(at, false);
        }
    }

    /// Adds a number behind all others, with one addition if the sum is not stale.
    fn append(&mut self, seq: u64, number: f64) {
        let sum = (self.stale == self.spans.len()).then(|| self.spans.last().map_or(0.0, |span| span.end));
        let is_new = self.blocks.last().is_none_or(|block| block.numbers.len() == BLOCK_MAX);
        if is_new {
            self.blocks.push(Block { numbers: Vec::new(), motion: None });
        }
        if let Some(block) = self.blocks.last_mut() {
            block.numbers.push((seq, number));
        }
        self.changed(self.blocks.len() - 1, is_new);
        if let (Some(sum), Some(span)) = (sum, self.spans.last_mut()) {
            span.end = sum + number;
            self.stale = self.spans.len();
        }
    }

    fn remove(&mut self, seq: u64) {
        let at = self.block_at(seq);
        let Some(block) = self.blocks.get_mut(at) else { return };
        let Ok(found) = block.numbers.binary_search_by_key(&seq, |(seq, _)| *seq) else { return };
        block.numbers.remove(found);
        self.len -= 1;
        let is_gone = block.numbers.is_empty();
        if is_gone {
            self.blocks.remove(at);
        }
        self.changed(at, is_gone);
    }

    /// Takes note of the change of a block; `shifts` tells whether the blocks behind it have other places now.
    fn changed(&mut self, at: usize, shifts: bool) {
        if let Some(block) = self.blocks.get_mut(at) {
            block.motion = None;
        }
        self.spans.resize(self.blocks.len().div_ceil(SPAN), Span::default());
        let first = at / SPAN;
        let behind = self.spans.iter_mut().skip(first);
        behind.take(if shifts { usize::MAX } else { 1 }).for_each(|span| span.motion = None);
        self.stale = self.stale.min(first);
    }

    fn value(&mut self, additions: &mut u64) -> f64 {
        let mut sum =
            self.stale.checked_sub(1).and_then(|at| self.spans.get(at)).map_or(0.0, |span| span.end);
        for (span, blocks) in self.spans.iter_mut().zip(self.blocks.chunks_mut(SPAN)).skip(self.stale) {
            *additions += 1;
            sum = match span.motion.and_then(|motion| motion.apply(sum)) {
                Some(end) => end,
                None => {
                    let (end, motion) = run_blocks(sum, blocks, additions);
                    span.motion = motion;
                    end
                }
            };
            span.end = sum;
        }
        self.stale = self.spans.len();
        sum
    }
}

/// Adds the blocks of a span to a start; gives the end, and the motion of the span if there is one.
fn run_blocks(start: f64, blocks: &mut [Block], additions: &mut u64) -> (f64, Option<Motion>) {
    let mut sum = start;
    let mut whole = Some(Motion { binade: binade(start), distance: 0.0, low: 0.0, high: 0.0 });
    for block in blocks {
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
        whole = whole.zip(block.motion).and_then(|(whole, motion)| whole.then(motion));
    }
    (sum, whole)
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
    /// Joins the motion of what comes next.
    fn then(self, next: Self) -> Option<Self> {
        // All distances are multiples of one grid step and too few for a sum of them to be rounded.
        let joined = Self {
            binade: self.binade,
            distance: self.distance + next.distance,
            low: self.low.min(self.distance + next.low),
            high: self.high.max(self.distance + next.high),
        };
        (self.binade == next.binade).then_some(joined)
    }

    /// Gives where a block ends that starts at `start`; `None` if it must be added up.
    fn apply(self, start: f64) -> Option<f64> {
        let stays = |distance: f64| {
            let sum = start + distance;
            binade(sum) == self.binade && !is_edge(sum)
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
