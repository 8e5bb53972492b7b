//! What keeping results up to date costs, counted and not timed; and what happens where it is not possible.

use crate::support::{Counting, EPOCH_MS, object};
use noex_json::{Object, Value};
use noex_store::{
    Evaluation, Operation, QueryViews, Rerun, Store, StoreOptions, Subscribed, SubscriberId, ViewCounters,
};
use std::sync::Arc;

const BUCKET: &str =
    r#"{"key":"id","schema":{"id":{"type":"number"},"n":{"type":"number"},"t":{"type":"string"}}}"#;

fn store(view_bytes_max: usize) -> Store {
    let options = StoreOptions { view_bytes_max, ..StoreOptions::default() };
    let mut store = Store::new(options, Box::<Counting>::default());
    store.define_bucket(EPOCH_MS, "b", &object(BUCKET)).unwrap();
    store
}

fn record(id: usize, n: f64) -> Object {
    let mut record = Object::new();
    record.set("id", id as f64);
    record.set("n", n);
    record.set("t", format!("{id:07}").as_str());
    record
}

fn filled(rows: usize) -> Store {
    let mut store = store(usize::MAX);
    store.insert_many(EPOCH_MS, "b", (0..rows).map(|id| record(id, id as f64)).collect()).unwrap();
    store
}

fn update(store: &mut Store, id: usize, n: f64) {
    let changes: Object = [("n".into(), Value::Number(n))].into_iter().collect();
    store.update(EPOCH_MS, "b", &Value::Number(id as f64), changes).unwrap();
}

/// Subscribes; gives the evaluation that is asked for.
fn begin(store: &mut Store, query: &str, params: Option<&Value>, id: u64) -> Option<Evaluation> {
    match store.subscribe(EPOCH_MS, query, params, SubscriberId(id)).unwrap() {
        Subscribed::Ready(_) => None,
        Subscribed::Evaluate(evaluation) => Some(evaluation),
    }
}

/// Subscribes and gives the first result.
fn subscribe(store: &mut Store, config: &str, id: u64) -> String {
    let name = format!("q{id}");
    store.define_query(&name, &object(config)).unwrap();
    let evaluation = begin(store, &name, None, id).expect("the first subscriber");
    let published = store.publish(evaluation.run());
    published.state.result.map(|text| text.to_string()).unwrap_or_default()
}

/// Gives the results that have changed.
fn flush(store: &mut Store) -> Vec<(u64, String)> {
    let mut results = Vec::new();
    while let Some(evaluation) = store.next_dirty(EPOCH_MS) {
        for (SubscriberId(id), state) in store.publish(evaluation.run()).changed {
            results.push((id, state.result.map(|text| text.to_string()).unwrap_or_default()));
        }
    }
    results
}

fn counters(store: &Store) -> ViewCounters {
    store.view_stats().counters
}

fn of_query(store: &Store, at: usize) -> QueryViews {
    store.view_stats().queries[at].clone()
}

#[test]
fn a_write_looks_only_at_views_that_it_may_concern() {
    let kinds = [
        (r#"{"bucket":"b","filter":{"id":"{{ params.p }}"}}"#, 4),
        (r#"{"bucket":"b","filter":{"id":{"$in":["{{ params.p }}",-1]},"t":"{{ params.t }}"}}"#, 4),
        (r#"{"bucket":"b","filter":{"id":{"$between":["{{ params.p }}","{{ params.q }}"]}}}"#, 200),
        (r#"{"bucket":"b","filter":{"t":{"$startsWith":"{{ params.t }}"}}}"#, 200),
        (
            r#"{"bucket":"b","filter":{"$or":[{"id":"{{ params.p }}"},{"t":{"$startsWith":"{{ params.t }}"}}]}}"#,
            200,
        ),
    ];
    let sizes: &[usize] = if cfg!(debug_assertions) { &[100, 10_000] } else { &[100, 10_000, 100_000] };
    for (query, probes_max) in kinds {
        for views in sizes {
            let mut store = store(usize::MAX);
            store.define_query("q", &object(query)).unwrap();
            for view in 0..*views {
                let mut params = Object::new();
                params.set("p", view as f64);
                params.set("q", view as f64 + 0.5);
                params.set("t", format!("{view:07}").as_str());
                drop(begin(&mut store, "q", Some(&Value::from(params)), view as u64));
            }
            store.insert(EPOCH_MS, "b", record(7, 1.0)).unwrap();
            update(&mut store, 7, 2.0);
            let counters = counters(&store);
            assert_eq!((counters.changes, counters.candidates), (2, 2), "{query} {views}");
            assert_eq!(counters.transitions, 2);
            assert!(counters.probes <= probes_max, "{query} {views}: {}", counters.probes);
        }
    }
}

#[test]
fn a_change_costs_the_same_however_many_records_there_are() {
    for shape in [
        r#""aggregate":{"function":"count"},"filter":{"n":{"$gt":5}}"#,
        r#""aggregate":{"function":"sum","field":"n"}"#,
        r#""aggregate":{"function":"avg","field":"n"}"#,
        r#""aggregate":{"function":"max","field":"n"}"#,
        r#""aggregate":{"function":"sum","field":"n","groupBy":"t"}"#,
        r#""sort":{"n":"desc"},"limit":10"#,
        r#""sort":{"n":"desc","t":"asc"},"limit":10,"offset":5"#,
        r#""limit":10"#,
    ] {
        for rows in [100, 5000] {
            let mut store = filled(rows);
            subscribe(&mut store, &format!("{{\"bucket\":\"b\",{shape}}}"), 1);
            let before = counters(&store);
            for turn in 0..50 {
                update(&mut store, turn * 31 % rows, 10.0 * turn as f64);
                flush(&mut store);
            }
            store.insert(EPOCH_MS, "b", record(rows, 1e6)).unwrap();
            flush(&mut store);
            let after = counters(&store);
            let read = |of: ViewCounters| (of.additions, of.builds, of.refills, of.rebuilds, of.reruns);
            assert_eq!(read(before), read(after), "{shape} {rows}");
            assert_eq!(of_query(&store, 0).kept, 1);
        }
    }
}

#[test]
fn a_sum_that_needs_order_adds_up_what_is_behind_a_change() {
    let mut store = filled(20_000);
    subscribe(&mut store, r#"{"bucket":"b","aggregate":{"function":"sum","field":"n"}}"#, 1);
    update(&mut store, 0, 0.5);
    assert_eq!(flush(&mut store), [(1, "199990000.5".to_owned())]);
    assert_eq!((counters(&store).rebuilds, of_query(&store, 0).kept), (1, 1));
    let before = counters(&store);
    store.insert(EPOCH_MS, "b", record(20_000, 0.25)).unwrap();
    update(&mut store, 20_000, 0.5);
    assert_eq!(flush(&mut store), [(1, "199990001".to_owned())]);
    let additions = counters(&store).additions - before.additions;
    assert!(additions <= 400, "{additions}");
    assert_eq!(counters(&store).rebuilds, before.rebuilds);
}

/// Each time the slack grows, so that a list that keeps losing its first records is read a few times only.
#[test]
fn a_window_that_keeps_draining_is_read_ever_more_seldom() {
    let mut store = filled(4000);
    subscribe(&mut store, r#"{"bucket":"b","sort":{"n":"asc"},"limit":4,"fields":["id"]}"#, 1);
    for first in 0..3000 {
        update(&mut store, first, 1e6 + first as f64);
        let next: Vec<String> = (first + 1..first + 5).map(|id| format!("{{\"id\":{id}}}")).collect();
        assert_eq!(flush(&mut store), [(1, format!("[{}]", next.join(",")))]);
    }
    let counters = counters(&store);
    assert!((3..=5).contains(&counters.refills), "{counters:?}");
    assert_eq!(counters.reruns, 0);
}

#[test]
fn a_window_over_an_index_reads_only_what_it_needs() {
    let mut store = filled(4000);
    store.update_bucket(EPOCH_MS, "b", &object(r#"{"addIndexes":["n"]}"#)).unwrap();
    subscribe(&mut store, r#"{"bucket":"b","sort":{"n":"asc"},"limit":4}"#, 1);
    for first in 0..1000 {
        update(&mut store, first, 1e6 + first as f64);
        assert_eq!(flush(&mut store).len(), 1);
    }
    // One in nine: four are needed and eight more are kept.
    let counters = counters(&store);
    assert!((100..=125).contains(&counters.refills), "{counters:?}");
    assert!(of_query(&store, 0).state_bytes < 4000);
}

#[test]
fn one_result_is_written_for_all_subscribers() {
    let mut store = filled(10);
    store.define_query("q", &object(r#"{"bucket":"b","aggregate":{"function":"sum","field":"n"}}"#)).unwrap();
    for id in 0..10_000 {
        if let Some(evaluation) = begin(&mut store, "q", None, id) {
            let _ = store.publish(evaluation.run());
        }
    }
    let before = counters(&store);
    update(&mut store, 1, 100.0);
    let published =
        store.next_dirty(EPOCH_MS).map(Evaluation::run).map(|result| store.publish(result)).unwrap();
    assert!(store.next_dirty(EPOCH_MS).is_none());
    assert_eq!(published.changed.len(), 10_000);
    let first = published.changed[0].1.result.as_ref().unwrap();
    assert!(published.changed.iter().all(|(_, state)| Arc::ptr_eq(state.result.as_ref().unwrap(), first)));
    let after = counters(&store);
    assert_eq!((after.kept - before.kept, after.candidates - before.candidates), (1, 1));
}

#[test]
fn states_that_exceed_the_memory_are_not_kept() {
    let mut store = store(30_000);
    store.insert_many(EPOCH_MS, "b", (0..300).map(|id| record(id, id as f64)).collect()).unwrap();
    subscribe(&mut store, r#"{"bucket":"b","sort":{"n":"asc"},"fields":["n"]}"#, 1);
    assert_eq!(of_query(&store, 0).kept, 1);
    let list = subscribe(&mut store, r#"{"bucket":"b","sort":{"n":"desc"},"fields":["n"]}"#, 2);
    assert!(list.starts_with("[{\"n\":299},"));
    assert_eq!(of_query(&store, 1).rerun.get(&Rerun::Memory), Some(&1));
    assert!(store.view_stats().state_bytes <= 30_000);
    // It is told of changes all the same, and a small one still finds room.
    subscribe(&mut store, r#"{"bucket":"b","aggregate":{"function":"sum","field":"n"}}"#, 3);
    update(&mut store, 0, 1000.0);
    let told: Vec<u64> = flush(&mut store).into_iter().map(|(id, _)| id).collect();
    assert_eq!(told, [1, 2, 3]);
    assert_eq!((of_query(&store, 2).kept, counters(&store).reruns), (1, 1));
    // With the first one gone there is room again.
    assert!(store.unsubscribe(SubscriberId(1)));
    update(&mut store, 0, 2000.0);
    assert_eq!(flush(&mut store).len(), 2);
    assert_eq!(of_query(&store, 0).kept, 1);
}

#[test]
fn a_commit_that_changes_much_of_a_view_builds_it_once() {
    let mut store = filled(3000);
    subscribe(&mut store, r#"{"bucket":"b","sort":{"n":"asc"},"fields":["n"]}"#, 1);
    let updates = |count: usize| {
        let update = |id: usize| Operation::Update {
            bucket: "b".into(),
            key: Value::Number(id as f64),
            changes: [("n".into(), Value::Number(-(id as f64)))].into_iter().collect(),
        };
        (0..count).map(update).collect::<Vec<_>>()
    };
    store.transaction(EPOCH_MS, updates(1000)).unwrap();
    flush(&mut store);
    assert_eq!(counters(&store).rebuilds, 0);
    store.transaction(EPOCH_MS, updates(2000)).unwrap();
    assert_eq!(of_query(&store, 0).rerun.get(&Rerun::Bulk), Some(&1));
    assert!(flush(&mut store)[0].1.starts_with("[{\"n\":-1999},"));
    assert_eq!((counters(&store).rebuilds, of_query(&store, 0).kept), (1, 1));
}

#[test]
fn what_happens_while_a_view_is_built_is_not_lost() {
    let mut store = filled(10);
    store.define_query("q", &object(r#"{"bucket":"b","aggregate":{"function":"sum","field":"n"}}"#)).unwrap();
    for (changes, kept) in [(10, 1), (20_000, 0)] {
        let evaluation = begin(&mut store, "q", None, 1).unwrap();
        for turn in 0..changes {
            update(&mut store, turn % 10, turn as f64 + 1.0);
        }
        let waiting = of_query(&store, 0);
        assert_eq!(waiting.building, kept);
        assert_eq!(waiting.rerun.get(&Rerun::Backlog), (kept == 0).then_some(&1));
        let first = store.publish(evaluation.run()).state;
        assert_eq!(of_query(&store, 0).kept, kept);
        let sum: usize = (changes - 9..=changes).sum();
        assert_eq!(flush(&mut store), [(1, sum.to_string())]);
        assert_ne!(first.result.as_deref(), Some(sum.to_string().as_str()));
        assert_eq!(of_query(&store, 0).kept, 1);
        assert!(store.unsubscribe(SubscriberId(1)));
    }
}

#[test]
fn statistics_name_what_is_run_again_and_why() {
    let mut store = filled(3);
    subscribe(&mut store, r#"{"bucket":"b","filter":{"n":[1]}}"#, 1);
    subscribe(&mut store, r#"{"bucket":"b","limit":0}"#, 2);
    subscribe(&mut store, r#"{"bucket":"b","limit":2}"#, 3);
    update(&mut store, 0, 7.0);
    flush(&mut store);
    let stats = store.view_stats().to_value().to_json();
    let expected = concat!(
        r#"{"views":3,"stateBytes":BYTES,"stateBytesMax":18446744073709552000,"changes":1,"probes":1,"candidates":1,"#,
        r#""transitions":1,"additions":0,"kept":1,"builds":1,"refills":0,"rebuilds":0,"reruns":2,"published":4,"deltas":0,"#,
        r#""suppressed":0,"queries":[{"query":"q1","shape":"list","views":1,"subscriptions":1,"kept":0,"building":0,"#,
        r#""rerun":{"constant":1},"stateBytes":0},{"query":"q2","shape":"window","views":1,"subscriptions":1,"kept":0,"#,
        r#""building":0,"rerun":{"constant":1},"stateBytes":0},{"query":"q3","shape":"window","views":1,"#,
        r#""subscriptions":1,"kept":1,"building":0,"rerun":{},"stateBytes":BYTES}]}"#,
    );
    let bytes = store.view_stats().state_bytes.to_string();
    assert_eq!(stats, expected.replace("BYTES", &bytes));
}
