//! Records by key.

use super::{Hashing, hashing};
use crate::key::{Scalar, Sought};
use crate::record::Record;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::hash::BuildHasher;
use std::sync::Arc;

/// What is found by a key. A read by key is the most frequent call, and most of its time is spent waiting for memory:
/// so the record is here again, and its text too once it has been read, which spares a visit to the record.
#[derive(Debug)]
pub(super) struct Keyed {
    pub(super) key: Scalar,
    pub(super) seq: u64,
    pub(super) record: Arc<Record>,
    pub(super) text: Option<Arc<str>>,
}

/// The hash table of a bucket. A large one is divided, since a table that grows moves all its entries at once while
/// everybody waits: with a million records, for some 50 ms.
#[derive(Debug)]
pub(super) struct Keys {
    hashing: Hashing,
    /// One, or [`PARTS`].
    parts: Vec<HashTable<Keyed>>,
}

/// Parts of a large table.
const PARTS: usize = 64;
/// Entries of a table that is not divided yet; moving them takes about a millisecond.
const WHOLE_MAX: usize = 28_672;

impl Keys {
    pub(super) fn new(seed: u64) -> Self {
        Self { hashing: hashing(seed), parts: vec![HashTable::new()] }
    }

    /// Makes room for so many entries in a table that is empty.
    pub(super) fn reserve(&mut self, count: usize) {
        if count > WHOLE_MAX {
            self.divide();
        }
        let each = count / self.parts.len();
        let (hashing, parts) = (&self.hashing, &mut self.parts);
        for part in parts {
            // A little more, since the parts do not fill evenly.
            part.reserve(each + each / 16, |keyed| hashing.hash_one(&keyed.key));
        }
    }

    pub(super) fn get(&self, key: &Sought<'_>) -> Option<&Keyed> {
        self.get_hashed(key, self.hash(key))
    }

    pub(super) fn hash(&self, key: &Sought<'_>) -> u64 {
        self.hashing.hash_one(key)
    }

    /// As [`Keys::get`], with the hash of the key.
    pub(super) fn get_hashed(&self, key: &Sought<'_>, hash: u64) -> Option<&Keyed> {
        self.parts.get(self.part(hash))?.find(hash, |keyed| same(key, keyed))
    }

    pub(super) fn get_mut(&mut self, key: &Sought<'_>) -> Option<&mut Keyed> {
        let hash = self.hash(key);
        let part = self.part(hash);
        self.parts.get_mut(part)?.find_mut(hash, |keyed| same(key, keyed))
    }

    /// Puts an entry in and tells whether its key was free; otherwise the entry takes the place of the other one.
    pub(super) fn insert(&mut self, keyed: Keyed) -> bool {
        if self.parts.len() == 1 && self.parts.iter().any(|whole| whole.len() >= WHOLE_MAX) {
            self.divide();
        }
        self.insert_undivided(keyed)
    }

    pub(super) fn remove(&mut self, key: &Sought<'_>) {
        let hash = self.hash(key);
        let part = self.part(hash);
        if let Some(part) = self.parts.get_mut(part)
            && let Ok(entry) = part.find_entry(hash, |keyed| same(key, keyed))
        {
            entry.remove();
        }
    }

    fn insert_undivided(&mut self, keyed: Keyed) -> bool {
        let hash = self.hashing.hash_one(&keyed.key);
        let (at, hashing) = (self.part(hash), &self.hashing);
        let Some(part) = self.parts.get_mut(at) else { return false };
        match part.entry(hash, |other| other.key == keyed.key, |other| hashing.hash_one(&other.key)) {
            Entry::Vacant(free) => {
                free.insert(keyed);
                true
            }
            Entry::Occupied(mut taken) => {
                *taken.get_mut() = keyed;
                false
            }
        }
    }

    fn divide(&mut self) {
        let whole = std::mem::replace(&mut self.parts, (0..PARTS).map(|_| HashTable::new()).collect());
        for keyed in whole.into_iter().flatten() {
            self.insert_undivided(keyed);
        }
    }

    /// The part of a hash. A table finds places by the lowest bits and marks entries by the highest ones.
    fn part(&self, hash: u64) -> usize {
        (hash >> 40) as usize & (self.parts.len() - 1)
    }
}

fn same(key: &Sought<'_>, keyed: &Keyed) -> bool {
    hashbrown::Equivalent::equivalent(key, &keyed.key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::{Members, Shapes};
    use noex_json::{Object, Value};
    use std::collections::HashMap;

    /// Numbers and texts that look like them.
    fn key(n: usize) -> Value {
        if n.is_multiple_of(2) { Value::Number(n as f64) } else { Value::from(n.to_string().as_str()) }
    }

    fn keyed(n: usize, seq: u64) -> Keyed {
        let record = Record::new(Members::new(Object::new(), &mut Shapes::new("id")), 1, None);
        Keyed { key: Scalar::new(&key(n)).expect("a scalar"), seq, record, text: None }
    }

    /// Random insertions and removals around the size at which the table is divided, against a plain map.
    #[test]
    fn a_divided_table_finds_what_an_undivided_one_does() {
        let mut keys = Keys::new(7);
        let mut model: HashMap<usize, u64> = HashMap::new();
        let mut random = 1_u64;
        for seq in 0..200_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let n = (random >> 33) as usize % 50_000;
            if random >> 62 == 0 {
                keys.remove(&sought(&key(n)));
                model.remove(&n);
            } else {
                assert_eq!(keys.insert(keyed(n, seq)), model.insert(n, seq).is_none());
            }
        }
        assert!(keys.parts.len() == PARTS && model.len() > WHOLE_MAX);
        for n in 0..50_000 {
            let seq = model.get(&n).copied();
            assert_eq!(keys.get(&sought(&key(n))).map(|keyed| keyed.seq), seq);
            assert_eq!(keys.get_mut(&sought(&key(n))).map(|keyed| keyed.seq), seq);
        }
        // No part holds much more than its share.
        assert!(keys.parts.iter().all(|part| part.len() < 2 * model.len() / PARTS));
    }

    #[test]
    fn room_is_made_in_parts() {
        let mut keys = Keys::new(7);
        keys.reserve(100_000);
        assert!(
            keys.parts.len() == PARTS && keys.parts.iter().all(|part| part.capacity() >= 100_000 / PARTS)
        );
        assert!(keys.insert(keyed(1, 3)) && !keys.insert(keyed(1, 4)));
        assert_eq!(keys.get(&sought(&Value::from("1"))).map(|keyed| keyed.seq), Some(4));
        keys.remove(&sought(&Value::from("1")));
        assert!(keys.get(&sought(&Value::from("1"))).is_none());
    }

    fn sought(value: &Value) -> Sought<'_> {
        Sought::new(value).expect("a scalar")
    }
}
