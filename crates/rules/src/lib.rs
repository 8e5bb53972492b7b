//! Rule engine: rules that react to events, facts, timers and patterns over time.
//!
//! Pure and synchronous: inputs and clock readings in, effects out. No clock, no I/O, no threads, no randomness, so the
//! same inputs at the same times give the same outputs.
//!
//! An [`Engine`] takes every input (events, facts, rules, subscriptions, the passing of time) as a call with the time of
//! the call, runs all that follows from it, and collects what its host has to do as [`Output`]s, in order.
//!
//! The definitional half turns the JSON of a rule into types that cannot be wrong: [`validate`] names every problem,
//! [`Rule`] holds the compiled triggers, conditions, actions and lookups, [`Pattern`] and [`PatternTrie`] match topics,
//! keys and names, and a [`Scope`] is what conditions and references see of one activation.

#![forbid(unsafe_code)]

mod condition;
mod cron;
mod duration;
mod pattern;
mod reference;
mod regexp;
mod rule;
mod validate;

mod actions;
mod backward;
mod deadlines;
mod engine;
mod error;
mod evaluate;
mod event;
mod facts;
mod groups;
mod history;
mod index;
mod keep;
mod occurrence;
mod options;
mod output;
mod registry;
mod service;
mod stats;
mod temporal;
mod timers;
mod versions;

use noex_json::size;

pub use condition::{BaselineCheck, BaselineComparison, Condition, FactSource, Operand, Operator, Source};
pub use cron::{Cron, CronError};
pub use duration::{DURATION_MAX_MS, duration_ms};
pub use pattern::{EntryId, Part, Pattern, PatternError, PatternTrie, Space};
pub use reference::{Argument, Path, Reference, ResolveError, Scope, Template};
pub use regexp::Regexp;
pub use rule::{
    Action, ActionList, Aggregation, Catch, Comparison, FactChanges, LogLevel, Lookup, Matcher,
    OnLookupError, Rule, Schedule, Temporal, TemporalKind, TimerAction, Trigger,
};
pub use validate::{Issue, Report, Severity, validate};

pub use backward::{BackwardLimits, Goal, GoalAnswer, Proof, ProofCondition, Unachievable};
pub use engine::{Engine, Random, RuleStamp, Stopwatch};
pub use error::{LimitKind, RulesError};
pub use event::{Event, Origin};
pub use facts::Fact;
pub use groups::{Group, GroupUpdate};
pub use history::HistoryLimits;
pub use keep::{FACT_SPACE, KeptChange, RULE_SPACE, TIMER_SPACE};
pub use options::EngineOptions;
pub use output::{Output, SubscriberId};
pub use service::{Service, ServiceError};
pub use stats::Stats;
pub use temporal::TemporalLimits;
pub use timers::Timer;
pub use versions::{
    ChangeType, FieldChange, RuleVersion, VersionDiff, VersionOrder, VersionPage, VersionQuery,
    VersioningLimits, VersioningStats,
};
