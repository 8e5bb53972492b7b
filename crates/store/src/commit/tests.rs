use super::*;
use crate::members::{Members, Shapes};
use noex_json::Object;

fn record(key: &str, version: u64) -> Arc<Record> {
    let members: Object = [("id".into(), Value::from(key))].into_iter().collect();
    Record::new(Members::new(members, &mut Shapes::new("id")), version, None)
}

/// Gives the net effect of steps `(bucket, place, key, version before, version after)`.
fn effect(steps: &[(u64, u64, &str, u64, u64)]) -> Vec<String> {
    let version = |key: &str, version: u64| (version > 0).then(|| record(key, version));
    let steps = steps.iter().map(|(bucket, seq, key, old, new)| Step {
        bucket: BucketId(*bucket),
        seq: *seq,
        old: version(key, *old),
        new: version(key, *new),
        insert: *old == 0,
    });
    let text = |step: Step| {
        let bucket = step.bucket.0.to_string();
        let change = step.into_change(bucket.as_str().into()).unwrap();
        let kind = match &change {
            Change::Inserted { .. } => '+',
            Change::Updated { .. } => '*',
            Change::Deleted { .. } => '-',
        };
        format!("{bucket}{kind}{}", change.key().as_str().unwrap())
    };
    net(steps.collect()).into_iter().map(text).collect()
}

#[test]
fn net_effects_are_grouped_by_bucket_and_kind() {
    let steps = [
        (5, 1, "gone", 1, 0),
        (5, 2, "a", 3, 4),
        (1, 9, "z", 0, 1),
        (5, 2, "a", 4, 5),
        (5, 3, "n", 0, 1),
        (5, 3, "n", 1, 2),
        (5, 4, "t", 0, 1),
        (5, 4, "t", 1, 0),
        (1, 1, "u", 1, 2),
        (1, 1, "u", 2, 0),
    ];
    assert_eq!(effect(&steps), ["5+n", "5*a", "5-gone", "1+z", "1-u"]);
}

#[test]
fn a_deletion_comes_before_the_insertion_that_takes_its_key() {
    let steps = [(1, 1, "a", 1, 0), (1, 2, "b", 1, 0), (1, 8, "c", 0, 1), (1, 9, "a", 0, 1)];
    assert_eq!(effect(&steps), ["1+c", "1-a", "1+a", "1-b"]);
}
