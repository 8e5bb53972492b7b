//! The store: reads, writes, transactions, expiry.
//!
//! Every call that depends on time takes the wall clock in ms. A clock that runs backwards is held at the latest time
//! seen, so timestamps of records never decrease. Before any call that looks at records, those whose time has come
//! are removed by a commit of their own, unless automatic expiry is off.

use crate::commit::{Change, Commit};
use crate::dormant::Sleepers;
use crate::error::StoreError;
use crate::filter::Filter;
use crate::operation::{Operation, OperationResult};
use crate::options::{DuplicateInsert, StoreOptions};
use crate::plan::matching_places;
use crate::program::Program;
use crate::queries::Queries;
use crate::read::{PreparedRead, ReadRequest};
use crate::record::Record;
use crate::stats::{BucketCounts, BucketStats, StoreStats};
use crate::table::{BucketId, Table, hashing};
use crate::tables::Tables;
use crate::transaction::{Mode, OnDuplicate, Outcome, Random, Transaction};
use crate::undo::Log;
use crate::views::Views;
use crate::warnings::Warnings;
use noex_json::{Object, Value};
use std::fmt;
use std::sync::Arc;

/// Buckets, queries and views. See the [crate documentation](crate).
pub struct Store {
    pub(crate) options: StoreOptions,
    random: Box<dyn Random + Send>,
    pub(crate) tables: Tables,
    pub(crate) queries: Queries,
    pub(crate) views: Views,
    /// Latest time seen.
    pub(crate) now_ms: u64,
    /// Number of the last commit.
    pub(crate) lsn: u64,
    keep_commits: bool,
    commits: Vec<Commit>,
    /// What is owed to the journal.
    pub(crate) log: Log,
    /// What commits have replaced, if the owner wants to free it.
    pub(crate) replaced: Option<Vec<Change>>,
    /// What an earlier run left and nobody has defined again yet.
    pub(crate) dormant: Sleepers,
    /// Nothing expires for the time being.
    suspended: bool,
    pub(crate) warnings: Warnings,
    ignored_restrictions: u64,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("name", &self.options.name)
            .field("lsn", &self.lsn)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Makes an empty store.
    #[must_use]
    pub fn new(options: StoreOptions, mut random: Box<dyn Random + Send>) -> Self {
        let mut seed = [0; 8];
        random.fill(&mut seed);
        let seed = u64::from_ne_bytes(seed);
        let views = Views::new(hashing(seed), options.view_bytes_max);
        Self {
            options,
            random,
            tables: Tables::new(seed),
            queries: Queries::new(hashing(seed)),
            views,
            now_ms: 0,
            lsn: 0,
            keep_commits: false,
            commits: Vec::new(),
            log: Log::new(hashing(seed)),
            replaced: None,
            dormant: Sleepers::default(),
            suspended: false,
            warnings: Warnings::default(),
            ignored_restrictions: 0,
        }
    }

    /// Takes note of the time and removes what has expired.
    pub(crate) fn advance(&mut self, now_ms: u64) {
        // Not written needlessly, nor anything else that every call comes across: the next user may be another processor.
        if now_ms > self.now_ms {
            self.now_ms = now_ms;
        }
        if self.options.ttl_check_interval_ms > 0 && !self.suspended {
            self.sweep();
        }
    }

    /// Removes expired records with one commit; gives their number.
    fn sweep(&mut self) -> usize {
        if self.tables.earliest.is_none_or(|earliest| earliest.get() > self.now_ms as f64) {
            return 0;
        }
        let due = |table: &Table| {
            let id = table.id;
            table.due(self.now_ms).into_iter().map(move |seq| (id, seq))
        };
        let due: Vec<(BucketId, u64)> = self.tables.iter().flat_map(due).collect();
        // Expiry cannot be refused, so there is no error to report.
        let expired: Result<usize, StoreError> =
            self.execute(Mode::Single, |transaction| transaction.expire(due));
        let count = expired.unwrap_or(0);
        self.tables.recompute_deadline();
        count
    }

    /// Runs a transaction and hands its changes on.
    fn execute<T, E: From<StoreError>>(
        &mut self,
        mode: Mode,
        operations: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let transaction = Transaction::new(&mut self.tables, &mut *self.random, self.now_ms, mode);
        let (value, outcome) = transaction.run(operations)?;
        let Outcome { changes, touched, ignored_restrictions } = outcome;
        self.ignored_restrictions += ignored_restrictions;
        self.committed(changes, &touched, None);
        Ok(value)
    }

    fn committed(&mut self, changes: Vec<Change>, touched: &[BucketId], cleared: Option<BucketId>) {
        let lsn = self.lsn + u64::from(!changes.is_empty());
        self.log.commit(&mut self.tables, lsn, &changes, touched, cleared);
        if changes.is_empty() {
            return;
        }
        self.lsn = lsn;
        self.views.commit(self.lsn, &changes);
        if self.keep_commits {
            self.commits.push(Commit { lsn: self.lsn, time_ms: self.now_ms, changes });
        } else {
            self.discard(changes);
        }
    }

    fn bucket_id(&self, bucket: &str) -> Result<BucketId, StoreError> {
        self.tables.require(bucket).map(|table| table.id)
    }

    /// Gives a random number.
    pub(crate) fn seed(&mut self) -> u64 {
        let mut seed = [0; 8];
        self.random.fill(&mut seed);
        u64::from_ne_bytes(seed)
    }

    // Writes

    /// Inserts a record and gives it as stored. Uses up one number of the bucket's counter even if it fails.
    ///
    /// # Errors
    /// Reference, validation, duplicate-key and uniqueness errors, in this order.
    pub fn insert(&mut self, now_ms: u64, bucket: &str, data: Object) -> Result<Arc<Record>, StoreError> {
        self.advance(now_ms);
        let id = self.bucket_id(bucket)?;
        self.insert_into(id, data)
    }

    fn insert_into(&mut self, id: BucketId, data: Object) -> Result<Arc<Record>, StoreError> {
        if let Some(table) = self.tables.get_mut(id) {
            table.counter = table.counter.saturating_add(1);
        }
        let duplicate = match self.options.on_duplicate_insert {
            DuplicateInsert::Reject => OnDuplicate::Reject,
            DuplicateInsert::Replace => OnDuplicate::Replace,
        };
        let outcome =
            self.execute(Mode::Single, |transaction| transaction.insert_single(id, data, duplicate));
        if outcome.is_err() {
            // The number is used up all the same.
            self.committed(Vec::new(), &[id], None);
        }
        outcome
    }

    /// Merges changes into a record and gives its new version.
    ///
    /// # Errors
    /// Reference, record-not-found, validation and uniqueness errors, in this order.
    pub fn update(
        &mut self,
        now_ms: u64,
        bucket: &str,
        key: &Value,
        changes: Object,
    ) -> Result<Arc<Record>, StoreError> {
        self.advance(now_ms);
        let id = self.bucket_id(bucket)?;
        self.execute(Mode::Single, |transaction| transaction.update(id, key, changes))
    }

    /// Deletes a record, if it exists, and treats those that refer to it as their fields demand.
    ///
    /// # Errors
    /// [`StoreError::ReferenceRestricted`].
    pub fn delete(&mut self, now_ms: u64, bucket: &str, key: &Value) -> Result<(), StoreError> {
        self.advance(now_ms);
        let id = self.bucket_id(bucket)?;
        self.execute(Mode::Single, |transaction| transaction.delete(id, key))
    }

    /// Removes all records of a bucket with one commit, whoever refers to them. Its counter is kept.
    ///
    /// # Errors
    /// [`StoreError::BucketNotDefined`].
    pub fn clear(&mut self, now_ms: u64, bucket: &str) -> Result<(), StoreError> {
        self.advance(now_ms);
        let id = self.bucket_id(bucket)?;
        let transaction = Transaction::new(&mut self.tables, &mut *self.random, self.now_ms, Mode::Single);
        let ((), outcome) = transaction.run(|transaction| transaction.clear(id))?;
        let cleared = self.tables.get(id).is_some_and(|table| table.definition.persistent).then_some(id);
        let cleared = cleared.filter(|_| !outcome.changes.is_empty());
        self.committed(outcome.changes, &outcome.touched, cleared);
        Ok(())
    }

    /// Inserts records, all or none, and gives them in the order of the list.
    ///
    /// # Errors
    /// Validation errors first, then duplicate keys, then references and uniqueness. No number is used up.
    pub fn insert_many(
        &mut self,
        now_ms: u64,
        bucket: &str,
        list: Vec<Object>,
    ) -> Result<Vec<Arc<Record>>, StoreError> {
        self.advance(now_ms);
        let id = self.bucket_id(bucket)?;
        self.execute(Mode::Single, |transaction| transaction.insert_many(id, list))
    }

    /// Merges changes into all matching records, all or none, and gives their number.
    ///
    /// # Errors
    /// Those of an update; [`StoreError::InvalidFilter`] also for unknown operators.
    pub fn update_many(
        &mut self,
        now_ms: u64,
        bucket: &str,
        filter: &Object,
        changes: Object,
    ) -> Result<usize, StoreError> {
        self.advance(now_ms);
        let table = self.tables.require(bucket)?;
        let (id, places) = (table.id, matching_places(table, &Filter::compile(filter, true)?));
        self.execute(Mode::Single, |transaction| transaction.update_many(id, &places, changes))?;
        Ok(places.len())
    }

    /// Deletes all matching records, all or none, and gives their number.
    ///
    /// # Errors
    /// Those of a delete; [`StoreError::InvalidFilter`] also for unknown operators.
    pub fn delete_many(&mut self, now_ms: u64, bucket: &str, filter: &Object) -> Result<usize, StoreError> {
        self.advance(now_ms);
        let table = self.tables.require(bucket)?;
        let (id, places) = (table.id, matching_places(table, &Filter::compile(filter, true)?));
        self.execute(Mode::Single, |transaction| transaction.delete_all(id, &places))?;
        Ok(places.len())
    }

    /// Updates the record that has the key of `data`, or inserts `data` if there is none.
    ///
    /// # Errors
    /// Those of an update or an insert.
    pub fn upsert(&mut self, now_ms: u64, bucket: &str, data: Object) -> Result<Arc<Record>, StoreError> {
        self.advance(now_ms);
        let table = self.tables.require(bucket)?;
        let id = table.id;
        let key = data.get(&table.definition.key).filter(|key| table.seq_of(key).is_some()).cloned();
        match key {
            Some(key) => self.execute(Mode::Single, |transaction| transaction.update(id, &key, data)),
            None => self.insert_into(id, data),
        }
    }

    /// Runs operations in order, each seeing the effects of the earlier ones, and commits all or nothing.
    /// Constraints are judged on the final state. A failed transaction uses up no numbers.
    ///
    /// # Errors
    /// That of the first failing operation; then conflict, reference and uniqueness errors of the final state.
    pub fn transaction(
        &mut self,
        now_ms: u64,
        operations: Vec<Operation>,
    ) -> Result<Vec<OperationResult>, StoreError> {
        self.program(now_ms, |program| {
            operations.into_iter().map(|operation| program.run(operation)).collect()
        })
    }

    /// Runs a program of operations that is decided as it goes: each sees the effects of the earlier ones, and all
    /// commit together, or nothing if `run` or the judgement of the final state fails. A failed program uses up no
    /// numbers.
    ///
    /// # Errors
    /// That of `run`; then conflict, reference and uniqueness errors of the final state.
    pub fn program<T, E: From<StoreError>>(
        &mut self,
        now_ms: u64,
        run: impl FnOnce(&mut Program<'_, '_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.advance(now_ms);
        let strict = self.options.strict_filters;
        let mut warnings = std::mem::take(&mut self.warnings);
        let result = self
            .execute(Mode::Program, |transaction| run(&mut Program::new(transaction, strict, &mut warnings)));
        self.warnings = warnings;
        result
    }

    // Reads

    /// Gives the record with a key.
    ///
    /// # Errors
    /// [`StoreError::BucketNotDefined`].
    pub fn get(&mut self, now_ms: u64, bucket: &str, key: &Value) -> Result<Option<Arc<Record>>, StoreError> {
        self.advance(now_ms);
        Ok(self.tables.require(bucket)?.find(key).cloned())
    }

    /// Gives the text of the record with a key: [`Store::get`] for those who want nothing else, and faster.
    ///
    /// # Errors
    /// [`StoreError::BucketNotDefined`].
    pub fn get_json(
        &mut self,
        now_ms: u64,
        bucket: &str,
        key: &Value,
    ) -> Result<Option<Arc<str>>, StoreError> {
        self.advance(now_ms);
        Ok(self.tables.require_mut(bucket)?.find_text(key).cloned())
    }

    /// Prepares a read of the current state. Takes no longer than O(log n) plus what an index yields; the rest is
    /// done by [`PreparedRead::run`].
    ///
    /// # Errors
    /// [`StoreError::BucketNotDefined`], [`StoreError::InvalidFilter`].
    pub fn prepare_read(
        &mut self,
        now_ms: u64,
        bucket: &str,
        request: ReadRequest,
    ) -> Result<PreparedRead, StoreError> {
        self.advance(now_ms);
        let table = self.tables.require(bucket)?;
        let (warnings, now_ms) = (&mut self.warnings, self.now_ms);
        PreparedRead::new(table, request, self.options.strict_filters, &mut |filter| {
            warnings.note(now_ms, bucket, filter);
        })
    }

    // Expiry

    /// Tells when [`Store::expire`] has something to do, in ms of the wall clock; never too late, but perhaps too
    /// early. `None` if nothing expires or automatic expiry is off.
    #[must_use]
    pub fn next_expiry_ms(&self) -> Option<u64> {
        let earliest = self.tables.earliest.filter(|_| self.options.ttl_check_interval_ms > 0)?;
        earliest.get().is_finite().then(|| earliest.get().max(0.0).ceil() as u64)
    }

    /// Removes what has expired, unless automatic expiry is off. To be called when [`Store::next_expiry_ms`] has
    /// come; being late is harmless, because every other call does the same first.
    pub fn expire(&mut self, now_ms: u64) {
        self.advance(now_ms);
    }

    /// Lets nothing expire by itself until further notice, such as while the removal could not be kept.
    pub fn suspend_expiry(&mut self, suspended: bool) {
        self.suspended = suspended;
    }

    /// Removes what has expired, also if automatic expiry is off, and gives the number of records.
    pub fn purge_ttl(&mut self, now_ms: u64) -> usize {
        self.now_ms = self.now_ms.max(now_ms);
        self.sweep()
    }

    /// Gives the number of references through `restrict` fields that were left dangling, because neither expiry nor
    /// eviction can be refused.
    #[must_use]
    pub fn ignored_restrictions(&self) -> u64 {
        self.ignored_restrictions
    }

    // What others follow

    /// Gives the number of the last commit.
    #[must_use]
    pub fn lsn(&self) -> u64 {
        self.lsn
    }

    /// Sets whether commits are kept for [`Store::take_commits`]. Then they must be taken, or they pile up.
    pub fn set_keep_commits(&mut self, keep: bool) {
        self.keep_commits = keep;
        if !keep {
            self.commits.clear();
        }
    }

    /// Takes the commits since the last call, in order; where commits can be undone, only settled ones.
    #[must_use]
    pub fn take_commits(&mut self) -> Vec<Commit> {
        let Some(unsettled) = self.log.first_unsettled_lsn() else {
            return std::mem::take(&mut self.commits);
        };
        let rest = self.commits.split_off(self.commits.partition_point(|commit| commit.lsn < unsettled));
        std::mem::replace(&mut self.commits, rest)
    }

    /// Forgets commits that have been undone.
    pub(crate) fn forget_commits_from(&mut self, lsn: u64) {
        self.commits.truncate(self.commits.partition_point(|commit| commit.lsn < lsn));
    }

    /// Takes warnings for the log: unknown operators that filters contained and that were ignored. Each comes once a
    /// minute, at most 64 in a minute, and none is longer than a line.
    #[must_use]
    pub fn take_warnings(&mut self) -> Vec<String> {
        self.warnings.take()
    }

    /// Gives statistics.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let counts = |table: &Table| BucketCounts {
            name: table.name().clone(),
            records: table.len(),
            indexes: table.indexes().iter().filter(|index| index.spec.declared).count(),
        };
        StoreStats {
            name: self.options.name.clone(),
            buckets: self.tables.iter().map(counts).collect(),
            queries_defined: self.queries.len(),
            active_subscriptions: self.views.subscriber_count(),
            persistence_enabled: self.options.persistence_enabled,
            ttl_check_interval_ms: self.options.ttl_check_interval_ms,
        }
    }

    /// Gives details of a bucket; `None` if it is not defined.
    #[must_use]
    pub fn bucket_stats(&self, bucket: &str) -> Option<BucketStats> {
        let table = self.tables.named(bucket)?;
        let declared = || table.indexes().iter().map(|index| &index.spec).filter(|spec| spec.declared);
        Some(BucketStats {
            record_count: table.len(),
            index_names: declared().map(|spec| spec.field.clone()).collect(),
            has_unique_constraints: declared().any(|spec| spec.unique),
            autoincrement_counter: table.counter,
            ordered: table.definition.ordered,
            has_ttl: table.definition.ttl_ms.is_some(),
            size_max: table.definition.size_max,
        })
    }
}
