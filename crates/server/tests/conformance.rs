//! Recorded conversations, played through the binary.

use noex_conformance::{ServerCommand, assert_group};

fn command() -> ServerCommand {
    ServerCommand::new(env!("CARGO_BIN_EXE_noex-server")).args([
        "--host",
        "127.0.0.1",
        "--ready-line",
        "--config",
        "{config}",
    ])
}

#[test]
fn smoke() {
    assert_group("smoke", command());
}

#[test]
fn connection() {
    assert_group("connection", command());
}

#[test]
fn store() {
    assert_group("store", command());
}

#[test]
fn rules() {
    assert_group("rules", command());
}

#[test]
fn identity() {
    assert_group("identity", command());
}

#[test]
fn audit() {
    assert_group("audit", command());
}

#[test]
fn revocation() {
    assert_group("revocation", command());
}

#[test]
fn extensions() {
    assert_group("extensions", command());
}
