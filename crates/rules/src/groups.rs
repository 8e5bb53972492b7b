//! Groups of rules: a rule in a disabled group does not fire, whatever it says itself.
//!
//! For embedders; there is no operation on the wire. A group must exist before a rule can name it.
//! Source: the rule engine's description, 4.5.

use crate::{
    Engine, RulesError,
    error::LimitKind,
    event::time_value,
    registry::{Entry, Registry},
};
use noex_json::{CompactString, Object, Value};
use std::{collections::BTreeMap, sync::Arc};

/// A group of rules.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Group {
    /// What rules name.
    pub id: CompactString,
    /// For people.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// Whether the group's rules may fire.
    pub enabled: bool,
    /// Time of the creation.
    pub created_at: u64,
    /// Time of the last change.
    pub updated_at: u64,
}

impl Group {
    /// Gives `{ id, name, description?, enabled, createdAt, updatedAt }`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut object = Object::new();
        object.set("id", self.id.clone());
        object.set("name", self.name.as_str());
        if let Some(description) = &self.description {
            object.set("description", description.as_str());
        }
        object.set("enabled", self.enabled);
        object.set("createdAt", time_value(self.created_at));
        object.set("updatedAt", time_value(self.updated_at));
        Value::from(object)
    }
}

/// What to change of a group; `None` keeps a member.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct GroupUpdate {
    /// A new name.
    pub name: Option<String>,
    /// A new description.
    pub description: Option<String>,
    /// Whether the group's rules may fire.
    pub enabled: Option<bool>,
}

/// The groups by id.
pub(crate) type Groups = BTreeMap<CompactString, Group>;

/// Groups.
impl Engine {
    /// Creates an enabled group.
    ///
    /// # Errors
    ///
    /// [`RulesError::GroupExists`]; [`RulesError::LimitReached`]; [`RulesError::NotRunning`].
    pub fn create_group(
        &mut self,
        now_ms: u64,
        id: &str,
        name: &str,
        description: Option<&str>,
    ) -> Result<Group, RulesError> {
        self.begin(now_ms)?;
        let groups = &mut self.registry.groups;
        if groups.contains_key(id) {
            return Err(RulesError::GroupExists(id.into()));
        }
        if groups.len() >= self.options.groups_max {
            return Err(RulesError::LimitReached { kind: LimitKind::Groups, max: self.options.groups_max });
        }
        let group = Group {
            id: id.into(),
            name: name.into(),
            description: description.map(Into::into),
            enabled: true,
            created_at: self.clock_ms,
            updated_at: self.clock_ms,
        };
        groups.insert(group.id.clone(), group.clone());
        Ok(group)
    }

    /// Changes a group, and with `enabled` which of its rules may fire.
    ///
    /// # Errors
    ///
    /// [`RulesError::GroupNotFound`]; [`RulesError::NotRunning`].
    pub fn update_group(&mut self, now_ms: u64, id: &str, update: GroupUpdate) -> Result<Group, RulesError> {
        self.begin(now_ms)?;
        let now_ms = self.clock_ms;
        let group = self.registry.groups.get_mut(id).ok_or_else(|| RulesError::GroupNotFound(id.into()))?;
        group.updated_at = now_ms;
        if let Some(name) = update.name {
            group.name = name;
        }
        if update.description.is_some() {
            group.description = update.description;
        }
        if let Some(enabled) = update.enabled {
            group.enabled = enabled;
        }
        let group = group.clone();
        self.change_rules_of(id, |_| {});
        Ok(group)
    }

    /// Lets the group's rules fire. Tells whether the group exists.
    ///
    /// # Errors
    ///
    /// [`RulesError::NotRunning`].
    pub fn enable_group(&mut self, now_ms: u64, id: &str) -> Result<bool, RulesError> {
        self.switch_group(now_ms, id, true)
    }

    /// Stops the group's rules from firing, without touching their own `enabled`. Tells whether the group exists.
    ///
    /// # Errors
    ///
    /// [`RulesError::NotRunning`].
    pub fn disable_group(&mut self, now_ms: u64, id: &str) -> Result<bool, RulesError> {
        self.switch_group(now_ms, id, false)
    }

    /// Removes a group; its rules stay registered, without a group. Tells whether there was one.
    ///
    /// # Errors
    ///
    /// [`RulesError::NotRunning`].
    pub fn delete_group(&mut self, now_ms: u64, id: &str) -> Result<bool, RulesError> {
        self.begin(now_ms)?;
        if !self.registry.groups.contains_key(id) {
            return Ok(false);
        }
        self.change_rules_of(id, |entry| entry.rule.clear_group());
        self.registry.groups.remove(id);
        Ok(true)
    }

    /// Finds a group.
    #[must_use]
    pub fn group(&self, id: &str) -> Option<&Group> {
        self.registry.groups.get(id)
    }

    /// Gives all groups in the order of their ids.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = &Group> {
        self.registry.groups.values()
    }

    /// Gives the ids of a group's rules in the order of their registration.
    pub fn rules_of_group<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a str> {
        self.registry.entries_of(id).map(|entry| entry.rule.id.as_str())
    }

    fn switch_group(&mut self, now_ms: u64, id: &str, enabled: bool) -> Result<bool, RulesError> {
        match self.update_group(now_ms, id, GroupUpdate { enabled: Some(enabled), ..GroupUpdate::default() })
        {
            Ok(_) => Ok(true),
            Err(RulesError::GroupNotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Changes the rules of a group, and lets the state of the group take effect on them.
    fn change_rules_of(&mut self, id: &str, change: impl Fn(&mut Entry)) {
        let entries: Vec<Arc<Entry>> = self.registry.entries_of(id).cloned().collect();
        for before in entries {
            let mut entry = Entry::clone(&before);
            change(&mut entry);
            self.registry.put(&before, entry, &mut self.facts, &mut self.deadlines);
        }
    }
}

impl Registry {
    /// Whether the group of a rule, if it has one, lets it fire.
    pub(crate) fn group_enabled(&self, group: Option<&CompactString>) -> bool {
        group.is_none_or(|id| self.groups.get(id).is_some_and(|group| group.enabled))
    }
}
