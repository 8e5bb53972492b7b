//! Sequences: several events in order, within a time.
//!
//! ```text
//!            first step          next step            last step
//!  (none) ──────────────▶ open ────────────▶ open ... ──────────▶ match, ends
//!                           │ deadline; strict: any other event of the group
//!                           ▼
//!                         ends silently
//! ```
//! Source: the rule engine's description, 2.14 and D25.

use super::{
    Detection, Outcome,
    load::Held,
    table::{Context, Table},
};
use crate::{deadlines::Deadlines, engine::Due, event::Event};
use std::{collections::BTreeSet, sync::Arc};

/// The state of one sequence rule.
#[derive(Debug)]
pub(crate) struct Sequence {
    steps: usize,
    within_ms: u64,
    grouped: bool,
    strict: bool,
    table: Table<State>,
    /// Ungrouped: which instances wait for which step, oldest first. So an event costs what it advances.
    waiting: Vec<BTreeSet<u64>>,
}

#[derive(Debug)]
struct State {
    /// The step that comes next.
    step: usize,
    events: Vec<Held>,
}

impl Sequence {
    pub(crate) fn new(steps: usize, within_ms: u64, grouped: bool, strict: bool) -> Self {
        let waiting = vec![BTreeSet::new(); steps];
        Self { steps, within_ms, grouped, strict, table: Table::new(grouped), waiting }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Takes an event; `matched` are the steps whose matcher accepts it, ascending.
    pub(crate) fn feed(
        &mut self,
        cx: &mut Context<'_>,
        event: &Arc<Event>,
        matched: &[usize],
        group: &Option<Arc<str>>,
        out: &mut Vec<Detection>,
    ) {
        let opens = if self.grouped {
            self.feed_group(cx, event, matched, group, out)
        } else {
            self.feed_all(cx, event, matched, out);
            true
        };
        if opens && matched.first() == Some(&0) {
            self.open(cx, event, group, out);
        }
    }

    /// Advances the instance of a group. Tells whether the event may open one.
    fn feed_group(
        &mut self,
        cx: &mut Context<'_>,
        event: &Arc<Event>,
        matched: &[usize],
        group: &Option<Arc<str>>,
        out: &mut Vec<Detection>,
    ) -> bool {
        let Some(id) = self.table.find(group, event.timestamp) else { return true };
        let Some(step) = self.table.get_mut(id).map(|instance| instance.state.step) else { return true };
        if matched.contains(&step) {
            self.advance(cx, id, event, out);
            return false;
        }
        if self.strict {
            self.table.remove(cx.deadlines, id);
        }
        self.strict
    }

    /// Advances every instance that waits for a step the event matches; last step first, so that none moves twice.
    fn feed_all(
        &mut self,
        cx: &mut Context<'_>,
        event: &Arc<Event>,
        matched: &[usize],
        out: &mut Vec<Detection>,
    ) {
        for step in (1..self.steps).rev() {
            let advances = matched.contains(&step);
            if !advances && !self.strict {
                continue;
            }
            let ids = self.waiting.get_mut(step).map(std::mem::take).unwrap_or_default();
            for id in ids {
                let open = self.table.get_mut(id).is_some_and(|it| event.timestamp < it.deadline_ms);
                if advances && open {
                    self.advance(cx, id, event, out);
                } else {
                    self.table.remove(cx.deadlines, id);
                }
            }
        }
    }

    /// Adds a matched event to an instance; with the last step, the instance ends in a match.
    fn advance(&mut self, cx: &mut Context<'_>, id: u64, event: &Arc<Event>, out: &mut Vec<Detection>) {
        let Some(held) = self.hold(cx, event, id) else {
            self.table.remove(cx.deadlines, id);
            return;
        };
        let Some(instance) = self.table.get_mut(id) else { return };
        let state = &mut instance.state;
        state.events.push(held);
        state.step += 1;
        let step = state.step;
        if step < self.steps {
            self.wait(step, id);
        } else if let Some(done) = self.table.remove(cx.deadlines, id) {
            let events = done.state.events.into_iter().map(|held| held.event).collect();
            out.push(Detection::new(done.group, events, Outcome::Sequence, event));
        }
    }

    fn open(
        &mut self,
        cx: &mut Context<'_>,
        event: &Arc<Event>,
        group: &Option<Arc<str>>,
        out: &mut Vec<Detection>,
    ) {
        let deadline_ms = event.timestamp.saturating_add(self.within_ms);
        let (opened, gone) = self.table.open(cx, group, deadline_ms, State { step: 0, events: Vec::new() });
        self.forget(&gone);
        if let Some(id) = opened {
            self.advance(cx, id, event, out);
        }
    }

    /// Keeps an event for instance `id`, at the cost of other instances where there is no room.
    fn hold(&mut self, cx: &mut Context<'_>, event: &Arc<Event>, id: u64) -> Option<Held> {
        loop {
            if let Some(held) = cx.load.hold(event) {
                return Some(held);
            }
            let Some(gone) = self.table.evict(cx, Some(id)) else {
                cx.load.evicted += 1;
                return None;
            };
            self.forget(&[gone]);
        }
    }

    fn wait(&mut self, step: usize, id: u64) {
        if !self.grouped
            && let Some(waiting) = self.waiting.get_mut(step)
        {
            waiting.insert(id);
        }
    }

    fn forget(&mut self, gone: &[u64]) {
        if self.grouped {
            return;
        }
        for id in gone {
            self.waiting.iter_mut().for_each(|waiting| {
                waiting.remove(id);
            });
        }
    }

    /// Ends an instance whose deadline has come.
    pub(crate) fn due(&mut self, deadlines: &mut Deadlines<Due>, id: u64) {
        if let Some(instance) = self.table.remove(deadlines, id)
            && let Some(waiting) = self.waiting.get_mut(instance.state.step)
        {
            waiting.remove(&id);
        }
    }

    pub(crate) fn clear(&mut self, deadlines: &mut Deadlines<Due>) {
        self.table.clear(deadlines);
        self.waiting.iter_mut().for_each(BTreeSet::clear);
    }
}
