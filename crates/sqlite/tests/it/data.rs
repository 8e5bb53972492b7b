//! Check, backup, restore, export and import.

use crate::support::{Maker, define, kept, opened, put, quick_folder, records, submit};
use noex_sqlite::{Moved, Progress, SqliteImage, backup, check, export, file_name, import, restore};
use noex_store::{Image, JournalEntry, StoredBucket};
use proptest::prelude::*;
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const NAMES: [&str; 4] = ["users", "Users", "a/b\\c:*?.\u{1F600}\n", "%41"];

/// Everything that an image shows, with places counted from 0 as an import gives them.
type Content = (Vec<(String, String, u64, Vec<String>)>, Vec<(String, String)>, Vec<(String, String)>);

fn content(image: &mut SqliteImage) -> Content {
    let buckets = image.buckets().expect("read").into_iter().map(
        |StoredBucket { id, name, definition, counter, .. }| {
            let texts = records(image, id).into_iter().map(|(_, json)| json).collect();
            (name, definition, counter, texts)
        },
    );
    (buckets.collect(), image.queries().expect("read"), kept(image, "fact"))
}

fn filled(path: &Path) -> noex_sqlite::SqliteJournal {
    let (journal, _image) = opened(path);
    let mut maker = Maker::new();
    let mut commit = Vec::new();
    for (id, name) in (1..).zip(NAMES) {
        commit.push(define(id, name));
        for n in 0..id * 100 {
            // Gaps, as deletions leave them.
            commit.push(put(id, n * 3, &maker.record(n, "\n\u{2028}ü")));
        }
        commit.push(JournalEntry::Counters { bucket: id, counter: id * 1000, next_seq: id * 300 });
    }
    let query = |name: &str| JournalEntry::QueryDefined {
        name: name.into(),
        definition: "{\n\"bucket\":\"users\"}".into(),
    };
    commit.extend([query("z"), query("a")]);
    let fact = |key: &str, value: &str| JournalEntry::Kept {
        space: "fact",
        key: key.into(),
        value: Some(value.into()),
    };
    commit.extend([fact("b", "[1,2]"), fact("a", "null")]);
    submit(&journal, vec![commit]).expect("kept");
    journal
}

const MOVED: Moved = Moved { buckets: 4, records: 1000, queries: 2, kept: 2 };

#[test]
fn backup_is_taken_while_the_database_is_written() {
    let folder = quick_folder();
    let (path, copy) = (folder.path().join("noex.db"), folder.path().join("copy.db"));
    let journal = filled(&path);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Two records that change together, as fast as they can.
        let writer = scope.spawn(|| {
            let mut maker = Maker::new();
            submit(&journal, vec![vec![define(9, "pair")]]).expect("kept");
            for n in 0_u64.. {
                let record = maker.record(n, &"x".repeat(3000));
                submit(&journal, vec![vec![put(9, 0, &record)], vec![put(9, 1, &record)]]).expect("kept");
                if stop.load(Ordering::Relaxed) {
                    return n;
                }
            }
            0
        });
        let mut seen = Vec::new();
        for round in 0..5 {
            let copy = folder.path().join(format!("{round}.db"));
            let moved = backup(&path, &copy, &mut |progress| seen.push(progress)).expect("copied");
            assert!(moved.records >= 1000, "{moved}");
            let (_journal, mut image) = opened(&copy);
            let pair = records(&mut image, 9);
            assert!(pair.is_empty() || pair[0].1 == pair[1].1, "half a group in the backup");
        }
        assert!(
            seen.iter().all(|Progress { done, total }| done <= total)
                && seen.iter().any(|p| p.done == p.total)
        );
        stop.store(true, Ordering::Relaxed);
        assert!(writer.join().expect("wrote") > 0);
    });
    backup(&path, &copy, &mut |_| ()).expect("copied");
    let error = backup(&path, &copy, &mut |_| ()).expect_err("refused");
    assert_eq!(
        error.to_string(),
        format!("{}: the file exists already and is not overwritten", copy.display())
    );
    journal.close().expect("closed");
    assert!(!folder.path().join("copy.db-wal").exists() && !folder.path().join("copy.db-new").exists());
}

#[test]
fn restored_database_is_that_of_the_backup() {
    let folder = quick_folder();
    let at = |name: &str| folder.path().join(name);
    let journal = filled(&at("noex.db"));
    assert_eq!(backup(&at("noex.db"), &at("copy.db"), &mut |_| ()), Ok(MOVED));
    let taken = restore(&at("copy.db"), &at("noex.db"), &mut |_| ()).expect_err("refused");
    assert!(
        taken.to_string().ends_with("noex.db: the file exists already and is not overwritten"),
        "{taken}"
    );
    journal.close().expect("closed");
    assert_eq!(restore(&at("copy.db"), &at("again.db"), &mut |_| ()), Ok(MOVED));
    let (_a, mut before) = opened(&at("noex.db"));
    let (_b, mut after) = opened(&at("again.db"));
    assert_eq!(before.buckets(), after.buckets());
    assert_eq!(content(&mut before), content(&mut after));
    for id in 1..5 {
        assert_eq!(records(&mut before, id), records(&mut after, id));
    }
    // A log that is left over would be taken for that of the new file.
    fs::write(at("third.db-wal"), "x").expect("written");
    let refused = restore(&at("copy.db"), &at("third.db"), &mut |_| ()).expect_err("refused");
    assert!(
        refused.to_string().ends_with("third.db-wal: the file exists already and is not overwritten"),
        "{refused}"
    );
    let missing = restore(&at("nothing.db"), &at("fourth.db"), &mut |_| ()).expect_err("refused");
    assert!(missing.to_string().ends_with("nothing.db: there is no such file"), "{missing}");
    assert!(!at("fourth.db").exists());
}

#[test]
fn import_gives_what_was_exported() {
    let folder = quick_folder();
    let at = |name: &str| folder.path().join(name);
    let journal = filled(&at("noex.db"));
    assert_eq!(export(&at("noex.db"), &at("out"), &mut |_| ()), Ok(MOVED), "beside its owner");
    journal.close().expect("closed");
    let again = export(&at("noex.db"), &at("out"), &mut |_| ()).expect_err("refused");
    assert!(again.to_string().ends_with("out: the folder exists already and is not overwritten"), "{again}");
    let mut last = Progress::default();
    assert_eq!(import(&at("out"), &at("in.db"), &mut |progress| last = progress), Ok(MOVED));
    assert!(last.done == last.total && last.total > 50_000, "{last:?}");
    let (_a, mut before) = opened(&at("noex.db"));
    let (_b, mut after) = opened(&at("in.db"));
    let (mut before, after) = (content(&mut before), content(&mut after));
    for (_, definition) in &mut before.1 {
        *definition = definition.replace('\n', " ");
    }
    assert_eq!(before, after);
    let refused = import(&at("out"), &at("in.db"), &mut |_| ()).expect_err("refused");
    assert!(
        refused.to_string().ends_with("in.db: the file exists already and is not overwritten"),
        "{refused}"
    );
}

/// Whatever is wrong with a folder, the line is named and no database is left behind.
#[test]
fn broken_exports_are_refused() {
    let folder = quick_folder();
    let at = |name: &str| folder.path().join(name);
    filled(&at("noex.db")).close().expect("closed");
    export(&at("noex.db"), &at("out"), &mut |_| ()).expect("exported");
    let refused = |file: &str, old: &str, new: &str, text: &str| {
        let path = at("out").join(file);
        let sound = fs::read_to_string(&path).expect("read");
        assert!(sound.contains(old), "{sound}");
        fs::write(&path, sound.replacen(old, new, 1)).expect("written");
        let error = import(&at("out"), &at("in.db"), &mut |_| ()).expect_err("refused");
        assert!(error.to_string().ends_with(text), "{error} should end with {text}");
        assert!(!at("in.db").exists() && !at("in.db-new").exists());
        fs::write(&path, sound).expect("written");
    };
    refused(
        "export.json",
        "1",
        "2",
        &format!("this is no export of version 1; expected {}", r#"{"format":"noex-export","version":1}"#),
    );
    refused("buckets/users.jsonl", "{\"id\":7,", "{\"id\":7", "users.jsonl, line 8: this is not JSON");
    refused(
        "buckets/users.jsonl",
        "{\"id\":0,",
        "[]\n{\"id\":0,",
        "users.jsonl, line 1: this is not a JSON object",
    );
    refused(
        "buckets/users.jsonl",
        "{\"id\":0,",
        "{}\n\n{\"id\":0,",
        "users.jsonl: there are 101 records instead of 100",
    );
    refused(
        "buckets.jsonl",
        "\"users.jsonl\"",
        "\"../users.jsonl\"",
        "line 1: \"file\" should be the name of a file in the folder \"buckets\"",
    );
    refused(
        "buckets.jsonl",
        "\"users.jsonl\"",
        "\"none.jsonl\"",
        "none.jsonl: No such file or directory (os error 2)",
    );
    refused(
        "buckets.jsonl",
        "\"definition\":{}",
        "\"definition\":[]",
        "line 1: \"definition\" should be an object",
    );
    refused(
        "buckets.jsonl",
        "\"counter\":1000",
        "\"counter\":-1",
        "line 1: \"counter\" should be a whole number",
    );
    refused("buckets.jsonl", "\"name\":\"Users\"", "\"name\":\"users\"", "bucket \"users\" occurs twice");
    refused("kept.jsonl", "\"value\"", "\"other\"", "line 1: \"value\" should be a JSON value");
    fs::remove_file(at("out").join("queries.jsonl")).expect("removed");
    let error = import(&at("out"), &at("in.db"), &mut |_| ()).expect_err("refused");
    assert!(error.to_string().ends_with("queries.jsonl: No such file or directory (os error 2)"), "{error}");
}

#[test]
fn check_finds_what_cannot_be_read_back() {
    let folder = quick_folder();
    let path = folder.path().join("noex.db");
    let journal = filled(&path);
    let sound = check(&path, &mut |_| ()).expect("checked");
    assert_eq!((sound.content, sound.problems), (MOVED, vec![]), "beside its owner");
    journal.close().expect("closed");
    let other = Connection::open(&path).expect("opened");
    let damage =
        "UPDATE records SET json = '[]' WHERE bucket = 1 AND seq = 3; DELETE FROM buckets WHERE id = 2;
        UPDATE queries SET definition = 'x' WHERE name = 'a'; UPDATE kept SET value = '{' WHERE key = 'a';";
    other.execute_batch(damage).expect("damaged");
    let found = check(&path, &mut |_| ()).expect("checked").problems;
    assert_eq!(found[0], "the definition of query \"a\" is not a JSON object");
    assert_eq!(found[1], "the value of fact \"a\" is not JSON");
    assert_eq!(found[2], "record 3 of bucket number 1 is not a JSON object");
    assert_eq!(found[3], "record 0 is of bucket number 2, which is not there");
    assert_eq!(found.len(), 100, "and no more");
    other.close().expect("closed");
    // A page deep inside.
    let mut bytes = fs::read(&path).expect("read");
    let page = bytes.len() / 2 / 4096 * 4096;
    bytes[page..page + 12].fill(0x55);
    fs::write(&path, bytes).expect("written");
    let found = check(&path, &mut |_| ()).expect("checked").problems;
    assert!(!found.is_empty() && found.len() <= 100);
}

proptest! {
    #[test]
    fn file_names_are_plain_and_tell_buckets_apart(names in proptest::collection::btree_set(".{0,12}", 1..50)) {
        let files: BTreeSet<String> = names.iter().map(|name| file_name(name).to_lowercase()).collect();
        prop_assert_eq!(files.len(), names.len(), "also where case does not count");
        for file in files {
            prop_assert!(file.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_%.".contains(&b)), "{}", file);
        }
    }
}

/// A name whose file name would be too long for most systems.
#[test]
fn long_names_of_buckets_are_exported() {
    let folder = quick_folder();
    let at = |name: &str| folder.path().join(name);
    let (journal, _image) = opened(&at("noex.db"));
    let names = ["\u{1F600}".repeat(1024), "\u{1F600}".repeat(1023)];
    submit(&journal, vec![vec![define(1, &names[0]), define(2, &names[1]), define(3, "long.0")]])
        .expect("kept");
    export(&at("noex.db"), &at("out"), &mut |_| ()).expect("exported");
    import(&at("out"), &at("in.db"), &mut |_| ()).expect("imported");
    let (_journal, mut image) = opened(&at("in.db"));
    let found: Vec<String> = image.buckets().expect("read").into_iter().map(|bucket| bucket.name).collect();
    assert_eq!(found, [&*names[0], &*names[1], "long.0"]);
}
