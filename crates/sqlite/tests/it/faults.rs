//! A disk that is full, for which the system's limit on the size of files stands in.

use crate::support::{Maker, define, opened, put, records, submit};
use noex_sqlite::SqliteImage;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::Path;
use std::process::Command;

const DATABASE: &str = "NOEX_TEST_FULL_DB";

/// Writing past the limit is an error only if the signal is ignored, which a shell hands down.
#[test]
fn full_disk_refuses_groups_until_there_is_space() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("noex.db");
    let mut child = Command::new("sh");
    child.args(["-c", "trap '' XFSZ; exec \"$0\" --exact faults::child --ignored --nocapture"]);
    child.arg(std::env::current_exe().expect("path")).env(DATABASE, &path);
    let output = child.output().expect("ran");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    // The next process finds what was acknowledged, and nothing else.
    let (_journal, mut image) = opened(&path);
    let found = records(&mut image, 1).len();
    assert!(said.contains(&format!("ACKNOWLEDGED {found}\n")), "{found} found; {said}");
}

#[test]
#[ignore = "the process whose disk is full"]
fn child() {
    let path = std::env::var_os(DATABASE).expect("path");
    let (journal, mut image): (_, SqliteImage) = opened(Path::new(&path));
    let mut maker = Maker::new();
    submit(&journal, vec![vec![define(1, "a")]]).expect("kept");
    let unlimited = getrlimit(Resource::Fsize);
    let limit = |bytes| setrlimit(Resource::Fsize, Rlimit { current: bytes, ..unlimited }).expect("set");
    limit(Some(300_000));
    let text = "z".repeat(3000);
    let (mut kept, mut refused) = (0_u64, 0);
    for round in 0..400_u64 {
        if round == 300 {
            limit(unlimited.current);
        }
        let record = maker.record(round, &text);
        let group = vec![vec![put(1, kept, &record)], vec![put(1, kept + 1, &record)]];
        match submit(&journal, group) {
            Ok(()) => kept += 2,
            Err(error) => {
                assert!(round < 300, "there is space again, but: {error}");
                let text = error.to_string();
                assert!(text.contains("disk I/O error") || text.contains("disk is full"), "{text}");
                refused += 1;
            }
        }
        // Reads go on all the while, and show no half group.
        if round % 20 == 0 {
            assert_eq!(records(&mut image, 1).len() as u64, kept);
        }
    }
    assert!(refused > 100 && kept > 200, "{refused} refused, {kept} kept");
    drop(image);
    journal.close().expect("closed");
    println!("ACKNOWLEDGED {kept}");
}
