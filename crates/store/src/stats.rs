//! Statistics of a store and of its buckets.

use crate::record::number;
use noex_json::{CompactString, Object, Value, write_value};

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
                ("perBucket", Value::Object(members.collect())),
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

/// Makes an object value.
pub(crate) fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.into(), value)).collect::<Object>())
}

/// Converts a count.
pub(crate) fn number_of(count: usize) -> Value {
    Value::Number(count as f64)
}
