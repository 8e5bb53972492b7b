//! Reading records back, with a clear word on what is wrong with one.

use super::{Assignment, Entry, Owner, Role, Row, StoredSession, User};
use crate::{
    names::{AclKey, AclOperation, Resource, ResourceKind, Subject, SubjectKind},
    permission::Permission,
    token::TokenHash,
};
use noex_json::{Object, Value};
use std::fmt;

/// Why stored records are not taken as a state: nobody but this package writes them, so they are damaged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoadError {
    /// The bucket.
    pub bucket: String,
    /// Key of the record, as far as it can be read.
    pub id: String,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record \"{}\" of system bucket \"{}\": {}", self.id, self.bucket, self.problem)
    }
}

impl std::error::Error for LoadError {}

/// What is wrong with a record.
type Problem = String;

impl Row {
    /// Reads a record of a system bucket. Members that it does not know are ignored.
    pub(crate) fn decode(bucket: &str, record: &Object) -> Result<Self, LoadError> {
        Self::read(bucket, &Members(record)).map_err(|problem| LoadError {
            bucket: bucket.to_owned(),
            id: record.get("id").and_then(Value::as_str).unwrap_or("?").to_owned(),
            problem,
        })
    }

    fn read(bucket: &str, members: &Members<'_>) -> Result<Self, Problem> {
        Ok(match bucket {
            "_users" => Row::User(User {
                id: members.text("id")?,
                username: members.text("username")?,
                password_hash: members.text("passwordHash")?,
                display_name: members.optional_text("displayName")?,
                email: members.optional_text("email")?,
                enabled: members.flag("enabled", true)?,
                metadata: members.optional("metadata", "an object", |value| value.as_object().cloned())?,
                created_ms: members.millis("_createdAt")?,
                updated_ms: members.millis("_updatedAt")?,
            }),
            "_roles" => Row::Role(Role {
                id: members.text("id")?,
                name: members.text("name")?,
                description: members.optional_text("description")?,
                system: members.flag("system", false)?,
                permissions: members.permissions()?,
                created_ms: members.millis("_createdAt")?,
                updated_ms: members.millis("_updatedAt")?,
            }),
            "_user_roles" => Row::Assignment(Assignment {
                id: members.text("id")?,
                user_id: members.text("userId")?,
                role_id: members.text("roleId")?,
                granted_by: members.optional_text("grantedBy")?,
                granted_ms: members.millis("grantedAt")?,
            }),
            "_acl" => Row::Entry(Entry {
                id: members.text("id")?,
                key: AclKey {
                    subject: Subject {
                        kind: members.one_of("subjectType", SubjectKind::by_name)?,
                        id: members.text("subjectId")?,
                    },
                    resource: members.resource()?,
                },
                operations: members.operations()?,
                granted_by: members.optional_text("grantedBy")?,
                granted_ms: members.millis("grantedAt")?,
            }),
            "_sessions" => Row::Session(StoredSession {
                token: members.one_of("id", TokenHash::from_hex)?,
                user_id: members.text("userId")?,
                expires_ms: members.millis("expiresAt")?,
                created_ms: members.millis("createdAt")?,
                ip: members.optional_text("ip")?,
            }),
            "_resource_owners" => Row::Owner(Owner {
                id: members.text("id")?,
                user_id: members.text("userId")?,
                resource: members.resource()?,
                created_ms: members.millis("createdAt")?,
            }),
            _ => return Err("not a bucket of the identity management".to_owned()),
        })
    }
}

struct Members<'a>(&'a Object);

impl Members<'_> {
    /// A member that may be absent or `null`.
    fn optional<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| format!("\"{name}\" is not {expected}")),
        }
    }

    fn required<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<T, Problem> {
        self.optional(name, expected, read)?.ok_or_else(|| format!("\"{name}\" is missing"))
    }

    fn text(&self, name: &str) -> Result<String, Problem> {
        self.required(name, "a string", |value| value.as_str().map(str::to_owned))
    }

    fn optional_text(&self, name: &str) -> Result<Option<String>, Problem> {
        self.optional(name, "a string", |value| value.as_str().map(str::to_owned))
    }

    fn one_of<T>(&self, name: &str, by_name: impl Fn(&str) -> Option<T>) -> Result<T, Problem> {
        self.required(name, "one of the known values", |value| value.as_str().and_then(&by_name))
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, Problem> {
        Ok(self.optional(name, "a boolean", Value::as_bool)?.unwrap_or(default))
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
    fn millis(&self, name: &str) -> Result<u64, Problem> {
        self.required(name, "a time in ms", |value| {
            let ms = value.as_number().filter(|ms| ms.trunc() == *ms && (0.0..=9e18).contains(ms))?;
            Some(ms as u64)
        })
    }

    fn resource(&self) -> Result<Resource, Problem> {
        Ok(Resource {
            kind: self.one_of("resourceType", ResourceKind::by_name)?,
            name: self.text("resourceName")?,
        })
    }

    fn operations(&self) -> Result<Vec<AclOperation>, Problem> {
        self.required("operations", "a list of read, write and admin", |value| {
            let operations = value.as_array()?.iter().map(|item| AclOperation::by_name(item.as_str()?));
            let mut distinct = Vec::new();
            for operation in operations {
                let operation = operation?;
                if !distinct.contains(&operation) {
                    distinct.push(operation);
                }
            }
            (!distinct.is_empty()).then_some(distinct)
        })
    }

    fn permissions(&self) -> Result<Vec<Permission>, Problem> {
        let list = self.optional("permissions", "a list of permissions", |value| {
            value.as_array()?.iter().map(Permission::read).collect::<Option<Vec<_>>>()
        })?;
        Ok(list.unwrap_or_default())
    }
}
