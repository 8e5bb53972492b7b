use super::*;
use crate::table::hashing;

fn object(text: &str) -> Object {
    let Ok(Value::Object(object)) = noex_json::parse(text, 9) else { panic!("{text}") };
    object
}

fn router(filters: &[&str]) -> (Router, Vec<Filter>) {
    let mut router = Router::new(hashing(1));
    let filters: Vec<Filter> =
        filters.iter().map(|filter| Filter::compile(&object(filter), false).unwrap()).collect();
    for (at, filter) in filters.iter().enumerate() {
        router.add(ViewId(at as u64), filter);
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
        router.remove(ViewId(at as u64), filter);
    }
    assert!(router.signatures.is_empty() && router.residual.is_empty() && router.members.is_empty());
}
