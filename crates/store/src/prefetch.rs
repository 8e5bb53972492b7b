//! Bringing records into the processor's cache before they are asked for.
//!
//! A read by key waits for memory three times: for the place in the hash table, for the entry, for the record's text;
//! and since the text is counted as shared by an atomic instruction, the processor does not begin the next read
//! meanwhile. For keys known beforehand these waits overlap: each step is taken for all keys before the next one.
//! Safe code has no prefetch instruction, so the bytes are loaded and their sum is thrown away.

use crate::Store;
use crate::key::Sought;
use crate::table::Table;
use noex_json::Raw;
use smallvec::SmallVec;
use std::hint::black_box;

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
