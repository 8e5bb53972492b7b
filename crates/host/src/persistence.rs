//! What a server keeps beyond its life, and how it comes back.

use crate::{Options, StartError, gate::Durability};
use noex_json::{Object, Value};
use noex_store::{Image, Journal, JournalError, Journaling, RestoreProgress, Store, StoreError};
use parking_lot::Mutex;
use std::{fmt, sync::Arc};

/// Where a server's data is kept.
#[derive(Clone)]
pub struct Persistence {
    /// Keeps what happens.
    pub journal: Arc<dyn Journal>,
    /// What was kept by earlier runs; taken by the start and closed after it.
    pub image: Arc<Mutex<Option<Box<dyn Image + Send>>>>,
    /// When a write is acknowledged.
    pub durability: Durability,
    /// Whether buckets and queries of earlier runs are there at once, rather than when they are defined again.
    pub auto_define: bool,
}

impl Persistence {
    /// Keeps data with a journal, and begins with what its image holds. Writes are acknowledged when they are kept.
    #[must_use]
    pub fn new(journal: Arc<dyn Journal>, image: Box<dyn Image + Send>) -> Self {
        Self {
            journal,
            image: Arc::new(Mutex::new(Some(image))),
            durability: Durability::Sync,
            auto_define: false,
        }
    }
}

impl fmt::Debug for Persistence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Persistence")
            .field("durability", &self.durability)
            .field("auto_define", &self.auto_define)
            .finish_non_exhaustive()
    }
}

/// Reads back what was kept, then defines what the options name.
pub(crate) fn prepare(
    store: &mut Store,
    options: &Options,
    image: Option<&mut Box<dyn Image + Send>>,
    now_ms: u64,
) -> Result<(), StartError> {
    if let Some(image) = image {
        let report = &mut |progress: RestoreProgress| {
            tracing::info!(
                records = progress.records,
                buckets = progress.buckets,
                of = progress.buckets_total,
                "reading stored data"
            );
        };
        store.restore(&mut **image, report).map_err(unreadable)?;
    }
    let persistence = options.persistence.as_ref();
    if let Some(persistence) = persistence {
        store.set_journaling(match persistence.durability {
            Durability::Sync => Journaling::Undoable,
            Durability::Async => Journaling::Entries,
        });
    }
    let auto_define = persistence.is_some_and(|persistence| persistence.auto_define);
    let mut problems = define(store, options, auto_define, now_ms);
    if auto_define && let Err(found) = store.revive() {
        problems.extend(found);
    }
    if problems.is_empty() { Ok(()) } else { Err(StartError::Definitions(problems)) }
}

pub(crate) fn unreadable(error: JournalError) -> StartError {
    StartError::Storage(error.to_string())
}

/// Defines what the options name and gives all problems. With the built-in identity, nothing may name its buckets.
fn define(store: &mut Store, options: &Options, auto_define: bool, now_ms: u64) -> Vec<String> {
    let parse = |text: &str| match noex_json::parse(text, 128).ok() {
        Some(Value::Object(config)) => Ok(*config),
        _ => Err("must be object".to_owned()),
    };
    let guard = |system: Option<String>| match system {
        Some(bucket) if options.identity.is_some() => {
            Err(format!("Cannot access system bucket \"{bucket}\" directly"))
        }
        _ => Ok(()),
    };
    let system = |name: &str| name.starts_with('_').then(|| name.to_owned());
    let text = |error: StoreError| error.to_string();
    let mut problems = Vec::new();
    for (name, definition) in &options.buckets {
        let outcome = parse(definition).and_then(|config: Object| {
            if options.identity.is_some() && name.starts_with('_') {
                return Err("Bucket name must not start with \"_\"".to_owned());
            }
            guard(noex_core::system_bucket_in_schema(config.get("schema")))?;
            match store.incompatibility(name, &config).filter(|_| auto_define) {
                Some(what) => Err(format!("incompatible with persisted definition: {what}")),
                None => store.define_bucket(now_ms, name, &config).map_err(text),
            }
        });
        problems.extend(outcome.err().map(|text| format!("buckets.{name}: {text}")));
    }
    for (name, definition) in &options.queries {
        let outcome = parse(definition).and_then(|config| {
            let bucket = config.get("bucket").and_then(Value::as_str).unwrap_or_default();
            guard(system(name).or_else(|| system(bucket)))?;
            store.define_query(name, &config).map_err(text)
        });
        problems.extend(outcome.err().map(|text| format!("queries.{name}: {text}")));
    }
    problems
}
