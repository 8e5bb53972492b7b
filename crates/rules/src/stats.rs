//! Figures of an engine.

use crate::{event::time_value, versions::VersioningStats};
use noex_json::{Object, Value};

/// What an engine has done and holds. [`Stats::to_value`] is what `rules.stats` answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Registered rules, enabled or not.
    pub rules_count: usize,
    /// Facts present.
    pub facts_count: usize,
    /// Active timers.
    pub timers_count: usize,
    /// Events processed since the start, from every source.
    pub events_processed: u64,
    /// Activations whose conditions passed and whose actions ran to the end.
    pub rules_executed: u64,
    /// Mean duration of those, with all they caused; 0 without a stopwatch.
    pub avg_processing_time_ms: f64,
    /// Subscriptions.
    pub subscriptions_count: usize,
    /// Events in the history.
    pub history_count: usize,
    /// Events that have left the history.
    pub history_evicted: u64,
    /// Open instances and groups of temporal rules.
    pub temporal_open: usize,
    /// Estimated memory of the events that temporal rules keep.
    pub temporal_bytes: usize,
    /// What temporal rules had to drop to stay within their bounds.
    pub temporal_evicted: u64,
    /// Firings of repeating timers that were merged because the host was late.
    pub timers_coalesced: u64,
    /// Actions that failed.
    pub actions_failed: u64,
    /// Activations abandoned because a condition or lookup failed.
    pub rules_failed: u64,
    /// Activations skipped because a lookup failed.
    pub rules_skipped: u64,
    /// Times a chain of rules was cut at its greatest depth.
    pub depth_limit_hits: u64,
    /// Inputs that used up their budget.
    pub work_budget_exceeded: u64,
    /// Log lines and failures that were not reported, because one input had too many.
    pub reports_suppressed: u64,
    /// The history of rules, if one is kept.
    pub versioning: Option<VersioningStats>,
}

impl Stats {
    /// Gives the object that clients see.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut tracing = Object::new();
        tracing.set("enabled", false);
        tracing.set("entriesCount", 0.0);
        tracing.set("maxEntries", 10_000.0);
        let mut object = Object::new();
        object.set("rulesCount", count_value(self.rules_count));
        object.set("factsCount", count_value(self.facts_count));
        object.set("timersCount", count_value(self.timers_count));
        object.set("eventsProcessed", time_value(self.events_processed));
        object.set("rulesExecuted", time_value(self.rules_executed));
        object.set("avgProcessingTimeMs", self.avg_processing_time_ms);
        object.set("tracing", tracing);
        if let Some(stats) = self.versioning {
            let mut versioning = Object::new();
            versioning.set("enabled", true);
            versioning.set("rulesCount", count_value(stats.rules));
            versioning.set("versionsCount", count_value(stats.versions));
            object.set("versioning", versioning);
        }
        Value::from(object)
    }
}

fn count_value(count: usize) -> Value {
    time_value(u64::try_from(count).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_in_the_order_of_the_protocol() {
        let stats = Stats { rules_count: 2, events_processed: 5, ..Stats::default() };
        assert_eq!(
            stats.to_value().to_json(),
            r#"{"rulesCount":2,"factsCount":0,"timersCount":0,"eventsProcessed":5,"rulesExecuted":0,"#
                .to_owned()
                + r#""avgProcessingTimeMs":0,"tracing":{"enabled":false,"entriesCount":0,"maxEntries":10000}}"#
        );
    }
}
