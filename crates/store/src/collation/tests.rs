use super::*;

fn key(text: &str) -> CollationKey {
    CollationKey::new(&Value::from(text))
}

#[test]
fn texts_follow_the_root_collation() {
    let order = [
        "", "_x", "-", "😀", "10", "9", "a", "A", "á", "a b", "a-b", "ab", "b", "B", "ch", "e", "E", "é",
        "o", "ö", "z", "Z",
    ];
    for pair in order.windows(2) {
        let [left, right] = pair else { continue };
        assert!(key(left) < key(right), "{left:?} < {right:?}");
    }
}

#[test]
fn numbers_come_first_and_by_value() {
    let numbers =
        [f64::NEG_INFINITY, -1e300, -10.0, -1.0, -5e-324, 0.0, 5e-324, 2.5, 9.0, 10.0, 100.0, f64::INFINITY];
    for pair in numbers.windows(2) {
        let [left, right] = pair else { continue };
        assert!(CollationKey::new(&(*left).into()) < CollationKey::new(&(*right).into()), "{left} < {right}");
    }
    assert_eq!(CollationKey::new(&(-0.0).into()), CollationKey::new(&0.0.into()));
    assert!(CollationKey::new(&f64::INFINITY.into()) < key(""));
}

#[test]
fn other_types_go_by_their_text() {
    assert_eq!(CollationKey::new(&true.into()), key("true"));
    assert_eq!(CollationKey::new(&vec![1.0.into(), "x".into()].into()), key("1,x"));
}
