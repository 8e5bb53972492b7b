//! Absences: an event that is not followed by another one in time.
//!
//! Source: the rule engine's description, 2.14.

use super::{
    Detection, Outcome,
    load::Held,
    table::{Context, Table},
};
use crate::{deadlines::Deadlines, engine::Due, event::Event};
use std::sync::Arc;

/// The matcher of the opening event, among the two of the pattern.
pub(crate) const AFTER: usize = 0;
/// The matcher of the expected event.
pub(crate) const EXPECTED: usize = 1;

/// The state of one absence rule: at most one open instance per group.
#[derive(Debug)]
pub(crate) struct Absence {
    within_ms: u64,
    table: Table<Held>,
}

impl Absence {
    pub(crate) fn new(within_ms: u64) -> Self {
        Self { within_ms, table: Table::new(true) }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Takes an event; the expected role comes before the opening one.
    pub(crate) fn feed(
        &mut self,
        cx: &mut Context<'_>,
        event: &Arc<Event>,
        matched: &[usize],
        group: &Option<Arc<str>>,
    ) {
        if matched.contains(&EXPECTED)
            && let Some(id) = self.table.find(group, event.timestamp)
        {
            self.table.remove(cx.deadlines, id);
        }
        if !matched.contains(&AFTER) || self.table.find(group, event.timestamp).is_some() {
            return;
        }
        let held = loop {
            if let Some(held) = cx.load.hold(event) {
                break held;
            }
            if self.table.evict(cx, None).is_none() {
                cx.load.evicted += 1;
                return;
            }
        };
        self.table.open(cx, group, event.timestamp.saturating_add(self.within_ms), held);
    }

    /// The deadline of an instance has come without the expected event.
    pub(crate) fn due(&mut self, deadlines: &mut Deadlines<Due>, id: u64) -> Option<Detection> {
        let instance = self.table.remove(deadlines, id)?;
        let event = instance.state.event;
        let events = vec![Arc::clone(&event)];
        Some(Detection::new(instance.group, events, Outcome::Absence, &event))
    }

    pub(crate) fn clear(&mut self, deadlines: &mut Deadlines<Due>) {
        self.table.clear(deadlines);
    }
}
