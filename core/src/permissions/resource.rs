//! What a request touches. It is read from one fixed field per operation; other fields never stand in for it.
//!
//! Source: the auth specification, section 5.1.

use crate::{Operation, Shared, request::Members};
use alloc::{
    borrow::{Cow, ToOwned},
    string::String,
    vec::Vec,
};
use noex_json::{Raw, scan_array};

/// What a request touches.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Resource<'a> {
    /// Something with a name, or `*` if there is none.
    Named(Cow<'a, str>),
    /// A query, and the bucket that it reads.
    Query(Cow<'a, str>, Option<String>),
    /// Nothing that could be restricted: the operation's permission is enough.
    Unrestricted,
}

impl Resource<'_> {
    pub(crate) fn shown(&self) -> &str {
        match self {
            Resource::Named(name) | Resource::Query(name, _) => name,
            Resource::Unrestricted => "*",
        }
    }
}

/// Where an operation names what it touches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// In this field.
    Field(&'static str),
    /// In field `query`.
    Query,
    /// In a member of an object.
    Inside(&'static str, &'static str),
    /// In each of the inner operations.
    Transaction,
    /// Nowhere: it touches all there is.
    Everything,
    /// Nowhere: it touches what belongs to the connection, or nothing but what is permitted.
    Own,
}

#[expect(clippy::wildcard_enum_match_arm, reason = "what has no field of its own touches everything")]
fn place(operation: Operation) -> Place {
    use Operation as O;
    match operation {
        O::StoreSubscribe => Place::Query,
        O::StoreTransaction => Place::Transaction,
        O::StoreUnsubscribe | O::RulesUnsubscribe | O::StoreSnapshot | O::StoreBuckets => Place::Own,
        O::StoreDefineBucket
        | O::StoreDropBucket
        | O::StoreUpdateBucket
        | O::StoreGetBucketSchema
        | O::StoreDefineQuery
        | O::StoreUndefineQuery
        | O::ProceduresUnregister
        | O::ProceduresUpdate
        | O::ProceduresGet
        | O::ProceduresCall => Place::Field("name"),
        O::ProceduresRegister => Place::Inside("procedure", "name"),
        O::RulesEmit => Place::Field("topic"),
        O::RulesSetFact | O::RulesGetFact | O::RulesDeleteFact => Place::Field("key"),
        O::RulesSubscribe | O::RulesQueryFacts => Place::Field("pattern"),
        O::StoreStats | O::StoreListQueries | O::StorePurgeTtl => Place::Everything,
        other if other.name().starts_with("store.") => Place::Field("bucket"),
        _ => Place::Everything,
    }
}

/// Finds what a request touches; for a transaction see [`inner_resources`].
pub(crate) fn resource_of<'a>(
    operation: Option<Operation>,
    members: &Members<'a>,
    shared: &dyn Shared,
) -> Resource<'a> {
    let everything = || Resource::Named("*".into());
    match operation.map_or(Place::Everything, place) {
        Place::Field(field) => members.text(field).map_or_else(everything, Resource::Named),
        Place::Query => members.text("query").map_or_else(everything, |query| {
            let bucket = shared.bucket_of_query(&query);
            Resource::Query(query, bucket)
        }),
        Place::Inside(object, field) => {
            let object = members.get(object).and_then(Members::of);
            object.and_then(|object| object.text(field)).map_or_else(everything, Resource::Named)
        }
        Place::Transaction | Place::Everything => everything(),
        Place::Own => Resource::Unrestricted,
    }
}

/// The inner operations of a transaction as far as they can be read: bucket (`*` if there is none) and name.
pub(crate) fn inner_resources<'a>(
    members: &Members<'a>,
) -> impl Iterator<Item = (Cow<'a, str>, Option<Cow<'a, str>>)> {
    let items: Vec<Raw<'a>> = members.get("operations").and_then(scan_array).unwrap_or_default();
    items.into_iter().map(|raw| {
        let members = Members::of(raw);
        let bucket = members.as_ref().and_then(|m| m.text("bucket")).unwrap_or("*".into());
        (bucket, members.and_then(|m| m.text("op")))
    })
}

/// The bucket whose records a request gets at besides what it names, `*` if that may be several: a query reads it, or
/// its changes come as events.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others touch nothing but what they name")]
pub(crate) fn further_bucket<'a>(
    operation: Option<Operation>,
    members: &Members<'a>,
    shared: &dyn Shared,
) -> Option<Cow<'a, str>> {
    match operation? {
        Operation::StoreDefineQuery => {
            let config = members.get("config").and_then(Members::of);
            Some(config.and_then(|config| config.text("bucket")).unwrap_or("*".into()))
        }
        Operation::RulesSubscribe => {
            let pattern = members.text("pattern")?;
            bucket_to_watch(&pattern, shared).map(|bucket| bucket.to_owned().into())
        }
        _ => None,
    }
}

/// The bucket whose changes a pattern of topics shows as events, `*` if there may be several.
pub(crate) fn bucket_to_watch<'p>(pattern: &'p str, shared: &dyn Shared) -> Option<&'p str> {
    if !shared.has_store_events() {
        return None;
    }
    if let Some((head, _)) = pattern.split_once('*') {
        let may_match = head.starts_with("bucket.") || "bucket.".starts_with(head);
        return may_match.then_some("*");
    }
    let (bucket, change) = pattern.strip_prefix("bucket.")?.rsplit_once('.')?;
    matches!(change, "inserted" | "updated" | "deleted").then_some(bucket)
}

/// Names what a request touches for people; a transaction names its buckets, joined with commas. At most about
/// `bytes_max` bytes.
pub(crate) fn shown_resource(operation: Operation, members: &Members<'_>, bytes_max: usize) -> String {
    let named = |name: Option<Cow<'_, str>>| name.map_or_else(|| "*".to_owned(), Cow::into_owned);
    match place(operation) {
        Place::Field(field) => named(members.text(field)),
        Place::Query => named(members.text("query")),
        Place::Inside(object, field) => {
            named(members.get(object).and_then(Members::of).and_then(|object| object.text(field)))
        }
        Place::Transaction => {
            let mut seen: Vec<Cow<'_, str>> = Vec::new();
            let mut bytes = 0;
            for (bucket, _) in inner_resources(members) {
                if bytes < bytes_max && !seen.contains(&bucket) {
                    bytes += bucket.len() + 1;
                    seen.push(bucket);
                }
            }
            if seen.is_empty() { "*".to_owned() } else { seen.join(",") }
        }
        Place::Everything | Place::Own => "*".to_owned(),
    }
}
