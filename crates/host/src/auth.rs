//! Who a credential belongs to, and the embedder's own permission check.

use futures::future::BoxFuture;
use noex_core::Session;
use sha2::{Digest, Sha256};
use std::{collections::HashMap, fmt, future::Future};

/// An authenticator failed, rather than refused; clients are told `Internal server error`.
#[derive(Debug)]
pub struct AuthFailure(pub String);

impl fmt::Display for AuthFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AuthFailure {}

/// The answer of an authenticator: at once, or later. `Ok(None)` = nobody is known by this credential.
pub enum Verdict {
    /// Known now.
    Ready(Result<Option<Session>, AuthFailure>),
    /// Known when the future ends. It is polled by the connection's task and dropped with it.
    Later(BoxFuture<'static, Result<Option<Session>, AuthFailure>>),
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready(_) => "Verdict::Ready(..)",
            Self::Later(_) => "Verdict::Later(..)",
        })
    }
}

/// Finds the session of a token. Called once per `auth.login`, never per request.
pub trait Authenticator: Send + Sync {
    /// Looks up a token; `unix_ms` is the present time.
    fn authenticate(&self, token: &str, unix_ms: u64) -> Verdict;
}

/// An authenticator made of an async closure.
pub struct FnAuthenticator<F>(pub F);

impl<F> fmt::Debug for FnAuthenticator<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FnAuthenticator(..)")
    }
}

impl<F, R> Authenticator for FnAuthenticator<F>
where
    F: Fn(String) -> R + Send + Sync,
    R: Future<Output = Option<Session>> + Send + 'static,
{
    fn authenticate(&self, token: &str, _unix_ms: u64) -> Verdict {
        let answer = (self.0)(token.to_owned());
        Verdict::Later(Box::pin(async move { Ok(answer.await) }))
    }
}

/// Decides requests in place of the declarative rules: `(session, operation, resource) -> allowed`.
pub trait PermissionCheck: Send + Sync {
    /// Tells whether the session may run the operation on the resource (`*` if it has none). Steps of a procedure ask
    /// while the store and the rule engine are locked: an answer that uses them would never come.
    fn permits(&self, session: &Session, operation: &str, resource: &str) -> bool;
}

impl<F> PermissionCheck for F
where
    F: Fn(&Session, &str, &str) -> bool + Send + Sync,
{
    fn permits(&self, session: &Session, operation: &str, resource: &str) -> bool {
        self(session, operation, resource)
    }
}

/// When the session of a static token ends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TokenExpiry {
    /// Never.
    #[default]
    Never,
    /// At a time in ms since the Unix epoch.
    AtMs(u64),
    /// This many ms after each login.
    InMs(u64),
}

/// A fixed table of tokens. Tokens are found by their SHA-256, so neither timing nor memory shows the stored ones.
#[derive(Debug, Default)]
pub struct StaticTokens {
    entries: HashMap<[u8; 32], (Session, TokenExpiry)>,
}

impl StaticTokens {
    /// Makes an empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a token.
    #[must_use]
    pub fn with_token(self, token: &str, session: Session, expiry: TokenExpiry) -> Self {
        self.with_hashed_token(Sha256::digest(token.as_bytes()).into(), session, expiry)
    }

    /// Adds a token of which only the SHA-256 is known.
    #[must_use]
    pub fn with_hashed_token(mut self, sha256: [u8; 32], session: Session, expiry: TokenExpiry) -> Self {
        self.entries.insert(sha256, (session, expiry));
        self
    }
}

impl Authenticator for StaticTokens {
    fn authenticate(&self, token: &str, unix_ms: u64) -> Verdict {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        Verdict::Ready(Ok(self.entries.get(&digest).map(|(session, expiry)| {
            let expires_at_ms = match expiry {
                TokenExpiry::Never => session.expires_at_ms,
                TokenExpiry::AtMs(at) => Some(*at),
                TokenExpiry::InMs(span) => Some(unix_ms.saturating_add(*span)),
            };
            Session { expires_at_ms, ..session.clone() }
        })))
    }
}
