//! Bringing records into the processor's cache before they are asked for.
//!
//! A read by key waits for memory three times: for the place in the hash table, for the entry, for the record's text;
//! and since the text is counted as shared by an atomic instruction, the processor does not begin the next read
//! meanwhile. For keys known beforehand these waits overlap: each step is taken for all keys before the next one.
//! A scan waits twice for each record: for the record and for its values. It, too, goes in batches.
//! Safe code has no prefetch instruction, so something is loaded and what comes of it is thrown away.

use crate::key::Sought;
use crate::table::Table;
use crate::{Record, Store};
use noex_json::Raw;
use smallvec::SmallVec;
use std::hint::black_box;
use std::sync::Arc;

/// Records looked up at once; more would not be in flight together.
const AT_ONCE: usize = 16;

/// Bytes that the processor loads together.
const LINE_BYTES: usize = 64;
/// Bytes loaded of a text; of a longer one the processor loads the rest by itself.
const BYTES_MAX: usize = 512;

impl Store {
    /// Loads what reads by key will need, named by bucket and key. Changes nothing; what is not there is
    /// passed over.
    pub fn prefetch(&self, records: &[(&str, Raw<'_>)]) {
        let mut sought: SmallVec<[(&Table, Sought<'_>, u64); AT_ONCE]> = SmallVec::new();
        for (bucket, key) in records {
            let table = match sought.last() {
                Some((table, ..)) if table.name() == *bucket => Some(*table),
                _ => self.tables.named(bucket),
            };
            if let Some((table, key)) = table.zip(Sought::in_text(*key)) {
                sought.push((table, key, table.hash(&key)));
            }
        }
        let found: SmallVec<[&str; AT_ONCE]> =
            sought.iter().filter_map(|(table, key, hash)| table.peek_text(key, *hash)).collect();
        let lines = found.iter().flat_map(|text| text.as_bytes().iter().take(BYTES_MAX).step_by(LINE_BYTES));
        black_box(lines.fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
    }
}

/// So many records are in the cache anyway.
const NEAR_MAX: usize = 4096;

/// Passes on entries of a bucket with `len` records, which are loaded in batches.
pub(crate) fn fetched<'a>(
    mut entries: impl Iterator<Item = (u64, &'a Arc<Record>)> + 'a,
    len: usize,
) -> Box<dyn Iterator<Item = (u64, &'a Arc<Record>)> + 'a> {
    if len <= NEAR_MAX {
        return Box::new(entries);
    }
    let mut batch = SmallVec::<[_; AT_ONCE]>::new().into_iter();
    Box::new(std::iter::from_fn(move || {
        batch.next().or_else(|| {
            let next: SmallVec<[_; AT_ONCE]> = entries.by_ref().take(AT_ONCE).collect();
            let load = |load: fn(&Record) -> u64| {
                black_box(next.iter().fold(0, |sum: u64, (_, record)| sum.wrapping_add(load(record))));
            };
            load(Record::version);
            load(|record| record.members().load());
            batch = next.into_iter();
            batch.next()
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::{Members, Shapes};
    use noex_json::{Object, Value};

    #[test]
    fn batches_pass_all_on_in_order() {
        let mut shapes = Shapes::new("id");
        let records: Vec<Arc<Record>> = (0..100)
            .map(|n| {
                let members: Object = [("id".into(), Value::Number(f64::from(n)))].into_iter().collect();
                Record::new(Members::new(members, &mut shapes), 1, None)
            })
            .collect();
        for (count, len) in
            [(0, NEAR_MAX + 1), (1, NEAR_MAX + 1), (16, NEAR_MAX + 1), (100, NEAR_MAX + 1), (100, 100)]
        {
            let entries = || (0_u64..).zip(&records).take(count);
            let passed: Vec<u64> = fetched(entries(), len)
                .map(|(seq, record)| {
                    assert_eq!(record.key(), &Value::Number(seq as f64));
                    seq
                })
                .collect();
            assert_eq!(passed, (0..count as u64).collect::<Vec<_>>());
        }
        let mut empty = fetched(std::iter::empty(), NEAR_MAX + 1);
        assert!(empty.next().is_none() && empty.next().is_none());
    }
}
