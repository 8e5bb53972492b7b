//! The journal alone: time per group, and the load of a database.

use crate::floor::Floor;
use crate::records::{Numbers, records};
use noex_bench::error::LoadError;
use noex_bench::flags::Flags;
use noex_bench::histogram::Histogram;
use noex_bench::process;
use noex_sqlite::{Durability, Options, SqliteImage, SqliteJournal, open};
use noex_store::{Image, Journal, JournalEntry, Record};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

const RECORDS_MAX: usize = 10_000_000;
const GROUPS: [usize; 4] = [1, 16, 256, 2560];

/// A folder for databases, removed at the end unless it was given.
fn folder(flags: &Flags) -> Result<(PathBuf, Option<tempfile::TempDir>), LoadError> {
    if let Some(given) = flags.text("folder") {
        return Ok((given.into(), None));
    }
    let made = tempfile::tempdir().map_err(LoadError::io("make a folder"))?;
    Ok((made.path().to_owned(), Some(made)))
}

fn opened(path: &Path, durability: Durability) -> Result<(SqliteJournal, SqliteImage), LoadError> {
    let options = Options { durability, ..Options::default() };
    open(path, &options).map_err(|error| LoadError::Check(error.to_string()))
}

fn submit(journal: &SqliteJournal, group: Vec<Vec<JournalEntry>>) -> Result<(), LoadError> {
    let (tell, told) = mpsc::channel();
    journal.submit(group, Box::new(move |outcome| tell.send(outcome).unwrap_or_default()));
    let outcome = told.recv().map_err(|_| LoadError::Check("the journal has ended".to_owned()))?;
    outcome.map_err(|error| LoadError::Check(error.to_string()))
}

fn put(seq: usize, record: &Arc<Record>) -> JournalEntry {
    JournalEntry::RecordPut { bucket: 1, seq: seq as u64, record: Arc::clone(record) }
}

fn fill(journal: &SqliteJournal, records: &[Arc<Record>]) -> Result<(), LoadError> {
    let define = JournalEntry::BucketDefined { bucket: 1, name: "b".into(), definition: "{}".into() };
    submit(journal, vec![vec![define]])?;
    for (n, chunk) in records.chunks(10_000).enumerate() {
        let entries = chunk.iter().enumerate().map(|(at, record)| put(n * 10_000 + at, record)).collect();
        submit(journal, vec![entries])?;
    }
    Ok(())
}

/// How long a group took, and how much of the processor in all.
struct Cost {
    times: Histogram,
    cpu_seconds: f64,
}

/// Repeats `work` for a while.
fn repeat(time: Duration, mut work: impl FnMut() -> Result<(), LoadError>) -> Result<Cost, LoadError> {
    let mut times = Histogram::default();
    let cpu = process::own_cpu_seconds();
    let start = Instant::now();
    while start.elapsed() < time || times.len() < 20 {
        let begin = Instant::now();
        work()?;
        times.record(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX), 1);
    }
    Ok(Cost { times, cpu_seconds: process::own_cpu_seconds() - cpu })
}

pub(crate) fn run(parser: &mut lexopt::Parser) -> Result<(), LoadError> {
    let flags = Flags::parse(parser, &["folder=", "records=", "seconds="])?;
    let (folder, _guard) = folder(&flags)?;
    let count = flags.count("records", 100_000, RECORDS_MAX)?;
    let time = flags.seconds("seconds", 1.0, 60.0)?;
    let all = records(count, "x")?;
    // SQLite does not write what does not change, so there are two versions of each record to change between.
    let versions = [records(count, "y")?, records(count, "z")?];
    println!(
        "random updates of {count} records of {} bytes, us per group",
        all.first().map_or(0, |r| r.json().len())
    );
    println!(
        "{:<10} {:>6} {:>10} {:>10} {:>10} {:>12} {:>14}",
        "", "group", "median", "p99", "max", "records/s", "cpu us/record"
    );
    let floor = filled_floor(&folder, &all)?;
    for group in GROUPS {
        report("SQLite", group, &repeat_floor(&floor, &versions, group, time)?);
    }
    let choices = [
        ("sync", Durability::Sync),
        ("interval", Durability::Interval(Duration::from_millis(100))),
        ("none", Durability::None),
    ];
    for (name, durability) in choices {
        let (journal, _) = opened(&folder.join(format!("{name}.db")), durability)?;
        fill(&journal, &all)?;
        for group in GROUPS {
            let (mut numbers, mut turn) = (Numbers(1), 0);
            let times = repeat(time, || {
                turn += 1;
                let Some(all) = versions.get(turn % 2) else { return Ok(()) };
                let places = (0..group).map(|_| numbers.below(count));
                // Two records a commit, as in a transfer.
                let entries: Vec<_> = places.filter_map(|at| Some(put(at, all.get(at)?))).collect();
                submit(&journal, entries.chunks(2).map(<[JournalEntry]>::to_vec).collect())
            })?;
            report(name, group, &times);
        }
    }
    Ok(())
}

fn filled_floor(folder: &Path, all: &[Arc<Record>]) -> Result<Floor, LoadError> {
    let floor = Floor::open(&folder.join("floor.db"))?;
    for (n, chunk) in all.chunks(10_000).enumerate() {
        floor.put(chunk.iter().enumerate().map(|(at, r)| ((n * 10_000 + at) as u64, &**r.json())))?;
    }
    Ok(floor)
}

fn repeat_floor(
    floor: &Floor,
    versions: &[Vec<Arc<Record>>; 2],
    group: usize,
    time: Duration,
) -> Result<Cost, LoadError> {
    let (mut numbers, mut turn) = (Numbers(1), 0);
    repeat(time, || {
        turn += 1;
        let Some(all) = versions.get(turn % 2) else { return Ok(()) };
        let texts = (0..group).map(|_| numbers.below(all.len()));
        floor.put(texts.filter_map(|at| Some((at as u64, &**all.get(at)?.json()))))
    })
}

/// Plain SQLite alone, in groups of one size.
pub(crate) fn floor(parser: &mut lexopt::Parser) -> Result<(), LoadError> {
    let flags = Flags::parse(parser, &["folder=", "records=", "group=", "seconds="])?;
    let (folder, _guard) = folder(&flags)?;
    let count = flags.count("records", 10_000, RECORDS_MAX)?;
    let group = flags.count("group", 256, 100_000)?;
    let time = flags.seconds("seconds", 1.0, 60.0)?;
    let versions = [records(count, "y")?, records(count, "z")?];
    let floor = filled_floor(&folder, versions.first().map_or(&[], Vec::as_slice))?;
    let begin = Instant::now();
    let Cost { times, .. } = repeat_floor(&floor, &versions, group, time)?;
    let rate = (times.len() * group as u64) as f64 / begin.elapsed().as_secs_f64();
    println!("floor: group={group} records_per_s={rate:.0} p50_us={:.0}", times.quantile_us(0.5));
    Ok(())
}

fn report(name: &str, group: usize, Cost { times, cpu_seconds }: &Cost) {
    let median = times.quantile_us(0.5);
    let records = times.len() as f64 * group as f64;
    println!(
        "{name:<10} {group:>6} {median:>10.0} {:>10.0} {:>10.0} {:>12.0} {:>14.2}",
        times.quantile_us(0.99),
        times.max() as f64 / 1000.0,
        group as f64 / median * 1e6,
        cpu_seconds * 1e6 / records,
    );
}

pub(crate) fn load(parser: &mut lexopt::Parser) -> Result<(), LoadError> {
    let flags = Flags::parse(parser, &["folder=", "records="])?;
    let (folder, _guard) = folder(&flags)?;
    let count = flags.count("records", 1_000_000, RECORDS_MAX)?;
    let path = folder.join("load.db");
    let (journal, _) = opened(&path, Durability::None)?;
    let begin = Instant::now();
    fill(&journal, &records(count, "x")?)?;
    journal.close().map_err(|error| LoadError::Check(error.to_string()))?;
    println!("{count} records written in {:.2} s", begin.elapsed().as_secs_f64());
    let begin = Instant::now();
    let (journal, mut image) = opened(&path, Durability::Sync)?;
    println!("opened and checked in {:.2} s", begin.elapsed().as_secs_f64());
    let begin = Instant::now();
    let (mut seen, mut bytes) = (0_usize, 0);
    let each = &mut |_, json: &str| {
        seen += 1;
        bytes += json.len();
        Ok(())
    };
    image.records(1, each).map_err(|error| LoadError::Check(error.to_string()))?;
    println!("{seen} records, {bytes} bytes read in {:.2} s", begin.elapsed().as_secs_f64());
    timed("checked", || noex_sqlite::check(&path, &mut |_| ()).map(drop))?;
    timed("backed up", || noex_sqlite::backup(&path, &folder.join("backup.db"), &mut |_| ()).map(drop))?;
    timed("exported", || noex_sqlite::export(&path, &folder.join("export"), &mut |_| ()).map(drop))?;
    let (export, import) = (folder.join("export"), folder.join("import.db"));
    timed("imported", || noex_sqlite::import(&export, &import, &mut |_| ()).map(drop))?;
    let begin = Instant::now();
    submit(&journal, vec![vec![JournalEntry::BucketCleared { bucket: 1 }]])?;
    println!("cleared in {:.2} s", begin.elapsed().as_secs_f64());
    Ok(())
}

fn timed(what: &str, work: impl FnOnce() -> Result<(), noex_sqlite::DataError>) -> Result<(), LoadError> {
    let begin = Instant::now();
    work().map_err(|error| LoadError::Check(error.to_string()))?;
    println!("{what} in {:.2} s", begin.elapsed().as_secs_f64());
    Ok(())
}
