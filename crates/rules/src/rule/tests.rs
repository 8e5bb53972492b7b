use super::*;
use crate::{Pattern, Scope};
use noex_json::parse;

/// A scope of a test.
#[derive(Debug, Default)]
pub(crate) struct World {
    payload: Value,
    facts: Vec<(String, Value)>,
    variables: Vec<(String, Value)>,
    lookups: Vec<(String, Value)>,
    envelope: Vec<(String, Value)>,
    matched: Vec<Value>,
    aliases: Vec<(String, Value)>,
}

fn v(text: &str) -> Value {
    parse(text, 256).expect(text)
}

fn find<'a>(list: &'a [(String, Value)], name: &str) -> Option<&'a Value> {
    list.iter().find(|(other, _)| other == name).map(|(_, value)| value)
}

impl World {
    pub(crate) fn new(payload: &str) -> Self {
        Self::of(v(payload))
    }

    pub(crate) fn of(payload: Value) -> Self {
        Self { payload, ..Self::default() }
    }

    pub(crate) fn fact(mut self, key: &str, value: &str) -> Self {
        self.facts.push((key.to_owned(), v(value)));
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), v(value)));
        self
    }

    pub(crate) fn lookup(mut self, name: &str, value: &str) -> Self {
        self.lookups.push((name.to_owned(), v(value)));
        self
    }

    pub(crate) fn envelope(mut self, name: &str, value: &str) -> Self {
        self.envelope.push((name.to_owned(), v(value)));
        self
    }

    pub(crate) fn matched(mut self, data: &str) -> Self {
        self.matched.push(v(data));
        self
    }

    pub(crate) fn alias(mut self, name: &str, data: &str) -> Self {
        self.aliases.push((name.to_owned(), v(data)));
        self
    }
}

impl Scope for World {
    fn payload(&self) -> &Value {
        &self.payload
    }

    fn envelope(&self, name: &str) -> Option<Value> {
        find(&self.envelope, name).cloned()
    }

    fn fact(&self, key: &str) -> Option<&Value> {
        find(&self.facts, key)
    }

    fn first_fact(&self, pattern: &Pattern) -> Option<&Value> {
        self.facts.iter().find(|(key, _)| pattern.matches(key)).map(|(_, value)| value)
    }

    fn variable(&self, name: &str) -> Option<&Value> {
        find(&self.variables, name)
    }

    fn matched(&self, index: usize) -> Option<&Value> {
        self.matched.get(index)
    }

    fn matched_alias(&self, alias: &str) -> Option<&Value> {
        find(&self.aliases, alias)
    }

    fn lookup(&self, name: &str) -> Option<&Value> {
        find(&self.lookups, name)
    }
}

fn compile(text: &str) -> Rule {
    let Value::Object(object) = v(text) else { panic!("an object") };
    Rule::compile(*object).expect(text)
}

fn with_actions(actions: &str) -> Rule {
    compile(&format!(
        r#"{{"id":"a","name":"a","trigger":{{"type":"event","topic":"x"}},"actions":{actions}}}"#
    ))
}

#[test]
fn defaults_are_filled_in_and_unknown_members_kept() {
    let rule = compile(
        r#"{"id":"m","name":"M","trigger":{"type":"event","topic":"x"},"ui":{"x":10},"version":9,"createdAt":1,"updatedAt":2}"#,
    );
    let expected = r#"{"id":"m","name":"M","trigger":{"type":"event","topic":"x"},"ui":{"x":10},"priority":0,"enabled":true,"tags":[],"conditions":[],"actions":[]}"#;
    assert_eq!(Value::from(rule.source().clone()).to_json(), expected);
    assert!(rule.enabled && rule.priority == 0.0 && rule.tags.is_empty() && rule.group.is_none());
    assert!(rule.conditions.is_empty() && rule.actions.is_empty() && rule.lookups.is_empty());
}

/// Example 24: what an update may not touch is ignored.
#[test]
fn updates_replace_top_level_members() {
    let rule = compile(r#"{"id":"u1","name":"u1","tags":["t"],"trigger":{"type":"event","topic":"go"}}"#);
    let updates = v(
        r#"{"priority":5,"id":"zzz","version":99,"createdAt":1,"updatedAt":2,"trigger":{"type":"bad"},"color":"red"}"#,
    );
    let merged = rule.merge(updates.as_object().expect("object"));
    let expected = r#"{"id":"u1","name":"u1","tags":["t"],"trigger":{"type":"bad"},"priority":5,"enabled":true,"conditions":[],"actions":[],"color":"red"}"#;
    assert_eq!(Value::from(merged.clone()).to_json(), expected);
    let errors = Rule::compile(merged).expect_err("bad trigger");
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].path, "trigger.type");
}

#[test]
fn enabling_and_groups_show_in_the_source() {
    let mut rule = compile(r#"{"id":"a","name":"a","group":"G","trigger":{"type":"event","topic":"x"}}"#);
    rule.set_enabled(false);
    assert!(!rule.enabled && rule.source().get("enabled") == Some(&Value::Bool(false)));
    assert_eq!(rule.group.as_deref(), Some("G"));
    rule.clear_group();
    assert!(rule.group.is_none() && !rule.source().contains("group"));
}

#[test]
fn triggers() {
    let trigger = |text: &str| compile(&format!(r#"{{"id":"a","name":"a","trigger":{text}}}"#)).trigger;
    assert!(matches!(trigger(r#"{"type":"event","topic":"a.*"}"#), Trigger::Event(p) if p.matches("a.b.c")));
    assert!(matches!(trigger(r#"{"type":"timer","name":"a:*"}"#), Trigger::Timer(p) if !p.matches("a:b:c")));
    let Trigger::Fact { pattern, on } = trigger(r#"{"type":"fact","pattern":"a:*"}"#) else { panic!("fact") };
    assert!(pattern.matches("a:b") && on.created && on.updated && !on.deleted);
    let Trigger::Fact { on, .. } = trigger(r#"{"type":"fact","pattern":"a","on":["deleted"]}"#) else {
        panic!("fact")
    };
    assert!(!on.created && !on.updated && on.deleted);
}

#[test]
fn temporal_triggers() {
    let temporal = |text: &str| {
        let rule =
            compile(&format!(r#"{{"id":"a","name":"a","trigger":{{"type":"temporal","pattern":{text}}}}}"#));
        let Trigger::Temporal(temporal) = rule.trigger else { panic!("temporal") };
        temporal
    };
    let sequence = temporal(
        r#"{"type":"sequence","events":[{"topic":"a","filter":{"n.k":1},"as":"first"},{"topic":"b.*"}],"within":"10s","groupBy":"u","strict":true}"#,
    );
    let TemporalKind::Sequence { steps, within_ms: 10_000, strict: true } = &sequence.kind else {
        panic!("sequence")
    };
    assert_eq!(steps[0].alias.as_deref(), Some("first"));
    assert!(
        steps[0].accepts("a", &v(r#"{"n":{"k":1.0}}"#)) && !steps[0].accepts("a", &v(r#"{"n":{"k":2}}"#))
    );
    assert!(!steps[0].accepts("x", &v(r#"{"n":{"k":1}}"#)) && !steps[0].accepts("a", &v("{}")));
    assert!(steps[1].accepts("b.c", &v("{}")) && sequence.group_by.is_some());

    let count = temporal(r#"{"type":"count","event":{"topic":"x"},"threshold":3,"window":60000}"#);
    assert!(matches!(
        count.kind,
        TemporalKind::Count {
            comparison: Comparison::Gte,
            window_ms: 60_000,
            sliding: false,
            threshold: 3.0,
            ..
        }
    ));
    let aggregate = temporal(
        r#"{"type":"aggregate","event":{"topic":"x"},"field":"v","function":"avg","threshold":-1,"comparison":"lte","window":"1h","sliding":true}"#,
    );
    assert!(matches!(
        aggregate.kind,
        TemporalKind::Aggregate {
            function: Aggregation::Avg,
            comparison: Comparison::Lte,
            sliding: true,
            ..
        }
    ));
    let absence =
        temporal(r#"{"type":"absence","after":{"topic":"o"},"expected":{"topic":"p"},"within":"1d"}"#);
    assert!(matches!(absence.kind, TemporalKind::Absence { within_ms: 86_400_000, .. }));
    assert!(
        Comparison::Eq.holds(3.0, 3.0) && Comparison::Lte.holds(2.0, 3.0) && !Comparison::Gte.holds(2.0, 3.0)
    );
}

#[test]
fn timers() {
    let schedule = |members: &str| {
        let rule = with_actions(&format!(
            r#"[{{"type":"set_timer","timer":{{"name":"n",{members},"onExpire":{{"topic":"t","data":{{"a":{{"ref":"event.a"}}}}}}}}}}]"#
        ));
        let [Action::SetTimer(timer)] = &*rule.actions else { panic!("one timer") };
        assert_eq!(
            (timer.name.as_constant(), timer.topic.as_constant(), timer.data.len()),
            (Some("n"), Some("t"), 1)
        );
        timer.schedule.clone()
    };
    assert!(matches!(schedule(r#""duration":"30d""#), Schedule::Once { after_ms: 2_592_000_000 }));
    assert!(matches!(schedule(r#""duration":"500""#), Schedule::Once { after_ms: 500 }));
    assert!(matches!(
        schedule(r#""duration":"1s","repeat":{"interval":"2s","maxCount":2}"#),
        Schedule::Repeat { after_ms: 1000, interval_ms: 2000, fires_max: Some(2) }
    ));
    assert!(matches!(
        schedule(r#""duration":"1s","maxCount":2,"repeat":{"interval":10,"maxCount":"x"}"#),
        Schedule::Repeat { interval_ms: 10, fires_max: None, .. }
    ));
    let Schedule::Cron { cron, fires_max } = schedule(r#""cron":"* * * * *","maxCount":3"#) else {
        panic!("cron")
    };
    assert_eq!((cron.text(), fires_max), ("* * * * *", Some(3)));
    assert!(matches!(schedule(r#""duration":"1h","cron":"* * * * *""#), Schedule::Cron { .. }));
}

#[test]
fn actions_of_every_type() {
    let rule = with_actions(
        r#"[{"type":"set_fact","key":"k","value":null},{"type":"delete_fact","key":"k"},
        {"type":"emit_event","topic":"t","data":{}},{"type":"cancel_timer","name":"n"},
        {"type":"call_service","service":"s","method":"m"},{"type":"log","level":"warn","message":"x"},
        {"type":"conditional","conditions":[{"source":{"type":"event","field":"a"},"operator":"exists"}],"then":[{"type":"delete_fact","key":"k"}]},
        {"type":"for_each","collection":[1],"as":"i","actions":[]},
        {"type":"try_catch","try":[{"type":"delete_fact","key":"k"}],"catch":{"as":"e","actions":[{"type":"delete_fact","key":"k"}]}},
        {"type":"set_timer","timer":{"name":"n","duration":1,"onExpire":{"topic":5,"data":{}}}}]"#,
    );
    let kinds: Vec<_> = rule.actions.iter().map(Action::kind).collect();
    assert_eq!(
        kinds,
        [
            "set_fact",
            "delete_fact",
            "emit_event",
            "cancel_timer",
            "call_service",
            "log",
            "conditional",
            "for_each",
            "try_catch",
            "set_timer"
        ]
    );
    let Action::ForEach { variable, index_variable, iterations_max: 1000, .. } = &rule.actions[7] else {
        panic!("for_each")
    };
    assert_eq!((variable.as_str(), index_variable.as_str()), ("i", "i_index"));
    let Action::TryCatch { catch: Some(catch), finally, .. } = &rule.actions[8] else { panic!("try_catch") };
    assert!(catch.variable.as_deref() == Some("e") && finally.is_empty());
    assert!(matches!(rule.actions[9], Action::Doomed { .. }));
}

#[test]
fn iterations_are_limited() {
    for (text, expected) in [("2", 2), ("0", 0), ("-1", 0), ("1e9", 100_000), ("\"x\"", 1000), ("2.9", 2)] {
        let rule = with_actions(&format!(
            r#"[{{"type":"for_each","collection":[],"as":"i","actions":[],"maxIterations":{text}}}]"#
        ));
        assert!(
            matches!(&rule.actions[0], Action::ForEach { iterations_max, .. } if *iterations_max == expected),
            "{text}"
        );
    }
}

#[test]
fn lookups() {
    let rule = compile(
        r#"{"id":"a","name":"a","trigger":{"type":"event","topic":"x"},"lookups":[{"name":"l","service":"s","method":"m","args":[1,{"ref":"event.id"}],"cache":{"ttl":"5m"},"onError":"fail"},{"name":"k","service":"s","method":"m"}]}"#,
    );
    assert_eq!((rule.lookups[0].args.len(), rule.lookups[0].ttl_ms), (2, Some(300_000)));
    assert_eq!(rule.lookups[0].on_error, OnLookupError::Fail);
    assert_eq!((rule.lookups[1].ttl_ms, rule.lookups[1].on_error), (None, OnLookupError::Skip));
}
