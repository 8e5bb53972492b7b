use super::*;
use noex_json::Object;

fn table(config: &str) -> Table {
    let Ok(Value::Object(config)) = noex_json::parse(config, 9) else { panic!("{config}") };
    Table::new(BucketId(0), Definition::parse("t", &config).unwrap(), 1)
}

fn insert(table: &mut Table, key: f64, more: &[(&str, f64)]) -> u64 {
    let mut members: Object = [("id".into(), Value::Number(key))].into_iter().collect();
    for (name, value) in more {
        members.set(*name, *value);
    }
    let order = table.order_of(&Value::Number(key));
    let seq = table.next_seq;
    table.next_seq += 1;
    let members = Members::new(members, &mut table.shapes);
    table.put(seq, Some(Record::new(members, 1, order)));
    seq
}

const PLAIN: &str = r#"{"key":"id","schema":{"id":{"type":"number"}}}"#;

#[test]
fn places_of_deleted_records_are_remembered_in_bounded_memory() {
    let mut table = table(PLAIN);
    for key in 0..=DELETED_MAX as u32 {
        let seq = insert(&mut table, f64::from(key), &[]);
        table.put(seq, None);
        table.remember_deleted(seq, &Value::Number(f64::from(key)));
    }
    assert_eq!(table.deleted_seq(&Value::Number(0.0)), None);
    assert_eq!(table.deleted_seq(&Value::Number(1.0)), Some(1));
    // The same key again and again takes no more room, and its last place counts.
    for seq in 0..5000 {
        table.remember_deleted(seq, &Value::Number(7.0));
    }
    assert!(table.deleted.queue.len() <= DELETED_MAX && table.deleted.places.len() == 1);
    assert_eq!(table.deleted_seq(&Value::Number(7.0)), Some(4999));
}

#[test]
fn a_page_goes_on_where_its_cursor_was() {
    let mut table = table(PLAIN);
    let seqs: Vec<u64> = [5.0, 1.0, 3.0].iter().map(|key| insert(&mut table, *key, &[])).collect();
    table.put(seqs[1], None);
    table.remember_deleted(seqs[1], &Value::Number(1.0));
    let keys = |cursor: f64| {
        let position = table.position(Some(&Value::Number(cursor)))?;
        let records = page(table.records(), table.key_order(), &position, 9);
        Some(records.iter().filter_map(|record| record.key().as_number()).collect::<Vec<_>>())
    };
    assert_eq!(keys(5.0), Some(vec![3.0]));
    assert_eq!(keys(1.0), Some(vec![3.0]));
    assert_eq!(keys(4.0), None);
    assert!(
        table.position(Some(&Value::Null)).is_none() && table.position(Some(&Value::from(vec![]))).is_none()
    );
}

#[test]
fn in_key_order_any_cursor_is_a_position() {
    let mut table = table(r#"{"key":"id","etsType":"ordered_set","schema":{"id":{"type":"number"}}}"#);
    for key in [5.0, 1.0, 3.0] {
        insert(&mut table, key, &[]);
    }
    let keys = |cursor: Value| {
        let position = table.position(Some(&cursor)).unwrap();
        let records = page(table.records(), table.key_order(), &position, 9);
        records.iter().filter_map(|record| record.key().as_number()).collect::<Vec<_>>()
    };
    assert_eq!(keys(Value::Number(1.0)), [3.0, 5.0]);
    assert_eq!(keys(Value::Number(2.0)), [3.0, 5.0]);
    assert_eq!(keys(Value::from("a")), [0.0; 0]);
    assert!(table.position(Some(&Value::Null)).is_none());
}

#[test]
fn redefinition_builds_first_and_changes_nothing_if_it_fails() {
    let mut table = table(PLAIN);
    insert(&mut table, 1.0, &[("n", 4.0), (EXPIRES_AT, 50.0)]);
    insert(&mut table, 2.0, &[("n", 4.0)]);
    let updated = |table: &Table, updates: &str| {
        let Ok(Value::Object(updates)) = noex_json::parse(updates, 9) else { panic!("{updates}") };
        table.definition.updated(&updates).unwrap()
    };
    let unique = updated(&table, r#"{"addFields":{"n":{"type":"number","unique":true}},"ttl":9}"#);
    assert_eq!(
        table.redefine(unique).unwrap_err().to_string(),
        "Unique constraint violation in bucket \"t\": field \"n\" already has value \"4\""
    );
    assert!(table.indexes().is_empty() && table.first_deadline().is_none());

    let plain = updated(&table, r#"{"addFields":{"n":{"type":"number"}},"addIndexes":["n"],"ttl":9}"#);
    table.redefine(plain).unwrap();
    assert_eq!(
        table.index("n").and_then(|index| index.posting(&Value::Number(4.0))).map(|found| found.len()),
        Some(2)
    );
    assert_eq!((table.due(49), table.due(50)), (vec![], vec![0]));
    let endless = updated(&table, r#"{"ttl":null}"#);
    table.redefine(endless).unwrap();
    assert_eq!(table.due(99), [0_u64; 0]);
}
