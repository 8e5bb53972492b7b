//! Tests of the store through its public interface.

mod examples;
mod history;
mod model;
mod support;
