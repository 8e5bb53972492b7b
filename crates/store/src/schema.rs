//! Bucket definitions: parsing and checking them, completing and validating records.
//!
//! A definition is checked whole before it becomes a [`Definition`]; afterwards nothing about it can fail. The text a
//! client gave is kept beside it, because clients get it back with every member they sent.
//! Source: the store specification, sections 3 to 5, 12 and 17; the configuration description, section 5.

mod format;
mod parse;
mod pattern;
mod rule;
#[cfg(test)]
mod tests;

use crate::error::StoreError;
use crate::members::Fields;
use noex_json::{CompactString, Object, Value};
use rule::{Lookup, Path, Rule};

pub(crate) use format::is_space;

/// What a field generates when an insert leaves it out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Generated {
    /// Random UUID, version 4, lower case.
    Uuid,
    /// `c` and 32 hexadecimal digits.
    Cuid,
    /// The bucket's counter.
    AutoIncrement,
    /// The time of the insert in ms.
    Timestamp,
}

/// What happens to a referring record when its target is deleted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnDelete {
    /// The deletion is refused.
    Restrict,
    /// The referring record is deleted too.
    Cascade,
    /// The referring field becomes `null`.
    SetNull,
}

/// Values that an insert needs from outside.
pub trait Generate {
    /// Gives 16 random bytes.
    fn random_bytes(&mut self) -> [u8; 16];
    /// Gives the bucket's counter, already advanced for this insert.
    fn counter(&self) -> u64;
    /// Gives the time in ms.
    fn now_ms(&self) -> u64;
}

/// A checked top-level field.
#[derive(Clone, Debug)]
pub struct Field {
    /// Name.
    pub name: CompactString,
    /// Source of generated values.
    pub generated: Option<Generated>,
    /// Default for an absent member.
    pub default: Option<Value>,
    /// Whether values must be unique in the bucket.
    pub unique: bool,
    /// Bucket and rule of a reference.
    pub reference: Option<(CompactString, OnDelete)>,
    rule: Rule,
}

/// A checked bucket definition.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Name of the bucket.
    pub name: CompactString,
    /// Name of the primary-key field.
    pub key: CompactString,
    /// Top-level fields in schema order.
    pub fields: Vec<Field>,
    /// Declared index fields in order, without repetition.
    pub indexes: Vec<CompactString>,
    /// Whether first, last and paginate go by key instead of by insertion (`etsType: "ordered_set"`).
    pub ordered: bool,
    /// Whether records may be persisted.
    pub persistent: bool,
    /// Time to live of a record in ms.
    pub ttl_ms: Option<f64>,
    /// Greatest number of records.
    pub size_max: Option<usize>,
    source: Object,
}

impl Definition {
    /// Checks a definition as given by a client.
    ///
    /// # Errors
    /// [`StoreError::InvalidDefinition`] with the first problem: the schema is missing, then the key, the indexes,
    /// `onDelete` against `required`, the time to live, the fields in order, the other options.
    pub fn parse(name: &str, config: &Object) -> Result<Self, StoreError> {
        parse::definition(name, config.clone())
    }

    /// Applies `updates` (`addFields`, `addIndexes`, `ttl`) and gives the new definition.
    ///
    /// # Errors
    /// [`StoreError::InvalidDefinition`].
    pub fn updated(&self, updates: &Object) -> Result<Self, StoreError> {
        parse::definition(&self.name, parse::updated_source(self, updates)?)
    }

    /// Gives the definition as `store.getBucketSchema` shows it.
    #[must_use]
    pub fn to_value(&self) -> Value {
        Value::from(self.source.clone())
    }

    /// Gives the definition as it was given, with updates applied.
    #[must_use]
    pub fn source(&self) -> &Object {
        &self.source
    }

    /// Adds generated values and defaults for absent members, in schema order (a `null` generated *key* counts as
    /// absent). Metadata is the caller's business.
    pub fn complete(&self, record: &mut Object, generate: &mut dyn Generate) {
        let mut added = Vec::new();
        {
            let members = Lookup::new(record, self.fields.len());
            for field in &self.fields {
                let Some(generated) = field.generated else { continue };
                let value = members.find(&field.name);
                if value.is_none() || (field.name == self.key && value.is_some_and(Value::is_null)) {
                    added.push((field.name.clone(), generated.value(generate)));
                }
            }
            for field in &self.fields {
                let Some(default) = &field.default else { continue };
                if field.generated.is_none() && members.find(&field.name).is_none() {
                    added.push((field.name.clone(), default.clone()));
                }
            }
        }
        record.merge(added);
    }

    /// Checks a complete record; the key field must have a value that is not nullish.
    ///
    /// # Errors
    /// [`StoreError::Validation`] with all issues.
    pub fn validate(&self, record: &impl Fields) -> Result<(), StoreError> {
        let members = Lookup::new(record, self.fields.len());
        let mut issues = Vec::new();
        for field in &self.fields {
            let path = Path::Member(None, &field.name);
            let required = field.name == self.key;
            field.rule.check(members.find(&field.name), required, &path, &mut issues);
        }
        if issues.is_empty() {
            return Ok(());
        }
        Err(StoreError::Validation { bucket: self.name.to_string(), issues })
    }
}

impl Generated {
    fn value(self, generate: &mut dyn Generate) -> Value {
        match self {
            Self::Uuid => uuid(generate.random_bytes()).into(),
            Self::Cuid => {
                let mut text = CompactString::from("c");
                push_hex(&mut text, &generate.random_bytes());
                text.into()
            }
            Self::AutoIncrement => number(generate.counter()),
            Self::Timestamp => number(generate.now_ms()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counters and times stay below 2^53")]
fn number(integer: u64) -> Value {
    Value::Number(integer as f64)
}

/// Formats 16 random bytes as a UUID of version 4 (RFC 9562, section 5.4).
fn uuid(bytes: [u8; 16]) -> CompactString {
    let bits = u128::from_be_bytes(bytes);
    let bits = bits & !(0xF << 76) | 0x4 << 76; // version
    let bits = bits & !(0x3 << 62) | 0x2 << 62; // variant
    let mut text = CompactString::default();
    for (at, byte) in bits.to_be_bytes().into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        push_hex(&mut text, &[byte]);
    }
    text
}

fn push_hex(text: &mut CompactString, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
}
