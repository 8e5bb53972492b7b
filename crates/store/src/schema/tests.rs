use super::*;
use noex_json::parse as parse_json;
use proptest::prelude::*;

fn object(text: &str) -> Object {
    match parse_json(text, 128) {
        Ok(Value::Object(object)) => *object,
        other => panic!("{text}: {other:?}"),
    }
}

fn define(config: &str) -> Definition {
    Definition::parse("b", &object(config)).unwrap_or_else(|error| panic!("{config}: {error}"))
}

fn refusal(config: &str) -> String {
    Definition::parse("b", &object(config)).map(|_| ()).expect_err(config).to_string()
}

/// Fills in members of a definition with only a key.
fn with(options: &str) -> String {
    format!(r#"{{"key":"id","schema":{{"id":{{"type":"string"}}}},{options}}}"#)
}

/// A definition with a second field `a`.
fn with_field(field: &str) -> String {
    format!(r#"{{"key":"id","schema":{{"id":{{"type":"string"}},"a":{field}}}}}"#)
}

struct Fixed {
    bytes: u8,
}

impl Generate for Fixed {
    fn random_bytes(&mut self) -> [u8; 16] {
        self.bytes += 1;
        [self.bytes; 16]
    }

    fn counter(&self) -> u64 {
        7
    }

    fn now_ms(&self) -> u64 {
        1_700_000_000_000
    }
}

fn completed(definition: &Definition, record: &str) -> String {
    let mut record = object(record);
    definition.complete(&mut record, &mut Fixed { bytes: 0 });
    Value::from(record).to_json()
}

/// The message of a failed validation without its beginning; empty if there is none.
fn issues(definition: &Definition, record: &str) -> String {
    let Err(error) = definition.validate(&object(record)) else { return String::new() };
    let text = error.to_string();
    text.strip_prefix("Validation failed for bucket \"b\": ").unwrap_or("?").to_owned()
}

#[test]
fn a_definition_is_understood_and_given_back() {
    let config = r#"{"key":"sku","schema":{"sku":{"type":"string","required":true,"pattern":"^[A-Z]+$","label":"SKU"},"price":{"type":"number","min":0,"default":1},"tags":{"type":"array","items":{"type":"string"}},"n":{"type":"number","auto":"autoincrement"},"o":{"type":"string","unique":true,"ref":"owners","onDelete":"cascade"}},"indexes":["price","o","price"],"etsType":"ordered_set","persistent":false,"ttl":"1.5m","maxSize":1000,"comment":"x"}"#;
    let definition = define(config);
    assert_eq!(definition.to_value().to_json(), config);
    assert_eq!((definition.name.as_str(), definition.key.as_str()), ("b", "sku"));
    assert_eq!(definition.indexes, ["price", "o"]);
    assert!(definition.ordered && !definition.persistent);
    assert_eq!((definition.ttl_ms, definition.size_max), (Some(90_000.0), Some(1000)));
    let fields = &definition.fields;
    assert_eq!(
        fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(),
        ["sku", "price", "tags", "n", "o"]
    );
    assert_eq!(fields.iter().filter_map(|f| f.generated).collect::<Vec<_>>(), [Generated::AutoIncrement]);
    assert_eq!(fields.iter().filter(|f| f.unique).count(), 1);
    let references: Vec<_> = fields.iter().filter_map(|f| f.reference.clone()).collect();
    assert_eq!(references, [("owners".into(), OnDelete::Cascade)]);
    let plain = define(&with(r#""etsType":"bag""#));
    assert!(!plain.ordered && plain.persistent && plain.ttl_ms.is_none() && plain.size_max.is_none());
}

#[test]
fn faulty_definitions_are_refused_with_their_texts() {
    let schema = |problem: &str| format!("Invalid schema for bucket \"b\": field \"a\": {problem}");
    let option = |problem: &str| format!("Invalid definition for bucket \"b\": {problem}");
    let table = [
        (
            r#"{"key":"id","schema":{"x":{"type":"string"}}}"#.to_owned(),
            r#"Key field "id" does not exist in schema for bucket "b""#.to_owned(),
        ),
        (
            r#"{"schema":{"x":{"type":"string"}}}"#.to_owned(),
            r#"Key field "undefined" does not exist in schema for bucket "b""#.to_owned(),
        ),
        (r#"{"key":"id"}"#.to_owned(), r#"Invalid schema for bucket "b": expected object"#.to_owned()),
        (
            r#"{"key":"id","schema":[]}"#.to_owned(),
            r#"Invalid schema for bucket "b": expected object"#.to_owned(),
        ),
        (
            r#"{"key":"_version","schema":{"_version":{"type":"number"}}}"#.to_owned(),
            option("key must be a field that updates leave alone"),
        ),
        (
            r#"{"key":"_updatedAt","schema":{"_updatedAt":{"type":"number"}}}"#.to_owned(),
            option("key must be a field that updates leave alone"),
        ),
        (r#"{"key":5,"schema":{"5":{"type":"string"}}}"#.to_owned(), option("key must be a string")),
        (with(r#""indexes":["q"]"#), r#"Index field "q" does not exist in schema for bucket "b""#.to_owned()),
        (with(r#""indexes":"id""#), option("indexes must be an array of field names")),
        (with(r#""indexes":[5]"#), option("indexes must be an array of field names")),
        (
            with_field(r#"{"type":"string","required":true,"ref":"o","onDelete":"set_null"}"#),
            r#"Invalid schema for bucket "b": field "a" has onDelete "set_null" but is required"#.to_owned(),
        ),
        (with(r#""ttl":null"#), option("ttl must be a number or a string")),
        (
            with(r#""etsType":"list""#),
            option("etsType must be \"set\", \"ordered_set\", \"bag\" or \"duplicate_bag\""),
        ),
        (
            with(r#""etsType":1"#),
            option("etsType must be \"set\", \"ordered_set\", \"bag\" or \"duplicate_bag\""),
        ),
        (with(r#""persistent":1"#), option("persistent must be a boolean")),
        (with(r#""maxSize":0"#), option("maxSize must be a positive integer")),
        (with(r#""maxSize":1.5"#), option("maxSize must be a positive integer")),
        (with(r#""maxSize":1e999"#), option("maxSize must be a positive integer")),
        (with(r#""maxSize":"5""#), option("maxSize must be a positive integer")),
        (with_field("5"), schema("definition must be an object")),
        (with_field("{}"), schema("unknown type \"undefined\"")),
        (with_field(r#"{"type":"integer"}"#), schema("unknown type \"integer\"")),
        (with_field(r#"{"type":null}"#), schema("unknown type \"null\"")),
        (with_field(r#"{"type":"string","format":"phone"}"#), schema("unknown format \"phone\"")),
        (with_field(r#"{"type":"string","generated":"ulid"}"#), schema("unknown generated \"ulid\"")),
        (with_field(r#"{"type":"string","auto":"ulid"}"#), schema("unknown generated \"ulid\"")),
        (with_field(r#"{"type":"string","pattern":"["}"#), schema("invalid pattern \"[\"")),
        (with_field(r#"{"type":"string","pattern":"(a)\\1"}"#), schema("invalid pattern \"(a)\\1\"")),
        (with_field(r#"{"type":"string","pattern":5}"#), schema("pattern must be a string")),
        (with_field(r#"{"type":"number","min":"1"}"#), schema("min must be a number")),
        (with_field(r#"{"type":"number","max":null}"#), schema("max must be a number")),
        (
            with_field(r#"{"type":"string","minLength":-1}"#),
            schema("minLength must be a non-negative integer"),
        ),
        (
            with_field(r#"{"type":"string","maxLength":1.5}"#),
            schema("maxLength must be a non-negative integer"),
        ),
        (with_field(r#"{"type":"string","required":"yes"}"#), schema("required must be a boolean")),
        (with_field(r#"{"type":"string","unique":1}"#), schema("unique must be a boolean")),
        (with_field(r#"{"type":"string","enum":"x"}"#), schema("enum must be an array")),
        (with_field(r#"{"type":"string","ref":{}}"#), schema("ref must be a bucket name")),
        (
            with_field(r#"{"type":"string","ref":"o","onDelete":"drop"}"#),
            schema("onDelete must be \"restrict\", \"cascade\" or \"set_null\""),
        ),
        (with_field(r#"{"type":"object","properties":[]}"#), schema("properties must be an object")),
        (with_field(r#"{"type":"array","items":"string"}"#), schema("items must be an object")),
        (
            with_field(r#"{"type":"object","properties":{"x":{"type":"array","items":{"type":"int"}}}}"#),
            r#"Invalid schema for bucket "b": field "a.x[]": unknown type "int""#.to_owned(),
        ),
        // What older servers check comes first.
        (
            r#"{"key":"id","schema":{"id":{"type":"integer"}},"ttl":0,"indexes":["q"]}"#.to_owned(),
            r#"Index field "q" does not exist in schema for bucket "b""#.to_owned(),
        ),
        (
            r#"{"key":"id","schema":{"id":{"type":"integer"}},"ttl":0,"maxSize":0}"#.to_owned(),
            "TTL must be a positive finite number, got 0".to_owned(),
        ),
    ];
    for (config, text) in table {
        assert_eq!(refusal(&config), text, "{config}");
    }
}

#[test]
fn nested_definitions_may_leave_out_what_has_no_effect_there() {
    define(&with_field(
        r#"{"type":"object","properties":{"x":{"type":"string","generated":"?","unique":1,"ref":2}}}"#,
    ));
    let nested = |levels: usize| {
        let inner = r#"{"type":"array","items":"#.repeat(levels);
        with_field(&format!("{inner}{{\"type\":\"number\"}}{}", "}".repeat(levels)))
    };
    define(&nested(10));
    assert!(refusal(&nested(11)).ends_with(": nesting deeper than 10"), "{}", refusal(&nested(11)));
    let deepest = define(&nested(10));
    let record = |value: &str| format!("{{\"id\":\"1\",\"a\":{}{value}{}}}", "[".repeat(10), "]".repeat(10));
    assert_eq!(issues(&deepest, &record("1")), "");
    assert!(issues(&deepest, &record("\"x\"")).starts_with("a[0][0][0][0][0][0][0][0][0][0]: Expected type"));
}

#[test]
fn time_to_live() {
    let format = |text: &str| {
        format!(
            "Invalid TTL format \"{text}\". Expected a number (ms) or string like \"30s\", \"5m\", \"1h\", \"7d\"."
        )
    };
    for (ttl, ms) in [
        ("5", 5.0),
        ("0.5", 0.5),
        (r#""30s""#, 30_000.0),
        (r#""5m""#, 300_000.0),
        (r#""1h""#, 3_600_000.0),
        (r#""7d""#, 604_800_000.0),
        (r#""1.5m""#, 90_000.0),
        (r#""2  h""#, 7_200_000.0),
    ] {
        assert_eq!(define(&with(&format!("\"ttl\":{ttl}"))).ttl_ms, Some(ms), "{ttl}");
    }
    for (ttl, text) in [
        ("0", "TTL must be a positive finite number, got 0".to_owned()),
        ("-5", "TTL must be a positive finite number, got -5".to_owned()),
        ("1e999", "TTL must be a positive finite number, got Infinity".to_owned()),
        (r#""0s""#, "TTL value must be positive, got \"0s\"".to_owned()),
        (r#""0.0 d""#, "TTL value must be positive, got \"0.0 d\"".to_owned()),
        (r#""5w""#, format("5w")),
        (r#""1h ""#, format("1h ")),
        (r#"" 1h""#, format(" 1h")),
        (r#""1H""#, format("1H")),
        (r#""""#, format("")),
        (r#""s""#, format("s")),
        (r#""1.s""#, format("1.s")),
        (r#"".5s""#, format(".5s")),
        (r#""1e3s""#, format("1e3s")),
        (r#""-1s""#, format("-1s")),
        (r#""1.2.3s""#, format("1.2.3s")),
        (r#""5ms""#, format("5ms")),
    ] {
        assert_eq!(refusal(&with(&format!("\"ttl\":{ttl}"))), text, "{ttl}");
    }
    let huge = format!("\"ttl\":\"{}d\"", "9".repeat(400));
    assert_eq!(refusal(&with(&huge)), "TTL must be a positive finite number, got Infinity");
}

#[test]
fn an_update_adds_and_keeps_the_rest() {
    let source =
        r#"{"key":"id","ttl":"1h","note":1,"schema":{"id":{"type":"string"},"n":{"type":"string"}}}"#;
    let definition = define(source);
    let update = |definition: &Definition, updates: &str| definition.updated(&object(updates));
    let shown = |updated: Result<Definition, StoreError>| match updated {
        Ok(updated) => updated.to_value().to_json(),
        Err(error) => error.to_string(),
    };
    let adding = r#"{"addFields":{"r":{"type":"string","required":true},"d":{"type":"number","default":5}},"addIndexes":["n","r","n"],"ttl":null,"other":1}"#;
    let added = update(&definition, adding).expect("a correct update");
    assert_eq!(
        added.to_value().to_json(),
        r#"{"key":"id","note":1,"schema":{"id":{"type":"string"},"n":{"type":"string"},"r":{"type":"string","required":true},"d":{"type":"number","default":5}},"indexes":["n","r"]}"#
    );
    assert_eq!((added.ttl_ms, added.fields.len()), (None, 4));
    assert_eq!(added.indexes, ["n", "r"]);
    assert_eq!(
        shown(update(&added, r#"{"addIndexes":["id","n"],"ttl":5}"#)),
        r#"{"key":"id","note":1,"schema":{"id":{"type":"string"},"n":{"type":"string"},"r":{"type":"string","required":true},"d":{"type":"number","default":5}},"indexes":["n","r","id"],"ttl":5}"#
    );
    assert_eq!(
        shown(update(&definition, "{}")),
        r#"{"key":"id","note":1,"schema":{"id":{"type":"string"},"n":{"type":"string"}},"ttl":"1h"}"#
    );
    for (updates, text) in [
        (r#"{"addFields":{"n":{"type":"number"}}}"#, r#"Field "n" already exists in bucket "b""#),
        (
            r#"{"addFields":{"z":{"type":"integer"}}}"#,
            r#"Invalid schema for bucket "b": field "z": unknown type "integer""#,
        ),
        (r#"{"addIndexes":["nope"]}"#, r#"Index field "nope" does not exist in schema for bucket "b""#),
        (
            r#"{"addFields":{"ok":{"type":"string"}},"addIndexes":["nope"]}"#,
            r#"Index field "nope" does not exist in schema for bucket "b""#,
        ),
        (r#"{"ttl":-1}"#, "TTL must be a positive finite number, got -1"),
        (r#"{"ttl":true}"#, r#"Invalid definition for bucket "b": ttl must be a number or a string"#),
        (r#"{"addFields":[]}"#, r#"Invalid definition for bucket "b": addFields must be an object"#),
        (
            r#"{"addIndexes":"n"}"#,
            r#"Invalid definition for bucket "b": addIndexes must be an array of field names"#,
        ),
    ] {
        assert_eq!(shown(update(&definition, updates)), text, "{updates}");
    }
    assert_eq!(definition.to_value().to_json(), source);
}

#[test]
fn absent_members_are_generated_then_defaulted() {
    let definition = define(
        r#"{"key":"id","schema":{"id":{"type":"string","generated":"uuid"},"name":{"type":"string","required":true},"role":{"type":"string","default":"user"},"seq":{"type":"number","generated":"autoincrement"},"at":{"type":"number","generated":"timestamp"},"tok":{"type":"string","generated":"cuid"},"note":{"type":"string","default":null},"o":{"type":"object","default":{"a":[1]}}}}"#,
    );
    assert_eq!(
        completed(&definition, r#"{"name":"Alice","extra":1}"#),
        r#"{"name":"Alice","extra":1,"id":"01010101-0101-4101-8101-010101010101","seq":7,"at":1700000000000,"tok":"c02020202020202020202020202020202","role":"user","note":null,"o":{"a":[1]}}"#
    );
    // A null is kept, except for a generated key.
    assert_eq!(
        completed(
            &definition,
            r#"{"id":null,"name":"B","role":null,"seq":null,"tok":"t","at":5,"note":1,"o":0}"#
        ),
        r#"{"id":"01010101-0101-4101-8101-010101010101","name":"B","role":null,"seq":null,"tok":"t","at":5,"note":1,"o":0}"#
    );
    let default_key = define(r#"{"key":"id","schema":{"id":{"type":"string","default":"x"}}}"#);
    assert_eq!(completed(&default_key, r#"{"id":null}"#), r#"{"id":null}"#);
    assert_eq!(completed(&default_key, "{}"), r#"{"id":"x"}"#);
}

#[test]
fn issues_are_collected_in_schema_order() {
    let definition = define(
        r#"{"key":"id","schema":{"id":{"type":"string","required":true},"s":{"type":"string","minLength":2,"maxLength":4,"pattern":"^[a-z]+$","enum":["ab","abc"],"format":"email"},"n":{"type":"number","min":1,"max":5,"enum":[1,2,null]},"b":{"type":"boolean"},"o":{"type":"object","properties":{"x":{"type":"number","required":true,"min":0},"y":{"type":"array","items":{"type":"string","maxLength":2}}}},"a":{"type":"array","items":{"type":"object","properties":{"q":{"type":"string","required":true}}}},"d":{"type":"date"},"u":{"type":"string","format":"url"},"i":{"type":"string","format":"iso-date"}}}"#,
    );
    assert_eq!(
        issues(
            &definition,
            r#"{"s":"ABCDEF","n":9,"b":1,"o":{"x":-1,"y":["aaa",null,5]},"a":[{"q":1},null,"s",{}],"d":true,"u":"nope","i":"2024-02-30"}"#
        ),
        "id: Field is required; s: Value must be one of: ab, abc; s: Maximum length is 4; s: Value must match pattern \"^[a-z]+$\"; s: Invalid email format; n: Value must be one of: 1, 2, null; n: Maximum value is 5; b: Expected type \"boolean\", got number; o.x: Minimum value is 0; o.y[0]: Maximum length is 2; o.y[2]: Expected type \"string\", got number; a[0].q: Expected type \"string\", got number; a[2]: Expected type \"object\", got string; a[3].q: Field is required; d: Expected type \"date\", got boolean; u: Invalid url format; i: Invalid iso-date format"
    );
    assert_eq!(
        issues(&definition, r#"{"id":null,"s":5,"n":"5","o":[],"a":{},"d":[]}"#),
        "id: Field is required; s: Expected type \"string\", got number; n: Expected type \"number\", got string; o: Expected type \"object\", got array; a: Expected type \"array\", got object; d: Expected type \"date\", got array"
    );
    assert_eq!(issues(&definition, r#"{"id":"ok","d":"any text","o":{"x":0}}"#), "");
}

#[test]
fn nested_values_are_checked_with_paths() {
    let definition = define(
        r#"{"key":"id","schema":{"id":{"type":"string"},"lines":{"type":"array","items":{"type":"object","properties":{"sku":{"type":"string","required":true,"pattern":"^[A-Z]{2}-"},"qty":{"type":"number","min":1},"opts":{"type":"array","items":{"type":"string","enum":["gift","fast"],"required":true}}}}},"grid":{"type":"array","items":{"type":"array","items":{"type":"number"}}}}}"#,
    );
    assert_eq!(
        issues(
            &definition,
            r#"{"id":"1","lines":[{"sku":"AB-1","qty":2},{"qty":0},null,"x",{"sku":"ab-1","opts":["gift","slow",null,5]}]}"#
        ),
        "lines[1].sku: Field is required; lines[1].qty: Minimum value is 1; lines[3]: Expected type \"object\", got string; lines[4].sku: Value must match pattern \"^[A-Z]{2}-\"; lines[4].opts[1]: Value must be one of: gift, fast; lines[4].opts[3]: Expected type \"string\", got number"
    );
    assert_eq!(
        issues(&definition, r#"{"id":"1","grid":[[1,2],[3,"4"],5,null]}"#),
        "grid[1][1]: Expected type \"number\", got string; grid[2]: Expected type \"array\", got number"
    );
}

#[test]
fn single_rules() {
    let table = [
        (r#"{"type":"string","minLength":2,"maxLength":4}"#, r#""😀""#, ""),
        (r#"{"type":"string","minLength":2,"maxLength":4}"#, r#""😀😀x""#, "a: Maximum length is 4"),
        (r#"{"type":"string","minLength":2}"#, r#""é""#, "a: Minimum length is 2"),
        (r#"{"type":"number","min":-40,"max":85.5}"#, "-40.0001", "a: Minimum value is -40"),
        (r#"{"type":"number","min":-40,"max":85.5}"#, "85.5", ""),
        (r#"{"type":"number","min":-40,"max":85.5}"#, "85.51", "a: Maximum value is 85.5"),
        (r#"{"type":"number","min":0,"max":0}"#, "-0.0", ""),
        (r#"{"type":"number"}"#, "1e999", ""),
        (r#"{"type":"date","min":1000,"minLength":3}"#, "999", "a: Minimum value is 1000"),
        (r#"{"type":"date","min":1000,"minLength":3}"#, r#""x""#, "a: Minimum length is 3"),
        (r#"{"type":"array","enum":[[1]]}"#, "[1]", "a: Value must be one of: 1"),
        (r#"{"type":"object","enum":[{}]}"#, "{}", "a: Value must be one of: [object Object]"),
        (r#"{"type":"boolean","enum":[true]}"#, "false", "a: Value must be one of: true"),
        (r#"{"type":"string","enum":[]}"#, r#""x""#, "a: Value must be one of: "),
        (r#"{"type":"string","required":true}"#, "null", "a: Field is required"),
        (r#"{"type":"string"}"#, "null", ""),
        (r#"{"type":"string","items":{"type":"number"},"properties":{"x":{"type":"number"}}}"#, r#""x""#, ""),
    ];
    for (field, value, text) in table {
        let definition = define(&with_field(field));
        assert_eq!(issues(&definition, &format!(r#"{{"id":"1","a":{value}}}"#)), text, "{field} {value}");
    }
}

#[test]
fn the_key_is_required_once_and_in_its_place() {
    for required in ["", r#","required":true"#] {
        let definition = define(&format!(
            r#"{{"key":"id","schema":{{"a":{{"type":"string","required":true}},"id":{{"type":"string"{required}}},"z":{{"type":"string","required":true}}}}}}"#
        ));
        let text = "a: Field is required; id: Field is required; z: Field is required";
        assert_eq!(issues(&definition, "{}"), text);
        assert_eq!(issues(&definition, r#"{"id":null}"#), text);
    }
}

#[test]
fn wide_records_are_found_through_a_map() {
    let fields: Vec<String> =
        (0..100).map(|i| format!(r#""f{i}":{{"type":"number","default":{i}}}"#)).collect();
    let schema = format!(r#"{{"key":"id","schema":{{"id":{{"type":"string"}},{}}}}}"#, fields.join(","));
    let definition = define(&schema);
    let members: Vec<String> = (0..60).map(|i| format!(r#""f{}":"x""#, i * 2)).collect();
    let mut record = object(&format!(r#"{{"id":"1",{}}}"#, members.join(",")));
    definition.complete(&mut record, &mut Fixed { bytes: 0 });
    assert_eq!(record.len(), 111);
    let Err(StoreError::Validation { issues, .. }) = definition.validate(&record) else { panic!("accepted") };
    assert_eq!(issues.len(), 50);
}

fn json(depth: u32) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        prop_oneof![Just(0.0), Just(1.0), Just(-1.5), Just(f64::INFINITY)].prop_map(Value::Number),
        prop::sample::select(vec![
            "", "id", "string", "array", "object", "uuid", "email", "^a", "5s", "[", "set_null"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(depth, 40, 6, |inner| {
        let name = prop::sample::select(vec![
            "key",
            "schema",
            "indexes",
            "ttl",
            "id",
            "type",
            "properties",
            "items",
            "pattern",
            "enum",
            "min",
            "ref",
            "onDelete",
            "required",
            "addFields",
            "addIndexes",
            "generated",
            "auto",
            "maxSize",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..6).prop_map(|members| {
                Value::from(members.into_iter().map(|(name, value)| (name.into(), value)).collect::<Object>())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn anything_is_accepted_or_refused(
        schema in json(5), field in json(4), updates in json(4), record in json(4), ttl in json(1),
    ) {
        let mut config = object(r#"{"key":"id"}"#);
        config.set("schema", schema);
        let _ = Definition::parse("b", &config);
        let mut config = object(r#"{"key":"id","schema":{"id":{"type":"string"}}}"#);
        let Some(Value::Object(mut schema)) = config.remove("schema") else { unreachable!() };
        schema.set("a", field);
        config.set("schema", *schema);
        config.set("ttl", ttl);
        let plain = define(&with(r#""x":1"#));
        let definition = Definition::parse("b", &config).unwrap_or(plain);
        if let Value::Object(updates) = &updates
            && let Ok(updated) = definition.updated(updates)
        {
            prop_assert!(updated.fields.len() >= definition.fields.len());
        }
        if let Value::Object(mut record) = record {
            definition.complete(&mut record, &mut Fixed { bytes: 0 });
            let _ = definition.validate(&*record);
        }
    }
}
