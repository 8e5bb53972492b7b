//! One-shot reads: what can be asked, the prepared form that runs outside the owner's lock, and the answers.

use crate::error::StoreError;
use crate::filter::Filter;
use crate::plan::Source;
use crate::query::{CompiledQuery, Function, QueryDefinition, QueryOptions};
use crate::record::{Record, write_records};
use crate::table::{KeyOrder, Position, Records, Table, last, page};
use noex_json::{CompactString, Object, Value, write_number, write_value};
use std::sync::Arc;

/// A read of one bucket.
#[derive(Clone, Debug)]
pub enum ReadRequest {
    /// All records in base order.
    All,
    /// Matching records in base order.
    Where(Object),
    /// The first matching record.
    FindOne(Object),
    /// The number of (matching) records.
    Count(Option<Object>),
    /// Up to so many records from the start, in base or key order.
    First(usize),
    /// Up to so many records from the end, in forward order.
    Last(usize),
    /// A page.
    Paginate {
        /// Key of the record behind which the page starts; `None` = from the start.
        after: Option<Value>,
        /// Greatest number of records.
        limit: usize,
    },
    /// A scalar aggregate over one field of the (matching) records.
    Aggregate {
        /// Function.
        function: Function,
        /// Field.
        field: CompactString,
        /// Which records take part.
        filter: Option<Object>,
    },
    /// An aggregate per group of the (matching) records.
    GroupBy {
        /// Fields that make up a group.
        fields: Vec<CompactString>,
        /// Function.
        function: Function,
        /// Field of the function; not needed for a count.
        field: Option<CompactString>,
        /// Which records take part.
        filter: Option<Object>,
    },
}

/// Answer to a read.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A list of records.
    Records(Vec<Arc<Record>>),
    /// One record or none.
    Record(Option<Arc<Record>>),
    /// A number.
    Number(f64),
    /// The extreme of no numbers.
    NoValue,
    /// A page.
    Page(Page),
    /// Groups, as JSON text.
    Groups(String),
}

/// A page of records.
#[derive(Clone, Debug)]
pub struct Page {
    /// The records.
    pub records: Vec<Arc<Record>>,
    /// Whether at least one record follows.
    pub has_more: bool,
}

impl Page {
    /// Gives the cursor of the next page: the key of the last record, if there is one.
    #[must_use]
    pub fn next_cursor(&self) -> Option<&Value> {
        self.records.last().map(|record| record.key())
    }
}

impl Answer {
    /// Appends the answer as the JSON text that clients see; no value is `null`.
    pub fn write_json(&self, out: &mut String) {
        match self {
            Self::Records(records) => write_records(out, records),
            Self::Record(Some(record)) => out.push_str(record.json()),
            Self::Record(None) | Self::NoValue => out.push_str("null"),
            Self::Number(number) => write_number(out, *number),
            Self::Page(page) => {
                out.push_str("{\"records\":");
                write_records(out, &page.records);
                out.push_str(if page.has_more { ",\"hasMore\":true" } else { ",\"hasMore\":false" });
                if let Some(cursor) = page.next_cursor() {
                    out.push_str(",\"nextCursor\":");
                    write_value(out, cursor);
                }
                out.push('}');
            }
            Self::Groups(text) => out.push_str(text),
        }
    }
}

/// A read that has been checked and that holds all it needs. It sees exactly the state at which it was prepared.
#[derive(Debug)]
#[must_use = "a prepared read does nothing until it is run"]
pub struct PreparedRead(Plan);

#[derive(Debug)]
enum Plan {
    Ready(Answer),
    Scan { source: Source, filter: Filter, shape: Shape },
    First { records: Records, order: Option<KeyOrder>, count: usize },
    Last { records: Records, order: Option<KeyOrder>, count: usize },
    Page { records: Records, order: Option<KeyOrder>, position: Position, limit: usize },
}

#[derive(Debug)]
enum Shape {
    List,
    First,
    Count,
    Aggregate(Function, CompactString),
    Groups(Box<CompiledQuery>),
}

/// Up to this many records are taken at once, instead of a snapshot.
const AT_ONCE_MAX: usize = 256;

impl PreparedRead {
    /// Prepares a read; `strict` refuses unknown operators. Those that were ignored are given to `warn`.
    pub(crate) fn new(
        table: &Table,
        request: ReadRequest,
        strict: bool,
        warn: &mut dyn FnMut(&Filter),
    ) -> Result<Self, StoreError> {
        let mut compile = |filter: Option<&Object>| -> Result<Filter, StoreError> {
            let none = Object::new();
            let filter = Filter::compile(filter.unwrap_or(&none), strict)?;
            warn(&filter);
            Ok(filter)
        };
        let (filter, shape) = match request {
            ReadRequest::All => (compile(None)?, Shape::List),
            ReadRequest::Where(filter) => (compile(Some(&filter))?, Shape::List),
            ReadRequest::FindOne(filter) => (compile(Some(&filter))?, Shape::First),
            ReadRequest::Count(filter) => (compile(filter.as_ref())?, Shape::Count),
            ReadRequest::Aggregate { function, field, filter } => {
                (compile(filter.as_ref())?, Shape::Aggregate(function, field))
            }
            ReadRequest::GroupBy { fields, function, field, filter } => {
                (compile(filter.as_ref())?, Shape::Groups(Box::new(groups(table, fields, function, field)?)))
            }
            ReadRequest::First(count) => {
                return Ok(Self::window(table, Some(Position::Start), count, Window::First));
            }
            ReadRequest::Last(count) => {
                return Ok(Self::window(table, Some(Position::Start), count, Window::Last));
            }
            ReadRequest::Paginate { after, limit } => {
                return Ok(Self::window(table, table.position(after.as_ref()), limit, Window::Page));
            }
        };
        Ok(Self(match shape {
            Shape::Count if filter.is_all() => Plan::Ready(Answer::Number(table.len() as f64)),
            Shape::First if filter.is_all() => {
                Plan::Ready(Answer::Record(table.records().get_min().map(|(_, record)| Arc::clone(record))))
            }
            Shape::List | Shape::First | Shape::Count | Shape::Aggregate(..) | Shape::Groups(_) => {
                Plan::Scan { source: Source::choose(table, &filter), filter, shape }
            }
        }))
    }

    fn window(table: &Table, position: Option<Position>, count: usize, window: Window) -> Self {
        let (records, order) = (table.records(), table.key_order());
        let Some(position) = position else {
            return Self(Plan::Ready(Answer::Page(Page { records: Vec::new(), has_more: false })));
        };
        if count <= AT_ONCE_MAX {
            return Self(Plan::Ready(match window {
                Window::First => Answer::Records(page(records, order, &position, count)),
                Window::Last => Answer::Records(last(records, order, count)),
                Window::Page => paginate(records, order, &position, count),
            }));
        }
        let (records, order) = (records.clone(), order.cloned());
        Self(match window {
            Window::First => Plan::First { records, order, count },
            Window::Last => Plan::Last { records, order, count },
            Window::Page => Plan::Page { records, order, position, limit: count },
        })
    }

    /// Tells how many records [`PreparedRead::run`] looks at, at most.
    #[must_use]
    pub fn looks_at_max(&self) -> usize {
        match &self.0 {
            Plan::Ready(Answer::Records(records)) => records.len(),
            Plan::Ready(Answer::Page(page)) => page.records.len(),
            Plan::Ready(_) => 1,
            Plan::Scan { source, .. } => source.len(),
            Plan::First { records, count, .. } | Plan::Last { records, count, .. } => {
                records.len().min(*count)
            }
            Plan::Page { records, limit, .. } => records.len().min(limit.saturating_add(1)),
        }
    }

    /// Does the work. Needs nothing of the store any more, so it may run anywhere.
    #[must_use]
    pub fn run(self) -> Answer {
        match self.0 {
            Plan::Ready(answer) => answer,
            Plan::Scan { source, filter, shape } => scan(&source, &filter, shape),
            Plan::First { records, order, count } => {
                Answer::Records(page(&records, order.as_ref(), &Position::Start, count))
            }
            Plan::Last { records, order, count } => Answer::Records(last(&records, order.as_ref(), count)),
            Plan::Page { records, order, position, limit } => {
                paginate(&records, order.as_ref(), &position, limit)
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Window {
    First,
    Last,
    Page,
}

fn paginate(records: &Records, order: Option<&KeyOrder>, position: &Position, limit: usize) -> Answer {
    let mut taken = page(records, order, position, limit.saturating_add(1));
    let has_more = taken.len() > limit;
    taken.truncate(limit);
    Answer::Page(Page { records: taken, has_more })
}

fn scan(source: &Source, filter: &Filter, shape: Shape) -> Answer {
    let mut found = source.matching(filter);
    match shape {
        Shape::List => Answer::Records(found.cloned().collect()),
        Shape::First => Answer::Record(found.next().cloned()),
        Shape::Count => Answer::Number(found.count() as f64),
        Shape::Aggregate(function, field) => {
            match function.compute(&field, found.map(|record| record.members())) {
                Some(number) => Answer::Number(number),
                None => Answer::NoValue,
            }
        }
        Shape::Groups(query) => {
            let text = query.evaluate(found, |record| record.members(), |record| record.json());
            Answer::Groups(text.unwrap_or_default())
        }
    }
}

/// Makes a query without a filter that groups.
fn groups(
    table: &Table,
    fields: Vec<CompactString>,
    function: Function,
    field: Option<CompactString>,
) -> Result<CompiledQuery, StoreError> {
    let name = match function {
        Function::Count => "count",
        Function::Sum => "sum",
        Function::Avg => "avg",
        Function::Min => "min",
        Function::Max => "max",
    };
    let mut aggregate = Object::new();
    aggregate.set("function", name);
    if let Some(field) = field {
        aggregate.set("field", field);
    }
    aggregate.set("groupBy", fields.into_iter().map(Value::String).collect::<Vec<_>>());
    let mut config = Object::new();
    config.set("bucket", table.name().clone());
    config.set("aggregate", aggregate);
    QueryDefinition::parse("groupBy", &config, QueryOptions::default())?
        .compile(None, QueryOptions::default())
}
