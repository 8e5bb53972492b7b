//! Who may run what: tiers of roles, and declarative rules.
//!
//! Source: the auth specification, sections 3 to 5. The resource of a request is read from one fixed field per
//! operation; other fields never stand in for it.

use crate::{
    AuthMode, Code, Operation, Refusal, Session, Shared, Tier, TokenMode, request::Members,
    subscriptions::Watched,
};
use alloc::{borrow::Cow, format, string::String, vec::Vec};
use noex_json::{Raw, scan_array};

/// Declarative rules; they can only allow.
#[derive(Clone, Debug, Default)]
pub struct Permissions {
    /// What holds where no rule allows.
    pub default_allow: bool,
    /// Rules, tried in order.
    pub rules: Vec<PermissionRule>,
}

/// One rule.
#[derive(Clone, Debug, Default)]
pub struct PermissionRule {
    /// Role that a session must have.
    pub role: String,
    /// Patterns of operations, see [`pattern_matches`].
    pub allow: Vec<String>,
    /// For `store.*`: the resources, exactly.
    pub buckets: Option<Vec<String>>,
    /// For `rules.*`: patterns of the resource.
    pub topics: Option<Vec<String>>,
}

/// Matches `*` with everything, `prefix.*` with what starts with `prefix.`, anything else exactly.
#[must_use]
pub fn pattern_matches(pattern: &str, text: &str) -> bool {
    pattern == "*"
        || pattern == text
        || (pattern.ends_with(".*")
            && pattern.strip_suffix('*').is_some_and(|prefix| text.starts_with(prefix)))
}

/// What a request touches.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Resource<'a> {
    /// Something with a name, or `*` if there is none.
    Named(Cow<'a, str>),
    /// A query, and the bucket that it reads.
    Query(Cow<'a, str>, Option<String>),
    /// Nothing that could be restricted: the operation's permission is enough.
    Unrestricted,
}

impl Resource<'_> {
    fn shown(&self) -> &str {
        match self {
            Resource::Named(name) | Resource::Query(name, _) => name,
            Resource::Unrestricted => "*",
        }
    }
}

impl PermissionRule {
    fn allows(&self, roles: &[String], operation: &str, resource: &Resource<'_>) -> bool {
        if !roles.contains(&self.role)
            || !self.allow.iter().any(|pattern| pattern_matches(pattern, operation))
        {
            return false;
        }
        let listed = |list: &[String], name: &str| list.iter().any(|entry| entry == name);
        match (resource, &self.buckets, &self.topics) {
            (Resource::Unrestricted, _, _) => true,
            (Resource::Named(name), Some(buckets), _) if operation.starts_with("store.") => {
                listed(buckets, name)
            }
            (Resource::Query(name, bucket), Some(buckets), _) => {
                listed(buckets, name) || bucket.as_ref().is_some_and(|bucket| listed(buckets, bucket))
            }
            (Resource::Named(name), _, Some(topics)) if operation.starts_with("rules.") => {
                topics.iter().any(|pattern| pattern_matches(pattern, name))
            }
            _ => true,
        }
    }
}

/// Checks tier and permissions of a request (steps P7a and P7b of the pipeline).
pub(crate) fn authorize(
    mode: &AuthMode,
    session: Option<&Session>,
    kind: &str,
    operation: Option<Operation>,
    members: &Members<'_>,
    shared: &dyn Shared,
) -> Result<(), Refusal> {
    let AuthMode::Token(token) = mode else { return Ok(()) };
    let Some(session) = judged(token, session) else { return Ok(()) };
    check_tier(token, &session, operation)?;
    let check = Check { token, session: &session, shared };
    if operation == Some(Operation::StoreTransaction) {
        return check.transaction(members);
    }
    check.allowed(kind, &resource_of(operation, members, shared))?;
    if operation == Some(Operation::StoreDefineQuery) {
        let bucket = members.get("config").and_then(Members::of).and_then(|config| config.text("bucket"));
        check.allowed("store.where", &Resource::Named(bucket.unwrap_or("*".into())))?;
    }
    Ok(())
}

/// Checks whether a client may run one operation on one resource, apart from a request: for work that is done on its
/// behalf, such as the steps of a procedure. The same rules decide as for the request of that operation.
///
/// # Errors
/// The refusal of that request.
pub fn may(
    mode: &AuthMode,
    session: Option<&Session>,
    operation: Operation,
    resource: &str,
    shared: &dyn Shared,
) -> Result<(), Refusal> {
    let AuthMode::Token(token) = mode else { return Ok(()) };
    let Some(session) = judged(token, session) else { return Ok(()) };
    check_tier(token, &session, Some(operation))?;
    Check { token, session: &session, shared }.allowed(operation.name(), &Resource::Named(resource.into()))
}

/// The session by which a request is judged: where there is none, one with the roles of anonymous clients. `None` =
/// nothing is checked.
fn judged<'s>(token: &TokenMode, session: Option<&'s Session>) -> Option<Cow<'s, Session>> {
    session.map(Cow::Borrowed).or_else(|| {
        let roles = token.anonymous_roles.clone()?;
        Some(Cow::Owned(Session { roles, ..Session::default() }))
    })
}

/// Checks whether a client may still watch something.
pub(crate) fn may_watch(
    mode: &AuthMode,
    session: Option<&Session>,
    watched: Watched<'_>,
    shared: &dyn Shared,
) -> bool {
    let AuthMode::Token(token) = mode else { return true };
    let Some(session) = judged(token, session) else { return true };
    let (operation, resource) = match watched {
        Watched::Query(query) => {
            (Operation::StoreSubscribe, Resource::Query(query.into(), shared.bucket_of_query(query)))
        }
        Watched::Pattern(pattern) => (Operation::RulesSubscribe, Resource::Named(pattern.into())),
    };
    check_tier(token, &session, Some(operation)).is_ok()
        && Check { token, session: &session, shared }.allowed(operation.name(), &resource).is_ok()
}

/// Lists the buckets that a session may see in `store.buckets`; `None` = all.
pub(crate) fn visible_buckets(mode: &AuthMode, session: Option<&Session>) -> Option<Vec<String>> {
    let AuthMode::Token(token) = mode else { return None };
    let permissions = token.permissions.as_ref().filter(|permissions| !permissions.default_allow)?;
    let roles = match (session, &token.anonymous_roles) {
        (Some(session), _) => &session.roles,
        (None, Some(roles)) => roles,
        (None, None) => return None,
    };
    let mut visible = Vec::new();
    for rule in &permissions.rules {
        if rule.allows(roles, Operation::StoreBuckets.name(), &Resource::Unrestricted) {
            visible.extend(rule.buckets.as_ref()?.iter().cloned());
        }
    }
    Some(visible)
}

fn check_tier(token: &TokenMode, session: &Session, operation: Option<Operation>) -> Result<(), Refusal> {
    let Some((operation, tier)) = operation.and_then(|op| op.tier().map(|tier| (op, tier))) else {
        return Ok(());
    };
    let level = [(Tier::Admin, "admin"), (Tier::Write, "writer"), (Tier::Read, "reader")]
        .into_iter()
        .find(|(_, role)| session.has_role(role))
        .map(|(tier, _)| tier);
    let enough = level.map_or(!token.strict_tiers, |level| level >= tier);
    if enough {
        return Ok(());
    }
    Err(Refusal::new(
        Code::Forbidden,
        format!("Role level insufficient for {} (requires {})", operation.name(), tier.as_str()),
    ))
}

struct Check<'a> {
    token: &'a TokenMode,
    session: &'a Session,
    shared: &'a dyn Shared,
}

impl Check<'_> {
    fn allowed(&self, operation: &str, resource: &Resource<'_>) -> Result<(), Refusal> {
        let own = self.shared.permits(self.session, operation, resource.shown());
        let allowed = own.unwrap_or_else(|| {
            self.token.permissions.as_ref().is_none_or(|permissions| {
                permissions.default_allow
                    || permissions
                        .rules
                        .iter()
                        .any(|rule| rule.allows(&self.session.roles, operation, resource))
            })
        });
        if allowed {
            return Ok(());
        }
        Err(Refusal::new(Code::Forbidden, format!("No permission for {operation} on {}", resource.shown())))
    }

    /// Every inner operation needs both its own permission and that of the transaction, on its bucket.
    fn transaction(&self, members: &Members<'_>) -> Result<(), Refusal> {
        let items = members.get("operations").and_then(scan_array).unwrap_or_default();
        if items.is_empty() {
            return self.allowed("store.transaction", &Resource::Named("*".into()));
        }
        for raw in items {
            let (bucket, op) = inner_resource(raw);
            let resource = Resource::Named(bucket);
            self.allowed("store.transaction", &resource)?;
            if let Some(op) = op {
                self.allowed(&format!("store.{op}"), &resource)?;
            }
        }
        Ok(())
    }
}

/// Bucket and operation of one entry of a transaction, as far as they can be read.
fn inner_resource(raw: Raw<'_>) -> (Cow<'_, str>, Option<Cow<'_, str>>) {
    let members = Members::of(raw);
    let bucket = members.as_ref().and_then(|m| m.text("bucket")).unwrap_or("*".into());
    (bucket, members.and_then(|m| m.text("op")))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "what has no field of its own is judged by the wildcard")]
fn resource_of<'a>(operation: Option<Operation>, members: &Members<'a>, shared: &dyn Shared) -> Resource<'a> {
    use Operation as O;
    let Some(operation) = operation else { return Resource::Named("*".into()) };
    let field = match operation {
        O::StoreSubscribe => {
            let Some(query) = members.text("query") else { return Resource::Named("*".into()) };
            let bucket = shared.bucket_of_query(&query);
            return Resource::Query(query, bucket);
        }
        O::StoreUnsubscribe | O::RulesUnsubscribe | O::StoreSnapshot | O::StoreBuckets => {
            return Resource::Unrestricted;
        }
        O::StoreDefineBucket
        | O::StoreDropBucket
        | O::StoreUpdateBucket
        | O::StoreGetBucketSchema
        | O::StoreDefineQuery
        | O::StoreUndefineQuery
        | O::ProceduresUnregister
        | O::ProceduresUpdate
        | O::ProceduresGet
        | O::ProceduresCall => "name",
        O::RulesEmit => "topic",
        O::RulesSetFact | O::RulesGetFact | O::RulesDeleteFact => "key",
        O::RulesSubscribe | O::RulesQueryFacts => "pattern",
        O::ProceduresRegister => {
            let procedure = members.get("procedure").and_then(Members::of);
            return Resource::Named(procedure.and_then(|p| p.text("name")).unwrap_or("*".into()));
        }
        O::StoreStats | O::StoreListQueries | O::StorePurgeTtl => return Resource::Named("*".into()),
        other if other.name().starts_with("store.") => "bucket",
        _ => return Resource::Named("*".into()),
    };
    Resource::Named(members.text(field).unwrap_or("*".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert!(pattern_matches("*", "anything"));
        assert!(pattern_matches("store.*", "store.get"));
        assert!(pattern_matches("order.*", "order.a.b"));
        assert!(pattern_matches("order.*", "order.*"));
        assert!(!pattern_matches("order.*", "order"));
        assert!(!pattern_matches("order.*", "*"));
        assert!(!pattern_matches("store.co*", "store.count"));
        assert!(pattern_matches("store.co*", "store.co*"));
    }
}
