//! The world as procedures see it.

use noex_json::{CompactString, Object, Value};

/// A record, as engines give it.
pub trait Record {
    /// Iterates over its members in order.
    fn members(&self) -> impl Iterator<Item = (&CompactString, &Value)>;
}

/// What a read is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Want {
    /// All matching records, in order of insertion.
    All,
    /// The first of them.
    First,
    /// Their number.
    Count,
}

/// A read of a bucket.
#[derive(Clone, Debug)]
pub struct Read<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// Which records match; `None` = all.
    pub filter: Option<Object>,
    /// What is asked for.
    pub want: Want,
    /// Records that may be looked at.
    pub records_max: usize,
}

/// What a read found.
#[derive(Clone, Debug)]
pub enum Found<R> {
    /// Of [`Want::All`], and of [`Want::First`] none or one.
    Records(Vec<R>),
    /// Of [`Want::Count`].
    Number(f64),
}

/// Answer to a read.
#[derive(Clone, Debug)]
pub enum Answer<R> {
    /// It was done.
    Done {
        /// What was found.
        found: Found<R>,
        /// How many records were looked at, at most.
        looked_at: usize,
    },
    /// More records would have to be looked at than is allowed.
    TooMany,
}

/// The store and the rule engine, seen by one call. Operations have the meaning of those of the protocol with the
/// same name; what is refused has changed nothing.
pub trait Engines {
    /// A record.
    type Record: Record;
    /// Why an operation was refused.
    type Error;

    /// Tells whether the caller may run an operation (such as `store.get`) on a resource. Asked only for procedures
    /// that run with the rights of their caller.
    ///
    /// # Errors
    /// The refusal of that operation.
    fn permits(&mut self, operation: &'static str, resource: &str) -> Result<(), Self::Error>;

    /// Gives the record with a key.
    ///
    /// # Errors
    /// As the store's operation.
    fn get(&mut self, bucket: &str, key: &Value) -> Result<Option<Self::Record>, Self::Error>;

    /// Reads a bucket.
    ///
    /// # Errors
    /// As the store's operation.
    fn read(&mut self, read: Read<'_>) -> Result<Answer<Self::Record>, Self::Error>;

    /// Inserts a record and gives it as stored.
    ///
    /// # Errors
    /// As the store's operation.
    fn insert(&mut self, bucket: &str, data: Object) -> Result<Self::Record, Self::Error>;

    /// Updates a record and gives it as stored.
    ///
    /// # Errors
    /// As the store's operation.
    fn update(&mut self, bucket: &str, key: &Value, data: Object) -> Result<Self::Record, Self::Error>;

    /// Deletes a record, if it is there.
    ///
    /// # Errors
    /// As the store's operation.
    fn delete(&mut self, bucket: &str, key: &Value) -> Result<(), Self::Error>;

    /// Tells whether there is a rule engine; without one the operations below are not called.
    fn has_rules(&self) -> bool;

    /// Emits an event; in a transaction, once that is committed.
    ///
    /// # Errors
    /// As the rule engine's operation.
    fn emit(&mut self, topic: &str, data: Object) -> Result<(), Self::Error>;

    /// Sets a fact; in a transaction, once that is committed.
    ///
    /// # Errors
    /// As the rule engine's operation.
    fn set_fact(&mut self, key: &str, value: Value) -> Result<(), Self::Error>;

    /// Gives the value of a fact, also of one that this call has set.
    ///
    /// # Errors
    /// As the rule engine's operation.
    fn fact(&mut self, key: &str) -> Result<Option<Value>, Self::Error>;
}
