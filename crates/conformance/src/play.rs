//! Plays the steps of one scenario against a listening server.
//!
//! Input: a scenario, an address, the server's process if it is ours. Output: nothing, or the first failure.
//! Invariants: connections queue independently; a message nobody expected fails the scenario when its connection is
//! closed by a step or the scenario ends; nothing waits beyond the scenario's own limit.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::conn::{Conn, ConnectError};
use crate::frame;
use crate::handshake::{Headers, Request};
use crate::pattern::differences;
use crate::scenario::Scenario;
use crate::server::Server;
use crate::transcript::Transcript;
use crate::value::{Binds, cut, js, short, substitute};

/// Where and how a scenario failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// Number of the step, from 0; -1 when no single step is to blame.
    pub step: i64,
    /// Kind of the step and its connection, such as `recv on a`.
    pub what: String,
    /// What was expected and what came.
    pub text: String,
}

impl Failure {
    pub(crate) fn new(step: i64, what: &str, text: impl Into<String>) -> Self {
        Self { step, what: what.to_owned(), text: text.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} ({}): {}", self.step, self.what, self.text)
    }
}

/// Where the server listens, and the path to use where a step names none.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
}

/// In the order in which they decide what a step is.
const STEP_KINDS: [&str; 17] = [
    "connect",
    "send",
    "sendText",
    "sendBinary",
    "sendFrame",
    "recv",
    "recvUnordered",
    "recvNone",
    "recvUntil",
    "recvPong",
    "sleep",
    "close",
    "recvClose",
    "connectFails",
    "stopServer",
    "pauseReading",
    "resumeReading",
];

const STEP_TIMEOUT_MS: u64 = 5000;

/// Characters of a received message that a failure shows.
const RECEIVED_CHARS_MAX: usize = 4000;

fn kind_of(step: &Value) -> Option<&'static str> {
    STEP_KINDS.into_iter().find(|kind| step.get(kind).is_some())
}

fn is_comment(step: &Value) -> bool {
    step.as_object().is_some_and(|members| members.keys().all(|key| key == "note" || key == "about"))
}

/// Says whether a step can be played.
#[cfg(test)]
pub(crate) fn is_known_step(step: &Value) -> bool {
    kind_of(step).is_some() || is_comment(step)
}

fn conn_name(step: &Value) -> &str {
    step.get("conn").and_then(Value::as_str).unwrap_or("a")
}

fn number(step: &Value, key: &str, otherwise: u64) -> u64 {
    step.get(key).and_then(Value::as_u64).unwrap_or(otherwise)
}

fn base64_of(value: Option<&Value>) -> Result<Vec<u8>, String> {
    let text = value.and_then(Value::as_str).unwrap_or_default();
    STANDARD.decode(text).map_err(|e| format!("bad Base64 {text}: {e}"))
}

/// The state of a scenario being played.
#[derive(Debug)]
pub(crate) struct Play<'a> {
    scenario: &'a Scenario,
    address: Address,
    server: Option<&'a Server>,
    transcript: Transcript,
    conns: BTreeMap<String, Conn>,
    binds: Binds,
    /// When the whole scenario must be over.
    deadline: Instant,
}

impl<'a> Play<'a> {
    pub(crate) fn new(
        scenario: &'a Scenario,
        address: Address,
        server: Option<&'a Server>,
        transcript: Transcript,
    ) -> Self {
        let deadline = Instant::now() + Duration::from_millis(scenario.timeout_ms());
        let (conns, binds) = (BTreeMap::new(), Binds::new());
        Self { scenario, address, server, transcript, conns, binds, deadline }
    }

    /// Plays all steps; the connections are gone afterwards.
    pub(crate) fn run(mut self) -> Option<Failure> {
        for (step, i) in self.scenario.steps().iter().zip(0..) {
            let played = self.play(step);
            if Instant::now() >= self.deadline {
                return Some(self.out_of_time());
            }
            if let Err(text) = played {
                let kind = kind_of(step).unwrap_or("?");
                let on = if kind == "sleep" { String::new() } else { format!(" on {}", conn_name(step)) };
                return Some(Failure::new(i, &format!("{kind}{on}"), text));
            }
        }
        self.sleep(self.scenario.settle_ms());
        let steps = i64::try_from(self.scenario.steps().len()).unwrap_or(i64::MAX);
        let surplus = self.conns.values().find_map(|conn| self.leftovers(conn).err());
        surplus.map(|text| Failure::new(steps, "end", text))
    }

    fn out_of_time(&self) -> Failure {
        let limit = Duration::from_millis(self.scenario.timeout_ms()).as_secs_f64();
        Failure::new(-1, "scenario", format!("not finished within {limit} s"))
    }

    fn play(&mut self, step: &Value) -> Result<(), String> {
        let Some(kind) = kind_of(step) else {
            return if is_comment(step) { Ok(()) } else { Err(format!("unknown step {}", short(step))) };
        };
        match kind {
            "sleep" => self.sleep(number(step, "sleep", 0)),
            "connect" | "connectFails" => self.connect(step)?,
            "send" => self.send_value(step, &step["send"])?,
            "sendText" => self.send_text(step)?,
            "sendBinary" => self.send(step, frame::BINARY, &base64_of(step.get("sendBinary"))?)?,
            "sendFrame" => self.send_frame(step)?,
            "recv" => {
                let message = self.next_message(step)?;
                self.check(&step["recv"], &message, "received")?;
            }
            "recvUnordered" => self.recv_unordered(step)?,
            "recvUntil" => self.recv_until(step)?,
            "recvNone" => self.recv_none(step)?,
            "recvClose" => self.recv_close(step)?,
            "recvPong" => self.recv_pong(step)?,
            "close" => self.close(step)?,
            "stopServer" => match self.server {
                Some(server) => server.terminate()?,
                None => return Err("stopServer needs a server started with --server-cmd".to_owned()),
            },
            _ => self.conn(step)?.set_paused(kind == "pauseReading"),
        }
        Ok(())
    }

    /// Waits, but not beyond the scenario's limit.
    fn sleep(&self, ms: u64) {
        let left = self.deadline.saturating_duration_since(Instant::now());
        std::thread::sleep(left.min(Duration::from_millis(ms)));
    }

    /// The end of a wait that begins now.
    fn until(&self, ms: u64) -> Instant {
        self.deadline.min(Instant::now() + Duration::from_millis(ms))
    }

    fn timeout_ms(step: &Value) -> u64 {
        number(step, "timeout", STEP_TIMEOUT_MS)
    }

    fn conn(&self, step: &Value) -> Result<&Conn, String> {
        let name = conn_name(step);
        self.conns.get(name).ok_or_else(|| format!("connection {name} is not open"))
    }

    fn check(&mut self, pattern: &Value, value: &Value, what: &str) -> Result<(), String> {
        let mut trial = self.binds.clone();
        let differences = differences(pattern, value, &mut trial);
        if !differences.is_empty() {
            return Err(format!(
                "{} | {what} {}",
                differences.join("; "),
                cut(js(value), RECEIVED_CHARS_MAX)
            ));
        }
        self.binds = trial;
        Ok(())
    }

    fn leftovers(&self, conn: &Conn) -> Result<(), String> {
        let state = conn.state();
        match state.messages.front() {
            Some(first) if !self.scenario.allows_unread() => {
                let (count, first) = (state.messages.len(), cut(js(first), RECEIVED_CHARS_MAX));
                Err(format!("{count} message(s) on {} were never expected: {first}", conn.name()))
            }
            _ => Ok(()),
        }
    }
}

/// Opening and closing.
impl Play<'_> {
    fn connect(&mut self, step: &Value) -> Result<(), String> {
        let name = conn_name(step);
        if let Some(old) = self.conns.get(name) {
            self.leftovers(old)?;
            self.conns.remove(name);
        }
        let request = self.request(step)?;
        let timeout = self.until(Self::timeout_ms(step)).saturating_duration_since(Instant::now());
        let address = (self.address.host.as_str(), self.address.port);
        match (Conn::open(name, &self.transcript, address, &request, timeout), step.get("connectFails")) {
            (Ok(_), Some(_)) => Err("the connection was accepted, expected it to be refused".to_owned()),
            (Ok(conn), None) => {
                let checked = self.check_headers(step, &conn.headers);
                self.conns.insert(name.to_owned(), conn);
                checked
            }
            (Err(ConnectError::Refused { status, headers }), Some(pattern)) => {
                self.check(pattern, &json!({"status": status}), "upgrade")?;
                self.check_headers(step, &headers)
            }
            (Err(ConnectError::Refused { status, .. }), None) => {
                Err(format!("cannot connect: upgrade answered with status {status}"))
            }
            (Err(ConnectError::Broken(text)), _) => Err(text),
        }
    }

    fn request(&self, step: &Value) -> Result<Request, String> {
        let text =
            |key, otherwise: &str| step.get(key).and_then(Value::as_str).unwrap_or(otherwise).to_owned();
        let mut request = Request {
            method: text("method", "GET"),
            path: text("path", &self.address.path),
            ..Request::default()
        };
        let headers = substitute(step.get("headers").unwrap_or(&Value::Null), &self.binds)?;
        for (name, value) in headers.as_object().into_iter().flatten() {
            if !(value.is_null() || value.is_string()) {
                return Err(format!("header {name} is neither a text nor null"));
            }
            request.headers.push((name.clone(), value.as_str().map(str::to_owned)));
        }
        for message in step.get("early").and_then(Value::as_array).into_iter().flatten() {
            request.early.push(match message.as_str() {
                Some(text) => text.to_owned(),
                None => js(&substitute(message, &self.binds)?),
            });
        }
        Ok(request)
    }

    /// Compares headers of the answer; `null` = must be absent.
    fn check_headers(&mut self, step: &Value, headers: &Headers) -> Result<(), String> {
        for (name, pattern) in step.get("expectHeaders").and_then(Value::as_object).into_iter().flatten() {
            let value =
                headers.get(&name.to_ascii_lowercase()).map_or(Value::Null, |v| Value::from(v.as_str()));
            let absent = value.is_null();
            let ok = if pattern.is_null() {
                absent
            } else {
                !absent && differences(pattern, &value, &mut self.binds).is_empty()
            };
            if !ok {
                return Err(format!(
                    "response header {name}: expected {}, got {}",
                    short(pattern),
                    short(&value)
                ));
            }
        }
        Ok(())
    }

    fn close(&mut self, step: &Value) -> Result<(), String> {
        self.leftovers(self.conn(step)?)?;
        let deadline = self.until(STEP_TIMEOUT_MS);
        let (how, conn) = (&step["close"], self.conns.remove(conn_name(step)));
        if let Some(conn) = conn.filter(|_| how != "abort") {
            let code = how.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
            conn.close(
                code.unwrap_or(1000),
                how.get("reason").and_then(Value::as_str).unwrap_or_default(),
                deadline,
            );
        }
        Ok(())
    }
}

/// Sending.
impl Play<'_> {
    fn send(&self, step: &Value, opcode: u8, payload: &[u8]) -> Result<(), String> {
        self.conn(step)?.send_frame(opcode, payload, true, true, self.deadline);
        Ok(())
    }

    fn send_value(&self, step: &Value, value: &Value) -> Result<(), String> {
        let message = substitute(value, &self.binds)?;
        self.transcript.add(conn_name(step), "send", || message.clone());
        self.send(step, frame::TEXT, js(&message).as_bytes())
    }

    fn send_text(&self, step: &Value) -> Result<(), String> {
        let text = substitute(&step["sendText"], &self.binds)?;
        let text = text.as_str().ok_or_else(|| format!("sendText needs a text, not {}", short(&text)))?;
        self.transcript.add(conn_name(step), "sendText", || Value::from(cut(text.to_owned(), 2000)));
        self.send(step, frame::TEXT, text.as_bytes())
    }

    fn send_frame(&self, step: &Value) -> Result<(), String> {
        let raw = &step["sendFrame"];
        let opcode = raw["opcode"].as_u64().and_then(|n| u8::try_from(n).ok());
        let opcode = opcode.ok_or_else(|| format!("sendFrame without an opcode: {}", short(raw)))?;
        let flag = |key| raw.get(key).and_then(Value::as_bool).unwrap_or(true);
        let payload = base64_of(raw.get("payload"))?;
        self.conn(step)?.send_frame(opcode, &payload, flag("fin"), flag("masked"), self.deadline);
        Ok(())
    }
}

/// Receiving.
impl Play<'_> {
    fn next_message(&self, step: &Value) -> Result<Value, String> {
        let (conn, timeout) = (self.conn(step)?, Self::timeout_ms(step));
        if !conn.wait_until(self.until(timeout), |s| !s.messages.is_empty() || s.closed.is_some()) {
            return Err(format!("nothing arrived on {} within {timeout} ms", conn.name()));
        }
        let mut state = conn.state();
        let closed = state.closed.clone().unwrap_or_default();
        state.messages.pop_front().ok_or_else(|| {
            format!("{} was closed ({}) while a message was expected", conn.name(), js(&closed))
        })
    }

    fn recv_unordered(&mut self, step: &Value) -> Result<(), String> {
        let patterns = &step["recvUnordered"];
        let count = patterns.as_array().map_or(0, Vec::len);
        let got: Result<Vec<Value>, String> = (0..count).map(|_| self.next_message(step)).collect();
        self.check(&json!({"$unordered": patterns}), &Value::from(got?), "received")
    }

    fn recv_until(&mut self, step: &Value) -> Result<(), String> {
        let (pattern, most) = (&step["recvUntil"], number(step, "max", 1000));
        for _ in 0..most {
            let (message, mut trial) = (self.next_message(step)?, self.binds.clone());
            if differences(pattern, &message, &mut trial).is_empty() {
                self.binds = trial;
                return Ok(());
            }
        }
        Err(format!("{most} messages came and none matched {}", short(pattern)))
    }

    fn recv_none(&self, step: &Value) -> Result<(), String> {
        let (conn, ms) = (self.conn(step)?, number(step, "recvNone", 0));
        if !conn.wait_until(self.until(ms), |s| !s.messages.is_empty() || s.closed.is_some()) {
            return Ok(());
        }
        let state = conn.state();
        let got = match (state.messages.front(), &state.closed) {
            (Some(message), _) => cut(js(message), RECEIVED_CHARS_MAX),
            (None, closed) => format!("close {}", js(&closed.clone().unwrap_or_default())),
        };
        Err(format!("expected nothing on {} for {ms} ms, got {got}", conn.name()))
    }

    fn recv_close(&mut self, step: &Value) -> Result<(), String> {
        let (conn, timeout) = (self.conn(step)?, Self::timeout_ms(step));
        if !conn.wait_until(self.until(timeout), |s| !s.messages.is_empty() || s.closed.is_some()) {
            return Err(format!("{} was not closed within {timeout} ms", conn.name()));
        }
        let state = conn.state();
        if let Some(message) = state.messages.front() {
            let got = cut(js(message), RECEIVED_CHARS_MAX);
            return Err(format!("expected close of {}, got message {got}", conn.name()));
        }
        let closed = state.closed.clone().unwrap_or_default();
        drop(state);
        self.check(&step["recvClose"], &closed, "close")
    }

    fn recv_pong(&mut self, step: &Value) -> Result<(), String> {
        let conn = self.conn(step)?;
        let until = self.until(Self::timeout_ms(step));
        conn.wait_until(until, |s| !s.pongs.is_empty() || s.closed.is_some());
        let pong = conn.state().pongs.pop_front();
        let pong = pong.ok_or_else(|| format!("no control pong arrived on {}", conn.name()))?;
        self.check(&step["recvPong"], &Value::from(pong), "pong")
    }
}
