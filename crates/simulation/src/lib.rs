//! The whole server in virtual time: the real hub, driver, deadlines and stop, under a seed.
//!
//! A seed chooses the configuration, the network's behaviour, the order in which tasks run, and what the clients do:
//! they log in and out, watch, write, flood, send nonsense, stop reading, vanish. Nothing else influences a run, so a
//! seed that fails fails again. What must hold whatever happens is checked at every message (see `client` and
//! `watch`), whenever the world is at rest, and after the stop (see `world`).

#![forbid(unsafe_code)]

mod behaviour;
mod charges;
mod client;
mod clock;
mod disk;
mod embedder;
mod executor;
mod frame;
mod history;
mod link;
mod plan;
mod random;
mod rights;
mod trace;
mod watch;
mod witness;
mod world;

pub use clock::{Clock, VirtualTimer};
pub use random::Random;

use rights::Realm;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};
use world::World;

/// What became of a seed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Virtual time that passed.
    pub simulated: Duration,
    /// Frames sent and received by clients.
    pub messages: u64,
    /// How often the world was at rest and its state was compared.
    pub rests: u64,
    /// How often the process died and came back.
    pub crashes: u64,
    /// How often the disk failed to keep a group.
    pub disk_failures: u64,
    /// Hash of everything that clients sent and received, and when.
    pub trace_hash: u64,
    /// The violated invariant and the last lines of the trace.
    pub failure: Option<Failure>,
}

/// A violated invariant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// What is wrong.
    pub violation: String,
    /// The last lines of the trace: time in µs, client, direction, text.
    pub trace: Vec<String>,
}

/// Simulates one server for `span` of busy virtual time, and its end.
#[must_use]
pub fn run(seed: u64, span: Duration) -> Outcome {
    let mut world = World::new(seed);
    let lived = catch_unwind(AssertUnwindSafe(|| world.live(span)))
        .unwrap_or_else(|_| Err("a panic outside of a connection".to_owned()));
    Outcome {
        seed,
        simulated: Duration::from_micros(world.clock.mono().as_micros()),
        messages: world.witness.trace.messages,
        rests: world.rests,
        crashes: world.crashes,
        disk_failures: world.disk_failures(),
        trace_hash: world.witness.trace.hash(),
        failure: lived.err().map(|violation| Failure { violation, trace: world.witness.trace.tail() }),
    }
}

/// Simulates one server with built-in identity, whose users' rights change, for `span` of virtual time.
#[must_use]
pub fn run_rights(seed: u64, span: Duration) -> Outcome {
    let mut realm = Realm::new(seed);
    let lived = catch_unwind(AssertUnwindSafe(|| realm.live(span)))
        .unwrap_or_else(|_| Err("a panic outside of a connection".to_owned()));
    Outcome {
        seed,
        simulated: Duration::from_micros(realm.clock.mono().as_micros()),
        messages: realm.trace.messages,
        rests: realm.rests,
        crashes: 0,
        disk_failures: 0,
        trace_hash: realm.trace.hash(),
        failure: lived.err().map(|violation| Failure { violation, trace: realm.trace.tail() }),
    }
}
