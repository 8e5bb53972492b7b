//! Translation of ECMAScript's pattern syntax to that of `regex`.
//!
//! One pass over the code units without recursion. Everything that a pattern can mean literally is written as an
//! escaped character and every class as explicit ranges, so that no unit of the source ever reaches the other syntax
//! with a meaning of its own. Groups capture nothing, since a match is only a yes or no.

use super::class::{Class, write_unit};

/// Translates a pattern; `None` if it is ill-formed or needs back-references or look-around.
pub(super) fn translate(source: &str) -> Option<String> {
    let units: Vec<u16> = source.encode_utf16().collect();
    let groups = count_groups(&units);
    let mut translator =
        Translator { units: &units, at: 0, groups, depth: 0, repeatable: false, out: String::new() };
    while let Some(unit) = translator.next() {
        translator.term(unit)?;
    }
    (translator.depth == 0).then_some(translator.out)
}

/// How many groups a pattern has.
#[derive(Clone, Copy)]
struct Groups {
    capturing: u32,
    named: bool,
}

struct Translator<'a> {
    units: &'a [u16],
    at: usize,
    groups: Groups,
    /// Groups that are open.
    depth: usize,
    /// Whether what was translated last can take a quantifier.
    repeatable: bool,
    out: String,
}

impl Translator<'_> {
    fn next(&mut self) -> Option<u16> {
        let unit = self.units.get(self.at).copied();
        self.at += usize::from(unit.is_some());
        unit
    }

    fn take(&mut self, expected: u8) -> bool {
        let found = self.units.get(self.at) == Some(&u16::from(expected));
        self.at += usize::from(found);
        found
    }

    /// Translates the term that starts with `unit`, which has been taken.
    fn term(&mut self, unit: u16) -> Option<()> {
        match ascii(unit) {
            b'^' => self.assertion(r"\A"),
            b'$' => self.assertion(r"\z"),
            b'|' => self.assertion("|"),
            b'(' => self.open_group()?,
            b')' => {
                self.depth = self.depth.checked_sub(1)?;
                self.out.push(')');
                self.repeatable = true;
            }
            b'.' => self.class(Class::dot()),
            b'[' => {
                let class = self.bracket()?;
                self.class(class);
            }
            b'\\' => self.escape()?,
            b'*' => self.quantifier("*")?,
            b'+' => self.quantifier("+")?,
            b'?' => self.quantifier("?")?,
            b'{' => match self.braces()? {
                Some(braces) => self.quantifier(&braces)?,
                None => self.literal(unit),
            },
            _ => self.literal(unit),
        }
        Some(())
    }

    fn assertion(&mut self, text: &str) {
        self.out.push_str(text);
        self.repeatable = false;
    }

    fn literal(&mut self, unit: u16) {
        write_unit(&mut self.out, unit);
        self.repeatable = true;
    }

    fn class(&mut self, class: Class) {
        class.write(&mut self.out);
        self.repeatable = true;
    }

    fn open_group(&mut self) -> Option<()> {
        if self.take(b'?') {
            // Look-around and inline flags are refused here, being neither of these.
            if !self.take(b':') {
                self.group_name()?;
            }
        }
        self.depth += 1;
        self.out.push_str("(?:");
        self.repeatable = false;
        Some(())
    }

    /// Skips `<name>`.
    fn group_name(&mut self) -> Option<()> {
        if !self.take(b'<') {
            return None;
        }
        let start = self.at;
        while self.next()? != u16::from(b'>') {}
        let name = String::from_utf16(self.units.get(start..self.at - 1)?).ok()?;
        let starts = |c: char| c.is_alphabetic() || matches!(c, '_' | '$');
        let continues = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '\u{200C}' | '\u{200D}');
        (name.starts_with(starts) && name.chars().all(continues)).then_some(())
    }

    fn quantifier(&mut self, quantifier: &str) -> Option<()> {
        if !self.repeatable {
            return None;
        }
        self.out.push_str(quantifier);
        // A group around the repetition is not needed: what follows cannot be another quantifier.
        if self.take(b'?') {
            self.out.push('?');
        }
        self.repeatable = false;
        Some(())
    }

    /// Reads `{n}`, `{n,}` or `{n,m}` after the brace; `Some(None)` = the brace is literal, `None` = ill-formed.
    fn braces(&mut self) -> Option<Option<String>> {
        let start = self.at;
        let found = self.braces_inner();
        match found {
            None => {
                self.at = start;
                Some(None)
            }
            Some((min, None)) => Some(Some(min)),
            Some((min, Some(max))) => {
                let in_order = max.is_empty() || digits_in_order(&min, &max);
                in_order.then(|| Some(format!("{{{min},{max}}}")))
            }
        }
    }

    fn braces_inner(&mut self) -> Option<(String, Option<String>)> {
        let min = self.digits()?;
        if self.take(b'}') {
            return Some((format!("{{{min}}}"), None));
        }
        if !self.take(b',') {
            return None;
        }
        let max = self.digits().unwrap_or_default();
        self.take(b'}').then_some((min, Some(max)))
    }

    /// Reads decimal digits without leading zeros.
    fn digits(&mut self) -> Option<String> {
        let mut digits = String::new();
        while let Some(digit) = self.units.get(self.at).map(|unit| ascii(*unit)).filter(u8::is_ascii_digit) {
            digits.push(char::from(digit));
            self.at += 1;
        }
        let significant = digits.trim_start_matches('0');
        match (digits.is_empty(), significant.is_empty()) {
            (true, _) => None,
            (false, true) => Some("0".to_owned()),
            (false, false) => Some(significant.to_owned()),
        }
    }

    /// Translates what follows a backslash outside of a class.
    fn escape(&mut self) -> Option<()> {
        let unit = self.next()?;
        match ascii(unit) {
            b'b' => self.assertion(r"(?-u:\b)"),
            b'B' => self.assertion(r"(?-u:\B)"),
            b'k' if self.groups.named => return None,
            b'1'..=b'9' => {
                let start = self.at - 1;
                self.at = start;
                let number = self.digits()?;
                if number.parse::<u32>().is_ok_and(|number| number <= self.groups.capturing) {
                    return None; // a back-reference
                }
                self.at = start;
                let _ = self.next();
                let unit = self.character_escape(unit, false);
                self.literal(unit);
            }
            _ => match Class::by_escape(unit) {
                Some(class) => self.class(class),
                None => {
                    let unit = self.character_escape(unit, false);
                    self.literal(unit);
                }
            },
        }
        Some(())
    }

    /// Reads the rest of an escape that stands for one code unit; `unit` followed the backslash.
    fn character_escape(&mut self, unit: u16, in_class: bool) -> u16 {
        match ascii(unit) {
            b'f' => 0x0C,
            b'n' => 0x0A,
            b'r' => 0x0D,
            b't' => 0x09,
            b'v' => 0x0B,
            b'b' if in_class => 0x08,
            b'c' => self.control(in_class),
            b'x' => self.hexadecimal(2).unwrap_or(unit),
            b'u' => self.hexadecimal(4).unwrap_or(unit),
            b'0'..=b'7' => self.octal(unit),
            _ => unit,
        }
    }

    /// Reads the letter of `\cX`; without one the backslash is literal and the `c` is read again.
    fn control(&mut self, in_class: bool) -> u16 {
        let letter = self.units.get(self.at).map_or(0, |unit| ascii(*unit));
        let in_class_only = letter.is_ascii_digit() || letter == b'_';
        if letter.is_ascii_alphabetic() || (in_class && in_class_only) {
            self.at += 1;
            return u16::from(letter % 32);
        }
        self.at -= 1;
        u16::from(b'\\')
    }

    /// Reads exactly `count` hexadecimal digits or nothing.
    fn hexadecimal(&mut self, count: usize) -> Option<u16> {
        let digits = self.units.get(self.at..self.at + count)?;
        let mut value = 0;
        for digit in digits {
            value = value << 4 | u16::try_from(char::from(ascii(*digit)).to_digit(16)?).ok()?;
        }
        self.at += count;
        Some(value)
    }

    /// Reads an octal escape of up to three digits and at most 0o377; `first` has been taken.
    fn octal(&mut self, first: u16) -> u16 {
        let mut value = first - u16::from(b'0');
        let more = if value < 4 { 2 } else { 1 };
        for _ in 0..more {
            let Some(digit) = self.units.get(self.at).map(|unit| ascii(*unit)) else { break };
            if !matches!(digit, b'0'..=b'7') {
                break;
            }
            value = value << 3 | u16::from(digit - b'0');
            self.at += 1;
        }
        value
    }

    /// Reads a class after its opening bracket.
    fn bracket(&mut self) -> Option<Class> {
        let negated = self.take(b'^');
        let mut class = Class::default();
        while !self.take(b']') {
            let first = self.class_atom()?;
            let range_follows = self.units.get(self.at) == Some(&u16::from(b'-'))
                && self.units.get(self.at + 1) != Some(&u16::from(b']'));
            if !range_follows {
                first.add_to(&mut class);
                continue;
            }
            self.at += 1;
            let last = self.class_atom()?;
            if let (ClassAtom::Unit(first), ClassAtom::Unit(last)) = (&first, &last) {
                if first > last {
                    return None;
                }
                class.add(*first, *last);
            } else {
                // With a class escape at either end, the hyphen is literal.
                class.add(u16::from(b'-'), u16::from(b'-'));
                first.add_to(&mut class);
                last.add_to(&mut class);
            }
        }
        Some(if negated { class.complement() } else { class })
    }

    fn class_atom(&mut self) -> Option<ClassAtom> {
        let unit = self.next()?;
        if ascii(unit) != b'\\' {
            return Some(ClassAtom::Unit(unit));
        }
        let escaped = self.next()?;
        if ascii(escaped) == b'k' && self.groups.named {
            return None;
        }
        Some(match Class::by_escape(escaped) {
            Some(class) => ClassAtom::Class(class),
            None => ClassAtom::Unit(self.character_escape(escaped, true)),
        })
    }
}

enum ClassAtom {
    Unit(u16),
    Class(Class),
}

impl ClassAtom {
    fn add_to(&self, class: &mut Class) {
        match self {
            Self::Unit(unit) => class.add(*unit, *unit),
            Self::Class(other) => class.extend(other),
        }
    }
}

/// Counts the groups, which decides whether `\1` and `\k` are back-references.
fn count_groups(units: &[u16]) -> Groups {
    let mut groups = Groups { capturing: 0, named: false };
    let (mut at, mut in_class) = (0, false);
    while let Some(unit) = units.get(at) {
        match ascii(*unit) {
            b'\\' => at += 1,
            b'[' => in_class = true,
            b']' => in_class = false,
            b'(' if !in_class => {
                let follows = |offset: usize| units.get(at + offset).map_or(0, |unit| ascii(*unit));
                let named = follows(1) == b'?' && follows(2) == b'<' && !matches!(follows(3), b'=' | b'!');
                groups.capturing += u32::from(named || follows(1) != b'?');
                groups.named |= named;
            }
            _ => {}
        }
        at += 1;
    }
    groups
}

/// Compares two decimal numbers without leading zeros, of any length.
fn digits_in_order(min: &str, max: &str) -> bool {
    (min.len(), min) <= (max.len(), max)
}

/// Gives an ASCII unit; other units become 0, which no syntax uses.
fn ascii(unit: u16) -> u8 {
    u8::try_from(unit).ok().filter(u8::is_ascii).unwrap_or(0)
}
