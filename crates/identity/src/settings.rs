//! How the identity management is set up.

use crate::token::TokenHash;

/// What a password hash costs to compute (argon2id, RFC 9106).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PasswordCost {
    /// Memory in KiB, at least 8 per lane.
    pub memory_kib: u32,
    /// Passes over the memory, at least 1.
    pub passes: u32,
    /// Lanes, at least 1; they are computed one after the other.
    pub lanes: u32,
}

impl Default for PasswordCost {
    /// 19 MiB, two passes, one lane: what OWASP recommends for servers (Password Storage Cheat Sheet, argon2id).
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 }
    }
}

/// Settings of the identity management; times in ms.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Hash of the administrator's secret, by which the virtual superadmin logs in.
    pub admin_secret: SecretHash,
    /// How long a session lasts.
    pub session_ttl_ms: u64,
    /// Shortest password, in UTF-16 code units.
    pub password_min_length: usize,
    /// Stored sessions of a user; older ones give way unless an open connection uses them.
    pub max_sessions_per_user: usize,
    /// Failed logins of one user from one address until further ones are refused.
    pub max_login_attempts: u32,
    /// For how long failed logins count, from the first on.
    pub login_window_ms: u64,
    /// Records of each kind (users, roles, assignments, access entries, sessions).
    pub max_records: usize,
    /// Cost of new password hashes.
    pub password_cost: PasswordCost,
}

impl Settings {
    /// The documented defaults.
    #[must_use]
    pub fn new(admin_secret: &str) -> Self {
        Self {
            admin_secret: SecretHash(TokenHash::of(admin_secret)),
            session_ttl_ms: 86_400_000,
            password_min_length: 8,
            max_sessions_per_user: 10,
            max_login_attempts: 5,
            login_window_ms: 900_000,
            max_records: 1_000_000,
            password_cost: PasswordCost::default(),
        }
    }
}

/// Hash of the administrator's secret.
#[derive(Clone, Copy, Debug)]
pub struct SecretHash(TokenHash);

impl SecretHash {
    /// Compares a secret in a time that does not depend on it.
    pub(crate) fn admits(&self, secret: &str) -> bool {
        self.0.same(&TokenHash::of(secret))
    }
}
