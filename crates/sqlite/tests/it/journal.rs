//! Life of a journal: the thread, the hand-over, closing, the choices of durability, the size of the log.

use crate::support::{Maker, define, opened, put, records, submit, with};
use noex_sqlite::{Durability, Options, open};
use noex_store::{Journal, JournalEntry};
use std::fs;
use std::sync::{Arc, mpsc};
use std::time::Duration;

#[test]
fn every_durability_keeps_across_a_close() {
    let record = Maker::new().record(1, "a");
    for durability in [
        Durability::Sync,
        Durability::None,
        Durability::Interval(Duration::ZERO),
        Durability::Interval(Duration::from_secs(3600)),
    ] {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("noex.db");
        let (journal, image) = open(&path, &with(durability)).expect("opened");
        drop(image);
        submit(&journal, vec![vec![define(1, "a")]]).expect("kept");
        for seq in 0..10 {
            submit(&journal, vec![vec![put(1, seq, &record)]]).expect("kept");
        }
        journal.close().expect("closed");
        assert!(!path.with_extension("db-wal").exists(), "the log is empty after an orderly end");
        let (_journal, mut image) = opened(&path);
        assert_eq!(records(&mut image, 1).len(), 10, "{durability:?}");
    }
}

#[test]
fn closed_journal_refuses_and_gives_the_file_up() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("noex.db");
    let (journal, image) = opened(&path);
    drop(image);
    journal.close().expect("closed");
    journal.close().expect("twice is once");
    assert_eq!(submit(&journal, vec![]).expect_err("refused").to_string(), "the journal is closed");
    drop(opened(&path));
}

/// The next group may be handed over from within the outcome of the last, and the last owner may go there too.
#[test]
fn outcome_may_submit_and_drop() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("noex.db");
    let (journal, _image) = opened(&path);
    let journal = Arc::new(journal);
    let (tell, told) = mpsc::channel();
    let inner = Arc::clone(&journal);
    let group = vec![vec![define(1, "a")]];
    // Held back until this thread has let go of the journal.
    let (go, wait) = mpsc::channel::<()>();
    journal.submit(
        group,
        Box::new(move |outcome| {
            assert_eq!(outcome, Ok(()));
            wait.recv().expect("let go");
            let tell = tell.clone();
            inner.submit(
                vec![vec![define(2, "b")]],
                Box::new(move |outcome| tell.send(outcome).expect("waited")),
            );
            drop(inner);
        }),
    );
    drop(journal);
    go.send(()).expect("waiting");
    assert_eq!(told.recv(), Ok(Ok(())));
}

#[test]
fn a_group_before_its_turn_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let (journal, _image) = opened(&folder.path().join("noex.db"));
    let (go, wait) = mpsc::channel::<()>();
    let (entered, enter) = mpsc::channel::<()>();
    journal.submit(
        vec![],
        Box::new(move |_| {
            entered.send(()).expect("waited for");
            wait.recv().expect("let go");
        }),
    );
    enter.recv().expect("in the outcome");
    journal.submit(vec![], Box::new(|outcome| assert_eq!(outcome, Ok(()))));
    let refused = submit(&journal, vec![]).expect_err("refused");
    assert_eq!(refused.to_string(), "a group was given before the last was done");
    go.send(()).expect("waiting");
}

/// The log does not grow with the history, even while a reader comes and goes.
#[test]
fn log_is_bounded() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("noex.db");
    let options = Options { checkpoint_pages: 50, ..with(Durability::None) };
    let (journal, mut image) = open(&path, &options).expect("opened");
    let mut maker = Maker::new();
    let text = "x".repeat(2000);
    submit(&journal, vec![vec![define(1, "a")]]).expect("kept");
    for round in 0..200_u64 {
        let record = maker.record(round, &text);
        let commit: Vec<JournalEntry> = (0..20).map(|seq| put(1, seq, &record)).collect();
        submit(&journal, vec![commit]).expect("kept");
        if round % 50 == 0 {
            assert_eq!(records(&mut image, 1).len(), 20);
        }
    }
    let log = fs::metadata(path.with_extension("db-wal")).expect("log").len();
    assert!(log < 150 * 4096, "{log} bytes after 200 groups of about 12 pages");
}
