//! Rules on events and facts, and what they cause: examples 1 to 12 and 15 to 18, 23 and 27.

use crate::support::World;

#[test]
fn example_1_condition_reference_and_key_template() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"big-order","trigger":{"type":"event","topic":"order.created"},
            "conditions":[{"source":{"type":"event","field":"total"},"operator":"gte","value":100}],
            "actions":[{"type":"set_fact","key":"order:${event.orderId}:status","value":"review"},
                       {"type":"emit_event","topic":"order.flagged","data":{"orderId":{"ref":"event.orderId"},"limit":100}}]}"#,
    );
    world.emit("order.created", r#"{"orderId":"A1","total":250}"#);
    world.emit("order.created", r#"{"orderId":"A2","total":20}"#);
    assert_eq!(
        world.events(),
        [
            r#"+0 order.created {"orderId":"A1","total":250} api"#,
            r#"+0 order.flagged {"orderId":"A1","limit":100} rule"#,
            r#"+0 order.created {"orderId":"A2","total":20} api"#,
        ]
    );
    assert_eq!(world.facts(), [r#"order:A1:status = "review" v1 rule"#]);
    assert_eq!(world.counts(), [3, 1, 0, 1, 1]);
}

#[test]
fn example_2_where_references_are_resolved() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"resolve","trigger":{"type":"event","topic":"go"},"actions":[
            {"type":"set_fact","key":"k:${event.id}:${event.nest.a}:${event.missing}:${event.obj}:${event.arr}:${event.nul}:${event.num}:${event.flag}","value":"literal ${event.id}"},
            {"type":"set_fact","key":"whole","value":{"ref":"event"}},
            {"type":"set_fact","key":"missing","value":{"ref":"event.nope"}},
            {"type":"emit_event","topic":"t.${event.id}","data":{"a":{"ref":"event.nest"},"deep":{"b":{"ref":"event.id"}},"list":[{"ref":"event.id"}],"tmpl":"${event.id}","gone":{"ref":"event.nope"}}},
            {"type":"log","level":"info","message":"id=${event.id} whole=${event.obj}"}]}"#,
    );
    let data = r#"{"id":1,"nest":{"a":"A"},"obj":{"x":1},"arr":[1,[2,3]],"nul":null,"num":1.5,"flag":false}"#;
    world.emit("go", data);
    let outputs = world.take_outputs();
    let logged = outputs.iter().any(|output| {
        matches!(output, noex_rules::Output::Log { message, rule: Some(rule), .. }
            if message == r#"id=1 whole={"x":1}"# && rule == "resolve")
    });
    assert!(logged, "{outputs:?}");
    let expected = [
        r#"k:1:A::{"x":1}:1,2,3::1.5:false = "literal ${event.id}" v1 rule"#.to_owned(),
        format!("whole = {data} v1 rule"),
        "missing = null v1 rule".to_owned(),
    ];
    assert_eq!(world.facts(), expected);
    world.emit("go", data);
    assert_eq!(
        world.events()[1],
        r#"+0 t.1 {"a":{"a":"A"},"deep":{"b":{"ref":"event.id"}},"list":[{"ref":"event.id"}],"tmpl":"${event.id}"} rule"#
    );
}

#[test]
fn example_3_reference_sources() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"refs","trigger":{"type":"event","topic":"x"},"actions":[{"type":"emit_event","topic":"out","data":{
            "whole":{"ref":"event"},"viaTrigger":{"ref":"trigger.id"},"m0":{"ref":"matched.0.id"},"m1":{"ref":"matched.1.id"},
            "f":{"ref":"fact.user:u1:tier"},"fdyn":{"ref":"fact.user:${event.id}:tier"},"fdot":{"ref":"fact.user:u1:profile.city"},
            "v":{"ref":"var.none"},"idx":{"ref":"event.list.1.n"}}}]}"#,
    );
    world.set("user:u1:tier", r#""gold""#);
    world.set("user:u1:profile", r#"{"city":"Brno"}"#);
    world.emit("x", r#"{"id":"u1","list":[{"n":1},{"n":2}]}"#);
    assert_eq!(
        world.events()[1],
        concat!(
            r#"+0 out {"whole":{"id":"u1","list":[{"n":1},{"n":2}]},"viaTrigger":"u1","m0":"u1","f":"gold","#,
            r#""fdyn":"gold","fdot":"Brno","idx":2} rule"#
        )
    );
}

/// A rule that writes the fact `ran:<id>`.
fn runner(id: &str, topic: &str, priority: i32) -> String {
    format!(
        r#"{{"id":"{id}","priority":{priority},"trigger":{{"type":"event","topic":"{topic}"}},
            "actions":[{{"type":"set_fact","key":"ran:{id}","value":1}}]}}"#
    )
}

#[test]
fn example_4_priority_ties_and_exact_before_wildcard() {
    let mut world = World::new();
    for (id, topic, priority) in [
        ("wild", "o.*", 0),
        ("low", "o.a", -5),
        ("high", "o.a", 50),
        ("first", "o.a", 0),
        ("second", "o.a", 0),
    ] {
        world.rule(&runner(id, topic, priority));
    }
    world.emit("o.a", "{}");
    let order: Vec<String> =
        world.facts().iter().map(|fact| fact.split(' ').next().expect("a key").to_owned()).collect();
    assert_eq!(order, ["ran:high", "ran:first", "ran:second", "ran:wild", "ran:low"]);
}

#[test]
fn examples_5_and_6_a_rule_sees_what_the_ones_before_it_did() {
    for first in ["", r#"{"type":"emit_event","topic":"mid","data":{}},"#] {
        let mut world = World::new();
        world.rule(&format!(
            r#"{{"id":"hi","priority":10,"trigger":{{"type":"event","topic":"go"}},
                "actions":[{first}{{"type":"set_fact","key":"flag","value":true}}]}}"#
        ));
        world.rule(
            r#"{"id":"lo","priority":1,"trigger":{"type":"event","topic":"go"},
                "conditions":[{"source":{"type":"fact","pattern":"flag"},"operator":"eq","value":true}],
                "actions":[{"type":"emit_event","topic":"lo.fired","data":{}}]}"#,
        );
        world.emit("go", "{}");
        let events = world.events();
        assert_eq!(events.last().map(String::as_str), Some("+0 lo.fired {} rule"), "{events:?}");
    }
}

#[test]
fn example_7_consequences_are_depth_first() {
    let mut world = World::new();
    for (id, priority, topic, emits) in [
        ("A", 10, "go", vec!["a1", "a2"]),
        ("B", 5, "go", vec!["b1", "b2"]),
        ("A1", 0, "a1", vec!["a1.child"]),
    ] {
        let emits: Vec<String> = emits
            .iter()
            .map(|topic| format!(r#"{{"type":"emit_event","topic":"{topic}","data":{{}}}}"#))
            .collect();
        world.rule(&format!(
            r#"{{"id":"{id}","priority":{priority},"trigger":{{"type":"event","topic":"{topic}"}},"actions":[{}]}}"#,
            emits.join(",")
        ));
    }
    world.emit("go", "{}");
    let order: Vec<String> =
        world.events().iter().map(|line| line.split(' ').nth(1).expect("a topic").to_owned()).collect();
    assert_eq!(order, ["go", "a1", "a1.child", "a2", "b1", "b2"]);
}

#[test]
fn example_8_a_rule_that_triggers_itself() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"loop","trigger":{"type":"event","topic":"ping"},
            "actions":[{"type":"emit_event","topic":"ping","data":{"n":1}}]}"#,
    );
    world.emit("ping", "{}");
    assert_eq!(world.events().len(), 11);
    assert_eq!(world.counts(), [11, 10, 0, 1, 0]);
    assert_eq!(world.engine.stats().depth_limit_hits, 1);
}

/// However deep its actions are nested.
#[test]
fn nested_actions_do_not_shorten_a_chain() {
    for nesting in [0, 15, 16, 30, 31] {
        let mut action = r#"{"type":"emit_event","topic":"ping","data":{}}"#.to_owned();
        for _ in 0..nesting {
            action = format!(
                r#"{{"type":"conditional","conditions":[{{"source":{{"type":"event","field":"no"}},"operator":"not_exists","value":true}}],"then":[{action}]}}"#
            );
        }
        let mut world = World::new();
        world.rule(&format!(
            r#"{{"id":"loop","trigger":{{"type":"event","topic":"ping"}},"actions":[{action}]}}"#
        ));
        world.emit("ping", "{}");
        assert_eq!((world.events().len(), world.counts()[1]), (11, 10), "{nesting}: {:?}", world.failures());
    }
}

#[test]
fn example_9_depth_belongs_to_a_chain() {
    let mut world = World::new();
    for i in 0..12 {
        world.rule(&format!(
            r#"{{"id":"r{i}","trigger":{{"type":"event","topic":"go"}},
                "actions":[{{"type":"emit_event","topic":"sub","data":{{"i":{i}}}}}]}}"#
        ));
    }
    world.rule(
        r#"{"id":"consume","trigger":{"type":"event","topic":"sub"},
            "actions":[{"type":"set_fact","key":"sub:${event.i}","value":1}]}"#,
    );
    world.emit("go", "{}");
    assert_eq!(world.counts(), [13, 24, 0, 13, 12]);
    assert_eq!(world.engine.stats().depth_limit_hits, 0);
}

#[test]
fn example_10_fact_trigger() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"watch","trigger":{"type":"fact","pattern":"user:*:tier"},"actions":[{"type":"emit_event","topic":"tier.seen","data":{
            "key":{"ref":"trigger.fact.key"},"value":{"ref":"event.fact.value"},"version":{"ref":"event.fact.version"},
            "source":{"ref":"event.fact.source"},"documentedKey":{"ref":"event.key"},"before":{"ref":"event.previousValue"},
            "type":{"ref":"event.type"},"m":{"ref":"matched.0"},"cap":{"ref":"event.$captures.0"}}}]}"#,
    );
    let first = world.set("user:1:tier", r#""gold""#);
    assert_eq!(
        first,
        r#"{"key":"user:1:tier","value":"gold","timestamp":1700000000000,"source":"api","version":1}"#
    );
    world.set("user:1:tier", r#""gold""#);
    world.set("user:1:tier:x", r#""gold""#);
    world.set("other", r#""gold""#);
    assert_eq!(
        world.events(),
        [
            concat!(
                r#"+0 tier.seen {"key":"user:1:tier","value":"gold","version":1,"source":"api","#,
                r#""documentedKey":"user:1:tier","type":"created","cap":"1"} rule"#
            ),
            concat!(
                r#"+0 tier.seen {"key":"user:1:tier","value":"gold","version":2,"source":"api","#,
                r#""documentedKey":"user:1:tier","before":"gold","type":"updated","cap":"1"} rule"#
            ),
        ]
    );
    assert_eq!(world.counts(), [2, 2, 0, 1, 3]);
}

#[test]
fn example_11_deleting_triggers_nothing_unless_asked() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"watch","trigger":{"type":"fact","pattern":"*"},
            "actions":[{"type":"emit_event","topic":"seen","data":{"k":{"ref":"event.fact.key"}}}]}"#,
    );
    world.rule(
        r#"{"id":"rm","trigger":{"type":"event","topic":"rm"},"actions":[{"type":"delete_fact","key":"b"}]}"#,
    );
    world.set("a", "1");
    world.set("b", "2");
    assert_eq!([world.delete("a"), world.delete("a")], [true, false]);
    world.emit("rm", "{}");
    assert_eq!(world.events(), [r#"+0 seen {"k":"a"} rule"#, r#"+0 seen {"k":"b"} rule"#, "+0 rm {} api"]);
    assert!(world.facts().is_empty());

    world.rule(
        r#"{"id":"gone","trigger":{"type":"fact","pattern":"*","on":["deleted"]},"actions":[{"type":"emit_event","topic":"gone",
            "data":{"k":{"ref":"event.key"},"was":{"ref":"event.previousValue"},"v":{"ref":"event.value"},"how":{"ref":"event.type"}}}]}"#,
    );
    world.set("b", "3");
    world.emit("rm", "{}");
    world.emit("rm", "{}");
    let events = world.events();
    assert_eq!(events[2], r#"+0 gone {"k":"b","was":3,"how":"deleted"} rule"#);
    assert_eq!(events.len(), 4, "{events:?}");
}

#[test]
fn example_12_facts_of_rules_trigger_rules() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"spend","trigger":{"type":"event","topic":"purchase"},"actions":[
            {"type":"set_fact","key":"c:${event.id}:spend","value":{"ref":"event.total"}},
            {"type":"emit_event","topic":"logged","data":{}}]}"#,
    );
    world.rule(
        r#"{"id":"vip","trigger":{"type":"fact","pattern":"c:*:spend"},
            "conditions":[{"source":{"type":"event","field":"fact.value"},"operator":"gte","value":1000}],
            "actions":[{"type":"emit_event","topic":"vip","data":{"key":{"ref":"event.fact.key"}}}]}"#,
    );
    world.emit("purchase", r#"{"id":"7","total":1500}"#);
    world.set("c:8:spend", "2000");
    assert_eq!(
        world.events(),
        [
            r#"+0 purchase {"id":"7","total":1500} api"#,
            r#"+0 vip {"key":"c:7:spend"} rule"#,
            "+0 logged {} rule",
            r#"+0 vip {"key":"c:8:spend"} rule"#,
        ]
    );
    assert_eq!(world.engine.stats().rules_executed, 3);
}

#[test]
fn a_chain_through_facts_is_cut_at_its_depth() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"spin","trigger":{"type":"fact","pattern":"n"},
            "actions":[{"type":"set_fact","key":"n","value":1}]}"#,
    );
    world.set("n", "0");
    assert_eq!(world.facts(), ["n = 1 v11 rule"]);
    assert_eq!(world.engine.stats().depth_limit_hits, 1);
}

#[test]
fn example_15_conditional() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"route","trigger":{"type":"event","topic":"ticket"},"actions":[{"type":"conditional",
            "conditions":[{"source":{"type":"event","field":"sev"},"operator":"gte","value":3},{"source":{"type":"event","field":"vip"},"operator":"eq","value":true}],
            "then":[{"type":"emit_event","topic":"page","data":{"id":{"ref":"event.id"}}}],
            "else":[{"type":"conditional","conditions":[{"source":{"type":"event","field":"sev"},"operator":"gte","value":3}],
                "then":[{"type":"emit_event","topic":"queue.high","data":{"id":{"ref":"event.id"}}}],
                "else":[{"type":"emit_event","topic":"queue.low","data":{"id":{"ref":"event.id"}}}]}]}]}"#,
    );
    for data in [r#"{"id":1,"sev":4,"vip":true}"#, r#"{"id":2,"sev":4}"#, r#"{"id":3,"sev":1}"#] {
        world.emit("ticket", data);
    }
    let events = world.events();
    assert_eq!(
        [&events[1], &events[3], &events[5]],
        [r#"+0 page {"id":1} rule"#, r#"+0 queue.high {"id":2} rule"#, r#"+0 queue.low {"id":3} rule"#]
    );
}

#[test]
fn example_16_for_each() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"each","trigger":{"type":"event","topic":"cart"},"actions":[
            {"type":"for_each","collection":{"ref":"event.items"},"as":"it","actions":[
                {"type":"set_fact","key":"q:${var.it_index}:${var.it.sku}","value":{"ref":"var.it.qty"}},
                {"type":"conditional","conditions":[{"source":{"type":"context","key":"it.qty"},"operator":"gt","value":2}],
                 "then":[{"type":"emit_event","topic":"bulk","data":{"sku":{"ref":"var.it.sku"}}}]}]},
            {"type":"set_fact","key":"after-loop","value":{"ref":"var.it"}},
            {"type":"for_each","collection":"not-an-array","as":"x","actions":[]},
            {"type":"for_each","collection":[1,2,3],"as":"n","maxIterations":2,"actions":[{"type":"set_fact","key":"lit:${var.n}","value":{"ref":"var.n"}}]},
            {"type":"for_each","collection":[[1,2],[3]],"as":"r","actions":[{"type":"for_each","collection":{"ref":"var.r"},"as":"c",
                "actions":[{"type":"set_fact","key":"m:${var.r_index}:${var.c_index}","value":{"ref":"var.c"}}]}]},
            {"type":"for_each","collection":{"ref":"event.none"},"as":"x","actions":[]},
            {"type":"for_each","collection":[1,2],"as":"x","actions":[
                {"type":"for_each","collection":[10],"as":"x","actions":[{"type":"set_fact","key":"in:${var.x}","value":1}]},
                {"type":"set_fact","key":"out:${var.x}:${var.x_index}","value":1}]}]}"#,
    );
    world.emit("cart", r#"{"items":[{"sku":"a","qty":1},{"sku":"b","qty":3}]}"#);
    let outputs = world.failures();
    assert_eq!(
        outputs,
        [
            "each 2 for_each: for_each: collection must be an array, got string",
            "each 5 for_each: for_each: collection must be an array, got undefined",
        ]
    );
    assert_eq!(
        world.facts(),
        [
            "q:0:a = 1 v1 rule",
            "q:1:b = 3 v1 rule",
            "after-loop = null v1 rule",
            "lit:1 = 1 v1 rule",
            "lit:2 = 2 v1 rule",
            "m:0:0 = 1 v1 rule",
            "m:0:1 = 2 v1 rule",
            "m:1:0 = 3 v1 rule",
            "in:10 = 1 v2 rule",
            "out:1:0 = 1 v1 rule",
            "out:2:1 = 1 v1 rule",
        ]
    );
    assert_eq!(world.counts()[..2], [2, 1]);
}

#[test]
fn example_17_try_catch_finally() {
    let mut world = World::new();
    world.engine.register_service(
        "mail",
        Box::new(|_: &str, _: &[noex_json::Value]| Err(noex_rules::ServiceError::Failed("smtp down".into()))),
    );
    world.rule(
        r#"{"id":"guarded","trigger":{"type":"event","topic":"go"},"actions":[
            {"type":"try_catch","try":[{"type":"set_fact","key":"t:1","value":1},{"type":"call_service","service":"mail","method":"send","args":[]},{"type":"set_fact","key":"t:2","value":1}],
             "catch":{"as":"err","actions":[{"type":"emit_event","topic":"mail.failed","data":{"why":{"ref":"var.err.message"}}}]},
             "finally":[{"type":"set_fact","key":"fin","value":true},{"type":"set_fact","key":"left","value":{"ref":"var.err"}}]},
            {"type":"set_fact","key":"next","value":1}]}"#,
    );
    world.emit("go", "{}");
    assert_eq!(world.events(), ["+0 go {} api", r#"+0 mail.failed {"why":"smtp down"} rule"#]);
    assert_eq!(
        world.facts(),
        ["t:1 = 1 v1 rule", "fin = true v1 rule", "left = null v1 rule", "next = 1 v1 rule"]
    );
    assert_eq!(world.counts()[..2], [2, 1]);
    world.emit("go", "{}");
    assert_eq!(world.failures(), ["guarded 1 call_service: smtp down"]);
}

#[test]
fn a_failure_in_a_nested_list_does_not_reach_the_catch() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"r","trigger":{"type":"event","topic":"go"},"actions":[{"type":"try_catch","try":[
            {"type":"for_each","collection":[1],"as":"x","actions":[{"type":"call_service","service":"no","method":"m"},{"type":"set_fact","key":"on","value":1}]},
            {"type":"set_fact","key":"after","value":1}],
            "catch":{"actions":[{"type":"set_fact","key":"caught","value":1}]}}]}"#,
    );
    world.emit("go", "{}");
    assert_eq!(world.facts(), ["on = 1 v1 rule", "after = 1 v1 rule"]);
    assert_eq!(world.failures(), ["r 0 call_service: Service not found: no"]);
}

#[test]
fn example_18_a_failing_action_does_not_stop_the_rule() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"soft","trigger":{"type":"event","topic":"soft"},"actions":[
            {"type":"call_service","service":"none","method":"m","args":[]},{"type":"set_fact","key":"soft:next","value":1}]}"#,
    );
    world.rule(
        r#"{"id":"hard","trigger":{"type":"event","topic":"hard"},"actions":[
            {"type":"set_fact","key":"hard:1","value":1},{"type":"set_fact","key":"hard:2","value":{"ref":"bogus.x"}},
            {"type":"set_fact","key":"hard:3","value":1}]}"#,
    );
    world.emit("soft", "{}");
    world.emit("hard", "{}");
    assert_eq!(
        world.failures(),
        ["soft 0 call_service: Service not found: none", "hard 1 set_fact: Unknown reference source: bogus"]
    );
    assert_eq!(world.facts(), ["soft:next = 1 v1 rule", "hard:1 = 1 v1 rule", "hard:3 = 1 v1 rule"]);
    assert_eq!(world.engine.stats().rules_executed, 2);
}

#[test]
fn example_27_a_slow_service_holds_up_nothing() {
    let mut world = World::new();
    // Its owner would feed the answer in later.
    let slow = |_: &str, _: &[noex_json::Value]| Ok(noex_json::Value::Null);
    world.engine.register_service("s", Box::new(slow));
    for i in 0..10 {
        world.rule(&format!(
            r#"{{"id":"slow{i}","trigger":{{"type":"event","topic":"slow"}},
                "actions":[{{"type":"call_service","service":"s","method":"slow","args":[]}}]}}"#
        ));
    }
    world.rule(
        r#"{"id":"fast","trigger":{"type":"event","topic":"fast"},
            "actions":[{"type":"set_fact","key":"fast","value":1}]}"#,
    );
    world.emit("slow", "{}");
    world.emit("fast", "{}");
    world.advance(200);
    assert_eq!(world.events(), ["+0 slow {} api", "+0 fast {} api"]);
    assert_eq!(world.facts(), ["fast = 1 v1 rule"]);
    assert_eq!(world.counts(), [2, 11, 0, 11, 1]);
}

#[test]
fn example_23_correlation_and_causation() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"a","trigger":{"type":"event","topic":"a"},"actions":[{"type":"emit_event","topic":"b","data":{}},
            {"type":"set_fact","key":"f","value":1},
            {"type":"set_timer","timer":{"name":"t","duration":"1s","onExpire":{"topic":"late","data":{}}}}]}"#,
    );
    world.rule(r#"{"id":"b","trigger":{"type":"event","topic":"b"},"actions":[{"type":"emit_event","topic":"c","data":{}}]}"#);
    world.rule(
        r#"{"id":"f","trigger":{"type":"fact","pattern":"*"},"actions":[{"type":"emit_event","topic":"from.fact","data":{}}]}"#,
    );
    world.emit_as("a", "{}", Some("corr-9"), Some("cause-1"));
    world.set("g", "1");
    world.advance(1000);
    assert_eq!(
        world.events(),
        [
            "+0 a {} api corr-9",
            "+0 b {} rule corr-9",
            "+0 c {} rule corr-9",
            "+0 from.fact {} rule corr-9",
            "+0 from.fact {} rule",
            "+1000 late {} timer corr-9",
        ]
    );
    let events: Vec<_> = world.engine.history().cloned().collect();
    let causes: Vec<Option<&str>> = events.iter().map(|event| event.causation_id.as_deref()).collect();
    let [a, b] = [0, 1].map(|at: usize| Some(events[at].id.as_str()));
    assert_eq!(causes[..5], [Some("cause-1"), a, b, a, None]);
    assert!(causes[5].is_some_and(|timer| events.iter().all(|event| event.id != timer)));
}
