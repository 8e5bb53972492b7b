//! Rows in the order in which they came, found by a key or through an index.

use hashbrown::{Equivalent, HashMap};
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::Hash,
};

/// Place of a row in the order of insertion; never used twice.
pub(crate) type Place = u64;

/// Rows by key. A replaced row keeps its place.
#[derive(Clone, Debug)]
pub(crate) struct Table<K, T> {
    rows: BTreeMap<Place, T>,
    places: HashMap<K, Place>,
    next: Place,
}

impl<K: Hash + Eq, T> Default for Table<K, T> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), places: HashMap::new(), next: 0 }
    }
}

impl<K: Hash + Eq, T> Table<K, T> {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<&T> {
        self.rows.get(self.places.get(key)?)
    }

    pub(crate) fn at(&self, place: Place) -> Option<&T> {
        self.rows.get(&place)
    }

    /// Adds a row, or replaces the row of the same key; gives the place and what was replaced.
    pub(crate) fn put(&mut self, key: K, row: T) -> (Place, Option<T>) {
        let next = &mut self.next;
        let place = *self.places.entry(key).or_insert_with(|| {
            *next += 1;
            *next
        });
        (place, self.rows.insert(place, row))
    }

    pub(crate) fn remove<Q: Hash + Equivalent<K> + ?Sized>(&mut self, key: &Q) -> Option<(Place, T)> {
        let place = self.places.remove(key)?;
        Some((place, self.rows.remove(&place)?))
    }

    /// Iterates in the order of insertion.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.rows.values()
    }
}

/// Places of rows by a value that several rows may share.
#[derive(Clone, Debug)]
pub(crate) struct Index<K>(HashMap<K, BTreeSet<Place>>);

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq> Index<K> {
    pub(crate) fn add(&mut self, value: K, place: Place) {
        self.0.entry(value).or_default().insert(place);
    }

    pub(crate) fn remove<Q: Hash + Equivalent<K> + ?Sized>(&mut self, value: &Q, place: Place) {
        let emptied = self.0.get_mut(value).is_some_and(|places| {
            places.remove(&place);
            places.is_empty()
        });
        if emptied {
            self.0.remove(value);
        }
    }

    /// Places in ascending order, which is the order of insertion.
    pub(crate) fn places<Q: Hash + Equivalent<K> + ?Sized>(
        &self,
        value: &Q,
    ) -> impl Iterator<Item = Place> + use<'_, K, Q> {
        self.0.get(value).into_iter().flatten().copied()
    }

    pub(crate) fn count<Q: Hash + Equivalent<K> + ?Sized>(&self, value: &Q) -> usize {
        self.0.get(value).map_or(0, BTreeSet::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_row_keeps_its_place_and_a_removed_one_loses_it() {
        let mut table: Table<String, u8> = Table::default();
        assert_eq!(table.put("a".into(), 1), (1, None));
        assert_eq!(table.put("b".into(), 2), (2, None));
        assert_eq!(table.put("a".into(), 3), (1, Some(1)));
        assert_eq!(table.iter().copied().collect::<Vec<_>>(), [3, 2]);
        assert_eq!(table.remove("a"), Some((1, 3)));
        assert_eq!(table.remove("a"), None);
        assert_eq!(table.put("a".into(), 4), (3, None));
        assert_eq!(table.iter().copied().collect::<Vec<_>>(), [2, 4]);
        assert_eq!((table.get("a"), table.at(2), table.len()), (Some(&4), Some(&2), 2));
    }

    #[test]
    fn an_index_forgets_values_without_rows() {
        let mut index: Index<String> = Index::default();
        index.add("x".into(), 2);
        index.add("x".into(), 1);
        assert_eq!(index.places("x").collect::<Vec<_>>(), [1, 2]);
        index.remove("x", 1);
        index.remove("y", 1);
        assert_eq!(index.count("x"), 1);
        index.remove("x", 2);
        assert_eq!((index.count("x"), index.0.len()), (0, 0));
    }
}
