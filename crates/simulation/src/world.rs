//! One simulated world: a server, its clients, the network between them, and the time.

use crate::{
    behaviour::{self, Scene},
    charges::Charges,
    client::{Ask, Client, Habits, Stage},
    clock::Clock,
    disk::Disk,
    embedder,
    executor::{Executor, TaskId},
    history::History,
    link::{Quality, link},
    plan::{BUCKETS, Plan, ROOT, TOKENS},
    random::Random,
    trace::Trace,
    watch::Subject,
    witness::Witness,
};
use noex_host::{
    Hub, Instant, Options, Persistence,
    core::Shared,
    run_deadlines, serve, stop,
    store::{Image, Journal},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

/// Polls without a byte reaching a client after which a server is busy for ever.
const POLLS_MAX: usize = 400_000;
/// Time in which a world without new requests must come to rest.
const REST_MAX: Duration = Duration::from_secs(600);
/// An expired record is gone from the screens after so many ms.
const EXPIRY_LATE_MS: u64 = 1_000;
/// Addresses that clients share.
const ADDRESSES: u64 = 10;
/// The clients' part of a stop's duration that is not configured.
const DRAIN: Duration = Duration::from_secs(5);

/// Starts a server over what the disk holds, and the history of its store, unless its rule engine follows that.
fn start(
    plan: &Plan,
    disk: Option<&Disk>,
    clock: &Clock,
    executor: &mut Executor,
    random: &mut Random,
) -> (Arc<Hub>, Option<History>) {
    let persistence = disk.zip(plan.wear).map(|(disk, wear)| {
        executor.spawn(disk.clone().run(clock.clone(), random.fork(), wear));
        Persistence::new(Arc::new(disk.clone()) as Arc<dyn Journal>, Box::new(disk.image()))
    });
    let options = Options { persistence, ..plan.options.clone() };
    let hub = Hub::new(options, clock.now()).expect("the definitions are good");
    // Where the rule engine follows the store, the commits are its own.
    let history = plan.options.rules.as_ref().is_none_or(|rules| !rules.store_events).then(|| {
        hub.with_store(clock.now(), |store| store.set_keep_commits(true));
        History::default()
    });
    let (task_hub, timer) = (Arc::clone(&hub), clock.timer());
    executor.spawn(async move { run_deadlines(&task_hub, timer).await });
    (hub, history)
}

/// All records that a disk holds, by bucket.
fn records_of(disk: &Disk) -> BTreeMap<String, Vec<Value>> {
    let mut image = disk.image();
    let mut buckets = BTreeMap::new();
    for bucket in image.buckets().unwrap_or_default() {
        let mut records = Vec::new();
        let read = image.records(bucket.id, &mut |_, text| {
            records.push(serde_json::from_str(text).unwrap_or_default());
            Ok(())
        });
        debug_assert!(read.is_ok(), "the bucket is there");
        buckets.insert(bucket.name, records);
    }
    buckets
}

pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) witness: Witness,
    executor: Executor,
    hub: Arc<Hub>,
    /// What outlives the process.
    disk: Option<Disk>,
    plan: Plan,
    /// The first one is the observer: it does nothing by itself, and sees everything.
    clients: Vec<Client>,
    random: Random,
    keys: Vec<(&'static str, String)>,
    serial: u64,
    embedder_at: Instant,
    embedded: u64,
    pub(crate) rests: u64,
    pub(crate) crashes: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let clock = Clock::default();
        let mut random = Random::new(seed);
        let plan = Plan::random(&mut random, &clock);
        let disk = plan.wear.map(|_| Disk::default());
        let mut executor = Executor::default();
        let (hub, history) = start(&plan, disk.as_ref(), &clock, &mut executor, &mut random);
        Self {
            clock,
            witness: Witness { trace: Trace::default(), history, charges: Charges::default() },
            executor,
            hub,
            disk,
            plan,
            clients: Vec::new(),
            random,
            keys: Vec::new(),
            serial: 0,
            embedder_at: Instant::default(),
            embedded: 0,
            rests: 0,
            crashes: 0,
        }
    }

    /// Lives through some time and an end.
    pub(crate) fn live(&mut self, span: Duration) -> Result<(), String> {
        let observer = self.connect(Quality::perfect(), Habits { pieces: 1, ..Habits::default() });
        self.clients.push(observer);
        self.run_for(Duration::from_millis(1), false)?;
        self.observe(&[("store.transaction", self.twins())])?;
        for _ in 0..self.plan.clients {
            let client = self.random_client();
            self.clients.push(client);
        }
        let parts = self.random.between(2, 6);
        for _ in 0..parts {
            self.run_for(span / u32::try_from(parts).unwrap_or(1), true)?;
            let revoked = if self.random.chance(40) { self.revoke()? } else { Vec::new() };
            self.rest(false)?;
            let left =
                self.clients.iter().find(|client| client.is_open() && revoked.contains(&client.serial));
            if let Some(client) = left.filter(|client| Self::is_sound(client)) {
                return Err(format!("client {} goes on, though its session was revoked", client.serial));
            }
            // Some of the users may come back.
            for token in TOKENS.iter().filter(|_| self.random.chance(30)) {
                self.hub.unrevoke(self.clock.now(), token.user);
            }
            if self.random.chance(50) {
                self.crash()?;
            }
        }
        // Until nothing expires any more.
        self.run_for(Duration::from_millis(self.plan.ttl_ms + 1_000), false)?;
        self.rest(true)?;
        self.end()
    }

    /// Revokes the sessions of a user; gives the clients that must notice.
    fn revoke(&mut self) -> Result<Vec<u64>, String> {
        let user = self.random.pick(&TOKENS[1..]).user;
        self.witness.trace.note(self.clock.mono(), 0, "revoke", user);
        let revoked = self.hub.revoke_session(self.clock.now(), user);
        revoked.map_err(|refusal| refusal.message.into_owned())?;
        let speaks = |client: &&Client| {
            let token = client.session.and_then(|token| TOKENS.get(token));
            // Whoever asks for something may just have become somebody else.
            client.unanswered() == 0 && token.is_some_and(|token| token.user == user && !token.expires())
        };
        Ok(self.clients.iter().filter(speaks).map(|client| client.serial).collect())
    }

    fn twins(&self) -> String {
        let one = |key: &str| {
            format!(r#"{{"op":"insert","bucket":"twins","data":{{"id":"{key}","n":0,"m":"@twins"}}}}"#)
        };
        format!(r#""operations":[{},{}]"#, one("a"), one("b"))
    }

    fn connect(&mut self, quality: Quality, habits: Habits) -> Client {
        let serial = self.serial;
        self.serial += 1;
        let is_near = quality.is_perfect();
        let (server, client) = link(&self.clock, quality, self.random.fork());
        // The observer has an address of its own.
        let host = if serial == 0 { 200 } else { u8::try_from(serial % ADDRESSES).unwrap_or(0) };
        let peer = IpAddr::V4(Ipv4Addr::new(10, 0, 0, host));
        self.executor.spawn(serve(Arc::clone(&self.hub), server, Some(peer), self.clock.timer()));
        let random = self.random.fork();
        let mut client = Client::new(serial, client, random, habits, self.clock.mono());
        (client.host, client.is_near) = (host, is_near);
        client
    }

    fn random_client(&mut self) -> Client {
        let quality =
            if self.random.chance(15) { Quality::perfect() } else { Quality::random(&mut self.random) };
        let habits = Habits {
            ignores_pings: self.random.chance(7),
            ignores_close: self.random.chance(15),
            pauses: self.random.chance(60),
            pieces: *self.random.pick(&[1, 1, 2, 5]),
        };
        let mut client = self.connect(quality, habits);
        client.act_at = self.clock.mono() + Duration::from_millis(self.random.between(0, 2_000));
        client
    }

    /// Runs tasks and lets clients take what arrives, until nothing is left to do at this instant.
    fn settle_instant(&mut self) -> Result<(), String> {
        let now = self.clock.mono();
        let mut polls = 0;
        loop {
            let mut progress = false;
            while self.executor.step(&mut self.random) {
                progress = true;
                polls += 1;
                self.follow();
                if polls > POLLS_MAX {
                    return Err("time does not advance: a task is busy for ever".into());
                }
            }
            for client in &mut self.clients {
                let Some((at_server, at_client)) = client.link.as_ref().map(|link| link.arrive(now)) else {
                    continue;
                };
                progress |= at_server || at_client;
                if at_client {
                    polls = 0;
                    let serial = client.serial;
                    client
                        .receive(now, &self.plan, &mut self.witness)
                        .map_err(|problem| format!("client {serial}: {problem}"))?;
                }
            }
            self.check_kept()?;
            if !progress {
                return Ok(());
            }
        }
    }

    /// What clients know to be there is kept, and what is kept makes sense.
    fn check_kept(&mut self) -> Result<(), String> {
        let Some(disk) = &self.disk else { return Ok(()) };
        for client in &mut self.clients {
            if let Some(key) = client.logged.drain(..).find(|key| !disk.has_logged(key)) {
                return Err(format!("client {} knows of {key}, which is not kept", client.serial));
            }
        }
        disk.violation().map_or(Ok(()), Err)
    }

    /// How often the disk failed to keep a group.
    pub(crate) fn disk_failures(&self) -> u64 {
        self.disk.as_ref().map_or(0, Disk::failures)
    }

    /// Ends the process without a word and starts it again over what the disk holds.
    fn crash(&mut self) -> Result<(), String> {
        let Some(disk) = &self.disk else { return Ok(()) };
        self.witness.trace.note(self.clock.mono(), 0, "crash", "");
        self.crashes += 1;
        let disk = disk.survivor();
        for client in &mut self.clients {
            client.link = None;
            client.stage = Stage::Gone;
            client.act_at = self.clock.mono() + Duration::from_millis(client.random.between(1, 2_000));
        }
        self.executor.clear();
        let before = records_of(&disk);
        let (hub, _) = start(&self.plan, Some(&disk), &self.clock, &mut self.executor, &mut self.random);
        // A history begins with an empty store.
        (self.hub, self.disk, self.witness.history) = (hub, Some(disk), None);
        self.witness.charges = Charges::default();
        let observer = self.connect(Quality::perfect(), Habits { pieces: 1, ..Habits::default() });
        self.clients[0] = observer;
        self.clients[0].host = 200;
        self.run_for(Duration::from_millis(1), false)?;
        let truth = self.truth()?;
        // Records of `brief` may expire meanwhile, and `temp` sleeps until it is defined again.
        for name in BUCKETS.iter().map(|(name, _)| *name).filter(|name| *name != "brief") {
            if truth.get(name) != before.get(name) {
                let (now, then) = (truth.get(name), before.get(name));
                return Err(format!("after a crash {name} is {now:?}, but {then:?} was kept"));
            }
        }
        self.rests += 1;
        Ok(())
    }

    /// Notes what the store has become.
    fn follow(&mut self) {
        if let Some(history) = &mut self.witness.history {
            history.follow(self.clock.mono(), &self.hub.take_commits());
        }
    }

    fn embed(&mut self) {
        let Some(span) = self.plan.embedder_ms else { return };
        let now = self.clock.now();
        if self.embedder_at > now.mono {
            return;
        }
        self.embedder_at = now.mono + Duration::from_millis(self.random.between(1, 2 * span));
        self.embedded += 1;
        self.witness.trace.note(now.mono, 0, "embedder", "");
        embedder::act(&self.hub, now, &mut self.random, &mut self.keys, self.embedded);
        self.follow();
    }

    fn resume(&mut self, place: usize) -> Result<(), String> {
        let now = self.clock.mono();
        let Some(client) = self.clients.get_mut(place) else { return Ok(()) };
        client.resume();
        let serial = client.serial;
        client
            .receive(now, &self.plan, &mut self.witness)
            .map_err(|problem| format!("client {serial}: {problem}"))
    }

    fn run_for(&mut self, span: Duration, acting: bool) -> Result<(), String> {
        let end = self.clock.mono() + span;
        self.settle_instant()?;
        while self.advance(end, acting)? {}
        Ok(())
    }

    /// Moves to the next moment at which something happens, at most to `end`; false when that is reached.
    fn advance(&mut self, end: Instant, acting: bool) -> Result<bool, String> {
        let links = self.clients.iter().filter_map(|client| client.link.as_ref()?.next_arrival());
        let resumes = self.clients.iter().filter_map(|client| client.resume_at);
        let acts = self.clients.iter().skip(1).filter(|_| acting).map(|client| client.act_at);
        let embeds = Some(self.embedder_at).filter(|_| acting && self.plan.embedder_ms.is_some());
        let next = links.chain(resumes).chain(acts).chain(embeds).chain(self.clock.next_alarm()).min();
        let before = self.clock.mono();
        let next = next.unwrap_or(end).max(before);
        self.clock.advance_to(next.min(end));
        let now = self.clock.mono();
        for place in 0..self.clients.len() {
            if self.clients[place].resume_at.is_some_and(|at| at <= now) {
                self.resume(place)?;
            }
            if acting && place > 0 && self.clients[place].act_at <= now {
                self.act(place);
            }
        }
        if acting {
            self.embed();
        }
        self.settle_instant()?;
        Ok(next < end)
    }

    fn act(&mut self, place: usize) {
        let now = self.clock.mono();
        if self.clients[place].stage == Stage::Gone {
            if self.random.chance(70) {
                self.clients[place] = self.random_client();
            } else {
                self.clients[place].act_at = now + Duration::from_millis(500);
            }
            return;
        }
        let (plan, trace, keys) = (&self.plan, &mut self.witness.trace, &mut self.keys);
        behaviour::act(&mut self.clients[place], &mut Scene { now, plan, trace, keys });
    }

    /// A client whose state must be right in the end.
    fn is_sound(client: &Client) -> bool {
        client.is_open() && client.reading && !client.spoiled
    }

    /// Nothing is under way, and all that was asked is answered.
    fn is_quiet(&self) -> bool {
        let now = self.clock.mono();
        self.disk.as_ref().is_none_or(Disk::is_idle)
            && self
                .clients
                .iter()
                .all(|client| client.is_calm(now) && (!Self::is_sound(client) || client.unanswered() == 0))
    }

    /// Lets everybody read until all is said, and compares what clients know with what is true.
    fn rest(&mut self, is_last: bool) -> Result<(), String> {
        self.witness.trace.note(self.clock.mono(), 0, "rest", "");
        for place in 0..self.clients.len() {
            self.clients[place].stirred_at = self.clock.mono();
            if !self.clients[place].spoiled {
                self.resume(place)?;
            }
        }
        let end = self.clock.mono() + REST_MAX;
        self.settle_instant()?;
        while !self.is_quiet() {
            if !self.advance(end, false)? {
                let who: Vec<String> = self
                    .clients
                    .iter()
                    .filter(|client| {
                        (Self::is_sound(client) && client.unanswered() > 0)
                            || !client.is_calm(self.clock.mono())
                    })
                    .map(|client| format!("c{}: {} unanswered", client.serial, client.unanswered()))
                    .collect();
                return Err(format!("the world does not come to rest: {who:?}"));
            }
        }
        self.check_counts()?;
        // Before anybody's question makes the store look.
        let past_ms = self.clock.now().unix_ms.saturating_sub(EXPIRY_LATE_MS);
        // While nothing can be kept, nothing expires.
        let expires = self.plan.wear.is_none_or(|wear| wear.failures_percent == 0);
        for client in self.clients.iter().filter(|client| expires && Self::is_sound(client)) {
            if let Some((id, _)) = client.watches.iter().find(|(_, watch)| watch.shows_expired(past_ms)) {
                return Err(format!("client {} is left with an expired record ({id})", client.serial));
            }
        }
        let truth = self.truth()?;
        self.compare(&truth, is_last)?;
        self.rests += 1;
        Ok(())
    }

    fn check_counts(&self) -> Result<(), String> {
        let open = self.clients.iter().filter(|client| client.is_open()).count();
        let sound = self.clients.iter().filter(|client| Self::is_sound(client)).count();
        if open == sound && self.hub.connection_count() == open {
            let watched: usize = self.clients.iter().filter(|c| c.is_open()).map(|c| c.watches.len()).sum();
            let routes = self.hub.route_count();
            if routes != watched {
                return Err(format!("{routes} routes for {watched} subscriptions"));
            }
        }
        Ok(())
    }

    /// Asks as the observer, as often as it takes.
    fn observe(&mut self, requests: &[(&str, String)]) -> Result<Vec<Value>, String> {
        let mut answers = Vec::new();
        for (operation, rest) in requests {
            loop {
                let now = self.clock.mono();
                let login = self.plan.rights.tokens && self.clients[0].session.is_none();
                let (ask, operation, rest) = if login {
                    (Ask::Login(ROOT), "auth.login", format!(r#""token":"{}""#, TOKENS[ROOT].text))
                } else {
                    (Ask::Observe, *operation, rest.clone())
                };
                self.clients[0].ask(now, &mut self.witness.trace, ask, operation, &rest);
                let end = now + Duration::from_secs(60);
                self.settle_instant()?;
                while self.clients[0].unanswered() > 0 {
                    if !self.advance(end, false)? || !self.clients[0].is_open() {
                        return Err("the observer gets no answer".into());
                    }
                }
                match self.clients[0].answers.pop_front() {
                    Some(answer)
                        if answer["code"] != "RATE_LIMITED" && answer["code"] != "INTERNAL_ERROR" =>
                    {
                        answers.push(answer);
                        break;
                    }
                    Some(_) => self.run_for(Duration::from_millis(300), false)?,
                    None if login && self.clients[0].session.is_none() => {
                        self.run_for(Duration::from_millis(300), false)?;
                    }
                    None => {}
                }
            }
        }
        Ok(answers)
    }

    /// All records of all buckets, as a connection of its own reads them.
    fn truth(&mut self) -> Result<BTreeMap<String, Vec<Value>>, String> {
        let names: Vec<&str> = BUCKETS.iter().map(|(name, _)| *name).chain(["temp"]).collect();
        let requests: Vec<_> =
            names.iter().map(|name| ("store.all", format!(r#""bucket":"{name}""#))).collect();
        let answers = self.observe(&requests)?;
        let records = |answer: Value| answer.as_array().cloned().unwrap_or_default();
        Ok(names.iter().map(|name| (*name).to_owned()).zip(answers.into_iter().map(records)).collect())
    }

    fn compare(&self, truth: &BTreeMap<String, Vec<Value>>, is_last: bool) -> Result<(), String> {
        for client in self.clients.iter().filter(|client| Self::is_sound(client)) {
            for (id, watch) in &client.watches {
                let Subject::Query { bucket, kind } = &watch.subject else { continue };
                // Records of this one may expire while the observer asks.
                if bucket == "brief" && !is_last {
                    continue;
                }
                let records = truth.get(bucket).map(Vec::as_slice).unwrap_or_default();
                if !watch.agrees(records) {
                    return Err(format!(
                        "client {} is left with an old state of {bucket} {kind:?} ({id}): {:?}, but there are {records:?}",
                        client.serial, watch.last
                    ));
                }
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        if self.plan.stop_empty {
            self.witness.trace.note(self.clock.mono(), 0, "all leave", "");
            for client in &mut self.clients {
                client.link = None;
                client.stage = Stage::Gone;
            }
            self.settle_instant()?;
            self.run_for(self.plan.options.connection.close_timeout, false)?;
            self.check_nothing_left()?;
        }
        let (hub, timer, grace) = (Arc::clone(&self.hub), self.clock.timer(), self.plan.grace);
        self.witness.trace.note(self.clock.mono(), 0, "stop", "");
        for client in self.clients.iter_mut().skip(1) {
            if client.random.chance(10) {
                client.spoiled = true;
                client.pause(None);
            }
        }
        let reading: Vec<usize> =
            (0..self.clients.len()).filter(|place| Self::is_sound(&self.clients[*place])).collect();
        let task: TaskId = self.executor.spawn(async move { stop(&hub, grace, timer).await });
        let acting = !grace.is_zero() && self.random.chance(50);
        // Once for the requests, once for the journal.
        let bound = grace + DRAIN * 2 + self.plan.options.connection.close_timeout;
        self.run_for(bound, acting)?;
        if !self.executor.is_done(task) {
            return Err(format!("the stop takes longer than {bound:?}"));
        }
        self.run_for(Duration::from_secs(30), false)?;
        for place in reading.iter().filter(|_| !acting) {
            let client = &self.clients[*place];
            let others = [4001, 4002, 4004, 1008];
            if client.close_code != Some(1000)
                && !client.close_code.is_some_and(|code| others.contains(&code))
            {
                return Err(format!("client {} is closed with {:?}", client.serial, client.close_code));
            }
        }
        self.check_nothing_left()
    }

    fn check_nothing_left(&self) -> Result<(), String> {
        let counts = (self.hub.connection_count(), self.hub.route_count(), self.hub.connections().len());
        if counts != (0, 0, 0) {
            return Err(format!("connections, routes, entries are left: {counts:?}"));
        }
        let stats: Value = serde_json::from_str(&self.hub.stats(self.clock.now()).to_value().to_json())
            .map_err(|error| error.to_string())?;
        if stats["store"]["queries"]["activeSubscriptions"].as_f64() != Some(0.0) {
            return Err(format!("subscribers of views are left: {}", stats["store"]["queries"]));
        }
        let max = self.plan.options.subscriptions_max;
        let free = (0..=max).take_while(|_| self.hub.reserve_subscription().is_ok()).count();
        self.hub.release_subscriptions(free);
        if free == max { Ok(()) } else { Err(format!("{free} of {max} subscriptions are free")) }
    }
}
