//! Procedures by name.

use crate::{DefinitionError, Limits, Procedure};
use noex_json::{CompactString, Object, Value};
use std::{collections::BTreeMap, sync::Arc};

/// Registered procedures, in the order of their registration. A call holds on to the version it began with.
#[derive(Debug)]
pub struct Registry {
    limits: Limits,
    places: BTreeMap<CompactString, u64>,
    procedures: BTreeMap<u64, Arc<Procedure>>,
    next: u64,
}

/// What was registered under a name at some moment; see [`Registry::former`].
#[derive(Debug)]
pub struct Former {
    name: CompactString,
    was: Option<(u64, Arc<Procedure>)>,
}

impl Former {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Registry {
    /// Makes an empty registry.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, places: BTreeMap::new(), procedures: BTreeMap::new(), next: 0 }
    }

    /// Gives the limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Registers a procedure.
    ///
    /// # Errors
    /// All but [`DefinitionError::NotFound`], in the order of their declaration.
    pub fn register(&mut self, definition: Object) -> Result<Arc<Procedure>, DefinitionError> {
        let procedure = self.parse(definition)?;
        if self.places.contains_key(&procedure.name) {
            return Err(DefinitionError::AlreadyExists(procedure.name.clone()));
        }
        let max = self.limits.procedures_max;
        if max != 0 && self.places.len() >= max {
            return Err(DefinitionError::LimitReached(max));
        }
        self.places.insert(procedure.name.clone(), self.next);
        self.procedures.insert(self.next, Arc::clone(&procedure));
        self.next += 1;
        Ok(procedure)
    }

    /// Replaces members of a definition. The name cannot change.
    ///
    /// # Errors
    /// [`DefinitionError::NotFound`]; [`DefinitionError::Invalid`] and [`DefinitionError::SystemBucket`] for the
    /// whole that results.
    pub fn update(&mut self, name: &str, updates: Object) -> Result<Arc<Procedure>, DefinitionError> {
        let place = *self.places.get(name).ok_or_else(|| DefinitionError::NotFound(name.into()))?;
        let mut definition =
            self.procedures.get(&place).map(|old| old.definition.clone()).unwrap_or_default();
        definition.merge(updates);
        definition.set("name", name);
        let procedure = self.parse(definition)?;
        self.procedures.insert(place, Arc::clone(&procedure));
        Ok(procedure)
    }

    /// Removes a procedure.
    ///
    /// # Errors
    /// [`DefinitionError::NotFound`].
    pub fn unregister(&mut self, name: &str) -> Result<(), DefinitionError> {
        let place = self.places.remove(name).ok_or_else(|| DefinitionError::NotFound(name.into()))?;
        self.procedures.remove(&place);
        Ok(())
    }

    /// Notes what is registered under a name, for [`Registry::put_back`].
    #[must_use]
    pub fn former(&self, name: &str) -> Former {
        let place = self.places.get(name);
        let was = place.and_then(|place| Some((*place, Arc::clone(self.procedures.get(place)?))));
        Former { name: name.into(), was }
    }

    /// Undoes the last change of what is registered under a name. Several changes are undone last one first.
    pub fn put_back(&mut self, Former { name, was }: Former) {
        if let Some(place) = self.places.remove(&name) {
            self.procedures.remove(&place);
        }
        if let Some((place, procedure)) = was {
            self.procedures.insert(place, procedure);
            self.places.insert(name, place);
        }
    }

    /// Finds a procedure.
    ///
    /// # Errors
    /// [`DefinitionError::NotFound`].
    pub fn get(&self, name: &str) -> Result<Arc<Procedure>, DefinitionError> {
        let found = self.places.get(name).and_then(|place| self.procedures.get(place)).cloned();
        found.ok_or_else(|| DefinitionError::NotFound(name.into()))
    }

    /// Lists the procedures in the order of their registration.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Procedure>> {
        self.procedures.values()
    }

    fn parse(&self, definition: Object) -> Result<Arc<Procedure>, DefinitionError> {
        let procedure =
            Procedure::parse(&Value::from(definition), &self.limits).map_err(DefinitionError::Invalid)?;
        match &procedure.system_bucket {
            Some(bucket) if self.limits.system_buckets_reserved => {
                Err(DefinitionError::SystemBucket(bucket.clone()))
            }
            _ => Ok(Arc::new(procedure)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use noex_json::parse;

    fn definition(text: &str) -> Object {
        parse(text, 16).expect("valid").as_object().cloned().expect("object")
    }

    fn named(name: &str) -> Object {
        definition(&format!(r#"{{"name":"{name}","steps":[{{"action":"return","value":1}}],"more":5}}"#))
    }

    fn names(registry: &Registry) -> Vec<&str> {
        registry.iter().map(|procedure| procedure.name()).collect()
    }

    #[test]
    fn procedures_keep_their_place_and_what_they_do_not_know() {
        let mut registry = Registry::new(Limits::default());
        for name in ["b", "a", "c"] {
            registry.register(named(name)).expect("new");
        }
        let again = registry.register(named("a")).expect_err("in use");
        assert_eq!(again.to_string(), "Procedure \"a\" already exists");
        registry
            .update(
                "a",
                definition(r#"{"description":"d","name":"zz","steps":[{"action":"return","value":2}]}"#),
            )
            .expect("valid");
        assert_eq!(names(&registry), ["b", "a", "c"]);
        assert_eq!(
            Value::from(registry.get("a").expect("there").definition().clone()).to_json(),
            r#"{"name":"a","steps":[{"action":"return","value":2}],"more":5,"description":"d"}"#
        );
        assert!(registry.update("a", definition(r#"{"steps":[]}"#)).is_err());
        assert_eq!(registry.get("a").expect("there").steps_count(), 1);
        registry.unregister("b").expect("there");
        registry.register(named("b")).expect("free again");
        assert_eq!(names(&registry), ["a", "c", "b"]);
        for error in [
            registry.get("x").expect_err("unknown"),
            registry.unregister("x").expect_err("unknown"),
            registry.update("x", Object::new()).expect_err("unknown"),
        ] {
            assert_eq!(error.to_string(), "Procedure \"x\" not found");
            assert_eq!(error.details(), None);
        }
    }

    #[test]
    fn the_number_of_procedures_is_limited() {
        let mut registry = Registry::new(Limits { procedures_max: 2, ..Limits::default() });
        registry.register(named("a")).expect("room");
        registry.register(named("b")).expect("room");
        let full = registry.register(named("c")).expect_err("full");
        assert_eq!(full.to_string(), "Limit reached: at most 2 procedures");
        registry.update("a", Object::new()).expect("no new one");
        registry.unregister("a").expect("there");
        registry.register(named("c")).expect("room again");
    }

    #[test]
    fn reserved_buckets_are_refused_wherever_they_stand() {
        let hidden = r#"{"name":"p","steps":[{"action":"if","condition":{"ref":"input","operator":"exists"},
            "then":[{"action":"return","value":1}],
            "else":[{"action":"store.count","bucket":"_users","as":"n"}]}]}"#;
        let reserved = Limits { system_buckets_reserved: true, ..Limits::default() };
        let mut registry = Registry::new(reserved);
        let text = "Cannot access system bucket \"_users\" directly";
        assert_eq!(registry.register(definition(hidden)).expect_err("reserved").to_string(), text);
        registry.register(named("p")).expect("valid");
        assert_eq!(registry.update("p", definition(hidden)).expect_err("reserved").to_string(), text);
        Registry::new(Limits::default()).register(definition(hidden)).expect("an ordinary name");
    }
}
