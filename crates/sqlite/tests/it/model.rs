//! Random groups: the database shows what a naive application of the entries gives.

use crate::support::{Maker, define, kept, opened, put, quick_folder, records, submit};
use noex_sqlite::SqliteImage;
use noex_store::{Image, JournalEntry, StoredBucket};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// An entry in few bits, so that entries meet.
#[derive(Clone, Debug)]
enum Step {
    Define(u64, u8),
    Drop(u64),
    Clear(u64),
    Put(u64, u64, u8),
    Delete(u64, u64),
    Counters(u64, u8),
    Query(u8, u8),
    NoQuery(u8),
    Keep(bool, u8, u8),
    Forget(bool, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let bucket = || 1..4_u64;
    prop_oneof![
        1 => (bucket(), any::<u8>()).prop_map(|(b, d)| Step::Define(b, d)),
        1 => bucket().prop_map(Step::Drop),
        1 => bucket().prop_map(Step::Clear),
        8 => (bucket(), 0..6_u64, any::<u8>()).prop_map(|(b, s, v)| Step::Put(b, s, v)),
        4 => (bucket(), 0..6_u64).prop_map(|(b, s)| Step::Delete(b, s)),
        2 => (bucket(), any::<u8>()).prop_map(|(b, n)| Step::Counters(b, n)),
        1 => (0..3_u8, any::<u8>()).prop_map(|(q, d)| Step::Query(q, d)),
        1 => (0..3_u8).prop_map(Step::NoQuery),
        2 => (any::<bool>(), 0..4_u8, any::<u8>()).prop_map(|(s, k, v)| Step::Keep(s, k, v)),
        2 => (any::<bool>(), 0..4_u8).prop_map(|(s, k)| Step::Forget(s, k)),
    ]
}

#[derive(Default)]
struct Model {
    buckets: BTreeMap<u64, (StoredBucket, BTreeMap<u64, String>)>,
    queries: Vec<(String, String)>,
    kept: [Vec<(String, String)>; 2],
}

fn set(list: &mut Vec<(String, String)>, key: String, value: String) {
    match list.iter_mut().find(|(held, _)| *held == key) {
        Some((_, held)) => *held = value,
        None => list.push((key, value)),
    }
}

const SPACES: [&str; 2] = ["fact", "rule"];

impl Model {
    /// Applies a step and gives the entry for it; a step that no store would take is left out.
    fn apply(&mut self, step: &Step, maker: &mut Maker) -> Option<JournalEntry> {
        Some(match *step {
            Step::Define(bucket, definition) => {
                let (name, definition) = (format!("b{bucket}"), format!("{{\"d\":{definition}}}"));
                let fresh = StoredBucket {
                    id: bucket,
                    name: name.clone(),
                    definition: String::new(),
                    counter: 0,
                    next_seq: 0,
                };
                let held = self.buckets.entry(bucket).or_insert((fresh, BTreeMap::new()));
                held.0.definition.clone_from(&definition);
                JournalEntry::BucketDefined { bucket, name: name.into(), definition: definition.into() }
            }
            Step::Drop(bucket) => {
                self.buckets.remove(&bucket)?;
                JournalEntry::BucketDropped { bucket }
            }
            Step::Clear(bucket) => {
                self.buckets.get_mut(&bucket)?.1.clear();
                JournalEntry::BucketCleared { bucket }
            }
            Step::Put(bucket, seq, value) => {
                let record = maker.record(seq, &format!("{value} ü\u{1F600}"));
                self.buckets.get_mut(&bucket)?.1.insert(seq, record.json().to_string());
                put(bucket, seq, &record)
            }
            Step::Delete(bucket, seq) => {
                self.buckets.get_mut(&bucket)?.1.remove(&seq);
                JournalEntry::RecordDeleted { bucket, seq }
            }
            Step::Counters(bucket, counter) => {
                let held = &mut self.buckets.get_mut(&bucket)?.0;
                (held.counter, held.next_seq) = (counter.into(), u64::from(counter) + 1);
                let (counter, next_seq) = (held.counter, held.next_seq);
                JournalEntry::Counters { bucket, counter, next_seq }
            }
            Step::Query(query, definition) => {
                let (name, definition) = (format!("q{query}"), definition.to_string());
                set(&mut self.queries, name.clone(), definition.clone());
                JournalEntry::QueryDefined { name: name.into(), definition: definition.into() }
            }
            Step::NoQuery(query) => {
                let name = format!("q{query}");
                self.queries.retain(|(held, _)| *held != name);
                JournalEntry::QueryUndefined { name: name.into() }
            }
            Step::Keep(space, key, value) => {
                let (key, value) = (key.to_string(), value.to_string());
                set(&mut self.kept[usize::from(space)], key.clone(), value.clone());
                JournalEntry::Kept {
                    space: SPACES[usize::from(space)],
                    key: key.into(),
                    value: Some(value.into()),
                }
            }
            Step::Forget(space, key) => {
                let key = key.to_string();
                self.kept[usize::from(space)].retain(|(held, _)| *held != key);
                JournalEntry::Kept { space: SPACES[usize::from(space)], key: key.into(), value: None }
            }
        })
    }

    fn check(&self, image: &mut SqliteImage) {
        let buckets: Vec<_> = self.buckets.values().map(|(bucket, _)| bucket.clone()).collect();
        assert_eq!(image.buckets(), Ok(buckets));
        assert_eq!(image.queries(), Ok(self.queries.clone()));
        for bucket in 0..5 {
            let held = self.buckets.get(&bucket).map(|(_, held)| held.clone()).unwrap_or_default();
            assert_eq!(records(image, bucket), held.into_iter().collect::<Vec<_>>(), "bucket {bucket}");
        }
        for (space, held) in SPACES.iter().zip(&self.kept) {
            assert_eq!(&kept(image, space), held, "{space}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn database_is_the_sum_of_the_entries(
        groups in vec(vec(vec(step(), 0..5), 0..6), 1..5),
        reopen in any::<bool>(),
    ) {
        let folder = quick_folder();
        let path = folder.path().join("noex.db");
        let (mut journal, mut image) = opened(&path);
        let (mut model, mut maker) = (Model::default(), Maker::new());
        for steps in &groups {
            let group: Vec<Vec<_>> = steps
                .iter()
                .map(|commit| commit.iter().filter_map(|step| model.apply(step, &mut maker)).collect())
                .collect();
            prop_assert_eq!(submit(&journal, group), Ok(()));
            if reopen {
                drop(image);
                journal.close().expect("closed");
                (journal, image) = opened(&path);
            }
            model.check(&mut image);
        }
    }
}

/// A bucket's counters can only be kept if the bucket is: the group is refused whole, and the next one is not.
#[test]
fn refused_group_leaves_nothing_behind() {
    let folder = quick_folder();
    let (journal, mut image) = opened(&folder.path().join("noex.db"));
    let record = Maker::new().record(1, "a");
    let lost = JournalEntry::Counters { bucket: 9, counter: 1, next_seq: 1 };
    let group = vec![vec![define(1, "a")], vec![put(1, 0, &record), lost]];
    let refused = submit(&journal, group).expect_err("refused");
    assert_eq!(refused.to_string(), "counters of a bucket that is not kept");
    assert_eq!(image.buckets(), Ok(vec![]));
    assert_eq!(submit(&journal, vec![vec![define(1, "a"), put(1, 0, &record)]]), Ok(()));
    assert_eq!(records(&mut image, 1).len(), 1);
}
