//! Tables of patterns with values that match and values that do not.

use serde_json::json;

use super::*;

fn check(pattern: &Value, value: &Value) -> bool {
    differences(pattern, value, &mut Binds::from([("x".to_owned(), json!("known"))])).is_empty()
}

#[test]
fn plain_json_must_be_equal() {
    for (pattern, value, expected) in [
        (json!(null), json!(null), true),
        (json!(1), json!(1.0), true),
        (json!(12_345_678_901_234_567_000_u64), json!(1.234_567_890_123_456_7e19), true),
        (json!(0), json!(false), false),
        (json!(0), json!(null), false),
        (json!("1"), json!(1), false),
        (json!([1, 2]), json!([1, 2.0]), true),
        (json!([1, 2]), json!([2, 1]), false),
        (json!([1, 2]), json!([1]), false),
        (json!([1]), json!([1, 2]), false),
        (json!({}), json!({}), true),
        (json!({}), json!({"a": 1}), false),
        (json!({"a": 1}), json!({}), false),
        (json!({"a": 1, "b": [{"c": null}]}), json!({"b": [{"c": null}], "a": 1}), true),
        (json!({"a": 1, "$any": true}), json!(5), false),
        (json!({"$any": true, "a": 1}), json!({"a": 1.0, "$any": true}), true),
    ] {
        assert_eq!(check(&pattern, &value), expected, "{pattern} {value}");
    }
}

#[test]
fn matchers_accept_what_they_name() {
    let now = now_ms();
    for (pattern, value, expected) in [
        (json!({"$any": true}), json!(null), true),
        (json!({"$type": "number|null"}), json!(null), true),
        (json!({"$type": "number|null"}), json!(1.5), true),
        (json!({"$type": "number|null"}), json!(true), false),
        (json!({"$type": "boolean"}), json!(false), true),
        (json!({"$type": "array"}), json!({}), false),
        (json!({"$uuid": true}), json!("0F8fad5b-d9cb-469f-a165-70867728950e"), true),
        (json!({"$uuid": true}), json!("0f8fad5b-d9cb-469f-a165-70867728950g"), false),
        (json!({"$uuid": true}), json!("0f8fad5bd9cb469fa16570867728950e"), false),
        (json!({"$uuid": true}), json!(7), false),
        (json!({"$timestamp": true}), json!(now), true),
        (json!({"$timestamp": true}), json!(now + 90_000_000), false),
        (json!({"$timestamp": true}), json!(now.to_string()), false),
        (json!({"$number": {"min": 0, "max": 9}}), json!(9), true),
        (json!({"$number": {"min": 0, "max": 9}}), json!(9.5), false),
        (json!({"$number": {"min": 0}}), json!(1e300), true),
        (json!({"$number": {}}), json!("1"), false),
        (json!({"$regex": "^a\\d+$"}), json!("a12"), true),
        (json!({"$regex": "b"}), json!("abc"), true),
        (json!({"$regex": "^b"}), json!("abc"), false),
        (json!({"$regex": "1"}), json!(1), false),
        (json!({"$regex": "("}), json!("("), false),
        (json!({"$ref": "x"}), json!("known"), true),
        (json!({"$ref": "x"}), json!("other"), false),
        (json!({"$ref": "y"}), json!("known"), false),
        (json!({"$template": "<${x}>"}), json!("<known>"), true),
        (json!({"$template": "<${y}>"}), json!("<known>"), false),
        (json!({"$literal": {"$any": true}}), json!({"$any": true}), true),
        (json!({"$literal": {"$any": true}}), json!(1), false),
        (json!({"$type": "string", "$regex": "b"}), json!("abc"), true),
        (json!({"$type": "string", "$regex": "d"}), json!("abc"), false),
    ] {
        assert_eq!(check(&pattern, &value), expected, "{pattern} {value}");
    }
}

#[test]
fn subset_and_absent_or_look_at_some_keys() {
    let optional = json!({"a": 1, "b": {"$absentOr": {"$type": "string"}}});
    for (pattern, value, expected) in [
        (json!({"$subset": {"a": 1}}), json!({"a": 1, "b": 2}), true),
        (json!({"$subset": {"a": 1}}), json!({"b": 2}), false),
        (json!({"$subset": {"a": 1}}), json!([1]), false),
        (json!({"$subset": {}}), json!({"b": 2}), true),
        (json!({"$subset": {"b": {"$absentOr": 2}}}), json!({"a": 1}), true),
        (optional.clone(), json!({"a": 1}), true),
        (optional.clone(), json!({"a": 1, "b": "x"}), true),
        (optional, json!({"a": 1, "b": null}), false),
    ] {
        assert_eq!(check(&pattern, &value), expected, "{pattern} {value}");
    }
}

#[test]
fn unordered_finds_the_one_to_one_matching() {
    let any_then_one = json!({"$unordered": [{"$any": true}, 1]});
    for (pattern, value, expected) in [
        (json!({"$unordered": [1, 2, 2]}), json!([2, 1, 2]), true),
        (json!({"$unordered": [1, 2, 2]}), json!([2, 1, 1]), false),
        (json!({"$unordered": [1]}), json!([1, 1]), false),
        (json!({"$unordered": []}), json!([]), true),
        (json!({"$unordered": [1]}), json!({"0": 1}), false),
        (any_then_one.clone(), json!([1, 5]), true),
        (any_then_one, json!([5, 6]), false),
        (
            json!({"$unordered": [{"a": {"$bind": "k"}}, {"b": {"$ref": "k"}}]}),
            json!([{"b": 2}, {"a": 2}]),
            true,
        ),
        (
            json!({"$unordered": [{"a": {"$bind": "k"}}, {"b": {"$ref": "k"}}]}),
            json!([{"b": 2}, {"a": 3}]),
            false,
        ),
    ] {
        assert_eq!(check(&pattern, &value), expected, "{pattern} {value}");
    }
}

#[test]
fn bind_remembers_the_first_value_and_demands_it_afterwards() {
    let mut binds = Binds::new();
    let pattern = json!([{"$bind": "id", "$type": "string"}, {"$bind": "id"}]);
    assert_eq!(differences(&pattern, &json!(["a", "a"]), &mut binds), [] as [&str; 0]);
    assert_eq!(binds.get("id"), Some(&json!("a")));
    assert_eq!(
        differences(&pattern, &json!(["a", "b"]), &mut binds),
        ["$[1] (bound as id): value: expected \"a\", got \"b\""]
    );
}

#[test]
fn differences_name_the_place() {
    let pattern = json!({"id": 1, "data": {"a": [1, {"b": {"$type": "string"}}]}, "gone": {"$any": true}});
    let value = json!({"id": 2, "data": {"a": [1, {"b": 3}], "more": true}});
    assert_eq!(
        differences(&pattern, &value, &mut Binds::new()),
        [
            "$.id: expected 1, got 2",
            "$.data.a[1].b: expected a value of type string, got 3",
            "$.data.more: unexpected, got true",
            "$.gone: missing, expected {\"$any\":true}",
        ]
    );
    assert_eq!(
        differences(&json!({"$unordered": [1, 2]}), &json!([1, 3]), &mut Binds::new()),
        ["$: nothing matches element 1 2; closest: ", "$<1>: expected 2, got 1"]
    );
}
