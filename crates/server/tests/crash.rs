//! The binary is killed under load, at random moments, and started again on the same database.
//!
//! What was answered must be there, whole transactions only, and what was pushed must be there too. Order and counters
//! go on. `NOEX_CRASH_ROUNDS` sets the number of rounds.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tungstenite::{Message, WebSocket, client::client};

/// Writers, each with its own account on either side.
const WRITERS: u64 = 4;
/// Transactions that a writer has under way.
const WINDOW: u64 = 16;

fn config(folder: &Path, durability: &str) -> Value {
    let number = json!({"type": "number"});
    let account = json!({"key": "id", "schema": {"id": number, "n": number}});
    json!({
        "host": "127.0.0.1", "port": 0, "persistence": "sqlite", "db": folder.join("noex.db"),
        "store": {"durability": durability},
        "buckets": {
            "left": account, "right": account,
            "log": {"key": "id", "schema": {
                "id": {"type": "number", "generated": "autoincrement"}, "writer": number, "n": number}},
        },
        "queries": {"right": {"bucket": "right"}},
    })
}

/// A running server; killed when dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(folder: &Path, durability: &str) -> Self {
        let path = folder.join("config.json");
        std::fs::write(&path, config(folder, durability).to_string()).expect("written");
        let log = std::fs::File::create(folder.join("log")).expect("log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_noex-server"));
        command.args(["--ready-line", "--config"]).arg(&path).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("started");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        out.read_line(&mut line).expect("text");
        let port = line.trim().strip_prefix("READY ").and_then(|port| port.parse().ok());
        let Some(port) = port else {
            let _ = child.wait();
            panic!("not ready: {}", std::fs::read_to_string(folder.join("log")).expect("log"));
        };
        Self { child, port }
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
        stream.set_nodelay(true).expect("set");
        let (mut socket, _) = client(format!("ws://127.0.0.1:{}/", self.port), stream).expect("upgraded");
        assert_eq!(read(&mut socket).expect("welcome")["type"], "welcome");
        Client { socket, next: 0 }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the next message; `None` when the connection is gone.
fn read(socket: &mut WebSocket<TcpStream>) -> Option<Value> {
    loop {
        match socket.read().ok()? {
            Message::Text(text) => {
                let message: Value = serde_json::from_str(&text).expect("JSON");
                if message["type"] != "ping" {
                    return Some(message);
                }
            }
            Message::Close(_) => return None,
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

struct Client {
    socket: WebSocket<TcpStream>,
    next: u64,
}

impl Client {
    /// Sends a request and gives its id; `None` when the connection is gone.
    fn send(&mut self, mut request: Value) -> Option<u64> {
        self.next += 1;
        request["id"] = self.next.into();
        self.socket.send(Message::text(request.to_string())).ok()?;
        Some(self.next)
    }

    fn call(&mut self, request: Value) -> Value {
        let id = self.send(request).expect("sent");
        let answer = read(&mut self.socket).expect("answered");
        assert_eq!((&answer["id"], &answer["type"]), (&json!(id), &json!("result")), "{answer}");
        answer["data"].clone()
    }

    fn all(&mut self, bucket: &str) -> Vec<Value> {
        self.call(json!({"type": "store.all", "bucket": bucket})).as_array().expect("records").clone()
    }
}

/// Transfer `n` of a writer: both accounts and the log tell of it.
fn transfer(writer: u64, n: u64) -> Value {
    let amount = n as i64;
    json!({"type": "store.transaction", "operations": [
        {"op": "update", "bucket": "left", "key": writer, "data": {"n": -amount}},
        {"op": "insert", "bucket": "log", "data": {"writer": writer, "n": n}},
        {"op": "update", "bucket": "right", "key": writer, "data": {"n": amount}},
    ]})
}

/// Transfers until the server is gone; `answered` counts what was answered, from `from` on.
fn write(mut client: Client, writer: u64, from: u64, answered: &AtomicU64) {
    let (mut sent, mut done) = (from, from);
    loop {
        while sent - done < WINDOW {
            sent += 1;
            if client.send(transfer(writer, sent)).is_none() {
                break;
            }
        }
        let Some(answer) = read(&mut client.socket) else { return };
        assert_eq!(answer["type"], "result", "{answer}");
        done += 1;
        answered.store(done, Ordering::SeqCst);
    }
}

/// Watches the query until the server is gone, and gives the last amount that was pushed for each writer.
fn watch(mut client: Client) -> BTreeMap<u64, u64> {
    let mut seen = BTreeMap::new();
    client.send(json!({"type": "store.subscribe", "query": "right"}));
    while let Some(message) = read(&mut client.socket) {
        let data = if message["type"] == "push" { &message["data"] } else { &message["data"]["data"] };
        for record in data.as_array().into_iter().flatten() {
            let (writer, n) = (record["id"].as_u64().expect("id"), record["n"].as_u64().expect("amount"));
            assert!(seen.insert(writer, n) <= Some(n), "a push went back: {message}");
        }
    }
    seen
}

/// Checks everything that must hold after a start, and gives the amount of each writer.
fn verify(server: &Server, least: &BTreeMap<u64, u64>, round: u64) -> BTreeMap<u64, u64> {
    let mut client = server.connect();
    let amounts = |records: Vec<Value>, sign: i64| -> BTreeMap<u64, u64> {
        let amount = |record: &Value| (record["n"].as_i64().expect("amount") * sign).cast_unsigned();
        records.iter().map(|record| (record["id"].as_u64().expect("id"), amount(record))).collect()
    };
    let (left, right) = (amounts(client.all("left"), -1), amounts(client.all("right"), 1));
    assert_eq!(left, right, "round {round}: half a transaction is there");
    for (writer, n) in least {
        assert!(
            right.get(writer) >= Some(n),
            "round {round}: writer {writer} was told {n}, {right:?} is there"
        );
    }
    let mut counted: BTreeMap<u64, u64> = right.keys().map(|writer| (*writer, 0)).collect();
    let mut last_id = 0;
    for record in client.all("log") {
        let id = record["id"].as_u64().expect("id");
        assert!(id > last_id, "round {round}: number {id} behind {last_id}");
        last_id = id;
        let count = counted.entry(record["writer"].as_u64().expect("writer")).or_default();
        *count += 1;
        assert_eq!(
            record["n"].as_u64(),
            Some(*count),
            "round {round}: a transfer is missing or out of order"
        );
    }
    assert_eq!(counted, right, "round {round}: the log tells another story");
    right
}

fn scramble(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z ^ (z >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 16
}

#[test]
fn killed_server_keeps_what_it_has_answered_and_pushed() {
    let rounds = std::env::var("NOEX_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let folder = tempfile::tempdir().expect("folder");
    let mut least = BTreeMap::new();
    for round in 0..rounds {
        let mut server = Server::start(folder.path(), "sync");
        if round == 0 {
            let mut client = server.connect();
            for writer in 0..WRITERS {
                for bucket in ["left", "right"] {
                    client.call(
                        json!({"type": "store.insert", "bucket": bucket, "data": {"id": writer, "n": 0}}),
                    );
                }
                least.insert(writer, 0);
            }
        }
        let from = verify(&server, &least, round);
        let seed = scramble(u64::from(std::process::id()) << 20 | round);
        let goal = from.values().sum::<u64>() + seed % 800;
        let answered: Vec<Arc<AtomicU64>> = from.values().map(|n| Arc::new(AtomicU64::new(*n))).collect();
        std::thread::scope(|scope| {
            let watcher = server.connect();
            let watcher = scope.spawn(|| watch(watcher));
            for ((writer, from), answered) in from.iter().zip(&answered) {
                let client = server.connect();
                scope.spawn(move || write(client, *writer, *from, answered));
            }
            while answered.iter().map(|n| n.load(Ordering::SeqCst)).sum::<u64>() < goal {
                std::thread::yield_now();
            }
            for n in 0..(seed >> 20) % 1_000_000 {
                std::hint::black_box(scramble(n));
            }
            server.child.kill().expect("killed");
            server.child.wait().expect("ended");
            for (writer, n) in watcher.join().expect("watched") {
                let told = least.entry(writer).or_default();
                *told = n.max(*told);
            }
        });
        for (told, answered) in least.values_mut().zip(&answered) {
            *told = answered.load(Ordering::SeqCst).max(*told);
        }
    }
    let server = Server::start(folder.path(), "sync");
    verify(&server, &least, rounds);
}
