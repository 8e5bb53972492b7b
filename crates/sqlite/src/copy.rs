//! Checking a database, and copying it whole: backup and restore.
//!
//! All of them read one snapshot through a connection of their own, so a server may own the database meanwhile and go
//! on writing. While the snapshot is held, the server's write-ahead log cannot be emptied and grows.

use crate::data::{DataError, Moved, Progress, Report};
use crate::error::{OpenError, Reason};
use crate::lock::Ownership;
use crate::open::{beside, connect_reader, peek, problems, publish, remove, resolve};
use crate::schema::{SCHEMA_VERSION, version};
use noex_json::ParseError;
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Pages copied between two reports.
const STEP_PAGES: i32 = 1024;
/// Records checked between two reports.
const STEP_RECORDS: u64 = 10_000;
/// Nesting of JSON that is accepted; more than any setting of the server allows.
pub(crate) const DEPTH_MAX: usize = 4096;
/// Problems that a check lists.
const PROBLEMS_MAX: usize = 100;

/// Opens an existing database for reading and holds one snapshot of it.
pub(crate) fn snapshot(path: &Path) -> Result<Connection, DataError> {
    if !peek(path)? {
        return Err(OpenError::new(path, Reason::Missing).into());
    }
    let connection = connect_reader(path)?;
    let wrap = DataError::sqlite(path);
    connection.execute_batch("BEGIN").map_err(&wrap)?;
    let found = version(&connection).map_err(&wrap)?;
    if found > SCHEMA_VERSION {
        return Err(OpenError::new(path, Reason::Newer { version: found, known: SCHEMA_VERSION }).into());
    }
    Ok(connection)
}

pub(crate) fn count(connection: &Connection, table: &str) -> rusqlite::Result<u64> {
    let count: i64 = connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

fn counts(connection: &Connection) -> rusqlite::Result<Moved> {
    Ok(Moved {
        buckets: count(connection, "buckets")?,
        records: count(connection, "records")?,
        queries: count(connection, "queries")?,
        kept: count(connection, "kept")?,
    })
}

/// What a check has found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Findings {
    /// What the database holds, if it could be counted.
    pub content: Moved,
    /// What is wrong, at most a hundred lines; empty = sound.
    pub problems: Vec<String>,
}

/// Checks a database to the last byte of every page, and that everything in it can be read back.
///
/// # Errors
/// If it cannot be opened. Damage is a finding.
pub fn check(path: &Path, report: Report<'_>) -> Result<Findings, DataError> {
    let connection = snapshot(path)?;
    let damaged =
        |error: rusqlite::Error| Findings { problems: vec![error.to_string()], ..Findings::default() };
    let structure = match problems(&connection, "integrity_check") {
        Ok(structure) => structure,
        Err(error) => return Ok(damaged(error)),
    };
    if !structure.is_empty() {
        return Ok(Findings { problems: structure, ..Findings::default() });
    }
    Ok(contents(&connection, report).unwrap_or_else(damaged))
}

fn contents(connection: &Connection, report: Report<'_>) -> rusqlite::Result<Findings> {
    let mut findings = Findings { content: counts(connection)?, problems: Vec::new() };
    let mut note = |problem: String| {
        if findings.problems.len() < PROBLEMS_MAX {
            findings.problems.push(problem);
        }
    };
    let mut named = connection.prepare(
        "SELECT 'bucket', name, definition FROM buckets UNION ALL SELECT 'query', name, definition FROM queries",
    )?;
    let mut rows = named.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, name, definition): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if !is_object(&definition) {
            note(format!("the definition of {kind} \"{name}\" is not a JSON object"));
        }
    }
    let mut kept = connection.prepare("SELECT space, key, value FROM kept")?;
    let mut rows = kept.query([])?;
    while let Some(row) = rows.next()? {
        let (space, key, value): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if noex_json::scan(&value, DEPTH_MAX).is_err() {
            note(format!("the value of {space} \"{key}\" is not JSON"));
        }
    }
    let mut records = connection.prepare(
        "SELECT r.bucket, r.seq, r.json, b.id IS NULL FROM records r LEFT JOIN buckets b ON b.id = r.bucket
         ORDER BY r.bucket, r.seq",
    )?;
    let mut rows = records.query([])?;
    let mut progress = Progress { done: 0, total: findings.content.records };
    while let Some(row) = rows.next()? {
        let (bucket, seq, lost): (i64, i64, bool) = (row.get(0)?, row.get(1)?, row.get(3)?);
        let json = row.get_ref(2)?.as_str().unwrap_or_default();
        if !is_object(json) {
            note(format!("record {seq} of bucket number {bucket} is not a JSON object"));
        }
        if lost {
            note(format!("record {seq} is of bucket number {bucket}, which is not there"));
        }
        progress.done += 1;
        if progress.done.is_multiple_of(STEP_RECORDS) {
            report(progress);
        }
    }
    report(progress);
    Ok(findings)
}

/// Tells whether a text is a JSON object.
pub(crate) fn is_object(text: &str) -> bool {
    match noex_json::scan(text, DEPTH_MAX) {
        Ok(raw) => raw.is_object(),
        Err(ParseError::Syntax | ParseError::TooDeep | ParseError::WrongType) => false,
    }
}

/// Copies a database that may be in use to a new file, and checks the copy.
///
/// # Errors
/// If the source cannot be read, the target exists or cannot be written, or the copy is damaged; no target then.
pub fn backup(from: &Path, to: &Path, report: Report<'_>) -> Result<Moved, DataError> {
    let (from, to) = (resolve(from)?, resolve(to)?);
    let source = snapshot(&from)?;
    vacant(&to)?;
    let draft = beside(&to, "-new");
    // Nobody owns the name of a backup, so only who makes the draft may remove it.
    OpenOptions::new().write(true).create_new(true).open(&draft).map_err(unfinished(&draft))?;
    finish(&source, &draft, &to, report)
}

/// Makes the error for a draft that cannot be made.
pub(crate) fn unfinished(draft: &Path) -> impl Fn(io::Error) -> DataError {
    move |error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            return DataError::content(
                draft,
                "an unfinished copy is there; remove it if nobody is writing it",
            );
        }
        DataError::io(draft)(error)
    }
}

/// Copies a backup to the place of a database that is not there, and checks the copy.
///
/// # Errors
/// As [`backup`]; also if another process owns the database.
pub fn restore(from: &Path, to: &Path, report: Report<'_>) -> Result<Moved, DataError> {
    let (from, to) = (resolve(from)?, resolve(to)?);
    let source = snapshot(&from)?;
    let _owner = own_vacant(&to)?;
    let draft = beside(&to, "-new");
    remove(&draft)?;
    finish(&source, &draft, &to, report)
}

/// Owns the name of a database that is not there.
pub(crate) fn own_vacant(path: &Path) -> Result<Ownership, DataError> {
    vacant(path)?;
    let owner = Ownership::acquire(path)?;
    vacant(path)?;
    Ok(owner)
}

/// Refuses a name that is taken, or that has a log which SQLite would take for the new file's.
fn vacant(path: &Path) -> Result<(), OpenError> {
    for suffix in ["", "-wal", "-journal"] {
        let path = beside(path, suffix);
        if path.symlink_metadata().is_ok() {
            return Err(OpenError::new(&path, Reason::Exists));
        }
    }
    Ok(())
}

fn finish(source: &Connection, draft: &Path, to: &Path, report: Report<'_>) -> Result<Moved, DataError> {
    let copied = copy(source, draft, report).and_then(|moved| Ok(publish(draft, to).map(|()| moved)?));
    if copied.is_err() {
        // The first error is the one to tell.
        let _ = remove(draft);
    }
    copied
}

fn copy(source: &Connection, draft: &Path, report: Report<'_>) -> Result<Moved, DataError> {
    let wrap = DataError::sqlite(draft);
    let mut target = Connection::open(draft).map_err(&wrap)?;
    // Nobody reads a draft after a crash, so it needs no journal.
    target.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;").map_err(&wrap)?;
    let backup = Backup::new(source, &mut target).map_err(&wrap)?;
    loop {
        let step = backup.step(STEP_PAGES).map_err(&wrap)?;
        let pages = backup.progress();
        let total = u64::from(pages.pagecount.unsigned_abs());
        report(Progress { done: total - u64::from(pages.remaining.unsigned_abs()).min(total), total });
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            // Somebody's shell holds a lock; the snapshot stays.
            StepResult::Busy | StepResult::Locked | _ => pause(),
        }
    }
    drop(backup);
    let found = problems(&target, "quick_check").map_err(&wrap)?;
    if !found.is_empty() {
        return Err(OpenError::new(draft, Reason::Damaged(found.join("; "))).into());
    }
    let moved = counts(&target).map_err(&wrap)?;
    target.close().map_err(|(_, error)| wrap(error))?;
    Ok(moved)
}

#[expect(clippy::disallowed_methods, reason = "a command line tool waits for another process")]
fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}
