//! Subscriptions that are sent changes: what is sent as a change, what in whole, and how a gap is closed.

use noex_core::{
    Config, Connection, Delivery, Delta, Effect, Frame, Instant, Message, Now, Peer, ResultMode, Solitary,
    Source, SubId, SubscribeToken, Update,
};
use noex_testkit::{error, push, request, result};
use std::sync::Arc;

const NOW: Now = Now { mono: Instant::from_millis(1), unix_ms: 1 };

struct Subscriber {
    shared: Solitary,
    connection: Connection,
    subscription: SubId,
}

fn connect(config: Config) -> (Solitary, Connection) {
    let mut connection = Connection::new(Arc::new(config), Peer::new("x"), NOW);
    let _welcome = connection.poll_frame();
    (Solitary::default(), connection)
}

fn watch(shared: &Solitary, connection: &mut Connection, mode: &str) -> (SubscribeToken, SubId, ResultMode) {
    let text = request(1, "store.subscribe", &format!(r#""query":"q"{mode}"#));
    connection.handle_message(NOW, shared, Message::Text(&text));
    let Some(Effect::Subscribe { token, subscription, source: Source::Query { mode, .. } }) =
        connection.poll_effect()
    else {
        panic!("a subscribe leaves as an effect")
    };
    (token, subscription, mode)
}

impl Subscriber {
    fn new(config: Config) -> Self {
        let (shared, mut connection) = connect(config);
        let (token, subscription, mode) = watch(&shared, &mut connection, r#","mode":"delta""#);
        assert_eq!(mode, ResultMode::Delta);
        connection.reply_subscribe(NOW, &shared, token, Ok(Update::whole(3, Some("[1]".into()))));
        let mut subscriber = Self { shared, connection, subscription };
        assert_eq!(
            subscriber.received(),
            [result(1, r#"{"subscriptionId":"sub-1","version":3,"data":[1]}"#)]
        );
        subscriber
    }

    fn push(&mut self, from: u64, to: u64) -> Delivery {
        let changes = format!(r#"{{"from":{from},"to":{to}}}"#).into();
        let delta = Some(Delta { from, changes });
        let update = Update { version: to, data: Some(format!("[{to}]").into()), delta };
        self.connection.push_result(self.subscription, update)
    }

    fn received(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.connection.poll_frame())
            .map(|frame| match frame {
                Frame::Text(text) => text.into_string(),
                Frame::Close { .. } => panic!("closed"),
            })
            .collect()
    }

    fn snapshot(&mut self, id: u64, subscription: &str) {
        let text = request(id, "store.snapshot", &format!(r#""subscriptionId":"{subscription}""#));
        self.connection.handle_message(NOW, &self.shared, Message::Text(&text));
    }
}

fn delta(from: u64, to: u64) -> String {
    format!(
        r#"{{"type":"push","channel":"subscription","subscriptionId":"sub-1","delta":{{"from":{from},"to":{to}}}}}"#
    )
}

fn whole(version: u64) -> String {
    format!(
        r#"{{"type":"push","channel":"subscription","subscriptionId":"sub-1","version":{version},"data":[{version}]}}"#
    )
}

#[test]
fn changes_follow_each_other_without_a_gap() {
    let mut subscriber = Subscriber::new(Config::default());
    assert_eq!(subscriber.push(3, 5), Delivery::Queued);
    assert_eq!(subscriber.push(5, 6), Delivery::Queued);
    assert_eq!(subscriber.push(5, 6), Delivery::Unchanged);
    assert_eq!(subscriber.received(), [delta(3, 5), delta(5, 6)]);
}

#[test]
fn a_change_that_starts_elsewhere_is_replaced_by_the_whole_result() {
    let mut subscriber = Subscriber::new(Config::default());
    subscriber.push(4, 5);
    subscriber.push(5, 6);
    assert_eq!(subscriber.received(), [whole(5), delta(5, 6)]);
    let update = Update::whole(7, Some("[7]".into()));
    subscriber.connection.push_result(subscriber.subscription, update);
    assert_eq!(subscriber.received(), [whole(7)]);
}

#[test]
fn what_was_held_back_comes_in_whole_once() {
    let mut config = Config::default();
    config.backpressure.push_threshold_bytes = 100;
    let mut subscriber = Subscriber::new(config);
    subscriber.connection.handle_buffered(NOW, 100);
    assert_eq!(subscriber.push(3, 5), Delivery::Deferred);
    assert_eq!(subscriber.push(5, 6), Delivery::Deferred);
    assert_eq!(subscriber.received(), Vec::<String>::new());
    subscriber.connection.handle_buffered(NOW, 0);
    assert_eq!(subscriber.push(6, 7), Delivery::Queued);
    assert_eq!(subscriber.received(), [whole(6), delta(6, 7)]);
}

/// One change that had to wait is still the next one.
#[test]
fn one_change_that_was_held_back_comes_as_a_change() {
    let mut config = Config::default();
    config.backpressure.push_threshold_bytes = 100;
    let mut subscriber = Subscriber::new(config);
    subscriber.connection.handle_buffered(NOW, 100);
    subscriber.push(3, 5);
    subscriber.connection.handle_buffered(NOW, 0);
    assert_eq!(subscriber.received(), [delta(3, 5)]);
}

#[test]
fn a_client_that_lost_track_asks_for_what_it_should_have() {
    let mut subscriber = Subscriber::new(Config::default());
    subscriber.push(3, 5);
    subscriber.snapshot(2, "sub-1");
    subscriber.push(5, 6);
    assert_eq!(subscriber.received(), [delta(3, 5), result(2, r#"{"version":5,"data":[5]}"#), delta(5, 6)]);
    subscriber.snapshot(3, "sub-2");
    subscriber.snapshot(4, "nonsense");
    let unknown = |id, name: &str| error(id, "NOT_FOUND", &format!("Subscription \"{name}\" not found"));
    assert_eq!(subscriber.received(), [unknown(3, "sub-2"), unknown(4, "nonsense")]);
}

#[test]
fn those_who_did_not_ask_see_neither_versions_nor_changes() {
    for mode in ["", r#","mode":"full""#] {
        let (shared, mut connection) = connect(Config::default());
        let (token, subscription, mode) = watch(&shared, &mut connection, mode);
        assert_eq!(mode, ResultMode::Full);
        connection.reply_subscribe(NOW, &shared, token, Ok(Update::whole(3, Some("[1]".into()))));
        let mut subscriber = Subscriber { shared, connection, subscription };
        subscriber.push(3, 5);
        assert_eq!(
            subscriber.received(),
            [result(1, r#"{"subscriptionId":"sub-1","data":[1]}"#), push(1, "[5]")]
        );
    }
}

#[test]
fn an_unknown_mode_is_refused_and_frees_its_place() {
    let (shared, mut connection) = connect(Config { subscriptions_max: 1, ..Config::default() });
    for mode in ["\"diff\"", "1", "null", "\"\""] {
        let text = request(1, "store.subscribe", &format!(r#""query":"q","mode":{mode}"#));
        connection.handle_message(NOW, &shared, Message::Text(&text));
        let Some(Frame::Text(text)) = connection.poll_frame() else { panic!("an answer") };
        assert_eq!(
            text.into_string(),
            error(1, "VALIDATION_ERROR", "Invalid \"mode\": expected \"full\" or \"delta\"")
        );
    }
    assert_eq!(connection.subscription_counts(), (0, 0));
}
