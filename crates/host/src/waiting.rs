//! Requests of one connection that were executed and may not be answered yet.
//!
//! Their outcome rests on a ticket. When it is kept, the outcome is told; when it fails, a read is executed anew and a
//! write is refused. Bounded by the requests in flight.

use crate::{
    Hub,
    driver::Drive,
    procedures::{Unkept, steps_not_stored},
    ticket::{Reply, Ticket, TicketState, not_stored},
};
use noex_core::{
    Body, IdentityToken, Now, OpToken, Operation, ProceduresCall, Refusal, RulesCall, Session, SessionChange,
    Source, StoreCall, SubId, SubscribeToken, Update,
};
use std::sync::Arc;

/// A request and what becomes of it.
pub(crate) struct Waiting {
    ticket: Arc<Ticket>,
    request: Request,
}

enum Request {
    Store {
        token: OpToken,
        outcome: Result<Body, Refusal>,
        again: Option<StoreCall>,
        ends_subscriptions: bool,
    },
    Rules {
        token: OpToken,
        outcome: Result<Body, Refusal>,
        again: Option<RulesCall>,
    },
    Procedures {
        token: OpToken,
        outcome: Result<Body, Refusal>,
        again: Option<Unkept>,
    },
    Identity {
        token: IdentityToken,
        outcome: Result<Body, Refusal>,
        change: SessionChange,
    },
    /// `source` is gone once the subscription has ended.
    Subscribe {
        token: SubscribeToken,
        subscription: SubId,
        source: Option<Source>,
        outcome: Result<Update, Refusal>,
    },
}

/// All of one connection, in the order of their execution.
#[derive(Default)]
pub(crate) struct WaitingList {
    list: Vec<Waiting>,
    /// The last ticket that will wake the connection.
    registered: Option<Arc<Ticket>>,
}

impl WaitingList {
    fn is_due(&self) -> bool {
        self.list.iter().any(|waiting| waiting.ticket.state() != TicketState::Pending)
    }
}

impl<S, T: crate::Timer> Drive<S, T> {
    pub(crate) fn call_store(&mut self, now: Now, token: OpToken, call: StoreCall) {
        let ends_subscriptions =
            matches!(call, StoreCall::DropBucket { .. } | StoreCall::UndefineQuery { .. });
        let hub = Arc::clone(&self.hub);
        let user = self.connection.session().map(|session| session.user_id.as_str());
        let read = call.reads().filter(|_| hub.has_logins()).map(|_| call.clone());
        let mut reply = if call.reads().is_some() || hub.takes_rights(&call) {
            hub.store_call(now, user, &|| self.judge_again([]), call)
        } else {
            self.call_store_judged(&hub, now, user, call, false)
        };
        if let Some(call) = read.filter(|_| self.may_be_overtaken()) {
            reply = self.call_store_judged(&hub, now, user, call, false);
        }
        self.take_store_reply(&hub, now, token, reply, ends_subscriptions);
    }

    /// Executes a read anew, of which what it has seen was not kept. Rights may have changed long since.
    fn call_store_anew(&mut self, now: Now, token: OpToken, call: StoreCall) {
        let hub = Arc::clone(&self.hub);
        hub.reload_identity(now);
        let user = self.connection.session().map(|session| session.user_id.as_str());
        let reply = self.call_store_judged(&hub, now, user, call, true);
        self.take_store_reply(&hub, now, token, reply, false);
    }

    fn take_store_reply(
        &mut self,
        hub: &Hub,
        now: Now,
        token: OpToken,
        reply: Reply<Body, StoreCall>,
        ends_subscriptions: bool,
    ) {
        match reply {
            Reply::Now(outcome) => self.answer_store(hub, now, token, outcome, ends_subscriptions),
            Reply::When { ticket, outcome, again } => {
                self.wait(ticket, Request::Store { token, outcome, again, ends_subscriptions });
            }
        }
    }

    /// Executes a call of the store while nobody changes rights, judged by the rights that there are: if `anew`, whether
    /// they may have changed or not.
    fn call_store_judged(
        &self,
        hub: &Hub,
        now: Now,
        user: Option<&str>,
        call: StoreCall,
        anew: bool,
    ) -> Reply<Body, StoreCall> {
        let _rights = hub.hold_rights();
        let required = call.reads().into_iter().chain(call.writes());
        let required = required.map(|(operation, bucket)| (operation, bucket.as_str()));
        let judged = if anew { self.judge(required) } else { self.judge_again(required) };
        match judged {
            Ok(()) => hub.store_call(now, user, &|| Ok(()), call),
            Err(refusal) => Reply::Now(Err(refusal)),
        }
    }

    pub(crate) fn call_rules(&mut self, now: Now, token: OpToken, call: RulesCall) {
        let hub = Arc::clone(&self.hub);
        let reads = call.reads().is_some();
        let again = Some(&call).filter(|_| reads && hub.has_logins()).cloned();
        let mut reply =
            if reads { hub.rules_call(now, call) } else { self.call_rules_judged(&hub, now, call, false) };
        if let Some(call) = again.filter(|_| self.may_be_overtaken()) {
            reply = self.call_rules_judged(&hub, now, call, false);
        }
        self.take_rules_reply(now, token, reply);
    }

    /// As [`Drive::call_store_anew`].
    fn call_rules_anew(&mut self, now: Now, token: OpToken, call: RulesCall) {
        let hub = Arc::clone(&self.hub);
        hub.reload_identity(now);
        let reply = self.call_rules_judged(&hub, now, call, true);
        self.take_rules_reply(now, token, reply);
    }

    /// As [`Drive::call_store_judged`].
    fn call_rules_judged(&self, hub: &Hub, now: Now, call: RulesCall, anew: bool) -> Reply<Body, RulesCall> {
        let _rights = hub.hold_rights();
        let required = call.reads().into_iter().chain(call.writes());
        let judged = if anew { self.judge(required) } else { self.judge_again(required) };
        match judged {
            Ok(()) => hub.rules_call(now, call),
            Err(refusal) => Reply::Now(Err(refusal)),
        }
    }

    fn take_rules_reply(&mut self, now: Now, token: OpToken, reply: Reply<Body, RulesCall>) {
        match reply {
            Reply::Now(outcome) => self.reply_behind_events(now, token, outcome),
            Reply::When { ticket, outcome, again } => {
                self.wait(ticket, Request::Rules { token, outcome, again });
            }
        }
    }

    /// Answers a call of the identity, and changes the session as it asks, when what it did is kept.
    pub(crate) fn answer_identity_once_kept(
        &mut self,
        now: Now,
        token: IdentityToken,
        outcome: Result<Body, Refusal>,
        change: SessionChange,
        ticket: Option<Arc<Ticket>>,
    ) {
        match ticket {
            Some(ticket) => self.wait(ticket, Request::Identity { token, outcome, change }),
            None => {
                let hub = Arc::clone(&self.hub);
                self.connection.reply_identity(now, &*hub, token, outcome, change);
            }
        }
    }

    /// Calls a procedure. What it has changed fails or is kept like the change of a rule.
    pub(crate) fn call_procedures(
        &mut self,
        now: Now,
        token: OpToken,
        session: Option<&Session>,
        call: ProceduresCall,
    ) {
        let hub = Arc::clone(&self.hub);
        let called = if let ProceduresCall::Call { name, .. } = &call { Some(name.clone()) } else { None };
        let required = called.as_deref().map(|name| (Operation::ProceduresCall, name));
        let judge = || self.judge_again(required);
        match hub.procedures_call(&|| self.timer.now(), session, &judge, call) {
            Reply::Now(outcome) => self.reply_behind_events(now, token, outcome),
            Reply::When { ticket, outcome, again } => {
                self.wait(ticket, Request::Procedures { token, outcome, again });
            }
        }
    }

    pub(crate) fn call_subscribe(
        &mut self,
        now: Now,
        token: SubscribeToken,
        subscription: SubId,
        source: Source,
    ) {
        let hub = Arc::clone(&self.hub);
        let mut reply = self.subscribe_to(&hub, now, subscription, &source);
        if let Source::Query { query, .. } = &source
            && hub.has_logins()
            && self.may_be_overtaken()
        {
            hub.unsubscribe(subscription);
            let _rights = hub.hold_rights();
            reply = match self.judge_again([(Operation::StoreSubscribe, query.as_str())]) {
                Ok(()) => self.subscribe_to(&hub, now, subscription, &source),
                Err(refusal) => Reply::Now(Err(refusal)),
            };
        }
        match reply {
            Reply::Now(outcome) => {
                self.connection.reply_subscribe(now, &*hub, token, outcome);
                self.note_subscriptions();
            }
            Reply::When { ticket, outcome, .. } => {
                let source = Some(source);
                self.wait(ticket, Request::Subscribe { token, subscription, source, outcome });
            }
        }
    }

    fn subscribe_to(&self, hub: &Hub, now: Now, subscription: SubId, source: &Source) -> Reply<Update, ()> {
        match (source, &self.member) {
            (Source::Query { query, params, mode }, Some(member)) => {
                hub.subscribe(now, &member.entry, subscription, query, params.as_ref(), *mode)
            }
            (Source::Events { pattern }, Some(member)) => {
                Reply::Now(hub.subscribe_events(&member.entry, subscription, pattern))
            }
            (Source::Query { .. } | Source::Events { .. }, None) => Reply::Now(Err(Refusal::internal())),
        }
    }

    /// Takes note that a subscription is not wanted any more.
    pub(crate) fn forget_source(&mut self, ended: SubId) {
        for waiting in &mut self.waiting.list {
            if let Request::Subscribe { subscription, source, .. } = &mut waiting.request
                && *subscription == ended
            {
                *source = None;
            }
        }
    }

    fn wait(&mut self, ticket: Arc<Ticket>, request: Request) {
        let known = self.waiting.registered.as_ref().is_some_and(|known| Arc::ptr_eq(known, &ticket));
        if !known && let Some(member) = &self.member {
            let entry = Arc::clone(&member.entry);
            ticket.on_settled(move || entry.inbox.wake());
            self.waiting.registered = Some(Arc::clone(&ticket));
        }
        self.waiting.list.push(Waiting { ticket, request });
    }

    /// Answers what can be answered now; tells whether there was something.
    pub(crate) fn answer_settled(&mut self, now: Now) -> bool {
        if !self.waiting.is_due() {
            return false;
        }
        let hub = Arc::clone(&self.hub);
        for waiting in std::mem::take(&mut self.waiting.list) {
            match waiting.ticket.state() {
                TicketState::Pending => self.waiting.list.push(waiting),
                TicketState::Kept => self.answer_kept(&hub, now, waiting.request),
                TicketState::Failed => self.answer_failed(&hub, now, waiting.request),
            }
        }
        self.executed = true;
        true
    }

    fn answer_kept(&mut self, hub: &Hub, now: Now, request: Request) {
        match request {
            Request::Store { token, outcome, ends_subscriptions, .. } => {
                self.answer_store(hub, now, token, outcome, ends_subscriptions);
            }
            Request::Rules { token, outcome, .. } | Request::Procedures { token, outcome, .. } => {
                self.reply_behind_events(now, token, outcome)
            }
            Request::Identity { token, outcome, change } => {
                self.connection.reply_identity(now, hub, token, outcome, change);
            }
            Request::Subscribe { token, outcome, .. } => {
                self.connection.reply_subscribe(now, hub, token, outcome);
                self.note_subscriptions();
            }
        }
    }

    fn answer_failed(&mut self, hub: &Hub, now: Now, request: Request) {
        match request {
            Request::Store { token, again: Some(call), .. } => self.call_store_anew(now, token, call),
            Request::Store { token, again: None, .. } => {
                self.connection.reply(now, hub, token, Err(not_stored()));
            }
            Request::Rules { token, again: Some(call), .. } => self.call_rules_anew(now, token, call),
            Request::Procedures { token, again: Some(Unkept::Read(call)), .. } => {
                self.call_procedures(now, token, None, call);
            }
            Request::Procedures { token, again: Some(Unkept::Steps), .. } => {
                self.reply_behind_events(now, token, Err(steps_not_stored()));
            }
            Request::Rules { token, again: None, .. } | Request::Procedures { token, again: None, .. } => {
                self.reply_behind_events(now, token, Err(not_stored()));
            }
            Request::Identity { token, .. } => {
                hub.reload_identity(now);
                // A login has put its session there, for whoever revokes sessions.
                if let Some(member) = &self.member {
                    member.entry.set_session(self.connection.session().cloned());
                }
                let outcome = Err(not_stored());
                self.connection.reply_identity(now, hub, token, outcome, SessionChange::Keep);
            }
            Request::Subscribe { token, subscription, source: Some(source), .. } => {
                self.call_subscribe(now, token, subscription, source);
            }
            Request::Subscribe { token, source: None, .. } => {
                self.connection.reply_subscribe(now, hub, token, Err(not_stored()));
            }
        }
    }

    fn answer_store(
        &mut self,
        hub: &Hub,
        now: Now,
        token: OpToken,
        outcome: Result<Body, Refusal>,
        ends_subscriptions: bool,
    ) {
        self.connection.reply(now, hub, token, outcome);
        if ends_subscriptions {
            self.end_subscriptions(now);
        }
    }
}
