use super::*;
use crate::Space;
use crate::rule::tests::World;
use noex_json::parse;
use proptest::prelude::*;

fn v(text: &str) -> Value {
    parse(text, 64).expect(text)
}

fn path(text: &str, value: &str) -> Option<String> {
    Path::parse(text).get(&v(value)).map(|value| value.to_json())
}

fn resolve(text: &str, world: &World) -> Option<String> {
    Reference::parse(text).resolve(world).expect(text).map(|value| value.to_json())
}

#[test]
fn paths_select_members_elements_and_lengths() {
    let value =
        r#"{"a":{"b":[{"n":1},2]},"list":[],"length":7,"":{"":"x"},"o":{"length":3,"0":"zero"},"nul":null}"#;
    for (text, expected) in [
        ("a.b.0.n", Some("1")),
        ("a.b.1", Some("2")),
        ("a.b.2", None),
        ("a.b.01", None),
        ("a.b.-1", None),
        ("a.b.length", Some("2")),
        ("a.b.length.x", None),
        ("list.length", Some("0")),
        ("length", Some("7")),
        ("o.length", Some("3")),
        ("o.0", Some("\"zero\"")),
        ("nul", Some("null")),
        ("nul.x", None),
        ("a.b.1.x", None),
        (".", Some("\"x\"")),
        ("", Some(r#"{"":"x"}"#)),
        ("constructor", None),
        ("toString", None),
        ("a.__proto__", None),
        ("missing.deep", None),
    ] {
        assert_eq!(path(text, value).as_deref(), expected, "{text}");
    }
    assert_eq!(Path::root().get(&v("[1]")).map(|value| value.to_json()).as_deref(), Some("[1]"));
    assert_eq!(path("length", "\"text\""), None);
}

#[test]
fn a_leading_data_step_is_tolerated_once() {
    let get = |text: &str, value: &str| Path::parse(text).get_data(&v(value)).map(|value| value.to_json());
    assert_eq!(get("data.x", r#"{"x":1}"#).as_deref(), Some("1"));
    assert_eq!(get("data.x", r#"{"x":1,"data":{"x":2}}"#).as_deref(), Some("2"));
    assert_eq!(get("data.y", r#"{"y":1,"data":{}}"#), None);
    assert_eq!(get("data.data.x", r#"{"x":1}"#), None);
    assert_eq!(get("data", r#"{"x":1}"#).as_deref(), Some(r#"{"x":1}"#));
    assert_eq!(path("data.x", r#"{"x":1}"#), None);
}

/// Example 3, and the decision D16 in its target line.
#[test]
fn reference_sources() {
    let world = World::new(r#"{"id":"u1","list":[{"n":1},{"n":2}],"$topic":"mine"}"#)
        .fact("user:u1:tier", "\"gold\"")
        .fact("user:u1:profile", r#"{"city":"Brno","tags":["a","b"]}"#)
        .fact("a", r#"{"b":{"c":1}}"#)
        .fact("a.b", r#"{"d":2}"#)
        .variable("it", r#"{"sku":"x"}"#)
        .lookup("cust", r#"{"score":5}"#)
        .envelope("$id", "\"e1\"")
        .envelope("$topic", "\"x\"")
        .envelope("$captures", r#"["first","second"]"#)
        .matched(r#"{"id":"u1","data":{"id":"inner"}}"#)
        .matched(r#"{"k":2}"#)
        .alias("last", r#"{"k":3}"#);
    for (text, expected) in [
        ("trigger.id", Some("\"u1\"")),
        ("event.list.1.n", Some("2")),
        ("event.data.id", Some("\"u1\"")),
        ("event.nope", None),
        ("event.$id", Some("\"e1\"")),
        ("event.$topic", Some("\"mine\"")),
        ("event.$captures.1", Some("\"second\"")),
        ("event.$captures.2", None),
        ("event.$source", None),
        ("matched.0.id", Some("\"u1\"")),
        ("matched.0.data.id", Some("\"inner\"")),
        ("matched.1.data.k", Some("2")),
        ("matched.2.id", None),
        ("matched.last.k", Some("3")),
        ("matched.last.data.k", Some("3")),
        ("matched", None),
        ("fact.user:u1:tier", Some("\"gold\"")),
        ("fact.user:${event.id}:tier", Some("\"gold\"")),
        ("fact.user:u1:profile.city", Some("\"Brno\"")),
        ("fact.user:${event.id}:profile.tags.1", Some("\"b\"")),
        ("fact.user:u2:profile.city", None),
        ("fact.a.b", Some(r#"{"d":2}"#)),
        ("fact.a.b.d", Some("2")),
        ("fact.a.b.c", None),
        ("fact", None),
        ("var.it.sku", Some("\"x\"")),
        ("var.it", Some(r#"{"sku":"x"}"#)),
        ("var.none", None),
        ("var", None),
        ("lookup.cust.score", Some("5")),
        ("lookup.other", None),
    ] {
        assert_eq!(resolve(text, &world).as_deref(), expected, "{text}");
    }
    assert_eq!(resolve("event", &world), Some(world.payload().to_json()));
}

#[test]
fn unknown_sources_fail_with_their_name() {
    let world = World::new("{}");
    for (text, source) in [("bogus.x", "bogus"), ("", ""), ("Event.x", "Event"), ("baseline.m", "baseline")] {
        let error = Reference::parse(text).resolve(&world).expect_err(text);
        assert_eq!(error.to_string(), format!("Unknown reference source: {source}"));
    }
    assert!(Reference::parse("fact.${bogus.x}").resolve(&world).is_err());
    let argument = Argument::parse(&v(r#"{"ref":5}"#));
    assert_eq!(argument.resolve(&world).expect_err("no text").to_string(), "Unknown reference source: 5");
    assert!(Reference::parse_operand("matched.0").is_none() && Reference::parse_operand("zzz.w").is_none());
    assert!(Reference::parse_operand("baseline.m").is_some());
}

/// Example 2, and the decision D14 in its target line.
#[test]
fn templates() {
    let world = World::new(
        r#"{"id":1,"nest":{"a":"A"},"obj":{"x":1},"arr":[1,[2,3],null,{"y":2}],"nul":null,"num":1.5,"flag":false,"big":1e21,"inf":1e999}"#,
    )
    .fact("rate", "1.5");
    for (text, expected) in [
        ("k:${event.id}:${event.nest.a}:${event.missing}", "k:1:A:"),
        ("${event.obj}", r#"{"x":1}"#),
        ("${event.arr}", r#"1,2,3,,{"y":2}"#),
        ("<${event.nul}>", "<>"),
        ("${event.num}:${event.flag}:${event.big}:${event.inf}", "1.5:false:1e+21:Infinity"),
        ("rate:${fact.rate}::${event.num}:${}:$event.id", "rate:1.5::1.5:${}:$event.id"),
        ("plain", "plain"),
        ("", ""),
        ("open ${event.id", "open ${event.id"),
        ("${}${event.id}", "${}1"),
        ("$${event.id}}", "$1}"),
        ("${event. id}", ""),
    ] {
        assert_eq!(Template::parse(text).expand(&world).expect(text), expected, "{text}");
    }
    let nested = Template::parse("${${event.id}}").expand(&world).expect_err("no such source");
    assert_eq!(nested, ResolveError::UnknownSource("${event".into()));
}

#[test]
fn interpolated_text_is_no_pattern() {
    let template = Template::parse("acl:${event.user}:*");
    let pattern = |user: &str| {
        let world = World::new(&format!(r#"{{"user":"{user}"}}"#));
        template.expand_pattern(Space::Key, &world).expect("valid")
    };
    assert!(pattern("root").matches("acl:root:role"));
    assert!(!pattern("*").matches("acl:root:role") && pattern("*").matches("acl:*:role"));
    assert!(!pattern("**").matches("acl:a:b:role"));
}

#[test]
fn a_template_cannot_grow_without_bound() {
    let world = World::new(&format!(r#"{{"x":"{}"}}"#, "x".repeat(100_000)));
    let template = Template::parse(&"${event.x}".repeat(1000));
    assert_eq!(template.expand(&world), Err(ResolveError::TooLong));
    assert_eq!(template.expand_pattern(Space::Key, &world).err(), Some(ResolveError::TooLong));
}

/// Example 2: only the whole value and direct members are references. D15: absent is `null` or omitted.
#[test]
fn arguments_resolve_at_their_top() {
    let world = World::new(r#"{"id":1,"nest":{"a":"A"}}"#);
    let data = v(
        r#"{"a":{"ref":"event.nest"},"deep":{"b":{"ref":"event.id"}},"list":[{"ref":"event.id"}],"tmpl":"${event.id}","gone":{"ref":"event.nope"},"extra":{"ref":"event.id","x":1}}"#,
    );
    let members: Vec<_> = data
        .as_object()
        .expect("object")
        .iter()
        .map(|(name, value)| (name.clone(), Argument::parse(value)))
        .collect();
    let resolved = Argument::resolve_members(&members, &world).expect("known sources");
    let expected = r#"{"a":{"a":"A"},"deep":{"b":{"ref":"event.id"}},"list":[{"ref":"event.id"}],"tmpl":"${event.id}","extra":1}"#;
    assert_eq!(Value::from(resolved).to_json(), expected);
    let gone = Argument::parse(&v(r#"{"ref":"event.nope"}"#));
    assert_eq!(gone.resolve_or_null(&world).expect("known source").to_json(), "null");
}

proptest! {
    #[test]
    fn nothing_panics(text in "[a-c.${}*:0-9]{0,16}|(event|fact|var|matched|\\$\\{|\\}|\\.|[a-c]){0,8}", data in "[a-c.]{0,8}") {
        let world = World::new(&format!(r#"{{"a":["{data}",{{"b":1}}],"data":{{"c":null}}}}"#)).fact("a", "[1]");
        let _ = Reference::parse(&text).resolve(&world).map(|value| value.is_some());
        let template = Template::parse(&text);
        let expanded = template.expand(&world);
        if template.as_constant().is_some() {
            prop_assert_eq!(expanded, Ok(text.clone()));
        }
        let _ = template.expand_pattern(Space::Key, &world);
        let _ = Path::parse(&text).get_data(world.payload());
    }
}
