//! Operations as typed calls: what leaves the machine to be executed.

use crate::Operation;
use alloc::{string::String, vec::Vec};
use noex_json::{CompactString, Object, Value};

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
        bucket: CompactString,
        data: Object,
    },
    Get {
        bucket: CompactString,
        key: Value,
    },
    Update {
        bucket: CompactString,
        key: Value,
        data: Object,
    },
    Delete {
        bucket: CompactString,
        key: Value,
    },
    All {
        bucket: CompactString,
    },
    Where {
        bucket: CompactString,
        filter: Object,
    },
    FindOne {
        bucket: CompactString,
        filter: Object,
    },
    Count {
        bucket: CompactString,
        filter: Option<Object>,
    },
    First {
        bucket: CompactString,
        n: usize,
    },
    Last {
        bucket: CompactString,
        n: usize,
    },
    Paginate {
        bucket: CompactString,
        limit: usize,
        after: Option<Value>,
    },
    Clear {
        bucket: CompactString,
    },
    Aggregate {
        bucket: CompactString,
        function: Aggregate,
        field: String,
        filter: Option<Object>,
    },
    /// Lists buckets; only those of `permitted`, if it is given.
    Buckets {
        permitted: Option<Vec<String>>,
    },
    /// Statistics; those of system buckets only with `system`.
    Stats {
        system: bool,
    },
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

impl StoreCall {
    /// For a call that only reads records: the operation that has to be permitted, and the bucket.
    #[must_use]
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are not only reads of records")]
    pub fn reads(&self) -> Option<(Operation, &CompactString)> {
        use Operation as O;
        Some(match self {
            Self::Get { bucket, .. } => (O::StoreGet, bucket),
            Self::All { bucket } => (O::StoreAll, bucket),
            Self::Where { bucket, .. } => (O::StoreWhere, bucket),
            Self::FindOne { bucket, .. } => (O::StoreFindOne, bucket),
            Self::Count { bucket, .. } => (O::StoreCount, bucket),
            Self::First { bucket, .. } => (O::StoreFirst, bucket),
            Self::Last { bucket, .. } => (O::StoreLast, bucket),
            Self::Paginate { bucket, .. } => (O::StorePaginate, bucket),
            Self::Aggregate { bucket, function, .. } => match function {
                Aggregate::Sum => (O::StoreSum, bucket),
                Aggregate::Avg => (O::StoreAvg, bucket),
                Aggregate::Min => (O::StoreMin, bucket),
                Aggregate::Max => (O::StoreMax, bucket),
            },
            _ => return None,
        })
    }

    /// For a call that changes records or is a transaction: the operations that have to be permitted, and on which bucket.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others change no records")]
    pub fn writes(&self) -> impl Iterator<Item = (Operation, &CompactString)> {
        use Operation as O;
        let single = match self {
            Self::Insert { bucket, .. } => Some((O::StoreInsert, bucket)),
            Self::Update { bucket, .. } => Some((O::StoreUpdate, bucket)),
            Self::Delete { bucket, .. } => Some((O::StoreDelete, bucket)),
            Self::Clear { bucket } => Some((O::StoreClear, bucket)),
            _ => None,
        };
        let inner = if let Self::Transaction { operations } = self { operations.as_slice() } else { &[] };
        single.into_iter().chain(
            inner
                .iter()
                .map(StoreOperation::touches)
                .flat_map(|(operation, bucket)| [(O::StoreTransaction, bucket), (operation, bucket)]),
        )
    }
}

impl StoreOperation {
    fn touches(&self) -> (Operation, &CompactString) {
        use Operation as O;
        match self {
            Self::Get { bucket, .. } => (O::StoreGet, bucket),
            Self::Insert { bucket, .. } => (O::StoreInsert, bucket),
            Self::Update { bucket, .. } => (O::StoreUpdate, bucket),
            Self::Delete { bucket, .. } => (O::StoreDelete, bucket),
            Self::Where { bucket, .. } => (O::StoreWhere, bucket),
            Self::FindOne { bucket, .. } => (O::StoreFindOne, bucket),
            Self::Count { bucket, .. } => (O::StoreCount, bucket),
        }
    }
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "members carry the names of the protocol's fields")]
pub enum StoreOperation {
    Get { bucket: CompactString, key: Value },
    Insert { bucket: CompactString, data: Object },
    Update { bucket: CompactString, key: Value, data: Object },
    Delete { bucket: CompactString, key: Value },
    Where { bucket: CompactString, filter: Object },
    FindOne { bucket: CompactString, filter: Object },
    Count { bucket: CompactString, filter: Option<Object> },
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

impl RulesCall {
    /// For a call that only reads facts: the operation that has to be permitted, and on what.
    #[must_use]
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are not reads of facts")]
    pub fn reads(&self) -> Option<(Operation, &str)> {
        match self {
            Self::GetFact { key } => Some((Operation::RulesGetFact, key)),
            Self::QueryFacts { pattern } => Some((Operation::RulesQueryFacts, pattern)),
            Self::GetAllFacts => Some((Operation::RulesGetAllFacts, "*")),
            _ => None,
        }
    }

    /// For a call that emits an event or changes a fact: the operation that has to be permitted, and on what.
    #[must_use]
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others change neither")]
    pub fn writes(&self) -> Option<(Operation, &str)> {
        match self {
            Self::Emit { topic, .. } => Some((Operation::RulesEmit, topic)),
            Self::SetFact { key, .. } => Some((Operation::RulesSetFact, key)),
            Self::DeleteFact { key } => Some((Operation::RulesDeleteFact, key)),
            _ => None,
        }
    }
}

/// A question about the server itself, or an order to it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ServerCall {
    /// Counters and what is configured; those of system buckets only with `system`.
    Stats {
        /// Whether system buckets are shown.
        system: bool,
    },
    /// Open connections.
    Connections,
    /// Whether the server works.
    Health,
    /// Revoke a user.
    RevokeSession {
        /// The user.
        user_id: String,
    },
    /// Revoke every user with an open session that matches all that is given.
    RevokeSessions {
        /// The user; `None` = any.
        user_id: Option<String>,
        /// Role that the session has; `None` = any.
        role: Option<String>,
    },
    /// Let a revoked user log in again.
    Unrevoke {
        /// The user.
        user_id: String,
    },
}

/// A call of the built-in identity management. Fields have been checked for their form only.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "members carry the names of the protocol's fields")]
#[non_exhaustive]
pub enum IdentityCall {
    Login { username: String, password: String },
    LoginWithSecret { secret: String },
    Logout,
    RefreshSession,
    CreateUser { user: NewUser },
    GetUser { user_id: String },
    UpdateUser { user_id: String, changes: UserChanges },
    DeleteUser { user_id: String },
    ListUsers { page: u64, page_size: u64 },
    EnableUser { user_id: String },
    DisableUser { user_id: String },
    ChangePassword { user_id: String, current_password: String, new_password: String },
    ResetPassword { user_id: String, new_password: String },
    CreateRole { name: String, description: Option<String>, permissions: Vec<Value> },
    UpdateRole { role_id: String, description: Option<Option<String>>, permissions: Option<Vec<Value>> },
    DeleteRole { role_id: String },
    ListRoles,
    AssignRole { user_id: String, role_name: String },
    RemoveRole { user_id: String, role_name: String },
    GetUserRoles { user_id: String },
    Grant { subject: Subject, resource: ResourceName, operations: Vec<Value> },
    Revoke { subject: Subject, resource: ResourceName, operations: Option<Vec<Value>> },
    GetAcl { resource: ResourceName },
    MyAccess,
    GetOwner { resource: ResourceName },
    TransferOwner { resource: ResourceName, new_owner_id: String },
}

/// Fields of `identity.createUser`; those of a wrong type count as absent.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "members carry the names of the protocol's fields")]
pub struct NewUser {
    pub username: String,
    pub password: String,
    pub display_name: Option<String>,
    pub email: Option<String>,
    pub enabled: Option<bool>,
    pub metadata: Option<Object>,
}

/// Fields of `identity.updateUser`. Outer `None` = not named in the request; inner `None` = to be cleared.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "members carry the names of the protocol's fields")]
pub struct UserChanges {
    pub display_name: Option<Option<String>>,
    pub email: Option<Option<String>>,
    pub metadata: Option<Object>,
}

/// Whom an entry of an access list is about, as the request says it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Subject {
    /// `user` or `role`, not yet checked.
    pub kind: String,
    /// Id of the user or role.
    pub id: String,
}

/// What an access list or an ownership is about, as the request says it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ResourceName {
    /// `bucket`, `topic`, `procedure`, `query`; not yet checked.
    pub kind: String,
    /// Name of the resource.
    pub name: String,
}

/// A call of the procedures.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "members carry the names of the protocol's fields")]
#[non_exhaustive]
pub enum ProceduresCall {
    Register { procedure: Object },
    Unregister { name: String },
    Update { name: String, updates: Object },
    Get { name: String },
    List,
    Call { name: String, input: Option<Value> },
}

/// Which entries of the audit log are asked for; `None` = all.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "members carry the names of the protocol's fields")]
pub struct AuditQuery {
    pub user_id: Option<String>,
    pub operation: Option<String>,
    /// True = successes only, false = errors only.
    pub success: Option<bool>,
    /// First time in ms since the Unix epoch.
    pub from: Option<f64>,
    /// Last time in ms since the Unix epoch.
    pub to: Option<f64>,
    pub limit: Option<u64>,
}
