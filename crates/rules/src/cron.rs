//! Cron expressions: when a repeating timer fires next, in UTC.
//!
//! Five fields (minute, hour, day of month, month, day of week), optionally with a leading one for seconds; each is `*`
//! or a list of numbers, ranges and steps; English abbreviations of months and weekdays; 7 is Sunday too. When both
//! day fields are restricted, a day matches that satisfies one of them.
//! Invariant: an accepted expression fires within nine years of any time.
//! Source: the rules specification, section 2.13.

#[cfg(test)]
mod tests;

use noex_json::CompactString;
use std::fmt;

/// Why a text is no cron expression.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CronError {
    /// Not of the grammar, or a number is out of range.
    Syntax,
    /// The days never occur, such as the 30th of February.
    NoSuchDay,
}

impl fmt::Display for CronError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "not a cron expression",
            Self::NoSuchDay => "there is no such day",
        })
    }
}

impl std::error::Error for CronError {}

/// A compiled cron expression. Each field is a set of bits.
#[derive(Clone, Debug)]
pub struct Cron {
    text: CompactString,
    seconds: u64,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether the day of month, and the day of week, are restricted.
    restricted: (bool, bool),
}

/// Smallest and largest number of a field, and its names, which count from the smallest number.
struct Field {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

impl Cron {
    /// Parses an expression of five fields, or six with leading seconds.
    ///
    /// # Errors
    ///
    /// If the text is not of the grammar, or could never fire.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let fields: Vec<&str> = text.split_ascii_whitespace().take(7).collect();
        let (seconds, fields) = match fields.as_slice() {
            [_, _, _, _, _] => ("0", fields.as_slice()),
            [seconds, rest @ ..] if rest.len() == 5 => (*seconds, rest),
            _ => return Err(CronError::Syntax),
        };
        let [minutes, hours, days, months, weekdays] = *fields else { return Err(CronError::Syntax) };
        let mut cron = Self {
            text: text.into(),
            seconds: SIXTY.parse(seconds)?,
            minutes: SIXTY.parse(minutes)?,
            hours: HOURS.parse(hours)?,
            days: DAYS.parse(days)?,
            months: MONTHS.parse(months)?,
            weekdays: WEEKDAYS.parse(weekdays)?,
            restricted: (days != "*", weekdays != "*"),
        };
        cron.weekdays |= cron.weekdays >> 7 & 1;
        if cron.is_possible() { Ok(cron) } else { Err(CronError::NoSuchDay) }
    }

    /// Gives the expression as written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Finds the first firing strictly after a time, both in milliseconds since the epoch. `None` only where times
    /// overflow.
    #[must_use]
    pub fn next_after(&self, unix_ms: u64) -> Option<u64> {
        let second = (unix_ms / 1000).checked_add(1)?;
        let first_day = second / DAY_SECONDS;
        for day in first_day..=first_day.checked_add(DAYS_MAX)? {
            if !self.fires_on(day) {
                continue;
            }
            let from = if day == first_day { second % DAY_SECONDS } else { 0 };
            if let Some(time) = self.time_from(from) {
                return day.checked_mul(DAY_SECONDS)?.checked_add(time)?.checked_mul(1000);
            }
        }
        None
    }

    /// Tells whether a month of the expression has a day of it. Weekdays occur in every month.
    fn is_possible(&self) -> bool {
        let only_by_date = self.restricted.0 && !self.restricted.1;
        !only_by_date
            || (1..=12_u32)
                .zip(LONGEST_MONTHS)
                .any(|(month, length)| has(self.months, month) && (1..=length).any(|day| has(self.days, day)))
    }

    /// Tells whether a day, counted from the epoch, is one of the expression.
    fn fires_on(&self, day: u64) -> bool {
        let (month, day_of_month) = month_and_day(day);
        // The epoch was a Thursday.
        let weekday = u32::try_from((day + 4) % 7).unwrap_or(0);
        let (by_date, by_weekday) = (has(self.days, day_of_month), has(self.weekdays, weekday));
        let day_matches =
            if self.restricted == (true, true) { by_date || by_weekday } else { by_date && by_weekday };
        day_matches && has(self.months, month)
    }

    /// Finds the first second of a day that is not before `from`.
    fn time_from(&self, from: u64) -> Option<u64> {
        let (hour, minute, second) = (from / 3600, from / 60 % 60, from % 60);
        let time = |hour: u64, minute: u64, second: u64| hour * 3600 + minute * 60 + second;
        let first = |set: u64| u64::from(set.trailing_zeros());
        if holds(self.hours, hour) {
            if holds(self.minutes, minute)
                && let Some(second) = at_or_after(self.seconds, second)
            {
                return Some(time(hour, minute, second));
            }
            if let Some(minute) = at_or_after(self.minutes, minute + 1) {
                return Some(time(hour, minute, first(self.seconds)));
            }
        }
        let hour = at_or_after(self.hours, hour + 1)?;
        Some(time(hour, first(self.minutes), first(self.seconds)))
    }
}

impl Field {
    /// Parses a list of ranges and steps to a set of bits.
    fn parse(&self, text: &str) -> Result<u64, CronError> {
        text.split(',').try_fold(0, |set, part| Ok(set | self.part(part).ok_or(CronError::Syntax)?))
    }

    fn part(&self, text: &str) -> Option<u64> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(number(step).filter(|step| *step > 0)?)),
            None => (text, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.min, self.max.min(self.star_max())),
            Some((first, last)) => (self.number(first)?, self.last(last)?),
            None => {
                let first = self.number(range)?;
                (first, if step.is_some() { self.star_max() } else { first })
            }
        };
        if first > last {
            return None;
        }
        let step = usize::try_from(step.unwrap_or(1)).ok()?;
        Some((first..=last).step_by(step).fold(0, |set, number| set | 1 << number))
    }

    /// The largest number that `*` stands for: a week has no second Sunday.
    fn star_max(&self) -> u32 {
        if self.max == 7 { 6 } else { self.max }
    }

    /// Reads the end of a range, where Sunday comes after Saturday.
    fn last(&self, text: &str) -> Option<u32> {
        let last = self.number(text)?;
        Some(if self.max == 7 && last == 0 && number(text).is_none() { 7 } else { last })
    }

    fn number(&self, text: &str) -> Option<u32> {
        if let Some(number) = number(text) {
            return (self.min..=self.max).contains(&number).then_some(number);
        }
        let at = self.names.iter().position(|name| name.eq_ignore_ascii_case(text))?;
        Some(self.min + u32::try_from(at).ok()?)
    }
}

/// Reads decimal digits.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn has(set: u64, bit: u32) -> bool {
    holds(set, u64::from(bit))
}

fn holds(set: u64, bit: u64) -> bool {
    bit < 64 && set >> bit & 1 == 1
}

/// Finds the smallest member that is not below `from`, which is at most 60.
fn at_or_after(set: u64, from: u64) -> Option<u64> {
    let rest = set.checked_shr(u32::try_from(from).ok()?)?;
    (rest != 0).then(|| from + u64::from(rest.trailing_zeros()))
}

/// Gives the month and the day of month of a day counted from the epoch.
///
/// Years are taken to begin in March, so that the leap day ends a year; an era has 400 years.
fn month_and_day(day: u64) -> (u32, u32) {
    let day_of_era = (day + EPOCH_DAY_OF_ERA) % ERA_DAYS;
    let year_of_era =
        (day_of_era - day_of_era / (4 * 365) + day_of_era / 36_524 - day_of_era / (ERA_DAYS - 1)) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Five months from March on have 153 days, again and again.
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (u32::try_from(month).unwrap_or(1), u32::try_from(day_of_month).unwrap_or(1))
}

const SIXTY: Field = Field { min: 0, max: 59, names: &[] };
const HOURS: Field = Field { min: 0, max: 23, names: &[] };
const DAYS: Field = Field { min: 1, max: 31, names: &[] };
const MONTHS: Field = Field {
    min: 1,
    max: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
const WEEKDAYS: Field = Field { min: 0, max: 7, names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] };

/// Lengths of the months in a leap year.
const LONGEST_MONTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

const DAY_SECONDS: u64 = 86_400;

/// Most days between two firings: eight years lie between leap days around 2100, and today may be over.
const DAYS_MAX: u64 = 9 * 366;

/// Days of 400 years.
const ERA_DAYS: u64 = 146_097;

/// Days from the 1st of March of the year 0 to the epoch, reduced by whole eras.
const EPOCH_DAY_OF_ERA: u64 = 719_468 % ERA_DAYS;
