//! Who may look at the records, and what records there are, commit by commit.

use noex_host::store::{Change, Commit};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The bucket whose records are watched.
pub(super) const BUCKET: &str = "items";
/// The role that may let its users see them.
pub(super) const ROLE: &str = "looks";

/// Everything that the commits say, read off the records alone.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// Commits so far; the state after so many is called by this number.
    pub(super) now: u64,
    /// Whether each user is enabled.
    users: BTreeMap<String, bool>,
    /// Id of the role, if it lets its users see the records.
    role: Option<String>,
    /// Assignments: user and role.
    assigned: BTreeMap<String, (String, String)>,
    /// Entries of the access list: the user, if it lets him see the records.
    granted: BTreeMap<String, String>,
    /// States since which each user may and may not.
    rights: BTreeMap<String, Vec<(u64, bool)>>,
    /// The state in which each record appeared.
    born: BTreeMap<String, u64>,
    records: BTreeMap<u64, Value>,
}

impl Timeline {
    pub(super) fn follow(&mut self, commits: &[Commit]) {
        for commit in commits {
            self.now += 1;
            commit.changes.iter().for_each(|change| self.apply(change));
            self.judge();
        }
    }

    fn apply(&mut self, change: &Change) {
        let record: Option<Value> =
            change.after().map(|record| serde_json::from_str(record.json()).unwrap_or_default());
        let key = change.key().as_str().unwrap_or_default().to_owned();
        let text = |name: &str| {
            record.as_ref().and_then(|record| record[name].as_str()).unwrap_or_default().to_owned()
        };
        match change.bucket().as_str() {
            BUCKET => {
                match &record {
                    Some(record) => self.records.insert(change.seq(), record.clone()),
                    None => self.records.remove(&change.seq()),
                };
                if record.is_some() {
                    self.born.entry(key).or_insert(self.now);
                }
            }
            "_users" => {
                let enabled = record.as_ref().is_some_and(|record| record["enabled"] == true);
                self.users.insert(key, enabled);
            }
            "_roles" if text("name") == ROLE => {
                let sees = record.is_some_and(|record| record["permissions"][0]["buckets"][0] == BUCKET);
                self.role = sees.then_some(key);
            }
            "_user_roles" => {
                self.assigned.remove(&key);
                if record.is_some() {
                    self.assigned.insert(key, (text("userId"), text("roleId")));
                }
            }
            "_acl" => {
                self.granted.remove(&key);
                let reads = |record: &Value| {
                    record["operations"].as_array().is_some_and(|all| all.iter().any(|one| one == "read"))
                };
                if text("resourceName") == BUCKET && record.as_ref().is_some_and(reads) {
                    self.granted.insert(key, text("subjectId"));
                }
            }
            _ => {}
        }
    }

    fn judge(&mut self) {
        let seen_by_role: BTreeSet<&String> = self
            .assigned
            .values()
            .filter(|(_, role)| self.role.as_ref() == Some(role))
            .map(|(user, _)| user)
            .collect();
        for (user, enabled) in &self.users {
            let may =
                *enabled && (seen_by_role.contains(user) || self.granted.values().any(|other| other == user));
            let known = self.rights.entry(user.clone()).or_insert_with(|| vec![(0, false)]);
            if known.last().is_some_and(|(_, before)| *before != may) {
                known.push((self.now, may));
            }
        }
    }

    pub(super) fn is_enabled(&self, user: &str) -> bool {
        self.users.get(user).is_some_and(|enabled| *enabled)
    }

    pub(super) fn may(&self, user: &str) -> bool {
        self.until(user, self.now, self.now).is_some()
    }

    /// Whether the right was there in every state since `from`.
    pub(super) fn always(&self, user: &str, from: u64) -> bool {
        let Some(spans) = self.rights.get(user) else { return false };
        let ends = spans.iter().skip(1).map(|(at, _)| *at).chain([u64::MAX]);
        spans.iter().zip(ends).all(|((_, may), end)| *may || end <= from)
    }

    /// Rights that came or ended so far.
    pub(super) fn changes(&self) -> usize {
        self.rights.values().map(Vec::len).sum()
    }

    pub(super) fn records(&self) -> Value {
        self.records.values().cloned().collect()
    }

    /// The first state after the last span of the right that touches the states `from ..= to`; the greatest number if
    /// the right still lasts, `None` if there is no such span.
    fn until(&self, user: &str, from: u64, to: u64) -> Option<u64> {
        let spans = self.rights.get(user)?;
        let ends = spans.iter().skip(1).map(|(at, _)| *at).chain([u64::MAX]);
        spans
            .iter()
            .zip(ends)
            .filter(|((since, may), end)| *may && *since <= to && *end > from)
            .map(|(_, end)| end)
            .max()
    }

    /// Checks what somebody is shown who asked in the state `from`.
    ///
    /// # Errors
    /// If he had no right since then, or if a record came later than the right ended.
    pub(super) fn check_answer(&self, user: &str, from: u64, shown: &Value) -> Result<(), String> {
        let until = self.until(user, from, self.now);
        let until = until.ok_or_else(|| format!("is shown without a right: {shown}"))?;
        self.check(shown, |born| born < until)
    }

    /// Checks what somebody is shown who watches. A right that ended and came back before anybody looked counts as one
    /// that never ended: he might have asked again.
    ///
    /// # Errors
    /// If he had no right since a record came.
    pub(super) fn check_push(&self, user: &str, shown: &Value) -> Result<(), String> {
        self.check(shown, |born| self.until(user, born, self.now).is_some())
    }

    fn check(&self, shown: &Value, may: impl Fn(u64) -> bool) -> Result<(), String> {
        for record in shown.as_array().ok_or("records are an array")? {
            let born = record["id"].as_str().and_then(|id| self.born.get(id));
            let born = *born.ok_or_else(|| format!("a record from nowhere: {record}"))?;
            if !may(born) {
                return Err(format!("sees what came when the right had ended, with commit {born}: {record}"));
            }
        }
        Ok(())
    }
}
