//! The audit log: the latest entries in memory, and a file that gets all of them.
//!
//! The file is written by a thread of its own behind a bounded queue, so that neither a slow disk nor a broken one is
//! felt by a request: what does not fit is counted and reported in the log. Source: the auth specification, section 7.

use noex_core::{AuditQuery, AuditRecord, Tier};
use noex_json::{write_number, write_string};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    fmt,
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

/// Settings of the audit log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditOptions {
    /// Tiers of the operations that are recorded.
    pub tiers: Vec<Tier>,
    /// Entries kept for `audit.query`; the oldest go first. 0 counts as 1.
    pub entries_max: usize,
    /// File to which entries are appended, one JSON object per line.
    pub file: Option<PathBuf>,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self { tiers: vec![Tier::Admin], entries_max: 10_000, file: None }
    }
}

/// One entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    pub(crate) time_ms: u64,
    pub(crate) connection: u64,
    pub(crate) address: String,
    pub(crate) record: AuditRecord,
}

/// Entries that wait for the file at most.
const QUEUE_MAX: usize = 8192;

/// How long a stop waits for the file.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// The audit log of one server.
pub(crate) struct AuditLog {
    entries: Mutex<VecDeque<Arc<Entry>>>,
    entries_max: usize,
    file: Option<FileSink>,
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").field("entries_max", &self.entries_max).finish_non_exhaustive()
    }
}

impl AuditLog {
    /// Makes an empty log and opens the file, if there is one.
    pub(crate) fn new(options: &AuditOptions) -> io::Result<Self> {
        Ok(Self {
            entries: Mutex::default(),
            entries_max: options.entries_max.max(1),
            file: options.file.clone().map(FileSink::open).transpose()?,
        })
    }

    /// Adds an entry.
    pub(crate) fn add(&self, entry: Entry) {
        let entry = Arc::new(entry);
        if let Some(file) = &self.file {
            file.send(Arc::clone(&entry));
        }
        let oldest = {
            let mut entries = self.entries.lock();
            let oldest = if entries.len() >= self.entries_max { entries.pop_front() } else { None };
            entries.push_back(entry);
            oldest
        };
        drop(oldest);
    }

    /// Answers `audit.query`.
    pub(crate) fn query(&self, query: &AuditQuery) -> String {
        let limit = query.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let found: Vec<Arc<Entry>> = {
            let entries = self.entries.lock();
            entries.iter().rev().filter(|entry| entry.matches(query)).take(limit).cloned().collect()
        };
        let mut out = String::from("{\"entries\":[");
        for (index, entry) in found.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            entry.write_json(&mut out);
        }
        out.push_str("]}");
        out
    }

    /// Opens the file anew, for whoever has moved it away.
    pub(crate) fn reopen(&self) {
        if let Some(file) = &self.file {
            file.shared.reopen.store(true, Ordering::Release);
            // A full queue keeps the thread awake anyway.
            let _ = file.sender.lock().as_ref().map(|sender| sender.try_send(Job::Look));
        }
    }

    /// Entries that did not get into the file.
    pub(crate) fn lost(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.shared.lost.load(Ordering::Relaxed))
    }

    /// Waits until the file has got what was added so far, for a bounded time; what is added later does not reach it.
    pub(crate) fn finish(&self) {
        let Some(file) = &self.file else { return };
        if file.sender.lock().take().is_none() {
            return;
        }
        if let Some(ended) = file.ended.lock().take()
            && ended.recv_timeout(FINISH_TIMEOUT) == Err(RecvTimeoutError::Timeout)
        {
            tracing::error!("the audit file takes too long; entries may be missing");
        }
    }
}

impl Entry {
    #[expect(clippy::cast_precision_loss, reason = "a date in ms")]
    fn matches(&self, query: &AuditQuery) -> bool {
        let AuditQuery { user_id, operation, success, from, to, limit: _ } = query;
        let time = self.time_ms as f64;
        user_id.as_ref().is_none_or(|user| self.record.user_id.as_ref() == Some(user))
            && operation.as_ref().is_none_or(|operation| self.record.operation == operation)
            && success.is_none_or(|success| self.record.error.is_none() == success)
            && from.is_none_or(|from| time >= from)
            && to.is_none_or(|to| time <= to)
    }

    pub(crate) fn write_json(&self, out: &mut String) {
        let AuditRecord { user_id, operation, resource, error, details } = &self.record;
        let text = |out: &mut String, name: &str, value: &str| {
            out.push_str(name);
            write_string(out, value);
        };
        out.push_str("{\"timestamp\":");
        #[expect(clippy::cast_precision_loss, reason = "a date in ms")]
        write_number(out, self.time_ms as f64);
        match user_id {
            Some(user) => text(out, ",\"userId\":", user),
            None => out.push_str(",\"userId\":null"),
        }
        text(out, ",\"sessionId\":", &format!("conn-{}", self.connection));
        text(out, ",\"operation\":", operation);
        text(out, ",\"resource\":", resource);
        out.push_str(if error.is_some() { ",\"result\":\"error\"" } else { ",\"result\":\"success\"" });
        if let Some(error) = error {
            text(out, ",\"error\":", error);
        }
        if let Some(details) = details {
            out.push_str(",\"details\":");
            out.push_str(details);
        }
        text(out, ",\"remoteAddress\":", &self.address);
        out.push('}');
    }
}

/// What the thread of the file is told.
enum Job {
    Write(Arc<Entry>),
    /// Something else has changed.
    Look,
}

#[derive(Debug, Default)]
struct FileState {
    reopen: AtomicBool,
    lost: AtomicU64,
}

struct FileSink {
    /// `None` once the log has been finished.
    sender: Mutex<Option<SyncSender<Job>>>,
    ended: Mutex<Option<Receiver<()>>>,
    shared: Arc<FileState>,
}

impl FileSink {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = open(&path)?;
        let shared = Arc::new(FileState::default());
        let (sender, jobs) = sync_channel(QUEUE_MAX);
        let (end, ended) = sync_channel(1);
        let writer = Writer {
            path,
            file: Some(BufWriter::new(file)),
            shared: Arc::clone(&shared),
            unflushed: 0,
            reported: false,
        };
        thread::Builder::new().name("noex-audit".to_owned()).spawn(move || {
            writer.run(&jobs);
            // Nobody may be waiting.
            let _ = end.send(());
        })?;
        Ok(Self { sender: Mutex::new(Some(sender)), ended: Mutex::new(Some(ended)), shared })
    }

    fn send(&self, entry: Arc<Entry>) {
        let sent =
            self.sender.lock().as_ref().is_some_and(|sender| sender.try_send(Job::Write(entry)).is_ok());
        if !sent && self.shared.lost.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::error!("the audit file is too slow: entries are missing from it");
        }
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The thread's state.
struct Writer {
    path: PathBuf,
    /// `None` after a failure, until it can be opened again.
    file: Option<BufWriter<File>>,
    shared: Arc<FileState>,
    /// Entries written since the last flush.
    unflushed: u64,
    /// The failure has been reported, and nothing has been written since.
    reported: bool,
}

impl Writer {
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut next = Some(first);
            // All that is there, then one flush.
            while let Some(job) = next {
                self.reopen_if_asked();
                if let Job::Write(entry) = job {
                    self.write(&entry);
                }
                next = jobs.try_recv().ok();
            }
            self.flush();
        }
    }

    fn reopen_if_asked(&mut self) {
        if self.shared.reopen.swap(false, Ordering::AcqRel) {
            self.flush();
            self.file = None;
        }
    }

    fn write(&mut self, entry: &Entry) {
        self.unflushed += 1;
        if self.file.is_none() {
            match open(&self.path) {
                Ok(file) => self.file = Some(BufWriter::new(file)),
                Err(error) => return self.fail(&error),
            }
        }
        let mut line = String::with_capacity(256);
        entry.write_json(&mut line);
        line.push('\n');
        if let Some(Err(error)) = self.file.as_mut().map(|file| file.write_all(line.as_bytes())) {
            self.fail(&error);
        }
    }

    fn flush(&mut self) {
        match self.file.as_mut().map(Write::flush) {
            None => {}
            Some(Ok(())) => {
                self.unflushed = 0;
                if std::mem::take(&mut self.reported) {
                    let lost = self.shared.lost.load(Ordering::Relaxed);
                    tracing::warn!(lost, "the audit file can be written again");
                }
            }
            Some(Err(error)) => self.fail(&error),
        }
    }

    /// Counts what is lost, reports it once, and gives the file up: the next entry opens it again.
    fn fail(&mut self, error: &io::Error) {
        self.shared.lost.fetch_add(std::mem::take(&mut self.unflushed), Ordering::Relaxed);
        if !std::mem::replace(&mut self.reported, true) {
            tracing::error!("cannot write the audit file {}: {error}", self.path.display());
        }
        // Without its buffer, which would be written when it is dropped.
        drop(self.file.take().map(BufWriter::into_parts));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn entry(time_ms: u64, user: Option<&str>, operation: &'static str, error: Option<&str>) -> Entry {
        let record = AuditRecord {
            user_id: user.map(str::to_owned),
            operation,
            resource: "a\"b".into(),
            error: error.map(str::to_owned),
            details: error.map(|_| "{\"n\":1}".to_owned()),
        };
        Entry { time_ms, connection: 7, address: "::1".into(), record }
    }

    fn times(log: &AuditLog, query: &AuditQuery) -> Vec<u64> {
        let found = noex_json::parse(&log.query(query), 8).expect("JSON");
        let entries = found.as_object().and_then(|found| found.get("entries")?.as_array()).expect("entries");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
        let time =
            |entry: &noex_json::Value| entry.as_object()?.get("timestamp")?.as_number().map(|n| n as u64);
        entries.iter().filter_map(time).collect()
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("noex-audit-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    #[test]
    fn queries_filter_exactly_and_show_the_newest_first() {
        let log =
            AuditLog::new(&AuditOptions { entries_max: 4, ..AuditOptions::default() }).expect("no file");
        for (time, user, operation, error) in [
            (1, None, "x", None),
            (2, Some("ann"), "x", None),
            (3, Some("bob"), "x", Some("no")),
            (4, Some("ann"), "y", Some("no")),
            (5, None, "y", None),
        ] {
            log.add(entry(time, user, operation, error));
        }
        let all = AuditQuery::default;
        assert_eq!(times(&log, &all()), [5, 4, 3, 2], "the oldest is gone");
        assert_eq!(times(&log, &AuditQuery { limit: Some(2), ..all() }), [5, 4]);
        assert_eq!(times(&log, &AuditQuery { user_id: Some("ann".into()), ..all() }), [4, 2]);
        assert_eq!(times(&log, &AuditQuery { user_id: Some(String::new()), ..all() }), [0; 0]);
        assert_eq!(times(&log, &AuditQuery { operation: Some("x".into()), ..all() }), [3, 2]);
        assert_eq!(times(&log, &AuditQuery { success: Some(false), ..all() }), [4, 3]);
        assert_eq!(times(&log, &AuditQuery { from: Some(3.0), to: Some(4.0), ..all() }), [4, 3]);
    }

    #[test]
    fn an_entry_is_one_line_of_json() {
        let mut out = String::new();
        entry(9, None, "x", None).write_json(&mut out);
        entry(9, Some("u"), "x", Some("no\n")).write_json(&mut out);
        assert_eq!(
            out,
            concat!(
                r#"{"timestamp":9,"userId":null,"sessionId":"conn-7","operation":"x","resource":"a\"b","result":"success","remoteAddress":"::1"}"#,
                r#"{"timestamp":9,"userId":"u","sessionId":"conn-7","operation":"x","resource":"a\"b","result":"error","error":"no\n","details":{"n":1},"remoteAddress":"::1"}"#
            )
        );
    }

    #[test]
    fn the_file_gets_every_entry_and_survives_rotation() {
        let folder = folder("rotation");
        let path = folder.join("audit.jsonl");
        fs::write(&path, "before\n").expect("written");
        let options = AuditOptions { entries_max: 1, file: Some(path.clone()), ..AuditOptions::default() };
        let log = AuditLog::new(&options).expect("a log");
        log.add(entry(1, None, "x", None));
        // The thread has the first entry before the file is moved.
        while fs::read_to_string(&path).expect("a file").lines().count() < 2 {
            thread::yield_now();
        }
        fs::rename(&path, folder.join("old")).expect("moved");
        log.reopen();
        log.add(entry(2, None, "x", None));
        log.add(entry(3, None, "x", None));
        log.finish();
        log.add(entry(4, None, "x", None));
        assert_eq!(log.lost(), 1, "after the end");
        let lines = |name: &str| fs::read_to_string(folder.join(name)).expect("a file").lines().count();
        assert_eq!((lines("old"), lines("audit.jsonl")), (2, 2));
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_file_that_breaks_is_counted_and_felt_by_nobody() {
        let folder = folder("broken");
        let inner = folder.join("inner");
        fs::create_dir(&inner).expect("a folder");
        let options = AuditOptions { file: Some(inner.join("audit.jsonl")), ..AuditOptions::default() };
        let log = AuditLog::new(&options).expect("a log");
        fs::remove_dir_all(&folder).expect("removed");
        log.reopen();
        log.add(entry(1, None, "x", None));
        while log.lost() == 0 {
            thread::yield_now();
        }
        assert_eq!(times(&log, &AuditQuery::default()), [1], "it is in memory all the same");
        fs::create_dir_all(&inner).expect("a folder");
        log.add(entry(2, None, "x", None));
        log.finish();
        let text = fs::read_to_string(inner.join("audit.jsonl")).expect("it works again");
        assert_eq!(text.lines().count(), 1);
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_told_at_the_start() {
        let options = AuditOptions { file: Some(std::env::temp_dir()), ..AuditOptions::default() };
        assert!(AuditLog::new(&options).is_err());
    }
}
