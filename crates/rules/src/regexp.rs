//! Regular expressions of the operator `matches`: ECMAScript's syntax where it can be matched in linear time.
//!
//! The translation keeps what both syntaxes share and rewrites what they read differently: class escapes are ASCII,
//! `.` stops at every line terminator, unknown escapes are literal, braces that are no quantifier are too, and
//! brackets know no set operations. Inline flags and Unicode classes (`\p{..}`) are accepted on top. Look-around and
//! back-references are refused.
//! Source: the rules specification, section 2.9, decision D19; ECMA-262, "Patterns".

#[cfg(test)]
mod tests;

use regex::Regex;
use std::fmt::Write;
use std::iter::Peekable;
use std::str::Chars;

/// A compiled regular expression.
#[derive(Clone, Debug)]
pub struct Regexp(Regex);

impl Regexp {
    /// Compiles an expression; `None` if it is none, needs more than linear time, or is too large.
    #[must_use]
    pub fn parse(source: &str) -> Option<Self> {
        if source.len() > SOURCE_BYTES_MAX {
            return None;
        }
        let translated = translate(source)?;
        let builder = &mut regex::RegexBuilder::new(&translated);
        builder.size_limit(PROGRAM_BYTES_MAX).dfa_size_limit(CACHE_BYTES_MAX).build().ok().map(Self)
    }

    /// Tells whether the expression is found anywhere in a text. Linear in the text.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

struct Translator<'a> {
    rest: Peekable<Chars<'a>>,
    /// Whether `.` has the meaning of the flags instead of ECMAScript's.
    flags: bool,
    /// Whether what was written last can take a quantifier.
    repeatable: bool,
    out: String,
}

/// Rewrites an expression for `regex`; `None` if it cannot be.
fn translate(source: &str) -> Option<String> {
    let flags = source.match_indices("(?").any(|(at, _)| {
        source
            .get(at + 2..)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '-'))
    });
    let mut translator =
        Translator { rest: source.chars().peekable(), flags, repeatable: false, out: String::new() };
    while let Some(c) = translator.rest.next() {
        translator.term(c)?;
    }
    Some(translator.out)
}

impl Translator<'_> {
    /// Translates the term that begins with `c`, which has been taken.
    fn term(&mut self, c: char) -> Option<()> {
        let mut repeatable = true;
        match c {
            '*' | '+' | '?' => {
                self.quantifier(c.encode_utf8(&mut [0; 4]))?;
                repeatable = false;
            }
            '{' => match self.braces() {
                Some(braces) => {
                    self.quantifier(&braces)?;
                    repeatable = false;
                }
                None => self.literal('{'),
            },
            '(' => {
                self.out.push('(');
                self.out.extend(self.rest.next_if_eq(&'?'));
                repeatable = false;
            }
            '^' | '$' | '|' => {
                self.out.push(c);
                repeatable = false;
            }
            '\\' => repeatable = self.escape()?,
            '[' => self.class()?,
            '}' | ']' => self.literal(c),
            '.' if !self.flags => self.out.push_str(NO_LINE_END),
            _ => self.out.push(c),
        }
        self.repeatable = repeatable;
        Some(())
    }

    /// Writes a quantifier, which must have something to repeat.
    fn quantifier(&mut self, quantifier: &str) -> Option<()> {
        if !self.repeatable {
            return None;
        }
        self.out.push_str(quantifier);
        self.out.extend(self.rest.next_if_eq(&'?'));
        Some(())
    }

    /// Writes a character that means only itself.
    fn literal(&mut self, c: char) {
        if c.is_alphanumeric() {
            self.out.push(c);
        } else {
            let _ = write!(self.out, "\\x{{{:X}}}", u32::from(c));
        }
    }

    /// Translates what follows a backslash outside of a class; tells whether it can be repeated.
    fn escape(&mut self) -> Option<bool> {
        match self.rest.next()? {
            'b' => self.out.push_str(r"(?-u:\b)"),
            'B' => self.out.push_str(r"(?-u:\B)"),
            c => {
                self.any_escape(c)?;
                return Some(true);
            }
        }
        Some(false)
    }

    /// Translates an escape that may also occur in a class; `c` followed the backslash.
    fn any_escape(&mut self, c: char) -> Option<()> {
        match c {
            'd' => self.out.push_str("[0-9]"),
            'D' => self.out.push_str("[^0-9]"),
            'w' => self.out.push_str("[0-9A-Za-z_]"),
            'W' => self.out.push_str("[^0-9A-Za-z_]"),
            's' => self.out.push_str(r"[\s\x{FEFF}--\x{85}]"),
            'S' => self.out.push_str(r"[^[\s\x{FEFF}--\x{85}]]"),
            'p' | 'P' if self.rest.peek() == Some(&'{') => self.unicode_class(c)?,
            _ => {
                let c = self.character(c)?;
                self.literal(c);
            }
        }
        Some(())
    }

    fn unicode_class(&mut self, c: char) -> Option<()> {
        self.out.extend(['\\', c]);
        loop {
            let next = self.rest.next()?;
            self.out.push(next);
            if next == '}' {
                return Some(());
            }
        }
    }

    /// Reads the rest of an escape that stands for one character; `c` followed the backslash.
    fn character(&mut self, c: char) -> Option<char> {
        match c {
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'f' => Some('\u{C}'),
            'v' => Some('\u{B}'),
            '0' => Some('\0'),
            // Back-references.
            '1'..='9' | 'k' => None,
            'c' => {
                let letter = self.rest.next_if(char::is_ascii_alphabetic)?;
                char::from_u32(u32::from(letter) % 32)
            }
            'x' => self.hexadecimal(2, c),
            'u' => self.hexadecimal(4, c),
            _ => Some(c),
        }
    }

    /// Reads exactly `count` hexadecimal digits; without them the escaped letter is literal. `None` for surrogates.
    fn hexadecimal(&mut self, count: usize, letter: char) -> Option<char> {
        let digits: String = self.rest.clone().take(count).collect();
        let whole = digits.len() == count && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !whole {
            return Some(letter);
        }
        for _ in 0..count {
            self.rest.next();
        }
        char::from_u32(u32::from_str_radix(&digits, 16).ok()?)
    }

    /// Translates a class after its opening bracket.
    fn class(&mut self) -> Option<()> {
        let negated = self.rest.next_if_eq(&'^').is_some();
        if self.rest.next_if_eq(&']').is_some() {
            self.out.push_str(if negated { EVERYTHING } else { NOTHING });
            return Some(());
        }
        self.out.push_str(if negated { "[^" } else { "[" });
        // Whether a character came last, which a hyphen can make the start of a range.
        let mut starts_range = false;
        loop {
            let is_class = self.class_escape_follows();
            let c = self.rest.next()?;
            if c == ']' {
                break;
            }
            let ends = self.rest.peek() == Some(&']') || self.class_escape_follows();
            if c == '-' && starts_range && !ends {
                self.out.push('-');
                let last = self.rest.next()?;
                self.class_atom(last)?;
                starts_range = false;
            } else {
                self.class_atom(c)?;
                starts_range = !is_class;
            }
        }
        self.out.push(']');
        Some(())
    }

    /// Translates one member of a class, which begins with `c`.
    fn class_atom(&mut self, c: char) -> Option<()> {
        if c != '\\' {
            self.literal(c);
            return Some(());
        }
        match self.rest.next()? {
            'b' => self.literal('\u{8}'),
            c => self.any_escape(c)?,
        }
        Some(())
    }

    fn class_escape_follows(&self) -> bool {
        let mut ahead = self.rest.clone();
        ahead.next() == Some('\\')
            && ahead.next().is_some_and(|c| matches!(c, 'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'p' | 'P'))
    }

    /// Reads the rest of a quantifier in braces; `None` = the brace is literal, and nothing has been taken.
    fn braces(&mut self) -> Option<String> {
        let inside: String = self.rest.clone().take(QUANTIFIER_CHARS_MAX).take_while(|c| *c != '}').collect();
        let (min, max) = inside.split_once(',').unwrap_or((&inside, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let closed = self.rest.clone().nth(inside.len()) == Some('}');
        if !closed || min.is_empty() || !digits(min) || !digits(max) {
            return None;
        }
        for _ in 0..=inside.len() {
            self.rest.next();
        }
        Some(format!("{{{inside}}}"))
    }
}

/// What `.` matches: all but line terminators.
const NO_LINE_END: &str = r"[^\n\r\x{2028}\x{2029}]";

const EVERYTHING: &str = r"[\x{0}-\x{10FFFF}]";
const NOTHING: &str = r"[^\x{0}-\x{10FFFF}]";

/// Longest expression. Generous for what people write; the size of the program is what really matters.
const SOURCE_BYTES_MAX: usize = 4096;

/// Largest compiled program, which bounds the time of a compilation and of each match.
const PROGRAM_BYTES_MAX: usize = 1 << 20;

/// Largest cache of a lazily built automaton, per thread.
const CACHE_BYTES_MAX: usize = 1 << 20;

/// A longer quantifier could not be satisfied anyway.
const QUANTIFIER_CHARS_MAX: usize = 24;
