//! Ordered rows in chunks that snapshots share.
//!
//! A list of chunks, each a short sorted list: a change touches one chunk, a snapshot costs one reference per chunk,
//! and two versions are compared by skipping the chunks that they have in common.

use crate::query::SortKey;
use std::sync::Arc;

/// Greatest number of rows in a chunk.
pub(super) const CHUNK_ROWS_MAX: usize = 64;

/// Position of a row: by sort key, then by base order.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Place {
    pub(super) key: SortKey,
    pub(super) seq: u64,
}

/// A row and its position.
#[derive(Clone, Debug)]
pub(super) struct Row<V> {
    pub(super) place: Place,
    pub(super) value: V,
}

/// Never empty.
pub(super) type Chunk<V> = Vec<Row<V>>;

/// Rows in order.
#[derive(Clone, Debug)]
pub(super) struct Rows<V> {
    chunks: Vec<Arc<Chunk<V>>>,
    len: usize,
    /// Bytes that keys hold outside of the rows.
    key_bytes: usize,
}

impl<V: Clone> Rows<V> {
    /// Collects rows that are in order.
    pub(super) fn from_sorted(rows: impl IntoIterator<Item = Row<V>>) -> Self {
        let mut collected = Self { chunks: Vec::new(), len: 0, key_bytes: 0 };
        let mut chunk = Vec::new();
        for row in rows {
            if chunk.len() == CHUNK_ROWS_MAX {
                collected.chunks.push(Arc::new(std::mem::take(&mut chunk)));
            }
            collected.len += 1;
            collected.key_bytes += row.place.key.heap_bytes();
            chunk.push(row);
        }
        if !chunk.is_empty() {
            collected.chunks.push(Arc::new(chunk));
        }
        collected
    }

    /// Gives the number of rows.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Gives the chunks.
    pub(super) fn chunks(&self) -> &[Arc<Chunk<V>>] {
        &self.chunks
    }

    /// Iterates over the rows in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Row<V>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// Iterates over the rows at these positions: O(number of chunks + rows in the range).
    pub(super) fn range(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = &Row<V>> {
        let mut skipped = 0;
        let is_before = |chunk: &&Arc<Chunk<V>>| {
            let is_before = skipped + chunk.len() <= range.start;
            skipped += if is_before { chunk.len() } else { 0 };
            is_before
        };
        let first = self.chunks.iter().take_while(is_before).count();
        let rows = self.chunks.iter().skip(first).flat_map(|chunk| chunk.iter());
        rows.skip(range.start - skipped).take(range.len())
    }

    /// Gives the last row.
    pub(super) fn last(&self) -> Option<&Row<V>> {
        self.chunks.last()?.last()
    }

    /// Estimates the memory held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        // Chunks are on average three quarters full.
        self.len * size_of::<Row<V>>() * 4 / 3 + self.key_bytes
    }

    /// Finds the chunk in which a place is or belongs; of no meaning if there is no chunk.
    fn chunk_at(&self, place: &Place) -> usize {
        let is_before = |chunk: &Arc<Chunk<V>>| chunk.last().is_some_and(|row| row.place < *place);
        self.chunks.partition_point(is_before).min(self.chunks.len().saturating_sub(1))
    }

    fn search(chunk: &Chunk<V>, place: &Place) -> Result<usize, usize> {
        chunk.binary_search_by(|row| row.place.cmp(place))
    }

    /// Counts the rows before a place: O(number of chunks).
    pub(super) fn rank(&self, place: &Place) -> usize {
        let at = self.chunk_at(place);
        let before: usize = self.chunks.iter().take(at).map(|chunk| chunk.len()).sum();
        before + self.chunks.get(at).map_or(0, |chunk| Self::search(chunk, place).unwrap_or_else(|at| at))
    }

    /// Adds a row, or replaces the one at its place. O(log n), and now and then O(number of chunks).
    pub(super) fn insert(&mut self, place: Place, value: V) {
        let at = self.chunk_at(&place);
        let chunks = self.chunks.len();
        let Some(chunk) = self.chunks.get_mut(at) else {
            *self = Self::from_sorted([Row { place, value }]);
            return;
        };
        match Self::search(chunk, &place) {
            Ok(found) => {
                if let Some(row) = Arc::make_mut(chunk).get_mut(found) {
                    row.value = value;
                }
                return;
            }
            // A list that grows at its end has full chunks.
            Err(CHUNK_ROWS_MAX) if at + 1 == chunks => {
                self.key_bytes += place.key.heap_bytes();
                self.chunks.push(Arc::new(vec![Row { place, value }]));
            }
            Err(gap) => {
                self.key_bytes += place.key.heap_bytes();
                let chunk = Arc::make_mut(chunk);
                chunk.insert(gap, Row { place, value });
                if chunk.len() > CHUNK_ROWS_MAX {
                    let rest = chunk.split_off(chunk.len() / 2);
                    self.chunks.insert(at + 1, Arc::new(rest));
                }
            }
        }
        self.len += 1;
    }

    /// Removes the row at a place; false if there is none. O(log n), and now and then O(number of chunks).
    pub(super) fn remove(&mut self, place: &Place) -> bool {
        let at = self.chunk_at(place);
        let Some(chunk) = self.chunks.get_mut(at) else { return false };
        let Ok(found) = Self::search(chunk, place) else { return false };
        let chunk = Arc::make_mut(chunk);
        let row = chunk.remove(found);
        self.key_bytes -= row.place.key.heap_bytes();
        self.len -= 1;
        let rest = chunk.len();
        if rest < CHUNK_ROWS_MAX / 4 {
            self.merge(at, rest);
        }
        true
    }

    /// Joins a short chunk with the next or the previous one.
    fn merge(&mut self, at: usize, rest: usize) {
        if rest == 0 {
            self.chunks.remove(at);
            return;
        }
        let first = if at + 1 < self.chunks.len() { at } else { at.saturating_sub(1) };
        let fits = |pair: &[Arc<Chunk<V>>]| {
            pair.len() == 2 && pair.iter().map(|chunk| chunk.len()).sum::<usize>() <= CHUNK_ROWS_MAX / 2
        };
        if self.chunks.get(first..first + 2).is_some_and(fits) {
            let second = self.chunks.remove(first + 1);
            if let Some(chunk) = self.chunks.get_mut(first) {
                Arc::make_mut(chunk).extend(second.iter().cloned());
            }
        }
    }

    /// Replaces the value of the row at a place; false if there is none.
    pub(super) fn replace(&mut self, place: &Place, value: V) -> bool {
        let at = self.chunk_at(place);
        let Some(chunk) = self.chunks.get_mut(at) else { return false };
        let Ok(found) = Self::search(chunk, place) else { return false };
        if let Some(row) = Arc::make_mut(chunk).get_mut(found) {
            row.value = value;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn place(seq: u64) -> Place {
        Place { key: SortKey::default(), seq }
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(steps in prop::collection::vec((0..400_u64, 0..8_u8), 0..600), start in 0..300_u64) {
            let mut map: BTreeMap<u64, u8> = (0..start).map(|seq| (seq, 0)).collect();
            let mut rows = Rows::from_sorted(map.iter().map(|(s, v)| Row { place: place(*s), value: *v }));
            let mut snapshot = (rows.clone(), map.clone());
            for (seq, action) in steps {
                match action {
                    0..4 => {
                        rows.insert(place(seq), action);
                        map.insert(seq, action);
                    }
                    4 => {
                        prop_assert_eq!(rows.replace(&place(seq), action), map.contains_key(&seq));
                        map.entry(seq).and_modify(|value| *value = action);
                    }
                    _ => prop_assert_eq!(rows.remove(&place(seq)), map.remove(&seq).is_some()),
                }
                prop_assert_eq!(rows.rank(&place(seq)), map.range(..seq).count());
                if action == 7 {
                    snapshot = (rows.clone(), map.clone());
                }
            }
            for (rows, map) in [snapshot, (rows, map)] {
                prop_assert_eq!((rows.len(), rows.key_bytes), (map.len(), 0));
                prop_assert!(rows.chunks.iter().all(|chunk| (1..=CHUNK_ROWS_MAX).contains(&chunk.len())));
                let middle: Vec<u64> = rows.range(70..140).map(|row| row.place.seq).collect();
                prop_assert_eq!(middle, map.keys().copied().skip(70).take(70).collect::<Vec<_>>());
                let listed: Vec<(u64, u8)> = rows.iter().map(|row| (row.place.seq, row.value)).collect();
                prop_assert_eq!(listed, map.into_iter().collect::<Vec<_>>());
            }
        }
    }
}
