//! Errors of the store as answers on the wire.

use noex_core::{Code, Refusal};
use noex_store::StoreError;

/// Gives the answer for an error of the store. With `compat`, codes that older servers got wrong are restored.
pub(crate) fn of_store_error(error: &StoreError, compat: bool, in_transaction: bool) -> Refusal {
    let code = match error {
        StoreError::Validation { .. } | StoreError::InvalidFilter(_) | StoreError::LimitReached { .. } => {
            Code::ValidationError
        }
        StoreError::InvalidDefinition(_) if compat => Code::InternalError,
        StoreError::InvalidDefinition(_) | StoreError::InvalidQuery { .. } => Code::ValidationError,
        StoreError::Unique { .. }
        | StoreError::DuplicateKey { .. }
        | StoreError::DuplicateInBatch { .. }
        | StoreError::BucketExists { .. }
        | StoreError::QueryExists { .. } => Code::AlreadyExists,
        StoreError::RecordNotFound { .. } if compat => Code::InternalError,
        StoreError::RecordNotFound { .. } => Code::NotFound,
        StoreError::BucketNotDefined { .. } if compat && in_transaction => Code::InternalError,
        StoreError::BucketNotDefined { .. } | StoreError::BucketDoesNotExist { .. } => Code::BucketNotDefined,
        StoreError::QueryNotDefined { .. } => Code::QueryNotDefined,
        StoreError::Conflict { .. } | StoreError::ReferenceRestricted { .. } => Code::Conflict,
        StoreError::ReferenceMissing { .. } => Code::ValidationError,
        _ => return Refusal::internal(),
    };
    let refusal = Refusal::new(code, error.to_string());
    match error.details() {
        Some(details) => refusal.with_details(details.to_json()),
        None => refusal,
    }
}
