//! Scenario `idle`: resident memory of the server per connection that does nothing.

use std::time::Duration;

use noex_bench::clock::{Clock, nanos, until};
use noex_bench::error::LoadError;
use noex_bench::flags::{Flags, SECONDS_MAX};
use noex_bench::process;
use noex_bench::swarm::{Bystander, Swarm};
use serde_json::{Value, json};

use crate::setup::{self, Endpoint};

const FLAGS: &[&str] = &["url=", "connections=", "pid=", "seconds=", "subscribe", "bare", "zero-mask"];
const BUCKET: &str = "load_idle";
/// Time for the server to finish set-up work before the first reading.
const SETTLE: Duration = Duration::from_millis(500);

/// Runs the scenario. `--bare` expects no welcome, for the floor server.
pub(crate) fn run(parser: &mut lexopt::Parser) -> Result<(), LoadError> {
    let flags = Flags::parse(parser, FLAGS)?;
    let endpoint = Endpoint::from_flags(&flags)?;
    let connections = flags.count("connections", 1_000, 20_000)?;
    let seconds = flags.seconds("seconds", 2.0, SECONDS_MAX)?;
    let pid = flags.pid()?.ok_or_else(|| LoadError::Usage("--pid is required".to_owned()))?;
    let (subscribe, bare) = (flags.switch("subscribe"), flags.switch("bare"));
    if subscribe && bare {
        return Err(LoadError::Usage("--subscribe and --bare exclude each other".to_owned()));
    }
    process::reserve_descriptors(connections)?;

    let clock = Clock::start();
    let mut swarm = Swarm::new(clock, endpoint.mask)?;
    if subscribe {
        let mut admin = endpoint.client()?;
        setup::define_bucket(&mut admin, BUCKET, "n")?;
        setup::define_query(&mut admin, BUCKET, &json!({"bucket": BUCKET}))?;
        swarm.adopt(admin)?;
    }
    wait(&mut swarm, clock, SETTLE)?;
    let before = process::resident_kib(pid)?;
    for _ in 0..connections {
        let client = if bare {
            noex_bench::client::Client::connect_bare(&endpoint.target, endpoint.mask)?
        } else {
            let mut client = endpoint.client()?;
            if subscribe {
                setup::subscribe(&mut client, BUCKET, &Value::Null)?;
            }
            client
        };
        swarm.adopt(client)?;
    }
    let opened = process::resident_kib(pid)?;
    wait(&mut swarm, clock, seconds)?;
    let after = process::resident_kib(pid)?;
    println!(
        "idle: connections={connections} subscribed={subscribe} before_kib={before} opened_kib={opened} after_kib={after} \
         kib_per_connection={:.2}",
        (after as f64 - before as f64) / connections as f64
    );
    Ok(())
}

/// Keeps the connections alive for `time`; heartbeats are answered.
fn wait(swarm: &mut Swarm, clock: Clock, time: Duration) -> Result<(), LoadError> {
    let mut now = clock.now();
    let deadline = now + nanos(time);
    while now < deadline {
        now = swarm.turn(until(now, deadline), &mut Bystander)?;
    }
    Ok(())
}
