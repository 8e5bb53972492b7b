//! The recent events, in a ring bounded by number, age and memory.
//!
//! Nothing in the engine reads it to decide anything: temporal rules keep what they need. It exists for hosts that
//! look back. There are no side indexes, so an evicted event leaves no residue.
//! Source: the rule engine's description, 2.3, 5.3 and 6.10.

use crate::event::Event;
use std::{collections::VecDeque, sync::Arc};

/// Bounds of the history; when one is passed, the oldest events go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HistoryLimits {
    /// Events kept.
    pub events_max: usize,
    /// Age of the oldest event kept, milliseconds.
    pub age_max_ms: u64,
    /// Memory of the events kept, estimated bytes.
    pub bytes_max: usize,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self { events_max: 10_000, age_max_ms: 24 * 60 * 60 * 1000, bytes_max: 64 << 20 }
    }
}

/// A ring of events, oldest first.
#[derive(Debug)]
pub(crate) struct History {
    limits: HistoryLimits,
    ring: VecDeque<(Arc<Event>, usize)>,
    bytes: usize,
    evicted: u64,
}

impl History {
    pub(crate) fn new(limits: HistoryLimits) -> Self {
        Self { limits, ring: VecDeque::new(), bytes: 0, evicted: 0 }
    }

    /// Appends an event of the given size and drops what the bounds no longer admit. O(1) amortised.
    pub(crate) fn push(&mut self, event: Arc<Event>, bytes: usize) {
        let now_ms = event.timestamp;
        self.ring.push_back((event, bytes));
        self.bytes += bytes;
        self.trim(now_ms);
    }

    /// Drops events that are too old at `now_ms`, and what is beyond the other bounds.
    pub(crate) fn trim(&mut self, now_ms: u64) {
        while let Some((oldest, bytes)) = self.ring.front() {
            let within = self.ring.len() <= self.limits.events_max
                && self.bytes <= self.limits.bytes_max
                && now_ms.saturating_sub(oldest.timestamp) <= self.limits.age_max_ms;
            if within {
                break;
            }
            self.bytes -= *bytes;
            self.evicted += 1;
            self.ring.pop_front();
        }
    }

    /// Gives the events, oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        self.ring.iter().map(|(event, _)| event)
    }

    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Origin;
    use noex_json::{Object, Value};

    fn event(timestamp: u64, text: &str) -> Arc<Event> {
        let mut data = Object::new();
        data.set("text", text);
        Arc::new(Event {
            id: "e".into(),
            topic: "t".into(),
            data: Value::from(data),
            timestamp,
            correlation_id: None,
            causation_id: None,
            source: Origin::Api,
        })
    }

    fn push(history: &mut History, event: Arc<Event>) {
        let bytes = event.bytes();
        history.push(event, bytes);
    }

    fn times(history: &History) -> Vec<u64> {
        history.iter().map(|event| event.timestamp).collect()
    }

    #[test]
    fn the_oldest_go_at_each_bound() {
        let mut history = History::new(HistoryLimits { events_max: 3, age_max_ms: 100, bytes_max: 1 << 20 });
        for at in [0, 1, 2, 3] {
            push(&mut history, event(at, ""));
        }
        assert_eq!(times(&history), [1, 2, 3], "number");
        push(&mut history, event(103, ""));
        assert_eq!(times(&history), [3, 103], "age: exactly 100 ms are allowed");
        assert_eq!(history.evicted(), 3);
        history.trim(1000);
        assert_eq!(history.len(), 0);
        assert_eq!(history.bytes, 0);
    }

    #[test]
    fn bytes_are_bounded_even_by_one_event() {
        let big = event(0, &"x".repeat(1000));
        let mut history =
            History::new(HistoryLimits { events_max: 100, age_max_ms: 100, bytes_max: 2 * big.bytes() });
        push(&mut history, event(0, &"x".repeat(1000)));
        push(&mut history, event(1, &"x".repeat(1000)));
        assert_eq!(times(&history), [0, 1]);
        push(&mut history, event(2, ""));
        assert_eq!(times(&history), [1, 2]);
        push(&mut history, event(3, &"x".repeat(5000)));
        assert_eq!(history.len(), 0);
    }
}
