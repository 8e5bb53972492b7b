//! What an engine notes gives back its facts, rules and timers, and can be undone.

use crate::support::{Seeded, T, json, object};
use noex_json::{Object, Value};
use noex_rules::{Engine, EngineOptions, FACT_SPACE, KeptChange, RULE_SPACE, TIMER_SPACE};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Act {
    Set(&'static str, u8),
    Delete(&'static str),
    Emit(&'static str),
    Register(usize),
    Update(usize, u8),
    Enable(usize, bool),
    Unregister(usize),
    Wait(u64),
}

const RULES: [&str; 3] = [
    r#"{"id":"r0","name":"arm","trigger":{"type":"event","topic":"arm"},"actions":[
        {"type":"set_timer","timer":{"name":"once","duration":"700ms","onExpire":{"topic":"rang","data":{"n":1}}}},
        {"type":"set_timer","timer":{"name":"often","duration":"300ms","onExpire":{"topic":"rang","data":{}},
            "repeat":{"interval":"450ms","maxCount":3}}},
        {"type":"set_timer","timer":{"name":"daily","cron":"0 3 * * *","onExpire":{"topic":"rang","data":{}}}}]}"#,
    r#"{"id":"r1","name":"count","trigger":{"type":"event","topic":"rang"},"actions":[
        {"type":"set_fact","key":"rang:last","value":{"ref":"event.n"}},{"type":"cancel_timer","name":"once"}]}"#,
    r#"{"id":"r2","name":"clean","trigger":{"type":"fact","pattern":"a:*"},"conditions":[
        {"source":{"type":"fact","pattern":"b:*"},"operator":"exists","value":true}],
        "actions":[{"type":"delete_fact","key":"b:1"}]}"#,
];
const KEYS: [&str; 4] = ["a:1", "a:2", "b:1", "rang:last"];

fn act() -> impl Strategy<Value = Act> {
    let key = || prop::sample::select(&KEYS[..]);
    let rule = || 0..RULES.len();
    prop_oneof![
        4 => (key(), 0..3_u8).prop_map(|(key, n)| Act::Set(key, n)),
        2 => key().prop_map(Act::Delete),
        3 => prop::sample::select(&["arm", "rang", "other"][..]).prop_map(Act::Emit),
        2 => rule().prop_map(Act::Register),
        2 => (rule(), 0..3_u8).prop_map(|(rule, n)| Act::Update(rule, n)),
        1 => (rule(), any::<bool>()).prop_map(|(rule, on)| Act::Enable(rule, on)),
        1 => rule().prop_map(Act::Unregister),
        3 => prop_oneof![0..900_u64, Just(86_400_000)].prop_map(Act::Wait),
    ]
}

fn engine() -> Engine {
    let mut engine = Engine::new(EngineOptions::default(), Box::new(Seeded(77)));
    engine.keep(true);
    engine
}

fn perform(engine: &mut Engine, now: &mut u64, act: &Act) {
    let id = |rule: usize| format!("r{rule}");
    // Refusals, such as of an unknown rule, change nothing.
    let _ = match act {
        Act::Set(key, n) => engine.set_fact(*now, key, json(&n.to_string())).map(|_| ()),
        Act::Delete(key) => engine.delete_fact(*now, key).map(|_| ()),
        Act::Emit(topic) => engine.emit(*now, topic, object(r#"{"n":5}"#), None, None).map(|_| ()),
        Act::Register(rule) => engine.register_rule(*now, object(RULES[*rule])).map(|_| ()),
        Act::Update(rule, n) => {
            engine.update_rule(*now, &id(*rule), &object(&format!(r#"{{"priority":{n}}}"#))).map(|_| ())
        }
        Act::Enable(rule, true) => engine.enable_rule(*now, &id(*rule)),
        Act::Enable(rule, false) => engine.disable_rule(*now, &id(*rule)),
        Act::Unregister(rule) => engine.unregister_rule(*now, &id(*rule)),
        Act::Wait(ms) => {
            *now += ms;
            while engine.advance(*now) {}
            Ok(())
        }
    };
    let _ = engine.take_outputs();
}

fn picture(engine: &Engine) -> Vec<String> {
    let mut lines: Vec<String> = engine.all_facts().map(|fact| fact.to_value().to_json()).collect();
    lines.push(engine.rules().to_json());
    lines.extend(
        (0..RULES.len())
            .map(|rule| format!("{:?}", engine.get_rule(&format!("r{rule}")).map(|r| r.to_json()))),
    );
    for name in ["once", "often", "daily"] {
        let timer = engine.timer(name).map(|timer| {
            let data = timer.data.to_json();
            format!("{} {} {} {data} {:?}", timer.id, timer.expires_at, timer.topic, timer.correlation_id)
        });
        lines.push(format!("{name} {timer:?}"));
    }
    for pattern in ["a:*", "b:*", "*:*"] {
        lines.push(format!("{:?}", engine.query_facts(pattern).expect("accepted").len()));
    }
    lines.push(format!("{:?}", engine.next_deadline_ms()));
    lines
}

/// Texts by kind and key, in the order in which the keys came.
#[derive(Default)]
struct Texts(Vec<(&'static str, String, String)>);

impl Texts {
    fn apply(&mut self, changes: Vec<KeptChange>) {
        for change in changes {
            let at =
                self.0.iter().position(|(space, key, _)| (*space, &**key) == (change.space, &*change.key));
            match (at, change.text) {
                (Some(at), Some(text)) => self.0[at].2 = text,
                (None, Some(text)) => self.0.push((change.space, change.key.to_string(), text)),
                (Some(at), None) => {
                    self.0.remove(at);
                }
                (None, None) => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn what_is_noted_gives_the_engine_back(acts in prop::collection::vec(act(), 1..40)) {
        let (mut engine, mut now, mut texts) = (engine(), T, Texts::default());
        for act in &acts {
            perform(&mut engine, &mut now, act);
            texts.apply(engine.take_kept());
        }
        let mut fresh = self::engine();
        for (space, key, text) in &texts.0 {
            let restored = match *space {
                FACT_SPACE => fresh.restore_fact(key, text),
                RULE_SPACE => fresh.restore_rule(key, text),
                TIMER_SPACE => fresh.restore_timer(now, key, text),
                other => panic!("{other}"),
            };
            prop_assert_eq!(restored, Ok(()), "{} {}", key, text);
        }
        prop_assert_eq!(picture(&fresh), picture(&engine));
        prop_assert!(fresh.take_kept().is_empty());
    }

    #[test]
    fn undoing_gives_the_earlier_engine(
        before in prop::collection::vec(act(), 0..30),
        undone in prop::collection::vec(act(), 1..20),
        after in prop::collection::vec(act(), 0..10),
    ) {
        let (mut engine, mut now, mut texts) = (engine(), T, Texts::default());
        for act in &before {
            perform(&mut engine, &mut now, act);
        }
        texts.apply(engine.take_kept());
        let earlier = picture(&engine);
        for act in &undone {
            perform(&mut engine, &mut now, act);
        }
        engine.take_kept().into_iter().rev().for_each(|change| engine.undo_kept(change));
        prop_assert_eq!(picture(&engine), earlier);
        // What comes then is noted as if nothing had been undone.
        for act in &after {
            perform(&mut engine, &mut now, act);
        }
        texts.apply(engine.take_kept());
        let mut fresh = self::engine();
        for (space, key, text) in &texts.0 {
            let restored = match *space {
                FACT_SPACE => fresh.restore_fact(key, text),
                RULE_SPACE => fresh.restore_rule(key, text),
                _ => fresh.restore_timer(0, key, text),
            };
            prop_assert_eq!(restored, Ok(()));
        }
        prop_assert_eq!(picture(&fresh), picture(&engine));
    }
}

#[test]
fn an_overdue_timer_fires_once_and_a_daily_one_goes_on() {
    let mut engine = engine();
    let once = r#"{"id":"i","expiresAt":1000,"topic":"t","data":{},"interval":10}"#;
    engine.restore_timer(5_000, "late", once).expect("accepted");
    let daily = r#"{"id":"i","expiresAt":1000,"topic":"t","data":{},"cron":"0 3 * * *"}"#;
    engine.restore_timer(90_000_000, "daily", daily).expect("accepted");
    assert!(engine.timer("daily").is_some_and(|timer| timer.expires_at > 90_000_000));
    while engine.advance(5_000) {}
    assert_eq!(engine.history().count(), 2, "the first firing, and one for all that were missed");
    for text in ["", "[]", "{}", r#"{"id":"i","topic":"t","expiresAt":5,"cron":"bad"}"#] {
        engine.restore_timer(5_000, "bad", text).expect_err("refused");
        engine.restore_rule("bad", text).expect_err("refused");
        engine.restore_fact("bad", text).expect_err("refused");
    }
}

/// An engine with what was kept and what the configuration names.
fn restarted(texts: &Texts, presets: &[&str]) -> Engine {
    let mut fresh = self::engine();
    for (space, key, text) in &texts.0 {
        match *space {
            FACT_SPACE => fresh.restore_fact(key, text),
            _ => fresh.restore_timer(T, key, text),
        }
        .expect("it was kept");
    }
    preset(&mut fresh, presets);
    fresh
}

fn preset(engine: &mut Engine, keys: &[&str]) {
    for (place, key) in
        keys.iter().enumerate().filter(|(_, key)| engine.get_fact(key).is_none()).collect::<Vec<_>>()
    {
        engine.preset_fact(T, place, key, Value::Null).expect("room");
    }
}

#[test]
fn facts_of_the_configuration_keep_their_places_whether_written_or_not() {
    let presets = ["s:a", "s:b", "s:c"];
    let mut engine = engine();
    preset(&mut engine, &presets);
    for key in ["s:1", "s:b", "s:2"] {
        engine.set_fact(T, key, Value::from(1.0)).expect("accepted");
    }
    assert!(engine.delete_fact(T, "s:c").expect("accepted"));
    engine.set_fact(T, "s:c", Value::from(1.0)).expect("accepted");
    let keys =
        |engine: &Engine| -> Vec<String> { engine.all_facts().map(|fact| fact.key.to_string()).collect() };
    assert_eq!(keys(&engine), ["s:a", "s:b", "s:1", "s:2", "s:c"]);
    let mut texts = Texts::default();
    texts.apply(engine.take_kept());
    let mut again = restarted(&texts, &presets);
    assert_eq!(keys(&again), keys(&engine));
    again.set_fact(T, "s:3", Value::Null).expect("accepted");
    assert_eq!(keys(&again).last().map(String::as_str), Some("s:3"));
    // One that is new in the configuration takes nobody's place.
    let more = restarted(&texts, &["s:a", "s:b", "s:c", "s:d"]);
    assert_eq!(keys(&more), ["s:a", "s:b", "s:1", "s:2", "s:c", "s:d"]);
}

#[test]
fn a_timer_that_was_set_again_is_the_last_of_its_moment_after_a_restart_too() {
    let rule = r#"{"id":"r","name":"r","trigger":{"type":"event","topic":"go"},"actions":[
        {"type":"set_timer","timer":{"name":"z","duration":3000,"onExpire":{"topic":"Z","data":{}}}},
        {"type":"set_timer","timer":{"name":"y","duration":3000,"onExpire":{"topic":"Y","data":{}}}},
        {"type":"set_timer","timer":{"name":"z","duration":3000,"onExpire":{"topic":"Z2","data":{}}}}]}"#;
    let mut engine = engine();
    engine.register_rule(T, object(rule)).expect("accepted");
    engine.emit(T, "go", Object::new(), None, None).expect("accepted");
    let mut texts = Texts::default();
    texts.apply(engine.take_kept());
    texts.0.retain(|(space, ..)| *space == TIMER_SPACE);
    let mut fresh = restarted(&texts, &[]);
    for engine in [&mut engine, &mut fresh] {
        while engine.advance(T + 3000) {}
        let topics: Vec<String> = engine.history().map(|event| event.topic.to_string()).collect();
        assert_eq!(topics[topics.len() - 2..], ["Y", "Z2"]);
    }
}

/// Timers that were kept before timers had numbers, some of which have been set again since.
#[test]
fn timers_without_a_number_get_one_that_no_other_has() {
    let timer = |more: &str| format!(r#"{{"id":"i","expiresAt":{T},"topic":"t","data":{{}}{more}}}"#);
    let mut first = engine();
    first.restore_timer(T, "a", &timer("")).expect("accepted");
    let rule = r#"{"id":"r","name":"r","trigger":{"type":"event","topic":"go"},"actions":[
        {"type":"set_timer","timer":{"name":"n","duration":1,"onExpire":{"topic":"t","data":{}}}}]}"#;
    first.register_rule(T, object(rule)).expect("accepted");
    first.emit(T - 1, "go", Object::new(), None, None).expect("accepted");
    let mut kept = Texts::default();
    kept.apply(first.take_kept());
    let numbered = kept.0.iter().find(|(_, key, _)| key == "n").expect("set").2.clone();
    let mut engine = engine();
    for (name, text) in [("b", timer("")), ("n", numbered), ("c", timer("")), ("d", timer(""))] {
        engine.restore_timer(T, name, &text).expect("accepted");
    }
    while engine.advance(T + 1) {}
    assert_eq!(engine.history().count(), 4);
    // One that fires again is kept without a number still, so that it takes nobody's at the next start.
    let mut again = self::engine();
    for name in ["gone", "repeats"] {
        again.restore_timer(T, name, &timer(r#","interval":10"#)).expect("accepted");
    }
    let _ = again.take_kept();
    while again.advance(T) {}
    let kept: Vec<String> = again.take_kept().into_iter().filter_map(|change| change.text).collect();
    assert!(kept.len() >= 2 && kept.iter().all(|text| !text.contains("sequence")), "{kept:?}");
    engine.restore_timer(T, "bad", &timer(r#","sequence":1e999"#)).expect_err("refused");
    engine
        .restore_fact("bad", r#"{"value":1,"timestamp":1,"version":1,"sequence":1e999}"#)
        .expect_err("refused");
}
