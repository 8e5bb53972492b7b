//! Procedures that are kept, undone, and come back.

use crate::{
    durability::{Scripted, lost, result, world_with},
    world::{World, options},
};
use noex_host::{
    Hub, Options, ProceduresOptions, RulesOptions, StartError, procedures_engine::Limits, store::MemoryImage,
};
use std::sync::Arc;

fn with(definitions: &[&str], limits: Limits) -> Options {
    let definitions = definitions.iter().map(ToString::to_string).collect();
    Options {
        procedures: Some(ProceduresOptions { definitions, limits }),
        rules: Some(RulesOptions::default()),
        ..options()
    }
}

fn world(definitions: &[&str], image: MemoryImage) -> (World, Arc<Scripted>) {
    world_with(with(definitions, Limits::default()), image)
}

fn definition(name: &str, value: usize) -> String {
    format!(r#"{{"name":"{name}","steps":[{{"action":"return","value":{value}}}]}}"#)
}

fn register(id: usize, name: &str, value: usize) -> String {
    let definition = definition(name, value);
    format!(r#"{{"id":{id},"type":"procedures.register","procedure":{definition}}}"#)
}

fn update(id: usize, name: &str, value: usize) -> String {
    let updates = format!(r#"{{"steps":[{{"action":"return","value":{value}}}]}}"#);
    format!(r#"{{"id":{id},"type":"procedures.update","name":"{name}","updates":{updates}}}"#)
}

fn named(id: usize, kind: &str, name: &str) -> String {
    format!(r#"{{"id":{id},"type":"procedures.{kind}","name":"{name}"}}"#)
}

const LIST: &str = r#"{"id":99,"type":"procedures.list"}"#;

fn listed(names: &[&str]) -> String {
    let list: Vec<String> =
        names.iter().map(|name| format!(r#"{{"name":"{name}","stepsCount":1}}"#)).collect();
    result(99, &format!(r#"{{"procedures":[{}]}}"#, list.join(",")))
}

#[test]
fn changes_of_definitions_wait_and_are_undone() {
    let (mut world, journal) = world(&[], MemoryImage::default());
    let (mut admin, mut other) = (world.connect(), world.connect());
    journal.prompt(true);
    for name in ["b", "a"] {
        assert_eq!(
            world.ask(&mut admin, &register(1, name, 1)),
            [result(1, &format!(r#"{{"name":"{name}","registered":true}}"#))]
        );
    }
    journal.prompt(false);
    admin.text(&register(1, "new", 1));
    admin.text(&update(2, "a", 2));
    admin.text(&named(3, "unregister", "b"));
    admin.text(&register(4, "b", 5));
    assert!(world.exchange(&mut admin).is_empty());
    assert!(world.ask(&mut other, LIST).is_empty(), "what is seen of them waits too");
    journal.fail();
    assert_eq!(world.exchange(&mut admin), [lost(1), lost(2), lost(3), lost(4)]);
    assert_eq!(world.exchange(&mut other), [listed(&["b", "a"])], "executed anew");
    for (name, value) in [("b", 1), ("a", 1)] {
        let told = world.ask(&mut other, &named(5, "get", name));
        assert_eq!(told, [result(5, &definition(name, value))]);
    }
    assert!(world.ask(&mut other, &named(6, "call", "new"))[0].contains("NOT_FOUND"));
    // Kept this time.
    world.ask(&mut admin, &update(7, "a", 3));
    journal.keep();
    assert_eq!(world.exchange(&mut admin), [result(7, r#"{"name":"a","updated":true}"#)]);
    assert_eq!(world.ask(&mut other, &named(8, "get", "a")), [result(8, &definition("a", 3))]);
}

#[test]
fn procedures_come_back_and_those_of_the_config_win() {
    let config = definition("fixed", 7);
    let (mut world1, journal) = world(&[&config], MemoryImage::default());
    let mut client = world1.connect();
    journal.prompt(true);
    for text in [
        register(1, "c", 1),
        register(2, "gone", 1),
        register(3, "a", 1),
        update(4, "c", 2),
        named(5, "unregister", "gone"),
        update(6, "fixed", 8),
    ] {
        let told = world1.ask(&mut client, &text);
        assert!(told[0].contains(r#""result""#), "{told:?}");
    }
    let image = journal.image();
    let (mut world2, _journal) = world(&[&config], image.clone());
    let mut client = world2.connect();
    assert_eq!(world2.ask(&mut client, LIST), [listed(&["fixed", "c", "a"])]);
    assert_eq!(world2.ask(&mut client, &named(1, "get", "c")), [result(1, &definition("c", 2))]);
    assert_eq!(world2.ask(&mut client, &named(1, "get", "fixed")), [result(1, &config)], "the config wins");
    // Without it the stored one is there again.
    let (mut world3, _journal) = world(&[], image.clone());
    let mut client = world3.connect();
    assert_eq!(world3.ask(&mut client, &named(1, "get", "fixed")), [result(1, &definition("fixed", 8))]);
    // What is stored must still be allowed.
    let limits = Limits { procedures_max: 1, ..Limits::default() };
    let persistence = crate::durability::persistence(&Arc::new(Scripted::default()), image);
    let options = Options { persistence: Some(persistence), ..with(&[], limits) };
    let Err(StartError::Definitions(problems)) = Hub::new(options, world3.now()) else { panic!("started") };
    assert_eq!(problems, [r#"stored procedure "a": Limit reached: at most 1 procedures"#]);
}

const WRITES: &str = r#""steps":[
    {"action":"store.insert","bucket":"items","data":{"id":"1","n":1}},
    {"action":"rules.setFact","key":"done","value":true},
    {"action":"store.insert","bucket":"items","data":{"id":"2","n":2}}]"#;

#[test]
fn what_a_procedure_has_done_is_kept_before_its_reply() {
    let (mut world, journal) = world(&[], MemoryImage::default());
    let (mut client, mut reader) = (world.connect(), world.connect());
    journal.prompt(true);
    for (name, more) in [("whole", r#","transaction":true"#), ("steps", "")] {
        let register = format!(
            r#"{{"id":1,"type":"procedures.register","procedure":{{"name":"{name}",{WRITES}{more}}}}}"#
        );
        assert!(world.ask(&mut client, &register)[0].contains("registered"));
    }
    journal.prompt(false);
    let fact = r#"{"id":2,"type":"rules.getFact","key":"done"}"#;
    let count = r#"{"id":3,"type":"store.count","bucket":"items"}"#;
    for (name, refusal) in [
        ("whole", "Write could not be stored; nothing was changed"),
        ("steps", "Steps of the procedure could not be stored; earlier ones may be in effect"),
    ] {
        journal.sizes();
        assert!(world.ask(&mut client, &named(1, "call", name)).is_empty());
        assert!(world.ask(&mut reader, fact).is_empty() && world.ask(&mut reader, count).is_empty());
        assert_eq!(journal.sizes().len(), 1, "all of it in one group");
        journal.fail();
        let told = world.exchange(&mut client);
        assert_eq!(
            told,
            [format!(r#"{{"id":1,"type":"error","code":"INTERNAL_ERROR","message":"{refusal}"}}"#)]
        );
        assert_eq!(world.exchange(&mut reader), [result(2, "null"), result(3, "0")]);
    }
    world.ask(&mut client, &named(1, "call", "whole"));
    journal.keep();
    assert!(world.exchange(&mut client)[0].contains(r#""result""#));
    assert_eq!(world.ask(&mut reader, count), [result(3, "2")]);
}
