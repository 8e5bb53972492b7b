//! The kept state of a view: one variant per family of shapes, each maintained change by change.

use super::aggregate::Aggregate;
use super::delta;
use super::groups::{Entry, Grouping, Groups};
use super::list::{List, Listing};
use super::rows::Rows;
use super::sum::NeedsOrder;
use crate::plan::Source;
use crate::query::{CompiledQuery, Function, GroupWriter, ListWriter, Shape};
use crate::record::Record;
use noex_json::{CompactString, Value, identical, write_number};
use std::sync::Arc;

/// What a change did to a result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Effect {
    /// It cannot have changed.
    Same,
    /// It may have changed.
    Changed,
}

/// Why a state can be maintained no longer and must be built anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Lost {
    /// A sum of integers met a number that needs base order.
    Order,
}

/// Everything that is kept of a view to maintain its result.
#[derive(Debug)]
pub(super) enum State {
    Scalar(Aggregate),
    Groups(Groups),
    List(List),
}

/// An unchanging copy of what a result is written from.
#[derive(Debug)]
pub(super) enum Snapshot {
    /// `None` = no value.
    Scalar(Option<f64>),
    Groups(Rows<Entry>),
    List(Rows<Arc<Record>>),
}

/// The shape of a query, in the parts that the states need.
enum Parts<'a> {
    Scalar(Function, &'a str),
    Groups(Grouping<'a>),
    List(Listing<'a>, Option<&'a [CompactString]>),
}

fn parts(query: &CompiledQuery) -> Parts<'_> {
    match query.shape() {
        Shape::Scalar(function, field) => Parts::Scalar(*function, field),
        Shape::Groups { function, field, by } => Parts::Groups(Grouping { function: *function, field, by }),
        Shape::List { sort, window, fields } => {
            Parts::List(Listing { sort, window: *window }, fields.as_deref())
        }
    }
}

impl State {
    /// Builds the state from records. `refills` tells how often a limited list has been read again.
    pub(super) fn build(query: &CompiledQuery, source: &Source, refills: u32) -> Self {
        match parts(query) {
            Parts::List(listing, _) => {
                let matching = source.matching_entries(&query.filter);
                Self::List(List::build(listing, refills, source.is_in_order(), matching))
            }
            Parts::Scalar(function, field) => [false, true]
                .into_iter()
                .find_map(|ordered| scalar(query, source, function, field, ordered).ok())
                .unwrap_or_else(|| Self::Scalar(Aggregate::new(function, true))),
            Parts::Groups(grouping) => [false, true]
                .into_iter()
                .find_map(|ordered| groups(query, source, grouping, ordered).ok())
                .unwrap_or_else(|| Self::Groups(Groups::new(true))),
        }
    }

    /// Takes note of a record that enters (`old` is `None`), leaves (`new` is `None`) or changes.
    pub(super) fn apply(
        &mut self,
        query: &CompiledQuery,
        seq: u64,
        old: Option<&Arc<Record>>,
        new: Option<&Arc<Record>>,
    ) -> Result<Effect, Lost> {
        let shows = match (old, new) {
            (Some(old), Some(new)) => query.shows(old.members(), new.members()),
            _ => true,
        };
        match (self, parts(query)) {
            (Self::Scalar(aggregate), Parts::Scalar(_, field)) => {
                if !shows {
                    return Ok(Effect::Same);
                }
                apply_scalar(aggregate, field, seq, old, new)
            }
            (Self::Groups(groups), Parts::Groups(grouping)) => groups.apply(grouping, seq, old, new, shows),
            (Self::List(list), Parts::List(listing, _)) => Ok(list.apply(listing, seq, old, new, shows)),
            // A state is only used with the query for which it was built.
            (Self::Scalar(_) | Self::Groups(_) | Self::List(_), _) => Ok(Effect::Changed),
        }
    }

    /// Tells whether too little is kept to tell the result.
    pub(super) fn is_drained(&self) -> bool {
        matches!(self, Self::List(list) if list.is_drained())
    }

    /// Gives a copy to write the result from, and counts the additions that it took. O(number of chunks).
    pub(super) fn snapshot(&mut self, additions: &mut u64) -> Snapshot {
        match self {
            Self::Scalar(aggregate) => Snapshot::Scalar(aggregate.value(additions)),
            Self::Groups(groups) => Snapshot::Groups(groups.shown(additions).clone()),
            Self::List(list) => Snapshot::List(list.rows().clone()),
        }
    }

    /// Gives the number of entries; 0 if a change costs the same however many there are.
    pub(super) fn entries(&self) -> usize {
        match self {
            Self::Scalar(aggregate) => usize::try_from(aggregate.entries()).unwrap_or(usize::MAX),
            Self::Groups(groups) => groups.members(),
            Self::List(list) => list.entries(),
        }
    }

    /// Estimates the memory held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Scalar(aggregate) => aggregate.bytes(),
                Self::Groups(groups) => groups.bytes(),
                Self::List(list) => list.rows().bytes(),
            }
    }
}

fn scalar(
    query: &CompiledQuery,
    source: &Source,
    function: Function,
    field: &str,
    ordered: bool,
) -> Result<State, NeedsOrder> {
    let mut aggregate = Aggregate::new(function, ordered);
    for (seq, record) in source.matching_entries(&query.filter) {
        aggregate.add(seq, record.members().get(field))?;
    }
    aggregate.prepare();
    Ok(State::Scalar(aggregate))
}

fn groups(
    query: &CompiledQuery,
    source: &Source,
    grouping: Grouping<'_>,
    ordered: bool,
) -> Result<State, Lost> {
    let mut groups = Groups::new(ordered);
    for (seq, record) in source.matching_entries(&query.filter) {
        groups.apply(grouping, seq, None, Some(record), true)?;
    }
    groups.settle();
    Ok(State::Groups(groups))
}

fn apply_scalar(
    aggregate: &mut Aggregate,
    field: &str,
    seq: u64,
    old: Option<&Arc<Record>>,
    new: Option<&Arc<Record>>,
) -> Result<Effect, Lost> {
    fn value<'a>(record: &'a Arc<Record>, field: &str) -> Option<&'a Value> {
        record.members().get(field)
    }
    let before = aggregate.extreme();
    match (old, new) {
        (Some(old), Some(new)) => {
            let (old, new) = (value(old, field), value(new, field));
            if identical(old, new) {
                return Ok(Effect::Same);
            }
            aggregate.change(seq, old, new)
        }
        (None, Some(new)) => aggregate.add(seq, value(new, field)),
        (Some(old), None) => {
            aggregate.remove(seq, value(old, field));
            Ok(())
        }
        (None, None) => Ok(()),
    }
    .map_err(|NeedsOrder| Lost::Order)?;
    let same = aggregate.has_extreme() && before == aggregate.extreme();
    Ok(if same { Effect::Same } else { Effect::Changed })
}

impl Snapshot {
    /// Writes the changes that lead to this version of a list from an older one; `None` if the result is no list, or if
    /// there is a record that cannot be named.
    pub(super) fn write_delta(
        &self,
        to: u64,
        from: u64,
        old: &Self,
        query: &CompiledQuery,
    ) -> Option<String> {
        match (old, self, parts(query)) {
            (Self::List(old), Self::List(new), Parts::List(listing, fields)) => {
                delta::write(listing, fields, (from, old), (to, new))
            }
            _ => None,
        }
    }

    /// Writes the result; `None` = no value.
    pub(super) fn write(&self, query: &CompiledQuery) -> Option<String> {
        match (self, parts(query)) {
            (Self::Scalar(value), _) => {
                let mut out = String::new();
                write_number(&mut out, (*value)?);
                Some(out)
            }
            (Self::Groups(entries), Parts::Groups(grouping)) => {
                let mut list = GroupWriter::new(grouping.by);
                entries.iter().for_each(|row| list.push(row.value.first.members(), row.value.value));
                Some(list.finish())
            }
            (Self::List(rows), Parts::List(listing, fields)) => {
                let mut list = ListWriter::new(fields);
                for row in rows.range(listing.window.range(rows.len())) {
                    list.push(row.value.members(), row.value.json());
                }
                Some(list.finish())
            }
            // A snapshot is only used with the query for which it was made.
            (Self::Groups(_) | Self::List(_), _) => None,
        }
    }
}
