use super::*;
use crate::table::hashing;
use noex_json::Object;

fn object(text: &str) -> Object {
    let Ok(Value::Object(object)) = noex_json::parse(text, 9) else { panic!("{text}") };
    *object
}

fn router(filters: &[&str]) -> (Router, Vec<Filter>) {
    let mut router = Router::new(hashing(1));
    let filters: Vec<Filter> =
        filters.iter().map(|filter| Filter::compile(&object(filter), false).unwrap()).collect();
    for (at, filter) in filters.iter().enumerate() {
        router.add(ViewId(at as u64), Some(filter));
    }
    (router, filters)
}

fn candidates(router: &Router, old: Option<&str>, new: Option<&str>) -> Vec<u64> {
    let (old, new) = (old.map(object), new.map(object));
    let mut found = Vec::new();
    router.candidates(old.as_ref(), new.as_ref(), &mut found);
    found.into_iter().map(|view| view.0).collect()
}

#[test]
fn a_write_probes_its_values_and_not_all_views() {
    let filters: Vec<String> = (0..1000).map(|room| format!(r#"{{"room":{room}}}"#)).collect();
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    let (router, _) = router(&filters);
    assert_eq!(router.signatures.len(), 1);
    assert_eq!(candidates(&router, None, Some(r#"{"room":7}"#)), [7]);
    assert_eq!(candidates(&router, Some(r#"{"room":7}"#), Some(r#"{"room":9}"#)), [7, 9]);
    assert_eq!(candidates(&router, Some(r#"{"room":7}"#), Some(r#"{"room":7,"x":1}"#)), [7]);
    for nobody in [r#"{"room":"7"}"#, r#"{"room":[7]}"#, r#"{"room":null}"#, "{}"] {
        assert_eq!(candidates(&router, None, Some(nobody)), [0_u64; 0]);
    }
}

#[test]
fn sets_combine_and_the_rest_sees_everything() {
    let (router, _) = router(&[
        r#"{"a":{"$in":[1,2]},"b":{"$in":["x","y"]}}"#,
        r#"{"a":1,"b":"x","c":true,"d":null}"#,
        r#"{"a":{"$in":[1,2,3,4,5]}}"#,
        r#"{"a":{"$gt":1}}"#,
        r#"{"a":[1]}"#,
        "{}",
    ]);
    assert_eq!(candidates(&router, None, Some(r#"{"a":2,"b":"y"}"#)), [0, 2, 3, 5]);
    assert_eq!(candidates(&router, None, Some(r#"{"a":2,"b":"z"}"#)), [2, 3, 5]);
    let found = candidates(&router, None, Some(r#"{"a":1,"b":"x","c":true,"d":null}"#));
    assert!(found.contains(&0) && found.contains(&1));
}

#[test]
fn a_router_forgets_what_is_removed() {
    let filters = [r#"{"a":1}"#, r#"{"a":{"$in":[1,2]}}"#, r#"{"b":1}"#, "{}", r#"{"a":[]}"#];
    let (mut router, filters) = router(&filters);
    for (at, filter) in filters.iter().enumerate() {
        router.remove(ViewId(at as u64), Some(filter));
    }
    assert!(router.signatures.is_empty() && router.residual.is_empty() && router.members.is_empty());
}

#[test]
fn ranges_and_prefixes_are_found_by_value() {
    let (router, _) = router(&[
        r#"{"a":{"$gt":1}}"#,
        r#"{"a":{"$gte":5,"$lt":9}}"#,
        r#"{"a":{"$between":["b","d"]}}"#,
        r#"{"a":{"$startsWith":"ab"}}"#,
        r#"{"a":{"$lte":"10"}}"#,
        r#"{"a":{"$gt":9,"$lt":5}}"#,
        r#"{"a":{"$gt":[7]}}"#,
    ]);
    assert!(router.residual.is_empty());
    for (record, expected) in [
        (r#"{"a":3}"#, vec![0, 4]),
        (r#"{"a":6}"#, vec![0, 1, 4]),
        // Numbers compare with numeric texts and lists.
        (r#"{"a":8}"#, vec![0, 1, 4, 6]),
        (r#"{"a":true}"#, vec![4]),
        // Texts compare with texts as text and with numbers as numbers.
        (r#"{"a":"c"}"#, vec![2, 6]),
        (r#"{"a":"abc"}"#, vec![3, 6]),
        // The last one compares as text; it is found by the number and then refused.
        (r#"{"a":"6"}"#, vec![0, 1, 4]),
        (r#"{"a":[6]}"#, vec![0, 1, 4]),
        (r#"{"a":null}"#, vec![]),
        ("{}", vec![]),
    ] {
        let found = candidates(&router, None, Some(record));
        assert_eq!(found, expected, "{record}");
    }
    assert_eq!(candidates(&router, Some(r#"{"a":3}"#), Some(r#"{"a":3,"x":1}"#)), [0, 4]);
}

#[test]
fn a_value_between_many_ranges_costs_a_logarithm() {
    let filters: Vec<String> = (0..10_000)
        .map(|n| match n % 2 {
            0 => format!(r#"{{"a":{{"$between":[{n},{n}.5]}}}}"#),
            _ => format!(r#"{{"a":{{"$startsWith":"{n:05}"}}}}"#),
        })
        .collect();
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    let (mut router, compiled) = router(&filters);
    let mut found = Vec::new();
    for (value, view) in [(r#"{"a":4000.25}"#, 4000), (r#"{"a":"04001 x"}"#, 4001)] {
        let probes = router.candidates(None, Some(&object(value)), &mut found);
        assert_eq!(found, [ViewId(view)]);
        assert!(probes < 150, "{probes}");
    }
    for (at, filter) in compiled.iter().enumerate() {
        router.remove(ViewId(at as u64), Some(filter));
    }
    assert!(router.ranges.is_empty() && router.members.is_empty());
}

#[test]
fn alternatives_are_found_by_each_branch_and_absence_is_a_value() {
    let (router, _) = router(&[
        r#"{"$or":[{"a":1},{"b":{"$gt":10}}]}"#,
        r#"{"$or":[{"a":1},{"a":1,"b":2},{"$and":[{"$or":[{"c":1},{"c":2}]}]}]}"#,
        r#"{"$or":[{"a":1},{"b":{"$neq":3}}]}"#,
        r#"{"a":null}"#,
    ]);
    let absent = Filter::compile_with(
        &object(r#"{"a":"{{ params.none }}"}"#),
        &crate::filter::Params::Given { params: None, operators: false },
        false,
    );
    let mut router = router;
    router.add(ViewId(4), Some(&absent.unwrap()));
    assert_eq!(router.residual.len(), 1);
    assert_eq!(candidates(&router, None, Some(r#"{"a":1,"b":2}"#)), [0, 1, 2]);
    assert_eq!(candidates(&router, Some(r#"{"a":1}"#), Some(r#"{"a":9,"c":2}"#)), [0, 1, 2]);
    assert_eq!(candidates(&router, None, Some(r#"{"b":11}"#)), [0, 2, 4]);
    assert_eq!(candidates(&router, None, Some(r#"{"a":null}"#)), [2, 3]);
}
