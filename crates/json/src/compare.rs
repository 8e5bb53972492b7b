//! Equality, order and conversion as clients written in JavaScript expect them.
//!
//! Source: the store specification, sections 2.2 to 2.5, which restates ECMAScript's abstract operations for JSON.

use crate::{Value, write::write_number};
use alloc::string::String;
use core::cmp::Ordering;

/// Identity equality (`===`): same type and value for scalars, `-0` equals `0`; two absent values are equal; arrays
/// and objects equal nothing, since a value from a request never has the identity of a stored one.
#[must_use]
pub fn identical(left: Option<&Value>, right: Option<&Value>) -> bool {
    match (left, right) {
        (None, None) | (Some(Value::Null), Some(Value::Null)) => true,
        (Some(Value::Bool(a)), Some(Value::Bool(b))) => a == b,
        (Some(Value::Number(a)), Some(Value::Number(b))) => a == b,
        (Some(Value::String(a)), Some(Value::String(b))) => a == b,
        _ => false,
    }
}

/// Deep equality: scalars as [`identical`] but NaN equals NaN; arrays by element; objects by member set, whatever
/// the order.
#[must_use]
pub fn deep_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a == b || (a.is_nan() && b.is_nan()),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(x, y)| deep_equal(x, y))
        }
        (Value::Object(a), Value::Object(b)) => a == b,
        _ => identical(Some(left), Some(right)),
    }
}

/// Compares by UTF-16 code units, which differs from the byte order of UTF-8 only where a character of the range
/// U+E000 to U+FFFF meets one beyond U+FFFF.
#[must_use]
pub fn utf16_cmp(left: &str, right: &str) -> Ordering {
    let (a, b) = (left.as_bytes(), right.as_bytes());
    match a.iter().zip(b).find(|(x, y)| x != y) {
        None => a.len().cmp(&b.len()),
        // Different lead bytes: 0xF0 and above start a surrogate pair, 0xEE and 0xEF the units above the pairs.
        Some((x, y)) if *x >= 0xF0 && (*y == 0xEE || *y == 0xEF) => Ordering::Less,
        Some((x, y)) if *y >= 0xF0 && (*x == 0xEE || *x == 0xEF) => Ordering::Greater,
        Some((x, y)) => x.cmp(y),
    }
}

/// Counts UTF-16 code units.
#[must_use]
pub fn utf16_len(text: &str) -> usize {
    text.bytes().map(|b| usize::from(b & 0xC0 != 0x80) + usize::from(b >= 0xF0)).sum()
}

/// Outcome of a relational comparison; `None` = incomparable (a NaN is involved).
pub type Comparison = Option<Ordering>;

/// Compares two present values as `<` and `>` of ECMAScript do (arrays and objects become text, mixed types become
/// numbers).
#[must_use]
pub fn relational(left: &Value, right: &Value) -> Comparison {
    if let (Value::Number(a), Value::Number(b)) = (left, right) {
        return a.partial_cmp(b);
    }
    match (primitive_text(left), primitive_text(right)) {
        (Some(a), Some(b)) => Some(utf16_cmp(&a, &b)),
        _ => to_number(left).partial_cmp(&to_number(right)),
    }
}

/// The text of values that compare as text: strings, arrays, objects.
fn primitive_text(value: &Value) -> Option<alloc::borrow::Cow<'_, str>> {
    match value {
        Value::String(text) => Some(alloc::borrow::Cow::Borrowed(text)),
        Value::Array(_) | Value::Object(_) => Some(alloc::borrow::Cow::Owned(text_form(Some(value)))),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// Converts a value to a number as ECMAScript's `Number(x)` does.
#[must_use]
pub fn to_number(value: &Value) -> f64 {
    match value {
        Value::Null => 0.0,
        Value::Bool(flag) => f64::from(u8::from(*flag)),
        Value::Number(number) => *number,
        Value::String(text) => text_to_number(text),
        Value::Array(_) | Value::Object(_) => text_to_number(&text_form(Some(value))),
    }
}

fn text_to_number(text: &str) -> f64 {
    // ECMAScript's white space: Unicode's without NEL, with the byte order mark.
    let text = text.trim_matches(|c: char| (c.is_whitespace() && c != '\u{85}') || c == '\u{FEFF}');
    if text.is_empty() {
        return 0.0;
    }
    let bits = match text.get(..2) {
        Some("0x" | "0X") => 4,
        Some("0o" | "0O") => 3,
        Some("0b" | "0B") => 1,
        _ => return decimal_to_number(text),
    };
    let digits = text.get(2..).unwrap_or_default();
    if digits.is_empty() {
        return f64::NAN;
    }
    digits_to_number(digits, bits).unwrap_or(f64::NAN)
}

/// The double next to a number given by its digits, each of so many bits; `None` if one is no digit. The first bits
/// decide; of the others it only counts whether one is set, so that a tie is none.
fn digits_to_number(digits: &str, bits: u32) -> Option<f64> {
    let (mut first, mut left_out) = (0_u128, 0_u64);
    for digit in digits.chars() {
        let digit = digit.to_digit(1 << bits)?;
        if first.leading_zeros() > 2 * bits {
            first = first << bits | u128::from(digit);
        } else {
            first |= u128::from(digit != 0);
            left_out += u64::from(bits);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "rounds to the next double, as it should")]
    let number = first as f64;
    // Zeros may lead, but then nothing is left out. A power of two changes the exponent only.
    Some(if left_out > 1023 { f64::INFINITY } else { number * f64::from_bits((1023 + left_out) << 52) })
}

fn decimal_to_number(text: &str) -> f64 {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned == "Infinity" {
        return if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    // Rust's parser also takes "inf", "nan" and the like, which are not ECMAScript literals.
    let literal =
        unsigned.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    if literal && unsigned.bytes().next().is_some_and(|b| b.is_ascii_digit() || b == b'.') {
        text.parse().unwrap_or(f64::NAN)
    } else {
        f64::NAN
    }
}

/// The text form `String(x)`: used in messages, group keys and comparison of arrays and objects.
#[must_use]
pub fn text_form(value: Option<&Value>) -> String {
    let mut out = String::new();
    match value {
        None => out.push_str("undefined"),
        Some(Value::Null) => out.push_str("null"),
        Some(value) => append_text_form(&mut out, value),
    }
    out
}

/// As [`text_form`], but nullish elements of arrays give empty text.
fn append_text_form(out: &mut String, value: &Value) {
    match value {
        Value::Null => {}
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) if number.is_nan() => out.push_str("NaN"),
        Value::Number(number) if number.is_infinite() => {
            out.push_str(if *number > 0.0 { "Infinity" } else { "-Infinity" });
        }
        Value::Number(number) => write_number(out, *number),
        Value::String(text) => out.push_str(text),
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                append_text_form(out, item);
            }
        }
        Value::Object(_) => out.push_str("[object Object]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;
    use proptest::prelude::*;

    fn v(text: &str) -> Value {
        parse(text, 64).expect("valid JSON")
    }

    #[test]
    fn literals_with_a_radix_are_rounded_once() {
        for (text, number) in [
            ("0x3b462056a2fb95b7", 4_271_136_853_081_167_287_u64 as f64),
            ("0x20000000000001", 9_007_199_254_740_992.0),
            ("0x20000000000003", 9_007_199_254_740_996.0),
            ("0b100000000000000000000000000000000000000000000000000001", 9_007_199_254_740_992.0),
            ("0b1000000000000000000000000000000000000000000000000000011", 18_014_398_509_481_988.0),
            ("0o777", 511.0),
            ("0xFF", 255.0),
        ] {
            assert_eq!(text_to_number(text), number, "{text}");
        }
        // A tie, and a tie that one far bit breaks.
        let tie = alloc::format!("0x20000000000001{}", "0".repeat(40));
        let above = alloc::format!("0x20000000000001{}1", "0".repeat(39));
        assert_eq!(text_to_number(&tie), 9_007_199_254_740_992.0 * 2_f64.powi(160));
        assert_eq!(text_to_number(&above), 9_007_199_254_740_994.0 * 2_f64.powi(160));
        assert_eq!(text_to_number(&alloc::format!("0x1{}", "0".repeat(255))), 2_f64.powi(1020));
        assert_eq!(text_to_number(&alloc::format!("0x1{}", "0".repeat(256))), f64::INFINITY);
        assert_eq!(text_to_number(&alloc::format!("0x{}", "0".repeat(9999))), 0.0);
        assert!(text_to_number("0x").is_nan() && text_to_number("0b12").is_nan());
    }

    #[test]
    fn conversion_to_numbers() {
        for (text, number) in [
            (r#""""#, 0.0),
            (r#"" 12 ""#, 12.0),
            (r#""0x1F""#, 31.0),
            (r#""0b101""#, 5.0),
            (r#""0o17""#, 15.0),
            (r#""-Infinity""#, f64::NEG_INFINITY),
            (r#""1e3""#, 1000.0),
            (r#"".5""#, 0.5),
            (r#""5.""#, 5.0),
            (r#""+5""#, 5.0),
            ("[]", 0.0),
            ("[7]", 7.0),
            ("true", 1.0),
            ("null", 0.0),
        ] {
            assert_eq!(to_number(&v(text)), number, "{text}");
        }
        for text in [
            r#""-0x1""#,
            r#""inf""#,
            r#""nan""#,
            r#""1_0""#,
            r#""1 2""#,
            r#""0x""#,
            "[1,2]",
            "{}",
            r#"".""#,
            r#""e5""#,
        ] {
            assert!(to_number(&v(text)).is_nan(), "{text}");
        }
    }

    #[test]
    fn relational_follows_ecmascript() {
        use Ordering::{Equal, Greater, Less};
        for (a, b, expected) in [
            ("1", "10", Some(Less)),
            (r#""10""#, "1", Some(Greater)),
            (r#""10""#, r#""9""#, Some(Less)),
            (r#""a""#, "1", None),
            ("true", "1", Some(Equal)),
            ("[1]", "1", Some(Equal)),
            ("[1,2]", r#""1,2""#, Some(Equal)),
            ("{}", r#""[object Object]""#, Some(Equal)),
        ] {
            assert_eq!(relational(&v(a), &v(b)), expected, "{a} {b}");
        }
    }

    #[test]
    fn text_forms() {
        assert_eq!(text_form(Some(&v(r#"[1,[2,null],"x"]"#))), "1,2,,x");
        assert_eq!(text_form(Some(&v("null"))), "null");
        assert_eq!(text_form(None), "undefined");
        assert_eq!(text_form(Some(&v("-0"))), "0");
        assert_eq!(text_form(Some(&v("1e999"))), "Infinity");
        assert_eq!(text_form(Some(&v(r#"{"a":1}"#))), "[object Object]");
    }

    #[test]
    fn deep_equality_ignores_member_order() {
        assert!(deep_equal(&v(r#"{"a":1,"b":[null]}"#), &v(r#"{"b":[null],"a":1.0}"#)));
        assert!(!deep_equal(&v(r#"{"a":null}"#), &v("{}")));
        assert!(!identical(Some(&v("[]")), Some(&v("[]"))));
    }

    proptest! {
        #[test]
        fn utf16_order_and_length_match_the_definition(a in "\\PC{0,6}|[\u{D7FF}\u{E000}\u{FFFF}\u{10000}a]{0,4}", b in "\\PC{0,6}|[\u{D7FF}\u{E000}\u{FFFF}\u{10000}a]{0,4}") {
            prop_assert_eq!(utf16_cmp(&a, &b), a.encode_utf16().cmp(b.encode_utf16()));
            prop_assert_eq!(utf16_len(&a), a.encode_utf16().count());
        }
    }
}
