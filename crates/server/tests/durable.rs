//! What the binary keeps: acknowledged writes survive its death.

use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tungstenite::{Message, WebSocket, client, stream::MaybeTlsStream};

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("noex-durable-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        // As suddenly as it can end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(folder: &Path, config: &str) -> Server {
    let path = folder.join("config.json");
    std::fs::write(&path, config).expect("written");
    let mut child = Command::new(env!("CARGO_BIN_EXE_noex-server"))
        .args(["--host", "127.0.0.1", "--port", "0", "--ready-line", "--log-level", "error", "--config"])
        .arg(&path)
        .current_dir(folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut line = String::new();
    let out = child.stdout.take().expect("piped");
    BufReader::new(out).read_line(&mut line).expect("a line");
    let port = line.trim().strip_prefix("READY ").and_then(|port| port.parse().ok()).expect("ready");
    Server { child, port }
}

struct Client(WebSocket<MaybeTlsStream<TcpStream>>);

impl Client {
    fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).expect("connected");
        let url = format!("ws://127.0.0.1:{}/", server.port);
        let (mut socket, _) = client(url, MaybeTlsStream::Plain(stream)).expect("a WebSocket");
        let welcome = socket.read().expect("a welcome");
        assert!(welcome.to_text().is_ok_and(|text| text.contains("welcome")));
        Self(socket)
    }

    fn ask(&mut self, request: &str) -> String {
        self.0.send(Message::text(request)).expect("sent");
        self.0.read().expect("an answer").into_text().expect("text").to_string()
    }
}

const BUCKET: &str =
    r#"{"key":"id","schema":{"id":{"type":"number","generated":"autoincrement"},"n":{"type":"number"}}}"#;

#[test]
fn acknowledged_writes_survive_the_death_of_the_process() {
    for (kind, place) in [("sqlite", r#""db": "data.db""#), ("file", r#""dataDir": "data/deep""#)] {
        let folder = Folder::new(&format!("{kind}-{}", place.len()));
        let config = format!(
            r#"{{"persistence": "{kind}", {place}, "buckets": {{"own": {BUCKET}}}, "rules": {{"persistent": true}}}}"#
        );
        let insert = r#"{"id":1,"type":"store.insert","bucket":"own","data":{"n":7}}"#;
        for round in 1..=3 {
            let server = start(&folder.0, &config);
            let mut client = Client::connect(&server);
            let told = client.ask(r#"{"id":0,"type":"store.count","bucket":"own"}"#);
            assert!(told.ends_with(&format!(r#""data":{}}}"#, round - 1)), "{kind} {round}: {told}");
            let told = client.ask(insert);
            assert!(told.contains(&format!(r#""id":{round},"_version":1"#)), "the counter goes on: {told}");
            let told = client.ask(r#"{"id":2,"type":"rules.getFact","key":"round"}"#);
            let before = if round == 1 { "null".to_owned() } else { (round - 1).to_string() };
            assert!(told.ends_with(&format!(r#""data":{before}}}"#)), "{told}");
            let told =
                client.ask(&format!(r#"{{"id":3,"type":"rules.setFact","key":"round","value":{round}}}"#));
            assert!(told.contains("result"), "{told}");
        }
    }
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = Folder::new("foreign");
    std::fs::write(folder.0.join("noex.db"), "not a database at all, but long enough to look like one")
        .expect("written");
    std::fs::write(folder.0.join("config.json"), r#"{"persistence": "sqlite", "db": "noex.db"}"#)
        .expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_noex-server"))
        .args(["--host", "127.0.0.1", "--port", "0", "--log-level", "error", "--config", "config.json"])
        .current_dir(&folder.0)
        .output()
        .expect("started");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.starts_with("Error: Failed to initialize sqlite persistence: "), "{text}");
    let left = std::fs::read_to_string(folder.0.join("noex.db")).expect("still there");
    assert!(left.starts_with("not a database"));
}
