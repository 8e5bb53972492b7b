//! The defined queries, in the order of their definition, and their live views.

use crate::query::QueryDefinition;
use crate::table::Hashing;
use crate::views::ViewId;
use hashbrown::HashMap;
use noex_json::CompactString;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A defined query.
#[derive(Debug)]
pub(crate) struct Query {
    place: u64,
    pub(crate) definition: Arc<QueryDefinition>,
    /// Live views by canonical parameters.
    pub(crate) views: BTreeMap<String, ViewId>,
    /// Brought back at start and not defined by anybody since: the first definition takes it over.
    pub(crate) revived: bool,
}

/// All defined queries.
#[derive(Debug)]
pub(crate) struct Queries {
    queries: HashMap<CompactString, Query, Hashing>,
    order: BTreeMap<u64, CompactString>,
    next_place: u64,
}

impl Queries {
    /// Makes an empty set.
    pub(crate) fn new(hashing: Hashing) -> Self {
        Self { queries: HashMap::with_hasher(hashing), order: BTreeMap::new(), next_place: 0 }
    }

    /// Gives the number of queries.
    pub(crate) fn len(&self) -> usize {
        self.queries.len()
    }

    /// Finds a query.
    pub(crate) fn get(&self, name: &str) -> Option<&Query> {
        self.queries.get(name)
    }

    /// Finds a query for changes.
    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Query> {
        self.queries.get_mut(name)
    }

    /// Adds a query whose name is free, behind all others.
    pub(crate) fn add(&mut self, definition: QueryDefinition, revived: bool) {
        let place = self.next_place;
        self.next_place += 1;
        self.put_back(Query { place, definition: Arc::new(definition), views: BTreeMap::new(), revived });
    }

    /// Adds a query at the place that it has.
    pub(crate) fn put_back(&mut self, query: Query) {
        let name = query.definition.name.clone();
        self.order.insert(query.place, name.clone());
        self.queries.insert(name, query);
    }

    /// Removes a query.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Query> {
        let query = self.queries.remove(name)?;
        self.order.remove(&query.place);
        Some(query)
    }

    /// Forgets a view that is gone.
    pub(crate) fn forget_view(&mut self, query: &str, params: &str) {
        if let Some(query) = self.queries.get_mut(query) {
            query.views.remove(params);
        }
    }

    /// Iterates over the queries in the order of their definition.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Query> {
        self.order.values().filter_map(|name| self.queries.get(name))
    }
}
