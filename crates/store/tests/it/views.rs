//! Subscriptions while evaluations run elsewhere and finish in any order.

use crate::support::{EPOCH_MS, Wire, object, options};
use noex_json::{Object, Value};
use noex_store::{EndReason, Evaluated, Evaluation, Subscribed, SubscriberId, ViewState};
use proptest::prelude::*;
use std::collections::BTreeMap;

const BUCKET: &str =
    r#"{"key":"id","schema":{"id":{"type":"number"},"g":{"type":"number"}},"indexes":["g"]}"#;
const QUERIES: [&str; 3] = [
    r#"{"bucket":"b","filter":{"g":"{{ params.g }}"},"fields":["id"]}"#,
    r#"{"bucket":"b","aggregate":{"function":"count"}}"#,
    r#"{"bucket":"b","aggregate":{"function":"min","field":"g"}}"#,
];

#[derive(Clone, Debug)]
enum Step {
    /// Puts a record with this key into this group.
    Write(u8, u8),
    Delete(u8),
    Subscribe(usize, u8),
    Unsubscribe(usize),
    /// Takes a dirty view for evaluation.
    Pop,
    /// Runs the evaluation at this place among those taken.
    Run(usize),
    /// Publishes the result at this place among those evaluated.
    Publish(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6_u8, 0..3_u8).prop_map(|(key, group)| Step::Write(key, group)),
        1 => (0..6_u8).prop_map(Step::Delete),
        3 => (0..QUERIES.len(), 0..3_u8).prop_map(|(query, group)| Step::Subscribe(query, group)),
        1 => (0..6_usize).prop_map(Step::Unsubscribe),
        3 => Just(Step::Pop),
        4 => (0..4_usize).prop_map(Step::Run),
        4 => (0..4_usize).prop_map(Step::Publish),
    ]
}

/// What a subscriber has been told.
struct Client {
    query: usize,
    group: u8,
    state: Option<ViewState>,
}

struct Bench {
    wire: Wire,
    clients: BTreeMap<u64, Client>,
    /// With the subscriber that waits for it.
    running: Vec<(Evaluation, Option<u64>)>,
    finished: Vec<(Evaluated, Option<u64>)>,
    next: u64,
}

fn record(key: u8, group: u8) -> Object {
    [("id".into(), Value::Number(f64::from(key))), ("g".into(), Value::Number(f64::from(group)))]
        .into_iter()
        .collect()
}

impl Bench {
    fn new() -> Self {
        let mut wire = Wire::new(options());
        wire.store.define_bucket(EPOCH_MS, "b", &object(BUCKET)).unwrap();
        for (at, query) in QUERIES.iter().enumerate() {
            wire.store.define_query(&at.to_string(), &object(query)).unwrap();
        }
        Self { wire, clients: BTreeMap::new(), running: Vec::new(), finished: Vec::new(), next: 0 }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let store = &mut self.wire.store;
        match step {
            Step::Write(key, group) => {
                store.upsert(EPOCH_MS, "b", record(key, group)).unwrap();
            }
            Step::Delete(key) => store.delete(EPOCH_MS, "b", &Value::Number(f64::from(key))).unwrap(),
            Step::Subscribe(query, group) => {
                self.next += 1;
                let params = Value::from(
                    [("g".into(), Value::Number(f64::from(group)))].into_iter().collect::<Object>(),
                );
                let id = SubscriberId(self.next);
                let state = match store.subscribe(EPOCH_MS, &query.to_string(), Some(&params), id).unwrap() {
                    Subscribed::Ready(state) => Some(state),
                    Subscribed::Evaluate(evaluation) => {
                        self.running.push((evaluation, Some(self.next)));
                        None
                    }
                };
                self.clients.insert(self.next, Client { query, group, state });
            }
            Step::Unsubscribe(at) => {
                if let Some(id) = self.clients.keys().nth(at).copied() {
                    self.clients.remove(&id);
                    prop_assert!(store.unsubscribe(SubscriberId(id)));
                }
            }
            Step::Pop => self.running.extend(store.next_dirty(EPOCH_MS).map(|evaluation| (evaluation, None))),
            Step::Run(at) => {
                if at < self.running.len() {
                    let (evaluation, subscriber) = self.running.remove(at);
                    self.finished.push((evaluation.run(), subscriber));
                }
            }
            Step::Publish(at) => {
                if at < self.finished.len() {
                    let (evaluated, subscriber) = self.finished.remove(at);
                    self.publish(evaluated, subscriber)?;
                }
            }
        }
        Ok(())
    }

    fn publish(&mut self, evaluated: Evaluated, subscriber: Option<u64>) -> Result<(), TestCaseError> {
        let published = self.wire.store.publish(evaluated);
        for (id, state) in published.changed {
            let client = self.clients.get_mut(&id.0);
            let client = client.ok_or_else(|| TestCaseError::fail("a push to somebody who has left"))?;
            let known =
                client.state.as_ref().ok_or_else(|| TestCaseError::fail("a push before the response"))?;
            prop_assert!(known.version < state.version, "{known:?} {state:?}");
            prop_assert!(known.result != state.result);
            client.state = Some(state);
        }
        if let Some(client) = subscriber.and_then(|id| self.clients.get_mut(&id)) {
            prop_assert!(client.state.is_none());
            client.state = Some(published.state);
        }
        Ok(())
    }

    /// Lets everything finish; then everybody must know the truth.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        loop {
            while !self.running.is_empty() {
                self.step(Step::Run(0))?;
            }
            while !self.finished.is_empty() {
                self.step(Step::Publish(0))?;
            }
            self.step(Step::Pop)?;
            if self.running.is_empty() {
                break;
            }
        }
        for client in self.clients.values() {
            let bucket =
                ["{\"type\":\"where\",\"bucket\":\"b\",\"filter\":{\"g\":", &client.group.to_string(), "}}"]
                    .concat();
            let expected = match client.query {
                0 => {
                    let found = self.wire.call(&bucket).unwrap();
                    let Value::Array(records) = crate::support::json(&found) else { panic!("no list") };
                    let ids =
                        records.iter().filter_map(Value::as_object).filter_map(|record| record.get("id"));
                    let shown = ids.map(|id| format!("{{\"id\":{}}}", id.to_json()));
                    Some(format!("[{}]", shown.collect::<Vec<_>>().join(",")))
                }
                1 => Some(self.wire.call(r#"{"type":"count","bucket":"b"}"#).unwrap()),
                _ => Some(self.wire.call(r#"{"type":"min","bucket":"b","field":"g"}"#).unwrap())
                    .filter(|text| text != "null"),
            };
            let known = client.state.as_ref().and_then(|state| state.result.as_deref());
            prop_assert!(client.state.is_some());
            prop_assert_eq!(known, expected.as_deref());
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300),
    ) })]

    /// No gap, no repetition, no step back, no push before the response.
    #[test]
    fn results_arrive_in_order_however_late(steps in prop::collection::vec(step(), 0..60)) {
        let mut bench = Bench::new();
        for step in steps {
            bench.step(step)?;
        }
        bench.settle()?;
    }
}

#[test]
fn subscriptions_end_with_their_bucket_or_query() {
    let mut bench = Bench::new();
    for query in 0..3 {
        bench.step(Step::Subscribe(query, 1)).unwrap();
    }
    let store = &mut bench.wire.store;
    store.undefine_query("1").unwrap();
    assert_eq!(store.take_ended(), [(SubscriberId(2), EndReason::QueryUndefined)]);
    store.drop_bucket(EPOCH_MS, "b").unwrap();
    let ended = [(SubscriberId(1), EndReason::BucketDropped), (SubscriberId(3), EndReason::BucketDropped)];
    assert_eq!(store.take_ended(), ended);
    assert!(store.take_ended().is_empty() && !store.unsubscribe(SubscriberId(1)));
    assert_eq!(store.stats().active_subscriptions, 0);
    assert_eq!((store.query_bucket("0"), store.query_bucket("1")), (Some("b"), None));

    // Results that are still under way reach only who asked for them; the queries work again with a new bucket.
    store.define_bucket(EPOCH_MS, "b", &object(BUCKET)).unwrap();
    store.insert(EPOCH_MS, "b", record(7, 1)).unwrap();
    for (evaluation, _) in bench.running.drain(..) {
        assert!(store.publish(evaluation.run()).changed.is_empty());
    }
    bench.clients.clear();
    bench.step(Step::Subscribe(0, 1)).unwrap();
    bench.step(Step::Write(8, 1)).unwrap();
    bench.settle().unwrap();
}

#[test]
fn subscribers_of_one_view_share_its_text() {
    let mut bench = Bench::new();
    bench.step(Step::Write(1, 1)).unwrap();
    bench.step(Step::Subscribe(0, 1)).unwrap();
    bench.settle().unwrap();
    bench.step(Step::Subscribe(0, 1)).unwrap();
    let texts: Vec<_> =
        bench.clients.values().map(|client| client.state.clone().unwrap().result.unwrap()).collect();
    assert!(std::sync::Arc::ptr_eq(&texts[0], &texts[1]));
}

#[test]
fn writes_that_concern_no_view_wake_none() {
    let mut bench = Bench::new();
    bench.step(Step::Write(1, 1)).unwrap();
    bench.step(Step::Subscribe(0, 1)).unwrap();
    bench.step(Step::Subscribe(1, 1)).unwrap();
    bench.settle().unwrap();
    bench.step(Step::Write(1, 1)).unwrap(); // Neither the shown field nor the number of records changes.
    assert!(bench.wire.store.next_dirty(EPOCH_MS).is_none());
    bench.step(Step::Write(2, 2)).unwrap(); // Only the count.
    assert!(
        bench.wire.store.next_dirty(EPOCH_MS).is_some() && bench.wire.store.next_dirty(EPOCH_MS).is_none()
    );
}
