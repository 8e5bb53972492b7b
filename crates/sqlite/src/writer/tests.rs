//! The writer on a disk that is cut from its power at every operation, and on one that fails.

use super::disk::{self, Disk, NAME, Op};
use super::*;
use crate::lock::Ownership;
use noex_json::{Object, Value};
use noex_store::{Image, Random, Record, Store, StoreOptions};
use rusqlite::OpenFlags;
use std::io::ErrorKind;
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

struct Zeros;

impl Random for Zeros {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

/// Scrambles a number. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

type State = Vec<(u64, String)>;

/// Groups of changes to a bucket of up to 24 records of very different sizes.
fn groups(count: u64) -> Vec<Vec<Vec<JournalEntry>>> {
    let mut store = Store::new(StoreOptions::default(), Box::new(Zeros));
    let definition = r#"{"key":"id","schema":{"id":{"type":"number"}}}"#;
    let Ok(Value::Object(definition)) = noex_json::parse(definition, 10) else { panic!("no object") };
    store.define_bucket(0, "b", &definition).expect("defined");
    let mut record = |group: u64, seq: u64| -> Arc<Record> {
        let text = format!("{group} {}", "y".repeat(scramble(group + seq) as usize % 1200));
        let data: Object =
            [("id".into(), Value::from(seq as f64)), ("t".into(), Value::from(&*text))].into_iter().collect();
        let record = store.insert(0, "b", data).expect("inserted");
        store.clear(0, "b").expect("cleared");
        record
    };
    let define = JournalEntry::BucketDefined { bucket: 1, name: "b".into(), definition: "{}".into() };
    let mut all = vec![vec![vec![define]]];
    all.extend((1..count).map(|group| {
        let commit = |n: u64| {
            let pick = scramble(group * 16 + n);
            let seq = pick % 24;
            match pick >> 32 & 7 {
                0 => vec![JournalEntry::RecordDeleted { bucket: 1, seq }],
                _ => vec![JournalEntry::RecordPut { bucket: 1, seq, record: record(group, seq) }],
            }
        };
        (0..=scramble(group) % 4).map(commit).collect()
    }));
    all
}

/// What the bucket holds after a group.
fn next(state: &State, group: &[Vec<JournalEntry>]) -> State {
    let mut records: std::collections::BTreeMap<u64, String> = state.iter().cloned().collect();
    for entry in group.iter().flatten() {
        if let JournalEntry::RecordPut { seq, record, .. } = entry {
            records.insert(*seq, record.json().to_string());
        } else if let JournalEntry::RecordDeleted { seq, .. } = entry {
            records.remove(seq);
        }
    }
    records.into_iter().collect()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("folder")
}

/// A disk with an empty database.
fn empty() -> Disk {
    let folder = folder();
    crate::open::own(&folder.path().join("noex.db")).expect("made");
    Disk::of(folder.path(), &["noex.db"])
}

/// Runs the writer on a disk, one group after the other, and gives the disk.
fn write(name: &str, disk: Disk, durability: Durability, groups: &[Vec<Vec<JournalEntry>>]) -> Disk {
    disk::mount(name, disk);
    let locks = folder();
    let owner = Ownership::acquire(&locks.path().join("noex.db")).expect("owned");
    let path = PathBuf::from(format!("/{name}/noex.db"));
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags_and_vfs(&path, flags, NAME).expect("opened");
    // Without shared memory, which this disk lacks.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE").expect("set");
    let owned = Owned { path, connection, owner };
    let options = Options { durability, checkpoint_pages: 24 };
    configure(&owned, &options).expect("configured");
    let (jobs, queue) = sync_channel(1);
    let writer = thread::spawn(move || run(owned, &options, &queue));
    for group in groups {
        let (tell, told) = channel();
        let name = name.to_owned();
        let done = move |outcome: Result<(), JournalError>| {
            let outcome = outcome.map_err(|error| error.to_string());
            disk::with(&name, |disk| disk.ops.push(Op::Told(outcome)));
            tell.send(()).expect("waited for");
        };
        jobs.send((group.clone(), Box::new(done))).expect("served");
        told.recv().expect("told");
    }
    drop(jobs);
    // A disk that fails at the very end says so here; what was kept is kept.
    let _ = writer.join().expect("ended");
    disk::with(name, |disk| disk.clone())
}

/// Opens the files that are left as the server does after a power failure.
fn recovered(files: &std::collections::BTreeMap<String, Vec<u8>>) -> State {
    let folder = folder();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).expect("written");
    }
    let (_journal, mut image) =
        crate::journal::open(&folder.path().join("noex.db"), &Options::default()).expect("opens");
    let mut state = State::new();
    let each = &mut |seq, json: &str| {
        state.push((seq, json.to_owned()));
        Ok(())
    };
    image.records(1, each).expect("read");
    state
}

/// Cuts the power behind each operation. `told_is_kept`: a group whose outcome was told must be there.
fn cut_power(name: &str, durability: Durability, told_is_kept: bool) {
    let groups = groups(24);
    let disk = write(name, empty(), durability, &groups);
    let mut states = vec![State::new()];
    for group in &groups {
        states.push(next(states.last().expect("one"), group));
    }
    let mut seed = 0;
    let mut below = |bound: u64| {
        seed += 1;
        scramble(seed) % bound
    };
    let (mut told, mut behind) = (0, 0);
    for count in 0..=disk.ops.len() {
        if let Some(Op::Told(outcome)) = count.checked_sub(1).and_then(|last| disk.ops.get(last)) {
            assert_eq!(*outcome, Ok(()));
            told += 1;
        }
        for chance in [[0, 50], [90, 100]][count % 2] {
            let found = recovered(&disk.after(count, chance, &mut below));
            let from = if told_is_kept { told } else { 0 };
            let upto = (told + 1).min(states.len() - 1);
            assert!(
                states[from..=upto].contains(&found),
                "{count} of {} operations, {told} groups told, {chance} % of what was not synced: {found:?}",
                disk.ops.len(),
            );
            behind += usize::from(!states[told..=upto].contains(&found));
        }
    }
    let syncs = disk.ops.iter().filter(|op| matches!(op, Op::Sync { .. })).count();
    assert_eq!(told, groups.len());
    assert!(if told_is_kept { syncs > told } else { behind > 10 }, "{syncs} syncs, {behind} times behind");
}

#[test]
fn power_failure_loses_no_group_that_counts_as_synced() {
    cut_power("sync", Durability::Sync, true);
}

/// Nothing is promised but whole groups in order, and a database that opens.
#[test]
fn power_failure_without_syncs_leaves_an_earlier_state() {
    cut_power("none", Durability::None, false);
}

/// Fails at each operation, for one or for many: a group that is refused is not there, one that is kept is.
#[test]
fn failing_disk_refuses_groups_and_recovers() {
    let groups = groups(14);
    let empty = empty();
    let sound = write("sound", empty.clone(), Durability::Sync, &groups);
    let count = sound.ops.iter().filter(|op| !matches!(op, Op::Told(_))).count();
    let (mut refused, mut seed) = (0, 0);
    for at in 0..count {
        let (times, failure) =
            [(1, ErrorKind::Other), (7, ErrorKind::WriteZero), (40, ErrorKind::Other)][at % 3];
        let mut disk = empty.clone();
        (disk.failing, disk.failure) = (Some((at, times)), Some(failure));
        let name = format!("failing-{at}");
        let disk = write(&name, disk, Durability::Sync, &groups);
        let (mut state, mut possible) = (State::new(), vec![State::new()]);
        let mut told =
            disk.ops.iter().filter_map(|op| if let Op::Told(outcome) = op { Some(outcome) } else { None });
        for group in &groups {
            match told.next().expect("told") {
                Ok(()) => {
                    state = next(&state, group);
                    possible = vec![state.clone()];
                }
                Err(error) => {
                    assert!(error.contains("disk I/O error") || error.contains("disk is full"), "{error}");
                    // Until the next group is kept, a power failure may leave what was refused: it is whole, though.
                    possible.push(next(&state, group));
                    refused += 1;
                }
            }
        }
        let mut below = |bound: u64| {
            seed += 1;
            scramble(seed) % bound
        };
        let found = recovered(&disk.after(disk.ops.len(), 100, &mut below));
        assert!(possible.contains(&found), "failing at {at}: {found:?}");
    }
    assert!(refused > count / 2, "{refused} refused of {count} runs");
}
