//! What one client of the `crud` scenario must see: the records it owns, and the states its subscription may show.
//!
//! Pure: takes replies and pushes as JSON, gives the next request. Nobody else writes this client's records, so every
//! push must show one of the states its own requests produced, each later than the one shown before. States may be
//! skipped, never repeated, and the last one must be shown. A push may not come before the result of its cause.

use std::collections::VecDeque;
use std::rc::Rc;

use serde_json::{Value, json};

/// Records a client keeps; beyond it the oldest is deleted.
const LIVE_MAX: usize = 8;
/// States kept while no push comes; a server this far behind has lost the subscription.
const HISTORY_MAX: usize = 100_000;

type State = Vec<Rc<Value>>;

/// The request in flight, and what its reply is checked against.
#[derive(Clone, Debug)]
enum Step {
    Insert { data: Value },
    ReadInserted,
    Update { index: usize, number: u64 },
    ReadUpdated { index: usize },
    Delete,
    ReadDeleted,
}

/// One client's view.
#[derive(Debug)]
pub(crate) struct Model {
    bucket: &'static str,
    owner: String,
    filler: Rc<str>,
    inserted: u64,
    step: Step,
    /// Own records in the order of insertion.
    live: State,
    deleted_key: String,
    /// States after the one shown last, oldest first. Empty: the subscription is up to date.
    unseen: VecDeque<State>,
}

impl Model {
    /// A client without records. Its keys begin with `owner` and a dash.
    pub(crate) fn new(bucket: &'static str, owner: String, filler: Rc<str>) -> Self {
        Self {
            bucket,
            owner,
            filler,
            inserted: 0,
            // Replaced by the first call of `next_request`.
            step: Step::ReadDeleted,
            live: State::new(),
            deleted_key: String::new(),
            unseen: VecDeque::new(),
        }
    }

    /// The value of the owner field.
    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    /// Whether the subscription has shown the newest state.
    pub(crate) fn is_shown(&self) -> bool {
        self.unseen.is_empty()
    }

    /// Whether `data` is exactly the newest state.
    pub(crate) fn is_current(&self, data: &Value) -> bool {
        shows(data, &self.live)
    }

    /// The next request, without `id`.
    pub(crate) fn next_request(&mut self) -> Value {
        let newest = self.live.len().saturating_sub(1);
        self.step = match self.step {
            Step::Insert { .. } => Step::ReadInserted,
            Step::ReadInserted => {
                // Walks over the records, so that old and new ones are updated.
                let index = (self.inserted % self.live.len().max(1) as u64) as usize;
                Step::Update { index, number: self.inserted * 1_000 + index as u64 }
            }
            Step::Update { index, .. } => Step::ReadUpdated { index },
            Step::ReadUpdated { .. } if self.live.len() > LIVE_MAX => Step::Delete,
            Step::Delete => Step::ReadDeleted,
            Step::ReadUpdated { .. } | Step::ReadDeleted => {
                self.inserted += 1;
                let key = format!("{}-{:08}", self.owner, self.inserted);
                Step::Insert {
                    data: json!({"id": key, "n": self.inserted, "s": &*self.filler, "owner": self.owner}),
                }
            }
        };
        let bucket = self.bucket;
        match &self.step {
            Step::Insert { data } => json!({"type": "store.insert", "bucket": bucket, "data": data}),
            Step::ReadInserted => json!({"type": "store.get", "bucket": bucket, "key": self.key(newest)}),
            Step::Update { index, number } => {
                json!({"type": "store.update", "bucket": bucket, "key": self.key(*index), "data": {"n": number}})
            }
            Step::ReadUpdated { index } => {
                json!({"type": "store.get", "bucket": bucket, "key": self.key(*index)})
            }
            Step::Delete => json!({"type": "store.delete", "bucket": bucket, "key": self.key(0)}),
            Step::ReadDeleted => json!({"type": "store.get", "bucket": bucket, "key": self.deleted_key}),
        }
    }

    /// Checks the data of the reply to the last request and takes over its effect.
    pub(crate) fn check_reply(&mut self, data: Value) -> Result<(), String> {
        let expected = match &self.step {
            Step::Insert { data: sent } => {
                let mut expected = sent.clone();
                copy_times(&mut expected, &data, &["_createdAt", "_updatedAt"]);
                set(&mut expected, "_version", json!(1));
                expected
            }
            Step::Update { index, number } => {
                let mut expected = self.record(*index);
                let version = expected.get("_version").and_then(Value::as_u64).unwrap_or(0);
                copy_times(&mut expected, &data, &["_updatedAt"]);
                set(&mut expected, "_version", json!(version + 1));
                set(&mut expected, "n", json!(number));
                expected
            }
            Step::ReadInserted => self.record(self.live.len().saturating_sub(1)),
            Step::ReadUpdated { index } => self.record(*index),
            Step::Delete => json!({"deleted": true}),
            Step::ReadDeleted => Value::Null,
        };
        if data != expected {
            return Err(format!("{:?}: expected {expected}, got {data}", self.step));
        }
        self.apply(data)
    }

    fn apply(&mut self, data: Value) -> Result<(), String> {
        match self.step {
            Step::Insert { .. } => self.live.push(Rc::new(data)),
            Step::Update { index, .. } => {
                if let Some(record) = self.live.get_mut(index) {
                    *record = Rc::new(data);
                }
            }
            Step::Delete => {
                self.deleted_key = self.key(0);
                self.live.remove(0);
            }
            Step::ReadInserted | Step::ReadUpdated { .. } | Step::ReadDeleted => return Ok(()),
        }
        if self.unseen.len() >= HISTORY_MAX {
            return Err(format!("no push for {HISTORY_MAX} changes"));
        }
        self.unseen.push_back(self.live.clone());
        Ok(())
    }

    /// Checks the data of a push.
    pub(crate) fn check_push(&mut self, data: &Value) -> Result<(), String> {
        let Some(index) = self.unseen.iter().position(|state| shows(data, state)) else {
            return Err(format!("{}: push shows no state later than the last one: {data}", self.owner));
        };
        self.unseen.drain(..=index);
        Ok(())
    }

    fn record(&self, index: usize) -> Value {
        self.live.get(index).map(|record| Value::clone(record)).unwrap_or_default()
    }

    fn key(&self, index: usize) -> String {
        let id = self.live.get(index).and_then(|record| record.get("id")).and_then(Value::as_str);
        id.unwrap_or_default().to_owned()
    }
}

fn shows(data: &Value, state: &State) -> bool {
    data.as_array().is_some_and(|records| {
        records.len() == state.len()
            && records.iter().zip(state).all(|(record, expected)| record == &**expected)
    })
}

/// Copies times the client cannot know; one that is no number is left out, which fails the comparison.
fn copy_times(expected: &mut Value, data: &Value, names: &[&str]) {
    for name in names {
        if let Some(time) = data.get(name).filter(|time| time.is_u64()) {
            set(expected, name, time.clone());
        }
    }
}

fn set(record: &mut Value, name: &str, value: Value) {
    if let Some(fields) = record.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        Model::new("b", "c00001".to_owned(), "text".into())
    }

    /// A store of one client, correct by being simple.
    fn answer(records: &mut Vec<Value>, request: &Value) -> Value {
        let at = records.iter().position(|r| r["id"] == request["key"]);
        match (request["type"].as_str().unwrap_or_default(), at) {
            ("store.insert", _) => {
                let mut record = request["data"].clone();
                for (name, value) in [("_version", 1), ("_createdAt", 5), ("_updatedAt", 5)] {
                    record[name] = json!(value);
                }
                records.push(record.clone());
                record
            }
            ("store.update", Some(at)) => {
                let record = &mut records[at];
                record["n"] = request["data"]["n"].clone();
                record["_version"] = json!(record["_version"].as_u64().unwrap_or(0) + 1);
                record["_updatedAt"] = json!(9);
                record.clone()
            }
            ("store.delete", at) => {
                at.map(|at| records.remove(at));
                json!({"deleted": true})
            }
            (_, at) => at.map(|at| records[at].clone()).unwrap_or_default(),
        }
    }

    #[test]
    fn correct_server_passes() {
        let (mut model, mut records) = (model(), Vec::new());
        for step in 0..500 {
            let request = model.next_request();
            let data = answer(&mut records, &request);
            assert_eq!(model.check_reply(data), Ok(()), "step {step}");
            // Every seventh step the subscription catches up, so most states are skipped.
            if step % 7 == 0 && !model.is_shown() {
                assert_eq!(model.check_push(&Value::Array(records.clone())), Ok(()));
                assert!(model.is_shown());
            }
        }
        assert!(records.len() <= LIVE_MAX + 1 && model.inserted > 50);
        assert!(model.is_current(&Value::Array(records)));
    }

    #[test]
    fn wrong_replies_are_found() {
        let mut model = model();
        let request = model.next_request();
        let mut data = answer(&mut Vec::new(), &request);
        data["_version"] = json!(2);
        assert!(model.check_reply(data.clone()).is_err());
        data["_version"] = json!(1);
        data["_updatedAt"] = json!("now");
        assert!(model.check_reply(data).is_err());
    }

    #[test]
    fn repeated_old_and_early_pushes_are_found() {
        let (mut model, mut records) = (model(), Vec::new());
        let request = model.next_request();
        let data = answer(&mut records, &request);
        assert!(model.check_push(&json!([data])).is_err(), "before its result");
        assert_eq!(model.check_reply(data.clone()), Ok(()));
        assert_eq!(model.check_push(&json!([data])), Ok(()));
        assert!(model.check_push(&json!([data])).is_err(), "repeated");
        assert!(model.check_push(&json!([])).is_err(), "older");
    }
}
