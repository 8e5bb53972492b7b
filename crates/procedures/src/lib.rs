//! Stored procedures: lists of steps that read and write data, kept under a name and run with an input.
//!
//! Pure and synchronous: a procedure sees the world through [`Engines`] and the time through a function, so that the
//! same input gives the same effects. A definition is parsed once into a [`Procedure`], which cannot be wrong: every
//! problem is found then. There are no loops; what one call may look at, make and nest is bounded by [`Limits`].
//!
//! Source: the auth specification, section 8.

#![forbid(unsafe_code)]

mod condition;
mod engines;
mod error;
mod execute;
mod filter;
mod input;
mod limits;
mod parse;
mod registry;
mod step;
mod template;
mod transform;

pub use engines::{Answer, Engines, Found, Read, Record, Want};
pub use error::{CallError, DefinitionError};
pub use execute::Outcome;
pub use limits::Limits;
pub use registry::{Former, Registry};
pub use step::{Procedure, RunAs};
