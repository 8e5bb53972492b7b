//! Compact JSON text.

use crate::{Value, parse::plain_len};
use alloc::string::String;

/// Appends a value in its compact form. Recursion depth is the depth of the value, which parsing bounds.
pub fn write_value(out: &mut String, value: &Value) {
    write(out, value, write_number);
}

/// As [`write_value`], but infinities are written as numbers that are too large, so that they are read back as such. For
/// what is kept; others may not understand it.
pub fn write_kept_value(out: &mut String, value: &Value) {
    write(out, value, |out, number| match number {
        f64::INFINITY => out.push_str("1e999"),
        f64::NEG_INFINITY => out.push_str("-1e999"),
        finite => write_number(out, finite),
    });
}

fn write(out: &mut String, value: &Value, write_number: impl Fn(&mut String, f64) + Copy) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(out, *number),
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(out, item, write_number);
            }
            out.push(']');
        }
        Value::Object(object) => {
            out.push('{');
            for (i, (name, member)) in object.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_string(out, name);
                out.push(':');
                write(out, member, write_number);
            }
            out.push('}');
        }
    }
}

/// Appends a number in ECMAScript's shortest form; `-0` as `0`, what is not finite as `null`.
pub fn write_number(out: &mut String, number: f64) {
    if !number.is_finite() {
        out.push_str("null");
        return;
    }
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "below 2^53 and compared right after")]
        let integer = number as i64;
        #[expect(clippy::cast_precision_loss, clippy::float_cmp, reason = "exact below 2^53")]
        if integer as f64 == number {
            push_integer(out, integer);
            return;
        }
    }
    out.push_str(ryu_js::Buffer::new().format_finite(number));
}

fn push_integer(out: &mut String, integer: i64) {
    let mut digits = [0_u8; 20];
    let mut free = digits.len();
    let mut rest = integer.unsigned_abs();
    // Two digits per division.
    for pair in digits.as_chunks_mut::<2>().0.iter_mut().rev() {
        let two = u8::try_from(rest % 100).unwrap_or(0);
        *pair = [b'0' + two / 10, b'0' + two % 10];
        rest /= 100;
        free -= 2;
        if rest == 0 {
            free += usize::from(two < 10);
            break;
        }
    }
    if integer < 0 {
        out.push('-');
    }
    out.push_str(core::str::from_utf8(digits.get(free..).unwrap_or_default()).unwrap_or_default());
}

/// Appends a quoted string, escaped as `JSON.stringify` does.
pub fn write_string(out: &mut String, text: &str) {
    out.reserve(text.len() + 2);
    out.push('"');
    let mut rest = text;
    loop {
        let plain = plain_len(rest.as_bytes());
        if plain == rest.len() {
            break;
        }
        let (before, special) = rest.split_at_checked(plain).unwrap_or((rest, ""));
        out.push_str(before);
        if let Some(byte) = special.bytes().next() {
            write_escape(out, byte);
        }
        rest = special.get(1..).unwrap_or_default();
    }
    out.push_str(rest);
    out.push('"');
}

fn write_escape(out: &mut String, byte: u8) {
    match byte {
        b'"' => out.push_str("\\\""),
        b'\\' => out.push_str("\\\\"),
        0x08 => out.push_str("\\b"),
        0x09 => out.push_str("\\t"),
        0x0A => out.push_str("\\n"),
        0x0C => out.push_str("\\f"),
        0x0D => out.push_str("\\r"),
        other => {
            const HEX: [char; 16] =
                ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
            out.push_str("\\u00");
            out.push(HEX.get(usize::from(other >> 4)).copied().unwrap_or('0'));
            out.push(HEX.get(usize::from(other & 15)).copied().unwrap_or('0'));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_keeps_infinities() {
        let text = r#"{"a":[1e400,-1e999,null,-0.5],"b":1}"#;
        let value = crate::parse(text, 9).expect("JSON");
        let mut kept = String::new();
        write_kept_value(&mut kept, &value);
        assert_eq!(kept, r#"{"a":[1e999,-1e999,null,-0.5],"b":1}"#);
        assert_eq!((crate::parse(&kept, 9), value.to_kept_json()), (Ok(value.clone()), kept));
        assert_eq!(value.to_json(), r#"{"a":[null,null,null,-0.5],"b":1}"#);
    }

    #[test]
    fn numbers_print_as_ecmascript_does() {
        let table: [(f64, &str); 14] = [
            (1.0, "1"),
            (-0.0, "0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e21, "1e+21"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (1e-7, "1e-7"),
            (0.000_001, "0.000001"),
            (-1.5, "-1.5"),
            (9_007_199_254_740_991.0, "9007199254740991"),
            (-9_007_199_254_740_993.0, "-9007199254740992"),
            (f64::INFINITY, "null"),
            (f64::NAN, "null"),
            (5e-324, "5e-324"),
            (1_700_000_000_000.0, "1700000000000"),
        ];
        for number in [0_i64, 9, 10, 99, 100, 101, 999, 1000, -1, -10, -100, i64::MAX, i64::MIN] {
            let mut out = String::new();
            push_integer(&mut out, number);
            assert_eq!(out, alloc::format!("{number}"));
        }
        for (number, text) in table {
            let mut out = String::new();
            write_number(&mut out, number);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn strings_are_escaped() {
        let mut out = String::new();
        write_string(&mut out, "a\"\\\n\u{1}é\u{7f}😀\u{2028}");
        assert_eq!(out, "\"a\\\"\\\\\\n\\u0001é\u{7f}😀\u{2028}\"");
    }
}
