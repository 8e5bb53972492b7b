//! Transactions append to lists and read them: records in base order, one list per value of a member.

use super::{
    Dice, NOW_MS, Pushes, THREADS, call,
    checker::{Transaction, check},
    member, object, parse, store, transact,
};
use noex_host::{
    EmbeddedStore, StoreBackend, SubId,
    core::{ResultMode, StoreCall, StoreOperation},
};
use noex_json::Value;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

const LISTS: u64 = 4;
const ROUNDS: u64 = 100;

fn append(list: u64, element: u64) -> StoreOperation {
    let data = object(&format!(r#"{{"id":"{element}","list":{list},"n":{element}}}"#));
    StoreOperation::Insert { bucket: "lists".into(), data }
}

fn look(list: u64) -> StoreOperation {
    StoreOperation::Where { bucket: "lists".into(), filter: object(&format!(r#"{{"list":{list}}}"#)) }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers that a test wrote")]
fn number(record: &Value, name: &str) -> u64 {
    member(record, name).as_number().expect("a number") as u64
}

/// Records by list, in order.
fn by_list(records: &Value) -> BTreeMap<u64, Vec<u64>> {
    let mut lists: BTreeMap<u64, Vec<u64>> = (0..LISTS).map(|list| (list, Vec::new())).collect();
    for record in records.as_array().expect("records") {
        lists.entry(number(record, "list")).or_default().push(number(record, "n"));
    }
    lists
}

/// One random transaction. Some fail at their end, and nothing of them may ever show.
fn one(
    store: &EmbeddedStore,
    dice: &mut Dice,
    clock: &AtomicU64,
    elements: &AtomicU64,
) -> Option<Transaction> {
    let mut operations = Vec::new();
    // (list, appended element), in order; none = a read.
    let mut plan: Vec<(u64, Option<u64>)> = Vec::new();
    for _ in 0..=dice.below(4) {
        let list = dice.below(LISTS);
        if dice.below(2) == 0 {
            plan.push((list, None));
            operations.push(look(list));
        } else {
            let element = elements.fetch_add(1, Ordering::Relaxed);
            plan.push((list, Some(element)));
            operations.push(append(list, element));
        }
    }
    let fails = dice.below(5) == 0;
    if fails {
        let key = Value::from("nobody");
        operations.push(StoreOperation::Update { bucket: "lists".into(), key, data: object("{}") });
    }
    let began = clock.fetch_add(1, Ordering::SeqCst);
    let results = transact(store, operations);
    let ended = clock.fetch_add(1, Ordering::SeqCst);
    assert_eq!(results.is_none(), fails);
    let mut done = Transaction { began, ended, ..Transaction::default() };
    for ((list, element), result) in plan.into_iter().zip(results?) {
        let own = done.appends.entry(list).or_default();
        match element {
            Some(element) => own.push(element),
            None => {
                let mut seen = by_list(&result).remove(&list).unwrap_or_default();
                // It sees what it has appended itself, and that comes last.
                assert!(seen.ends_with(own), "{seen:?} after appending {own:?}");
                seen.truncate(seen.len() - own.len());
                let before = done.reads.insert(list, seen.clone());
                assert!(before.is_none_or(|before| before == seen), "a read is not repeatable");
            }
        }
    }
    Some(done)
}

fn check_run(seed: u64) {
    let queries = [("all", r#"{"bucket":"lists"}"#), ("one", r#"{"bucket":"lists","filter":{"list":1}}"#)];
    let schema = r#"{"id":{"type":"string"},"list":{"type":"number"},"n":{"type":"number"}}"#;
    let (store, pushes) = (store("lists", schema, &queries), Pushes::default());
    let (clock, elements) = (AtomicU64::new(0), AtomicU64::new(1));
    for (id, query) in [(1, "all"), (2, "one")] {
        store
            .subscribe(NOW_MS, SubId(id), query, None, ResultMode::Full, &pushes)
            .outcome()
            .expect("subscribed");
    }
    let mut history: Vec<Transaction> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|me| {
                let (store, pushes, clock, elements) = (&store, &pushes, &clock, &elements);
                scope.spawn(move || {
                    let mut dice = Dice::new(seed * THREADS + me);
                    let mut done = Vec::new();
                    for _ in 0..ROUNDS {
                        done.extend(one(store, &mut dice, clock, elements));
                        while store.flush(NOW_MS, pushes) {}
                    }
                    done
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(history.len() > 200, "{} transactions", history.len());
    let lists = by_list(&call(&store, StoreCall::All { bucket: "lists".into() }));
    // A push is a read of everything it shows, at some time of the run. Newer ones are later states.
    let mut pushes = pushes.0.into_inner().unwrap();
    pushes.sort_by_key(|(subscription, version, _)| (*subscription, *version));
    let mut before: BTreeMap<SubId, BTreeMap<u64, Vec<u64>>> = BTreeMap::new();
    for (subscription, _, text) in pushes {
        let mut reads = by_list(&parse(&text));
        if subscription == SubId(2) {
            reads.retain(|list, _| *list == 1);
        }
        for (list, earlier) in before.get(&subscription).into_iter().flatten() {
            assert!(reads[list].starts_with(earlier), "{subscription} goes back");
        }
        before.insert(subscription, reads.clone());
        history.push(Transaction { ended: u64::MAX, reads, ..Transaction::default() });
    }
    for reads in before.values() {
        assert!(reads.iter().all(|(list, seen)| lists[list] == *seen), "a subscriber misses the final state");
    }
    if let Err(problem) = check(&history, &lists) {
        panic!("seed {seed}: {problem}");
    }
}

#[test]
fn transactions_on_lists_have_a_serial_order() {
    (0..3).for_each(check_run);
}
