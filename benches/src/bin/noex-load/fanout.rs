//! Scenario `fanout`: one writer changes one record, N subscribers of one query receive it.
//!
//! Each write carries the next number. The server may skip intermediate states, so a push that shows number k delivers
//! every write up to k to that subscriber. Latency of a write runs from its due time to the moment the last subscriber
//! shows it or a later one. At the end every subscriber must show the last write; a smaller number after a larger one
//! is an error at any time.

use std::collections::VecDeque;
use std::time::Duration;

use noex_bench::classify::{self, Message};
use noex_bench::clock::{Clock, Nanos, nanos, until};
use noex_bench::error::LoadError;
use noex_bench::flags::{Flags, SECONDS_MAX};
use noex_bench::histogram::Histogram;
use noex_bench::process;
use noex_bench::swarm::{Driver, Swarm};
use noex_bench::template::{ID_FIRST, Template};
use serde_json::{Value, json};

use crate::report::{self, Mistakes};
use crate::setup::{self, Endpoint};

const FLAGS: &[&str] = &["url=", "subscribers=", "rate=", "window=", "seconds=", "zero-mask"];
const BUCKET: &str = "load_fan";
const REQUEST: &str =
    r#"{"id":##########,"type":"store.update","bucket":"load_fan","key":"fan","data":{"n":##########}}"#;
/// How long the final state may take to arrive.
const SETTLE: Duration = Duration::from_secs(10);
/// After the final state nothing more may come for this long.
const QUIET: Duration = Duration::from_millis(200);
/// Updates sent but not answered; later ones wait, and their waiting counts as latency.
const UNANSWERED_MAX: u64 = 1_024;

/// A write not yet shown by every subscriber.
#[derive(Debug)]
struct Write {
    due: Nanos,
    missing: usize,
}

#[derive(Debug)]
struct Fanout {
    /// Number shown by each subscriber.
    shown: Vec<u64>,
    /// Number of the first entry of `open`.
    first_open: u64,
    open: VecDeque<Write>,
    last_written: u64,
    answered: u64,
    pushes: u64,
    latency: Histogram,
    mistakes: Mistakes,
}

impl Fanout {
    fn new(subscribers: usize, current: u64) -> Self {
        Self {
            shown: vec![current; subscribers],
            first_open: current + 1,
            open: VecDeque::new(),
            last_written: current,
            answered: 0,
            pushes: 0,
            latency: Histogram::default(),
            mistakes: Mistakes::default(),
        }
    }

    fn write(&mut self, due: Nanos) -> u64 {
        self.last_written += 1;
        self.open.push_back(Write { due, missing: self.shown.len() });
        self.last_written
    }

    /// Takes note that one subscriber went from `before` to `after`.
    fn advance(&mut self, before: u64, after: u64, now: Nanos) {
        for number in before + 1..=after {
            // `before` is at least the number of the oldest open write less one, as that one misses this subscriber.
            let Some(write) = self.open.get_mut((number - self.first_open) as usize) else { return };
            write.missing -= 1;
            if write.missing == 0 {
                self.latency.record(now.saturating_sub(write.due), 1);
            }
        }
        while self.open.front().is_some_and(|write| write.missing == 0) {
            self.open.pop_front();
            self.first_open += 1;
        }
    }

    fn is_settled(&self, writes: u64) -> bool {
        self.answered == writes && self.open.is_empty()
    }
}

impl Driver for Fanout {
    fn message(&mut self, peer: usize, payload: &[u8], now: Nanos, _: &mut Vec<u8>) {
        let Some(shown) = self.shown.get_mut(peer) else {
            match classify::classify(payload) {
                Message::Result { .. } => self.answered += 1,
                Message::Refused { .. }
                | Message::Push
                | Message::Ping
                | Message::Welcome
                | Message::System
                | Message::Unknown => {
                    self.answered += 1;
                    self.mistakes.add(|| format!("writer: {}", String::from_utf8_lossy(payload)));
                }
            }
            return;
        };
        let before = *shown;
        match classify::number_after(payload, b"\"n\":") {
            Some(number)
                if number > before
                    && number <= self.last_written
                    && classify::classify(payload) == Message::Push =>
            {
                *shown = number;
                self.pushes += 1;
                self.advance(before, number, now);
            }
            _ => self.mistakes.add(|| {
                let text = String::from_utf8_lossy(payload);
                format!("subscriber {peer} showed {before}, then got {text}")
            }),
        }
    }

    fn batch_end(&mut self, _: usize, _: Nanos, _: &mut Vec<u8>) {}
}

/// When the writer writes.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// As soon as fewer than this many writes are on their way to some subscriber.
    Window(usize),
    /// One write per this many nanoseconds.
    Every(Nanos),
}

impl Pace {
    fn from_flags(flags: &Flags) -> Result<Self, LoadError> {
        let window = flags.count("window", 1, 4_096)?;
        match flags.text("rate") {
            None | Some("max") => Ok(Self::Window(window)),
            Some(_) => Ok(Self::Every(1_000_000_000 / flags.count("rate", 1, 100_000)? as u64)),
        }
    }
}

/// Runs the scenario.
pub(crate) fn run(parser: &mut lexopt::Parser) -> Result<(), LoadError> {
    let flags = Flags::parse(parser, FLAGS)?;
    let endpoint = Endpoint::from_flags(&flags)?;
    let subscribers = flags.count("subscribers", 100, 10_000)?;
    let seconds = flags.seconds("seconds", 5.0, SECONDS_MAX)?;
    let pace = Pace::from_flags(&flags)?;
    process::reserve_descriptors(subscribers)?;

    let mut admin = endpoint.client()?;
    let current = prepare(&mut admin)?;
    let clock = Clock::start();
    let mut swarm = Swarm::new(clock, endpoint.mask)?;
    for _ in 0..subscribers {
        let mut client = endpoint.client()?;
        setup::subscribe(&mut client, BUCKET, &Value::Null)?;
        swarm.adopt(client)?;
    }
    let writer = swarm.adopt(admin)?;
    let mut fanout = Fanout::new(subscribers, current);
    swarm.start(&mut fanout)?;
    let template = Template::new(REQUEST, endpoint.mask);
    let (writes, time) = drive(&mut swarm, &mut fanout, writer, &template, pace, clock, seconds)?;
    settle(&mut swarm, &mut fanout, writes, clock)?;
    print(&fanout, subscribers, writes, time);
    verdict(&fanout, writes)
}

/// Bucket, query and the record; returns the number the record shows.
fn prepare(admin: &mut noex_bench::client::Client) -> Result<u64, LoadError> {
    setup::define_bucket(admin, BUCKET, "n")?;
    setup::define_query(admin, BUCKET, &json!({"bucket": BUCKET, "filter": {"id": "fan"}}))?;
    let filler = setup::filler(100);
    setup::insert_all(admin, BUCKET, 1, |_| json!({"id": "fan", "n": ID_FIRST, "s": filler}))?;
    let record = admin.call(&json!({"type": "store.get", "bucket": BUCKET, "key": "fan"}))?;
    record
        .get("n")
        .and_then(Value::as_u64)
        .ok_or_else(|| LoadError::Protocol(format!("record without a number: {record}")))
}

/// Writes for `seconds`; returns the number of writes and the time they took.
fn drive(
    swarm: &mut Swarm,
    fanout: &mut Fanout,
    writer: usize,
    template: &Template,
    pace: Pace,
    clock: Clock,
    seconds: Duration,
) -> Result<(u64, Duration), LoadError> {
    let start = clock.now();
    let deadline = start + nanos(seconds);
    let (mut now, mut writes, mut due) = (start, 0_u64, start);
    while now < deadline {
        let mut batch = Vec::new();
        while writes - fanout.answered < UNANSWERED_MAX {
            match pace {
                Pace::Window(window) if fanout.open.len() < window => due = now,
                Pace::Every(_) if due <= now => {}
                Pace::Window(_) | Pace::Every(_) => break,
            }
            let number = fanout.write(due);
            template.write(&mut batch, &[ID_FIRST + writes, number]);
            writes += 1;
            if let Pace::Every(period) = pace {
                due += period;
            }
        }
        if !batch.is_empty() {
            swarm.send(writer, |out| out.extend_from_slice(&batch))?;
        }
        let next = match pace {
            // Overdue writes wait for answers, which wake the loop.
            Pace::Every(_) if due > now => due.min(deadline),
            Pace::Window(_) | Pace::Every(_) => deadline,
        };
        now = swarm.turn(until(now, next), fanout)?;
    }
    Ok((writes, Duration::from_nanos(now - start)))
}

/// Waits for the final state, then for silence.
fn settle(swarm: &mut Swarm, fanout: &mut Fanout, writes: u64, clock: Clock) -> Result<(), LoadError> {
    let mut now = clock.now();
    let deadline = now + nanos(SETTLE);
    while now < deadline && !fanout.is_settled(writes) {
        now = swarm.turn(until(now, deadline), fanout)?;
    }
    let deadline = now + nanos(QUIET);
    while now < deadline {
        now = swarm.turn(until(now, deadline), fanout)?;
    }
    Ok(())
}

fn print(fanout: &Fanout, subscribers: usize, writes: u64, time: Duration) {
    let seconds = time.as_secs_f64();
    let owed = writes as f64 * subscribers as f64;
    println!(
        "fanout: subscribers={subscribers} writes_per_s={:.0} deliveries_per_s={:.0} pushes={} states_per_push={:.2}",
        writes as f64 / seconds,
        fanout.pushes as f64 / seconds,
        fanout.pushes,
        owed / (fanout.pushes.max(1) as f64)
    );
    println!(
        "write to last delivery: {} errors={}",
        report::latency(&fanout.latency),
        fanout.mistakes.count()
    );
}

fn verdict(fanout: &Fanout, writes: u64) -> Result<(), LoadError> {
    fanout.mistakes.print_first();
    let behind = fanout.shown.iter().filter(|shown| **shown != fanout.last_written).count();
    if behind > 0 {
        return Err(LoadError::Check(format!("{behind} subscribers do not show the final state")));
    }
    if fanout.answered != writes {
        return Err(LoadError::Check(format!("{} of {writes} writes were answered", fanout.answered)));
    }
    if fanout.mistakes.count() > 0 {
        return Err(LoadError::Check(format!("{} messages were not as expected", fanout.mistakes.count())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(fanout: &mut Fanout, peer: usize, number: u64, now: Nanos) {
        let text =
            format!(r#"{{"type":"push","subscriptionId":"sub-1","data":[{{"id":"fan","n":{number}}}]}}"#);
        fanout.message(peer, text.as_bytes(), now, &mut Vec::new());
    }

    #[test]
    fn skipped_states_count_as_delivered() {
        let mut fanout = Fanout::new(2, 10);
        for due in [100, 200, 300] {
            fanout.write(due);
        }
        push(&mut fanout, 0, 13, 1_000);
        push(&mut fanout, 1, 11, 1_100);
        assert_eq!((fanout.latency.len(), fanout.first_open), (1, 12));
        push(&mut fanout, 1, 13, 2_000);
        assert!(fanout.open.is_empty());
        assert_eq!((fanout.latency.len(), fanout.latency.max()), (3, 1_800));
        assert_eq!((fanout.pushes, fanout.mistakes.count()), (3, 0));
        assert!(verdict(&fanout, 0).is_ok());
    }

    #[test]
    fn old_repeated_and_unwritten_states_are_mistakes() {
        let mut fanout = Fanout::new(1, 10);
        fanout.write(0);
        fanout.write(0);
        push(&mut fanout, 0, 13, 1);
        push(&mut fanout, 0, 12, 1);
        push(&mut fanout, 0, 12, 2);
        push(&mut fanout, 0, 11, 2);
        assert_eq!(fanout.mistakes.count(), 3);
    }

    #[test]
    fn missing_final_state_fails_the_run() {
        let mut fanout = Fanout::new(2, 10);
        fanout.write(0);
        push(&mut fanout, 0, 11, 1);
        assert!(verdict(&fanout, 0).is_err());
    }
}
