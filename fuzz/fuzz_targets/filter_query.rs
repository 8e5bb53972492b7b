//! Hands libFuzzer's input to [`noex_fuzz::filter_query`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| noex_fuzz::filter_query(data));

#[cfg(not(fuzzing))]
fn main() {}
