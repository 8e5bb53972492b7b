//! Answers: whether each may be what it is, and what follows from it.

use super::{Ask, Client, Pending};
use crate::{
    charges::Charges,
    history::History,
    link::ClientEnd,
    plan::{Plan, TOKENS, Token},
    watch::{Subject, Watch},
    witness::Witness,
};
use noex_host::Instant;
use serde_json::Value;

impl Client {
    /// The event that a client emits comes before the result, unless the network holds events back.
    fn check_emitted(&self, plan: &Plan, topic: &str, seq: u64) -> Result<(), String> {
        let flow = plan.options.connection.backpressure;
        if !self.attentive || !self.is_near || flow.push_threshold_bytes < 400_000 {
            return Ok(());
        }
        match self.watches.iter().find(|(_, watch)| watch.misses(topic, self.serial, seq)) {
            Some((id, _)) => {
                Err(format!("the result of an emit comes before its event: {topic} {seq} for {id}"))
            }
            None => Ok(()),
        }
    }

    pub(super) fn take_reply(
        &mut self,
        now: Instant,
        plan: &Plan,
        witness: &mut Witness,
        len: usize,
        value: &Value,
    ) -> Result<(), String> {
        let id = value["id"].as_i64().ok_or("an answer has an id")?;
        let Some(pending) = self.pending.pop_front() else {
            // The last words of some who leave are answered.
            let last_words = self.spoiled && id == 0;
            return if last_words { Ok(()) } else { Err(format!("nobody asked: {value}")) };
        };
        if pending.id != id {
            return Err(format!("answers out of order: {id} instead of {}", pending.id));
        }
        self.check_owed(plan, pending.end, len)?;
        let code = value["code"].as_str();
        if code.is_none() {
            self.check_permitted(plan, &pending.ask, value)?;
            self.check_accepted(now, plan, &pending, &mut witness.charges)?;
            if let Ask::Emit { topic, seq } = &pending.ask {
                self.check_emitted(plan, topic, *seq)?;
            }
            return self.take_result(now, pending, &value["data"], witness.history.as_ref());
        }
        if code == Some("UNAUTHORIZED") && value["message"] == "Session expired" {
            self.session = None;
        }
        // A read that rested on a write that could not be stored is executed anew, by the rights that there are then:
        // what the client asked for behind it has been done.
        let may_be_anew = plan.wear.is_some_and(|wear| wear.failures_percent > 0)
            && self.pending.iter().any(|later| matches!(later.ask, Ask::Login(_) | Ask::Logout));
        if may_be_anew && matches!(code, Some("UNAUTHORIZED" | "FORBIDDEN")) {
            return Ok(());
        }
        if code == Some("UNAUTHORIZED") && value["message"] == "Authentication required" {
            // Where refusals are limited, the one that told of the expiry may have had another text.
            if self.session.take().is_some() && plan.options.rate_limit.is_none() {
                return Err("a login is forgotten".into());
            }
        }
        if code == Some("FORBIDDEN") && self.is_permitted(plan, &pending.ask) == Some(true) {
            // As above: the session may have expired without a word.
            let expires = |token: &usize| TOKENS.get(*token).is_some_and(Token::expires);
            if plan.options.rate_limit.is_some() && self.session.take_if(|token| expires(token)).is_some() {
                return Ok(());
            }
            return Err(format!("forbidden, but it is not: {:?} as {:?}", pending.ask, self.session));
        }
        let not_stored = value["message"] == "Write could not be stored; nothing was changed"
            && plan.wear.is_some_and(|wear| wear.failures_percent > 0);
        if code == Some("INTERNAL_ERROR") && !not_stored {
            return Err(format!("an internal error: {value}"));
        }
        if matches!(pending.ask, Ask::Observe) {
            self.answers.push_back(value.clone());
        }
        Ok(())
    }

    /// What was executed while nobody read stayed within the limit of queued bytes.
    fn check_owed(&mut self, plan: &Plan, end: u64, len: usize) -> Result<(), String> {
        let Some((until, bytes, greatest)) = &mut self.owed else { return Ok(()) };
        if end > *until {
            self.owed = None;
            return Ok(());
        }
        *bytes += len;
        *greatest = len.max(*greatest);
        let flow = plan.options.connection.backpressure;
        let network = self.link.as_ref().map_or(0, ClientEnd::capacity) + 2 * *greatest;
        if !flow.reject_requests && *bytes > flow.buffered_bytes_max + network {
            return Err(format!("{bytes} bytes were queued for a client that did not read"));
        }
        Ok(())
    }

    /// `None` = cannot be told.
    fn is_permitted(&self, plan: &Plan, ask: &Ask) -> Option<bool> {
        let permits = |operation, resource: &str| plan.rights.permits(self.session, operation, resource);
        match ask {
            Ask::Subscribe { subject: Subject::Query { bucket, .. }, certain } => {
                let may = permits("store.subscribe", bucket);
                if *certain || !may { Some(may) } else { None }
            }
            Ask::Subscribe { subject: Subject::Events { pattern }, .. } => {
                Some(permits("rules.subscribe", pattern))
            }
            Ask::Unsubscribe { events: true, .. } => Some(permits("rules.unsubscribe", "open.own")),
            Ask::Unsubscribe { .. } => Some(permits("store.unsubscribe", "*own*")),
            Ask::Insert { bucket, .. } => Some(permits("store.insert", bucket)),
            Ask::Emit { topic, .. } => Some(permits("rules.emit", topic)),
            Ask::Call { operation, resource } => Some(permits(operation, resource)),
            Ask::Login(_) | Ask::Logout | Ask::Whoami | Ask::Observe | Ask::Anything => None,
        }
    }

    fn check_permitted(&mut self, plan: &Plan, ask: &Ask, value: &Value) -> Result<(), String> {
        let expires = |token: &usize| TOKENS.get(*token).is_some_and(Token::expires);
        if self.is_permitted(plan, ask) == Some(false) {
            // Where refusals are limited, the session may have expired without a word.
            if plan.options.rate_limit.is_some() && self.session.take_if(|token| expires(token)).is_some() {
                return self.check_permitted(plan, ask, value);
            }
            return Err(format!("allowed, but it is not: {ask:?} as {:?}: {value}", self.session));
        }
        Ok(())
    }

    /// An accepted request is within the limit of its sender, whose session has not ended.
    fn check_accepted(
        &self,
        now: Instant,
        plan: &Plan,
        pending: &Pending,
        charges: &mut Charges,
    ) -> Result<(), String> {
        if matches!(pending.ask, Ask::Login(_) | Ask::Logout | Ask::Whoami | Ask::Observe | Ask::Anything) {
            return Ok(());
        }
        let token = self.session.and_then(|token| TOKENS.get(token));
        let limit = plan.options.rate_limit;
        // Elsewhere the notice of the end may be a refusal that is itself limited, and requests go on namelessly.
        let until = self.session.and(self.session_until);
        if (limit.is_none() || plan.rights.required) && until.is_some_and(|end| pending.sent > end) {
            return Err(format!("a session works after its end: {:?} as {token:?}", pending.ask));
        }
        let key = match token {
            Some(token) if !token.expires() => token.user.to_owned(),
            None if !plan.rights.tokens => format!("address {}", self.host),
            Some(_) | None => return Ok(()),
        };
        match limit {
            Some(limit) if plan.options.rate_limit_keys_max != 4 => {
                charges.accept(key, limit, pending.sent, now)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn take_result(
        &mut self,
        now: Instant,
        pending: Pending,
        data: &Value,
        history: Option<&History>,
    ) -> Result<(), String> {
        match pending.ask {
            Ask::Login(token) => {
                self.session = Some(token);
                self.session_until = TOKENS.get(token).and_then(Token::lifetime).map(|span| now + span);
            }
            Ask::Logout => self.session = None,
            Ask::Whoami if data["authenticated"] == false => self.session = None,
            Ask::Whoami => {
                let user = self.session.and_then(|token| TOKENS.get(token)).map(|token| token.user);
                if data["userId"].as_str() != user {
                    return Err(format!("is {user:?}, and is told {data}"));
                }
            }
            Ask::Subscribe { subject, .. } => {
                let id = data["subscriptionId"].as_str().ok_or("a subscription has an id")?.to_owned();
                let mut watch = Watch::new(subject, pending.sent, history);
                if matches!(watch.subject, Subject::Query { .. }) {
                    watch.take_state(data.get("data"), false, history)?;
                    self.logged.append(&mut watch.shown("log"));
                }
                if self.watches.insert(id, watch).is_some() {
                    return Err(format!("an id is used again: {data}"));
                }
            }
            Ask::Unsubscribe { id, .. } => {
                self.watches.remove(&id);
            }
            Ask::Observe => self.answers.push_back(data.clone()),
            Ask::Insert { bucket, key } if bucket == "log" => self.logged.push(key),
            Ask::Insert { .. } | Ask::Emit { .. } | Ask::Call { .. } | Ask::Anything => {}
        }
        Ok(())
    }
}
