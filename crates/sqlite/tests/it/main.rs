//! The journal on real files: what is kept, what is refused, and what survives.

mod crash;
mod faults;
mod journal;
mod model;
mod opening;
mod power;
mod support;
