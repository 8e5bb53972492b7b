//! JSON values with the semantics that clients of the protocol rely on.
//!
//! Why not `serde_json::Value`: the protocol demands ECMAScript behaviour. Numbers are doubles that overflow to
//! infinity on input and print in the shortest ECMAScript form; integer-like member names come first; strings have
//! a length and an order in UTF-16 code units; comparison converts between types. Besides, the parser here
//! validates a message iteratively, so that no nesting depth can exhaust a stack.
//!
//! Pure and `no_std`: text in, values out.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod compare;
mod object;
mod parse;
mod path;
pub mod size;
mod value;
mod write;

pub use compact_str::CompactString;
pub use compare::{
    Comparison, deep_equal, identical, relational, text_form, to_number, utf16_cmp, utf16_len,
};
pub use object::Object;
pub use parse::{Member, ParseError, Raw, parse, scan, scan_array, scan_object};
pub use path::{Path, array_index};
pub use value::Value;
pub use write::{write_kept_value, write_number, write_string, write_value};
