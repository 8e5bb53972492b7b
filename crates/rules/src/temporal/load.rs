//! What the state of all temporal rules together may hold: counted as it is taken, given back when dropped.

use crate::event::Event;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Bounds of the state of temporal rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TemporalLimits {
    /// Open instances or groups of one rule; beyond it, the one with the earliest deadline goes.
    pub instances_per_rule_max: usize,
    /// Open instances and groups of all rules.
    pub instances_max: usize,
    /// Matched events kept for one match; older ones are counted but no longer shown.
    pub events_per_instance_max: usize,
    /// Events inside one sliding window; beyond it, the oldest leave early.
    pub window_samples_max: usize,
    /// Events inside all sliding windows.
    pub samples_max: usize,
    /// Memory of the events and group keys kept, estimated bytes; an event kept twice counts twice.
    pub bytes_max: usize,
}

impl Default for TemporalLimits {
    fn default() -> Self {
        Self {
            instances_per_rule_max: 100_000,
            instances_max: 1_000_000,
            events_per_instance_max: 1000,
            window_samples_max: 100_000,
            samples_max: 2_000_000,
            bytes_max: 128 << 20,
        }
    }
}

/// A bounded quantity shared by all temporal rules of one engine.
#[derive(Debug)]
pub(crate) struct Gauge {
    used: Arc<AtomicUsize>,
    max: usize,
}

impl Gauge {
    fn new(max: usize) -> Self {
        Self { used: Arc::default(), max }
    }

    /// Takes an amount, if there is room.
    pub(crate) fn take(&self, amount: usize) -> Option<Charge> {
        // One engine has one writer, so check and change need not be one step.
        let used = self.used.load(Ordering::Relaxed);
        if amount > self.max.saturating_sub(used) {
            return None;
        }
        self.used.store(used + amount, Ordering::Relaxed);
        Some(Charge { used: Arc::clone(&self.used), amount })
    }

    /// Enlarges a charge of this gauge, if there is room.
    pub(crate) fn grow(&self, charge: &mut Charge, amount: usize) -> bool {
        let Some(mut more) = self.take(amount) else { return false };
        charge.amount += std::mem::take(&mut more.amount);
        true
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// An amount taken from a [`Gauge`], given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    used: Arc<AtomicUsize>,
    amount: usize,
}

impl Charge {
    /// Gives a part back.
    pub(crate) fn shrink(&mut self, amount: usize) {
        let amount = amount.min(self.amount);
        self.amount -= amount;
        self.used.fetch_sub(amount, Ordering::Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.used.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

/// A matched event that is kept.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) event: Arc<Event>,
    _charge: Charge,
}

/// The gauges of one engine, and how often a bound took effect.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) limits: TemporalLimits,
    pub(crate) instances: Gauge,
    pub(crate) samples: Gauge,
    pub(crate) bytes: Gauge,
    /// Instances, samples and payloads dropped to stay within the bounds.
    pub(crate) evicted: u64,
}

impl Load {
    pub(crate) fn new(limits: TemporalLimits) -> Self {
        Self {
            limits,
            instances: Gauge::new(limits.instances_max),
            samples: Gauge::new(limits.samples_max),
            bytes: Gauge::new(limits.bytes_max),
            evicted: 0,
        }
    }

    /// Keeps an event, if there is room for it.
    pub(crate) fn hold(&self, event: &Arc<Event>) -> Option<Held> {
        let charge = self.bytes.take(event.bytes())?;
        Some(Held { event: Arc::clone(event), _charge: charge })
    }
}
