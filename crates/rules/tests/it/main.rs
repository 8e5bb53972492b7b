//! The engine from outside: the worked examples of its description, its limits, and its laws over random inputs.

mod admin;
mod backward;
mod chains;
mod clock;
mod conditions;
mod groups;
mod keep;
mod limits;
mod patterns;
mod properties;
mod support;
mod temporal;
mod temporal_model;
mod timers;
mod versions;
mod wire;
