//! Timers in virtual time: examples 19 to 22 and 37, and what a late host sees.

use crate::support::{T, World};

#[test]
fn example_19_lifecycle() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"arm","trigger":{"type":"event","topic":"order.created"},"actions":[{"type":"set_timer","timer":{"name":"pay:${event.id}","duration":"2s",
            "onExpire":{"topic":"pay.timeout","data":{"id":{"ref":"event.id"},"lit":"${event.id}","gone":{"ref":"event.gone"}}}}}]}"#,
    );
    world.rule(
        r#"{"id":"on-timer","trigger":{"type":"timer","name":"pay:*"},"actions":[{"type":"emit_event","topic":"timer.rule","data":{
            "name":{"ref":"trigger.timerName"},"id":{"ref":"event.id"},"timerId":{"ref":"event.timerId"},
            "expiresAt":{"ref":"event.expiresAt"},"corr":{"ref":"event.correlationId"},"cap":{"ref":"event.$captures.0"}}}]}"#,
    );
    world.rule(
        r#"{"id":"on-timeout","trigger":{"type":"event","topic":"pay.timeout"},
            "actions":[{"type":"set_fact","key":"order:${event.id}:status","value":"expired"}]}"#,
    );
    world.emit_as("order.created", r#"{"id":7}"#, Some("c-1"), None);
    let timer = world.engine.timer("pay:7").expect("set").clone();
    assert_eq!((timer.expires_at, timer.correlation_id.as_deref()), (T + 2000, Some("c-1")));
    assert_eq!(timer.data.to_json(), r#"{"id":7,"lit":"${event.id}"}"#);
    world.advance(1950);
    assert_eq!(world.events(), [r#"+0 order.created {"id":7} api c-1"#]);
    world.advance(50);
    let rule = format!(
        r#"+2000 timer.rule {{"name":"pay:7","id":7,"timerId":"{}","expiresAt":{},"corr":"c-1","cap":"7"}} rule c-1"#,
        timer.id,
        T + 2000
    );
    assert_eq!(world.events(), [&*rule, r#"+2000 pay.timeout {"id":7,"lit":"${event.id}"} timer c-1"#]);
    assert_eq!(world.facts(), [r#"order:7:status = "expired" v1 rule"#]);
    assert_eq!(world.counts(), [3, 3, 0, 3, 1]);
    let causes: Vec<_> = world.engine.history().map(|event| event.causation_id.clone()).collect();
    assert_eq!(causes, [None, Some(timer.id.clone()), Some(timer.id)]);
}

#[test]
fn example_20_cancel_and_replace() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"start","trigger":{"type":"event","topic":"order.created"},"actions":[{"type":"set_timer","timer":{"name":"pt:${event.id}","duration":"15m",
            "onExpire":{"topic":"order.payment_timeout","data":{"id":{"ref":"event.id"}}}}}]}"#,
    );
    world.rule(
        r#"{"id":"paid","trigger":{"type":"event","topic":"payment.confirmed"},"actions":[{"type":"cancel_timer","name":"pt:${event.id}"},
            {"type":"set_fact","key":"order:${event.id}:status","value":"paid"}]}"#,
    );
    world.rule(
        r#"{"id":"expire","trigger":{"type":"event","topic":"order.payment_timeout"},
            "conditions":[{"source":{"type":"fact","pattern":"order:${event.id}:status"},"operator":"neq","value":"paid"}],
            "actions":[{"type":"set_fact","key":"order:${event.id}:status","value":"cancelled"},
                {"type":"emit_event","topic":"order.cancelled","data":{"id":{"ref":"event.id"},"reason":"payment_timeout"}}]}"#,
    );
    world.emit("order.created", r#"{"id":"A"}"#);
    world.emit("order.created", r#"{"id":"B"}"#);
    world.advance(60_000);
    world.emit("payment.confirmed", r#"{"id":"A"}"#);
    world.emit("order.created", r#"{"id":"B"}"#);
    world.advance(840_000);
    world.advance(60_000);
    assert_eq!(
        world.events()[4..],
        [
            r#"+960000 order.payment_timeout {"id":"B"} timer"#,
            r#"+960000 order.cancelled {"id":"B","reason":"payment_timeout"} rule"#,
        ]
    );
    assert_eq!(
        world.facts(),
        [r#"order:A:status = "paid" v1 rule"#, r#"order:B:status = "cancelled" v1 rule"#]
    );
}

#[test]
fn example_21_repeats_are_limited_and_can_be_cancelled_by_their_handlers() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"a","trigger":{"type":"event","topic":"start.a"},"actions":[{"type":"set_timer","timer":{"name":"a","duration":"1s",
            "onExpire":{"topic":"tick.a","data":{}},"repeat":{"interval":"2s","maxCount":2}}}]}"#,
    );
    world.rule(
        r#"{"id":"b","trigger":{"type":"event","topic":"start.b"},"actions":[{"type":"set_timer","timer":{"name":"b","duration":"1s",
            "onExpire":{"topic":"tick.b","data":{}},"repeat":{"interval":"1s"}}}]}"#,
    );
    world.rule(r#"{"id":"stop-b","trigger":{"type":"event","topic":"tick.b"},"actions":[{"type":"cancel_timer","name":"b"}]}"#);
    world.emit("start.a", "{}");
    world.advance(10_000);
    assert!(!world.engine.cancel_timer("a"));
    world.emit("start.b", "{}");
    world.advance(3000);
    assert_eq!(
        world.events(),
        [
            "+0 start.a {} api",
            "+1000 tick.a {} timer",
            "+3000 tick.a {} timer",
            "+10000 start.b {} api",
            "+11000 tick.b {} timer",
        ]
    );
    assert_eq!(world.engine.stats().timers_count, 0);
}

#[test]
fn a_timer_cancelled_by_its_own_rule_still_emits_this_time() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"b","trigger":{"type":"event","topic":"start"},"actions":[{"type":"set_timer","timer":{"name":"b","duration":"1s",
            "onExpire":{"topic":"tick","data":{}},"repeat":{"interval":"1s"}}}]}"#,
    );
    world.rule(r#"{"id":"stop","trigger":{"type":"timer","name":"b"},"actions":[{"type":"cancel_timer","name":"b"}]}"#);
    world.emit("start", "{}");
    world.advance(5000);
    assert_eq!(world.events(), ["+0 start {} api", "+1000 tick {} timer"]);
}

#[test]
fn example_22_a_one_shot_timer_can_be_set_again_by_its_handler() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"again","trigger":{"type":"event","topic":"go"},
            "actions":[{"type":"set_timer","timer":{"name":"one","duration":"1s","onExpire":{"topic":"go","data":{}}}}]}"#,
    );
    world.emit("go", "{}");
    world.advance(5500);
    let times: Vec<String> =
        world.events().iter().map(|line| line.split(' ').next().expect("a time").to_owned()).collect();
    assert_eq!(times, ["+0", "+1000", "+2000", "+3000", "+4000", "+5000"]);
    assert_eq!(world.engine.stats().timers_count, 1);
}

#[test]
fn example_37_long_timers_and_cron() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"long","trigger":{"type":"event","topic":"long"},
            "actions":[{"type":"set_timer","timer":{"name":"x","duration":"30d","onExpire":{"topic":"month.over","data":{}}}}]}"#,
    );
    world.rule(
        r#"{"id":"cron","trigger":{"type":"event","topic":"cron"},"actions":[{"type":"set_timer","timer":{"name":"c","duration":"1h","cron":"* * * * *","onExpire":{"topic":"minute","data":{}}}}]}"#,
    );
    world.rule(
        r#"{"id":"few","trigger":{"type":"event","topic":"few"},"actions":[{"type":"set_timer","timer":{"name":"s","cron":"*/10 * * * * *","maxCount":2,"onExpire":{"topic":"ten","data":{}}}}]}"#,
    );
    world.emit("long", "{}");
    world.advance(50);
    world.emit("cron", "{}");
    world.advance(120_000);
    assert_eq!(
        world.events(),
        ["+0 long {} api", "+50 cron {} api", "+40000 minute {} timer", "+100000 minute {} timer"]
    );
    assert!(world.engine.cancel_timer("c"));
    world.emit("few", "{}");
    world.advance(60_000);
    assert_eq!(world.events()[1..], ["+130000 ten {} timer", "+140000 ten {} timer"]);
    world.advance(2_592_000_000);
    assert_eq!(world.events(), ["+2592000000 month.over {} timer"]);
}

#[test]
fn what_is_due_comes_before_an_input_of_the_same_time() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"a","trigger":{"type":"event","topic":"a"},"actions":[
            {"type":"set_timer","timer":{"name":"2","duration":100,"onExpire":{"topic":"second","data":{}}}},
            {"type":"set_timer","timer":{"name":"1","duration":50,"onExpire":{"topic":"first","data":{}}}},
            {"type":"set_timer","timer":{"name":"3","duration":100,"onExpire":{"topic":"third","data":{}}}}]}"#,
    );
    world.emit("a", "{}");
    world.now += 100;
    world.emit("b", "{}");
    assert_eq!(
        world.events(),
        ["+0 a {} api", "+50 first {} timer", "+100 second {} timer", "+100 third {} timer", "+100 b {} api"]
    );
}

#[test]
fn a_late_host_gets_the_same_one_shots_and_merged_repeats() {
    let mut world = World::new();
    world.rule(
        r#"{"id":"again","trigger":{"type":"event","topic":"go"},
            "actions":[{"type":"set_timer","timer":{"name":"one","duration":"1s","onExpire":{"topic":"go","data":{}}}}]}"#,
    );
    world.rule(
        r#"{"id":"rep","trigger":{"type":"event","topic":"rep"},"actions":[{"type":"set_timer","timer":{"name":"r","duration":"1s",
            "onExpire":{"topic":"tick","data":{}},"repeat":{"interval":"1s"}}}]}"#,
    );
    world.emit("go", "{}");
    assert!(!world.engine.advance(T + 3000));
    world.collect();
    assert_eq!(world.events()[1..], ["+1000 go {} timer", "+2000 go {} timer", "+3000 go {} timer"]);
    assert!(world.engine.cancel_timer("one"));
    world.now = T + 3000;
    world.emit("rep", "{}");
    assert!(!world.engine.advance(T + 10_500));
    assert_eq!(world.events()[1..], ["+4000 tick {} timer"]);
    assert_eq!(world.engine.next_deadline_ms(), Some(T + 11_000));
    assert_eq!(world.engine.stats().timers_coalesced, 6);
}

#[test]
fn the_clock_never_runs_backwards() {
    let mut world = World::new();
    world.emit("a", "{}");
    world.now = T - 5000;
    let event = world.emit("b", "{}");
    assert_eq!(event.timestamp, T);
    assert!(!world.engine.advance(0));
    assert_eq!(world.engine.set_fact(1, "k", noex_json::Value::Null).expect("running").timestamp, T);
}
