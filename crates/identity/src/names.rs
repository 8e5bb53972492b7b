//! What access is about: kinds of subjects and resources, and the operations of an access list.

use hashbrown::Equivalent;
use noex_core::{Operation, Tier};

macro_rules! named {
    ($(#[$doc:meta])* $visibility:vis enum $enum:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        $visibility enum $enum {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $enum {
            /// The name on the wire and in records.
            #[must_use]
            $visibility const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Finds the variant of a name.
            #[must_use]
            $visibility fn by_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

named! {
    /// Kinds of resources, each a name space of its own.
    pub enum ResourceKind {
        /// A bucket.
        Bucket = "bucket",
        /// A topic of events, or a key of facts.
        Topic = "topic",
        /// A procedure.
        Procedure = "procedure",
        /// A query.
        Query = "query",
    }
}

named! {
    /// Who may be granted something.
    pub(crate) enum SubjectKind {
        User = "user",
        Role = "role",
    }
}

named! {
    /// What an access list grants; none follows from another. In alphabetical order.
    pub(crate) enum AclOperation {
        Admin = "admin",
        Read = "read",
        Write = "write",
    }
}

impl AclOperation {
    pub(crate) const ALL: [Self; 3] = [Self::Admin, Self::Read, Self::Write];

    /// What must be granted for an operation; `None` = no access list can allow it.
    pub(crate) fn of(operation: Operation) -> Option<Self> {
        let name = operation.name();
        if name.starts_with("identity.") || name.starts_with("auth.") {
            return None;
        }
        operation.tier().map(|tier| match tier {
            Tier::Read => Self::Read,
            Tier::Write => Self::Write,
            Tier::Admin => Self::Admin,
        })
    }
}

/// A user or role by id.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Subject {
    pub(crate) kind: SubjectKind,
    pub(crate) id: String,
}

/// A resource by name.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Resource {
    pub(crate) kind: ResourceKind,
    pub(crate) name: String,
}

/// Key of an entry of an access list.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct AclKey {
    pub(crate) subject: Subject,
    pub(crate) resource: Resource,
}

/// Key of an assignment.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct AssignmentKey {
    pub(crate) user_id: String,
    pub(crate) role_id: String,
}

// Borrowed forms, so that a lookup allocates nothing. Their members stand in the same order, so their hashes agree.

#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct SubjectRef<'a> {
    pub(crate) kind: SubjectKind,
    pub(crate) id: &'a str,
}

#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct ResourceRef<'a> {
    pub(crate) kind: ResourceKind,
    pub(crate) name: &'a str,
}

#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct AclRef<'a> {
    pub(crate) subject: SubjectRef<'a>,
    pub(crate) resource: ResourceRef<'a>,
}

#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct AssignmentRef<'a> {
    pub(crate) user_id: &'a str,
    pub(crate) role_id: &'a str,
}

impl Equivalent<Subject> for SubjectRef<'_> {
    fn equivalent(&self, key: &Subject) -> bool {
        self.kind == key.kind && self.id == key.id
    }
}

impl Equivalent<Resource> for ResourceRef<'_> {
    fn equivalent(&self, key: &Resource) -> bool {
        self.kind == key.kind && self.name == key.name
    }
}

impl Equivalent<AclKey> for AclRef<'_> {
    fn equivalent(&self, key: &AclKey) -> bool {
        self.subject.equivalent(&key.subject) && self.resource.equivalent(&key.resource)
    }
}

impl Equivalent<AssignmentKey> for AssignmentRef<'_> {
    fn equivalent(&self, key: &AssignmentKey) -> bool {
        self.user_id == key.user_id && self.role_id == key.role_id
    }
}

impl<'a> SubjectRef<'a> {
    pub(crate) fn user(id: &'a str) -> Self {
        Self { kind: SubjectKind::User, id }
    }

    pub(crate) fn role(id: &'a str) -> Self {
        Self { kind: SubjectKind::Role, id }
    }

    pub(crate) fn to_owned(self) -> Subject {
        Subject { kind: self.kind, id: self.id.to_owned() }
    }
}

impl ResourceRef<'_> {
    pub(crate) fn to_owned(self) -> Resource {
        Resource { kind: self.kind, name: self.name.to_owned() }
    }
}

impl Subject {
    pub(crate) fn by_ref(&self) -> SubjectRef<'_> {
        SubjectRef { kind: self.kind, id: &self.id }
    }
}

impl Resource {
    pub(crate) fn by_ref(&self) -> ResourceRef<'_> {
        ResourceRef { kind: self.kind, name: &self.name }
    }
}
