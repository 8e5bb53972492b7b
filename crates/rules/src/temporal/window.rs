//! Counts and aggregates over windows of time.
//!
//! Tumbling: windows `[k × window, (k + 1) × window)` since the epoch, evaluated at their end; they keep one running
//! total. Sliding: evaluated at every event over the events of `now - timestamp < window`; they keep one sample per
//! event (see [`Samples`]).
//! Source: the rule engine's description, 2.14, D26, 6.8.

use super::{
    Cause, Detection, Outcome,
    load::{Held, Load},
    samples::Samples,
    table::{Context, Table},
    total::Total,
};
use crate::{Aggregation, Comparison, deadlines::Deadlines, engine::Due, event::Event};
use std::{collections::VecDeque, sync::Arc};

/// What a window is compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Test {
    /// `None` = the number of events.
    pub(crate) function: Option<Aggregation>,
    pub(crate) comparison: Comparison,
    pub(crate) threshold: f64,
}

impl Test {
    /// Gives what the pattern reports, if the comparison holds.
    fn apply(&self, total: &Total) -> Option<Outcome> {
        #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
        let count = total.events as f64;
        let value = match self.function {
            None | Some(Aggregation::Count) => Some(count),
            Some(Aggregation::Sum) => (total.numbers > 0).then(|| total.sum()),
            Some(Aggregation::Avg) => total.average(),
            Some(Aggregation::Min) => total.min(),
            Some(Aggregation::Max) => total.max(),
        }?;
        if !self.comparison.holds(value, self.threshold) {
            return None;
        }
        Some(match self.function {
            None => Outcome::Count(count),
            Some(_) => Outcome::Aggregate { value, count },
        })
    }
}

/// The state of one count or aggregate rule: one window per group.
#[derive(Debug)]
pub(crate) struct Windows {
    window_ms: u64,
    sliding: bool,
    test: Test,
    table: Table<Window>,
}

#[derive(Debug)]
struct Window {
    content: Content,
    /// The newest events, oldest first.
    events: VecDeque<Held>,
    last: Cause,
}

#[derive(Debug)]
enum Content {
    Tumbling(Total),
    Sliding(Samples),
}

impl Windows {
    pub(crate) fn new(window_ms: u64, sliding: bool, test: Test) -> Self {
        // A window of no length would hold nothing; validation refuses it, arithmetic must not depend on that.
        Self { window_ms: window_ms.max(1), sliding, test, table: Table::new(true) }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Takes a matching event and the number it contributes, if any.
    pub(crate) fn feed(
        &mut self,
        cx: &mut Context<'_>,
        event: &Arc<Event>,
        number: Option<f64>,
        group: &Option<Arc<str>>,
        out: &mut Vec<Detection>,
    ) {
        let now_ms = event.timestamp;
        let Some(id) = self.table.find(group, now_ms).or_else(|| self.open(cx, event, group)) else { return };
        let (window_ms, test) = (self.window_ms, self.test);
        let Some(instance) = self.table.get_mut(id) else { return };
        let window = &mut instance.state;
        window.last = Cause::of(event);
        window.keep(cx.load, event);
        let samples = match &mut window.content {
            Content::Tumbling(total) => {
                *total = total.join(Total::of(number));
                return;
            }
            Content::Sliding(samples) => samples,
        };
        samples.leave(now_ms, window_ms);
        samples.push(cx.load, now_ms, number);
        while window.events.front().is_some_and(|held| now_ms - held.event.timestamp >= window_ms) {
            window.events.pop_front();
        }
        if let Some(outcome) = test.apply(&samples.total()) {
            out.push(window.detect(group.clone(), outcome));
        }
        self.table.reschedule(cx, id, now_ms.saturating_add(window_ms));
    }

    fn open(&mut self, cx: &mut Context<'_>, event: &Event, group: &Option<Arc<str>>) -> Option<u64> {
        let now_ms = event.timestamp;
        let (content, deadline_ms) = if self.sliding {
            (Content::Sliding(Samples::new(cx.load)?), now_ms.saturating_add(self.window_ms))
        } else {
            let end_ms = (now_ms / self.window_ms).saturating_add(1).saturating_mul(self.window_ms);
            (Content::Tumbling(Total::EMPTY), end_ms)
        };
        let window = Window { content, events: VecDeque::new(), last: Cause::of(event) };
        self.table.open(cx, group, deadline_ms, window).0
    }

    /// The end of a tumbling window, or the moment at which a sliding one is empty.
    pub(crate) fn due(&mut self, deadlines: &mut Deadlines<Due>, id: u64) -> Option<Detection> {
        let instance = self.table.remove(deadlines, id)?;
        let Content::Tumbling(total) = &instance.state.content else { return None };
        let outcome = self.test.apply(total)?;
        Some(instance.state.detect(instance.group, outcome))
    }

    pub(crate) fn clear(&mut self, deadlines: &mut Deadlines<Due>) {
        self.table.clear(deadlines);
    }
}

impl Window {
    /// Keeps an event to be shown; the oldest go where there is no room. Totals are not affected.
    fn keep(&mut self, load: &mut Load, event: &Arc<Event>) {
        if self.events.len() >= load.limits.events_per_instance_max {
            self.events.pop_front();
        }
        if load.limits.events_per_instance_max == 0 {
            return;
        }
        loop {
            if let Some(held) = load.hold(event) {
                self.events.push_back(held);
                return;
            }
            load.evicted += 1;
            if self.events.pop_front().is_none() {
                return;
            }
        }
    }

    fn detect(&self, group: Option<Arc<str>>, outcome: Outcome) -> Detection {
        let events = self.events.iter().map(|held| Arc::clone(&held.event)).collect();
        Detection { group, events, outcome, cause: self.last.clone() }
    }
}
