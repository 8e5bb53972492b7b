//! The store: administration of buckets and queries, subscriptions.

use crate::error::StoreError;
use crate::journal::JournalEntry;
use crate::plan::Source;
use crate::query::{QueryDefinition, QueryOptions, Shape};
use crate::schema::Definition;
use crate::stats::{QueryViews, ViewStats, number_of, object};
use crate::store::Store;
use crate::undo::{Undo, definition_text};
use crate::views::{EndReason, Evaluated, Evaluation, Published, Subscribed, SubscriberId, ViewId, ViewKey};
use noex_json::{CompactString, Object, Value};
use std::sync::Arc;

/// Administration of buckets. Everything is checked first; what is refused leaves no trace.
impl Store {
    /// Defines a bucket. One of the same name that was kept from an earlier run is adopted with its records.
    ///
    /// # Errors
    /// [`StoreError::BucketExists`], [`StoreError::InvalidDefinition`], [`StoreError::LimitReached`],
    /// [`StoreError::DataDoesNotFit`].
    pub fn define_bucket(&mut self, now_ms: u64, name: &str, config: &Object) -> Result<(), StoreError> {
        self.advance(now_ms);
        let revived = match self.tables.named(name) {
            Some(table) if !table.revived => {
                return Err(StoreError::BucketExists { bucket: name.into() });
            }
            known => known.map(|table| table.id),
        };
        let definition = Definition::parse(name, config)?;
        match revived {
            Some(id) => self.take_over_bucket(id, definition),
            None => self.add_bucket(definition),
        }
    }

    /// Drops a bucket with its data, and ends the subscriptions that read it.
    ///
    /// # Errors
    /// [`StoreError::BucketDoesNotExist`].
    pub fn drop_bucket(&mut self, now_ms: u64, name: &str) -> Result<(), StoreError> {
        self.advance(now_ms);
        let table = self.tables.named(name);
        let id = table
            .map(|table| table.id)
            .ok_or_else(|| StoreError::BucketDoesNotExist { bucket: name.into() })?;
        let views =
            self.views.of_bucket(name).into_iter().filter_map(|view| self.detach_view(view)).collect();
        if let Some(table) = self.tables.remove(id) {
            let undo = Undo::BucketDropped { table: Box::new(table), views };
            let entries = vec![JournalEntry::BucketDropped { bucket: id.0 }];
            self.note_definition(entries, Some(name), vec![undo]);
        }
        Ok(())
    }

    /// Adds fields and indexes to a bucket, or changes its time to live.
    ///
    /// # Errors
    /// [`StoreError::BucketNotDefined`], [`StoreError::InvalidDefinition`]; [`StoreError::Unique`] if records already
    /// have equal values in a new unique field.
    pub fn update_bucket(&mut self, now_ms: u64, name: &str, updates: &Object) -> Result<(), StoreError> {
        self.advance(now_ms);
        let table = self.tables.require(name)?;
        let (id, before) = (table.id, Arc::clone(&table.definition));
        let definition = before.updated(updates)?;
        let text = definition_text(definition.source());
        self.tables.redefine(id, definition)?;
        let entry = JournalEntry::BucketDefined { bucket: id.0, name: name.into(), definition: text };
        self.note_definition(vec![entry], Some(name), vec![Undo::BucketUpdated { id, before }]);
        Ok(())
    }

    /// Gives a bucket's definition as it was given, updates included.
    ///
    /// # Errors
    /// [`StoreError::BucketDoesNotExist`].
    pub fn bucket_schema(&self, name: &str) -> Result<Value, StoreError> {
        let table = self.tables.named(name);
        table
            .map(|table| table.definition.to_value())
            .ok_or_else(|| StoreError::BucketDoesNotExist { bucket: name.into() })
    }

    /// Tells whether a bucket is defined.
    #[must_use]
    pub fn has_bucket(&self, name: &str) -> bool {
        self.tables.named(name).is_some()
    }

    /// Lists the buckets in the order of their definition.
    #[must_use]
    pub fn bucket_names(&self) -> Vec<CompactString> {
        self.tables.iter().map(|table| table.name().clone()).collect()
    }
}

/// Administration of queries.
impl Store {
    /// Defines a query.
    ///
    /// # Errors
    /// [`StoreError::BucketNotDefined`], [`StoreError::QueryExists`], [`StoreError::InvalidQuery`],
    /// [`StoreError::InvalidFilter`], [`StoreError::LimitReached`].
    pub fn define_query(&mut self, name: &str, config: &Object) -> Result<(), StoreError> {
        let bucket = QueryDefinition::bucket_of(config);
        self.tables.require(&bucket)?;
        let revived = self.queries.get(name).map(|query| query.revived);
        if revived == Some(false) {
            return Err(StoreError::QueryExists { query: name.into() });
        }
        let definition = QueryDefinition::parse(name, config, self.query_options())?;
        if revived == Some(true) {
            self.take_over_query(name, definition);
            return Ok(());
        }
        limit(self.queries.len(), self.options.queries_max, "queries")?;
        let dormant = self.take_dormant_query(name);
        let text = definition_text(config);
        let same = dormant.as_ref().is_some_and(|(_, config)| definition_text(config) == text);
        let entry = (!same).then(|| JournalEntry::QueryDefined { name: name.into(), definition: text });
        self.queries.add(definition, false);
        let undo = Undo::QueryDefined { name: name.into(), dormant };
        self.note_definition(entry.into_iter().collect(), None, vec![undo]);
        Ok(())
    }

    /// Lets a definition take over a revived query. If it is another one, the old one's subscriptions end.
    fn take_over_query(&mut self, name: &str, definition: QueryDefinition) {
        let Some(old) = self.queries.get_mut(name) else { return };
        let text = definition_text(definition.config());
        if definition_text(old.definition.config()) == text {
            old.revived = false;
            let undo = Undo::QueryTakenOver { name: name.into() };
            self.note_definition(Vec::new(), None, vec![undo]);
            return;
        }
        let undone = self.remove_query(name);
        self.queries.add(definition, false);
        let defined = Undo::QueryDefined { name: name.into(), dormant: None };
        let entry = JournalEntry::QueryDefined { name: name.into(), definition: text };
        self.note_definition(vec![entry], None, undone.into_iter().chain([defined]).collect());
    }

    fn remove_query(&mut self, name: &str) -> Option<Undo> {
        let mut query = self.queries.remove(name)?;
        let ids = std::mem::take(&mut query.views).into_values();
        let views = ids.filter_map(|id| Some((id, self.views.detach(id)?))).collect();
        Some(Undo::QueryUndefined { query: Box::new(query), views })
    }

    /// Removes a query and ends its subscriptions.
    ///
    /// # Errors
    /// [`StoreError::QueryNotDefined`].
    pub fn undefine_query(&mut self, name: &str) -> Result<(), StoreError> {
        let undo =
            self.remove_query(name).ok_or_else(|| StoreError::QueryNotDefined { query: name.into() })?;
        self.note_definition(vec![JournalEntry::QueryUndefined { name: name.into() }], None, vec![undo]);
        Ok(())
    }

    /// Lists the queries in the order of their definition, in the shape that clients see (an array).
    #[must_use]
    pub fn list_queries(&self) -> Value {
        let entry = |query: &crate::queries::Query| {
            let active: usize = query.views.values().map(|view| self.views.subscribers_of(*view)).sum();
            object([
                ("name", Value::String(query.definition.name.clone())),
                ("type", Value::from("declarative")),
                ("activeSubscriptions", number_of(active)),
                ("config", Value::from(query.definition.config().clone())),
            ])
        };
        Value::Array(self.queries.iter().map(entry).collect())
    }

    /// Names the bucket that a query reads, whether or not it exists; `None` if the query is not defined.
    #[must_use]
    pub fn query_bucket(&self, name: &str) -> Option<&str> {
        self.queries.get(name).map(|query| query.definition.bucket.as_str())
    }

    pub(crate) fn query_options(&self) -> QueryOptions {
        QueryOptions {
            strict_filters: self.options.strict_filters,
            allow_operator_params: self.options.allow_operator_params,
        }
    }
}

/// Subscriptions.
impl Store {
    /// Subscribes to a query. The subscriber learns its initial result from the outcome, or from publishing the
    /// evaluation that it asks for; every later result from [`Published::changed`].
    ///
    /// # Errors
    /// [`StoreError::QueryNotDefined`], [`StoreError::BucketNotDefined`], [`StoreError::InvalidFilter`]; nothing is
    /// registered then.
    pub fn subscribe(
        &mut self,
        now_ms: u64,
        query: &str,
        params: Option<&Value>,
        subscriber: SubscriberId,
    ) -> Result<Subscribed, StoreError> {
        self.advance(now_ms);
        self.unsubscribe(subscriber);
        let view = self.view(query, params)?;
        if let Some(state) = self.views.subscribe(view, subscriber) {
            return Ok(Subscribed::Ready(state));
        }
        let evaluation = self.evaluation(view, Some(subscriber));
        evaluation
            .map(Subscribed::Evaluate)
            .ok_or_else(|| StoreError::QueryNotDefined { query: query.into() })
    }

    /// Lets a subscriber follow its result change by change: [`Published::delta`] then tells the changes, where they
    /// can be told. False if they never can, because the result is a number or consists of groups, or because it does
    /// not show the key of each record: then there are only full results.
    ///
    /// To be called directly after [`Store::subscribe`], before an evaluation that it asks for is run.
    pub fn follow_changes(&mut self, subscriber: SubscriberId) -> bool {
        let bucket = self.views.bucket_of(subscriber);
        let key = bucket.and_then(|bucket| self.tables.named(bucket)).map(|table| &table.definition);
        let Some(definition) = key.cloned() else { return false };
        self.views.follow(subscriber, &definition.key)
    }

    /// Finds or makes the view of a query with parameters.
    fn view(&mut self, name: &str, params: Option<&Value>) -> Result<ViewId, StoreError> {
        let options = self.query_options();
        let query =
            self.queries.get(name).ok_or_else(|| StoreError::QueryNotDefined { query: name.into() })?;
        let bucket = query.definition.bucket.clone();
        self.tables.require(&bucket)?;
        let canonical = query.definition.canonical_params(params);
        if let Some(view) = query.views.get(&canonical) {
            return Ok(*view);
        }
        let compiled = query.definition.compile(params, options)?;
        self.warnings.note(self.now_ms, &bucket, &compiled.filter);
        let key = ViewKey { query: name.into(), params: canonical.clone(), bucket };
        let view = self.views.add(key, compiled);
        if let Some(query) = self.queries.get_mut(name) {
            query.views.insert(canonical, view);
        }
        Ok(view)
    }

    fn evaluation(&mut self, view: ViewId, subscriber: Option<SubscriberId>) -> Option<Evaluation> {
        let tables = &self.tables;
        self.views.evaluation(view, self.lsn, subscriber, |bucket, query, count| {
            let table = tables.named(bucket)?;
            Some(match (query.shape(), count) {
                (Shape::List { sort, .. }, Some(count)) => {
                    Source::choose_first(table, &query.filter, sort, count)
                }
                (Shape::List { .. } | Shape::Scalar(..) | Shape::Groups { .. }, _) => {
                    Source::choose(table, &query.filter)
                }
            })
        })
    }

    /// Takes the next view whose result may have changed. To be called until there is none, after each call that may
    /// have committed something; each evaluation must be run and published. Evaluations may run in parallel.
    pub fn next_dirty(&mut self, now_ms: u64) -> Option<Evaluation> {
        self.advance(now_ms);
        while let Some(view) = self.views.pop_dirty() {
            if let Some(evaluation) = self.evaluation(view, None) {
                return Some(evaluation);
            }
        }
        None
    }

    /// Installs an evaluated result, unless a newer one is there, and lists whom to tell of it.
    pub fn publish(&mut self, evaluated: Evaluated) -> Published {
        self.views.publish(evaluated)
    }

    /// Tells a subscriber the state of its view again, because the last one did not reach it. The state comes like any
    /// change.
    pub fn retell(&mut self, subscriber: SubscriberId) {
        self.views.retell(subscriber);
    }

    /// Ends a subscription; tells whether there was one. A view without subscribers is dropped.
    pub fn unsubscribe(&mut self, subscriber: SubscriberId) -> bool {
        let Some(dropped) = self.views.unsubscribe(subscriber) else {
            return self.log.forget_subscriber(subscriber);
        };
        if let Some((query, params)) = dropped {
            self.queries.forget_view(&query, &params);
        }
        true
    }

    /// Tells whether [`Store::next_dirty`] or [`Store::take_ended`] may have something to give.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.views.has_news()
    }

    /// Takes the subscriptions that the store has ended itself.
    #[must_use]
    pub fn take_ended(&mut self) -> Vec<(SubscriberId, EndReason)> {
        self.views.take_ended()
    }

    /// Gives the work that keeping views up to date has taken, and how the views of each query are kept.
    /// O(number of views).
    #[must_use]
    pub fn view_stats(&self) -> ViewStats {
        let mut stats = self.views.stats();
        for query in self.queries.iter().filter(|query| !query.views.is_empty()) {
            let mut counts = QueryViews::new(query.definition.name.clone(), query.definition.shape().name());
            query.views.values().for_each(|view| self.views.count_into(*view, &mut counts));
            stats.queries.push(counts);
        }
        stats
    }
}

/// Refuses what would exceed a limit; 0 = unlimited.
pub(crate) fn limit(count: usize, max: usize, kind: &'static str) -> Result<(), StoreError> {
    if max > 0 && count >= max { Err(StoreError::LimitReached { max, kind }) } else { Ok(()) }
}
