//! Changes between two versions of a list, for subscribers that follow it change by change.
//!
//! Both versions are walked in order at once; chunks that they share are skipped, so the work is that of the chunks
//! that changed and one step for each of the others.

use super::list::Listing;
use super::rows::{Chunk, Row, Rows};
use crate::key::Scalar;
use crate::members::Members;
use crate::query::write_members;
use crate::record::Record;
use noex_json::{CompactString, deep_equal, write_string, write_value};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;

/// The changes that lead from one version of a view's result to the next.
///
/// `changes` is a JSON object; lists that would be empty are left out:
///
/// ```json
/// {"from":41,"to":42,"left":["a"],"entered":[[0,{"id":"b","n":7}]],"changed":[["c",{"n":5}],["d",{"n":1},3]]}
/// ```
///
/// - `from`, `to`: versions of the result. The changes apply to the result of version `from` only.
/// - `left`: keys of records that are no longer in the list.
/// - `entered`: records that are new in the list, each with its position in it.
/// - `changed`: keys of records of which shown members have changed, each with the new values of these members, and with
///   its position if a field by which the list is sorted has changed.
///
/// To apply them: take the records that left out of the list, and those that have a new position too; set the changed members; then
/// put the records with positions in, in ascending order of their positions, each at its position. A record that
/// lost a member, or whose key is in use again, is among both `left` and `entered`. Keys are values of the bucket's key
/// field and as such distinct scalars.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    /// Version of the result to which the changes apply.
    pub from: u64,
    /// Version to which they lead.
    pub to: u64,
    /// The changes as JSON text.
    pub changes: Arc<str>,
}

type Shown<'a> = &'a Row<Arc<Record>>;

/// Rows that differ, by place in base order, those of the new version with their position.
#[derive(Default)]
struct Difference<'a> {
    removed: BTreeMap<u64, Shown<'a>>,
    added: BTreeMap<u64, (usize, Shown<'a>)>,
    /// At the same place in both.
    replaced: Vec<(usize, Shown<'a>, Shown<'a>)>,
}

/// Writes the changes from `old` to `new` of a list of which `fields` are shown (`None` = all); `None` if a record has
/// a key by which it cannot be named.
pub(super) fn write(
    listing: Listing<'_>,
    fields: Option<&[CompactString]>,
    (from, old): (u64, &Rows<Arc<Record>>),
    (to, new): (u64, &Rows<Arc<Record>>),
) -> Option<String> {
    let ranges = [listing.window.range(old.len()), listing.window.range(new.len())];
    let mut difference = compare(old, new, &ranges);
    let writer = Writer { fields };
    let (mut left, mut entered, mut changed) = (Vec::new(), Vec::new(), Vec::new());
    for (at, before, after) in difference.replaced {
        let mut members = String::new();
        match writer.changes(&mut members, before.value.members(), after.value.members()) {
            Changes::None => {}
            Changes::Members => changed.push(entry(after, &members, None)?),
            Changes::Lost => {
                left.push(key(before)?);
                entered.push((at, after));
            }
        }
    }
    let mut moved = Vec::new();
    for (seq, (at, after)) in &difference.added {
        let Some(before) = difference.removed.get(seq) else { continue };
        let mut members = String::new();
        match writer.changes(&mut members, before.value.members(), after.value.members()) {
            Changes::None | Changes::Members => {
                changed.push(entry(after, &members, Some(*at))?);
                moved.push(*seq);
            }
            Changes::Lost => {}
        }
    }
    for seq in moved {
        difference.removed.remove(&seq);
        difference.added.remove(&seq);
    }
    for row in difference.removed.into_values() {
        left.push(key(row)?);
    }
    entered.extend(difference.added.into_values());
    entered.sort_unstable_by_key(|(at, _)| *at);
    let entered = entered.into_iter().map(|(at, row)| writer.entered(at, row)).collect::<Option<Vec<_>>>()?;
    let mut out = format!("{{\"from\":{from},\"to\":{to}");
    for (name, list) in [("left", left), ("entered", entered), ("changed", changed)] {
        if !list.is_empty() {
            let _ = write!(out, ",\"{name}\":[{}]", list.join(","));
        }
    }
    out.push('}');
    Some(out)
}

/// Writes the key of a record; `None` if it is none by which records are found.
fn key(row: Shown<'_>) -> Option<String> {
    Scalar::new(row.value.key())?;
    Some(row.value.key().to_json())
}

fn entry(row: Shown<'_>, members: &str, at: Option<usize>) -> Option<String> {
    let key = key(row)?;
    Some(match at {
        None => format!("[{key},{{{members}}}]"),
        Some(at) => format!("[{key},{{{members}}},{at}]"),
    })
}

/// What has changed of a record's shown members.
enum Changes {
    None,
    /// Some have other values or are new.
    Members,
    /// Some are gone.
    Lost,
}

struct Writer<'a> {
    fields: Option<&'a [CompactString]>,
}

impl Writer<'_> {
    fn shows(&self, name: &CompactString) -> bool {
        self.fields.is_none_or(|fields| fields.contains(name))
    }

    /// Appends the changed members.
    fn changes(&self, out: &mut String, old: &Members, new: &Members) -> Changes {
        if old.iter().any(|(name, _)| self.shows(name) && !new.contains(name)) {
            return Changes::Lost;
        }
        for (name, value) in new.iter().filter(|(name, _)| self.shows(name)) {
            if old.get(name).is_some_and(|old| deep_equal(old, value)) {
                continue;
            }
            if !out.is_empty() {
                out.push(',');
            }
            write_string(out, name);
            out.push(':');
            write_value(out, value);
        }
        if out.is_empty() { Changes::None } else { Changes::Members }
    }

    fn entered(&self, at: usize, row: Shown<'_>) -> Option<String> {
        Scalar::new(row.value.key())?;
        let mut out = format!("[{at},");
        match self.fields {
            None => out.push_str(row.value.json()),
            Some(fields) => write_members(&mut out, fields, row.value.members()),
        }
        out.push(']');
        Some(out)
    }
}

/// Where a walk over the rows of one version is.
struct Cursor<'a> {
    chunks: &'a [Arc<Chunk<Arc<Record>>>],
    /// Position in the first chunk, and in the list.
    in_chunk: usize,
    position: usize,
    /// Positions that are shown.
    range: &'a Range<usize>,
}

impl<'a> Cursor<'a> {
    fn new(rows: &'a Rows<Arc<Record>>, range: &'a Range<usize>) -> Self {
        Self { chunks: rows.chunks(), in_chunk: 0, position: 0, range }
    }

    fn row(&self) -> Option<Shown<'a>> {
        self.chunks.first()?.get(self.in_chunk)
    }

    fn is_shown(&self) -> bool {
        self.range.contains(&self.position)
    }

    fn step(&mut self) {
        (self.in_chunk, self.position) = (self.in_chunk + 1, self.position + 1);
        if let [first, rest @ ..] = self.chunks
            && self.in_chunk == first.len()
        {
            (self.chunks, self.in_chunk) = (rest, 0);
        }
    }

    /// Gives the chunk at whose beginning the walk is, and whether its rows are all shown or all not; `None` if they
    /// are mixed.
    fn whole_chunk(&self) -> Option<(&'a Arc<Chunk<Arc<Record>>>, bool)> {
        let chunk = self.chunks.first().filter(|_| self.in_chunk == 0)?;
        let end = self.position + chunk.len();
        if self.range.start <= self.position && end <= self.range.end {
            return Some((chunk, true));
        }
        (end <= self.range.start || self.range.end <= self.position).then_some((chunk, false))
    }

    fn skip_chunk(&mut self, chunk: &Chunk<Arc<Record>>) {
        self.position += chunk.len();
        self.chunks = self.chunks.get(1..).unwrap_or_default();
    }
}

fn compare<'a>(
    old: &'a Rows<Arc<Record>>,
    new: &'a Rows<Arc<Record>>,
    [old_range, new_range]: &'a [Range<usize>; 2],
) -> Difference<'a> {
    let mut difference = Difference::default();
    let (mut old, mut new) = (Cursor::new(old, old_range), Cursor::new(new, new_range));
    loop {
        if let (Some((before, was_shown)), Some((after, is_shown))) = (old.whole_chunk(), new.whole_chunk())
            && Arc::ptr_eq(before, after)
            && was_shown == is_shown
        {
            old.skip_chunk(before);
            new.skip_chunk(after);
            continue;
        }
        let (before, after) = (old.row(), new.row());
        let takes_old = match (before, after) {
            (None, None) => return difference,
            (Some(_), None) => (true, false),
            (None, Some(_)) => (false, true),
            (Some(before), Some(after)) => {
                let order = before.place.cmp(&after.place);
                (order.is_le(), order.is_ge())
            }
        };
        let before = before.filter(|_| takes_old.0 && old.is_shown());
        let after = after.filter(|_| takes_old.1 && new.is_shown());
        match (before, after) {
            (Some(before), Some(after)) => {
                if !Arc::ptr_eq(&before.value, &after.value) {
                    difference.replaced.push((new.position.saturating_sub(new_range.start), before, after));
                }
            }
            (before, after) => {
                difference.removed.extend(before.map(|row| (row.place.seq, row)));
                let at = new.position.saturating_sub(new_range.start);
                difference.added.extend(after.map(|row| (row.place.seq, (at, row))));
            }
        }
        if takes_old.0 {
            old.step();
        }
        if takes_old.1 {
            new.step();
        }
    }
}
