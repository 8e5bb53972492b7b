//! Export to JSON lines and import from them.
//!
//! An export is a folder:
//!
//! ```text
//! export.json        {"format":"noex-export","version":1}
//! buckets.jsonl      {"name":…,"file":…,"definition":{…},"counter":n,"records":n} per bucket, in order of definition
//! buckets/<file>     a record per line, in base order
//! queries.jsonl      {"name":…,"definition":{…}} per query, in order of definition
//! kept.jsonl         {"space":…,"key":…,"value":…} per fact, rule and the like, in the order in which they came
//! ```
//! An import makes a new database of it. `records` may be left out where a file was written by hand; if it is there, the
//! file must have as many. Both are done completely or leave nothing.

use crate::copy::{DEPTH_MAX, count, is_object, own_vacant, snapshot, unfinished};
use crate::data::{DataError, Moved, Progress, Report};
use crate::open::{beside, create, resolve};
use crate::tables::Tables;
use noex_json::{Member, ParseError, Raw, scan_object, write_string};
use rusqlite::Connection;
use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Component, Path};

const HEADER: &str = r#"{"format":"noex-export","version":1}"#;
const STEP_RECORDS: u64 = 10_000;
/// Longest name of a file, in bytes; longer names of buckets get a number.
const FILE_NAME_MAX: usize = 200;

/// Gives the name of a bucket's file: letters, digits, `-` and `_` stand for themselves, any other byte of the name is
/// `%` and two hex digits. No two names give the same, also where the case of letters does not count in file names:
/// capitals are encoded too.
#[must_use]
pub fn file_name(bucket: &str) -> String {
    let mut out = String::with_capacity(bucket.len() + 6);
    for byte in bucket.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out.push_str(".jsonl");
    out
}

/// Exports a database that may be in use into a new folder.
///
/// # Errors
/// If the database cannot be read, or the folder exists or cannot be written.
pub fn export(from: &Path, to: &Path, report: Report<'_>) -> Result<Moved, DataError> {
    let source = snapshot(&resolve(from)?)?;
    if to.symlink_metadata().is_ok() {
        return Err(DataError::content(to, "the folder exists already and is not overwritten"));
    }
    let draft = beside(to, "-new");
    fs::create_dir(&draft).map_err(unfinished(&draft))?;
    let written = write(&source, from, &draft, report)
        .and_then(|moved| fs::rename(&draft, to).map(|()| moved).map_err(DataError::io(to)));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_dir_all(&draft);
    }
    written
}

/// Writes lines to a new file, which is on disk at the end.
fn lines(
    path: &Path,
    fill: impl FnOnce(&mut dyn FnMut(&str) -> Result<(), DataError>) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let mut out = BufWriter::new(File::create_new(path).map_err(DataError::io(path))?);
    fill(&mut |line| writeln!(out, "{line}").map_err(DataError::io(path)))?;
    let file = out.into_inner().map_err(|error| DataError::io(path)(error.into_error()))?;
    file.sync_all().map_err(DataError::io(path))
}

fn write(source: &Connection, from: &Path, to: &Path, report: Report<'_>) -> Result<Moved, DataError> {
    let wrap = DataError::sqlite(from);
    let mut moved = Moved::default();
    let mut progress = Progress { done: 0, total: count(source, "records").map_err(&wrap)? };
    lines(&to.join("export.json"), |line| line(HEADER))?;
    let folder = to.join("buckets");
    fs::create_dir(&folder).map_err(DataError::io(&folder))?;
    lines(&to.join("buckets.jsonl"), |line| {
        let sql = "SELECT id, name, definition, counter FROM buckets ORDER BY id";
        let mut buckets = source.prepare(sql).map_err(&wrap)?;
        let mut records =
            source.prepare("SELECT json FROM records WHERE bucket = ?1 ORDER BY seq").map_err(&wrap)?;
        let mut rows = buckets.query([]).map_err(&wrap)?;
        while let Some(row) = rows.next().map_err(&wrap)? {
            let read = || Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
            let (id, name, definition, counter): (i64, String, String, i64) = read().map_err(&wrap)?;
            let mut file = file_name(&name);
            if file.len() > FILE_NAME_MAX {
                // `.` is in no other name.
                file = format!("long.{}.jsonl", moved.buckets);
            }
            let before = progress.done;
            lines(&folder.join(&file), |line| {
                let mut rows = records.query([id]).map_err(&wrap)?;
                while let Some(row) = rows.next().map_err(&wrap)? {
                    let json = row.get_ref(0).and_then(|json| Ok(json.as_str()?)).map_err(&wrap)?;
                    if !is_object(json) || json.contains(['\n', '\r']) {
                        let problem =
                            format!("a record of bucket \"{name}\" is not a JSON object on one line");
                        return Err(DataError::content(from, problem));
                    }
                    line(json)?;
                    progress.done += 1;
                    if progress.done.is_multiple_of(STEP_RECORDS) {
                        report(progress);
                    }
                }
                Ok(())
            })?;
            let mut text = String::from("{\"name\":");
            write_string(&mut text, &name);
            text.push_str(",\"file\":");
            write_string(&mut text, &file);
            text.push_str(",\"definition\":");
            text.push_str(&one_line(&definition));
            text.push_str(&format!(",\"counter\":{counter},\"records\":{}}}", progress.done - before));
            line(&text)?;
            moved.buckets += 1;
        }
        Ok(())
    })?;
    moved.records = progress.done;
    let sql = "SELECT name, definition FROM queries ORDER BY ord";
    moved.queries = named(source, from, sql, ["name", "definition"], &to.join("queries.jsonl"))?;
    let sql = "SELECT space, key, value FROM kept ORDER BY ord";
    moved.kept = named(source, from, sql, ["space", "key", "value"], &to.join("kept.jsonl"))?;
    report(progress);
    Ok(moved)
}

/// Exports a table whose last column is JSON.
fn named<const N: usize>(
    source: &Connection,
    from: &Path,
    sql: &str,
    members: [&str; N],
    to: &Path,
) -> Result<u64, DataError> {
    let wrap = DataError::sqlite(from);
    let mut count = 0;
    lines(to, |line| {
        let mut statement = source.prepare(sql).map_err(&wrap)?;
        let mut rows = statement.query([]).map_err(&wrap)?;
        while let Some(row) = rows.next().map_err(&wrap)? {
            let mut text = String::from("{");
            for (at, member) in members.iter().enumerate() {
                let value: String = row.get(at).map_err(&wrap)?;
                if at > 0 {
                    text.push(',');
                }
                write_string(&mut text, member);
                text.push(':');
                if at + 1 < N { write_string(&mut text, &value) } else { text.push_str(&one_line(&value)) }
            }
            text.push('}');
            line(&text)?;
            count += 1;
        }
        Ok(())
    })?;
    Ok(count)
}

/// JSON without line breaks, which can only be between its tokens.
fn one_line(json: &str) -> Cow<'_, str> {
    if json.contains(['\n', '\r']) { json.replace(['\n', '\r'], " ").into() } else { json.into() }
}

/// Makes a new database of an exported folder.
///
/// # Errors
/// If the folder is not a complete export, or the database exists or is owned by another process.
pub fn import(from: &Path, to: &Path, report: Report<'_>) -> Result<Moved, DataError> {
    let header = from.join("export.json");
    let text = fs::read_to_string(&header).map_err(DataError::io(&header))?;
    if text.trim_end() != HEADER {
        return Err(DataError::content(
            &header,
            format!("this is no export of version 1; expected {HEADER}"),
        ));
    }
    let to = resolve(to)?;
    let owner = own_vacant(&to)?;
    let mut moved = Moved::default();
    create(&to, &owner, |connection| {
        let mut tables = Tables::new(connection, &to)?;
        moved = read(from, &mut tables, report)?;
        tables.finish()
    })?;
    Ok(moved)
}

fn read(from: &Path, tables: &mut Tables<'_>, report: Report<'_>) -> Result<Moved, DataError> {
    let mut moved = Moved::default();
    let list = from.join("buckets.jsonl");
    let folder = from.join("buckets");
    let mut progress = Progress::default();
    // The size of the files is known before their number of lines.
    each_line(&list, &mut |line| {
        let path = folder.join(plain_file(&line.members)?);
        progress.total += fs::metadata(&path).map_or(0, |file| file.len());
        Ok(())
    })?;
    each_line(&list, &mut |line| {
        let name = text(&line.members, "name")?;
        let definition = object(&line.members, "definition")?;
        let counter = whole(&line.members, "counter")?.unwrap_or(0);
        let path = folder.join(plain_file(&line.members)?);
        let id = tables.bucket(&name, definition, counter)?;
        let mut count = 0;
        each_line(&path, &mut |line| {
            tables.record(id, count, line.text)?;
            count += 1;
            progress.done += line.text.len() as u64 + 1;
            if count.is_multiple_of(STEP_RECORDS) {
                report(progress);
            }
            Ok(())
        })?;
        if let Some(expected) = whole(&line.members, "records")?.filter(|expected| *expected != count) {
            let problem = format!("there are {count} records instead of {expected}");
            return Err(Problem::Whole(DataError::content(&path, problem)));
        }
        tables.counters(id, counter, count)?;
        moved.buckets += 1;
        moved.records += count;
        Ok(())
    })?;
    each_line(&from.join("queries.jsonl"), &mut |line| {
        moved.queries += 1;
        Ok(tables.query(&text(&line.members, "name")?, object(&line.members, "definition")?)?)
    })?;
    each_line(&from.join("kept.jsonl"), &mut |line| {
        moved.kept += 1;
        let value = member(&line.members, "value").ok_or_else(|| missing("value", "a JSON value"))?;
        Ok(tables.keep(&text(&line.members, "space")?, &text(&line.members, "key")?, value.text())?)
    })?;
    report(progress);
    Ok(moved)
}

/// One line of a file.
struct Line<'l> {
    text: &'l str,
    members: Vec<Member<'l>>,
}

/// What is wrong with a line, or with something else that it led to.
enum Problem {
    Line(String),
    Whole(DataError),
}

impl From<DataError> for Problem {
    fn from(error: DataError) -> Self {
        Self::Whole(error)
    }
}

/// Gives the lines of a file, each a JSON object; empty lines are passed over.
fn each_line(path: &Path, each: &mut dyn FnMut(Line<'_>) -> Result<(), Problem>) -> Result<(), DataError> {
    let mut file = BufReader::new(File::open(path).map_err(DataError::io(path))?);
    let (mut buffer, mut number) = (String::new(), 0_u64);
    loop {
        buffer.clear();
        number += 1;
        let at = |problem: String| DataError::Content { path: path.to_owned(), line: Some(number), problem };
        if file.read_line(&mut buffer).map_err(|error| at(error.to_string()))? == 0 {
            return Ok(());
        }
        if buffer.trim().is_empty() {
            continue;
        }
        let mut members = Vec::new();
        let scanned = scan_object(&buffer, DEPTH_MAX, |member| members.push(member));
        scanned.map_err(|error| match error {
            ParseError::Syntax => at("this is not JSON".to_owned()),
            ParseError::TooDeep => at(format!("nested deeper than {DEPTH_MAX}")),
            ParseError::WrongType => at("this is not a JSON object".to_owned()),
        })?;
        each(Line { text: buffer.trim(), members }).map_err(|problem| match problem {
            Problem::Line(problem) => at(problem),
            Problem::Whole(error) => error,
        })?;
    }
}

fn member<'m>(members: &[Member<'m>], name: &str) -> Option<Raw<'m>> {
    members.iter().rev().find(|(held, _)| held == name).map(|(_, value)| *value)
}

fn missing(name: &str, what: &str) -> Problem {
    Problem::Line(format!("\"{name}\" should be {what}"))
}

fn text<'m>(members: &[Member<'m>], name: &str) -> Result<Cow<'m, str>, Problem> {
    member(members, name).and_then(Raw::as_str).ok_or_else(|| missing(name, "a string"))
}

/// Reads the name of a file in the folder of the buckets, which must not lead out of it.
fn plain_file<'m>(members: &[Member<'m>]) -> Result<String, Problem> {
    let name = text(members, "file")?;
    let mut parts = Path::new(&*name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(only)), None) if only == &*name => Ok(name.into_owned()),
        _ => Err(missing("file", "the name of a file in the folder \"buckets\"")),
    }
}

fn object<'m>(members: &[Member<'m>], name: &str) -> Result<&'m str, Problem> {
    let found = member(members, name).filter(|value| value.is_object());
    found.map(Raw::text).ok_or_else(|| missing(name, "an object"))
}

/// Reads a count that may be left out.
fn whole(members: &[Member<'_>], name: &str) -> Result<Option<u64>, Problem> {
    let Some(value) = member(members, name) else { return Ok(None) };
    let number = value.text().parse().ok().filter(|number| i64::try_from(*number).is_ok());
    number.map(Some).ok_or_else(|| missing(name, "a whole number"))
}
