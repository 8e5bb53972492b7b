//! Declarative queries: definition, parameters, evaluation; and the aggregates that one-shot reads share with them.
//!
//! A definition is checked when it is made; filling in parameters gives a [`CompiledQuery`], which turns candidate
//! records into the JSON text of the result. Sums run left to right in base order, so that every way to compute one
//! gives the same bits.
//! Source: the store specification, sections 9.4, 9.5 and 16, decisions E-7 and E-9, defect D-19.

mod aggregate;
mod parse;
mod sort;
#[cfg(test)]
mod tests;
mod window;

use crate::members::Fields;
use crate::{
    error::StoreError,
    filter::{Filter, Params},
};
use noex_json::{
    CompactString, Object, Value, deep_equal, text_form, write_number, write_string, write_value,
};
use std::sync::Arc;

pub use aggregate::Totals;
pub(crate) use aggregate::{GroupWriter, group_key};
pub use sort::{SortField, SortKey};
pub use window::{Limit, Window};

/// Switches that queries obey.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueryOptions {
    /// Refuse unknown filter operators.
    pub strict_filters: bool,
    /// Let parameters that are objects act as operators.
    pub allow_operator_params: bool,
}

/// A scalar aggregate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Function {
    /// Number of records.
    Count,
    /// Sum of the numbers, left to right; 0 for none.
    Sum,
    /// Mean of the numbers; 0 for none.
    Avg,
    /// Least number.
    Min,
    /// Greatest number.
    Max,
}

/// A checked definition.
#[derive(Clone, Debug)]
pub struct QueryDefinition {
    /// Name.
    pub name: CompactString,
    /// Bucket that is read.
    pub bucket: CompactString,
    config: Object,
    /// Parameters that the filter uses, sorted.
    words: Vec<CompactString>,
    shape: Arc<Shape>,
    output: Output,
}

/// Fields whose change can alter the result of a record that stays in it; `None` = all.
type Output = Option<Arc<[CompactString]>>;

/// What a query makes of the matching records.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// The records, or some of their members.
    List {
        /// Order; empty = base order.
        sort: Vec<SortField>,
        /// Which part of the list.
        window: Window,
        /// Members that are shown, in the order in which an object has them; `None` = whole records.
        fields: Option<Vec<CompactString>>,
    },
    /// One number.
    Scalar(Function, CompactString),
    /// A number for each group.
    Groups {
        /// Aggregate.
        function: Function,
        /// Aggregated field.
        field: CompactString,
        /// Fields whose values make the group, in the order in which an object has them.
        by: Vec<CompactString>,
    },
}

/// A query with its parameters filled in.
#[derive(Clone, Debug)]
pub struct CompiledQuery {
    /// Which records take part.
    pub filter: Filter,
    shape: Arc<Shape>,
    output: Output,
}

impl QueryDefinition {
    /// Gives the bucket that a definition as given by a client names; `undefined` if it names none.
    #[must_use]
    pub fn bucket_of(config: &Object) -> String {
        text_form(config.get("bucket"))
    }

    /// Checks a definition as given by a client (the existence of the bucket is the caller's business, and first).
    ///
    /// # Errors
    /// [`StoreError::InvalidQuery`], [`StoreError::InvalidFilter`].
    pub fn parse(name: &str, config: &Object, options: QueryOptions) -> Result<Self, StoreError> {
        parse::definition(name, config, options)
    }

    /// Gives the definition as it was given.
    #[must_use]
    pub fn config(&self) -> &Object {
        &self.config
    }

    /// Gives what the query makes of the matching records.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Gives a text that is equal for two sets of parameters exactly if they select the same view: only parameters
    /// that the filter uses count.
    #[must_use]
    pub fn canonical_params(&self, params: Option<&Value>) -> String {
        let mut out = String::new();
        for word in &self.words {
            match params.and_then(|params| crate::filter::param(params, word)) {
                None => out.push('-'),
                Some(value) => write_canonical(&mut out, value),
            }
            out.push(';');
        }
        out
    }

    /// Fills in parameters.
    ///
    /// # Errors
    /// [`StoreError::InvalidFilter`] if a parameter does not fit its place.
    pub fn compile(
        &self,
        params: Option<&Value>,
        options: QueryOptions,
    ) -> Result<CompiledQuery, StoreError> {
        let filter = match self.config.get("filter") {
            Some(Value::Object(filter)) => {
                let params = Params::Given { params, operators: options.allow_operator_params };
                Filter::compile_with(filter, &params, options.strict_filters)?
            }
            _ => Filter::all(),
        };
        Ok(CompiledQuery { filter, shape: Arc::clone(&self.shape), output: self.output.clone() })
    }
}

impl CompiledQuery {
    /// Gives what the query makes of the matching records.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Evaluates the query over candidate records in base order (a superset of the matching ones) and gives the
    /// result as JSON text; `None` = no value. `text` gives a record's own JSON text, so that whole records are not
    /// serialised again.
    ///
    /// O(candidates), with a sort O(candidates + n log n) for the n records that are shown; without a sort it stops
    /// as soon as a limit is reached.
    pub fn evaluate<'a, R: 'a, M: Fields + 'a>(
        &self,
        candidates: impl Iterator<Item = &'a R>,
        members: impl Fn(&R) -> &M,
        text: impl Fn(&R) -> &str,
    ) -> Option<String> {
        let matching = candidates.filter(|record| self.filter.matches(members(record)));
        match &*self.shape {
            Shape::Scalar(function, field) => {
                let totals = Totals::collect(field, matching.map(&members));
                let mut out = String::new();
                write_number(&mut out, totals.value(*function)?);
                Some(out)
            }
            Shape::Groups { function, field, by } => {
                Some(aggregate::write_groups(*function, field, by, matching.map(&members)))
            }
            Shape::List { sort, window, fields } => {
                let mut list = ListWriter::new(fields.as_deref());
                if sort.is_empty() {
                    window.of(matching, |record| list.push(members(record), text(record)));
                } else {
                    let keyed = matching.map(|record| (SortKey::of(sort, members(record)), record));
                    for record in sort::window(keyed, *window) {
                        list.push(members(record), text(record));
                    }
                }
                Some(list.finish())
            }
        }
    }

    /// Lists the fields whose change can alter the result of a record that stays in it; `None` = all.
    #[must_use]
    pub fn output_fields(&self) -> Option<&[CompactString]> {
        self.output.as_deref()
    }

    /// Tells whether the result can tell two versions of a record apart that both match.
    pub(crate) fn shows(&self, old: &impl Fields, new: &impl Fields) -> bool {
        self.output.as_deref().is_none_or(|fields| {
            fields.iter().any(|field| match (old.get(field), new.get(field)) {
                (Some(old), Some(new)) => !deep_equal(old, new),
                (None, None) => false,
                (None, Some(_)) | (Some(_), None) => true,
            })
        })
    }
}

impl Shape {
    /// Names the family of the shape, for statistics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::List { window, .. } if window.needed().is_some() => "window",
            Self::List { .. } => "list",
            Self::Groups { .. } => "groups",
            Self::Scalar(Function::Count, _) => "count",
            Self::Scalar(Function::Sum, _) => "sum",
            Self::Scalar(Function::Avg, _) => "avg",
            Self::Scalar(Function::Min, _) => "min",
            Self::Scalar(Function::Max, _) => "max",
        }
    }

    fn output_fields(&self) -> Output {
        let mut fields: Vec<CompactString> = match self {
            Self::List { fields: None, .. } => return None,
            Self::List { sort, fields: Some(fields), .. } => {
                let sorted = sort.iter().map(|by| by.name.clone());
                fields.iter().cloned().chain(sorted).collect()
            }
            Self::Scalar(Function::Count, _) => Vec::new(),
            Self::Scalar(_, field) => vec![field.clone()],
            Self::Groups { function: Function::Count, by, .. } => by.clone(),
            Self::Groups { field, by, .. } => by.iter().chain([field]).cloned().collect(),
        };
        fields.sort_unstable();
        fields.dedup();
        Some(fields.into())
    }
}

/// Writes a list of records.
pub(crate) struct ListWriter<'a> {
    fields: Option<&'a [CompactString]>,
    out: String,
}

impl<'a> ListWriter<'a> {
    /// Begins a list of whole records, or of some of their members.
    pub(crate) fn new(fields: Option<&'a [CompactString]>) -> Self {
        Self { fields, out: String::from("[") }
    }

    /// Appends a record, given by its members and its own text.
    pub(crate) fn push(&mut self, members: &impl Fields, text: &str) {
        if self.out.len() > 1 {
            self.out.push(',');
        }
        match self.fields {
            None => self.out.push_str(text),
            Some(fields) => write_members(&mut self.out, fields, members),
        }
    }

    /// Ends the list.
    pub(crate) fn finish(mut self) -> String {
        self.out.push(']');
        self.out
    }
}

/// Appends an object of some members of a record; absent ones are left out.
pub(crate) fn write_members(out: &mut String, fields: &[CompactString], record: &impl Fields) {
    out.push('{');
    let mut separator = false;
    for name in fields {
        let Some(value) = record.get(name) else { continue };
        if separator {
            out.push(',');
        }
        separator = true;
        write_string(out, name);
        out.push(':');
        write_value(out, value);
    }
    out.push('}');
}

/// Appends a value so that no two different values give the same text.
fn write_canonical(out: &mut String, value: &Value) {
    match value {
        Value::Number(number) if *number == f64::INFINITY => out.push_str("+i"),
        Value::Number(number) if *number == f64::NEG_INFINITY => out.push_str("-i"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => write_value(out, value),
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write_canonical(out, item);
                out.push(',');
            }
            out.push(']');
        }
        Value::Object(object) => {
            out.push('{');
            for (name, member) in object.iter() {
                write_string(out, name);
                out.push(':');
                write_canonical(out, member);
                out.push(',');
            }
            out.push('}');
        }
    }
}
