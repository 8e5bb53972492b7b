//! Operations inside one transaction, chosen one after another.

use crate::error::StoreError;
use crate::filter::Filter;
use crate::operation::{Operation, OperationResult};
use crate::read::{Answer, PreparedRead, ReadRequest};
use crate::record::Record;
use crate::table::BucketId;
use crate::transaction::Transaction;
use crate::warnings::Warnings;
use noex_json::{CompactString, Object, Value};
use std::fmt;
use std::sync::Arc;

/// A transaction under way, see [`Store::program`](crate::Store::program). After an operation has failed, let the
/// program fail too: what the operation had begun is undone only with the rest.
pub struct Program<'a, 't> {
    transaction: &'a mut Transaction<'t>,
    strict: bool,
    warnings: &'a mut Warnings,
    operations: usize,
}

impl fmt::Debug for Program<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("operations", &self.operations).finish_non_exhaustive()
    }
}

impl<'a, 't> Program<'a, 't> {
    pub(crate) fn new(
        transaction: &'a mut Transaction<'t>,
        strict: bool,
        warnings: &'a mut Warnings,
    ) -> Self {
        Self { transaction, strict, warnings, operations: 0 }
    }

    /// Gives the record with a key.
    ///
    /// # Errors
    /// [`StoreError::BucketNotDefined`].
    pub fn get(&mut self, bucket: &str, key: &Value) -> Result<Option<Arc<Record>>, StoreError> {
        Ok(self.transaction.tables.require(bucket)?.find(key).cloned())
    }

    /// Prepares a read of the state that the operations so far have made.
    ///
    /// # Errors
    /// [`StoreError::BucketNotDefined`], [`StoreError::InvalidFilter`].
    pub fn prepare_read(&mut self, bucket: &str, request: ReadRequest) -> Result<PreparedRead, StoreError> {
        let table = self.transaction.tables.require(bucket)?;
        let (warnings, now_ms) = (&mut *self.warnings, self.transaction.now_ms);
        PreparedRead::new(table, request, self.strict, &mut |filter: &Filter| {
            warnings.note(now_ms, bucket, filter);
        })
    }

    /// Inserts a record and gives it as it will be stored. A key that was in use before the transaction is a conflict
    /// that is reported at the end.
    ///
    /// # Errors
    /// [`StoreError::BucketNotDefined`], [`StoreError::Validation`].
    pub fn insert(&mut self, bucket: &str, data: Object) -> Result<Arc<Record>, StoreError> {
        let id = self.begin(bucket)?;
        self.transaction.insert(id, data)
    }

    /// Merges changes into a record and gives its new version.
    ///
    /// # Errors
    /// [`StoreError::BucketNotDefined`], [`StoreError::RecordNotFound`], [`StoreError::Validation`].
    pub fn update(&mut self, bucket: &str, key: &Value, changes: Object) -> Result<Arc<Record>, StoreError> {
        let id = self.begin(bucket)?;
        self.transaction.update(id, key, changes)
    }

    /// Deletes a record, if it exists.
    ///
    /// # Errors
    /// [`StoreError::BucketNotDefined`].
    pub fn delete(&mut self, bucket: &str, key: &Value) -> Result<(), StoreError> {
        let id = self.begin(bucket)?;
        self.transaction.delete(id, key)
    }

    /// Runs one operation.
    ///
    /// # Errors
    /// As the methods above.
    pub fn run(&mut self, operation: Operation) -> Result<OperationResult, StoreError> {
        let bucket: CompactString = operation.bucket().clone();
        let request = match operation {
            Operation::Get { key, .. } => return Ok(OperationResult::Record(self.get(&bucket, &key)?)),
            Operation::Insert { data, .. } => {
                return Ok(OperationResult::Record(Some(self.insert(&bucket, data)?)));
            }
            Operation::Update { key, changes, .. } => {
                return Ok(OperationResult::Record(Some(self.update(&bucket, &key, changes)?)));
            }
            Operation::Delete { key, .. } => {
                self.delete(&bucket, &key)?;
                return Ok(OperationResult::Deleted);
            }
            Operation::Where { filter, .. } => ReadRequest::Where(filter),
            Operation::FindOne { filter, .. } => ReadRequest::FindOne(filter),
            Operation::Count { filter, .. } => ReadRequest::Count(filter),
        };
        Ok(match self.prepare_read(&bucket, request)?.run() {
            Answer::Records(records) => OperationResult::Records(records),
            Answer::Number(number) => OperationResult::Number(number),
            Answer::Record(found) => OperationResult::Record(found),
            // Answers to requests that are not made here.
            Answer::NoValue | Answer::Page(_) | Answer::Groups(_) => OperationResult::Record(None),
        })
    }

    /// Finds the bucket and numbers the operation, so that its delayed errors are reported in order.
    fn begin(&mut self, bucket: &str) -> Result<BucketId, StoreError> {
        self.transaction.operation = self.operations;
        self.operations += 1;
        Ok(self.transaction.tables.require(bucket)?.id)
    }
}
