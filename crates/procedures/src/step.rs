//! A compiled procedure.

use crate::{
    condition::Condition,
    filter::Filter,
    input::InputField,
    template::{Slot, Template},
};
use noex_json::{CompactString, Object};

/// With whose rights the steps run.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RunAs {
    /// With all rights.
    #[default]
    Definer,
    /// Each step under the permissions of whoever calls, as the operation of the same name.
    Caller,
}

/// A procedure whose definition has been checked.
#[derive(Clone, Debug)]
pub struct Procedure {
    pub(crate) definition: Object,
    pub(crate) name: CompactString,
    pub(crate) input: Vec<InputField>,
    pub(crate) steps: Vec<Step>,
    pub(crate) transaction: bool,
    pub(crate) timeout_ms: f64,
    pub(crate) run_as: RunAs,
    pub(crate) uses_rules: bool,
    /// Names of results, by place.
    pub(crate) names: Vec<CompactString>,
    /// The first bucket whose name starts with `_`.
    pub(crate) system_bucket: Option<CompactString>,
}

impl Procedure {
    /// Gives the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives the definition as it was registered.
    #[must_use]
    pub fn definition(&self) -> &Object {
        &self.definition
    }

    /// Counts the steps at the top.
    #[must_use]
    pub fn steps_count(&self) -> usize {
        self.steps.len()
    }

    /// Tells whether all steps take effect or none.
    #[must_use]
    pub fn is_transaction(&self) -> bool {
        self.transaction
    }

    /// Tells whether a step calls the rule engine.
    #[must_use]
    pub fn uses_rules(&self) -> bool {
        self.uses_rules
    }

    /// Tells with whose rights the steps run.
    #[must_use]
    pub fn run_as(&self) -> RunAs {
        self.run_as
    }
}

/// One step.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Get {
        bucket: CompactString,
        key: Template,
        into: Slot,
    },
    Where {
        bucket: CompactString,
        filter: Filter,
        into: Slot,
    },
    FindOne {
        bucket: CompactString,
        filter: Filter,
        into: Slot,
    },
    Insert {
        bucket: CompactString,
        data: Template,
        into: Option<Slot>,
    },
    Update {
        bucket: CompactString,
        key: Template,
        data: Template,
        into: Option<Slot>,
    },
    Delete {
        bucket: CompactString,
        key: Template,
    },
    Count {
        bucket: CompactString,
        filter: Option<Filter>,
        into: Slot,
    },
    /// `field` is `None` for a count alone.
    Aggregate {
        source: Source,
        into: Slot,
        function: Function,
        field: Option<CompactString>,
    },
    Emit {
        topic: Template,
        data: Option<Template>,
    },
    SetFact {
        key: Template,
        value: Template,
    },
    GetFact {
        key: Template,
        into: Slot,
    },
    If {
        condition: Condition,
        then: Vec<Step>,
        otherwise: Vec<Step>,
    },
    Transform {
        source: Source,
        into: Slot,
        transform: Transform,
        args: Template,
    },
    Return(Template),
}

/// A result that a step works on.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) slot: Slot,
    pub(crate) name: CompactString,
}

/// Function of an aggregate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Function {
    Sum,
    Avg,
    Min,
    Max,
    Count,
}

impl Function {
    /// Names of all functions, as the message about an unknown one lists them.
    pub(crate) const NAMES: &'static str = "sum, avg, min, max, count";

    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "sum" => Self::Sum,
            "avg" => Self::Avg,
            "min" => Self::Min,
            "max" => Self::Max,
            "count" => Self::Count,
            _ => return None,
        })
    }
}

/// Operation of a transformation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Transform {
    Map,
    Filter,
    Pick,
    Pluck,
}

impl Transform {
    /// Names of all operations, as the message about an unknown one lists them.
    pub(crate) const NAMES: &'static str = "map, filter, pick, pluck";

    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "map" => Self::Map,
            "filter" => Self::Filter,
            "pick" => Self::Pick,
            "pluck" => Self::Pluck,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::Filter => "filter",
            Self::Pick => "pick",
            Self::Pluck => "pluck",
        }
    }
}
