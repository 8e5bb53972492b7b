//! A host in small: records instead of a store, password jobs at once, and connections that remember their session.

use noex_core::{Code, IdentityCall, NewUser, ResourceName, Session, Subject};
use noex_identity::{
    Caller, Changes, Environment, Identity, Notice, PasswordCost, RecordAction, SessionChange, Settings,
    Step, TokenHash,
};
use noex_json::{Object, Value, parse};
use std::collections::BTreeSet;

pub(crate) const SECRET: &str = "a-long-test-secret";
pub(crate) const START_MS: u64 = 1_700_000_000_000;

/// A reply: JSON text of the data, or code and message.
pub(crate) type Reply = Result<String, (Code, String)>;

/// What only a host knows.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) now_ms: u64,
    random: u64,
    pub(crate) revoked: BTreeSet<String>,
    pub(crate) bound: BTreeSet<TokenHash>,
}

impl Environment for World {
    fn now_ms(&self) -> u64 {
        self.now_ms
    }

    fn random(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            // xorshift64*
            self.random ^= self.random >> 12;
            self.random ^= self.random << 25;
            self.random ^= self.random >> 27;
            *byte = (self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8;
        }
    }

    fn is_revoked(&self, user_id: &str) -> bool {
        self.revoked.contains(user_id)
    }

    fn is_bound(&self, token: &TokenHash) -> bool {
        self.bound.contains(token)
    }
}

/// A connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) caller: Caller,
    pub(crate) session: Option<Session>,
}

impl Peer {
    pub(crate) fn at(address: &str) -> Self {
        Self { caller: Caller { address: address.into(), ..Caller::default() }, session: None }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Bench {
    pub(crate) identity: Identity,
    pub(crate) world: World,
    /// Bucket and record, in the order of insertion.
    pub(crate) records: Vec<(&'static str, Object)>,
    /// Notices of the last call.
    pub(crate) notices: Vec<Notice>,
}

pub(crate) fn settings() -> Settings {
    let password_cost = PasswordCost { memory_kib: 8, passes: 1, lanes: 1 };
    Settings { password_cost, ..Settings::new(SECRET) }
}

impl Bench {
    pub(crate) fn new(settings: Settings) -> Self {
        let identity = Identity::load(settings, Vec::<(&str, Object)>::new()).expect("nothing to load");
        let world = World {
            now_ms: START_MS,
            random: 0x9E37_79B9_7F4A_7C15,
            revoked: BTreeSet::new(),
            bound: BTreeSet::new(),
        };
        let mut bench = Self { identity, world, records: Vec::new(), notices: Vec::new() };
        let changes = bench.identity.bootstrap(&mut bench.world);
        bench.commit(changes);
        bench
    }

    /// Writes as a store would, then commits.
    pub(crate) fn commit(&mut self, changes: Changes) {
        for change in changes.records() {
            let id = Value::from(change.id.as_str());
            let found =
                |(bucket, record): &(&str, Object)| *bucket == change.bucket && record.get("id") == Some(&id);
            let place = self.records.iter().position(found);
            #[expect(clippy::cast_precision_loss, reason = "times are exact")]
            let now = self.world.now_ms as f64;
            match (change.action, place) {
                (RecordAction::Insert(mut record), None) => {
                    assert_eq!(record.get("id"), Some(&id));
                    record.set("_createdAt", now);
                    record.set("_updatedAt", now);
                    self.records.push((change.bucket, record));
                }
                (RecordAction::Update(update), Some(place)) => {
                    let record = &mut self.records[place].1;
                    record.merge(update);
                    record.set("_updatedAt", now);
                }
                (RecordAction::Delete, Some(place)) => {
                    self.records.remove(place);
                }
                (action, place) => panic!("{action:?} of {} in {} at {place:?}", change.id, change.bucket),
            }
        }
        self.identity.commit(changes).expect("nothing came between");
    }

    /// One call from a connection, to its end.
    pub(crate) fn call(&mut self, peer: &mut Peer, call: IdentityCall) -> Reply {
        let mut step = self.identity.call(&peer.caller, call, &mut self.world);
        loop {
            match step {
                Step::Work { job, then } => step = self.identity.resume(then, job.run(), &mut self.world),
                Step::Done(_) => return self.finish(peer, step),
            }
        }
    }

    /// Takes the outcome of a step that must be the last.
    pub(crate) fn finish(&mut self, peer: &mut Peer, step: Step) -> Reply {
        let Step::Done(outcome) = step else { panic!("not the last step") };
        self.notices = outcome.notices;
        self.commit(outcome.changes);
        match outcome.session {
            SessionChange::Keep => {}
            SessionChange::Set { session, token } => self.bind(peer, Some((session, token))),
            SessionChange::Clear => self.bind(peer, None),
        }
        outcome.reply.map_err(|refusal| (refusal.code, refusal.message.into_owned()))
    }

    /// What `auth.login` does.
    pub(crate) fn token_login(&mut self, peer: &mut Peer, token: &str) -> Result<Session, noex_core::Denied> {
        let login = self.identity.login_with_token(token, &self.world);
        self.commit(login.changes);
        let (session, token) = login.verdict?;
        self.bind(peer, Some((session.clone(), token)));
        Ok(session)
    }

    /// Lets a connection go.
    pub(crate) fn close(&mut self, peer: &mut Peer) {
        self.bind(peer, None);
    }

    fn bind(&mut self, peer: &mut Peer, to: Option<(Session, TokenHash)>) {
        if let Some(old) = peer.caller.token.take() {
            self.world.bound.remove(&old);
        }
        peer.caller.user_id = to.as_ref().map(|(session, _)| session.user_id.clone());
        if let Some((session, token)) = to {
            self.world.bound.insert(token);
            peer.caller.token = Some(token);
            peer.session = Some(session);
        } else {
            peer.session = None;
        }
    }

    // ---- Shorthand ----

    /// A connection of the virtual superadmin.
    pub(crate) fn root(&mut self) -> Peer {
        let mut peer = Peer::at("root");
        self.call(&mut peer, IdentityCall::LoginWithSecret { secret: SECRET.into() }).expect("the secret");
        peer
    }

    /// Creates a user with the password `<name>-password` and roles; gives his id.
    pub(crate) fn user(&mut self, name: &str, roles: &[&str]) -> String {
        let mut root = self.root();
        let created = self.call(&mut root, IdentityCall::CreateUser { user: new_user(name) });
        let id = member(&created.expect("a new user"), "id");
        for role in roles {
            let call = IdentityCall::AssignRole { user_id: id.clone(), role_name: (*role).into() };
            self.call(&mut root, call).expect("assigned");
        }
        self.close(&mut root);
        id
    }

    /// Creates a role with permissions as JSON text; gives its id.
    pub(crate) fn role(&mut self, name: &str, permissions: &str) -> String {
        let permissions = parse(permissions, 16).expect("JSON").as_array().expect("a list").to_vec();
        let call = IdentityCall::CreateRole { name: name.into(), description: None, permissions };
        let mut root = self.root();
        let created = self.call(&mut root, call);
        self.close(&mut root);
        member(&created.expect("a new role"), "id")
    }

    /// A connection of a user.
    pub(crate) fn logged_in(&mut self, name: &str) -> Peer {
        let mut peer = Peer::at(name);
        self.call(&mut peer, login(name, &format!("{name}-password"))).expect("the password");
        peer
    }

    /// What a state looks like that is loaded from the records.
    pub(crate) fn reloaded(&self) -> Identity {
        Identity::load(settings(), self.records.iter().cloned()).expect("records of our own")
    }
}

/// A member of a JSON text that is a string.
pub(crate) fn member(json: &str, name: &str) -> String {
    let value = parse(json, 64).expect("JSON");
    value.as_object().and_then(|o| o.get(name)).and_then(Value::as_str).expect("a string").to_owned()
}

pub(crate) fn new_user(name: &str) -> NewUser {
    NewUser { username: name.into(), password: format!("{name}-password"), ..NewUser::default() }
}

pub(crate) fn login(username: &str, password: &str) -> IdentityCall {
    IdentityCall::Login { username: username.into(), password: password.into() }
}

pub(crate) fn resource(kind: &str, name: &str) -> ResourceName {
    ResourceName { kind: kind.into(), name: name.into() }
}

pub(crate) fn subject(kind: &str, id: &str) -> Subject {
    Subject { kind: kind.into(), id: id.into() }
}

pub(crate) fn grant(who: Subject, on: ResourceName, operations: &[&str]) -> IdentityCall {
    let operations = operations.iter().map(|operation| Value::from(*operation)).collect();
    IdentityCall::Grant { subject: who, resource: on, operations }
}
