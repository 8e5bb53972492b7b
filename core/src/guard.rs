//! Keeps requests away from the buckets in which the built-in identity keeps its records, the superadmin's too.
//!
//! Their names begin with `_`. Malformed requests pass: what is wrong with them is told later.
//! Source: the auth specification, section 6.3.

use crate::{Code, Operation, Refusal, permissions::inner_resources, request::Members};
use alloc::{collections::VecDeque, format, string::String};
use noex_json::{Object, Raw, Value};

/// Refuses a request that names a system bucket.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others name buckets in two fields only, or none")]
pub(crate) fn check(operation: Operation, members: &Members<'_>) -> Result<(), Refusal> {
    if operation.name().starts_with("store.") {
        let named = ["bucket", "name"].into_iter().find_map(|field| system(members.text(field)));
        named.map_or(Ok(()), |name| Err(direct(&name)))?;
    }
    let object = |field| members.get(field).and_then(Raw::to_object);
    let found = match operation {
        Operation::StoreTransaction => {
            let inner = inner_resources(members).find_map(|(bucket, _)| system(Some(bucket)));
            let text = |bucket| format!("Cannot access system bucket \"{bucket}\" in transaction");
            return inner.map_or(Ok(()), |bucket| Err(Refusal::new(Code::Forbidden, text(bucket))));
        }
        Operation::StoreDefineQuery => object("config").and_then(|config| system(text_of(&config, "bucket"))),
        Operation::StoreDefineBucket => {
            object("config").and_then(|config| system_bucket_in_schema(config.get("schema")))
        }
        Operation::StoreUpdateBucket => {
            object("updates").and_then(|updates| system_bucket_in_schema(updates.get("addFields")))
        }
        Operation::ProceduresRegister => {
            object("procedure").and_then(|procedure| system_bucket_in_steps(&procedure))
        }
        Operation::ProceduresUpdate => object("updates").and_then(|updates| system_bucket_in_steps(&updates)),
        _ => None,
    };
    found.map_or(Ok(()), |name| Err(direct(&name)))
}

fn direct(bucket: &str) -> Refusal {
    Refusal::new(Code::Forbidden, format!("Cannot access system bucket \"{bucket}\" directly"))
}

fn system(name: Option<impl Into<String> + AsRef<str>>) -> Option<String> {
    name.filter(|name| name.as_ref().starts_with('_')).map(Into::into)
}

fn text_of<'v>(object: &'v Object, field: &str) -> Option<&'v str> {
    object.get(field).and_then(Value::as_str)
}

fn definitions(fields: Option<&Value>) -> impl Iterator<Item = &Value> {
    fields.and_then(Value::as_object).into_iter().flat_map(Object::iter).map(|(_, definition)| definition)
}

/// Finds a system bucket that a field of a schema refers to, nested fields included.
#[must_use]
pub fn system_bucket_in_schema(fields: Option<&Value>) -> Option<String> {
    let mut pending: VecDeque<&Value> = definitions(fields).collect();
    while let Some(definition) = pending.pop_front() {
        let Some(definition) = definition.as_object() else { continue };
        if let Some(name) = system(text_of(definition, "ref")) {
            return Some(name);
        }
        pending.extend(definition.get("items"));
        pending.extend(definitions(definition.get("properties")));
    }
    None
}

fn steps<'v>(object: &'v Object, field: &str) -> &'v [Value] {
    object.get(field).and_then(Value::as_array).unwrap_or_default()
}

/// Finds a system bucket that a step of a procedure's definition names, steps in branches included.
#[must_use]
pub fn system_bucket_in_steps(procedure: &Object) -> Option<String> {
    let mut pending: VecDeque<&Value> = steps(procedure, "steps").iter().collect();
    while let Some(step) = pending.pop_front() {
        let Some(step) = step.as_object() else { continue };
        if let Some(name) = system(text_of(step, "bucket")) {
            return Some(name);
        }
        pending.extend(steps(step, "then"));
        pending.extend(steps(step, "else"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Parsed;

    fn judged(kind: &str, fields: &str) -> Option<String> {
        let text = format!(r#"{{"id":1,"type":"{kind}",{fields}}}"#);
        let request = Parsed::new(&text, 64);
        assert!(request.envelope.is_ok());
        check(Operation::by_name(kind).expect(kind), &request.members)
            .err()
            .map(|refusal| refusal.message.into_owned())
    }

    #[test]
    fn system_buckets_are_found_wherever_they_are_named() {
        for (kind, fields) in [
            ("store.get", r#""bucket":"_users""#),
            ("store.dropBucket", r#""bucket":"a","name":"_users""#),
            ("store.stats", r#""bucket":"_users""#),
            ("store.defineQuery", r#""name":"q","config":{"bucket":"_users"}"#),
            ("store.defineBucket", r#""name":"b","config":{"schema":{"a":{},"b":{"ref":"_users"}}}"#),
            (
                "store.defineBucket",
                r#""name":"b","config":{"schema":{"a":{"items":{"properties":{"b":{"ref":"_users"}}}}}}"#,
            ),
            ("store.updateBucket", r#""name":"b","updates":{"addFields":{"a":{"ref":"_users"}}}"#),
            ("procedures.register", r#""procedure":{"steps":[{},{"bucket":"_users"}]}"#),
            (
                "procedures.update",
                r#""name":"p","updates":{"steps":[{"then":[{"else":[{"bucket":"_users"}]}]}]}"#,
            ),
        ] {
            let text = "Cannot access system bucket \"_users\" directly";
            assert_eq!(judged(kind, fields).as_deref(), Some(text), "{kind} {fields}");
        }
        let text = "Cannot access system bucket \"_acl\" in transaction";
        let fields = r#""operations":[null,7,{"bucket":"a"},{"op":1,"bucket":"_acl"}]"#;
        assert_eq!(judged("store.transaction", fields).as_deref(), Some(text));
    }

    #[test]
    fn other_names_and_malformed_requests_pass() {
        for (kind, fields) in [
            ("store.get", r#""bucket":"users_""#),
            ("store.get", r#""bucket":7"#),
            ("store.insert", r#""bucket":"a","data":{"bucket":"_users","ref":"_users"}"#),
            ("store.transaction", r#""operations":[null]"#),
            ("store.transaction", r#""operations":"_users""#),
            ("store.defineQuery", r#""name":"q","config":["_users"]"#),
            ("store.defineBucket", r#""name":"b","config":{"schema":{"a":{"default":{"ref":"_users"}}}}"#),
            ("procedures.register", r#""procedure":{"steps":{"bucket":"_users"}}"#),
            ("rules.emit", r#""topic":"_users","name":"_users""#),
            ("procedures.call", r#""name":"_users""#),
        ] {
            assert_eq!(judged(kind, fields), None, "{kind} {fields}");
        }
    }
}
