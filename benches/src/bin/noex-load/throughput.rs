//! Scenario `throughput`: a closed loop of one kind of request, `window` in flight on each connection.
//!
//! Latency of a request runs from just before the `send` of its batch to just after the `recv` that brought the reply.
//! Replies must come in request order with their own ids; anything else is counted as an error.

use std::collections::VecDeque;
use std::time::Duration;

use noex_bench::classify::{self, Message};
use noex_bench::client::Client;
use noex_bench::clock::{Clock, Nanos, nanos, until};
use noex_bench::error::LoadError;
use noex_bench::flags::{Flags, SECONDS_MAX};
use noex_bench::histogram::Histogram;
use noex_bench::process;
use noex_bench::swarm::{Driver, Swarm};
use noex_bench::template::{ID_FIRST, Template};
use serde_json::json;

use crate::report::{self, Mistakes};
use crate::setup::{self, Endpoint, RECORDS};

const FLAGS: &[&str] = &[
    "url=",
    "op=",
    "connections=",
    "window=",
    "seconds=",
    "warmup=",
    "runs=",
    "pid=",
    "no-setup",
    "zero-mask",
];
const BUCKET: &str = "load";
/// Inserts go to a bucket of their own, which is dropped before and after.
const INSERT_BUCKET: &str = "load_insert";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Op {
    Get,
    Insert,
    Update,
    Transaction,
    Transfer,
    Echo,
}

impl Op {
    fn parse(text: &str) -> Result<Self, LoadError> {
        match text {
            "get" => Ok(Self::Get),
            "insert" => Ok(Self::Insert),
            "update" => Ok(Self::Update),
            "transaction" => Ok(Self::Transaction),
            "transfer" => Ok(Self::Transfer),
            "echo" => Ok(Self::Echo),
            other => Err(LoadError::Usage(format!("unknown --op {other}"))),
        }
    }

    /// The request's text with number slots; the first slot is the id.
    fn text(self) -> String {
        let filler = setup::filler(100);
        match self {
            Self::Get => r#"{"id":##########,"type":"store.get","bucket":"load","key":"r#####"}"#.to_owned(),
            Self::Insert => format!(
                r#"{{"id":##########,"type":"store.insert","bucket":"{INSERT_BUCKET}","data":{{"id":"i##########","n":##########,"s":"{filler}"}}}}"#
            ),
            Self::Update => {
                r#"{"id":##########,"type":"store.update","bucket":"load","key":"r#####","data":{"n":##########}}"#
                    .to_owned()
            }
            Self::Transaction => concat!(
                r#"{"id":##########,"type":"store.transaction","operations":[{"op":"get","bucket":"load","key":"r#####"},"#,
                r#"{"op":"update","bucket":"load","key":"r#####","data":{"n":##########}}]}"#
            )
            .to_owned(),
            Self::Transfer => concat!(
                r#"{"id":##########,"type":"store.transaction","operations":[{"op":"update","bucket":"load","key":"r#####","#,
                r#""data":{"n":##########}},{"op":"update","bucket":"load","key":"r#####","data":{"n":##########}}]}"#
            )
            .to_owned(),
            // One hundred bytes altogether, as the floors were measured.
            Self::Echo => format!(r##"{{"id":##########,"type":"echo","pad":"{}"}}"##, setup::filler(64)),
        }
    }
}

/// One connection's requests in flight.
#[derive(Debug, Default)]
struct Loop {
    next_id: u64,
    expected_id: u64,
    /// Requests sent together: when, and how many are still unanswered.
    sent: VecDeque<(Nanos, u64)>,
    /// Replies of the current read.
    arrived: u64,
    in_flight: u64,
}

#[derive(Debug)]
struct Load {
    op: Op,
    template: Template,
    window: u64,
    clock: Clock,
    loops: Vec<Loop>,
    random: u64,
    sequence: u64,
    replies: u64,
    latency: Histogram,
    mistakes: Mistakes,
}

impl Load {
    fn new(op: Op, endpoint: &Endpoint, connections: usize, window: usize, clock: Clock) -> Self {
        let fresh = || Loop { next_id: ID_FIRST, expected_id: ID_FIRST, ..Loop::default() };
        Self {
            op,
            template: Template::new(&op.text(), endpoint.mask),
            window: window as u64,
            clock,
            loops: std::iter::repeat_with(fresh).take(connections).collect(),
            random: 0x9e37_79b9_7f4a_7c15,
            sequence: ID_FIRST,
            replies: 0,
            latency: Histogram::default(),
            mistakes: Mistakes::default(),
        }
    }
}

/// A key number, from a fixed seed so that runs repeat (xorshift64).
fn next_key(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random % RECORDS
}

impl Driver for Load {
    fn message(&mut self, peer: usize, payload: &[u8], _: Nanos, _: &mut Vec<u8>) {
        let Some(connection) = self.loops.get_mut(peer) else { return };
        let (id, fine) = match self.op {
            Op::Echo => match classify::reply_id(payload) {
                Some((id, _)) => (id, true),
                None => (0, false),
            },
            Op::Get | Op::Insert | Op::Update | Op::Transaction | Op::Transfer => {
                match classify::classify(payload) {
                    Message::Result { id } => (id, true),
                    Message::Refused { id } => (id, false),
                    Message::Push | Message::Ping | Message::Welcome | Message::System | Message::Unknown => {
                        (0, false)
                    }
                }
            }
        };
        if id != connection.expected_id || !fine {
            self.mistakes.add(|| {
                let text = String::from_utf8_lossy(payload);
                format!("connection {peer}, expected a result with id {}: {text}", connection.expected_id)
            });
        }
        if id >= ID_FIRST {
            connection.expected_id = id + 1;
            connection.arrived += 1;
        }
    }

    fn batch_end(&mut self, peer: usize, now: Nanos, out: &mut Vec<u8>) {
        let Some(connection) = self.loops.get_mut(peer) else { return };
        let mut arrived = std::mem::take(&mut connection.arrived);
        self.replies += arrived;
        connection.in_flight = connection.in_flight.saturating_sub(arrived);
        while arrived > 0 {
            let Some((at, unanswered)) = connection.sent.front_mut() else { break };
            let taken = arrived.min(*unanswered);
            self.latency.record(now.saturating_sub(*at), taken);
            *unanswered -= taken;
            arrived -= taken;
            if *unanswered == 0 {
                connection.sent.pop_front();
            }
        }
        let room = self.window - connection.in_flight;
        if room == 0 {
            return;
        }
        for _ in 0..room {
            let id = connection.next_id;
            connection.next_id += 1;
            self.sequence += 1;
            let key = next_key(&mut self.random);
            match self.op {
                Op::Echo => self.template.write(out, &[id]),
                Op::Get => self.template.write(out, &[id, key]),
                Op::Insert => self.template.write(out, &[id, self.sequence, self.sequence]),
                Op::Update => self.template.write(out, &[id, key, self.sequence]),
                Op::Transfer => {
                    let other = next_key(&mut self.random);
                    self.template.write(out, &[id, key, self.sequence, other, self.sequence]);
                }
                Op::Transaction => {
                    let other = next_key(&mut self.random);
                    self.template.write(out, &[id, key, other, self.sequence]);
                }
            }
        }
        connection.in_flight = self.window;
        connection.sent.push_back((self.clock.now(), room));
    }
}

/// Runs the scenario.
pub(crate) fn run(parser: &mut lexopt::Parser) -> Result<(), LoadError> {
    let flags = Flags::parse(parser, FLAGS)?;
    let endpoint = Endpoint::from_flags(&flags)?;
    let op = Op::parse(flags.text("op").unwrap_or("get"))?;
    let connections = flags.count("connections", 1, 20_000)?;
    let window = flags.count("window", 1, 4_096)?;
    let seconds = flags.seconds("seconds", 3.0, SECONDS_MAX)?;
    let warmup = flags.seconds("warmup", 1.0, SECONDS_MAX)?;
    let runs = flags.count("runs", 3, 20)?;
    let pid = flags.pid()?;
    process::reserve_descriptors(connections)?;

    let bare = op == Op::Echo || flags.switch("no-setup");
    let mut admin = if bare { None } else { Some(endpoint.client()?) };
    if let Some(admin) = &mut admin {
        prepare(admin, op)?;
    }
    let clock = Clock::start();
    let mut swarm = Swarm::new(clock, endpoint.mask)?;
    for _ in 0..connections {
        swarm.adopt(Client::connect_bare(&endpoint.target, endpoint.mask)?)?;
    }
    let mut load = Load::new(op, &endpoint, connections, window, clock);
    swarm.start(&mut load)?;
    println!("throughput op={op:?} connections={connections} window={window}");
    drive(&mut swarm, &mut load, clock, warmup)?;
    load.latency = Histogram::default();
    let clean = measure(&mut swarm, &mut load, clock, seconds, runs, pid);
    drop(swarm);
    if let Some(admin) = admin.as_mut().filter(|_| op == Op::Insert) {
        setup::drop_bucket(admin, INSERT_BUCKET)?;
    }
    clean
}

/// Defines and fills the buckets.
fn prepare(admin: &mut Client, op: Op) -> Result<(), LoadError> {
    if op == Op::Insert {
        setup::drop_bucket(admin, INSERT_BUCKET)?;
        return setup::define_bucket(admin, INSERT_BUCKET, "n");
    }
    setup::define_bucket(admin, BUCKET, "n")?;
    let filler = setup::filler(100);
    setup::insert_all(admin, BUCKET, RECORDS, |i| json!({"id": format!("r{i:05}"), "n": i, "s": filler}))
}

fn drive(swarm: &mut Swarm, load: &mut Load, clock: Clock, time: Duration) -> Result<Duration, LoadError> {
    let start = clock.now();
    let deadline = start + nanos(time);
    let mut now = start;
    while now < deadline {
        now = swarm.turn(until(now, deadline), load)?;
    }
    Ok(Duration::from_nanos(now - start))
}

fn measure(
    swarm: &mut Swarm,
    load: &mut Load,
    clock: Clock,
    seconds: Duration,
    runs: usize,
    pid: Option<u32>,
) -> Result<(), LoadError> {
    let mut all = Histogram::default();
    let (mut rates, mut own_costs, mut server_costs) = (Vec::new(), Vec::new(), Vec::new());
    for run in 1..=runs {
        let (own, server) = (process::own_cpu_seconds(), pid.map(process::cpu_seconds).transpose()?);
        load.replies = 0;
        let time = drive(swarm, load, clock, seconds)?;
        if load.replies == 0 {
            load.mistakes.print_first();
            return Err(LoadError::Check(format!("no reply in {:.1} s", time.as_secs_f64())));
        }
        let replies = load.replies as f64;
        let rate = replies / time.as_secs_f64();
        let own_us = (process::own_cpu_seconds() - own) * 1e6 / replies;
        let server_us = match (pid.map(process::cpu_seconds).transpose()?, server) {
            (Some(after), Some(before)) => (after - before) * 1e6 / replies,
            _ => 0.0,
        };
        let latency = std::mem::take(&mut load.latency);
        println!(
            "run {run}: msgs_per_s={rate:.0} {} generator_cpu_us={own_us:.3} server_cpu_us={server_us:.3}",
            report::latency(&latency)
        );
        all.merge(&latency);
        rates.push(rate);
        own_costs.push(own_us);
        server_costs.push(server_us);
    }
    println!(
        "median: msgs_per_s={:.0} {} generator_cpu_us={:.3} server_cpu_us={:.3} errors={}",
        report::median(&rates),
        report::latency(&all),
        report::median(&own_costs),
        report::median(&server_costs),
        load.mistakes.count()
    );
    load.mistakes.print_first();
    if load.mistakes.count() > 0 {
        return Err(LoadError::Check(format!("{} replies were not as expected", load.mistakes.count())));
    }
    Ok(())
}
