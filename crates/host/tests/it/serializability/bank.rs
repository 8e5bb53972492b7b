//! Money moves between accounts; no read and no push ever shows more or less of it than there is.

use super::{Dice, NOW_MS, Pushes, THREADS, call, member, object, parse, store, transact};
use noex_host::{
    EmbeddedStore, StoreBackend, SubId,
    core::{Aggregate, ResultMode, StoreCall, StoreOperation},
    store::Operation,
};
use noex_json::Value;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

const ACCOUNTS: u64 = 6;
const EACH: f64 = 100.0;
#[expect(clippy::cast_precision_loss, reason = "six")]
const TOTAL: f64 = ACCOUNTS as f64 * EACH;
const TRANSFERS: u64 = 400;

fn total(accounts: &Value) -> f64 {
    let accounts = accounts.as_array().expect("accounts");
    accounts.iter().map(|account| member(account, "n").as_number().expect("a balance")).sum()
}

fn bank() -> std::sync::Arc<EmbeddedStore> {
    let queries = [
        ("all", r#"{"bucket":"bank"}"#),
        ("sum", r#"{"bucket":"bank","aggregate":{"function":"sum","field":"n"}}"#),
        ("rich", r#"{"bucket":"bank","filter":{"n":{"$gte":100}}}"#),
        ("poor", r#"{"bucket":"bank","filter":{"n":{"$lt":100}}}"#),
    ];
    let store = store("bank", r#"{"id":{"type":"string"},"n":{"type":"number"}}"#, &queries);
    for account in 0..ACCOUNTS {
        let data = object(&format!(r#"{{"id":"{account}","n":{EACH}}}"#));
        call(&store, StoreCall::Insert { bucket: "bank".into(), data });
    }
    store
}

/// Reads two balances and moves an amount, as a program around the server does.
fn transfer(store: &EmbeddedStore, dice: &mut Dice) {
    let from = dice.below(ACCOUNTS);
    let to = (from + 1 + dice.below(ACCOUNTS - 1)) % ACCOUNTS;
    let key = |account: u64| Value::from(account.to_string().as_str());
    #[expect(clippy::cast_precision_loss, reason = "small amounts")]
    let amount = dice.below(30) as f64;
    store.with_store(|store| {
        let mut balance = |account| {
            let record = store.get(NOW_MS, "bank", &key(account)).expect("a bucket").expect("an account");
            record.members().get("n").and_then(Value::as_number).expect("a balance")
        };
        let set = |account: u64, n: f64| Operation::Update {
            bucket: "bank".into(),
            key: key(account),
            changes: object(&format!(r#"{{"n":{n}}}"#)),
        };
        let operations = vec![set(from, balance(from) - amount), set(to, balance(to) + amount)];
        store.transaction(NOW_MS, operations).expect("two accounts");
    });
}

/// Spreads the money anew with one transaction as clients send it. Sometimes it fails in the end.
fn spread(store: &EmbeddedStore, dice: &mut Dice) {
    let mut left = TOTAL;
    let mut operations = Vec::new();
    for account in 0..ACCOUNTS {
        #[expect(clippy::cast_precision_loss, reason = "small amounts")]
        let n = if account + 1 == ACCOUNTS { left } else { dice.below(200) as f64 };
        left -= n;
        operations.push(StoreOperation::Update {
            bucket: "bank".into(),
            key: Value::from(account.to_string().as_str()),
            data: object(&format!(r#"{{"n":{n}}}"#)),
        });
    }
    let fails = dice.below(4) == 0;
    if fails {
        let key = Value::from("nobody");
        operations.push(StoreOperation::Update { bucket: "bank".into(), key, data: object("{}") });
    }
    assert_eq!(transact(store, operations).is_none(), fails);
}

fn read(store: &EmbeddedStore, dice: &mut Dice) -> f64 {
    match dice.below(3) {
        0 => total(&call(store, StoreCall::All { bucket: "bank".into() })),
        1 => {
            let (bucket, field) = ("bank".into(), "n".into());
            let sum = StoreCall::Aggregate { bucket, function: Aggregate::Sum, field, filter: None };
            call(store, sum).as_number().expect("a sum")
        }
        _ => {
            let get = |account: u64| StoreOperation::Get {
                bucket: "bank".into(),
                key: Value::from(account.to_string().as_str()),
            };
            let accounts = transact(store, (0..ACCOUNTS).map(get).collect()).expect("reads");
            total(&Value::from(accounts))
        }
    }
}

#[test]
fn the_total_never_varies_in_any_read_or_push() {
    let (store, pushes, done) = (bank(), Pushes::default(), AtomicBool::new(false));
    let queries = ["all", "sum", "rich", "poor"];
    for (id, query) in (1..).zip(queries) {
        store
            .subscribe(NOW_MS, SubId(id), query, None, ResultMode::Full, &pushes)
            .outcome()
            .expect("subscribed");
    }
    thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|me| {
                let (store, pushes) = (&store, &pushes);
                scope.spawn(move || {
                    let mut dice = Dice::new(me + 1);
                    for round in 0..TRANSFERS {
                        if (round + me) % 2 == 0 {
                            transfer(store, &mut dice)
                        } else {
                            spread(store, &mut dice)
                        }
                        while store.flush(NOW_MS, pushes) {}
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let mut dice = Dice::new(99);
            let mut reads = 0;
            while !done.load(Ordering::Relaxed) || reads < 100 {
                assert!((read(&store, &mut dice) - TOTAL).abs() < 1e-6);
                reads += 1;
            }
        });
        for writer in writers {
            writer.join().expect("no panic");
        }
        done.store(true, Ordering::Relaxed);
    });
    while store.flush(NOW_MS, &pushes) {}
    let pushes = pushes.0.into_inner().unwrap();
    let mut shown = [0; 2];
    for (subscription, _, text) in &pushes {
        match subscription.0 {
            1 => {
                assert!((total(&parse(text)) - TOTAL).abs() < 1e-6, "{text}");
                shown[0] += 1;
            }
            2 => panic!("the sum is pushed, though it never changes: {text}"),
            3 | 4 => {
                let accounts = parse(text);
                for account in accounts.as_array().expect("accounts") {
                    let rich = member(account, "n").as_number().expect("a balance") >= EACH;
                    assert_eq!(rich, subscription.0 == 3, "{text}");
                }
                shown[1] += 1;
            }
            other => panic!("nobody subscribed as {other}"),
        }
    }
    assert!(shown.iter().all(|count| *count > 20), "few pushes: {shown:?}");
}
