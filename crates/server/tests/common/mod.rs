//! A server of the binary, and a client that asks it.

use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};
use tungstenite::{Message, WebSocket, client::client};

pub(crate) struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts a server in a folder, with a config file there.
    pub(crate) fn start(folder: &Path, config: &Value) -> Self {
        fs::write(folder.join("config.json"), config.to_string()).expect("written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_noex-server"))
            .args(["--host", "127.0.0.1", "--port", "0", "--ready-line", "--log-level", "error"])
            .args(["--config", "config.json"])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let port = line.trim().strip_prefix("READY ").and_then(|port| port.parse().ok()).expect("ready");
        Self { child, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // As suddenly as it can end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Client(WebSocket<TcpStream>);

impl Client {
    pub(crate) fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).expect("connected");
        let (socket, _) = client(format!("ws://127.0.0.1:{}/", server.port), stream).expect("a WebSocket");
        let mut client = Self(socket);
        assert_eq!(client.read()["type"], "welcome");
        client
    }

    fn read(&mut self) -> Value {
        let message = self.0.read().expect("a message");
        serde_json::from_str(message.to_text().expect("text")).expect("JSON")
    }

    /// Asks and gives the whole answer.
    pub(crate) fn ask(&mut self, kind: &str, mut fields: Value) -> Value {
        fields["id"] = json!(1);
        fields["type"] = json!(kind);
        self.0.send(Message::text(fields.to_string())).expect("sent");
        self.read()
    }

    /// Asks and gives the data of a result.
    pub(crate) fn ok(&mut self, kind: &str, fields: Value) -> Value {
        let answer = self.ask(kind, fields);
        assert_eq!(answer["type"], "result", "{kind}: {answer}");
        answer["data"].clone()
    }
}
