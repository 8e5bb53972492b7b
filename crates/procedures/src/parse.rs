//! From a definition to a compiled procedure, or to all that is wrong with it.
//!
//! Source: the auth specification, sections 8.1 and 8.2. The texts are part of the protocol.

use crate::{
    Limits, Procedure, RunAs,
    condition::{Condition, Operator},
    error::Issues,
    filter::Filter,
    input::{InputField, InputType},
    step::{Function, Source, Step, Transform},
    template::{Names, Reference, Slot, Template},
};
use noex_json::{CompactString, Object, Value};

#[cfg(test)]
mod tests;

/// Names of all actions, as the message about an unknown one lists them.
const ACTIONS: &str = "store.get, store.where, store.findOne, store.insert, store.update, store.delete, \
                       store.count, aggregate, rules.emit, rules.setFact, rules.getFact, if, transform, return";

impl Procedure {
    /// Checks and compiles a definition. Time and memory are linear in its size.
    ///
    /// # Errors
    /// All issues, in the order of the specification's table; of very many the first 1000.
    pub fn parse(definition: &Value, limits: &Limits) -> Result<Self, Vec<String>> {
        let Some(members) = definition.as_object() else {
            return Err(vec!["Procedure config must be an object".to_owned()]);
        };
        let mut parser = Parser {
            limits,
            issues: Issues::default(),
            names: Names::default(),
            uses_rules: false,
            system_bucket: None,
        };
        let parts = parser.definition(members);
        parser.issues.finish()?;
        let Some((name, input, head, steps)) = parts else {
            // Every part that is missing has left an issue.
            return Err(Vec::new());
        };
        Ok(Self {
            definition: members.clone(),
            name,
            input,
            steps,
            transaction: head.transaction,
            timeout_ms: head.timeout_ms,
            run_as: head.run_as,
            uses_rules: parser.uses_rules,
            names: parser.names.into_list(),
            system_bucket: parser.system_bucket,
        })
    }
}

/// How a procedure runs.
struct Head {
    transaction: bool,
    timeout_ms: f64,
    run_as: RunAs,
}

struct Parser<'l> {
    limits: &'l Limits,
    issues: Issues,
    names: Names,
    uses_rules: bool,
    system_bucket: Option<CompactString>,
}

/// A step while it is read.
struct At<'a> {
    path: &'a str,
    members: &'a Object,
}

impl Parser<'_> {
    fn definition(&mut self, members: &Object) -> Option<(CompactString, Vec<InputField>, Head, Vec<Step>)> {
        let name = members.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
        if name.is_none() {
            self.issues.push("Missing or invalid \"name\": expected non-empty string".to_owned());
        }
        if members.get("description").is_some_and(|text| text.as_str().is_none()) {
            self.issues.push("\"description\" must be a string".to_owned());
        }
        let input = self.input(members.get("input"));
        let head = self.head(members);
        let steps = self.top(members.get("steps"));
        Some((name?.into(), input?, head?, steps?))
    }

    fn input(&mut self, input: Option<&Value>) -> Option<Vec<InputField>> {
        let Some(input) = input else { return Some(Vec::new()) };
        let Some(fields) = input.as_object() else {
            self.issues.push("\"input\" must be an object".to_owned());
            return None;
        };
        let mut parsed = Vec::with_capacity(fields.len());
        for (name, field) in fields.iter() {
            let Some(field) = field.as_object() else {
                self.issues.push(format!("input.{name}: expected field definition object"));
                continue;
            };
            match field.get("type").and_then(Value::as_str).and_then(InputType::by_name) {
                None => {
                    self.issues.push(format!("input.{name}.type: expected one of: {}", InputType::NAMES));
                }
                Some(kind) => parsed.push(InputField {
                    name: name.clone(),
                    kind,
                    required: field.get("required").and_then(Value::as_bool) != Some(false),
                    default: field.get("default").cloned(),
                }),
            }
        }
        Some(parsed)
    }

    fn head(&mut self, members: &Object) -> Option<Head> {
        let transaction = match members.get("transaction") {
            None => Some(false),
            Some(flag) => flag.as_bool(),
        };
        if transaction.is_none() {
            self.issues.push("\"transaction\" must be a boolean".to_owned());
        }
        let timeout_ms = match members.get("timeoutMs") {
            #[expect(clippy::cast_precision_loss, reason = "ms, far below 2^53")]
            None => Some(self.limits.default_timeout_ms as f64),
            Some(ms) => ms.as_number().filter(|ms| *ms > 0.0),
        };
        if timeout_ms.is_none() {
            self.issues.push("\"timeoutMs\" must be a positive number".to_owned());
        }
        let run_as = match members.get("runAs") {
            None => Some(RunAs::Definer),
            Some(whom) => match whom.as_str() {
                Some("definer") => Some(RunAs::Definer),
                Some("caller") => Some(RunAs::Caller),
                _ => None,
            },
        };
        if run_as.is_none() {
            self.issues.push("\"runAs\" must be \"definer\" or \"caller\"".to_owned());
        }
        Some(Head { transaction: transaction?, timeout_ms: timeout_ms?, run_as: run_as? })
    }

    fn top(&mut self, steps: Option<&Value>) -> Option<Vec<Step>> {
        let Some(steps) = steps.and_then(Value::as_array) else {
            self.issues.push("Missing or invalid \"steps\": expected array".to_owned());
            return None;
        };
        if steps.is_empty() {
            self.issues.push("\"steps\" must contain at least one step".to_owned());
            return None;
        }
        let (count, max) = (count(steps), self.limits.steps_max);
        if count > max {
            self.issues.push(format!("Total step count ({count}) exceeds maximum ({max})"));
        }
        self.steps("steps", steps, 0)
    }

    fn steps(&mut self, path: &str, steps: &[Value], depth: usize) -> Option<Vec<Step>> {
        let mut parsed = Vec::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            parsed.extend(self.step(&format!("{path}[{index}]"), step, depth));
        }
        (parsed.len() == steps.len()).then_some(parsed)
    }

    fn step(&mut self, path: &str, step: &Value, depth: usize) -> Option<Step> {
        let Some(members) = step.as_object() else {
            self.issues.push(format!("{path}: expected step object"));
            return None;
        };
        let at = &At { path, members };
        let action = members.get("action").and_then(Value::as_str).unwrap_or_default();
        match action {
            "aggregate" => self.aggregate(at),
            "transform" => self.transform(at),
            "if" => self.branch(at, depth),
            "return" => self.value(at, "value").map(Step::Return),
            _ => match action.split_once('.') {
                Some(("store", operation)) => self.store_step(at, operation),
                Some(("rules", operation)) => self.rules_step(at, operation),
                _ => self.unknown(at),
            },
        }
    }

    fn unknown(&mut self, at: &At<'_>) -> Option<Step> {
        self.issue(at, "action", &format!("expected one of: {ACTIONS}"))
    }

    fn store_step(&mut self, at: &At<'_>, operation: &str) -> Option<Step> {
        match operation {
            "get" => {
                let (bucket, key, into) = (self.bucket(at), self.text_template(at, "key"), self.target(at));
                Some(Step::Get { bucket: bucket?, key: key?, into: into? })
            }
            "where" => {
                let (bucket, filter, into) = (self.bucket(at), self.filter(at), self.target(at));
                Some(Step::Where { bucket: bucket?, filter: filter?, into: into? })
            }
            "findOne" => {
                let (bucket, filter, into) = (self.bucket(at), self.filter(at), self.target(at));
                Some(Step::FindOne { bucket: bucket?, filter: filter?, into: into? })
            }
            "insert" => {
                let (bucket, data) = (self.bucket(at), self.object(at, "data"));
                let into = self.optional(at, "as", Self::target);
                Some(Step::Insert { bucket: bucket?, data: data?, into: into? })
            }
            "update" => {
                let (bucket, key) = (self.bucket(at), self.text_template(at, "key"));
                let data = self.object(at, "data");
                let into = self.optional(at, "as", Self::target);
                Some(Step::Update { bucket: bucket?, key: key?, data: data?, into: into? })
            }
            "delete" => {
                let (bucket, key) = (self.bucket(at), self.text_template(at, "key"));
                Some(Step::Delete { bucket: bucket?, key: key? })
            }
            "count" => {
                let bucket = self.bucket(at);
                let filter = self.optional(at, "filter", Self::filter);
                let into = self.target(at);
                Some(Step::Count { bucket: bucket?, filter: filter?, into: into? })
            }
            _ => self.unknown(at),
        }
    }

    fn rules_step(&mut self, at: &At<'_>, operation: &str) -> Option<Step> {
        self.uses_rules = true;
        match operation {
            "emit" => {
                let topic = self.text_template(at, "topic");
                let data = self.optional(at, "data", |parser, at| parser.object(at, "data"));
                Some(Step::Emit { topic: topic?, data: data? })
            }
            "setFact" => {
                let (key, value) = (self.text_template(at, "key"), self.value(at, "value"));
                Some(Step::SetFact { key: key?, value: value? })
            }
            "getFact" => {
                let (key, into) = (self.text_template(at, "key"), self.target(at));
                Some(Step::GetFact { key: key?, into: into? })
            }
            _ => self.unknown(at),
        }
    }

    fn aggregate(&mut self, at: &At<'_>) -> Option<Step> {
        let (source, into) = (self.source(at), self.target(at));
        let function = at.members.get("op").and_then(Value::as_str).and_then(Function::by_name);
        if function.is_none() {
            self.issue::<()>(at, "op", &format!("expected one of: {}", Function::NAMES));
        }
        let field = match function {
            Some(Function::Count) => Some(None),
            _ => self.text(at, "field").map(Some),
        };
        Some(Step::Aggregate { source: source?, into: into?, function: function?, field: field? })
    }

    fn transform(&mut self, at: &At<'_>) -> Option<Step> {
        let (source, into) = (self.source(at), self.target(at));
        let transform = at.members.get("operation").and_then(Value::as_str).and_then(Transform::by_name);
        if transform.is_none() {
            self.issue::<()>(at, "operation", &format!("expected one of: {}", Transform::NAMES));
        }
        let args = match transform {
            // Names of fields are no templates.
            Some(Transform::Pick | Transform::Pluck) => {
                self.present(at, "args").cloned().map(Template::Literal)
            }
            Some(Transform::Map | Transform::Filter) | None => self.value(at, "args"),
        };
        Some(Step::Transform { source: source?, into: into?, transform: transform?, args: args? })
    }

    fn branch(&mut self, at: &At<'_>, depth: usize) -> Option<Step> {
        let max = self.limits.condition_depth_max;
        if depth >= max {
            self.issues.push(format!("{}: condition nesting depth exceeds maximum ({max})", at.path));
            return None;
        }
        let condition = self.condition(at);
        let then = self.branch_steps(at, "then", depth);
        let otherwise = match at.members.get("else") {
            None => Some(Vec::new()),
            Some(_) => self.branch_steps(at, "else", depth),
        };
        Some(Step::If { condition: condition?, then: then?, otherwise: otherwise? })
    }

    fn branch_steps(&mut self, at: &At<'_>, field: &str, depth: usize) -> Option<Vec<Step>> {
        match at.members.get(field).and_then(Value::as_array).filter(|steps| !steps.is_empty()) {
            Some(steps) => self.steps(&format!("{}.{field}", at.path), steps, depth + 1),
            None => self.issue(at, field, "expected non-empty array of steps"),
        }
    }

    fn condition(&mut self, at: &At<'_>) -> Option<Condition> {
        let Some(members) = at.members.get("condition").and_then(Value::as_object) else {
            return self.issue(at, "condition", "expected object");
        };
        let at = &At { path: &format!("{}.condition", at.path), members };
        let reference = self.text(at, "ref").map(|text| Reference::parse(&text, &mut self.names));
        let operator = members.get("operator").and_then(Value::as_str).and_then(Operator::by_name);
        if operator.is_none() {
            self.issue::<()>(at, "operator", &format!("expected one of: {}", Operator::NAMES));
        }
        let value = members.get("value").map(|value| Template::compile(value, &mut self.names));
        Some(Condition { reference: reference?, operator: operator?, value })
    }

    // Fields

    fn issue<T>(&mut self, at: &At<'_>, field: &str, what: &str) -> Option<T> {
        self.issues.push(format!("{}.{field}: {what}", at.path));
        None
    }

    /// A field that may be left out: the outer `None` is a wrong one.
    fn optional<T>(
        &mut self,
        at: &At<'_>,
        field: &str,
        read: impl FnOnce(&mut Self, &At<'_>) -> Option<T>,
    ) -> Option<Option<T>> {
        if at.members.contains(field) { read(self, at).map(Some) } else { Some(None) }
    }

    fn text(&mut self, at: &At<'_>, field: &str) -> Option<CompactString> {
        match at.members.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()) {
            Some(text) => Some(text.into()),
            None => self.issue(at, field, "expected non-empty string"),
        }
    }

    fn text_template(&mut self, at: &At<'_>, field: &str) -> Option<Template> {
        let text = self.text(at, field)?;
        Some(Template::compile(&Value::String(text), &mut self.names))
    }

    fn bucket(&mut self, at: &At<'_>) -> Option<CompactString> {
        let bucket = self.text(at, "bucket")?;
        if self.system_bucket.is_none() && bucket.starts_with('_') {
            self.system_bucket = Some(bucket.clone());
        }
        Some(bucket)
    }

    fn target(&mut self, at: &At<'_>) -> Option<Slot> {
        let name = self.text(at, "as")?;
        Some(self.names.slot(&name))
    }

    fn source(&mut self, at: &At<'_>) -> Option<Source> {
        let name = self.text(at, "source")?;
        Some(Source { slot: self.names.slot(&name), name })
    }

    fn object(&mut self, at: &At<'_>, field: &str) -> Option<Template> {
        match at.members.get(field).filter(|value| value.as_object().is_some()) {
            Some(object) => Some(Template::compile(object, &mut self.names)),
            None => self.issue(at, field, "expected object"),
        }
    }

    fn filter(&mut self, at: &At<'_>) -> Option<Filter> {
        self.object(at, "filter").map(Filter::new)
    }

    fn present<'a>(&mut self, at: &At<'a>, field: &str) -> Option<&'a Value> {
        match at.members.get(field) {
            Some(value) => Some(value),
            None => self.issue(at, field, "required"),
        }
    }

    fn value(&mut self, at: &At<'_>, field: &str) -> Option<Template> {
        let value = self.present(at, field)?;
        Some(Template::compile(value, &mut self.names))
    }
}

/// Counts steps, those of all branches included.
fn count(steps: &[Value]) -> usize {
    let (mut lists, mut count) = (vec![steps], 0);
    while let Some(list) = lists.pop() {
        count += list.len();
        for step in list.iter().filter_map(Value::as_object) {
            if step.get("action").and_then(Value::as_str) == Some("if") {
                let branches = ["then", "else"].into_iter();
                lists.extend(branches.filter_map(|branch| step.get(branch)?.as_array()));
            }
        }
    }
    count
}
