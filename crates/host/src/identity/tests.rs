//! Definitions and their owners under threads, while the journal fails every now and then.

use super::*;
use crate::{Options, Persistence, Reply, TicketState};
use noex_core::StoreCall;
use noex_identity::PasswordCost;
use noex_store::{Journal, JournalDone, JournalEntry, JournalError, MemoryImage};
use std::{collections::BTreeSet, sync::mpsc};

const THREADS: usize = 4;
const ROUNDS: usize = 300;

type Job = (Vec<Vec<JournalEntry>>, JournalDone);

/// Keeps groups on a thread of its own, except every third one.
struct Unreliable {
    jobs: Mutex<mpsc::Sender<Job>>,
    image: Arc<Mutex<MemoryImage>>,
}

impl Unreliable {
    fn start() -> Arc<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let image = Arc::new(Mutex::new(MemoryImage::default()));
        let kept = Arc::clone(&image);
        thread::spawn(move || {
            for (number, (group, done)) in queue.into_iter().enumerate() {
                thread::yield_now();
                if number % 3 == 2 {
                    done(Err(JournalError("disk full".into())));
                } else {
                    kept.lock().apply(&group).expect("entries that make sense");
                    done(Ok(()));
                }
            }
        });
        Arc::new(Self { jobs: Mutex::new(jobs), image })
    }
}

impl Journal for Unreliable {
    fn submit(&self, group: Vec<Vec<JournalEntry>>, done: JournalDone) {
        self.jobs.lock().send((group, done)).expect("the thread lives");
    }
}

fn hub(journal: &Arc<Unreliable>, image: MemoryImage) -> Arc<Hub> {
    let persistence = Persistence::new(Arc::clone(journal) as Arc<dyn Journal>, Box::new(image));
    let password_cost = PasswordCost { memory_kib: 8, passes: 1, lanes: 1 };
    let settings = Settings { password_cost, ..Settings::new("secret") };
    let identity = IdentityOptions { hash_threads: 0, ..IdentityOptions::new(settings) };
    let persistence = Some(Persistence { auto_define: true, ..persistence });
    Hub::new(Options { persistence, identity: Some(identity), ..Options::default() }, now()).expect("started")
}

fn now() -> Now {
    Now { mono: noex_core::Instant::from_micros(0), unix_ms: 1_700_000_000_000 }
}

/// Waits until a reply may be told; gives whether what it tells of is kept.
fn is_kept(hub: &Hub, reply: Reply<Body, StoreCall>) -> bool {
    match reply {
        Reply::Now(outcome) => outcome.map(|_| true).expect("nothing is refused"),
        Reply::When { ticket, outcome, .. } => {
            outcome.expect("nothing is refused");
            while ticket.state() == TicketState::Pending {
                hub.flush(now());
                thread::yield_now();
            }
            ticket.state() == TicketState::Kept
        }
    }
}

fn buckets(hub: &Hub) -> BTreeSet<String> {
    hub.store.bucket_names().into_iter().filter(|name| !name.starts_with('_')).collect()
}

fn owned(hub: &Hub) -> BTreeSet<String> {
    let name = |(bucket, record): (&str, Object)| {
        let name = record.get("resourceName").and_then(Value::as_str).map(str::to_owned);
        name.filter(|_| bucket == "_resource_owners")
    };
    hub.with_identity(|identity| identity.records().filter_map(name).collect()).expect("an identity")
}

#[test]
fn definitions_and_owners_are_kept_or_undone_together() {
    let journal = Unreliable::start();
    let hub = hub(&journal, MemoryImage::default());
    let accounts = hub.accounts.as_ref().expect("an identity");
    let user = noex_core::NewUser {
        username: "ann".into(),
        password: "password".into(),
        display_name: None,
        email: None,
        enabled: None,
        metadata: None,
    };
    accounts.change(now().unix_ms, |identity, env| identity.provision_user(user, "admin", env)).expect("new");
    let named = |(bucket, record): (&str, Object)| {
        let id = record.get("id").and_then(Value::as_str).map(str::to_owned);
        id.filter(|_| bucket == "_users")
    };
    let user = hub.with_identity(|identity| identity.records().find_map(named)).flatten().expect("a user");
    // With the first group, which is kept.
    while !hub.gate().is_some_and(crate::gate::Gate::is_kept) {
        hub.flush(now());
    }
    let (hub, user) = (&hub, user.as_str());
    let work = |number: usize| {
        let (name, mut there) = (format!("bucket-{number}"), false);
        for _ in 0..ROUNDS {
            let config = noex_json::parse(r#"{"key":"id","schema":{"id":{"type":"string"}}}"#, 8).ok();
            let config = config.as_ref().and_then(Value::as_object).cloned().expect("an object");
            let call = match there {
                false => StoreCall::DefineBucket { name: name.clone(), config },
                true => StoreCall::DropBucket { name: name.clone() },
            };
            there ^= is_kept(hub, hub.store_call(now(), Some(user), &|| Ok(()), call));
        }
        there.then_some(name)
    };
    let told: BTreeSet<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|number| scope.spawn(move || work(number))).collect();
        threads.into_iter().filter_map(|thread| thread.join().expect("no panic")).collect()
    });
    hub.reload_identity(now());
    assert_eq!((&buckets(hub), &owned(hub)), (&told, &told));
    assert!(hub.journal_failures() > 0);
    let again = self::hub(&Unreliable::start(), journal.image.lock().clone());
    assert_eq!((buckets(&again), owned(&again)), (told.clone(), told));
}
