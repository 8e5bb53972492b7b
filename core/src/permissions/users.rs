//! Permission checks of the built-in identity: which questions a request raises. The answers are the identity's.
//!
//! Source: the auth specification, sections 5.1 and 6.6.

use super::resource::{Resource, bucket_to_watch, further_bucket, inner_resources, resource_of};
use crate::{Code, Operation, Refusal, Session, Shared, request::Members, subscriptions::Watched};
use alloc::format;

/// What a user of the built-in identity wants to touch. A name of `*` stands for all there is of its kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target<'a> {
    /// A bucket.
    Bucket(&'a str),
    /// A query. Rights on the query count, and rights on the bucket that it reads, if that is given; rights on a
    /// bucket that has merely the name of the query do not.
    Query {
        /// Its name.
        name: &'a str,
        /// The bucket that it reads.
        bucket: Option<&'a str>,
    },
    /// A topic, or a pattern of topics.
    Topic(&'a str),
    /// A procedure.
    Procedure(&'a str),
    /// Something that belongs to the caller, or only what is permitted: to be allowed the operation on anything is
    /// enough.
    Own,
    /// The server itself, or what is unknown.
    Server,
}

/// Checks the permissions of a request (step P6 of the pipeline).
pub(super) fn authorize(
    session: &Session,
    kind: &str,
    operation: Option<Operation>,
    members: &Members<'_>,
    shared: &dyn Shared,
) -> Result<(), Refusal> {
    // The operations of the identity check roles themselves.
    if kind.starts_with("identity.") {
        return Ok(());
    }
    let check = Check { user_id: &session.user_id, shared };
    if operation == Some(Operation::StoreTransaction) {
        return check.transaction(members);
    }
    check.allowed(kind, operation, &resource_of(operation, members, shared))?;
    further_bucket(operation, members, shared).map_or(Ok(()), |bucket| {
        check.allowed("store.where", Some(Operation::StoreWhere), &Resource::Named(bucket))
    })
}

/// Checks whether a user may run one operation on one resource.
pub(super) fn may(
    user_id: &str,
    operation: Operation,
    resource: &Resource<'_>,
    shared: &dyn Shared,
) -> Result<(), Refusal> {
    Check { user_id, shared }.allowed(operation.name(), Some(operation), resource)
}

/// Checks whether a user may still watch something.
pub(super) fn may_watch(user_id: &str, watched: Watched<'_>, shared: &dyn Shared) -> bool {
    match watched {
        Watched::Query(name) => {
            let bucket = shared.bucket_of_query(name);
            let target = Target::Query { name, bucket: bucket.as_deref() };
            shared.permits_user(user_id, Operation::StoreSubscribe.name(), target)
        }
        Watched::Pattern(pattern) => {
            shared.permits_user(user_id, Operation::RulesSubscribe.name(), Target::Topic(pattern))
                && bucket_to_watch(pattern, shared).is_none_or(|bucket| {
                    shared.permits_user(user_id, Operation::StoreWhere.name(), Target::Bucket(bucket))
                })
        }
    }
}

struct Check<'a> {
    user_id: &'a str,
    shared: &'a dyn Shared,
}

impl Check<'_> {
    fn allowed(
        &self,
        kind: &str,
        operation: Option<Operation>,
        resource: &Resource<'_>,
    ) -> Result<(), Refusal> {
        if self.shared.permits_user(self.user_id, kind, target(operation, resource)) {
            return Ok(());
        }
        Err(Refusal::new(Code::Forbidden, format!("No access to {kind} on {}", resource.shown())))
    }

    /// Every inner operation needs both its own permission and that of the transaction, on its bucket.
    fn transaction(&self, members: &Members<'_>) -> Result<(), Refusal> {
        let transaction = Operation::StoreTransaction;
        let allowed = |kind: &str, bucket| self.allowed(kind, Some(transaction), &Resource::Named(bucket));
        let mut empty = true;
        for (bucket, op) in inner_resources(members) {
            empty = false;
            allowed(transaction.name(), bucket.clone())?;
            if let Some(op) = op {
                allowed(&format!("store.{op}"), bucket)?;
            }
        }
        if empty { allowed(transaction.name(), "*".into()) } else { Ok(()) }
    }
}

fn target<'a>(operation: Option<Operation>, resource: &'a Resource<'_>) -> Target<'a> {
    let Some(operation) = operation else { return Target::Server };
    match resource {
        Resource::Unrestricted => Target::Own,
        Resource::Query(name, bucket) => Target::Query { name, bucket: bucket.as_deref() },
        Resource::Named(name) if names_query(operation) => Target::Query { name, bucket: None },
        Resource::Named(name) => match operation.name().split_once('.').map(|(family, _)| family) {
            Some("store") => Target::Bucket(name),
            Some("rules") => Target::Topic(name),
            Some("procedures") => Target::Procedure(name),
            _ => Target::Server,
        },
    }
}

fn names_query(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::StoreSubscribe | Operation::StoreDefineQuery | Operation::StoreUndefineQuery
    )
}
