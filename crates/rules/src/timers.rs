//! Timers: names that expire.
//!
//! Every timer has one entry in the engine's queue of deadlines. A repeating timer stays on the grid of its first
//! firing; firings that a late host has missed are made up for by one.
//! Source: the rule engine's description, 1.6, 2.13, 6.8.

use crate::{
    Cron,
    deadlines::{Deadline, Deadlines, Kind},
    engine::Due,
    error::{LimitKind, RulesError},
    event::time_value,
};
use foldhash::{HashMap, HashMapExt};
use noex_json::{CompactString, Object, Value};
use std::sync::Arc;

/// An active timer.
#[derive(Clone, Debug)]
pub struct Timer {
    /// Unique and opaque; a new one each time the name is set.
    pub id: CompactString,
    /// Identifies the timer among the active ones.
    pub name: CompactString,
    /// When it fires next, Unix milliseconds.
    pub expires_at: u64,
    /// Topic of the event it emits.
    pub topic: CompactString,
    /// Data of the event it emits: an object.
    pub data: Value,
    /// Passed on to the event.
    pub correlation_id: Option<CompactString>,
    pub(crate) recurrence: Recurrence,
    pub(crate) sequence: u64,
}

/// What happens after a firing.
#[derive(Clone, Debug)]
pub(crate) enum Recurrence {
    Once,
    /// `left` = further firings after the next one.
    Every {
        interval_ms: u64,
        left: Option<u64>,
    },
    Cron {
        cron: Arc<Cron>,
        left: Option<u64>,
    },
}

impl Timer {
    /// Gives the payload of timer rules: the timer's own figures, overlaid by its data.
    pub(crate) fn payload(&self) -> Value {
        let mut object = Object::new();
        object.set("timerId", self.id.clone());
        object.set("timerName", self.name.clone());
        object.set("expiresAt", time_value(self.expires_at));
        if let Some(id) = &self.correlation_id {
            object.set("correlationId", id.clone());
        }
        if let Some(data) = self.data.as_object() {
            object.merge(data.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        Value::from(object)
    }
}

/// What sets a timer.
#[derive(Debug)]
pub(crate) struct NewTimer {
    pub(crate) id: CompactString,
    pub(crate) name: CompactString,
    pub(crate) expires_at: u64,
    pub(crate) topic: CompactString,
    pub(crate) data: Value,
    pub(crate) correlation_id: Option<CompactString>,
    pub(crate) recurrence: Recurrence,
}

/// The active timers of an engine.
#[derive(Debug)]
pub(crate) struct Timers {
    timers_max: usize,
    by_name: HashMap<CompactString, Timer>,
    /// Firings of repeating timers that a late call has merged into one.
    coalesced: u64,
}

impl Timers {
    pub(crate) fn new(timers_max: usize) -> Self {
        Self { timers_max, by_name: HashMap::new(), coalesced: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Timer> {
        self.by_name.get(name)
    }

    pub(crate) fn coalesced(&self) -> u64 {
        self.coalesced
    }

    /// Sets a timer; one of the same name is replaced.
    pub(crate) fn set(
        &mut self,
        new: NewTimer,
        deadlines: &mut Deadlines<Due>,
        sequence: &mut u64,
    ) -> Result<(), RulesError> {
        let max = self.timers_max;
        if self.len() >= max && !self.by_name.contains_key(&new.name) {
            return Err(RulesError::LimitReached { kind: LimitKind::Timers, max });
        }
        self.cancel(&new.name, deadlines);
        *sequence += 1;
        let NewTimer { id, name, expires_at, topic, data, correlation_id, recurrence } = new;
        let sequence = *sequence;
        deadlines.add(entry(expires_at, sequence), Due::Timer(name.clone()));
        let timer =
            Timer { id, name: name.clone(), expires_at, topic, data, correlation_id, recurrence, sequence };
        self.by_name.insert(name, timer);
        Ok(())
    }

    /// Puts a timer where there is none of its name.
    pub(crate) fn put_back(&mut self, timer: Timer, deadlines: &mut Deadlines<Due>) {
        deadlines.add(entry(timer.expires_at, timer.sequence), Due::Timer(timer.name.clone()));
        self.by_name.insert(timer.name.clone(), timer);
    }

    /// Removes a timer. Tells whether there was one.
    pub(crate) fn cancel(&mut self, name: &str, deadlines: &mut Deadlines<Due>) -> bool {
        let Some(timer) = self.by_name.remove(name) else { return false };
        deadlines.remove(entry(timer.expires_at, timer.sequence));
        true
    }

    /// Gives the timer that fires now, and moves it to its next firing or removes it. So its handlers find the state
    /// after this firing: they may set the name again, or cancel what is to come.
    ///
    /// `host_ms` is the time at which the host noticed; what lies before it is merged into this firing.
    pub(crate) fn fire(&mut self, name: &str, host_ms: u64, deadlines: &mut Deadlines<Due>) -> Option<Timer> {
        let timer = self.by_name.get_mut(name)?;
        let fired = timer.clone();
        let (next, coalesced) = next_firing(&mut timer.recurrence, fired.expires_at, host_ms);
        self.coalesced += coalesced;
        match next {
            Some(at_ms) => {
                timer.expires_at = at_ms;
                deadlines.add(entry(at_ms, timer.sequence), Due::Timer(timer.name.clone()));
            }
            None => {
                self.by_name.remove(name);
            }
        }
        Some(fired)
    }
}

/// Gives the firing after the one at `at_ms`, and how many before `host_ms` it leaves out.
fn next_firing(recurrence: &mut Recurrence, at_ms: u64, host_ms: u64) -> (Option<u64>, u64) {
    let left = match recurrence {
        Recurrence::Once => return (None, 0),
        Recurrence::Every { left, .. } | Recurrence::Cron { left, .. } => left,
    };
    if let Some(left) = left {
        let Some(after) = left.checked_sub(1) else { return (None, 0) };
        *left = after;
    }
    match recurrence {
        Recurrence::Once => (None, 0),
        Recurrence::Every { interval_ms, .. } => {
            let interval_ms = (*interval_ms).max(1);
            let missed = host_ms.saturating_sub(at_ms).div_ceil(interval_ms).saturating_sub(1);
            let steps = missed.saturating_add(1);
            (at_ms.checked_add(interval_ms.saturating_mul(steps)), missed)
        }
        Recurrence::Cron { cron, .. } => {
            let next = cron.next_after(at_ms);
            if next.is_none_or(|next| next >= host_ms) {
                return (next, 0);
            }
            (cron.next_after(host_ms.saturating_sub(1)), 1)
        }
    }
}

fn entry(at_ms: u64, sequence: u64) -> Deadline {
    Deadline { at_ms, kind: Kind::Timer, sequence }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(name: &str, expires_at: u64, recurrence: Recurrence) -> NewTimer {
        NewTimer {
            id: "id".into(),
            name: name.into(),
            expires_at,
            topic: "t".into(),
            data: Value::from(Object::new()),
            correlation_id: None,
            recurrence,
        }
    }

    /// Advances in steps and gives the times of the firings.
    fn firings(recurrence: Recurrence, steps: &[u64]) -> (Vec<u64>, u64) {
        let (mut timers, mut deadlines, mut sequence) = (Timers::new(10), Deadlines::default(), 0);
        timers.set(new("t", 1000, recurrence), &mut deadlines, &mut sequence).expect("room");
        let mut fired = Vec::new();
        for host_ms in steps {
            while deadlines.pop_due(*host_ms).is_some() {
                fired.extend(timers.fire("t", *host_ms, &mut deadlines).map(|timer| timer.expires_at));
            }
        }
        (fired, timers.coalesced())
    }

    #[test]
    fn repeats_stay_on_the_grid_and_end() {
        let every = |left| Recurrence::Every { interval_ms: 500, left };
        assert_eq!(firings(every(None), &[999, 1000, 1499, 1500, 2010, 2500]).0, [1000, 1500, 2000, 2500]);
        assert_eq!(firings(every(Some(1)), &[1000, 1500, 2000]).0, [1000, 1500]);
        assert_eq!(firings(Recurrence::Once, &[1000, 1500]).0, [1000]);
    }

    #[test]
    fn missed_repeats_are_merged() {
        let every = Recurrence::Every { interval_ms: 500, left: None };
        assert_eq!(firings(every.clone(), &[1500]), (vec![1000, 1500], 0));
        assert_eq!(firings(every.clone(), &[1501, 2000]), (vec![1000, 2000], 1));
        assert_eq!(firings(every, &[1_000_000, 1_000_500]), (vec![1000, 1_000_000, 1_000_500], 1997));
    }

    #[test]
    fn timers_are_limited() {
        let (mut timers, mut deadlines, mut sequence) = (Timers::new(2), Deadlines::default(), 0);
        for name in ["a", "b", "a"] {
            timers.set(new(name, 5, Recurrence::Once), &mut deadlines, &mut sequence).expect("room");
        }
        let refused = timers.set(new("c", 5, Recurrence::Once), &mut deadlines, &mut sequence);
        assert_eq!(refused.err().map(|e| e.to_string()).as_deref(), Some("Timer limit reached (max 2)"));
        assert_eq!((timers.len(), deadlines.len()), (2, 2), "one entry per timer");
        assert!(timers.cancel("a", &mut deadlines) && !timers.cancel("a", &mut deadlines));
        assert_eq!(deadlines.len(), 1);
    }

    #[test]
    fn data_wins_over_the_timers_own_figures() {
        let mut data = Object::new();
        data.set("timerName", "mine");
        let mut timer = new("t", 5, Recurrence::Once);
        timer.data = Value::from(data);
        let (mut timers, mut deadlines, mut sequence) = (Timers::new(2), Deadlines::default(), 0);
        timers.set(timer, &mut deadlines, &mut sequence).expect("room");
        let payload = timers.get("t").expect("set").payload().to_json();
        assert_eq!(payload, r#"{"timerId":"id","timerName":"mine","expiresAt":5}"#);
    }
}
