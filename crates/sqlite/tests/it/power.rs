//! Power failures, played on copies of the files.
//!
//! What a failing disk leaves of a write that was not synced is any selection of its sectors. So the files are copied
//! around every group and every checkpoint, and between two copies the sectors that differ are mixed at random: the
//! log's while a group is written, the database's while the log is moved into it, the log's header before its pages,
//! which SQLite syncs one after the other. Opened, each mixture has to be the state before or after the group.

use crate::support::{Maker, Numbers, define, put, quick_folder, records, submit};
use noex_sqlite::{Options, open};
use noex_store::{Journal, JournalEntry};
use std::fs;
use std::path::Path;

const SECTOR: usize = 512;

/// Both files at one moment.
#[derive(Clone)]
struct Disk {
    database: Vec<u8>,
    log: Vec<u8>,
}

impl Disk {
    fn of(path: &Path) -> Self {
        let read = |path: &Path| fs::read(path).unwrap_or_default();
        Self { database: read(path), log: read(&path.with_extension("db-wal")) }
    }

    /// Opens the files elsewhere and reads the records.
    fn recovered(&self) -> Vec<(u64, String)> {
        let folder = quick_folder();
        let path = folder.path().join("noex.db");
        fs::write(&path, &self.database).expect("written");
        fs::write(path.with_extension("db-wal"), &self.log).expect("written");
        let (_journal, mut image) = open(&path, &Options::default()).expect("opens after a power failure");
        records(&mut image, 1)
    }
}

/// Takes each sector from before or after; the length too.
fn mixed(before: &[u8], after: &[u8], chance: u64, numbers: &mut Numbers) -> Vec<u8> {
    let mut out = before.to_vec();
    let longest = before.len().max(after.len());
    for at in (0..longest).step_by(SECTOR) {
        if numbers.below(100) >= chance {
            continue;
        }
        let end = (at + SECTOR).min(after.len());
        let Some(sector) = after.get(at..end) else { continue };
        if out.len() < end {
            // A sector that is missing in between reads as zeros.
            out.resize(end, 0);
        }
        out[at..end].copy_from_slice(sector);
    }
    out
}

#[test]
fn power_failure_leaves_the_state_before_or_after_a_group() {
    let folder = quick_folder();
    let path = folder.path().join("noex.db");
    let options = Options { checkpoint_pages: 40, ..Options::default() };
    let (journal, mut image) = open(&path, &options).expect("opened");
    let (mut maker, mut numbers) = (Maker::new(), Numbers(1));
    submit(&journal, vec![vec![define(1, "a")]]).expect("kept");
    // A group without entries writes nothing; with its outcome, a checkpoint after the last group is over.
    let settle = |journal: &dyn Journal| submit(journal, vec![]).expect("kept");
    settle(&journal);
    let (mut disk, mut state) = (Disk::of(&path), records(&mut image, 1));
    let (mut checkpoints, mut restarts, mut seen_before, mut seen_after) = (0, 0, 0, 0);
    for round in 0..60_u64 {
        let commit: Vec<JournalEntry> = (0..=numbers.below(8))
            .map(|_| numbers.below(40))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|seq| put(1, seq, &maker.record(seq, &format!("{round} {}", "y".repeat(seq as usize * 40)))))
            .collect();
        submit(&journal, vec![commit]).expect("kept");
        settle(&journal);
        let (next, after) = (Disk::of(&path), records(&mut image, 1));
        let mut start = disk.clone();
        if next.log.get(..32) != disk.log.get(..32) {
            // The log begins anew: its header is synced before the pages.
            restarts += 1;
            let header = next.log.get(..32).expect("header");
            start.log.resize(start.log.len().max(32), 0);
            start.log[..32].copy_from_slice(header);
            assert_eq!(start.recovered(), state, "round {round}, after the new header");
        }
        for chance in [0, 30, 60, 90, 97, 100] {
            let log = mixed(&start.log, &next.log, chance, &mut numbers);
            let found = Disk { database: disk.database.clone(), log }.recovered();
            assert!(found == state || found == after, "round {round}, {chance} % of the log");
            seen_before += usize::from(found == state && found != after);
            seen_after += usize::from(found == after);
        }
        for cut in 0..4 {
            let from = start.log.len().min(next.log.len());
            let log = next.log[..from + (next.log.len() - from) * cut / 4].to_vec();
            let found = Disk { database: disk.database.clone(), log }.recovered();
            assert!(found == state || found == after, "round {round}, log cut {cut}");
        }
        if next.database != disk.database {
            checkpoints += 1;
            for chance in [0, 30, 60, 90, 100] {
                let database = mixed(&disk.database, &next.database, chance, &mut numbers);
                let found = Disk { database, log: next.log.clone() }.recovered();
                assert_eq!(found, after, "round {round}, {chance} % of the database");
            }
        }
        (disk, state) = (next, after);
    }
    assert!(checkpoints > 3 && restarts > 3, "{checkpoints} checkpoints, {restarts} restarts");
    assert!(seen_before > 60 && seen_after > 60, "{seen_before} before, {seen_after} after");
}
