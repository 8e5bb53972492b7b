//! Buckets and queries of an earlier run: read back, asleep until somebody defines them again, or revived.
//!
//! A bucket that is defined again adopts its records, their order and its counter, provided the records fit: each
//! needs a key of its own and own values in unique fields. Otherwise the definition is refused and the data is kept.
//! Source: the store specification, D.4 and E-8.

use crate::admin::limit;
use crate::error::StoreError;
use crate::journal::{Image, JournalEntry, JournalError, StoredBucket};
use crate::members::Shapes;
use crate::query::QueryDefinition;
use crate::record::Record;
use crate::schema::Definition;
use crate::store::Store;
use crate::table::{BucketId, Table};
use crate::undo::{Undo, definition_text};
use noex_json::{CompactString, Object, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A bucket asleep.
#[derive(Clone, Debug)]
pub(crate) struct Dormant {
    pub(crate) id: BucketId,
    pub(crate) name: CompactString,
    /// Definition as it was kept.
    source: Object,
    /// In base order.
    records: Vec<(u64, Arc<Record>)>,
    counter: u64,
    next_seq: u64,
}

/// Everything asleep.
#[derive(Debug, Default)]
pub(crate) struct Sleepers {
    pub(crate) buckets: BTreeMap<CompactString, Dormant>,
    /// In the order of their definition.
    pub(crate) queries: Vec<(CompactString, Object)>,
}

/// How far reading back has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RestoreProgress {
    /// Buckets read so far.
    pub buckets: usize,
    /// Buckets there are.
    pub buckets_total: usize,
    /// Records read so far.
    pub records: u64,
}

/// Nesting of what is read back; everything kept was accepted with less.
const DEPTH_MAX: usize = 4096;
/// Records between two reports of progress.
const REPORT_RECORDS: u64 = 100_000;

impl Store {
    /// Reads back what was kept. All of it is asleep afterwards. `report` is called now and then, and at the end.
    ///
    /// # Errors
    /// If the image cannot be read, or holds what was never kept; the store must not be used then.
    pub fn restore(
        &mut self,
        image: &mut dyn Image,
        report: &mut dyn FnMut(RestoreProgress),
    ) -> Result<(), JournalError> {
        let buckets = image.buckets()?;
        let mut progress = RestoreProgress { buckets: 0, buckets_total: buckets.len(), records: 0 };
        for stored in buckets {
            let dormant = read_bucket(image, stored, &mut progress, report)?;
            self.tables.reserve_id(dormant.id);
            let name = dormant.name.clone();
            if self.dormant.buckets.insert(name.clone(), dormant).is_some() {
                return Err(JournalError(format!("bucket \"{name}\" is stored twice")));
            }
            progress.buckets += 1;
        }
        for (name, text) in image.queries()? {
            let config = object(&text).ok_or_else(|| {
                JournalError(format!("the definition of query \"{name}\" is not a JSON object"))
            })?;
            self.dormant.queries.push((name.into(), config));
        }
        report(progress);
        Ok(())
    }

    /// Wakes everything that is asleep, with the definitions that were kept. The first definition of such a bucket or
    /// query by anybody is accepted in its place, if the data fits.
    ///
    /// # Errors
    /// One text per bucket or query that cannot be woken; it stays asleep.
    pub fn revive(&mut self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        // What was imported without a definition waits for one.
        let known = self.dormant.buckets.values().filter(|dormant| !dormant.source.is_empty());
        let mut names: Vec<_> = known.map(|dormant| (dormant.id, dormant.name.clone())).collect();
        names.sort();
        for (_, name) in names {
            let Some(dormant) = self.dormant.buckets.remove(&name) else { continue };
            let seed = self.seed();
            match Definition::parse(&name, &dormant.source).and_then(|d| dormant.to_table(d, seed)) {
                Ok(mut table) => {
                    table.revived = true;
                    self.tables.add(table);
                }
                Err(error) => {
                    problems.push(format!("buckets.{name}: {error}"));
                    self.dormant.buckets.insert(name, dormant);
                }
            }
        }
        let options = self.query_options();
        for (name, config) in std::mem::take(&mut self.dormant.queries) {
            match QueryDefinition::parse(&name, &config, options) {
                Ok(definition) => self.queries.add(definition, true),
                Err(error) => {
                    problems.push(format!("queries.{name}: {error}"));
                    self.dormant.queries.push((name, config));
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Tells what in a new definition of a sleeping bucket is more than an addition of fields or indexes or a change
    /// of the time to live; `None` if nothing is, or if no such bucket is asleep, or with a definition that is not known.
    #[must_use]
    pub fn incompatibility(&self, name: &str, config: &Object) -> Option<String> {
        let old = &self.dormant.buckets.get(name).filter(|dormant| !dormant.source.is_empty())?.source;
        let empty = Object::new();
        let schema = |source: &'_ Object| source.get("schema").and_then(Value::as_object).cloned();
        let (old_fields, new_fields) = (schema(old).unwrap_or_default(), schema(config).unwrap_or(empty));
        for (field, definition) in old_fields.iter() {
            match new_fields.get(field) {
                None => return Some(format!("field \"{field}\" is missing")),
                Some(new) if new != definition => return Some(format!("field \"{field}\" differs")),
                Some(_) => {}
            }
        }
        let list = |source: &Object| source.get("indexes").and_then(Value::as_array).map(<[Value]>::to_vec);
        let new_indexes = list(config).unwrap_or_default();
        if let Some(index) = list(old).unwrap_or_default().iter().find(|index| !new_indexes.contains(index)) {
            return Some(format!("index {} is missing", index.to_json()));
        }
        let compared = |name: &&CompactString| !["schema", "indexes", "ttl"].contains(&name.as_str());
        let mut options: Vec<&CompactString> =
            old.iter().chain(config.iter()).map(|(name, _)| name).collect();
        options.retain(compared);
        let differs = |name: &&CompactString| old.get(name) != config.get(name);
        options.into_iter().find(differs).map(|name| format!("option \"{name}\" differs"))
    }

    /// Defines a bucket, which adopts what sleeps under its name.
    pub(crate) fn add_bucket(&mut self, definition: Definition) -> Result<(), StoreError> {
        let (seed, name) = (self.seed(), definition.name.clone());
        let text = definition_text(definition.source());
        let mut entries = Vec::new();
        let is_counted = |name: &str| !(self.options.system_buckets && name.starts_with('_'));
        if is_counted(&name) {
            let count = self.tables.iter().filter(|table| is_counted(table.name())).count();
            limit(count, self.options.buckets_max, "buckets")?;
        }
        let (table, dormant) = match self.dormant.buckets.get(&name) {
            None => (Table::new(self.tables.new_id(), definition, seed), None),
            Some(dormant) => {
                if !definition.persistent && !dormant.records.is_empty() {
                    entries.push(JournalEntry::BucketCleared { bucket: dormant.id.0 });
                }
                let table = dormant.to_table(definition, seed)?;
                let same = definition_text(&dormant.source) == text;
                (table, Some((self.dormant.buckets.remove(&name), same)))
            }
        };
        let (dormant, same) = dormant.unwrap_or((None, false));
        let id = table.id;
        if !same {
            entries.push(JournalEntry::BucketDefined { bucket: id.0, name: name.clone(), definition: text });
        }
        self.tables.add(table);
        let undo = Undo::BucketDefined { id, dormant: dormant.map(Box::new) };
        self.note_definition(entries, Some(&name), vec![undo]);
        Ok(())
    }

    /// Lets a definition take over a revived bucket, if the records fit.
    pub(crate) fn take_over_bucket(
        &mut self,
        id: BucketId,
        definition: Definition,
    ) -> Result<(), StoreError> {
        let seed = self.seed();
        let Some(old) = self.tables.get(id) else { return Ok(()) };
        let (name, text) = (old.name().clone(), definition_text(definition.source()));
        let dormant = Dormant {
            id,
            name: name.clone(),
            source: old.definition.source().clone(),
            records: old.records().iter().map(|(seq, record)| (*seq, Arc::clone(record))).collect(),
            counter: old.counter,
            next_seq: old.next_seq,
        };
        let (place, journaled) = (old.place, old.journaled);
        let mut entries = Vec::new();
        if !definition.persistent && old.definition.persistent && !dormant.records.is_empty() {
            entries.push(JournalEntry::BucketCleared { bucket: id.0 });
        }
        if definition_text(&dormant.source) != text {
            entries.push(JournalEntry::BucketDefined { bucket: id.0, name: name.clone(), definition: text });
        }
        let mut table = dormant.to_table(definition, seed)?;
        (table.place, table.journaled) = (place, journaled);
        let Some(before) = self.tables.remove(id) else { return Ok(()) };
        self.tables.put_back(table);
        let undo = Undo::BucketTakenOver { before: Box::new(before) };
        self.note_definition(entries, Some(&name), vec![undo]);
        Ok(())
    }

    /// Takes what sleeps under the name of a query, with its place and whether it is the same.
    pub(crate) fn take_dormant_query(&mut self, name: &str) -> Option<(usize, Object)> {
        let at = self.dormant.queries.iter().position(|(dormant, _)| dormant == name)?;
        Some((at, self.dormant.queries.remove(at).1))
    }
}

impl Dormant {
    /// Builds the bucket under a definition. One that is not persistent starts empty.
    fn to_table(&self, definition: Definition, seed: u64) -> Result<Table, StoreError> {
        let kept = if definition.persistent { self.records.as_slice() } else { &[] };
        let records = kept.iter().map(|(seq, record)| (*seq, Arc::clone(record)));
        let mut table = Table::with_records(self.id, definition, seed, records)?;
        table.counter = self.counter;
        table.next_seq = table.next_seq.max(self.next_seq);
        table.journaled = (self.counter, self.next_seq);
        Ok(table)
    }
}

fn read_bucket(
    image: &mut dyn Image,
    stored: StoredBucket,
    progress: &mut RestoreProgress,
    report: &mut dyn FnMut(RestoreProgress),
) -> Result<Dormant, JournalError> {
    let StoredBucket { id, name, definition, counter, next_seq } = stored;
    let source = object(&definition)
        .ok_or_else(|| JournalError(format!("the definition of bucket \"{name}\" is not a JSON object")))?;
    let key = source.get("key").and_then(Value::as_str).unwrap_or_default();
    let mut shapes = Shapes::new(key);
    let mut records = Vec::new();
    image.records(id, &mut |seq, text| {
        let members = object(text)
            .ok_or_else(|| JournalError(format!("record {seq} of bucket \"{name}\" is not a JSON object")))?;
        records.push((seq, Record::restored(members, &mut shapes)));
        progress.records += 1;
        if progress.records.is_multiple_of(REPORT_RECORDS) {
            report(*progress);
        }
        Ok(())
    })?;
    if !records.is_sorted_by(|(a, _), (b, _)| a < b) {
        return Err(JournalError(format!("the records of bucket \"{name}\" are out of order")));
    }
    Ok(Dormant { id: BucketId(id), name: name.into(), source, records, counter, next_seq })
}

fn object(text: &str) -> Option<Object> {
    match noex_json::parse(text, DEPTH_MAX) {
        Ok(Value::Object(object)) => Some(*object),
        Ok(_) | Err(_) => None,
    }
}
