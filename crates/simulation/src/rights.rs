//! Rights that change while requests and pushes are under way, judged in the order of commits.
//!
//! A superadmin assigns a role, changes it, grants, takes all of that away, disables and enables users, and writes
//! records in between, in bursts. Users watch and read these records over slow networks. What each may see after each
//! commit is read off the commits, so that every answer and every push can be judged: nobody is shown anything that was
//! committed after his right had ended.

mod party;
mod timeline;

use crate::{
    clock::Clock,
    executor::Executor,
    link::{Quality, link},
    random::Random,
    trace::Trace,
};
use noex_host::{
    ConnectionConfig, Hub, IdentityOptions, Instant, Options,
    accounts::{PasswordCost, Settings},
    core::HeartbeatConfig,
    run_deadlines, serve,
};
use party::{Ask, Party};
use serde_json::{Value, json};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};
use timeline::{BUCKET, ROLE, Timeline};

const SECRET: &str = "the-secret-of-a-simulation";
const NAMES: [&str; 4] = ["ann", "bob", "cid", "dee"];
/// So long that none disturbs.
const NEVER: Duration = Duration::from_secs(1 << 30);
/// Polls at one instant after which a server is busy for ever.
const POLLS_MAX: usize = 400_000;
/// Time in which a world without new requests comes to rest.
const REST_MAX: Duration = Duration::from_secs(600);

/// A server whose users' rights change.
pub(crate) struct Realm {
    pub(crate) clock: Clock,
    pub(crate) trace: Trace,
    pub(crate) rests: u64,
    executor: Executor,
    hub: Arc<Hub>,
    timeline: Timeline,
    random: Random,
    /// The superadmin, then the users.
    parties: Vec<Party>,
    role: String,
    records: u64,
}

impl Realm {
    pub(crate) fn new(seed: u64) -> Self {
        let clock = Clock::default();
        let mut random = Random::new(seed);
        let hub = Hub::new(options(&mut random), clock.now()).expect("the definitions are good");
        hub.with_store(clock.now(), |store| store.set_keep_commits(true));
        let mut executor = Executor::default();
        let (task_hub, timer) = (Arc::clone(&hub), clock.timer());
        executor.spawn(async move { run_deadlines(&task_hub, timer).await });
        let root = Party::new(0, "root", "", random.fork());
        let (parties, role) = (vec![root], String::new());
        let (trace, timeline) = (Trace::default(), Timeline::default());
        Self { clock, trace, rests: 0, executor, hub, timeline, random, parties, role, records: 0 }
    }

    /// Lives through some time.
    pub(crate) fn live(&mut self, span: Duration) -> Result<(), String> {
        self.connect(0, Quality::perfect());
        self.manage(json!({"type": "identity.loginWithSecret", "secret": SECRET}))?;
        let role =
            self.manage(json!({"type": "identity.createRole", "name": ROLE, "permissions": sees(true)}))?;
        self.role = role["id"].as_str().ok_or("a role has an id")?.to_owned();
        for (serial, name) in (1..).zip(NAMES) {
            let request = json!({"type": "identity.createUser", "username": name, "password": "password"});
            let user = self.manage(request)?;
            let id = user["id"].as_str().ok_or("a user has an id")?;
            let party = Party::new(serial, name, id, self.random.fork());
            self.parties.push(party);
        }
        for _ in 0..4 {
            let end = self.clock.mono() + span / 4;
            while self.advance(end, true)? {}
            self.rest()?;
        }
        if self.timeline.changes() < 10 {
            return Err("the rights hardly change".into());
        }
        Ok(())
    }

    fn connect(&mut self, place: usize, quality: Quality) {
        let (server, client) = link(&self.clock, quality, self.random.fork());
        let peer = IpAddr::V4(Ipv4Addr::new(10, 0, 0, u8::try_from(place).unwrap_or(0)));
        self.executor.spawn(serve(Arc::clone(&self.hub), server, Some(peer), self.clock.timer()));
        if let Some(party) = self.parties.get_mut(place) {
            party.connect(client);
        }
    }

    /// Asks as the superadmin and waits for the answer, which is good.
    fn manage(&mut self, request: Value) -> Result<Value, String> {
        self.send_managing(request);
        self.settle()?;
        let answer = self.parties[0].answers.pop_front().ok_or("no answer")?;
        if answer["type"] == "result" {
            Ok(answer["data"].clone())
        } else {
            Err(format!("refused: {answer}"))
        }
    }

    fn send_managing(&mut self, request: Value) {
        let (now, state) = (self.clock.mono(), self.timeline.now);
        self.parties[0].ask(now, state, &mut self.trace, Ask::Manage, request);
    }

    /// Sends a burst of changes of rights and records.
    fn govern(&mut self) {
        for _ in 0..=self.random.below(5) {
            let place = 1 + self.random.below(NAMES.len());
            let user = self.parties[place].user.clone();
            let entry = |kind: &str| {
                json!({"type": kind, "subjectType": "user", "subjectId": user, "resourceType": "bucket",
                    "resourceName": BUCKET, "operations": ["read"]})
            };
            let of_user = |kind: &str| json!({"type": kind, "userId": user, "roleName": ROLE});
            let request = match self.random.below(20) {
                0..8 => {
                    self.records += 1;
                    let id = format!("r{}", self.records);
                    json!({"type": "store.insert", "bucket": BUCKET, "data": {"id": id}})
                }
                8..10 => entry("identity.grant"),
                10..12 => entry("identity.revoke"),
                12..14 => of_user("identity.assignRole"),
                14..16 => of_user("identity.removeRole"),
                16 => {
                    let permissions = sees(self.random.chance(60));
                    json!({"type": "identity.updateRole", "roleId": self.role, "permissions": permissions})
                }
                17 => of_user("identity.disableUser"),
                _ => of_user("identity.enableUser"),
            };
            self.send_managing(request);
        }
    }

    /// Moves to the next moment at which something happens, at most to `end`; false when that is reached.
    fn advance(&mut self, end: Instant, acting: bool) -> Result<bool, String> {
        let links = self.parties.iter().filter_map(|party| party.link.as_ref()?.next_arrival());
        let acts = self.parties.iter().filter(|_| acting).map(|party| party.act_at);
        let next = links.chain(acts).chain(self.clock.next_alarm()).min().unwrap_or(end);
        self.clock.advance_to(next.min(end));
        let now = self.clock.mono();
        for place in 0..self.parties.len() {
            if acting && self.parties[place].act_at <= now {
                self.act(place);
            }
        }
        self.settle()?;
        Ok(next < end)
    }

    fn act(&mut self, place: usize) {
        let now = self.clock.mono();
        let think_ms = self.random.between(1, 400);
        self.parties[place].act_at = now + Duration::from_millis(think_ms);
        if place == 0 {
            return self.govern();
        }
        if self.parties[place].link.is_none() {
            let near = self.random.chance(30);
            let quality = if near { Quality::perfect() } else { Quality::random(&mut self.random) };
            return self.connect(place, quality);
        }
        self.parties[place].act(now, &self.timeline, &mut self.trace);
    }

    /// Runs tasks and lets everybody take what arrives, until nothing is left to do at this instant.
    fn settle(&mut self) -> Result<(), String> {
        let now = self.clock.mono();
        let mut polls = 0;
        loop {
            let mut progress = false;
            while self.executor.step(&mut self.random) {
                progress = true;
                polls += 1;
                self.timeline.follow(&self.hub.take_commits());
                if polls > POLLS_MAX {
                    return Err("time does not advance: a task is busy for ever".into());
                }
            }
            for party in &mut self.parties {
                let Some((at_server, at_client)) = party.link.as_ref().map(|link| link.arrive(now)) else {
                    continue;
                };
                progress |= at_server || at_client;
                if at_client {
                    party
                        .receive(now, &self.timeline, &mut self.trace)
                        .map_err(|problem| format!("{}: {problem}", party.name))?;
                }
            }
            if !progress {
                return Ok(());
            }
        }
    }

    /// Waits until nothing is under way, and looks at what everybody knows.
    fn rest(&mut self) -> Result<(), String> {
        let end = self.clock.mono() + REST_MAX;
        let under_way = |party: &Party| {
            party.unanswered() > 0 || party.link.as_ref().is_some_and(|link| link.next_arrival().is_some())
        };
        while self.parties.iter().any(under_way) {
            if !self.advance(end, false)? {
                return Err("the world does not come to rest".into());
            }
        }
        let internal = |answer: &Value| answer["code"] == "INTERNAL_ERROR";
        if let Some(answer) = self.parties[0].answers.drain(..).find(internal) {
            return Err(format!("an internal error: {answer}"));
        }
        self.rests += 1;
        let mut users = self.parties.iter().skip(1);
        users.try_for_each(|party| {
            party.check_rest(&self.timeline).map_err(|problem| format!("{}: {problem}", party.name))
        })
    }
}

/// Permissions that let see the records, or others.
fn sees(yes: bool) -> Value {
    json!([{"allow": "store.*", "buckets": [if yes { BUCKET } else { "others" }]}])
}

fn options(random: &mut Random) -> Options {
    let password_cost = PasswordCost { memory_kib: 8, passes: 1, lanes: 1 };
    let settings = Settings { password_cost, max_sessions_per_user: 10_000, ..Settings::new(SECRET) };
    let size = random.between(2, 12);
    let bucket =
        format!(r#"{{"key":"id","maxSize":{size},"schema":{{"id":{{"type":"string","required":true}}}}}}"#);
    Options {
        connection: ConnectionConfig {
            heartbeat: HeartbeatConfig { interval: NEVER, ..HeartbeatConfig::default() },
            ..ConnectionConfig::default()
        },
        buckets: vec![(BUCKET.into(), bucket)],
        queries: vec![("all".into(), format!(r#"{{"bucket":"{BUCKET}"}}"#))],
        // Hashes are computed in place: a thread would not repeat.
        identity: Some(IdentityOptions { hash_threads: 0, ..IdentityOptions::new(settings) }),
        random_seed: Some(random.bits()),
        ..Options::default()
    }
}
