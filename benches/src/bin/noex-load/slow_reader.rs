//! Scenario `slow-reader`: a subscriber stops reading while its 100 kB result changes 100 times a second.
//!
//! The server must neither grow without bound nor make the writer wait, and once the subscriber reads again its last
//! push must show the final state.

use std::thread;
use std::time::Duration;

use noex_bench::client::Client;
use noex_bench::clock::{Clock, nanos, until};
use noex_bench::error::LoadError;
use noex_bench::flags::Flags;
use noex_bench::histogram::Histogram;
use noex_bench::process;
use serde_json::{Value, json};

use crate::report;
use crate::setup::{self, Endpoint};

const FLAGS: &[&str] = &["url=", "seconds=", "pid=", "growth-max-kib=", "zero-mask"];
const BUCKET: &str = "load_slow";
const RECORDS: u64 = 100;
const RECORD_BYTES: usize = 950;
const PERIOD: Duration = Duration::from_millis(10);
/// Below the default heartbeat interval and timeout together, so that the silent subscriber is not taken for dead.
const SECONDS_MAX: f64 = 35.0;
/// How long the final state may take once the subscriber reads again.
const CATCH_UP: Duration = Duration::from_secs(10);
/// Writes per memory reading.
const SAMPLE_EVERY: u64 = 10;

/// Runs the scenario.
pub(crate) fn run(parser: &mut lexopt::Parser) -> Result<(), LoadError> {
    let flags = Flags::parse(parser, FLAGS)?;
    let endpoint = Endpoint::from_flags(&flags)?;
    let seconds = flags.seconds("seconds", 10.0, SECONDS_MAX)?;
    let pid = flags.pid()?;
    let growth_max =
        flags.text("growth-max-kib").map(|_| flags.count("growth-max-kib", 1, 1 << 40)).transpose()?;

    let mut writer = endpoint.client()?;
    setup::drop_bucket(&mut writer, BUCKET)?;
    setup::define_bucket(&mut writer, BUCKET, "n")?;
    setup::define_query(&mut writer, BUCKET, &json!({"bucket": BUCKET}))?;
    let filler = setup::filler(RECORD_BYTES);
    setup::insert_all(
        &mut writer,
        BUCKET,
        RECORDS,
        |i| json!({"id": format!("r{i:05}"), "n": 0, "s": filler}),
    )?;
    let mut subscriber = endpoint.client()?;
    let initial = setup::subscribe(&mut subscriber, BUCKET, &Value::Null)?;
    println!("slow-reader: result_bytes={} writes_per_s=100", initial.to_string().len());

    let clock = Clock::start();
    let stalled = stall(&mut writer, clock, seconds, pid)?;
    let last = writer.call(&json!({"type": "store.all", "bucket": BUCKET}))?;
    let (pushes, took) = catch_up(&mut subscriber, clock, &last)?;
    println!(
        "while stalled: writes={} {} rss_before_kib={} rss_peak_kib={} growth_kib={}",
        stalled.writes,
        report::latency(&stalled.latency),
        stalled.before_kib,
        stalled.peak_kib,
        stalled.growth_kib()
    );
    println!("after resuming: pushes={pushes} final_state_after_ms={}", took.as_millis());
    match growth_max {
        Some(max) if stalled.growth_kib() > max as u64 => Err(LoadError::Check(format!(
            "the server grew by {} KiB, allowed are {max}",
            stalled.growth_kib()
        ))),
        _ => Ok(()),
    }
}

#[derive(Debug)]
struct Stalled {
    writes: u64,
    latency: Histogram,
    before_kib: u64,
    peak_kib: u64,
}

impl Stalled {
    const fn growth_kib(&self) -> u64 {
        self.peak_kib.saturating_sub(self.before_kib)
    }
}

/// Writes at a steady pace while nobody reads the subscriber's socket.
fn stall(writer: &mut Client, clock: Clock, time: Duration, pid: Option<u32>) -> Result<Stalled, LoadError> {
    let resident = || pid.map_or(Ok(0), process::resident_kib);
    let before_kib = resident()?;
    let mut stalled = Stalled { writes: 0, latency: Histogram::default(), before_kib, peak_kib: before_kib };
    let start = clock.now();
    let deadline = start + nanos(time);
    let mut due = start;
    while due < deadline {
        thread::sleep(until(clock.now(), due));
        let number = stalled.writes + 1;
        let key = format!("r{:05}", number % RECORDS);
        writer.call(&json!({"type": "store.update", "bucket": BUCKET, "key": key, "data": {"n": number}}))?;
        stalled.latency.record(clock.now().saturating_sub(due), 1);
        stalled.writes = number;
        if number.is_multiple_of(SAMPLE_EVERY) {
            stalled.peak_kib = stalled.peak_kib.max(resident()?);
        }
        due += nanos(PERIOD);
    }
    stalled.peak_kib = stalled.peak_kib.max(resident()?);
    Ok(stalled)
}

/// Reads pushes until one shows `last`; returns how many there were and the time they took.
fn catch_up(subscriber: &mut Client, clock: Clock, last: &Value) -> Result<(u64, Duration), LoadError> {
    let start = clock.now();
    let deadline = start + nanos(CATCH_UP);
    let (mut pushes, mut newest) = (0, 0);
    while clock.now() < deadline {
        let push = match subscriber.next_push() {
            // The read timed out.
            Err(LoadError::Io(..)) => break,
            other => other?,
        };
        pushes += 1;
        let data = push.get("data").unwrap_or(&Value::Null);
        let number = newest_number(data);
        if number < newest {
            return Err(LoadError::Check(format!("state {number} was pushed after state {newest}")));
        }
        newest = number;
        if data == last {
            return Ok((pushes, Duration::from_nanos(clock.now() - start)));
        }
    }
    Err(LoadError::Check(format!("the final state did not arrive: newest {newest} after {pushes} pushes")))
}

/// The largest number in a result: the write it shows.
fn newest_number(data: &Value) -> u64 {
    let records = data.as_array().map(Vec::as_slice).unwrap_or_default();
    records.iter().filter_map(|record| record.get("n").and_then(Value::as_u64)).max().unwrap_or(0)
}
