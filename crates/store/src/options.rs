//! Settings of a store.

/// What a plain insert does when its key is in use. Bulk inserts and transactions always refuse.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum DuplicateInsert {
    /// It is refused.
    #[default]
    Reject,
    /// The new record takes the place of the old one and starts again at version 1.
    Replace,
}

/// Settings of a store.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Name, shown in statistics.
    pub name: String,
    /// Interval for sweeps of expired records in ms; 0 switches automatic expiry off, otherwise only reported.
    pub ttl_check_interval_ms: u64,
    /// What a plain insert does when its key is in use.
    pub on_duplicate_insert: DuplicateInsert,
    /// Refuse unknown filter operators in reads too.
    pub strict_filters: bool,
    /// Let query parameters that are objects act as operators.
    pub allow_operator_params: bool,
    /// Greatest number of buckets; 0 = unlimited.
    pub buckets_max: usize,
    /// Buckets whose names begin with `_` belong to the owner and are not counted.
    pub system_buckets: bool,
    /// Greatest number of queries; 0 = unlimited.
    pub queries_max: usize,
    /// Greatest memory, in bytes (estimated), that the states of all views may hold together. A view that would exceed
    /// it keeps none and is evaluated from records whenever a change concerns it. 256 MiB by default.
    pub view_bytes_max: usize,
    /// Whether records outlive the process; only reported.
    pub persistence_enabled: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            name: "store-1".into(),
            ttl_check_interval_ms: 1000,
            on_duplicate_insert: DuplicateInsert::Reject,
            strict_filters: false,
            allow_operator_params: false,
            buckets_max: 10_000,
            system_buckets: false,
            queries_max: 10_000,
            view_bytes_max: 256 << 20,
            persistence_enabled: false,
        }
    }
}
