//! Password hashes: argon2id, and scrypt as the Node.js server stores it.
//!
//! New hashes are argon2id (RFC 9106) with the cost of the settings, as PHC string
//! `$argon2id$v=19$m=<KiB>,t=<passes>,p=<lanes>$<salt>$<key>` (base64 without padding, 16 bytes of salt, 32 of key).
//! The older form is `$scrypt$<N>$<r>$<p>$<salt>$<key>` (base64 with padding, 64 bytes of key). Computing a hash takes
//! tens of milliseconds and megabytes, so it is a [`PasswordJob`] that the host runs elsewhere.

use crate::settings::PasswordCost;
use argon2::{Algorithm, Argon2, Params, Version};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use std::{fmt, hint::black_box};
use subtle::ConstantTimeEq;

/// Random bytes of a new hash.
pub(crate) type Salt = [u8; 16];

/// Length of new keys, in bytes.
const KEY_LEN: usize = 32;

/// Most memory that a stored hash may ask for, in KiB: 1 GiB.
const MEMORY_MAX_KIB: u64 = 1 << 20;

/// A computation on passwords; pure, and slow on purpose.
pub struct PasswordJob {
    pub(crate) task: Task,
    pub(crate) cost: PasswordCost,
}

pub(crate) enum Task {
    Hash {
        password: String,
        salt: Salt,
    },
    /// Verify a password, and hash it anew if it is right and stored in another form.
    Verify {
        password: String,
        /// `None` = there is no such user: as much work for nothing.
        stored: Option<String>,
        salt: Salt,
    },
    /// Verify one password, and hash another if it is right.
    Change {
        current: String,
        stored: String,
        new: String,
        salt: Salt,
    },
}

impl fmt::Debug for PasswordJob {
    /// Shows no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordJob").finish_non_exhaustive()
    }
}

/// What a [`PasswordJob`] found; hand it to [`Identity::resume`](crate::Identity::resume).
pub struct PasswordResult {
    /// Whether the password is right; true if none was to be verified.
    pub(crate) matched: bool,
    /// The new hash, if there is one to be stored.
    pub(crate) hash: Option<String>,
}

impl fmt::Debug for PasswordResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordResult").field("matched", &self.matched).finish_non_exhaustive()
    }
}

impl PasswordJob {
    /// Does the work.
    #[must_use]
    pub fn run(self) -> PasswordResult {
        let Self { task, cost } = self;
        match task {
            Task::Hash { password, salt } => {
                PasswordResult { matched: true, hash: hash(&password, salt, cost) }
            }
            Task::Verify { password, stored: None, salt } => {
                black_box(hash(&password, salt, cost));
                PasswordResult { matched: false, hash: None }
            }
            Task::Verify { password, stored: Some(stored), salt } => {
                let matched = verify(&password, &stored);
                let outdated = matched && !is_current(&stored, cost);
                PasswordResult { matched, hash: outdated.then(|| hash(&password, salt, cost)).flatten() }
            }
            Task::Change { current, stored, new, salt } => {
                let matched = verify(&current, &stored);
                PasswordResult { matched, hash: matched.then(|| hash(&new, salt, cost)).flatten() }
            }
        }
    }
}

/// Hashes a password; `None` if the cost is out of the algorithm's range.
pub(crate) fn hash(password: &str, salt: Salt, cost: PasswordCost) -> Option<String> {
    let mut key = [0; KEY_LEN];
    argon2id(password, &salt, cost, &mut key)?;
    let PasswordCost { memory_kib, passes, lanes } = cost;
    let (salt, key) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(key));
    Some(format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${key}"))
}

/// Verifies a password against a stored hash of either form; anything else verifies nothing.
fn verify(password: &str, stored: &str) -> bool {
    match Stored::parse(stored) {
        Some(Stored::Argon2id { cost, salt, key }) => {
            let mut computed = vec![0; key.len()];
            argon2id(password, &salt, cost, &mut computed).is_some() && equal(&computed, &key)
        }
        Some(Stored::Scrypt { params, salt, key }) => {
            let mut computed = vec![0; key.len()];
            scrypt::scrypt(password.as_bytes(), &salt, &params, &mut computed).is_ok()
                && equal(&computed, &key)
        }
        None => false,
    }
}

fn is_current(stored: &str, current: PasswordCost) -> bool {
    matches!(Stored::parse(stored), Some(Stored::Argon2id { cost, key, .. }) if cost == current && key.len() == KEY_LEN)
}

fn argon2id(password: &str, salt: &[u8], cost: PasswordCost, key: &mut [u8]) -> Option<()> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(key.len())).ok()?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt, key)
        .ok()
}

fn equal(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

/// A stored hash, its parameters being within what a server may be made to compute.
enum Stored {
    Argon2id { cost: PasswordCost, salt: Vec<u8>, key: Vec<u8> },
    Scrypt { params: scrypt::Params, salt: Vec<u8>, key: Vec<u8> },
}

impl Stored {
    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('$').collect();
        match parts.as_slice() {
            ["", "argon2id", "v=19", costs, salt, key] => {
                let mut costs = costs.split(',');
                let cost = PasswordCost {
                    memory_kib: number(costs.next()?.strip_prefix("m=")?)?,
                    passes: number(costs.next()?.strip_prefix("t=")?)?,
                    lanes: number(costs.next()?.strip_prefix("p=")?)?,
                };
                let bounded =
                    u64::from(cost.memory_kib) <= MEMORY_MAX_KIB && cost.passes <= 64 && cost.lanes <= 64;
                let (salt, key) = (STANDARD_NO_PAD.decode(salt).ok()?, STANDARD_NO_PAD.decode(key).ok()?);
                let sized = (8..=64).contains(&salt.len()) && (16..=64).contains(&key.len());
                (bounded && sized && costs.next().is_none()).then_some(Self::Argon2id { cost, salt, key })
            }
            ["", "scrypt", n, r, p, salt, key] => {
                let (n, r, p) = (number(n)?, number(r)?, number(p)?);
                let blocks = u64::from(r).checked_mul(p.into())?;
                let memory_kib = u64::from(n).checked_mul(r.into())? / 8; // N blocks of 128 * r bytes
                let bounded = n.is_power_of_two()
                    && (2..=1 << 20).contains(&n)
                    && (1..=64).contains(&blocks)
                    && memory_kib <= MEMORY_MAX_KIB;
                let (salt, key) = (STANDARD.decode(salt).ok()?, STANDARD.decode(key).ok()?);
                if !bounded || !(1..=64).contains(&salt.len()) || key.len() != 64 {
                    return None;
                }
                let params = scrypt::Params::new(u8::try_from(n.ilog2()).ok()?, r, p).ok()?;
                Some(Self::Scrypt { params, salt, key })
            }
            _ => None,
        }
    }
}

/// A decimal number without sign or leading zero.
fn number(text: &str) -> Option<u32> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    if canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: PasswordCost = PasswordCost { memory_kib: 8, passes: 1, lanes: 1 };

    fn job(task: Task) -> PasswordResult {
        PasswordJob { task, cost: CHEAP }.run()
    }

    fn check(password: &str, stored: &str) -> PasswordResult {
        job(Task::Verify { password: password.into(), stored: Some(stored.into()), salt: [2; 16] })
    }

    #[test]
    fn a_hash_verifies_its_password_only() {
        let stored = job(Task::Hash { password: "p\u{e4}ss".into(), salt: [1; 16] }).hash.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=8,t=1,p=1$AQEBAQEBAQEBAQEBAQEBAQ$"), "{stored}");
        let right = check("p\u{e4}ss", &stored);
        assert!(right.matched && right.hash.is_none());
        assert!(!check("pass", &stored).matched && !check("", &stored).matched);
    }

    #[test]
    fn argon2id_is_the_standard_one() {
        // Reference implementation: argon2 -id -t 2 -m 16 -p 1 with "password" and "somesalt".
        let stored = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(verify("password", stored));
        assert!(!verify("Password", stored));
    }

    /// Made with Node.js 20: `crypto.scryptSync("ann-password", salt, 64, { N: 16384, r: 8, p: 1 })`.
    const NODE: &str = include_str!("password/node_hash.txt");

    #[test]
    fn hashes_of_the_node_server_are_verified_and_upgraded() {
        let result = check("ann-password", NODE.trim());
        assert!(result.matched);
        let upgraded = result.hash.unwrap();
        assert!(upgraded.starts_with("$argon2id$"));
        let again = check("ann-password", &upgraded);
        assert!(again.matched && again.hash.is_none());
        let wrong = check("ann-passwore", NODE.trim());
        assert!(!wrong.matched && wrong.hash.is_none());
    }

    #[test]
    fn other_costs_are_upgraded() {
        let cost = PasswordCost { memory_kib: 16, ..CHEAP };
        let stored = hash("x", [3; 16], cost).unwrap();
        assert!(check("x", &stored).hash.unwrap().contains("m=8,"));
    }

    #[test]
    fn other_layouts_and_excessive_parameters_verify_nothing() {
        let (salt, key) = ("AAAAAAAAAAAAAAAAAAAAAA==", STANDARD.encode([0; 64]));
        let scrypt = |parameters: &str| format!("$scrypt${parameters}${salt}${key}");
        assert!(Stored::parse(&scrypt("16384$8$1")).is_some());
        assert!(Stored::parse(&scrypt("1048576$8$8")).is_some());
        for parameters in [
            "2097152$1$1",
            "16384$65$1",
            "16384$8$9",
            "1048576$16$1",
            "16383$8$1",
            "1$8$1",
            "0$8$1",
            "16384$0$1",
            "16384$8$0",
            "016384$8$1",
            "+16384$8$1",
            "16384$8",
            "16384$8$1$1",
            "4294967296$8$1",
            "16384$4294967295$4294967295",
        ] {
            assert!(Stored::parse(&scrypt(parameters)).is_none(), "{parameters}");
        }
        let argon2 = |costs: &str| {
            format!("$argon2id$v=19${costs}$AQEBAQEBAQEBAQEBAQEBAQ${}", STANDARD_NO_PAD.encode([0; 32]))
        };
        assert!(Stored::parse(&argon2("m=8,t=1,p=1")).is_some());
        for costs in
            ["m=1048577,t=1,p=1", "m=8,t=65,p=1", "m=8,t=1,p=65", "m=8,t=1", "m=8,t=1,p=1,x=1", "t=1,m=8,p=1"]
        {
            assert!(Stored::parse(&argon2(costs)).is_none(), "{costs}");
        }
        for text in ["", "x", "$", "$scrypt$16384$8$1$AA==$AA==", "$bcrypt$1$2$3$4$5", "plain"] {
            assert!(!verify("x", text), "{text}");
        }
        // In range for parsing, out of range for the algorithm.
        assert!(!verify("x", &argon2("m=8,t=1,p=64")));
        assert!(hash("x", [0; 16], PasswordCost { memory_kib: 0, ..CHEAP }).is_none());
    }

    #[test]
    fn an_unknown_user_costs_a_computation_and_matches_nothing() {
        let result = job(Task::Verify { password: "x".into(), stored: None, salt: [0; 16] });
        assert!(!result.matched && result.hash.is_none());
    }

    #[test]
    fn a_change_needs_the_current_password() {
        let stored = hash("old", [1; 16], CHEAP).unwrap();
        let change = |current: &str| {
            job(Task::Change {
                current: current.into(),
                stored: stored.clone(),
                new: "new".into(),
                salt: [4; 16],
            })
        };
        let right = change("old");
        assert!(right.matched && check("new", &right.hash.unwrap()).matched);
        let wrong = change("new");
        assert!(!wrong.matched && wrong.hash.is_none());
    }

    #[test]
    fn nothing_secret_is_shown() {
        let job = PasswordJob { task: Task::Hash { password: "hidden".into(), salt: [0; 16] }, cost: CHEAP };
        assert!(
            !format!("{job:?} {:?}", PasswordResult { matched: true, hash: Some("hidden".into()) })
                .contains("hidden")
        );
    }
}
