//! All buckets, and who refers to whom.

use crate::error::StoreError;
use crate::key::Real;
use crate::schema::{Definition, OnDelete};
use crate::table::{BucketId, Hashing, Table, hashing};
use hashbrown::HashMap;
use noex_json::CompactString;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A field of some bucket that refers to another one.
#[derive(Clone, Debug)]
pub(crate) struct Referrer {
    pub(crate) bucket: BucketId,
    pub(crate) field: CompactString,
    pub(crate) rule: OnDelete,
}

/// All buckets, in the order of their definition.
#[derive(Debug)]
pub(crate) struct Tables {
    tables: BTreeMap<BucketId, Table>,
    /// Places in the order of definition.
    order: BTreeMap<u64, BucketId>,
    next_place: u64,
    names: HashMap<CompactString, BucketId, Hashing>,
    /// By the name of the target bucket; each list by bucket, then schema order.
    referrers: HashMap<CompactString, Vec<Referrer>, Hashing>,
    /// Lower bound of all deadlines.
    pub(crate) earliest: Option<Real>,
    next_id: u64,
}

impl Tables {
    /// Makes an empty set.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            tables: BTreeMap::new(),
            order: BTreeMap::new(),
            next_place: 0,
            names: HashMap::with_hasher(hashing(seed)),
            referrers: HashMap::with_hasher(hashing(seed)),
            earliest: None,
            next_id: 0,
        }
    }

    /// Gives an id that no bucket has had.
    pub(crate) fn new_id(&mut self) -> BucketId {
        let id = BucketId(self.next_id);
        self.next_id += 1;
        id
    }

    /// Never gives out this id or a lower one.
    pub(crate) fn reserve_id(&mut self, id: BucketId) {
        self.next_id = self.next_id.max(id.0.saturating_add(1));
    }

    /// Adds a bucket with a name that is free, behind all others.
    pub(crate) fn add(&mut self, mut table: Table) {
        table.place = self.next_place;
        self.next_place += 1;
        self.put_back(table);
    }

    /// Adds a bucket at the place that it has, such as one that was removed.
    pub(crate) fn put_back(&mut self, table: Table) {
        let id = table.id;
        self.names.insert(table.name().clone(), id);
        self.order.insert(table.place, id);
        self.add_referrers(id, &Arc::clone(&table.definition));
        self.note_deadline(table.first_deadline());
        self.tables.insert(id, table);
    }

    /// Removes a bucket with all its data.
    pub(crate) fn remove(&mut self, id: BucketId) -> Option<Table> {
        let table = self.tables.remove(&id)?;
        self.names.remove(table.name());
        self.order.remove(&table.place);
        self.remove_referrers(id, &table.definition);
        Some(table)
    }

    /// Replaces a bucket's definition by an updated one.
    ///
    /// # Errors
    /// [`StoreError::Unique`]; nothing is changed then.
    pub(crate) fn redefine(&mut self, id: BucketId, definition: Definition) -> Result<(), StoreError> {
        let Some(table) = self.tables.get_mut(&id) else { return Ok(()) };
        let old = Arc::clone(&table.definition);
        table.redefine(definition)?;
        let (new, deadline) = (Arc::clone(&table.definition), table.first_deadline());
        self.note_deadline(deadline);
        self.remove_referrers(id, &old);
        self.add_referrers(id, &new);
        Ok(())
    }

    fn add_referrers(&mut self, id: BucketId, definition: &Definition) {
        if !obeys_references(&definition.name) {
            return;
        }
        for field in &definition.fields {
            let Some((target, rule)) = &field.reference else { continue };
            // The key of a record never changes, so it cannot be cleared either.
            let rule = if *rule == OnDelete::SetNull && field.name == definition.key {
                OnDelete::Restrict
            } else {
                *rule
            };
            let list = self.referrers.entry(target.clone()).or_default();
            let at = list.partition_point(|referrer| referrer.bucket <= id);
            list.insert(at, Referrer { bucket: id, field: field.name.clone(), rule });
        }
    }

    fn remove_referrers(&mut self, id: BucketId, definition: &Definition) {
        for field in &definition.fields {
            let Some((target, _)) = &field.reference else { continue };
            if let Some(list) = self.referrers.get_mut(target) {
                list.retain(|referrer| referrer.bucket != id);
                if list.is_empty() {
                    self.referrers.remove(target);
                }
            }
        }
    }

    /// Lists the fields that refer to a bucket.
    pub(crate) fn referrers(&self, target: &str) -> &[Referrer] {
        self.referrers.get(target).map_or(&[], Vec::as_slice)
    }

    /// Gives a bucket.
    pub(crate) fn get(&self, id: BucketId) -> Option<&Table> {
        self.tables.get(&id)
    }

    /// Gives a bucket for changes.
    pub(crate) fn get_mut(&mut self, id: BucketId) -> Option<&mut Table> {
        self.tables.get_mut(&id)
    }

    /// Finds a bucket by name.
    pub(crate) fn named(&self, name: &str) -> Option<&Table> {
        self.tables.get(self.names.get(name)?)
    }

    /// Finds a bucket by name.
    ///
    /// # Errors
    /// [`StoreError::BucketNotDefined`].
    pub(crate) fn require(&self, name: &str) -> Result<&Table, StoreError> {
        self.named(name).ok_or_else(|| StoreError::BucketNotDefined { bucket: name.into() })
    }

    /// Finds a bucket by name, for changes.
    ///
    /// # Errors
    /// [`StoreError::BucketNotDefined`].
    pub(crate) fn require_mut(&mut self, name: &str) -> Result<&mut Table, StoreError> {
        let id = self.names.get(name);
        let table = id.and_then(|id| self.tables.get_mut(id));
        table.ok_or_else(|| StoreError::BucketNotDefined { bucket: name.into() })
    }

    /// Iterates over the buckets in the order of their definition.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Table> {
        self.order.values().filter_map(|id| self.tables.get(id))
    }

    /// Lowers the bound of all deadlines.
    pub(crate) fn note_deadline(&mut self, deadline: Option<Real>) {
        if let Some(deadline) = deadline {
            self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
        }
    }

    /// Sets the bound of all deadlines to the earliest one. O(buckets).
    pub(crate) fn recompute_deadline(&mut self) {
        self.earliest = self.tables.values().filter_map(Table::first_deadline).min();
    }
}

/// Tells whether a bucket's references are enforced: not those of system buckets.
pub(crate) fn obeys_references(bucket: &str) -> bool {
    !bucket.starts_with('_')
}
