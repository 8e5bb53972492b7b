//! Open connections: who they are, how many there are in all and per address.

#[cfg(all(test, noex_loom))]
mod model;

use crate::{
    inbox::Inbox,
    sync::{
        AtomicWaker, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use noex_core::{Session, SessionKey};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

/// What the server knows of a connection.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) number: u64,
    pub(crate) address: String,
    pub(crate) connected_at_ms: u64,
    pub(crate) inbox: Inbox,
    session: Mutex<Option<Arc<Session>>>,
    store_subscriptions: AtomicUsize,
    rules_subscriptions: AtomicUsize,
}

/// A connection as shown to administrators and embedders.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectionInfo {
    /// `conn-<n>`, unique in the process.
    pub connection_id: String,
    /// The peer's address.
    pub remote_address: String,
    /// Time of acceptance in ms since the Unix epoch.
    pub connected_at_ms: u64,
    /// The session, if the connection is logged in.
    pub session: Option<Arc<Session>>,
    /// Watched queries.
    pub store_subscriptions: usize,
    /// Watched event patterns.
    pub rules_subscriptions: usize,
}

impl Entry {
    pub(crate) fn set_session(&self, session: Option<Arc<Session>>) {
        *self.session.lock() = session;
    }

    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.session.lock().clone()
    }

    /// Ends the session and has the connection closed as revoked. At once, so that nobody is revoked twice; the
    /// connection follows before its next message.
    pub(crate) fn revoke(&self) {
        self.set_session(None);
        self.inbox.revoke();
    }

    /// Ends a session that the connection shares with one that has logged out.
    pub(crate) fn end_session(&self, stored: SessionKey) {
        self.set_session(None);
        self.inbox.end_session(stored);
    }

    pub(crate) fn set_subscriptions(&self, (store, rules): (usize, usize)) {
        self.store_subscriptions.store(store, Ordering::Relaxed);
        self.rules_subscriptions.store(rules, Ordering::Relaxed);
    }

    pub(crate) fn info(&self) -> ConnectionInfo {
        ConnectionInfo {
            connection_id: self.to_string(),
            remote_address: self.address.clone(),
            connected_at_ms: self.connected_at_ms,
            session: self.session.lock().clone(),
            store_subscriptions: self.store_subscriptions.load(Ordering::Relaxed),
            rules_subscriptions: self.rules_subscriptions.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn-{}", self.number)
    }
}

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NotAdmitted {
    /// The address has its maximum.
    AddressFull,
}

#[derive(Debug, Default)]
struct Connections {
    by_number: BTreeMap<u64, Arc<Entry>>,
    per_address: HashMap<String, usize>,
    last_number: u64,
}

/// All open connections.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    connections: Mutex<Connections>,
    count: AtomicUsize,
    /// Places taken by connections and by handshakes that are about to become one.
    reserved: AtomicUsize,
    /// Woken when the last connection has gone.
    pub(crate) emptied: AtomicWaker,
}

impl Registry {
    /// Takes one of `max` places (0 = unlimited).
    pub(crate) fn reserve(&self, max: usize) -> bool {
        self.reserved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (max == 0 || taken < max).then_some(taken + 1)
            })
            .is_ok()
    }

    pub(crate) fn unreserve(&self) {
        self.reserved.fetch_sub(1, Ordering::Relaxed);
    }

    /// Adds a connection, unless its address has `per_address_max` already.
    pub(crate) fn admit(
        &self,
        address: &str,
        connected_at_ms: u64,
        per_address_max: Option<usize>,
    ) -> Result<Arc<Entry>, NotAdmitted> {
        let mut connections = self.connections.lock();
        let used = connections.per_address.get(address).copied().unwrap_or(0);
        if per_address_max.is_some_and(|max| used >= max) {
            return Err(NotAdmitted::AddressFull);
        }
        connections.per_address.insert(address.to_owned(), used + 1);
        connections.last_number += 1;
        let number = connections.last_number;
        let entry = Arc::new(Entry {
            number,
            address: address.to_owned(),
            connected_at_ms,
            inbox: Inbox::default(),
            session: Mutex::new(None),
            store_subscriptions: AtomicUsize::new(0),
            rules_subscriptions: AtomicUsize::new(0),
        });
        connections.by_number.insert(number, Arc::clone(&entry));
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(entry)
    }

    pub(crate) fn remove(&self, entry: &Entry) {
        {
            let mut connections = self.connections.lock();
            if connections.by_number.remove(&entry.number).is_none() {
                return;
            }
            if let Some(used) = connections.per_address.get_mut(&entry.address) {
                *used -= 1;
                if *used == 0 {
                    connections.per_address.remove(&entry.address);
                }
            }
        }
        if self.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.emptied.wake();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Lists connections in order of arrival.
    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        self.connections.lock().by_number.values().cloned().collect()
    }
}
