//! Figures as text: latency columns, medians, and the first refused message of a run.

use noex_bench::histogram::Histogram;

/// Latency quantiles in microseconds as `name=value` columns.
pub(crate) fn latency(histogram: &Histogram) -> String {
    format!(
        "p50_us={:.1} p99_us={:.1} p999_us={:.1} max_us={:.1}",
        histogram.quantile_us(0.5),
        histogram.quantile_us(0.99),
        histogram.quantile_us(0.999),
        histogram.max() as f64 / 1_000.0
    )
}

/// The middle value, or the mean of the two middle ones; zero when empty.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match (sorted.get(half), sorted.len() % 2) {
        (Some(middle), 1) => *middle,
        (Some(upper), _) => {
            f64::midpoint(*upper, sorted.get(half.saturating_sub(1)).copied().unwrap_or(*upper))
        }
        (None, _) => 0.0,
    }
}

/// Counts mistakes and keeps the first one's text.
#[derive(Debug, Default)]
pub(crate) struct Mistakes {
    count: u64,
    first: Option<String>,
}

impl Mistakes {
    /// Counts one; `text` is only made for the first.
    pub(crate) fn add(&mut self, text: impl FnOnce() -> String) {
        self.count += 1;
        self.first.get_or_insert_with(|| text().chars().take(600).collect());
    }

    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// Prints the first mistake, if there was one.
    pub(crate) fn print_first(&self) {
        if let Some(first) = &self.first {
            eprintln!("first error: {first}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Mistakes, median};

    #[test]
    fn medians() {
        assert_eq!(median(&[]).to_bits(), 0.0_f64.to_bits());
        assert_eq!(median(&[3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]).to_bits(), 2.5_f64.to_bits());
    }

    #[test]
    fn first_mistake_is_kept() {
        let mut mistakes = Mistakes::default();
        mistakes.add(|| "one".to_owned());
        mistakes.add(|| "two".to_owned());
        assert_eq!((mistakes.count(), mistakes.first.as_deref()), (2, Some("one")));
    }
}
