//! The typed state and its indexes. It is changed by [`State::put`] and [`State::remove`] only, which loading and
//! committing share.

use crate::{
    names::{AclKey, AssignmentKey, Resource, ResourceRef, Subject, SubjectKind, SubjectRef},
    row::{Assignment, Entry, LoadError, Owner, Role, Row, StoredSession, User},
    table::{Index, Table},
    token::TokenHash,
};
use hashbrown::HashMap;
use std::collections::BTreeSet;

/// Id and name of the user behind the administrator's secret, who has no record.
pub const SUPERADMIN: &str = "__superadmin__";

/// Name of the role that may do everything.
pub const SUPERADMIN_ROLE: &str = "superadmin";

#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) users: Table<String, User>,
    usernames: HashMap<String, String>,
    pub(crate) roles: Table<String, Role>,
    role_names: HashMap<String, String>,
    pub(crate) assignments: Table<AssignmentKey, Assignment>,
    by_user: Index<String>,
    by_role: Index<String>,
    pub(crate) entries: Table<AclKey, Entry>,
    by_subject: Index<Subject>,
    by_resource: Index<Resource>,
    pub(crate) sessions: Table<TokenHash, StoredSession>,
    sessions_by_user: Index<String>,
    expiries: BTreeSet<(u64, TokenHash)>,
    pub(crate) owners: Table<Resource, Owner>,
    by_owner: Index<String>,
}

impl State {
    /// Adds a row or replaces the one with the same key; gives what was replaced.
    pub(crate) fn put(&mut self, row: Row) -> Option<Row> {
        match row {
            Row::User(user) => {
                let (id, name) = (user.id.clone(), user.username.clone());
                let old = self.users.put(id.clone(), user).1;
                if let Some(old) = &old {
                    self.usernames.remove(&old.username);
                }
                self.usernames.insert(name, id);
                old.map(Row::User)
            }
            Row::Role(role) => {
                let (id, name) = (role.id.clone(), role.name.clone());
                let old = self.roles.put(id.clone(), role).1;
                if let Some(old) = &old {
                    self.role_names.remove(&old.name);
                }
                self.role_names.insert(name, id);
                old.map(Row::Role)
            }
            Row::Assignment(assignment) => {
                let (user_id, role_id) = (assignment.user_id.clone(), assignment.role_id.clone());
                let key = AssignmentKey { user_id: user_id.clone(), role_id: role_id.clone() };
                let (place, old) = self.assignments.put(key, assignment);
                self.by_user.add(user_id, place);
                self.by_role.add(role_id, place);
                old.map(Row::Assignment)
            }
            Row::Entry(entry) => {
                let key = entry.key.clone();
                let (place, old) = self.entries.put(key.clone(), entry);
                self.by_subject.add(key.subject, place);
                self.by_resource.add(key.resource, place);
                old.map(Row::Entry)
            }
            Row::Session(session) => {
                let (token, user_id, expires_ms) =
                    (session.token, session.user_id.clone(), session.expires_ms);
                let (place, old) = self.sessions.put(token, session);
                if let Some(old) = &old {
                    self.sessions_by_user.remove(&old.user_id, place);
                    self.expiries.remove(&(old.expires_ms, token));
                }
                self.sessions_by_user.add(user_id, place);
                self.expiries.insert((expires_ms, token));
                old.map(Row::Session)
            }
            Row::Owner(owner) => {
                let user_id = owner.user_id.clone();
                let (place, old) = self.owners.put(owner.resource.clone(), owner);
                if let Some(old) = &old {
                    self.by_owner.remove(&old.user_id, place);
                }
                self.by_owner.add(user_id, place);
                old.map(Row::Owner)
            }
        }
    }

    pub(crate) fn remove(&mut self, row: &Row) {
        match row {
            Row::User(user) => {
                if let Some((_, user)) = self.users.remove(&user.id) {
                    self.usernames.remove(&user.username);
                }
            }
            Row::Role(role) => {
                if let Some((_, role)) = self.roles.remove(&role.id) {
                    self.role_names.remove(&role.name);
                }
            }
            Row::Assignment(Assignment { user_id, role_id, .. }) => {
                let key = AssignmentKey { user_id: user_id.clone(), role_id: role_id.clone() };
                if let Some((place, _)) = self.assignments.remove(&key) {
                    self.by_user.remove(user_id, place);
                    self.by_role.remove(role_id, place);
                }
            }
            Row::Entry(entry) => {
                if let Some((place, entry)) = self.entries.remove(&entry.key) {
                    self.by_subject.remove(&entry.key.subject, place);
                    self.by_resource.remove(&entry.key.resource, place);
                }
            }
            Row::Session(session) => {
                if let Some((place, session)) = self.sessions.remove(&session.token) {
                    self.sessions_by_user.remove(&session.user_id, place);
                    self.expiries.remove(&(session.expires_ms, session.token));
                }
            }
            Row::Owner(owner) => {
                if let Some((place, owner)) = self.owners.remove(&owner.resource) {
                    self.by_owner.remove(&owner.user_id, place);
                }
            }
        }
    }

    /// All rows, bucket by bucket, in the order of insertion.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        let users = self.users.iter().cloned().map(Row::User);
        let roles = self.roles.iter().cloned().map(Row::Role);
        let assignments = self.assignments.iter().cloned().map(Row::Assignment);
        let entries = self.entries.iter().cloned().map(Row::Entry);
        let sessions = self.sessions.iter().cloned().map(Row::Session);
        let owners = self.owners.iter().cloned().map(Row::Owner);
        users.chain(roles).chain(assignments).chain(entries).chain(sessions).chain(owners)
    }

    pub(crate) fn user_named(&self, username: &str) -> Option<&User> {
        self.users.get(self.usernames.get(username)?)
    }

    pub(crate) fn role_named(&self, name: &str) -> Option<&Role> {
        self.roles.get(self.role_names.get(name)?)
    }

    /// Roles of a user in the order of assignment, whether or not he is enabled.
    pub(crate) fn roles_of<'a>(&'a self, user_id: &'a str) -> impl Iterator<Item = &'a Role> {
        let own = (user_id == SUPERADMIN).then(|| self.role_named(SUPERADMIN_ROLE)).flatten();
        let assigned = self.assignments_of(user_id).filter_map(|a| self.roles.get(&a.role_id));
        own.into_iter().chain(assigned)
    }

    pub(crate) fn assignments_of<'a>(&'a self, user_id: &'a str) -> impl Iterator<Item = &'a Assignment> {
        self.by_user.places(user_id).filter_map(|place| self.assignments.at(place))
    }

    pub(crate) fn assignments_to<'a>(&'a self, role_id: &'a str) -> impl Iterator<Item = &'a Assignment> {
        self.by_role.places(role_id).filter_map(|place| self.assignments.at(place))
    }

    pub(crate) fn entries_of<'a>(&'a self, subject: SubjectRef<'a>) -> impl Iterator<Item = &'a Entry> {
        self.by_subject.places(&subject).filter_map(|place| self.entries.at(place))
    }

    pub(crate) fn entries_on<'a>(&'a self, resource: ResourceRef<'a>) -> impl Iterator<Item = &'a Entry> {
        self.by_resource.places(&resource).filter_map(|place| self.entries.at(place))
    }

    pub(crate) fn sessions_of<'a>(&'a self, user_id: &'a str) -> impl Iterator<Item = &'a StoredSession> {
        self.sessions_by_user.places(user_id).filter_map(|place| self.sessions.at(place))
    }

    pub(crate) fn session_count(&self, user_id: &str) -> usize {
        self.sessions_by_user.count(user_id)
    }

    pub(crate) fn owned_by<'a>(&'a self, user_id: &'a str) -> impl Iterator<Item = &'a Owner> {
        self.by_owner.places(user_id).filter_map(|place| self.owners.at(place))
    }

    /// Sessions in the order of their last moments.
    pub(crate) fn expiries(&self) -> impl Iterator<Item = (u64, &StoredSession)> {
        self.expiries.iter().filter_map(|(at, token)| Some((*at, self.sessions.get(token)?)))
    }

    /// Tells whether a user exists, with a record or not.
    pub(crate) fn knows_user(&self, user_id: &str) -> bool {
        user_id == SUPERADMIN || self.users.get(user_id).is_some()
    }

    /// Builds the state from stored rows, refusing what no history of calls can have left.
    pub(crate) fn load(rows: impl IntoIterator<Item = Row>) -> Result<Self, LoadError> {
        let mut state = Self::default();
        for row in rows {
            let (bucket, id) = (row.bucket(), row.id());
            let damage =
                |problem: &str| LoadError { bucket: bucket.into(), id: id.clone(), problem: problem.into() };
            let taken = match &row {
                Row::User(user) => state.usernames.contains_key(&user.username),
                Row::Role(role) => state.role_names.contains_key(&role.name),
                Row::Assignment(_) | Row::Entry(_) | Row::Session(_) | Row::Owner(_) => false,
            };
            if taken {
                return Err(damage("its name is in use by another record"));
            }
            if state.put(row).is_some() {
                return Err(damage("another record is about the same thing"));
            }
        }
        let adrift = state.rows().find(|row| !state.is_anchored(row));
        match adrift {
            Some(row) => Err(LoadError {
                bucket: row.bucket().into(),
                id: row.id(),
                problem: "it refers to a user or role that does not exist".into(),
            }),
            None => Ok(state),
        }
    }

    /// Tells whether what a row refers to exists.
    fn is_anchored(&self, row: &Row) -> bool {
        match row {
            Row::User(_) | Row::Role(_) => true,
            Row::Assignment(assignment) => {
                self.users.get(&assignment.user_id).is_some() && self.roles.get(&assignment.role_id).is_some()
            }
            Row::Entry(entry) => match entry.key.subject.kind {
                SubjectKind::User => self.knows_user(&entry.key.subject.id),
                SubjectKind::Role => self.roles.get(&entry.key.subject.id).is_some(),
            },
            Row::Session(session) => self.knows_user(&session.user_id),
            Row::Owner(owner) => self.knows_user(&owner.user_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use noex_json::parse;

    /// One row of each kind, in an order in which what is referred to comes first.
    fn rows() -> Vec<Row> {
        let session = format!(r#"{{"id":"{}","userId":"u","expiresAt":5,"createdAt":1}}"#, "0".repeat(64));
        let records = [
            ("_users", r#"{"id":"u","username":"ann","passwordHash":"x","_createdAt":1,"_updatedAt":2}"#),
            ("_roles", r#"{"id":"r","name":"ops","_createdAt":1,"_updatedAt":2}"#),
            ("_user_roles", r#"{"id":"a","userId":"u","roleId":"r","grantedAt":1}"#),
            (
                "_acl",
                r#"{"id":"e","subjectType":"user","subjectId":"u","resourceType":"bucket","resourceName":"t","operations":["read"],"grantedAt":1}"#,
            ),
            ("_sessions", &session),
            (
                "_resource_owners",
                r#"{"id":"o","userId":"u","resourceType":"query","resourceName":"q","createdAt":1}"#,
            ),
        ];
        let row = |(bucket, text): (&str, &str)| {
            Row::decode(bucket, parse(text, 8).unwrap().as_object().unwrap()).unwrap()
        };
        records.into_iter().map(row).collect()
    }

    #[test]
    fn indexes_keep_nothing_of_rows_that_are_gone() {
        let mut state = State::default();
        // Replaced once, then removed.
        for row in rows().into_iter().chain(rows()) {
            state.put(row);
        }
        for row in rows() {
            state.remove(&row);
            state.remove(&row);
        }
        assert_eq!(state.rows().count(), 0);
        assert!(state.usernames.is_empty() && state.role_names.is_empty() && state.expiries.is_empty());
        let indexes = [
            format!("{:?}", state.by_user),
            format!("{:?}", state.by_role),
            format!("{:?}", state.by_subject),
            format!("{:?}", state.by_resource),
            format!("{:?}", state.sessions_by_user),
            format!("{:?}", state.by_owner),
        ];
        assert!(indexes.iter().all(|index| index == "Index({})"), "{indexes:?}");
    }
}
