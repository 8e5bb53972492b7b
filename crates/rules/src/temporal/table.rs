//! The open instances of one temporal rule: found by id, by group and by deadline, bounded in number.
//!
//! Every instance has one entry in the engine's queue of deadlines, from `open` until `remove`.

use super::load::{Charge, Load};
use crate::{
    deadlines::{Deadline, Deadlines, Kind},
    engine::Due,
    registry::RuleKey,
};
use foldhash::HashMap;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a machine needs from the engine while it takes an event.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) rule: RuleKey,
    pub(crate) deadlines: &'a mut Deadlines<Due>,
    pub(crate) sequence: &'a mut u64,
    pub(crate) load: &'a mut Load,
}

/// One open instance, or the window of one group.
#[derive(Debug)]
pub(crate) struct Instance<S> {
    pub(crate) group: Option<Arc<str>>,
    pub(crate) deadline_ms: u64,
    pub(crate) state: S,
    _charges: (Charge, Charge),
}

/// The instances of one rule.
#[derive(Debug)]
pub(crate) struct Table<S> {
    instances: BTreeMap<u64, Instance<S>>,
    /// Which instance is open for a group; unused where groups may have several.
    groups: HashMap<Option<Arc<str>>, u64>,
    by_deadline: BTreeSet<(u64, u64)>,
    one_per_group: bool,
}

impl<S> Table<S> {
    pub(crate) fn new(one_per_group: bool) -> Self {
        Self {
            instances: BTreeMap::new(),
            groups: HashMap::default(),
            by_deadline: BTreeSet::new(),
            one_per_group,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.instances.len()
    }

    /// Finds the instance open for a group at a time. One whose deadline is this very moment is over, even where its
    /// turn in the queue has not come yet.
    pub(crate) fn find(&self, group: &Option<Arc<str>>, now_ms: u64) -> Option<u64> {
        let id = *self.groups.get(group)?;
        self.instances.get(&id).filter(|instance| now_ms < instance.deadline_ms).map(|_| id)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Instance<S>> {
        self.instances.get_mut(&id)
    }

    /// Opens an instance; at a bound, the one with the earliest deadline goes first. `None` = no room even so. The
    /// second result names instances that had to go.
    pub(crate) fn open(
        &mut self,
        cx: &mut Context<'_>,
        group: &Option<Arc<str>>,
        deadline_ms: u64,
        state: S,
    ) -> (Option<u64>, Vec<u64>) {
        let mut gone = Vec::new();
        let key_bytes = group.as_ref().map_or(0, |group| group.len());
        let charges = loop {
            if self.len() < cx.load.limits.instances_per_rule_max
                && let Some(instance) = cx.load.instances.take(1)
                && let Some(bytes) = cx.load.bytes.take(size_of::<Instance<S>>() + key_bytes)
            {
                break (instance, bytes);
            }
            let Some(evicted) = self.evict(cx, None) else {
                cx.load.evicted += 1;
                return (None, gone);
            };
            gone.push(evicted);
        };
        *cx.sequence += 1;
        let id = *cx.sequence;
        if self.one_per_group {
            self.groups.insert(group.clone(), id);
        }
        self.by_deadline.insert((deadline_ms, id));
        cx.deadlines.add(deadline(deadline_ms, id), Due::Temporal { rule: cx.rule, instance: id });
        self.instances.insert(id, Instance { group: group.clone(), deadline_ms, state, _charges: charges });
        (Some(id), gone)
    }

    /// Moves an instance's deadline.
    pub(crate) fn reschedule(&mut self, cx: &mut Context<'_>, id: u64, deadline_ms: u64) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let before_ms = std::mem::replace(&mut instance.deadline_ms, deadline_ms);
        if before_ms == deadline_ms {
            return;
        }
        self.by_deadline.remove(&(before_ms, id));
        self.by_deadline.insert((deadline_ms, id));
        cx.deadlines.remove(deadline(before_ms, id));
        cx.deadlines.add(deadline(deadline_ms, id), Due::Temporal { rule: cx.rule, instance: id });
    }

    /// Ends an instance.
    pub(crate) fn remove(&mut self, deadlines: &mut Deadlines<Due>, id: u64) -> Option<Instance<S>> {
        let instance = self.instances.remove(&id)?;
        if self.groups.get(&instance.group) == Some(&id) {
            self.groups.remove(&instance.group);
        }
        self.by_deadline.remove(&(instance.deadline_ms, id));
        deadlines.remove(deadline(instance.deadline_ms, id));
        Some(instance)
    }

    /// Ends the instance with the earliest deadline, other than `keep`, for lack of room.
    pub(crate) fn evict(&mut self, cx: &mut Context<'_>, keep: Option<u64>) -> Option<u64> {
        let (_, id) = *self.by_deadline.iter().find(|(_, id)| Some(*id) != keep)?;
        self.remove(cx.deadlines, id)?;
        cx.load.evicted += 1;
        Some(id)
    }

    /// Ends all instances.
    pub(crate) fn clear(&mut self, deadlines: &mut Deadlines<Due>) {
        for (at_ms, id) in std::mem::take(&mut self.by_deadline) {
            deadlines.remove(deadline(at_ms, id));
        }
        self.instances.clear();
        self.groups.clear();
    }
}

fn deadline(at_ms: u64, sequence: u64) -> Deadline {
    Deadline { at_ms, kind: Kind::Temporal, sequence }
}
