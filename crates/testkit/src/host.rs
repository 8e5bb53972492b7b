//! A fake host: executes effects on the world's model at once, and answers them when the test wants.

use crate::World;
use noex_core::{
    AuditRecord, AuthToken, Body, Code, Connection, Delivery, Denied, Effect, IdentityCall, IdentityToken,
    Instant, Now, OpToken, Refusal, RulesCall, Session, SessionChange, SessionKey, Source, StoreCall, SubId,
    SubscribeToken, Update, pattern_matches,
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// An executed effect that has not been answered.
#[derive(Debug)]
pub(crate) struct Parked {
    answer: Answer,
    /// When to answer by itself; `None` = when the test says so.
    due: Option<Instant>,
}

#[derive(Debug)]
enum Answer {
    Login(AuthToken, Result<Session, Denied>),
    Call(OpToken, Result<Body, Refusal>, Changed),
    Identity(IdentityToken, Result<Body, Refusal>, SessionChange),
    Subscribe(SubscribeToken, Result<Update, Refusal>),
}

/// Results of queries that a call changed; they are pushed after its answer.
type Changed = Vec<(String, Update)>;

/// The fake host of one connection.
#[derive(Debug, Default)]
pub(crate) struct Host {
    /// Delays of answers, used in turn; `None` = until the test answers. Empty = all at once.
    pub(crate) delays: Vec<Option<Duration>>,
    pub(crate) parked: VecDeque<Parked>,
    pub(crate) watched: BTreeMap<SubId, Source>,
    /// What was executed, as `Debug` shows it.
    pub(crate) executed: Vec<String>,
    /// What was recorded for the audit log.
    pub(crate) records: Vec<AuditRecord>,
    answers: usize,
}

impl Host {
    /// Executes an effect that must be executed. The answer is parked.
    pub(crate) fn execute(&mut self, now: Now, world: &World, connection: &mut Connection, effect: Effect) {
        let answer = match effect {
            Effect::Authenticate { token, credential } => {
                self.executed.push(format!("Authenticate {credential}"));
                Answer::Login(token, world.authenticate(&credential))
            }
            Effect::Store { token, call } => {
                self.executed.push(format!("{call:?}"));
                let (outcome, changed) = store(world, call);
                Answer::Call(token, outcome, changed)
            }
            Effect::Rules { token, call } => {
                self.executed.push(format!("{call:?}"));
                if let RulesCall::Emit { topic, .. } = &call {
                    self.emit(connection, topic);
                }
                Answer::Call(token, Ok(Body::Static("true")), Vec::new())
            }
            Effect::Procedures { token, call, .. } => {
                self.executed.push(format!("{call:?}"));
                Answer::Call(token, Ok(Body::Static("true")), Vec::new())
            }
            Effect::Server { token, call } => {
                self.executed.push(format!("{call:?}"));
                Answer::Call(token, Ok(Body::Static("\"ok\"")), Vec::new())
            }
            Effect::Subscribe { token, subscription, source } => {
                self.executed.push(format!("Subscribe {subscription}"));
                let outcome = self.subscribe(world, subscription, source);
                Answer::Subscribe(token, outcome)
            }
            Effect::Unsubscribe { subscription } => {
                self.executed.push(format!("Unsubscribe {subscription}"));
                self.watched.remove(&subscription);
                return;
            }
            Effect::Identity { token, call } => {
                self.executed.push(format!("{call:?}"));
                let (outcome, change) = identity(call);
                Answer::Identity(token, outcome, change)
            }
            Effect::Audit { token, query } => {
                self.executed.push(format!("{query:?}"));
                Answer::Call(token, Ok(Body::Static("[]")), Vec::new())
            }
            Effect::Record(record) => {
                self.records.push(record);
                return;
            }
            Effect::SessionChanged(_) | Effect::Closed(_) => return,
            // The enum may grow; what is not known is reported.
            other => panic!("an effect that the fake host does not know: {other:?}"),
        };
        let delay = if self.delays.is_empty() {
            Some(Duration::ZERO)
        } else {
            self.delays.get(self.answers % self.delays.len()).copied().flatten()
        };
        self.answers += 1;
        self.parked.push_back(Parked { answer, due: delay.map(|delay| now.mono + delay) });
    }

    fn subscribe(&mut self, world: &World, subscription: SubId, source: Source) -> Result<Update, Refusal> {
        let state = match &source {
            Source::Query { query, .. } => world.state(query).ok_or_else(|| {
                Refusal::new(Code::QueryNotDefined, format!("Query \"{query}\" is not defined"))
            })?,
            Source::Events { .. } => Update::whole(0, None),
        };
        self.watched.insert(subscription, source);
        Ok(state)
    }

    /// Publishes an event to whoever watches its topic.
    pub(crate) fn emit(&self, connection: &mut Connection, topic: &str) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for (subscription, source) in &self.watched {
            if let Source::Events { pattern } = source
                && pattern_matches(pattern, topic)
            {
                let mut event = String::from("{\"topic\":");
                noex_json::write_string(&mut event, topic);
                event.push('}');
                deliveries.push(connection.push_event(*subscription, event.into()));
            }
        }
        deliveries
    }

    /// Pushes a query's result to whoever watches it.
    pub(crate) fn push_result(
        &self,
        connection: &mut Connection,
        name: &str,
        state: &Update,
    ) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for (subscription, source) in &self.watched {
            if matches!(source, Source::Query { query, .. } if query == name) {
                deliveries.push(connection.push_result(*subscription, state.clone()));
            }
        }
        deliveries
    }

    /// Finds an answer that is due.
    pub(crate) fn due(&self, now: Now) -> Option<usize> {
        self.parked.iter().position(|parked| parked.due.is_some_and(|due| due <= now.mono))
    }

    /// The next moment at which an answer is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.parked.iter().filter_map(|parked| parked.due).min()
    }

    /// Answers one parked effect, in the order in which they were executed; false if there is none.
    pub(crate) fn answer(
        &mut self,
        index: usize,
        now: Now,
        world: &World,
        connection: &mut Connection,
    ) -> bool {
        let Some(parked) = self.parked.remove(index) else { return false };
        match parked.answer {
            Answer::Login(token, verdict) => connection.reply_auth(now, world, token, verdict),
            Answer::Call(token, outcome, changed) => {
                connection.reply(now, world, token, outcome);
                for (query, state) in changed {
                    self.push_result(connection, &query, &state);
                }
            }
            Answer::Identity(token, outcome, change) => {
                connection.reply_identity(now, world, token, outcome, change);
            }
            Answer::Subscribe(token, outcome) => connection.reply_subscribe(now, world, token, outcome),
        }
        true
    }
}

/// The model of an identity: a user's password is `right`, and a role of the user's name is the only one; the secret
/// is `secret`. `getUser` of `missing` finds nobody.
#[expect(clippy::wildcard_enum_match_arm, reason = "what has no model gives a constant")]
fn identity(call: IdentityCall) -> (Result<Body, Refusal>, SessionChange) {
    let session = |user: &str, role: &str| {
        SessionChange::Set(Session {
            user_id: user.into(),
            roles: vec![role.into()],
            stored: Some(SessionKey([7; 32])),
            ..Session::default()
        })
    };
    let unauthorized = |text| (Err(Refusal::new(Code::Unauthorized, text)), SessionChange::Keep);
    match call {
        IdentityCall::Login { username, password } if password == "right" => {
            (Ok(Body::Static("\"in\"")), session(&username, &username))
        }
        IdentityCall::Login { .. } => unauthorized("Invalid credentials"),
        IdentityCall::LoginWithSecret { secret } if secret == "secret" => {
            (Ok(Body::Static("\"in\"")), session("__superadmin__", "superadmin"))
        }
        IdentityCall::LoginWithSecret { .. } => unauthorized("Invalid secret"),
        IdentityCall::Logout => (Ok(Body::Static("{\"loggedOut\":true}")), SessionChange::Clear),
        IdentityCall::ChangePassword { .. } => (Ok(Body::Static("\"changed\"")), SessionChange::Clear),
        IdentityCall::GetUser { user_id } if user_id == "missing" => {
            (Err(Refusal::new(Code::NotFound, "User not found")), SessionChange::Keep)
        }
        _ => (Ok(Body::Static("true")), SessionChange::Keep),
    }
}

/// The model of a store: bucket `missing` does not exist, inserts count up the queries over their bucket, and
/// `first` answers with a text of `n` characters.
#[expect(clippy::wildcard_enum_match_arm, reason = "what has no model gives a constant")]
fn store(world: &World, call: StoreCall) -> (Result<Body, Refusal>, Changed) {
    match call {
        StoreCall::Get { bucket, .. } | StoreCall::Insert { bucket, .. } if bucket == "missing" => {
            let text = "Bucket \"missing\" is not defined";
            (Err(Refusal::new(Code::BucketNotDefined, text)), Vec::new())
        }
        StoreCall::Insert { bucket, .. } => (Ok(Body::Static("true")), world.count_up(&bucket)),
        StoreCall::First { n, .. } => {
            let text = format!("\"{}\"", "x".repeat(n.min(1 << 20)));
            (Ok(if n % 2 == 0 { Body::Owned(text) } else { Body::Shared(text.into()) }), Vec::new())
        }
        StoreCall::Aggregate { .. } => (Ok(Body::Absent), Vec::new()),
        StoreCall::Buckets { permitted } => {
            (Ok(Body::Owned(format!("{:?}", permitted.unwrap_or_default()))), Vec::new())
        }
        _ => (Ok(Body::Static("null")), Vec::new()),
    }
}
