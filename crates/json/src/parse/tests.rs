use super::*;
use alloc::{format, string::ToString};
use proptest::prelude::*;

#[test]
fn rejects_what_is_not_rfc_8259() {
    for text in [
        "",
        " ",
        "x",
        "{",
        "}",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "+1",
        "\"",
        "\"\\x\"",
        "\"\t\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "nul",
        "truefalse",
        "1 2",
        "[1 2]",
        "{\"a\" 1}",
        "{\"a\":}",
        "\u{FEFF}1",
        "'a'",
        "[,1]",
        "{,}",
        "[1}",
        "{\"a\":1]",
        "NaN",
        "Infinity",
        "\"\\u00g0\"",
    ] {
        assert_eq!(scan(text, 9), Err(ParseError::Syntax), "{text:?}");
        assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text:?}");
    }
}

#[test]
fn depth_is_counted_and_a_syntax_error_wins() {
    assert_eq!(scan("[[[]]]", 2), Err(ParseError::TooDeep));
    assert!(scan("[[[]]]", 3).is_ok());
    assert_eq!(scan_object("{\"a\":[[]]}", 2, |_| ()), Err(ParseError::TooDeep));
    assert!(scan_object("{\"a\":[[]]}", 3, |_| ()).is_ok());
    let deep = "[".repeat(1_000_000);
    assert_eq!(scan(&deep, 128), Err(ParseError::Syntax));
    let closed = format!("{deep}{}", "]".repeat(1_000_000));
    assert_eq!(scan(&closed, 128), Err(ParseError::TooDeep));
    // Which container is open is known at any depth: around the 64 that fit a word, too.
    for depth in [63, 64, 65, 127, 128, 129, 300] {
        let text = format!("{}1{}", "{\"a\":[".repeat(depth), "]}".repeat(depth));
        assert!(scan(&text, 2 * depth).is_ok(), "{depth}");
        for wrong in ["]]", "}}"] {
            let text = format!("{}1{}{wrong}", "{\"a\":[".repeat(depth), "]}".repeat(depth - 1));
            assert_eq!(scan(&text, 2 * depth), Err(ParseError::Syntax), "{depth} {wrong}");
        }
    }
}

#[test]
fn object_members_are_listed_raw() {
    let mut members = Vec::new();
    scan_object(" { \"a\\u0062\" : [1, {\"x\":2}] , \"n\":null,\"n\":-1.5e2 } ", 9, |m| members.push(m))
        .expect("valid");
    let listed: Vec<_> = members.iter().map(|(n, r)| (n.as_ref(), r.text())).collect();
    assert_eq!(listed, [("ab", "[1, {\"x\":2}]"), ("n", "null"), ("n", "-1.5e2")]);
    assert_eq!(members[2].1.as_number(), Some(-150.0));
    assert_eq!(scan_object("[]", 9, |_| ()), Err(ParseError::WrongType));
    assert_eq!(scan_object("[", 9, |_| ()), Err(ParseError::Syntax));
    let items: Vec<_> = scan_array(scan("[1, [2,3] ,\"a,b\"]", 2).expect("valid"))
        .expect("array")
        .iter()
        .map(|r| r.text())
        .collect();
    assert_eq!(items, ["1", "[2,3]", "\"a,b\""]);
}

#[test]
fn numbers_overflow_to_infinity_and_keep_negative_zero() {
    assert_eq!(parse("1e400", 1).expect("valid").as_number(), Some(f64::INFINITY));
    assert!(parse("-0", 1).expect("valid").as_number().is_some_and(|n| n == 0.0 && n.is_sign_negative()));
    assert_eq!(parse("123456789012345678901", 1).expect("valid").to_json(), "123456789012345680000");
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Into::into),
        (-1000..1000_i32).prop_map(Into::into),
        "\\PC{0,8}".prop_map(Into::into),
        "[\\x00-\\x20\"\\\\]{0,4}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::vec(("[a-c]{1,2}|[0-9]{1,2}|\\PC{0,3}", inner), 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    /// The same texts are accepted as by an independent parser, and the values survive a round trip.
    #[test]
    fn agrees_with_serde_json(document in json()) {
        let text = document.to_string();
        let value = parse(&text, 64).expect("serde_json wrote it");
        let again: serde_json::Value = serde_json::from_str(&value.to_json()).expect("we wrote it");
        prop_assert_eq!(value.to_json(), parse(&again.to_string(), 64).expect("valid").to_json());
        prop_assert!(crate::deep_equal(&value, &parse(&again.to_string(), 64).expect("valid")));
    }

    /// Damaged texts: accepted or refused as by an independent parser (but for overflow, which we take, and lone
    /// surrogates, which both refuse).
    #[test]
    fn damage_is_judged_as_by_serde_json(document in json(), at in any::<prop::sample::Index>(), with in "[\\[\\]{}\",:0-9eE.+\\-a-z ]") {
        let mut chars: Vec<char> = document.to_string().chars().collect();
        let at = at.index(chars.len());
        chars[at] = with.chars().next().expect("one character");
        let text: String = chars.into_iter().collect();
        match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(_) => prop_assert!(scan(&text, 64).is_ok(), "{text}"),
            Err(error) if error.to_string().contains("out of range") => {}
            Err(_) => prop_assert_eq!(scan(&text, 64), Err(ParseError::Syntax), "{}", text),
        }
    }

    /// The search by words finds what a search by bytes finds.
    #[test]
    fn plain_bytes_are_counted(bytes in prop::collection::vec(prop_oneof![0x1E..0x26_u8, 0x58..0x60_u8, any::<u8>()], 0..40)) {
        let special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
        prop_assert_eq!(plain_len(&bytes), bytes.iter().position(special).unwrap_or(bytes.len()));
    }

    #[test]
    fn never_panics(text in "[\\[\\]{}\",:0-9eE.+\\\\u\\-a-fn ]{0,40}") {
        let scanned = scan_object(&text, 8, |_| ()).is_ok();
        if let Ok(raw) = scan(&text, 8) {
            prop_assert_eq!(raw.is_object(), scanned);
            let _ = raw.to_value();
        }
    }
}
