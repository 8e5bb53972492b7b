//! Makes the seeds of the corpus from the conversations of the conformance suite:
//! `cargo test -p noex-fuzz --test seeds -- --ignored`.

use serde_json::{Map, Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Longest seed, in bytes.
const LEN_MAX: usize = 4_000;

struct Conversation {
    /// Folder and name of its file.
    name: String,
    server: Value,
    /// What clients send, in order.
    messages: Vec<String>,
}

impl Conversation {
    fn load(file: &Path) -> Self {
        let text = fs::read_to_string(file).expect("readable");
        let body: Map<String, Value> = serde_json::from_str(&text).expect("a scenario");
        let steps = body["steps"].as_array().expect("steps");
        let messages = steps.iter().filter_map(|step| match (step.get("send"), step.get("sendText")) {
            (Some(message), _) => Some(message.to_string()),
            (_, Some(text)) => text.as_str().map(str::to_owned),
            _ => None,
        });
        let group = file.parent().and_then(Path::file_name).expect("a folder").to_string_lossy();
        let name = format!("{group}-{}", file.file_stem().expect("a name").to_string_lossy());
        Self { name, server: body.get("server").cloned().unwrap_or_default(), messages: messages.collect() }
    }

    /// Messages whose type starts so, as objects.
    fn of_type<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = Value> + 'a {
        self.messages
            .iter()
            .filter_map(|text| serde_json::from_str::<Value>(text).ok())
            .filter(move |message| message["type"].as_str().is_some_and(|kind| kind.starts_with(prefix)))
    }
}

fn conversations() -> Vec<Conversation> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../crates/conformance/scenarios");
    let mut files = Vec::new();
    for group in fs::read_dir(root).expect("the scenarios") {
        let group = fs::read_dir(group.expect("readable").path()).expect("a folder");
        files.extend(group.map(|entry| entry.expect("readable").path()));
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files.iter().map(|file| Conversation::load(file)).collect()
}

/// Writes every `nth` of the seeds that are not empty.
fn write(target: &str, nth: usize, seeds: impl Iterator<Item = (String, String)>) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder).expect("writable");
    for (name, text) in seeds.filter(|(_, text)| text.len() > 2 && text.len() <= LEN_MAX).step_by(nth) {
        fs::write(folder.join(name + ".txt"), text).expect("writable");
    }
}

/// Lines after the byte that chooses how to read them.
fn lines(mode: char, lines: impl Iterator<Item = String>) -> String {
    let mut text = String::from(mode);
    for line in lines.filter(|line| !line.contains('\n')) {
        if text.len() + line.len() < LEN_MAX {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

#[test]
#[ignore = "writes into the corpus"]
fn write_seeds() {
    let conversations = conversations();
    let all = || conversations.iter();
    // From `F` the phases without tight limits, from `M` those with them.
    let phases = (0..).map(|at: usize| char::from(b'F' + (at % 14) as u8));
    let messages =
        all().zip(phases).map(|(c, phase)| (c.name.clone(), lines(phase, c.messages.iter().cloned())));
    write("conn_bytes", 5, messages);
    let single = all().flat_map(|c| {
        c.messages.iter().max_by_key(|text| text.len()).map(|text| (c.name.clone(), text.clone()))
    });
    write("json", 8, single);
    let rules = all().map(|c| {
        let rules = c.server["rules"]["rules"].as_array().cloned().unwrap_or_default();
        let registered = rules.into_iter().map(|rule| json!({"type": "rules.registerRule", "rule": rule}));
        let all = registered.chain(c.of_type("rules.")).map(|message| message.to_string());
        (c.name.clone(), lines('0', all))
    });
    write("rules_input", 3, rules);
    let procedures = all()
        .map(|c| (c.name.clone(), lines('0', c.of_type("procedures.").map(|message| message.to_string()))));
    write("procedures", 1, procedures);
    let queries = all().flat_map(|c| {
        let defined = c.of_type("store.defineQuery").map(|message| message["config"].clone());
        let read = c.of_type("store.").filter(|message| message["filter"].is_object());
        let queries = defined.chain(read.map(|message| json!({"bucket": "u", "filter": message["filter"]})));
        let params =
            c.of_type("store.subscribe").map(|message| message["params"].clone()).find(|p| !p.is_null());
        let records: Vec<String> = c
            .of_type("store.insert")
            .filter(|m| m["data"].is_object())
            .map(|m| m["data"].to_string())
            .collect();
        let params = params.unwrap_or_default().to_string();
        let seeds = queries.enumerate().map(|(at, query)| {
            let text = [query.to_string(), params.clone()].into_iter().chain(records.iter().take(8).cloned());
            (format!("{}-{at}", c.name), lines('0', text))
        });
        seeds.collect::<Vec<_>>()
    });
    write("filter_query", 10, queries);
    let configs = all().filter(|c| c.server.as_object().is_some_and(|server| !server.is_empty()));
    write("config_file", 8, configs.map(|c| (c.name.clone(), format!("0{}", c.server))));
}
