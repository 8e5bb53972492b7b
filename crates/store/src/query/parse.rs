//! Checks of query definitions.
//!
//! Tolerated: unknown members, any direction of a sort, an empty list of fields, `filter: null`, numeric texts,
//! fractions and negative numbers in `limit` and `offset`.
//! Source: the store specification, section 16.1 and defect D-19; the configuration description, section 6.

use super::{Function, QueryDefinition, QueryOptions, Shape, SortField, Window};
use crate::{
    error::StoreError,
    filter::{Filter, Params, placeholders},
};
use noex_json::{CompactString, Object, Value, to_number};
use std::sync::Arc;

/// Checks a definition.
pub(super) fn definition(
    name: &str,
    config: &Object,
    options: QueryOptions,
) -> Result<QueryDefinition, StoreError> {
    let check = Check { name };
    let Some(Value::String(bucket)) = config.get("bucket") else {
        return Err(check.problem("bucket", "a string"));
    };
    let words = match config.get("filter") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(filter)) => {
            Filter::compile_with(filter, &Params::Unknown, options.strict_filters)?;
            placeholders(filter)
        }
        Some(_) => return Err(check.problem("filter", "an object")),
    };
    let list = check.list(config)?;
    let shape = Arc::new(check.aggregate(config)?.unwrap_or(list));
    let (name, bucket, config) = (name.into(), bucket.clone(), config.clone());
    Ok(QueryDefinition { name, bucket, config, words, output: shape.output_fields(), shape })
}

/// Checks for one query, whose name is in every text.
struct Check<'a> {
    name: &'a str,
}

impl Check<'_> {
    fn problem(&self, member: &str, expected: &str) -> StoreError {
        StoreError::InvalidQuery {
            query: self.name.to_owned(),
            problem: format!("{member} must be {expected}"),
        }
    }

    fn list(&self, config: &Object) -> Result<Shape, StoreError> {
        let sort = match config.get("sort") {
            None => Vec::new(),
            Some(Value::Object(sort)) => sort.iter().map(sort_field).collect(),
            Some(_) => return Err(self.problem("sort", "an object")),
        };
        let offset = self.number(config, "offset")?;
        let limit = self.number(config, "limit")?;
        let fields = match config.get("fields") {
            None => None,
            Some(fields) => {
                let fields =
                    names(fields).ok_or_else(|| self.problem("fields", "an array of field names"))?;
                (!fields.is_empty()).then_some(fields)
            }
        };
        Ok(Shape::List { sort, window: Window::new(offset, limit), fields })
    }

    fn number(&self, config: &Object, member: &str) -> Result<Option<f64>, StoreError> {
        let number = match config.get(member) {
            None => return Ok(None),
            Some(value @ (Value::Number(_) | Value::String(_))) => to_number(value),
            Some(_) => f64::NAN,
        };
        if number.is_nan() {
            return Err(self.problem(member, "a number"));
        }
        Ok(Some(number))
    }

    fn aggregate(&self, config: &Object) -> Result<Option<Shape>, StoreError> {
        let aggregate = match config.get("aggregate") {
            None => return Ok(None),
            Some(Value::Object(aggregate)) => aggregate,
            Some(_) => return Err(self.problem("aggregate", "an object")),
        };
        let function = aggregate.get("function").and_then(Value::as_str).and_then(Function::by_name);
        let Some(function) = function else {
            return Err(self.problem("aggregate.function", "one of count, sum, avg, min, max"));
        };
        let field = match aggregate.get("field") {
            Some(Value::String(field)) => field.clone(),
            None if function == Function::Count => CompactString::default(),
            None | Some(_) => return Err(self.problem("aggregate.field", "a string")),
        };
        Ok(Some(match aggregate.get("groupBy") {
            None => Shape::Scalar(function, field),
            Some(Value::String(name)) => Shape::Groups { function, field, by: vec![name.clone()] },
            Some(by) => {
                let expected = "a field name or an array of field names";
                let by = names(by).ok_or_else(|| self.problem("aggregate.groupBy", expected))?;
                Shape::Groups { function, field, by }
            }
        }))
    }
}

fn sort_field((name, direction): (&CompactString, &Value)) -> SortField {
    SortField { name: name.clone(), descending: direction.as_str() == Some("desc") }
}

/// Reads a list of names and puts it in the order that the members of an object have.
fn names(list: &Value) -> Option<Vec<CompactString>> {
    let members =
        list.as_array()?.iter().map(|name| Some((CompactString::from(name.as_str()?), Value::Null)));
    let members: Object = members.collect::<Option<Vec<_>>>()?.into_iter().collect();
    Some(members.into_iter().map(|(name, _)| name).collect())
}
