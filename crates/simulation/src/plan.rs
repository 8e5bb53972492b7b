//! What a seed chooses beside the traffic: configuration, tokens, rights.

use crate::{clock::Clock, disk::Wear, random::Random};
use futures::future::poll_fn;
use noex_host::{
    AuthFailure, Authenticator, ConnectionConfig, Options, RulesOptions, Session, StaticTokens, Timer,
    TokenExpiry, Verdict,
    core::{
        AuthMode, Backpressure, HeartbeatConfig, HeartbeatMode, PermissionRule, Permissions, RateLimit,
        TokenMode,
    },
};
use std::{sync::Arc, time::Duration};

/// Buckets, each with what is special about it. Every record carries the mark `@<bucket>` in its member `m`.
pub(crate) const BUCKETS: [(&str, &str); 7] = [
    ("open", ""),
    ("red", ""),
    ("blue", r#","indexes":["n"]"#),
    // Records only ever come here.
    ("log", ""),
    // Two records that are only ever changed together.
    ("twins", ""),
    ("brief", r#","ttl":TTL"#),
    ("ring", r#","maxSize":SIZE"#),
];
/// Families of topics.
pub(crate) const TOPICS: [&str; 3] = ["open", "red", "blue"];
/// What the token of the observer is.
pub(crate) const ROOT: usize = 0;

/// A token and whom it stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) text: &'static str,
    pub(crate) user: &'static str,
    roles: &'static [&'static str],
    expires_in_ms: Option<u64>,
}

impl Token {
    pub(crate) fn expires(&self) -> bool {
        self.expires_in_ms.is_some()
    }

    pub(crate) fn lifetime(&self) -> Option<Duration> {
        self.expires_in_ms.map(Duration::from_millis)
    }
}

pub(crate) const TOKENS: [Token; 8] = [
    Token { text: "t-root", user: "observer", roles: &["admin", "root"], expires_in_ms: None },
    Token { text: "t-boss", user: "boss", roles: &["admin", "root"], expires_in_ms: Some(20_000) },
    Token { text: "t-red", user: "rosa", roles: &["writer", "red"], expires_in_ms: None },
    Token { text: "t-blue", user: "bob", roles: &["writer", "blue"], expires_in_ms: None },
    Token { text: "t-brief", user: "rosa", roles: &["writer", "red"], expires_in_ms: Some(3_000) },
    Token { text: "t-eyes", user: "eyes", roles: &["reader", "red", "blue"], expires_in_ms: Some(9_000) },
    Token { text: "t-both", user: "both", roles: &["red", "blue"], expires_in_ms: None },
    Token { text: "t-guest", user: "guest", roles: &["reader"], expires_in_ms: None },
];

const TEAMS: [(&str, [&str; 6]); 2] = [
    ("red", ["open", "red", "log", "twins", "brief", "ring"]),
    ("blue", ["open", "blue", "log", "twins", "brief", "ring"]),
];

/// Who may do what, as the documents say it.
#[derive(Clone, Debug)]
pub(crate) struct Rights {
    /// Whether clients can log in at all.
    pub(crate) tokens: bool,
    pub(crate) required: bool,
    anonymous: Option<Vec<String>>,
    strict: bool,
    rules: bool,
}

impl Rights {
    fn random(random: &mut Random) -> Self {
        Self {
            tokens: random.chance(80),
            required: random.chance(60),
            anonymous: random.chance(50).then(|| vec!["reader".into(), "blue".into()]),
            strict: random.chance(50),
            rules: random.chance(75),
        }
    }

    /// Tells whether a session, by its token, may run an operation on a bucket or topic.
    pub(crate) fn permits(&self, token: Option<usize>, operation: &str, resource: &str) -> bool {
        if !self.tokens {
            return true;
        }
        let anonymous: Vec<&str> = self.anonymous.iter().flatten().map(String::as_str).collect();
        let roles = match token.and_then(|token| TOKENS.get(token)) {
            Some(token) => token.roles,
            None if self.required => return false,
            None if self.anonymous.is_none() => return true,
            None => &anonymous,
        };
        let has = |role: &str| roles.contains(&role);
        let level = ["admin", "writer", "reader"].iter().position(|role| has(role)).map(|place| 2 - place);
        if level.map_or(self.strict, |level| level < tier(operation)) {
            return false;
        }
        let rules = operation.starts_with("rules.");
        !self.rules
            || has("root")
            || TEAMS.iter().any(|(team, buckets)| {
                let topic = resource.split('.').next().unwrap_or_default();
                has(team)
                    && if rules {
                        resource.contains('.') && (topic == "open" || topic == *team)
                    } else {
                        resource == "*own*" || buckets.contains(&resource)
                    }
            })
    }

    fn mode(&self) -> AuthMode {
        if !self.tokens {
            return AuthMode::None;
        }
        let mut rules =
            vec![PermissionRule { role: "root".into(), allow: vec!["*".into()], ..Default::default() }];
        for (team, buckets) in TEAMS {
            rules.push(PermissionRule {
                role: team.into(),
                allow: vec!["store.*".into()],
                buckets: Some(buckets.iter().map(|bucket| (*bucket).to_owned()).collect()),
                topics: None,
            });
            rules.push(PermissionRule {
                role: team.into(),
                allow: vec!["rules.*".into()],
                buckets: None,
                topics: Some(vec!["open.*".into(), format!("{team}.*")]),
            });
        }
        AuthMode::Token(TokenMode {
            required: self.required,
            anonymous_roles: self.anonymous.clone(),
            strict_tiers: self.strict,
            permissions: self.rules.then_some(Permissions { default_allow: false, rules }),
        })
    }
}

fn tier(operation: &str) -> usize {
    match operation {
        "store.defineQuery" | "store.undefineQuery" | "store.dropBucket" | "store.defineBucket" => 2,
        "store.insert" | "store.update" | "store.delete" | "store.clear" | "store.transaction"
        | "rules.emit" | "rules.setFact" => 1,
        _ => 0,
    }
}

/// Everything that is fixed before the first client comes.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) options: Options,
    pub(crate) rights: Rights,
    pub(crate) clients: usize,
    pub(crate) ttl_ms: u64,
    pub(crate) grace: Duration,
    /// Busy clients act this often.
    pub(crate) think_ms: u64,
    /// The embedder acts this often.
    pub(crate) embedder_ms: Option<u64>,
    /// Where data is kept, if it is.
    pub(crate) wear: Option<Wear>,
    /// All clients leave before the stop.
    pub(crate) stop_empty: bool,
}

impl Plan {
    pub(crate) fn random(random: &mut Random, clock: &Clock) -> Self {
        let rights = Rights::random(random);
        let ttl_ms = random.between(300, 15_000);
        let connection = connection(random, &rights);
        let clients_max = *random.pick(&[10, 20, 60]);
        let clients = usize::try_from(random.between(5, clients_max)).unwrap_or(5);
        let tokens =
            Tokens { table: tokens(), clock: clock.clone(), delay_ms: *random.pick(&[0, 0, 1, 40, 900]) };
        let mut options = Options {
            connection,
            rate_limit: random.chance(40).then(|| RateLimit {
                requests_max: random.between(3, 60),
                window_ms: random.between(500, 8_000),
            }),
            rate_limit_keys_max: *random.pick(&[0, 4, 100_000]),
            subscriptions_max: *random.pick(&[20, 200, 10_000]),
            connections_max: *random.pick(&[0, 0, 8, 40]),
            connections_per_address_max: *random.pick(&[None, None, Some(2), Some(12)]),
            authenticator: Some(Arc::new(tokens)),
            payload_bytes_max: *random.pick(&[4096, 1_048_576]),
            rules: random.chance(80).then(|| rules(random)),
            random_seed: Some(random.bits()),
            ..Options::default()
        };
        options.store.ttl_check_interval_ms = 200;
        let size = random.between(1, 12).to_string();
        for (name, more) in BUCKETS {
            let more = more.replace("TTL", &ttl_ms.to_string()).replace("SIZE", &size);
            options.buckets.push((name.into(), bucket(&more)));
            for (query, text) in queries(name) {
                options.queries.push((query, text));
            }
        }
        Self {
            options,
            rights,
            clients,
            ttl_ms,
            grace: Duration::from_millis(*random.pick(&[0, 0, 500, 5_000])),
            think_ms: *random.pick(&[150, 600, 2_000, 5_000]),
            embedder_ms: *random.pick(&[None, Some(400), Some(3_000)]),
            wear: random.chance(60).then(|| Wear {
                delay_ms: *random.pick(&[0, 2, 20, 200]),
                failures_percent: *random.pick(&[0, 0, 3, 25]),
            }),
            stop_empty: random.chance(30),
        }
    }
}

/// The definition of a bucket without ids of the server's making.
pub(crate) fn bucket(more: &str) -> String {
    let schema = r#"{"id":{"type":"string","required":true},"n":{"type":"number"},"m":{"type":"string"}}"#;
    format!(r#"{{"key":"id","schema":{schema}{more}}}"#)
}

fn queries(bucket: &str) -> Vec<(String, String)> {
    let define =
        |kind: &str, rest: &str| (format!("{bucket}-{kind}"), format!(r#"{{"bucket":"{bucket}"{rest}}}"#));
    vec![
        define("all", ""),
        define("above", r#","filter":{"n":{"$gte":"{{ params.n }}"}}"#),
        define("count", r#","aggregate":{"function":"count"}"#),
        define("sum", r#","aggregate":{"function":"sum","field":"n"}"#),
        define("top", r#","sort":{"n":"desc"},"limit":3"#),
    ]
}

fn connection(random: &mut Random, rights: &Rights) -> ConnectionConfig {
    let interval_ms = *random.pick(&[400, 3_000, 30_000, 30_000]);
    let buffered = *random.pick(&[600, 3_000, 20_000, 200_000, 1_048_576]);
    ConnectionConfig {
        auth: rights.mode(),
        requests_in_flight_max: *random.pick(&[1, 3, 40, 256]),
        subscriptions_max: *random.pick(&[2, 10, 100]),
        heartbeat: HeartbeatConfig {
            interval: Duration::from_millis(interval_ms),
            timeout: Duration::from_millis(*random.pick(&[1_000, 10_000])),
            mode: if interval_ms > 400 && random.chance(30) {
                HeartbeatMode::Tick
            } else {
                HeartbeatMode::Deadline
            },
        },
        backpressure: Backpressure {
            buffered_bytes_max: buffered,
            push_threshold_bytes: buffered * random.below(120) / 100,
            stall_timeout: Duration::from_millis(*random.pick(&[2_000, 30_000])),
            events_max: *random.pick(&[0, 3, 1000]),
            reject_requests: random.chance(20),
        },
        auth_timeout: random.chance(40).then(|| Duration::from_millis(random.between(500, 10_000))),
        close_timeout: Duration::from_millis(random.between(100, 2_000)),
        ..ConnectionConfig::default()
    }
}

fn rules(random: &mut Random) -> RulesOptions {
    let mut options = RulesOptions { store_events: random.chance(40), ..RulesOptions::default() };
    options.rules = [
        r#"{"id":"echo","name":"echo","trigger":{"type":"event","topic":"open.ping"},"actions":[
            {"type":"set_fact","key":"lamp:last","value":{"ref":"event.seq"}},
            {"type":"emit_event","topic":"open.echo","data":{"m":"@open"}}]}"#,
        r#"{"id":"lamp","name":"lamp","trigger":{"type":"fact","pattern":"lamp:*"},"actions":[
            {"type":"emit_event","topic":"open.lamp","data":{"m":"@open"}}]}"#,
        r#"{"id":"arm","name":"arm","trigger":{"type":"event","topic":"red.arm"},"actions":[
            {"type":"set_timer","timer":{"name":"t:${event.from}","duration":"700ms",
             "onExpire":{"topic":"red.rang","data":{"m":"@red"}},"repeat":{"interval":"450ms","maxCount":3}}}]}"#,
        r#"{"id":"write","name":"write","trigger":{"type":"event","topic":"blue.write"},"actions":[
            {"type":"call_service","service":"store","method":"insert",
             "args":["log",{"id":{"ref":"event.key"},"n":1,"m":"@log"}]}]}"#,
    ]
    .map(str::to_owned)
    .to_vec();
    options
}

fn tokens() -> StaticTokens {
    TOKENS.iter().fold(StaticTokens::new(), |table, token| {
        let session = Session {
            user_id: token.user.into(),
            roles: token.roles.iter().map(|role| (*role).to_owned()).collect(),
            ..Session::default()
        };
        table.with_token(
            token.text,
            session,
            token.expires_in_ms.map_or(TokenExpiry::Never, TokenExpiry::InMs),
        )
    })
}

/// Knows the tokens, and may take its time to answer.
struct Tokens {
    table: StaticTokens,
    clock: Clock,
    delay_ms: u64,
}

impl Authenticator for Tokens {
    fn authenticate(&self, token: &str, unix_ms: u64) -> Verdict {
        if self.delay_ms == 0 {
            return self.table.authenticate(token, unix_ms);
        }
        let Verdict::Ready(answer) = self.table.authenticate(token, unix_ms) else {
            return Verdict::Ready(Err(AuthFailure("a table answers at once".into())));
        };
        let mut timer = self.clock.timer();
        timer.arm(Some(timer.now().mono + Duration::from_millis(self.delay_ms)));
        Verdict::Later(Box::pin(async move {
            poll_fn(|cx| timer.poll_expired(cx)).await;
            answer
        }))
    }
}
