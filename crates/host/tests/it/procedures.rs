//! Procedures through the whole host: transactions, events, rights, codes.

use crate::{
    client::Client,
    world::{World, options},
};
use noex_host::{
    Hub, Options, ProceduresOptions, RulesOptions, Session, StartError, StaticTokens, TokenExpiry,
    core::{AuthMode, Config, PermissionRule, Permissions, TokenMode},
    procedures_engine::Limits,
    rules_engine::EngineOptions,
};
use proptest::{collection::vec, prelude::*, sample::select};
use std::sync::Arc;

fn with_rules() -> Options {
    Options { rules: Some(RulesOptions::default()), ..options() }
}

/// Registers a procedure and gives the answer of a call.
fn call(world: &mut World, client: &mut Client, steps: &str, more: &str) -> Vec<String> {
    let definition = format!(r#"{{"name":"p","steps":[{steps}]{more}}}"#);
    let register = format!(r#"{{"id":1,"type":"procedures.register","procedure":{definition}}}"#);
    world.ask(client, r#"{"id":0,"type":"procedures.unregister","name":"p"}"#);
    let registered = world.ask(client, &register);
    assert_eq!(registered, [r#"{"id":1,"type":"result","data":{"name":"p","registered":true}}"#]);
    world.ask(client, r#"{"id":2,"type":"procedures.call","name":"p"}"#)
}

fn ids(world: &mut World, client: &mut Client) -> Vec<String> {
    let all = world.ask(client, r#"{"id":9,"type":"store.all","bucket":"items"}"#).concat();
    all.split(r#""id":""#).skip(1).map(|rest| rest.chars().take_while(|c| *c != '"').collect()).collect()
}

const TRANSACTION: &str = r#","transaction":true"#;

fn insert(id: &str) -> String {
    format!(r#"{{"action":"store.insert","bucket":"items","data":{{"id":"{id}"}}}}"#)
}

fn answered(answers: &[String]) -> Vec<&str> {
    answers.iter().map(|text| text.split(",\"timestamp\"").next().unwrap()).collect()
}

#[test]
fn events_of_a_transaction_come_once_it_is_committed_and_before_its_result() {
    let mut world = World::new(with_rules());
    let (mut client, mut other) = (world.connect(), world.connect());
    for peer in [&mut client, &mut other] {
        world.ask(peer, r#"{"id":3,"type":"rules.subscribe","pattern":"*"}"#);
        world.ask(peer, r#"{"id":4,"type":"store.subscribe","query":"count-items"}"#);
    }
    let steps = format!(
        r#"{{"action":"rules.emit","topic":"first","data":{{"n":1}}}},{},{{"action":"rules.setFact","key":"f","value":1}},
           {{"action":"rules.getFact","key":"f","as":"f"}},{},{{"action":"store.count","bucket":"items","as":"n"}},
           {{"action":"rules.emit","topic":"second.{{{{n}}}}"}}"#,
        insert("a"),
        insert("b")
    );
    let seen = call(&mut world, &mut client, &steps, TRANSACTION);
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert!(seen[0].contains(r#""topic":"first""#) && seen[1].contains(r#""topic":"second.2""#), "{seen:?}");
    assert_eq!(seen[2], r#"{"id":2,"type":"result","data":{"success":true,"results":{"f":1,"n":2}}}"#);
    assert!(seen[3].ends_with(r#""data":2}"#), "one push, after the result: {seen:?}");
    assert_eq!(world.exchange(&mut other).len(), 3, "two events and one push");

    // Nothing is heard of one that fails at its end.
    let steps = format!(
        r#"{{"action":"rules.emit","topic":"third"}},{{"action":"rules.setFact","key":"f","value":2}},{}"#,
        insert("a")
    );
    let seen = call(&mut world, &mut client, &steps, TRANSACTION);
    let text =
        r#"Transaction conflict in bucket \"items\" for key \"a\": Record with key \"a\" already exists"#;
    let details = r#""details":{"bucket":"items","key":"a"}"#;
    assert_eq!(
        seen,
        [format!(r#"{{"id":2,"type":"error","code":"CONFLICT","message":"{text}",{details}}}"#)]
    );
    assert_eq!(world.exchange(&mut other), Vec::<String>::new());
    let fact = world.ask(&mut client, r#"{"id":5,"type":"rules.getFact","key":"f"}"#);
    assert_eq!(fact, [r#"{"id":5,"type":"result","data":1}"#]);
}

#[test]
fn events_outside_a_transaction_precede_the_result_too() {
    let mut world = World::new(with_rules());
    let mut client = world.connect();
    world.ask(&mut client, r#"{"id":3,"type":"rules.subscribe","pattern":"*"}"#);
    let steps =
        r#"{"action":"rules.emit","topic":"t"},{"action":"store.get","bucket":"nowhere","key":"k","as":"x"}"#;
    let seen = call(&mut world, &mut client, steps, "");
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen[0].contains(r#""topic":"t""#), "{seen:?}");
    let text = r#"{"id":2,"type":"error","code":"BUCKET_NOT_DEFINED","message":"Bucket \"nowhere\" is not defined"}"#;
    assert_eq!(seen[1], text);
}

/// A rule that writes to the store while the engine is locked by a transaction's events.
#[test]
fn rules_write_to_the_store_after_a_transaction() {
    let rule = r#"{"id":"r","name":"r","trigger":{"type":"event","topic":"done"},"actions":[
        {"type":"call_service","service":"store","method":"insert","args":["items",{"id":"from-rule"}]}]}"#;
    let rules = RulesOptions { rules: vec![rule.into()], store_events: true, ..RulesOptions::default() };
    let mut world = World::new(Options { rules: Some(rules), ..options() });
    let mut client = world.connect();
    let steps = format!(r#"{},{{"action":"rules.emit","topic":"done"}}"#, insert("a"));
    let seen = call(&mut world, &mut client, &steps, TRANSACTION);
    assert_eq!(seen, [r#"{"id":2,"type":"result","data":{"success":true,"results":{}}}"#]);
    assert_eq!(ids(&mut world, &mut client), ["a", "from-rule"]);
}

/// What comes after a change of the store finds the rules that it triggered done, however it comes.
#[test]
fn changes_of_the_store_reach_rules_before_what_comes_after_them() {
    let rule = r#"{"id":"r","name":"r","trigger":{"type":"event","topic":"bucket.items.inserted"},"actions":[
        {"type":"set_fact","key":"seen:${event.key}","value":1}]}"#;
    let rules = RulesOptions { rules: vec![rule.into()], store_events: true, ..RulesOptions::default() };
    let mut world = World::new(Options { rules: Some(rules), ..options() });
    let mut client = world.connect();
    world.ask(&mut client, r#"{"id":0,"type":"rules.subscribe","pattern":"**"}"#);
    // Sent at once.
    for text in [
        r#"{"id":1,"type":"store.insert","bucket":"items","data":{"id":"k"}}"#,
        r#"{"id":2,"type":"rules.emit","topic":"after"}"#,
        r#"{"id":3,"type":"rules.getFact","key":"seen:k"}"#,
    ] {
        client.text(text);
    }
    let topics = |texts: &[String]| -> Vec<String> {
        let topic = |text: &String| Some(text.split(r#""topic":""#).nth(1)?.split('"').next()?.to_owned());
        texts.iter().filter(|text| text.contains(r#""type":"push""#)).filter_map(topic).collect()
    };
    let seen = world.exchange(&mut client);
    assert_eq!(topics(&seen), ["bucket.items.inserted", "after"], "{seen:?}");
    assert_eq!(seen.last().map(String::as_str), Some(r#"{"id":3,"type":"result","data":1}"#));
    for (key, more) in [("p", ""), ("q", TRANSACTION)] {
        let seen = call(
            &mut world,
            &mut client,
            &format!(r#"{},{{"action":"rules.emit","topic":"after"}}"#, insert(key)),
            more,
        );
        assert_eq!(topics(&seen), ["bucket.items.inserted", "after"], "{key}: {seen:?}");
    }
}

/// What the engine would refuse is refused while the transaction can still be undone.
#[test]
fn a_full_or_stopped_engine_stops_a_transaction() {
    let engine = EngineOptions { facts_max: Some(2), ..EngineOptions::default() };
    let rules = RulesOptions { engine, ..RulesOptions::default() };
    let mut world = World::new(Options { rules: Some(rules), ..options() });
    let mut client = world.connect();
    let fact = |key: &str| format!(r#"{{"action":"rules.setFact","key":"{key}","value":1}}"#);
    let fits = [insert("a"), fact("x"), fact("x"), fact("y"), fact("x")].join(",");
    let seen = call(&mut world, &mut client, &fits, TRANSACTION);
    assert!(seen[0].contains("success"), "{seen:?}");
    let full = [insert("b"), fact("x"), fact("z")].join(",");
    let seen = call(&mut world, &mut client, &full, TRANSACTION);
    let text =
        r#"{"id":2,"type":"error","code":"VALIDATION_ERROR","message":"Limit reached: at most 2 facts"}"#;
    assert_eq!(seen, [text]);
    let now = world.now();
    world.hub.with_rules(now, |engine| engine.stop());
    let emit = format!(r#"{},{{"action":"rules.emit","topic":"t"}}"#, insert("c"));
    let seen = call(&mut world, &mut client, &emit, TRANSACTION);
    assert!(seen[0].contains("RULES_NOT_AVAILABLE"), "{seen:?}");
    assert_eq!(ids(&mut world, &mut client), ["a"]);
}

#[test]
fn errors_of_steps_have_the_codes_of_the_direct_operations_unless_older_ones_are_asked_for() {
    for compat in [false, true] {
        let mut options = Options { compat_error_codes: compat, ..options() };
        let schema = r#"{"id":{"type":"string"},"u":{"type":"number","unique":true}}"#;
        options.buckets.push(("unique".into(), format!(r#"{{"key":"id","schema":{schema}}}"#)));
        let mut world = World::new(options);
        let mut client = world.connect();
        world.ask(&mut client, r#"{"id":1,"type":"store.insert","bucket":"unique","data":{"id":"a","u":1}}"#);
        let (unique, direct) =
            (r#""bucket":"unique""#, |code: &'static str| if compat { "INTERNAL_ERROR" } else { code });
        for (step, code) in [
            (format!(r#""store.update",{unique},"key":"no","data":{{}}"#), direct("NOT_FOUND")),
            (format!(r#""store.insert",{unique},"data":{{"id":"a"}}"#), direct("ALREADY_EXISTS")),
            (format!(r#""store.insert",{unique},"data":{{"id":"b","u":1}}"#), direct("ALREADY_EXISTS")),
            (r#""store.count","bucket":"nowhere","as":"n""#.to_owned(), direct("BUCKET_NOT_DEFINED")),
            (format!(r#""store.insert",{unique},"data":{{"id":5}}"#), "VALIDATION_ERROR"),
            (format!(r#""store.where",{unique},"filter":{{"$or":1}},"as":"x""#), "VALIDATION_ERROR"),
            (r#""rules.emit","topic":"t""#.to_owned(), "VALIDATION_ERROR"),
        ] {
            let step = format!(r#"{{"action":{step}}}"#);
            let seen = call(&mut world, &mut client, &step, "");
            let expected = format!(r#"{{"id":2,"type":"error","code":"{code}","#);
            assert!(seen[0].starts_with(&expected), "{step} {seen:?}");
        }
        let schema = call(
            &mut world,
            &mut client,
            r#"{"action":"store.insert","bucket":"unique","data":{"id":5}}"#,
            "",
        );
        assert!(schema[0].contains(r#""details":[{"field":"id","#), "{schema:?}");
    }
}

/// Who may call a procedure may do what it does, unless it runs with the rights of its caller.
#[test]
fn steps_run_with_the_rights_that_the_definition_names() {
    let rule = |role: &str, allow: &[&str], buckets: Option<&str>| PermissionRule {
        role: role.into(),
        allow: allow.iter().map(|pattern| (*pattern).to_owned()).collect(),
        buckets: buckets.map(|bucket| vec![bucket.to_owned()]),
        topics: None,
    };
    let rules =
        vec![rule("boss", &["*"], None), rule("clerk", &["procedures.call", "store.insert"], Some("items"))];
    let permissions = Some(Permissions { default_allow: false, rules });
    let mode = AuthMode::Token(TokenMode { permissions, ..TokenMode::default() });
    let user = |role: &str| Session { user_id: role.into(), roles: vec![role.into()], ..Session::default() };
    let tokens = StaticTokens::new().with_token("boss", user("boss"), TokenExpiry::Never).with_token(
        "clerk",
        user("clerk"),
        TokenExpiry::Never,
    );
    let connection = Config { auth: mode, ..Config::default() };
    let mut world = World::new(Options { connection, authenticator: Some(Arc::new(tokens)), ..with_rules() });
    let (mut boss, mut clerk) = (world.connect(), world.connect());
    for (client, token) in [(&mut boss, "boss"), (&mut clerk, "clerk")] {
        world.ask(client, &format!(r#"{{"id":1,"type":"auth.login","token":"{token}"}}"#));
    }
    let brief = r#"{"action":"store.insert","bucket":"brief","data":{"id":"x{{input.n}}"}}"#;
    let item = r#"{"action":"store.insert","bucket":"items","data":{"id":"x{{input.n}}"}}"#;
    let emit = r#"{"action":"rules.emit","topic":"t"}"#;
    for (n, (steps, more, refused)) in [
        (format!("{item},{brief}"), "", None),
        (format!("{item},{brief}"), r#","runAs":"caller""#, Some("store.insert on brief")),
        (format!("{item},{brief}"), r#","runAs":"caller","transaction":true"#, Some("store.insert on brief")),
        (format!("{item},{emit}"), r#","runAs":"caller","transaction":true"#, Some("rules.emit on t")),
        (item.to_owned(), r#","runAs":"caller","transaction":true"#, None),
    ]
    .into_iter()
    .enumerate()
    {
        call(&mut world, &mut boss, &steps, more);
        let text = format!(r#"{{"id":3,"type":"procedures.call","name":"p","input":{{"n":{n}}}}}"#);
        let answers = world.ask(&mut clerk, &text);
        let expected = match refused {
            None => r#"{"id":3,"type":"result","data":{"success":true,"results":{}}}"#.to_owned(),
            Some(what) => {
                format!(
                    r#"{{"id":3,"type":"error","code":"FORBIDDEN","message":"No permission for {what}"}}"#
                )
            }
        };
        assert_eq!(answers, [expected], "{steps} {more}");
        let kept = ids(&mut world, &mut boss).contains(&format!("x{n}"));
        assert_eq!(kept, refused.is_none() || !more.contains("transaction"), "{steps} {more}");
    }
}

#[test]
fn definitions_of_the_options_are_loaded_or_stop_the_start() {
    let start = |definitions: &[&str], limits: Limits| {
        let definitions = definitions.iter().map(|text| (*text).to_owned()).collect();
        Hub::new(
            Options { procedures: Some(ProceduresOptions { limits, definitions }), ..options() },
            World::new(options()).now(),
        )
    };
    let valid = r#"{"name":"p","steps":[{"action":"return","value":1}]}"#;
    start(&[valid], Limits::default()).expect("valid");
    let secret = r#"{"name":"s","steps":[{"action":"store.count","bucket":"_users","as":"n"}]}"#;
    let reserved = Limits { system_buckets_reserved: true, ..Limits::default() };
    let StartError::Definitions(problems) =
        start(&[valid, r#"{"name":"","steps":[{}]}"#, "5", valid, secret], reserved).expect_err("wrong")
    else {
        panic!("another error");
    };
    let action = problems[1].clone();
    assert!(action.starts_with("procedures.definitions[1]: steps[0].action: expected one of: "), "{action}");
    assert_eq!(
        problems,
        [
            "procedures.definitions[1]: Missing or invalid \"name\": expected non-empty string",
            &action,
            "procedures.definitions[2]: Procedure config must be an object",
            "procedures.definitions[3]: Procedure \"p\" already exists",
            "procedures.definitions[4]: Cannot access system bucket \"_users\" directly",
        ]
    );
}

#[test]
fn a_read_under_the_store_s_lock_is_bounded() {
    let limits = Limits { records_locked_max: 5, ..Limits::default() };
    let procedures = ProceduresOptions { limits, ..ProceduresOptions::default() };
    let mut world = World::new(Options { procedures: Some(procedures), ..options() });
    let mut client = world.connect();
    for n in 0..6 {
        let text = format!(r#"{{"id":1,"type":"store.insert","bucket":"items","data":{{"id":"k{n}"}}}}"#);
        world.ask(&mut client, &text);
    }
    let read = r#"{"action":"store.where","bucket":"items","filter":{"n":1},"as":"x"}"#;
    let seen = call(&mut world, &mut client, read, TRANSACTION);
    let text = r#"Procedure \"p\" looks at more than 5 records"#;
    assert_eq!(seen, [format!(r#"{{"id":2,"type":"error","code":"VALIDATION_ERROR","message":"{text}"}}"#)]);
    assert_eq!(
        answered(&call(&mut world, &mut client, read, "")),
        [r#"{"id":2,"type":"result","data":{"success":true,"results":{"x":[]}}}"#]
    );
}

/// A step that may fail in several ways.
fn step() -> impl Strategy<Value = String> {
    let id = || select(vec!["a", "b", "c", "{{r.id}}", "{{all.0.id}}"]);
    let n = || select(vec!["1", "2", "\"text\"", r#""{{c}}""#]);
    prop_oneof![
        4 => (id(), n()).prop_map(|(id, n)| format!(
            r#"{{"action":"store.insert","bucket":"items","data":{{"id":"{id}","n":{n}}},"as":"r"}}"#
        )),
        2 => (id(), n()).prop_map(|(id, n)| format!(
            r#"{{"action":"store.update","bucket":"items","key":"{id}","data":{{"n":{n}}},"as":"r"}}"#
        )),
        2 => id().prop_map(|id| format!(r#"{{"action":"store.delete","bucket":"items","key":"{id}"}}"#)),
        2 => Just(r#"{"action":"store.where","bucket":"items","filter":{"n":1},"as":"all"}"#.to_owned()),
        1 => Just(r#"{"action":"store.count","bucket":"items","as":"c"}"#.to_owned()),
        1 => Just(r#"{"action":"rules.emit","topic":"t","data":{"c":"{{c}}"}}"#.to_owned()),
        1 => Just(r#"{"action":"if","condition":{"ref":"c","operator":"gt","value":1},
            "then":[{"action":"return","value":"{{all}}"}]}"#.to_owned()),
    ]
}

proptest! {
    /// A procedure that is a transaction either does all that the same steps do without one, with the same answer, or
    /// it changes nothing and nobody hears of it.
    #[test]
    fn a_transaction_does_all_or_nothing(
        before in vec(select(vec!["a", "b", "c"]), 0..3),
        steps in vec(step(), 1..8),
    ) {
        let run = |more: &str| {
            let mut world = World::new(with_rules());
            let mut client = world.connect();
            for id in &before {
                let text =
                    format!(r#"{{"id":1,"type":"store.insert","bucket":"items","data":{{"id":"{id}","n":1}}}}"#);
                world.ask(&mut client, &text);
            }
            world.ask(&mut client, r#"{"id":3,"type":"rules.subscribe","pattern":"*"}"#);
            world.ask(&mut client, r#"{"id":4,"type":"store.subscribe","query":"all"}"#);
            let initial = world.ask(&mut client, r#"{"id":5,"type":"store.all","bucket":"items"}"#);
            let mut answers = call(&mut world, &mut client, &steps.join(","), more);
            let at = answers.iter().position(|text| text.starts_with(r#"{"id":2,"#)).expect("an answer");
            let answer = answers.remove(at);
            let last = world.ask(&mut client, r#"{"id":5,"type":"store.all","bucket":"items"}"#);
            (answer, answers.len(), initial, last)
        };
        let (plain, _, _, plain_state) = run("");
        let (answer, heard, initial, state) = run(TRANSACTION);
        if plain.contains(r#""type":"result""#) {
            prop_assert_eq!(&answer, &plain);
            prop_assert_eq!(state, plain_state);
        } else if answer.contains(r#""type":"error""#) {
            prop_assert_eq!(state, initial);
            prop_assert_eq!(heard, 0);
        }
    }
}
