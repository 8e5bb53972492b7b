//! Statistics of a store, of its buckets and of its views.

use crate::record::number;
use crate::views::Rerun;
use noex_json::{CompactString, Object, Value, write_value};
use std::collections::BTreeMap;

/// Counts of a store.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreStats {
    /// Name of the store.
    pub name: String,
    /// The buckets in the order of their definition.
    pub buckets: Vec<BucketCounts>,
    /// Number of defined queries.
    pub queries_defined: usize,
    /// Number of live subscriptions.
    pub active_subscriptions: usize,
    /// Whether records outlive the process.
    pub persistence_enabled: bool,
    /// Interval of sweeps for expired records as configured; 0 = none.
    pub ttl_check_interval_ms: u64,
}

/// Counts of a bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct BucketCounts {
    /// Name.
    pub name: CompactString,
    /// Number of records.
    pub records: usize,
    /// Number of declared indexes and other unique fields.
    pub indexes: usize,
}

impl StoreStats {
    /// Gives the statistics in the shape that clients see.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let count = |number: usize| number_of(number);
        let per_bucket = |of: fn(&BucketCounts) -> usize| {
            let members = self.buckets.iter().map(|bucket| (bucket.name.clone(), count(of(bucket))));
            object([
                ("total", count(self.buckets.iter().map(of).sum())),
                ("perBucket", Value::from(members.collect::<Object>())),
            ])
        };
        let names = self.buckets.iter().map(|bucket| Value::String(bucket.name.clone())).collect();
        object([
            ("name", Value::from(self.name.as_str())),
            ("buckets", object([("count", count(self.buckets.len())), ("names", Value::Array(names))])),
            ("records", per_bucket(|bucket| bucket.records)),
            ("indexes", per_bucket(|bucket| bucket.indexes)),
            (
                "queries",
                object([
                    ("defined", count(self.queries_defined)),
                    ("activeSubscriptions", count(self.active_subscriptions)),
                ]),
            ),
            ("persistence", object([("enabled", Value::Bool(self.persistence_enabled))])),
            (
                "ttl",
                object([
                    ("enabled", Value::Bool(self.ttl_check_interval_ms > 0)),
                    ("checkIntervalMs", number(self.ttl_check_interval_ms)),
                ]),
            ),
        ])
    }

    /// Appends the statistics as JSON text in the shape that clients see.
    pub fn write_json(&self, out: &mut String) {
        write_value(out, &self.to_value());
    }
}

/// Details of a bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct BucketStats {
    /// Number of records.
    pub record_count: usize,
    /// Fields with an index, in order.
    pub index_names: Vec<CompactString>,
    /// Whether some field must be unique.
    pub has_unique_constraints: bool,
    /// Last number that the counter gave out.
    pub autoincrement_counter: u64,
    /// Whether first, last and paginate go by key.
    pub ordered: bool,
    /// Whether records expire.
    pub has_ttl: bool,
    /// Greatest number of records.
    pub size_max: Option<usize>,
}

/// Work done for views since the store was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ViewCounters {
    /// Changes of records in buckets with views.
    pub changes: u64,
    /// Places of predicate indexes looked at for them.
    pub probes: u64,
    /// Views that were found and whose filters were tested.
    pub candidates: u64,
    /// Those of them that the record matched, before or after.
    pub transitions: u64,
    /// Additions made to bring sums up to date.
    pub additions: u64,
    /// Results written from what is kept.
    pub kept: u64,
    /// States built for the first time.
    pub builds: u64,
    /// Limited lists read again because too few records were left.
    pub refills: u64,
    /// States built again for another reason.
    pub rebuilds: u64,
    /// Results evaluated from records without building a state.
    pub reruns: u64,
    /// Results that were new.
    pub published: u64,
    /// New results of which the changes could be told.
    pub deltas: u64,
    /// Results that equalled the last one and reached nobody.
    pub suppressed: u64,
}

impl ViewCounters {
    /// Counts a state that is being built.
    pub(crate) fn count_build(&mut self, reason: Rerun) {
        match reason {
            Rerun::New => self.builds += 1,
            Rerun::Drained => self.refills += 1,
            Rerun::Constant | Rerun::Order | Rerun::Bulk | Rerun::Backlog | Rerun::Memory => {
                self.rebuilds += 1;
            }
        }
    }
}

/// How views are kept up to date.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewStats {
    /// Work done.
    pub counters: ViewCounters,
    /// Number of views.
    pub views: usize,
    /// Memory that their states hold, in bytes (estimated).
    pub state_bytes: usize,
    /// Greatest memory that they may hold.
    pub state_bytes_max: usize,
    /// The queries that have views, in the order of their definition.
    pub queries: Vec<QueryViews>,
}

/// The views of one query.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryViews {
    /// Name of the query.
    pub query: CompactString,
    /// Family of its shape: `count`, `sum`, `avg`, `min`, `max`, `groups`, `list` or `window` (a list with a limit).
    pub shape: &'static str,
    /// Number of views: one for each set of parameters.
    pub views: usize,
    /// Number of subscriptions.
    pub subscriptions: usize,
    /// Views whose result is maintained change by change.
    pub kept: usize,
    /// Views whose state is being built.
    pub building: usize,
    /// Views that are evaluated from records, by the reason.
    pub rerun: BTreeMap<Rerun, usize>,
    /// Memory that the states hold, in bytes (estimated).
    pub state_bytes: usize,
}

impl QueryViews {
    pub(crate) fn new(query: CompactString, shape: &'static str) -> Self {
        Self {
            query,
            shape,
            views: 0,
            subscriptions: 0,
            kept: 0,
            building: 0,
            rerun: BTreeMap::new(),
            state_bytes: 0,
        }
    }
}

impl ViewStats {
    /// Gives the statistics as a JSON value.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let counters = &self.counters;
        let query = |of: &QueryViews| {
            let rerun = of.rerun.iter().map(|(reason, views)| (reason.name().into(), number_of(*views)));
            object([
                ("query", Value::String(of.query.clone())),
                ("shape", Value::from(of.shape)),
                ("views", number_of(of.views)),
                ("subscriptions", number_of(of.subscriptions)),
                ("kept", number_of(of.kept)),
                ("building", number_of(of.building)),
                ("rerun", Value::from(rerun.collect::<Object>())),
                ("stateBytes", number_of(of.state_bytes)),
            ])
        };
        object([
            ("views", number_of(self.views)),
            ("stateBytes", number_of(self.state_bytes)),
            ("stateBytesMax", number_of(self.state_bytes_max)),
            ("changes", number(counters.changes)),
            ("probes", number(counters.probes)),
            ("candidates", number(counters.candidates)),
            ("transitions", number(counters.transitions)),
            ("additions", number(counters.additions)),
            ("kept", number(counters.kept)),
            ("builds", number(counters.builds)),
            ("refills", number(counters.refills)),
            ("rebuilds", number(counters.rebuilds)),
            ("reruns", number(counters.reruns)),
            ("published", number(counters.published)),
            ("deltas", number(counters.deltas)),
            ("suppressed", number(counters.suppressed)),
            ("queries", Value::Array(self.queries.iter().map(query).collect())),
        ])
    }
}

/// Makes an object value.
pub(crate) fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::from(members.into_iter().map(|(name, value)| (name.into(), value)).collect::<Object>())
}

/// Converts a count.
pub(crate) fn number_of(count: usize) -> Value {
    Value::Number(count as f64)
}
