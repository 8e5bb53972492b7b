//! A naive store and rule engine in memory, which log what is done to them.

use noex_json::{CompactString, Object, Value, identical, parse};
use noex_procedures::{Answer, CallError, Engines, Found, Limits, Outcome, Procedure, Read, Record, Want};
use std::{cell::Cell, collections::BTreeMap};

pub(crate) fn value(text: &str) -> Value {
    parse(text, 256).unwrap_or_else(|error| panic!("{error:?} in {text}"))
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row(pub(crate) Object);

impl Record for Row {
    fn members(&self) -> impl Iterator<Item = (&CompactString, &Value)> {
        self.0.iter()
    }
}

/// Buckets whose key field is `id`; `gone` is not defined.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) buckets: BTreeMap<String, Vec<Object>>,
    pub(crate) facts: BTreeMap<String, Value>,
    pub(crate) events: Vec<String>,
    pub(crate) without_rules: bool,
    pub(crate) asked: Vec<String>,
    /// Resource that the caller may not use.
    pub(crate) forbidden: Option<&'static str>,
    pub(crate) limits: Limits,
    /// Time that a step takes, in ms.
    pub(crate) step_ms: f64,
}

impl World {
    pub(crate) fn with(bucket: &str, records: &str) -> Self {
        let list = value(records);
        let records = list.as_array().expect("array").iter().map(|r| r.as_object().cloned().expect("object"));
        Self { buckets: [(bucket.to_owned(), records.collect())].into(), ..Self::default() }
    }

    /// Runs a procedure with these steps and further members.
    pub(crate) fn run(&mut self, steps: &str, more: &str, input: &str) -> Result<Outcome, CallError<String>> {
        let definition = value(&format!(r#"{{"name":"p","steps":[{steps}]{more}}}"#));
        let procedure = Procedure::parse(&definition, &self.limits).expect("valid");
        self.call(&procedure, Some(value(input)))
    }

    pub(crate) fn call(
        &mut self,
        procedure: &Procedure,
        input: Option<Value>,
    ) -> Result<Outcome, CallError<String>> {
        let input = procedure.check_input(input)?;
        let (elapsed, step_ms) = (Cell::new(0.0), self.step_ms);
        let clock = || elapsed.replace(elapsed.get() + step_ms);
        procedure.run(input, &self.limits.clone(), &clock, self)
    }

    /// The answer of a call as clients see it, or the text of its error.
    pub(crate) fn text(&mut self, steps: &str, input: &str) -> String {
        match self.run(steps, "", input) {
            Ok(outcome) => outcome.to_json(),
            Err(CallError::Engine(text)) => format!("engine: {text}"),
            Err(error) => error.text().expect("a text"),
        }
    }

    fn bucket(&mut self, name: &str) -> Result<&mut Vec<Object>, String> {
        if name == "gone" {
            return Err("Bucket \"gone\" is not defined".to_owned());
        }
        Ok(self.buckets.entry(name.to_owned()).or_default())
    }
}

impl Engines for World {
    type Record = Row;
    type Error = String;

    fn permits(&mut self, operation: &'static str, resource: &str) -> Result<(), String> {
        self.asked.push(format!("{operation} {resource}"));
        match self.forbidden {
            Some(forbidden) if forbidden == resource => {
                Err(format!("No permission for {operation} on {resource}"))
            }
            _ => Ok(()),
        }
    }

    fn get(&mut self, bucket: &str, key: &Value) -> Result<Option<Row>, String> {
        let found = self.bucket(bucket)?.iter().find(|record| identical(record.get("id"), Some(key)));
        Ok(found.cloned().map(Row))
    }

    fn read(&mut self, read: Read<'_>) -> Result<Answer<Row>, String> {
        let records = self.bucket(read.bucket)?;
        let looked_at = records.len();
        if looked_at > read.records_max {
            return Ok(Answer::TooMany);
        }
        let filter = read.filter.unwrap_or_default();
        let matches =
            |record: &&Object| filter.iter().all(|(name, wanted)| identical(record.get(name), Some(wanted)));
        let mut matching = records.iter().filter(matches).cloned().map(Row);
        let found = match read.want {
            Want::All => Found::Records(matching.collect()),
            Want::First => Found::Records(matching.next().into_iter().collect()),
            Want::Count => Found::Number(matching.count() as f64),
        };
        Ok(Answer::Done { found, looked_at })
    }

    fn insert(&mut self, bucket: &str, data: Object) -> Result<Row, String> {
        self.bucket(bucket)?.push(data.clone());
        Ok(Row(data))
    }

    fn update(&mut self, bucket: &str, key: &Value, data: Object) -> Result<Row, String> {
        let record = self.bucket(bucket)?.iter_mut().find(|record| identical(record.get("id"), Some(key)));
        let record = record.ok_or("Record not found")?;
        record.merge(data);
        Ok(Row(record.clone()))
    }

    fn delete(&mut self, bucket: &str, key: &Value) -> Result<(), String> {
        self.bucket(bucket)?.retain(|record| !identical(record.get("id"), Some(key)));
        Ok(())
    }

    fn has_rules(&self) -> bool {
        !self.without_rules
    }

    fn emit(&mut self, topic: &str, data: Object) -> Result<(), String> {
        self.events.push(format!("{topic} {}", Value::from(data).to_json()));
        Ok(())
    }

    fn set_fact(&mut self, key: &str, value: Value) -> Result<(), String> {
        self.facts.insert(key.to_owned(), value);
        Ok(())
    }

    fn fact(&mut self, key: &str) -> Result<Option<Value>, String> {
        Ok(self.facts.get(key).cloned())
    }
}
