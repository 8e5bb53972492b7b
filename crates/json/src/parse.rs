//! Parsing: validation without recursion, extraction of members, and building of values.
//!
//! A message is first scanned as a whole ([`scan_object`]); what an operation needs is then read from the slices.
//! The second pass costs less than building a tree of parts that nobody looks at.

use crate::{Object, Value};
use alloc::{borrow::Cow, string::String, vec::Vec};
use compact_str::CompactString;

/// Why a text is not acceptable JSON.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ParseError {
    /// The text is not JSON of RFC 8259, or has an escape for half a surrogate pair.
    Syntax,
    /// Valid, but nested deeper than allowed.
    TooDeep,
    /// Valid, but not the kind of value asked for.
    WrongType,
}

/// The text of one valid JSON value, without surrounding white space.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Raw<'a> {
    text: &'a str,
    /// Whether it is a string with escapes.
    escaped: bool,
}

/// One member of a scanned object: its unescaped name and the text of its value.
pub type Member<'a> = (Cow<'a, str>, Raw<'a>);

impl<'a> Raw<'a> {
    /// Gives the text.
    #[must_use]
    pub fn text(self) -> &'a str {
        self.text
    }

    /// Tells whether the value is `null`.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.text.starts_with('n')
    }

    /// Tells whether the value is an object.
    #[must_use]
    pub fn is_object(self) -> bool {
        self.text.starts_with('{')
    }

    /// Tells whether the value is an array.
    #[must_use]
    pub fn is_array(self) -> bool {
        self.text.starts_with('[')
    }

    /// Reads a string; `None` if the value is of another type.
    #[must_use]
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        // Only what was scanned becomes a `Raw`, so the quotes are a pair.
        let inside = self.text.strip_prefix('"')?.strip_suffix('"')?;
        if self.escaped { Parser::new(self.text).string().ok() } else { Some(Cow::Borrowed(inside)) }
    }

    /// Reads a number; `None` if the value is of another type. Overflow gives an infinity.
    #[must_use]
    pub fn as_number(self) -> Option<f64> {
        let first = self.text.as_bytes().first()?;
        (first.is_ascii_digit() || *first == b'-').then(|| Parser::new(self.text).number().ok()).flatten()
    }

    /// Builds the value. Recursion depth is the nesting depth, which the scan has bounded.
    #[must_use]
    pub fn to_value(self) -> Value {
        match self.as_str() {
            Some(Cow::Borrowed(text)) => Value::String(CompactString::new(text)),
            Some(Cow::Owned(text)) => Value::String(text.into()),
            None => Parser::new(self.text).value(usize::MAX).unwrap_or_default(),
        }
    }

    /// Builds the value if it is an object.
    #[must_use]
    pub fn to_object(self) -> Option<Object> {
        if self.is_object() { Parser::new(self.text).object(usize::MAX).ok() } else { None }
    }
}

/// Parses a whole text into a value.
///
/// # Errors
/// [`ParseError::Syntax`], or [`ParseError::TooDeep`] if containers are nested more than `depth_max` deep.
pub fn parse(text: &str, depth_max: usize) -> Result<Value, ParseError> {
    Ok(scan(text, depth_max)?.to_value())
}

/// Validates a whole text and gives its trimmed form.
///
/// # Errors
/// As [`parse`]. A syntax error anywhere wins over excessive depth.
pub fn scan(text: &str, depth_max: usize) -> Result<Raw<'_>, ParseError> {
    let mut parser = Parser::new(text);
    parser.space();
    let (raw, depth) = parser.raw_value()?;
    parser.space();
    if parser.at != text.len() {
        return Err(ParseError::Syntax);
    }
    if depth > depth_max { Err(ParseError::TooDeep) } else { Ok(raw) }
}

/// Validates a whole text that should be an object and gives its members in order of appearance, repeated names
/// included. Those given before an error is found mean nothing.
///
/// # Errors
/// As [`scan`]; [`ParseError::WrongType`] if it is valid JSON of another type.
pub fn scan_object<'a>(
    text: &'a str,
    depth_max: usize,
    mut member: impl FnMut(Member<'a>),
) -> Result<(), ParseError> {
    let mut parser = Parser::new(text);
    parser.space();
    if parser.peek() != Some(b'{') {
        scan(text, depth_max)?;
        return Err(ParseError::WrongType);
    }
    parser.at += 1;
    let mut depth = 1;
    parser.space();
    if parser.peek() == Some(b'}') {
        parser.at += 1;
    } else {
        loop {
            parser.space();
            let name = parser.string()?;
            parser.space();
            parser.expect(b':')?;
            parser.space();
            let (raw, inner) = parser.raw_value()?;
            depth = depth.max(1 + inner);
            member((name, raw));
            parser.space();
            match parser.next() {
                Some(b',') => {}
                Some(b'}') => break,
                _ => return Err(ParseError::Syntax),
            }
        }
    }
    parser.space();
    if parser.at != text.len() {
        return Err(ParseError::Syntax);
    }
    if depth > depth_max { Err(ParseError::TooDeep) } else { Ok(()) }
}

/// Lists the elements of a scanned array; `None` if the value is no array.
#[must_use]
pub fn scan_array(raw: Raw<'_>) -> Option<Vec<Raw<'_>>> {
    let mut parser = Parser::new(raw.text);
    parser.expect(b'[').ok()?;
    let mut items = Vec::new();
    parser.space();
    if parser.peek() == Some(b']') {
        return Some(items);
    }
    loop {
        parser.space();
        items.push(parser.raw_value().ok()?.0);
        parser.space();
        match parser.next()? {
            b',' => {}
            _ => return Some(items),
        }
    }
}

/// The open containers around a position, one bit each (set = object); beyond 64, in a list.
#[derive(Default)]
struct Open {
    bits: u64,
    outer: Vec<u64>,
    depth: usize,
}

impl Open {
    fn push(&mut self, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.bits);
        }
        self.bits = self.bits << 1 | u64::from(object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.bits >>= 1;
        self.depth = self.depth.saturating_sub(1);
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.bits = self.outer.pop().unwrap_or_default();
        }
    }

    /// Whether the innermost one is an object; `None` = none is open.
    fn innermost(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.bits & 1 == 1)
    }
}

/// Room for the members of a small object, and for those that a store adds, in one allocation.
const MEMBERS_EXPECTED: usize = 8;

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0 }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), ParseError> {
        if self.next() == Some(byte) { Ok(()) } else { Err(ParseError::Syntax) }
    }

    #[inline]
    fn space(&mut self) {
        // Messages are mostly compact.
        if self.peek().is_some_and(|byte| byte <= b' ') {
            self.skip_space();
        }
    }

    #[cold]
    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    #[inline]
    fn slice(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or_default()
    }

    /// Validates the value that begins here and gives it with its nesting depth (0 for a scalar).
    #[inline]
    fn raw_value(&mut self) -> Result<(Raw<'a>, usize), ParseError> {
        let start = self.at;
        let (mut escaped, mut depth) = (false, 0);
        match self.peek().ok_or(ParseError::Syntax)? {
            b'"' => escaped = self.skip_string()?,
            b'{' | b'[' => depth = self.skip_container()?,
            _ => self.skip_scalar()?,
        }
        Ok((Raw { text: self.slice(start, self.at), escaped }, depth))
    }

    /// Validates an array or object without recursion.
    fn skip_container(&mut self) -> Result<usize, ParseError> {
        let mut open = Open::default();
        let mut depth = 0;
        loop {
            self.space();
            match self.peek().ok_or(ParseError::Syntax)? {
                b'{' => {
                    self.at += 1;
                    open.push(true);
                    depth = depth.max(open.depth);
                    self.space();
                    if self.peek() != Some(b'}') {
                        self.member_name()?;
                        continue;
                    }
                    self.at += 1;
                    open.pop();
                }
                b'[' => {
                    self.at += 1;
                    open.push(false);
                    depth = depth.max(open.depth);
                    self.space();
                    if self.peek() != Some(b']') {
                        continue;
                    }
                    self.at += 1;
                    open.pop();
                }
                b'"' => {
                    self.skip_string()?;
                }
                _ => self.skip_scalar()?,
            }
            // A value has ended: go on in the container around it, closing those that end here.
            loop {
                let Some(in_object) = open.innermost() else { return Ok(depth) };
                self.space();
                match (self.next(), in_object) {
                    (Some(b','), true) => {
                        self.member_name()?;
                        break;
                    }
                    (Some(b','), false) => break,
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        open.pop();
                    }
                    _ => return Err(ParseError::Syntax),
                }
            }
        }
    }

    fn member_name(&mut self) -> Result<(), ParseError> {
        self.space();
        self.skip_string()?;
        self.space();
        self.expect(b':')
    }

    fn skip_scalar(&mut self) -> Result<(), ParseError> {
        let word = match self.peek() {
            Some(b't') => "true",
            Some(b'f') => "false",
            Some(b'n') => "null",
            _ => return self.skip_number().map(|_| ()),
        };
        if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            Ok(())
        } else {
            Err(ParseError::Syntax)
        }
    }

    fn digits(&mut self) -> Result<(), ParseError> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(ParseError::Syntax) } else { Ok(()) }
    }

    /// Validates a number; true = a plain integer.
    fn skip_number(&mut self) -> Result<bool, ParseError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        let mut integer = true;
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
            integer = false;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
            integer = false;
        }
        Ok(integer)
    }

    fn number(&mut self) -> Result<f64, ParseError> {
        let start = self.at;
        let integer = self.skip_number()?;
        let text = self.slice(start, self.at);
        if integer && text.len() <= 15 {
            // At most 15 digits fit a double exactly. The sign comes last, so that "-0" stays negative zero.
            let digits = text.bytes().filter(u8::is_ascii_digit);
            let magnitude = digits.fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
            #[expect(clippy::cast_precision_loss, reason = "at most 15 digits")]
            let magnitude = magnitude as f64;
            return Ok(if text.starts_with('-') { -magnitude } else { magnitude });
        }
        text.parse().map_err(|_| ParseError::Syntax)
    }

    /// Validates a string and tells whether it holds escapes.
    #[inline]
    fn skip_string(&mut self) -> Result<bool, ParseError> {
        let (quote, rest) =
            self.bytes.get(self.at..).and_then(<[u8]>::split_first).ok_or(ParseError::Syntax)?;
        if *quote != b'"' {
            return Err(ParseError::Syntax);
        }
        let plain = plain_len(rest);
        self.at += plain + 1;
        if rest.get(plain) == Some(&b'"') {
            self.at += 1;
            return Ok(false);
        }
        self.skip_escaped_string()
    }

    /// Goes on from the first byte that is not plain.
    #[cold]
    fn skip_escaped_string(&mut self) -> Result<bool, ParseError> {
        let mut escaped = false;
        loop {
            self.at += plain_len(self.bytes.get(self.at..).unwrap_or_default());
            match self.next().ok_or(ParseError::Syntax)? {
                b'"' => return Ok(escaped),
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(ParseError::Syntax),
            }
        }
    }

    /// Reads what follows a backslash.
    fn escape(&mut self) -> Result<char, ParseError> {
        Ok(match self.next().ok_or(ParseError::Syntax)? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{C}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.hex4()?;
                let code = match unit {
                    0xD800..=0xDBFF => {
                        self.expect(b'\\')?;
                        self.expect(b'u')?;
                        let low = self.hex4()?;
                        if !(0xDC00..=0xDFFF).contains(&low) {
                            return Err(ParseError::Syntax);
                        }
                        0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
                    }
                    other => other,
                };
                char::from_u32(code).ok_or(ParseError::Syntax)?
            }
            _ => return Err(ParseError::Syntax),
        })
    }

    fn hex4(&mut self) -> Result<u32, ParseError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.next().and_then(|b| char::from(b).to_digit(16)).ok_or(ParseError::Syntax)?;
            code = code << 4 | digit;
        }
        Ok(code)
    }

    #[inline]
    fn string(&mut self) -> Result<Cow<'a, str>, ParseError> {
        let start = self.at + 1;
        if self.skip_string()? {
            return self.unescaped(start, self.at - 1).map(Cow::Owned);
        }
        Ok(Cow::Borrowed(self.slice(start, self.at - 1)))
    }

    /// Reads the string between two valid quotes, which holds escapes.
    #[cold]
    fn unescaped(&mut self, start: usize, end: usize) -> Result<String, ParseError> {
        self.at = start;
        let mut out = String::with_capacity(end - start);
        while self.at < end {
            let from = self.at;
            while self.at < end && self.peek() != Some(b'\\') {
                self.at += 1;
            }
            out.push_str(self.slice(from, self.at));
            if self.at < end {
                self.at += 1;
                out.push(self.escape()?);
            }
        }
        self.at = end + 1;
        Ok(out)
    }

    /// Builds one value; `depth_left` bounds the recursion.
    fn value(&mut self, depth_left: usize) -> Result<Value, ParseError> {
        self.space();
        match self.peek().ok_or(ParseError::Syntax)? {
            b'{' => self.object(depth_left.checked_sub(1).ok_or(ParseError::TooDeep)?).map(Value::from),
            b'[' => self.array(depth_left.checked_sub(1).ok_or(ParseError::TooDeep)?),
            b'"' => Ok(Value::String(match self.string()? {
                Cow::Borrowed(text) => CompactString::new(text),
                Cow::Owned(text) => text.into(),
            })),
            b't' => self.skip_scalar().map(|()| Value::Bool(true)),
            b'f' => self.skip_scalar().map(|()| Value::Bool(false)),
            b'n' => self.skip_scalar().map(|()| Value::Null),
            _ => self.number().map(Value::Number),
        }
    }

    fn array(&mut self, depth_left: usize) -> Result<Value, ParseError> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::from(items));
        }
        loop {
            items.push(self.value(depth_left)?);
            self.space();
            match self.next() {
                Some(b',') => {}
                Some(b']') => return Ok(Value::from(items)),
                _ => return Err(ParseError::Syntax),
            }
        }
    }

    fn object(&mut self, depth_left: usize) -> Result<Object, ParseError> {
        self.at += 1;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Object::new());
        }
        let mut members = Vec::with_capacity(MEMBERS_EXPECTED);
        loop {
            self.space();
            let name = match self.string()? {
                Cow::Borrowed(name) => CompactString::new(name),
                Cow::Owned(name) => name.into(),
            };
            self.space();
            self.expect(b':')?;
            members.push((name, self.value(depth_left)?));
            self.space();
            match self.next() {
                Some(b',') => {}
                Some(b'}') => return Ok(Object::from(members)),
                _ => return Err(ParseError::Syntax),
            }
        }
    }
}

/// Counts the bytes up to the first quote, backslash or control character, many at a time.
#[inline]
pub(crate) fn plain_len(bytes: &[u8]) -> usize {
    // Most texts end within the first eight bytes.
    match bytes.first_chunk().map(|first| specials(u64::from_le_bytes(*first))) {
        Some(0) => longer_plain_len(bytes),
        Some(found) => (found.trailing_zeros() / 8) as usize,
        None => shorter_plain_len(bytes),
    }
}

/// As [`plain_len`], for at least eight bytes.
fn longer_plain_len(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    // Without a branch per byte, so that the compiler uses vectors.
    let any_special = |chunk: &[u8; 32]| chunk.iter().fold(false, |any, byte| any | is_special(*byte));
    while let Some((_, behind)) = rest.split_first_chunk().filter(|(chunk, _)| !any_special(chunk)) {
        rest = behind;
    }
    while let Some((chunk, behind)) = rest.split_first_chunk() {
        let found = specials(u64::from_le_bytes(*chunk));
        if found != 0 {
            return bytes.len() - rest.len() + (found.trailing_zeros() / 8) as usize;
        }
        rest = behind;
    }
    // The last eight, some of them once more: those are plain, so the first that is not is among the rest.
    let found = bytes.last_chunk().map_or(0, |last| specials(u64::from_le_bytes(*last)));
    bytes.len() - 8 + (found.trailing_zeros() / 8) as usize
}

/// As [`plain_len`], for less than eight bytes.
fn shorter_plain_len(bytes: &[u8]) -> usize {
    let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) else {
        return bytes.iter().position(|byte| is_special(*byte)).unwrap_or(bytes.len());
    };
    // Two halves that overlap.
    let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
    match (specials(u64::from(first) | u64::from(last) << 32).trailing_zeros() / 8) as usize {
        at @ 0..4 => at,
        at => bytes.len() + at - 8,
    }
}

#[inline]
fn is_special(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// Marks the first byte of eight that is a quote, backslash or control character by its top bit; later marks mean
/// nothing. The least byte of `word - limit` that borrows has its top bit set, and none below it has (the well-known
/// test for a zero or small byte in a word).
#[inline]
fn specials(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const TOPS: u64 = ONES << 7;
    const SPACES: u64 = ONES * 0x20;
    const QUOTES: u64 = ONES * 0x22;
    const BACKSLASHES: u64 = ONES * 0x5C;
    let below = |word: u64, limit: u64| word.wrapping_sub(limit) & !word & TOPS;
    below(word, SPACES) | below(word ^ QUOTES, ONES) | below(word ^ BACKSLASHES, ONES)
}

#[cfg(test)]
mod tests;
