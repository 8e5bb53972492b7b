//! Logins, sessions and lockout.

use crate::bench::{Bench, Peer, Reply, SECRET, START_MS, login, member, settings};
use crate::{refused, unauthorized};
use noex_core::{Code, Denied, IdentityCall as C};
use noex_identity::{SUPERADMIN, SessionChange, Settings, Step, TokenHash};
use std::collections::BTreeSet;

fn by_secret(secret: &str) -> C {
    C::LoginWithSecret { secret: secret.into() }
}

fn token(reply: &Reply) -> String {
    member(reply.as_ref().unwrap(), "token")
}

fn blocked() -> Reply {
    refused(Code::RateLimited, "Too many failed login attempts. Try again later.")
}

fn revoked() -> Reply {
    refused(Code::SessionRevoked, "Session has been revoked")
}

#[test]
fn answers() {
    let mut bench = Bench::new(settings());
    let mut peer = Peer::at("1.1.1.1");
    assert_eq!(bench.call(&mut peer, by_secret("wrong")), unauthorized("Invalid secret"));
    let reply = bench.call(&mut peer, by_secret(SECRET));
    let expires = START_MS + 86_400_000;
    assert_eq!(
        reply,
        Ok(format!(
            r#"{{"token":"{}","expiresAt":{expires},"user":{{"id":"__superadmin__","username":"__superadmin__","roles":["superadmin"]}}}}"#,
            token(&reply)
        ))
    );
    let session = peer.session.clone().unwrap();
    assert_eq!(session.user_id, SUPERADMIN);
    assert_eq!((session.roles, session.expires_at_ms), (vec!["superadmin".to_owned()], Some(expires)));
    assert_eq!(peer.caller.token, Some(TokenHash::of(&token(&reply))));

    let id = bench.user("ann", &["writer", "reader"]);
    let wrong = unauthorized("Invalid credentials");
    assert_eq!(bench.call(&mut peer, login("ghost", "whatever1")), wrong);
    assert_eq!(bench.call(&mut peer, login("ann", "whatever1")), wrong);
    assert_eq!(bench.call(&mut peer, login("Ann", "ann-password")), wrong);
    // A failed login leaves the session as it was.
    assert_eq!(peer.caller.user_id.as_deref(), Some(SUPERADMIN));
    let changes = noex_core::UserChanges { display_name: Some(Some("Ann".into())), ..Default::default() };
    bench.call(&mut peer, C::UpdateUser { user_id: id.clone(), changes }).unwrap();
    let reply = bench.call(&mut peer, login("ann", "ann-password"));
    assert_eq!(
        reply,
        Ok(format!(
            r#"{{"token":"{}","expiresAt":{expires},"user":{{"id":"{id}","username":"ann","displayName":"Ann","roles":["writer","reader"]}}}}"#,
            token(&reply)
        ))
    );
    assert_eq!(peer.caller.user_id, Some(id.clone()));
    // The record holds neither token nor password.
    let hash = TokenHash::of(&token(&reply));
    let stored = bench.records.iter().rfind(|(bucket, _)| *bucket == "_sessions").unwrap().1.clone();
    assert_eq!(stored.get("userId").unwrap().as_str(), Some(id.as_str()));
    assert_eq!(stored.get("ip").unwrap().as_str(), Some("1.1.1.1"));
    assert_ne!(stored.get("id").unwrap().as_str(), Some(token(&reply).as_str()));
    assert!(bench.world.bound.contains(&hash));
}

#[test]
fn a_token_continues_its_session() {
    let mut bench = Bench::new(settings());
    let id = bench.user("ann", &["reader"]);
    let mut ann = Peer::at("x");
    let reply = bench.call(&mut ann, login("ann", "ann-password"));
    let first = token(&reply);
    bench.world.now_ms += 1000;
    let mut other = Peer::at("y");
    let session = bench.token_login(&mut other, &first).unwrap();
    assert_eq!(session.user_id, id);
    assert_eq!(session.expires_at_ms, Some(START_MS + 86_400_000));
    // Roles are those of this moment.
    let mut root = bench.root();
    bench.call(&mut root, C::RemoveRole { user_id: id.clone(), role_name: "reader".into() }).unwrap();
    assert!(bench.token_login(&mut other, &first).unwrap().roles.is_empty());
    // Refresh replaces the token, on whichever connection it happens.
    let reply = bench.call(&mut other, C::RefreshSession);
    let second = token(&reply);
    assert!(reply.unwrap().contains(&format!(r#""expiresAt":{}"#, START_MS + 1000 + 86_400_000)));
    assert!(matches!(bench.token_login(&mut Peer::at("z"), &first), Err(Denied::Invalid)));
    let refused = unauthorized("Invalid or expired session");
    assert_eq!(bench.call(&mut ann, C::RefreshSession), refused);
    assert!(bench.token_login(&mut ann, &second).is_ok());
    // Logout deletes it.
    assert_eq!(bench.call(&mut other, C::Logout), Ok(r#"{"loggedOut":true}"#.into()));
    assert_eq!(other.caller.user_id, None);
    assert!(matches!(bench.token_login(&mut Peer::at("z"), &second), Err(Denied::Invalid)));
    let random = "00000000-0000-4000-8000-000000000000";
    assert!(matches!(bench.token_login(&mut Peer::at("z"), random), Err(Denied::Invalid)));
}

#[test]
fn refreshing_needs_a_stored_session_of_the_caller() {
    let mut bench = Bench::new(settings());
    bench.user("ann", &[]);
    let mut ann = bench.logged_in("ann");
    let held = ann.caller.token.take();
    let none = unauthorized("No active session to refresh");
    assert_eq!(bench.call(&mut ann, C::RefreshSession), none);
    ann.caller.token = bench.root().caller.token;
    let wrong = unauthorized("Invalid or expired session");
    assert_eq!(bench.call(&mut ann, C::RefreshSession), wrong);
    ann.caller.token = held;
    bench.world.now_ms += 86_400_001;
    assert_eq!(bench.call(&mut ann, C::RefreshSession), wrong);
    bench.world.now_ms -= 1;
    assert!(bench.call(&mut ann, C::RefreshSession).is_ok());
}

#[test]
fn sessions_end() {
    let mut bench = Bench::new(Settings { session_ttl_ms: 100, ..settings() });
    assert_eq!(bench.identity.next_deadline(), None);
    let mut root = Peer::at("x");
    let reply = bench.call(&mut root, by_secret(SECRET));
    let last = START_MS + 100;
    assert_eq!(bench.identity.next_deadline(), Some(last + 1));
    bench.world.now_ms = last;
    assert!(bench.identity.sweep(last).is_empty());
    assert!(bench.token_login(&mut Peer::at("y"), &token(&reply)).is_ok());
    bench.world.now_ms = last + 1;
    assert!(matches!(bench.token_login(&mut Peer::at("y"), &token(&reply)), Err(Denied::Invalid)));
    // That has deleted it.
    assert_eq!(bench.identity.next_deadline(), None);
    bench.call(&mut root, by_secret(SECRET)).unwrap();
    let changes = bench.identity.sweep(u64::MAX);
    assert_eq!(changes.records().len(), 1);
    bench.commit(changes);
    assert_eq!(bench.identity.next_deadline(), None);
}

#[test]
fn the_oldest_unbound_session_gives_way() {
    let mut bench = Bench::new(Settings { max_sessions_per_user: 2, ..settings() });
    bench.user("ann", &[]);
    let mut peers: Vec<Peer> = (0..3).map(|_| bench.logged_in("ann")).collect();
    let stored = |bench: &Bench| bench.records.iter().filter(|(bucket, _)| *bucket == "_sessions").count();
    // All three are in use by open connections (and one of root is not).
    assert_eq!(stored(&bench), 4);
    let tokens: Vec<TokenHash> = peers.iter().map(|peer| peer.caller.token.unwrap()).collect();
    let mut closing = peers.remove(1);
    bench.close(&mut closing);
    peers.push(bench.logged_in("ann"));
    assert_eq!(stored(&bench), 4);
    assert!(bench.call(&mut peers[0], C::RefreshSession).is_ok());
    closing.caller.token = Some(tokens[1]);
    closing.caller.user_id.clone_from(&peers[0].caller.user_id);
    assert_eq!(bench.call(&mut closing, C::RefreshSession), unauthorized("Invalid or expired session"));
    // With nobody connected, the limit holds again.
    for mut peer in peers {
        bench.close(&mut peer);
    }
    for _ in 0..5 {
        let mut peer = bench.logged_in("ann");
        bench.close(&mut peer);
    }
    assert_eq!(stored(&bench), 3);
}

#[test]
fn revoked_users_stay_out() {
    let mut bench = Bench::new(settings());
    let id = bench.user("ann", &[]);
    let mut ann = Peer::at("x");
    let reply = bench.call(&mut ann, login("ann", "ann-password"));
    bench.world.revoked = BTreeSet::from([id.clone(), SUPERADMIN.to_owned()]);
    assert_eq!(bench.call(&mut ann, C::RefreshSession), revoked());
    assert_eq!(bench.call(&mut ann, login("ann", "ann-password")), revoked());
    // Only the right password is told.
    assert_eq!(bench.call(&mut ann, login("ann", "wrong")), unauthorized("Invalid credentials"));
    let denied = bench.token_login(&mut Peer::at("y"), &token(&reply));
    assert_eq!(denied.unwrap_err(), Denied::Revoked { user_id: id.clone() });
    // The operator cannot lock himself out.
    assert!(bench.call(&mut Peer::at("y"), by_secret(SECRET)).is_ok());
    let changes = bench.identity.end_sessions(&id);
    assert_eq!(changes.records().len(), 1);
    bench.commit(changes);
    bench.world.revoked.clear();
    assert!(matches!(bench.token_login(&mut Peer::at("y"), &token(&reply)), Err(Denied::Invalid)));
}

#[test]
fn a_disabled_account_is_told_to_the_right_password_only() {
    let mut bench = Bench::new(settings());
    let id = bench.user("ann", &[]);
    let mut root = bench.root();
    bench.call(&mut root, C::DisableUser { user_id: id }).unwrap();
    let mut peer = Peer::at("x");
    assert_eq!(bench.call(&mut peer, login("ann", "wrong-one")), unauthorized("Invalid credentials"));
    assert_eq!(bench.call(&mut peer, login("ann", "ann-password")), unauthorized("Account disabled"));
}

/// Sessions that open connections hold may be more than are kept; once they are closed, a refresh makes them fewer too.
#[test]
fn a_refresh_drops_what_is_too_much() {
    let mut bench = Bench::new(Settings { max_sessions_per_user: 1, ..settings() });
    bench.user("ann", &[]);
    let stored = |bench: &Bench| bench.records.iter().filter(|(bucket, _)| *bucket == "_sessions").count();
    let others = stored(&bench);
    let mut peers = [Peer::at("1.1.1.1"), Peer::at("1.1.1.1"), Peer::at("1.1.1.1")];
    for peer in &mut peers {
        assert!(bench.call(peer, login("ann", "ann-password")).is_ok());
    }
    assert_eq!(stored(&bench) - others, 3);
    let [first, _second, third] = &mut peers;
    bench.close(third);
    assert!(bench.call(first, C::RefreshSession).is_ok());
    assert_eq!(stored(&bench) - others, 2);
}

#[test]
fn lockout_of_a_user_from_an_address() {
    let mut bench = Bench::new(Settings { max_login_attempts: 3, login_window_ms: 60_000, ..settings() });
    bench.user("ann", &[]);
    bench.user("bob", &[]);
    let (mut near, mut far) = (Peer::at("1.1.1.1"), Peer::at("2.2.2.2"));
    for at in 0..3 {
        let wrong = bench.call(&mut near, login("ann", &format!("wrong-{at}")));
        assert_eq!(wrong, unauthorized("Invalid credentials"));
    }
    assert_eq!(bench.call(&mut near, login("ann", "ann-password")), blocked());
    // Neither others at the address, nor the secret, nor the user elsewhere.
    assert!(bench.call(&mut near, login("bob", "bob-password")).is_ok());
    assert!(bench.call(&mut near, by_secret(SECRET)).is_ok());
    assert!(bench.call(&mut far, login("ann", "ann-password")).is_ok());
    bench.identity.reload(bench.records.iter().cloned()).expect("records of our own");
    assert_eq!(bench.call(&mut near, login("ann", "ann-password")), blocked());
    bench.world.now_ms += 60_000;
    assert_eq!(bench.call(&mut near, login("ann", "ann-password")), blocked());
    bench.world.now_ms += 1;
    assert!(bench.call(&mut near, login("ann", "ann-password")).is_ok());
    // Success clears the count.
    for _ in 0..2 {
        for _ in 0..2 {
            assert_eq!(bench.call(&mut near, login("ann", "wrong")), unauthorized("Invalid credentials"));
        }
        assert!(bench.call(&mut near, login("ann", "ann-password")).is_ok());
    }
}

#[test]
fn lockout_of_an_address_of_a_user_and_of_the_secret() {
    let mut bench = Bench::new(Settings { max_login_attempts: 1, ..settings() });
    bench.user("ann", &[]);
    let mut peer = Peer::at("1.1.1.1");
    for at in 0..4 {
        let name = format!("ghost-{at}");
        assert_eq!(bench.call(&mut peer, login(&name, "x")), unauthorized("Invalid credentials"));
    }
    assert_eq!(bench.call(&mut peer, login("ghost-5", "x")), blocked());
    assert_eq!(bench.call(&mut peer, login("ann", "ann-password")), blocked());
    // The secret has a counter of its own; any success clears that of the address.
    assert_eq!(bench.call(&mut peer, by_secret("wrong")), unauthorized("Invalid secret"));
    assert_eq!(bench.call(&mut peer, by_secret(SECRET)), blocked());
    assert!(bench.call(&mut Peer::at("2.2.2.2"), by_secret(SECRET)).is_ok());
    bench.world.now_ms += 900_001;
    for at in 0..20 {
        let mut peer = Peer::at(&format!("3.3.3.{at}"));
        assert_eq!(bench.call(&mut peer, login("ann", "x")), unauthorized("Invalid credentials"));
    }
    assert_eq!(bench.call(&mut Peer::at("4.4.4.4"), login("ann", "ann-password")), blocked());
}

/// A login whose hash is being computed.
fn start(
    bench: &mut Bench,
    peer: &Peer,
    password: &str,
) -> (noex_identity::PasswordJob, noex_identity::Pending) {
    match bench.identity.call(&peer.caller, login("ann", password), &mut bench.world) {
        Step::Work { job, then } => (job, then),
        Step::Done(outcome) => panic!("{outcome:?}"),
    }
}

#[test]
fn many_guesses_at_once_get_no_more_answers_than_in_a_row() {
    let mut bench = Bench::new(Settings { max_login_attempts: 2, ..settings() });
    bench.user("ann", &[]);
    let mut peer = Peer::at("x");
    let mut guesses: Vec<_> = (0..9).map(|at| start(&mut bench, &peer, &format!("guess-{at}"))).collect();
    guesses.push(start(&mut bench, &peer, "ann-password"));
    let replies: Vec<Reply> = guesses
        .into_iter()
        .map(|(job, then)| {
            let step = bench.identity.resume(then, job.run(), &mut bench.world);
            bench.finish(&mut peer, step)
        })
        .collect();
    assert!(replies[..2].iter().all(|reply| *reply == unauthorized("Invalid credentials")));
    assert!(replies[2..].iter().all(|reply| *reply == blocked()));
}

#[test]
fn a_password_that_changes_during_a_login_is_verified_again() {
    let mut bench = Bench::new(settings());
    let id = bench.user("ann", &[]);
    let (mut peer, mut root) = (Peer::at("x"), bench.root());
    let (old, new) = (start(&mut bench, &peer, "ann-password"), start(&mut bench, &peer, "brand-new-1"));
    let gone = start(&mut bench, &peer, "brand-new-1");
    let reset = C::ResetPassword { user_id: id.clone(), new_password: "brand-new-1".into() };
    bench.call(&mut root, reset).unwrap();
    let mut end = |bench: &mut Bench, (job, then): (noex_identity::PasswordJob, _)| {
        let mut step = bench.identity.resume(then, job.run(), &mut bench.world);
        while let Step::Work { job, then } = step {
            step = bench.identity.resume(then, job.run(), &mut bench.world);
        }
        bench.finish(&mut peer, step)
    };
    assert_eq!(end(&mut bench, old), unauthorized("Invalid credentials"));
    assert!(end(&mut bench, new).is_ok());
    bench.call(&mut root, C::DeleteUser { user_id: id }).unwrap();
    assert_eq!(end(&mut bench, gone), unauthorized("Invalid credentials"));
}

#[test]
fn hashes_of_the_node_server_are_upgraded_at_login() {
    let mut bench = Bench::new(settings());
    bench.user("ann", &[]);
    let node = include_str!("../../src/password/node_hash.txt").trim();
    for (_, record) in bench.records.iter_mut().filter(|(bucket, _)| *bucket == "_users") {
        record.set("passwordHash", node);
    }
    bench.identity = bench.reloaded();
    let hash = |bench: &Bench| {
        let user = bench.records.iter().find(|(bucket, _)| *bucket == "_users").unwrap();
        user.1.get("passwordHash").unwrap().as_str().unwrap().to_owned()
    };
    let mut peer = Peer::at("x");
    // Two logins at once: the second finds the hash that the first has upgraded.
    let (first, second) =
        (start(&mut bench, &peer, "ann-password"), start(&mut bench, &peer, "ann-password"));
    for (job, then) in [first, second] {
        let mut step = bench.identity.resume(then, job.run(), &mut bench.world);
        while let Step::Work { job, then } = step {
            step = bench.identity.resume(then, job.run(), &mut bench.world);
        }
        assert!(bench.finish(&mut peer, step).is_ok());
        assert!(hash(&bench).starts_with("$argon2id$"));
    }
}

#[test]
fn an_outcome_that_cannot_be_written_leaves_nothing_behind() {
    let mut bench = Bench::new(settings());
    bench.user("ann", &[]);
    let (peer, before) = (Peer::at("x"), bench.identity.records().count());
    let (job, then) = start(&mut bench, &peer, "ann-password");
    let Step::Done(outcome) = bench.identity.resume(then, job.run(), &mut bench.world) else { panic!() };
    let SessionChange::Set { token, .. } = outcome.session else { panic!() };
    drop(outcome.changes);
    assert_eq!(bench.identity.records().count(), before);
    assert!(bench.identity.end_session(&token).is_empty());
}
