//! What definitions and calls may cost.

/// Limits; `Default` gives the documented defaults.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Registered procedures; 0 = unlimited.
    pub procedures_max: usize,
    /// Steps of a procedure, those of all branches counted.
    pub steps_max: usize,
    /// Nesting of conditions.
    pub condition_depth_max: usize,
    /// Time of a call whose procedure names none, in ms.
    pub default_timeout_ms: u64,
    /// Memory that the values made by one call take: results, and what is handed to the engines, in bytes.
    pub bytes_max: usize,
    /// Records that the reads of one call look at.
    pub records_max: usize,
    /// As `records_max`, for a procedure that is a transaction: others wait for the store meanwhile.
    pub records_locked_max: usize,
    /// Arrays and objects around each other in a value that a call makes.
    pub depth_max: usize,
    /// Characters of a topic or the key of a fact, as UTF-16 counts them; 0 = unlimited.
    pub name_length_max: usize,
    /// Whether names that start with `_` belong to the server, so that no step may use such a bucket.
    pub system_buckets_reserved: bool,
    /// Whether an object that a template brings into a filter acts as operators; otherwise it matches nothing.
    pub operators_in_values: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            procedures_max: 10_000,
            steps_max: 100,
            condition_depth_max: 5,
            default_timeout_ms: 30_000,
            bytes_max: 16 << 20,
            records_max: 1_000_000,
            records_locked_max: 100_000,
            depth_max: 128,
            name_length_max: 1024,
            system_buckets_reserved: false,
            operators_in_values: false,
        }
    }
}
