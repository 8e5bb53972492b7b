//! What of an engine outlives it: facts, and on request the registered rules and the timers.
//!
//! Each change is noted with the text to keep and the way back, until the host takes it. Undoing puts back what was
//! there and triggers nothing. Not kept: events under way in temporal patterns, histories, and rules in groups, which
//! embedders make anew.
//! Source: the rule engine's description, 6.9 and 4.2.

use crate::{
    Cron, Engine, Fact, Origin, Rule,
    event::time_value,
    registry::Entry,
    timers::{Recurrence, Timer},
};
use foldhash::{HashMap, HashMapExt};
use noex_json::{CompactString, Object, Value};
use std::sync::Arc;

/// A change of something that outlives the engine.
#[derive(Debug)]
pub struct KeptChange {
    /// Kind: `fact`, `rule` or `timer`.
    pub space: &'static str,
    /// Key, id or name; unique within its kind.
    pub key: CompactString,
    /// JSON text to keep; `None` = no longer kept.
    pub text: Option<String>,
    before: Before,
}

#[derive(Debug)]
enum Before {
    Fact(Option<(u64, Arc<Fact>)>),
    Rule(Option<Arc<Entry>>),
    Timer(Option<Timer>),
}

/// What is noted since the host last asked.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    facts: bool,
    rules: bool,
    changes: Vec<KeptChange>,
    /// The rules as they were last noted.
    known: HashMap<CompactString, Arc<Entry>>,
}

/// Kind of facts.
pub const FACT_SPACE: &str = "fact";
/// Kind of rules.
pub const RULE_SPACE: &str = "rule";
/// Kind of timers.
pub const TIMER_SPACE: &str = "timer";

/// What outlives the engine.
impl Engine {
    /// Notes changes of facts, and of rules and timers if asked for, from now on. They must be taken with
    /// [`Engine::take_kept`], or they pile up.
    pub fn keep(&mut self, rules_and_timers: bool) {
        let mut known = HashMap::new();
        if rules_and_timers {
            known.extend(self.registry.entries().map(|entry| (entry.rule.id.clone(), Arc::clone(entry))));
        }
        self.keeping = Keeping { facts: true, rules: rules_and_timers, changes: Vec::new(), known };
    }

    /// Takes the changes since the last call, in order.
    #[must_use]
    pub fn take_kept(&mut self) -> Vec<KeptChange> {
        std::mem::take(&mut self.keeping.changes)
    }

    /// Puts back what was there before a change. Changes must be undone in reverse order, the last one first.
    pub fn undo_kept(&mut self, change: KeptChange) {
        let KeptChange { key, before, .. } = change;
        match before {
            Before::Fact(before) => self.facts.put_back(&key, before),
            Before::Timer(before) => {
                self.timers.cancel(&key, &mut self.deadlines);
                if let Some(timer) = before {
                    self.timers.put_back(timer, &mut self.deadlines);
                }
            }
            Before::Rule(before) => {
                let (facts, deadlines) = (&mut self.facts, &mut self.deadlines);
                self.registry.put_back(&key, before.as_ref(), facts, deadlines);
                match before {
                    Some(entry) => self.keeping.known.insert(key, entry),
                    None => self.keeping.known.remove(&key),
                };
            }
        }
    }

    /// Brings back a fact as it was kept; it triggers nothing.
    ///
    /// # Errors
    /// What is wrong with the text, or that the limit is reached.
    pub fn restore_fact(&mut self, key: &str, text: &str) -> Result<(), String> {
        let kept = object(text)?;
        let value = kept.get("value").cloned().unwrap_or_default();
        let source = match kept.get("source").and_then(Value::as_str) {
            Some("rule") => Origin::Rule,
            Some("timer") => Origin::Timer,
            _ => Origin::Api,
        };
        let (timestamp, version) = (integer(&kept, "timestamp")?, integer(&kept, "version")?);
        self.clock_ms = self.clock_ms.max(timestamp);
        self.facts.set(key, value.clone(), source, timestamp).map_err(|error| error.to_string())?;
        let sequence = self.facts.sequence_of(key).unwrap_or_default();
        let fact = Arc::new(Fact { key: key.into(), value, timestamp, source, version });
        self.facts.put_back(key, Some((sequence, fact)));
        if kept.contains("sequence") {
            self.facts.place(key, place(&kept)?);
        }
        Ok(())
    }

    /// Brings back a rule as it was kept, with its version and times. Does nothing if there is a rule of this id.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn restore_rule(&mut self, id: &str, text: &str) -> Result<(), String> {
        if self.registry.get(id).is_some() {
            return Ok(());
        }
        let kept = object(text)?;
        let source = kept.get("rule").and_then(Value::as_object).ok_or("there is no rule")?;
        let issues = |issues: Vec<crate::Issue>| {
            issues
                .iter()
                .map(|issue| format!("{}: {}", issue.path, issue.message))
                .collect::<Vec<_>>()
                .join("; ")
        };
        let rule = Rule::compile(source.clone()).map_err(issues)?;
        let times = (integer(&kept, "createdAt")?, integer(&kept, "updatedAt")?);
        self.registry.restore(rule, integer(&kept, "version")?, times, &mut self.facts);
        Ok(())
    }

    /// Brings back a timer as it was kept. One that is overdue fires with the next advance, at most once; a schedule of
    /// times of day goes on from `now_ms`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn restore_timer(&mut self, now_ms: u64, name: &str, text: &str) -> Result<(), String> {
        let kept = object(text)?;
        let string = |member: &str| kept.get(member).and_then(Value::as_str).map(CompactString::from);
        let left = kept.get("left").is_some().then(|| integer(&kept, "left")).transpose()?;
        let mut expires_at = integer(&kept, "expiresAt")?;
        let recurrence = if let Some(text) = string("cron") {
            let cron = Arc::new(Cron::parse(&text).map_err(|error| error.to_string())?);
            if expires_at < now_ms {
                expires_at = cron.next_after(now_ms).ok_or("it would never fire")?;
            }
            Recurrence::Cron { cron, left }
        } else if kept.contains("interval") {
            Recurrence::Every { interval_ms: integer(&kept, "interval")?, left }
        } else {
            Recurrence::Once
        };
        let numbered = kept.contains("sequence").then(|| place(&kept)).transpose()?;
        // Without a number it gets one below all that are kept, so that none has it.
        let sequence = numbered.filter(|place| *place > FIRST_SEQUENCE).unwrap_or(self.timers.len() as u64);
        self.sequence = self.sequence.max(sequence);
        let timer = Timer {
            id: string("id").ok_or("it has no id")?,
            name: name.into(),
            expires_at,
            topic: string("topic").ok_or("it has no topic")?,
            data: kept.get("data").cloned().unwrap_or_default(),
            correlation_id: string("correlationId"),
            recurrence,
            sequence,
        };
        self.timers.cancel(name, &mut self.deadlines);
        self.timers.put_back(timer, &mut self.deadlines);
        Ok(())
    }

    /// Notes a change of a fact, given what was there before.
    pub(crate) fn note_fact(&mut self, key: &str, before: Option<(u64, Arc<Fact>)>) {
        if !self.keeping.facts {
            return;
        }
        let text = self.facts.get(key).map(|fact| {
            let mut object = fact.to_value().as_object().cloned().unwrap_or_default();
            object.set("sequence", time_value(self.facts.sequence_of(key).unwrap_or_default()));
            Value::from(object).to_kept_json()
        });
        let before = Before::Fact(before);
        self.keeping.changes.push(KeptChange { space: FACT_SPACE, key: key.into(), text, before });
    }

    /// Notes a change of a timer, given what was there before.
    pub(crate) fn note_timer(&mut self, name: &str, before: Option<Timer>) {
        let after = self.timers.get(name);
        if !self.keeping.rules || (before.is_none() && after.is_none()) {
            return;
        }
        let text = after.map(timer_text);
        let before = Before::Timer(before);
        self.keeping.changes.push(KeptChange { space: TIMER_SPACE, key: name.into(), text, before });
    }

    /// The timer as it is, for [`Engine::note_timer`] after a change; spares the copy where nothing is kept.
    pub(crate) fn timer_to_note(&self, name: &str) -> Option<Timer> {
        self.timers.get(name).filter(|_| self.keeping.rules).cloned()
    }

    /// Notes a change of a rule.
    pub(crate) fn note_rule(&mut self, id: &str) {
        if !self.keeping.rules {
            return;
        }
        let after = self.registry.get(id).filter(|entry| entry.rule.group.is_none()).cloned();
        let text = after.as_deref().map(rule_text);
        let before = match after {
            Some(entry) => self.keeping.known.insert(id.into(), entry),
            None => self.keeping.known.remove(id),
        };
        if text.is_some() || before.is_some() {
            let before = Before::Rule(before);
            self.keeping.changes.push(KeptChange { space: RULE_SPACE, key: id.into(), text, before });
        }
    }
}

fn rule_text(entry: &Entry) -> String {
    let mut object = Object::new();
    object.set("rule", entry.rule.source().clone());
    object.set("version", time_value(entry.version));
    object.set("createdAt", time_value(entry.created_at));
    object.set("updatedAt", time_value(entry.updated_at));
    Value::from(object).to_kept_json()
}

fn timer_text(timer: &Timer) -> String {
    let mut object = Object::new();
    object.set("id", timer.id.clone());
    object.set("expiresAt", time_value(timer.expires_at));
    // One that came without a number stays so until it is set again: numbers below are given anew at each start.
    if timer.sequence > FIRST_SEQUENCE {
        object.set("sequence", time_value(timer.sequence));
    }
    object.set("topic", timer.topic.clone());
    object.set("data", timer.data.clone());
    if let Some(id) = &timer.correlation_id {
        object.set("correlationId", id.clone());
    }
    let left = match &timer.recurrence {
        Recurrence::Once => &None,
        Recurrence::Every { interval_ms, left } => {
            object.set("interval", time_value(*interval_ms));
            left
        }
        Recurrence::Cron { cron, left } => {
            object.set("cron", cron.text());
            left
        }
    };
    if let Some(left) = left {
        object.set("left", time_value(*left));
    }
    Value::from(object).to_kept_json()
}

/// Numbers of timers begin behind this one.
pub(crate) const FIRST_SEQUENCE: u64 = 1 << 32;

/// Nesting of what is read back; everything kept was accepted with less.
const DEPTH_MAX: usize = 4096;

fn object(text: &str) -> Result<Object, String> {
    match noex_json::parse(text, DEPTH_MAX) {
        Ok(Value::Object(object)) => Ok(*object),
        Ok(_) | Err(_) => Err("it is not a JSON object".to_owned()),
    }
}

/// The place in an order of creation.
fn place(kept: &Object) -> Result<u64, String> {
    const MAX: u64 = 1 << 53;
    integer(kept, "sequence")
        .and_then(|place| if place < MAX { Ok(place) } else { Err("\"sequence\" is too large".into()) })
}

fn integer(object: &Object, member: &str) -> Result<u64, String> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates; times and counts"
    )]
    let whole = |number: f64| number as u64;
    let number = object.get(member).and_then(Value::as_number);
    number.map(whole).ok_or_else(|| format!("\"{member}\" is not a number"))
}
