//! The request pipeline, in the order of the protocol: envelope, session, permission, rate limit, route, fields.

use super::Connection;
use crate::{
    AuthMode, AuthToken, CloseReason, Effect, IdentityCall, IdentityToken, LimitKey, Now, OpToken, Operation,
    Refusal, RefusalVerdict, Session, Shared, Source, SubscribeToken, audit,
    fields::{self, Fields},
    frame::{self, Data},
    guard,
    operation::unknown,
    permissions,
    refusal::Code,
    request::{Envelope, Members, Parsed, RequestId},
    subscriptions::{EndReason, Stream, SubId},
};
use alloc::{collections::VecDeque, format, string::String};
use core::fmt::Write;
use noex_json::write_string;

impl Connection {
    /// Takes a text message: runs it, or keeps it if an earlier request must end first.
    pub(super) fn take_request(&mut self, now: Now, shared: &dyn Shared, message: &Parsed<'_>) {
        if !self.barrier && self.backlog.is_empty() {
            self.run_request(now, shared, message);
            return;
        }
        // Pongs never wait behind a request.
        if message.is_pong() {
            self.heartbeat.pong();
        } else if self.in_flight() < self.config.requests_in_flight_max.max(1).saturating_mul(2) {
            self.backlog_bytes += message.text.len();
            self.backlog.push_back(message.text.into());
        } else {
            self.close_now(now, shared, CloseReason::TooManyRefusals);
        }
    }

    pub(super) fn run_request(&mut self, now: Now, shared: &dyn Shared, message: &Parsed<'_>) {
        match &message.envelope {
            Ok(Envelope::Pong) => self.heartbeat.pong(),
            Ok(Envelope::Request { id, kind }) => {
                self.run(now, shared, id.clone(), kind, &message.members);
            }
            Err((id, refusal)) => self.refuse(now, shared, id.clone(), refusal),
        }
    }

    fn run(&mut self, now: Now, shared: &dyn Shared, id: RequestId, kind: &str, members: &Members<'_>) {
        let operation = Operation::by_name(kind);
        if let Some(operation) = operation.filter(|_| !self.config.audit.is_empty()) {
            let user = self.session.as_ref().map(|session| session.user_id.as_str());
            self.note = audit::note(&self.config.audit, operation, members, user, now.mono);
        }
        let flow = &self.config.backpressure;
        if flow.reject_requests && self.queued_bytes() >= flow.buffered_bytes_max.max(1) {
            self.answer_error(id, &Refusal::new(Code::Backpressure, "Write buffer full, slow down"));
            return;
        }
        if self.replies.len() >= self.config.requests_in_flight_max.max(1) {
            self.answer_error(
                id,
                &Refusal::new(Code::Backpressure, "Too many requests in flight, slow down"),
            );
            return;
        }
        if let Err(refusal) = self.admit(now, shared, kind, operation, members) {
            self.refuse(now, shared, id, &refusal);
            return;
        }
        let charged = match &self.session {
            Some(session) => shared.charge(LimitKey::User(&session.user_id), now),
            None => shared.charge(LimitKey::Address(&self.peer.address), now),
        };
        if let Err(limited) = charged {
            self.answer_error(id, &Refusal::rate_limited(limited.retry_after_ms));
            return;
        }
        match self.route(kind, operation) {
            Ok(operation) => {
                if matches!(self.config.auth, AuthMode::BuiltIn)
                    && let Err(refusal) = guard::check(operation, members)
                {
                    self.answer_error(id, &refusal);
                    return;
                }
                self.dispatch(now, shared, id, operation, members);
            }
            Err(refusal) => self.answer_error(id, &refusal),
        }
    }

    /// Steps P2 to P7: login, expiry, tier, permission.
    fn admit(
        &mut self,
        now: Now,
        shared: &dyn Shared,
        kind: &str,
        operation: Option<Operation>,
        members: &Members<'_>,
    ) -> Result<(), Refusal> {
        use Operation as O;
        let open_to_all = kind.starts_with("auth.")
            || kind == "ping"
            || matches!(operation, Some(O::IdentityLogin | O::IdentityLoginWithSecret | O::ServerHealth));
        if open_to_all {
            return Ok(());
        }
        if self.session.as_ref().is_some_and(|session| session.is_expired(now.unix_ms)) {
            self.drop_session(now, shared, EndReason::SessionExpired);
            self.expiry_untold = true;
        }
        if core::mem::take(&mut self.expiry_untold) {
            return Err(Refusal::new(Code::Unauthorized, "Session expired"));
        }
        if self.session.is_none() && self.config.requires_auth() {
            return Err(Refusal::new(Code::Unauthorized, "Authentication required"));
        }
        permissions::authorize(&self.config.auth, self.session.as_deref(), kind, operation, members, shared)
    }

    /// Answers a parse error or refusal, which draws on a budget of its own.
    fn refuse(&mut self, now: Now, shared: &dyn Shared, id: RequestId, refusal: &Refusal) {
        match shared.charge_refusal(&self.peer.address, now) {
            RefusalVerdict::Answer => self.answer_error(id, refusal),
            RefusalVerdict::Limited(limited) => {
                self.answer_error(id, &Refusal::rate_limited(limited.retry_after_ms));
            }
            RefusalVerdict::Close => {
                self.record_now(Some(&refusal.message));
                self.close_now(now, shared, CloseReason::TooManyRefusals);
            }
        }
    }

    /// Step P9: finds whether anybody serves this name.
    fn route(&self, kind: &str, operation: Option<Operation>) -> Result<Operation, Refusal> {
        let absent = |text: &'static str| Err(Refusal::new(Code::UnknownOperation, text));
        let family = |prefix: &str| kind.starts_with(prefix);
        if !self.config.rules && family("rules.") {
            return Err(Refusal::new(Code::RulesNotAvailable, "Rule engine is not configured"));
        }
        if !matches!(self.config.auth, AuthMode::BuiltIn) && family("identity.") {
            return absent("Identity management is not configured");
        }
        if self.config.audit.is_empty() && family("audit.") {
            return absent("Audit log is not configured");
        }
        if !self.config.procedures && family("procedures.") {
            return absent("Procedures engine is not configured");
        }
        if matches!(self.config.auth, AuthMode::None) && family("auth.") {
            return absent("Authentication is not configured");
        }
        use Operation as O;
        match operation {
            Some(O::ServerRevokeSession | O::ServerRevokeSessions | O::ServerUnrevoke)
                if matches!(self.config.auth, AuthMode::None) =>
            {
                absent("Authentication is not configured")
            }
            Some(operation) => Ok(operation),
            None => Err(Refusal::new(Code::UnknownOperation, unknown(kind))),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the engines refuse what is not theirs")]
    /// Steps P11 and P12: subscription limits, fields, and the effect or the answer.
    fn dispatch(
        &mut self,
        now: Now,
        shared: &dyn Shared,
        id: RequestId,
        operation: Operation,
        members: &Members<'_>,
    ) {
        use Operation as O;
        match operation {
            O::AuthLogin => self.login(id, members),
            O::AuthLogout if self.session.as_ref().is_some_and(|session| session.stored.is_some()) => {
                self.call_identity(id, IdentityCall::Logout);
            }
            O::AuthLogout => {
                self.answer_data(id, Data::Static("{\"loggedOut\":true}"));
                self.drop_session(now, shared, EndReason::LoggedOut);
            }
            O::AuthWhoami | O::IdentityWhoami => self.whoami(now, shared, id),
            O::StoreSubscribe | O::RulesSubscribe => self.subscribe(shared, id, operation, members),
            O::StoreSnapshot => self.snapshot(id, members),
            O::StoreUnsubscribe | O::RulesUnsubscribe => self.unsubscribe(shared, id, operation, members),
            _ => self.call(shared, id, operation, members),
        }
    }

    /// Calls the store, the rule engine, the procedures, the identity, the audit log or the server.
    fn call(&mut self, shared: &dyn Shared, id: RequestId, operation: Operation, members: &Members<'_>) {
        let fields = Fields::new(members, &self.config);
        let session = self.session.as_deref();
        let permitted = || permissions::visible_buckets(&self.config.auth, session, shared);
        let system = !matches!(self.config.auth, AuthMode::BuiltIn)
            || session.is_some_and(|session| session.has_role("superadmin"));
        let token = OpToken(0);
        let checked = if let Some(checked) = fields::store_call(operation, &fields, system, permitted) {
            checked.map(|call| Effect::Store { token, call })
        } else if let Some(checked) = fields::rules_call(operation, &fields) {
            checked.map(|call| Effect::Rules { token, call })
        } else if let Some(checked) = fields::procedures_call(operation, &fields) {
            let session = self.session.clone();
            checked.map(|call| Effect::Procedures { token, call, session })
        } else if let Some(checked) = fields::server_call(operation, &fields, system) {
            checked.map(|call| Effect::Server { token, call })
        } else if operation == Operation::AuditQuery {
            fields::audit_query(&fields).map(|query| Effect::Audit { token, query })
        } else if let Some(checked) = fields::identity_call(operation, &fields, session) {
            match checked {
                Ok(call) => self.call_identity(id, call),
                Err(refusal) => self.answer_error(id, &refusal),
            }
            return;
        } else {
            Err(Refusal::new(Code::UnknownOperation, unknown(operation.name())))
        };
        match checked {
            Err(refusal) => self.answer_error(id, &refusal),
            Ok(mut effect) => {
                if let Effect::Store { token, .. }
                | Effect::Rules { token, .. }
                | Effect::Procedures { token, .. }
                | Effect::Server { token, .. }
                | Effect::Audit { token, .. } = &mut effect
                {
                    *token = OpToken(self.open(id));
                }
                // Later permission checks may depend on what this defines.
                self.barrier = matches!(
                    operation,
                    Operation::StoreDefineQuery | Operation::StoreUndefineQuery | Operation::StoreDropBucket
                );
                self.effects.push_back(effect);
            }
        }
    }

    /// Calls the identity. Later requests wait: they may depend on what this changes, the session included.
    fn call_identity(&mut self, id: RequestId, call: IdentityCall) {
        let token = IdentityToken(self.open(id));
        self.barrier = true;
        self.effects.push_back(Effect::Identity { token, call });
    }

    fn login(&mut self, id: RequestId, members: &Members<'_>) {
        match Fields::new(members, &self.config).text("token") {
            Err(refusal) => self.answer_error(id, &refusal),
            Ok(credential) => {
                let token = AuthToken(self.open(id));
                self.barrier = true;
                self.effects.push_back(Effect::Authenticate { token, credential: credential.into_owned() });
            }
        }
    }

    fn whoami(&mut self, now: Now, shared: &dyn Shared, id: RequestId) {
        if self.session.as_ref().is_some_and(|session| session.is_expired(now.unix_ms)) {
            self.drop_session(now, shared, EndReason::SessionExpired);
        }
        self.expiry_untold = false;
        let data = match &self.session {
            Some(session) => Data::Owned(session_json(session, true)),
            None => Data::Static("{\"authenticated\":false}"),
        };
        self.answer_data(id, data);
    }

    fn subscribe(&mut self, shared: &dyn Shared, id: RequestId, operation: Operation, members: &Members<'_>) {
        let max = self.config.subscriptions_max;
        if self.subscriptions.len() >= max {
            let text = format!("Subscription limit reached (max {max} per connection)");
            self.answer_error(id, &Refusal::new(Code::RateLimited, text));
            return;
        }
        if let Err(max) = shared.reserve_subscription() {
            let text = format!("Global subscription limit reached (max {max})");
            self.answer_error(id, &Refusal::new(Code::RateLimited, text));
            return;
        }
        let fields = Fields::new(members, &self.config);
        let checked = if operation == Operation::StoreSubscribe {
            fields.name("query").and_then(|query| {
                let mode = fields.result_mode()?;
                let stream = Stream::Results { query: query.clone(), mode, sent: None, latest: None };
                Ok((Source::Query { query, params: fields.any("params"), mode }, stream))
            })
        } else {
            fields.name("pattern").map(|pattern| {
                let stream = Stream::Events { pattern: pattern.clone(), kept: VecDeque::new(), dropped: 0 };
                (Source::Events { pattern }, stream)
            })
        };
        match checked {
            Err(refusal) => {
                shared.release_subscriptions(1);
                self.answer_error(id, &refusal);
            }
            Ok((source, stream)) => {
                let subscription = shared.next_subscription();
                self.subscriptions.insert(subscription, stream);
                let token = SubscribeToken(self.open(id), subscription);
                self.effects.push_back(Effect::Subscribe { token, subscription, source });
            }
        }
    }

    /// Answers with the result that the client should have, for one that lost track of the changes.
    fn snapshot(&mut self, id: RequestId, members: &Members<'_>) {
        let name = match Fields::new(members, &self.config).text("subscriptionId") {
            Ok(name) => name,
            Err(refusal) => return self.answer_error(id, &refusal),
        };
        let live = SubId::parse(&name).and_then(|subscription| self.subscriptions.get_mut(subscription));
        match live.map(|live| &live.stream) {
            Some(Stream::Results { sent: Some(sent), .. }) => {
                let text = frame::snapshot(&id, sent.version, sent.data.clone());
                self.answer_success(id, text);
            }
            _ => self.answer_error(id, &no_subscription(&name)),
        }
    }

    fn unsubscribe(
        &mut self,
        shared: &dyn Shared,
        id: RequestId,
        operation: Operation,
        members: &Members<'_>,
    ) {
        let name = match Fields::new(members, &self.config).text("subscriptionId") {
            Ok(name) => name,
            Err(refusal) => return self.answer_error(id, &refusal),
        };
        let wants_results = operation == Operation::StoreUnsubscribe;
        let found = SubId::parse(&name).is_some_and(|subscription| {
            let live = self.subscriptions.get_mut(subscription);
            if live.is_some_and(|live| matches!(live.stream, Stream::Results { .. }) == wants_results) {
                self.subscriptions.remove(subscription);
                shared.release_subscriptions(1);
                self.effects.push_back(Effect::Unsubscribe { subscription });
                true
            } else {
                self.subscriptions.forget_ended(subscription)
            }
        });
        if found {
            self.answer_data(id, Data::Static("{\"unsubscribed\":true}"));
        } else {
            self.answer_error(id, &no_subscription(&name));
        }
    }
}

fn no_subscription(name: &str) -> Refusal {
    Refusal::new(Code::NotFound, format!("Subscription \"{name}\" not found"))
}

/// The session as clients see it.
pub(super) fn session_json(session: &Session, with_authenticated: bool) -> String {
    let mut out = String::with_capacity(96);
    out.push_str(if with_authenticated { "{\"authenticated\":true,\"userId\":" } else { "{\"userId\":" });
    write_string(&mut out, &session.user_id);
    out.push_str(",\"roles\":[");
    for (i, role) in session.roles.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_string(&mut out, role);
    }
    out.push_str("],\"expiresAt\":");
    let _ = match session.expires_at_ms {
        Some(at) => write!(out, "{at}}}"),
        None => write!(out, "null}}"),
    };
    out
}
