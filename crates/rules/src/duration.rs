//! Durations: decimal digits with a unit, digits alone, or a number of milliseconds.
//!
//! Source: the rules specification, section 1.3, decision D12.

#[cfg(test)]
mod tests;

use noex_json::Value;

/// Longest duration: the span from the epoch to the last time that ECMAScript's dates know. Longer ones count as this,
/// so that sums of a time and a duration never overflow.
pub const DURATION_MAX_MS: u64 = 8_640_000_000_000_000;

/// Reads a duration in milliseconds; `None` if it is none. Fractions of a millisecond round up, so that what is
/// positive stays so.
#[must_use]
pub fn duration_ms(value: &Value) -> Option<u64> {
    if let Some(text) = value.as_str() {
        return text_ms(text);
    }
    let number = value.as_number()?;
    if number.is_nan() || number < 0.0 {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive; larger ones saturate"
    )]
    let whole = number.ceil() as u64;
    Some(whole.min(DURATION_MAX_MS))
}

fn text_ms(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: u64 = match unit {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => DAY_MS,
        "w" => 7 * DAY_MS,
        "y" => 365 * DAY_MS,
        _ => return None,
    };
    if number.is_empty() {
        return None;
    }
    // Only too many digits can fail.
    let number = number.parse::<u64>().unwrap_or(u64::MAX);
    Some(number.saturating_mul(factor).min(DURATION_MAX_MS))
}

const DAY_MS: u64 = 86_400_000;
