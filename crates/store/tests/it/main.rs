//! Tests of the store through its public interface.

mod access;
mod engine;
mod examples;
mod history;
mod model;
mod support;
mod views;
