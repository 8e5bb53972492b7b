//! What the protocol machine asks for, done.

use super::Drive;
use crate::{AuthFailure, Timer, Verdict, awaited::Awaited, identity::Progress};
use noex_core::{
    AuthToken, Body, Denied, Effect, IdentityToken, Now, OpToken, Refusal, Session, SessionChange,
};
use std::sync::Arc;

impl<S, T: Timer> Drive<S, T> {
    pub(super) fn execute_effects(&mut self, now: Now) {
        while let Some(effect) = self.connection.poll_effect() {
            self.execute(now, effect);
        }
    }

    fn execute(&mut self, now: Now, effect: Effect) {
        match effect {
            Effect::Store { token, call } => {
                self.executed = true;
                self.call_store(now, token, call);
            }
            Effect::Authenticate { token, credential } => {
                let member = self.member.as_ref();
                let by_token = member.and_then(|own| self.hub.login_with_token(now, &own.entry, &credential));
                match by_token {
                    Some(verdict) => self.connection.reply_auth(now, &*self.hub, token, verdict),
                    None => self.authenticate(now, token, &credential),
                }
            }
            Effect::Identity { token, call } => {
                self.executed = true;
                let session = self.connection.session().cloned();
                let progress = self
                    .member
                    .as_ref()
                    .map(|member| self.hub.call_identity(now, &member.entry, session.as_deref(), call));
                self.take_progress(now, token, progress);
            }
            Effect::Server { token, call } => {
                let answer = self.hub.answer(now, self.connection.session().map(|own| &**own), call);
                self.connection.reply(now, &*self.hub, token, answer);
            }
            Effect::Audit { token, query } => {
                let answer = self.hub.audit_entries(&query).map(Body::Owned).ok_or_else(Refusal::internal);
                self.connection.reply(now, &*self.hub, token, answer);
            }
            Effect::Record(record) => {
                if let Some(member) = &self.member {
                    self.hub.record(now, &member.entry, record);
                }
            }
            Effect::Subscribe { token, subscription, source } => {
                self.executed = true;
                self.call_subscribe(now, token, subscription, source);
            }
            Effect::Unsubscribe { subscription } => {
                self.forget_source(subscription);
                self.hub.unsubscribe(subscription);
                self.note_subscriptions();
            }
            Effect::SessionChanged(session) => {
                if let Some(member) = &self.member {
                    member.entry.set_session(session);
                }
            }
            Effect::Closed(reason) => self.closed = Some(reason),
            Effect::Rules { token, call } => {
                self.executed = true;
                self.call_rules(now, token, call);
            }
            Effect::Procedures { token, call, session } => {
                self.executed = true;
                self.call_procedures(now, token, session.as_deref(), call);
            }
            // The enum may grow; an effect that is not known here cannot be answered.
            other => tracing::error!(?other, "effect without an executor"),
        }
    }

    /// Answers a call; what it caused is told before its result.
    pub(crate) fn reply_behind_events(&mut self, now: Now, token: OpToken, outcome: Result<Body, Refusal>) {
        let mail = self.member.as_ref().map(|member| member.entry.inbox.take_events()).unwrap_or_default();
        self.heed(now, &mail);
        self.push_events(mail.events);
        self.connection.reply(now, &*self.hub, token, outcome);
    }

    /// Ends at once what a request ended: the next request of this connection finds the places free.
    pub(crate) fn end_subscriptions(&mut self, now: Now) {
        let _ = self.hub.flush(now);
        let ended = self.member.as_ref().map(|member| member.entry.inbox.take_ended());
        for (subscription, reason) in ended.unwrap_or_default() {
            self.connection.end_subscription(&*self.hub, subscription, reason);
        }
    }

    pub(crate) fn note_subscriptions(&self) {
        if let Some(member) = &self.member {
            member.entry.set_subscriptions(self.connection.subscription_counts());
        }
    }

    fn authenticate(&mut self, now: Now, token: AuthToken, credential: &str) {
        let hub = Arc::clone(&self.hub);
        match hub.authenticator().map(|auth| auth.authenticate(credential, now.unix_ms)) {
            None => self.reply_login(now, token, Ok(None)),
            Some(Verdict::Ready(answer)) => self.reply_login(now, token, answer),
            Some(Verdict::Later(answer)) => {
                let until = now.mono + hub.options.authenticator_timeout;
                self.awaited = Some(Awaited::Login { token, answer, until });
            }
        }
    }

    /// Answers a call of the identity, or has it wait.
    pub(super) fn take_progress(&mut self, now: Now, token: IdentityToken, progress: Option<Progress>) {
        let hub = Arc::clone(&self.hub);
        match progress {
            Some(Progress::Working(working)) => self.awaited = Some(Awaited::Identity { token, working }),
            Some(Progress::Done(outcome, change, ticket)) => {
                self.answer_identity_once_kept(now, token, outcome, change, ticket);
            }
            None => {
                let outcome = Err(Refusal::internal());
                self.connection.reply_identity(now, &*hub, token, outcome, SessionChange::Keep);
            }
        }
    }

    /// Takes the present roles into the session and ends what they do not permit.
    pub(super) fn recheck(&mut self) {
        let user = self.connection.session().map(|session| session.user_id.clone());
        if let Some((user, roles)) = user.and_then(|user| self.hub.roles_of(&user).map(|roles| (user, roles)))
        {
            self.connection.update_roles(&*self.hub, &user, &roles);
        }
    }

    pub(super) fn reply_login(
        &mut self,
        now: Now,
        token: AuthToken,
        answer: Result<Option<Session>, AuthFailure>,
    ) {
        let verdict = match answer {
            // One that has expired is refused as such, revoked or not.
            Ok(Some(session)) if session.is_expired(now.unix_ms) => Ok(session),
            Ok(Some(session)) => match &self.member {
                Some(member) if !self.hub.admit_session(now, &member.entry, &session) => {
                    Err(Denied::Revoked { user_id: session.user_id })
                }
                _ => Ok(session),
            },
            Ok(None) => Err(Denied::Invalid),
            Err(failure) => {
                tracing::error!("authenticator failed: {failure}");
                Err(Denied::Other(Refusal::internal()))
            }
        };
        self.connection.reply_auth(now, &*self.hub, token, verdict);
    }
}
