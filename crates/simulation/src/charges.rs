//! How many requests were accepted of whom, as the wire shows it.

use noex_host::{Instant, core::RateLimit};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// Accepted requests by the key that they are charged to: when each was sent, and when its answer came.
#[derive(Debug, Default)]
pub(crate) struct Charges(BTreeMap<String, VecDeque<(Instant, Instant)>>);

impl Charges {
    /// Notes an accepted request.
    ///
    /// # Errors
    /// If more than the limit were sent and answered within one window: whenever each was executed, it was in between.
    pub(crate) fn accept(
        &mut self,
        key: String,
        limit: RateLimit,
        sent: Instant,
        answered: Instant,
    ) -> Result<(), String> {
        // The server counts whole ms.
        let window = Duration::from_millis(limit.window_ms.saturating_sub(1));
        let accepted = self.0.entry(key.clone()).or_default();
        accepted.push_back((sent, answered));
        while accepted.pop_front_if(|(_, end)| *end + window <= answered).is_some() {}
        let within = accepted.iter().filter(|(start, _)| *start + window > answered).count() as u64;
        if within > limit.requests_max {
            return Err(format!("{within} requests of {key} were accepted within {window:?}: {limit:?}"));
        }
        Ok(())
    }
}
