//! Running totals of a set of numbers.

/// Count, sum, minimum and maximum. Two totals of disjoint sets can be joined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Total {
    /// Events, with or without a number.
    pub(crate) events: u64,
    /// Events with a number.
    pub(crate) numbers: u64,
    sum: f64,
    /// What rounding took from `sum`.
    rest: f64,
    min: f64,
    max: f64,
}

impl Total {
    pub(crate) const EMPTY: Self =
        Self { events: 0, numbers: 0, sum: 0.0, rest: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };

    pub(crate) fn of(value: Option<f64>) -> Self {
        match value {
            Some(value) => Self { events: 1, numbers: 1, sum: value, rest: 0.0, min: value, max: value },
            None => Self { events: 1, ..Self::EMPTY },
        }
    }

    pub(crate) fn join(self, other: Self) -> Self {
        let (sum, rest) = two_sum(self.sum, other.sum);
        Self {
            events: self.events + other.events,
            numbers: self.numbers + other.numbers,
            sum,
            rest: self.rest + other.rest + rest,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    pub(crate) fn sum(&self) -> f64 {
        self.sum + self.rest
    }

    /// `None` without numbers, as for the other two.
    pub(crate) fn average(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
        (self.numbers > 0).then(|| self.sum() / self.numbers as f64)
    }

    pub(crate) fn min(&self) -> Option<f64> {
        (self.numbers > 0).then_some(self.min)
    }

    pub(crate) fn max(&self) -> Option<f64> {
        (self.numbers > 0).then_some(self.max)
    }
}

/// The rounded sum and its exact error (Knuth). Infinite sums have none.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    if !sum.is_finite() {
        return (sum, 0.0);
    }
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_compensated_and_survive_infinity() {
        let sum =
            |values: &[f64]| values.iter().map(|v| Total::of(Some(*v))).fold(Total::EMPTY, Total::join).sum();
        assert_eq!(sum(&[0.1, 0.2, 0.3]), 0.6);
        assert_eq!(sum(&[1e100, 1.0, -1e100]), 1.0);
        assert_eq!(sum(&[f64::INFINITY, 1.0]), f64::INFINITY);
        assert_eq!(Total::of(None).average(), None);
        let both = Total::of(Some(3.0)).join(Total::of(None)).join(Total::of(Some(-1.0)));
        assert_eq!((both.events, both.numbers, both.average()), (3, 2, Some(1.0)));
        assert_eq!((both.min(), both.max()), (Some(-1.0), Some(3.0)));
    }
}
