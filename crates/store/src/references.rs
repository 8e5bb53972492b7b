//! References between buckets: that targets exist, and what a deletion does to those who refer to it.
//!
//! The hidden index on each `ref` field is the reverse reference index, kept by every change like any other index.

use crate::error::StoreError;
use crate::key::Scalar;
use crate::record::Record;
use crate::schema::{Definition, OnDelete};
use crate::table::BucketId;
use crate::tables::{Tables, obeys_references};
use crate::transaction::Transaction;
use noex_json::{CompactString, Object, Value, identical};
use std::collections::HashSet;
use std::sync::Arc;

/// A reference to judge at the end of a transaction.
#[derive(Debug)]
pub(crate) struct ReferenceCheck {
    pub(crate) bucket: BucketId,
    pub(crate) seq: u64,
    pub(crate) field: CompactString,
    pub(crate) target: CompactString,
    /// Number of the operation that set it.
    pub(crate) operation: usize,
}

/// A record whose deletion may concern others.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) bucket: BucketId,
    /// Its place, if it is still to be removed.
    pub(crate) seq: Option<u64>,
    pub(crate) key: Value,
}

/// A record that refers to one that goes.
struct Dependent {
    bucket: BucketId,
    seq: u64,
    field: CompactString,
    rule: OnDelete,
}

/// A record to remove once its dependents are done.
struct Frame {
    root: Root,
    dependents: std::vec::IntoIter<Dependent>,
}

impl Transaction<'_> {
    /// Demands that each reference among `members` of a record with the key `key` has a target; the record may refer
    /// to itself.
    pub(crate) fn require_targets(
        &self,
        definition: &Definition,
        members: &Object,
        key: &Value,
    ) -> Result<(), StoreError> {
        if !obeys_references(&definition.name) {
            return Ok(());
        }
        for field in &definition.fields {
            let Some((target, _)) = &field.reference else { continue };
            let Some(value) = members.get(&field.name).filter(|value| !value.is_null()) else { continue };
            let itself = *target == definition.name && identical(Some(value), Some(key));
            if !itself && self.tables.require(target)?.seq_of(value).is_none() {
                return Err(missing(&definition.name, &field.name, target, value));
            }
        }
        Ok(())
    }

    /// Demands that the references that operations have set have targets. A target that a *later* operation deleted
    /// is left to that deletion.
    pub(crate) fn judge_references(&self) -> Result<(), StoreError> {
        for check in &self.checks {
            let table = self.table(check.bucket)?;
            let value = table.at(check.seq).and_then(|record| record.members().get(&check.field));
            let Some(value) = value.filter(|value| !value.is_null()) else { continue };
            let target = self.tables.require(&check.target)?;
            if target.seq_of(value).is_some() {
                continue;
            }
            let deleted = Scalar::new(value).and_then(|key| self.deleted.get(&(target.id, key)));
            if deleted.is_none_or(|operation| *operation < check.operation) {
                return Err(missing(table.name(), &check.field, &check.target, value));
            }
        }
        Ok(())
    }

    /// Removes records after their dependents: those are removed too, recursively, or cleared. Gives the records that
    /// have gone and to which some `restrict` field could refer, in the order in which they were reached; whether one
    /// still does must be judged when all has been done. A cycle is followed once.
    pub(crate) fn cascade(&mut self, roots: Vec<Root>) -> Result<Vec<(BucketId, Value)>, StoreError> {
        let mut reached = HashSet::new();
        let mut restricted = Vec::new();
        for root in roots {
            if root.seq.is_some_and(|seq| !reached.insert((root.bucket, seq))) {
                continue;
            }
            // A stack of our own: a chain of references may be as long as a bucket.
            let mut stack = vec![self.frame(root, &mut restricted)];
            while let Some(frame) = stack.last_mut() {
                let Some(dependent) = frame.dependents.next() else {
                    if let Some(Root { bucket, seq: Some(seq), .. }) = stack.pop().map(|frame| frame.root) {
                        self.put(bucket, seq, None, false)?;
                    }
                    continue;
                };
                let place = (dependent.bucket, dependent.seq);
                let Some(record) = referring(self.tables, &dependent, &frame.root.key) else { continue };
                if reached.contains(&place) {
                    continue;
                }
                match dependent.rule {
                    OnDelete::Restrict => {}
                    OnDelete::SetNull => self.set_null(&dependent, &record)?,
                    OnDelete::Cascade => {
                        reached.insert(place);
                        let root = Root { bucket: place.0, seq: Some(place.1), key: record.key().clone() };
                        stack.push(self.frame(root, &mut restricted));
                    }
                }
            }
        }
        Ok(restricted)
    }

    fn frame(&self, root: Root, restricted: &mut Vec<(BucketId, Value)>) -> Frame {
        let mut dependents = Vec::new();
        let name = self.tables.get(root.bucket).map(|table| table.name().as_str()).unwrap_or_default();
        for referrer in self.tables.referrers(name) {
            if referrer.rule == OnDelete::Restrict {
                if restricted.last().is_none_or(|(bucket, key)| *bucket != root.bucket || *key != root.key) {
                    restricted.push((root.bucket, root.key.clone()));
                }
                continue;
            }
            let index = self.tables.get(referrer.bucket).and_then(|table| table.index(&referrer.field));
            let Some(posting) = index.and_then(|index| index.posting(&root.key)) else { continue };
            let mut seqs = Vec::with_capacity(posting.len());
            posting.collect_into(&mut seqs);
            dependents.extend(seqs.into_iter().map(|seq| Dependent {
                bucket: referrer.bucket,
                seq,
                field: referrer.field.clone(),
                rule: referrer.rule,
            }));
        }
        Frame { root, dependents: dependents.into_iter() }
    }

    fn set_null(&mut self, dependent: &Dependent, record: &Record) -> Result<(), StoreError> {
        let Some(table) = self.tables.get_mut(dependent.bucket) else { return Ok(()) };
        let changes = [(dependent.field.clone(), Value::Null)].into_iter().collect();
        let next = record.next(changes, self.now_ms, &mut table.shapes);
        self.put(dependent.bucket, dependent.seq, Some(next), false)
    }

    /// Finds a record that refers to a deleted one through a `restrict` field.
    pub(crate) fn restriction(&self, bucket: BucketId, key: &Value) -> Option<StoreError> {
        let target = self.tables.get(bucket)?;
        if target.seq_of(key).is_some() {
            return None;
        }
        for referrer in self.tables.referrers(target.name()) {
            if referrer.rule != OnDelete::Restrict {
                continue;
            }
            let table = self.tables.get(referrer.bucket)?;
            let Some(posting) = table.index(&referrer.field).and_then(|index| index.posting(key)) else {
                continue;
            };
            let Some(record) = posting.first().and_then(|seq| table.at(seq)) else { continue };
            return Some(StoreError::ReferenceRestricted {
                source_bucket: table.name().to_string(),
                source_key: record.key().clone(),
                source_field: referrer.field.as_str().into(),
                target_bucket: target.name().to_string(),
                target_key: key.clone(),
            });
        }
        None
    }
}

/// Gives the dependent record, if it is still there and still refers to `key`.
fn referring(tables: &Tables, dependent: &Dependent, key: &Value) -> Option<Arc<Record>> {
    let record = tables.get(dependent.bucket)?.at(dependent.seq)?;
    identical(record.members().get(&dependent.field), Some(key)).then(|| Arc::clone(record))
}

fn missing(bucket: &str, field: &str, target: &str, value: &Value) -> StoreError {
    StoreError::ReferenceMissing {
        source_bucket: bucket.into(),
        source_field: field.into(),
        target_bucket: target.into(),
        target_key: value.clone(),
    }
}
