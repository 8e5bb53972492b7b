//! Errors of the engines as answers on the wire.

use noex_core::{Code, Refusal};
use noex_json::Value;
use noex_procedures::{CallError, DefinitionError};
use noex_store::StoreError;

/// Where an operation of the store was run; older servers knew fewer codes in some places.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Request,
    Transaction,
    Procedure,
}

/// Gives the answer for an error of the store. With `compat`, codes that older servers got wrong are restored.
pub(crate) fn of_store_error(error: &StoreError, compat: bool, place: Place) -> Refusal {
    let code = match error {
        StoreError::Validation { .. }
        | StoreError::InvalidFilter(_)
        | StoreError::LimitReached { .. }
        | StoreError::DataDoesNotFit { .. } => Code::ValidationError,
        StoreError::InvalidDefinition(_) if compat => Code::InternalError,
        StoreError::InvalidDefinition(_) | StoreError::InvalidQuery { .. } => Code::ValidationError,
        StoreError::Unique { .. } | StoreError::DuplicateKey { .. } | StoreError::Conflict { .. }
            if compat && place == Place::Procedure =>
        {
            Code::InternalError
        }
        StoreError::Unique { .. }
        | StoreError::DuplicateKey { .. }
        | StoreError::DuplicateInBatch { .. }
        | StoreError::BucketExists { .. }
        | StoreError::QueryExists { .. } => Code::AlreadyExists,
        StoreError::RecordNotFound { .. } if compat => Code::InternalError,
        StoreError::RecordNotFound { .. } => Code::NotFound,
        StoreError::BucketNotDefined { .. } if compat && place != Place::Request => Code::InternalError,
        StoreError::BucketNotDefined { .. } | StoreError::BucketDoesNotExist { .. } => Code::BucketNotDefined,
        StoreError::QueryNotDefined { .. } => Code::QueryNotDefined,
        StoreError::Conflict { .. } | StoreError::ReferenceRestricted { .. } => Code::Conflict,
        StoreError::ReferenceMissing { .. } => Code::ValidationError,
        _ => return Refusal::internal(),
    };
    with_details(Refusal::new(code, error.to_string()), error.details())
}

/// Gives the answer for an error of the administration of procedures.
pub(crate) fn of_definition_error(error: &DefinitionError) -> Refusal {
    let code = match error {
        DefinitionError::Invalid(_) | DefinitionError::LimitReached(_) => Code::ValidationError,
        DefinitionError::SystemBucket(_) => Code::Forbidden,
        DefinitionError::AlreadyExists(_) => Code::AlreadyExists,
        DefinitionError::NotFound(_) => Code::NotFound,
        _ => return Refusal::internal(),
    };
    with_details(Refusal::new(code, error.to_string()), error.details())
}

/// Gives the answer for an error of a call; what an engine refused is an answer already.
pub(crate) fn of_call_error(error: CallError<Refusal>) -> Refusal {
    let (text, details) = (error.text(), error.details());
    match error {
        CallError::Engine(refusal) => refusal,
        CallError::InputNotObject | CallError::Input(_) | CallError::Step(_) => {
            with_details(Refusal::validation(text.unwrap_or_default()), details)
        }
        CallError::TimedOut { .. } => Refusal::new(Code::InternalError, text.unwrap_or_default()),
        _ => Refusal::internal(),
    }
}

fn with_details(refusal: Refusal, details: Option<Value>) -> Refusal {
    match details {
        Some(details) => refusal.with_details(details.to_json()),
        None => refusal,
    }
}
