//! How numbers that are added one by one move a running sum.
//!
//! While partial sums stay within one binade (between two powers of two) they lie on one grid, and adding a number moves
//! the sum by that number rounded to the grid: by the same distance, wherever on the grid the sum is, unless the number
//! is exactly halfway between two grid points. So numbers whose partial sums stay within a binade move every start by one
//! distance, as long as the partial sums still do.
//! Source: Knuth, "The Art of Computer Programming" 2, 4.2.2, for the error of a sum.

/// What became of a running sum to which numbers were added.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    start: f64,
    end: f64,
    /// Least and greatest distance from the start on the way; not a number if other starts are not moved by the same.
    low: f64,
    high: f64,
}

impl Run {
    /// Over no numbers.
    pub(super) fn empty(start: f64) -> Self {
        Self { start, end: start, low: 0.0, high: 0.0 }
    }

    /// Adds numbers to a running sum, left to right.
    pub(super) fn over(start: f64, numbers: &[(u64, f64)]) -> Self {
        let binade_of_start = binade(start);
        let exponent = binade_of_start & 0x7FF;
        // Half a grid step; zero, subnormal and infinite sums have no grid of their own.
        let half_step = f64::from_bits(exponent.saturating_sub(53) << 52);
        let mut moves = exponent > 53 && exponent < 0x7FF;
        let (mut low, mut high) = (0.0, 0.0);
        let mut sum = start;
        for (_, number) in numbers {
            let next = sum + number;
            if moves {
                // Knuth's exact error of the addition.
                let part = next - sum;
                let error = (sum - (next - part)) + (number - part);
                moves = binade(next) == binade_of_start && !is_edge(next) && error.abs() != half_step;
                let distance = next - start;
                low = if distance < low { distance } else { low };
                high = if distance > high { distance } else { high };
            }
            sum = next;
        }
        if !moves {
            (low, high) = (f64::NAN, f64::NAN);
        }
        Self { start, end: sum, low, high }
    }

    /// Goes on with a run that takes the running sum from here to `end`, perhaps known from another start.
    pub(super) fn then(self, next: &Self, end: f64) -> Self {
        let moves = self.moves() && next.moves() && binade(self.start) == binade(next.start);
        let (low, high) = if moves {
            // All distances are multiples of one grid step and too few for a sum of them to be rounded.
            let distance = self.end - self.start;
            (self.low.min(distance + next.low), self.high.max(distance + next.high))
        } else {
            (f64::NAN, f64::NAN)
        };
        Self { start: self.start, end, low, high }
    }

    /// Gives the running sum after the last number.
    pub(super) fn end(&self) -> f64 {
        self.end
    }

    /// Gives where a run over the same numbers ends that begins at `start`; `None` if they must be added up.
    pub(super) fn end_from(&self, start: f64) -> Option<f64> {
        if start.to_bits() == self.start.to_bits() {
            return Some(self.end);
        }
        let stays = |distance: f64| {
            let sum = start + distance;
            binade(sum) == binade(self.start) && !is_edge(sum)
        };
        let moves =
            self.moves() && binade(start) == binade(self.start) && stays(self.low) && stays(self.high);
        moves.then_some(start + (self.end - self.start))
    }

    fn moves(&self) -> bool {
        !self.low.is_nan()
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(
            std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300),
        ) })]

        /// From whatever start, near the first one, near a power of two or anywhere: the end is the right one or unknown.
        #[test]
        fn an_end_that_is_known_is_that_of_adding_up(
            start in prop_oneof![Just(4096.0), 4000.0..4200.0, -4200.0..4200.0, 1e15..1e16],
            numbers in prop::collection::vec(prop_oneof![
                -100.0..100.0,
                (-400..400_i32).prop_map(|n| f64::from(n) / 8.0),
                (0..60_i32).prop_map(|power| 2_f64.powi(-power)),
            ], 0..40),
            split in 0..40_usize,
            other in prop_oneof![Just(4096.0), 4000.0..4200.0, Just(4096.0_f64.next_down()), Just(4096.0_f64.next_up())],
            steps in -3..4_i64,
        ) {
            let numbers: Vec<(u64, f64)> = (0..).zip(numbers).collect();
            let (front, back) = numbers.split_at(split.min(numbers.len()));
            let first = Run::over(start, front);
            let second = Run::over(first.end(), back);
            let joined = Run::empty(start).then(&first, first.end()).then(&second, second.end());
            let near = f64::from_bits(start.to_bits().wrapping_add_signed(steps));
            for from in [start, near, other, start + 1.0, start * 1.25] {
                let end = numbers.iter().fold(from, |sum, (_, number)| sum + number);
                for run in [Run::over(start, &numbers), joined] {
                    prop_assert!(run.end_from(from).is_none_or(|known| known.to_bits() == end.to_bits()));
                }
            }
        }
    }
}
