//! Conversations with the connection state machine, and properties of it, through its public interface.

mod access;
mod audit;
mod calls;
mod closing;
mod deltas;
mod envelope;
mod flow;
mod heartbeat;
mod limits;
mod login;
mod ordering;
mod permissions;
mod procedures;
mod properties;
mod pushes;

use noex_core::{AuthMode, Config, TokenMode};
use noex_testkit::{Pair, World, request};

/// Token authentication, otherwise the defaults.
fn with_tokens(token: TokenMode) -> Config {
    Config { auth: AuthMode::Token(token), ..Config::default() }
}

/// Token authentication where a login is optional.
fn optional() -> TokenMode {
    TokenMode { required: false, ..TokenMode::default() }
}

/// A client that answers pings and has taken the welcome.
fn welcomed(config: Config) -> Pair {
    welcomed_in(config, World::default())
}

fn welcomed_in(config: Config, world: World) -> Pair {
    let mut pair = Pair::in_world(config, world).answering_pings();
    assert_eq!(pair.received().len(), 1, "the welcome");
    pair
}

/// A welcomed client where a login is required, logged in by a credential.
fn logged_in(token: TokenMode, world: World, credential: &str) -> Pair {
    let mut pair = welcomed_in(with_tokens(token), world);
    log_in(&mut pair, credential);
    pair
}

fn log_in(pair: &mut Pair, credential: &str) {
    let answer = pair.ask(login(0, credential));
    assert!(answer.contains(r#""type":"result""#), "{answer}");
}

fn login(id: u64, credential: &str) -> String {
    request(id, "auth.login", &format!(r#""token":"{credential}""#))
}

fn subscribe(id: u64, query: &str) -> String {
    request(id, "store.subscribe", &format!(r#""query":"{query}""#))
}

fn unsubscribe(id: u64, subscription: u64) -> String {
    request(id, "store.unsubscribe", &format!(r#""subscriptionId":"sub-{subscription}""#))
}

/// A request that the host answers with a text of `n` characters.
fn first(id: u64, n: usize) -> String {
    request(id, "store.first", &format!(r#""bucket":"a","n":{n}"#))
}

fn insert(id: u64, bucket: &str) -> String {
    request(id, "store.insert", &format!(r#""bucket":"{bucket}","data":{{}}"#))
}

fn whoami(id: u64) -> String {
    request(id, "auth.whoami", "")
}
