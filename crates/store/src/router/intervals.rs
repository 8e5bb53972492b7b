//! Which intervals contain a point: a randomised search tree (treap) by lower end, whose nodes know the
//! greatest upper end below them.
//!
//! Priorities are seeded hashes, so no choice of intervals can unbalance the tree.
//! Source: Aragon and Seidel, "Randomized Search Trees"; the augmentation is the usual one of interval trees.

use crate::views::ViewId;

type Link<K> = Option<Box<Node<K>>>;

#[derive(Debug)]
struct Node<K> {
    low: K,
    /// `None` = without end.
    high: Option<K>,
    view: ViewId,
    priority: u64,
    /// Greatest upper end in this subtree.
    reach: Option<K>,
    left: Link<K>,
    right: Link<K>,
}

/// A set of intervals, each with the view it belongs to.
#[derive(Debug)]
pub(crate) struct Intervals<K> {
    root: Link<K>,
}

impl<K> Default for Intervals<K> {
    fn default() -> Self {
        Self { root: None }
    }
}

impl<K: Clone + Ord> Intervals<K> {
    /// Tells whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Adds an interval. Expected O(log n).
    pub(crate) fn insert(&mut self, low: K, high: Option<K>, view: ViewId, priority: u64) {
        let reach = high.clone();
        let node = Box::new(Node { low, high, view, priority, reach, left: None, right: None });
        insert(&mut self.root, node);
    }

    /// Removes the interval of a view. Expected O(log n).
    pub(crate) fn remove(&mut self, low: &K, view: ViewId) {
        remove(&mut self.root, low, view);
    }

    /// Appends the views whose intervals contain `point` to `out`, and gives the number of nodes looked at:
    /// O(log n) for each of them at most.
    pub(crate) fn stab(&self, point: &K, out: &mut Vec<ViewId>) -> u64 {
        stab(&self.root, point, out)
    }
}

impl<K: Clone + Ord> Node<K> {
    fn is_before(&self, low: &K, view: ViewId) -> bool {
        (&self.low, self.view) < (low, view)
    }

    fn refresh(&mut self) {
        let mut reach = self.high.as_ref();
        for below in [&self.left, &self.right].into_iter().flatten() {
            reach = match (reach, &below.reach) {
                (Some(a), Some(b)) => Some(a.max(b)),
                (None, _) | (_, None) => None,
            };
        }
        self.reach = reach.cloned();
    }
}

fn insert<K: Clone + Ord>(link: &mut Link<K>, mut node: Box<Node<K>>) {
    match link {
        Some(top) if top.priority >= node.priority => {
            let below = if top.is_before(&node.low, node.view) { &mut top.right } else { &mut top.left };
            insert(below, node);
            top.refresh();
        }
        _ => {
            (node.left, node.right) = split(link.take(), &node.low, node.view);
            node.refresh();
            *link = Some(node);
        }
    }
}

/// Parts a tree into what is before a key and what is not.
fn split<K: Clone + Ord>(link: Link<K>, low: &K, view: ViewId) -> (Link<K>, Link<K>) {
    let Some(mut top) = link else { return (None, None) };
    if top.is_before(low, view) {
        let (before, after) = split(top.right.take(), low, view);
        top.right = before;
        top.refresh();
        (Some(top), after)
    } else {
        let (before, after) = split(top.left.take(), low, view);
        top.left = after;
        top.refresh();
        (before, Some(top))
    }
}

fn remove<K: Clone + Ord>(link: &mut Link<K>, low: &K, view: ViewId) {
    let Some(mut top) = link.take() else { return };
    if top.low == *low && top.view == view {
        *link = merge(top.left.take(), top.right.take());
        return;
    }
    let below = if top.is_before(low, view) { &mut top.right } else { &mut top.left };
    remove(below, low, view);
    top.refresh();
    *link = Some(top);
}

/// Joins two trees of which the first is before the second.
fn merge<K: Clone + Ord>(left: Link<K>, right: Link<K>) -> Link<K> {
    match (left, right) {
        (None, other) | (other, None) => other,
        (Some(mut left), Some(right)) if left.priority >= right.priority => {
            left.right = merge(left.right.take(), Some(right));
            left.refresh();
            Some(left)
        }
        (Some(left), Some(mut right)) => {
            right.left = merge(Some(left), right.left.take());
            right.refresh();
            Some(right)
        }
    }
}

fn stab<K: Clone + Ord>(link: &Link<K>, point: &K, out: &mut Vec<ViewId>) -> u64 {
    let Some(node) = link else { return 0 };
    let ends_before = |end: &Option<K>| end.as_ref().is_some_and(|end| end < point);
    if ends_before(&node.reach) {
        return 1;
    }
    let mut visited = 1 + stab(&node.left, point, out);
    if node.low <= *point {
        if !ends_before(&node.high) {
            out.push(node.view);
        }
        visited += stab(&node.right, point, out);
    }
    visited
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_list(
            steps in prop::collection::vec((0..40_u32, prop::option::of(0..40_u32), any::<u64>(), any::<bool>()), 0..80),
            points in prop::collection::vec(0..80_u32, 1..10),
        ) {
            let mut tree = Intervals::default();
            let mut list: Vec<(u32, Option<u32>, u64)> = Vec::new();
            for (view, (low, length, priority, is_removal)) in (0..).zip(steps) {
                if is_removal && !list.is_empty() {
                    let (low, _, view) = list.swap_remove(low as usize % list.len());
                    tree.remove(&low, ViewId(view));
                } else {
                    let high = length.map(|length| low + length);
                    tree.insert(low, high, ViewId(view), priority);
                    list.push((low, high, view));
                }
                for point in &points {
                    let mut found = Vec::new();
                    tree.stab(point, &mut found);
                    found.sort_unstable();
                    let holds = |(low, high, _): &&(u32, Option<u32>, u64)| {
                        low <= point && high.is_none_or(|high| high >= *point)
                    };
                    let mut expected: Vec<ViewId> =
                        list.iter().filter(holds).map(|(_, _, view)| ViewId(*view)).collect();
                    expected.sort_unstable();
                    prop_assert_eq!(found, expected);
                }
            }
        }
    }
}
