//! Everything that is due at some time, in one ordered queue.
//!
//! Order: time, then temporal rules before timers, then creation. Cancelling removes the entry at once.
//! Source: the rule engine's description, 2.14 ("Interplay") and 6.8.

use std::collections::BTreeMap;

/// Where an entry stands among those of the same time.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    /// A deadline or the end of a window of a temporal rule.
    Temporal,
    /// A timer.
    Timer,
}

/// Names one entry of the queue.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Deadline {
    pub(crate) at_ms: u64,
    pub(crate) kind: Kind,
    /// Order of creation, unique within the engine.
    pub(crate) sequence: u64,
}

/// The queue; `T` says whose deadline it is.
#[derive(Debug)]
pub(crate) struct Deadlines<T> {
    queue: BTreeMap<Deadline, T>,
}

impl<T> Default for Deadlines<T> {
    fn default() -> Self {
        Self { queue: BTreeMap::new() }
    }
}

impl<T> Deadlines<T> {
    pub(crate) fn add(&mut self, deadline: Deadline, owner: T) {
        self.queue.insert(deadline, owner);
    }

    pub(crate) fn remove(&mut self, deadline: Deadline) {
        self.queue.remove(&deadline);
    }

    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.queue.keys().next().map(|deadline| deadline.at_ms)
    }

    /// Takes the first entry that is due at `now_ms`.
    pub(crate) fn pop_due(&mut self, now_ms: u64) -> Option<(Deadline, T)> {
        let first = self.queue.first_entry()?;
        (first.key().at_ms <= now_ms).then(|| first.remove_entry())
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_time_kind_creation() {
        let mut deadlines = Deadlines::default();
        for (at_ms, kind, sequence) in
            [(5, Kind::Timer, 1), (5, Kind::Temporal, 9), (5, Kind::Timer, 0), (4, Kind::Timer, 8)]
        {
            deadlines.add(Deadline { at_ms, kind, sequence }, sequence);
        }
        deadlines.add(Deadline { at_ms: 6, kind: Kind::Timer, sequence: 10 }, 10);
        deadlines.remove(Deadline { at_ms: 5, kind: Kind::Timer, sequence: 1 });
        assert_eq!(deadlines.next_ms(), Some(4));
        let order: Vec<u64> = std::iter::from_fn(|| deadlines.pop_due(5)).map(|(_, owner)| owner).collect();
        assert_eq!(order, [8, 9, 0]);
        assert_eq!(deadlines.len(), 1);
    }
}
