//! The connection state machine: raw messages, any order of calls, and a model of the pipeline.

pub(crate) mod bytes;
pub(crate) mod calls;
pub(crate) mod differential;
mod model;
mod requests;
