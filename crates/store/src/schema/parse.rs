//! Checks of bucket definitions and of updates to them.
//!
//! Checks that older servers make too come first, in their order and with their texts, so that a client sees the text
//! it knows; then what only this server checks. Nothing is created before everything is checked.
//! Source: the store specification, sections 3, 12, 17 and defect D-19; the configuration description, section 5.

use super::{
    Definition, Field, Generated, OnDelete,
    format::{Format, is_space},
    pattern::Pattern,
    rule::{Inside, Kind, Rule},
};
use crate::error::StoreError;
use crate::record::{UPDATED_AT, VERSION};
use hashbrown::HashSet;
use noex_json::{CompactString, Object, Value, text_form};

/// Checks a definition, which becomes the source of the result.
pub(super) fn definition(bucket: &str, source: Object) -> Result<Definition, StoreError> {
    let check = Check { bucket };
    let Some(schema) = source.get("schema").and_then(Value::as_object) else {
        return Err(invalid(format!("Invalid schema for bucket \"{bucket}\": expected object")));
    };
    let key = check.key(&source, schema)?;
    let indexes = check.indexes(&source, schema)?;
    for (name, field) in schema.iter() {
        check.null_is_allowed(name, field)?;
    }
    let ttl_ms = source.get("ttl").map(|ttl| check.ttl(ttl)).transpose()?;
    let fields = schema.iter().map(|(name, field)| check.field(name, field)).collect::<Result<_, _>>()?;
    let ordered = check.ordered(&source)?;
    let persistent = match source.get("persistent") {
        None => true,
        Some(Value::Bool(flag)) => *flag,
        Some(_) => return Err(check.option("persistent", "a boolean")),
    };
    let size_max = check.size_max(&source)?;
    Ok(Definition {
        name: bucket.into(),
        key,
        fields,
        indexes,
        ordered,
        persistent,
        ttl_ms,
        size_max,
        source,
    })
}

/// Makes the source of the updated definition: fields are appended, `indexes` and `ttl` move to the end, and an empty
/// list of indexes is left out. What `definition` checks is not checked here.
pub(super) fn updated_source(old: &Definition, updates: &Object) -> Result<Object, StoreError> {
    let bucket = &old.name;
    let check = Check { bucket };
    let mut source = old.source.clone();
    match updates.get("addFields") {
        None | Some(Value::Null) => {}
        Some(Value::Object(added)) => {
            let known: HashSet<&str> = old.fields.iter().map(|field| field.name.as_str()).collect();
            if let Some((name, _)) = added.iter().find(|(name, _)| known.contains(name.as_str())) {
                return Err(invalid(format!("Field \"{name}\" already exists in bucket \"{bucket}\"")));
            }
            let mut schema = source.get("schema").and_then(Value::as_object).cloned().unwrap_or_default();
            schema.merge(added.iter().map(|(name, field)| (name.clone(), field.clone())));
            source.set("schema", schema);
        }
        Some(_) => return Err(check.option("addFields", "an object")),
    }
    let mut indexes: Vec<Value> = old.indexes.iter().map(|name| name.clone().into()).collect();
    match updates.get("addIndexes") {
        None | Some(Value::Null) => {}
        Some(Value::Array(added)) if added.iter().all(|name| name.as_str().is_some()) => {
            let mut known: HashSet<&str> = old.indexes.iter().map(CompactString::as_str).collect();
            indexes
                .extend(added.iter().filter(|name| name.as_str().is_some_and(|n| known.insert(n))).cloned());
        }
        Some(_) => return Err(check.option("addIndexes", "an array of field names")),
    }
    source.remove("indexes");
    if !indexes.is_empty() {
        source.set("indexes", indexes);
    }
    let kept = source.remove("ttl");
    match updates.get("ttl") {
        None => kept.into_iter().for_each(|ttl| source.set("ttl", ttl)),
        Some(Value::Null) => {}
        Some(ttl) => source.set("ttl", ttl.clone()),
    }
    Ok(source)
}

/// Checks for one bucket, whose name is in every text.
struct Check<'a> {
    bucket: &'a str,
}

impl Check<'_> {
    /// An option of the bucket has a wrong type.
    fn option(&self, option: &str, expected: &str) -> StoreError {
        invalid(format!("Invalid definition for bucket \"{}\": {option} must be {expected}", self.bucket))
    }

    /// Something is wrong with a field; nested ones are named by their path.
    fn problem(&self, field: &str, problem: &str) -> StoreError {
        invalid(format!("Invalid schema for bucket \"{}\": field \"{field}\": {problem}", self.bucket))
    }

    fn key(&self, source: &Object, schema: &Object) -> Result<CompactString, StoreError> {
        let key = match source.get("key") {
            None => "undefined",
            // The store changes them, and a record keeps its key for life.
            Some(Value::String(key)) if [VERSION, UPDATED_AT].contains(&key.as_str()) => {
                return Err(self.option("key", "a field that updates leave alone"));
            }
            Some(Value::String(key)) if schema.contains(key) => return Ok(key.clone()),
            Some(Value::String(key)) => key,
            Some(_) => return Err(self.option("key", "a string")),
        };
        let bucket = self.bucket;
        Err(invalid(format!("Key field \"{key}\" does not exist in schema for bucket \"{bucket}\"")))
    }

    fn indexes(&self, source: &Object, schema: &Object) -> Result<Vec<CompactString>, StoreError> {
        let wrong_type = || self.option("indexes", "an array of field names");
        let names = match source.get("indexes") {
            None => return Ok(Vec::new()),
            Some(Value::Array(names)) => names,
            Some(_) => return Err(wrong_type()),
        };
        let known: HashSet<&str> = schema.iter().map(|(name, _)| name.as_str()).collect();
        let (mut indexes, mut seen) = (Vec::new(), HashSet::new());
        for name in names {
            let Value::String(name) = name else { return Err(wrong_type()) };
            if !known.contains(name.as_str()) {
                let bucket = self.bucket;
                return Err(invalid(format!(
                    "Index field \"{name}\" does not exist in schema for bucket \"{bucket}\""
                )));
            }
            if seen.insert(name.as_str()) {
                indexes.push(name.clone());
            }
        }
        Ok(indexes)
    }

    /// A reference that becomes `null` with its target must not be required.
    fn null_is_allowed(&self, name: &str, field: &Value) -> Result<(), StoreError> {
        let Some(field) = field.as_object() else { return Ok(()) };
        let sets_null = field.get("onDelete").and_then(Value::as_str) == Some("set_null");
        let required = field.get("required").and_then(Value::as_bool) == Some(true);
        if sets_null && required && field.contains("ref") {
            let bucket = self.bucket;
            return Err(invalid(format!(
                "Invalid schema for bucket \"{bucket}\": field \"{name}\" has onDelete \"set_null\" but is required"
            )));
        }
        Ok(())
    }

    fn ttl(&self, ttl: &Value) -> Result<f64, StoreError> {
        let out_of_range = |ms: f64| {
            let ms = text_form(Some(&Value::Number(ms)));
            invalid(format!("TTL must be a positive finite number, got {ms}"))
        };
        match ttl {
            Value::Number(ms) if ms.is_finite() && *ms > 0.0 => Ok(*ms),
            Value::Number(ms) => Err(out_of_range(*ms)),
            Value::String(text) => match duration_ms(text) {
                None => Err(invalid(format!(
                    "Invalid TTL format \"{text}\". Expected a number (ms) or string like \"30s\", \"5m\", \
                     \"1h\", \"7d\"."
                ))),
                Some(0.0) => Err(invalid(format!("TTL value must be positive, got \"{text}\""))),
                Some(ms) if ms.is_finite() => Ok(ms),
                Some(ms) => Err(out_of_range(ms)),
            },
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                Err(self.option("ttl", "a number or a string"))
            }
        }
    }

    fn ordered(&self, source: &Object) -> Result<bool, StoreError> {
        match source.get("etsType").map(Value::as_str) {
            None | Some(Some("set" | "bag" | "duplicate_bag")) => Ok(false),
            Some(Some("ordered_set")) => Ok(true),
            Some(_) => Err(self.option("etsType", "\"set\", \"ordered_set\", \"bag\" or \"duplicate_bag\"")),
        }
    }

    fn size_max(&self, source: &Object) -> Result<Option<usize>, StoreError> {
        match source.get("maxSize") {
            None => Ok(None),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
            Some(Value::Number(size)) if is_integer(*size) && *size >= 1.0 => Ok(Some(*size as usize)),
            Some(_) => Err(self.option("maxSize", "a positive integer")),
        }
    }

    fn field(&self, name: &CompactString, field: &Value) -> Result<Field, StoreError> {
        let rule = self.rule(name, field, 0)?;
        let members = Members { check: self, path: name, members: self.members(name, field)? };
        let mut generated = members.generated("generated")?;
        // What older clients write; if both are there, both must be right and `generated` counts.
        let alias = members.generated("auto")?;
        generated = generated.or(alias);
        let target = members.text("ref", "a bucket name")?;
        let on_delete = match members.members.get("onDelete").map(Value::as_str) {
            None | Some(Some("restrict")) => OnDelete::Restrict,
            Some(Some("cascade")) => OnDelete::Cascade,
            Some(Some("set_null")) => OnDelete::SetNull,
            Some(_) => {
                return Err(self.problem(name, "onDelete must be \"restrict\", \"cascade\" or \"set_null\""));
            }
        };
        Ok(Field {
            name: name.clone(),
            generated,
            default: members.members.get("default").cloned(),
            unique: members.flag("unique")?,
            reference: target.map(|target| (target.clone(), on_delete)),
            rule,
        })
    }

    fn members<'v>(&self, path: &str, field: &'v Value) -> Result<&'v Object, StoreError> {
        field.as_object().ok_or_else(|| self.problem(path, "definition must be an object"))
    }

    /// Parses what a field definition demands of values; `depth` counts the objects and arrays around it.
    fn rule(&self, path: &str, field: &Value, depth: usize) -> Result<Rule, StoreError> {
        if depth > DEPTH_MAX {
            return Err(self.problem(path, "nesting deeper than 10"));
        }
        let members = Members { check: self, path, members: self.members(path, field)? };
        let kind = members.named("type", Kind::by_name)?;
        let Some(kind) = kind else { return Err(self.problem(path, "unknown type \"undefined\"")) };
        Ok(Rule {
            kind,
            required: members.flag("required")?,
            format: members.named("format", Format::by_name)?,
            pattern: members.pattern()?,
            allowed: match members.members.get("enum") {
                None => None,
                Some(Value::Array(values)) => Some(values.clone().into_vec()),
                Some(_) => return Err(self.problem(path, "enum must be an array")),
            },
            min: members.number("min")?,
            max: members.number("max")?,
            length_min: members.length("minLength")?,
            length_max: members.length("maxLength")?,
            inside: self.inside(&members, kind, depth)?,
        })
    }

    /// Parses `properties` and `items`; both are checked, but only the one that fits the type has an effect.
    fn inside(&self, members: &Members<'_>, kind: Kind, depth: usize) -> Result<Inside, StoreError> {
        let mut inside = Inside::Anything;
        match members.members.get("properties") {
            None => {}
            Some(Value::Object(properties)) => {
                let rules = properties.iter().map(|(name, field)| {
                    let path = format!("{}.{name}", members.path);
                    Ok((name.clone(), self.rule(&path, field, depth + 1)?))
                });
                let rules = rules.collect::<Result<_, _>>()?;
                if kind == Kind::Object {
                    inside = Inside::Properties(rules);
                }
            }
            Some(_) => return Err(self.problem(members.path, "properties must be an object")),
        }
        match members.members.get("items") {
            None => {}
            Some(items @ Value::Object(_)) => {
                let rule = self.rule(&format!("{}[]", members.path), items, depth + 1)?;
                if kind == Kind::Array {
                    inside = Inside::Items(Box::new(rule));
                }
            }
            Some(_) => return Err(self.problem(members.path, "items must be an object")),
        }
        Ok(inside)
    }
}

/// Members of one field definition.
struct Members<'a> {
    check: &'a Check<'a>,
    path: &'a str,
    members: &'a Object,
}

impl<'a> Members<'a> {
    fn flag(&self, option: &str) -> Result<bool, StoreError> {
        match self.members.get(option) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.check.problem(self.path, &format!("{option} must be a boolean"))),
        }
    }

    fn text(&self, option: &str, expected: &str) -> Result<Option<&'a CompactString>, StoreError> {
        match self.members.get(option) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.check.problem(self.path, &format!("{option} must be {expected}"))),
        }
    }

    fn number(&self, option: &str) -> Result<Option<f64>, StoreError> {
        match self.members.get(option) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(*number)),
            Some(_) => Err(self.check.problem(self.path, &format!("{option} must be a number"))),
        }
    }

    fn length(&self, option: &str) -> Result<Option<f64>, StoreError> {
        match self.members.get(option) {
            None => Ok(None),
            Some(Value::Number(length)) if is_integer(*length) && *length >= 0.0 => Ok(Some(*length)),
            Some(_) => {
                Err(self.check.problem(self.path, &format!("{option} must be a non-negative integer")))
            }
        }
    }

    /// Reads one of several names.
    fn named<T>(&self, option: &str, by_name: fn(&str) -> Option<T>) -> Result<Option<T>, StoreError> {
        let Some(value) = self.members.get(option) else { return Ok(None) };
        match value.as_str().and_then(by_name) {
            Some(found) => Ok(Some(found)),
            None => {
                let problem = format!("unknown {option} \"{}\"", text_form(Some(value)));
                Err(self.check.problem(self.path, &problem))
            }
        }
    }

    fn generated(&self, option: &str) -> Result<Option<Generated>, StoreError> {
        let Some(value) = self.members.get(option) else { return Ok(None) };
        Ok(Some(match value.as_str() {
            Some("uuid") => Generated::Uuid,
            Some("cuid") => Generated::Cuid,
            Some("autoincrement") => Generated::AutoIncrement,
            Some("timestamp") => Generated::Timestamp,
            _ => {
                let problem = format!("unknown generated \"{}\"", text_form(Some(value)));
                return Err(self.check.problem(self.path, &problem));
            }
        }))
    }

    fn pattern(&self) -> Result<Option<Pattern>, StoreError> {
        let Some(source) = self.text("pattern", "a string")? else { return Ok(None) };
        let pattern = Pattern::parse(source);
        let invalid = || self.check.problem(self.path, &format!("invalid pattern \"{source}\""));
        pattern.map(Some).ok_or_else(invalid)
    }
}

/// Reads `<decimal number><s, m, h or d>`, white space allowed between the two.
fn duration_ms(text: &str) -> Option<f64> {
    let (number, factor) = None
        .or_else(|| Some((text.strip_suffix('s')?, 1_000.0)))
        .or_else(|| Some((text.strip_suffix('m')?, 60_000.0)))
        .or_else(|| Some((text.strip_suffix('h')?, 3_600_000.0)))
        .or_else(|| Some((text.strip_suffix('d')?, 86_400_000.0)))?;
    let number = number.trim_end_matches(is_space);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    Some(number.parse::<f64>().ok()? * factor)
}

fn is_integer(number: f64) -> bool {
    number.is_finite() && number.fract() == 0.0
}

fn invalid(text: String) -> StoreError {
    StoreError::InvalidDefinition(text)
}

/// Levels of objects and arrays below a top-level field that are checked in records.
const DEPTH_MAX: usize = 10;
