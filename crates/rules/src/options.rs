//! The settings of an engine.

use crate::{
    backward::BackwardLimits, history::HistoryLimits, temporal::TemporalLimits, versions::VersioningLimits,
};
use noex_json::CompactString;

/// Settings of an engine; every bound has a default.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Appears in messages.
    pub name: CompactString,
    /// Registered rules.
    pub rules_max: usize,
    /// Groups of rules.
    pub groups_max: usize,
    /// Facts; `None` = as many as memory holds.
    pub facts_max: Option<usize>,
    /// Active timers.
    pub timers_max: usize,
    /// Depth at which a chain of rules is cut: so many rules of a chain run.
    pub depth_max: usize,
    /// Activations that one input may cause; the rest is dropped.
    pub activations_per_input_max: usize,
    /// Units of work that one input may cause: an action, a condition and four deliveries of an event that a rule has
    /// emitted take one each, values that rules produce one per 64 bytes. When they are used up, all that is left of
    /// the input is dropped.
    pub work_per_input_max: usize,
    /// Deadlines that one call of `advance`, or of anything that waits for them, may work off.
    pub deadlines_per_call_max: usize,
    /// Estimated size of a value that a rule stores, emits or passes on, in bytes.
    pub value_bytes_max: usize,
    /// Nesting of such a value.
    pub value_depth_max: usize,
    /// Log lines and failures of actions reported for one input; further ones are counted.
    pub reports_per_input_max: usize,
    /// The recent events kept.
    pub history: HistoryLimits,
    /// The state of temporal rules.
    pub temporal: TemporalLimits,
    /// Results of lookups kept.
    pub lookup_cache_max: usize,
    /// The history of rules; `None` = none is kept.
    pub versioning: Option<VersioningLimits>,
    /// How far a query for a goal may go.
    pub backward: BackwardLimits,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            name: CompactString::const_new("rule-engine"),
            rules_max: 100_000,
            groups_max: 10_000,
            facts_max: None,
            timers_max: 1_000_000,
            depth_max: 10,
            activations_per_input_max: 10_000,
            work_per_input_max: 1_000_000,
            deadlines_per_call_max: 1000,
            value_bytes_max: 16 << 20,
            value_depth_max: 256,
            reports_per_input_max: 1000,
            history: HistoryLimits::default(),
            temporal: TemporalLimits::default(),
            lookup_cache_max: 10_000,
            versioning: None,
            backward: BackwardLimits::default(),
        }
    }
}
