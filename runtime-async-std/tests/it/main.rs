//! The suite of the smol adapter, on this one: the same files, another runtime.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

use noex_async_std as runtime;

#[path = "../../../runtime-smol/tests/it/client.rs"]
mod client;
#[path = "../../../runtime-smol/tests/it/deltas.rs"]
mod deltas;
#[path = "../../../runtime-smol/tests/it/durable.rs"]
mod durable;
#[path = "../../../runtime-smol/tests/it/embedding.rs"]
mod embedding;
#[path = "../../../runtime-smol/tests/it/load.rs"]
mod load;
#[path = "../../../runtime-smol/tests/it/protocol.rs"]
mod protocol;
#[path = "../../../runtime-smol/tests/it/rights.rs"]
mod rights;
