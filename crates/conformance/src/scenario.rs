//! Scenario files, and the list of those that wait for a feature.
//!
//! Input: files and folders. Output: scenarios, unchecked beyond "an object with steps"; a step that makes no sense
//! fails when it is played.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// One script of clients and the messages they must receive.
#[derive(Clone, Debug)]
pub struct Scenario {
    name: String,
    file: PathBuf,
    body: Map<String, Value>,
}

impl Scenario {
    /// Reads a scenario file.
    pub fn load(file: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
        Self::parse(file.to_owned(), &text)
    }

    /// Reads a scenario from the text of a file.
    pub fn parse(file: PathBuf, text: &str) -> Result<Self, String> {
        let body: Map<String, Value> = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if !body.get("steps").is_some_and(Value::is_array) {
            return Err("no steps".to_owned());
        }
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let name = body.get("name").and_then(Value::as_str).unwrap_or(&stem).to_owned();
        Ok(Self { name, file, body })
    }

    /// Reads all scenarios of a folder, sorted by path; the error names the first file that is none.
    pub fn load_folder(folder: &Path) -> Result<Vec<Self>, String> {
        let files = scenario_files(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        files.iter().map(|file| Self::load(file).map_err(|e| format!("{}: {e}", file.display()))).collect()
    }

    /// Its own name, by default the file's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file it was read from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// `<group>/<file stem>`; the group is the folder's name.
    pub fn id(&self) -> String {
        let group = self.file.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        format!("{group}/{}", self.file.file_stem().unwrap_or_default().to_string_lossy())
    }

    /// Whether its name or path contains a text.
    pub fn matches(&self, filter: &str) -> bool {
        self.name.contains(filter) || self.file.to_string_lossy().contains(filter)
    }

    /// Whether it expects something else than the server it was recorded from answers.
    pub fn deviates(&self) -> bool {
        self.body.get("deviates").and_then(Value::as_array).is_some_and(|items| !items.is_empty())
    }

    /// The server's configuration.
    pub(crate) fn server(&self) -> &Value {
        static NONE: Value = Value::Null;
        self.body.get("server").unwrap_or(&NONE)
    }

    pub(crate) fn steps(&self) -> &[Value] {
        self.body.get("steps").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn timeout_ms(&self) -> u64 {
        self.body.get("timeoutMs").and_then(Value::as_u64).unwrap_or(60_000)
    }

    /// How long to wait after the last step before looking for surplus messages.
    pub(crate) fn settle_ms(&self) -> u64 {
        self.body.get("settleMs").and_then(Value::as_u64).unwrap_or(20)
    }

    pub(crate) fn allows_unread(&self) -> bool {
        self.body.get("allowUnread").and_then(Value::as_bool).unwrap_or(false)
    }
}

/// Lists the JSON files below a folder, sorted by path; a file stands for itself.
pub fn scenario_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(scenario_files(&path)?);
        } else if path.extension().is_some_and(|e| e == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Names the folder of one group of this crate's scenarios: `smoke`, `store` or `connection`.
pub fn group_folder(group: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(group)
}

/// Scenarios that need a feature of a later version.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Waiting {
    features: BTreeMap<String, String>,
}

impl Waiting {
    /// Returns this crate's list, `waiting.txt`.
    ///
    /// # Panics
    ///
    /// Never in a tested build: a test reads the list.
    pub fn own() -> Self {
        Self::parse(include_str!("../waiting.txt")).expect("constant, and tested")
    }

    /// Reads lines of the form `<group>/<file stem>: <feature>`; `#` starts a comment.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut features = BTreeMap::new();
        for line in text.lines() {
            let entry = line.split('#').next().unwrap_or_default().trim();
            if entry.is_empty() {
                continue;
            }
            let parts = entry.split_once(':').map(|(id, feature)| (id.trim(), feature.trim()));
            let Some((id, feature)) = parts.filter(|(id, feature)| id.contains('/') && !feature.is_empty())
            else {
                return Err(format!("not `<group>/<scenario>: <feature>`: {line}"));
            };
            if features.insert(id.to_owned(), feature.to_owned()).is_some() {
                return Err(format!("listed twice: {id}"));
            }
        }
        Ok(Self { features })
    }

    /// The feature a scenario waits for.
    pub fn feature(&self, scenario: &Scenario) -> Option<&str> {
        self.features.get(&scenario.id()).map(String::as_str)
    }

    /// The listed scenarios, as `<group>/<file stem>`.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.features.keys().map(String::as_str)
    }
}
