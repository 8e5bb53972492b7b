//! Calls of the identity, of the audit log and of the server: the roles that they ask for, then their fields.
//!
//! Source: the auth specification, section 6.8, and the protocol specification, sections 7.8, 7.9 and 7.12.

use super::{Checked, Fields, positive_integer};
use crate::{
    AuditQuery, Code, IdentityCall, NewUser, Operation, Refusal, ResourceName, ServerCall, Session, Subject,
    UserChanges,
};
use alloc::{borrow::Cow, string::String, vec::Vec};
use noex_json::{Object, Raw, Value};

/// Users shown on one page of `identity.listUsers`.
const PAGE_SIZE: u64 = 50;
const PAGE_SIZE_MAX: u64 = 200;

/// Builds the call of an identity operation, after the check of the caller's roles; `None` for those that the
/// connection answers itself.
pub(crate) fn identity_call(
    operation: Operation,
    fields: &Fields<'_, '_>,
    session: Option<&Session>,
) -> Option<Checked<IdentityCall>> {
    let build = build(operation)?;
    Some(check_role(operation, session).and_then(|()| build(operation, fields, session)))
}

/// Checks the role that an identity operation asks for.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others ask for a login at most")]
fn check_role(operation: Operation, session: Option<&Session>) -> Checked<()> {
    use Operation as O;
    let has = |role| session.is_some_and(|session| session.has_role(role));
    let (enough, text) = match operation {
        O::IdentityCreateUser
        | O::IdentityGetUser
        | O::IdentityDeleteUser
        | O::IdentityListUsers
        | O::IdentityEnableUser
        | O::IdentityDisableUser
        | O::IdentityResetPassword
        | O::IdentityListRoles
        | O::IdentityAssignRole
        | O::IdentityRemoveRole
        | O::IdentityGetUserRoles => (has("admin") || has("superadmin"), "Admin role required"),
        O::IdentityCreateRole | O::IdentityUpdateRole | O::IdentityDeleteRole => {
            (has("superadmin"), "Superadmin role required")
        }
        _ => return Ok(()),
    };
    if enough { Ok(()) } else { Err(Refusal::new(Code::Forbidden, text)) }
}

type Build = fn(Operation, &Fields<'_, '_>, Option<&Session>) -> Checked<IdentityCall>;

/// Picks who builds the call.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other operations are none of the identity's")]
fn build(operation: Operation) -> Option<Build> {
    use Operation as O;
    Some(match operation {
        O::IdentityLogin | O::IdentityLoginWithSecret | O::IdentityLogout | O::IdentityRefreshSession => {
            session_call
        }
        O::IdentityCreateUser
        | O::IdentityGetUser
        | O::IdentityUpdateUser
        | O::IdentityDeleteUser
        | O::IdentityListUsers
        | O::IdentityEnableUser
        | O::IdentityDisableUser
        | O::IdentityChangePassword
        | O::IdentityResetPassword
        | O::IdentityGetUserRoles => user_call,
        O::IdentityCreateRole
        | O::IdentityUpdateRole
        | O::IdentityDeleteRole
        | O::IdentityListRoles
        | O::IdentityAssignRole
        | O::IdentityRemoveRole => role_call,
        O::IdentityGrant
        | O::IdentityRevoke
        | O::IdentityGetAcl
        | O::IdentityMyAccess
        | O::IdentityGetOwner
        | O::IdentityTransferOwner => access_call,
        _ => return None,
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "picked above")]
fn session_call(
    operation: Operation,
    fields: &Fields<'_, '_>,
    _session: Option<&Session>,
) -> Checked<IdentityCall> {
    use Operation as O;
    Ok(match operation {
        O::IdentityLogin => {
            IdentityCall::Login { username: fields.owned("username")?, password: fields.owned("password")? }
        }
        O::IdentityLoginWithSecret => IdentityCall::LoginWithSecret { secret: fields.owned("secret")? },
        O::IdentityLogout => IdentityCall::Logout,
        _ => IdentityCall::RefreshSession,
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "picked above")]
fn user_call(
    operation: Operation,
    fields: &Fields<'_, '_>,
    session: Option<&Session>,
) -> Checked<IdentityCall> {
    use Operation as O;
    let user_id = || fields.owned("userId");
    Ok(match operation {
        O::IdentityCreateUser => IdentityCall::CreateUser {
            user: NewUser {
                username: fields.owned("username")?,
                password: fields.owned("password")?,
                display_name: fields.string("displayName"),
                email: fields.string("email"),
                enabled: fields.value("enabled").and_then(|value| value.as_bool()),
                metadata: fields.value("metadata").and_then(into_object),
            },
        },
        O::IdentityGetUser => IdentityCall::GetUser { user_id: user_id()? },
        O::IdentityUpdateUser => {
            let user_id = user_id()?;
            let own = session.is_some_and(|session| {
                session.user_id == user_id || session.has_role("admin") || session.has_role("superadmin")
            });
            if !own {
                return Err(Refusal::new(Code::Forbidden, "Admin role required"));
            }
            IdentityCall::UpdateUser { user_id, changes: user_changes(fields) }
        }
        O::IdentityDeleteUser => IdentityCall::DeleteUser { user_id: user_id()? },
        O::IdentityListUsers => IdentityCall::ListUsers {
            page: fields.whole("page").unwrap_or(1).max(1),
            page_size: fields.whole("pageSize").unwrap_or(PAGE_SIZE).clamp(1, PAGE_SIZE_MAX),
        },
        O::IdentityEnableUser => IdentityCall::EnableUser { user_id: user_id()? },
        O::IdentityDisableUser => IdentityCall::DisableUser { user_id: user_id()? },
        O::IdentityChangePassword => IdentityCall::ChangePassword {
            user_id: user_id()?,
            current_password: fields.owned("currentPassword")?,
            new_password: fields.owned("newPassword")?,
        },
        O::IdentityResetPassword => {
            IdentityCall::ResetPassword { user_id: user_id()?, new_password: fields.owned("newPassword")? }
        }
        _ => IdentityCall::GetUserRoles { user_id: user_id()? },
    })
}

/// Members that are present change something; of a wrong type they clear it.
fn user_changes(fields: &Fields<'_, '_>) -> UserChanges {
    let text = |field| fields.members.get(field).map(|raw| raw.as_str().map(Cow::into_owned));
    UserChanges {
        display_name: text("displayName"),
        email: text("email"),
        metadata: fields.members.get("metadata").map(|raw| raw.to_object().unwrap_or_default()),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "picked above")]
fn role_call(
    operation: Operation,
    fields: &Fields<'_, '_>,
    _session: Option<&Session>,
) -> Checked<IdentityCall> {
    use Operation as O;
    Ok(match operation {
        O::IdentityCreateRole => IdentityCall::CreateRole {
            name: fields.name("name")?,
            description: fields.string("description"),
            permissions: fields.array("permissions").unwrap_or_default(),
        },
        O::IdentityUpdateRole => IdentityCall::UpdateRole {
            role_id: fields.owned("roleId")?,
            description: fields.value("description").and_then(|value| match value {
                Value::String(text) => Some(Some(text.into_string())),
                Value::Null => Some(None),
                Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
            }),
            permissions: fields.array("permissions"),
        },
        O::IdentityDeleteRole => IdentityCall::DeleteRole { role_id: fields.owned("roleId")? },
        O::IdentityAssignRole => {
            IdentityCall::AssignRole { user_id: fields.owned("userId")?, role_name: fields.name("roleName")? }
        }
        O::IdentityRemoveRole => {
            IdentityCall::RemoveRole { user_id: fields.owned("userId")?, role_name: fields.name("roleName")? }
        }
        _ => IdentityCall::ListRoles,
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "picked above")]
fn access_call(
    operation: Operation,
    fields: &Fields<'_, '_>,
    _session: Option<&Session>,
) -> Checked<IdentityCall> {
    use Operation as O;
    let subject = || -> Checked<Subject> {
        Ok(Subject { kind: fields.owned("subjectType")?, id: fields.owned("subjectId")? })
    };
    let resource = || -> Checked<ResourceName> {
        Ok(ResourceName { kind: fields.owned("resourceType")?, name: fields.name("resourceName")? })
    };
    Ok(match operation {
        O::IdentityGrant => IdentityCall::Grant {
            subject: subject()?,
            resource: resource()?,
            operations: fields.array("operations").ok_or_else(|| {
                Refusal::validation("Missing or invalid \"operations\": expected non-empty array")
            })?,
        },
        O::IdentityRevoke => IdentityCall::Revoke {
            subject: subject()?,
            resource: resource()?,
            operations: fields.array("operations").filter(|operations| !operations.is_empty()),
        },
        O::IdentityGetAcl => IdentityCall::GetAcl { resource: resource()? },
        O::IdentityGetOwner => IdentityCall::GetOwner { resource: resource()? },
        O::IdentityTransferOwner => {
            IdentityCall::TransferOwner { resource: resource()?, new_owner_id: fields.owned("newOwnerId")? }
        }
        _ => IdentityCall::MyAccess,
    })
}

/// Reads the filters of `audit.query`.
pub(crate) fn audit_query(fields: &Fields<'_, '_>) -> Checked<AuditQuery> {
    let invalid = |field: &str, expected: &str| {
        Refusal::validation(alloc::format!("Invalid \"{field}\": expected {expected}"))
    };
    let text = |field| match fields.members.get(field) {
        None => Ok(None),
        Some(raw) => raw.as_str().map(|text| Some(text.into_owned())).ok_or_else(|| invalid(field, "string")),
    };
    let number = |field| match fields.members.get(field) {
        None => Ok(None),
        Some(raw) => raw.as_number().map(Some).ok_or_else(|| invalid(field, "number")),
    };
    let user_id = text("userId")?;
    let operation = text("operation")?;
    let success = match fields.members.get("result") {
        None => None,
        Some(raw) => match raw.as_str().as_deref() {
            Some("success") => Some(true),
            Some("error") => Some(false),
            _ => return Err(invalid("result", "\"success\" or \"error\"")),
        },
    };
    let (from, to) = (number("from")?, number("to")?);
    let limit = match fields.members.get("limit") {
        None => None,
        Some(raw) => {
            let limit = raw.as_number().and_then(positive_integer);
            Some(limit.ok_or_else(|| invalid("limit", "positive integer"))?)
        }
    };
    Ok(AuditQuery { user_id, operation, success, from, to, limit: limit.map(|limit| limit as u64) })
}

/// Builds the call of a server operation; `None` if it is none. `system` says whether system buckets are shown.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other operations are none of the server's")]
pub(crate) fn server_call(
    operation: Operation,
    fields: &Fields<'_, '_>,
    system: bool,
) -> Option<Checked<ServerCall>> {
    use Operation as O;
    Some(match operation {
        O::ServerStats => Ok(ServerCall::Stats { system }),
        O::ServerConnections => Ok(ServerCall::Connections),
        O::ServerHealth => Ok(ServerCall::Health),
        O::ServerRevokeSession => fields.owned("userId").map(|user_id| ServerCall::RevokeSession { user_id }),
        O::ServerRevokeSessions => revoke_sessions(fields),
        O::ServerUnrevoke => fields.owned("userId").map(|user_id| ServerCall::Unrevoke { user_id }),
        _ => return None,
    })
}

fn revoke_sessions(fields: &Fields<'_, '_>) -> Checked<ServerCall> {
    let filter = |field| fields.members.get(field).map(|_| fields.owned(field)).transpose();
    let (user_id, role) = (filter("userId")?, filter("role")?);
    if user_id.is_none() && role.is_none() {
        return Err(Refusal::validation("Missing \"userId\" or \"role\": expected at least one"));
    }
    Ok(ServerCall::RevokeSessions { user_id, role })
}

fn into_object(value: Value) -> Option<Object> {
    if let Value::Object(object) = value { Some(*object) } else { None }
}

impl Fields<'_, '_> {
    /// A non-empty string.
    fn owned(&self, field: &str) -> Checked<String> {
        self.text(field).map(Cow::into_owned)
    }

    fn value(&self, field: &str) -> Option<Value> {
        self.members.get(field).map(Raw::to_value)
    }

    /// Any string; what is none counts as absent.
    fn string(&self, field: &str) -> Option<String> {
        self.members.text(field).map(Cow::into_owned)
    }

    /// An array; what is none counts as absent.
    fn array(&self, field: &str) -> Option<Vec<Value>> {
        match self.value(field) {
            Some(Value::Array(items)) => Some(items.into_vec()),
            _ => None,
        }
    }

    /// A number without its fraction, not below 0; what is no number counts as absent.
    fn whole(&self, field: &str) -> Option<u64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the fraction is to be cut off; what is beyond the type saturates"
        )]
        let truncated = |number: f64| number as u64;
        self.members.get(field).and_then(Raw::as_number).map(truncated)
    }
}
