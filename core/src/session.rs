//! Who a connection speaks for.

use alloc::{string::String, vec::Vec};
use core::fmt;

/// Names the record that keeps a session beyond its connection: the SHA-256 of the token.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionKey(pub [u8; 32]);

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

/// An authenticated identity.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Session {
    /// Identifier of the user.
    pub user_id: String,
    /// Names of the user's roles.
    pub roles: Vec<String>,
    /// Data of the embedder as JSON text; never sent to clients.
    pub metadata: Option<String>,
    /// Last moment at which the session is valid, in ms since the Unix epoch; `None` = for ever.
    pub expires_at_ms: Option<u64>,
    /// The stored session that this one stands for; `None` = it lives with the connection only.
    pub stored: Option<SessionKey>,
}

impl Session {
    /// Tells whether the session has ended at `unix_ms`; its last moment is still valid.
    #[must_use]
    pub fn is_expired(&self, unix_ms: u64) -> bool {
        self.expires_at_ms.is_some_and(|at| at < unix_ms)
    }

    /// Tells whether the session has a role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own == role)
    }
}
