//! Hands libFuzzer's input to [`noex_fuzz::conn_bytes`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| noex_fuzz::conn_bytes(data));

#[cfg(not(fuzzing))]
fn main() {}
