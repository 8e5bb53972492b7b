//! Tests of templates, substitutions and cut texts.

use serde_json::json;

use super::*;

fn binds() -> Binds {
    Binds::from([("x".to_owned(), json!("ab")), ("n".to_owned(), json!({"k": 1}))])
}

#[test]
fn templates_take_texts_as_they_are_and_others_as_json() {
    for (template, expected) in [
        ("plain", Ok("plain")),
        ("user:${x}", Ok("user:ab")),
        ("${x}${x}/${n}", Ok("abab/{\"k\":1}")),
        ("$x ${} ${x ${a-b}", Ok("$x ${} ${x ${a-b}")),
        ("ü${x}ü", Ok("üabü")),
        ("${y}", Err("${y} is not bound yet")),
    ] {
        let got = fill_template(template, &binds());
        assert_eq!(got, expected.map(str::to_owned).map_err(str::to_owned), "{template}");
    }
}

#[test]
fn substitutions_reach_into_nested_values_and_leave_operators_alone() {
    for (value, expected) in [
        (json!({"a": [{"$ref": "x"}]}), json!({"a": ["ab"]})),
        (json!({"$template": "<${x}>"}), json!("<ab>")),
        (json!({"$repeat": ["ab", 3]}), json!("ababab")),
        (json!({"$literal": {"$ref": "x"}}), json!({"$ref": "x"})),
        (json!({"age": {"$gte": 18}}), json!({"age": {"$gte": 18}})),
        (json!({"$ref": "x", "other": 1}), json!({"$ref": "x", "other": 1})),
        (json!({}), json!({})),
    ] {
        assert_eq!(substitute(&value, &binds()), Ok(expected), "{value}");
    }
    assert!(substitute(&json!([{"$ref": "y"}]), &binds()).is_err());
}

#[test]
fn now_is_the_wall_clock_plus_an_offset() {
    let got = substitute(&json!({"$now": -1000}), &Binds::new()).unwrap();
    assert!((got.as_i64().unwrap() + 1000 - now_ms()).abs() < 10_000);
}

#[test]
fn doubles_keep_their_bits() {
    for text in ["0.1", "2.675", "1e-7", "5e-324", "1.7976931348623157e308", "0.30000000000000004", "1e23"] {
        let value: Value = serde_json::from_str(text).unwrap();
        let bits = text.parse::<f64>().unwrap().to_bits();
        assert_eq!(value.as_f64().unwrap().to_bits(), bits, "{text}");
        assert_eq!(js(&value).parse::<f64>().unwrap().to_bits(), bits, "{text}");
    }
}

#[test]
fn cut_counts_characters() {
    assert_eq!(cut("äöü".to_owned(), 3), "äöü");
    assert_eq!(cut("äöü".to_owned(), 2), "äö…(3 chars)");
}
