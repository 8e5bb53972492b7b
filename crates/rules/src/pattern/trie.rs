//! Many patterns in one tree of segments, searched by a text.
//!
//! The text's segments are walked once, with the set of nodes that the prefix so far may have led to: the literal
//! child, the child of `*`, children of globs filed by their two ends, and nodes of `**`, which stay in the set. So the
//! cost depends on the branches that match, not on the number of patterns. Patterns without wildcards are found by one
//! look-up of the whole text.
//! Invariant: a node other than the root has an entry or a child.
//! Source: the rules specification, section 6.4.

use super::{Pattern, Segment, glob::Glob};
use hashbrown::{Equivalent, HashMap, HashSet};
use noex_json::CompactString;
use smallvec::SmallVec;

/// Identifies one entry of a [`PatternTrie`]. Later insertions have greater ids.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EntryId(u64);

/// Values filed under patterns with one separator. Patterns for subscriptions and triggers may be mixed.
#[derive(Debug)]
pub struct PatternTrie<T> {
    exact: Map<CompactString, Entries<T>>,
    /// The root comes first.
    nodes: Vec<Node<T>>,
    /// Unused places of `nodes`.
    free: Vec<NodeId>,
    /// Nodes that stand for `**`.
    globstars: usize,
    /// Entries below the root.
    wild: usize,
    separator: char,
    len: usize,
    next_id: u64,
}

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
type NodeId = usize;
type Active = SmallVec<[NodeId; 8]>;

/// Values in ascending order of their ids.
type Entries<T> = Vec<(EntryId, T)>;

#[derive(Debug)]
struct Node<T> {
    literals: Map<CompactString, NodeId>,
    one: Option<NodeId>,
    many: Option<NodeId>,
    globs: Globs,
    /// Whether this node is reached by `**`, so that any segment leads back to it.
    repeats: bool,
    /// Patterns that end here.
    entries: Entries<T>,
    /// Patterns that end with a `*` for one or more further segments.
    rest: Entries<T>,
}

impl<T> Default for PatternTrie<T> {
    fn default() -> Self {
        Self {
            exact: Map::default(),
            nodes: vec![Node::new(false)],
            free: Vec::new(),
            globstars: 0,
            wild: 0,
            separator: '.',
            len: 0,
            next_id: 0,
        }
    }
}

impl<T> PatternTrie<T> {
    /// Makes a trie without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Files a value under a pattern. The same value or pattern may be filed repeatedly.
    pub fn insert(&mut self, pattern: &Pattern, value: T) -> EntryId {
        debug_assert!(self.len == 0 || self.separator == pattern.space.separator(), "one separator per trie");
        self.separator = pattern.space.separator();
        let id = EntryId(self.next_id);
        self.next_id += 1;
        self.len += 1;
        if pattern.is_exact() {
            self.exact.entry(pattern.text.clone()).or_default().push((id, value));
            return id;
        }
        self.wild += 1;
        let mut at = ROOT;
        let mut open = false;
        for segment in &pattern.segments {
            open = matches!(segment, Segment::Rest);
            if !open {
                at = self.child_or_new(at, segment);
            }
        }
        if let Some(node) = self.nodes.get_mut(at) {
            if open { &mut node.rest } else { &mut node.entries }.push((id, value));
        }
        id
    }

    /// Removes the entry that [`PatternTrie::insert`] with the same pattern has made, and gives its value.
    pub fn remove(&mut self, pattern: &Pattern, id: EntryId) -> Option<T> {
        let value = if pattern.is_exact() {
            let entries = self.exact.get_mut(pattern.text.as_str())?;
            let value = take(entries, id)?;
            if entries.is_empty() {
                self.exact.remove(pattern.text.as_str());
            }
            value
        } else {
            let mut path: SmallVec<[NodeId; 16]> = SmallVec::from_slice(&[ROOT]);
            let mut open = false;
            for segment in &pattern.segments {
                open = matches!(segment, Segment::Rest);
                if !open {
                    path.push(self.nodes.get(*path.last()?)?.child(segment)?);
                }
            }
            let node = self.nodes.get_mut(*path.last()?)?;
            let value = take(if open { &mut node.rest } else { &mut node.entries }, id)?;
            self.prune(&path, &pattern.segments);
            self.wild -= 1;
            value
        };
        self.len -= 1;
        Some(value)
    }

    /// Gives the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Tells whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Finds the values whose patterns match a text, in order of insertion.
    #[must_use]
    pub fn matches(&self, text: &str) -> Vec<&T> {
        let mut found: SmallVec<[(EntryId, &T); 8]> = SmallVec::new();
        if let Some(entries) = self.exact.get(text) {
            found.extend(entries.iter().map(|(id, value)| (*id, value)));
        }
        if self.wild > 0 {
            self.walk(text, |id, value| found.push((id, value)));
            found.sort_unstable_by_key(|(id, _)| *id);
        }
        found.into_iter().map(|(_, value)| value).collect()
    }

    /// Tells whether any pattern matches a text.
    #[must_use]
    pub fn any_matches(&self, text: &str) -> bool {
        let mut any = self.exact.contains_key(text);
        if !any && self.wild > 0 {
            self.walk(text, |_, _| any = true);
        }
        any
    }

    /// Tells whether nothing is left of what has been removed.
    #[cfg(test)]
    pub(super) fn is_pristine(&self) -> bool {
        let unused = self.nodes.len() - self.free.len() == 1;
        self.exact.is_empty() && unused && self.globstars == 0 && self.wild == 0 && self.len == 0
    }

    /// Reports each entry below the root that matches, once.
    fn walk<'a>(&'a self, text: &str, mut report: impl FnMut(EntryId, &'a T)) {
        // With `**`, a node can be in the set repeatedly, and its open ends must be reported only once.
        let mut reported: HashSet<NodeId, foldhash::fast::RandomState> = HashSet::default();
        let (mut active, mut next) = (Active::new(), Active::new());
        self.activate(ROOT, &mut active);
        for segment in text.split(self.separator) {
            for id in &active {
                let Some(node) = self.nodes.get(*id) else { continue };
                if !node.rest.is_empty() && (self.globstars == 0 || reported.insert(*id)) {
                    node.rest.iter().for_each(|(entry, value)| report(*entry, value));
                }
                node.step(*id, segment, |child| self.activate(child, &mut next));
            }
            if self.globstars > 0 {
                next.sort_unstable();
                next.dedup();
            }
            std::mem::swap(&mut active, &mut next);
            next.clear();
            if active.is_empty() {
                return;
            }
        }
        for node in active.iter().filter_map(|id| self.nodes.get(*id)) {
            node.entries.iter().for_each(|(entry, value)| report(*entry, value));
        }
    }

    /// Adds a node, and those that further `**` lead to without taking a segment.
    fn activate(&self, id: NodeId, active: &mut Active) {
        let mut next = Some(id);
        while let Some(id) = next {
            active.push(id);
            next = self.nodes.get(id).and_then(|node| node.many);
        }
    }

    fn child_or_new(&mut self, at: NodeId, segment: &Segment) -> NodeId {
        if let Some(child) = self.nodes.get(at).and_then(|node| node.child(segment)) {
            return child;
        }
        let repeats = matches!(segment, Segment::Many);
        self.globstars += usize::from(repeats);
        let node = Node::new(repeats);
        let id = self.free.pop().unwrap_or(self.nodes.len());
        if let Some(place) = self.nodes.get_mut(id) {
            *place = node;
        } else {
            self.nodes.push(node);
        }
        if let Some(parent) = self.nodes.get_mut(at) {
            parent.link(segment, id);
        }
        id
    }

    /// Frees the nodes of a path, from its end, that have become useless.
    fn prune(&mut self, path: &[NodeId], segments: &[Segment]) {
        for (pair, segment) in path.windows(2).zip(segments).collect::<SmallVec<[_; 16]>>().into_iter().rev()
        {
            let [parent, child] = *pair else { return };
            let Some(node) = self.nodes.get(child) else { return };
            if !node.is_useless() {
                return;
            }
            self.globstars -= usize::from(node.repeats);
            if let Some(parent) = self.nodes.get_mut(parent) {
                parent.unlink(segment);
            }
            self.free.push(child);
        }
    }
}

impl<T> Node<T> {
    fn new(repeats: bool) -> Self {
        Self {
            literals: Map::default(),
            one: None,
            many: None,
            globs: Globs::default(),
            repeats,
            entries: Vec::new(),
            rest: Vec::new(),
        }
    }

    fn is_useless(&self) -> bool {
        self.entries.is_empty()
            && self.rest.is_empty()
            && self.literals.is_empty()
            && self.one.is_none()
            && self.many.is_none()
            && self.globs.by_ends.is_empty()
    }

    fn child(&self, segment: &Segment) -> Option<NodeId> {
        match segment {
            Segment::Literal(text) => self.literals.get(text).copied(),
            Segment::One => self.one,
            Segment::Many => self.many,
            Segment::Glob(glob) => self.globs.child(glob),
            Segment::Rest => None,
        }
    }

    fn link(&mut self, segment: &Segment, child: NodeId) {
        match segment {
            Segment::Literal(text) => {
                self.literals.insert(text.clone(), child);
            }
            Segment::One => self.one = Some(child),
            Segment::Many => self.many = Some(child),
            Segment::Glob(glob) => self.globs.link(glob, child),
            Segment::Rest => {}
        }
    }

    fn unlink(&mut self, segment: &Segment) {
        match segment {
            Segment::Literal(text) => {
                self.literals.remove(text);
            }
            Segment::One => self.one = None,
            Segment::Many => self.many = None,
            Segment::Glob(glob) => self.globs.unlink(glob),
            Segment::Rest => {}
        }
    }

    /// Reports the nodes that a segment leads to.
    fn step(&self, own: NodeId, segment: &str, mut to: impl FnMut(NodeId)) {
        if let Some(child) = self.literals.get(segment) {
            to(*child);
        }
        if let Some(child) = self.one
            && !segment.is_empty()
        {
            to(child);
        }
        self.globs.step(segment, &mut to);
        if self.repeats {
            to(own);
        }
    }
}

/// Children of globs, filed by the texts at their two ends.
#[derive(Debug, Default)]
struct Globs {
    by_ends: Map<Ends, Vec<(Glob, NodeId)>>,
    /// How long the ends are, and how many keys of `by_ends` have ends of these lengths.
    lengths: Vec<((usize, usize), usize)>,
}

#[derive(Debug, Eq, Hash, PartialEq)]
struct Ends(CompactString, CompactString);

/// As [`Ends`], borrowed.
#[derive(Hash)]
struct EndsRef<'a>(&'a str, &'a str);

impl Equivalent<Ends> for EndsRef<'_> {
    fn equivalent(&self, key: &Ends) -> bool {
        key.0 == self.0 && key.1 == self.1
    }
}

impl Globs {
    fn child(&self, glob: &Glob) -> Option<NodeId> {
        let same = self.by_ends.get(&EndsRef(glob.prefix(), glob.suffix()))?;
        same.iter().find(|(other, _)| other == glob).map(|(_, child)| *child)
    }

    fn link(&mut self, glob: &Glob, child: NodeId) {
        let ends = Ends(glob.prefix().into(), glob.suffix().into());
        let lengths = (ends.0.len(), ends.1.len());
        let same = self.by_ends.entry(ends).or_default();
        if same.is_empty() {
            match self.lengths.iter_mut().find(|(other, _)| *other == lengths) {
                Some((_, keys)) => *keys += 1,
                None => self.lengths.push((lengths, 1)),
            }
        }
        same.push((glob.clone(), child));
    }

    fn unlink(&mut self, glob: &Glob) {
        let ends = EndsRef(glob.prefix(), glob.suffix());
        let Some(same) = self.by_ends.get_mut(&ends) else { return };
        same.retain(|(other, _)| other != glob);
        if !same.is_empty() {
            return;
        }
        self.by_ends.remove(&ends);
        let lengths = (glob.prefix().len(), glob.suffix().len());
        if let Some((_, keys)) = self.lengths.iter_mut().find(|(other, _)| *other == lengths) {
            *keys -= 1;
        }
        self.lengths.retain(|(_, keys)| *keys > 0);
    }

    fn step(&self, segment: &str, to: &mut impl FnMut(NodeId)) {
        for ((prefix, suffix), _) in &self.lengths {
            let Some(tail) = segment.len().checked_sub(*suffix) else { continue };
            let (Some(prefix), Some(suffix)) = (segment.get(..*prefix), segment.get(tail..)) else {
                continue;
            };
            let Some(same) = self.by_ends.get(&EndsRef(prefix, suffix)) else { continue };
            same.iter().filter(|(glob, _)| glob.matches(segment)).for_each(|(_, child)| to(*child));
        }
    }
}

fn take<T>(entries: &mut Entries<T>, id: EntryId) -> Option<T> {
    let at = entries.binary_search_by_key(&id, |(other, _)| *other).ok()?;
    Some(entries.remove(at).1)
}

const ROOT: NodeId = 0;
