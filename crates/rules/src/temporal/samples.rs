//! The events inside a sliding window, as times and numbers.

use super::{
    load::{Charge, Load},
    total::Total,
};

/// A queue of samples whose total is known at any time.
///
/// Two stacks: `newer` takes samples and keeps one running total; when the oldest sample must leave and `older` is
/// empty, all of `newer` is turned over, each sample with the total of itself and all later ones. So nothing is ever
/// subtracted, no error adds up, and every step costs O(1) amortised.
#[derive(Debug)]
pub(crate) struct Samples {
    newer: Vec<Sample>,
    newer_total: Total,
    /// Oldest last.
    older: Vec<(Sample, Total)>,
    charge: Charge,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at_ms: u64,
    number: Option<f64>,
}

impl Samples {
    pub(crate) fn new(load: &Load) -> Option<Self> {
        let charge = load.samples.take(0)?;
        Some(Self { newer: Vec::new(), newer_total: Total::EMPTY, older: Vec::new(), charge })
    }

    /// Adds the newest sample. At a bound the oldest leave early, and where none is left this one is not counted.
    pub(crate) fn push(&mut self, load: &mut Load, at_ms: u64, number: Option<f64>) {
        loop {
            if self.len() < load.limits.window_samples_max && load.samples.grow(&mut self.charge, 1) {
                break;
            }
            load.evicted += 1;
            if !self.pop_oldest() {
                return;
            }
        }
        self.newer.push(Sample { at_ms, number });
        self.newer_total = self.newer_total.join(Total::of(number));
    }

    /// Drops what is no longer inside a window that ends now.
    pub(crate) fn leave(&mut self, now_ms: u64, window_ms: u64) {
        while self.oldest_ms().is_some_and(|at_ms| now_ms.saturating_sub(at_ms) >= window_ms) {
            self.pop_oldest();
        }
    }

    pub(crate) fn total(&self) -> Total {
        match self.older.last() {
            Some((_, older)) => older.join(self.newer_total),
            None => self.newer_total,
        }
    }

    fn len(&self) -> usize {
        self.newer.len() + self.older.len()
    }

    fn oldest_ms(&self) -> Option<u64> {
        let oldest = self.older.last().map(|(sample, _)| sample).or(self.newer.first());
        oldest.map(|sample| sample.at_ms)
    }

    fn pop_oldest(&mut self) -> bool {
        if self.older.is_empty() {
            let mut total = Total::EMPTY;
            for sample in self.newer.drain(..).rev() {
                total = Total::of(sample.number).join(total);
                self.older.push((sample, total));
            }
            self.newer_total = Total::EMPTY;
        }
        let popped = self.older.pop().is_some();
        if popped {
            self.charge.shrink(1);
        }
        popped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::temporal::load::TemporalLimits;

    #[test]
    fn totals_equal_those_of_a_plain_list() {
        let mut load = Load::new(TemporalLimits::default());
        let mut samples = Samples::new(&load).expect("room");
        let mut list: Vec<(u64, Option<f64>)> = Vec::new();
        for i in 0..500_u64 {
            let (now_ms, number) = (i * (i % 4), (i % 5 != 0).then_some((i % 17) as f64));
            let now_ms = now_ms.max(list.last().map_or(0, |last| last.0));
            samples.leave(now_ms, 40);
            list.retain(|(at_ms, _)| now_ms - at_ms < 40);
            samples.push(&mut load, now_ms, number);
            list.push((now_ms, number));
            let numbers: Vec<f64> = list.iter().filter_map(|(_, number)| *number).collect();
            let total = samples.total();
            assert_eq!(total.events as usize, list.len());
            assert_eq!(total.numbers as usize, numbers.len());
            assert_eq!(total.sum(), numbers.iter().sum::<f64>());
            assert_eq!(total.min(), numbers.iter().copied().reduce(f64::min));
            assert_eq!(total.max(), numbers.iter().copied().reduce(f64::max));
            assert_eq!(load.samples.used(), list.len());
        }
        drop(samples);
        assert_eq!(load.samples.used(), 0);
    }

    #[test]
    fn the_oldest_leave_early_at_a_bound() {
        for limits in [
            TemporalLimits { window_samples_max: 3, ..TemporalLimits::default() },
            TemporalLimits { samples_max: 3, ..TemporalLimits::default() },
        ] {
            let mut load = Load::new(limits);
            let mut samples = Samples::new(&load).expect("room");
            for i in 0..10_u64 {
                samples.push(&mut load, i, Some(i as f64));
            }
            assert_eq!((samples.total().events, samples.total().sum()), (3, 24.0));
            assert_eq!(load.evicted, 7);
        }
        let mut load = Load::new(TemporalLimits { samples_max: 0, ..TemporalLimits::default() });
        let mut samples = Samples::new(&load).expect("room");
        samples.push(&mut load, 0, None);
        assert_eq!(samples.total().events, 0);
    }
}
