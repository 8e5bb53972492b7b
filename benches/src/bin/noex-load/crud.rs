//! Scenario `crud`: N clients work on their own records in a closed loop, everything is checked.
//!
//! Each client has one request in flight and one subscription on its own records. Every reply is compared with a model
//! of the client's data, every push with the states that model went through, and at the end both the last push and a
//! read by another connection with the final state. Any difference ends with exit code 1.

use std::rc::Rc;
use std::time::Duration;

use noex_bench::client::Client;
use noex_bench::clock::{Clock, Nanos, nanos, until};
use noex_bench::error::LoadError;
use noex_bench::flags::{Flags, SECONDS_MAX};
use noex_bench::frame::{self, Mask, Opcode};
use noex_bench::histogram::Histogram;
use noex_bench::process;
use noex_bench::swarm::{Driver, Swarm};
use serde_json::{Value, json};

use crate::crud_model::Model;
use crate::report::{self, Mistakes};
use crate::setup::{self, Endpoint};

const FLAGS: &[&str] = &["url=", "clients=", "seconds=", "filter=", "zero-mask"];
const BUCKET: &str = "load_crud";
/// How long the last pushes may take.
const SETTLE: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Worker {
    model: Model,
    id: u64,
    sent: Nanos,
    busy: bool,
    /// A mistake leaves the model without a known state: the worker stops.
    failed: bool,
}

#[derive(Debug)]
struct Crud {
    workers: Vec<Worker>,
    mask: Mask,
    stopping: bool,
    operations: u64,
    pushes: u64,
    latency: Histogram,
    mistakes: Mistakes,
}

impl Driver for Crud {
    fn message(&mut self, peer: usize, payload: &[u8], now: Nanos, _: &mut Vec<u8>) {
        let Some(worker) = self.workers.get_mut(peer) else { return };
        let outcome =
            serde_json::from_slice::<Value>(payload).map_err(|error| error.to_string()).and_then(|message| {
                match message.get("type").and_then(Value::as_str) {
                    Some("push") => {
                        self.pushes += 1;
                        worker.model.check_push(message.get("data").unwrap_or(&Value::Null))
                    }
                    Some("result") => {
                        self.operations += 1;
                        self.latency.record(now.saturating_sub(worker.sent), 1);
                        worker.take_result(message)
                    }
                    _ => Err(message.to_string()),
                }
            });
        if let Err(text) = outcome {
            worker.failed = true;
            self.mistakes.add(|| format!("client {peer}: {text}"));
        }
    }

    fn batch_end(&mut self, peer: usize, now: Nanos, out: &mut Vec<u8>) {
        let Some(worker) = self.workers.get_mut(peer) else { return };
        if worker.busy || worker.failed || self.stopping {
            return;
        }
        worker.id += 1;
        let body = worker.model.next_request().to_string();
        let text = format!("{{\"id\":{},{}", worker.id, body.strip_prefix('{').unwrap_or(&body));
        frame::write_frame(out, Opcode::Text, text.as_bytes(), self.mask);
        worker.sent = now;
        worker.busy = true;
    }
}

impl Worker {
    fn take_result(&mut self, mut message: Value) -> Result<(), String> {
        if !self.busy || message.get("id").and_then(Value::as_u64) != Some(self.id) {
            return Err(format!("expected the answer to {}, got {message}", self.id));
        }
        self.busy = false;
        let data = message.get_mut("data").map(Value::take).ok_or("result without data")?;
        self.model.check_reply(data)
    }
}

impl Crud {
    fn is_settled(&self) -> bool {
        self.workers.iter().all(|worker| worker.failed || (!worker.busy && worker.model.is_shown()))
    }

    fn lost_pushes(&self) -> usize {
        self.workers.iter().filter(|worker| !worker.failed && !worker.model.is_shown()).count()
    }

    fn unanswered(&self) -> usize {
        self.workers.iter().filter(|worker| worker.busy && !worker.failed).count()
    }
}

/// Runs the scenario.
pub(crate) fn run(parser: &mut lexopt::Parser) -> Result<(), LoadError> {
    let flags = Flags::parse(parser, FLAGS)?;
    let endpoint = Endpoint::from_flags(&flags)?;
    let clients = flags.count("clients", 50, 5_000)?;
    let seconds = flags.seconds("seconds", 5.0, SECONDS_MAX)?;
    let filter = match flags.text("filter").unwrap_or("prefix") {
        "prefix" => json!({"id": {"$startsWith": "{{ params.prefix }}"}}),
        "owner" => json!({"owner": "{{ params.owner }}"}),
        other => return Err(LoadError::Usage(format!("unknown --filter {other}"))),
    };
    process::reserve_descriptors(clients)?;

    let mut admin = endpoint.client()?;
    setup::drop_bucket(&mut admin, BUCKET)?;
    setup::define_bucket(&mut admin, BUCKET, "owner")?;
    setup::define_query(&mut admin, BUCKET, &json!({"bucket": BUCKET, "filter": filter}))?;
    let clock = Clock::start();
    let mut swarm = Swarm::new(clock, endpoint.mask)?;
    let mut crud = connect(&endpoint, &mut swarm, clients)?;

    let start = clock.now();
    swarm.start(&mut crud)?;
    let now = turn_until(&mut swarm, &mut crud, clock, seconds, |_| false)?;
    let (rate, operations) =
        (crud.operations as f64 / Duration::from_nanos(now - start).as_secs_f64(), crud.operations);
    crud.stopping = true;
    turn_until(&mut swarm, &mut crud, clock, SETTLE, Crud::is_settled)?;
    // Whatever comes after the final state is a mistake too.
    turn_until(&mut swarm, &mut crud, clock, Duration::from_millis(200), |_| false)?;
    let differing = compare_with_reads(&mut admin, &crud)?;
    println!(
        "crud: clients={clients} ops={operations} ops_per_s={rate:.0} pushes={} {}",
        crud.pushes,
        report::latency(&crud.latency)
    );
    println!(
        "errors={} lost_pushes={} unanswered={} differing_reads={differing}",
        crud.mistakes.count(),
        crud.lost_pushes(),
        crud.unanswered()
    );
    crud.mistakes.print_first();
    let clean =
        crud.mistakes.count() == 0 && crud.lost_pushes() == 0 && crud.unanswered() == 0 && differing == 0;
    if clean { Ok(()) } else { Err(LoadError::Check("the figures above must be 0".to_owned())) }
}

/// Connects and subscribes every client.
fn connect(endpoint: &Endpoint, swarm: &mut Swarm, clients: usize) -> Result<Crud, LoadError> {
    let filler: Rc<str> = setup::filler(100).into();
    let mut workers = Vec::with_capacity(clients);
    for number in 0..clients {
        let mut client = endpoint.client()?;
        let owner = format!("c{number:05}");
        let params = json!({"prefix": format!("{owner}-"), "owner": owner});
        let initial = setup::subscribe(&mut client, BUCKET, &params)?;
        let model = Model::new(BUCKET, owner, Rc::clone(&filler));
        if !model.is_current(&initial) {
            return Err(LoadError::Check(format!("initial result is not empty: {initial}")));
        }
        swarm.adopt(client)?;
        workers.push(Worker { model, id: 1, sent: 0, busy: false, failed: false });
    }
    Ok(Crud {
        workers,
        mask: endpoint.mask,
        stopping: false,
        operations: 0,
        pushes: 0,
        latency: Histogram::default(),
        mistakes: Mistakes::default(),
    })
}

fn turn_until(
    swarm: &mut Swarm,
    crud: &mut Crud,
    clock: Clock,
    time: Duration,
    done: impl Fn(&Crud) -> bool,
) -> Result<Nanos, LoadError> {
    let mut now = clock.now();
    let deadline = now + nanos(time);
    while now < deadline && !done(crud) {
        now = swarm.turn(until(now, deadline), crud)?;
    }
    Ok(now)
}

/// Reads every client's records over another connection; returns how many clients' data differ.
fn compare_with_reads(admin: &mut Client, crud: &Crud) -> Result<usize, LoadError> {
    let mut differing = 0;
    for worker in crud.workers.iter().filter(|worker| !worker.failed && !worker.busy) {
        let filter = json!({"owner": worker.model.owner()});
        let found = admin.call(&json!({"type": "store.where", "bucket": BUCKET, "filter": filter}))?;
        if !worker.model.is_current(&found) {
            differing += 1;
        }
    }
    Ok(differing)
}
