//! Latency histogram with logarithmic buckets: 32 linear steps per power of two, so values are kept to about 3 %.
//!
//! Input: durations in nanoseconds. Output: quantiles. Recording is one shift and one add, whatever the value.

use crate::clock::Nanos;

/// Linear steps per power of two, as a power of two.
const STEP_BITS: u32 = 5;
const STEPS: usize = 1 << STEP_BITS;
/// One linear group below 2^5, then one group for each higher power of two of a `u64`.
const BUCKETS: usize = STEPS * (64 - STEP_BITS as usize + 1);

/// Counts of durations by logarithmic bucket. About 15 KiB.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: Nanos,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }
}

impl Histogram {
    /// Records the duration `value` `times` times.
    #[inline]
    pub fn record(&mut self, value: Nanos, times: u64) {
        if let Some(count) = self.counts.get_mut(bucket(value)) {
            *count += times;
        }
        self.total += times;
        if times > 0 {
            self.max = self.max.max(value);
        }
    }

    /// Adds everything recorded in `other`.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// Number of recorded values.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.total
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The largest value, exact.
    #[must_use]
    pub const fn max(&self) -> Nanos {
        self.max
    }

    /// The value below or at which the share `q` (0 to 1) of all values lies: the upper edge of its bucket, and never
    /// above the maximum. Zero when empty.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Nanos {
        let rank = ((q * self.total as f64).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_edge(index).min(self.max);
            }
        }
        self.max
    }

    /// A quantile in microseconds.
    #[must_use]
    pub fn quantile_us(&self, q: f64) -> f64 {
        self.quantile(q) as f64 / 1_000.0
    }
}

/// The bucket of a value: the linear group below [`STEPS`], else exponent and the five bits after the leading one.
#[inline]
const fn bucket(value: Nanos) -> usize {
    if value < STEPS as u64 {
        return value as usize;
    }
    let exponent = 63 - value.leading_zeros();
    let step = (value >> (exponent - STEP_BITS)) as usize & (STEPS - 1);
    (exponent - STEP_BITS + 1) as usize * STEPS + step
}

/// The largest value of a bucket; the inverse of [`bucket`].
const fn upper_edge(index: usize) -> Nanos {
    if index < STEPS {
        return index as Nanos;
    }
    let shift = (index / STEPS) as u32 - 1;
    let low = ((STEPS + index % STEPS) as u64) << shift;
    low + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_monotonic_and_inverse() {
        let mut last = 0;
        for shift in 2_u32..64 {
            for offset in [0_u64, 1, 3] {
                let value = (1_u64 << shift).saturating_add(offset << shift.saturating_sub(3));
                let index = bucket(value);
                assert!(index < BUCKETS && index >= last, "{value}");
                last = index;
                assert!(upper_edge(index) >= value);
                assert_eq!(bucket(upper_edge(index)), index);
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(upper_edge(BUCKETS - 1), u64::MAX);
    }

    #[test]
    fn quantiles_are_within_the_step() {
        let mut histogram = Histogram::default();
        for value in 1..=100_000 {
            histogram.record(value, 1);
        }
        for (q, exact) in [(0.5, 50_000.0), (0.99, 99_000.0), (0.999, 99_900.0)] {
            let found = histogram.quantile(q) as f64;
            assert!(found >= exact && found <= exact * 1.04, "{q}: {found}");
        }
        assert_eq!(histogram.quantile(1.0), 100_000);
    }

    #[test]
    fn empty_and_merged() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), 0);
        assert!(histogram.is_empty());
        let mut other = Histogram::default();
        other.record(1_000, 3);
        histogram.merge(&other);
        assert_eq!((histogram.len(), histogram.max()), (3, 1_000));
        assert_eq!(histogram.quantile(0.5), 1_000);
    }
}
