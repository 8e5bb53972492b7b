//! Who may connect: the validated form of the `auth` key.
//!
//! Invariant: clear tokens exist only while the file is read; here they are SHA-256 hashes.
//! Source: the configuration description, "auth"; the authentication description, "Permission rules".

use std::fmt;

use crate::secret::Secret;

/// How clients authenticate.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum AuthConfig {
    /// No authentication: every client may do everything.
    #[default]
    None,
    /// A fixed list of tokens.
    Token(TokenAuth),
    /// Users, roles and sessions kept in the store.
    BuiltIn(BuiltInAuth),
}

/// Token mode.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenAuth {
    /// Known tokens in file order, hashes unique.
    pub tokens: Vec<TokenEntry>,
    /// Whether a client must log in before other operations (true).
    pub required: bool,
    /// Permission rules; `None` = all operations the tier check admits.
    pub permissions: Option<Permissions>,
    /// Roles of clients that have not logged in; only with `required` false. `None` = unrestricted.
    pub anonymous_roles: Option<Vec<String>>,
    /// Whether a session without a built-in role fails the tier check (false).
    pub strict_tiers: bool,
}

impl Default for TokenAuth {
    fn default() -> Self {
        Self {
            tokens: Vec::new(),
            required: true,
            permissions: None,
            anonymous_roles: None,
            strict_tiers: false,
        }
    }
}

/// One token and the session it opens.
#[derive(Clone, PartialEq)]
pub struct TokenEntry {
    /// SHA-256 of the token's UTF-8 bytes.
    pub token_sha256: [u8; 32],
    /// User of the session, not empty.
    pub user_id: String,
    /// Roles of the session, none empty.
    pub roles: Vec<String>,
    /// Metadata object as JSON text; never sent to clients.
    pub metadata: Option<String>,
    /// End of the session; `None` = never.
    pub expiry: Option<Expiry>,
}

impl fmt::Debug for TokenEntry {
    /// Leaves out the hash: a weak token could be guessed from it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEntry")
            .field("user_id", &self.user_id)
            .field("roles", &self.roles)
            .field("expiry", &self.expiry)
            .finish_non_exhaustive()
    }
}

/// End of a token's session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expiry {
    /// Milliseconds since the Unix epoch, at least 1.
    AtMs(u64),
    /// Milliseconds after each successful login, at least 1.
    InMs(u64),
}

/// Permission rules of token mode.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Permissions {
    /// Decision when no rule allows the operation (true = allow).
    pub default_allow: bool,
    /// Rules in file order; each can only allow.
    pub rules: Vec<PermissionRule>,
}

/// One permission rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PermissionRule {
    /// Role it applies to, not empty.
    pub role: String,
    /// Operation patterns, at least one, none empty.
    pub allow: Vec<String>,
    /// Exact resources to which `store.*` operations are limited.
    pub buckets: Option<Vec<String>>,
    /// Patterns of resources to which `rules.*` operations are limited.
    pub topics: Option<Vec<String>>,
}

/// Built-in identity.
#[derive(Clone, Debug, PartialEq)]
pub struct BuiltInAuth {
    /// Secret of the superadmin login, not empty.
    pub admin_secret: Secret,
    /// Life of a session in milliseconds (86 400 000).
    pub session_ttl_ms: u64,
    /// Least number of characters of a password (8).
    pub password_min_length: u32,
    /// Stored sessions per user (10).
    pub max_sessions_per_user: u64,
    /// Failed logins before the lockout.
    pub login_rate_limit: LoginRateLimit,
}

impl Default for BuiltInAuth {
    /// The documented defaults with an empty secret, which has no default.
    fn default() -> Self {
        Self {
            admin_secret: Secret::default(),
            session_ttl_ms: 86_400_000,
            password_min_length: 8,
            max_sessions_per_user: 10,
            login_rate_limit: LoginRateLimit::default(),
        }
    }
}

/// Failed logins that are tolerated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LoginRateLimit {
    /// Failures per key and window (5).
    pub max_attempts: u64,
    /// Window in milliseconds (900 000).
    pub window_ms: u64,
}

impl Default for LoginRateLimit {
    fn default() -> Self {
        Self { max_attempts: 5, window_ms: 900_000 }
    }
}
