//! The history of each rule: what it was after every change, what differs, and the way back.
//!
//! For embedders; there is no operation on the wire, and nothing is kept unless [`EngineOptions::versioning`] says so.
//! Numbers start at 1 with each rule and go on when a rule is registered again; they are not the rule's own `version`,
//! which comes from one counter for all rules.
//! Invariant: what is kept stays within [`VersioningLimits`]; each change costs a logarithm of what is kept.
//! Source: the rule engine's description, 4.6.
//!
//! [`EngineOptions::versioning`]: crate::EngineOptions::versioning

#[cfg(test)]
mod tests;

use crate::{
    Engine, RuleStamp, RulesError, error::LimitKind, event::time_value, registry::Entry, size::value_bytes,
};
use foldhash::{HashMap, HashMapExt};
use noex_json::{CompactString, Object, Value, deep_equal};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// How much of the history of rules is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VersioningLimits {
    /// Versions per rule; the oldest go first.
    pub versions_per_rule_max: usize,
    /// Age of a version.
    pub age_max_ms: u64,
    /// Rules whose history is kept although they are no longer registered; those that left first go first.
    pub unregistered_rules_max: usize,
    /// Estimated memory of all versions of all rules, in bytes; the oldest go first.
    pub bytes_max: usize,
}

impl Default for VersioningLimits {
    fn default() -> Self {
        Self {
            versions_per_rule_max: 100,
            age_max_ms: 90 * 24 * 60 * 60 * 1000,
            unregistered_rules_max: 10_000,
            bytes_max: 256 << 20,
        }
    }
}

/// What led to a version of a rule.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ChangeType {
    /// The rule was registered.
    Registered,
    /// Members of the rule were replaced.
    Updated,
    /// The rule was enabled.
    Enabled,
    /// The rule was disabled.
    Disabled,
    /// The rule was removed; the version holds what it was.
    Unregistered,
    /// The rule became what it had been in another version.
    RolledBack,
}

impl ChangeType {
    /// Gives the name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Updated => "updated",
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Unregistered => "unregistered",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// One version of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleVersion {
    /// Number of the version, from 1 with each rule.
    pub version: u64,
    /// The rule as [`Engine::get_rule`] gave it then.
    pub rule_snapshot: Value,
    /// Time of the change.
    pub timestamp: u64,
    /// What led to the version.
    pub change_type: ChangeType,
    /// The rule's own `version` before it was rolled back; `None` also if it was not registered.
    pub rolled_back_from: Option<u64>,
    /// For people.
    pub description: Option<String>,
}

impl RuleVersion {
    /// Gives `{ version, ruleSnapshot, timestamp, changeType, rolledBackFrom?, description? }`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut object = Object::new();
        object.set("version", time_value(self.version));
        object.set("ruleSnapshot", self.rule_snapshot.clone());
        object.set("timestamp", time_value(self.timestamp));
        object.set("changeType", self.change_type.as_str());
        if let Some(version) = self.rolled_back_from {
            object.set("rolledBackFrom", time_value(version));
        }
        if let Some(description) = &self.description {
            object.set("description", description.as_str());
        }
        Value::from(object)
    }
}

/// Order of versions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum VersionOrder {
    /// Oldest first.
    Ascending,
    /// Newest first.
    #[default]
    Descending,
}

/// Which versions of a rule to give. All bounds include their ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VersionQuery {
    /// Give so many.
    pub limit: usize,
    /// Leave out so many at the start.
    pub offset: usize,
    /// In which order.
    pub order: VersionOrder,
    /// From this number on.
    pub from_version: Option<u64>,
    /// Up to this number.
    pub to_version: Option<u64>,
    /// Only of these changes.
    pub change_types: Option<Vec<ChangeType>>,
    /// From this time on.
    pub from: Option<u64>,
    /// Up to this time.
    pub to: Option<u64>,
}

impl Default for VersionQuery {
    fn default() -> Self {
        Self {
            limit: 50,
            offset: 0,
            order: VersionOrder::default(),
            from_version: None,
            to_version: None,
            change_types: None,
            from: None,
            to: None,
        }
    }
}

impl VersionQuery {
    fn wants(&self, version: &RuleVersion) -> bool {
        let within = |at: u64, from: Option<u64>, to: Option<u64>| {
            from.is_none_or(|from| at >= from) && to.is_none_or(|to| at <= to)
        };
        within(version.version, self.from_version, self.to_version)
            && within(version.timestamp, self.from, self.to)
            && self.change_types.as_ref().is_none_or(|types| types.contains(&version.change_type))
    }
}

/// Some versions of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionPage {
    /// The versions, in the order that was asked for.
    pub entries: Vec<Arc<RuleVersion>>,
    /// How many there are that were asked for, without `limit` and `offset`.
    pub total_versions: usize,
    /// Whether there are more after these.
    pub has_more: bool,
}

impl VersionPage {
    /// Gives `{ entries, totalVersions, hasMore }`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut object = Object::new();
        object.set("entries", self.entries.iter().map(|entry| entry.to_value()).collect::<Vec<_>>());
        object.set("totalVersions", time_value(u64::try_from(self.total_versions).unwrap_or(u64::MAX)));
        object.set("hasMore", self.has_more);
        Value::from(object)
    }
}

/// A member in which two versions differ; `None` = absent.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldChange {
    /// Name of the member.
    pub field: &'static str,
    /// What it was.
    pub old_value: Option<Value>,
    /// What it became.
    pub new_value: Option<Value>,
}

/// What differs between two versions of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionDiff {
    /// The rule.
    pub rule_id: CompactString,
    /// Number of the one version.
    pub from_version: u64,
    /// Number of the other version.
    pub to_version: u64,
    /// The members that differ.
    pub changes: Vec<FieldChange>,
}

impl VersionDiff {
    /// Gives `{ ruleId, fromVersion, toVersion, changes: [{ field, oldValue?, newValue? }] }`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let changes = self.changes.iter().map(|change| {
            let mut object = Object::new();
            object.set("field", change.field);
            for (name, value) in [("oldValue", &change.old_value), ("newValue", &change.new_value)] {
                if let Some(value) = value {
                    object.set(name, value.clone());
                }
            }
            Value::from(object)
        });
        let changes: Vec<_> = changes.collect();
        let mut object = Object::new();
        object.set("ruleId", self.rule_id.clone());
        object.set("fromVersion", time_value(self.from_version));
        object.set("toVersion", time_value(self.to_version));
        object.set("changes", changes);
        Value::from(object)
    }
}

/// Versions of rules.
impl Engine {
    /// Gives versions of a rule, also of one that is no longer registered. A rule without history has none.
    ///
    /// # Errors
    ///
    /// [`RulesError::VersioningOff`].
    pub fn rule_versions(&self, id: &str, query: &VersionQuery) -> Result<VersionPage, RulesError> {
        let kept = self.versions.of(id, self.clock_ms)?;
        let mut found: Vec<_> = kept.filter(|version| query.wants(version)).collect();
        if query.order == VersionOrder::Descending {
            found.reverse();
        }
        let total_versions = found.len();
        let entries: Vec<_> = found.into_iter().skip(query.offset).take(query.limit).cloned().collect();
        let has_more = query.offset.saturating_add(entries.len()) < total_versions;
        Ok(VersionPage { entries, total_versions, has_more })
    }

    /// Gives one version of a rule.
    ///
    /// # Errors
    ///
    /// [`RulesError::VersioningOff`]; [`RulesError::VersionNotFound`].
    pub fn rule_version(&self, id: &str, version: u64) -> Result<Arc<RuleVersion>, RulesError> {
        let mut kept = self.versions.of(id, self.clock_ms)?;
        let found = kept.find(|kept| kept.version == version).cloned();
        found.ok_or_else(|| RulesError::VersionNotFound { rule: id.into(), version })
    }

    /// Compares two versions of a rule.
    ///
    /// # Errors
    ///
    /// As [`Engine::rule_version`].
    pub fn diff_rule_versions(&self, id: &str, from: u64, to: u64) -> Result<VersionDiff, RulesError> {
        let (old, new) = (self.rule_version(id, from)?, self.rule_version(id, to)?);
        let changes = DIFF_FIELDS.into_iter().filter_map(|field| {
            let [old, new] = [&old, &new].map(|version| version.rule_snapshot.as_object()?.get(field));
            let same = match (old, new) {
                (None, None) => true,
                (Some(old), Some(new)) => deep_equal(old, new),
                _ => false,
            };
            (!same).then(|| FieldChange { field, old_value: old.cloned(), new_value: new.cloned() })
        });
        Ok(VersionDiff { rule_id: id.into(), from_version: from, to_version: to, changes: changes.collect() })
    }

    /// Makes a rule what it was in a version, under a new number of its own. A registered rule keeps its place and the
    /// time of its creation, as with an update; one that is no longer registered is registered again.
    ///
    /// # Errors
    ///
    /// As [`Engine::rule_version`]; [`RulesError::UnknownGroup`] if the group of then is no more;
    /// [`RulesError::LimitReached`]; [`RulesError::NotRunning`]. Then nothing has changed.
    pub fn rollback_rule(&mut self, now_ms: u64, id: &str, version: u64) -> Result<RuleStamp, RulesError> {
        self.begin(now_ms)?;
        let wanted = self.rule_version(id, version)?;
        let source = wanted.rule_snapshot.as_object().cloned().unwrap_or_default();
        let rule = self.compile(source)?;
        let before = self.registry.get(id).cloned();
        let (now_ms, facts, deadlines) = (self.clock_ms, &mut self.facts, &mut self.deadlines);
        let entry = match &before {
            Some(before) => self.registry.update(before, rule, now_ms, facts, deadlines),
            None if self.registry.len() >= self.options.rules_max => {
                return Err(RulesError::LimitReached { kind: LimitKind::Rules, max: self.options.rules_max });
            }
            None => self.registry.register(rule, now_ms, facts),
        };
        let origin = Origin {
            rolled_back_from: before.map(|before| before.version),
            description: Some(format!("Rolled back to version {version}")),
        };
        self.versions.record(&entry, ChangeType::RolledBack, now_ms, origin);
        self.note_rule(&entry.rule.id);
        Ok(RuleStamp::of(&entry))
    }

    /// Appends to the history of a rule, if there is one. Gives what the caller of the change learns.
    pub(crate) fn recorded(&mut self, entry: &Entry, change: ChangeType) -> RuleStamp {
        self.versions.record(entry, change, self.clock_ms, Origin::default());
        self.note_rule(&entry.rule.id);
        RuleStamp::of(entry)
    }
}

/// Figures of the history of rules.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct VersioningStats {
    /// Rules with a history.
    pub rules: usize,
    /// Versions kept.
    pub versions: usize,
    /// Estimated memory of the versions.
    pub bytes: usize,
    /// Versions that had to go.
    pub evicted: u64,
}

/// What a version says about where it comes from.
#[derive(Debug, Default)]
struct Origin {
    rolled_back_from: Option<u64>,
    description: Option<String>,
}

/// The histories of all rules.
#[derive(Debug)]
pub(crate) struct Versions {
    /// `None` = nothing is kept.
    limits: Option<VersioningLimits>,
    histories: HashMap<CompactString, History>,
    /// The rule of each version, oldest first. Time does not run backwards, so within a rule and over all rules the
    /// order of creation is the order of age.
    by_age: BTreeMap<u64, CompactString>,
    /// The rules that are no longer registered, in the order in which they left.
    unregistered: BTreeMap<u64, CompactString>,
    sequence: u64,
    bytes: usize,
    evicted: u64,
}

/// The history of one rule; empty only while the rule is registered.
#[derive(Debug, Default)]
struct History {
    /// The newest number.
    last: u64,
    /// Oldest first.
    kept: VecDeque<Kept>,
    /// When the rule left, if it did.
    unregistered: Option<u64>,
}

#[derive(Debug)]
struct Kept {
    sequence: u64,
    bytes: usize,
    version: Arc<RuleVersion>,
}

impl Versions {
    pub(crate) fn new(limits: Option<VersioningLimits>) -> Self {
        Self {
            limits,
            histories: HashMap::new(),
            by_age: BTreeMap::new(),
            unregistered: BTreeMap::new(),
            sequence: 0,
            bytes: 0,
            evicted: 0,
        }
    }

    pub(crate) fn stats(&self) -> Option<VersioningStats> {
        self.limits.map(|_| VersioningStats {
            rules: self.histories.len(),
            versions: self.by_age.len(),
            bytes: self.bytes,
            evicted: self.evicted,
        })
    }

    /// Gives the versions of a rule that are not too old, oldest first.
    fn of(&self, id: &str, now_ms: u64) -> Result<impl Iterator<Item = &Arc<RuleVersion>>, RulesError> {
        let limits = self.limits.ok_or(RulesError::VersioningOff)?;
        let kept = self.histories.get(id).map(|history| history.kept.iter());
        let versions = kept.into_iter().flatten().map(|kept| &kept.version);
        Ok(versions.skip_while(move |version| limits.is_too_old(version.timestamp, now_ms)))
    }

    /// Appends the state of a rule after a change, or before it left.
    fn record(&mut self, entry: &Entry, change_type: ChangeType, now_ms: u64, origin: Origin) {
        let Some(limits) = self.limits else { return };
        let id = &entry.rule.id;
        self.sequence += 1;
        let history = self.histories.entry(id.clone()).or_default();
        if let Some(left) = history.unregistered.take() {
            self.unregistered.remove(&left);
        }
        history.last += 1;
        let version = RuleVersion {
            version: history.last,
            rule_snapshot: entry.to_value(),
            timestamp: now_ms,
            change_type,
            rolled_back_from: origin.rolled_back_from,
            description: origin.description,
        };
        let bytes = value_bytes(&version.rule_snapshot) + VERSION_BYTES + id.len();
        history.kept.push_back(Kept { sequence: self.sequence, bytes, version: Arc::new(version) });
        if change_type == ChangeType::Unregistered {
            history.unregistered = Some(self.sequence);
            self.unregistered.insert(self.sequence, id.clone());
        }
        let over = history.kept.len() > limits.versions_per_rule_max;
        self.bytes += bytes;
        self.by_age.insert(self.sequence, id.clone());
        if over {
            self.evict(id);
        }
        self.trim(&limits, now_ms);
    }

    /// Restores the bounds over all rules.
    fn trim(&mut self, limits: &VersioningLimits, now_ms: u64) {
        while let Some(id) = self.by_age.values().next().cloned() {
            let oldest = self.histories.get(&id).and_then(|history| history.kept.front());
            let too_old = oldest.is_some_and(|kept| limits.is_too_old(kept.version.timestamp, now_ms));
            if !too_old && self.bytes <= limits.bytes_max {
                break;
            }
            self.evict(&id);
        }
        while self.unregistered.len() > limits.unregistered_rules_max {
            let Some(id) = self.unregistered.values().next().cloned() else { break };
            while self.histories.contains_key(&id) {
                self.evict(&id);
            }
        }
    }

    /// Drops the oldest version of a rule, and the history with the last one unless the rule is registered.
    fn evict(&mut self, id: &str) {
        let Some(history) = self.histories.get_mut(id) else { return };
        if let Some(kept) = history.kept.pop_front() {
            self.bytes -= kept.bytes;
            self.by_age.remove(&kept.sequence);
            self.evicted += 1;
        }
        if history.kept.is_empty()
            && let Some(left) = history.unregistered
        {
            self.unregistered.remove(&left);
            self.histories.remove(id);
        }
    }
}

impl VersioningLimits {
    fn is_too_old(&self, timestamp: u64, now_ms: u64) -> bool {
        now_ms.saturating_sub(timestamp) > self.age_max_ms
    }
}

/// The members that are compared, in the order of the result.
const DIFF_FIELDS: [&str; 10] = [
    "name",
    "description",
    "priority",
    "enabled",
    "tags",
    "group",
    "trigger",
    "conditions",
    "actions",
    "lookups",
];

/// Estimated memory of a version besides the rule's members.
const VERSION_BYTES: usize = 256;
