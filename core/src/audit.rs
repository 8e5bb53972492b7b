//! What the audit log is told of a request, and how floods of refusals are kept from filling it.
//!
//! Secrets never get here: only fields that name something are read. All texts are cut off at a limit.
//! Source: the auth specification, section 7.

use crate::{Instant, Operation, Tier, permissions::shown_resource, request::Members};
use alloc::{borrow::ToOwned, boxed::Box, format, string::String};
use core::time::Duration;
use noex_json::{Object, Raw, Value};

/// One entry of the audit log, without what the host knows: time, connection and address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditRecord {
    /// The user whom the connection speaks for after the request; where the request ended that, before.
    pub user_id: Option<String>,
    /// Name of the operation; `*` for a summary.
    pub operation: &'static str,
    /// What it touched, `*` if nothing in particular.
    pub resource: String,
    /// Text of the error; `None` = success.
    pub error: Option<String>,
    /// Further fields, as JSON text.
    pub details: Option<String>,
}

/// What must be remembered of a request until its outcome is known.
#[derive(Debug)]
pub(crate) struct Note {
    operation: Operation,
    resource: String,
    details: Option<String>,
    /// The user before the request, if it may end the session.
    user_before: Option<String>,
    at: Instant,
}

/// Bytes of a text in an entry. Clients choose these texts, and entries are kept in memory.
const TEXT_BYTES_MAX: usize = 2048;

/// Refusals of one connection and minute that are recorded one by one.
const REFUSALS_MAX: u32 = 100;
const REFUSALS_WINDOW: Duration = Duration::from_secs(60);

/// Takes a note of a request, if operations of its kind are recorded. `user` is whom the connection speaks for.
pub(crate) fn note(
    tiers: &[Tier],
    operation: Operation,
    members: &Members<'_>,
    user: Option<&str>,
    at: Instant,
) -> Option<Box<Note>> {
    if !tiers.contains(&tier(operation)?) {
        return None;
    }
    let ends_session = matches!(
        operation,
        Operation::AuthLogout | Operation::IdentityLogout | Operation::IdentityChangePassword
    );
    Some(Box::new(Note {
        operation,
        resource: cut(&resource(operation, members)),
        details: details(operation, members).map(|details| Value::from(details).to_json()),
        user_before: user.filter(|_| ends_session).map(str::to_owned),
        at,
    }))
}

impl Note {
    /// Makes the entry. `user` is whom the connection speaks for now.
    pub(crate) fn into_record(self, user: Option<&str>, error: Option<&str>) -> AuditRecord {
        AuditRecord {
            user_id: user.map(str::to_owned).or(self.user_before),
            operation: self.operation.name(),
            resource: self.resource,
            error: error.map(cut),
            details: self.details,
        }
    }

    pub(crate) fn at(&self) -> Instant {
        self.at
    }

    pub(crate) fn is_login(&self) -> bool {
        use Operation as O;
        matches!(self.operation, O::AuthLogin | O::IdentityLogin | O::IdentityLoginWithSecret)
    }
}

/// Gives the tier under which an operation is recorded. What has none otherwise: logins and changes count as
/// administration, looking at accounts as reading.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others have the tier that roles are judged by")]
fn tier(operation: Operation) -> Option<Tier> {
    use Operation as O;
    match operation {
        O::AuthLogin
        | O::AuthLogout
        | O::IdentityRefreshSession
        | O::IdentityUpdateUser
        | O::IdentityUpdateRole => Some(Tier::Admin),
        O::IdentityWhoami
        | O::IdentityGetUser
        | O::IdentityListUsers
        | O::IdentityListRoles
        | O::IdentityGetUserRoles
        | O::IdentityGetAcl
        | O::IdentityMyAccess
        | O::IdentityGetOwner => Some(Tier::Read),
        other => other.tier(),
    }
}

/// Names what a request touches, from the field that the operation really uses.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others touch what their permission is checked on")]
fn resource(operation: Operation, members: &Members<'_>) -> String {
    use Operation as O;
    let named = |kind: &str, field| match members.text(field) {
        Some(name) => format!("{kind}{name}"),
        None => "*".to_owned(),
    };
    match operation {
        O::RulesUnregisterRule
        | O::RulesUpdateRule
        | O::RulesEnableRule
        | O::RulesDisableRule
        | O::RulesGetRule => named("", "ruleId"),
        O::IdentityLogin | O::IdentityCreateUser => named("user:", "username"),
        O::IdentityGetUser
        | O::IdentityUpdateUser
        | O::IdentityDeleteUser
        | O::IdentityEnableUser
        | O::IdentityDisableUser
        | O::IdentityChangePassword
        | O::IdentityResetPassword
        | O::IdentityAssignRole
        | O::IdentityRemoveRole
        | O::IdentityGetUserRoles
        | O::ServerRevokeSession
        | O::ServerUnrevoke
        | O::AuditQuery => named("user:", "userId"),
        O::ServerRevokeSessions if members.text("userId").is_none() => named("role:", "role"),
        O::ServerRevokeSessions => named("user:", "userId"),
        O::IdentityCreateRole => named("", "name"),
        O::IdentityUpdateRole | O::IdentityDeleteRole => named("role:", "roleId"),
        O::IdentityGrant
        | O::IdentityRevoke
        | O::IdentityGetAcl
        | O::IdentityGetOwner
        | O::IdentityTransferOwner => match (members.text("resourceType"), members.text("resourceName")) {
            (Some(kind), Some(name)) => format!("{kind}:{name}"),
            _ => "*".to_owned(),
        },
        other => shown_resource(other, members, TEXT_BYTES_MAX),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the others have no details")]
fn details(operation: Operation, members: &Members<'_>) -> Option<Object> {
    use Operation as O;
    let fields: &[&str] = match operation {
        O::IdentityLogin | O::IdentityCreateUser => &["username"],
        O::IdentityAssignRole | O::IdentityRemoveRole => &["userId", "roleName"],
        O::IdentityGrant | O::IdentityRevoke => {
            &["subjectType", "subjectId", "resourceType", "resourceName", "operations"]
        }
        O::IdentityTransferOwner => &["resourceType", "resourceName", "newOwnerId"],
        _ => return None,
    };
    let mut details = Object::new();
    for field in fields {
        match members.get(field).map(Raw::to_value) {
            Some(Value::Array(items)) if *field == "operations" => {
                let texts = items.iter().filter_map(Value::as_str).take(OPERATIONS_MAX);
                details
                    .set(*field, Value::Array(texts.map(|text| Value::from(cut(text).as_str())).collect()));
            }
            Some(Value::String(text)) if *field != "operations" => details.set(*field, cut(&text).as_str()),
            _ => {}
        }
    }
    Some(details)
}

/// Operations of a grant that are shown; there are three.
const OPERATIONS_MAX: usize = 8;

fn cut(text: &str) -> String {
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    text.get(..end).map_or_else(String::new, |head| format!("{head}\u{2026}"))
}

/// Counts the refusals of one connection, so that a flood of them leaves one entry instead of many.
#[derive(Debug)]
pub(crate) struct RefusalBudget {
    window_end: Instant,
    recorded: u32,
    suppressed: u64,
    /// Whose requests were suppressed.
    user: Option<String>,
}

impl RefusalBudget {
    pub(crate) fn new(now: Instant) -> Self {
        Self { window_end: now, recorded: 0, suppressed: 0, user: None }
    }

    /// Decides whether a refusal is recorded on its own. Ask for [`RefusalBudget::summary`] before.
    pub(crate) fn admits(&mut self, at: Instant) -> bool {
        if self.window_end <= at {
            *self = Self { window_end: at + REFUSALS_WINDOW, ..Self::new(at) };
        }
        let admitted = self.recorded < REFUSALS_MAX;
        self.recorded += u32::from(admitted);
        admitted
    }

    /// Counts one that is not recorded on its own; gives the summary of another user's.
    pub(crate) fn suppress(&mut self, user: Option<String>) -> Option<AuditRecord> {
        let others = if self.user == user { None } else { self.summary(None) };
        self.user = user;
        self.suppressed += 1;
        others
    }

    /// When a summary is due, if one will be.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        (self.suppressed > 0).then_some(self.window_end)
    }

    /// Gives the summary of the refusals that were not recorded, if their window has ended by `now` or for good
    /// (`None`).
    pub(crate) fn summary(&mut self, now: Option<Instant>) -> Option<AuditRecord> {
        if self.suppressed == 0 || now.is_some_and(|now| now < self.window_end) {
            return None;
        }
        let suppressed = core::mem::take(&mut self.suppressed);
        Some(AuditRecord {
            user_id: self.user.take(),
            operation: "*",
            resource: "*".to_owned(),
            error: Some(format!("{suppressed} more errors within a minute")),
            details: Some(format!("{{\"suppressed\":{suppressed}}}")),
        })
    }
}
