//! Strategies: configurations, messages good and bad, and orders of calls.

use crate::{Inbound, World, request};
use noex_core::{
    AuthMode, Backpressure, CloseReason, Config, EndReason, HeartbeatConfig, HeartbeatMode, PermissionRule,
    Permissions, Tier, TokenMode,
};
use proptest::{
    collection::vec,
    option,
    prelude::{Just, Strategy, any, prop_oneof},
    sample::select,
    strategy::Union,
};
use std::time::Duration;

/// One step of a script: something that happens to a connection.
#[derive(Clone, Debug)]
pub enum Step {
    /// The client sends; it is read when the connection wants to.
    Send(Inbound),
    /// A message is handed over although the connection may not want to read.
    SendUnasked(Inbound),
    /// Time passes.
    Wait(Duration),
    /// `handle_timeout` is called, due or not.
    Timeout,
    /// The host answers one of the effects that wait; the number is taken modulo how many wait.
    Answer(usize),
    /// The network takes so many bytes more.
    Take(usize),
    /// The network takes everything.
    Flow,
    /// A query gets a new result.
    Publish(&'static str, Option<String>),
    /// An event happens.
    Emit(&'static str),
    /// What a subscription watches is gone.
    End(u64, EndReason),
    /// A user gets a right on a resource.
    Grant(&'static str, &'static str),
    /// A user loses the rights on a resource.
    Withdraw(&'static str, &'static str),
    /// A user has another role, and no other.
    Roles(&'static str, &'static str),
    /// The server announces its stop.
    Notice(Duration),
    /// The session is revoked.
    Revoke,
    /// The host closes the connection.
    Close(CloseReason),
}

/// Limits of a [`World`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests and refusals per second, if they are limited.
    pub requests_max: Option<u64>,
    /// Subscriptions of the server.
    pub subscriptions_max: usize,
}

impl Limits {
    /// Makes a world with these limits.
    #[must_use]
    pub fn world(self) -> World {
        let world = World::default().subscriptions_max(self.subscriptions_max);
        world.grant("ann", "*", "bucket:a");
        world.grant("__superadmin__", "*", "*");
        match self.requests_max {
            Some(max) => world.rate_limit(max, 1000),
            None => world,
        }
    }
}

/// Limits from strict to none.
pub fn limits() -> impl Strategy<Value = Limits> {
    let subscriptions_max = prop_oneof![0..4_usize, Just(usize::MAX)];
    (option::of(0..20_u64), subscriptions_max)
        .prop_map(|(requests_max, subscriptions_max)| Limits { requests_max, subscriptions_max })
}

/// How clients log in, or not.
pub fn auth_mode() -> impl Strategy<Value = AuthMode> {
    let rules = vec![
        PermissionRule {
            role: "reader".into(),
            allow: vec!["store.*".into(), "rules.subscribe".into()],
            buckets: Some(vec!["a".into(), "qb".into()]),
            topics: Some(vec!["order.*".into()]),
        },
        PermissionRule { role: "admin".into(), allow: vec!["*".into()], buckets: None, topics: None },
    ];
    let permissions = option::of(any::<bool>()).prop_map(move |default| {
        default.map(|default_allow| Permissions { default_allow, rules: rules.clone() })
    });
    let anonymous_roles =
        option::of(select(vec!["reader", "guest"])).prop_map(|role| role.map(|role| vec![role.to_owned()]));
    let token = (any::<bool>(), anonymous_roles, any::<bool>(), permissions).prop_map(
        |(required, anonymous_roles, strict_tiers, permissions)| {
            AuthMode::Token(TokenMode { required, anonymous_roles, strict_tiers, permissions })
        },
    );
    prop_oneof![1 => Just(AuthMode::None), 3 => token, 2 => Just(AuthMode::BuiltIn)]
}

/// Configurations with limits small enough to be reached.
pub fn config() -> impl Strategy<Value = Config> {
    let span = |ms: std::ops::Range<u64>| ms.prop_map(Duration::from_millis);
    let heartbeat =
        (span(1..60_000), span(1..20_000), any::<bool>()).prop_map(|(interval, timeout, tick)| {
            let mode = if tick { HeartbeatMode::Tick } else { HeartbeatMode::Deadline };
            HeartbeatConfig { interval, timeout, mode }
        });
    let flow = (0..4_000_usize, 0..4_000_usize, span(1..40_000), 0..4_usize, any::<bool>()).prop_map(
        |(buffered_bytes_max, push_threshold_bytes, stall_timeout, events_max, reject_requests)| {
            Backpressure {
                buffered_bytes_max,
                push_threshold_bytes,
                stall_timeout,
                events_max,
                reject_requests,
            }
        },
    );
    let counts = (0..6_usize, 0..4_usize, 1..6_usize);
    let times = (option::of(span(1..20_000)), span(1..3_000), span(1..6_000));
    let audit = prop_oneof![
        1 => Just(Vec::new()),
        1 => Just(vec![Tier::Admin]),
        1 => Just(vec![Tier::Admin, Tier::Write, Tier::Read]),
    ];
    (auth_mode(), audit, any::<[bool; 3]>(), heartbeat, flow, counts, times).prop_map(
        |(auth, audit, [rules, procedures, expose_error_details], heartbeat, backpressure, counts, times)| {
            Config {
                auth,
                audit,
                rules,
                procedures,
                expose_error_details,
                json_depth_max: 16,
                requests_in_flight_max: counts.0,
                transaction_operations_max: counts.2,
                name_length_max: 16,
                subscriptions_max: counts.1,
                heartbeat,
                backpressure,
                auth_timeout: times.0,
                close_timeout: times.1,
                drain_timeout: times.2,
            }
        },
    )
}

/// Requests that are complete, of many kinds, with small ids.
pub fn valid_request() -> impl Strategy<Value = String> {
    let of = |kind: &'static str, fields: &'static [&'static str]| {
        (0..50_u64, select(fields)).prop_map(move |(id, fields)| request(id, kind, fields)).boxed()
    };
    const BUCKETS: &[&str] = &[r#""bucket":"a""#, r#""bucket":"b""#];
    const NAMES: &[&str] = &[r#""name":"qa""#, r#""name":"nobody""#];
    Union::new_weighted(vec![
        (
            4,
            of(
                "store.insert",
                &[
                    r#""bucket":"a","data":{}"#,
                    r#""bucket":"b","data":{"x":1}"#,
                    r#""bucket":"missing","data":{}"#,
                ],
            ),
        ),
        (2, of("store.get", &[r#""bucket":"a","key":1"#, r#""bucket":"missing","key":"k""#])),
        (
            2,
            of(
                "store.first",
                &[r#""bucket":"a","n":1"#, r#""bucket":"a","n":300"#, r#""bucket":"b","n":3000"#],
            ),
        ),
        (1, of("store.all", BUCKETS)),
        (1, of("store.min", &[r#""bucket":"a","field":"x""#])),
        (
            1,
            of(
                "store.transaction",
                &[
                    r#""operations":[{"op":"get","bucket":"a","key":1},{"op":"insert","bucket":"b","data":{}}]"#,
                ],
            ),
        ),
        (1, of("store.buckets", &[""])),
        (1, of("store.defineQuery", &[r#""name":"qc","config":{"bucket":"a"}"#])),
        (1, of("store.undefineQuery", NAMES)),
        (
            4,
            of(
                "store.subscribe",
                &[r#""query":"qa""#, r#""query":"qb","params":{"p":1}"#, r#""query":"missing""#],
            ),
        ),
        (
            2,
            of(
                "store.unsubscribe",
                &[
                    r#""subscriptionId":"sub-1""#,
                    r#""subscriptionId":"sub-2""#,
                    r#""subscriptionId":"sub-3""#,
                ],
            ),
        ),
        (2, of("rules.subscribe", &[r#""pattern":"order.*""#, r#""pattern":"*""#])),
        (1, of("rules.unsubscribe", &[r#""subscriptionId":"sub-1""#, r#""subscriptionId":"sub-2""#])),
        (2, of("rules.emit", &[r#""topic":"order.new""#, r#""topic":"stock.low","data":{"n":1}"#])),
        (1, of("procedures.register", &[r#""procedure":{"name":"p"}"#, r#""procedure":5"#])),
        (1, of("procedures.call", &[r#""name":"p""#, r#""name":"p","input":{"n":1}"#])),
        (1, of("rules.setFact", &[r#""key":"k","value":null"#])),
        (
            4,
            of(
                "auth.login",
                &[
                    r#""token":"admin""#,
                    r#""token":"writer""#,
                    r#""token":"reader""#,
                    r#""token":"guest""#,
                    r#""token":"short""#,
                    r#""token":"expired""#,
                    r#""token":"revoked""#,
                    r#""token":"broken""#,
                    r#""token":"nobody""#,
                ],
            ),
        ),
        (1, of("auth.logout", &[""])),
        (1, of("auth.whoami", &[""])),
        (1, of("server.health", &[""])),
        (
            3,
            of(
                "identity.login",
                &[
                    r#""username":"ann","password":"right""#,
                    r#""username":"admin","password":"right""#,
                    r#""username":"ann","password":"wrong""#,
                ],
            ),
        ),
        (2, of("identity.loginWithSecret", &[r#""secret":"secret""#, r#""secret":"wrong""#])),
        (1, of("identity.logout", &[""])),
        (1, of("identity.whoami", &[""])),
        (
            1,
            of(
                "identity.changePassword",
                &[r#""userId":"ann","currentPassword":"right","newPassword":"other""#],
            ),
        ),
        (1, of("identity.getUser", &[r#""userId":"ann""#, r#""userId":"missing""#])),
        (1, of("identity.createRole", &[r#""name":"r""#, r#""name":"""#])),
        (1, of("audit.query", &["", r#""limit":0"#])),
        (1, of("server.revokeSession", &[r#""userId":"ann""#])),
        (1, of("server.stats", &[""])),
    ])
}

/// Messages that are refused: not JSON, not requests, or requests with wrong fields.
pub fn bad_message() -> impl Strategy<Value = String> {
    let constant = select(vec![
        "",
        "x",
        "null",
        "[]",
        "{}",
        r#"{"id":1,"type":"nope",}"#,
        r#"{"id":01,"type":"x"}"#,
        r#"{"type":"store.get"}"#,
        r#"{"id":"7","type":"store.get"}"#,
        r#"{"id":1e400,"type":"store.get"}"#,
        r#"{"id":3,"type":"pong"}"#,
        r#"{"id":8}"#,
        r#"{"id":-1.5,"type":"store.get"}"#,
        r#"{"id":123456789012345678901,"type":"nope"}"#,
        r#"{"id":1,"type":"store."}"#,
        r#"{"id":1,"type":"constructor"}"#,
        r#"{"id":1,"type":"identity.whoami"}"#,
        r#"{"id":1,"type":"audit.query"}"#,
        r#"{"id":1,"type":"store.insert","bucket":"a","data":[]}"#,
        r#"{"id":1,"type":"store.first","bucket":"a","n":0}"#,
        r#"{"id":1,"type":"store.subscribe","query":7}"#,
        r#"{"id":1,"type":"store.unsubscribe","subscriptionId":"sub-01"}"#,
        r#"{"id":1,"type":"store.transaction","operations":[null]}"#,
        r#"{"id":1,"type":"store.get","bucket":"much longer than a name may be","key":1}"#,
        r#"{"id":1,"type":"auth.login"}"#,
        r#"{"id":1,"type":"x","a":[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}"#,
    ]);
    prop_oneof![3 => constant.prop_map(str::to_owned), 1 => ".{0,20}"]
}

/// An answer to a ping, asked for or not.
pub fn pong() -> impl Strategy<Value = String> {
    any::<i64>().prop_map(|timestamp| format!(r#"{{"type":"pong","timestamp":{timestamp}}}"#))
}

/// Any text message.
pub fn message() -> impl Strategy<Value = String> {
    prop_oneof![8 => valid_request(), 2 => bad_message(), 1 => pong()]
}

/// Spans in which answers arrive, including never.
pub fn delays() -> impl Strategy<Value = Vec<Option<Duration>>> {
    let span = prop_oneof![
        2 => Just(Some(Duration::ZERO)),
        3 => (1..2_000_u64).prop_map(|ms| Some(Duration::from_millis(ms))),
        1 => Just(None),
    ];
    vec(span, 0..6)
}

/// Anything that can happen to a connection, in any order.
pub fn step() -> impl Strategy<Value = Step> {
    let text = || message().prop_map(Inbound::Text);
    let rare = select(vec![
        Inbound::Binary,
        Inbound::Close(None),
        Inbound::Close(Some((1000, "bye".into()))),
        Inbound::TooLarge,
        Inbound::InvalidUtf8,
        Inbound::Malformed,
        Inbound::Eof,
    ]);
    let reason = select(vec![
        CloseReason::ServerShutdown,
        CloseReason::TooManyConnections,
        CloseReason::InternalError,
        CloseReason::TransportLost,
    ]);
    let ended = select(vec![EndReason::BucketDropped, EndReason::QueryUndefined]);
    let data = option::of((0..4_u32, 0..400_usize))
        .prop_map(|data| data.map(|(n, padding)| format!(r#"{{"v":{n},"p":"{}"}}"#, "p".repeat(padding))));
    let ms = |ms: std::ops::Range<u64>| ms.prop_map(Duration::from_millis);
    let resource = select(vec!["*", "bucket:a", "query:qb", "topic:order.*"]);
    prop_oneof![
        40 => text().prop_map(Step::Send),
        3 => text().prop_map(Step::SendUnasked),
        1 => rare.prop_map(Step::Send),
        6 => ms(0..3_000).prop_map(Step::Wait),
        2 => ms(0..50_000).prop_map(Step::Wait),
        2 => (0..2_000_000_u64).prop_map(|us| Step::Wait(Duration::from_micros(us))),
        2 => Just(Step::Timeout),
        10 => (0..8_usize).prop_map(Step::Answer),
        4 => (0..2_000_usize).prop_map(Step::Take),
        2 => Just(Step::Flow),
        10 => (select(vec!["qa", "qb"]), data).prop_map(|(query, data)| Step::Publish(query, data)),
        6 => select(vec!["order.new", "stock.low"]).prop_map(Step::Emit),
        1 => (1..5_u64, ended).prop_map(|(number, reason)| Step::End(number, reason)),
        2 => resource.clone().prop_map(|resource| Step::Grant("ann", resource)),
        2 => resource.prop_map(|resource| Step::Withdraw("ann", resource)),
        1 => select(vec!["reader", "admin"]).prop_map(|role| Step::Roles("ann", role)),
        1 => ms(0..5_000).prop_map(Step::Notice),
        1 => prop_oneof![Just(Step::Revoke), reason.prop_map(Step::Close)],
    ]
}
