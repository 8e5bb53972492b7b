//! Operations as typed calls: what leaves the machine to be executed.

use alloc::{string::String, vec::Vec};
use noex_json::{Object, Value};

/// Which aggregate an operation computes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Aggregate {
    /// `store.sum`.
    Sum,
    /// `store.avg`.
    Avg,
    /// `store.min`.
    Min,
    /// `store.max`.
    Max,
}

/// A call of the store. Fields have been checked for their form; what they name may not exist.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "members carry the names of the protocol's fields")]
#[non_exhaustive]
pub enum StoreCall {
    Insert {
        bucket: String,
        data: Object,
    },
    Get {
        bucket: String,
        key: Value,
    },
    Update {
        bucket: String,
        key: Value,
        data: Object,
    },
    Delete {
        bucket: String,
        key: Value,
    },
    All {
        bucket: String,
    },
    Where {
        bucket: String,
        filter: Object,
    },
    FindOne {
        bucket: String,
        filter: Object,
    },
    Count {
        bucket: String,
        filter: Option<Object>,
    },
    First {
        bucket: String,
        n: usize,
    },
    Last {
        bucket: String,
        n: usize,
    },
    Paginate {
        bucket: String,
        limit: usize,
        after: Option<Value>,
    },
    Clear {
        bucket: String,
    },
    Aggregate {
        bucket: String,
        function: Aggregate,
        field: String,
        filter: Option<Object>,
    },
    /// Lists buckets; only those of `permitted`, if it is given.
    Buckets {
        permitted: Option<Vec<String>>,
    },
    Stats,
    Transaction {
        operations: Vec<StoreOperation>,
    },
    DefineBucket {
        name: String,
        config: Object,
    },
    DropBucket {
        name: String,
    },
    UpdateBucket {
        name: String,
        updates: Object,
    },
    GetBucketSchema {
        name: String,
    },
    DefineQuery {
        name: String,
        config: Object,
    },
    UndefineQuery {
        name: String,
    },
    ListQueries,
    PurgeTtl,
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "members carry the names of the protocol's fields")]
pub enum StoreOperation {
    Get { bucket: String, key: Value },
    Insert { bucket: String, data: Object },
    Update { bucket: String, key: Value, data: Object },
    Delete { bucket: String, key: Value },
    Where { bucket: String, filter: Object },
    FindOne { bucket: String, filter: Object },
    Count { bucket: String, filter: Option<Object> },
}

/// A call of the rule engine.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "members carry the names of the protocol's fields")]
#[non_exhaustive]
pub enum RulesCall {
    Emit { topic: String, data: Object, correlation_id: Option<String>, causation_id: Option<String> },
    SetFact { key: String, value: Value },
    GetFact { key: String },
    DeleteFact { key: String },
    QueryFacts { pattern: String },
    GetAllFacts,
    Stats,
    RegisterRule { rule: Object },
    UnregisterRule { rule_id: String },
    UpdateRule { rule_id: String, updates: Object },
    EnableRule { rule_id: String },
    DisableRule { rule_id: String },
    GetRule { rule_id: String },
    GetRules,
    ValidateRule { rule: Object },
}

/// A question about the server itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ServerCall {
    /// Counters and what is configured.
    Stats,
    /// Open connections.
    Connections,
    /// Whether the server works.
    Health,
}
