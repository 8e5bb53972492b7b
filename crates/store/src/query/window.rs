//! The part of a list that `offset` and `limit` choose, with the meaning of array slicing.

/// Which part of a list is shown: `offset` first, then `limit` on what is left.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Window {
    /// Records left out at the start.
    pub offset: usize,
    /// How the rest is cut.
    pub limit: Limit,
}

/// How a list is cut at its end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Limit {
    /// Not at all.
    #[default]
    None,
    /// So many records are kept.
    Keep(usize),
    /// So many are dropped.
    Drop(usize),
}

impl Window {
    /// Reads the numbers of a definition: fractions are truncated, a negative limit drops from the end.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts of floats saturate")]
    pub(super) fn new(offset: Option<f64>, limit: Option<f64>) -> Self {
        let limit = match limit.map(f64::trunc) {
            None => Limit::None,
            Some(limit) if limit < 0.0 => Limit::Drop(-limit as usize),
            Some(limit) => Limit::Keep(limit as usize),
        };
        // A negative offset saturates to 0, which means none.
        Self { offset: offset.map_or(0, |offset| offset as usize), limit }
    }

    /// Gives the positions shown of a list of `len` records.
    #[must_use]
    pub fn range(&self, len: usize) -> std::ops::Range<usize> {
        let start = self.offset.min(len);
        let rest = len - start;
        let shown = match self.limit {
            Limit::None => rest,
            Limit::Keep(count) => rest.min(count),
            Limit::Drop(count) => rest.saturating_sub(count),
        };
        start..start + shown
    }

    /// Gives the number of records, from the start of the list, that decide what is shown; `None` = all.
    #[must_use]
    pub fn needed(&self) -> Option<usize> {
        match self.limit {
            Limit::Keep(0) => Some(0),
            Limit::Keep(count) => Some(self.offset.saturating_add(count)),
            Limit::None | Limit::Drop(_) => None,
        }
    }

    /// Feeds the part of a list to `show`, and takes no more of the list than that needs.
    pub(super) fn of<T>(&self, list: impl Iterator<Item = T>, mut show: impl FnMut(T)) {
        match self.limit {
            Limit::None => list.skip(self.offset).for_each(show),
            Limit::Keep(0) => {}
            Limit::Keep(count) => list.skip(self.offset).take(count).for_each(show),
            Limit::Drop(_) => {
                let all: Vec<T> = list.collect();
                let range = self.range(all.len());
                all.into_iter().take(range.end).skip(range.start).for_each(&mut show);
            }
        }
    }
}
