//! What rules do.

use super::{conditions, count};
use crate::validate::{ON_EXPIRE_DATA, ON_EXPIRE_TOPIC};
use crate::{Argument, Condition, Cron, Template, duration_ms};
use noex_json::{CompactString, Object, Value};
use std::sync::Arc;

/// A list of actions, shared with what runs it.
pub type ActionList = Arc<[Action]>;

/// Members of the data of an event or a timer.
type Members = Vec<(CompactString, Argument)>;

/// One action.
#[derive(Clone, Debug)]
pub enum Action {
    /// Writes a fact.
    SetFact {
        /// Key of the fact.
        key: Template,
        /// Its value; absent is `null`.
        value: Argument,
    },
    /// Removes a fact.
    DeleteFact {
        /// Key of the fact.
        key: Template,
    },
    /// Emits an event.
    EmitEvent {
        /// Topic of the event.
        topic: Template,
        /// Its data (see [`Argument::resolve_members`]).
        data: Members,
    },
    /// Sets a timer.
    SetTimer(Box<TimerAction>),
    /// Cancels a timer.
    CancelTimer {
        /// Name of the timer.
        name: Template,
    },
    /// Calls a service of the host.
    CallService {
        /// Name of the service.
        service: CompactString,
        /// Name of its method.
        method: CompactString,
        /// Arguments; absent ones are `null`.
        args: Vec<Argument>,
    },
    /// Writes to the log.
    Log {
        /// Level of the line.
        level: LogLevel,
        /// Its text.
        message: Template,
    },
    /// Runs one of two lists.
    Conditional {
        /// What must hold, all of it.
        conditions: Arc<[Condition]>,
        /// What to do then.
        then: ActionList,
        /// What to do otherwise.
        otherwise: ActionList,
    },
    /// Runs a list for each element of an array.
    ForEach {
        /// The array.
        collection: Argument,
        /// Variable of the element.
        variable: CompactString,
        /// Variable of the element's index.
        index_variable: CompactString,
        /// What to do for each.
        actions: ActionList,
        /// Elements beyond this many are ignored.
        iterations_max: usize,
    },
    /// Runs a list until an action fails.
    TryCatch {
        /// What to try.
        body: ActionList,
        /// What to do when an action failed.
        catch: Option<Catch>,
        /// What to do in any case.
        finally: ActionList,
    },
    /// An action that validation accepts with a warning, and that always fails.
    Doomed {
        /// Name of the type.
        kind: &'static str,
        /// Why it fails.
        message: &'static str,
    },
}

/// What to do when an action of a `try` list failed.
#[derive(Clone, Debug)]
pub struct Catch {
    /// Variable of the failure.
    pub variable: Option<CompactString>,
    /// The actions.
    pub actions: ActionList,
}

/// A timer to be set.
#[derive(Clone, Debug)]
pub struct TimerAction {
    /// Name of the timer.
    pub name: Template,
    /// When it fires.
    pub schedule: Schedule,
    /// Topic of the event that is emitted then.
    pub topic: Template,
    /// Data of the event, resolved when the timer is set (see [`Argument::resolve_members`]).
    pub data: Members,
}

/// When a timer fires.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// Once.
    Once {
        /// Delay.
        after_ms: u64,
    },
    /// On a grid.
    Repeat {
        /// Delay of the first firing.
        after_ms: u64,
        /// Time between later ones, at least 10 ms.
        interval_ms: u64,
        /// Number of firings, the first included; `None` = no limit.
        fires_max: Option<u64>,
    },
    /// At the times of a cron expression.
    Cron {
        /// The expression.
        cron: Arc<Cron>,
        /// Number of firings; `None` = no limit.
        fires_max: Option<u64>,
    },
}

/// How important a line of the log is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogLevel {
    /// For people who look for faults.
    Debug,
    /// Ordinary.
    Info,
    /// Suspicious.
    Warn,
    /// A fault.
    Error,
}

impl LogLevel {
    /// Reads the name of a level.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" => Self::Warn,
            "error" => Self::Error,
            _ => return None,
        })
    }
}

impl Action {
    /// Gives the name of the type.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::SetFact { .. } => "set_fact",
            Self::DeleteFact { .. } => "delete_fact",
            Self::EmitEvent { .. } => "emit_event",
            Self::SetTimer(_) => "set_timer",
            Self::CancelTimer { .. } => "cancel_timer",
            Self::CallService { .. } => "call_service",
            Self::Log { .. } => "log",
            Self::Conditional { .. } => "conditional",
            Self::ForEach { .. } => "for_each",
            Self::TryCatch { .. } => "try_catch",
            Self::Doomed { kind, .. } => kind,
        }
    }

    fn parse(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        let text = |name: &str| object.get(name)?.as_str();
        let template = |name: &str| text(name).map(Template::parse);
        Some(match text("type")? {
            "set_fact" => {
                Self::SetFact { key: template("key")?, value: Argument::parse(object.get("value")?) }
            }
            "delete_fact" => Self::DeleteFact { key: template("key")? },
            "emit_event" => {
                Self::EmitEvent { topic: template("topic")?, data: members(object.get("data")?.as_object()?) }
            }
            "set_timer" => timer(object.get("timer")?.as_object()?)?,
            "cancel_timer" => Self::CancelTimer { name: template("name")? },
            "call_service" => Self::CallService {
                service: text("service")?.into(),
                method: text("method")?.into(),
                args: items(object, "args").iter().map(Argument::parse).collect(),
            },
            "log" => Self::Log { level: LogLevel::parse(text("level")?)?, message: template("message")? },
            "conditional" => Self::Conditional {
                conditions: conditions(items(object, "conditions"))?,
                then: list(items(object, "then"))?,
                otherwise: list(items(object, "else"))?,
            },
            "for_each" => for_each(object)?,
            "try_catch" => Self::TryCatch {
                body: list(items(object, "try"))?,
                catch: match object.get("catch") {
                    None => None,
                    Some(catch) => Some(Catch::parse(catch.as_object()?)?),
                },
                finally: list(items(object, "finally"))?,
            },
            _ => return None,
        })
    }
}

impl Catch {
    fn parse(object: &Object) -> Option<Self> {
        let variable = object.get("as").and_then(Value::as_str).map(CompactString::from);
        Some(Self { variable, actions: list(items(object, "actions"))? })
    }
}

/// Compiles a list of actions.
pub(super) fn list(values: &[Value]) -> Option<ActionList> {
    values.iter().map(Action::parse).collect()
}

fn items<'v>(object: &'v Object, name: &str) -> &'v [Value] {
    object.get(name).and_then(Value::as_array).unwrap_or_default()
}

fn members(object: &Object) -> Members {
    object.iter().map(|(name, value)| (name.clone(), Argument::parse(value))).collect()
}

fn for_each(object: &Object) -> Option<Action> {
    let variable = object.get("as")?.as_str()?;
    let iterations = object.get("maxIterations").and_then(Value::as_number).unwrap_or(ITERATIONS_DEFAULT);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at both ends")]
    let iterations_max = (iterations as usize).min(ITERATIONS_MAX);
    Some(Action::ForEach {
        collection: Argument::parse(object.get("collection")?),
        variable: variable.into(),
        index_variable: format!("{variable}_index").into(),
        actions: list(items(object, "actions"))?,
        iterations_max,
    })
}

fn timer(object: &Object) -> Option<Action> {
    let expire = object.get("onExpire")?.as_object()?;
    let doomed = |message| Some(Action::Doomed { kind: "set_timer", message });
    let Some(topic) = expire.get("topic")?.as_str() else { return doomed(ON_EXPIRE_TOPIC) };
    let Some(data) = expire.get("data")?.as_object() else { return doomed(ON_EXPIRE_DATA) };
    Some(Action::SetTimer(Box::new(TimerAction {
        name: Template::parse(object.get("name")?.as_str()?),
        schedule: Schedule::parse(object)?,
        topic: Template::parse(topic),
        data: members(data),
    })))
}

impl Schedule {
    fn parse(timer: &Object) -> Option<Self> {
        let fires_max = |object: &Object| object.get("maxCount").and_then(count);
        if let Some(cron) = timer.get("cron").filter(|cron| !cron.is_null()) {
            let cron = Cron::parse(cron.as_str()?).ok()?;
            return Some(Self::Cron { cron: Arc::new(cron), fires_max: fires_max(timer) });
        }
        let after_ms = duration_ms(timer.get("duration")?)?;
        let Some(repeat) = timer.get("repeat").filter(|repeat| !repeat.is_null()) else {
            return Some(Self::Once { after_ms });
        };
        let repeat = repeat.as_object()?;
        let interval_ms = duration_ms(repeat.get("interval")?)?;
        Some(Self::Repeat { after_ms, interval_ms, fires_max: fires_max(repeat) })
    }
}

/// Shortest time between two firings of a repeating timer.
pub(crate) const REPEAT_INTERVAL_MIN_MS: u64 = 10;

/// How many elements `for_each` processes unless told otherwise.
const ITERATIONS_DEFAULT: f64 = 1000.0;

/// How many elements `for_each` processes whatever it is told.
const ITERATIONS_MAX: usize = 100_000;
