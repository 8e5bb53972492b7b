//! What is refused at the start, with which words, and that nothing is touched then.

use crate::support::{Maker, define, opened, put, quick_folder, records, submit};
use noex_sqlite::{APPLICATION_ID, Options, Reason, SCHEMA_VERSION, open};
use noex_store::Image;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Contents of a folder, without what locks and SQLite's shared memory leave.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        let name = path.file_name().expect("name").to_string_lossy().into_owned();
        if path.is_file() && !name.ends_with("-lock") && !name.ends_with("-shm") {
            all.insert(name, fs::read(&path).expect("read"));
        }
    }
    // A reader makes an empty log if there is none.
    all.retain(|name, bytes| !(name.ends_with("-wal") && bytes.is_empty()));
    all
}

/// Refused with `text`, and the folder is as it was.
fn refused(path: &Path, text: &str) {
    let before = contents(path.parent().expect("folder"));
    let error = open(path, &Options::default()).expect_err("refused");
    assert_eq!(error.to_string(), format!("{}: {text}", path.display()));
    assert_eq!(contents(path.parent().expect("folder")), before, "{text}");
}

/// A database with a bucket of 200 records in several pages.
fn filled(path: &Path) {
    let (journal, _image) = opened(path);
    let mut maker = Maker::new();
    let mut commit = vec![define(1, "a")];
    commit.extend((0..200).map(|seq| put(1, seq, &maker.record(seq, &"x".repeat(200)))));
    submit(&journal, vec![commit]).expect("kept");
    journal.close().expect("closed");
}

#[test]
fn second_owner_is_refused_by_any_name() {
    let folder = quick_folder();
    let path = folder.path().join("noex.db");
    let (journal, image) = opened(&path);
    let text = format!("the database is in use by another server (process {})", std::process::id());
    refused(&path, &text);
    let link = folder.path().join("link.db");
    symlink(&path, &link).expect("link");
    let error = open(&link, &Options::default()).expect_err("refused");
    assert_eq!(error.reason, Reason::InUse { process: Some(std::process::id()) });
    drop((journal, image));
    drop(opened(&path));
}

#[test]
fn what_is_no_database_is_refused() {
    let folder = quick_folder();
    let path = folder.path().join("noex.db");
    fs::write(&path, "").expect("written");
    refused(&path, "the file is empty; if it is not wanted, remove it to start with a new database");
    fs::write(&path, "SQLite format 3").expect("written");
    refused(&path, "the file is not an SQLite database");
    fs::write(&path, "{\"a\":1}".repeat(1000)).expect("written");
    refused(&path, "the file is not an SQLite database");
    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("folder");
    refused(&path, "this is a directory, not a database file");
}

#[test]
fn missing_folder_is_named() {
    let folder = quick_folder();
    let error =
        open(&folder.path().join("nowhere").join("noex.db"), &Options::default()).expect_err("refused");
    let nowhere = folder.path().join("nowhere");
    assert_eq!(error.to_string(), format!("{}: No such file or directory (os error 2)", nowhere.display()));
}

#[test]
fn databases_of_others_are_refused() {
    let folder = quick_folder();
    let path = folder.path().join("noex.db");
    let other = Connection::open(&path).expect("made");
    other.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1)").expect("filled");
    refused(&path, "the file is an SQLite database of another program (application id 0x00000000)");
    other.pragma_update(None, "application_id", 0x1234).expect("marked");
    refused(&path, "the file is an SQLite database of another program (application id 0x00001234)");
}

#[test]
fn newer_version_is_refused_also_if_only_the_log_tells() {
    let folder = quick_folder();
    let path = folder.path().join("noex.db");
    filled(&path);
    let newer = SCHEMA_VERSION + 1;
    let text = format!(
        "the database has schema version {newer}, this program knows versions up to {SCHEMA_VERSION}; use a newer one"
    );
    let other = Connection::open(&path).expect("opened");
    other.pragma_update(None, "user_version", newer).expect("marked");
    assert!(path.with_extension("db-wal").exists(), "only the log has it yet");
    refused(&path, &text);
    other.close().expect("closed");
    assert!(!path.with_extension("db-wal").exists(), "now the database has it");
    refused(&path, &text);
}

#[test]
fn log_without_its_database_is_refused() {
    let folder = quick_folder();
    let path = folder.path().join("noex.db");
    fs::write(path.with_extension("db-wal"), [7; 100]).expect("written");
    refused(
        &path,
        "the file is missing, but its write-ahead log (-wal) is there; put the file back, or remove the log too",
    );
}

/// SQLite would take it as empty, and drop what was kept in it.
#[test]
fn log_that_is_none_is_refused() {
    let folder = quick_folder();
    let path = folder.path().join("noex.db");
    filled(&path);
    let log = path.with_extension("db-wal");
    fs::write(&log, [7; 5000]).expect("written");
    let before = contents(folder.path());
    let error = open(&path, &Options::default()).expect_err("refused");
    let text = format!("{}: the database is damaged: this is no write-ahead log", log.display());
    assert_eq!(error.to_string(), text);
    assert_eq!(contents(folder.path()), before);
    // What a power failure may leave before the first sync.
    fs::write(&log, [0; 5000]).expect("written");
    let (_journal, mut image) = opened(&path);
    assert_eq!(records(&mut image, 1).len(), 200);
}

#[test]
fn database_without_a_version_is_refused() {
    let folder = quick_folder();
    let path = folder.path().join("noex.db");
    filled(&path);
    let other = Connection::open(&path).expect("opened");
    other.pragma_update(None, "user_version", 0).expect("marked");
    refused(&path, "the database is damaged: it has no schema version");
    other.close().expect("closed");
    refused(&path, "the database is damaged: it has no schema version");
}

#[test]
fn database_that_is_locked_by_another_program_is_refused() {
    let folder = quick_folder();
    let path = folder.path().join("noex.db");
    filled(&path);
    let other = Connection::open(&path).expect("opened");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    refused(&path, "the database is locked by another program");
    other.execute_batch("ROLLBACK").expect("unlocked");
    drop(opened(&path));
}

/// Every page but those with nothing but text in them: what SQLite can notice, the start notices.
#[test]
fn damaged_pages_are_refused() {
    let folder = quick_folder();
    let path = folder.path().join("noex.db");
    filled(&path);
    let sound = fs::read(&path).expect("read");
    for page in 0..sound.len() / 4096 {
        let mut damaged = sound.clone();
        // The header of a page in the tree; the first page begins with the header of the file.
        let at = if page == 0 { 100 } else { page * 4096 };
        damaged[at..at + 12].fill(0x55);
        fs::write(&path, &damaged).expect("written");
        let before = contents(folder.path());
        let Err(error) = open(&path, &Options::default()) else { panic!("page {page} is not missed") };
        assert!(matches!(error.reason, Reason::Damaged(_)), "page {page}: {error}");
        assert!(error.to_string().contains("the database is damaged: "), "{error}");
        assert_eq!(contents(folder.path()), before);
    }
    for length in [4096, sound.len() - 4096, sound.len() - 1] {
        fs::write(&path, &sound[..length]).expect("written");
        let error = open(&path, &Options::default()).expect_err("refused");
        assert!(matches!(error.reason, Reason::Damaged(_)), "{length} bytes: {error}");
    }
    fs::write(&path, &sound).expect("written");
    let (_journal, mut image) = opened(&path);
    assert_eq!(records(&mut image, 1).len(), 200);
}

/// An earlier start that died while it made the database leaves a draft, which nobody mistakes for data.
#[test]
fn draft_of_a_dead_process_is_replaced() {
    let folder = quick_folder();
    let path = folder.path().join("noex.db");
    fs::write(folder.path().join("noex.db-new"), "half").expect("written");
    filled(&path);
    assert!(!folder.path().join("noex.db-new").exists());
}

#[test]
fn new_database_says_what_it_is() {
    let folder = quick_folder();
    let path = folder.path().join("noex.db");
    let pair = opened(&path);
    let other = Connection::open(&path).expect("readable meanwhile");
    let number =
        |name: &str| other.pragma_query_value(None, name, |row| row.get::<_, u32>(0)).expect("number");
    assert_eq!((number("application_id"), number("user_version")), (APPLICATION_ID, SCHEMA_VERSION));
    let mode: String = other.pragma_query_value(None, "journal_mode", |row| row.get(0)).expect("mode");
    assert_eq!(mode, "wal");
    drop(pair);
}

const PROTECTED: &str = "NOEX_TEST_PROTECTED";

/// The administrator may write everywhere, so the test goes on as somebody else if it can.
#[test]
fn write_protection_is_told() {
    let folder = quick_folder();
    let path = folder.path().join("noex.db");
    filled(&path);
    let program = folder.path().join("test");
    fs::copy(std::env::current_exe().expect("path"), &program).expect("copied");
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
    mode(&program, 0o755);
    let run = || {
        let mut child = Command::new(&program);
        child.args(["--exact", "opening::opens_protected", "--ignored", "--nocapture"]);
        child.env(PROTECTED, &path);
        if rustix::process::getuid().is_root() {
            child.uid(65534).gid(65534);
        }
        let output = child.output().expect("ran");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // The lock file is there, but the database is not writable.
    mode(folder.path(), 0o777);
    mode(&path, 0o444);
    fs::remove_file(folder.path().join("noex.db-lock")).expect("removed");
    let said = run();
    let text = format!("SAID {}: the database or its directory cannot be written\n", path.display());
    assert!(said.contains(&text), "{said}");
    // The folder is not writable.
    mode(&path, 0o666);
    mode(folder.path(), 0o555);
    let _ = fs::remove_file(folder.path().join("noex.db-lock"));
    let said = run();
    mode(folder.path(), 0o755);
    assert!(said.contains("cannot be written\n") && !said.contains("SAID opened"), "{said}");
}

#[test]
#[ignore = "the other half of `write_protection_is_told`"]
fn opens_protected() {
    let path = std::env::var_os(PROTECTED).expect("path");
    match open(Path::new(&path), &Options::default()) {
        Ok(_) => println!("SAID opened"),
        Err(error) => println!("SAID {error}"),
    }
}

/// What SQLite finds sound may still be nothing of ours.
#[test]
fn value_of_another_type_is_told_with_its_table() {
    let folder = quick_folder();
    let path = folder.path().join("noex.db");
    filled(&path);
    let other = Connection::open(&path).expect("opened");
    other.execute("UPDATE records SET json = x'00' WHERE seq = 5", []).expect("changed");
    drop(other);
    let (_journal, mut image) = opened(&path);
    let error = image.records(1, &mut |_, _| Ok(())).expect_err("refused");
    assert!(error.to_string().starts_with("table \"records\" cannot be read: "), "{error}");
}
