//! Wildcards within one segment: each `*` stands for one or more characters.

use noex_json::CompactString;

/// Literal texts with a `*` between each two of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Glob {
    prefix: CompactString,
    inner: Vec<CompactString>,
    suffix: CompactString,
}

impl Glob {
    /// Makes a glob of the texts around its wildcards, of which there is at least one.
    pub(super) fn new(mut pieces: Vec<CompactString>) -> Self {
        let suffix = pieces.pop().unwrap_or_default();
        let mut pieces = pieces.into_iter();
        let prefix = pieces.next().unwrap_or_default();
        Self { prefix, inner: pieces.collect(), suffix }
    }

    /// Gives the text before the first wildcard.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Gives the text after the last wildcard.
    pub(super) fn suffix(&self) -> &str {
        &self.suffix
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        self.run(text, |_, _| {})
    }

    /// Matches a text and reports the span of each wildcard. Every inner text is found as early as possible; each
    /// search goes on where the last one ended, so all of them together are linear.
    pub(super) fn run(&self, text: &str, mut capture: impl FnMut(usize, usize)) -> bool {
        let Some(end) = text.strip_prefix(self.prefix.as_str()).and_then(|rest| {
            rest.strip_suffix(self.suffix.as_str()).map(|middle| self.prefix.len() + middle.len())
        }) else {
            return false;
        };
        let mut at = self.prefix.len();
        for piece in &self.inner {
            let Some(middle) = text.get(at..end) else { return false };
            let Some(first) = middle.chars().next() else { return false };
            let skip = first.len_utf8();
            let Some(found) = middle.get(skip..).and_then(|rest| rest.find(piece.as_str())) else {
                return false;
            };
            capture(at, at + skip + found);
            at += skip + found + piece.len();
        }
        capture(at, end);
        at < end
    }
}
