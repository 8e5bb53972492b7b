//! Checks of request fields, in the order of the protocol's tables, and the building of typed calls.

mod access;

pub(crate) use access::{audit_query, identity_call, server_call};

use crate::{
    Aggregate, Config, Operation, ProceduresCall, Refusal, ResultMode, RulesCall, StoreCall, StoreOperation,
    request::Members,
};
use alloc::{borrow::Cow, format, string::String, vec::Vec};
use noex_json::{CompactString, Object, Raw, Value, scan_array, utf16_len};

type Checked<T> = Result<T, Refusal>;

/// Reads the fields of one request.
pub(crate) struct Fields<'a, 'm> {
    members: &'m Members<'a>,
    config: &'m Config,
}

impl<'a, 'm> Fields<'a, 'm> {
    pub(crate) fn new(members: &'m Members<'a>, config: &'m Config) -> Self {
        Self { members, config }
    }

    /// A non-empty string.
    pub(crate) fn text(&self, field: &str) -> Checked<Cow<'a, str>> {
        self.members.text(field).filter(|text| !text.is_empty()).ok_or_else(|| {
            Refusal::validation(format!("Missing or invalid \"{field}\": expected non-empty string"))
        })
    }

    /// A non-empty string of bounded length that names something.
    pub(crate) fn name(&self, field: &str) -> Checked<String> {
        let text = self.text(field)?;
        self.check_length(field, &text)?;
        Ok(text.into_owned())
    }

    fn check_length(&self, field: &str, text: &str) -> Checked<()> {
        let max = self.config.name_length_max;
        if max != 0 && text.len() > max && utf16_len(text) > max {
            return Err(Refusal::validation(format!(
                "Missing or invalid \"{field}\": expected at most {max} characters"
            )));
        }
        Ok(())
    }

    /// A definition to register: later requests name it by this member, so that is bounded like other names.
    fn definition(&self, field: &str, named_by: &str) -> Checked<Object> {
        let definition = self.object(field)?;
        if let Some(name) = definition.get(named_by).and_then(Value::as_str) {
            self.check_length(named_by, name)?;
        }
        Ok(definition)
    }

    fn object(&self, field: &str) -> Checked<Object> {
        self.members
            .get(field)
            .and_then(Raw::to_object)
            .ok_or_else(|| Refusal::validation(format!("Missing or invalid \"{field}\": expected object")))
    }

    fn optional_object(&self, field: &str) -> Checked<Option<Object>> {
        match self.members.get(field).filter(|raw| !raw.is_null()) {
            None => Ok(None),
            Some(raw) => raw
                .to_object()
                .map(Some)
                .ok_or_else(|| Refusal::validation(format!("Invalid \"{field}\": expected object"))),
        }
    }

    fn positive_integer(&self, field: &str) -> Checked<usize> {
        self.members.get(field).and_then(Raw::as_number).and_then(positive_integer).ok_or_else(|| {
            Refusal::validation(format!("Missing or invalid \"{field}\": expected positive integer"))
        })
    }

    /// What a subscriber wants to be sent; absent = whole results.
    pub(crate) fn result_mode(&self) -> Checked<ResultMode> {
        let Some(raw) = self.members.get("mode") else { return Ok(ResultMode::Full) };
        match raw.to_value().as_str() {
            Some("full") => Ok(ResultMode::Full),
            Some("delta") => Ok(ResultMode::Delta),
            _ => Err(Refusal::validation("Invalid \"mode\": expected \"full\" or \"delta\"")),
        }
    }

    fn key(&self) -> Checked<Value> {
        present(self.members.get("key"))
            .ok_or_else(|| Refusal::validation("Missing \"key\": expected non-null value"))
    }

    fn bucket(&self) -> Checked<CompactString> {
        let text = self.text("bucket")?;
        self.check_length("bucket", &text)?;
        Ok(CompactString::from(text))
    }

    /// Any value; `null` counts as absent.
    pub(crate) fn any(&self, field: &str) -> Option<Value> {
        present(self.members.get(field))
    }
}

fn present(raw: Option<Raw<'_>>) -> Option<Value> {
    raw.filter(|raw| !raw.is_null()).map(Raw::to_value)
}

fn positive_integer(number: f64) -> Option<usize> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "integral and at least 1; what is beyond the address space saturates"
    )]
    let integral = |number: f64| number as usize;
    // For an infinity the remainder is NaN.
    (number >= 1.0 && number % 1.0 == 0.0).then(|| integral(number))
}

/// Builds the call of a store operation; `None` for the operations that the connection handles itself. `system` says
/// whether system buckets are shown in statistics, `permitted` which buckets are listed.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other operations are none of the store's")]
pub(crate) fn store_call(
    operation: Operation,
    fields: &Fields<'_, '_>,
    system: bool,
    permitted: impl FnOnce() -> Option<Vec<String>>,
) -> Option<Checked<StoreCall>> {
    use Operation as O;
    let aggregate = |function| {
        Ok(StoreCall::Aggregate {
            bucket: fields.bucket()?,
            function,
            field: fields.text("field")?.into_owned(),
            filter: fields.optional_object("filter")?,
        })
    };
    Some(match operation {
        O::StoreSum => aggregate(Aggregate::Sum),
        O::StoreAvg => aggregate(Aggregate::Avg),
        O::StoreMin => aggregate(Aggregate::Min),
        O::StoreMax => aggregate(Aggregate::Max),
        O::StoreBuckets => Ok(StoreCall::Buckets { permitted: permitted() }),
        O::StoreStats => Ok(StoreCall::Stats { system }),
        O::StoreListQueries => Ok(StoreCall::ListQueries),
        O::StorePurgeTtl => Ok(StoreCall::PurgeTtl),
        O::StoreTransaction => transaction(fields),
        _ => data_call(operation, fields).or_else(|| admin_call(operation, fields))?,
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "guarded by the list below")]
fn data_call(operation: Operation, fields: &Fields<'_, '_>) -> Option<Checked<StoreCall>> {
    use Operation as O;
    let build = || {
        let bucket = fields.bucket()?;
        Ok(match operation {
            O::StoreInsert => StoreCall::Insert { bucket, data: fields.object("data")? },
            O::StoreGet => StoreCall::Get { bucket, key: fields.key()? },
            O::StoreUpdate => StoreCall::Update { bucket, key: fields.key()?, data: fields.object("data")? },
            O::StoreDelete => StoreCall::Delete { bucket, key: fields.key()? },
            O::StoreWhere => StoreCall::Where { bucket, filter: fields.object("filter")? },
            O::StoreFindOne => StoreCall::FindOne { bucket, filter: fields.object("filter")? },
            O::StoreCount => StoreCall::Count { bucket, filter: fields.optional_object("filter")? },
            O::StoreFirst => StoreCall::First { bucket, n: fields.positive_integer("n")? },
            O::StoreLast => StoreCall::Last { bucket, n: fields.positive_integer("n")? },
            O::StorePaginate => StoreCall::Paginate {
                bucket,
                limit: fields.positive_integer("limit")?,
                // Absent and null differ here: null is a cursor that no record has.
                after: fields.members.get("after").map(Raw::to_value),
            },
            O::StoreClear => StoreCall::Clear { bucket },
            _ => StoreCall::All { bucket },
        })
    };
    matches!(
        operation,
        O::StoreInsert
            | O::StoreGet
            | O::StoreUpdate
            | O::StoreDelete
            | O::StoreAll
            | O::StoreWhere
            | O::StoreFindOne
            | O::StoreCount
            | O::StoreFirst
            | O::StoreLast
            | O::StorePaginate
            | O::StoreClear
    )
    .then(build)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "guarded by the list below")]
fn admin_call(operation: Operation, fields: &Fields<'_, '_>) -> Option<Checked<StoreCall>> {
    use Operation as O;
    let build = || {
        let name = fields.name("name")?;
        Ok(match operation {
            O::StoreDefineBucket => StoreCall::DefineBucket { name, config: fields.object("config")? },
            O::StoreDropBucket => StoreCall::DropBucket { name },
            O::StoreUpdateBucket => StoreCall::UpdateBucket { name, updates: fields.object("updates")? },
            O::StoreDefineQuery => StoreCall::DefineQuery { name, config: fields.object("config")? },
            O::StoreUndefineQuery => StoreCall::UndefineQuery { name },
            _ => StoreCall::GetBucketSchema { name },
        })
    };
    matches!(
        operation,
        O::StoreDefineBucket
            | O::StoreDropBucket
            | O::StoreUpdateBucket
            | O::StoreGetBucketSchema
            | O::StoreDefineQuery
            | O::StoreUndefineQuery
    )
    .then(build)
}

fn transaction(fields: &Fields<'_, '_>) -> Checked<StoreCall> {
    let items = fields
        .members
        .get("operations")
        .and_then(scan_array)
        .ok_or_else(|| Refusal::validation("Missing or invalid \"operations\": expected array"))?;
    if items.is_empty() {
        return Err(Refusal::validation("\"operations\" must contain at least one operation"));
    }
    let max = fields.config.transaction_operations_max;
    if max != 0 && items.len() > max {
        return Err(Refusal::validation(format!("\"operations\" must contain at most {max} operations")));
    }
    let operations = items
        .into_iter()
        .enumerate()
        .map(|(i, raw)| inner_operation(i, raw, fields.config))
        .collect::<Checked<_>>()?;
    Ok(StoreCall::Transaction { operations })
}

fn inner_operation(index: usize, raw: Raw<'_>, config: &Config) -> Checked<StoreOperation> {
    let fail = |what: &str| Refusal::validation(format!("operations[{index}]: {what}"));
    let members = Members::of(raw).ok_or_else(|| fail("expected object"))?;
    let op = members.text("op").unwrap_or_default();
    if !matches!(&*op, "get" | "insert" | "update" | "delete" | "where" | "findOne" | "count") {
        return Err(fail(
            "invalid \"op\" \u{2014} expected one of: get, insert, update, delete, where, findOne, count",
        ));
    }
    let bucket = members
        .text("bucket")
        .filter(|name| !name.is_empty())
        .map(CompactString::from)
        .ok_or_else(|| fail("missing or invalid \"bucket\""))?;
    let max = config.name_length_max;
    if max != 0 && bucket.len() > max && utf16_len(&bucket) > max {
        return Err(fail(&format!("missing or invalid \"bucket\": expected at most {max} characters")));
    }
    let key = || present(members.get("key")).ok_or_else(|| fail(&format!("\"{op}\" requires \"key\"")));
    let object = |field: &str| {
        members
            .get(field)
            .and_then(Raw::to_object)
            .ok_or_else(|| fail(&format!("\"{op}\" requires \"{field}\" object")))
    };
    Ok(match &*op {
        "get" => StoreOperation::Get { bucket, key: key()? },
        "insert" => StoreOperation::Insert { bucket, data: object("data")? },
        "update" => StoreOperation::Update { bucket, key: key()?, data: object("data")? },
        "delete" => StoreOperation::Delete { bucket, key: key()? },
        "where" => StoreOperation::Where { bucket, filter: object("filter")? },
        "findOne" => StoreOperation::FindOne { bucket, filter: object("filter")? },
        _ => {
            let filter = members.get("filter").filter(|raw| !raw.is_null()).map(|_| object("filter"));
            StoreOperation::Count { bucket, filter: filter.transpose()? }
        }
    })
}

/// Builds the call of a rules operation; `None` for those that the connection handles itself.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other operations are none of the rule engine's")]
pub(crate) fn rules_call(operation: Operation, fields: &Fields<'_, '_>) -> Option<Checked<RulesCall>> {
    use Operation as O;
    let rule = || fields.object("rule");
    let rule_id = || fields.name("ruleId");
    Some(match operation {
        O::RulesEmit => emit(fields),
        O::RulesSetFact => fields.name("key").and_then(|key| {
            let value = fields.members.get("value").map(Raw::to_value);
            let value = value.ok_or_else(|| Refusal::validation("Missing \"value\": expected a value"))?;
            Ok(RulesCall::SetFact { key, value })
        }),
        O::RulesGetFact => fields.name("key").map(|key| RulesCall::GetFact { key }),
        O::RulesDeleteFact => fields.name("key").map(|key| RulesCall::DeleteFact { key }),
        O::RulesQueryFacts => fields.name("pattern").map(|pattern| RulesCall::QueryFacts { pattern }),
        O::RulesGetAllFacts => Ok(RulesCall::GetAllFacts),
        O::RulesStats => Ok(RulesCall::Stats),
        O::RulesRegisterRule => fields.definition("rule", "id").map(|rule| RulesCall::RegisterRule { rule }),
        O::RulesValidateRule => rule().map(|rule| RulesCall::ValidateRule { rule }),
        O::RulesUnregisterRule => rule_id().map(|rule_id| RulesCall::UnregisterRule { rule_id }),
        O::RulesUpdateRule => rule_id()
            .and_then(|rule_id| Ok(RulesCall::UpdateRule { rule_id, updates: fields.object("updates")? })),
        O::RulesEnableRule => rule_id().map(|rule_id| RulesCall::EnableRule { rule_id }),
        O::RulesDisableRule => rule_id().map(|rule_id| RulesCall::DisableRule { rule_id }),
        O::RulesGetRule => rule_id().map(|rule_id| RulesCall::GetRule { rule_id }),
        O::RulesGetRules => Ok(RulesCall::GetRules),
        _ => return None,
    })
}

/// Builds the call of a procedures operation.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other operations are none of the procedures'")]
pub(crate) fn procedures_call(
    operation: Operation,
    fields: &Fields<'_, '_>,
) -> Option<Checked<ProceduresCall>> {
    use Operation as O;
    let name = || fields.name("name");
    Some(match operation {
        O::ProceduresRegister => {
            fields.definition("procedure", "name").map(|procedure| ProceduresCall::Register { procedure })
        }
        O::ProceduresUnregister => name().map(|name| ProceduresCall::Unregister { name }),
        O::ProceduresUpdate => {
            name().and_then(|name| Ok(ProceduresCall::Update { name, updates: fields.object("updates")? }))
        }
        O::ProceduresGet => name().map(|name| ProceduresCall::Get { name }),
        O::ProceduresList => Ok(ProceduresCall::List),
        O::ProceduresCall => name().map(|name| ProceduresCall::Call { name, input: fields.any("input") }),
        _ => return None,
    })
}

fn emit(fields: &Fields<'_, '_>) -> Checked<RulesCall> {
    let topic = fields.name("topic")?;
    let data = fields.optional_object("data")?.unwrap_or_default();
    let correlation_id =
        match fields.members.get("correlationId").filter(|raw| !raw.is_null()) {
            None => None,
            Some(raw) => Some(raw.as_str().filter(|text| !text.is_empty()).ok_or_else(|| {
                Refusal::validation("Invalid \"correlationId\": expected non-empty string")
            })?),
        };
    // A causation without a correlation, or one that is no text, is ignored.
    let causation_id = correlation_id.as_ref().and_then(|_| fields.members.text("causationId"));
    Ok(RulesCall::Emit {
        topic,
        data,
        correlation_id: correlation_id.map(Cow::into_owned),
        causation_id: causation_id.map(Cow::into_owned),
    })
}
