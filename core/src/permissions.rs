//! Who may run what: tiers of roles, declarative rules, and the rights of users.
//!
//! Source: the auth specification, sections 3 to 6.

mod resource;
mod users;

pub(crate) use resource::{inner_resources, shown_resource};
pub use users::Target;

use crate::{
    AuthMode, Code, Operation, Refusal, Session, Shared, Tier, TokenMode, request::Members,
    subscriptions::Watched,
};
use alloc::{borrow::Cow, format, string::String, vec::Vec};
use resource::{Resource, bucket_to_watch, further_bucket, resource_of};

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

/// Checks tier and permissions of a request (steps P6 to P7b of the pipeline).
pub(crate) fn authorize(
    mode: &AuthMode,
    session: Option<&Session>,
    kind: &str,
    operation: Option<Operation>,
    members: &Members<'_>,
    shared: &dyn Shared,
) -> Result<(), Refusal> {
    // Whoever may subscribe may ask for what the subscription shows.
    let is_snapshot = operation == Some(Operation::StoreSnapshot);
    let kind = if is_snapshot { Operation::StoreSubscribe.name() } else { kind };
    let token = match (mode, session) {
        (AuthMode::Token(token), _) => token,
        (AuthMode::BuiltIn, Some(session)) => {
            return users::authorize(session, kind, operation, members, shared);
        }
        (AuthMode::None, _) | (AuthMode::BuiltIn, None) => return Ok(()),
    };
    let Some(session) = judged(token, session) else { return Ok(()) };
    check_tier(token, &session, operation)?;
    let check = Check { token, session: &session, shared };
    if operation == Some(Operation::StoreTransaction) {
        return check.transaction(members);
    }
    check.allowed(kind, &resource_of(operation, members, shared))?;
    further_bucket(operation, members, shared)
        .map_or(Ok(()), |bucket| check.allowed("store.where", &Resource::Named(bucket)))
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
    let resource = if operation == Operation::StoreSubscribe {
        Resource::Query(resource.into(), shared.bucket_of_query(resource))
    } else {
        Resource::Named(resource.into())
    };
    let token = match mode {
        AuthMode::None => return Ok(()),
        AuthMode::BuiltIn => {
            let user_id = session.map(|session| session.user_id.as_str()).unwrap_or_default();
            return users::may(user_id, operation, &resource, shared);
        }
        AuthMode::Token(token) => token,
    };
    let Some(session) = judged(token, session) else { return Ok(()) };
    check_tier(token, &session, Some(operation))?;
    Check { token, session: &session, shared }.allowed(operation.name(), &resource)
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
    let token = match (mode, session) {
        (AuthMode::Token(token), _) => token,
        (AuthMode::BuiltIn, Some(session)) => return users::may_watch(&session.user_id, watched, shared),
        (AuthMode::BuiltIn, None) => return false,
        (AuthMode::None, _) => return true,
    };
    let Some(session) = judged(token, session) else { return true };
    let (operation, resource) = match watched {
        Watched::Query(query) => {
            (Operation::StoreSubscribe, Resource::Query(query.into(), shared.bucket_of_query(query)))
        }
        Watched::Pattern(pattern) => (Operation::RulesSubscribe, Resource::Named(pattern.into())),
    };
    let check = Check { token, session: &session, shared };
    let further = match watched {
        Watched::Query(_) => None,
        Watched::Pattern(pattern) => bucket_to_watch(pattern, shared),
    };
    check_tier(token, &session, Some(operation)).is_ok()
        && check.allowed(operation.name(), &resource).is_ok()
        && further.is_none_or(|bucket| check.allowed("store.where", &Resource::Named(bucket.into())).is_ok())
}

/// Lists the buckets that a session may see in `store.buckets`; `None` = all.
pub(crate) fn visible_buckets(
    mode: &AuthMode,
    session: Option<&Session>,
    shared: &dyn Shared,
) -> Option<Vec<String>> {
    let token = match mode {
        AuthMode::None => return None,
        AuthMode::Token(token) => token,
        AuthMode::BuiltIn => {
            let mut visible = session.map_or_else(Vec::new, |own| shared.visible_buckets(&own.user_id));
            visible.retain(|name| !name.starts_with('_'));
            return Some(visible);
        }
    };
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
        let mut empty = true;
        for (bucket, op) in inner_resources(members) {
            empty = false;
            let resource = Resource::Named(bucket);
            self.allowed("store.transaction", &resource)?;
            if let Some(op) = op {
                self.allowed(&format!("store.{op}"), &resource)?;
            }
        }
        if empty { self.allowed("store.transaction", &Resource::Named("*".into())) } else { Ok(()) }
    }
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
