//! The one mechanism by which records change.
//!
//! Operations are applied to the tables at once, so later ones see them, and noted as steps. [`Transaction::commit`]
//! then judges the final state: conflicts, references, uniqueness; it evicts what a bucket holds too much of. If all
//! is well the steps become the commit's changes, else they are undone one by one and nothing is left but, for a
//! single insert, a used-up number.

use crate::commit::{Change, Step, net};
use crate::error::{ConflictReason, StoreError};
use crate::key::Scalar;
use crate::members::Members;
use crate::record::{CREATED_AT, EXPIRES_AT, Record, UPDATED_AT, VERSION, number};
use crate::references::{ReferenceCheck, Root};
use crate::schema::{Definition, Generate};
use crate::table::{BucketId, Table};
use crate::tables::{Tables, obeys_references};
use noex_json::{CompactString, Object, Value};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// Source of random bytes for generated values and hash seeds.
pub trait Random {
    /// Fills a buffer with bytes that nobody can foresee.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// How operations relate to each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// One operation: its errors come in the order of its own checks, its changes in the order of their causes.
    Single,
    /// A program of operations: judged as a whole, reported by net effect.
    Program,
}

/// What to do with an insert whose key is in use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum OnDuplicate {
    /// Refuse.
    Reject,
    /// Put it in the place of the old record.
    Replace,
}

/// State of a bucket when a transaction first touched it.
#[derive(Debug)]
struct Touched {
    bucket: BucketId,
    counter: u64,
    next_seq: u64,
    /// Whether a new key was inserted.
    grown: bool,
}

/// A transaction in progress.
pub(crate) struct Transaction<'a> {
    pub(crate) tables: &'a mut Tables,
    random: &'a mut (dyn Random + Send),
    pub(crate) now_ms: u64,
    mode: Mode,
    steps: SmallVec<[Step; 2]>,
    /// In order of first use.
    touched: SmallVec<[Touched; 1]>,
    pub(crate) checks: Vec<ReferenceCheck>,
    /// Records deleted by operations of a program, whose dependents are looked for at the end.
    roots: Vec<Root>,
    /// Keys deleted by operations of a program, with the operation's number.
    pub(crate) deleted: BTreeMap<(BucketId, Scalar), usize>,
    /// Records that were deleted and must not be referred to through a `restrict` field.
    pub(crate) restricted: Vec<(BucketId, Value)>,
    conflict: Option<StoreError>,
    /// The record that a single insert must not evict.
    spared: Option<u64>,
    /// Number of the current operation.
    pub(crate) operation: usize,
    /// References through `restrict` fields that did not stop an expiry or eviction.
    pub(crate) ignored_restrictions: u64,
}

/// What a successful transaction has done.
pub(crate) struct Outcome {
    pub(crate) changes: Vec<Change>,
    /// Buckets whose counters may have moved.
    pub(crate) touched: SmallVec<[BucketId; 4]>,
    pub(crate) ignored_restrictions: u64,
}

impl<'a> Transaction<'a> {
    /// Begins.
    pub(crate) fn new(
        tables: &'a mut Tables,
        random: &'a mut (dyn Random + Send),
        now_ms: u64,
        mode: Mode,
    ) -> Self {
        Self {
            tables,
            random,
            now_ms,
            mode,
            steps: SmallVec::new(),
            touched: SmallVec::new(),
            checks: Vec::new(),
            roots: Vec::new(),
            deleted: BTreeMap::new(),
            restricted: Vec::new(),
            conflict: None,
            spared: None,
            operation: 0,
            ignored_restrictions: 0,
        }
    }

    /// Runs operations and commits them, or undoes everything, also if they panic: they may be an embedder's.
    pub(crate) fn run<T, E: From<StoreError>>(
        mut self,
        operations: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<(T, Outcome), E> {
        let ran = catch_unwind(AssertUnwindSafe(|| operations(&mut self)));
        let result = ran.map(|result| result.and_then(|value| Ok(self.judge().map(|()| value)?)));
        match result {
            Ok(Ok(value)) => Ok((value, self.finish())),
            Ok(Err(error)) => {
                self.undo();
                Err(error)
            }
            Err(panic) => {
                self.undo();
                resume_unwind(panic)
            }
        }
    }

    /// Gives a bucket.
    pub(crate) fn table(&self, bucket: BucketId) -> Result<&Table, StoreError> {
        // Nobody can drop a bucket in the middle of a transaction, so this never fails.
        self.tables.get(bucket).ok_or_else(|| StoreError::BucketNotDefined { bucket: String::new() })
    }

    fn table_mut(&mut self, bucket: BucketId) -> Result<&mut Table, StoreError> {
        self.tables.get_mut(bucket).ok_or_else(|| StoreError::BucketNotDefined { bucket: String::new() })
    }

    fn touch(&mut self, bucket: BucketId) -> Result<&mut Touched, StoreError> {
        let at = match self.touched.iter().position(|touched| touched.bucket == bucket) {
            Some(at) => at,
            None => {
                let table = self.table(bucket)?;
                let (counter, next_seq) = (table.counter, table.next_seq);
                self.touched.push(Touched { bucket, counter, next_seq, grown: false });
                self.touched.len() - 1
            }
        };
        self.touched.get_mut(at).ok_or_else(|| StoreError::BucketNotDefined { bucket: String::new() })
    }

    /// Puts a record at a place, or removes what is there, and notes the step.
    pub(crate) fn put(
        &mut self,
        bucket: BucketId,
        seq: u64,
        new: Option<Arc<Record>>,
        insert: bool,
    ) -> Result<(), StoreError> {
        self.touch(bucket)?;
        let Some(table) = self.tables.get_mut(bucket) else { return Ok(()) };
        let old = table.put(seq, new.clone());
        let deadline = table.first_deadline();
        self.tables.note_deadline(deadline);
        self.steps.push(Step { bucket, seq, old, new, insert });
        Ok(())
    }

    /// Inserts one record. The number for it has been taken from the counter before.
    pub(crate) fn insert_single(
        &mut self,
        bucket: BucketId,
        data: Object,
        duplicate: OnDuplicate,
    ) -> Result<Arc<Record>, StoreError> {
        let record = self.prepare(bucket, data, true)?;
        let table = self.table(bucket)?;
        match table.seq_of(record.key()) {
            Some(seq) if duplicate == OnDuplicate::Replace => {
                self.put(bucket, seq, Some(Arc::clone(&record)), true)?
            }
            Some(_) => return Err(duplicate_key(table, record.key())),
            None => self.spared = Some(self.append(bucket, &record)?),
        }
        Ok(record)
    }

    /// Inserts records, all or none.
    pub(crate) fn insert_many(
        &mut self,
        bucket: BucketId,
        list: Vec<Object>,
    ) -> Result<Vec<Arc<Record>>, StoreError> {
        let start = self.touch(bucket)?.next_seq;
        let mut records = Vec::with_capacity(list.len());
        for data in list {
            self.advance_counter(bucket);
            records.push(self.prepare(bucket, data, false)?);
        }
        for record in &records {
            let table = self.table(bucket)?;
            match table.seq_of(record.key()) {
                Some(seq) if seq >= start => {
                    return Err(StoreError::DuplicateInBatch {
                        bucket: table.name().to_string(),
                        key: record.key().clone(),
                    });
                }
                Some(_) => return Err(duplicate_key(table, record.key())),
                None => {
                    let seq = self.append(bucket, record)?;
                    self.check_all_references(bucket, seq)?;
                }
            }
        }
        Ok(records)
    }

    /// Inserts a record as part of a program. A key in use is a conflict that is reported at the end.
    pub(crate) fn insert(&mut self, bucket: BucketId, data: Object) -> Result<Arc<Record>, StoreError> {
        let start = self.touch(bucket)?.next_seq;
        self.advance_counter(bucket);
        let record = self.prepare(bucket, data, false)?;
        let table = self.table(bucket)?;
        let seq = match table.seq_of(record.key()) {
            None => self.append(bucket, &record)?,
            Some(seq) => {
                if seq < start && self.conflict.is_none() {
                    self.conflict = Some(StoreError::Conflict {
                        bucket: table.name().to_string(),
                        key: record.key().clone(),
                        reason: ConflictReason::AlreadyExists,
                    });
                }
                self.put(bucket, seq, Some(Arc::clone(&record)), true)?;
                seq
            }
        };
        self.check_all_references(bucket, seq)?;
        Ok(record)
    }

    fn append(&mut self, bucket: BucketId, record: &Arc<Record>) -> Result<u64, StoreError> {
        self.touch(bucket)?.grown = true;
        let Some(table) = self.tables.get_mut(bucket) else { return Ok(0) };
        let seq = table.next_seq;
        table.next_seq += 1;
        self.put(bucket, seq, Some(Arc::clone(record)), true)?;
        Ok(seq)
    }

    fn advance_counter(&mut self, bucket: BucketId) {
        if let Some(table) = self.tables.get_mut(bucket) {
            table.counter = table.counter.saturating_add(1);
        }
    }

    /// Completes and checks a record to insert; its references now if `eager`, else at the end.
    fn prepare(
        &mut self,
        bucket: BucketId,
        mut members: Object,
        eager: bool,
    ) -> Result<Arc<Record>, StoreError> {
        let table = self.table(bucket)?;
        let (definition, counter) = (Arc::clone(&table.definition), table.counter);
        let mut values = Values { random: self.random, counter, now_ms: self.now_ms };
        definition.complete(&mut members, &mut values);
        members.set(VERSION, number(1));
        members.set(CREATED_AT, number(self.now_ms));
        members.set(UPDATED_AT, number(self.now_ms));
        if eager {
            let key = members.get(&definition.key).unwrap_or(&Value::Null);
            self.require_targets(&definition, &members, key)?;
        }
        definition.validate(&members)?;
        if let Some(ttl) = definition.ttl_ms
            && !members.contains(EXPIRES_AT)
        {
            members.set(EXPIRES_AT, self.now_ms as f64 + ttl);
        }
        let order = members.get(&definition.key).and_then(|key| self.table(bucket).ok()?.order_of(key));
        let shapes = &mut self.table_mut(bucket)?.shapes;
        Ok(Record::new(Members::new(members, shapes), 1, order))
    }

    /// Updates the record with a key.
    pub(crate) fn update(
        &mut self,
        bucket: BucketId,
        key: &Value,
        changes: Object,
    ) -> Result<Arc<Record>, StoreError> {
        let table = self.table(bucket)?;
        let changes = changeable(&table.definition, changes);
        if self.mode == Mode::Single {
            let definition = Arc::clone(&table.definition);
            self.require_targets(&definition, &changes, key)?;
        }
        let table = self.table(bucket)?;
        let Some(seq) = table.seq_of(key) else {
            return Err(StoreError::RecordNotFound { bucket: table.name().to_string(), key: key.clone() });
        };
        self.update_at(bucket, seq, changes)
    }

    /// Updates records in the order given, all or none.
    pub(crate) fn update_many(
        &mut self,
        bucket: BucketId,
        seqs: &[u64],
        changes: Object,
    ) -> Result<(), StoreError> {
        let changes = changeable(&self.table(bucket)?.definition, changes);
        for seq in seqs {
            self.update_at(bucket, *seq, changes.clone())?;
        }
        Ok(())
    }

    fn update_at(&mut self, bucket: BucketId, seq: u64, changes: Object) -> Result<Arc<Record>, StoreError> {
        let table = self.table(bucket)?;
        let definition = Arc::clone(&table.definition);
        let Some(old) = table.at(seq).cloned() else {
            return Err(StoreError::RecordNotFound { bucket: table.name().to_string(), key: Value::Null });
        };
        self.check_references(bucket, seq, &definition, |field| changes.contains(field));
        let now_ms = self.now_ms;
        let shapes = &mut self.table_mut(bucket)?.shapes;
        let record = old.next(changes, now_ms, shapes);
        definition.validate(record.members())?;
        self.put(bucket, seq, Some(Arc::clone(&record)), false)?;
        Ok(record)
    }

    /// Deletes the record with a key; a missing one is no error.
    pub(crate) fn delete(&mut self, bucket: BucketId, key: &Value) -> Result<(), StoreError> {
        let Some(seq) = self.table(bucket)?.seq_of(key) else { return Ok(()) };
        self.delete_all(bucket, &[seq])
    }

    /// Deletes records with their dependents. In a program the dependents are left for the end.
    pub(crate) fn delete_all(&mut self, bucket: BucketId, seqs: &[u64]) -> Result<(), StoreError> {
        let mut roots = Vec::with_capacity(seqs.len());
        for seq in seqs {
            if let Some(record) = self.table(bucket)?.at(*seq) {
                roots.push(Root { bucket, seq: Some(*seq), key: record.key().clone() });
            }
        }
        if self.mode == Mode::Single {
            let restricted = self.cascade(roots)?;
            self.restricted.extend(restricted);
            return Ok(());
        }
        for root in roots {
            if let Some(seq) = root.seq {
                self.put(bucket, seq, None, false)?;
            }
            if let Some(key) = Scalar::new(&root.key) {
                self.deleted.insert((bucket, key), self.operation);
            }
            self.roots.push(Root { seq: None, ..root });
        }
        Ok(())
    }

    /// Removes all records, whoever refers to them.
    pub(crate) fn clear(&mut self, bucket: BucketId) -> Result<(), StoreError> {
        let seqs: Vec<u64> = self.table(bucket)?.records().keys().copied().collect();
        for seq in seqs {
            self.put(bucket, seq, None, false)?;
        }
        Ok(())
    }

    /// Removes records whose time has come, with their dependents; nothing stops it.
    pub(crate) fn expire(&mut self, due: Vec<(BucketId, u64)>) -> Result<usize, StoreError> {
        let count = due.len();
        for (bucket, seq) in due {
            self.drop_record(bucket, seq)?;
        }
        Ok(count)
    }

    /// Removes a record with its dependents, and only counts those that would object.
    fn drop_record(&mut self, bucket: BucketId, seq: u64) -> Result<(), StoreError> {
        let Some(record) = self.table(bucket)?.at(seq) else { return Ok(()) };
        let root = Root { bucket, seq: Some(seq), key: record.key().clone() };
        for (bucket, key) in self.cascade(vec![root])? {
            self.ignored_restrictions += u64::from(self.restriction(bucket, &key).is_some());
        }
        Ok(())
    }

    /// Judges the final state.
    fn judge(&mut self) -> Result<(), StoreError> {
        if let Some(conflict) = self.conflict.take() {
            return Err(conflict);
        }
        self.judge_references()?;
        let mut roots = std::mem::take(&mut self.roots);
        // A key that was inserted again is still there for those who refer to it.
        roots.retain(|root| {
            self.tables.get(root.bucket).is_some_and(|table| table.seq_of(&root.key).is_none())
        });
        let restricted = self.cascade(roots)?;
        self.restricted.extend(restricted);
        for (bucket, key) in &self.restricted {
            if let Some(error) = self.restriction(*bucket, key) {
                return Err(error);
            }
        }
        self.judge_uniqueness()?;
        self.evict()
    }

    fn judge_uniqueness(&self) -> Result<(), StoreError> {
        for touched in &self.touched {
            let table = self.table(touched.bucket)?;
            for index in table.indexes().iter().filter(|index| index.spec.unique) {
                let steps =
                    self.steps.iter().filter(|step| step.bucket == touched.bucket && step.new.is_some());
                let values = steps.filter_map(|step| table.at(step.seq)?.members().get(&index.spec.field));
                for value in values {
                    if index.posting(value).is_some_and(|posting| posting.len() > 1) {
                        return Err(table.unique_violation(&index.spec.field, value));
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes the oldest records of buckets that have grown beyond their maximum.
    fn evict(&mut self) -> Result<(), StoreError> {
        let grown: SmallVec<[BucketId; 1]> =
            self.touched.iter().filter(|touched| touched.grown).map(|touched| touched.bucket).collect();
        for bucket in grown {
            loop {
                let table = self.table(bucket)?;
                if table.definition.size_max.is_none_or(|max| table.len() <= max) {
                    break;
                }
                let Some(oldest) = table.oldest(self.spared) else { break };
                self.drop_record(bucket, oldest)?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Outcome {
        for step in &self.steps {
            if let (Some(old), None) = (&step.old, &step.new)
                && let Some(table) = self.tables.get_mut(step.bucket)
            {
                table.remember_deleted(step.seq, old.key());
            }
        }
        let steps = if self.mode == Mode::Program && self.steps.len() > 1 {
            net(self.steps.into_vec()).into()
        } else {
            self.steps
        };
        let change = |step: Step| {
            let bucket = self.tables.get(step.bucket)?.name().clone();
            step.into_change(bucket)
        };
        let mut changes = Vec::with_capacity(steps.len());
        changes.extend(steps.into_iter().filter_map(change));
        let touched = self.touched.iter().map(|touched| touched.bucket).collect();
        Outcome { changes, touched, ignored_restrictions: self.ignored_restrictions }
    }

    fn undo(&mut self) {
        while let Some(step) = self.steps.pop() {
            if let Some(table) = self.tables.get_mut(step.bucket) {
                table.put(step.seq, step.old);
            }
        }
        for touched in &self.touched {
            if let Some(table) = self.tables.get_mut(touched.bucket) {
                table.counter = touched.counter;
                table.next_seq = touched.next_seq;
            }
        }
    }

    /// Notes that all references of a record are to be judged at the end.
    fn check_all_references(&mut self, bucket: BucketId, seq: u64) -> Result<(), StoreError> {
        let definition = Arc::clone(&self.table(bucket)?.definition);
        self.check_references(bucket, seq, &definition, |_| true);
        Ok(())
    }

    fn check_references(
        &mut self,
        bucket: BucketId,
        seq: u64,
        definition: &Definition,
        concerned: impl Fn(&str) -> bool,
    ) {
        if !obeys_references(&definition.name) {
            return;
        }
        let operation = self.operation;
        for field in &definition.fields {
            if let Some((target, _)) = &field.reference
                && concerned(&field.name)
            {
                let (field, target) = (field.name.clone(), target.clone());
                self.checks.push(ReferenceCheck { bucket, seq, field, target, operation });
            }
        }
    }
}

/// Takes away what an update may not change.
fn changeable(definition: &Definition, mut changes: Object) -> Object {
    let kept = |name: &CompactString| {
        ![VERSION, CREATED_AT, UPDATED_AT].contains(&name.as_str())
            && *name != definition.key
            && !definition.fields.iter().any(|field| field.name == *name && field.generated.is_some())
    };
    changes.retain(kept);
    changes
}

fn duplicate_key(table: &Table, key: &Value) -> StoreError {
    StoreError::DuplicateKey {
        bucket: table.name().to_string(),
        field: table.definition.key.as_str().into(),
        key: key.clone(),
    }
}

/// What an insert takes from outside.
struct Values<'a> {
    random: &'a mut (dyn Random + Send),
    counter: u64,
    now_ms: u64,
}

impl Generate for Values<'_> {
    fn random_bytes(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes);
        bytes
    }

    fn counter(&self) -> u64 {
        self.counter
    }

    fn now_ms(&self) -> u64 {
        self.now_ms
    }
}
