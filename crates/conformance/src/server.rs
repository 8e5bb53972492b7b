//! A server process, started for one scenario and gone after it.
//!
//! Input: a command and the scenario's `server` object. Output: the port, the printed lines, how the process ended.
//! Contract: the server reads the configuration file, listens on 127.0.0.1, prints `READY <port>` (or a line that
//! matches `listening.*:<port>`) and ends with status 0 on SIGTERM.
//! Invariant: the process and its configuration file never outlive the value.

#[cfg(test)]
mod tests;

use std::io::{self, BufRead as _, BufReader, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use regex::Regex;
use serde_json::{Map, Value};

/// How a server is started: a program and its arguments, in which `{config}` stands for the configuration file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerCommand {
    argv: Vec<String>,
}

impl ServerCommand {
    /// Names the program.
    pub fn new(program: impl Into<String>) -> Self {
        Self { argv: vec![program.into()] }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.argv.push(arg.into());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.argv.extend(args.into_iter().map(Into::into));
        self
    }

    /// Splits a command line at blanks as a shell would: quotes and backslashes protect, nothing is expanded.
    ///
    /// Fails on an open quote, a backslash at the end and an empty line.
    pub fn parse(line: &str) -> Result<Self, String> {
        let argv = split_words(line)?;
        if argv.is_empty() { Err("the server command is empty".to_owned()) } else { Ok(Self { argv }) }
    }

    fn command(&self, config: &Path) -> Command {
        let config = config.to_string_lossy();
        let mut argv = self.argv.iter().map(|arg| arg.replace("{config}", &config));
        let mut command = Command::new(argv.next().unwrap_or_default());
        command.args(argv).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

fn split_words(line: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                let next = chars.peek().copied().ok_or("backslash at the end of the server command")?;
                // Inside double quotes a backslash protects only these; before others it is itself.
                if quote.is_none() || matches!(next, '"' | '\\') {
                    chars.next();
                    word.get_or_insert_default().push(next);
                } else {
                    word.get_or_insert_default().push('\\');
                }
            }
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(q)) if c == q => quote = None,
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("open quote in the server command".to_owned());
    }
    words.extend(word);
    Ok(words)
}

/// A running server process.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    output: Arc<Output>,
    port: u16,
    /// A step sent SIGTERM already; what a second one does is the server's choice.
    terminated: AtomicBool,
    /// Deleted last, after the process.
    _config: ConfigFile,
}

/// How long a server may take to print its port.
const READY_WAIT: Duration = Duration::from_secs(30);

/// How long a server may take to end after SIGTERM.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// Kept lines of output.
const LINES_MAX: usize = 2000;

impl Server {
    /// Starts the server and waits for its port; the error tells what it printed instead.
    pub(crate) fn start(command: &ServerCommand, config: &Value) -> Result<Self, String> {
        let config =
            ConfigFile::create(config).map_err(|e| format!("cannot write a configuration file: {e}"))?;
        let program = command.argv.first().map_or("", String::as_str);
        let spawned = command.command(&config.path).spawn();
        let mut child = spawned.map_err(|e| format!("cannot start {program}: {e}"))?;
        let output = Arc::new(Output::default());
        output.follow("out", child.stdout.take());
        output.follow("err", child.stderr.take());
        let mut server = Self { child, output, port: 0, terminated: AtomicBool::new(false), _config: config };
        match server.wait_for_port() {
            Some(port) => server.port = port,
            None => return Err(format!("the server did not get ready: {}", server.tail().join(" / "))),
        }
        Ok(server)
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// All lines printed so far (the first 2000), each with `out: ` or `err: ` in front.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.output.lock().lines.clone()
    }

    /// The last lines printed.
    pub(crate) fn tail(&self) -> Vec<String> {
        let lines = self.lines();
        lines[lines.len().saturating_sub(8)..].to_vec()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) -> Result<(), String> {
        self.terminated.store(true, Ordering::Relaxed);
        let pid = self.child.id().to_string();
        // The child is not waited for before this, so the id cannot belong to another process.
        let sent = Command::new("kill").args(["-TERM", &pid]).stderr(Stdio::null()).status();
        sent.map(|_| ()).map_err(|e| format!("cannot send SIGTERM: {e}"))
    }

    /// Stops the server; the error tells how it broke the contract.
    pub(crate) fn stop(&mut self) -> Result<(), String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            let text = format!("the server exited with status {}", status_text(status));
            return if status.success() { Ok(()) } else { Err(text) };
        }
        let first = !self.terminated.load(Ordering::Relaxed);
        self.terminate()?;
        match self.wait_for_exit(STOP_WAIT) {
            None => Err(format!("the server did not exit within {} s of SIGTERM", STOP_WAIT.as_secs())),
            Some(status) if first && !status.success() => {
                Err(format!("the server exited with status {} on SIGTERM", status_text(status)))
            }
            Some(_) => Ok(()),
        }
    }

    fn wait_for_port(&mut self) -> Option<u16> {
        let deadline = Instant::now() + READY_WAIT;
        let output = Arc::clone(&self.output);
        let mut printed = output.lock();
        loop {
            let ended = Instant::now() > deadline || !matches!(self.child.try_wait(), Ok(None));
            if printed.port.is_some() || (ended && printed.open == 0) {
                return printed.port;
            }
            if ended {
                // What it printed last tells why; but a grandchild may hold the pipes open for ever.
                let last = output.changed.wait_timeout_while(printed, POLL * 10, |p| p.open > 0);
                return last.unwrap_or_else(PoisonError::into_inner).0.port;
            }
            let woken = output.changed.wait_timeout(printed, POLL);
            printed = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn wait_for_exit(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(POLL),
                _ => return None,
            }
        }
    }
}

/// How often a process is looked at; std cannot wait for one with a limit.
const POLL: Duration = Duration::from_millis(10);

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The exit code, or minus the number of the signal that ended the process.
fn status_text(status: ExitStatus) -> String {
    let signal = || status.signal().map(|n| -n);
    status.code().or_else(signal).map_or_else(|| "unknown".to_owned(), |n| n.to_string())
}

/// What a server printed, collected by a thread per stream.
#[derive(Debug, Default)]
struct Output {
    printed: Mutex<Printed>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Printed {
    lines: Vec<String>,
    port: Option<u16>,
    /// Streams still being read.
    open: u32,
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Printed> {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(self: &Arc<Self>, tag: &'static str, stream: Option<impl Read + Send + 'static>) {
        let Some(stream) = stream else { return };
        let output = Arc::clone(self);
        output.lock().open += 1;
        // Not joined: the thread ends with the stream, which the process closes when it ends.
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                output.add(tag, String::from_utf8_lossy(&line).trim_end());
            }
            output.lock().open -= 1;
            output.changed.notify_all();
        });
    }

    fn add(&self, tag: &str, text: &str) {
        let mut printed = self.lock();
        if printed.lines.len() < LINES_MAX {
            printed.lines.push(format!("{tag}: {text}"));
        }
        if printed.port.is_none() {
            printed.port = port_in(text);
            self.changed.notify_all();
        }
    }
}

/// The port a line announces.
fn port_in(line: &str) -> Option<u16> {
    static READY: LazyLock<[Regex; 2]> = LazyLock::new(|| {
        [r"^READY\s+(\d+)", r"(?i)listening.*:(\d+)"].map(|e| Regex::new(e).expect("constant, and tested"))
    });
    READY.iter().find_map(|regex| regex.captures(line)?.get(1)?.as_str().parse().ok())
}

/// A configuration file that is deleted with the value.
#[derive(Debug)]
struct ConfigFile {
    path: PathBuf,
}

impl ConfigFile {
    fn create(config: &Value) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let mut members = Map::from_iter([("port".to_owned(), Value::from(0))]);
        members.extend(config.as_object().cloned().unwrap_or_default());
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("noex-conformance-{}-{number}.json", std::process::id());
        let file = Self { path: std::env::temp_dir().join(name) };
        std::fs::write(&file.path, Value::Object(members).to_string())?;
        Ok(file)
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
