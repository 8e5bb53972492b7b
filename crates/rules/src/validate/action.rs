//! Actions.

use super::{At, Check};
use crate::rule::REPEAT_INTERVAL_MIN_MS;
use crate::{Cron, duration_ms};
use noex_json::{CompactString, Object, Value, text_form};

impl Check {
    pub(super) fn actions(&mut self, actions: &[Value], at: &At<'_>) {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            self.late_error(at, format_args!("Actions are nested deeper than {DEPTH_MAX} levels"));
        } else {
            for (i, action) in actions.iter().enumerate() {
                self.action(action, &at.element(i));
            }
        }
        self.depth -= 1;
    }

    fn action(&mut self, action: &Value, at: &At<'_>) {
        let Some(action) = action.as_object() else { return self.error(at, "Action must be an object") };
        match self.text_type(action, at, "Action") {
            None => {}
            Some("set_fact") => {
                self.action_template(action, at, "set_fact", "key");
                match action.get("value") {
                    None => self.error(&at.member("value"), "set_fact action must have a \"value\" field"),
                    Some(value) => self.argument(value, &at.member("value")),
                }
            }
            Some("delete_fact") => self.action_template(action, at, "delete_fact", "key"),
            Some("emit_event") => {
                self.action_template(action, at, "emit_event", "topic");
                self.event_data(action, at);
            }
            Some("set_timer") => {
                let at = at.member("timer");
                match action.get("timer").map(Value::as_object) {
                    None => self.error(&at, "set_timer action must have a \"timer\" field"),
                    Some(None) => self.error(&at, "set_timer action timer must be an object"),
                    Some(Some(timer)) => self.timer(timer, &at),
                }
            }
            Some("cancel_timer") => self.action_template(action, at, "cancel_timer", "name"),
            Some("call_service") => self.call_service(action, at),
            Some("log") => self.log(action, at),
            Some("conditional") => self.conditional(action, at),
            Some("for_each") => self.for_each(action, at),
            Some("try_catch") => self.try_catch(action, at),
            Some(other) => {
                let text = format_args!("Invalid action type: {other}. Valid types: {TYPES}");
                self.error(&at.member("type"), text);
            }
        }
    }

    fn action_template(&mut self, action: &Object, at: &At<'_>, kind: &str, name: &str) {
        if let Some(text) = self.text(action, at, &format!("{kind} action"), name) {
            self.template(text, &at.member(name));
        }
    }

    fn event_data(&mut self, action: &Object, at: &At<'_>) {
        let at = at.member("data");
        match action.get("data").map(Value::as_object) {
            None => self.error(&at, "emit_event action must have a \"data\" field"),
            Some(None) => self.error(&at, "emit_event action data must be an object"),
            Some(Some(data)) => self.data(data, &at),
        }
    }

    fn data(&mut self, data: &Object, at: &At<'_>) {
        for (name, value) in data.iter() {
            self.argument(value, &at.member(name));
        }
    }

    fn timer(&mut self, timer: &Object, at: &At<'_>) {
        if let Some(name) = self.text(timer, at, "Timer", "name") {
            self.template(name, &at.member("name"));
        }
        let cron = timer.get("cron").filter(|cron| !cron.is_null());
        self.timer_duration(timer.get("duration"), cron.is_some(), &at.member("duration"));
        let expire_at = at.member("onExpire");
        match timer.get("onExpire").map(Value::as_object) {
            None => self.error(&expire_at, "Timer must have an \"onExpire\" field"),
            Some(None) => self.error(&expire_at, "Timer onExpire must be an object"),
            Some(Some(expire)) => self.on_expire(expire, &expire_at),
        }
        if let Some(repeat) = timer.get("repeat").filter(|repeat| !repeat.is_null()) {
            self.repeat(repeat, &at.member("repeat"));
        }
        self.max_count(timer, at);
        if let Some(cron) = cron {
            self.cron(cron, timer, at);
        }
    }

    fn timer_duration(&mut self, duration: Option<&Value>, optional: bool, at: &At<'_>) {
        match duration {
            None if optional => {}
            None => self.error(at, "Timer must have a \"duration\" field"),
            Some(Value::Number(number)) => {
                if *number <= 0.0 {
                    self.error(at, "Timer duration must be positive");
                }
            }
            Some(value @ Value::String(text)) => match duration_ms(value) {
                None => self.error(at, format_args!("Invalid duration format: {text}")),
                Some(0) => self.late_error(at, "Timer duration must be positive"),
                Some(_) => {}
            },
            Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
                self.error(at, "Timer duration must be a string or number");
            }
        }
    }

    fn on_expire(&mut self, expire: &Object, at: &At<'_>) {
        let (topic_at, data_at) = (at.member("topic"), at.member("data"));
        match expire.get("topic") {
            None => self.error(&topic_at, "Timer onExpire must have a \"topic\" field"),
            Some(Value::String(topic)) => self.template(topic, &topic_at),
            Some(_) => self.late_warning(&topic_at, ON_EXPIRE_TOPIC),
        }
        match expire.get("data") {
            None => self.error(&data_at, "Timer onExpire must have a \"data\" field"),
            Some(Value::Object(data)) => self.data(data, &data_at),
            Some(_) => self.late_warning(&data_at, ON_EXPIRE_DATA),
        }
    }

    fn repeat(&mut self, repeat: &Value, at: &At<'_>) {
        let Some(repeat) = repeat.as_object() else {
            return self.late_error(at, "Timer repeat must be an object");
        };
        let interval_at = at.member("interval");
        match repeat.get("interval").map(|interval| (interval, duration_ms(interval))) {
            None => self.late_error(&interval_at, "Timer repeat must have an \"interval\" field"),
            Some((value, None)) => {
                let text = text_form(Some(value));
                self.late_error(&interval_at, format_args!("Invalid duration format: {text}"));
            }
            Some((_, Some(interval))) if interval < REPEAT_INTERVAL_MIN_MS => {
                let text = format_args!("Timer repeat interval must be at least {REPEAT_INTERVAL_MIN_MS} ms");
                self.late_error(&interval_at, text);
            }
            Some(_) => {}
        }
        self.max_count(repeat, at);
    }

    fn max_count(&mut self, object: &Object, at: &At<'_>) {
        if object.get("maxCount").is_some_and(|count| crate::rule::count(count).is_none()) {
            self.late_warning(
                &at.member("maxCount"),
                "Timer maxCount is ignored: expected a positive number",
            );
        }
    }

    fn cron(&mut self, cron: &Value, timer: &Object, at: &At<'_>) {
        let cron_at = at.member("cron");
        match cron.as_str().map(|text| (text, Cron::parse(text))) {
            None => self.late_error(&cron_at, "Timer cron must be a string"),
            Some((text, Err(error))) => {
                self.late_error(&cron_at, format_args!("Invalid cron expression: {text} ({error})"));
            }
            Some((_, Ok(_))) => {}
        }
        if timer.get("timezone").is_some_and(|zone| zone.as_str() != Some("UTC") && !zone.is_null()) {
            self.late_error(&at.member("timezone"), "Timer timezone must be UTC");
        }
    }

    fn call_service(&mut self, action: &Object, at: &At<'_>) {
        for name in ["service", "method"] {
            self.text(action, at, "call_service action", name);
        }
        let at = at.member("args");
        match action.get("args").map(Value::as_array) {
            None => {}
            Some(None) => self.error(&at, "call_service action args must be an array"),
            Some(Some(args)) => {
                for (i, argument) in args.iter().enumerate() {
                    self.argument(argument, &at.element(i));
                }
            }
        }
    }

    fn log(&mut self, action: &Object, at: &At<'_>) {
        let level_at = at.member("level");
        match action.get("level") {
            None => self.error(&level_at, "log action must have a \"level\" field"),
            Some(level) if level.as_str().and_then(crate::LogLevel::parse).is_none() => {
                let text = text_form(Some(level));
                let text = format_args!("Invalid log level: {text}. Valid levels: debug, info, warn, error");
                self.error(&level_at, text);
            }
            Some(_) => {}
        }
        self.action_template(action, at, "log", "message");
    }

    fn conditional(&mut self, action: &Object, at: &At<'_>) {
        let owner = "conditional action";
        if let Some(conditions) = self.filled_list(action, at, owner, "conditions") {
            self.conditions(conditions, &at.member("conditions"));
        }
        if let Some(then) = self.filled_list(action, at, owner, "then") {
            self.actions(then, &at.member("then"));
        }
        self.optional_actions(action, at, owner, "else");
    }

    fn try_catch(&mut self, action: &Object, at: &At<'_>) {
        let owner = "try_catch action";
        if let Some(body) = self.filled_list(action, at, owner, "try") {
            self.actions(body, &at.member("try"));
        }
        if !action.contains("catch") && !action.contains("finally") {
            self.error(at, "try_catch action must have at least \"catch\" or \"finally\"");
        }
        let catch_at = at.member("catch");
        match action.get("catch").map(Value::as_object) {
            None => {}
            Some(None) => self.error(&catch_at, "try_catch action catch must be an object"),
            Some(Some(catch)) => self.catch(catch, &catch_at),
        }
        self.optional_actions(action, at, owner, "finally");
    }

    fn catch(&mut self, catch: &Object, at: &At<'_>) {
        let known = self.variables.len();
        self.variables.extend(catch.get("as").and_then(Value::as_str).map(CompactString::from));
        if let Some(actions) = self.filled_list(catch, at, "try_catch catch", "actions") {
            self.actions(actions, &at.member("actions"));
        }
        self.variables.truncate(known);
        if catch.get("as").is_some_and(|name| name.as_str().is_none()) {
            self.error(&at.member("as"), "try_catch catch as must be a string");
        }
    }

    /// Finds a required list that may not be empty; `owner` begins the messages.
    fn filled_list<'v>(
        &mut self,
        object: &'v Object,
        at: &At<'_>,
        owner: &str,
        name: &str,
    ) -> Option<&'v [Value]> {
        let at = at.member(name);
        let article = if name.starts_with('a') { "an" } else { "a" };
        match object.get(name).map(Value::as_array) {
            None => self.error(&at, format_args!("{owner} must have {article} \"{name}\" field")),
            Some(None) => self.error(&at, format_args!("{owner} {name} must be an array")),
            Some(Some([])) => self.error(&at, format_args!("{owner} {name} must not be empty")),
            Some(Some(items)) => return Some(items),
        }
        None
    }

    fn optional_actions(&mut self, action: &Object, at: &At<'_>, owner: &str, name: &str) {
        let at = at.member(name);
        match action.get(name).map(Value::as_array) {
            None => {}
            Some(None) => self.error(&at, format_args!("{owner} {name} must be an array")),
            Some(Some([])) => self.warning(&at, format_args!("{owner} {name} is empty")),
            Some(Some(items)) => self.actions(items, &at),
        }
    }

    fn for_each(&mut self, action: &Object, at: &At<'_>) {
        self.unchecked += 1;
        match action.get("collection") {
            None => {
                self.error(&at.member("collection"), "for_each action must have a \"collection\" field");
            }
            Some(collection) => self.argument(collection, &at.member("collection")),
        }
        let known = self.variables.len();
        match action.get("as") {
            None => self.error(&at.member("as"), "for_each action must have an \"as\" field"),
            Some(Value::String(name)) => {
                self.variables.extend([name.clone(), format!("{name}_index").into()]);
            }
            Some(_) => self.error(&at.member("as"), "for_each action as must be a string"),
        }
        let actions_at = at.member("actions");
        match action.get("actions").map(Value::as_array) {
            None => self.error(&actions_at, "for_each action must have an \"actions\" field"),
            Some(None) => self.error(&actions_at, "for_each action actions must be an array"),
            Some(Some(actions)) => self.actions(actions, &actions_at),
        }
        self.variables.truncate(known);
        if action.get("maxIterations").is_some_and(|count| count.as_number().is_none()) {
            let text = "for_each maxIterations is ignored: expected a number";
            self.late_warning(&at.member("maxIterations"), text);
        }
        self.unchecked -= 1;
    }
}

/// Why a timer that validation accepts cannot be set.
pub(crate) const ON_EXPIRE_TOPIC: &str = "Timer onExpire topic must be a string";

/// As [`ON_EXPIRE_TOPIC`].
pub(crate) const ON_EXPIRE_DATA: &str = "Timer onExpire data must be an object";

const TYPES: &str = "set_fact, delete_fact, emit_event, set_timer, cancel_timer, call_service, log, conditional, \
                     for_each, try_catch";

/// Most lists of actions within each other, which bounds every recursion over a rule.
const DEPTH_MAX: usize = 32;
