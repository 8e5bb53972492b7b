//! Any sequence of identity calls, their parts interleaved, with failed writes, time, revocation and restarts.

#[allow(dead_code, reason = "the host in small of the package's own tests")]
#[path = "../../crates/identity/tests/it/bench.rs"]
mod bench;

use crate::input::Input;
use bench::{Bench, Peer, SECRET, new_user, resource, settings, subject};
use noex_core::{IdentityCall as C, NewUser, ResourceName, Subject, UserChanges};
use noex_identity::{
    Check, PasswordJob, Pending, ResourceKind, SUPERADMIN, SessionChange, Settings, Step, Target, TokenHash,
};
use noex_json::{Object, Value, parse};
use std::{collections::BTreeMap, sync::LazyLock};

const STEPS_MAX: usize = 60;
const PEERS: usize = 4;
const NAMES: [&str; 4] = ["ann", "bob", "eve", SUPERADMIN];
const ROLES: [&str; 6] = ["superadmin", "admin", "writer", "own", "", "zz"];
const PASSWORDS: [&str; 4] = ["ann-password", "bob-password", "eve-password", "x"];
const RESOURCES: [&str; 5] = ["t", "u", "*", "_users", ""];
const KINDS: [&str; 5] = ["bucket", "topic", "procedure", "query", "else"];
const SESSIONS_MAX: usize = 2;
const RECORDS_MAX: usize = 24;

/// Plays what the bytes choose.
pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut play = Play::new();
    let mut steps = 0;
    while input.more() && steps < STEPS_MAX {
        play.step(&mut input);
        steps += 1;
        if steps % 20 == 0 {
            play.restart();
        }
    }
    play.restart();
}

/// A call that waits: by which connection, and which user.
struct Waiting {
    at: usize,
    caller: Option<String>,
    job: PasswordJob,
    then: Pending,
}

struct Play {
    bench: Bench,
    peers: Vec<Peer>,
    /// Calls whose passwords are being computed.
    pending: Vec<Waiting>,
    /// Tokens that clients have seen.
    tokens: Vec<String>,
}

fn limits() -> Settings {
    Settings {
        session_ttl_ms: 5000,
        password_min_length: 1,
        max_sessions_per_user: SESSIONS_MAX,
        max_login_attempts: 2,
        login_window_ms: 1000,
        max_records: RECORDS_MAX,
        ..settings()
    }
}

impl Play {
    fn new() -> Self {
        // Users are made once: their passwords take time.
        static START: LazyLock<Bench> = LazyLock::new(|| {
            let mut bench = Bench::new(limits());
            for (name, roles) in [("ann", &["superadmin"][..]), ("bob", &["admin"]), ("eve", &["writer"])] {
                bench.user(name, roles);
            }
            bench
        });
        let peers = (0..PEERS).map(|at| Peer::at(if at < 2 { "1.1.1.1" } else { "2.2.2.2" })).collect();
        Self { bench: START.clone(), peers, pending: Vec::new(), tokens: Vec::new() }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let at = input.below(PEERS);
        match input.below(12) {
            0..=6 => {
                let call = self.call(input);
                self.begin(at, call);
            }
            7 | 8 => {
                if !self.pending.is_empty() {
                    let Waiting { at, caller, job, then } =
                        self.pending.remove(input.below(self.pending.len()));
                    let step = self.bench.identity.resume(then, job.run(), &mut self.bench.world);
                    self.take(at, caller, step, input.rarely(8));
                }
            }
            9 => {
                self.bench.world.now_ms += [0, 1, 500, 1001, 5001][input.below(5)];
                let changes = self.bench.identity.sweep(self.bench.world.now_ms);
                self.bench.commit(changes);
                let next = self.bench.identity.next_deadline();
                assert!(
                    next.is_none_or(|next| next > self.bench.world.now_ms),
                    "a sweep leaves nothing behind"
                );
            }
            10 => self.by_host(at, input),
            _ => self.ask(input),
        }
    }

    /// What the host does on its own account.
    fn by_host(&mut self, at: usize, input: &mut Input<'_>) {
        let user_id = self.user_id(input);
        let (kind, name) = (self.kind(input), input.pick(&RESOURCES));
        match input.below(6) {
            0 => {
                if let Some(token) = self.tokens.get(input.below(self.tokens.len().max(1))).cloned() {
                    let _ = self.bench.token_login(&mut self.peers[at], &token);
                }
            }
            1 => self.bench.close(&mut self.peers[at]),
            2 => {
                if !self.bench.world.revoked.remove(&user_id) {
                    let changes = self.bench.identity.end_sessions(&user_id);
                    self.bench.commit(changes);
                    self.bench.world.revoked.insert(user_id);
                }
            }
            3 => {
                let world = &mut self.bench.world;
                let changes = self.bench.identity.resource_defined(&user_id, kind, name, world);
                self.bench.commit(changes);
            }
            4 => {
                let changes = self.bench.identity.resource_removed(kind, name);
                self.bench.commit(changes);
            }
            _ => {
                if let Some(token) = self.peers[at].caller.token {
                    let changes = self.bench.identity.end_session(&token);
                    self.bench.commit(changes);
                }
            }
        }
    }

    /// Whether a user may do something: no question may fail, and the superadmin may do everything.
    fn ask(&self, input: &mut Input<'_>) {
        let user_id = self.user_id(input);
        let name = input.pick(&["store.get", "store.subscribe", "rules.emit", "procedures.call", "nope", ""]);
        let resource = input.pick(&RESOURCES);
        let target = match input.below(3) {
            0 => Target::Named(resource),
            1 => Target::Query { name: resource, bucket: input.perhaps(&RESOURCES) },
            _ => Target::Unrestricted,
        };
        let permitted = self.bench.identity.permits(&user_id, &Check { name, target });
        assert!(permitted || user_id != SUPERADMIN);
        assert!(self.bench.identity.visible_buckets(&user_id).is_some() || user_id != "gone");
    }

    fn begin(&mut self, at: usize, call: C) {
        let caller = self.peers[at].caller.clone();
        let login = matches!(call, C::Login { .. } | C::LoginWithSecret { .. } | C::RefreshSession);
        let step = self.bench.identity.call(&caller, call, &mut self.bench.world);
        if let Step::Done(outcome) = &step {
            assert!(
                login || !matches!(outcome.session, SessionChange::Set { .. }),
                "who asked for a session?"
            );
        }
        self.take(at, caller.user_id, step, false);
    }

    /// Takes a step; a write may fail.
    fn take(&mut self, at: usize, caller: Option<String>, step: Step, fails: bool) {
        let done = match step {
            Step::Work { job, then } => {
                if self.pending.len() < 8 {
                    self.pending.push(Waiting { at, caller, job, then });
                }
                return;
            }
            Step::Done(_) if fails => return,
            done @ Step::Done(_) => done,
        };
        let opens = match &done {
            Step::Done(outcome) => match &outcome.session {
                SessionChange::Set { session, .. } => Some(session.user_id.clone()),
                SessionChange::Keep | SessionChange::Clear => None,
            },
            Step::Work { .. } => None,
        };
        let bound = opens.as_ref().map_or(0, |user_id| self.sessions(user_id, true));
        let before = self.superadmins();
        let by_superadmin = caller.as_ref().is_some_and(|id| id == SUPERADMIN || before.contains_key(id));
        let mut peer = self.peers[at].clone();
        let reply = self.bench.finish(&mut peer, done);
        self.peers[at] = peer;
        if !by_superadmin {
            assert!(self.superadmins() == before, "only a superadmin touches superadmins");
        }
        if let Some(user_id) = opens {
            assert!(self.sessions(&user_id, false) <= SESSIONS_MAX.max(bound + 1), "sessions are bounded");
        }
        self.look_at(&reply);
    }

    /// A reply is one object, and tells no secret.
    fn look_at(&mut self, reply: &bench::Reply) {
        let text = match reply {
            Ok(text) => text,
            Err((_, message)) => message,
        };
        for secret in ["passwordHash", "$argon2id$", "$scrypt$", SECRET] {
            assert!(!text.contains(secret), "{text}");
        }
        for (bucket, record) in &self.bench.records {
            if *bucket == "_sessions" {
                let id = record.get("id").and_then(Value::as_str).expect("an id");
                assert!(!text.contains(id), "{text}");
            }
        }
        if let Ok(text) = reply {
            let value = parse(text, 64).expect("JSON");
            let object = value.as_object().expect("an object");
            assert!(!object.is_empty());
            if let Some(token) = object.get("token").and_then(Value::as_str) {
                assert!(self.bench.world.bound.contains(&TokenHash::of(token)));
                self.tokens.push(token.to_owned());
            }
        }
    }

    /// The records give the same state again.
    fn restart(&mut self) {
        let again = noex_identity::Identity::load(limits(), self.bench.records.iter().cloned());
        let again = again.expect("records of our own");
        assert!(again.records().eq(self.bench.identity.records()));
        for bucket in ["_users", "_roles", "_user_roles", "_acl"] {
            let count = self.bench.records.iter().filter(|(other, _)| *other == bucket).count();
            assert!(count <= RECORDS_MAX, "{bucket} is bounded");
        }
    }

    /// Counts a user's stored sessions, or those that are bound.
    fn sessions(&self, user_id: &str, bound: bool) -> usize {
        let text = |record: &Object, name: &str| record.get(name).and_then(Value::as_str).map(str::to_owned);
        let bound_ids: Vec<String> = if bound {
            let tokens = self.peers.iter().filter_map(|peer| peer.caller.token);
            tokens.flat_map(|token| self.bench.identity.end_session(&token).records()).map(|r| r.id).collect()
        } else {
            Vec::new()
        };
        let counts = |(bucket, record): &&(&str, Object)| {
            *bucket == "_sessions"
                && text(record, "userId").as_deref() == Some(user_id)
                && (!bound || text(record, "id").is_some_and(|id| bound_ids.contains(&id)))
        };
        self.bench.records.iter().filter(counts).count()
    }

    /// The holders of the superadmin role: whether each is enabled, his password, his roles.
    fn superadmins(&self) -> BTreeMap<String, (bool, String, Vec<String>)> {
        let mut found = BTreeMap::new();
        for (bucket, record) in &self.bench.records {
            let Some(id) = record.get("id").and_then(Value::as_str).filter(|_| *bucket == "_users") else {
                continue;
            };
            let roles = self.bench.identity.role_names(id);
            if roles.iter().any(|role| role == "superadmin") {
                let enabled = record.get("enabled").and_then(Value::as_bool).expect("a flag");
                let hash = record.get("passwordHash").and_then(Value::as_str).expect("a hash");
                found.insert(id.to_owned(), (enabled, hash.to_owned(), roles));
            }
        }
        found
    }

    // ---- Choices ----

    /// The id of a user who may be there, or something else.
    fn user_id(&self, input: &mut Input<'_>) -> String {
        let name = input.pick(&["ann", "bob", "eve", "dan"]);
        if input.rarely(6) {
            return input.pick(&[SUPERADMIN, "", "zz"]).to_owned();
        }
        self.record_id("_users", "username", name)
    }

    fn role_id(&self, input: &mut Input<'_>) -> String {
        self.record_id("_roles", "name", input.pick(&ROLES))
    }

    fn record_id(&self, bucket: &str, member: &str, value: &str) -> String {
        let found = self.bench.records.iter().find(|(other, record)| {
            *other == bucket && record.get(member).and_then(Value::as_str) == Some(value)
        });
        let id = found.and_then(|(_, record)| record.get("id")).and_then(Value::as_str);
        id.unwrap_or("gone").to_owned()
    }

    fn kind(&self, input: &mut Input<'_>) -> ResourceKind {
        ResourceKind::by_name(input.pick(&KINDS)).unwrap_or(ResourceKind::Bucket)
    }

    fn on(&self, input: &mut Input<'_>) -> ResourceName {
        resource(input.pick(&KINDS), input.pick(&RESOURCES))
    }

    fn who(&self, input: &mut Input<'_>) -> Subject {
        match input.below(5) {
            0..=2 => subject("user", &self.user_id(input)),
            3 => subject("role", &self.role_id(input)),
            _ => subject(input.pick(&["user", "role", "else"]), "zz"),
        }
    }

    fn values(&self, input: &mut Input<'_>, choices: &[&str]) -> Vec<Value> {
        let value = |input: &mut Input<'_>| {
            let text = if input.rarely(6) {
                input.json(&["allow", "buckets"], 2)
            } else {
                input.pick(choices).to_owned()
            };
            parse(&text, 64).expect("JSON")
        };
        (0..input.below(4)).map(|_| value(input)).collect()
    }

    fn operations(&self, input: &mut Input<'_>) -> Vec<Value> {
        self.values(input, &["\"read\"", "\"write\"", "\"admin\""])
    }

    fn permissions(&self, input: &mut Input<'_>) -> Vec<Value> {
        const CHOICES: [&str; 5] = [
            r#"{"allow":"*"}"#,
            r#"{"allow":["store.*"],"buckets":["t"]}"#,
            r#"{"allow":"rules.*","topics":["a.*"]}"#,
            r#"{"allow":["store.buckets"],"buckets":[],"x":null}"#,
            r#"{"allow":[]}"#,
        ];
        self.values(input, &CHOICES)
    }

    fn call(&self, input: &mut Input<'_>) -> C {
        match input.below(30) {
            0..=4 => C::Login {
                username: input.pick(&NAMES).to_owned(),
                password: input.pick(&PASSWORDS).to_owned(),
            },
            5 | 6 => C::LoginWithSecret { secret: input.pick(&[SECRET, "wrong"]).to_owned() },
            7 => C::Logout,
            8 => C::RefreshSession,
            9 | 10 => C::CreateUser { user: self.new_user(input) },
            11 => C::GetUser { user_id: self.user_id(input) },
            12 => C::UpdateUser { user_id: self.user_id(input), changes: self.update(input) },
            13 => C::DeleteUser { user_id: self.user_id(input) },
            14 => C::ListUsers {
                page: input.any().unwrap_or_default(),
                page_size: input.any().unwrap_or_default(),
            },
            15 => C::EnableUser { user_id: self.user_id(input) },
            16 => C::DisableUser { user_id: self.user_id(input) },
            17 => C::ChangePassword {
                user_id: self.user_id(input),
                current_password: input.pick(&PASSWORDS).to_owned(),
                new_password: input.pick(&PASSWORDS).to_owned(),
            },
            18 => C::ResetPassword {
                user_id: self.user_id(input),
                new_password: input.pick(&PASSWORDS).to_owned(),
            },
            19 => C::CreateRole {
                name: input.pick(&ROLES).to_owned(),
                description: input.perhaps(&["d"]).map(str::to_owned),
                permissions: self.permissions(input),
            },
            20 => C::UpdateRole {
                role_id: self.role_id(input),
                description: input.perhaps(&[None, Some("e")]).map(|text| text.map(str::to_owned)),
                permissions: input.flag().then(|| self.permissions(input)),
            },
            21 => C::DeleteRole { role_id: self.role_id(input) },
            22 => C::ListRoles,
            23 => C::AssignRole { user_id: self.user_id(input), role_name: input.pick(&ROLES).to_owned() },
            24 => C::RemoveRole { user_id: self.user_id(input), role_name: input.pick(&ROLES).to_owned() },
            25 => C::Grant {
                subject: self.who(input),
                resource: self.on(input),
                operations: self.operations(input),
            },
            26 => C::Revoke {
                subject: self.who(input),
                resource: self.on(input),
                operations: input.flag().then(|| self.operations(input)),
            },
            27 => match input.below(3) {
                0 => C::GetAcl { resource: self.on(input) },
                1 => C::GetOwner { resource: self.on(input) },
                _ => C::GetUserRoles { user_id: self.user_id(input) },
            },
            28 => C::MyAccess,
            _ => C::TransferOwner { resource: self.on(input), new_owner_id: self.user_id(input) },
        }
    }

    fn new_user(&self, input: &mut Input<'_>) -> NewUser {
        NewUser {
            display_name: input.perhaps(&["D", "$x"]).map(str::to_owned),
            email: input.perhaps(&["a@b.c", "a"]).map(str::to_owned),
            enabled: input.perhaps(&[true, false]),
            metadata: input.flag().then(|| self.metadata(input)),
            ..new_user(input.pick(&["dan", "ann", "bob", "eve", SUPERADMIN, "x"]))
        }
    }

    fn update(&self, input: &mut Input<'_>) -> UserChanges {
        UserChanges {
            display_name: input.perhaps(&[None, Some("E")]).map(|text| text.map(str::to_owned)),
            email: input.perhaps(&[None, Some("d@e.f"), Some("")]).map(|text| text.map(str::to_owned)),
            metadata: input.flag().then(|| self.metadata(input)),
        }
    }

    fn metadata(&self, input: &mut Input<'_>) -> Object {
        let text = input.object(&["a", "id"], 2, Vec::new());
        let Ok(Value::Object(object)) = parse(&text, 64) else { panic!("no object: {text}") };
        *object
    }
}
