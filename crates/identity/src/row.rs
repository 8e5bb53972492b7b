//! Records of the system buckets in typed form, and their translation from and to objects.
//!
//! Source: the auth specification, section 6.2. The store adds the time of insertion and of the last change; a host
//! that writes with the time of the call keeps them equal to the members here.

mod decode;

use crate::{
    names::{AclKey, AclOperation, Resource},
    permission::Permission,
    token::TokenHash,
};
pub use decode::LoadError;
use noex_json::{Object, Value};

/// Names of the system buckets, in the order in which they are defined.
pub(crate) const BUCKETS: [&str; 6] =
    ["_users", "_roles", "_user_roles", "_acl", "_sessions", "_resource_owners"];

#[derive(Clone)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) username: String,
    pub(crate) password_hash: String,
    pub(crate) display_name: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) enabled: bool,
    pub(crate) metadata: Option<Object>,
    pub(crate) created_ms: u64,
    pub(crate) updated_ms: u64,
}

impl std::fmt::Debug for User {
    /// Leaves the password's hash out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id)
            .field("username", &self.username)
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Role {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) system: bool,
    pub(crate) permissions: Vec<Permission>,
    pub(crate) created_ms: u64,
    pub(crate) updated_ms: u64,
}

/// A user has a role.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    pub(crate) id: String,
    pub(crate) user_id: String,
    pub(crate) role_id: String,
    pub(crate) granted_by: Option<String>,
    pub(crate) granted_ms: u64,
}

/// An entry of an access list.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) key: AclKey,
    /// Without repetition, not empty.
    pub(crate) operations: Vec<AclOperation>,
    pub(crate) granted_by: Option<String>,
    pub(crate) granted_ms: u64,
}

/// A login that a token continues.
#[derive(Clone, Debug)]
pub(crate) struct StoredSession {
    pub(crate) token: TokenHash,
    pub(crate) user_id: String,
    /// Its last moment.
    pub(crate) expires_ms: u64,
    pub(crate) created_ms: u64,
    pub(crate) ip: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) id: String,
    pub(crate) user_id: String,
    pub(crate) resource: Resource,
    pub(crate) created_ms: u64,
}

/// A record of any system bucket.
#[derive(Clone, Debug)]
pub(crate) enum Row {
    User(User),
    Role(Role),
    Assignment(Assignment),
    Entry(Entry),
    Session(StoredSession),
    Owner(Owner),
}

impl Row {
    /// Name of the bucket.
    pub(crate) fn bucket(&self) -> &'static str {
        match self {
            Row::User(_) => "_users",
            Row::Role(_) => "_roles",
            Row::Assignment(_) => "_user_roles",
            Row::Entry(_) => "_acl",
            Row::Session(_) => "_sessions",
            Row::Owner(_) => "_resource_owners",
        }
    }

    /// Key of the record.
    pub(crate) fn id(&self) -> String {
        match self {
            Row::User(user) => user.id.clone(),
            Row::Role(role) => role.id.clone(),
            Row::Assignment(assignment) => assignment.id.clone(),
            Row::Entry(entry) => entry.id.clone(),
            Row::Session(session) => session.token.to_hex(),
            Row::Owner(owner) => owner.id.clone(),
        }
    }

    /// The record, what is absent being `null`, so that an update clears it.
    pub(crate) fn encode(&self) -> Object {
        let mut out = Object::new();
        out.set("id", text(&self.id()));
        match self {
            Row::User(user) => {
                out.set("username", text(&user.username));
                out.set("passwordHash", text(&user.password_hash));
                out.set("displayName", optional(user.display_name.as_deref()));
                out.set("email", optional(user.email.as_deref()));
                out.set("enabled", user.enabled);
                out.set("metadata", user.metadata.clone().map_or(Value::Null, Value::from));
            }
            Row::Role(role) => {
                out.set("name", text(&role.name));
                out.set("description", optional(role.description.as_deref()));
                out.set("system", role.system);
                out.set("permissions", permissions(role));
            }
            Row::Assignment(assignment) => {
                out.set("userId", text(&assignment.user_id));
                out.set("roleId", text(&assignment.role_id));
                out.set("grantedBy", optional(assignment.granted_by.as_deref()));
                out.set("grantedAt", millis(assignment.granted_ms));
            }
            Row::Entry(entry) => {
                let operations = entry.operations.iter().map(|operation| text(operation.as_str()));
                out.set("subjectType", text(entry.key.subject.kind.as_str()));
                out.set("subjectId", text(&entry.key.subject.id));
                out.set("resourceType", text(entry.key.resource.kind.as_str()));
                out.set("resourceName", text(&entry.key.resource.name));
                out.set("operations", operations.collect::<Vec<_>>());
                out.set("grantedBy", optional(entry.granted_by.as_deref()));
                out.set("grantedAt", millis(entry.granted_ms));
            }
            Row::Session(session) => {
                out.set("userId", text(&session.user_id));
                out.set("expiresAt", millis(session.expires_ms));
                out.set("createdAt", millis(session.created_ms));
                out.set("ip", optional(session.ip.as_deref()));
                out.set("userAgent", Value::Null);
            }
            Row::Owner(owner) => {
                out.set("userId", text(&owner.user_id));
                out.set("resourceType", text(owner.resource.kind.as_str()));
                out.set("resourceName", text(&owner.resource.name));
                out.set("createdAt", millis(owner.created_ms));
            }
        }
        out
    }

    /// The record with the times that the store adds.
    pub(crate) fn encode_whole(&self) -> Object {
        let mut out = self.encode();
        let (created_ms, updated_ms) = match self {
            Row::User(user) => (user.created_ms, user.updated_ms),
            Row::Role(role) => (role.created_ms, role.updated_ms),
            Row::Assignment(_) | Row::Entry(_) | Row::Session(_) | Row::Owner(_) => return out,
        };
        out.set("_createdAt", millis(created_ms));
        out.set("_updatedAt", millis(updated_ms));
        out
    }
}

pub(crate) fn permissions(role: &Role) -> Vec<Value> {
    role.permissions.iter().map(|permission| Value::from(permission.source.clone())).collect()
}

pub(crate) fn text(text: &str) -> Value {
    Value::from(text)
}

fn optional(value: Option<&str>) -> Value {
    value.map_or(Value::Null, text)
}

/// Exact for every time up to the year 287 396.
#[expect(clippy::cast_precision_loss, reason = "numbers of the protocol are doubles")]
pub(crate) fn millis(ms: u64) -> Value {
    Value::Number(ms as f64)
}

/// Definitions of the system buckets, to be defined if they are absent: name and what `store.defineBucket` takes as
/// `config`.
#[must_use]
pub fn bucket_definitions() -> Vec<(&'static str, Object)> {
    BUCKETS
        .into_iter()
        .zip(DEFINITIONS)
        .filter_map(|(name, definition)| {
            let Ok(Value::Object(definition)) = noex_json::parse(definition, 16) else { return None };
            Some((name, *definition))
        })
        .collect()
}

const DEFINITIONS: [&str; 6] = [
    r#"{"key":"id","indexes":["username","email"],"schema":{
        "id":{"type":"string","generated":"uuid"},
        "username":{"type":"string","required":true,"unique":true,"minLength":3,"maxLength":64},
        "passwordHash":{"type":"string","required":true},
        "displayName":{"type":"string"},
        "email":{"type":"string","format":"email"},
        "enabled":{"type":"boolean","default":true},
        "metadata":{"type":"object"}}}"#,
    r#"{"key":"id","indexes":["name"],"schema":{
        "id":{"type":"string","generated":"uuid"},
        "name":{"type":"string","required":true,"unique":true,"minLength":1,"maxLength":64},
        "description":{"type":"string"},
        "system":{"type":"boolean","default":false},
        "permissions":{"type":"array"}}}"#,
    r#"{"key":"id","indexes":["userId","roleId"],"schema":{
        "id":{"type":"string","generated":"uuid"},
        "userId":{"type":"string","required":true},
        "roleId":{"type":"string","required":true},
        "grantedBy":{"type":"string"},
        "grantedAt":{"type":"number","generated":"timestamp"}}}"#,
    r#"{"key":"id","indexes":["subjectId","resourceName"],"schema":{
        "id":{"type":"string","generated":"uuid"},
        "subjectType":{"type":"string","required":true,"enum":["user","role"]},
        "subjectId":{"type":"string","required":true},
        "resourceType":{"type":"string","required":true,"enum":["bucket","topic","procedure","query"]},
        "resourceName":{"type":"string","required":true},
        "operations":{"type":"array","required":true},
        "grantedBy":{"type":"string"},
        "grantedAt":{"type":"number","generated":"timestamp"}}}"#,
    r#"{"key":"id","indexes":["userId"],"schema":{
        "id":{"type":"string","generated":"uuid"},
        "userId":{"type":"string","required":true},
        "expiresAt":{"type":"number","required":true},
        "createdAt":{"type":"number","generated":"timestamp"},
        "ip":{"type":"string"},
        "userAgent":{"type":"string"}}}"#,
    r#"{"key":"id","indexes":["userId","resourceName"],"schema":{
        "id":{"type":"string","generated":"uuid"},
        "userId":{"type":"string","required":true},
        "resourceType":{"type":"string","required":true,"enum":["bucket","topic","procedure","query"]},
        "resourceName":{"type":"string","required":true},
        "createdAt":{"type":"number","generated":"timestamp"}}}"#,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_has_a_definition() {
        let names: Vec<&str> = bucket_definitions().iter().map(|(name, _)| *name).collect();
        assert_eq!(names, BUCKETS);
    }
}
