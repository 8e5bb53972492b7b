//! What rules react to.

use crate::{Path, Pattern, Space, duration_ms};
use noex_json::{CompactString, Object, Value, deep_equal};
use std::sync::Arc;

/// What a rule reacts to.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// Events whose topic matches.
    Event(Pattern),
    /// Changes of facts whose key matches.
    Fact {
        /// The keys.
        pattern: Pattern,
        /// The changes.
        on: FactChanges,
    },
    /// Expiring timers whose name matches.
    Timer(Pattern),
    /// A pattern over several events.
    Temporal(Arc<Temporal>),
}

/// Which changes of a fact a rule reacts to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FactChanges {
    /// The key is new.
    pub created: bool,
    /// The key exists, whether or not its value changes.
    pub updated: bool,
    /// The fact is removed.
    pub deleted: bool,
}

/// A pattern over several events.
#[derive(Clone, Debug)]
pub struct Temporal {
    /// What is looked for.
    pub kind: TemporalKind,
    /// Path into the data of an event (see [`Path::get_data`]) whose text form names the group. State is kept per group.
    pub group_by: Option<Path>,
}

/// What a temporal pattern looks for.
#[derive(Clone, Debug)]
pub enum TemporalKind {
    /// Events in an order.
    Sequence {
        /// At least two.
        steps: Vec<Matcher>,
        /// From the first event to the last, which must come earlier.
        within_ms: u64,
        /// Whether any other event of the group ends the instance.
        strict: bool,
    },
    /// An event that is not followed by another.
    Absence {
        /// What opens an instance.
        after: Matcher,
        /// What must not be missing.
        expected: Matcher,
        /// How long it may take.
        within_ms: u64,
    },
    /// A number of events.
    Count {
        /// What is counted.
        event: Matcher,
        /// What the number is compared with.
        threshold: f64,
        /// How.
        comparison: Comparison,
        /// Length of the window.
        window_ms: u64,
        /// Whether the window ends at each event instead of being one of a fixed grid.
        sliding: bool,
    },
    /// A function of numbers in events.
    Aggregate {
        /// Which events.
        event: Matcher,
        /// Path into the data of the event (see [`Path::get_data`]).
        field: Path,
        /// What is calculated.
        function: Aggregation,
        /// What the result is compared with.
        threshold: f64,
        /// How.
        comparison: Comparison,
        /// Length of the window.
        window_ms: u64,
        /// As of a count.
        sliding: bool,
    },
}

/// Accepts events for a temporal pattern.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// Topics.
    pub topic: Pattern,
    /// Name of the matched event.
    pub alias: Option<CompactString>,
    filter: Vec<(Path, Value)>,
}

/// How a number is compared with a threshold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Comparison {
    /// Greater or equal.
    Gte,
    /// Smaller or equal.
    Lte,
    /// Equal.
    Eq,
}

/// What an aggregate pattern calculates.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Aggregation {
    /// Sum of the numbers.
    Sum,
    /// Their mean.
    Avg,
    /// The smallest.
    Min,
    /// The greatest.
    Max,
    /// Number of events, with or without a number.
    Count,
}

impl Trigger {
    /// Compiles a validated trigger.
    pub(super) fn parse(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        let pattern = |name: &str, space: Space| Pattern::parse(object.get(name)?.as_str()?, space).ok();
        Some(match object.get("type")?.as_str()? {
            "event" => Self::Event(pattern("topic", Space::Trigger)?),
            "fact" => Self::Fact {
                pattern: pattern("pattern", Space::Key)?,
                on: object.get("on").and_then(FactChanges::parse).unwrap_or_default(),
            },
            "timer" => Self::Timer(pattern("name", Space::Key)?),
            "temporal" => Self::Temporal(Arc::new(Temporal::parse(object.get("pattern")?.as_object()?)?)),
            _ => return None,
        })
    }
}

impl Default for FactChanges {
    fn default() -> Self {
        Self { created: true, updated: true, deleted: false }
    }
}

impl FactChanges {
    /// Reads a list of changes; `None` if it is none.
    pub(crate) fn parse(value: &Value) -> Option<Self> {
        let mut changes = Self { created: false, updated: false, deleted: false };
        for change in value.as_array()? {
            match change.as_str()? {
                "created" => changes.created = true,
                "updated" => changes.updated = true,
                "deleted" => changes.deleted = true,
                _ => return None,
            }
        }
        Some(changes)
    }
}

impl Temporal {
    fn parse(object: &Object) -> Option<Self> {
        let matcher = |name: &str| Matcher::parse(object.get(name)?);
        let duration = |name: &str| duration_ms(object.get(name)?);
        let flag = |name: &str| object.get(name).and_then(Value::as_bool).unwrap_or(false);
        let threshold = || object.get("threshold")?.as_number();
        let comparison = || match object.get("comparison") {
            None => Some(Comparison::Gte),
            Some(comparison) => Comparison::parse(comparison.as_str()?),
        };
        let kind = match object.get("type")?.as_str()? {
            "sequence" => TemporalKind::Sequence {
                steps: object.get("events")?.as_array()?.iter().map(Matcher::parse).collect::<Option<_>>()?,
                within_ms: duration("within")?,
                strict: flag("strict"),
            },
            "absence" => TemporalKind::Absence {
                after: matcher("after")?,
                expected: matcher("expected")?,
                within_ms: duration("within")?,
            },
            "count" => TemporalKind::Count {
                event: matcher("event")?,
                threshold: threshold()?,
                comparison: comparison()?,
                window_ms: duration("window")?,
                sliding: flag("sliding"),
            },
            "aggregate" => TemporalKind::Aggregate {
                event: matcher("event")?,
                field: Path::parse(object.get("field")?.as_str()?),
                function: Aggregation::parse(object.get("function")?.as_str()?)?,
                threshold: threshold()?,
                comparison: comparison()?,
                window_ms: duration("window")?,
                sliding: flag("sliding"),
            },
            _ => return None,
        };
        Some(Self { kind, group_by: object.get("groupBy").and_then(Value::as_str).map(Path::parse) })
    }
}

impl Matcher {
    fn parse(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        let filter = object.get("filter").and_then(Value::as_object);
        Some(Self {
            topic: Pattern::parse(object.get("topic")?.as_str()?, Space::Trigger).ok()?,
            alias: object.get("as").and_then(Value::as_str).map(CompactString::from),
            filter: filter
                .map(|filter| filter.iter().map(|(path, value)| (Path::parse(path), value.clone())).collect())
                .unwrap_or_default(),
        })
    }

    /// Tells whether an event matches.
    #[must_use]
    pub fn accepts(&self, topic: &str, data: &Value) -> bool {
        self.topic.matches(topic) && self.accepts_data(data)
    }

    /// Tells whether the filter accepts the data of an event.
    #[must_use]
    pub fn accepts_data(&self, data: &Value) -> bool {
        self.filter
            .iter()
            .all(|(path, wanted)| path.get_data(data).is_some_and(|value| deep_equal(&value, wanted)))
    }
}

impl Comparison {
    /// Reads the name of a comparison.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "gte" => Self::Gte,
            "lte" => Self::Lte,
            "eq" => Self::Eq,
            _ => return None,
        })
    }

    /// Tells whether a number compares so with a threshold.
    #[must_use]
    pub fn holds(self, number: f64, threshold: f64) -> bool {
        match self {
            Self::Gte => number >= threshold,
            Self::Lte => number <= threshold,
            #[expect(clippy::float_cmp, reason = "the comparison that rules ask for")]
            Self::Eq => number == threshold,
        }
    }
}

impl Aggregation {
    /// Reads the name of a function.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "sum" => Self::Sum,
            "avg" => Self::Avg,
            "min" => Self::Min,
            "max" => Self::Max,
            "count" => Self::Count,
            _ => return None,
        })
    }
}
