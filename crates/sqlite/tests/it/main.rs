//! The journal on real files: what is kept, what is refused, and what survives.

mod crash;
mod data;
mod faults;
mod journal;
mod model;
mod node;
mod opening;
mod support;
