//! Choices read from the fuzzer's bytes. When the bytes are used up, every choice is the first one.

use arbitrary::{Arbitrary, Unstructured};

/// Bytes that decide.
#[derive(Debug)]
pub(crate) struct Input<'a>(Unstructured<'a>);

impl<'a> Input<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(Unstructured::new(data))
    }

    /// Whether bytes are left.
    pub(crate) fn more(&self) -> bool {
        !self.0.is_empty()
    }

    /// A value of any type; `None` once the bytes are used up.
    pub(crate) fn any<T: Arbitrary<'a>>(&mut self) -> Option<T> {
        if self.0.is_empty() { None } else { self.0.arbitrary().ok() }
    }

    /// A number below `end`, which must not be 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0.int_in_range(0..=end - 1).unwrap_or(0)
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    /// True once in `n` times.
    pub(crate) fn rarely(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        *choices.get(self.below(choices.len())).expect("below the length")
    }

    /// One of some choices, or nothing.
    pub(crate) fn perhaps<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        let at = self.below(choices.len() + 1);
        at.checked_sub(1).and_then(|at| choices.get(at).copied())
    }

    /// A short text of letters that matter somewhere, quoted.
    pub(crate) fn quoted(&mut self) -> String {
        const PIECES: [&str; 16] = [
            "a", "b", "1", "x", "", ".", "*", "\\\"", "\\u0000", "é", "\u{e000}", "😀", "${x}", "\\n", "10",
            "A",
        ];
        let pieces: String = (0..self.below(4)).map(|_| self.pick(&PIECES)).collect();
        format!("\"{pieces}\"")
    }

    /// A JSON text, objects having members of these names.
    pub(crate) fn json(&mut self, names: &[&str], depth: usize) -> String {
        const SCALARS: [&str; 14] = [
            "null", "true", "false", "0", "1", "-0", "2.5", "-1", "1e400", "1e21", "100", "\"\"", "\"a\"",
            "\"1\"",
        ];
        match self.below(if depth == 0 { 6 } else { 10 }) {
            0..=3 => self.pick(&SCALARS).to_owned(),
            4 => self.quoted(),
            5 => self.any::<i32>().unwrap_or_default().to_string(),
            6 | 7 => {
                let items: Vec<String> = (0..self.below(4)).map(|_| self.json(names, depth - 1)).collect();
                format!("[{}]", items.join(","))
            }
            _ => self.object(names, depth - 1, Vec::new()),
        }
    }

    /// The text of an object with the given members, and perhaps others.
    pub(crate) fn object(&mut self, names: &[&str], depth: usize, mut members: Vec<String>) -> String {
        for _ in 0..self.below(4) {
            let name = if names.is_empty() || self.rarely(8) {
                self.quoted()
            } else {
                format!("\"{}\"", self.pick(names))
            };
            members.push(format!("{name}:{}", self.json(names, depth)));
        }
        format!("{{{}}}", members.join(","))
    }
}
