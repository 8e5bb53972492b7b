//! Rights that change while others are at work on other threads.

use crate::client::{Client, options, run, start};
use crate::runtime::{
    IdentityOptions, Options, ProceduresOptions, RulesOptions, Server, Session, StaticTokens, TokenExpiry,
    accounts::{PasswordCost, Settings},
    core::{AuthMode, TokenMode},
};
use futures::future::{join, join_all};
use smol::future::{or, yield_now};
use std::{cell::Cell, sync::Arc, time::Duration};

/// How often the right is taken and given.
const ROUNDS: u64 = 400;
/// Requests of each kind that the reader keeps under way.
const WINDOW: u64 = 3;

/// The value of a member that is a string.
fn member<'t>(text: &'t str, name: &str) -> &'t str {
    let start = text.find(&format!("\"{name}\":\"")).expect(name) + name.len() + 4;
    text[start..].split('"').next().expect("a string")
}

/// A connection logged in as a user.
async fn login(server: &Server, name: &str) -> Client {
    let mut client = Client::connect(server).await;
    let login = format!(r#"{{"id":0,"type":"identity.login","username":"{name}","password":"password"}}"#);
    let answer = client.ask(&login).await;
    assert!(answer.starts_with(r#"{"id":0,"type":"result""#), "{answer}");
    client
}

/// A server with accounts, rules that hear of the store, and procedures that look at and add to `items`.
pub(crate) fn with_accounts(options: Options) -> Options {
    let password_cost = PasswordCost { memory_kib: 8, passes: 1, lanes: 1 };
    let settings = Settings { password_cost, ..Settings::new("a-long-secret") };
    let get = r#"{"action":"store.get","bucket":"items","key":"secret","as":"found"}"#;
    let look = format!(r#""runAs":"caller","steps":[{get},{{"action":"return","value":"{{{{found}}}}"}}]"#);
    let add = r#""steps":[{"action":"store.insert","bucket":"items","data":{"id":"{{input.id}}"}}]"#;
    let procedure = |name: &str, transaction: bool, rest: &str| {
        format!(r#"{{"name":"{name}","transaction":{transaction},{rest}}}"#)
    };
    let definitions = vec![
        procedure("look", false, &look),
        procedure("look-at-once", true, &look),
        procedure("add", false, add),
        procedure("add-at-once", true, add),
    ];
    Options {
        identity: Some(IdentityOptions::new(settings)),
        rules: Some(RulesOptions { store_events: true, ..RulesOptions::default() }),
        procedures: Some(ProceduresOptions { definitions, ..ProceduresOptions::default() }),
        ..options
    }
}

/// The superadmin, and a way to say what must succeed.
struct Root(Client);

impl Root {
    async fn login(server: &Server) -> Self {
        let mut root = Self(Client::connect(server).await);
        root.ok(r#"{"id":1,"type":"identity.loginWithSecret","secret":"a-long-secret"}"#).await;
        root
    }

    async fn ok(&mut self, request: &str) -> String {
        let answer = self.0.ask(request).await;
        assert!(answer.starts_with(r#"{"id":1,"type":"result""#), "{request} {answer}");
        answer
    }

    /// Creates a user and gives the id.
    async fn create(&mut self, name: &str) -> String {
        let user =
            format!(r#"{{"id":1,"type":"identity.createUser","username":"{name}","password":"password"}}"#);
        member(&self.ok(&user).await, "id").to_owned()
    }
}

/// Requests that give and take the right of a user on something.
fn right(user: &str, kind: &str, name: &str) -> (String, String) {
    let subject = format!(
        r#""subjectType":"user","subjectId":"{user}","resourceType":"{kind}","resourceName":"{name}""#
    );
    (
        format!(r#"{{"id":1,"type":"identity.grant",{subject},"operations":["read","write"]}}"#),
        format!(r#"{{"id":1,"type":"identity.revoke",{subject}}}"#),
    )
}

const INSERT: &str = r#"{"id":1,"type":"store.insert","bucket":"items","data":{"id":"secret"}}"#;
const DELETE: &str = r#"{"id":1,"type":"store.delete","bucket":"items","key":"secret"}"#;
const SET_FACT: &str = r#"{"id":1,"type":"rules.setFact","key":"fact","value":"secret"}"#;
const DELETE_FACT: &str = r#"{"id":1,"type":"rules.deleteFact","key":"fact"}"#;

const NOTHING_FOUND: &str = r#"{"success":true,"result":null,"results":{"found":null}}"#;

/// Requests of what is secret, and the only result that each may have.
const READS: [(&str, &str); 7] = [
    (r#""type":"store.get","bucket":"items","key":"secret""#, "null"),
    (r#""type":"store.where","bucket":"items","filter":{}"#, "[]"),
    (
        concat!(
            r#""type":"store.transaction","#,
            r#""operations":[{"op":"get","bucket":"items","key":"secret"}]"#
        ),
        r#"{"results":[{"index":0,"data":null}]}"#,
    ),
    (r#""type":"rules.getFact","key":"fact""#, "null"),
    (r#""type":"rules.queryFacts","pattern":"fact""#, "[]"),
    (r#""type":"procedures.call","name":"look""#, NOTHING_FOUND),
    (r#""type":"procedures.call","name":"look-at-once""#, NOTHING_FOUND),
];

/// Asks for everything that is secret, again and again; counts results and refusals.
async fn read_until(done: &Cell<bool>, reader: &mut Client) -> [(u64, u64); READS.len()] {
    let mut counts = [(0, 0); READS.len()];
    let request = |at: usize, (rest, _): (&str, &str)| format!(r#"{{"id":{at},{rest}}}"#);
    for _ in 0..WINDOW {
        for (at, read) in READS.into_iter().enumerate() {
            reader.send(&request(at, read)).await;
        }
    }
    while !done.get() {
        for (at, read) in READS.into_iter().enumerate() {
            let answer = reader.text().await;
            if answer == format!(r#"{{"id":{at},"type":"result","data":{}}}"#, read.1) {
                counts[at].0 += 1;
            } else {
                assert!(answer.contains(r#""code":"FORBIDDEN""#), "{answer}");
                counts[at].1 += 1;
            }
            reader.send(&request(at, read)).await;
        }
    }
    counts
}

/// Subscribes and asks for snapshots, again and again, for ever. `taken` counts how often the right was taken; the
/// watcher notes which of that he has noticed.
async fn watch(watcher: &mut Client, mode: &str, taken: &Cell<u64>, noticed: &Cell<u64>) {
    let subscribe =
        |count| format!(r#"{{"id":{},"type":"store.subscribe","query":"all","mode":"{mode}"}}"#, 10 + count);
    let mut asked = 0;
    watcher.send(&subscribe(asked)).await;
    let mut snapshot = String::new();
    loop {
        let text = watcher.text().await;
        assert!(!text.contains("secret"), "{text}");
        if text.contains(r#""type":"result","data":{"subscriptionId""#) {
            let id = member(&text, "subscriptionId");
            snapshot = format!(r#"{{"id":9,"type":"store.snapshot","subscriptionId":"{id}"}}"#);
            watcher.send(&snapshot).await;
        } else if text.contains("FORBIDDEN") && !text.starts_with(r#"{"id":9,"#) {
            noticed.set(asked);
            asked = taken.get();
            watcher.send(&subscribe(asked)).await;
        } else if text.contains("subscription_closed") {
            asked = taken.get();
            watcher.send(&subscribe(asked)).await;
        } else if text.starts_with(r#"{"id":9,"type":"result""#) {
            watcher.send(&snapshot).await;
        }
    }
}

/// A secret is there only while nobody but the superadmin has the right to see it.
pub(crate) async fn secrets_are_kept(server: &Server, rounds: u64) {
    let mut root = Root::login(server).await;
    let ann = root.create("ann").await;
    for name in ["look", "look-at-once"] {
        root.ok(&right(&ann, "procedure", name).0).await;
    }
    let (grant, revoke) = right(&ann, "bucket", "items");
    let (grant_fact, revoke_fact) = right(&ann, "topic", "fact");
    root.ok(&grant).await;
    root.ok(&grant_fact).await;
    let mut reader = login(server, "ann").await;
    let mut watchers = [login(server, "ann").await, login(server, "ann").await];
    let done = Cell::new(false);
    let taken = Cell::new(0);
    let noticed = [Cell::new(0), Cell::new(0)];
    let change = async {
        for round in 1..=rounds {
            root.ok(&revoke).await;
            taken.set(round);
            root.ok(INSERT).await;
            root.ok(DELETE).await;
            // A push on its way is judged when it arrives, so nobody must be allowed to see it then.
            while noticed.iter().any(|noticed| noticed.get() < round) {
                yield_now().await;
            }
            root.ok(&grant).await;
            for request in [&*revoke_fact, SET_FACT, DELETE_FACT, &grant_fact] {
                root.ok(request).await;
            }
        }
        done.set(true);
    };
    let watch = async {
        let modes = watchers.iter_mut().zip(&noticed).zip(["full", "delta"]);
        join_all(modes.map(|((watcher, noticed), mode)| watch(watcher, mode, &taken, noticed))).await;
        unreachable!("they watch for ever")
    };
    let ((), counts) = or(join(change, read_until(&done, &mut reader)), watch).await;
    assert!(counts.iter().all(|(allowed, refused)| *allowed > 0 && *refused > 0), "{counts:?}");
}

#[test]
fn nobody_reads_what_came_after_the_end_of_the_right() {
    run(async {
        let server = start(with_accounts(options())).await;
        secrets_are_kept(&server, ROUNDS).await;
        server.stop(Duration::ZERO).await;
    });
}

/// One who watches events of a bucket, and calls the rule engine all the time, sees no event that came when he had no
/// right any more. He has noticed that before the right is given again.
pub(crate) async fn events_are_kept(server: &Server, rounds: u64) {
    let mut root = Root::login(server).await;
    let eve = root.create("eve").await;
    for topic in ["bucket.items.inserted", "fact"] {
        root.ok(&right(&eve, "topic", topic).0).await;
    }
    let (grant, revoke) = right(&eve, "bucket", "items");
    root.ok(&grant).await;
    let mut watcher = login(server, "eve").await;
    // Whether the watcher may watch, and whether he does.
    let (granted, watching) = (Cell::new(true), Cell::new(false));
    let change = async {
        for _ in 0..rounds {
            while !watching.get() {
                yield_now().await;
            }
            root.ok(&revoke).await;
            granted.set(false);
            root.ok(INSERT).await;
            root.ok(DELETE).await;
            while watching.get() {
                yield_now().await;
            }
            root.ok(&grant).await;
            granted.set(true);
        }
    };
    let watch = async {
        let subscribe = r#"{"id":8,"type":"rules.subscribe","pattern":"bucket.items.inserted"}"#;
        let call = r#"{"id":9,"type":"rules.getFact","key":"fact"}"#;
        for _ in 0..WINDOW {
            watcher.send(call).await;
        }
        let mut asked = false;
        loop {
            let text = watcher.text().await;
            assert!(!text.contains("secret"), "{text}");
            if text.starts_with(r#"{"id":8,"type":"result""#) {
                watching.set(true);
                asked = false;
            } else if text.contains("subscription_closed") {
                watching.set(false);
            } else if text.contains(r#"{"id":8,"type":"error","code":"FORBIDDEN""#) {
                asked = false;
            } else {
                assert!(text.starts_with(r#"{"id":9,"type":"result""#), "{text}");
                if granted.get() && !watching.get() && !asked {
                    watcher.send(subscribe).await;
                    asked = true;
                }
                watcher.send(call).await;
            }
        }
    };
    or(change, watch).await;
}

#[test]
fn nobody_hears_of_events_after_the_end_of_the_right() {
    run(async {
        let server = start(with_accounts(options())).await;
        events_are_kept(&server, ROUNDS).await;
        server.stop(Duration::ZERO).await;
    });
}

/// Writes of all kinds; `#` stands for a number.
const WRITES: [&str; 6] = [
    r#""type":"store.insert","bucket":"items","data":{"id":"a#"}"#,
    r#""type":"store.transaction","operations":[{"op":"insert","bucket":"items","data":{"id":"b#"}}]"#,
    r#""type":"procedures.call","name":"add","input":{"id":"c#"}"#,
    r#""type":"procedures.call","name":"add-at-once","input":{"id":"d#"}"#,
    r#""type":"rules.setFact","key":"e#","value":1"#,
    r#""type":"store.defineBucket","name":"f#","config":{"key":"id","schema":{"id":{"type":"string"}}}"#,
];

/// How the rights of one who is at work end.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The account is disabled.
    Disabled,
    /// The session is revoked.
    Revoked,
    /// Another connection with the same session logs out.
    LoggedOut,
}

/// What there is, in numbers: records, facts, buckets.
async fn counts(root: &mut Root) -> [usize; 3] {
    let items = root.ok(r#"{"id":1,"type":"store.all","bucket":"items"}"#).await;
    let facts = root.ok(r#"{"id":1,"type":"rules.getAllFacts"}"#).await;
    let buckets = root.ok(r#"{"id":1,"type":"store.buckets"}"#).await;
    [items.matches(r#""id":"#).count(), facts.matches(r#""key":"#).count(), buckets.split(',').count()]
}

/// Writes whatever it can until that is refused or the connection closed; counts what was answered.
async fn work(worker: &mut Client, me: u64, answered: &Cell<u64>) {
    for n in 0.. {
        for write in WRITES {
            let write = write.replace('#', &format!("-{me}-{n}"));
            if !worker.try_send(&format!(r#"{{"id":2,{write}}}"#)).await {
                return;
            }
        }
        for _ in WRITES {
            match worker.next().await {
                Ok(text) if text.starts_with(r#"{"id":2,"type":"result""#) => {
                    answered.set(answered.get() + 1)
                }
                Ok(_) | Err(_) => return,
            }
        }
    }
}

/// Waits until all that a connection was sent has been executed, or it is closed.
async fn drain(worker: &mut Client) {
    if worker.try_send(r#"{"id":3,"type":"server.health"}"#).await {
        while worker.next().await.is_ok_and(|text| !text.starts_with(r#"{"id":3,"#)) {}
    }
}

/// Whoever ends the rights of one who is at work finds all his work done when that is answered.
pub(crate) async fn nothing_comes_later(server: &Server, rounds: u64) {
    let mut root = Root::login(server).await;
    for round in 0..rounds {
        let end = [End::Disabled, End::Revoked, End::LoggedOut][usize::try_from(round % 3).unwrap()];
        let name = format!("user{round}");
        let user = root.create(&name).await;
        root.ok(&format!(r#"{{"id":1,"type":"identity.assignRole","userId":"{user}","roleName":"admin"}}"#))
            .await;
        let mut first = Client::connect(server).await;
        let login =
            format!(r#"{{"id":0,"type":"identity.login","username":"{name}","password":"password"}}"#);
        let session = first.ask(&login).await;
        let token = member(&session, "token").to_owned();
        let mut workers = Vec::new();
        for _ in 0..2 {
            let mut worker = Client::connect(server).await;
            let answer = worker.login(&token).await;
            assert!(answer.starts_with(r#"{"id":0,"type":"result""#), "{answer}");
            workers.push(worker);
        }
        let answered = Cell::new(0_u64);
        let work =
            join_all(workers.iter_mut().zip(0..).map(|(worker, me)| work(worker, round * 2 + me, &answered)));
        let ended = async {
            while answered.get() < 3 + round % 40 {
                yield_now().await;
            }
            match end {
                End::Disabled => {
                    root.ok(&format!(r#"{{"id":1,"type":"identity.disableUser","userId":"{user}"}}"#)).await;
                }
                End::Revoked => {
                    root.ok(&format!(r#"{{"id":1,"type":"server.revokeSession","userId":"{user}"}}"#)).await;
                }
                End::LoggedOut => {
                    let answer = first.ask(r#"{"id":0,"type":"auth.logout"}"#).await;
                    assert!(answer.contains(r#""loggedOut":true"#), "{answer}");
                }
            }
            counts(&mut root).await
        };
        let (_, found) = join(work, ended).await;
        for worker in &mut workers {
            drain(worker).await;
        }
        assert_eq!(counts(&mut root).await, found, "{end:?}");
    }
}

#[test]
fn nothing_is_executed_after_the_end_of_a_session_was_answered() {
    run(async {
        let server = start(with_accounts(options())).await;
        nothing_comes_later(&server, 60).await;
        server.stop(Duration::ZERO).await;
    });
}

#[test]
fn nothing_is_executed_after_a_revocation_without_accounts_either() {
    run(async {
        let session =
            |user: &str| Session { user_id: user.into(), roles: vec!["admin".into()], ..Session::default() };
        let tokens = StaticTokens::new();
        let tokens = tokens.with_token("root", session("root"), TokenExpiry::Never);
        let tokens = tokens.with_token("worker", session("worker"), TokenExpiry::Never);
        let mut options = Options { identity: None, ..with_accounts(options()) };
        options.connection.auth = AuthMode::Token(TokenMode::default());
        let server = start(Options { authenticator: Some(Arc::new(tokens)), ..options }).await;
        let mut root = Root(Client::connect(&server).await);
        assert!(root.0.login("root").await.starts_with(r#"{"id":0,"type":"result""#));
        for round in 0..40 {
            let mut workers = Vec::new();
            for _ in 0..3 {
                let mut worker = Client::connect(&server).await;
                assert!(worker.login("worker").await.starts_with(r#"{"id":0,"type":"result""#));
                workers.push(worker);
            }
            let answered = Cell::new(0);
            let work = join_all(
                workers.iter_mut().zip(0..).map(|(worker, me)| work(worker, round * 3 + me, &answered)),
            );
            let revoked = async {
                while answered.get() < 3 + round {
                    yield_now().await;
                }
                root.ok(r#"{"id":1,"type":"server.revokeSession","userId":"worker"}"#).await;
                counts(&mut root).await
            };
            let (_, found) = join(work, revoked).await;
            for worker in &mut workers {
                drain(worker).await;
            }
            assert_eq!(counts(&mut root).await, found);
            root.ok(r#"{"id":1,"type":"server.unrevoke","userId":"worker"}"#).await;
        }
        server.stop(Duration::ZERO).await;
    });
}
