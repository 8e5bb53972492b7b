//! The same races where nothing leaves before it is on disk, so that answers and pushes wait for one another.

use crate::client::{options, run, start};
use crate::deltas::{lists, lists_are_rebuilt, subscriptions_end_with_their_query};
use crate::rights::{events_are_kept, nothing_comes_later, secrets_are_kept, with_accounts};
use crate::runtime::{Options, Persistence};
use noex_sqlite::SqliteJournal;
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;

/// Settings with a database, the database, and its folder.
fn kept(options: Options) -> (Options, Arc<SqliteJournal>, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, image) =
        noex_sqlite::open(&folder.path().join("data.db"), &noex_sqlite::Options::default()).expect("opened");
    let journal = Arc::new(journal);
    let persistence = Persistence::new(Arc::clone(&journal) as _, Box::new(image));
    (Options { persistence: Some(persistence), ..options }, journal, folder)
}

#[test]
fn lists_are_rebuilt_from_deltas_that_wait_for_the_disk() {
    run(async {
        let (options, journal, _folder) = kept(lists());
        let server = start(options).await;
        lists_are_rebuilt(&server, 4).await;
        subscriptions_end_with_their_query(&server, 50).await;
        server.stop(Duration::ZERO).await;
        journal.close().expect("closed");
    });
}

#[test]
fn rights_end_at_once_though_all_waits_for_the_disk() {
    run(async {
        let (options, journal, _folder) = kept(with_accounts(options()));
        let server = start(options).await;
        secrets_are_kept(&server, 20).await;
        events_are_kept(&server, 20).await;
        nothing_comes_later(&server, 6).await;
        server.stop(Duration::ZERO).await;
        journal.close().expect("closed");
    });
}
