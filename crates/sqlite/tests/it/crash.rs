//! A process that journals is killed at a random moment: every group that it has reported is there, none is half
//! there. `NOEX_CRASH_ROUNDS` sets the number of rounds.

use crate::support::{Maker, define, kept, put, records, scramble, submit, with};
use noex_sqlite::{Durability, SqliteImage, open};
use noex_store::{Image, JournalEntry};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const DATABASE: &str = "NOEX_TEST_CRASH_DB";
const DURABILITY: &str = "NOEX_TEST_CRASH_DURABILITY";

/// The commits of group `group`, always the same: each moves a unit between two accounts and logs the move, so that
/// accounts and log tell on each other. Bucket 1 and 2 hold accounts, 3 the log.
fn transfers(group: u64) -> Vec<(u64, u64)> {
    let count = scramble(group) % 40;
    (0..count).map(|n| scramble(group * 64 + n)).map(|r| (r % 50, (r >> 32) % 50)).collect()
}

/// What the tables hold after groups `0..=last`.
#[derive(Clone, Debug, Default, PartialEq)]
struct Books {
    accounts: [BTreeMap<u64, i64>; 2],
    log: u64,
}

impl Books {
    fn apply(&mut self, group: u64, maker: &mut Maker) -> Vec<Vec<JournalEntry>> {
        let mut commits = Vec::new();
        for (from, to) in transfers(group) {
            let mut commit = Vec::new();
            for (side, account, change) in [(0_usize, from, -1), (1, to, 1)] {
                let balance = self.accounts[side].entry(account).or_default();
                *balance += change;
                commit.push(put(side as u64 + 1, account, &maker.record(account, &balance.to_string())));
            }
            commit.push(put(3, self.log, &maker.record(self.log, &format!("{from} {to}"))));
            self.log += 1;
            commit.push(JournalEntry::Counters { bucket: 3, counter: self.log, next_seq: self.log });
            commits.push(commit);
        }
        commits.push(vec![JournalEntry::Kept {
            space: "last",
            key: "group".into(),
            value: Some(group.to_string().into()),
        }]);
        commits
    }

    fn read(image: &mut SqliteImage) -> Self {
        let mut books = Self::default();
        for side in 0..2 {
            for (account, json) in records(image, side as u64 + 1) {
                let text = json.split("\"text\":\"").nth(1).and_then(|rest| rest.split('"').next());
                let balance = text.and_then(|text| text.parse().ok()).expect("a balance");
                books.accounts[side].insert(account, balance);
            }
        }
        books.log = records(image, 3).len() as u64;
        books
    }
}

fn last_group(image: &mut SqliteImage) -> Option<u64> {
    let kept = kept(image, "last");
    kept.first().map(|(_, value)| value.parse().expect("a number"))
}

/// Starts a child, kills it after it has reported `reports` groups and a moment more, and gives the last one reported.
fn killed_child(path: &Path, durability: &str, reports: u64, moment: u64) -> Option<u64> {
    let mut child = Command::new(std::env::current_exe().expect("path"));
    child.args(["--exact", "crash::child", "--ignored", "--nocapture"]);
    child.env(DATABASE, path).env(DURABILITY, durability).stdout(Stdio::piped());
    let mut child = child.spawn().expect("started");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut last = None;
    let mut wanted = reports;
    let mut note = |line: &str| {
        // The test harness may begin the line.
        let number = line.split("KEPT ").nth(1)?.parse::<u64>().ok()?;
        last = Some(number);
        Some(())
    };
    while wanted > 0 {
        let line = lines.next().expect("the child works until it is killed").expect("text");
        if note(&line).is_some() {
            wanted -= 1;
        }
    }
    for n in 0..moment {
        std::hint::black_box(scramble(n));
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    // What it had still said.
    for line in lines.map_while(Result::ok) {
        note(&line);
    }
    last
}

fn rounds() -> u64 {
    std::env::var("NOEX_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

#[test]
fn killed_process_loses_no_reported_group_and_halves_none() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("noex.db");
    let (mut model, mut maker, mut next) = (Books::default(), Maker::new(), 0);
    for round in 0..rounds() {
        // All three survive the death of the process.
        let durability = ["sync", "interval", "none"][round as usize % 3];
        let seed = scramble(u64::from(std::process::id()) << 32 | round);
        let reported = killed_child(&path, durability, seed % 60 + 1, (seed >> 32) % 2_000_000);
        let (journal, mut image) = open(&path, &with(Durability::Sync)).expect("opens after a kill");
        let last = last_group(&mut image);
        assert!(last >= reported, "round {round}: {reported:?} was reported, {last:?} is there");
        while last.is_some_and(|last| next <= last) {
            model.apply(next, &mut maker);
            next += 1;
        }
        assert_eq!(Books::read(&mut image), model, "round {round} after group {last:?}");
        let log = image.buckets().expect("read").into_iter().find(|bucket| bucket.id == 3);
        assert_eq!(log.map(|log| (log.counter, log.next_seq)), Some((model.log, model.log)));
        drop(journal);
    }
}

#[test]
#[ignore = "the process that is killed"]
fn child() {
    let path = std::env::var_os(DATABASE).expect("path");
    let durability = match std::env::var(DURABILITY).expect("durability").as_str() {
        "sync" => Durability::Sync,
        "interval" => Durability::Interval(std::time::Duration::from_millis(2)),
        _ => Durability::None,
    };
    let options = noex_sqlite::Options { checkpoint_pages: 60, ..with(durability) };
    let (journal, mut image) = open(Path::new(&path), &options).expect("opened");
    let (mut books, mut maker) = (Books::read(&mut image), Maker::new());
    let next = last_group(&mut image).map_or(0, |last| last + 1);
    drop(image);
    if next == 0 {
        let buckets = ["from", "to", "log"];
        let defined = (1..).zip(buckets).map(|(id, name)| define(id, name)).collect();
        submit(&journal, vec![defined]).expect("kept");
    }
    for group in next.. {
        submit(&journal, books.apply(group, &mut maker)).expect("kept");
        let mut out = std::io::stdout().lock();
        writeln!(out, "KEPT {group}").and_then(|()| out.flush()).expect("told");
    }
}
