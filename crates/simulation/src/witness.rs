//! What all clients together have seen.

use crate::{charges::Charges, history::History, trace::Trace};

/// The record of a run.
#[derive(Debug)]
pub(crate) struct Witness {
    pub(crate) trace: Trace,
    /// Absent where the rule engine takes the commits.
    pub(crate) history: Option<History>,
    pub(crate) charges: Charges,
}
