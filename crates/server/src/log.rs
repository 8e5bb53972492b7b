//! The log on standard error.
//!
//! Lines go through a queue to a thread of their own, for a reader that is slow or has stopped must not stop the
//! server. What does not fit is counted and told later. Clients choose some of the words, so a line stays one line.

use noex_config::{Log, LogFormat, LogLevel};
use std::{
    backtrace::{Backtrace, BacktraceStatus},
    collections::VecDeque,
    fmt::Write as _,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter};

/// Lines that wait to be written.
const LINES_MAX: usize = 1024;
/// Bytes of a line; of a longer one the rest is left out.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// Time for the last lines at the end of the process.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// The queue of the process.
static LINES: OnceLock<Lines> = OnceLock::new();

#[derive(Clone)]
struct Lines {
    shared: Arc<Shared>,
    /// Lines are JSON, which has escaped its texts.
    json: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// The queue has changed.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    /// Lines, and how many before each found no place.
    lines: VecDeque<(u64, String)>,
    /// Lines that found no place since the last that did.
    lost: u64,
    is_writing: bool,
}

/// Starts logging.
///
/// # Errors
/// If the thread that writes cannot be started.
pub(crate) fn start(config: &Log) -> io::Result<()> {
    let level = match config.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let json = matches!(config.format, LogFormat::Json);
    let lines = Lines::start(json, io::stderr())?;
    let lines = LINES.get_or_init(|| lines).clone();
    let builder = tracing_subscriber::fmt()
        .with_writer(lines)
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false);
    if json {
        builder.json().init()
    } else {
        builder.init()
    }
    // The default one writes to the error stream itself, and would wait for its reader.
    std::panic::set_hook(Box::new(|panic| {
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            tracing::error!("{panic}\n{trace}");
        } else {
            tracing::error!("{panic}");
        }
    }));
    Ok(())
}

/// Writes lines for people, without time and level.
pub(crate) fn plain(text: &str) {
    match LINES.get() {
        Some(lines) => lines.send(format!("{text}\n")),
        // Nobody to tell, if that fails.
        None => drop(writeln!(io::stderr().lock(), "{text}")),
    }
}

/// Waits until all has been written, for a bounded time.
pub(crate) fn finish() {
    if let Some(lines) = LINES.get() {
        lines.finish(FINISH_TIMEOUT);
    }
}

impl Shared {
    /// A panic while it is locked leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes lines for ever. Whoever reads the log may have gone, which is nobody's concern.
    fn write(&self, json: bool, mut out: impl Write) {
        let mut queue = self.lock();
        loop {
            let (lost, line) = match queue.lines.pop_front() {
                Some(next) => next,
                None if queue.lost > 0 => (std::mem::take(&mut queue.lost), String::new()),
                None => {
                    queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
            };
            queue.is_writing = true;
            drop(queue);
            if lost > 0 {
                let _ = out.write_all(missing(lost, json).as_bytes());
            }
            if !line.is_empty() {
                let _ = out.write_all(line.as_bytes());
            }
            queue = self.lock();
            queue.is_writing = false;
            self.changed.notify_all();
        }
    }
}

impl Lines {
    fn start(json: bool, out: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let lines = Self { shared: Arc::clone(&shared), json };
        thread::Builder::new().name("noex-log".to_owned()).spawn(move || shared.write(json, out))?;
        Ok(lines)
    }

    fn send(&self, line: String) {
        let mut queue = self.shared.lock();
        if queue.lines.len() < LINES_MAX {
            let lost = std::mem::take(&mut queue.lost);
            queue.lines.push_back((lost, line));
        } else {
            queue.lost += 1;
        }
        drop(queue);
        self.shared.changed.notify_all();
    }

    fn finish(&self, timeout: Duration) {
        let waits = |queue: &mut Queue| queue.is_writing || queue.lost > 0 || !queue.lines.is_empty();
        // Whatever is left then is lost.
        let _ = self.shared.changed.wait_timeout_while(self.shared.lock(), timeout, waits);
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

/// Takes one whole line with each call.
impl Write for &Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.send(if self.json { text.into_owned() } else { one_line(&text) });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn missing(lost: u64, json: bool) -> String {
    let text = format!("{lost} lines of the log are missing: it is read too slowly");
    if json {
        format!("{{\"level\":\"WARN\",\"fields\":{{\"message\":\"{text}\"}}}}\n")
    } else {
        format!("{text}\n")
    }
}

/// Escapes control characters and leaves out what is too much.
fn one_line(text: &str) -> String {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let mut line = String::with_capacity(text.len().min(LINE_BYTES_MAX) + 1);
    for (at, character) in text.char_indices() {
        if line.len() >= LINE_BYTES_MAX {
            let _ = write!(line, "… ({} bytes more)", text.len() - at);
            break;
        }
        if character.is_control() {
            line.extend(character.escape_debug());
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Writes only when it is told to, and tells what.
    struct Slow(mpsc::Receiver<()>, mpsc::Sender<String>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            let _ = self.1.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_line_of_bounded_length() {
        assert_eq!(one_line("WARN a\nb\u{1b}[31m\tc \u{85}ä\n"), "WARN a\\nb\\u{1b}[31m\\tc \\u{85}ä\n");
        let long = one_line(&"ä".repeat(LINE_BYTES_MAX));
        assert!(
            long.len() < LINE_BYTES_MAX + 40 && long.ends_with("ä… (8192 bytes more)\n"),
            "{}",
            long.len()
        );
    }

    /// Whoever logs never waits, and whoever reads learns what is missing.
    #[test]
    fn a_log_that_nobody_reads_stops_nobody() {
        let (go, may_go) = mpsc::channel();
        let (told, lines_told) = mpsc::channel();
        let lines = Lines::start(false, Slow(may_go, told)).expect("a thread");
        for n in 0..2 * LINES_MAX {
            (&lines).write_all(format!("line {n}\n").as_bytes()).expect("never fails");
        }
        lines.finish(Duration::ZERO);
        assert!(lines.shared.lock().lines.len() <= LINES_MAX);
        // As many as it can take.
        for _ in 0..3 * LINES_MAX {
            go.send(()).expect("it listens");
        }
        lines.finish(Duration::from_secs(60));
        let told: Vec<String> = lines_told.try_iter().collect();
        assert_eq!(told.first().map(String::as_str), Some("line 0\n"));
        let (written, missing): (Vec<&String>, Vec<&String>) =
            told.iter().partition(|line| line.starts_with("line "));
        let lost = |line: &String| line.split(' ').next().and_then(|lost| lost.parse::<usize>().ok());
        let lost: usize = missing.into_iter().map(|line| lost(line).expect("a number")).sum();
        assert!(lost > 0 && written.len() + lost == 2 * LINES_MAX, "{} and {lost}", written.len());
    }
}
