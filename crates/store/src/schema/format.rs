//! The named text formats: `email`, `url`, `iso-date`.

#[cfg(test)]
mod tests;

/// A named format of texts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    Email,
    Url,
    IsoDate,
}

impl Format {
    pub(super) fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "email" => Self::Email,
            "url" => Self::Url,
            "iso-date" => Self::IsoDate,
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Url => "url",
            Self::IsoDate => "iso-date",
        }
    }

    pub(super) fn accepts(self, text: &str) -> bool {
        match self {
            Self::Email => is_email(text),
            Self::Url => url::Url::parse(text).is_ok(),
            Self::IsoDate => is_iso_date(text).unwrap_or(false),
        }
    }
}

/// Tells whether ECMAScript's `\s` matches a character.
pub(crate) fn is_space(c: char) -> bool {
    (c.is_whitespace() && c != '\u{85}') || c == '\u{FEFF}'
}

/// `x@y.z` with exactly one `@`, no white space, and something on both sides of `@` and of some later dot.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let inner = domain.as_bytes().get(1..domain.len().saturating_sub(1)).unwrap_or_default();
    !local.is_empty() && !domain.contains('@') && inner.contains(&b'.') && !text.chars().any(is_space)
}

/// `YYYY-MM-DD`, optionally `Thh:mm:ss` with a fraction and `Z` or `±hh:mm`. The day must exist, and the instant must
/// fall on the same day in UTC. `None` = the text is too short or has a digit missing.
fn is_iso_date(text: &str) -> Option<bool> {
    let mut rest = Cursor(text.as_bytes());
    let year = rest.number(4)?;
    rest.take(b'-')?;
    let month = rest.number(2)?;
    rest.take(b'-')?;
    let day = rest.number(2)?;
    // Years below 1000 are refused, as older servers do.
    let day_exists = year >= 1000 && (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if rest.0.is_empty() {
        return Some(day_exists);
    }
    rest.take(b'T')?;
    let hour = rest.number(2)?;
    rest.take(b':')?;
    let minute = rest.number(2)?;
    rest.take(b':')?;
    let second = rest.number(2)?;
    if rest.take(b'.').is_some() {
        rest.number(1)?;
        while rest.number(1).is_some() {}
    }
    let offset_minutes = rest.zone()?;
    let minute_of_day = hour * 60 + minute - offset_minutes;
    let time_exists = hour < 24 && minute < 60 && second < 60 && (0..24 * 60).contains(&minute_of_day);
    Some(day_exists && time_exists && rest.0.is_empty())
}

fn days_in(year: i32, month: i32) -> i32 {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        2 => 28 + i32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// What is left of a date text.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix([byte].as_slice())?;
        Some(())
    }

    /// Reads exactly `digits` decimal digits.
    fn number(&mut self, digits: usize) -> Option<i32> {
        let (taken, rest) = self.0.split_at_checked(digits)?;
        let mut value = 0;
        for byte in taken {
            value = value * 10 + i32::from(byte.checked_sub(b'0').filter(|digit| *digit < 10)?);
        }
        self.0 = rest;
        Some(value)
    }

    /// Reads a zone and gives its distance from UTC in minutes; no zone means UTC.
    fn zone(&mut self) -> Option<i32> {
        if self.0.is_empty() || self.take(b'Z').is_some() {
            return Some(0);
        }
        let sign = if self.take(b'-').is_some() { -1 } else { self.take(b'+').map(|()| 1)? };
        let hours = self.number(2)?;
        self.take(b':')?;
        let minutes = self.number(2)?;
        (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
    }
}
