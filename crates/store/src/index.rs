//! Secondary index on one field: scalar value → positions of the records that have it, in base order.
//!
//! Nullish values are not indexed. Arrays, objects and NaN cannot be looked up; they are only counted, because a range
//! condition converts between types and can therefore be answered only by an index that holds one type alone.

use crate::key::{Class, Scalar};
use noex_json::{CompactString, Value};
use smallvec::{SmallVec, smallvec};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Positions of records, ascending; never none. Small, since most values of many indexes belong to one record.
#[derive(Clone, Debug)]
#[expect(clippy::box_collection, reason = "a posting without it would be twice as long")]
pub(crate) enum Posting {
    One(u64),
    /// Few, sorted.
    Few(Box<SmallVec<[u64; 4]>>),
    /// Many.
    Many(Box<BTreeSet<u64>>),
}

/// Up to this many positions stay in one sorted array.
const FEW_MAX: usize = 32;

impl Posting {
    /// Gives the number of positions.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    /// Gives the first position.
    pub(crate) fn first(&self) -> Option<u64> {
        match self {
            Self::One(seq) => Some(*seq),
            Self::Few(few) => few.first().copied(),
            Self::Many(many) => many.first().copied(),
        }
    }

    /// Makes a posting of ascending positions; `None` if there are none.
    fn of(mut seqs: impl ExactSizeIterator<Item = u64>) -> Option<Self> {
        Some(match seqs.len() {
            0 | 1 => Self::One(seqs.next()?),
            2..=FEW_MAX => Self::Few(Box::new(seqs.collect())),
            _ => Self::Many(Box::new(seqs.collect())),
        })
    }

    /// Appends the positions to `out`, ascending.
    pub(crate) fn collect_into(&self, out: &mut Vec<u64>) {
        match self {
            Self::One(seq) => out.push(*seq),
            Self::Few(few) => out.extend_from_slice(few),
            Self::Many(many) => out.extend(&**many),
        }
    }

    fn insert(&mut self, seq: u64) {
        match self {
            Self::One(other) if *other == seq => {}
            Self::One(other) => *self = Self::Few(Box::new(smallvec![seq.min(*other), seq.max(*other)])),
            Self::Few(few) => {
                if let Err(at) = few.binary_search(&seq) {
                    few.insert(at, seq);
                }
                if few.len() > FEW_MAX {
                    *self = Self::Many(Box::new(few.iter().copied().collect()));
                }
            }
            Self::Many(many) => {
                many.insert(seq);
            }
        }
    }

    /// Removes a position; true if it was the last.
    fn remove(&mut self, seq: u64) -> bool {
        match self {
            Self::One(only) => return *only == seq,
            Self::Few(few) => {
                if let Ok(at) = few.binary_search(&seq) {
                    few.remove(at);
                }
                if let [only] = few[..] {
                    *self = Self::One(only);
                }
            }
            Self::Many(many) => {
                many.remove(&seq);
                if let (1, Some(only)) = (many.len(), many.first()) {
                    *self = Self::One(*only);
                }
            }
        }
        false
    }
}

/// What an index is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct IndexSpec {
    /// Field.
    pub(crate) field: CompactString,
    /// Whether a value may occur only once.
    pub(crate) unique: bool,
    /// Whether it was asked for by the definition; otherwise it only serves references.
    pub(crate) declared: bool,
}

/// An index.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub(crate) spec: IndexSpec,
    postings: BTreeMap<Scalar, Posting>,
    numbers: usize,
    strings: usize,
    /// Booleans and what is not a scalar, `null` apart.
    others: usize,
}

impl Index {
    /// Makes an empty index.
    pub(crate) fn new(spec: IndexSpec) -> Self {
        Self { spec, postings: BTreeMap::new(), numbers: 0, strings: 0, others: 0 }
    }

    /// Makes the index of records in base order. Sorting them first costs a fraction of as many single insertions.
    ///
    /// # Errors
    /// If values may occur only once: the position of the first record whose value an earlier one has.
    pub(crate) fn build<'r>(
        spec: IndexSpec,
        values: impl Iterator<Item = (u64, &'r Value)>,
    ) -> Result<Self, u64> {
        let mut index = Self::new(spec);
        let mut found = Vec::new();
        for (seq, value) in values.filter(|(_, value)| !value.is_null()) {
            *index.count_mut(value) += 1;
            found.extend(Scalar::new(value).map(|scalar| (scalar, seq)));
        }
        // Stable, so equal values stay in base order.
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        let same = |one: &(Scalar, u64), other: &(Scalar, u64)| one.0 == other.0;
        if index.spec.unique {
            let repeated = found.chunk_by(same).filter_map(|run| run.get(1));
            if let Some(seq) = repeated.map(|(_, seq)| *seq).min() {
                return Err(seq);
            }
        }
        let posting = |run: &[(Scalar, u64)]| {
            let (value, _) = run.first()?;
            Some((value.clone(), Posting::of(run.iter().map(|(_, seq)| *seq))?))
        };
        index.postings = found.chunk_by(same).filter_map(posting).collect();
        Ok(index)
    }

    /// Moves a record from its old value to its new one (`None` = the record or the member is absent).
    pub(crate) fn change(&mut self, seq: u64, old: Option<&Value>, new: Option<&Value>) {
        let (old, new) = (old.filter(|value| !value.is_null()), new.filter(|value| !value.is_null()));
        if let (Some(old), Some(new)) = (old, new)
            && noex_json::identical(Some(old), Some(new))
        {
            return;
        }
        if let Some(old) = old {
            self.remove(seq, old);
        }
        if let Some(new) = new {
            self.insert(seq, new);
        }
    }

    /// Finds the records with a value.
    pub(crate) fn posting(&self, value: &Value) -> Option<&Posting> {
        self.postings.get(&Scalar::new(value)?)
    }

    /// Lists the records whose value lies within bounds, in no particular order; `None` if the index holds values of
    /// another type than the bounds, which such a condition converts, or if there are more than `max`.
    pub(crate) fn range(&self, low: Bound<&Value>, high: Bound<&Value>, max: usize) -> Option<Vec<u64>> {
        let (low, high) = (scalar_bound(low)?, scalar_bound(high)?);
        let class = match (&low, &high) {
            (Bound::Included(x) | Bound::Excluded(x), _)
            | (Bound::Unbounded, Bound::Included(x) | Bound::Excluded(x)) => x.class(),
            (Bound::Unbounded, Bound::Unbounded) => return None,
        };
        let alone = match class {
            Class::Number => self.strings + self.others == 0,
            Class::String => self.numbers + self.others == 0,
            Class::Bool => false,
        };
        let low = match low {
            Bound::Unbounded => Bound::Included(Scalar::least(class)),
            Bound::Included(_) | Bound::Excluded(_) => low,
        };
        if !alone {
            return None;
        }
        let mut found = Vec::new();
        if is_empty_range(&low, &high) {
            return Some(found);
        }
        for posting in self.postings.range((low, high)).map(|(_, posting)| posting) {
            if found.len() + posting.len() > max {
                return None;
            }
            posting.collect_into(&mut found);
        }
        Some(found)
    }

    /// Tells whether all values are numbers, or all are strings: then the order of the index is that of lists.
    pub(crate) fn has_one_class(&self) -> bool {
        self.others == 0 && (self.numbers == 0 || self.strings == 0)
    }

    /// Gives the number of records whose value is not nullish.
    pub(crate) fn len(&self) -> usize {
        self.numbers + self.strings + self.others
    }

    /// Iterates over the records by value, least first or greatest first.
    pub(crate) fn postings(&self, descending: bool) -> impl Iterator<Item = &Posting> {
        let (up, down) = if descending {
            (None, Some(self.postings.values().rev()))
        } else {
            (Some(self.postings.values()), None)
        };
        up.into_iter().flatten().chain(down.into_iter().flatten())
    }

    fn count_mut(&mut self, value: &Value) -> &mut usize {
        match value {
            Value::Number(number) if !number.is_nan() => &mut self.numbers,
            Value::String(_) => &mut self.strings,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                &mut self.others
            }
        }
    }

    fn insert(&mut self, seq: u64, value: &Value) {
        *self.count_mut(value) += 1;
        if let Some(scalar) = Scalar::new(value) {
            self.postings
                .entry(scalar)
                .and_modify(|posting| posting.insert(seq))
                .or_insert(Posting::One(seq));
        }
    }

    fn remove(&mut self, seq: u64, value: &Value) {
        let count = self.count_mut(value);
        *count = count.saturating_sub(1);
        let Some(scalar) = Scalar::new(value) else { return };
        let Some(posting) = self.postings.get_mut(&scalar) else { return };
        if posting.remove(seq) {
            self.postings.remove(&scalar);
        }
    }
}

fn scalar_bound(bound: Bound<&Value>) -> Option<Bound<Scalar>> {
    Some(match bound {
        Bound::Included(value) => Bound::Included(Scalar::new(value)?),
        Bound::Excluded(value) => Bound::Excluded(Scalar::new(value)?),
        Bound::Unbounded => Bound::Unbounded,
    })
}

/// Tells whether bounds exclude everything in a way that `BTreeMap::range` refuses.
fn is_empty_range(low: &Bound<Scalar>, high: &Bound<Scalar>) -> bool {
    match (low, high) {
        (Bound::Included(a), Bound::Included(b)) => a > b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a >= b,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(values: &[(u64, Value)]) -> Index {
        let mut index = Index::new(IndexSpec { field: "f".into(), unique: false, declared: true });
        for (seq, value) in values {
            index.change(*seq, None, Some(value));
        }
        index
    }

    fn n(number: f64) -> Value {
        Value::Number(number)
    }

    #[test]
    fn posting_grows_shrinks_and_stays_sorted() {
        assert_eq!(size_of::<(Scalar, Posting)>(), 40);
        let mut index = index(&[]);
        for seq in (0..100).rev() {
            index.change(seq, None, Some(&n(1.0)));
        }
        let mut seqs = Vec::new();
        index.posting(&n(1.0)).unwrap().collect_into(&mut seqs);
        assert!(seqs.is_sorted() && seqs.len() == 100);
        for seq in 0..100 {
            let left = index.posting(&n(1.0)).map(|left| (left.first(), left.len()));
            assert_eq!(left, Some((Some(seq), 100 - seq as usize)));
            index.change(seq, Some(&n(1.0)), Some(&Value::Null));
        }
        assert!(index.posting(&n(1.0)).is_none());
        assert_eq!((index.numbers, index.strings, index.others), (0, 0, 0));
    }

    /// What is built at once is what single insertions would have made.
    #[test]
    fn building_equals_inserting() {
        let values: Vec<(u64, Value)> = (0..400_u32)
            .map(|at| {
                let n = at * 7 % 40;
                let value = match n {
                    0..10 => Value::Number(if n < 5 { 1.0 } else { f64::from(n) }),
                    10..20 => Value::from(format!("t{}", n % 3).as_str()),
                    20..25 => Value::Null,
                    25..28 => Value::Bool(n == 25),
                    28 => Value::Number(f64::NAN),
                    29 => Value::Array(Box::default()),
                    30 => Value::Number(-0.0),
                    _ => Value::Number(f64::from(at)),
                };
                (u64::from(at), value)
            })
            .collect();
        let inserted = index(&values);
        let built = Index::build(inserted.spec.clone(), values.iter().map(|(seq, value)| (*seq, value)));
        assert_eq!(format!("{:?}", built.expect("not unique")), format!("{inserted:?}"));
    }

    #[test]
    fn the_first_repetition_is_the_one_that_is_named() {
        let unique = IndexSpec { field: "f".into(), unique: true, declared: true };
        let build = |numbers: &[f64]| {
            let values: Vec<Value> = numbers.iter().copied().map(n).collect();
            Index::build(unique.clone(), (10..).zip(&values)).map(|index| index.len())
        };
        assert_eq!(build(&[3.0, 1.0, 2.0]), Ok(3));
        // 1 comes before 9 by value, but 9 is repeated first.
        assert_eq!(build(&[9.0, 1.0, 9.0, 1.0, 9.0]), Err(12));
        assert_eq!(build(&[f64::NAN, f64::NAN]), Ok(2));
    }

    #[test]
    fn range_needs_one_type() {
        let mut index = index(&[(1, n(1.0)), (2, n(5.0)), (3, n(9.0)), (4, Value::Null)]);
        let (low, high) = (n(1.0), n(9.0));
        let range = |index: &Index| index.range(Bound::Excluded(&low), Bound::Included(&high), 10);
        assert_eq!(range(&index), Some(vec![2, 3]));
        assert_eq!(index.range(Bound::Unbounded, Bound::Excluded(&high), 10), Some(vec![1, 2]));
        assert_eq!(index.range(Bound::Included(&high), Bound::Included(&low), 10), Some(vec![]));
        assert_eq!(index.range(Bound::Excluded(&low), Bound::Excluded(&low), 10), Some(vec![]));
        assert_eq!(index.range(Bound::Included(&low), Bound::Unbounded, 2), None);
        index.change(5, None, Some(&Value::from(vec![n(5.0)])));
        assert_eq!(range(&index), None);
        index.change(5, Some(&Value::from(vec![n(5.0)])), Some(&Value::from("5")));
        assert_eq!(range(&index), None);
        index.change(5, Some(&Value::from("5")), None);
        assert_eq!(range(&index), Some(vec![2, 3]));
    }
}
