//! Patterns of topics, fact keys and timer names: one grammar, the separator a parameter.
//!
//! A pattern is a list of segments. `**` as a segment stands for zero or more segments, `*` for one non-empty segment,
//! and a `*` within a segment for one or more of its characters; everything else is literal. A final `*` of a topic
//! pattern stands for one or more segments, which may be empty.
//! Invariant: matching takes time linear in the text, whatever the pattern, since the number of segments of a pattern
//! with wildcards is bounded.
//! Source: the rules specification, section 2.6, decisions D7 and D35.

mod glob;
#[cfg(test)]
mod tests;
mod trie;

pub use trie::{EntryId, PatternTrie};

use glob::Glob;
use noex_json::CompactString;
use smallvec::SmallVec;
use std::fmt;

/// Where a pattern is used. It decides the separator and what a lone or a final `*` means.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Space {
    /// Topics, separated by `.`, as subscriptions see them: the pattern `*` is every topic.
    Subscription,
    /// Topics, separated by `.`, as triggers and temporal matchers see them: the pattern `*` is one segment.
    Trigger,
    /// Fact keys and timer names, separated by `:`: a final `*` is one segment, like everywhere else.
    Key,
}

impl Space {
    /// Gives the character between segments.
    #[must_use]
    pub const fn separator(self) -> char {
        match self {
            Self::Subscription | Self::Trigger => '.',
            Self::Key => ':',
        }
    }

    /// Tells whether a `*` in the last of `count` segments stands for all that remains.
    const fn ends_open(self, count: usize) -> bool {
        match self {
            Self::Subscription => true,
            Self::Trigger => count > 1,
            Self::Key => false,
        }
    }
}

/// One piece of a pattern under construction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part<'a> {
    /// Text in which `*` is a wildcard.
    Pattern(&'a str),
    /// Text that matches only itself, as interpolated values do.
    Literal(&'a str),
}

/// Why a text cannot be used as a pattern. `Display` gives the text for people.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PatternError {
    /// More segments are `**` than allowed.
    TooManyGlobstars,
    /// A pattern with wildcards has more segments than allowed.
    TooManySegments,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyGlobstars => write!(f, "Pattern has more than {GLOBSTARS_MAX} \"**\" segments"),
            Self::TooManySegments => {
                write!(f, "Pattern with wildcards has more than {SEGMENTS_MAX} segments")
            }
        }
    }
}

impl std::error::Error for PatternError {}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: CompactString,
    space: Space,
    /// Empty = no wildcard: matches exactly `text`.
    segments: Vec<Segment>,
}

/// One segment of a pattern with wildcards.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Segment {
    /// Exactly this text.
    Literal(CompactString),
    /// `*`: one non-empty segment.
    One,
    /// Text with wildcards within the segment.
    Glob(Glob),
    /// `**`: zero or more segments.
    Many,
    /// A final `*` of a topic: one or more segments, possibly empty ones.
    Rest,
}

/// A span of bytes in the text that is matched.
type Span = (usize, usize);

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    ///
    /// If it has too many segments or too many of them are `**`.
    pub fn parse(text: &str, space: Space) -> Result<Self, PatternError> {
        Self::from_parts([Part::Pattern(text)], space)
    }

    /// Compiles a pattern made of wildcard text and literal text. A segment that has a literal part, even an empty
    /// one, is never a whole-segment wildcard, so interpolated values cannot widen a pattern.
    ///
    /// # Errors
    ///
    /// As [`Pattern::parse`].
    pub fn from_parts<'a>(
        parts: impl IntoIterator<Item = Part<'a>>,
        space: Space,
    ) -> Result<Self, PatternError> {
        let mut builder = Builder::new(space);
        for part in parts {
            builder.add(part);
        }
        builder.finish()
    }

    /// Gives the text of the pattern; of a pattern made of parts, their concatenation.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Gives the space that the pattern was compiled for.
    #[must_use]
    pub fn space(&self) -> Space {
        self.space
    }

    /// Tells whether there is no wildcard, so that the pattern matches exactly its text.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.segments.is_empty()
    }

    /// Gives text that everything that matches starts with, for searches in ordered collections.
    #[must_use]
    pub fn literal_prefix(&self) -> &str {
        if self.is_exact() {
            return &self.text;
        }
        let mut end = 0;
        for (i, segment) in self.segments.iter().enumerate() {
            match segment {
                Segment::Literal(text) => {
                    // Before a `**`, the separator is missing from a text that ends here.
                    let closed = !matches!(self.segments.get(i + 1), Some(Segment::Many) | None);
                    end += text.len() + usize::from(closed);
                }
                Segment::Glob(glob) => {
                    end += glob.prefix().len();
                    break;
                }
                Segment::One | Segment::Many | Segment::Rest => break,
            }
            if matches!(self.segments.get(i + 1), Some(Segment::Many)) {
                break;
            }
        }
        self.text.get(..end).unwrap_or_default()
    }

    /// Tells whether a text matches. Linear in the text.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        if self.is_exact() { self.text == text } else { self.run(text, &mut None) }
    }

    /// Gives the text that each wildcard matched, in order; `None` if the text does not match. `**` and a final `*`
    /// of a topic give the segments they matched with the separators between them. Where several divisions are
    /// possible, earlier wildcards take as little as they can.
    #[must_use]
    pub fn captures<'a>(&self, text: &'a str) -> Option<Vec<&'a str>> {
        if self.is_exact() {
            return (self.text == text).then(Vec::new);
        }
        let mut spans = Some(Vec::new());
        if !self.run(text, &mut spans) {
            return None;
        }
        Some(spans?.into_iter().map(|(start, end)| text.get(start..end).unwrap_or_default()).collect())
    }

    /// Matches the pattern's blocks between `**` from left to right, each as early as possible, which finds a
    /// division whenever there is one.
    fn run(&self, text: &str, spans: &mut Option<Vec<Span>>) -> bool {
        let parts = split(text, self.space.separator());
        let open = matches!(self.segments.last(), Some(Segment::Rest));
        let body = self.segments.get(..self.segments.len() - usize::from(open)).unwrap_or_default();
        let mut blocks = body.split(|segment| matches!(segment, Segment::Many));
        let mut at = 0;
        // What an open end must leave.
        let reserve = usize::from(open);
        let Some(first) = blocks.next() else { return false };
        if !block_matches(first, text, &parts, at, spans) {
            return false;
        }
        at += first.len();
        let mut rest = blocks.peekable();
        while let Some(block) = rest.next() {
            let last = rest.peek().is_none();
            let Some(limit) = parts.len().checked_sub(block.len() + reserve) else { return false };
            let from = if last && !open { at.max(limit) } else { at };
            let kept = spans.as_ref().map_or(0, Vec::len);
            let found = (from..=limit).find(|start| {
                if let Some(spans) = spans {
                    spans.truncate(kept);
                    spans.push(join(&parts, at, *start, text));
                }
                block_matches(block, text, &parts, *start, spans)
            });
            let Some(found) = found else { return false };
            at = found + block.len();
        }
        if open {
            if at >= parts.len() {
                return false;
            }
            if let Some(spans) = spans {
                spans.push(join(&parts, at, parts.len(), text));
            }
            return true;
        }
        at == parts.len()
    }

    fn globstars(&self) -> usize {
        self.segments.iter().filter(|segment| matches!(segment, Segment::Many)).count()
    }
}

/// Tells whether a block of segments without `**` matches the segments of the text from `at` on.
fn block_matches(
    block: &[Segment],
    text: &str,
    parts: &[Span],
    at: usize,
    spans: &mut Option<Vec<Span>>,
) -> bool {
    let Some(parts) = at.checked_add(block.len()).and_then(|end| parts.get(at..end)) else { return false };
    block.iter().zip(parts).all(|(segment, (start, end))| {
        let part = text.get(*start..*end).unwrap_or_default();
        match segment {
            Segment::Literal(literal) => literal == part,
            Segment::One => {
                if let Some(spans) = spans {
                    spans.push((*start, *end));
                }
                !part.is_empty()
            }
            Segment::Glob(glob) => glob.run(part, |from, to| {
                if let Some(spans) = spans {
                    spans.push((start + from, start + to));
                }
            }),
            // Blocks are what lies between these.
            Segment::Many | Segment::Rest => false,
        }
    })
}

/// Splits a text into the spans of its segments.
fn split(text: &str, separator: char) -> SmallVec<[Span; 16]> {
    let mut start = 0;
    text.split(separator)
        .map(|part| {
            let span = (start, start + part.len());
            start = span.1 + separator.len_utf8();
            span
        })
        .collect()
}

/// Gives the span of segments `from..to`; an empty one if there are none.
fn join(parts: &[Span], from: usize, to: usize, text: &str) -> Span {
    if from >= to {
        let start = parts.get(from).map_or(text.len(), |span| span.0);
        return (start, start);
    }
    let start = parts.get(from).map_or(text.len(), |span| span.0);
    let end = parts.get(to - 1).map_or(text.len(), |span| span.1);
    (start, end)
}

/// Collects the segments of a pattern.
struct Builder {
    space: Space,
    text: String,
    segments: Vec<Segment>,
    /// Literal text around the wildcards of the current segment.
    pieces: Vec<CompactString>,
    /// Whether the current segment has a literal part.
    fixed: bool,
}

impl Builder {
    fn new(space: Space) -> Self {
        Self {
            space,
            text: String::new(),
            segments: Vec::new(),
            pieces: vec![CompactString::default()],
            fixed: false,
        }
    }

    fn add(&mut self, part: Part<'_>) {
        let separator = self.space.separator();
        let (text, wild) = match part {
            Part::Pattern(text) => (text, true),
            Part::Literal(text) => (text, false),
        };
        self.fixed |= !wild;
        self.text.push_str(text);
        for (i, segment) in text.split(separator).enumerate() {
            if i > 0 {
                self.end_segment();
                self.fixed |= !wild;
            }
            for (j, piece) in segment.split('*').enumerate() {
                if j > 0 && wild {
                    self.pieces.push(CompactString::default());
                }
                if let Some(last) = self.pieces.last_mut() {
                    if j > 0 && !wild {
                        last.push('*');
                    }
                    last.push_str(piece);
                }
            }
        }
    }

    fn end_segment(&mut self) {
        let pieces = std::mem::replace(&mut self.pieces, vec![CompactString::default()]);
        let bare = !self.fixed && pieces.iter().all(|piece| piece.is_empty());
        self.fixed = false;
        self.segments.push(match (pieces.len(), bare) {
            (0 | 1, _) => Segment::Literal(pieces.into_iter().next().unwrap_or_default()),
            (2, true) => Segment::One,
            (3, true) => Segment::Many,
            _ => Segment::Glob(Glob::new(pieces)),
        });
    }

    fn finish(mut self) -> Result<Pattern, PatternError> {
        self.end_segment();
        let count = self.segments.len();
        if self.segments.iter().all(|segment| matches!(segment, Segment::Literal(_))) {
            self.segments = Vec::new();
        } else if count > SEGMENTS_MAX {
            return Err(PatternError::TooManySegments);
        }
        if let Some(last @ Segment::One) = self.segments.last_mut()
            && self.space.ends_open(count)
        {
            *last = Segment::Rest;
        }
        let pattern = Pattern { text: self.text.into(), space: self.space, segments: self.segments };
        if pattern.globstars() > GLOBSTARS_MAX { Err(PatternError::TooManyGlobstars) } else { Ok(pattern) }
    }
}

/// Most `**` segments: each lets the rest of the pattern float.
const GLOBSTARS_MAX: usize = 2;

/// Most segments of a pattern with wildcards: this bounds the work per segment of a text.
const SEGMENTS_MAX: usize = 256;
