use super::*;

#[test]
fn durations_are_digits_with_one_unit_or_milliseconds() {
    for (text, ms) in [
        ("500ms", 500),
        ("2s", 2_000),
        ("15m", 900_000),
        ("1h", 3_600_000),
        ("7d", 604_800_000),
        ("2w", 1_209_600_000),
        ("1y", 31_536_000_000),
        ("500", 500),
        ("0s", 0),
        ("007s", 7_000),
        ("99999999999999999999999y", DURATION_MAX_MS),
    ] {
        assert_eq!(duration_ms(&text.into()), Some(ms), "{text}");
    }
    for text in ["", "s", "1h30m", "5 min", "5 minutes", " 5s", "5s ", "-5s", "1.5s", "5S", "5x", "٣s", "+5s"]
    {
        assert_eq!(duration_ms(&text.into()), None, "{text}");
    }
    for (number, ms) in [(60_000.0, 60_000), (0.2, 1), (1.5, 2), (0.0, 0), (f64::INFINITY, DURATION_MAX_MS)] {
        assert_eq!(duration_ms(&number.into()), Some(ms), "{number}");
    }
    assert_eq!(duration_ms(&Value::Number(-5.0)), None);
    assert_eq!(duration_ms(&Value::Bool(true)), None);
    assert_eq!(duration_ms(&Value::Null), None);
}
