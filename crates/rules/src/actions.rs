//! Actions: what rules do.
//!
//! A failing action is reported and the next one runs; only in a `try` it ends the list. Nothing is rolled back. What
//! an action causes is complete before the next one.
//! Source: the rule engine's description, 2.10 and 2.11.

use crate::{
    Action, ActionList, Argument, Catch, Condition, LogLevel, ResolveError, Schedule, Template, TimerAction,
    engine::Engine,
    evaluate::LIST_LEVELS,
    evaluate::{BYTES_PER_UNIT, shorten},
    event::{Event, Origin},
    occurrence::Occurrence,
    output::Output,
    registry::Entry,
    size::{Allowance, TooBig, value_bytes},
    timers::{NewTimer, Recurrence},
};
use noex_json::{CompactString, Object, Value};
use std::sync::Arc;

/// One rule, triggered once.
#[derive(Debug)]
pub(crate) struct Activation<'a> {
    pub(crate) entry: &'a Entry,
    pub(crate) occurrence: &'a Occurrence,
    /// Depth of the pass; the actions run one deeper.
    depth: usize,
    pub(crate) variables: Vec<(CompactString, Value)>,
    pub(crate) lookups: Vec<(CompactString, Value)>,
}

impl<'a> Activation<'a> {
    pub(crate) fn new(entry: &'a Entry, occurrence: &'a Occurrence, depth: usize) -> Self {
        Self { entry, occurrence, depth, variables: Vec::new(), lookups: Vec::new() }
    }
}

/// Why an action failed: the message.
#[derive(Debug)]
struct Failure(String);

impl From<ResolveError> for Failure {
    fn from(error: ResolveError) -> Self {
        Self(error.to_string())
    }
}

impl From<TooBig> for Failure {
    fn from(error: TooBig) -> Self {
        Self(match error {
            TooBig::Bytes => "Value is too large".into(),
            TooBig::Depth => "Value is nested too deeply".into(),
        })
    }
}

impl Engine {
    /// Runs a list of actions to its end, whatever fails.
    pub(crate) fn run_actions(&mut self, actions: &[Action], activation: &mut Activation<'_>) {
        self.run_list(actions, activation, false);
    }

    /// Runs a list of actions. With `stop`, ends at the first failure and gives its message.
    fn run_list(
        &mut self,
        actions: &[Action],
        activation: &mut Activation<'_>,
        stop: bool,
    ) -> Option<String> {
        for (index, action) in actions.iter().enumerate() {
            if self.run.is_exhausted() {
                return None;
            }
            self.run.spend(1);
            let Err(Failure(message)) = self.run_action(action, activation) else { continue };
            self.run.spend(message.len() / BYTES_PER_UNIT);
            let message = shorten(&message).to_owned();
            self.counts.actions_failed += 1;
            self.report(Output::ActionFailed {
                rule: shorten(&activation.entry.rule.id).into(),
                index,
                action: action.kind(),
                message: message.clone(),
            });
            if stop {
                return Some(message);
            }
        }
        None
    }

    fn run_action(&mut self, action: &Action, activation: &mut Activation<'_>) -> Result<(), Failure> {
        match action {
            Action::SetFact { key, value } => self.set_fact_action(key, value, activation),
            Action::DeleteFact { key } => {
                let key = self.expand(key, activation)?;
                self.remove_fact(&key, activation.depth + 1, Some(activation.occurrence));
                Ok(())
            }
            Action::EmitEvent { topic, data } => self.emit_action(topic, data, activation),
            Action::SetTimer(timer) => self.set_timer_action(timer, activation),
            Action::CancelTimer { name } => {
                let name = self.expand(name, activation)?;
                self.remove_timer(&name);
                Ok(())
            }
            Action::CallService { service, method, args } => {
                let args: Vec<Value> =
                    args.iter().map(|arg| self.value_or_null(arg, activation)).collect::<Result<_, _>>()?;
                let result = self.services.call(service, method, &args);
                result.map(drop).map_err(|error| Failure(error.of_action(service, method)))
            }
            Action::Log { level, message } => self.log_action(*level, message, activation),
            Action::Conditional { conditions, then, otherwise } => {
                self.conditional_action(conditions, then, otherwise, activation)
            }
            Action::ForEach { collection, variable, index_variable, actions, iterations_max } => {
                let names = (variable, index_variable);
                self.for_each_action(collection, names, actions, *iterations_max, activation)
            }
            Action::TryCatch { body, catch, finally } => {
                self.try_action(body, catch.as_ref(), finally, activation)
            }
            Action::Doomed { message, .. } => Err(Failure(message.to_string())),
        }
    }

    fn set_fact_action(
        &mut self,
        key: &Template,
        value: &Argument,
        activation: &Activation<'_>,
    ) -> Result<(), Failure> {
        let key = self.expand(key, activation)?;
        if key.is_empty() {
            return Err(Failure("Fact key must not be empty".into()));
        }
        let value = self.value_or_null(value, activation)?;
        let depth = activation.depth + 1;
        self.write_fact(&key, value, Origin::Rule, depth, Some(activation.occurrence))
            .map(drop)
            .map_err(|error| Failure(error.to_string()))
    }

    fn emit_action(
        &mut self,
        topic: &Template,
        data: &[(CompactString, Argument)],
        activation: &Activation<'_>,
    ) -> Result<(), Failure> {
        let topic = self.expand(topic, activation)?;
        let data = self.members(data, activation)?;
        let event = Arc::new(Event {
            id: self.new_id(),
            topic: topic.into(),
            data,
            timestamp: self.clock_ms,
            correlation_id: activation.occurrence.correlation_id.clone(),
            causation_id: activation.occurrence.causation_id.clone(),
            source: Origin::Rule,
        });
        self.process_event(&event, activation.depth + 1);
        Ok(())
    }

    fn set_timer_action(&mut self, timer: &TimerAction, activation: &Activation<'_>) -> Result<(), Failure> {
        let name = self.expand(&timer.name, activation)?;
        let topic = self.expand(&timer.topic, activation)?;
        let data = self.members(&timer.data, activation)?;
        let now_ms = self.clock_ms;
        let further = |fires_max: Option<u64>| fires_max.map(|max| max.saturating_sub(1));
        let (expires_at, recurrence) = match &timer.schedule {
            Schedule::Once { after_ms } => (now_ms.checked_add(*after_ms), Recurrence::Once),
            Schedule::Repeat { after_ms, interval_ms, fires_max } => {
                let left = further(*fires_max);
                (now_ms.checked_add(*after_ms), Recurrence::Every { interval_ms: *interval_ms, left })
            }
            Schedule::Cron { cron, fires_max } => {
                let left = further(*fires_max);
                (cron.next_after(now_ms), Recurrence::Cron { cron: Arc::clone(cron), left })
            }
        };
        let expires_at = expires_at.ok_or_else(|| Failure("Timer would never fire".into()))?;
        let new = NewTimer {
            id: self.new_id(),
            name: name.into(),
            expires_at,
            topic: topic.into(),
            data,
            correlation_id: activation.occurrence.correlation_id.clone(),
            recurrence,
        };
        let (name, before) = (new.name.clone(), self.timer_to_note(&new.name));
        let set = self.timers.set(new, &mut self.deadlines, &mut self.sequence);
        if set.is_ok() {
            self.note_timer(&name, before);
        }
        set.map_err(|error| Failure(error.to_string()))
    }

    fn log_action(
        &mut self,
        level: LogLevel,
        message: &Template,
        activation: &Activation<'_>,
    ) -> Result<(), Failure> {
        let message = self.expand(message, activation)?;
        let rule = Some(shorten(&activation.entry.rule.id).into());
        self.report(Output::Log { level, message, rule });
        Ok(())
    }

    fn conditional_action(
        &mut self,
        conditions: &[Condition],
        then: &ActionList,
        otherwise: &ActionList,
        activation: &mut Activation<'_>,
    ) -> Result<(), Failure> {
        self.run.spend(conditions.len().saturating_mul(activation.occurrence.weight));
        let holds = Condition::all_hold(conditions, &self.view(activation))?;
        self.nested(|engine| engine.run_actions(if holds { then } else { otherwise }, activation))
    }

    fn for_each_action(
        &mut self,
        collection: &Argument,
        (variable, index_variable): (&CompactString, &CompactString),
        actions: &ActionList,
        iterations_max: usize,
        activation: &mut Activation<'_>,
    ) -> Result<(), Failure> {
        let collection = self.value(collection, activation)?;
        let Some(Value::Array(items)) = collection else {
            let got = match collection {
                None => "undefined",
                Some(Value::Null) => "object",
                Some(other) => other.type_name(),
            };
            return Err(Failure(format!("for_each: collection must be an array, got {got}")));
        };
        self.nested(|engine| {
            let outer = activation.variables.len();
            for (index, item) in items.into_iter().take(iterations_max).enumerate() {
                if engine.run.is_exhausted() {
                    break;
                }
                engine.run.spend(1);
                activation.variables.push((variable.clone(), item));
                activation.variables.push((index_variable.clone(), index_value(index)));
                engine.run_actions(actions, activation);
                activation.variables.truncate(outer);
            }
        })
    }

    fn try_action(
        &mut self,
        body: &ActionList,
        catch: Option<&Catch>,
        finally: &ActionList,
        activation: &mut Activation<'_>,
    ) -> Result<(), Failure> {
        self.nested(|engine| {
            let failure = engine.run_list(body, activation, true);
            if let (Some(message), Some(catch)) = (failure, catch) {
                let outer = activation.variables.len();
                if let Some(variable) = &catch.variable {
                    let mut error = Object::new();
                    error.set("message", message.as_str());
                    activation.variables.push((variable.clone(), Value::from(error)));
                }
                engine.run_actions(&catch.actions, activation);
                activation.variables.truncate(outer);
            }
            engine.run_actions(finally, activation);
        })
    }

    /// Runs lists of actions one level deeper.
    fn nested(&mut self, run: impl FnOnce(&mut Self)) -> Result<(), Failure> {
        if !self.run.enter(LIST_LEVELS) {
            return Err(Failure("Actions are nested too deeply".into()));
        }
        run(self);
        self.run.leave(LIST_LEVELS);
        Ok(())
    }
}

/// Resolving. All that rules produce is measured before it is built.
impl Engine {
    fn expand(&mut self, template: &Template, activation: &Activation<'_>) -> Result<String, Failure> {
        let text = template.expand(&self.view(activation))?;
        self.run.spend(text.len() / BYTES_PER_UNIT);
        Ok(text)
    }

    fn value(&mut self, argument: &Argument, activation: &Activation<'_>) -> Result<Option<Value>, Failure> {
        let mut allowance = self.allowance();
        let view = self.view(activation);
        let value = argument.resolve(&view)?;
        if let Some(value) = &value {
            allowance.take(value, self.options.value_depth_max)?;
        }
        let value = value.map(std::borrow::Cow::into_owned);
        self.run.spend(value.as_ref().map_or(0, value_bytes) / BYTES_PER_UNIT);
        Ok(value)
    }

    fn value_or_null(&mut self, argument: &Argument, activation: &Activation<'_>) -> Result<Value, Failure> {
        Ok(self.value(argument, activation)?.unwrap_or_default())
    }

    /// Resolves the members of an event's or timer's data; absent ones are left out.
    fn members(
        &mut self,
        members: &[(CompactString, Argument)],
        activation: &Activation<'_>,
    ) -> Result<Value, Failure> {
        let mut allowance = self.allowance();
        let depth_max = self.options.value_depth_max.saturating_sub(1);
        let view = self.view(activation);
        let mut resolved = Vec::with_capacity(members.len());
        for (name, argument) in members {
            if let Some(value) = argument.resolve(&view)? {
                allowance.take(&value, depth_max)?;
                resolved.push((name.clone(), value.into_owned()));
            }
        }
        let data = Value::from(resolved.into_iter().collect::<Object>());
        self.run.spend(value_bytes(&data) / BYTES_PER_UNIT);
        Ok(data)
    }

    fn allowance(&self) -> Allowance {
        let left = self.run.work_left().saturating_mul(BYTES_PER_UNIT);
        Allowance::new(left.min(self.options.value_bytes_max))
    }
}

/// The index of an element, as a value.
fn index_value(index: usize) -> Value {
    Value::Number(u32::try_from(index).map_or(f64::MAX, f64::from))
}
