//! What smol and async-std have in common: sockets, clocks and an alarm on async-io's reactor.

#![forbid(unsafe_code)]

mod socket;
mod timer;

pub use socket::{Listener, Socket};
pub use timer::AsyncIoTimer;
