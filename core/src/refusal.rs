//! Answers that are errors.

use alloc::{borrow::Cow, format, string::String};

/// Wire codes of errors; part of the protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Code {
    /// Not JSON, or not an object.
    ParseError,
    /// `type`, `id` or a pong's `timestamp` is wrong.
    InvalidRequest,
    /// No such operation, or its feature is not configured.
    UnknownOperation,
    /// A parameter or a record is wrong.
    ValidationError,
    /// A record, subscription or rule is missing.
    NotFound,
    /// A key, unique value or name is in use.
    AlreadyExists,
    /// A transaction or deletion collides with stored data.
    Conflict,
    /// Not logged in, or not validly.
    Unauthorized,
    /// Logged in, but not allowed.
    Forbidden,
    /// Too many requests or subscriptions.
    RateLimited,
    /// The peer reads too slowly.
    Backpressure,
    /// Something unexpected; the cause is in the log.
    InternalError,
    /// The bucket does not exist.
    BucketNotDefined,
    /// The query does not exist.
    QueryNotDefined,
    /// There is no rule engine.
    RulesNotAvailable,
    /// The user's sessions have been revoked.
    SessionRevoked,
}

impl Code {
    /// The code as it is sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ParseError => "PARSE_ERROR",
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::UnknownOperation => "UNKNOWN_OPERATION",
            Self::ValidationError => "VALIDATION_ERROR",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::Conflict => "CONFLICT",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Forbidden => "FORBIDDEN",
            Self::RateLimited => "RATE_LIMITED",
            Self::Backpressure => "BACKPRESSURE",
            Self::InternalError => "INTERNAL_ERROR",
            Self::BucketNotDefined => "BUCKET_NOT_DEFINED",
            Self::QueryNotDefined => "QUERY_NOT_DEFINED",
            Self::RulesNotAvailable => "RULES_NOT_AVAILABLE",
            Self::SessionRevoked => "SESSION_REVOKED",
        }
    }
}

/// Why one request was refused; the connection lives on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// Kind, for programs.
    pub code: Code,
    /// Text, for people; clients may compare it.
    pub message: Cow<'static, str>,
    /// `details` as JSON text.
    pub details: Option<String>,
}

impl Refusal {
    /// Makes a refusal without details.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), details: None }
    }

    /// Makes a refusal of parameters.
    pub fn validation(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::ValidationError, message)
    }

    /// Adds details, which must be JSON text.
    #[must_use]
    pub fn with_details(mut self, json: String) -> Self {
        self.details = Some(json);
        self
    }

    /// The answer to every unexpected failure; the cause belongs into the log, not on the wire.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(Code::InternalError, "Internal server error")
    }

    pub(crate) fn rate_limited(retry_after_ms: u64) -> Self {
        Self::new(Code::RateLimited, format!("Rate limit exceeded. Retry after {retry_after_ms}ms"))
            .with_details(format!("{{\"retryAfterMs\":{retry_after_ms}}}"))
    }
}
