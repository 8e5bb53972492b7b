//! Import of data that the Node.js server has kept, in a folder of JSON files or in an SQLite database.
//!
//! Each bucket is one JSON document, `{"state":{"records":[[key,record],…],"autoincrementCounter":n},"metadata":…}`, in a
//! file with the SHA-256 of its state. Definitions were never kept there, so each bucket gets the definition `{}`, which
//! stands for an unknown one: it sleeps until somebody defines it. Values of JavaScript that JSON lacks are tagged: dates
//! and big integers become their texts, maps lists of pairs, sets lists; what was undefined is left out.
//!
//! A document is read whole, its records are converted one by one. In a folder, the name of a bucket is that of its
//! file, in which `< > : " / \ | ? *`, control characters and runs of dots have become `_`.
//! Source: the store specification, section 19; the configuration description, section 8.

use crate::copy::own_vacant;
use crate::data::{DataError, Moved, Progress, Report};
use crate::open::{connect_reader, create, resolve};
use crate::tables::Tables;
use noex_json::{Member, Object, Raw, Value, scan_array, scan_object};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// Nesting that is accepted. The conversion recurses.
const DEPTH_MAX: usize = 512;
/// The definition of a bucket of which none is known.
const UNKNOWN_DEFINITION: &str = "{}";

/// What an import has found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NodeImport {
    /// What is in the new database.
    pub moved: Moved,
    /// What was left out: backups, and the data of other stores.
    pub skipped: Vec<String>,
}

/// Makes a new database of the data of a Node.js server. `store` names one of several stores.
///
/// # Errors
/// If the data cannot be read or is not of this form, a checksum does not match, several stores are found and none is
/// named, or the database exists or is owned by another process.
pub fn import_node(
    from: &Path,
    to: &Path,
    store: Option<&str>,
    report: Report<'_>,
) -> Result<NodeImport, DataError> {
    let to = resolve(to)?;
    let owner = own_vacant(&to)?;
    let mut import = None;
    create(&to, &owner, |connection| {
        let mut tables = Tables::new(connection, &to)?;
        let mut reading = Reading {
            tables: &mut tables,
            store: store.map(str::to_owned),
            chosen: store.is_some(),
            found: NodeImport::default(),
        };
        if from.is_dir() {
            folder(from, &mut reading, report)?
        } else {
            database(from, &mut reading, report)?
        }
        let Reading { store, found, .. } = reading;
        if found.moved.buckets == 0 {
            let of = store.map(|store| format!(" of store \"{store}\"")).unwrap_or_default();
            return Err(DataError::content(from, format!("there is no bucket{of} in it")));
        }
        import = Some(found);
        tables.finish()
    })?;
    Ok(import.unwrap_or_default())
}

/// Reads the files of a folder in the order of their names.
fn folder(from: &Path, reading: &mut Reading<'_, '_>, report: Report<'_>) -> Result<(), DataError> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(from).map_err(DataError::io(from))? {
        let path = entry.map_err(DataError::io(from))?.path();
        if path.is_file() && path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    let total = files.len() as u64;
    for (done, path) in (1..).zip(&files) {
        let text = fs::read_to_string(path).map_err(DataError::io(path))?;
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let document = Document::parse(path, &text)?;
        document.verify(path)?;
        // The separators of the key are replaced too, so the store's name tells where the bucket's begins.
        let key = |kind: &str| escaped(&format!("{}:{kind}:", document.store));
        reading.take(path, name, &document, [&key("bucket"), &key("backup")])?;
        report(Progress { done, total });
    }
    Ok(())
}

/// Gives the name under which the file layout keeps a key, without the extension.
fn escaped(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    let mut dots = false;
    for letter in key.chars() {
        match letter {
            '.' if dots => continue,
            '<' | '>' | ':' | '"' | '/' | '\\' | '|' | '?' | '*' | '.' => out.push('_'),
            letter if letter.is_ascii_control() => out.push('_'),
            letter => out.push(letter),
        }
        dots = letter == '.';
    }
    out
}

/// Reads the rows of a database.
fn database(from: &Path, reading: &mut Reading<'_, '_>, report: Report<'_>) -> Result<(), DataError> {
    let wrap = DataError::sqlite(from);
    fs::metadata(from).map_err(DataError::io(from))?;
    let source = connect_reader(from)?;
    source.execute_batch("BEGIN").map_err(&wrap)?;
    let mut progress = Progress { done: 0, total: crate::copy::count(&source, "noex_state").map_err(&wrap)? };
    let mut statement = source.prepare("SELECT key, data FROM noex_state ORDER BY key").map_err(&wrap)?;
    let mut rows = statement.query([]).map_err(&wrap)?;
    while let Some(row) = rows.next().map_err(&wrap)? {
        let (key, text): (String, String) =
            row.get(0).and_then(|key| Ok((key, row.get(1)?))).map_err(&wrap)?;
        let place = from.join(&key);
        let document = Document::parse(&place, &text)?;
        let prefix = |kind: &str| format!("{}:{kind}:", document.store);
        reading.take(&place, &key, &document, [&prefix("bucket"), &prefix("backup")])?;
        progress.done += 1;
        report(progress);
    }
    Ok(())
}

/// One stored document.
struct Document<'d> {
    store: String,
    state: Raw<'d>,
    checksum: Option<String>,
}

impl<'d> Document<'d> {
    fn parse(path: &Path, text: &'d str) -> Result<Self, DataError> {
        let bad = |problem: &str| DataError::content(path, problem);
        let mut members = Vec::new();
        scan_object(text, DEPTH_MAX, |member| members.push(member)).map_err(|error| {
            bad(&format!("this is not a JSON object nested at most {DEPTH_MAX} deep ({error:?})"))
        })?;
        let state = member(&members, "state").ok_or_else(|| bad("there is no \"state\" in it"))?;
        let metadata = member(&members, "metadata").and_then(Raw::to_object);
        let metadata = metadata.ok_or_else(|| bad("there is no \"metadata\" in it"))?;
        let version = metadata.get("schemaVersion").cloned().unwrap_or_default();
        if version != Value::Number(1.0) {
            return Err(bad(&format!("schemaVersion is {}, only 1 is known", version.to_json())));
        }
        let store = metadata.get("serverId").and_then(Value::as_str);
        let store = store.ok_or_else(|| bad("there is no \"serverId\" in its metadata"))?.to_owned();
        let checksum =
            member(&members, "checksum").map(|checksum| checksum.as_str().unwrap_or_default().into_owned());
        Ok(Self { store, state, checksum })
    }

    /// Compares the checksum, which is that of the state's compact text.
    fn verify(&self, path: &Path) -> Result<(), DataError> {
        let checksum = self.checksum.as_deref().unwrap_or_default();
        let matches = |text: &str| {
            let digest = Sha256::digest(text.as_bytes());
            digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
                == checksum.to_ascii_lowercase()
        };
        // Somebody may have laid the file out anew, which does not damage it.
        if matches(self.state.text()) || matches(&self.state.to_value().to_json()) {
            return Ok(());
        }
        Err(DataError::content(path, "the checksum does not match, the file is damaged"))
    }
}

fn member<'m>(members: &[Member<'m>], name: &str) -> Option<Raw<'m>> {
    members.iter().rev().find(|(held, _)| held == name).map(|(_, value)| *value)
}

/// An import under way.
struct Reading<'t, 'c> {
    tables: &'t mut Tables<'c>,
    /// The store that is read: the one asked for, or the first one found.
    store: Option<String>,
    chosen: bool,
    found: NodeImport,
}

impl Reading<'_, '_> {
    /// Takes a document. Its key begins with one of the prefixes, of a bucket or of a backup.
    fn take(
        &mut self,
        path: &Path,
        key: &str,
        document: &Document<'_>,
        [bucket, backup]: [&str; 2],
    ) -> Result<(), DataError> {
        if key.starts_with(backup) {
            self.found.skipped.push(format!("{key} (a backup)"));
            return Ok(());
        }
        let Some(name) = key.strip_prefix(bucket) else {
            let problem =
                format!("its name does not begin with \"{bucket}\", so it is no bucket of its store");
            return Err(DataError::content(path, problem));
        };
        match &self.store {
            Some(store) if *store != document.store && self.chosen => {
                self.found.skipped.push(format!("{key} (of store \"{}\")", document.store));
                return Ok(());
            }
            Some(store) if *store != document.store => {
                let problem =
                    format!("there are several stores, \"{store}\" and \"{}\"; name one", document.store);
                return Err(DataError::content(path, problem));
            }
            Some(_) => {}
            None => self.store = Some(document.store.clone()),
        }
        self.bucket(path, name, document.state)
    }

    fn bucket(&mut self, path: &Path, name: &str, state: Raw<'_>) -> Result<(), DataError> {
        let bad = |problem: String| DataError::content(path, problem);
        let mut members = Vec::new();
        scan_object(state.text(), DEPTH_MAX, |member| members.push(member))
            .map_err(|_| bad("\"state\" is not an object".to_owned()))?;
        let counter =
            member(&members, "autoincrementCounter").and_then(|counter| counter.text().parse().ok());
        let counter = counter.filter(|counter| i64::try_from(*counter).is_ok());
        let counter =
            counter.ok_or_else(|| bad("\"autoincrementCounter\" is not a whole number".to_owned()))?;
        let records = member(&members, "records").and_then(scan_array);
        let records = records.ok_or_else(|| bad("\"records\" is not a list".to_owned()))?;
        let id = self.tables.bucket(name, UNKNOWN_DEFINITION, counter)?;
        let mut seq = 0;
        for pair in records {
            let record = match scan_array(pair).as_deref() {
                Some([_, record]) => {
                    plain(record.to_value()).map_err(|problem| bad(format!("record {seq}: {problem}")))?
                }
                Some(_) | None => None,
            };
            let Some(record @ Value::Object(_)) = record else {
                return Err(bad(format!("record {seq} is not a pair of a key and an object")));
            };
            self.tables.record(id, seq, &record.to_kept_json())?;
            seq += 1;
        }
        self.tables.counters(id, counter, seq)?;
        self.found.moved.buckets += 1;
        self.found.moved.records += seq;
        Ok(())
    }
}

/// Replaces tagged values; `None` = undefined.
fn plain(value: Value) -> Result<Option<Value>, String> {
    Ok(Some(match value {
        Value::Array(items) => {
            let items = items.into_iter().map(|item| Ok(plain(item)?.unwrap_or_default()));
            Value::Array(items.collect::<Result<_, String>>()?)
        }
        Value::Object(mut object) => {
            if let Some(tag) = object.get("__noex_type__").and_then(Value::as_str).map(str::to_owned) {
                return untagged(&tag, object.remove("__noex_value__").unwrap_or_default());
            }
            let mut out = Object::new();
            for (name, value) in *object {
                if let Some(value) = plain(value)? {
                    out.set(name, value);
                }
            }
            Value::from(out)
        }
        value @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => value,
    }))
}

fn untagged(tag: &str, value: Value) -> Result<Option<Value>, String> {
    match (tag, &value) {
        ("undefined", _) => Ok(None),
        ("Date" | "BigInt", Value::String(_)) | ("Date", Value::Null) => Ok(Some(value)),
        ("Map" | "Set", Value::Array(_)) => plain(value),
        _ => Err(format!("a value tagged \"{tag}\" is not known or not of its form")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_those_of_the_older_server() {
        for (key, name) in [
            ("store-1:bucket:users", "store-1_bucket_users"),
            ("a:bucket:x/y\\z", "a_bucket_x_y_z"),
            ("a:bucket:v1..2.3", "a_bucket_v1_2_3"),
            ("a:bucket:<>\"|?*\u{1}ü", "a_bucket________ü"),
        ] {
            assert_eq!(escaped(key), name);
        }
    }

    #[test]
    fn tagged_values_become_plain() {
        let converted = |text: &str| {
            let value = noex_json::parse(text, 100).expect("JSON");
            plain(value).map(|value| value.map(|value| value.to_kept_json()))
        };
        let tagged =
            |tag: &str, value: &str| format!(r#"{{"__noex_type__":"{tag}","__noex_value__":{value}}}"#);
        let date = tagged("Date", "\"2024-01-02T03:04:05.000Z\"");
        let set = tagged("Set", &format!("[1,{date}]"));
        let map = tagged("Map", &format!("[[\"a\",{set}]]"));
        let gone = tagged("undefined", "null");
        let big = tagged("BigInt", "\"12345678901234567890\"");
        let text = format!(r#"{{"m":{map},"u":{gone},"b":{big},"l":[{gone},1]}}"#);
        let plain = r#"{"m":[["a",[1,"2024-01-02T03:04:05.000Z"]]],"b":"12345678901234567890","l":[null,1]}"#;
        assert_eq!(converted(&text), Ok(Some(plain.to_owned())));
        for bad in [tagged("Symbol", "1"), tagged("Map", "1"), tagged("BigInt", "1")] {
            assert!(converted(&bad).is_err(), "{bad}");
        }
    }
}
