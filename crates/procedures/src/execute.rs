//! Running a procedure.
//!
//! Steps run in order until the end, a `return`, an error, or the end of the time, which is looked at between steps.
//! Values that are made are paid from one allowance, records that are looked at from another: without loops in the
//! language these two bound all work.
//! Source: the auth specification, sections 8.2 and 8.5.

use crate::{
    Answer, CallError, Engines, Found, Limits, Procedure, Read, Record, RunAs, Want,
    filter::{Filter, Resolver},
    step::Step,
    template::{Scope, Slot, Template},
    transform,
};
use noex_json::{
    CompactString, Object, Value,
    size::{Allowance, TooBig},
    utf16_len, write_value,
};
use std::ops::ControlFlow;

/// What a call answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Value of the `return` that ended it; `None` if there was none, or its value was undefined.
    pub result: Option<Value>,
    /// All named results, in the order of their first assignment.
    pub results: Object,
}

impl Outcome {
    /// Gives the answer as clients see it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::from("{\"success\":true");
        if let Some(result) = &self.result {
            out.push_str(",\"result\":");
            write_value(&mut out, result);
        }
        out.push_str(",\"results\":{");
        for (i, (name, value)) in self.results.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            noex_json::write_string(&mut out, name);
            out.push(':');
            write_value(&mut out, value);
        }
        out.push_str("}}");
        out
    }
}

impl Procedure {
    /// Runs the steps with an input that [`Procedure::check_input`] gave. `elapsed_ms` tells how long the call has
    /// been running. Effects of earlier steps stay when a later one fails, unless `engines` undoes them.
    ///
    /// # Errors
    /// That of the first step that fails.
    pub fn run<E: Engines>(
        &self,
        input: Object,
        limits: &Limits,
        elapsed_ms: &dyn Fn() -> f64,
        engines: &mut E,
    ) -> Result<Outcome, CallError<E::Error>> {
        let results = vec![None; self.names.len()];
        let mut execution = Execution {
            procedure: self,
            limits,
            elapsed_ms,
            engines,
            scope: Scope { input: Value::from(input), results },
            assigned: Vec::new(),
            room: Allowance::new(limits.bytes_max),
            records: if self.transaction { limits.records_locked_max } else { limits.records_max },
        };
        let result = match execution.steps(&self.steps)? {
            ControlFlow::Break(result) => result,
            ControlFlow::Continue(()) => None,
        };
        let Execution { mut scope, assigned, .. } = execution;
        let results = assigned.into_iter().filter_map(|slot| {
            Some((self.names.get(slot.0)?.clone(), scope.results.get_mut(slot.0)?.take()?))
        });
        Ok(Outcome { result, results: results.collect() })
    }
}

type Done<T, E> = Result<T, CallError<<E as Engines>::Error>>;

struct Execution<'a, E> {
    procedure: &'a Procedure,
    limits: &'a Limits,
    elapsed_ms: &'a dyn Fn() -> f64,
    engines: &'a mut E,
    scope: Scope,
    /// In the order of first assignment.
    assigned: Vec<Slot>,
    room: Allowance,
    /// Records that may still be looked at.
    records: usize,
}

impl<E: Engines> Execution<'_, E> {
    fn steps(&mut self, steps: &[Step]) -> Done<ControlFlow<Option<Value>>, E> {
        for step in steps {
            let timeout_ms = self.procedure.timeout_ms;
            if (self.elapsed_ms)() >= timeout_ms {
                return Err(CallError::TimedOut { procedure: self.procedure.name.clone(), timeout_ms });
            }
            let flow = self.step(step)?;
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn step(&mut self, step: &Step) -> Done<ControlFlow<Option<Value>>, E> {
        match step {
            Step::If { condition, then, otherwise } => {
                let depth_max = self.limits.depth_max;
                let holds = condition.holds(&self.scope, &mut self.room, depth_max);
                let holds = holds.map_err(|error| self.too_big(error))?;
                return self.steps(if holds { then } else { otherwise });
            }
            Step::Return(value) => return self.value(value).map(ControlFlow::Break),
            Step::Aggregate { source, into, function, field } => {
                let found = self.scope.result(source.slot);
                let number = transform::aggregate(*function, source, field.as_deref(), found);
                self.assign(*into, Value::Number(number.map_err(CallError::Step)?));
            }
            Step::Transform { source, into, transform, args } => {
                let mut with = transform::Context {
                    scope: &self.scope,
                    room: &mut self.room,
                    depth_max: self.limits.depth_max,
                };
                let made = transform::transform(*transform, source, args, &mut with);
                let made = made.map_err(|error| match error {
                    transform::Failure::Wrong(text) => CallError::Step(text),
                    transform::Failure::TooBig(error) => self.too_big(error),
                })?;
                self.assign(*into, made);
            }
            Step::Emit { .. } | Step::SetFact { .. } | Step::GetFact { .. } => self.rules_step(step)?,
            Step::Get { .. }
            | Step::Where { .. }
            | Step::FindOne { .. }
            | Step::Insert { .. }
            | Step::Update { .. }
            | Step::Delete { .. }
            | Step::Count { .. } => self.store_step(step)?,
        }
        Ok(ControlFlow::Continue(()))
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other steps are done by the caller")]
    fn store_step(&mut self, step: &Step) -> Done<(), E> {
        match step {
            Step::Get { bucket, key, into } => {
                self.permit("store.get", bucket)?;
                let key = self.value(key)?.unwrap_or_default();
                let found = self.engines.get(bucket, &key).map_err(CallError::Engine)?;
                self.assign_record(Some(*into), found.as_ref())
            }
            Step::Where { bucket, filter, into } => {
                let found = self.read("store.where", bucket, Some(filter), Want::All)?;
                let Found::Records(records) = found else { return Ok(()) };
                let mut list = Vec::with_capacity(records.len());
                for record in &records {
                    list.push(self.copy(record)?);
                }
                self.assign(*into, Value::from(list));
                Ok(())
            }
            Step::FindOne { bucket, filter, into } => {
                let found = self.read("store.findOne", bucket, Some(filter), Want::First)?;
                let Found::Records(records) = found else { return Ok(()) };
                self.assign_record(Some(*into), records.first())
            }
            Step::Insert { bucket, data, into } => {
                self.permit("store.insert", bucket)?;
                let data = self.object(data)?;
                let record = self.engines.insert(bucket, data).map_err(CallError::Engine)?;
                self.assign_record(*into, Some(&record))
            }
            Step::Update { bucket, key, data, into } => {
                self.permit("store.update", bucket)?;
                let key = self.value(key)?.unwrap_or_default();
                let data = self.object(data)?;
                let record = self.engines.update(bucket, &key, data).map_err(CallError::Engine)?;
                self.assign_record(*into, Some(&record))
            }
            Step::Delete { bucket, key } => {
                self.permit("store.delete", bucket)?;
                let key = self.value(key)?.unwrap_or_default();
                self.engines.delete(bucket, &key).map_err(CallError::Engine)
            }
            Step::Count { bucket, filter, into } => {
                let found = self.read("store.count", bucket, filter.as_ref(), Want::Count)?;
                if let Found::Number(number) = found {
                    self.assign(*into, Value::Number(number));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other steps are done by the caller")]
    fn rules_step(&mut self, step: &Step) -> Done<(), E> {
        match step {
            Step::Emit { topic, data } => {
                let topic = self.named("rules.emit", "topic", topic)?;
                let data = match data {
                    Some(data) => self.object(data)?,
                    None => Object::new(),
                };
                self.engines.emit(&topic, data).map_err(CallError::Engine)
            }
            Step::SetFact { key, value } => {
                let key = self.named("rules.setFact", "key", key)?;
                let value = self.value(value)?.unwrap_or_default();
                self.engines.set_fact(&key, value).map_err(CallError::Engine)
            }
            Step::GetFact { key, into } => {
                let key = self.named("rules.getFact", "key", key)?;
                let value = self.engines.fact(&key).map_err(CallError::Engine)?.unwrap_or_default();
                self.pay(|room, depth_max| room.take(&value, depth_max))?;
                self.assign(*into, value);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn permit(&mut self, operation: &'static str, resource: &str) -> Done<(), E> {
        match self.procedure.run_as {
            RunAs::Definer => Ok(()),
            RunAs::Caller => self.engines.permits(operation, resource).map_err(CallError::Engine),
        }
    }

    /// Finds the topic or key of a rules step, which the caller must be allowed to use.
    fn named(&mut self, operation: &'static str, field: &str, template: &Template) -> Done<CompactString, E> {
        let value = self.value(template)?;
        let name = value.as_ref().and_then(Value::as_str).filter(|name| !name.is_empty());
        self.permit(operation, name.unwrap_or("*"))?;
        if !self.engines.has_rules() {
            return Err(CallError::Step(format!("{operation}: rule engine is not configured")));
        }
        let wrong = |what: &str| CallError::Step(format!("Missing or invalid \"{field}\": expected {what}"));
        let name = name.ok_or_else(|| wrong("non-empty string"))?;
        let max = self.limits.name_length_max;
        if max != 0 && name.len() > max && utf16_len(name) > max {
            return Err(wrong(&format!("at most {max} characters")));
        }
        Ok(name.into())
    }

    fn read(
        &mut self,
        operation: &'static str,
        bucket: &str,
        filter: Option<&Filter>,
        want: Want,
    ) -> Done<Found<E::Record>, E> {
        self.permit(operation, bucket)?;
        let filter = match filter {
            None => None,
            Some(filter) => {
                let resolved = filter.resolve(&mut Resolver {
                    scope: &self.scope,
                    room: &mut self.room,
                    depth_max: self.limits.depth_max,
                    operators_in_values: self.limits.operators_in_values,
                });
                Some(resolved.map_err(|error| self.too_big(error))?)
            }
        };
        let read = Read { bucket, filter, want, records_max: self.records };
        match self.engines.read(read).map_err(CallError::Engine)? {
            Answer::Done { found, looked_at } => {
                self.records = self.records.saturating_sub(looked_at);
                Ok(found)
            }
            Answer::TooMany => {
                let max = if self.procedure.transaction {
                    self.limits.records_locked_max
                } else {
                    self.limits.records_max
                };
                Err(self.refused(&format!("looks at more than {max} records")))
            }
        }
    }

    fn value(&mut self, template: &Template) -> Done<Option<Value>, E> {
        let made = template.resolve(&self.scope, &mut self.room, self.limits.depth_max);
        made.map_err(|error| self.too_big(error))
    }

    fn object(&mut self, template: &Template) -> Done<Object, E> {
        let made = template.object(&self.scope, &mut self.room, self.limits.depth_max);
        made.map_err(|error| self.too_big(error))
    }

    fn copy(&mut self, record: &E::Record) -> Done<Value, E> {
        self.pay(|room, depth_max| {
            room.spend(size_of::<Value>())?;
            room.take_members(record.members(), depth_max)
        })?;
        let members = record.members().map(|(name, value)| (name.clone(), value.clone()));
        Ok(Value::from(Object::from(members.collect::<Vec<_>>())))
    }

    fn pay(&mut self, pay: impl FnOnce(&mut Allowance, usize) -> Result<(), TooBig>) -> Done<(), E> {
        pay(&mut self.room, self.limits.depth_max).map_err(|error| self.too_big(error))
    }

    /// Assigns a record, or `null` where there is none.
    fn assign_record(&mut self, into: Option<Slot>, record: Option<&E::Record>) -> Done<(), E> {
        let Some(into) = into else { return Ok(()) };
        let value = match record {
            Some(record) => self.copy(record)?,
            None => Value::Null,
        };
        self.assign(into, value);
        Ok(())
    }

    fn assign(&mut self, into: Slot, value: Value) {
        if let Some(place) = self.scope.results.get_mut(into.0)
            && place.replace(value).is_none()
        {
            self.assigned.push(into);
        }
    }

    fn too_big(&self, error: TooBig) -> CallError<E::Error> {
        self.refused(&match error {
            TooBig::Bytes => format!("makes more than {} bytes of values", self.limits.bytes_max),
            TooBig::Depth => format!("nests values deeper than {}", self.limits.depth_max),
        })
    }

    fn refused(&self, what: &str) -> CallError<E::Error> {
        CallError::Step(format!("Procedure \"{}\" {what}", self.procedure.name))
    }
}
