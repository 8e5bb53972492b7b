//! Checks that histories of transactions on lists could have happened one after the other.
//!
//! Source: the dependency graphs of Adya, "Weak consistency", 1999, inferred from appends as in Kingsbury and Alvaro,
//! "Elle: inferring isolation anomalies from experimental observations", 2020. As every element is appended once, a
//! list tells the order of its writers.

use std::collections::BTreeMap;

/// One transaction that was carried out.
#[derive(Clone, Debug, Default)]
pub(super) struct Transaction {
    /// Places in time: all of it happened in between.
    pub(super) began: u64,
    pub(super) ended: u64,
    /// Lists as they were before its own appends.
    pub(super) reads: BTreeMap<u64, Vec<u64>>,
    /// Elements appended to each list, in order.
    pub(super) appends: BTreeMap<u64, Vec<u64>>,
}

/// Gives what is wrong with a history. `lists` = the final state.
pub(super) fn check(history: &[Transaction], lists: &BTreeMap<u64, Vec<u64>>) -> Result<(), String> {
    let mut writer = BTreeMap::new();
    for (who, transaction) in history.iter().enumerate() {
        for (list, elements) in &transaction.appends {
            for element in elements {
                writer.insert((*list, *element), who);
                if !lists.get(list).is_some_and(|list| list.contains(element)) {
                    return Err(format!("element {element} of list {list} is lost"));
                }
            }
        }
    }
    let mut graph = vec![Vec::new(); history.len()];
    for (list, elements) in lists {
        let writers: Result<Vec<usize>, String> = elements
            .iter()
            .map(|element| {
                let found = writer.get(&(*list, *element)).copied();
                found.ok_or_else(|| format!("element {element} of list {list} was never committed"))
            })
            .collect();
        let writers = writers?;
        for pair in writers.windows(2) {
            graph[pair[0]].push(pair[1]);
        }
        for (who, transaction) in history.iter().enumerate() {
            let Some(read) = transaction.reads.get(list) else { continue };
            if !elements.starts_with(read) {
                return Err(format!(
                    "transaction {who} read {read:?}, no beginning of list {list}: {elements:?}"
                ));
            }
            if let Some(last) = read.len().checked_sub(1) {
                graph[writers[last]].push(who);
            }
            // It came before whoever appended the next element.
            if let Some(next) = writers.get(read.len()) {
                graph[who].push(*next);
            }
        }
    }
    // What had ended before something else began came first.
    for (a, first) in history.iter().enumerate() {
        let later = history.iter().enumerate().filter(|(_, second)| first.ended < second.began);
        graph[a].extend(later.map(|(b, _)| b));
    }
    acyclic(&graph)
}

/// Takes away whatever nothing points to, until all is gone or a cycle is left.
fn acyclic(graph: &[Vec<usize>]) -> Result<(), String> {
    let mut incoming = vec![0; graph.len()];
    for (a, targets) in graph.iter().enumerate() {
        // A transaction reads and writes the same list, which is no cycle.
        targets.iter().filter(|b| **b != a).for_each(|b| incoming[*b] += 1);
    }
    let mut free: Vec<usize> = (0..graph.len()).filter(|who| incoming[*who] == 0).collect();
    let mut gone = 0;
    while let Some(a) = free.pop() {
        gone += 1;
        for b in graph[a].iter().filter(|b| **b != a) {
            incoming[*b] -= 1;
            if incoming[*b] == 0 {
                free.push(*b);
            }
        }
    }
    if gone == graph.len() {
        return Ok(());
    }
    let left: Vec<usize> = (0..graph.len()).filter(|who| incoming[*who] > 0).collect();
    Err(format!("a cycle among transactions {left:?}"))
}

fn transaction(times: (u64, u64), reads: &[(u64, &[u64])], appends: &[(u64, &[u64])]) -> Transaction {
    let lists = |lists: &[(u64, &[u64])]| lists.iter().map(|(list, items)| (*list, items.to_vec())).collect();
    Transaction { began: times.0, ended: times.1, reads: lists(reads), appends: lists(appends) }
}

#[test]
fn the_checker_finds_anomalies() {
    let both = |a: &[u64], b: &[u64]| BTreeMap::from([(1, a.to_vec()), (2, b.to_vec())]);
    // Write skew: each read what the other was about to change.
    let skew =
        [transaction((0, 9), &[(1, &[])], &[(2, &[20])]), transaction((0, 9), &[(2, &[])], &[(1, &[10])])];
    assert!(check(&skew, &both(&[10], &[20])).unwrap_err().contains("cycle"));
    // Two lists appended to in opposite orders.
    let crossed = [
        transaction((0, 9), &[], &[(1, &[10]), (2, &[20])]),
        transaction((0, 9), &[], &[(1, &[11]), (2, &[21])]),
    ];
    assert!(check(&crossed, &both(&[10, 11], &[21, 20])).unwrap_err().contains("cycle"));
    // A fractured read: one half of a transaction shows.
    let fractured = [
        transaction((0, 9), &[], &[(1, &[10]), (2, &[20])]),
        transaction((0, 9), &[(1, &[10]), (2, &[])], &[]),
    ];
    assert!(check(&fractured, &both(&[10], &[20])).unwrap_err().contains("cycle"));
    // A stale read: serializable, but not in the order of time.
    let stale = [transaction((0, 1), &[], &[(1, &[10])]), transaction((2, 3), &[(1, &[])], &[])];
    assert!(check(&stale, &both(&[10], &[])).unwrap_err().contains("cycle"));
    // A lost append, a dirty read, and an order that never was.
    let one = [transaction((0, 1), &[], &[(1, &[10])])];
    assert!(check(&one, &both(&[], &[])).unwrap_err().contains("lost"));
    assert!(check(&one, &both(&[10, 11], &[])).unwrap_err().contains("never committed"));
    let two = [transaction((0, 1), &[], &[(1, &[10, 11])]), transaction((2, 3), &[(1, &[11])], &[])];
    assert!(check(&two, &both(&[10, 11], &[])).unwrap_err().contains("no beginning"));
    // And nothing where nothing is.
    let fine = [
        transaction((0, 5), &[(1, &[])], &[(1, &[10]), (2, &[20])]),
        transaction((1, 6), &[(1, &[10]), (2, &[20])], &[(1, &[11])]),
        transaction((7, 8), &[(1, &[10, 11])], &[]),
    ];
    assert_eq!(check(&fine, &both(&[10, 11], &[20])), Ok(()));
}
