//! A naive model of the engine: lists of objects, searched from the start; a change is tried on a copy of everything.
//!
//! Schemas and filters are not modelled but used: they have tests of their own.

use noex_json::{Object, Value, identical};
use noex_store::filter::Filter;
use noex_store::schema::{Definition, Generate, OnDelete};
use noex_store::{ConflictReason, Operation, OperationResult, StoreError};
use std::rc::Rc;

/// A record; `id` stays with it for life.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    id: u64,
    pub(crate) members: Object,
}

/// A bucket in base order.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    pub(crate) definition: Rc<Definition>,
    pub(crate) rows: Vec<Row>,
    pub(crate) counter: u64,
}

/// Settings that matter here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) sweeps: bool,
    pub(crate) replace: bool,
}

/// All buckets.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) buckets: Vec<Bucket>,
    pub(crate) settings: Settings,
    pub(crate) now_ms: u64,
    next_id: u64,
}

/// One call of the store.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Insert(usize, Object),
    Update(usize, Value, Object),
    Delete(usize, Value),
    Clear(usize),
    InsertMany(usize, Vec<Object>),
    UpdateMany(usize, Object, Object),
    DeleteMany(usize, Object),
    Upsert(usize, Object),
    Transaction(Vec<Operation>),
    PurgeTtl,
}

struct Values(u64, u64);

impl Generate for Values {
    fn random_bytes(&mut self) -> [u8; 16] {
        [0; 16]
    }
    fn counter(&self) -> u64 {
        self.0
    }
    fn now_ms(&self) -> u64 {
        self.1
    }
}

fn number(integer: u64) -> Value {
    Value::Number(integer as f64)
}

fn value<'a>(row: &'a Row, field: &str) -> Option<&'a Value> {
    row.members.get(field).filter(|value| !value.is_null())
}

impl Bucket {
    fn name(&self) -> &str {
        &self.definition.name
    }

    pub(crate) fn key_of<'a>(&self, row: &'a Row) -> &'a Value {
        row.members.get(&self.definition.key).unwrap()
    }

    pub(crate) fn find(&self, key: &Value) -> Option<usize> {
        self.rows.iter().position(|row| identical(Some(self.key_of(row)), Some(key)))
    }

    fn by_id(&self, id: u64) -> Option<&Row> {
        self.rows.iter().find(|row| row.id == id)
    }

    pub(crate) fn matching(&self, filter: &Object) -> Vec<&Row> {
        let filter = Filter::compile(filter, false).unwrap();
        self.rows.iter().filter(|row| filter.matches(&row.members)).collect()
    }

    pub(crate) fn index_fields(&self) -> Vec<&str> {
        let unique =
            self.definition.fields.iter().filter(|field| field.unique).map(|field| field.name.as_str());
        let declared: Vec<&str> = self.definition.indexes.iter().map(|field| field.as_str()).collect();
        let others: Vec<&str> = unique.filter(|field| !declared.contains(field)).collect();
        declared.into_iter().chain(others).collect()
    }
}

impl Model {
    pub(crate) fn new(definitions: Vec<Definition>, settings: Settings) -> Self {
        let bucket = |definition| Bucket { definition: Rc::new(definition), rows: Vec::new(), counter: 0 };
        Self { buckets: definitions.into_iter().map(bucket).collect(), settings, now_ms: 0, next_id: 0 }
    }

    pub(crate) fn bucket(&self, name: &str) -> Result<usize, StoreError> {
        let at = self.buckets.iter().position(|bucket| bucket.name() == name);
        at.ok_or_else(|| StoreError::BucketNotDefined { bucket: name.into() })
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        if self.settings.sweeps {
            self.purge();
        }
    }

    fn purge(&mut self) -> usize {
        let now = self.now_ms as f64;
        let mut due = Vec::new();
        for (at, bucket) in self.buckets.iter().enumerate().filter(|(_, b)| b.definition.ttl_ms.is_some()) {
            for row in &bucket.rows {
                if row
                    .members
                    .get("_expiresAt")
                    .and_then(Value::as_number)
                    .is_some_and(|deadline| deadline <= now)
                {
                    due.push((at, row.id));
                }
            }
        }
        let mut attempt = Attempt::new(self);
        for (bucket, id) in &due {
            attempt.remove(*bucket, *id);
        }
        *self = attempt.model;
        due.len()
    }

    /// Executes a call and gives its results as a transaction would show them.
    pub(crate) fn call(&mut self, now_ms: u64, call: &Call) -> Result<Vec<String>, StoreError> {
        if let Call::PurgeTtl = call {
            self.now_ms = self.now_ms.max(now_ms);
            return Ok(vec![self.purge().to_string()]);
        }
        self.advance(now_ms);
        let inserts = if let Call::Insert(bucket, _) = call {
            Some(*bucket)
        } else if let Call::Upsert(bucket, data) = call {
            let key = data.get(&self.buckets[*bucket].definition.key);
            key.and_then(|key| self.buckets[*bucket].find(key)).is_none().then_some(*bucket)
        } else {
            None
        };
        if let Some(bucket) = inserts {
            self.buckets[bucket].counter += 1;
        }
        let mut attempt = Attempt::new(self);
        let results = attempt.run(call)?;
        attempt.judge()?;
        *self = attempt.model;
        Ok(results)
    }
}

/// A change in progress, on a copy.
struct Attempt {
    model: Model,
    /// Buckets in order of first change, and whether they have grown.
    touched: Vec<(usize, bool)>,
    puts: Vec<(usize, u64)>,
    checks: Vec<(usize, u64, usize, usize)>,
    deleted: Vec<(usize, Value, usize)>,
    roots: Vec<(usize, Value)>,
    gone: Vec<(usize, Value)>,
    conflict: Option<StoreError>,
    spared: Option<u64>,
    first_id: u64,
    operation: usize,
}

impl Attempt {
    fn new(model: &Model) -> Self {
        Self {
            model: model.clone(),
            touched: Vec::new(),
            puts: Vec::new(),
            checks: Vec::new(),
            deleted: Vec::new(),
            roots: Vec::new(),
            gone: Vec::new(),
            conflict: None,
            spared: None,
            first_id: model.next_id,
            operation: 0,
        }
    }

    fn touch(&mut self, bucket: usize, grown: bool) {
        match self.touched.iter_mut().find(|(other, _)| *other == bucket) {
            Some(touched) => touched.1 |= grown,
            None => self.touched.push((bucket, grown)),
        }
    }

    fn run(&mut self, call: &Call) -> Result<Vec<String>, StoreError> {
        let json = |members: &Object| Value::from(members.clone()).to_json();
        Ok(match call {
            Call::Insert(bucket, data) => vec![json(&self.insert_single(*bucket, data)?)],
            Call::Update(bucket, key, changes) => vec![json(&self.update_single(*bucket, key, changes)?)],
            Call::Upsert(bucket, data) => {
                let key = data.get(&self.model.buckets[*bucket].definition.key).cloned();
                match key.filter(|key| self.model.buckets[*bucket].find(key).is_some()) {
                    Some(key) => vec![json(&self.update_single(*bucket, &key, data)?)],
                    None => vec![json(&self.insert_single(*bucket, data)?)],
                }
            }
            Call::Delete(bucket, key) => {
                if let Some(at) = self.model.buckets[*bucket].find(key) {
                    let id = self.model.buckets[*bucket].rows[at].id;
                    self.remove(*bucket, id);
                }
                Vec::new()
            }
            Call::Clear(bucket) => {
                self.model.buckets[*bucket].rows.clear();
                Vec::new()
            }
            Call::InsertMany(bucket, list) => {
                let prepared: Result<Vec<Object>, StoreError> = list
                    .iter()
                    .map(|data| {
                        self.model.buckets[*bucket].counter += 1;
                        self.prepare(*bucket, data, false)
                    })
                    .collect();
                let prepared = prepared?;
                for members in &prepared {
                    if let Some((key, old)) = self.occupied(*bucket, members) {
                        let bucket = self.model.buckets[*bucket].name().to_owned();
                        let field = "id".into();
                        return Err(if old >= self.first_id {
                            StoreError::DuplicateInBatch { bucket, key }
                        } else {
                            StoreError::DuplicateKey { bucket, field, key }
                        });
                    }
                    self.append(*bucket, members.clone());
                }
                prepared.iter().map(json).collect()
            }
            Call::UpdateMany(bucket, filter, changes) => {
                let ids = self.ids(*bucket, filter);
                for id in &ids {
                    self.update(*bucket, *id, changes)?;
                }
                vec![ids.len().to_string()]
            }
            Call::DeleteMany(bucket, filter) => {
                let ids = self.ids(*bucket, filter);
                for id in &ids {
                    self.remove(*bucket, *id);
                }
                vec![ids.len().to_string()]
            }
            Call::Transaction(operations) => {
                let mut results = Vec::new();
                for (at, operation) in operations.iter().enumerate() {
                    self.operation = at;
                    results.push(self.operate(operation)?);
                }
                results
            }
            Call::PurgeTtl => Vec::new(),
        })
    }

    fn ids(&self, bucket: usize, filter: &Object) -> Vec<u64> {
        self.model.buckets[bucket].matching(filter).iter().map(|row| row.id).collect()
    }

    fn operate(&mut self, operation: &Operation) -> Result<String, StoreError> {
        let json = |members: &Object| Value::from(members.clone()).to_json();
        let list = |rows: Vec<&Row>| {
            format!("[{}]", rows.iter().map(|r| json(&r.members)).collect::<Vec<_>>().join(","))
        };
        Ok(match operation {
            Operation::Get { bucket, key } => {
                let bucket = &self.model.buckets[self.model.bucket(bucket)?];
                bucket.find(key).map_or("null".into(), |at| json(&bucket.rows[at].members))
            }
            Operation::Insert { bucket, data } => {
                let bucket = self.model.bucket(bucket)?;
                self.touch(bucket, false);
                self.model.buckets[bucket].counter += 1;
                let members = self.prepare(bucket, data, false)?;
                if let Some((key, old)) = self.occupied(bucket, &members) {
                    if old < self.first_id && self.conflict.is_none() {
                        self.conflict = Some(StoreError::Conflict {
                            bucket: self.model.buckets[bucket].name().into(),
                            key,
                            reason: ConflictReason::AlreadyExists,
                        });
                    }
                    self.put(bucket, old, members.clone());
                    self.check(bucket, old, |_| true);
                } else {
                    self.append(bucket, members.clone());
                }
                json(&members)
            }
            Operation::Update { bucket, key, changes } => {
                let bucket = self.model.bucket(bucket)?;
                let Some(at) = self.model.buckets[bucket].find(key) else {
                    return Err(self.not_found(bucket, key));
                };
                json(&self.update(bucket, self.model.buckets[bucket].rows[at].id, changes)?)
            }
            Operation::Delete { bucket, key } => {
                let bucket = self.model.bucket(bucket)?;
                if let Some(at) = self.model.buckets[bucket].find(key) {
                    self.touch(bucket, false);
                    self.model.buckets[bucket].rows.remove(at);
                    self.deleted.push((bucket, key.clone(), self.operation));
                    self.roots.push((bucket, key.clone()));
                }
                "{\"deleted\":true}".into()
            }
            Operation::Where { bucket, filter } => {
                list(self.model.buckets[self.model.bucket(bucket)?].matching(filter))
            }
            Operation::FindOne { bucket, filter } => {
                let found = self.model.buckets[self.model.bucket(bucket)?].matching(filter);
                found.first().map_or("null".into(), |row| json(&row.members))
            }
            Operation::Count { bucket, filter } => {
                let filter = filter.clone().unwrap_or_default();
                self.model.buckets[self.model.bucket(bucket)?].matching(&filter).len().to_string()
            }
        })
    }

    fn not_found(&self, bucket: usize, key: &Value) -> StoreError {
        StoreError::RecordNotFound { bucket: self.model.buckets[bucket].name().into(), key: key.clone() }
    }

    fn occupied(&self, bucket: usize, members: &Object) -> Option<(Value, u64)> {
        let bucket = &self.model.buckets[bucket];
        let key = members.get(&bucket.definition.key)?;
        bucket.find(key).map(|at| (key.clone(), bucket.rows[at].id))
    }

    fn prepare(&self, bucket: usize, data: &Object, eager: bool) -> Result<Object, StoreError> {
        let (now, bucket) = (self.model.now_ms, &self.model.buckets[bucket]);
        let mut members = data.clone();
        bucket.definition.complete(&mut members, &mut Values(bucket.counter, now));
        for (name, value) in [("_version", 1), ("_createdAt", now), ("_updatedAt", now)] {
            members.set(name, number(value));
        }
        if eager {
            let key = members.get(&bucket.definition.key).cloned().unwrap_or_default();
            self.require_targets(bucket, &members, &key)?;
        }
        bucket.definition.validate(&members)?;
        if let Some(ttl) = bucket.definition.ttl_ms
            && !members.contains("_expiresAt")
        {
            members.set("_expiresAt", now as f64 + ttl);
        }
        Ok(members)
    }

    fn require_targets(&self, bucket: &Bucket, members: &Object, key: &Value) -> Result<(), StoreError> {
        for field in &bucket.definition.fields {
            let Some((target, _)) = &field.reference else { continue };
            let Some(value) = members.get(&field.name).filter(|value| !value.is_null()) else { continue };
            let itself = *target == bucket.definition.name && identical(Some(value), Some(key));
            if !itself && self.model.buckets[self.model.bucket(target)?].find(value).is_none() {
                return Err(missing(bucket, &field.name, target, value));
            }
        }
        Ok(())
    }

    fn insert_single(&mut self, bucket: usize, data: &Object) -> Result<Object, StoreError> {
        let members = self.prepare(bucket, data, true)?;
        match self.occupied(bucket, &members) {
            Some((_, old)) if self.model.settings.replace => self.put(bucket, old, members.clone()),
            Some((key, _)) => {
                let bucket = self.model.buckets[bucket].name().into();
                return Err(StoreError::DuplicateKey { bucket, field: "id".into(), key });
            }
            None => {
                self.spared = Some(self.model.next_id);
                self.append(bucket, members.clone());
                self.checks.clear();
            }
        }
        Ok(members)
    }

    fn append(&mut self, bucket: usize, members: Object) {
        let id = self.model.next_id;
        self.model.next_id += 1;
        self.model.buckets[bucket].rows.push(Row { id, members });
        self.touch(bucket, true);
        self.puts.push((bucket, id));
        self.check(bucket, id, |_| true);
    }

    fn put(&mut self, bucket: usize, id: u64, members: Object) {
        self.touch(bucket, false);
        let row = self.model.buckets[bucket].rows.iter_mut().find(|row| row.id == id).unwrap();
        row.members = members;
        self.puts.push((bucket, id));
    }

    fn check(&mut self, bucket: usize, id: u64, concerned: impl Fn(&str) -> bool) {
        for (at, field) in self.model.buckets[bucket].definition.fields.iter().enumerate() {
            if field.reference.is_some() && concerned(&field.name) {
                self.checks.push((bucket, id, at, self.operation));
            }
        }
    }

    fn changeable(&self, bucket: usize, changes: &Object) -> Object {
        let definition = &self.model.buckets[bucket].definition;
        let fixed = |name: &str| {
            ["_version", "_createdAt", "_updatedAt", definition.key.as_str()].contains(&name)
                || definition.fields.iter().any(|field| field.name == name && field.generated.is_some())
        };
        changes.clone().into_iter().filter(|(name, _)| !fixed(name)).collect()
    }

    fn update_single(&mut self, bucket: usize, key: &Value, changes: &Object) -> Result<Object, StoreError> {
        let wanted = self.changeable(bucket, changes);
        self.require_targets(&self.model.buckets[bucket], &wanted, key)?;
        let Some(at) = self.model.buckets[bucket].find(key) else { return Err(self.not_found(bucket, key)) };
        self.update(bucket, self.model.buckets[bucket].rows[at].id, changes)
    }

    fn update(&mut self, bucket: usize, id: u64, changes: &Object) -> Result<Object, StoreError> {
        let changes = self.changeable(bucket, changes);
        let mut members = self.model.buckets[bucket].by_id(id).unwrap().members.clone();
        for (name, value) in changes.iter() {
            members.set(name.clone(), value.clone());
        }
        let version = members.get("_version").and_then(Value::as_number).unwrap();
        members.set("_version", version + 1.0);
        members.set("_updatedAt", number(self.model.now_ms));
        self.model.buckets[bucket].definition.validate(&members)?;
        self.put(bucket, id, members.clone());
        self.check(bucket, id, |field| changes.contains(field));
        Ok(members)
    }

    /// Removes a record and whatever depends on it.
    fn remove(&mut self, bucket: usize, id: u64) {
        let Some(at) = self.model.buckets[bucket].rows.iter().position(|row| row.id == id) else { return };
        let row = self.model.buckets[bucket].rows.remove(at);
        self.touch(bucket, false);
        let key = self.model.buckets[bucket].key_of(&row).clone();
        self.follow(bucket, key);
    }

    /// Treats those who refer to a key that has gone.
    fn follow(&mut self, bucket: usize, key: Value) {
        let target = self.model.buckets[bucket].definition.name.clone();
        self.gone.push((bucket, key.clone()));
        for source in 0..self.model.buckets.len() {
            let definition = Rc::clone(&self.model.buckets[source].definition);
            for field in &definition.fields {
                let Some((to, rule)) = &field.reference else { continue };
                if *to != target {
                    continue;
                }
                let rows = self.model.buckets[source].rows.iter();
                let ids: Vec<u64> = rows
                    .filter(|row| identical(value(row, &field.name), Some(&key)))
                    .map(|row| row.id)
                    .collect();
                for id in ids {
                    match rule {
                        OnDelete::Restrict => {}
                        OnDelete::Cascade => self.remove(source, id),
                        OnDelete::SetNull => self.clear_field(source, id, &field.name),
                    }
                }
            }
        }
    }

    fn clear_field(&mut self, bucket: usize, id: u64, field: &str) {
        let Some(row) = self.model.buckets[bucket].by_id(id) else { return };
        let mut members = row.members.clone();
        let version = members.get("_version").and_then(Value::as_number).unwrap();
        members.set(field, Value::Null);
        members.set("_version", version + 1.0);
        members.set("_updatedAt", number(self.model.now_ms));
        self.put(bucket, id, members);
    }

    fn judge(&mut self) -> Result<(), StoreError> {
        if let Some(conflict) = self.conflict.take() {
            return Err(conflict);
        }
        self.judge_references()?;
        for (bucket, key) in std::mem::take(&mut self.roots) {
            if self.model.buckets[bucket].find(&key).is_none() {
                self.follow(bucket, key);
            }
        }
        for (bucket, key) in std::mem::take(&mut self.gone) {
            self.judge_restriction(bucket, &key)?;
        }
        self.judge_uniqueness()?;
        self.evict();
        Ok(())
    }

    fn judge_references(&self) -> Result<(), StoreError> {
        for (bucket, id, field, operation) in &self.checks {
            let bucket = &self.model.buckets[*bucket];
            let field = &bucket.definition.fields[*field];
            let Some(value) = bucket.by_id(*id).and_then(|row| value(row, &field.name)) else { continue };
            let Some((target, _)) = &field.reference else { continue };
            let at = self.model.bucket(target)?;
            let later = self.deleted.iter().any(|(other, key, when)| {
                *other == at && identical(Some(key), Some(value)) && *when > *operation
            });
            if self.model.buckets[at].find(value).is_none() && !later {
                return Err(missing(bucket, &field.name, target, value));
            }
        }
        Ok(())
    }

    fn judge_restriction(&self, bucket: usize, key: &Value) -> Result<(), StoreError> {
        let target = &self.model.buckets[bucket];
        if target.find(key).is_some() {
            return Ok(());
        }
        for source in &self.model.buckets {
            for field in &source.definition.fields {
                let Some((to, OnDelete::Restrict)) = &field.reference else { continue };
                if *to != target.definition.name {
                    continue;
                }
                if let Some(row) =
                    source.rows.iter().find(|row| identical(value(row, &field.name), Some(key)))
                {
                    return Err(StoreError::ReferenceRestricted {
                        source_bucket: source.name().into(),
                        source_key: source.key_of(row).clone(),
                        source_field: field.name.to_string(),
                        target_bucket: target.name().into(),
                        target_key: key.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    fn judge_uniqueness(&self) -> Result<(), StoreError> {
        for (at, _) in &self.touched {
            let bucket = &self.model.buckets[*at];
            let unique = |name: &&str| {
                bucket.definition.fields.iter().any(|field| field.unique && field.name == *name)
            };
            for field in bucket.index_fields().into_iter().filter(unique) {
                for (_, id) in self.puts.iter().filter(|(other, _)| other == at) {
                    let Some(value) = bucket.by_id(*id).and_then(|row| value(row, field)) else { continue };
                    let equal = |row: &&Row| identical(row.members.get(field), Some(value));
                    if bucket.rows.iter().filter(equal).count() > 1 {
                        let (bucket, field) = (bucket.name().into(), field.into());
                        return Err(StoreError::Unique { bucket, field, value: value.clone() });
                    }
                }
            }
        }
        Ok(())
    }

    fn evict(&mut self) {
        let grown: Vec<usize> =
            self.touched.iter().filter(|(_, grown)| *grown).map(|(bucket, _)| *bucket).collect();
        for at in grown {
            while self.model.buckets[at]
                .definition
                .size_max
                .is_some_and(|max| self.model.buckets[at].rows.len() > max)
            {
                let rows = self.model.buckets[at].rows.iter().filter(|row| Some(row.id) != self.spared);
                let age = |row: &Row| row.members.get("_createdAt").and_then(Value::as_number).unwrap();
                let Some(oldest) = rows.min_by(|a, b| age(a).total_cmp(&age(b))).map(|row| row.id) else {
                    break;
                };
                self.remove(at, oldest);
            }
        }
    }
}

fn missing(bucket: &Bucket, field: &str, target: &str, value: &Value) -> StoreError {
    StoreError::ReferenceMissing {
        source_bucket: bucket.name().into(),
        source_field: field.into(),
        target_bucket: target.into(),
        target_key: value.clone(),
    }
}

/// Gives a result as JSON text.
pub(crate) fn text(result: &OperationResult) -> String {
    let mut out = String::new();
    result.write_json(&mut out);
    out
}
