//! Numbers in base order and their sum from left to right.
//!
//! A tree as a B-tree is one: numbers in leaves, by their places. Each node remembers the running sum that entered it last,
//! what that became, and by how much the node moves all sums near it, if that is the same for all ([`Run`]). So after a
//! change only the nodes above it are gone through again, and those behind it where the running sum passes a power of two.

use super::motion::Run;

/// Greatest number of numbers in a leaf. They are added one after the other, at some four cycles each.
const NUMBERS_MAX: usize = 64;
/// Greatest number of nodes below a node.
const NODES_MAX: usize = 32;

/// Numbers in base order.
#[derive(Debug)]
pub(in crate::views) struct OrderedSum {
    root: Node,
    len: usize,
    /// `None` = to be added up.
    sum: Option<f64>,
}

#[derive(Debug)]
struct Node {
    /// No place in it is behind this one, and none in the next node is not.
    last: u64,
    /// `None` = changed since.
    ran: Option<Run>,
    below: Below,
}

/// Never empty, but for the leaf that is the root.
#[derive(Debug)]
enum Below {
    Numbers(Vec<(u64, f64)>),
    Nodes(Vec<Node>),
}

impl Default for OrderedSum {
    fn default() -> Self {
        Self { root: Node::new(Below::Numbers(Vec::new())), len: 0, sum: Some(0.0) }
    }
}

impl OrderedSum {
    /// Adds the number at a place that has none. O(log n).
    pub(super) fn add(&mut self, seq: u64, number: f64) {
        // Behind all others it costs one addition.
        self.sum = self.sum.filter(|_| self.len == 0 || seq > self.root.last).map(|sum| sum + number);
        self.len += 1;
        if let Some(right) = self.root.add(seq, number) {
            let left = std::mem::replace(&mut self.root, Node::new(Below::Nodes(Vec::new())));
            self.root = Node::new(Below::Nodes(vec![left, right]));
        }
    }

    /// Puts another number in the place of the one that is there. O(log n).
    pub(super) fn replace(&mut self, seq: u64, number: f64) {
        self.root.replace(seq, number);
        self.sum = None;
    }

    /// Takes the number at a place away. O(log n).
    pub(super) fn remove(&mut self, seq: u64) {
        if !self.root.remove(seq) {
            return;
        }
        self.len -= 1;
        self.sum = None;
        while let Below::Nodes(nodes) = &mut self.root.below
            && nodes.len() < 2
        {
            self.root = nodes.pop().unwrap_or_else(|| Node::new(Below::Numbers(Vec::new())));
        }
    }

    /// Gives the sum, and counts the additions that it took.
    pub(super) fn value(&mut self, additions: &mut u64) -> f64 {
        let root = &mut self.root;
        *self.sum.get_or_insert_with(|| root.run(0.0, additions))
    }

    /// Lets the next [`OrderedSum::value`] add everything up.
    pub(super) fn forget_sum(&mut self) {
        self.sum = None;
    }

    /// Estimates the memory held, in bytes: nodes may be half full.
    pub(super) fn bytes(&self) -> usize {
        self.len * 2 * size_of::<(u64, f64)>()
    }
}

impl Node {
    fn new(below: Below) -> Self {
        Self { last: below.last(), ran: None, below }
    }

    /// Adds a number; if the node is too large now, gives its right part.
    fn add(&mut self, seq: u64, number: f64) -> Option<Self> {
        self.ran = None;
        let appends = seq > self.last;
        self.last = self.last.max(seq);
        let len_max = match &mut self.below {
            Below::Numbers(numbers) => {
                numbers.insert(count_before(numbers, seq), (seq, number));
                NUMBERS_MAX
            }
            Below::Nodes(nodes) => {
                let at = place(nodes, seq);
                let right = nodes.get_mut(at).and_then(|node| node.add(seq, number));
                nodes.splice(at + 1..at + 1, right);
                NODES_MAX
            }
        };
        // Records mostly come in order: then nodes stay full.
        let half = if appends { len_max } else { len_max / 2 };
        (self.below.len() > len_max).then(|| {
            let right = Self::new(self.below.split_off(half));
            self.last = self.below.last();
            right
        })
    }

    fn replace(&mut self, seq: u64, number: f64) {
        self.ran = None;
        match &mut self.below {
            Below::Numbers(numbers) => {
                let at = count_before(numbers, seq);
                if let Some(held) = numbers.get_mut(at).filter(|(other, _)| *other == seq) {
                    held.1 = number;
                }
            }
            Below::Nodes(nodes) => {
                let at = place(nodes, seq);
                if let Some(node) = nodes.get_mut(at) {
                    node.replace(seq, number);
                }
            }
        }
    }

    /// Removes a number; false if there is none at the place.
    fn remove(&mut self, seq: u64) -> bool {
        let found = match &mut self.below {
            Below::Numbers(numbers) => {
                let at = count_before(numbers, seq);
                let found = numbers.get(at).is_some_and(|(other, _)| *other == seq);
                if found {
                    numbers.remove(at);
                }
                found
            }
            Below::Nodes(nodes) => {
                let at = place(nodes, seq);
                let found = nodes.get_mut(at).is_some_and(|node| node.remove(seq));
                if found {
                    join(nodes, at);
                }
                found
            }
        };
        if found {
            self.ran = None;
        }
        found
    }

    /// Adds all numbers to a running sum, and counts the additions that it took.
    #[inline]
    fn run(&mut self, start: f64, additions: &mut u64) -> f64 {
        *additions += 1;
        match self.ran.and_then(|ran| ran.end_from(start)) {
            Some(end) => end,
            None => self.run_anew(start, additions),
        }
    }

    fn run_anew(&mut self, start: f64, additions: &mut u64) -> f64 {
        let ran = match &mut self.below {
            Below::Numbers(numbers) => {
                *additions += numbers.len() as u64;
                Run::over(start, numbers)
            }
            Below::Nodes(nodes) => {
                let mut whole = Run::empty(start);
                for node in nodes {
                    let end = node.run(whole.end(), additions);
                    whole = node.ran.map_or(whole, |ran| whole.then(&ran, end));
                }
                whole
            }
        };
        self.ran = Some(ran);
        ran.end()
    }
}

/// Counts the numbers before a place. Looks at all of them: far memory comes at once then, while each step of a binary
/// search would wait for the one before.
fn count_before(numbers: &[(u64, f64)], seq: u64) -> usize {
    numbers.iter().filter(|(other, _)| *other < seq).count()
}

/// Finds the node that has, or would have, a place; like [`count_before`].
fn place(nodes: &[Node], seq: u64) -> usize {
    nodes.iter().filter(|node| node.last < seq).count().min(nodes.len().saturating_sub(1))
}

/// Takes a node away that has become empty, or joins it with a neighbour if both have little.
fn join(nodes: &mut Vec<Node>, at: usize) {
    if nodes.get(at).is_some_and(|node| node.below.len() == 0) {
        nodes.remove(at);
        return;
    }
    for at in [Some(at), at.checked_sub(1)].into_iter().flatten() {
        let size = |at: usize| nodes.get(at).map(|node| node.below.len());
        if size(at).zip(size(at + 1)).is_none_or(|(one, next)| one + next > NODES_MAX / 2) {
            continue;
        }
        let next = nodes.remove(at + 1);
        if let Some(node) = nodes.get_mut(at) {
            node.last = next.last;
            node.ran = None;
            node.below.append(next.below);
        }
    }
}

impl Below {
    fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Nodes(nodes) => nodes.len(),
        }
    }

    fn last(&self) -> u64 {
        match self {
            Self::Numbers(numbers) => numbers.last().map(|(seq, _)| *seq),
            Self::Nodes(nodes) => nodes.last().map(|node| node.last),
        }
        .unwrap_or(0)
    }

    fn split_off(&mut self, at: usize) -> Self {
        match self {
            Self::Numbers(numbers) => {
                let right = Self::Numbers(numbers.split_off(at));
                // It has grown by doubling, and may never change again.
                numbers.shrink_to_fit();
                right
            }
            Self::Nodes(nodes) => Self::Nodes(nodes.split_off(at)),
        }
    }

    /// Appends what is behind it. All leaves are equally deep, so both are of one kind.
    fn append(&mut self, next: Self) {
        match (self, next) {
            (Self::Numbers(numbers), Self::Numbers(next)) => numbers.extend(next),
            (Self::Nodes(nodes), Self::Nodes(next)) => nodes.extend(next),
            (Self::Numbers(_), Self::Nodes(_)) | (Self::Nodes(_), Self::Numbers(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks sizes and separators; gives the number of leaves.
    fn check(node: &Node) -> usize {
        match &node.below {
            Below::Numbers(numbers) => {
                assert!(numbers.len() <= NUMBERS_MAX && numbers.is_sorted_by(|a, b| a.0 < b.0));
                assert!(numbers.last().is_none_or(|(seq, _)| *seq <= node.last));
                1
            }
            Below::Nodes(nodes) => {
                assert!(!nodes.is_empty() && nodes.len() <= NODES_MAX);
                assert!(nodes.is_sorted_by(|a, b| a.last < b.last));
                assert!(nodes.last().is_some_and(|last| last.last <= node.last));
                nodes.iter().map(check).sum()
            }
        }
    }

    fn sum_of(seqs: impl Iterator<Item = u64>) -> OrderedSum {
        let mut sum = OrderedSum::default();
        seqs.for_each(|seq| sum.add(seq, seq as f64 / 10.0));
        sum
    }

    #[test]
    fn nodes_are_full_after_ascending_insertion_and_half_full_after_any() {
        let ascending = sum_of(0..64_000);
        assert_eq!(check(&ascending.root), 1000);
        let shuffled = sum_of((0..64_000).map(|n| n * 7919 % 64_000));
        assert!(check(&shuffled.root) <= 2000);
    }

    /// Random changes, more removals than insertions at times, against adding up.
    #[test]
    fn random_changes_keep_the_tree_in_order_and_the_sum_exact() {
        let mut random = 1_u64;
        let mut draw = |limit: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % limit
        };
        let mut sum = OrderedSum::default();
        let mut model = std::collections::BTreeMap::new();
        for step in 0..120_000_u64 {
            let seq = draw(10_000);
            let number = (draw(2_000_000) as f64 - 500_000.0) / 100.0 * 2_f64.powi(draw(8) as i32);
            let shrinks = step / 20_000 % 2 == 1;
            match model.get_mut(&seq) {
                Some(_) if shrinks || draw(4) == 0 => {
                    model.remove(&seq);
                    sum.remove(seq);
                }
                Some(held) => {
                    *held = number;
                    sum.replace(seq, number);
                }
                None if shrinks && draw(4) > 0 => {}
                None => {
                    model.insert(seq, number);
                    sum.add(seq, number);
                }
            }
            if step % 97 == 0 {
                let expected = model.values().fold(0.0_f64, |sum, number| sum + number);
                assert_eq!(sum.value(&mut 0).to_bits(), expected.to_bits(), "step {step}");
                check(&sum.root);
                assert_eq!(sum.len, model.len());
            }
        }
    }

    #[test]
    fn nodes_that_lose_most_numbers_are_joined() {
        let mut sum = sum_of(0..64_000);
        for seq in (0..64_000).filter(|seq| seq % 64 != 7) {
            sum.remove(seq);
        }
        // Two neighbours have more than half of what one may have of nodes.
        let leaves = check(&sum.root);
        assert!(leaves <= 2 * 1000 / (NODES_MAX / 2) + 1, "{leaves} leaves of {} numbers", sum.len);
        let expected = (0..1000).fold(0.0, |sum, n| sum + (n * 64 + 7) as f64 / 10.0);
        assert_eq!(sum.value(&mut 0), expected);
        for n in 0..1000 {
            sum.remove(n * 64 + 7);
        }
        assert_eq!((check(&sum.root), sum.len, sum.value(&mut 0)), (1, 0, 0.0));
        sum.add(3, 1.5);
        assert_eq!(sum.value(&mut 0), 1.5);
    }
}
