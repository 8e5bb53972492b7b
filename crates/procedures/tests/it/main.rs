//! Procedures from outside: calls over a world in memory, their limits, and their laws over random definitions.

mod calls;
mod limits;
mod properties;
mod world;
