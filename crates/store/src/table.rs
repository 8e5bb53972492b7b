//! The records of one bucket, and every order and index over them.
//!
//! Base order is the order of `seq`, which a record keeps for life. It is a persistent map, so a snapshot is an O(1)
//! clone. Every change goes through [`Table::put`], which keeps all structures in step; uniqueness is judged by the
//! transaction on its final state, so in between an index may hold a value twice.

mod keys;
#[cfg(test)]
mod tests;

use crate::collation::CollationKey;
use crate::error::StoreError;
use crate::index::{Index, IndexSpec};
use crate::key::{Real, Scalar, Sought};
use crate::members::{Members, Shapes};
use crate::record::{CREATED_AT, EXPIRES_AT, Record};
use crate::schema::Definition;
use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;
use hashbrown::HashMap;
use imbl::{OrdMap, OrdSet};
use keys::{Keyed, Keys};
use noex_json::{CompactString, Value};
use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// Identifies one life of a bucket: a bucket that is dropped and defined again gets another one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct BucketId(pub(crate) u64);

/// Hasher of everything keyed by what clients choose.
pub(crate) type Hashing = SeedableRandomState;

/// Makes a hasher from a random seed.
pub(crate) fn hashing(seed: u64) -> Hashing {
    SeedableRandomState::with_seed(seed, SharedSeed::global_fixed())
}

/// Records in base order.
pub(crate) type Records = OrdMap<u64, Arc<Record>>;

/// Records in key order.
pub(crate) type KeyOrder = OrdSet<(Arc<CollationKey>, u64)>;

/// How many deleted records' places are remembered per bucket, for cursors that name them.
const DELETED_MAX: usize = 1024;

/// One bucket.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) id: BucketId,
    pub(crate) definition: Arc<Definition>,
    keys: Keys,
    pub(crate) shapes: Shapes,
    records: Records,
    indexes: Vec<Index>,
    key_order: Option<KeyOrder>,
    /// By time of insertion; only with a maximum size.
    eviction: Option<BTreeSet<(Real, u64)>>,
    /// By deadline; only with a time to live.
    expiry: Option<BTreeSet<(Real, u64)>>,
    deleted: Deleted,
    /// Last number given out.
    pub(crate) counter: u64,
    /// Place of the next new record.
    pub(crate) next_seq: u64,
    /// The counter and the next place as the journal has them.
    pub(crate) journaled: (u64, u64),
    /// Place among the buckets in the order of their definition; given by [`crate::tables::Tables`].
    pub(crate) place: u64,
    /// Brought back at start and not defined by anybody since: the first definition takes it over.
    pub(crate) revived: bool,
}

impl Table {
    /// Makes an empty bucket.
    pub(crate) fn new(id: BucketId, definition: Definition, seed: u64) -> Self {
        let indexes = index_specs(&definition).into_iter().map(Index::new).collect();
        Self {
            id,
            keys: Keys::new(seed),
            shapes: Shapes::new(&definition.key),
            records: Records::new(),
            indexes,
            key_order: definition.ordered.then(KeyOrder::new),
            eviction: definition.size_max.map(|_| BTreeSet::new()),
            expiry: definition.ttl_ms.map(|_| BTreeSet::new()),
            deleted: Deleted::new(seed),
            counter: 0,
            next_seq: 0,
            journaled: (0, 0),
            place: 0,
            revived: false,
            definition: Arc::new(definition),
        }
    }

    /// Makes a bucket of records in base order. They are taken as they are, except that each needs a key of its own and
    /// own values in unique fields. O(n log n).
    ///
    /// # Errors
    /// [`StoreError::DataDoesNotFit`] with the first record that does not fit.
    pub(crate) fn with_records(
        id: BucketId,
        definition: Definition,
        seed: u64,
        records: impl ExactSizeIterator<Item = (u64, Arc<Record>)>,
    ) -> Result<Self, StoreError> {
        let mut table = Self::new(id, definition, seed);
        table.keys.reserve(records.len());
        let mut kept = Vec::with_capacity(records.len());
        for (seq, record) in records {
            let record = table.fitted(record);
            if record.key().is_null() {
                return Err(table.does_not_fit(record.key(), "it has no key"));
            }
            if let Some(key) = Scalar::new(record.key())
                && !table.keys.insert(Keyed { key, seq, record: Arc::clone(&record), text: None })
            {
                return Err(table.does_not_fit(record.key(), "its key occurs twice"));
            }
            if let Some((order, place)) = table.key_order.as_mut().zip(record.order()) {
                order.insert((Arc::clone(place), seq));
            }
            table.next_seq = table.next_seq.max(seq.saturating_add(1));
            kept.push((seq, record));
        }
        table.records = kept.into_iter().collect();
        let specs: Vec<IndexSpec> = table.indexes.iter().map(|index| index.spec.clone()).collect();
        let build = |spec: &IndexSpec| {
            let twice = |seq| {
                let problem = format!("the value of its unique field \"{}\" occurs twice", spec.field);
                table.does_not_fit(
                    table.records.get(&seq).map_or(&Value::Null, |record| record.key()),
                    &problem,
                )
            };
            table.build_index(spec).map_err(twice)
        };
        table.indexes = specs.iter().map(build).collect::<Result<_, _>>()?;
        if let Some(expiry) = &mut table.expiry {
            *expiry = table.records.iter().filter_map(deadline_entry).collect();
        }
        if let Some(eviction) = &mut table.eviction {
            *eviction = table.records.iter().map(age_entry).collect();
        }
        Ok(table)
    }

    /// Gives a record the key and the place in key order that this bucket's definition asks for.
    fn fitted(&mut self, record: Arc<Record>) -> Arc<Record> {
        let key = record.members().get(&self.definition.key).unwrap_or(&Value::Null);
        // Not its value only: the two fields may be equal now and differ later.
        let same_key = record.members().key_field() == Some(&*self.definition.key);
        if same_key && record.order().is_some() == self.key_order.is_some() {
            return record;
        }
        let order = self.order_of(key);
        let members = Members::new(record.members().to_object(), &mut self.shapes);
        Record::new(members, record.version(), order)
    }

    fn does_not_fit(&self, key: &Value, problem: &str) -> StoreError {
        StoreError::DataDoesNotFit {
            bucket: self.name().to_string(),
            key: key.clone(),
            problem: problem.into(),
        }
    }

    /// Replaces the definition by an updated one, building what is new first.
    ///
    /// # Errors
    /// [`StoreError::Unique`] with the first duplicate if a new unique field has some; nothing is changed then.
    pub(crate) fn redefine(&mut self, definition: Definition) -> Result<(), StoreError> {
        let specs = index_specs(&definition);
        let mut built = Vec::new();
        for spec in &specs {
            if !self.indexes.iter().any(|index| index.spec == *spec) {
                let index = self.build_index(spec);
                built.push(index.map_err(|seq| self.unique_violation_at(&spec.field, seq))?);
            }
        }
        let mut indexes = Vec::with_capacity(specs.len());
        built.append(&mut self.indexes);
        for spec in &specs {
            if let Some(at) = built.iter().position(|index| index.spec == *spec) {
                indexes.push(built.swap_remove(at));
            }
        }
        self.indexes = indexes;
        match (definition.ttl_ms, &self.expiry) {
            (None, _) => self.expiry = None,
            (Some(_), None) => self.expiry = Some(self.records.iter().filter_map(deadline_entry).collect()),
            (Some(_), Some(_)) => {}
        }
        match (definition.size_max, &self.eviction) {
            (None, _) => self.eviction = None,
            (Some(_), None) => self.eviction = Some(self.records.iter().map(age_entry).collect()),
            (Some(_), Some(_)) => {}
        }
        self.definition = Arc::new(definition);
        Ok(())
    }

    /// Gives the place of the first record whose value occurs twice where it may not.
    fn build_index(&self, spec: &IndexSpec) -> Result<Index, u64> {
        let values = self.records.iter();
        let values = values.filter_map(|(seq, record)| Some((*seq, record.members().get(&spec.field)?)));
        Index::build(spec.clone(), values)
    }

    fn unique_violation_at(&self, field: &str, seq: u64) -> StoreError {
        let value = self.records.get(&seq).and_then(|record| record.members().get(field));
        self.unique_violation(field, value.unwrap_or(&Value::Null))
    }

    /// Makes the error for a value that occurs twice.
    pub(crate) fn unique_violation(&self, field: &str, value: &Value) -> StoreError {
        StoreError::Unique { bucket: self.name().to_string(), field: field.into(), value: value.clone() }
    }

    /// Gives the bucket's name.
    pub(crate) fn name(&self) -> &CompactString {
        &self.definition.name
    }

    /// Gives the number of records.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Gives the records in base order; cloning them is a snapshot.
    pub(crate) fn records(&self) -> &Records {
        &self.records
    }

    /// Gives the key order, if the bucket has one.
    pub(crate) fn key_order(&self) -> Option<&KeyOrder> {
        self.key_order.as_ref()
    }

    /// Finds the place of the record with a key.
    pub(crate) fn seq_of(&self, key: &Value) -> Option<u64> {
        self.keys.get(&Sought::new(key)?).map(|keyed| keyed.seq)
    }

    /// Finds the record with a key.
    pub(crate) fn find(&self, key: &Value) -> Option<&Arc<Record>> {
        self.keys.get(&Sought::new(key)?).map(|keyed| &keyed.record)
    }

    /// Gives the hash of a key in this bucket.
    pub(crate) fn hash(&self, key: &Sought<'_>) -> u64 {
        self.keys.hash(key)
    }

    /// Finds the text of the record with a key of this hash, if it has been read before.
    pub(crate) fn peek_text(&self, key: &Sought<'_>, hash: u64) -> Option<&str> {
        self.keys.get_hashed(key, hash)?.text.as_deref()
    }

    /// Finds the text of the record with a key.
    pub(crate) fn find_text(&mut self, key: &Value) -> Option<&Arc<str>> {
        let keyed = self.keys.get_mut(&Sought::new(key)?)?;
        Some(keyed.text.get_or_insert_with(|| Arc::clone(keyed.record.json())))
    }

    /// Gives the record at a place.
    pub(crate) fn at(&self, seq: u64) -> Option<&Arc<Record>> {
        self.records.get(&seq)
    }

    /// Gives all indexes: the declared ones in order, then hidden ones.
    pub(crate) fn indexes(&self) -> &[Index] {
        &self.indexes
    }

    /// Finds the index on a field.
    pub(crate) fn index(&self, field: &str) -> Option<&Index> {
        self.indexes.iter().find(|index| index.spec.field == field)
    }

    /// Gives the earliest deadline.
    pub(crate) fn first_deadline(&self) -> Option<Real> {
        self.expiry.as_ref()?.first().map(|(deadline, _)| *deadline)
    }

    /// Lists records whose deadline has come, earliest first.
    pub(crate) fn due(&self, now_ms: u64) -> Vec<u64> {
        let Some((expiry, now)) = self.expiry.as_ref().zip(Real::new(now_ms as f64)) else {
            return Vec::new();
        };
        expiry.range(..=(now, u64::MAX)).map(|(_, seq)| *seq).collect()
    }

    /// Gives the record to evict next, sparing `spared`.
    pub(crate) fn oldest(&self, spared: Option<u64>) -> Option<u64> {
        self.eviction.as_ref()?.iter().map(|(_, seq)| *seq).find(|seq| Some(*seq) != spared)
    }

    /// Puts a record at a place, or removes what is there, and gives what was there. O(log n).
    pub(crate) fn put(&mut self, seq: u64, new: Option<Arc<Record>>) -> Option<Arc<Record>> {
        let old = match &new {
            Some(record) => self.records.insert(seq, Arc::clone(record)),
            None => self.records.remove(&seq),
        };
        self.put_key(seq, old.as_ref(), new.as_ref());
        for index in &mut self.indexes {
            let before = old.as_ref().and_then(|record| record.members().get(&index.spec.field));
            let after = new.as_ref().and_then(|record| record.members().get(&index.spec.field));
            index.change(seq, before, after);
        }
        if let Some(eviction) = &mut self.eviction {
            change_entry(
                eviction,
                old.as_ref().map(|r| age_entry((&seq, r))),
                new.as_ref().map(|r| age_entry((&seq, r))),
            );
        }
        if let Some(expiry) = &mut self.expiry {
            let entry =
                |record: &Option<Arc<Record>>| record.as_ref().and_then(|r| deadline_entry((&seq, r)));
            change_entry(expiry, entry(&old), entry(&new));
        }
        old
    }

    fn put_key(&mut self, seq: u64, old: Option<&Arc<Record>>, new: Option<&Arc<Record>>) {
        if let (Some(_), Some(record)) = (old, new) {
            // A record keeps its key for life; its version changes.
            let held = Sought::new(record.key()).and_then(|key| self.keys.get_mut(&key));
            if let Some(keyed) = held.filter(|keyed| keyed.seq == seq) {
                keyed.record = Arc::clone(record);
                keyed.text = None;
            }
            return;
        }
        if let Some(record) = old {
            if let Some(key) = Sought::new(record.key())
                && self.keys.get(&key).is_some_and(|keyed| keyed.seq == seq)
            {
                self.keys.remove(&key);
            }
            if let Some((order, place)) = self.key_order.as_mut().zip(record.order()) {
                order.remove(&(Arc::clone(place), seq));
            }
        }
        if let Some(record) = new {
            if let Some(key) = Scalar::new(record.key()) {
                self.keys.insert(Keyed { key, seq, record: Arc::clone(record), text: None });
            }
            if let Some((order, place)) = self.key_order.as_mut().zip(record.order()) {
                order.insert((Arc::clone(place), seq));
            }
        }
    }

    /// Remembers the place of a deleted record, for cursors that still name it.
    pub(crate) fn remember_deleted(&mut self, seq: u64, key: &Value) {
        if let Some(key) = Scalar::new(key) {
            self.deleted.push(key, seq);
        }
    }

    /// Finds the place of a recently deleted record.
    pub(crate) fn deleted_seq(&self, key: &Value) -> Option<u64> {
        self.deleted.places.get(&Sought::new(key)?).copied()
    }

    /// Gives the place in key order that a record with this key has.
    pub(crate) fn order_of(&self, key: &Value) -> Option<Arc<CollationKey>> {
        self.key_order.is_some().then(|| Arc::new(CollationKey::new(key)))
    }
}

/// Places of recently deleted records, in bounded memory.
#[derive(Debug)]
struct Deleted {
    places: HashMap<Scalar, u64, Hashing>,
    /// Oldest first; an entry whose place is no longer that in `places` is void.
    queue: VecDeque<(Scalar, u64)>,
}

impl Deleted {
    fn new(seed: u64) -> Self {
        Self { places: HashMap::with_hasher(hashing(seed)), queue: VecDeque::new() }
    }

    fn push(&mut self, key: Scalar, seq: u64) {
        self.queue.push_back((key.clone(), seq));
        self.places.insert(key, seq);
        while self.queue.len() > DELETED_MAX {
            let Some((key, seq)) = self.queue.pop_front() else { return };
            if self.places.get(&key) == Some(&seq) {
                self.places.remove(&key);
            }
        }
    }
}

/// Lists the indexes that a definition needs: declared ones in order, then other unique fields, then references.
fn index_specs(definition: &Definition) -> Vec<IndexSpec> {
    let mut specs: Vec<IndexSpec> = Vec::new();
    let unique = |name: &str| definition.fields.iter().any(|field| field.name == name && field.unique);
    for field in &definition.indexes {
        specs.push(IndexSpec { field: field.clone(), unique: unique(field), declared: true });
    }
    for field in &definition.fields {
        if field.unique && !specs.iter().any(|spec| spec.field == field.name) {
            specs.push(IndexSpec { field: field.name.clone(), unique: true, declared: true });
        }
    }
    for field in &definition.fields {
        if field.reference.is_some() && !specs.iter().any(|spec| spec.field == field.name) {
            specs.push(IndexSpec { field: field.name.clone(), unique: false, declared: false });
        }
    }
    specs
}

fn age_entry((seq, record): (&u64, &Arc<Record>)) -> (Real, u64) {
    (Real::of(record.members().get(CREATED_AT)).unwrap_or(Real::ZERO), *seq)
}

fn deadline_entry((seq, record): (&u64, &Arc<Record>)) -> Option<(Real, u64)> {
    Some((Real::of(record.members().get(EXPIRES_AT))?, *seq))
}

fn change_entry(set: &mut BTreeSet<(Real, u64)>, old: Option<(Real, u64)>, new: Option<(Real, u64)>) {
    if old == new {
        return;
    }
    if let Some(old) = old {
        set.remove(&old);
    }
    if let Some(new) = new {
        set.insert(new);
    }
}

/// A position behind which a page starts.
#[derive(Clone, Debug)]
pub(crate) enum Position {
    /// The beginning.
    Start,
    /// Behind this place in base order.
    Base(u64),
    /// Behind this place in key order.
    Key(Arc<CollationKey>, u64),
}

impl Table {
    /// Finds the position behind the record that a cursor names, or named; `None` if it is unknown.
    pub(crate) fn position(&self, cursor: Option<&Value>) -> Option<Position> {
        let Some(key) = cursor else { return Some(Position::Start) };
        Scalar::new(key)?;
        let seq = self.seq_of(key).or_else(|| self.deleted_seq(key));
        match self.order_of(key) {
            Some(order) => Some(Position::Key(order, seq.unwrap_or(u64::MAX))),
            None => seq.map(Position::Base),
        }
    }
}

/// Takes up to `count` records behind a position.
pub(crate) fn page(
    records: &Records,
    order: Option<&KeyOrder>,
    position: &Position,
    count: usize,
) -> Vec<Arc<Record>> {
    let Some(order) = order else {
        let from = match position {
            Position::Base(seq) => Bound::Excluded(*seq),
            Position::Start | Position::Key(..) => Bound::Unbounded,
        };
        let range = records.range((from, Bound::Unbounded));
        return range.take(count).map(|(_, record)| Arc::clone(record)).collect();
    };
    let from = match position {
        Position::Key(key, seq) => Bound::Excluded((Arc::clone(key), *seq)),
        Position::Start | Position::Base(_) => Bound::Unbounded,
    };
    let range = order.range((from, Bound::Unbounded));
    range.take(count).filter_map(|(_, seq)| records.get(seq)).cloned().collect()
}

/// Takes the last `count` records, in forward order.
pub(crate) fn last(records: &Records, order: Option<&KeyOrder>, count: usize) -> Vec<Arc<Record>> {
    let mut taken: Vec<Arc<Record>> = match order {
        None => records.values().rev().take(count).cloned().collect(),
        Some(order) => {
            order.iter().rev().take(count).filter_map(|(_, seq)| records.get(seq)).cloned().collect()
        }
    };
    taken.reverse();
    taken
}
