//! Raw messages in each phase of a connection. The pair checks what must always hold.

use noex_core::{AuthMode, Backpressure, CloseReason, Config, Message, TokenMode};
use noex_testkit::{Inbound, Pair, World, ms, request};

/// Between messages.
const SEPARATOR: u8 = b'\n';

const MESSAGES_MAX: usize = 64;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Nobody need log in.
    Open,
    BeforeLogin,
    LoggedIn,
    /// Pushes mix with replies, and the network stalls now and then.
    Subscribed,
    /// A login is under way, so that requests wait.
    Waiting,
    Draining,
    Closing,
}

const PHASES: [Phase; 7] = [
    Phase::Open,
    Phase::BeforeLogin,
    Phase::LoggedIn,
    Phase::Subscribed,
    Phase::Waiting,
    Phase::Draining,
    Phase::Closing,
];

/// The first byte chooses the phase and whether limits are tight.
pub(crate) fn run(data: &[u8]) {
    let Some((head, rest)) = data.split_first() else { return };
    let phase = PHASES[usize::from(*head) % PHASES.len()];
    let tight = usize::from(*head) / PHASES.len() % 2 == 1;
    let mut pair = pair(phase, tight);
    pair.executed();
    let mut texts = rest.split(|byte| *byte == SEPARATOR).take(MESSAGES_MAX).enumerate();
    for (at, message) in &mut texts {
        let Ok(text) = std::str::from_utf8(message) else {
            assert_eq!(Message::from_text_bytes(message), Message::InvalidUtf8);
            pair.send_any(Inbound::InvalidUtf8);
            continue;
        };
        pair.send(text);
        pair.received();
        match phase {
            Phase::Draining | Phase::Closing => {
                assert_eq!(pair.executed(), [""; 0], "executed after the end")
            }
            Phase::Subscribed => between(&mut pair, at),
            Phase::Waiting if at % 5 == 4 => {
                pair.answer(0);
            }
            Phase::Open | Phase::BeforeLogin | Phase::LoggedIn | Phase::Waiting => {}
        }
    }
    pair.finish();
    if phase == Phase::Draining {
        assert_eq!(pair.received().pop().as_deref(), Some("close 1000 server_shutdown"), "drained");
    }
    pair.advance(ms(100));
    pair.end();
}

fn pair(phase: Phase, tight: bool) -> Pair {
    let auth = match phase {
        Phase::Open | Phase::Subscribed | Phase::Draining | Phase::Closing => AuthMode::None,
        Phase::BeforeLogin | Phase::LoggedIn | Phase::Waiting => AuthMode::Token(TokenMode::default()),
    };
    let mut config = Config { auth, rules: true, ..Config::default() };
    let mut world = World::default();
    if tight {
        config.json_depth_max = 8;
        config.name_length_max = 8;
        config.transaction_operations_max = 2;
        config.subscriptions_max = 2;
        config.requests_in_flight_max = 4;
        config.backpressure = Backpressure {
            buffered_bytes_max: 700,
            push_threshold_bytes: 300,
            events_max: 2,
            ..config.backpressure
        };
        world = world.rate_limit(20, 1000);
    }
    let mut pair = Pair::in_world(config, world);
    match phase {
        Phase::Open | Phase::BeforeLogin => {}
        Phase::LoggedIn => pair.send(request(1, "auth.login", r#""token":"admin""#)),
        Phase::Subscribed => {
            pair.send(request(1, "store.subscribe", r#""query":"qa""#));
            pair.send(request(2, "rules.subscribe", r#""pattern":"*""#));
        }
        Phase::Waiting => {
            pair.set_delays(&[None]);
            pair.send(request(1, "auth.login", r#""token":"admin""#));
        }
        Phase::Draining => {
            pair.set_delays(&[None]);
            pair.send(request(1, "store.all", r#""bucket":"a""#));
            pair.close(CloseReason::ServerShutdown);
        }
        Phase::Closing => pair.close(CloseReason::ServerShutdown),
    }
    pair
}

/// What happens between two messages.
fn between(pair: &mut Pair, at: usize) {
    pair.publish("qa", Some(if at.is_multiple_of(3) { "1" } else { r#"{"n":2}"# }));
    pair.emit("order.new");
    match at % 4 {
        1 => pair.stall(),
        2 => pair.take(150),
        3 => pair.flow(),
        _ => pair.advance(ms(7)),
    }
}
