//! Data of the Node.js server, made from the description of its layouts.

use crate::support::{opened, quick_folder, records};
use noex_sqlite::{Moved, import_node};
use noex_store::{Image, StoredBucket};
use rusqlite::Connection;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

const USERS: &str = r#"{"records":[["u2",{"id":"u2","born":{"__noex_type__":"Date","__noex_value__":"2001-02-03T04:05:06.000Z"},"1":true,"_version":3,"_createdAt":1700000000000,"_updatedAt":1700000000001}],["u1",{"id":"u1","gone":{"__noex_type__":"undefined","__noex_value__":null},"tags":{"__noex_type__":"Set","__noex_value__":["a","b"]},"_version":1,"_createdAt":5,"_updatedAt":5}]],"autoincrementCounter":0}"#;
const ORDERS: &str =
    r#"{"records":[[1,{"id":1,"total":1e21,"text":"ü\u2028"}],[7,{"id":7}]],"autoincrementCounter":7}"#;

const USERS_FOUND: [&str; 2] = [
    r#"{"1":true,"id":"u2","born":"2001-02-03T04:05:06.000Z","_version":3,"_createdAt":1700000000000,"_updatedAt":1700000000001}"#,
    r#"{"id":"u1","tags":["a","b"],"_version":1,"_createdAt":5,"_updatedAt":5}"#,
];

fn metadata(store: &str) -> String {
    format!(r#"{{"persistedAt":1700000000002,"serverId":"{store}","schemaVersion":1}}"#)
}

fn file(folder: &Path, name: &str, store: &str, state: &str, checksum_of: &str) {
    let digest = Sha256::digest(checksum_of.as_bytes());
    let checksum: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!(r#"{{"state":{state},"metadata":{},"checksum":"{checksum}"}}"#, metadata(store));
    fs::write(folder.join(name), text).expect("written");
}

fn database(path: &Path, rows: &[(&str, &str, &str)]) {
    let connection = Connection::open(path).expect("made");
    let schema = "PRAGMA journal_mode = WAL;
        CREATE TABLE noex_state (key TEXT PRIMARY KEY, data TEXT, created_at INTEGER, updated_at INTEGER)";
    connection.execute_batch(schema).expect("made");
    for (key, store, state) in rows {
        let data = format!(r#"{{"state":{state},"metadata":{}}}"#, metadata(store));
        connection.execute("INSERT INTO noex_state VALUES (?1, ?2, 1, 2)", [*key, &data]).expect("filled");
    }
}

/// The new database has both buckets, asleep without a definition.
fn verify(path: &Path) {
    let (_journal, mut image) = opened(path);
    let bucket = |id, name: &str, counter| StoredBucket {
        id,
        name: name.to_owned(),
        definition: "{}".to_owned(),
        counter,
        next_seq: 2,
    };
    assert_eq!(image.buckets(), Ok(vec![bucket(1, "orders", 7), bucket(2, "users", 0)]));
    let texts: Vec<String> = records(&mut image, 2).into_iter().map(|(_, json)| json).collect();
    assert_eq!(texts, USERS_FOUND);
    let orders = records(&mut image, 1);
    assert_eq!(orders[0], (0, "{\"id\":1,\"total\":1e+21,\"text\":\"ü\u{2028}\"}".to_owned()));
    assert_eq!(orders[1], (1, r#"{"id":7}"#.to_owned()));
}

const MOVED: Moved = Moved { buckets: 2, records: 4, queries: 0, kept: 0 };

#[test]
fn folder_is_imported() {
    let folder = quick_folder();
    let data = folder.path().join("data");
    fs::create_dir(&data).expect("folder");
    file(&data, "store-1_bucket_users.json", "store-1", USERS, USERS);
    file(
        &data,
        "store-1_bucket_orders.json",
        "store-1",
        ORDERS,
        &ORDERS.replace("1e21", "1e+21").replace("\\u2028", "\u{2028}"),
    );
    file(&data, "store-1_backup_monday.json", "store-1", "{\"buckets\":{}}", "{\"buckets\":{}}");
    fs::write(data.join("store-1_bucket_x.json.tmp"), "half").expect("written");
    let path = folder.path().join("noex.db");
    let mut seen = Vec::new();
    let import = import_node(&data, &path, None, &mut |progress| seen.push((progress.done, progress.total)));
    let import = import.expect("imported");
    assert_eq!(import.moved, MOVED);
    assert_eq!(import.skipped, ["store-1_backup_monday (a backup)"]);
    assert_eq!(seen, [(1, 3), (2, 3), (3, 3)]);
    verify(&path);
    let again = import_node(&data, &path, None, &mut |_| ()).expect_err("refused");
    assert!(
        again.to_string().ends_with("noex.db: the file exists already and is not overwritten"),
        "{again}"
    );
}

#[test]
fn database_is_imported() {
    let folder = quick_folder();
    let (data, path) = (folder.path().join("node.db"), folder.path().join("noex.db"));
    database(
        &data,
        &[("store-1:bucket:users", "store-1", USERS), ("store-1:bucket:orders", "store-1", ORDERS)],
    );
    let import = import_node(&data, &path, None, &mut |_| ()).expect("imported");
    assert_eq!((import.moved, import.skipped), (MOVED, vec![]));
    verify(&path);
}

/// Names of buckets with every sign that matters in one of the layouts.
#[test]
fn names_of_buckets_are_kept_where_the_layout_has_them() {
    let folder = quick_folder();
    let (data, path) = (folder.path().join("node.db"), folder.path().join("noex.db"));
    database(&data, &[("s:bucket:a:bucket:b/..\u{1F600}", "s", ORDERS), ("s:bucket:_users", "s", USERS)]);
    import_node(&data, &path, None, &mut |_| ()).expect("imported");
    let (_journal, mut image) = opened(&path);
    let names: Vec<String> = image.buckets().expect("read").into_iter().map(|bucket| bucket.name).collect();
    assert_eq!(names, ["_users", "a:bucket:b/..\u{1F600}"]);
}

#[test]
fn one_of_several_stores_is_chosen() {
    let folder = quick_folder();
    let (data, path) = (folder.path().join("node.db"), folder.path().join("noex.db"));
    database(&data, &[("a:bucket:users", "a", ORDERS), ("b:bucket:users", "b", USERS)]);
    let error = import_node(&data, &path, None, &mut |_| ()).expect_err("refused");
    assert!(error.to_string().ends_with("there are several stores, \"a\" and \"b\"; name one"), "{error}");
    assert!(!path.exists());
    let error = import_node(&data, &path, Some("c"), &mut |_| ()).expect_err("refused");
    assert!(error.to_string().ends_with("node.db: there is no bucket of store \"c\" in it"), "{error}");
    let import = import_node(&data, &path, Some("b"), &mut |_| ()).expect("imported");
    assert_eq!(
        (import.moved.records, import.skipped),
        (2, vec!["a:bucket:users (of store \"a\")".to_owned()])
    );
}

#[test]
fn what_is_not_of_the_layout_is_refused() {
    let folder = quick_folder();
    let data = folder.path().join("data");
    let path = folder.path().join("noex.db");
    fs::create_dir(&data).expect("folder");
    let refused = |name: &str, state: &str, sum: &str, text: &str| {
        file(&data, name, "s", state, sum);
        let error = import_node(&data, &path, None, &mut |_| ()).expect_err("refused");
        assert!(error.to_string().ends_with(text), "{error} should end with {text}");
        assert!(!path.exists() && !folder.path().join("noex.db-new").exists());
        fs::remove_file(data.join(name)).expect("removed");
    };
    let name = "s_bucket_a.json";
    refused(name, USERS, ORDERS, "s_bucket_a.json: the checksum does not match, the file is damaged");
    let same = |state: &'static str, text: &str| refused(name, state, state, text);
    same("[]", "\"state\" is not an object");
    same("{\"records\":[]}", "\"autoincrementCounter\" is not a whole number");
    same("{\"records\":[],\"autoincrementCounter\":1.5}", "\"autoincrementCounter\" is not a whole number");
    same("{\"records\":{},\"autoincrementCounter\":1}", "\"records\" is not a list");
    same("{\"records\":[[1]],\"autoincrementCounter\":1}", "record 0 is not a pair of a key and an object");
    same("{\"records\":[[1,2]],\"autoincrementCounter\":1}", "record 0 is not a pair of a key and an object");
    same(
        "{\"records\":[[1,{\"a\":{\"__noex_type__\":\"Zoo\",\"__noex_value__\":1}}]],\"autoincrementCounter\":1}",
        "record 0: a value tagged \"Zoo\" is not known or not of its form",
    );
    refused(
        "other.json",
        ORDERS,
        ORDERS,
        "its name does not begin with \"s_bucket_\", so it is no bucket of its store",
    );
    fs::write(data.join(name), "{\"state\":").expect("written");
    let error = import_node(&data, &path, None, &mut |_| ()).expect_err("refused");
    assert!(error.to_string().contains("this is not a JSON object"), "{error}");
    let text = format!(r#"{{"state":{ORDERS},"metadata":{}}}"#, metadata("s").replace(":1}", ":2}"));
    fs::write(data.join(name), text).expect("written");
    let error = import_node(&data, &path, None, &mut |_| ()).expect_err("refused");
    assert!(error.to_string().ends_with("schemaVersion is 2, only 1 is known"), "{error}");
    fs::remove_file(data.join(name)).expect("removed");
    let error = import_node(&data, &path, None, &mut |_| ()).expect_err("refused");
    assert!(error.to_string().ends_with("data: there is no bucket in it"), "{error}");
    let plain = folder.path().join("plain.db");
    Connection::open(&plain).expect("made").execute_batch("CREATE TABLE t (a)").expect("made");
    let error = import_node(&plain, &path, None, &mut |_| ()).expect_err("refused");
    assert!(error.to_string().contains("no such table: noex_state"), "{error}");
}
